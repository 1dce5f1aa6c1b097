// SPDX-License-Identifier: GPL-2.0

//! The only place where PDUs become bytes.
//!
//! Whatever waits is put into one list of page pieces and given to TCP in one
//! call. StatSN is assigned here, in the order of sending; a task ends here,
//! when its response is put into the list.

use super::{
    kept::{
        set_numbers,
        Again,
        Kept,
        Refusal, //
    },
    out::{
        Answer,
        Item,
        Note, //
    },
    Conn, //
};
use crate::{
    parcel::{
        Entry,
        Payload, //
    },
    proto::{
        scsi::{
            referrals::SENSE_WITH_REFERRAL_LEN,
            sense::Sense, //
        },
        serial::Sn,
        snack::Run,
        transfer::ReadPlan,
        wire::{
            pad_len,
            DataIn,
            NopIn,
            Reject,
            RejectReason,
            Request,
            Residual,
            Response,
            ScsiResponse,
            ScsiStatus,
            BHS_LEN,
            RESERVED_TAG, //
        }, //
    },
    session::Why,
    stats::{
        self,
        Stat, //
    },
    sys::{
        gather::Gather,
        misc,
        pages::PageBuf,
        socket::{
            Context,
            Owner,
            SendError, //
        }, //
    },
    task::{
        Link,
        Now,
        Outcome,
        Task, //
    },
    tmf, //
};

use crate::sys::atomic::InPlace;
use core::ops::ControlFlow;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::Full,
        Arc,
        ArcBorrow, //
    }, //
};

/// Page pieces of one send.
const PIECES: usize = 128;

/// Bytes of one send, about.
const BATCH_BYTES: usize = 256 << 10;

/// Bytes sent in a row before others get the CPU.
const BUDGET_BYTES: usize = 1 << 20;

/// The longest data segment that is sent, in bytes. The initiator may take
/// longer ones, but any page piece of this one fits one send.
pub(super) const MAX_SEGMENT: u32 = 256 << 10;
const _: () = assert!(MAX_SEGMENT as usize / PAGE_SIZE + FRAME_PIECES < PIECES);

/// Pieces that a PDU takes beside those of its data.
const FRAME_PIECES: usize = 3;

/// Header memory that a PDU takes at most: header, sense data, padding, and
/// both digests.
const FRAME_BYTES: usize = BHS_LEN + 4 + 2 + SENSE_WITH_REFERRAL_LEN + 3 + 4;

/// The sending half of a connection.
pub(super) struct Tx {
    gather: Gather,
    /// The StatSN of the next response.
    stat_sn: Sn,
    header_digest: bool,
    data_digest: bool,
    /// The longest data segment that the initiator takes, in bytes.
    max_data: u32,
    max_burst: u32,
    /// A task of which some Data-In PDUs are still to be sent.
    current: Option<Task>,
    /// How long the Data-In PDUs of that task are at most, in bytes.
    segment: u32,
    /// The connection ends when all that is gathered has been sent.
    then: Option<Why>,
    /// What can be sent again: from ErrorRecoveryLevel 1 on.
    kept: Option<KBox<Kept>>,
    /// What is being sent again.
    again: Option<Again>,
    pdus: u64,
    /// When the present batch was built.
    now: Now,
}

impl Tx {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            gather: Gather::new(PIECES)?,
            stat_sn: Sn(1),
            header_digest: false,
            data_digest: false,
            max_data: 8192,
            max_burst: 262_144,
            current: None,
            segment: 0,
            then: None,
            kept: None,
            again: None,
            pdus: 0,
            now: Now::default(),
        })
    }

    /// What was negotiated holds for all PDUs from now on, save a Login
    /// Response. With `kept` they can be sent again.
    pub(super) fn activate(
        &mut self,
        kept: Option<KBox<Kept>>,
        header_digest: bool,
        data_digest: bool,
        max_data: u32,
        max_burst: u32,
    ) {
        self.kept = kept;
        if let Some(kept) = self.kept.as_mut() {
            kept.begin(self.stat_sn);
        }
        self.header_digest = header_digest;
        self.data_digest = data_digest;
        self.max_data = max_data.min(MAX_SEGMENT);
        self.max_burst = max_burst;
    }

    /// The initiator takes longer or shorter data segments from now on.
    pub(super) fn set_max_data(&mut self, max_data: u32) {
        self.max_data = max_data.min(MAX_SEGMENT);
    }

    /// Drops all, ending the task.
    pub(super) fn abandon(&mut self) {
        self.gather.clear();
        self.again = None;
        // Its tasks know the connection.
        self.kept = None;
        if let Some(mut task) = self.current.take() {
            let session = task.shared().session.clone();
            session.retire(&mut task);
        }
    }

    /// Gives back memory that is not needed while nothing is sent.
    pub(super) fn tidy(&mut self) {
        if self.gather.is_sent() {
            self.gather.clear();
            self.gather.tidy();
        }
    }

    /// The connection is gone; what may be reassigned is kept.
    pub(super) fn suspend(&mut self) {
        self.gather.clear();
        self.again = None;
        self.then = None;
        self.sweep();
    }

    /// Takes the task whose data is being sent.
    pub(super) fn take(&mut self, itt: u32) -> Option<Task> {
        self.current
            .take_if(|t| t.shared().itt == itt && !t.shared().is_aborted())
    }

    /// Takes a response that was sent.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: then it stays.
    pub(super) fn take_response(&mut self, itt: u32) -> Result<Option<KBox<Entry>>> {
        let kept = self.kept.as_mut();
        kept.map_or(Ok(None), |kept| kept.take_response(itt))
    }

    /// Keeps a response that was to be sent here, as if it had been: it can be
    /// reassigned again.
    pub(super) fn keep_again(&mut self, entry: KBox<Entry>) {
        if let Some(kept) = self.kept.as_mut() {
            kept.keep(KBox::into_inner(entry));
        }
    }

    /// Ends the task whose data is being sent, if it has been aborted; one that
    /// has to be told of it ends when there is room.
    pub(super) fn sweep(&mut self) {
        if let Some(task) = self.current.take_if(|t| t.shared().is_silent()) {
            self.retire(task);
        }
        if let Some(task) = self.current.as_ref().filter(|t| t.shared().matters()) {
            task.shared().session.settle(task.shared());
        }
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn flush(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>) {
        if let Some(kept) = self.kept.as_mut() {
            kept.acknowledge(Sn(conn.acknowledged.now()));
        }
        let mut spent = 0usize;
        loop {
            if self.gather.is_sent() {
                self.gather.clear();
                if let Some(why) = self.then {
                    let conn = Arc::<Conn>::from(conn);
                    if let (Why::Reset, Some(session)) = (why, conn.session.as_ref()) {
                        let link: Arc<dyn Link> = conn.clone();
                        session.close_others(&link, why);
                    }
                    conn.end(why);
                    return;
                }
                self.collect(conn, owner);
                self.fill(conn, owner);
                if self.gather.is_sent() {
                    return;
                }
            }
            let before = self.gather.sent();
            let more = self.current.is_some() || self.again.is_some();
            let sent = owner.send(&mut self.gather, more);
            let n = self.gather.sent().saturating_sub(before);
            spent = spent.saturating_add(n);
            let pdus = core::mem::take(&mut self.pdus);
            let (bytes, whole) = match Context::here() {
                Context::Softirq => (Stat::TxSoftBytes, Stat::TxSoftPdus),
                Context::Batch => (Stat::TxBatchBytes, Stat::TxBatchPdus),
                Context::Task => (Stat::TxTaskBytes, Stat::TxTaskPdus),
            };
            stats::add(bytes, n as u64);
            stats::add(whole, pdus);
            match sent {
                Ok(()) if spent > BUDGET_BYTES => {
                    // The rest in another softirq.
                    Arc::<Conn>::from(conn).kick();
                    return;
                }
                Ok(()) => {}
                Err(SendError::Full) => {
                    if owner.tx_idle() {
                        // Nothing is on its way whose acknowledgement would
                        // wake us: memory is short.
                        stats::one(Stat::TxNoMemory);
                        conn.starved.put(1);
                    }
                    return;
                }
                Err(SendError::Broken) => {
                    Arc::<Conn>::from(conn).end(Why::Lost);
                    return;
                }
            }
        }
    }

    /// Moves what other contexts have finished into the queue.
    fn collect(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>) {
        let Some(mut out) = conn.out.open(owner) else {
            return;
        };
        if !conn.done.is_empty() {
            for task in conn.done.take() {
                out.task(task);
            }
        }
        let in_login = conn.full_feature.now() == 0;
        if !in_login && conn.window_moved.now() != 0 && out.room() > 0 {
            conn.window_moved.put(0);
            // RFC 7143 11.4.11: a window that opens without a response to tell
            // it is told by a NOP-In.
            let _ = out.note(Note::new(Answer::NopIn(NopIn {
                lun: 0,
                itt: RESERVED_TAG,
                ttt: RESERVED_TAG,
                stat_sn: Sn(0),
                exp_cmd_sn: Sn(0),
                max_cmd_sn: Sn(0),
                data_len: 0,
            })));
        }
        conn.take_posted(&mut out);
    }

    /// Gathers PDUs for one send.
    fn fill(&mut self, conn: ArcBorrow<'_, Conn>, owner: &Owner<'_>) {
        self.now = Now::default();
        while self.gather.total() < BATCH_BYTES && self.then.is_none() {
            if !self.gather.ready(FRAME_BYTES, FRAME_PIECES) {
                if self.gather.total() == 0 {
                    stats::one(Stat::TxNoMemory);
                    conn.starved.put(1);
                }
                return;
            }
            if let Some(again) = self.again.take() {
                if self.send_again(conn, again).is_break() {
                    return;
                }
                continue;
            }
            if let Some(task) = self.current.take() {
                if self.data_in(conn, task).is_break() {
                    return;
                }
                continue;
            }
            let next = conn.out.open(owner).and_then(|mut out| {
                let item = out.next();
                if !out.is_high() && conn.resume_wanted.xchg(0, Full) != 0 {
                    conn.resume.put(1);
                    Arc::<Conn>::from(conn).kick();
                }
                item
            });
            let left = match next {
                None => return,
                Some(Item::Note(note)) => self.note(conn, note).map(Item::Note),
                Some(Item::Task(task)) => self.task(conn, task).map(Item::Task),
            };
            if let Some(item) = left {
                if let Some(mut out) = conn.out.open(owner) {
                    out.put_back(item);
                }
                return;
            }
        }
    }

    fn next_stat_sn(&mut self, conn: ArcBorrow<'_, Conn>) -> Sn {
        let sn = self.stat_sn;
        self.stat_sn = sn.next();
        conn.stat_sn.put(self.stat_sn.0);
        sn
    }

    /// ExpCmdSN and MaxCmdSN.
    fn numbers(conn: ArcBorrow<'_, Conn>) -> (Sn, Sn) {
        match conn.session.as_ref() {
            Some(session) => session.command_numbers(),
            None => {
                let sn = Sn(conn.login_cmd_sn.now());
                (sn, sn)
            }
        }
    }

    /// Puts a PDU into the list. There is room for its frame; `data` is a
    /// part of pages, for which the caller has seen to room.
    fn frame(
        &mut self,
        header: &[u8; BHS_LEN],
        inline: &[u8],
        data: Option<(&PageBuf, usize, usize)>,
        digests: bool,
    ) {
        self.pdus = self.pdus.wrapping_add(1);
        self.gather.push_header(header);
        if digests && self.header_digest {
            let crc = !misc::crc32c(!0, header);
            self.gather.push_bytes(&crc.to_le_bytes());
        }
        let more = data.map_or(0, |(_, _, len)| len);
        let len = inline.len().saturating_add(more);
        if len == 0 {
            return;
        }
        let digest = digests && self.data_digest;
        let mut crc = !0;
        if !inline.is_empty() {
            self.gather.push_bytes(inline);
            if digest {
                crc = misc::crc32c(crc, inline);
            }
        }
        if let Some((pages, at, len)) = data {
            self.gather.push_pages(pages, at, len);
            if digest {
                crc = pages.crc32c(at, len, crc);
            }
        }
        let zeros = [0u8; 3];
        let pad = zeros.get(..pad_len(len as u32) as usize).unwrap_or(&[]);
        if !pad.is_empty() {
            self.gather.push_bytes(pad);
            if digest {
                crc = misc::crc32c(crc, pad);
            }
        }
        if digest {
            self.gather.push_bytes(&(!crc).to_le_bytes());
        }
    }

    /// Sends an answer; hands it back when there is no room for its data.
    fn note(&mut self, conn: ArcBorrow<'_, Conn>, mut note: Note) -> Option<Note> {
        let len = note.data.as_ref().map_or(0, |d| d.len());
        if let Some(data) = note.data.as_ref() {
            if self.gather.room() < Gather::pieces(data, 0, len).saturating_add(FRAME_PIECES) {
                return Some(note);
            }
        }
        if note.release {
            if let Some(session) = conn.session.as_ref() {
                conn.answered(session);
            }
        }
        let (exp_cmd_sn, max_cmd_sn) = Self::numbers(conn);
        let mut header = [0; BHS_LEN];
        let data_len = len as u32;
        // What carries no status shows the next StatSN without taking it
        // (RFC 7143 11.8.3, 11.19.3).
        macro_rules! stamp {
            ($pdu:expr, $taken:expr) => {{
                let pdu = $pdu;
                pdu.stat_sn = if $taken {
                    self.next_stat_sn(conn)
                } else {
                    self.stat_sn
                };
                pdu.exp_cmd_sn = exp_cmd_sn;
                pdu.max_cmd_sn = max_cmd_sn;
                pdu
            }};
        }
        let mut digests = true;
        let mut taken = true;
        match &mut note.answer {
            Answer::Snack(snack) => {
                let snack = *snack;
                self.snack(conn, &snack);
                return None;
            }
            Answer::Resume(pdu, ..) => stamp!(pdu, true).emit(&mut header),
            Answer::NopIn(pdu) => {
                pdu.data_len = data_len;
                taken = pdu.itt != RESERVED_TAG;
                stamp!(pdu, taken).emit(&mut header);
            }
            Answer::Text(pdu) => {
                pdu.data_len = data_len;
                stamp!(pdu, true).emit(&mut header);
            }
            Answer::Login(pdu) => {
                pdu.data_len = data_len;
                digests = false;
                stamp!(pdu, true).emit(&mut header);
            }
            Answer::Logout(pdu) => stamp!(pdu, true).emit(&mut header),
            Answer::TaskMgmt(pdu) => stamp!(pdu, true).emit(&mut header),
            Answer::Reject(pdu) => {
                pdu.data_len = data_len;
                stamp!(pdu, true).emit(&mut header);
            }
            Answer::Async(pdu) => {
                pdu.data_len = data_len;
                stamp!(pdu, true).emit(&mut header);
            }
            Answer::R2t(pdu) => {
                taken = false;
                stamp!(pdu, taken).emit(&mut header);
            }
            Answer::Scsi(pdu) => {
                pdu.data_len = data_len;
                stamp!(pdu, true).emit(&mut header);
            }
        }
        match note.data.as_ref() {
            Some(data) => self.frame(&header, &[], Some((data, 0, len)), digests),
            None => self.frame(&header, &[], None, digests),
        }
        self.then = note.then;
        if let (Some(kept), true) = (self.kept.as_mut(), taken) {
            kept.keep(Entry {
                header,
                inline: KVec::new(),
                payload: match (note.data, note.charge) {
                    (Some(data), _charge) => Payload::Pages { data, _charge },
                    (None, _) => Payload::None,
                },
            });
        }
        if let Answer::Resume(_, entry, exp_data_sn) = note.answer {
            let stat_sn = self.next_stat_sn(conn);
            let max_data = self.max_data;
            if let Some(kept) = self.kept.as_mut() {
                let entry = KBox::into_inner(entry);
                self.again = Some(kept.adopt(stat_sn, entry, exp_data_sn, max_data));
            }
        }
        None
    }

    /// Sends a finished task: its data, or its response. Hands it back when
    /// there is no room.
    fn task(&mut self, conn: ArcBorrow<'_, Conn>, mut task: Task) -> Option<Task> {
        let (head, body) = task.both();
        if head.is_aborted() {
            self.aborted(conn, task);
            return None;
        }
        let len = if body.read && body.outcome.sense.is_none() {
            body.data_in.min(body.edtl as usize)
        } else {
            0
        };
        if len != 0 {
            body.cut = Some(ReadPlan::new(len as u32, self.max_data, self.max_burst));
            self.segment = self.max_data;
            // No room is no harm: the rest is sent with the next batch.
            let _ = self.data_in(conn, task);
            return None;
        }
        self.response(conn, task);
        None
    }

    /// Ends an aborted task, with TASK ABORTED or without a response. There is
    /// room for a frame.
    fn aborted(&mut self, conn: ArcBorrow<'_, Conn>, mut task: Task) {
        if task.shared().is_silent() {
            return self.retire(task);
        }
        task.get().outcome = Outcome::ABORTED;
        self.response(conn, task);
    }

    fn retire(&mut self, mut task: Task) {
        let session = task.shared().session.clone();
        session.retire(&mut task);
    }

    /// Sends Data-In PDUs of a task, the status with the last one, until there
    /// is no room: then the task stays in `current`.
    fn data_in(&mut self, conn: ArcBorrow<'_, Conn>, mut task: Task) -> ControlFlow<()> {
        // A task is always of a session.
        let Some(session) = conn.session.as_ref() else {
            self.retire(task);
            return ControlFlow::Continue(());
        };
        loop {
            let full =
                self.gather.total() >= BATCH_BYTES || !self.gather.ready(FRAME_BYTES, FRAME_PIECES);
            if task.shared().is_aborted() {
                if full && !task.shared().is_silent() {
                    self.current = Some(task);
                    return ControlFlow::Break(());
                }
                self.aborted(conn, task);
                return ControlFlow::Continue(());
            }
            let (head, body) = task.both();
            let Some(plan) = body.cut.as_mut() else {
                self.response(conn, task);
                return ControlFlow::Continue(());
            };
            let saved = plan.clone();
            let Some(cut) = plan.next() else {
                if full {
                    self.current = Some(task);
                    return ControlFlow::Break(());
                }
                self.response(conn, task);
                return ControlFlow::Continue(());
            };
            let (at, len) = (cut.offset as usize, cut.len as usize);
            let pieces = Gather::pieces(&body.data, at, len);
            if full || self.gather.room() < pieces.saturating_add(FRAME_PIECES) {
                *plan = saved;
                self.current = Some(task);
                return ControlFlow::Break(());
            }
            let status = ScsiStatus(body.outcome.status.code());
            // What may have to be sent again is simpler with a response of its
            // own.
            let alone = self.kept.is_some();
            let with_status = cut.last && status.fits_data_in() && !alone;
            let (itt, lun) = (head.itt, head.lun);
            let residual = Residual::new(body.edtl, body.asked);
            let mut stat_sn = Sn(0);
            if with_status {
                body.times.answer(&mut self.now);
                // Its number is taken before those who wait for its end are
                // told: they may have to wait for its acknowledgement.
                stat_sn = self.next_stat_sn(conn);
                session.retire(&mut task);
            }
            let (exp_cmd_sn, max_cmd_sn) = session.command_numbers();
            let mut header = [0; BHS_LEN];
            DataIn {
                final_bit: cut.end_of_burst || cut.last,
                ack: false,
                status: with_status.then_some((status, residual)),
                lun,
                itt,
                ttt: RESERVED_TAG,
                stat_sn,
                exp_cmd_sn,
                max_cmd_sn,
                data_sn: cut.data_sn,
                offset: cut.offset,
                data_len: cut.len,
            }
            .emit(&mut header);
            let body = task.get();
            self.frame(&header, &[], Some((&body.data, at, len)), true);
            if with_status {
                task.recycle();
                return ControlFlow::Continue(());
            }
        }
    }

    /// Sends the SCSI Response of a task, and ends it.
    fn response(&mut self, conn: ArcBorrow<'_, Conn>, mut task: Task) {
        let session = task.shared().session.clone();
        let stat_sn = self.next_stat_sn(conn);
        task.get().times.answer(&mut self.now);
        session.retire(&mut task);
        let (head, body) = task.both();
        let mut sense = [0u8; 2 + SENSE_WITH_REFERRAL_LEN];
        let mut sense_len = 0;
        if let (Some(found), Some((length, bytes))) =
            (body.outcome.sense, sense.split_first_chunk_mut::<2>())
        {
            let descriptor = head
                .nexus
                .as_ref()
                .is_some_and(|n| n.device().descriptor_sense());
            let mut n = found.emit(descriptor, bytes);
            if let (true, Some(lba), Some(nexus)) = (descriptor, found.info, head.nexus.as_ref()) {
                if found.is(&Sense::INSPECT_REFERRALS) {
                    n = nexus
                        .device()
                        .with_lba_map(|map| map.put_sense(lba, bytes, n));
                }
            }
            let n = n.min(bytes.len());
            // RFC 7143 11.4.7: two bytes of length, then the sense data.
            *length = (n as u16).to_be_bytes();
            sense_len = n.saturating_add(2);
        }
        let good = body.outcome.sense.is_none() && body.outcome.status.code() == 0;
        if !good {
            tmf::unsuccessful(head, body.outcome.status);
        }
        // A command that failed has moved nothing; but that it asked for more
        // than was expected is told all the same.
        let over = body.asked > u64::from(body.edtl);
        let residual = Residual::new(body.edtl, if good || over { body.asked } else { 0 });
        let exp_data_sn = match (&body.plan, &body.cut) {
            (Some(plan), _) => plan.r2t_sn(),
            (None, Some(cut)) => cut.data_sn(),
            (None, None) => 0,
        };
        let (exp_cmd_sn, max_cmd_sn) = Self::numbers(conn);
        let mut header = [0; BHS_LEN];
        ScsiResponse {
            status: ScsiStatus(body.outcome.status.code()),
            response: Response::CommandCompleted,
            itt: head.itt,
            snack_tag: 0,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            exp_data_sn,
            residual,
            data_len: sense_len as u32,
        }
        .emit(&mut header);
        let sense = sense.get(..sense_len).unwrap_or(&[]);
        self.frame(&header, sense, None, true);
        if let Some(kept) = self.kept.as_mut() {
            let mut inline = KVec::new();
            if inline.extend_from_slice(sense, GFP_ATOMIC).is_err() {
                return kept.miss();
            }
            let count = body.cut.as_ref().map(ReadPlan::data_sn);
            let payload = match count {
                None => Payload::None,
                Some(count) => Kept::data_of(task, count, self.segment, self.max_burst),
            };
            kept.keep(Entry {
                header,
                inline,
                payload,
            });
        } else {
            task.recycle();
        }
    }

    // ---- sending again -----------------------------------------------------

    /// Rejects a SNACK.
    fn refuse(&mut self, conn: ArcBorrow<'_, Conn>, snack: &[u8; BHS_LEN], why: Refusal) {
        stats::one(Stat::Rejects);
        let (exp_cmd_sn, max_cmd_sn) = Self::numbers(conn);
        let mut header = [0; BHS_LEN];
        Reject {
            reason: why.reason,
            stat_sn: self.next_stat_sn(conn),
            exp_cmd_sn,
            max_cmd_sn,
            data_sn: why.data_sn,
            data_len: BHS_LEN as u32,
        }
        .emit(&mut header);
        self.frame(&header, snack, None, true);
        if let Some(kept) = self.kept.as_mut() {
            let mut inline = KVec::new();
            if inline.extend_from_slice(snack, GFP_ATOMIC).is_err() {
                return kept.miss();
            }
            kept.keep(Entry {
                header,
                inline,
                payload: Payload::None,
            });
        }
    }

    /// Works on a SNACK Request (RFC 7143 11.16).
    fn snack(&mut self, conn: ArcBorrow<'_, Conn>, header: &[u8; BHS_LEN]) {
        let Ok(Request::Snack(pdu)) = Request::parse(header) else {
            return;
        };
        let Some(kept) = self.kept.as_mut() else {
            return self.refuse(conn, header, Refusal::of(RejectReason::SnackReject));
        };
        match kept.find(pdu, self.max_data) {
            Ok(again) => self.again = Some(again),
            Err(refusal) => self.refuse(conn, header, refusal),
        }
    }

    /// Sends again what was asked for, until there is no room.
    fn send_again(&mut self, conn: ArcBorrow<'_, Conn>, again: Again) -> ControlFlow<()> {
        match again {
            Again::Status(run) => self.status_again(conn, run),
            Again::Data {
                of,
                plan,
                run,
                then,
            } => self.data_again(conn, of, plan, run, then),
        }
    }

    fn status_again(&mut self, conn: ArcBorrow<'_, Conn>, mut run: Run) -> ControlFlow<()> {
        let (exp_cmd_sn, max_cmd_sn) = Self::numbers(conn);
        loop {
            let rest = run;
            let Some(sn) = run.take() else {
                return ControlFlow::Continue(());
            };
            // It may have been acknowledged meanwhile.
            let Some(mut entry) = self.kept.as_mut().and_then(|kept| kept.take(Sn(sn))) else {
                continue;
            };
            let data = match &entry.payload {
                Payload::Pages { data, .. } => Some((&**data, 0, data.len())),
                _ => None,
            };
            let pieces = data.map_or(0, |(data, at, len)| Gather::pieces(data, at, len));
            let room = self.gather.total() < BATCH_BYTES
                && self.gather.ready(FRAME_BYTES, FRAME_PIECES)
                && self.gather.room() >= pieces.saturating_add(FRAME_PIECES);
            if room {
                set_numbers(&mut entry.header, exp_cmd_sn, max_cmd_sn);
                self.frame(&entry.header, &entry.inline, data, true);
                stats::one(Stat::SentAgain);
            }
            if let Some(kept) = self.kept.as_mut() {
                kept.put_back(Sn(sn), entry);
            }
            if !room {
                self.again = Some(Again::Status(rest));
                return ControlFlow::Break(());
            }
        }
    }

    fn data_again(
        &mut self,
        conn: ArcBorrow<'_, Conn>,
        of: Sn,
        mut plan: ReadPlan,
        mut run: Run,
        then: bool,
    ) -> ControlFlow<()> {
        // It may have been acknowledged meanwhile.
        let Some(entry) = self.kept.as_mut().and_then(|kept| kept.take(of)) else {
            return ControlFlow::Continue(());
        };
        let mut broken = false;
        if let Payload::Data(data) = &entry.payload {
            let (head, body) = (data.task.shared(), data.task.peek());
            let (exp_cmd_sn, max_cmd_sn) = Self::numbers(conn);
            while run.count != 0 {
                let saved = plan.clone();
                let Some(cut) = plan.next() else {
                    break;
                };
                let (at, len) = (cut.offset as usize, cut.len as usize);
                let pieces = Gather::pieces(&body.data, at, len);
                if self.gather.total() >= BATCH_BYTES
                    || !self.gather.ready(FRAME_BYTES, FRAME_PIECES)
                    || self.gather.room() < pieces.saturating_add(FRAME_PIECES)
                {
                    plan = saved;
                    broken = true;
                    break;
                }
                let mut header = [0; BHS_LEN];
                DataIn {
                    final_bit: cut.end_of_burst || cut.last,
                    ack: false,
                    status: None,
                    lun: head.lun,
                    itt: head.itt,
                    ttt: RESERVED_TAG,
                    stat_sn: Sn(0),
                    exp_cmd_sn,
                    max_cmd_sn,
                    data_sn: cut.data_sn,
                    offset: cut.offset,
                    data_len: cut.len,
                }
                .emit(&mut header);
                self.frame(&header, &[], Some((&body.data, at, len)), true);
                stats::one(Stat::SentAgain);
                let _ = run.take();
            }
        }
        if let Some(kept) = self.kept.as_mut() {
            kept.put_back(of, entry);
        }
        if broken {
            self.again = Some(Again::Data {
                of,
                plan,
                run,
                then,
            });
            return ControlFlow::Break(());
        }
        if then {
            self.again = Some(Again::Status(Run {
                first: of.0,
                count: 1,
            }));
        }
        ControlFlow::Continue(())
    }
}
