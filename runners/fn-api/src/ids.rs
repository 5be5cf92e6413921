//! Ids that no worker has ever seen: pools outlive jobs and servers, and harnesses remember what they saw for ever.
//!
//! ```text
//!   i-mf3k2a9c-4g2-17      kind, epoch of this server (time and process), counter
//! ```

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use purlin_model::ids::WorkerId;

/// The id of one request to a worker (`InstructionRequest.instruction_id`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InstructionId(Arc<str>);

impl InstructionId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for InstructionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InstructionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes ids, each unique over the life of everything that may see it.
#[derive(Debug)]
pub(crate) struct IdMint {
    epoch: String,
    next: AtomicU64,
}

impl IdMint {
    /// A mint with an epoch of its own: no two processes of a machine have the same id in the same millisecond.
    pub(crate) fn new() -> Self {
        static MINTS: AtomicU64 = AtomicU64::new(0);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (time, process) = (base_36(since_epoch.as_millis()), base_36(std::process::id().into()));
        // Tests have several in a process.
        let mint = base_36(MINTS.fetch_add(1, Ordering::Relaxed).into());
        Self { epoch: format!("{time}-{process}{mint}"), next: AtomicU64::new(0) }
    }

    pub(crate) fn instruction(&self) -> InstructionId {
        InstructionId(self.mint("i").into())
    }

    pub(crate) fn worker(&self) -> WorkerId {
        WorkerId::new(self.mint("w"))
    }

    /// In front of the stage's number, for the bundle descriptors of one job.
    pub(crate) fn descriptors(&self) -> String {
        self.mint("d")
    }

    fn mint(&self, kind: &str) -> String {
        format!("{kind}-{}-{}", self.epoch, base_36(self.next.fetch_add(1, Ordering::Relaxed).into()))
    }
}

fn base_36(mut number: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[(number % 36) as usize]));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mints_of_one_process_never_agree() {
        let (a, b) = (IdMint::new(), IdMint::new());
        assert_ne!(a.instruction(), b.instruction());
        assert_ne!(a.worker(), a.worker());
        assert_ne!(a.descriptors(), b.descriptors());
    }

    #[test]
    fn numbers_have_the_digits_of_base_36() {
        assert_eq!(base_36(0), "0");
        assert_eq!(base_36(35), "z");
        assert_eq!(base_36(36), "10");
    }
}
