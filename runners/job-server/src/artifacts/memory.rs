//! Artifacts in this process: for embedding and tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use purlin_backend::{ArtifactError, ArtifactHash, ArtifactStore, ArtifactWriter};
use sha2::{Digest, Sha256};

use super::ArtifactKeeper;

/// Content by hash, in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryArtifacts {
    contents: Arc<Contents>,
}

#[derive(Debug, Default)]
struct Contents(Mutex<BTreeMap<ArtifactHash, Bytes>>);

impl Contents {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ArtifactHash, Bytes>> {
        // A map of finished contents is whole at every point where a thread could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArtifactStore for MemoryArtifacts {
    fn create(&self) -> Result<Box<dyn ArtifactWriter>, ArtifactError> {
        Ok(Box::new(MemoryWriter { contents: self.contents.clone(), content: Vec::new() }))
    }

    fn read(&self, hash: ArtifactHash, offset: u64, length: usize) -> Result<Vec<u8>, ArtifactError> {
        let content = self.contents.lock().get(&hash).cloned().ok_or(ArtifactError::Missing(hash))?;
        let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or_default();
        Ok(rest[..rest.len().min(length)].to_vec())
    }

    fn contains(&self, hash: ArtifactHash) -> bool {
        self.contents.lock().contains_key(&hash)
    }
}

impl ArtifactKeeper for MemoryArtifacts {
    fn remove(&self, hash: ArtifactHash) -> Result<(), ArtifactError> {
        self.contents.lock().remove(&hash);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    contents: Arc<Contents>,
    content: Vec<u8>,
}

impl ArtifactWriter for MemoryWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), ArtifactError> {
        self.content.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ArtifactHash, ArtifactError> {
        let hash = ArtifactHash(Sha256::digest(&self.content).into());
        self.contents.lock().insert(hash, self.content.into());
        Ok(hash)
    }
}
