//! Pipelines: libFuzzer keeps the bytes, and they are mutated part by part where they can be read.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use prost::Message;
use purlin_fuzzing::{Chance, check_pipeline, mutate_pipeline};
use purlin_proto::pipeline::v1 as pb;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(pipeline) = pb::Pipeline::decode(bytes)
        && let Err(broken) = check_pipeline(pipeline, &prost_types::Struct::default())
    {
        panic!("{broken}");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    let Ok(mut pipeline) = pb::Pipeline::decode(&data[..size]) else {
        return fuzzer_mutate(data, size, size_max);
    };
    mutate_pipeline(&mut pipeline, &mut Chance::of_seed(seed.into()));
    let bytes = pipeline.encode_to_vec();
    if bytes.len() > size_max {
        return fuzzer_mutate(data, size, size_max);
    }
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
});
