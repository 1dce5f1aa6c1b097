// SPDX-License-Identifier: GPL-2.0

//! A session: one initiator port and one target portal group (RFC 7143 4.4).
//!
//! Locks: `inner` (softirq) guards the command window, the list of tasks and
//! the list of LUNs. Nothing that sleeps, no socket and no other session is
//! touched under it.

use crate::sys::atomic::InPlace;
use crate::{
    limits::{
        self,
        Charge,
        Share, //
    },
    meter::{
        Count,
        Meter,
        BRIEF, //
    },
    proto::{
        fence::{
            Fence,
            MAX_MARKS, //
        },
        login::params::{
            ConnParams,
            SessionParams,
            MAX_CONNECTIONS, //
        },
        name::IscsiName,
        scsi::{
            device::UaInterlock,
            lun,
            ua::Ua,
            Sense, //
        },
        serial::Sn,
        tag,
        window::{
            Admit,
            CmdWindow, //
        },
        wire::BHS_LEN, //
    },
    sys::{
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        misc,
        trace, //
    },
    tally::{
        SessionMeter,
        Tally, //
    },
    target::{
        caps,
        Acl,
        AclName,
        Caps,
        Nexus,
        Tpg,
        TpgAttrib,
        View, //
    },
    task::{
        self,
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
pub(crate) const IMMEDIATE_SLOTS: u32 = 16;

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
    /// The connection was logged out so that its tasks can be reassigned.
    Recovery,
    /// The portal group was disabled.
    Disabled,
    /// The portal group, target or module goes.
    Removed,
    /// The initiator's entry was removed or changed.
    AclChanged,
    /// TARGET COLD RESET.
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
            Why::Recovery => "connection removed for recovery",
            Why::Disabled => "portal group disabled",
            Why::Removed => "target removed",
            Why::AclChanged => "access changed",
            Why::Reset => "target cold reset",
            Why::Closed => "closed by the administrator",
        }
    }
}

impl Why {
    /// After these, tasks of the connection can be reassigned to another one, at
    /// ErrorRecoveryLevel 2.
    pub(crate) const RECOVERABLE: [Why; 5] = [
        Why::Lost,
        Why::HeaderDigest,
        Why::Silent,
        Why::NoData,
        Why::Recovery,
    ];

    /// Whether it is one of those.
    pub(crate) fn is_recoverable(self) -> bool {
        Self::RECOVERABLE.contains(&self)
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
    /// What is counted of the portal that it came by, with its first connection.
    pub(crate) tally: Option<Arc<Tally>>,
    /// The initiator's entry, if it has one.
    pub(crate) acl: Option<Arc<Acl>>,
    /// What was negotiated.
    pub(crate) params: SessionParams,
    /// How many commands may be outstanding.
    pub(crate) depth: u32,
    /// What it may use of what its address may.
    pub(crate) share: Share,
    /// The CmdSN of the first command.
    pub(crate) cmd_sn: Sn,
}

/// How long a task management function waits for commands before it, and for
/// the acknowledgement of responses before its own, in milliseconds.
const PATIENCE_MS: u64 = 6_000;

/// Requests that may wait for commands before them, and responses that may
/// wait for an acknowledgement.
const WAITING: usize = 32;

/// What is known of a connection.
#[derive(Clone, Copy)]
pub(crate) struct ConnFacts {
    /// The initiator's address.
    pub(crate) peer: SocketAddr,
    /// The target's.
    pub(crate) local: SocketAddr,
    /// What was negotiated for it in the login.
    pub(crate) params: ConnParams,
}

/// A connection of a session.
struct Line {
    cid: u16,
    facts: ConnFacts,
    link: Arc<dyn Link>,
}

/// What became of a connection whose tasks were to be kept.
#[derive(Default)]
struct Kept {
    /// They are.
    done: bool,
    /// Another one had to go for it.
    oldest: Option<Suspended>,
}

/// A connection that is gone and whose tasks can be reassigned (RFC 7143
/// 7.2.2).
struct Suspended {
    cid: u16,
    facts: ConnFacts,
    link: Arc<dyn Link>,
    /// It was logged out, so that tasks may be reassigned.
    logged_out: bool,
    /// When its tasks are given up.
    until_ms: u64,
}

/// What becomes of a TASK REASSIGN.
pub(crate) enum Reassign {
    /// This connection has the task, or may have it.
    From(Arc<dyn Link>),
    /// The task belongs to a connection that was not logged out.
    StillAllegiant,
    /// There is no such task.
    Unknown,
}

/// A request that waits for commands before it.
struct Deferred {
    request: Due,
    cmd_sn: Sn,
    link: Arc<dyn Link>,
    deadline_ms: u64,
}

/// A request that need not wait any longer.
pub(crate) struct Due {
    /// Its header.
    pub(crate) header: [u8; BHS_LEN],
    /// Whether a place in the command window is free with its answer.
    pub(crate) release: bool,
    /// Whether it has waited in vain.
    pub(crate) in_vain: bool,
}

/// A response that waits for the acknowledgement of those before it.
struct Fenced {
    fence: Fence,
    waiter: Arc<Waiter>,
    link: Arc<dyn Link>,
    deadline_ms: u64,
}

/// A session.
#[pin_data]
pub(crate) struct Session {
    id: u64,
    identity: Identity,
    exp_cmd_sn: Atomic<u32>,
    max_cmd_sn: Atomic<u32>,
    ended: Atomic<i32>,
    /// It is to end: no connection is kept for recovery any more.
    doomed: Atomic<i32>,
    /// When the session ends if the initiator has not logged out; 0 when it
    /// was not asked to.
    logout_by_ms: Atomic<u64>,
    /// When it began.
    since_ms: u64,
    /// What is counted of its commands.
    meter: SessionMeter,
    /// The limits of its commands: those of its entry, or its own.
    caps: Arc<Caps>,
    /// Pages of memory that its tasks hold.
    pages: Atomic<i32>,
    /// How many tasks are in `held`, to be read without the lock.
    waiting: Atomic<i32>,
    /// How many are in `deferred`, and in `fences`.
    deferring: Atomic<i32>,
    fencing: Atomic<i32>,
    #[pin]
    inner: SpinLockBh<Inner>,
}

/// Protected by the spin lock in [`Session`].
struct Inner {
    window: CmdWindow,
    /// All tasks that have not ended; fixed capacity.
    slots: KVec<Slot>,
    /// How many of them are in use.
    used: usize,
    /// How many of these are for immediate delivery.
    immediate: u32,
    /// How many of these are not at the place of their tag, see [`Inner::home`].
    strays: usize,
    /// Tasks complete but for a command with a lower CmdSN.
    held: KVec<Task>,
    /// In ascending order of their numbers.
    nexuses: KVec<Arc<Nexus>>,
    /// The connections; fixed capacity.
    lines: KVec<Line>,
    /// Connections that are gone and whose tasks are kept; fixed capacity.
    suspended: KVec<Suspended>,
    /// Requests that wait for commands before them.
    deferred: KVec<Deferred>,
    /// Responses that wait for an acknowledgement.
    fences: KVec<Fenced>,
}

const _: () = assert!(MAX_CONNECTIONS as usize <= MAX_MARKS);

/// The connections of a session, to be used without its lock.
type Links = [Option<Arc<dyn Link>>; MAX_CONNECTIONS as usize];

/// Copies of connections, so that something can be done to them with no lock held.
fn copies<'a>(of: impl Iterator<Item = &'a Arc<dyn Link>>) -> Links {
    let mut links = Links::default();
    for (place, link) in links.iter_mut().zip(of) {
        *place = Some(link.clone());
    }
    links
}

#[derive(Default)]
struct Slot {
    task: Option<Seen>,
    itt: u32,
    /// Who waits for its end; of few tasks anybody does.
    waiters: Waiters,
}

type Waiters = Option<KBox<KVec<Arc<Waiter>>>>;

/// Those who may wait for the end of one task: a disk that hangs keeps it for as long as it
/// likes, and initiators try again and again.
const MOST_WAITERS: usize = 256;

/// Adds one who waits; false without memory, or when too many do.
fn add_waiter(waiters: &mut Waiters, waiter: &Arc<Waiter>) -> bool {
    if waiters.is_none() {
        *waiters = KBox::new(KVec::new(), GFP_ATOMIC).ok();
    }
    waiters.as_mut().is_some_and(|all| {
        if all.len() >= MOST_WAITERS {
            // The time of these was up before the task has ended.
            all.retain(|waiter| !waiter.is_answered());
        }
        all.len() < MOST_WAITERS && all.push(waiter.clone(), GFP_ATOMIC).is_ok()
    })
}

/// How many tasks an abort has met.
#[derive(Clone, Copy, Default)]
pub(crate) struct Aborted {
    /// All.
    pub(crate) found: usize,
    /// Those that nobody had aborted before.
    pub(crate) lost: usize,
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
        // Room for those that have come too early, where any can.
        let held = match identity.params.max_connections {
            0 | 1 => KVec::new(),
            _ => KVec::with_capacity(slots, GFP_KERNEL)?,
        };
        let caps = match identity.acl.as_ref() {
            Some(acl) => acl.caps().clone(),
            None => Caps::new()?,
        };
        let lines = KVec::with_capacity(MAX_CONNECTIONS as usize, GFP_KERNEL)?;
        let suspended = match identity.params.error_recovery_level {
            2 => KVec::with_capacity(MAX_CONNECTIONS as usize, GFP_KERNEL)?,
            _ => KVec::new(),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                id: NEXT_ID.fetch_add(1, Relaxed),
                exp_cmd_sn: Atomic::new(window.exp_cmd_sn().0),
                max_cmd_sn: Atomic::new(window.max_cmd_sn().0),
                ended: Atomic::new(0),
                doomed: Atomic::new(0),
                logout_by_ms: Atomic::new(0),
                since_ms: misc::now_ms(),
                meter: SessionMeter::new(identity.tally.as_ref())?,
                caps,
                pages: Atomic::new(0),
                waiting: Atomic::new(0),
                deferring: Atomic::new(0),
                fencing: Atomic::new(0),
                inner <- new_spinlock_bh!(
                    Inner {
                        window,
                        slots: list,
                        used: 0,
                        immediate: 0,
                        strays: 0,
                        held,
                        nexuses: KVec::new(),
                        lines,
                        suspended,
                        deferred: KVec::new(),
                        fences: KVec::new(),
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

    /// The limits of its commands.
    pub(crate) fn caps(&self) -> &Arc<Caps> {
        &self.caps
    }

    /// A command of it has to wait for limits.
    pub(crate) fn count_held(&self) {
        self.meter.add(Count::Held, 1);
    }

    /// One has waited so long.
    pub(crate) fn count_held_us(&self, us: u64) {
        self.meter.add(Count::HeldUs, us);
    }

    /// Ends those of its commands that wait for limits, and that nobody waits
    /// for any more. Any context but hardirq.
    fn end_held(&self) {
        if !caps::any() {
            return;
        }
        self.caps.end_hopeless();
        for nexus in self.nexuses() {
            nexus.lun().caps().end_hopeless();
        }
    }

    /// The same for a unit that is gone.
    fn end_held_for(&self, nexus: &Nexus) {
        if caps::any() {
            self.caps.end_hopeless();
            nexus.lun().caps().end_hopeless();
        }
    }

    /// Whether it may have more than one connection.
    pub(crate) fn is_shared(&self) -> bool {
        self.identity.params.max_connections > 1
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

    /// Whether both are of the same initiator port, and the same portal group.
    pub(crate) fn is_same_nexus(&self, other: &Session) -> bool {
        let same = match (self.tpg(), other.tpg()) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        same && self.is_same_port(other)
    }

    // ---- connections -----------------------------------------------------

    /// Whether a connection of that identifier may be added, or replaced.
    pub(crate) fn has_room_for(&self, cid: u16) -> bool {
        self.inner.lock().has_room_for(cid, self.most_lines())
    }

    fn most_lines(&self) -> usize {
        self.identity.params.max_connections.min(MAX_CONNECTIONS) as usize
    }

    /// Adds a connection. One with the same identifier is replaced: it closes,
    /// and its tasks end without a response (RFC 7143 6.3.4).
    ///
    /// False when the session has ended, or has too many connections.
    pub(crate) fn join(&self, cid: u16, facts: ConnFacts, link: Arc<dyn Link>) -> bool {
        let old = {
            let mut guard = self.inner.lock();
            let inner = &mut *guard;
            if self.has_ended() || !inner.has_room_for(cid, self.most_lines()) {
                return false;
            }
            let line = Line { cid, facts, link };
            for fenced in inner.fences.iter_mut() {
                // What the old one has sent is not waited for.
                fenced.fence.keep(|other| other != cid);
            }
            // RFC 7143 11.14: an implicit logout, for recovery at level 2.
            for old in inner.suspended.iter_mut().filter(|s| s.cid == cid) {
                old.logged_out = true;
                old.until_ms = self.retain_until();
            }
            match inner.lines.iter_mut().find(|l| l.cid == cid) {
                Some(place) => {
                    let old = core::mem::replace(place, line);
                    let link = old.link.clone();
                    Some((link, self.keep(inner, old, true)))
                }
                // There is room.
                None => {
                    let _ = inner.lines.push_within_capacity(line);
                    None
                }
            }
        };
        if let Some((link, kept)) = old {
            if self.kept(&link, kept) {
                link.close(Why::Recovery);
            } else {
                self.lose(&link);
                link.close(Why::Reinstated);
            }
            self.check_fences();
        }
        true
    }

    /// Whether tasks outlive their connection: at ErrorRecoveryLevel 2, until the
    /// session is to end.
    pub(crate) fn recovers(&self) -> bool {
        let params = &self.identity.params;
        params.error_recovery_level == 2 && params.default_time2retain != 0 && !self.is_doomed()
    }

    /// It is to end: no more commands are taken in from here on. Whoever takes it off the list
    /// of its portal group says so before anybody can find that it is not there.
    pub(crate) fn doom(&self) {
        self.doomed.put(1);
    }

    /// Whether it is to end, with all its connections.
    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.now() != 0
    }

    /// Until when tasks of a connection that goes now are kept.
    fn retain_until(&self) -> u64 {
        let params = &self.identity.params;
        let seconds = params
            .default_time2wait
            .saturating_add(params.default_time2retain);
        misc::now_ms().saturating_add(u64::from(seconds).saturating_mul(1000))
    }

    /// Takes a connection that is gone, or is going, among those whose tasks are
    /// kept. To be called with the lock, and then [`kept`](Self::kept) without it.
    fn keep(&self, inner: &mut Inner, line: Line, logged_out: bool) -> Kept {
        if !self.recovers() {
            return Kept::default();
        }
        let mut oldest = None;
        if inner.suspended.len() >= inner.suspended.capacity() {
            oldest = inner.suspended.remove(0).ok();
        }
        let suspended = Suspended {
            cid: line.cid,
            facts: line.facts,
            link: line.link,
            logged_out,
            until_ms: self.retain_until(),
        };
        Kept {
            done: inner.suspended.push_within_capacity(suspended).is_ok(),
            oldest,
        }
    }

    /// What is to be done when a connection has been taken among them. False when
    /// it has not: its tasks are to be ended.
    fn kept(&self, link: &Arc<dyn Link>, kept: Kept) -> bool {
        if let Some(oldest) = kept.oldest {
            oldest.link.give_up();
        }
        if kept.done {
            // RFC 7143 7.14, 11.14: immediate commands and those that were not
            // acknowledged are not kept.
            self.lose_some(link, &|head, delivered| head.immediate || !delivered);
        }
        kept.done
    }

    /// Keeps the tasks of a connection that is gone, for `logged_out` if it was
    /// logged out. False when they are to be ended.
    pub(crate) fn suspend(&self, link: &Arc<dyn Link>, logged_out: bool) -> bool {
        let kept = {
            let mut guard = self.inner.lock();
            let inner = &mut *guard;
            inner.forget_requests_of(link);
            self.deferring.put(inner.deferred.len() as i32);
            self.fencing.put(inner.fences.len() as i32);
            if inner.suspended.iter().any(|s| is_same(&s.link, link)) {
                return true;
            }
            if !self.recovers() {
                return false;
            }
            let Some(at) = inner.lines.iter().position(|l| is_same(&l.link, link)) else {
                return false;
            };
            let Ok(line) = inner.lines.remove(at) else {
                return false;
            };
            // Under one lock: whoever looks for it meanwhile finds it in one list.
            self.keep(inner, line, logged_out)
        };
        self.kept(link, kept)
    }

    /// Logs the connections with that identifier out for recovery: one that is
    /// there, and those that are gone. False when there is none.
    pub(crate) fn log_out_for_recovery(&self, cid: u16) -> bool {
        let mut found = false;
        let going = {
            let mut inner = self.inner.lock();
            let until_ms = self.retain_until();
            for gone in inner.suspended.iter_mut().filter(|s| s.cid == cid) {
                gone.logged_out = true;
                gone.until_ms = until_ms;
                found = true;
            }
            let line = inner.lines.iter().find(|l| l.cid == cid);
            line.map(|l| l.link.clone())
        };
        let Some(link) = going else {
            return found;
        };
        self.suspend(&link, true);
        link.close(Why::Recovery);
        true
    }

    /// The connection of that identifier, which may be gone; others before it
    /// that are gone are given up.
    pub(crate) fn last_of(&self, cid: u16) -> Option<Arc<dyn Link>> {
        let (gone, line) = {
            let inner = self.inner.lock();
            let gone = inner.suspended.iter().filter(|s| s.cid == cid);
            let line = inner.lines.iter().find(|l| l.cid == cid);
            (copies(gone.map(|s| &s.link)), line.map(|l| l.link.clone()))
        };
        let mut last: Option<Arc<dyn Link>> = None;
        for link in Iterator::chain(gone.into_iter().flatten(), line) {
            if let Some(older) = last.replace(link) {
                older.give_up();
            }
        }
        last
    }

    /// Whether the time is over for which the tasks of a connection are kept.
    pub(crate) fn is_retained(&self, link: &Arc<dyn Link>, now_ms: u64) -> bool {
        let inner = self.inner.lock();
        inner
            .suspended
            .iter()
            .any(|s| is_same(&s.link, link) && now_ms <= s.until_ms)
    }

    /// Who has the task `tag`, for its reassignment. The task may have been
    /// answered, without an acknowledgement: then each connection that is
    /// suspended has to be asked, one `after` the other.
    pub(crate) fn find_for_reassignment(&self, tag: u32, after: u64) -> Reassign {
        let inner = self.inner.lock();
        let at = inner.find(tag);
        let listed = at.and_then(|at| inner.slots.get(at)?.task.as_ref());
        if let Some(task) = listed {
            let line = task.line();
            if after >= line && after != 0 {
                return Reassign::Unknown;
            }
            return match inner.suspended.iter().find(|s| s.link.id() == line) {
                Some(gone) if gone.logged_out && !task.is_aborted() => {
                    Reassign::From(gone.link.clone())
                }
                None if task.is_aborted() => Reassign::Unknown,
                Some(_) if task.is_aborted() => Reassign::Unknown,
                _ => Reassign::StillAllegiant,
            };
        }
        let next = inner
            .suspended
            .iter()
            .filter(|s| s.logged_out && s.link.id() > after)
            .min_by_key(|s| s.link.id());
        match next {
            Some(gone) => Reassign::From(gone.link.clone()),
            None => Reassign::Unknown,
        }
    }

    /// Gives a listed task of one connection to another one. False when it is
    /// not there any more.
    pub(crate) fn reassign(&self, tag: u32, from: u64, to: u64) -> bool {
        let inner = self.inner.lock();
        let at = inner.find(tag);
        let listed = at.and_then(|at| inner.slots.get(at)?.task.as_ref());
        let found = listed.filter(|t| t.line() == from && !t.is_aborted());
        if let Some(task) = found {
            task.reassign(to);
        }
        found.is_some()
    }

    /// The connection with that [`Link::id`], whether or not it is suspended.
    pub(crate) fn link_by_id(&self, id: u64) -> Option<Arc<dyn Link>> {
        let inner = self.inner.lock();
        let line = inner.lines.iter().map(|l| &l.link);
        let gone = inner.suspended.iter().map(|s| &s.link);
        Iterator::chain(line, gone).find(|l| l.id() == id).cloned()
    }

    /// Marks the tasks of a connection as lost with it. Commands of it that
    /// have not been delivered count as never received (RFC 7143 11.14); for
    /// the others their units have a unit attention (11.14.5).
    pub(crate) fn lose(&self, link: &Arc<dyn Link>) {
        self.lose_some(link, &|_, _| true);
    }

    /// The same for those that `which` chooses, which is told whether they have
    /// been delivered.
    fn lose_some(&self, link: &Arc<dyn Link>, which: &dyn Fn(&Head, bool) -> bool) {
        let mut lost = KVec::new();
        {
            let mut guard = self.inner.lock();
            let inner = &mut *guard;
            let next = inner.window.exp_cmd_sn();
            for task in inner.slots.iter().filter_map(|s| s.task.as_ref()) {
                let delivered = task.immediate || task.cmd_sn.lt(next);
                if task.line() != link.id() || !which(task, delivered) {
                    continue;
                }
                let lost = task.lose(delivered);
                if !delivered {
                    if lost {
                        // It may come again at once, by another connection.
                        inner.window.forget(task.cmd_sn);
                    }
                } else if let Some(nexus) = task.nexus.as_ref() {
                    if lost {
                        nexus.post(Ua::CommandsClearedByProtocol);
                    }
                    // Also one that was aborted before: the disk may have it still.
                    if task.count_lost() {
                        nexus.one_lost();
                    }
                }
            }
            let mut at = 0;
            while let Some(task) = inner.held.get(at) {
                let head: &Head = task.shared();
                if head.line() != link.id() {
                    at = usize::saturating_add(at, 1);
                } else if lost.reserve(1, GFP_ATOMIC).is_err() {
                    // Those that find no room here end with the next PDU.
                    break;
                } else if let Ok(task) = inner.held.remove(at) {
                    self.waiting.add(-1, Relaxed);
                    let _ = lost.push_within_capacity(task);
                }
            }
        }
        for mut task in lost {
            self.retire(&mut task);
        }
        self.end_held();
    }

    /// A connection is gone. The session ends with the last one.
    pub(crate) fn leave(self: &Arc<Self>, link: &Arc<dyn Link>) {
        self.lose(link);
        let last = {
            let mut inner = self.inner.lock();
            inner.forget_requests_of(link);
            self.deferring.put(inner.deferred.len() as i32);
            self.fencing.put(inner.fences.len() as i32);
            inner.lines.retain(|l| !is_same(&l.link, link));
            inner.suspended.retain(|s| !is_same(&s.link, link));
            // It may have been in neither list: another one has taken its place, or it was to be
            // kept when the session was doomed. Nobody may join from now on.
            let left = inner.lines.len().wrapping_add(inner.suspended.len());
            left == 0 && self.ended.xchg(1, Full) == 0
        };
        if last {
            self.clean_up();
        } else {
            self.check_fences();
        }
    }

    /// Its connections, now.
    fn links(&self) -> Links {
        copies(self.inner.lock().lines.iter().map(|l| &l.link))
    }

    /// Its connections that are gone, and whose tasks are kept.
    fn suspended_links(&self) -> Links {
        copies(self.inner.lock().suspended.iter().map(|s| &s.link))
    }

    /// Closes all connections but one; the session is to end.
    pub(crate) fn close_others(&self, link: &Arc<dyn Link>, why: Why) {
        self.doom();
        for other in self.links().into_iter().flatten() {
            if !is_same(&other, link) {
                other.clone().announce(why);
                other.close(why);
            }
        }
        for gone in self.suspended_links().into_iter().flatten() {
            gone.give_up();
        }
    }

    /// Frees what the session has reserved on its units, if it goes with this
    /// connection or `whole` as it is: who is told that it has logged out may
    /// count on it (SPC-2 5.5.1).
    pub(crate) fn free_reserved(&self, link: &Arc<dyn Link>, whole: bool) {
        let inner = self.inner.lock();
        let others = inner.lines.iter().any(|l| !is_same(&l.link, link));
        if whole || (!others && inner.suspended.is_empty()) {
            for nexus in inner.nexuses.iter() {
                nexus.device().release(self.id);
            }
        }
    }

    /// Whether a task is under way that came by this connection.
    pub(crate) fn has_tasks_of(&self, link: &Arc<dyn Link>) -> bool {
        let inner = self.inner.lock();
        inner
            .slots
            .iter()
            .filter_map(|s| s.task.as_ref())
            .any(|t| is_same(&t.link, link) || t.line() == link.id())
    }

    // ---- order over connections --------------------------------------------

    /// Keeps a request until all commands before it have come; false when they
    /// have, or when too many wait: then it goes on at once.
    pub(crate) fn defer(
        &self,
        header: &[u8; BHS_LEN],
        cmd_sn: Sn,
        release: bool,
        link: Arc<dyn Link>,
    ) -> bool {
        let deferred = Deferred {
            request: Due {
                header: *header,
                release,
                in_vain: false,
            },
            cmd_sn,
            link,
            deadline_ms: misc::now_ms().saturating_add(PATIENCE_MS),
        };
        let mut inner = self.inner.lock();
        if !inner.window.exp_cmd_sn().lt(cmd_sn)
            || inner.deferred.len() >= WAITING
            || inner.deferred.push(deferred, GFP_ATOMIC).is_err()
        {
            return false;
        }
        self.deferring.add(1, Relaxed);
        true
    }

    /// Tells the connections whose requests need not wait any longer. To be
    /// called when ExpCmdSN may have moved.
    pub(crate) fn wake_deferred(&self) {
        if self.deferring.now() == 0 {
            return;
        }
        let links = {
            let now = misc::now_ms();
            let inner = self.inner.lock();
            let next = inner.window.exp_cmd_sn();
            let is_due = |line: &&Line| {
                let mut of_it = inner
                    .deferred
                    .iter()
                    .filter(|d| is_same(&d.link, &line.link));
                of_it.any(|d| d.is_due(next, now))
            };
            copies(inner.lines.iter().filter(is_due).map(|l| &l.link))
        };
        for link in links.into_iter().flatten() {
            link.request_due();
        }
    }

    /// Takes a request of this connection that need not wait any longer.
    pub(crate) fn take_deferred(&self, link: &Arc<dyn Link>) -> Option<Due> {
        let now = misc::now_ms();
        let mut inner = self.inner.lock();
        let next = inner.window.exp_cmd_sn();
        let at = inner
            .deferred
            .iter()
            .position(|d| is_same(&d.link, link) && d.is_due(next, now))?;
        let mut deferred = inner.deferred.remove(at).ok()?;
        self.deferring.add(-1, Relaxed);
        deferred.request.in_vain = next.lt(deferred.cmd_sn);
        Some(deferred.request)
    }

    /// Keeps a response back until what was sent before it on other connections
    /// has been acknowledged (RFC 7143 4.2.2.3.3). False when it need not wait.
    pub(crate) fn put_fence(&self, link: &Arc<dyn Link>, waiter: &Arc<Waiter>) -> bool {
        let mut asked = Links::default();
        {
            let mut inner = self.inner.lock();
            let mut fence = Fence::new();
            let mut places = asked.iter_mut();
            for line in inner.lines.iter().filter(|l| !is_same(&l.link, link)) {
                let (next, acknowledged) = (line.link.stat_sn(), line.link.acknowledged());
                let noted = fence.note(line.cid, next, acknowledged);
                if let (true, Some(place)) = (noted && acknowledged.lt(next), places.next()) {
                    *place = Some(line.link.clone());
                }
            }
            if fence.is_clear() || inner.fences.len() >= WAITING {
                return false;
            }
            let fenced = Fenced {
                fence,
                waiter: waiter.clone(),
                link: link.clone(),
                deadline_ms: misc::now_ms().saturating_add(PATIENCE_MS),
            };
            if inner.fences.push(fenced, GFP_ATOMIC).is_err() {
                return false;
            }
            self.fencing.add(1, Relaxed);
        }
        for link in asked.into_iter().flatten() {
            link.solicit();
        }
        // It may have come in between.
        self.check_fences();
        true
    }

    /// Whether anything waits for an acknowledgement.
    pub(crate) fn has_fences(&self) -> bool {
        self.fencing.now() != 0
    }

    /// Sends the responses that need not wait any longer.
    pub(crate) fn check_fences(&self) {
        while self.has_fences() {
            let now = misc::now_ms();
            let passed = {
                let mut guard = self.inner.lock();
                let inner = &mut *guard;
                for fenced in inner.fences.iter_mut() {
                    let lines = &inner.lines;
                    for line in lines.iter() {
                        let fence = &mut fenced.fence;
                        fence.acknowledge(line.cid, line.link.acknowledged());
                    }
                    fenced.fence.keep(|cid| lines.iter().any(|l| l.cid == cid));
                }
                let at = inner
                    .fences
                    .iter()
                    .position(|f| f.fence.is_clear() || now > f.deadline_ms);
                let passed = at.and_then(|at| inner.fences.remove(at).ok());
                // With the lock held, as a connection that leaves counts anew.
                self.fencing.put(inner.fences.len() as i32);
                passed
            };
            let Some(passed) = passed else {
                return;
            };
            passed.link.fence_passed(passed.waiter);
        }
    }

    /// ExpCmdSN and MaxCmdSN, for the next PDU to the initiator.
    pub(crate) fn command_numbers(&self) -> (Sn, Sn) {
        (Sn(self.exp_cmd_sn.now()), Sn(self.max_cmd_sn.now()))
    }

    fn publish(&self, inner: &Inner) {
        self.exp_cmd_sn.put(inner.window.exp_cmd_sn().0);
        self.max_cmd_sn.put(inner.window.max_cmd_sn().0);
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

    /// Charges pages to the session; false when it, its address, or all have too
    /// many.
    pub(crate) fn charge(&self, pages: usize) -> bool {
        let n = i32::try_from(pages).unwrap_or(i32::MAX);
        // Several connections may do so at once.
        let before = self.pages.fetch_add(n, Relaxed);
        let taken = before.saturating_add(n) <= limits::session_pages()
            && self.identity.share.take_pages(pages);
        if !taken {
            self.pages.add(n.wrapping_neg(), Relaxed);
        }
        taken
    }

    /// Charges pages that may outlive the session, and do not count for it.
    pub(crate) fn charge_beside(&self, pages: usize) -> Option<Charge> {
        self.identity.share.charge(pages)
    }

    /// Gives pages back.
    pub(crate) fn uncharge(&self, pages: usize) {
        if pages != 0 {
            let n = i32::try_from(pages).unwrap_or(i32::MAX);
            self.pages.add(n.wrapping_neg(), Relaxed);
            self.identity.share.give_pages(pages);
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

    /// All units, by number, with no lock held in between: one that comes or
    /// goes meanwhile may be left out.
    pub(crate) fn nexuses(&self) -> impl Iterator<Item = Arc<Nexus>> + '_ {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let nexus = self.nexus_from(next?)?;
            next = nexus.number().checked_add(1);
            Some(nexus)
        })
    }

    /// The first unit whose number is `number` or more.
    fn nexus_from(&self, number: u16) -> Option<Arc<Nexus>> {
        let inner = self.inner.lock();
        let at = inner.nexuses.partition_point(|n| n.number() < number);
        inner.nexuses.get(at).cloned()
    }

    /// How many LUNs it has.
    pub(crate) fn lun_count(&self) -> usize {
        self.inner.lock().nexuses.len()
    }

    /// Calls `each` with the number of every LUN, in ascending order, until it
    /// returns false. If it does not, the initiator is told of all of them: no unit
    /// need tell it any more that they have changed, unless UA_INTLCK_CTRL says that
    /// what is pending stays (SAM-5, "Unit attention conditions"). `each` must not
    /// sleep.
    pub(crate) fn tell_luns(&self, each: &mut dyn FnMut(u16) -> bool) -> bool {
        let inner = self.inner.lock();
        let told = inner.nexuses.iter().all(|nexus| each(nexus.number()));
        if told {
            let nexuses = inner.nexuses.iter();
            nexuses
                .filter(|nexus| nexus.has_attention())
                .filter(|nexus| nexus.device().ua_interlock() == UaInterlock::Clear)
                .for_each(|nexus| nexus.clear_attention(Ua::ReportedLunsChanged));
        }
        told
    }

    /// Takes a SCSI command in, by its CmdSN, and lists it.
    pub(crate) fn admit(&self, task: &Task) -> Admission {
        let head: &Head = task.shared();
        let mut inner = self.inner.lock();
        if self.is_doomed() {
            // Whoever comes after it has seen what it had under way.
            return Admission::Ignore;
        }
        if inner.find(head.itt).is_some() {
            // RFC 7143 7.2.1: if it is the same command again it is ignored.
            let again = !head.immediate && inner.window.ignores(head.cmd_sn);
            return match again {
                true => Admission::Ignore,
                false => Admission::InProgress,
            };
        }
        // They have places of their own, and no others: those of the window were promised.
        if head.immediate && inner.immediate >= IMMEDIATE_SLOTS {
            return Admission::Full;
        }
        let Some(slot) = inner.free_slot(head.itt) else {
            return Admission::Full;
        };
        let admission = match inner.window.admit(head.cmd_sn, head.immediate) {
            Admit::Ignore => return Admission::Ignore,
            Admit::Now => {
                // What was held for this one may go on, too.
                while inner.window.advance() {}
                Admission::Now
            }
            Admit::Hold => {
                head.set_held(true);
                Admission::Hold
            }
        };
        head.set_slot(slot as u32);
        if let Some(entry) = inner.slots.get_mut(slot) {
            entry.itt = head.itt;
            entry.task = Some(task.share());
        }
        inner.count_in(head.itt, slot);
        inner.immediate = inner.immediate.saturating_add(u32::from(head.immediate));
        self.publish(&inner);
        drop(inner);
        self.meter.begin();
        if let Some(nexus) = head.nexus.as_ref() {
            nexus.lun().meter().begin();
        }
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

    /// So many of them will have none, as their connection is gone.
    pub(crate) fn forget_requests(&self, count: u32) {
        let told = {
            let mut inner = self.inner.lock();
            let closed = inner.window.is_closed();
            let opened = inner.window.release(count) && closed;
            self.publish(&inner);
            inner.teller().filter(|_| opened)
        };
        if let Some(link) = told {
            link.window_moved();
        }
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
        if self.waiting.now() == 0 {
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
        task::give_place(task);
        let end = task::end_of(task);
        if trace::command_on() {
            let head: &Head = task.shared();
            let lun = head.nexus.as_ref().map_or(u16::MAX, |n| n.number());
            trace::command(&end.traced(self.id, lun, task::lba_of(task)));
        }
        let head: &Head = task.shared();
        self.meter.end(&end);
        if let Some(nexus) = head.nexus.as_ref() {
            nexus.lun().meter().end(&end);
        }
        let slot = head.slot() as usize;
        let mut waiters = None;
        let mut seen = None;
        let mut moved = None;
        {
            let mut inner = self.inner.lock();
            if let Some(entry) = inner.slots.get_mut(slot) {
                seen = entry.task.take();
                waiters = entry.waiters.take();
            }
            if seen.is_some() {
                inner.count_out(head.itt, slot);
                inner.immediate = inner.immediate.saturating_sub(u32::from(head.immediate));
                // What was never received has left the window (RFC 7143 11.14).
                if !head.immediate && !head.never_came() {
                    if head.cmd_sn.lt(inner.window.exp_cmd_sn()) {
                        let closed = inner.window.is_closed();
                        if inner.window.release(1) && closed && head.is_silent() {
                            // Its own connection may be gone.
                            moved = inner.teller();
                        }
                    } else {
                        // Held, and never delivered.
                        inner.window.plug(head.cmd_sn);
                        while inner.window.advance() {}
                    }
                }
                self.publish(&inner);
            }
        }
        let listed = seen.is_some();
        drop(seen);
        if let (Some(link), false) = (moved, self.has_ended()) {
            link.window_moved();
        }
        Self::tell_ended(head, &waiters);
        if let Some(nexus) = head.nexus.as_ref() {
            if listed && head.is_counted() {
                nexus.lost_one_ended();
            }
            if nexus.is_gone() {
                self.forget_idle(nexus);
            }
        }
        self.uncharge(charged);
    }

    /// A task has ended, but for its response: those who wait for its end are
    /// told, so that they need not wait for the initiator to read what it is
    /// sent. For the owner of the task.
    pub(crate) fn settle(&self, head: &Head) {
        let mut waiters = None;
        {
            let mut inner = self.inner.lock();
            let slot = inner.slots.get_mut(head.slot() as usize);
            if let Some(entry) = slot.filter(|s| s.task.is_some()) {
                waiters = entry.waiters.take();
            }
        }
        Self::tell_ended(head, &waiters);
    }

    fn tell_ended(head: &Head, waiters: &Waiters) {
        for waiter in waiters.iter().flat_map(|all| all.iter()) {
            Waiter::one_ended(waiter);
        }
        if head.is_in_order() {
            if let Some(nexus) = head.nexus.as_ref() {
                nexus.device().leave_task_set(head);
            }
        }
    }

    /// Gives an age to each SIMPLE task of a nexus that has none of `base` or
    /// more; returns how many there were.
    pub(crate) fn age_tasks(&self, nexus: &Arc<Nexus>, age: u64, base: u64) -> u32 {
        let mut count = 0u32;
        {
            let inner = self.inner.lock();
            let listed = inner.slots.iter().filter_map(|slot| slot.task.as_ref());
            for task in listed.take(inner.used) {
                if came_by(task, nexus)
                    && task.kind.is_none()
                    && !task.is_held()
                    && task.age() < base
                {
                    task.set_age(age);
                    count = count.saturating_add(1);
                }
            }
        }
        // What has ended already, and waits to be sent, is not to be waited
        // for.
        if count != 0 {
            for link in self.links().into_iter().flatten() {
                link.sweep();
            }
        }
        count
    }

    /// Whether a nexus has another task than `head`.
    pub(crate) fn has_others(&self, nexus: &Arc<Nexus>, head: &Head) -> bool {
        let inner = self.inner.lock();
        let mut all = inner.slots.iter().filter_map(|s| s.task.as_ref());
        all.any(|t| t.itt != head.itt && came_by(t, nexus))
    }

    /// Marks tasks as aborted and lets `waiter` wait for their end. With `tell`
    /// they end TASK ABORTED, else without a response.
    pub(crate) fn abort_tasks(
        &self,
        waiter: Option<&Arc<Waiter>>,
        tell: bool,
        matching: &dyn Fn(&Head) -> bool,
    ) -> Aborted {
        let (count, last) = self.mark_aborted(waiter, tell, matching);
        if let Some(nexus) = last {
            // What waits in line ends at once.
            task::end_hopeless(nexus.device());
            self.end_held();
        }
        count
    }

    /// The same for the tasks of one nexus, but that those of the device that wait in line
    /// are still to be ended ([`task::end_hopeless`]), once for all of its nexuses.
    pub(crate) fn abort_tasks_of(
        &self,
        nexus: &Arc<Nexus>,
        waiter: Option<&Arc<Waiter>>,
        tell: bool,
        matching: &dyn Fn(&Head) -> bool,
    ) -> Aborted {
        let (count, _) =
            self.mark_aborted(waiter, tell, &|head| matching(head) && came_by(head, nexus));
        if count.found != 0 {
            self.end_held_for(nexus);
        }
        count
    }

    /// How many there were, and the unit that one of them is for.
    fn mark_aborted(
        &self,
        waiter: Option<&Arc<Waiter>>,
        tell: bool,
        matching: &dyn Fn(&Head) -> bool,
    ) -> (Aborted, Option<Arc<Nexus>>) {
        let mut count = Aborted::default();
        let mut last = None;
        {
            let mut inner = self.inner.lock();
            let mut left = inner.used;
            for entry in inner.slots.iter_mut() {
                if left == 0 {
                    break;
                }
                let Some(task) = entry.task.as_ref() else {
                    continue;
                };
                left = left.saturating_sub(1);
                if !matching(task) {
                    continue;
                }
                if let Some(waiter) = waiter {
                    // Without memory to wait, the function is reported as
                    // rejected: it may not claim what it has not seen.
                    if !add_waiter(&mut entry.waiters, waiter) {
                        waiter.fail();
                        continue;
                    }
                    waiter.one_more();
                }
                count.found = count.found.saturating_add(1);
                if !task.is_aborted() {
                    count.lost = count.lost.saturating_add(1);
                }
                if tell {
                    task.abort_told();
                } else {
                    task.abort();
                }
                last = task.nexus.clone();
            }
        }
        if count.found != 0 {
            for link in self.links().into_iter().flatten() {
                link.sweep();
            }
            for link in self.suspended_links().into_iter().flatten() {
                link.sweep();
            }
        }
        (count, last)
    }

    /// Lets `waiter` wait for the end of tasks.
    pub(crate) fn wait_for(&self, waiter: &Arc<Waiter>, matching: &dyn Fn(&Head) -> bool) {
        let mut inner = self.inner.lock();
        for entry in inner.slots.iter_mut() {
            if !entry.task.as_ref().is_some_and(|task| matching(task)) {
                continue;
            }
            if !add_waiter(&mut entry.waiters, waiter) {
                waiter.fail();
            } else {
                waiter.one_more();
            }
        }
    }

    /// Whether a task with this tag is under way.
    pub(crate) fn has_task(&self, itt: u32) -> bool {
        self.inner.lock().find(itt).is_some()
    }

    /// The same, also one that was lost with its connection.
    pub(crate) fn knows_tag(&self, itt: u32) -> bool {
        let inner = self.inner.lock();
        let mut slots = inner.slots.iter();
        slots.any(|s| s.itt == itt && s.task.is_some())
    }

    /// Whether a task with this tag is under way for the LUN.
    pub(crate) fn has_task_for(&self, itt: u32, lun: u64) -> bool {
        let inner = self.inner.lock();
        let slot = inner.find(itt).and_then(|at| inner.slots.get(at));
        slot.and_then(|s| s.task.as_ref())
            .is_some_and(|t| t.lun == lun)
    }

    /// Whether the session has any task for the LUN.
    pub(crate) fn has_tasks_for(&self, lun: u64) -> bool {
        let inner = self.inner.lock();
        inner
            .slots
            .iter()
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
        self.inner.lock().used == 0
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
            let kept = self.nexus(want.number).filter(|n| {
                Arc::ptr_eq(n.device(), &want.device) && Arc::ptr_eq(n.lun(), &want.lun)
            });
            let nexus = match kept {
                Some(nexus) => {
                    nexus.set_read_only(want.read_only);
                    nexus
                }
                None => {
                    let nexus = Nexus::new(
                        want.number,
                        want.device.clone(),
                        want.lun.clone(),
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
                    self.end_nexus(added);
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
                self.end_nexus(nexus);
                self.end_held_for(nexus);
            }
        }
        if changed && !was_empty {
            let inner = self.inner.lock();
            for nexus in inner.nexuses.iter() {
                nexus.post(Ua::ReportedLunsChanged);
            }
        }
        if changed {
            self.scsi_event(0, Sense::REPORTED_LUNS_DATA_HAS_CHANGED);
        }
        Ok(())
    }

    /// Ends the session's way to a unit, which forgets it when its last command has ended.
    fn end_nexus(&self, nexus: &Arc<Nexus>) {
        nexus.device().end_nexus(nexus);
        self.forget_idle(nexus);
    }

    /// Lets its unit forget a nexus that has ended, unless a command came by it that has
    /// not, or a part of a copy is under way. What begins after this finds that the nexus
    /// has ended.
    pub(crate) fn forget_idle(&self, nexus: &Arc<Nexus>) {
        if !self.is_busy_by(nexus) {
            nexus.device().forget_nexus(nexus);
        }
    }

    /// Whether a command that came by a nexus is under way, or a part of a copy.
    pub(crate) fn is_busy_by(&self, nexus: &Arc<Nexus>) -> bool {
        nexus.copies().is_busy() || {
            let inner = self.inner.lock();
            let mut all = inner.slots.iter().filter_map(|s| s.task.as_ref());
            all.any(|t| came_by(t, nexus))
        }
    }

    // ---- the end ---------------------------------------------------------

    /// Ends the session: its connections close, its tasks end without a
    /// response. Returns at once.
    pub(crate) fn end(&self, why: Why) {
        self.doom();
        for link in self.links().into_iter().flatten() {
            link.clone().announce(why);
            link.close(why);
        }
        for gone in self.suspended_links().into_iter().flatten() {
            gone.give_up();
        }
    }

    /// Asks the initiator to log out (RFC 7143 11.9.1, AsyncEvent 1); the
    /// session ends if it has not done so after `seconds`.
    pub(crate) fn ask_to_log_out(&self, seconds: u16) {
        let by = misc::now_ms().saturating_add(u64::from(seconds).saturating_mul(1000));
        self.logout_by_ms.put(by.max(1));
        for link in self.links().into_iter().flatten() {
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
        // One of its connections will do.
        if let Some(link) = self.links().into_iter().flatten().next() {
            link.scsi_event(lun::encode(number), sense);
        }
    }

    /// Lets the session end after so many milliseconds, if it has not before.
    pub(crate) fn end_within(&self, ms: u64) {
        let by = misc::now_ms().saturating_add(ms);
        self.logout_by_ms.put(by.max(1));
    }

    /// Whether the initiator was asked to log out, and its time is over.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        let by = self.logout_by_ms.now();
        by != 0 && now_ms > by
    }

    /// Whether the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.now() != 0
    }

    /// Ends a session that has no connection yet. Process context.
    pub(crate) fn teardown(self: &Arc<Self>) {
        let first = {
            let _inner = self.inner.lock();
            self.ended.xchg(1, Full) == 0
        };
        if first {
            self.clean_up();
        }
    }

    /// The session has ended: forgets its LUNs, aborts its tasks and leaves the
    /// portal group. Once, and in process context.
    fn clean_up(self: &Arc<Self>) {
        let (lines, suspended, nexuses, held, deferred, fences) = {
            let mut inner = self.inner.lock();
            for entry in inner.slots.iter() {
                if let Some(task) = entry.task.as_ref() {
                    task.abort();
                }
            }
            (
                core::mem::replace(&mut inner.lines, KVec::new()),
                core::mem::replace(&mut inner.suspended, KVec::new()),
                core::mem::replace(&mut inner.nexuses, KVec::new()),
                core::mem::replace(&mut inner.held, KVec::new()),
                core::mem::replace(&mut inner.deferred, KVec::new()),
                core::mem::replace(&mut inner.fences, KVec::new()),
            )
        };
        self.waiting.put(0);
        self.deferring.put(0);
        self.fencing.put(0);
        for mut task in held {
            self.retire(&mut task);
        }
        for nexus in nexuses.iter() {
            self.end_nexus(nexus);
            self.end_held_for(nexus);
        }
        drop(nexuses);
        if let Some(tpg) = self.tpg() {
            tpg.remove_session(self);
        }
        drop((lines, suspended, deferred, fences));
    }

    /// Shows what `info` and `ferritectl` print.
    pub(crate) fn with_info(&self, show: &mut dyn FnMut(&SessionInfo<'_>) -> bool) -> bool {
        let (exp_cmd_sn, max_cmd_sn) = self.command_numbers();
        let mut conns = KVec::new();
        let mut outstanding = 0;
        let window = self.inner.lock().window.depth();
        // Without memory none are shown.
        if conns
            .reserve(2 * MAX_CONNECTIONS as usize, GFP_KERNEL)
            .is_ok()
        {
            let inner = self.inner.lock();
            let slots = inner.slots.iter();
            outstanding = slots.filter(|s| s.task.is_some()).count();
            for gone in inner.suspended.iter() {
                let _ = conns.push_within_capacity(ConnInfo {
                    cid: gone.cid,
                    state: ConnState::CleanupWait,
                    facts: gone.facts,
                    stat_sn: gone.link.stat_sn().0,
                });
            }
            for line in inner.lines.iter() {
                let _ = conns.push_within_capacity(ConnInfo {
                    cid: line.cid,
                    state: if line.link.is_ending() {
                        ConnState::CleanupWait
                    } else {
                        ConnState::LoggedIn
                    },
                    facts: line.facts,
                    stat_sn: line.link.stat_sn().0,
                });
            }
        }
        let now = misc::now_ms();
        let by = self.logout_by_ms.now();
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
            window,
            exp_cmd_sn: exp_cmd_sn.0,
            max_cmd_sn: max_cmd_sn.0,
            params: &self.identity.params,
            acl: self.identity.acl.as_ref().map(|acl| acl.name()),
            age_ms: now.saturating_sub(self.since_ms),
            logout_in_ms: (by != 0).then(|| by.saturating_sub(now)),
            outstanding,
            meter: &self.meter,
            conns: &conns,
        })
    }
}

/// Whether a command has come by that nexus.
fn came_by(head: &Head, nexus: &Arc<Nexus>) -> bool {
    head.nexus.as_ref().is_some_and(|n| Arc::ptr_eq(n, nexus))
}

/// Whether both are the same connection.
pub(crate) fn is_same(a: &Arc<dyn Link>, b: &Arc<dyn Link>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

impl Deferred {
    fn is_due(&self, next: Sn, now_ms: u64) -> bool {
        !next.lt(self.cmd_sn) || now_ms > self.deadline_ms
    }
}

impl Inner {
    fn has_room_for(&self, cid: u16, most: usize) -> bool {
        self.lines.len() < most || self.lines.iter().any(|l| l.cid == cid)
    }

    /// The connection by which the initiator is told what no response tells.
    fn teller(&self) -> Option<Arc<dyn Link>> {
        let mut lines = self.lines.iter();
        let line = lines.find(|l| !l.link.is_ending());
        line.map(|l| l.link.clone())
    }

    /// Nobody waits any more for what had to be told by that connection.
    fn forget_requests_of(&mut self, link: &Arc<dyn Link>) {
        self.deferred.retain(|d| !is_same(&d.link, link));
        self.fences.retain(|f| !is_same(&f.link, link));
    }

    /// The place that a task has if it is free.
    fn home(&self, itt: u32) -> usize {
        usize::from(tag::spread(itt))
            .checked_rem(self.slots.len())
            .unwrap_or(0)
    }

    /// The task of that tag; one that was lost with its connection has it no more.
    fn find(&self, itt: u32) -> Option<usize> {
        let is_it = |s: &Slot| s.itt == itt && s.task.as_ref().is_some_and(|t| !t.is_lost());
        let home = self.home(itt);
        if self.slots.get(home).is_some_and(is_it) {
            return Some(home);
        }
        if self.strays == 0 {
            return None;
        }
        self.slots.iter().position(is_it)
    }

    fn free_slot(&self, itt: u32) -> Option<usize> {
        let is_free = |s: &Slot| s.task.is_none();
        let home = self.home(itt);
        if self.slots.get(home).is_some_and(is_free) {
            return Some(home);
        }
        self.slots.iter().position(is_free)
    }

    /// A task has come to `slot`.
    fn count_in(&mut self, itt: u32, slot: usize) {
        self.used = self.used.saturating_add(1);
        if slot != self.home(itt) {
            self.strays = self.strays.saturating_add(1);
        }
    }

    /// It has left it.
    fn count_out(&mut self, itt: u32, slot: usize) {
        self.used = self.used.saturating_sub(1);
        if slot != self.home(itt) {
            self.strays = self.strays.saturating_sub(1);
        }
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
    /// The entry that it came by.
    pub(crate) acl: Option<&'a AclName>,
    /// How long it has been there.
    pub(crate) age_ms: u64,
    /// When it ends if the initiator does not log out, if it was asked to.
    pub(crate) logout_in_ms: Option<u64>,
    /// Commands that have not ended.
    pub(crate) outstanding: usize,
    /// What is counted of its commands.
    pub(crate) meter: &'a Meter<BRIEF>,
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
    /// What is known of it.
    pub(crate) facts: ConnFacts,
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

/// Logs, at a bounded rate, why a connection of a session ends.
pub(crate) fn log_end(session: &Session, peer: &SocketAddr, what: &str) {
    if misc::may_log(misc::Topic::Peers) {
        pr_info!(
            "{}: {} (session {}, {:?})\n",
            session.initiator().as_str(),
            what,
            session.id(),
            peer
        );
    }
}
