//! The core of a job: one value that orders everything and sees no payload.
//!
//! Everything here is deterministic: ordered maps, counters for ids, `now` as an argument. The same events give
//! the same actions, byte for byte. Reading order: what a job is made of ([`stage`]), what goes in ([`event`]) and
//! out ([`action`]), who chooses ([`schedule`]), then the machine itself ([`engine`]) and its parts.

pub mod stage;

pub mod action;
pub mod event;
pub mod schedule;

pub mod engine;

pub mod bundle;
pub mod config;
pub mod explain;
pub mod lane;
pub mod watermark;
