//! The order of the tree: what every file keeps to, whoever writes it.
//!
//! Each rule is one test that names all offenders. The reasons stand in CONTRIBUTING.md.

mod tree;

use tree::{TreeFile, assert_none, files, root};

/// Where a file should have been split long ago.
const LINES_MAX: usize = 600;

fn sources() -> Vec<TreeFile> {
    let sources: Vec<_> = files().into_iter().filter(|file| file.is("rs") || file.is("py")).collect();
    assert!(!sources.is_empty(), "there is no source");
    sources
}

/// Every line of every file of text that contains one of these, as `path:line: why`.
fn lines_with(files: &[TreeFile], offends: impl Fn(&str) -> Option<&'static str>) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in file.text().lines().enumerate() {
            if let Some(why) = offends(line) {
                complaints.push(format!("{}:{}: {why}", file.path, number + 1));
            }
        }
    }
    complaints
}

#[test]
fn every_module_says_what_it_is() {
    let mut complaints = Vec::new();
    for file in sources() {
        let text = file.text();
        let opens_well = if file.is("rs") {
            text.starts_with("//! ")
        } else {
            text.starts_with("\"\"\"")
                || text.starts_with("#!") && text.lines().nth(1).is_some_and(|line| line.starts_with("\"\"\""))
        };
        if !opens_well {
            complaints.push(file.path);
        }
    }
    assert_none(&complaints, "a module opens with a sentence of purpose (`//! …` in Rust, a docstring in Python)");
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().map(|file| (file.text().lines().count(), file.path));
    let complaints: Vec<_> =
        long.filter(|(lines, _)| *lines > LINES_MAX).map(|(lines, path)| format!("{path}: {lines} lines")).collect();
    assert_none(&complaints, "a file of more than 600 lines holds a second idea: give it a name and a file");
}

#[test]
fn nothing_is_left_undone_or_waits_by_the_clock() {
    // Put together here, so that this file does not complain of itself.
    let banned = [
        (concat!("to", "do!("), "not written yet"),
        (concat!("unimple", "mented!("), "not written yet"),
        (concat!("#[ig", "nore"), "a test that is never run proves nothing: assert what happens today"),
        (concat!("thread::sl", "eep("), "wait for what is awaited, not for a time"),
        (concat!("sleep(Dur", "ation::from"), "wait for what is awaited, not for a time"),
    ];
    let rust: Vec<_> = sources().into_iter().filter(|file| file.is("rs")).collect();
    let offends = |line: &str| banned.iter().find(|(text, _)| line.contains(text)).map(|(_, why)| *why);
    assert_none(&lines_with(&rust, offends), "banned in source");
}

#[test]
fn no_path_of_somebodys_machine() {
    let here = root().to_str().expect("the repository's path is UTF-8").to_owned();
    // A clone directly below the root would find its own path in other words.
    let here = (here.matches('/').count() > 1).then_some(here);
    let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("C:\\Us", "ers")];
    let offends = |line: &str| {
        let home = homes.iter().any(|home| line.contains(home));
        (home || here.as_ref().is_some_and(|here| line.contains(here.as_str()))).then_some("a path of one machine")
    };
    assert_none(&lines_with(&files(), offends), "paths must be relative to the repository or chosen by the user");
}

#[test]
fn unfinished_snapshots_and_stray_files_are_not_kept() {
    let stray = [".snap.new", ".orig", ".rej", ".pyc", ".DS_Store"];
    let complaints: Vec<_> =
        files().into_iter().map(|file| file.path).filter(|path| stray.iter().any(|end| path.ends_with(end))).collect();
    assert_none(&complaints, "not for the repository");
}

#[test]
fn the_engine_bans_what_would_make_it_impure() {
    let bans =
        std::fs::read_to_string(root().join("runners/engine/clippy.toml")).expect("the engine has a clippy.toml");
    let banned = [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::thread::spawn",
        "std::thread::sleep",
        "std::collections::HashMap",
        "std::fs::File",
    ];
    let missing: Vec<_> = banned.iter().filter(|ban| !bans.contains(*ban)).map(|ban| (*ban).to_owned()).collect();
    assert_none(&missing, "runners/engine/clippy.toml does not ban");
    let shared = std::fs::read_to_string(root().join("clippy.toml")).expect("the workspace has a clippy.toml");
    // A crate's clippy.toml replaces the workspace's instead of adding to it.
    let lost: Vec<_> =
        shared.lines().filter(|line| !line.is_empty() && !bans.contains(line)).map(str::to_owned).collect();
    assert_none(&lost, "runners/engine/clippy.toml must repeat the workspace's own lines");
}

#[test]
fn the_core_orders_its_maps() {
    let core: Vec<_> = files().into_iter().filter(|file| file.path.starts_with("runners/engine/src/core/")).collect();
    assert!(!core.is_empty(), "the engine's core has moved; mend this test");
    let offends = |line: &str| {
        (line.contains("HashMap") || line.contains("HashSet")).then_some("its order differs from run to run")
    };
    assert_none(&lines_with(&core, offends), "the same events must give the same actions: use BTreeMap or BTreeSet");
}

#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let scripts = files().into_iter().filter(|file| file.path == ".ci/run" || file.text().starts_with("#!/"));
    let complaints: Vec<_> = scripts
        .filter(|file| file.place().metadata().is_ok_and(|found| found.permissions().mode() & 0o111 == 0))
        .map(|file| file.path)
        .collect();
    assert_none(&complaints, "has a first line for an interpreter, but is not executable");
}
