//! Metrics of kind `beam:metrics:bounded_trie:v1`: a set of paths, of which only so many are told apart (`BoundedTrie`).
//!
//! Paths are lists of segments. A trie over its bound forgets what comes after the longest prefix that many paths share, and says so
//! (`truncated`). *Laws:* a merged trie contains every path that either had; it has no more paths than the smaller bound allows; the order of
//! merging two makes no difference.

use std::collections::BTreeMap;

use prost::Message;
use purlin_proto::pipeline::v1 as pb;

/// What the SDKs' tries hold unless told otherwise.
const DEFAULT_BOUND: i32 = 100;

/// Levels that a trie may have on the wire: each is two nested messages, and decoders of SDKs stop at a hundred.
const MOST_LEVELS: usize = 40;

/// Merges two tries, or `None` where a payload is none.
pub(super) fn merge(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let (a, b) = (pb::BoundedTrie::decode(a).ok()?, pb::BoundedTrie::decode(b).ok()?);
    let bound = [a.bound, b.bound].into_iter().filter(|bound| *bound > 0).min().unwrap_or(DEFAULT_BOUND);
    let merged = match (is_empty(&a), is_empty(&b)) {
        (true, _) => pb::BoundedTrie { bound, ..b },
        (_, true) => pb::BoundedTrie { bound, ..a },
        // One path, however often it is seen, is sent as such.
        _ if a.root.is_none() && b.root.is_none() && a.singleton == b.singleton => pb::BoundedTrie { bound, ..a },
        _ => {
            let mut node = Node::of(a);
            node.merge(Node::of(b));
            while node.size > usize::try_from(bound).unwrap_or(1) {
                node.trim();
            }
            pb::BoundedTrie { bound, root: Some(node.into_proto()), singleton: Vec::new() }
        }
    };
    Some(merged.encode_to_vec())
}

fn is_empty(trie: &pb::BoundedTrie) -> bool {
    trie.root.is_none() && trie.singleton.is_empty()
}

/// A node, whose `size` is the number of paths that it tells apart: at least one, itself.
struct Node {
    truncated: bool,
    children: BTreeMap<String, Self>,
    size: usize,
}

impl Node {
    fn leaf(truncated: bool) -> Self {
        Self { truncated, children: BTreeMap::new(), size: 1 }
    }

    fn of(trie: pb::BoundedTrie) -> Self {
        if let Some(root) = trie.root {
            return Self::from_proto(root, 0);
        }
        let leaf = Self::leaf(trie.singleton.len() > MOST_LEVELS);
        trie.singleton.into_iter().take(MOST_LEVELS).rfold(leaf, |child, segment| Self {
            truncated: false,
            children: BTreeMap::from([(segment, child)]),
            size: 1,
        })
    }

    fn from_proto(node: pb::BoundedTrieNode, level: usize) -> Self {
        if node.truncated || level == MOST_LEVELS {
            return Self::leaf(node.truncated || !node.children.is_empty());
        }
        let children = node.children.into_iter().map(|(name, child)| (name, Self::from_proto(child, level + 1)));
        let mut node = Self { truncated: false, children: children.collect(), size: 1 };
        node.measure();
        node
    }

    fn into_proto(self) -> pb::BoundedTrieNode {
        let children = self.children.into_iter().map(|(name, child)| (name, child.into_proto()));
        pb::BoundedTrieNode { truncated: self.truncated, children: children.collect() }
    }

    fn measure(&mut self) {
        self.size = self.children.values().map(|child| child.size).sum::<usize>().max(1);
    }

    fn merge(&mut self, other: Self) {
        if self.truncated || other.truncated {
            *self = Self::leaf(true);
            return;
        }
        for (name, more) in other.children {
            match self.children.entry(name) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(more);
                }
                std::collections::btree_map::Entry::Occupied(mut child) => child.get_mut().merge(more),
            }
        }
        self.measure();
    }

    /// Forgets the children of the deepest node on the way along the largest ones. Each call makes a trie of more than one path smaller.
    fn trim(&mut self) {
        // The first of the largest by name, so that the result does not hang on the order of merging.
        let largest = self.children.values_mut().rev().max_by_key(|child| child.size);
        match largest {
            Some(child) if child.size > 1 => {
                child.trim();
                self.measure();
            }
            Some(_) => *self = Self::leaf(true),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    type Path = Vec<String>;

    fn trie(bound: i32, paths: impl IntoIterator<Item = Path>) -> Vec<u8> {
        let one = |path| pb::BoundedTrie { bound, root: None, singleton: path }.encode_to_vec();
        paths.into_iter().map(one).reduce(|a, b| merge(&a, &b).unwrap()).unwrap_or_default()
    }

    fn contains(trie: &[u8], path: &Path) -> bool {
        let trie = pb::BoundedTrie::decode(trie).unwrap();
        let Some(mut node) = trie.root else { return trie.singleton == *path };
        for segment in path {
            if node.truncated {
                return true;
            }
            match node.children.remove(segment) {
                Some(child) => node = child,
                None => return false,
            }
        }
        true
    }

    fn size(trie: &[u8]) -> usize {
        pb::BoundedTrie::decode(trie).unwrap().root.map_or(1, |root| Node::from_proto(root, 0).size)
    }

    fn path(text: &str) -> Path {
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn a_trie_over_its_bound_forgets_the_ends_of_what_shares_most() {
        let merged = trie(3, ["a/1", "a/2", "a/3", "b/1"].map(path));
        let root = pb::BoundedTrie::decode(&merged[..]).unwrap().root.unwrap();
        assert!(root.children["a"].truncated && !root.children["b"].truncated);
        assert!(root.children["b"].children.contains_key("1"));
    }

    #[test]
    fn one_path_stays_one_and_a_very_long_one_is_cut() {
        let long: Path = vec!["x".to_owned(); 1_000];
        let one = trie(100, [long.clone(), long.clone()]);
        assert_eq!(pb::BoundedTrie::decode(&one[..]).unwrap().singleton, long);
        let two = trie(100, [long.clone(), path("y")]);
        assert!(contains(&two, &long) && contains(&two, &path("y")));
        assert_eq!(merge(&[0xff], &two), None);
        assert_eq!(merge(&two, &[]), Some(two));
    }

    proptest! {
        #[test]
        fn a_merged_trie_contains_all_within_the_bound(
            bound in 1..8i32,
            a in btree_set(vec("[ab]", 1..5), 0..12),
            b in btree_set(vec("[ab]", 1..5), 0..12),
        ) {
            let (one, other) = (trie(bound, a.clone()), trie(bound + 3, b.clone()));
            let merged = merge(&one, &other).unwrap();
            prop_assert_eq!(&merged, &merge(&other, &one).unwrap());
            for path in a.iter().chain(&b) {
                prop_assert!(contains(&merged, path), "{:?} is gone", path);
            }
            if !a.is_empty() {
                prop_assert!(size(&merged) <= usize::try_from(bound).unwrap());
            }
        }
    }
}
