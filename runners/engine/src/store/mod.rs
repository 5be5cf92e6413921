//! What the engine asks of those who keep bytes. May block; never called from the core.

mod batches;
mod sides;
mod state;

pub use batches::{BatchStore, StoreError};
pub use sides::{SidePage, SideStore};
pub use state::{Cell, DueBound, Page, SortKeyRange, StateError, StateStore, StateView, Timer, TimerDomain};
