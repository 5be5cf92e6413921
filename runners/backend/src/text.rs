//! Encoded values as people read them.

use purlin_model::coder::value::Value;
use purlin_model::coder::{Coder, Context};

/// How much of a key is shown.
const KEY_CHARS_MAX: usize = 60;

/// The key of an element with this coder, escaped, and cut if it is long.
pub(crate) fn key_text(coder: &Coder, key: &[u8]) -> String {
    match coder {
        Coder::Kv(coder, _) => value_text(coder, key, KEY_CHARS_MAX),
        _ => shortened(bytes_text(key), KEY_CHARS_MAX),
    }
}

/// A value in its nested encoding, escaped, and cut if it is long. What the coder cannot read is shown as bytes.
pub(crate) fn value_text(coder: &Coder, encoded: &[u8], chars_max: usize) -> String {
    let text = match coder.decode(&mut &*encoded, Context::Nested) {
        Ok(Value::Bytes(bytes)) => bytes_text(&bytes),
        Ok(Value::String(text)) => format!("{text:?}"),
        // Texts inside of it stand in quotes, which need no escape of their own.
        Ok(value) => without_controls(&value.to_string()),
        Err(_) => bytes_text(encoded),
    };
    shortened(text, chars_max)
}

/// A text of at most this many characters; a longer one ends in a mark.
pub(crate) fn shortened(text: String, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text;
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

fn bytes_text(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// Control characters are escaped; everything else stays, quotes too.
fn without_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn values_are_shown_without_what_a_terminal_would_obey() {
        let kv = Coder::Kv(Arc::new(Coder::StringUtf8), Arc::new(Coder::Bytes));
        let mut encoded = Vec::new();
        encoded.extend_from_slice(b"\x03a\"b\x02\x1b\xff");
        assert_eq!(value_text(&Coder::StringUtf8, b"\x03a\"b", 10), "\"a\\\"b\"");
        assert!(!value_text(&kv, &encoded, 100).contains('\x1b'));
        assert_eq!(key_text(&kv, b"\x03abc"), "\"abc\"");
        assert_eq!(value_text(&Coder::StringUtf8, b"\x09abcdefghi", 5), "\"abc…");
        assert_eq!(value_text(&Coder::StringUtf8, b"\xff", 10), "\"\\xff\"");
    }
}
