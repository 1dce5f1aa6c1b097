// SPDX-License-Identifier: GPL-2.0

//! Every key of RFC 7143 sections 12 and 13 and of RFC 7144, one row each.
//!
//! The row says who may send the key, when, and how a value is settled; the
//! machines in [`crate::proto::login`] hold no rule of a single key beside
//! what cannot be said in a row.

/// A key that this target knows.
///
/// In the order of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Key {
    /// `AuthMethod`.
    AuthMethod,
    /// `CHAP_A`, algorithms.
    ChapA,
    /// `CHAP_I`, identifier.
    ChapI,
    /// `CHAP_C`, challenge.
    ChapC,
    /// `CHAP_N`, name.
    ChapN,
    /// `CHAP_R`, response.
    ChapR,
    /// `KRB_AP_REQ`, of a method that is not offered.
    KrbApReq,
    /// `KRB_AP_REP`, of a method that is not offered.
    KrbApRep,
    /// `SRP_U`, of a method that is not offered.
    SrpU,
    /// `TargetAuth`, of a method that is not offered.
    TargetAuth,
    /// `SRP_GROUP`, of a method that is not offered.
    SrpGroup,
    /// `SRP_A`, of a method that is not offered.
    SrpA,
    /// `SRP_B`, of a method that is not offered.
    SrpB,
    /// `SRP_M`, of a method that is not offered.
    SrpM,
    /// `SRP_HM`, of a method that is not offered.
    SrpHm,
    /// `SRP_s`, of a method that is not offered.
    SrpSalt,
    /// `HeaderDigest`.
    HeaderDigest,
    /// `DataDigest`.
    DataDigest,
    /// `MaxConnections`.
    MaxConnections,
    /// `SendTargets`.
    SendTargets,
    /// `TargetName`.
    TargetName,
    /// `InitiatorName`.
    InitiatorName,
    /// `TargetAlias`.
    TargetAlias,
    /// `InitiatorAlias`.
    InitiatorAlias,
    /// `TargetAddress`.
    TargetAddress,
    /// `TargetPortalGroupTag`.
    TargetPortalGroupTag,
    /// `InitialR2T`.
    InitialR2T,
    /// `ImmediateData`.
    ImmediateData,
    /// `MaxRecvDataSegmentLength`.
    MaxRecvDataSegmentLength,
    /// `MaxBurstLength`.
    MaxBurstLength,
    /// `FirstBurstLength`.
    FirstBurstLength,
    /// `DefaultTime2Wait`.
    DefaultTime2Wait,
    /// `DefaultTime2Retain`.
    DefaultTime2Retain,
    /// `MaxOutstandingR2T`.
    MaxOutstandingR2T,
    /// `DataPDUInOrder`.
    DataPduInOrder,
    /// `DataSequenceInOrder`.
    DataSequenceInOrder,
    /// `ErrorRecoveryLevel`.
    ErrorRecoveryLevel,
    /// `SessionType`.
    SessionType,
    /// `TaskReporting`.
    TaskReporting,
    /// `iSCSIProtocolLevel`.
    IscsiProtocolLevel,
    /// `X#NodeArchitecture`.
    NodeArchitecture,
    /// `IFMarker`, obsolete.
    IfMarker,
    /// `OFMarker`, obsolete.
    OfMarker,
    /// `IFMarkInt`, obsolete.
    IfMarkInt,
    /// `OFMarkInt`, obsolete.
    OfMarkInt,
}

impl Key {
    /// The row of this key.
    pub fn row(self) -> &'static Row {
        let index = usize::from(self as u8);
        // The table holds a row for every key, in order, as a test shows.
        TABLE.get(index).unwrap_or(&TABLE[0])
    }

    /// Whether it says who the initiator is and what it wants.
    pub(super) fn is_identity(self) -> bool {
        matches!(
            self,
            Self::InitiatorName | Self::InitiatorAlias | Self::TargetName | Self::SessionType
        )
    }

    /// The key as it stands in a text.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

/// The row of the key named `name`; case counts. `None` for a key that this
/// target answers with NotUnderstood.
pub fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// What the RFCs say about one key.
#[derive(Debug)]
pub struct Row {
    /// Which key.
    pub key: Key,
    /// The key as it stands in a text.
    pub name: &'static str,
    /// Who may send it unasked.
    pub senders: Senders,
    /// In which phase it may be sent.
    pub usage: Usage,
    /// In which stages of the login it may be sent.
    pub stages: Stages,
    /// What its value holds for.
    pub scope: Scope,
    /// How a value is settled.
    pub rule: Rule,
    /// The value when nothing was negotiated, as text.
    pub default: Option<&'static str>,
    /// Whether it is answered with Irrelevant in discovery sessions.
    pub irrelevant_in_discovery: bool,
    /// Where it is defined; sections of RFC 7143 unless it says otherwise.
    pub section: &'static str,
}

impl Row {
    /// The longest text that a value may be, in bytes (RFC 7143 section 6.1:
    /// 255 unless otherwise specified).
    pub fn max_value_len(&self) -> usize {
        match self.rule {
            // The limit is on the items of the list and on the decoded bytes.
            Rule::List(_) | Rule::Binary => crate::proto::text::MAX_VALUE_LEN,
            _ => crate::proto::text::MAX_SIMPLE_VALUE_LEN,
        }
    }
}

/// Who may send a key unasked ("Senders").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// The initiator only.
    Initiator,
    /// The target only.
    Target,
    /// Both.
    Both,
}

/// When a key may be sent ("Use").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// LO: only in the login of the first connection of a session.
    LeadingOnly,
    /// IO: only in a login.
    InitializeOnly,
    /// FFPO: only in the full feature phase.
    FullFeatureOnly,
    /// ALL: in both.
    All,
}

/// In which stages of a login a key may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stages {
    /// SecurityNegotiation only (section 12).
    Security,
    /// LoginOperationalNegotiation only.
    Operational,
    /// Both ("Any-Stage").
    Any,
}

/// What a value holds for ("Scope").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// CO: the connection it was settled on.
    Connection,
    /// SW: the whole session.
    Session,
}

/// How a value is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Declared as text; no answer.
    Declare,
    /// Declared as a number within bounds, both included; no answer.
    DeclareNumber(u32, u32),
    /// The first item of the proposed list that the acceptor supports. Holds
    /// the items that exist in this target.
    List(&'static [&'static str]),
    /// The lower of both numbers, within bounds.
    Minimum(u32, u32),
    /// The higher of both numbers, within bounds.
    Maximum(u32, u32),
    /// Yes only if both say Yes.
    And,
    /// Yes if one says Yes.
    Or,
    /// A text or number that a step of the authentication exchange asks for.
    Text,
    /// Bytes that a step of the authentication exchange asks for.
    Binary,
    /// A command, answered by other keys.
    Command,
    /// Obsolete: answered with Reject.
    Obsolete,
    /// Of an authentication method that this target does not offer.
    OtherMethod,
}

/// A set of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySet(u64);

impl KeySet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Whether `key` is in the set.
    pub fn has(self, key: Key) -> bool {
        self.0 & Self::bit(key) != 0
    }

    /// Adds `key`; `false` if it was there already.
    pub fn insert(&mut self, key: Key) -> bool {
        let new = !self.has(key);
        self.0 |= Self::bit(key);
        new
    }

    fn bit(key: Key) -> u64 {
        1u64.checked_shl(u32::from(key as u8)).unwrap_or(0)
    }
}

/// Largest 24-bit length.
const MAX_LEN: u32 = 0x00ff_ffff;

macro_rules! table {
    ($($key:ident $name:literal $senders:ident $usage:ident $stages:ident $scope:ident,
        $rule:expr, $default:expr, $discovery:ident, $section:literal;)*) => {
        [$(Row {
            key: Key::$key,
            name: $name,
            senders: Senders::$senders,
            usage: Usage::$usage,
            stages: Stages::$stages,
            scope: Scope::$scope,
            rule: $rule,
            default: $default,
            irrelevant_in_discovery: table!(@$discovery),
            section: $section,
        },)*]
    };
    (@relevant) => { false };
    (@irrelevant) => { true };
}

/// The rows, in the order of [`Key`].
///
/// Columns: key, name, senders, use, stages, scope; then rule, default,
/// whether it is relevant in discovery sessions, and the section.
#[rustfmt::skip]
pub static TABLE: [Row; 45] = table! {
    AuthMethod "AuthMethod" Both InitializeOnly Security Connection,
        Rule::List(&["CHAP", "None"]), None, relevant, "12.1";
    ChapA "CHAP_A" Both InitializeOnly Security Connection,
        Rule::List(&["8", "7", "6", "5"]), None, relevant, "12.1.3";
    ChapI "CHAP_I" Both InitializeOnly Security Connection,
        Rule::Text, None, relevant, "12.1.3";
    ChapC "CHAP_C" Both InitializeOnly Security Connection,
        Rule::Binary, None, relevant, "12.1.3";
    ChapN "CHAP_N" Both InitializeOnly Security Connection,
        Rule::Text, None, relevant, "12.1.3";
    ChapR "CHAP_R" Both InitializeOnly Security Connection,
        Rule::Binary, None, relevant, "12.1.3";
    KrbApReq "KRB_AP_REQ" Initiator InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.1";
    KrbApRep "KRB_AP_REP" Target InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.1";
    SrpU "SRP_U" Initiator InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    TargetAuth "TargetAuth" Initiator InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    SrpGroup "SRP_GROUP" Both InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    SrpA "SRP_A" Initiator InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    SrpB "SRP_B" Target InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    SrpM "SRP_M" Initiator InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    SrpHm "SRP_HM" Target InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    SrpSalt "SRP_s" Target InitializeOnly Security Connection,
        Rule::OtherMethod, None, relevant, "12.1.2";
    HeaderDigest "HeaderDigest" Both InitializeOnly Operational Connection,
        Rule::List(&["CRC32C", "None"]), Some("None"), relevant, "13.1";
    DataDigest "DataDigest" Both InitializeOnly Operational Connection,
        Rule::List(&["CRC32C", "None"]), Some("None"), relevant, "13.1";
    MaxConnections "MaxConnections" Both LeadingOnly Operational Session,
        Rule::Minimum(1, 65535), Some("1"), irrelevant, "13.2";
    SendTargets "SendTargets" Initiator FullFeatureOnly Operational Session,
        Rule::Command, None, relevant, "13.3, Appendix C";
    // The target sends it too, but only to answer SendTargets.
    TargetName "TargetName" Initiator InitializeOnly Any Session,
        Rule::Declare, None, relevant, "13.4";
    InitiatorName "InitiatorName" Initiator InitializeOnly Any Session,
        Rule::Declare, None, relevant, "13.5";
    TargetAlias "TargetAlias" Target All Any Session,
        Rule::Declare, None, relevant, "13.6";
    InitiatorAlias "InitiatorAlias" Initiator All Any Session,
        Rule::Declare, None, relevant, "13.7";
    TargetAddress "TargetAddress" Target All Any Session,
        Rule::Declare, None, relevant, "13.8";
    TargetPortalGroupTag "TargetPortalGroupTag" Target InitializeOnly Any Session,
        Rule::DeclareNumber(0, 65535), None, relevant, "13.9";
    InitialR2T "InitialR2T" Both LeadingOnly Operational Session,
        Rule::Or, Some("Yes"), irrelevant, "13.10";
    ImmediateData "ImmediateData" Both LeadingOnly Operational Session,
        Rule::And, Some("Yes"), irrelevant, "13.11";
    MaxRecvDataSegmentLength "MaxRecvDataSegmentLength" Both All Operational Connection,
        Rule::DeclareNumber(512, MAX_LEN), Some("8192"), relevant, "13.12";
    MaxBurstLength "MaxBurstLength" Both LeadingOnly Operational Session,
        Rule::Minimum(512, MAX_LEN), Some("262144"), irrelevant, "13.13";
    // Irrelevant as well with InitialR2T=Yes and ImmediateData=No.
    FirstBurstLength "FirstBurstLength" Both LeadingOnly Operational Session,
        Rule::Minimum(512, MAX_LEN), Some("65536"), irrelevant, "13.14";
    DefaultTime2Wait "DefaultTime2Wait" Both LeadingOnly Operational Session,
        Rule::Maximum(0, 3600), Some("2"), relevant, "13.15";
    DefaultTime2Retain "DefaultTime2Retain" Both LeadingOnly Operational Session,
        Rule::Minimum(0, 3600), Some("20"), relevant, "13.16";
    MaxOutstandingR2T "MaxOutstandingR2T" Both LeadingOnly Operational Session,
        Rule::Minimum(1, 65535), Some("1"), irrelevant, "13.17";
    DataPduInOrder "DataPDUInOrder" Both LeadingOnly Operational Session,
        Rule::Or, Some("Yes"), irrelevant, "13.18";
    DataSequenceInOrder "DataSequenceInOrder" Both LeadingOnly Operational Session,
        Rule::Or, Some("Yes"), irrelevant, "13.19";
    // Answered with 0 in discovery sessions, by section 7.4.1.
    ErrorRecoveryLevel "ErrorRecoveryLevel" Both LeadingOnly Operational Session,
        Rule::Minimum(0, 2), Some("0"), relevant, "13.20";
    SessionType "SessionType" Initiator LeadingOnly Any Session,
        Rule::Declare, Some("Normal"), relevant, "13.21";
    TaskReporting "TaskReporting" Both LeadingOnly Operational Session,
        Rule::List(&["RFC3720", "ResponseFence"]), Some("RFC3720"), irrelevant, "13.23";
    IscsiProtocolLevel "iSCSIProtocolLevel" Both LeadingOnly Operational Session,
        Rule::Minimum(0, 31), Some("1"), irrelevant, "RFC 7144 section 7.1.1";
    NodeArchitecture "X#NodeArchitecture" Both LeadingOnly Operational Session,
        Rule::Declare, Some("None"), relevant, "13.26";
    IfMarker "IFMarker" Both InitializeOnly Operational Connection,
        Rule::Obsolete, None, relevant, "13.25";
    OfMarker "OFMarker" Both InitializeOnly Operational Connection,
        Rule::Obsolete, None, relevant, "13.25";
    IfMarkInt "IFMarkInt" Both InitializeOnly Operational Connection,
        Rule::Obsolete, None, relevant, "13.25";
    OfMarkInt "OFMarkInt" Both InitializeOnly Operational Connection,
        Rule::Obsolete, None, relevant, "13.25";
};

#[cfg(test)]
mod tests;
