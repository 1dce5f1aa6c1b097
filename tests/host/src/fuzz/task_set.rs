// SPDX-License-Identifier: GPL-2.0

//! Commands of one logical unit that come, would run, end and are aborted, in
//! any order: those run that SAM-5 lets run, and no others. Each byte is an
//! event: the high half says which, the low half, and the number of commands
//! there are, whose.

use std::collections::VecDeque;

use ferrite_proto::scsi::taskset::{
    Entries,
    Entry,
    Kind,
    Queue,
    TaskSet,
    ENDED,
    NO_AGE, //
};

#[derive(Debug, Default, PartialEq)]
struct Fifo(VecDeque<usize>);

impl Queue for Fifo {
    type Item = usize;
    fn new() -> Self {
        Fifo::default()
    }
    fn push(&mut self, item: usize) {
        self.0.push_back(item);
    }
    fn pop(&mut self) -> Option<usize> {
        self.0.pop_front()
    }
}

/// Room for four.
struct Few(Vec<Entry<Fifo>>);

impl Entries<Fifo> for Few {
    fn all(&self) -> &[Entry<Fifo>] {
        &self.0
    }
    fn all_mut(&mut self) -> &mut [Entry<Fifo>] {
        &mut self.0
    }
    fn push(&mut self, entry: Entry<Fifo>) -> Result<(), Entry<Fifo>> {
        if self.0.len() >= 4 {
            return Err(entry);
        }
        self.0.push(entry);
        Ok(())
    }
    fn remove(&mut self, at: usize) -> Option<Entry<Fifo>> {
        (at < self.0.len()).then(|| self.0.remove(at))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    New,
    Waits,
    Runs,
}

/// Commands that have not ended, the oldest first: what they are, their age, and
/// how far they are. The first number is theirs for ever.
struct Unit {
    set: TaskSet<Fifo, Few>,
    commands: Vec<(usize, Option<Kind>, u64, State)>,
    last: usize,
}

impl Unit {
    fn at(&self, id: usize) -> usize {
        let place = self.commands.iter().position(|command| command.0 == id);
        place.expect("it has not ended")
    }

    fn come(&mut self, kind: Option<Kind>) {
        let commands = &mut self.commands;
        let age = match kind {
            None => self.set.join().unwrap_or(NO_AGE),
            Some(kind) => {
                let entered = self.set.enter(kind, &mut |age, base| {
                    let simple = commands.iter_mut().filter(|c| c.1.is_none() && c.2 < base);
                    simple.map(|command| command.2 = age).count() as u32
                });
                match entered {
                    Ok(age) => age,
                    // It ends with TASK SET FULL.
                    Err(_) => return,
                }
            }
        };
        self.last += 1;
        self.commands.push((self.last, kind, age, State::New));
    }

    fn start(&mut self, at: usize) {
        let (id, kind, age, _) = self.commands[at];
        let runs = match kind {
            None => self.set.start(age, id),
            Some(_) => self.set.start_entry(age, id),
        };
        assert!(runs.is_none_or(|same| same == id));
        self.commands[at].3 = match runs {
            Some(_) => State::Runs,
            None => State::Waits,
        };
    }

    fn end(&mut self, at: usize) {
        let (id, kind, age, state) = self.commands[at];
        if state == State::Waits {
            let mut out = Fifo::default();
            self.set.take_if(&mut |item| *item == id, &mut out);
            assert_eq!(out.0, [id]);
        }
        self.commands.remove(at);
        assert_ne!(age, ENDED);
        let mut free = Fifo::default();
        match kind {
            None => self.set.ended(age, &mut free),
            Some(_) => self.set.entry_ended(age, &mut free),
        }
        while let Some(id) = free.pop() {
            let at = self.at(id);
            assert_eq!(self.commands[at].3, State::Waits);
            self.commands[at].3 = State::Runs;
        }
    }

    fn check(&self) {
        for (n, (_, kind, _, state)) in self.commands.iter().enumerate() {
            let older = &self.commands[..n];
            let may = match kind {
                Some(Kind::HeadOfQueue) => true,
                Some(Kind::Ordered) => older.is_empty(),
                None => older.iter().all(|command| command.1.is_none()),
            };
            assert!(*state == State::New || may == (*state == State::Runs));
        }
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut unit = Unit {
        set: TaskSet::new(Few(Vec::new())),
        commands: Vec::new(),
        last: 0,
    };
    // More of them take long, and show nothing more.
    for byte in &data[..data.len().min(512)] {
        let whose = |state: Option<State>, unit: &Unit| {
            let is = |at: &usize| state.is_none_or(|state| unit.commands[*at].3 == state);
            let all: Vec<usize> = (0..unit.commands.len()).filter(is).collect();
            all.get(usize::from(byte & 0xf) % all.len().max(1)).copied()
        };
        match byte >> 4 {
            0..=3 => unit.come(None),
            4 | 5 => unit.come(Some(Kind::Ordered)),
            6 => unit.come(Some(Kind::HeadOfQueue)),
            7..=10 => {
                if let Some(at) = whose(Some(State::New), &unit) {
                    unit.start(at);
                }
            }
            11..=13 => {
                if let Some(at) = whose(Some(State::Runs), &unit) {
                    unit.end(at);
                }
            }
            _ => {
                if let Some(at) = whose(None, &unit) {
                    unit.end(at);
                }
            }
        }
        unit.check();
    }
    while !unit.commands.is_empty() {
        unit.end(unit.commands.len() - 1);
        unit.check();
    }
    assert!(unit.set.is_empty());
}
