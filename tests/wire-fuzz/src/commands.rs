// SPDX-License-Identifier: GPL-2.0

//! SCSI commands with their parameter lists, most of them as they should be.

use crate::pdu::{op, Pdu};
use crate::rng::Rng;

/// Blocks of the disks that are fuzzed.
pub const BLOCKS: u64 = 65536;

/// A command: its CDB, and what is sent or expected.
pub struct Command {
    pub cdb: Vec<u8>,
    pub out: Vec<u8>,
    pub expect: u32,
}

impl Command {
    fn new(cdb: &[u8]) -> Self {
        Self {
            cdb: cdb.to_vec(),
            out: Vec::new(),
            expect: 0,
        }
    }

    /// Sets two, three, four or eight bytes of the CDB.
    fn put(mut self, at: usize, width: usize, value: u64) -> Self {
        self.cdb[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
        self
    }

    fn reads(mut self, count: usize) -> Self {
        self.expect = count as u32;
        self
    }

    fn writes(mut self, data: Vec<u8>) -> Self {
        self.out = data;
        self
    }

    /// The SCSI Command PDU, with all or some of the data as immediate data.
    pub fn pdu(&self, rng: &mut Rng, lun: u8, itt: u32, immediate: usize) -> Pdu {
        let mut flags = 0x80 | rng.pick(&[0u8, 1, 1, 1, 1, 1, 2, 3, 4]);
        if self.expect > 0 {
            flags |= 0x40;
        }
        if !self.out.is_empty() {
            flags |= 0x20;
        }
        let total = if self.out.is_empty() {
            self.expect
        } else {
            self.out.len() as u32
        };
        let mut pdu = Pdu::new(op::COMMAND, flags)
            .lun(lun)
            .set(16, itt)
            .set(20, total);
        let first = self.cdb.len().min(16);
        pdu.bhs[32..32 + first].copy_from_slice(&self.cdb[..first]);
        if self.cdb.len() > 16 {
            let rest = &self.cdb[16..];
            pdu.ahs.extend((rest.len() as u16 + 1).to_be_bytes());
            pdu.ahs.extend([1, 0]);
            pdu.ahs.extend(rest);
            pdu.ahs.resize(pdu.ahs.len().next_multiple_of(4), 0);
        }
        pdu.data = self.out[..self.out.len().min(immediate)].to_vec();
        pdu
    }
}

/// Blocks, and a number of them, that the disk has; now and then it does not.
fn range(rng: &mut Rng, most: usize) -> (u64, usize) {
    let count = rng.below(most + 1);
    let lba = match rng.below(12) {
        0 => rng.edge(),
        1 => BLOCKS - count as u64,
        _ => rng.below(BLOCKS as usize - most) as u64,
    };
    (lba, count)
}

/// Descriptors of devices for EXTENDED COPY: of our own disk, of another one, or of nothing.
fn cscd(rng: &mut Rng, names: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![0xe4, 0, 0, 0];
    let mut name = if names.is_empty() || rng.chance(10) {
        rng.bytes(16)
    } else {
        let n = rng.below(names.len());
        names[n].clone()
    };
    if rng.chance(5) {
        let n = rng.below(name.len());
        name[n] ^= 1 << rng.below(8);
    }
    out.extend([1, 3, 0, name.len() as u8]);
    out.extend(&name);
    out.resize(28, 0);
    out.extend([0, 0, 2, 0]);
    out
}

/// The parameter list of EXTENDED COPY.
fn copy_list(rng: &mut Rng, lid4: bool, names: &[Vec<u8>]) -> Vec<u8> {
    let mut devices = Vec::new();
    for _ in 0..1 + rng.below(3) {
        devices.extend(cscd(rng, names));
    }
    let mut segments = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let (from, count) = range(rng, 64);
        let (to, _) = range(rng, 64);
        let mut segment = vec![2, 0, 0, 0x18];
        segment.extend((rng.below(2) as u16).to_be_bytes());
        segment.extend((rng.below(2) as u16).to_be_bytes());
        segment.extend([0, 0]);
        segment.extend((count as u16).to_be_bytes());
        segment.extend(from.to_be_bytes());
        segment.extend(to.to_be_bytes());
        segments.extend(segment);
    }
    let mut list = Vec::new();
    if lid4 {
        list.extend([1, 0, 0, 0x20, 0xff, 0, 0, 0]);
        list.resize(16, 0);
        list[3] = 0;
        list.resize(48, 0);
        list[20..24].copy_from_slice(&(rng.below(4) as u32).to_be_bytes());
        list[42..44].copy_from_slice(&(devices.len() as u16).to_be_bytes());
        list[44..46].copy_from_slice(&(segments.len() as u16).to_be_bytes());
    } else {
        list.extend([rng.below(4) as u8, rng.pick(&[0u8, 0x10, 0x18])]);
        list.extend((devices.len() as u16).to_be_bytes());
        list.extend([0; 4]);
        list.extend((segments.len() as u32).to_be_bytes());
        list.extend([0; 4]);
    }
    list.extend(devices);
    list.extend(segments);
    list
}

/// The TransportID of an initiator port.
fn transport_id(rng: &mut Rng) -> Vec<u8> {
    let name = format!("iqn.2026-01.org.example:fuzz{}", rng.below(4));
    let with_isid = rng.chance(50);
    let mut text = name.into_bytes();
    if with_isid {
        text.extend(b",i,0x80feed000001");
    }
    text.push(0);
    text.resize(text.len().next_multiple_of(4).max(20), 0);
    let mut out = vec![if with_isid { 0x45 } else { 5 }, 0];
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
    out
}

/// PERSISTENT RESERVE OUT.
fn reserve_out(rng: &mut Rng) -> Command {
    let action = rng.below(9) as u8;
    let kind = rng.pick(&[1u8, 3, 5, 6, 7, 8, 0, 2]);
    let keys = [0u64, 1, 2, 3, u64::MAX];
    let mut list = Vec::new();
    list.extend(rng.pick(&keys).to_be_bytes());
    list.extend(rng.pick(&keys).to_be_bytes());
    if action == 7 {
        let id = transport_id(rng);
        list.extend([0, rng.below(4) as u8]);
        list.extend((rng.below(3) as u16).to_be_bytes());
        list.extend((id.len() as u32).to_be_bytes());
        list.extend(id);
    } else {
        list.extend([0; 4]);
        let ids = if rng.chance(30) {
            (0..1 + rng.below(3))
                .flat_map(|_| transport_id(rng))
                .collect()
        } else {
            Vec::new()
        };
        let flags = (if ids.is_empty() { 0 } else { 8 }) | rng.pick(&[0u8, 0, 0, 1, 4]);
        list.extend([flags, 0, 0, 0]);
        if !ids.is_empty() {
            list.extend((ids.len() as u32).to_be_bytes());
            list.extend(ids);
        }
    }
    Command::new(&[0x5f, action, kind, 0, 0, 0, 0, 0, 0, 0])
        .put(5, 4, list.len() as u64)
        .writes(list)
}

/// UNMAP.
fn unmap(rng: &mut Rng) -> Command {
    let mut list = vec![0; 8];
    for _ in 0..rng.below(5) {
        let (lba, count) = range(rng, 512);
        list.extend(lba.to_be_bytes());
        list.extend((count as u32).to_be_bytes());
        list.extend([0; 4]);
    }
    let len = list.len() as u16;
    list[0..2].copy_from_slice(&(len - 2).to_be_bytes());
    list[2..4].copy_from_slice(&(len - 8).to_be_bytes());
    Command::new(&[0x42, rng.below(2) as u8, 0, 0, 0, 0, 0, 0, 0, 0])
        .put(7, 2, len.into())
        .writes(list)
}

/// POPULATE TOKEN, WRITE USING TOKEN.
fn token(rng: &mut Rng, writes: bool) -> Command {
    let mut ranges = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let (lba, count) = range(rng, 256);
        ranges.extend(lba.to_be_bytes());
        ranges.extend((count as u32).to_be_bytes());
        ranges.extend([0; 4]);
    }
    let mut list = vec![0; if writes { 536 } else { 16 }];
    if writes {
        let made_up = rng.bytes(512);
        list[16..528].copy_from_slice(&made_up);
        if rng.chance(40) {
            // The token that stands for zeros.
            list[16..528].fill(0);
            list[16..24].copy_from_slice(&[0xff, 0xff, 0, 1, 0, 0, 1, 0xf8]);
        }
    }
    let at = list.len() - 2;
    list[at..].copy_from_slice(&(ranges.len() as u16).to_be_bytes());
    list.extend(ranges);
    let len = list.len() as u16;
    list[0..2].copy_from_slice(&(len - 2).to_be_bytes());
    let action = if writes { 0x11 } else { 0x10 };
    let mut cdb = [0; 16];
    cdb[0] = 0x83;
    cdb[1] = action;
    Command::new(&cdb)
        .put(6, 4, rng.below(4) as u64)
        .put(10, 4, len.into())
        .writes(list)
}

/// A WRITE of some blocks that are all the same.
pub fn write(rng: &mut Rng) -> Command {
    let count = rng.pick(&[16, 64, 128, 512]);
    let lba = rng.below(BLOCKS as usize - count);
    let mut command = Command::new(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .put(2, 4, lba as u64)
        .put(7, 2, count as u64);
    command.out = vec![rng.below(256) as u8; count * 512];
    command
}

/// A command. `names` are NAA designators of disks, whoever may use them.
pub fn command(rng: &mut Rng, names: &[Vec<u8>]) -> Command {
    let alloc = rng.pick(&[0usize, 4, 8, 36, 96, 255, 252]);
    let wide = rng.pick(&[0usize, 8, 12, 255, 512, 4096, 65535]);
    let (lba, count) = range(rng, 32);
    let size = count * 512;
    let fua = rng.pick(&[0u8, 0, 8, 0x10, 0x18]);
    match rng.below(48) {
        0 => Command::new(&[0, 0, 0, 0, 0, 0]),
        1 => Command::new(&[0x12, 0, 0, 0, alloc as u8, 0]).reads(alloc),
        2 => {
            let page = rng.pick(&[
                0u8, 0x80, 0x83, 0x86, 0x88, 0x8f, 0xb0, 0xb1, 0xb2, 0xb3, 0x85,
            ]);
            Command::new(&[0x12, 1, page, 0, 0, 0])
                .put(3, 2, wide as u64)
                .reads(wide)
        }
        3 => Command::new(&[0xa0, 0, rng.below(3) as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .put(6, 4, wide as u64)
            .reads(wide),
        4 => Command::new(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]).reads(8),
        5 | 6 => {
            let mut cdb = [0; 16];
            cdb[0] = 0x9e;
            cdb[1] = rng.pick(&[0x10u8, 0x12, 0x12]);
            Command::new(&cdb)
                .put(2, 8, lba)
                .put(10, 4, wide as u64)
                .reads(wide)
        }
        7 => {
            let page = rng.pick(&[0x3fu8, 8, 0x0a, 0x1c, 0x01, 0x02]);
            Command::new(&[0x1a, 0, page, rng.pick(&[0, 0xff]), alloc as u8, 0]).reads(alloc)
        }
        8 => {
            let page = rng.pick(&[0x3fu8, 8, 0x0a, 0x1c, 0x4a]);
            Command::new(&[0x5a, rng.pick(&[0u8, 0x10]), page, 0, 0, 0, 0, 0, 0, 0])
                .put(7, 2, wide as u64)
                .reads(wide)
        }
        9 => {
            let mut list = vec![0, 0, 0, 0, 8, 0x12, rng.pick(&[0, 4])];
            list.resize(24, 0);
            Command::new(&[0x15, 0x10, 0, 0, 24, 0]).writes(list)
        }
        10 => {
            let mut list = vec![0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x0a, rng.pick(&[2, 4, 6])];
            list.resize(20, 0);
            Command::new(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 20, 0]).writes(list)
        }
        11 => {
            let page = 0x40 | rng.pick(&[0u8, 0x0c, 0x19, 0x0d, 0x2f]);
            Command::new(&[0x4d, 0, page, 0, 0, 0, 0, 0, 0, 0])
                .put(7, 2, wide as u64)
                .reads(wide)
        }
        12 => Command::new(&[3, rng.below(2) as u8, 0, 0, alloc as u8, 0]).reads(alloc),
        13 => Command::new(&[8, 0, lba as u8, lba as u8, count as u8, 0]).reads(size),
        14 | 15 => Command::new(&[0x28, fua, 0, 0, 0, 0, 0, 0, 0, 0])
            .put(2, 4, lba)
            .put(7, 2, count as u64)
            .reads(size),
        16 => Command::new(&[0xa8, fua, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .put(2, 4, lba)
            .put(6, 4, count as u64)
            .reads(size),
        17 => {
            let mut cdb = [0; 16];
            cdb[0] = 0x88;
            Command::new(&cdb)
                .put(2, 8, lba)
                .put(10, 4, count as u64)
                .reads(size)
        }
        18 | 19 => {
            // READ, WRITE, WRITE SAME and VERIFY of 32 bytes.
            let action = rng.pick(&[0x09u16, 0x0a, 0x0b, 0x0c, 0x0d]);
            let mut cdb = [0; 32];
            cdb[0] = 0x7f;
            cdb[7] = 0x18;
            let command = Command::new(&cdb)
                .put(8, 2, action.into())
                .put(12, 8, lba)
                .put(20, 4, lba)
                .put(28, 4, count as u64);
            match action {
                9 => command.reads(size),
                0x0a => command,
                0x0d => command.writes(rng.bytes(512)),
                _ => command.writes(vec![0x5a; size]),
            }
        }
        20 => Command::new(&[0x0a, 0, lba as u8, lba as u8, count as u8, 0]).writes(vec![1; size]),
        21..=24 => Command::new(&[0x2a, fua, 0, 0, 0, 0, 0, 0, 0, 0])
            .put(2, 4, lba)
            .put(7, 2, count as u64)
            .writes(vec![count as u8; size]),
        25 => {
            let mut cdb = [0; 16];
            cdb[0] = rng.pick(&[0x8a, 0x8e, 0x8b, 0x9c]);
            let (lba, count) = range(rng, 400);
            let at = if cdb[0] == 0x9c { 12 } else { 10 };
            let width = if cdb[0] == 0x9c { 2 } else { 4 };
            Command::new(&cdb)
                .put(2, 8, lba)
                .put(at, width, count as u64)
                .writes(vec![7; count * 512])
        }
        26 => Command::new(&[0x2e, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .put(2, 4, lba)
            .put(7, 2, count as u64)
            .writes(vec![3; size]),
        27 => {
            let check = rng.pick(&[0u8, 2, 6]);
            let command = Command::new(&[0x2f, check, 0, 0, 0, 0, 0, 0, 0, 0])
                .put(2, 4, lba)
                .put(7, 2, count as u64);
            match check {
                2 => command.writes(vec![3; size]),
                6 => command.writes(vec![3; 512]),
                _ => command,
            }
        }
        28 => Command::new(&[0x35, rng.pick(&[0u8, 2]), 0, 0, 0, 0, 0, 0, 0, 0])
            .put(2, 4, lba)
            .put(7, 2, count as u64),
        29 => {
            let mut cdb = [0; 16];
            cdb[0] = 0x91;
            Command::new(&cdb).put(2, 8, lba).put(10, 4, count as u64)
        }
        30 | 31 => unmap(rng),
        32 => {
            let flags = rng.pick(&[0u8, 8, 0x10, 1]);
            let (lba, count) = range(rng, 2048);
            Command::new(&[0x41, flags, 0, 0, 0, 0, 0, 0, 0, 0])
                .put(2, 4, lba)
                .put(7, 2, count as u64)
                .writes(vec![9; 512])
        }
        33 => {
            let mut cdb = [0; 16];
            cdb[0] = 0x93;
            cdb[1] = rng.pick(&[0u8, 8, 1, 9]);
            let (lba, count) = range(rng, 2048);
            Command::new(&cdb)
                .put(2, 8, lba)
                .put(10, 4, count as u64)
                .writes(vec![9; 512])
        }
        34 | 35 => {
            let blocks = rng.below(9);
            let mut cdb = [0; 16];
            cdb[0] = 0x89;
            cdb[13] = blocks as u8;
            Command::new(&cdb)
                .put(2, 8, lba)
                .writes(vec![0; blocks * 1024])
        }
        36 => {
            let action = rng.below(5) as u8;
            Command::new(&[0x5e, action, 0, 0, 0, 0, 0, 0, 0, 0])
                .put(7, 2, wide as u64)
                .reads(wide)
        }
        37..=39 => reserve_out(rng),
        40 | 41 => {
            let lid4 = rng.chance(30);
            let list = copy_list(rng, lid4, names);
            let mut cdb = [0; 16];
            cdb[0] = 0x83;
            cdb[1] = u8::from(lid4);
            Command::new(&cdb)
                .put(10, 4, list.len() as u64)
                .writes(list)
        }
        42 => {
            let mut cdb = [0; 16];
            cdb[0] = 0x84;
            cdb[1] = rng.pick(&[0u8, 1, 3, 4, 5, 6, 7, 8]);
            cdb[2] = rng.below(4) as u8;
            Command::new(&cdb).put(10, 4, wide as u64).reads(wide)
        }
        43 => token(rng, false),
        44 => token(rng, true),
        45 => {
            let mut cdb = [0; 12];
            cdb[0] = 0xa3;
            cdb[1] = rng.pick(&[5u8, 0x0a, 0x0c, 0x0d, 0x0f, 0x2a]);
            cdb[2] = rng.pick(&[0u8, 0x80, 1, 2, 3]);
            cdb[3] = rng.next() as u8;
            Command::new(&cdb).put(6, 4, wide as u64).reads(wide)
        }
        46 => {
            let list = vec![0, 0, 0, 0, rng.below(5) as u8, 0, 0, rng.below(3) as u8];
            let mut cdb = [0; 12];
            cdb[0] = 0xa4;
            cdb[1] = 0x0a;
            Command::new(&cdb).put(6, 4, 8).writes(list)
        }
        _ => {
            let opcode = rng.pick(&[0x16u8, 0x17, 0x56, 0x57, 0x1b, 0x1e, 0x34, 0x04, 0x1d]);
            let mut cdb = [0; 10];
            cdb[0] = opcode;
            cdb[1] = rng.below(32) as u8;
            cdb[4] = rng.below(4) as u8;
            Command::new(if opcode < 0x20 { &cdb[..6] } else { &cdb })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_proto::wire::Request;
    use std::collections::BTreeSet;

    #[test]
    fn commands_are_right_before_they_are_broken() {
        let names = vec![vec![0x60; 16]];
        let mut opcodes = BTreeSet::new();
        for number in 0..5000 {
            let mut rng = Rng::new(1, &[number]);
            let command = command(&mut rng, &names);
            let pdu = command.pdu(&mut rng, 0, 1, 8192);
            assert!(matches!(command.cdb.len(), 6 | 10 | 12 | 16 | 32));
            assert!(pdu.data.len() <= command.out.len());
            assert_eq!(pdu.ahs.len() % 4, 0);
            assert!(
                matches!(Request::parse(&pdu.bhs), Ok(Request::ScsiCommand(_))),
                "{:02x?}",
                pdu.bhs
            );
            opcodes.insert(command.cdb[0]);
        }
        assert!(opcodes.len() > 40, "{opcodes:02x?}");
    }
}
