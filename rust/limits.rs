// SPDX-License-Identifier: GPL-2.0

//! How much of the host peers may use.

use crate::sys::misc;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Pages that the tasks of one session may hold: 64 MiB.
pub(crate) const SESSION_PAGES: i32 = 64 << 8;

/// Connections that may be in login at once, over all portals.
pub(crate) const LOGINS: u32 = 1024;

/// Connections from one address that may be in login at once.
pub(crate) const LOGINS_PER_ADDRESS: u32 = 256;

/// Pages that all tasks hold.
static PAGES: Atomic<i64> = Atomic::new(0);

/// A part of the host's memory: one in this many pages may hold data.
const SHARE: usize = 4;

/// Takes pages from what all tasks may hold; false when they hold too much.
pub(crate) fn take_pages(n: usize) -> bool {
    let n = n as i64;
    let limit = (misc::total_pages() / SHARE) as i64;
    let before = PAGES.fetch_add(n, Relaxed);
    if before.saturating_add(n) > limit {
        PAGES.add(n.wrapping_neg(), Relaxed);
        return false;
    }
    true
}

/// Gives pages back.
pub(crate) fn give_pages(n: usize) {
    PAGES.add((n as i64).wrapping_neg(), Relaxed);
}

/// Pages that count as used until this is dropped.
pub(crate) struct Charge(usize);

impl Charge {
    /// Takes pages for as long as it lives; none when there is too little.
    pub(crate) fn take(pages: usize) -> Option<Self> {
        take_pages(pages).then_some(Self(pages))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        give_pages(self.0);
    }
}
