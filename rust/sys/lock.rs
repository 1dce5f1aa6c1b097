// SPDX-License-Identifier: GPL-2.0

//! A spin lock that also keeps softirqs off this CPU.
//!
//! State that both the receive path (softirq) and configuration (process
//! context) touch needs it; the kernel crate has only the plain spin lock.

use super::bindings;
use kernel::sync::lock::{
    Backend,
    Lock, //
};

/// The backend of [`SpinLockBh`]: `spin_lock_bh()`.
pub(crate) struct BhBackend;

// SAFETY: `spin_lock_bh` excludes every other CPU, and softirqs on this one,
// until `spin_unlock_bh`, and so does `spin_lock` within a softirq; `relock` is
// the default and uses `lock`.
unsafe impl Backend for BhBackend {
    type State = bindings::spinlock_t;
    /// Whether it keeps softirqs off; within one it need not.
    type GuardState = bool;

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: The caller promises that `ptr` is valid for writes and that
        // `name` and `key` live for ever.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> bool {
        // SAFETY: The caller promises an initialised lock.
        unsafe { bindings::fer_spin_lock_bh(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<bool> {
        // SAFETY: As in `lock`.
        unsafe { bindings::fer_spin_trylock_bh(ptr) }.then_some(true)
    }

    unsafe fn unlock(ptr: *mut Self::State, bh: &bool) {
        // SAFETY: The caller owns the lock, and `bh` is what it got with it.
        unsafe { bindings::fer_spin_unlock_bh(ptr, *bh) }
    }

    unsafe fn assert_is_held(_ptr: *mut Self::State) {}
}

/// A spin lock with softirqs disabled while it is held.
pub(crate) type SpinLockBh<T> = Lock<T, BhBackend>;

/// Makes an initialiser for a [`SpinLockBh`] with its own lock class.
macro_rules! new_spinlock_bh {
    ($value:expr, $name:literal) => {
        $crate::sys::lock::SpinLockBh::new(
            $value,
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_bh;
