//! Variable-length integers: seven bits a byte, least significant first, the high bit says "more follows".
//!
//! ```text
//!   300 = 0b10_0101100  ──►  ac 02        -1  ──►  ff ff ff ff ff ff ff ff ff 01
//! ```
//! A negative number is written as the 64-bit two's complement, so it always takes ten bytes. Overlong forms such as
//! `80 00` are read, as every SDK reads them, and never written.
//!
//! Does not know coders: who reads a varint says what it stood for.

use thiserror::Error;

/// The most bytes that a varint takes.
pub const VARINT_LEN_MAX: usize = 10;

/// Why bytes are not a varint.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum VarintError {
    /// The bytes end before the varint does.
    #[error("a varint is cut short")]
    Truncated,
    /// The varint holds more than 64 bits.
    #[error("a varint runs past 64 bits")]
    Overflow,
}

/// Reads one varint from the front of `bytes` and moves past it; about a nanosecond when it takes one byte.
///
/// # Errors
/// See [`VarintError`]; `bytes` then stays where it was.
#[inline]
pub fn read_varint(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    // Lengths and counts below 128 are what data is made of.
    if let [first @ 0..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Ok(i64::from(*first));
    }
    read_long(bytes)
}

fn read_long(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    let mut value = 0u64;
    for (place, &byte) in bytes.iter().take(VARINT_LEN_MAX).enumerate() {
        // Nine bytes give 63 bits; the tenth may give only the last one.
        if place == VARINT_LEN_MAX - 1 && byte > 1 {
            return Err(VarintError::Overflow);
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(value as i64);
        }
    }
    Err(VarintError::Truncated)
}

/// Appends `value` as a varint: [`varint_len`] bytes.
#[inline]
pub fn write_varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = value as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a length or an index as a varint.
#[inline]
pub fn write_length(length: usize, out: &mut Vec<u8>) {
    // No slice is longer than isize::MAX, so the sign bit is free.
    write_varint(length as i64, out);
}

/// How many bytes [`write_varint`] appends: 1 to [`VARINT_LEN_MAX`].
#[inline]
pub const fn varint_len(value: i64) -> usize {
    let bits = 64 - (value as u64 | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(value: i64, expected: &[u8]) {
        let mut out = Vec::new();
        write_varint(value, &mut out);
        assert_eq!(out, expected, "{value}");
    }

    #[test]
    fn numbers_have_the_bytes_that_sdks_send() {
        check(0, &[0]);
        check(127, &[0x7f]);
        check(128, &[0x80, 1]);
        check(300, &[0xac, 2]);
        check(-1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        check(i64::MIN, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]);
    }

    #[test]
    fn an_overlong_form_is_read_and_an_eleventh_byte_is_not() {
        assert_eq!(read_varint(&mut &[0x80, 0][..]), Ok(0));
        assert_eq!(read_varint(&mut &[0xff; 11][..]), Err(VarintError::Overflow));
        assert_eq!(
            read_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]),
            Err(VarintError::Overflow)
        );
    }

    proptest! {
        #[test]
        fn varints_round_trip(bits in any::<i64>(), shift in 0u32..64, tail in proptest::collection::vec(any::<u8>(), 0..3)) {
            let value = bits >> shift;
            let mut out = Vec::new();
            write_varint(value, &mut out);
            prop_assert_eq!(out.len(), varint_len(value));
            for cut in 0..out.len() {
                let mut short = &out[..cut];
                prop_assert_eq!(read_varint(&mut short), Err(VarintError::Truncated));
                prop_assert_eq!(short.len(), cut);
            }
            out.extend_from_slice(&tail);
            let mut rest = &out[..];
            prop_assert_eq!(read_varint(&mut rest), Ok(value));
            prop_assert_eq!(rest, &tail[..]);
        }
    }
}
