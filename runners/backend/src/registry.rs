//! The runners that a server offers, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::backend::Backend;

/// What stands for the choice of a runner, where a runner's name may stand. No runner is called so.
pub const AUTO: &str = "auto";

/// The runners on offer.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    backends: BTreeMap<&'static str, Arc<dyn Backend>>,
}

impl Registry {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a runner; one of the same name is replaced. The name [`AUTO`] would never be reached.
    #[must_use]
    pub fn with(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backends.insert(backend.name(), backend);
        self
    }

    /// The runner of this name.
    ///
    /// # Errors
    /// If there is none, with those that there are.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Backend>, UnknownRunner> {
        self.backends.get(name).ok_or_else(|| {
            let known: Vec<_> = self.names().chain([AUTO]).collect();
            UnknownRunner { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Whether a job may ask for this runner, or leave the choice to the server.
    ///
    /// # Errors
    /// If it may not, with the names that it may say.
    pub fn offers(&self, name: &str) -> Result<(), UnknownRunner> {
        if name == AUTO { Ok(()) } else { self.get(name).map(drop) }
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.backends.keys().copied()
    }

    /// All runners, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        self.backends.values()
    }
}

/// A runner that is not on offer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no runner `{name}`; this server offers: {known}")]
pub struct UnknownRunner {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}
