// SPDX-License-Identifier: GPL-2.0

use std::string::{
    String, //
    ToString,
};
use std::vec;
use std::vec::Vec;

use super::value::ValueError;
use super::*;

fn pairs(text: &[u8]) -> Result<Vec<(&str, &str)>, TextError> {
    Pairs::new(text)
        .map(|pair| pair.map(|pair| (pair.key, pair.value)))
        .collect()
}

#[test]
fn pairs_are_split_at_the_first_equals_sign() {
    assert_eq!(pairs(b""), Ok(vec![]));
    assert_eq!(pairs(b"A=\0"), Ok(vec![("A", "")]));
    assert_eq!(
        pairs(b"A=b\0CHAP_C=0bAA==\0"),
        Ok(vec![("A", "b"), ("CHAP_C", "0bAA==")])
    );
    assert_eq!(pairs("A=\u{fc}\0".as_bytes()), Ok(vec![("A", "\u{fc}")]));
    assert_eq!(
        pairs(b"iSCSIProtocolLevel=1\0X#Node.A-b+c@d_e=f\0"),
        Ok(vec![("iSCSIProtocolLevel", "1"), ("X#Node.A-b+c@d_e", "f")])
    );
}

#[test]
fn trailing_nul_bytes_are_padding() {
    assert_eq!(pairs(b"A=b\0\0\0"), Ok(vec![("A", "b")]));
    assert_eq!(pairs(b"\0\0\0\0"), Ok(vec![]));
    assert_eq!(pairs(b"A=b\0\0C=d\0"), Err(TextError::NoEquals));
    assert_eq!(pairs(b"\0A=b\0"), Err(TextError::NoEquals));
}

#[test]
fn malformed_pairs() {
    for (text, error) in [
        (&b"A\0"[..], TextError::NoEquals),
        (b"A", TextError::Unterminated),
        (b"A=", TextError::Unterminated),
        (b"A=b\0C=d", TextError::Unterminated),
        (b"=b\0", TextError::BadKey),
        (b"1=b\0", TextError::BadKey),
        (b"_=b\0", TextError::BadKey),
        (b"A b=c\0", TextError::BadKey),
        (b"A\xff=c\0", TextError::BadKey),
        (b"A/b=c\0", TextError::BadKey),
        (b"A=\xff\0", TextError::NotUtf8),
        (b"A=\xc3\0", TextError::NotUtf8),
    ] {
        assert_eq!(pairs(text), Err(error), "{text:?}");
        let mut iter = Pairs::new(text);
        assert!(iter.any(|pair| pair.is_err()));
        assert_eq!(iter.next(), None, "nothing after an error");
    }
}

#[test]
fn keys_and_values_have_limits() {
    let text = |key, value| [vec![b'K'; key], vec![b'='], vec![b'v'; value], vec![0]].concat();
    assert!(pairs(&text(63, 8192)).is_ok());
    assert_eq!(pairs(&text(64, 0)), Err(TextError::KeyTooLong));
    assert_eq!(pairs(&text(65_536, 0)), Err(TextError::KeyTooLong));
    assert_eq!(pairs(&text(1, 8193)), Err(TextError::ValueTooLong));
    assert_eq!(
        pairs(&b"A=b\0".repeat(128)).map(|pairs| pairs.len()),
        Ok(128)
    );
    assert_eq!(pairs(&b"A=b\0".repeat(129)), Err(TextError::TooManyPairs));
    assert_eq!(pairs(&b"A=b\0".repeat(2048)), Err(TextError::TooManyPairs));
    // Padding does not count.
    assert!(pairs(&[b"A=b\0".repeat(128), vec![0; 9]].concat()).is_ok());
}

/// Every prefix of a text is either fewer pairs or an error.
#[test]
fn every_prefix() {
    let text = b"InitiatorName=iqn.1994-05.com.redhat:x\0AuthMethod=CHAP,None\0";
    for len in 0..text.len() {
        let expected = match len {
            0 => Ok(0),
            39 => Ok(1),
            _ => Err(TextError::Unterminated),
        };
        assert_eq!(pairs(&text[..len]).map(|pairs| pairs.len()), expected);
    }
}

#[test]
fn a_text_in_one_pdu_is_not_copied() {
    let mut incoming = Incoming::new();
    let mut buf = [0xa5; 4];
    let data = b"longer than the buffer";
    assert_eq!(incoming.push(&mut buf, data, false), Ok(Some(&data[..])));
    assert!(!incoming.is_open());
    assert_eq!(buf, [0xa5; 4]);
}

#[test]
fn texts_are_joined() {
    let mut incoming = Incoming::new();
    let mut buf = [0xa5; 8];
    assert_eq!(incoming.push(&mut buf, b"abc", true), Ok(None));
    assert!(incoming.is_open());
    assert_eq!(incoming.push(&mut buf, b"", true), Ok(None));
    assert_eq!(
        incoming.push(&mut buf, b"defgh", false),
        Ok(Some(&b"abcdefgh"[..]))
    );
    assert!(!incoming.is_open());
    // The next text begins anew.
    assert_eq!(incoming.push(&mut buf, b"i", true), Ok(None));
    assert_eq!(incoming.push(&mut buf, b"", false), Ok(Some(&b"i"[..])));

    assert_eq!(incoming.push(&mut buf, b"abcdefgh", true), Ok(None));
    assert_eq!(incoming.push(&mut buf, b"i", true), Err(TextError::TooLong));
    assert!(!incoming.is_open());
    assert_eq!(incoming.push(&mut buf, b"abcdefgh", true), Ok(None));
    incoming.reset();
    assert_eq!(incoming.push(&mut buf, b"x", false), Ok(Some(&b"x"[..])));

    for _ in 0..MAX_PDUS {
        assert_eq!(incoming.push(&mut buf, b"", true), Ok(None));
    }
    assert_eq!(
        incoming.push(&mut buf, b"", true),
        Err(TextError::TooManyPdus)
    );
    for _ in 1..MAX_PDUS {
        assert_eq!(incoming.push(&mut buf, b"", true), Ok(None));
    }
    assert_eq!(incoming.push(&mut buf, b"", false), Ok(Some(&b""[..])));
}

#[test]
fn answers_are_cut() {
    let cuts = |len, max| {
        let mut outgoing = Outgoing::new();
        outgoing.start(len);
        let mut all = Vec::new();
        loop {
            assert_eq!(
                outgoing.is_open(),
                all.is_empty() && len > 0 || !all.is_empty()
            );
            let cut = outgoing.next_cut(max);
            all.push((cut.data, cut.more));
            if !cut.more {
                assert!(!outgoing.is_open());
                break all;
            }
        }
    };
    assert_eq!(cuts(0, 8), [(0..0, false)]);
    assert_eq!(cuts(1, 8), [(0..1, false)]);
    assert_eq!(cuts(8, 8), [(0..8, false)]);
    assert_eq!(cuts(9, 8), [(0..8, true), (8..9, false)]);
    assert_eq!(cuts(16, 8), [(0..8, true), (8..16, false)]);
    assert_eq!(cuts(2, 0), [(0..1, true), (1..2, false)]);
}

#[test]
fn pairs_are_written_whole_or_not_at_all() {
    for room in 0..24 {
        let mut buf = [0xa5; 32];
        let mut writer = Writer::new(&mut buf[..room]);
        let fits = |len| if len <= room { Ok(()) } else { Err(NoSpace) };
        assert_eq!(writer.pair("A", "bc"), fits(5));
        let one = writer.len();
        assert_eq!(one, if room < 5 { 0 } else { 5 });
        assert_eq!(writer.is_empty(), room < 5);
        let longer = writer.tagged("TargetAddress", "h", 7);
        assert_eq!(longer, fits(one + 18), "{room}");
        assert_eq!(writer.text().last().copied().unwrap_or(0), 0);
        let len = writer.len();
        assert_eq!(buf[room..], [0xa5; 32][room..], "written past the budget");
        let whole = &b"A=bc\0TargetAddress=h,7\0"[..len];
        if one > 0 {
            assert_eq!(&buf[..len], whole);
        }
    }
}

#[test]
fn values_are_written() {
    let mut buf = [0xa5; 256];
    let mut writer = Writer::new(&mut buf);
    writer.boolean("A", true).unwrap();
    writer.boolean("B", false).unwrap();
    writer.number("C", 0).unwrap();
    writer.number("D", 10).unwrap();
    writer.number("E", u32::MAX).unwrap();
    writer.hex("F", &[0x00, 0x9a, 0xff]).unwrap();
    writer.hex("G", &[]).unwrap();
    writer.parts("H", &[b"x", b"", b"yz"]).unwrap();
    writer.tagged("I", "[::1]:3260", 65535).unwrap();
    assert_eq!(
        String::from_utf8_lossy(writer.text()),
        "A=Yes\0B=No\0C=0\0D=10\0E=4294967295\0F=0x009aff\0G=0x\0H=xyz\0I=[::1]:3260,65535\0"
    );
    for n in [1, 9, 99, 100, 8192, 262_144, 16_777_215] {
        let mut buf = [0; 32];
        let mut writer = Writer::new(&mut buf);
        writer.number("N", n).unwrap();
        assert_eq!(
            writer.text(),
            ["N=", &n.to_string(), "\0"].concat().as_bytes()
        );
    }
}

#[test]
fn booleans() {
    assert_eq!(value::boolean("Yes"), Ok(true));
    assert_eq!(value::boolean("No"), Ok(false));
    for text in ["", "yes", "NO", "Yes ", "1", "Reject"] {
        assert_eq!(value::boolean(text), Err(ValueError::NotBoolean));
    }
}

#[test]
fn numbers() {
    for (text, n) in [
        ("0", 0),
        ("1", 1),
        ("262144", 262_144),
        ("18446744073709551615", u64::MAX),
        ("0x0", 0),
        ("0X1f", 0x1f),
        ("0xFFFFFFFFFFFFFFFF", u64::MAX),
        ("0x00000000000000000000001", 1),
    ] {
        assert_eq!(value::number(text), Ok(n), "{text}");
    }
    for text in [
        "", "00", "01", "-1", "+1", " 1", "1 ", "1.0", "0x", "0xg", "x1", "0b01", "\u{661}",
    ] {
        assert_eq!(value::number(text), Err(ValueError::NotNumber), "{text}");
    }
    for text in [
        "18446744073709551616",
        "99999999999999999999999",
        "0x10000000000000000",
    ] {
        assert_eq!(value::number(text), Err(ValueError::OutOfRange), "{text}");
    }
    assert_eq!(value::number_in("512", 512, 1024), Ok(512));
    assert_eq!(value::number_in("1024", 512, 1024), Ok(1024));
    for text in ["511", "1025", "4294967808", "18446744073709551616"] {
        assert_eq!(
            value::number_in(text, 512, 1024),
            Err(ValueError::OutOfRange)
        );
    }
}

#[test]
fn ranges() {
    assert_eq!(value::range("1~0xff"), Ok((1, 255)));
    assert_eq!(value::range("7~7"), Ok((7, 7)));
    for text in ["8~7", "8", "", "1~2~3"] {
        assert_eq!(value::range(text), Err(ValueError::NotRange));
    }
    for text in ["~7", "7~", "a~b"] {
        assert_eq!(value::range(text), Err(ValueError::NotNumber));
    }
}

#[test]
fn lists() {
    let list = |text| value::list(text).map(Iterator::collect::<Vec<_>>);
    assert_eq!(list("CHAP"), Ok(vec!["CHAP"]));
    assert_eq!(list("CRC32C,None"), Ok(vec!["CRC32C", "None"]));
    for text in ["", ",", "a,", ",a", "a,,b"] {
        assert_eq!(list(text), Err(ValueError::EmptyItem));
    }
    let long = "x".repeat(256);
    assert_eq!(list(&long[1..]).map(|items| items.len()), Ok(1));
    assert_eq!(list(&long), Err(ValueError::TooLong));
}

fn binary(text: &str, room: usize) -> Result<Vec<u8>, ValueError> {
    let mut buf = vec![0xa5; room + 8];
    let result = value::binary(text, &mut buf[..room]).map(<[u8]>::to_vec);
    assert_eq!(buf[room..], [0xa5; 8], "written past the buffer");
    result
}

#[test]
fn binary_values_in_hex() {
    for (text, bytes) in [
        ("0x0", &[0][..]),
        ("0x00", &[0]),
        ("0X1", &[1]),
        ("0xabc", &[0x0a, 0xbc]),
        ("0x0aBC", &[0x0a, 0xbc]),
        ("0xdeadBEEF00", &[0xde, 0xad, 0xbe, 0xef, 0]),
    ] {
        assert_eq!(binary(text, bytes.len()), Ok(bytes.to_vec()), "{text}");
        assert_eq!(binary(text, bytes.len() + 9), Ok(bytes.to_vec()), "{text}");
        assert_eq!(binary(text, bytes.len() - 1), Err(ValueError::TooLong));
    }
    for text in [
        "", "0", "0x", "12", "0xg0", "0x 1", "0x0x1", "x12", "0x\u{e9}",
    ] {
        assert_eq!(binary(text, 64), Err(ValueError::NotBinary), "{text}");
    }
}

/// RFC 4648 section 10's vectors, and what is not its base64.
#[test]
fn binary_values_in_base64() {
    for (text, bytes) in [
        ("0bZg==", "f"),
        ("0bZm8=", "fo"),
        ("0bZm9v", "foo"),
        ("0BZm9vYg==", "foob"),
        ("0bZm9vYmE=", "fooba"),
        ("0bZm9vYmFy", "foobar"),
    ] {
        let bytes = bytes.as_bytes();
        assert_eq!(binary(text, bytes.len()), Ok(bytes.to_vec()), "{text}");
        assert_eq!(binary(text, bytes.len() - 1), Err(ValueError::TooLong));
    }
    assert_eq!(
        binary("0b+/AZaz09", 6),
        Ok(vec![0xfb, 0xf0, 0x19, 0x6b, 0x3d, 0x3d])
    );
    for text in [
        "0b",
        "0bZ",
        "0bZg",
        "0bZg=",
        "0bZg===",
        "0b====",
        "0bZ===",
        "0b==Zg",
        "0bZg==Zg==",
        "0bZh==",
        "0bZm9=",
        "0bZm9-",
        "0bZm9_",
        "0bZm 9",
        "0bZm9\u{e9}",
    ] {
        assert_eq!(binary(text, 64), Err(ValueError::NotBinary), "{text}");
    }
}

/// CVE-2026-63886: the length is checked before a byte is decoded.
#[test]
fn binary_values_never_leave_their_room() {
    for room in [0, 1, 16, 20, 32] {
        for digits in 0..=256 {
            for (prefix, digit, len) in [
                ("0x", "f", digits_to_hex(digits)),
                ("0b", "/", digits_to_base64(digits)),
            ] {
                let text = [prefix, &digit.repeat(digits)].concat();
                let expected = match len {
                    None => Err(ValueError::NotBinary),
                    Some(len) if len > room => Err(ValueError::TooLong),
                    Some(len) => Ok(len),
                };
                let decoded = binary(&text, room).map(|bytes| bytes.len());
                assert_eq!(decoded, expected, "{text} into {room}");
            }
        }
    }
}

fn digits_to_hex(digits: usize) -> Option<usize> {
    (digits > 0).then_some(digits.div_ceil(2))
}

fn digits_to_base64(digits: usize) -> Option<usize> {
    (digits > 0 && digits % 4 == 0).then_some(digits / 4 * 3)
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(TextError::NoEquals.to_string(), "a pair without '='");
    assert_eq!(ValueError::NotBoolean.to_string(), "must be Yes or No");
    assert_eq!(NoSpace.to_string(), "no space left for the answer");
    // The limits in the texts are those of the constants.
    assert!(TextError::KeyTooLong
        .to_string()
        .contains(&MAX_KEY_LEN.to_string()));
    assert!(TextError::ValueTooLong
        .to_string()
        .contains(&MAX_VALUE_LEN.to_string()));
    assert!(TextError::TooManyPairs
        .to_string()
        .contains(&MAX_PAIRS.to_string()));
    assert!(TextError::TooManyPdus
        .to_string()
        .contains(&MAX_PDUS.to_string()));
}
