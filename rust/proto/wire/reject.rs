// SPDX-License-Identifier: GPL-2.0

//! Reject (RFC 7143 section 11.17).

use core::fmt;

use zerocopy::{
    big_endian::U32, //
    transmute,
};
use zerocopy_derive::{
    FromBytes, //
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned,
};

use crate::proto::{
    serial::Sn, //
    wire::{
        bhs::{
            self, //
            U24,
        },
        BHS_LEN, RESERVED_TAG,
    },
};

/// Refuses a PDU. Its C twin is `struct iscsi_reject`.
///
/// The data segment is the header of the refused PDU, without its digest
/// (section 11.17.4): 48 bytes, and its Additional Header Segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// StatSN; it advances after this PDU.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// The next DataSN or R2TSN of the task, where a Data/R2T SNACK is refused
    /// with a protocol error; else 0.
    pub data_sn: u32,
    /// The length of the refused header in bytes.
    pub data_len: u32,
}

impl Reject {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        *out = transmute!(RejectLayout {
            opcode: bhs::REJECT,
            flags: bhs::FINAL,
            reason: self.reason as u8,
            reserved3: 0,
            total_ahs_length: 0,
            data_segment_length: U24::new(self.data_len),
            reserved8: [0; 8],
            itt: U32::new(RESERVED_TAG),
            reserved20: [0; 4],
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            data_sn: U32::new(self.data_sn),
            reserved40: [0; 8],
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RejectLayout {
    opcode: u8,
    flags: u8,
    reason: u8,
    reserved3: u8,
    total_ahs_length: u8,
    data_segment_length: U24,
    reserved8: [u8; 8],
    itt: U32,
    reserved20: [u8; 4],
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    data_sn: U32,
    reserved40: [u8; 8],
}

/// Why a PDU is refused (RFC 7143 section 11.17.1). 0x0b is deprecated and
/// "MUST NOT be used".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RejectReason {
    /// 0x02: the data digest does not match.
    DataDigestError = 0x02,
    /// 0x03: no retransmission.
    SnackReject = 0x03,
    /// 0x04: against the rules of the protocol.
    ProtocolError = 0x04,
    /// 0x05: not supported.
    CommandNotSupported = 0x05,
    /// 0x06: too many immediate commands.
    ImmediateCommandReject = 0x06,
    /// 0x07: a task with that tag exists.
    TaskInProgress = 0x07,
    /// 0x08: acknowledges data that was not sent.
    InvalidDataAck = 0x08,
    /// 0x09: a field that describes a task, a response or a data transfer has
    /// an invalid value.
    InvalidPduField = 0x09,
    /// 0x0a: no Target Transfer Tag to be had.
    LongOperationReject = 0x0a,
    /// 0x0c: a Logout was asked for and is awaited.
    WaitingForLogout = 0x0c,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectReason::DataDigestError => "data digest error",
            RejectReason::SnackReject => "SNACK reject",
            RejectReason::ProtocolError => "protocol error",
            RejectReason::CommandNotSupported => "command not supported",
            RejectReason::ImmediateCommandReject => "immediate command reject",
            RejectReason::TaskInProgress => "task in progress",
            RejectReason::InvalidDataAck => "invalid data ack",
            RejectReason::InvalidPduField => "invalid PDU field",
            RejectReason::LongOperationReject => "long op reject",
            RejectReason::WaitingForLogout => "waiting for logout",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;

    const VECTORS: &str = include_str!("../../../tests/vectors/reject.hex");

    #[test]
    fn it_is_written_whole() {
        let reject = Reject {
            reason: RejectReason::ProtocolError,
            stat_sn: Sn(0x214),
            exp_cmd_sn: Sn(0x109),
            max_cmd_sn: Sn(0x188),
            data_sn: 0,
            data_len: 48,
        };
        assert_eq!(
            emitted(|out| reject.emit(out)),
            header(VECTORS, "protocol_error")
        );
        let field = Reject {
            reason: RejectReason::InvalidPduField,
            stat_sn: Sn(0x215),
            data_sn: 7,
            data_len: 56,
            ..reject
        };
        assert_eq!(
            emitted(|out| field.emit(out)),
            header(VECTORS, "invalid_field")
        );
    }
}
