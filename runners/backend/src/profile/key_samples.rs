//! Keys that were looked at now and then, with the elements that each stands for.

use std::collections::BTreeMap;

use bytes::Bytes;
use purlin_model::key_group::KeyGroup;

/// So many keys are counted at once. A key with more than this share of the weight is always among them.
const KEYS_MAX: usize = 256;

/// Longer keys are not kept: a key of a megabyte is no help to whoever reads a profile.
const KEY_BYTES_MAX: usize = 1 << 10;

/// The heaviest keys of a stream of samples, after Misra and Gries: when there are too many, all lose what the lightest
/// has. What is left of a key is at most its true weight, and at least that less the total divided by [`KEYS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySamples {
    weights: BTreeMap<Bytes, u64>,
    /// Of all samples, by key group.
    totals: BTreeMap<KeyGroup, u64>,
}

impl KeySamples {
    /// Adds a sample that stands for so many elements.
    pub fn add(&mut self, key: &[u8], weight: u64) {
        *self.totals.entry(KeyGroup::of_key(key)).or_default() += weight;
        if key.len() > KEY_BYTES_MAX {
            return;
        }
        match self.weights.get_mut(key) {
            Some(known) => *known += weight,
            None => self.insert(Bytes::copy_from_slice(key), weight),
        }
    }

    /// Adds the samples of another.
    pub fn merge(&mut self, other: Self) {
        for (group, total) in other.totals {
            *self.totals.entry(group).or_default() += total;
        }
        for (key, weight) in other.weights {
            match self.weights.get_mut(&key) {
                Some(known) => *known += weight,
                None => self.insert(key, weight),
            }
        }
    }

    fn insert(&mut self, key: Bytes, weight: u64) {
        self.weights.insert(key, weight);
        if self.weights.len() > KEYS_MAX {
            let least = self.weights.values().copied().min().unwrap_or_default();
            self.weights.retain(|_, weight| {
                *weight -= least;
                *weight > 0
            });
        }
    }

    /// The heaviest key of a key group, and which part of the group's elements it is, so far as samples tell.
    pub fn heaviest(&self, group: KeyGroup) -> Option<(&Bytes, f64)> {
        let of_group = self.weights.iter().filter(|(key, _)| KeyGroup::of_key(key) == group);
        let (key, weight) = of_group.max_by_key(|(_, weight)| **weight)?;
        let total = self.totals.get(&group).copied().unwrap_or_default().max(1);
        Some((key, *weight as f64 / total as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heavy_key_is_found_among_many() {
        let mut samples = KeySamples::default();
        for number in 0u32..100_000 {
            samples.add(&number.to_be_bytes(), 1);
            if number % 4 == 0 {
                samples.add(b"heavy", 1);
            }
        }
        let group = KeyGroup::of_key(b"heavy");
        let (key, share) = samples.heaviest(group).expect("there are samples");
        assert_eq!(&key[..], b"heavy");
        assert!(share > 0.9, "{share}: the other keys of its group are one in 128");
    }

    #[test]
    fn merging_is_as_adding() {
        let (mut all, mut left, mut right) = (KeySamples::default(), KeySamples::default(), KeySamples::default());
        for (number, key) in [b"a", b"b", b"a", b"c", b"a"].into_iter().enumerate() {
            all.add(key, 2);
            if number % 2 == 0 { left.add(key, 2) } else { right.add(key, 2) }
        }
        left.merge(right);
        assert_eq!(left, all);
    }

    #[test]
    fn of_an_empty_group_there_is_no_heaviest_key() {
        let mut samples = KeySamples::default();
        samples.add(&vec![7; KEY_BYTES_MAX + 1], 5);
        assert_eq!(samples.heaviest(KeyGroup::of_key(b"a")), None);
        assert_eq!(samples.weights.len(), 0, "a key that is too long is only counted");
    }
}
