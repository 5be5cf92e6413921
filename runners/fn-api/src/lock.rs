//! Locks around small leaf data, never held across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. What the locks of this crate guard is whole after every statement, so a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
