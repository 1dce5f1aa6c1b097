// SPDX-License-Identifier: GPL-2.0

//! What initiators have read from a device and written to it, for LOG SENSE:
//! numbers that each CPU has for itself.

use crate::sys::atomic::InPlace;
use crate::{
    proto::scsi::log::{
        Counted,
        LogValues, //
    },
    sys::{
        misc,
        percpu::PerCpu, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Kinds of commands that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// READ.
    Read,
    /// WRITE, and others that store the data sent with them.
    Write,
    /// VERIFY.
    Verify,
}

/// Numbers of each kind: commands, bytes, errors, ticks of the clock.
const NUMBERS: usize = 4;

/// What has been counted.
pub(crate) struct Traffic {
    numbers: PerCpu<{ 3 * NUMBERS }>,
    /// When counting began, in ticks.
    since: u64,
    /// Ticks in which some command was carried out.
    busy: Atomic<u64>,
    /// The last tick that was looked at: it and all before it are in `busy`, or
    /// were idle.
    seen: Atomic<u64>,
    /// Commands under way that are no READ or WRITE.
    others: Atomic<i32>,
}

impl Traffic {
    pub(super) fn new() -> Result<Self> {
        let now = misc::ticks();
        Ok(Self {
            numbers: PerCpu::new()?,
            since: now,
            busy: Atomic::new(0),
            seen: Atomic::new(now),
            others: Atomic::new(0),
        })
    }

    /// A command begins now; `alone` says whether none was under way, and is
    /// only asked for the first of a tick. Returns the moment. Any context.
    pub(super) fn begin(&self, alone: impl FnOnce() -> bool) -> u64 {
        let now = misc::ticks();
        let seen = self.seen.now();
        if now > seen {
            let alone = alone() && !self.has_others();
            if self.seen.cmpxchg(seen, now, Relaxed).is_ok() {
                // What is under way has been so since the last look, as its
                // beginning was one.
                let ticks = if alone { 1 } else { now.wrapping_sub(seen) };
                self.busy.add(ticks, Relaxed);
            }
        }
        now
    }

    /// A command ends now. Any context.
    pub(crate) fn end(&self) {
        let now = misc::ticks();
        let seen = self.seen.now();
        if now > seen && self.seen.cmpxchg(seen, now, Relaxed).is_ok() {
            self.busy.add(now.wrapping_sub(seen), Relaxed);
        }
    }

    /// One that is no READ or WRITE has begun, or ended.
    pub(super) fn other(&self, begun: bool) {
        self.others.add(if begun { 1 } else { -1 }, Relaxed);
    }

    /// Whether one that is no READ or WRITE is under way.
    pub(super) fn has_others(&self) -> bool {
        self.others.now() != 0
    }

    fn at(kind: Kind) -> usize {
        match kind {
            Kind::Read => 0,
            Kind::Write => NUMBERS,
            Kind::Verify => 2 * NUMBERS,
        }
    }

    /// A command of so many bytes has succeeded that began at `started`, see
    /// [`misc::ticks`]. Any context.
    pub(crate) fn done(&self, kind: Kind, bytes: usize, started: u64) {
        let at = Self::at(kind);
        self.numbers.add(at, 1);
        self.numbers.add(at | 1, bytes as u64);
        // A tick is longer than most commands, but they begin at any moment
        // of one: the sum is right.
        let took = misc::ticks().wrapping_sub(started);
        if took != 0 {
            self.numbers.add(at | 3, took);
        }
    }

    /// A command failed for a flaw of the medium. Any context.
    pub(crate) fn failed(&self, kind: Kind) {
        self.numbers.add(Self::at(kind) | 2, 1);
    }

    /// What has been counted up to now; `under_way` says whether some READ or
    /// WRITE is being carried out.
    pub(super) fn values(&self, under_way: bool) -> LogValues {
        let now = misc::ticks();
        let mut busy = self.busy.now();
        if under_way || self.has_others() {
            busy = busy.saturating_add(now.saturating_sub(self.seen.now()));
        }
        let all = now.wrapping_sub(self.since);
        let counted = |kind| {
            let at = Self::at(kind);
            Counted {
                commands: self.numbers.sum(at),
                bytes: self.numbers.sum(at | 1),
                errors: self.numbers.sum(at | 2),
                ms: misc::ticks_to_ms(self.numbers.sum(at | 3)),
            }
        };
        LogValues {
            reads: counted(Kind::Read),
            writes: counted(Kind::Write),
            verifies: counted(Kind::Verify),
            idle_ms: misc::ticks_to_ms(all.saturating_sub(busy)),
            ..LogValues::default()
        }
    }
}
