// SPDX-License-Identifier: GPL-2.0

//! Standard INQUIRY data (SPC-4, "Standard INQUIRY data").

use super::device::DeviceInfo;
use super::put::Put;

/// The length of standard INQUIRY data.
pub const STANDARD_LEN: usize = 96;

/// PERIPHERAL QUALIFIER 000b and PERIPHERAL DEVICE TYPE 00h: a direct access
/// block device is connected.
pub(crate) const DISK: u8 = 0x00;
/// PERIPHERAL QUALIFIER 001b: one can be here, and is not connected now.
const NOT_CONNECTED: u8 = 0x20;
/// 011b and 1Fh: no logical unit can be here.
pub(crate) const NO_UNIT: u8 = 0x7f;
/// 000b and 1Eh: a well known logical unit.
const WELL_KNOWN: u8 = 0x1e;

/// SAM-5, iSCSI, SPC-4 and SBC-3, no version of theirs claimed.
const VERSION_DESCRIPTORS: [u16; 4] = [0x00a0, 0x0960, 0x0460, 0x04c0];

/// The data of a disk.
pub fn standard(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(peripheral(info), info, out)
}

/// The first byte of standard INQUIRY data and of each VPD page.
pub(crate) fn peripheral(info: &DeviceInfo<'_>) -> u8 {
    match info.connected {
        true => DISK,
        false => NOT_CONNECTED | DISK,
    }
}

/// The data of the REPORT LUNS well known logical unit of a target.
pub fn well_known(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(WELL_KNOWN, info, out)
}

/// The data for a LUN that names no logical unit (SPC-4, "Incorrect logical
/// unit selection").
pub fn no_unit(out: &mut [u8]) -> usize {
    write(NO_UNIT, &DeviceInfo::new(&[], 512, 0), out)
}

fn write(peripheral: u8, info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.u8(peripheral);
    // RMB 0: not removable.
    put.u8(0);
    // VERSION: SPC-4.
    put.u8(0x06);
    // NORMACA 0, HISUP 1, RESPONSE DATA FORMAT 2.
    put.u8(0x12);
    put.u8(super::put::len8(STANDARD_LEN.saturating_sub(5)));
    // SCCS 0, TPGS, 3PC, PROTECT 0.
    let copy = if info.third_party_copy { 0x08 } else { 0 };
    put.u8(((info.tpgs & 0b11) << 4) | copy);
    // MULTIP.
    put.u8(if info.multi_port { 0x10 } else { 0 });
    // CMDQUE.
    put.u8(0x02);
    put.bytes(&info.vendor);
    put.bytes(&info.product);
    put.bytes(&info.revision);
    // Vendor specific bytes and those of the parallel bus.
    put.zeros_to(58);
    for descriptor in VERSION_DESCRIPTORS {
        put.u16(descriptor);
    }
    put.zeros_to(STANDARD_LEN);
    put.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(build: impl Fn(&mut [u8]) -> usize, want: &[u8]) {
        for clip in (0..=want.len() + 3).rev() {
            let mut out = [0xa5; 128];
            assert_eq!(build(&mut out[..clip]), want.len());
            let wrote = clip.min(want.len());
            assert_eq!(out[..wrote], want[..wrote]);
            assert_eq!(out[wrote..], [0xa5; 128][wrote..]);
        }
    }

    fn expected() -> [u8; 96] {
        let mut want = [0; 96];
        want[..8].copy_from_slice(&[0x00, 0x00, 0x06, 0x12, 0x5b, 0x00, 0x00, 0x02]);
        want[8..36].copy_from_slice(b"FERRITE disk            0001");
        want[58..66].copy_from_slice(&[0x00, 0xa0, 0x09, 0x60, 0x04, 0x60, 0x04, 0xc0]);
        want
    }

    #[test]
    fn a_disk() {
        let info = DeviceInfo::new(b"s", 512, 2048);
        check(|out| standard(&info, out), &expected());
    }

    #[test]
    fn names_and_abilities() {
        let mut info = DeviceInfo::new(b"s", 512, 2048);
        info.vendor = *b"LIO-ORG ";
        info.product = *b"block_backend   ";
        info.revision = *b"4.0 ";
        info.multi_port = true;
        info.third_party_copy = true;
        info.tpgs = 3;
        let mut want = expected();
        want[5] = 0x38;
        want[6] = 0x10;
        want[8..36].copy_from_slice(b"LIO-ORG block_backend   4.0 ");
        check(|out| standard(&info, out), &want);
    }

    #[test]
    fn not_connected() {
        let mut info = DeviceInfo::new(b"s", 512, 2048);
        info.connected = false;
        let mut want = expected();
        want[0] = 0x20;
        check(|out| standard(&info, out), &want);
    }

    #[test]
    fn no_unit_and_well_known() {
        let mut want = expected();
        want[0] = 0x7f;
        check(no_unit, &want);
        want[0] = 0x1e;
        let info = DeviceInfo::new(b"s", 512, 2048);
        check(|out| well_known(&info, out), &want);
    }
}
