//! What is kept of a trigger between bundles: one node per trigger of its tree, in preorder.
//!
//! ```text
//!   Repeat( AfterAny( ElementCount, AfterEndOfWindow(early: ElementCount) ) )   ─►   [ r │ a │ c │ e │ c ]
//! ```
//! Does not know what a kind of trigger does with its node.

use purlin_model::coder::varint::{read_varint, write_varint};
use purlin_model::time::ProcessingTime;
use purlin_model::trigger::Trigger;

/// What one trigger of a tree remembers. Each kind uses what it needs; the rest stays as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// It never fires again.
    pub(super) finished: bool,
    /// `AfterEndOfWindow`: its pane for the end of the window has fired.
    pub(super) ended: bool,
    /// `ElementCount`: elements since the last firing.
    pub(super) seen: u64,
    /// `AfterProcessingTime`: when it is due.
    pub(super) due: Option<ProcessingTime>,
}

impl Node {
    pub(super) const FINISHED: Self = Self { finished: true, ended: false, seen: 0, due: None };
}

/// The state of a whole trigger, for one key and window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TriggerState(Vec<Node>);

impl TriggerState {
    /// Before any element.
    pub(crate) fn new(trigger: &Trigger) -> Self {
        Self(vec![Node::default(); size(trigger)])
    }

    /// What changes nothing when it is merged into another state, except that the window may be a new one.
    pub(crate) fn neutral(trigger: &Trigger) -> Self {
        Self(vec![Node { ended: true, ..Node::default() }; size(trigger)])
    }

    /// Whether it never fires again: its window is closed.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.first().is_some_and(|node| node.finished)
    }

    /// The next instant of the clock at which it may fire, if it waits for one. What is due already waits for
    /// something else.
    pub(crate) fn next_clock(&self, now: ProcessingTime) -> Option<ProcessingTime> {
        self.0.iter().filter_map(|node| node.due).filter(|due| *due > now).min()
    }

    /// Appends the state as it is kept.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for node in &self.0 {
            let counts = node.seen > 0;
            let flags = [node.finished, node.ended, counts, node.due.is_some()];
            out.push(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
            if counts {
                write_varint(node.seen as i64, out);
            }
            if let Some(due) = node.due {
                write_varint(due.0, out);
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote for the same trigger, and moves past it; `None` if it is not that.
    pub(crate) fn decode(trigger: &Trigger, bytes: &mut &[u8]) -> Option<Self> {
        let mut nodes = Vec::with_capacity(size(trigger));
        for _ in 0..size(trigger) {
            let (flags, rest) = bytes.split_first()?;
            *bytes = rest;
            let seen = if flags & 4 != 0 { read_varint(bytes).ok()? as u64 } else { 0 };
            let due = if flags & 8 != 0 { Some(ProcessingTime(read_varint(bytes).ok()?)) } else { None };
            nodes.push(Node { finished: flags & 1 != 0, ended: flags & 2 != 0, seen, due });
        }
        Some(Self(nodes))
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.0
    }

    pub(super) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.0
    }
}

/// How many nodes a trigger has, its own included.
pub(super) fn size(trigger: &Trigger) -> usize {
    1 + match trigger {
        Trigger::Default
        | Trigger::Always
        | Trigger::Never
        | Trigger::ElementCount { .. }
        | Trigger::AfterProcessingTime { .. }
        | Trigger::AfterSynchronizedProcessingTime => 0,
        Trigger::AfterEndOfWindow { early, late } => early.iter().chain(late).map(|sub| size(sub)).sum(),
        Trigger::AfterAll(subs) | Trigger::AfterAny(subs) | Trigger::AfterEach(subs) => subs.iter().map(size).sum(),
        Trigger::OrFinally { main, finally } => size(main) + size(finally),
        Trigger::Repeat(sub) => size(sub),
    }
}

/// Each trigger with its nodes.
pub(super) fn each<'a, 't>(
    triggers: impl IntoIterator<Item = &'t Trigger>,
    mut nodes: &'a [Node],
) -> impl Iterator<Item = (&'t Trigger, &'a [Node])> {
    triggers.into_iter().map(move |trigger| {
        let (mine, rest) = nodes.split_at(size(trigger));
        nodes = rest;
        (trigger, mine)
    })
}

/// Each trigger with its nodes, to change them.
pub(super) fn each_mut<'a, 't>(
    triggers: impl IntoIterator<Item = &'t Trigger>,
    mut nodes: &'a mut [Node],
) -> impl Iterator<Item = (&'t Trigger, &'a mut [Node])> {
    triggers.into_iter().map(move |trigger| {
        let (mine, rest) = std::mem::take(&mut nodes).split_at_mut(size(trigger));
        nodes = rest;
        (trigger, mine)
    })
}

/// Each trigger with its nodes, to change them, and with those of another window.
pub(super) fn each_pair<'a, 't>(
    triggers: impl IntoIterator<Item = &'t Trigger>,
    (nodes, mut others): (&'a mut [Node], &'a [Node]),
) -> impl Iterator<Item = (&'t Trigger, &'a mut [Node], &'a [Node])> {
    each_mut(triggers, nodes).map(move |(trigger, mine)| {
        let (theirs, rest) = others.split_at(mine.len());
        others = rest;
        (trigger, mine, theirs)
    })
}

/// Makes a trigger what it was before any element.
pub(super) fn reset(nodes: &mut [Node]) {
    nodes.fill(Node::default());
}
