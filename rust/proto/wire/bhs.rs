// SPDX-License-Identifier: GPL-2.0

//! The Basic Header Segment: what all PDUs have in common (RFC 7143 section
//! 11.2.1).

use core::fmt;

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
        pad4, //
        BHS_LEN,
        DIGEST_LEN,
        MAX_DATA_SEGMENT_LENGTH,
    },
};

/// A header of any PDU. Its C twin is `struct iscsi_hdr`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Bhs {
    opcode: u8,
    flags: u8,
    specific2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    specific20: [u8; 8],
    word28: U32,
    specific32: [u8; 16],
}

const _: () = assert!(size_of::<Bhs>() == BHS_LEN);

impl Bhs {
    /// Looks at 48 bytes as a header. Every byte pattern is one.
    #[inline]
    #[must_use]
    pub fn cast(header: &[u8; BHS_LEN]) -> &Bhs {
        transmute_ref!(header)
    }

    /// The header as the bytes it came as, for the data segment of a Reject
    /// (RFC 7143 section 11.17.4).
    #[inline]
    #[must_use]
    pub fn as_array(&self) -> &[u8; BHS_LEN] {
        transmute_ref!(self)
    }

    /// The opcode, without the I bit.
    #[inline]
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        Opcode::from(self.raw_opcode())
    }

    /// The 6 bits of the opcode as they came.
    #[inline]
    #[must_use]
    pub fn raw_opcode(&self) -> u8 {
        self.opcode & OPCODE_MASK
    }

    /// The I bit: marked for immediate delivery. Reserved, and so without
    /// meaning, in Data-Out and SNACK.
    #[inline]
    #[must_use]
    pub fn immediate(&self) -> bool {
        self.opcode & IMMEDIATE != 0
    }

    /// The F bit. In a Login PDU this is the T bit.
    #[inline]
    #[must_use]
    pub fn final_bit(&self) -> bool {
        self.flags & FINAL != 0
    }

    /// The length of all Additional Header Segments in bytes: a multiple of 4,
    /// at most 1020. (The header counts in words, section 11.2.1.5.)
    #[inline]
    #[must_use]
    pub fn total_ahs_length(&self) -> u32 {
        u32::from(self.total_ahs_length) << 2
    }

    /// The length of the data segment in bytes, without padding: at most
    /// 2^24 - 1.
    #[inline]
    #[must_use]
    pub fn data_segment_length(&self) -> u32 {
        self.data_segment_length.get()
    }

    /// The Logical Unit Number as SAM writes it: LUN\[0\] is the highest byte.
    /// Where the PDU has another use for these bytes, so has the result.
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

    /// The ExpStatSN, which every request of the full feature phase has at the
    /// same place: all status before it has arrived.
    #[inline]
    #[must_use]
    pub fn exp_stat_sn(&self) -> Sn {
        Sn(self.word28.get())
    }

    /// How many bytes follow the 48 of this header before the data segment:
    /// Additional Header Segments, and the header digest if there is one.
    #[inline]
    #[must_use]
    pub fn rest_of_header(&self, header_digest: bool) -> u32 {
        let digest = if header_digest { DIGEST_LEN } else { 0 };
        self.total_ahs_length().saturating_add(digest)
    }

    /// The data segment with its padding, and with its digest if there is one.
    ///
    /// RFC 7143 section 11.2.3: "A zero-length Data Segment also implies a
    /// zero-length Data-Digest."
    #[inline]
    #[must_use]
    pub fn data_on_wire(&self, data_digest: bool) -> u32 {
        match self.data_segment_length() {
            0 => 0,
            length => {
                let digest = if data_digest { DIGEST_LEN } else { 0 };
                pad4(length).saturating_add(digest)
            }
        }
    }

    /// The length of the whole PDU on the wire in bytes, this header included.
    #[inline]
    #[must_use]
    pub fn pdu_length(&self, header_digest: bool, data_digest: bool) -> u32 {
        // At most 48 + 1020 + 4 + 2^24 + 4, so nothing saturates.
        self.rest_of_header(header_digest)
            .saturating_add(self.data_on_wire(data_digest))
            .saturating_add(48)
    }
}

impl fmt::Debug for Bhs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{} itt {:#010x} lun {:#018x} ahs {} data {}",
            self.opcode(),
            if self.immediate() { " (immediate)" } else { "" },
            self.itt(),
            self.lun(),
            self.total_ahs_length(),
            self.data_segment_length(),
        )
    }
}

/// Gives a request the getters of fields that others have as well, at the place that all PDUs have
/// for them; what they mean is for each PDU to say.
macro_rules! getters {
    ($pdu:ident { $($(#[$doc:meta])* $field:ident,)+ }) => {
        impl $pdu {
            $($crate::proto::wire::bhs::getters!(@get [$(#[$doc])*] $field);)+
        }
    };
    (@get $doc:tt immediate) => {
        $crate::proto::wire::bhs::getters!(@fn $doc immediate bool, |pdu| {
            pdu.opcode & $crate::proto::wire::bhs::IMMEDIATE != 0
        });
    };
    (@get $doc:tt lun) => {
        $crate::proto::wire::bhs::getters!(@fn $doc lun u64, |pdu| pdu.lun.get());
    };
    (@get $doc:tt cid) => {
        $crate::proto::wire::bhs::getters!(@fn $doc cid u16, |pdu| pdu.cid.get());
    };
    (@get $doc:tt cmd_sn) => {
        $crate::proto::wire::bhs::getters!(@fn $doc cmd_sn $crate::proto::serial::Sn, |pdu| {
            $crate::proto::serial::Sn(pdu.cmd_sn.get())
        });
    };
    (@get $doc:tt exp_stat_sn) => {
        $crate::proto::wire::bhs::getters!(@fn $doc exp_stat_sn $crate::proto::serial::Sn, |pdu| {
            $crate::proto::serial::Sn(pdu.exp_stat_sn.get())
        });
    };
    (@get $doc:tt $number:ident) => {
        $crate::proto::wire::bhs::getters!(@fn $doc $number u32, |pdu| pdu.$number.get());
    };
    (@fn [$(#[$doc:meta])*] $name:ident $type:ty, |$pdu:ident| $value:expr) => {
        $(#[$doc])*
        #[inline]
        #[must_use]
        pub fn $name(&self) -> $type {
            let $pdu = self;
            $value
        }
    };
}
pub(crate) use getters;

/// A big-endian number of 24 bits: DataSegmentLength.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub(crate) struct U24([u8; 3]);

impl U24 {
    /// Stores `value`. A length above 2^24 - 1 is a bug of ours, never of the
    /// peer; it is cut to that.
    #[inline]
    pub(crate) fn new(value: u32) -> U24 {
        let [_, a, b, c] = value.min(MAX_DATA_SEGMENT_LENGTH).to_be_bytes();
        U24([a, b, c])
    }

    /// The number.
    #[inline]
    pub(crate) fn get(self) -> u32 {
        let U24([a, b, c]) = self;
        u32::from_be_bytes([0, a, b, c])
    }
}

impl fmt::Debug for U24 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

/// What kind of PDU a header belongs to (RFC 7143 section 11.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// 0x00, from the initiator.
    NopOut,
    /// 0x01, from the initiator.
    ScsiCommand,
    /// 0x02, from the initiator.
    TaskMgmtRequest,
    /// 0x03, from the initiator.
    LoginRequest,
    /// 0x04, from the initiator.
    TextRequest,
    /// 0x05, from the initiator.
    DataOut,
    /// 0x06, from the initiator.
    LogoutRequest,
    /// 0x10, from the initiator.
    SnackRequest,
    /// 0x20, from the target.
    NopIn,
    /// 0x21, from the target.
    ScsiResponse,
    /// 0x22, from the target.
    TaskMgmtResponse,
    /// 0x23, from the target.
    LoginResponse,
    /// 0x24, from the target.
    TextResponse,
    /// 0x25, from the target.
    DataIn,
    /// 0x26, from the target.
    LogoutResponse,
    /// 0x31, from the target.
    R2t,
    /// 0x32, from the target.
    AsyncMessage,
    /// 0x3f, from the target.
    Reject,
    /// Vendor-specific or unassigned: the 6 bits as they came.
    Unknown(u8),
}

impl From<u8> for Opcode {
    /// Reads the low 6 bits; the I bit and the reserved bit are not looked at.
    fn from(raw: u8) -> Opcode {
        match raw & OPCODE_MASK {
            NOP_OUT => Opcode::NopOut,
            SCSI_COMMAND => Opcode::ScsiCommand,
            TASK_MGMT_REQUEST => Opcode::TaskMgmtRequest,
            LOGIN_REQUEST => Opcode::LoginRequest,
            TEXT_REQUEST => Opcode::TextRequest,
            SCSI_DATA_OUT => Opcode::DataOut,
            LOGOUT_REQUEST => Opcode::LogoutRequest,
            SNACK_REQUEST => Opcode::SnackRequest,
            NOP_IN => Opcode::NopIn,
            SCSI_RESPONSE => Opcode::ScsiResponse,
            TASK_MGMT_RESPONSE => Opcode::TaskMgmtResponse,
            LOGIN_RESPONSE => Opcode::LoginResponse,
            TEXT_RESPONSE => Opcode::TextResponse,
            SCSI_DATA_IN => Opcode::DataIn,
            LOGOUT_RESPONSE => Opcode::LogoutResponse,
            R2T => Opcode::R2t,
            ASYNC_MESSAGE => Opcode::AsyncMessage,
            REJECT => Opcode::Reject,
            unknown => Opcode::Unknown(unknown),
        }
    }
}

impl From<Opcode> for u8 {
    fn from(opcode: Opcode) -> u8 {
        match opcode {
            Opcode::NopOut => NOP_OUT,
            Opcode::ScsiCommand => SCSI_COMMAND,
            Opcode::TaskMgmtRequest => TASK_MGMT_REQUEST,
            Opcode::LoginRequest => LOGIN_REQUEST,
            Opcode::TextRequest => TEXT_REQUEST,
            Opcode::DataOut => SCSI_DATA_OUT,
            Opcode::LogoutRequest => LOGOUT_REQUEST,
            Opcode::SnackRequest => SNACK_REQUEST,
            Opcode::NopIn => NOP_IN,
            Opcode::ScsiResponse => SCSI_RESPONSE,
            Opcode::TaskMgmtResponse => TASK_MGMT_RESPONSE,
            Opcode::LoginResponse => LOGIN_RESPONSE,
            Opcode::TextResponse => TEXT_RESPONSE,
            Opcode::DataIn => SCSI_DATA_IN,
            Opcode::LogoutResponse => LOGOUT_RESPONSE,
            Opcode::R2t => R2T,
            Opcode::AsyncMessage => ASYNC_MESSAGE,
            Opcode::Reject => REJECT,
            Opcode::Unknown(raw) => raw,
        }
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Opcode::NopOut => "NOP-Out",
            Opcode::ScsiCommand => "SCSI Command",
            Opcode::TaskMgmtRequest => "Task Management Function Request",
            Opcode::LoginRequest => "Login Request",
            Opcode::TextRequest => "Text Request",
            Opcode::DataOut => "SCSI Data-Out",
            Opcode::LogoutRequest => "Logout Request",
            Opcode::SnackRequest => "SNACK Request",
            Opcode::NopIn => "NOP-In",
            Opcode::ScsiResponse => "SCSI Response",
            Opcode::TaskMgmtResponse => "Task Management Function Response",
            Opcode::LoginResponse => "Login Response",
            Opcode::TextResponse => "Text Response",
            Opcode::DataIn => "SCSI Data-In",
            Opcode::LogoutResponse => "Logout Response",
            Opcode::R2t => "Ready To Transfer",
            Opcode::AsyncMessage => "Asynchronous Message",
            Opcode::Reject => "Reject",
            Opcode::Unknown(raw) => return write!(f, "opcode {raw:#04x}"),
        })
    }
}

/// The I bit in byte 0.
pub const IMMEDIATE: u8 = 0x40;
/// The bits of byte 0 that hold the opcode.
pub const OPCODE_MASK: u8 = 0x3f;
/// The F bit in byte 1; the T bit of Login PDUs.
pub const FINAL: u8 = 0x80;
/// The C bit in byte 1 of Login and Text PDUs.
pub const CONTINUE: u8 = 0x40;

/// Opcode of NOP-Out.
pub const NOP_OUT: u8 = 0x00;
/// Opcode of SCSI Command.
pub const SCSI_COMMAND: u8 = 0x01;
/// Opcode of Task Management Function Request.
pub const TASK_MGMT_REQUEST: u8 = 0x02;
/// Opcode of Login Request.
pub const LOGIN_REQUEST: u8 = 0x03;
/// Opcode of Text Request.
pub const TEXT_REQUEST: u8 = 0x04;
/// Opcode of SCSI Data-Out.
pub const SCSI_DATA_OUT: u8 = 0x05;
/// Opcode of Logout Request.
pub const LOGOUT_REQUEST: u8 = 0x06;
/// Opcode of SNACK Request.
pub const SNACK_REQUEST: u8 = 0x10;
/// Opcode of NOP-In.
pub const NOP_IN: u8 = 0x20;
/// Opcode of SCSI Response.
pub const SCSI_RESPONSE: u8 = 0x21;
/// Opcode of Task Management Function Response.
pub const TASK_MGMT_RESPONSE: u8 = 0x22;
/// Opcode of Login Response.
pub const LOGIN_RESPONSE: u8 = 0x23;
/// Opcode of Text Response.
pub const TEXT_RESPONSE: u8 = 0x24;
/// Opcode of SCSI Data-In.
pub const SCSI_DATA_IN: u8 = 0x25;
/// Opcode of Logout Response.
pub const LOGOUT_RESPONSE: u8 = 0x26;
/// Opcode of Ready To Transfer.
pub const R2T: u8 = 0x31;
/// Opcode of Asynchronous Message.
pub const ASYNC_MESSAGE: u8 = 0x32;
/// Opcode of Reject.
pub const REJECT: u8 = 0x3f;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::with;
    use std::format;

    const HEADER: [u8; BHS_LEN] = {
        let mut header = [0; BHS_LEN];
        header[0] = 0x41;
        header[1] = 0x80;
        header[4] = 0xff;
        header[5] = 0x01;
        header[6] = 0x02;
        header[7] = 0x03;
        header[8] = 0x10;
        header[15] = 0x17;
        header[16] = 0x20;
        header[19] = 0x23;
        header[28] = 0x28;
        header[31] = 0x2b;
        header
    };

    #[test]
    fn the_common_fields_are_where_they_belong() {
        let bhs = Bhs::cast(&HEADER);
        assert_eq!(bhs.opcode(), Opcode::ScsiCommand);
        assert!(bhs.immediate() && bhs.final_bit());
        assert_eq!(bhs.total_ahs_length(), 1020);
        assert_eq!(bhs.data_segment_length(), 0x010203);
        assert_eq!(bhs.lun(), 0x1000_0000_0000_0017);
        assert_eq!(bhs.itt(), 0x2000_0023);
        assert_eq!(bhs.exp_stat_sn(), Sn(0x2800_002b));
        assert_eq!(bhs.as_array(), &HEADER);
        assert_eq!(
            format!("{bhs:?}"),
            "SCSI Command (immediate) itt 0x20000023 lun 0x1000000000000017 ahs 1020 data 66051"
        );
        let bare = with(&HEADER, &[(0, 0x3e), (1, 0x7f)]);
        assert!(!Bhs::cast(&bare).immediate() && !Bhs::cast(&bare).final_bit());
    }

    #[test]
    fn lengths_on_the_wire_count_padding_and_digests() {
        let bhs = Bhs::cast(&HEADER);
        assert_eq!(bhs.rest_of_header(false), 1020);
        assert_eq!(bhs.rest_of_header(true), 1024);
        assert_eq!(bhs.data_on_wire(false), 0x010204);
        assert_eq!(bhs.data_on_wire(true), 0x010208);
        assert_eq!(bhs.pdu_length(false, false), 48 + 1020 + 0x010204);
        assert_eq!(bhs.pdu_length(true, true), 48 + 1024 + 0x010208);

        // "A zero-length Data Segment also implies a zero-length Data-Digest."
        let empty = with(&HEADER, &[(4, 0), (5, 0), (6, 0), (7, 0)]);
        assert_eq!(Bhs::cast(&empty).pdu_length(false, false), 48);
        assert_eq!(Bhs::cast(&empty).pdu_length(true, true), 52);

        let longest = with(&HEADER, &[(5, 0xff), (6, 0xff), (7, 0xff)]);
        assert_eq!(
            Bhs::cast(&longest).pdu_length(true, true),
            48 + 1020 + 4 + (1 << 24) + 4
        );
    }

    #[test]
    fn opcodes_survive_the_way_there_and_back() {
        for raw in 0..=OPCODE_MASK {
            assert_eq!(u8::from(Opcode::from(raw)), raw);
        }
        assert_eq!(Opcode::from(0x1c), Opcode::Unknown(0x1c));
    }

    #[test]
    fn a_length_above_24_bits_does_not_spill() {
        assert_eq!(U24::new(0xff_ffff).get(), 0xff_ffff);
        assert_eq!(U24::new(0x0100_0000).get(), 0xff_ffff);
    }
}
