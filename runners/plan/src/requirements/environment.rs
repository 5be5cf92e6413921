//! The rows that environments need: the language of user code, where its workers come from, and the files they take.
//!
//! ```text
//!   Environment { urn, capabilities, dependencies } ─► rows of the transforms that run in it
//! ```
//! Does not start anything.

use std::collections::BTreeMap;

use purlin_capability_matrix::row::Row;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::sdk::Sdk;
use purlin_proto::urns::standard_environments::environments;

use super::Needs;
use crate::graph::Leaf;
use crate::payload;

impl Needs<'_> {
    pub(super) fn environments(&mut self) {
        let graph = self.graph;
        let mut users: BTreeMap<&str, Vec<&Leaf>> = BTreeMap::new();
        for leaf in &graph.leaves {
            if let Some(env) = &leaf.env {
                users.entry(env.as_str()).or_default().push(leaf);
            }
        }
        let several = (users.len() > 1).then_some(Row::SeveralEnvironments);
        let mut languages: BTreeMap<Option<Row>, Vec<&Leaf>> = BTreeMap::new();
        for (id, leaves) in users {
            let Some(environment) = graph.components.environments.get(id) else { continue };
            let sdk = Sdk::of_environment(environment).or_else(|| leaves.iter().find_map(|leaf| self.sdk(leaf)));
            let language = sdk.map(language_of);
            let staging = (!environment.dependencies.is_empty()).then_some(Row::ArtifactStaging);
            let rows: Vec<Row> = [kind_of(environment), language, staging, several].into_iter().flatten().collect();
            for leaf in &leaves {
                self.add_all(leaf, rows.iter().copied());
            }
            languages.entry(language).or_default().extend(leaves);
        }
        // The language of most transforms is the pipeline's own; the others are foreign to it.
        let own = languages.iter().max_by_key(|(_, leaves)| leaves.len()).map(|(language, _)| *language);
        for (_, leaves) in languages.iter().filter(|(language, _)| Some(**language) != own) {
            for leaf in leaves {
                self.add(leaf, Row::CrossLanguage);
            }
        }
    }

    /// The SDK of a DoFn, by how it was serialized.
    fn sdk(&self, leaf: &Leaf) -> Option<Sdk> {
        let do_fn = payload::par_do(self.graph, leaf)?.do_fn?;
        let known =
            [("beam:dofn:pickled_python", Sdk::Python), ("beam:dofn:javasdk:", Sdk::Java), ("beam:go:", Sdk::Go)];
        known.into_iter().find(|(prefix, _)| do_fn.urn.starts_with(prefix)).map(|(_, sdk)| sdk)
    }
}

/// The row of an SDK.
fn language_of(sdk: Sdk) -> Row {
    match sdk {
        Sdk::Python => Row::SdkPython,
        Sdk::Java => Row::SdkJava,
        Sdk::Go => Row::SdkGo,
        Sdk::Rust => Row::SdkRust,
    }
}

/// Whether the Go SDK made a pipeline, as far as its environments tell.
pub(crate) fn is_of_go(components: &pb::Components) -> bool {
    components.environments.values().any(|environment| Sdk::of_environment(environment) == Some(Sdk::Go))
}

fn kind_of(environment: &pb::Environment) -> Option<Row> {
    match environment.urn.as_str() {
        environments::EXTERNAL => Some(Row::EnvironmentExternal),
        environments::PROCESS => Some(Row::EnvironmentProcess),
        environments::DOCKER => Some(Row::EnvironmentDocker),
        environments::ANYOF => Some(Row::EnvironmentAnyOf),
        // DEFAULT leaves it to the runner.
        _ => None,
    }
}
