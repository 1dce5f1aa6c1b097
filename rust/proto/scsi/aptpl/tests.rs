// SPDX-License-Identifier: GPL-2.0

use super::super::command::PrOut;
use super::super::persist::{
    NoRoom, //
    Ports,
    Request,
};
use super::*;
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Memory(Vec<Registrant>);

impl Registry for Memory {
    fn all(&self) -> &[Registrant] {
        &self.0
    }
    fn all_mut(&mut self) -> &mut [Registrant] {
        &mut self.0
    }
    fn push(&mut self, new: Registrant) -> Result<(), NoRoom> {
        if self.0.len() >= 6 {
            return Err(NoRoom);
        }
        self.0.push(new);
        Ok(())
    }
    fn retain(&mut self, keep: &mut dyn FnMut(&Registrant) -> bool) {
        self.0.retain(|r| keep(r));
    }
}

struct Three;

impl Ports for Three {
    fn has(&self, port: u16) -> bool {
        (1..=3).contains(&port)
    }
}

/// CRC32C, bit by bit.
fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 }
        })
    })
}

const SERIAL: &[u8] = b"0a1b2c3d";

fn nexus(n: u8, port: u16) -> ItNexus {
    ItNexus {
        initiator: IscsiName::parse(format!("iqn.2003-01.org.example:host{n}").as_bytes()).unwrap(),
        isid: [0x80, 0, 0, 0, 0, n],
        port,
    }
}

fn list(key: u64, new_key: u64, flags: u8) -> Vec<u8> {
    let mut list = Vec::new();
    list.extend(key.to_be_bytes());
    list.extend(new_key.to_be_bytes());
    list.extend([0, 0, 0, 0, flags, 0, 0, 0]);
    list
}

fn go(unit: &mut Persist<Memory>, who: &ItNexus, action: PrOut, kind: u8, list: &[u8]) -> bool {
    let request = Request {
        action,
        scope: 0,
        kind,
        list,
    };
    unit.out(who, &request, &Three, &mut |_, _| {}).is_ok()
}

/// Two have registered, one for all ports; the other holds a reservation.
fn example() -> Persist<Memory> {
    let mut unit = Persist::new(Memory::default());
    let (a, b) = (nexus(1, 1), nexus(2, 0x203));
    assert!(go(&mut unit, &a, PrOut::Register, 0, &list(0, 0xab, 1)));
    assert!(go(&mut unit, &b, PrOut::Register, 0, &list(0, 0xcd, 5)));
    assert!(go(&mut unit, &a, PrOut::Reserve, 5, &list(0xab, 0, 0)));
    unit
}

fn written(unit: &Persist<Memory>) -> Vec<u8> {
    let len = write(unit, SERIAL, crc, &mut []);
    assert!(len <= max_len(unit.registry().all().len()));
    let mut text = vec![0xa5; len + 3];
    assert_eq!(write(unit, SERIAL, crc, &mut text), len);
    assert_eq!(text.split_off(len), [0xa5; 3]);
    text
}

fn back(text: &[u8]) -> Result<Persist<Memory>, Fault> {
    let mut memory = Memory::default();
    let kind = read(text, SERIAL, crc, &mut memory)?;
    Ok(Persist::restored(memory, kind))
}

/// A text with its last line put right.
fn sealed(body: &str) -> Vec<u8> {
    let count = body.matches("\nregistration ").count();
    let text = format!("{body}end {count:04x} ");
    format!("{text}{:08x}\n", crc(text.as_bytes())).into_bytes()
}

const HEAD: &str = "ferrite persistent reservations 1\nserial 0a1b2c3d\n";

#[test]
fn the_format_is_this_one() {
    let text = written(&example());
    let expected = format!(
        "{HEAD}type 5\n\
         registration 00000000000000ab 800000000001 0001 h iqn.2003-01.org.example:host1\n\
         registration 00000000000000cd 800000000002 0203 a iqn.2003-01.org.example:host2\n"
    );
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.strip_prefix(&expected), Some("end 0002 a99cff5a\n"));
    assert_eq!(text.into_bytes(), sealed(&expected));
}

#[test]
fn what_was_written_comes_back() {
    let unit = example();
    let restored = back(&written(&unit)).unwrap();
    assert_eq!(restored.registry(), unit.registry());
    assert_eq!(restored.kind(), unit.kind());
    assert!(restored.is_persistent());
    assert_eq!(restored.generation(), 0);
    let none = Persist::new(Memory::default());
    assert_eq!(back(&written(&none)).unwrap().registry().0, []);
}

#[test]
fn no_prefix_is_taken() {
    let text = written(&example());
    for len in 0..text.len() {
        assert_eq!(back(&text[..len]), Err(Fault::Truncated), "{len} bytes");
    }
}

#[test]
fn no_change_of_a_byte_is_taken() {
    let text = written(&example());
    for at in 0..text.len() {
        for flip in [1, 0x20, 0x80] {
            let mut text = text.clone();
            text[at] ^= flip;
            // The CRC's own digits are taken in either case.
            let seen = back(&text);
            let folded = text.to_ascii_lowercase() == written(&example());
            assert!(seen.is_err() || folded, "byte {at} ^ {flip:#x}: {seen:?}");
        }
    }
}

#[test]
fn what_is_wrong_is_told() {
    let text = written(&example());
    let mut memory = Memory::default();
    assert_eq!(
        read(&text, b"0a1b2c3", crc, &mut memory),
        Err(Fault::Serial)
    );
    let other = |from: &str, to: &str| {
        let text = String::from_utf8(text.clone()).unwrap();
        let body = &text[..text.len() - LAST_LINE];
        assert!(body.contains(from));
        back(&sealed(&body.replace(from, to))).unwrap_err()
    };
    assert_eq!(other("reservations 1", "reservations 2"), Fault::Version);
    assert_eq!(other("ferrite", "Ferrite"), Fault::Foreign);
    assert_eq!(other("type 5", "type 2"), Fault::Line(3));
    assert_eq!(other("type 5", "type 05"), Fault::Line(3));
    assert_eq!(other("type 5", "type 0"), Fault::Holder);
    assert_eq!(other("0001 h", "0001 -"), Fault::Holder);
    assert_eq!(other("0001 h", "0001 H"), Fault::Line(4));
    assert_eq!(other("0001 h", "1 h"), Fault::Line(4));
    assert_eq!(other("0203 a iqn.", "0203 a iq."), Fault::Line(5));
    assert_eq!(
        other("00000000000000cd", "0000000000000000"),
        Fault::Line(5)
    );
    assert_eq!(
        other(
            "800000000002 0203 a iqn.2003-01.org.example:host2",
            "800000000001 0001 a iqn.2003-01.org.example:host1"
        ),
        Fault::Line(5),
        "the same initiator port twice"
    );
    assert_eq!(back(b"something else\n"), Err(Fault::Foreign));
    assert_eq!(
        back(&sealed(&format!("{HEAD}type 7\n"))),
        Err(Fault::Holder),
        "all registrants, and there are none"
    );
    let many: String = (0..7)
        .map(|n| {
            format!(
                "registration 0000000000000001 80000000000{n} 0001 - iqn.2003-01.org.example:h\n"
            )
        })
        .collect();
    assert_eq!(
        back(&sealed(&format!("{HEAD}type 0\n{many}"))),
        Err(Fault::TooMany)
    );
    let text = format!("{HEAD}type 0\nend 0001 ");
    let text = format!("{text}{:08x}\n", crc(text.as_bytes()));
    assert_eq!(back(text.as_bytes()), Err(Fault::Count));
    assert_eq!(format!("{}", Fault::Line(7)), "is wrong in line 7");
}

#[test]
fn names_of_files() {
    let name = |serial: &[u8]| {
        let mut out = [0; MAX_NAME];
        let len = file_name(serial, &mut out)?;
        Some(String::from_utf8(out[..len].to_vec()).unwrap())
    };
    assert_eq!(name(b""), None);
    assert_eq!(name(b"0a-B_.9").as_deref(), Some("aptpl_0a-B_.9"));
    assert_eq!(name(b"../a b").as_deref(), Some("aptpl_..%2fa%20b"));
    assert_eq!(name(&[b'x'; MAX_NAME - 6]).map(|n| n.len()), Some(MAX_NAME));
    assert_eq!(name(&[b'x'; MAX_NAME - 5]), None);
    assert_eq!(name(&[b'/'; MAX_NAME / 3]), None);
}

proptest! {
    /// Whatever initiators have done, it can be written down and comes back,
    /// and everybody stands where he stood.
    #[test]
    fn any_state_comes_back(steps in proptest::collection::vec(
        (0u8..4, 1u16..4, 0u8..8, 0u8..10, 0u64..4, 0u64..4, 0u8..8),
        0..40,
    )) {
        let mut unit = Persist::new(Memory::default());
        for (n, port, action, kind, key, new_key, flags) in steps {
            let action = match action {
                0 => PrOut::Register,
                1 => PrOut::Reserve,
                2 => PrOut::Release,
                3 => PrOut::Clear,
                4 => PrOut::Preempt,
                5 => PrOut::PreemptAndAbort,
                _ => PrOut::RegisterAndIgnoreExistingKey,
            };
            go(&mut unit, &nexus(n, port), action, kind, &list(key, new_key, flags & 5));
            let restored = back(&written(&unit)).unwrap();
            prop_assert_eq!(restored.registry(), unit.registry());
            prop_assert_eq!(restored.kind(), unit.kind());
            for (n, port) in (0..5).flat_map(|n| (1..4).map(move |port| (n, port))) {
                prop_assert_eq!(restored.standing(&nexus(n, port)), unit.standing(&nexus(n, port)));
            }
        }
    }

    /// Whatever is read is refused or taken, and nothing else happens.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = back(&bytes);
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let _ = back(&sealed(&format!("{HEAD}{body}\n")));
    }
}
