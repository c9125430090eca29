//! Why a session with another server was not opened.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::net::IoText;
use crate::session::CloseReason;

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The name is being looked up.
    Resolving,
    /// The connection is being made.
    Connecting,
    /// The TLS handshake.
    Securing,
    /// The upgrade request is out.
    Upgrading,
    /// The upgrade is done, the server's first frame has not come.
    Greeting,
}

/// Why a session was not opened.
#[derive(Debug)]
pub enum ConnectError {
    /// The name has no address, or none of them answers.
    Unreachable(io::Error),
    /// TLS was not agreed on.
    Tls {
        /// What is wrong, for programs.
        fault: TlsFault,
        /// What is wrong.
        message: String,
    },
    /// The connection broke during the upgrade.
    Broken(io::Error),
    /// An answer other than 101.
    Refused {
        /// Status code.
        status: u16,
        /// The words behind it.
        reason: String,
        /// The text of the answer, or its begin.
        body: String,
    },
    /// The answer is not that of a WebSocket server.
    NotWebSocket(String),
    /// The session ended before it had begun.
    Closed(CloseReason),
    /// It took too long.
    Timeout {
        /// How far it had come.
        stage: Stage,
        /// The time it was given.
        after: Duration,
    },
    /// Our own server is being closed.
    ShuttingDown,
}

/// What may be wrong with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// No certificate that we trust vouches for the server's.
    UnknownIssuer,
    /// The certificate is another server's.
    WrongName,
    /// The certificate is no longer valid.
    Expired,
    /// The certificate is not yet valid.
    NotYetValid,
    /// The certificate was revoked.
    Revoked,
    /// Something else about the certificate.
    Certificate,
    /// The system has no root certificates.
    NoRoots,
    /// The server does not speak TLS as we do.
    Protocol,
    /// The server does not speak TLS at all.
    NotTls,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Unreachable(error) | ConnectError::Broken(error) => write!(f, "{}", IoText(error)),
            ConnectError::Tls { message, .. } | ConnectError::NotWebSocket(message) => f.write_str(message),
            ConnectError::Refused { status, reason, .. } => write!(f, "{status} {reason}"),
            ConnectError::Closed(CloseReason { code: 1006, .. }) => {
                f.write_str("the connection was closed before the server had sent a frame of CAMP")
            }
            ConnectError::Closed(CloseReason { code, reason }) => {
                write!(f, "closed with {code} before the server had sent a frame of CAMP: {reason:?}")
            }
            ConnectError::Timeout { stage, after } => write!(f, "{stage} within {} ms", after.as_millis()),
            ConnectError::ShuttingDown => f.write_str("this server is shutting down"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Resolving => "the name was not looked up",
            Stage::Connecting => "no connection was made",
            Stage::Securing => "the TLS handshake did not end",
            Stage::Upgrading => "the upgrade request was not answered",
            Stage::Greeting => "the server has sent no frame of CAMP",
        })
    }
}

impl std::error::Error for ConnectError {}
