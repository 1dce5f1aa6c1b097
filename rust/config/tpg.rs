// SPDX-License-Identifier: GPL-2.0

//! `iscsi/<target>/tpgt_<n>`: a portal group.

use super::{
    acl::AclDir,
    alua::LUN_FILES,
    auth::{
        self,
        auth_files, //
    },
    backstore::DeviceDir,
    caps::{
        self,
        LunAttribDir, //
    },
    iscsi::iscsi_name,
    portal::PortalsDir,
    statistics::{
        show_sessions,
        StatisticsDir, //
    },
    text::{
        self,
        Explain, //
    }, //
};
use crate::{
    proto::{
        group::GroupName,
        login::params::TpgParams, //
    },
    sys::configfs::{
        files,
        long_files,
        Dir,
        Files,
        LongFiles,
        Mkdir,
        Page,
        Refusal,
        SubDir,
        Symlink, //
    },
    target::{
        Acl,
        AclName,
        Device,
        Lun,
        Tpg,
        TpgAttrib,
        WhichSessions, //
    }, //
};
use core::fmt::Write;
use kernel::{
    prelude::*,
    str::CStr,
    sync::Arc, //
};

/// The greatest number of a LUN: what fits in a single-level LUN of the flat
/// space addressing method (SAM-5 4.7.4).
pub(super) const MAX_LUN: u32 = 16383;

/// `tpgt_<n>`.
pub(super) struct TpgDir;

impl Dir for TpgDir {
    type Object = Tpg;
    const FILES: Files<Tpg> = files![
        Attr::rw(
            c"enable",
            |tpg: &Arc<Tpg>, out: &mut Page<'_>| Ok(writeln!(
                out,
                "{}",
                u8::from(tpg.is_enabled())
            )?),
            |tpg: &Arc<Tpg>, value: &[u8]| Ok(tpg.set_enabled(text::flag(value)?)?)
        ),
        Attr::rw(
            c"rtpi",
            |tpg: &Arc<Tpg>, out: &mut Page<'_>| Ok(writeln!(out, "{:#x}", tpg.rtpi())?),
            store_rtpi
        ),
        Attr::ro(c"dynamic_sessions", show_dynamic_sessions),
        Attr::wo(c"close_sessions", store_close_sessions),
    ];
    const LONG_FILES: LongFiles<Tpg> = long_files![c"sessions" => show_sessions];
    const SUBDIRS: &'static [SubDir<Tpg>] = &[
        SubDir::new::<AttribDir, _>(c"attrib", Arc::clone),
        SubDir::new::<AuthDir, _>(c"auth", Arc::clone),
        SubDir::new::<ParamDir, _>(c"param", Arc::clone),
        SubDir::new::<PortalsDir, _>(c"np", Arc::clone),
        SubDir::new::<LunsDir, _>(c"lun", Arc::clone),
        SubDir::new::<AclsDir, _>(c"acls", Arc::clone),
    ];
}

fn store_rtpi(tpg: &Arc<Tpg>, value: &[u8]) -> Result<(), Refusal> {
    let value = text::number(value, 1..=u32::from(u16::MAX))?;
    let value = u16::try_from(value).map_err(|_| EINVAL)?;
    tpg.set_rtpi(value).explain(&[
        (EBUSY, "cannot change while the portal group is enabled"),
        (EEXIST, "another portal group has this identifier"),
    ])
}

/// One name a line; the list ends with the last name that fits.
fn show_dynamic_sessions(tpg: &Arc<Tpg>, out: &mut Page<'_>) -> Result<(), Refusal> {
    tpg.for_each_dynamic_session(&mut |name| out.fits(|out| writeln!(out, "{name}")));
    Ok(())
}

/// `NAME`, `#` and the number of a session, or `*`, and perhaps seconds that the initiator has to log out.
fn store_close_sessions(tpg: &Arc<Tpg>, value: &[u8]) -> Result<(), Refusal> {
    let value = text::utf8(value)?.trim_ascii();
    let (who, seconds) = match value.split_once(' ') {
        Some((who, seconds)) => (who, Some(seconds)),
        None => (value, None),
    };
    let name;
    let which = match who.strip_prefix('#') {
        Some(id) => WhichSessions::One(text::number(id.as_bytes(), 1..=u32::MAX)?),
        None if who == "*" => WhichSessions::All,
        None => {
            name = iscsi_name(who.as_bytes())?;
            WhichSessions::Of(&name)
        }
    };
    let patience = match seconds {
        Some(seconds) => {
            let seconds = text::number(seconds.as_bytes(), 1..=3600)?;
            Some(u16::try_from(seconds).map_err(|_| EINVAL)?)
        }
        None => None,
    };
    tpg.close_sessions(which, patience)
        .explain(&[(ENOENT, "no such session")])
}

/// `attrib`.
struct AttribDir;

/// A function that shows an attribute.
macro_rules! show {
    ($which:ident) => {
        |tpg: &Arc<Tpg>, out: &mut Page<'_>| Ok(writeln!(out, "{}", tpg.attrib(TpgAttrib::$which))?)
    };
}

/// A function that sets an attribute to a number of a range.
macro_rules! store {
    ($which:ident, $min:literal ..= $max:literal) => {
        |tpg: &Arc<Tpg>, value: &[u8]| {
            let value = text::number(value, $min..=$max)?;
            Ok(tpg.set_attrib(TpgAttrib::$which, value)?)
        }
    };
}

impl Dir for AttribDir {
    type Object = Tpg;
    const FILES: Files<Tpg> = files![
        Attr::rw(
            c"authentication",
            show!(Authentication),
            store!(Authentication, 0..=1)
        ),
        Attr::rw(
            c"chap_algorithms",
            |tpg: &Arc<Tpg>, out: &mut Page<'_>| Ok(writeln!(out, "{}", tpg.algorithms())?),
            |tpg: &Arc<Tpg>, value: &[u8]| Ok(tpg.set_algorithms(auth::algorithms(value)?)?)
        ),
        Attr::rw(
            c"login_timeout",
            show!(LoginTimeout),
            store!(LoginTimeout, 5..=30)
        ),
        Attr::rw(
            c"generate_node_acls",
            show!(GenerateNodeAcls),
            store!(GenerateNodeAcls, 0..=1)
        ),
        Attr::rw(
            c"cache_dynamic_acls",
            show!(CacheDynamicAcls),
            store_cache_dynamic_acls
        ),
        Attr::rw(
            c"default_cmdsn_depth",
            show!(DefaultCmdsnDepth),
            store!(DefaultCmdsnDepth, 1..=512)
        ),
        Attr::rw(
            c"demo_mode_write_protect",
            show!(DemoModeWriteProtect),
            store!(DemoModeWriteProtect, 0..=1)
        ),
        Attr::rw(
            c"prod_mode_write_protect",
            show!(ProdModeWriteProtect),
            store!(ProdModeWriteProtect, 0..=1)
        ),
        Attr::rw(
            c"demo_mode_discovery",
            show!(DemoModeDiscovery),
            store!(DemoModeDiscovery, 0..=1)
        ),
        Attr::rw(
            c"tpg_enabled_sendtargets",
            show!(TpgEnabledSendtargets),
            store!(TpgEnabledSendtargets, 0..=1)
        ),
        Attr::rw(c"default_erl", show!(DefaultErl), store!(DefaultErl, 0..=0)),
        Attr::rw(
            c"nopin_timeout",
            show!(NopinTimeout),
            |tpg: &Arc<Tpg>, value: &[u8]| {
                Ok(tpg.set_attrib(TpgAttrib::NopinTimeout, nopin_timeout(value)?)?)
            }
        ),
        Attr::rw(
            c"nopin_response_timeout",
            show!(NopinResponseTimeout),
            store!(NopinResponseTimeout, 3..=60)
        ),
        Attr::rw(c"scsi_events", show!(ScsiEvents), store!(ScsiEvents, 0..=1)),
        Attr::rw(
            c"demo_mode_max_iops",
            |tpg: &Arc<Tpg>, out: &mut Page<'_>| {
                let [iops, _] = tpg.demo_caps();
                Ok(writeln!(out, "{iops}")?)
            },
            |tpg: &Arc<Tpg>, value: &[u8]| {
                tpg.set_demo_iops(caps::iops(value)?);
                Ok(())
            }
        ),
        Attr::rw(
            c"demo_mode_max_bytes_per_second",
            |tpg: &Arc<Tpg>, out: &mut Page<'_>| {
                let [_, bytes] = tpg.demo_caps();
                Ok(writeln!(out, "{bytes}")?)
            },
            |tpg: &Arc<Tpg>, value: &[u8]| {
                tpg.set_demo_bytes(caps::bytes(value)?);
                Ok(())
            }
        ),
    ];
}

/// Reads the seconds between keepalives: none, or 3 to 60.
pub(super) fn nopin_timeout(value: &[u8]) -> Result<u32, Refusal> {
    let wrong = || Refusal::invalid("must be 0 or a number from 3 to 60");
    match text::number(value, 0..=60).map_err(|_| wrong())? {
        1 | 2 => Err(wrong()),
        seconds => Ok(seconds),
    }
}

fn store_cache_dynamic_acls(tpg: &Arc<Tpg>, value: &[u8]) -> Result<(), Refusal> {
    let on = text::flag(value)?;
    if !on && tpg.attrib(TpgAttrib::GenerateNodeAcls) != 0 {
        return Err(Refusal::invalid("must be 1 while generate_node_acls is 1"));
    }
    Ok(tpg.set_attrib(TpgAttrib::CacheDynamicAcls, u32::from(on))?)
}

/// `auth`.
struct AuthDir;

impl Dir for AuthDir {
    type Object = Tpg;
    const FILES: Files<Tpg> = auth_files![Tpg];
}

/// `param`: what is offered in negotiation.
struct ParamDir;

/// The files of `param`, each called as the key that it sets.
macro_rules! params {
    ($($name:literal),+ $(,)?) => {
        /// Their names, to be counted below.
        #[allow(dead_code, reason = "a constant that only an assertion uses")]
        const PARAMS: &[&CStr] = &[$($name),+];

        impl Dir for ParamDir {
            type Object = Tpg;
            const FILES: Files<Tpg> = files![$(Attr::rw(
                $name,
                |tpg: &Arc<Tpg>, out: &mut Page<'_>| show_param(tpg, $name, out),
                |tpg: &Arc<Tpg>, value: &[u8]| store_param(tpg, $name, value)
            )),+];
        }
    };
}

params![
    c"AuthMethod",
    c"HeaderDigest",
    c"DataDigest",
    c"MaxConnections",
    c"TargetAlias",
    c"InitialR2T",
    c"ImmediateData",
    c"MaxRecvDataSegmentLength",
    c"MaxXmitDataSegmentLength",
    c"MaxBurstLength",
    c"FirstBurstLength",
    c"DefaultTime2Wait",
    c"DefaultTime2Retain",
    c"MaxOutstandingR2T",
    c"DataPDUInOrder",
    c"DataSequenceInOrder",
    c"ErrorRecoveryLevel",
    c"IFMarker",
    c"OFMarker",
    c"IFMarkInt",
    c"OFMarkInt",
];

// No parameter was forgotten.
const _: () = assert!(PARAMS.len() == TpgParams::NAMES.len());

fn show_param(tpg: &Tpg, name: &CStr, out: &mut Page<'_>) -> Result<(), Refusal> {
    let name = text::utf8(name.to_bytes())?;
    tpg.with_params(|params| params.show(name, out))?;
    Ok(out.put(b"\n")?)
}

fn store_param(tpg: &Tpg, name: &CStr, value: &[u8]) -> Result<(), Refusal> {
    let name = text::utf8(name.to_bytes())?;
    let value = text::utf8(value.trim_ascii())?;
    // The rule is put into words outside the lock.
    tpg.with_params(|params| params.set(name, value))
        .map_err(|e| Refusal::breaks(&e))
}

/// `lun`.
struct LunsDir;

impl Dir for LunsDir {
    type Object = Tpg;
    const MKDIR: Mkdir<Tpg> = Mkdir::of::<LunDir, _, _>(make_lun, remove_lun);
}

/// Reads `lun_<n>`.
pub(super) fn lun_number(name: &[u8]) -> Result<u16, Refusal> {
    let number = text::numbered(name, "lun_", MAX_LUN)?;
    Ok(u16::try_from(number).map_err(|_| EINVAL)?)
}

fn make_lun(tpg: &Arc<Tpg>, name: &[u8]) -> Result<Arc<Lun>, Refusal> {
    Ok(tpg.create_lun(lun_number(name)?)?)
}

fn remove_lun(tpg: &Arc<Tpg>, lun: &Arc<Lun>) {
    tpg.remove_lun(lun);
}

/// `lun/lun_<n>`, with a link to the device.
pub(super) struct LunDir;

impl Dir for LunDir {
    type Object = Lun;
    const FILES: Files<Lun> = LUN_FILES;
    const SUBDIRS: &'static [SubDir<Lun>] = &[
        SubDir::new::<LunAttribDir, _>(c"attrib", Arc::clone),
        SubDir::new::<StatisticsDir, _>(c"statistics", Arc::clone),
    ];
    const SYMLINK: Symlink<Lun> = Symlink::to::<DeviceDir, _, _>(
        |lun: &Arc<Lun>, device: &Arc<Device>| {
            lun.attach(device).explain(&[
                (ENODEV, "the device is not enabled"),
                (EEXIST, "the LUN has a device already"),
            ])
        },
        |lun: &Arc<Lun>, _: &Arc<Device>| lun.detach(),
    );
}

/// `acls`.
struct AclsDir;

impl Dir for AclsDir {
    type Object = Tpg;
    const MKDIR: Mkdir<Tpg> = Mkdir::of::<AclDir, _, _>(make_acl, remove_acl);
}

fn make_acl(tpg: &Arc<Tpg>, name: &[u8]) -> Result<Arc<Acl>, Refusal> {
    let name = if GroupName::is_meant(name) {
        AclName::Group(GroupName::parse(name).map_err(|e| Refusal::breaks(&e))?)
    } else {
        AclName::Initiator(iscsi_name(name)?)
    };
    tpg.create_acl(name).explain(&[(
        EEXIST,
        "there is an initiator of that name in other letter case",
    )])
}

fn remove_acl(tpg: &Arc<Tpg>, acl: &Arc<Acl>) {
    tpg.remove_acl(acl);
}
