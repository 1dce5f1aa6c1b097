// SPDX-License-Identifier: GPL-2.0

//! Vital product data pages (SPC-4 and SBC-3, "Vital product data parameters").

use super::device::DeviceInfo;
use super::device::Port;
use super::inquiry;
use super::put::len16;
use super::put::len8;
use super::put::Put;
use super::sense::Sense;

/// Supported VPD Pages.
pub const SUPPORTED: u8 = 0x00;
/// Unit Serial Number.
pub const SERIAL: u8 = 0x80;
/// Device Identification.
pub const DEVICE_ID: u8 = 0x83;
/// Extended INQUIRY Data.
pub const EXTENDED_INQUIRY: u8 = 0x86;
/// Block Limits.
pub const BLOCK_LIMITS: u8 = 0xb0;
/// Block Device Characteristics.
pub const BLOCK_CHARACTERISTICS: u8 = 0xb1;
/// Logical Block Provisioning.
pub const PROVISIONING: u8 = 0xb2;

/// The page codes of a disk, in ascending order as SPC-4 wants them listed.
pub const PAGES: [u8; 7] = [
    SUPPORTED,
    SERIAL,
    DEVICE_ID,
    EXTENDED_INQUIRY,
    BLOCK_LIMITS,
    BLOCK_CHARACTERISTICS,
    PROVISIONING,
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
    match code {
        SUPPORTED => Ok(supported(out)),
        SERIAL => Ok(serial(info, out)),
        DEVICE_ID => Ok(device_id(info, port, out)),
        EXTENDED_INQUIRY => Ok(extended_inquiry(info, out)),
        BLOCK_LIMITS => Ok(block_limits(info, out)),
        BLOCK_CHARACTERISTICS => Ok(block_characteristics(info, out)),
        PROVISIONING => Ok(provisioning(info, out)),
        _ => Err(Sense::invalid_cdb(2, None)),
    }
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
pub fn supported(out: &mut [u8]) -> usize {
    write(SUPPORTED, out, |put| put.bytes(&PAGES))
}

/// 80h, Unit Serial Number.
pub fn serial(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    write(SERIAL, out, |put| put.bytes(info.serial()))
}

/// 83h, Device Identification.
///
/// For the logical unit an NAA and a T10 vendor ID designator, for the target
/// port its relative identifier, its group if there are any, and its name, for
/// the target device its name (SPC-4, "Device Identification VPD page").
pub fn device_id(info: &DeviceInfo<'_>, port: &Port<'_>, out: &mut [u8]) -> usize {
    write(DEVICE_ID, out, |put| {
        // Logical unit, binary, NAA.
        put.bytes(&[0x01, 0x03, 0x00, 0x10]);
        put.bytes(&naa(info.company_id, info.serial()));

        // Logical unit, ASCII, T10 vendor ID.
        let serial = info.serial();
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
        put.zeros_to(64);
    })
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
        put.u8(thin.threshold_exponent);
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
    for (at, byte) in naa.iter_mut().enumerate().skip(3) {
        if at > 3 {
            *byte |= digits.next().unwrap_or(0) << 4;
        }
        *byte |= digits.next().unwrap_or(0);
    }
    naa
}

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

/// A half byte as a digit: RFC 7143 section 3 names target ports with upper
/// case hexadecimal digits as well as with lower case ones.
fn hex(half: u8) -> u8 {
    match half & 0x0f {
        digit @ 0..=9 => b'0'.saturating_add(digit),
        digit => b'a'.saturating_add(digit).saturating_sub(10),
    }
}
