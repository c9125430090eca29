//! What RFC 9112 forbids in a request head although a lenient parser takes it. A proxy and this server must not
//! see two different requests in the same bytes.

use super::head::Head;

/// Schemes of a request target in absolute form.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// What is wrong with a request of any kind. `bytes` are its head.
pub(super) fn fault(bytes: &[u8], head: &Head) -> Option<&'static str> {
    if !lines_end_in_crlf(bytes) {
        return Some("A line of the request head does not end in CR LF.");
    }
    target_fault(head).or_else(|| host_fault(head)).or_else(|| length_fault(head))
}

/// What is wrong with a request to switch protocols, which [`fault`] finds nothing wrong with. `early` came behind
/// its head.
///
/// A body would have to be read before the switch (RFC 9110, 7.8), but Node's `http` and others take its bytes for the
/// new protocol's: a client that sends one is after that difference, or mistaken.
pub(super) fn upgrade_fault(head: &Head, early: &[u8]) -> Option<&'static str> {
    let has_length = head.raw("content-length").any(|length| length.iter().any(|digit| *digit != b'0'));
    if has_length || head.raw("transfer-encoding").next().is_some() {
        return Some("A request to upgrade has no body.");
    }
    early_fault(early)
}

/// What is wrong with bytes that came before the request was answered: they are the begin of a client's first frame
/// (RFC 6455, 5.2), or another HTTP request.
pub(super) fn early_fault(early: &[u8]) -> Option<&'static str> {
    let first = early.first().is_none_or(|byte| matches!(byte, 0x01 | 0x02 | 0x81 | 0x82 | 0x88..=0x8a));
    let masked = early.get(1).is_none_or(|byte| byte & 0x80 != 0);
    if first && masked { None } else { Some("Something other than a WebSocket frame follows the request.") }
}

/// Whether every LF has its CR, and every CR its LF.
pub(super) fn lines_end_in_crlf(bytes: &[u8]) -> bool {
    let mut before = 0;
    bytes.iter().all(|&byte| (std::mem::replace(&mut before, byte) == b'\r') == (byte == b'\n')) && before != b'\r'
}

fn target_fault(head: &Head) -> Option<&'static str> {
    let target = head.target.as_str();
    if target.contains('#') {
        return Some("The request target has a fragment.");
    }
    if !target.is_ascii() {
        return Some("The request target has a character that is not ASCII.");
    }
    match head.method.as_str() {
        "CONNECT" if is_authority(target.as_bytes()) => None,
        "OPTIONS" if target == "*" => None,
        _ if target.starts_with('/') || is_absolute(target) => None,
        _ => Some("The request target is neither a path nor an absolute URL."),
    }
}

fn is_absolute(target: &str) -> bool {
    let Some((scheme, rest)) = target.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme))
        && !authority.is_empty()
        && is_authority(authority.as_bytes())
}

fn host_fault(head: &Head) -> Option<&'static str> {
    let mut hosts = head.raw("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if head.http_1_1 => Some("The Host field is missing."),
        (Some(_), Some(_)) => Some("There is more than one Host field."),
        (Some(host), None) if !is_authority(host) => Some("The Host field is not a name or address and a port."),
        _ => None,
    }
}

/// `uri-host [":" port]` (RFC 9110, 7.2; RFC 3986, 3.2.2). The name may be empty.
fn is_authority(text: &[u8]) -> bool {
    let (is_literal, name, rest) = match text.strip_prefix(b"[") {
        Some(literal) => {
            let mut parts = literal.splitn(2, |byte| *byte == b']');
            let (Some(name), Some(rest)) = (parts.next(), parts.next()) else { return false };
            (true, name, rest)
        }
        None => {
            let (name, rest) = text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len()));
            (false, name, rest)
        }
    };
    let in_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte) || (is_literal && *byte == b':');
    name.iter().all(in_name)
        && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit)))
}

/// Whatever leaves the length of the body to interpretation (RFC 9112, 6.3).
fn length_fault(head: &Head) -> Option<&'static str> {
    let mut lengths = head.raw("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Some("There is more than one Content-Length field.");
    }
    if length.is_some_and(|text| !is_length(text)) {
        return Some("The Content-Length field is not a number of bytes.");
    }
    let codings: Vec<_> = head.raw("transfer-encoding").flat_map(|text| text.split(|byte| *byte == b',')).collect();
    let last = codings.last()?;
    if length.is_some() {
        return Some("There are both a Content-Length and a Transfer-Encoding field.");
    }
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    if !is_chunked(last) || codings.iter().filter(|coding| is_chunked(coding)).count() > 1 {
        return Some("The last Transfer-Encoding, and it alone, has to be chunked.");
    }
    if head.http_1_1 { None } else { Some("HTTP/1.0 has no Transfer-Encoding.") }
}

fn is_length(text: &[u8]) -> bool {
    // `parse` alone would take a sign.
    text.iter().all(u8::is_ascii_digit) && std::str::from_utf8(text).is_ok_and(|text| text.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(text: &str) -> Option<&'static str> {
        let (head, length) = Head::parse(text.as_bytes()).unwrap().unwrap();
        let (bytes, early) = text.as_bytes().split_at(length);
        fault(bytes, &head).or_else(|| upgrade_fault(&head, early))
    }

    fn with_fields(fields: &str) -> Option<&'static str> {
        fault_of(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
    }

    fn with_target(target: &str) -> Option<&'static str> {
        fault_of(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    fn with_host(host: &str) -> Option<&'static str> {
        fault_of(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    #[test]
    fn a_body_and_whatever_leaves_its_length_open_is_a_fault() {
        assert_eq!(with_fields(""), None);
        assert_eq!(with_fields("Content-Length: 0\r\n"), None);
        for (fields, word) in [
            ("Content-Length: 5\r\n", "no body"),
            ("Transfer-Encoding: chunked\r\n", "no body"),
            ("Transfer-Encoding: gzip, chunked\r\n", "no body"),
            ("Content-Length: 0\r\nContent-Length: 0\r\n", "more than one"),
            ("Content-Length: 0, 0\r\n", "number of bytes"),
            ("Content-Length: -1\r\n", "number of bytes"),
            ("Content-Length: +0\r\n", "number of bytes"),
            ("Content-Length:\r\n", "number of bytes"),
            ("Content-Length: 18446744073709551616\r\n", "number of bytes"),
            ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "both"),
            ("Transfer-Encoding: xchunked\r\n", "chunked"),
            ("Transfer-Encoding: chunked, chunked\r\n", "chunked"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "chunked"),
            ("Transfer-Encoding:\r\n", "chunked"),
        ] {
            assert!(
                with_fields(fields).is_some_and(|fault| fault.contains(word)),
                "{fields:?}: {:?}",
                with_fields(fields)
            );
        }
    }

    #[test]
    fn a_target_is_a_path_or_an_absolute_url_without_a_fragment() {
        for target in ["/", "//a", "/{|}^`", "http://x", "HTTPS://x:1/a?b", "ws://[::1]/", "wss://x?a"] {
            assert_eq!(with_target(target), None, "{target}");
        }
        for target in [
            "a",
            "?a",
            "*",
            "x:80",
            "/a#b",
            "/#",
            "http:///a",
            "http:/a",
            "ftp://x/",
            "http://u:p@x/",
            "/\u{fc}",
            "://x",
        ] {
            assert!(with_target(target).is_some(), "{target}");
        }
    }

    #[test]
    fn there_is_one_host_with_a_name_or_address() {
        for host in ["x", "", "x:80", "x:", "127.0.0.1:1", "[::1]", "[fe80::1%25en0]:8080", "a_b.c-d"] {
            assert_eq!(with_host(host), None, "{host}");
        }
        for host in ["a b", "a/b", "a@b", "x:y", "[::1", "[::1]x", "::1", "\u{fc}.de", "x\r\nHost: x", "x\r\nhost: y"] {
            assert!(with_host(host).is_some(), "{host}");
        }
        assert!(fault_of("GET / HTTP/1.1\r\n\r\n").is_some());
        assert_eq!(fault_of("GET / HTTP/1.0\r\n\r\n"), None);
    }

    #[test]
    fn every_line_ends_in_crlf() {
        assert!(lines_end_in_crlf(b"") && lines_end_in_crlf(b"a\r\n\r\n"));
        for bytes in [&b"\n"[..], b"a\n\r\n", b"a\r\n\n", b"a\rb\r\n", b"a\r\r\n", b"a\r"] {
            assert!(!lines_end_in_crlf(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn only_a_frame_of_a_client_follows() {
        for early in [&b""[..], b"\x82", b"\x82\x80", b"\x02\xfe\x01\x00", b"\x81\x80", b"\x88\x80", b"\x89\x80"] {
            assert_eq!(early_fault(early), None, "{early:?}");
        }
        for early in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"G",
            b"\r\n",
            b"\n",
            b"hello",
            b"\x82\x01",
            b"\x80\x80",
            b"\x09\x80",
            b"\xc2\x80",
        ] {
            assert!(early_fault(early).is_some(), "{early:?}");
        }
    }
}
