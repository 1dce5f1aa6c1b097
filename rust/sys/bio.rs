// SPDX-License-Identifier: GPL-2.0

//! I/O on a block device: a bio inside its owner, never allocated.
//!
//! An owner goes through these states:
//!
//! 1. It is owned by the caller, its bio is idle.
//! 2. [`submit`] takes it. Nobody can reach it, the block layer uses the bio
//!    and the pages.
//! 3. The bio ends, in any context: it may be a hardirq, or still within
//!    [`submit`]. [`BioOwner::complete`] gets the owner back, its bio is idle.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use super::{
    bdev::{
        Bdev,
        BlkError,
        Live,
        SECTOR, //
    },
    bindings,
    cgroup::Cgroup,
    owned::Owned,
    pages::PageBuf, //
};
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    marker::PhantomPinned,
    ops::Range,
    pin::Pin,
    ptr,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Fill the range of the buffer from the device.
    Read,
    /// Store the range of the buffer on the device.
    Write {
        /// The data must be durable when it ends.
        fua: bool,
        /// What was written before must be durable when it ends.
        preflush: bool,
        /// All of it is stored, or nothing, whatever happens to the device.
        /// One that is too long for that fails with [`BlkError::Invalid`].
        atomic: bool,
    },
    /// Make durable what was written before; takes no data.
    Flush,
}

impl Op {
    /// `bi_opf` of it.
    ///
    /// A write is always one that somebody waits for (`REQ_SYNC`), and no more
    /// are promised (`REQ_IDLE`): other writes are throttled by writeback
    /// throttling, which sleeps whatever `REQ_NOWAIT` says.
    const fn flags(self) -> bindings::blk_opf_t {
        match self {
            Self::Read => bindings::req_op_REQ_OP_READ,
            Self::Write {
                fua,
                preflush,
                atomic,
            } => {
                let mut flags = bindings::req_op_REQ_OP_WRITE | REQ_SYNC | REQ_IDLE;
                if fua {
                    flags |= REQ_FUA;
                }
                if preflush {
                    flags |= REQ_PREFLUSH;
                }
                if atomic {
                    flags |= REQ_ATOMIC;
                }
                flags
            }
            Self::Flush => bindings::req_op_REQ_OP_WRITE | REQ_SYNC | REQ_IDLE | REQ_PREFLUSH,
        }
    }
}

/// A bio that is a part of its owner.
///
/// # Invariants
///
/// `live` is set exactly while the block layer has the bio.
pub(crate) struct Bio {
    raw: Opaque<bindings::bio>,
    live: Option<Live>,
    _pin: PhantomPinned,
}

// SAFETY: A bio may be used by any thread.
unsafe impl Send for Bio {}

impl Bio {
    /// An idle bio.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The block layer does not have it.
        Self {
            raw: Opaque::uninit(),
            live: None,
            _pin: PhantomPinned,
        }
    }

    /// An idle bio in a cell, for an owner that is itself shared.
    pub(crate) fn new_cell() -> impl PinInit<UnsafeCell<Self>> {
        UnsafeCell::new(Self::new())
    }
}

/// What a bio with its buffer is a part of.
///
/// # Safety
///
/// From [`BioOwner::into_raw`] to [`BioOwner::from_raw`], the bio and the
/// buffer that [`BioOwner::parts`] returned last must stay where they are, and
/// nobody may touch either.
pub(crate) unsafe trait BioOwner: Sized + Send + 'static {
    /// The bio and the buffer.
    fn parts(&mut self) -> (Pin<&mut Bio>, &mut PageBuf);

    /// Gives the ownership to a pointer.
    fn into_raw(self) -> NonNull<c_void>;

    /// Takes it back.
    ///
    /// # Safety
    ///
    /// `raw` must come from [`BioOwner::into_raw`], each being taken back
    /// once.
    unsafe fn from_raw(raw: NonNull<c_void>) -> Self;

    /// The I/O has ended. Any context, hardirq included: it must not sleep,
    /// allocate, nor take a lock that is ever taken with interrupts enabled.
    fn complete(self, result: Result<(), BlkError>);
}

/// What an [`Owned`] object needs to do I/O: implemented by its exclusive part.
pub(crate) trait BioTask<S>: Sized {
    /// The buffer of the command.
    fn data(&mut self) -> &mut PageBuf;

    /// See [`BioOwner::complete`].
    fn complete(owned: Owned<S, Self>, result: Result<(), BlkError>);
}

// SAFETY: The bio is inside the object, which is pinned by its `Arc`, and the
// buffer is reached through the exclusive part: without the `Owned`, which is
// the pointer meanwhile, nobody gets at either.
unsafe impl<S, X> BioOwner for Owned<S, X>
where
    S: Send + Sync + 'static,
    X: BioTask<S> + Send + 'static,
{
    fn parts(&mut self) -> (Pin<&mut Bio>, &mut PageBuf) {
        let (bio, exclusive) = self.bio_parts();
        (bio, exclusive.data())
    }

    fn into_raw(self) -> NonNull<c_void> {
        self.into_ptr().cast()
    }

    unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
        // SAFETY: The pointer comes from `into_ptr`, by the caller's promise.
        unsafe { Self::from_ptr(raw.cast()) }
    }

    fn complete(self, result: Result<(), BlkError>) {
        X::complete(self, result);
    }
}

/// Starts I/O on `[sector, sector + range.len() / 512)` of `bdev` with the
/// `range` of the owner's buffer, in bytes. Sectors are of 512 bytes. A
/// [`Op::Flush`] takes the range `0..0`, the sector does not matter.
///
/// With `nowait`, what would have to wait ends with [`BlkError::Again`]; see
/// [`Bdev::fits_nowait`] for what can be submitted so.
///
/// Process context with softirqs enabled: drivers' locks are taken with softirqs
/// enabled, so submitting from a softirq would deadlock. Many should go under
/// one plug.
///
/// When it returns `Ok` the owner has been passed on, and may even have been
/// completed already.
///
/// # Errors
///
/// The owner comes back, nothing was done: [`BlkError::Again`] in any other
/// context, [`BlkError::OutOfRange`] for what ends beyond the end of the device,
/// [`BlkError::ReadOnly`], or [`BlkError::Invalid`] for a range that is not
/// within the buffer or not of whole sectors.
pub(crate) fn submit<O: BioOwner>(
    mut owner: O,
    live: Live,
    op: Op,
    sector: u64,
    range: Range<usize>,
    nowait: bool,
) -> Result<(), (O, BlkError)> {
    // SAFETY: No preconditions.
    if !unsafe { bindings::fer_bio_in_process() } {
        return Err((owner, BlkError::Again));
    }
    let (bio, data) = owner.parts();
    let vector = match Vector::of(data, &live, op, sector, &range) {
        Ok(vector) => vector,
        Err(error) => return Err((owner, error)),
    };
    let nowait = if nowait { REQ_NOWAIT } else { 0 };
    // SAFETY: The bio is not moved out of, `live` is no part that is pinned.
    let bio = unsafe { bio.get_unchecked_mut() };
    let raw = bio.raw.get();
    // SAFETY: The bio is idle, as we own it. `vector` is of the owner's
    // buffer and `live` goes into the bio: both stay until it ends.
    unsafe { vector.init(raw, &live, op.flags() | nowait) };
    // INVARIANT: The block layer has the bio from here on.
    bio.live = Some(live);
    let this = owner.into_raw();
    // SAFETY: The bio is initialised; by the promise of `BioOwner` it stays
    // where it is until `end_io`, which takes the owner back once.
    unsafe {
        (*raw).bi_private = this.as_ptr();
        (*raw).bi_end_io = Some(end_io::<O>);
        bindings::submit_bio(raw);
    }
    Ok(())
}

/// A bio has ended. Any context.
///
/// # Safety
///
/// To be called by the block layer alone, for a bio that [`submit`] started
/// for an `O`.
unsafe extern "C" fn end_io<O: BioOwner>(raw: *mut bindings::bio) {
    // SAFETY: The bio was started by `submit` and has ended; `bi_private` is
    // the owner, given up there.
    let (status, this) = unsafe { ((*raw).bi_status, NonNull::new_unchecked((*raw).bi_private)) };
    // SAFETY: `raw` is the field of a `Bio`, which is ours again.
    let live = unsafe {
        let field = Opaque::cast_from(raw);
        let bio = kernel::container_of!(field, Bio, raw).cast_mut();
        // Gives the cgroup reference back, should the block layer not have.
        bindings::bio_uninit(raw);
        // INVARIANT: The block layer does not have the bio any more.
        (*bio).live.take()
    };
    // SAFETY: See above; this is the once.
    let owner = unsafe { O::from_raw(this) };
    owner.complete(BlkError::from_status(status));
    // Only now may the device be closed, and the module be unloaded.
    drop(live);
}

/// Does I/O and waits for it: as [`submit`], for code that may sleep as long
/// as the device takes. Process context.
///
/// # Errors
///
/// As for [`submit`], and what the I/O ended with.
fn transfer(
    bdev: &Bdev,
    op: Op,
    sector: u64,
    data: &PageBuf,
    range: &Range<usize>,
) -> Result<(), BlkError> {
    let live = bdev.live()?;
    let vector = Vector::of(data, &live, op, sector, range)?;
    let raw = Opaque::<bindings::bio>::uninit();
    // SAFETY: `submit_bio_wait` returns when the bio has ended, so it, the
    // buffer and `live` outlive the I/O.
    let errno = unsafe {
        vector.init(raw.get(), &live, op.flags());
        let errno = bindings::submit_bio_wait(raw.get());
        bindings::bio_uninit(raw.get());
        errno
    };
    match errno {
        0 => Ok(()),
        errno => Err(BlkError::from_errno(errno)),
    }
}

/// Fills the `range` of `data` from `sector` on, and waits for it. Process
/// context.
///
/// # Errors
///
/// As for [`submit`], and what the I/O ended with.
pub(crate) fn read_wait(
    bdev: &Bdev,
    sector: u64,
    data: &mut PageBuf,
    range: Range<usize>,
) -> Result<(), BlkError> {
    transfer(bdev, Op::Read, sector, data, &range)
}

/// Writes the `range` of `data` from `sector` on, with `fua` until it is
/// durable, and waits for it. Process context.
///
/// # Errors
///
/// As for [`submit`], and what the I/O ended with.
pub(crate) fn write_wait(
    bdev: &Bdev,
    sector: u64,
    data: &PageBuf,
    range: Range<usize>,
    fua: bool,
) -> Result<(), BlkError> {
    let op = Op::Write {
        fua,
        preflush: false,
        atomic: false,
    };
    transfer(bdev, op, sector, data, &range)
}

/// A range of a buffer, and where it goes.
///
/// # Invariants
///
/// `pieces` are the `count` pieces of a [`PageBuf`]; `size` bytes begin at the
/// piece `index`, `done` bytes into it, and end within the last one.
struct Vector {
    pieces: *const bindings::bio_vec,
    count: u16,
    index: u32,
    done: u32,
    size: u32,
    sector: u64,
}

impl Vector {
    /// Checks the I/O.
    fn of(
        data: &PageBuf,
        live: &Live,
        op: Op,
        sector: u64,
        range: &Range<usize>,
    ) -> Result<Self, BlkError> {
        if op == Op::Flush {
            // It writes nothing new: a device that can only be read takes it, too.
            // INVARIANT: There are no pieces, and no bytes.
            return Ok(Self {
                pieces: ptr::null(),
                count: 0,
                index: 0,
                done: 0,
                size: 0,
                sector: 0,
            });
        }
        if op != Op::Read && !live.is_writable() {
            return Err(BlkError::ReadOnly);
        }
        let size = range
            .end
            .checked_sub(range.start)
            .filter(|size| *size > 0 && range.end <= data.len())
            .ok_or(BlkError::Invalid)?;
        if (size | range.start) & (SECTOR - 1) != 0 {
            return Err(BlkError::Invalid);
        }
        live.check_range(sector, (size / SECTOR) as u64)?;
        let (index, done) = data.locate(range.start).ok_or(BlkError::Invalid)?;
        let pieces = data.bvecs();
        // INVARIANT: `locate` found it. The lengths add up to that of the
        // buffer, of which `range` is a part, and that is at most 16 MiB, in
        // at most 1024 pieces.
        Ok(Self {
            pieces: pieces.as_ptr(),
            count: pieces.len() as u16,
            index: index as u32,
            done: done as u32,
            size: size as u32,
            sector,
        })
    }

    /// Initialises a bio.
    ///
    /// # Safety
    ///
    /// `raw` must be valid for writing, and be no bio in use. The buffer and
    /// `live` must outlive the use of the bio, and the buffer must not move.
    unsafe fn init(&self, raw: *mut bindings::bio, live: &Live, flags: bindings::blk_opf_t) {
        // The block layer does not write to the pieces.
        let pieces = self.pieces.cast_mut();
        // SAFETY: By the caller's promise. Without a device it does not look
        // for the cgroup of the current process, which is of no matter here.
        unsafe {
            bindings::bio_init(raw, ptr::null_mut(), pieces, self.count, flags);
            (*raw).bi_bdev = live.bdev();
            (*raw).bi_vcnt = self.count;
        }
        let begin = |css: *mut c_void| {
            // SAFETY: The bio has just been initialised; the state of the cgroup,
            // if it is any, is alive, and the bio takes a reference of its own.
            unsafe {
                bindings::fer_bio_begin(raw, css, self.sector, self.size, self.index, self.done);
            }
        };
        let cgroup = live.cgroup();
        if cgroup.is_set() {
            cgroup.with(|cgroup| begin(cgroup.map_or(ptr::null_mut(), Cgroup::as_ptr)));
        } else {
            begin(ptr::null_mut());
        }
    }
}

const REQ_SYNC: bindings::blk_opf_t = 1 << bindings::req_flag_bits___REQ_SYNC;
const REQ_IDLE: bindings::blk_opf_t = 1 << bindings::req_flag_bits___REQ_IDLE;
const REQ_FUA: bindings::blk_opf_t = 1 << bindings::req_flag_bits___REQ_FUA;
const REQ_PREFLUSH: bindings::blk_opf_t = 1 << bindings::req_flag_bits___REQ_PREFLUSH;
const REQ_ATOMIC: bindings::blk_opf_t = 1 << bindings::req_flag_bits___REQ_ATOMIC;
const REQ_NOWAIT: bindings::blk_opf_t = 1 << bindings::req_flag_bits___REQ_NOWAIT;
