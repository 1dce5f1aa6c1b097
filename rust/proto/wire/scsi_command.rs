// SPDX-License-Identifier: GPL-2.0

//! SCSI Command (RFC 7143 section 11.3, RFC 7144 section 5.1).

use zerocopy::{
    big_endian::{
        U32, //
        U64,
    },
    transmute_ref,
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
        valid_itt, Bhs, Error, BHS_LEN,
    },
};

/// A SCSI command. Its C twin is `struct iscsi_scsi_req`.
///
/// The data segment is immediate data. CDB bytes after the 16th are in an
/// Additional Header Segment, see [`crate::proto::wire::Ahs`].
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ScsiCommand {
    opcode: u8,
    flags: u8,
    priority: u8,
    reserved3: u8,
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    edtl: U32,
    cmd_sn: U32,
    exp_stat_sn: U32,
    cdb: [u8; 16],
}

const _: () = assert!(size_of::<ScsiCommand>() == BHS_LEN);

impl ScsiCommand {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&ScsiCommand, Error> {
        valid_itt(Bhs::cast(header))?;
        let command: &ScsiCommand = transmute_ref!(header);
        let (write, edtl) = (command.is_write(), command.edtl());
        let immediate = command.data_segment_length();
        // RFC 7143 section 11.3.1: "At least one of the W and F bits MUST be
        // set to 1."
        if !write && !command.is_final() {
            return Err(Error::NeitherWriteNorFinal);
        }
        // The same section: R and W "MUST NOT both be 0 when the Expected Data
        // Transfer Length [is] not 0".
        if !write && !command.is_read() && edtl != 0 {
            return Err(Error::NoDirection { edtl });
        }
        if !write && immediate != 0 {
            return Err(Error::DataWithoutWrite { length: immediate });
        }
        if immediate > edtl {
            return Err(Error::ImmediateBeyondEdtl {
                length: immediate,
                edtl,
            });
        }
        // Section 11.3.4: if the Expected Data Transfer Length and the length
        // of the immediate data "are the same, then no more data PDUs are
        // expected to follow. In this case, the F bit MUST be set to 1."
        if immediate == edtl && !command.is_final() {
            return Err(Error::FinalBitClearAfterAllData);
        }
        // Section 11.3.4: "For bidirectional operations, an additional header
        // segment MUST be present [...] that indicates the Bidirectional Read
        // Expected Data Transfer Length." It is 8 bytes long.
        if write && command.is_read() && edtl != 0 && command.total_ahs_length() < 8 {
            return Err(Error::NoBidiReadLength);
        }
        if command.raw_attr() > TaskAttr::Aca as u8 {
            return Err(Error::ReservedTaskAttr(command.raw_attr()));
        }
        Ok(command)
    }

    /// The I bit.
    #[inline]
    #[must_use]
    pub fn immediate(&self) -> bool {
        self.opcode & bhs::IMMEDIATE != 0
    }

    /// The F bit: no unsolicited Data-Out PDU follows.
    #[inline]
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.flags & bhs::FINAL != 0
    }

    /// The R bit: data from the target is expected.
    #[inline]
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.flags & READ != 0
    }

    /// The W bit: data goes to the target.
    #[inline]
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.flags & WRITE != 0
    }

    /// The task attribute.
    #[inline]
    #[must_use]
    pub fn attr(&self) -> TaskAttr {
        match self.raw_attr() {
            1 => TaskAttr::Simple,
            2 => TaskAttr::Ordered,
            3 => TaskAttr::HeadOfQueue,
            4 => TaskAttr::Aca,
            // Reserved values do not come out of `Request::parse`.
            _ => TaskAttr::Untagged,
        }
    }

    #[inline]
    fn raw_attr(&self) -> u8 {
        self.flags & 0x07
    }

    /// The command priority, 0 to 15. To be ignored unless
    /// iSCSIProtocolLevel=2 was negotiated (RFC 7144 section 5.1.1).
    #[inline]
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority >> 4
    }

    /// The length of all Additional Header Segments in bytes.
    #[inline]
    #[must_use]
    pub fn total_ahs_length(&self) -> u32 {
        u32::from(self.total_ahs_length) << 2
    }

    /// The length of the immediate data in bytes.
    #[inline]
    #[must_use]
    pub fn data_segment_length(&self) -> u32 {
        self.data_segment_length.get()
    }

    /// The LUN.
    #[inline]
    #[must_use]
    pub fn lun(&self) -> u64 {
        self.lun.get()
    }

    /// The Initiator Task Tag.
    #[inline]
    #[must_use]
    pub fn itt(&self) -> u32 {
        self.itt.get()
    }

    /// The Expected Data Transfer Length in bytes: of the write where both R
    /// and W are 1.
    #[inline]
    #[must_use]
    pub fn edtl(&self) -> u32 {
        self.edtl.get()
    }

    /// The CmdSN.
    #[inline]
    #[must_use]
    pub fn cmd_sn(&self) -> Sn {
        Sn(self.cmd_sn.get())
    }

    /// The ExpStatSN: all status before it has arrived.
    #[inline]
    #[must_use]
    pub fn exp_stat_sn(&self) -> Sn {
        Sn(self.exp_stat_sn.get())
    }

    /// The first 16 bytes of the CDB, padded with 0 where it is shorter.
    #[inline]
    #[must_use]
    pub fn cdb(&self) -> &[u8; 16] {
        &self.cdb
    }
}

/// The task attribute of a command (RFC 7143 section 11.3.1, SAM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskAttr {
    /// 0.
    Untagged = 0,
    /// 1.
    Simple = 1,
    /// 2.
    Ordered = 2,
    /// 3.
    HeadOfQueue = 3,
    /// 4.
    Aca = 4,
}

/// The R bit in byte 1.
pub const READ: u8 = 0x40;
/// The W bit in byte 1.
pub const WRITE: u8 = 0x20;
