//! The way between wire messages and the model's types, one file per message family.
//!
//! ```text
//!              from_wire(&message, at, &mut problems) ──► Option<model value>
//!   message ──┤                                       └─► Problems: every fault, with the path of its field
//!              to_wire(&model value) ──► message
//! ```
//!
//! `from_wire` never panics and never stops at the first fault: it returns `None` exactly when it has reported at least
//! one problem, so callers convert a whole pipeline and then show everything that is wrong with it. `to_wire` cannot
//! fail, and `from_wire` reads back what it wrote.
//!
//! Does not know pipelines: whether an id is used, or used consistently, is the plan's to say.

pub mod problem;

pub mod timestamp;

pub mod window_fn;

pub mod trigger;

pub mod windowing_strategy;

pub mod schema;

pub mod coder;
