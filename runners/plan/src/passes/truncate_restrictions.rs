//! Gives each splittable DoFn a transform that makes an end of its restrictions, for when the job is drained.
//!
//! ```text
//!   ProcessSized  ─►  ProcessSized, and beside it
//!                     questions ─► TruncateSized (the same payload and side inputs) ─► answers
//! ```
//! Both questions and answers are what ProcessSized reads. Nobody emits the questions but the runner, from what waits for
//! ProcessSized, and the answers go nowhere else. Where an SDK does not list the transform, nobody is asked. Comes last, when all coders
//! are what they will be.

use std::collections::BTreeMap;

use purlin_model::ids::LocalName;
use purlin_proto::urns::standard_ptransforms::splittable_par_do_components::TRUNCATE_SIZED_RESTRICTION;

use crate::graph::{Graph, Leaf};

pub(super) fn run(graph: &mut Graph) {
    let mut truncating = Vec::new();
    for mut leaf in std::mem::take(&mut graph.leaves) {
        if leaf.splittable && !leaf.stateful && truncates(graph, &leaf) {
            let asked = truncate(graph, &leaf);
            leaf.asks = Some(asked.id.clone());
            truncating.push(asked);
        }
        graph.leaves.push(leaf);
    }
    graph.leaves.append(&mut truncating);
}

fn truncates(graph: &Graph, leaf: &Leaf) -> bool {
    let env = leaf.env.as_ref().and_then(|env| graph.components.environments.get(env.as_str()));
    env.is_some_and(|env| env.capabilities.iter().any(|urn| urn == TRUNCATE_SIZED_RESTRICTION))
}

fn truncate(graph: &mut Graph, leaf: &Leaf) -> Leaf {
    let input = &leaf.inputs[0];
    let coder = graph.pcollection(input).coder_id.clone();
    let questions = graph.add_pcollection(input, &format!("{}/TruncateSized.in", leaf.id), &coder);
    let answers = graph.add_pcollection(input, &format!("{}/TruncateSized.out", leaf.id), &coder);
    let local = graph.main_local(leaf);
    let mut transform = graph.transform(&leaf.id).clone();
    if let Some(spec) = &mut transform.spec {
        TRUNCATE_SIZED_RESTRICTION.clone_into(&mut spec.urn);
    }
    // Named after the DoFn, as the parts are that it was taken apart into.
    let name = leaf.name.strip_suffix("/ProcessSized").unwrap_or(&leaf.name);
    let name = format!("{name}/TruncateSized");
    transform.unique_name.clone_from(&name);
    transform.inputs.insert(local, questions.to_string());
    transform.outputs = BTreeMap::from([("out".to_owned(), answers.to_string())]);
    let id = graph.add_transform(&format!("{}/TruncateSized", leaf.id), transform);
    Leaf {
        id,
        name,
        inputs: vec![questions],
        outputs: BTreeMap::from([(LocalName::new("out"), answers)]),
        forced_root: true,
        splittable: false,
        finalizes: false,
        asks: None,
        ..leaf.clone()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::passes;
    use crate::testing::TestPipeline;

    fn read(capabilities: &[&str]) -> TestPipeline {
        let capabilities: Vec<_> = capabilities.iter().map(|urn| (*urn).to_owned()).collect();
        TestPipeline::new()
            .collection("files", "string_utf8")
            .collection("lines", "bytes")
            .impulse("start")
            .par_do("Find", "start", &["files"])
            .par_do("Read", "files", &["lines"])
            .splittable("range")
            .sides(&[("start", "iterable")])
            .par_do("Print", "lines", &["printed"])
            .change(|components| {
                let env = components.environments.get_mut("py").unwrap();
                env.capabilities.extend(capabilities);
            })
    }

    #[test]
    fn restrictions_of_an_sdk_that_truncates_are_put_to_it() {
        let graph = read(&[TRUNCATE_SIZED_RESTRICTION]).after(passes::run_all);
        let names: Vec<_> = graph.leaves.iter().map(|leaf| leaf.name.as_str()).collect();
        let parts = ["Read/PairWithRestriction", "Read/SplitAndSize", "Read/ProcessSized"];
        let all = [&["Impulse start", "Find"], &parts[..], &["Print", "Read/TruncateSized"]].concat();
        assert_eq!(names, all);
        let leaf = |name: &str| graph.leaves.iter().find(|leaf| leaf.name == name).unwrap();
        let (process, truncate) = (leaf("Read/ProcessSized"), leaf("Read/TruncateSized"));
        assert_eq!(process.asks.as_ref(), Some(&truncate.id));
        assert_eq!((&truncate.sides, &truncate.env), (&process.sides, &process.env));
        assert!(truncate.forced_root && !truncate.splittable);
        let coder = |id| graph.pcollection(id).coder_id.clone();
        let answers = truncate.outputs.values().next().unwrap();
        assert_eq!(
            [coder(&truncate.inputs[0]), coder(answers)],
            [coder(&process.inputs[0]), coder(&process.inputs[0])]
        );
        let [spec, of_process] = [truncate, process].map(|leaf| graph.transform(&leaf.id).spec.clone().unwrap());
        assert_eq!((spec.urn.as_str(), spec.payload), (TRUNCATE_SIZED_RESTRICTION, of_process.payload));
        let inputs = &graph.transform(&truncate.id).inputs;
        assert_eq!((inputs["0"].as_str(), inputs["side0"].as_str()), (truncate.inputs[0].as_str(), "start"));
    }

    #[test]
    fn who_truncates_is_a_stage_that_nothing_flows_into() {
        let plan = read(&[TRUNCATE_SIZED_RESTRICTION]).plan();
        assert_snapshot!(crate::explain::text(&plan), @"
        env0 py (beam:env:external:v1)
        s0 impulse
             Impulse start
          -> o0 start: bytes
        s1 worker in env0
             Find
          <- o0
          -> o1 files: string_utf8
        s2 side0, kept as iterable
          <- o0
        s3 worker in env0
             Read/PairWithRestriction
          <- o1 by window
          <- side0 as side0
          -> o2 read/PairWithRestriction.out: kv<string_utf8, length_prefix<range>>
        s4 worker in env0
             Read/SplitAndSize
          <- o2 by window
          <- side0 as side0
          -> o3 read/SplitAndSize.out: kv<kv<string_utf8, length_prefix<range>>, double>
        s5 worker in env0, truncated by s6 in a drain, splittable
             Read/ProcessSized
             Print
          <- o3 by window
          <- side0 as side0
        s6 worker in env0
             Read/TruncateSized
          <- side0 as side0
          -> o4 read/ProcessSized/TruncateSized.out: kv<kv<string_utf8, length_prefix<range>>, double>
        ");
    }

    #[test]
    fn nobody_is_asked_where_no_sdk_says_that_it_does() {
        let graph = read(&[]).after(passes::run_all);
        assert!(graph.leaves.iter().all(|leaf| leaf.asks.is_none()), "{graph}");
    }
}
