//! Segments: files in which records stand behind one another, compressed, each with a checksum.
//!
//! ```text
//!   write(description, values) ─► compressed ─► one of the open segments ─► Record
//!   read(Record) ─► checked ─► description, values
//!
//!   record: "PUR1" │ lengths: description, stored; values, stored: 4 × u32 │ xxh3 of all else u64 │ description │ values
//! ```
//! A segment is gone when nobody holds a record in it any more. Does not know what a record holds.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use purlin_engine::store::StoreError;
use xxhash_rust::xxh3::Xxh3;

use crate::disk::{Disk, DiskFile};

/// A segment is closed when it is about this long. Short enough that the disk is given back while a job still runs.
const SEGMENT_BYTES: u64 = 32 << 20;

const MAGIC: &[u8; 4] = b"PUR1";

/// Magic, four lengths, checksum.
const HEAD_BYTES: usize = 4 + 4 * 4 + 8;

/// Files that nobody reads any more. Whoever frees a record must not wait for the disk, so they are removed by whoever writes
/// or reads next, at the latest with the store.
type Unread = Mutex<Vec<Arc<dyn DiskFile>>>;

/// Writes and reads the records of one job.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    disk: Arc<dyn Disk>,
    unread: Arc<Unread>,
    /// Segments that are not full and that nobody writes to just now.
    open: Mutex<Vec<OpenSegment>>,
    written: AtomicU64,
}

/// A segment that has one writer.
#[derive(Debug)]
struct OpenSegment {
    file: Arc<Segment>,
    length: u64,
}

#[derive(Debug)]
struct Segment {
    file: Option<Arc<dyn DiskFile>>,
    unread: Weak<Unread>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let (Some(file), Some(unread)) = (self.file.take(), self.unread.upgrade()) {
            unread.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        }
    }
}

impl std::ops::Deref for Segment {
    type Target = dyn DiskFile;

    fn deref(&self) -> &Self::Target {
        &**self.file.as_ref().expect("a segment has its file until it is dropped")
    }
}

/// A record, which is there as long as this is.
#[derive(Clone)]
pub(crate) struct Record {
    file: Arc<Segment>,
    offset: u64,
    length: u64,
    /// How much memory it takes when it is read.
    raw: u64,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {} of {}", self.length, self.offset, self.file.name())
    }
}

impl Record {
    /// How many bytes were written, before they were compressed.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw
    }

    /// How much of it is on disk.
    #[cfg(test)]
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.length
    }

    pub(crate) fn altered(&self, what: &str, why: impl Into<String>) -> StoreError {
        StoreError::Altered { what: what.to_owned(), file: self.file.name(), offset: self.offset, why: why.into() }
    }
}

impl SegmentStore {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, unread: Arc::default(), open: Mutex::default(), written: AtomicU64::new(0) }
    }

    /// How much was written to disk, all in all.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Writes a record.
    pub(crate) fn write(&self, description: &[u8], values: &[u8]) -> Result<Record, StoreError> {
        self.remove_unread();
        let record = encode(description, values);
        let open = self.open().pop();
        let mut segment = match open {
            Some(segment) => segment,
            None => {
                let file = self.disk.create().map_err(|error| full("begin a file", &error))?;
                OpenSegment {
                    file: Arc::new(Segment { file: Some(file), unread: Arc::downgrade(&self.unread) }),
                    length: 0,
                }
            }
        };
        let (offset, length) = (segment.length, record.len() as u64);
        if let Err(error) = segment.file.append(offset, &record) {
            let name = segment.file.name();
            // What was written of it is overwritten next time.
            self.open().push(segment);
            return Err(full(&format!("write data that does not fit into memory to {name}"), &error));
        }
        self.written.fetch_add(length, Ordering::Relaxed);
        segment.length += length;
        let file = segment.file.clone();
        if segment.length < SEGMENT_BYTES {
            self.open().push(segment);
        }
        Ok(Record { file, offset, length, raw: (description.len() + values.len()) as u64 })
    }

    /// Reads a record: the description, and the values. `what` it is, for errors.
    pub(crate) fn read(&self, record: &Record, what: &str) -> Result<(Vec<u8>, Bytes), StoreError> {
        self.remove_unread();
        // The length is the one that was written, not one that is read.
        let mut bytes = vec![0; record.length as usize];
        record.file.read_at(record.offset, &mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => record.altered(what, "it ends too early"),
            _ => record.altered(what, error.to_string()),
        })?;
        decode(&bytes, record.raw).map_err(|why| record.altered(what, why))
    }

    fn remove_unread(&self) {
        let unread = std::mem::take(&mut *self.unread.lock().unwrap_or_else(PoisonError::into_inner));
        drop(unread);
    }

    fn open(&self) -> MutexGuard<'_, Vec<OpenSegment>> {
        // Whole at every point where a thread could panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full(doing: &str, error: &io::Error) -> StoreError {
    StoreError::Io {
        doing: doing.to_owned(),
        why: format!("{error}; make room there, choose a larger disk with --data-dir, or a larger --memory-budget"),
    }
}

fn encode(description: &[u8], values: &[u8]) -> Vec<u8> {
    let mut record = vec![0; HEAD_BYTES];
    record.reserve(lz4_flex::block::get_maximum_output_size(values.len()));
    let stored_description = compress(description, &mut record);
    let stored_values = compress(values, &mut record);
    record[..4].copy_from_slice(MAGIC);
    let lengths = [description.len(), stored_description, values.len(), stored_values];
    for (index, length) in lengths.into_iter().enumerate() {
        record[4 + 4 * index..8 + 4 * index].copy_from_slice(&(length as u32).to_le_bytes());
    }
    let sum = checksum(&record);
    record[HEAD_BYTES - 8..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    record
}

/// Appends these bytes, compressed if that makes them shorter; returns how many were appended.
fn compress(bytes: &[u8], record: &mut Vec<u8>) -> usize {
    let at = record.len();
    record.resize(at + lz4_flex::block::get_maximum_output_size(bytes.len()), 0);
    let length = match lz4_flex::block::compress_into(bytes, &mut record[at..]) {
        Ok(length) if length < bytes.len() => length,
        // Not shorter; then they stand as they are, which their equal lengths tell.
        Ok(_) | Err(_) => {
            record[at..at + bytes.len()].copy_from_slice(bytes);
            bytes.len()
        }
    };
    record.truncate(at + length);
    length
}

/// Of all but the checksum itself.
fn checksum(record: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&record[..HEAD_BYTES - 8]);
    hash.update(&record[HEAD_BYTES..]);
    hash.digest()
}

fn decode(record: &[u8], raw: u64) -> Result<(Vec<u8>, Bytes), String> {
    let sum = record.get(HEAD_BYTES - 8..HEAD_BYTES).ok_or("it is too short")?;
    if record[..4] != *MAGIC || sum != checksum(record).to_le_bytes() {
        return Err("its checksum is wrong".to_owned());
    }
    let length = |index: usize| {
        let bytes = record[4 + 4 * index..8 + 4 * index].try_into().expect("four bytes are four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    let (description, stored_description, values, stored_values) = (length(0), length(1), length(2), length(3));
    let whole = record.len() == HEAD_BYTES + stored_description + stored_values && (description + values) as u64 == raw;
    if !whole {
        return Err("its lengths are wrong".to_owned());
    }
    let (first, second) = record[HEAD_BYTES..].split_at(stored_description);
    Ok((decompress(first, description)?, decompress(second, values)?.into()))
}

fn decompress(bytes: &[u8], length: usize) -> Result<Vec<u8>, String> {
    if bytes.len() == length {
        return Ok(bytes.to_vec());
    }
    lz4_flex::block::decompress(bytes, length).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn records_are_read_as_they_were_written() {
        let disk = MemoryDisk::new(1 << 20);
        let store = SegmentStore::new(Arc::new(disk.clone()));
        let compressible = vec![7; 100_000];
        let records = [(&b"about"[..], &b"values"[..]), (b"", b""), (b"more", &compressible)]
            .map(|(about, values)| (store.write(about, values).unwrap(), about, values));
        assert!(records[2].0.stored_bytes() < 1_000, "{records:?}");
        for (record, about, values) in &records {
            let read = store.read(record, "it").unwrap();
            assert_eq!((&read.0[..], &read.1[..]), (*about, *values));
        }
        assert_eq!(disk.files(), 1);
        drop(store);
        assert_eq!(disk.files(), 1, "records outlive their writer");
        drop(records);
        assert_eq!((disk.files(), disk.free()), (0, 1 << 20));
    }

    #[test]
    fn a_full_disk_is_told_and_can_be_used_when_there_is_room_again() {
        let disk = MemoryDisk::new(10_000);
        let store = SegmentStore::new(Arc::new(disk));
        let noise: Vec<u8> = (0..750u64).flat_map(|index| xxh3_64(&index.to_le_bytes()).to_le_bytes()).collect();
        let first = store.write(b"", &noise).unwrap();
        let full = store.write(b"", &noise).unwrap_err().to_string();
        assert!(full.contains("to file 0 in memory") && full.contains("--data-dir"), "{full}");
        let small = store.write(b"", b"small").unwrap();
        assert_eq!(&store.read(&small, "it").unwrap().1[..], b"small");
        assert_eq!(store.read(&first, "it").unwrap().1, noise);
    }

    proptest! {
        #[test]
        fn whatever_is_altered_is_noticed(
            about in prop::collection::vec(any::<u8>(), 0..20),
            values in prop::collection::vec(0u8..3, 0..200),
            position in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut record = encode(&about, &values);
            let raw = (about.len() + values.len()) as u64;
            let read = decode(&record, raw).unwrap();
            prop_assert_eq!((&read.0, &read.1[..]), (&about, &values[..]));
            for cut in 0..record.len() {
                prop_assert!(decode(&record[..cut], raw).is_err());
            }
            let position = position.index(record.len());
            record[position] ^= 1 << bit;
            prop_assert!(decode(&record, raw).is_err());
        }
    }
}
