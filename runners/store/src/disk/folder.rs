//! A folder for what does not fit into memory, one subfolder per job.
//!
//! ```text
//!   <data-dir>/spill/lock                    held by the one process that uses the folder
//!   <data-dir>/spill/job-7/12.segment        gone with its last batch, at the latest with its job
//!   <temp>/purlin-spill-x/…                  the same, where no folder is given; a process that crashed leaves one behind
//! ```
//! What an earlier process left is removed at the start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use thiserror::Error;

use super::{Disk, DiskFile};

/// How temporary folders begin, by which later processes know them.
const TEMPORARY_PREFIX: &str = "purlin-spill-";

/// Why nothing can be kept on disk.
#[derive(Debug, Error)]
#[error("cannot {doing} {}: {source}; choose with --data-dir a folder that this user can write to, and no other purlin uses", path.display())]
pub struct SpillFolderError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The folder of this process.
#[derive(Debug)]
pub struct SpillFolder {
    path: PathBuf,
    jobs: AtomicU64,
    /// Held as long as the folder is in use.
    _lock: File,
    /// Removed when it is dropped.
    _temporary: Option<TempDir>,
}

impl SpillFolder {
    /// Uses `spill` in this folder.
    ///
    /// # Errors
    /// If it cannot be written, or another process uses it.
    pub fn open(data_dir: &Path) -> Result<Arc<Self>, SpillFolderError> {
        let path = data_dir.join("spill");
        fs::create_dir_all(&path).map_err(|source| SpillFolderError { doing: "make", path: path.clone(), source })?;
        let lock = locked(&path).map_err(|source| SpillFolderError { doing: "lock", path: path.clone(), source })?;
        remove_jobs(&path).map_err(|source| SpillFolderError { doing: "clear", path: path.clone(), source })?;
        Ok(Arc::new(Self { path, jobs: AtomicU64::new(0), _lock: lock, _temporary: None }))
    }

    /// A new folder where the system keeps temporary files, gone at the end of the process.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn temporary() -> Result<Arc<Self>, SpillFolderError> {
        Self::temporary_in(&std::env::temp_dir())
    }

    fn temporary_in(parent: &Path) -> Result<Arc<Self>, SpillFolderError> {
        remove_left_behind(parent);
        let failed = |path: &Path, source| SpillFolderError { doing: "make", path: path.to_owned(), source };
        let temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(parent);
        let temporary = temporary.map_err(|source| failed(parent, source))?;
        let path = temporary.path().to_owned();
        let lock = locked(&path).map_err(|source| failed(&path, source))?;
        Ok(Arc::new(Self { path, jobs: AtomicU64::new(0), _lock: lock, _temporary: Some(temporary) }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place for the files of one job. Nothing is made before the first file.
    pub fn job(self: &Arc<Self>) -> FolderDisk {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(JobFolder {
            path: self.path.join(format!("job-{number}")),
            files: AtomicU64::new(0),
            made: Mutex::new(false),
            _folder: self.clone(),
        });
        FolderDisk { shared }
    }
}

fn locked(folder: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another purlin uses it")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn remove_jobs(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("job-") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Removes temporary folders whose process is gone. What cannot be removed, or seen, is somebody else's.
fn remove_left_behind(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let lock = entry.path().join("lock");
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            continue;
        }
        // A folder without a lock is one that is just being made.
        let abandoned = File::open(lock).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(folder = %entry.path().display(), %error, "what an earlier process left cannot be removed");
        }
    }
}

/// The files of one job.
#[derive(Clone, Debug)]
pub struct FolderDisk {
    shared: Arc<JobFolder>,
}

#[derive(Debug)]
struct JobFolder {
    path: PathBuf,
    files: AtomicU64,
    made: Mutex<bool>,
    _folder: Arc<SpillFolder>,
}

impl Disk for FolderDisk {
    fn create(&self) -> io::Result<Arc<dyn DiskFile>> {
        let folder = &self.shared;
        let mut made = folder.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !*made {
            fs::create_dir_all(&folder.path)?;
            *made = true;
        }
        drop(made);
        let path = folder.path.join(format!("{}.segment", folder.files.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(Arc::new(FolderFile { path, file, _folder: folder.clone() }))
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        let made = *self.made.get_mut().unwrap_or_else(PoisonError::into_inner);
        if made && let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "files of a job that has ended cannot be removed");
        }
    }
}

#[derive(Debug)]
struct FolderFile {
    path: PathBuf,
    file: File,
    _folder: Arc<JobFolder>,
}

impl DiskFile for FolderFile {
    fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        (&self.file).flush()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Drop for FolderFile {
    fn drop(&mut self) {
        // The job's folder is removed in any case.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_with_their_last_owner_and_folders_with_their_job() {
        let parent = tempfile::tempdir().unwrap();
        let folder = SpillFolder::open(parent.path()).unwrap();
        let disk = folder.job();
        assert!(!folder.path().join("job-0").exists());
        let file = disk.create().unwrap();
        file.append(0, b"hello").unwrap();
        let mut read = [0; 3];
        file.read_at(2, &mut read).unwrap();
        assert_eq!(&read, b"llo");
        assert_eq!(file.read_at(3, &mut read).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let path = PathBuf::from(file.name());
        let second = disk.create().unwrap();
        drop(file);
        assert!(!path.exists());
        drop(disk);
        assert!(folder.path().join("job-0").exists());
        drop(second);
        assert!(!folder.path().join("job-0").exists());
    }

    #[test]
    fn what_a_crashed_process_left_is_removed_and_what_a_running_one_uses_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let crashed = parent.path().join("spill/job-3");
        fs::create_dir_all(&crashed).unwrap();
        fs::write(crashed.join("0.segment"), b"left").unwrap();
        let folder = SpillFolder::open(parent.path()).unwrap();
        assert!(!crashed.exists());
        let refused = SpillFolder::open(parent.path()).unwrap_err().to_string();
        assert!(refused.contains("another purlin uses it") && refused.contains("--data-dir"), "{refused}");
        drop(folder);
        SpillFolder::open(parent.path()).unwrap();
    }

    #[test]
    fn temporary_folders_of_crashed_processes_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let crashed = parent.path().join("purlin-spill-crashed");
        fs::create_dir_all(crashed.join("job-0")).unwrap();
        fs::write(crashed.join("lock"), b"").unwrap();
        let running = SpillFolder::temporary_in(parent.path()).unwrap();
        assert!(!crashed.exists());
        let second = SpillFolder::temporary_in(parent.path()).unwrap();
        assert!(running.path().exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_refused_with_the_way_out() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, b"").unwrap();
        let refused = SpillFolder::open(&file).unwrap_err().to_string();
        assert!(refused.contains("file/spill") && refused.contains("--data-dir"), "{refused}");
    }
}
