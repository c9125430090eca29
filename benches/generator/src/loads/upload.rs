//! One session streams to the server, which says at the end how many bytes it has got.

use camp_bench::camp;
use camp_bench::websocket::{self, Masked};
use serde_json::json;

use super::TURN;
use crate::driver::Driver;
use crate::measure::Span;
use crate::session::{Load, Part, Session};
use crate::{Figures, Options};

const CHUNK: usize = 64 * 1024;
/// Chunks that are put together for one write.
const BATCH: usize = 4;

pub fn run(mut driver: Driver, options: &Options) -> Result<Figures, String> {
    if !options.bytes.is_multiple_of(CHUNK as u64) {
        return Err(format!("{} bytes are not whole chunks of {CHUNK}", options.bytes));
    }
    let mut load =
        Upload { frame: Masked::new(websocket::BINARY, &[]), started: false, sent: 0, total: options.bytes, got: None };
    driver.open(1, &mut load)?;
    let span = Span::begin(options.pid);
    load.started = true;
    driver.with(0, &mut load, |session| {
        let ack = session.take_ack();
        session.send(&camp::tx_start(session.sid, ack, 0, options.bytes as i64, "bench"));
    })?;
    let mut last = (driver.now(), 0);
    while load.got.is_none() {
        driver.turn(&mut load, Some(TURN))?;
        if load.sent != last.1 {
            last = (driver.now(), load.sent);
        } else if driver.now() - last.0 > 30_000_000_000 {
            return Err(format!("the upload has stopped at {} of {} bytes", load.sent, options.bytes));
        }
    }
    if load.got != Some(options.bytes) {
        return Err(format!("{:?} bytes have arrived instead of {}", load.got, options.bytes));
    }
    let mut figures = span.end(options.bytes >> 20)?;
    driver.until(&mut load, "the last ACK", Driver::all_settled)?;
    figures.insert("bytes".into(), json!(options.bytes));
    Ok(figures)
}

struct Upload {
    frame: Masked,
    /// TX_START is on its way.
    started: bool,
    sent: u64,
    total: u64,
    got: Option<u64>,
}

impl Load for Upload {
    fn opened(&mut self, session: &mut Session, _now: u64) -> Result<(), String> {
        let head = camp::frame(session.sid, camp::TX_CHUNK, &[&0u32.to_be_bytes(), &[0; 8], &[0x37; CHUNK]]);
        self.frame = Masked::new(websocket::BINARY, &head);
        Ok(())
    }

    fn message(&mut self, _session: &mut Session, part: Part, _now: u64) -> Result<(), String> {
        let text = std::str::from_utf8(part.bytes).map_err(|error| error.to_string())?;
        self.got = Some(text.parse().map_err(|_| format!("not a number of bytes: {text}"))?);
        Ok(())
    }

    fn drained(&mut self, session: &mut Session) {
        if !self.started || self.sent == self.total {
            return;
        }
        for _ in 0..BATCH {
            self.frame.patch(13, self.sent.to_be_bytes());
            session.out.extend_from_slice(self.frame.bytes());
            self.sent += CHUNK as u64;
            if self.sent == self.total {
                let ack = session.take_ack();
                session.send(&camp::frame(session.sid, camp::TX_FINISH, &[&ack.to_be_bytes(), &0u32.to_be_bytes()]));
                return;
            }
        }
    }
}
