// SPDX-License-Identifier: GPL-2.0

//! Ready To Transfer (RFC 7143 section 11.8).

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
        bhs, //
        BHS_LEN,
    },
};

/// Asks for data of a write. Its C twin is `struct iscsi_r2t_rsp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2t {
    /// The command's LUN.
    pub lun: u64,
    /// The command's Initiator Task Tag.
    pub itt: u32,
    /// The tag that the Data-Out PDUs will bear. Any but
    /// [`crate::proto::wire::RESERVED_TAG`] (section 11.8.5).
    pub ttt: u32,
    /// The next StatSN; it does not advance after this PDU.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// The number of the R2T within the command, from 0.
    pub r2t_sn: u32,
    /// Where the data begins in the whole transfer, in bytes.
    pub offset: u32,
    /// How many bytes are wanted: 1 to MaxBurstLength (section 11.8.4).
    pub desired_len: u32,
}

impl R2t {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        *out = transmute!(R2tLayout {
            opcode: bhs::R2T,
            flags: bhs::FINAL,
            reserved2: [0; 2],
            total_ahs_length: 0,
            data_segment_length: [0; 3],
            lun: U64::new(self.lun),
            itt: U32::new(self.itt),
            ttt: U32::new(self.ttt),
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            r2t_sn: U32::new(self.r2t_sn),
            buffer_offset: U32::new(self.offset),
            desired_data_transfer_length: U32::new(self.desired_len),
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct R2tLayout {
    opcode: u8,
    flags: u8,
    reserved2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: [u8; 3],
    lun: U64,
    itt: U32,
    ttt: U32,
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    r2t_sn: U32,
    buffer_offset: U32,
    desired_data_transfer_length: U32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;

    const VECTORS: &str = include_str!("../../../tests/vectors/r2t.hex");

    #[test]
    fn it_is_written_whole() {
        let r2t = R2t {
            lun: 0x0001_0000_0000_0000,
            itt: 0xdead_beef,
            ttt: 0x0001_0002,
            stat_sn: Sn(0x202),
            exp_cmd_sn: Sn(0x102),
            max_cmd_sn: Sn(0x181),
            r2t_sn: 2,
            offset: 65536,
            desired_len: 262_144,
        };
        assert_eq!(emitted(|out| r2t.emit(out)), header(VECTORS, "r2t"));
    }
}
