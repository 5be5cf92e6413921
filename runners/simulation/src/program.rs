//! What a random pipeline does, element by element: what the oracle and the simulated workers have in common.
//!
//! Every collection holds pairs of numbers, or after a grouping, pairs of a number and numbers. Nothing depends on the
//! order of elements, except what is sorted first.

use std::fmt;

use purlin_model::ids::CoderId;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowFn};
use purlin_model::windowing_strategy::{MergeStatus, TimestampCombiner, WindowingStrategy};

use crate::random::Random;

/// A pipeline: each node reads nodes before it.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) nodes: Vec<Node>,
}

/// One node, and what it emits.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) does: Does,
    /// The windowing of what it emits.
    pub(crate) strategy: WindowingStrategy,
    /// Whether it emits groups.
    pub(crate) grouped: bool,
}

/// What a node does. Numbers of inputs are positions of nodes.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Emits this many numbers, at their own instants; can be split anywhere.
    Source { count: i64 },
    /// Takes the value, or the sum of a group, and gives it a key below this.
    KeyBy { input: usize, keys: i64 },
    /// Emits odd values twice, and even ones not at all.
    Odd { input: usize },
    /// Assigns the windows of the node's strategy.
    Window { input: usize },
    /// Joins inputs of one windowing; the same one perhaps twice.
    Flatten { inputs: Vec<usize> },
    /// Groups by key and window.
    Group { input: usize },
    /// Adds the sum of a side input's window.
    Side { input: usize, side: usize },
    /// Keeps the values of each key and window in state, and emits their sum at the window's end.
    Total { input: usize },
    /// Emits, for each key, a number that depends on the order of its instants.
    InOrder { input: usize },
}

/// An element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// Its instant.
    pub timestamp: EventTime,
    /// Its windows.
    pub windows: Vec<BoundedWindow>,
    /// Its key.
    pub key: i64,
    /// Its value, or the values of a group, sorted.
    pub values: Vec<i64>,
}

impl Element {
    /// The value, or the sum of a group's.
    pub(crate) fn sum(&self) -> i64 {
        self.values.iter().sum()
    }

    /// One copy per window.
    pub(crate) fn explode(&self) -> impl Iterator<Item = Self> + '_ {
        self.windows.iter().map(|window| Self { windows: vec![window.clone()], ..self.clone() })
    }
}

/// What a source emits for a number.
pub(crate) fn sourced(number: i64) -> Element {
    let timestamp = EventTime::from_millis(number);
    Element { timestamp, windows: vec![BoundedWindow::Global], key: number % 5, values: vec![number] }
}

/// The next number of an order: what comes first counts for more.
pub(crate) fn in_order(before: i64, timestamp: EventTime) -> i64 {
    (before * 31 + timestamp.millis()) % 1_000_003
}

impl Node {
    /// What a node emits for one element; `side` is the sum of its side input.
    pub(crate) fn apply(&self, element: &Element, side: i64) -> Vec<Element> {
        let with = |key: i64, value: i64| Element { key, values: vec![value], ..element.clone() };
        match &self.does {
            Does::KeyBy { keys, .. } => vec![with(element.sum().rem_euclid(*keys), element.sum())],
            Does::Odd { .. } => {
                let copies = if element.sum() % 2 == 0 { 0 } else { 2 };
                vec![with(element.key, element.sum()); copies]
            }
            Does::Window { .. } => {
                vec![Element { windows: assign(&self.strategy.window_fn, element.timestamp), ..element.clone() }]
            }
            Does::Side { .. } => vec![with(element.key, element.sum() + side)],
            Does::Source { .. }
            | Does::Flatten { .. }
            | Does::Group { .. }
            | Does::Total { .. }
            | Does::InOrder { .. } => vec![],
        }
    }

    pub(crate) fn inputs(&self) -> Vec<usize> {
        match &self.does {
            Does::Source { .. } => vec![],
            Does::Flatten { inputs } => inputs.clone(),
            Does::Side { input, side } => vec![*input, *side],
            Does::KeyBy { input, .. }
            | Does::Odd { input }
            | Does::Window { input }
            | Does::Group { input }
            | Does::Total { input }
            | Does::InOrder { input } => vec![*input],
        }
    }
}

/// The windows of an instant.
fn assign(window_fn: &WindowFn, at: EventTime) -> Vec<BoundedWindow> {
    let interval = |start: i64, size: i64| BoundedWindow::Interval {
        start: EventTime::from_millis(start),
        end: EventTime::from_millis(start + size),
    };
    let at_ms = at.millis();
    match window_fn {
        WindowFn::Global => vec![BoundedWindow::Global],
        WindowFn::Fixed { size, .. } => vec![interval(at_ms - at_ms.rem_euclid(size.0), size.0)],
        WindowFn::Sliding { size, period, .. } => {
            let last = at_ms - at_ms.rem_euclid(period.0);
            let starts = (0..).map(|step| last - step * period.0).take_while(|start| start + size.0 > at_ms);
            starts.map(|start| interval(start, size.0)).collect()
        }
        WindowFn::Session { gap } => vec![interval(at_ms, gap.0)],
        WindowFn::Custom { .. } => vec![],
    }
}

impl Program {
    /// A program of up to a dozen nodes.
    pub fn random(random: &mut Random) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..1 + random.below(2) {
            let does = Does::Source { count: random.below(40) as i64 };
            nodes.push(Node { does, strategy: global(), grouped: false });
        }
        for _ in 0..3 + random.below(8) {
            let input = random.below(nodes.len() as u64) as usize;
            nodes.push(random_node(random, &nodes, input));
        }
        Self { nodes }
    }

    /// The nodes that nobody reads.
    pub(crate) fn sinks(&self) -> Vec<usize> {
        let read: Vec<usize> = self.nodes.iter().flat_map(Node::inputs).collect();
        (0..self.nodes.len()).filter(|node| !read.contains(node)).collect()
    }
}

fn random_node(random: &mut Random, nodes: &[Node], input: usize) -> Node {
    let of = &nodes[input];
    let same = |does: Does| Node { does, strategy: of.strategy.clone(), grouped: false };
    let merging = of.strategy.merge_status == MergeStatus::NeedsMerge;
    // What is in the global window after a grouping stands at its very end, where no other window reaches.
    let within = nodes_before_groups(nodes, input);
    match random.below(9) {
        0 => same(Does::KeyBy { input, keys: 1 + random.below(7) as i64 }),
        1 => same(Does::Odd { input }),
        2 | 3 if within => Node { does: Does::Window { input }, strategy: windowing(random), grouped: of.grouped },
        4 if !of.grouped => {
            let mut strategy = of.strategy.clone();
            if merging {
                strategy.merge_status = MergeStatus::AlreadyMerged;
            }
            Node { does: Does::Group { input }, strategy, grouped: true }
        }
        5 if !merging && !of.grouped => same(Does::Total { input }),
        6 if !merging && !of.grouped => same(Does::InOrder { input }),
        7 => {
            let fits = |node: &Node| !node.grouped && !matches!(node.strategy.window_fn, WindowFn::Session { .. });
            let sides: Vec<usize> = (0..nodes.len()).filter(|side| *side != input && fits(&nodes[*side])).collect();
            match random.pick(&sides) {
                Some(side) => same(Does::Side { input, side: *side }),
                None => same(Does::Odd { input }),
            }
        }
        _ => {
            let alike = |node: &Node| node.strategy == of.strategy && node.grouped == of.grouped;
            let others: Vec<usize> = (0..nodes.len()).filter(|other| alike(&nodes[*other])).collect();
            let more = random.below(3);
            let mut inputs = vec![input];
            inputs.extend((0..more).filter_map(|_| random.pick(&others).copied()));
            Node { does: Does::Flatten { inputs }, strategy: of.strategy.clone(), grouped: of.grouped }
        }
    }
}

/// Whether all instants of a node are small, because no grouping by a global window stands before it.
fn nodes_before_groups(nodes: &[Node], node: usize) -> bool {
    let late = matches!(nodes[node].does, Does::Group { .. } | Does::Total { .. } | Does::InOrder { .. });
    !late && nodes[node].inputs().iter().all(|input| nodes_before_groups(nodes, *input))
}

fn global() -> WindowingStrategy {
    WindowingStrategy::global(CoderId::new("global"))
}

fn windowing(random: &mut Random) -> WindowingStrategy {
    let size = Millis(3 + random.below(15) as i64);
    let offset = Millis(0);
    let window_fn = match random.below(4) {
        0 => WindowFn::Sliding { size, period: Millis(1 + random.below(size.0 as u64) as i64), offset },
        1 => WindowFn::Session { gap: Millis(1 + random.below(3) as i64) },
        2 => WindowFn::Global,
        _ => WindowFn::Fixed { size, offset },
    };
    let merge_status = if window_fn.is_session() { MergeStatus::NeedsMerge } else { MergeStatus::NonMerging };
    let combiners = [TimestampCombiner::EndOfWindow, TimestampCombiner::Latest, TimestampCombiner::Earliest];
    let timestamp_combiner = random.pick(&combiners).copied().unwrap_or(TimestampCombiner::EndOfWindow);
    WindowingStrategy { window_fn, merge_status, timestamp_combiner, ..global() }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, node) in self.nodes.iter().enumerate() {
            writeln!(f, "  {position}: {:?} in {:?}", node.does, node.strategy.window_fn)?;
        }
        Ok(())
    }
}
