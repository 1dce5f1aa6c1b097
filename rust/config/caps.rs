// SPDX-License-Identifier: GPL-2.0

//! `attrib/max_iops` and `attrib/max_bytes_per_second`: what a LUN or an
//! initiator may use.

use super::text;
use crate::{
    sys::configfs::{
        files,
        Dir,
        Files,
        Page,
        Refusal, //
    },
    target::{
        Caps,
        Lun, //
    }, //
};
use core::{
    fmt::Write,
    ops::RangeInclusive, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Commands in a second.
const IOPS: RangeInclusive<u64> = 1..=10_000_000;

/// Bytes in a second. With less, a single command takes longer than initiators
/// wait for one.
const BYTES: RangeInclusive<u64> = 65_536..=1_000_000_000_000;

/// `lun/lun_<n>/attrib`.
pub(super) struct LunAttribDir;

impl Dir for LunAttribDir {
    type Object = Lun;
    const FILES: Files<Lun> = files![
        Attr::rw(
            c"max_iops",
            |lun: &Arc<Lun>, out: &mut Page<'_>| show_iops(lun.caps(), out),
            |lun: &Arc<Lun>, value: &[u8]| store_iops(lun.caps(), value)
        ),
        Attr::rw(
            c"max_bytes_per_second",
            |lun: &Arc<Lun>, out: &mut Page<'_>| show_bytes(lun.caps(), out),
            |lun: &Arc<Lun>, value: &[u8]| store_bytes(lun.caps(), value)
        ),
    ];
}

pub(super) fn show_iops(caps: &Caps, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(writeln!(out, "{}", caps.max_iops())?)
}

pub(super) fn store_iops(caps: &Arc<Caps>, value: &[u8]) -> Result<(), Refusal> {
    caps.set_max_iops(iops(value)?);
    Ok(())
}

pub(super) fn show_bytes(caps: &Caps, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(writeln!(out, "{}", caps.max_bytes())?)
}

pub(super) fn store_bytes(caps: &Arc<Caps>, value: &[u8]) -> Result<(), Refusal> {
    caps.set_max_bytes(bytes(value)?);
    Ok(())
}

pub(super) fn iops(value: &[u8]) -> Result<u64, Refusal> {
    text::zero_or(value, IOPS)
}

pub(super) fn bytes(value: &[u8]) -> Result<u64, Refusal> {
    text::zero_or(value, BYTES)
}
