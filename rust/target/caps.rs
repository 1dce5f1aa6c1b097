// SPDX-License-Identifier: GPL-2.0

//! Limits in commands and bytes per second, of a LUN and of an initiator.
//!
//! What is over the limit is kept in the order in which it came, and goes on
//! when its time has come; it is not refused. A command goes by its
//! initiator's limits first, then by those of its LUN. One without limits
//! anywhere costs a look at one number ([`any`]).

use crate::sys::atomic::InPlace;
use crate::{
    proto::{
        rate::Caps as Rates,
        scsi::taskset::Kind, //
    },
    sys::{
        llist::Fifo,
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        misc,
        work, //
    },
    task::{
        self,
        Body,
        Head,
        Task, //
    }, //
};
use kernel::{
    impl_has_delayed_work,
    new_delayed_work,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::msecs_to_jiffies,
    workqueue::{
        DelayedWork,
        WorkItem, //
    }, //
};

/// Commands that are kept at once: more end TASK SET FULL.
const MOST_HELD: usize = 4096;

/// Milliseconds after which what is kept is looked through, at the latest.
const LOOK_MS: u32 = 100;

/// Commands that are let go with the lock held once.
const BATCH: usize = 32;

/// Batches that are let go before others have their turn.
const BATCHES: usize = 8;

/// Limits that are set, or have commands that wait.
static ACTIVE: Atomic<i32> = Atomic::new(0);

/// Timers that are set.
static ARMED: Atomic<i32> = Atomic::new(0);

/// Whether any limit is set, or may have commands that wait.
#[inline]
pub(crate) fn any() -> bool {
    ACTIVE.now() != 0
}

/// Waits for the timers that are still set, [`LOOK_MS`] at most. When there are
/// no commands any more; process context.
pub(crate) fn settle() {
    while ARMED.now() != 0 {
        misc::sleep_ms(10);
    }
}

/// Whether there are limits, or commands that wait: one of [`ACTIVE`].
struct Active(Atomic<i32>);

impl Active {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    fn is(&self) -> bool {
        self.0.now() != 0
    }

    /// With the lock of the limits held, or nobody else there.
    fn set(&self, on: bool) {
        if on != self.is() {
            self.0.store(i32::from(on), Relaxed);
            ACTIVE.add(if on { 1 } else { -1 }, Relaxed);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // No command waits: each keeps its LUN and its session.
        self.set(false);
    }
}

/// The limits of a LUN or of an initiator, and the commands that wait for them.
#[pin_data]
pub(crate) struct Caps {
    active: Active,
    #[pin]
    state: SpinLockBh<State>,
    #[pin]
    work: DelayedWork<Caps>,
}

/// Protected by the spin lock in [`Caps`].
struct State {
    rates: Rates,
    held: Fifo<Head, Body>,
    count: usize,
    /// Whether the timer is set.
    armed: bool,
    /// When what is kept was looked through.
    looked_ns: u64,
}

/// What becomes of a command.
pub(crate) enum Passed {
    /// It goes on.
    Now(Task),
    /// It is kept, and goes on later.
    Held,
    /// Too many are kept already.
    Full(Task),
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Caps { self.work }
}

impl WorkItem for Caps {
    type Pointer = Arc<Caps>;

    /// Softirq.
    fn run(this: Arc<Caps>) {
        this.state.lock().armed = false;
        this.let_go();
        // The workqueue, which is waited for after this, runs us to our end.
        ARMED.add(-1, Relaxed);
    }
}

impl Caps {
    /// No limits.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                active: Active::new(),
                state <- new_spinlock_bh!(
                    State {
                        rates: Rates::new(),
                        held: Fifo::new(),
                        count: 0,
                        armed: false,
                        looked_ns: 0,
                    },
                    "ferrite_caps"
                ),
                work <- new_delayed_work!("ferrite_caps"),
            }),
            GFP_KERNEL,
        )
    }

    /// Says both limits.
    pub(super) fn set(self: &Arc<Self>, max_iops: u64, max_bytes: u64) {
        self.change(|rates, now| {
            rates.commands.set_rate(max_iops, now);
            rates.bytes.set_rate(max_bytes, now);
        });
    }

    /// Commands in a second; 0 is no limit.
    pub(crate) fn max_iops(&self) -> u64 {
        self.state.lock().rates.commands.rate()
    }

    /// Bytes in a second; 0 is no limit.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.state.lock().rates.bytes.rate()
    }

    /// Limits the commands in a second; 0 is no limit. At once, also for those
    /// that wait.
    pub(crate) fn set_max_iops(self: &Arc<Self>, rate: u64) {
        self.change(|rates, now| rates.commands.set_rate(rate, now));
    }

    /// Limits the bytes in a second; 0 is no limit. At once, also for those that
    /// wait.
    pub(crate) fn set_max_bytes(self: &Arc<Self>, rate: u64) {
        self.change(|rates, now| rates.bytes.set_rate(rate, now));
    }

    fn change(self: &Arc<Self>, how: impl FnOnce(&mut Rates, u64)) {
        {
            let mut state = self.state.lock();
            how(&mut state.rates, misc::now_ns());
            self.publish(&state);
        }
        self.let_go();
    }

    /// With the lock held.
    fn publish(&self, state: &State) {
        self.active.set(state.rates.any() || state.count != 0);
    }

    /// A command that moves so many bytes would go on; if it is over the limits
    /// it is kept, and comes back by [`task::go_on`]. Any context but hardirq.
    pub(crate) fn pass(self: &Arc<Self>, mut task: Task, bytes: u32) -> Passed {
        if !self.active.is() {
            return Passed::Now(task);
        }
        let mut state = self.state.lock();
        if !state.rates.any() && state.count == 0 {
            return Passed::Now(task);
        }
        let now = misc::now_ns();
        let head = task.shared();
        // What comes before all others is counted all the same. What nobody waits
        // for any more may have been looked for here already.
        if head.kind == Some(Kind::HeadOfQueue) || task::is_hopeless(head) {
            state.rates.take(bytes, now);
            return Passed::Now(task);
        }
        if state.count == 0 && state.rates.wait_ns(now) == 0 {
            state.rates.take(bytes, now);
            return Passed::Now(task);
        }
        if state.count >= MOST_HELD {
            return Passed::Full(task);
        }
        let body = task.get();
        body.load = bytes;
        body.held_ns = now;
        let head = task.shared();
        head.session.count_held();
        if let Some(nexus) = head.nexus.as_ref() {
            nexus.lun().count_held();
        }
        state.held.push(task);
        state.count = state.count.saturating_add(1);
        self.publish(&state);
        self.arm(&mut state, now);
        Passed::Held
    }

    /// Sees to it that somebody comes for what is kept. With the lock held.
    fn arm(self: &Arc<Self>, state: &mut State, now_ns: u64) {
        if state.armed || state.count == 0 {
            return;
        }
        let wait_ms = state.rates.wait_ns(now_ns).div_ceil(1_000_000);
        let wait_ms = u32::try_from(wait_ms).unwrap_or(LOOK_MS).min(LOOK_MS);
        let Some(queue) = work::bh() else {
            return;
        };
        state.armed = true;
        ARMED.add(1, Relaxed);
        let work = self.clone();
        if queue
            .enqueue_delayed::<Arc<Caps>, 0>(work, msecs_to_jiffies(wait_ms))
            .is_err()
        {
            // It is about to run.
            ARMED.add(-1, Relaxed);
        }
    }

    /// Lets those go on whose time has come, and ends those that nobody waits
    /// for. Any context but hardirq.
    fn let_go(self: &Arc<Self>) {
        for _ in 0..BATCHES {
            let mut free = Fifo::new();
            let mut hopeless = Fifo::new();
            let more = {
                let mut state = self.state.lock();
                let now = misc::now_ns();
                let look_ns = u64::from(LOOK_MS).saturating_mul(1_000_000);
                if now.saturating_sub(state.looked_ns) >= look_ns {
                    state.looked_ns = now;
                    state.sort_out(&mut hopeless);
                }
                let more = state.take_due(&mut free, now);
                self.publish(&state);
                if !more {
                    self.arm(&mut state, now);
                }
                more
            };
            end(hopeless);
            task::go_on(free);
            if !more {
                return;
            }
        }
        let mut state = self.state.lock();
        self.arm(&mut state, misc::now_ns());
    }

    /// Ends those of the commands that wait whom nobody waits for any more:
    /// aborted ones, and those whose session or LUN is gone. Any context but
    /// hardirq.
    pub(crate) fn end_hopeless(&self) {
        let mut hopeless = Fifo::new();
        {
            let mut state = self.state.lock();
            if state.count == 0 {
                return;
            }
            state.sort_out(&mut hopeless);
            self.publish(&state);
        }
        end(hopeless);
    }
}

impl State {
    /// Takes those out whose time has come, [`BATCH`] at most; true if there may
    /// be more.
    fn take_due(&mut self, free: &mut Fifo<Head, Body>, now_ns: u64) -> bool {
        for _ in 0..BATCH {
            if self.rates.wait_ns(now_ns) != 0 {
                return false;
            }
            let Some(mut task) = self.held.pop() else {
                return false;
            };
            self.count = self.count.saturating_sub(1);
            let body = task.get();
            self.rates.take(body.load, now_ns);
            waited(&mut task, now_ns);
            free.push(task);
        }
        true
    }

    fn sort_out(&mut self, hopeless: &mut Fifo<Head, Body>) {
        let mut kept = Fifo::new();
        let now_ns = misc::now_ns();
        self.count = 0;
        while let Some(mut task) = self.held.pop() {
            if task::is_hopeless(task.shared()) {
                waited(&mut task, now_ns);
                hopeless.push(task);
            } else {
                self.count = self.count.saturating_add(1);
                kept.push(task);
            }
        }
        self.held = kept;
    }
}

/// Counts that a command has waited.
fn waited(task: &mut Task, now_ns: u64) {
    let since_ns = task.peek().held_ns;
    let us = now_ns.saturating_sub(since_ns) / 1000;
    let head = task.shared();
    head.session.count_held_us(us);
    if let Some(nexus) = head.nexus.as_ref() {
        nexus.lun().count_held_us(us);
    }
}

fn end(mut hopeless: Fifo<Head, Body>) {
    while let Some(task) = hopeless.pop() {
        task::end_gone(task);
    }
}
