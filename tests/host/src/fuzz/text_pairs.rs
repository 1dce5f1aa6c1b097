// SPDX-License-Identifier: GPL-2.0

//! The text parser on any bytes, and every kind of value on any value.

use ferrite_proto::text::{
    value, //
    Pairs,
};

use crate::login::{
    base64, //
    hex,
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut out = [0xa5; 64];
    for pair in Pairs::new(data) {
        let Ok(pair) = pair else { continue };
        assert!(!pair.key.is_empty() && pair.key.len() <= 63);
        let text = pair.value;
        if let Ok(n) = value::number(text) {
            let digits = text.trim_start_matches("0x").trim_start_matches("0X");
            let radix = if digits.len() == text.len() { 10 } else { 16 };
            assert_eq!(u64::from_str_radix(digits, radix), Ok(n));
        }
        let _ = value::boolean(text);
        let _ = value::range(text);
        if let Ok(list) = value::list(text) {
            assert_eq!(list.collect::<Vec<_>>().join(","), text);
        }
        let room = 32;
        if let Ok(bytes) = value::binary(text, &mut out[..room]) {
            let bytes = bytes.to_vec();
            assert!(bytes.len() <= room);
            if text[1..].starts_with(['x', 'X']) {
                let odd = text.len() % 2;
                assert_eq!(hex(&bytes)[2 + odd..], text[2..].to_lowercase());
            } else {
                assert_eq!(base64(&bytes)[2..], text[2..]);
            }
        }
        assert_eq!(out[room..], [0xa5; 32], "written past the buffer");
    }
}
