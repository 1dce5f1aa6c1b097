// SPDX-License-Identifier: GPL-2.0

//! Task management: finds tasks and marks them; never frees them.
//!
//! A function is answered when the last task it affects has ended, that is,
//! when none of them can touch the disk any more; or as rejected, when that
//! takes too long.

use crate::{
    proto::{
        scsi::{
            device::{
                QueueError,
                UaInterlock, //
            },
            lun,
            sense::Sense,
            status::Status,
            ua::Ua, //
        },
        serial::Sn,
        wire::{
            TaskMgmtRequest,
            TmFunction,
            TmResponse, //
        }, //
    },
    session::{
        Aborted,
        Session,
        Why, //
    },
    sys::{
        misc,
        work, //
    },
    target::{
        Device,
        Nexus, //
    },
    task::{
        self,
        Head,
        Link,
        Outcome, //
    }, //
};
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

/// Milliseconds that a function may take. Linux gives up after 30 s (LUN
/// reset) or 15 s (abort); the answer must come before.
const DEADLINE_MS: u64 = 12_000;

/// What is answered when the tasks have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A task management function.
    Function,
    /// A task management function on many tasks: its answer must not overtake
    /// theirs (RFC 7143 4.2.3.3, d).
    Fenced,
    /// A logout of a connection.
    Logout,
}

/// A task management function or logout that waits for tasks to end.
pub(crate) struct Waiter {
    /// Who is told; a waiter without one is looked at.
    link: Option<Arc<dyn Link>>,
    /// The Initiator Task Tag of the function.
    pub(crate) itt: u32,
    /// Whether a place in the command window is free with its answer.
    pub(crate) release: bool,
    /// How it is answered.
    pub(crate) answer: Answer,
    /// Ends the connection when it is answered.
    pub(crate) then: Option<Why>,
    /// Tasks still to end, and one for the setting up.
    left: Atomic<i32>,
    failed: Atomic<i32>,
    answered: Atomic<i32>,
    deadline_ms: u64,
}

impl Waiter {
    /// A waiter that tells `link`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        link: Arc<dyn Link>,
        itt: u32,
        release: bool,
        answer: Answer,
        then: Option<Why>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                link: Some(link),
                itt,
                release,
                answer,
                then,
                left: Atomic::new(1),
                failed: Atomic::new(0),
                answered: Atomic::new(0),
                deadline_ms: misc::now_ms().saturating_add(DEADLINE_MS),
            },
            GFP_ATOMIC,
        )?)
    }

    /// A waiter that tells nobody, and has no deadline: for a command that aborts tasks. It is
    /// to be looked at until [`Waiter::is_answered`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn silent() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                link: None,
                itt: 0,
                release: false,
                answer: Answer::Function,
                then: None,
                left: Atomic::new(1),
                failed: Atomic::new(0),
                answered: Atomic::new(0),
                deadline_ms: u64::MAX,
            },
            GFP_KERNEL,
        )?)
    }

    /// One more task to wait for.
    pub(crate) fn one_more(&self) {
        self.left.add(1, Relaxed);
    }

    /// A task could not be waited for.
    pub(crate) fn fail(&self) {
        self.failed.store(1, Relaxed);
    }

    /// One task has ended.
    pub(crate) fn one_ended(this: &Arc<Self>) {
        if this.left.fetch_sub(1, Full) == 1 {
            Self::answer(this);
        }
    }

    fn answer(this: &Arc<Self>) {
        if this.answered.xchg(1, Full) == 0 {
            if let Some(link) = this.link.as_ref() {
                link.clone().answered(this.clone());
            }
        }
    }

    /// Answers it if its time is up; true when it need not be watched more.
    pub(crate) fn expire(this: &Arc<Self>, now_ms: u64) -> bool {
        if this.answered.load(Relaxed) != 0 {
            return true;
        }
        if now_ms < this.deadline_ms {
            return false;
        }
        this.fail();
        Self::answer(this);
        true
    }

    /// Whether it has been answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed) != 0
    }

    /// Whether some task has not ended in time, or could not be waited for.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Relaxed) != 0
    }

    /// What to answer.
    pub(crate) fn response(&self) -> TmResponse {
        if self.failed.load(Relaxed) != 0 {
            TmResponse::FunctionRejected
        } else {
            TmResponse::FunctionComplete
        }
    }
}

/// What a PREEMPT AND ABORT still waits for, when all is changed.
pub(crate) struct Fencing {
    /// The tasks that it has aborted.
    pub(crate) waiter: Arc<Waiter>,
    /// Whose they are.
    pub(crate) victims: KVec<Arc<Nexus>>,
    /// When it gives up to wait for the tasks: their time begins when they have been aborted,
    /// and not while the change that comes first is written down.
    tasks_by_ms: Option<u64>,
    /// When it gives up to wait for their copies, once the tasks have ended.
    copies_by_ms: Option<u64>,
}

/// Milliseconds that the part of a copy may take which is under way.
const COPY_MS: u64 = 12_000;

impl Fencing {
    /// Nobody is a victim yet; there is room for so many. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(room: usize) -> Result<KBox<Self>> {
        let fencing = Self {
            waiter: Waiter::silent()?,
            victims: KVec::with_capacity(room, GFP_KERNEL)?,
            tasks_by_ms: None,
            copies_by_ms: None,
        };
        Ok(KBox::new(fencing, GFP_KERNEL)?)
    }

    /// How the command `head` ends, if it need not wait any longer. SPC-4 5.9.11.5:
    /// it ends when the victims' tasks can do nothing more.
    pub(crate) fn outcome(&mut self, head: &Head) -> Option<Outcome> {
        if head.is_aborted() {
            return Some(Outcome::GOOD);
        }
        let now = misc::now_ms();
        let by = *self
            .tasks_by_ms
            .get_or_insert(now.saturating_add(DEADLINE_MS));
        if !self.waiter.is_answered() {
            if now < by {
                return None;
            }
            self.waiter.fail();
        }
        // What they copy from elsewhere is no task of theirs on this unit; but
        // nothing new is copied any more. One that has preempted itself may go on.
        let own = |victim: &Arc<Nexus>| head.nexus.as_ref().is_some_and(|n| Arc::ptr_eq(n, victim));
        let mut others = self.victims.iter().filter(|victim| !own(victim));
        if others.any(|victim| victim.copies().is_busy()) {
            let by = *self.copies_by_ms.get_or_insert(now.saturating_add(COPY_MS));
            return (now > by).then_some(Sense::INTERNAL_TARGET_FAILURE.into());
        }
        Some(if self.waiter.has_failed() {
            // They are aborted, but some of them is still with the disk.
            Sense::INTERNAL_TARGET_FAILURE.into()
        } else {
            Outcome::GOOD
        })
    }
}

/// What becomes of a function.
pub(crate) enum Verdict {
    /// The answer, now.
    Now(TmResponse),
    /// The answer, now, with its Additional Response Information.
    Told(TmResponse, [u8; 3]),
    /// The answer comes by [`Link::answered`]; until then it is to be watched.
    Later(Arc<Waiter>),
}

/// Carries out a task management function (RFC 7143 11.5, RFC 7144 section 6).
pub(crate) fn run(
    session: &Arc<Session>,
    link: Arc<dyn Link>,
    request: &TaskMgmtRequest,
    release: bool,
) -> Verdict {
    let level2 = session.params().protocol_level >= 2;
    let function = request.function();
    if function.needs_protocol_level_2() && !level2 {
        return Verdict::Now(TmResponse::FunctionNotSupported);
    }
    if function == TmFunction::AbortTask {
        // The task may outlive the unit's place in the session's view.
        return abort_task(session, link, request, release);
    }
    let nexus = if function.has_lun() {
        match lun::decode(request.lun()).and_then(|n| session.nexus(n)) {
            Some(nexus) => Some(nexus),
            None => return Verdict::Now(TmResponse::LunDoesNotExist),
        }
    } else {
        None
    };
    let started = match function {
        TmFunction::ClearAca | TmFunction::Unknown(_) => {
            return Verdict::Now(TmResponse::FunctionNotSupported)
        }
        TmFunction::TaskReassign => return Verdict::Now(TmResponse::ReassignmentNotSupported),
        TmFunction::QueryTask => return query_task(session, request),
        TmFunction::QueryTaskSet => {
            let busy = session.has_tasks_for(request.lun());
            return Verdict::Now(if busy {
                TmResponse::FunctionSucceeded
            } else {
                TmResponse::FunctionComplete
            });
        }
        TmFunction::QueryAsyncEvent => return query_event(nexus.as_deref()),
        _ => {
            let answer = if function.ends_many() {
                Answer::Fenced
            } else {
                Answer::Function
            };
            let then = (function == TmFunction::TargetColdReset).then_some(Why::Reset);
            Waiter::new(link, request.itt(), release, answer, then)
        }
    };
    let Ok(waiter) = started else {
        return Verdict::Now(TmResponse::FunctionRejected);
    };
    if !is_long(session, function, nexus.as_ref()) {
        let before = session.is_shared().then_some(request.cmd_sn());
        carry_out(session, &waiter, function, nexus, before);
        return Verdict::Later(waiter);
    }
    // Others are not to wait for it: not here, in softirq. What comes after it may be there
    // before it is over.
    let before = Some(request.cmd_sn());
    let (session, theirs) = (session.clone(), waiter.clone());
    let job = move || carry_out(&session, &theirs, function, nexus, before);
    match work::control().map(|queue| queue.try_spawn(GFP_ATOMIC, job)) {
        Some(Ok(())) => Verdict::Later(waiter),
        _ => Verdict::Now(TmResponse::FunctionRejected),
    }
}

/// Sessions, for each unit that a function is about, that it goes through in softirq.
const AT_ONCE: usize = 64;

/// Whether a function is about more than that.
fn is_long(session: &Session, function: TmFunction, nexus: Option<&Arc<Nexus>>) -> bool {
    match (function, nexus) {
        (TmFunction::AbortTaskSet, _) => false,
        (_, Some(nexus)) => nexus.device().nexus_count() > AT_ONCE,
        (TmFunction::ItNexusReset, None) => session.lun_count() > AT_ONCE,
        (_, None) => {
            let mut sum = 0usize;
            session.nexuses().any(|nexus| {
                sum = sum.saturating_add(nexus.device().nexus_count().max(1));
                sum > AT_ONCE
            })
        }
    }
}

/// Aborts what a function is to abort, and does what else it asks for; then it only waits for
/// the end of these tasks. Of the session that has asked, tasks that are not older than
/// `before` are left out.
fn carry_out(
    session: &Arc<Session>,
    waiter: &Arc<Waiter>,
    function: TmFunction,
    nexus: Option<Arc<Nexus>>,
    before: Option<Sn>,
) {
    match (function, nexus) {
        (TmFunction::AbortTaskSet, Some(nexus)) => {
            abort_nexus(Some(waiter), &nexus, false, before);
            task::end_hopeless(nexus.device());
        }
        (TmFunction::ClearTaskSet, Some(nexus)) => {
            abort_unit(Some(waiter), nexus.device(), session.id(), before, true);
        }
        (TmFunction::LogicalUnitReset, Some(nexus)) => {
            let device = nexus.device();
            reset_unit(waiter, device, session.id(), before, Ua::LogicalUnitReset);
        }
        (TmFunction::ItNexusReset, _) => {
            session.abort_tasks(Some(waiter), false, &|head| is_older(head, before));
            for nexus in session.nexuses() {
                task::end_hopeless(nexus.device());
                nexus.device().release(session.id());
                nexus.post(Ua::NexusLoss);
            }
        }
        // A hard reset (SAM-5, "Hard reset") of the units that this session
        // sees; what it does not see is not its to reset. RFC 7143 11.5.1
        // has TARGET COLD RESET taken for a power on.
        (function, _) => {
            let ua = match function {
                TmFunction::TargetColdReset => Ua::PowerOn,
                _ => Ua::BusReset,
            };
            for nexus in session.nexuses() {
                reset_unit(waiter, nexus.device(), session.id(), before, ua);
            }
        }
    }
    // Ends the setting up; the answer may be given here.
    Waiter::one_ended(waiter);
}

fn abort_task(
    session: &Arc<Session>,
    link: Arc<dyn Link>,
    request: &TaskMgmtRequest,
    release: bool,
) -> Verdict {
    let tag = request.referenced_task_tag();
    if !session.knows_tag(tag) {
        // RFC 7143 11.5.1: a RefCmdSN not yet received means that the task
        // got lost on the way, and the function is complete; one that was
        // received means that the task has ended.
        return Verdict::Now(if session.plug(request.ref_cmd_sn(), request.cmd_sn()) {
            TmResponse::FunctionComplete
        } else {
            TmResponse::TaskDoesNotExist
        });
    }
    let Ok(waiter) = Waiter::new(link, request.itt(), release, Answer::Function, None) else {
        return Verdict::Now(TmResponse::FunctionRejected);
    };
    let lun = request.lun();
    let found = session.abort_tasks(Some(&waiter), false, &|h| h.itt == tag && h.lun == lun);
    if found.found == 0 && waiter.failed.load(Relaxed) == 0 {
        return Verdict::Now(TmResponse::TaskDoesNotExist);
    }
    Waiter::one_ended(&waiter);
    Verdict::Later(waiter)
}

fn query_task(session: &Arc<Session>, request: &TaskMgmtRequest) -> Verdict {
    Verdict::Now(
        if session.has_task_for(request.referenced_task_tag(), request.lun()) {
            TmResponse::FunctionSucceeded
        } else {
            TmResponse::FunctionComplete
        },
    )
}

/// SPC-4, "QUERY ASYNCHRONOUS EVENT": the sense key and codes of the pending
/// unit attention, if there is one.
fn query_event(nexus: Option<&Nexus>) -> Verdict {
    match nexus.and_then(Nexus::peek_attention) {
        Some((key, asc, ascq)) => {
            // SAM-5 7.13: bits 5-4 of the first byte count what is pending
            // (01b: one or more), bits 3-0 are the sense key.
            Verdict::Told(
                TmResponse::FunctionSucceeded,
                [0x10 | (key & 0xf), asc, ascq],
            )
        }
        None => Verdict::Now(TmResponse::FunctionComplete),
    }
}

/// Whether a task came before the function with CmdSN `before` (RFC 7143 11.5.1): others may
/// have overtaken it on another connection, or while it was carried out.
fn is_older(head: &Head, before: Option<Sn>) -> bool {
    before.is_none_or(|sn| head.cmd_sn.lt(sn) || (head.immediate && head.cmd_sn == sn))
}

/// Aborts the tasks of one session for a unit. With `before`, those only that
/// are older. Those that wait in line are to be ended after that.
fn abort_nexus(
    waiter: Option<&Arc<Waiter>>,
    nexus: &Arc<Nexus>,
    tell: bool,
    before: Option<Sn>,
) -> Aborted {
    let session = nexus.session();
    session.abort_tasks_of(nexus, waiter, tell, &|head| is_older(head, before))
}

/// Aborts the tasks of all sessions for a unit, by order of the session `by`: of that one
/// those that are older than `before`.
///
/// SAM-5, "Aborting commands": the others are told by TASK ABORTED if TAS is
/// set, and else, with `post`, by a unit attention.
fn abort_unit(
    waiter: Option<&Arc<Waiter>>,
    device: &Arc<Device>,
    by: u64,
    before: Option<Sn>,
    post: bool,
) {
    abort_each(device, &mut |nexus| {
        if nexus.session().id() == by {
            abort_nexus(waiter, nexus, false, before).found != 0
        } else {
            abort_other(waiter, nexus, post)
        }
    });
}

/// Calls `abort` for each session of a unit, which tells whether it had any task; those that
/// wait in line end then.
fn abort_each(device: &Device, abort: &mut dyn FnMut(&Arc<Nexus>) -> bool) {
    let mut any = false;
    device.for_each_nexus(&mut |nexus| any |= abort(nexus));
    if any {
        task::end_hopeless(device);
    }
}

/// Of [`abort_unit`] what becomes of a session that has not asked for it; whether it had any
/// task.
fn abort_other(waiter: Option<&Arc<Waiter>>, nexus: &Arc<Nexus>, post: bool) -> bool {
    let tas = nexus.device().task_aborted_status();
    let aborted = abort_nexus(waiter, nexus, tas, None);
    if aborted.lost != 0 && post && !tas {
        nexus.post(Ua::CommandsCleared);
    }
    aborted.found != 0
}

/// QERR 01b: aborts all tasks for a unit, as a command of `session` has failed.
///
/// A peer may send nothing but such commands. Where many sessions see the unit it is their own
/// tasks that end at once; those of the others do in process context, one time for all
/// commands that have failed until then. What the others send before that ends with them, and
/// they are told as of the rest.
fn abort_all(session: &Arc<Session>, device: &Arc<Device>) {
    if device.nexus_count() <= AT_ONCE {
        return abort_unit(None, device, session.id(), None, true);
    }
    session.abort_tasks(None, false, &|head| {
        let nexus = head.nexus.as_ref();
        nexus.is_some_and(|nexus| Arc::ptr_eq(nexus.device(), device))
    });
    if !device.note_failure(session.id()) {
        return;
    }
    let unit = device.clone();
    let job = move || abort_others(&unit);
    match work::control().map(|queue| queue.try_spawn(GFP_ATOMIC, job)) {
        Some(Ok(())) => {}
        _ => abort_others(device),
    }
}

/// What [`abort_all`] has left to be done.
fn abort_others(device: &Arc<Device>) {
    let by = device.take_failure();
    abort_each(device, &mut |nexus| {
        nexus.session().id() != by && abort_other(None, nexus, true)
    });
}

/// A command has ended with another status than GOOD: does to the other commands
/// of the unit what QERR says, and establishes the unit attention that
/// UA_INTLCK_CTRL asks for (SPC-4, "Control mode page").
pub(crate) fn unsuccessful(head: &Head, status: Status) {
    let Some(nexus) = head.nexus.as_ref() else {
        return;
    };
    let device = nexus.device();
    let ua = match status {
        Status::CheckCondition => {
            match device.queue_error() {
                QueueError::Keep => {}
                QueueError::AbortAll => abort_all(&head.session, device),
                QueueError::AbortSameNexus => {
                    abort_nexus(None, nexus, false, None);
                    task::end_hopeless(device);
                }
            }
            return;
        }
        Status::Busy => Ua::PreviousBusy,
        Status::TaskSetFull => Ua::PreviousTaskSetFull,
        Status::ReservationConflict => Ua::PreviousReservationConflict,
        _ => return,
    };
    if device.ua_interlock() == UaInterlock::Establish {
        nexus.post(ua);
    }
}

/// Resets a unit (SAM-5, "Logical unit reset"); all sessions are told why.
fn reset_unit(waiter: &Arc<Waiter>, device: &Arc<Device>, by: u64, before: Option<Sn>, why: Ua) {
    abort_unit(Some(waiter), device, by, before, false);
    device.for_each_nexus(&mut |nexus| nexus.copies().forget_ended());
    device.release_any();
    device.reset_mode();
    device.post_all(why, None);
}
