//! Splits: a worker gives part of a bundle's input back.
//!
//! ```text
//!   input   0 1 2 3 4 5 6 7      last primary 3, first residual 5: element 4 was cut in two
//!   primary 0 1 2 3 [4a]         [4a] primary root, in place of 4
//!   rest              5 6 7      residuals: [4b]
//! ```
//! The worker counts the elements that it was sent from 0, in order. Later splits of the same bundle only shrink it.

use std::sync::Arc;

use purlin_engine::core::event::{Event, Failure, Split};
use purlin_engine::data::BatchSlice;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::process_bundle_split_request::DesiredSplit;
use thiserror::Error;

use crate::open_bundle::Open;
use crate::process_bundle::BundleRun;
use crate::residual;

/// A split that cannot be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum SplitFault {
    /// The positions contradict each other.
    #[error("it keeps elements up to {last_primary} and gives back those from {first_residual}")]
    Positions { last_primary: i64, first_residual: i64 },
    /// Parts of an element without saying which.
    #[error("it gives back parts of an element, and does not say of which")]
    Nowhere,
    /// It is about something that the bundle does not read.
    #[error("it is about `{0}`, which is not where the bundle reads its input")]
    Elsewhere(String),
    /// The only source is cut more than once.
    #[error("it tells {0} times where the input is cut, and there is one input")]
    Twice(usize),
    /// An element is cut and a part of it is missing.
    #[error("it cuts element {element} and keeps {primaries} and gives back {residuals} parts of it")]
    Parts { element: i64, primaries: usize, residuals: usize },
}

/// What a bundle was given, and what of it is still its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputLedger {
    /// As it was at the beginning: the worker's count refers to this.
    given: Vec<BatchSlice>,
    /// Elements at this position and behind are not the bundle's any more.
    end: u64,
    /// The element that was cut, and what stays of it.
    cut: Option<(u64, Vec<BatchSlice>)>,
}

impl InputLedger {
    pub(crate) fn new(given: Vec<BatchSlice>) -> Self {
        let end = given.iter().map(|slice| u64::from(slice.len())).sum();
        Self { given, end, cut: None }
    }

    /// How many elements are to be sent at most.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Shrinks the bundle, and returns what stays and which whole elements go.
    fn split(
        &mut self,
        last_primary: i64,
        first_residual: i64,
        primary_parts: Vec<BatchSlice>,
        residual_parts: usize,
    ) -> Result<(Vec<BatchSlice>, Vec<BatchSlice>), SplitFault> {
        let fault = SplitFault::Positions { last_primary, first_residual };
        let gap = first_residual.checked_sub(last_primary).ok_or(fault.clone())?;
        let keep = u64::try_from(last_primary.saturating_add(1)).map_err(|_| fault.clone())?;
        let from = u64::try_from(first_residual).map_err(|_| fault.clone())?;
        // What goes is told in the terms of before: an element that was cut earlier goes as what was left of it.
        let rest = self.pieces(from, self.end);
        match gap {
            1 if residual_parts == 0 => {}
            2 if !primary_parts.is_empty() && residual_parts > 0 && keep < self.end => {
                self.cut = Some((keep, primary_parts));
            }
            1 | 2 => {
                let element = last_primary.saturating_add(1);
                return Err(SplitFault::Parts { element, primaries: primary_parts.len(), residuals: residual_parts });
            }
            _ => return Err(fault),
        }
        self.end = from.min(self.end);
        Ok((self.pieces(0, self.end), rest))
    }

    /// The elements at these positions, a cut one replaced by its parts.
    fn pieces(&self, from: u64, until: u64) -> Vec<BatchSlice> {
        match &self.cut {
            Some((position, parts)) if (from..until).contains(position) => {
                let mut pieces = range(&self.given, from, *position);
                pieces.extend(parts);
                pieces.extend(range(&self.given, position + 1, until));
                pieces
            }
            Some(_) | None => range(&self.given, from, until),
        }
    }
}

/// The elements at these positions.
fn range(slices: &[BatchSlice], from: u64, until: u64) -> Vec<BatchSlice> {
    let mut start = 0;
    let mut taken = Vec::new();
    for slice in slices {
        let end = start + u64::from(slice.len());
        let (first, last) = (from.max(start), until.min(end));
        if first < last {
            let at = |position: u64| slice.first + (position - start) as u32;
            taken.push(BatchSlice { batch: slice.batch, first: at(first), last: at(last) });
        }
        start = end;
    }
    taken
}

impl BundleRun {
    /// Asks the worker to give back what remains but this share. It may refuse by silence, or by an error.
    pub(crate) fn ask_split(self: &Arc<Self>, fraction: f64) {
        let Some(worker) = self.worker() else { return };
        let Some(estimated) = self.while_open(|open| {
            open.splits_awaited += 1;
            open.input.end()
        }) else {
            return;
        };
        let desired = DesiredSplit {
            fraction_of_remainder: fraction,
            allowed_split_points: Vec::new(),
            estimated_input_elements: i64::try_from(estimated).unwrap_or(i64::MAX),
        };
        let request = fnpb::ProcessBundleSplitRequest {
            instruction_id: self.instruction.as_str().to_owned(),
            desired_splits: [(self.stage.source.clone(), desired)].into(),
        };
        if !worker.ask_split(self, request) {
            self.while_open(|open| open.splits_awaited -= 1);
        }
    }

    pub(crate) fn on_split(&self, response: Option<fnpb::ProcessBundleSplitResponse>) {
        let outcome = self.while_open(|open| {
            open.splits_awaited = open.splits_awaited.saturating_sub(1);
            match response {
                Some(response) => self.apply_split(open, &response),
                None => Ok(()),
            }
        });
        match outcome {
            Some(Ok(())) => self.try_finish(),
            Some(Err(why)) => self.fail(why),
            None => {}
        }
    }

    /// Under the lock of `open`, so that the engine hears of the split before it hears of the bundle's end.
    fn apply_split(&self, open: &mut Open, response: &fnpb::ProcessBundleSplitResponse) -> Result<(), Failure> {
        let garbage = |fault: SplitFault| {
            let text = format!("a worker split a bundle of `{}` in a way that cannot be: {fault}", self.stage.name);
            Failure::Garbage(text)
        };
        let channel = match &response.channel_splits[..] {
            [] => {
                let empty = response.primary_roots.is_empty() && response.residual_roots.is_empty();
                return if empty { Ok(()) } else { Err(garbage(SplitFault::Nowhere)) };
            }
            // Java does not say which source it means; a stage has one only.
            [channel] if channel.transform_id == self.stage.source || channel.transform_id.is_empty() => channel,
            [channel] => return Err(garbage(SplitFault::Elsewhere(channel.transform_id.clone()))),
            channels => return Err(garbage(SplitFault::Twice(channels.len()))),
        };
        let mut primary_parts = Vec::new();
        for root in &response.primary_roots {
            primary_parts.push(BatchSlice::whole(residual::keep(self, &mut open.out, root)?));
        }
        let mut residuals = Vec::new();
        for root in &response.residual_roots {
            residuals.push(residual::of_root(self, &mut open.out, root)?);
        }
        let kept: Vec<_> = primary_parts.iter().map(|part| part.batch.id).collect();
        let (primary, rest) = open
            .input
            .split(channel.last_primary_element, channel.first_residual_element, primary_parts, residuals.len())
            .map_err(garbage)?;
        // From here on these are the engine's, whatever becomes of the bundle.
        kept.into_iter()
            .chain(residuals.iter().map(|residual| residual.batch.id))
            .for_each(|id| open.out.hand_over(id));
        self.set_input_end(open.input.end());
        let split = Split { primary, rest, residuals };
        self.reporter.event(Event::BundleSplit { bundle: self.bundle, split });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_engine::data::{BatchId, BatchRef};
    use purlin_model::time::EventTime;

    fn slice(id: u64, first: u32, last: u32) -> BatchSlice {
        let batch = BatchRef { id: BatchId(id), count: 10, bytes: 10, min_timestamp: EventTime::MIN, window_max: None };
        BatchSlice { batch, first, last }
    }

    fn check(ledger: &mut InputLedger, positions: (i64, i64), parts: (&[BatchSlice], usize), expected: &str) {
        let show = |slices: &[BatchSlice]| {
            let each = slices.iter().map(|slice| format!("{}:{}..{}", slice.batch.id.0, slice.first, slice.last));
            each.collect::<Vec<_>>().join(" ")
        };
        let found = match ledger.split(positions.0, positions.1, parts.0.to_vec(), parts.1) {
            Ok((primary, rest)) => format!("{} | {}", show(&primary), show(&rest)),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_clean_cut_falls_within_or_between_batches() {
        let input = InputLedger::new(vec![slice(1, 2, 5), slice(2, 0, 4)]);
        check(&mut input.clone(), (1, 2), (&[], 0), "1:2..4 | 1:4..5 2:0..4");
        check(&mut input.clone(), (2, 3), (&[], 0), "1:2..5 | 2:0..4");
        check(&mut input.clone(), (-1, 0), (&[], 0), " | 1:2..5 2:0..4");
        check(&mut input.clone(), (99, 100), (&[], 0), "1:2..5 2:0..4 | ");
    }

    #[test]
    fn a_cut_element_is_replaced_by_what_stays_of_it() {
        let mut input = InputLedger::new(vec![slice(1, 0, 8)]);
        check(&mut input, (3, 5), (&[slice(9, 0, 1)], 1), "1:0..4 9:0..1 | 1:5..8");
        // Cut again: the first part goes, the smaller one stays.
        check(&mut input, (3, 5), (&[slice(11, 0, 1)], 1), "1:0..4 11:0..1 | ");
        assert_eq!(input.end(), 5);
    }

    #[test]
    fn later_splits_only_shrink() {
        let mut input = InputLedger::new(vec![slice(1, 0, 8)]);
        check(&mut input, (5, 6), (&[], 0), "1:0..6 | 1:6..8");
        check(&mut input, (2, 3), (&[], 0), "1:0..3 | 1:3..6");
        check(&mut input, (6, 7), (&[], 0), "1:0..3 | ");
    }

    #[test]
    fn nonsense_is_a_fault() {
        let mut input = InputLedger::new(vec![slice(1, 0, 8)]);
        check(&mut input, (3, 3), (&[], 0), "it keeps elements up to 3 and gives back those from 3");
        check(
            &mut input,
            (i64::MIN, i64::MAX),
            (&[], 0),
            &format!("it keeps elements up to {} and gives back those from {}", i64::MIN, i64::MAX),
        );
        check(&mut input, (-2, -1), (&[], 0), "it keeps elements up to -2 and gives back those from -1");
        check(&mut input, (1, 3), (&[], 1), "it cuts element 2 and keeps 0 and gives back 1 parts of it");
        check(&mut input, (1, 2), (&[], 1), "it cuts element 2 and keeps 0 and gives back 1 parts of it");
        check(&mut input, (7, 9), (&[slice(9, 0, 1)], 1), "it cuts element 8 and keeps 1 and gives back 1 parts of it");
        assert_eq!(input.end(), 8);
    }
}
