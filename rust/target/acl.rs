// SPDX-License-Identifier: GPL-2.0

//! What one initiator may do in a portal group.

use super::{
    caps::Caps,
    credentials::Credentials,
    lun::MappedLun,
    tpg::Tpg, //
};
use crate::{
    proto::{
        group::{
            GroupName,
            Pattern, //
        },
        name::IscsiName, //
    },
    session::{
        Session,
        SessionInfo, //
    },
    sys::lock::{
        new_spinlock_bh,
        SpinLockBh, //
    }, //
};
use core::fmt;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// A numeric attribute of an initiator's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AclAttrib {
    /// -1 as the portal group says, 0 no CHAP, 1 CHAP.
    Authentication,
    /// Seconds of silence before a NOP-In asks whether the peer lives; 0 never.
    NopinTimeout,
    /// Seconds to wait for the answer to it.
    NopinResponseTimeout,
    /// Seconds to wait for a Data-Out PDU that is due.
    DataoutTimeout,
    /// How many times that long before the connection is given up.
    DataoutTimeoutRetries,
}

/// Seconds to wait for a Data-Out PDU, unless the administrator says otherwise.
const DATAOUT_TIMEOUT_S: i32 = 3;

/// And how many times that long.
const DATAOUT_RETRIES: i32 = 5;

/// Seconds to wait for a Data-Out PDU of an initiator that has no entry, and how
/// many times that long.
pub(crate) const DEFAULT_DATAOUT_PATIENCE: (u32, u32) =
    (DATAOUT_TIMEOUT_S as u32, DATAOUT_RETRIES as u32);

/// Whom an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AclName {
    /// One initiator.
    Initiator(IscsiName),
    /// A host group: several initiators that share what is in it.
    Group(GroupName),
}

impl fmt::Display for AclName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AclName::Initiator(name) => name.fmt(f),
            AclName::Group(name) => name.fmt(f),
        }
    }
}

/// An initiator that may log in, or a host group.
#[pin_data]
pub(crate) struct Acl {
    name: AclName,
    /// Who is in the group; empty for one initiator.
    #[pin]
    members: SpinLockBh<KVec<Pattern>>,
    tpg: Arc<Tpg>,
    depth: Atomic<u32>,
    authentication: Atomic<i32>,
    nopin_timeout: Atomic<i32>,
    nopin_response_timeout: Atomic<i32>,
    dataout_timeout: Atomic<i32>,
    dataout_timeout_retries: Atomic<i32>,
    caps: Arc<Caps>,
    #[pin]
    credentials: Credentials,
    #[pin]
    inner: Mutex<Inner>,
}

/// Protected by the mutex in [`Acl`].
struct Inner {
    tag: KVec<u8>,
    maps: KVec<Arc<MappedLun>>,
}

impl Acl {
    pub(super) fn new(name: AclName, tpg: Arc<Tpg>, depth: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                name,
                members <- new_spinlock_bh!(KVec::new(), "ferrite_members"),
                tpg,
                depth: Atomic::new(depth),
                authentication: Atomic::new(-1),
                nopin_timeout: Atomic::new(15),
                nopin_response_timeout: Atomic::new(30),
                dataout_timeout: Atomic::new(DATAOUT_TIMEOUT_S),
                dataout_timeout_retries: Atomic::new(DATAOUT_RETRIES),
                caps: Caps::new()?,
                credentials <- Credentials::new(),
                inner <- new_mutex!(
                    Inner {
                        tag: KVec::new(),
                        maps: KVec::new(),
                    },
                    "ferrite_acl"
                ),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Whom it is about.
    pub(crate) fn name(&self) -> &AclName {
        &self.name
    }

    /// Whether it is the initiator's own.
    pub(super) fn is_of(&self, initiator: &IscsiName) -> bool {
        matches!(&self.name, AclName::Initiator(name) if name == initiator)
    }

    /// How closely the members of a group describe an initiator.
    pub(super) fn closeness(&self, initiator: &IscsiName) -> Option<u16> {
        let members = self.members.lock();
        members.iter().filter_map(|m| m.closeness(initiator)).max()
    }

    /// Shows the members of a group until `show` returns false. It must not
    /// sleep.
    pub(crate) fn for_each_member(&self, show: &mut dyn FnMut(&Pattern) -> bool) {
        let members = self.members.lock();
        for member in members.iter() {
            if !show(member) {
                break;
            }
        }
    }

    /// Says who is in a group. Sessions of those who are not any more end, as
    /// do those of initiators who are now.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it is no group, and there are any.
    pub(crate) fn set_members(&self, mut members: KVec<Pattern>) -> Result {
        match self.name {
            AclName::Group(_) => {}
            AclName::Initiator(_) if members.is_empty() => return Ok(()),
            AclName::Initiator(_) => return Err(EINVAL),
        }
        // The old ones are freed outside the lock.
        core::mem::swap(&mut *self.members.lock(), &mut members);
        self.tpg.reassess();
        Ok(())
    }

    /// How many commands a session of it may have outstanding.
    pub(crate) fn cmdsn_depth(&self) -> u32 {
        self.depth.load(Relaxed)
    }

    /// Sets the depth (1..=512); live sessions follow as commands finish.
    ///
    /// # Errors
    ///
    /// None now.
    pub(crate) fn set_cmdsn_depth(&self, depth: u32) -> Result {
        self.depth.store(depth, Relaxed);
        self.tpg.for_each_session(&mut |session| {
            if self.is_mine(session) {
                session.set_depth(depth);
            }
            true
        });
        Ok(())
    }

    /// Sets the label, at most 63 bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_tag(&self, tag: &[u8]) -> Result {
        let mut copy = KVec::new();
        copy.extend_from_slice(tag, GFP_KERNEL)?;
        self.inner.lock().tag = copy;
        Ok(())
    }

    /// Looks at the label.
    pub(crate) fn tag<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.inner.lock().tag)
    }

    fn place(&self, which: AclAttrib) -> &Atomic<i32> {
        match which {
            AclAttrib::Authentication => &self.authentication,
            AclAttrib::NopinTimeout => &self.nopin_timeout,
            AclAttrib::NopinResponseTimeout => &self.nopin_response_timeout,
            AclAttrib::DataoutTimeout => &self.dataout_timeout,
            AclAttrib::DataoutTimeoutRetries => &self.dataout_timeout_retries,
        }
    }

    /// Reads an attribute.
    pub(crate) fn attrib(&self, which: AclAttrib) -> i32 {
        self.place(which).load(Relaxed)
    }

    /// Seconds to wait for a Data-Out PDU that is due, and how many times that
    /// long.
    pub(crate) fn dataout_patience(&self) -> (u32, u32) {
        let attrib = |which| u32::try_from(self.attrib(which)).unwrap_or(0);
        (
            attrib(AclAttrib::DataoutTimeout),
            attrib(AclAttrib::DataoutTimeoutRetries),
        )
    }

    /// Writes an attribute; it counts from the next login or timeout on.
    ///
    /// # Errors
    ///
    /// None now.
    pub(crate) fn set_attrib(&self, which: AclAttrib, value: i32) -> Result {
        self.place(which).store(value, Relaxed);
        Ok(())
    }

    /// The limits of all commands of its sessions together.
    pub(crate) fn caps(&self) -> &Arc<Caps> {
        &self.caps
    }

    /// The initiator's own credentials; those of the group count where these
    /// are not set.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn is_mine(&self, session: &Session) -> bool {
        session.acl().is_some_and(|acl| core::ptr::eq(&**acl, self))
    }

    /// Shows the sessions of this initiator, the newest first, until `show`
    /// returns false.
    pub(crate) fn for_each_session(&self, show: &mut dyn FnMut(&SessionInfo<'_>) -> bool) {
        self.tpg.for_each_session(&mut |session| {
            if self.is_mine(session) {
                session.with_info(show)
            } else {
                true
            }
        });
    }

    /// Makes a number of the initiator's own, which [`MappedLun::map`] then
    /// lets stand for a LUN.
    ///
    /// # Errors
    ///
    /// `EEXIST` when there is such a number, `ENOMEM`.
    pub(crate) fn create_mapped_lun(self: &Arc<Self>, number: u16) -> Result<Arc<MappedLun>> {
        let protect = self.tpg.protects_production();
        let map = MappedLun::new(number, self.tpg.clone(), protect)?;
        let mut inner = self.inner.lock();
        if inner.maps.iter().any(|m| m.number() == number) {
            return Err(EEXIST);
        }
        inner.maps.push(map.clone(), GFP_KERNEL)?;
        Ok(map)
    }

    /// Forgets a number.
    pub(crate) fn remove_mapped_lun(&self, map: &Arc<MappedLun>) {
        map.unmap();
        let mut inner = self.inner.lock();
        inner.maps.retain(|m| !Arc::ptr_eq(m, map));
    }

    /// Calls `each` with every number of the initiator.
    pub(super) fn for_each_map(&self, each: &mut dyn FnMut(&Arc<MappedLun>) -> Result) -> Result {
        let inner = self.inner.lock();
        for map in inner.maps.iter() {
            each(map)?;
        }
        Ok(())
    }
}
