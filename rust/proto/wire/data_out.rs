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

use crate::proto::wire::{
    bhs::{
        self, //
        getters,
        U24,
    },
    no_ahs, valid_itt, Bhs, Error, BHS_LEN, RESERVED_TAG,
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

getters!(DataOut {
    /// The length of the data in bytes. 0 is allowed (section 11.7.7).
    data_segment_length,
    /// The LUN. Reserved where the data is unsolicited; else it must be the
    /// command's (section 11.7.4).
    lun,
    /// The command's Initiator Task Tag.
    itt,
    /// The Target Transfer Tag of the R2T, or [`RESERVED_TAG`].
    ttt,
    /// The ExpStatSN: all status before it has arrived.
    exp_stat_sn,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::serial::Sn;
    use crate::proto::wire::testing::*;
    use crate::proto::wire::Opcode;
    use crate::proto::wire::Request;

    const VECTORS: &str = include_str!("../../../tests/vectors/data_out.hex");

    fn data_out(header: &[u8; BHS_LEN]) -> &DataOut {
        match parse(header) {
            Request::DataOut(data) => data,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields() {
        let solicited = header(VECTORS, "solicited");
        let solicited = data_out(&solicited);
        assert!(solicited.is_final() && solicited.is_solicited());
        assert_eq!(solicited.data_segment_length(), 4096);
        assert_eq!(solicited.lun(), 0x0001_0000_0000_0000);
        assert_eq!(solicited.itt(), 0xdead_beef);
        assert_eq!(solicited.ttt(), 0x0001_0002);
        assert_eq!(solicited.exp_stat_sn(), Sn(0x203));
        assert_eq!(solicited.data_sn(), 3);
        assert_eq!(solicited.buffer_offset(), 8192);

        let unsolicited = header(VECTORS, "unsolicited");
        let unsolicited = data_out(&unsolicited);
        assert!(!unsolicited.is_final() && !unsolicited.is_solicited());
        assert_eq!(unsolicited.data_segment_length(), 65535);
        assert_eq!(
            (unsolicited.data_sn(), unsolicited.buffer_offset()),
            (0, 512)
        );
    }

    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(VECTORS, "solicited"),
            &[
                (0..1, 0xc0),
                (1..2, 0x7f),
                (2..4, 0xff),
                (24..28, 0xff),
                (32..36, 0xff),
                (44..48, 0xff),
            ],
            |request| match request {
                Request::DataOut(d) => (
                    (d.is_final(), d.lun(), d.itt(), d.ttt()),
                    (d.exp_stat_sn(), d.data_sn(), d.buffer_offset()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn refusals() {
        let data = header(VECTORS, "solicited");
        assert_eq!(
            refusal(&with(&data, &[(4, 2)])),
            Error::UnexpectedAhs {
                opcode: Opcode::DataOut,
                length: 8
            }
        );
        assert_eq!(
            refusal(&with(&data, &[(16, 255), (17, 255), (18, 255), (19, 255)])),
            Error::ReservedItt(Opcode::DataOut)
        );
    }
}
