//! Frames of elements: whatever the bytes, elements or an error, whole or in pieces.

use std::sync::Arc;

use crate::chance::Chance;
use purlin_engine::core::stage::JobGraphBuilder;
use purlin_engine::core::stage::{SideAccess, SideMapping};
use purlin_engine::data::{ElementBatch, LaneWriter};
use purlin_model::element::Header;
use purlin_model::window::{WindowCoder, WindowFn};
use purlin_store::MemoryBatchStore;

use crate::bundle::write_header;
use crate::mutate_bytes::mutate_bytes;
use crate::target::Broken;
use crate::value::{any_coder, write_some};

pub(crate) fn run(random: &mut Chance) -> Result<(), Broken> {
    let coder = any_coder(random, 0);
    let windows = [WindowCoder::Global, WindowCoder::Interval, WindowCoder::Custom][random.below(3) as usize];
    let mut frame = Vec::new();
    for _ in 0..random.below(4) {
        write_header(windows, &mut frame);
        write_some(&coder, &mut frame, random);
    }
    if random.percent(90) {
        mutate_bytes(&mut frame, random);
    }
    let broken = |what: String| Broken(format!("{coder} in {windows:?}, {frame:02x?}: {what}"));
    let batch = ElementBatch::from_wire(&frame, &coder, windows);
    if let Ok(batch) = &batch {
        let mut again = Vec::new();
        batch.write_wire(0, batch.len(), &mut again);
        if again != frame {
            return Err(broken(format!("it is written back as {again:02x?}")));
        }
        for element in batch.iter(0, batch.len()) {
            // Reading whole is stricter than finding the end, and never breaks.
            std::hint::black_box(Header::decode(&mut &element.header[..], windows).is_ok());
        }
    }
    let written = write(&coder, windows, &frame, random);
    // Keys, and windows that are read whole, may be refused though the ends of elements are found.
    if written.is_ok() && batch.is_err() {
        return Err(broken("the writer takes what a batch refuses".to_owned()));
    }
    Ok(())
}

/// To consumers of every kind, in two pieces.
fn write(
    coder: &purlin_model::coder::Coder,
    windows: WindowCoder,
    frame: &[u8],
    random: &mut Chance,
) -> Result<(), String> {
    let mut job = JobGraphBuilder::new();
    let env = job.environment();
    let impulse = job.impulse("impulse");
    let output = job.worker("Work", env, &[impulse], coder.clone(), windows);
    let side = job.side_input("side", &[impulse], SideAccess::Iterable, WindowFn::Global);
    job.sink("Any", env, &[output]);
    let keyed = job.sink("Keyed", env, &[output]);
    job.stage_mut(keyed).keyed = true;
    let both = job.sink("Both", env, &[output]);
    job.stage_mut(both).keyed = random.percent(50);
    job.reads(both, side, SideMapping::Default);
    let stage = job.producer(output);
    let graph = job.build();
    let mut writer = LaneWriter::new(&graph, stage, Arc::new(MemoryBatchStore::new()));
    let cut = random.below(frame.len() as u64 + 1) as usize;
    let text = |error: purlin_engine::data::WriteError| error.to_string();
    let taken = writer.write_prefix(output.id(), &frame[..cut]).map_err(text)?;
    writer.write_frame(output.id(), &frame[taken..]).map_err(text)?;
    writer.finish().map(drop).map_err(|error| error.to_string())
}
