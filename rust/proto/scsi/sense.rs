// SPDX-License-Identifier: GPL-2.0

//! Sense data: why a command did not end well.

use super::put::Put;
use super::status::Status;

/// The most bytes that [`Sense::emit`] produces.
pub const SENSE_MAX_LEN: usize = 52;

/// Bytes of fixed format sense data.
pub const SENSE_FIXED_LEN: usize = 18;

/// ADDITIONAL SENSE LENGTH of fixed format sense data without more.
const FIXED_ADDITIONAL: u8 = 0x0a;

/// Sense keys (SPC-4, "Sense key and additional sense code definitions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SenseKey {
    /// Nothing to tell.
    NoSense = 0x0,
    /// The command succeeded with some recovery action.
    RecoveredError = 0x1,
    /// The logical unit cannot be accessed.
    NotReady = 0x2,
    /// A flaw in the medium or in the recorded data.
    MediumError = 0x3,
    /// A failure of the hardware.
    HardwareError = 0x4,
    /// A field of the CDB or of the parameter data is wrong.
    IllegalRequest = 0x5,
    /// Something that the initiator must know happened before this command.
    UnitAttention = 0x6,
    /// The blocks are protected from this access.
    DataProtect = 0x7,
    /// A blank or unformatted part of the medium was found.
    BlankCheck = 0x8,
    /// Vendor specific.
    VendorSpecific = 0x9,
    /// A third-party copy was aborted.
    CopyAborted = 0xa,
    /// The device server aborted the command; a retry may help.
    AbortedCommand = 0xb,
    /// Buffered data could not be written: the end of the partition.
    VolumeOverflow = 0xd,
    /// The source data did not match what is on the medium.
    Miscompare = 0xe,
    /// There is completion sense data to report.
    Completed = 0xf,
}

/// Which byte, and which bit of it, is wrong (SPC-4, "Field pointer sense
/// key specific data").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldPointer {
    /// In the CDB (true) or in the parameter data (false).
    pub cdb: bool,
    /// The first byte of the field, counted from zero.
    pub byte: u16,
    /// The most significant bit of the field, 7 to 0, when it does not fill
    /// its byte.
    pub bit: Option<u8>,
}

/// Which byte, and which bit of it, of a segment descriptor is wrong (SPC-4,
/// "Segment pointer sense key specific data", SD one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentPointer {
    /// The first byte of the field, counted from the first of the descriptor.
    pub byte: u16,
    /// The most significant bit of the field, 7 to 0, when it does not fill
    /// its byte.
    pub bit: Option<u8>,
}

/// How a command ended that a copy manager sent to a source or a destination
/// (SPC-4, "Errors detected during processing of segment descriptors").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// It was sent to the destination, against the source.
    pub destination: bool,
    /// Its status.
    pub status: Status,
    /// Sense key and codes, with CHECK CONDITION.
    pub sense: Option<(SenseKey, u8, u8)>,
}

/// What the sense data of one command says.
///
/// Built from the constants below and the `with_` methods:
/// `Sense::UNRECOVERED_READ_ERROR.with_info(lba)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sense {
    /// The sense key.
    pub key: SenseKey,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
    /// Tells of a command before the one it comes with (SPC-4, "Deferred
    /// errors").
    pub deferred: bool,
    /// INFORMATION: for block commands the LBA the code speaks of, for a
    /// miscompare the byte offset.
    pub info: Option<u64>,
    /// COMMAND-SPECIFIC INFORMATION.
    pub command_specific: Option<u64>,
    /// The field at fault. Only with ILLEGAL REQUEST.
    pub field: Option<FieldPointer>,
    /// The field of a segment descriptor at fault. Only with COPY ABORTED.
    pub segment: Option<SegmentPointer>,
    /// What a source or destination said. Only with COPY ABORTED.
    pub forwarded: Option<Forwarded>,
}

macro_rules! senses {
    ($($(#[$doc:meta])* $name:ident = $key:ident, $asc:literal, $ascq:literal;)*) => {
        impl Sense {
            $($(#[$doc])*
            pub const $name: Sense = Sense::new(SenseKey::$key, $asc, $ascq);)*
        }
    };
}

senses! {
    /// Nothing to report.
    NO_ADDITIONAL_SENSE = NoSense, 0x00, 0x00;

    /// No list of defects in the format that was asked for.
    DEFECT_LIST_NOT_FOUND = RecoveredError, 0x1c, 0x00;

    /// The logical unit is not ready and will not say why.
    NOT_READY_CAUSE_NOT_REPORTABLE = NotReady, 0x04, 0x00;
    /// Asymmetric access state transition.
    NOT_READY_STATE_TRANSITION = NotReady, 0x04, 0x0a;
    /// The target port is in standby state.
    NOT_READY_STANDBY = NotReady, 0x04, 0x0b;
    /// The target port is in unavailable state.
    NOT_READY_UNAVAILABLE = NotReady, 0x04, 0x0c;
    /// The logical unit was taken offline by the administrator.
    NOT_READY_OFFLINE = NotReady, 0x04, 0x12;
    /// The logical unit does not answer its device server.
    LOGICAL_UNIT_COMMUNICATION_FAILURE = NotReady, 0x08, 0x00;

    /// A write failed.
    WRITE_ERROR = MediumError, 0x0c, 0x00;
    /// A read failed.
    UNRECOVERED_READ_ERROR = MediumError, 0x11, 0x00;

    /// The backing device broke without telling more.
    INTERNAL_TARGET_FAILURE = HardwareError, 0x44, 0x00;

    /// INVALID FIELD IN COMMAND INFORMATION UNIT: the transport expects another
    /// amount of data than the CDB asks for.
    WRONG_TRANSFER_LENGTH = IllegalRequest, 0x0e, 0x03;
    /// The parameter list is shorter than the CDB's fields need.
    PARAMETER_LIST_LENGTH_ERROR = IllegalRequest, 0x1a, 0x00;
    /// A copy with this list identifier is under way.
    COPY_OPERATION_IN_PROGRESS = IllegalRequest, 0x00, 0x16;
    /// The operation code is not supported.
    INVALID_COMMAND_OPERATION_CODE = IllegalRequest, 0x20, 0x00;
    /// A token operation that is not possible, and why is not told.
    INVALID_TOKEN_OPERATION = IllegalRequest, 0x23, 0x00;
    /// A type of token that is not supported.
    UNSUPPORTED_TOKEN_TYPE = IllegalRequest, 0x23, 0x01;
    /// A token that is not known.
    TOKEN_UNKNOWN = IllegalRequest, 0x23, 0x04;
    /// A token that has not been used for too long.
    TOKEN_EXPIRED = IllegalRequest, 0x23, 0x07;
    /// A token that is not as long as tokens are.
    INVALID_TOKEN_LENGTH = IllegalRequest, 0x23, 0x0a;
    /// An LBA is beyond the last one.
    LBA_OUT_OF_RANGE = IllegalRequest, 0x21, 0x00;
    /// A field of the CDB is wrong.
    INVALID_FIELD_IN_CDB = IllegalRequest, 0x24, 0x00;
    /// There is no such logical unit.
    LOGICAL_UNIT_NOT_SUPPORTED = IllegalRequest, 0x25, 0x00;
    /// A field of the parameter list is wrong.
    INVALID_FIELD_IN_PARAMETER_LIST = IllegalRequest, 0x26, 0x00;
    /// RELEASE of a persistent reservation with the wrong scope or type.
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = IllegalRequest, 0x26, 0x04;
    /// More CSCD descriptors than are supported.
    TOO_MANY_CSCD_DESCRIPTORS = IllegalRequest, 0x26, 0x06;
    /// A type of CSCD descriptor that is not supported.
    UNSUPPORTED_CSCD_DESCRIPTOR_TYPE_CODE = IllegalRequest, 0x26, 0x07;
    /// More segment descriptors than are supported.
    TOO_MANY_SEGMENT_DESCRIPTORS = IllegalRequest, 0x26, 0x08;
    /// A type of segment descriptor that is not supported.
    UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE = IllegalRequest, 0x26, 0x09;
    /// More inline data than is supported.
    INLINE_DATA_LENGTH_EXCEEDED = IllegalRequest, 0x26, 0x0b;
    /// Saved mode pages are not supported.
    SAVING_PARAMETERS_NOT_SUPPORTED = IllegalRequest, 0x39, 0x00;
    /// The task attribute is not supported.
    INVALID_MESSAGE_ERROR = IllegalRequest, 0x49, 0x00;
    /// No room for one more token.
    INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN = IllegalRequest, 0x55, 0x0d;
    /// No room to register one more I_T nexus.
    INSUFFICIENT_REGISTRATION_RESOURCES = IllegalRequest, 0x55, 0x04;
    /// A transition that SET TARGET PORT GROUPS began did not succeed.
    SET_TARGET_PORT_GROUPS_COMMAND_FAILED = IllegalRequest, 0x67, 0x0a;

    /// Power on, reset or bus device reset.
    POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED = UnitAttention, 0x29, 0x00;
    /// Power on.
    POWER_ON_OCCURRED = UnitAttention, 0x29, 0x01;
    /// Hard reset: what a target reset is to the logical units behind it.
    SCSI_BUS_RESET_OCCURRED = UnitAttention, 0x29, 0x02;
    /// Logical unit reset by a task management function.
    BUS_DEVICE_RESET_FUNCTION_OCCURRED = UnitAttention, 0x29, 0x03;
    /// The device reset itself.
    DEVICE_INTERNAL_RESET = UnitAttention, 0x29, 0x04;
    /// The I_T nexus was lost.
    I_T_NEXUS_LOSS_OCCURRED = UnitAttention, 0x29, 0x07;
    /// Another I_T nexus changed mode parameters.
    MODE_PARAMETERS_CHANGED = UnitAttention, 0x2a, 0x01;
    /// Another I_T nexus preempted this one's reservation.
    RESERVATIONS_PREEMPTED = UnitAttention, 0x2a, 0x03;
    /// A reservation was released.
    RESERVATIONS_RELEASED = UnitAttention, 0x2a, 0x04;
    /// Another I_T nexus removed this one's registration.
    REGISTRATIONS_PREEMPTED = UnitAttention, 0x2a, 0x05;
    /// The asymmetric access state of the target port changed.
    ASYMMETRIC_ACCESS_STATE_CHANGED = UnitAttention, 0x2a, 0x06;
    /// An implicit asymmetric access state transition failed.
    IMPLICIT_ASYMMETRIC_ACCESS_STATE_TRANSITION_FAILED = UnitAttention, 0x2a, 0x07;
    /// The capacity changed.
    CAPACITY_DATA_HAS_CHANGED = UnitAttention, 0x2a, 0x09;
    /// A command of this I_T nexus has ended BUSY.
    PREVIOUS_BUSY_STATUS = UnitAttention, 0x2c, 0x07;
    /// A command of this I_T nexus has ended TASK SET FULL.
    PREVIOUS_TASK_SET_FULL_STATUS = UnitAttention, 0x2c, 0x08;
    /// A command of this I_T nexus has ended RESERVATION CONFLICT.
    PREVIOUS_RESERVATION_CONFLICT_STATUS = UnitAttention, 0x2c, 0x09;
    /// Another I_T nexus cleared this one's commands.
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = UnitAttention, 0x2f, 0x00;
    /// A thin provisioning soft threshold was reached.
    THIN_PROVISIONING_SOFT_THRESHOLD_REACHED = UnitAttention, 0x38, 0x07;
    /// INQUIRY data changed.
    INQUIRY_DATA_HAS_CHANGED = UnitAttention, 0x3f, 0x03;
    /// The list of logical units changed.
    REPORTED_LUNS_DATA_HAS_CHANGED = UnitAttention, 0x3f, 0x0e;

    /// The logical unit or its medium may not be written.
    WRITE_PROTECTED = DataProtect, 0x27, 0x00;
    /// A thin provisioned device has no space left for the write.
    SPACE_ALLOCATION_FAILED_WRITE_PROTECT = DataProtect, 0x27, 0x07;

    /// A copy was aborted, nothing more to say.
    COPY_ABORTED = CopyAborted, 0x00, 0x00;
    /// A segment descriptor names no source or destination.
    UNREACHABLE_COPY_TARGET = CopyAborted, 0x08, 0x04;
    /// A command that the copy manager sent has failed.
    THIRD_PARTY_DEVICE_FAILURE = CopyAborted, 0x0d, 0x01;
    /// A source or destination is not there.
    COPY_TARGET_DEVICE_NOT_REACHABLE = CopyAborted, 0x0d, 0x02;
    /// A source or destination is not of the kind that its descriptor says.
    INCORRECT_COPY_TARGET_DEVICE_TYPE = CopyAborted, 0x0d, 0x03;
    /// A field of a segment descriptor is wrong.
    COPY_INVALID_FIELD_IN_PARAMETER_LIST = CopyAborted, 0x26, 0x00;
    /// A segment is no whole number of blocks.
    UNEXPECTED_INEXACT_SEGMENT = CopyAborted, 0x26, 0x0a;
    /// A copy found no memory.
    COPY_INSUFFICIENT_RESOURCES = CopyAborted, 0x55, 0x03;

    /// Data came unsolicited that was not allowed (RFC 7143 section 11.4.7.2).
    UNEXPECTED_UNSOLICITED_DATA = AbortedCommand, 0x0c, 0x0c;
    /// More or less data came than was asked for or allowed (RFC 7143 section
    /// 11.4.7.2).
    INCORRECT_AMOUNT_OF_DATA = AbortedCommand, 0x0c, 0x0d;
    /// The blocks can be reached through another target port group, see the
    /// referral that comes with it.
    INSPECT_REFERRALS = AbortedCommand, 0x3f, 0x15;
    /// The protocol service CRC did not match (RFC 7143 section 11.4.7.2).
    PROTOCOL_SERVICE_CRC_ERROR = AbortedCommand, 0x47, 0x05;
    /// Data came out of turn.
    DATA_PHASE_ERROR = AbortedCommand, 0x4b, 0x00;
    /// Data came for another offset than the next.
    DATA_OFFSET_ERROR = AbortedCommand, 0x4b, 0x05;
    /// Commands ended with their connection (RFC 7143 section 11.14.5).
    SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT = UnitAttention, 0x47, 0x7f;

    /// The data did not match; [`info`](Sense::info) is the byte offset.
    MISCOMPARE_DURING_VERIFY_OPERATION = Miscompare, 0x1d, 0x00;
}

impl Sense {
    /// Sense data with nothing but its three codes.
    pub const fn new(key: SenseKey, asc: u8, ascq: u8) -> Sense {
        Sense {
            key,
            asc,
            ascq,
            deferred: false,
            info: None,
            command_specific: None,
            field: None,
            segment: None,
            forwarded: None,
        }
    }

    /// INVALID FIELD IN CDB, pointing at a whole byte (`bit` None) or at the
    /// most significant bit (7 to 0) of a field.
    pub const fn invalid_cdb(byte: u16, bit: Option<u8>) -> Sense {
        let mut sense = Sense::INVALID_FIELD_IN_CDB;
        sense.field = Some(FieldPointer {
            cdb: true,
            byte,
            bit,
        });
        sense
    }

    /// INVALID FIELD IN PARAMETER LIST, pointing as
    /// [`invalid_cdb`](Self::invalid_cdb) does.
    pub const fn invalid_parameter(byte: u16, bit: Option<u8>) -> Sense {
        let mut sense = Sense::INVALID_FIELD_IN_PARAMETER_LIST;
        sense.field = Some(FieldPointer {
            cdb: false,
            byte,
            bit,
        });
        sense
    }

    /// The same with INFORMATION.
    pub const fn with_info(mut self, info: u64) -> Sense {
        self.info = Some(info);
        self
    }

    /// The same with COMMAND-SPECIFIC INFORMATION.
    pub const fn with_command_specific(mut self, value: u64) -> Sense {
        self.command_specific = Some(value);
        self
    }

    /// The same as a deferred error.
    pub const fn deferred(mut self) -> Sense {
        self.deferred = true;
        self
    }

    /// Whether the key and codes are those of `other`, whatever the rest says.
    pub fn is(&self, other: &Sense) -> bool {
        self.key == other.key && self.asc == other.asc && self.ascq == other.ascq
    }

    /// Writes fixed format (SPC-4, "Fixed format sense data", 18 bytes and what
    /// is forwarded) or descriptor format sense data (SPC-4, "Descriptor format sense data", at
    /// most [`SENSE_MAX_LEN`] bytes), clipped to `out`; returns the full length.
    ///
    /// Fixed format has 32 bits for INFORMATION and COMMAND-SPECIFIC
    /// INFORMATION: a larger INFORMATION leaves VALID zero, as SPC-4 demands.
    pub fn emit(&self, descriptor: bool, out: &mut [u8]) -> usize {
        let mut put = Put::new(out);
        if descriptor {
            self.emit_descriptor(&mut put);
        } else {
            self.emit_fixed(&mut put);
        }
        put.len()
    }

    fn emit_fixed(&self, put: &mut Put<'_>) {
        let info = self.info.and_then(|info| u32::try_from(info).ok());
        let mut specific = self.command_specific.and_then(|v| u32::try_from(v).ok());
        let mut additional = FIXED_ADDITIONAL;
        if let Some(forwarded) = &self.forwarded {
            // Where the status and sense data of the source, or of the
            // destination, begin, counted from the first byte.
            let shift = if forwarded.destination { 16 } else { 24 };
            let at = u32::from(super::put::len8(SENSE_FIXED_LEN)) << shift;
            specific = Some(specific.unwrap_or(0) | at);
            additional = additional.saturating_add(1).saturating_add(
                forwarded
                    .sense
                    .map_or(0, |_| super::put::len8(SENSE_FIXED_LEN)),
            );
        }
        let valid = if info.is_some() { 0x80 } else { 0 };
        put.u8(valid | if self.deferred { 0x71 } else { 0x70 });
        put.u8(0);
        put.u8(self.key as u8);
        put.u32(info.unwrap_or(0));
        put.u8(additional);
        put.u32(specific.unwrap_or(0));
        put.u8(self.asc);
        put.u8(self.ascq);
        put.u8(0);
        put.bytes(&self.key_specific().unwrap_or([0; 3]));
        if let Some(forwarded) = &self.forwarded {
            put.u8(forwarded.status.code());
            if let Some((key, asc, ascq)) = forwarded.sense {
                put.bytes(&[0x70, 0, key as u8, 0, 0, 0, 0, FIXED_ADDITIONAL]);
                put.bytes(&[0, 0, 0, 0, asc, ascq, 0, 0, 0, 0]);
            }
        }
    }

    fn emit_descriptor(&self, put: &mut Put<'_>) {
        put.u8(if self.deferred { 0x73 } else { 0x72 });
        put.u8(self.key as u8);
        put.u8(self.asc);
        put.u8(self.ascq);
        put.zeros(3);
        let mut additional = 0u8;
        if self.info.is_some() {
            additional = additional.saturating_add(12);
        }
        if self.command_specific.is_some() {
            additional = additional.saturating_add(12);
        }
        if self.key_specific().is_some() {
            additional = additional.saturating_add(8);
        }
        if let Some(forwarded) = &self.forwarded {
            additional = additional.saturating_add(forwarded.sense.map_or(4, |_| 12));
        }
        put.u8(additional);
        if let Some(info) = self.info {
            put.bytes(&[0x00, 0x0a, 0x80, 0x00]);
            put.u64(info);
        }
        if let Some(value) = self.command_specific {
            put.bytes(&[0x01, 0x0a, 0x00, 0x00]);
            put.u64(value);
        }
        if let Some([a, b, c]) = self.key_specific() {
            put.bytes(&[0x02, 0x06, 0x00, 0x00, a, b, c, 0x00]);
        }
        if let Some(forwarded) = &self.forwarded {
            // SPC-4, "Forwarded sense data sense data descriptor".
            put.u8(0x0c);
            put.u8(forwarded.sense.map_or(2, |_| 10));
            put.u8(if forwarded.destination { 2 } else { 1 });
            put.u8(forwarded.status.code());
            if let Some((key, asc, ascq)) = forwarded.sense {
                put.bytes(&[0x72, key as u8, asc, ascq, 0, 0, 0, 0]);
            }
        }
    }

    /// The three bytes of sense key specific data, SKSV set.
    fn key_specific(&self) -> Option<[u8; 3]> {
        if let Some(field) = self.field {
            let mut flags = 0x80;
            if field.cdb {
                flags |= 0x40;
            }
            if let Some(bit) = field.bit {
                flags |= 0x08 | (bit & 0x07);
            }
            let [hi, lo] = field.byte.to_be_bytes();
            return Some([flags, hi, lo]);
        }
        let segment = self.segment?;
        // SKSV, SD.
        let mut flags = 0xa0;
        if let Some(bit) = segment.bit {
            flags |= 0x08 | (bit & 0x07);
        }
        let [hi, lo] = segment.byte.to_be_bytes();
        Some([flags, hi, lo])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(sense: &Sense, descriptor: bool) -> ([u8; 64], usize) {
        let mut out = [0xa5; 64];
        let len = sense.emit(descriptor, &mut out);
        assert_eq!(out[len..], [0xa5; 64][len..], "wrote past its length");
        (out, len)
    }

    #[track_caller]
    fn check(sense: Sense, descriptor: bool, want: &[u8]) {
        let (out, len) = emit(&sense, descriptor);
        assert_eq!(&out[..len], want);
        for clip in 0..len {
            let mut part = [0xa5; 64];
            assert_eq!(sense.emit(descriptor, &mut part[..clip]), len);
            assert_eq!(part[..clip], want[..clip]);
            assert_eq!(part[clip..], [0xa5; 64][clip..]);
        }
    }

    #[test]
    fn fixed_format() {
        check(
            Sense::NO_ADDITIONAL_SENSE,
            false,
            &[0x70, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        check(
            Sense::UNRECOVERED_READ_ERROR.with_info(0x1234_5678),
            false,
            &[
                0xf0, 0, 0x03, 0x12, 0x34, 0x56, 0x78, 0x0a, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0,
            ],
        );
        check(
            Sense::WRITE_ERROR
                .deferred()
                .with_command_specific(0x0102_0304),
            false,
            &[
                0x71, 0, 0x03, 0, 0, 0, 0, 0x0a, 1, 2, 3, 4, 0x0c, 0, 0, 0, 0, 0,
            ],
        );
    }

    #[test]
    fn fixed_format_has_32_bits_of_information() {
        let largest = Sense::UNRECOVERED_READ_ERROR.with_info(0xffff_ffff);
        let (out, _) = emit(&largest, false);
        assert_eq!(out[..7], [0xf0, 0, 3, 0xff, 0xff, 0xff, 0xff]);
        let beyond = Sense::UNRECOVERED_READ_ERROR.with_info(0x1_0000_0000);
        let (out, _) = emit(&beyond, false);
        assert_eq!(out[..7], [0x70, 0, 3, 0, 0, 0, 0]);
    }

    #[test]
    fn descriptor_format() {
        check(
            Sense::WRITE_PROTECTED,
            true,
            &[0x72, 7, 0x27, 0, 0, 0, 0, 0],
        );
        check(
            Sense::MISCOMPARE_DURING_VERIFY_OPERATION.with_info(0x0102_0304_0506_0708),
            true,
            &[
                0x72, 0x0e, 0x1d, 0, 0, 0, 0, 12, // header
                0x00, 0x0a, 0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8, // information
            ],
        );
        check(
            Sense::WRITE_ERROR.deferred(),
            true,
            &[0x73, 3, 0x0c, 0, 0, 0, 0, 0],
        );
    }

    #[test]
    fn the_longest_is_the_maximum() {
        let mut sense = Sense::invalid_cdb(2, None);
        sense.info = Some(1);
        sense.command_specific = Some(2);
        let mut fixed = sense;
        fixed.command_specific = None;
        assert_eq!(emit(&fixed, false).1, SENSE_FIXED_LEN);
        sense.forwarded = Some(Forwarded {
            destination: true,
            status: Status::CheckCondition,
            sense: Some((SenseKey::DataProtect, 0x27, 0)),
        });
        check(
            sense,
            true,
            &[
                0x72, 5, 0x24, 0, 0, 0, 0, 44, // header
                0x00, 0x0a, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, // information
                0x01, 0x0a, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 2, // command specific
                0x02, 0x06, 0x00, 0, 0xc0, 0, 2, 0, // sense key specific
                0x0c, 0x0a, 0x02, 0x02, 0x72, 7, 0x27, 0, 0, 0, 0, 0, // forwarded
            ],
        );
        assert_eq!(emit(&sense, true).1, SENSE_MAX_LEN);
        assert!(emit(&sense, false).1 < SENSE_MAX_LEN);
    }

    #[test]
    fn copies_that_are_aborted() {
        check(
            Sense::COPY_ABORTED.in_segment(0x0102, Some((20, Some(3)))),
            false,
            &[
                0x70, 0, 0x0a, 0, 0, 0, 0, 0x0a, 0, 0, 1, 2, 0, 0, 0, 0xab, 0, 20,
            ],
        );
        let mut source = Sense::THIRD_PARTY_DEVICE_FAILURE.in_segment(3, None);
        source.forwarded = Some(Forwarded {
            destination: false,
            status: Status::CheckCondition,
            sense: Some((SenseKey::MediumError, 0x11, 0)),
        });
        check(
            source.with_info(5),
            false,
            &[
                0xf0, 0, 0x0a, 0, 0, 0, 5, 29, 18, 0, 0, 3, 0x0d, 1, 0, 0, 0, 0, // its own
                0x02, 0x70, 0, 3, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0,
            ],
        );
        let mut destination = Sense::THIRD_PARTY_DEVICE_FAILURE.in_segment(3, None);
        destination.forwarded = Some(Forwarded {
            destination: true,
            status: Status::ReservationConflict,
            sense: None,
        });
        check(
            destination,
            false,
            &[
                0x70, 0, 0x0a, 0, 0, 0, 0, 11, 0, 18, 0, 3, 0x0d, 1, 0, 0, 0, 0, 0x18,
            ],
        );
        check(
            destination,
            true,
            &[
                0x72, 0x0a, 0x0d, 1, 0, 0, 0, 16, // header
                0x01, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, // command specific
                0x0c, 0x02, 0x02, 0x18, // forwarded
            ],
        );
    }

    #[test]
    fn field_pointers() {
        // SKSV, C/D, BPV and bit pointer, then the byte.
        let cases: [(Sense, [u8; 3]); 4] = [
            (Sense::invalid_cdb(2, None), [0xc0, 0, 2]),
            (Sense::invalid_cdb(1, Some(7)), [0xcf, 0, 1]),
            (
                Sense::invalid_parameter(0x0123, Some(0)),
                [0x88, 0x01, 0x23],
            ),
            (Sense::invalid_parameter(10, None), [0x80, 0, 10]),
        ];
        for (sense, want) in cases {
            let (out, _) = emit(&sense, false);
            assert_eq!(out[15..18], want);
            let (out, _) = emit(&sense, true);
            assert_eq!(out[8..12], [0x02, 0x06, 0, 0]);
            assert_eq!(out[12..15], want);
        }
    }

    #[test]
    fn is_compares_the_codes_only() {
        let sense = Sense::LBA_OUT_OF_RANGE.with_info(7);
        assert!(sense.is(&Sense::LBA_OUT_OF_RANGE));
        assert_ne!(sense, Sense::LBA_OUT_OF_RANGE);
        assert!(!Sense::INVALID_TOKEN_OPERATION.is(&Sense::UNSUPPORTED_TOKEN_TYPE));
        assert!(!Sense::COPY_ABORTED.is(&Sense::NO_ADDITIONAL_SENSE));
    }

    /// Against the list of codes that T10 publishes (SPC-4, "ASC and ASCQ
    /// assignments").
    #[test]
    #[rustfmt::skip]
    fn codes() {
        let codes = [
            (Sense::NO_ADDITIONAL_SENSE, [0x0, 0x00, 0x00]),
            (Sense::NOT_READY_CAUSE_NOT_REPORTABLE, [0x2, 0x04, 0x00]),
            (Sense::NOT_READY_STATE_TRANSITION, [0x2, 0x04, 0x0a]),
            (Sense::NOT_READY_STANDBY, [0x2, 0x04, 0x0b]),
            (Sense::NOT_READY_UNAVAILABLE, [0x2, 0x04, 0x0c]),
            (Sense::NOT_READY_OFFLINE, [0x2, 0x04, 0x12]),
            (Sense::LOGICAL_UNIT_COMMUNICATION_FAILURE, [0x2, 0x08, 0x00]),
            (Sense::WRITE_ERROR, [0x3, 0x0c, 0x00]),
            (Sense::UNRECOVERED_READ_ERROR, [0x3, 0x11, 0x00]),
            (Sense::INTERNAL_TARGET_FAILURE, [0x4, 0x44, 0x00]),
            (Sense::PARAMETER_LIST_LENGTH_ERROR, [0x5, 0x1a, 0x00]),
            (Sense::INVALID_COMMAND_OPERATION_CODE, [0x5, 0x20, 0x00]),
            (Sense::LBA_OUT_OF_RANGE, [0x5, 0x21, 0x00]),
            (Sense::INVALID_FIELD_IN_CDB, [0x5, 0x24, 0x00]),
            (Sense::LOGICAL_UNIT_NOT_SUPPORTED, [0x5, 0x25, 0x00]),
            (Sense::INVALID_FIELD_IN_PARAMETER_LIST, [0x5, 0x26, 0x00]),
            (Sense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION, [0x5, 0x26, 0x04]),
            (Sense::SAVING_PARAMETERS_NOT_SUPPORTED, [0x5, 0x39, 0x00]),
            (Sense::INVALID_MESSAGE_ERROR, [0x5, 0x49, 0x00]),
            (Sense::INSUFFICIENT_REGISTRATION_RESOURCES, [0x5, 0x55, 0x04]),
            (Sense::SET_TARGET_PORT_GROUPS_COMMAND_FAILED, [0x5, 0x67, 0x0a]),
            (Sense::POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED, [0x6, 0x29, 0x00]),
            (Sense::POWER_ON_OCCURRED, [0x6, 0x29, 0x01]),
            (Sense::SCSI_BUS_RESET_OCCURRED, [0x6, 0x29, 0x02]),
            (Sense::BUS_DEVICE_RESET_FUNCTION_OCCURRED, [0x6, 0x29, 0x03]),
            (Sense::DEVICE_INTERNAL_RESET, [0x6, 0x29, 0x04]),
            (Sense::I_T_NEXUS_LOSS_OCCURRED, [0x6, 0x29, 0x07]),
            (Sense::MODE_PARAMETERS_CHANGED, [0x6, 0x2a, 0x01]),
            (Sense::RESERVATIONS_PREEMPTED, [0x6, 0x2a, 0x03]),
            (Sense::RESERVATIONS_RELEASED, [0x6, 0x2a, 0x04]),
            (Sense::REGISTRATIONS_PREEMPTED, [0x6, 0x2a, 0x05]),
            (Sense::ASYMMETRIC_ACCESS_STATE_CHANGED, [0x6, 0x2a, 0x06]),
            (Sense::IMPLICIT_ASYMMETRIC_ACCESS_STATE_TRANSITION_FAILED, [0x6, 0x2a, 0x07]),
            (Sense::CAPACITY_DATA_HAS_CHANGED, [0x6, 0x2a, 0x09]),
            (Sense::PREVIOUS_BUSY_STATUS, [0x6, 0x2c, 0x07]),
            (Sense::PREVIOUS_TASK_SET_FULL_STATUS, [0x6, 0x2c, 0x08]),
            (Sense::PREVIOUS_RESERVATION_CONFLICT_STATUS, [0x6, 0x2c, 0x09]),
            (Sense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR, [0x6, 0x2f, 0x00]),
            (Sense::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED, [0x6, 0x38, 0x07]),
            (Sense::INQUIRY_DATA_HAS_CHANGED, [0x6, 0x3f, 0x03]),
            (Sense::REPORTED_LUNS_DATA_HAS_CHANGED, [0x6, 0x3f, 0x0e]),
            (Sense::WRITE_PROTECTED, [0x7, 0x27, 0x00]),
            (Sense::SPACE_ALLOCATION_FAILED_WRITE_PROTECT, [0x7, 0x27, 0x07]),
            (Sense::UNEXPECTED_UNSOLICITED_DATA, [0xb, 0x0c, 0x0c]),
            (Sense::INCORRECT_AMOUNT_OF_DATA, [0xb, 0x0c, 0x0d]),
            (Sense::PROTOCOL_SERVICE_CRC_ERROR, [0xb, 0x47, 0x05]),
            (
                Sense::SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT,
                [0x6, 0x47, 0x7f],
            ),
            (Sense::DATA_PHASE_ERROR, [0xb, 0x4b, 0x00]),
            (Sense::DATA_OFFSET_ERROR, [0xb, 0x4b, 0x05]),
            (Sense::MISCOMPARE_DURING_VERIFY_OPERATION, [0xe, 0x1d, 0x00]),
        ];
        for (sense, want) in codes {
            let (out, _) = emit(&sense, true);
            assert_eq!(out[1..4], want, "{sense:?}");
            let (out, _) = emit(&sense, false);
            assert_eq!([out[2], out[12], out[13]], want, "{sense:?}");
        }
    }
}
