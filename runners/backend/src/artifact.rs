//! Where the files that a pipeline brings along are kept: by content, never by a name from outside.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// The SHA-256 of an artifact's content: its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactHash(pub [u8; 32]);

impl fmt::Display for ArtifactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ArtifactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Keeps artifacts by content.
pub trait ArtifactStore: Send + Sync + fmt::Debug {
    /// Begins an artifact whose content arrives in chunks.
    ///
    /// # Errors
    /// If it can be kept nowhere.
    fn create(&self) -> Result<Box<dyn ArtifactWriter>, ArtifactError>;

    /// The bytes at this position, at most `length` of them; empty at the end.
    ///
    /// # Errors
    /// If there is no such artifact or it cannot be read.
    fn read(&self, hash: ArtifactHash, offset: u64, length: usize) -> Result<Vec<u8>, ArtifactError>;

    /// Whether the store holds this content.
    fn contains(&self, hash: ArtifactHash) -> bool;
}

/// An artifact that is being written. Dropped without [`finish`](Self::finish), it leaves nothing.
pub trait ArtifactWriter: Send + fmt::Debug {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// If they cannot be kept.
    fn write(&mut self, chunk: &[u8]) -> Result<(), ArtifactError>;

    /// Ends it. The same content twice is kept once.
    ///
    /// # Errors
    /// If it cannot be kept.
    fn finish(self: Box<Self>) -> Result<ArtifactHash, ArtifactError>;
}

/// Why an artifact cannot be kept or read.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// Nobody staged it.
    #[error("artifact {0} is not staged; submit the pipeline again so that its files are staged")]
    Missing(ArtifactHash),
    /// The place where it is kept refuses.
    #[error("cannot {doing} {}: {source}; check the space and permissions there, or choose another --data-dir", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
