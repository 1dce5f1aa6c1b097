// SPDX-License-Identifier: GPL-2.0

//! A connection that sends whatever Login Requests the input says.
//!
//! The first byte picks the target's configuration. Then each request is: its
//! flags, a byte that may spoil a header field, two bytes of length, and the
//! text. The text `\x01` stands for the right answer to the challenge, so that
//! the stages behind authentication are reached. What must hold of any answer
//! is checked in [`crate::login`].

use ferrite_proto::chap::Algorithm;
use ferrite_proto::login::params::SessionParams;
use ferrite_proto::text::TEXT_BUFFER_LEN;

use crate::login::{
    chap_digest, //
    hex,
    text,
    unhex,
    Answer,
    Initiator,
    Lab,
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((&config, mut rest)) = data.split_first() else {
        return;
    };
    let mut lab = match config & 3 {
        0 => Lab::new(),
        1 => Lab::with_chap(),
        2 => Lab::with_mutual_chap(),
        _ => {
            let mut lab = Lab::new();
            for (name, value) in [
                ("HeaderDigest", "CRC32C"),
                ("ImmediateData", "No"),
                ("MaxBurstLength", "4096"),
                ("DefaultTime2Wait", "7"),
            ] {
                lab.offer.set(name, value).expect("a valid parameter");
            }
            lab
        }
    };
    let out = if config & 4 == 0 {
        TEXT_BUFFER_LEN
    } else {
        1500
    };
    let mut initiator = Initiator::with_buffers(TEXT_BUFFER_LEN, out);
    if config & 8 != 0 {
        lab.existing = Some(SessionParams::RFC_DEFAULT);
        initiator.header.tsih = 9;
    }
    let mut challenge: Option<(Algorithm, u8, Vec<u8>)> = None;
    let mut said = Vec::new();
    while let [flags, spoil, high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (body, next) = tail.split_at(len);
        rest = next;
        match spoil {
            1 => initiator.header.cid ^= 1,
            2 => initiator.header.itt ^= 1,
            3 => initiator.header.tsih ^= 1,
            4 => initiator.header.cmd_sn ^= 1,
            5 => initiator.header.isid[5] ^= 1,
            6 => initiator.header.version_min ^= 1,
            7 => initiator.header.version_max ^= 1,
            _ => {}
        }
        let answered;
        let body = match (body, &challenge) {
            ([1], Some((algorithm, id, challenge))) => {
                let digest = chap_digest(*algorithm, *id, &lab.inbound.1, challenge);
                answered = text(&["CHAP_N=alice", &format!("CHAP_R={}", hex(&digest))]);
                &answered
            }
            _ => body,
        };
        match initiator.send_raw(&mut lab, *flags, body) {
            Answer::Partial(mut response) => {
                // What is long comes in parts, of which each but the last has the C bit.
                said.append(&mut response.data);
                if response.flags & 0x40 != 0 {
                    continue;
                }
                response.data = std::mem::take(&mut said);
                if let Some(sent) = response.value("CHAP_C") {
                    let number = response.value("CHAP_A").expect("CHAP_A");
                    let algorithm = Algorithm::STRONGEST_FIRST
                        .into_iter()
                        .find(|algorithm| algorithm.number().to_string() == number)
                        .expect("an algorithm");
                    let id = response.value("CHAP_I").expect("CHAP_I");
                    challenge = Some((algorithm, id.parse().expect("a number"), unhex(&sent)));
                }
            }
            Answer::Final(_) => {
                assert!(initiator.login.take_proof().is_some());
                assert!(initiator.login.take_proof().is_none());
                break;
            }
            Answer::Refused(_) | Answer::Moved(..) | Answer::Closed => {
                assert_eq!(initiator.send(&mut lab, *flags, &[]), Answer::Closed);
                break;
            }
        }
    }
}
