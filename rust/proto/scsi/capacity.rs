// SPDX-License-Identifier: GPL-2.0

//! READ CAPACITY data (SBC-3, "READ CAPACITY (10) command" and "READ CAPACITY
//! (16) command").
//!
//! The last LBA of a medium without blocks cannot be told: such a logical unit
//! is not ready, and who calls these has refused it.

use super::device::DeviceInfo;
use super::put::Put;

/// READ CAPACITY(10) parameter data, 8 bytes. A last LBA of FFFFFFFFh sends the
/// initiator to READ CAPACITY(16).
pub fn ten(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.u32(u32::try_from(last_lba(info)).unwrap_or(u32::MAX));
    put.u32(info.block_size);
    put.len()
}

/// READ CAPACITY(16) parameter data, 32 bytes.
pub fn sixteen(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.u64(last_lba(info));
    put.u32(info.block_size);
    // P_TYPE 0, PROT_EN 0.
    put.u8(0);
    // P_I_EXPONENT 0, LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
    put.u8(info.physical_exponent & 0x0f);
    let managed = info.thin.is_managed();
    let lbpme = if managed { 0x8000 } else { 0 };
    let lbprz = if managed && info.thin.reads_zeros {
        0x4000
    } else {
        0
    };
    put.u16(lbpme | lbprz | (info.lowest_aligned_lba & 0x3fff));
    put.zeros_to(32);
    put.len()
}

fn last_lba(info: &DeviceInfo<'_>) -> u64 {
    info.blocks.saturating_sub(1)
}
