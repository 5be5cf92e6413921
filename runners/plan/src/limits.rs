//! How large a pipeline may be: bounds on counts and names, so that all that follows ends in time and memory.
//!
//! Each is far above what SDKs submit. A pipeline beyond one of them is not looked at any further.

use purlin_proto::pipeline::v1 as pb;

use crate::problem::Problems;

/// Transforms, composites included.
const TRANSFORMS_MAX: usize = 100_000;

/// PCollections, and coders.
const COMPONENTS_MAX: usize = 200_000;

/// Windowing strategies.
const STRATEGIES_MAX: usize = 20_000;

/// Environments. Each bundle's description carries them all.
const ENVIRONMENTS_MAX: usize = 1_000;

/// Inputs, outputs and sub-transforms, of all transforms together.
const EDGES_MAX: usize = 1_000_000;

/// How long an id or a name may be.
const NAME_LENGTH_MAX: usize = 10_000;

/// How much of a name that is too long a message shows.
const NAME_SHOWN: usize = 60;

/// # Errors
/// Everything of which there is too much.
pub(crate) fn check(pipeline: &pb::Pipeline) -> Result<(), Problems> {
    let mut problems = Problems::new();
    let empty = pb::Components::default();
    let components = pipeline.components.as_ref().unwrap_or(&empty);
    let edges = components.transforms.values().map(|it| it.inputs.len() + it.outputs.len() + it.subtransforms.len());
    let counts = [
        ("transforms", components.transforms.len(), TRANSFORMS_MAX),
        ("PCollections", components.pcollections.len(), COMPONENTS_MAX),
        ("coders", components.coders.len(), COMPONENTS_MAX),
        ("windowing strategies", components.windowing_strategies.len(), STRATEGIES_MAX),
        ("environments", components.environments.len(), ENVIRONMENTS_MAX),
        ("inputs, outputs and sub-transforms", edges.sum(), EDGES_MAX),
        ("roots", pipeline.root_transform_ids.len(), TRANSFORMS_MAX),
    ];
    for (what, count, most) in counts {
        if count > most {
            let fix = "split it into several pipelines";
            problems.add("pipeline", format!("has {count} {what}, and Purlin takes {most} at most"), fix);
        }
    }
    let ids = |kind: &'static str, ids: &mut dyn Iterator<Item = &String>, problems: &mut Problems| {
        ids.for_each(|id| check_name(kind, id, problems));
    };
    ids("transform", &mut components.transforms.keys(), &mut problems);
    ids("PCollection", &mut components.pcollections.keys(), &mut problems);
    ids("coder", &mut components.coders.keys(), &mut problems);
    ids("windowing strategy", &mut components.windowing_strategies.keys(), &mut problems);
    ids("environment", &mut components.environments.keys(), &mut problems);
    for transform in components.transforms.values() {
        check_name("transform", &transform.unique_name, &mut problems);
        let locals = transform.inputs.iter().chain(&transform.outputs).flat_map(|(local, id)| [local, id]);
        for name in locals.chain(&transform.subtransforms).chain([&transform.environment_id]) {
            check_name("name in a transform", name, &mut problems);
        }
    }
    problems.into_result(())
}

fn check_name(kind: &str, name: &str, problems: &mut Problems) {
    if name.len() > NAME_LENGTH_MAX {
        let shown: String = name.chars().take(NAME_SHOWN).collect();
        let what = format!("has a {kind} `{shown}…` of {} bytes, and {NAME_LENGTH_MAX} are the most", name.len());
        problems.add("pipeline", what, "choose a shorter name");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestPipeline;
    use crate::validate::validate;

    /// So many ParDos, one behind the other.
    fn chain(length: usize) -> pb::Pipeline {
        let mut proto = TestPipeline::new().impulse("p0").par_do("T", "p0", &["p1"]).proto();
        let components = proto.components.as_mut().unwrap();
        let (transform, pcollection) = (components.transforms["t"].clone(), components.pcollections["p1"].clone());
        for number in 1..length {
            let port = |id: usize| [("0".to_owned(), format!("p{id}"))].into();
            let unique_name = format!("T{number}");
            let next =
                pb::PTransform { unique_name, inputs: port(number), outputs: port(number + 1), ..transform.clone() };
            components.transforms.insert(format!("t{number}"), next);
            components.pcollections.insert(format!("p{}", number + 1), pcollection.clone());
            proto.root_transform_ids.push(format!("t{number}"));
        }
        proto
    }

    #[test]
    fn too_much_of_anything_is_refused_at_once() {
        let refused = validate(chain(TRANSFORMS_MAX)).unwrap_err();
        assert_eq!(
            refused.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "pipeline: has 100001 roots, and Purlin takes 100000 at most; split it into several pipelines",
                "pipeline: has 100001 transforms, and Purlin takes 100000 at most; split it into several pipelines",
            ]
        );
    }

    #[test]
    fn a_long_chain_is_planned() {
        let plan = crate::plan(&validate(chain(10_000)).unwrap()).unwrap();
        assert_eq!(plan.graph.stages.len(), 2);
        assert!(crate::explain::text(&plan).len() > 10_000);
    }

    #[test]
    fn names_are_bounded() {
        let long = TestPipeline::new().impulse("start").edit(|transform| transform.unique_name = "ü".repeat(6_000));
        let shown = "ü".repeat(60);
        assert_eq!(
            long.problems(),
            format!(
                "pipeline: has a transform `{shown}…` of 12000 bytes, and 10000 are the most; choose a shorter name\n"
            )
        );
    }
}
