//! The engine: a pure core that moves references, and kernels that run as bundles.
//!
//! ```text
//!            events                                actions
//!  driver ─────────────► core::engine::Engine ─────────────► driver
//!    ▲                   queues · watermarks                    │ StartBundle
//!    │ BundleFinished    ledger · readiness                     ▼
//!    └───────────────────────────────────── kernel (here) or worker (fn-api, native)
//!                                            reads and writes data::ElementBatch through store::*
//! ```
//! Three places, and what each may do: the *core* knows references and times and never blocks; a *kernel* knows
//! elements and a [`StateView`](store::StateView) and runs inside a bundle; *executors and stores* know bytes,
//! workers and disks, and live in other crates. Neither core nor kernels know tokio, gRPC, clocks, threads or files.
//!
//! Reading order: [`core::stage`] (what a job is made of), [`core::event`] and [`core::action`] (what goes in and
//! out), [`core::engine`] (the three doors), [`data`] (elements), [`kernel`] (the runner's own bundles).
#![warn(missing_docs)]

pub mod core;
pub mod data;
pub mod kernel;
pub mod metrics;
pub mod store;
