// SPDX-License-Identifier: GPL-2.0

//! A shared object that many use and few replace.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::{
    atomic::InPlace,
    bindings, //
};
use core::ptr;
use kernel::sync::{
    atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
    rcu,
    Arc,
    ArcBorrow, //
};

/// A place for an object, which may be empty.
///
/// # Invariants
///
/// The pointer is null, or comes from `Arc::into_raw`, and that reference is
/// the slot's. It is given up only after a grace period of RCU that began when
/// the pointer was not in the slot any more.
pub(crate) struct Slot<T: Send + Sync + 'static>(Atomic<*mut T>);

// SAFETY: It is a reference to a `T` that any thread may use and give up, and
// an atomic pointer.
unsafe impl<T: Send + Sync + 'static> Send for Slot<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync + 'static> Sync for Slot<T> {}

impl<T: Send + Sync + 'static> Slot<T> {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Whether there is something in it. Any context.
    pub(crate) fn is_set(&self) -> bool {
        !self.0.now().is_null()
    }

    /// What is in it. Any context.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        let _read = rcu::read_lock();
        let now = self.0.acquired();
        if now.is_null() {
            return None;
        }
        // SAFETY: By the type invariant it comes from `Arc::into_raw`, and the
        // slot's reference stays as long as we read.
        Some(unsafe { ArcBorrow::from_raw(now) }.into())
    }

    /// Looks at what is in it: for less than [`get`](Self::get) costs. `look`
    /// must not sleep. Any context.
    pub(crate) fn with<R>(&self, look: impl FnOnce(Option<&T>) -> R) -> R {
        let _read = rcu::read_lock();
        // SAFETY: By the type invariant it is null, or an object that stays as
        // long as we read.
        look(unsafe { self.0.acquired().as_ref() })
    }

    /// Puts something in, or empties it, and returns what was in it: whoever
    /// looks from now on sees the new one, and nobody is looking at the old one.
    /// Process context; sleeps.
    pub(crate) fn put(&self, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let new = new.map_or(ptr::null_mut(), |new| Arc::into_raw(new).cast_mut());
        // INVARIANT: The reference is the slot's from now on.
        let old = self.0.xchg(new, Full);
        if old.is_null() {
            return None;
        }
        // SAFETY: This is process context.
        unsafe { bindings::synchronize_rcu() };
        // SAFETY: By the type invariant this is the slot's reference; it is not
        // in the slot any more, and a grace period is over.
        Some(unsafe { Arc::from_raw(old) })
    }
}

impl<T: Send + Sync + 'static> Drop for Slot<T> {
    fn drop(&mut self) {
        let now = self.0.load(Relaxed);
        if !now.is_null() {
            // SAFETY: By the type invariant this is the slot's reference;
            // nobody has the slot any more.
            drop(unsafe { Arc::from_raw(now) });
        }
    }
}
