// SPDX-License-Identifier: GPL-2.0

//! Login Request and Login Response (RFC 7143 sections 11.12 and 11.13).

use core::fmt;

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
        no_ahs, valid_itt, Bhs, Error, Opcode, BHS_LEN,
    },
};

/// A step of the login. Its C twin is `struct iscsi_login_req`.
///
/// Login Requests are always immediate (section 11.12), so the I bit is not
/// looked at. The stages and the T and C bits are for the login to judge: its
/// refusals are Login Responses, not Rejects.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LoginRequest {
    opcode: u8,
    flags: u8,
    version_max: u8,
    version_min: u8,
    total_ahs_length: u8,
    data_segment_length: U24,
    isid: [u8; 6],
    tsih: U16,
    itt: U32,
    cid: U16,
    reserved22: [u8; 2],
    cmd_sn: U32,
    exp_stat_sn: U32,
    reserved32: [u8; 16],
}

const _: () = assert!(size_of::<LoginRequest>() == BHS_LEN);

impl LoginRequest {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&LoginRequest, Error> {
        let bhs = Bhs::cast(header);
        no_ahs(bhs)?;
        valid_itt(bhs)?;
        Ok(transmute_ref!(header))
    }

    /// ISID, TSIH and Initiator Task Tag of a header that breaks a rule, for
    /// its refusal; `None` if it is not one of a Login Request.
    pub(crate) fn identify(header: &[u8; BHS_LEN]) -> Option<([u8; 6], u16, u32)> {
        if Bhs::cast(header).opcode() != Opcode::LoginRequest {
            return None;
        }
        let request: &LoginRequest = transmute_ref!(header);
        Some((request.isid, request.tsih.get(), request.itt.get()))
    }

    /// The T bit: ready for the next stage.
    #[inline]
    #[must_use]
    pub fn transit(&self) -> bool {
        self.flags & bhs::FINAL != 0
    }

    /// The C bit: the keys go on in the next request. "A Login Request with
    /// the C bit set to 1 MUST have the T bit set to 0" (section 11.12.2).
    #[inline]
    #[must_use]
    pub fn continue_bit(&self) -> bool {
        self.flags & bhs::CONTINUE != 0
    }

    /// The current stage.
    ///
    /// # Errors
    ///
    /// [`Error::ReservedStage`] for the reserved value 2.
    #[inline]
    pub fn csg(&self) -> Result<Stage, Error> {
        Stage::from_bits(self.flags >> 2)
    }

    /// The next stage. Valid only where [`LoginRequest::transit`].
    ///
    /// # Errors
    ///
    /// [`Error::ReservedStage`] for the reserved value 2.
    #[inline]
    pub fn nsg(&self) -> Result<Stage, Error> {
        Stage::from_bits(self.flags)
    }

    /// The highest version that the initiator supports.
    #[inline]
    #[must_use]
    pub fn version_max(&self) -> u8 {
        self.version_max
    }

    /// The lowest version that the initiator supports.
    #[inline]
    #[must_use]
    pub fn version_min(&self) -> u8 {
        self.version_min
    }

    /// The initiator's part of the session identifier.
    #[inline]
    #[must_use]
    pub fn isid(&self) -> [u8; 6] {
        self.isid
    }

    /// The target's part of the session identifier, 0 for a new session.
    #[inline]
    #[must_use]
    pub fn tsih(&self) -> u16 {
        self.tsih.get()
    }
}

getters!(LoginRequest {
    /// The length of the keys in bytes.
    data_segment_length,
    /// The Initiator Task Tag. The same in all requests of a login.
    itt,
    /// The connection identifier. The same in all requests of a login.
    cid,
    /// The CmdSN. In the first request of a new session it is where the
    /// session's numbers begin.
    cmd_sn,
    /// The ExpStatSN. Not valid in the first request of a connection, unless
    /// it restarts one.
    exp_stat_sn,
});

/// A stage of the login (RFC 7143 section 11.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// 0: SecurityNegotiation.
    SecurityNegotiation = 0,
    /// 1: LoginOperationalNegotiation.
    LoginOperationalNegotiation = 1,
    /// 3: FullFeaturePhase.
    FullFeaturePhase = 3,
}

impl Stage {
    #[inline]
    fn from_bits(bits: u8) -> Result<Stage, Error> {
        match bits & 3 {
            0 => Ok(Stage::SecurityNegotiation),
            1 => Ok(Stage::LoginOperationalNegotiation),
            3 => Ok(Stage::FullFeaturePhase),
            reserved => Err(Error::ReservedStage(reserved)),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::SecurityNegotiation => "SecurityNegotiation",
            Stage::LoginOperationalNegotiation => "LoginOperationalNegotiation",
            Stage::FullFeaturePhase => "FullFeaturePhase",
        })
    }
}

/// The answer to a step of the login. Its C twin is `struct iscsi_login_rsp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// The T bit: the stage ends. Only where the request had it (section
    /// 11.13.6), and never with `continue_bit` (section 11.13.7).
    pub transit: bool,
    /// The C bit: the keys go on in the next response.
    pub continue_bit: bool,
    /// The current stage.
    pub csg: Stage,
    /// The next stage. Sent only with `transit`, else reserved.
    pub nsg: Stage,
    /// The highest version that the target supports.
    pub version_max: u8,
    /// The version in use, or the lowest supported when none fits.
    pub version_active: u8,
    /// The request's ISID.
    pub isid: [u8; 6],
    /// The request's TSIH; in the last response of a new session the one that
    /// the target gave it.
    pub tsih: u16,
    /// The request's Initiator Task Tag.
    pub itt: u32,
    /// StatSN; it advances after this PDU. Valid only with success.
    pub stat_sn: Sn,
    /// ExpCmdSN. Valid only with success.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN. Valid only with success.
    pub max_cmd_sn: Sn,
    /// Success, or why not. Unless success, the connection closes after it.
    pub status: LoginStatus,
    /// The length of the keys in bytes.
    pub data_len: u32,
}

impl LoginResponse {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        let mut flags = (self.csg as u8) << 2;
        if self.transit {
            flags |= bhs::FINAL | self.nsg as u8;
        }
        if self.continue_bit {
            flags |= bhs::CONTINUE;
        }
        *out = transmute!(LoginResponseLayout {
            opcode: bhs::LOGIN_RESPONSE,
            flags,
            version_max: self.version_max,
            version_active: self.version_active,
            total_ahs_length: 0,
            data_segment_length: U24::new(self.data_len),
            isid: self.isid,
            tsih: U16::new(self.tsih),
            itt: U32::new(self.itt),
            reserved20: [0; 4],
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            status_class: self.status.class,
            status_detail: self.status.detail,
            reserved38: [0; 10],
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LoginResponseLayout {
    opcode: u8,
    flags: u8,
    version_max: u8,
    version_active: u8,
    total_ahs_length: u8,
    data_segment_length: U24,
    isid: [u8; 6],
    tsih: U16,
    itt: U32,
    reserved20: [u8; 4],
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    status_class: u8,
    status_detail: u8,
    reserved38: [u8; 10],
}

/// The status of a login (RFC 7143 section 11.13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoginStatus {
    /// The Status-Class: 0 success, 1 redirection, 2 the initiator's fault, 3
    /// the target's.
    pub class: u8,
    /// The Status-Detail within the class.
    pub detail: u8,
}

impl LoginStatus {
    /// 0000: login is proceeding.
    pub const SUCCESS: LoginStatus = LoginStatus::new(0x00, 0x00);
    /// 0101: the target has moved for a while.
    pub const TARGET_MOVED_TEMPORARILY: LoginStatus = LoginStatus::new(0x01, 0x01);
    /// 0102: the target has moved for good.
    pub const TARGET_MOVED_PERMANENTLY: LoginStatus = LoginStatus::new(0x01, 0x02);
    /// 0200: some other fault of the initiator.
    pub const INITIATOR_ERROR: LoginStatus = LoginStatus::new(0x02, 0x00);
    /// 0201: authentication failed.
    pub const AUTHENTICATION_FAILURE: LoginStatus = LoginStatus::new(0x02, 0x01);
    /// 0202: the initiator may not use this target.
    pub const AUTHORIZATION_FAILURE: LoginStatus = LoginStatus::new(0x02, 0x02);
    /// 0203: there is no such target here.
    pub const NOT_FOUND: LoginStatus = LoginStatus::new(0x02, 0x03);
    /// 0204: the target has been removed.
    pub const TARGET_REMOVED: LoginStatus = LoginStatus::new(0x02, 0x04);
    /// 0205: no version in the range that the initiator asked for.
    pub const UNSUPPORTED_VERSION: LoginStatus = LoginStatus::new(0x02, 0x05);
    /// 0206: too many connections in this session.
    pub const TOO_MANY_CONNECTIONS: LoginStatus = LoginStatus::new(0x02, 0x06);
    /// 0207: a key that must be there is missing.
    pub const MISSING_PARAMETER: LoginStatus = LoginStatus::new(0x02, 0x07);
    /// 0208: the session cannot span to this connection.
    pub const CANT_INCLUDE_IN_SESSION: LoginStatus = LoginStatus::new(0x02, 0x08);
    /// 0209: no such session type, or not for this initiator.
    pub const SESSION_TYPE_NOT_SUPPORTED: LoginStatus = LoginStatus::new(0x02, 0x09);
    /// 020a: no session to add the connection to.
    pub const SESSION_DOES_NOT_EXIST: LoginStatus = LoginStatus::new(0x02, 0x0a);
    /// 020b: not a request that belongs in a login.
    pub const INVALID_DURING_LOGIN: LoginStatus = LoginStatus::new(0x02, 0x0b);
    /// 0300: hardware or software error of the target.
    pub const TARGET_ERROR: LoginStatus = LoginStatus::new(0x03, 0x00);
    /// 0301: the target is not in service now.
    pub const SERVICE_UNAVAILABLE: LoginStatus = LoginStatus::new(0x03, 0x01);
    /// 0302: the target has no resources for it.
    pub const OUT_OF_RESOURCES: LoginStatus = LoginStatus::new(0x03, 0x02);

    /// The status of this class and detail.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> LoginStatus {
        LoginStatus { class, detail }
    }

    /// Whether the login goes on.
    #[inline]
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class == 0
    }
}

impl fmt::Display for LoginStatus {
    /// The four hexadecimal digits of RFC 7143's table and its words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match *self {
            LoginStatus::SUCCESS => "success",
            LoginStatus::TARGET_MOVED_TEMPORARILY => "target moved temporarily",
            LoginStatus::TARGET_MOVED_PERMANENTLY => "target moved permanently",
            LoginStatus::INITIATOR_ERROR => "initiator error",
            LoginStatus::AUTHENTICATION_FAILURE => "authentication failure",
            LoginStatus::AUTHORIZATION_FAILURE => "authorization failure",
            LoginStatus::NOT_FOUND => "not found",
            LoginStatus::TARGET_REMOVED => "target removed",
            LoginStatus::UNSUPPORTED_VERSION => "unsupported version",
            LoginStatus::TOO_MANY_CONNECTIONS => "too many connections",
            LoginStatus::MISSING_PARAMETER => "missing parameter",
            LoginStatus::CANT_INCLUDE_IN_SESSION => "can't include in session",
            LoginStatus::SESSION_TYPE_NOT_SUPPORTED => "session type not supported",
            LoginStatus::SESSION_DOES_NOT_EXIST => "session does not exist",
            LoginStatus::INVALID_DURING_LOGIN => "invalid during login",
            LoginStatus::TARGET_ERROR => "target error",
            LoginStatus::SERVICE_UNAVAILABLE => "service unavailable",
            LoginStatus::OUT_OF_RESOURCES => "out of resources",
            _ => "unassigned",
        };
        write!(f, "{:02x}{:02x} ({words})", self.class, self.detail)
    }
}

/// The protocol version of RFC 7143 (section 11.12.4), the only one there is.
pub const VERSION: u8 = 0x00;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;
    use crate::proto::wire::Opcode;
    use crate::proto::wire::Request;
    use std::string::ToString;

    const VECTORS: &str = include_str!("../../../tests/vectors/login.hex");

    fn login(header: &[u8; BHS_LEN]) -> &LoginRequest {
        match parse(header) {
            Request::Login(login) => login,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields() {
        let first = header(VECTORS, "request");
        let first = login(&first);
        assert!(first.transit() && !first.continue_bit());
        assert_eq!(first.csg(), Ok(Stage::SecurityNegotiation));
        assert_eq!(first.nsg(), Ok(Stage::LoginOperationalNegotiation));
        assert_eq!(
            (first.version_max(), first.version_min()),
            (VERSION, VERSION)
        );
        assert_eq!(first.data_segment_length(), 160);
        assert_eq!(first.isid(), [0x40, 0, 1, 0x37, 0, 0]);
        assert_eq!((first.tsih(), first.itt(), first.cid()), (0, 1, 2));
        assert_eq!((first.cmd_sn(), first.exp_stat_sn()), (Sn(0xabc), Sn(0)));

        let more = header(VECTORS, "request_continues");
        let more = login(&more);
        assert!(!more.transit() && more.continue_bit());
        assert_eq!(more.csg(), Ok(Stage::LoginOperationalNegotiation));
        assert_eq!((more.version_max(), more.version_min()), (3, 1));
        assert_eq!(more.data_segment_length(), 0x010203);
        assert_eq!(more.isid(), [0x80, 0x12, 0x34, 0x56, 0, 1]);
        assert_eq!((more.tsih(), more.itt(), more.cid()), (0x1234, 2, 3));
        assert_eq!((more.cmd_sn(), more.exp_stat_sn()), (Sn(0xabd), Sn(9)));
    }

    #[test]
    fn each_pair_of_stages() {
        let first = header(VECTORS, "request");
        let stages = [
            Ok(Stage::SecurityNegotiation),
            Ok(Stage::LoginOperationalNegotiation),
            Err(Error::ReservedStage(2)),
            Ok(Stage::FullFeaturePhase),
        ];
        for (csg, current) in (0u8..).zip(stages) {
            for (nsg, next) in (0u8..).zip(stages) {
                let header = with(&first, &[(1, 0x80 | csg << 2 | nsg)]);
                assert_eq!(
                    (login(&header).csg(), login(&header).nsg()),
                    (current, next)
                );
            }
        }
    }

    /// Section 11.12: Login Requests are always immediate, so the I bit says
    /// nothing.
    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(VECTORS, "request"),
            &[(0..1, 0xc0), (1..2, 0x30), (22..24, 0xff), (32..48, 0xff)],
            |request| match request {
                Request::Login(l) => (
                    (l.transit(), l.continue_bit(), l.csg(), l.nsg()),
                    (l.version_max(), l.version_min(), l.isid(), l.tsih()),
                    (l.itt(), l.cid(), l.cmd_sn(), l.exp_stat_sn()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn refusals() {
        let request = header(VECTORS, "request");
        let opcode = Opcode::LoginRequest;
        let error = refusal(&with(&request, &[(4, 1)]));
        assert_eq!(error, Error::UnexpectedAhs { opcode, length: 4 });
        assert_eq!(error.login_status(), LoginStatus::INITIATOR_ERROR);
        assert_eq!(
            refusal(&with(
                &request,
                &[(16, 255), (17, 255), (18, 255), (19, 255)]
            )),
            Error::ReservedItt(opcode)
        );
    }

    #[test]
    fn responses_are_written_whole() {
        let last = LoginResponse {
            transit: true,
            continue_bit: false,
            csg: Stage::LoginOperationalNegotiation,
            nsg: Stage::FullFeaturePhase,
            version_max: VERSION,
            version_active: VERSION,
            isid: [0x40, 0, 1, 0x37, 0, 0],
            tsih: 7,
            itt: 1,
            stat_sn: Sn(5),
            exp_cmd_sn: Sn(0xabc),
            max_cmd_sn: Sn(0xb3b),
            status: LoginStatus::SUCCESS,
            data_len: 48,
        };
        assert_eq!(emitted(|out| last.emit(out)), header(VECTORS, "final"));
        let refused = LoginResponse {
            transit: false,
            csg: Stage::SecurityNegotiation,
            tsih: 0,
            max_cmd_sn: Sn(0xabc),
            status: LoginStatus::AUTHENTICATION_FAILURE,
            data_len: 0,
            ..last
        };
        assert_eq!(emitted(|out| refused.emit(out)), header(VECTORS, "refused"));
        let more = LoginResponse {
            continue_bit: true,
            stat_sn: Sn(6),
            max_cmd_sn: Sn(0xb3b),
            status: LoginStatus::SUCCESS,
            data_len: 8192,
            ..refused
        };
        assert_eq!(
            emitted(|out| more.emit(out)),
            header(VECTORS, "response_continues")
        );
    }

    #[test]
    fn a_status_names_its_code() {
        assert_eq!(LoginStatus::NOT_FOUND.to_string(), "0203 (not found)");
        assert_eq!(
            LoginStatus::new(0x04, 0x1f).to_string(),
            "041f (unassigned)"
        );
        assert!(LoginStatus::SUCCESS.is_success() && !LoginStatus::NOT_FOUND.is_success());
    }
}
