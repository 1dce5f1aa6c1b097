// SPDX-License-Identifier: GPL-2.0

//! Which blocks of a device somebody has to himself.
//!
//! COMPARE AND WRITE reads, decides and writes; nothing else may read or write
//! those blocks in between, and what began before must have ended. Three kinds
//! of I/O meet here:
//!
//! - READ and WRITE ([`Ranges::try_enter`]) only say that they are under way, in
//!   numbers that each CPU has for itself, and look at one more number: how
//!   many ranges are locked. While that is 0 they look at nothing else.
//! - What works on a longer range in process context ([`Ranges::share`]) is
//!   listed with its range.
//! - Who wants a range to himself ([`Ranges::lock`]) lists it, which keeps out
//!   those who come later; then it waits for those listed that overlap, and for
//!   each READ and WRITE that was under way, wherever on the device.
//!
//! For the last, READs and WRITEs count themselves in one of two phases. The
//! phase is changed, so that nobody new is counted in the old one, and the old
//! one then runs empty.

use crate::sys::atomic::InPlace;
use crate::sys::{
    lock::{
        new_spinlock_bh,
        SpinLockBh, //
    },
    misc,
    percpu::{
        smp_mb,
        PerCpu, //
    }, //
};
use core::ops::Range;
use kernel::{
    new_condvar,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        CondVar, //
    },
    time::msecs_to_jiffies, //
};

/// Milliseconds after which who waits looks whether it still wants to.
const LOOK_MS: u32 = 100;

/// The shortest and the longest sleep between two looks at the numbers, in
/// microseconds.
const NAP_US: Range<u32> = 20..1000;

/// A READ or WRITE that is under way, and the phase it counted itself in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass(u32);

impl Pass {
    /// Where those are counted that entered in this phase.
    fn entered(self) -> usize {
        (self.0 & 1) as usize
    }

    /// Where those are counted that left.
    fn left(self) -> usize {
        (2 | (self.0 & 1)) as usize
    }
}

/// Why a range could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRange {
    /// Nobody wants it any more.
    GivenUp,
    /// There is no memory to list it.
    NoMemory,
}

/// A range that somebody uses.
struct Entry {
    id: u64,
    blocks: Range<u64>,
    alone: bool,
}

struct Table {
    next: u64,
    entries: KVec<Entry>,
}

impl Table {
    /// Whether a range overlaps one that is listed: of those that are locked,
    /// or of those that are shared.
    fn overlaps(&self, blocks: &Range<u64>, alone: bool) -> bool {
        self.entries.iter().any(|entry| {
            entry.alone == alone
                && entry.blocks.start < blocks.end
                && blocks.start < entry.blocks.end
        })
    }

    fn add(&mut self, blocks: Range<u64>, alone: bool) -> Result<u64, NoRange> {
        let id = self.next;
        self.next = id.wrapping_add(1);
        let entry = Entry { id, blocks, alone };
        match self.entries.push(entry, GFP_ATOMIC) {
            Ok(()) => Ok(id),
            Err(_) => Err(NoRange::NoMemory),
        }
    }
}

/// The blocks of a device, and who uses them.
#[pin_data]
pub(crate) struct Ranges {
    /// Ranges that are locked: all that a READ or WRITE looks at.
    locked: Atomic<u32>,
    /// The phase in which those who enter count themselves, in its last bit.
    phase: Atomic<u32>,
    /// READs and WRITEs that entered in each phase, and that left.
    counts: PerCpu<4>,
    /// How often all that were under way have been waited for.
    drains: Atomic<u64>,
    /// Whether somebody waits for them now.
    draining: Atomic<u32>,
    #[pin]
    table: SpinLockBh<Table>,
    /// A range is not used any more.
    #[pin]
    changed: CondVar,
}

impl Ranges {
    pub(super) fn new() -> Result<impl PinInit<Self>> {
        let counts = PerCpu::new()?;
        Ok(pin_init!(Self {
            locked: Atomic::new(0),
            phase: Atomic::new(0),
            counts,
            drains: Atomic::new(0),
            draining: Atomic::new(0),
            table <- new_spinlock_bh!(
                Table {
                    next: 0,
                    entries: KVec::new(),
                },
                "ferrite_ranges"
            ),
            changed <- new_condvar!("ferrite_ranges"),
        }))
    }

    /// A READ or WRITE begins; `None` when it has to wait for a range that is
    /// locked. Any context but hardirq.
    pub(crate) fn try_enter(&self, blocks: &Range<u64>) -> Option<Pass> {
        let pass = Pass(self.phase.now());
        self.counts.add(pass.entered(), 1);
        // Either we see a range, or whoever listed it sees us: see `drain`.
        smp_mb();
        if self.locked.now() == 0 || !self.table.lock().overlaps(blocks, true) {
            return Some(pass);
        }
        self.leave(pass);
        None
    }

    /// As [`Ranges::try_enter`], and waits. Process context.
    ///
    /// # Errors
    ///
    /// [`NoRange::GivenUp`].
    pub(crate) fn enter(
        &self,
        blocks: &Range<u64>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Pass, NoRange> {
        loop {
            if let Some(pass) = self.try_enter(blocks) {
                return Ok(pass);
            }
            self.wait(blocks, true, give_up)?;
        }
    }

    /// A READ or WRITE has ended. Any context.
    pub(crate) fn leave(&self, pass: Pass) {
        // It has really ended before it counts so.
        smp_mb();
        self.counts.add(pass.left(), 1);
    }

    /// Whether any READ or WRITE is under way.
    pub(super) fn under_way(&self) -> bool {
        [Pass(0), Pass(1)].iter().any(|phase| {
            let left = self.counts.sum(phase.left());
            self.counts.sum(phase.entered()) != left
        })
    }

    /// Whether any blocks are in use: by a READ or WRITE, or by what lists its range.
    pub(super) fn in_use(&self) -> bool {
        self.under_way() || !self.table.lock().entries.is_empty()
    }

    /// Uses a range beside others. Process context; waits while it is locked.
    ///
    /// Who uses a range must not ask for another one: whoever locks one waits
    /// for the first, and keeps the second.
    ///
    /// # Errors
    ///
    /// [`NoRange`].
    pub(crate) fn share(
        &self,
        blocks: Range<u64>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Used<'_>, NoRange> {
        self.list(blocks, false, give_up)
    }

    /// Has a range to himself: everything that was under way there has ended,
    /// and what comes waits. Process context.
    ///
    /// # Errors
    ///
    /// [`NoRange`].
    pub(crate) fn lock(
        &self,
        blocks: Range<u64>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Used<'_>, NoRange> {
        let used = self.list(blocks.clone(), true, give_up)?;
        self.wait(&blocks, false, give_up)?;
        self.drain(give_up)?;
        Ok(used)
    }

    /// Waits until all has ended that was under way when this began; what comes meanwhile is
    /// neither waited for nor held up. Process context; for who has no place here himself.
    ///
    /// # Errors
    ///
    /// [`NoRange::GivenUp`].
    pub(crate) fn settle(&self, give_up: &dyn Fn() -> bool) -> Result<(), NoRange> {
        let next = self.table.lock().next;
        self.wait_while(give_up, &|table| {
            table.entries.iter().any(|entry| entry.id < next)
        })?;
        self.drain(give_up)
    }

    /// Lists a range as soon as none that is locked overlaps.
    fn list(
        &self,
        blocks: Range<u64>,
        alone: bool,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Used<'_>, NoRange> {
        loop {
            {
                let mut table = self.table.lock();
                if !table.overlaps(&blocks, true) {
                    let id = table.add(blocks, alone)?;
                    if alone {
                        self.locked.add(1, Relaxed);
                    }
                    return Ok(Used {
                        ranges: self,
                        id,
                        alone,
                    });
                }
            }
            self.wait(&blocks, true, give_up)?;
        }
    }

    /// Waits until no range of a kind overlaps.
    fn wait(
        &self,
        blocks: &Range<u64>,
        alone: bool,
        give_up: &dyn Fn() -> bool,
    ) -> Result<(), NoRange> {
        self.wait_while(give_up, &|table| table.overlaps(blocks, alone))
    }

    fn wait_while(
        &self,
        give_up: &dyn Fn() -> bool,
        busy: &dyn Fn(&Table) -> bool,
    ) -> Result<(), NoRange> {
        let mut table = self.table.lock();
        while busy(&table) {
            if give_up() {
                return Err(NoRange::GivenUp);
            }
            let _ = self
                .changed
                .wait_interruptible_timeout(&mut table, msecs_to_jiffies(LOOK_MS));
        }
        Ok(())
    }

    /// Waits until every READ and WRITE has ended that entered before a range
    /// was listed, and so may not have seen it.
    fn drain(&self, give_up: &dyn Fn() -> bool) -> Result<(), NoRange> {
        // The range is listed; who enters from here on sees it.
        smp_mb();
        let before = self.drains.now();
        let mut nap = NAP_US.start;
        while self.draining.cmpxchg(0, 1, Full).is_err() {
            // One that is under way may have begun before the range was
            // listed. The one after that has not.
            if self.drains.now().wrapping_sub(before) >= 2 {
                smp_mb();
                return Ok(());
            }
            doze(&mut nap, give_up)?;
        }
        let done = self.drain_both(give_up);
        if done.is_ok() {
            self.drains.add(1, Relaxed);
        }
        smp_mb();
        self.draining.put(0);
        done
    }

    /// Lets both phases run empty, one after the other. To be called by one at
    /// a time.
    fn drain_both(&self, give_up: &dyn Fn() -> bool) -> Result<(), NoRange> {
        let now = self.phase.now();
        // Who read the phase just before it changed last time is counted here.
        self.empty(Pass(now.wrapping_add(1)), give_up)?;
        self.phase.put(now.wrapping_add(1));
        smp_mb();
        self.empty(Pass(now), give_up)
    }

    /// Waits until nobody is under way in a phase that nobody enters any more.
    fn empty(&self, phase: Pass, give_up: &dyn Fn() -> bool) -> Result<(), NoRange> {
        let mut nap = NAP_US.start;
        loop {
            // In this order: who is counted as gone is then counted as come.
            let left = self.counts.sum(phase.left());
            smp_mb();
            if self.counts.sum(phase.entered()) == left {
                smp_mb();
                return Ok(());
            }
            doze(&mut nap, give_up)?;
        }
    }
}

/// Sleeps, the longer the longer one has waited.
fn doze(nap: &mut u32, give_up: &dyn Fn() -> bool) -> Result<(), NoRange> {
    if give_up() {
        return Err(NoRange::GivenUp);
    }
    misc::sleep_us(*nap);
    *nap = nap.saturating_mul(2).min(NAP_US.end);
    Ok(())
}

/// A range that is used until this is dropped.
pub(crate) struct Used<'a> {
    ranges: &'a Ranges,
    id: u64,
    alone: bool,
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        {
            let mut table = self.ranges.table.lock();
            let at = table.entries.iter().position(|entry| entry.id == self.id);
            if let Some(at) = at {
                let _ = table.entries.remove(at);
            }
            if self.alone {
                self.ranges.locked.add(1u32.wrapping_neg(), Relaxed);
            }
        }
        self.ranges.changed.notify_all();
    }
}
