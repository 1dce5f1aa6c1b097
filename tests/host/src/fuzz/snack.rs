// SPDX-License-Identifier: GPL-2.0

//! What is kept to be sent again, beside a model of it in numbers that do not
//! wrap; and what a response waits for on other connections.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use arbitrary::Unstructured;
use ferrite_proto::fence::{
    Fence,
    MAX_MARKS, //
};
use ferrite_proto::serial::Sn;
use ferrite_proto::snack::{
    Retained,
    Run,
    MAX_RETAINED, //
};
use ferrite_proto::wire::RejectReason;

#[derive(Arbitrary, Debug)]
enum Event {
    Push { count: u8 },
    Acknowledge { offset: i16 },
    FarAcknowledge { exp_stat_sn: u32 },
    Forget,
    Ask { offset: i16, length: u16 },
    AskAny { beg_run: u32, run_length: u32 },
    Fence { marks: Vec<(u8, u8)> },
    Told { cid: u8, offset: u8 },
    Gone { cid: u8 },
}

/// Where the model's numbers begin, so that there are some before.
const BASE: u64 = 1 << 40;

struct Model {
    first: u32,
    acknowledged: u64,
    kept: u64,
    next: u64,
}

impl Model {
    fn sn(&self, number: u64) -> u32 {
        // The low 32 bits are what the wire has.
        self.first.wrapping_add(number.wrapping_sub(BASE) as u32)
    }

    /// A number near the next one.
    fn near(&self, offset: i16) -> u32 {
        self.sn(self.next.wrapping_add_signed(offset.into()))
    }

    fn ask(&self, beg_run: u32, run_length: u32) -> Result<Run, RejectReason> {
        let sent = self.next - self.acknowledged;
        let (from, count) = if beg_run == 0 && run_length == 0 {
            (self.acknowledged, sent)
        } else {
            let skipped = u64::from(beg_run.wrapping_sub(self.sn(self.acknowledged)));
            if skipped >= sent || u64::from(run_length) > sent - skipped {
                return Err(RejectReason::ProtocolError);
            }
            let left = match run_length {
                0 => sent - skipped,
                count => count.into(),
            };
            (self.acknowledged + skipped, left)
        };
        if count != 0 && from < self.kept {
            return Err(RejectReason::SnackReject);
        }
        Ok(Run {
            first: self.sn(from),
            count: u32::try_from(count).expect("far less"),
        })
    }
}

/// The bytes are a first StatSN and events.
pub fn run(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let Ok(first) = data.arbitrary::<u32>() else {
        return;
    };
    let mut kept = Retained::new(Sn(first));
    let mut model = Model {
        first,
        acknowledged: BASE,
        kept: BASE,
        next: BASE,
    };
    let mut fence = Fence::new();
    let mut marks: BTreeMap<u16, u8> = BTreeMap::new();
    while !data.is_empty() {
        let Ok(event) = data.arbitrary::<Event>() else {
            break;
        };
        match event {
            Event::Push { count } => {
                for _ in 0..count {
                    assert_eq!(kept.push().0, model.sn(model.next));
                    model.next += 1;
                    model.kept = model.kept.max(model.next - u64::from(MAX_RETAINED));
                }
            }
            Event::Acknowledge { offset } => {
                let exp_stat_sn = model.near(offset);
                acknowledge(&mut kept, &mut model, exp_stat_sn);
            }
            Event::FarAcknowledge { exp_stat_sn } => {
                acknowledge(&mut kept, &mut model, exp_stat_sn)
            }
            Event::Forget => {
                let oldest = (model.kept != model.next).then_some(model.sn(model.kept));
                assert_eq!(kept.forget().map(|sn| sn.0), oldest);
                model.kept += u64::from(oldest.is_some());
            }
            Event::Ask { offset, length } => {
                let (from, length) = (model.near(offset), length.into());
                assert_eq!(kept.run(from, length), model.ask(from, length));
            }
            Event::AskAny {
                beg_run,
                run_length,
            } => assert_eq!(
                kept.run(beg_run, run_length),
                model.ask(beg_run, run_length)
            ),
            Event::Fence { marks: new } => {
                fence = Fence::new();
                marks.clear();
                for (cid, ahead) in new {
                    let cid = cid.into();
                    let there = ahead == 0 || marks.contains_key(&cid);
                    let room = marks.len() < MAX_MARKS;
                    let next = Sn(first.wrapping_add(ahead.into()));
                    assert_eq!(fence.note(cid, next, Sn(first)), there || room);
                    if !there && room {
                        marks.insert(cid, ahead);
                    }
                }
            }
            Event::Told { cid, offset } => {
                fence.acknowledge(cid.into(), Sn(first.wrapping_add(offset.into())));
                marks.retain(|of, ahead| *of != u16::from(cid) || *ahead > offset);
            }
            Event::Gone { cid } => {
                fence.keep(|of| of != u16::from(cid));
                marks.remove(&cid.into());
            }
        }
        let mut all = kept.all();
        assert_eq!(all.first, model.sn(model.kept));
        assert_eq!(u64::from(all.count), model.next - model.kept);
        assert!(all.count <= MAX_RETAINED);
        // No two of them have one place.
        let mut places = [false; MAX_RETAINED as usize];
        while let Some(sn) = all.take() {
            let place = &mut places[Retained::place(Sn(sn))];
            assert!(!std::mem::replace(place, true));
        }
        assert_eq!(fence.is_clear(), marks.is_empty());
    }
}

/// What has not been sent yet cannot have been received.
fn acknowledge(kept: &mut Retained, model: &mut Model, exp_stat_sn: u32) {
    let ahead = u64::from(exp_stat_sn.wrapping_sub(model.sn(model.acknowledged)));
    let freed = kept.acknowledge(Sn(exp_stat_sn));
    if ahead > model.next - model.acknowledged {
        assert_eq!(freed.count, 0);
        return;
    }
    model.acknowledged += ahead;
    let to = model.kept.max(model.acknowledged);
    assert_eq!(u64::from(freed.count), to - model.kept);
    assert!(freed.count == 0 || freed.first == model.sn(model.kept));
    model.kept = to;
}
