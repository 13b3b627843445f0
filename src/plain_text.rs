//! Names and messages of others, made fit to be shown. A control character in a device's name, say, could
//! move a terminal's cursor or change what stands above; it is shown as `\u001b`, as JSON writes it.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::checksum::check_json;
use crate::file_error::FileError;

/// Whether a character does something to what shows it; line ends and tabs are in messages.
fn is_shown_escaped(character: char) -> bool {
    character.is_control() && !['\n', '\t'].contains(&character)
}

/// A text for a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_shown_escaped) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_shown_escaped(character) {
            // writing to a text does not fail
            true => drop(write!(plain, "\\u{:04x}", u32::from(character))),
            false => plain.push(character),
        }
    }
    Cow::Owned(plain)
}

/// What a JSON file says, its texts as [`of_json`] has them.
///
/// # Errors
/// [`FileError`] where it is not what its [checksum](crate::checksum) says, not UTF-8, or not what is
/// expected.
pub fn from_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, FileError> {
    check_json(bytes).map_err(|error| FileError::read(path, error))?;
    let text = of_json(bytes).map_err(|error| FileError::read(path, error))?;
    serde_json::from_str(&text).map_err(|error| FileError::read(path, error))
}

/// A JSON file in whose texts control characters are shown escaped, so that none gets from there into a
/// table, a figure or a terminal. What is no JSON is left as it is, for its reader to refuse.
///
/// # Errors
/// Where it is not UTF-8.
pub fn of_json(bytes: &[u8]) -> Result<Cow<'_, str>, std::str::Utf8Error> {
    let text = std::str::from_utf8(bytes)?;
    // between texts, too, lines may end with it
    let does_more = |character| is_shown_escaped(character) && character != '\r';
    let is_taken = |character| character == '\\' || does_more(character);
    if !text.contains(is_taken) {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(place) = rest.find(is_taken) {
        let (before, from) = rest.split_at(place);
        plain += before;
        let (shown, length) = escape(from);
        match shown.filter(|shown| is_shown_escaped(*shown)) {
            // twice escaped: the text then has the backslash
            Some(shown) => drop(write!(plain, "\\\\u{:04x}", u32::from(shown))),
            None => plain += &from[..length],
        }
        rest = &from[length..];
    }
    Ok(Cow::Owned(plain + rest))
}

/// The character at the beginning, which may be escaped, if that is known here; and its length.
fn escape(from: &str) -> (Option<char>, usize) {
    let mut characters = from.chars();
    let first = characters.next();
    if first != Some('\\') {
        return (first, first.map_or(0, char::len_utf8));
    }
    let second = characters.next();
    let code = || u32::from_str_radix(from.get(2..6)?, 16).ok();
    match second {
        Some('b') => (Some('\u{8}'), 2),
        Some('f') => (Some('\u{c}'), 2),
        Some('r') => (Some('\r'), 2),
        Some('u') => match code() {
            Some(code) => (char::from_u32(code), 6),
            None => (None, 2),
        },
        other => (None, 1 + other.map_or(0, char::len_utf8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn control_characters_are_shown_as_json_writes_them() {
        assert_eq!(
            printable("RTX\u{1b}[31m\r 4090\n\tβ\u{9b}"),
            "RTX\\u001b[31m\\u000d 4090\n\tβ\\u009b"
        );
        let read = |json: &str| -> String {
            serde_json::from_str(&of_json(json.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(
            read(r#""a\u001b[31m\u001B\b\r\u007fz""#),
            "a\\u001b[31m\\u001b\\u0008\\u000d\\u007fz"
        );
        // an escaped backslash before it, line ends, other escapes, and a character as it is
        assert_eq!(read(r#""\\u001b \n \u00e9 \" \/""#), "\\u001b \n é \" /");
        assert_eq!(read("\"a\u{9b}b\u{7f}\""), "a\\u009bb\\u007f");
    }

    proptest! {
        #[test]
        fn what_is_read_of_any_text_is_that_text_printable(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let read: String = serde_json::from_str(&of_json(json.as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(read, printable(&text));
        }

        #[test]
        fn what_is_no_json_is_never_cut_amid_a_character(text in "[\\\\u0-9a-fé\u{1b}\"]*") {
            let _ = of_json(text.as_bytes());
        }
    }
}
