// SPDX-License-Identifier: GPL-2.0

//! The module's own workqueues.
//!
//! - [`bh`]: softirq; sends what is ready.
//! - [`slow`]: process context, unbound; disk work that may sleep.
//! - [`control`]: process context, unbound; accept, login, teardown. Apart
//!   from `slow`, so that a hung disk never delays a login.
//! - [`errands`]: process context, unbound; what an administrator waits for, and
//!   that may hang.

use super::{
    bindings,
    owned::Owned, //
};
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::SetOnce,
    workqueue::Queue, //
};

/// A workqueue of ours.
///
/// # Invariants
///
/// The pointer is a workqueue that lives until [`Queues`] is dropped.
struct Wq(NonNull<bindings::workqueue_struct>);

// SAFETY: Workqueues may be used from any thread.
unsafe impl Send for Wq {}
// SAFETY: As above.
unsafe impl Sync for Wq {}

static BH: SetOnce<Wq> = SetOnce::new();
static SLOW: SetOnce<Wq> = SetOnce::new();
static CONTROL: SetOnce<Wq> = SetOnce::new();
static ERRANDS: SetOnce<Wq> = SetOnce::new();

/// Keeps the workqueues; dropping it waits for all that is queued.
pub(crate) struct Queues(());

impl Queues {
    /// Makes the workqueues. To be called once, before anything is queued.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when a workqueue cannot be made.
    pub(crate) fn start() -> Result<Self> {
        let keep = Queues(());
        Self::make(&BH, c"ferrite-bh", true, false)?;
        Self::make(&SLOW, c"ferrite-slow", false, true)?;
        Self::make(&CONTROL, c"ferrite-control", false, true)?;
        Self::make(&ERRANDS, c"ferrite-errands", false, false)?;
        Ok(keep)
    }

    fn make(slot: &SetOnce<Wq>, name: &CStr, bh: bool, reclaim: bool) -> Result {
        // SAFETY: `name` is a C string; it is copied.
        let wq = unsafe { bindings::fer_wq_alloc(name.as_char_ptr(), bh, reclaim) };
        let wq = NonNull::new(wq).ok_or(ENOMEM)?;
        // INVARIANT: It was just made and is destroyed by `Queues::drop`.
        slot.populate(Wq(wq));
        Ok(())
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        for slot in [&ERRANDS, &CONTROL, &SLOW, &BH] {
            if let Some(wq) = slot.as_ref() {
                // SAFETY: Dropped once, when nothing queues any more.
                unsafe { bindings::fer_wq_free(wq.0.as_ptr()) };
            }
        }
    }
}

fn queue(slot: &'static SetOnce<Wq>) -> Option<&'static Queue> {
    slot.as_ref().map(|wq| {
        // SAFETY: By the invariant of `Wq` it lives until `Queues` is dropped,
        // which is after everything that queues.
        unsafe { Queue::from_raw(wq.0.as_ptr()) }
    })
}

/// The queue whose work runs in softirq, on the CPU that queued it.
pub(crate) fn bh() -> Option<&'static Queue> {
    queue(&BH)
}

/// The queue of control work: process context, may sleep for a bounded time.
pub(crate) fn control() -> Option<&'static Queue> {
    queue(&CONTROL)
}

/// The queue of what may take for ever: see [`errand`](super::errand).
pub(in crate::sys) fn errands() -> Option<&'static Queue> {
    queue(&ERRANDS)
}

/// Runs `f` with `owned` on the slow queue: process context, may wait for the
/// disk as long as it takes.
pub(crate) fn slow<S, X>(owned: Owned<S, X>, f: fn(Owned<S, X>)) {
    if let Some(wq) = SLOW.as_ref() {
        owned.queue_on(wq.0, f);
    }
}
