// SPDX-License-Identifier: GPL-2.0

//! Tests of `ferrite-proto` through its public interface.

pub mod fuzz;
pub mod login;
