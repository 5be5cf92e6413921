//! Replaces a splittable ParDo by three: pair each element with a restriction, split and size it, process it.
//!
//! ```text
//!   ParDo(E, restrictions R)  ─►  PairWithRestriction ─► SplitAndSize ──────► ProcessSized
//!                                 KV<E,R>                KV<KV<E,R>,double>    the ParDo's own outputs
//! ```
//! All three keep the ParDo's payload and its side inputs under their own names. Between the last two, elements are
//! materialised, so that restrictions are shared out among workers and residuals have a place to come back to.

use std::collections::BTreeMap;

use prost::Message;
use purlin_model::ids::{LocalName, PCollectionId};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;
use purlin_proto::urns::standard_ptransforms::{primitives, splittable_par_do_components as components};

use crate::graph::{Graph, Leaf};

pub(super) fn run(graph: &mut Graph) {
    for leaf in std::mem::take(&mut graph.leaves) {
        match restriction_coder(graph, &leaf) {
            Some(restriction) => expand(graph, &leaf, &restriction),
            None => graph.leaves.push(leaf),
        }
    }
}

/// What tells a splittable ParDo: the coder of its restrictions.
fn restriction_coder(graph: &Graph, leaf: &Leaf) -> Option<String> {
    let spec = graph.transform(&leaf.id).spec.as_ref().filter(|spec| spec.urn == primitives::PAR_DO)?;
    let payload = pb::ParDoPayload::decode(&spec.payload[..]).ok()?;
    Some(payload.restriction_coder_id).filter(|coder| !coder.is_empty())
}

fn expand(graph: &mut Graph, leaf: &Leaf, restriction: &str) {
    let input = leaf.inputs[0].clone();
    let element = graph.pcollection(&input).coder_id.clone();
    let pair = graph.coder(coders::KV, &[&element, restriction]);
    let double = graph.coder(coders::DOUBLE, &[]);
    let sized = graph.coder(coders::KV, &[&pair, &double]);
    let paired = graph.add_pcollection(&input, &format!("{}/PairWithRestriction.out", leaf.id), &pair);
    let split = graph.add_pcollection(&input, &format!("{}/SplitAndSize.out", leaf.id), &sized);
    let out = |pcollection: &PCollectionId| BTreeMap::from([(LocalName::new("out"), pcollection.clone())]);
    let steps = [
        (components::PAIR_WITH_RESTRICTION, "PairWithRestriction", &input, out(&paired)),
        (components::SPLIT_AND_SIZE_RESTRICTIONS, "SplitAndSize", &paired, out(&split)),
        (components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS, "ProcessSized", &split, leaf.outputs.clone()),
    ];
    let local = graph.main_local(leaf);
    for (urn, suffix, input, outputs) in steps {
        let process = urn == components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS;
        let mut transform = graph.transform(&leaf.id).clone();
        if let Some(spec) = &mut transform.spec {
            spec.urn = urn.to_owned();
        }
        transform.unique_name = format!("{}/{suffix}", leaf.name);
        transform.inputs.insert(local.clone(), input.to_string());
        transform.outputs = outputs.iter().map(|(local, id)| (local.to_string(), id.to_string())).collect();
        let name = transform.unique_name.clone();
        let id = graph.add_transform(&format!("{}/{suffix}", leaf.id), transform);
        graph.leaves.push(Leaf {
            id,
            name,
            inputs: vec![input.clone()],
            outputs,
            forced_root: process || leaf.forced_root,
            splittable: process,
            finalizes: process && leaf.finalizes,
            ..leaf.clone()
        });
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::testing::TestPipeline;

    fn read() -> TestPipeline {
        TestPipeline::new()
            .collection("files", "string_utf8")
            .collection("lines", "any")
            .impulse("start")
            .par_do("Find", "start", &["files"])
            .par_do("Read", "files", &["lines", "failures"])
            .splittable("range")
    }

    #[test]
    fn a_splittable_par_do_becomes_three() {
        assert_snapshot!(read().graph(), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Find in py [start] -> [files: string_utf8]
        Worker Read in py [files] -> [lines: any, failures: bytes]
        ");
        assert_snapshot!(read().after(run), @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Find in py [start] -> [files: string_utf8]
        Worker Read/PairWithRestriction in py [files] -> [read/PairWithRestriction.out: purlin:kv(string_utf8,range)]
        Worker Read/SplitAndSize in py [read/PairWithRestriction.out] -> [read/SplitAndSize.out: purlin:kv(purlin:kv(string_utf8,range),purlin:double())]
        Worker Read/ProcessSized in py root [read/SplitAndSize.out] -> [lines: any, failures: bytes]
        ");
    }

    /// Python's optimizer does by `--experiments=pre_optimize=all_except_fusion` what this pass does.
    #[test]
    fn one_that_its_sdk_has_taken_apart_is_the_same() {
        let apart = |pipeline: TestPipeline, part, input, output: &str, urn: &str| {
            let whole = pipeline.par_do(part, input, &[output]).splittable("range");
            whole.edit(|part| part.spec.as_mut().unwrap().urn = urn.to_owned())
        };
        let start = TestPipeline::new()
            .collection("files", "string_utf8")
            .collection("lines", "any")
            .collection("paired", "any")
            .collection("split", "any")
            .impulse("start")
            .par_do("Find", "start", &["files"]);
        let start = apart(start, "Pair", "files", "paired", components::PAIR_WITH_RESTRICTION);
        let start = apart(start, "Split", "paired", "split", components::SPLIT_AND_SIZE_RESTRICTIONS);
        let all = apart(start, "Process", "split", "lines", components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS);
        let graph = all.after(run);
        assert_snapshot!(graph, @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Find in py [start] -> [files: string_utf8]
        Worker Pair in py [files] -> [paired: any]
        Worker Split in py [paired] -> [split: any]
        Worker Process in py root [split] -> [lines: any]
        ");
        assert_eq!(
            graph.leaves.iter().map(|leaf| leaf.splittable).collect::<Vec<_>>(),
            [false, false, false, false, true]
        );
    }

    #[test]
    fn an_ordinary_par_do_stays_as_it_is() {
        let ordinary = || TestPipeline::new().impulse("start").par_do("Find", "start", &["files"]);
        assert_eq!(ordinary().graph().to_string(), ordinary().after(run).to_string());
    }

    #[test]
    fn each_part_keeps_payload_side_inputs_and_local_names() {
        let graph = read().sides(&[("files", "iterable")]).after(run);
        assert_snapshot!(graph, @"
        Impulse Impulse start [] -> [start: bytes]
        Worker Find in py [start] -> [files: string_utf8]
        Worker Read/PairWithRestriction in py [files, (files)] -> [read/PairWithRestriction.out: purlin:kv(string_utf8,range)]
        Worker Read/SplitAndSize in py [read/PairWithRestriction.out, (files)] -> [read/SplitAndSize.out: purlin:kv(purlin:kv(string_utf8,range),purlin:double())]
        Worker Read/ProcessSized in py root [read/SplitAndSize.out, (files)] -> [lines: any, failures: bytes]
        ");
        let parts = ["PairWithRestriction", "SplitAndSize", "ProcessSized"];
        let inputs: Vec<_> =
            parts.iter().map(|part| graph.components.transforms[&format!("read/{part}")].inputs.clone()).collect();
        let ports =
            |main: &str| BTreeMap::from([("0".to_owned(), main.to_owned()), ("side0".to_owned(), "files".to_owned())]);
        assert_eq!(inputs, ["files", "read/PairWithRestriction.out", "read/SplitAndSize.out"].map(ports));
        for part in parts {
            let spec = graph.components.transforms[&format!("read/{part}")].spec.clone().unwrap_or_default();
            assert_eq!(pb::ParDoPayload::decode(&spec.payload[..]).unwrap().restriction_coder_id, "range");
        }
    }

    #[test]
    fn only_the_part_that_processes_can_be_split_and_finalizes() {
        let graph = read().payload(|payload| payload.requests_finalization = true).after(run);
        let marks: Vec<_> =
            graph.leaves.iter().map(|leaf| (leaf.splittable, leaf.finalizes, leaf.forced_root)).collect();
        let (plain, process) = ((false, false, false), (true, true, true));
        assert_eq!(marks, [plain, plain, plain, plain, process]);
    }
}
