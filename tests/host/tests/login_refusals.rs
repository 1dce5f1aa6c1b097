// SPDX-License-Identifier: GPL-2.0

//! Every way in which a login can be refused, and the status that each is
//! refused with (RFC 7143 section 11.13.5).

use ferrite_host_tests::login::{
    chap_digest, //
    hex,
    text,
    unhex,
    Answer,
    Initiator,
    Lab,
    INITIATOR,
    TARGET,
};
use ferrite_proto::chap::Algorithm;
use ferrite_proto::login::params::SessionParams;
use ferrite_proto::login::{
    SessionType, //
    MAX_REQUESTS,
};
use ferrite_proto::text::MAX_PDUS;
use ferrite_proto::wire::{
    Error, //
    LoginStatus,
    Opcode,
};

const INITIATOR_ERROR: u16 = 0x0200;
const AUTHENTICATION_FAILURE: u16 = 0x0201;
const NOT_FOUND: u16 = 0x0203;
const UNSUPPORTED_VERSION: u16 = 0x0205;
const MISSING_PARAMETER: u16 = 0x0207;
const SESSION_TYPE_NOT_SUPPORTED: u16 = 0x0209;
const SESSION_DOES_NOT_EXIST: u16 = 0x020a;
const INVALID_DURING_LOGIN: u16 = 0x020b;
const OUT_OF_RESOURCES: u16 = 0x0302;

const IN: &str = "InitiatorName=iqn.1994-05.com.redhat:c0ffee";
const TN: &str = "TargetName=iqn.2003-01.org.example:disk";

/// Sends `pairs` as the first request of a login.
#[track_caller]
fn first(lab: &mut Lab, flags: u8, pairs: &[&str]) -> Answer {
    Initiator::new().send(lab, flags, pairs)
}

/// A login that has got through the security stage.
fn operational(lab: &mut Lab) -> Initiator {
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x81, &[IN, TN, "AuthMethod=None"])
        .response();
    initiator
}

/// A login that waits for the answer to a challenge, and what it is.
fn challenged(lab: &mut Lab, algorithms: &str) -> (Initiator, u8, Vec<u8>) {
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x00, &[IN, TN, "AuthMethod=CHAP"])
        .response();
    let answer = initiator.send(lab, 0x00, &[&format!("CHAP_A={algorithms}")]);
    let response = answer.response();
    let id = response.value("CHAP_I").unwrap().parse().unwrap();
    let challenge = unhex(&response.value("CHAP_C").unwrap());
    (initiator, id, challenge)
}

#[test]
fn names_must_be_in_the_first_request() {
    let lab = &mut Lab::new();
    first(lab, 0x81, &[TN]).refused(MISSING_PARAMETER);
    first(lab, 0x87, &[TN]).refused(MISSING_PARAMETER);
    first(lab, 0x81, &[]).refused(MISSING_PARAMETER);
    first(lab, 0x81, &[IN]).refused(MISSING_PARAMETER);
    first(lab, 0x81, &[IN, "SessionType=Normal"]).refused(MISSING_PARAMETER);
    assert!(lab.asked.is_empty(), "nobody is asked about the nameless");
    first(lab, 0x81, &[IN, "SessionType=Discovery"]).response();
    first(lab, 0x81, &[IN, TN]).response();

    // The other names have to come with them.
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x00, &[IN, "SessionType=Discovery"])
        .response();
    initiator.send(lab, 0x00, &[TN]).refused(INITIATOR_ERROR);
    let mut initiator = Initiator::new();
    initiator.send(lab, 0x00, &[IN, TN]).response();
    initiator
        .send(lab, 0x00, &["SessionType=Discovery"])
        .refused(INITIATOR_ERROR);
}

#[test]
fn names_must_be_names() {
    let lab = &mut Lab::new();
    let long = format!("InitiatorName=iqn.1994-05.com.redhat:{}", "x".repeat(202));
    for name in [
        "InitiatorName=",
        "InitiatorName=host",
        "InitiatorName=iqn.1994-05.com.redhat:with space",
        "InitiatorName=iqn.1994-05.com.redhat:../../etc",
        "InitiatorName=Reject",
        &long,
    ] {
        first(lab, 0x81, &[name, TN]).refused(INITIATOR_ERROR);
    }
    for name in ["TargetName=", "TargetName=disk", "TargetName=iqn.bad name"] {
        first(lab, 0x81, &[IN, name]).refused(NOT_FOUND);
    }
    for name in ["SessionType=", "SessionType=normal", "SessionType=Boot"] {
        first(lab, 0x81, &[IN, TN, name]).refused(SESSION_TYPE_NOT_SUPPORTED);
    }
    assert!(lab.asked.is_empty());
}

#[test]
fn the_host_decides_who_is_let_in() {
    for status in [
        0x0200, 0x0202, 0x0203, 0x0204, 0x0206, 0x0208, 0x0209, 0x020a, 0x0300, 0x0301, 0x0302,
    ] {
        let [class, detail] = u16::to_be_bytes(status);
        let mut lab = Lab::new();
        lab.refusal = Some(LoginStatus::new(class, detail));
        first(&mut lab, 0x81, &[IN, TN]).refused(status);

        let mut lab = Lab::new();
        lab.opening = Err(LoginStatus::new(class, detail));
        let mut initiator = operational(&mut lab);
        initiator.send(&mut lab, 0x87, &[]).refused(status);
        assert!(initiator.login.take_proof().is_none());
    }
    // What is no refusal, or would need a TargetAddress that is not known, is
    // the target's fault.
    for status in [
        LoginStatus::SUCCESS,
        LoginStatus::TARGET_MOVED_TEMPORARILY,
        LoginStatus::new(1, 3),
    ] {
        let mut lab = Lab::new();
        lab.refusal = Some(status);
        first(&mut lab, 0x81, &[IN, TN]).refused(0x0300);
    }
    let mut lab = Lab::new();
    lab.opening = Ok(0);
    operational(&mut lab)
        .send(&mut lab, 0x87, &[])
        .refused(0x0300);
}

#[test]
fn a_target_that_has_moved() {
    for (status, detail) in [
        (LoginStatus::TARGET_MOVED_TEMPORARILY, 1),
        (LoginStatus::TARGET_MOVED_PERMANENTLY, 2),
    ] {
        let mut lab = Lab::new();
        lab.refusal = Some(status);
        lab.moved = Some("[2001:db8::7]:3260".to_owned());
        let mut initiator = Initiator::new();
        let answer = initiator.send(&mut lab, 0x81, &[IN, TN]);
        let text = "TargetAddress=[2001:db8::7]:3260\0".to_owned();
        assert_eq!(answer, Answer::Moved(detail, text));
        // That was the end of it.
        let answer = initiator.send(&mut lab, 0x81, &[IN, TN]);
        assert_eq!(answer, Answer::Closed);
    }
}

#[test]
fn names_repeated_without_change_are_let_pass() {
    let lab = &mut Lab::new();
    let names = [IN, "InitiatorAlias=a", TN, "SessionType=Normal"];
    let mut initiator = Initiator::new();
    initiator.send(lab, 0x81, &names).response();
    initiator.send(lab, 0x87, &names).response();

    for changed in [
        "InitiatorName=iqn.1994-05.com.redhat:other",
        "InitiatorAlias=b",
        "TargetName=iqn.2003-01.org.example:other",
        "SessionType=Discovery",
        "InitiatorName=",
        "TargetName=x y",
    ] {
        let mut initiator = Initiator::new();
        initiator.send(lab, 0x81, &names).response();
        initiator
            .send(lab, 0x87, &[changed])
            .refused(INITIATOR_ERROR);
    }
    // In one text nothing may be said twice.
    for twice in names {
        first(lab, 0x81, &[&names[..], &[twice]].concat()).refused(INITIATOR_ERROR);
    }
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x81, &[IN, "SessionType=Discovery"])
        .response();
    initiator
        .send(lab, 0x87, &["TargetName=no name at all"])
        .refused(INITIATOR_ERROR);
}

#[test]
fn a_key_is_negotiated_once() {
    for key in [
        "HeaderDigest=None",
        "DataDigest=None",
        "MaxConnections=1",
        "InitialR2T=Yes",
        "ImmediateData=Yes",
        "MaxRecvDataSegmentLength=8192",
        "MaxBurstLength=8192",
        "FirstBurstLength=8192",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=2",
        "MaxOutstandingR2T=1",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
        "ErrorRecoveryLevel=0",
        "TaskReporting=RFC3720",
        "iSCSIProtocolLevel=1",
        "X#NodeArchitecture=PDP-11",
        "IFMarker=No",
        "OFMarker=No",
        "IFMarkInt=2048~8192",
        "OFMarkInt=2048~8192",
    ] {
        let lab = &mut Lab::new();
        operational(lab)
            .send(lab, 0x04, &[key, key])
            .refused(INITIATOR_ERROR);
        let mut initiator = operational(lab);
        initiator.send(lab, 0x04, &[key]).response();
        initiator.send(lab, 0x04, &[key]).refused(INITIATOR_ERROR);
        assert!(initiator.reason.contains("twice"), "{}", initiator.reason);
    }
    let lab = &mut Lab::with_chap();
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x00, &[IN, TN, "AuthMethod=CHAP"])
        .response();
    initiator
        .send(lab, 0x00, &["AuthMethod=CHAP", "CHAP_A=5"])
        .refused(INITIATOR_ERROR);
}

#[test]
fn a_key_belongs_to_a_stage_and_a_sender() {
    let lab = &mut Lab::new();
    // Section 12: "Other keys MUST NOT be used" in the security stage.
    for key in [
        "HeaderDigest=None",
        "DataDigest=None",
        "MaxConnections=1",
        "InitialR2T=Yes",
        "ImmediateData=Yes",
        "MaxRecvDataSegmentLength=8192",
        "MaxBurstLength=8192",
        "FirstBurstLength=8192",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=2",
        "MaxOutstandingR2T=1",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
        "ErrorRecoveryLevel=0",
        "TaskReporting=RFC3720",
        "iSCSIProtocolLevel=1",
        "X#NodeArchitecture=PDP-11",
        "IFMarker=No",
        "OFMarkInt=2048~8192",
        "SendTargets=All",
    ] {
        first(lab, 0x81, &[IN, TN, key]).refused(INITIATOR_ERROR);
    }
    for key in [
        "AuthMethod=None",
        "CHAP_A=5",
        "CHAP_I=5",
        "CHAP_C=0x01",
        "CHAP_N=alice",
        "CHAP_R=0x01",
        "SendTargets=All",
        "KRB_AP_REQ=0x01",
        "SRP_U=alice",
        "TargetAuth=Yes",
    ] {
        first(lab, 0x87, &[IN, TN, key]).refused(INITIATOR_ERROR);
        operational(lab)
            .send(lab, 0x87, &[key])
            .refused(INITIATOR_ERROR);
    }
    // Keys of the target, and of methods that nobody chose.
    for key in [
        "TargetAlias=a",
        "TargetAddress=10.0.0.1:3260,1",
        "TargetPortalGroupTag=1",
        "KRB_AP_REQ=0x01",
        "KRB_AP_REP=0x01",
        "SRP_U=alice",
        "SRP_GROUP=SRP-1536",
        "SRP_A=0x01",
        "SRP_B=0x01",
        "SRP_M=0x01",
        "SRP_HM=0x01",
        "SRP_s=0x01",
        "TargetAuth=Yes",
    ] {
        first(lab, 0x81, &[IN, TN, key]).refused(INITIATOR_ERROR);
    }
    // Case counts, so these are keys that nobody knows.
    first(lab, 0x81, &[IN, TN, "headerdigest=None", "chap_a=5"]).partial(
        0x81,
        &[
            "TargetPortalGroupTag=1",
            "headerdigest=NotUnderstood",
            "chap_a=NotUnderstood",
        ],
    );
}

#[test]
fn reserved_words_are_not_values() {
    for word in ["Reject", "Irrelevant", "NotUnderstood"] {
        let lab = &mut Lab::new();
        for key in [
            "HeaderDigest",
            "MaxConnections",
            "InitialR2T",
            "MaxRecvDataSegmentLength",
            "TaskReporting",
            "InitiatorAlias",
            "IFMarker",
        ] {
            operational(lab)
                .send(lab, 0x87, &[&format!("{key}={word}")])
                .refused(INITIATOR_ERROR);
        }
        first(lab, 0x81, &[IN, TN, &format!("AuthMethod={word}")]).refused(INITIATOR_ERROR);
    }
}

#[test]
fn stages_follow_each_other() {
    let lab = &mut Lab::new();
    // Reserved stages, and the full feature phase as the current one.
    for flags in [0x08, 0x0c, 0x8b, 0x8f] {
        first(lab, flags, &[IN, TN]).refused(INITIATOR_ERROR);
    }
    // NSG=2, to the same stage, and back.
    for flags in [0x80, 0x82, 0x84, 0x85, 0x86] {
        first(lab, flags, &[IN, TN]).refused(INITIATOR_ERROR);
    }
    // Without T the next stage is reserved and not looked at.
    for flags in [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07] {
        first(lab, flags, &[IN, TN]).response();
    }
    // T with C.
    for flags in [0xc1, 0xc3, 0xc7] {
        first(lab, flags, &[IN, TN]).refused(INITIATOR_ERROR);
    }
    // A stage that the login is not in.
    operational(lab)
        .send(lab, 0x81, &[])
        .refused(INITIATOR_ERROR);
    operational(lab)
        .send(lab, 0x00, &[])
        .refused(INITIATOR_ERROR);
    let mut initiator = Initiator::new();
    initiator.send(lab, 0x00, &[IN, TN]).response();
    initiator.send(lab, 0x87, &[]).refused(INITIATOR_ERROR);
    // Not even while the first text is still arriving.
    let mut initiator = Initiator::new();
    initiator.send(lab, 0x40, &[IN]).partial(0x00, &[]);
    initiator.send(lab, 0x87, &[TN]).refused(INITIATOR_ERROR);
    // Every transition that the table of section 6.3 allows.
    first(lab, 0x83, &[IN, TN]).last(0x83, &["TargetPortalGroupTag=1"]);
    first(lab, 0x81, &[IN, TN]).partial(0x81, &["TargetPortalGroupTag=1"]);
    operational(lab).send(lab, 0x87, &[]).response();
}

#[test]
fn a_login_without_authentication_does_not_skip_it() {
    // CSG=1 at once, CSG=0 to 3, and AuthMethod=None.
    let lab = &mut Lab::with_chap();
    first(lab, 0x87, &[IN, TN]).refused(AUTHENTICATION_FAILURE);
    first(lab, 0x04, &[IN, TN]).refused(AUTHENTICATION_FAILURE);
    for flags in [0x00, 0x81, 0x83] {
        first(lab, flags, &[IN, TN, "AuthMethod=None"]).refused(AUTHENTICATION_FAILURE);
        first(lab, flags, &[IN, TN, "AuthMethod=KRB5,SRP"]).refused(AUTHENTICATION_FAILURE);
        first(lab, flags, &[IN, TN, "AuthMethod="]).refused(AUTHENTICATION_FAILURE);
        first(lab, flags, &[IN, TN, "AuthMethod=chap"]).refused(AUTHENTICATION_FAILURE);
    }
    // CHAP stays where it is until it is done, whatever T and NSG say.
    for flags in [0x81, 0x83] {
        let mut initiator = Initiator::new();
        initiator
            .send(lab, flags, &[IN, TN, "AuthMethod=CHAP"])
            .partial(0x00, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
        let answer = initiator.send(lab, flags, &["CHAP_A=7"]);
        assert_eq!(answer.response().flags, 0x00);
        initiator.send(lab, flags, &[]).refused(MISSING_PARAMETER);
    }
    assert_eq!(lab.opened, 0);

    // Required, but nothing is configured to do it with.
    let mut lab = Lab::with_chap();
    lab.auth.credentials = false;
    first(&mut lab, 0x81, &[IN, TN, "AuthMethod=CHAP,None"]).refused(AUTHENTICATION_FAILURE);
    first(&mut lab, 0x81, &[IN, TN]).refused(AUTHENTICATION_FAILURE);
    let mut lab = Lab::with_chap();
    lab.offer.set("AuthMethod", "None").unwrap();
    first(&mut lab, 0x81, &[IN, TN, "AuthMethod=CHAP,None"]).refused(AUTHENTICATION_FAILURE);
}

/// RFC 7143 section 6.3.2: the target may direct the negotiation.
#[test]
fn the_target_proposes_chap() {
    for flags in [0x81, 0x83] {
        let lab = &mut Lab::with_chap();
        let mut initiator = Initiator::new();
        initiator
            .send(lab, flags, &[IN, TN])
            .partial(0x00, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
        // The answer comes with the first key of the method, and is not
        // answered again.
        let answer = initiator.send(lab, 0x00, &["AuthMethod=CHAP", "CHAP_A=6"]);
        assert_eq!(answer.response().pairs().len(), 3);
        let id = answer.response().value("CHAP_I").unwrap().parse().unwrap();
        let challenge = unhex(&answer.response().value("CHAP_C").unwrap());
        let digest = chap_digest(Algorithm::Sha1, id, b"correct horse battery", &challenge);
        initiator
            .send(
                lab,
                flags,
                &["CHAP_N=alice", &format!("CHAP_R={}", hex(&digest))],
            )
            .response();
    }
    for (answer, status) in [
        (&["AuthMethod=None"][..], AUTHENTICATION_FAILURE),
        (&["AuthMethod=None,CHAP"], AUTHENTICATION_FAILURE),
        (&["AuthMethod=Reject"], INITIATOR_ERROR),
        (&["CHAP_A=6"], MISSING_PARAMETER),
        (&[], MISSING_PARAMETER),
    ] {
        let lab = &mut Lab::with_chap();
        let mut initiator = Initiator::new();
        initiator.send(lab, 0x81, &[IN, TN]).response();
        initiator.send(lab, 0x81, answer).refused(status);
    }
}

#[test]
fn chap_steps_come_in_order() {
    let lab = &mut Lab::with_mutual_chap();
    // Keys before the method, and of a later step with or before an earlier.
    for key in [
        "CHAP_A=5",
        "CHAP_N=a",
        "CHAP_R=0x01",
        "CHAP_I=1",
        "CHAP_C=0x01",
    ] {
        first(lab, 0x00, &[IN, TN, key]).refused(INITIATOR_ERROR);
    }
    for key in ["CHAP_N=a", "CHAP_R=0x01", "CHAP_I=1", "CHAP_C=0x01"] {
        first(lab, 0x00, &[IN, TN, "AuthMethod=CHAP", key]).refused(INITIATOR_ERROR);
        first(lab, 0x00, &[IN, TN, "AuthMethod=CHAP", "CHAP_A=5", key]).refused(INITIATOR_ERROR);
        let mut initiator = Initiator::new();
        initiator
            .send(lab, 0x00, &[IN, TN, "AuthMethod=CHAP"])
            .response();
        initiator
            .send(lab, 0x00, &["CHAP_A=5", key])
            .refused(INITIATOR_ERROR);
    }
    let mut initiator = Initiator::new();
    initiator
        .send(lab, 0x00, &[IN, TN, "AuthMethod=CHAP"])
        .response();
    initiator.send(lab, 0x00, &[]).refused(MISSING_PARAMETER);

    // CHAP_A after the challenge, and after the response.
    let (mut initiator, ..) = challenged(lab, "5");
    initiator
        .send(lab, 0x00, &["CHAP_A=5"])
        .refused(INITIATOR_ERROR);
    let (mut initiator, id, challenge) = challenged(lab, "5");
    let digest = chap_digest(Algorithm::Md5, id, b"correct horse battery", &challenge);
    let response = format!("CHAP_R={}", hex(&digest));
    initiator
        .send(lab, 0x00, &["CHAP_N=alice", &response])
        .partial(0x00, &[]);
    initiator
        .send(lab, 0x81, &["CHAP_I=1", "CHAP_C=0x01"])
        .refused(INITIATOR_ERROR);
    let (mut initiator, ..) = challenged(lab, "5");
    initiator
        .send(lab, 0x00, &["CHAP_N=alice", &response, "CHAP_A=5"])
        .refused(INITIATOR_ERROR);

    // Section 9.2: a missing key is told as one, and a login that leaves out
    // its own response does not get the target's.
    for keys in [
        &["CHAP_N=alice"][..],
        &[&response],
        &["CHAP_I=1", "CHAP_C=0x01"],
        &["CHAP_N=alice", "CHAP_I=1", "CHAP_C=0x01"],
        &["CHAP_N=alice", &response, "CHAP_I=1"],
        &["CHAP_N=alice", &response, "CHAP_C=0x01"],
        &[],
    ] {
        let (mut initiator, ..) = challenged(lab, "5");
        initiator.send(lab, 0x81, keys).refused(MISSING_PARAMETER);
    }
}

/// What is wrong with a response is not told, and nothing is opened.
#[test]
fn chap_credentials_must_be_right() {
    for algorithm in Algorithm::STRONGEST_FIRST {
        let number = algorithm.number().to_string();
        let digest = |id, secret: &[u8], challenge: &[u8]| {
            hex(&chap_digest(algorithm, id, secret, challenge))
        };
        type Wrong<'a> = &'a dyn Fn(u8, &[u8]) -> (String, String);
        let right = |id, challenge: &[u8]| digest(id, b"correct horse battery", challenge);
        let cases: [Wrong<'_>; 12] = [
            &|id, challenge| ("bob".into(), right(id, challenge)),
            &|id, challenge| ("Alice".into(), right(id, challenge)),
            &|id, challenge| (String::new(), right(id, challenge)),
            &|id, challenge| ("alice".into(), digest(id, b"wrong", challenge)),
            &|id, challenge| ("alice".into(), digest(id, b"", challenge)),
            &|id, challenge| ("alice".into(), right(id.wrapping_add(1), challenge)),
            &|id, challenge| ("alice".into(), right(id, &challenge[1..])),
            &|id, challenge| {
                let right = right(id, challenge);
                ("alice".into(), right[..right.len() - 2].to_owned())
            },
            &|id, challenge| ("alice".into(), right(id, challenge) + "00"),
            &|id, challenge| ("alice".into(), right(id, challenge).replace("0x", "")),
            &|_, _| ("alice".into(), String::new()),
            // What the target itself would answer (section 9.2.1).
            &|id, challenge| {
                (
                    "alice".into(),
                    digest(id, b"staple of the target", challenge),
                )
            },
        ];
        for (n, case) in cases.into_iter().enumerate() {
            let lab = &mut Lab::with_mutual_chap();
            let (mut initiator, id, challenge) = challenged(lab, &number);
            let (name, response) = case(id, &challenge);
            let name = format!("CHAP_N={name}");
            let response = format!("CHAP_R={response}");
            let answer = initiator.send(lab, 0x83, &[&name, &response]);
            assert_eq!(
                answer,
                Answer::Refused(AUTHENTICATION_FAILURE),
                "case {n} with {algorithm}"
            );
            assert_eq!(lab.opened, 0);
        }
        // One secret for both directions is refused although it is right.
        let lab = &mut Lab::with_mutual_chap();
        lab.mutual.as_mut().unwrap().1 = b"correct horse battery".to_vec();
        let (mut initiator, id, challenge) = challenged(lab, &number);
        let response = format!("CHAP_R={}", right(id, &challenge));
        initiator
            .send(lab, 0x83, &["CHAP_N=alice", &response])
            .refused(AUTHENTICATION_FAILURE);
        assert!(initiator.reason.contains("same"), "{}", initiator.reason);
    }
}

#[test]
fn chap_algorithms_must_be_allowed() {
    let lab = &mut Lab::with_chap();
    lab.auth.algorithms = ferrite_proto::chap::Algorithms::DEFAULT;
    for (list, chosen) in [
        ("5,6,7,8", "8"),
        ("6,5", "6"),
        ("5,7,99,6", "7"),
        ("0x8", "8"),
        ("nonsense,6", "6"),
    ] {
        let mut initiator = Initiator::new();
        initiator
            .send(lab, 0x00, &[IN, TN, "AuthMethod=CHAP"])
            .response();
        let answer = initiator.send(lab, 0x00, &[&format!("CHAP_A={list}")]);
        assert_eq!(answer.response().value("CHAP_A").as_deref(), Some(chosen));
    }
    // MD5 is not allowed unless the administrator says so.
    for list in ["5", "", "0", "99", "8 ", "18446744073709551624", "-8", "0b"] {
        let mut initiator = Initiator::new();
        initiator
            .send(lab, 0x00, &[IN, TN, "AuthMethod=CHAP"])
            .response();
        initiator
            .send(lab, 0x00, &[&format!("CHAP_A={list}")])
            .refused(AUTHENTICATION_FAILURE);
    }
    lab.auth.algorithms = ferrite_proto::chap::Algorithms::EMPTY;
    first(lab, 0x00, &[IN, TN, "AuthMethod=CHAP"]).refused(AUTHENTICATION_FAILURE);
}

#[test]
fn the_targets_own_authentication() {
    let secret = b"correct horse battery";
    let answer = |lab: &mut Lab, id: &str, challenge: &dyn Fn(&[u8]) -> String| {
        let (mut initiator, own_id, own) = challenged(lab, "7");
        let digest = chap_digest(Algorithm::Sha256, own_id, secret, &own);
        let pairs = [
            "CHAP_N=alice".to_owned(),
            format!("CHAP_R={}", hex(&digest)),
            format!("CHAP_I={id}"),
            format!("CHAP_C={}", challenge(&own)),
        ];
        let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
        initiator.send(lab, 0x81, &pairs)
    };
    let lab = &mut Lab::with_mutual_chap();
    // Every identifier of one byte, and challenges of 1 to 1024 bytes.
    for (id, number) in [
        ("0", 0),
        ("255", 255),
        ("0x0", 0),
        ("0xff", 255),
        ("0X7f", 127),
    ] {
        for len in [1, 16, 1023, 1024] {
            let challenge = vec![0x3c; len];
            let digest = chap_digest(
                Algorithm::Sha256,
                number,
                b"staple of the target",
                &challenge,
            );
            let expected = format!("CHAP_R={}", hex(&digest));
            answer(lab, id, &|_| hex(&challenge)).partial(0x81, &["CHAP_N=tgt", &expected]);
            let base64 = ferrite_host_tests::login::base64(&challenge);
            answer(lab, id, &|_| base64.clone()).partial(0x81, &["CHAP_N=tgt", &expected]);
        }
    }
    for id in [
        "256",
        "0x100",
        "-1",
        "",
        "1,2",
        "00",
        "0b01",
        "99999999999999999999",
    ] {
        answer(lab, id, &|_| "0x01".into()).refused(INITIATOR_ERROR);
    }
    for challenge in [
        hex(&[1; 1025]),
        ferrite_host_tests::login::base64(&[1; 1025]),
        String::new(),
        "0x".into(),
        "0b".into(),
        "1234".into(),
        "0xzz".into(),
        "0bA===".into(),
        "0b====".into(),
        "0bAAA".into(),
        "0bAB==".into(),
    ] {
        answer(lab, "1", &|_| challenge.clone()).refused(INITIATOR_ERROR);
    }
    // Section 9.2.1: the target's own challenge, in whatever writing.
    answer(lab, "1", &|own| hex(own)).refused(AUTHENTICATION_FAILURE);
    answer(lab, "1", &|own| hex(own).to_uppercase().replace("0X", "0x"))
        .refused(AUTHENTICATION_FAILURE);
    answer(lab, "1", &ferrite_host_tests::login::base64).refused(AUTHENTICATION_FAILURE);
    // It is not configured.
    answer(&mut Lab::with_chap(), "1", &|_| "0x01".into()).refused(AUTHENTICATION_FAILURE);
    // A user name that cannot be sent is none.
    for name in ["", "a\0b"] {
        lab.mutual.as_mut().unwrap().0 = name.into();
        answer(lab, "1", &|_| "0x01".into()).refused(AUTHENTICATION_FAILURE);
    }
}

/// Nothing is said about the target's secret before the initiator has proven
/// to know its own.
#[test]
fn the_initiator_authenticates_first() {
    let lab = &mut Lab::with_mutual_chap();
    for mutual in [
        ["CHAP_I=256", "CHAP_C=0x01"],
        ["CHAP_I=1", "CHAP_C=nonsense"],
        ["CHAP_I=1", "CHAP_C=0x01"],
    ] {
        let (mut initiator, ..) = challenged(lab, "7");
        let wrong = format!("CHAP_R={}", hex(&[0; 32]));
        let pairs = [&["CHAP_N=alice", &wrong][..], &mutual].concat();
        initiator
            .send(lab, 0x81, &pairs)
            .refused(AUTHENTICATION_FAILURE);
        assert!(initiator.reason.contains("CHAP_R"), "{}", initiator.reason);
    }
}

/// CVE-2024-45751: challenges must not repeat.
#[test]
fn challenges_are_what_the_generator_says() {
    let mut lab = Lab::with_chap();
    lab.entropy = (0..=32).rev().collect();
    let (_, id, challenge) = challenged(&mut lab, "7");
    assert_eq!(id, 32);
    assert_eq!(challenge, (0..32).rev().collect::<Vec<u8>>());
    let (_, next_id, next) = challenged(&mut lab, "7");
    assert_ne!((next_id, &next), (id, &challenge));
}

/// CVE-2026-63886: base64 that decodes to more than a digest.
#[test]
fn chap_r_longer_than_a_digest() {
    for algorithm in Algorithm::STRONGEST_FIRST {
        for digits in (0..=136).step_by(4) {
            for response in [
                format!("0b{}", "A".repeat(digits)),
                format!("0B{}", "/".repeat(digits)),
                format!("0x{}", "f".repeat(digits)),
            ] {
                let lab = &mut Lab::with_chap();
                let (mut initiator, ..) = challenged(lab, &algorithm.number().to_string());
                initiator
                    .send(lab, 0x81, &["CHAP_N=alice", &format!("CHAP_R={response}")])
                    .refused(AUTHENTICATION_FAILURE);
            }
        }
        // The same in base64 and right.
        let lab = &mut Lab::with_chap();
        let (mut initiator, id, challenge) = challenged(lab, &algorithm.number().to_string());
        let digest = chap_digest(algorithm, id, b"correct horse battery", &challenge);
        let response = ferrite_host_tests::login::base64(&digest);
        initiator
            .send(lab, 0x81, &["CHAP_N=alice", &format!("CHAP_R={response}")])
            .partial(0x81, &[]);
    }
}

/// CVE-2026-63887: a request full of short unknown keys, whose answers are
/// four times as long.
#[test]
fn many_unknown_keys() {
    let lab = &mut Lab::new();
    let mut keys = vec![IN, TN];
    keys.resize(128, "a=b");
    let answer = first(lab, 0x81, &keys);
    let response = answer.response();
    assert_eq!(response.pairs().len(), 127);
    assert_eq!(response.value("a").as_deref(), Some("NotUnderstood"));
    keys.push("a=b");
    first(lab, 0x81, &keys).refused(INITIATOR_ERROR);
    keys.resize(2048, "a=b");
    first(lab, 0x81, &keys).refused(INITIATOR_ERROR);

    // 128 of the longest keys: the answer takes two responses.
    let long = format!("X-{}=", "k".repeat(61));
    let mut keys = vec![IN, TN];
    keys.resize(125, &long);
    let data = text(&keys);
    let (head, tail) = data.split_at(8000);
    let mut initiator = Initiator::new();
    initiator.send_raw(lab, 0x40, head).partial(0x00, &[]);
    let answer = initiator.send_raw(lab, 0x81, tail);
    let one = answer.response();
    assert_eq!((one.flags, one.data.len()), (0x40, 8192));
    let answer = initiator.send(lab, 0x81, &[]);
    let two = answer.response();
    assert_eq!(two.flags, 0x81);
    let expected = format!("X-{}=NotUnderstood\0", "k".repeat(61)).repeat(123);
    let whole = [&one.data[..], &two.data].concat();
    assert_eq!(
        whole,
        ["TargetPortalGroupTag=1\0", &expected].concat().as_bytes()
    );

    // Too small a buffer for the answer is not the initiator's fault.
    let mut initiator = Initiator::with_buffers(16384, 2048);
    keys.truncate(30);
    initiator.send(lab, 0x81, &keys).refused(OUT_OF_RESOURCES);
}

/// CVE-2013-2850: an unknown key longer than any.
#[test]
fn keys_have_limits() {
    let lab = &mut Lab::new();
    let key = |len: usize| format!("X{}=v", "k".repeat(len - 1));
    let answer = first(lab, 0x81, &[IN, TN, &key(63)]);
    let answered = format!("X{}=NotUnderstood", "k".repeat(62));
    answer.partial(0x81, &["TargetPortalGroupTag=1", &answered]);
    for len in [64, 65, 255, 4096, 8000] {
        first(lab, 0x81, &[IN, TN, &key(len)]).refused(INITIATOR_ERROR);
    }
    // In several PDUs, 64 KiB of it.
    let mut initiator = Initiator::new();
    initiator.send(lab, 0x40, &[IN, TN]).response();
    let answers: Vec<Answer> = (0..8)
        .map(|_| initiator.send_raw(lab, 0x40, &[b'k'; 8192]))
        .collect();
    answers[0].partial(0x00, &[]);
    assert_eq!(answers[1], Answer::Refused(INITIATOR_ERROR));
    assert_eq!(answers[2], Answer::Closed);

    for pair in [
        "=v",
        "1key=v",
        " key=v",
        "ke y=v",
        "kéy=v",
        "-key=v",
        "key",
        "k\u{7f}=v",
    ] {
        first(lab, 0x81, &[IN, TN, pair]).refused(INITIATOR_ERROR);
    }
    // Values: 255 bytes unless stated otherwise, and UTF-8.
    let pair = |len| format!("InitiatorAlias={}", "v".repeat(len));
    first(lab, 0x81, &[IN, TN, &pair(255)]).response();
    first(lab, 0x81, &[IN, TN, &pair(256)]).refused(INITIATOR_ERROR);
    let lab = &mut Lab::with_chap();
    let (mut initiator, ..) = challenged(lab, "7");
    initiator
        .send(
            lab,
            0x81,
            &[&format!("CHAP_N={}", "n".repeat(256)), "CHAP_R=0x01"],
        )
        .refused(INITIATOR_ERROR);
    let lab = &mut Lab::new();
    for bad in [
        &b"InitiatorAlias=\xff\xfe\0"[..],
        b"InitiatorAlias=a\x1b[2J\0",
    ] {
        let data = [&text(&[IN, TN])[..], bad].concat();
        Initiator::new()
            .send_raw(lab, 0x81, &data)
            .refused(INITIATOR_ERROR);
    }
}

#[test]
fn text_must_be_complete() {
    let lab = &mut Lab::new();
    let whole = text(&[IN, TN]);
    // Every prefix lacks a name or a NUL byte.
    for len in 0..whole.len() {
        let answer = Initiator::new().send_raw(lab, 0x81, &whole[..len]);
        assert!(
            matches!(answer, Answer::Refused(INITIATOR_ERROR | MISSING_PARAMETER)),
            "{len}: {answer:?}"
        );
    }
    assert!(lab.asked.is_empty());
    // Padding that is counted as text is let pass; an empty pair is not.
    let padded = [&whole[..], &[0; 3]].concat();
    Initiator::new().send_raw(lab, 0x81, &padded).response();
    let gap = [&whole[..], &[0], b"AuthMethod=None\0"].concat();
    Initiator::new()
        .send_raw(lab, 0x81, &gap)
        .refused(INITIATOR_ERROR);
    // More than a data segment may hold in a login.
    Initiator::new()
        .send_raw(lab, 0x81, &[0; 8193])
        .refused(INITIATOR_ERROR);
}

/// A key that is split over PDUs at every byte.
#[test]
fn pairs_may_span_requests() {
    let whole = text(&[IN, TN, "AuthMethod=None"]);
    for at in 0..=whole.len() {
        let lab = &mut Lab::new();
        let mut initiator = Initiator::new();
        initiator
            .send_raw(lab, 0x40, &whole[..at])
            .partial(0x00, &[]);
        assert!(lab.asked.is_empty());
        initiator
            .send_raw(lab, 0x81, &whole[at..])
            .partial(0x81, &["TargetPortalGroupTag=1", "AuthMethod=None"]);
    }
    let lab = &mut Lab::new();
    let mut initiator = Initiator::new();
    let step = whole.len().div_ceil(15);
    let mut parts = whole.chunks(step).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let answer = initiator.send_raw(lab, if last { 0x81 } else { 0x40 }, part);
        assert_eq!(answer.response().data.is_empty(), !last);
    }
    assert_eq!(lab.asked.len(), 1);
}

#[test]
fn continuations_end() {
    // Endless C=1, empty and not.
    for data in [&b""[..], b"a"] {
        let lab = &mut Lab::new();
        let mut initiator = Initiator::new();
        for _ in 0..MAX_PDUS {
            initiator.send_raw(lab, 0x40, data).partial(0x00, &[]);
        }
        initiator.send_raw(lab, 0x40, data).refused(INITIATOR_ERROR);
    }
    // Endless everything else.
    let lab = &mut Lab::new();
    let mut initiator = Initiator::new();
    initiator.send(lab, 0x00, &[IN, TN]).response();
    for _ in 1..MAX_REQUESTS {
        initiator.send(lab, 0x00, &[]).partial(0x00, &[]);
    }
    initiator.send(lab, 0x00, &[]).refused(INITIATOR_ERROR);

    // While an answer is being sent nothing but empty requests may come.
    let long = format!("X-{}=", "k".repeat(61));
    let mut keys = vec![IN, TN];
    keys.resize(120, &long);
    for (flags, data) in [(0x81, &b"InitiatorAlias=a\0"[..]), (0x40, b"")] {
        let mut initiator = Initiator::new();
        let answer = initiator.send(lab, 0x81, &keys);
        assert_eq!(answer.response().flags, 0x40);
        initiator
            .send_raw(lab, flags, data)
            .refused(INITIATOR_ERROR);
    }
}

#[test]
fn fields_are_constant() {
    type Change = fn(&mut Initiator);
    let changes: [(Change, &str); 7] = [
        (|i| i.header.itt += 1, "task tag"),
        (|i| i.header.cid += 1, "CID"),
        (|i| i.header.isid[5] += 1, "ISID"),
        (|i| i.header.tsih += 1, "TSIH"),
        (|i| i.header.cmd_sn += 1, "CmdSN"),
        (|i| i.header.version_max += 1, "version"),
        (|i| i.header.isid[0] ^= 0x80, "ISID"),
    ];
    for (change, what) in changes {
        for first_flags in [0x81, 0x00, 0x40] {
            let lab = &mut Lab::new();
            let mut initiator = Initiator::new();
            initiator.send(lab, first_flags, &[IN, TN]).response();
            change(&mut initiator);
            let next = if first_flags == 0x81 { 0x87 } else { 0x81 };
            initiator.send(lab, next, &[]).refused(INITIATOR_ERROR);
            assert!(initiator.reason.contains(what), "{}", initiator.reason);
        }
    }
    // ExpStatSN is meant to change.
    let lab = &mut Lab::new();
    let mut initiator = operational(lab);
    initiator.header.exp_stat_sn = 17;
    initiator.send(lab, 0x87, &[]).response();
}

#[test]
fn only_version_0_is_supported() {
    let lab = &mut Lab::new();
    for (max, min) in [(1, 1), (0xff, 1), (0, 1)] {
        let mut initiator = Initiator::new();
        (initiator.header.version_max, initiator.header.version_min) = (max, min);
        initiator
            .send(lab, 0x81, &[IN, TN])
            .refused(UNSUPPORTED_VERSION);
    }
    let mut initiator = Initiator::new();
    initiator.header.version_max = 3;
    initiator.send(lab, 0x81, &[IN, TN]).response();
}

#[test]
fn other_requests_end_a_login() {
    let lab = &mut Lab::new();
    // Section 4.2.4: before the login "immediately terminate the connection".
    let mut initiator = Initiator::new();
    assert_eq!(initiator.send_other(), Answer::Closed);
    assert_eq!(initiator.send(lab, 0x81, &[IN, TN]), Answer::Closed);
    for flags in [0x40, 0x00, 0x81] {
        let mut initiator = Initiator::new();
        initiator.send(lab, flags, &[IN, TN]).response();
        initiator.send_other().refused(INVALID_DURING_LOGIN);
        assert_eq!(initiator.send_other(), Answer::Closed);
        assert_eq!(initiator.send(lab, 0x81, &[IN, TN]), Answer::Closed);
    }
    // A header that breaks a rule, of nothing known.
    for (opcode, error) in [
        (0x1f, Error::UnknownOpcode(0x1f)),
        (0x23, Error::TargetOpcode(0x23)),
        (0x01, Error::ReservedItt(Opcode::ScsiCommand)),
    ] {
        assert_eq!(
            Initiator::new().send_malformed(opcode, error),
            Answer::Closed
        );
        let mut initiator = Initiator::new();
        initiator.send(lab, 0x00, &[IN, TN]).response();
        initiator
            .send_malformed(opcode, error)
            .refused(INVALID_DURING_LOGIN);
        assert_eq!(initiator.send(lab, 0x81, &[]), Answer::Closed);
    }
    assert_eq!(Initiator::new().send_too_long(0x01, 9000), Answer::Closed);
    // A Login Request is answered, be it the first one or a later one.
    for first in [true, false] {
        let begin = |lab: &mut Lab| {
            let mut initiator = Initiator::new();
            if !first {
                initiator.send(lab, 0x00, &[IN, TN]).response();
            }
            initiator
        };
        let error = Error::UnexpectedAhs {
            opcode: Opcode::LoginRequest,
            length: 4,
        };
        let mut initiator = begin(lab);
        initiator
            .send_malformed(0x03, error)
            .refused(INITIATOR_ERROR);
        assert_eq!(initiator.send(lab, 0x81, &[IN, TN]), Answer::Closed);
        let mut initiator = begin(lab);
        initiator.send_too_long(0x03, 8193).refused(INITIATOR_ERROR);
        assert_eq!(initiator.send_too_long(0x03, 8193), Answer::Closed);
    }
    // When the login is done there is no more of it.
    let mut initiator = operational(lab);
    initiator.send(lab, 0x87, &[]).response();
    assert_eq!(initiator.send(lab, 0x87, &[]), Answer::Closed);
}

#[test]
fn further_connections() {
    let mut lab = Lab::new();
    // The host has to know the session.
    let mut initiator = Initiator::new();
    initiator.header.tsih = 9;
    initiator
        .send(&mut lab, 0x81, &[IN, TN])
        .refused(SESSION_DOES_NOT_EXIST);
    lab.existing = Some(SessionParams {
        max_burst_length: 4096,
        first_burst_length: 512,
        ..SessionParams::RFC_DEFAULT
    });
    first(&mut lab, 0x81, &[IN, TN]).refused(SESSION_DOES_NOT_EXIST);

    // It has the session's values, its own digests, and the session's TSIH.
    lab.opening = Ok(9);
    let mut initiator = Initiator::new();
    (initiator.header.tsih, initiator.header.cid) = (9, 3);
    initiator
        .send(&mut lab, 0x81, &[IN, TN, "SessionType=Normal"])
        .response();
    // The CmdSN goes on with that of the session (section 11.12.8).
    initiator.header.cmd_sn += 5;
    let last = initiator.send(&mut lab, 0x87, &["HeaderDigest=CRC32C"]);
    let expected = ["HeaderDigest=CRC32C", "MaxRecvDataSegmentLength=262144"];
    assert_eq!(last.last(0x87, &expected).tsih, 9);
    let result = initiator.login.result().unwrap();
    assert_eq!(result.session, lab.existing.unwrap());
    assert_eq!((result.tsih, result.cid), (9, 3));
    assert_eq!(lab.asked.last().unwrap().tsih, 9);
    assert_eq!(lab.asked.last().unwrap().session_type, SessionType::Normal);

    // What the leading connection has settled is settled.
    for key in [
        "MaxConnections=1",
        "InitialR2T=Yes",
        "ImmediateData=Yes",
        "MaxBurstLength=8192",
        "FirstBurstLength=8192",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=2",
        "MaxOutstandingR2T=1",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
        "ErrorRecoveryLevel=0",
        "TaskReporting=RFC3720",
        "iSCSIProtocolLevel=1",
    ] {
        let mut initiator = Initiator::new();
        initiator.header.tsih = 9;
        initiator.send(&mut lab, 0x81, &[IN, TN]).response();
        initiator
            .send(&mut lab, 0x87, &[key])
            .refused(INITIATOR_ERROR);
    }
    // A discovery session has one connection.
    let mut initiator = Initiator::new();
    initiator.header.tsih = 9;
    initiator
        .send(&mut lab, 0x81, &[IN, "SessionType=Discovery"])
        .refused(INITIATOR_ERROR);
}

#[test]
fn identities_reach_the_host() {
    let lab = &mut Lab::new();
    let mut initiator = Initiator::new();
    initiator.header.cid = 7;
    initiator
        .send(
            lab,
            0x81,
            &[
                "InitiatorName=iqn.1994-05.com.RedHat:C0FFEE",
                TN,
                "SessionType=Discovery",
            ],
        )
        .response();
    let asked = &lab.asked[0];
    assert_eq!(asked.initiator, INITIATOR, "names are in lower case");
    assert_eq!(asked.target.as_deref(), Some(TARGET));
    assert_eq!(asked.session_type, SessionType::Discovery);
    assert_eq!(asked.cid, 7);
    assert_eq!(initiator.login.initiator().unwrap().as_str(), INITIATOR);
}
