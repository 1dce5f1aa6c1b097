// SPDX-License-Identifier: GPL-2.0

//! Block cgroups: whose I/O it is.
//!
//! C header: [`include/linux/cgroup.h`](srctree/include/linux/cgroup.h)

use super::{
    bindings,
    misc, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CStr,
    sync::Arc,
    types::NotThreadSafe, //
};

/// A cgroup that I/O counts for.
///
/// # Invariants
///
/// The pointer is the block controller's state of a cgroup, and one reference to
/// it is ours.
pub(crate) struct Cgroup(NonNull<c_void>);

// SAFETY: The state of a cgroup may be used, and given up, by any thread.
unsafe impl Send for Cgroup {}
// SAFETY: As above.
unsafe impl Sync for Cgroup {}

/// That the block controller is not enabled for a cgroup: `EOPNOTSUPP`.
pub(crate) fn no_controller() -> Error {
    misc::error_of(bindings::EOPNOTSUPP)
}

impl Cgroup {
    /// The cgroup at a path of the second version's tree, as the current process
    /// sees it. Process context.
    ///
    /// # Errors
    ///
    /// `ENOENT` and so on; [`no_controller`]; `EINVAL` for a path with a NUL in it.
    pub(crate) fn look_up(path: &[u8]) -> Result<Self> {
        let terminated = misc::terminated(path)?;
        let path = CStr::from_bytes_with_nul(&terminated).map_err(|_| EINVAL)?;
        // SAFETY: `path` is a C string.
        let css = from_err_ptr(unsafe { bindings::fer_blkcg_get(path.as_char_ptr()) })?;
        // INVARIANT: The reference is ours now.
        NonNull::new(css).map(Self).ok_or(ENOENT)
    }

    /// For those who begin a bio: valid as long as `self`.
    pub(in crate::sys) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// What this kernel thread does until the result is dropped is its I/O. In
    /// another process it changes nothing. Process context.
    pub(in crate::sys) fn enter(this: Arc<Self>) -> Member {
        // SAFETY: By the type invariant; the thread gets a reference of its own.
        unsafe { bindings::fer_blkcg_enter(this.as_ptr()) };
        Member {
            _stay: NotThreadSafe,
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fer_blkcg_put(self.as_ptr()) };
    }
}

/// While it lives the I/O of this thread is a cgroup's.
pub(in crate::sys) struct Member {
    _stay: NotThreadSafe,
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: The thread gives up its reference.
        unsafe { bindings::fer_blkcg_enter(core::ptr::null_mut()) };
    }
}
