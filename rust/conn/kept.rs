// SPDX-License-Identifier: GPL-2.0

//! What a connection keeps of what it has sent, so that it can be sent again
//! (ErrorRecoveryLevel 1 and above): responses, and the data of reads, until the
//! initiator has acknowledged their status.

use crate::{
    parcel::{
        Data,
        Entry,
        Payload, //
    },
    proto::{
        serial::Sn,
        snack::{
            Retained,
            Run,
            MAX_RETAINED, //
        },
        transfer::ReadPlan,
        wire::{
            Bhs,
            RejectReason,
            SnackRequest,
            SnackType,
            BHS_LEN,
            RESERVED_TAG, //
        }, //
    },
    task::Task, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// Pages of data that are kept of one connection: 16 MiB.
const PAGES: usize = 16 << 8;

/// What is being sent again.
pub(super) enum Again {
    /// Responses.
    Status(Run),
    /// Data-In PDUs of the task that ended with the StatSN `of`: `run` of them, which
    /// are the next ones of `plan`.
    Data {
        of: Sn,
        plan: ReadPlan,
        run: Run,
        /// Its response follows.
        then: bool,
    },
}

/// Why a SNACK is rejected.
pub(super) struct Refusal {
    pub(super) reason: RejectReason,
    /// The next DataSN of the task.
    pub(super) data_sn: u32,
}

impl Refusal {
    pub(super) fn of(reason: RejectReason) -> Self {
        Self { reason, data_sn: 0 }
    }
}

/// All that is kept of a connection.
pub(crate) struct Kept {
    numbers: Retained,
    /// Each in the place of its number.
    entries: KVec<Option<Entry>>,
    pages: usize,
}

impl Kept {
    /// Nothing is kept yet. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<KBox<Self>> {
        let mut entries = KVec::with_capacity(MAX_RETAINED as usize, GFP_KERNEL)?;
        for _ in 0..MAX_RETAINED {
            entries.push(None, GFP_KERNEL)?;
        }
        Ok(KBox::new(
            Self {
                numbers: Retained::new(Sn(0)),
                entries,
                pages: 0,
            },
            GFP_KERNEL,
        )?)
    }

    /// The first number will be `next`.
    pub(crate) fn begin(&mut self, next: Sn) {
        self.numbers = Retained::new(next);
    }

    /// What to keep of a read that has been answered; its memory counts as the
    /// module's, and no longer as the session's.
    pub(super) fn data_of(task: Task, count: u32, segment: u32, max_burst: u32) -> Payload {
        let pages = task.peek().data.len().div_ceil(PAGE_SIZE);
        let charge = task.shared().session.charge_beside(pages);
        match charge {
            Some(charge) => Payload::Data(Data {
                task,
                count,
                segment,
                max_burst,
                _charge: charge,
            }),
            None => Payload::Lost,
        }
    }

    /// Keeps the response that was sent last.
    pub(crate) fn keep(&mut self, entry: Entry) {
        let sn = self.numbers.push();
        self.put_back(sn, entry);
        while self.pages > PAGES {
            // What has been kept longest goes.
            let Some(oldest) = self.numbers.forget() else {
                break;
            };
            let _ = self.take(oldest);
        }
    }

    /// There was no memory to keep the response that was sent last: it cannot be sent again.
    pub(super) fn miss(&mut self) {
        let sn = self.numbers.push();
        let _ = self.take(sn);
    }

    /// The initiator expects `exp_stat_sn` next: what is before it is dropped.
    pub(super) fn acknowledge(&mut self, exp_stat_sn: Sn) {
        let mut freed = self.numbers.acknowledge(exp_stat_sn);
        while let Some(sn) = freed.take() {
            let _ = self.take(Sn(sn));
        }
    }

    /// Takes what is kept under a number, to be [put back](Kept::put_back).
    pub(super) fn take(&mut self, sn: Sn) -> Option<Entry> {
        let entry = self.entries.get_mut(Retained::place(sn))?.take()?;
        self.pages = self.pages.saturating_sub(entry.pages());
        Some(entry)
    }

    /// Puts something in the place of its number.
    pub(super) fn put_back(&mut self, sn: Sn, entry: Entry) {
        let pages = entry.pages();
        // What was there is gone, as the ring is full.
        let _ = self.take(sn);
        if let Some(place) = self.entries.get_mut(Retained::place(sn)) {
            *place = Some(entry);
            self.pages = self.pages.saturating_add(pages);
        }
    }

    /// What a SNACK asks for. The initiator takes data segments of `max_data`
    /// bytes now.
    ///
    /// # Errors
    ///
    /// Why it is to be rejected.
    pub(super) fn find(&mut self, pdu: &SnackRequest, max_data: u32) -> Result<Again, Refusal> {
        match pdu.kind() {
            SnackType::Status => self
                .numbers
                .run(pdu.beg_run(), pdu.run_length())
                .map(Again::Status)
                .map_err(Refusal::of),
            SnackType::DataOrR2t => {
                let (of, data) = self.data(pdu.itt())?;
                let refusal = |reason| Refusal {
                    reason,
                    data_sn: data.count,
                };
                if data.segment > max_data {
                    // RFC 7143 11.16.3: it had to be an R-Data SNACK.
                    return Err(refusal(RejectReason::ProtocolError));
                }
                let run =
                    Run::new(pdu.beg_run(), pdu.run_length(), 0, data.count).map_err(refusal)?;
                Ok(Again::Data {
                    of,
                    plan: data.plan().starting_at(run.first),
                    run,
                    then: false,
                })
            }
            SnackType::RData => {
                let tag = pdu.ttt();
                if pdu.beg_run() != 0 || pdu.run_length() != 0 || tag == 0 || tag == RESERVED_TAG {
                    return Err(Refusal::of(RejectReason::InvalidPduField));
                }
                self.resegment(pdu.itt(), tag, max_data)
            }
            // We never ask for one: no Data-In PDU has the A bit.
            SnackType::DataAck => Err(Refusal::of(RejectReason::InvalidDataAck)),
            SnackType::Reserved(_) => Err(Refusal::of(RejectReason::ProtocolError)),
        }
    }

    /// Takes the response to a command, to be handed on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: then it stays.
    pub(crate) fn take_response(&mut self, itt: u32) -> Result<Option<KBox<Entry>>> {
        let Some(sn) = self.number_of(itt) else {
            return Ok(None);
        };
        let entry = self.entries.get(Retained::place(sn));
        let is_one = |entry: &Entry| Bhs::cast(&entry.header).raw_opcode() == SCSI_RESPONSE;
        if !entry.and_then(Option::as_ref).is_some_and(is_one) {
            return Ok(None);
        }
        let room = KBox::new_uninit(GFP_ATOMIC)?;
        Ok(self.take(sn).map(|entry| KBox::write(room, entry)))
    }

    /// Keeps a response of another connection as the one that was sent last here.
    /// Returns what is to be sent: its data from `exp_data_sn` on, and itself.
    pub(super) fn adopt(
        &mut self,
        sn: Sn,
        mut entry: Entry,
        exp_data_sn: u32,
        max_data: u32,
    ) -> Again {
        put(&mut entry.header, STAT_SN, sn.0);
        put(&mut entry.header, SNACK_TAG, 0);
        let mut again = Again::Status(Run {
            first: sn.0,
            count: 1,
        });
        if let Payload::Data(data) = &mut entry.payload {
            let mut first = exp_data_sn;
            if data.segment != max_data || first > data.count {
                // Other PDUs than those that are counted: all data again.
                first = 0;
                data.segment = max_data;
            }
            let plan = data.plan();
            data.count = plan.pdus();
            put(&mut entry.header, EXP_DATA_SN, data.count);
            again = Again::Data {
                of: sn,
                plan: plan.starting_at(first),
                run: Run {
                    first,
                    count: data.count.saturating_sub(first),
                },
                then: true,
            };
        }
        self.keep(entry);
        again
    }

    /// The number under which the last response to a tag is kept.
    fn number_of(&self, itt: u32) -> Option<Sn> {
        let mut found = None;
        let mut all = self.numbers.all();
        while let Some(sn) = all.take() {
            let entry = self.entries.get(Retained::place(Sn(sn)));
            let entry = entry.and_then(Option::as_ref);
            if entry.is_some_and(|e| Bhs::cast(&e.header).itt() == itt) {
                found = Some(Sn(sn));
            }
        }
        found
    }

    /// The data that was sent for a tag.
    fn data(&self, itt: u32) -> Result<(Sn, &Data), Refusal> {
        // Not sent by us, or acknowledged.
        let protocol = Refusal::of(RejectReason::ProtocolError);
        let Some(sn) = self.number_of(itt) else {
            return Err(protocol);
        };
        let entry = self.entries.get(Retained::place(sn));
        match entry.and_then(Option::as_ref).map(|e| &e.payload) {
            Some(Payload::Data(data)) => Ok((sn, data)),
            Some(Payload::Lost) => Err(Refusal::of(RejectReason::SnackReject)),
            _ => Err(protocol),
        }
    }

    /// All data of a task again, in segments of `max_data` bytes, and then its
    /// response with `tag` (RFC 7143 11.16.3).
    fn resegment(&mut self, itt: u32, tag: u32, max_data: u32) -> Result<Again, Refusal> {
        let (of, _) = self.data(itt)?;
        let place = self.entries.get_mut(Retained::place(of));
        let Some(Entry {
            header,
            payload: Payload::Data(data),
            ..
        }) = place.and_then(Option::as_mut)
        else {
            return Err(Refusal::of(RejectReason::SnackReject));
        };
        data.segment = max_data;
        let plan = data.plan();
        data.count = plan.pdus();
        put(header, SNACK_TAG, tag);
        put(header, EXP_DATA_SN, data.count);
        Ok(Again::Data {
            of,
            plan,
            run: Run {
                first: 0,
                count: data.count,
            },
            then: true,
        })
    }
}

/// Where a SCSI Response has its SNACK Tag, and its ExpDataSN.
const SNACK_TAG: usize = 20;
const EXP_DATA_SN: usize = 36;

/// The opcode of a SCSI Response (RFC 7143 11.2.1.2).
const SCSI_RESPONSE: u8 = 0x21;

/// Where all responses have StatSN.
const STAT_SN: usize = 24;

/// Where all responses have ExpCmdSN, and MaxCmdSN.
const EXP_CMD_SN: usize = 28;
const MAX_CMD_SN: usize = 32;

fn put(header: &mut [u8; BHS_LEN], at: usize, value: u32) {
    let end = at.saturating_add(4);
    if let Some(place) = header.get_mut(at..end) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Sets the numbers that are the present ones also in a PDU that is sent again.
pub(super) fn set_numbers(header: &mut [u8; BHS_LEN], exp_cmd_sn: Sn, max_cmd_sn: Sn) {
    put(header, EXP_CMD_SN, exp_cmd_sn.0);
    put(header, MAX_CMD_SN, max_cmd_sn.0);
}
