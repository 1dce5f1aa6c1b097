// SPDX-License-Identifier: GPL-2.0

//! SCSI Data-Out (RFC 7143 section 11.7).

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
        no_ahs, valid_itt, Bhs, Error, BHS_LEN, RESERVED_TAG,
    },
};

/// Data of a write. Its C twin is `struct iscsi_data`.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DataOut {
    opcode: u8,
    flags: u8,
    reserved2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    ttt: U32,
    reserved24: [u8; 4],
    exp_stat_sn: U32,
    reserved32: [u8; 4],
    data_sn: U32,
    buffer_offset: U32,
    reserved44: [u8; 4],
}

const _: () = assert!(size_of::<DataOut>() == BHS_LEN);

impl DataOut {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&DataOut, Error> {
        let bhs = Bhs::cast(header);
        no_ahs(bhs)?;
        valid_itt(bhs)?;
        Ok(transmute_ref!(header))
    }

    /// The F bit: the last PDU of its sequence.
    #[inline]
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.flags & bhs::FINAL != 0
    }

    /// Whether it answers an R2T: the transfer tag is valid.
    #[inline]
    #[must_use]
    pub fn is_solicited(&self) -> bool {
        self.ttt() != RESERVED_TAG
    }

    /// The length of the data in bytes. 0 is allowed (section 11.7.7).
    #[inline]
    #[must_use]
    pub fn data_segment_length(&self) -> u32 {
        self.data_segment_length.get()
    }

    /// The LUN. Reserved where the data is unsolicited; else it must be the
    /// command's (section 11.7.4).
    #[inline]
    #[must_use]
    pub fn lun(&self) -> u64 {
        self.lun.get()
    }

    /// The command's Initiator Task Tag.
    #[inline]
    #[must_use]
    pub fn itt(&self) -> u32 {
        self.itt.get()
    }

    /// The Target Transfer Tag of the R2T, or [`RESERVED_TAG`].
    #[inline]
    #[must_use]
    pub fn ttt(&self) -> u32 {
        self.ttt.get()
    }

    /// The ExpStatSN: all status before it has arrived.
    #[inline]
    #[must_use]
    pub fn exp_stat_sn(&self) -> Sn {
        Sn(self.exp_stat_sn.get())
    }

    /// The number of the PDU in its sequence, from 0.
    #[inline]
    #[must_use]
    pub fn data_sn(&self) -> u32 {
        self.data_sn.get()
    }

    /// Where the data begins in the whole transfer, in bytes.
    #[inline]
    #[must_use]
    pub fn buffer_offset(&self) -> u32 {
        self.buffer_offset.get()
    }
}
