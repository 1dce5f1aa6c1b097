// SPDX-License-Identifier: GPL-2.0

//! Anything that can happen to a command window, beside a model of it in
//! numbers that do not wrap.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use arbitrary::Unstructured;
use ferrite_proto::serial::Sn;
use ferrite_proto::window::Admit;
use ferrite_proto::window::CmdWindow;
use ferrite_proto::window::MAX_DEPTH;

/// Offsets are from ExpCmdSN.
#[derive(Arbitrary, Debug)]
enum Event {
    Command { offset: i16 },
    FarCommand { cmd_sn: u32 },
    Immediate { cmd_sn: u32 },
    Release { finished: u8 },
    Depth { depth: u16 },
    Plug { offset: i16 },
    Forget { offset: i16 },
    Deliver,
}

struct Model {
    first: u32,
    exp: u64,
    max: u64,
    depth: u64,
    unfinished: u64,
    held: BTreeSet<u64>,
    plugged: BTreeSet<u64>,
}

/// Where the model's numbers begin, so that there are some before.
const BASE: u64 = 1 << 40;

impl Model {
    fn sn(&self, number: u64) -> Sn {
        // The low 32 bits are what the wire has.
        Sn(self.first.wrapping_add(number.wrapping_sub(BASE) as u32))
    }

    /// The number near ExpCmdSN that the wire's number stands for.
    fn number(&self, sn: Sn) -> u64 {
        let ahead = sn.distance(self.sn(self.exp));
        self.exp.wrapping_add_signed(i64::from(ahead as i32))
    }

    fn near(&self, offset: i16) -> u64 {
        self.exp.wrapping_add_signed(offset.into())
    }

    fn inside(&self, number: u64) -> bool {
        (self.exp..=self.max).contains(&number)
    }

    fn settle(&mut self) {
        while self.plugged.remove(&self.exp) {
            self.exp += 1;
        }
        let most = self.exp - 1 + self.depth.saturating_sub(self.unfinished);
        self.max = self.max.max(most);
    }

    fn deliver(&mut self) {
        self.unfinished += 1;
        self.exp += 1;
        self.settle();
    }

    fn command(&mut self, number: u64) -> Admit {
        if !self.inside(number) || self.held.contains(&number) || self.plugged.contains(&number) {
            Admit::Ignore
        } else if number == self.exp {
            self.deliver();
            Admit::Now
        } else {
            self.held.insert(number);
            Admit::Hold
        }
    }
}

/// The bytes are a first CmdSN, a depth and events.
pub fn run(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let Ok((first, depth)) = data.arbitrary::<(u32, u16)>() else {
        return;
    };
    let mut window = CmdWindow::new(Sn(first), depth.into());
    let depth = u64::from(u32::from(depth).clamp(1, MAX_DEPTH));
    let mut model = Model {
        first,
        exp: BASE,
        max: BASE + depth - 1,
        depth,
        unfinished: 0,
        held: BTreeSet::new(),
        plugged: BTreeSet::new(),
    };
    while !data.is_empty() {
        let Ok(event) = data.arbitrary::<Event>() else {
            break;
        };
        let (exp, max) = (model.exp, model.max);
        match event {
            Event::Command { offset } => {
                let number = model.near(offset);
                let admit = window.admit(model.sn(number), false);
                assert_eq!(admit, model.command(number), "{event:?}");
            }
            Event::FarCommand { cmd_sn } => {
                let number = model.number(Sn(cmd_sn));
                let admit = window.admit(Sn(cmd_sn), false);
                assert_eq!(admit, model.command(number), "{event:?}");
            }
            Event::Immediate { cmd_sn } => {
                assert_eq!(window.admit(Sn(cmd_sn), true), Admit::Now);
            }
            Event::Release { finished } => {
                let finished = u64::from(finished).min(model.unfinished);
                model.unfinished -= finished;
                model.settle();
                let moved = window.release(u32::try_from(finished).expect("a byte"));
                assert_eq!(moved, model.max > max);
            }
            Event::Depth { depth } => {
                model.depth = u64::from(u32::from(depth).clamp(1, MAX_DEPTH));
                model.settle();
                assert_eq!(window.set_depth(depth.into()), model.max > max);
            }
            Event::Plug { offset } => {
                let number = model.near(offset);
                let inside = model.inside(number);
                assert_eq!(window.plug(model.sn(number)), inside);
                if inside {
                    model.held.remove(&number);
                    model.plugged.insert(number);
                    model.settle();
                }
            }
            Event::Forget { offset } => {
                let number = model.near(offset);
                let was_held = model.held.remove(&number);
                assert_eq!(window.forget(model.sn(number)), was_held);
            }
            Event::Deliver => {
                let held = model.held.remove(&model.exp);
                let next = model.sn(model.exp);
                assert_eq!(window.is_next(next), held);
                assert_eq!(window.next_held(), held.then_some(next));
                assert_eq!(window.advance(), held);
                if held {
                    model.deliver();
                }
            }
        }
        assert!(model.exp >= exp && model.max >= max && model.max + 1 >= model.exp);
        assert!(model.max + 1 - model.exp <= MAX_DEPTH.into());
        assert_eq!(window.exp_cmd_sn(), model.sn(model.exp));
        assert_eq!(window.max_cmd_sn(), model.sn(model.max));
        assert_eq!(u64::from(window.unfinished()), model.unfinished);
        assert_eq!(u64::from(window.depth()), model.depth);
        assert_eq!(window.is_closed(), model.max < model.exp);
    }
}
