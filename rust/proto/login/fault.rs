// SPDX-License-Identifier: GPL-2.0

//! Why a login is refused, and which status the initiator is told.

use core::fmt;

use super::keys::Key;
use crate::proto::chap;
use crate::proto::text::NoSpace;
use crate::proto::text::TextError;
use crate::proto::wire;
use crate::proto::wire::LoginStatus;

/// Why a login ends without a session.
///
/// The text of it is for the target's log; the initiator is told
/// [`Fault::status`], and nothing else but where a target has moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The header of a request is malformed.
    Header(wire::Error),
    /// The text of a request is malformed.
    Text(TextError),
    /// A data segment is longer than [`super::MAX_DATA_SEGMENT_LEN`].
    DataTooLong,
    /// The T and the C bit are both set (section 11.12.2).
    TransitAndContinue,
    /// A stage that is reserved, or FullFeaturePhase as the current one.
    BadStage,
    /// The current stage is not the one that the login is in.
    WrongStage,
    /// A transition that section 6.3 does not allow.
    BadTransition,
    /// A field that must be constant during a login has changed.
    FieldChanged(&'static str),
    /// Version-min is above 0.
    Version,
    /// More than [`super::MAX_REQUESTS`] requests.
    TooManyRequests,
    /// Something is wrong with a key.
    Key(Key, KeyFault),
    /// The InitiatorName is not an iSCSI name.
    BadInitiatorName,
    /// The TargetName is not an iSCSI name, so there is no such target.
    BadTargetName,
    /// A SessionType that does not exist.
    BadSessionType,
    /// Authentication is required, and the initiator will not.
    AuthenticationRequired,
    /// No authentication method that the initiator proposes may be used.
    NoCommonAuthMethod,
    /// The CHAP exchange failed.
    Chap(chap::Failure),
    /// The target refuses this initiator or session.
    Host(LoginStatus),
    /// The target is to be found elsewhere.
    Moved(LoginStatus),
    /// A PDU that is not a Login Request.
    NotLogin,
    /// The answer does not fit its buffer.
    NoSpace,
    /// The login is over.
    Over,
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It must not be sent by an initiator, or not in this stage, phase,
    /// connection or step.
    NotAllowed,
    /// It was sent before.
    Repeated,
    /// Its value is one of the reserved answers (section 6.2).
    Reserved,
    /// Its value is too long.
    TooLong,
    /// What it declares is not acceptable (section 7.12).
    BadDeclaration,
    /// No value is acceptable to both sides (section 7.12).
    NoAgreement,
    /// It is missing.
    Missing,
}

impl Fault {
    /// The target's refusal. A status that is not one is told as 0300.
    pub(super) fn host(status: LoginStatus) -> Self {
        match status {
            LoginStatus::TARGET_MOVED_TEMPORARILY | LoginStatus::TARGET_MOVED_PERMANENTLY => {
                Self::Moved(status)
            }
            LoginStatus { class: 2 | 3, .. } => Self::Host(status),
            _ => Self::Host(LoginStatus::TARGET_ERROR),
        }
    }

    /// What the initiator is told (RFC 7143 section 11.13.5).
    pub fn status(&self) -> LoginStatus {
        match self {
            Self::Header(error) => error.login_status(),
            Self::Version => LoginStatus::UNSUPPORTED_VERSION,
            Self::Key(_, KeyFault::Missing) => LoginStatus::MISSING_PARAMETER,
            Self::BadTargetName => LoginStatus::NOT_FOUND,
            Self::BadSessionType => LoginStatus::SESSION_TYPE_NOT_SUPPORTED,
            Self::AuthenticationRequired | Self::NoCommonAuthMethod => {
                LoginStatus::AUTHENTICATION_FAILURE
            }
            Self::Chap(chap::Failure::NoSpace) | Self::NoSpace => LoginStatus::OUT_OF_RESOURCES,
            Self::Chap(failure) if failure.is_malformed() => LoginStatus::INITIATOR_ERROR,
            Self::Chap(_) => LoginStatus::AUTHENTICATION_FAILURE,
            Self::Host(status) | Self::Moved(status) => *status,
            Self::NotLogin => LoginStatus::INVALID_DURING_LOGIN,
            _ => LoginStatus::INITIATOR_ERROR,
        }
    }
}

impl From<TextError> for Fault {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

impl From<NoSpace> for Fault {
    fn from(_: NoSpace) -> Self {
        Self::NoSpace
    }
}

impl From<chap::Failure> for Fault {
    fn from(failure: chap::Failure) -> Self {
        Self::Chap(failure)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => error.fmt(f),
            Self::Text(error) => error.fmt(f),
            Self::DataTooLong => f.write_str("a data segment longer than 8192 bytes"),
            Self::TransitAndContinue => f.write_str("the T and the C bit are both set"),
            Self::BadStage => f.write_str("a stage that is reserved or not a login stage"),
            Self::WrongStage => f.write_str("not the stage that the login is in"),
            Self::BadTransition => f.write_str("a transition to a stage that does not follow"),
            Self::FieldChanged(field) => write!(f, "{field} changed during the login"),
            Self::Version => f.write_str("only version 0 is supported"),
            Self::TooManyRequests => f.write_str("too many requests in one login"),
            Self::Key(key, fault) => write!(f, "{} {fault}", key.name()),
            Self::BadInitiatorName => f.write_str("InitiatorName is not an iSCSI name"),
            Self::BadTargetName => f.write_str("TargetName is not an iSCSI name"),
            Self::BadSessionType => f.write_str("SessionType must be Discovery or Normal"),
            Self::AuthenticationRequired => f.write_str("authentication is required"),
            Self::NoCommonAuthMethod => {
                f.write_str("none of the authentication methods proposed may be used")
            }
            Self::Chap(failure) => failure.fmt(f),
            Self::Host(status) | Self::Moved(status) => write!(f, "{status}"),
            Self::NotLogin => f.write_str("a PDU that is not a Login Request"),
            Self::NoSpace => f.write_str("no space left for the answer"),
            Self::Over => f.write_str("the login is over"),
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "is not allowed here",
            Self::Repeated => "is sent twice",
            Self::Reserved => "has a reserved word as its value",
            Self::TooLong => "has a value that is too long",
            Self::BadDeclaration => "declares a value that is not acceptable",
            Self::NoAgreement => "has no value that both sides accept",
            Self::Missing => "is missing",
        })
    }
}
