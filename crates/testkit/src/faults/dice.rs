//! Chance that can be repeated: the same seed gives the same numbers on every machine and with every version of every
//! library, which is why none is used (this is SplitMix64).

/// A stream of numbers that follows from its seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// By this seed; `stream` gives independent numbers to each use of it.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Any number.
    pub const fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.any() % (high - low + 1)
    }

    /// An index of something with `length` entries.
    pub const fn index(&mut self, length: usize) -> usize {
        (self.any() % length as u64) as usize
    }

    /// True so many times in a thousand.
    pub const fn permille(&mut self, times: u64) -> bool {
        self.any() % 1000 < times
    }

    /// Puts entries into any order.
    pub fn shuffle<T>(&mut self, entries: &mut [T]) {
        for last in (1..entries.len()).rev() {
            entries.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut dice = Dice::new(1, 0);
        assert_eq!([dice.any(), dice.any()], [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67]);
        assert_ne!(Dice::new(1, 1).any(), Dice::new(1, 2).any());
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let mut dice = Dice::new(7, 0);
        assert!((0..1000).all(|_| (3..=5).contains(&dice.between(3, 5)) && dice.index(4) < 4));
        let often = (0..10_000).filter(|_| dice.permille(100)).count();
        assert!((800..1200).contains(&often), "{often}");
    }
}
