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
