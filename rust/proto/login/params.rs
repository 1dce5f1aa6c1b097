// SPDX-License-Identifier: GPL-2.0

//! What an administrator sets and what a login agrees on.

use core::fmt;

use super::keys::{
    Key, //
    Rule,
};
use crate::proto::text::value;
use crate::proto::text::value::ValueError;

/// The `param/` attributes of a target portal group: what the target offers
/// in a login.
///
/// # Invariants
///
/// Each value is one that the target really honours.
#[derive(Clone, Debug)]
pub struct TpgParams {
    /// Authentication methods that may be used, the preferred first.
    pub auth_method: AuthMethods,
    /// Header digests that may be used, the preferred first.
    pub header_digest: Digests,
    /// Data digests that may be used, the preferred first.
    pub data_digest: Digests,
    /// The session-wide values offered.
    pub session: SessionParams,
    /// The longest data segment that the target receives, in bytes.
    pub max_recv_data_segment_length: u32,
    /// The longest data segment that the target sends, in bytes, when the
    /// initiator could receive longer ones. Not a key of RFC 7143.
    pub max_xmit_data_segment_length: u32,
    /// The human-readable name of the target; empty for none.
    pub target_alias: Alias,
}

impl TpgParams {
    /// The names of all attributes, each good for [`TpgParams::set`] and
    /// [`TpgParams::show`].
    pub const NAMES: [&'static str; 21] = [
        "AuthMethod",
        "HeaderDigest",
        "DataDigest",
        "MaxConnections",
        "TargetAlias",
        "InitialR2T",
        "ImmediateData",
        "MaxRecvDataSegmentLength",
        "MaxXmitDataSegmentLength",
        "MaxBurstLength",
        "FirstBurstLength",
        "DefaultTime2Wait",
        "DefaultTime2Retain",
        "MaxOutstandingR2T",
        "DataPDUInOrder",
        "DataSequenceInOrder",
        "ErrorRecoveryLevel",
        "IFMarker",
        "OFMarker",
        "IFMarkInt",
        "OFMarkInt",
    ];

    /// What a new portal group offers.
    pub const fn new() -> Self {
        Self {
            auth_method: AuthMethods::CHAP,
            header_digest: Digests::CRC32C_NONE,
            data_digest: Digests::CRC32C_NONE,
            session: SessionParams {
                initial_r2t: false,
                // A write of 1 MiB takes two round trips, whatever the initiator
                // has for MaxOutstandingR2T: that is 1 with most.
                max_burst_length: 1_048_576,
                first_burst_length: 262_144,
                max_outstanding_r2t: 16,
                task_reporting: TaskReporting::ResponseFence,
                protocol_level: PROTOCOL_LEVEL,
                ..SessionParams::RFC_DEFAULT
            },
            max_recv_data_segment_length: 262_144,
            max_xmit_data_segment_length: 262_144,
            target_alias: Alias::EMPTY,
        }
    }

    /// Sets the attribute `name` from its text.
    ///
    /// Nothing is changed when the text is refused. `FirstBurstLength` may be
    /// set above `MaxBurstLength`; a login then offers the lower of both.
    ///
    /// # Errors
    ///
    /// [`ParamError`] says which rule the text breaks.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ParamError> {
        match name {
            "AuthMethod" => self.auth_method = AuthMethods::parse(text)?,
            "HeaderDigest" => self.header_digest = Digests::parse(text)?,
            "DataDigest" => self.data_digest = Digests::parse(text)?,
            "TargetAlias" => self.target_alias = Alias::parse(text)?,
            "MaxRecvDataSegmentLength" => {
                self.max_recv_data_segment_length = number(text, 512, MAX_LEN)?;
            }
            "MaxXmitDataSegmentLength" => {
                self.max_xmit_data_segment_length = number(text, 512, MAX_LEN)?;
            }
            "IFMarker" | "OFMarker" => only(text, "No", "markers are obsolete, only No")?,
            "IFMarkInt" | "OFMarkInt" => {
                only(text, "Reject", "markers are obsolete, only Reject")?;
            }
            _ => self.set_session(name, text)?,
        }
        Ok(())
    }

    fn set_session(&mut self, name: &str, text: &str) -> Result<(), ParamError> {
        let row = Self::NAMES
            .contains(&name)
            .then(|| super::keys::find(name))
            .flatten()
            .ok_or(ParamError::UnknownName)?;
        match row.rule {
            Rule::Minimum(low, high) | Rule::Maximum(low, high) => {
                let n = number(text, low, high)?;
                match row.key {
                    Key::MaxConnections if n > MAX_CONNECTIONS => {
                        return Err(ParamError::Unsupported("at most 8 connections per session"));
                    }
                    Key::MaxOutstandingR2T if n > MAX_OUTSTANDING_R2T => {
                        return Err(ParamError::Unsupported("at most 32 outstanding R2Ts"));
                    }
                    key => {
                        *self
                            .session
                            .number_mut(key)
                            .ok_or(ParamError::UnknownName)? = n
                    }
                }
            }
            Rule::And | Rule::Or => {
                let yes = value::boolean(text).map_err(ParamError::Value)?;
                match row.key {
                    Key::DataPduInOrder | Key::DataSequenceInOrder if !yes => {
                        return Err(ParamError::Unsupported("only data in order, Yes"));
                    }
                    key => {
                        *self
                            .session
                            .boolean_mut(key)
                            .ok_or(ParamError::UnknownName)? = yes
                    }
                }
            }
            _ => return Err(ParamError::UnknownName),
        }
        Ok(())
    }

    /// Writes the text of the attribute `name` to `f`, without a newline.
    ///
    /// # Errors
    ///
    /// An error of `f`, or [`fmt::Error`] for a name that is not in
    /// [`TpgParams::NAMES`].
    pub fn show(&self, name: &str, f: &mut dyn fmt::Write) -> fmt::Result {
        match name {
            "AuthMethod" => f.write_str(self.auth_method.as_str()),
            "HeaderDigest" => f.write_str(self.header_digest.as_str()),
            "DataDigest" => f.write_str(self.data_digest.as_str()),
            "TargetAlias" => f.write_str(self.target_alias.as_str()),
            "MaxRecvDataSegmentLength" => write!(f, "{}", self.max_recv_data_segment_length),
            "MaxXmitDataSegmentLength" => write!(f, "{}", self.max_xmit_data_segment_length),
            "IFMarker" | "OFMarker" => f.write_str("No"),
            "IFMarkInt" | "OFMarkInt" => f.write_str("Reject"),
            name if Self::NAMES.contains(&name) => self.session.show(name, f),
            _ => Err(fmt::Error),
        }
    }

    /// The FirstBurstLength offered: the one set, but never more than
    /// MaxBurstLength (RFC 7143 section 13.14).
    pub fn first_burst_length(&self) -> u32 {
        self.session
            .first_burst_length
            .min(self.session.max_burst_length)
    }
}

impl Default for TpgParams {
    fn default() -> Self {
        Self::new()
    }
}

/// The values that hold for a whole session (RFC 7143 section 13, scope SW).
///
/// After a login they are what both sides agreed on and do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionParams {
    /// Most connections.
    pub max_connections: u32,
    /// Whether an R2T is needed before any Data-Out PDU.
    pub initial_r2t: bool,
    /// Whether a command may carry data.
    pub immediate_data: bool,
    /// Longest data sequence, solicited or Data-In, in bytes.
    pub max_burst_length: u32,
    /// Most unsolicited data of one command, in bytes; at most
    /// `max_burst_length` after a login.
    pub first_burst_length: u32,
    /// Seconds to wait before a lost connection may be replaced.
    pub default_time2wait: u32,
    /// Seconds after that during which tasks can be reassigned.
    pub default_time2retain: u32,
    /// Most R2Ts outstanding per task.
    pub max_outstanding_r2t: u32,
    /// Whether PDUs of a sequence must be in order.
    pub data_pdu_in_order: bool,
    /// Whether sequences must be in order.
    pub data_sequence_in_order: bool,
    /// Error recovery level.
    pub error_recovery_level: u32,
    /// How completions of aborted tasks are reported.
    pub task_reporting: TaskReporting,
    /// The features of RFC 7144 may be used from level 2 on.
    pub protocol_level: u32,
}

impl SessionParams {
    /// What holds when nothing is negotiated.
    pub const RFC_DEFAULT: Self = Self {
        max_connections: 1,
        initial_r2t: true,
        immediate_data: true,
        max_burst_length: 262_144,
        first_burst_length: 65_536,
        default_time2wait: 2,
        default_time2retain: 20,
        max_outstanding_r2t: 1,
        data_pdu_in_order: true,
        data_sequence_in_order: true,
        error_recovery_level: 0,
        task_reporting: TaskReporting::Rfc3720,
        protocol_level: 1,
    };

    /// The names that [`SessionParams::show`] knows and that the `param/`
    /// directory of an ACL lists.
    pub const NAMES: [&'static str; 11] = [
        "MaxConnections",
        "InitialR2T",
        "ImmediateData",
        "MaxBurstLength",
        "FirstBurstLength",
        "DefaultTime2Wait",
        "DefaultTime2Retain",
        "MaxOutstandingR2T",
        "DataPDUInOrder",
        "DataSequenceInOrder",
        "ErrorRecoveryLevel",
    ];

    /// Writes the value of the key `name` to `f`, without a newline.
    ///
    /// # Errors
    ///
    /// An error of `f`, or [`fmt::Error`] for a name that is not in
    /// [`SessionParams::NAMES`].
    pub fn show(&self, name: &str, f: &mut dyn fmt::Write) -> fmt::Result {
        let key = super::keys::find(name).ok_or(fmt::Error)?.key;
        if let Some(n) = self.number(key) {
            write!(f, "{n}")
        } else {
            let yes = self.boolean(key).ok_or(fmt::Error)?;
            f.write_str(if yes { "Yes" } else { "No" })
        }
    }

    /// The value of a key with a number.
    pub(super) fn number(&self, key: Key) -> Option<u32> {
        // A copy is a few words, and one match serves both directions.
        let mut copy = *self;
        copy.number_mut(key).copied()
    }

    /// The value of a key with Yes or No.
    pub(super) fn boolean(&self, key: Key) -> Option<bool> {
        let mut copy = *self;
        copy.boolean_mut(key).copied()
    }

    pub(super) fn number_mut(&mut self, key: Key) -> Option<&mut u32> {
        Some(match key {
            Key::MaxConnections => &mut self.max_connections,
            Key::MaxBurstLength => &mut self.max_burst_length,
            Key::FirstBurstLength => &mut self.first_burst_length,
            Key::DefaultTime2Wait => &mut self.default_time2wait,
            Key::DefaultTime2Retain => &mut self.default_time2retain,
            Key::MaxOutstandingR2T => &mut self.max_outstanding_r2t,
            Key::ErrorRecoveryLevel => &mut self.error_recovery_level,
            Key::IscsiProtocolLevel => &mut self.protocol_level,
            _ => return None,
        })
    }

    pub(super) fn boolean_mut(&mut self, key: Key) -> Option<&mut bool> {
        Some(match key {
            Key::InitialR2T => &mut self.initial_r2t,
            Key::ImmediateData => &mut self.immediate_data,
            Key::DataPduInOrder => &mut self.data_pdu_in_order,
            Key::DataSequenceInOrder => &mut self.data_sequence_in_order,
            _ => return None,
        })
    }
}

/// The values that hold for one connection (RFC 7143 section 13, scope CO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnParams {
    /// The digest over headers in the full feature phase.
    pub header_digest: Digest,
    /// The digest over data segments in the full feature phase.
    pub data_digest: Digest,
    /// The longest data segment that the initiator may send, in bytes: what
    /// the target declared.
    pub max_recv_data_segment_length: u32,
    /// The longest data segment that the target may send, in bytes: what the
    /// initiator declared, or less if the administrator said so.
    pub max_xmit_data_segment_length: u32,
    /// The administrator's limit on the above.
    xmit_limit: u32,
}

impl ConnParams {
    /// What holds when nothing is negotiated, and during the login.
    pub const RFC_DEFAULT: Self = Self {
        header_digest: Digest::None,
        data_digest: Digest::None,
        max_recv_data_segment_length: 8192,
        max_xmit_data_segment_length: 8192,
        xmit_limit: MAX_LEN,
    };

    /// Takes a new declaration of the initiator's MaxRecvDataSegmentLength,
    /// in bytes. PDUs that are sent from now on keep to it.
    pub fn set_initiator_length(&mut self, length: u32) {
        self.max_xmit_data_segment_length = length.min(self.xmit_limit);
    }

    /// Sets the administrator's limit on what is sent.
    pub(super) fn limit_xmit(&mut self, limit: u32) {
        self.xmit_limit = limit;
        self.set_initiator_length(self.max_xmit_data_segment_length);
    }
}

/// A digest (RFC 7143 section 13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// No digest.
    None,
    /// CRC32C.
    Crc32c,
}

impl Digest {
    /// The digest as it stands in a text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Crc32c => "CRC32C",
        }
    }
}

/// How completions of aborted tasks are reported (RFC 7143 section 13.23).
///
/// `FastAbort` is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskReporting {
    /// As in RFC 3720.
    Rfc3720,
    /// With response fences. With one connection per session they need no
    /// work (RFC 7143 section 4.2.2.3.3 a).
    ResponseFence,
}

impl TaskReporting {
    /// The value as it stands in a text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rfc3720 => "RFC3720",
            Self::ResponseFence => "ResponseFence",
        }
    }
}

/// A list of digests without repetition, the preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests(Pair);

impl Digests {
    /// `CRC32C,None`.
    pub const CRC32C_NONE: Self = Self(Pair::Both);
    /// `None`.
    pub const NONE: Self = Self(Pair::Second);

    /// Reads a list of `CRC32C` and `None`.
    ///
    /// # Errors
    ///
    /// [`ParamError::BadList`] for any other item or a repeated one.
    pub fn parse(text: &str) -> Result<Self, ParamError> {
        Pair::parse(text, "CRC32C", "None")
            .map(Self)
            .ok_or(ParamError::BadList("CRC32C and None, each at most once"))
    }

    /// The list as text.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            Pair::First => "CRC32C",
            Pair::Second => "None",
            Pair::Both => "CRC32C,None",
            Pair::BothSwapped => "None,CRC32C",
        }
    }

    /// The first of the list.
    pub const fn preferred(self) -> Digest {
        match self.0 {
            Pair::First | Pair::Both => Digest::Crc32c,
            Pair::Second | Pair::BothSwapped => Digest::None,
        }
    }

    /// Whether `digest` may be used.
    pub const fn allows(self, digest: Digest) -> bool {
        match digest {
            Digest::Crc32c => self.0.has_first(),
            Digest::None => self.0.has_second(),
        }
    }
}

/// A list of authentication methods without repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMethods(Pair);

impl AuthMethods {
    /// `CHAP`.
    pub const CHAP: Self = Self(Pair::First);
    /// `CHAP,None`.
    pub const CHAP_NONE: Self = Self(Pair::Both);

    /// Reads a list of `CHAP` and `None`.
    ///
    /// # Errors
    ///
    /// [`ParamError::BadList`] for any other item or a repeated one.
    pub fn parse(text: &str) -> Result<Self, ParamError> {
        Pair::parse(text, "CHAP", "None")
            .map(Self)
            .ok_or(ParamError::BadList("CHAP and None, each at most once"))
    }

    /// The list as text.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            Pair::First => "CHAP",
            Pair::Second => "None",
            Pair::Both => "CHAP,None",
            Pair::BothSwapped => "None,CHAP",
        }
    }

    /// Whether CHAP may be used.
    pub const fn allows_chap(self) -> bool {
        self.0.has_first()
    }

    /// Whether an initiator may do without authentication.
    pub const fn allows_none(self) -> bool {
        self.0.has_second()
    }

    /// The list for a portal group whose `authentication` attribute is set to
    /// `required`: without None, or with it.
    pub const fn with_authentication(self, required: bool) -> Self {
        match (required, self.0) {
            (true, _) => Self::CHAP,
            (false, Pair::First) => Self::CHAP_NONE,
            (false, _) => self,
        }
    }
}

/// A list of at most two known items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    First,
    Second,
    Both,
    BothSwapped,
}

impl Pair {
    fn parse(text: &str, first: &str, second: &str) -> Option<Self> {
        let mut items = value::split(text, b',');
        Some(match (items.next()?, items.next(), items.next()) {
            (a, None, None) if a == first => Self::First,
            (a, None, None) if a == second => Self::Second,
            (a, Some(b), None) if a == first && b == second => Self::Both,
            (a, Some(b), None) if a == second && b == first => Self::BothSwapped,
            _ => return None,
        })
    }

    const fn has_first(self) -> bool {
        !matches!(self, Self::Second)
    }

    const fn has_second(self) -> bool {
        !matches!(self, Self::First)
    }
}

/// A human-readable name of up to 255 bytes of UTF-8.
///
/// # Invariants
///
/// The first `len` bytes of `bytes` are UTF-8 without NUL.
#[derive(Clone)]
pub struct Alias {
    len: u8,
    bytes: [u8; 255],
}

impl Alias {
    /// The empty alias: none.
    // INVARIANT: No bytes are UTF-8.
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; 255],
    };

    /// Takes `text`.
    ///
    /// # Errors
    ///
    /// [`ParamError::TooLong`] above 255 bytes, [`ParamError::BadText`] with
    /// a control character in it.
    pub fn parse(text: &str) -> Result<Self, ParamError> {
        if text.chars().any(char::is_control) {
            return Err(ParamError::BadText);
        }
        let len = u8::try_from(text.len()).map_err(|_| ParamError::TooLong(255))?;
        let mut alias = Self::EMPTY;
        alias
            .bytes
            .get_mut(..text.len())
            .ok_or(ParamError::TooLong(255))?
            .copy_from_slice(text.as_bytes());
        // INVARIANT: `text` is UTF-8, and NUL is a control character.
        alias.len = len;
        Ok(alias)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Which rule a value of an administrator breaks. The text is meant to stand
/// after the name and the value: `MaxBurstLength=100: must be ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamError {
    /// There is no attribute of this name.
    UnknownName,
    /// Not a number or boolean.
    Value(ValueError),
    /// Not a number within these bounds, both included.
    OutOfRange(u32, u32),
    /// Allowed by the RFC, but not supported here.
    Unsupported(&'static str),
    /// Not a list of these items.
    BadList(&'static str),
    /// Longer than this many bytes.
    TooLong(usize),
    /// Text with a control character.
    BadText,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownName => f.write_str("there is no such parameter"),
            Self::Value(error) => error.fmt(f),
            Self::OutOfRange(low, high) => write!(f, "must be {low} to {high}"),
            Self::Unsupported(what) => write!(f, "is not supported: {what}"),
            Self::BadList(items) => write!(f, "must be a comma-separated list of {items}"),
            Self::TooLong(max) => write!(f, "must be at most {max} bytes"),
            Self::BadText => f.write_str("must not contain control characters"),
        }
    }
}

fn number(text: &str, low: u32, high: u32) -> Result<u32, ParamError> {
    value::number_in(text, low, high).map_err(|error| match error {
        ValueError::OutOfRange => ParamError::OutOfRange(low, high),
        error => ParamError::Value(error),
    })
}

fn only(text: &str, allowed: &str, rule: &'static str) -> Result<(), ParamError> {
    if text == allowed {
        Ok(())
    } else {
        Err(ParamError::Unsupported(rule))
    }
}

/// Most connections of a session that this target keeps track of.
pub const MAX_CONNECTIONS: u32 = 8;

/// Most R2Ts outstanding per task that this target can keep track of.
pub const MAX_OUTSTANDING_R2T: u32 = 32;

/// The iSCSIProtocolLevel of RFC 7144, the highest this target knows.
pub const PROTOCOL_LEVEL: u32 = 2;

/// Largest 24-bit length.
const MAX_LEN: u32 = 0x00ff_ffff;

#[cfg(test)]
mod tests;
