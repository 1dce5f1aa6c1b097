// SPDX-License-Identifier: GPL-2.0

//! `acls/<initiator>`: what one initiator may do.

use super::{
    auth::auth_files,
    caps,
    text::{
        self,
        Explain, //
    },
    tpg::{
        lun_number,
        nopin_timeout,
        LunDir, //
    }, //
};
use crate::{
    proto::{
        group::Pattern,
        login::params::SessionParams, //
    },
    session::{
        ConnState,
        SessionInfo,
        SessionState, //
    },
    sys::configfs::{
        files,
        Dir,
        Files,
        Mkdir,
        Page,
        Refusal,
        SubDir,
        Symlink, //
    },
    target::{
        Acl,
        AclAttrib,
        Lun,
        MappedLun, //
    }, //
};
use core::{
    fmt,
    fmt::Write, //
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::Arc, //
};

/// `acls/<initiator>`.
pub(super) struct AclDir;

impl Dir for AclDir {
    type Object = Acl;
    const FILES: Files<Acl> = files![
        Attr::ro(c"info", show_info),
        Attr::rw(
            c"cmdsn_depth",
            |acl: &Arc<Acl>, out: &mut Page<'_>| Ok(writeln!(out, "{}", acl.cmdsn_depth())?),
            |acl: &Arc<Acl>, value: &[u8]| Ok(acl.set_cmdsn_depth(text::number(value, 1..=512)?)?)
        ),
        Attr::rw(c"tag", show_tag, store_tag),
    ];
    const SUBDIRS: &'static [SubDir<Acl>] = &[
        SubDir::new::<AttribDir, _>(c"attrib", Arc::clone),
        SubDir::new::<AuthDir, _>(c"auth", Arc::clone),
        SubDir::new::<ParamDir, _>(c"param", Arc::clone),
    ];
    const MKDIR: Mkdir<Acl> = Mkdir::of::<MappedLunDir, _, _>(make_lun, remove_lun);
}

fn show_tag(acl: &Arc<Acl>, out: &mut Page<'_>) -> Result<(), Refusal> {
    acl.tag(|tag| out.put(tag))?;
    Ok(out.put(b"\n")?)
}

fn store_tag(acl: &Arc<Acl>, value: &[u8]) -> Result<(), Refusal> {
    let tag = match value.trim_ascii() {
        b"NULL" => b"",
        tag => text::label(tag, 0..=63)?,
    };
    Ok(acl.set_tag(tag)?)
}

/// As many sessions as fit, the newest first.
fn show_info(acl: &Arc<Acl>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let mut any = false;
    acl.for_each_session(&mut |session| {
        any = true;
        out.fits(|out| put_session(out, session))
    });
    if !any {
        writeln!(
            out,
            "No active iSCSI Session for Initiator Endpoint: {}",
            acl.name()
        )?;
    }
    Ok(())
}

/// Writes a session as LIO does; tools take it apart.
fn put_session(out: &mut Page<'_>, session: &SessionInfo<'_>) -> fmt::Result {
    writeln!(out, "InitiatorName: {}", session.initiator)?;
    out.put(b"InitiatorAlias: ")?;
    out.put(session.alias)?;
    let [a, b, c, d, e, f] = session.isid;
    write!(
        out,
        "\nLIO Session ID: {}   ISID: 0x{a:02x} {b:02x} {c:02x} {d:02x} {e:02x} {f:02x}  TSIH: {}  ",
        session.id, session.tsih
    )?;
    let kind = match session.discovery {
        true => "Discovery",
        false => "Normal",
    };
    let state = match session.state {
        SessionState::LoggedIn => "LOGGED_IN",
        SessionState::Failed => "FAILED",
    };
    writeln!(out, "SessionType: {kind}")?;
    writeln!(out, "Session State: TARG_SESS_STATE_{state}")?;
    writeln!(
        out,
        "---------------------[iSCSI Session Values]-----------------------"
    )?;
    writeln!(
        out,
        "  CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT"
    )?;
    let room = session
        .max_cmd_sn
        .wrapping_sub(session.exp_cmd_sn)
        .wrapping_add(1);
    // We number neither kind of tag by session.
    writeln!(
        out,
        " {:#010x}   {room:#010x}   {:#010x}   {:#010x}   0x00000000   0x00000000",
        session.window, session.exp_cmd_sn, session.max_cmd_sn
    )?;
    writeln!(
        out,
        "----------------------[iSCSI Connections]-------------------------"
    )?;
    for conn in session.conns {
        let state = match conn.state {
            ConnState::LoggedIn => "LOGGED_IN",
            ConnState::CleanupWait => "CLEANUP_WAIT",
        };
        writeln!(
            out,
            "CID: {}  Connection State: TARG_CONN_STATE_{state}",
            conn.cid
        )?;
        writeln!(
            out,
            "   Address {} TCP  StatSN: {:#010x}",
            conn.facts.peer.ip(),
            conn.stat_sn
        )?;
    }
    Ok(())
}

/// `attrib`.
struct AttribDir;

/// A function that shows an attribute.
macro_rules! show {
    ($which:ident) => {
        |acl: &Arc<Acl>, out: &mut Page<'_>| Ok(writeln!(out, "{}", acl.attrib(AclAttrib::$which))?)
    };
}

/// A function that sets an attribute to a number of a range.
macro_rules! store {
    ($which:ident, $min:literal ..= $max:literal) => {
        |acl: &Arc<Acl>, value: &[u8]| {
            let value = text::signed(value, $min..=$max)?;
            Ok(acl.set_attrib(AclAttrib::$which, value)?)
        }
    };
}

impl Dir for AttribDir {
    type Object = Acl;
    const FILES: Files<Acl> = files![
        Attr::rw(
            c"authentication",
            show!(Authentication),
            store!(Authentication, -1..=1)
        ),
        Attr::rw(
            c"nopin_timeout",
            show!(NopinTimeout),
            |acl: &Arc<Acl>, value: &[u8]| {
                let seconds = i32::try_from(nopin_timeout(value)?).map_err(|_| EINVAL)?;
                Ok(acl.set_attrib(AclAttrib::NopinTimeout, seconds)?)
            }
        ),
        Attr::rw(
            c"nopin_response_timeout",
            show!(NopinResponseTimeout),
            store!(NopinResponseTimeout, 3..=60)
        ),
        Attr::rw(
            c"dataout_timeout",
            show!(DataoutTimeout),
            store!(DataoutTimeout, 2..=60)
        ),
        Attr::rw(
            c"dataout_timeout_retries",
            show!(DataoutTimeoutRetries),
            store!(DataoutTimeoutRetries, 1..=15)
        ),
        Attr::rw(c"members", show_members, store_members),
        Attr::rw(
            c"max_iops",
            |acl: &Arc<Acl>, out: &mut Page<'_>| caps::show_iops(acl.caps(), out),
            |acl: &Arc<Acl>, value: &[u8]| caps::store_iops(acl.caps(), value)
        ),
        Attr::rw(
            c"max_bytes_per_second",
            |acl: &Arc<Acl>, out: &mut Page<'_>| caps::show_bytes(acl.caps(), out),
            |acl: &Arc<Acl>, value: &[u8]| caps::store_bytes(acl.caps(), value)
        ),
        // Error recovery level 0 is the only one there is.
        Attr::rw(
            c"default_erl",
            |_: &Arc<Acl>, out: &mut Page<'_>| Ok(out.put(b"0\n")?),
            |_: &Arc<Acl>, value: &[u8]| text::number(value, 0..=0).map(|_| ())
        ),
    ];
}

/// The members of a host group, separated by spaces; `none` if there are none,
/// as nothing cannot be written to a file of configfs.
fn show_members(acl: &Arc<Acl>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let mut first = true;
    let mut shown = Ok(());
    acl.for_each_member(&mut |member| {
        let space = if core::mem::take(&mut first) { "" } else { " " };
        shown = write!(out, "{space}{}", member.as_str());
        shown.is_ok()
    });
    shown?;
    if first {
        out.put(NO_MEMBERS)?;
    }
    Ok(out.put(b"\n")?)
}

const NO_MEMBERS: &[u8] = b"none";

fn store_members(acl: &Arc<Acl>, value: &[u8]) -> Result<(), Refusal> {
    let mut members = KVec::new();
    let value = match value.trim_ascii() {
        b"" => return Err(Refusal::invalid("must be names or patterns, or none")),
        NO_MEMBERS => b"",
        value => value,
    };
    let words = value.split(|byte| byte.is_ascii_whitespace());
    for word in words.filter(|word| !word.is_empty()) {
        let member = Pattern::parse(word).map_err(|e| Refusal::breaks(&e))?;
        if !members.contains(&member) {
            members.push(member, GFP_KERNEL)?;
        }
    }
    acl.set_members(members)
        .explain(&[(EINVAL, "only a host group, @<name>, has members")])
}

/// `auth`.
struct AuthDir;

impl Dir for AuthDir {
    type Object = Acl;
    const FILES: Files<Acl> = auth_files![Acl];
}

/// `param`: what the initiator's newest session has agreed on.
struct ParamDir;

/// The files of `param`, each called as the key that it shows.
macro_rules! params {
    ($($name:literal),+ $(,)?) => {
        /// Their names, to be counted below.
        #[allow(dead_code, reason = "a constant that only an assertion uses")]
        const PARAMS: &[&CStr] = &[$($name),+];

        impl Dir for ParamDir {
            type Object = Acl;
            const FILES: Files<Acl> = files![$(Attr::ro(
                $name,
                |acl: &Arc<Acl>, out: &mut Page<'_>| show_param(acl, $name, out)
            )),+];
        }
    };
}

params![
    c"MaxConnections",
    c"InitialR2T",
    c"ImmediateData",
    c"MaxBurstLength",
    c"FirstBurstLength",
    c"DefaultTime2Wait",
    c"DefaultTime2Retain",
    c"MaxOutstandingR2T",
    c"DataPDUInOrder",
    c"DataSequenceInOrder",
    c"ErrorRecoveryLevel",
];

// No parameter was forgotten.
const _: () = assert!(PARAMS.len() == SessionParams::NAMES.len());

/// Shows a value as LIO does: Yes and No are 1 and 0.
fn show_param(acl: &Acl, name: &CStr, out: &mut Page<'_>) -> Result<(), Refusal> {
    let name = text::utf8(name.to_bytes())?;
    let mut shown = Ok(false);
    acl.for_each_session(&mut |session| {
        shown = put_param(session.params, name, out).map(|()| true);
        false
    });
    if !shown? {
        out.put(b"No Active iSCSI Session")?;
    }
    Ok(out.put(b"\n")?)
}

fn put_param(params: &SessionParams, name: &str, out: &mut Page<'_>) -> fmt::Result {
    struct Numeric<'a, 'b>(&'a mut Page<'b>);

    impl Write for Numeric<'_, '_> {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            self.0.write_str(match s {
                "Yes" => "1",
                "No" => "0",
                number => number,
            })
        }
    }

    params.show(name, &mut Numeric(out))
}

fn make_lun(acl: &Arc<Acl>, name: &[u8]) -> Result<Arc<MappedLun>, Refusal> {
    Ok(acl.create_mapped_lun(lun_number(name)?)?)
}

fn remove_lun(acl: &Arc<Acl>, map: &Arc<MappedLun>) {
    acl.remove_mapped_lun(map);
}

/// `acls/<initiator>/lun_<n>`, with a link to a LUN of the portal group.
struct MappedLunDir;

impl Dir for MappedLunDir {
    type Object = MappedLun;
    const FILES: Files<MappedLun> = files![Attr::rw(
        c"write_protect",
        |map: &Arc<MappedLun>, out: &mut Page<'_>| Ok(writeln!(
            out,
            "{}",
            u8::from(map.write_protect())
        )?),
        |map: &Arc<MappedLun>, value: &[u8]| Ok(map.set_write_protect(text::flag(value)?)?)
    )];
    const SYMLINK: Symlink<MappedLun> = Symlink::to::<LunDir, _, _>(
        |map: &Arc<MappedLun>, lun: &Arc<Lun>| {
            map.map(lun).explain(&[
                (EINVAL, "the LUN is of another portal group"),
                (EEXIST, "the number stands for a LUN already"),
            ])
        },
        |map: &Arc<MappedLun>, _: &Arc<Lun>| map.unmap(),
    );
}
