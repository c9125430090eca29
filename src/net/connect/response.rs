//! The answer to our upgrade request (RFC 6455, 4.1).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::ConnectError;
use crate::net::syntax;

/// Most header fields of a response, as Node's `http` has it.
const MAX_FIELDS: usize = 2000;

/// Room for a response head of the usual length: one system call reads it.
const HEAD_ROOM: usize = 2 << 10;

/// Most interim answers before the final one. None may be longer than that.
const MAX_INTERIM: usize = 32;

/// What is read of a refusal's text, and for how long.
const MAX_BODY: usize = 2 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A parsed response head.
#[derive(Debug)]
struct Head {
    status: u16,
    reason: String,
    http_1_1: bool,
    fields: Vec<(String, String)>,
}

/// The begin of what a TLS server may say to somebody who does not speak it.
const TLS_ALERT: &[u8] = &[0x15, 0x03];

/// Reads the answer. Gives what came behind it, when it is the right one. `plain`: it does not come over TLS.
pub(super) async fn read(
    transport: &mut (impl AsyncRead + Unpin),
    key: &str,
    max_head: usize,
    plain: bool,
) -> Result<Vec<u8>, ConnectError> {
    let mut buffer = Vec::with_capacity(HEAD_ROOM);
    let mut interim = 0_usize;
    let head = loop {
        let head = read_head(transport, &mut buffer, max_head, plain).await?;
        if !head.is_interim() {
            break head;
        }
        interim = interim.saturating_add(1);
        if interim > MAX_INTERIM {
            return Err(not(&format!("the server has sent more than {MAX_INTERIM} interim answers")));
        }
    };
    if head.status == 101 {
        return head.check(key).map(|()| buffer);
    }
    let body = match head.has_text() {
        true => read_text(transport, buffer, head.content_length()).await,
        false => String::new(),
    };
    Err(ConnectError::Refused { status: head.status, reason: head.reason, body })
}

/// Takes one head from the front of `buffer`, into which it reads what is missing.
async fn read_head(
    transport: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    max: usize,
    plain: bool,
) -> Result<Head, ConnectError> {
    let mut seen = 0;
    loop {
        // Parsing starts over each time, so it is tried only when a line has ended.
        let has_line = buffer.get(seen..).is_some_and(|new| new.contains(&b'\n'));
        if (seen == 0 && !buffer.is_empty()) || has_line || buffer.len() > max {
            match Head::parse(buffer)? {
                Some((_, length)) if length > max => return Err(too_large(max)),
                Some((head, length)) => {
                    buffer.drain(..length);
                    return Ok(head);
                }
                None if buffer.len() > max => return Err(too_large(max)),
                None => {}
            }
        }
        seen = buffer.len();
        if transport.read_buf(buffer).await.map_err(ConnectError::Broken)? == 0 {
            let advice = if plain { "; if the server speaks TLS, use wss:" } else { "" };
            return Err(not(&format!("the connection was closed before the upgrade request was answered{advice}")));
        }
        if plain && buffer.starts_with(TLS_ALERT) {
            return Err(not("the server speaks TLS: use wss:"));
        }
    }
}

impl Head {
    /// The head at the start of `bytes` with its length; `None` while it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, ConnectError> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let mut fields = vec![httparse::EMPTY_HEADER; lines.min(MAX_FIELDS)];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) if lines > MAX_FIELDS => {
                return Err(not(&format!("the answer has more than {MAX_FIELDS} header fields")));
            }
            Err(error) => return Err(not(&format!("the answer is not HTTP: {error}"))),
        };
        if !bytes.get(..length).is_some_and(syntax::lines_end_in_crlf) {
            return Err(not("a line of the answer's head does not end in CR LF"));
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let head = Head {
            status: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            http_1_1: response.version == Some(1),
            fields: response.headers.iter().map(|f| (f.name.to_owned(), text(f.value))).collect(),
        };
        Ok(Some((head, length)))
    }

    /// Whether the answer to the request is still to come (RFC 9110, 15.2).
    fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Everything a 101 can be wrong in.
    fn check(&self, key: &str) -> Result<(), ConnectError> {
        if !self.http_1_1 {
            return Err(not("the upgrade was answered in HTTP/1.0"));
        }
        if !self.lists("upgrade", "websocket") || !self.lists("connection", "upgrade") {
            return Err(not("the answer 101 does not switch to WebSocket"));
        }
        if !self.values("sec-websocket-accept").eq([derive_accept_key(key.as_bytes()).as_str()]) {
            return Err(not("the field Sec-WebSocket-Accept does not answer our key"));
        }
        if let Some(extensions) = self.values("sec-websocket-extensions").find(|value| !value.is_empty()) {
            return Err(not(&format!("the server uses extensions that were not offered: {extensions:?}")));
        }
        if self.values("content-length").next().is_some() && self.values("transfer-encoding").next().is_some() {
            return Err(not("the answer has both a Content-Length and a Transfer-Encoding field"));
        }
        // Published servers may answer none.
        let protocols: Vec<_> = self.values("sec-websocket-protocol").collect();
        match protocols[..] {
            [] | ["camp"] => Ok(()),
            _ => Err(not(&format!("the server speaks the subprotocol {:?}, not \"camp\"", protocols.join(", ")))),
        }
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name).flat_map(|v| v.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    fn has_text(&self) -> bool {
        self.values("content-type").any(|kind| kind.starts_with("text/"))
            && self.values("transfer-encoding").count() == 0
    }

    fn content_length(&self) -> usize {
        self.values("content-length").next().and_then(|length| length.parse().ok()).unwrap_or(MAX_BODY).min(MAX_BODY)
    }
}

/// What the server says to a person, as far as it comes in time.
async fn read_text(transport: &mut (impl AsyncRead + Unpin), mut body: Vec<u8>, length: usize) -> String {
    let _ = timeout(BODY_TIMEOUT, async {
        while body.len() < length && matches!(transport.read_buf(&mut body).await, Ok(1..)) {}
    })
    .await;
    body.truncate(length);
    String::from_utf8_lossy(&body).into_owned()
}

fn not(message: &str) -> ConnectError {
    ConnectError::NotWebSocket(message.to_owned())
}

fn too_large(max: usize) -> ConnectError {
    not(&format!("the head of the answer has more than {max} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    const SWITCH: &str = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n";

    fn check(text: &str) -> Result<(), String> {
        let head = Head::parse(text.as_bytes()).map_err(|error| error.to_string())?.unwrap().0;
        head.check(KEY).map_err(|error| error.to_string())
    }

    #[test]
    fn the_answer_is_taken_with_our_subprotocol_and_with_none() {
        for protocol in ["", "Sec-WebSocket-Protocol: camp\r\n"] {
            assert_eq!(check(&format!("HTTP/1.1 101 X\r\n{SWITCH}{ACCEPT}{protocol}\r\n")), Ok(()));
        }
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_named() {
        for (text, word) in [
            (format!("HTTP/1.0 101 X\r\n{SWITCH}{ACCEPT}\r\n"), "HTTP/1.0"),
            (format!("HTTP/1.1 101 X\r\nConnection: Upgrade\r\n{ACCEPT}\r\n"), "WebSocket"),
            (format!("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n{ACCEPT}\r\n"), "WebSocket"),
            (format!("HTTP/1.1 101 X\r\n{SWITCH}\r\n"), "Accept"),
            (format!("HTTP/1.1 101 X\r\n{SWITCH}{ACCEPT}{ACCEPT}\r\n"), "Accept"),
            (format!("HTTP/1.1 101 X\r\n{SWITCH}Sec-WebSocket-Accept: AAAA\r\n\r\n"), "Accept"),
            (format!("HTTP/1.1 101 X\r\n{SWITCH}{ACCEPT}Sec-WebSocket-Protocol: chat\r\n\r\n"), "chat"),
            (format!("HTTP/1.1 101 X\r\n{SWITCH}{ACCEPT}Sec-WebSocket-Extensions: x\r\n\r\n"), "extensions"),
            (format!("HTTP/1.1 101 X\r\n{SWITCH}{ACCEPT}Content-Length: 0\r\nTransfer-Encoding: a\r\n\r\n"), "both"),
            (format!("HTTP/1.1 101 X\r\nA: b\n{SWITCH}{ACCEPT}\r\n"), "CR LF"),
        ] {
            assert!(check(&text).is_err_and(|error| error.contains(word)), "{text}");
        }
    }
}
