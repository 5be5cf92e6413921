//! Benchmarks of the engine's budgets (`benches/`), and comparisons with other runners (the scripts beside this
//! crate). Figures and commands are in `docs/benchmarks.md`. There is no library here.
