// SPDX-License-Identifier: GPL-2.0

//! SCSI Response (RFC 7143 section 11.4).

use core::fmt;

use zerocopy::{
    big_endian::U32, //
    transmute,
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
        BHS_LEN,
    },
};

/// The end of a SCSI command. Its C twin is `struct iscsi_scsi_rsp`.
///
/// The data segment, where there is one, begins with 2 bytes of SenseLength
/// (section 11.4.7). With CHECK CONDITION it must hold sense data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// The SCSI status. Not sent unless `response` is
    /// [`Response::CommandCompleted`].
    pub status: ScsiStatus,
    /// The iSCSI service response.
    pub response: Response,
    /// The command's Initiator Task Tag.
    pub itt: u32,
    /// The SNACK Tag of the last R-Data SNACK accepted for it, else 0.
    pub snack_tag: u32,
    /// StatSN; it advances after this PDU.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// How many Data-In and R2T PDUs were sent for a command that reads;
    /// [`crate::proto::transfer::ReadPlan::data_sn`] counts them. Not sent
    /// unless `response` is [`Response::CommandCompleted`].
    pub exp_data_sn: u32,
    /// The difference between the data expected and the data there is.
    pub residual: Residual,
    /// The length of the data segment in bytes, SenseLength included.
    pub data_len: u32,
}

impl ScsiResponse {
    /// Writes the whole header.
    ///
    /// RFC 7143 section 11.4.1: "For a response other than 'Command Completed
    /// at Target', bits 3-6 MUST be 0"; ExpDataSN MUST be 0 then as well
    /// (section 11.4.8).
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        let completed = self.response == Response::CommandCompleted;
        let (status, residual, exp_data_sn) = if completed {
            (self.status, self.residual, self.exp_data_sn)
        } else {
            (ScsiStatus::GOOD, Residual::None, 0)
        };
        *out = transmute!(ScsiResponseLayout {
            opcode: bhs::SCSI_RESPONSE,
            flags: bhs::FINAL | residual.flags(),
            response: self.response as u8,
            status: status.0,
            total_ahs_length: 0,
            data_segment_length: U24::new(self.data_len),
            reserved8: [0; 8],
            itt: U32::new(self.itt),
            snack_tag: U32::new(self.snack_tag),
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            exp_data_sn: U32::new(exp_data_sn),
            bidi_residual_count: U32::ZERO,
            residual_count: U32::new(residual.count()),
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ScsiResponseLayout {
    opcode: u8,
    flags: u8,
    response: u8,
    status: u8,
    total_ahs_length: u8,
    data_segment_length: U24,
    reserved8: [u8; 8],
    itt: U32,
    snack_tag: U32,
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    exp_data_sn: U32,
    bidi_residual_count: U32,
    residual_count: U32,
}

/// The iSCSI service response (RFC 7143 section 11.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Response {
    /// 0x00: the SCSI status is valid.
    CommandCompleted = 0x00,
    /// 0x01: the command could not be executed at all.
    TargetFailure = 0x01,
}

/// How many bytes less, or more, than the Expected Data Transfer Length there
/// were to transfer (RFC 7143 section 11.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// Exactly as many as expected.
    None,
    /// This many bytes of those expected were not transferred.
    Under(u32),
    /// This many bytes were not transferred because too few were expected.
    Over(u32),
}

impl Residual {
    /// The residual of a command that had `actual` bytes to transfer where the
    /// initiator expected `edtl`.
    ///
    /// Section 11.4.5.2 calls `actual` the SCSI-Presented Data Transfer Length.
    /// An overflow above 2^32 - 1 is reported as that.
    #[inline]
    #[must_use]
    pub fn new(edtl: u32, actual: u64) -> Residual {
        let edtl = u64::from(edtl);
        if actual > edtl {
            let over = actual.saturating_sub(edtl);
            Residual::Over(u32::try_from(over).unwrap_or(u32::MAX))
        } else {
            match u32::try_from(edtl.saturating_sub(actual)) {
                Ok(0) | Err(_) => Residual::None,
                Ok(under) => Residual::Under(under),
            }
        }
    }

    /// The O and U bits. An overflow or underflow of 0 bytes is none.
    #[inline]
    pub(crate) fn flags(self) -> u8 {
        match self {
            Residual::None | Residual::Under(0) | Residual::Over(0) => 0,
            Residual::Under(_) => UNDERFLOW,
            Residual::Over(_) => OVERFLOW,
        }
    }

    /// The Residual Count.
    #[inline]
    pub(crate) fn count(self) -> u32 {
        match self {
            Residual::None => 0,
            Residual::Under(count) | Residual::Over(count) => count,
        }
    }
}

/// The SCSI status byte (SAM; RFC 7143 section 11.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiStatus(pub u8);

impl ScsiStatus {
    /// The command succeeded.
    pub const GOOD: ScsiStatus = ScsiStatus(0x00);
    /// The command failed; sense data says why.
    pub const CHECK_CONDITION: ScsiStatus = ScsiStatus(0x02);
    /// The condition that was asked for holds.
    pub const CONDITION_MET: ScsiStatus = ScsiStatus(0x04);
    /// The logical unit cannot take the command now.
    pub const BUSY: ScsiStatus = ScsiStatus(0x08);
    /// Another initiator holds a reservation.
    pub const RESERVATION_CONFLICT: ScsiStatus = ScsiStatus(0x18);
    /// The task set has no room.
    pub const TASK_SET_FULL: ScsiStatus = ScsiStatus(0x28);
    /// An auto contingent allegiance exists.
    pub const ACA_ACTIVE: ScsiStatus = ScsiStatus(0x30);
    /// Another initiator aborted the command.
    pub const TASK_ABORTED: ScsiStatus = ScsiStatus(0x40);

    /// Whether the status may travel in the last Data-In PDU: "the command did
    /// not end with an exception" (RFC 7143 section 11.7).
    #[inline]
    #[must_use]
    pub fn fits_data_in(self) -> bool {
        self == ScsiStatus::GOOD || self == ScsiStatus::CONDITION_MET
    }
}

impl fmt::Display for ScsiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ScsiStatus::GOOD => "GOOD",
            ScsiStatus::CHECK_CONDITION => "CHECK CONDITION",
            ScsiStatus::CONDITION_MET => "CONDITION MET",
            ScsiStatus::BUSY => "BUSY",
            ScsiStatus::RESERVATION_CONFLICT => "RESERVATION CONFLICT",
            ScsiStatus::TASK_SET_FULL => "TASK SET FULL",
            ScsiStatus::ACA_ACTIVE => "ACA ACTIVE",
            ScsiStatus::TASK_ABORTED => "TASK ABORTED",
            ScsiStatus(other) => return write!(f, "status {other:#04x}"),
        })
    }
}

/// The O bit in byte 1.
pub const OVERFLOW: u8 = 0x04;
/// The U bit in byte 1.
pub const UNDERFLOW: u8 = 0x02;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;
    use proptest::prelude::*;

    const VECTORS: &str = include_str!("../../../tests/vectors/scsi_response.hex");

    const GOOD: ScsiResponse = ScsiResponse {
        status: ScsiStatus::GOOD,
        response: Response::CommandCompleted,
        itt: 0x10,
        snack_tag: 0,
        stat_sn: Sn(0x202),
        exp_cmd_sn: Sn(0x102),
        max_cmd_sn: Sn(0x181),
        exp_data_sn: 3,
        residual: Residual::None,
        data_len: 0,
    };

    #[test]
    fn each_response_is_written_whole() {
        assert_eq!(emitted(|out| GOOD.emit(out)), header(VECTORS, "good"));
        let check = ScsiResponse {
            status: ScsiStatus::CHECK_CONDITION,
            itt: 0xdead_beef,
            stat_sn: Sn(0xffff_ffff),
            exp_cmd_sn: Sn(0),
            max_cmd_sn: Sn(0x7f),
            exp_data_sn: 0,
            residual: Residual::Under(4096),
            data_len: 20,
            ..GOOD
        };
        assert_eq!(emitted(|out| check.emit(out)), header(VECTORS, "check"));
        let over = ScsiResponse {
            itt: 0x11,
            snack_tag: 0x0102_0304,
            stat_sn: Sn(0x204),
            exp_cmd_sn: Sn(0x103),
            max_cmd_sn: Sn(0x182),
            exp_data_sn: 0,
            residual: Residual::Over(512),
            ..GOOD
        };
        assert_eq!(emitted(|out| over.emit(out)), header(VECTORS, "over"));
    }

    /// Section 11.4.1: bits 3 to 6 MUST be 0 then, and section 11.4.8:
    /// ExpDataSN as well.
    #[test]
    fn a_target_failure_has_neither_status_nor_residual() {
        let failure = ScsiResponse {
            status: ScsiStatus::BUSY,
            response: Response::TargetFailure,
            itt: 0x12,
            stat_sn: Sn(0x205),
            exp_cmd_sn: Sn(0x104),
            max_cmd_sn: Sn(0x183),
            residual: Residual::Under(1),
            ..GOOD
        };
        assert_eq!(emitted(|out| failure.emit(out)), header(VECTORS, "failure"));
    }

    #[test]
    fn residuals_at_the_edges() {
        assert_eq!(Residual::new(0, 0), Residual::None);
        assert_eq!(Residual::new(512, 512), Residual::None);
        assert_eq!(Residual::new(512, 511), Residual::Under(1));
        assert_eq!(Residual::new(512, 513), Residual::Over(1));
        assert_eq!(Residual::new(u32::MAX, 0), Residual::Under(u32::MAX));
        assert_eq!(
            Residual::new(0, u64::from(u32::MAX)),
            Residual::Over(u32::MAX)
        );
        assert_eq!(Residual::new(0, u64::MAX), Residual::Over(u32::MAX));
    }

    #[test]
    fn an_empty_residual_sets_no_bit() {
        for none in [Residual::None, Residual::Under(0), Residual::Over(0)] {
            assert_eq!((none.flags(), none.count()), (0, 0));
        }
    }

    proptest! {
        /// Section 11.4.5.2, in arithmetic that cannot wrap.
        #[test]
        fn residual_is_the_difference(edtl: u32, actual in 0..u64::from(u32::MAX) * 2) {
            let difference = i128::from(actual) - i128::from(edtl);
            let told = match Residual::new(edtl, actual) {
                Residual::None => 0,
                Residual::Under(count) => -i128::from(count),
                Residual::Over(count) => i128::from(count),
            };
            prop_assert_eq!(told, difference.min(i128::from(u32::MAX)));
        }
    }
}
