// SPDX-License-Identifier: GPL-2.0

//! Loads and stores that are one instruction.
//!
//! Those of the kernel crate are calls of C functions; a command does some fifty.

use core::sync::atomic::{
    fence,
    Ordering, //
};
use kernel::sync::atomic::{
    Atomic,
    AtomicType, //
};

/// `load(Relaxed)`, `load(Acquire)` and `store(.., Relaxed)`, in place.
pub(crate) trait InPlace<T> {
    /// The value now.
    fn now(&self) -> T;

    /// The value now; what whoever has stored it did before is seen from here on.
    fn acquired(&self) -> T;

    /// Sets the value.
    fn put(&self, value: T);
}

impl<T: AtomicType + Copy> InPlace<T> for Atomic<T> {
    #[inline(always)]
    fn now(&self) -> T {
        // SAFETY: The pointer is valid. A volatile access of such a size is what
        // `READ_ONCE()` is, and that is what `atomic_read()` is.
        unsafe { self.as_ptr().read_volatile() }
    }

    #[inline(always)]
    fn acquired(&self) -> T {
        let value = self.now();
        // As strong as `smp_load_acquire()`; no instruction where loads are in
        // order anyway.
        fence(Ordering::Acquire);
        value
    }

    #[inline(always)]
    fn put(&self, value: T) {
        // SAFETY: As in `now`, with `WRITE_ONCE()` and `atomic_set()`.
        unsafe { self.as_ptr().write_volatile(value) }
    }
}
