// SPDX-License-Identifier: GPL-2.0

//! `core/iblock_<n>/<device>/alua`: target port groups, and what says which of
//! them a LUN is in.

use super::text::{
    self,
    Explain, //
};
use crate::{
    proto::scsi::{
        alua::{
            AccessState,
            AccessType,
            ChangedBy, //
        },
        referrals::{
            Fault,
            Geometry,
            Segment, //
        },
    },
    sys::configfs::{
        files,
        Dir,
        Files,
        Mkdir,
        Page,
        Refusal,
        SubDir, //
    },
    target::{
        Device,
        GroupSettings,
        Lun,
        NoMap,
        TargetPortGroup,
        MAX_NONOP_DELAY_MS,
        MAX_TRANS_DELAY_MS, //
    },
};
use core::fmt::Write;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// `alua`.
pub(super) struct AluaDir;

impl Dir for AluaDir {
    type Object = Device;
    const SUBDIRS: &'static [SubDir<Device>] = &[SubDir::fallible::<GroupDir, _>(
        c"default_tg_pt_gp",
        Device::default_group,
    )];
    const MKDIR: Mkdir<Device> = Mkdir::of::<GroupDir, _, _>(make_group, remove_group);
}

fn make_group(device: &Arc<Device>, name: &[u8]) -> Result<Arc<TargetPortGroup>, Refusal> {
    if name.iter().any(|b| b.is_ascii_control() || *b == b' ') || name == NO_GROUP {
        return Err(Refusal::invalid(
            "must not have spaces or control characters, and not be NULL",
        ));
    }
    device
        .create_group(name)
        .explain(&[(ENOSPC, "there are 256 groups already")])
}

fn remove_group(device: &Arc<Device>, group: &Arc<TargetPortGroup>) {
    device.remove_group(group);
}

/// What takes a LUN back to the default group.
const NO_GROUP: &[u8] = b"NULL";

/// `alua/<group>`.
struct GroupDir;

/// A function that shows a number of a group.
macro_rules! show {
    (|$settings:ident| $number:expr) => {
        |group: &Arc<TargetPortGroup>, out: &mut Page<'_>| {
            let $settings = group.settings()?;
            Ok(writeln!(out, "{}", $number)?)
        }
    };
}

/// A function that sets a number of a group, within a range.
macro_rules! store {
    ($range:expr, |$settings:ident, $value:ident| $set:expr) => {
        |group: &Arc<TargetPortGroup>, value: &[u8]| {
            let $value = text::number(value, $range)?;
            Ok(group.change(|$settings: &mut GroupSettings| $set)?)
        }
    };
}

/// A function that shows whether a group supports a state.
macro_rules! show_support {
    ($state:ident) => {
        show!(|s| u8::from(s.support.has(AccessState::$state)))
    };
}

/// A function that lets a group support a state, or not.
macro_rules! store_support {
    ($state:ident) => {
        store!(0..=1, |s, on| s.support =
            s.support.with(AccessState::$state, on != 0))
    };
}

impl Dir for GroupDir {
    type Object = TargetPortGroup;
    const FILES: Files<TargetPortGroup> = files![
        Attr::rw(c"tg_pt_gp_id", show_id, store_id),
        Attr::rw(c"alua_access_state", show!(|s| s.state as u8), store_state),
        Attr::rw(
            c"alua_access_status",
            show!(|s| status_text(s.changed_by)),
            |group: &Arc<TargetPortGroup>, value: &[u8]| {
                let by = changed_by(value)?;
                Ok(group.change(|s| s.changed_by = by)?)
            }
        ),
        Attr::rw(
            c"alua_access_type",
            show!(|s| type_text(s.kind)),
            store!(0..=3, |s, code| s.kind =
                AccessType::from_code(u8::try_from(code).unwrap_or(0)))
        ),
        Attr::rw(
            c"alua_support_active_optimized",
            show_support!(ActiveOptimized),
            store_support!(ActiveOptimized)
        ),
        Attr::rw(
            c"alua_support_active_nonoptimized",
            show_support!(ActiveNonOptimized),
            store_support!(ActiveNonOptimized)
        ),
        Attr::rw(
            c"alua_support_standby",
            show_support!(Standby),
            store_support!(Standby)
        ),
        Attr::rw(
            c"alua_support_unavailable",
            show_support!(Unavailable),
            store_support!(Unavailable)
        ),
        Attr::rw(
            c"alua_support_offline",
            show_support!(Offline),
            store_support!(Offline)
        ),
        Attr::rw(
            c"alua_support_transitioning",
            show_support!(Transitioning),
            store_support!(Transitioning)
        ),
        Attr::rw(
            c"alua_support_lba_dependent",
            show_support!(LbaDependent),
            |group: &Arc<TargetPortGroup>, value: &[u8]| {
                group
                    .support_lba_dependent(text::flag(value)?)
                    .explain(&[(EINVAL, "the device has no lba_map")])
            }
        ),
        Attr::rw(
            c"alua_write_metadata",
            |_: &Arc<TargetPortGroup>, out: &mut Page<'_>| Ok(out.put(b"0\n")?),
            |_: &Arc<TargetPortGroup>, value: &[u8]| no_metadata(value)
        ),
        Attr::rw(
            c"preferred",
            show!(|s| u8::from(s.preferred)),
            store!(0..=1, |s, on| s.preferred = on != 0)
        ),
        Attr::rw(
            c"implicit_trans_secs",
            show!(|s| s.implicit_trans_secs),
            store!(0..=255, |s, seconds| s.implicit_trans_secs =
                u8::try_from(seconds).unwrap_or(u8::MAX))
        ),
        Attr::rw(
            c"nonop_delay_msecs",
            show!(|s| s.nonop_delay_ms),
            store!(0..=MAX_NONOP_DELAY_MS, |s, ms| s.nonop_delay_ms = ms)
        ),
        Attr::rw(
            c"trans_delay_msecs",
            show!(|s| s.trans_delay_ms),
            store!(0..=MAX_TRANS_DELAY_MS, |s, ms| s.trans_delay_ms = ms)
        ),
        Attr::ro(c"members", show_members),
    ];
}

/// Empty until the group has an identifier.
fn show_id(group: &Arc<TargetPortGroup>, out: &mut Page<'_>) -> Result<(), Refusal> {
    match group.settings()?.id {
        Some(id) => Ok(writeln!(out, "{id}")?),
        None => Ok(()),
    }
}

fn store_id(group: &Arc<TargetPortGroup>, value: &[u8]) -> Result<(), Refusal> {
    let id = text::number(value, 0..=u32::from(u16::MAX))?;
    let id = u16::try_from(id).map_err(|_| EINVAL)?;
    group.set_id(id).explain(&[
        (EEXIST, "another group has this identifier"),
        (EBUSY, "the group has another identifier already"),
    ])
}

fn store_state(group: &Arc<TargetPortGroup>, value: &[u8]) -> Result<(), Refusal> {
    let state = text::number(value, 0..=15)
        .ok()
        .and_then(|code| AccessState::from_code(u8::try_from(code).ok()?))
        .ok_or(Refusal::invalid("must be 0, 1, 2, 3, 4, 14 or 15"))?;
    if !group.settings()?.kind.is_implicit() {
        return Err(Refusal::invalid(
            "alua_access_type does not let the target change it",
        ));
    }
    group.set_state(state).explain(&[
        (ENODEV, "the group has no identifier yet"),
        (EINVAL, "the group does not support this state"),
        (EBUSY, "a transition is under way"),
        (
            EIO,
            "the state ceased to be supported during the transition",
        ),
    ])
}

/// One path a line; the list ends with the last one that fits.
fn show_members(group: &Arc<TargetPortGroup>, out: &mut Page<'_>) -> Result<(), Refusal> {
    group.for_each_member(&mut |lun| {
        let tpg = lun.tpg();
        out.fits(|out| {
            writeln!(
                out,
                "iSCSI/{}/tpgt_{}/lun_{}",
                tpg.target().name(),
                tpg.tag(),
                lun.number()
            )
        })
    });
    Ok(())
}

/// States are kept by whoever saves the configuration, not by the kernel.
fn no_metadata(value: &[u8]) -> Result<(), Refusal> {
    text::number(value, 0..=0)
        .map(|_| ())
        .map_err(|_| Refusal::invalid("must be 0: the kernel writes no files"))
}

fn changed_by(value: &[u8]) -> Result<ChangedBy, Refusal> {
    let code = text::number(value, 0..=2)?;
    Ok(ChangedBy::from_code(u8::try_from(code).map_err(|_| EINVAL)?).ok_or(EINVAL)?)
}

fn status_text(by: ChangedBy) -> &'static str {
    match by {
        ChangedBy::Nobody => "None",
        ChangedBy::Explicit => "Altered by Explicit STPG",
        ChangedBy::Implicit => "Altered by Implicit ALUA",
    }
}

fn type_text(kind: AccessType) -> &'static str {
    match (kind.is_implicit(), kind.is_explicit()) {
        (false, false) => "None",
        (true, false) => "Implicit",
        (false, true) => "Explicit",
        (true, true) => "Implicit and Explicit",
    }
}

fn state_text(state: AccessState) -> &'static str {
    match state {
        AccessState::ActiveOptimized => "Active/Optimized",
        AccessState::ActiveNonOptimized => "Active/NonOptimized",
        AccessState::Standby => "Standby",
        AccessState::Unavailable => "Unavailable",
        AccessState::LbaDependent => "LBA Dependent",
        AccessState::Offline => "Offline",
        AccessState::Transitioning => "Transitioning",
    }
}

/// SIZE and MULTIPLIER, and a line for each segment; empty without a map.
pub(super) fn show_map(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    device.with_lba_map(|map| {
        if map.is_empty() {
            return Ok(());
        }
        writeln!(out, "{} {}", map.geometry.size, map.geometry.multiplier)?;
        for segment in map.segments {
            write!(out, "{} {}", segment.first, segment.last)?;
            for (group, state) in segment.members() {
                write!(out, " {group}:{}", Segment::letter(state))?;
            }
            writeln!(out)?;
        }
        Ok(())
    })
}

pub(super) fn store_map(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    let lines = value
        .split(|byte| matches!(byte, b'\n' | b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let none = value.trim_ascii() == NO_GROUP;
    let mut geometry = None;
    let mut segments = KVec::new();
    for line in lines.filter(|_| !none) {
        if geometry.is_none() {
            geometry = Some(Geometry::parse(line).map_err(wrong_map)?);
        } else {
            segments.push(Segment::parse(line).map_err(wrong_map)?, GFP_KERNEL)?;
        }
    }
    if !none && segments.is_empty() {
        return Err(Refusal::invalid(
            "needs a line for each segment; NULL alone removes the map",
        ));
    }
    device
        .set_lba_map(geometry.unwrap_or_default(), segments)
        .map_err(|error| match error {
            NoMap::Wrong(fault) => wrong_map(fault),
            NoMap::InUse => Refusal::because(
                EBUSY,
                "a target port group is in the state that needs the map",
            ),
        })
}

fn wrong_map(fault: Fault) -> Refusal {
    Refusal::invalid(match fault {
        Fault::Syntax => {
            "must be a line (or part before a semicolon) SIZE MULTIPLIER and then lines FIRST LAST GROUP:STATE ..., with the states O, A, T and U"
        }
        Fault::Geometry => "SIZE and MULTIPLIER must both be 0, or neither",
        Fault::Backwards => "a segment ends before it begins",
        Fault::Overlap => "segments must be in ascending order and have no block in common",
        Fault::Members => "a segment names a target port group twice, or more than eight",
        Fault::TooMany => "must have 64 segments at most",
    })
}

const NO_DEVICE: (Error, &str) = (ENODEV, "the LUN has no device");

/// The files of `lun/lun_<n>`.
pub(super) const LUN_FILES: Files<Lun> = files![
    Attr::rw(c"alua_tg_pt_gp", show_group, store_group),
    Attr::rw(
        c"alua_tg_pt_offline",
        |lun: &Arc<Lun>, out: &mut Page<'_>| {
            let offline = lun.with_place(|_, place| place.offline)?;
            Ok(writeln!(out, "{}", u8::from(offline))?)
        },
        |lun: &Arc<Lun>, value: &[u8]| {
            lun.set_offline(text::flag(value)?)
                .explain(&[NO_DEVICE, (EINVAL, "its group does not support this state")])
        }
    ),
    Attr::rw(
        c"alua_tg_pt_status",
        |lun: &Arc<Lun>, out: &mut Page<'_>| {
            let status = lun.with_place(|_, place| place.status)?;
            Ok(writeln!(out, "{}", status as u8)?)
        },
        |lun: &Arc<Lun>, value: &[u8]| {
            lun.set_offline_status(changed_by(value)?)
                .explain(&[NO_DEVICE])
        }
    ),
    Attr::rw(
        c"alua_tg_pt_write_md",
        |_: &Arc<Lun>, out: &mut Page<'_>| Ok(out.put(b"0\n")?),
        |_: &Arc<Lun>, value: &[u8]| no_metadata(value)
    ),
];

/// Empty without a device.
fn show_group(lun: &Arc<Lun>, out: &mut Page<'_>) -> Result<(), Refusal> {
    if lun.device().is_none() {
        return Ok(());
    }
    let offline = |place: &crate::target::Place| match place.offline {
        true => "Offline",
        false => "None",
    };
    lun.with_place(|name, place| {
        out.put(b"TG Port Alias: ")?;
        out.put(name)?;
        write!(
            out,
            "\nTG Port Group ID: {}\nTG Port Primary Access State: {}\n\
             TG Port Primary Access Status: {}\nTG Port Secondary Access State: {}\n\
             TG Port Secondary Access Status: {}\n",
            place.group.id.unwrap_or(0),
            state_text(place.group.state),
            status_text(place.group.changed_by),
            offline(place),
            status_text(place.status)
        )
    })??;
    Ok(())
}

fn store_group(lun: &Arc<Lun>, value: &[u8]) -> Result<(), Refusal> {
    let name = text::label(value.trim_ascii(), 1..=255)?;
    lun.set_group((name != NO_GROUP).then_some(name)).explain(&[
        NO_DEVICE,
        (
            ENOENT,
            "the device has no target port group of that name with an identifier",
        ),
    ])
}
