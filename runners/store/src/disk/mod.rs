//! Where data goes that does not fit into memory: files that are appended to, read anywhere, and removed.
//!
//! ```text
//!   SegmentStore ──create, append, read_at──► Disk: a folder of the job's own │ memory, for simulations
//! ```
//! Knows files and bytes; does not know what they mean.

mod folder;
mod memory;

use std::fmt;
use std::io;
use std::sync::Arc;

pub use folder::{FolderDisk, SpillFolder, SpillFolderError};
pub use memory::MemoryDisk;

/// A place for files, of one job.
pub trait Disk: Send + Sync + fmt::Debug {
    /// A new file, empty. It is removed when nobody holds it any more.
    ///
    /// # Errors
    /// If there is no room for one.
    fn create(&self) -> io::Result<Arc<dyn DiskFile>>;
}

/// A file that is appended to by one and read by many.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes behind what is there, which is `offset` bytes long.
    ///
    /// # Errors
    /// What the system says, for instance that the disk is full.
    fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads exactly as much as fits.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` if there is less.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// What to call it.
    fn name(&self) -> String;
}
