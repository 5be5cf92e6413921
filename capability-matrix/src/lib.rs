//! The capability matrix: what pipelines can need, what each runner declares, and the verdict on one for the other.
//!
//! ```text
//!   features.toml ──► Row ◄── Requirements (a pipeline's) ──┐
//!                      ▲                                    ├─► verdict ─► Verdict: refusals, warnings, who would do
//!   sheets/*.toml ─────┴────► CapabilitySheet (a runner's) ─┴─► render  ─► Markdown, terminal, JSON
//! ```
//! Does not know pipelines: which rows one needs is for the planner to say. Does not know runners either, but for the
//! sheets of Purlin's own; anyone can write one and read it with [`sheet::CapabilitySheet::parse`].
#![warn(missing_docs)]

pub mod row;

pub mod circumstance;
pub mod features;

pub mod sheet;

pub mod requirements;
pub mod verdict;

pub mod render;
