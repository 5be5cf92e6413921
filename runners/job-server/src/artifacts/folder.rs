//! Artifacts in a folder, named by their content.
//!
//! ```text
//!   <folder>/lock                   held by the one server that uses the folder
//!   <folder>/artifacts/<sha-256>    a whole artifact
//!   <folder>/artifacts/<n>.part     one that is being written; renamed when it is whole
//! ```
//! No name from outside ever becomes a path. Jobs do not outlive their server yet, so that what an earlier server left
//! is removed at the start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use purlin_backend::{ArtifactError, ArtifactHash, ArtifactStore, ArtifactWriter};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use thiserror::Error;

use super::ArtifactKeeper;

/// Why a folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It cannot be made, read or written.
    #[error("cannot {doing} {}: {source}; choose with --data-dir a folder that this user can write to", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another server has it.
    #[error("{} is in use by another purlin; give each its own --data-dir", path.display())]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
}

/// Content by hash, in a folder.
#[derive(Debug)]
pub(crate) struct FolderArtifacts {
    artifacts: PathBuf,
    parts: AtomicU64,
    /// Locked while it is open.
    _lock: File,
    /// Removed when it is dropped.
    _temporary: Option<TempDir>,
}

impl FolderArtifacts {
    /// Uses this folder, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be written, or another server uses it.
    pub(crate) fn open(folder: &Path) -> Result<Self, FolderError> {
        Self::open_in(folder, None)
    }

    /// Uses a folder of its own, which is removed in the end.
    ///
    /// # Errors
    /// If there is no place for temporary files.
    pub(crate) fn temporary() -> Result<Self, FolderError> {
        let temporary = tempfile::Builder::new().prefix("purlin-").tempdir();
        let temporary = temporary.map_err(failed("make a folder in", &std::env::temp_dir()))?;
        let folder = temporary.path().to_owned();
        Self::open_in(&folder, Some(temporary))
    }

    fn open_in(folder: &Path, temporary: Option<TempDir>) -> Result<Self, FolderError> {
        let artifacts = folder.join("artifacts");
        fs::create_dir_all(&artifacts).map_err(failed("make the folder", &artifacts))?;
        let path = folder.join("lock");
        let lock = OpenOptions::new().create(true).append(true).open(&path).map_err(failed("write", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        remove_left_over(&artifacts).map_err(failed("tidy up", &artifacts))?;
        Ok(Self { artifacts, parts: AtomicU64::new(0), _lock: lock, _temporary: temporary })
    }

    fn path(&self, hash: ArtifactHash) -> PathBuf {
        self.artifacts.join(hash.to_string())
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { doing, path, source }
}

/// Removes what looks like a file of ours, and nothing else.
fn remove_left_over(artifacts: &Path) -> io::Result<()> {
    for entry in fs::read_dir(artifacts)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_artifact = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_artifact || name.ends_with(".part") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl ArtifactStore for FolderArtifacts {
    fn create(&self) -> Result<Box<dyn ArtifactWriter>, ArtifactError> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let path = self.artifacts.join(format!("{number}.part"));
        let file = File::create(&path).map_err(io_error("write", &path))?;
        Ok(Box::new(FolderWriter {
            folder: self.artifacts.clone(),
            part: Part { path, renamed: false },
            file: BufWriter::new(file),
            hasher: Sha256::new(),
        }))
    }

    fn read(&self, hash: ArtifactHash, offset: u64, length: usize) -> Result<Vec<u8>, ArtifactError> {
        let path = self.path(hash);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ArtifactError::Missing(hash)),
            Err(source) => return Err(io_error("read", &path)(source)),
        };
        let read = || {
            // The position of a file is signed; behind that, nothing can stand.
            if offset > i64::MAX as u64 {
                return Ok(Vec::new());
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(length as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(io_error("read", &path))
    }

    fn contains(&self, hash: ArtifactHash) -> bool {
        self.path(hash).is_file()
    }
}

impl ArtifactKeeper for FolderArtifacts {
    fn remove(&self, hash: ArtifactHash) -> Result<(), ArtifactError> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| ArtifactError::Io { doing, path, source }
}

#[derive(Debug)]
struct FolderWriter {
    folder: PathBuf,
    part: Part,
    file: BufWriter<File>,
    hasher: Sha256,
}

/// A file that is removed unless it has become an artifact.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "part of an artifact stays until the next start");
        }
    }
}

impl ArtifactWriter for FolderWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), ArtifactError> {
        self.hasher.update(chunk);
        self.file.write_all(chunk).map_err(io_error("write", &self.part.path))
    }

    fn finish(mut self: Box<Self>) -> Result<ArtifactHash, ArtifactError> {
        self.file.flush().map_err(io_error("write", &self.part.path))?;
        let hash = ArtifactHash(self.hasher.finalize().into());
        let path = self.folder.join(hash.to_string());
        fs::rename(&self.part.path, &path).map_err(io_error("write", &path))?;
        self.part.renamed = true;
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_serves_one_and_forgets_what_an_earlier_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let first = FolderArtifacts::open(dir.path()).unwrap();
        first.create().unwrap().finish().unwrap();
        let second = FolderArtifacts::open(dir.path()).unwrap_err().to_string();
        assert!(second.ends_with("is in use by another purlin; give each its own --data-dir"), "{second}");
        drop(first);
        fs::write(dir.path().join("artifacts/mine.txt"), b"not an artifact").unwrap();
        FolderArtifacts::open(dir.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(dir.path().join("artifacts")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["mine.txt"]);
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = FolderArtifacts::open(&file).unwrap_err().to_string();
        assert!(error.contains("file/artifacts") && error.contains("--data-dir"), "{error}");
    }
}
