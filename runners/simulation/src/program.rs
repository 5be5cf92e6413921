//! What a random pipeline does, element by element: what the oracle and the simulated workers have in common.
//!
//! Every collection holds pairs of numbers, or after a grouping, pairs of a number and numbers. Nothing depends on the
//! order of elements, except what is sorted first. A program is bounded, or a stream: then some elements come late, its groupings emit panes, and
//! nothing follows what emits panes, because how they are divided is chance.

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
    /// Whether its sources are as if they did not end.
    pub(crate) stream: bool,
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
    /// Emits this many numbers, at their own instants, or some of them late; can be split anywhere.
    Source { count: i64, late: bool },
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
    /// Adds the sum of a side input's window; of a stream perhaps its latest pane's.
    Side { input: usize, side: usize, refreshed: bool },
    /// Keeps the values of each key and window in state, and emits their sum at the window's end.
    Total { input: usize },
    /// Emits, for each key, a number that depends on the order of its instants.
    InOrder { input: usize },
    /// Passes on what comes in the order of time, by key over all windows, and anything else is a mistake.
    Ordered { input: usize },
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
    /// Whether its source emitted it behind the watermark. Only such elements may ever be dropped.
    pub late: bool,
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

/// What a source emits for a number. Its watermark is at the number, so that what is earlier comes late.
pub(crate) fn sourced(number: i64, late: bool) -> Element {
    let late = late && number % 4 == 3;
    let timestamp = EventTime::from_millis(if late { number - number * 13 % 70 } else { number });
    Element { timestamp, windows: vec![BoundedWindow::Global], key: number % 5, values: vec![number], late }
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
            Does::Ordered { .. } => vec![element.clone()],
        }
    }

    /// Whether what it emits for a key and window may come in several parts, if its input is a stream.
    pub(crate) fn emits_panes(&self) -> bool {
        matches!(self.does, Does::Group { .. } | Does::Total { .. })
    }

    /// Whether this is the time to drop an element of this window, of the windowing that this node emits.
    pub(crate) fn drops(&self, window: &BoundedWindow, watermark: EventTime) -> bool {
        window.max_timestamp() + self.strategy.allowed_lateness < watermark
    }

    pub(crate) fn inputs(&self) -> Vec<usize> {
        match &self.does {
            Does::Source { .. } => vec![],
            Does::Flatten { inputs } => inputs.clone(),
            Does::Side { input, side, .. } => vec![*input, *side],
            Does::KeyBy { input, .. }
            | Does::Odd { input }
            | Does::Window { input }
            | Does::Group { input }
            | Does::Total { input }
            | Does::InOrder { input }
            | Does::Ordered { input } => vec![*input],
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
        let (stream, mut nodes) = (random.percent(50), Vec::new());
        // Of a stream, one source at least is never late: side inputs are made of it.
        for source in 0..if stream { 2 } else { 1 + random.below(2) } {
            let count = random.below(if stream { 80 } else { 40 }) as i64;
            let does = Does::Source { count, late: stream && source > 0 && random.percent(80) };
            nodes.push(Node { does, strategy: global(), grouped: false });
        }
        if stream && random.percent(40) {
            // A main input that may be late beside a side input that may be gone, which chance alone makes too seldom.
            for input in 0..2 {
                let strategy = windowing(random, stream, true);
                nodes.push(Node { does: Does::Window { input }, strategy, grouped: false });
            }
            let does = Does::Side { input: 3, side: 2, refreshed: random.percent(50) };
            nodes.push(Node { does, strategy: nodes[3].strategy.clone(), grouped: false });
        }
        for _ in 0..3 + random.below(8) {
            let open: Vec<usize> = (0..nodes.len()).filter(|node| !(stream && nodes[*node].emits_panes())).collect();
            let input = random.pick(&open).copied().unwrap_or(0);
            nodes.push(random_node(random, &nodes, input, stream));
        }
        Self { nodes, stream }
    }

    /// The nodes that nobody reads.
    pub(crate) fn sinks(&self) -> Vec<usize> {
        let read: Vec<usize> = self.nodes.iter().flat_map(Node::inputs).collect();
        (0..self.nodes.len()).filter(|node| !read.contains(node)).collect()
    }
}

fn random_node(random: &mut Random, nodes: &[Node], input: usize, stream: bool) -> Node {
    let of = &nodes[input];
    let same = |does: Does| Node { does, strategy: of.strategy.clone(), grouped: false };
    let merging = of.strategy.merge_status == MergeStatus::NeedsMerge;
    // What is in the global window after a grouping stands at its very end, where no other window reaches.
    let within = nodes_before_groups(nodes, input);
    // Side inputs and windows are where streams differ.
    match random.below(if stream { 15 } else { 10 }) {
        0 => same(Does::KeyBy { input, keys: 1 + random.below(7) as i64 }),
        1 => same(Does::Odd { input }),
        2 | 3 | 10 | 11 if within => {
            let late = nodes_have_late(nodes, input);
            Node { does: Does::Window { input }, strategy: windowing(random, stream, late), grouped: of.grouped }
        }
        4 if !of.grouped => {
            let mut strategy = of.strategy.clone();
            if merging {
                strategy.merge_status = MergeStatus::AlreadyMerged;
            }
            Node { does: Does::Group { input }, strategy, grouped: true }
        }
        5 if !merging && !of.grouped => same(Does::Total { input }),
        6 if !merging && !of.grouped && !stream => same(Does::InOrder { input }),
        8 | 9 if !of.grouped => same(Does::Ordered { input }),
        7 | 12 | 13 => {
            let fits = |side: usize| {
                let node = &nodes[side];
                // What a reader sees of late elements would be chance.
                let told = !stream || !node.emits_panes() && !nodes_have_late(nodes, side);
                told && !node.grouped && !matches!(node.strategy.window_fn, WindowFn::Session { .. })
            };
            let sides: Vec<usize> = (0..nodes.len()).filter(|side| *side != input && fits(*side)).collect();
            let windowed = |side: &usize| nodes[*side].strategy.window_fn != WindowFn::Global;
            let windowed: Vec<usize> = sides.iter().copied().filter(windowed).collect();
            let sides = if stream && !windowed.is_empty() { windowed } else { sides };
            match random.pick(&sides) {
                Some(side) => same(Does::Side { input, side: *side, refreshed: stream && random.percent(50) }),
                None => same(Does::Odd { input }),
            }
        }
        _ => {
            let alike = |node: &Node| {
                node.strategy == of.strategy && node.grouped == of.grouped && !(stream && node.emits_panes())
            };
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

/// Whether any element of a node may be late.
fn nodes_have_late(nodes: &[Node], node: usize) -> bool {
    match &nodes[node].does {
        Does::Source { late, .. } => *late,
        _ => nodes[node].inputs().iter().any(|input| nodes_have_late(nodes, *input)),
    }
}

fn global() -> WindowingStrategy {
    WindowingStrategy::global(CoderId::new("global"))
}

fn windowing(random: &mut Random, stream: bool, late: bool) -> WindowingStrategy {
    let size = Millis(3 + random.below(15) as i64);
    let offset = Millis(0);
    let window_fn = match random.below(4) {
        0 => WindowFn::Sliding { size, period: Millis(1 + random.below(size.0 as u64) as i64), offset },
        // What comes late to a session would change its windows, or not.
        1 if !late => WindowFn::Session { gap: Millis(1 + random.below(3) as i64) },
        2 => WindowFn::Global,
        _ => WindowFn::Fixed { size, offset },
    };
    let merge_status = if window_fn.is_session() { MergeStatus::NeedsMerge } else { MergeStatus::NonMerging };
    let combiners = [TimestampCombiner::EndOfWindow, TimestampCombiner::Latest, TimestampCombiner::Earliest];
    let timestamp_combiner = random.pick(&combiners).copied().unwrap_or(TimestampCombiner::EndOfWindow);
    let allowed_lateness = Millis(if stream { random.below(2) as i64 * random.below(25) as i64 } else { 0 });
    WindowingStrategy { window_fn, merge_status, timestamp_combiner, allowed_lateness, ..global() }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  a {}", if self.stream { "stream" } else { "bounded pipeline" })?;
        for (position, node) in self.nodes.iter().enumerate() {
            let WindowingStrategy { window_fn, allowed_lateness, .. } = &node.strategy;
            writeln!(f, "  {position}: {:?} in {window_fn:?}, lateness {}", node.does, allowed_lateness.0)?;
        }
        Ok(())
    }
}
