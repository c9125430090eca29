//! The server streams to one session.

use camp_bench::camp;
use serde_json::json;

use super::TURN;
use crate::driver::Driver;
use crate::measure::Span;
use crate::session::{Load, Part, Session};
use crate::{Figures, Options};

/// Of the content, one word in so many bytes is looked at; of the positions, every one.
const SAMPLE: u64 = 4096;

pub fn run(mut driver: Driver, options: &Options) -> Result<Figures, String> {
    let mut load = Stream { received: 0, finished: false };
    driver.open(1, &mut load)?;
    let span = Span::begin(options.pid);
    driver.with(0, &mut load, |session| session.send_text("go"))?;
    let mut last = (driver.now(), 0);
    while !load.finished {
        driver.turn(&mut load, Some(TURN))?;
        if load.received != last.1 {
            last = (driver.now(), load.received);
        } else if driver.now() - last.0 > 30_000_000_000 {
            return Err(format!("the stream has stopped at {} of {} bytes", load.received, options.bytes));
        }
    }
    if load.received != options.bytes {
        return Err(format!("{} bytes instead of {}", load.received, options.bytes));
    }
    let mut figures = span.end(load.received >> 20)?;
    figures.insert("bytes".into(), json!(load.received));
    Ok(figures)
}

struct Stream {
    received: u64,
    finished: bool,
}

impl Load for Stream {
    fn opened(&mut self, _session: &mut Session, _now: u64) -> Result<(), String> {
        Ok(())
    }

    fn message(&mut self, _session: &mut Session, part: Part, _now: u64) -> Result<(), String> {
        Err(format!("a message in a stream: {}", String::from_utf8_lossy(part.bytes)))
    }

    fn chunk(&mut self, _session: &mut Session, position: u64, bytes: &[u8]) -> Result<(), String> {
        if position != self.received {
            return Err(format!("bytes of position {position} at {}", self.received));
        }
        let mut at = position.next_multiple_of(SAMPLE);
        while let Some(word) = bytes.get((at - position) as usize..).and_then(|rest| rest.get(..8)) {
            if word != camp::stream_word(at) {
                return Err(format!("wrong bytes at {at}"));
            }
            at += SAMPLE;
        }
        self.received += bytes.len() as u64;
        Ok(())
    }

    fn finished(&mut self, _session: &mut Session, _now: u64) -> Result<(), String> {
        self.finished = true;
        Ok(())
    }
}
