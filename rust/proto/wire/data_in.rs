// SPDX-License-Identifier: GPL-2.0

//! SCSI Data-In (RFC 7143 section 11.7).

use zerocopy::{
    big_endian::{
        U32, //
        U64,
    },
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
        Residual, ScsiStatus, BHS_LEN, RESERVED_TAG,
    },
};

/// Data of a read, in the last PDU with the command's status or without. Its C
/// twin is `struct iscsi_data_rsp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIn {
    /// The F bit: the last PDU of its sequence. Sent as 1 whenever there is a
    /// `status` (section 11.7.3).
    pub final_bit: bool,
    /// The A bit: asks for an acknowledgement by SNACK. Must be false at
    /// ErrorRecoveryLevel 0 (section 11.7.2).
    pub ack: bool,
    /// The status and residual of a command that ended without exception
    /// ([`ScsiStatus::fits_data_in`]); only in the last PDU. Then the StatSN
    /// advances.
    pub status: Option<(ScsiStatus, Residual)>,
    /// The command's LUN. Sent only with `ack`, else reserved.
    pub lun: u64,
    /// The command's Initiator Task Tag.
    pub itt: u32,
    /// A tag of ours. Sent only with `ack`, else reserved.
    pub ttt: u32,
    /// StatSN. Sent only with `status`, else reserved.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// The number of the PDU within the command, from 0.
    pub data_sn: u32,
    /// Where the data begins in the whole transfer, in bytes.
    pub offset: u32,
    /// The length of the data in bytes.
    pub data_len: u32,
}

impl DataIn {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        let mut flags = if self.final_bit { bhs::FINAL } else { 0 };
        let (mut status, mut stat_sn, mut residual_count) = (0, 0, 0);
        if let Some((scsi_status, residual)) = self.status {
            flags |= bhs::FINAL | STATUS | residual.flags();
            status = scsi_status.0;
            stat_sn = self.stat_sn.0;
            residual_count = residual.count();
        }
        let (lun, ttt) = if self.ack {
            flags |= ACK;
            (self.lun, self.ttt)
        } else {
            (0, RESERVED_TAG)
        };
        *out = transmute!(DataInLayout {
            opcode: bhs::SCSI_DATA_IN,
            flags,
            reserved2: 0,
            status,
            total_ahs_length: 0,
            data_segment_length: U24::new(self.data_len),
            lun: U64::new(lun),
            itt: U32::new(self.itt),
            ttt: U32::new(ttt),
            stat_sn: U32::new(stat_sn),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            data_sn: U32::new(self.data_sn),
            buffer_offset: U32::new(self.offset),
            residual_count: U32::new(residual_count),
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DataInLayout {
    opcode: u8,
    flags: u8,
    reserved2: u8,
    status: u8,
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    ttt: U32,
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    data_sn: U32,
    buffer_offset: U32,
    residual_count: U32,
}

/// The A bit in byte 1.
pub const ACK: u8 = 0x40;
/// The S bit in byte 1.
pub const STATUS: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;

    const VECTORS: &str = include_str!("../../../tests/vectors/data_in.hex");

    /// The LUN, tag and StatSN show up only where they may.
    const MIDDLE: DataIn = DataIn {
        final_bit: false,
        ack: false,
        status: None,
        lun: 0x0001_0000_0000_0000,
        itt: 0x10,
        ttt: 0x0a0b_0c0d,
        stat_sn: Sn(0x202),
        exp_cmd_sn: Sn(0x102),
        max_cmd_sn: Sn(0x181),
        data_sn: 1,
        offset: 262_144,
        data_len: 262_144,
    };

    #[test]
    fn each_kind_is_written_whole() {
        assert_eq!(emitted(|out| MIDDLE.emit(out)), header(VECTORS, "middle"));
        let status = DataIn {
            final_bit: true,
            status: Some((ScsiStatus::GOOD, Residual::Under(1024))),
            data_sn: 2,
            offset: 524_288,
            data_len: 3072,
            ..MIDDLE
        };
        assert_eq!(emitted(|out| status.emit(out)), header(VECTORS, "status"));
        let over = DataIn {
            final_bit: true,
            status: Some((ScsiStatus::CONDITION_MET, Residual::Over(256))),
            itt: 0x13,
            stat_sn: Sn(0x203),
            exp_cmd_sn: Sn(0x103),
            max_cmd_sn: Sn(0x182),
            data_sn: 0,
            offset: 0,
            data_len: 512,
            ..MIDDLE
        };
        assert_eq!(emitted(|out| over.emit(out)), header(VECTORS, "over"));
        let ack = DataIn {
            final_bit: true,
            ack: true,
            data_sn: 4,
            offset: 1_048_576,
            data_len: 1,
            ..MIDDLE
        };
        assert_eq!(emitted(|out| ack.emit(out)), header(VECTORS, "ack"));
    }

    /// Section 11.7.3: "If this bit is set to 1, the F bit MUST also be set to
    /// 1."
    #[test]
    fn status_implies_final() {
        let status = DataIn {
            status: Some((ScsiStatus::GOOD, Residual::None)),
            ..MIDDLE
        };
        assert_eq!(emitted(|out| status.emit(out))[1], 0x81);
    }
}
