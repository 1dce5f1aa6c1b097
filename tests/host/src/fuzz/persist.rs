// SPDX-License-Identifier: GPL-2.0

//! PERSISTENT RESERVE OUT commands, one after another, with the parameter
//! lists that the input says.
//!
//! Each command is: a byte for who sends it (its low bits the initiator, bit 7
//! the port), one for the service action, one for SCOPE and TYPE, one for the
//! length of the list, and the list. A list of length 24 whose first byte is
//! FFh stands for one with small keys: the next two bytes are the keys, the one
//! after that the flags.

use ferrite_proto::name::IscsiName;
use ferrite_proto::scsi::aptpl;
use ferrite_proto::scsi::command::{
    PrIn, //
    PrOut,
};
use ferrite_proto::scsi::persist::{
    self, //
    ItNexus,
    NoRoom,
    Persist,
    Ports,
    Registrant,
    Registry,
    Request,
};

/// Registrations, six at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory(pub Vec<Registrant>);

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

struct Two;

impl Ports for Two {
    fn has(&self, port: u16) -> bool {
        port == 1 || port == 2
    }
}

/// CRC32C, bit by bit.
pub fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 }
        })
    })
}

fn nexus(who: u8) -> ItNexus {
    ItNexus {
        initiator: IscsiName::parse(b"iqn.2003-01.org.example:h").expect("a name"),
        isid: [0x80, 0, 0, 0, 0, who & 3],
        port: 1 + u16::from(who >> 7),
    }
}

const ACTIONS: [PrOut; 8] = [
    PrOut::Register,
    PrOut::Reserve,
    PrOut::Release,
    PrOut::Clear,
    PrOut::Preempt,
    PrOut::PreemptAndAbort,
    PrOut::RegisterAndIgnoreExistingKey,
    PrOut::RegisterAndMove,
];

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mut unit = Persist::new(Memory::default());
    while let [who, action, kind, len, rest @ ..] = data {
        let (list, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        let mut small = [0; 24];
        let list = match list {
            [0xff, key, new_key, flags, ..] if list.len() == 24 => {
                small[7] = *key;
                small[15] = *new_key;
                small[20] = *flags;
                &small
            }
            list => list,
        };
        let request = Request {
            action: ACTIONS[usize::from(action & 7)],
            scope: kind >> 4,
            kind: kind & 0xf,
            list,
        };
        let own = nexus(*who);
        let before = unit.clone();
        let room = 2 * before.registry().all().len();
        let mut told = Vec::new();
        let done = unit.out(&own, &request, &Two, &mut |r, event| told.push((*r, event)));
        if done.is_err() {
            assert_eq!(unit, before, "refused, and yet something has changed");
            assert!(told.is_empty(), "refused, and yet others were told");
            continue;
        }
        // The module makes room for what is told, and for what is added.
        assert!(told.len() <= room);
        let all = unit.registry().all();
        assert!(all.len() <= before.registry().all().len() + persist::most_added(&request));
        assert!(told.iter().all(|(r, event)| !r.is(&own)
            || *event == persist::Event::Abort
            || request.action == PrOut::RegisterAndMove));
        assert!(all.iter().all(|r| r.key != 0));
        assert!(all.iter().filter(|r| r.holder).count() == 0 || unit.kind().is_some());
        if unit.kind().is_some() {
            assert!(!all.is_empty(), "a reservation, and nobody has registered");
        }
        for action in [
            PrIn::ReadKeys,
            PrIn::ReadReservation,
            PrIn::ReportCapabilities,
            PrIn::ReadFullStatus,
        ] {
            let len = unit.report(action, true, &mut []);
            let mut buf = vec![0xa5; len + 1];
            assert_eq!(unit.report(action, true, &mut buf), len);
            assert_eq!(buf[len], 0xa5);
        }
        // It survives a loss of power.
        let len = aptpl::write(&unit, b"serial", crc32c, &mut []);
        let mut text = vec![0; len];
        aptpl::write(&unit, b"serial", crc32c, &mut text);
        let mut memory = Memory::default();
        let kind = aptpl::read(&text, b"serial", crc32c, &mut memory).expect("what was written");
        assert_eq!((&memory, kind), (unit.registry(), unit.kind()));
    }
}
