// SPDX-License-Identifier: GPL-2.0

//! PDU formats (RFC 7143 section 11, RFC 7144 sections 5 and 6).
//!
//! A request enters through [`Request::parse`], which is a reference cast and
//! the checks that can be made on the header alone. A response leaves through
//! the `emit` of its own type, which writes all 48 bytes. One file per PDU.

pub mod ahs;
pub mod async_msg;
pub mod bhs;
pub mod data_in;
pub mod data_out;
pub mod error;
pub mod login;
pub mod logout;
pub mod nop;
pub mod r2t;
pub mod reject;
pub mod scsi_command;
pub mod scsi_response;
pub mod snack;
pub mod task_mgmt;
pub mod text;

#[cfg(test)]
mod testing;

pub use ahs::Ahs;
pub use async_msg::AsyncEvent;
pub use async_msg::AsyncMessage;
pub use bhs::Bhs;
pub use bhs::Opcode;
pub use data_in::DataIn;
pub use data_out::DataOut;
pub use error::Error;
pub use login::LoginRequest;
pub use login::LoginResponse;
pub use login::LoginStatus;
pub use login::Stage;
pub use logout::LogoutReason;
pub use logout::LogoutRequest;
pub use logout::LogoutResponse;
pub use logout::LogoutResponseCode;
pub use nop::NopIn;
pub use nop::NopOut;
pub use r2t::R2t;
pub use reject::Reject;
pub use reject::RejectReason;
pub use scsi_command::ScsiCommand;
pub use scsi_command::TaskAttr;
pub use scsi_response::Residual;
pub use scsi_response::Response;
pub use scsi_response::ScsiResponse;
pub use scsi_response::ScsiStatus;
pub use snack::SnackRequest;
pub use snack::SnackType;
pub use task_mgmt::TaskMgmtRequest;
pub use task_mgmt::TaskMgmtResponse;
pub use task_mgmt::TmFunction;
pub use task_mgmt::TmResponse;
pub use text::TextRequest;
pub use text::TextResponse;

/// Length of the Basic Header Segment in bytes (RFC 7143 section 11.2.1).
pub const BHS_LEN: usize = 48;

/// Length of a CRC32C header or data digest in bytes (RFC 7143 section 13.1).
pub const DIGEST_LEN: u32 = 4;

/// The longest that all Additional Header Segments of a PDU can be, in bytes:
/// TotalAHSLength is 8 bits and counts words of 4 bytes.
pub const MAX_TOTAL_AHS_LENGTH: u32 = 255 * 4;

/// The largest DataSegmentLength that 24 bits can say, in bytes.
pub const MAX_DATA_SEGMENT_LENGTH: u32 = 0x00ff_ffff;

/// The reserved Initiator Task Tag and Target Transfer Tag: "no tag"
/// (RFC 7143 sections 11.2.1.8 and 11.7.4).
pub const RESERVED_TAG: u32 = 0xffff_ffff;

/// How many padding bytes follow a segment of `len` bytes: 0 to 3 (RFC 7143
/// section 11.1).
#[inline]
#[must_use]
pub const fn pad_len(len: u32) -> u32 {
    len.wrapping_neg() & 3
}

/// `len` with its padding: the next multiple of 4.
///
/// Exact for every length that a header can say. The three lengths above
/// 2^32 - 4 have no such multiple and give 2^32 - 4.
#[inline]
#[must_use]
pub const fn pad4(len: u32) -> u32 {
    len.saturating_add(3) & !3
}

/// A request, as its 48-byte header tells it.
///
/// # Invariants
///
/// Made by [`Request::parse`] only from a header that passed the checks of its
/// PDU, so what those checks forbid is not seen through the references.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// 0x00: a ping, the answer to a ping, or only an acknowledgement.
    NopOut(&'a NopOut),
    /// 0x01: a SCSI command.
    ScsiCommand(&'a ScsiCommand),
    /// 0x02: a task management function.
    TaskMgmt(&'a TaskMgmtRequest),
    /// 0x03: a step of the login.
    Login(&'a LoginRequest),
    /// 0x04: text keys outside the login.
    Text(&'a TextRequest),
    /// 0x05: data of a write.
    DataOut(&'a DataOut),
    /// 0x06: the end of a connection or session.
    Logout(&'a LogoutRequest),
    /// 0x10: asks for retransmission or acknowledges data.
    Snack(&'a SnackRequest),
}

impl<'a> Request<'a> {
    /// Reads the header of a PDU from an initiator.
    ///
    /// Only what the 48 bytes themselves tell is checked, and only where RFC
    /// 7143 forbids it: what depends on the session, the task or negotiated
    /// values is for the caller. Reserved bits and fields are ignored, as
    /// section 11 demands of a receiver.
    ///
    /// # Errors
    ///
    /// [`Error`] says what is wrong and which Reject reason to answer with.
    /// RFC 7143 section 7.3: a rejected command's CmdSN does not count as
    /// received, so this comes before [`crate::proto::window::CmdWindow::admit`].
    #[inline]
    pub fn parse(header: &'a [u8; BHS_LEN]) -> Result<Request<'a>, Error> {
        match Bhs::cast(header).raw_opcode() {
            bhs::SCSI_COMMAND => ScsiCommand::parse(header).map(Request::ScsiCommand),
            bhs::SCSI_DATA_OUT => DataOut::parse(header).map(Request::DataOut),
            bhs::NOP_OUT => NopOut::parse(header).map(Request::NopOut),
            bhs::TASK_MGMT_REQUEST => TaskMgmtRequest::parse(header).map(Request::TaskMgmt),
            bhs::LOGIN_REQUEST => LoginRequest::parse(header).map(Request::Login),
            bhs::TEXT_REQUEST => TextRequest::parse(header).map(Request::Text),
            bhs::LOGOUT_REQUEST => LogoutRequest::parse(header).map(Request::Logout),
            bhs::SNACK_REQUEST => SnackRequest::parse(header).map(Request::Snack),
            // RFC 7143 section 11.2.1.2: "Initiators MUST NOT use target
            // Opcodes."
            raw if raw & 0x20 != 0 => Err(Error::TargetOpcode(raw)),
            raw => Err(Error::UnknownOpcode(raw)),
        }
    }
}

/// Refuses Additional Header Segments.
///
/// RFC 7143 section 11.2.1.5: "The TotalAHSLength is only used in PDUs that
/// have an AHS and MUST be 0 in all other PDUs."
#[inline]
fn no_ahs(bhs: &Bhs) -> Result<(), Error> {
    match bhs.total_ahs_length() {
        0 => Ok(()),
        length => Err(Error::UnexpectedAhs {
            opcode: bhs.opcode(),
            length,
        }),
    }
}

/// Refuses a data segment, for PDUs where "DataSegmentLength MUST be 0".
#[inline]
fn no_data(bhs: &Bhs) -> Result<(), Error> {
    match bhs.data_segment_length() {
        0 => Ok(()),
        length => Err(Error::UnexpectedData {
            opcode: bhs.opcode(),
            length,
        }),
    }
}

/// Refuses a cleared F bit, for PDUs whose format has a constant 1 there.
#[inline]
fn final_bit_set(bhs: &Bhs) -> Result<(), Error> {
    if bhs.final_bit() {
        Ok(())
    } else {
        Err(Error::FinalBitClear(bhs.opcode()))
    }
}

/// Refuses the reserved Initiator Task Tag.
///
/// RFC 7143 section 11.2.1.8: "An ITT value of 0xffffffff is reserved and
/// MUST NOT be assigned for a task by the initiator."
#[inline]
fn valid_itt(bhs: &Bhs) -> Result<(), Error> {
    if bhs.itt() == RESERVED_TAG {
        Err(Error::ReservedItt(bhs.opcode()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::string::ToString;

    #[test]
    fn padding_is_up_to_a_word() {
        for (len, pad) in [
            (0, 0),
            (1, 3),
            (2, 2),
            (3, 1),
            (4, 0),
            (5, 3),
            (0xff_ffff, 1),
        ] {
            assert_eq!(pad_len(len), pad, "{len}");
            assert_eq!(pad4(len), len + pad, "{len}");
        }
        assert_eq!(pad4(u32::MAX - 3), u32::MAX - 3);
        assert_eq!(pad4(u32::MAX), u32::MAX - 3);
    }

    /// Section 11.2.1.2: all opcodes, and what is said to those that are not
    /// ours.
    #[test]
    fn each_opcode_is_known_or_refused() {
        let mut known = BTreeSet::new();
        for first in 0..=255u8 {
            let mut header = [0; BHS_LEN];
            header[0] = first;
            header[1] = bhs::FINAL;
            let opcode = first & 0x3f;
            // The I bit and the reserved bit make no difference to it.
            assert_eq!(Bhs::cast(&header).opcode(), Opcode::from(opcode));
            match Request::parse(&header) {
                Ok(_) => {
                    known.insert(opcode);
                }
                Err(error) if opcode >= 0x20 => {
                    assert_eq!(error, Error::TargetOpcode(opcode));
                    assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
                    assert_eq!(error.login_status(), LoginStatus::INVALID_DURING_LOGIN);
                }
                Err(error) => {
                    assert_eq!(error, Error::UnknownOpcode(opcode));
                    assert_eq!(error.reject_reason(), RejectReason::CommandNotSupported);
                    assert_eq!(error.login_status(), LoginStatus::INVALID_DURING_LOGIN);
                }
            }
        }
        assert_eq!(known, BTreeSet::from([0, 1, 2, 3, 4, 5, 6, 0x10]));
    }

    proptest! {
        /// Whatever comes, parsing it ends, and what it refuses can be told.
        #[test]
        fn any_header_is_parsed_or_refused(
            header: [u8; BHS_LEN],
            opcode in prop::sample::select(&[0u8, 1, 2, 3, 4, 5, 6, 0x10, 0x41][..]),
        ) {
            for header in [header, testing::with(&header, &[(0, opcode)])] {
                match Request::parse(&header) {
                    Ok(request) => {
                        let bhs = Bhs::cast(&header);
                        prop_assert_eq!(request_opcode(request), bhs.opcode());
                        let only_commands = matches!(request, Request::ScsiCommand(_));
                        prop_assert!(only_commands || bhs.total_ahs_length() == 0);
                    }
                    Err(error) => {
                        prop_assert!(!error.to_string().is_empty());
                        prop_assert!(error.reject_reason() != RejectReason::WaitingForLogout);
                        prop_assert!(!error.login_status().is_success());
                    }
                }
            }
        }
    }

    fn request_opcode(request: Request<'_>) -> Opcode {
        match request {
            Request::NopOut(_) => Opcode::NopOut,
            Request::ScsiCommand(_) => Opcode::ScsiCommand,
            Request::TaskMgmt(_) => Opcode::TaskMgmtRequest,
            Request::Login(_) => Opcode::LoginRequest,
            Request::Text(_) => Opcode::TextRequest,
            Request::DataOut(_) => Opcode::DataOut,
            Request::Logout(_) => Opcode::LogoutRequest,
            Request::Snack(_) => Opcode::SnackRequest,
        }
    }
}
