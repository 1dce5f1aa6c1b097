// SPDX-License-Identifier: GPL-2.0

//! The bytes of one send: headers and data of many PDUs, none copied twice.

use super::{
    bindings,
    pages::PageBuf, //
};
use core::ptr;
use kernel::prelude::*;

/// Memory for headers, taken a page at a time.
const HEADERS: usize = 4096;

/// A list of page pieces that go to TCP in one call.
///
/// TCP takes its own references and may transmit again long after the send has
/// returned, so no byte of header memory is ever used twice.
///
/// # Invariants
///
/// Each entry of `bvecs` lies in a page of which one reference is ours.
/// `head` is null, or a page of [`HEADERS`] bytes of which one reference is
/// ours and whose bytes from `head_used` on have not been handed out.
pub(crate) struct Gather {
    bvecs: KVec<bindings::bio_vec>,
    total: usize,
    sent: usize,
    head: *mut bindings::page,
    head_used: usize,
}

// SAFETY: Page references may be given back by any thread.
unsafe impl Send for Gather {}

impl Gather {
    /// A list of at most `capacity` pieces.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        // INVARIANT: It is empty.
        Ok(Self {
            bvecs: KVec::with_capacity(capacity, GFP_KERNEL)?,
            total: 0,
            sent: 0,
            head: ptr::null_mut(),
            head_used: 0,
        })
    }

    /// How many more pieces fit.
    pub(crate) fn room(&self) -> usize {
        self.bvecs.capacity().saturating_sub(self.bvecs.len())
    }

    /// Bytes gathered since the last [`Gather::clear`].
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Bytes that TCP has taken of them.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Whether TCP has taken all.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent >= self.total
    }

    pub(in crate::sys) fn bvecs(&self) -> &[bindings::bio_vec] {
        &self.bvecs
    }

    pub(in crate::sys) fn advance(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n);
    }

    /// Makes ready for the next batch.
    pub(crate) fn clear(&mut self) {
        for bvec in self.bvecs.iter() {
            // SAFETY: By the type invariant the reference is ours.
            unsafe { bindings::fer_page_put(bvec.bv_page) };
        }
        self.bvecs.clear();
        self.total = 0;
        self.sent = 0;
    }

    /// Gives back the memory for headers; it is made again when it is needed.
    pub(crate) fn tidy(&mut self) {
        self.drop_head();
    }

    fn drop_head(&mut self) {
        if !self.head.is_null() {
            // SAFETY: By the type invariant the reference is ours.
            unsafe { bindings::fer_page_put(self.head) };
            self.head = ptr::null_mut();
        }
        self.head_used = 0;
    }

    /// Adds a piece whose page reference is passed to us.
    ///
    /// Returns whether there was room; if not, the reference is dropped.
    fn push_owned(&mut self, bvec: bindings::bio_vec) -> bool {
        let len = bvec.bv_len as usize;
        let page = bvec.bv_page;
        // INVARIANT: The caller passed a reference on.
        if self.bvecs.push_within_capacity(bvec).is_err() {
            // SAFETY: The reference is ours.
            unsafe { bindings::fer_page_put(page) };
            return false;
        }
        self.total = self.total.saturating_add(len);
        true
    }

    /// Sees to it that `bytes` of header memory and `pieces` pieces can be
    /// added; false when there is no room or no memory.
    pub(crate) fn ready(&mut self, bytes: usize, pieces: usize) -> bool {
        if self.room() < pieces {
            return false;
        }
        if self.head_used.saturating_add(bytes) > HEADERS {
            self.drop_head();
        }
        if self.head.is_null() {
            // SAFETY: No preconditions; atomic allocation.
            self.head = unsafe { bindings::fer_page_alloc_atomic() };
            self.head_used = 0;
        }
        !self.head.is_null()
    }

    /// Copies `bytes` (a digest, padding, a short answer) into the batch. Returns
    /// whether it fitted; the caller sends what there is and tries again.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        self.push(bytes)
    }

    /// The same for a header, whose length the compiler knows.
    pub(crate) fn push_header<const N: usize>(&mut self, header: &[u8; N]) -> bool {
        self.push(header)
    }

    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) -> bool {
        let len = bytes.len();
        if len == 0 {
            return true;
        }
        // Room for it is there if the bytes before are in the last piece.
        if !self.ready(len, 0) {
            return false;
        }
        let at = self.head_used;
        let end = at.saturating_add(len);
        if end > HEADERS {
            return false;
        }
        // SAFETY: The page has `HEADERS` bytes and is ours; those from `at`
        // on have not been handed out, so nobody reads them.
        unsafe {
            let base = bindings::fer_page_address(self.head).cast::<u8>();
            ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(at), len);
        }
        // Headers that follow one another make one piece.
        let head = self.head;
        if let Some(last) = self.bvecs.last_mut() {
            let behind = last.bv_offset.wrapping_add(last.bv_len) as usize;
            if last.bv_page == head && behind == at {
                last.bv_len = last.bv_len.wrapping_add(len as u32);
                self.total = self.total.saturating_add(len);
                self.head_used = end;
                return true;
            }
        }
        if self.room() == 0 {
            return false;
        }
        // SAFETY: The page is ours; the new reference goes into the list.
        unsafe { bindings::fer_page_get(self.head) };
        self.head_used = end;
        self.push_owned(bindings::bio_vec {
            bv_page: self.head,
            bv_len: len as u32,
            bv_offset: at as u32,
        })
    }

    /// How many pieces `[at, at + len)` of `pages` takes at most.
    #[inline]
    pub(crate) fn pieces(pages: &PageBuf, at: usize, len: usize) -> usize {
        pages.count_pieces(at, len)
    }

    /// Adds `[at, at + len)` of `pages` without copying. Returns whether it
    /// fitted; if not, nothing was added.
    pub(crate) fn push_pages(&mut self, pages: &PageBuf, at: usize, len: usize) -> bool {
        if self.room() < Self::pieces(pages, at, len) {
            return false;
        }
        for bvec in pages.pieces(at, len) {
            // SAFETY: `pages` holds a reference to the page, so it is alive.
            unsafe { bindings::fer_page_get(bvec.bv_page) };
            self.push_owned(bvec);
        }
        true
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.clear();
        self.drop_head();
    }
}
