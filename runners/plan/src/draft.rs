//! Stages before they have ids: what runs together, what it reads, in topological order.
//!
//! ```text
//!   Graph ─fuse─► workers, impulses, groupings ─┐
//!                 side inputs that anyone reads ─┴─ order ─► drafts
//! ```

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use purlin_engine::core::stage::SideAccess;
use purlin_model::ids::{LocalName, PCollectionId, TransformId};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_side_input_types as access;

use crate::fuse::fuse;
use crate::graph::{Graph, Leaf, LeafKind};
use crate::order::order;

/// A stage before it has an id.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) kind: DraftKind,
    /// Positions in the graph; none for a side input.
    pub(crate) leaves: Vec<usize>,
    pub(crate) input: Option<PCollectionId>,
    pub(crate) sides: Vec<DraftSide>,
}

/// Who runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DraftKind {
    Impulse,
    Replay,
    TestStream,
    Worker,
    Group,
    Sort,
    Materialize(SideKey),
}

/// What makes two uses of a side input the same: what is read, and how.
pub(crate) type SideKey = (PCollectionId, SideAccess);

/// One side input of one leaf.
#[derive(Clone, Debug)]
pub(crate) struct DraftSide {
    pub(crate) leaf: usize,
    pub(crate) local: LocalName,
    pub(crate) key: SideKey,
}

/// Through flattens and barriers, the PCollections that really carry elements.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    through: BTreeMap<&'a PCollectionId, &'a [PCollectionId]>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(graph: &'a Graph) -> Self {
        let passive = graph.leaves.iter().filter(|leaf| matches!(leaf.kind, LeafKind::Flatten | LeafKind::Barrier));
        let through = passive.flat_map(|leaf| leaf.outputs.values().map(|output| (output, leaf.inputs.as_slice())));
        Self { through: through.collect() }
    }

    /// Where the elements of a PCollection come from. One that is flattened twice is there twice.
    pub(crate) fn of(&self, pcollection: &PCollectionId) -> Vec<PCollectionId> {
        let mut found = Vec::new();
        let mut pending = vec![pcollection];
        while let Some(next) = pending.pop() {
            match self.through.get(next) {
                Some(inputs) => pending.extend(inputs.iter().rev()),
                None => found.push(next.clone()),
            }
        }
        found
    }
}

/// All stages, producers before consumers, side inputs before their readers.
pub(crate) fn drafts(graph: &Graph, sources: &Sources<'_>) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = fuse(graph).into_iter().map(|fused| draft(graph, fused.leaves)).collect();
    let read: BTreeSet<SideKey> = drafts.iter().flat_map(|draft| &draft.sides).map(|side| side.key.clone()).collect();
    drafts.extend(read.into_iter().map(|key| Draft {
        input: Some(graph.panes_of(&key.0).unwrap_or(&key.0).clone()),
        kind: DraftKind::Materialize(key),
        leaves: Vec::new(),
        sides: Vec::new(),
    }));
    let mut writers = BTreeMap::<PCollectionId, usize>::new();
    let mut keepers = BTreeMap::<SideKey, usize>::new();
    for (index, draft) in drafts.iter().enumerate() {
        for leaf in &draft.leaves {
            writers.extend(graph.leaves[*leaf].outputs.values().map(|output| (output.clone(), index)));
        }
        if let DraftKind::Materialize(key) = &draft.kind {
            keepers.insert(key.clone(), index);
        }
    }
    let asked = Asked::new(graph, &drafts);
    let mut edges = Vec::new();
    for (index, draft) in drafts.iter().enumerate() {
        let inputs = draft.input.iter().flat_map(|input| sources.of(input));
        edges.extend(inputs.filter_map(|input| Some((*writers.get(&input)?, index))));
        edges.extend(draft.sides.iter().filter_map(|side| Some((*keepers.get(&side.key)?, index))));
        // What truncates restrictions stands behind all others: nothing waits for it as long as nobody drains the job.
        let merger = asked.of(graph, draft).filter(|_| draft.kind == DraftKind::Group);
        edges.extend(merger.map(|merger| (merger, index)));
    }
    let ordered = order(drafts.len(), edges).expect("leaves have no cycles, and fusing makes none: see `fuse`");
    let mut drafts: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
    ordered.into_iter().filter_map(|position| drafts[position].take()).collect()
}

/// Which draft others ask while they run: it merges windows for a grouping, or truncates restrictions for a splittable DoFn.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// Where each transform that is asked runs.
    drafts: BTreeMap<&'a TransformId, usize>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(graph: &'a Graph, drafts: &[Draft]) -> Self {
        let asked: BTreeSet<_> = graph.leaves.iter().filter_map(|leaf| leaf.asks.as_ref()).collect();
        let all =
            drafts.iter().enumerate().flat_map(|(index, draft)| draft.leaves.iter().map(move |leaf| (leaf, index)));
        let all = all.map(|(leaf, index)| (&graph.leaves[*leaf].id, index));
        Self { drafts: all.filter(|(id, _)| asked.contains(id)).collect() }
    }

    pub(crate) fn of(&self, graph: &Graph, draft: &Draft) -> Option<usize> {
        let asks = draft.leaves.iter().find_map(|leaf| graph.leaves[*leaf].asks.as_ref())?;
        self.drafts.get(asks).copied()
    }
}

fn draft(graph: &Graph, leaves: Vec<usize>) -> Draft {
    let root = &graph.leaves[leaves[0]];
    let kind = match root.kind {
        LeafKind::Impulse => DraftKind::Impulse,
        LeafKind::Replay => DraftKind::Replay,
        LeafKind::TestStream => DraftKind::TestStream,
        LeafKind::GroupByKey | LeafKind::CombinePerKey | LeafKind::Panes => DraftKind::Group,
        LeafKind::SortByTime => DraftKind::Sort,
        LeafKind::Worker | LeafKind::Flatten | LeafKind::Barrier => DraftKind::Worker,
    };
    let mut sides = Vec::new();
    for position in &leaves {
        let leaf = &graph.leaves[*position];
        let patterns = patterns(graph, leaf);
        sides.extend(leaf.sides.iter().map(|(local, pcollection)| {
            let access = patterns.get(local).copied().unwrap_or(SideAccess::Iterable);
            DraftSide { leaf: *position, local: local.clone(), key: (pcollection.clone(), access) }
        }));
    }
    Draft { kind, input: root.inputs.first().cloned(), leaves, sides }
}

fn patterns(graph: &Graph, leaf: &Leaf) -> BTreeMap<LocalName, SideAccess> {
    let spec = graph.transform(&leaf.id).spec.as_ref();
    let payload = spec.and_then(|spec| pb::ParDoPayload::decode(&spec.payload[..]).ok()).unwrap_or_default();
    let access = |side: &pb::SideInput| match &side.access_pattern {
        Some(pattern) if pattern.urn == access::MULTIMAP => SideAccess::Multimap,
        Some(_) | None => SideAccess::Iterable,
    };
    payload.side_inputs.iter().map(|(local, side)| (local.as_str().into(), access(side))).collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::testing::TestPipeline;

    /// A draft a line: what it is, what runs in it, where its input comes from.
    fn drafted(pipeline: TestPipeline) -> String {
        let graph = pipeline.graph();
        let sources = Sources::new(&graph);
        let line = |draft: &Draft| {
            let leaves: Vec<_> = draft.leaves.iter().map(|leaf| graph.leaves[*leaf].name.as_str()).collect();
            let sides: Vec<_> =
                draft.sides.iter().map(|side| format!("{}={} {:?}", side.local, side.key.0, side.key.1)).collect();
            let inputs: Vec<_> = draft.input.iter().flat_map(|input| sources.of(input)).collect();
            format!("{:?} {leaves:?} <- {inputs:?} {sides:?}\n", draft.kind)
        };
        drafts(&graph, &sources).iter().map(line).collect()
    }

    fn two() -> TestPipeline {
        TestPipeline::new()
            .collection("pairs", "kv<string_utf8, varint>")
            .impulse("start")
            .par_do("A", "start", &["as"])
            .par_do("B", "start", &["bs"])
            .par_do("Pair", "start", &["pairs"])
    }

    #[test]
    fn a_side_input_is_kept_once_for_each_way_of_reading_it() {
        let readers = two()
            .par_do("First", "as", &["firsts"])
            .sides(&[("pairs", "iterable"), ("bs", "iterable")])
            .par_do("Second", "as", &["seconds"])
            .sides(&[("pairs", "iterable"), ("pairs", "multimap")]);
        assert_snapshot!(drafted(readers), @r#"
        Impulse ["Impulse start"] <- [] []
        Worker ["A", "B", "Pair"] <- ["start"] []
        Materialize(("bs", Iterable)) [] <- ["bs"] []
        Materialize(("pairs", Iterable)) [] <- ["pairs"] []
        Worker ["First"] <- ["as"] ["side0=pairs Iterable", "side1=bs Iterable"]
        Materialize(("pairs", Multimap)) [] <- ["pairs"] []
        Worker ["Second"] <- ["as"] ["side0=pairs Iterable", "side1=pairs Multimap"]
        "#);
    }

    #[test]
    fn a_side_input_stands_before_its_reader_even_if_the_reader_was_submitted_first() {
        let late = TestPipeline::new()
            .par_do("Read", "start", &["read"])
            .sides(&[("as", "iterable")])
            .par_do("A", "start", &["as"])
            .impulse("start");
        assert_snapshot!(drafted(late), @r#"
        Impulse ["Impulse start"] <- [] []
        Worker ["A"] <- ["start"] []
        Materialize(("as", Iterable)) [] <- ["as"] []
        Worker ["Read"] <- ["start"] ["side0=as Iterable"]
        "#);
    }

    #[test]
    fn flattens_are_only_a_way_to_where_elements_come_from() {
        let nested = two()
            .flatten("Both", &["as", "bs"], "both")
            .reshuffle("Shuffle", "both", "shuffled")
            .flatten("More", &["shuffled", "as"], "more")
            .par_do("Print", "more", &["printed"])
            .sides(&[("both", "iterable")]);
        assert_snapshot!(drafted(nested), @r#"
        Impulse ["Impulse start"] <- [] []
        Worker ["A", "B", "Pair"] <- ["start"] []
        Materialize(("both", Iterable)) [] <- ["as", "bs"] []
        Worker ["Print"] <- ["as", "bs", "as"] ["side0=both Iterable"]
        "#);
    }

    #[test]
    fn what_is_flattened_twice_comes_twice() {
        let twice = two().flatten("Twice", &["as", "as"], "double").par_do("Print", "double", &["printed"]);
        assert_snapshot!(drafted(twice), @r#"
        Impulse ["Impulse start"] <- [] []
        Worker ["A", "B", "Pair"] <- ["start"] []
        Worker ["Print"] <- ["as", "as"] []
        "#);
    }

    #[test]
    fn a_flatten_of_nothing_is_an_input_without_sources() {
        let nothing = two().flatten("None", &[], "nothing").par_do("Print", "nothing", &["printed"]);
        assert_snapshot!(drafted(nothing), @r#"
        Impulse ["Impulse start"] <- [] []
        Worker ["A", "B", "Pair"] <- ["start"] []
        Worker ["Print"] <- [] []
        "#);
    }
}
