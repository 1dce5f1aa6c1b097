// SPDX-License-Identifier: GPL-2.0

//! How much of something may be used in a second: a token bucket that is kept
//! as a moment, the one at which all that was used is paid for.
//!
//! Something may be used as soon as all before it is paid for, however much it
//! is; so no command is too large for any bucket. What has not been used for
//! [`BURST_NS`] at most may be used later at once.

/// For how long what is not used is saved up, in nanoseconds.
pub const BURST_NS: u64 = NS_PER_S / 8;

/// What one use costs at most, in nanoseconds: those after it wait no longer.
pub const MOST_NS: u64 = 30 * NS_PER_S;

const NS_PER_S: u64 = 1_000_000_000;

/// The rate of one thing, and how much of it has been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// So many in a second; 0 is any number.
    rate: u64,
    /// When all is paid for, in nanoseconds.
    paid_ns: u64,
    /// What a division has left, in ns times `rate`: less than `rate`.
    rest: u64,
}

impl Bucket {
    /// One without a limit.
    pub const fn new() -> Self {
        Self {
            rate: 0,
            paid_ns: 0,
            rest: 0,
        }
    }

    /// The limit, in a second; 0 is none.
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Sets the limit, in a second; 0 is none. What was used by an old limit is
    /// forgiven.
    pub fn set_rate(&mut self, rate: u64, now_ns: u64) {
        self.rate = rate;
        self.paid_ns = self.paid_ns.min(now_ns);
        self.rest = 0;
    }

    /// How long it is until something may be used, in nanoseconds: 0 if it may
    /// be now.
    pub const fn wait_ns(&self, now_ns: u64) -> u64 {
        if self.rate == 0 {
            return 0;
        }
        self.paid_ns.saturating_sub(now_ns)
    }

    /// So many are used now.
    pub fn take(&mut self, count: u32, now_ns: u64) {
        // The product is less than 2^62, and the rest less than the rate.
        let scaled = u64::from(count)
            .saturating_mul(NS_PER_S)
            .saturating_add(self.rest);
        let (Some(cost), Some(rest)) =
            (scaled.checked_div(self.rate), scaled.checked_rem(self.rate))
        else {
            return;
        };
        self.rest = rest;
        self.paid_ns = self
            .paid_ns
            .max(now_ns.saturating_sub(BURST_NS))
            .saturating_add(cost.min(MOST_NS));
    }
}

/// Commands and bytes, each at a rate of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Commands.
    pub commands: Bucket,
    /// Bytes.
    pub bytes: Bucket,
}

impl Caps {
    /// No limits.
    pub const fn new() -> Self {
        Self {
            commands: Bucket::new(),
            bytes: Bucket::new(),
        }
    }

    /// Whether there is a limit.
    pub const fn any(&self) -> bool {
        self.commands.rate() != 0 || self.bytes.rate() != 0
    }

    /// How long the next command has to wait, in nanoseconds.
    pub fn wait_ns(&self, now_ns: u64) -> u64 {
        let bytes = self.bytes.wait_ns(now_ns);
        self.commands.wait_ns(now_ns).max(bytes)
    }

    /// A command that moves so many bytes begins now.
    pub fn take(&mut self, bytes: u32, now_ns: u64) {
        self.commands.take(1, now_ns);
        self.bytes.take(bytes, now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = NS_PER_S;

    fn of(rate: u64, now: u64) -> Bucket {
        let mut bucket = Bucket::new();
        bucket.set_rate(rate, now);
        bucket
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut bucket = Bucket::new();
        for now in [0, 1, u64::MAX] {
            bucket.take(u32::MAX, now);
            assert_eq!(bucket.wait_ns(now), 0);
            assert_eq!(bucket.wait_ns(0), 0);
        }
        assert!(!Caps::new().any());
    }

    #[test]
    fn literal_steps() {
        // 1000 in a second are one in a millisecond; an eighth of a second is
        // saved up at first: 125 that go at once, and the one that is not paid.
        let mut bucket = of(1000, 10 * S);
        for n in 0..126 {
            assert_eq!(bucket.wait_ns(10 * S), 0, "{n}");
            bucket.take(1, 10 * S);
        }
        assert_eq!(bucket.wait_ns(10 * S), 1_000_000);
        assert_eq!(bucket.wait_ns(10 * S + 999_999), 1);
        assert_eq!(bucket.wait_ns(10 * S + 1_000_000), 0);
    }

    #[test]
    fn what_is_larger_than_all_that_is_saved_up_goes_and_is_paid_for() {
        let mut bucket = of(1 << 20, 10 * S);
        bucket.take(4 << 20, 10 * S);
        assert_eq!(bucket.wait_ns(10 * S), 4 * S - BURST_NS);
        // Nothing costs more than so much.
        bucket.take(u32::MAX, 10 * S);
        assert_eq!(bucket.wait_ns(10 * S), 4 * S - BURST_NS + MOST_NS);
    }

    #[test]
    fn a_new_limit_forgives() {
        let mut bucket = of(1, 10 * S);
        bucket.take(20, 10 * S);
        assert!(bucket.wait_ns(10 * S) > 19 * S);
        bucket.set_rate(1_000_000, 10 * S);
        assert_eq!(bucket.wait_ns(10 * S), 0);
    }

    #[test]
    fn both_limits_hold() {
        let mut caps = Caps::new();
        caps.commands.set_rate(10, 10 * S);
        caps.bytes.set_rate(1 << 20, 10 * S);
        assert!(caps.any());
        caps.take(0, 10 * S);
        caps.take(0, 10 * S);
        assert_eq!(caps.wait_ns(10 * S), S / 5 - BURST_NS);
        caps.take(1 << 20, 10 * S);
        assert_eq!(caps.wait_ns(10 * S), S - BURST_NS);
    }

    proptest! {
        /// Whoever always waits as he is told gets what he may have: no more
        /// than the rate and what was saved up, and no less either.
        #[test]
        fn the_rate_is_kept(
            rate in (19u32..36).prop_flat_map(|bit| 1u64 << bit..2 << bit),
            sizes in proptest::collection::vec(1u32..1 << 23, 1..300),
            late in 0u64..BURST_NS,
        ) {
            let start = 5 * S;
            let mut bucket = of(rate, start);
            let mut now = start;
            let mut used = 0u128;
            for size in sizes {
                let wait = bucket.wait_ns(now);
                if wait != 0 {
                    // The timer is late, by less than what is saved up.
                    now += wait + late;
                }
                prop_assert_eq!(bucket.wait_ns(now), 0);
                // All before this one has been paid for.
                let may = u128::from(rate) * u128::from(now - start + BURST_NS) / u128::from(S);
                prop_assert!(used <= may + 1, "{} of {}", used, may);
                bucket.take(size, now);
                used += u128::from(size);
            }
            // A timer that is late loses nothing.
            let paid = u128::from(bucket.wait_ns(start) + BURST_NS) * u128::from(rate) / u128::from(S);
            if now > start {
                prop_assert!(used + 1 >= paid, "{} of {}", used, paid);
            }
        }

        /// No numbers can break it.
        #[test]
        fn nothing_overflows(
            rate in any::<u64>(),
            steps in proptest::collection::vec((any::<u32>(), any::<u64>()), 0..50),
        ) {
            let mut caps = Caps::new();
            caps.bytes.set_rate(rate, 0);
            caps.commands.set_rate(rate, u64::MAX);
            for (count, now) in steps {
                let before = caps.bytes.wait_ns(now);
                caps.take(count, now);
                prop_assert!(caps.bytes.wait_ns(now) >= before);
                prop_assert!(caps.bytes.wait_ns(now) <= before.saturating_add(MOST_NS));
            }
        }
    }
}
