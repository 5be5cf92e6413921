//! What an SDK does in its own way, and its capabilities tell.

use purlin_proto::sdk::Sdk;
use purlin_proto::urns::standard_protocols::CONTROL_REQUEST_ELEMENTS_EMBEDDING;

/// How bundles are told to the workers of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Habits {
    /// A small bundle's elements may come with the request that begins it.
    pub(crate) embeds: bool,
    /// Input ends when the source and each transform with timers has ended once. Elsewhere each of its families must end.
    ///
    /// Go counts what ends. With a second family it would stop reading before the end; or, if it learns how many it waits
    /// for behind the last of them, because the request was overtaken by the elements, it would wait for ever.
    pub(crate) ends_by_transform: bool,
}

impl Habits {
    /// Those of the environment that has these capabilities.
    pub(crate) fn of(capabilities: &[String]) -> Self {
        Self {
            embeds: capabilities.iter().any(|urn| urn == CONTROL_REQUEST_ELEMENTS_EMBEDDING),
            ends_by_transform: Sdk::of(capabilities) == Some(Sdk::Go),
        }
    }
}
