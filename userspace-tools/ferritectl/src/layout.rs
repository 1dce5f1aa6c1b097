// SPDX-License-Identifier: GPL-2.0

//! Where each object stands in configfs, relative to the root.

use std::path::PathBuf;

use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;

/// All backstores.
pub fn core() -> PathBuf {
    PathBuf::from("core")
}

/// The directory that holds the backstore's directory.
pub fn hba(id: &BackstoreId) -> PathBuf {
    core().join(id.hba_name())
}

/// A backstore.
pub fn backstore(id: &BackstoreId) -> PathBuf {
    hba(id).join(&id.name)
}

/// The target port groups of a backstore.
pub fn groups(id: &BackstoreId) -> PathBuf {
    backstore(id).join("alua")
}

/// A target port group of a backstore.
pub fn group(id: &BackstoreId, name: &str) -> PathBuf {
    groups(id).join(name)
}

/// The reservations of a backstore.
pub fn reservation(id: &BackstoreId) -> PathBuf {
    backstore(id).join("pr")
}

/// The attribute that says where reservations are written down.
pub fn reservation_dir() -> PathBuf {
    PathBuf::from("pr_dir")
}

/// All targets.
pub fn fabric() -> PathBuf {
    PathBuf::from("iscsi")
}

/// Authentication of discovery sessions.
pub fn discovery_auth() -> PathBuf {
    fabric().join("discovery_auth")
}

/// A target.
pub fn target(name: &Name) -> PathBuf {
    fabric().join(name.as_str())
}

/// A target portal group.
pub fn tpg(name: &Name, tag: u16) -> PathBuf {
    target(name).join(format!("tpgt_{tag}"))
}

/// A portal.
pub fn portal(name: &Name, tag: u16, portal: &Portal) -> PathBuf {
    tpg(name, tag).join("np").join(portal.as_str())
}

/// A LUN.
pub fn lun(name: &Name, tag: u16, lun: u64) -> PathBuf {
    tpg(name, tag).join("lun").join(format!("lun_{lun}"))
}

/// The ACL of an initiator.
pub fn acl(name: &Name, tag: u16, initiator: &Name) -> PathBuf {
    tpg(name, tag).join("acls").join(initiator.as_str())
}

/// A LUN as an initiator sees it.
pub fn mapped_lun(name: &Name, tag: u16, initiator: &Name, mapped: u64) -> PathBuf {
    acl(name, tag, initiator).join(format!("lun_{mapped}"))
}
