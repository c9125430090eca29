//! One span of time, with what both sides used in it.

use std::time::Instant;

use cpu_time::ProcessTime;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::processes::{self, Cpu};

/// Begins a measurement.
pub struct Span {
    pid: Option<u32>,
    at: Instant,
    own: ProcessTime,
    server: Option<Cpu>,
}

impl Span {
    pub fn begin(pid: Option<u32>) -> Self {
        Self { pid, at: Instant::now(), own: ProcessTime::now(), server: pid.and_then(processes::cpu) }
    }

    /// The figures of the span: `count` of whatever is measured.
    ///
    /// # Errors
    /// Nothing has happened.
    pub fn end(&self, count: u64) -> Result<Map<String, Value>, String> {
        if count == 0 {
            return Err("nothing has happened while it was measured".into());
        }
        let seconds = self.at.elapsed().as_secs_f64();
        let own = self.own.elapsed().as_secs_f64();
        let server = self.pid.and_then(processes::cpu).zip(self.server);
        let mut figures = Map::new();
        figures.insert("seconds".into(), json!(seconds));
        figures.insert("count".into(), json!(count));
        figures.insert("perSecond".into(), json!(count as f64 / seconds));
        figures.insert("generatorBusy".into(), json!(own / seconds));
        if let Some((end, start)) = server {
            let used = end.all - start.all;
            figures.insert("serverCpu".into(), json!(used / seconds));
            figures.insert("serverMainCpu".into(), json!((end.main - start.main) / seconds));
            figures.insert("cpuMicrosEach".into(), json!(used * 1e6 / count as f64));
        }
        if let Some(resident) = self.pid.and_then(processes::resident) {
            figures.insert("resident".into(), json!(resident));
        }
        Ok(figures)
    }
}

/// Times in nanoseconds, up to a minute, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds that the crate allows")
}

pub fn percentiles(histogram: &Histogram<u64>) -> Value {
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    json!({ "p50": micros(0.5), "p99": micros(0.99), "p999": micros(0.999), "max": histogram.max() as f64 / 1000.0 })
}
