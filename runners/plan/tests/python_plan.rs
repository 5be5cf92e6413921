//! The plan of Beam's own Python WordCount, as `purlin explain` prints it, and what becomes of it when it is damaged.
//!
//! ```text
//!   python -m apache_beam.examples.wordcount ──what it would submit──► pb::Pipeline ─► plan ─► text
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use prost::Message;
use purlin_plan::{explain, plan, validate};
use purlin_proto::pipeline::v1 as pb;

/// Runs a program up to where it would submit its pipeline, and writes that pipeline instead.
const RECORD: &str = r#"
import sys
from apache_beam.examples import wordcount
from apache_beam.runners.portability import portable_runner

def record(runner, pipeline, options):
    sys.stdout.buffer.write(runner.get_proto_pipeline(pipeline, options).SerializeToString(deterministic=True))
    sys.stdout.flush()
    sys.exit(0)

portable_runner.PortableRunner.run_pipeline = record
wordcount.run([
    "--runner=PortableRunner", "--job_endpoint=localhost:1",
    "--environment_type=EXTERNAL", "--environment_config=localhost:1",
    "--input=" + sys.argv[1], "--output=" + sys.argv[1] + ".counts",
], save_main_session=False)
"#;

static WORDCOUNT: LazyLock<pb::Pipeline> = LazyLock::new(|| {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env/bin/python");
    let python = std::env::var_os("PURLIN_TEST_PYTHON").filter(|path| !path.is_empty()).map_or(own, PathBuf::from);
    // Any text will do: the pipeline is built, and reads nothing.
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(&python).args(["-c", RECORD]).arg(input).output().unwrap_or_else(|error| {
        panic!(
            "cannot start {}: {error}\nThis test needs Python with apache-beam. Run `cargo xtask test`, which installs \
             both, or set PURLIN_TEST_PYTHON.",
            python.display()
        )
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed:\n{stderr}", python.display());
    pb::Pipeline::decode(output.stdout.as_slice()).unwrap()
});

#[test]
fn beams_wordcount_in_stages() {
    let planned = validate(WORDCOUNT.clone()).and_then(|pipeline| plan(&pipeline)).unwrap();
    insta::assert_snapshot!(explain::text(&planned));
}

#[test]
fn a_damaged_wordcount_is_planned_or_refused() {
    // Pickled functions are most of a pipeline, and are not looked into; what is left gets all the damage.
    let mut pipeline = WORDCOUNT.clone();
    let components = pipeline.components.as_mut().unwrap();
    components.coders.values_mut().filter_map(|it| it.spec.as_mut()).for_each(|spec| spec.payload.truncate(4));
    components.environments.values_mut().for_each(|environment| environment.dependencies.clear());
    for transform in components.transforms.values_mut() {
        transform.display_data.clear();
        transform.annotations.clear();
        let Some(spec) = transform.spec.as_mut() else { continue };
        if let Ok(mut payload) = pb::ParDoPayload::decode(&spec.payload[..])
            && spec.urn == "beam:transform:pardo:v1"
        {
            payload.do_fn = None;
            payload.side_inputs.values_mut().for_each(|side| (side.view_fn, side.window_mapping_fn) = (None, None));
            spec.payload = payload.encode_to_vec().into();
        }
    }
    assert!(validate(pipeline.clone()).and_then(|pipeline| plan(&pipeline)).is_ok());

    let bytes = pipeline.encode_to_vec();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        // xorshift: any fixed sequence will do.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 1).expect("63 bits") % below
    };
    let (mut planned, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random(3) {
            let at = random(damaged.len());
            damaged[at] = u8::try_from(random(256)).expect("a byte");
        }
        let Ok(pipeline) = pb::Pipeline::decode(damaged.as_slice()) else { continue };
        match validate(pipeline).and_then(|pipeline| plan(&pipeline)) {
            Ok(plan) => {
                let _ = (explain::text(&plan), explain::dot(&plan));
                planned += 1;
            }
            Err(problems) => refused += usize::from(!problems.is_empty()),
        }
    }
    assert!(planned > 100 && refused > 100, "{planned} planned and {refused} refused: too few to show anything");
}
