// SPDX-License-Identifier: GPL-2.0

//! What the KUnit suites need of the kernel, made safe. In no other build.

use super::{
    bindings,
    pages::PageBuf, //
};
use core::{
    ffi::c_void,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// Allocations of one operation that are made to fail, one at a time, at most.
const SITES: u32 = 500;

/// Runs `f` while the `n`th allocation of this task fails, and no other. Also
/// returns whether it came to that.
pub(crate) fn failing<T>(n: u32, f: impl FnOnce() -> T) -> (T, bool) {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_kunit_fail_nth(n) };
    let result = f();
    // SAFETY: No preconditions.
    let left = unsafe { bindings::fer_kunit_fail_left() };
    (result, left == 0)
}

/// What became of an operation whose allocations failed one at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    /// How many allocations it makes.
    pub(crate) sites: u32,
    /// How often it said `ENOMEM`.
    pub(crate) refused: u32,
    /// How often it did without the memory.
    pub(crate) managed: u32,
    /// How often it gave another error.
    pub(crate) other: u32,
}

/// Lets each allocation that `f` makes fail in turn, the others not. After each
/// run `check` looks whether all is as before; its error ends it.
///
/// # Errors
///
/// What `check` says, and what `f` says when no allocation fails.
pub(crate) fn each_failure<T>(
    mut f: impl FnMut() -> Result<T>,
    mut check: impl FnMut() -> Result,
) -> Result<Failures> {
    let mut seen = Failures::default();
    for n in 1..SITES {
        let (result, failed) = failing(n, &mut f);
        if !failed {
            result?;
            check()?;
            return Ok(seen);
        }
        seen.sites = n;
        match result {
            Ok(_) => seen.managed += 1,
            Err(e) if e == ENOMEM => seen.refused += 1,
            Err(_) => seen.other += 1,
        }
        check()?;
    }
    Err(E2BIG)
}

/// CPUs that run.
pub(crate) fn cpus() -> u32 {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_kunit_cpus() }
}

/// Runs `f` on `cpu` with interrupts off, as an interrupt of it would be.
///
/// # Errors
///
/// `ENXIO` when there is no such CPU.
pub(crate) fn in_hardirq<F: FnMut() + Send>(cpu: u32, mut f: F) -> Result {
    /// # Safety
    ///
    /// `data` must be an `F`.
    unsafe extern "C" fn call<F: FnMut()>(data: *mut c_void) {
        // SAFETY: By the caller's promise; it waits for us.
        unsafe { (*data.cast::<F>())() };
    }
    let data = ptr::from_mut(&mut f).cast();
    // SAFETY: `f` outlives the call, which waits, and nobody else uses it.
    to_result(unsafe { bindings::fer_kunit_in_hardirq(cpu, Some(call::<F>), data) })
}

/// Runs `f` in a task on `cpu`.
///
/// # Errors
///
/// `ENODEV` when there is no such CPU.
pub(crate) fn on_cpu<F: FnMut() + Send>(cpu: u32, mut f: F) -> Result {
    /// # Safety
    ///
    /// `data` must be an `F`.
    unsafe extern "C" fn call<F: FnMut()>(data: *mut c_void) -> isize {
        // SAFETY: By the caller's promise; it waits for us.
        unsafe { (*data.cast::<F>())() };
        0
    }
    let data = ptr::from_mut(&mut f).cast();
    // SAFETY: `f` outlives the call, which waits, and nobody else uses it.
    to_result(unsafe { bindings::fer_kunit_on_cpu(cpu, Some(call::<F>), data) })
}

/// Runs `f` in a softirq, and waits. To be called by a task.
pub(crate) fn in_softirq<F: FnMut() + Send>(mut f: F) {
    /// # Safety
    ///
    /// `data` must be an `F`.
    unsafe extern "C" fn call<F: FnMut()>(data: *mut c_void) {
        // SAFETY: By the caller's promise; it waits for us.
        unsafe { (*data.cast::<F>())() };
    }
    let data = ptr::from_mut(&mut f).cast();
    // SAFETY: `f` outlives the call, which waits, and nobody else uses it.
    unsafe { bindings::fer_kunit_in_softirq(Some(call::<F>), data) };
}

/// The other end of a connection.
///
/// # Invariants
///
/// The pointer is a connected socket that is ours.
pub(crate) struct Peer(NonNull<bindings::socket>);

// SAFETY: A `struct socket` may be used from any thread.
unsafe impl Send for Peer {}
// SAFETY: As above.
unsafe impl Sync for Peer {}

impl Peer {
    /// Connects to a port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let mut sock = ptr::null_mut();
        // SAFETY: `sock` is valid for the call.
        to_result(unsafe { bindings::fer_kunit_connect(port, &mut sock) })?;
        // INVARIANT: It was just made for us.
        NonNull::new(sock).map(Self).ok_or(EINVAL)
    }

    /// Sends as much as there is room for.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is none; what the kernel says.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `bytes` is valid for its length.
        let n = unsafe {
            bindings::fer_kunit_send(self.0.as_ptr(), bytes.as_ptr().cast(), bytes.len())
        };
        usize::try_from(n).map_err(|_| Error::from_errno(n))
    }

    /// Takes what has arrived; 0 when the other end is closed.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when nothing has; what the kernel says.
    pub(crate) fn recv(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `out` is valid for its length.
        let n = unsafe {
            bindings::fer_kunit_recv(self.0.as_ptr(), out.as_mut_ptr().cast(), out.len())
        };
        usize::try_from(n).map_err(|_| Error::from_errno(n))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours to release.
        unsafe { bindings::sock_release(self.0.as_ptr()) };
    }
}

/// Runs a program with up to two arguments, as root, and waits for it; whether
/// it said that it succeeded.
pub(crate) fn run(program: &CStr, args: [&CStr; 3]) -> bool {
    let [a, b, c] = args.map(|arg| match arg.is_empty() {
        true => ptr::null(),
        false => arg.as_char_ptr(),
    });
    // SAFETY: All are C strings or NULL, which ends the list.
    unsafe { bindings::fer_kunit_run(program.as_char_ptr(), a, b, c) == 0 }
}

/// An open file.
///
/// # Invariants
///
/// The pointer is a file, and one reference to it is ours.
pub(crate) struct File(NonNull<bindings::file>);

// SAFETY: A `struct file` may be used from any thread.
unsafe impl Send for File {}
// SAFETY: As above.
unsafe impl Sync for File {}

impl File {
    /// Opens a file to write or to read it.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn open(path: &CStr, write: bool) -> Result<Self> {
        let mut file = ptr::null_mut();
        // SAFETY: `path` is a C string; `file` is valid for the call.
        to_result(unsafe { bindings::fer_kunit_open(path.as_char_ptr(), write, &mut file) })?;
        // INVARIANT: It was just opened for us.
        NonNull::new(file).map(Self).ok_or(EINVAL)
    }

    /// Reads from its beginning.
    ///
    /// # Errors
    ///
    /// What the file says.
    pub(crate) fn read(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `out` is valid for its length.
        let n = unsafe {
            bindings::fer_kunit_read(self.0.as_ptr(), out.as_mut_ptr().cast(), out.len())
        };
        usize::try_from(n).map_err(|_| Error::from_errno(n as i32))
    }

    /// Writes to its beginning.
    ///
    /// # Errors
    ///
    /// What the file says.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `bytes` is valid for its length.
        let n = unsafe {
            bindings::fer_kunit_write(self.0.as_ptr(), bytes.as_ptr().cast(), bytes.len())
        };
        usize::try_from(n).map_err(|_| Error::from_errno(n as i32))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours; the suites run
        // in kernel threads.
        unsafe { bindings::fer_kunit_close(self.0.as_ptr()) };
    }
}

/// How many references there are to the page of the first piece of `buf`.
pub(crate) fn page_refs(buf: &PageBuf) -> u32 {
    buf.bvecs().first().map_or(0, |piece| {
        // SAFETY: `buf` holds a reference to the page.
        unsafe { bindings::fer_kunit_page_refs(piece.bv_page) }
    })
}
