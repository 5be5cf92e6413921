//! The documents hold together: links lead somewhere, words point at their types, dependencies have their reasons.
//!
//! Reads Markdown only as far as links, tables, headings and fences go.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod tree;

use std::path::{Path, PathBuf};

use tree::{TreeFile, assert_none, files, root};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<TreeFile> {
    files().into_iter().filter(|file| file.is("md")).collect()
}

/// All `[text](target)` outside of fences, in order.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](").filter(|_| !fenced) {
            let Some((target, behind)) = after.split_once(')') else { break };
            found.push((before.rsplit_once('[').map_or(before, |(_, name)| name), target));
            rest = behind;
        }
    }
    found
}

/// The file that a link leads to; nothing if it leads out of the repository or stays in its document.
fn target(from: &str, link: &str) -> Option<PathBuf> {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    Some(root().join(from).parent().unwrap_or(Path::new("")).join(path))
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for document in documents() {
        for (_, link) in links(&document.text()) {
            if target(&document.path, link).is_some_and(|file| !file.exists()) {
                complaints.push(format!("{}: {link}", document.path));
            }
        }
    }
    assert_none(&complaints, "a link leads nowhere");
}

#[test]
fn the_glossarys_words_are_types() {
    let path = "docs/GLOSSARY.md";
    let text = read(path);
    let mut complaints = Vec::new();
    let mut words = 0;
    for (name, link) in links(&text) {
        let Some(file) = target(path, link) else { continue };
        let Some(item) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else { continue };
        words += 1;
        // `Action::StartBundle` is defined where both words stand.
        let source = std::fs::read_to_string(file).unwrap_or_default();
        let mut parts = item.split("::");
        let defined = parts.next().is_some_and(|name| defines(&source, name));
        if !defined || !parts.all(|part| source.contains(part)) {
            complaints.push(format!("{item} is not defined in {link}"));
        }
    }
    assert!(words > 30, "the glossary links only {words} words to their types");
    assert_none(&complaints, "docs/GLOSSARY.md");
}

/// Whether a file defines an item: by a keyword, or as a line of a macro that makes many.
fn defines(source: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    let by_keyword = ["struct", "enum", "trait", "type", "fn", "const", "message"].iter().any(|kind| {
        let definition = format!("{kind} {name}");
        source.match_indices(&definition).any(|(at, _)| ends(&source[at + definition.len()..]))
    });
    let by_macro = |line: &str| {
        line.trim().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ';', ':']))
    };
    by_keyword || source.lines().any(by_macro)
}

#[test]
fn decisions_are_numbered_and_name_the_road_not_taken() {
    let decisions: Vec<_> = documents().into_iter().filter(|file| file.path.starts_with("docs/decisions/")).collect();
    assert!(!decisions.is_empty(), "there are no decisions");
    let mut complaints = Vec::new();
    for (position, decision) in decisions.iter().enumerate() {
        let number = format!("docs/decisions/{:04}-", position + 1);
        if !decision.path.starts_with(&number) {
            complaints.push(format!("{}: the next number is {:04}", decision.path, position + 1));
        }
        let text = decision.text();
        for heading in ["## Decision", "## Why", "## The road not taken"] {
            if !text.contains(heading) {
                complaints.push(format!("{} has no `{heading}`", decision.path));
            }
        }
        if text.lines().count() > 80 {
            complaints.push(format!("{} is longer than a page", decision.path));
        }
    }
    assert_none(&complaints, "docs/decisions");
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let (_, after) = manifest.split_once("[workspace.dependencies]").expect("the workspace has dependencies");
    let section = after.split("\n[").next().unwrap_or_default();
    let changelog = read("CHANGELOG.md");
    let names = section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let complaints: Vec<_> = names
        .filter(|name| !name.starts_with("purlin-") && !changelog.contains(&format!("`{name}`")))
        .map(str::to_owned)
        .collect();
    assert_none(&complaints, "CHANGELOG.md names each dependency in backticks, with its reason; not yet");
}

#[test]
fn the_readme_begins_with_three_commands() {
    let readme = read("README.md");
    let block = readme.split("```").nth(1).expect("the README has a fenced block");
    let commands: Vec<_> = block.lines().skip(1).filter(|line| !line.is_empty()).collect();
    let [clone, wordcount, test] = commands[..] else { panic!("not three commands: {commands:?}") };
    assert!(clone.starts_with("git clone ") && clone.ends_with("&& cd purlin"), "{clone}");
    assert_eq!(wordcount, "cargo xtask wordcount");
    assert_eq!(test, "cargo xtask test");
}

#[test]
fn the_architecture_draws_every_crate() {
    let architecture = read("docs/ARCHITECTURE.md");
    let manifest = read("Cargo.toml");
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    let complaints: Vec<_> = members
        .split('"')
        .filter(|member| member.contains('/') && !architecture.contains(&format!("`{member}`")))
        .map(str::to_owned)
        .collect();
    assert_none(&complaints, "docs/ARCHITECTURE.md does not map");
    let words = architecture.split_whitespace().count();
    assert!(words < 3500, "docs/ARCHITECTURE.md has {words} words: more than fifteen minutes");
}
