// SPDX-License-Identifier: GPL-2.0

//! Vital product data pages (SPC-4 and SBC-3, "Vital product data parameters").

use super::device::DeviceInfo;
use super::device::Port;
use super::inquiry;
use super::put::len16;
use super::put::len8;
use super::put::Put;
use super::sense::Sense;
use super::unit_id::T10;
use super::xcopy;

/// Supported VPD Pages.
pub const SUPPORTED: u8 = 0x00;
/// Unit Serial Number.
pub const SERIAL: u8 = 0x80;
/// Device Identification.
pub const DEVICE_ID: u8 = 0x83;
/// Extended INQUIRY Data.
pub const EXTENDED_INQUIRY: u8 = 0x86;
/// Third-party Copy.
pub const THIRD_PARTY_COPY: u8 = 0x8f;
/// Block Limits.
pub const BLOCK_LIMITS: u8 = 0xb0;
/// Block Device Characteristics.
pub const BLOCK_CHARACTERISTICS: u8 = 0xb1;
/// Logical Block Provisioning.
pub const PROVISIONING: u8 = 0xb2;
/// Referrals.
pub const REFERRALS: u8 = 0xb3;

/// The page codes of a disk, in ascending order as SPC-4 wants them listed.
pub const PAGES: [u8; 9] = [
    SUPPORTED,
    SERIAL,
    DEVICE_ID,
    EXTENDED_INQUIRY,
    THIRD_PARTY_COPY,
    BLOCK_LIMITS,
    BLOCK_CHARACTERISTICS,
    PROVISIONING,
    REFERRALS,
];

/// Writes the page with a page code.
///
/// # Errors
/// INVALID FIELD IN CDB when there is no such page.
pub fn page(
    code: u8,
    info: &DeviceInfo<'_>,
    port: &Port<'_>,
    out: &mut [u8],
) -> Result<usize, Sense> {
    let len = match code {
        SUPPORTED => supported(info, out),
        SERIAL => serial(info, out),
        DEVICE_ID => device_id(info, port, out),
        EXTENDED_INQUIRY => extended_inquiry(info, out),
        THIRD_PARTY_COPY if info.third_party_copy => third_party_copy(info, out),
        BLOCK_LIMITS => block_limits(info, out),
        BLOCK_CHARACTERISTICS => block_characteristics(info, out),
        PROVISIONING => provisioning(info, out),
        REFERRALS => referrals(info, out)?,
        _ => return Err(Sense::invalid_cdb(2, None)),
    };
    if let Some(first) = out.first_mut() {
        *first = inquiry::peripheral(info);
    }
    Ok(len)
}

/// Writes the page with a page code for a LUN that names no logical unit: it
/// has the list of pages and nothing on it but itself.
///
/// # Errors
/// INVALID FIELD IN CDB for all other pages.
pub fn no_unit_page(code: u8, out: &mut [u8]) -> Result<usize, Sense> {
    if code != SUPPORTED {
        return Err(Sense::invalid_cdb(2, None));
    }
    let mut put = Put::new(out);
    put.bytes(&[inquiry::NO_UNIT, SUPPORTED, 0, 1, SUPPORTED]);
    Ok(put.len())
}

/// 00h, Supported VPD Pages.
pub fn supported(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(SUPPORTED, out, |put| {
        for page in PAGES {
            let exists = match page {
                THIRD_PARTY_COPY => info.third_party_copy,
                REFERRALS => info.referrals.is_some(),
                _ => true,
            };
            if exists {
                put.u8(page);
            }
        }
    })
}

/// 80h, Unit Serial Number.
pub fn serial(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(SERIAL, out, |put| put.bytes(info.serial()))
}

/// 83h, Device Identification.
///
/// For the logical unit an NAA and a T10 vendor ID designator, or those that it was
/// given and an EUI-64 based one if it was given that, for the target port its relative identifier, its group if there are any, and its name, for
/// the target device its name (SPC-4, "Device Identification VPD page").
pub fn device_id(info: &DeviceInfo<'_>, port: &Port<'_>, out: &mut [u8]) -> usize {
    write(DEVICE_ID, out, |put| {
        // Logical unit, binary, NAA and EUI-64 based.
        let naa = info.naa();
        for (kind, designator) in [(0x03, naa.get()), (0x02, info.eui64.get())] {
            if !designator.is_empty() {
                put.bytes(&[0x01, kind, 0x00]);
                put.u8(len8(designator.len()));
                put.bytes(designator);
            }
        }

        t10_vendor_id(info, put);

        // iSCSI, target port, binary, relative target port identifier.
        put.bytes(&[0x51, 0x94, 0x00, 0x04, 0x00, 0x00]);
        put.u16(port.relative_id);

        // iSCSI, target port, binary, target port group.
        if let Some(group) = port.group {
            put.bytes(&[0x51, 0x95, 0x00, 0x04, 0x00, 0x00]);
            put.u16(group);
        }

        // iSCSI, target port and target device, UTF-8, SCSI name string
        // (RFC 7143 section 4.2.7 and SAM-5's iSCSI annex: a target port is
        // named by the target name and the portal group tag).
        let name = port.target_name;
        let name = name.get(..TARGET_NAME_MAX_LEN).unwrap_or(name);
        put.bytes(&[0x53, 0x98, 0x00]);
        let mut suffix = *b",t,0x0000";
        {
            let [.., a, b, c, d] = &mut suffix;
            let [high, low] = port.portal_group.to_be_bytes();
            *a = hex(high >> 4);
            *b = hex(high);
            *c = hex(low >> 4);
            *d = hex(low);
        }
        name_string(put, name, &suffix);
        put.bytes(&[0x53, 0xa8, 0x00]);
        name_string(put, name, &[]);
    })
}

/// Logical unit, T10 vendor ID.
fn t10_vendor_id(info: &DeviceInfo<'_>, put: &mut Put<'_>) {
    if info.t10 != T10::Made {
        let (is_text, bytes) = info.t10.bytes();
        put.bytes(&[if is_text { 0x02 } else { 0x01 }, 0x01, 0x00]);
        put.u8(len8(bytes.clone().count()));
        for byte in bytes {
            put.u8(byte);
        }
        return;
    }
    // ASCII. One byte of length leaves room for the first 231 of the serial number.
    let serial = info.serial();
    let serial = serial.get(..T10_SERIAL_MAX_LEN).unwrap_or(serial);
    put.bytes(&[0x02, 0x01, 0x00]);
    put.u8(len8(
        info.vendor
            .len()
            .saturating_add(info.product.len())
            .saturating_add(serial.len()),
    ));
    put.bytes(&info.vendor);
    put.bytes(&info.product);
    put.bytes(serial);
}

/// 86h, Extended INQUIRY Data.
pub fn extended_inquiry(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(EXTENDED_INQUIRY, out, |put| {
        // ACTIVATE MICROCODE, SPT, GRD_CHK, APP_CHK, REF_CHK: nothing.
        put.u8(0);
        // UASK_SUP 0, GROUP_SUP 0, PRIOR_SUP 0, HEADSUP, ORDSUP, SIMPSUP 1.
        let head = if info.head_of_queue { 0x04 } else { 0 };
        let ordered = if info.ordered { 0x02 } else { 0 };
        put.u8(head | ordered | 0x01);
        // WU_SUP 0, CRD_SUP 0, NV_SUP 0, V_SUP: there is a volatile cache.
        let volatile = info.mode.write_cache || info.changeable.write_cache;
        put.u8(if volatile { 0x01 } else { 0 });
        // P_I_I_SUP, LUICLR: nothing. R_SUP.
        put.u8(0);
        put.u8(if info.referrals.is_some() { 0x10 } else { 0 });
        put.zeros_to(64);
    })
}

/// 8Fh, Third-party Copy.
pub fn third_party_copy(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(THIRD_PARTY_COPY, out, |put| xcopy::page(info, put))
}

/// B0h, Block Limits.
pub fn block_limits(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(BLOCK_LIMITS, out, |put| {
        put.u8(if info.write_same_non_zero { 0x01 } else { 0 });
        put.u8(info.max_compare_and_write);
        put.u16(info.optimal_granularity);
        put.u32(info.max_transfer);
        put.u32(info.optimal_transfer);
        // MAXIMUM PREFETCH LENGTH: no limit.
        put.u32(0);
        // Limits of a command that is not supported are zero.
        let thin = &info.thin;
        put.u32(if thin.unmap { thin.max_unmap_blocks } else { 0 });
        put.u32(if thin.unmap {
            thin.max_unmap_descriptors
        } else {
            0
        });
        let managed = thin.is_managed();
        put.u32(if managed { thin.granularity } else { 0 });
        // UGAVALID is the top bit of UNMAP GRANULARITY ALIGNMENT.
        put.u32(match thin.alignment {
            Some(alignment) if managed => 0x8000_0000 | alignment,
            _ => 0,
        });
        put.u64(info.max_write_same);
        let atomic = &info.atomic;
        put.u32(atomic.max_len);
        put.u32(atomic.alignment);
        put.u32(atomic.granularity);
        put.u32(atomic.max_len_with_boundary);
        put.u32(atomic.max_boundary);
    })
}

/// B1h, Block Device Characteristics.
pub fn block_characteristics(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(BLOCK_CHARACTERISTICS, out, |put| {
        put.u16(info.rotation_rate);
        // PRODUCT TYPE, WABEREQ, WACEREQ, NOMINAL FORM FACTOR, FUAB, VBULS:
        // nothing to report.
        put.zeros_to(64);
    })
}

/// B2h, Logical Block Provisioning.
pub fn provisioning(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(PROVISIONING, out, |put| {
        let thin = &info.thin;
        if !thin.is_managed() {
            // PROVISIONING TYPE 000b: fully provisioned, or not said.
            put.zeros(4);
            return;
        }
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        put.u8(info.pool.threshold_exponent(info.block_size));
        put.u8(bit(thin.unmap, 0x80)
            | bit(thin.write_same16, 0x40)
            | bit(thin.write_same10, 0x20)
            | bit(thin.reads_zeros, 0x04)
            | bit(thin.anchor, 0x02));
        // 001b resource provisioned, 010b thin provisioned.
        put.u8(if thin.thin_provisioned { 0b010 } else { 0b001 });
        put.u8(0);
    })
}

/// B3h, Referrals.
///
/// # Errors
/// INVALID FIELD IN CDB without a map of referrals.
pub fn referrals(info: &DeviceInfo<'_>, out: &mut [u8]) -> Result<usize, Sense> {
    let geometry = info.referrals.ok_or(Sense::invalid_cdb(2, None))?;
    Ok(write(REFERRALS, out, |put| {
        put.zeros(4);
        put.u32(geometry.size);
        put.u32(geometry.multiplier);
    }))
}

/// The NAA designator of a logical unit: IEEE Registered Extended (NAA 6),
/// the company identifier, and a vendor specific identifier of the first 25
/// hexadecimal digits in the serial number, zeros where there are fewer.
///
/// This is the value that LIO publishes for the same serial number.
pub fn naa(company_id: u32, serial: &[u8]) -> [u8; 16] {
    let mut naa = [0; 16];
    let prefix = 0x6000_0000 | ((company_id & 0x00ff_ffff) << 4);
    for (to, from) in naa.iter_mut().zip(prefix.to_be_bytes()) {
        *to = from;
    }
    // Half bytes 7 to 31.
    let mut digits = serial
        .iter()
        .filter_map(|digit| char::from(*digit).to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok());
    let (prefix, rest) = naa.split_at_mut(4);
    if let Some(byte) = prefix.last_mut() {
        *byte |= digits.next().unwrap_or(0);
    }
    for byte in rest {
        *byte = (digits.next().unwrap_or(0) << 4) | digits.next().unwrap_or(0);
    }
    naa
}

/// What 255 bytes have left beside vendor and product.
const T10_SERIAL_MAX_LEN: usize = 255 - 8 - 16;

/// The longest iSCSI name (RFC 7143 section 4.2.7.2).
const TARGET_NAME_MAX_LEN: usize = 223;

/// Writes a page: header, body, and the length that the body turned out to have.
fn write(code: u8, out: &mut [u8], body: impl FnOnce(&mut Put<'_>)) -> usize {
    let mut put = Put::new(out);
    put.bytes(&[inquiry::DISK, code, 0, 0]);
    body(&mut put);
    let len = len16(put.len().saturating_sub(4));
    put.patch(2, &len.to_be_bytes());
    put.len()
}

/// Writes the length and the text of a SCSI name string designator: ended by a
/// null and padded with nulls to a multiple of four.
fn name_string(put: &mut Put<'_>, name: &[u8], suffix: &[u8]) {
    let text = name.len().saturating_add(suffix.len());
    let padded = text.saturating_add(4) & !3;
    put.u8(len8(padded));
    put.bytes(name);
    put.bytes(suffix);
    put.zeros(padded.saturating_sub(text));
}

/// The low half of a byte as a digit.
fn hex(half: u8) -> u8 {
    match half & 0x0f {
        digit @ 0..=9 => b'0'.saturating_add(digit),
        digit => b'a'.saturating_add(digit).saturating_sub(10),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::Pool;
    use super::*;
    use crate::proto::scsi::device::Thin;
    use crate::proto::scsi::referrals::Geometry;
    use crate::proto::scsi::unit_id::Eui64;
    use crate::proto::scsi::unit_id::Naa;
    use std::vec::Vec;

    const PORT: Port<'static> = Port {
        target_name: b"iqn.2024-01.org.example:disk0",
        portal_group: 1,
        relative_id: 2,
        group: None,
    };

    /// The full page, checked to be clipped right at every length.
    #[track_caller]
    fn build(code: u8, info: &DeviceInfo<'_>, port: &Port<'_>) -> Vec<u8> {
        let mut full = [0xa5; 1200];
        let len = page(code, info, port, &mut full).unwrap();
        assert!(full[len..].iter().all(|byte| *byte == 0xa5));
        for clip in 0..len {
            let mut part = [0xa5; 1200];
            assert_eq!(page(code, info, port, &mut part[..clip]), Ok(len));
            assert_eq!(part[..clip], full[..clip]);
            assert!(part[clip..].iter().all(|byte| *byte == 0xa5));
        }
        assert_eq!(full[0], 0);
        assert_eq!(full[1], code);
        let length = usize::from(u16::from_be_bytes([full[2], full[3]]));
        assert_eq!(length, len - 4);
        full[..len].to_vec()
    }

    fn disk(serial: &[u8]) -> DeviceInfo<'_> {
        DeviceInfo::new(serial, 512, 2048)
    }

    #[test]
    fn the_list_is_sorted_and_all_of_it_exists() {
        let info = disk(b"s");
        let list = build(SUPPORTED, &info, &PORT);
        assert_eq!(list[4..], [0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2]);
        assert!(list[4..].windows(2).all(|pair| pair[0] < pair[1]));
        let mut copies = disk(b"s");
        copies.third_party_copy = true;
        assert_eq!(
            build(SUPPORTED, &copies, &PORT)[4..],
            [0x00, 0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2]
        );
        assert_eq!(build(THIRD_PARTY_COPY, &copies, &PORT).len(), 312);
        let mut referrals = disk(b"s");
        referrals.referrals = Some(Geometry {
            size: 0x0102_0304,
            multiplier: 0x0506_0708,
        });
        assert_eq!(
            build(SUPPORTED, &referrals, &PORT)[4..],
            [0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2, 0xb3]
        );
        assert_eq!(
            build(REFERRALS, &referrals, &PORT),
            [0, 0xb3, 0, 12, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_eq!(build(EXTENDED_INQUIRY, &referrals, &PORT)[8], 0x10);
        for code in 0..=255 {
            let exists = page(code, &info, &PORT, &mut []).is_ok();
            assert_eq!(exists, list[4..].contains(&code), "{code:02x}");
        }
        assert_eq!(
            page(0xb3, &info, &PORT, &mut []),
            Err(Sense::invalid_cdb(2, None))
        );
    }

    #[test]
    fn pages_of_a_port_that_is_not_connected() {
        let mut info = disk(b"s");
        info.third_party_copy = true;
        info.referrals = Some(Geometry::default());
        info.connected = false;
        for code in PAGES {
            let mut out = [0; 256];
            let len = page(code, &info, &PORT, &mut out).unwrap();
            assert_eq!(out[0], 0x20);
            info.connected = true;
            let mut same = [0; 256];
            assert_eq!(page(code, &info, &PORT, &mut same), Ok(len));
            assert_eq!(same[0], 0x00);
            assert_eq!(same[1..], out[1..]);
            info.connected = false;
        }
    }

    #[test]
    fn serial_number() {
        assert_eq!(
            build(SERIAL, &disk(b"abc-1"), &PORT),
            [0, 0x80, 0, 5, b'a', b'b', b'c', b'-', b'1']
        );
        assert_eq!(build(SERIAL, &disk(&[b'x'; 254]), &PORT).len(), 258);
        assert_eq!(build(SERIAL, &disk(&[b'x'; 255]), &PORT).len(), 258);
    }

    #[test]
    fn device_identification() {
        let info = disk(b"b0ba2bd4-17a3-4f3b-9c6d-0f5e8a7c1234");
        let mut want = std::vec![0x00, 0x83, 0x00, 0x00];
        want.extend([0x01, 0x03, 0x00, 0x10]);
        want.extend([0x60, 0x01, 0x40, 0x5b, 0x0b, 0xa2, 0xbd, 0x41]);
        want.extend([0x7a, 0x34, 0xf3, 0xb9, 0xc6, 0xd0, 0xf5, 0xe8]);
        want.extend([0x02, 0x01, 0x00, 60]);
        want.extend(b"FERRITE disk            b0ba2bd4-17a3-4f3b-9c6d-0f5e8a7c1234");
        want.extend([0x51, 0x94, 0x00, 0x04, 0x00, 0x00, 0x00, 0x02]);
        want.extend([0x53, 0x98, 0x00, 40]);
        want.extend(b"iqn.2024-01.org.example:disk0,t,0x0001\0\0");
        want.extend([0x53, 0xa8, 0x00, 32]);
        want.extend(b"iqn.2024-01.org.example:disk0\0\0\0");
        want[3] = u8::try_from(want.len() - 4).unwrap();
        assert_eq!(build(DEVICE_ID, &info, &PORT), want);
    }

    #[test]
    fn designators_that_were_given() {
        let mut info = disk(b"beaf11");
        info.naa = Naa::parse(b"60000000000000000e00000000010001").unwrap();
        info.eui64 = Eui64::parse(b"0011223344556677").unwrap();
        info.t10 = T10::parse(b"IET     00010001").unwrap();
        let mut want = std::vec![0x01, 0x03, 0x00, 0x10];
        want.extend([0x60, 0, 0, 0, 0, 0, 0, 0, 0x0e, 0, 0, 0, 0, 0x01, 0, 0x01]);
        want.extend([0x01, 0x02, 0x00, 0x08]);
        want.extend([0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
        want.extend([0x02, 0x01, 0x00, 16]);
        want.extend(b"IET     00010001");
        want.extend([0x51, 0x94]);
        assert_eq!(build(DEVICE_ID, &info, &PORT)[4..][..want.len()], want);
        // Fewer of them, and a binary one.
        info.naa = Naa::None;
        info.eui64 = Eui64::NONE;
        info.t10 = T10::parse(b"0x494554000000000001").unwrap();
        let mut want = std::vec![0x01, 0x01, 0x00, 9];
        want.extend(b"IET\0\0\0\0\0\x01");
        want.extend([0x51, 0x94]);
        assert_eq!(build(DEVICE_ID, &info, &PORT)[4..][..want.len()], want);
        info.naa = Naa::parse(b"5000c50015ea71ac").unwrap();
        let id = build(DEVICE_ID, &info, &PORT);
        assert_eq!(id[4..10], [0x01, 0x03, 0x00, 0x08, 0x50, 0x00]);
    }

    #[test]
    fn target_port_group_and_tag() {
        let port = Port {
            portal_group: 0xfa09,
            group: Some(0x1234),
            ..PORT
        };
        let id = build(DEVICE_ID, &disk(b"0"), &port);
        let at = id.windows(4).position(|d| d == [0x51, 0x95, 0, 4]).unwrap();
        assert_eq!(id[at + 4..at + 8], [0, 0, 0x12, 0x34]);
        assert!(id.windows(9).any(|text| text == b",t,0xfa09"));
    }

    /// Every designator ends where the next begins, whatever the lengths.
    #[test]
    fn designators_fill_the_page() {
        for name in [1, 3, 4, 220, 221, 222, 223, 224, 300] {
            for serial in [0, 1, 230, 231, 232, 254, 300] {
                let serial = std::vec![b'7'; serial];
                let name = std::vec![b'n'; name];
                let port = Port {
                    target_name: &name,
                    group: Some(1),
                    ..PORT
                };
                let id = build(DEVICE_ID, &disk(&serial), &port);
                let mut rest = &id[4..];
                let mut kinds = Vec::new();
                while let [_, kind, 0, len, tail @ ..] = rest {
                    kinds.push(*kind);
                    rest = &tail[usize::from(*len)..];
                    if kind & 0x0f == 8 {
                        assert_eq!(len % 4, 0);
                        let text = &tail[..usize::from(*len)];
                        let nulls = text.iter().rev().take_while(|byte| **byte == 0);
                        assert!((1..=4).contains(&nulls.count()));
                    }
                }
                assert!(rest.is_empty());
                assert_eq!(kinds, [0x03, 0x01, 0x94, 0x95, 0x98, 0xa8]);
            }
        }
    }

    #[test]
    fn naa_skips_what_is_not_a_digit_and_pads_with_zeros() {
        assert_eq!(
            naa(0x00_1405, b"b0ba2bd4-17a3-4f3b-9c6d-0f5e8a7c1234"),
            0x6001_405b_0ba2_bd41_7a34_f3b9_c6d0_f5e8_u128.to_be_bytes()
        );
        assert_eq!(
            naa(0x00_1405, b"DISK-1"),
            0x6001_405d_1000_0000_0000_0000_0000_0000_u128.to_be_bytes()
        );
        assert_eq!(
            naa(0xab_cdef, b""),
            0x6abc_def0_0000_0000_0000_0000_0000_0000_u128.to_be_bytes()
        );
        assert_eq!(
            naa(0x00_1405, b"0123456789ABCDEFabcdef012"),
            0x6001_4050_1234_5678_9abc_defa_bcde_f012_u128.to_be_bytes()
        );
        // The 26th digit and bits above the identifier are not used.
        assert_eq!(
            naa(0xff00_1405, b"0123456789ABCDEFabcdef0129"),
            naa(0x00_1405, b"0123456789ABCDEFabcdef012")
        );
    }

    #[test]
    fn extended_inquiry_data() {
        let mut info = disk(b"s");
        let mut want = [0; 64];
        want[..7].copy_from_slice(&[0, 0x86, 0, 0x3c, 0, 0x01, 0x01]);
        assert_eq!(build(EXTENDED_INQUIRY, &info, &PORT), want);
        info.mode.write_cache = false;
        info.ordered = true;
        want[5] = 0x03;
        want[6] = 0x00;
        assert_eq!(build(EXTENDED_INQUIRY, &info, &PORT), want);
        info.head_of_queue = true;
        info.changeable.write_cache = true;
        want[5] = 0x07;
        want[6] = 0x01;
        assert_eq!(build(EXTENDED_INQUIRY, &info, &PORT), want);
    }

    fn limits() -> DeviceInfo<'static> {
        let mut info = disk(b"s");
        info.write_same_non_zero = true;
        info.max_compare_and_write = 255;
        info.optimal_granularity = 0x0102;
        info.max_transfer = 0x0304_0506;
        info.optimal_transfer = 0x0708_090a;
        info.thin = Thin {
            unmap: true,
            write_same16: true,
            write_same10: false,
            anchor: false,
            reads_zeros: true,
            thin_provisioned: true,
            max_unmap_blocks: 0x0b0c_0d0e,
            max_unmap_descriptors: 0x0f10_1112,
            granularity: 0x1314_1516,
            alignment: Some(0x1718_191a),
        };
        info.pool = Pool::parse(b"1/2", 0).unwrap();
        info.max_write_same = 0x2122_2324_2526_2728;
        info.atomic.max_len = 0x3132_3334;
        info.atomic.alignment = 0x3536_3738;
        info.atomic.granularity = 0x393a_3b3c;
        info.atomic.max_len_with_boundary = 0x4142_4344;
        info.atomic.max_boundary = 0x4546_4748;
        info
    }

    #[test]
    fn block_limits_of_everything() {
        let page = build(BLOCK_LIMITS, &limits(), &PORT);
        assert_eq!(
            page,
            [
                0x00, 0xb0, 0x00, 0x3c, 0x01, 0xff, 0x01, 0x02, // WSNZ, CAW, granularity
                0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, // maximum, optimal
                0, 0, 0, 0, 0x0b, 0x0c, 0x0d, 0x0e, // prefetch, unmap LBA count
                0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, // descriptors, granularity
                0x97, 0x18, 0x19, 0x1a, 0x21, 0x22, 0x23, 0x24, // UGAVALID, WRITE SAME
                0x25, 0x26, 0x27, 0x28, 0x31, 0x32, 0x33, 0x34, // atomic
                0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, // atomic
                0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, // atomic
            ]
        );
    }

    #[test]
    fn a_plain_disk_has_no_limits() {
        let mut want = [0; 64];
        want[..4].copy_from_slice(&[0, 0xb0, 0, 0x3c]);
        assert_eq!(build(BLOCK_LIMITS, &disk(b"s"), &PORT), want);
        want[1] = 0xb1;
        assert_eq!(build(BLOCK_CHARACTERISTICS, &disk(b"s"), &PORT), want);
        assert_eq!(
            build(PROVISIONING, &disk(b"s"), &PORT),
            [0, 0xb2, 0, 4, 0, 0, 0, 0]
        );
    }

    #[test]
    fn limits_of_what_is_missing_are_zero() {
        let mut info = limits();
        info.thin.unmap = false;
        let page = build(BLOCK_LIMITS, &info, &PORT);
        assert_eq!(page[20..28], [0; 8]);
        assert_eq!(page[28..32], [0x13, 0x14, 0x15, 0x16]);
        info.thin.write_same16 = false;
        let page = build(BLOCK_LIMITS, &info, &PORT);
        assert_eq!(page[20..36], [0; 16]);
    }

    #[test]
    fn characteristics() {
        let mut info = disk(b"s");
        info.rotation_rate = 7200;
        let mut want = [0; 64];
        want[..6].copy_from_slice(&[0, 0xb1, 0, 0x3c, 0x1c, 0x20]);
        assert_eq!(build(BLOCK_CHARACTERISTICS, &info, &PORT), want);
        info.rotation_rate = 1;
        want[4..6].copy_from_slice(&[0, 1]);
        assert_eq!(build(BLOCK_CHARACTERISTICS, &info, &PORT), want);
    }

    #[test]
    fn logical_block_provisioning() {
        let mut info = limits();
        assert_eq!(
            build(PROVISIONING, &info, &PORT),
            [0, 0xb2, 0, 4, 0x0b, 0xc4, 0x02, 0]
        );
        info.thin.thin_provisioned = false;
        info.thin.reads_zeros = false;
        info.thin.write_same16 = false;
        info.thin.write_same10 = true;
        info.thin.anchor = true;
        assert_eq!(
            build(PROVISIONING, &info, &PORT),
            [0, 0xb2, 0, 4, 0x0b, 0xa2, 0x01, 0]
        );
        info.thin.unmap = false;
        info.thin.write_same10 = false;
        assert_eq!(
            build(PROVISIONING, &info, &PORT),
            [0, 0xb2, 0, 4, 0, 0, 0, 0]
        );
    }

    #[test]
    fn no_unit() {
        let mut out = [0xa5; 8];
        assert_eq!(no_unit_page(0, &mut out), Ok(5));
        assert_eq!(out, [0x7f, 0, 0, 1, 0, 0xa5, 0xa5, 0xa5]);
        assert_eq!(
            no_unit_page(0x83, &mut out),
            Err(Sense::invalid_cdb(2, None))
        );
    }
}
