//! The core's behaviour as stories: each line of a transcript is told to an engine, and the snapshot echoes it with
//! the actions that it caused.
//!
//! ```text
//!   stage NAME impulse|script
//!   stage NAME worker|group|key_major <- UP UP … [splittable] [unbounded] [keyed] [merges=NAME]
//!                                                      [truncates=NAME] [age=MS] [lets_in=MS] [reads SIDE]
//!   stage NAME side(WINDOWS) <- UP                 WINDOWS: global, or fixed MS
//!   stage NAME refreshed(WINDOWS) <- UP            two stages: NAME.panes, and NAME that keeps the latest of each window
//!   bundles N                                      at most N elements in a bundle
//!   kernels BYTES                                  how much a bundle of the runner's own may hold
//!   share MS                                       how old a bundle must be to share; never without it
//!   dead_letters N                                 how many are kept; never without it
//!   start | workers N | clock MS | drain | cancel | broken TEXT
//!   finish BUNDLE [UP: COUNT@TIMESTAMP [lane N] [window MAX]] … [rest COUNT@TS watermark TS [after MS]] [finalize]
//!          [timers GROUP [event TS] [clock MS] [hold TS]] …
//!   lose BUNDLE | raise BUNDLE | ask BUNDLE        ask: its windows must be merged by the stage of `merges=`
//!   split BUNDLE at N [rest 1@TS watermark TS]
//!   script UP: COUNT@TIMESTAMP … | script watermark UP TIMESTAMP | script clock MS | script end
//!   status | explain
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use purlin_engine::core::action::{Action, BundleId, Flushed, FlushedStage, Outcome};
use purlin_engine::core::bundle::{BundleResult, BundleStats, GroupSummary, Routed};
use purlin_engine::core::config::EngineConfig;
use purlin_engine::core::engine::Engine;
use purlin_engine::core::event::{Event, Failure, Residual, ScriptEvent, Split};
use purlin_engine::core::lane::Lane;
use purlin_engine::core::schedule::{Pick, ReadyStage, Schedule};
use purlin_engine::core::stage::{
    EnvIndex, Grouping, JobGraphBuilder, OutputHandle, SideAccess, SideId, SideMapping, StageId, StageKind, StageSpec,
};
use purlin_engine::data::{BatchId, BatchRef, BatchSlice};
use purlin_model::coder::Coder;
use purlin_model::ids::CoderId;
use purlin_model::key_group::KeyGroup;
use purlin_model::time::{EventTime, Millis, ProcessingTime};
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;

#[test]
fn transcripts() {
    insta::glob!("../testdata", "*/*.transcript", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(tell(&text));
        });
    });
}

/// Picks the first ready stage, in bundles of at most `elements` elements.
#[derive(Debug)]
struct FirstReady {
    elements: u64,
    age: Option<i64>,
}

impl Schedule for FirstReady {
    fn pick(&mut self, ready: &[ReadyStage<'_>], _now: ProcessingTime) -> Option<Pick> {
        // A schedule that leaves everything lying breaks its promise; the engine must notice.
        let stage = ready.first().filter(|_| self.elements > 0)?.stage.id;
        Some(Pick { stage, lanes_max: 2, elements_max: self.elements, bytes_max: u64::MAX })
    }
    fn on_finished(&mut self, _stage: StageId, _stats: &BundleStats) {}
    fn bundle_age_max_ms(&self, _stage: &StageSpec) -> Option<i64> {
        self.age
    }
    fn next_wakeup(&self) -> Option<ProcessingTime> {
        None
    }
}

#[derive(Default)]
struct Teller {
    graph: Option<JobGraphBuilder>,
    env: Option<EnvIndex>,
    outputs: BTreeMap<String, OutputHandle>,
    sides: BTreeMap<String, SideId>,
    consumers: BTreeMap<String, Vec<(StageId, bool)>>,
    names: Vec<String>,
    inputs: BTreeMap<BundleId, (StageId, Vec<BatchSlice>)>,
    engine: Option<Engine>,
    now: i64,
    next_batch: u64,
    elements: u64,
    age: Option<i64>,
    slots: Option<u32>,
    share: Option<i64>,
    kernels: Option<u64>,
    keyed: Option<u64>,
    dead_letters: Option<u64>,
}

fn tell(transcript: &str) -> String {
    let mut teller = Teller { elements: u64::MAX, ..Teller::default() };
    let mut graph = JobGraphBuilder::new();
    teller.env = Some(graph.environment());
    teller.graph = Some(graph);
    let mut story = String::new();
    for line in transcript.lines() {
        writeln!(story, "{line}").unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_some_and(|word| !word.starts_with('#')) {
            for told in teller.line(&words) {
                writeln!(story, "    => {told}").unwrap();
            }
        }
    }
    story
}

impl Teller {
    fn line(&mut self, words: &[&str]) -> Vec<String> {
        match words {
            ["stage", name, rest @ ..] => self.stage(name, rest),
            ["bundles", elements] => self.elements = number(elements) as u64,
            ["share", age] => self.share = Some(number(age)),
            ["kernels", bytes] => self.kernels = Some(number(bytes) as u64),
            ["keyed", elements] => self.keyed = Some(number(elements) as u64),
            ["dead_letters", count] => self.dead_letters = Some(number(count) as u64),
            ["status"] => return self.status(),
            ["start"] => {
                // Sharing adds a wake-up to every bundle in a worker, so that only transcripts about it have it.
                let share_after_ms = self.share;
                let dead_letters_max = self.dead_letters;
                let mut config =
                    EngineConfig { kernel_slots: 4, share_after_ms, dead_letters_max, ..EngineConfig::default() };
                if let Some(bytes) = self.kernels {
                    config.kernel_share_bytes = bytes;
                }
                if let Some(elements) = self.keyed {
                    config.keyed_elements_max = elements;
                }
                let schedule = Box::new(FirstReady { elements: self.elements, age: self.age });
                let graph = Arc::new(self.graph.take().unwrap().build());
                self.engine = Some(Engine::new(graph, config, schedule).unwrap());
                if let Some(slots) = self.slots {
                    let env = self.env.unwrap();
                    self.engine().handle(Event::Workers { env, slots }, ProcessingTime(0));
                }
                return self.event(Event::Start);
            }
            ["workers", slots] if self.engine.is_none() => self.slots = Some(number(slots) as u32),
            ["workers", slots] => {
                return self.event(Event::Workers { env: self.env.unwrap(), slots: number(slots) as u32 });
            }
            ["clock", at] => {
                self.now = number(at);
                return self.event(Event::Tick);
            }
            ["drain"] => return self.event(Event::Drain),
            ["cancel"] => return self.event(Event::Cancel),
            ["broken", text @ ..] => return self.event(Event::Broken { why: text.join(" ") }),
            ["lose", bundle] => {
                let why = Failure::WorkerLost("the worker is gone".to_owned());
                return self.event(Event::BundleFailed { bundle: id(bundle), why });
            }
            ["raise", bundle] => {
                let why = Failure::User("ValueError".to_owned());
                return self.event(Event::BundleFailed { bundle: id(bundle), why });
            }
            ["ask", bundle] => {
                let why = Failure::NeedMerge(self.batch("1@MIN", None));
                return self.event(Event::BundleFailed { bundle: id(bundle), why });
            }
            ["finish", bundle, rest @ ..] => {
                let result = self.result(id(bundle), rest);
                return self.event(Event::BundleFinished { bundle: id(bundle), result });
            }
            ["split", bundle, "at", at, rest @ ..] => {
                let split = self.split(id(bundle), number(at) as u32, rest);
                return self.event(Event::BundleSplit { bundle: id(bundle), split });
            }
            ["script", rest @ ..] => {
                let event = self.scripted(rest);
                return self.event(Event::Scripted(event));
            }
            ["explain"] => {
                let now = ProcessingTime(self.now);
                return self.engine().explain(now).to_string().lines().map(str::to_owned).collect();
            }
            other => panic!("a transcript says {other:?}"),
        }
        Vec::new()
    }

    fn stage(&mut self, name: &str, words: &[&str]) {
        let graph = self.graph.as_mut().unwrap();
        let kind = words[0];
        let options = words.iter().skip_while(|word| **word != "<-").skip(1);
        let upstream: Vec<String> = options
            .clone()
            .take_while(|word| self.outputs.contains_key(**word))
            .map(|word| (*word).to_owned())
            .collect();
        let handles: Vec<_> = upstream.iter().map(|up| self.outputs[up]).collect();
        let flags: Vec<&str> = options.skip(upstream.len()).copied().collect();
        let stage = match kind {
            "impulse" => {
                let output = graph.impulse(name);
                self.outputs.insert(name.to_owned(), output);
                graph.producer(output)
            }
            "script" => {
                let output = graph.test_stream(name, Coder::Bytes);
                self.outputs.insert(name.to_owned(), output);
                graph.producer(output)
            }
            "key_major" => {
                let output = graph.group(name, &handles, &strategy(), Coder::Bytes);
                graph.group_by(output, Grouping::KeyMajor);
                self.outputs.insert(name.to_owned(), output);
                graph.producer(output)
            }
            "worker" => {
                let output = graph.worker(name, self.env.unwrap(), &handles, Coder::Bytes, WindowCoder::Global);
                self.outputs.insert(name.to_owned(), output);
                graph.producer(output)
            }
            "group" => {
                let output = graph.group(name, &handles, &strategy(), Coder::Bytes);
                self.outputs.insert(name.to_owned(), output);
                graph.producer(output)
            }
            refreshed if refreshed.starts_with("refreshed(") => {
                let strategy = WindowingStrategy { window_fn: windows(refreshed), ..strategy() };
                let side = graph.refreshed_side_input(name, &handles[..1], SideAccess::Iterable, &strategy);
                self.sides.insert(name.to_owned(), side);
                let (panes, keep) = (StageId(self.names.len() as u32), StageId(self.names.len() as u32 + 1));
                let output = graph.output_of(panes);
                self.names.push(format!("{name}.panes"));
                self.outputs.insert(format!("{name}.panes"), output);
                self.consumers.entry(upstream[0].clone()).or_default().push((panes, true));
                self.consumers.entry(format!("{name}.panes")).or_default().push((keep, true));
                self.names.push(name.to_owned());
                return;
            }
            side => {
                let window_fn = windows(side);
                let side = graph.side_input(name, &handles[..1], SideAccess::Iterable, window_fn);
                self.sides.insert(name.to_owned(), side);
                StageId(self.names.len() as u32)
            }
        };
        self.names.push(name.to_owned());
        let (mut gated, mut lateness) = (false, None);
        for flag in &flags {
            match *flag {
                "splittable" => graph.stage_mut(stage).splittable = true,
                "unbounded" => graph.stage_mut(stage).unbounded = true,
                "reads" => gated = true,
                "keyed" => graph.stage_mut(stage).keyed = true,
                flag if flag.starts_with("lets_in=") => lateness = Some(Millis(number(&flag["lets_in=".len()..]))),
                flag if flag.starts_with("merges=") => {
                    let asked = self.names.iter().position(|name| *name == flag[7..]).unwrap();
                    if let StageKind::Group { merge, .. } = &mut graph.stage_mut(stage).kind {
                        *merge = Some(StageId(asked as u32));
                    }
                    self.consumers.entry(flag[7..].to_owned()).or_default().push((stage, false));
                }
                flag if flag.starts_with("truncates=") => {
                    let asked = self.names.iter().position(|name| *name == flag[10..]).unwrap();
                    graph.stage_mut(stage).truncated_by = Some(StageId(asked as u32));
                    self.consumers.entry(flag[10..].to_owned()).or_default().push((stage, false));
                }
                flag if flag.starts_with("age=") => self.age = Some(number(&flag[4..])),
                side => graph.reads(stage, self.sides[side], SideMapping::Default),
            }
        }
        if let Some(lateness) = lateness {
            graph.lets_in(stage, lateness);
        }
        for up in upstream {
            self.consumers.entry(up).or_default().push((stage, gated));
        }
    }

    fn batch(&mut self, what: &str, window_max: Option<EventTime>) -> BatchRef {
        let (count, at) = what.split_once('@').unwrap();
        self.next_batch += 1;
        let count = number(count) as u32;
        BatchRef {
            id: BatchId(self.next_batch - 1),
            count,
            bytes: u64::from(count) * 10,
            min_timestamp: time(at),
            window_max,
        }
    }

    fn result(&mut self, bundle: BundleId, mut words: &[&str]) -> BundleResult {
        let mut result = BundleResult::default();
        let Some((stage, _)) = self.inputs.remove(&bundle) else { return result };
        loop {
            match words {
                [] => return result,
                ["timers", group, rest @ ..] => {
                    let mut summary = GroupSummary::default();
                    let mut more = rest;
                    loop {
                        more = match more {
                            ["event", at, more @ ..] => {
                                summary.next_event = Some(time(at));
                                more
                            }
                            ["clock", at, more @ ..] => {
                                summary.next_processing = Some(ProcessingTime(number(at)));
                                more
                            }
                            ["hold", at, more @ ..] => {
                                summary.min_hold = Some(time(at));
                                more
                            }
                            ["expiry", at, more @ ..] => {
                                summary.next_expiry = Some(time(at));
                                more
                            }
                            more => break words = more,
                        };
                    }
                    result.summaries.push((KeyGroup::new(number(group) as u8).unwrap(), summary));
                }
                ["finalize", rest @ ..] => {
                    result.wants_finalize = true;
                    words = rest;
                }
                ["rest", what, "watermark", at, rest @ ..] => {
                    let (not_before, rest) = match rest {
                        ["after", delay, rest @ ..] => (Some(ProcessingTime(self.now + number(delay))), rest),
                        rest => (None, rest),
                    };
                    let batch = self.batch(what, None);
                    let watermarks = self.engine().graph().stage(stage).outputs.clone();
                    let watermarks = watermarks.into_iter().map(|output| (output, time(at))).collect();
                    result.residuals.push(Residual { batch, to: stage, not_before, watermarks, bounded: true });
                    words = rest;
                }
                [output, what, rest @ ..] if output.ends_with(':') => {
                    words = self.emit(output, what, rest, &mut result.outputs);
                }
                other => panic!("a transcript says finish … {other:?}"),
            }
        }
    }

    /// Adds what an output emits to `routed`; returns what is said behind it.
    fn emit<'a, 'b>(
        &mut self,
        output: &str,
        what: &str,
        rest: &'a [&'b str],
        routed: &mut Vec<Routed>,
    ) -> &'a [&'b str] {
        let name = output.trim_end_matches(':');
        let (lane, rest) = match rest {
            ["lane", group, rest @ ..] => (Lane::Group(KeyGroup::new(number(group) as u8).unwrap()), rest),
            rest => (Lane::Any, rest),
        };
        let (window, rest) = match rest {
            ["window", at, rest @ ..] => (Some(time(at)), rest),
            rest => (None, rest),
        };
        for (to, gated) in self.consumers.get(name).cloned().unwrap_or_default() {
            let batch = self.batch(what, window.filter(|_| gated));
            routed.push(Routed { from: self.outputs[name].id(), to, lane, batch });
        }
        rest
    }

    fn scripted(&mut self, words: &[&str]) -> ScriptEvent {
        match words {
            ["watermark", output, to] => ScriptEvent::Watermark { output: self.outputs[*output].id(), to: time(to) },
            ["clock", by] => ScriptEvent::Clock { by: Millis(number(by)) },
            ["end"] => ScriptEvent::End,
            [output, what, rest @ ..] => {
                let mut routed = Vec::new();
                self.emit(output, what, rest, &mut routed);
                ScriptEvent::Elements(routed)
            }
            other => panic!("a transcript says script {other:?}"),
        }
    }

    fn split(&mut self, bundle: BundleId, at: u32, words: &[&str]) -> Split {
        let (stage, input) = self.inputs[&bundle].clone();
        let (mut primary, mut rest, mut left) = (Vec::new(), Vec::new(), at);
        for slice in input {
            let (first, behind) = slice.split_at(left.min(slice.len()));
            left -= first.len();
            if !first.is_empty() {
                primary.push(first);
            }
            rest.extend(behind);
        }
        let mut residuals = Vec::new();
        if let ["rest", what, "watermark", watermark] = words {
            let batch = self.batch(what, None);
            let outputs = self.engine().graph().stage(stage).outputs.clone();
            let watermarks = outputs.into_iter().map(|output| (output, time(watermark))).collect();
            residuals.push(Residual { batch, to: stage, not_before: None, watermarks, bounded: true });
        }
        self.inputs.insert(bundle, (stage, primary.clone()));
        Split { primary, rest, residuals }
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    fn status(&mut self) -> Vec<String> {
        let status = self.engine().status();
        let show = |stage: &purlin_engine::core::engine::StageStatus| {
            let done = if stage.done { " done" } else { "" };
            format!("{}: watermark {}, {} pending{done}", stage.name, stage.watermark, stage.elements_pending)
        };
        status.iter().map(show).collect()
    }

    fn event(&mut self, event: Event) -> Vec<String> {
        let now = ProcessingTime(self.now);
        self.engine().handle(event, now);
        let mut told = Vec::new();
        while let Some(action) = self.engine().poll_action() {
            if let Action::StartBundle(draft) = &action {
                self.inputs.insert(draft.id, (draft.stage, draft.input.clone()));
            }
            told.push(self.show(&action));
        }
        if let Some(at) = self.engine().next_wakeup() {
            told.push(format!("wake up at {}", at.0));
        }
        told
    }

    fn show(&self, action: &Action) -> String {
        match action {
            Action::StartBundle(draft) => {
                let input: Vec<_> = draft
                    .input
                    .iter()
                    .map(|slice| format!("{:?}[{}..{}]", slice.batch.id, slice.first, slice.last))
                    .collect();
                let lanes = match draft.lanes.as_slice() {
                    [Lane::Any] => String::new(),
                    lanes => format!(" lanes {lanes:?}"),
                };
                let merged: Vec<_> = draft.merged.iter().map(|slice| slice.batch.id).collect();
                let lanes = if merged.is_empty() { lanes } else { format!("{lanes} merged {merged:?}") };
                let attempt = if draft.attempt > 0 { format!(" attempt {}", draft.attempt) } else { String::new() };
                let name = &self.names[draft.stage.index()];
                format!("start {:?} {name} [{}]{lanes} at {}{attempt}", draft.id, input.join(" "), draft.watermark)
            }
            Action::CommitBundle { bundle, seq } => format!("commit {bundle:?} as {}", seq.0),
            Action::DiscardBundle { bundle } => format!("discard {bundle:?}"),
            Action::DeadLetter { stage, element, reason } => {
                let name = self.names[stage.index()].clone();
                format!("dead letter of {name}: {:?}[{}]: {reason}", element.batch.id, element.first)
            }
            Action::AbortBundle { bundle } => format!("abort {bundle:?}"),
            Action::SplitBundle { bundle, fraction } => format!("split {bundle:?} at {fraction}"),
            Action::Finalize { bundle } => format!("finalize {bundle:?}"),
            Action::Join { into, batch } => format!("join {batch:?} to {into:?}"),
            Action::DropLate { stage, elements } => format!("drop {elements} late elements of {stage}"),
            Action::ForgetSide { side, until } => format!("forget windows of {side} before {until}"),
            Action::AskScript => "ask the script".to_owned(),
            Action::Free { batches } => format!("free {batches:?}"),
            Action::Standstill(still) => format!("standstill: {still}"),
            Action::JobDone(Outcome::Stuck(why)) => format!("stuck: {why}"),
            Action::JobDone(Outcome::Drained(Flushed { pending, truncated, ended, stages })) => {
                let done = |stage: &FlushedStage| {
                    format!(", {} {} to {} in {}", stage.name, stage.elements_in, stage.elements_out, stage.bundles)
                };
                let stages: String = stages.iter().map(done).collect();
                format!("job drained: {pending} pending, {truncated} truncated, {ended} ended{stages}")
            }
            Action::JobDone(outcome) => format!("job done: {outcome:?}"),
        }
    }
}

fn strategy() -> WindowingStrategy {
    WindowingStrategy::global(CoderId::new("global"))
}

/// The windows of `side(WINDOWS)`.
fn windows(kind: &str) -> WindowFn {
    match kind.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) {
        Some("global") => WindowFn::Global,
        Some(size) => WindowFn::Fixed { size: Millis(number(size)), offset: Millis(0) },
        None => panic!("a transcript says {kind}"),
    }
}

fn number(word: &str) -> i64 {
    word.parse().unwrap_or_else(|_| panic!("a transcript says {word} for a number"))
}

fn time(word: &str) -> EventTime {
    match word {
        "MIN" => EventTime::MIN,
        "MAX" => EventTime::MAX,
        "GLOBAL" => EventTime::GLOBAL_WINDOW_MAX,
        other => EventTime::from_millis(number(other)),
    }
}

fn id(word: &str) -> BundleId {
    BundleId(number(word.trim_start_matches('b')) as u64)
}
