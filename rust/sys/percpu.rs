// SPDX-License-Identifier: GPL-2.0

//! Numbers of which every CPU has its own: adding to one costs no more than
//! that, and reading one adds up those of all CPUs.

use super::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// What this CPU did before is seen by others before what it does afterwards.
/// Kernels differ in the type of their own function of the name.
pub(crate) fn smp_mb() {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_smp_mb() };
}

/// `N` numbers on each CPU.
///
/// # Invariants
///
/// The pointer is an allocation of `N` numbers per CPU, which is ours.
pub(crate) struct PerCpu<const N: usize>(NonNull<u64>);

// SAFETY: The numbers may be added to and read by any thread.
unsafe impl<const N: usize> Send for PerCpu<N> {}
// SAFETY: As above.
unsafe impl<const N: usize> Sync for PerCpu<N> {}

impl<const N: usize> PerCpu<N> {
    /// All zero. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: No preconditions; this may sleep.
        let numbers = unsafe { bindings::fer_pcpu_alloc(N as u32) };
        // INVARIANT: It was just made, and is freed by `drop`.
        Ok(Self(NonNull::new(numbers).ok_or(ENOMEM)?))
    }

    /// Adds to a number, wrapping; there is nothing to add to beyond the last.
    /// Any context.
    pub(crate) fn add(&self, index: usize, n: u64) {
        if index < N {
            // SAFETY: By the type invariant there is such a number.
            unsafe { bindings::fer_pcpu_add(self.0.as_ptr(), index as u32, n) };
        }
    }

    /// The sum over all CPUs, wrapping; 0 beyond the last. Any context.
    pub(crate) fn sum(&self, index: usize) -> u64 {
        if index >= N {
            return 0;
        }
        // SAFETY: By the type invariant there is such a number.
        unsafe { bindings::fer_pcpu_sum(self.0.as_ptr(), index as u32) }
    }
}

impl<const N: usize> Drop for PerCpu<N> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours; nobody uses it any more.
        unsafe { bindings::fer_pcpu_free(self.0.as_ptr()) };
    }
}
