// SPDX-License-Identifier: GPL-2.0

//! A session: one initiator port and one target portal group (RFC 7143 4.4).
//!
//! Locks: `inner` (softirq) guards the command window, the list of tasks and
//! the list of LUNs. Nothing that sleeps, no socket and no other session is
//! touched under it.

use crate::{
    limits,
    proto::{
        login::params::SessionParams,
        name::IscsiName,
        scsi::{
            lun,
            Sense, //
        },
        serial::Sn,
        window::{
            Admit,
            CmdWindow, //
        }, //
    },
    sys::{
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        misc, //
    },
    target::{
        Acl,
        Nexus,
        Tpg,
        TpgAttrib,
        View, //
    },
    task::{
        Head,
        Link,
        Seen,
        Task, //
    },
    tmf::Waiter, //
};
use core::net::SocketAddr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Commands beyond the window: those sent for immediate delivery.
const IMMEDIATE_SLOTS: u32 = 16;

/// Why a session or connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The initiator logged out.
    Logout,
    /// The peer closed the connection or it broke.
    Lost,
    /// The peer broke the protocol.
    Protocol,
    /// A header digest did not match.
    HeaderDigest,
    /// The peer did not answer a NOP-In.
    Silent,
    /// A Data-Out PDU that was due did not come.
    NoData,
    /// The login took too long.
    LoginTimeout,
    /// The login was refused.
    Refused,
    /// The initiator logged in again with the same ISID.
    Reinstated,
    /// The portal group was disabled.
    Disabled,
    /// The portal group, target or module goes.
    Removed,
    /// The initiator's entry was removed or changed.
    AclChanged,
    /// An I_T nexus or target reset.
    Reset,
    /// The administrator closed it.
    Closed,
}

impl Why {
    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Why::Logout => "logged out",
            Why::Lost => "connection lost",
            Why::Protocol => "protocol error",
            Why::HeaderDigest => "header digest error",
            Why::Silent => "no answer to NOP-In",
            Why::NoData => "no Data-Out for a command that waits for it",
            Why::LoginTimeout => "login timeout",
            Why::Refused => "login refused",
            Why::Reinstated => "replaced by a new login",
            Why::Disabled => "portal group disabled",
            Why::Removed => "target removed",
            Why::AclChanged => "access changed",
            Why::Reset => "reset",
            Why::Closed => "closed by the administrator",
        }
    }
}

/// What a session was made with.
pub(crate) struct Identity {
    /// The initiator's name.
    pub(crate) initiator: IscsiName,
    /// The initiator's alias.
    pub(crate) alias: KVec<u8>,
    /// The initiator's part of the session identifier.
    pub(crate) isid: [u8; 6],
    /// The target's part of it.
    pub(crate) tsih: u16,
    /// Whether it is a discovery session.
    pub(crate) discovery: bool,
    /// The portal group; none for discovery.
    pub(crate) tpg: Option<Arc<Tpg>>,
    /// The initiator's entry, if it has one.
    pub(crate) acl: Option<Arc<Acl>>,
    /// What was negotiated.
    pub(crate) params: SessionParams,
    /// How many commands may be outstanding.
    pub(crate) depth: u32,
    /// The CmdSN of the first command.
    pub(crate) cmd_sn: Sn,
    /// The initiator's address.
    pub(crate) peer: SocketAddr,
    /// The connection identifier.
    pub(crate) cid: u16,
}

/// A session.
#[pin_data]
pub(crate) struct Session {
    id: u64,
    identity: Identity,
    exp_cmd_sn: Atomic<u32>,
    max_cmd_sn: Atomic<u32>,
    ended: Atomic<i32>,
    /// When the session ends if the initiator has not logged out; 0 when it
    /// was not asked to.
    logout_by_ms: Atomic<u64>,
    /// Pages of memory that its tasks hold.
    pages: Atomic<i32>,
    /// How many tasks are in `held`, to be read without the lock.
    waiting: Atomic<i32>,
    #[pin]
    inner: SpinLockBh<Inner>,
}

/// Protected by the spin lock in [`Session`].
struct Inner {
    window: CmdWindow,
    /// All tasks that have not ended; fixed capacity.
    slots: KVec<Slot>,
    /// Slots in use lie below this.
    high: usize,
    /// Tasks complete but for a command with a lower CmdSN.
    held: KVec<Task>,
    /// In ascending order of their numbers.
    nexuses: KVec<Arc<Nexus>>,
    link: Option<Arc<dyn Link>>,
}

#[derive(Default)]
struct Slot {
    task: Option<Seen>,
    itt: u32,
    waiters: KVec<Arc<Waiter>>,
}

/// What to do with a command, by its CmdSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Carry it out.
    Now,
    /// Collect its data, but wait for those before it.
    Hold,
    /// Ignore it (RFC 7143 4.2.2.1: outside the window, or a duplicate).
    Ignore,
    /// Its ITT is in use (RFC 7143 11.17.1: Task in progress).
    InProgress,
    /// Too many immediate commands.
    Full,
}

static NEXT_ID: Atomic<u64> = Atomic::new(1);

impl Session {
    /// A session that no connection belongs to yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(identity: Identity) -> Result<Arc<Self>> {
        let window = CmdWindow::new(identity.cmd_sn, identity.depth);
        let slots = identity.depth.saturating_add(IMMEDIATE_SLOTS) as usize;
        let mut list = KVec::with_capacity(slots, GFP_KERNEL)?;
        for _ in 0..slots {
            list.push(Slot::default(), GFP_KERNEL)?;
        }
        Arc::pin_init(
            try_pin_init!(Self {
                id: NEXT_ID.fetch_add(1, Relaxed),
                exp_cmd_sn: Atomic::new(window.exp_cmd_sn().0),
                max_cmd_sn: Atomic::new(window.max_cmd_sn().0),
                ended: Atomic::new(0),
                logout_by_ms: Atomic::new(0),
                pages: Atomic::new(0),
                waiting: Atomic::new(0),
                inner <- new_spinlock_bh!(
                    Inner {
                        window,
                        slots: list,
                        high: 0,
                        held: KVec::new(),
                        nexuses: KVec::new(),
                        link: None,
                    },
                    "ferrite_session"
                ),
                identity,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// A number that no other session has had since the module was loaded.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The initiator's name.
    pub(crate) fn initiator(&self) -> &IscsiName {
        &self.identity.initiator
    }

    /// The initiator's part of the session identifier.
    pub(crate) fn isid(&self) -> [u8; 6] {
        self.identity.isid
    }

    /// The target's part of the session identifier.
    pub(crate) fn tsih(&self) -> u16 {
        self.identity.tsih
    }

    /// Whether it is a discovery session.
    pub(crate) fn is_discovery(&self) -> bool {
        self.identity.discovery
    }

    /// The portal group; none for discovery.
    pub(crate) fn tpg(&self) -> Option<&Arc<Tpg>> {
        self.identity.tpg.as_ref()
    }

    /// The initiator's entry, if it has one.
    pub(crate) fn acl(&self) -> Option<&Arc<Acl>> {
        self.identity.acl.as_ref()
    }

    /// What was negotiated.
    pub(crate) fn params(&self) -> &SessionParams {
        &self.identity.params
    }

    /// The connection identifier.
    pub(crate) fn cid(&self) -> u16 {
        self.identity.cid
    }

    /// Whether it belongs to that initiator port.
    pub(crate) fn is_port(&self, initiator: &IscsiName, isid: [u8; 6]) -> bool {
        self.identity.isid == isid && self.identity.initiator == *initiator
    }

    /// How many commands may be outstanding at most.
    pub(crate) fn depth(&self) -> u32 {
        self.identity.depth
    }

    /// Whether both have the same initiator port: name and ISID.
    pub(crate) fn is_same_port(&self, other: &Session) -> bool {
        self.identity.isid == other.identity.isid
            && self.identity.initiator == other.identity.initiator
    }

    /// Gives the session its connection. One that it had is replaced: it
    /// closes, and its tasks end without a response (RFC 7143 6.3.4).
    ///
    /// False when the session has ended meanwhile.
    pub(crate) fn join(&self, link: Arc<dyn Link>) -> bool {
        let old = {
            let mut inner = self.inner.lock();
            if self.has_ended() {
                return false;
            }
            let old = inner.link.replace(link);
            if old.is_some() {
                let high = inner.high;
                for task in inner
                    .slots
                    .iter()
                    .take(high)
                    .filter_map(|s| s.task.as_ref())
                {
                    task.abort();
                }
            }
            old
        };
        if let Some(old) = old {
            old.close(Why::Reinstated);
        }
        true
    }

    /// A connection is gone. The session ends with it, unless another one has
    /// taken its place.
    pub(crate) fn leave(self: &Arc<Self>, link: &Arc<dyn Link>) {
        let replaced = self
            .inner
            .lock()
            .link
            .as_ref()
            .is_some_and(|now| !core::ptr::addr_eq(Arc::as_ptr(now), Arc::as_ptr(link)));
        if !replaced {
            self.teardown();
        }
    }

    /// ExpCmdSN and MaxCmdSN, for the next PDU to the initiator.
    pub(crate) fn command_numbers(&self) -> (Sn, Sn) {
        (
            Sn(self.exp_cmd_sn.load(Relaxed)),
            Sn(self.max_cmd_sn.load(Relaxed)),
        )
    }

    fn publish(&self, inner: &Inner) {
        self.exp_cmd_sn.store(inner.window.exp_cmd_sn().0, Relaxed);
        self.max_cmd_sn.store(inner.window.max_cmd_sn().0, Relaxed);
    }

    /// Changes how many commands may be outstanding.
    pub(crate) fn set_depth(&self, depth: u32) {
        let mut inner = self.inner.lock();
        let room = inner.slots.len() as u32;
        let depth = depth.min(room.saturating_sub(IMMEDIATE_SLOTS)).max(1);
        inner.window.set_depth(depth);
        self.publish(&inner);
    }

    // ---- memory ----------------------------------------------------------

    /// Charges pages to the session; false when it, or the module, has too
    /// many.
    pub(crate) fn charge(&self, pages: usize) -> bool {
        let n = i32::try_from(pages).unwrap_or(i32::MAX);
        if self.pages.load(Relaxed).saturating_add(n) > limits::SESSION_PAGES {
            return false;
        }
        if !limits::take_pages(pages) {
            return false;
        }
        self.pages.add(n, Relaxed);
        true
    }

    /// Gives pages back.
    pub(crate) fn uncharge(&self, pages: usize) {
        if pages != 0 {
            let n = i32::try_from(pages).unwrap_or(i32::MAX);
            self.pages.add(n.wrapping_neg(), Relaxed);
            limits::give_pages(pages);
        }
    }

    // ---- commands --------------------------------------------------------

    /// The unit that the session calls `number`.
    pub(crate) fn nexus(&self, number: u16) -> Option<Arc<Nexus>> {
        let inner = self.inner.lock();
        let at = inner
            .nexuses
            .binary_search_by(|n| n.number().cmp(&number))
            .ok()?;
        inner.nexuses.get(at).cloned()
    }

    /// The first unit whose number is `number` or more.
    pub(crate) fn nexus_from(&self, number: u16) -> Option<Arc<Nexus>> {
        let inner = self.inner.lock();
        let at = inner.nexuses.partition_point(|n| n.number() < number);
        inner.nexuses.get(at).cloned()
    }

    /// Calls `each` with the number of every LUN, in ascending order. `each`
    /// must not sleep.
    pub(crate) fn for_each_lun(&self, each: &mut dyn FnMut(u16)) {
        for nexus in self.inner.lock().nexuses.iter() {
            each(nexus.number());
        }
    }

    /// Takes a SCSI command in, by its CmdSN, and lists it.
    pub(crate) fn admit(&self, task: &Task) -> Admission {
        let head: &Head = task.shared();
        let mut inner = self.inner.lock();
        if inner.find(head.itt).is_some() {
            return Admission::InProgress;
        }
        let Some(slot) = inner.free_slot() else {
            return Admission::Full;
        };
        let admission = match inner.window.admit(head.cmd_sn, head.immediate) {
            Admit::Ignore => return Admission::Ignore,
            Admit::Now => {
                // What was held for this one may go on, too.
                while inner.window.advance() {}
                Admission::Now
            }
            Admit::Hold => Admission::Hold,
        };
        head.set_slot(slot as u32);
        if let Some(entry) = inner.slots.get_mut(slot) {
            entry.itt = head.itt;
            entry.task = Some(task.share());
        }
        inner.high = inner.high.max(slot.saturating_add(1));
        self.publish(&inner);
        admission
    }

    /// Takes in a request that is no SCSI command, by its CmdSN; none when it
    /// is to be ignored. It is answered at once, also when one before it is
    /// missing. With `true`, [`Session::answered`] is due when it is.
    pub(crate) fn admit_request(&self, cmd_sn: Sn, immediate: bool) -> Option<bool> {
        let mut inner = self.inner.lock();
        let ok = match inner.window.admit(cmd_sn, immediate) {
            Admit::Ignore => None,
            Admit::Now => Some(!immediate),
            Admit::Hold => {
                inner.window.plug(cmd_sn);
                Some(false)
            }
        };
        while inner.window.advance() {}
        self.publish(&inner);
        ok
    }

    /// A request that [`Session::admit_request`] let in has its answer.
    pub(crate) fn answered(&self) {
        let mut inner = self.inner.lock();
        inner.window.release(1);
        self.publish(&inner);
    }

    /// Keeps a task whose data is complete until those before it have come;
    /// hands it back when they have, or when there is no memory to keep it.
    pub(crate) fn hold(&self, task: Task) -> Option<Task> {
        let mut inner = self.inner.lock();
        if self.has_ended() || task.shared().cmd_sn.lt(inner.window.exp_cmd_sn()) {
            return Some(task);
        }
        if inner.held.reserve(1, GFP_ATOMIC).is_err() {
            return Some(task);
        }
        self.waiting.add(1, Relaxed);
        inner.held.push_within_capacity(task).err().map(|e| e.0)
    }

    /// Takes the first held task that may run now, or that was aborted.
    pub(crate) fn unhold(&self) -> Option<Task> {
        if self.waiting.load(Relaxed) == 0 {
            return None;
        }
        let mut inner = self.inner.lock();
        let next = inner.window.exp_cmd_sn();
        let mut first: Option<(usize, Sn)> = None;
        for (at, task) in inner.held.iter().enumerate() {
            let head: &Head = task.shared();
            let ready = head.is_aborted() || head.cmd_sn.lt(next);
            if ready && first.is_none_or(|(_, sn)| head.cmd_sn.lt(sn)) {
                first = Some((at, head.cmd_sn));
            }
        }
        let (at, _) = first?;
        self.waiting.add(-1, Relaxed);
        inner.held.remove(at).ok()
    }

    /// Ends a task: it is not listed any more, the window moves, and those who
    /// waited for its end are told.
    pub(crate) fn retire(&self, task: &mut Task) {
        let charged = core::mem::take(&mut task.get().charged);
        let head: &Head = task.shared();
        let slot = head.slot() as usize;
        let mut waiters = KVec::new();
        let mut seen = None;
        let mut moved = false;
        {
            let mut inner = self.inner.lock();
            if let Some(entry) = inner.slots.get_mut(slot) {
                seen = entry.task.take();
                core::mem::swap(&mut waiters, &mut entry.waiters);
            }
            if seen.is_some() {
                while let Some(below) = inner.high.checked_sub(1) {
                    if inner.slots.get(below).is_some_and(|s| s.task.is_some()) {
                        break;
                    }
                    inner.high = below;
                }
                if !head.immediate {
                    if head.cmd_sn.lt(inner.window.exp_cmd_sn()) {
                        let closed = inner.window.is_closed();
                        moved = inner.window.release(1) && closed;
                    } else {
                        // Held, and never delivered.
                        inner.window.plug(head.cmd_sn);
                        while inner.window.advance() {}
                    }
                }
                self.publish(&inner);
            }
        }
        drop(seen);
        if moved && head.is_aborted() && !self.has_ended() {
            head.link.clone().window_moved();
        }
        for waiter in waiters.iter() {
            Waiter::one_ended(waiter);
        }
        self.uncharge(charged);
    }

    /// Marks tasks as aborted and lets `waiter` wait for their end. Returns
    /// how many there were.
    pub(crate) fn abort_tasks(
        &self,
        waiter: &Arc<Waiter>,
        matching: &dyn Fn(&Head) -> bool,
    ) -> usize {
        let mut count = 0usize;
        let link;
        {
            let mut inner = self.inner.lock();
            let high = inner.high;
            for entry in inner.slots.iter_mut().take(high) {
                let Some(task) = entry.task.as_ref() else {
                    continue;
                };
                if !matching(task) {
                    continue;
                }
                // Without memory to wait, the function is reported as
                // rejected: it may not claim what it has not seen.
                if entry.waiters.push(waiter.clone(), GFP_ATOMIC).is_err() {
                    waiter.fail();
                    continue;
                }
                waiter.one_more();
                task.abort();
                count = count.saturating_add(1);
            }
            link = inner.link.clone();
        }
        if count != 0 {
            if let Some(link) = link {
                link.sweep();
            }
        }
        count
    }

    /// Whether a task with this tag is under way.
    pub(crate) fn has_task(&self, itt: u32) -> bool {
        self.inner.lock().find(itt).is_some()
    }

    /// Whether the session has any task for the LUN.
    pub(crate) fn has_tasks_for(&self, lun: u64) -> bool {
        let inner = self.inner.lock();
        inner
            .slots
            .iter()
            .take(inner.high)
            .any(|s| s.task.as_ref().is_some_and(|t| t.lun == lun))
    }

    /// Counts a command as received that an ABORT TASK names and that has not
    /// come (RFC 7143 11.6.1). False when it was received before.
    pub(crate) fn plug(&self, missing: Sn, request: Sn) -> bool {
        let mut inner = self.inner.lock();
        let plugged = inner.window.plug_missing(missing, request);
        while inner.window.advance() {}
        self.publish(&inner);
        plugged
    }

    /// Whether no task is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.lock().high == 0
    }

    // ---- LUNs ------------------------------------------------------------

    /// Replaces the list of LUNs. What stays keeps its state; when the list
    /// differs the initiator is told (REPORTED LUNS DATA HAS CHANGED).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; then nothing has changed.
    pub(crate) fn set_view(self: &Arc<Self>, view: KVec<View>) -> Result {
        let mut list: KVec<Arc<Nexus>> = KVec::with_capacity(view.len(), GFP_KERNEL)?;
        let mut fresh: KVec<Arc<Nexus>> = KVec::with_capacity(view.len(), GFP_KERNEL)?;
        for want in view.iter() {
            let kept = self
                .nexus(want.number)
                .filter(|n| Arc::ptr_eq(n.device(), &want.device));
            let nexus = match kept {
                Some(nexus) => {
                    nexus.set_read_only(want.read_only);
                    nexus
                }
                None => {
                    let nexus = Nexus::new(
                        want.number,
                        want.device.clone(),
                        self.clone(),
                        want.read_only,
                    )?;
                    fresh.push(nexus.clone(), GFP_KERNEL)?;
                    nexus
                }
            };
            let at = list.partition_point(|n| n.number() < want.number);
            // There is room for all of them.
            let _ = list.insert_within_capacity(at, nexus);
        }
        for (n, nexus) in fresh.iter().enumerate() {
            if let Err(e) = nexus.device().add_nexus(nexus.clone()) {
                for added in fresh.iter().take(n) {
                    added.device().remove_nexus(added);
                }
                return Err(e);
            }
        }
        let was_empty;
        let old = {
            let mut inner = self.inner.lock();
            was_empty = inner.nexuses.is_empty();
            if self.has_ended() {
                list
            } else {
                core::mem::replace(&mut inner.nexuses, list)
            }
        };
        let mut changed = !fresh.is_empty();
        for nexus in old.iter() {
            let kept = !self.has_ended()
                && self
                    .nexus(nexus.number())
                    .is_some_and(|n| Arc::ptr_eq(&n, nexus));
            if !kept {
                changed = true;
                nexus.end();
                nexus.device().remove_nexus(nexus);
            }
        }
        if changed && !was_empty {
            let inner = self.inner.lock();
            for nexus in inner.nexuses.iter() {
                nexus.post(crate::proto::scsi::ua::Ua::ReportedLunsChanged);
            }
        }
        if changed {
            self.scsi_event(0, Sense::REPORTED_LUNS_DATA_HAS_CHANGED);
        }
        Ok(())
    }

    // ---- the end ---------------------------------------------------------

    /// Ends the session: its connection closes, its tasks end without a
    /// response. Returns at once.
    pub(crate) fn end(&self, why: Why) {
        let link = self.inner.lock().link.clone();
        if let Some(link) = link {
            link.clone().announce(why);
            link.close(why);
        }
    }

    /// Asks the initiator to log out (RFC 7143 11.9.1, AsyncEvent 1); the
    /// session ends if it has not done so after `seconds`.
    pub(crate) fn ask_to_log_out(&self, seconds: u16) {
        let by = misc::now_ms().saturating_add(u64::from(seconds).saturating_mul(1000));
        self.logout_by_ms.store(by.max(1), Relaxed);
        let link = self.inner.lock().link.clone();
        if let Some(link) = link {
            link.request_logout(seconds);
        }
    }

    /// Tells the initiator of an event of a unit, if the administrator wants
    /// it so (RFC 7143 11.9.1, AsyncEvent 0). Any context but hardirq.
    pub(crate) fn scsi_event(&self, number: u16, sense: Sense) {
        let wanted = |tpg: &Arc<Tpg>| tpg.attrib(TpgAttrib::ScsiEvents) != 0;
        if !self.tpg().is_some_and(wanted) {
            return;
        }
        let link = self.inner.lock().link.clone();
        if let Some(link) = link {
            link.scsi_event(lun::encode(number), sense);
        }
    }

    /// Whether the initiator was asked to log out, and its time is over.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        let by = self.logout_by_ms.load(Relaxed);
        by != 0 && now_ms > by
    }

    /// Whether the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed) != 0
    }

    /// The connection is gone: forgets the session's LUNs, aborts its tasks
    /// and leaves the portal group. Process context.
    pub(crate) fn teardown(self: &Arc<Self>) {
        let (first, link, nexuses, held) = {
            let mut inner = self.inner.lock();
            let first = self.ended.xchg(1, Full) == 0;
            let high = inner.high;
            for entry in inner.slots.iter().take(high) {
                if let Some(task) = entry.task.as_ref() {
                    task.abort();
                }
            }
            (
                first,
                inner.link.take(),
                core::mem::replace(&mut inner.nexuses, KVec::new()),
                core::mem::replace(&mut inner.held, KVec::new()),
            )
        };
        self.waiting.store(0, Relaxed);
        for mut task in held {
            self.retire(&mut task);
        }
        if !first {
            return;
        }
        for nexus in nexuses.iter() {
            nexus.end();
            nexus.device().remove_nexus(nexus);
        }
        drop(nexuses);
        if let Some(tpg) = self.tpg() {
            tpg.remove_session(self);
        }
        drop(link);
    }

    /// Shows what `info` and `ferritectl` print.
    pub(crate) fn with_info(&self, show: &mut dyn FnMut(&SessionInfo<'_>) -> bool) -> bool {
        let (exp_cmd_sn, max_cmd_sn) = self.command_numbers();
        let conns = [ConnInfo {
            cid: self.identity.cid,
            state: if self.has_ended() {
                ConnState::CleanupWait
            } else {
                ConnState::LoggedIn
            },
            peer: self.identity.peer,
            stat_sn: 0,
        }];
        show(&SessionInfo {
            initiator: &self.identity.initiator,
            alias: &self.identity.alias,
            id: self.id as u32,
            isid: self.identity.isid,
            tsih: self.identity.tsih,
            discovery: self.identity.discovery,
            state: if self.has_ended() {
                SessionState::Failed
            } else {
                SessionState::LoggedIn
            },
            window: self.identity.depth,
            exp_cmd_sn: exp_cmd_sn.0,
            max_cmd_sn: max_cmd_sn.0,
            params: &self.identity.params,
            conns: &conns,
        })
    }
}

impl Inner {
    fn find(&self, itt: u32) -> Option<usize> {
        self.slots
            .iter()
            .take(self.high)
            .position(|s| s.itt == itt && s.task.is_some())
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|s| s.task.is_none())
    }
}

/// What can be told of a session.
pub(crate) struct SessionInfo<'a> {
    /// The initiator's name.
    pub(crate) initiator: &'a IscsiName,
    /// The initiator's alias.
    pub(crate) alias: &'a [u8],
    /// A number of our own.
    pub(crate) id: u32,
    /// The initiator's part of the session identifier.
    pub(crate) isid: [u8; 6],
    /// The target's part of it.
    pub(crate) tsih: u16,
    /// Whether it is a discovery session.
    pub(crate) discovery: bool,
    /// Its state.
    pub(crate) state: SessionState,
    /// The size of the command window.
    pub(crate) window: u32,
    /// ExpCmdSN.
    pub(crate) exp_cmd_sn: u32,
    /// MaxCmdSN.
    pub(crate) max_cmd_sn: u32,
    /// What was negotiated.
    pub(crate) params: &'a SessionParams,
    /// Its connections.
    pub(crate) conns: &'a [ConnInfo],
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// In full feature phase.
    LoggedIn,
    /// Ending.
    Failed,
}

/// What can be told of a connection.
pub(crate) struct ConnInfo {
    /// The connection identifier.
    pub(crate) cid: u16,
    /// Its state.
    pub(crate) state: ConnState,
    /// The initiator's address.
    pub(crate) peer: SocketAddr,
    /// The next StatSN.
    pub(crate) stat_sn: u32,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnState {
    /// In full feature phase.
    LoggedIn,
    /// Ending.
    CleanupWait,
}

/// Logs, at a bounded rate, what a peer did or what became of it.
pub(crate) fn log(initiator: &IscsiName, what: &str) {
    if misc::may_log() {
        pr_info!("{}: {}\n", initiator.as_str(), what);
    }
}
