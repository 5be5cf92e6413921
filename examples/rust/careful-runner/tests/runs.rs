//! The example runs pipelines of Beam's Python SDK, refuses what its sheet says, and is what the guide shows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use careful_runner::CarefulBackend;
use purlin_backend::Registry;
use purlin_job_server::{Server, ServerConfig};

/// A program that takes longer hangs.
const PROGRAM_MAX: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

fn python() -> PathBuf {
    let given = std::env::var_os("PURLIN_TEST_PYTHON").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.unwrap_or_else(|| root().join(".env/bin/python"))
}

/// Runs a program of Beam's Python SDK against a server that offers this runner only.
async fn run(program: &str, options: &[&str]) -> Output {
    let server = Server::bind(ServerConfig::new(Registry::new().with(Arc::new(CarefulBackend)), "careful")).await;
    let server = server.unwrap();
    let mut command = tokio::process::Command::new(python());
    command.env("PYTHONDONTWRITEBYTECODE", "1").args(["-c", program, "--runner=PortableRunner"]).kill_on_drop(true);
    command.arg(format!("--job_endpoint=localhost:{}", server.port())).arg("--environment_type=LOOPBACK").args(options);
    let output = tokio::time::timeout(PROGRAM_MAX, command.output()).await.unwrap().unwrap();
    server.shutdown("the test is over").await;
    output
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const COUNT: &str = r#"
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

class Together(beam.DoFn):
    def start_bundle(self):
        self.elements = []

    def process(self, element):
        self.elements.append(element)
        assert len(self.elements) == 1, f"a bundle holds {self.elements}"
        yield element

with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as pipeline:
    words = pipeline | beam.Create(["a", "b", "a", "c", "a"]) | beam.Reshuffle() | beam.ParDo(Together())
    assert_that(words | beam.combiners.Count.PerElement(), equal_to([("a", 3), ("b", 1), ("c", 1)]))
"#;

#[tokio::test]
async fn a_pipeline_runs_with_one_element_in_each_bundle() {
    let output = run(COUNT, &[]).await;
    assert!(output.status.success(), "{}", words(&output));
}

#[tokio::test]
async fn its_option_is_heard_and_checked() {
    let told = words(&run(COUNT, &["--careful_elements_max=5"]).await);
    assert!(told.contains("a bundle holds ["), "{told}");
    let told = words(&run(COUNT, &["--careful_elements_max=0"]).await);
    assert!(told.contains("--careful_elements_max must be a whole number of at least 1, but is 0"), "{told}");
}

const STATEFUL: &str = r#"
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.userstate import CombiningValueStateSpec

class Count(beam.DoFn):
    def process(self, element, seen=beam.DoFn.StateParam(CombiningValueStateSpec("seen", sum))):
        seen.add(1)
        yield seen.read()

with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as pipeline:
    _ = pipeline | beam.Create([("k", 1)]) | beam.ParDo(Count())
"#;

#[tokio::test]
async fn what_its_sheet_lacks_is_refused_before_anything_runs() {
    let told = words(&run(STATEFUL, &[]).await);
    assert!(told.contains("runner `careful` cannot run this pipeline"), "{told}");
    assert!(told.contains("Stateful Processing (`stateful-processing`)"), "{told}");
}

const FAILING: &str = r#"
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as pipeline:
    numbers = pipeline | beam.Create(["1", "two", "3"]) | beam.Map(int)
    assert_that(numbers, equal_to([1, 3]))
"#;

#[tokio::test]
async fn what_every_runner_does_with_dead_letters_it_does_too() {
    let folder = tempfile::tempdir().unwrap();
    let dead_letters = format!("--dead_letter_dir={}", folder.path().display());
    let output = run(FAILING, &[&dead_letters]).await;
    assert!(output.status.success(), "{}", words(&output));
    let files = purlin_backend::read_dead_letters(folder.path(), purlin_backend::LetterFiles::Left).unwrap();
    let letters: Vec<_> = files.into_iter().flat_map(|file| file.letters).collect();
    assert_eq!(letters.iter().map(|letter| letter.text.as_str()).collect::<Vec<_>>(), ["\"two\""]);
}

/// The tests of streams, of `runners/cli/tests/streaming`, that need no state.
const STREAMS: [&str; 5] = [
    "test_groupings.py",
    "test_sources.py",
    "test_side_inputs.py",
    "test_known_defects.py::test_two_sources_that_never_rest_take_turns",
    "test_known_defects.py::test_a_source_that_never_rests_leaves_room_for_what_is_bounded",
];

#[tokio::test]
async fn streams_are_what_its_sheet_says() {
    let config = ServerConfig {
        // A bundle for each element is too slow for sources that never rest.
        job_options: BTreeMap::from([("careful_elements_max".to_owned(), "1000".to_owned())]),
        ..ServerConfig::new(Registry::new().with(Arc::new(CarefulBackend)), "careful")
    };
    let server = Server::bind(config).await.unwrap();
    let tests = root().join("runners/cli/tests");
    let mut command = tokio::process::Command::new(python());
    command.args(["-m", "pytest", "-q", "--tb=short", "--timeout=60", "-p", "no:cacheprovider"]).args(STREAMS);
    command.current_dir(tests.join("streaming")).env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
    command.env("PYTHONPATH", tests.join("shared")).env("PURLIN_RUNNER", "careful");
    command.env("PURLIN_ENDPOINT", format!("localhost:{}", server.port()));
    let output = tokio::time::timeout(PROGRAM_MAX, command.output()).await.unwrap().unwrap();
    server.shutdown("the test is over").await;
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn the_guide_shows_this_code() {
    let guide = std::fs::read_to_string(root().join("docs/guide/write-a-runner.md")).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["Cargo.toml", "careful.toml", "src/lib.rs", "src/schedule.rs", "src/backend.rs", "src/main.rs"];
    let sources: Vec<_> = files.iter().map(|file| std::fs::read_to_string(folder.join(file)).unwrap()).collect();
    let blocks: Vec<_> = guide.split("```").skip(1).step_by(2).collect();
    let shown = blocks.iter().filter_map(|block| block.strip_prefix("rust\n").or(block.strip_prefix("toml\n")));
    let mut count = 0;
    for block in shown {
        assert!(sources.iter().any(|source| source.contains(block)), "no file of the example holds:\n{block}");
        count += 1;
    }
    assert!(count >= 4, "the guide shows {count} pieces of code");
    let lines: usize =
        files.iter().filter(|file| file.ends_with(".rs")).zip(&sources[2..]).map(|(_, it)| it.lines().count()).sum();
    assert!(lines < 200, "the example has grown to {lines} lines");
}
