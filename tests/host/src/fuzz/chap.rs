// SPDX-License-Identifier: GPL-2.0

//! A CHAP exchange whose response is whatever the input says.
//!
//! The first byte picks the algorithm, and in its highest bits whether name
//! and response are replaced by the right ones. The rest is CHAP_N, CHAP_R,
//! CHAP_I and CHAP_C with a NUL byte between them; without the last two the
//! target is not asked to authenticate itself.

use ferrite_proto::chap::{
    Algorithm, //
    Algorithms,
    Exchange,
    Response,
    MAX_CHALLENGE_LEN,
};
use ferrite_proto::text::{
    value, //
    Pairs,
    Writer,
};

use crate::login::{
    chap_digest, //
    hex,
    Lab,
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((&config, data)) = data.split_first() else {
        return;
    };
    let Ok(data) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = data.split('\0');
    let algorithm = Algorithm::STRONGEST_FIRST[usize::from(config & 3)];
    let mut lab = Lab::with_mutual_chap();
    lab.entropy = vec![config; 33];

    let mut buf = [0xa5; 4096];
    let mut out = Writer::new(&mut buf);
    let list = algorithm.number().to_string();
    let exchange = Exchange::start(&list, Algorithms::EMPTY.with(algorithm), &mut lab, &mut out)
        .expect("one algorithm in common");
    let challenge = [config; 32];
    let right = chap_digest(algorithm, config, &lab.inbound.1, &challenge);

    let right_text = hex(&right);
    let name = parts.next().unwrap_or_default();
    let name = if config & 0x40 != 0 { "alice" } else { name };
    let response = parts.next().unwrap_or_default();
    let response = if config & 0x80 != 0 {
        &right_text
    } else {
        response
    };
    let mutual = parts.next().zip(parts.next());
    let answer = Response {
        name,
        response,
        mutual,
    };
    let mut scratch = [0xa5; MAX_CHALLENGE_LEN + 16];
    let (room, behind) = scratch.split_at_mut(MAX_CHALLENGE_LEN);
    let mut own = [0xa5; 1024];
    let mut out = Writer::new(&mut own);
    let authenticated = exchange.finish(&answer, &mut lab, room, &mut out).is_ok();
    assert_eq!(behind, [0xa5; 16], "written past the scratch buffer");

    // Whoever gets in knows the name and the secret.
    let mut decoded = [0; 64];
    let knows = name == "alice"
        && value::binary(response, &mut decoded).is_ok_and(|response| response == right);
    assert!(knows || !authenticated);
    let mut expected = Vec::new();
    if let (true, Some((id, sent))) = (knows, mutual) {
        let mut decoded = vec![0; MAX_CHALLENGE_LEN];
        let id = value::number(id).ok().and_then(|id| u8::try_from(id).ok());
        let sent = value::binary(sent, &mut decoded).ok();
        let sent = sent.filter(|sent| *sent != challenge);
        assert_eq!(authenticated, id.is_some() && sent.is_some());
        if let (Some(id), Some(sent)) = (id, sent) {
            let secret = &lab.mutual.as_ref().expect("mutual CHAP").1;
            let digest = hex(&chap_digest(algorithm, id, secret, sent));
            expected = vec![("CHAP_N", "tgt".to_owned()), ("CHAP_R", digest)];
        }
    } else {
        assert_eq!(authenticated, knows);
    }
    let told: Vec<_> = Pairs::new(out.text())
        .map(|pair| pair.expect("well-formed"))
        .map(|pair| (pair.key, pair.value.to_owned()))
        .collect();
    assert_eq!(told, expected);
}
