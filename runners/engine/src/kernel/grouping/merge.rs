//! Merging windows: which window each window of a key becomes.
//!
//! ```text
//!   windows of a key ─ sessions ──► overlapping intervals become one
//!                    └ custom ────► question to an SDK ─(bundle runs again)─► its answer, checked
//! ```
//! An SDK is asked for many keys at once, with `beam:transform:merge_windows:v1`: `KV<nonce, Iterable<W>>` brings
//! `KV<nonce, KV<Iterable<W> unmerged, Iterable<KV<W merged, Iterable<W> consumed>>>>`. The nonce is the key's position.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purlin_model::coder::varint::{read_varint, write_length};
use purlin_model::element::{Header, decode_window, encode_window};
use purlin_model::pane::PaneInfo;
use purlin_model::time::EventTime;
use purlin_model::window::{BoundedWindow, WindowCoder};

use crate::data::{BatchSlice, ElementBatch, ElementBatchBuilder};

/// What windows become; those that are not in it stay.
pub(super) type Becomes = BTreeMap<BoundedWindow, BoundedWindow>;

/// Merges session windows: two that overlap become one that spans both. Windows that only touch stay apart.
pub(super) fn sessions<'a>(windows: impl IntoIterator<Item = &'a BoundedWindow>) -> Becomes {
    let mut intervals: Vec<(EventTime, EventTime)> = windows
        .into_iter()
        .filter_map(|window| match window {
            BoundedWindow::Interval { start, end } => Some((*start, *end)),
            BoundedWindow::Global | BoundedWindow::Custom { .. } => None,
        })
        .collect();
    intervals.sort_unstable();
    let mut becomes = Becomes::new();
    let mut rest = intervals.as_slice();
    while let Some((start, mut end)) = rest.first().copied() {
        let mut count = 1;
        while let Some((_, next)) = rest.get(count).filter(|(next, _)| *next < end) {
            end = end.max(*next);
            count += 1;
        }
        let (session, others) = rest.split_at(count);
        if count > 1 {
            let into = BoundedWindow::Interval { start, end };
            let parts = session.iter().map(|(start, end)| BoundedWindow::Interval { start: *start, end: *end });
            becomes.extend(parts.map(|part| (part, into.clone())));
        }
        rest = others;
    }
    becomes
}

/// Questions for an SDK, one element per key.
#[derive(Debug, Default)]
pub(super) struct Questions {
    elements: ElementBatchBuilder,
    value: Vec<u8>,
}

impl Questions {
    /// Asks what these windows of a key become.
    pub(super) fn ask(&mut self, nonce: u64, windows: &BTreeSet<&BoundedWindow>) {
        let mut header = Vec::new();
        Header::new(EventTime::MIN, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
        self.value.clear();
        let nonce = nonce.to_be_bytes();
        write_length(nonce.len(), &mut self.value);
        self.value.extend_from_slice(&nonce);
        self.value.extend_from_slice(&(windows.len() as i32).to_be_bytes());
        windows.iter().for_each(|window| encode_window(window, &mut self.value));
        self.elements.push(&header, EventTime::MIN, &self.value);
    }

    /// All questions as a batch; `None` if there is none.
    pub(super) fn finish(mut self) -> Option<ElementBatch> {
        let batch = self.elements.finish();
        (!batch.is_empty()).then_some(batch)
    }
}

/// An SDK's answers, by nonce.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<u64, Answer>);

/// The merges of one key, in the SDK's order: what comes of it, and what goes.
type Answer = Vec<(BoundedWindow, Vec<BoundedWindow>)>;

impl Answers {
    /// Reads answers.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn read(batches: &[(Arc<ElementBatch>, BatchSlice)], windows: WindowCoder) -> Result<Self, String> {
        let mut answers = BTreeMap::new();
        for (batch, slice) in batches {
            for index in slice.first..slice.last {
                let mut value = batch.get(index as usize).value;
                let (nonce, answer) = read_answer(&mut value, windows)?;
                if answers.insert(nonce, answer).is_some() {
                    return Err("it answered the same question twice".to_owned());
                }
            }
        }
        Ok(Self(answers))
    }

    /// What the windows that were asked for under a nonce become.
    ///
    /// # Errors
    /// If there is no answer, or it merges windows that were not there.
    pub(super) fn of(&self, nonce: u64, asked: &BTreeSet<&BoundedWindow>) -> Result<Becomes, String> {
        let merges = self.0.get(&nonce).ok_or("it did not answer")?;
        let mut becomes = Becomes::new();
        for (into, consumed) in merges {
            for window in consumed {
                // What an earlier merge made may be merged again.
                let made = becomes.values().any(|made| made == window);
                if !made && !asked.contains(window) {
                    return Err(format!("it merged window {window:?}, which was not there"));
                }
                if made {
                    becomes.values_mut().filter(|made| *made == window).for_each(|made| *made = into.clone());
                }
                if asked.contains(window) && becomes.insert(window.clone(), into.clone()).is_some_and(|to| to != *into)
                {
                    return Err(format!("it merged window {window:?} twice"));
                }
            }
        }
        Ok(becomes)
    }
}

fn read_answer(value: &mut &[u8], windows: WindowCoder) -> Result<(u64, Answer), String> {
    let length = read_varint(value).map_err(|error| error.to_string())?;
    let nonce = usize::try_from(length).ok().and_then(|length| value.split_at_checked(length));
    let (nonce, rest) = nonce.ok_or("its answer is cut short")?;
    let nonce = nonce.try_into().map(u64::from_be_bytes).map_err(|_| "its answer has a nonce that was not sent")?;
    *value = rest;
    let window = |bytes: &mut &[u8]| decode_window(bytes, windows).map_err(|error| error.to_string());
    // Windows that stay need no entry.
    read_iterable(value, window)?;
    let merges = read_iterable(value, |bytes| Ok((window(bytes)?, read_iterable(bytes, window)?)))?;
    Ok((nonce, merges))
}

/// Reads an iterable with a known count, or in counted blocks up to an empty one. Nothing is allocated by a count.
fn read_iterable<T>(
    bytes: &mut &[u8],
    mut item: impl FnMut(&mut &[u8]) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let (count, rest) = bytes.split_first_chunk::<4>().ok_or("its answer is cut short")?;
    *bytes = rest;
    let mut items = Vec::new();
    let mut block = i64::from(i32::from_be_bytes(*count));
    let blocks = block < 0;
    if blocks {
        block = read_varint(bytes).map_err(|error| error.to_string())?;
    }
    while block > 0 {
        for _ in 0..block {
            items.push(item(bytes)?);
        }
        block = if blocks { read_varint(bytes).map_err(|error| error.to_string())? } else { 0 };
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(start: i64, end: i64) -> BoundedWindow {
        BoundedWindow::Interval { start: EventTime::from_millis(start), end: EventTime::from_millis(end) }
    }

    fn answer(merges: Answer) -> Answers {
        Answers(BTreeMap::from([(7, merges)]))
    }

    #[test]
    fn sessions_that_touch_stay_apart() {
        let windows = [interval(0, 10), interval(10, 20), interval(19, 29), interval(40, 50)];
        let both = interval(10, 29);
        assert_eq!(sessions(&windows), Becomes::from([(interval(10, 20), both.clone()), (interval(19, 29), both)]));
    }

    #[test]
    fn what_was_merged_may_be_merged_again() {
        let (a, b, c) = (interval(0, 1), interval(1, 2), interval(2, 3));
        let asked = BTreeSet::from([&a, &b, &c]);
        let merges =
            vec![(interval(0, 2), vec![a.clone(), b.clone()]), (interval(0, 3), vec![interval(0, 2), c.clone()])];
        let all = interval(0, 3);
        let expected = Becomes::from([(a.clone(), all.clone()), (b.clone(), all.clone()), (c.clone(), all)]);
        assert_eq!(answer(merges).of(7, &asked), Ok(expected));
    }

    #[test]
    fn wrong_answers_are_told() {
        let (a, b) = (interval(0, 1), interval(1, 2));
        let asked = BTreeSet::from([&a]);
        let text = |merges| answer(merges).of(7, &asked).expect_err("it is wrong");
        assert_eq!(text(vec![(interval(0, 2), vec![a.clone(), b])]), "it merged window [1,2), which was not there");
        let twice = vec![(interval(0, 2), vec![a.clone()]), (interval(0, 3), vec![a.clone()])];
        assert_eq!(text(twice), "it merged window [0,1) twice");
        assert_eq!(Answers::default().of(7, &asked), Err("it did not answer".to_owned()));
    }

    #[test]
    fn answers_are_read_counted_and_in_blocks() {
        let mut value = vec![8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1];
        encode_window(&interval(0, 2), &mut value);
        value.extend_from_slice(&[0, 0, 0, 1]);
        encode_window(&interval(0, 1), &mut value);
        value.push(0);
        let read = read_answer(&mut value.as_slice(), WindowCoder::Interval);
        assert_eq!(read, Ok((3, vec![(interval(0, 2), vec![interval(0, 1)])])));
        for length in 0..value.len() {
            assert!(read_answer(&mut &value[..length], WindowCoder::Interval).is_err());
        }
    }

    proptest! {
        /// Two sessions of the result never overlap, and each part lies in what it became.
        #[test]
        fn sessions_cover_and_never_overlap(starts in proptest::collection::vec((0i64..60, 1i64..9), 0..12)) {
            let windows: BTreeSet<_> = starts.iter().map(|(start, length)| interval(*start, start + length)).collect();
            let becomes = sessions(&windows);
            let bounds = |window: &BoundedWindow| match window {
                BoundedWindow::Interval { start, end } => (*start, *end),
                _ => unreachable!("all windows are intervals here"),
            };
            let results: BTreeSet<_> =
                windows.iter().map(|window| bounds(becomes.get(window).unwrap_or(window))).collect();
            for window in &windows {
                let (start, end) = bounds(window);
                prop_assert!(results.iter().any(|(from, to)| *from <= start && end <= *to));
            }
            let results: Vec<_> = results.into_iter().collect();
            for pair in results.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0);
            }
        }
    }
}
