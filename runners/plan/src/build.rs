//! From drafts to stages, outputs and side inputs with ids: what the engine runs, and what stands behind it.
//!
//! ```text
//!   drafts ─► outputs (PCollections that leave their stage) ─► side inputs ─► stages
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purlin_engine::core::stage::{
    ConsumerSpec, EnvIndex, Grouping, JobGraph, OutputId, OutputSpec, Partitioning, SideContents, SideGate, SideId,
    SideMapping, SideSpec, StageId, StageKind, StageSpec,
};
use purlin_model::coder::Coder;
use purlin_model::ids::{CoderId, EnvironmentId, PCollectionId};
use purlin_model::time::Millis;
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_proto::convert::coder::from_components;
use purlin_proto::convert::problem::{Path, Problems as WireProblems};
use purlin_proto::urns::standard_coders;

use crate::draft::{Asked, Draft, DraftKind, SideKey, Sources, drafts};
use crate::entry::{EntryPoint, windows_text};
use crate::graph::{Graph, Leaf, LeafKind};
use crate::parse::fix;
use crate::problem::Problems;
use crate::stage::{Environment, SideUse, Stage, StageGraph, script_begins};
use crate::windowing;

/// # Errors
/// If what comes out is not a graph that an engine can run: a bug.
pub(crate) fn build(graph: Graph, letters: &[PCollectionId]) -> Result<StageGraph, Problems> {
    let mut problems = Problems::new();
    let (job, stages, environments, letters) = {
        let sources = Sources::new(&graph);
        let drafts = drafts(&graph, &sources);
        let (coders, wire) = coders(&graph);
        for problem in wire.iter() {
            problems.add("coders", problem.to_string(), fix(&problem.fault));
        }
        let asked = Asked::new(&graph, &drafts);
        let context = Context { graph: &graph, sources: &sources, drafts: &drafts, asked, coders };
        let (outputs, output_ids) = context.outputs();
        let (sides, side_ids) = context.sides();
        let environments = context.environments();
        let (specs, stages) = context.stages(&outputs, &output_ids, &sides, &side_ids, &environments);
        let job = JobGraph {
            stages: specs,
            outputs,
            sides,
            environments: environments.len() as u32,
            script_begins: script_begins(&environments),
        };
        let letters = letters.iter().filter_map(|letters| output_ids.get(letters).copied()).collect();
        (job, stages, environments, letters)
    };
    if let Err(bug) = job.check() {
        problems.add(bug.stage.to_string(), bug.to_string(), "");
    }
    let origins = graph.leaves.iter().map(|leaf| (leaf.id.clone(), leaf.origin.clone())).collect();
    problems.into_result(StageGraph {
        graph: Arc::new(job),
        stages,
        environments,
        components: Arc::new(graph.components),
        origins,
        letters,
    })
}

/// Every coder of the graph that can be read, and what is wrong with the others.
pub(crate) fn coders(graph: &Graph) -> (BTreeMap<CoderId, Arc<Coder>>, WireProblems) {
    let mut wire = WireProblems::new();
    let coders = from_components(&graph.components.coders, &Path::root("coders"), &mut wire);
    (coders, wire)
}

struct Context<'a> {
    graph: &'a Graph,
    sources: &'a Sources<'a>,
    drafts: &'a [Draft],
    asked: Asked<'a>,
    coders: BTreeMap<CoderId, Arc<Coder>>,
}

impl Context<'_> {
    /// The PCollections that leave their stage.
    fn outputs(&self) -> (Vec<OutputSpec>, BTreeMap<PCollectionId, OutputId>) {
        let mut consumers = BTreeMap::<PCollectionId, Vec<ConsumerSpec>>::new();
        for (index, draft) in self.drafts.iter().enumerate() {
            let consumer = ConsumerSpec { stage: StageId(index as u32), partitioning: self.partitioning(draft) };
            // Answers go to who asked, though they are none of its input.
            let asked = self.asked.of(self.graph, draft).map(|asked| &self.drafts[asked]);
            for answers in asked.into_iter().flat_map(|asked| self.leaves(asked)).flat_map(|it| it.outputs.values()) {
                consumers.entry(answers.clone()).or_default().push(consumer);
            }
            for source in draft.input.iter().flat_map(|input| self.sources.of(input)) {
                consumers.entry(source).or_default().push(consumer);
            }
        }
        let (mut outputs, mut ids) = (Vec::new(), BTreeMap::new());
        for (index, draft) in self.drafts.iter().enumerate() {
            for pcollection in self.leaves(draft).flat_map(|leaf| leaf.outputs.values()) {
                let Some(consumers) = consumers.remove(pcollection) else { continue };
                let id = OutputId(outputs.len() as u32);
                ids.insert(pcollection.clone(), id);
                outputs.push(OutputSpec {
                    id,
                    name: pcollection.as_str().into(),
                    producer: StageId(index as u32),
                    consumers,
                    coder: self.coder(pcollection),
                    windows: self.windows(pcollection),
                    bounded: self.graph.is_bounded(pcollection),
                });
            }
        }
        (outputs, ids)
    }

    fn sides(&self) -> (Vec<SideSpec>, BTreeMap<SideKey, SideId>) {
        let (mut sides, mut ids) = (Vec::new(), BTreeMap::new());
        for (index, draft) in self.drafts.iter().enumerate() {
            let DraftKind::Materialize(key) = &draft.kind else { continue };
            let id = SideId(sides.len() as u32);
            ids.insert(key.clone(), id);
            sides.push(SideSpec {
                id,
                materialize: StageId(index as u32),
                access: key.1,
                contents: match self.graph.panes_of(&key.0) {
                    Some(_) => SideContents::LatestPane,
                    None if self.graph.is_bounded(&key.0) => SideContents::All,
                    None => SideContents::InTime,
                },
                window_fn: self.graph.strategy_of(&key.0).window_fn.clone(),
                coder: self.coder(&key.0),
                windows: self.windows(&key.0),
            });
        }
        (sides, ids)
    }

    /// The environments that own a stage, by id.
    fn environments(&self) -> Vec<Environment> {
        let used: BTreeSet<&EnvironmentId> =
            self.drafts.iter().flat_map(|draft| self.leaves(draft)).filter_map(|leaf| leaf.env.as_ref()).collect();
        let all = &self.graph.components.environments;
        used.into_iter()
            .filter_map(|id| Some(Environment { id: id.clone(), proto: all.get(id.as_str())?.clone() }))
            .collect()
    }

    fn stages(
        &self,
        outputs: &[OutputSpec],
        output_ids: &BTreeMap<PCollectionId, OutputId>,
        sides: &[SideSpec],
        side_ids: &BTreeMap<SideKey, SideId>,
        environments: &[Environment],
    ) -> (Vec<StageSpec>, Vec<Stage>) {
        let (mut specs, mut stages) = (Vec::<StageSpec>::new(), Vec::new());
        for (index, draft) in self.drafts.iter().enumerate() {
            let id = StageId(index as u32);
            let upstream: BTreeSet<OutputId> = draft
                .input
                .iter()
                .flat_map(|input| self.sources.of(input))
                .filter_map(|source| output_ids.get(&source).copied())
                .collect();
            let emitted: Vec<(OutputId, PCollectionId)> = self
                .leaves(draft)
                .flat_map(|leaf| leaf.outputs.values())
                .filter_map(|pcollection| Some((*output_ids.get(pcollection)?, pcollection.clone())))
                .collect();
            let uses: Vec<SideUse> = draft
                .sides
                .iter()
                .map(|side| SideUse {
                    transform: self.graph.leaves[side.leaf].id.clone(),
                    local_name: side.local.clone(),
                    side: side_ids[&side.key],
                })
                .collect();
            // Nothing of what ends is ever late.
            let endless = upstream.iter().any(|output| !outputs[output.index()].bounded);
            let main = draft.input.as_ref().filter(|_| endless);
            let lateness = main.map(|main| Millis(self.graph.strategy_of(main).allowed_lateness.0.max(0)));
            let gates: BTreeSet<SideId> = uses.iter().map(|it| it.side).collect();
            let above = upstream.iter().map(|output| specs[outputs[output.index()].producer.index()].depth);
            let beside = gates.iter().map(|side| specs[sides[side.index()].materialize.index()].depth);
            let env = self.leaves(draft).next().and_then(|leaf| leaf.env.as_ref());
            let env = env.and_then(|env| environments.iter().position(|it| it.id == *env));
            let of_leaves = |leaves: &dyn Fn(&Leaf) -> bool| self.leaves(draft).any(leaves);
            specs.push(StageSpec {
                id,
                name: self.name(draft).into(),
                transform: self.transform(draft).into(),
                kind: self.kind(draft, side_ids),
                env: env.map(|position| EnvIndex(position as u32)),
                depth: above.chain(beside).max().map_or(0, |depth| depth + 1),
                upstream: upstream.into_iter().collect(),
                outputs: emitted.iter().map(|(output, _)| *output).collect(),
                gates: gates.into_iter().map(|side| gate(&sides[side.index()], lateness)).collect(),
                keyed: self.is_keyed(draft),
                splittable: of_leaves(&|leaf| leaf.splittable),
                unbounded: of_leaves(&|leaf| leaf.outputs.values().any(|output| !self.graph.is_bounded(output))),
                truncated_by: match draft.kind {
                    DraftKind::Worker => self.asked.of(self.graph, draft).map(|asked| StageId(asked as u32)),
                    DraftKind::Impulse
                    | DraftKind::Replay
                    | DraftKind::TestStream
                    | DraftKind::Group
                    | DraftKind::Sort
                    | DraftKind::Materialize(_) => None,
                },
                finalizes: of_leaves(&|leaf| leaf.finalizes),
            });
            stages.push(Stage {
                id,
                transforms: self.leaves(draft).map(|leaf| leaf.id.clone()).collect(),
                input: draft.input.clone(),
                outputs: emitted,
                sides: uses,
                entry: self.entry(draft),
            });
        }
        (specs, stages)
    }

    fn entry(&self, draft: &Draft) -> Option<EntryPoint> {
        let input = draft.input.as_ref().filter(|_| draft.kind == DraftKind::Worker)?;
        let readers = self.leaves(draft).filter(|leaf| leaf.inputs.contains(input));
        Some(EntryPoint {
            transforms: readers.map(|leaf| leaf.name.clone()).collect(),
            coder: self.coder(input).to_string(),
            window_fn: windows_text(&self.graph.strategy_of(input).window_fn),
        })
    }

    fn kind(&self, draft: &Draft, side_ids: &BTreeMap<SideKey, SideId>) -> StageKind {
        match &draft.kind {
            DraftKind::Impulse => StageKind::Impulse,
            DraftKind::Replay => StageKind::Replay,
            DraftKind::TestStream => StageKind::TestStream,
            DraftKind::Worker => StageKind::Worker,
            DraftKind::Group => {
                let input = draft.input.as_ref().expect("a grouping has an input");
                let (grouping, strategy) = if self.makes_panes(draft) {
                    (Grouping::OneKey, windowing::of_side_input(self.graph, input))
                } else {
                    (windowing::grouping(self.graph.is_bounded(input)), windowing::of_grouping(self.graph, input))
                };
                let strategy = Arc::new(strategy);
                let merge = self.asked.of(self.graph, draft).map(|merger| StageId(merger as u32));
                let slices = self.leaves(draft).find_map(|leaf| leaf.slices);
                StageKind::Group { grouping, strategy, merge, slices }
            }
            DraftKind::Sort => {
                let input = draft.input.as_ref().filter(|input| !self.graph.is_bounded(input));
                StageKind::SortByTime { as_it_comes: input.map(|input| self.graph.strategy_of(input).allowed_lateness) }
            }
            DraftKind::Materialize(key) => StageKind::Materialize(side_ids[key]),
        }
    }

    /// Whether only one bundle at a time may have a key: groupings, and whoever has state, or keeps panes in their order.
    fn is_keyed(&self, draft: &Draft) -> bool {
        let runners_own = matches!(draft.kind, DraftKind::Group | DraftKind::Sort) || self.keeps_panes(draft);
        runners_own || self.leaves(draft).any(|leaf| leaf.stateful)
    }

    fn makes_panes(&self, draft: &Draft) -> bool {
        self.leaves(draft).any(|leaf| leaf.kind == LeafKind::Panes)
    }

    fn keeps_panes(&self, draft: &Draft) -> bool {
        matches!(&draft.kind, DraftKind::Materialize(key) if self.graph.panes_of(&key.0).is_some())
    }

    /// The id of the transform that what the runner does for a stage is counted for.
    fn transform(&self, draft: &Draft) -> &str {
        let first = match &draft.kind {
            DraftKind::Materialize(key) => {
                self.graph.leaves.iter().find(|leaf| leaf.sides.values().any(|side| *side == key.0))
            }
            DraftKind::Impulse
            | DraftKind::Replay
            | DraftKind::TestStream
            | DraftKind::Worker
            | DraftKind::Group
            | DraftKind::Sort => self.leaves(draft).next(),
        };
        first.map_or("", |leaf| leaf.origin.as_str())
    }

    fn partitioning(&self, draft: &Draft) -> Partitioning {
        if self.makes_panes(draft) || self.keeps_panes(draft) {
            return Partitioning::OneLaneByWindow;
        }
        match (self.is_keyed(draft), draft.sides.is_empty()) {
            (false, true) => Partitioning::Any,
            (false, false) => Partitioning::AnyByWindow,
            (true, true) => Partitioning::ByKey,
            (true, false) => Partitioning::ByKeyAndWindow,
        }
    }

    /// From unique names, which hold across submissions.
    fn name(&self, draft: &Draft) -> String {
        match &draft.kind {
            DraftKind::Materialize((pcollection, access)) => {
                format!("side input {} as {access:?}", self.graph.pcollection(pcollection).unique_name)
            }
            DraftKind::Impulse
            | DraftKind::Replay
            | DraftKind::TestStream
            | DraftKind::Worker
            | DraftKind::Group
            | DraftKind::Sort => self.leaves(draft).map(|leaf| leaf.name.as_str()).collect::<Vec<_>>().join(" + "),
        }
    }

    fn leaves(&self, draft: &Draft) -> impl Iterator<Item = &Leaf> {
        draft.leaves.iter().map(|position| &self.graph.leaves[*position])
    }

    fn coder(&self, pcollection: &PCollectionId) -> Arc<Coder> {
        let id = &self.graph.pcollection(pcollection).coder_id;
        // One that could not be read has been reported, and the plan is given up.
        self.coders.get(id.as_str()).cloned().unwrap_or_else(|| Arc::new(Coder::Bytes))
    }

    fn windows(&self, pcollection: &PCollectionId) -> WindowCoder {
        let strategy = &self.graph.pcollection(pcollection).windowing_strategy_id;
        let strategy = &self.graph.components.windowing_strategies[strategy];
        match self.graph.urn_of_coder(&strategy.window_coder_id) {
            standard_coders::GLOBAL_WINDOW => WindowCoder::Global,
            standard_coders::INTERVAL_WINDOW => WindowCoder::Interval,
            // Everything else was made a custom window around a length prefix.
            _ => WindowCoder::Custom,
        }
    }
}

/// The mapping is the side input's window function's own, in every SDK: for Beam's it is the default, whatever its
/// payload says in the SDK's own words. Those of others only their SDK knows.
fn gate(side: &SideSpec, lateness: Option<Millis>) -> SideGate {
    let mapping = match side.window_fn {
        WindowFn::Global | WindowFn::Fixed { .. } | WindowFn::Sliding { .. } => SideMapping::Default,
        WindowFn::Session { .. } | WindowFn::Custom { .. } => SideMapping::Opaque,
    };
    // Windows that end with the job need not be forgotten before, and of a mapping that nobody knows nobody knows who reads what.
    let may_go = side.window_fn != WindowFn::Global && mapping == SideMapping::Default;
    SideGate { side: side.id, mapping, lateness: lateness.filter(|_| may_go) }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use purlin_model::time::Millis;
    use purlin_model::window::WindowFn;

    use crate::testing::TestPipeline;

    fn words() -> TestPipeline {
        TestPipeline::new()
            .collection("words", "string_utf8")
            .collection("pairs", "kv<string_utf8, any>")
            .collection("groups", "kv<string_utf8, iterable<any>>")
            .impulse("start")
            .par_do("Read", "start", &["words"])
            .par_do("Pair", "words", &["pairs"])
    }

    #[test]
    fn only_what_leaves_its_stage_is_an_output() {
        let plan = words().group("Group", "pairs", "groups").par_do("Print", "groups", &["printed"]).plan();
        let names: Vec<_> = plan.graph.outputs.iter().map(|output| output.name.to_string()).collect();
        assert_eq!(names, ["start", "pairs", "groups"]);
        assert!(plan.stages.last().unwrap().outputs.is_empty());
    }

    #[test]
    fn what_many_consume_is_written_once() {
        let plan = words()
            .group("Group", "pairs", "groups")
            .par_do("Look", "words", &["looked"])
            .sides(&[("pairs", "multimap"), ("pairs", "iterable")])
            .plan();
        assert_snapshot!(crate::explain::text(&plan), @"
        env0 py (beam:env:external:v1)
        s0 impulse
             Impulse start
          -> o0 start: bytes
        s1 worker in env0
             Read
             Pair
          <- o0
          -> o1 words: string_utf8
          -> o2 pairs: kv<string_utf8, length_prefix<any>>
        s2 group (AppendOnce, Global, Default)
             Group
          <- o2 by key
        s3 side0, kept as iterable
          <- o2
        s4 side1, kept as multimap
          <- o2
        s5 worker in env0
             Look
          <- o1 by window
          <- side1 as side0
          <- side0 as side1
        ");
        assert_eq!(plan.graph.sides.len(), 2);
    }

    #[test]
    fn keys_and_windows_decide_how_input_is_partitioned() {
        let plan = words()
            .par_do("Plain", "pairs", &["plain"])
            .reshuffle("Shuffle", "pairs", "shuffled")
            .par_do("Beside", "pairs", &["besides"])
            .sides(&[("words", "iterable")])
            .par_do("Keyed", "pairs", &["keyed"])
            .stateful()
            .par_do("Both", "pairs", &["boths"])
            .stateful()
            .sides(&[("words", "iterable")])
            .collection("shuffled", "kv<string_utf8, any>")
            .par_do("Shuffled", "shuffled", &["done"])
            .plan();
        let pairs = plan.graph.outputs.iter().find(|output| &*output.name == "pairs").unwrap();
        let consumers = pairs.consumers.iter();
        let by_stage: Vec<_> =
            consumers.map(|it| format!("{} {:?}\n", plan.graph.stage(it.stage).name, it.partitioning)).collect();
        assert_snapshot!(by_stage.concat(), @"
        Keyed ByKey
        Shuffled Any
        Beside AnyByWindow
        Both ByKeyAndWindow
        ");
    }

    #[test]
    fn depth_counts_stages_and_side_inputs() {
        let plan = words()
            .group("Group", "pairs", "groups")
            .par_do("Print", "groups", &["printed"])
            .par_do("Beside", "words", &["besides"])
            .sides(&[("printed", "iterable")])
            .plan();
        let depths: String =
            plan.graph.stages.iter().map(|stage| format!("{} {}\n", stage.depth, stage.name)).collect();
        assert_snapshot!(depths, @"
        0 Impulse start
        1 Read + Pair
        2 Group
        3 Print
        4 side input printed.out as Iterable
        5 Beside
        ");
    }

    #[test]
    fn marks_are_of_all_transforms_of_a_stage() {
        let plan = words()
            .par_do("Last", "words", &["last"])
            .payload(|payload| payload.requests_finalization = true)
            .unbounded("last")
            .plan();
        let stage = plan.graph.stages.last().unwrap();
        assert_eq!(&*stage.name, "Read + Pair + Last");
        assert!(stage.finalizes && stage.unbounded && !stage.keyed && !stage.splittable);
    }

    #[test]
    fn environments_in_which_nothing_runs_are_not_started() {
        let plan = words()
            .environment("a", &["kv"])
            .environment("z", &["kv"])
            .par_do("Print", "words", &["printed"])
            .in_env("z")
            .plan();
        let ids: Vec<_> = plan.environments.iter().map(|environment| environment.id.to_string()).collect();
        assert_eq!(ids, ["py", "z"]);
    }

    #[test]
    fn windows_stand_on_the_wire_as_their_strategy_says() {
        let windows = |strategy: &str| {
            let plan = TestPipeline::new()
                .windowed("words", "bytes", strategy)
                .impulse("start")
                .par_do("Read", "start", &["words"])
                .par_do("Beside", "start", &["besides"])
                .sides(&[("words", "iterable")])
                .plan();
            let output = plan.graph.outputs.iter().find(|output| &*output.name == "words").unwrap();
            assert_eq!(output.windows, plan.graph.sides[0].windows);
            format!("{:?}", (output.windows, plan.graph.stages.last().unwrap().gates[0].mapping))
        };
        assert_snapshot!(windows("global"), @"(Global, Default)");
        assert_snapshot!(windows("fixed"), @"(Interval, Default)");
        assert_snapshot!(windows("custom"), @"(Custom, Opaque)");
    }

    #[test]
    fn windows_of_a_side_input_may_go_where_main_input_may_not_end_and_they_do() {
        let lateness = |side: &str, endless: bool| {
            let windows = WindowFn::Fixed { size: Millis(10), offset: Millis(0) };
            let pipeline = TestPipeline::new()
                .strategy("late", "interval_window", windows, |strategy| strategy.allowed_lateness = Millis(7))
                .windowed("sides", "bytes", side)
                .windowed("mains", "bytes", "late")
                .impulse("start")
                .par_do("Sides", "start", &["sides"])
                .par_do("Mains", "start", &["mains"])
                .par_do("Beside", "mains", &["besides"])
                .sides(&[("sides", "iterable")]);
            let plan = if endless { pipeline.unbounded("mains") } else { pipeline }.plan();
            plan.graph.stages.last().unwrap().gates[0].lateness
        };
        assert_eq!(lateness("fixed", true), Some(Millis(7)));
        assert_eq!(lateness("fixed", false), None, "nothing of what ends is late");
        assert_eq!(lateness("global", true), None, "it ends with the job");
        assert_eq!(lateness("custom", true), None, "only its SDK knows who reads it");
    }

    #[test]
    fn a_grouping_knows_who_merges_its_windows() {
        let plan = TestPipeline::new()
            .windowed("pairs", "kv<string_utf8, any>", "custom_merging")
            .windowed("groups", "kv<string_utf8, iterable<any>>", "custom_merging")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .group("Group", "pairs", "groups")
            .par_do("Print", "groups", &["printed"])
            .plan();
        assert_snapshot!(crate::explain::text(&plan), @r#"
        env0 py (beam:env:external:v1)
        s0 impulse
             Impulse start
          -> o0 start: bytes
        s1 worker in env0
             Pair
          <- o0
          -> o1 pairs: kv<string_utf8, length_prefix<any>>
        s2 worker in env0
             Group/MergeWindows
          -> o2 group/MergeWindows.out: kv<bytes, kv<iterable<custom_window<length_prefix<day>>>, iterable<kv<custom_window<length_prefix<day>>, iterable<custom_window<length_prefix<day>>>>>>>
        s3 group (AppendOnce, Custom { urn: "test:windows", payload: b"days" }, Default, windows merged by s2)
             Group
          <- o1 by key
          -> o3 groups: kv<string_utf8, state_backed_iterable<length_prefix<any>>>
        s4 worker in env0
             Print
          <- o3
        "#);
    }

    #[test]
    fn two_of_a_kind_merge_apart() {
        let plan = TestPipeline::new()
            .windowed("pairs", "kv<string_utf8, any>", "custom_merging")
            .windowed("groups", "kv<string_utf8, iterable<any>>", "custom_merging")
            .windowed("others", "kv<string_utf8, iterable<any>>", "custom_merging")
            .impulse("start")
            .par_do("Pair", "start", &["pairs"])
            .group("Group", "pairs", "groups")
            .group("Other", "pairs", "others")
            .plan();
        let mergers = plan.graph.stages.iter().filter(|stage| stage.name.ends_with("/MergeWindows"));
        assert_eq!(mergers.map(|stage| &*stage.name).collect::<Vec<_>>(), ["Group/MergeWindows", "Other/MergeWindows"]);
    }

    #[test]
    fn what_a_pass_made_leads_back_to_what_the_user_wrote() {
        let plan = words()
            .collection("sums", "kv<string_utf8, any>")
            .combine("Sum", "pairs", "groups", "sums", "any")
            .par_do("Files", "words", &["lines"])
            .splittable("any")
            .plan();
        let origins: String =
            plan.origins.iter().filter(|(made, of)| made != of).map(|(made, of)| format!("{made} <- {of}\n")).collect();
        assert_snapshot!(origins, @"
        files/PairWithRestriction <- files
        files/ProcessSized <- files
        files/SplitAndSize <- files
        sum/Extract <- sum
        sum/Group <- sum
        sum/Merge <- sum
        sum/Precombine <- sum
        ");
    }
}
