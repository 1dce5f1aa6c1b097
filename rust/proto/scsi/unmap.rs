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
