// SPDX-License-Identifier: GPL-2.0

//! How much of the host peers may use.

use crate::sys::atomic::InPlace;
use crate::sys::misc::{
    self,
    Limit, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Pages in a MiB.
const MIB: u32 = 256;

/// Pages that the tasks of one session may hold.
pub(crate) fn session_pages() -> i32 {
    let pages = misc::limit(Limit::SessionMemory).saturating_mul(MIB);
    i32::try_from(pages).unwrap_or(i32::MAX)
}

/// Connections that may be in login at once, over all portals.
pub(crate) fn logins() -> u32 {
    misc::limit(Limit::Logins)
}

/// Connections from one address that may be in login at once.
pub(crate) fn logins_per_address() -> u32 {
    misc::limit(Limit::LoginsPerAddress)
}

/// Connections that sessions may have at once.
pub(crate) fn connections() -> u32 {
    misc::limit(Limit::Connections)
}

/// Connections from one address that sessions may have at once.
pub(crate) fn connections_per_address() -> u32 {
    misc::limit(Limit::ConnectionsPerAddress)
}

/// Pages that all tasks hold.
static PAGES: Atomic<i64> = Atomic::new(0);

/// A part of the host's memory: one in this many pages may hold data.
const SHARE: usize = 4;

/// Takes pages from what all tasks may hold; false when they hold too much.
pub(crate) fn take_pages(n: usize) -> bool {
    let n = n as i64;
    let limit = match misc::limit(Limit::Memory) {
        0 => (misc::total_pages() / SHARE) as i64,
        mib => i64::from(mib).saturating_mul(i64::from(MIB)),
    };
    let before = PAGES.fetch_add(n, Relaxed);
    if before.saturating_add(n) > limit {
        PAGES.add(n.wrapping_neg(), Relaxed);
        return false;
    }
    true
}

/// Pages that all tasks hold now.
pub(crate) fn pages_in_use() -> u64 {
    u64::try_from(PAGES.now()).unwrap_or(0)
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
