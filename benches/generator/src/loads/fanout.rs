//! One session's message goes to all; when all have it, the next one is sent.

use hdrhistogram::Histogram;

use super::{TURN, nanos};
use crate::driver::Driver;
use crate::measure::{Span, histogram, percentiles};
use crate::session::{Load, Part, Session};
use crate::{Figures, Options};

pub fn run(mut driver: Driver, options: &Options) -> Result<Figures, String> {
    let mut load =
        FanOut { round: 0, text: Vec::new(), seen: vec![0; options.conns], have: 0, delivered: 0, times: histogram() };
    driver.open(options.conns, &mut load)?;
    let warm = driver.now() + nanos(options.warmup);
    let mut rounds = 0;
    while driver.now() < warm || rounds == 0 {
        load.play(&mut driver, options)?;
        rounds += 1;
    }
    load.times.reset();
    let (span, before) = (Span::begin(options.pid), load.delivered);
    let end = driver.now() + nanos(options.seconds);
    while driver.now() < end {
        load.play(&mut driver, options)?;
    }
    let mut figures = span.end(load.delivered - before)?;
    figures.insert("latency".into(), percentiles(&load.times));
    Ok(figures)
}

struct FanOut {
    round: u32,
    text: Vec<u8>,
    /// The last round that each session has had.
    seen: Vec<u32>,
    have: usize,
    delivered: u64,
    times: Histogram<u64>,
}

impl FanOut {
    fn play(&mut self, driver: &mut Driver, options: &Options) -> Result<(), String> {
        self.round += 1;
        self.have = 0;
        let text = format!("{:0>width$}", self.round, width = options.size);
        self.text = text.clone().into_bytes();
        let start = driver.now();
        driver.with(0, self, |session| session.send_text(&text))?;
        while self.have < self.seen.len() || !driver.session(0).is_some_and(Session::is_settled) {
            driver.turn(self, Some(TURN))?;
            if driver.now() - start > 30_000_000_000 {
                return Err(format!("only {} of {} sessions have got the message", self.have, self.seen.len()));
            }
        }
        self.times.saturating_record(driver.now() - start);
        Ok(())
    }
}

impl Load for FanOut {
    fn opened(&mut self, _session: &mut Session, _now: u64) -> Result<(), String> {
        Ok(())
    }

    fn message(&mut self, session: &mut Session, part: Part, _now: u64) -> Result<(), String> {
        if part.bytes != self.text || self.seen[session.index] == self.round {
            return Err(format!("session {} got a wrong message, or the right one twice", session.sid));
        }
        self.seen[session.index] = self.round;
        self.have += 1;
        self.delivered += 1;
        Ok(())
    }
}
