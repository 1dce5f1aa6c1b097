// SPDX-License-Identifier: GPL-2.0

//! Data transfer plans of a SCSI command (RFC 7143 section 4.2.5.2).
//!
//! A [`WritePlan`] says which Data-Out PDUs are legal, which bytes of them
//! belong into the buffer, and what the next R2T asks for. A [`ReadPlan`] cuts
//! the data of a read into Data-In PDUs. Both rely on DataPDUInOrder=Yes and
//! DataSequenceInOrder=Yes, which the target always negotiates, so one offset
//! tells all that has arrived.

use core::fmt;

use crate::proto::wire::RejectReason;

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
    open: u32,
    head: u8,
    tail: u8,
    slots: u8,
    unsolicited: bool,
    stopped: bool,
}

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
        if immediate_len != 0 && (!params.immediate_data || immediate_len > params.first_burst) {
            return Err(TransferError::UnexpectedUnsolicited);
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
        let slots = params
            .max_outstanding_r2t
            .clamp(1, u32::from(MAX_OUTSTANDING_R2T));
        Ok(WritePlan {
            limit: params.wanted.min(edtl),
            received: immediate_len,
            solicited: immediate_len,
            burst_end: params.first_burst.min(edtl),
            max_burst: params.max_burst.clamp(MIN_LENGTH, MAX_LENGTH),
            data_sn: 0,
            r2t_sn: 0,
            open: 0,
            head: 0,
            tail: 0,
            slots: u8::try_from(slots).unwrap_or(MAX_OUTSTANDING_R2T),
            unsolicited: !final_bit,
            stopped: false,
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
            open: 0,
            head: 0,
            tail: 0,
            slots: 1,
            unsolicited: !final_bit,
            stopped: true,
        }
    }

    /// Takes a Data-Out PDU. Returns how many of its leading bytes belong into
    /// the buffer, at its Buffer Offset; the rest is to be dropped. Unless the
    /// plan is stopped or more than `wanted` came, that is all of them.
    ///
    /// # Errors
    ///
    /// A [`TransferError`] where the PDU breaks a rule; nothing of it may be
    /// stored. Where the error [ends the task](TransferError::sense), the plan
    /// has stopped: send the response when it [is
    /// settled](WritePlan::is_settled).
    #[inline]
    pub fn data_out(&mut self, pdu: DataOutHdr) -> Result<u32, TransferError> {
        let checked = self.check(&pdu);
        match checked {
            Ok(end) if !self.stopped => {
                self.received = end;
                // Fewer than 2^32 in a sequence (section 4.2.2.4), and one too
                // many does no harm.
                self.data_sn = self.data_sn.wrapping_add(1);
            }
            Ok(_) => {}
            Err(error) => {
                if error.sense().is_none() {
                    return Err(error);
                }
                self.stopped = true;
            }
        }
        if pdu.final_bit {
            self.end_sequence(pdu.ttt_index);
        }
        checked?;
        Ok(self.kept(pdu.offset, pdu.len))
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
        if self.stopped {
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

    /// The additional sense code and qualifier with which the task ends: CHECK
    /// CONDITION, ABORTED COMMAND. `None` where no task ends: the command never
    /// became one, or goes on.
    ///
    /// RFC 7143 section 11.4.7.2 prescribes 0x0c/0x0c for unexpected
    /// unsolicited data, 0x0c/0x0d for an incorrect amount of data, and
    /// 0x47/0x05 for a CRC error, which section 7.9 takes a DataSN out of order
    /// for. The others are SPC's data offset error and data phase error.
    #[must_use]
    pub const fn sense(self) -> Option<(u8, u8)> {
        match self {
            TransferError::UnexpectedUnsolicited => Some((0x0c, 0x0c)),
            TransferError::IncorrectAmount { .. } => Some((0x0c, 0x0d)),
            TransferError::DataSn { .. } => Some((0x47, 0x05)),
            TransferError::Offset { .. } => Some((0x4b, 0x05)),
            TransferError::R2tOrder { .. } => Some((0x4b, 0x00)),
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
