// SPDX-License-Identifier: GPL-2.0

//! Initiator Task Tags as places in a list.

/// A number for a tag, in which those of commands that are under way at the same
/// time differ if their lowest 16 bits do.
///
/// Most initiators count, or use the numbers of places of their own. The tag is
/// opaque (RFC 7143 section 11.2.1.8), so they do that in the byte order of their
/// CPU: where that is not the network's, what counts is at the wrong end. The same
/// number comes of both orders.
#[inline]
#[must_use]
pub const fn spread(itt: u32) -> u16 {
    // Both ends on top of each other: the lower half is as the upper one, mirrored.
    (itt ^ itt.swap_bytes()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_tags_are_their_own_numbers_in_either_order() {
        for tag in 0..=u16::MAX {
            assert_eq!(spread(u32::from(tag)), tag);
            assert_eq!(spread(u32::from(tag).swap_bytes()), tag);
        }
    }

    #[test]
    fn a_mark_at_the_other_end_makes_no_two_the_same() {
        // Linux has the age of its session in the highest four bits.
        let mut seen = [false; 0x1_0000];
        for tag in 0..=u16::MAX {
            let place = spread((0x3000_0000 | u32::from(tag)).swap_bytes());
            assert!(!std::mem::replace(&mut seen[usize::from(place)], true));
        }
    }

    proptest! {
        #[test]
        fn neighbours_differ(first in any::<u32>(), a in 0u32..144, b in 0u32..144) {
            let (one, two) = (first.wrapping_add(a), first.wrapping_add(b));
            prop_assume!(a != b && (one >> 16) == (two >> 16));
            prop_assert_ne!(spread(one), spread(two));
            prop_assert_ne!(spread(one.swap_bytes()), spread(two.swap_bytes()));
        }
    }
}
