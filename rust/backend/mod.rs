// SPDX-License-Identifier: GPL-2.0

//! What carries commands out on a medium. There is one kind: a block device.

mod bdev;
mod copy;
mod medium;

/// Milliseconds for which a long command is worked on before others of its device
/// come.
const ROUND_MS: u64 = 100;

pub(crate) use bdev::{
    carry_out,
    start, //
};
pub(crate) use copy::{
    copy,
    results, //
};
