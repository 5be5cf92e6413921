//! What is right: each node's elements as a list, one node after the other. Knows no bundles, watermarks or workers.

use std::collections::BTreeMap;

use purlin_model::time::EventTime;
use purlin_model::window::{BoundedWindow, WindowFn};
use purlin_model::windowing_strategy::{MergeStatus, TimestampCombiner, WindowingStrategy};

use crate::program::{Does, Element, Program, in_order, sourced};

/// What each node that nobody reads emits: one element per window, sorted.
pub(crate) fn evaluate(program: &Program) -> BTreeMap<usize, Vec<Element>> {
    let mut all: Vec<Vec<Element>> = Vec::new();
    for node in &program.nodes {
        let of = |input: &usize| all[*input].iter();
        let emitted = match &node.does {
            Does::Source { count } => (0..*count).map(sourced).collect(),
            Does::Flatten { inputs } => inputs.iter().flat_map(of).cloned().collect(),
            Does::Group { input } => group(&program.nodes[*input].strategy, &all[*input]),
            Does::Side { input, side } => {
                let window_fn = &program.nodes[*side].strategy.window_fn;
                let exploded = of(input).flat_map(Element::explode);
                exploded.flat_map(|element| node.apply(&element, read(&all[*side], window_fn, &element))).collect()
            }
            Does::Total { input } => per_key_and_window(&all[*input])
                .into_iter()
                .map(|((key, window), elements)| {
                    let values = vec![elements.iter().map(|element| element.sum()).sum()];
                    Element { timestamp: window.max_timestamp(), windows: vec![window], key, values }
                })
                .collect(),
            Does::InOrder { input } => per_key_and_window(&all[*input])
                .into_iter()
                .map(|((key, window), mut elements)| {
                    elements.sort_by_key(|element| element.timestamp);
                    let values = vec![elements.iter().fold(0, |before, element| in_order(before, element.timestamp))];
                    Element { timestamp: window.max_timestamp(), windows: vec![window], key, values }
                })
                .collect(),
            Does::KeyBy { input, .. } | Does::Odd { input } | Does::Window { input } => {
                of(input).flat_map(|element| node.apply(element, 0)).collect()
            }
        };
        all.push(emitted);
    }
    program.sinks().into_iter().map(|sink| (sink, sorted(&all[sink]))).collect()
}

/// One element per window, sorted: what two runs are compared by.
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

fn per_key_and_window(elements: &[Element]) -> BTreeMap<(i64, BoundedWindow), Vec<Element>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for element in elements.iter().flat_map(Element::explode) {
        groups.entry((element.key, element.windows[0].clone())).or_default().push(element);
    }
    groups
}

fn group(strategy: &WindowingStrategy, elements: &[Element]) -> Vec<Element> {
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
        Element { timestamp, windows: vec![window], key, values }
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
