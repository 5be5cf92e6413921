//! Coders: how values stand as bytes.

pub mod varint;
