// SPDX-License-Identifier: GPL-2.0

//! The pure protocol logic of the Ferrite iSCSI target, as a host crate.
//!
//! The kernel module compiles the same `proto` tree from its own crate root.
//! This root exists so that tests, fuzzers and user-space tools can use it.

#![no_std]
#![deny(missing_docs, unreachable_pub, rust_2018_idioms)]

#[cfg(test)]
extern crate std;

pub mod proto;
pub use proto::*;
