// SPDX-License-Identifier: GPL-2.0

//! The submit threads: one for each CPU, woken once for a batch of commands.
//!
//! A bio must not be submitted from softirq (the driver's locks are taken with
//! softirqs enabled), so the receive path hands commands to the thread
//! `ferrite/N` of its own CPU, which submits them under one plug.

use super::{
    bindings,
    llist::Chain,
    owned::Owned, //
};
use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Release, //
        },
        Arc, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// What travels through the submit threads.
pub(crate) trait Submit {
    /// The shared part of the command.
    type Shared: Send + Sync;
    /// The exclusive part of the command.
    type Exclusive: Send;
    /// What the commands of a batch have in common.
    type Batch;

    /// Called in the submit thread before each batch.
    fn batch() -> Self::Batch;

    /// Called in the submit thread, under a plug, for each command.
    fn submit(command: Owned<Self::Shared, Self::Exclusive>, batch: &mut Self::Batch);
}

/// Keeps the submit threads; dropping it stops them.
pub(crate) struct Threads<T: Submit>(core::marker::PhantomData<fn(T)>);

impl<T: Submit> Threads<T> {
    /// Starts a thread on each CPU. To be called once.
    ///
    /// # Errors
    ///
    /// What thread creation failed with.
    pub(crate) fn start() -> Result<Self> {
        // SAFETY: `run` stays valid until `fer_submit_stop`, in `drop`.
        kernel::error::to_result(unsafe { bindings::fer_submit_start(Some(run::<T>)) })?;
        Ok(Self(core::marker::PhantomData))
    }
}

impl<T: Submit> Drop for Threads<T> {
    fn drop(&mut self) {
        // SAFETY: Made by `start`, and stopped once.
        unsafe { bindings::fer_submit_stop() };
    }
}

/// Hands `command` to the submit thread of this CPU. Any context but hardirq.
pub(crate) fn push<T: Submit>(command: Owned<T::Shared, T::Exclusive>) {
    // SAFETY: By `Owned`'s invariants the link is in no other list; `run::<T>`
    // takes it back.
    unsafe { bindings::fer_submit_push(command.into_link()) };
}

/// The place of something in the list of what is to be done at the end of a batch.
///
/// # Invariants
///
/// While `listed` is not 0 the list, or who made it so, has `raw`, and nobody else.
pub(crate) struct Place {
    raw: Opaque<bindings::fer_after>,
    listed: Atomic<i32>,
}

// SAFETY: It may be used by any thread; whose `raw` is, `listed` tells.
unsafe impl Send for Place {}
// SAFETY: As above.
unsafe impl Sync for Place {}

impl Place {
    /// One that is in no list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is not listed.
        Self {
            raw: Opaque::uninit(),
            listed: Atomic::new(0),
        }
    }
}

/// What can be done at the end of a batch.
pub(crate) trait After: Send + Sync + 'static {
    /// Its place in the list.
    fn place(&self) -> &Place;

    /// Called in a submit thread, with softirqs disabled.
    fn after(this: Arc<Self>);
}

/// Has [`After::after`] called at the end of the batch, if this is a submit
/// thread that has one, and it is not going to be already; hands `this` back if
/// not. Any context.
pub(crate) fn after<T: After>(this: Arc<T>) -> Result<(), Arc<T>> {
    /// # Safety
    ///
    /// `raw` must come from `Arc::into_raw` of a `T`, and be passed once; its place
    /// must be in no list any more.
    unsafe extern "C" fn call<T: After>(raw: *mut c_void) {
        // SAFETY: By the caller's promise.
        let this = unsafe { Arc::from_raw(raw.cast::<T>()) };
        // INVARIANT: It is in no list. Who lists it next writes to what the list has
        // just read.
        this.place().listed.store(0, Release);
        T::after(this);
    }
    // SAFETY: No preconditions.
    if !unsafe { bindings::fer_submit_is_open() } {
        return Err(this);
    }
    let place = this.place();
    if place.listed.xchg(1, Full) != 0 {
        return Err(this);
    }
    let after = place.raw.get();
    let raw = Arc::into_raw(this);
    // SAFETY: By the type invariant `after` is ours, and stays where it is, as the
    // list has a reference to what it is a part of. This is a submit thread, which
    // gives that to `call`, once, when it has taken `after` from the list.
    unsafe {
        (*after).fn_ = Some(call::<T>);
        (*after).arg = raw.cast_mut().cast();
        bindings::fer_submit_after(after);
    }
    Ok(())
}

/// While it lives, a softirq that is raised in a submit thread waits for the end
/// of the batch; elsewhere it changes nothing.
pub(crate) struct Quiet {
    on: bool,
    _stay: NotThreadSafe,
}

/// Makes a [`Quiet`]. Any context.
pub(crate) fn quiet() -> Quiet {
    Quiet {
        // SAFETY: No preconditions; the end is in `drop`.
        on: unsafe { bindings::fer_submit_quiet_begin() },
        _stay: NotThreadSafe,
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.on {
            // SAFETY: It was begun, in this thread, which cannot have changed.
            unsafe { bindings::fer_submit_quiet_end() };
        }
    }
}

/// # Safety
///
/// `batch` must be what was pushed by `push::<T>`.
unsafe extern "C" fn run<T: Submit>(batch: *mut bindings::llist_node) {
    // SAFETY: All that is pushed to the threads is pushed by `push::<T>`.
    let batch = unsafe { Chain::<T::Shared, T::Exclusive>::from_raw(batch) };
    let mut common = T::batch();
    for command in batch {
        T::submit(command, &mut common);
    }
}
