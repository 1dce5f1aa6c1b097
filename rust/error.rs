// SPDX-License-Identifier: GPL-2.0

//! The one place where what went wrong is put into the kernel's words.
//!
//! What a peer is told is decided where the fault is known: wire errors name
//! their Reject reason, login faults their status, SCSI errors are sense data.

use core::fmt;

/// Lets the kernel's log print what implements only `core`'s `Display`.
pub(crate) struct Shown<'a>(pub(crate) &'a dyn fmt::Display);

impl kernel::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}
