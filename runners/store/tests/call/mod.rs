//! Reads the syntax of Beam's transcripts: `AfterWatermark(early=AfterCount(2))`.

use std::collections::BTreeMap;

/// A name with arguments; a number is a name without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) args: Vec<Self>,
    pub(crate) named: BTreeMap<String, Self>,
}

impl Call {
    pub(crate) fn number(&self) -> i64 {
        self.name.parse().expect("a number")
    }
}

/// # Panics
/// If it is not such a text.
pub(crate) fn parse(text: &str) -> Call {
    let mut rest = text;
    let call = read(&mut rest);
    assert_eq!(rest.trim(), "", "behind {call:?}");
    call
}

fn read(rest: &mut &str) -> Call {
    let end = rest.find(['(', ')', ',', '=']).unwrap_or(rest.len());
    let mut call = Call { name: rest[..end].trim().to_owned(), ..Call::default() };
    *rest = &rest[end..];
    if !rest.starts_with('(') {
        return call;
    }
    *rest = &rest[1..];
    while !rest.starts_with(')') {
        let arg = read(rest);
        if rest.starts_with('=') {
            *rest = &rest[1..];
            call.named.insert(arg.name, read(rest));
        } else if !arg.name.is_empty() {
            call.args.push(arg);
        }
        *rest = rest.trim_start_matches([',', ' ']);
        assert!(!rest.is_empty(), "a bracket is missing");
    }
    *rest = &rest[1..];
    call
}
