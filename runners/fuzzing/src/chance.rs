//! What decides: a seed, or bytes that somebody else chose.

/// Chance: numbers from a seed (SplitMix64, the same on every machine), or from bytes as long as there are some.
#[derive(Clone, Debug)]
pub struct Chance<'a> {
    chosen: &'a [u8],
    seed: u64,
}

impl<'a> Chance<'a> {
    /// Everything comes of this seed.
    pub fn of_seed(seed: u64) -> Self {
        Self { chosen: &[], seed }
    }

    /// The first choices are these bytes, so that whoever changes a byte changes one choice.
    pub fn of_bytes(chosen: &'a [u8]) -> Self {
        Self { chosen, seed: 0 }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        if let Some((first, rest)) = self.chosen.split_first_chunk::<8>() {
            self.chosen = rest;
            return u64::from_le_bytes(*first);
        }
        self.chosen = &[];
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        match self.chosen.split_first() {
            Some((first, rest)) if bound <= 256 => {
                self.chosen = rest;
                u64::from(*first) % bound
            }
            Some(_) | None => self.number() % bound,
        }
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these; `None` if there is none.
    pub fn pick<'b, T>(&mut self, of: &'b [T]) -> Option<&'b T> {
        match of.len() {
            0 => None,
            length => of.get(self.below(length as u64) as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_one_choice_each_and_then_the_seed_does() {
        let mut chance = Chance::of_bytes(&[3, 250, 1]);
        assert_eq!((chance.below(10), chance.below(7), chance.percent(2)), (3, 5, true));
        let mut rest = Chance::of_seed(0);
        assert_eq!((chance.number(), chance.below(9)), (rest.number(), rest.below(9)));
    }
}
