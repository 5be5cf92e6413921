//! The groups of a share: each key and window gets a number, found by hash.
//!
//! ```text
//!   (window 2, key "a") ─hash─► slot ─► group 7: 3 values, 120 bytes, timestamps 5 to 9
//! ```
//! Costs one look into a table per element, and keeps one copy of each key.

use std::collections::BTreeSet;

use purlin_model::time::EventTime;
use purlin_model::window::BoundedWindow;

use super::merger::Merger;
use super::window_table::WindowTable;
use crate::kernel::KernelError;

/// What is known of a group before its values are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// By number in the table of windows.
    pub(super) window: u32,
    pub(super) hash: u64,
    key_start: usize,
    pub(super) key_length: u32,
    /// How many values.
    pub(super) values: u64,
    /// How many bytes they have.
    pub(super) bytes: u64,
    pub(super) least: EventTime,
    pub(super) latest: EventTime,
}

pub(super) struct GroupTable {
    groups: Vec<Group>,
    keys: Vec<u8>,
    /// Numbers of groups by hash, [`EMPTY`] where there is none. As many as a power of two, at most half full.
    slots: Vec<u32>,
}

const EMPTY: u32 = u32::MAX;
const SLOTS_FIRST: usize = 256;

/// Spreads windows over the slots that a key's hash would find alone.
#[inline]
fn slot_hash(window: u32, hash: u64) -> u64 {
    hash ^ u64::from(window).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl GroupTable {
    pub(super) fn new() -> Self {
        Self { groups: Vec::new(), keys: Vec::new(), slots: vec![EMPTY; SLOTS_FIRST] }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    #[inline]
    pub(super) fn key(&self, group: &Group) -> &[u8] {
        &self.keys[group.key_start..][..group.key_length as usize]
    }

    /// The number of the group of this window and key.
    #[inline]
    pub(super) fn number(&mut self, window: u32, hash: u64, key: &[u8]) -> u32 {
        let mask = self.slots.len() - 1;
        let mut slot = slot_hash(window, hash) as usize & mask;
        loop {
            let number = self.slots[slot];
            if number == EMPTY {
                return self.insert(slot, window, hash, key);
            }
            let group = &self.groups[number as usize];
            if group.hash == hash && group.window == window && self.key(group) == key {
                return number;
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, slot: usize, window: u32, hash: u64, key: &[u8]) -> u32 {
        let number = self.groups.len() as u32;
        self.groups.push(Group {
            window,
            hash,
            key_start: self.keys.len(),
            key_length: key.len() as u32,
            values: 0,
            bytes: 0,
            least: EventTime::MAX,
            latest: EventTime::MIN,
        });
        self.keys.extend_from_slice(key);
        self.slots[slot] = number;
        if self.groups.len() * 2 > self.slots.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots = vec![EMPTY; mask + 1];
        for (number, group) in self.groups.iter().enumerate() {
            let mut slot = slot_hash(group.window, group.hash) as usize & mask;
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = number as u32;
        }
    }

    /// Counts one more value.
    #[inline]
    pub(super) fn count(&mut self, number: u32, bytes: usize, timestamp: EventTime) {
        let group = &mut self.groups[number as usize];
        group.values += 1;
        group.bytes += bytes as u64;
        group.least = group.least.min(timestamp);
        group.latest = group.latest.max(timestamp);
    }

    /// Merges the windows of each key. By number of group: the group that it becomes. `None` if an SDK must be asked first.
    pub(super) fn merge(
        &mut self,
        windows: &mut WindowTable,
        merger: &mut Merger<'_>,
    ) -> Result<Option<Vec<u32>>, KernelError> {
        let mut by_key: Vec<u32> = (0..self.groups.len() as u32).collect();
        by_key.sort_unstable_by(|a, b| {
            let (a, b) = (&self.groups[*a as usize], &self.groups[*b as usize]);
            a.hash.cmp(&b.hash).then_with(|| self.key(a).cmp(self.key(b)))
        });
        let mut into: Vec<u32> = (0..self.groups.len() as u32).collect();
        let mut rest = by_key.as_slice();
        let mut complete = true;
        while let Some(first) = rest.first() {
            let first = self.groups[*first as usize];
            let same = rest.iter().take_while(|other| {
                let other = &self.groups[**other as usize];
                other.hash == first.hash && self.key(other) == self.key(&first)
            });
            let (same, others) = rest.split_at(same.count());
            rest = others;
            if same.len() < 2 {
                continue;
            }
            let distinct: BTreeSet<&BoundedWindow> =
                same.iter().map(|number| windows.window(self.groups[*number as usize].window)).collect();
            let key = self.key(&first).to_vec();
            let Some(becomes) = merger.becomes(&key, &distinct)? else {
                complete = false;
                continue;
            };
            let were: Vec<(u32, Group)> = same.iter().map(|number| (*number, self.groups[*number as usize])).collect();
            for (number, _) in &were {
                let group = &mut self.groups[*number as usize];
                (group.values, group.bytes) = (0, 0);
                (group.least, group.latest) = (EventTime::MAX, EventTime::MIN);
            }
            for (number, group) in were {
                let window = match becomes.get(windows.window(group.window)) {
                    Some(merged) => windows.number(merged.clone()),
                    None => group.window,
                };
                let target = self.number(window, group.hash, &key);
                into[number as usize] = target;
                let target = &mut self.groups[target as usize];
                target.values += group.values;
                target.bytes += group.bytes;
                target.least = target.least.min(group.least);
                target.latest = target.latest.max(group.latest);
            }
        }
        Ok(complete.then_some(into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use purlin_model::key_group::hash_key;
    use std::collections::BTreeMap;

    proptest! {
        /// Numbers are those of a plain map, however hashes collide.
        #[test]
        fn each_key_and_window_has_one_number(
            elements in proptest::collection::vec((0u32..4, proptest::collection::vec(any::<u8>(), 0..3)), 0..600),
            collide in any::<bool>(),
        ) {
            let mut table = GroupTable::new();
            let mut known = BTreeMap::new();
            for (window, key) in &elements {
                let hash = if collide { 5 } else { hash_key(key) };
                let number = table.number(*window, hash, key);
                let next = known.len() as u32;
                prop_assert_eq!(number, *known.entry((*window, key.clone())).or_insert(next));
                table.count(number, key.len(), EventTime::MIN);
                prop_assert_eq!(table.key(&table.groups()[number as usize]), &key[..]);
            }
            prop_assert_eq!(table.groups().iter().map(|group| group.values).sum::<u64>(), elements.len() as u64);
        }
    }
}
