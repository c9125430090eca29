//! Text that stays in the buffer it arrived in.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// UTF-8 text over shared bytes, checked once when made (PROTOCOL section 1). Cloning is cheap.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(
    /// Valid UTF-8: `new` checks it, `trusted` is told so, the other constructors start from `str`.
    Bytes,
);

/// Bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8 {
    /// Length in bytes of the longest valid beginning.
    pub valid_up_to: usize,
}

impl Text {
    /// Takes the bytes as text, without a copy, if they are UTF-8.
    #[inline(always)]
    pub fn new(bytes: Bytes) -> Result<Self, NotUtf8> {
        // `from_utf8` crawls until it reaches an aligned word and a payload begins at an odd offset:
        // for 16 bytes of ASCII this scan costs a quarter, for 1 KiB and up half.
        if bytes.is_ascii() {
            return Ok(Self(bytes));
        }
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(error) => Err(NotUtf8 { valid_up_to: error.valid_up_to() }),
        }
    }

    /// Takes bytes of which it is known that they are UTF-8, as those that an engine has just encoded. They are
    /// not checked; if they were something else, the peer would refuse them.
    #[inline]
    pub fn trusted(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The UTF-8 bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The UTF-8 bytes, without a copy.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The same text in an allocation of its own, apart from the buffer it arrived in.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Whether every character is ASCII. Computed on each call.
    #[inline]
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text as a `str`. Checks the bytes again (a free conversion needs `unsafe`), so it is
    /// for the rare textual use; it borrows and loses nothing.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.to_str_lossy(), f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_str_lossy(), f)
    }
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not UTF-8 from byte {}", self.valid_up_to)
    }
}

impl std::error::Error for NotUtf8 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_the_buffer_it_was_given() {
        let bytes = Bytes::from(vec![b'a'; 64]);
        let text = Text::new(bytes.clone()).unwrap();
        assert_eq!(text.as_bytes().as_ptr(), bytes.as_ptr());
        assert_eq!(text.into_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn broken_text_is_refused_with_its_position() {
        // Both short and long: the two may take different paths through the check.
        for (ascii, bad) in [(0, 0xff), (5, 0x80), (31, 0xc3), (200, 0xed)] {
            let mut bytes = vec![b'a'; ascii];
            bytes.push(bad);
            let fault = Text::new(bytes.into()).unwrap_err();
            assert_eq!(fault, NotUtf8 { valid_up_to: ascii });
        }
        assert_eq!(NotUtf8 { valid_up_to: 5 }.to_string(), "not UTF-8 from byte 5");
    }

    #[test]
    fn text_shows_as_its_characters() {
        let text = Text::from("né\n");
        assert_eq!(text.to_string(), "né\n");
        assert_eq!(format!("{text:?}"), r#""né\n""#);
        assert_eq!(text, Text::from(String::from("né\n")));
        assert_eq!((text.len(), text.is_ascii(), text.is_empty()), (4, false, false));
        assert!(Text::default().is_empty() && Text::default().is_ascii());
    }
}
