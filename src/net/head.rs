//! The request that opens a session (PROTOCOL section 1, Upgrade).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::refusal::Refusal;

/// Most header fields of a request.
const MAX_FIELDS: usize = 100;

/// A parsed request head. It has no `Debug`: the token is in it.
pub(super) struct Head {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) target: String,
    /// Names as sent, values as sent.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    http_1_1: bool,
}

/// What a CAMP upgrade request asks for, once it is known to be one. No `Debug`, as above.
pub(super) struct Credentials {
    pub(super) token: String,
    pub(super) sid: u64,
}

impl Head {
    /// The head at the start of `bytes` with its length; `None` while it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
            Err(error) => return Err(Refusal::BadRequest(error.to_string())),
        };
        let head = Head {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            http_1_1: request.version == Some(1),
            fields: request.headers.iter().map(|f| (f.name.to_owned(), f.value.to_owned())).collect(),
        };
        Ok(Some((head, length)))
    }

    /// Whether the client wants to speak WebSocket at all.
    pub(super) fn wants_websocket(&self) -> bool {
        self.lists("upgrade", "websocket") && self.lists("connection", "upgrade")
    }

    /// Whether the client wants to speak anything else than HTTP.
    pub(super) fn wants_upgrade(&self) -> bool {
        self.lists("connection", "upgrade") && self.values("upgrade").next().is_some()
    }

    /// Whether nothing says that an upgrade is meant for us: there is no token, or nothing of ours
    /// in the query (other protocols have an `Authorization` field too).
    pub(super) fn lacks_credentials(&self) -> bool {
        match self.credentials() {
            Err(Refusal::NoToken) => true,
            Err(_) => !self.query().any(|(name, _)| is_authorization(&name) || is_sid(&name)),
            Ok(_) => false,
        }
    }

    /// The key of a well-formed WebSocket upgrade (RFC 6455, 4.2.1).
    pub(super) fn websocket_key(&self) -> Result<&str, Refusal> {
        let bad = |what: &str| Err(Refusal::BadRequest(what.to_owned()));
        if self.method != "GET" {
            return bad("a WebSocket upgrade is a GET request");
        }
        if !self.http_1_1 {
            return bad("a WebSocket upgrade needs HTTP/1.1");
        }
        if self.values("host").next().is_none() {
            return bad("the Host field is missing");
        }
        if !self.values("sec-websocket-version").eq(["13"]) {
            return Err(Refusal::WrongVersion);
        }
        let mut keys = self.values("sec-websocket-key");
        match (keys.next(), keys.next()) {
            (Some(key), None) if BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) => Ok(key),
            (Some(_), _) => bad("Sec-WebSocket-Key is not 16 bytes in base64"),
            (None, _) => bad("the Sec-WebSocket-Key field is missing"),
        }
    }

    /// Token and sid, or the refusal that names what is missing, in the order of the specification.
    pub(super) fn credentials(&self) -> Result<Credentials, Refusal> {
        let mut from_query = None;
        let mut sids = Vec::new();
        for (name, value) in self.query() {
            if is_authorization(&name) {
                from_query.get_or_insert(value.into_owned());
            } else if is_sid(&name) {
                sids.push(parse_sid(&value));
            }
        }
        let authorization = match from_query {
            Some(value) => value,
            None => self.values("authorization").next().unwrap_or_default().to_owned(),
        };
        if authorization.is_empty() {
            return Err(Refusal::NoToken);
        }
        let Some(token) = authorization.strip_prefix("Bearer ") else { return Err(Refusal::NotBearer) };
        let Some(&first) = sids.first() else { return Err(Refusal::NoSid) };
        match first {
            Some(sid) if sids.iter().all(|other| *other == first) => Ok(Credentials { token: token.to_owned(), sid }),
            _ => Err(Refusal::InvalidSid),
        }
    }

    /// Whether the request names this path, whatever its query.
    pub(super) fn is_for(&self, path: &str) -> bool {
        self.target.split('?').next() == Some(path)
    }

    /// Whether the request comes from one of these origins. Only browsers name one.
    pub(super) fn comes_from(&self, allowed: &[String]) -> bool {
        self.values("origin").all(|origin| allowed.iter().any(|other| other.eq_ignore_ascii_case(origin)))
    }

    /// Whether the client offers the `camp` subprotocol.
    pub(super) fn offers_camp(&self) -> bool {
        self.values("sec-websocket-protocol").flat_map(|v| v.split(',')).any(|name| name.trim() == "camp")
    }

    fn query(&self) -> form_urlencoded::Parse<'_> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes())
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .map(str::trim)
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name).flat_map(|v| v.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

fn is_authorization(name: &str) -> bool {
    name.eq_ignore_ascii_case("authorization")
}

fn is_sid(name: &str) -> bool {
    name.eq_ignore_ascii_case("x-camp-sid") || name.eq_ignore_ascii_case("x-cryo-sid")
}

/// A uint64 in decimal, or hexadecimal after `0x`; nothing else.
fn parse_sid(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // from_str_radix alone would take a sign.
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(query: &str) -> Head {
        let text = format!("GET /?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
        Head::parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn a_sid_is_a_uint64_in_decimal_or_hexadecimal() {
        for (text, sid) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("0xfF", Some(255)),
            ("18446744073709551616", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("abc", None),
            ("0x", None),
            ("", None),
            (" 1", None),
        ] {
            assert_eq!(parse_sid(text), sid, "{text:?}");
        }
    }

    #[test]
    fn a_sid_given_twice_must_be_the_same() {
        let query = "authorization=Bearer%20t&x-camp-sid=7&x-CAMP-sid=7&x-cryo-sid=0x7";
        assert_eq!(head(query).credentials().unwrap().sid, 7);
        let query = "authorization=Bearer%20t&x-camp-sid=7&x-CAMP-sid=8";
        assert!(matches!(head(query).credentials(), Err(Refusal::InvalidSid)));
    }

    #[test]
    fn what_is_missing_is_named_in_order() {
        assert!(matches!(head("").credentials(), Err(Refusal::NoToken)));
        assert!(matches!(head("authorization=Basic%20x").credentials(), Err(Refusal::NotBearer)));
        assert!(matches!(head("authorization=Bearer%20t").credentials(), Err(Refusal::NoSid)));
        assert!(matches!(head("authorization=Bearer%20t&x-camp-sid=").credentials(), Err(Refusal::InvalidSid)));
    }
}
