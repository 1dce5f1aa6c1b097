// SPDX-License-Identifier: GPL-2.0

//! The parameter lists that no other target has, and the LUN that a command is
//! for: the first byte says which it is, the next two which unit it is sent to.

use super::cdb::unit;
use ferrite_proto::scsi::{
    alua::{
        AccessState,
        Changes, //
    },
    lun,
    mode,
    rod,
    unmap,
    DeviceInfo,
    Sense,
    SenseKey, //
};

/// The longest list that a CDB can tell the length of, of those that are here.
const MOST: usize = 0xffff;

/// Runs one input.
pub fn run(data: &[u8]) {
    let [which, bits, size, list @ ..] = data else {
        return;
    };
    let list = list.get(..MOST).unwrap_or(list);
    let mut info = unit(*bits, *size);
    let refused = match which % 7 {
        0 => unmapped(list, &info),
        1 => selected(list, true, &mut info),
        2 => selected(list, false, &mut info),
        3 => changed(list),
        4 => populated(list, &info),
        5 => written(list, &info),
        _ => return located(list),
    };
    let Err(sense) = refused else {
        return;
    };
    assert_eq!(sense.key, SenseKey::IllegalRequest);
    if let Some(field) = sense.field {
        assert!(!field.cdb && usize::from(field.byte) < list.len());
    }
}

fn inside(lba: u64, blocks: u32, info: &DeviceInfo<'_>) -> bool {
    lba.checked_add(u64::from(blocks))
        .is_some_and(|end| end <= info.blocks)
}

fn unmapped(list: &[u8], info: &DeviceInfo<'_>) -> Result<(), Sense> {
    let (mut count, mut sum) = (0u32, 0u64);
    for (lba, blocks) in unmap::parse(list, info)? {
        assert!(blocks != 0 && inside(lba, blocks, info));
        count += 1;
        sum += u64::from(blocks);
    }
    assert!(count <= info.thin.max_unmap_descriptors);
    assert!(sum <= u64::from(info.thin.max_unmap_blocks));
    Ok(())
}

fn selected(list: &[u8], six: bool, info: &mut DeviceInfo<'_>) -> Result<(), Sense> {
    let before = info.mode;
    let after = mode::select(list, six, info)?;
    if !info.changeable.write_cache {
        // Of this unit nothing may be changed.
        assert_eq!(after, before);
    }
    // What has been taken is taken again, and changes nothing then.
    info.mode = after;
    assert_eq!(mode::select(list, six, info), Ok(after));
    Ok(())
}

fn changed(list: &[u8]) -> Result<(), Sense> {
    let changes: Vec<_> = Changes::parse(list)?.iter().collect();
    assert_eq!(changes.len(), list.len().saturating_sub(4) / 4);
    for (n, change) in changes.iter().enumerate() {
        assert!(usize::from(change.at) < list.len());
        assert!(!matches!(
            change.state,
            AccessState::Transitioning | AccessState::LbaDependent
        ));
        let offline = |state| state == AccessState::Offline;
        assert!(!changes
            .iter()
            .take(n)
            .any(|other| other.id == change.id && offline(other.state) == offline(change.state)));
    }
    Ok(())
}

/// Blocks of the unit, each once, and not too many.
fn named(extents: &rod::Extents<'_>, info: &DeviceInfo<'_>) {
    let all: Vec<_> = extents.iter().collect();
    assert!(!all.is_empty() && all.len() <= usize::from(rod::MAX_RANGES));
    assert!(all.iter().all(|e| inside(e.lba, e.blocks, info)));
    let blocks = extents.blocks();
    assert!(blocks * u64::from(info.block_size) <= rod::MAX_TOKEN_BYTES);
    for (n, one) in all.iter().enumerate() {
        assert!(!rod::meet([*one].into_iter(), all[..n].iter().copied()));
    }
    for skip in [0, 1, blocks / 2, blocks.saturating_sub(1), blocks, u64::MAX] {
        match rod::locate(extents.iter(), skip) {
            None => assert!(skip >= blocks),
            Some((lba, left)) => {
                assert!(skip < blocks && left != 0 && left <= blocks - skip);
                assert!(all
                    .iter()
                    .any(|e| e.lba <= lba && lba + left == e.lba + u64::from(e.blocks)));
            }
        }
    }
}

fn populated(list: &[u8], info: &DeviceInfo<'_>) -> Result<(), Sense> {
    let asked = rod::parse_populate(list, info)?;
    assert!((1..=rod::MAX_TIMEOUT).contains(&asked.timeout));
    named(&asked.extents, info);
    Ok(())
}

fn written(list: &[u8], info: &DeviceInfo<'_>) -> Result<(), Sense> {
    let asked = rod::parse_write(list, info)?;
    named(&asked.extents, info);
    rod::check_token(asked.token)
}

/// A LUN names one unit, or none.
fn located(list: &[u8]) {
    let Some(address) = list.first_chunk() else {
        return;
    };
    if let Some(number) = lun::decode(u64::from_be_bytes(*address)) {
        assert!(number <= lun::LUN_MAX);
        assert_eq!(lun::decode(lun::encode(number)), Some(number));
    }
}
