//! Sessions open and close, one after the other on each of some places.

use hdrhistogram::Histogram;

use super::{TURN, nanos};
use crate::driver::Driver;
use crate::measure::{Span, histogram, percentiles};
use crate::session::{Load, Session};
use crate::{Figures, Options};

pub fn run(mut driver: Driver, options: &Options) -> Result<Figures, String> {
    let mut load = Connect { began: vec![0; options.conns], opened: 0, free: Vec::new(), times: histogram() };
    load.free.extend(0..options.conns);
    let warm = driver.now() + nanos(options.warmup);
    load.go(&mut driver, warm)?;
    load.times.reset();
    let (span, before) = (Span::begin(options.pid), load.opened);
    let end = driver.now() + nanos(options.seconds);
    load.go(&mut driver, end)?;
    let mut figures = span.end(load.opened - before)?;
    figures.insert("latency".into(), percentiles(&load.times));
    Ok(figures)
}

struct Connect {
    /// When the handshake at each place began.
    began: Vec<u64>,
    opened: u64,
    /// Places whose session has ended.
    free: Vec<usize>,
    times: Histogram<u64>,
}

impl Connect {
    fn go(&mut self, driver: &mut Driver, until: u64) -> Result<(), String> {
        while driver.now() < until {
            while let Some(index) = self.free.pop() {
                self.began[index] = driver.now();
                driver.begin(index)?;
            }
            driver.turn(self, Some(TURN))?;
        }
        Ok(())
    }
}

impl Load for Connect {
    fn opened(&mut self, session: &mut Session, now: u64) -> Result<(), String> {
        self.opened += 1;
        self.times.saturating_record(now.saturating_sub(self.began[session.index]).max(1));
        session.close();
        Ok(())
    }

    fn closed(&mut self, index: usize) -> Result<(), String> {
        self.free.push(index);
        Ok(())
    }
}
