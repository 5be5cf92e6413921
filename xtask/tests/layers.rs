//! The layers of the workspace: each crate uses only crates that stand below it.
//!
//! ```text
//!   7 benchmarks, xtask ► 6 cli, careful-runner, fuzzing ► 5 job-server ► 4 direct, micro-batch, continuous, fn-api, native ► 3 backend ► 2 plan, store ► 1 engine, proto, capability-matrix ► 0 model
//! ```
//! The table is drawn in docs/ARCHITECTURE.md too; a new crate gets its place in both.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod tree;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Each crate's layer, and what it is.
const LAYERS: [(&str, u32); 19] = [
    ("purlin-model", 0),
    ("purlin-proto", 1),
    ("purlin-capability-matrix", 1),
    ("purlin-engine", 1),
    ("purlin-plan", 2),
    // The store implements traits of the engine and needs nothing else; the executors write through it.
    ("purlin-store", 2),
    ("purlin-backend", 3),
    ("purlin-direct", 4),
    ("purlin-micro-batch", 4),
    ("purlin-continuous", 4),
    ("purlin-fn-api", 4),
    ("purlin-native", 4),
    ("purlin-job-server", 5),
    ("purlin-simulation", 5),
    ("purlin-cli", 6),
    ("purlin-fuzzing", 6),
    ("careful-runner", 6),
    ("purlin-benchmarks", 7),
    ("xtask", 7),
];

/// What the pure crates must not use themselves: runtimes, servers, clocks, threads, randomness, files.
const IMPURE: [&str; 8] = ["tokio", "tonic", "rayon", "rand", "tracing", "rustix", "tempfile", "futures-util"];

/// Crates that are functions of their arguments.
const PURE: [&str; 4] = ["purlin-model", "purlin-capability-matrix", "purlin-engine", "purlin-plan"];

fn workspace() -> Metadata {
    MetadataCommand::new().current_dir(tree::root()).no_deps().exec().expect("cargo knows the workspace")
}

fn layers() -> BTreeMap<&'static str, u32> {
    LAYERS.into_iter().collect()
}

#[test]
fn each_crate_has_a_layer() {
    let found: BTreeSet<String> = workspace().packages.iter().map(|package| package.name.to_string()).collect();
    let listed: BTreeSet<String> = LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, listed, "the crates of the workspace and the table of layers in this test differ");
}

#[test]
fn each_crate_uses_only_lower_layers() {
    let layers = layers();
    let mut complaints = Vec::new();
    for package in workspace().packages {
        let name = package.name.as_str();
        for dependency in &package.dependencies {
            let (Some(own), Some(used)) = (layers.get(name), layers.get(dependency.name.as_str())) else { continue };
            // Tests may look sideways: a runner is tested with an executor.
            let allowed = if dependency.kind == DependencyKind::Development { used <= own } else { used < own };
            if !allowed {
                complaints.push(format!("{name} (layer {own}) uses {} (layer {used})", dependency.name));
            }
        }
    }
    tree::assert_none(&complaints, "a crate uses only what stands below it; see docs/ARCHITECTURE.md");
}

#[test]
fn pure_crates_name_nothing_impure() {
    let mut complaints = Vec::new();
    for package in workspace().packages.iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|used| used.kind == DependencyKind::Normal) {
            if IMPURE.contains(&dependency.name.as_str()) {
                complaints.push(format!("{} uses {}", package.name, dependency.name));
            }
        }
    }
    tree::assert_none(&complaints, "model, capability-matrix, engine and plan are pure");
}

#[test]
fn each_dependency_is_used() {
    let mut complaints = Vec::new();
    for package in workspace().packages {
        let sources = sources(&package);
        for dependency in &package.dependencies {
            let ident = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            let generated = package.name == "purlin-proto" && ["prost", "tonic", "tonic_prost"].contains(&&*ident);
            if !generated && !sources.contains(&ident) {
                complaints.push(format!("{} does not use {}", package.name, dependency.name));
            }
        }
    }
    tree::assert_none(&complaints, "a dependency that nothing uses costs build time; remove it from the manifest");
}

#[test]
fn versions_stand_in_the_workspace_only() {
    let mut complaints = Vec::new();
    for package in workspace().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("cargo has just read it");
        let own: Vec<_> =
            manifest.lines().filter(|line| line.contains("version = \"") || line.contains("path = \"../")).collect();
        complaints.extend(own.iter().map(|line| format!("{}: {line}", package.name)));
    }
    tree::assert_none(&complaints, "one version per dependency: name it in [workspace.dependencies] of the root");
}

/// All Rust text of a package.
fn sources(package: &Package) -> String {
    let folder = package.manifest_path.parent().expect("a manifest stands in a folder");
    let inside = folder.strip_prefix(tree::root()).expect("packages stand in the repository").as_str().to_owned() + "/";
    let files = tree::files().into_iter().filter(|file| file.is("rs") && file.path.starts_with(&inside));
    files.map(|file| file.text()).collect()
}
