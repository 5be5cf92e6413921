//! What is right: each node's elements as a list, one node after the other. Knows no bundles, watermarks or workers.

use std::collections::BTreeMap;

use purlin_model::time::EventTime;
use purlin_model::window::{BoundedWindow, WindowFn};
use purlin_model::windowing_strategy::{MergeStatus, TimestampCombiner, WindowingStrategy};

use crate::program::{Does, Element, Program, in_order, sourced};

/// What each node was given and has dropped: of who sorts whole elements, else one element per window.
pub(crate) type Dropped = BTreeMap<usize, Vec<Element>>;

/// What each node that nobody reads emits: one element per window, sorted, but for what nodes have dropped.
///
/// # Errors
/// If a node has dropped what it was not given.
pub(crate) fn evaluate(program: &Program, dropped: &Dropped) -> Result<BTreeMap<usize, Vec<Element>>, String> {
    let mut all: Vec<Vec<Element>> = Vec::new();
    for (position, node) in program.nodes.iter().enumerate() {
        let taken = match (dropped.get(&position), node.inputs().first()) {
            (Some(dropped), Some(input)) => {
                // Who sorts drops whole elements, in all of their windows; everybody else one window of them.
                let given = match node.does {
                    Does::InOrder { .. } | Does::Ordered { .. } => all[*input].clone(),
                    _ => all[*input].iter().flat_map(Element::explode).collect(),
                };
                Some(without(given, dropped, position)?)
            }
            (Some(_), None) | (None, _) => None,
        };
        // Only what has one main input drops anything.
        let of = |input: &usize| taken.as_ref().unwrap_or(&all[*input]).iter();
        let emitted = match &node.does {
            Does::Source { count, late } => (0..*count).map(|number| sourced(number, *late)).collect(),
            Does::Flatten { inputs } => inputs.iter().flat_map(of).cloned().collect(),
            Does::Group { input } => group(&program.nodes[*input].strategy, of(input)),
            Does::Side { input, side, .. } => {
                let window_fn = &program.nodes[*side].strategy.window_fn;
                let exploded = of(input).flat_map(Element::explode);
                exploded.flat_map(|element| node.apply(&element, read(&all[*side], window_fn, &element))).collect()
            }
            Does::Total { input } => per_key_and_window(of(input))
                .into_iter()
                .map(|((key, window), elements)| {
                    let values = vec![elements.iter().map(|element| element.sum()).sum()];
                    Element { timestamp: window.max_timestamp(), windows: vec![window], key, values, late: false }
                })
                .collect(),
            Does::InOrder { input } => per_key_and_window(of(input))
                .into_iter()
                .map(|((key, window), mut elements)| {
                    elements.sort_by_key(|element| element.timestamp);
                    let values = vec![elements.iter().fold(0, |before, element| in_order(before, element.timestamp))];
                    Element { timestamp: window.max_timestamp(), windows: vec![window], key, values, late: false }
                })
                .collect(),
            Does::KeyBy { input, .. } | Does::Odd { input } | Does::Window { input } | Does::Ordered { input } => {
                of(input).flat_map(|element| node.apply(element, 0)).collect()
            }
        };
        all.push(emitted);
    }
    Ok(program.sinks().into_iter().map(|sink| (sink, comparable(program, sink, &all[sink]))).collect())
}

/// These elements but for those.
fn without(mut left: Vec<Element>, dropped: &[Element], node: usize) -> Result<Vec<Element>, String> {
    for element in dropped {
        let position = left.iter().position(|other| other == element);
        let position =
            position.ok_or_else(|| format!("node {node} has dropped what it was not given: {element:?}\n"))?;
        left.swap_remove(position);
    }
    Ok(left)
}

/// What two runs are compared by: of a stream, all panes of a key and window together.
pub(crate) fn comparable(program: &Program, node: usize, elements: &[Element]) -> Vec<Element> {
    let spec = &program.nodes[node];
    if !program.stream || !spec.emits_panes() {
        return sorted(elements);
    }
    let together = |((key, window), panes): ((i64, BoundedWindow), Vec<Element>)| {
        let values = panes.into_iter().flat_map(|pane| pane.values);
        let values = if spec.grouped { values.collect() } else { vec![values.sum()] };
        Element { timestamp: window.max_timestamp(), windows: vec![window], key, values, late: false }
    };
    sorted(&per_key_and_window(elements.iter()).into_iter().map(together).collect::<Vec<_>>())
}

/// One element per window, sorted.
pub(crate) fn sorted(elements: &[Element]) -> Vec<Element> {
    let mut exploded: Vec<Element> = elements.iter().flat_map(Element::explode).collect();
    exploded.iter_mut().for_each(|element| element.values.sort_unstable());
    exploded.sort();
    exploded
}

/// The sum of the side input's window that belongs to the main window of this element.
fn read(side: &[Element], window_fn: &WindowFn, main: &Element) -> i64 {
    let window = main.windows.first().and_then(|window| window_fn.side_window_of(window.max_timestamp()));
    let inside = side.iter().flat_map(Element::explode).filter(|element| element.windows.first() == window.as_ref());
    inside.map(|element| element.sum()).sum()
}

fn per_key_and_window<'a>(elements: impl Iterator<Item = &'a Element>) -> BTreeMap<(i64, BoundedWindow), Vec<Element>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for element in elements.flat_map(Element::explode) {
        groups.entry((element.key, element.windows[0].clone())).or_default().push(element);
    }
    groups
}

fn group<'a>(strategy: &WindowingStrategy, elements: impl Iterator<Item = &'a Element>) -> Vec<Element> {
    let mut groups = per_key_and_window(elements);
    if strategy.merge_status == MergeStatus::NeedsMerge {
        groups = merge(groups);
    }
    let emit = |((key, window), elements): ((i64, BoundedWindow), Vec<Element>)| {
        let max = window.max_timestamp();
        let times = elements.iter().map(|element| element.timestamp);
        let timestamp = match strategy.timestamp_combiner {
            TimestampCombiner::EndOfWindow => max,
            TimestampCombiner::Latest => times.max().unwrap_or(max).min(max),
            TimestampCombiner::Earliest => times.min().unwrap_or(max).min(max),
        };
        let values = elements.into_iter().flat_map(|element| element.values).collect();
        Element { timestamp, windows: vec![window], key, values, late: false }
    };
    groups.into_iter().map(emit).collect()
}

/// Sessions, one after the other by their beginnings: one that begins before the last one's end joins it.
fn merge(groups: BTreeMap<(i64, BoundedWindow), Vec<Element>>) -> BTreeMap<(i64, BoundedWindow), Vec<Element>> {
    let mut parts: Vec<(i64, EventTime, EventTime, Vec<Element>)> = groups
        .into_iter()
        .filter_map(|((key, window), elements)| match window {
            BoundedWindow::Interval { start, end } => Some((key, start, end, elements)),
            BoundedWindow::Global | BoundedWindow::Custom { .. } => None,
        })
        .collect();
    parts.sort_by_key(|(key, start, end, _)| (*key, *start, *end));
    let mut merged: Vec<(i64, EventTime, EventTime, Vec<Element>)> = Vec::new();
    for (key, start, end, elements) in parts {
        match merged.last_mut() {
            Some(last) if last.0 == key && start < last.2 => {
                last.2 = last.2.max(end);
                last.3.extend(elements);
            }
            _ => merged.push((key, start, end, elements)),
        }
    }
    let whole = |(key, start, end, elements)| ((key, BoundedWindow::Interval { start, end }), elements);
    merged.into_iter().map(whole).collect()
}
