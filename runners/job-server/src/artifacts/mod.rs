//! Keeps the files that pipelines bring along, as long as somebody needs them.
//!
//! ```text
//!   staging ─writer─► keep ─► ArtifactLease ─► preparation ─► job ─► dropped when the job has ended
//!                                │ counts
//!                                ▼
//!                     store: content by SHA-256; gone with its last lease
//! ```
//! Two jobs that bring the same file share it. Does not know what the files are for.

mod folder;
mod memory;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use purlin_backend::{ArtifactError, ArtifactHash, ArtifactStore, ArtifactWriter};

pub(crate) use folder::FolderArtifacts;
pub use folder::FolderError;
pub(crate) use memory::MemoryArtifacts;

/// A store that can also forget.
pub(crate) trait ArtifactKeeper: ArtifactStore {
    /// Forgets this content, if it is there.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    fn remove(&self, hash: ArtifactHash) -> Result<(), ArtifactError>;
}

/// The artifacts of a server.
#[derive(Debug)]
pub(crate) struct Artifacts {
    store: Arc<dyn ArtifactKeeper>,
    /// How many leases each content has, at least 1. The lock is held while content is added or removed, so that what
    /// one job brings cannot vanish because another one ends.
    leases: Mutex<BTreeMap<ArtifactHash, usize>>,
}

impl Artifacts {
    pub(crate) fn new(store: Arc<dyn ArtifactKeeper>) -> Arc<Self> {
        Arc::new(Self { store, leases: Mutex::default() })
    }

    /// The store itself, for workers.
    pub(crate) fn store(&self) -> Arc<dyn ArtifactStore> {
        self.store.clone()
    }

    /// Begins an artifact.
    pub(crate) fn create(&self) -> Result<Box<dyn ArtifactWriter>, ArtifactError> {
        self.store.create()
    }

    /// Ends an artifact and keeps it while the lease lives.
    pub(crate) fn keep(self: &Arc<Self>, writer: Box<dyn ArtifactWriter>) -> Result<ArtifactLease, ArtifactError> {
        let mut leases = self.lock();
        let hash = writer.finish()?;
        *leases.entry(hash).or_default() += 1;
        Ok(ArtifactLease { artifacts: self.clone(), hash })
    }

    /// Keeps content that is there already, or tells that it is not.
    pub(crate) fn keep_known(self: &Arc<Self>, hash: ArtifactHash) -> Option<ArtifactLease> {
        *self.lock().get_mut(&hash)? += 1;
        Some(ArtifactLease { artifacts: self.clone(), hash })
    }

    fn release(&self, hash: ArtifactHash) {
        let mut leases = self.lock();
        if let Entry::Occupied(mut lease) = leases.entry(hash) {
            *lease.get_mut() -= 1;
            if *lease.get() == 0 {
                lease.remove();
                if let Err(error) = self.store.remove(hash) {
                    tracing::warn!(%error, "an artifact that nobody needs stays");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ArtifactHash, usize>> {
        // The counts are right at every point where a thread could panic.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Content that is kept while this lives.
#[derive(Debug)]
pub(crate) struct ArtifactLease {
    artifacts: Arc<Artifacts>,
    hash: ArtifactHash,
}

impl ArtifactLease {
    /// The content's address.
    pub(crate) fn hash(&self) -> ArtifactHash {
        self.hash
    }
}

impl Drop for ArtifactLease {
    fn drop(&mut self) {
        self.artifacts.release(self.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(artifacts: &Arc<Artifacts>, chunks: &[&[u8]]) -> ArtifactLease {
        let mut writer = artifacts.create().unwrap();
        for chunk in chunks {
            writer.write(chunk).unwrap();
        }
        artifacts.keep(writer).unwrap()
    }

    fn check(store: Arc<dyn ArtifactKeeper>) {
        let artifacts = Artifacts::new(store);
        let first = write(&artifacts, &[b"hello, ", b"", b"world"]);
        let hash = first.hash();
        // printf 'hello, world' | sha256sum
        assert_eq!(hash.to_string(), "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b");
        let store = artifacts.store();
        assert_eq!(store.read(hash, 0, 5).unwrap(), b"hello");
        assert_eq!(store.read(hash, 7, 100).unwrap(), b"world");
        assert_eq!(store.read(hash, 12, 100).unwrap(), b"");
        assert_eq!(store.read(hash, u64::MAX, 100).unwrap(), b"");

        let second = write(&artifacts, &[b"hello, world"]);
        let third = artifacts.keep_known(hash).unwrap();
        drop(first);
        drop(second);
        assert!(store.contains(hash));
        drop(third);
        assert!(!store.contains(hash));
        assert!(artifacts.keep_known(hash).is_none());
        let missing = store.read(hash, 0, 1).unwrap_err();
        assert!(matches!(missing, ArtifactError::Missing(missing) if missing == hash), "{missing}");

        let empty = write(&artifacts, &[]);
        assert_eq!(store.read(empty.hash(), 0, 1).unwrap(), b"");
    }

    #[test]
    fn content_lives_as_long_as_somebody_needs_it() {
        check(Arc::new(MemoryArtifacts::default()));
        check(Arc::new(FolderArtifacts::temporary().unwrap()));
    }

    #[test]
    fn a_writer_that_is_dropped_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(Arc::new(FolderArtifacts::open(dir.path()).unwrap()));
        let mut writer = artifacts.create().unwrap();
        writer.write(b"half").unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(dir.path().join("artifacts")).unwrap().count(), 0);
    }
}
