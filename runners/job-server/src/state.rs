//! The states of a job, and which may follow which (`JobState.Enum`).
//!
//! ```text
//!   STOPPED ─► STARTING ─► RUNNING ─► DONE | FAILED
//!                  │          ├──► DRAINING ─► DRAINED | FAILED
//!                  └──────────┴───────┴──► CANCELLING ─► CANCELLED (or what the job was faster with)
//! ```
//! Does not know what brings a job from one to the next.

use purlin_proto::job_management::v1 as jobpb;

/// Where a job is in its life. Beam's other states belong to what Purlin does not do yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Prepared, and not yet asked to run.
    Stopped,
    /// Asked to run; its workers are being arranged for.
    Starting,
    /// Its bundles run.
    Running,
    /// Asked to take no more input; it processes what it has.
    Draining,
    /// Asked to end; its bundles are being aborted.
    Cancelling,
    /// All input is processed.
    Done,
    /// All input is processed that it had when it was asked to take no more.
    Drained,
    /// It could not succeed.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl JobState {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Stopped | Self::Starting | Self::Running | Self::Draining | Self::Cancelling => false,
            Self::Done | Self::Drained | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Whether a job in this state may come into that one.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Stopped => next == Self::Starting,
            Self::Starting => matches!(next, Self::Running | Self::Cancelling | Self::Failed),
            Self::Running => matches!(next, Self::Draining | Self::Cancelling) || next.is_terminal(),
            // A job may end by itself while it is being drained or cancelled, and then that is the truth.
            Self::Draining => next == Self::Cancelling || next.is_terminal(),
            Self::Cancelling => next.is_terminal(),
            Self::Done | Self::Drained | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Its number on the wire.
    pub fn to_wire(self) -> jobpb::job_state::Enum {
        match self {
            Self::Stopped => jobpb::job_state::Enum::Stopped,
            Self::Starting => jobpb::job_state::Enum::Starting,
            Self::Running => jobpb::job_state::Enum::Running,
            Self::Draining => jobpb::job_state::Enum::Draining,
            Self::Cancelling => jobpb::job_state::Enum::Cancelling,
            Self::Done => jobpb::job_state::Enum::Done,
            Self::Drained => jobpb::job_state::Enum::Drained,
            Self::Failed => jobpb::job_state::Enum::Failed,
            Self::Cancelled => jobpb::job_state::Enum::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_the_end_and_every_life_can_end() {
        const ALL: [JobState; 9] = [
            JobState::Stopped,
            JobState::Starting,
            JobState::Running,
            JobState::Draining,
            JobState::Cancelling,
            JobState::Done,
            JobState::Drained,
            JobState::Failed,
            JobState::Cancelled,
        ];
        for state in ALL {
            let next: Vec<_> = ALL.into_iter().filter(|next| state.may_become(*next)).collect();
            assert_eq!(next.is_empty(), state.is_terminal(), "{state:?} may become {next:?}");
            assert!(next.iter().all(|next| *next > state), "{state:?} may become {next:?}");
        }
    }
}
