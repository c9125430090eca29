//! Every message comes back to its sender. Each has its number in it: count, order and content are checked.

use std::collections::VecDeque;
use std::time::Duration;

use camp_bench::camp;
use camp_bench::websocket::{self, Masked};
use hdrhistogram::Histogram;
use serde_json::json;

use super::{TURN, nanos};
use crate::driver::Driver;
use crate::measure::{Span, histogram, percentiles};
use crate::session::{Load, Part, Session};
use crate::{Figures, Options};

/// Bytes of the number at the beginning of each payload.
const NUMBER: usize = 8;

pub fn run(mut driver: Driver, options: &Options) -> Result<Figures, String> {
    let mut load = Echo::new(options)?;
    driver.open(options.conns, &mut load)?;
    let pause = if options.spin || options.rate > 0.0 { Duration::ZERO } else { TURN };
    let mut pace = (options.rate > 0.0).then(|| Pace::new(options.rate, driver.now()));

    let start = driver.now();
    for index in 0..options.conns * usize::from(pace.is_none()) {
        driver.with(index, &mut NoLoad, |session| {
            for _ in 0..options.window {
                load.send(session, start);
            }
        })?;
    }
    let mut drive = |load: &mut Echo, until: u64| -> Result<(), String> {
        loop {
            let now = driver.now();
            if now >= until {
                return Ok(());
            }
            if let Some(pace) = &mut pace {
                while let Some(due) = pace.due(now) {
                    let index = pace.count as usize % load.lanes.len();
                    driver.with(index, &mut NoLoad, |session| load.send(session, due))?;
                }
            }
            driver.turn(load, Some(pause))?;
        }
    };
    let warm = start + nanos(options.warmup);
    drive(&mut load, warm)?;
    load.measuring = true;
    let (span, before) = (Span::begin(options.pid), load.echoed);
    drive(&mut load, warm + nanos(options.seconds))?;
    let mut figures = span.end(load.echoed - before)?;
    load.measuring = false;

    load.sending = false;
    let outstanding = |load: &Echo| load.lanes.iter().any(|lane| !lane.sent_at.is_empty());
    let deadline = driver.now() + nanos(Duration::from_secs(30));
    while outstanding(&load) || !driver.all_settled() {
        driver.turn(&mut load, Some(TURN))?;
        if driver.now() > deadline {
            return Err("messages are missing: not every one has come back and been acknowledged".into());
        }
    }
    figures.insert("latency".into(), percentiles(&load.times));
    figures.insert("checked".into(), json!(load.echoed));
    Ok(figures)
}

/// When messages are due, whether or not earlier ones have come back: latency counts from there.
pub struct Pace {
    interval: f64,
    start: u64,
    pub count: u64,
}

impl Pace {
    pub fn new(rate: f64, start: u64) -> Self {
        Self { interval: 1e9 / rate, start, count: 0 }
    }

    /// The time at which the next message was due, if that has come.
    pub fn due(&mut self, now: u64) -> Option<u64> {
        let due = self.start + (self.count as f64 * self.interval) as u64;
        (due <= now).then(|| {
            self.count += 1;
            due
        })
    }
}

struct Lane {
    frame: Masked,
    sent: u32,
    expected: u32,
    /// When each message that is not back was sent, or due.
    sent_at: VecDeque<u64>,
}

pub struct Echo {
    lanes: Vec<Lane>,
    kind: u8,
    raw: bool,
    payload: Vec<u8>,
    sending: bool,
    pub measuring: bool,
    echoed: u64,
    pub times: Histogram<u64>,
}

impl Echo {
    pub fn new(options: &Options) -> Result<Self, String> {
        let kind = if options.kind == "binary" || options.raw { camp::BINARY } else { camp::TEXT };
        Ok(Self {
            lanes: Vec::new(),
            kind,
            raw: options.raw,
            payload: payload(&options.kind, options.size)?,
            sending: options.rate == 0.0,
            measuring: false,
            echoed: 0,
            times: histogram(),
        })
    }

    #[inline]
    pub fn send(&mut self, session: &mut Session, at: u64) {
        let lane = &mut self.lanes[session.index];
        let number = digits(lane.sent);
        if self.raw {
            lane.frame.patch(0, number);
        } else {
            lane.frame.patch(camp::ACK_AT, session.take_ack().to_be_bytes());
            lane.frame.patch(camp::DATA_HEAD, number);
        }
        lane.sent = lane.sent.wrapping_add(1);
        lane.sent_at.push_back(at);
        session.out.extend_from_slice(lane.frame.bytes());
    }
}

impl Load for Echo {
    fn opened(&mut self, session: &mut Session, _now: u64) -> Result<(), String> {
        let body = if self.raw {
            self.payload.clone()
        } else {
            camp::frame(session.sid, self.kind, &[&[0; 4], &self.payload])
        };
        let lane =
            Lane { frame: Masked::new(websocket::BINARY, &body), sent: 0, expected: 0, sent_at: VecDeque::new() };
        while self.lanes.len() <= session.index {
            self.lanes.push(Lane { frame: Masked::new(websocket::BINARY, &[]), ..Lane::default() });
        }
        self.lanes[session.index] = lane;
        Ok(())
    }

    fn message(&mut self, session: &mut Session, part: Part, now: u64) -> Result<(), String> {
        let lane = &mut self.lanes[session.index];
        let expected = &self.payload[..];
        let right = if part.offset == 0 {
            part.kind == self.kind
                && part.len == expected.len()
                && part.bytes[..NUMBER] == digits(lane.expected)
                && part.bytes[NUMBER..] == expected[NUMBER..part.bytes.len()]
        } else {
            part.bytes == &expected[part.offset..part.offset + part.bytes.len()]
        };
        if !right {
            return Err(format!("message {} of session {} came back wrong", lane.expected, session.sid));
        }
        if !part.is_last() {
            return Ok(());
        }
        lane.expected = lane.expected.wrapping_add(1);
        let at = lane.sent_at.pop_front().ok_or("a message came back twice")?;
        self.echoed += 1;
        if self.measuring {
            self.times.saturating_record(now.saturating_sub(at).max(1));
        }
        if self.sending {
            self.send(session, now);
        }
        Ok(())
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self { frame: Masked::new(websocket::BINARY, &[]), sent: 0, expected: 0, sent_at: VecDeque::new() }
    }
}

/// For writes that no answer is read after.
struct NoLoad;

impl Load for NoLoad {
    fn opened(&mut self, _session: &mut Session, _now: u64) -> Result<(), String> {
        Ok(())
    }
}

/// `size` bytes: the place of the number, then text of the kind.
fn payload(kind: &str, size: usize) -> Result<Vec<u8>, String> {
    let pattern = match kind {
        "text" | "binary" => "the quick brown fox jumps over the lazy dog ",
        "mixed" => "plain Ünïcödé Καλημέρα Привет こんにちは 🦀 ",
        _ => return Err(format!("no payload is called {kind}")),
    };
    if size < NUMBER {
        return Err(format!("{size} bytes have no room for the number of {NUMBER}"));
    }
    let mut payload = "0".repeat(NUMBER);
    for character in pattern.chars().cycle() {
        if payload.len() + character.len_utf8() > size {
            break;
        }
        payload.push(character);
    }
    let mut payload = payload.into_bytes();
    payload.resize(size, b'.');
    if kind == "binary" {
        payload[NUMBER..].iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 7 + 0x80) as u8);
    }
    Ok(payload)
}

#[inline]
fn digits(number: u32) -> [u8; NUMBER] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; NUMBER];
    for (at, byte) in text.iter_mut().enumerate() {
        *byte = HEX[(number >> (28 - 4 * at)) as usize & 15];
    }
    text
}
