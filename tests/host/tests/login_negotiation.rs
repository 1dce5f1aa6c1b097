// SPDX-License-Identifier: GPL-2.0

//! What the values of keys come to, by RFC 7143 section 13.

use ferrite_host_tests::login::{
    chap_digest, //
    hex,
    Answer,
    Initiator,
    Lab,
};
use ferrite_proto::chap::Algorithm;
use ferrite_proto::login::params::{
    Digest, //
    SessionParams,
    TaskReporting,
};

const IN: &str = "InitiatorName=iqn.1994-05.com.redhat:c0ffee";
const TN: &str = "TargetName=iqn.2003-01.org.example:disk";
const LENGTH: &str = "MaxRecvDataSegmentLength=262144";

/// A target with these parameters.
fn lab(params: &[(&str, &str)]) -> Lab {
    let mut lab = Lab::new();
    for (name, value) in params {
        lab.offer.set(name, value).expect("a valid parameter");
    }
    lab
}

/// Logs in through the security stage.
fn operational(lab: &mut Lab, session_type: &str) -> Initiator {
    let mut initiator = Initiator::new();
    let session_type = format!("SessionType={session_type}");
    initiator
        .send(lab, 0x81, &[IN, TN, &session_type, "AuthMethod=None"])
        .response();
    initiator
}

/// Proposes `pairs` in one text; what is answered, without what the target
/// declares.
fn negotiate(lab: &mut Lab, pairs: &[&str]) -> (Vec<String>, SessionParams) {
    let mut initiator = operational(lab, "Normal");
    let answer = initiator.send(lab, 0x87, pairs);
    let mut answers = match &answer {
        Answer::Final(response) => response.pairs(),
        other => panic!("{other:?} to {pairs:?}"),
    };
    assert_eq!(answers.pop().as_deref(), Some(LENGTH));
    (answers, initiator.login.result().unwrap().session)
}

/// One key, proposed to a target that was set to `ours`: the answer.
#[track_caller]
fn settled(key: &str, ours: &str, theirs: &str) -> String {
    let mut lab = lab(&[(key, ours)]);
    let (answers, session) = negotiate(&mut lab, &[&format!("{key}={theirs}")]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    let answer = answers[0].strip_prefix(key).unwrap()[1..].to_owned();
    // What was answered is what holds; with Reject it is the default.
    if let ("Reject", true) = (answer.as_str(), SessionParams::NAMES.contains(&key)) {
        let mut shown = String::new();
        SessionParams::RFC_DEFAULT.show(key, &mut shown).unwrap();
        let mut held = String::new();
        session.show(key, &mut held).unwrap();
        assert_eq!(shown, held);
    } else if SessionParams::NAMES.contains(&key) {
        let mut held = String::new();
        session.show(key, &mut held).unwrap();
        assert_eq!(held, answer);
    }
    answer
}

#[test]
fn booleans_with_or() {
    // RFC 7143 sections 13.10, 13.18, 13.19: the result is Yes if one says so.
    assert_eq!(settled("InitialR2T", "No", "No"), "No");
    assert_eq!(settled("InitialR2T", "No", "Yes"), "Yes");
    assert_eq!(settled("InitialR2T", "Yes", "No"), "Yes");
    assert_eq!(settled("InitialR2T", "Yes", "Yes"), "Yes");
    for key in ["DataPDUInOrder", "DataSequenceInOrder"] {
        assert_eq!(settled(key, "Yes", "No"), "Yes");
        assert_eq!(settled(key, "Yes", "Yes"), "Yes");
    }
}

#[test]
fn booleans_with_and() {
    assert_eq!(settled("ImmediateData", "Yes", "Yes"), "Yes");
    assert_eq!(settled("ImmediateData", "Yes", "No"), "No");
    assert_eq!(settled("ImmediateData", "No", "Yes"), "No");
    assert_eq!(settled("ImmediateData", "No", "No"), "No");
}

#[test]
fn numbers_with_minimum() {
    for (key, low, ours, high) in [
        ("MaxBurstLength", "65536", "262144", "16777215"),
        ("FirstBurstLength", "512", "65536", "16777215"),
        ("DefaultTime2Retain", "0", "20", "3600"),
        ("MaxOutstandingR2T", "1", "16", "65535"),
    ] {
        assert_eq!(settled(key, ours, low), low);
        assert_eq!(settled(key, ours, ours), ours);
        assert_eq!(settled(key, ours, high), ours);
    }
    assert_eq!(settled("MaxConnections", "1", "1"), "1");
    assert_eq!(settled("MaxConnections", "1", "65535"), "1");
    assert_eq!(settled("ErrorRecoveryLevel", "0", "0"), "0");
    assert_eq!(settled("ErrorRecoveryLevel", "0", "2"), "0");
    assert_eq!(settled("MaxBurstLength", "262144", "0x20000"), "131072");
    // Below the default FirstBurstLength, without unsolicited data.
    let pairs = ["InitialR2T=Yes", "ImmediateData=No", "MaxBurstLength=512"];
    let (answers, session) = negotiate(&mut Lab::new(), &pairs);
    assert_eq!(answers, pairs);
    assert_eq!(session.max_burst_length, 512);
}

#[test]
fn numbers_with_maximum() {
    assert_eq!(settled("DefaultTime2Wait", "2", "0"), "2");
    assert_eq!(settled("DefaultTime2Wait", "2", "3600"), "3600");
    assert_eq!(settled("DefaultTime2Wait", "7", "7"), "7");
}

#[test]
fn values_that_are_not_admissible_are_rejected() {
    for (key, ours, values) in [
        ("MaxConnections", "1", &["0", "65536", "", "one"][..]),
        ("InitialR2T", "No", &["yes", "", "1", "Yes,No"]),
        ("ImmediateData", "Yes", &["no", "None"]),
        (
            "MaxBurstLength",
            "262144",
            &["511", "16777216", "512~1024", "-1"],
        ),
        ("FirstBurstLength", "65536", &["0", "16777216", "00512"]),
        ("DefaultTime2Wait", "2", &["3601", "4294967298"]),
        ("DefaultTime2Retain", "20", &["3601", "x"]),
        ("MaxOutstandingR2T", "16", &["0", "65536"]),
        ("DataPDUInOrder", "Yes", &["true"]),
        ("DataSequenceInOrder", "Yes", &[""]),
        ("ErrorRecoveryLevel", "0", &["3", "0b0"]),
        (
            "HeaderDigest",
            "CRC32C,None",
            &["crc32c", "", "Y-org.example.hash", "CRC32C,"],
        ),
        ("DataDigest", "None", &["CRC32C"]),
    ] {
        for value in values {
            assert_eq!(settled(key, ours, value), "Reject", "{key}={value}");
        }
    }
    for pair in ["TaskReporting=FastAbort", "iSCSIProtocolLevel=32"] {
        let (answers, session) = negotiate(&mut Lab::new(), &[pair]);
        let key = pair.split('=').next().unwrap();
        assert_eq!(answers, [format!("{key}=Reject")]);
        assert_eq!(session.task_reporting, TaskReporting::Rfc3720);
        assert_eq!(session.protocol_level, 1);
    }
}

#[test]
fn digests_are_the_initiators_first_choice() {
    for key in ["HeaderDigest", "DataDigest"] {
        for (ours, theirs, result) in [
            ("CRC32C,None", "None,CRC32C", "None"),
            ("CRC32C,None", "CRC32C,None", "CRC32C"),
            ("None,CRC32C", "CRC32C,None", "CRC32C"),
            ("CRC32C,None", "CRC32C", "CRC32C"),
            ("CRC32C,None", "None", "None"),
            ("CRC32C", "None,CRC32C", "CRC32C"),
            ("None", "CRC32C,None", "None"),
            // What is not understood is skipped (section 6.2.1).
            ("CRC32C,None", "Y-org.example.hash,CRC32C", "CRC32C"),
        ] {
            let pair = format!("{key}={theirs}");
            let mut lab = lab(&[(key, ours)]);
            let mut initiator = operational(&mut lab, "Normal");
            let expected = format!("{key}={result}");
            initiator
                .send(&mut lab, 0x87, &[&pair])
                .last(0x87, &[&expected, LENGTH]);
            let conn = initiator.login.result().unwrap().conn;
            let (this, other) = match key {
                "HeaderDigest" => (conn.header_digest, conn.data_digest),
                _ => (conn.data_digest, conn.header_digest),
            };
            assert_eq!(this.as_str(), result);
            assert_eq!(other, Digest::None);
        }
    }
}

#[test]
fn task_reporting_and_protocol_level() {
    for (list, result) in [
        ("RFC3720", TaskReporting::Rfc3720),
        ("RFC3720,ResponseFence,FastAbort", TaskReporting::Rfc3720),
        (
            "FastAbort,ResponseFence,RFC3720",
            TaskReporting::ResponseFence,
        ),
    ] {
        let (answers, session) = negotiate(&mut Lab::new(), &[&format!("TaskReporting={list}")]);
        assert_eq!(answers, [format!("TaskReporting={}", result.as_str())]);
        assert_eq!(session.task_reporting, result);
    }
    for (theirs, result) in [(0, 0), (1, 1), (2, 2), (3, 2), (31, 2)] {
        let (answers, session) =
            negotiate(&mut Lab::new(), &[&format!("iSCSIProtocolLevel={theirs}")]);
        assert_eq!(answers, [format!("iSCSIProtocolLevel={result}")]);
        assert_eq!(session.protocol_level, result);
    }
}

/// RFC 7143 section 13.25.
#[test]
fn obsolete_keys_are_rejected() {
    let keys = [
        "IFMarker=Yes",
        "OFMarker=No",
        "IFMarkInt=2048~8192",
        "OFMarkInt=whatever",
    ];
    let (answers, _) = negotiate(&mut Lab::new(), &keys);
    assert_eq!(
        answers,
        [
            "IFMarker=Reject",
            "OFMarker=Reject",
            "IFMarkInt=Reject",
            "OFMarkInt=Reject"
        ]
    );
}

/// RFC 7143 sections 6.2, 13.22, 13.26: what is not understood is answered,
/// what is declared is not.
#[test]
fn unknown_and_declared_keys() {
    let keys = [
        "X-com.example.key=1",
        "X#NodeArchitecture=PDP-11,RSX-11M",
        "X#other=1",
        "RDMAExtensions=Yes",
        "InitiatorAlias=a",
        "MaxRecvDataSegmentLength=512",
    ];
    let (answers, _) = negotiate(&mut Lab::new(), &keys);
    assert_eq!(
        answers,
        [
            "X-com.example.key=NotUnderstood",
            "X#other=NotUnderstood",
            "RDMAExtensions=NotUnderstood"
        ]
    );
}

/// A declaration that is not acceptable fails the login (section 7.12).
#[test]
fn max_recv_data_segment_length() {
    for (theirs, held) in [("512", 512), ("65536", 65_536), ("16777215", 262_144)] {
        let mut lab = Lab::new();
        let mut initiator = operational(&mut lab, "Normal");
        initiator
            .send(
                &mut lab,
                0x87,
                &[&format!("MaxRecvDataSegmentLength={theirs}")],
            )
            .last(0x87, &[LENGTH]);
        let conn = initiator.login.result().unwrap().conn;
        assert_eq!(conn.max_xmit_data_segment_length, held);
        assert_eq!(conn.max_recv_data_segment_length, 262_144);
    }
    for theirs in ["0", "511", "16777216", "", "x", "8192~8193"] {
        let mut lab = Lab::new();
        let mut initiator = operational(&mut lab, "Normal");
        initiator
            .send(
                &mut lab,
                0x87,
                &[&format!("MaxRecvDataSegmentLength={theirs}")],
            )
            .refused(0x0200);
    }
    // The default holds for an initiator that says nothing, and for a target
    // that could not.
    let mut lab = lab(&[("MaxXmitDataSegmentLength", "4096")]);
    let mut initiator = Initiator::new();
    initiator.send(&mut lab, 0x83, &[IN, TN]).response();
    let conn = initiator.login.result().unwrap().conn;
    assert_eq!(conn.max_recv_data_segment_length, 8192);
    assert_eq!(conn.max_xmit_data_segment_length, 4096);
}

/// RFC 7143 section 13.14.
#[test]
fn first_burst_length() {
    let first = |lab: &mut Lab, pairs: &[&str]| {
        let (answers, session) = negotiate(lab, pairs);
        let answer = answers
            .iter()
            .find_map(|pair| pair.strip_prefix("FirstBurstLength="))
            .map(str::to_owned);
        (answer, session.first_burst_length)
    };
    let is = |text: &str, n| (Some(text.to_owned()), n);
    // Not above MaxBurstLength, in whatever order.
    let lab = &mut lab(&[("FirstBurstLength", "262144")]);
    assert_eq!(
        first(lab, &["FirstBurstLength=131072"]),
        is("131072", 131_072)
    );
    for pairs in [
        ["FirstBurstLength=131072", "MaxBurstLength=4096"],
        ["MaxBurstLength=4096", "FirstBurstLength=131072"],
    ] {
        assert_eq!(first(lab, &pairs), is("4096", 4096));
    }
    // The unsolicited-data table of section 13.11.
    for (r2t, immediate, relevant) in [
        ("No", "No", true),
        ("No", "Yes", true),
        ("Yes", "Yes", true),
        ("Yes", "No", false),
    ] {
        let (r2t, immediate) = (
            format!("InitialR2T={r2t}"),
            format!("ImmediateData={immediate}"),
        );
        for pairs in [
            ["FirstBurstLength=8192", &r2t, &immediate],
            [&r2t, &immediate, "FirstBurstLength=8192"],
        ] {
            let (answer, held) = first(lab, &pairs);
            if relevant {
                assert_eq!((answer, held), is("8192", 8192));
            } else {
                assert_eq!((answer, held), is("Irrelevant", 65_536));
            }
        }
    }
    // The result counts, not what was proposed.
    let lab = &mut self::lab(&[("InitialR2T", "Yes"), ("ImmediateData", "No")]);
    let pairs = [
        "InitialR2T=No",
        "ImmediateData=Yes",
        "FirstBurstLength=4192",
    ];
    let (answers, _) = negotiate(lab, &pairs);
    assert_eq!(
        answers,
        [
            "InitialR2T=Yes",
            "ImmediateData=No",
            "FirstBurstLength=Irrelevant"
        ]
    );
    // While ImmediateData may still be proposed, it is not irrelevant.
    let lab = &mut Lab::new();
    let mut initiator = operational(lab, "Normal");
    initiator
        .send(lab, 0x04, &["InitialR2T=Yes", "FirstBurstLength=4096"])
        .partial(0x04, &["InitialR2T=Yes", "FirstBurstLength=4096", LENGTH]);
    initiator
        .send(lab, 0x87, &["ImmediateData=No"])
        .last(0x87, &["ImmediateData=No"]);
    // Rejected, it is the default, which is then above MaxBurstLength.
    operational(lab, "Normal")
        .send(lab, 0x87, &["FirstBurstLength=x", "MaxBurstLength=4096"])
        .refused(0x0200);
    // Settled first and then undercut: no value is left to agree on.
    let mut initiator = operational(lab, "Normal");
    initiator
        .send(lab, 0x04, &["FirstBurstLength=65536"])
        .response();
    initiator
        .send(lab, 0x87, &["MaxBurstLength=4096"])
        .refused(0x0200);
}

/// RFC 7143 sections 13 ("Irrelevant when") and 7.4.1.
#[test]
fn discovery_sessions() {
    let lab = &mut Lab::new();
    let mut initiator = operational(lab, "Discovery");
    let irrelevant = [
        "MaxConnections",
        "InitialR2T",
        "ImmediateData",
        "MaxBurstLength",
        "FirstBurstLength",
        "MaxOutstandingR2T",
        "DataPDUInOrder",
        "DataSequenceInOrder",
        "TaskReporting",
        "iSCSIProtocolLevel",
    ];
    let values = [
        "8", "No", "No", "512", "512", "2", "No", "No", "RFC3720", "2",
    ];
    let relevant = [
        ("HeaderDigest=CRC32C", "HeaderDigest=CRC32C"),
        ("DataDigest=CRC32C", "DataDigest=CRC32C"),
        ("DefaultTime2Wait=5", "DefaultTime2Wait=5"),
        ("DefaultTime2Retain=5", "DefaultTime2Retain=5"),
        ("ErrorRecoveryLevel=2", "ErrorRecoveryLevel=0"),
    ];
    let mut pairs: Vec<String> = irrelevant
        .iter()
        .zip(values)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut answers: Vec<String> = irrelevant
        .iter()
        .map(|key| format!("{key}=Irrelevant"))
        .collect();
    for (pair, answer) in relevant {
        pairs.push(pair.to_owned());
        answers.push(answer.to_owned());
    }
    answers.push(LENGTH.to_owned());
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    initiator.send(lab, 0x87, &pairs).last(0x87, &answers);
    let session = initiator.login.result().unwrap().session;
    assert_eq!(
        session,
        SessionParams {
            default_time2wait: 5,
            default_time2retain: 5,
            ..SessionParams::RFC_DEFAULT
        }
    );
}

/// Where a default will not do and the initiator does not speak of the key,
/// the target proposes (section 6.2).
#[test]
fn the_target_proposes() {
    let params = [
        ("HeaderDigest", "CRC32C"),
        ("DataDigest", "CRC32C"),
        ("ImmediateData", "No"),
        ("InitialR2T", "No"),
        ("MaxBurstLength", "32768"),
        ("FirstBurstLength", "16384"),
        ("DefaultTime2Wait", "5"),
        ("DefaultTime2Retain", "10"),
    ];
    let proposals = [
        LENGTH,
        "HeaderDigest=CRC32C",
        "DataDigest=CRC32C",
        "ImmediateData=No",
        "MaxBurstLength=32768",
        "DefaultTime2Wait=5",
        "DefaultTime2Retain=10",
    ];
    // With InitialR2T=No not proposed, R2T is Yes; FirstBurstLength means
    // nothing once ImmediateData is No.
    let lab = &mut lab(&params);
    let mut initiator = operational(lab, "Normal");
    initiator.send(lab, 0x87, &[]).partial(0x04, &proposals);
    initiator
        .send(
            lab,
            0x87,
            &[
                "HeaderDigest=CRC32C",
                "DataDigest=CRC32C",
                "MaxBurstLength=8192",
                "DefaultTime2Wait=60",
                "DefaultTime2Retain=0",
            ],
        )
        .last(0x87, &[]);
    let result = initiator.login.result().unwrap();
    assert_eq!(result.conn.header_digest, Digest::Crc32c);
    assert_eq!(result.conn.data_digest, Digest::Crc32c);
    assert_eq!(result.session.max_burst_length, 8192);
    assert_eq!(result.session.first_burst_length, 8192);
    assert_eq!(result.session.default_time2wait, 60);
    assert_eq!(result.session.default_time2retain, 0);
    assert!(!result.session.immediate_data && result.session.initial_r2t);

    // Proposals wait until the initiator is ready to leave the stage.
    let mut initiator = operational(lab, "Normal");
    initiator.send(lab, 0x04, &[]).partial(0x04, &[LENGTH]);
    initiator
        .send(lab, 0x87, &[])
        .partial(0x04, &proposals[1..]);

    // The full feature phase cannot be reached past them.
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x83, &[IN, TN, "AuthMethod=None"])
        .partial(0x81, &["TargetPortalGroupTag=1", "AuthMethod=None"]);
    initiator.send(lab, 0x87, &[]).partial(0x04, &proposals);

    // Nor with the last part of a long answer, which leaves no place for them.
    let long = format!("X-{}=", "k".repeat(61));
    let mut initiator = operational(lab, "Normal");
    let answer = initiator.send(lab, 0x04, &vec![long.as_str(); 120]);
    assert_eq!(answer.response().flags, 0x44);
    let answer = initiator.send(lab, 0x87, &[]);
    assert_eq!(answer.response().flags, 0x04);
    initiator
        .send(lab, 0x87, &[])
        .partial(0x04, &proposals[1..]);

    // A discovery session is asked for what matters to it.
    let mut initiator = operational(lab, "Discovery");
    initiator.send(lab, 0x87, &[]).partial(
        0x04,
        &[
            LENGTH,
            "HeaderDigest=CRC32C",
            "DataDigest=CRC32C",
            "DefaultTime2Wait=5",
            "DefaultTime2Retain=10",
        ],
    );
}

#[test]
fn proposals_of_first_burst_length() {
    // The default of 64 KiB is above what the target offers.
    let lab = &mut lab(&[("FirstBurstLength", "4096")]);
    let mut initiator = operational(lab, "Normal");
    initiator
        .send(lab, 0x87, &[])
        .partial(0x04, &[LENGTH, "FirstBurstLength=4096"]);
    initiator
        .send(lab, 0x87, &["FirstBurstLength=1024"])
        .last(0x87, &[]);
    let session = initiator.login.result().unwrap().session;
    assert_eq!(session.first_burst_length, 1024);
    // It is above the MaxBurstLength that was agreed on.
    let lab = &mut Lab::new();
    let mut initiator = operational(lab, "Normal");
    initiator.send(lab, 0x87, &["MaxBurstLength=2048"]).partial(
        0x04,
        &["MaxBurstLength=2048", LENGTH, "FirstBurstLength=2048"],
    );
    initiator
        .send(lab, 0x87, &["FirstBurstLength=2048"])
        .last(0x87, &[]);
}

/// An answer that is not one ends the login, and so does none at all.
#[test]
fn answers_to_proposals() {
    for (name, ours, answers) in [
        (
            "MaxBurstLength",
            "131072",
            &["131073", "262144", "511", "x", "Reject"][..],
        ),
        ("FirstBurstLength", "4096", &["4097", "65536", "Irrelevant"]),
        (
            "DefaultTime2Wait",
            "5",
            &["4", "0", "3601", "NotUnderstood"],
        ),
        ("DefaultTime2Retain", "10", &["11", "Reject"]),
        ("ImmediateData", "No", &["Yes", "no", "Irrelevant"]),
        ("HeaderDigest", "CRC32C", &["None", "crc32c", "Reject"]),
        ("DataDigest", "CRC32C", &["None", ""]),
    ] {
        for answer in answers {
            let lab = &mut lab(&[(name, ours)]);
            let mut initiator = operational(lab, "Normal");
            let proposal = format!("{name}={ours}");
            initiator
                .send(lab, 0x87, &[])
                .partial(0x04, &[LENGTH, &proposal]);
            initiator
                .send(lab, 0x87, &[&format!("{name}={answer}")])
                .refused(0x0200);
            assert!(initiator.reason.contains(name), "{}", initiator.reason);
        }
        let lab = &mut lab(&[(name, ours)]);
        let mut initiator = operational(lab, "Normal");
        initiator.send(lab, 0x87, &[]).response();
        let answer = initiator.send(lab, 0x87, &[]);
        if name == "ImmediateData" {
            // Section 6.2.2: the answer to an AND with No is optional.
            answer.last(0x87, &[]);
            assert!(!initiator.login.result().unwrap().session.immediate_data);
        } else {
            answer.refused(0x0200);
        }
    }
    // A default that will not do and cannot be proposed any more.
    let lab = &mut lab(&[("MaxBurstLength", "32768")]);
    let mut initiator = operational(lab, "Normal");
    initiator
        .send(lab, 0x87, &["MaxBurstLength=nonsense"])
        .refused(0x0200);
    let lab = &mut self::lab(&[("HeaderDigest", "CRC32C")]);
    let mut initiator = operational(lab, "Normal");
    initiator
        .send(lab, 0x87, &["HeaderDigest=None"])
        .refused(0x0200);
}

#[test]
fn the_alias_of_the_target() {
    let lab = &mut lab(&[("TargetAlias", "Web Server 3 Disk 20")]);
    let alias = "TargetAlias=Web Server 3 Disk 20";
    operational(lab, "Normal")
        .send(lab, 0x87, &[])
        .last(0x87, &[alias, LENGTH]);
    operational(lab, "Discovery")
        .send(lab, 0x87, &[])
        .last(0x87, &[LENGTH]);
    // Also where there is no operational stage; but nobody learns it before
    // having authenticated.
    Initiator::new()
        .send(lab, 0x83, &[IN, TN])
        .last(0x83, &["TargetPortalGroupTag=1", alias]);
    let mut initiator = operational(lab, "Normal");
    initiator
        .send(lab, 0x04, &[])
        .partial(0x04, &[alias, LENGTH]);
    initiator.send(lab, 0x87, &[]).last(0x87, &[]);
    let offer = lab.offer.clone();
    let lab = &mut Lab::with_chap();
    lab.offer = offer;
    Initiator::new()
        .send(lab, 0x83, &[IN, TN, "AuthMethod=CHAP"])
        .partial(0x00, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
}

#[test]
fn the_portal_group_tag() {
    // With the first complete text, whatever that is (section 6.3.1).
    let lab = &mut Lab::new();
    lab.tag = Some(65535);
    let mut initiator = Initiator::new();
    initiator.send(lab, 0x40, &[IN]).partial(0x00, &[]);
    initiator
        .send(lab, 0x00, &[TN])
        .partial(0x00, &["TargetPortalGroupTag=65535"]);
    initiator.send(lab, 0x81, &[]).partial(0x81, &[]);
    lab.tag = Some(0);
    Initiator::new()
        .send(lab, 0x81, &[IN, TN])
        .partial(0x81, &["TargetPortalGroupTag=0"]);
    lab.tag = None;
    Initiator::new()
        .send(lab, 0x81, &[IN, "SessionType=Discovery"])
        .partial(0x81, &[]);
}

/// The initiator's order of methods decides, among those that may be used.
#[test]
fn authentication_methods() {
    for (list, required, credentials, chosen) in [
        ("CHAP,None", false, true, "CHAP"),
        ("None,CHAP", false, true, "None"),
        ("None,CHAP", true, true, "CHAP"),
        ("CHAP,None", false, false, "None"),
        ("KRB5,Z-org.example.auth,CHAP", true, true, "CHAP"),
    ] {
        let lab = &mut Lab::with_chap();
        lab.auth.required = required;
        lab.auth.credentials = credentials;
        let expected = format!("AuthMethod={chosen}");
        let flags = if chosen == "CHAP" { 0x00 } else { 0x81 };
        Initiator::new()
            .send(lab, 0x81, &[IN, TN, &format!("AuthMethod={list}")])
            .partial(flags, &["TargetPortalGroupTag=1", &expected]);
    }
    // Chosen freely, it has to be right all the same.
    let lab = &mut Lab::with_chap();
    lab.auth.required = false;
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x00, &[IN, TN, "AuthMethod=CHAP", "CHAP_A=7"])
        .response();
    initiator
        .send(
            lab,
            0x81,
            &["CHAP_N=alice", &format!("CHAP_R={}", hex(&[0; 32]))],
        )
        .refused(0x0201);
}

/// The digests that the tests answer with, against values computed by other
/// means.
#[test]
fn chap_digest_vectors() {
    let challenge: Vec<u8> = (0..32).collect();
    for (algorithm, expected) in [
        (Algorithm::Md5, "0x84d444f0e1cf8e49211e9db229944f01"),
        (
            Algorithm::Sha1,
            "0x4dfd173a3cc49395f73d160d49f6015d80cd6094",
        ),
        (
            Algorithm::Sha256,
            "0xf609a660beed5de78ca339f912ecc423d17c072560d7075ccd3ebbaa414b36e2",
        ),
        (
            Algorithm::Sha3_256,
            "0xe7eea7e5bce9004da4deb07ff4becbf1d1d6c0a4b6c014740263ca2e59e1d781",
        ),
    ] {
        let digest = chap_digest(algorithm, 0x2a, b"sixteen byte key", &challenge);
        assert_eq!(hex(&digest), expected, "{algorithm}");
        assert_eq!(digest.len(), algorithm.digest_len());
    }
}
