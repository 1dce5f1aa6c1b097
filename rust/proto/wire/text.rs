// SPDX-License-Identifier: GPL-2.0

//! Text Request and Text Response (RFC 7143 sections 11.10 and 11.11).

use zerocopy::{
    big_endian::{
        U32, //
        U64,
    },
    transmute, transmute_ref,
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
        no_ahs, valid_itt, Bhs, Error, Opcode, BHS_LEN,
    },
};

/// Text keys from the initiator. Its C twin is `struct iscsi_text`.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TextRequest {
    opcode: u8,
    flags: u8,
    reserved2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    ttt: U32,
    cmd_sn: U32,
    exp_stat_sn: U32,
    reserved32: [u8; 16],
}

const _: () = assert!(size_of::<TextRequest>() == BHS_LEN);

impl TextRequest {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&TextRequest, Error> {
        let bhs = Bhs::cast(header);
        no_ahs(bhs)?;
        valid_itt(bhs)?;
        let text: &TextRequest = transmute_ref!(header);
        // RFC 7143 section 11.10.2: "A Text Request with the C bit set to 1
        // MUST have the F bit set to 0."
        if text.continue_bit() && text.is_final() {
            return Err(Error::ContinueAndFinal(Opcode::TextRequest));
        }
        Ok(text)
    }

    /// The I bit. The same in all requests of a sequence.
    #[inline]
    #[must_use]
    pub fn immediate(&self) -> bool {
        self.opcode & bhs::IMMEDIATE != 0
    }

    /// The F bit: the last request of a sequence.
    #[inline]
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.flags & bhs::FINAL != 0
    }

    /// The C bit: the keys go on in the next request.
    #[inline]
    #[must_use]
    pub fn continue_bit(&self) -> bool {
        self.flags & bhs::CONTINUE != 0
    }

    /// The length of the text in bytes.
    #[inline]
    #[must_use]
    pub fn data_segment_length(&self) -> u32 {
        self.data_segment_length.get()
    }

    /// The LUN, a copy of the Text Response's where the transfer tag is valid.
    #[inline]
    #[must_use]
    pub fn lun(&self) -> u64 {
        self.lun.get()
    }

    /// The Initiator Task Tag. The same in all requests of a sequence.
    #[inline]
    #[must_use]
    pub fn itt(&self) -> u32 {
        self.itt.get()
    }

    /// The Target Transfer Tag of the Text Response that this one follows, or
    /// [`crate::proto::wire::RESERVED_TAG`]: a new sequence.
    #[inline]
    #[must_use]
    pub fn ttt(&self) -> u32 {
        self.ttt.get()
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
}

/// Text keys to the initiator. Its C twin is `struct iscsi_text_rsp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextResponse {
    /// The F bit: the operation is finished. Only in answer to a request with
    /// the F bit, and never with `continue_bit` (sections 11.11.1, 11.11.2).
    pub final_bit: bool,
    /// The C bit: the keys go on in the next response.
    pub continue_bit: bool,
    /// Copied back by the initiator along with `ttt`.
    pub lun: u64,
    /// The request's Initiator Task Tag.
    pub itt: u32,
    /// With `final_bit` [`crate::proto::wire::RESERVED_TAG`], else any other
    /// tag (section 11.11.1).
    pub ttt: u32,
    /// StatSN; it advances after this PDU.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// The length of the text in bytes.
    pub data_len: u32,
}

impl TextResponse {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        let mut flags = if self.final_bit { bhs::FINAL } else { 0 };
        if self.continue_bit {
            flags |= bhs::CONTINUE;
        }
        *out = transmute!(TextResponseLayout {
            opcode: bhs::TEXT_RESPONSE,
            flags,
            reserved2: [0; 2],
            total_ahs_length: 0,
            data_segment_length: U24::new(self.data_len),
            lun: U64::new(self.lun),
            itt: U32::new(self.itt),
            ttt: U32::new(self.ttt),
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            reserved36: [0; 12],
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TextResponseLayout {
    opcode: u8,
    flags: u8,
    reserved2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    ttt: U32,
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    reserved36: [u8; 12],
}
