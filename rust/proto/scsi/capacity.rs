// SPDX-License-Identifier: GPL-2.0

//! What the medium is like: READ CAPACITY data (SBC-3, "READ CAPACITY (10)
//! command" and "READ CAPACITY (16) command") and GET LBA STATUS data (SBC-3,
//! "GET LBA STATUS command").
//!
//! The last LBA of a medium without blocks cannot be told: such a logical unit
//! is not ready, and who calls these has refused it.

use super::device::DeviceInfo;
use super::put::len32;
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

/// GET LBA STATUS parameter data: one LBA status descriptor for the blocks from
/// `lba`, which exists, to the end, or for as many as it has room to count.
///
/// PROVISIONING STATUS 0h stands for blocks that are mapped or whose state is
/// not known: whoever stores the blocks knows what it has mapped, and no block
/// device can be asked.
pub fn lba_status(lba: u64, info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.zeros(8);
    put.u64(lba);
    put.u32(u32::try_from(info.blocks.saturating_sub(lba)).unwrap_or(u32::MAX));
    put.zeros(4);
    // PARAMETER DATA LENGTH does not count itself.
    let len = len32(put.len().saturating_sub(4));
    put.patch(0, &len.to_be_bytes());
    put.len()
}

fn last_lba(info: &DeviceInfo<'_>) -> u64 {
    info.blocks.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Build = fn(&DeviceInfo<'_>, &mut [u8]) -> usize;

    #[track_caller]
    fn check(build: Build, info: &DeviceInfo<'_>, want: &[u8]) {
        for clip in (0..=want.len() + 3).rev() {
            let mut out = [0xa5; 64];
            assert_eq!(build(info, &mut out[..clip]), want.len());
            let wrote = clip.min(want.len());
            assert_eq!(out[..wrote], want[..wrote]);
            assert_eq!(out[wrote..], [0xa5; 64][wrote..]);
        }
    }

    #[test]
    fn a_small_disk() {
        let info = DeviceInfo::new(b"s", 512, 2048);
        check(ten, &info, &[0, 0, 0x07, 0xff, 0, 0, 2, 0]);
        let mut want = [0; 32];
        want[6..12].copy_from_slice(&[0x07, 0xff, 0, 0, 2, 0]);
        check(sixteen, &info, &want);
    }

    #[test]
    fn two_terabytes_and_around() {
        for (blocks, last) in [
            (0xffff_ffff, 0xffff_fffe_u32),
            (0x1_0000_0000, 0xffff_ffff),
            (0x1_0000_0001, 0xffff_ffff),
        ] {
            let info = DeviceInfo::new(b"s", 4096, blocks);
            let mut want = [0, 0, 0, 0, 0, 0, 0x10, 0];
            want[..4].copy_from_slice(&last.to_be_bytes());
            check(ten, &info, &want);
        }
    }

    #[test]
    fn everything_set() {
        let mut info = DeviceInfo::new(b"s", 512, 0x0123_4567_89ab_cdf0);
        info.physical_exponent = 3;
        info.lowest_aligned_lba = 0x3a05;
        info.thin.write_same16 = true;
        info.thin.reads_zeros = true;
        let mut want = [0; 32];
        want[..16].copy_from_slice(&[
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 2, 0, 0, 0x03, 0xfa, 0x05,
        ]);
        check(sixteen, &info, &want);
        // Without a way to unmap nothing is said of unmapped blocks.
        info.thin.write_same16 = false;
        want[14] = 0x3a;
        check(sixteen, &info, &want);
    }

    #[test]
    fn lba_status_goes_to_the_end() {
        let info = DeviceInfo::new(b"s", 512, 0x1_0000_1000);
        let want = |lba: u64, blocks: u32| {
            let mut want = std::vec![0, 0, 0, 20, 0, 0, 0, 0];
            want.extend(lba.to_be_bytes());
            want.extend(blocks.to_be_bytes());
            want.extend([0; 4]);
            want
        };
        for (lba, blocks) in [
            (0, u32::MAX),
            (0x1000, u32::MAX),
            (0x1001, u32::MAX),
            (0x1002, 0xffff_fffe),
            (0x1_0000_0fff, 1),
        ] {
            let mut out = [0xa5; 32];
            assert_eq!(lba_status(lba, &info, &mut out), 24);
            assert_eq!(out[..24], want(lba, blocks));
            assert_eq!(out[24..], [0xa5; 8]);
            for clip in 0..24 {
                let mut part = [0xa5; 32];
                assert_eq!(lba_status(lba, &info, &mut part[..clip]), 24);
                assert_eq!(part[..clip], out[..clip]);
                assert_eq!(part[clip..], [0xa5; 32][clip..]);
            }
        }
    }
}
