// SPDX-License-Identifier: GPL-2.0

//! `iscsi`, and what concerns all targets.

use super::{
    auth::{
        self,
        auth_files, //
    },
    root::VERSION,
    text::{
        self,
        Explain, //
    },
    tpg::TpgDir, //
};
use crate::{
    proto::name::IscsiName,
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
        DiscoveryAuth,
        Target,
        Targets,
        Tpg, //
    }, //
};
use core::fmt::Write;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// `iscsi`.
pub(super) struct IscsiDir;

impl Dir for IscsiDir {
    type Object = Targets;
    const FILES: Files<Targets> = files![Attr::ro(
        c"lio_version",
        |_: &Arc<Targets>, out: &mut Page<'_>| Ok(writeln!(out, "Ferrite iSCSI target {VERSION}")?)
    )];
    const SUBDIRS: &'static [SubDir<Targets>] = &[SubDir::new::<DiscoveryAuthDir, _>(
        c"discovery_auth",
        |targets: &Arc<Targets>| targets.discovery().clone(),
    )];
    const MKDIR: Mkdir<Targets> = Mkdir::of::<TargetDir, _, _>(make_target, remove_target);
}

/// Reads an iSCSI name.
pub(super) fn iscsi_name(name: &[u8]) -> Result<IscsiName, Refusal> {
    IscsiName::parse(name).map_err(|e| Refusal::breaks(&e))
}

fn make_target(targets: &Arc<Targets>, name: &[u8]) -> Result<Arc<Target>, Refusal> {
    targets.create_target(iscsi_name(name)?).explain(&[(
        EEXIST,
        "there is a target of that name in other letter case",
    )])
}

fn remove_target(targets: &Arc<Targets>, target: &Arc<Target>) {
    targets.remove_target(target);
}

/// `iscsi/discovery_auth`.
struct DiscoveryAuthDir;

impl Dir for DiscoveryAuthDir {
    type Object = DiscoveryAuth;
    const FILES: Files<DiscoveryAuth> = auth_files![
        DiscoveryAuth,
        Attr::rw(
            c"enforce_discovery_auth",
            |auth: &Arc<DiscoveryAuth>, out: &mut Page<'_>| Ok(writeln!(
                out,
                "{}",
                u8::from(auth.enforce())
            )?),
            |auth: &Arc<DiscoveryAuth>, value: &[u8]| Ok(auth.set_enforce(text::flag(value)?)?)
        ),
        Attr::rw(
            c"chap_algorithms",
            |auth: &Arc<DiscoveryAuth>, out: &mut Page<'_>| Ok(writeln!(
                out,
                "{}",
                auth.algorithms()
            )?),
            |auth: &Arc<DiscoveryAuth>, value: &[u8]| Ok(
                auth.set_algorithms(auth::algorithms(value)?)?
            )
        ),
    ];
}

/// `iscsi/<target>`.
struct TargetDir;

impl Dir for TargetDir {
    type Object = Target;
    const MKDIR: Mkdir<Target> = Mkdir::of::<TpgDir, _, _>(make_tpg, remove_tpg);
}

fn make_tpg(target: &Arc<Target>, name: &[u8]) -> Result<Arc<Tpg>, Refusal> {
    let tag = text::numbered(name, "tpgt_", u32::from(u16::MAX))?;
    let tag = u16::try_from(tag).map_err(|_| EINVAL)?;
    target
        .create_tpg(tag)
        .explain(&[(ENOSPC, "no relative target port identifier is left")])
}

fn remove_tpg(target: &Arc<Target>, tpg: &Arc<Tpg>) {
    target.remove_tpg(tpg);
}
