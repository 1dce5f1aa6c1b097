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
    sync::Arc,
    types::NotThreadSafe, //
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

/// What can be done at the end of a batch.
pub(crate) trait After: Send + Sync + 'static {
    /// Called in a submit thread, with softirqs disabled.
    fn after(this: Arc<Self>);
}

/// Has [`After::after`] called at the end of the batch, if this is a submit
/// thread that has one, and not too much to do after it; hands `this` back if
/// not. Any context.
pub(crate) fn after<T: After>(this: Arc<T>) -> Result<(), Arc<T>> {
    /// # Safety
    ///
    /// `raw` must come from `Arc::into_raw` of a `T`, and be passed once.
    unsafe extern "C" fn call<T: After>(raw: *mut c_void) {
        // SAFETY: By the caller's promise.
        T::after(unsafe { Arc::from_raw(raw.cast::<T>()) });
    }
    let raw = Arc::into_raw(this);
    // SAFETY: If it is taken, `call` gets `raw` once, at the end of the batch.
    if unsafe { bindings::fer_submit_after(Some(call::<T>), raw.cast_mut().cast()) } {
        Ok(())
    } else {
        // SAFETY: It was not taken, and came from `into_raw` above.
        Err(unsafe { Arc::from_raw(raw) })
    }
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
