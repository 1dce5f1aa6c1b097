// SPDX-License-Identifier: GPL-2.0

//! SNACK Request (RFC 7143 section 11.16).

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

use crate::proto::wire::{
    bhs::{
        getters, //
        U24,
    },
    final_bit_set, no_ahs, no_data, Bhs, Error, BHS_LEN,
};

/// Asks for retransmission or acknowledges data. Its C twin is
/// `struct iscsi_snack`.
///
/// At ErrorRecoveryLevel 0 every one is answered with a Reject. It has no
/// CmdSN.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SnackRequest {
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
    reserved32: [u8; 8],
    beg_run: U32,
    run_length: U32,
}

const _: () = assert!(size_of::<SnackRequest>() == BHS_LEN);

impl SnackRequest {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&SnackRequest, Error> {
        let bhs = Bhs::cast(header);
        final_bit_set(bhs)?;
        no_ahs(bhs)?;
        no_data(bhs)?;
        let snack: &SnackRequest = transmute_ref!(header);
        match snack.kind() {
            SnackType::Reserved(kind) => Err(Error::ReservedSnackType(kind)),
            _ => Ok(snack),
        }
    }

    /// What is asked for: the Type field.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> SnackType {
        match self.flags & 0x0f {
            0 => SnackType::DataOrR2t,
            1 => SnackType::Status,
            2 => SnackType::DataAck,
            3 => SnackType::RData,
            reserved => SnackType::Reserved(reserved),
        }
    }

    /// The first number of the run.
    #[inline]
    #[must_use]
    pub fn beg_run(&self) -> u32 {
        self.beg_run.get()
    }

    /// How many numbers the run has, 0 for all that follow.
    #[inline]
    #[must_use]
    pub fn run_length(&self) -> u32 {
        self.run_length.get()
    }
}

getters!(SnackRequest {
    /// The LUN, for [`SnackType::DataAck`].
    lun,
    /// The command's Initiator Task Tag, or
    /// [`crate::proto::wire::RESERVED_TAG`] with [`SnackType::Status`] and
    /// [`SnackType::DataAck`].
    itt,
    /// The Target Transfer Tag, the SNACK Tag, or
    /// [`crate::proto::wire::RESERVED_TAG`] (section 11.16.5).
    ttt,
    /// The ExpStatSN: all status before it has arrived.
    exp_stat_sn,
});

/// What a SNACK asks for (RFC 7143 section 11.16.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnackType {
    /// 0: Data-In or R2T PDUs again.
    DataOrR2t,
    /// 1: responses again.
    Status,
    /// 2: nothing; acknowledges Data-In PDUs.
    DataAck,
    /// 3: Data-In PDUs again, maybe cut otherwise.
    RData,
    /// 4 to 15. Does not come out of `Request::parse`.
    Reserved(u8),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::serial::Sn;
    use crate::proto::wire::testing::*;
    use crate::proto::wire::Opcode;
    use crate::proto::wire::RejectReason;
    use crate::proto::wire::Request;
    use crate::proto::wire::RESERVED_TAG;

    const VECTORS: &str = include_str!("../../../tests/vectors/snack.hex");

    fn snack(header: &[u8; BHS_LEN]) -> &SnackRequest {
        match parse(header) {
            Request::Snack(snack) => snack,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields() {
        let status = header(VECTORS, "status");
        let status = snack(&status);
        assert_eq!(status.kind(), SnackType::Status);
        assert_eq!((status.itt(), status.ttt()), (RESERVED_TAG, RESERVED_TAG));
        assert_eq!(status.exp_stat_sn(), Sn(0x203));
        assert_eq!((status.beg_run(), status.run_length()), (0x203, 3));

        let ack = header(VECTORS, "data_ack");
        let ack = snack(&ack);
        assert_eq!(ack.kind(), SnackType::DataAck);
        assert_eq!((ack.lun(), ack.ttt()), (0x0001_0000_0000_0000, 0x0a0b_0c0d));
        assert_eq!((ack.beg_run(), ack.run_length()), (5, 0));
    }

    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(VECTORS, "data_ack"),
            &[
                (0..1, 0xc0),
                (1..2, 0x70),
                (2..4, 0xff),
                (24..28, 0xff),
                (32..40, 0xff),
            ],
            |request| match request {
                Request::Snack(s) => (
                    (s.kind(), s.lun(), s.itt(), s.ttt()),
                    (s.exp_stat_sn(), s.beg_run(), s.run_length()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn refusals() {
        let status = header(VECTORS, "status");
        let opcode = Opcode::SnackRequest;
        assert_eq!(
            snack(&with(&status, &[(1, 0x80)])).kind(),
            SnackType::DataOrR2t
        );
        assert_eq!(snack(&with(&status, &[(1, 0x83)])).kind(), SnackType::RData);
        for kind in 4..16 {
            let error = refusal(&with(&status, &[(1, 0x80 | kind)]));
            assert_eq!(error, Error::ReservedSnackType(kind));
            assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
        }
        assert_eq!(
            refusal(&with(&status, &[(1, 1)])),
            Error::FinalBitClear(opcode)
        );
        assert_eq!(
            refusal(&with(&status, &[(4, 1)])),
            Error::UnexpectedAhs { opcode, length: 4 }
        );
        assert_eq!(
            refusal(&with(&status, &[(7, 4)])),
            Error::UnexpectedData { opcode, length: 4 }
        );
    }
}
