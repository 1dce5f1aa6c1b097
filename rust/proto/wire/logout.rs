// SPDX-License-Identifier: GPL-2.0

//! Logout Request and Logout Response (RFC 7143 sections 11.14 and 11.15).

use zerocopy::{
    big_endian::{
        U16, //
        U32,
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
        final_bit_set, no_ahs, no_data, valid_itt, Bhs, Error, BHS_LEN,
    },
};

/// Asks to close a connection or the session. Its C twin is
/// `struct iscsi_logout`.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LogoutRequest {
    opcode: u8,
    flags: u8,
    reserved2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: U24,
    reserved8: [u8; 8],
    itt: U32,
    cid: U16,
    reserved22: [u8; 2],
    cmd_sn: U32,
    exp_stat_sn: U32,
    reserved32: [u8; 16],
}

const _: () = assert!(size_of::<LogoutRequest>() == BHS_LEN);

impl LogoutRequest {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&LogoutRequest, Error> {
        let bhs = Bhs::cast(header);
        final_bit_set(bhs)?;
        // RFC 7143 section 11.14.2: "TotalAHSLength and DataSegmentLength MUST
        // be 0."
        no_ahs(bhs)?;
        no_data(bhs)?;
        valid_itt(bhs)?;
        let logout: &LogoutRequest = transmute_ref!(header);
        match logout.reason() {
            LogoutReason::Reserved(reason) => Err(Error::ReservedLogoutReason(reason)),
            _ => Ok(logout),
        }
    }

    /// What is to be closed.
    #[inline]
    #[must_use]
    pub fn reason(&self) -> LogoutReason {
        match self.flags & 0x7f {
            0 => LogoutReason::CloseSession,
            1 => LogoutReason::CloseConnection,
            2 => LogoutReason::RemoveForRecovery,
            reserved => LogoutReason::Reserved(reserved),
        }
    }
}

getters!(LogoutRequest {
    /// The I bit.
    immediate,
    /// The Initiator Task Tag.
    itt,
    /// The connection to close. Not valid with [`LogoutReason::CloseSession`].
    cid,
    /// The CmdSN.
    cmd_sn,
    /// The last ExpStatSN of the connection to be closed.
    exp_stat_sn,
});

/// Why an initiator logs out (RFC 7143 section 11.14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutReason {
    /// 0: all connections of the session end, and all its commands.
    CloseSession,
    /// 1: the connection ends, and all its commands.
    CloseConnection,
    /// 2: the connection ends, its commands wait for another. Not supported
    /// below ErrorRecoveryLevel 2.
    RemoveForRecovery,
    /// 3 to 127. Does not come out of `Request::parse`.
    Reserved(u8),
}

/// The answer to a Logout Request. Its C twin is `struct iscsi_logout_rsp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// What became of it.
    pub response: LogoutResponseCode,
    /// The request's Initiator Task Tag.
    pub itt: u32,
    /// StatSN.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// Time2Wait in seconds (section 11.15.3).
    pub time2wait: u16,
    /// Time2Retain in seconds (section 11.15.4).
    pub time2retain: u16,
}

impl LogoutResponse {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        *out = transmute!(LogoutResponseLayout {
            opcode: bhs::LOGOUT_RESPONSE,
            flags: bhs::FINAL,
            response: self.response as u8,
            reserved3: 0,
            total_ahs_length: 0,
            data_segment_length: [0; 3],
            reserved8: [0; 8],
            itt: U32::new(self.itt),
            reserved20: [0; 4],
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            reserved36: [0; 4],
            time2wait: U16::new(self.time2wait),
            time2retain: U16::new(self.time2retain),
            reserved44: [0; 4],
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LogoutResponseLayout {
    opcode: u8,
    flags: u8,
    response: u8,
    reserved3: u8,
    total_ahs_length: u8,
    data_segment_length: [u8; 3],
    reserved8: [u8; 8],
    itt: U32,
    reserved20: [u8; 4],
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    reserved36: [u8; 4],
    time2wait: U16,
    time2retain: U16,
    reserved44: [u8; 4],
}

/// What became of a Logout Request (RFC 7143 section 11.15.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogoutResponseCode {
    /// 0: closed.
    Success = 0,
    /// 1: no connection with that CID.
    CidNotFound = 1,
    /// 2: connection recovery is not supported.
    RecoveryNotSupported = 2,
    /// 3: the cleanup failed.
    CleanupFailed = 3,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;
    use crate::proto::wire::Opcode;
    use crate::proto::wire::RejectReason;
    use crate::proto::wire::Request;

    const VECTORS: &str = include_str!("../../../tests/vectors/logout.hex");

    fn logout(header: &[u8; BHS_LEN]) -> &LogoutRequest {
        match parse(header) {
            Request::Logout(logout) => logout,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields() {
        let session = header(VECTORS, "close_session");
        let session = logout(&session);
        assert!(session.immediate());
        assert_eq!(session.reason(), LogoutReason::CloseSession);
        assert_eq!((session.itt(), session.cid()), (4, 0));
        assert_eq!(
            (session.cmd_sn(), session.exp_stat_sn()),
            (Sn(0x109), Sn(0x212))
        );

        let connection = header(VECTORS, "close_connection");
        let connection = logout(&connection);
        assert!(!connection.immediate());
        assert_eq!(connection.reason(), LogoutReason::CloseConnection);
        assert_eq!((connection.itt(), connection.cid()), (5, 0x0102));
    }

    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(VECTORS, "close_connection"),
            &[
                (0..1, 0x80),
                (2..4, 0xff),
                (8..16, 0xff),
                (22..24, 0xff),
                (32..48, 0xff),
            ],
            |request| match request {
                Request::Logout(l) => (
                    (l.immediate(), l.reason(), l.itt()),
                    (l.cid(), l.cmd_sn(), l.exp_stat_sn()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn refusals() {
        let session = header(VECTORS, "close_session");
        let opcode = Opcode::LogoutRequest;
        assert_eq!(
            logout(&with(&session, &[(1, 0x82)])).reason(),
            LogoutReason::RemoveForRecovery
        );
        for reason in [3, 127] {
            let error = refusal(&with(&session, &[(1, 0x80 | reason)]));
            assert_eq!(error, Error::ReservedLogoutReason(reason));
            assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
        }
        assert_eq!(
            refusal(&with(&session, &[(1, 0)])),
            Error::FinalBitClear(opcode)
        );
        assert_eq!(
            refusal(&with(&session, &[(4, 1)])),
            Error::UnexpectedAhs { opcode, length: 4 }
        );
        assert_eq!(
            refusal(&with(&session, &[(5, 1)])),
            Error::UnexpectedData {
                opcode,
                length: 65536
            }
        );
        assert_eq!(
            refusal(&with(
                &session,
                &[(16, 255), (17, 255), (18, 255), (19, 255)]
            )),
            Error::ReservedItt(opcode)
        );
    }

    #[test]
    fn responses_are_written_whole() {
        let closed = LogoutResponse {
            response: LogoutResponseCode::Success,
            itt: 4,
            stat_sn: Sn(0x212),
            exp_cmd_sn: Sn(0x109),
            max_cmd_sn: Sn(0x188),
            time2wait: 2,
            time2retain: 20,
        };
        assert_eq!(emitted(|out| closed.emit(out)), header(VECTORS, "closed"));
        let no_recovery = LogoutResponse {
            response: LogoutResponseCode::RecoveryNotSupported,
            itt: 6,
            stat_sn: Sn(0x213),
            time2wait: 0,
            time2retain: 0,
            ..closed
        };
        assert_eq!(
            emitted(|out| no_recovery.emit(out)),
            header(VECTORS, "no_recovery")
        );
    }
}
