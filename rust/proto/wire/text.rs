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
            getters,
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
}

getters!(TextRequest {
    /// The I bit. The same in all requests of a sequence.
    immediate,
    /// The length of the text in bytes.
    data_segment_length,
    /// The LUN, a copy of the Text Response's where the transfer tag is valid.
    lun,
    /// The Initiator Task Tag. The same in all requests of a sequence.
    itt,
    /// The Target Transfer Tag of the Text Response that this one follows, or
    /// [`crate::proto::wire::RESERVED_TAG`]: a new sequence.
    ttt,
    /// The CmdSN.
    cmd_sn,
    /// The ExpStatSN: all status before it has arrived.
    exp_stat_sn,
});

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;
    use crate::proto::wire::RejectReason;
    use crate::proto::wire::Request;
    use crate::proto::wire::RESERVED_TAG;

    const VECTORS: &str = include_str!("../../../tests/vectors/text.hex");

    fn text(header: &[u8; BHS_LEN]) -> &TextRequest {
        match parse(header) {
            Request::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields() {
        let request = header(VECTORS, "request");
        let request = text(&request);
        assert!(request.is_final() && !request.continue_bit() && !request.immediate());
        assert_eq!(request.data_segment_length(), 16);
        assert_eq!(
            (request.lun(), request.itt(), request.ttt()),
            (0, 3, RESERVED_TAG)
        );
        assert_eq!(
            (request.cmd_sn(), request.exp_stat_sn()),
            (Sn(0x106), Sn(0x209))
        );

        let more = header(VECTORS, "request_continues");
        let more = text(&more);
        assert!(!more.is_final() && more.continue_bit() && more.immediate());
        assert_eq!(more.data_segment_length(), 0x2001);
        assert_eq!(
            (more.lun(), more.ttt()),
            (0x0a0b_0c0d_0e0f_1011, 0x1234_5678)
        );
    }

    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(VECTORS, "request"),
            &[(0..1, 0x80), (1..2, 0x3f), (2..4, 0xff), (32..48, 0xff)],
            |request| match request {
                Request::Text(t) => (
                    (t.immediate(), t.is_final(), t.continue_bit(), t.lun()),
                    (t.itt(), t.ttt(), t.cmd_sn(), t.exp_stat_sn()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn refusals() {
        let request = header(VECTORS, "request");
        let opcode = Opcode::TextRequest;
        let error = refusal(&with(&request, &[(1, 0xc0)]));
        assert_eq!(error, Error::ContinueAndFinal(opcode));
        assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
        assert_eq!(
            refusal(&with(&request, &[(4, 255)])),
            Error::UnexpectedAhs {
                opcode,
                length: 1020
            }
        );
        assert_eq!(
            refusal(&with(
                &request,
                &[(16, 255), (17, 255), (18, 255), (19, 255)]
            )),
            Error::ReservedItt(opcode)
        );
    }

    #[test]
    fn responses_are_written_whole() {
        let response = TextResponse {
            final_bit: true,
            continue_bit: false,
            lun: 0,
            itt: 3,
            ttt: RESERVED_TAG,
            stat_sn: Sn(0x209),
            exp_cmd_sn: Sn(0x107),
            max_cmd_sn: Sn(0x186),
            data_len: 88,
        };
        assert_eq!(
            emitted(|out| response.emit(out)),
            header(VECTORS, "response")
        );
        let more = TextResponse {
            final_bit: false,
            continue_bit: true,
            lun: 0x0a0b_0c0d_0e0f_1011,
            ttt: 0x1234_5678,
            stat_sn: Sn(0x20a),
            data_len: 8192,
            ..response
        };
        assert_eq!(
            emitted(|out| more.emit(out)),
            header(VECTORS, "response_continues")
        );
    }
}
