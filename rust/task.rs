// SPDX-License-Identifier: GPL-2.0

//! One SCSI command on its way.
//!
//! A task is made by the receive path, collects its data, runs on the disk,
//! and is ended by the transmit path when its response has been built. At each
//! moment one of these owns it ([`Task`]); task management only sees the
//! [`Head`] and can mark it aborted.
//!
//! A task that has been registered with its session is ended exactly once, by
//! [`Task`] being passed to `Session::retire`.

use crate::sys::atomic::InPlace;
use crate::{
    meter::{
        End,
        Times, //
    },
    parcel::{
        Entry,
        Found,
        Parcel, //
    },
    proto::{
        lane,
        scsi::{
            taskset::{
                Kind,
                ENDED,
                NO_AGE, //
            },
            Command,
            Sense,
            Status, //
        },
        serial::Sn,
        transfer::{
            ReadPlan,
            WritePlan, //
        }, //
    },
    session::{
        Session,
        Why, //
    },
    stats::{
        self,
        Stat, //
    },
    sys::{
        llist::Fifo,
        misc,
        owned::{
            Duo,
            Owned, //
        },
        pages::PageBuf,
        work, //
    },
    target::{
        Arrival,
        Copying,
        Device,
        Nexus,
        Pass, //
    },
    tmf::{
        Fencing,
        Waiter, //
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

/// The owner of a task.
pub(crate) type Task = Owned<Head, Body>;

/// Gives the memory back that was kept for tasks and not used since the last time,
/// or all of it. To be called now and then.
pub(crate) fn tidy(all: bool) {
    Task::tidy(all);
}

/// What others may see of a task.
pub(crate) type Seen = Arc<Duo<Head, Body>>;

/// The way from a task or session back to its connection.
pub(crate) trait Link: Send + Sync {
    /// The task has run: its response is to be sent. Any context.
    fn done(self: Arc<Self>, task: Task);
    /// A task management function has finished. Any context but hardirq.
    fn answered(self: Arc<Self>, waiter: Arc<Waiter>);
    /// Some task that waits for data has been aborted. Any context.
    fn sweep(self: Arc<Self>);
    /// The command window has opened, and no response tells it. Any context
    /// but hardirq.
    fn window_moved(self: Arc<Self>);
    /// The connection shall end. Any context.
    fn close(self: Arc<Self>, why: Why);
    /// Tells the initiator that the connection drops.
    fn announce(self: Arc<Self>, why: Why);
    /// Asks the initiator to log out within so many seconds.
    fn request_logout(self: Arc<Self>, seconds: u16);
    /// Tells the initiator of an event of a unit. Any context but hardirq.
    fn scsi_event(self: Arc<Self>, lun: u64, sense: Sense);
    /// A request that waited for commands before it may go on. Any context.
    fn request_due(self: Arc<Self>);
    /// A response that waited for acknowledgements may be sent. Any context
    /// but hardirq.
    fn fence_passed(self: Arc<Self>, waiter: Arc<Waiter>);
    /// Asks the initiator for its ExpStatSN. Any context but hardirq.
    fn solicit(self: Arc<Self>);
    /// A command goes to the submit thread: the acknowledgement of what brought
    /// it may wait for its response. Any context but hardirq.
    fn will_submit(&self);
    /// Whether an acknowledgement waits.
    fn owes_ack(&self) -> bool;
    /// It has waited for long enough: nothing may answer soon. Any context.
    fn pay_ack(self: Arc<Self>);
    /// The StatSN of the next response.
    fn stat_sn(&self) -> Sn;
    /// The last ExpStatSN of the initiator. It is known in sessions that may
    /// have several connections.
    fn acknowledged(&self) -> Sn;
    /// Whether the connection is being closed.
    fn is_ending(&self) -> bool;
    /// A number that no other connection has had since the module was loaded.
    fn id(&self) -> u64;
    /// Ends a connection that is suspended for recovery: its tasks end. Any
    /// context.
    fn give_up(self: Arc<Self>);
    /// Moves a task of this connection, which is suspended, to another one. Any
    /// context but hardirq.
    fn hand_over(self: Arc<Self>, request: Reassignment);
    /// Takes over a task that came by another connection. Any context but
    /// hardirq.
    fn take_over(self: Arc<Self>, parcel: Parcel);
    /// A TASK REASSIGN with the Initiator Task Tag `itt` has been carried out,
    /// or there is no such task. Any context but hardirq. A response that it has
    /// no memory to send is handed back; then the connection ends.
    fn reassigned(self: Arc<Self>, itt: u32, found: Found) -> Option<KBox<Entry>>;
}

/// A TASK REASSIGN that is being carried out.
pub(crate) struct Reassignment {
    /// The Initiator Task Tag of the task.
    pub(crate) tag: u32,
    /// The first Data-In PDU that the initiator has not got.
    pub(crate) exp_data_sn: u32,
    /// The Initiator Task Tag of the function.
    pub(crate) itt: u32,
    /// The connection on which the function came, which gets the task.
    pub(crate) to: Arc<dyn Link>,
}

/// The clock of what is done to several tasks at once.
pub(crate) use crate::meter::Now;

/// The part of a task that everybody may see.
pub(crate) struct Head {
    /// The Initiator Task Tag.
    pub(crate) itt: u32,
    /// The LUN field, as it came.
    pub(crate) lun: u64,
    /// The CmdSN.
    pub(crate) cmd_sn: Sn,
    /// Whether it was sent for immediate delivery.
    pub(crate) immediate: bool,
    /// The session it belongs to.
    pub(crate) session: Arc<Session>,
    /// The connection it came by and goes back by.
    pub(crate) link: Arc<dyn Link>,
    /// The unit it is for; none when there is no such unit.
    pub(crate) nexus: Option<Arc<Nexus>>,
    /// The connection that it belongs to now: at first that of `link`, later
    /// maybe one that it was reassigned to.
    line: Atomic<u64>,
    /// Whether its task attribute is ORDERED or HEAD OF QUEUE.
    pub(crate) kind: Option<Kind>,
    /// Its place in the session's list.
    place: Atomic<u32>,
    /// 0, [`SILENT`], [`LOST`], [`NEVER_CAME`] or [`TOLD`].
    aborted: Atomic<i32>,
    /// Whether it may change the medium.
    writes: Atomic<i32>,
    /// Whether its nexus counts it as lost, and under way.
    counted: Atomic<i32>,
    /// Whether it waits for commands with lower CmdSNs, and is in no task set
    /// yet.
    held: Atomic<i32>,
    /// Its age in the task set, see `proto::scsi::taskset`. Written under the
    /// lock of the task set only.
    age: Atomic<u64>,
    /// Whether `age` is the number of an entry of its own.
    entry: Atomic<i32>,
    /// When it will be sent, among all that waits to be sent.
    pub(crate) order: Atomic<u32>,
}

/// Aborted, and no response will be sent.
const SILENT: i32 = 1;

/// Its connection is lost.
const LOST: i32 = 2;

/// The same, before it was delivered: it counts as never received.
const NEVER_CAME: i32 = 4;

/// Aborted by another I_T nexus, and the initiator is told by TASK ABORTED.
const TOLD: i32 = 3;

impl Head {
    /// The head of a new task; `kind` unless its task attribute is SIMPLE.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        itt: u32,
        lun: u64,
        cmd_sn: Sn,
        immediate: bool,
        session: Arc<Session>,
        link: Arc<dyn Link>,
        nexus: Option<Arc<Nexus>>,
        kind: Option<Kind>,
    ) -> impl Init<Self> {
        let line = link.id();
        init!(Self {
            itt,
            lun,
            cmd_sn,
            immediate,
            session,
            line: Atomic::new(line),
            link,
            nexus,
            kind,
            place: Atomic::new(u32::MAX),
            aborted: Atomic::new(0),
            writes: Atomic::new(0),
            counted: Atomic::new(0),
            held: Atomic::new(0),
            age: Atomic::new(NO_AGE),
            entry: Atomic::new(0),
            order: Atomic::new(0),
        })
    }

    /// The [`Link::id`] of the connection that it belongs to.
    pub(crate) fn line(&self) -> u64 {
        self.line.now()
    }

    /// It belongs to another connection from now on.
    pub(crate) fn reassign(&self, line: u64) {
        self.line.put(line);
    }

    /// Its place in the session's list of tasks.
    pub(crate) fn slot(&self) -> u32 {
        self.place.now()
    }

    pub(crate) fn set_slot(&self, slot: u32) {
        self.place.put(slot);
    }

    /// Aborts it: no response will be sent.
    pub(crate) fn abort(&self) {
        // One that is lost stays lost.
        if self.aborted.cmpxchg(0, SILENT, Full).is_err() {
            let _ = self.aborted.cmpxchg(TOLD, SILENT, Full);
        }
    }

    /// Aborts it if its session is to end: the initiator, which is going to log in again,
    /// is not told that there is no such unit.
    pub(crate) fn end_with_session(&self) {
        if self.session.is_doomed() {
            self.abort();
        }
    }

    /// It may change the medium, once it gets there.
    pub(crate) fn set_writes(&self) {
        self.writes.put(1);
    }

    /// Whether it counts as lost from now on, for its nexus: it may change the medium, and did
    /// not count before. With the lock of the session.
    pub(crate) fn count_lost(&self) -> bool {
        let counts = self.writes.now() != 0 && !self.is_counted();
        if counts {
            self.counted.put(1);
        }
        counts
    }

    /// Whether it does.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.now() != 0
    }

    /// Aborts it: its connection is lost. If it was not `delivered` to its unit yet, it
    /// counts as never received. False when it was aborted before.
    pub(crate) fn lose(&self, delivered: bool) -> bool {
        let how = if delivered { LOST } else { NEVER_CAME };
        self.aborted.cmpxchg(0, how, Full).is_ok()
    }

    /// Whether it was lost with its connection: its tag may be used again.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.aborted.now(), LOST | NEVER_CAME)
    }

    /// Whether it was lost before it was delivered: its CmdSN may be another one's.
    pub(crate) fn never_came(&self) -> bool {
        self.aborted.now() == NEVER_CAME
    }

    /// Aborts it; it will end TASK ABORTED (SAM-5, "Aborting commands").
    pub(crate) fn abort_told(&self) {
        // One that was aborted already stays what it is.
        let _ = self.aborted.cmpxchg(0, TOLD, Full);
    }

    /// Whether it was aborted, and nobody is told.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.aborted.now(), SILENT | LOST | NEVER_CAME)
    }

    /// Whether it waits for commands with lower CmdSNs.
    pub(crate) fn is_held(&self) -> bool {
        self.held.now() != 0
    }

    /// It waits for commands with lower CmdSNs, or does no more.
    pub(crate) fn set_held(&self, on: bool) {
        self.held.put(i32::from(on));
    }

    /// Its age in the task set.
    pub(crate) fn age(&self) -> u64 {
        self.age.now()
    }

    /// Gives it an age. With the lock of the task set only.
    pub(crate) fn set_age(&self, age: u64) {
        self.age.put(age);
    }

    /// Gives it an entry of the task set. With its lock only.
    pub(crate) fn set_entry(&self, number: u64) {
        self.entry.put(1);
        self.set_age(number);
    }

    /// Whether it has an entry of the task set.
    pub(crate) fn has_entry(&self) -> bool {
        self.entry.now() != 0
    }

    /// Whether others have to hear of it when it is over: those who have aborted
    /// it, or the task set.
    pub(crate) fn matters(&self) -> bool {
        self.is_aborted() || self.is_in_order()
    }

    /// Whether it counts in the task set.
    pub(crate) fn is_in_order(&self) -> bool {
        !matches!(self.age(), NO_AGE | ENDED)
    }

    /// Whether it was aborted.
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.now() != 0
    }
}

/// What is to be done.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    /// A command that can be carried out.
    Command(Command),
    /// A command that was refused; its data is still drained.
    Refused(Outcome),
}

/// How a command ended.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// The SCSI status.
    pub(crate) status: Status,
    /// What is wrong, with CHECK CONDITION.
    pub(crate) sense: Option<Sense>,
}

impl Outcome {
    /// GOOD.
    pub(crate) const GOOD: Outcome = Outcome::status(Status::Good);

    /// TASK ABORTED.
    pub(crate) const ABORTED: Outcome = Outcome::status(Status::TaskAborted);

    /// A status without sense data.
    pub(crate) const fn status(status: Status) -> Self {
        Self {
            status,
            sense: None,
        }
    }
}

impl From<Sense> for Outcome {
    fn from(sense: Sense) -> Self {
        Self {
            status: Status::CheckCondition,
            sense: Some(sense),
        }
    }
}

/// The part of a task that its owner alone touches.
pub(crate) struct Body {
    /// What is to be done.
    pub(crate) verb: Verb,
    /// Expected Data Transfer Length: bytes the initiator will send or take.
    pub(crate) edtl: u32,
    /// Bytes that the command itself moves, from its CDB.
    pub(crate) asked: u64,
    /// Whether the R bit was set.
    pub(crate) read: bool,
    /// The data, in or out.
    pub(crate) data: PageBuf,
    /// Pages charged to the session for `data`.
    pub(crate) charged: usize,
    /// What data of the initiator is still to come.
    pub(crate) plan: Option<WritePlan>,
    /// How the data is cut into Data-In PDUs while it is being sent.
    pub(crate) cut: Option<ReadPlan>,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Bytes of `data` that go to the initiator.
    pub(crate) data_in: usize,
    /// Whether the I/O has been passed on to where it may wait.
    pub(crate) may_block: bool,
    /// What says that its READ or WRITE is under way.
    pub(crate) pass: Option<Pass>,
    /// When its work on the disk began, see `misc::ticks`.
    pub(crate) started: u64,
    /// When it came how far.
    pub(crate) times: Times,
    /// How far an EXTENDED COPY is.
    pub(crate) copying: Option<KBox<Copying>>,
    /// What it waits for before it goes on, or ends.
    pub(crate) awaited: Option<Awaited>,
    /// Blocks that a VERIFY has read.
    pub(crate) verified: u64,
    /// Whether it must wait for commands with lower CmdSNs.
    pub(crate) hold: bool,
    /// How long it is to wait before it is carried out, in ms.
    pub(crate) delay_ms: u32,
    /// Whether it has a place among the commands that its device takes at once.
    pub(crate) placed: bool,
    /// How many of its limits it has passed, see [`Caps`](crate::target::Caps).
    pub(crate) gate: u8,
    /// The bytes that count against them.
    pub(crate) load: u32,
    /// When it began to wait for one.
    pub(crate) held_ns: u64,
    /// What the slow workqueue, or the task set, is to do with it.
    next: Option<fn(Task)>,
}

impl Body {
    /// The body of a new task.
    pub(crate) fn new(verb: Verb, edtl: u32, read: bool) -> impl Init<Self> {
        init!(Self {
            verb,
            edtl,
            asked: 0,
            read,
            data <- PageBuf::init_empty(),
            charged: 0,
            plan: None,
            cut: None,
            outcome: Outcome::GOOD,
            data_in: 0,
            may_block: false,
            pass: None,
            copying: None,
            awaited: None,
            verified: 0,
            started: 0,
            times: Times::begin(),
            hold: false,
            delay_ms: 0,
            placed: false,
            gate: 0,
            load: 0,
            held_ns: 0,
            next: None,
        })
    }
}

impl Body {
    /// The parameter list of `len` bytes that a command has brought, where the
    /// caller bounds `len`. Process context.
    ///
    /// # Errors
    ///
    /// PARAMETER LIST LENGTH ERROR when less has come; BUSY without memory.
    pub(crate) fn parameter_list(&self, len: usize) -> Result<KVec<u8>, Outcome> {
        let too_short = || Outcome::from(Sense::PARAMETER_LIST_LENGTH_ERROR);
        if self.data.len() < len {
            return Err(too_short());
        }
        let mut list = misc::zeros(len, GFP_KERNEL).map_err(|_| Outcome::status(Status::Busy))?;
        self.data.read_at(0, &mut list).map_err(|_| too_short())?;
        Ok(list)
    }
}

/// Runs `what` with `task` on the slow workqueue, where it may wait for the
/// disk. Any context.
///
/// Of each device only so many run at once ([`lane::share`]): the others wait in
/// a line of their own, so that devices that hang do not take the workers from
/// all others.
///
/// What waits in line counts as no I/O under way: somebody with a place there
/// may wait until there is none.
pub(crate) fn slow(mut task: Task, what: fn(Task)) {
    leave(&mut task);
    task.get().next = Some(what);
    work::slow(task, in_lane);
}

/// Puts a task that [`slow`] runs at the end of its device's line, to go on with
/// `what`: others of the device come first. Its worker goes on with the line.
pub(crate) fn again(mut task: Task, what: fn(Task)) {
    task.get().next = Some(what);
    let Some(device) = task.shared().nexus.as_ref().map(|n| n.device().clone()) else {
        return run_next(task);
    };
    device.slow_lane(|lane| lane.waiting.push(task));
}

/// Says what is to be done with a task that waits.
pub(crate) fn plan(task: &mut Task, what: fn(Task)) {
    task.get().next = Some(what);
}

/// Goes on with tasks that have waited. Any context but hardirq.
pub(crate) fn go_on(mut tasks: Fifo<Head, Body>) {
    let mut budget = GO_ON_AT_ONCE;
    while let Some(task) = tasks.pop() {
        match budget.checked_sub(1) {
            Some(left) => {
                budget = left;
                run_next(task);
            }
            None => work::slow(task, run_next),
        }
    }
}

/// Tasks that [`go_on`] runs itself.
const GO_ON_AT_ONCE: u32 = 32;

/// As [`slow`], and not in the device's line: for what does not touch the
/// disk, and must not wait for it.
pub(crate) fn aside(task: Task, what: fn(Task)) {
    work::slow(task, what);
}

fn in_lane(task: Task) {
    let Some(device) = task.shared().nexus.as_ref().map(|n| n.device().clone()) else {
        return run_next(task);
    };
    let mine = device.slow_lane(|lane| {
        if lane.running < lane::share(HELD.load(Relaxed).max(0).unsigned_abs()) {
            lane.running = lane.running.saturating_add(1);
            HELD.add(1, Relaxed);
            return Some(task);
        }
        lane.waiting.push(task);
        stats::one(Stat::SlowWaits);
        None
    });
    if let Some(task) = mine {
        with_worker(task);
    }
}

/// Runs a task that has one of the workers of its device, which the next in line has then.
///
/// That one is queued: for the workqueue, what this work runs is at the address of `task` until
/// it returns. A task that gets the same memory meanwhile, of whatever device, is not run before
/// that, however long the next one takes.
fn with_worker(task: Task) {
    let Some(device) = task.shared().nexus.as_ref().map(|n| n.device().clone()) else {
        return run_next(task);
    };
    run_next(task);
    let next = device.slow_lane(|lane| {
        let next = lane.waiting.pop();
        if next.is_none() {
            lane.running = lane.running.saturating_sub(1);
            HELD.add(-1, Relaxed);
        }
        next
    });
    if let Some(task) = next {
        work::slow(task, with_worker);
    }
}

fn run_next(mut task: Task) {
    match task.get().next.take() {
        Some(what) => what(task),
        None => finish(task, Outcome::GOOD),
    }
}

/// Workers of the slow workqueue that the lanes of all devices hold.
static HELD: Atomic<i32> = Atomic::new(0);

/// What of a device is on the slow workqueue.
pub(crate) struct SlowLane {
    running: u32,
    waiting: Fifo<Head, Body>,
}

impl SlowLane {
    /// Nothing.
    pub(crate) const fn new() -> Self {
        Self {
            running: 0,
            waiting: Fifo::new(),
        }
    }
}

/// Runs `what` with `task`, a command that changes a device's reservations, on
/// the slow workqueue when it is its turn: one at a time for each device, as
/// they may wait for a file system. `what` begins with [`Turn::of`]. Any
/// context.
pub(crate) fn in_turn(mut task: Task, what: fn(Task)) {
    task.get().next = Some(what);
    let Some(device) = task.shared().nexus.as_ref().map(|n| n.device().clone()) else {
        return work::slow(task, run_next);
    };
    let mine = device.turns(|turns| {
        if turns.taken {
            turns.waiting.push(task);
            return None;
        }
        turns.taken = true;
        Some(task)
    });
    if let Some(task) = mine {
        work::slow(task, run_next);
    }
}

/// Whose turn it is to change the reservations of a device.
pub(crate) struct Turns {
    taken: bool,
    waiting: Fifo<Head, Body>,
    /// Those that [`watch`] is to finish, but for the one whose worker watches them all.
    watched: Fifo<Head, Body>,
    /// There is such a worker.
    watching: bool,
}

impl Turns {
    /// Nobody's.
    pub(crate) const fn new() -> Self {
        Self {
            taken: false,
            waiting: Fifo::new(),
            watched: Fifo::new(),
            watching: false,
        }
    }
}

/// What a command waits for that [`watch`] looks after.
pub(crate) enum Awaited {
    /// The tasks that a PREEMPT AND ABORT has aborted.
    Fencing(KBox<Fencing>),
    /// The end of the transition that a SET TARGET PORT GROUPS has begun.
    Arrival(Arrival),
    /// A moment, in ms, as the initiator had better use another path. It is to be carried out
    /// then as [planned](plan).
    Moment(u64),
}

/// What becomes of a command when that is over.
enum Then {
    Ends(Outcome),
    GoesOn,
}

impl Then {
    fn apply(self, task: Task) {
        match self {
            Then::Ends(outcome) => finish(task, outcome),
            Then::GoesOn => run_next(task),
        }
    }
}

/// Finishes a command, or goes on with it, when what it has [`awaited`](Body::awaited) is over.
/// Any context.
///
/// One worker does that for all of a device, so that many of them, which wait for a disk that
/// hangs, or for as long as transitions take, need no more.
pub(crate) fn watch(task: Task) {
    let Some(device) = task.shared().nexus.as_ref().map(|n| n.device().clone()) else {
        return finish(task, Outcome::GOOD);
    };
    let mine = device.turns(|turns| {
        if core::mem::replace(&mut turns.watching, true) {
            turns.watched.push(task);
            return None;
        }
        Some(task)
    });
    if let Some(task) = mine {
        work::slow(task, watch_all);
    }
}

fn watch_all(mut task: Task) {
    let Some(device) = task.shared().nexus.as_ref().map(|n| n.device().clone()) else {
        return finish(task, Outcome::GOOD);
    };
    loop {
        let mut pause_ms = MAX_LOOK_MS;
        let mut others = device.turns(|t| core::mem::replace(&mut t.watched, Fifo::new()));
        while let Some(mut other) = others.pop() {
            match end_of_wait(&mut other, &mut pause_ms) {
                Some(then) => then.apply(other),
                None => device.turns(|turns| turns.watched.push(other)),
            }
        }
        if let Some(then) = end_of_wait(&mut task, &mut pause_ms) {
            let next = device.turns(|turns| {
                let next = turns.watched.pop();
                turns.watching = next.is_some();
                next
            });
            then.apply(task);
            // As in `with_worker`: not by this work, whose memory may be another task's.
            if let Some(next) = next {
                work::slow(next, watch_all);
            }
            return;
        }
        misc::sleep_ms(pause_ms);
    }
}

/// What becomes of a command if it has nothing more to wait for; else lowers `pause_ms` to the
/// time after which it is to be looked at again.
fn end_of_wait(task: &mut Task, pause_ms: &mut u32) -> Option<Then> {
    let (head, body) = task.both();
    let (over, look_ms) = match body.awaited.as_mut() {
        Some(Awaited::Fencing(fencing)) => (fencing.outcome(head).map(Then::Ends), LOOK_MS),
        Some(Awaited::Arrival(arrival)) => {
            let outcome = arrival.outcome(head);
            (outcome.map(Then::Ends), arrival.left_ms())
        }
        Some(Awaited::Moment(due_ms)) => {
            let left_ms = due_ms.saturating_sub(misc::now_ms());
            let over = left_ms == 0 || is_hopeless(head);
            let left_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
            (over.then_some(Then::GoesOn), left_ms)
        }
        None => (Some(Then::Ends(Outcome::GOOD)), LOOK_MS),
    };
    match over {
        Some(_) => body.awaited = None,
        None => *pause_ms = look_ms.min(*pause_ms).max(1),
    }
    over
}

/// Milliseconds between two looks at tasks that are being aborted.
const LOOK_MS: u32 = 2;

/// Milliseconds between two looks at whether a command that waits has been aborted.
const MAX_LOOK_MS: u32 = 50;

/// It is one's turn to change the reservations of a device; dropping it makes
/// it the next one's.
pub(crate) struct Turn(Arc<Device>);

impl Turn {
    /// The turn of a task that [`in_turn`] has run: to be called once.
    pub(crate) fn of(device: &Arc<Device>) -> Self {
        Self(device.clone())
    }

    /// Takes the turn if nobody has it.
    pub(crate) fn take(device: &Arc<Device>) -> Option<Self> {
        let free = device.turns(|turns| !core::mem::replace(&mut turns.taken, true));
        free.then(|| Self(device.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.0.turns(|turns| {
            let next = turns.waiting.pop();
            turns.taken = next.is_some();
            next
        });
        if let Some(task) = next {
            work::slow(task, run_next);
        }
    }
}

/// Whether a unit still takes a command: its data may have been long in coming, or
/// it may have waited in line.
pub(crate) fn still_there(head: &Head, command: &Command) -> Result<(), Sense> {
    let Some(nexus) = head.nexus.as_ref() else {
        return Ok(());
    };
    if command.needs_medium() && nexus.is_over() {
        head.end_with_session();
        return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
    }
    let protected = || nexus.read_only() || nexus.device().is_write_protected();
    if command.is_write_medium() && protected() {
        return Err(Sense::WRITE_PROTECTED);
    }
    Ok(())
}

/// Whether nobody waits for a task any more: it is aborted, or its session or LUN
/// is gone.
pub(crate) fn is_hopeless(head: &Head) -> bool {
    head.is_aborted() || head.nexus.as_ref().is_some_and(|n| n.is_over())
}

/// Ends those in a device's lines that nobody waits for any more: aborted ones,
/// and those whose session or LUN is gone; now, or, where so many wait that looking for
/// them takes long, with the next tick. Any context but hardirq.
pub(crate) fn end_hopeless(device: &Device) {
    if !device.has_long_lines() {
        end_all_hopeless(device);
    }
}

/// As [`end_hopeless`], and always now.
pub(crate) fn end_all_hopeless(device: &Device) {
    let mut hopeless = Fifo::new();
    let mut seen = 0u32;
    let mut is_one = |head: &Head| {
        let ends = is_hopeless(head);
        seen = seen.saturating_add(u32::from(!ends));
        ends
    };
    device.slow_lane(|lane| sort_out(&mut lane.waiting, &mut is_one, &mut hopeless));
    device.turns(|turns| sort_out(&mut turns.waiting, &mut is_one, &mut hopeless));
    device.take_blocked(&mut is_one, &mut hopeless);
    device.set_long_lines(seen > LOOKED_AT);
    while let Some(task) = hopeless.pop() {
        end_gone(task);
    }
}

/// Commands in a device's lines that are looked at for each function or session that
/// aborts some of them: less than 0.1 us each.
const LOOKED_AT: u32 = 2048;

/// Ends a task that nobody waits for any more. Any context.
pub(crate) fn end_gone(task: Task) {
    task.shared().end_with_session();
    finish(task, Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
}

fn sort_out(
    waiting: &mut Fifo<Head, Body>,
    is_one: &mut dyn FnMut(&Head) -> bool,
    hopeless: &mut Fifo<Head, Body>,
) {
    let mut kept = Fifo::new();
    while let Some(task) = waiting.pop() {
        if is_one(task.shared()) {
            hopeless.push(task);
        } else {
            kept.push(task);
        }
    }
    *waiting = kept;
}

/// Ends `task` with `outcome`: sends its response, by way of its connection.
/// Any context, hardirq included.
pub(crate) fn finish(mut task: Task, outcome: Outcome) {
    leave(&mut task);
    give_place(&mut task);
    let body = task.get();
    body.outcome = outcome;
    body.times.complete();
    let link = task.shared().link.clone();
    link.done(task);
}

/// The first block that a task is about; 0 if it is about none.
pub(crate) fn lba_of(task: &Task) -> u64 {
    match &task.peek().verb {
        Verb::Command(command) => command.first_lba(),
        Verb::Refused(_) => 0,
    }
}

/// What is counted of a task that ends now.
pub(crate) fn end_of(task: &Task) -> End {
    let body = task.peek();
    if task.shared().is_silent() {
        return End::SILENT;
    }
    let command = match &body.verb {
        Verb::Command(command) => Some(command),
        Verb::Refused(_) => None,
    };
    let outcome = &body.outcome;
    End::of(
        command,
        outcome.status,
        outcome.sense.map(|sense| sense.key),
        body.data_in.min(body.edtl as usize),
        body.data.len(),
    )
    .timed(&body.times)
}

/// The device has room for one more command. Any context.
pub(crate) fn give_place(task: &mut Task) {
    let (head, body) = task.both();
    if core::mem::take(&mut body.placed) {
        if let Some(nexus) = head.nexus.as_ref() {
            nexus.device().give_place();
        }
    }
}

/// The task's I/O is not under way any more, for those who wait for blocks of
/// their own. Any context.
fn leave(task: &mut Task) {
    let (head, body) = task.both();
    if let (Some(pass), Some(nexus)) = (body.pass.take(), head.nexus.as_ref()) {
        nexus.device().ranges().leave(pass);
    }
}
