// SPDX-License-Identifier: GPL-2.0

//! The order in which the commands of a logical unit may run (SAM-5, "Task set
//! management": SIMPLE, ORDERED and HEAD OF QUEUE).
//!
//! The rules, of which [`TaskSet`] is an implementation:
//!
//! - A HEAD OF QUEUE command runs at once.
//! - An ORDERED command runs when all older commands have ended.
//! - A SIMPLE command runs when all older HEAD OF QUEUE and ORDERED commands
//!   have ended.
//!
//! As long as all are SIMPLE nobody needs to be told of any command: there is
//! no entry, and nothing is counted. The first other command makes an entry,
//! and counts by then what it finds. From there on each command that comes is
//! told of, gets an age, and is told of again when it may start and when it has
//! ended, until there is no entry any more and somebody says that it shall
//! [`rest`](TaskSet::rest): finding what is there takes long, and is not done anew
//! for each of many that come one after the other.
//!
//! An age that is the number of an entry, or less, and more than that of the
//! entry before, says that the command came between the two.

/// What makes a command more than SIMPLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ORDERED.
    Ordered,
    /// HEAD OF QUEUE.
    HeadOfQueue,
}

/// No age: the command has never been told of.
pub const NO_AGE: u64 = 0;

/// The age of a command that has ended.
pub const ENDED: u64 = u64::MAX;

/// A first-in first-out queue of commands.
pub trait Queue: Sized {
    /// A command.
    type Item;
    /// An empty queue.
    fn new() -> Self;
    /// Adds at the end.
    fn push(&mut self, item: Self::Item);
    /// Takes from the front.
    fn pop(&mut self) -> Option<Self::Item>;
    /// Adds all of another queue at the end.
    fn append(&mut self, other: Self) {
        let mut other = other;
        while let Some(item) = other.pop() {
            self.push(item);
        }
    }
}

/// A command that is not SIMPLE, and what waits for its end.
pub struct Entry<Q: Queue> {
    number: u64,
    kind: Kind,
    /// SIMPLE commands between this entry and the one before that have not
    /// ended.
    before: u32,
    /// The command itself, while it may not run.
    ready: Option<Q::Item>,
    /// SIMPLE commands that came after it, and before the next entry, and may
    /// not run.
    behind: Q,
}

impl<Q: Queue> Entry<Q> {
    /// What a place holds whose entry has been removed: no command has this number.
    pub fn hole() -> Self {
        Self {
            number: NO_AGE,
            kind: Kind::Ordered,
            before: 0,
            ready: None,
            behind: Q::new(),
        }
    }

    /// Whether it is that.
    pub fn is_hole(&self) -> bool {
        self.number == NO_AGE
    }
}

/// Where the entries are kept, in the order in which they came.
pub trait Entries<Q: Queue> {
    /// All of them.
    fn all(&self) -> &[Entry<Q>];
    /// All of them.
    fn all_mut(&mut self) -> &mut [Entry<Q>];
    /// Adds one at the end; hands it back when there is no room.
    ///
    /// # Errors
    /// The entry.
    fn push(&mut self, entry: Entry<Q>) -> Result<(), Entry<Q>>;
    /// Removes the one at a place.
    fn remove(&mut self, at: usize) -> Option<Entry<Q>>;
}

/// There is no room for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// The commands of a logical unit, as far as their order matters.
///
/// # Invariants
/// - The numbers of the entries ascend, from `base` to `last`. There are none
///   unless `counting`.
/// - Each SIMPLE command with a current age that has not ended is counted in
///   `before` of the first entry whose number is its age or more, or in `tail`
///   if there is none.
/// - An ORDERED command that has started is in `ready` unless its entry is the
///   first, and its `before` is 0.
/// - A SIMPLE command that has started is in `behind` of the last entry whose
///   number is less than its age, if there is one.
pub struct TaskSet<Q: Queue, E: Entries<Q>> {
    entries: E,
    /// The number of the last entry there was.
    last: u64,
    /// Ages below it are of commands that nobody has to wait for any more.
    base: u64,
    /// SIMPLE commands that came after the last entry and have not ended.
    tail: u32,
    /// Each command is told of.
    counting: bool,
    queue: core::marker::PhantomData<Q>,
}

impl<Q: Queue, E: Entries<Q>> TaskSet<Q, E> {
    /// A task set without entries.
    pub const fn new(entries: E) -> Self {
        Self {
            entries,
            last: 0,
            base: 1,
            tail: 0,
            counting: false,
            queue: core::marker::PhantomData,
        }
    }

    /// Where the entries are kept, to make room.
    pub fn entries_mut(&mut self) -> &mut E {
        &mut self.entries
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.all().is_empty()
    }

    /// Whether SIMPLE commands, too, must be told of.
    pub fn is_counting(&self) -> bool {
        self.counting
    }

    /// SIMPLE commands need not be told of any more, if there is no entry.
    pub fn rest(&mut self) {
        if self.counting && self.is_empty() {
            self.counting = false;
            self.start_anew();
        }
    }

    /// Whether a command of this age counts here.
    pub fn is_current(&self, age: u64) -> bool {
        age >= self.base && age != ENDED
    }

    /// A command of `kind` has come. Returns its number, which is its age.
    ///
    /// `count` is called unless commands are told of already: it has to give each SIMPLE command
    /// that has come, has not ended, and whose age is less than the second
    /// argument, the age in the first, and to return how many these were.
    ///
    /// # Errors
    /// [`NoRoom`]; then nothing has changed, but ages that `count` gave.
    pub fn enter(
        &mut self,
        kind: Kind,
        count: &mut dyn FnMut(u64, u64) -> u32,
    ) -> Result<u64, NoRoom> {
        let number = self.last.saturating_add(1);
        let before = if self.counting {
            self.tail
        } else {
            count(number, self.base)
        };
        let pushed = self.entries.push(Entry {
            number,
            kind,
            before,
            ready: None,
            behind: Q::new(),
        });
        if pushed.is_err() {
            if !self.counting {
                self.start_anew();
            }
            return Err(NoRoom);
        }
        self.counting = true;
        self.last = number;
        self.tail = 0;
        Ok(number)
    }

    /// A SIMPLE command has come. Returns its age, or none if it need not be told
    /// of.
    pub fn join(&mut self) -> Option<u64> {
        if !self.counting {
            return None;
        }
        self.tail = self.tail.saturating_add(1);
        Some(self.last.saturating_add(1))
    }

    /// A SIMPLE command would run. It is kept, and comes back by
    /// [`ended`](Self::ended), unless it may.
    pub fn start(&mut self, age: u64, item: Q::Item) -> Option<Q::Item> {
        if !self.is_current(age) {
            return Some(item);
        }
        let older = self.first_from(age).checked_sub(1);
        match older.and_then(|at| self.entries.all_mut().get_mut(at)) {
            Some(entry) => {
                entry.behind.push(item);
                None
            }
            None => Some(item),
        }
    }

    /// As [`start`](Self::start), for the command of an entry.
    pub fn start_entry(&mut self, number: u64, item: Q::Item) -> Option<Q::Item> {
        let at = self.find(number);
        match at.and_then(|at| self.entries.all_mut().get_mut(at)) {
            Some(entry) if entry.kind == Kind::Ordered && (at != Some(0) || entry.before != 0) => {
                entry.ready.replace(item)
            }
            _ => Some(item),
        }
    }

    /// A SIMPLE command has ended. What may run now is added to `free`.
    pub fn ended(&mut self, age: u64, free: &mut Q) {
        if !self.is_current(age) {
            return;
        }
        let newer = self.first_from(age);
        match self.entries.all_mut().get_mut(newer) {
            Some(entry) => entry.before = entry.before.saturating_sub(1),
            None => self.tail = self.tail.saturating_sub(1),
        }
        self.look(free);
    }

    /// The command of an entry has ended. What may run now is added to `free`.
    pub fn entry_ended(&mut self, number: u64, free: &mut Q) {
        let Some((at, entry)) = self
            .find(number)
            .and_then(|at| Some((at, self.entries.remove(at)?)))
        else {
            return;
        };
        match self.entries.all_mut().get_mut(at) {
            Some(next) => next.before = next.before.saturating_add(entry.before),
            None => self.tail = self.tail.saturating_add(entry.before),
        }
        let older = at.checked_sub(1);
        match older.and_then(|at| self.entries.all_mut().get_mut(at)) {
            Some(older) => older.behind.append(entry.behind),
            None => free.append(entry.behind),
        }
        if let Some(item) = entry.ready {
            free.push(item);
        }
        self.look(free);
    }

    /// Takes out what may not run and is not wanted any more.
    pub fn take_if(&mut self, unwanted: &mut dyn FnMut(&Q::Item) -> bool, out: &mut Q) {
        for entry in self.entries.all_mut() {
            if entry.ready.as_ref().is_some_and(&mut *unwanted) {
                if let Some(item) = entry.ready.take() {
                    out.push(item);
                }
            }
            let mut kept = Q::new();
            while let Some(item) = entry.behind.pop() {
                if unwanted(&item) {
                    out.push(item);
                } else {
                    kept.push(item);
                }
            }
            entry.behind = kept;
        }
    }

    fn find(&self, number: u64) -> Option<usize> {
        let all = self.entries.all();
        all.binary_search_by_key(&number, |e| e.number).ok()
    }

    /// The place of the first entry whose number is that age or more.
    fn first_from(&self, age: u64) -> usize {
        self.entries.all().partition_point(|e| e.number < age)
    }

    /// Frees the command of the first entry, if nothing is before it.
    fn look(&mut self, free: &mut Q) {
        if let Some(first) = self.entries.all_mut().first_mut() {
            if first.before == 0 {
                if let Some(item) = first.ready.take() {
                    free.push(item);
                }
            }
        }
    }

    /// Nothing is counted: no age that was given means anything any more.
    fn start_anew(&mut self) {
        // One number is left out: it was the age of those that came last.
        self.last = self.last.saturating_add(1);
        self.base = self.last.saturating_add(1);
        self.tail = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    impl Queue for VecDeque<usize> {
        type Item = usize;
        fn new() -> Self {
            VecDeque::new()
        }
        fn push(&mut self, item: usize) {
            self.push_back(item);
        }
        fn pop(&mut self) -> Option<usize> {
            self.pop_front()
        }
    }

    /// Room for so many entries.
    struct Room(Vec<Entry<VecDeque<usize>>>, usize);

    impl Entries<VecDeque<usize>> for Room {
        fn all(&self) -> &[Entry<VecDeque<usize>>] {
            &self.0
        }
        fn all_mut(&mut self) -> &mut [Entry<VecDeque<usize>>] {
            &mut self.0
        }
        fn push(&mut self, entry: Entry<VecDeque<usize>>) -> Result<(), Entry<VecDeque<usize>>> {
            if self.0.len() >= self.1 {
                return Err(entry);
            }
            self.0.push(entry);
            Ok(())
        }
        fn remove(&mut self, at: usize) -> Option<Entry<VecDeque<usize>>> {
            (at < self.0.len()).then(|| self.0.remove(at))
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum State {
        Come,
        Blocked,
        Running,
        Ended,
        /// There was no room for it.
        Refused,
    }

    struct Task {
        kind: Option<Kind>,
        age: u64,
        state: State,
    }

    /// A task set with all its commands, in the order in which they came.
    struct World {
        set: TaskSet<VecDeque<usize>, Room>,
        tasks: Vec<Task>,
    }

    impl World {
        fn new(room: usize) -> Self {
            World {
                set: TaskSet::new(Room(Vec::new(), room)),
                tasks: Vec::new(),
            }
        }

        fn come(&mut self, kind: Option<Kind>) -> usize {
            let mut task = Task {
                kind,
                age: NO_AGE,
                state: State::Come,
            };
            match kind {
                None => {
                    if let Some(age) = self.set.join() {
                        task.age = age;
                    }
                }
                Some(kind) => {
                    let tasks = &mut self.tasks;
                    let entered = self.set.enter(kind, &mut |age, base| {
                        let mut count = 0;
                        for task in tasks.iter_mut() {
                            let lives = !matches!(task.state, State::Ended | State::Refused);
                            if lives && task.kind.is_none() && task.age < base {
                                task.age = age;
                                count += 1;
                            }
                        }
                        count
                    });
                    match entered {
                        Ok(age) => task.age = age,
                        Err(NoRoom) => task.state = State::Refused,
                    }
                }
            }
            self.tasks.push(task);
            self.tasks.len() - 1
        }

        fn start(&mut self, n: usize) {
            let task = &self.tasks[n];
            let runs = match task.kind {
                None => self.set.start(task.age, n),
                Some(_) => self.set.start_entry(task.age, n),
            };
            self.tasks[n].state = match runs {
                Some(same) => {
                    assert_eq!(same, n);
                    State::Running
                }
                None => State::Blocked,
            };
        }

        fn end(&mut self, n: usize) {
            let age = core::mem::replace(&mut self.tasks[n].age, ENDED);
            self.tasks[n].state = State::Ended;
            let mut free = VecDeque::new();
            match self.tasks[n].kind {
                None => self.set.ended(age, &mut free),
                Some(_) => self.set.entry_ended(age, &mut free),
            }
            for n in free {
                assert_eq!(self.tasks[n].state, State::Blocked);
                self.tasks[n].state = State::Running;
            }
        }

        /// Ends one that is blocked, as an abort does.
        fn abort(&mut self, n: usize) {
            let mut out = VecDeque::new();
            self.set.take_if(&mut |item| *item == n, &mut out);
            assert_eq!(out, [n]);
            self.end(n);
        }

        /// Whether the rules let a command run.
        fn may_run(&self, n: usize) -> bool {
            let older = self.tasks[..n]
                .iter()
                .filter(|t| !matches!(t.state, State::Ended | State::Refused));
            match self.tasks[n].kind {
                Some(Kind::HeadOfQueue) => true,
                Some(Kind::Ordered) => older.count() == 0,
                None => older.filter(|t| t.kind.is_some()).count() == 0,
            }
        }

        #[track_caller]
        fn check(&self) {
            for (n, task) in self.tasks.iter().enumerate() {
                match task.state {
                    State::Blocked => assert!(!self.may_run(n), "{n} need not wait"),
                    State::Running => assert!(self.may_run(n), "{n} must wait"),
                    _ => (),
                }
            }
        }
    }

    const ORDERED: Option<Kind> = Some(Kind::Ordered);
    const HEAD: Option<Kind> = Some(Kind::HeadOfQueue);

    #[test]
    fn an_ordered_command_waits_for_all_before_it() {
        let mut w = World::new(8);
        let (a, b) = (w.come(None), w.come(None));
        w.start(a);
        let o = w.come(ORDERED);
        w.start(o);
        // One that has come before, and starts late, is not held up.
        w.start(b);
        let after = w.come(None);
        w.start(after);
        let state = |w: &World| [a, b, o, after].map(|n| w.tasks[n].state);
        use State::*;
        assert_eq!(state(&w), [Running, Running, Blocked, Blocked]);
        w.end(a);
        assert_eq!(state(&w), [Ended, Running, Blocked, Blocked]);
        w.end(b);
        assert_eq!(state(&w), [Ended, Ended, Running, Blocked]);
        w.end(o);
        assert_eq!(state(&w), [Ended, Ended, Ended, Running]);
        assert!(w.set.is_empty());
    }

    #[test]
    fn what_is_there_is_found_once_until_it_rests() {
        let mut set = TaskSet::new(Room(Vec::new(), 8));
        let mut looks = 0;
        let mut free = VecDeque::new();
        for _ in 0..3 {
            let number = set.enter(Kind::Ordered, &mut |_, _| {
                looks += 1;
                0
            });
            assert!(set.is_counting());
            set.entry_ended(number.unwrap(), &mut free);
        }
        assert_eq!(looks, 1);
        // One that comes before it rests counts for the next.
        let age = set.join().unwrap();
        set.rest();
        assert!(!set.is_counting() && set.join().is_none() && !set.is_current(age));
        let number = set.enter(Kind::Ordered, &mut |_, _| {
            looks += 1;
            1
        });
        set.rest();
        assert!(set.is_counting());
        assert_eq!((looks, set.start_entry(number.unwrap(), 0)), (2, None));
    }

    #[test]
    fn head_of_queue_overtakes() {
        let mut w = World::new(8);
        let a = w.come(None);
        w.start(a);
        let o = w.come(ORDERED);
        w.start(o);
        let s = w.come(None);
        w.start(s);
        let h = w.come(HEAD);
        w.start(h);
        assert_eq!(w.tasks[h].state, State::Running);
        w.end(a);
        assert_eq!(w.tasks[o].state, State::Running);
        w.end(o);
        // The SIMPLE one is older than the HEAD OF QUEUE one.
        assert_eq!(w.tasks[s].state, State::Running);
        let late = w.come(None);
        w.start(late);
        assert_eq!(w.tasks[late].state, State::Blocked);
        w.end(h);
        assert_eq!(w.tasks[late].state, State::Running);
        w.check();
    }

    #[test]
    fn an_abort_lets_the_others_go() {
        let mut w = World::new(8);
        let a = w.come(None);
        w.start(a);
        let o = w.come(ORDERED);
        w.start(o);
        let s = w.come(None);
        w.start(s);
        w.abort(o);
        assert_eq!(w.tasks[s].state, State::Running);
        assert!(w.set.is_empty());
        // The one before it still counts for the next.
        let next = w.come(ORDERED);
        w.start(next);
        w.end(s);
        assert_eq!(w.tasks[next].state, State::Blocked);
        w.end(a);
        assert_eq!(w.tasks[next].state, State::Running);
    }

    #[test]
    fn without_room_nothing_has_happened() {
        let mut w = World::new(1);
        let a = w.come(None);
        w.start(a);
        let o = w.come(ORDERED);
        w.start(o);
        let refused = w.come(ORDERED);
        assert_eq!(w.tasks[refused].state, State::Refused);
        let s = w.come(None);
        w.start(s);
        w.end(a);
        w.end(o);
        assert_eq!(w.tasks[s].state, State::Running);
        w.check();
        let mut w = World::new(0);
        let a = w.come(None);
        w.start(a);
        let refused = w.come(ORDERED);
        assert_eq!(w.tasks[refused].state, State::Refused);
        assert!(w.set.is_empty());
        w.end(a);
    }

    proptest! {
        /// Whatever comes, starts, ends and is aborted in whatever order: at
        /// each moment exactly those run that the rules let run.
        #[test]
        fn the_rules_hold(
            room in 0usize..6,
            steps in prop::collection::vec((0u8..11, any::<prop::sample::Index>()), 0..200)
        ) {
            let mut w = World::new(room);
            for (what, which) in steps {
                let of = |state: State, w: &World| {
                    let all: Vec<usize> = (0..w.tasks.len())
                        .filter(|n| w.tasks[*n].state == state)
                        .collect();
                    (!all.is_empty()).then(|| all[which.index(all.len())])
                };
                match what {
                    0 | 1 => drop(w.come(None)),
                    2 => drop(w.come(ORDERED)),
                    3 => drop(w.come(HEAD)),
                    4 | 5 => if let Some(n) = of(State::Come, &w) { w.start(n) },
                    6 | 7 => if let Some(n) = of(State::Running, &w) { w.end(n) },
                    8 => if let Some(n) = of(State::Blocked, &w) { w.abort(n) },
                    9 => w.set.rest(),
                    // One whose data never came.
                    _ => if let Some(n) = of(State::Come, &w) { w.end(n) },
                }
                w.check();
            }
            // When all have ended, nothing is left.
            loop {
                let n = w.tasks.iter().position(|t| t.state == State::Come);
                if let Some(n) = n { w.start(n); continue }
                let n = w.tasks.iter().position(|t| t.state == State::Running);
                match n { Some(n) => w.end(n), None => break }
                w.check();
            }
            prop_assert!(w.set.is_empty());
            prop_assert!(w.tasks.iter().all(|t| t.state != State::Blocked));
        }
    }
}
