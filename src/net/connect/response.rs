//! The answer to our upgrade request (RFC 6455, 4.1).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::ConnectError;

/// Most header fields of a response.
const MAX_FIELDS: usize = 100;

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
    let mut buffer = Vec::new();
    let (head, length) = loop {
        let before = buffer.len();
        if transport.read_buf(&mut buffer).await.map_err(ConnectError::Broken)? == 0 {
            let advice = if plain { "; if the server speaks TLS, use wss:" } else { "" };
            return Err(not(&format!("the connection was closed before the upgrade request was answered{advice}")));
        }
        if plain && buffer.starts_with(TLS_ALERT) {
            return Err(not("the server speaks TLS: use wss:"));
        }
        // Parsing starts over each time, so it is tried only when a line has ended.
        if before > 0 && buffer.len() <= max_head && !buffer[before..].contains(&b'\n') {
            continue;
        }
        match Head::parse(&buffer)? {
            Some((_, length)) if length > max_head => return Err(too_large(max_head)),
            Some(parsed) => break parsed,
            None if buffer.len() > max_head => return Err(too_large(max_head)),
            None => {}
        }
    };
    buffer.drain(..length);
    if head.status == 101 {
        return head.check(key).map(|()| buffer);
    }
    let body = match head.has_text() {
        true => read_text(transport, buffer, head.content_length()).await,
        false => String::new(),
    };
    Err(ConnectError::Refused { status: head.status, reason: head.reason, body })
}

impl Head {
    /// The head at the start of `bytes` with its length; `None` while it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, ConnectError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(not(&format!("the answer is not HTTP: {error}"))),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let head = Head {
            status: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            http_1_1: response.version == Some(1),
            fields: response.headers.iter().map(|f| (f.name.to_owned(), text(f.value))).collect(),
        };
        Ok(Some((head, length)))
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
        ] {
            assert!(check(&text).is_err_and(|error| error.contains(word)), "{text}");
        }
    }
}
