// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a PDU that the header alone shows.

use core::fmt;

use crate::proto::wire::{
    LoginStatus, //
    Opcode,
    RejectReason,
};

/// Why a PDU from the initiator is refused. It is always the initiator's
/// fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An opcode that is vendor-specific or not assigned (RFC 7143 section
    /// 11.2.1.2).
    UnknownOpcode(u8),
    /// An opcode that only targets may send (section 11.2.1.2).
    TargetOpcode(u8),
    /// TotalAHSLength is not 0 in a PDU that has none (section 11.2.1.5);
    /// `length` is in bytes.
    UnexpectedAhs {
        /// What the PDU is.
        opcode: Opcode,
        /// The length it says, in bytes.
        length: u32,
    },
    /// DataSegmentLength is not 0 where it MUST be.
    UnexpectedData {
        /// What the PDU is.
        opcode: Opcode,
        /// The length it says, in bytes.
        length: u32,
    },
    /// The F bit is 0 in a PDU whose format has a constant 1 there.
    FinalBitClear(Opcode),
    /// The C bit and the F (or T) bit are both 1 (sections 11.10.2, 11.12.2).
    ContinueAndFinal(Opcode),
    /// The Initiator Task Tag is the reserved 0xffffffff (section 11.2.1.8).
    ReservedItt(Opcode),
    /// A NOP-Out without a task tag is not marked immediate (section 11.18.1).
    NopNotImmediate,
    /// Neither the W nor the F bit of a SCSI Command is 1 (section 11.3.1).
    NeitherWriteNorFinal,
    /// The Expected Data Transfer Length is not 0, but neither R nor W is 1
    /// (section 11.3.1).
    NoDirection {
        /// The Expected Data Transfer Length in bytes.
        edtl: u32,
    },
    /// Task attribute 5, 6 or 7 (section 11.3.1).
    ReservedTaskAttr(u8),
    /// A command that does not write has immediate data.
    DataWithoutWrite {
        /// The DataSegmentLength in bytes.
        length: u32,
    },
    /// The immediate data is longer than the Expected Data Transfer Length.
    ImmediateBeyondEdtl {
        /// The DataSegmentLength in bytes.
        length: u32,
        /// The Expected Data Transfer Length in bytes.
        edtl: u32,
    },
    /// All data is immediate, but the F bit is 0 (section 11.3.4).
    FinalBitClearAfterAllData,
    /// A bidirectional command without the Additional Header Segment that
    /// says how much it reads (section 11.3.4).
    NoBidiReadLength,
    /// A Logout reason that is reserved (section 11.14.1).
    ReservedLogoutReason(u8),
    /// A SNACK type that is reserved (section 11.16.1).
    ReservedSnackType(u8),
    /// A login stage that is reserved (section 11.12.3).
    ReservedStage(u8),
    /// An AHSType that is reserved (section 11.2.2.1).
    ReservedAhsType(u8),
    /// The AHSLength of an Additional Header Segment cannot be: too short for
    /// its type, too long for it, or past the end of all of them (section
    /// 11.2.2.2).
    BadAhsLength {
        /// The AHSType.
        kind: u8,
        /// The AHSLength in bytes.
        length: u16,
    },
    /// Two Additional Header Segments of one type.
    RepeatedAhs(u8),
}

impl Error {
    /// The reason for the Reject PDU that answers it.
    ///
    /// RFC 7143 section 11.17.1: 0x05 for what is not supported, 0x09 "for all
    /// invalid values of PDU fields that are meant to describe a task, a
    /// response, or a data transfer", and section 11 demands a protocol error
    /// for reserved values.
    #[must_use]
    pub const fn reject_reason(self) -> RejectReason {
        match self {
            Error::UnknownOpcode(_) => RejectReason::CommandNotSupported,
            Error::ReservedItt(_)
            | Error::NeitherWriteNorFinal
            | Error::NoDirection { .. }
            | Error::DataWithoutWrite { .. }
            | Error::ImmediateBeyondEdtl { .. }
            | Error::NoBidiReadLength
            | Error::BadAhsLength { .. }
            | Error::RepeatedAhs(_) => RejectReason::InvalidPduField,
            Error::TargetOpcode(_)
            | Error::UnexpectedAhs { .. }
            | Error::UnexpectedData { .. }
            | Error::FinalBitClear(_)
            | Error::ContinueAndFinal(_)
            | Error::NopNotImmediate
            | Error::ReservedTaskAttr(_)
            | Error::FinalBitClearAfterAllData
            | Error::ReservedLogoutReason(_)
            | Error::ReservedSnackType(_)
            | Error::ReservedStage(_)
            | Error::ReservedAhsType(_) => RejectReason::ProtocolError,
        }
    }

    /// The status that ends a login in which it happened (RFC 7143 section
    /// 11.13.5): "Invalid request type during login" for a foreign opcode,
    /// else "Miscellaneous iSCSI initiator errors".
    #[must_use]
    pub const fn login_status(self) -> LoginStatus {
        match self {
            Error::UnknownOpcode(_) | Error::TargetOpcode(_) => LoginStatus::INVALID_DURING_LOGIN,
            _ => LoginStatus::INITIATOR_ERROR,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::UnknownOpcode(raw) => write!(f, "opcode {raw:#04x} is not supported"),
            Error::TargetOpcode(raw) => {
                write!(f, "opcode {raw:#04x} may only be sent by targets")
            }
            Error::UnexpectedAhs { opcode, length } => write!(
                f,
                "{opcode} with {length} bytes of additional header segments, which must be 0"
            ),
            Error::UnexpectedData { opcode, length } => write!(
                f,
                "{opcode} with a data segment of {length} bytes, which must be 0"
            ),
            Error::FinalBitClear(opcode) => write!(f, "{opcode} with the F bit 0, which must be 1"),
            Error::ContinueAndFinal(opcode) => {
                write!(f, "{opcode} with the C bit and the F or T bit both 1")
            }
            Error::ReservedItt(opcode) => {
                write!(f, "{opcode} with the reserved initiator task tag 0xffffffff")
            }
            Error::NopNotImmediate => {
                f.write_str("NOP-Out with initiator task tag 0xffffffff and the I bit 0")
            }
            Error::NeitherWriteNorFinal => {
                f.write_str("SCSI Command with the W bit and the F bit both 0")
            }
            Error::NoDirection { edtl } => write!(
                f,
                "SCSI Command that expects {edtl} bytes with the R bit and the W bit both 0"
            ),
            Error::ReservedTaskAttr(attr) => {
                write!(f, "SCSI Command with the reserved task attribute {attr}")
            }
            Error::DataWithoutWrite { length } => write!(
                f,
                "SCSI Command with {length} bytes of immediate data and the W bit 0"
            ),
            Error::ImmediateBeyondEdtl { length, edtl } => write!(
                f,
                "SCSI Command with {length} bytes of immediate data that expects only {edtl}"
            ),
            Error::FinalBitClearAfterAllData => {
                f.write_str("SCSI Command with all its data and the F bit 0")
            }
            Error::NoBidiReadLength => f.write_str(
                "bidirectional SCSI Command without a bidirectional read expected data transfer length",
            ),
            Error::ReservedLogoutReason(reason) => {
                write!(f, "Logout Request with the reserved reason code {reason}")
            }
            Error::ReservedSnackType(kind) => {
                write!(f, "SNACK Request with the reserved type {kind}")
            }
            Error::ReservedStage(stage) => {
                write!(f, "Login Request with the reserved stage {stage}")
            }
            Error::ReservedAhsType(kind) => {
                write!(f, "additional header segment with the reserved type {kind}")
            }
            Error::BadAhsLength { kind, length } => write!(
                f,
                "additional header segment of type {kind} with the impossible length {length}"
            ),
            Error::RepeatedAhs(kind) => {
                write!(f, "two additional header segments of type {kind}")
            }
        }
    }
}
