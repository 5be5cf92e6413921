//! Bounds and knobs of an engine, each with its reason.

use purlin_model::time::Millis;

/// Bounds and knobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// How often a bundle is handed out when its worker was lost. Workers die for reasons of their own; four tries
    /// tell an accident from a bundle that kills its worker.
    pub lost_worker_attempts_max: u32,
    /// How often a bundle is handed out when user code raised. Once: a retry of the same input on the same
    /// machine mostly raises again, later, and hides the first trace.
    pub user_error_attempts_max: u32,
    /// How many elements that fail may be put aside as dead letters before the job fails. `None` keeps no dead letters: the first
    /// failure that was not an accident ends the job.
    pub dead_letters_max: Option<u64>,
    /// How long a bundle of a worker may run before it is asked to share what is left with workers that are idle, in
    /// milliseconds. Asked again each time its age has doubled. `None` never asks.
    pub share_after_ms: Option<i64>,
    /// How long a source that never ends may leave its watermark where it is, while somebody waits for it, before the job says so.
    /// Longer than sources rest, as a rule, and short enough that whoever looks why nothing comes finds it.
    pub standstill_after: Millis,
    /// In a lane where so many batches wait, small ones that arrive are joined: what is slow must not drown in references.
    pub join_behind: usize,
    /// How many bundles the runner runs itself at once: the data threads.
    pub kernel_slots: u32,
    /// How many bytes of elements a bundle of the runner's own holds in memory at once. It takes lanes up to this much, and divides a
    /// lane that has more. Large enough that dividing is rare, small enough that all kernels fit beside what they read and write.
    /// A grouping starts nothing while somebody who reads it has as much waiting.
    pub kernel_share_bytes: u64,
    /// How many elements of keys a bundle of a worker takes at most, except for what a script brings as one bundle. What it writes to
    /// state stays in memory until it is committed, a few hundred bytes for each element however small. The more it takes the better:
    /// what is written again and again for a key is committed once.
    pub keyed_elements_max: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lost_worker_attempts_max: 4,
            user_error_attempts_max: 1,
            dead_letters_max: None,
            share_after_ms: Some(100),
            standstill_after: Millis(60_000),
            join_behind: 16,
            kernel_slots: 2,
            kernel_share_bytes: 32 << 20,
            keyed_elements_max: 1 << 20,
        }
    }
}
