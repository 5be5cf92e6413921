//! The seam that every runner stands behind, and the driver that runs an engine.
//!
//! ```text
//!  pipeline ─► Backend::translate ─► Job ─► driver ─actions─► executors, kernels, stores
//!                                            ▲ engine ◄─events─┘
//! ```
//! A runner of Purlin's own is a [`Backend`] that names a [`Schedule`](purlin_engine::core::schedule::Schedule);
//! everything else is the same for all of them.
#![warn(missing_docs)]

mod artifact;
mod backend;
mod dead_letter;
mod dead_letter_options;
pub mod driver;
mod executor;
mod message;
pub mod metrics;
mod options;
mod pins;
pub mod profile;
mod registry;
mod replay;
mod text;
mod window_lifetime;

pub use artifact::{ArtifactError, ArtifactHash, ArtifactStore, ArtifactWriter};
pub use backend::{Backend, BackendError, Job, Translated, translate};
pub use dead_letter::{
    DEAD_LETTER_FILE, DeadLetter, DeadLetterError, DeadLetterFile, LetterFile, LetterFiles, is_replayed,
    read_dead_letters,
};
pub use dead_letter_options::{DEAD_LETTER_DIR, DEAD_LETTER_MAX, DeadLetterOptions};
pub use executor::{
    BatchReader, BundleExecutor, BundleIo, Gone, GroupStore, Parting, Report, Reporter, RunningBundle, ScriptedInput,
};
pub use message::{Importance, JobMessage};
pub use options::{JobOptions, OptionError, OptionKind, OptionSpec};
pub use pins::Pins;
pub use registry::{AUTO, Registry, UnknownRunner};
pub use replay::{DEAD_LETTER_REPLAY, Replay, ReplayClaim, ReplayError, ReplayInput};
pub use window_lifetime::{Admission, WindowLifetime};
