// SPDX-License-Identifier: GPL-2.0

//! A file of reservations that an administrator, or a disk, has spoilt.
//!
//! The first byte says whether the last line is put right: if it is odd, what
//! follows is all but that line. What is taken is written again as it was.

use ferrite_proto::scsi::aptpl;
use ferrite_proto::scsi::persist::{
    Persist, //
    Registry,
};

use super::persist::{
    crc32c, //
    Memory,
};

const SERIAL: &[u8] = b"serial";

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((&how, body)) = data.split_first() else {
        return;
    };
    let mut text = body.to_vec();
    if how & 1 != 0 {
        let count = body
            .split(|b| *b == b'\n')
            .filter(|line| line.starts_with(b"registration "))
            .count();
        text.extend(format!("end {count:04x} ").bytes());
        text.extend(format!("{:08x}\n", crc32c(&text)).bytes());
    }
    let mut memory = Memory::default();
    let Ok(kind) = aptpl::read(&text, SERIAL, crc32c, &mut memory) else {
        return;
    };
    let unit = Persist::restored(memory, kind);
    let len = aptpl::write(&unit, SERIAL, crc32c, &mut []);
    assert!(len <= aptpl::max_len(unit.registry().all().len()));
    let mut again = vec![0; len];
    aptpl::write(&unit, SERIAL, crc32c, &mut again);
    assert!(
        body_of(&again).eq_ignore_ascii_case(body_of(&text)),
        "what was taken is not what is written"
    );
    // A name in capitals is the same name, but another checksum.
    if !text.iter().any(u8::is_ascii_uppercase) {
        assert_eq!(again, text);
    }
}

/// All but the last line.
fn body_of(text: &[u8]) -> &[u8] {
    let end = text.strip_suffix(b"\n").unwrap_or(text);
    let at = end.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    &text[..at]
}
