//! What a bundle has gathered while it runs in a worker.
//!
//! ```text
//!   elements ─► carry: the beginning of one whose end has not come ─► LaneWriter
//!   terminators ─► awaited, less and less        response, splits, metrics: asked for, and come
//! ```
//! Does not know what makes a bundle whole.

use std::collections::{BTreeMap, BTreeSet};

use purlin_engine::core::stage::OutputId;
use purlin_engine::data::{LaneWriter, WriteError};
use purlin_proto::fn_execution::v1 as fnpb;

use crate::split::InputLedger;

/// An element may stand in several messages, up to this size.
const CARRY_BYTES_MAX: usize = 1 << 30;

/// What a bundle has gathered so far.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) out: LaneWriter,
    /// The beginning of an element whose end has not arrived.
    carry: BTreeMap<OutputId, Carry>,
    /// What the worker has not ended yet.
    pub(crate) awaited: BTreeSet<Terminator>,
    /// Its answer to the request.
    pub(crate) response: Option<fnpb::ProcessBundleResponse>,
    /// What of its input is its own still.
    pub(crate) input: InputLedger,
    /// How many splits have been asked for and not been answered.
    pub(crate) splits_awaited: u32,
    /// Whether metrics have been asked for and not been told.
    pub(crate) progress_awaited: bool,
}

/// What tells that a worker has sent everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Terminator {
    Sink(String),
    Timers(String, String),
}

impl Open {
    pub(crate) fn new(out: LaneWriter, awaited: BTreeSet<Terminator>, input: InputLedger) -> Self {
        let carry = BTreeMap::new();
        Self { out, carry, awaited, response: None, input, splits_awaited: 0, progress_awaited: false }
    }

    /// What has not come yet, in words.
    pub(crate) fn missing(&self) -> String {
        let ends = self.awaited.iter().map(|terminator| match terminator {
            Terminator::Sink(sink) => format!("the end of output `{sink}`"),
            Terminator::Timers(transform, family) => format!("the end of timers `{family}` of `{transform}`"),
        });
        let splits = (self.splits_awaited > 0).then(|| "the answer to a split".to_owned());
        let missing: Vec<_> = ends.chain(splits).collect();
        if missing.is_empty() { "what its metrics mean".to_owned() } else { missing.join(", ") }
    }

    /// Whether more may still come from there; from now on nothing may if this `is_last`.
    pub(crate) fn is_awaited(&mut self, terminator: &Terminator, is_last: bool) -> bool {
        if is_last { self.awaited.remove(terminator) } else { self.awaited.contains(terminator) }
    }

    pub(crate) fn write(&mut self, output: OutputId, bytes: &[u8]) -> Result<(), WriteError> {
        let carry = self.carry.entry(output).or_default();
        if carry.bytes.is_empty() {
            let taken = self.out.write_prefix(output, bytes)?;
            carry.keep(&bytes[taken..]);
            return Ok(());
        }
        carry.bytes.extend_from_slice(bytes);
        if carry.bytes.len() < carry.read_again_at {
            return Ok(());
        }
        let taken = self.out.write_prefix(output, &carry.bytes)?;
        carry.bytes.drain(..taken);
        carry.read_again_at = carry.bytes.len().saturating_mul(2);
        if carry.bytes.len() > CARRY_BYTES_MAX { self.finish_output(output) } else { Ok(()) }
    }

    /// Nothing more comes for an output, so that no element may be without its end.
    pub(crate) fn finish_output(&mut self, output: OutputId) -> Result<(), WriteError> {
        match self.carry.remove(&output) {
            Some(rest) if !rest.bytes.is_empty() => self.out.write_frame(output, &rest.bytes),
            Some(_) | None => Ok(()),
        }
    }
}

/// Bytes of an element that come in several messages.
#[derive(Debug, Default)]
struct Carry {
    bytes: Vec<u8>,
    /// They are looked at again when there are this many: twice as many as the last time, so that an element that comes
    /// byte by byte costs no more than a few looks at each byte.
    read_again_at: usize,
}

impl Carry {
    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.read_again_at = bytes.len().saturating_mul(2);
    }
}
