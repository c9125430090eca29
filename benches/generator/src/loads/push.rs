//! The server pushes texts on every session, a window of them unacknowledged at any time.

use super::{TURN, nanos};
use crate::driver::Driver;
use crate::measure::Span;
use crate::session::{Load, Part, Session};
use crate::{Figures, Options};

pub fn run(mut driver: Driver, options: &Options) -> Result<Figures, String> {
    let mut load = Push { payload: vec![b'x'; options.size], received: 0 };
    driver.open(options.conns, &mut load)?;
    let warm = driver.now() + nanos(options.warmup);
    while driver.now() < warm {
        driver.turn(&mut load, Some(TURN))?;
    }
    let (span, before) = (Span::begin(options.pid), load.received);
    let end = driver.now() + nanos(options.seconds);
    while driver.now() < end {
        driver.turn(&mut load, Some(TURN))?;
    }
    span.end(load.received - before)
}

struct Push {
    payload: Vec<u8>,
    received: u64,
}

impl Load for Push {
    fn opened(&mut self, session: &mut Session, _now: u64) -> Result<(), String> {
        session.send_text("go");
        Ok(())
    }

    fn message(&mut self, _session: &mut Session, part: Part, _now: u64) -> Result<(), String> {
        if part.len != self.payload.len() || part.bytes != &self.payload[part.offset..part.offset + part.bytes.len()] {
            return Err("a message that is not the one to be pushed".into());
        }
        self.received += u64::from(part.is_last());
        Ok(())
    }
}
