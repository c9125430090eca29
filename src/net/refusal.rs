//! Answers to requests that do not become a session.

use std::net::SocketAddr;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    NoToken,
    NotBearer,
    NoSid,
    InvalidSid,
    SessionExists,
    InvalidToken,
    /// `validate` has failed.
    ValidatorFailed,
    /// `validate` did not settle within the handshake timeout.
    ValidationTimeout,
    /// Not well-formed HTTP or WebSocket.
    BadRequest(String),
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The head did not arrive within the handshake timeout.
    Slow,
    /// The client ended its side, or hung up, while its token was validated.
    Left,
    /// The client sent more than may come ahead of the response.
    TooMuchEarly,
    /// Not a WebSocket upgrade.
    NotAnUpgrade,
    /// A WebSocket version other than 13.
    WrongVersion,
    /// Not the path of the server.
    WrongPath,
    /// A browser's page of another origin.
    WrongOrigin,
    /// There are as many sessions as may be.
    Full,
    /// The server is being destroyed.
    ShuttingDown,
}

impl Refusal {
    /// The reason in words, for the log and for who watches over the server.
    pub(super) fn reason(&self) -> &str {
        match self {
            Refusal::NoToken => "No auth data supplied.",
            Refusal::NotBearer => "Incorrect type of auth data supplied.",
            Refusal::NoSid => "No SID supplied.",
            Refusal::InvalidSid => "Invalid SID supplied.",
            Refusal::SessionExists => "The session already exists.",
            Refusal::InvalidToken => "Invalid bearer token in authorization query.",
            Refusal::ValidatorFailed => "The validator has failed.",
            Refusal::ValidationTimeout => "The bearer token was not validated in time.",
            Refusal::BadRequest(what) => what,
            Refusal::HeadTooLarge => "The request head is too large.",
            Refusal::Slow => "The request head did not arrive in time.",
            Refusal::Left => "The client ended its side of the connection before the request was answered.",
            Refusal::TooMuchEarly => "The client sent more than 64 KiB before the request was answered.",
            Refusal::NotAnUpgrade => "This port speaks CAMP over WebSocket.",
            Refusal::WrongVersion => "Only WebSocket version 13 is spoken here.",
            Refusal::WrongPath => "CAMP is not spoken at this path.",
            Refusal::WrongOrigin => "This origin is not allowed.",
            Refusal::Full => "The server has no room for another session.",
            Refusal::ShuttingDown => "The server is shutting down.",
        }
    }

    /// The reason that the client is told: what went wrong within the server is none of its business.
    fn told(&self) -> &str {
        match self {
            Refusal::ValidatorFailed => Refusal::InvalidToken.reason(),
            other => other.reason(),
        }
    }

    fn status(&self) -> &'static str {
        match self {
            Refusal::NoToken
            | Refusal::NotBearer
            | Refusal::NoSid
            | Refusal::InvalidSid
            | Refusal::SessionExists
            | Refusal::InvalidToken
            | Refusal::ValidatorFailed
            | Refusal::ValidationTimeout => "401 Unauthorized",
            Refusal::BadRequest(_) | Refusal::Left | Refusal::TooMuchEarly => "400 Bad Request",
            Refusal::HeadTooLarge => "431 Request Header Fields Too Large",
            Refusal::Slow => "408 Request Timeout",
            Refusal::NotAnUpgrade | Refusal::WrongVersion => "426 Upgrade Required",
            Refusal::WrongPath => "404 Not Found",
            Refusal::WrongOrigin => "403 Forbidden",
            Refusal::Full | Refusal::ShuttingDown => "503 Service Unavailable",
        }
    }

    /// The number of the status.
    pub(super) fn status_code(&self) -> u16 {
        self.status().get(..3).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    fn extra_fields(&self) -> &'static str {
        match self {
            Refusal::NotAnUpgrade => "Upgrade: websocket\r\n",
            Refusal::WrongVersion => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        }
    }

    /// The whole response, to a HEAD without its body. Published clients show the body to a person.
    pub(super) fn response(&self, remote: SocketAddr, bodiless: bool) -> Vec<u8> {
        let status = self.status();
        let reason = escape(self.told());
        let body = format!(
            "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body>\n\
             <h1>{status}</h1>\n<p>Upgrade request for {remote} was refused. {reason}</p>\n</body></html>\n"
        );
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             {}Connection: {}\r\n\r\n{}",
            body.len(),
            self.extra_fields(),
            if self.extra_fields().is_empty() { "close" } else { "Upgrade, close" },
            if bodiless { "" } else { &body },
        )
        .into_bytes()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
