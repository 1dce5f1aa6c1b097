// SPDX-License-Identifier: GPL-2.0

//! Whether data that is due comes, and not too slowly.

/// Bytes of the data of a WRITE that have to come in a second, on average.
///
/// As long as data comes faster, there is no end to how long it may take. What comes more slowly
/// is as good as none after a while: other initiators' commands may wait for the end of that
/// WRITE (ORDERED), which a peer is not to put off for ever by a few bytes now and then.
pub const LEAST_RATE: u64 = 4 << 10;

/// How far behind a peer is with data that is due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Since when nothing has come, later by what that is worth that has; 0 before the first
    /// look.
    since_ms: u64,
    /// Bytes that have come since the last look.
    came: u32,
}

impl Pace {
    /// Data has come.
    pub fn count(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.came = self.came.saturating_add(bytes);
    }

    /// For how long nothing has come that counts, in ms. It is to be looked at now and then;
    /// the time begins with the first look, and what comes is worth so much of it as it may
    /// take at the [`LEAST_RATE`]. Nothing is saved up: who has sent much at once has no more
    /// time than others for the rest.
    pub fn behind_ms(&mut self, now_ms: u64) -> u64 {
        let came = core::mem::take(&mut self.came);
        let worth_ms = u64::from(came)
            .saturating_mul(1000)
            .wrapping_div(LEAST_RATE);
        let since_ms = match self.since_ms {
            0 => now_ms,
            since_ms => since_ms.saturating_add(worth_ms).min(now_ms),
        };
        self.since_ms = since_ms;
        now_ms.saturating_sub(since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far behind a peer is after so many seconds in which it sends so many bytes each time
    /// that so many ms have gone by.
    fn after(seconds: u64, bytes: usize, each_ms: u64) -> u64 {
        let mut pace = Pace::default();
        let mut behind = pace.behind_ms(1000);
        for ms in 1..=seconds * 1000 {
            if ms % each_ms == 0 {
                pace.count(bytes);
            }
            if ms % 500 == 0 {
                behind = pace.behind_ms(1000 + ms);
            }
        }
        behind
    }

    #[test]
    fn silence_is_counted_from_the_first_look() {
        let mut pace = Pace::default();
        assert_eq!(pace.behind_ms(5_000), 0);
        assert_eq!(pace.behind_ms(7_500), 2_500);
        assert_eq!(pace.behind_ms(20_000), 15_000);
    }

    #[test]
    fn who_sends_fast_enough_is_never_behind_for_long() {
        // 64 KiB/s, in segments of 1460 bytes.
        assert!(after(3600, 1460, 22) < 500);
        // A sixteenth of that, in PDUs of 8 KiB that are two seconds apart.
        assert!(after(3600, 8192, 2000) <= 2000);
        // One PDU of 64 KiB each 15 seconds.
        assert!(after(3600, 65536, 15_000) < 15_000);
    }

    #[test]
    fn a_few_bytes_now_and_then_count_for_nothing() {
        assert_eq!(after(60, 1, 500), 60_000);
        assert_eq!(after(60, 4, 100), 59_520);
        // Half as fast as it must be.
        assert_eq!(after(60, 1024, 500), 30_000);
    }

    #[test]
    fn what_has_come_fast_is_not_saved_up() {
        let mut pace = Pace::default();
        pace.behind_ms(1_000);
        pace.count(usize::MAX);
        assert_eq!(pace.behind_ms(2_000), 0);
        assert_eq!(pace.behind_ms(17_000), 15_000);
        assert_eq!(pace.behind_ms(0), 0);
    }
}
