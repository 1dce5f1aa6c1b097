// SPDX-License-Identifier: GPL-2.0

//! Targets and their portal groups.
//!
//! Lock order: the module's list of targets, a target's list of groups, a
//! group, an ACL, then the softirq locks (LUN, session, device, nexus).

use super::{
    acl::{
        Acl,
        AclName, //
    },
    credentials::Credentials,
    device::Device,
    lun::{
        Lun,
        MappedLun, //
    },
    Targets, //
};
use crate::{
    portal::{
        self,
        Portal,
        Redirect, //
    },
    proto::{
        chap::Algorithms,
        login::params::TpgParams,
        name::IscsiName, //
    },
    session::{
        Session,
        Why, //
    },
    tally::Tally, //
};
use core::net::SocketAddr;
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

/// A numeric attribute of a portal group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum TpgAttrib {
    /// Whether initiators must authenticate.
    Authentication,
    /// Seconds a login may take.
    LoginTimeout,
    /// Whether initiators without an ACL may log in and see all LUNs.
    GenerateNodeAcls,
    /// As LIO has it; dynamic initiators keep nothing between logins here.
    CacheDynamicAcls,
    /// The queue depth of new ACLs and of initiators without one.
    DefaultCmdsnDepth,
    /// Whether initiators without an ACL may only read.
    DemoModeWriteProtect,
    /// Whether newly mapped LUNs may only be read.
    ProdModeWriteProtect,
    /// Whether discovery shows the target to those who may not log in.
    DemoModeDiscovery,
    /// Whether discovery shows the target only while the group is enabled.
    TpgEnabledSendtargets,
    /// The ErrorRecoveryLevel of new ACLs: 0.
    DefaultErl,
    /// Seconds of silence before a NOP-In, for initiators without an ACL.
    NopinTimeout,
    /// Seconds to wait for its answer.
    NopinResponseTimeout,
    /// Whether initiators are told of SCSI events without having asked.
    ScsiEvents,
}

const ATTRIBS: usize = TpgAttrib::ScsiEvents as usize + 1;

/// In the order of [`TpgAttrib`].
const DEFAULTS: [u32; ATTRIBS] = [1, 15, 0, 0, 128, 1, 0, 1, 1, 0, 15, 30, 0];

/// An iSCSI target: a name and its portal groups.
#[pin_data]
pub(crate) struct Target {
    id: u64,
    name: IscsiName,
    targets: Arc<Targets>,
    #[pin]
    tpgs: Mutex<KVec<Arc<Tpg>>>,
}

static NEXT_ID: Atomic<u64> = Atomic::new(1);

impl Target {
    pub(super) fn new(name: IscsiName, targets: Arc<Targets>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                id: NEXT_ID.fetch_add(1, Relaxed),
                name,
                targets,
                tpgs <- new_mutex!(KVec::new(), "ferrite_target"),
            }),
            GFP_KERNEL,
        )
    }

    /// A number that no other target has had; later ones have higher ones.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The target's name.
    pub(crate) fn name(&self) -> &IscsiName {
        &self.name
    }

    /// Makes a portal group, disabled.
    ///
    /// # Errors
    ///
    /// `EEXIST` when the tag is taken, `ENOSPC` when no relative target port
    /// identifier is left, `ENOMEM`.
    pub(crate) fn create_tpg(self: &Arc<Self>, tag: u16) -> Result<Arc<Tpg>> {
        let rtpi = self.targets.take_rtpi(None)?;
        let made = self.insert_tpg(tag, rtpi);
        if made.is_err() {
            self.targets.give_rtpi(rtpi);
        }
        made
    }

    fn insert_tpg(self: &Arc<Self>, tag: u16, rtpi: u16) -> Result<Arc<Tpg>> {
        let tpg = Tpg::new(tag, rtpi, self.clone())?;
        let mut tpgs = self.tpgs.lock();
        if tpgs.iter().any(|t| t.tag == tag) {
            return Err(EEXIST);
        }
        tpgs.push(tpg.clone(), GFP_KERNEL)?;
        Ok(tpg)
    }

    /// Removes a portal group; its sessions end.
    pub(crate) fn remove_tpg(&self, tpg: &Arc<Tpg>) {
        tpg.shut();
        self.tpgs.lock().retain(|t| !Arc::ptr_eq(t, tpg));
        self.targets.give_rtpi(tpg.rtpi());
    }

    /// Calls `each` with every portal group until it returns true.
    pub(crate) fn find_tpg(&self, mut each: impl FnMut(&Arc<Tpg>) -> bool) -> Option<Arc<Tpg>> {
        self.tpgs.lock().iter().find(|t| each(t)).cloned()
    }

    /// Ends the sessions of all portal groups, save one.
    pub(crate) fn end_sessions(&self, why: Why, except: &Session) {
        for tpg in self.tpgs.lock().iter() {
            tpg.end_matching(why, &|s| s.id() != except.id());
        }
    }

    pub(super) fn shut(&self) {
        let tpgs = core::mem::replace(&mut *self.tpgs.lock(), KVec::new());
        for tpg in tpgs.iter() {
            tpg.shut();
            self.targets.give_rtpi(tpg.rtpi());
        }
    }
}

/// What a portal is to those who log in by it.
pub(crate) struct Gate {
    /// What is counted of it.
    pub(crate) tally: Arc<Tally>,
    /// Where it sends them.
    pub(crate) redirect: Option<Redirect>,
}

/// A portal group: the way in to a target, and what it shows to whom.
#[pin_data]
pub(crate) struct Tpg {
    tag: u16,
    target: Arc<Target>,
    rtpi: Atomic<u32>,
    enabled: Atomic<i32>,
    attribs: [Atomic<u32>; ATTRIBS],
    /// The limits of each session of an initiator without an ACL, in commands and
    /// in bytes per second.
    demo_caps: [Atomic<u64>; 2],
    #[pin]
    credentials: Credentials,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    sessions: Mutex<KVec<Arc<Session>>>,
    /// Held while a session is told its LUNs, so that it is never told an older
    /// list after a newer one. Taken before `inner` and the ACLs' mutexes.
    #[pin]
    views: Mutex<()>,
}

/// Protected by the mutex in [`Tpg`].
struct Inner {
    params: KBox<TpgParams>,
    algorithms: Algorithms,
    portals: KVec<Arc<Portal>>,
    luns: KVec<Arc<Lun>>,
    acls: KVec<Arc<Acl>>,
}

impl Tpg {
    fn new(tag: u16, rtpi: u16, target: Arc<Target>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                tag,
                target,
                rtpi: Atomic::new(u32::from(rtpi)),
                enabled: Atomic::new(0),
                attribs: DEFAULTS.map(Atomic::new),
                demo_caps: [0, 0].map(Atomic::new),
                credentials <- Credentials::new(),
                inner <- new_mutex!(
                    Inner {
                        params: KBox::new(TpgParams::default(), GFP_KERNEL)?,
                        algorithms: Algorithms::default(),
                        portals: KVec::new(),
                        luns: KVec::new(),
                        acls: KVec::new(),
                    },
                    "ferrite_tpg"
                ),
                sessions <- new_mutex!(KVec::new(), "ferrite_sessions"),
                views <- new_mutex!((), "ferrite_views"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The portal group tag.
    pub(crate) fn tag(&self) -> u16 {
        self.tag
    }

    /// The target it belongs to.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Whether initiators may log in.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed) != 0
    }

    /// Opens or shuts the group. Shutting ends its sessions; it does not wait
    /// for them.
    ///
    /// # Errors
    ///
    /// What the first portal that cannot listen says; then nothing is changed.
    pub(crate) fn set_enabled(&self, on: bool) -> Result {
        if on == self.is_enabled() {
            return Ok(());
        }
        if on {
            self.enabled.store(1, Relaxed);
        } else {
            self.enabled.store(0, Relaxed);
            self.end_sessions(Why::Disabled);
        }
        Ok(())
    }

    /// The relative target port identifier (SPC-4 3.1.103).
    pub(crate) fn rtpi(&self) -> u16 {
        self.rtpi.load(Relaxed) as u16
    }

    /// Changes the relative target port identifier.
    ///
    /// # Errors
    ///
    /// `EBUSY` while enabled, `EEXIST` when another group has it, `EINVAL` for
    /// zero.
    pub(crate) fn set_rtpi(&self, value: u16) -> Result {
        if value == self.rtpi() {
            return Ok(());
        }
        if self.is_enabled() {
            return Err(EBUSY);
        }
        let new = self.target.targets.take_rtpi(Some(value))?;
        let old = {
            // It may have been enabled meanwhile: no session comes as long as this is held.
            let _sessions = self.sessions.lock();
            (!self.is_enabled()).then(|| self.rtpi.xchg(u32::from(new), Relaxed) as u16)
        };
        self.target.targets.give_rtpi(old.unwrap_or(new));
        match old {
            Some(_) => Ok(()),
            None => Err(EBUSY),
        }
    }

    /// Reads an attribute.
    pub(crate) fn attrib(&self, which: TpgAttrib) -> u32 {
        self.attribs
            .get(which as usize)
            .map_or(0, |a| a.load(Relaxed))
    }

    /// Writes an attribute whose range has been checked.
    ///
    /// # Errors
    ///
    /// None now.
    pub(crate) fn set_attrib(&self, which: TpgAttrib, value: u32) -> Result {
        if let Some(a) = self.attribs.get(which as usize) {
            a.store(value, Relaxed);
        }
        if which == TpgAttrib::GenerateNodeAcls && value != 0 {
            // As LIO: dynamic entries are then kept.
            if let Some(a) = self.attribs.get(TpgAttrib::CacheDynamicAcls as usize) {
                a.store(1, Relaxed);
            }
        }
        if which == TpgAttrib::DemoModeWriteProtect {
            self.remap_all();
        }
        Ok(())
    }

    /// The limits of each session of an initiator without an ACL, in commands and
    /// in bytes per second; 0 is none.
    pub(crate) fn demo_caps(&self) -> [u64; 2] {
        let [iops, bytes] = &self.demo_caps;
        [iops.load(Relaxed), bytes.load(Relaxed)]
    }

    /// Limits their commands; it holds at once.
    pub(crate) fn set_demo_iops(&self, rate: u64) {
        let [iops, _] = &self.demo_caps;
        self.set_demo_cap(iops, rate);
    }

    /// Limits their bytes; it holds at once.
    pub(crate) fn set_demo_bytes(&self, rate: u64) {
        let [_, bytes] = &self.demo_caps;
        self.set_demo_cap(bytes, rate);
    }

    fn set_demo_cap(&self, which: &Atomic<u64>, rate: u64) {
        which.store(rate, Relaxed);
        self.for_each_session(&mut |session| {
            self.cap_demo(session);
            true
        });
    }

    fn cap_demo(&self, session: &Session) {
        if session.acl().is_none() {
            let [iops, bytes] = self.demo_caps();
            session.caps().set(iops, bytes);
        }
    }

    /// Whether newly mapped LUNs may only be read.
    pub(super) fn protects_production(&self) -> bool {
        self.attrib(TpgAttrib::ProdModeWriteProtect) != 0
    }

    /// The CHAP algorithms allowed, the best first.
    pub(crate) fn algorithms(&self) -> Algorithms {
        self.inner.lock().algorithms
    }

    /// Sets the CHAP algorithms allowed.
    ///
    /// # Errors
    ///
    /// None now.
    pub(crate) fn set_algorithms(&self, list: Algorithms) -> Result {
        self.inner.lock().algorithms = list;
        Ok(())
    }

    /// The credentials of initiators that have none of their own.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Looks at or changes what is offered in negotiation.
    pub(crate) fn with_params<R>(&self, f: impl FnOnce(&mut TpgParams) -> R) -> R {
        f(&mut self.inner.lock().params)
    }

    /// Opens a portal: binds and listens, and shares the socket with other
    /// targets' groups at the same address.
    ///
    /// # Errors
    ///
    /// `EEXIST` when this target has a group there, or what bind or listen
    /// say.
    pub(crate) fn add_portal(self: &Arc<Self>, addr: SocketAddr) -> Result<Arc<Portal>> {
        let taken = self
            .target
            .find_tpg(|tpg| tpg.inner.lock().portals.iter().any(|p| p.addr() == addr));
        if taken.is_some() {
            return Err(EEXIST);
        }
        let portal = portal::open(&self.target.targets, addr)?;
        let kept = self.inner.lock().portals.push(portal.clone(), GFP_KERNEL);
        if kept.is_err() {
            portal::close(&self.target.targets, &portal);
            return Err(ENOMEM);
        }
        Ok(portal)
    }

    /// Closes a portal. Sessions that came through it go on.
    pub(crate) fn remove_portal(&self, portal: &Arc<Portal>) {
        let mut inner = self.inner.lock();
        inner.portals.retain(|p| !Arc::ptr_eq(p, portal));
        drop(inner);
        portal::close(&self.target.targets, portal);
    }

    /// The way in by the portal with the listening socket `door`; `None` if connections
    /// to it may not log in here.
    pub(crate) fn gate_at(&self, door: u64) -> Option<Gate> {
        let inner = self.inner.lock();
        let portal = inner.portals.iter().find(|p| p.door() == door)?.clone();
        drop(inner);
        Some(Gate {
            tally: portal.tally().clone(),
            redirect: portal.redirect(),
        })
    }

    /// Calls `each` with every portal.
    pub(crate) fn for_each_portal(&self, each: &mut dyn FnMut(&Portal)) {
        for portal in self.inner.lock().portals.iter() {
            each(portal);
        }
    }

    /// Makes a LUN without a device.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub(crate) fn create_lun(self: &Arc<Self>, number: u16) -> Result<Arc<Lun>> {
        let lun = Lun::new(number, self.clone())?;
        let mut inner = self.inner.lock();
        if inner.luns.iter().any(|l| l.number() == number) {
            return Err(EEXIST);
        }
        inner.luns.push(lun.clone(), GFP_KERNEL)?;
        Ok(lun)
    }

    /// Removes a LUN.
    pub(crate) fn remove_lun(&self, lun: &Arc<Lun>) {
        lun.detach();
        self.inner.lock().luns.retain(|l| !Arc::ptr_eq(l, lun));
    }

    /// Lets an initiator in, or makes a host group.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub(crate) fn create_acl(self: &Arc<Self>, name: AclName) -> Result<Arc<Acl>> {
        let depth = self.attrib(TpgAttrib::DefaultCmdsnDepth);
        let acl = Acl::new(name, self.clone(), depth)?;
        {
            let mut inner = self.inner.lock();
            if inner.acls.iter().any(|a| *a.name() == name) {
                return Err(EEXIST);
            }
            inner.acls.push(acl.clone(), GFP_KERNEL)?;
        }
        self.reassess();
        Ok(acl)
    }

    /// Lets an initiator in no more; its sessions end.
    pub(crate) fn remove_acl(&self, acl: &Arc<Acl>) {
        self.inner.lock().acls.retain(|a| !Arc::ptr_eq(a, acl));
        self.reassess();
    }

    /// Ends the sessions of initiators for whom another entry holds now, or
    /// none: what they were shown no longer does.
    pub(super) fn reassess(&self) {
        self.end_matching(Why::AclChanged, &|s| !self.is_current(s));
    }

    /// Whether the entry that a session came by is the one that holds.
    fn is_current(&self, session: &Session) -> bool {
        match (self.find_acl(session.initiator()), session.acl()) {
            (Some(now), Some(then)) => Arc::ptr_eq(&now, then),
            (None, None) => true,
            _ => false,
        }
    }

    /// The entry that holds for an initiator: its own, or else that of the
    /// host group whose members describe it most closely, the older one if
    /// two do so alike.
    pub(crate) fn find_acl(&self, name: &IscsiName) -> Option<Arc<Acl>> {
        let inner = self.inner.lock();
        if let Some(own) = inner.acls.iter().find(|a| a.is_of(name)) {
            return Some(own.clone());
        }
        let mut best: Option<(u16, &Arc<Acl>)> = None;
        for acl in inner.acls.iter() {
            if let Some(close) = acl.closeness(name) {
                if best.is_none_or(|(closest, _)| close > closest) {
                    best = Some((close, acl));
                }
            }
        }
        best.map(|(_, acl)| acl.clone())
    }

    /// Shows the initiators that are logged in without an entry until `show`
    /// returns false.
    pub(crate) fn for_each_dynamic_session(&self, show: &mut dyn FnMut(&IscsiName) -> bool) {
        self.for_each_session(&mut |s| s.acl().is_some() || show(s.initiator()));
    }

    /// Calls `each` with every session, the newest first, until it returns
    /// false.
    pub(crate) fn for_each_session(&self, each: &mut dyn FnMut(&Arc<Session>) -> bool) {
        let sessions = self.sessions.lock();
        for session in sessions.iter().rev() {
            if !each(session) {
                break;
            }
        }
    }

    /// As [`Tpg::for_each_session`], the oldest first.
    pub(crate) fn for_each_session_by_age(&self, each: &mut dyn FnMut(&Arc<Session>) -> bool) {
        let _ = self.sessions.lock().iter().all(each);
    }

    /// Takes a session in. One of the same initiator port (name and ISID) is
    /// reinstated (RFC 7143 6.3.5): the old one ends at once, nobody waits
    /// for it. Returns the number of sessions now.
    ///
    /// # Errors
    ///
    /// `ENODEV` when the group is shut, or another entry holds for the
    /// initiator since it was let in, `ENOMEM`.
    pub(crate) fn add_session(&self, session: &Arc<Session>) -> Result {
        let mut replaced = None;
        {
            let mut sessions = self.sessions.lock();
            if !self.is_enabled() || !self.is_current(session) {
                return Err(ENODEV);
            }
            sessions.reserve(1, GFP_KERNEL)?;
            if let Some(at) = sessions.iter().position(|s| s.is_same_port(session)) {
                replaced = sessions.remove(at).ok().inspect(|old| old.doom());
            }
            sessions.push(session.clone(), GFP_KERNEL)?;
            self.cap_demo(session);
            // It may have been changed since the login has looked at it.
            if let Some(acl) = session.acl() {
                session.set_depth(acl.cmdsn_depth());
            }
        }
        if let Some(old) = replaced {
            old.end(Why::Reinstated);
        }
        if !self.remap(session) {
            // It would have no LUN, and nothing would tell it of any.
            session.teardown();
            return Err(ENOMEM);
        }
        Ok(())
    }

    /// Forgets a session that has ended.
    pub(crate) fn remove_session(&self, session: &Arc<Session>) {
        self.sessions.lock().retain(|s| !Arc::ptr_eq(s, session));
    }

    /// Whether the session is one of the group's.
    pub(crate) fn has_session(&self, session: &Arc<Session>) -> bool {
        self.sessions.lock().iter().any(|s| Arc::ptr_eq(s, session))
    }

    /// Finds a session by its TSIH.
    pub(crate) fn find_session(&self, tsih: u16) -> Option<Arc<Session>> {
        self.sessions
            .lock()
            .iter()
            .find(|s| s.tsih() == tsih)
            .cloned()
    }

    /// A TSIH that no session of the group has; never 0.
    pub(crate) fn free_tsih(&self) -> Option<u16> {
        self.target
            .targets
            .next_tsih(|tsih| self.find_session(tsih).is_none())
    }

    fn end_matching(&self, why: Why, matching: &dyn Fn(&Session) -> bool) {
        // Ended outside the lock: ending takes a session off the list.
        loop {
            let found = {
                let mut sessions = self.sessions.lock();
                match sessions.iter().position(|s| matching(s)) {
                    Some(at) => sessions.remove(at).ok().inspect(|s| s.doom()),
                    None => None,
                }
            };
            match found {
                Some(session) => session.end(why),
                None => break,
            }
        }
    }

    fn end_sessions(&self, why: Why) {
        self.end_matching(why, &|_| true);
    }

    /// Ends sessions: at once, or, with
    /// `patience` in seconds, when the initiator has not logged out by then.
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is no such session, `ENOMEM`.
    pub(crate) fn close_sessions(&self, which: WhichSessions<'_>, patience: Option<u16>) -> Result {
        let is_meant = |s: &Session| match which {
            WhichSessions::All => true,
            WhichSessions::Of(name) => s.initiator() == name,
            WhichSessions::One(id) => s.id() == u64::from(id),
        };
        let mut list = KVec::new();
        for session in self.sessions.lock().iter().filter(|s| is_meant(s)) {
            list.push(session.clone(), GFP_KERNEL)?;
        }
        if list.is_empty() {
            return Err(ENOENT);
        }
        match patience {
            Some(seconds) => list.iter().for_each(|s| s.ask_to_log_out(seconds)),
            None => self.end_matching(Why::Closed, &is_meant),
        }
        Ok(())
    }

    pub(super) fn shut(&self) {
        self.enabled.store(0, Relaxed);
        self.end_sessions(Why::Removed);
    }

    /// Tells every session which LUNs it has now. One that cannot be told for want
    /// of memory ends: else it would keep what it may have no more.
    pub(crate) fn remap_all(&self) {
        // From the end, so that nothing need be allocated: when one leaves the list,
        // those after it move down, and they have been told. Who comes is told by
        // itself.
        let mut left = self.sessions.lock().len();
        while let Some(n) = left.checked_sub(1) {
            left = n;
            let session = self.sessions.lock().get(n).cloned();
            if let Some(session) = session.filter(|session| !self.remap(session)) {
                session.end(Why::AclChanged);
            }
        }
    }

    /// Tells `session` which LUNs it has now; false without memory.
    fn remap(&self, session: &Arc<Session>) -> bool {
        let _views = self.views.lock();
        let mut view: KVec<View> = KVec::new();
        let built = match session.acl() {
            Some(acl) => acl.for_each_map(&mut |map| Self::see_mapped(&mut view, map)),
            None => self.see_all(&mut view),
        };
        let told = built.is_ok() && session.set_view(view).is_ok();
        if !told {
            pr_warn!("out of memory: a session is not told which LUNs it has now\n");
        }
        told
    }

    fn see_mapped(view: &mut KVec<View>, map: &MappedLun) -> Result {
        let Some(lun) = map.lun() else {
            return Ok(());
        };
        if let Some(device) = lun.device() {
            view.push(
                View {
                    number: map.number(),
                    device,
                    lun,
                    read_only: map.write_protect(),
                },
                GFP_KERNEL,
            )?;
        }
        Ok(())
    }

    fn see_all(&self, view: &mut KVec<View>) -> Result {
        let read_only = self.attrib(TpgAttrib::DemoModeWriteProtect) != 0;
        let inner = self.inner.lock();
        for lun in inner.luns.iter() {
            if let Some(device) = lun.device() {
                view.push(
                    View {
                        number: lun.number(),
                        device,
                        lun: lun.clone(),
                        read_only,
                    },
                    GFP_KERNEL,
                )?;
            }
        }
        Ok(())
    }
}

/// Some sessions of a portal group.
#[derive(Clone, Copy)]
pub(crate) enum WhichSessions<'a> {
    /// All.
    All,
    /// Those of an initiator.
    Of(&'a IscsiName),
    /// The one with this number, see [`Session::id`].
    One(u32),
}

/// A LUN as a session shall see it.
pub(crate) struct View {
    /// The number the initiator uses.
    pub(crate) number: u16,
    /// The device behind it.
    pub(crate) device: Arc<Device>,
    /// The LUN of the portal group that it is.
    pub(crate) lun: Arc<Lun>,
    /// Whether the initiator may only read.
    pub(crate) read_only: bool,
}
