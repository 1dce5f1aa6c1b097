// SPDX-License-Identifier: GPL-2.0

//! What must hold of login and text whatever a peer sends: nothing panics,
//! nothing is written past a buffer, nobody gets in without a proof.
//!
//! `PROPTEST_CASES` in the environment asks for more than the usual 256 cases.
//! The checks are in [`ferrite_host_tests::login`], where each answer passes.

use ferrite_host_tests::fuzz::{
    chap, //
    login_script,
    text_exchange,
    text_pairs,
};
use ferrite_host_tests::login::{
    text, //
    Answer,
    Initiator,
    Lab,
};
use ferrite_proto::text::{
    value, //
    NoSpace,
    Outgoing,
    Pairs,
    Writer,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Every key there is, and some there are not.
fn key() -> impl Strategy<Value = String> {
    let known: Vec<String> = ferrite_proto::login::keys::TABLE
        .iter()
        .map(|row| row.name.to_owned())
        .collect();
    prop_oneof![
        8 => proptest::sample::select(known),
        1 => "[A-Za-z][A-Za-z0-9.@_#+-]{0,70}",
        1 => "\\PC{0,8}",
    ]
}

fn any_value() -> impl Strategy<Value = String> {
    let usual = [
        "Yes",
        "No",
        "None",
        "CRC32C",
        "CRC32C,None",
        "CHAP",
        "CHAP,None",
        "None,CHAP",
        "Reject",
        "Irrelevant",
        "NotUnderstood",
        "0",
        "1",
        "5",
        "8,7,6,5",
        "512",
        "8192",
        "262144",
        "16777215",
        "16777216",
        "0x200",
        "0b",
        "0x",
        "0bAA==",
        "Discovery",
        "Normal",
        "All",
        "iqn.1994-05.com.redhat:c0ffee",
        "iqn.2003-01.org.example:disk",
        "2048~8192",
        "RFC3720,ResponseFence,FastAbort",
    ];
    prop_oneof![
        6 => proptest::sample::select(usual.map(str::to_owned).to_vec()),
        1 => any::<u32>().prop_map(|n| n.to_string()),
        1 => "0x[0-9a-fA-F]{0,80}",
        1 => "0b[0-9a-zA-Z+/]{0,128}={0,2}",
        1 => "\\PC{0,40}",
    ]
}

/// A text of pairs that are mostly well-formed.
fn pairs() -> impl Strategy<Value = Vec<u8>> {
    vec((key(), any_value()), 0..12).prop_map(|pairs| {
        let pairs: Vec<String> = pairs
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        text(&pairs.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

/// One request of a script for [`login_script`].
fn request() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![
        4 => proptest::sample::select(vec![0x00, 0x04, 0x40, 0x44, 0x81, 0x83, 0x87]),
        1 => any::<u8>(),
    ];
    let spoil = prop_oneof![20 => Just(0u8), 1 => 0u8..9];
    let body = prop_oneof![
        6 => pairs(),
        2 => Just(vec![1]),
        2 => Just(text(&["CHAP_A=8,7,6,5"])),
        1 => vec(any::<u8>(), 0..300),
    ];
    (flags, spoil, body).prop_map(|(flags, spoil, body)| {
        let len = (body.len() as u16).to_be_bytes();
        [&[flags, spoil, len[0], len[1]][..], &body].concat()
    })
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    let names = "InitiatorName=iqn.1994-05.com.redhat:c0ffee\0\
                 TargetName=iqn.2003-01.org.example:disk\0";
    let first = proptest::sample::select(vec![
        String::new(),
        names.to_owned(),
        format!("{names}AuthMethod=CHAP,None\0"),
        format!("{names}AuthMethod=None\0"),
        format!("{names}SessionType=Discovery\0AuthMethod=CHAP\0"),
    ]);
    let flags = proptest::sample::select(vec![0x00, 0x40, 0x81, 0x83, 0x87]);
    (any::<u8>(), flags, first, vec(request(), 0..8)).prop_map(
        |(config, flags, first, requests)| {
            let len = (first.len() as u16).to_be_bytes();
            let mut script = vec![config, flags, 0, len[0], len[1]];
            script.extend_from_slice(first.as_bytes());
            script.extend(requests.into_iter().flatten());
            script
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_to_a_login(data in vec(any::<u8>(), 0..2000)) {
        login_script::run(&data);
    }

    #[test]
    fn scripts_to_a_login(data in script()) {
        login_script::run(&data);
    }

    #[test]
    fn any_bytes_to_the_text_parser(data in vec(any::<u8>(), 0..2000)) {
        text_pairs::run(&data);
    }

    #[test]
    fn pairs_to_the_text_parser(data in pairs()) {
        text_pairs::run(&data);
    }

    #[test]
    fn any_bytes_to_a_text_exchange(data in vec(any::<u8>(), 0..2000)) {
        text_exchange::run(&data);
    }

    #[test]
    fn texts_to_a_text_exchange(
        config in any::<u8>(),
        texts in vec((any::<[u8; 2]>(), prop_oneof![
            pairs(), Just(text(&["SendTargets=All"])), Just(text(&["SendTargets="])), Just(vec![]),
        ]), 0..8),
    ) {
        let mut script = vec![config];
        for ([flags, tag], body) in texts {
            let len = (body.len() as u16).to_be_bytes();
            script.extend([flags, tag, len[0], len[1]]);
            script.extend(body);
        }
        text_exchange::run(&script);
    }

    #[test]
    fn responses_to_a_challenge(
        config in any::<u8>(),
        name in prop_oneof![Just("alice".to_owned()), any_value()],
        response in any_value(),
        mutual in proptest::option::of((any_value(), any_value())),
    ) {
        let mut data = vec![config];
        data.extend(format!("{name}\0{response}").bytes());
        if let Some((id, challenge)) = mutual {
            data.extend(format!("\0{id}\0{challenge}").bytes());
        }
        chap::run(&data);
    }

    /// What is written is read back, whole pairs only, within the budget.
    #[test]
    fn what_is_written_is_read_back(
        pairs in vec(("[A-Z][A-Za-z0-9.]{0,20}", "[ -~]{0,60}"), 0..40),
        room in 0usize..600,
        max in 1usize..200,
    ) {
        let mut buf = vec![0xa5; 1024];
        let mut writer = Writer::new(&mut buf[..room]);
        let mut expected = Vec::new();
        for (key, value) in &pairs {
            match writer.pair(key, value) {
                Ok(()) => expected.push((key.as_str(), value.as_str())),
                Err(NoSpace) => prop_assert!(
                    writer.len() + key.len() + value.len() + 2 > room
                ),
            }
        }
        let len = writer.len();
        prop_assert!(buf[room..].iter().all(|&b| b == 0xa5));
        let read: Vec<_> = Pairs::new(&buf[..len])
            .map(|pair| pair.map(|pair| (pair.key, pair.value)))
            .collect::<Result<_, _>>()
            .unwrap();
        prop_assert_eq!(read, expected);

        // Cut in pieces and put together it is the same.
        let mut outgoing = Outgoing::new();
        outgoing.start(len);
        let mut at = 0;
        loop {
            let cut = outgoing.next_cut(max);
            prop_assert_eq!(cut.data.start, at);
            prop_assert!(cut.data.len() <= max);
            prop_assert!(cut.data.len() == max || !cut.more);
            at = cut.data.end;
            if !cut.more {
                break;
            }
        }
        prop_assert_eq!(at, len);
    }

    /// Decoding is the inverse of encoding, for each length that fits.
    #[test]
    fn binary_values(bytes in vec(any::<u8>(), 1..80), room in 0usize..100) {
        for encoded in [
            ferrite_host_tests::login::hex(&bytes),
            ferrite_host_tests::login::base64(&bytes),
        ] {
            let mut buf = [0xa5; 120];
            let decoded = value::binary(&encoded, &mut buf[..room]).map(<[u8]>::to_vec);
            if bytes.len() <= room {
                prop_assert_eq!(decoded, Ok(bytes.clone()));
            } else {
                prop_assert_eq!(decoded, Err(value::ValueError::TooLong));
            }
            prop_assert!(buf[room..].iter().all(|&b| b == 0xa5));
        }
    }

    #[test]
    fn numbers(n in any::<u64>()) {
        prop_assert_eq!(value::number(&n.to_string()), Ok(n));
        prop_assert_eq!(value::number(&format!("{n:#x}")), Ok(n));
    }

    /// The order in which an initiator proposes does not change the result.
    #[test]
    fn the_order_of_keys_does_not_matter(
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        r2t in any::<bool>(),
        immediate in any::<bool>(),
        first_burst in 512u32..500_000,
        max_burst in 512u32..2_000_000,
    ) {
        let yes = |yes| if yes { "Yes" } else { "No" };
        let proposals = [
            format!("InitialR2T={}", yes(r2t)),
            format!("ImmediateData={}", yes(immediate)),
            format!("FirstBurstLength={first_burst}"),
            format!("MaxBurstLength={max_burst}"),
            "HeaderDigest=CRC32C".into(),
            "DefaultTime2Wait=9".into(),
            "MaxOutstandingR2T=3".into(),
            "MaxRecvDataSegmentLength=4096".into(),
        ];
        let result = |order: &[usize]| {
            let lab = &mut Lab::new();
            let mut initiator = Initiator::new();
            initiator
                .send(lab, 0x81, &[
                    "InitiatorName=iqn.1994-05.com.redhat:c0ffee",
                    "TargetName=iqn.2003-01.org.example:disk",
                ])
                .response();
            let pairs: Vec<&str> = order.iter().map(|&n| proposals[n].as_str()).collect();
            let answer = initiator.send(lab, 0x87, &pairs);
            assert!(matches!(answer, Answer::Final(_)), "{answer:?}");
            let result = initiator.login.result().unwrap();
            let mut answers = answer.response().pairs();
            answers.sort();
            (result.session, result.conn, answers)
        };
        let (session, conn, answers) = result(&order);
        prop_assert_eq!((session, conn, answers), result(&[0, 1, 2, 3, 4, 5, 6, 7]));
        prop_assert_eq!(session.initial_r2t, r2t);
        prop_assert_eq!(session.immediate_data, immediate);
        prop_assert_eq!(session.max_burst_length, max_burst.min(1_048_576));
        if !r2t || immediate {
            let expected = first_burst.min(262_144).min(max_burst);
            prop_assert_eq!(session.first_burst_length, expected);
        }
    }
}

/// Each prefix of each request of a good login is refused or goes on; no
/// prefix gets in by itself.
#[test]
fn every_prefix_of_a_login() {
    let names = text(&[
        "InitiatorName=iqn.1994-05.com.redhat:c0ffee",
        "TargetName=iqn.2003-01.org.example:disk",
        "AuthMethod=CHAP",
        "CHAP_A=8",
    ]);
    for len in 0..=names.len() {
        let lab = &mut Lab::with_chap();
        for flags in [0x00, 0x40, 0x81, 0x83, 0x87] {
            let mut initiator = Initiator::new();
            let answer = initiator.send_raw(lab, flags, &names[..len]);
            assert!(!matches!(answer, Answer::Final(_) | Answer::Closed));
            initiator.send_raw(lab, 0x83, &[]);
            assert!(initiator.login.result().is_none());
        }
        assert_eq!(lab.opened, 0);
    }
}

/// The machines are kept on the heap of a kernel, and what is on its stack
/// has to be small.
#[test]
fn sizes() {
    use ferrite_proto::login::ffp::{TextExchange, TextStep};
    use ferrite_proto::login::{Admission, Login, Step};

    assert!(size_of::<Login>() < 2048, "{}", size_of::<Login>());
    assert!(
        size_of::<TextExchange>() < 1024,
        "{}",
        size_of::<TextExchange>()
    );
    assert!(size_of::<Admission>() <= 512, "{}", size_of::<Admission>());
    assert!(size_of::<Step>() <= 128, "{}", size_of::<Step>());
    assert!(size_of::<TextStep>() <= 128, "{}", size_of::<TextStep>());
}
