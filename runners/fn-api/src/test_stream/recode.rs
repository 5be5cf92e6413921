//! From an element as a TestStream's event has it, to the same element as the output's coder wants it.
//!
//! ```text
//!   outer:   key, nested │ value, to the end of the buffer       nested: [length] key │ [length] value
//! ```
//! The plan has put lengths around what only an SDK can read, and only that.

use purlin_model::coder::varint::write_length;
use purlin_model::coder::{Coder, Context};

/// # Errors
/// What is wrong with the element, or with the coders.
pub(super) fn to_nested(coder: &Coder, output: &Coder, outer: &[u8]) -> Result<Vec<u8>, String> {
    let mut nested = Vec::with_capacity(outer.len() + 4);
    append(coder, output, outer, &mut nested)?;
    Ok(nested)
}

/// An element of Go's: it stands already as the output's coder wants it, but for the length of a row, which only the pipeline has.
///
/// # Errors
/// If it does not.
pub(super) fn nested(output: &Coder, element: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = element;
    if let Coder::LengthPrefix(inner) = output
        && inner.skip(&mut rest, Context::Nested).is_ok()
        && rest.is_empty()
    {
        let mut nested = Vec::with_capacity(element.len() + 4);
        with_length(element, &mut nested)?;
        return Ok(nested);
    }
    let mut rest = element;
    match output.skip(&mut rest, Context::Nested) {
        Ok(()) if rest.is_empty() => Ok(element.to_vec()),
        Ok(()) => Err(format!("has {} bytes behind what its coder `{output}` reads", rest.len())),
        Err(error) => Err(format!("its coder `{output}` cannot read: {error}")),
    }
}

fn append(coder: &Coder, output: &Coder, outer: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    match (coder, output) {
        (Coder::Kv(key, value), Coder::Kv(output_key, output_value)) => {
            let mut rest = outer;
            key.skip(&mut rest, Context::Nested).map_err(|error| {
                format!(
                    "has a key that cannot be found: {error}; give the TestStream a coder whose keys are strings, \
                     bytes or numbers, or make pairs behind it"
                )
            })?;
            let key_bytes = &outer[..outer.len() - rest.len()];
            if is_wrapped(key, output_key) {
                write_length(key_bytes.len(), out);
            }
            out.extend_from_slice(key_bytes);
            append(value, output_value, rest, out)
        }
        (Coder::Bytes | Coder::StringUtf8, _) | (Coder::LengthPrefix(_), Coder::Bytes) => with_length(outer, out),
        _ if is_wrapped(coder, output) => with_length(outer, out),
        (Coder::Kv(..), _) | (_, Coder::Kv(..)) => Err(format!(
            "is encoded as `{coder}`, and its readers want `{output}`; put a transform between the TestStream and them"
        )),
        // All others say where they end in either context.
        _ => {
            out.extend_from_slice(outer);
            Ok(())
        }
    }
}

/// Whether the plan has put a length around it.
fn is_wrapped(coder: &Coder, output: &Coder) -> bool {
    matches!(output, Coder::LengthPrefix(_)) && !matches!(coder, Coder::LengthPrefix(_))
}

fn with_length(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use purlin_model::coder::UnknownCoder;

    fn any() -> Coder {
        Coder::Unknown(Arc::new(UnknownCoder {
            urn: "any".to_owned(),
            payload: Vec::new().into(),
            components: Vec::new(),
        }))
    }

    fn wrapped() -> Coder {
        Coder::LengthPrefix(Arc::new(any()))
    }

    #[test]
    fn what_is_nested_already_stays() {
        assert_eq!(nested(&Coder::StringUtf8, b"\x01a"), Ok(b"\x01a".to_vec()));
        assert_eq!(nested(&Coder::LengthPrefix(Arc::new(Coder::StringUtf8)), b"\x01a"), Ok(b"\x02\x01a".to_vec()));
        assert_eq!(nested(&wrapped(), b"\x01a"), Ok(b"\x01a".to_vec()), "what nobody can read has its length");
        assert!(nested(&Coder::StringUtf8, b"\x01ab").unwrap_err().contains("1 bytes behind"));
        assert!(nested(&Coder::StringUtf8, b"\x05a").unwrap_err().contains("cannot read"));
    }

    #[track_caller]
    fn check(coder: &Coder, output: &Coder, outer: &[u8], nested: &[u8]) {
        assert_eq!(to_nested(coder, output, outer), Ok(nested.to_vec()));
    }

    #[test]
    fn what_does_not_say_its_end_gets_a_length() {
        check(&Coder::StringUtf8, &Coder::StringUtf8, b"ab", b"\x02ab");
        check(&Coder::Bytes, &Coder::Bytes, b"", b"\x00");
        check(&any(), &wrapped(), b"xyz", b"\x03xyz");
        check(&Coder::VarInt, &Coder::VarInt, &[5], &[5]);
        check(&wrapped(), &wrapped(), b"\x01x", b"\x01x");
    }

    #[test]
    fn of_a_pair_the_key_is_nested_already() {
        let pair = Coder::kv(Coder::StringUtf8, Coder::VarInt);
        check(&pair, &pair, b"\x01k\x05", b"\x01k\x05");
        let opaque = Coder::kv(Coder::StringUtf8, any());
        check(&opaque, &Coder::kv(Coder::StringUtf8, wrapped()), b"\x01kxyz", b"\x01k\x03xyz");
        let inner = Coder::kv(Coder::VarInt, Coder::kv(Coder::VarInt, Coder::Bytes));
        check(&inner, &inner, b"\x01\x02ab", b"\x01\x02\x02ab");
    }

    #[test]
    fn keys_that_only_an_sdk_can_read_are_refused() {
        let pair = Coder::kv(any(), any());
        assert!(to_nested(&pair, &Coder::kv(wrapped(), wrapped()), b"xyz").is_err());
        assert!(to_nested(&any(), &Coder::kv(wrapped(), wrapped()), b"xyz").is_err());
    }
}
