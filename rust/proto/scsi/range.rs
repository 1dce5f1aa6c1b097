// SPDX-License-Identifier: GPL-2.0

//! Whether blocks exist.

use super::sense::Sense;

/// Checks that `blocks` blocks from `lba` lie in the `capacity` blocks of the
/// medium. No blocks right behind the last one are in range.
///
/// # Errors
/// LOGICAL BLOCK ADDRESS OUT OF RANGE, INFORMATION naming the first block that
/// does not exist.
pub fn check_range(lba: u64, blocks: u64, capacity: u64) -> Result<(), Sense> {
    match lba.checked_add(blocks) {
        Some(end) if end <= capacity => Ok(()),
        _ => Err(Sense::LBA_OUT_OF_RANGE.with_info(lba.max(capacity))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_bad(lba: u64, blocks: u64, capacity: u64) -> Option<u64> {
        let sense = check_range(lba, blocks, capacity).err()?;
        assert!(sense.is(&Sense::LBA_OUT_OF_RANGE));
        Some(sense.info.unwrap())
    }

    #[test]
    fn boundaries() {
        assert_eq!(first_bad(0, 0, 0), None);
        assert_eq!(first_bad(0, 1, 0), Some(0));
        assert_eq!(first_bad(0, 100, 100), None);
        assert_eq!(first_bad(0, 101, 100), Some(100));
        assert_eq!(first_bad(99, 1, 100), None);
        assert_eq!(first_bad(99, 2, 100), Some(100));
        assert_eq!(first_bad(100, 0, 100), None);
        assert_eq!(first_bad(100, 1, 100), Some(100));
        assert_eq!(first_bad(101, 0, 100), Some(101));
    }

    #[test]
    fn sums_that_wrap_are_out_of_range() {
        assert_eq!(first_bad(u64::MAX, 1, 100), Some(u64::MAX));
        assert_eq!(first_bad(u64::MAX, 2, u64::MAX), Some(u64::MAX));
        assert_eq!(first_bad(2, u64::MAX, 100), Some(100));
        assert_eq!(first_bad(u64::MAX, 0, u64::MAX), None);
        assert_eq!(first_bad(u64::MAX - 1, 1, u64::MAX), None);
    }
}
