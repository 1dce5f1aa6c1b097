// SPDX-License-Identifier: GPL-2.0

//! The task set of a device: the order of its commands, and how many they may
//! be.
//!
//! The machine itself is `proto::scsi::taskset`. As long as all commands are
//! SIMPLE it is not used, and a command that comes looks at one number
//! ([`Order::busy`]). Whoever makes the first entry finds the commands that are
//! under way in the lists of the sessions. None is missed: a command is listed,
//! under the lock of its session, before it looks at `busy`; and `busy` is set
//! before the list of that session is looked through, under the same lock.

use super::Device;
use crate::sys::atomic::InPlace;
use crate::{
    proto::scsi::taskset::{
        Entries,
        Entry,
        Kind,
        NoRoom,
        Queue,
        TaskSet,
        ENDED, //
    },
    sys::{
        llist::Fifo,
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        }, //
    },
    task::{
        self,
        Body,
        Head,
        Task, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

type Tasks = Fifo<Head, Body>;

impl Queue for Tasks {
    type Item = Task;

    fn new() -> Self {
        Fifo::new()
    }

    fn push(&mut self, task: Task) {
        Fifo::push(self, task);
    }

    fn pop(&mut self) -> Option<Task> {
        Fifo::pop(self)
    }
}

/// The entries: one for each command under way that is not SIMPLE, and holes, of which there
/// are no more than entries; so they are bounded by the command windows.
struct List {
    entries: KVec<Entry<Tasks>>,
    /// The first of them, before which there are holes alone: mostly it is the oldest
    /// that is removed, and the others are not moved each time.
    first: usize,
}

impl List {
    const fn new() -> Self {
        Self {
            entries: KVec::new(),
            first: 0,
        }
    }
}

impl Entries<Tasks> for List {
    fn all(&self) -> &[Entry<Tasks>] {
        self.entries.get(self.first..).unwrap_or(&[])
    }

    fn all_mut(&mut self) -> &mut [Entry<Tasks>] {
        self.entries.get_mut(self.first..).unwrap_or(&mut [])
    }

    fn push(&mut self, entry: Entry<Tasks>) -> Result<(), Entry<Tasks>> {
        if self.entries.reserve(1, GFP_ATOMIC).is_err() {
            return Err(entry);
        }
        self.entries.push_within_capacity(entry).map_err(|e| e.0)
    }

    fn remove(&mut self, at: usize) -> Option<Entry<Tasks>> {
        if at != 0 {
            return self.entries.remove(self.first.saturating_add(at)).ok();
        }
        let oldest = self.entries.get_mut(self.first)?;
        let oldest = core::mem::replace(oldest, Entry::hole());
        self.first = self.first.saturating_add(1);
        if self.first >= self.entries.len() / 2 {
            self.entries.retain(|entry| !entry.is_hole());
            self.first = 0;
        }
        Some(oldest)
    }
}

/// The task set hears of all commands, or all of them must have an entry.
const ENTRIES: i32 = 1;
const RESTRICTED: i32 = 2;

/// The order of a device's commands.
#[pin_data]
pub(super) struct Order {
    /// 0 when a SIMPLE command is nothing that the task set must hear of, else
    /// [`ENTRIES`] and [`RESTRICTED`]. Written under the lock of `set`.
    busy: Atomic<i32>,
    #[pin]
    set: SpinLockBh<TaskSet<Tasks, List>>,
    /// Commands that the device takes at once; 0 when there is no limit.
    most: Atomic<u32>,
    /// Those that have a place among them.
    placed: Atomic<i32>,
}

impl Order {
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            busy: Atomic::new(0),
            set <- new_spinlock_bh!(TaskSet::new(List::new()), "ferrite_task_set"),
            most: Atomic::new(0),
            placed: Atomic::new(0),
        }? Error)
    }

    fn publish(&self, set: &TaskSet<Tasks, List>) {
        let restricted = self.busy.now() & RESTRICTED;
        let entries = if set.is_counting() { ENTRIES } else { 0 };
        self.busy.put(restricted | entries);
    }

    /// SIMPLE commands keep their order from now on, or need not. Which, is asked for
    /// with the lock held: of two changes at once the later one holds.
    pub(super) fn restrict(&self, on: impl FnOnce() -> bool) {
        let set = self.set.lock();
        self.busy.put(if on() { RESTRICTED } else { 0 });
        self.publish(&set);
    }

    /// SIMPLE commands are nothing that it must hear of any more, if there are no others
    /// left. To be called now and then, and not when the last of those has ended: a peer
    /// that sends one after the other would have all sessions gone through for each.
    pub(super) fn rest(&self) {
        if self.busy.now() & ENTRIES != 0 {
            let mut set = self.set.lock();
            set.rest();
            self.publish(&set);
        }
    }

    /// Sets how many commands the device takes at once; 0 is no limit.
    pub(super) fn set_most(&self, most: u32) {
        self.most.put(most);
    }
}

impl Device {
    /// Lets the task set rest if it can. Now and then.
    pub(crate) fn rest_task_set(&self) {
        self.order().rest();
    }

    /// A command has come. It is listed by its session.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when there is no memory for it.
    #[inline]
    pub(crate) fn enter_task_set(&self, head: &Head) -> Result<(), NoRoom> {
        if self.order().busy.now() == 0 && head.kind.is_none() {
            return Ok(());
        }
        self.enter_busy_task_set(head)
    }

    fn enter_busy_task_set(&self, head: &Head) -> Result<(), NoRoom> {
        let order = self.order();
        let mut set = order.set.lock();
        if set.is_current(head.age()) {
            // Somebody who has made an entry has found it.
            return Ok(());
        }
        let restricted = order.busy.now() & RESTRICTED != 0;
        let Some(kind) = head.kind.or(restricted.then_some(Kind::Ordered)) else {
            if let Some(age) = set.join() {
                head.set_age(age);
            }
            return Ok(());
        };
        // Before anybody's list is looked through.
        order.busy.put(order.busy.now() | ENTRIES);
        if restricted {
            // Or it would count itself.
            head.set_entry(ENDED);
        }
        let entered = set.enter(kind, &mut |age, base| {
            let mut count = 0u32;
            self.for_each_nexus(&mut |nexus| {
                let n = nexus.session().age_tasks(nexus, age, base);
                count = count.saturating_add(n);
            });
            count
        });
        if let Ok(number) = entered {
            head.set_entry(number);
        }
        order.publish(&set);
        entered.map(|_| ())
    }

    /// A command that counts in the task set would run; it is handed back if it
    /// may. Else it comes back by [`task::go_on`].
    pub(crate) fn start_in_order(&self, task: Task) -> Option<Task> {
        let mut set = self.order().set.lock();
        let head = task.shared();
        if head.is_aborted() || head.nexus.as_ref().is_some_and(|n| n.is_gone()) {
            // Whoever has made it so may have looked here already.
            return Some(task);
        }
        let age = head.age();
        if head.has_entry() {
            set.start_entry(age, task)
        } else {
            set.start(age, task)
        }
    }

    /// A command that counts in the task set has ended: those that waited for
    /// it go on. Any context but hardirq.
    pub(crate) fn leave_task_set(&self, head: &Head) {
        let mut free = Tasks::new();
        {
            let order = self.order();
            let mut set = order.set.lock();
            let age = head.age();
            head.set_age(ENDED);
            if head.has_entry() {
                set.entry_ended(age, &mut free);
            } else {
                set.ended(age, &mut free);
            }
            order.publish(&set);
        }
        task::go_on(free);
    }

    /// Takes those out of the task set that wait there and are not wanted any
    /// more. Any context but hardirq.
    pub(crate) fn take_blocked(
        &self,
        unwanted: &mut dyn FnMut(&Head) -> bool,
        out: &mut Fifo<Head, Body>,
    ) {
        let order = self.order();
        if order.busy.now() & ENTRIES != 0 {
            let mut set = order.set.lock();
            set.take_if(&mut |task| unwanted(task.shared()), out);
        }
    }

    /// Takes a place for one more command; none when there are too many. False
    /// when there is no limit, and nothing to give back.
    #[inline]
    pub(crate) fn take_place(&self) -> Option<bool> {
        let order = self.order();
        let most = order.most.now();
        if most == 0 {
            return Some(false);
        }
        let before = order.placed.fetch_add(1, Relaxed);
        if before >= i32::try_from(most).unwrap_or(i32::MAX) {
            self.give_place();
            return None;
        }
        Some(true)
    }

    /// Gives a place back. Any context.
    pub(crate) fn give_place(&self) {
        self.order().placed.add(-1, Relaxed);
    }
}
