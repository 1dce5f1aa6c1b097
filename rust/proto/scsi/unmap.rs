// SPDX-License-Identifier: GPL-2.0

//! The parameter list of UNMAP (SBC-3, "UNMAP command").

use super::device::DeviceInfo;
use super::put::len16;
use super::range::check_range;
use super::sense::Sense;

const HEADER_LEN: usize = 8;
const DESCRIPTOR_LEN: usize = 16;

/// The blocks of an UNMAP, all of them checked: first LBA and how many, never
/// zero.
#[derive(Clone, Debug)]
pub struct Extents<'a> {
    descriptors: &'a [u8],
}

/// Checks a parameter list, as long as the CDB says, down to its last
/// descriptor. An empty list unmaps nothing.
///
/// As SBC-3 demands, a descriptor that the list or UNMAP BLOCK DESCRIPTOR DATA
/// LENGTH cuts off is ignored.
///
/// # Errors
/// PARAMETER LIST LENGTH ERROR when there is not even a header. INVALID FIELD
/// IN PARAMETER LIST for more descriptors or blocks than the Block Limits page
/// allows. LOGICAL BLOCK ADDRESS OUT OF RANGE.
pub fn parse<'a>(list: &'a [u8], info: &DeviceInfo<'_>) -> Result<Extents<'a>, Sense> {
    if list.is_empty() {
        return Ok(Extents { descriptors: &[] });
    }
    let [_, _, a, b, _, _, _, _, rest @ ..] = list else {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
    };
    let len = usize::from(u16::from_be_bytes([*a, *b]));
    let descriptors = rest.get(..len).unwrap_or(rest);

    let mut count = 0u32;
    let mut total = 0u64;
    let mut at = HEADER_LEN;
    for (lba, blocks) in raw(descriptors) {
        count = count.saturating_add(1);
        if count > info.thin.max_unmap_descriptors {
            return Err(Sense::invalid_parameter(2, None));
        }
        total = total.saturating_add(u64::from(blocks));
        if info.thin.max_unmap_blocks != u32::MAX && total > u64::from(info.thin.max_unmap_blocks) {
            return Err(Sense::invalid_parameter(len16(at.saturating_add(8)), None));
        }
        check_range(lba, u64::from(blocks), info.blocks)?;
        at = at.saturating_add(DESCRIPTOR_LEN);
    }
    Ok(Extents { descriptors })
}

impl Iterator for Extents<'_> {
    type Item = (u64, u32);

    fn next(&mut self) -> Option<(u64, u32)> {
        loop {
            let (descriptor, rest) = self.descriptors.split_first_chunk::<DESCRIPTOR_LEN>()?;
            self.descriptors = rest;
            let (lba, blocks) = descriptor_fields(descriptor);
            if blocks != 0 {
                return Some((lba, blocks));
            }
        }
    }
}

/// All descriptors that are whole.
fn raw(descriptors: &[u8]) -> impl Iterator<Item = (u64, u32)> + '_ {
    descriptors
        .chunks_exact(DESCRIPTOR_LEN)
        .filter_map(|bytes| bytes.first_chunk().map(descriptor_fields))
}

fn descriptor_fields(bytes: &[u8; DESCRIPTOR_LEN]) -> (u64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *bytes;
    (
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u32::from_be_bytes([i, j, k, l]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn info(blocks: u64) -> DeviceInfo<'static> {
        let mut info = DeviceInfo::new(b"s", 512, blocks);
        info.thin.unmap = true;
        info.thin.max_unmap_blocks = 64;
        info.thin.max_unmap_descriptors = 3;
        info
    }

    fn list(descriptors: &[(u64, u32)]) -> Vec<u8> {
        let len = u16::try_from(descriptors.len() * 16).unwrap();
        let mut list = Vec::new();
        list.extend((len + 6).to_be_bytes());
        list.extend(len.to_be_bytes());
        list.extend([0; 4]);
        for (lba, blocks) in descriptors {
            list.extend(lba.to_be_bytes());
            list.extend(blocks.to_be_bytes());
            list.extend([0; 4]);
        }
        list
    }

    fn run(list: &[u8], info: &DeviceInfo<'_>) -> Result<Vec<(u64, u32)>, Sense> {
        parse(list, info).map(|extents| extents.collect())
    }

    #[test]
    fn a_list_from_the_wire() {
        let bytes = [
            0x00, 0x26, 0x00, 0x20, 0, 0, 0, 0, // header
            0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x08, 0, 0, 0, 0, // 16, 8
            0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0x01, 0, 0, 0, 0, // 64, 1
        ];
        assert_eq!(run(&bytes, &info(100)), Ok(std::vec![(16, 8), (64, 1)]));
        assert_eq!(bytes[..], list(&[(16, 8), (64, 1)])[..]);
    }

    #[test]
    fn nothing_to_unmap() {
        assert_eq!(run(&[], &info(100)), Ok(std::vec![]));
        assert_eq!(run(&list(&[]), &info(100)), Ok(std::vec![]));
        assert_eq!(run(&list(&[(100, 0)]), &info(100)), Ok(std::vec![]));
        let zeros = list(&[(1, 0), (5, 2), (7, 0)]);
        assert_eq!(run(&zeros, &info(100)), Ok(std::vec![(5, 2)]));
    }

    #[test]
    fn every_prefix() {
        let whole = list(&[(0, 1), (10, 2), (20, 3)]);
        for len in 0..whole.len() {
            let got = run(&whole[..len], &info(100));
            match len {
                0 => assert_eq!(got, Ok(std::vec![])),
                1..8 => assert_eq!(got, Err(Sense::PARAMETER_LIST_LENGTH_ERROR)),
                8..24 => assert_eq!(got, Ok(std::vec![])),
                24..40 => assert_eq!(got, Ok(std::vec![(0, 1)])),
                _ => assert_eq!(got, Ok(std::vec![(0, 1), (10, 2)])),
            }
        }
    }

    #[test]
    fn the_length_field_cuts_off_too() {
        let mut bytes = list(&[(0, 1), (10, 2)]);
        bytes[3] = 31;
        assert_eq!(run(&bytes, &info(100)), Ok(std::vec![(0, 1)]));
        bytes[3] = 16;
        assert_eq!(run(&bytes, &info(100)), Ok(std::vec![(0, 1)]));
        bytes[3] = 15;
        assert_eq!(run(&bytes, &info(100)), Ok(std::vec![]));
    }

    #[test]
    fn limits() {
        let three = [(0, 1), (1, 1), (2, 1)];
        assert!(run(&list(&three), &info(100)).is_ok());
        let four = [(0, 0), (1, 1), (2, 1), (3, 1)];
        assert_eq!(
            run(&list(&four), &info(100)),
            Err(Sense::invalid_parameter(2, None))
        );
        assert!(run(&list(&[(0, 32), (40, 32)]), &info(100)).is_ok());
        assert_eq!(
            run(&list(&[(0, 32), (40, 33)]), &info(100)),
            Err(Sense::invalid_parameter(8 + 16 + 8, None))
        );
        let mut unlimited = info(u64::MAX);
        unlimited.thin.max_unmap_blocks = u32::MAX;
        unlimited.thin.max_unmap_descriptors = u32::MAX;
        let big = [(0, u32::MAX), (1, u32::MAX), (2, 1), (3, 1), (4, 1)];
        assert_eq!(run(&list(&big), &unlimited).unwrap().len(), 5);
    }

    #[test]
    fn a_bad_last_descriptor_spoils_all() {
        let bad = |lba, blocks| run(&list(&[(0, 1), (lba, blocks)]), &info(100)).unwrap_err();
        assert!(run(&list(&[(0, 1), (99, 1)]), &info(100)).is_ok());
        for (lba, blocks) in [
            (99, 2),
            (100, 1),
            (101, 0),
            (u64::MAX, 1),
            (u64::MAX, 2),
            (u64::MAX - 30, 60),
        ] {
            assert!(bad(lba, blocks).is(&Sense::LBA_OUT_OF_RANGE));
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), blocks: u64) {
            let mut info = info(blocks);
            info.thin.max_unmap_blocks = u32::MAX;
            info.thin.max_unmap_descriptors = u32::MAX;
            if let Ok(extents) = run(&bytes, &info) {
                for (lba, count) in extents {
                    prop_assert!(count != 0);
                    prop_assert!(u128::from(lba) + u128::from(count) <= u128::from(blocks));
                }
            }
        }

        #[test]
        fn what_is_written_is_read(
            descriptors in prop::collection::vec((0u64..100, 1u32..20), 0..4)
        ) {
            let mut info = info(120);
            info.thin.max_unmap_blocks = u32::MAX;
            prop_assert_eq!(run(&list(&descriptors), &info), Ok(descriptors));
        }
    }
}
