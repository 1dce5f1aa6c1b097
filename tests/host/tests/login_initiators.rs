// SPDX-License-Identifier: GPL-2.0

//! Whole logins as the initiators in the field do them: their keys, in their
//! order, with their bits.

use ferrite_host_tests::login::{
    chap_digest, //
    hex,
    unhex,
    Answer,
    Asked,
    Initiator,
    Lab,
    INITIATOR,
    TARGET,
};
use ferrite_proto::chap::Algorithm;
use ferrite_proto::login::params::{
    Digest, //
    TaskReporting,
};
use ferrite_proto::login::{
    Proof, //
    SessionType,
};

/// T=1, CSG=0, NSG=1 and so on.
const SEC_STAY: u8 = 0x00;
const SEC_TO_OP: u8 = 0x81;
const SEC_TO_FFP: u8 = 0x83;
const OP_TO_FFP: u8 = 0x87;

fn pair(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

fn send(initiator: &mut Initiator, lab: &mut Lab, flags: u8, pairs: &[String]) -> Answer {
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    initiator.send(lab, flags, &pairs)
}

/// The names as open-iscsi sends them.
fn names() -> Vec<String> {
    vec![
        pair("InitiatorName", INITIATOR),
        pair("InitiatorAlias", "storage-client"),
        pair("TargetName", TARGET),
        pair("SessionType", "Normal"),
    ]
}

const OPEN_ISCSI_OPERATIONAL: [&str; 16] = [
    "HeaderDigest=None",
    "DataDigest=None",
    "DefaultTime2Wait=2",
    "DefaultTime2Retain=0",
    "IFMarker=No",
    "OFMarker=No",
    "ErrorRecoveryLevel=0",
    "InitialR2T=No",
    "ImmediateData=Yes",
    "MaxBurstLength=16776192",
    "FirstBurstLength=262144",
    "MaxOutstandingR2T=1",
    "MaxConnections=1",
    "DataPDUInOrder=Yes",
    "DataSequenceInOrder=Yes",
    "MaxRecvDataSegmentLength=262144",
];

const OPEN_ISCSI_ANSWER: [&str; 16] = [
    "HeaderDigest=None",
    "DataDigest=None",
    "DefaultTime2Wait=2",
    "DefaultTime2Retain=0",
    "IFMarker=Reject",
    "OFMarker=Reject",
    "ErrorRecoveryLevel=0",
    "InitialR2T=No",
    "ImmediateData=Yes",
    "MaxBurstLength=1048576",
    "FirstBurstLength=262144",
    "MaxOutstandingR2T=1",
    "MaxConnections=1",
    "DataPDUInOrder=Yes",
    "DataSequenceInOrder=Yes",
    "MaxRecvDataSegmentLength=262144",
];

#[test]
fn open_iscsi_without_authentication() {
    let mut lab = Lab::new();
    let mut initiator = Initiator::new();
    initiator.header.cmd_sn = 1;

    let mut first = names();
    first.push(pair("AuthMethod", "None"));
    send(&mut initiator, &mut lab, SEC_TO_OP, &first)
        .partial(SEC_TO_OP, &["TargetPortalGroupTag=1", "AuthMethod=None"]);
    initiator.header.exp_stat_sn = 0xabcd_0002;
    let last = initiator.send(&mut lab, OP_TO_FFP, &OPEN_ISCSI_OPERATIONAL);
    assert_eq!(last.last(OP_TO_FFP, &OPEN_ISCSI_ANSWER).tsih, 0x1234);

    assert_eq!(
        lab.asked,
        [Asked {
            initiator: INITIATOR.to_owned(),
            target: Some(TARGET.to_owned()),
            session_type: SessionType::Normal,
            tsih: 0,
            cid: 0,
        }]
    );
    assert_eq!(lab.opened, 1);
    let result = initiator.login.result().expect("a result");
    assert_eq!(result.initiator.as_str(), INITIATOR);
    assert_eq!(result.initiator_alias.as_str(), "storage-client");
    assert_eq!(result.target.map(|name| name.as_str()), Some(TARGET));
    assert_eq!(result.session_type, SessionType::Normal);
    assert_eq!(result.isid, [0x00, 0x02, 0x3d, 0x01, 0x00, 0x00]);
    assert_eq!((result.tsih, result.cid), (0x1234, 0));
    assert_eq!((result.cmd_sn.0, result.exp_stat_sn.0), (1, 0xabcd_0002));
    assert!(!result.authenticated);
    let (session, conn) = (result.session, result.conn);
    assert!(!session.initial_r2t && session.immediate_data);
    assert_eq!(session.max_burst_length, 1_048_576);
    assert_eq!(session.first_burst_length, 262_144);
    assert_eq!(session.max_outstanding_r2t, 1);
    assert_eq!(session.default_time2wait, 2);
    assert_eq!(session.default_time2retain, 0);
    assert_eq!(session.task_reporting, TaskReporting::Rfc3720);
    assert_eq!(session.protocol_level, 1);
    assert_eq!(conn.header_digest, Digest::None);
    assert_eq!(conn.data_digest, Digest::None);
    assert_eq!(conn.max_recv_data_segment_length, 262_144);
    assert_eq!(conn.max_xmit_data_segment_length, 262_144);

    assert!(matches!(
        initiator.login.take_proof(),
        Some(Proof::NotRequired(_))
    ));
    assert!(initiator.login.take_proof().is_none(), "the proof is one");
}

/// One-way CHAP with everything open-iscsi offers; mutual CHAP if `mutual`.
fn open_iscsi_chap(algorithms: &str, expected: Algorithm, mutual: bool) {
    let mut lab = Lab::with_mutual_chap();
    let mut initiator = Initiator::new();

    let mut first = names();
    first.push(pair("AuthMethod", "CHAP,None"));
    send(&mut initiator, &mut lab, SEC_STAY, &first)
        .partial(SEC_STAY, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);

    let answer = initiator.send(&mut lab, SEC_STAY, &[&pair("CHAP_A", algorithms)]);
    let challenge = answer.response().clone();
    assert_eq!(challenge.flags, SEC_STAY);
    assert_eq!(challenge.pairs().len(), 3);
    let number = expected.number().to_string();
    assert_eq!(challenge.value("CHAP_A"), Some(number));
    let id: u8 = challenge.value("CHAP_I").unwrap().parse().unwrap();
    let sent = unhex(&challenge.value("CHAP_C").unwrap());
    assert_eq!(sent.len(), 32);

    let digest = chap_digest(expected, id, b"correct horse battery", &sent);
    let mut third = vec![pair("CHAP_N", "alice"), pair("CHAP_R", &hex(&digest))];
    let own = [0x5a; 16];
    if mutual {
        third.push(pair("CHAP_I", "9"));
        third.push(pair("CHAP_C", &hex(&own)));
    }
    let answer = send(&mut initiator, &mut lab, SEC_TO_OP, &third);
    if mutual {
        let digest = chap_digest(expected, 9, b"staple of the target", &own);
        let response = pair("CHAP_R", &hex(&digest));
        answer.partial(SEC_TO_OP, &["CHAP_N=tgt", &response]);
    } else {
        answer.partial(SEC_TO_OP, &[]);
    }

    initiator
        .send(&mut lab, OP_TO_FFP, &OPEN_ISCSI_OPERATIONAL)
        .last(OP_TO_FFP, &OPEN_ISCSI_ANSWER);
    assert!(initiator.login.result().unwrap().authenticated);
    assert!(matches!(
        initiator.login.take_proof(),
        Some(Proof::Authenticated(_))
    ));
}

#[test]
fn open_iscsi_with_chap() {
    // open-iscsi's default list, and each algorithm alone.
    for mutual in [false, true] {
        open_iscsi_chap("8,7,6,5", Algorithm::Sha3_256, mutual);
        open_iscsi_chap("5,6,7,8", Algorithm::Sha3_256, mutual);
        open_iscsi_chap("5,6,7", Algorithm::Sha256, mutual);
        open_iscsi_chap("7", Algorithm::Sha256, mutual);
        open_iscsi_chap("5,6", Algorithm::Sha1, mutual);
        open_iscsi_chap("5", Algorithm::Md5, mutual);
    }
}

/// open-iscsi's discovery goes from the security stage to the full feature
/// phase at once if it wants nothing but defaults.
#[test]
fn open_iscsi_discovery() {
    let discovery = [
        pair("InitiatorName", INITIATOR),
        pair("InitiatorAlias", "storage-client"),
        pair("SessionType", "Discovery"),
        pair("AuthMethod", "None"),
    ];
    let mut lab = Lab::new();
    lab.tag = None;
    lab.offer.set("TargetAlias", "not for discovery").unwrap();
    let mut initiator = Initiator::new();
    send(&mut initiator, &mut lab, SEC_TO_FFP, &discovery).last(SEC_TO_FFP, &["AuthMethod=None"]);
    let result = initiator.login.result().unwrap();
    assert_eq!(result.session_type, SessionType::Discovery);
    assert_eq!(result.target, None);
    assert_eq!(result.conn.max_recv_data_segment_length, 8192);

    // With its usual MaxRecvDataSegmentLength it negotiates.
    let mut initiator = Initiator::new();
    send(&mut initiator, &mut lab, SEC_TO_OP, &discovery).partial(SEC_TO_OP, &["AuthMethod=None"]);
    initiator
        .send(
            &mut lab,
            OP_TO_FFP,
            &[
                "HeaderDigest=None",
                "DataDigest=None",
                "DefaultTime2Wait=2",
                "DefaultTime2Retain=0",
                "IFMarker=No",
                "OFMarker=No",
                "ErrorRecoveryLevel=0",
                "MaxRecvDataSegmentLength=32768",
            ],
        )
        .last(
            OP_TO_FFP,
            &[
                "HeaderDigest=None",
                "DataDigest=None",
                "DefaultTime2Wait=2",
                "DefaultTime2Retain=0",
                "IFMarker=Reject",
                "OFMarker=Reject",
                "ErrorRecoveryLevel=0",
                "MaxRecvDataSegmentLength=262144",
            ],
        );
    let conn = initiator.login.result().unwrap().conn;
    assert_eq!(conn.max_xmit_data_segment_length, 32_768);
    assert_eq!(lab.asked[1].target, None);
    assert_eq!(lab.asked[1].session_type, SessionType::Discovery);
}

fn libiscsi_operational(digest: &str) -> Vec<String> {
    vec![
        pair("HeaderDigest", digest),
        pair("DataDigest", "None"),
        pair("InitialR2T", "Yes"),
        pair("ImmediateData", "Yes"),
        pair("MaxBurstLength", "262144"),
        pair("FirstBurstLength", "262144"),
        pair("DefaultTime2Wait", "2"),
        pair("DefaultTime2Retain", "0"),
        pair("MaxOutstandingR2T", "1"),
        pair("ErrorRecoveryLevel", "0"),
        pair("IFMarker", "No"),
        pair("OFMarker", "No"),
        pair("MaxConnections", "1"),
        pair("MaxRecvDataSegmentLength", "262144"),
        pair("DataPDUInOrder", "Yes"),
        pair("DataSequenceInOrder", "Yes"),
    ]
}

fn libiscsi_answer(digest: &str) -> Vec<String> {
    let mut answer = libiscsi_operational(digest);
    answer[10] = pair("IFMarker", "Reject");
    answer[11] = pair("OFMarker", "Reject");
    answer.remove(13);
    answer.push(pair("MaxRecvDataSegmentLength", "262144"));
    answer
}

/// libiscsi, and QEMU with it, skips the security stage without a user.
#[test]
fn libiscsi_without_authentication() {
    let mut lab = Lab::new();
    let mut initiator = Initiator::new();
    // Its task tag and CmdSN are random.
    initiator.header.itt = 0x6b8b_4567;
    initiator.header.cmd_sn = 0xffff_fffe;
    let mut only = names();
    only.extend(libiscsi_operational("None,CRC32C"));
    let mut expected = vec![pair("TargetPortalGroupTag", "1")];
    expected.extend(libiscsi_answer("None"));
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    send(&mut initiator, &mut lab, OP_TO_FFP, &only).last(OP_TO_FFP, &expected);
    assert_eq!(initiator.login.result().unwrap().cmd_sn.0, 0xffff_fffe);
}

/// libiscsi up to 1.20 repeats the names in the operational stage.
#[test]
fn libiscsi_with_chap() {
    let mut lab = Lab::with_mutual_chap();
    let mut initiator = Initiator::new();
    let mut first = names();
    first.push(pair("AuthMethod", "CHAP,None"));
    send(&mut initiator, &mut lab, SEC_TO_OP, &first)
        .partial(SEC_STAY, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
    // NSG is set without T, where it is reserved.
    let answer = initiator.send(&mut lab, 0x01, &["CHAP_A=5"]);
    let challenge = answer.response().clone();
    let id: u8 = challenge.value("CHAP_I").unwrap().parse().unwrap();
    let sent = unhex(&challenge.value("CHAP_C").unwrap());
    let digest = chap_digest(Algorithm::Md5, id, b"correct horse battery", &sent);
    // It writes hex in capitals.
    let upper = hex(&digest).to_uppercase().replace("0X", "0x");
    send(
        &mut initiator,
        &mut lab,
        SEC_TO_OP,
        &[
            pair("CHAP_N", "alice"),
            pair("CHAP_R", &upper),
            pair("CHAP_I", "1"),
            pair("CHAP_C", &hex(&[7; 32])),
        ],
    )
    .response();
    let mut last = names();
    last.extend(libiscsi_operational("None"));
    let expected = libiscsi_answer("None");
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    send(&mut initiator, &mut lab, OP_TO_FFP, &last).last(OP_TO_FFP, &expected);
    assert_eq!(
        initiator.login.result().unwrap().initiator_alias.as_str(),
        "storage-client"
    );
}

/// The Windows initiator offers recovery level 2 and lets digests be chosen.
#[test]
fn windows() {
    let mut lab = Lab::with_chap();
    let mut initiator = Initiator::new();
    initiator.header.isid = [0x40, 0x00, 0x01, 0x37, 0x00, 0x00];
    initiator.header.cid = 1;
    let first = [
        pair("InitiatorName", "iqn.1991-05.com.microsoft:win-host"),
        pair("SessionType", "Normal"),
        pair("TargetName", TARGET),
        pair("AuthMethod", "CHAP"),
    ];
    send(&mut initiator, &mut lab, SEC_TO_OP, &first)
        .partial(SEC_STAY, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
    let answer = initiator.send(&mut lab, SEC_STAY, &["CHAP_A=5"]);
    let challenge = answer.response().clone();
    let id: u8 = challenge.value("CHAP_I").unwrap().parse().unwrap();
    let sent = unhex(&challenge.value("CHAP_C").unwrap());
    let digest = chap_digest(Algorithm::Md5, id, b"correct horse battery", &sent);
    send(
        &mut initiator,
        &mut lab,
        SEC_TO_OP,
        &[pair("CHAP_N", "alice"), pair("CHAP_R", &hex(&digest))],
    )
    .partial(SEC_TO_OP, &[]);
    initiator
        .send(
            &mut lab,
            OP_TO_FFP,
            &[
                "HeaderDigest=None,CRC32C",
                "DataDigest=None,CRC32C",
                "ErrorRecoveryLevel=2",
                "InitialR2T=No",
                "ImmediateData=Yes",
                "MaxRecvDataSegmentLength=65536",
                "MaxBurstLength=262144",
                "FirstBurstLength=65536",
                "MaxConnections=1",
                "DataPDUInOrder=Yes",
                "DataSequenceInOrder=Yes",
                "DefaultTime2Wait=0",
                "DefaultTime2Retain=60",
                "MaxOutstandingR2T=16",
            ],
        )
        .last(
            OP_TO_FFP,
            &[
                "HeaderDigest=None",
                "DataDigest=None",
                "ErrorRecoveryLevel=0",
                "InitialR2T=No",
                "ImmediateData=Yes",
                "MaxBurstLength=262144",
                "FirstBurstLength=65536",
                "MaxConnections=1",
                "DataPDUInOrder=Yes",
                "DataSequenceInOrder=Yes",
                "DefaultTime2Wait=2",
                "DefaultTime2Retain=20",
                "MaxOutstandingR2T=16",
                "MaxRecvDataSegmentLength=262144",
            ],
        );
    let result = initiator.login.result().unwrap();
    assert_eq!(result.cid, 1);
    assert_eq!(result.conn.max_xmit_data_segment_length, 65_536);
}

/// The software initiator of ESXi: digests it prefers, R2T it insists on.
#[test]
fn vmware() {
    let mut lab = Lab::new();
    lab.offer.set("TargetAlias", "Bob's disk").unwrap();
    let mut initiator = Initiator::new();
    let first = [
        pair("InitiatorName", "iqn.1998-01.com.vmware:esx-1a2b3c4d"),
        pair("InitiatorAlias", "esx.example.org"),
        pair("TargetName", TARGET),
        pair("SessionType", "Normal"),
        pair("AuthMethod", "None"),
    ];
    send(&mut initiator, &mut lab, SEC_TO_OP, &first)
        .partial(SEC_TO_OP, &["TargetPortalGroupTag=1", "AuthMethod=None"]);
    initiator
        .send(
            &mut lab,
            OP_TO_FFP,
            &[
                "HeaderDigest=CRC32C,None",
                "DataDigest=CRC32C,None",
                "DefaultTime2Wait=0",
                "DefaultTime2Retain=0",
                "IFMarker=No",
                "OFMarker=No",
                "ErrorRecoveryLevel=0",
                "InitialR2T=Yes",
                "ImmediateData=Yes",
                "MaxBurstLength=262144",
                "FirstBurstLength=262144",
                "MaxOutstandingR2T=8",
                "MaxConnections=1",
                "DataPDUInOrder=Yes",
                "DataSequenceInOrder=Yes",
                "MaxRecvDataSegmentLength=131072",
            ],
        )
        .last(
            OP_TO_FFP,
            &[
                "HeaderDigest=CRC32C",
                "DataDigest=CRC32C",
                "DefaultTime2Wait=2",
                "DefaultTime2Retain=0",
                "IFMarker=Reject",
                "OFMarker=Reject",
                "ErrorRecoveryLevel=0",
                "InitialR2T=Yes",
                "ImmediateData=Yes",
                "MaxBurstLength=262144",
                "FirstBurstLength=262144",
                "MaxOutstandingR2T=8",
                "MaxConnections=1",
                "DataPDUInOrder=Yes",
                "DataSequenceInOrder=Yes",
                "TargetAlias=Bob's disk",
                "MaxRecvDataSegmentLength=262144",
            ],
        );
    let conn = initiator.login.result().unwrap().conn;
    assert_eq!(conn.header_digest, Digest::Crc32c);
    assert_eq!(conn.data_digest, Digest::Crc32c);
}

/// iPXE sets T in every request and sends its text for a stage only once.
#[test]
fn ipxe_with_chap() {
    let mut lab = Lab::with_chap();
    let mut initiator = Initiator::new();
    initiator.header.isid = [0x40, 0x00, 0xa0, 0x9e, 0x00, 0x00];
    let first = [
        pair("InitiatorName", INITIATOR),
        pair("TargetName", TARGET),
        pair("SessionType", "Normal"),
        pair("AuthMethod", "CHAP,None"),
    ];
    send(&mut initiator, &mut lab, SEC_TO_OP, &first)
        .partial(SEC_STAY, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
    let answer = initiator.send(&mut lab, SEC_TO_OP, &["CHAP_A=5"]);
    let challenge = answer.response().clone();
    assert_eq!(challenge.flags, SEC_STAY);
    let id: u8 = challenge.value("CHAP_I").unwrap().parse().unwrap();
    let sent = unhex(&challenge.value("CHAP_C").unwrap());
    let digest = chap_digest(Algorithm::Md5, id, b"correct horse battery", &sent);
    send(
        &mut initiator,
        &mut lab,
        SEC_TO_OP,
        &[pair("CHAP_N", "alice"), pair("CHAP_R", &hex(&digest))],
    )
    .partial(SEC_TO_OP, &[]);
    initiator
        .send(
            &mut lab,
            OP_TO_FFP,
            &[
                "HeaderDigest=None",
                "DataDigest=None",
                "InitialR2T=Yes",
                "MaxRecvDataSegmentLength=8192",
                "MaxBurstLength=262144",
                "DefaultTime2Wait=0",
                "DefaultTime2Retain=0",
                "MaxOutstandingR2T=1",
                "DataPDUInOrder=Yes",
                "DataSequenceInOrder=Yes",
                "ErrorRecoveryLevel=0",
            ],
        )
        .last(
            OP_TO_FFP,
            &[
                "HeaderDigest=None",
                "DataDigest=None",
                "InitialR2T=Yes",
                "MaxBurstLength=262144",
                "DefaultTime2Wait=2",
                "DefaultTime2Retain=0",
                "MaxOutstandingR2T=1",
                "DataPDUInOrder=Yes",
                "DataSequenceInOrder=Yes",
                "ErrorRecoveryLevel=0",
                "MaxRecvDataSegmentLength=262144",
            ],
        );
}

/// RFC 7143 appendix B: CHAP with target authentication, with the T bit set
/// only where it is needed and the operational stage in two steps.
#[test]
fn rfc_7143_appendix_b_chap() {
    let mut lab = Lab::with_mutual_chap();
    lab.offer.set("FirstBurstLength", "4096").unwrap();
    let mut initiator = Initiator::new();
    send(
        &mut initiator,
        &mut lab,
        0x00,
        &[
            pair("InitiatorName", "iqn.1999-07.com.os:hostid.77"),
            pair("TargetName", "iqn.1999-07.com.example:diskarray.sn.88"),
            pair("AuthMethod", "KRB5,CHAP,None"),
        ],
    )
    .partial(0x00, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
    let answer = initiator.send(&mut lab, 0x00, &["CHAP_A=7,5"]);
    let challenge = answer.response().clone();
    let id: u8 = challenge.value("CHAP_I").unwrap().parse().unwrap();
    let sent = unhex(&challenge.value("CHAP_C").unwrap());
    let digest = chap_digest(Algorithm::Sha256, id, b"correct horse battery", &sent);
    let own = chap_digest(Algorithm::Sha256, 0, b"staple of the target", &[1]);
    send(
        &mut initiator,
        &mut lab,
        0x81,
        &[
            pair("CHAP_N", "alice"),
            pair("CHAP_R", &hex(&digest)),
            pair("CHAP_I", "0"),
            pair("CHAP_C", "0x01"),
        ],
    )
    .partial(0x81, &["CHAP_N=tgt", &pair("CHAP_R", &hex(&own))]);
    initiator
        .send(&mut lab, 0x04, &["FirstBurstLength=8192"])
        .partial(
            0x04,
            &["FirstBurstLength=4096", "MaxRecvDataSegmentLength=262144"],
        );
    initiator
        .send(&mut lab, 0x04, &["MaxBurstLength=8192"])
        .partial(0x04, &["MaxBurstLength=8192"]);
    initiator
        .send(&mut lab, 0x87, &["InitialR2T=Yes"])
        .last(0x87, &["InitialR2T=Yes"]);
    let session = initiator.login.result().unwrap().session;
    assert_eq!(session.first_burst_length, 4096);
    assert_eq!(session.max_burst_length, 8192);
}

/// RFC 7143 appendix B: the target chooses no method, and there is no
/// security stage at all.
#[test]
fn rfc_7143_appendix_b_without_authentication() {
    let names = [
        pair("InitiatorName", "iqn.1999-07.com.os:hostid.77"),
        pair("TargetName", "iqn.1999-07.com.example:diskarray.sn.88"),
    ];
    let mut lab = Lab::new();
    let mut initiator = Initiator::new();
    let mut first = names.to_vec();
    first.push(pair("AuthMethod", "KRB5,SRP,None"));
    send(&mut initiator, &mut lab, SEC_TO_OP, &first)
        .partial(SEC_TO_OP, &["TargetPortalGroupTag=1", "AuthMethod=None"]);
    initiator
        .send(&mut lab, 0x04, &["InitialR2T=No"])
        .partial(0x04, &["InitialR2T=No", "MaxRecvDataSegmentLength=262144"]);
    initiator
        .send(&mut lab, OP_TO_FFP, &[])
        .last(OP_TO_FFP, &[]);

    let mut initiator = Initiator::new();
    send(&mut initiator, &mut lab, OP_TO_FFP, &names).last(
        OP_TO_FFP,
        &["TargetPortalGroupTag=1", "MaxRecvDataSegmentLength=262144"],
    );
    // Section 6.3.1: without any proposal, security is skipped if the target
    // is ready to, and only the tag is told.
    let mut initiator = Initiator::new();
    send(&mut initiator, &mut lab, SEC_TO_OP, &names)
        .partial(SEC_TO_OP, &["TargetPortalGroupTag=1"]);
}
