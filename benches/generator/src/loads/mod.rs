//! The kinds of load, one each.

pub mod connect;
pub mod echo;
pub mod fanout;
pub mod idle;
pub mod push;
pub mod stream;
pub mod upload;

use std::time::Duration;

/// How long a turn waits for events at most: the end of a span is noticed no later.
const TURN: Duration = Duration::from_millis(10);

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
