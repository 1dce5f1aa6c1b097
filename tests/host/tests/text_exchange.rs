// SPDX-License-Identifier: GPL-2.0

//! Text Requests in the full feature phase: SendTargets (RFC 7143 appendix C)
//! and declarations (section 6.4).

use ferrite_host_tests::login::{
    text, //
    Lab,
    Talker,
    TextAnswer,
};
use ferrite_proto::login::params::ConnParams;
use ferrite_proto::login::SessionType;
use ferrite_proto::name::IscsiName;
use ferrite_proto::text::MAX_PDUS;

const NEW: u32 = 0xffff_ffff;
const FINAL: u8 = 0x80;
const CONTINUE: u8 = 0x40;

const PROTOCOL_ERROR: TextAnswer = TextAnswer::Reject(0x04);
const INVALID_PDU_FIELD: TextAnswer = TextAnswer::Reject(0x09);
const LONG_OPERATION_REJECT: TextAnswer = TextAnswer::Reject(0x0a);

fn name(name: &str) -> IscsiName {
    IscsiName::parse(name.as_bytes()).expect("a name")
}

/// The two targets of the example in appendix C.
fn lab() -> Lab {
    let mut lab = Lab::new();
    for serial in ["8675309", "1234567"] {
        lab.targets.push((
            name(&format!("iqn.1993-11.com.example:diskarray.sn.{serial}")),
            vec!["10.1.0.45:3000".into(), "[2001:db8::45]:3000".into()],
        ));
    }
    lab
}

fn normal(lab: &Lab) -> Talker {
    let mut talker = Talker::new(SessionType::Normal);
    talker.target = Some(lab.targets[1].0);
    talker
}

fn discovery() -> Talker {
    Talker::new(SessionType::Discovery)
}

/// The records of an answer, each ended by its NUL byte.
fn records(data: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(data).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\0'), "a pair is cut");
    text.split_terminator('\0').map(str::to_owned).collect()
}

const FIRST: [&str; 3] = [
    "TargetName=iqn.1993-11.com.example:diskarray.sn.8675309",
    "TargetAddress=10.1.0.45:3000,1",
    "TargetAddress=[2001:db8::45]:3000,1",
];
const SECOND: [&str; 3] = [
    "TargetName=iqn.1993-11.com.example:diskarray.sn.1234567",
    "TargetAddress=10.1.0.45:3000,1",
    "TargetAddress=[2001:db8::45]:3000,1",
];

#[track_caller]
fn one_answer(talker: &mut Talker, lab: &mut Lab, pair: &str) -> Vec<String> {
    let (flags, ttt, data) = talker.send(lab, FINAL, NEW, &text(&[pair])).response();
    assert_eq!((flags, ttt), (FINAL, NEW));
    records(&data)
}

#[test]
fn send_targets_in_a_discovery_session() {
    let lab = &mut lab();
    let talker = &mut discovery();
    let all = [FIRST, SECOND].concat();
    assert_eq!(one_answer(talker, lab, "SendTargets=All"), all);
    assert_eq!(one_answer(talker, lab, "SendTargets=All"), all, "again");
    let named = "SendTargets=iqn.1993-11.com.example:diskarray.sn.1234567";
    assert_eq!(one_answer(talker, lab, named), SECOND);
    let named = "SendTargets=IQN.1993-11.com.example:DiskArray.sn.8675309";
    assert_eq!(one_answer(talker, lab, named), FIRST);
    // A target that is not there, or not for this initiator.
    let named = "SendTargets=iqn.1993-11.com.example:none";
    assert!(one_answer(talker, lab, named).is_empty());
    lab.targets.clear();
    assert!(one_answer(talker, lab, "SendTargets=All").is_empty());

    // The empty value is for the target logged in to.
    let lab = &mut self::lab();
    let empty = text(&["SendTargets="]);
    assert_eq!(talker.send(lab, FINAL, NEW, &empty), PROTOCOL_ERROR);
    talker.target = Some(lab.targets[0].0);
    assert_eq!(one_answer(talker, lab, "SendTargets="), FIRST);
    for value in ["all", "10.0.0.1", "iqn.bad name", "*"] {
        let request = text(&[&format!("SendTargets={value}")]);
        assert_eq!(talker.send(lab, FINAL, NEW, &request), INVALID_PDU_FIELD);
    }
}

#[test]
fn send_targets_in_a_normal_session() {
    let lab = &mut lab();
    let talker = &mut normal(lab);
    assert_eq!(one_answer(talker, lab, "SendTargets="), SECOND);
    let named = "SendTargets=iqn.1993-11.com.example:diskarray.sn.1234567";
    assert_eq!(one_answer(talker, lab, named), SECOND);
    // All tells no more than that either, and no other target is told.
    assert_eq!(one_answer(talker, lab, "SendTargets=All"), SECOND);
    for line in [
        "SendTargets=iqn.1993-11.com.example:diskarray.sn.8675309",
        "SendTargetsPlease=All",
        "sENDtARGETS=aLL",
    ] {
        let answer = talker.send(lab, FINAL, NEW, &text(&[line]));
        assert_eq!(answer, PROTOCOL_ERROR, "{line}");
    }
}

/// "This PDU contains exactly one text key and value."
#[test]
fn send_targets_stands_alone() {
    let lab = &mut lab();
    for pairs in [
        &["SendTargets=All", "SendTargets=All"][..],
        &["SendTargets=All", "X-a=b"],
        &["X-a=b", "SendTargets=All"],
        &["InitiatorAlias=a", "SendTargets="],
    ] {
        for talker in [&mut discovery(), &mut normal(lab)] {
            let answer = talker.send(lab, FINAL, NEW, &text(pairs));
            assert_eq!(answer, PROTOCOL_ERROR, "{pairs:?}");
        }
    }
    // Nor after another key in the same sequence.
    let talker = &mut normal(lab);
    let (_, ttt, _) = talker
        .send(lab, 0, NEW, &text(&["InitiatorAlias=a"]))
        .response();
    let answer = talker.send(lab, FINAL, ttt, &text(&["SendTargets="]));
    assert_eq!(answer, PROTOCOL_ERROR);
}

/// A discovery session serves nothing else (RFC 7143 section 13.21).
#[test]
fn discovery_sessions_serve_send_targets_only() {
    let lab = &mut lab();
    for pair in ["MaxRecvDataSegmentLength=8192", "InitiatorAlias=a", "X-a=b"] {
        let answer = discovery().send(lab, FINAL, NEW, &text(&[pair]));
        assert_eq!(answer, PROTOCOL_ERROR, "{pair}");
    }
}

/// 200 targets with three addresses each, through the smallest segments: each
/// pair is whole in its PDU, and each is there once.
#[test]
fn long_listings_go_on() {
    for max in [512, 513, 1000, 8192, 16_384, 262_144] {
        let lab = &mut Lab::new();
        let mut expected = Vec::new();
        for n in 0..200 {
            let target = format!("iqn.2003-01.org.example:{n:0>199}");
            expected.push(format!("TargetName={target}"));
            let addresses: Vec<String> = (0..n % 4).map(|a| format!("10.0.{n}.{a}:3260")).collect();
            expected.extend(addresses.iter().map(|a| format!("TargetAddress={a},1")));
            lab.targets.push((name(&target), addresses));
        }
        let talker = &mut discovery();
        talker.conn.set_initiator_length(max);
        let mut seen = Vec::new();
        let mut request = text(&["SendTargets=All"]);
        let mut ttt = NEW;
        let mut parts = 0;
        loop {
            let (flags, next, data) = talker.send(lab, FINAL, ttt, &request).response();
            seen.extend(records(&data));
            parts += 1;
            request.clear();
            if flags == FINAL {
                break;
            }
            assert_eq!(flags, CONTINUE);
            assert_ne!(next, NEW);
            assert!(ttt == NEW || ttt == next, "one tag per sequence");
            ttt = next;
        }
        assert_eq!(seen, expected, "{max}");
        assert!(parts > 3, "{parts} parts of {max}");
        assert!(talker.exchange.is_idle());
    }
}

#[test]
fn targets_that_vanish_while_they_are_listed() {
    let lab = &mut lab();
    let talker = &mut discovery();
    talker.conn.max_xmit_data_segment_length = 90;
    let request = text(&["SendTargets=All"]);
    let (flags, ttt, data) = talker.send(lab, FINAL, NEW, &request).response();
    assert_eq!(flags, CONTINUE);
    assert_eq!(records(&data), FIRST[..2]);
    lab.targets.clear();
    let (flags, _, data) = talker.send(lab, FINAL, ttt, &[]).response();
    assert_eq!((flags, data.len()), (FINAL, 0));

    // A segment too short for a single pair would never end.
    let lab = &mut self::lab();
    talker.conn.max_xmit_data_segment_length = 40;
    let answer = talker.send(lab, FINAL, NEW, &request);
    assert_eq!(answer, LONG_OPERATION_REJECT);
}

/// While a listing is being sent, only empty requests with its tags go on.
#[test]
fn a_listing_is_not_disturbed() {
    let begin = |lab: &mut Lab| {
        let mut talker = discovery();
        talker.conn.max_xmit_data_segment_length = 90;
        let request = text(&["SendTargets=All"]);
        let (_, ttt, _) = talker.send(lab, FINAL, NEW, &request).response();
        (talker, ttt)
    };
    let lab = &mut lab();
    let (mut talker, ttt) = begin(lab);
    let again = text(&["SendTargets=All"]);
    assert_eq!(talker.send(lab, FINAL, ttt, &again), PROTOCOL_ERROR);
    let (mut talker, ttt) = begin(lab);
    assert_eq!(talker.send(lab, CONTINUE, ttt, &[]), PROTOCOL_ERROR);
    let (mut talker, ttt) = begin(lab);
    assert_eq!(
        talker.send(lab, FINAL, ttt.wrapping_add(1), &[]),
        INVALID_PDU_FIELD
    );
    assert_eq!(
        talker.send(lab, FINAL, ttt, &[]),
        INVALID_PDU_FIELD,
        "stale"
    );
    let (mut talker, ttt) = begin(lab);
    talker.itt += 1;
    assert_eq!(talker.send(lab, FINAL, ttt, &[]), INVALID_PDU_FIELD);
    // A new request begins anew, with another tag.
    let (mut talker, ttt) = begin(lab);
    talker.itt += 1;
    let (flags, next, data) = talker.send(lab, FINAL, NEW, &again).response();
    assert_eq!(flags, CONTINUE);
    assert_eq!(records(&data), FIRST[..2]);
    assert_ne!(next, ttt);
    // Without F the last part does not end the sequence.
    let (_, ttt, _) = talker.send(lab, FINAL, next, &[]).response();
    let mut last = talker.send(lab, 0, ttt, &[]).response();
    while last.0 == CONTINUE {
        last = talker.send(lab, 0, ttt, &[]).response();
    }
    assert_eq!((last.0, last.1), (0, ttt));
    let last = talker.send(lab, FINAL, ttt, &[]).response();
    assert_eq!(last, (FINAL, NEW, Vec::new()));
}

#[test]
fn tags_need_an_exchange() {
    let lab = &mut lab();
    let talker = &mut normal(lab);
    assert_eq!(talker.send(lab, FINAL, 0, &[]), INVALID_PDU_FIELD);
    assert_eq!(talker.send(lab, FINAL, 1, &[]), INVALID_PDU_FIELD);
    // Nothing asked, nothing answered.
    let answer = talker.send(lab, FINAL, NEW, &[]).response();
    assert_eq!(answer, (FINAL, NEW, Vec::new()));
    let (flags, ttt, data) = talker.send(lab, 0, NEW, &[]).response();
    assert_eq!((flags, data.len()), (0, 0));
    assert_ne!(ttt, NEW);
    let answer = talker.send(lab, FINAL, ttt, &[]).response();
    assert_eq!(answer, (FINAL, NEW, Vec::new()));
}

#[test]
fn declarations() {
    let lab = &mut lab();
    let talker = &mut normal(lab);
    assert!(talker
        .exchange
        .changes()
        .unwrap()
        .initiator_length
        .is_none());
    let request = text(&[
        "MaxRecvDataSegmentLength=65536",
        "InitiatorAlias=Web Server 4",
        "X-com.example.a=1",
        "unknown=2",
    ]);
    let (flags, ttt, data) = talker.send(lab, FINAL, NEW, &request).response();
    assert_eq!((flags, ttt), (FINAL, NEW));
    assert_eq!(
        records(&data),
        ["X-com.example.a=NotUnderstood", "unknown=NotUnderstood"]
    );
    let changes = talker.exchange.changes().expect("the exchange is over");
    assert_eq!(changes.initiator_length, Some(65_536));
    let alias = changes.initiator_alias.as_ref().unwrap();
    assert_eq!(alias.as_str(), "Web Server 4");

    // They hold from the last response on, and not if it never comes.
    let request = text(&["MaxRecvDataSegmentLength=512"]);
    let (flags, ttt, _) = talker.send(lab, 0, NEW, &request).response();
    assert_eq!(flags, 0);
    assert!(talker.exchange.changes().is_none());
    talker.send(lab, FINAL, ttt, &[]).response();
    let changes = talker.exchange.changes().unwrap();
    assert_eq!(changes.initiator_length, Some(512));
    assert!(changes.initiator_alias.is_none());

    let (_, ttt, _) = talker.send(lab, 0, NEW, &request).response();
    let repeated = talker.send(lab, FINAL, ttt, &request);
    assert_eq!(repeated, PROTOCOL_ERROR);
    let changes = talker.exchange.changes().unwrap();
    assert_eq!(changes.initiator_length, None);
    talker.send(lab, 0, NEW, &request).response();
    talker.send(lab, FINAL, NEW, &[]).response();
    let changes = talker.exchange.changes().unwrap();
    assert_eq!(changes.initiator_length, None, "reset by the initiator");
}

#[test]
fn keys_that_are_not_for_the_full_feature_phase() {
    let lab = &mut lab();
    for pair in [
        "HeaderDigest=None",
        "DataDigest=CRC32C",
        "MaxConnections=2",
        "TargetName=iqn.1993-11.com.example:diskarray.sn.1234567",
        "InitiatorName=iqn.1993-11.com.example:other",
        "TargetAlias=a",
        "TargetAddress=10.0.0.1:3260,1",
        "TargetPortalGroupTag=1",
        "InitialR2T=No",
        "ImmediateData=No",
        "MaxBurstLength=512",
        "FirstBurstLength=512",
        "DefaultTime2Wait=0",
        "DefaultTime2Retain=0",
        "MaxOutstandingR2T=1",
        "DataPDUInOrder=No",
        "DataSequenceInOrder=No",
        "ErrorRecoveryLevel=2",
        "SessionType=Discovery",
        "TaskReporting=FastAbort",
        "iSCSIProtocolLevel=2",
        "X#NodeArchitecture=a",
        "IFMarker=Yes",
        "OFMarkInt=1",
        "AuthMethod=None",
        "CHAP_A=5",
        "SRP_U=a",
        "MaxRecvDataSegmentLength=511",
        "MaxRecvDataSegmentLength=16777216",
        "MaxRecvDataSegmentLength=Reject",
        "InitiatorAlias=NotUnderstood",
        "InitiatorAlias=a\u{7}",
    ] {
        let talker = &mut normal(lab);
        let answer = talker.send(lab, FINAL, NEW, &text(&[pair]));
        assert_eq!(answer, PROTOCOL_ERROR, "{pair}");
        let changes = talker.exchange.changes().unwrap();
        assert!(changes.initiator_length.is_none() && changes.initiator_alias.is_none());
    }
}

#[test]
fn texts_may_span_requests() {
    let lab = &mut lab();
    let talker = &mut normal(lab);
    let whole = text(&["MaxRecvDataSegmentLength=4096", "X-a=b"]);
    for at in 0..=whole.len() {
        let (head, tail) = whole.split_at(at);
        let (flags, ttt, data) = talker.send(lab, CONTINUE, NEW, head).response();
        assert_eq!((flags, data.len()), (0, 0));
        let (flags, _, data) = talker.send(lab, FINAL, ttt, tail).response();
        assert_eq!(flags, FINAL);
        assert_eq!(records(&data), ["X-a=NotUnderstood"]);
        let changes = talker.exchange.changes().unwrap();
        assert_eq!(changes.initiator_length, Some(4096));
    }
    for len in 1..whole.len() {
        if whole[len - 1] != 0 {
            let answer = talker.send(lab, FINAL, NEW, &whole[..len]);
            assert_eq!(answer, PROTOCOL_ERROR, "{len}");
        }
    }
}

/// CVE-2021-28361: a request with the C bit and no data. And no end of them.
#[test]
fn continuations_end() {
    let lab = &mut lab();
    let talker = &mut normal(lab);
    let (flags, ttt, data) = talker.send(lab, CONTINUE, NEW, &[]).response();
    assert_eq!((flags, data.len()), (0, 0));
    for _ in 1..MAX_PDUS {
        talker.send(lab, CONTINUE, ttt, &[]).response();
    }
    assert_eq!(talker.send(lab, CONTINUE, ttt, &[]), PROTOCOL_ERROR);
    // More than the buffer holds.
    let (_, ttt, _) = talker.send(lab, CONTINUE, NEW, &[b'k'; 10_000]).response();
    let answer = talker.send(lab, CONTINUE, ttt, &[b'k'; 10_000]);
    assert_eq!(answer, PROTOCOL_ERROR);
    // The next one is not harmed.
    assert_eq!(one_answer(talker, lab, "SendTargets="), SECOND);
}

/// CVE-2026-63887 after the login: more answer than the initiator may be sent
/// at once.
#[test]
fn many_unknown_keys() {
    let lab = &mut lab();
    let talker = &mut normal(lab);
    talker.conn = ConnParams::RFC_DEFAULT;
    talker.conn.set_initiator_length(512);
    let key = format!("X-{}", "k".repeat(61));
    let keys: Vec<String> = (0..128).map(|_| format!("{key}=")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut request = text(&keys);
    let mut ttt = NEW;
    let mut whole = Vec::new();
    loop {
        let (flags, next, data) = talker.send(lab, FINAL, ttt, &request).response();
        assert!(flags == FINAL || data.len() == 512);
        whole.extend(data);
        request.clear();
        ttt = next;
        if flags == FINAL {
            break;
        }
    }
    assert_eq!(records(&whole), vec![format!("{key}=NotUnderstood"); 128]);
    let too_many = text(&["a=b"; 129]);
    assert_eq!(talker.send(lab, FINAL, NEW, &too_many), PROTOCOL_ERROR);
}
