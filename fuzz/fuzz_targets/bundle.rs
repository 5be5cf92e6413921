//! What a worker sends while it runs a bundle.

#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_fuzzing::Target;

fuzz_target!(|bytes: &[u8]| purlin_fuzzing::run_bytes(Target::Bundle, bytes));
