//! A Bloom filter: which cells a run does not hold.
//!
//! ```text
//!   hash of an address ─insert─► bits ─may_hold─► no: surely not │ yes: all but one time in a hundred
//! ```

/// With seven looks at ten bits for each address, a hundredth of those that are not there look as if they were.
const BITS_PER_ADDRESS: u64 = 10;
const LOOKS: u64 = 7;

/// What a run may hold.
#[derive(Debug)]
pub(super) struct Filter {
    words: Box<[u64]>,
}

impl Filter {
    /// A filter for about so many addresses.
    pub(super) fn new(addresses: u64) -> Self {
        let words = (addresses * BITS_PER_ADDRESS).div_ceil(64).max(1);
        Self { words: vec![0; words as usize].into() }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        for bit in bits(hash, self.words.len()) {
            self.words[bit / 64] |= 1 << (bit % 64);
        }
    }

    pub(super) fn may_hold(&self, hash: u64) -> bool {
        bits(hash, self.words.len()).all(|bit| self.words[bit / 64] & (1 << (bit % 64)) != 0)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.words.len() as u64 * 8
    }
}

/// Where to look, from two halves of one hash.
fn bits(hash: u64, words: usize) -> impl Iterator<Item = usize> {
    let (from, step) = (hash, hash.rotate_left(32) | 1);
    let count = words as u64 * 64;
    (0..LOOKS).map(move |look| (from.wrapping_add(step.wrapping_mul(look)) % count) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn what_is_in_it_is_found_and_little_else() {
        let hash = |number: u64| xxh3_64(&number.to_le_bytes());
        let mut filter = Filter::new(1_000);
        (0..1_000).for_each(|number| filter.insert(hash(number)));
        assert!((0..1_000).all(|number| filter.may_hold(hash(number))));
        let wrong = (1_000..11_000).filter(|number| filter.may_hold(hash(*number))).count();
        assert!(wrong < 300, "{wrong} of 10000");
    }
}
