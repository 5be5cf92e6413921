//! From fused leaves to stages, outputs and side inputs with ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use purlin_engine::core::stage::{
    ConsumerSpec, EnvIndex, Grouping, JobGraph, OutputId, OutputSpec, Partitioning, SideAccess, SideGate, SideId,
    SideMapping, SideSpec, StageId, StageKind, StageSpec,
};
use purlin_model::coder::Coder;
use purlin_model::ids::{EnvironmentId, LocalName, PCollectionId, TransformId};
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_side_input_types as access;

use crate::fuse::fuse;
use crate::graph::{Graph, Leaf, LeafKind};
use crate::problem::Problems;
use crate::stage::{Environment, SideUse, Stage, StageGraph};

/// A stage before it has an id.
struct Draft {
    kind: DraftKind,
    leaves: Vec<usize>,
    input: Option<PCollectionId>,
    sides: Vec<(usize, LocalName, PCollectionId, SideAccess)>,
}

#[derive(Clone, PartialEq, Eq)]
enum DraftKind {
    Impulse,
    Worker,
    Group,
    Materialize(PCollectionId, SideAccess),
}

pub(crate) fn build(graph: Graph) -> Result<StageGraph, Problems> {
    let mut problems = Problems::new();
    let sources = Sources::new(&graph);
    let mut drafts = drafts(&graph);
    add_side_inputs(&mut drafts);
    let drafts = sort(&graph, &sources, drafts);
    // Who emits what, and who consumes it.
    let mut producer = BTreeMap::<PCollectionId, usize>::new();
    for (index, draft) in drafts.iter().enumerate() {
        for leaf in &draft.leaves {
            for output in graph.leaves[*leaf].outputs.values() {
                producer.insert(output.clone(), index);
            }
        }
    }
    let mut consumers = BTreeMap::<PCollectionId, Vec<usize>>::new();
    for (index, draft) in drafts.iter().enumerate() {
        for source in draft.input.iter().flat_map(|input| sources.of(input)) {
            consumers.entry(source).or_default().push(index);
        }
    }
    let mut output_ids = BTreeMap::<PCollectionId, OutputId>::new();
    let mut outputs = Vec::new();
    for (index, draft) in drafts.iter().enumerate() {
        for leaf in &draft.leaves {
            for pcollection in graph.leaves[*leaf].outputs.values().filter(|it| consumers.contains_key(*it)) {
                let id = OutputId(outputs.len() as u32);
                output_ids.insert(pcollection.clone(), id);
                outputs.push(OutputSpec {
                    id,
                    name: pcollection.as_str().into(),
                    producer: StageId(index as u32),
                    consumers: consumers[pcollection]
                        .iter()
                        .map(|consumer| ConsumerSpec {
                            stage: StageId(*consumer as u32),
                            partitioning: partitioning(&drafts[*consumer]),
                        })
                        .collect(),
                    coder: Arc::new(coder(&graph, &graph.pcollection(pcollection).coder_id, &mut problems)),
                    windows: window_coder(&graph, pcollection),
                    bounded: graph.is_bounded(pcollection),
                });
            }
        }
    }
    let mut sides = Vec::new();
    let mut side_ids = BTreeMap::<(PCollectionId, SideAccess), SideId>::new();
    for (index, draft) in drafts.iter().enumerate() {
        if let DraftKind::Materialize(pcollection, access) = &draft.kind {
            let id = SideId(sides.len() as u32);
            side_ids.insert((pcollection.clone(), *access), id);
            sides.push(SideSpec {
                id,
                materialize: StageId(index as u32),
                access: *access,
                window_fn: graph.strategy_of(pcollection).window_fn.clone(),
                coder: Arc::new(coder(&graph, &graph.pcollection(pcollection).coder_id, &mut problems)),
                windows: window_coder(&graph, pcollection),
            });
        }
    }
    let environments = environments(&graph, &drafts);
    let mut depths: Vec<u32> = Vec::new();
    let mut specs = Vec::new();
    let mut stages = Vec::new();
    for (index, draft) in drafts.iter().enumerate() {
        let id = StageId(index as u32);
        let leaves: Vec<&Leaf> = draft.leaves.iter().map(|leaf| &graph.leaves[*leaf]).collect();
        let upstream: BTreeSet<OutputId> = draft
            .input
            .iter()
            .flat_map(|input| sources.of(input))
            .filter_map(|it| output_ids.get(&it).copied())
            .collect();
        let depth = upstream.iter().map(|it| depths[outputs[it.index()].producer.index()] + 1).max().unwrap_or(0);
        depths.push(depth);
        let mine: Vec<(OutputId, PCollectionId)> = leaves
            .iter()
            .flat_map(|leaf| leaf.outputs.values())
            .filter_map(|it| Some((*output_ids.get(it)?, it.clone())))
            .collect();
        let uses: Vec<SideUse> = draft
            .sides
            .iter()
            .map(|(leaf, local, pcollection, access)| SideUse {
                transform: graph.leaves[*leaf].id.clone(),
                local_name: local.clone(),
                side: side_ids[&(pcollection.clone(), *access)],
            })
            .collect();
        let gates: BTreeSet<SideId> = uses.iter().map(|it| it.side).collect();
        let env = leaves.first().and_then(|leaf| leaf.env.clone());
        let name = match &draft.kind {
            DraftKind::Materialize(pcollection, _) => {
                format!("side input {}", graph.pcollection(pcollection).unique_name)
            }
            _ => leaves.iter().map(|leaf| leaf.name.as_str()).collect::<Vec<_>>().join(" + "),
        };
        specs.push(StageSpec {
            id,
            name: name.into(),
            kind: match &draft.kind {
                DraftKind::Impulse => StageKind::Impulse,
                DraftKind::Worker => StageKind::Worker,
                DraftKind::Group => StageKind::Group {
                    grouping: Grouping::AppendOnce,
                    strategy: Arc::new(graph.strategy_of(&leaves[0].inputs[0]).clone()),
                },
                DraftKind::Materialize(pcollection, access) => {
                    StageKind::Materialize(side_ids[&(pcollection.clone(), *access)])
                }
            },
            env: env.and_then(|env| environments.iter().position(|it| it.id == env)).map(|it| EnvIndex(it as u32)),
            upstream: upstream.into_iter().collect(),
            outputs: mine.iter().map(|(id, _)| *id).collect(),
            gates: gates.into_iter().map(|side| SideGate { side, mapping: mapping(&sides[side.index()]) }).collect(),
            keyed: draft.kind == DraftKind::Group,
            splittable: leaves.first().is_some_and(|leaf| leaf.splittable),
            unbounded: leaves.iter().flat_map(|leaf| leaf.outputs.values()).any(|it| !graph.is_bounded(it)),
            finalizes: leaves.iter().any(|leaf| leaf.finalizes),
            depth,
        });
        stages.push(Stage {
            id,
            transforms: leaves.iter().map(|leaf| leaf.id.clone()).collect(),
            input: draft.input.clone(),
            outputs: mine,
            sides: uses,
        });
    }
    let origins = graph.leaves.iter().map(|leaf| (leaf.id.clone(), leaf.origin.clone())).collect();
    let job = JobGraph { stages: specs, outputs, sides, environments: environments.len() as u32 };
    if let Err(bug) = job.check() {
        problems.add("planner", bug.to_string(), "");
    }
    problems.into_result(StageGraph {
        graph: Arc::new(job),
        stages,
        environments,
        components: Arc::new(graph.components),
        origins,
    })
}

/// Through flattens and barriers, the PCollections that really carry elements; one that is flattened twice is there twice.
struct Sources<'a> {
    through: BTreeMap<&'a PCollectionId, &'a [PCollectionId]>,
}

impl<'a> Sources<'a> {
    fn new(graph: &'a Graph) -> Self {
        let through = graph
            .leaves
            .iter()
            .filter(|leaf| matches!(leaf.kind, LeafKind::Flatten | LeafKind::Barrier))
            .flat_map(|leaf| leaf.outputs.values().map(|output| (output, leaf.inputs.as_slice())))
            .collect();
        Self { through }
    }

    fn of(&self, pcollection: &PCollectionId) -> Vec<PCollectionId> {
        match self.through.get(pcollection) {
            Some(inputs) => inputs.iter().flat_map(|input| self.of(input)).collect(),
            None => vec![pcollection.clone()],
        }
    }
}

fn drafts(graph: &Graph) -> Vec<Draft> {
    fuse(graph)
        .into_iter()
        .map(|fused| {
            let root = &graph.leaves[fused.leaves[0]];
            let kind = match root.kind {
                LeafKind::Impulse => DraftKind::Impulse,
                LeafKind::GroupByKey => DraftKind::Group,
                LeafKind::Worker | LeafKind::Flatten | LeafKind::Barrier => DraftKind::Worker,
            };
            let sides = fused
                .leaves
                .iter()
                .flat_map(|leaf| {
                    let patterns = patterns(graph, &graph.leaves[*leaf]);
                    graph.leaves[*leaf].sides.iter().map(move |(local, pcollection)| {
                        let access = patterns.get(local).copied().unwrap_or(SideAccess::Iterable);
                        (*leaf, local.clone(), pcollection.clone(), access)
                    })
                })
                .collect();
            Draft { kind, input: root.inputs.first().cloned(), leaves: fused.leaves, sides }
        })
        .collect()
}

fn patterns(graph: &Graph, leaf: &Leaf) -> BTreeMap<LocalName, SideAccess> {
    let payload =
        graph.transform(&leaf.id).spec.as_ref().and_then(|spec| pb::ParDoPayload::decode(&spec.payload[..]).ok());
    let sides = payload.map(|payload| payload.side_inputs).unwrap_or_default();
    sides
        .into_iter()
        .map(|(local, side)| {
            let multimap = side.access_pattern.is_some_and(|it| it.urn == access::MULTIMAP);
            (local.into(), if multimap { SideAccess::Multimap } else { SideAccess::Iterable })
        })
        .collect()
}

fn add_side_inputs(drafts: &mut Vec<Draft>) {
    let wanted: BTreeSet<(PCollectionId, SideAccess)> =
        drafts.iter().flat_map(|draft| &draft.sides).map(|(_, _, it, access)| (it.clone(), *access)).collect();
    drafts.extend(wanted.into_iter().map(|(pcollection, access)| Draft {
        input: Some(pcollection.clone()),
        kind: DraftKind::Materialize(pcollection, access),
        leaves: Vec::new(),
        sides: Vec::new(),
    }));
}

fn sort(graph: &Graph, sources: &Sources<'_>, drafts: Vec<Draft>) -> Vec<Draft> {
    let emits = |draft: &Draft| -> Vec<PCollectionId> {
        draft.leaves.iter().flat_map(|leaf| graph.leaves[*leaf].outputs.values().cloned()).collect()
    };
    let mut pending: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
    let mut done = BTreeSet::<PCollectionId>::new();
    let mut filled = BTreeSet::<(PCollectionId, SideAccess)>::new();
    let mut sorted = Vec::new();
    while sorted.len() < pending.len() {
        let before = sorted.len();
        for slot in &mut pending {
            let ready = slot.as_ref().is_some_and(|draft| {
                draft.input.iter().flat_map(|input| sources.of(input)).all(|it| done.contains(&it))
                    && draft.sides.iter().all(|(_, _, it, access)| filled.contains(&(it.clone(), *access)))
            });
            if !ready {
                continue;
            }
            if let Some(draft) = slot.take() {
                done.extend(emits(&draft));
                if let DraftKind::Materialize(pcollection, access) = &draft.kind {
                    filled.insert((pcollection.clone(), *access));
                }
                sorted.push(draft);
            }
        }
        if sorted.len() == before {
            break;
        }
    }
    sorted
}

fn environments(graph: &Graph, drafts: &[Draft]) -> Vec<Environment> {
    let used: BTreeSet<&EnvironmentId> =
        drafts.iter().flat_map(|draft| &draft.leaves).filter_map(|leaf| graph.leaves[*leaf].env.as_ref()).collect();
    used.into_iter()
        .filter_map(|id| {
            Some(Environment { id: id.clone(), proto: graph.components.environments.get(id.as_str())?.clone() })
        })
        .collect()
}

fn partitioning(draft: &Draft) -> Partitioning {
    match (draft.kind == DraftKind::Group, draft.sides.is_empty()) {
        (false, true) => Partitioning::Any,
        (false, false) => Partitioning::AnyByWindow,
        (true, true) => Partitioning::ByKey,
        (true, false) => Partitioning::ByKeyAndWindow,
    }
}

fn mapping(side: &SideSpec) -> SideMapping {
    match side.window_fn {
        WindowFn::Global => SideMapping::Default,
        WindowFn::Fixed { .. } | WindowFn::Sliding { .. } | WindowFn::Session { .. } | WindowFn::Custom { .. } => {
            SideMapping::Opaque
        }
    }
}

fn window_coder(graph: &Graph, pcollection: &PCollectionId) -> WindowCoder {
    let strategy = &graph.pcollection(pcollection).windowing_strategy_id;
    let coder = &graph.components.windowing_strategies[strategy].window_coder_id;
    let urn = graph.components.coders.get(coder).and_then(|coder| coder.spec.as_ref()).map_or("", |spec| &spec.urn);
    match urn {
        purlin_proto::urns::standard_coders::GLOBAL_WINDOW => WindowCoder::Global,
        purlin_proto::urns::standard_coders::INTERVAL_WINDOW => WindowCoder::Interval,
        _ => WindowCoder::Custom,
    }
}

fn coder(graph: &Graph, id: &str, problems: &mut Problems) -> Coder {
    fn read(graph: &Graph, id: &str, depth: usize) -> Result<Coder, String> {
        if depth > 100 {
            return Err("it is nested too deeply, or contains itself".to_owned());
        }
        let coder = graph.components.coders.get(id).ok_or_else(|| format!("there is no coder `{id}`"))?;
        let spec = coder.spec.clone().unwrap_or_default();
        if spec.urn == purlin_proto::urns::standard_coders::LENGTH_PREFIX {
            return Ok(Coder::length_prefix(Coder::Bytes));
        }
        let parts = coder.component_coder_ids.iter().map(|it| read(graph, it, depth + 1).map(Arc::new));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Coder::from_urn(&spec.urn, &spec.payload, parts).map_err(|error| error.to_string())
    }
    read(graph, id, 0).unwrap_or_else(|why| {
        problems.add(format!("coder `{id}`"), why, "");
        Coder::Bytes
    })
}

impl StageGraph {
    /// The user's transform that a transform came from: itself, unless a pass made it.
    pub fn origin<'a>(&'a self, transform: &'a TransformId) -> &'a TransformId {
        self.origins.get(transform).unwrap_or(transform)
    }
}
