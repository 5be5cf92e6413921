//! What the engine asks of those who keep bytes. May block; never called from the core.

mod batches;
mod memory;
mod sides;
mod state;

pub use batches::{BatchPlace, BatchStore, StoreError};
pub use memory::{Memory, MemoryClass, MemoryPool, MustSpill, Reservation};
pub use sides::{SidePage, SideStore, SideView};
pub use state::{Cell, DueBound, Page, SortKeyRange, StateError, StateStore, StateView, Timer, TimerDomain};
