// SPDX-License-Identifier: GPL-2.0

//! Texts that stand for one value: names, patterns of names, designators,
//! how full a pool is, and lines of a map of referrals. The first byte says
//! which it is.

use ferrite_proto::{
    group::{
        GroupName,
        Pattern, //
    },
    name::IscsiName,
    scsi::{
        pool::Pool,
        referrals::{
            Geometry,
            Referrals,
            Segment,
            MAX_MEMBERS, //
        },
        unit_id::{
            Eui64,
            Naa,
            MAX_LEN,
            T10, //
        }, //
    },
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((which, text)) = data.split_first() else {
        return;
    };
    match which % 5 {
        0 => name(text),
        1 => group(text),
        2 => designators(text),
        3 => pool(text),
        _ => referrals(text),
    }
}

/// A name is fit for a directory and for a line of the log, and is its own
/// name.
fn name(text: &[u8]) {
    let Ok(name) = IscsiName::parse(text) else {
        return;
    };
    assert!(!name.as_str().contains(|c: char| c.is_control()
        || c.is_whitespace()
        || c == '/'
        || c.is_ascii_uppercase()));
    assert_eq!(IscsiName::parse(name.as_bytes()), Ok(name));
    assert!(name
        .as_str()
        .eq_ignore_ascii_case(std::str::from_utf8(text).expect("a name is text")));
    assert!(!GroupName::is_meant(text));
}

/// A pattern, and after a line's end a name that it may describe.
fn group(text: &[u8]) {
    let mut lines = text.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (lines.next().unwrap_or(b""), lines.next().unwrap_or(b""));
    if let Ok(name) = GroupName::parse(first) {
        assert!(GroupName::is_meant(first));
        assert_eq!(name.as_str().as_bytes(), first);
    }
    let (Ok(pattern), Ok(name)) = (Pattern::parse(first), IscsiName::parse(second)) else {
        return;
    };
    assert_eq!(Pattern::parse(pattern.as_str().as_bytes()), Ok(pattern));
    let closeness = pattern.closeness(&name);
    assert_eq!(
        closeness.is_some(),
        describes(pattern.as_str().as_bytes(), name.as_bytes())
    );
    let itself = Pattern::parse(name.as_bytes()).expect("a name is a pattern");
    assert!(closeness.is_none_or(|c| itself.closeness(&name) >= Some(c)));
}

/// The same, with a table of all beginnings.
fn describes(pattern: &[u8], text: &[u8]) -> bool {
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for byte in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match byte {
                b'*' => fits[at] || at > 0 && next[at - 1],
                byte => at > 0 && fits[at - 1] && text[at - 1] == *byte,
            };
        }
        fits = next;
    }
    fits[text.len()]
}

/// What was read is written as something that reads the same.
fn designators(text: &[u8]) {
    if let Some(naa) = Naa::parse(text) {
        assert_eq!(Naa::parse(naa.to_string().as_bytes()), Some(naa));
        assert!(matches!(
            naa.bytes(0x123456, b"serial").get().len(),
            0 | 8 | 16
        ));
    }
    if let Some(eui64) = Eui64::parse(text) {
        assert_eq!(Eui64::parse(eui64.to_string().as_bytes()), Some(eui64));
        assert!(matches!(eui64.get().len(), 0 | 8 | 12 | 16));
    }
    if let Some(t10) = T10::parse(text) {
        let (is_text, bytes) = t10.bytes();
        let bytes: Vec<u8> = bytes.collect();
        assert!(t10 == T10::Made || (9..=MAX_LEN).contains(&bytes.len()));
        assert!(!is_text || bytes.iter().all(|byte| (b' '..=b'~').contains(byte)));
    }
}

fn pool(text: &[u8]) {
    let Some((threshold, text)) = text.split_first() else {
        return;
    };
    let Some(pool) = Pool::parse(text, *threshold) else {
        return;
    };
    assert!(pool.used() <= pool.size() && pool.threshold() <= 100 && pool.percent() <= 100);
    let told = match pool.is_known() {
        true => format!("{}/{}", pool.used(), pool.size()),
        false => "none".into(),
    };
    assert_eq!(Pool::parse(told.as_bytes(), *threshold), Some(pool));
    for block_size in [512, 4096] {
        assert!(pool.threshold_exponent(block_size) <= 11);
    }
    assert!(!pool.is_reached() || pool.threshold_sets().is_some());
}

/// The first line is the geometry, each other one a segment.
fn referrals(text: &[u8]) {
    let mut lines = text.split(|byte| *byte == b'\n');
    let Ok(geometry) = Geometry::parse(lines.next().unwrap_or(b"")) else {
        return;
    };
    let segments: Vec<Segment> = lines.filter_map(|line| Segment::parse(line).ok()).collect();
    for segment in &segments {
        assert!(segment.first <= segment.last);
        let groups: Vec<u16> = segment.members().map(|(group, _)| group).collect();
        assert!((1..=MAX_MEMBERS).contains(&groups.len()));
        assert!((1..groups.len()).all(|n| !groups[..n].contains(&groups[n])));
    }
    let map = Referrals {
        geometry,
        segments: &segments,
    };
    if map.check().is_err() {
        return;
    }
    let ends = segments.iter().flat_map(|s| [s.first, s.last]);
    for lba in ends.chain([0, u64::MAX]) {
        for blocks in [0, 1, 8, u64::MAX] {
            for group in [0, 1, u16::MAX] {
                if let Some((at, _)) = map.refuses(lba, blocks, group) {
                    assert!(at >= lba && at - lba < blocks);
                }
            }
        }
    }
}
