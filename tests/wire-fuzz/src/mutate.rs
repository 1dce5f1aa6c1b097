// SPDX-License-Identifier: GPL-2.0

//! What is done to a request that was right.

use crate::pdu::Pdu;
use crate::rng::Rng;

/// What can be done, to bytes, to fields, and to the order of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bit,
    Byte,
    Bytes,
    Opcode,
    Flags,
    Lun,
    Itt,
    Ttt,
    Number,
    Length,
    AhsLength,
    Ahs,
    Cdb,
    Field,
    DataByte,
    DataShort,
    DataLong,
    TextKeys,
    HeaderDigest,
    DataDigest,
    Twice,
    Late,
    Lost,
    Garbage,
    Cut,
    Pieces,
    Reset,
    HalfClose,
    Stall,
    Deaf,
}

impl Kind {
    /// All of them with their names, in order.
    pub const ALL: &'static [(Kind, &'static str)] = &[
        (Kind::Bit, "bit"),
        (Kind::Byte, "byte"),
        (Kind::Bytes, "bytes"),
        (Kind::Opcode, "opcode"),
        (Kind::Flags, "flags"),
        (Kind::Lun, "lun"),
        (Kind::Itt, "itt"),
        (Kind::Ttt, "ttt"),
        (Kind::Number, "number"),
        (Kind::Length, "length"),
        (Kind::AhsLength, "ahs-length"),
        (Kind::Ahs, "ahs"),
        (Kind::Cdb, "cdb"),
        (Kind::Field, "field"),
        (Kind::DataByte, "data-byte"),
        (Kind::DataShort, "data-short"),
        (Kind::DataLong, "data-long"),
        (Kind::TextKeys, "text-keys"),
        (Kind::HeaderDigest, "header-digest"),
        (Kind::DataDigest, "data-digest"),
        (Kind::Twice, "twice"),
        (Kind::Late, "late"),
        (Kind::Lost, "lost"),
        (Kind::Garbage, "garbage"),
        (Kind::Cut, "cut"),
        (Kind::Pieces, "pieces"),
        (Kind::Reset, "reset"),
        (Kind::HalfClose, "half-close"),
        (Kind::Stall, "stall"),
        (Kind::Deaf, "deaf"),
    ];

    /// Whether it breaks where PDUs begin and end, so that nothing that follows means anything.
    pub fn breaks_framing(self) -> bool {
        matches!(
            self,
            Kind::Length | Kind::AhsLength | Kind::Garbage | Kind::Cut
        )
    }
}

const KEYS: &[&str] = &[
    "HeaderDigest=CRC32C",
    "DataDigest=None",
    "MaxRecvDataSegmentLength=512",
    "MaxRecvDataSegmentLength=16777216",
    "MaxConnections=0",
    "MaxBurstLength=0x1000000",
    "InitialR2T=Maybe",
    "SendTargets=All",
    "SendTargets=",
    "TargetName=iqn.2026-01.org.example:none",
    "InitiatorName=",
    "AuthMethod=CHAP,None",
    "CHAP_A=5,6,7,8",
    "CHAP_I=256",
    "CHAP_R=0x00",
    "CHAP_C=0b!!!!",
    "CHAP_N=user",
    "SessionType=Discovery",
    "OFMarker=Yes",
    "X-org.example.key=1",
    "iSCSIProtocolLevel=31",
    "TaskReporting=FastAbort,ResponseFence,RFC3720",
    "DefaultTime2Wait=3601",
    "=",
    "Key",
    "A=B=C",
    "TargetAlias=\u{fffd}",
];

/// Does that to the request; what concerns more than one request is left to the caller.
pub fn apply(kind: Kind, pdu: &mut Pdu, rng: &mut Rng, tags: &[u32]) {
    // The fields that all requests have, and those that some do.
    let number = |rng: &mut Rng, old: u32| match rng.below(4) {
        0 => old.wrapping_add(1 + rng.below(3) as u32),
        1 => old.wrapping_sub(1 + rng.below(3) as u32),
        _ => rng.edge() as u32,
    };
    match kind {
        Kind::Bit => {
            let at = rng.below(48);
            pdu.bhs[at] ^= 1 << rng.below(8);
        }
        Kind::Byte => {
            let at = rng.below(48);
            pdu.bhs[at] = rng.pick(&[0, 1, 0x7f, 0x80, 0xff, rng.clone().next() as u8]);
        }
        Kind::Bytes => {
            let from = rng.below(48);
            let to = from + 1 + rng.below(48 - from);
            for at in from..to {
                pdu.bhs[at] = rng.next() as u8;
            }
        }
        Kind::Opcode => pdu.bhs[0] = rng.next() as u8,
        Kind::Flags => pdu.bhs[1] = rng.next() as u8,
        Kind::Lun => {
            let lun = match rng.below(3) {
                0 => (rng.below(8) as u64) << 48,
                1 => (0x4000 | rng.below(300) as u64) << 48,
                _ => rng.next(),
            };
            pdu.bhs[8..16].copy_from_slice(&lun.to_be_bytes());
        }
        Kind::Itt => {
            let tag = if tags.is_empty() || rng.chance(20) {
                rng.edge() as u32
            } else {
                rng.pick(tags)
            };
            pdu.put(16, tag);
        }
        Kind::Ttt => pdu.put(20, rng.edge() as u32),
        Kind::Number => {
            let at = rng.pick(&[24, 24, 28]);
            let old = u32::from_be_bytes(pdu.bhs[at..at + 4].try_into().unwrap());
            let new = number(rng, old);
            pdu.put(at, new);
        }
        Kind::Length => {
            let truth = pdu.data.len() as u32;
            let lie = match rng.below(4) {
                0 => 0xff_ffff,
                1 => truth + 1 + rng.below(8) as u32,
                2 => truth.saturating_sub(1 + rng.below(8) as u32),
                _ => rng.edge() as u32 & 0xff_ffff,
            };
            pdu.length = Some(lie);
        }
        Kind::AhsLength => pdu.ahs_length = Some(rng.next() as u8),
        Kind::Ahs => {
            let count = rng.below(9) * 4;
            pdu.ahs = rng.bytes(count);
            if count >= 4 && rng.chance(60) {
                // One that is as long as it says, of some type.
                pdu.ahs[0] = 0;
                pdu.ahs[1] = (count - 3) as u8;
                pdu.ahs[2] = rng.below(4) as u8;
            }
        }
        Kind::Cdb => {
            for _ in 0..1 + rng.below(3) {
                let at = 32 + rng.below(16);
                pdu.bhs[at] = rng.pick(&[0, 1, 0x7f, 0x80, 0xff, rng.clone().next() as u8]);
            }
        }
        Kind::Field => {
            let at = 20 + 4 * rng.below(7);
            let old = u32::from_be_bytes(pdu.bhs[at..at + 4].try_into().unwrap());
            let new = number(rng, old);
            pdu.put(at, new);
        }
        Kind::DataByte => {
            for _ in 0..1 + rng.below(4) {
                if !pdu.data.is_empty() {
                    // Headers of parameter lists are where it matters.
                    let most = if rng.chance(60) { 48 } else { usize::MAX };
                    let at = rng.below(pdu.data.len().min(most));
                    pdu.data[at] = rng.pick(&[0, 1, 0x7f, 0x80, 0xff, rng.clone().next() as u8]);
                }
            }
        }
        Kind::DataShort => {
            let count = rng.below(pdu.data.len() + 1);
            pdu.data.truncate(count);
        }
        Kind::DataLong => {
            let count = rng.pick(&[1, 3, 4, 512, 4096, 9000, 70_000]);
            pdu.data.extend(rng.bytes(count));
        }
        Kind::TextKeys => {
            for _ in 0..1 + rng.below(4) {
                pdu.data.extend(rng.pick(KEYS).as_bytes());
                if rng.chance(90) {
                    pdu.data.push(0);
                }
            }
        }
        Kind::HeaderDigest => pdu.digests.0 = 1 << rng.below(8),
        Kind::DataDigest => pdu.digests.1 = 1 << rng.below(8),
        Kind::Cut => pdu.cut = Some(rng.below(60)),
        // These concern more than one request, or the connection.
        Kind::Twice
        | Kind::Late
        | Kind::Lost
        | Kind::Garbage
        | Kind::Pieces
        | Kind::Reset
        | Kind::HalfClose
        | Kind::Stall
        | Kind::Deaf => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdu::op;

    #[test]
    fn each_mutation_of_a_request_changes_what_is_sent() {
        let pdu = Pdu::new(op::COMMAND, 0xa1).data(vec![5; 64]);
        let right = pdu.bytes(true, true);
        // The others concern more than one request, or the connection.
        let last = Kind::ALL
            .iter()
            .position(|(kind, _)| *kind == Kind::DataDigest);
        for (at, (kind, name)) in Kind::ALL.iter().enumerate() {
            let changed = (0..50).any(|number| {
                let mut broken = pdu.clone();
                apply(*kind, &mut broken, &mut Rng::new(2, &[number]), &[1, 2]);
                broken.bytes(true, true) != right
            });
            let own = Some(at) <= last || *kind == Kind::Cut;
            assert_eq!(changed, own, "{name}");
        }
    }

    #[test]
    fn the_same_seed_breaks_the_same() {
        for (kind, _) in Kind::ALL {
            let broken = || {
                let mut pdu = Pdu::new(op::LOGIN, 0x87).data(b"A=B\0".to_vec());
                apply(*kind, &mut pdu, &mut Rng::new(3, &[4]), &[]);
                pdu.bytes(true, true)
            };
            assert_eq!(broken(), broken());
        }
    }
}
