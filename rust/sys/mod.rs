// SPDX-License-Identifier: GPL-2.0

//! The only unsafe code: safe shapes over what the kernel offers in C.
//!
//! Nothing here knows iSCSI or SCSI. Every `unsafe` block names the promise it
//! rests on; every type that makes a promise states it under `# Invariants`.

pub(crate) mod atomic;
pub(crate) mod bdev;
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]
pub(crate) mod bindings;
pub(crate) mod bio;
pub(crate) mod cgroup;
pub(crate) mod configfs;
pub(crate) mod errand;
pub(crate) mod file;
pub(crate) mod gather;
#[cfg(ferrite_kunit)]
pub(crate) mod kunit;
pub(crate) mod llist;
pub(crate) mod lock;
pub(crate) mod misc;
pub(crate) mod owned;
pub(crate) mod pages;
pub(crate) mod percpu;
pub(crate) mod slot;
pub(crate) mod socket;
pub(crate) mod submit;
pub(crate) mod trace;
pub(crate) mod work;
