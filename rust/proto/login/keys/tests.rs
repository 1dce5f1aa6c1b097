// SPDX-License-Identifier: GPL-2.0

use std::format;
use std::string::String;

use super::*;

/// What RFC 7143 section 13 and RFC 7144 section 7.1.1 print below the heading
/// of each key: name, use, senders, scope, rule with its bounds, default, and
/// `D` where the key is irrelevant when SessionType=Discovery.
const RFC: &str = "
    HeaderDigest             IO   both      CO any-no  list            None
    DataDigest               IO   both      CO any-no  list            None
    MaxConnections           LO   both      SW any-no  min:1:65535     1       D
    SendTargets              FFPO initiator SW any-no  command         -
    TargetName               IO   initiator SW any-yes declare         -
    InitiatorName            IO   initiator SW any-yes declare         -
    TargetAlias              ALL  target    SW any-yes declare         -
    InitiatorAlias           ALL  initiator SW any-yes declare         -
    TargetAddress            ALL  target    SW any-yes declare         -
    TargetPortalGroupTag     IO   target    SW any-yes number:0:65535  -
    InitialR2T               LO   both      SW any-no  or              Yes     D
    ImmediateData            LO   both      SW any-no  and             Yes     D
    MaxRecvDataSegmentLength ALL  both      CO any-no  number:512:16777215 8192
    MaxBurstLength           LO   both      SW any-no  min:512:16777215 262144 D
    FirstBurstLength         LO   both      SW any-no  min:512:16777215 65536  D
    DefaultTime2Wait         LO   both      SW any-no  max:0:3600      2
    DefaultTime2Retain       LO   both      SW any-no  min:0:3600      20
    MaxOutstandingR2T        LO   both      SW any-no  min:1:65535     1       D
    DataPDUInOrder           LO   both      SW any-no  or              Yes     D
    DataSequenceInOrder      LO   both      SW any-no  or              Yes     D
    ErrorRecoveryLevel       LO   both      SW any-no  min:0:2         0
    SessionType              LO   initiator SW any-yes declare         Normal
    TaskReporting            LO   both      SW any-no  list            RFC3720 D
    iSCSIProtocolLevel       LO   both      SW any-no  min:0:31        1       D
    X#NodeArchitecture       LO   both      SW any-no  declare         None
    IFMarker                 IO   both      CO any-no  obsolete        -
    OFMarker                 IO   both      CO any-no  obsolete        -
    IFMarkInt                IO   both      CO any-no  obsolete        -
    OFMarkInt                IO   both      CO any-no  obsolete        -
";

fn printed(row: &Row) -> String {
    let usage = match row.usage {
        Usage::LeadingOnly => "LO",
        Usage::InitializeOnly => "IO",
        Usage::FullFeatureOnly => "FFPO",
        Usage::All => "ALL",
    };
    let senders = match row.senders {
        Senders::Initiator => "initiator",
        Senders::Target => "target",
        Senders::Both => "both",
    };
    let scope = match row.scope {
        Scope::Connection => "CO",
        Scope::Session => "SW",
    };
    let any = match row.stages {
        Stages::Any => "any-yes",
        Stages::Operational => "any-no",
        Stages::Security => "security",
    };
    let rule = match row.rule {
        Rule::Declare => "declare".into(),
        Rule::DeclareNumber(low, high) => format!("number:{low}:{high}"),
        Rule::List(_) => "list".into(),
        Rule::Minimum(low, high) => format!("min:{low}:{high}"),
        Rule::Maximum(low, high) => format!("max:{low}:{high}"),
        Rule::And => "and".into(),
        Rule::Or => "or".into(),
        Rule::Command => "command".into(),
        Rule::Obsolete => "obsolete".into(),
        Rule::Text | Rule::Binary | Rule::OtherMethod => "security".into(),
    };
    let default = row.default.unwrap_or("-");
    let discovery = if row.irrelevant_in_discovery {
        " D"
    } else {
        ""
    };
    format!(
        "{} {usage} {senders} {scope} {any} {rule} {default}{discovery}",
        row.name
    )
}

#[test]
fn the_table_says_what_the_rfcs_say() {
    let mut printed_lines = TABLE
        .iter()
        .filter(|row| row.stages != Stages::Security)
        .map(printed);
    for line in RFC.trim().lines() {
        let words: std::vec::Vec<&str> = line.split_whitespace().collect();
        assert_eq!(printed_lines.next(), Some(words.join(" ")));
    }
    assert_eq!(printed_lines.next(), None);
}

/// Section 12: the keys of the security stage are of one connection and of no
/// other stage.
#[test]
fn security_keys_belong_to_the_security_stage() {
    let mut names = std::vec::Vec::new();
    for row in &TABLE {
        if row.stages == Stages::Security {
            assert_eq!(row.scope, Scope::Connection, "{}", row.name);
            assert_eq!(row.usage, Usage::InitializeOnly, "{}", row.name);
            assert!(row.section.starts_with("12.1"), "{}", row.name);
            names.push(row.name);
        }
    }
    assert_eq!(
        names.join(" "),
        "AuthMethod CHAP_A CHAP_I CHAP_C CHAP_N CHAP_R KRB_AP_REQ KRB_AP_REP SRP_U TargetAuth \
         SRP_GROUP SRP_A SRP_B SRP_M SRP_HM SRP_s"
    );
}

#[test]
fn rows_are_in_the_order_of_the_keys() {
    for (index, row) in TABLE.iter().enumerate() {
        assert_eq!(row.key as usize, index, "{}", row.name);
        assert_eq!(row.key.row().name, row.name);
        assert_eq!(row.key.name(), row.name);
        assert_eq!(find(row.name).map(|row| row.key), Some(row.key));
        assert!(row.name.len() <= crate::proto::text::MAX_KEY_LEN);
    }
    assert!(find("").is_none());
    assert!(find("maxconnections").is_none());
    assert!(find("X-com.example.key").is_none());
}

#[test]
fn sets_hold_every_key() {
    let mut set = KeySet::EMPTY;
    for row in &TABLE {
        assert!(!set.has(row.key));
        assert!(set.insert(row.key), "{}", row.name);
        assert!(set.has(row.key));
        assert!(!set.insert(row.key), "{}", row.name);
    }
}
