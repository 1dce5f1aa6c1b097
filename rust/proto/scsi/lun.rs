// SPDX-License-Identifier: GPL-2.0

//! Logical unit numbers on the wire (SAM-5, "Logical unit number (LUN)
//! structure").

/// The REPORT LUNS well known logical unit.
pub const REPORT_LUNS_WELL_KNOWN: u64 = 0xc101_0000_0000_0000;

/// The largest number that [`encode`] can put on the wire.
pub const LUN_MAX: u16 = 0x3fff;

/// The number of a logical unit at the first level, 0 to [`LUN_MAX`].
///
/// Reads peripheral device addressing of bus 0 (0 to 255) and flat space
/// addressing. Anything else, such as a further level, another bus or an
/// extended or well known logical unit, is None: no logical unit of that name
/// exists.
pub fn decode(lun: u64) -> Option<u16> {
    let [a, b, rest @ ..] = lun.to_be_bytes();
    if rest != [0; 6] {
        return None;
    }
    match a >> 6 {
        0b00 if a == 0 => Some(u16::from(b)),
        0b01 => Some(u16::from_be_bytes([a & 0x3f, b])),
        _ => None,
    }
}

/// The eight bytes for a logical unit: peripheral device addressing below 256,
/// flat space addressing from there to [`LUN_MAX`], as Linux and LIO write them.
///
/// Bits above 13 are dropped.
pub fn encode(lun: u16) -> u64 {
    let lun = lun & LUN_MAX;
    let method = if lun < 0x100 { 0 } else { 0x4000 };
    u64::from(method | lun) << 48
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_forms() {
        assert_eq!(encode(0), 0);
        assert_eq!(encode(1), 0x0001_0000_0000_0000);
        assert_eq!(encode(255), 0x00ff_0000_0000_0000);
        assert_eq!(encode(256), 0x4100_0000_0000_0000);
        assert_eq!(encode(0x3fff), 0x7fff_0000_0000_0000);
        // Flat space addressing of a small number is the same unit.
        assert_eq!(decode(0x4001_0000_0000_0000), Some(1));
    }

    #[test]
    fn all_numbers_survive() {
        for lun in 0..=LUN_MAX {
            assert_eq!(decode(encode(lun)), Some(lun));
        }
    }

    #[test]
    fn other_forms_name_nothing() {
        for lun in [
            0x0100_0000_0000_0000, // bus 1
            0x0001_0001_0000_0000, // a second level
            0x0001_0000_0000_0001,
            0x8001_0000_0000_0000, // logical unit addressing
            REPORT_LUNS_WELL_KNOWN,
            u64::MAX,
        ] {
            assert_eq!(decode(lun), None, "{lun:016x}");
        }
    }
}
