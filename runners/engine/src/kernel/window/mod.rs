//! Windows of a key while a grouping keeps them: what is kept of each, which are active, when they are gone.

mod active;
mod contents;
mod expiry;

pub(crate) use active::ActiveWindows;
pub(crate) use contents::{Contents, Pane};
pub(crate) use expiry::{expiry, is_expired};
