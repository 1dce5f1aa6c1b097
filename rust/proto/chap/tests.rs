// SPDX-License-Identifier: GPL-2.0

use std::string::{
    String, //
    ToString,
};
use std::vec::Vec;

use super::*;

/// Credentials whose digest is the input itself, cut to length: what is asked
/// for can be seen in what comes back.
#[derive(Default)]
struct Transparent {
    calls: Vec<(u8, Vec<u8>, Whose)>,
    mutual: bool,
    /// Answers a digest of another length than the algorithm's.
    lying: bool,
}

impl Credentials for Transparent {
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x21);
    }

    fn chap_user(&mut self, name: &[u8]) -> bool {
        name == b"user"
    }

    fn mutual_user(&mut self, out: &mut [u8; MAX_NAME_LEN]) -> Result<usize, NoCredentials> {
        out[..2].copy_from_slice(b"me");
        if self.mutual {
            Ok(2)
        } else {
            Err(NoCredentials)
        }
    }

    fn chap_digest(
        &mut self,
        algorithm: Algorithm,
        id: u8,
        challenge: &[u8],
        whose: Whose,
        out: &mut [u8; MAX_DIGEST_LEN],
    ) -> Result<usize, NoCredentials> {
        self.calls.push((id, challenge.to_vec(), whose));
        if whose == Whose::Mutual && !self.mutual {
            return Err(NoCredentials);
        }
        out.fill(0);
        for (to, from) in out.iter_mut().zip(challenge) {
            *to = from ^ id;
        }
        if whose == Whose::Mutual {
            out[0] ^= 0x80;
        }
        Ok(if self.lying {
            15
        } else {
            algorithm.digest_len()
        })
    }
}

fn start(allowed: Algorithms, list: &str) -> Result<(Algorithm, String), Failure> {
    let mut buf = [0xa5; 256];
    let mut out = Writer::new(&mut buf);
    let exchange = Exchange::start(list, allowed, &mut Transparent::default(), &mut out)?;
    let text = String::from_utf8_lossy(out.text()).replace('\0', " ");
    Ok((exchange.algorithm(), text))
}

#[test]
fn the_challenge() {
    let challenge = "21".repeat(32);
    for (list, algorithm, number) in [
        ("5", Algorithm::Md5, 5),
        ("5,6", Algorithm::Sha1, 6),
        ("5,6,7", Algorithm::Sha256, 7),
        ("5,6,7,8", Algorithm::Sha3_256, 8),
    ] {
        let (chosen, text) = start(Algorithms::DEFAULT.with(Algorithm::Md5), list).unwrap();
        assert_eq!(chosen, algorithm);
        let expected = std::format!("CHAP_A={number} CHAP_I=33 CHAP_C=0x{challenge} ");
        assert_eq!(text, expected);
    }
    assert_eq!(
        start(Algorithms::DEFAULT, "5"),
        Err(Failure::NoCommonAlgorithm)
    );
}

#[test]
fn the_challenge_is_written_whole_or_not_at_all() {
    for room in 0..100 {
        let mut buf = [0xa5; 128];
        let mut out = Writer::new(&mut buf[..room]);
        let mut credentials = Transparent::default();
        let exchange = Exchange::start("7", Algorithms::DEFAULT, &mut credentials, &mut out);
        assert_eq!(exchange.is_ok(), room >= 9 + 10 + 74, "{room}");
    }
}

fn finish(
    credentials: &mut Transparent,
    name: &str,
    response: &str,
    mutual: Option<(&str, &str)>,
) -> Result<String, Failure> {
    let mut buf = [0; 512];
    let mut out = Writer::new(&mut buf);
    let exchange = Exchange {
        algorithm: Algorithm::Sha256,
        id: 1,
        challenge: [0x21; 32],
    };
    let answer = Response {
        name,
        response,
        mutual,
    };
    let mut scratch = [0xa5; 64];
    exchange.finish(&answer, credentials, &mut scratch[..32], &mut out)?;
    assert_eq!(scratch[32..], [0xa5; 32]);
    Ok(String::from_utf8_lossy(out.text()).replace('\0', " "))
}

#[test]
fn the_response() {
    let right = "0x".to_string() + &"20".repeat(32);
    let mut credentials = Transparent {
        mutual: true,
        ..Transparent::default()
    };
    assert_eq!(
        finish(&mut credentials, "user", &right, None),
        Ok(String::new())
    );
    // Over the identifier and the challenge that were sent.
    assert_eq!(
        credentials.calls[0],
        (1, [0x21; 32].to_vec(), Whose::Inbound)
    );
    assert_eq!(
        finish(&mut credentials, "root", &right, None),
        Err(Failure::UnknownUser)
    );
    for n in 0..32 {
        let mut wrong = right.clone();
        wrong.replace_range(2 + 2 * n..3 + 2 * n, "3");
        assert_eq!(
            finish(&mut credentials, "user", &wrong, None),
            Err(Failure::WrongResponse)
        );
    }
    let own = "0xa0".to_string() + &"20".repeat(31);
    assert_eq!(
        finish(&mut credentials, "user", &own, None),
        Err(Failure::SameSecret)
    );
    // Shorter, longer, or no digest at all.
    for response in [&right[..64], &(right.clone() + "00"), "0x", "", "20"] {
        assert_eq!(
            finish(&mut credentials, "user", response, None),
            Err(Failure::BadResponse),
            "{response}"
        );
    }
    let mut lying = Transparent {
        lying: true,
        ..Transparent::default()
    };
    assert_eq!(
        finish(&mut lying, "user", &right, None),
        Err(Failure::NoCredentials)
    );
}

#[test]
fn the_own_response() {
    let right = "0x".to_string() + &"20".repeat(32);
    let mut credentials = Transparent {
        mutual: true,
        ..Transparent::default()
    };
    let mutual = |credentials: &mut Transparent, id, challenge| {
        finish(credentials, "user", &right, Some((id, challenge)))
    };
    assert_eq!(
        mutual(&mut credentials, "2", "0x0301"),
        Ok(std::format!("CHAP_N=me CHAP_R=0x8103{} ", "00".repeat(30)))
    );
    assert_eq!(
        credentials.calls.last(),
        Some(&(2, [3, 1].to_vec(), Whose::Mutual))
    );
    // No longer than the room for it.
    let long = "0x".to_string() + &"44".repeat(33);
    assert_eq!(
        mutual(&mut credentials, "2", &long),
        Err(Failure::BadChallenge)
    );
    assert_eq!(
        mutual(&mut credentials, "256", "0x01"),
        Err(Failure::BadIdentifier)
    );
    let own = "0x".to_string() + &"21".repeat(32);
    assert_eq!(mutual(&mut credentials, "2", &own), Err(Failure::Reflected));
    assert_eq!(
        mutual(&mut Transparent::default(), "2", "0x0301"),
        Err(Failure::NoMutualCredentials)
    );
    // A wrong response is told before anything wrong with the challenge, and
    // nothing is computed with the target's secret but the comparison.
    credentials.calls.clear();
    let wrong = "0x".to_string() + &"00".repeat(32);
    assert_eq!(
        finish(&mut credentials, "user", &wrong, Some(("256", "x"))),
        Err(Failure::WrongResponse)
    );
    assert!(credentials.calls.iter().all(|call| call.0 == 1));
}

/// RFC 7143 section 12.1.3: 1024 bytes at most, however much room there is.
#[test]
fn the_longest_challenge() {
    let right = "0x".to_string() + &"20".repeat(32);
    for (len, expected) in [(1024, Ok(())), (1025, Err(Failure::BadChallenge))] {
        let mut credentials = Transparent {
            mutual: true,
            ..Transparent::default()
        };
        let challenge = "0x".to_string() + &"44".repeat(len);
        let answer = Response {
            name: "user",
            response: &right,
            mutual: Some(("2", &challenge)),
        };
        let exchange = Exchange {
            algorithm: Algorithm::Sha256,
            id: 1,
            challenge: [0x21; 32],
        };
        let mut buf = [0; 512];
        let mut scratch = std::vec![0; 2048];
        let mut out = Writer::new(&mut buf);
        let result = exchange.finish(&answer, &mut credentials, &mut scratch, &mut out);
        assert_eq!(result.map(|_| ()), expected, "{len}");
    }
}

#[test]
fn comparison() {
    assert!(constant_time_eq(b"", b""));
    assert!(constant_time_eq(b"abc", b"abc"));
    for (a, b) in [("abc", "abd"), ("abc", "bbc"), ("abc", "ab"), ("", "a")] {
        assert!(!constant_time_eq(a.as_bytes(), b.as_bytes()));
        assert!(!constant_time_eq(b.as_bytes(), a.as_bytes()));
    }
    for bit in 0..256 {
        let mut other = [0x5a; 32];
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!constant_time_eq(&[0x5a; 32], &other));
    }
}

#[test]
fn algorithm_lists_of_administrators() {
    let shown = |text| Algorithms::parse(text).map(|set| set.to_string());
    assert_eq!(Algorithms::default().to_string(), "SHA3-256,SHA256,SHA1");
    assert_eq!(shown("MD5"), Ok("MD5".into()));
    assert_eq!(
        shown("MD5,SHA1,SHA256,SHA3-256"),
        Ok("SHA3-256,SHA256,SHA1,MD5".into())
    );
    for text in [
        "",
        "md5",
        "SHA3",
        "MD5,",
        "MD5,MD5",
        "MD5, SHA1",
        "SHA512",
        "5",
    ] {
        assert_eq!(shown(text), Err(AlgorithmsError), "{text}");
    }
    assert!(!Algorithms::DEFAULT.has(Algorithm::Md5));
    assert!(Algorithms::EMPTY.is_empty() && !Algorithms::DEFAULT.is_empty());
}
