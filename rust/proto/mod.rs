// SPDX-License-Identifier: GPL-2.0

//! Pure iSCSI and SCSI logic: bytes and values in, decisions out.
//!
//! Nothing here allocates, does I/O, reads a clock, logs, or can panic. The
//! tree compiles in the kernel and on the host from the same files.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod chap;
pub mod fence;
pub mod group;
pub mod lane;
pub mod latency;
pub mod login;
pub mod name;
pub mod pace;
pub mod rate;
pub mod scsi;
pub mod serial;
pub mod snack;
pub mod tag;
pub mod text;
pub mod transfer;
pub mod window;
pub mod wire;
