//! Asks how the windows of keys merge: sessions here, others of an SDK.

use std::collections::BTreeSet;

use purlin_model::window::{BoundedWindow, WindowCoder, WindowFn};
use purlin_model::windowing_strategy::WindowingStrategy;

use crate::data::{ElementBatch, Loaded};
use crate::kernel::KernelError;
use crate::kernel::grouping::merge::{self, Answers, Becomes, Questions};

/// Keys must come in the same order whenever a bundle runs, for a question and its answer are known by their place.
pub(super) struct Merger<'a> {
    strategy: &'a WindowingStrategy,
    answers: Option<Answers>,
    questions: Questions,
    next: u64,
    asking: bool,
}

impl<'a> Merger<'a> {
    /// `answers` is what an SDK said; empty the first time.
    pub(super) fn new(
        strategy: &'a WindowingStrategy,
        coder: WindowCoder,
        answers: &[Loaded],
    ) -> Result<Self, KernelError> {
        let answers = match answers {
            [] => None,
            answers => Some(Answers::read(answers, coder).map_err(|problem| wrong(strategy, &[], &problem))?),
        };
        Ok(Self { strategy, answers, questions: Questions::default(), next: 0, asking: false })
    }

    /// What these windows of a key become; `None` if that is a question now.
    pub(super) fn becomes(
        &mut self,
        key: &[u8],
        windows: &BTreeSet<&BoundedWindow>,
    ) -> Result<Option<Becomes>, KernelError> {
        if let WindowFn::Session { .. } = self.strategy.window_fn {
            return Ok(Some(merge::sessions(windows.iter().copied())));
        }
        let nonce = self.next;
        self.next += 1;
        match &self.answers {
            Some(answers) => {
                answers.of(nonce, windows).map(Some).map_err(|problem| wrong(self.strategy, key, &problem))
            }
            None => {
                self.asking = true;
                self.questions.ask(nonce, windows);
                Ok(None)
            }
        }
    }

    /// Whether there are questions, so that nothing that is written counts.
    pub(super) fn is_asking(&self) -> bool {
        self.asking
    }

    /// The questions; `None` if there is none.
    pub(super) fn finish(self) -> Option<ElementBatch> {
        self.questions.finish()
    }
}

fn wrong(strategy: &WindowingStrategy, key: &[u8], problem: &str) -> KernelError {
    let window_fn = strategy.window_fn.urn().to_owned();
    KernelError::Merge { window_fn, problem: format!("key {}: {problem}", key.escape_ascii()) }
}
