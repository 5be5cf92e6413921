//! A disk in memory, for simulations: as large as it is told, and as reliable.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    free: AtomicU64,
    files: AtomicU64,
    live: AtomicU64,
    /// Bits to turn over in whatever is read.
    damage: AtomicU64,
}

impl MemoryDisk {
    /// A disk with room for this many bytes.
    pub fn new(bytes: u64) -> Self {
        let disk = Self::default();
        disk.shared.free.store(bytes, Ordering::Relaxed);
        disk
    }

    /// How much room is left.
    pub fn free(&self) -> u64 {
        self.shared.free.load(Ordering::Relaxed)
    }

    /// How many files there are.
    pub fn files(&self) -> u64 {
        self.shared.live.load(Ordering::Relaxed)
    }

    /// From now on turns these bits over in the middle byte of everything that is read.
    pub fn damage(&self, bits: u8) {
        self.shared.damage.store(bits.into(), Ordering::Relaxed);
    }
}

impl Disk for MemoryDisk {
    fn create(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.shared.live.fetch_add(1, Ordering::Relaxed);
        let number = self.shared.files.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(MemoryFile { number, bytes: Mutex::default(), disk: self.shared.clone() }))
    }
}

#[derive(Debug)]
struct MemoryFile {
    number: u64,
    bytes: Mutex<Vec<u8>>,
    disk: Arc<Shared>,
}

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for MemoryFile {
    fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let taken = bytes.len() as u64;
        let take = |free: u64| free.checked_sub(taken);
        if self.disk.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = self.bytes();
        debug_assert!(file.len() as u64 == offset, "files are only appended to");
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let file = self.bytes();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = from.checked_add(into.len()).and_then(|until| file.get(from..until));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        let middle = into.len() / 2;
        if let Some(byte) = into.get_mut(middle) {
            *byte ^= self.disk.damage.load(Ordering::Relaxed) as u8;
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("file {} in memory", self.number)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.disk.free.fetch_add(self.bytes().len() as u64, Ordering::Relaxed);
        self.disk.live.fetch_sub(1, Ordering::Relaxed);
    }
}
