// SPDX-License-Identifier: GPL-2.0

//! 32-bit serial numbers (RFC 1982 with SERIAL_BITS = 32).
//!
//! RFC 7143 section 4.2.2.1 orders CmdSN, ExpCmdSN and MaxCmdSN by this
//! arithmetic; section 4.2.2.2 counts StatSN modulo 2^32.

use core::fmt;

/// A 32-bit serial number: CmdSN, ExpCmdSN, MaxCmdSN, StatSN, ExpStatSN.
///
/// There is no total order, so `Ord` is not implemented. Two numbers that are
/// exactly 2^31 apart are not comparable (RFC 1982 section 3.2): [`Sn::lt`],
/// [`Sn::le`], [`Sn::gt`] and [`Sn::ge`] are all false for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sn(pub u32);

impl Sn {
    /// Whether `self` comes before `other`.
    #[inline]
    #[must_use]
    pub const fn lt(self, other: Sn) -> bool {
        let ahead = other.0.wrapping_sub(self.0);
        ahead != 0 && ahead < HALF
    }

    /// Whether `self` is `other` or comes before it.
    #[inline]
    #[must_use]
    pub const fn le(self, other: Sn) -> bool {
        other.0.wrapping_sub(self.0) < HALF
    }

    /// Whether `self` comes after `other`.
    #[inline]
    #[must_use]
    pub const fn gt(self, other: Sn) -> bool {
        other.lt(self)
    }

    /// Whether `self` is `other` or comes after it.
    #[inline]
    #[must_use]
    pub const fn ge(self, other: Sn) -> bool {
        other.le(self)
    }

    /// The number after this one, modulo 2^32.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Sn {
        Sn(self.0.wrapping_add(1))
    }

    /// The number before this one, modulo 2^32.
    #[inline]
    #[must_use]
    pub const fn prev(self) -> Sn {
        Sn(self.0.wrapping_sub(1))
    }

    /// The number `n` after this one, modulo 2^32.
    ///
    /// The sum compares as later than `self` only for `n` from 1 to 2^31 - 1
    /// (RFC 1982 section 3.1).
    #[inline]
    #[must_use]
    pub const fn add(self, n: u32) -> Sn {
        Sn(self.0.wrapping_add(n))
    }

    /// How many steps lead from `from` up to `self`, modulo 2^32.
    #[inline]
    #[must_use]
    pub const fn distance(self, from: Sn) -> u32 {
        self.0.wrapping_sub(from.0)
    }
}

impl fmt::Display for Sn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Half of the number space.
const HALF: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1982 section 3.2, word for word, in arithmetic that cannot wrap.
    fn rfc1982_lt(s1: u32, s2: u32) -> bool {
        let (i1, i2) = (i64::from(s1), i64::from(s2));
        (i1 < i2 && i2 - i1 < (1 << 31)) || (i1 > i2 && i1 - i2 > (1 << 31))
    }

    #[test]
    fn orders_across_the_wrap() {
        assert!(Sn(u32::MAX).lt(Sn(0)));
        assert!(Sn(0).gt(Sn(u32::MAX)));
        assert!(Sn(u32::MAX).le(Sn(0)));
        assert!(Sn(0).ge(Sn(u32::MAX)));
        assert!(!Sn(0).lt(Sn(u32::MAX)));
        assert!(Sn(0xffff_fff0).lt(Sn(0x10)));
        assert_eq!(Sn(u32::MAX).next(), Sn(0));
        assert_eq!(Sn(0).prev(), Sn(u32::MAX));
        assert_eq!(Sn(0xffff_fffe).add(5), Sn(3));
        assert_eq!(Sn(3).distance(Sn(0xffff_fffe)), 5);
    }

    #[test]
    fn equal_is_neither_before_nor_after() {
        for n in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            assert!(!Sn(n).lt(Sn(n)) && !Sn(n).gt(Sn(n)));
            assert!(Sn(n).le(Sn(n)) && Sn(n).ge(Sn(n)));
        }
    }

    #[test]
    fn half_the_space_away_is_not_comparable() {
        for n in [0u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let (a, b) = (Sn(n), Sn(n.wrapping_add(0x8000_0000)));
            assert!(!a.lt(b) && !a.le(b) && !a.gt(b) && !a.ge(b));
            // One step closer on either side, and they are.
            assert!(a.lt(b.prev()) && a.gt(b.next()));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_rfc1982(a: u32, d in prop_oneof![any::<u32>(), 0x7fff_fff0u32..0x8000_0010]) {
            let b = a.wrapping_add(d);
            prop_assert_eq!(Sn(a).lt(Sn(b)), rfc1982_lt(a, b));
            prop_assert_eq!(Sn(a).gt(Sn(b)), rfc1982_lt(b, a));
            prop_assert_eq!(Sn(a).le(Sn(b)), a == b || rfc1982_lt(a, b));
            prop_assert_eq!(Sn(a).ge(Sn(b)), a == b || rfc1982_lt(b, a));
            prop_assert_eq!(Sn(b).distance(Sn(a)), d);
            prop_assert_eq!(Sn(a).add(d), Sn(b));
        }
    }
}
