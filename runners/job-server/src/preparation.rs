//! A pipeline that was accepted and waits to be run.
//!
//! ```text
//!   Prepare ─► Preparation { pipeline, options, translated job } ◄── staged artifacts
//!                   └──Run, once──► Job
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prost::Message;
use purlin_backend::{Importance, Translated};
use purlin_model::ids::EnvironmentId;
use purlin_proto::pipeline::v1 as pb;

use crate::artifacts::ArtifactLease;
use crate::check::Checked;

/// The id of a preparation, which is also the token of its artifact staging. Never the id of a job: Python would put a
/// deadline on streams that are opened with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PreparationId(Arc<str>);

impl PreparationId {
    pub(crate) fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PreparationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for PreparationId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One file that a job needs, staged.
#[derive(Debug)]
pub(crate) struct StagedArtifact {
    pub(crate) lease: ArtifactLease,
    pub(crate) role_urn: String,
    pub(crate) role_payload: bytes::Bytes,
}

/// The files of each environment, in the order in which the pipeline names them.
pub(crate) type StagedArtifacts = BTreeMap<EnvironmentId, Vec<StagedArtifact>>;

/// A pipeline that was accepted.
#[derive(Debug)]
pub(crate) struct Preparation {
    pub(crate) id: PreparationId,
    pub(crate) name: String,
    pub(crate) time: SystemTime,
    /// As submitted.
    pub(crate) pipeline: Arc<pb::Pipeline>,
    pub(crate) options: prost_types::Struct,
    /// The runner's name.
    pub(crate) runner: &'static str,
    /// What its user should know of the choice of the runner, and of its limits.
    pub(crate) notes: Vec<(Importance, String)>,
    /// What its environments ask to be staged; those that ask for nothing are left out.
    pub(crate) dependencies: BTreeMap<EnvironmentId, Vec<pb::ArtifactInformation>>,
    /// The size of the pipeline as it was submitted.
    pub(crate) bytes: usize,
    parts: Mutex<Parts>,
}

/// What running takes out of a preparation.
#[derive(Debug)]
struct Parts {
    translated: Option<Translated>,
    staged: Option<StagedArtifacts>,
}

impl Preparation {
    pub(crate) fn new(
        id: PreparationId,
        name: String,
        options: prost_types::Struct,
        dependencies: BTreeMap<EnvironmentId, Vec<pb::ArtifactInformation>>,
        checked: Checked,
    ) -> Self {
        let notes = notes(&checked);
        let Checked { runner, translated, pipeline, .. } = checked;
        let staged = dependencies.is_empty().then(StagedArtifacts::new);
        let parts = Mutex::new(Parts { translated: Some(translated), staged });
        let bytes = pipeline.encoded_len();
        Self { id, name, time: SystemTime::now(), pipeline, options, runner, notes, dependencies, bytes, parts }
    }

    /// Takes what was staged. A client that stages again replaces what it staged before.
    pub(crate) fn set_staged(&self, staged: StagedArtifacts) {
        let earlier = self.lock().staged.replace(staged);
        // Its leases go outside the lock.
        drop(earlier);
    }

    /// Whether everything that the pipeline names has been staged.
    pub(crate) fn is_staged(&self) -> bool {
        self.lock().staged.is_some()
    }

    /// Takes the job and what was staged for it; `None` the second time.
    pub(crate) fn take(&self) -> Option<(Translated, StagedArtifacts)> {
        let mut parts = self.lock();
        let translated = parts.translated.take()?;
        Some((translated, parts.staged.take().unwrap_or_default()))
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // Each part is whole or gone at every point where a thread could panic.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Limits are told in detail only: of most pipelines they matter nothing, and only the run shows it.
fn notes(checked: &Checked) -> Vec<(Importance, String)> {
    let choice = checked.chosen_because.clone().map(|because| (Importance::Basic, because));
    let limits = !checked.verdict.warnings.is_empty();
    let limits = limits.then(|| (Importance::Detailed, checked.verdict.to_string()));
    choice.into_iter().chain(limits).collect()
}
