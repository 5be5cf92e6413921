//! The rows that environments need: the language of user code, where its workers come from, and the files they take.
//!
//! ```text
//!   Environment { urn, capabilities, dependencies } ─► rows of the transforms that run in it
//! ```
//! Does not start anything.

use std::collections::BTreeMap;

use purlin_capability_matrix::row::Row;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments;

use super::Needs;
use crate::graph::Leaf;
use crate::payload;

/// What each SDK names its base container behind, in the capabilities of its environments.
const SDK_BASE: &str = "beam:version:sdk_base:";

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
            let language = language_of(environment).or_else(|| leaves.iter().find_map(|leaf| self.language(leaf)));
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

    /// The language of a DoFn, by how it was serialized.
    fn language(&self, leaf: &Leaf) -> Option<Row> {
        let do_fn = payload::par_do(self.graph, leaf)?.do_fn?;
        let known = [
            ("beam:dofn:pickled_python", Row::SdkPython),
            ("beam:dofn:javasdk:", Row::SdkJava),
            ("beam:go:", Row::SdkGo),
        ];
        known.into_iter().find(|(prefix, _)| do_fn.urn.starts_with(prefix)).map(|(_, row)| row)
    }
}

/// The language of an environment's SDK, as far as its capabilities tell.
pub(crate) fn language_of(environment: &pb::Environment) -> Option<Row> {
    // For example `…:apache/beam_python3.12_sdk:2.77.0`, `…:apache/beam_java17_sdk:2.77.0`, `…:go:apache/beam_go_sdk:2.77.0`.
    let base = environment.capabilities.iter().find_map(|capability| capability.strip_prefix(SDK_BASE))?;
    let known =
        [("beam_python", Row::SdkPython), ("beam_java", Row::SdkJava), ("beam_go", Row::SdkGo), ("rust", Row::SdkRust)];
    known.into_iter().find(|(part, _)| base.contains(part)).map(|(_, row)| row)
}

/// Whether the Go SDK made a pipeline, as far as its environments tell.
pub(crate) fn is_of_go(components: &pb::Components) -> bool {
    components.environments.values().any(|environment| language_of(environment) == Some(Row::SdkGo))
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
