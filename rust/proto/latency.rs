// SPDX-License-Identifier: GPL-2.0

//! How long commands take, in classes: the widths are powers of two of a
//! microsecond.

/// How many classes there are.
pub const BUCKETS: usize = 24;

/// The class of a time in nanoseconds. Class 0 is below 1 µs, class `n` from
/// 2^(n-1) µs to less than 2^n µs; the last one has no upper bound.
pub const fn bucket(ns: u64) -> usize {
    let us = ns / 1000;
    let class = u64::BITS.saturating_sub(us.leading_zeros()) as usize;
    if class < BUCKETS {
        class
    } else {
        BUCKETS - 1
    }
}

/// What all of a class is below, in µs; none for the last class, and for what
/// is no class.
pub const fn bound_us(class: usize) -> Option<u64> {
    if class < BUCKETS - 1 {
        Some(1 << class)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_powers_of_two_of_a_microsecond() {
        let cases = [
            (0, 0),
            (999, 0),
            (1_000, 1),
            (1_999, 1),
            (2_000, 2),
            (3_999, 2),
            (4_000, 3),
            (1_000_000, 10),
            (4_194_303_999, 22),
            (4_194_304_000, 23),
            (u64::MAX, 23),
        ];
        for (ns, class) in cases {
            assert_eq!(bucket(ns), class, "{ns} ns");
        }
    }

    #[test]
    fn bounds_are_what_the_classes_end_at() {
        for class in 0..BUCKETS - 1 {
            let end = bound_us(class).unwrap() * 1000;
            assert_eq!(bucket(end - 1), class);
            assert_eq!(bucket(end), class + 1);
        }
        assert_eq!(bound_us(BUCKETS - 1), None);
        assert_eq!(bound_us(usize::MAX), None);
    }
}
