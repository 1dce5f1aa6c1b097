// SPDX-License-Identifier: GPL-2.0

//! The kernel crate's bindings, and what bindgen made of
//! `bindings/bindings.h` beside them.

mod generated {
    include!(env!("FERRITE_BINDINGS"));
}

pub(crate) use generated::*;
pub(crate) use kernel::bindings::*;
