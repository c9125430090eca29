//! Debug output (API: the `DEBUG` variable), one line an event, on stderr.

mod output;

use std::fmt::{self, Write as _};

use crate::protocol::{self, FrameType};

/// Which sections are printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    /// `CAMP_SERVER`: listening, upgrades and their refusals.
    pub server: bool,
    /// `CAMP_SERVER_SESSION`: every frame.
    pub session: bool,
    /// `CAMP_SERVER_ACK`: frames that wait for an ACK, and ACKs.
    pub ack: bool,
    /// `CAMP_BACKPRESSURE`: pauses, resumptions and drops.
    pub backpressure: bool,
}

impl Trace {
    /// Prints a line of section `CAMP_SERVER`.
    pub(super) fn server(&self, line: fmt::Arguments<'_>) {
        if self.server {
            output::print(format!("CAMP_SERVER {line}\n"));
        }
    }

    /// Prints a line of section `CAMP_BACKPRESSURE`.
    pub(super) fn backpressure(&self, sid: u64, line: fmt::Arguments<'_>) {
        if self.backpressure {
            output::print(format!("CAMP_BACKPRESSURE {sid} {line}\n"));
        }
    }

    /// Whether frames are printed.
    pub(super) fn frames(&self) -> bool {
        self.session || self.ack
    }

    /// Prints one frame in the sections it belongs to.
    #[inline]
    pub(super) fn frame(&self, direction: Direction, frame: &[u8]) {
        if self.frames() {
            self.print_frame(direction, frame);
        }
    }

    #[cold]
    fn print_frame(&self, direction: Direction, frame: &[u8]) {
        let arrow = match direction {
            Direction::In => "<-",
            Direction::Out => "->",
        };
        let sid = protocol::peek_sid(frame).unwrap_or_default();
        let Some(kind) = protocol::peek_type(frame) else {
            if self.session {
                let bytes = first_bytes(frame);
                output::print(format!("CAMP_SERVER_SESSION {arrow} malformed, {} bytes{bytes}\n", frame.len()));
            }
            return;
        };
        let ack = ack_of(kind, frame);
        if self.session {
            let number = ack.map_or(String::new(), |ack| format!(" ack {ack}"));
            let rest = frame.get(9..).unwrap_or_default();
            output::print(format!(
                "CAMP_SERVER_SESSION {arrow} {} sid {sid}{number}, {} bytes{}\n",
                kind.name(),
                frame.len(),
                first_bytes(rest)
            ));
        }
        if let (true, Some(ack)) = (self.ack, ack) {
            let verb = if kind == FrameType::Ack { "settles" } else { "awaits" };
            output::print(format!("CAMP_SERVER_ACK {arrow} {} sid {sid} {verb} {ack}\n", kind.name()));
        }
    }
}

/// Which way a frame goes, seen from this side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    In,
    Out,
}

fn ack_of(kind: FrameType, frame: &[u8]) -> Option<u32> {
    if matches!(kind, FrameType::PingPong | FrameType::TxChunk) {
        return None;
    }
    frame.get(9..13)?.try_into().ok().map(u32::from_be_bytes)
}

fn first_bytes(bytes: &[u8]) -> String {
    let mut text = String::from(":");
    for byte in bytes.iter().take(24) {
        // Writing to a String cannot fail.
        let _ = write!(text, " {byte:02x}");
    }
    if bytes.len() > 24 {
        text.push_str(" ...");
    }
    text
}
