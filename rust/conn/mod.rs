// SPDX-License-Identifier: GPL-2.0

//! A connection: its socket, and the state of both directions.
//!
//! All mutable state of the two directions belongs to whoever owns the socket:
//! `rx` while bytes become PDUs, `tx` while PDUs become bytes, and between
//! them `out`, the queue of what is to be sent. They are separate cells because
//! a send can enter the receive path again.
//!
//! Other contexts reach a connection through what needs no ownership: finished
//! tasks through `done`, notes through `posted`; then they kick `bh`.

mod control;
pub(crate) mod kept;
mod login;
mod out;
mod rx;
mod text;
mod tx;

use crate::sys::atomic::InPlace;
use crate::{
    exec,
    parcel::{
        Coming,
        Entry,
        Found,
        Parcel, //
    },
    proto::serial::Sn,
    proto::{
        login::SessionType,
        scsi::Sense,
        wire::{
            AsyncEvent,
            AsyncMessage,
            LogoutResponse,
            LogoutResponseCode,
            NopIn,
            TaskMgmtResponse,
            TmResponse,
            RESERVED_TAG, //
        }, //
    },
    session::{
        log_end,
        Reassign,
        Session,
        Why, //
    },
    stats::{
        self,
        Stat, //
    },
    sys::{
        llist::Mailbox,
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        misc,
        pages::{
            Gfp,
            PageBuf, //
        },
        socket::{
            Handler,
            NetId,
            Owner,
            Sock,
            SockCell, //
        },
        submit,
        work, //
    },
    target::{
        AclAttrib,
        Targets,
        TpgAttrib,
        DEFAULT_DATAOUT_PATIENCE, //
    },
    task::{
        Body,
        Head,
        Link,
        Reassignment,
        Task, //
    },
    tmf::{
        self,
        Waiter, //
    }, //
};
use control::Control;
use core::net::SocketAddr;
use kernel::{
    impl_has_work,
    new_mutex,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex,
        SetOnce, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};
use out::{
    Answer,
    Note,
    Out, //
};
use rx::Rx;
use tx::Tx;

/// Seconds a login may take when its portal group is not known yet.
const LOGIN_TIMEOUT_S: u64 = 15;

/// Notes from other contexts that may wait.
const POSTED: usize = WAITERS + NEWS + MOVING_AT_ONCE as usize;

/// Of these, such as are no answers.
const NEWS: usize = 16;

/// Task management functions that may wait for tasks at once.
const WAITERS: usize = 128;

/// Milliseconds after the end of a connection's last task before its memory is given back: an
/// interrupt handler that still holds a pointer is long done then.
const GRACE_MS: u64 = 1000;

/// Milliseconds without a PDU or task after which a connection is idle.
const TIDY_MS: u64 = 2000;

/// A connection is gone, and its tasks are kept for another one; or they are not
/// any longer.
const SUSPENDED: i32 = 1;
const GIVEN_UP: i32 = 2;

/// Tasks of a connection that may be on their way to another one.
const MOVING: usize = 600;

/// Tasks that may be on their way to a connection before it reads on: each brings an answer that
/// is posted.
const MOVING_AT_ONCE: i32 = 8;

/// A command is on its way to the submit thread, whose batch ends soon.
const ACK_MAY_WAIT: i32 = 1;

static NEXT_ID: Atomic<u64> = Atomic::new(1);

const BH: u64 = 0;
const WORKER: u64 = 1;
const CONTROL: u64 = 2;
const CLOSE: u64 = 3;
const RESET: u64 = 4;

/// Milliseconds that the initiator of a TARGET COLD RESET has to take its
/// answer.
const RESET_MS: u64 = 2000;

/// A connection.
#[pin_data]
pub(crate) struct Conn {
    targets: Arc<Targets>,
    /// The number of the listening socket that it came by.
    door: u64,
    /// The network namespace of that.
    net: NetId,
    local: SocketAddr,
    peer: SocketAddr,
    sock: Sock<Conn>,
    rx: SockCell<Rx>,
    out: SockCell<Out>,
    tx: SockCell<Tx>,
    done: Mailbox<Head, Body>,
    session: SetOnce<Arc<Session>>,
    started_ms: u64,
    /// Something has come since the last look.
    heard: Atomic<i32>,
    /// When that was seen last.
    heard_ms: Atomic<u64>,
    /// What an idle connection does not need has been given back.
    tidied: Atomic<i32>,
    /// When a NOP-In was sent that has no answer yet; 0 when there is none.
    pinged_ms: Atomic<u64>,
    /// When the connection was closed; 0 while it is open.
    closed_ms: Atomic<u64>,
    login_timeout_ms: Atomic<u64>,
    kicked: Atomic<i32>,
    resume: Atomic<i32>,
    /// Reading has paused until less waits to be sent.
    resume_wanted: Atomic<i32>,
    /// The CmdSN of the login.
    login_cmd_sn: Atomic<u32>,
    sweep: Atomic<i32>,
    /// Tasks that wait for data are to be looked at.
    check_data: Atomic<i32>,
    starved: Atomic<i32>,
    /// 0, or [`ACK_MAY_WAIT`] and how often an acknowledgement was put off since.
    ack: Atomic<i32>,
    /// The window has opened without a response that tells it.
    window_moved: Atomic<i32>,
    closing: Atomic<i32>,
    /// The last Login Response is queued; only its owner changes it.
    full_feature: Atomic<i32>,
    stat_sn: Atomic<u32>,
    /// The last ExpStatSN of the initiator, where it matters.
    acknowledged: Atomic<u32>,
    /// Some request that waited may go on.
    deferred: Atomic<i32>,
    /// The connection identifier.
    cid: Atomic<u32>,
    /// A number that no other connection has.
    id: u64,
    /// Whether its tasks are kept although it is gone: [`SUSPENDED`].
    suspended: Atomic<i32>,
    /// Tasks that are to be reassigned from here, and those that were to here.
    #[pin]
    leaving: SpinLockBh<KVec<Reassignment>>,
    #[pin]
    coming: SpinLockBh<Coming>,
    /// There is something in `coming`.
    arrivals: Atomic<i32>,
    /// Numbered requests, commands left out, that have no answer yet: each has a place in the
    /// command window.
    unanswered: Atomic<i32>,
    /// TASK REASSIGNs that came here and have no answer yet.
    moving: Atomic<i32>,
    /// There may be something in `posted`.
    any_posted: Atomic<i32>,
    #[pin]
    posted: SpinLockBh<KVec<Note>>,
    #[pin]
    waiters: SpinLockBh<KVec<Arc<Waiter>>>,
    /// What the control work has to do.
    #[pin]
    inbox: SpinLockBh<Option<rx::Inbound>>,
    #[pin]
    control_state: Mutex<Control>,
    after: submit::Place,
    #[pin]
    bh: Work<Conn, BH>,
    #[pin]
    worker: Work<Conn, WORKER>,
    #[pin]
    control: Work<Conn, CONTROL>,
    #[pin]
    close: Work<Conn, CLOSE>,
    #[pin]
    reset: Work<Conn, RESET>,
}

impl_has_work! {
    impl HasWork<Self, BH> for Conn { self.bh }
    impl HasWork<Self, WORKER> for Conn { self.worker }
    impl HasWork<Self, CONTROL> for Conn { self.control }
    impl HasWork<Self, CLOSE> for Conn { self.close }
    impl HasWork<Self, RESET> for Conn { self.reset }
}

impl Conn {
    /// A connection that does not listen to its socket yet.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` when the peer has gone, `ENOMEM`.
    pub(crate) fn new(
        targets: &Arc<Targets>,
        door: u64,
        net: NetId,
        mut sock: Sock<Conn>,
    ) -> Result<Arc<Self>> {
        let (local, peer) = sock.names()?;
        let reader = sock.reader().ok_or(EINVAL)?;
        let rx = SockCell::new(&sock, Rx::new(reader));
        let out = SockCell::new(&sock, Out::new()?);
        let tx = SockCell::new(&sock, Tx::new()?);
        let now = misc::now_ms();
        Arc::pin_init(
            try_pin_init!(Self {
                targets: targets.clone(),
                door,
                net,
                local,
                peer,
                sock,
                rx,
                out,
                tx,
                done: Mailbox::new(),
                session: SetOnce::new(),
                started_ms: now,
                heard: Atomic::new(0),
                tidied: Atomic::new(0),
                heard_ms: Atomic::new(now),
                pinged_ms: Atomic::new(0),
                closed_ms: Atomic::new(0),
                login_timeout_ms: Atomic::new(LOGIN_TIMEOUT_S * 1000),
                kicked: Atomic::new(0),
                resume: Atomic::new(0),
                resume_wanted: Atomic::new(0),
                login_cmd_sn: Atomic::new(0),
                sweep: Atomic::new(0),
                check_data: Atomic::new(0),
                starved: Atomic::new(0),
                ack: Atomic::new(0),
                window_moved: Atomic::new(0),
                closing: Atomic::new(0),
                full_feature: Atomic::new(0),
                stat_sn: Atomic::new(1),
                acknowledged: Atomic::new(1),
                deferred: Atomic::new(0),
                cid: Atomic::new(0),
                id: NEXT_ID.fetch_add(1, Relaxed),
                suspended: Atomic::new(0),
                leaving <- new_spinlock_bh!(KVec::new(), "ferrite_leaving"),
                arrivals: Atomic::new(0),
                coming <- new_spinlock_bh!(Coming::new(), "ferrite_coming"),
                unanswered: Atomic::new(0),
                moving: Atomic::new(0),
                any_posted: Atomic::new(0),
                posted <- new_spinlock_bh!(KVec::new(), "ferrite_posted"),
                waiters <- new_spinlock_bh!(KVec::new(), "ferrite_waiters"),
                inbox <- new_spinlock_bh!(None, "ferrite_inbox"),
                control_state <- new_mutex!(Control::new()?, "ferrite_control"),
                after: submit::Place::new(),
                bh <- new_work!("ferrite_bh"),
                worker <- new_work!("ferrite_worker"),
                control <- new_work!("ferrite_control"),
                close <- new_work!("ferrite_close"),
                reset <- new_work!("ferrite_reset"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Starts to listen to the socket.
    pub(crate) fn begin(this: &Arc<Self>) {
        if !this.sock.attach(this.clone()) {
            this.clone().end(Why::Lost);
            return;
        }
        // What came before the callbacks were there has called nobody.
        let owner = this.sock.own();
        Self::receive(this.as_arc_borrow(), &owner);
        let gone = !owner.established();
        drop(owner);
        if gone {
            this.clone().end(Why::Lost);
        }
    }

    /// The initiator's address.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it is in login, or for discovery, which takes no more to get.
    pub(crate) fn is_in_login(&self) -> bool {
        self.session.as_ref().is_none_or(|s| s.is_discovery()) && !self.is_closing()
    }

    /// Whether it has not come as far as a session.
    pub(crate) fn is_stranger(&self) -> bool {
        self.session.as_ref().is_none()
    }

    fn is_closing(&self) -> bool {
        self.closing.now() != 0
    }

    /// Ends the connection. Any context; the work is done elsewhere.
    pub(crate) fn end(self: Arc<Self>, why: Why) {
        if self.closing.cmpxchg(0, 1 + why as i32, Full).is_err() {
            if !why.is_recoverable() {
                self.give_up();
            }
            return;
        }
        let discovery = self.session.as_ref().is_some_and(|s| s.is_discovery());
        let expected = match why {
            Why::Logout | Why::Refused => true,
            // Many initiators end discovery without a logout.
            Why::Lost => discovery,
            _ => false,
        };
        if !expected {
            match self.session.as_ref() {
                Some(session) => log_end(session, &self.peer, why.text()),
                None => {
                    if misc::may_log(misc::Topic::Peers) {
                        pr_info!("{:?}: {}\n", self.peer, why.text());
                    }
                }
            }
        }
        if let Some(queue) = work::control() {
            let _ = queue.enqueue::<Arc<Conn>, CLOSE>(self);
        }
    }

    /// Lets the softirq work run: there is something to send, or to read.
    fn kick(self: Arc<Self>) {
        if self.kicked.xchg(1, Full) == 0 {
            let Err(this) = submit::after(self) else {
                return;
            };
            if let Some(queue) = work::bh() {
                let _quiet = submit::quiet();
                let _ = queue.enqueue::<Arc<Conn>, BH>(this);
            }
        }
    }

    /// Queues a note from a context that does not own the socket. It is handed
    /// back when too many wait.
    fn post(self: Arc<Self>, note: Note) -> Result<(), Note> {
        self.post_up_to(note, POSTED)
    }

    /// The same for one that can be lost without harm: it takes no place of an answer. False when it is.
    fn post_news(self: Arc<Self>, note: Note) -> bool {
        self.post_up_to(note, NEWS).is_ok()
    }

    fn post_up_to(self: Arc<Self>, note: Note, most: usize) -> Result<(), Note> {
        let queued = {
            let mut posted = self.posted.lock();
            self.any_posted.put(1);
            if posted.len() >= most || posted.reserve(1, GFP_ATOMIC).is_err() {
                Err(note)
            } else {
                posted.push_within_capacity(note).map_err(|e| e.0)
            }
        };
        self.kick();
        queued
    }

    /// Moves notes of other contexts into the queue. The session knows this
    /// connection before the last Login Response is queued: until then nothing
    /// else may be sent (RFC 7143 6.3).
    fn take_posted(&self, out: &mut Out) {
        if self.full_feature.now() == 0 {
            return;
        }
        // Who posts kicks after that, so it is seen in the next round at the latest.
        while self.any_posted.now() != 0 && !out.is_high() {
            let mut posted = self.posted.lock();
            if posted.is_empty() {
                self.any_posted.put(0);
                break;
            }
            let Ok(note) = posted.remove(0) else {
                break;
            };
            drop(posted);
            if out.note(note).is_err() {
                break;
            }
        }
    }

    /// Reads what has arrived, as far as it can be worked on.
    fn receive(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
        if this.is_closing() {
            return;
        }
        let Some(mut rx) = this.rx.open(owner) else {
            return;
        };
        rx.read(this, owner);
    }

    /// Sends what there is to send, as far as there is room.
    fn transmit(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
        let Some(mut tx) = this.tx.open(owner) else {
            // Further up the stack; it looks again before it leaves.
            return;
        };
        tx.flush(this, owner);
    }

    /// The work of an owner that is no callback: whatever has been asked for.
    fn serve(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
        if this.is_closing() {
            if this.suspended.now() == SUSPENDED {
                Self::serve_suspended(this, owner);
            } else {
                Self::discard_done(this);
            }
            return;
        }
        if this.arrivals.now() != 0 {
            Self::take_in(this, owner);
        }
        if !this.done.is_empty() {
            // Also when nothing can be sent: others may wait for their end.
            if let Some(mut out) = this.out.open(owner) {
                for task in this.done.take() {
                    out.task(task);
                }
            }
        }
        if this.sweep.xchg(0, Full) != 0 {
            if let Some(mut rx) = this.rx.open(owner) {
                rx.sweep();
            }
            if let Some(mut out) = this.out.open(owner) {
                out.sweep();
            }
            if let Some(mut tx) = this.tx.open(owner) {
                tx.sweep();
            }
            if let Some(session) = this.session.as_ref() {
                exec::run_held(session);
            }
        }
        if this.deferred.xchg(0, Full) != 0 {
            if let Some(mut rx) = this.rx.open(owner) {
                rx.go_on_with_deferred(this, owner);
            }
        }
        if this.check_data.xchg(0, Full) != 0 {
            let (once_s, times) = this
                .session
                .as_ref()
                .and_then(|s| s.acl())
                .map_or(DEFAULT_DATAOUT_PATIENCE, |acl| acl.dataout_patience());
            if let Some(mut rx) = this.rx.open(owner) {
                rx.look_for_late(this, owner, u64::from(once_s).saturating_mul(1000), times);
            }
        }
        Self::transmit(this, owner);
        if this.resume.xchg(0, Full) != 0 {
            Self::receive(this, owner);
            Self::transmit(this, owner);
        }
        if this.ack.now() != 0 {
            let held = this.ack.xchg(0, Full).saturating_sub(ACK_MAY_WAIT);
            owner.pass_ack(held > 1);
        }
    }

    /// Ends finished tasks whose responses nobody waits for any more, and what
    /// else has come too late.
    fn discard_done(this: ArcBorrow<'_, Self>) {
        if this.is_kept() {
            return;
        }
        this.drop_coming();
        loop {
            let request = this.leaving.lock().pop();
            let Some(request) = request else {
                break;
            };
            let _ = request.to.reassigned(request.itt, Found::Nothing);
        }
        for mut task in this.done.take() {
            let session = task.shared().session.clone();
            let line = task.shared().line();
            if line != this.id {
                if let Some(link) = session.link_by_id(line) {
                    link.take_over(Parcel::Finished(task));
                    continue;
                }
            }
            session.retire(&mut task);
        }
    }

    // ---- recovery of connections -------------------------------------------

    /// Whether it is being closed for a reason for which its tasks are kept.
    fn is_recoverable(&self) -> bool {
        let why = self.closing.now();
        let recoverable = Why::RECOVERABLE.iter().any(|w| why == 1 + *w as i32);
        recoverable && self.session.as_ref().is_some_and(|s| s.recovers())
    }

    /// Whether its tasks are kept, or about to be. It may become suspended at any
    /// moment, so this is one look.
    fn is_kept(&self) -> bool {
        self.suspended.now() != GIVEN_UP && self.is_recoverable()
    }

    /// Keeps the tasks of a connection that is gone. False when they are to be
    /// ended.
    fn suspend(this: &Arc<Self>) -> bool {
        let Some(session) = this.session.as_ref() else {
            return false;
        };
        let link: Arc<dyn Link> = this.clone();
        let logged_out = this.closing.now() == 1 + Why::Recovery as i32;
        if !this.is_kept() || !session.suspend(&link, logged_out) {
            this.suspended.put(GIVEN_UP);
            return false;
        }
        {
            let owner = this.sock.own();
            if let Some(mut rx) = this.rx.open(&owner) {
                rx.suspend();
            }
            if let Some(mut tx) = this.tx.open(&owner) {
                tx.suspend();
                if let Some(mut out) = this.out.open(&owner) {
                    out.suspend(&mut |entry| tx.keep_again(entry));
                }
            };
            Self::keep_posted(this.as_arc_borrow(), &owner);
        }
        this.waiters.lock().clear();
        *this.inbox.lock() = None;
        this.forget_unanswered(session);
        if this.suspended.cmpxchg(0, SUSPENDED, Full).is_err() {
            // It has been given up in the meantime.
            return false;
        }
        exec::run_held(session);
        // What came in the meantime.
        this.clone().kick();
        if !session.recovers() {
            // Who ended it may not have seen that we are suspended.
            this.clone().give_up();
        }
        true
    }

    /// Nothing that is posted will be sent; responses that were reassigned to here can
    /// be so once more.
    fn keep_posted(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
        let posted = core::mem::replace(&mut *this.posted.lock(), KVec::new());
        if let Some(mut tx) = this.tx.open(owner) {
            let entries = posted.into_iter().filter_map(Note::into_response);
            entries.for_each(|entry| tx.keep_again(entry));
        }
    }

    /// What is due while a connection is suspended: tasks that have run, and those
    /// that are to be reassigned.
    fn serve_suspended(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
        let Some(session) = this.session.as_ref() else {
            return;
        };
        Self::keep_posted(this, owner);
        this.arrivals.put(0);
        loop {
            let parcel = this.coming.lock().pop();
            let Some(parcel) = parcel else {
                break;
            };
            match parcel {
                Parcel::Finished(task) => {
                    if let Some(mut out) = this.out.open(owner) {
                        out.task(task);
                    }
                }
                Parcel::Collecting(task) => {
                    if let Some(mut rx) = this.rx.open(owner) {
                        rx.park(task);
                    }
                }
            }
        }
        if let Some(mut out) = this.out.open(owner) {
            for mut task in this.done.take() {
                let line = task.shared().line();
                if line != this.id {
                    match session.link_by_id(line) {
                        Some(link) => link.take_over(Parcel::Finished(task)),
                        None => session.retire(&mut task),
                    }
                } else {
                    out.task(task);
                }
            }
            out.sweep();
        }
        this.sweep.put(0);
        if let Some(mut rx) = this.rx.open(owner) {
            rx.sweep();
        }
        if let Some(mut tx) = this.tx.open(owner) {
            tx.sweep();
        }
        loop {
            let request = this.leaving.lock().pop();
            let Some(request) = request else {
                break;
            };
            Self::move_task(this, owner, session, request);
        }
    }

    /// Reassigns a task: answers the function, then hands the task over.
    fn move_task(
        this: ArcBorrow<'_, Self>,
        owner: &Owner<'_>,
        session: &Arc<Session>,
        request: Reassignment,
    ) {
        let tag = request.tag;
        let collecting = this.rx.open(owner).and_then(|mut rx| rx.take(tag));
        let mut finished = this.out.open(owner).and_then(|mut out| out.take(tag));
        let mut answered = Ok(None);
        if let Some(mut tx) = this.tx.open(owner) {
            finished = finished.or_else(|| tx.take(tag));
            if collecting.is_none() && finished.is_none() && !session.has_task(tag) {
                answered = tx.take_response(tag);
            }
        }
        let to = request.to.id();
        let found = match (collecting, finished, answered) {
            (Some(task), _, _) => {
                task.shared().reassign(to);
                Found::Task(Parcel::Collecting(task))
            }
            (_, Some(task), _) => {
                task.shared().reassign(to);
                Found::Task(Parcel::Finished(task))
            }
            (_, _, Ok(Some(entry))) => Found::Answered(entry, request.exp_data_sn),
            (_, _, Err(_)) => Found::Unmoved,
            _ if session.reassign(tag, this.id, to) => Found::Running,
            // Another one may have answered it.
            _ => match session.find_for_reassignment(tag, this.id) {
                Reassign::From(next) => return next.hand_over(request),
                _ => Found::Nothing,
            },
        };
        let refused = request.to.reassigned(request.itt, found);
        if let (Some(entry), Some(mut tx)) = (refused, this.tx.open(owner)) {
            tx.keep_again(entry);
        }
    }

    /// Takes in the tasks that came by another connection. What is to be sent
    /// before them is queued first.
    fn take_in(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
        loop {
            if let Some(mut out) = this.out.open(owner) {
                this.take_posted(&mut out);
            }
            let full = this.out.open(owner).is_none_or(|out| out.is_high());
            if full || !this.posted.lock().is_empty() {
                // Their turn is later.
                this.resume_wanted.put(1);
                return;
            }
            let parcel = {
                let mut coming = this.coming.lock();
                let parcel = coming.pop();
                if parcel.is_none() {
                    this.arrivals.put(0);
                }
                parcel
            };
            match parcel {
                Some(Parcel::Collecting(task)) => {
                    if let Some(mut rx) = this.rx.open(owner) {
                        rx.adopt(this, owner, task);
                    }
                }
                Some(Parcel::Finished(task)) => {
                    if let Some(mut out) = this.out.open(owner) {
                        out.task(task);
                    }
                }
                None => return,
            }
        }
    }

    /// Ends what came by other connections and was not taken in.
    fn drop_coming(&self) {
        loop {
            let parcel = self.coming.lock().pop();
            let Some(Parcel::Collecting(mut task) | Parcel::Finished(mut task)) = parcel else {
                return;
            };
            let session = task.shared().session.clone();
            session.retire(&mut task);
        }
    }

    /// Whether one more task management function can be watched.
    fn may_watch(&self) -> bool {
        make_room(&mut self.waiters.lock())
    }

    /// Watches a task management function until it is answered. False when
    /// there are too many.
    fn watch(&self, waiter: Arc<Waiter>) -> bool {
        let mut waiters = self.waiters.lock();
        make_room(&mut waiters) && waiters.push_within_capacity(waiter).is_ok()
    }

    /// Looks at the connection's timeouts. Returns false when it is gone and
    /// can be forgotten.
    pub(crate) fn tick(this: &Arc<Self>, now_ms: u64) -> bool {
        let closed = this.closed_ms.now();
        if closed != 0 {
            Self::discard_done(this.as_arc_borrow());
            let Some(session) = this.session.as_ref() else {
                return false;
            };
            let link: Arc<dyn Link> = this.clone();
            if session.has_tasks_of(&link) {
                this.closed_ms.put(now_ms.max(1));
                return true;
            }
            return now_ms < closed.saturating_add(GRACE_MS);
        }
        if this.is_closing() {
            if this.suspended.now() == SUSPENDED {
                let link: Arc<dyn Link> = this.clone();
                let session = this.session.as_ref();
                if !session.is_some_and(|s| s.is_retained(&link, now_ms)) {
                    this.clone().give_up();
                }
            }
            return true;
        }
        let Some(session) = this.session.as_ref() else {
            if this.starved.xchg(0, Relaxed) != 0 {
                this.clone().kick();
            }
            let limit = this.login_timeout_ms.now();
            if now_ms > this.started_ms.saturating_add(limit) {
                this.clone().end(Why::LoginTimeout);
            }
            return true;
        };
        if session.is_overdue(now_ms) {
            session.end(Why::Closed);
            return true;
        }
        session.wake_deferred();
        session.check_fences();
        if this.heard.xchg(0, Relaxed) != 0 {
            this.heard_ms.put(now_ms);
            this.tidied.put(0);
        }
        let expired = {
            let mut expired = KVec::new();
            let waiters = this.waiters.lock();
            for waiter in waiters.iter() {
                if expired.push(waiter.clone(), GFP_ATOMIC).is_err() {
                    break;
                }
            }
            expired
        };
        for waiter in expired.iter() {
            Waiter::expire(waiter, now_ms);
        }
        if !session.is_idle() {
            this.check_data.put(1);
            this.clone().kick();
        } else if this.starved.xchg(0, Relaxed) != 0 || this.owes_ack() {
            this.clone().kick();
        } else if this.tidied.now() == 0 && now_ms > this.heard_ms.now().saturating_add(TIDY_MS) {
            this.tidied.put(1);
            Self::tidy(this);
        }
        this.check_alive(session, now_ms);
        true
    }

    /// Gives back memory that an idle connection does not need.
    fn tidy(this: &Arc<Self>) {
        let owner = this.sock.own();
        if let Some(mut tx) = this.tx.open(&owner) {
            tx.tidy();
        }
        if let Some(mut out) = this.out.open(&owner) {
            out.tidy();
        };
    }

    /// Asks a silent initiator whether it lives, and gives it up when it does
    /// not answer.
    fn check_alive(self: &Arc<Self>, session: &Session, now_ms: u64) {
        let (idle_s, answer_s) = match (session.acl(), session.tpg()) {
            (Some(acl), _) => (
                acl.attrib(AclAttrib::NopinTimeout) as u64,
                acl.attrib(AclAttrib::NopinResponseTimeout) as u64,
            ),
            (None, Some(tpg)) => (
                u64::from(tpg.attrib(TpgAttrib::NopinTimeout)),
                u64::from(tpg.attrib(TpgAttrib::NopinResponseTimeout)),
            ),
            // RFC 7143 4.3: a discovery session has no NOPs; it has its time.
            (None, None) => {
                if now_ms > self.started_ms.saturating_add(DISCOVERY_MS) {
                    self.clone().end(Why::Silent);
                }
                return;
            }
        };
        if idle_s == 0 {
            return;
        }
        let heard = self.heard_ms.now();
        let pinged = self.pinged_ms.now();
        if pinged != 0 && heard < pinged {
            if now_ms > pinged.saturating_add(answer_s.saturating_mul(1000)) {
                self.clone().end(Why::Silent);
            }
            return;
        }
        if now_ms > heard.saturating_add(idle_s.saturating_mul(1000)) {
            // Before it is sent: its answer comes later than that.
            self.pinged_ms.put(now_ms);
            if !self.clone().ping() {
                self.pinged_ms.put(pinged);
            }
        }
    }

    /// Sends a NOP-In that wants an answer; false when there is no room.
    fn ping(self: Arc<Self>) -> bool {
        self.post_news(Note::new(Answer::NopIn(NopIn {
            lun: 0,
            itt: RESERVED_TAG,
            ttt: PING_TAG,
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
            data_len: 0,
        })))
    }

    /// Takes in a request of this connection that is no SCSI command, see
    /// [`Session::admit_request`]; with `true`, [`Conn::answered`] is due when it is.
    fn admit_request(&self, session: &Session, cmd_sn: Sn, immediate: bool) -> Option<bool> {
        let release = session.admit_request(cmd_sn, immediate)?;
        if release {
            self.unanswered.add(1, Relaxed);
        }
        Some(release)
    }

    /// A request that [`Conn::admit_request`] let in has its answer. For the owner of the socket.
    fn answered(&self, session: &Session) {
        if self.unanswered.now() > 0 {
            self.unanswered.add(-1, Relaxed);
            session.answered();
        }
    }

    /// The connection is gone: those that have no answer will have none, and give back their
    /// places in the window of their session, which may go on.
    fn forget_unanswered(&self, session: &Session) {
        let count = self.unanswered.xchg(0, Full);
        session.forget_requests(count.max(0).unsigned_abs());
    }

    /// Takes note of what the initiator has acknowledged.
    fn acknowledge(&self, session: &Session, exp_stat_sn: Sn) {
        let known = Sn(self.acknowledged.now());
        let sent = Sn(self.stat_sn.now());
        if known.lt(exp_stat_sn) && exp_stat_sn.le(sent) {
            self.acknowledged.put(exp_stat_sn.0);
            session.check_fences();
        }
    }

    /// Sends an Async Message.
    fn tell(self: Arc<Self>, event: AsyncEvent) {
        let _ = self.post_news(Note::new(Answer::Async(AsyncMessage {
            event,
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
            data_len: 0,
        })));
    }

    /// What kind of session it is in.
    fn session_type(&self) -> SessionType {
        match self.session.as_ref() {
            Some(session) if !session.is_discovery() => SessionType::Normal,
            _ => SessionType::Discovery,
        }
    }
}

/// The Target Transfer Tag of our own NOP-Ins.
const PING_TAG: u32 = 0x0000_0001;

/// The longest sense data of an event, in bytes: fixed format.
const MAX_EVENT_SENSE: usize = 18;

/// How long a discovery session may last.
const DISCOVERY_MS: u64 = 120_000;

impl Handler for Conn {
    fn data_ready(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
        Self::receive(this, owner);
        if owner.in_backlog() {
            // Somebody else's time, and maybe somebody else's send.
            if this.resume.now() != 0 || Self::has_output(this, owner) {
                Arc::<Conn>::from(this).kick();
            }
        } else if Self::has_output(this, owner) || this.starved.now() != 0 {
            // What else there may be kicks.
            Self::transmit(this, owner);
        }
    }

    fn write_space(this: ArcBorrow<'_, Self>) {
        Arc::<Conn>::from(this).kick();
    }

    fn state_change(this: ArcBorrow<'_, Self>) {
        // Whether the peer is gone is found out by reading to the end.
        let conn = Arc::<Conn>::from(this);
        conn.resume.put(1);
        conn.kick();
    }
}

impl Conn {
    fn has_output(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) -> bool {
        !this.done.is_empty() || this.out.open(owner).is_none_or(|out| !out.is_empty())
    }
}

impl WorkItem<BH> for Conn {
    type Pointer = Arc<Conn>;

    fn run(this: Arc<Conn>) {
        Self::round(this);
    }
}

impl submit::After for Conn {
    fn place(&self) -> &submit::Place {
        &self.after
    }

    fn after(this: Arc<Conn>) {
        Self::round(this);
    }
}

impl Conn {
    /// A round of the softirq work.
    fn round(this: Arc<Conn>) {
        // What was queued before the next kick is seen below.
        this.kicked.xchg(0, Full);
        if this.is_closing() && this.suspended.now() != SUSPENDED {
            return Self::discard_done(this.as_arc_borrow());
        }
        let gone = this.sock.try_own().map(|owner| {
            Self::serve(this.as_arc_borrow(), &owner);
            !owner.established() && !owner.rx_pending()
        });
        match gone {
            Some(false) => {}
            // It has been closed, if it is suspended.
            Some(true) => this.end(Why::Lost),
            None => {
                stats::one(Stat::TxOwned);
                if let Some(queue) = work::control() {
                    let _ = queue.enqueue::<Arc<Conn>, WORKER>(this);
                }
            }
        }
    }
}

impl WorkItem<WORKER> for Conn {
    type Pointer = Arc<Conn>;

    fn run(this: Arc<Conn>) {
        let gone = {
            let owner = this.sock.own();
            Self::serve(this.as_arc_borrow(), &owner);
            !owner.established() && !owner.rx_pending()
        };
        if gone {
            this.end(Why::Lost);
        }
    }
}

impl WorkItem<CLOSE> for Conn {
    type Pointer = Arc<Conn>;

    fn run(this: Arc<Conn>) {
        let code = this.closing.now();
        // These still have something to tell the peer.
        let gentle = [
            Why::Logout,
            Why::Refused,
            Why::Disabled,
            Why::Removed,
            Why::AclChanged,
            Why::Reset,
            Why::Closed,
            Why::Recovery,
        ]
        .iter()
        .any(|why| code == 1 + *why as i32);
        if gentle {
            let owner = this.sock.own();
            Self::transmit(this.as_arc_borrow(), &owner);
            // What is left unread would make the end a reset, which may
            // overtake what was just said.
            if let Some(mut rx) = this.rx.open(&owner) {
                rx.drain(&owner);
            };
        }
        this.sock.release(!gentle);
        let link: Arc<dyn Link> = this.clone();
        let first = this.suspended.now() == 0;
        // Waits for a request that is being worked on; it takes its last look
        // at the connection there.
        this.control_state.lock().clear();
        if first && Self::suspend(&this) {
            return;
        }
        if let Some(session) = this.session.as_ref() {
            session.lose(&link);
        }
        {
            let owner = this.sock.own();
            if let Some(mut rx) = this.rx.open(&owner) {
                rx.abandon();
            }
            if let Some(mut tx) = this.tx.open(&owner) {
                tx.abandon();
            }
            if let Some(mut out) = this.out.open(&owner) {
                out.abandon();
            };
        }
        Self::discard_done(this.as_arc_borrow());
        this.posted.lock().clear();
        let waiters = core::mem::replace(&mut *this.waiters.lock(), KVec::new());
        drop(waiters);
        *this.inbox.lock() = None;
        if let Some(session) = this.session.as_ref() {
            session.leave(&link);
            this.forget_unanswered(session);
            // Others may have waited for what ended here.
            exec::run_held(session);
        }
        this.closed_ms.put(misc::now_ms().max(1));
        if this.session.as_ref().is_none() {
            // It had no tasks, so nobody can hold a pointer to it.
            this.targets.doors.forget(&this);
        }
    }
}

impl WorkItem<CONTROL> for Conn {
    type Pointer = Arc<Conn>;

    fn run(this: Arc<Conn>) {
        let inbound = this.inbox.lock().take();
        if let (Some(inbound), false) = (inbound, this.is_closing()) {
            control::handle(&this, inbound);
        }
    }
}

/// TARGET COLD RESET: all other sessions of the target end, too (RFC 7143
/// 11.5.1, 11.6.1).
impl WorkItem<RESET> for Conn {
    type Pointer = Arc<Conn>;

    fn run(this: Arc<Conn>) {
        if let Some(session) = this.session.as_ref() {
            if let Some(tpg) = session.tpg() {
                tpg.target().end_sessions(Why::Reset, session);
            }
            let link: Arc<dyn Link> = this.clone();
            session.close_others(&link, Why::Reset);
        }
    }
}

/// Forgets the task management functions that are answered; tells whether there is room
/// for one more.
fn make_room(waiters: &mut KVec<Arc<Waiter>>) -> bool {
    waiters.retain(|w| !w.is_answered());
    waiters.len() < WAITERS && waiters.reserve(1, GFP_ATOMIC).is_ok()
}

impl Link for Conn {
    fn done(self: Arc<Self>, task: Task) {
        self.done.push(task);
        self.kick();
    }

    fn answered(self: Arc<Self>, waiter: Arc<Waiter>) {
        if waiter.answer == tmf::Answer::Fenced {
            if let Some(session) = self.session.as_ref().filter(|s| s.is_shared()) {
                let link: Arc<dyn Link> = self.clone();
                if session.put_fence(&link, &waiter) {
                    return;
                }
            }
        }
        self.fence_passed(waiter);
    }

    fn fence_passed(self: Arc<Self>, waiter: Arc<Waiter>) {
        let mut note = Note::new(match waiter.answer {
            tmf::Answer::Logout => Answer::Logout(LogoutResponse {
                response: if waiter.has_failed() {
                    LogoutResponseCode::CleanupFailed
                } else {
                    LogoutResponseCode::Success
                },
                itt: waiter.itt,
                stat_sn: Sn(0),
                exp_cmd_sn: Sn(0),
                max_cmd_sn: Sn(0),
                time2wait: 0,
                time2retain: 0,
            }),
            _ => Answer::TaskMgmt(TaskMgmtResponse {
                response: waiter.response(),
                additional: [0; 3],
                itt: waiter.itt,
                stat_sn: Sn(0),
                exp_cmd_sn: Sn(0),
                max_cmd_sn: Sn(0),
            }),
        });
        note.release = waiter.release;
        note.then = waiter.then;
        if waiter.then == Some(Why::Reset) {
            if let Some(session) = self.session.as_ref() {
                session.end_within(RESET_MS);
            }
            if let Some(queue) = work::control() {
                let _ = queue.enqueue::<Arc<Conn>, RESET>(self.clone());
            }
        }
        if self.clone().post(note).is_err() {
            // Too many answers wait: a peer that does not read them.
            self.end(Why::Protocol);
        }
    }

    fn sweep(self: Arc<Self>) {
        self.sweep.put(1);
        self.kick();
    }

    fn window_moved(self: Arc<Self>) {
        self.window_moved.put(1);
        self.kick();
    }

    fn close(self: Arc<Self>, why: Why) {
        self.end(why);
    }

    fn announce(self: Arc<Self>, why: Why) {
        let quiet = matches!(why, Why::Lost | Why::Logout | Why::Reinstated);
        if quiet || self.is_closing() {
            return;
        }
        // RFC 7143 11.9.1: the target drops all connections of the session.
        self.tell(AsyncEvent::SessionDrop {
            time2wait: 0,
            time2retain: 0,
        });
    }

    fn request_logout(self: Arc<Self>, seconds: u16) {
        self.tell(AsyncEvent::LogoutRequest { deadline: seconds });
    }

    fn scsi_event(self: Arc<Self>, lun: u64, sense: Sense) {
        // RFC 7143 11.9.4: SenseLength, and then the sense data.
        let mut data = [0; 2 + MAX_EVENT_SENSE];
        let Some((length, room)) = data.split_first_chunk_mut::<2>() else {
            return;
        };
        let len = sense.emit(false, room).min(room.len());
        *length = (len as u16).to_be_bytes();
        let Some(data) = data.get(..len.saturating_add(2)) else {
            return;
        };
        // Without memory the unit attention must do, which is there as well.
        let Ok(mut pages) = PageBuf::new(data.len(), Gfp::Atomic) else {
            return;
        };
        let _ = pages.write_at(0, data);
        let note = Note::new(Answer::Async(AsyncMessage {
            event: AsyncEvent::Scsi { lun },
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
            data_len: 0,
        }));
        if let Ok(note) = note.with_data(pages, GFP_ATOMIC) {
            let _ = self.post_news(note);
        }
    }

    fn request_due(self: Arc<Self>) {
        self.deferred.put(1);
        self.kick();
    }

    fn solicit(self: Arc<Self>) {
        self.ping();
    }

    fn will_submit(&self) {
        if self.ack.now() == 0 {
            self.ack.put(ACK_MAY_WAIT);
        }
    }

    fn owes_ack(&self) -> bool {
        self.ack.now() != 0
    }

    fn pay_ack(self: Arc<Self>) {
        self.kick();
    }

    fn stat_sn(&self) -> Sn {
        Sn(self.stat_sn.now())
    }

    fn acknowledged(&self) -> Sn {
        Sn(self.acknowledged.now())
    }

    fn is_ending(&self) -> bool {
        self.is_closing()
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn give_up(self: Arc<Self>) {
        // One that is about to be suspended will not be; else it ends again, for good.
        let early = self.suspended.cmpxchg(0, GIVEN_UP, Full).is_ok();
        if !early && self.suspended.cmpxchg(SUSPENDED, GIVEN_UP, Full).is_ok() {
            if let Some(queue) = work::control() {
                let _ = queue.enqueue::<Arc<Conn>, CLOSE>(self);
            }
        }
    }

    fn hand_over(self: Arc<Self>, request: Reassignment) {
        let refused = {
            let mut leaving = self.leaving.lock();
            if leaving.len() >= MOVING || leaving.reserve(1, GFP_ATOMIC).is_err() {
                Some(request)
            } else {
                leaving.push_within_capacity(request).err().map(|e| e.0)
            }
        };
        match refused {
            Some(request) => drop(request.to.reassigned(request.itt, Found::Nothing)),
            None => self.kick(),
        }
    }

    fn take_over(self: Arc<Self>, parcel: Parcel) {
        let refused = {
            let mut coming = self.coming.lock();
            if self.closed_ms.now() != 0 {
                Some(parcel)
            } else {
                self.arrivals.put(1);
                coming.push(parcel);
                None
            }
        };
        if let Some(Parcel::Collecting(mut task) | Parcel::Finished(mut task)) = refused {
            let session = task.shared().session.clone();
            session.retire(&mut task);
        }
        self.kick();
    }

    fn reassigned(self: Arc<Self>, itt: u32, found: Found) -> Option<KBox<Entry>> {
        let pdu = TaskMgmtResponse {
            response: match found {
                Found::Nothing => TmResponse::TaskDoesNotExist,
                Found::Unmoved => TmResponse::FunctionRejected,
                _ => TmResponse::FunctionComplete,
            },
            additional: [0; 3],
            itt,
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
        };
        let (answer, parcel) = match found {
            Found::Answered(entry, exp_data_sn) => (Answer::Resume(pdu, entry, exp_data_sn), None),
            Found::Task(parcel) => (Answer::TaskMgmt(pdu), Some(parcel)),
            Found::Nothing | Found::Unmoved | Found::Running => (Answer::TaskMgmt(pdu), None),
        };
        // Before the answer, with which it looks whether it may read on.
        self.moving.add(-1, Relaxed);
        self.resume.put(1);
        // RFC 7143 7.2.2: the response comes first.
        let refused = self.clone().post(Note::new(answer)).err();
        if refused.is_some() {
            // For want of memory: the task can be reassigned again.
            self.clone().end(Why::Lost);
        }
        if let Some(parcel) = parcel {
            self.take_over(parcel);
        }
        refused.and_then(Note::into_response)
    }
}
