//! Many sessions that say nothing but `pong`. What they cost in memory, and how a probe fares among them.

use std::time::Duration;

use serde_json::json;

use super::echo::{Echo, Pace};
use super::{TURN, nanos};
use crate::driver::Driver;
use crate::measure::{Span, percentiles};
use crate::processes;
use crate::session::{Load, Part, Session};
use crate::{Figures, Options};

/// Sessions that are there before memory is first looked at, for what only the first ones cost.
const FIRST: usize = 100;

pub fn run(mut driver: Driver, options: &Options) -> Result<Figures, String> {
    let first = FIRST.min(options.conns / 2).max(1);
    let mut load = Idle { probe: Echo::new(&Options { rate: options.probe, ..rest(options) })? };
    driver.open(first, &mut load)?;
    load.wait(&mut driver, options.settle, None)?;
    let before = options.pid.and_then(processes::resident);

    let opening = driver.now();
    driver.open(options.conns, &mut load)?;
    let opened = (driver.now() - opening) as f64 / 1e9;
    load.wait(&mut driver, options.settle, None)?;
    let after = options.pid.and_then(processes::resident);

    let mut pace = (options.probe > 0.0).then(|| Pace::new(options.probe, driver.now()));
    load.probe.measuring = true;
    let span = Span::begin(options.pid);
    load.wait(&mut driver, options.seconds, pace.as_mut())?;
    let mut figures = span.end(pace.map_or(1, |pace| pace.count))?;
    // The server's time goes into heartbeats, not into the few messages of the probe.
    figures.remove("cpuMicrosEach");
    if options.probe > 0.0 {
        figures.insert("latency".into(), percentiles(&load.probe.times));
    }
    figures.insert("openedPerSecond".into(), json!((options.conns - first) as f64 / opened));
    if let Some((before, after)) = before.zip(after) {
        let grown = after.saturating_sub(before) as f64;
        figures.insert("bytesPerSession".into(), json!(grown / (options.conns - first) as f64));
    }
    Ok(figures)
}

fn rest(options: &Options) -> Options {
    Options { kind: options.kind.clone(), ..*options }
}

struct Idle {
    /// The first session sends echoes at a steady pace.
    probe: Echo,
}

impl Idle {
    fn wait(&mut self, driver: &mut Driver, time: Duration, mut pace: Option<&mut Pace>) -> Result<(), String> {
        let end = driver.now() + nanos(time);
        loop {
            let now = driver.now();
            if now >= end {
                return Ok(());
            }
            // The generator sleeps in between, so a probe may leave late; that is not the server's doing.
            while pace.as_mut().and_then(|pace| pace.due(now)).is_some() {
                let (probe, mut quiet) = (&mut self.probe, Quiet);
                driver.with(0, &mut quiet, |session| probe.send(session, now))?;
            }
            driver.turn(self, Some(if pace.is_some() { Duration::from_millis(1) } else { TURN }))?;
        }
    }
}

impl Load for Idle {
    fn opened(&mut self, session: &mut Session, now: u64) -> Result<(), String> {
        if session.index == 0 { self.probe.opened(session, now) } else { Ok(()) }
    }

    fn message(&mut self, session: &mut Session, part: Part, now: u64) -> Result<(), String> {
        if session.index == 0 {
            self.probe.message(session, part, now)
        } else {
            Err("a message to an idle session".into())
        }
    }
}

struct Quiet;

impl Load for Quiet {
    fn opened(&mut self, _session: &mut Session, _now: u64) -> Result<(), String> {
        Ok(())
    }
}
