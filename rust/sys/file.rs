// SPDX-License-Identifier: GPL-2.0

//! Small files that are read and replaced as a whole.
//!
//! Paths are those that init sees. All of this sleeps, and waits for the file
//! system as long as it takes. Only what a system call names is looked up as its
//! caller sees it, and with a deadline ([`check_is_dir`], [`block_device`]).
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    errand,
    misc, //
};
use core::ptr::NonNull;
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CStr, //
};

/// An open file or directory.
///
/// # Invariants
///
/// The pointer is an open file, and nobody else closes it.
struct File(NonNull<bindings::file>);

impl File {
    /// Takes what an open function returned.
    ///
    /// # Safety
    ///
    /// `file` is an error pointer, or an open file that is nobody else's.
    unsafe fn take(file: *mut bindings::file) -> Result<Self> {
        // INVARIANT: By the caller's promise.
        NonNull::new(from_err_ptr(file)?).map(Self).ok_or(EINVAL)
    }

    fn open(path: &CStr, flags: i32) -> Result<Self> {
        // SAFETY: `path` is a C string; what is returned is ours.
        unsafe { Self::take(bindings::fer_file_open(path.as_char_ptr(), flags)) }
    }

    fn open_in(&self, name: &CStr, flags: i32) -> Result<Self> {
        let dir = self.0.as_ptr();
        // SAFETY: `dir` is open by the type invariant, `name` is a C string;
        // what is returned is ours.
        unsafe { Self::take(bindings::fer_file_open_in(dir, name.as_char_ptr(), flags)) }
    }

    /// Reads at a position; 0 is the end.
    fn read_at(&self, at: usize, buf: &mut [u8]) -> Result<usize> {
        let mut pos = bindings::loff_t::try_from(at)?;
        // SAFETY: The file is open by the type invariant, `buf` is valid for
        // its length.
        let n = unsafe {
            bindings::kernel_read(
                self.0.as_ptr(),
                buf.as_mut_ptr().cast(),
                buf.len(),
                &mut pos,
            )
        };
        count(n)
    }

    fn write_at(&self, at: usize, data: &[u8]) -> Result<usize> {
        let mut pos = bindings::loff_t::try_from(at)?;
        // SAFETY: The file is open by the type invariant, `data` is valid for
        // its length.
        let n = unsafe {
            bindings::kernel_write(self.0.as_ptr(), data.as_ptr().cast(), data.len(), &mut pos)
        };
        count(n)
    }

    /// Returns when the file, or what is in the directory, is on the medium.
    fn sync(&self) -> Result {
        // SAFETY: The file is open by the type invariant.
        to_result(unsafe { bindings::vfs_fsync(self.0.as_ptr(), 0) })
    }

    fn rename(&self, from: &CStr, to: &CStr) -> Result {
        // SAFETY: The file is open by the type invariant, and was opened as a
        // directory; the names are C strings.
        to_result(unsafe {
            bindings::fer_file_rename(self.0.as_ptr(), from.as_char_ptr(), to.as_char_ptr())
        })
    }

    fn unlink(&self, name: &CStr) -> Result {
        // SAFETY: As in `rename`.
        to_result(unsafe { bindings::fer_file_unlink(self.0.as_ptr(), name.as_char_ptr()) })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: Open, and not used any more.
        unsafe { bindings::fer_file_close(self.0.as_ptr()) };
    }
}

/// Where the caller of a system call sees files from, and what it may see: paths
/// that it names are looked up so also by somebody else, in its stead.
///
/// # Invariants
///
/// The pointer is a view that nobody else gives back.
struct View(NonNull<bindings::fer_view>);

// SAFETY: What it refers to may be used and given back by any thread.
unsafe impl Send for View {}

impl View {
    /// The view of the caller of a system call.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn of_caller() -> Result<Self> {
        // SAFETY: No preconditions in the context of a task.
        let view = unsafe { bindings::fer_view_get() };
        // INVARIANT: It was just made for us.
        NonNull::new(view).map(Self).ok_or(ENOMEM)
    }

    /// Whether `path` names a directory. May wait for a file system as long as
    /// that takes.
    ///
    /// # Errors
    ///
    /// What looking it up gave: `ENOENT`, `ENOTDIR`, `EACCES`...
    fn check_is_dir(&self, path: &CStr) -> Result {
        // SAFETY: The view is valid by the type invariant, `path` is a C string.
        to_result(unsafe { bindings::fer_view_is_dir(self.0.as_ptr(), path.as_char_ptr()) })
    }

    /// The number of the block device that `path` names. May wait for a file
    /// system as long as that takes.
    ///
    /// # Errors
    ///
    /// `ENOTBLK` for what is no block device, `EACCES` where devices are of no
    /// effect, `ENOENT` and so on.
    fn block_device(&self, path: &CStr) -> Result<bindings::dev_t> {
        let mut dev = 0;
        // SAFETY: The view is valid by the type invariant, `path` is a C
        // string, `dev` is valid for writing.
        to_result(unsafe {
            bindings::fer_view_block_device(self.0.as_ptr(), path.as_char_ptr(), &mut dev)
        })?;
        Ok(dev)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours, and not used any more.
        unsafe { bindings::fer_view_put(self.0.as_ptr()) };
    }
}

/// Looks `path` up as the caller of the system call sees it, and has `f` look at
/// what is there; for [`errand::PATIENCE_MS`] at most.
fn look_up<T: Send + Unpin + 'static>(
    path: &[u8],
    f: impl FnOnce(&View, &CStr) -> Result<T> + Send + 'static,
) -> Result<T> {
    let terminated = misc::terminated(path)?;
    let view = View::of_caller()?;
    errand::run(errand::PATIENCE_MS, move || {
        let path = CStr::from_bytes_with_nul(&terminated).map_err(|_| EINVAL)?;
        f(&view, path)
    })?
}

/// Whether `path` names a directory, as the caller of the system call sees it.
///
/// # Errors
///
/// What looking it up gave: `ENOENT`, `ENOTDIR`, `EACCES`..., `EINVAL` for a path
/// with a NUL in it; or those of [`errand::run`].
pub(crate) fn check_is_dir(path: &[u8]) -> Result {
    look_up(path, View::check_is_dir)
}

/// The number of the block device that `path` names, as the caller of the system
/// call sees it.
///
/// # Errors
///
/// As of [`check_is_dir`]; `ENOTBLK` for what is no block device.
pub(in crate::sys) fn block_device(path: &[u8]) -> Result<bindings::dev_t> {
    look_up(path, View::block_device)
}

/// The directory that the module parameter `pr_dir` names.
pub(crate) fn pr_dir() -> &'static CStr {
    // SAFETY: The parameter is a C string; it can be set when the module is
    // loaded only, and stays as long as the module.
    unsafe { CStr::from_char_ptr(bindings::fer_file_pr_dir()) }
}

/// What a file's being damaged is told as: `EUCLEAN`.
pub(crate) fn damaged() -> Error {
    misc::error_of(bindings::EUCLEAN)
}

/// What a read or write returned.
fn count(n: isize) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::from_errno(i32::try_from(n).unwrap_or(-5)))
}

/// Reads a whole file; `None` if there is no such file or directory.
///
/// # Errors
///
/// `EFBIG` if it has more than `limit` bytes, `ENOMEM`, or what the file
/// system says.
pub(crate) fn read(dir: &CStr, name: &CStr, limit: usize) -> Result<Option<KVVec<u8>>> {
    let found = File::open(dir, bindings::FER_OPEN_DIR)
        .and_then(|dir| dir.open_in(name, bindings::FER_OPEN_READ));
    let file = match found {
        Ok(file) => file,
        Err(e) if e == ENOENT => return Ok(None),
        Err(e) => return Err(e),
    };
    // One byte more, to see that there is none.
    let mut bytes = KVVec::from_elem(0u8, limit.saturating_add(1), GFP_KERNEL)?;
    let mut len = 0usize;
    loop {
        let room = bytes.get_mut(len..).unwrap_or_default();
        if room.is_empty() {
            return Err(EFBIG);
        }
        match file.read_at(len, room)? {
            0 => break,
            n => len = len.saturating_add(n),
        }
    }
    bytes.truncate(len);
    Ok(Some(bytes))
}

/// Whether there is a directory of that path.
pub(crate) fn is_dir(path: &CStr) -> bool {
    File::open(path, bindings::FER_OPEN_DIR).is_ok()
}

/// How a file could not be changed.
pub(crate) struct NotDone {
    /// What went wrong.
    pub(crate) error: Error,
    /// Whether the file is what it was before, also after a loss of power.
    pub(crate) untouched: bool,
}

impl<E: Into<Error>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            untouched: true,
        }
    }
}

impl NotDone {
    fn in_doubt(error: Error) -> Self {
        Self {
            error,
            untouched: false,
        }
    }
}

/// Replaces a file, or makes it: whenever power is lost, either what was there
/// before is there, or all of `data`. When this returns `Ok` it is the latter.
/// `temporary` is the name of another file in the same directory, which is
/// overwritten.
///
/// # Errors
///
/// What the file system says.
pub(crate) fn replace(
    dir: &CStr,
    temporary: &CStr,
    name: &CStr,
    data: &[u8],
) -> Result<(), NotDone> {
    let dir = File::open(dir, bindings::FER_OPEN_DIR)?;
    let file = dir.open_in(temporary, bindings::FER_OPEN_WRITE)?;
    let mut done = 0usize;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write_at(done, rest)? {
            0 => return Err(ENOSPC.into()),
            n => done = done.saturating_add(n),
        }
    }
    file.sync()?;
    drop(file);
    dir.rename(temporary, name)
        .and_then(|()| dir.sync())
        .map_err(NotDone::in_doubt)
}

/// Removes a file if it is there, and tells whether it was; it is gone for good
/// when this returns `Ok`.
///
/// # Errors
///
/// What the file system says.
pub(crate) fn remove(dir: &CStr, name: &CStr) -> Result<bool, NotDone> {
    let dir = match File::open(dir, bindings::FER_OPEN_DIR) {
        Err(e) if e == ENOENT => return Ok(false),
        dir => dir?,
    };
    // Looked for first: what is not there need not be removed from a file
    // system that cannot be written.
    match dir.open_in(name, bindings::FER_OPEN_READ) {
        Err(e) if e == ENOENT => Ok(false),
        _ => dir.unlink(name).map(|()| true),
    }
    .and_then(|was_there| dir.sync().map(|()| was_there))
    .map_err(NotDone::in_doubt)
}
