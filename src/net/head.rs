//! The request that opens a session (PROTOCOL section 1, Upgrade).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, PAD};

use super::refusal::Refusal;

/// Header fields that most requests keep to.
const USUAL_FIELDS: usize = 64;

/// As lenient as others with the bits that the last character does not need.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// A parsed request head. It has no `Debug`: the token is in it.
pub(super) struct Head {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) target: String,
    /// Names as sent, values as sent.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) http_1_1: bool,
}

/// What a CAMP upgrade request asks for, once it is known to be one. No `Debug`, as above.
pub(super) struct Credentials {
    pub(super) token: String,
    pub(super) sid: u64,
}

impl Head {
    /// The head at the start of `bytes` with its length; `None` while it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
        let mut usual = [httparse::EMPTY_HEADER; USUAL_FIELDS];
        match Self::parse_into(&mut usual, bytes) {
            Err(httparse::Error::TooManyHeaders) => {
                // A field takes a line: the bytes, which are limited, bound their number.
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                Self::parse_into(&mut vec![httparse::EMPTY_HEADER; lines.saturating_add(1)], bytes)
            }
            other => other,
        }
        .map_err(|error| Refusal::BadRequest(format!("The request head is malformed: {error}.")))
    }

    fn parse_into<'a>(
        fields: &mut [httparse::Header<'a>],
        bytes: &'a [u8],
    ) -> Result<Option<(Head, usize)>, httparse::Error> {
        let mut request = httparse::Request::new(fields);
        let httparse::Status::Complete(length) = request.parse(bytes)? else { return Ok(None) };
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
            return bad("A WebSocket upgrade is a GET request.");
        }
        if !self.http_1_1 {
            return bad("A WebSocket upgrade needs HTTP/1.1.");
        }
        if !self.raw("sec-websocket-version").eq([b"13"]) {
            return Err(Refusal::WrongVersion);
        }
        let mut keys = self.raw("sec-websocket-key");
        let key = match (keys.next(), keys.next()) {
            (Some(key), None) => key,
            (Some(_), Some(_)) => return bad("There is more than one Sec-WebSocket-Key field."),
            (None, _) => return bad("The Sec-WebSocket-Key field is missing."),
        };
        match std::str::from_utf8(key) {
            Ok(text) if BASE64.decode(text).is_ok_and(|nonce| nonce.len() == 16) => Ok(text),
            _ => bad("Sec-WebSocket-Key is not 16 bytes in base64."),
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
        let token = match from_query {
            Some(value) if value.is_empty() => return Err(Refusal::NoToken),
            Some(value) => bearer(&value).ok_or(Refusal::NotBearer)?.to_owned(),
            None => self.token_of_field()?,
        };
        let Some(&first) = sids.first() else { return Err(Refusal::NoSid) };
        match first {
            Some(sid) if sids.iter().all(|other| *other == first) => Ok(Credentials { token, sid }),
            _ => Err(Refusal::InvalidSid),
        }
    }

    /// The token in the `Authorization` field, which only matters if the query has none.
    fn token_of_field(&self) -> Result<String, Refusal> {
        let value = self.raw("authorization").next().unwrap_or_default();
        if value.is_empty() {
            return Err(Refusal::NoToken);
        }
        let text = std::str::from_utf8(value).map_err(|_| Refusal::NotBearer)?;
        // Any number of spaces may follow the scheme here (RFC 9110, 11.4).
        Ok(bearer(text).ok_or(Refusal::NotBearer)?.trim_start_matches(' ').to_owned())
    }

    /// Whether the request names this path, whatever its query.
    pub(super) fn is_for(&self, path: &str) -> bool {
        self.path() == path
    }

    /// Whether the client waits for a `100 Continue`.
    pub(super) fn expects_continue(&self) -> bool {
        self.lists("expect", "100-continue")
    }

    /// Whether the request comes from one of these origins. Only browsers name one.
    pub(super) fn comes_from(&self, allowed: &[String]) -> bool {
        self.raw("origin").all(|origin| allowed.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(origin)))
    }

    /// The subprotocol to answer with: `camp` if the client offers it, else the first that it offers.
    pub(super) fn subprotocol(&self) -> Result<Option<&str>, Refusal> {
        let mut first = None;
        for offer in self.raw("sec-websocket-protocol").flat_map(|value| value.split(|byte| *byte == b',')) {
            match std::str::from_utf8(offer.trim_ascii()) {
                Ok("") => {}
                Ok("camp") => return Ok(Some("camp")),
                Ok(name) if name.bytes().all(is_tchar) => {
                    first.get_or_insert(name);
                }
                _ => return Err(Refusal::BadRequest("Sec-WebSocket-Protocol is not a list of names.".to_owned())),
            }
        }
        Ok(first)
    }

    /// The values of a field as they are, without the white space around them.
    pub(super) fn raw<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_ascii())
    }

    /// The target's path, also of one in absolute form (RFC 9112, 3.2.2).
    fn path(&self) -> &str {
        let target = self.target.split('?').next().unwrap_or_default();
        match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
            }
            _ => target,
        }
    }

    fn query(&self) -> form_urlencoded::Parse<'_> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes())
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.raw(name).filter_map(|value| std::str::from_utf8(value).ok())
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name).flat_map(|v| v.split(',')).any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
    }
}

/// What follows the scheme, which is matched without regard to case (RFC 9110, 11.1), and its space.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Whether a token may have this character (RFC 9110, 5.6.2).
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
        with_fields(query, "")
    }

    fn with_fields(query: &str, fields: &str) -> Head {
        let text = format!("GET /?{query} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
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
    fn the_path_is_that_of_either_form() {
        for (target, path) in [
            ("/camp", "/camp"),
            ("/camp?x=http://y/z", "/camp"),
            ("/a://b", "/a://b"),
            ("http://x/camp", "/camp"),
            ("HTTPS://x:1/camp/?y=/z", "/camp/"),
            ("ws://x?y", "/"),
            ("http://x", "/"),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            let head = Head::parse(text.as_bytes()).unwrap().unwrap().0;
            assert!(head.is_for(path), "{target}");
            assert!(!head.is_for("/other"), "{target}");
        }
    }

    #[test]
    fn fields_are_as_many_as_there_are() {
        for count in [0, 63, 64, 65, 5000] {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(count));
            let (head, length) = Head::parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.fields.len(), length), (count, text.len()));
            let cut = &text.as_bytes()[..text.len() - 1];
            assert!(Head::parse(cut).unwrap().is_none(), "{count}");
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

    #[test]
    fn the_scheme_of_a_token_has_no_case() {
        let token = |query: &str, fields: &str| {
            with_fields(&format!("{query}&x-camp-sid=1"), fields).credentials().map(|found| found.token).ok()
        };
        let found = |text: &str| Some(text.to_owned());
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(token(&format!("authorization={scheme}%20%20t%20"), ""), found(" t "));
            assert_eq!(token(&format!("authorization={scheme}"), ""), None);
            assert_eq!(token(&format!("authorization={scheme}t%20"), ""), None);
            assert_eq!(token("", &format!("Authorization: {scheme}  t \r\n")), found("t"));
            assert_eq!(token("", &format!("Authorization: {scheme}\r\n")), None);
        }
        assert_eq!(token("authorization=", "Authorization: Bearer t\r\n"), None);
    }

    #[test]
    fn the_subprotocol_is_camp_or_the_first_offered() {
        let answer = |fields: &str| with_fields("", fields).subprotocol().map(|name| name.map(str::to_owned)).ok();
        for (offers, name) in [
            ("", None),
            ("Sec-WebSocket-Protocol:\r\n", None),
            ("Sec-WebSocket-Protocol: camp\r\n", Some("camp")),
            ("Sec-WebSocket-Protocol: a, camp\r\n", Some("camp")),
            ("Sec-WebSocket-Protocol: a,,b\r\nSec-WebSocket-Protocol: camp\r\n", Some("camp")),
            ("Sec-WebSocket-Protocol: CAMP, b\r\n", Some("CAMP")),
        ] {
            assert_eq!(answer(offers), Some(name.map(str::to_owned)), "{offers:?}");
        }
        for offers in ["a b", "a/b", "\"a\"", "\u{fc}"] {
            assert_eq!(answer(&format!("Sec-WebSocket-Protocol: {offers}\r\n")), None, "{offers}");
        }
    }
}
