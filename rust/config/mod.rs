// SPDX-License-Identifier: GPL-2.0

//! Configuration through configfs: text in, calls on [`crate::target`] out.
//!
//! The relative layout, the names and the formats are those of LIO, so that its
//! tools work; `Documentation/configfs.rst` describes every file. Nothing is
//! decided here but whether a text is well-formed: state belongs to the running
//! objects, and the kernel's refusals are passed on as they are.
//!
//! | file | directory |
//! |---|---|
//! | `root` | `version`, `dbroot` |
//! | `alua` | `core/iblock_<n>/<device>/alua`, and the files of a LUN |
//! | `backstore` | `core/iblock_<n>/<device>` |
//! | `pr` | the `pr` directory of each of them |
//! | `iscsi` | `iscsi`, `iscsi/<target>`, `iscsi/discovery_auth` |
//! | `statistics` | what is counted of LUNs and sessions |
//! | `tpg` | `iscsi/<target>/tpgt_<n>`, with its portals and LUNs |
//! | `acl` | `iscsi/<target>/tpgt_<n>/acls/<initiator>` |
//! | `auth` | the `auth` directory of each of them |
//! | `text` | what the values have in common |
//!
//! # Locks
//!
//! What configfs holds is said in [`crate::sys::configfs`]. It is taken before
//! all locks of the running objects.

mod acl;
mod alua;
mod auth;
mod backstore;
mod caps;
mod iscsi;
mod portal;
mod pr;
mod root;
mod statistics;
mod text;
mod tpg;

use crate::{
    sys::configfs::{
        self,
        Subsystem, //
    },
    target::Targets, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The registered tree. It goes when this is dropped.
pub(crate) struct Tree {
    _subsystem: Subsystem,
}

/// Makes the tree in configfs, under the name that the module parameter
/// `configfs_root` gives.
///
/// # Errors
///
/// `EINVAL` for a bad name, `EEXIST` for one that is taken, `ENOMEM`.
pub(crate) fn register(targets: Arc<Targets>) -> Result<Tree> {
    let name = configfs::root_name()?;
    let root = root::Root::new(targets)?;
    let subsystem = Subsystem::register::<root::RootDir>(name, root).inspect_err(|e| {
        if *e == EEXIST {
            pr_err!("configfs_root=: the name is taken (is LIO loaded?)\n");
        }
    })?;
    Ok(Tree {
        _subsystem: subsystem,
    })
}
