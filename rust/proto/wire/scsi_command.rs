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

use crate::proto::wire::{
    bhs::{
        self, //
        getters,
        U24,
    },
    valid_itt, Bhs, Error, BHS_LEN,
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

    /// The Expected Data Transfer Length in bytes: of the write where both R
    /// and W are 1.
    #[inline]
    #[must_use]
    pub fn edtl(&self) -> u32 {
        self.edtl.get()
    }

    /// The first 16 bytes of the CDB, padded with 0 where it is shorter.
    #[inline]
    #[must_use]
    pub fn cdb(&self) -> &[u8; 16] {
        &self.cdb
    }
}

getters!(ScsiCommand {
    /// The I bit.
    immediate,
    /// The length of the immediate data in bytes.
    data_segment_length,
    /// The LUN.
    lun,
    /// The Initiator Task Tag.
    itt,
    /// The CmdSN.
    cmd_sn,
    /// The ExpStatSN: all status before it has arrived.
    exp_stat_sn,
});

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::serial::Sn;
    use crate::proto::wire::testing::*;
    use crate::proto::wire::Opcode;
    use crate::proto::wire::RejectReason;
    use crate::proto::wire::Request;

    const VECTORS: &str = include_str!("../../../tests/vectors/scsi_command.hex");

    fn command(header: &[u8; BHS_LEN]) -> &ScsiCommand {
        match parse(header) {
            Request::ScsiCommand(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_of_a_read() {
        let header = header(VECTORS, "read10");
        let read = command(&header);
        assert!(read.is_final() && read.is_read() && !read.is_write() && !read.immediate());
        assert_eq!(read.attr(), TaskAttr::Simple);
        assert_eq!(read.priority(), 0);
        assert_eq!(read.total_ahs_length(), 0);
        assert_eq!(read.data_segment_length(), 0);
        assert_eq!(read.lun(), 0x0001_0000_0000_0000);
        assert_eq!(read.itt(), 0x10);
        assert_eq!(read.edtl(), 4096);
        assert_eq!(read.cmd_sn(), Sn(0x101));
        assert_eq!(read.exp_stat_sn(), Sn(0x202));
        assert_eq!(
            read.cdb(),
            &[0x28, 0, 0, 1, 0x23, 0x45, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn fields_of_a_write() {
        let header = header(VECTORS, "write10");
        let write = command(&header);
        assert!(!write.is_final() && !write.is_read() && write.is_write());
        assert_eq!(write.attr(), TaskAttr::Ordered);
        assert_eq!(write.priority(), 9);
        assert_eq!(write.data_segment_length(), 512);
        assert_eq!(write.lun(), 0x0102_0304_0506_0708);
        assert_eq!(write.itt(), 0xdead_beef);
        assert_eq!(write.edtl(), 8192);
        assert_eq!(write.cmd_sn(), Sn(0xffff_ffff));
    }

    #[test]
    fn fields_of_the_others() {
        let tur = header(VECTORS, "tur");
        let tur = command(&tur);
        assert!(tur.immediate() && tur.is_final() && !tur.is_read() && !tur.is_write());
        assert_eq!((tur.attr(), tur.edtl()), (TaskAttr::Untagged, 0));
        let bidi = header(VECTORS, "bidi");
        let bidi = command(&bidi);
        assert!(bidi.is_read() && bidi.is_write());
        assert_eq!((bidi.total_ahs_length(), bidi.edtl()), (28, 1024));
    }

    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(VECTORS, "write10"),
            &[(0..1, 0x80), (1..2, 0x18), (2..3, 0x0f), (3..4, 0xff)],
            |request| match request {
                Request::ScsiCommand(c) => (
                    (c.immediate(), c.is_final(), c.is_read(), c.is_write()),
                    (c.attr(), c.priority(), c.lun(), c.itt(), c.edtl()),
                    (c.cmd_sn(), c.exp_stat_sn(), *c.cdb()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn direction_and_final_bits_must_fit() {
        let read = header(VECTORS, "read10");
        // R without F: neither W nor F.
        let error = refusal(&with(&read, &[(1, 0x41)]));
        assert_eq!(error, Error::NeitherWriteNorFinal);
        assert_eq!(error.reject_reason(), RejectReason::InvalidPduField);
        // F alone, though data is expected.
        let error = refusal(&with(&read, &[(1, 0x81)]));
        assert_eq!(error, Error::NoDirection { edtl: 4096 });
        assert_eq!(error.reject_reason(), RejectReason::InvalidPduField);
        // R or W with nothing expected is allowed by section 11.3.1.
        for flags in [0xc1, 0xa1, 0xe1, 0x81] {
            command(&with(&read, &[(1, flags), (22, 0)]));
        }
    }

    #[test]
    fn immediate_data_must_fit() {
        let read = header(VECTORS, "read10");
        assert_eq!(
            refusal(&with(&read, &[(7, 1)])),
            Error::DataWithoutWrite { length: 1 }
        );
        let write = header(VECTORS, "write10");
        // All 8192 bytes immediate: then F must be 1.
        let all = with(&write, &[(6, 0x20)]);
        let error = refusal(&all);
        assert_eq!(error, Error::FinalBitClearAfterAllData);
        assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
        assert_eq!(
            command(&with(&all, &[(1, 0xa2)])).data_segment_length(),
            8192
        );
        // One less, and F may be 0; one more is too much.
        command(&with(&write, &[(6, 0x1f), (7, 0xff)]));
        for flags in [0x22, 0xa2] {
            assert_eq!(
                refusal(&with(&write, &[(1, flags), (6, 0x20), (7, 0x01)])),
                Error::ImmediateBeyondEdtl {
                    length: 8193,
                    edtl: 8192
                }
            );
        }
        // No data at all, and F 0.
        assert_eq!(
            refusal(&with(&write, &[(6, 0), (22, 0)])),
            Error::FinalBitClearAfterAllData
        );
    }

    #[test]
    fn a_bidirectional_command_must_say_how_much_it_reads() {
        let bidi = header(VECTORS, "bidi");
        command(&with(&bidi, &[(4, 2)]));
        for words in [0, 1] {
            let error = refusal(&with(&bidi, &[(4, words)]));
            assert_eq!(error, Error::NoBidiReadLength);
            assert_eq!(error.reject_reason(), RejectReason::InvalidPduField);
        }
    }

    #[test]
    fn reserved_values_are_refused() {
        let read = header(VECTORS, "read10");
        for (attr, wanted) in [
            (0, TaskAttr::Untagged),
            (1, TaskAttr::Simple),
            (2, TaskAttr::Ordered),
            (3, TaskAttr::HeadOfQueue),
            (4, TaskAttr::Aca),
        ] {
            assert_eq!(command(&with(&read, &[(1, 0xc0 | attr)])).attr(), wanted);
        }
        for attr in 5..8 {
            let error = refusal(&with(&read, &[(1, 0xc0 | attr)]));
            assert_eq!(error, Error::ReservedTaskAttr(attr));
            assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
        }
        let no_tag = [(16, 0xff), (17, 0xff), (18, 0xff), (19, 0xff)];
        let error = refusal(&with(&read, &no_tag));
        assert_eq!(error, Error::ReservedItt(Opcode::ScsiCommand));
        assert_eq!(error.reject_reason(), RejectReason::InvalidPduField);
        assert_eq!(command(&with(&read, &no_tag[..3])).itt(), 0xffff_ff10);
    }
}
