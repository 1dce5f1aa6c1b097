// SPDX-License-Identifier: GPL-2.0

use std::format;
use std::string::{
    String, //
    ToString,
};

use super::*;

fn shown(params: &TpgParams, name: &str) -> String {
    let mut text = String::new();
    params.show(name, &mut text).expect("a name that is known");
    text
}

fn set(name: &str, text: &str) -> Result<String, String> {
    let mut params = TpgParams::new();
    match params.set(name, text) {
        Ok(()) => Ok(shown(&params, name)),
        Err(error) => {
            assert_eq!(
                shown(&params, name),
                shown(&TpgParams::new(), name),
                "a refused value changes nothing"
            );
            Err(error.to_string())
        }
    }
}

#[test]
fn defaults() {
    let params = TpgParams::default();
    let all: String = TpgParams::NAMES
        .iter()
        .map(|name| format!("{name}={}\n", shown(&params, name)))
        .collect();
    assert_eq!(
        all,
        "AuthMethod=CHAP\n\
         HeaderDigest=CRC32C,None\n\
         DataDigest=CRC32C,None\n\
         MaxConnections=1\n\
         TargetAlias=\n\
         InitialR2T=No\n\
         ImmediateData=Yes\n\
         MaxRecvDataSegmentLength=262144\n\
         MaxXmitDataSegmentLength=262144\n\
         MaxBurstLength=1048576\n\
         FirstBurstLength=262144\n\
         DefaultTime2Wait=2\n\
         DefaultTime2Retain=20\n\
         MaxOutstandingR2T=16\n\
         DataPDUInOrder=Yes\n\
         DataSequenceInOrder=Yes\n\
         ErrorRecoveryLevel=0\n\
         IFMarker=No\n\
         OFMarker=No\n\
         IFMarkInt=Reject\n\
         OFMarkInt=Reject\n"
    );
}

/// What is shown can be written back, as save and restore do.
#[test]
fn what_is_shown_can_be_set() {
    let mut params = TpgParams::new();
    for (name, text) in [
        ("AuthMethod", "None,CHAP"),
        ("HeaderDigest", "None"),
        ("DataDigest", "None,CRC32C"),
        ("MaxConnections", "1"),
        ("TargetAlias", "Grüße von der Platte"),
        ("InitialR2T", "Yes"),
        ("ImmediateData", "No"),
        ("MaxRecvDataSegmentLength", "512"),
        ("MaxXmitDataSegmentLength", "16777215"),
        ("MaxBurstLength", "1048576"),
        ("FirstBurstLength", "524288"),
        ("DefaultTime2Wait", "0"),
        ("DefaultTime2Retain", "3600"),
        ("MaxOutstandingR2T", "32"),
        ("DataPDUInOrder", "Yes"),
        ("DataSequenceInOrder", "Yes"),
        ("ErrorRecoveryLevel", "0"),
        ("IFMarker", "No"),
        ("OFMarker", "No"),
        ("IFMarkInt", "Reject"),
        ("OFMarkInt", "Reject"),
    ] {
        assert_eq!(params.set(name, text), Ok(()), "{name}");
        assert_eq!(shown(&params, name), text);
    }
    let mut copy = TpgParams::new();
    for name in TpgParams::NAMES {
        copy.set(name, &shown(&params, name)).unwrap();
        assert_eq!(shown(&copy, name), shown(&params, name));
    }
}

#[test]
fn refused_values_name_the_rule() {
    for name in [
        "MaxRecvDataSegmentLength",
        "MaxXmitDataSegmentLength",
        "MaxBurstLength",
        "FirstBurstLength",
    ] {
        let range = Err("must be 512 to 16777215".to_string());
        assert_eq!(set(name, "512"), Ok("512".into()));
        assert_eq!(set(name, "16777215"), Ok("16777215".into()));
        assert_eq!(set(name, "511"), range);
        assert_eq!(set(name, "0"), range);
        assert_eq!(set(name, "16777216"), range);
        assert_eq!(set(name, "18446744073709551616"), range);
        assert_eq!(set(name, "0x40000"), Ok("262144".into()));
        for text in ["", " 512", "512\n", "-1", "5e3", "00512", "512k", "Reject"] {
            assert_eq!(
                set(name, text),
                Err("must be a decimal or 0x number".into()),
                "{text:?}"
            );
        }
    }
    for name in ["DefaultTime2Wait", "DefaultTime2Retain"] {
        assert_eq!(set(name, "0"), Ok("0".into()));
        assert_eq!(set(name, "3600"), Ok("3600".into()));
        assert_eq!(set(name, "3601"), Err("must be 0 to 3600".into()));
    }
    for name in ["InitialR2T", "ImmediateData"] {
        assert_eq!(set(name, "Yes"), Ok("Yes".into()));
        assert_eq!(set(name, "No"), Ok("No".into()));
        for text in ["", "yes", "NO", "1", "Yes\n"] {
            assert_eq!(set(name, text), Err("must be Yes or No".into()));
        }
    }
    // What the RFC allows and this target does not do is refused, not ignored.
    for (name, text, error) in [
        ("MaxConnections", "0", "must be 1 to 65535"),
        ("MaxConnections", "65536", "must be 1 to 65535"),
        (
            "MaxConnections",
            "9",
            "is not supported: at most 8 connections per session",
        ),
        ("ErrorRecoveryLevel", "3", "must be 0 to 2"),
        ("MaxOutstandingR2T", "0", "must be 1 to 65535"),
        (
            "MaxOutstandingR2T",
            "33",
            "is not supported: at most 32 outstanding R2Ts",
        ),
        (
            "DataPDUInOrder",
            "No",
            "is not supported: only data in order, Yes",
        ),
        (
            "DataSequenceInOrder",
            "No",
            "is not supported: only data in order, Yes",
        ),
        (
            "IFMarker",
            "Yes",
            "is not supported: markers are obsolete, only No",
        ),
        (
            "OFMarkInt",
            "2048",
            "is not supported: markers are obsolete, only Reject",
        ),
    ] {
        assert_eq!(set(name, text), Err(error.into()), "{name}={text}");
    }
    for name in ["HeaderDigest", "DataDigest"] {
        for text in [
            "",
            "crc32c",
            "CRC32C,",
            "None,None",
            "CRC32C,None,CRC32C",
            "CRC32C, None",
        ] {
            assert_eq!(
                set(name, text),
                Err("must be a comma-separated list of CRC32C and None, each at most once".into()),
                "{text:?}"
            );
        }
        assert_eq!(set(name, "CRC32C"), Ok("CRC32C".into()));
    }
    for text in ["", "KRB5", "CHAP,SRP", "CHAP,CHAP", "chap"] {
        assert_eq!(
            set("AuthMethod", text),
            Err("must be a comma-separated list of CHAP and None, each at most once".into())
        );
    }
    let long = "a".repeat(256);
    assert_eq!(set("TargetAlias", &long[1..]), Ok(long[1..].into()));
    assert_eq!(
        set("TargetAlias", &long),
        Err("must be at most 255 bytes".into())
    );
    assert_eq!(set("TargetAlias", ""), Ok(String::new()));
    for text in ["a\nb", "a\0", "\u{1b}[2J", "\u{85}"] {
        assert_eq!(
            set("TargetAlias", text),
            Err("must not contain control characters".into())
        );
    }
}

#[test]
fn unknown_names_are_refused() {
    let mut params = TpgParams::new();
    let mut text = String::new();
    // Keys of the RFC that are no parameters of a portal group among them.
    for name in [
        "",
        "maxburstlength",
        "TargetName",
        "TaskReporting",
        "iSCSIProtocolLevel",
        "X-a",
    ] {
        assert_eq!(
            params.set(name, "1"),
            Err(ParamError::UnknownName),
            "{name}"
        );
        assert_eq!(params.show(name, &mut text), Err(fmt::Error), "{name}");
    }
    assert_eq!(text, "");
}

#[test]
fn first_burst_is_bounded_by_max_burst_whatever_the_order() {
    let mut params = TpgParams::new();
    params.set("FirstBurstLength", "2097152").unwrap();
    assert_eq!(params.first_burst_length(), 1_048_576);
    params.set("MaxBurstLength", "4194304").unwrap();
    assert_eq!(params.first_burst_length(), 2_097_152);
    params.set("MaxBurstLength", "4096").unwrap();
    assert_eq!(params.first_burst_length(), 4096);
    assert_eq!(shown(&params, "FirstBurstLength"), "2097152");
}

/// The `authentication` attribute edits the list of methods.
#[test]
fn authentication_edits_the_methods() {
    let list = |text| AuthMethods::parse(text).unwrap();
    for (before, required, after) in [
        ("CHAP", true, "CHAP"),
        ("CHAP", false, "CHAP,None"),
        ("CHAP,None", true, "CHAP"),
        ("CHAP,None", false, "CHAP,None"),
        ("None,CHAP", true, "CHAP"),
        ("None,CHAP", false, "None,CHAP"),
        ("None", true, "CHAP"),
        ("None", false, "None"),
    ] {
        let edited = list(before).with_authentication(required);
        assert_eq!(edited.as_str(), after, "{before} {required}");
        assert_eq!(edited.allows_none(), !required);
    }
    assert!(!list("None").allows_chap());
    assert!(list("None,CHAP").allows_chap() && list("None,CHAP").allows_none());
}

#[test]
fn session_values_are_shown() {
    let session = SessionParams {
        max_burst_length: 4096,
        initial_r2t: false,
        ..SessionParams::RFC_DEFAULT
    };
    let all: String = SessionParams::NAMES
        .iter()
        .map(|name| {
            let mut text = String::new();
            session.show(name, &mut text).unwrap();
            format!("{name}={text}\n")
        })
        .collect();
    assert_eq!(
        all,
        "MaxConnections=1\n\
         InitialR2T=No\n\
         ImmediateData=Yes\n\
         MaxBurstLength=4096\n\
         FirstBurstLength=65536\n\
         DefaultTime2Wait=2\n\
         DefaultTime2Retain=20\n\
         MaxOutstandingR2T=1\n\
         DataPDUInOrder=Yes\n\
         DataSequenceInOrder=Yes\n\
         ErrorRecoveryLevel=0\n"
    );
    assert_eq!(
        session.show("TargetAlias", &mut String::new()),
        Err(fmt::Error)
    );
}

/// The defaults of the table are those of the constants.
#[test]
fn rfc_defaults_are_those_of_the_table() {
    let (session, conn) = (SessionParams::RFC_DEFAULT, ConnParams::RFC_DEFAULT);
    for row in &super::super::keys::TABLE {
        let Some(default) = row.default else { continue };
        let mut text = String::new();
        match row.key {
            Key::HeaderDigest => text.push_str(conn.header_digest.as_str()),
            Key::DataDigest => text.push_str(conn.data_digest.as_str()),
            Key::TaskReporting => text.push_str(session.task_reporting.as_str()),
            Key::MaxRecvDataSegmentLength => {
                assert_eq!(
                    conn.max_recv_data_segment_length,
                    conn.max_xmit_data_segment_length
                );
                text = conn.max_recv_data_segment_length.to_string();
            }
            // Not kept: nothing depends on them after the login.
            Key::SessionType | Key::NodeArchitecture => continue,
            _ => session.show(row.name, &mut text).unwrap(),
        }
        assert_eq!(text, default, "{}", row.name);
    }
}

#[test]
fn the_administrators_limit_on_sending_stays() {
    let mut conn = ConnParams::RFC_DEFAULT;
    conn.set_initiator_length(65_536);
    assert_eq!(conn.max_xmit_data_segment_length, 65_536);
    conn.limit_xmit(16_384);
    assert_eq!(conn.max_xmit_data_segment_length, 16_384);
    conn.set_initiator_length(512);
    assert_eq!(conn.max_xmit_data_segment_length, 512);
    conn.set_initiator_length(262_144);
    assert_eq!(conn.max_xmit_data_segment_length, 16_384);
}

#[test]
fn the_r2t_limit_is_that_of_the_transfer_plan() {
    assert_eq!(
        MAX_OUTSTANDING_R2T,
        u32::from(crate::proto::transfer::MAX_OUTSTANDING_R2T)
    );
}
