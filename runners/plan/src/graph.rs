//! A pipeline as passes see it: the leaves that do work, and the components that they refer to.
//!
//! ```text
//!   parse ─► Graph { leaves, components } ─pass─► Graph ─pass─► … ─► fuse
//! ```
//! Every reference in it exists: parsing has reported those that do not.

use std::collections::BTreeMap;
use std::fmt;

use purlin_model::ids::{CoderId, EnvironmentId, LocalName, PCollectionId, TransformId, WindowingStrategyId};
use purlin_model::key_group::hash_key;
use purlin_model::slices::SlicedWindows;
use purlin_model::windowing_strategy::WindowingStrategy;
use purlin_proto::convert::windowing_strategy;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_coders as coders;

/// Up to this length the id of a coder tells what it consists of.
const CODER_ID_LENGTH_MAX: usize = 300;

/// What a leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeafKind {
    Impulse,
    /// A source of scripted events, which the runner plays.
    TestStream,
    /// The elements that an earlier job put aside; a pass makes it.
    Replay,
    Flatten,
    GroupByKey,
    /// A combiner as a whole, which is to be lifted; none is left behind that pass.
    CombinePerKey,
    /// Whatever an SDK executes.
    Worker,
    /// A reshuffle or redistribution, of which the runner does all: its output is its input, materialised.
    Barrier,
    /// The runner's own sort by key and time; a pass makes it.
    SortByTime,
    /// The panes of a collection that is read as a side input; a pass makes it. Nobody reads its output but who keeps them.
    Panes,
}

/// A transform that does work.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) id: TransformId,
    pub(crate) name: String,
    pub(crate) kind: LeafKind,
    /// The main inputs: one, but for a flatten.
    pub(crate) inputs: Vec<PCollectionId>,
    pub(crate) sides: BTreeMap<LocalName, PCollectionId>,
    pub(crate) outputs: BTreeMap<LocalName, PCollectionId>,
    pub(crate) env: Option<EnvironmentId>,
    /// Whether it begins a stage, whatever stands before it.
    pub(crate) forced_root: bool,
    /// Whether its input can be split within an element.
    pub(crate) splittable: bool,
    pub(crate) finalizes: bool,
    /// Whether it has state or timers.
    pub(crate) stateful: bool,
    /// The transform that is asked while this one runs: for a grouping whose windows only an SDK can merge, the one that
    /// merges them; for a splittable DoFn, the one that truncates its restrictions when the job is drained.
    pub(crate) asks: Option<TransformId>,
    /// If its input is combined in slices of its windows, or will be.
    pub(crate) slices: Option<SlicedWindows>,
    /// The transform of the user's that it came from; itself, unless a pass made it.
    pub(crate) origin: TransformId,
}

/// A pipeline as passes see it. Leaves are in topological order.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) components: pb::Components,
    pub(crate) strategies: BTreeMap<WindowingStrategyId, WindowingStrategy>,
}

impl Graph {
    /// A leaf of the runner's own making, with its transform, which has a name, what it does and where: from one PCollection to another,
    /// and at the beginning of a stage. It is put into its place by who makes it.
    pub(crate) fn make_leaf(
        &mut self,
        id: &str,
        kind: LeafKind,
        mut transform: pb::PTransform,
        (input, output): (PCollectionId, PCollectionId),
        origin: TransformId,
    ) -> Leaf {
        let name = transform.unique_name.clone();
        let env = Some(transform.environment_id.as_str()).filter(|env| !env.is_empty()).map(EnvironmentId::new);
        transform.inputs.insert("in".to_owned(), input.to_string());
        transform.outputs.insert("out".to_owned(), output.to_string());
        Leaf {
            id: self.add_transform(id, transform),
            name,
            kind,
            inputs: vec![input],
            sides: BTreeMap::new(),
            outputs: BTreeMap::from([(LocalName::new("out"), output)]),
            env,
            forced_root: true,
            splittable: false,
            finalizes: false,
            stateful: false,
            asks: None,
            slices: None,
            origin,
        }
    }

    pub(crate) fn pcollection(&self, id: &PCollectionId) -> &pb::PCollection {
        &self.components.pcollections[id.as_str()]
    }

    pub(crate) fn strategy_of(&self, id: &PCollectionId) -> &WindowingStrategy {
        &self.strategies[self.pcollection(id).windowing_strategy_id.as_str()]
    }

    pub(crate) fn transform(&self, id: &TransformId) -> &pb::PTransform {
        &self.components.transforms[id.as_str()]
    }

    /// The panes of a collection that is read as a side input, if it has more than one for a window.
    pub(crate) fn panes_of(&self, side: &PCollectionId) -> Option<&PCollectionId> {
        let mut panes = self.leaves.iter().filter(|leaf| leaf.kind == LeafKind::Panes);
        panes.find(|leaf| leaf.inputs.first() == Some(side))?.outputs.values().next()
    }

    pub(crate) fn urn_of_coder(&self, id: &str) -> &str {
        let spec = self.components.coders.get(id).and_then(|coder| coder.spec.as_ref());
        spec.map_or("", |spec| spec.urn.as_str())
    }

    pub(crate) fn is_bounded(&self, id: &PCollectionId) -> bool {
        self.pcollection(id).is_bounded != pb::is_bounded::Enum::Unbounded as i32
    }

    /// The local name of a leaf's one main input.
    pub(crate) fn main_local(&self, leaf: &Leaf) -> String {
        let inputs = &self.transform(&leaf.id).inputs;
        inputs.keys().find(|local| !leaf.sides.contains_key(local.as_str())).cloned().unwrap_or_default()
    }

    /// A coder of this kind over these; the same one each time.
    pub(crate) fn coder(&mut self, urn: &str, parts: &[&str]) -> String {
        let short = urn.split(':').nth(2).unwrap_or("coder");
        let spec = Some(pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() });
        let component_coder_ids = parts.iter().map(|part| (*part).to_owned()).collect();
        let coder = pb::Coder { spec, component_coder_ids };
        let mut id = format!("purlin:{short}({})", parts.join(","));
        // Coders of coders of coders: the name would grow with all that is in it.
        if id.len() > CODER_ID_LENGTH_MAX {
            id = format!("purlin:{short}#{:016x}", hash_key(id.as_bytes()));
        }
        // Ids may hold commas, so that two coders can come to the same name.
        let id = fresh(&id, |id| self.components.coders.get(id).is_some_and(|other| *other != coder));
        self.components.coders.entry(id.clone()).or_insert(coder);
        id
    }

    /// A windowing strategy of one global window; the same one each time.
    pub(crate) fn global_windowing(&mut self) -> String {
        let coder = self.coder(coders::GLOBAL_WINDOW, &[]);
        let strategy = WindowingStrategy::global(CoderId::new(coder));
        let wire = windowing_strategy::to_wire(&strategy);
        let all = &self.components.windowing_strategies;
        let id = fresh("purlin:global_windows", |id| all.get(id).is_some_and(|other| *other != wire));
        self.components.windowing_strategies.entry(id.clone()).or_insert(wire);
        self.strategies.entry(WindowingStrategyId::new(id.as_str())).or_insert(strategy);
        id
    }

    /// A new PCollection beside another one: of the same windowing and boundedness.
    pub(crate) fn add_pcollection(&mut self, like: &PCollectionId, wanted: &str, coder: &str) -> PCollectionId {
        let id = fresh(wanted, |id| self.components.pcollections.contains_key(id));
        let like = self.pcollection(like).clone();
        let pcollection = pb::PCollection { unique_name: id.clone(), coder_id: coder.to_owned(), ..like };
        self.components.pcollections.insert(id.clone(), pcollection);
        PCollectionId::new(id)
    }

    /// A new transform, under an id that nobody has.
    pub(crate) fn add_transform(&mut self, wanted: &str, transform: pb::PTransform) -> TransformId {
        let id = fresh(wanted, |id| self.components.transforms.contains_key(id));
        self.components.transforms.insert(id.clone(), transform);
        TransformId::new(id)
    }
}

/// `wanted`, or what is made of it by a number that makes it free.
pub(crate) fn fresh(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut id = wanted.to_owned();
    let mut count = 1;
    while taken(&id) {
        count += 1;
        id = format!("{wanted}_{count}");
    }
    id
}

/// One leaf a line, with the coders of what it emits: what the tests of passes compare.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for leaf in &self.leaves {
            let inputs: Vec<_> = leaf.inputs.iter().map(|input| input.as_str().to_owned()).collect();
            let sides: Vec<_> = leaf.sides.values().map(|side| format!("({side})")).collect();
            let outputs: Vec<_> = leaf
                .outputs
                .values()
                .map(|output| format!("{output}: {}", self.pcollection(output).coder_id))
                .collect();
            let env = leaf.env.as_ref().map_or(String::new(), |env| format!(" in {env}"));
            let root = if leaf.forced_root { " root" } else { "" };
            writeln!(
                f,
                "{:?} {}{env}{root} [{}] -> [{}]",
                leaf.kind,
                leaf.name,
                [inputs, sides].concat().join(", "),
                outputs.join(", ")
            )?;
        }
        Ok(())
    }
}
