//! What environments need, one row a line.

use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_environments::environments;

use super::{in_environment, needs, numbers};

/// An environment of this kind that an SDK with this base container describes.
fn environment(urn: &str, base: &str) -> pb::Environment {
    let standard = ["bytes", "kv", "iterable", "varint", "length_prefix", "global_window", "windowed_value"];
    let mut capabilities: Vec<String> = standard.iter().map(|name| format!("beam:coder:{name}:v1")).collect();
    capabilities.push(format!("beam:version:sdk_base:{base}"));
    pb::Environment { urn: urn.to_owned(), capabilities, ..pb::Environment::default() }
}

#[test]
fn environments_languages_and_files() {
    let python = environment(environments::DOCKER, "apache/beam_python3.12_sdk:2.77.0");
    let java = environment(environments::PROCESS, "apache/beam_java17_sdk:2.77.0");
    let mut go = environment(environments::EXTERNAL, "go:apache/beam_go_sdk:2.77.0");
    go.dependencies.push(pb::ArtifactInformation::default());
    let pipeline = in_environment(in_environment(in_environment(numbers(), "p", python), "j", java), "g", go);
    let pipeline = pipeline
        .par_do("Python", "numbers", &["a"])
        .in_env("p")
        .par_do("More Python", "a", &["b"])
        .in_env("p")
        .par_do("Java", "b", &["c"])
        .in_env("j")
        .par_do("Go", "c", &["d"])
        .in_env("g");
    // The environment of `Make` does not say what it is, and its DoFn neither.
    insta::assert_snapshot!(needs(pipeline), @"
    par-do: Go, Java, Make, More Python, Python
    sdk-python: More Python, Python
    sdk-java: Java
    sdk-go: Go
    several-environments: Go, Java, Make, More Python, Python
    cross-language: Go, Java, Make
    environment-process: Java
    environment-docker: More Python, Python
    artifact-staging: Go
    ");
}

#[test]
fn an_environment_that_says_nothing_is_known_by_its_do_fns() {
    let written = |urn: &str| {
        let do_fn = pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() };
        needs(numbers().payload(|payload| payload.do_fn = Some(do_fn)))
    };
    insta::assert_snapshot!(written("beam:dofn:pickled_python_info:v1"), @"
    par-do: Make
    sdk-python: Make
    ");
    insta::assert_snapshot!(written("beam:dofn:javasdk:0.1"), @"
    par-do: Make
    sdk-java: Make
    ");
    insta::assert_snapshot!(written("beam:go:transform:dofn:v1"), @"
    par-do: Make
    sdk-go: Make
    ");
    insta::assert_snapshot!(written("somebody:else"), @"par-do: Make");
}

#[test]
fn two_environments_of_one_language_are_no_other_language() {
    let python = || environment(environments::EXTERNAL, "apache/beam_python3.12_sdk:2.77.0");
    let pipeline = in_environment(in_environment(numbers(), "py", python()), "large", python());
    insta::assert_snapshot!(needs(pipeline.par_do("Train", "numbers", &["model"]).in_env("large")), @"
    par-do: Make, Train
    sdk-python: Make, Train
    several-environments: Make, Train
    ");
}

#[test]
fn an_environment_to_choose_from_is_a_need_of_its_own() {
    let any = environment(environments::ANYOF, "apache/beam_java17_sdk:2.77.0");
    insta::assert_snapshot!(needs(in_environment(numbers(), "py", any)), @"
    par-do: Make
    sdk-java: Make
    environment-any-of: Make
    ");
}
