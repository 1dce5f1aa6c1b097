// SPDX-License-Identifier: GPL-2.0

//! Random numbers that are the same for the same seed, everywhere.

/// A generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator for one purpose: what `path` names, below `seed`.
    pub fn new(seed: u64, path: &[u64]) -> Self {
        let mut rng = Self(seed);
        for &part in path {
            let mixed = rng.next() ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            rng = Self(mixed);
        }
        rng
    }

    /// Any number.
    #[allow(clippy::should_implement_trait)] // Not an iterator: it has no end.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// One of `all`.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A number that is likely to be at a boundary.
    pub fn edge(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(4) as u64,
            1 => u64::MAX - self.below(3) as u64,
            2 => (1 << self.below(64)) + self.below(3) as u64 - 1,
            3 => 0x7fff_ffff + self.below(3) as u64,
            4 => 0xffff_ffff - self.below(3) as u64,
            5 => self.below(70_000) as u64,
            6 => 512 * self.below(300) as u64,
            _ => self.next(),
        }
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_path_give_the_same_numbers() {
        let mut one = Rng::new(7, &[1, 2]);
        let mut other = Rng::new(7, &[1, 2]);
        let first: Vec<u64> = (0..100).map(|_| one.next()).collect();
        assert_eq!(first, (0..100).map(|_| other.next()).collect::<Vec<_>>());
        assert_ne!(first[0], Rng::new(7, &[2, 1]).next());
        assert_ne!(first[0], Rng::new(8, &[1, 2]).next());
    }
}
