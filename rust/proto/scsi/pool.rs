// SPDX-License-Identifier: GPL-2.0

//! The pool that a thinly provisioned logical unit takes its blocks from
//! (SBC-3, "Logical block provisioning", "Thresholds").
//!
//! A block device does not say how full its pool is. Who knows tells it.

/// What is known of the pool.
///
/// # Invariants
///
/// `used` is at most `size`, `threshold` at most 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    used: u64,
    size: u64,
    threshold: u8,
}

/// Log2 of the bytes of a threshold set.
const SET_SHIFT: u32 = 20;

impl Pool {
    /// Nothing is known.
    pub const NONE: Pool = Pool {
        used: 0,
        size: 0,
        threshold: 0,
    };

    /// `used` of `size` bytes, with no threshold. None if more is used than there is,
    /// or there is nothing.
    pub const fn new(used: u64, size: u64) -> Option<Self> {
        if used > size || size == 0 {
            return None;
        }
        // INVARIANT: just checked.
        Some(Pool {
            used,
            size,
            threshold: 0,
        })
    }

    /// Reads `USED/SIZE`, two numbers of bytes, or `none`. None for anything else.
    pub fn parse(value: &[u8], threshold: u8) -> Option<Self> {
        if value == b"none" {
            return Some(Pool::NONE.with_threshold(threshold));
        }
        let mut numbers = value.split(|byte| *byte == b'/').map(number);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(used)), Some(Some(size)), None) => {
                Some(Pool::new(used, size)?.with_threshold(threshold))
            }
            _ => None,
        }
    }

    /// The same pool with another threshold, in percent; 0 is none.
    pub fn with_threshold(self, percent: u8) -> Self {
        // INVARIANT: at most 100.
        Pool {
            threshold: percent.min(100),
            ..self
        }
    }

    /// Whether anything is known.
    pub const fn is_known(&self) -> bool {
        self.size != 0
    }

    /// Bytes that are used.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Bytes that there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The soft threshold: percent of the pool that are used; 0 is none.
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// THRESHOLD EXPONENT: a threshold set is two to its power blocks, which
    /// are a MiB. Zero if nothing is known. `block_size` is in bytes.
    pub fn threshold_exponent(&self, block_size: u32) -> u8 {
        if !self.is_known() {
            return 0;
        }
        SET_SHIFT.saturating_sub(block_size.trailing_zeros()) as u8
    }

    /// Used threshold sets; one of which some is used counts.
    pub fn used_sets(&self) -> u32 {
        sets(self.used, true)
    }

    /// Available threshold sets.
    pub fn available_sets(&self) -> u32 {
        sets(self.size, false).saturating_sub(self.used_sets())
    }

    /// THRESHOLD COUNT: the used sets at which initiators are told. None if
    /// there is no threshold, or nothing is known of the pool.
    pub fn threshold_sets(&self) -> Option<u32> {
        if self.threshold == 0 || !self.is_known() {
            return None;
        }
        let percent = u64::from(self.threshold);
        let whole = (self.size / 100).saturating_mul(percent);
        let rest = (self.size % 100).saturating_mul(percent) / 100;
        Some(sets(whole.saturating_add(rest), true))
    }

    /// Whether the threshold is reached.
    pub fn is_reached(&self) -> bool {
        self.threshold_sets()
            .is_some_and(|count| self.used_sets() >= count)
    }

    /// How much is used, in percent, rounded down; 0 if nothing is known.
    pub fn percent(&self) -> u8 {
        let percent = match self.used.checked_mul(100) {
            Some(used) => used.checked_div(self.size),
            // So large that a hundredth is near enough.
            None => self.used.checked_div(self.size / 100),
        };
        percent.unwrap_or(0).min(100) as u8
    }
}

/// Bytes in threshold sets.
fn sets(bytes: u64, up: bool) -> u32 {
    let rest = if up { (1u64 << SET_SHIFT) - 1 } else { 0 };
    u32::try_from(bytes.saturating_add(rest) >> SET_SHIFT).unwrap_or(u32::MAX)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    const MIB: u64 = 1 << 20;

    fn pool(used: u64, size: u64, threshold: u8) -> Pool {
        Pool::parse(format!("{used}/{size}").as_bytes(), threshold).unwrap()
    }

    #[test]
    fn values() {
        assert_eq!(Pool::parse(b"none", 0), Some(Pool::NONE));
        assert_eq!(Pool::parse(b"none", 80).map(|p| p.threshold()), Some(80));
        let p = pool(3, 10, 80);
        assert_eq!((p.used(), p.size(), p.threshold()), (3, 10, 80));
        for bad in [
            &b""[..],
            b"/",
            b"1/",
            b"/1",
            b"2/1",
            b"0/0",
            b"1/2/3",
            b"-1/2",
            b"1 /2",
            b"0x1/2",
            b"None",
            b"1/18446744073709551616",
        ] {
            assert_eq!(Pool::parse(bad, 0), None, "{bad:?}");
        }
        assert_eq!(pool(0, u64::MAX, 101).threshold(), 100);
        assert_eq!(p.with_threshold(200).threshold(), 100);
    }

    #[test]
    fn threshold_sets_are_a_mebibyte() {
        assert_eq!(pool(0, 1, 0).threshold_exponent(512), 11);
        assert_eq!(pool(0, 1, 0).threshold_exponent(4096), 8);
        assert_eq!(Pool::NONE.threshold_exponent(512), 0);
        let p = pool(10 * MIB + 1, 100 * MIB + 1, 80);
        assert_eq!((p.used_sets(), p.available_sets()), (11, 89));
        assert_eq!(p.threshold_sets(), Some(80));
        assert_eq!(p.percent(), 10);
        assert_eq!(pool(0, u64::MAX, 0).available_sets(), u32::MAX);
    }

    #[test]
    fn reaching_it() {
        assert!(!pool(79 * MIB, 100 * MIB, 80).is_reached());
        assert!(pool(79 * MIB + 1, 100 * MIB, 80).is_reached());
        assert!(pool(80 * MIB, 100 * MIB, 80).is_reached());
        assert!(!pool(100 * MIB, 100 * MIB, 0).is_reached());
        assert!(!Pool::NONE.with_threshold(1).is_reached());
        assert_eq!(Pool::NONE.with_threshold(1).threshold_sets(), None);
    }

    proptest! {
        #[test]
        fn any_pool(a: u64, b: u64, threshold in 0u8..=255) {
            let p = pool(a.min(b), a.max(b).max(1), threshold);
            prop_assert!(p.percent() <= 100);
            if p.used() == p.size() {
                prop_assert_eq!(p.is_reached(), p.threshold() != 0);
            }
            prop_assert!(p.threshold_sets().unwrap_or(0) <= sets(p.size(), true));
        }

        #[test]
        fn any_value(value: Vec<u8>) {
            if let Some(p) = Pool::parse(&value, 50) {
                prop_assert!(p.used() <= p.size());
            }
        }
    }
}
