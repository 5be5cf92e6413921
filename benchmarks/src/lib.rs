//! Benchmarks of the engine's budgets, and comparisons with other runners.
