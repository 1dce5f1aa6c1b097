// SPDX-License-Identifier: GPL-2.0

//! A connection in the full feature phase that sends whatever Text Requests
//! the input says.
//!
//! The first byte picks the session. Then each request is: its flags, a byte
//! whose lowest bit picks the tag, two bytes of length, and the text. What must
//! hold of any answer is checked in [`crate::login`].

use ferrite_proto::login::SessionType;
use ferrite_proto::name::IscsiName;

use crate::login::{
    Lab, //
    Talker,
    TextAnswer,
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((&config, mut rest)) = data.split_first() else {
        return;
    };
    let mut lab = Lab::new();
    for n in 0..40 {
        let name = format!("iqn.2003-01.org.example:disk{n}");
        let name = IscsiName::parse(name.as_bytes()).expect("a name");
        lab.targets.push((name, vec![format!("10.0.0.{n}:3260")]));
    }
    let mut talker = Talker::new(if config & 1 == 0 {
        SessionType::Normal
    } else {
        SessionType::Discovery
    });
    talker.target = (config & 2 == 0).then(|| lab.targets[0].0);
    talker
        .conn
        .set_initiator_length(if config & 4 == 0 { 8192 } else { 512 });
    let mut ttt = 0xffff_ffff;
    while let [flags, tag, high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (body, next) = tail.split_at(len);
        rest = next;
        let tag = if tag & 1 == 0 { 0xffff_ffff } else { ttt };
        // The header check refuses F and C together before the machine.
        let flags = if flags & 0x40 == 0 {
            flags & 0x80
        } else {
            0x40
        };
        if let TextAnswer::Response { ttt: next, .. } = talker.send(&mut lab, flags, tag, body) {
            ttt = next;
        }
    }
}
