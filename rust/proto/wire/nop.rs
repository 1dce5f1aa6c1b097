// SPDX-License-Identifier: GPL-2.0

//! NOP-Out and NOP-In (RFC 7143 sections 11.18 and 11.19).

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
        final_bit_set, no_ahs, Bhs, Error, BHS_LEN, RESERVED_TAG,
    },
};

/// A ping from the initiator, its answer to our ping, or neither: then it only
/// acknowledges status. Its C twin is `struct iscsi_nopout`.
///
/// The data segment is ping data. It goes back in the NOP-In, cut to the
/// initiator's MaxRecvDataSegmentLength.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct NopOut {
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

const _: () = assert!(size_of::<NopOut>() == BHS_LEN);

impl NopOut {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&NopOut, Error> {
        let bhs = Bhs::cast(header);
        final_bit_set(bhs)?;
        no_ahs(bhs)?;
        // RFC 7143 section 11.18.1: "If the Initiator Task Tag contains
        // 0xffffffff, the I bit MUST be set to 1."
        if bhs.itt() == RESERVED_TAG && !bhs.immediate() {
            return Err(Error::NopNotImmediate);
        }
        Ok(transmute_ref!(header))
    }

    /// Whether the initiator wants a NOP-In for it: the task tag is valid.
    #[inline]
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        self.itt() != RESERVED_TAG
    }

    /// Whether it answers a NOP-In of ours: the transfer tag is valid.
    #[inline]
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.ttt() != RESERVED_TAG
    }
}

getters!(NopOut {
    /// The I bit.
    immediate,
    /// The LUN, a copy of the NOP-In's where [`NopOut::is_answer`].
    lun,
    /// The Initiator Task Tag, or [`RESERVED_TAG`].
    itt,
    /// The Target Transfer Tag, or [`RESERVED_TAG`].
    ttt,
    /// The CmdSN.
    cmd_sn,
    /// The ExpStatSN: all status before it has arrived.
    exp_stat_sn,
    /// The length of the ping data in bytes.
    data_segment_length,
});

/// An answer to a ping, a ping, or a carrier of ExpCmdSN and MaxCmdSN. Its C
/// twin is `struct iscsi_nopin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopIn {
    /// A LUN that is valid for the initiator where `ttt` is, else 0.
    pub lun: u64,
    /// The NOP-Out's Initiator Task Tag, or [`RESERVED_TAG`] where it is not
    /// an answer. Then `data_len` must be 0.
    pub itt: u32,
    /// A tag of ours where an answer is wanted, else [`RESERVED_TAG`]. An
    /// answer (a valid `itt`) must not want one.
    pub ttt: u32,
    /// The next StatSN. It advances only after an answer (section 11.19.2).
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// The length of the returned ping data in bytes.
    pub data_len: u32,
}

impl NopIn {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        *out = transmute!(NopInLayout {
            opcode: bhs::NOP_IN,
            flags: bhs::FINAL,
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
struct NopInLayout {
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
    use crate::proto::wire::Opcode;
    use crate::proto::wire::RejectReason;
    use crate::proto::wire::Request;

    const OUT: &str = include_str!("../../../tests/vectors/nop_out.hex");
    const IN: &str = include_str!("../../../tests/vectors/nop_in.hex");

    fn nop(header: &[u8; BHS_LEN]) -> &NopOut {
        match parse(header) {
            Request::NopOut(nop) => nop,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_of_a_ping() {
        let header = header(OUT, "ping");
        let nop = nop(&header);
        assert!(nop.wants_answer() && !nop.is_answer() && nop.immediate());
        assert_eq!(nop.data_segment_length(), 8);
        assert_eq!(nop.lun(), 0x0001_0000_0000_0000);
        assert_eq!(nop.itt(), 0x1122_3344);
        assert_eq!(nop.ttt(), RESERVED_TAG);
        assert_eq!(nop.cmd_sn(), Sn(0x5566_7788));
        assert_eq!(nop.exp_stat_sn(), Sn(0x99aa_bbcc));
    }

    #[test]
    fn fields_of_an_answer() {
        let header = header(OUT, "answer");
        let nop = nop(&header);
        assert!(!nop.wants_answer() && nop.is_answer());
        assert_eq!(nop.lun(), 0x0002_0000_0000_0000);
        assert_eq!(nop.ttt(), 0x0102_0304);
        assert_eq!((nop.cmd_sn(), nop.exp_stat_sn()), (Sn(42), Sn(7)));
    }

    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(OUT, "ping"),
            &[(0..1, 0x80), (1..2, 0x7f), (2..4, 0xff), (32..48, 0xff)],
            |request| match request {
                Request::NopOut(n) => (
                    (n.immediate(), n.lun(), n.itt(), n.ttt()),
                    (n.cmd_sn(), n.exp_stat_sn(), n.data_segment_length()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn refusals() {
        let ping = header(OUT, "ping");
        assert_eq!(
            refusal(&with(&ping, &[(1, 0)])),
            Error::FinalBitClear(Opcode::NopOut)
        );
        assert_eq!(
            refusal(&with(&ping, &[(4, 1)])),
            Error::UnexpectedAhs {
                opcode: Opcode::NopOut,
                length: 4
            }
        );
        // Not immediate is all right with a task tag, but not without.
        assert!(!nop(&with(&ping, &[(0, 0)])).immediate());
        let answer = header(OUT, "answer");
        let error = refusal(&with(&answer, &[(0, 0)]));
        assert_eq!(error, Error::NopNotImmediate);
        assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
    }

    #[test]
    fn nop_in_is_written_whole() {
        let mut nop = NopIn {
            lun: 0,
            itt: 0x1122_3344,
            ttt: RESERVED_TAG,
            stat_sn: Sn(0x0a0b_0c0d),
            exp_cmd_sn: Sn(0x5566_7789),
            max_cmd_sn: Sn(0x5566_7808),
            data_len: 8,
        };
        assert_eq!(emitted(|out| nop.emit(out)), header(IN, "answer"));
        nop.lun = 0x0002_0000_0000_0000;
        nop.itt = RESERVED_TAG;
        nop.ttt = 0x0102_0304;
        nop.stat_sn = nop.stat_sn.next();
        nop.data_len = 0;
        assert_eq!(emitted(|out| nop.emit(out)), header(IN, "ping"));
    }
}
