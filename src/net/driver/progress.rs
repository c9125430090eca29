//! Whether a peer takes what waits for it, although it says nothing: as good a sign of life as what it sends.

use crate::net::server::Server;
use crate::net::transport::Transport;
use crate::net::websocket::Writer;

/// How sending stood when it was last looked at, just before a `ping`.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes that the system had taken.
    sent: u64,
    /// Those of them that the peer's system had acknowledged, as far as ours tells; all of them if it does not.
    taken: u64,
    /// Whether there were more that the system did not take.
    blocked: bool,
}

impl Progress {
    /// Looks again. True if the peer has taken more since the last time, of what waited for it then.
    ///
    /// Not everything that it takes says that it lives. The system of a process that hangs acknowledges what comes as
    /// long as there is room, a `ping` or a message now and then; but then nothing waits for it, and the `ping` has
    /// reached it. It is to be answered.
    pub(super) fn is_made(&mut self, transport: &Transport, writer: &Writer, server: &Server) -> bool {
        let sent = transport.socket().sent();
        let unacknowledged = (server.config.unacknowledged)(transport.tcp()).unwrap_or(0);
        let now = Progress { sent, taken: sent.saturating_sub(unacknowledged), blocked: !writer.is_idle() };
        let waited = self.blocked || now.taken < self.sent;
        let made = waited && now.taken > self.taken;
        *self = now;
        made
    }
}
