// SPDX-License-Identifier: GPL-2.0

//! The pages that hold the data of one SCSI command, and the bytes of an skb
//! on their way into them.
//!
//! The same list of page pieces goes to the disk (as a bio's vector) and to
//! TCP (spliced): the data is copied once on receive and never on send.

use super::bindings;
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops::ControlFlow,
    ptr,
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The longest [`PageBuf`], in bytes.
pub(crate) const MAX_LEN: usize = 16 << 20;

/// How many pieces are kept in the [`PageBuf`] itself.
const INLINE_PIECES: usize = 8;

/// The most pieces of one [`PageBuf`]: no bio in the kernel has more, so the
/// drivers below have never seen more. While memory is wholly fragmented, so
/// that there are but single pages, data of more than 1 MiB is refused, as the
/// list of its pieces would not fit in a page either.
const MAX_PIECES: usize = 1024;

/// A piece has at most `1 << MAX_ORDER` pages: what the page allocator keeps
/// per CPU, and what a TCP fragment takes.
const MAX_ORDER: u32 = 3;

/// Whether an allocation may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gfp {
    /// It may not: softirq, or a lock is held.
    Atomic,
    /// It may, but must start no I/O: the disk that would free memory may be
    /// one that we serve.
    Sleep,
}

/// The pieces of a [`PageBuf`]: in place while they are few.
///
/// # Invariants
///
/// Without `heap`, the first `used` of `array`, which are no more than it has, are
/// set.
struct Pieces {
    heap: Option<KVec<bindings::bio_vec>>,
    used: usize,
    array: [MaybeUninit<bindings::bio_vec>; INLINE_PIECES],
}

impl Pieces {
    const fn new() -> Self {
        // INVARIANT: None is set.
        Self {
            heap: None,
            used: 0,
            array: [const { MaybeUninit::uninit() }; INLINE_PIECES],
        }
    }

    #[inline]
    fn as_slice(&self) -> &[bindings::bio_vec] {
        match &self.heap {
            // SAFETY: By the type invariant these are set.
            None => unsafe { core::slice::from_raw_parts(self.array.as_ptr().cast(), self.used) },
            Some(pieces) => pieces,
        }
    }

    /// Makes room for `more` pieces.
    fn reserve(&mut self, more: usize) -> Result<(), AllocError> {
        let total = self.as_slice().len().saturating_add(more);
        if total > MAX_PIECES {
            return Err(AllocError);
        }
        if self.heap.is_some() || total > INLINE_PIECES {
            let mut heap = vec_with_capacity(total)?;
            for piece in self.as_slice() {
                heap.push_within_capacity(*piece).map_err(|_| AllocError)?;
            }
            self.heap = Some(heap);
        }
        Ok(())
    }

    /// Adds a piece, for which [`Pieces::reserve`] has made room.
    fn push(&mut self, piece: bindings::bio_vec) -> Result<(), AllocError> {
        match &mut self.heap {
            None => {
                let room = self.array.get_mut(self.used).ok_or(AllocError)?;
                room.write(piece);
                // INVARIANT: One more is set, and there was room.
                self.used = self.used.saturating_add(1);
                Ok(())
            }
            Some(pieces) => pieces.push_within_capacity(piece).map_err(|_| AllocError),
        }
    }
}

/// Allocates a list of pieces, whatever the caller may do: where the rest of
/// the kernel sleeps for memory it does not give up, and that is no way to
/// treat a command that can be answered BUSY.
fn vec_with_capacity(n: usize) -> Result<KVec<bindings::bio_vec>, AllocError> {
    KVec::with_capacity(n, GFP_ATOMIC | __GFP_NOWARN)
}

/// How many pieces `pages` pages make if none has more than `1 << order`.
fn pieces_for(pages: usize, order: u32) -> usize {
    let whole = pages.wrapping_shr(order);
    let rest = pages & !usize::MAX.wrapping_shl(order);
    whole.saturating_add(u32_to_usize(rest.count_ones()))
}

/// Never loses anything: this module is for 64-bit kernels only.
const fn u32_to_usize(n: u32) -> usize {
    n as usize
}

/// Pages that hold the data of one command.
///
/// The pages are whole and page-aligned, so any disk takes them as they are.
/// Their contents are whatever was there before: whoever sends or stores a
/// range must have written it.
///
/// Dropping it gives the references back, in any context; TCP and the disk
/// hold their own references to what they still use. A range that was passed
/// to TCP must not be written again: TCP may transmit it a second time.
///
/// # Invariants
///
/// - Each piece is `bv_len` bytes from the beginning (`bv_offset` is 0) of a
///   page or compound page, of which one reference is ours and which has at
///   least that many bytes.
/// - All pieces but the last have whole pages; the lengths add up to `len`,
///   which is not greater than [`MAX_LEN`].
pub(crate) struct PageBuf {
    pieces: Pieces,
    len: usize,
    /// The pages come from the stash, if it has some, and go back there.
    stashed: bool,
}

// SAFETY: The pages are reached through the `PageBuf` alone, and may be used
// and given back by any thread.
unsafe impl Send for PageBuf {}
// SAFETY: A shared reference allows reading only.
unsafe impl Sync for PageBuf {}

impl PageBuf {
    /// A buffer of no bytes, for commands without data.
    pub(crate) const fn empty() -> Self {
        // INVARIANT: There are no pieces.
        Self {
            pieces: Pieces::new(),
            len: 0,
            stashed: false,
        }
    }

    /// The same, built where it is to be: what says nothing yet is not written.
    pub(crate) fn init_empty() -> impl Init<Self> {
        let write = |slot: *mut Self| {
            // INVARIANT: As in `empty`.
            // SAFETY: `slot` is valid for writing. All fields are written but the
            // array, which may be anything.
            unsafe {
                (&raw mut (*slot).pieces.heap).write(None);
                (&raw mut (*slot).pieces.used).write(0);
                (&raw mut (*slot).len).write(0);
                (&raw mut (*slot).stashed).write(false);
            }
            Ok(())
        };
        // SAFETY: What is written is a `PageBuf`, see above; it may be moved.
        unsafe { pin_init::init_from_closure(write) }
    }

    /// Allocates `len` bytes, the contents being undefined.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short or `len` is more than [`MAX_LEN`].
    pub(crate) fn new(len: usize, gfp: Gfp) -> Result<Self, AllocError> {
        let mut buf = Self::empty();
        buf.allocate(len, gfp)?;
        Ok(buf)
    }

    /// As [`PageBuf::new`], of pages that have held the data of other commands:
    /// for what the disk, or the initiator, is going to fill. It is built where
    /// it is to be; what was there is given back.
    ///
    /// # Errors
    ///
    /// As for [`PageBuf::new`]; then it is empty.
    pub(crate) fn refill(&mut self, len: usize, gfp: Gfp) -> Result<(), AllocError> {
        if self.len != 0 {
            *self = Self::empty();
        }
        self.stashed = true;
        self.allocate(len, gfp)
            .inspect_err(|_| *self = Self::empty())
    }

    /// Allocates the pages of an empty buffer. When it fails, what was got stays.
    fn allocate(&mut self, len: usize, gfp: Gfp) -> Result<(), AllocError> {
        if len > MAX_LEN {
            return Err(AllocError);
        }
        let stashed = self.stashed;
        let mut pages = len.div_ceil(PAGE_SIZE);
        let mut order = MAX_ORDER;
        if pages > 1 {
            self.pieces.reserve(pieces_for(pages, order))?;
        }
        while let Some(fits) = pages.checked_ilog2() {
            let try_order = order.min(fits);
            // SAFETY: No preconditions; `gfp` says what the context allows. What
            // the stash gives is a page of this order, and ours alone.
            let page = unsafe {
                let mut page = ptr::null_mut();
                if stashed {
                    page = bindings::fer_stash_get(try_order);
                }
                if page.is_null() {
                    page = bindings::fer_pages_alloc(gfp == Gfp::Sleep, try_order);
                }
                page
            };
            if page.is_null() {
                order = try_order.checked_sub(1).ok_or(AllocError)?;
                self.pieces.reserve(pieces_for(pages, order))?;
                continue;
            }
            let got = 1usize.wrapping_shl(try_order);
            let bytes = got
                .saturating_mul(PAGE_SIZE)
                .min(len.saturating_sub(self.len));
            let piece = bindings::bio_vec {
                bv_page: page,
                // At most `PAGE_SIZE << MAX_ORDER`.
                bv_len: bytes as u32,
                bv_offset: 0,
            };
            // INVARIANT: The page is ours alone. Only the last piece is cut
            // short, as `pages` then is 0.
            if self.pieces.push(piece).is_err() {
                // SAFETY: The reference is ours and went nowhere else.
                unsafe { bindings::fer_pages_put(&piece, 1) };
                return Err(AllocError);
            }
            self.len = self.len.saturating_add(bytes);
            pages = pages.saturating_sub(got);
        }
        Ok(())
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All pieces.
    pub(in crate::sys) fn bvecs(&self) -> &[bindings::bio_vec] {
        self.pieces.as_slice()
    }

    /// The pieces of `[at, at + len)`, as far as the buffer reaches.
    ///
    /// Their pages live as long as the buffer; who keeps them longer takes a
    /// reference.
    pub(crate) fn pieces(&self, at: usize, len: usize) -> PieceIter<'_> {
        PieceIter {
            rest: self.bvecs(),
            skip: at,
            left: len.min(self.len.saturating_sub(at)),
        }
    }

    /// How many [`pieces`](Self::pieces) there are at most.
    #[inline]
    pub(crate) fn count_pieces(&self, at: usize, len: usize) -> usize {
        match self.bvecs() {
            // As it is with most commands.
            [_] => 1,
            _ => self.pieces(at, len).count(),
        }
    }

    /// Where `at` lies: the index of the piece, and the offset within it.
    pub(in crate::sys) fn locate(&self, at: usize) -> Option<(usize, usize)> {
        let mut skip = at;
        for (index, piece) in self.bvecs().iter().enumerate() {
            let len = u32_to_usize(piece.bv_len);
            match skip.checked_sub(len) {
                None => return Some((index, skip)),
                Some(rest) => skip = rest,
            }
        }
        None
    }

    /// Calls `f` with each stretch of memory of `[at, at + len)`.
    fn walk<F>(&self, at: usize, len: usize, mut f: F) -> Result
    where
        F: FnMut(NonNull<u8>, usize) -> Result,
    {
        self.check(at, len)?;
        for piece in self.pieces(at, len) {
            f(start_of(&piece), u32_to_usize(piece.bv_len))?;
        }
        Ok(())
    }

    fn check(&self, at: usize, len: usize) -> Result {
        match at.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Copies the first `len` bytes of `from` to `at`. With `crc`, updates the
    /// CRC32C register (see [`PageBuf::crc32c`]) with these bytes, read back
    /// from where they were stored while they are in the cache.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the range is not within the buffer or `from` is shorter,
    /// `EFAULT` when the skb cannot be read (its memory is a device's).
    pub(crate) fn copy_from_skb(
        &mut self,
        from: &SkbSlice<'_>,
        at: usize,
        len: usize,
        crc: Option<&mut u32>,
    ) -> Result {
        if len > from.len() {
            return Err(EINVAL);
        }
        let mut register = crc.as_deref().copied();
        let mut done = 0usize;
        self.walk(at, len, |to, n| {
            // SAFETY: `to` is valid for writing `n` bytes, and `&mut self`
            // keeps others away; `done + n <= len <= from.len()`.
            unsafe { from.copy_to(done, to, n)? };
            done = done.saturating_add(n);
            if let Some(register) = register.as_mut() {
                // SAFETY: The `n` bytes at `to` were just written.
                *register = unsafe { bindings::crc32c(*register, to.as_ptr().cast(), n) };
            }
            Ok(())
        })?;
        if let (Some(crc), Some(register)) = (crc, register) {
            *crc = register;
        }
        Ok(())
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when they are not within the buffer.
    pub(crate) fn write_at(&mut self, at: usize, bytes: &[u8]) -> Result {
        let mut from = bytes;
        self.walk(at, bytes.len(), |to, n| {
            let (now, rest) = from.split_at_checked(n).ok_or(EINVAL)?;
            // SAFETY: `to` is valid for writing `n` bytes, and `&mut self`
            // keeps others away; `now` has `n` bytes and is no page of ours.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), to.as_ptr(), n) };
            from = rest;
            Ok(())
        })
    }

    /// Copies what stands at `at` to `out`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the range is not within the buffer.
    pub(crate) fn read_at(&self, at: usize, out: &mut [u8]) -> Result {
        let mut done = 0usize;
        self.walk(at, out.len(), |from, n| {
            let to = out
                .get_mut(done..)
                .and_then(|rest| rest.get_mut(..n))
                .ok_or(EINVAL)?;
            // SAFETY: `from` is valid for reading `n` bytes; `to` has `n`
            // bytes and is no page of ours.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), n) };
            done = done.saturating_add(n);
            Ok(())
        })
    }

    /// Fills `[at, at + len)` with `block` over and over; the last may be cut.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the range is not within the buffer or `block` is empty.
    pub(crate) fn fill_pattern(&mut self, at: usize, len: usize, block: &[u8]) -> Result {
        if block.is_empty() {
            return Err(EINVAL);
        }
        self.check(at, len)?;
        let mut done = 0usize;
        while done < len {
            let n = block.len().min(len.saturating_sub(done));
            self.write_at(at.saturating_add(done), block.get(..n).ok_or(EINVAL)?)?;
            done = done.saturating_add(n);
        }
        Ok(())
    }

    /// Calls `f` with each stretch of memory of `[at, at + len)` and of the
    /// `len` bytes at `other_at` of `other`, both of the same length, until it
    /// breaks.
    fn walk_both(
        &self,
        at: usize,
        other: &PageBuf,
        other_at: usize,
        len: usize,
        mut f: impl FnMut(NonNull<u8>, NonNull<u8>, usize) -> ControlFlow<()>,
    ) -> Result {
        self.check(at, len)?;
        other.check(other_at, len)?;
        let mut theirs = other.pieces(other_at, len);
        let mut have: Option<(NonNull<u8>, usize)> = None;
        for piece in self.pieces(at, len) {
            let mut ours = start_of(&piece);
            let mut left = u32_to_usize(piece.bv_len);
            while left > 0 {
                let (from, more) = match have.take() {
                    Some(have) => have,
                    None => {
                        let piece = theirs.next().ok_or(EINVAL)?;
                        (start_of(&piece), u32_to_usize(piece.bv_len))
                    }
                };
                let n = left.min(more);
                if f(ours, from, n).is_break() {
                    return Ok(());
                }
                left = left.saturating_sub(n);
                // SAFETY: Both stretches have at least `n` bytes.
                unsafe {
                    ours = ours.add(n);
                    if more > n {
                        have = Some((from.add(n), more.saturating_sub(n)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Where `[at, at + len)` first differs from the `len` bytes at `other_at`
    /// of `other`, counted from `at`; `None` if it does not.
    ///
    /// # Errors
    ///
    /// `EINVAL` when a range is not within its buffer.
    pub(crate) fn first_difference(
        &self,
        at: usize,
        other: &PageBuf,
        other_at: usize,
        len: usize,
    ) -> Result<Option<usize>> {
        let mut same = 0usize;
        let mut found = None;
        self.walk_both(at, other, other_at, len, |ours, theirs, n| {
            // SAFETY: Both are valid for reading `n` bytes, and nobody writes
            // to them: one is borrowed, and so is the other.
            let (a, b) = unsafe {
                (
                    core::slice::from_raw_parts(ours.as_ptr(), n),
                    core::slice::from_raw_parts(theirs.as_ptr(), n),
                )
            };
            if a == b {
                same = same.saturating_add(n);
                return ControlFlow::Continue(());
            }
            let into = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            found = Some(same.saturating_add(into));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Sets in `[at, at + len)` each bit that is set in the `len` bytes at
    /// `other_at` of `other`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when a range is not within its buffer.
    pub(crate) fn or_from(
        &mut self,
        at: usize,
        other: &PageBuf,
        other_at: usize,
        len: usize,
    ) -> Result {
        self.walk_both(at, other, other_at, len, |ours, theirs, n| {
            // SAFETY: The first is valid for writing `n` bytes, and `&mut
            // self` keeps others away; the second for reading, and it is a
            // buffer of its own.
            let (to, from) = unsafe {
                (
                    core::slice::from_raw_parts_mut(ours.as_ptr(), n),
                    core::slice::from_raw_parts(theirs.as_ptr(), n),
                )
            };
            for (to, from) in to.iter_mut().zip(from) {
                *to |= *from;
            }
            ControlFlow::Continue(())
        })
    }

    /// Runs the CRC32C register `seed` over `[at, at + len)`, as far as the
    /// buffer reaches.
    ///
    /// The register starts as `!0`; what goes on the wire is its complement
    /// (RFC 7143 section 13.1).
    pub(crate) fn crc32c(&self, at: usize, len: usize, seed: u32) -> u32 {
        self.pieces(at, len).fold(seed, |register, piece| {
            // SAFETY: The piece is valid for reading its length.
            unsafe {
                bindings::crc32c(
                    register,
                    start_of(&piece).as_ptr().cast(),
                    u32_to_usize(piece.bv_len),
                )
            }
        })
    }
}

impl Drop for PageBuf {
    fn drop(&mut self) {
        let pieces = self.bvecs();
        // SAFETY: By the type invariants one reference to each page is ours;
        // there are at most `MAX_PIECES`.
        unsafe {
            if self.stashed {
                bindings::fer_stash_put(pieces.as_ptr(), pieces.len() as u32);
            } else {
                bindings::fer_pages_put(pieces.as_ptr(), pieces.len() as u32);
            }
        }
    }
}

/// Gives the pages of the stash back that were not used since the last time, or
/// all of them. To be called now and then.
pub(crate) fn tidy(all: bool) {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_stash_tidy(all) };
}

/// The address of a piece of a [`PageBuf`].
fn start_of(piece: &bindings::bio_vec) -> NonNull<u8> {
    // SAFETY: `piece` has a page that is alive. There is no highmem, so its
    // address is never null.
    unsafe { NonNull::new_unchecked(bindings::fer_pages_virt(piece).cast()) }
}

/// The pieces of a range of a [`PageBuf`], by [`PageBuf::pieces`].
pub(crate) struct PieceIter<'a> {
    rest: &'a [bindings::bio_vec],
    skip: usize,
    left: usize,
}

impl Iterator for PieceIter<'_> {
    type Item = bindings::bio_vec;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let (piece, rest) = self.rest.split_first()?;
            self.rest = rest;
            let len = u32_to_usize(piece.bv_len);
            let skip = self.skip.min(len);
            self.skip = self.skip.saturating_sub(skip);
            let take = len.saturating_sub(skip).min(self.left);
            if take == 0 {
                continue;
            }
            self.left = self.left.saturating_sub(take);
            // Both are at most `piece.bv_len`.
            return Some(bindings::bio_vec {
                bv_page: piece.bv_page,
                bv_len: take as u32,
                bv_offset: skip as u32,
            });
        }
        None
    }
}

/// Bytes that have arrived, as TCP holds them.
///
/// # Invariants
///
/// For `'a`, `skb` is alive, nobody changes it, and it has at least
/// `offset + len` bytes, which is not greater than `i32::MAX`.
pub(crate) struct SkbSlice<'a> {
    skb: NonNull<bindings::sk_buff>,
    offset: usize,
    len: usize,
    _skb: PhantomData<&'a bindings::sk_buff>,
}

impl<'a> SkbSlice<'a> {
    /// The `len` bytes at `offset` of `skb`.
    ///
    /// # Safety
    ///
    /// For `'a`, `skb` must be alive and nobody may change it; it must have
    /// at least `offset + len` bytes.
    pub(in crate::sys) unsafe fn from_raw(
        skb: *mut bindings::sk_buff,
        offset: u32,
        len: usize,
    ) -> Self {
        // INVARIANT: The caller promises it; no skb is longer than `i32::MAX`.
        Self {
            // SAFETY: What is alive is not null.
            skb: unsafe { NonNull::new_unchecked(skb) },
            offset: u32_to_usize(offset),
            len,
            _skb: PhantomData,
        }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Leaves out the first `n` bytes, or all if there are fewer.
    pub(crate) fn advance(&mut self, n: usize) {
        let n = n.min(self.len);
        // INVARIANT: The end stays where it was.
        self.offset = self.offset.saturating_add(n);
        self.len = self.len.saturating_sub(n);
    }

    /// Copies the first `out.len()` bytes to `out`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when there are fewer, `EFAULT` when the skb cannot be read.
    pub(crate) fn copy_to_slice(&self, out: &mut [u8]) -> Result {
        let n = out.len();
        if n > self.len {
            return Err(EINVAL);
        }
        // SAFETY: `out` is valid for writing `n` bytes, which we have.
        unsafe { self.copy_to(0, NonNull::from(out).cast(), n) }
    }

    /// Runs the CRC32C register `seed` over the first `len` bytes, or all if
    /// there are fewer; see [`PageBuf::crc32c`].
    pub(crate) fn crc32c(&self, len: usize, seed: u32) -> u32 {
        let n = len.min(self.len);
        // SAFETY: By the type invariants the skb has these bytes and the
        // numbers fit.
        unsafe { bindings::skb_crc32c(self.skb.as_ptr(), self.offset as i32, n as i32, seed) }
    }

    /// Copies `n` bytes from `at` to `to`.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writing `n` bytes, `at + n` must not be greater
    /// than the length.
    unsafe fn copy_to(&self, at: usize, to: NonNull<u8>, n: usize) -> Result {
        let offset = self.offset.saturating_add(at);
        // SAFETY: By the type invariants and the caller's promise the skb has
        // these bytes and the numbers fit; `to` takes them.
        let result = unsafe {
            bindings::skb_copy_bits(
                self.skb.as_ptr(),
                offset as i32,
                to.as_ptr().cast(),
                n as i32,
            )
        };
        kernel::error::to_result(result)
    }
}
