// SPDX-License-Identifier: GPL-2.0

//! Data transfer plans of a SCSI command (RFC 7143 section 4.2.5.2).
//!
//! A [`WritePlan`] says which Data-Out PDUs are legal, which bytes of them
//! belong into the buffer, and what the next R2T asks for. A [`ReadPlan`] cuts
//! the data of a read into Data-In PDUs. Both rely on DataPDUInOrder=Yes and
//! DataSequenceInOrder=Yes, which the target always negotiates, so one offset
//! tells all that has arrived.

use core::fmt;

use crate::proto::{
    scsi::sense::Sense,
    wire::RejectReason, //
};

/// The most R2Ts of one command that are outstanding at a time, whatever
/// MaxOutstandingR2T was negotiated.
pub const MAX_OUTSTANDING_R2T: u8 = 32;

/// The smallest value of every length that is negotiated (RFC 7143 sections
/// 13.12 to 13.14), in bytes.
const MIN_LENGTH: u32 = 512;

/// The largest value of every length that is negotiated, in bytes.
const MAX_LENGTH: u32 = 0x00ff_ffff;

/// What a [`WritePlan`] is made from. Lengths are in bytes.
#[derive(Clone, Copy, Debug)]
pub struct WriteParams {
    /// The Expected Data Transfer Length of the command.
    pub edtl: u32,
    /// How many bytes the command itself has to transfer (RFC 7143 calls it
    /// SPDTL). No R2T asks for more, and what the initiator sends beyond it is
    /// not stored. Where it is not known, use `edtl`.
    pub wanted: u32,
    /// The length of the immediate data.
    pub immediate_len: u32,
    /// The F bit of the command: no unsolicited Data-Out PDU follows.
    pub final_bit: bool,
    /// InitialR2T as negotiated.
    pub initial_r2t: bool,
    /// ImmediateData as negotiated.
    pub immediate_data: bool,
    /// FirstBurstLength as negotiated.
    pub first_burst: u32,
    /// MaxBurstLength as negotiated.
    pub max_burst: u32,
    /// MaxOutstandingR2T as negotiated; above [`MAX_OUTSTANDING_R2T`] it is
    /// that.
    pub max_outstanding_r2t: u32,
    /// Whether data that was lost is asked for again (ErrorRecoveryLevel 1 and
    /// above). Then one R2T is outstanding at a time, so that what is missing
    /// is always all from one offset on.
    pub recovers: bool,
}

/// What a Data-Out PDU says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataOutHdr {
    /// The slot of the R2T that it answers, as its Target Transfer Tag tells;
    /// `None` where it is unsolicited.
    pub ttt_index: Option<u8>,
    /// DataSN.
    pub data_sn: u32,
    /// Buffer Offset in bytes.
    pub offset: u32,
    /// The length of the data in bytes.
    pub len: u32,
    /// The F bit.
    pub final_bit: bool,
}

/// What an R2T asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2tCut {
    /// To be found again in [`DataOutHdr::ttt_index`]: below
    /// [`MAX_OUTSTANDING_R2T`], and no other outstanding R2T has it.
    pub slot: u8,
    /// R2TSN.
    pub r2t_sn: u32,
    /// Buffer Offset in bytes.
    pub offset: u32,
    /// Desired Data Transfer Length in bytes.
    pub len: u32,
}

/// The data of a write, from the command to its last byte.
///
/// # Invariants
///
/// - All bytes before `received`, and none after, have been accepted once;
///   `received` is never above the Expected Data Transfer Length.
/// - `open` has a bit for each slot whose R2T is outstanding. Unless `stopped`,
///   those are the slots from `head` on in ring order, `burst_end` is where
///   the oldest of them ends, and `solicited` is where the youngest ends.
/// - While `unsolicited`, no R2T is outstanding and `burst_end` is where the
///   unsolicited data must end.
#[derive(Clone, Debug)]
pub struct WritePlan {
    limit: u32,
    received: u32,
    solicited: u32,
    burst_end: u32,
    max_burst: u32,
    data_sn: u32,
    r2t_sn: u32,
    /// Where the youngest R2T begins.
    asked_from: u32,
    open: u32,
    head: u8,
    tail: u8,
    slots: u8,
    /// How often data may still be asked for again.
    recoveries: u8,
    unsolicited: bool,
    /// The unsolicited data was given up, and its last PDU has not come.
    overdue: bool,
    stopped: bool,
    /// Something of the present sequence is missing: the rest of it is dropped,
    /// and asked for again when it has ended.
    hole: bool,
    /// The PDU that came last was taken, and not dropped.
    taken: bool,
}

/// How often the data of one command is asked for again.
const MAX_RECOVERIES: u8 = 16;

impl WritePlan {
    /// A plan for a command that writes.
    ///
    /// # Errors
    ///
    /// A [`TransferError`] where the command brings or announces unsolicited
    /// data that was not negotiated. Where it announced Data-Out PDUs they
    /// still come: feed them to [`WritePlan::refused`].
    pub fn new(params: &WriteParams) -> Result<WritePlan, TransferError> {
        let WriteParams {
            edtl,
            immediate_len,
            final_bit,
            ..
        } = *params;
        if immediate_len > edtl {
            return Err(TransferError::ImmediateBeyondEdtl {
                len: immediate_len,
                edtl,
            });
        }
        // RFC 7143 section 13.11: if ImmediateData=No, "the initiator MUST NOT
        // send unsolicited immediate data". Section 4.2.5.2: "It is also an
        // error for an initiator to send more unsolicited data, whether
        // immediate or as separate PDUs, than FirstBurstLength."
        if immediate_len != 0 && !params.immediate_data {
            return Err(TransferError::UnexpectedUnsolicited);
        }
        if immediate_len > params.first_burst {
            return Err(TransferError::IncorrectAmount {
                expected_end: params.first_burst,
                offset: 0,
                len: immediate_len,
            });
        }
        // Section 11.3.4: where all data is immediate, "the F bit MUST be set
        // to 1."
        if !final_bit && immediate_len == edtl {
            return Err(TransferError::FinalBitClear);
        }
        // Section 4.2.5.2: "It is considered an error for an initiator to send
        // unsolicited data PDUs to a target that operates in R2T mode."
        if !final_bit && params.initial_r2t {
            return Err(TransferError::UnexpectedUnsolicited);
        }
        let slots = match params.recovers {
            true => 1,
            false => params.max_outstanding_r2t,
        }
        .clamp(1, u32::from(MAX_OUTSTANDING_R2T));
        Ok(WritePlan {
            limit: params.wanted.min(edtl),
            received: immediate_len,
            solicited: immediate_len,
            burst_end: params.first_burst.min(edtl),
            max_burst: params.max_burst.clamp(MIN_LENGTH, MAX_LENGTH),
            data_sn: 0,
            r2t_sn: 0,
            asked_from: 0,
            open: 0,
            head: 0,
            tail: 0,
            slots: u8::try_from(slots).unwrap_or(MAX_OUTSTANDING_R2T),
            recoveries: if params.recovers { MAX_RECOVERIES } else { 0 },
            unsolicited: !final_bit,
            overdue: false,
            stopped: false,
            hole: false,
            taken: true,
        })
    }

    /// A plan for a command that has failed before its data came. It asks for
    /// nothing and stores nothing, and is settled when the Data-Out PDUs that
    /// the command announced have come; `final_bit` is the command's F bit.
    ///
    /// RFC 7143 section 11.4.2: "the target MUST wait until it receives a data
    /// PDU with the F bit set in the last expected sequence before sending the
    /// Response PDU."
    #[must_use]
    pub fn refused(final_bit: bool) -> WritePlan {
        WritePlan {
            limit: 0,
            received: 0,
            solicited: 0,
            burst_end: 0,
            max_burst: MIN_LENGTH,
            data_sn: 0,
            r2t_sn: 0,
            asked_from: 0,
            open: 0,
            head: 0,
            tail: 0,
            slots: 1,
            recoveries: 0,
            unsolicited: !final_bit,
            overdue: false,
            stopped: true,
            hole: false,
            taken: false,
        }
    }

    /// Takes a Data-Out PDU. Returns how many of its leading bytes belong into
    /// the buffer, at its Buffer Offset; the rest is to be dropped. Unless the
    /// plan is stopped, data before it is missing, or more than `wanted` came,
    /// that is all of them.
    ///
    /// # Errors
    ///
    /// A [`TransferError`] where the PDU breaks a rule; nothing of it may be
    /// stored. Where the error [ends the task](TransferError::sense), the plan
    /// has stopped: send the response when it [is
    /// settled](WritePlan::is_settled).
    #[inline]
    pub fn data_out(&mut self, pdu: DataOutHdr) -> Result<u32, TransferError> {
        self.taken = false;
        if self.overdue && pdu.ttt_index.is_none() {
            // It comes after all, but has been asked for by an R2T.
            self.overdue = !pdu.final_bit;
            return Ok(0);
        }
        let checked = self.check(&pdu);
        match checked {
            Ok(end) if !self.stopped && !self.hole => {
                self.received = end;
                self.taken = true;
                // Fewer than 2^32 in a sequence (section 4.2.2.4), and one too
                // many does no harm.
                self.data_sn = self.data_sn.wrapping_add(1);
            }
            Ok(_) => {}
            Err(TransferError::DataSn { .. } | TransferError::Offset { .. })
                if self.may_recover() =>
            {
                // Section 7.9: a PDU before this one is missing. It is asked
                // for when the initiator has sent the rest.
                self.hole = true;
                self.recoveries = self.recoveries.saturating_sub(1);
                if pdu.final_bit {
                    self.end_sequence(pdu.ttt_index);
                }
                return Ok(0);
            }
            Err(error) => {
                if error.sense().is_none() {
                    return Err(error);
                }
                self.stopped = true;
            }
        }
        let missing = self.hole;
        if pdu.final_bit {
            self.end_sequence(pdu.ttt_index);
        }
        checked?;
        if missing {
            return Ok(0);
        }
        Ok(self.kept(pdu.offset, pdu.len))
    }

    /// Takes back the PDU that came last, as its data is bad: `offset` and
    /// `final_bit` are its own, or 0 and the command's for immediate data. It is
    /// asked for again. False, and nothing changes, where it cannot be: end the
    /// task (section 7.8). Of one that was dropped there is nothing to be taken back.
    pub fn discard(&mut self, offset: u32, final_bit: bool) -> bool {
        if !self.taken {
            return !self.stopped;
        }
        self.taken = false;
        if !self.may_recover() {
            return self.hole && !self.stopped;
        }
        self.recoveries = self.recoveries.saturating_sub(1);
        self.received = self.received.min(offset);
        if final_bit {
            // Its sequence has ended; no other R2T was sent.
            self.solicited = self.received;
        } else {
            self.hole = true;
        }
        true
    }

    /// Gives up waiting for the rest of a sequence: what is missing is asked for
    /// by another R2T, and what still comes for the present one must not reach
    /// this plan; unsolicited data may, and is dropped. False, and nothing changes,
    /// where that cannot be.
    pub fn lose(&mut self) -> bool {
        if self.stopped || self.is_settled() || !(self.hole || self.may_recover()) {
            return false;
        }
        if !self.hole {
            self.recoveries = self.recoveries.saturating_sub(1);
        }
        self.data_sn = 0;
        self.hole = false;
        self.overdue |= self.unsolicited;
        self.unsolicited = false;
        self.open = 0;
        self.head = self.tail;
        self.solicited = self.received;
        true
    }

    /// The R2T that is outstanding, if there is just one as where data is
    /// asked for again, to be sent once more with the same numbers.
    #[must_use]
    pub fn open_r2t(&self) -> Option<R2tCut> {
        if self.open.count_ones() != 1 || self.stopped {
            return None;
        }
        let slot = u8::try_from(self.open.trailing_zeros()).ok()?;
        let len = self.solicited.saturating_sub(self.asked_from);
        Some(R2tCut {
            slot,
            r2t_sn: self.r2t_sn.wrapping_sub(1),
            offset: self.asked_from,
            len,
        })
    }

    #[inline]
    fn may_recover(&self) -> bool {
        self.recoveries != 0 && !self.stopped && !self.hole
    }

    /// How many leading bytes of `len` at `offset` belong into the buffer. For
    /// immediate data the offset is 0.
    #[inline]
    #[must_use]
    pub fn kept(&self, offset: u32, len: u32) -> u32 {
        if self.stopped {
            0
        } else {
            self.limit.saturating_sub(offset).min(len)
        }
    }

    /// What the next R2T asks for, if one is due now. It counts as sent.
    ///
    /// None is due before the last unsolicited PDU has come, while
    /// MaxOutstandingR2T are outstanding, or when all data is asked for.
    #[inline]
    pub fn next_r2t(&mut self) -> Option<R2tCut> {
        let bit = slot_bit(self.tail);
        if self.stopped || self.unsolicited || self.open & bit != 0 {
            return None;
        }
        let offset = self.solicited;
        let len = self.limit.checked_sub(offset)?.min(self.max_burst);
        if len == 0 {
            return None;
        }
        self.solicited = offset.saturating_add(len);
        self.asked_from = offset;
        if self.open == 0 {
            self.burst_end = self.solicited;
        }
        let cut = R2tCut {
            slot: self.tail,
            r2t_sn: self.r2t_sn,
            offset,
            len,
        };
        self.open |= bit;
        self.tail = self.slot_after(self.tail);
        self.r2t_sn = self.r2t_sn.wrapping_add(1);
        Some(cut)
    }

    /// Stops the plan: nothing more is asked for or stored. What was asked for
    /// still comes, so the plan may have to settle yet.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether all data that is wanted has come, and no more is on its way.
    #[inline]
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.stopped && self.is_settled() && self.received >= self.limit
    }

    /// Whether no Data-Out PDU is due: the unsolicited data has ended, and so
    /// has the answer to each R2T.
    #[inline]
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.unsolicited && self.open == 0
    }

    /// Whether the plan has stopped.
    #[inline]
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// How many bytes have been accepted, immediate data included. They are
    /// the first of the transfer, without holes.
    #[inline]
    #[must_use]
    pub fn received(&self) -> u32 {
        self.received
    }

    /// How many R2Ts are outstanding.
    #[inline]
    #[must_use]
    pub fn outstanding_r2ts(&self) -> u32 {
        self.open.count_ones()
    }

    /// How many R2Ts there were: the next R2TSN.
    #[inline]
    #[must_use]
    pub fn r2t_sn(&self) -> u32 {
        self.r2t_sn
    }

    /// Checks a PDU against its sequence; returns where its data ends.
    #[inline]
    fn check(&self, pdu: &DataOutHdr) -> Result<u32, TransferError> {
        match pdu.ttt_index {
            None if self.unsolicited => {}
            None => return Err(TransferError::UnexpectedUnsolicited),
            Some(slot) => {
                if self.open & slot_bit(slot) == 0 {
                    return Err(TransferError::UnknownSlot(slot));
                }
                // RFC 7143 section 11.8: "Within a task, outstanding R2Ts MUST
                // be fulfilled by the initiator in the order in which they were
                // received."
                if slot != self.head && !self.stopped {
                    return Err(TransferError::R2tOrder {
                        expected: self.head,
                        got: slot,
                    });
                }
            }
        }
        if self.stopped || self.hole {
            return Ok(self.received);
        }
        if pdu.data_sn != self.data_sn {
            return Err(TransferError::DataSn {
                expected: self.data_sn,
                got: pdu.data_sn,
            });
        }
        // Section 11.7.6: "PDUs have to be in increasing buffer offset order
        // and overlays are forbidden"; sequences likewise.
        if pdu.offset != self.received {
            return Err(TransferError::Offset {
                expected: self.received,
                got: pdu.offset,
            });
        }
        // Sections 11.4.7.2 and 11.8: as much as the R2T asked for; as much
        // unsolicited data as FirstBurstLength or, if that is less, all.
        let end = pdu.offset.checked_add(pdu.len);
        match end {
            Some(end) if end == self.burst_end => Ok(end),
            Some(end) if end < self.burst_end && !pdu.final_bit => Ok(end),
            _ => Err(TransferError::IncorrectAmount {
                expected_end: self.burst_end,
                offset: pdu.offset,
                len: pdu.len,
            }),
        }
    }

    /// Ends the sequence that a PDU with the F bit belongs to.
    #[inline]
    fn end_sequence(&mut self, ttt_index: Option<u8>) {
        self.data_sn = 0;
        if self.hole {
            self.hole = false;
            self.unsolicited = false;
            self.open = 0;
            self.head = self.tail;
            self.solicited = self.received;
            return;
        }
        match ttt_index {
            None => {
                self.unsolicited = false;
                self.solicited = self.received;
            }
            Some(slot) => {
                self.open &= !slot_bit(slot);
                self.head = self.slot_after(self.head);
                // The next R2T begins where this one ended.
                self.burst_end = self
                    .burst_end
                    .saturating_add(self.max_burst)
                    .min(self.limit);
            }
        }
    }

    #[inline]
    fn slot_after(&self, slot: u8) -> u8 {
        match slot.saturating_add(1) {
            next if next < self.slots => next,
            _ => 0,
        }
    }
}

/// The bit of a slot; none for a slot that cannot be.
#[inline]
fn slot_bit(slot: u8) -> u32 {
    1u32.checked_shl(u32::from(slot)).unwrap_or(0)
}

/// What a command or a Data-Out PDU did wrong. It is always the initiator's
/// fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// Unsolicited data that was not negotiated, or after it had ended.
    UnexpectedUnsolicited,
    /// The immediate data is longer than the Expected Data Transfer Length.
    ImmediateBeyondEdtl {
        /// The length of the immediate data in bytes.
        len: u32,
        /// The Expected Data Transfer Length in bytes.
        edtl: u32,
    },
    /// All data is immediate, but the command's F bit is 0.
    FinalBitClear,
    /// More data than asked for or allowed, or less where the F bit ends it.
    IncorrectAmount {
        /// Where the sequence has to end, in bytes.
        expected_end: u32,
        /// Where the data of the PDU begins, in bytes.
        offset: u32,
        /// The length of its data, in bytes.
        len: u32,
    },
    /// A DataSN that is not the next one.
    DataSn {
        /// The next one.
        expected: u32,
        /// The one that came.
        got: u32,
    },
    /// A Buffer Offset that leaves a hole or lies on what was received.
    Offset {
        /// Where the data had to begin, in bytes.
        expected: u32,
        /// Where it begins, in bytes.
        got: u32,
    },
    /// An answer to a later R2T while an earlier one is outstanding.
    R2tOrder {
        /// The slot of the oldest outstanding R2T.
        expected: u8,
        /// The slot that was answered.
        got: u8,
    },
    /// An answer to an R2T that is not outstanding. The task goes on.
    UnknownSlot(u8),
}

impl TransferError {
    /// The Reject that answers the PDU, if one is due. The task, where it
    /// ends, ends with a SCSI Response all the same (RFC 7143 section 7.3).
    #[must_use]
    pub const fn reject_reason(self) -> Option<RejectReason> {
        match self {
            TransferError::FinalBitClear | TransferError::R2tOrder { .. } => {
                Some(RejectReason::ProtocolError)
            }
            // Section 11.17.1, note 2: "invalid TTT/ITT, buffer offset".
            TransferError::ImmediateBeyondEdtl { .. }
            | TransferError::Offset { .. }
            | TransferError::UnknownSlot(_) => Some(RejectReason::InvalidPduField),
            TransferError::UnexpectedUnsolicited
            | TransferError::IncorrectAmount { .. }
            | TransferError::DataSn { .. } => None,
        }
    }

    /// The sense data with which the task ends, in CHECK CONDITION. `None`
    /// where no task ends: the command never became one, or goes on.
    ///
    /// RFC 7143 section 11.4.7.2 prescribes what there is for unexpected
    /// unsolicited data, an incorrect amount of data, and a CRC error, which
    /// section 7.9 takes a DataSN out of order for. The others are SPC's.
    #[must_use]
    pub const fn sense(self) -> Option<Sense> {
        match self {
            TransferError::UnexpectedUnsolicited => Some(Sense::UNEXPECTED_UNSOLICITED_DATA),
            TransferError::IncorrectAmount { .. } => Some(Sense::INCORRECT_AMOUNT_OF_DATA),
            TransferError::DataSn { .. } => Some(Sense::PROTOCOL_SERVICE_CRC_ERROR),
            TransferError::Offset { .. } => Some(Sense::DATA_OFFSET_ERROR),
            TransferError::R2tOrder { .. } => Some(Sense::DATA_PHASE_ERROR),
            TransferError::ImmediateBeyondEdtl { .. }
            | TransferError::FinalBitClear
            | TransferError::UnknownSlot(_) => None,
        }
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TransferError::UnexpectedUnsolicited => {
                f.write_str("unsolicited data that is not allowed")
            }
            TransferError::ImmediateBeyondEdtl { len, edtl } => write!(
                f,
                "{len} bytes of immediate data for a command that expects only {edtl}"
            ),
            TransferError::FinalBitClear => {
                f.write_str("SCSI Command with all its data and the F bit 0")
            }
            TransferError::IncorrectAmount {
                expected_end,
                offset,
                len,
            } => write!(
                f,
                "{len} bytes at offset {offset} for a sequence that ends at {expected_end}"
            ),
            TransferError::DataSn { expected, got } => {
                write!(f, "DataSN {got}, expected {expected}")
            }
            TransferError::Offset { expected, got } => {
                write!(f, "buffer offset {got}, expected {expected}")
            }
            TransferError::R2tOrder { expected, got } => {
                write!(f, "answer to R2T {got} before R2T {expected}")
            }
            TransferError::UnknownSlot(slot) => {
                write!(f, "answer to R2T {slot}, which is not outstanding")
            }
        }
    }
}

/// One Data-In PDU of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataInCut {
    /// DataSN.
    pub data_sn: u32,
    /// Buffer Offset in bytes.
    pub offset: u32,
    /// The length of the data in bytes.
    pub len: u32,
    /// The last PDU of its sequence: the F bit is due.
    pub end_of_burst: bool,
    /// The last PDU of the whole transfer: status may go with it.
    pub last: bool,
}

/// Cuts the data of a read into Data-In PDUs, in order.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    len: u32,
    offset: u32,
    data_sn: u32,
    max_segment: u32,
    max_burst: u32,
    burst_left: u32,
}

impl ReadPlan {
    /// A plan for `len` bytes. `max_recv_data_segment_length` is what the
    /// initiator declared, `max_burst` is MaxBurstLength as negotiated; both in
    /// bytes and brought into what RFC 7143 allows, 512 to 2^24 - 1.
    #[inline]
    #[must_use]
    pub fn new(len: u32, max_recv_data_segment_length: u32, max_burst: u32) -> ReadPlan {
        let max_burst = max_burst.clamp(MIN_LENGTH, MAX_LENGTH);
        ReadPlan {
            len,
            offset: 0,
            data_sn: 0,
            // RFC 7143 section 11.7.7: data segments "SHOULD be filled to the
            // integer number of 4-byte words (real payload), unless the F bit
            // is set to 1."
            max_segment: max_recv_data_segment_length.clamp(MIN_LENGTH, MAX_LENGTH) & !3,
            max_burst,
            burst_left: max_burst,
        }
    }

    /// How many PDUs were cut: the next DataSN, and at the end the ExpDataSN
    /// of the SCSI Response.
    #[inline]
    #[must_use]
    pub fn data_sn(&self) -> u32 {
        self.data_sn
    }

    /// How many bytes are still to be cut.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.len.saturating_sub(self.offset)
    }

    /// How many PDUs there are in all, whatever has been cut.
    #[must_use]
    pub fn pdus(&self) -> u32 {
        let (bursts, rest) = div_rem(self.len, self.max_burst);
        bursts
            .saturating_mul(self.pdus_of_burst())
            .saturating_add(parts(rest, self.max_segment))
    }

    /// The plan from the PDU with that DataSN on, without a walk to it; none are left
    /// where there are not as many.
    #[must_use]
    pub fn starting_at(self, data_sn: u32) -> ReadPlan {
        let (bursts, rest) = div_rem(data_sn, self.pdus_of_burst());
        let within = rest.saturating_mul(self.max_segment);
        // What is beyond the end of 32 bits is beyond that of the data.
        let offset = bursts
            .saturating_mul(self.max_burst)
            .saturating_add(within)
            .min(self.len);
        ReadPlan {
            offset,
            data_sn: data_sn.min(self.pdus()),
            burst_left: self.max_burst.saturating_sub(within),
            ..self
        }
    }

    fn pdus_of_burst(&self) -> u32 {
        parts(self.max_burst, self.max_segment)
    }
}

/// Quotient and remainder; segments and bursts are never empty.
fn div_rem(n: u32, by: u32) -> (u32, u32) {
    (
        n.checked_div(by).unwrap_or(0),
        n.checked_rem(by).unwrap_or(0),
    )
}

/// How many parts of at most `each` bytes there are.
fn parts(len: u32, each: u32) -> u32 {
    let (whole, rest) = div_rem(len, each);
    whole.saturating_add(u32::from(rest != 0))
}

impl Iterator for ReadPlan {
    type Item = DataInCut;

    #[inline]
    fn next(&mut self) -> Option<DataInCut> {
        let remaining = self.remaining();
        if remaining == 0 {
            return None;
        }
        let len = self.max_segment.min(self.burst_left).min(remaining);
        let last = len == remaining;
        let cut = DataInCut {
            data_sn: self.data_sn,
            offset: self.offset,
            len,
            end_of_burst: last || len == self.burst_left,
            last,
        };
        // At least 512 bytes a PDU or the end of a burst, of at most 2^32
        // bytes: the DataSN does not wrap.
        self.data_sn = self.data_sn.wrapping_add(1);
        self.offset = self.offset.saturating_add(len);
        self.burst_left = match self.burst_left.saturating_sub(len) {
            0 => self.max_burst,
            left => left,
        };
        Some(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The additional sense code and qualifier.
    fn codes(error: TransferError) -> Option<(u8, u8)> {
        error.sense().map(|sense| (sense.asc, sense.ascq))
    }
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    /// 64 KiB of which 16 KiB may come unsolicited, 8 KiB of it immediate, in
    /// bursts of 16 KiB and two at a time.
    const PARAMS: WriteParams = WriteParams {
        edtl: 65536,
        wanted: 65536,
        immediate_len: 8192,
        final_bit: false,
        initial_r2t: false,
        immediate_data: true,
        first_burst: 16384,
        max_burst: 16384,
        max_outstanding_r2t: 2,
        recovers: false,
    };

    fn unsolicited(data_sn: u32, offset: u32, len: u32, final_bit: bool) -> DataOutHdr {
        DataOutHdr {
            ttt_index: None,
            data_sn,
            offset,
            len,
            final_bit,
        }
    }

    fn solicited(slot: u8, data_sn: u32, offset: u32, len: u32, final_bit: bool) -> DataOutHdr {
        DataOutHdr {
            ttt_index: Some(slot),
            ..unsolicited(data_sn, offset, len, final_bit)
        }
    }

    fn cut(slot: u8, r2t_sn: u32, offset: u32, len: u32) -> Option<R2tCut> {
        Some(R2tCut {
            slot,
            r2t_sn,
            offset,
            len,
        })
    }

    #[test]
    fn the_walk_of_a_write() {
        let mut plan = WritePlan::new(&PARAMS).unwrap();
        assert_eq!(plan.kept(0, 8192), 8192);
        // Nothing is asked for before the unsolicited data has ended.
        assert_eq!(plan.next_r2t(), None);
        assert_eq!(plan.data_out(unsolicited(0, 8192, 4096, false)), Ok(4096));
        assert_eq!(plan.next_r2t(), None);
        assert_eq!(plan.data_out(unsolicited(1, 12288, 4096, true)), Ok(4096));
        assert_eq!(plan.received(), 16384);
        // Two at a time.
        assert_eq!(plan.next_r2t(), cut(0, 0, 16384, 16384));
        assert_eq!(plan.next_r2t(), cut(1, 1, 32768, 16384));
        assert_eq!(plan.next_r2t(), None);
        assert_eq!((plan.outstanding_r2ts(), plan.r2t_sn()), (2, 2));
        assert_eq!(
            plan.data_out(solicited(0, 0, 16384, 16384, true)),
            Ok(16384)
        );
        assert_eq!(plan.next_r2t(), cut(0, 2, 49152, 16384));
        assert_eq!(plan.next_r2t(), None);
        assert_eq!(
            plan.data_out(solicited(1, 0, 32768, 16384, true)),
            Ok(16384)
        );
        assert_eq!(plan.data_out(solicited(0, 0, 49152, 8192, false)), Ok(8192));
        assert!(!plan.is_complete() && !plan.is_settled());
        // All bytes, but no F bit yet; an empty PDU may bring it.
        assert_eq!(plan.data_out(solicited(0, 1, 57344, 8192, false)), Ok(8192));
        assert!(!plan.is_complete());
        assert_eq!(plan.data_out(solicited(0, 2, 65536, 0, true)), Ok(0));
        assert!(plan.is_complete() && plan.is_settled() && !plan.is_stopped());
        assert_eq!((plan.received(), plan.outstanding_r2ts()), (65536, 0));
        assert_eq!(plan.next_r2t(), None);
    }

    #[test]
    fn all_data_immediate_is_complete_at_once() {
        for edtl in [0, 1, 512, 16384] {
            let plan = WritePlan::new(&WriteParams {
                edtl,
                wanted: edtl,
                immediate_len: edtl,
                final_bit: true,
                ..PARAMS
            });
            let mut plan = plan.unwrap();
            assert!(plan.is_complete());
            assert_eq!((plan.received(), plan.next_r2t()), (edtl, None));
        }
    }

    #[test]
    fn bursts_end_where_the_data_does() {
        for (edtl, cuts) in [
            (1, vec![1]),
            (16383, vec![16383]),
            (16384, vec![16384]),
            (16385, vec![16384, 1]),
            (32768, vec![16384, 16384]),
            (u32::MAX, vec![16384; 32]),
        ] {
            let params = WriteParams {
                edtl,
                wanted: edtl,
                immediate_len: 0,
                final_bit: true,
                max_outstanding_r2t: u32::MAX,
                ..PARAMS
            };
            let mut plan = WritePlan::new(&params).unwrap();
            let asked: Vec<u32> = core::iter::from_fn(|| plan.next_r2t())
                .map(|cut| cut.len)
                .collect();
            assert_eq!(asked, cuts, "{edtl}");
        }
    }

    #[test]
    fn the_last_byte_of_the_longest_transfer_can_be_asked_for() {
        let params = WriteParams {
            edtl: u32::MAX,
            wanted: u32::MAX,
            immediate_len: 0,
            final_bit: true,
            max_burst: MAX_LENGTH,
            ..PARAMS
        };
        let mut plan = WritePlan::new(&params).unwrap();
        let mut end = 0;
        while let Some(cut) = plan.next_r2t() {
            assert_eq!(cut.offset, end);
            end += cut.len;
            let pdu = solicited(cut.slot, 0, cut.offset, cut.len, true);
            assert_eq!(plan.data_out(pdu), Ok(cut.len));
        }
        assert_eq!(end, u32::MAX);
        assert!(plan.is_complete());
    }

    /// Sections 4.2.5.2, 11.3.4 and 13.11, at the edges of each.
    #[test]
    fn commands_that_announce_too_much_are_refused() {
        let new = |change: fn(&mut WriteParams)| {
            let mut params = PARAMS;
            change(&mut params);
            WritePlan::new(&params).map(|_| ()).inspect_err(|error| {
                assert!(!error.to_string().is_empty());
            })
        };
        let unexpected = Err(TransferError::UnexpectedUnsolicited);
        assert_eq!(new(|_| ()), Ok(()));
        // ImmediateData=No.
        assert_eq!(new(|p| p.immediate_data = false), unexpected);
        assert_eq!(
            new(|p| {
                p.immediate_data = false;
                p.immediate_len = 0;
            }),
            Ok(())
        );
        // InitialR2T=Yes allows immediate data, but no Data-Out.
        assert_eq!(new(|p| p.initial_r2t = true), unexpected);
        assert_eq!(
            new(|p| {
                p.initial_r2t = true;
                p.final_bit = true;
            }),
            Ok(())
        );
        // FirstBurstLength bounds immediate data.
        assert_eq!(new(|p| p.immediate_len = 16384), Ok(()));
        let too_much = TransferError::IncorrectAmount {
            expected_end: 16384,
            offset: 0,
            len: 16385,
        };
        assert_eq!(new(|p| p.immediate_len = 16385), Err(too_much));
        assert_eq!(codes(too_much), Some((0x0c, 0x0d)));
        // So does the Expected Data Transfer Length.
        let beyond = new(|p| p.edtl = 8191);
        assert_eq!(
            beyond,
            Err(TransferError::ImmediateBeyondEdtl {
                len: 8192,
                edtl: 8191
            })
        );
        let error = beyond.unwrap_err();
        assert_eq!(error.reject_reason(), Some(RejectReason::InvalidPduField));
        // All data is there, so F must be 1.
        let not_final = new(|p| p.edtl = 8192);
        assert_eq!(not_final, Err(TransferError::FinalBitClear));
        let error = not_final.unwrap_err();
        assert_eq!(error.reject_reason(), Some(RejectReason::ProtocolError));
        assert_eq!(error.sense(), None);
    }

    #[test]
    fn unsolicited_data_ends_at_first_burst_length_or_at_the_end() {
        for (edtl, end) in [(65536, 16384), (16384, 16384), (10000, 10000)] {
            let params = WriteParams {
                edtl,
                wanted: edtl,
                ..PARAMS
            };
            let fresh = || WritePlan::new(&params).unwrap();
            let rest = end - 8192;
            let amount = |len| {
                Err(TransferError::IncorrectAmount {
                    expected_end: end,
                    offset: 8192,
                    len,
                })
            };
            assert_eq!(fresh().data_out(unsolicited(0, 8192, rest, true)), Ok(rest));
            assert_eq!(
                fresh().data_out(unsolicited(0, 8192, rest, false)),
                Ok(rest)
            );
            // One less is too little only with the F bit.
            assert_eq!(
                fresh().data_out(unsolicited(0, 8192, rest - 1, false)),
                Ok(rest - 1)
            );
            assert_eq!(
                fresh().data_out(unsolicited(0, 8192, rest - 1, true)),
                amount(rest - 1)
            );
            for final_bit in [false, true] {
                let mut plan = fresh();
                assert_eq!(
                    plan.data_out(unsolicited(0, 8192, rest + 1, final_bit)),
                    amount(rest + 1)
                );
                assert!(plan.is_stopped() && !plan.is_complete());
                assert_eq!(plan.received(), 8192);
                assert_eq!(plan.is_settled(), final_bit);
            }
            let error = amount(0).map(|_: u32| ()).unwrap_err();
            assert_eq!(codes(error), Some((0x0c, 0x0d)));
            assert_eq!(error.reject_reason(), None);
        }
    }

    #[test]
    fn an_answer_must_be_what_was_asked_for() {
        let fresh = || {
            let params = WriteParams {
                immediate_len: 0,
                final_bit: true,
                ..PARAMS
            };
            let mut plan = WritePlan::new(&params).unwrap();
            assert_eq!(plan.next_r2t(), cut(0, 0, 0, 16384));
            assert_eq!(plan.next_r2t(), cut(1, 1, 16384, 16384));
            plan
        };
        let amount = |len| TransferError::IncorrectAmount {
            expected_end: 16384,
            offset: 0,
            len,
        };
        let refusals = [
            (
                solicited(0, 0, 0, 16385, false),
                amount(16385),
                Some((0x0c, 0x0d)),
                None,
            ),
            (
                solicited(0, 0, 0, 16385, true),
                amount(16385),
                Some((0x0c, 0x0d)),
                None,
            ),
            (
                solicited(0, 0, 0, 16383, true),
                amount(16383),
                Some((0x0c, 0x0d)),
                None,
            ),
            (
                solicited(0, 0, 0, u32::MAX, true),
                amount(u32::MAX),
                Some((0x0c, 0x0d)),
                None,
            ),
            (
                solicited(0, 1, 0, 16384, true),
                TransferError::DataSn {
                    expected: 0,
                    got: 1,
                },
                Some((0x47, 0x05)),
                None,
            ),
            (
                solicited(0, 0, 1, 16383, true),
                TransferError::Offset {
                    expected: 0,
                    got: 1,
                },
                Some((0x4b, 0x05)),
                Some(RejectReason::InvalidPduField),
            ),
            (
                solicited(0, 0, u32::MAX, 16384, true),
                TransferError::Offset {
                    expected: 0,
                    got: u32::MAX,
                },
                Some((0x4b, 0x05)),
                Some(RejectReason::InvalidPduField),
            ),
            (
                solicited(1, 0, 16384, 16384, true),
                TransferError::R2tOrder {
                    expected: 0,
                    got: 1,
                },
                Some((0x4b, 0x00)),
                Some(RejectReason::ProtocolError),
            ),
            (
                unsolicited(0, 0, 16384, true),
                TransferError::UnexpectedUnsolicited,
                Some((0x0c, 0x0c)),
                None,
            ),
        ];
        for (pdu, error, sense, reject) in refusals {
            let mut plan = fresh();
            assert_eq!(plan.data_out(pdu), Err(error), "{pdu:?}");
            assert_eq!((codes(error), error.reject_reason()), (sense, reject));
            assert!(!error.to_string().is_empty());
            assert!(plan.is_stopped() && !plan.is_complete());
            assert_eq!((plan.received(), plan.next_r2t()), (0, None));
        }
        // Of these the task knows nothing, so it goes on.
        for slot in [2, 31, 32, 255] {
            let mut plan = fresh();
            let error = TransferError::UnknownSlot(slot);
            assert_eq!(
                plan.data_out(solicited(slot, 0, 0, 16384, true)),
                Err(error)
            );
            assert_eq!(error.sense(), None);
            assert_eq!(error.reject_reason(), Some(RejectReason::InvalidPduField));
            assert!(!plan.is_stopped());
            assert_eq!(plan.data_out(solicited(0, 0, 0, 16384, true)), Ok(16384));
            // Answered once, it is not outstanding any more.
            assert_eq!(
                plan.data_out(solicited(0, 0, 0, 16384, true)),
                Err(TransferError::UnknownSlot(0))
            );
        }
    }

    #[test]
    fn a_failed_write_settles_when_all_that_was_asked_for_has_come() {
        let params = WriteParams {
            immediate_len: 0,
            final_bit: true,
            ..PARAMS
        };
        let mut plan = WritePlan::new(&params).unwrap();
        plan.next_r2t().unwrap();
        plan.next_r2t().unwrap();
        // The first answer is wrong, and ends its sequence all the same.
        assert!(plan.data_out(solicited(0, 7, 0, 16384, true)).is_err());
        assert_eq!(plan.outstanding_r2ts(), 1);
        assert!(!plan.is_settled());
        // Whatever comes for the other is taken and dropped.
        assert_eq!(plan.data_out(solicited(1, 9, 77, 1, false)), Ok(0));
        assert!(!plan.is_settled());
        assert_eq!(plan.data_out(solicited(1, 0, 16384, 16384, true)), Ok(0));
        assert!(plan.is_settled() && !plan.is_complete());
        assert_eq!((plan.received(), plan.next_r2t()), (0, None));
    }

    #[test]
    fn a_refused_command_waits_for_the_data_that_it_announced() {
        let mut plan = WritePlan::refused(false);
        assert!(plan.is_stopped() && !plan.is_settled());
        assert_eq!(plan.kept(0, 512), 0);
        assert_eq!(plan.data_out(unsolicited(0, 0, 8192, false)), Ok(0));
        assert_eq!(plan.next_r2t(), None);
        assert_eq!(plan.data_out(unsolicited(1, 8192, 8192, true)), Ok(0));
        assert!(plan.is_settled() && !plan.is_complete());
        assert!(WritePlan::refused(true).is_settled());
        assert_eq!(
            plan.data_out(unsolicited(0, 0, 1, true)),
            Err(TransferError::UnexpectedUnsolicited)
        );
    }

    #[test]
    fn what_the_command_does_not_want_is_not_asked_for_or_kept() {
        // 8192 bytes immediate and 8192 unsolicited, of which 10000 are wanted.
        let params = WriteParams {
            wanted: 10000,
            ..PARAMS
        };
        let mut plan = WritePlan::new(&params).unwrap();
        assert_eq!(plan.data_out(unsolicited(0, 8192, 1024, false)), Ok(1024));
        assert_eq!(plan.data_out(unsolicited(1, 9216, 1024, false)), Ok(784));
        assert_eq!(plan.data_out(unsolicited(2, 10240, 6144, true)), Ok(0));
        assert_eq!(plan.next_r2t(), None);
        assert!(plan.is_complete());
        // R2Ts stop there as well.
        let params = WriteParams {
            wanted: 20000,
            immediate_len: 0,
            final_bit: true,
            ..PARAMS
        };
        let mut plan = WritePlan::new(&params).unwrap();
        assert_eq!(plan.next_r2t(), cut(0, 0, 0, 16384));
        assert_eq!(plan.next_r2t(), cut(1, 1, 16384, 3616));
        assert_eq!(plan.next_r2t(), None);
        assert_eq!(plan.data_out(solicited(0, 0, 0, 16384, true)), Ok(16384));
        assert_eq!(plan.data_out(solicited(1, 0, 16384, 3616, true)), Ok(3616));
        assert!(plan.is_complete());
        // More than the initiator has is not asked for either.
        let params = WriteParams {
            wanted: u32::MAX,
            immediate_len: 0,
            final_bit: true,
            max_burst: MAX_LENGTH,
            ..PARAMS
        };
        let mut plan = WritePlan::new(&params).unwrap();
        assert_eq!(plan.next_r2t(), cut(0, 0, 0, 65536));
    }

    /// What the target and the initiator do in turn.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The target sends an R2T, if one is due.
        R2t,
        /// The initiator sends this many bytes of what it owes, or all.
        Data {
            len: u32,
            /// Puts the F bit on an empty PDU of its own.
            late_final: bool,
        },
        /// A PDU that differs from the one that is due.
        Wrong(DataOutHdr, [bool; 5]),
    }

    fn hdr() -> impl Strategy<Value = DataOutHdr> {
        let number = || {
            prop_oneof![
                0..4u32,
                0..70_000u32,
                any::<u32>(),
                (u32::MAX - 4)..=u32::MAX
            ]
        };
        (
            prop::option::of(0..34u8),
            number(),
            number(),
            number(),
            any::<bool>(),
        )
            .prop_map(|(ttt_index, data_sn, offset, len, final_bit)| DataOutHdr {
                ttt_index,
                data_sn,
                offset,
                len,
                final_bit,
            })
    }

    fn data() -> impl Strategy<Value = Step> {
        (prop_oneof![0..20_000u32, Just(u32::MAX)], any::<bool>())
            .prop_map(|(len, late_final)| Step::Data { len, late_final })
    }

    fn params() -> impl Strategy<Value = WriteParams> {
        let length = || prop_oneof![0..2000u32, 0..70_000u32];
        let burst = || prop_oneof![512..2048u32, 512..70_000u32];
        (
            (length(), length(), any::<bool>(), length()),
            (any::<[bool; 3]>(), burst(), burst(), 0..40u32),
        )
            .prop_map(
                |((edtl, wanted, all, immediate), (bits, first, max, slots))| {
                    let [final_bit, initial_r2t, immediate_data] = bits;
                    WriteParams {
                        edtl,
                        wanted: if all { edtl } else { wanted },
                        immediate_len: immediate,
                        final_bit,
                        initial_r2t,
                        immediate_data,
                        // As negotiated: FirstBurstLength is not above
                        // MaxBurstLength (section 13.14).
                        first_burst: first.min(max),
                        max_burst: max,
                        max_outstanding_r2t: slots,
                        recovers: false,
                    }
                },
            )
    }

    /// The parameters of a command that is legal under the negotiated values.
    fn legal(mut params: WriteParams) -> WriteParams {
        let most = params.first_burst.min(params.edtl);
        params.immediate_len = if params.immediate_data {
            params.immediate_len.min(most)
        } else {
            0
        };
        params.final_bit |= params.initial_r2t || params.immediate_len == params.edtl;
        params
    }

    /// The initiator's side of a write, and each byte that the target keeps.
    struct Model {
        /// Who asked, from where, to where; the first is under way.
        due: VecDeque<(Option<u8>, u32, u32)>,
        data_sn: u32,
        kept: Vec<u8>,
        asked: u32,
        r2ts: u32,
    }

    impl Model {
        fn new(params: &WriteParams) -> Model {
            let mut model = Model {
                due: VecDeque::new(),
                data_sn: 0,
                kept: vec![0; params.edtl as usize],
                asked: params.immediate_len,
                r2ts: 0,
            };
            if !params.final_bit {
                model.asked = params.first_burst.min(params.edtl);
                model
                    .due
                    .push_back((None, params.immediate_len, model.asked));
            }
            model
        }

        fn keep(&mut self, offset: u32, len: u32) {
            for byte in &mut self.kept[offset as usize..][..len as usize] {
                *byte += 1;
            }
        }

        /// The PDU that the initiator would send next.
        fn next(&self, len: u32, late_final: bool) -> Option<DataOutHdr> {
            let &(ttt_index, from, to) = self.due.front()?;
            let len = len.min(to - from);
            Some(DataOutHdr {
                ttt_index,
                data_sn: self.data_sn,
                offset: from,
                len,
                final_bit: from + len == to && !(late_final && len != 0),
            })
        }

        /// Whether the PDU is legal.
        fn allows(&self, pdu: &DataOutHdr) -> bool {
            self.due.front().is_some_and(|&(ttt_index, from, to)| {
                let end = u64::from(pdu.offset) + u64::from(pdu.len);
                pdu.ttt_index == ttt_index
                    && pdu.data_sn == self.data_sn
                    && pdu.offset == from
                    && end <= u64::from(to)
                    && (!pdu.final_bit || end == u64::from(to))
            })
        }

        /// The PDU has been accepted.
        fn sent(&mut self, pdu: &DataOutHdr) {
            let (_, from, _) = self.due.front_mut().unwrap();
            *from += pdu.len;
            self.data_sn += 1;
            if pdu.final_bit {
                self.due.pop_front();
                self.data_sn = 0;
            }
        }

        /// An R2T has come. It must be legal.
        fn r2t(&mut self, cut: &R2tCut, params: &WriteParams) {
            assert!(self.due.iter().all(|due| due.0.is_some()), "too early");
            assert_eq!((cut.offset, cut.r2t_sn), (self.asked, self.r2ts));
            assert!(cut.len != 0 && cut.len <= params.max_burst);
            assert!(u64::from(cut.offset) + u64::from(cut.len) <= u64::from(params.edtl));
            assert!(u64::from(cut.offset) + u64::from(cut.len) <= u64::from(params.wanted));
            assert!(
                self.due.iter().all(|due| due.0 != Some(cut.slot)),
                "slot in use"
            );
            assert!(cut.slot < MAX_OUTSTANDING_R2T);
            self.due
                .push_back((Some(cut.slot), cut.offset, cut.offset + cut.len));
            assert!(self.due.len() <= params.max_outstanding_r2t.clamp(1, 32) as usize);
            self.asked += cut.len;
            self.r2ts += 1;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever a legal initiator does, in whatever rhythm, the write
        /// completes, and each byte is kept exactly once.
        #[test]
        fn any_legal_write_completes_exactly(
            params in params().prop_map(legal),
            steps in prop::collection::vec(prop_oneof![Just(Step::R2t), data()], 0..60),
        ) {
            let mut plan = WritePlan::new(&params).unwrap();
            let mut model = Model::new(&params);
            model.keep(0, plan.kept(0, params.immediate_len));
            // After those steps, both do all that is left.
            let rest = [Step::R2t, Step::Data { len: u32::MAX, late_final: false }];
            for step in steps.into_iter().chain(rest.into_iter().cycle()) {
                prop_assert!(!plan.is_stopped());
                prop_assert_eq!(plan.is_settled(), model.due.is_empty());
                let outstanding = model.due.iter().filter(|due| due.0.is_some()).count();
                prop_assert_eq!(plan.outstanding_r2ts() as usize, outstanding);
                if plan.is_complete() {
                    break;
                }
                match step {
                    Step::R2t => {
                        // One is due unless all was asked for, unsolicited data
                        // is under way, or enough are outstanding.
                        let unsolicited = model.due.front().is_some_and(|due| due.0.is_none());
                        let full = outstanding == params.max_outstanding_r2t.clamp(1, 32) as usize;
                        let due = model.asked < params.edtl.min(params.wanted)
                            && !unsolicited
                            && !full;
                        let cut = plan.next_r2t();
                        prop_assert_eq!(cut.is_some(), due);
                        if let Some(cut) = cut {
                            model.r2t(&cut, &params);
                        }
                    }
                    Step::Data { len, late_final } => {
                        if let Some(pdu) = model.next(len, late_final) {
                            let kept = plan.data_out(pdu);
                            prop_assert!(kept.is_ok(), "{:?}: {:?}", pdu, kept);
                            model.keep(pdu.offset, kept.unwrap());
                            model.sent(&pdu);
                        }
                    }
                    Step::Wrong(..) => unreachable!(),
                }
            }
            prop_assert!(model.due.is_empty());
            let wanted = params.wanted.min(params.edtl) as usize;
            prop_assert!(model.kept[..wanted].iter().all(|&times| times == 1));
            prop_assert!(model.kept[wanted..].iter().all(|&times| times == 0));
            prop_assert_eq!(plan.received(), model.asked);
            prop_assert_eq!(plan.r2t_sn(), model.r2ts);
            prop_assert_eq!(plan.next_r2t(), None);
        }

        /// What is not legal is refused, and not a byte of it is kept; what
        /// ends the task stops the plan, which settles when the F bits came.
        #[test]
        fn anything_illegal_is_refused(
            params in params().prop_map(legal),
            steps in prop::collection::vec(
                prop_oneof![
                    2 => Just(Step::R2t),
                    3 => data(),
                    1 => (hdr(), any::<[bool; 5]>()).prop_map(|(pdu, mix)| Step::Wrong(pdu, mix)),
                ],
                0..60,
            ),
        ) {
            let mut plan = WritePlan::new(&params).unwrap();
            let mut model = Model::new(&params);
            model.keep(0, plan.kept(0, params.immediate_len));
            let mut stopped = false;
            for step in steps {
                let pdu = match step {
                    Step::R2t => {
                        let cut = plan.next_r2t();
                        prop_assert!(cut.is_none() || !stopped);
                        if let Some(cut) = cut {
                            model.r2t(&cut, &params);
                        }
                        continue;
                    }
                    Step::Data { len, late_final } => match model.next(len, late_final) {
                        Some(pdu) => pdu,
                        None => continue,
                    },
                    Step::Wrong(other, mix) => {
                        let mut pdu = model.next(other.len, false).unwrap_or(other);
                        if mix[0] { pdu.ttt_index = other.ttt_index; }
                        if mix[1] { pdu.data_sn = other.data_sn; }
                        if mix[2] { pdu.offset = other.offset; }
                        if mix[3] { pdu.len = other.len; }
                        if mix[4] { pdu.final_bit = !pdu.final_bit; }
                        pdu
                    }
                };
                let before = plan.received();
                let result = plan.data_out(pdu);
                if stopped {
                    prop_assert!(!matches!(result, Ok(kept) if kept != 0));
                    prop_assert_eq!(plan.received(), before);
                    if result.is_ok() && pdu.final_bit {
                        model.due.retain(|due| due.0 != pdu.ttt_index);
                    }
                } else if model.allows(&pdu) {
                    prop_assert!(result.is_ok(), "{:?}: {:?}", pdu, result);
                    model.keep(pdu.offset, result.unwrap());
                    model.sent(&pdu);
                } else {
                    prop_assert!(result.is_err(), "{:?}: {:?}", pdu, result);
                    prop_assert_eq!(plan.received(), before);
                    let error = result.unwrap_err();
                    stopped = error.sense().is_some();
                    if stopped && pdu.final_bit {
                        model.due.retain(|due| due.0 != pdu.ttt_index);
                    }
                }
                prop_assert_eq!(plan.is_stopped(), stopped);
                prop_assert_eq!(plan.is_settled(), model.due.is_empty());
                prop_assert!(!(stopped && plan.is_complete()));
            }
            prop_assert!(model.kept.iter().all(|&times| times <= 1));
        }

        /// Whatever is lost of the Data-Out PDUs, or arrives damaged, and
        /// whichever sequences lose their end, in the end each byte has been
        /// kept, the last time good, and the initiator was asked for no more
        /// than is missing.
        #[test]
        fn any_loss_is_made_good(
            params in params().prop_map(legal),
            segment in 1..9000u32,
            immediate_bad in any::<bool>(),
            luck in prop::collection::vec(0..8u8, 0..200),
        ) {
            let params = WriteParams { recovers: true, ..params };
            let wanted = params.wanted.min(params.edtl);
            let mut plan = WritePlan::new(&params).unwrap();
            let mut good = vec![false; params.edtl as usize];
            let keep = |good: &mut Vec<bool>, at: u32, len: u32, ok: bool| {
                for byte in &mut good[at as usize..][..len as usize] {
                    *byte = ok;
                }
            };
            if params.immediate_len != 0 {
                keep(&mut good, 0, plan.kept(0, params.immediate_len), !immediate_bad);
                if immediate_bad {
                    prop_assert!(plan.discard(0, params.final_bit));
                }
            }
            // At most so many may go wrong, see MAX_RECOVERIES.
            let mut left = 14;
            let mut luck = luck.into_iter().map(move |n| {
                let n = if left == 0 { 7 } else { n };
                left -= i32::from(n < 3);
                n
            }).chain(std::iter::repeat(7));
            let mut sequence = (!params.final_bit).then(|| {
                (None, params.immediate_len, params.first_burst.min(params.edtl))
            });
            for r2ts in 0..400 {
                if let Some((slot, from, to)) = sequence.take() {
                    let (mut at, mut data_sn) = (from, 0);
                    loop {
                        let len = segment.min(to - at);
                        let last = at + len == to;
                        let pdu = DataOutHdr {
                            ttt_index: slot, data_sn, offset: at, len, final_bit: last,
                        };
                        match luck.next().unwrap() {
                            // It never comes; without the last one the target
                            // has to find out by itself.
                            0 | 1 if last => {
                                prop_assert!(plan.lose());
                            }
                            0 | 1 => {}
                            2 => {
                                let kept = plan.data_out(pdu).unwrap();
                                keep(&mut good, at, kept, false);
                                prop_assert!(plan.discard(at, last));
                            }
                            _ => {
                                let kept = plan.data_out(pdu).unwrap();
                                keep(&mut good, at, kept, true);
                            }
                        }
                        at += len;
                        data_sn += 1;
                        if last { break; }
                    }
                }
                prop_assert!(!plan.is_stopped());
                if plan.is_complete() {
                    break;
                }
                let cut = plan.next_r2t();
                prop_assert!(cut.is_some(), "{:?}", plan);
                let cut = cut.unwrap();
                prop_assert_eq!(plan.open_r2t(), Some(cut));
                prop_assert_eq!(plan.next_r2t(), None);
                prop_assert_eq!(cut.r2t_sn, r2ts);
                prop_assert_eq!(cut.offset, plan.received());
                prop_assert!(cut.len != 0 && cut.offset + cut.len <= wanted);
                sequence = Some((Some(cut.slot), cut.offset, cut.offset + cut.len));
            }
            prop_assert!(plan.is_complete());
            prop_assert!(good[..wanted as usize].iter().all(|good| *good));
        }

        /// A command is refused exactly where it is not legal.
        #[test]
        fn only_legal_commands_get_a_plan(params in params()) {
            let most = params.first_burst.min(params.edtl);
            let legal = params.immediate_len <= most
                && (params.immediate_data || params.immediate_len == 0)
                && (params.final_bit
                    || (!params.initial_r2t && params.immediate_len < params.edtl));
            prop_assert_eq!(WritePlan::new(&params).is_ok(), legal);
        }

        /// Data-In PDUs cover the data exactly and in order, within the limits.
        #[test]
        fn data_in_covers_exactly(
            len in prop_oneof![0..5000u32, 0..400_000u32],
            max_segment in prop_oneof![512..2000u32, 0..400_000u32, any::<u32>()],
            max_burst in prop_oneof![512..2000u32, 0..400_000u32, any::<u32>()],
        ) {
            let (segment, burst) = (
                max_segment.clamp(512, 0xff_ffff),
                max_burst.clamp(512, 0xff_ffff),
            );
            let mut plan = ReadPlan::new(len, max_segment, max_burst);
            let (mut end, mut count, mut in_burst) = (0, 0, 0);
            let mut finished = len == 0;
            while let Some(cut) = plan.next() {
                prop_assert!(!finished);
                prop_assert_eq!((cut.offset, cut.data_sn), (end, count));
                prop_assert!(cut.len != 0 && cut.len <= segment);
                end += cut.len;
                count += 1;
                in_burst += cut.len;
                prop_assert!(in_burst <= burst);
                prop_assert_eq!(cut.end_of_burst, in_burst == burst || end == len);
                prop_assert_eq!(cut.last, end == len);
                // Section 11.7.7: whole words, unless F.
                prop_assert!(cut.end_of_burst || cut.len % 4 == 0);
                if cut.end_of_burst {
                    in_burst = 0;
                }
                finished = cut.last;
                prop_assert_eq!((plan.data_sn(), plan.remaining()), (count, len - end));
            }
            prop_assert!(finished);
            prop_assert_eq!(end, len);
        }

        /// The PDUs from a DataSN on are those that a walk comes to.
        #[test]
        fn data_in_from_the_middle(
            len in prop_oneof![0..5000u32, 0..400_000u32],
            max_segment in prop_oneof![512..2000u32, 0..400_000u32, any::<u32>()],
            max_burst in prop_oneof![512..2000u32, 0..400_000u32, any::<u32>()],
            data_sn in prop_oneof![0..10u32, 0..800u32, any::<u32>()],
        ) {
            let plan = ReadPlan::new(len, max_segment, max_burst);
            let all: Vec<_> = plan.clone().collect();
            prop_assert_eq!(plan.pdus() as usize, all.len());
            let at = (data_sn as usize).min(all.len());
            let from = plan.starting_at(data_sn);
            prop_assert_eq!(from.data_sn() as usize, at);
            prop_assert_eq!(from.collect::<Vec<_>>(), &all[at..]);
        }
    }

    #[test]
    fn a_read_is_cut_at_the_edges_of_segment_and_burst() {
        let cuts = |len, segment, burst| {
            ReadPlan::new(len, segment, burst)
                .map(|cut| (cut.len, cut.end_of_burst))
                .collect::<Vec<_>>()
        };
        assert_eq!(cuts(0, 8192, 262_144), []);
        assert_eq!(cuts(8191, 8192, 262_144), [(8191, true)]);
        assert_eq!(cuts(8192, 8192, 262_144), [(8192, true)]);
        assert_eq!(cuts(8193, 8192, 262_144), [(8192, false), (1, true)]);
        assert_eq!(
            cuts(4096, 2048, 3072),
            [(2048, false), (1024, true), (1024, true)]
        );
        assert_eq!(
            cuts(1030, 515, 1024),
            [(512, false), (512, true), (6, true)]
        );
        assert_eq!(cuts(1 << 24, MAX_LENGTH, MAX_LENGTH).len(), 3);
    }

    #[test]
    fn the_longest_read_comes_to_its_end() {
        let plan = ReadPlan::new(u32::MAX, MAX_LENGTH, MAX_LENGTH);
        assert_eq!(plan.pdus() as usize, plan.clone().count());
        let mut end = 0;
        for cut in plan {
            assert_eq!(cut.offset, end);
            end = cut.offset.checked_add(cut.len).unwrap();
            assert_eq!(cut.last, end == u32::MAX);
        }
        assert_eq!(end, u32::MAX);
    }

    #[test]
    fn what_is_lost_is_asked_for_again_so_often_only() {
        let mut plan = WritePlan::new(&WriteParams {
            immediate_len: 0,
            final_bit: true,
            recovers: true,
            ..PARAMS
        })
        .unwrap();
        let lost = |cut: R2tCut| DataOutHdr {
            ttt_index: Some(cut.slot),
            data_sn: 1,
            offset: cut.offset,
            len: cut.len,
            final_bit: true,
        };
        for n in 0..16 {
            let cut = plan.next_r2t().unwrap();
            assert_eq!((cut.r2t_sn, cut.offset, cut.len), (n, 0, 16384));
            assert_eq!(plan.data_out(lost(cut)), Ok(0));
        }
        let cut = plan.next_r2t().unwrap();
        let error = TransferError::DataSn {
            expected: 0,
            got: 1,
        };
        assert_eq!(plan.data_out(lost(cut)), Err(error));
        assert!(plan.is_stopped() && plan.is_settled());
        assert!(!plan.discard(0, true) && !plan.lose());
    }

    #[test]
    fn unsolicited_data_that_comes_after_all_is_dropped() {
        let mut plan = WritePlan::new(&WriteParams {
            recovers: true,
            ..PARAMS
        })
        .unwrap();
        assert_eq!(plan.data_out(unsolicited(0, 8192, 4096, false)), Ok(4096));
        assert!(plan.lose());
        assert_eq!(plan.next_r2t(), cut(0, 0, 12288, 16384));
        assert_eq!(plan.data_out(unsolicited(1, 12288, 2048, false)), Ok(0));
        assert_eq!(
            plan.data_out(solicited(0, 0, 12288, 16384, true)),
            Ok(16384)
        );
        assert_eq!(plan.data_out(unsolicited(2, 14336, 2048, true)), Ok(0));
        assert_eq!(plan.received(), 28672);
        // That was the last of it.
        assert_eq!(
            plan.data_out(unsolicited(3, 16384, 512, true)),
            Err(TransferError::UnexpectedUnsolicited)
        );
    }

    #[test]
    fn without_recovery_nothing_is_asked_for_again() {
        let mut plan = WritePlan::new(&PARAMS).unwrap();
        assert!(!plan.discard(0, false) && !plan.lose());
        assert_eq!(plan.received(), 8192);
    }

    /// The plans are parts of every task.
    #[test]
    fn the_plans_are_small() {
        assert!(size_of::<WritePlan>() <= 64);
        assert!(size_of::<ReadPlan>() <= 32);
    }
}
