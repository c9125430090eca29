//! The words of a system error.

use std::fmt;
use std::io;

/// An error in words, without the number that the standard library adds. Every [`io::Error`] that a person
/// may read goes through here: programs have its code.
#[derive(Clone, Copy, Debug)]
pub struct IoText<'a>(pub &'a io::Error);

impl fmt::Display for IoText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let number = self.0.raw_os_error().map(|number| format!(" (os error {number})"));
        f.write_str(number.and_then(|number| text.strip_suffix(&number)).unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_system_error_is_left_out() {
        let error = io::Error::from_raw_os_error(1);
        assert!(error.to_string().ends_with(" (os error 1)"));
        let text = IoText(&error).to_string();
        assert!(!text.is_empty() && !text.contains("os error"), "{text}");
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let error = io::Error::other("it says (os error 1)");
        assert_eq!(IoText(&error).to_string(), "it says (os error 1)");
    }
}
