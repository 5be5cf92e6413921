//! Key groups: the 128 shares into which the keys of a job fall, by a hash that never changes.

use xxhash_rust::xxh3::xxh3_64;

/// How many key groups there are. Part of what is stored with a job, as the hash is.
pub const KEY_GROUPS: u8 = 128;

/// Names the hash and the number of groups; stored with durable data, so that a later version can tell.
pub const KEY_HASH_VERSION: u32 = 1;

/// One of [`KEY_GROUPS`] shares of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(u8);

impl KeyGroup {
    /// The group of a key, from the key's nested encoding.
    #[inline]
    pub fn of_key(encoded_key: &[u8]) -> Self {
        Self::of_hash(hash_key(encoded_key))
    }

    /// The group of a key, from its hash.
    #[inline]
    pub fn of_hash(hash: u64) -> Self {
        // The top bits choose the group; sorting inside a lane uses the whole hash.
        Self((hash >> 57) as u8)
    }

    /// The group with this number; `None` at [`KEY_GROUPS`] and above.
    pub fn new(index: u8) -> Option<Self> {
        (index < KEY_GROUPS).then_some(Self(index))
    }

    /// 0 to 127.
    pub fn index(self) -> u8 {
        self.0
    }
}

/// Version 1 of the hash of keys: XXH3, 64 bits, seed 0, over the nested encoding.
#[inline]
pub fn hash_key(encoded_key: &[u8]) -> u64 {
    xxh3_64(encoded_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fixed_because_it_is_stored_with_jobs() {
        assert_eq!(hash_key(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(KeyGroup::of_key(b"").index(), (0x2d06_8005_38d3_94c2_u64 >> 57) as u8);
    }

    #[test]
    fn every_group_is_reached() {
        let mut seen = [false; KEY_GROUPS as usize];
        for key in 0u32..10_000 {
            seen[KeyGroup::of_key(&key.to_be_bytes()).index() as usize] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
