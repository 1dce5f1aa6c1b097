// SPDX-License-Identifier: GPL-2.0

//! The data of a write at ErrorRecoveryLevel 1, of which anything may be lost,
//! late or bad: no byte counts as received that did not come well, and what can
//! still be asked for comes to its end.

use arbitrary::Arbitrary;
use arbitrary::Unstructured;
use ferrite_proto::transfer::*;

#[derive(Arbitrary, Debug)]
struct Command {
    edtl: u16,
    wanted: Option<u16>,
    immediate_len: u16,
    final_bit: bool,
    first_burst: u16,
    max_burst: u16,
    bad: bool,
}

#[derive(Arbitrary, Debug)]
enum Event {
    /// The next part of what was asked for, or of what comes unasked.
    Next { len: u16, bad: bool },
    /// The same, to the end of its sequence.
    Rest { bad: bool },
    /// The next part does not come.
    Missing { len: u16 },
    /// Anything.
    Any {
        slot: Option<u8>,
        data_sn: u8,
        offset: u16,
        len: u16,
        final_bit: bool,
        bad: bool,
    },
    /// What is due has not come in time.
    Lose,
}

/// What comes of one sequence: its R2T, where it goes on and ends, and its next
/// DataSN.
type Sequence = (Option<u8>, u32, u32, u32);

struct Write {
    plan: WritePlan,
    /// Whether each byte in the buffer is the right one.
    good: Vec<bool>,
    wanted: usize,
    sequence: Option<Sequence>,
}

impl Write {
    fn store(&mut self, offset: u32, kept: u32, bad: bool) {
        if kept != 0 {
            self.good[offset as usize..][..kept as usize].fill(!bad);
        }
    }

    /// As the module does: what cannot be asked for again ends the task.
    fn spoil(&mut self, offset: u32, final_bit: bool) {
        if !self.plan.discard(offset, final_bit) {
            self.plan.stop();
        }
    }

    fn send(&mut self, pdu: DataOutHdr, bad: bool) {
        if let Ok(kept) = self.plan.data_out(pdu) {
            self.store(pdu.offset, kept, bad);
        }
        if bad {
            self.spoil(pdu.offset, pdu.final_bit);
        }
        self.check();
    }

    /// The next part of the sequence comes, or does not.
    fn next(&mut self, len: u32, bad: bool, comes: bool) {
        let Some((slot, from, to, data_sn)) = self.sequence else {
            return;
        };
        let len = len.min(to - from);
        let last = from + len == to;
        self.sequence = (!last).then_some((slot, from + len, to, data_sn + 1));
        if comes {
            let pdu = DataOutHdr {
                ttt_index: slot,
                data_sn,
                offset: from,
                len,
                final_bit: last,
            };
            self.send(pdu, bad);
        }
    }

    fn ask(&mut self) -> bool {
        let Some(cut) = self.plan.next_r2t() else {
            return false;
        };
        assert!(cut.len != 0 && (cut.offset + cut.len) as usize <= self.wanted);
        assert!(cut.offset <= self.plan.received());
        assert_eq!(self.plan.open_r2t(), Some(cut));
        self.sequence = Some((Some(cut.slot), cut.offset, cut.offset + cut.len, 0));
        true
    }

    fn check(&self) {
        let received = self.plan.received() as usize;
        assert!(received <= self.good.len());
        assert!(self.plan.outstanding_r2ts() <= 1);
        if !self.plan.is_stopped() {
            assert!(self.good[..received.min(self.wanted)]
                .iter()
                .all(|good| *good));
        }
        assert!(!self.plan.is_complete() || received >= self.wanted);
    }
}

/// The bytes are a command and events.
pub fn run(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let Ok(command) = data.arbitrary::<Command>() else {
        return;
    };
    let edtl = u32::from(command.edtl);
    let params = WriteParams {
        edtl,
        wanted: command.wanted.map_or(edtl, u32::from),
        immediate_len: command.immediate_len.into(),
        final_bit: command.final_bit,
        initial_r2t: false,
        immediate_data: true,
        first_burst: u32::from(command.first_burst).max(512),
        max_burst: command.max_burst.into(),
        max_outstanding_r2t: 8,
        recovers: true,
    };
    let Ok(plan) = WritePlan::new(&params) else {
        return;
    };
    let unasked = (None, params.immediate_len, params.first_burst.min(edtl), 0);
    let mut write = Write {
        plan,
        good: vec![false; command.edtl.into()],
        wanted: params.wanted.min(edtl) as usize,
        sequence: (!params.final_bit).then_some(unasked),
    };
    let kept = write.plan.kept(0, params.immediate_len);
    write.store(0, kept, command.bad);
    if command.bad && params.immediate_len != 0 {
        write.spoil(0, params.final_bit);
    }
    write.check();
    while !data.is_empty() {
        let Ok(event) = data.arbitrary::<Event>() else {
            break;
        };
        write.ask();
        match event {
            Event::Next { len, bad } => write.next(len.into(), bad, true),
            Event::Rest { bad } => write.next(u32::MAX, bad, true),
            Event::Missing { len } => write.next(len.into(), false, false),
            Event::Any {
                slot,
                data_sn,
                offset,
                len,
                final_bit,
                bad,
            } => write.send(
                DataOutHdr {
                    ttt_index: slot,
                    data_sn: data_sn.into(),
                    offset: offset.into(),
                    len: len.into(),
                    final_bit,
                },
                bad,
            ),
            Event::Lose => {
                if write.plan.lose() {
                    write.sequence = None;
                }
                write.check();
            }
        }
    }
    // From here on all goes well.
    for _ in 0..400 {
        if write.plan.is_complete() || write.plan.is_stopped() {
            return;
        }
        if write.ask() {
            write.next(u32::MAX, false, true);
        } else {
            assert!(
                !write.plan.is_settled(),
                "nothing is due, and not all is there"
            );
            if !write.plan.lose() {
                // It has been asked for too often.
                return;
            }
        }
    }
    panic!("it never ends: {:?}", write.plan);
}
