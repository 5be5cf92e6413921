//! How a batch stands on disk: what describes it, apart from its values, which are long and passed on as they are.
//!
//! ```text
//!   description: min timestamp i64 │ elements u32 │ headers u32, each u32 long │ headers' bytes │ ends u32… │ of u32…
//!   values:      [value][value]…
//! ```
//! Little endian. Whoever keeps both also keeps checksums; what is read here is checked all the same, and never trusted
//! for how much to allocate.

use bytes::Bytes;
use purlin_model::time::EventTime;
use thiserror::Error;

use super::ElementBatch;
use super::batch::Headers;

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("what stands there is no batch of elements")]
pub struct StoredBatchError;

impl ElementBatch {
    /// The values, which with [`describe`](Self::describe) make the batch again.
    pub fn values(&self) -> &Bytes {
        &self.values
    }

    /// Appends all but the values.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.min_timestamp.millis().to_le_bytes());
        put(out, self.ends.len() as u32);
        match &self.headers {
            Headers::Uniform(header) => {
                put(out, 1);
                put(out, header.len() as u32);
                out.extend_from_slice(header);
            }
            Headers::Table { bytes, ends, .. } => {
                put(out, ends.len() as u32);
                put_all(out, ends);
                out.extend_from_slice(bytes);
            }
        }
        put_all(out, &self.ends);
        if let Headers::Table { of, .. } = &self.headers {
            put_all(out, of);
        }
    }

    /// The batch that was described so.
    ///
    /// # Errors
    /// If the description is none, or none of these values.
    pub fn from_stored(mut description: &[u8], values: Bytes) -> Result<Self, StoredBatchError> {
        let from = &mut description;
        let (timestamp, rest) = from.split_first_chunk::<8>().ok_or(StoredBatchError)?;
        *from = rest;
        let elements = take(from)? as usize;
        let headers = take(from)? as usize;
        let header_ends = take_all(from, headers)?;
        let header_bytes = from.get(..*header_ends.last().unwrap_or(&0) as usize).ok_or(StoredBatchError)?;
        *from = &from[header_bytes.len()..];
        let ends = take_all(from, elements)?;
        let of = if headers > 1 { take_all(from, elements)? } else { Vec::new() };
        let sound = from.is_empty()
            && header_ends.is_sorted()
            && ends.is_sorted()
            && ends.last().map_or(0, |end| *end as usize) == values.len()
            && of.iter().all(|index| (*index as usize) < headers)
            && (headers > 0 || elements == 0);
        if !sound {
            return Err(StoredBatchError);
        }
        let headers = if headers > 1 {
            Headers::Table { bytes: header_bytes.to_vec(), ends: header_ends, of }
        } else {
            Headers::Uniform(header_bytes.to_vec())
        };
        let min_timestamp = EventTime::from_millis(i64::from_le_bytes(*timestamp));
        Ok(Self::of_parts(headers, values, ends, min_timestamp))
    }
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_all(out: &mut Vec<u8>, numbers: &[u32]) {
    out.reserve(4 * numbers.len());
    numbers.iter().for_each(|number| put(out, *number));
}

fn take(from: &mut &[u8]) -> Result<u32, StoredBatchError> {
    let (number, rest) = from.split_first_chunk::<4>().ok_or(StoredBatchError)?;
    *from = rest;
    Ok(u32::from_le_bytes(*number))
}

fn take_all(from: &mut &[u8], count: usize) -> Result<Vec<u32>, StoredBatchError> {
    let length = count.checked_mul(4).filter(|length| *length <= from.len()).ok_or(StoredBatchError)?;
    let (numbers, rest) = from.split_at(length);
    *from = rest;
    Ok(numbers.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ElementBatchBuilder;

    fn batch(elements: &[(&str, &str)]) -> ElementBatch {
        let mut builder = ElementBatchBuilder::new();
        for (index, (header, value)) in elements.iter().enumerate() {
            builder.push(header.as_bytes(), EventTime::from_millis(5 - index as i64), value.as_bytes());
        }
        builder.finish()
    }

    fn check(elements: &[(&str, &str)]) {
        let batch = batch(elements);
        for (index, (header, value)) in elements.iter().enumerate() {
            assert_eq!((batch.get(index).header, batch.get(index).value), (header.as_bytes(), value.as_bytes()));
        }
        let mut description = Vec::new();
        batch.describe(&mut description);
        assert_eq!(ElementBatch::from_stored(&description, batch.values().clone()), Ok(batch.clone()));
        for cut in 0..description.len() {
            let cut = ElementBatch::from_stored(&description[..cut], batch.values().clone());
            assert_eq!(cut, Err(StoredBatchError));
        }
        for (position, bit) in (0..description.len()).flat_map(|position| (0..8).map(move |bit| (position, bit))) {
            // Whatever it says then, it must be something that can be read without a panic.
            let mut altered = description.clone();
            altered[position] ^= 1 << bit;
            if let Ok(batch) = ElementBatch::from_stored(&altered, batch.values().clone()) {
                batch.iter(0, batch.len()).for_each(|element| drop(element.value.to_vec()));
            }
        }
    }

    #[test]
    fn a_batch_stands_on_disk_as_it_was() {
        check(&[]);
        check(&[("h", "a")]);
        check(&[("h", "a"), ("h", ""), ("h", "bcd")]);
        check(&[("h", "a"), ("", "b"), ("h", "c"), ("h", "d"), ("other", "")]);
    }

    #[test]
    fn batches_behind_one_another_are_one() {
        let parts =
            [batch(&[("h", "a"), ("h", "b")]), batch(&[]), batch(&[("h", "c"), ("g", "d")])].map(std::sync::Arc::new);
        let whole = ElementBatch::concat(&parts);
        let elements: Vec<_> = whole.iter(0, 9).map(|element| (element.header, element.value)).collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"h", b"a"), (b"h", b"b"), (b"h", b"c"), (b"g", b"d")];
        assert_eq!(elements, expected);
        assert_eq!(whole.min_timestamp(), EventTime::from_millis(4));
    }
}
