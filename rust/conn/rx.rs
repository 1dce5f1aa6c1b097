// SPDX-License-Identifier: GPL-2.0

//! The only place where bytes become PDUs.
//!
//! One machine that may stop at any byte. Data goes from the skb straight to
//! where it is used: the pages of its task, or a buffer of a request that is
//! worked on in process context.

use super::{
    out::{
        Answer,
        Note, //
    },
    tx::MAX_SEGMENT,
    Conn,
    MOVING_AT_ONCE, //
};
use crate::sys::atomic::InPlace;
use crate::{
    exec,
    limits::Charge,
    proto::{
        pace::Pace,
        scsi::{
            command::{
                Command,
                DataDirection, //
            },
            lun,
            sense::Sense,
            status::Status,
            taskset::Kind, //
        },
        serial::Sn,
        snack::Run,
        transfer::{
            DataOutHdr,
            R2tCut,
            WriteParams,
            WritePlan,
            MAX_OUTSTANDING_R2T, //
        },
        wire::{
            ahs::Ahs,
            Bhs,
            DataOut,
            LogoutReason,
            LogoutRequest,
            LogoutResponse,
            LogoutResponseCode,
            NopIn,
            NopOut,
            R2t,
            Reject,
            RejectReason,
            Request,
            Residual,
            Response,
            ScsiCommand,
            ScsiResponse,
            ScsiStatus,
            SnackRequest,
            SnackType,
            TaskAttr,
            TaskMgmtRequest,
            TaskMgmtResponse,
            TmFunction,
            TmResponse,
            BHS_LEN,
            MAX_TOTAL_AHS_LENGTH,
            RESERVED_TAG, //
        }, //
    },
    session::{
        is_same,
        log_end,
        Admission,
        Reassign,
        Session,
        Why, //
    },
    stats::{
        self,
        Stat, //
    },
    sys::{
        misc,
        owned::Owned,
        pages::{
            Gfp,
            PageBuf,
            SkbSlice, //
        },
        socket::{
            Context,
            Owner,
            Reader, //
        }, //
    },
    task::{
        self,
        Head,
        Link,
        Outcome,
        Reassignment,
        Task,
        Verb, //
    },
    tmf::{
        self,
        Verdict,
        Waiter, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        ArcBorrow, //
    }, //
};

/// Bytes taken in one go before others get the CPU.
const BUDGET_BYTES: usize = 1 << 20;

/// What the end of a PDU counts as of these, at least: short ones take their time, too.
const PDU_COST: usize = 512;

/// Answers kept free for what is no R2T.
const R2T_RESERVE: usize = 20;

/// The longest data segment of a Text Request, in bytes.
const MAX_TEXT: u32 = 8192;

/// The longest data segment before the login is over, in bytes (RFC 7143
/// 13.12: the default of MaxRecvDataSegmentLength).
const MAX_LOGIN: u32 = 8192;

/// A request for the control work.
pub(super) struct Inbound {
    /// Its header.
    pub(super) header: [u8; BHS_LEN],
    /// Its data segment.
    pub(super) data: KVec<u8>,
    /// Its data segment is longer than a login takes, and was not read.
    pub(super) too_long: bool,
}

/// Where in a PDU the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Ahs,
    HeadDigest,
    Data,
    Pad,
    DataDigest,
}

/// What the connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Login Requests.
    Login,
    /// All requests.
    Full,
    /// Nothing more.
    Over,
}

/// Where the data of the present PDU goes.
enum Sink {
    Discard,
    /// A request for the control work.
    Bytes(KVec<u8>),
    /// A ping to be echoed.
    Ping(KBox<Echo>),
    /// The data of a task: `keep` bytes of it at `at`.
    Task {
        task: Task,
        at: usize,
        keep: usize,
        place: Option<usize>,
    },
}

/// What a ping brings back.
struct Echo {
    pages: PageBuf,
    charge: Charge,
}

/// A task that waits for data.
#[derive(Default)]
struct Place {
    /// Counts the tasks that were here, so that an old tag is known as such.
    generation: u16,
    task: Option<Task>,
    /// How its data comes.
    pace: Pace,
    /// How often data was asked for again since it came as it should.
    asked: u32,
}

/// The receiving half of a connection.
pub(super) struct Rx {
    /// None while it is used.
    reader: Option<Reader>,
    mode: Mode,
    stage: Stage,
    /// Bytes of the present stage that have come.
    got: usize,
    /// Bytes of the present stage in all.
    want: usize,
    head: [u8; BHS_LEN],
    ahs: KVec<u8>,
    tail: [u8; 4],
    crc: u32,
    sink: Sink,
    header_digest: bool,
    data_digest: bool,
    /// The longest data segment that the initiator may send, in bytes.
    max_data: u32,
    /// The longest that it takes, in bytes.
    max_send: u32,
    collecting: KVec<Place>,
    /// How the immediate data of a command comes.
    pace: Pace,
    /// Some R2T is due that found no room.
    r2t_due: bool,
    /// A request is with the control work.
    busy: bool,
    /// The session may have other connections.
    shared: bool,
    /// ErrorRecoveryLevel.
    level: u32,
}

/// Memory that the full feature phase needs, made ahead of it.
pub(super) struct Room {
    ahs: KVec<u8>,
    collecting: KVec<Place>,
}

impl Room {
    /// Room for so many tasks. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(tasks: usize) -> Result<Self> {
        let mut collecting = KVec::with_capacity(tasks, GFP_KERNEL)?;
        for _ in 0..tasks {
            collecting.push(Place::default(), GFP_KERNEL)?;
        }
        Ok(Self {
            ahs: KVec::with_capacity(MAX_TOTAL_AHS_LENGTH as usize, GFP_KERNEL)?,
            collecting,
        })
    }
}

impl Rx {
    pub(super) fn new(reader: Reader) -> Self {
        Self {
            reader: Some(reader),
            mode: Mode::Login,
            stage: Stage::Head,
            got: 0,
            want: BHS_LEN,
            head: [0; BHS_LEN],
            ahs: KVec::new(),
            tail: [0; 4],
            crc: 0,
            sink: Sink::Discard,
            header_digest: false,
            data_digest: false,
            max_data: MAX_LOGIN,
            max_send: MAX_LOGIN,
            collecting: KVec::new(),
            pace: Pace::default(),
            r2t_due: false,
            busy: false,
            shared: false,
            level: 0,
        }
    }

    /// Takes the memory that the full feature phase needs.
    pub(super) fn prepare(&mut self, room: Room) {
        self.ahs = room.ahs;
        self.collecting = room.collecting;
    }

    /// The full feature phase begins.
    pub(super) fn activate(
        &mut self,
        header_digest: bool,
        data_digest: bool,
        max_data: u32,
        max_send: u32,
        shared: bool,
        level: u32,
    ) {
        self.mode = Mode::Full;
        self.shared = shared;
        self.level = level;
        self.header_digest = header_digest;
        self.data_digest = data_digest;
        self.max_data = max_data;
        self.max_send = max_send.min(MAX_SEGMENT);
    }

    /// The initiator takes longer or shorter data segments from now on.
    pub(super) fn set_max_send(&mut self, max_send: u32) {
        self.max_send = max_send.min(MAX_SEGMENT);
    }

    /// The control work has done with the last request.
    pub(super) fn go_on(&mut self) {
        self.busy = false;
    }

    /// Ends all tasks that wait for data, and takes nothing more.
    pub(super) fn abandon(&mut self) {
        self.mode = Mode::Over;
        if let Sink::Task { task, .. } = core::mem::replace(&mut self.sink, Sink::Discard) {
            retire(task);
        }
        for place in self.collecting.iter_mut() {
            if let Some(task) = place.task.take() {
                retire(task);
            }
        }
    }

    /// The connection is gone; what may be reassigned is kept.
    pub(super) fn suspend(&mut self) {
        self.mode = Mode::Over;
        if let Sink::Task { mut task, .. } = core::mem::replace(&mut self.sink, Sink::Discard) {
            // What has come of the present PDU does not count.
            if !matches!(task.peek().verb, Verb::Refused(_)) {
                spoil(&mut task, &self.head);
            }
            self.park(task);
        }
        self.sweep();
    }

    /// Keeps a task that waits for data, and asks for nothing.
    pub(super) fn park(&mut self, task: Task) {
        match self.collecting.iter_mut().find(|p| p.task.is_none()) {
            Some(place) => place.task = Some(task),
            None => retire(task),
        }
    }

    /// Takes a task that waits for data.
    pub(super) fn take(&mut self, itt: u32) -> Option<Task> {
        let is_meant = |t: &mut Task| t.shared().itt == itt && !t.shared().is_aborted();
        self.collecting
            .iter_mut()
            .find_map(|place| place.task.take_if(is_meant))
    }

    /// Goes on with a task that waited for data on another connection: what is
    /// missing is asked for.
    pub(super) fn adopt(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, mut task: Task) {
        let body = task.get();
        let lost = match body.plan.as_mut() {
            Some(plan) => !plan.is_settled() && !plan.lose(),
            None => false,
        };
        if lost {
            // It is not to be had.
            if !matches!(body.verb, Verb::Refused(_)) {
                body.verb = Verb::Refused(Sense::PROTOCOL_SERVICE_CRC_ERROR.into());
            }
            body.plan = None;
        }
        self.progress(conn, owner, task, None);
    }

    /// Ends the aborted ones of the tasks that wait for data, also the one of which a PDU is
    /// being received: whoever has aborted it is not to wait until this peer sends the rest.
    pub(super) fn sweep(&mut self) {
        if matches!(&self.sink, Sink::Task { task, .. } if task.shared().is_aborted()) {
            let sink = core::mem::replace(&mut self.sink, Sink::Discard);
            if let Sink::Task { task, place, .. } = sink {
                if let Some(place) = place.and_then(|at| self.collecting.get_mut(at)) {
                    place.generation = place.generation.wrapping_add(1);
                }
                aborted(task);
            }
        }
        for place in self.collecting.iter_mut() {
            if let Some(task) = place.task.take_if(|t| t.shared().is_aborted()) {
                place.generation = place.generation.wrapping_add(1);
                aborted(task);
            }
        }
    }

    /// Looks for data that has been due for longer than `once_ms`, or comes too slowly
    /// ([`Pace`]). At ErrorRecoveryLevel 0 nothing can be asked for again: after `times` times
    /// as long the connection is given up, as the task would hold its memory
    /// and its place in the window for as long as the session lives. At higher
    /// levels the data is asked for again in between.
    pub(super) fn look_for_late(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        once_ms: u64,
        times: u32,
    ) {
        let now = misc::now_ms();
        let mut late = false;
        if let Sink::Task { place, .. } = &self.sink {
            // Its PDU is to end, too.
            let pace = match place {
                Some(at) => self.collecting.get_mut(*at).map(|place| &mut place.pace),
                None => Some(&mut self.pace),
            };
            let most = once_ms.saturating_mul(u64::from(times));
            late = pace.is_some_and(|pace| pace.behind_ms(now) > most);
        }
        for at in 0..self.collecting.len() {
            let Some(place) = self.collecting.get_mut(at) else {
                break;
            };
            let Some(task) = place.task.as_mut() else {
                continue;
            };
            if task.peek().plan.as_ref().is_none_or(|p| p.is_settled()) {
                // Nothing is due.
                place.pace = Pace::default();
                continue;
            }
            let behind = place.pace.behind_ms(now);
            if behind == 0 {
                place.asked = 0;
            }
            let tries = place.asked.saturating_add(1);
            let patience = match self.level {
                0 => once_ms.saturating_mul(u64::from(times)),
                _ => once_ms.saturating_mul(u64::from(tries)),
            };
            if behind <= patience {
                continue;
            }
            let lost = tries < times && task.get().plan.as_mut().is_some_and(WritePlan::lose);
            if self.level == 0 || !lost {
                late = true;
                continue;
            }
            // What still comes for the old R2T finds nothing.
            place.generation = place.generation.wrapping_add(1);
            place.asked = tries;
            stats::one(Stat::DataAskedAgain);
            self.ask(conn, owner, at);
        }
        if late && self.mode == Mode::Full {
            self.fail(conn, Why::NoData);
        }
    }

    /// Reads what has arrived.
    pub(super) fn read(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>) {
        if self.r2t_due {
            self.ask_again(conn, owner);
        }
        let Some(mut reader) = self.reader.take() else {
            return;
        };
        let mut budget = BUDGET_BYTES;
        let mut used = 0usize;
        let mut pdus = 0u64;
        let context = Context::here();
        owner.read(&mut reader, &mut |slice: &mut SkbSlice<'_>| {
            let offered = slice.len();
            while !slice.is_empty() && budget > 0 && self.may_go_on(conn, owner) {
                let (before, whole) = (slice.len(), pdus);
                self.step(conn, owner, slice, &mut pdus);
                let taken = before.saturating_sub(slice.len());
                used = used.saturating_add(taken);
                let least = if pdus == whole { 1 } else { PDU_COST };
                budget = budget.saturating_sub(taken.max(least));
            }
            // The submit thread cannot have run yet: it is of this CPU.
            let held = conn.ack.now();
            if context != Context::Task && held != 0 && owner.hold_ack() {
                conn.ack.put(held.saturating_add(1));
            }
            offered.saturating_sub(slice.len())
        });
        self.reader = Some(reader);
        if used != 0 {
            conn.heard.put(1);
            let (bytes, whole) = match context {
                Context::Softirq => (Stat::RxSoftBytes, Stat::RxSoftPdus),
                Context::Batch => (Stat::RxBatchBytes, Stat::RxBatchPdus),
                Context::Task => (Stat::RxTaskBytes, Stat::RxTaskPdus),
            };
            stats::add(bytes, used as u64);
            stats::add(whole, pdus);
        }
        if budget == 0 {
            conn.resume.put(1);
            Arc::<Conn>::from(conn).kick();
        }
    }

    /// Drops what has arrived.
    pub(super) fn drain(&mut self, owner: &Owner<'_>) {
        if let Some(reader) = self.reader.as_mut() {
            owner.read(reader, &mut |slice: &mut SkbSlice<'_>| slice.len());
        }
    }

    /// Whether the next byte may be taken: between PDUs it may have to wait.
    fn may_go_on(&self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>) -> bool {
        if self.mode == Mode::Over || conn.is_closing() {
            return false;
        }
        if self.stage != Stage::Head || self.got != 0 {
            return true;
        }
        if self.busy {
            return false;
        }
        let high = conn.out.open(owner).is_none_or(|mut out| {
            // Those that are posted in answer to PDUs of this round count, too.
            conn.take_posted(&mut out);
            out.is_high()
        });
        if high {
            conn.resume_wanted.put(1);
        }
        // When one of these has moved it is looked at again.
        let waits = high || conn.moving.now() >= MOVING_AT_ONCE;
        if waits {
            stats::one(Stat::RxPaused);
        }
        !waits
    }

    fn fail(&mut self, conn: ArcBorrow<'_, Conn>, why: Why) {
        self.mode = Mode::Over;
        Arc::<Conn>::from(conn).end(why);
    }

    fn enter(&mut self, stage: Stage, want: usize) {
        self.stage = stage;
        self.got = 0;
        self.want = want;
    }

    /// Takes bytes of the present stage.
    fn step(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        slice: &mut SkbSlice<'_>,
        pdus: &mut u64,
    ) {
        let n = self.want.saturating_sub(self.got).min(slice.len());
        let ok = match self.stage {
            Stage::Head => copy_into(&mut self.head, self.got, n, slice),
            Stage::Ahs => {
                let got = self.got;
                copy_into(&mut self.ahs, got, n, slice)
            }
            Stage::HeadDigest | Stage::DataDigest => copy_into(&mut self.tail, self.got, n, slice),
            Stage::Pad => {
                let ok = copy_into(&mut self.tail, self.got, n, slice);
                if ok && self.data_digest {
                    let end = self.got.saturating_add(n);
                    let pad = self.tail.get(self.got..end).unwrap_or(&[]);
                    self.crc = misc::crc32c(self.crc, pad);
                }
                ok
            }
            Stage::Data => self.data(n, slice),
        };
        if !ok {
            return self.fail(conn, Why::Lost);
        }
        slice.advance(n);
        self.got = self.got.saturating_add(n);
        if self.got < self.want {
            return;
        }
        match self.stage {
            Stage::Head => {
                let ahs = Bhs::cast(&self.head).total_ahs_length() as usize;
                if ahs != 0 && self.mode == Mode::Login {
                    // No PDU of a login has one.
                    self.break_login(conn, false);
                } else if ahs != 0 {
                    if self.ahs.capacity() < ahs {
                        return self.fail(conn, Why::Protocol);
                    }
                    self.ahs.clear();
                    let _ = self.ahs.resize(ahs, 0, GFP_ATOMIC);
                    self.enter(Stage::Ahs, ahs);
                } else {
                    self.ahs.clear();
                    self.after_ahs(conn, owner, pdus);
                }
            }
            Stage::Ahs => self.after_ahs(conn, owner, pdus),
            Stage::HeadDigest => {
                let crc = misc::crc32c(!0, &self.head);
                let crc = !misc::crc32c(crc, &self.ahs);
                if self.tail != crc.to_le_bytes() {
                    stats::one(Stat::HeaderDigest);
                    // RFC 7143 7.8: without recovery within a connection a
                    // header digest error ends it.
                    return self.fail(conn, Why::HeaderDigest);
                }
                self.header(conn, owner, pdus);
            }
            Stage::Data => {
                let pad = crate::proto::wire::pad_len(self.data_len()) as usize;
                if pad != 0 {
                    self.enter(Stage::Pad, pad);
                } else {
                    self.after_data(conn, owner, pdus);
                }
            }
            Stage::Pad => self.after_data(conn, owner, pdus),
            Stage::DataDigest => {
                let good = self.tail == (!self.crc).to_le_bytes();
                self.end_pdu(conn, owner, good, pdus);
            }
        }
    }

    fn data_len(&self) -> u32 {
        Bhs::cast(&self.head).data_segment_length()
    }

    fn after_ahs(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, pdus: &mut u64) {
        if self.header_digest {
            self.enter(Stage::HeadDigest, 4);
        } else {
            self.header(conn, owner, pdus);
        }
    }

    fn after_data(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, pdus: &mut u64) {
        if self.data_digest {
            self.enter(Stage::DataDigest, 4);
        } else {
            self.end_pdu(conn, owner, true, pdus);
        }
    }

    /// Takes `n` bytes of a data segment.
    fn data(&mut self, n: usize, slice: &SkbSlice<'_>) -> bool {
        let digest = self.data_digest;
        match &mut self.sink {
            Sink::Discard => {
                if digest {
                    self.crc = slice.crc32c(n, self.crc);
                }
                true
            }
            Sink::Bytes(bytes) => {
                let ok = copy_into(bytes, self.got, n, slice);
                if digest {
                    self.crc = slice.crc32c(n, self.crc);
                }
                ok
            }
            Sink::Ping(echo) => {
                let pages = &mut echo.pages;
                let keep = pages.len().saturating_sub(self.got).min(n);
                if digest {
                    self.crc = slice.crc32c(n, self.crc);
                }
                // What is longer than the echo is dropped.
                keep == 0 || pages.copy_from_skb(slice, self.got, keep, None).is_ok()
            }
            Sink::Task {
                task,
                at,
                keep,
                place,
            } => {
                match place.and_then(|at| self.collecting.get_mut(at)) {
                    Some(place) => place.pace.count(n),
                    None => self.pace.count(n),
                }
                let take = n.min(*keep);
                let body = task.get();
                if take == n {
                    let crc = digest.then_some(&mut self.crc);
                    if body.data.copy_from_skb(slice, *at, take, crc).is_err() {
                        return false;
                    }
                } else {
                    if digest {
                        self.crc = slice.crc32c(n, self.crc);
                    }
                    if take != 0 && body.data.copy_from_skb(slice, *at, take, None).is_err() {
                        return false;
                    }
                }
                *at = at.saturating_add(take);
                *keep = keep.saturating_sub(take);
                true
            }
        }
    }

    /// The header is complete: decides where the data goes.
    fn header(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, pdus: &mut u64) {
        let len = self.data_len();
        if len > self.max_data {
            // RFC 7143 13.12: no PDU may be longer than was declared.
            return match self.mode {
                Mode::Login => self.break_login(conn, true),
                Mode::Full | Mode::Over => self.fail(conn, Why::Protocol),
            };
        }
        self.sink = Sink::Discard;
        let head = self.head;
        let mut command = false;
        match Request::parse(&head) {
            Err(_) if self.mode == Mode::Login => return self.break_login(conn, false),
            Err(error) => self.reject(conn, owner, error.reject_reason()),
            Ok(Request::ScsiCommand(pdu)) if self.mode == Mode::Full => {
                command = true;
                self.request(conn, owner, Request::ScsiCommand(pdu), len);
            }
            Ok(request) => match self.mode {
                Mode::Login => match request {
                    Request::Login(_) if self.pass_to_control(len) => {}
                    // It is tried again.
                    Request::Login(_) => return self.fail(conn, Why::Lost),
                    // RFC 7143 4.2.4: nothing else before the login is over.
                    _ => return self.break_login(conn, false),
                },
                Mode::Full => self.request(conn, owner, request, len),
                Mode::Over => {}
            },
        }
        if self.mode == Mode::Over {
            return;
        }
        if len != 0 {
            self.crc = !0;
            self.enter(Stage::Data, len as usize);
        } else if command {
            // It has been worked on, there is no data to wait for.
            self.next_pdu(pdus);
            Self::go_on_after(conn);
        } else {
            self.end_pdu(conn, owner, true, pdus);
        }
    }

    /// What comes next is the header of a PDU.
    fn next_pdu(&mut self, pdus: &mut u64) {
        *pdus = pdus.saturating_add(1);
        self.enter(Stage::Head, BHS_LEN);
    }

    /// Any request may have been the one that others waited for.
    fn go_on_after(conn: ArcBorrow<'_, Conn>) {
        if let Some(session) = conn.session.as_ref() {
            exec::run_held(session);
        }
    }

    /// What has come ends the login: the control work answers it as RFC 7143
    /// 4.2.4 and 6.3 say, and nothing more is taken.
    fn break_login(&mut self, conn: ArcBorrow<'_, Conn>, too_long: bool) {
        self.mode = Mode::Over;
        self.hand_over(
            conn,
            Inbound {
                header: self.head,
                data: KVec::new(),
                too_long,
            },
        );
    }

    /// Gives a request to the control work.
    fn hand_over(&mut self, conn: ArcBorrow<'_, Conn>, inbound: Inbound) {
        self.busy = true;
        *conn.inbox.lock() = Some(inbound);
        if let Some(queue) = crate::sys::work::control() {
            let conn = Arc::<Conn>::from(conn);
            let _ = queue.enqueue::<Arc<Conn>, { super::CONTROL }>(conn);
        }
    }

    /// The data segment is for the control work. False without memory: as if nothing
    /// had come a login would be refused for good, and discovery find no targets.
    fn pass_to_control(&mut self, len: u32) -> bool {
        let bytes = misc::zeros(len as usize, GFP_ATOMIC | __GFP_NOWARN);
        let there = bytes.is_ok();
        if let Ok(bytes) = bytes {
            self.sink = Sink::Bytes(bytes);
        }
        there
    }

    fn request(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        request: Request<'_>,
        len: u32,
    ) {
        let Some(session) = conn.session.as_ref() else {
            return self.fail(conn, Why::Protocol);
        };
        if self.shared || self.level > 0 {
            conn.acknowledge(session, Bhs::cast(&self.head).exp_stat_sn());
        }
        match request {
            Request::ScsiCommand(_)
            | Request::DataOut(_)
            | Request::TaskMgmt(_)
            | Request::NopOut(_)
                if session.is_discovery() =>
            {
                // RFC 7143 4.3: such a session takes Text and Logout only.
                self.reject(conn, owner, RejectReason::CommandNotSupported);
            }
            Request::ScsiCommand(pdu) => self.scsi_command(conn, owner, session, pdu, len),
            Request::DataOut(pdu) => self.data_out(conn, owner, pdu),
            Request::NopOut(pdu) => {
                if pdu.wants_answer() && len != 0 {
                    let keep = len.min(self.max_send) as usize;
                    let charge = session.charge_beside(keep.div_ceil(PAGE_SIZE));
                    let pages = PageBuf::new(keep, Gfp::Atomic);
                    if let (Some(charge), Ok(pages)) = (charge, pages) {
                        if let Ok(echo) = KBox::new(Echo { pages, charge }, GFP_ATOMIC) {
                            self.sink = Sink::Ping(echo);
                        }
                    }
                }
            }
            Request::Text(_) if len <= MAX_TEXT => {
                if !self.pass_to_control(len) {
                    // RFC 7143 11.17.1: out of resources, it can be sent again.
                    self.reject(conn, owner, RejectReason::LongOperationReject);
                }
            }
            Request::Text(_) => self.reject(conn, owner, RejectReason::ProtocolError),
            // They have no data, and are worked on at the end of the PDU.
            Request::TaskMgmt(_) | Request::Logout(_) => {}
            Request::Login(_) => self.reject(conn, owner, RejectReason::ProtocolError),
            Request::Snack(pdu) if self.level > 0 => self.snack(conn, owner, pdu),
            // RFC 7143 11.16: nothing can be sent again at
            // ErrorRecoveryLevel 0.
            Request::Snack(_) => self.reject(conn, owner, RejectReason::SnackReject),
        }
    }

    /// A PDU is complete.
    fn end_pdu(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        digest_good: bool,
        pdus: &mut u64,
    ) {
        self.next_pdu(pdus);
        let sink = core::mem::replace(&mut self.sink, Sink::Discard);
        if !digest_good {
            stats::one(Stat::DataDigest);
            // RFC 7143 7.8: the data is rejected; a command that it belongs
            // to ends with CHECK CONDITION when no more of it comes.
            self.reject(conn, owner, RejectReason::DataDigestError);
        }
        let head = self.head;
        let request = match Request::parse(&head) {
            Ok(request) => request,
            // Rejected when the header came.
            Err(_) => return,
        };
        self.complete(conn, owner, digest_good, sink, request, head);
        Self::go_on_after(conn);
    }

    /// Works on a complete PDU.
    fn complete(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        digest_good: bool,
        sink: Sink,
        request: Request<'_>,
        head: [u8; BHS_LEN],
    ) {
        match (sink, request) {
            (
                Sink::Task {
                    mut task, place, ..
                },
                _,
            ) => {
                if !digest_good && spoil(&mut task, &head) {
                    stats::one(Stat::DataAskedAgain);
                }
                self.progress(conn, owner, task, place);
            }
            (Sink::Bytes(data), _) if digest_good => {
                self.hand_over(
                    conn,
                    Inbound {
                        header: head,
                        data,
                        too_long: false,
                    },
                );
            }
            (Sink::Ping(echo), Request::NopOut(pdu)) if digest_good => {
                self.ping(conn, owner, pdu, Some(KBox::into_inner(echo)));
            }
            (Sink::Discard, Request::NopOut(pdu)) if digest_good => {
                self.ping(conn, owner, pdu, None);
            }
            (_, Request::TaskMgmt(pdu)) if self.mode == Mode::Full => {
                self.task_mgmt(conn, owner, pdu);
            }
            (_, Request::Logout(pdu)) if self.mode == Mode::Full => {
                self.logout(conn, owner, pdu);
            }
            _ => {}
        }
    }

    // ---- answers -----------------------------------------------------------

    fn note(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, note: Note) {
        let queued = conn
            .out
            .open(owner)
            .is_some_and(|mut out| out.note(note).is_ok());
        if !queued {
            // Reading pauses long before this, so the peer floods us with
            // what needs an answer within one PDU: it cannot.
            self.fail(conn, Why::Protocol);
        }
    }

    /// Rejects the present PDU (RFC 7143 11.17): its header goes back.
    fn reject(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, reason: RejectReason) {
        self.reject_with(conn, owner, reason, 0);
    }

    /// The same, with the next DataSN or R2TSN where a SNACK is rejected.
    fn reject_with(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        reason: RejectReason,
        data_sn: u32,
    ) {
        stats::one(Stat::Rejects);
        if let Some(session) = conn.session.as_ref() {
            if misc::may_log(misc::Topic::Peers) {
                pr_info!(
                    "{}: rejected a PDU of opcode {:#04x}: {:?}\n",
                    session.initiator().as_str(),
                    Bhs::cast(&self.head).raw_opcode(),
                    reason
                );
            }
        }
        let Ok(mut data) = PageBuf::new(BHS_LEN, Gfp::Atomic) else {
            return;
        };
        if data.write_at(0, &self.head).is_err() {
            return;
        }
        let note = Note::new(Answer::Reject(Reject {
            reason,
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
            data_sn,
            data_len: 0,
        }))
        .with_data(data, GFP_ATOMIC);
        if let Ok(note) = note {
            self.note(conn, owner, note);
        }
    }

    fn ping(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        pdu: &NopOut,
        echo: Option<Echo>,
    ) {
        let Some(session) = conn.session.as_ref() else {
            return;
        };
        if !pdu.wants_answer() {
            return;
        }
        if session.is_discovery() {
            // Rejected when the header came.
            return;
        }
        let Some(release) = conn.admit_request(session, pdu.cmd_sn(), pdu.immediate()) else {
            return;
        };
        let answer = || {
            Note::new(Answer::NopIn(NopIn {
                lun: 0,
                itt: pdu.itt(),
                ttt: RESERVED_TAG,
                stat_sn: Sn(0),
                exp_cmd_sn: Sn(0),
                max_cmd_sn: Sn(0),
                data_len: 0,
            }))
        };
        // Without memory for the echo the answer still says that we live.
        let mut note = match echo {
            Some(Echo { pages, charge }) => match answer().with_data(pages, GFP_ATOMIC) {
                Ok(mut note) => {
                    note.charge = Some(charge);
                    note
                }
                Err(_) => answer(),
            },
            None => answer(),
        };
        note.release = release;
        self.note(conn, owner, note);
    }

    fn logout(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, pdu: &LogoutRequest) {
        let Some(session) = conn.session.as_ref() else {
            return;
        };
        let Some(release) = conn.admit_request(session, pdu.cmd_sn(), pdu.immediate()) else {
            return;
        };
        let link: Arc<dyn Link> = Arc::<Conn>::from(conn);
        let own = u32::from(pdu.cid()) == conn.cid.now();
        let response = match pdu.reason() {
            LogoutReason::CloseSession => {
                session.close_others(&link, Why::Logout);
                session.free_reserved(&link, true);
                LogoutResponseCode::Success
            }
            LogoutReason::CloseConnection if own && !self.shared && self.level < 2 => {
                session.free_reserved(&link, false);
                LogoutResponseCode::Success
            }
            LogoutReason::CloseConnection => match session.last_of(pdu.cid()) {
                Some(which) => return self.close_line(conn, session, link, which, pdu, release),
                None => LogoutResponseCode::CidNotFound,
            },
            LogoutReason::RemoveForRecovery if self.level < 2 => {
                LogoutResponseCode::RecoveryNotSupported
            }
            LogoutReason::RemoveForRecovery if own => LogoutResponseCode::Success,
            LogoutReason::RemoveForRecovery => {
                if session.log_out_for_recovery(pdu.cid()) {
                    LogoutResponseCode::Success
                } else {
                    LogoutResponseCode::CidNotFound
                }
            }
            LogoutReason::Reserved(_) => {
                if release {
                    conn.answered(session);
                }
                return self.reject(conn, owner, RejectReason::InvalidPduField);
            }
        };
        let mut note = Note::new(Answer::Logout(LogoutResponse {
            response,
            itt: pdu.itt(),
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
            time2wait: 0,
            time2retain: if self.level == 2 && pdu.reason() == LogoutReason::RemoveForRecovery {
                session.params().default_time2retain as u16
            } else {
                0
            },
        }));
        note.release = release;
        if pdu.reason() == LogoutReason::RemoveForRecovery {
            if response == LogoutResponseCode::Success && own {
                note.then = Some(Why::Recovery);
                self.mode = Mode::Over;
            }
        } else if response == LogoutResponseCode::Success {
            log_end(session, &conn.peer, Why::Logout.text());
            note.then = Some(Why::Logout);
            // RFC 7143 11.14: nothing more is taken on the connection.
            self.mode = Mode::Over;
        }
        self.note(conn, owner, note);
    }

    /// Closes one of several connections: its tasks end, and when none of them
    /// can touch the disk any more the response is sent.
    fn close_line(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        session: &Arc<Session>,
        link: Arc<dyn Link>,
        which: Arc<dyn Link>,
        pdu: &LogoutRequest,
        release: bool,
    ) {
        let own = is_same(&link, &which);
        if own {
            session.free_reserved(&link, false);
        }
        let then = own.then_some(Why::Logout);
        let waiter = Waiter::new(link, pdu.itt(), release, tmf::Answer::Logout, then);
        let Ok(waiter) = waiter else {
            // The initiator gives the connection up.
            return self.fail(conn, Why::Protocol);
        };
        if !conn.watch(waiter.clone()) {
            return self.fail(conn, Why::Protocol);
        }
        log_end(session, &conn.peer, "logged out of one connection");
        // RFC 7143 11.14: nothing more is taken on that connection.
        if own {
            self.mode = Mode::Over;
        } else {
            which.clone().close(Why::Logout);
            which.clone().give_up();
        }
        session.lose(&which);
        session.wait_for(&waiter, &|head| head.line() == which.id());
        if own {
            self.sweep();
            which.sweep();
        }
        Waiter::one_ended(&waiter);
    }

    /// Goes on with requests that had to wait for commands before them.
    pub(super) fn go_on_with_deferred(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>) {
        let Some(session) = conn.session.as_ref() else {
            return;
        };
        let link: Arc<dyn Link> = Arc::<Conn>::from(conn);
        loop {
            if conn.out.open(owner).is_none_or(|out| out.is_high()) {
                // Each may bring an answer. Their turn is when there is room for it.
                conn.deferred.put(1);
                conn.resume_wanted.put(1);
                return;
            }
            let Some(due) = session.take_deferred(&link) else {
                return;
            };
            if let Ok(Request::TaskMgmt(pdu)) = Request::parse(&due.header) {
                if due.in_vain {
                    let rejected = TmResponse::FunctionRejected;
                    self.tell_function(conn, owner, pdu, due.release, rejected, [0; 3]);
                } else {
                    self.run_function(conn, owner, session, pdu, due.release);
                }
            }
        }
    }

    fn task_mgmt(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, pdu: &TaskMgmtRequest) {
        let Some(session) = conn.session.as_ref() else {
            return;
        };
        if session.is_discovery() {
            return;
        }
        let Some(release) = conn.admit_request(session, pdu.cmd_sn(), pdu.immediate()) else {
            return;
        };
        if self.shared && pdu.function().waits_for_commands() {
            let link: Arc<dyn Link> = Arc::<Conn>::from(conn);
            if session.defer(&self.head, pdu.cmd_sn(), release, link) {
                return;
            }
        }
        self.run_function(conn, owner, session, pdu, release);
    }

    fn run_function(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        session: &Arc<Session>,
        pdu: &TaskMgmtRequest,
        release: bool,
    ) {
        let link: Arc<dyn Link> = Arc::<Conn>::from(conn);
        if pdu.function() == TmFunction::TaskReassign && self.level == 2 {
            let response = match session.find_for_reassignment(pdu.referenced_task_tag(), 0) {
                // RFC 7143 11.5.1: it has to be immediate.
                _ if !pdu.immediate() => TmResponse::FunctionRejected,
                Reassign::From(other) => {
                    conn.moving.add(1, Relaxed);
                    return other.hand_over(Reassignment {
                        tag: pdu.referenced_task_tag(),
                        exp_data_sn: pdu.exp_data_sn(),
                        itt: pdu.itt(),
                        to: link,
                    });
                }
                Reassign::StillAllegiant => TmResponse::TaskStillAllegiant,
                Reassign::Unknown => TmResponse::TaskDoesNotExist,
            };
            return self.tell_function(conn, owner, pdu, release, response, [0; 3]);
        }
        if !conn.may_watch() {
            // They wait for a disk that hangs, and may yet be answered.
            let rejected = TmResponse::FunctionRejected;
            return self.tell_function(conn, owner, pdu, release, rejected, [0; 3]);
        }
        let (response, additional) = match tmf::run(session, link, pdu, release) {
            Verdict::Now(response) => (response, [0; 3]),
            Verdict::Told(response, additional) => (response, additional),
            Verdict::Later(waiter) => {
                if !conn.watch(waiter) {
                    return self.fail(conn, Why::Protocol);
                }
                // Those that wait for data on this connection end here.
                self.sweep();
                return;
            }
        };
        self.tell_function(conn, owner, pdu, release, response, additional);
    }

    fn tell_function(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        pdu: &TaskMgmtRequest,
        release: bool,
        response: TmResponse,
        additional: [u8; 3],
    ) {
        let Some(session) = conn.session.as_ref() else {
            return;
        };
        if response != TmResponse::FunctionComplete && misc::may_log(misc::Topic::Peers) {
            pr_info!(
                "{}: task management {:?}: {:?}\n",
                session.initiator().as_str(),
                pdu.function(),
                response
            );
        }
        let mut note = Note::new(Answer::TaskMgmt(TaskMgmtResponse {
            response,
            additional,
            itt: pdu.itt(),
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
        }));
        note.release = release;
        self.note(conn, owner, note);
    }

    // ---- commands ------------------------------------------------------------

    /// Answers a command that cannot even become a task.
    fn busy(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        session: &Session,
        pdu: &ScsiCommand,
    ) {
        stats::one(Stat::Busy);
        let Some(release) = conn.admit_request(session, pdu.cmd_sn(), pdu.immediate()) else {
            return;
        };
        let mut note = Note::new(Answer::Scsi(ScsiResponse {
            status: ScsiStatus::BUSY,
            response: Response::CommandCompleted,
            itt: pdu.itt(),
            snack_tag: 0,
            stat_sn: Sn(0),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0),
            exp_data_sn: 0,
            residual: Residual::new(pdu.edtl(), 0),
            data_len: 0,
        }));
        note.release = release;
        self.note(conn, owner, note);
    }

    fn scsi_command(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        session: &Arc<Session>,
        pdu: &ScsiCommand,
        len: u32,
    ) {
        let writes = pdu.is_write() || len != 0 || !pdu.is_final();
        if writes {
            // What makes it no command at all is found before it is counted as
            // received (RFC 7143 7.3).
            let checked = WritePlan::new(&write_params(session, pdu, 0, len));
            if let Some(error) = checked.err().filter(|e| e.sense().is_none()) {
                let reason = error.reject_reason().unwrap_or(RejectReason::ProtocolError);
                return self.reject(conn, owner, reason);
            }
        }
        let nexus = lun::decode(pdu.lun()).and_then(|n| session.nexus(n));
        let kind = match pdu.attr() {
            TaskAttr::Ordered => Some(Kind::Ordered),
            TaskAttr::HeadOfQueue => Some(Kind::HeadOfQueue),
            TaskAttr::Untagged | TaskAttr::Simple | TaskAttr::Aca => None,
        };
        let head = Head::new(
            pdu.itt(),
            pdu.lun(),
            pdu.cmd_sn(),
            pdu.immediate(),
            session.clone(),
            Arc::<Conn>::from(conn),
            nexus,
            kind,
        );
        let body = task::Body::new(Verb::Refused(Outcome::GOOD), pdu.edtl(), pdu.is_read());
        let Ok(mut task) = Owned::new(head, body, GFP_ATOMIC) else {
            return self.busy(conn, owner, session, pdu);
        };
        match session.admit(&task) {
            Admission::Now => {}
            Admission::Hold => task.get().hold = true,
            Admission::Ignore => return,
            Admission::InProgress => return self.reject(conn, owner, RejectReason::TaskInProgress),
            Admission::Full => {
                return self.reject(conn, owner, RejectReason::ImmediateCommandReject)
            }
        }
        let mut cdb = [0u8; MAX_CDB];
        let cdb_len = self.cdb(pdu, &mut cdb);
        let prepared = match (exec::take_place(&mut task), cdb_len) {
            (Err(outcome), _) => exec::Prepared::refused(outcome),
            // There is never an ACA condition that it could be meant for.
            (Ok(()), _) if pdu.attr() == TaskAttr::Aca => {
                exec::Prepared::refused(Sense::INVALID_MESSAGE_ERROR)
            }
            (Ok(()), Some(n)) => {
                let nexus = task.shared().nexus.as_ref();
                exec::prepare(session, nexus, cdb.get(..n).unwrap_or(&[]))
            }
            // A longer CDB than any command has.
            (Ok(()), None) => exec::Prepared::refused(Sense::INVALID_COMMAND_OPERATION_CODE),
        };
        if matches!(&prepared.verb, Verb::Command(command) if command.may_write()) {
            task.shared().set_writes();
        }
        let body = task.get();
        body.verb = prepared.verb;
        body.asked = prepared.asked;
        body.delay_ms = prepared.delay_ms;
        if !body.hold {
            exec::arrive(&mut task);
        }
        let body = task.get();
        if pdu.is_read() && pdu.is_write() {
            // No command that we have moves data both ways.
            body.verb = Verb::Refused(Sense::INVALID_FIELD_IN_CDB.into());
        }
        if writes {
            self.plan(session, &mut task, pdu, &prepared, len);
        }
        let keep = task
            .peek()
            .plan
            .as_ref()
            .map_or(0, |plan| plan.kept(0, len));
        if len != 0 {
            self.pace = Pace::default();
            self.sink = Sink::Task {
                task,
                at: 0,
                keep: keep as usize,
                place: None,
            };
        } else {
            self.progress(conn, owner, task, None);
        }
    }

    /// The CDB, with what an Additional Header Segment adds; none when it is
    /// longer than any we know.
    fn cdb(&self, pdu: &ScsiCommand, out: &mut [u8; MAX_CDB]) -> Option<usize> {
        let basic = pdu.cdb();
        out.get_mut(..basic.len())?.copy_from_slice(basic);
        let mut len = basic.len();
        if self.ahs.is_empty() {
            return Some(len);
        }
        let spill = match Ahs::parse(&self.ahs) {
            Ok(ahs) => ahs.cdb_spill,
            Err(_) => return None,
        };
        let end = len.checked_add(spill.len())?;
        out.get_mut(len..end)?.copy_from_slice(spill);
        len = end;
        Some(len)
    }

    /// Plans the data of a write, and makes room for it.
    fn plan(
        &mut self,
        session: &Session,
        task: &mut Task,
        pdu: &ScsiCommand,
        prepared: &exec::Prepared,
        len: u32,
    ) {
        let body = task.get();
        let mut wanted = 0;
        if let (Verb::Command(command), DataDirection::Out) = (body.verb, prepared.direction) {
            wanted = u32::try_from(prepared.asked)
                .unwrap_or(u32::MAX)
                .min(pdu.edtl());
            let partial = wanted & prepared.block_mask() != 0;
            let writes = matches!(
                command,
                Command::Write { .. } | Command::WriteAndVerify { .. }
            );
            if writes && partial {
                // Part of a block cannot be written (FCP-4 9.4.4.2 has the
                // rule for such a length; RFC 7143 has none).
                body.verb = Verb::Refused(Sense::WRONG_TRANSFER_LENGTH.into());
            }
        }
        let plan = match WritePlan::new(&write_params(session, pdu, wanted, len)) {
            Ok(plan) => plan,
            Err(error) => {
                let sense = error.sense().unwrap_or(Sense::INTERNAL_TARGET_FAILURE);
                body.verb = Verb::Refused(sense.into());
                WritePlan::refused(pdu.is_final())
            }
        };
        let refused = matches!(body.verb, Verb::Refused(_));
        body.plan = Some(if refused {
            WritePlan::refused(pdu.is_final())
        } else {
            plan
        });
        if !refused && wanted != 0 && !exec::make_room(task, wanted as usize, Gfp::Atomic) {
            stats::one(Stat::Busy);
            let body = task.get();
            body.verb = Verb::Refused(Outcome::status(Status::Busy));
            body.plan = Some(WritePlan::refused(pdu.is_final()));
        }
    }

    fn data_out(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, pdu: &DataOut) {
        let Some((at, slot)) = self.find(pdu) else {
            // Its task has ended, e.g. by an abort that crossed it.
            return;
        };
        let Some(mut task) = self.collecting.get_mut(at).and_then(|p| p.task.take()) else {
            return;
        };
        if task.shared().is_aborted() {
            return aborted(task);
        }
        let body = task.get();
        let hdr = DataOutHdr {
            ttt_index: slot,
            data_sn: pdu.data_sn(),
            offset: pdu.buffer_offset(),
            len: pdu.data_segment_length(),
            final_bit: pdu.is_final(),
        };
        let planned = match body.plan.as_mut() {
            Some(plan) => plan.data_out(hdr),
            None => Ok(0),
        };
        let mut keep = 0;
        match planned {
            Ok(kept) => keep = kept as usize,
            Err(error) => {
                if let Some(sense) = error.sense() {
                    body.verb = Verb::Refused(sense.into());
                }
                if let Some(reason) = error.reject_reason() {
                    self.reject(conn, owner, reason);
                }
            }
        }
        self.sink = Sink::Task {
            task,
            at: pdu.buffer_offset() as usize,
            keep,
            place: Some(at),
        };
    }

    /// The task that a Data-Out belongs to, and which R2T it answers.
    fn find(&self, pdu: &DataOut) -> Option<(usize, Option<u8>)> {
        if pdu.is_solicited() {
            let tag = Tag::read(pdu.ttt());
            let place = self.collecting.get(tag.place)?;
            let task = place.task.as_ref()?;
            let known = place.generation == tag.generation && task.shared().itt == pdu.itt();
            known.then_some((tag.place, Some(tag.slot)))
        } else {
            let at = self
                .collecting
                .iter()
                .position(|p| p.task.as_ref().is_some_and(|t| t.shared().itt == pdu.itt()))?;
            Some((at, None))
        }
    }

    /// Looks whether a task has all its data: then it runs, else it waits and
    /// asks for more.
    fn progress(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        owner: &Owner<'_>,
        task: Task,
        place: Option<usize>,
    ) {
        let ready = match task.peek().plan.as_ref() {
            None => true,
            Some(plan) => plan.is_complete() || (plan.is_stopped() && plan.is_settled()),
        };
        if ready || task.shared().is_aborted() {
            if let Some(place) = place.and_then(|at| self.collecting.get_mut(at)) {
                place.generation = place.generation.wrapping_add(1);
            }
            return deliver(task);
        }
        let free = place.or_else(|| self.free_place());
        match free.and_then(|at| Some((at, self.collecting.get_mut(at)?))) {
            Some((at, slot)) => {
                slot.task = Some(task);
                if place.is_none() {
                    slot.pace = Pace::default();
                    slot.asked = 0;
                }
                self.ask(conn, owner, at);
            }
            // There is a place for every task of the session.
            None => retire(task),
        }
    }

    /// A place that no task has, nor the one of which a PDU is being received.
    fn free_place(&self) -> Option<usize> {
        let taken = match &self.sink {
            Sink::Task { place, .. } => *place,
            _ => None,
        };
        let mut places = self.collecting.iter().enumerate();
        places
            .find(|(at, p)| p.task.is_none() && taken != Some(*at))
            .map(|(at, _)| at)
    }

    /// Sends the R2Ts of a task that are due.
    fn ask(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, at: usize) {
        let Some(mut out) = conn.out.open(owner) else {
            self.r2t_due = true;
            return;
        };
        let Some(place) = self.collecting.get_mut(at) else {
            return;
        };
        let generation = place.generation;
        let Some(task) = place.task.as_mut() else {
            return;
        };
        loop {
            if out.room() < R2T_RESERVE {
                out.grow();
            }
            if out.room() < R2T_RESERVE {
                self.r2t_due = true;
                conn.resume_wanted.put(1);
                return;
            }
            let (head, body) = task.both();
            let Some(cut) = body.plan.as_mut().and_then(WritePlan::next_r2t) else {
                return;
            };
            let note = r2t_note(head, generation, at, &cut);
            // There is room, see above.
            let _ = out.note(note);
        }
    }

    /// Works on a SNACK Request (RFC 7143 11.16): R2Ts are sent again from here,
    /// all else by the sending half, which has kept it.
    fn snack(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>, pdu: &SnackRequest) {
        stats::one(Stat::Snacks);
        let place = match pdu.kind() {
            SnackType::DataOrR2t => self
                .collecting
                .iter()
                .position(|p| p.task.as_ref().is_some_and(|t| t.shared().itt == pdu.itt())),
            _ => None,
        };
        let Some(at) = place else {
            let note = Note::new(Answer::Snack(*Bhs::cast(&self.head).as_array()));
            return self.note(conn, owner, note);
        };
        let Some(place) = self.collecting.get(at) else {
            return;
        };
        let Some((head, plan)) = place
            .task
            .as_ref()
            .and_then(|t| Some((t.shared(), t.peek().plan.as_ref()?)))
        else {
            return;
        };
        let open = plan.open_r2t();
        let next = plan.r2t_sn();
        let oldest = open.map_or(next, |cut| cut.r2t_sn);
        match (
            Run::new(pdu.beg_run(), pdu.run_length(), oldest, next),
            open,
        ) {
            (Err(reason), _) => self.reject_with(conn, owner, reason, next),
            (Ok(_), Some(cut)) => {
                let note = r2t_note(head, place.generation, at, &cut);
                self.note(conn, owner, note);
            }
            // None is outstanding.
            (Ok(_), None) => {}
        }
    }

    /// Sends the R2Ts that found no room before.
    fn ask_again(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>) {
        self.r2t_due = false;
        for at in 0..self.collecting.len() {
            if self.collecting.get(at).is_some_and(|p| p.task.is_some()) {
                self.ask(conn, owner, at);
                if self.r2t_due {
                    return;
                }
            }
        }
    }
}

/// The longest CDB that is kept, in bytes: all we know fit 16.
const MAX_CDB: usize = 32;

/// A Target Transfer Tag: never the reserved one, as there are fewer places.
struct Tag {
    generation: u16,
    place: usize,
    slot: u8,
}

/// Bits of a tag for the slot of the R2T.
const SLOT_BITS: u32 = 5;
const _: () = assert!(MAX_OUTSTANDING_R2T as u32 <= 1 << SLOT_BITS);

impl Tag {
    fn read(ttt: u32) -> Self {
        Self {
            generation: (ttt >> 16) as u16,
            place: ((ttt & 0xffff) >> SLOT_BITS) as usize,
            slot: (ttt & ((1 << SLOT_BITS) - 1)) as u8,
        }
    }

    fn emit(&self) -> u32 {
        u32::from(self.generation) << 16 | (self.place as u32) << SLOT_BITS | u32::from(self.slot)
    }
}

/// An R2T of the task at `place`.
fn r2t_note(head: &Head, generation: u16, place: usize, cut: &R2tCut) -> Note {
    let tag = Tag {
        generation,
        place,
        slot: cut.slot,
    };
    Note::new(Answer::R2t(R2t {
        lun: head.lun,
        itt: head.itt,
        ttt: tag.emit(),
        stat_sn: Sn(0),
        exp_cmd_sn: Sn(0),
        max_cmd_sn: Sn(0),
        r2t_sn: cut.r2t_sn,
        offset: cut.offset,
        desired_len: cut.len,
    }))
}

/// What a plan for the data of a write goes by.
fn write_params(session: &Session, pdu: &ScsiCommand, wanted: u32, len: u32) -> WriteParams {
    let params = session.params();
    WriteParams {
        edtl: pdu.edtl(),
        wanted,
        immediate_len: len,
        final_bit: pdu.is_final(),
        initial_r2t: params.initial_r2t,
        immediate_data: params.immediate_data,
        first_burst: params.first_burst_length,
        max_burst: params.max_burst_length,
        max_outstanding_r2t: params.max_outstanding_r2t,
        recovers: params.error_recovery_level > 0,
    }
}

/// Copies `n` bytes into `to`, from `at` on.
fn copy_into(to: &mut [u8], at: usize, n: usize, slice: &SkbSlice<'_>) -> bool {
    match at.checked_add(n).and_then(|end| to.get_mut(at..end)) {
        Some(to) => slice.copy_to_slice(to).is_ok(),
        None => false,
    }
}

/// The data that a PDU has brought for a task is no good: it is asked for again, or,
/// with false, the task ends with CHECK CONDITION.
fn spoil(task: &mut Task, header: &[u8; BHS_LEN]) -> bool {
    let (offset, last) = match Request::parse(header) {
        Ok(Request::DataOut(pdu)) => (pdu.buffer_offset(), pdu.is_final()),
        _ => (0, Bhs::cast(header).final_bit()),
    };
    let body = task.get();
    let again = body.plan.as_mut().is_some_and(|p| p.discard(offset, last));
    if !again {
        body.verb = Verb::Refused(Sense::PROTOCOL_SERVICE_CRC_ERROR.into());
        if let Some(plan) = body.plan.as_mut() {
            plan.stop();
        }
    }
    again
}

/// Ends a task without a response.
fn retire(mut task: Task) {
    let session = task.shared().session.clone();
    session.retire(&mut task);
}

/// Ends a task that was aborted while it waited for data.
fn aborted(task: Task) {
    if task.shared().is_silent() {
        retire(task);
    } else {
        task::finish(task, Outcome::ABORTED);
    }
}

/// Runs a task whose data is complete, when those before it have come.
fn deliver(task: Task) {
    if !task.peek().hold {
        return exec::run(task);
    }
    let session = task.shared().session.clone();
    if let Some(task) = session.hold(task) {
        exec::run(task);
    }
}
