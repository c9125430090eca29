//! Keeps what must not be known out of what another server says: many a server quotes the URL it was asked for.

use std::fmt::Write as _;

use super::{ConnectError, Target};
use crate::session::CloseReason;

/// What takes the place of a secret.
const HIDDEN: &str = "***";

/// Below that many bytes a secret is no secret, and would be found in innocent words.
const SHORTEST: usize = 4;

/// What stands before the token in a URL.
const FIELD: &str = "authorization=";

/// The bearer token and the URL's query, as they may be quoted.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(target: &Target) -> Self {
        let mut spellings = Vec::new();
        add_spellings(&target.token, &mut spellings);
        if let Some((_, query)) = target.path.split_once('?') {
            for pair in query.split('&') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                add_spellings(if value.is_empty() { name } else { value }, &mut spellings);
                for (_, value) in form_urlencoded::parse(pair.as_bytes()) {
                    add_spellings(&value, &mut spellings);
                }
            }
        }
        spellings.retain(|one| one.len() >= SHORTEST);
        // One may be part of another.
        spellings.sort_unstable_by_key(|one| std::cmp::Reverse(one.len()));
        spellings.dedup();
        Secrets(spellings)
    }

    /// The error, without them.
    pub(super) fn hide_in(&self, error: ConnectError) -> ConnectError {
        match error {
            ConnectError::Refused { status, reason, body } => {
                ConnectError::Refused { status, reason: self.hide(reason), body: self.hide(body) }
            }
            ConnectError::NotWebSocket(text) => ConnectError::NotWebSocket(self.hide(text)),
            ConnectError::Closed(CloseReason { code, reason }) => {
                ConnectError::Closed(CloseReason { code, reason: self.hide(reason) })
            }
            other => other,
        }
    }

    fn hide(&self, mut text: String) -> String {
        for secret in &self.0 {
            text = text.replace(secret, HIDDEN);
        }
        // The end of a text may have been cut off in the middle of one.
        for secret in &self.0 {
            let mut cut = (SHORTEST..secret.len()).rev().filter_map(|end| secret.get(..end));
            if let Some(part) = cut.find(|part| text.ends_with(part)) {
                text.truncate(text.len().saturating_sub(part.len()));
                text.push_str(HIDDEN);
                break;
            }
        }
        hide_fields(&text)
    }
}

/// The ways in which servers quote a text: in URLs, in HTML, in JSON.
fn add_spellings(secret: &str, spellings: &mut Vec<String>) {
    let form = percent(secret, "-_.*");
    let plus = form.replace("%20", "+");
    for one in [secret.to_owned(), percent(secret, "-_.!~*'()"), form, percent(secret, "-_.~"), plus] {
        let html = one.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        spellings.push(html.replace('\'', "&#39;"));
        spellings.push(html);
        spellings.push(one.replace('\\', "\\\\").replace('"', "\\\""));
        spellings.push(one.to_lowercase());
        spellings.push(one);
    }
}

/// Percent-encoded but for letters, digits and what is in `plain`.
fn percent(text: &str, plain: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Hides what a URL has behind `authorization=`, however it is encoded.
fn hide_fields(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    // Both have the same length.
    let (mut rest, mut lower) = (text, lower.as_str());
    while let Some(at) = lower.find(FIELD)
        && let Some((shown, value)) = rest.split_at_checked(at.saturating_add(FIELD.len()))
    {
        let end = value.find(|c: char| c.is_whitespace() || "&\"'<>".contains(c)).unwrap_or(value.len());
        out.push_str(shown);
        out.push_str(HIDDEN);
        rest = value.get(end..).unwrap_or_default();
        lower = lower.get(lower.len().saturating_sub(rest.len())..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn secrets(path: &str, token: &str) -> Secrets {
        Secrets::of(&Target {
            origin: "ws://h:1".to_owned(),
            host: "h".to_owned(),
            port: 1,
            authority: "h:1".to_owned(),
            path: path.to_owned(),
            token: token.to_owned(),
            tls: None,
            timeout: Duration::ZERO,
        })
    }

    #[test]
    fn the_token_is_hidden_however_it_is_written() {
        let known = secrets("/", "to ken/\"&'é");
        for text in
            ["to ken/\"&'é", "to%20ken%2F%22%26%27%C3%A9", "to+ken%2f%22%26%27%c3%a9", "to ken/&quot;&amp;&#39;é"]
        {
            assert_eq!(known.hide(format!("a {text} b")), "a *** b");
        }
    }

    #[test]
    fn a_short_token_is_hidden_in_urls_and_nowhere_else() {
        let text = "an answer to GET /?Authorization=Bearer%20a&x=1 and authorization=a".to_owned();
        assert_eq!(secrets("/", "a").hide(text), "an answer to GET /?Authorization=***&x=1 and authorization=***");
    }

    #[test]
    fn the_values_of_the_query_are_hidden_and_so_is_a_part_at_the_end() {
        let known = secrets("/a?key=swordfish&plain", "MySuperSecretToken");
        assert_eq!(known.hide("GET /a?key=swordfish".to_owned()), "GET /a?key=***");
        assert_eq!(known.hide("cut off: MySuperSec".to_owned()), "cut off: ***");
        assert_eq!(known.hide("nothing to hide".to_owned()), "nothing to hide");
    }
}
