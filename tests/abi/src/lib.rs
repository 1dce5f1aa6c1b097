// SPDX-License-Identifier: GPL-2.0

//! The kernel's `include/scsi/iscsi_proto.h` as a C compiler and bindgen see
//! it, for the comparison in `tests/`.
//!
//! The header is RFC 3720's, written and used by others for two decades. What
//! agrees with it talks to the initiators that are in use.

#![cfg(kernel_header)]

use std::ffi::CStr;
use std::ops::Range;

/// What bindgen makes of the header.
#[expect(
    non_camel_case_types,
    non_upper_case_globals,
    reason = "the names are the kernel's"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;

/// Every constant that the header defines and a compiler can evaluate.
pub const CONSTANTS: &[(&str, i64)] = include!(concat!(env!("OUT_DIR"), "/constants.rs"));

/// The path of the header.
pub const HEADER: &str = env!("FERRITE_ABI_HEADER");

/// A field of a C struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// The struct.
    pub pdu: String,
    /// The field.
    pub name: String,
    /// The bytes that it takes.
    pub bytes: Range<usize>,
}

/// All fields of all PDUs, as the C compiler laid them out.
#[must_use]
pub fn fields() -> Vec<Field> {
    let mut fields = Vec::new();
    for index in 0.. {
        // SAFETY: `abi_fields` is an array of constants that ends with an
        // element whose `pdu` is null, which is where this loop ends. Its
        // strings are literals.
        let (pdu, name, field) = unsafe {
            let field = &*(&raw const bindings::abi_fields)
                .cast::<bindings::abi_field>()
                .add(index);
            if field.pdu.is_null() {
                break;
            }
            (CStr::from_ptr(field.pdu), CStr::from_ptr(field.name), field)
        };
        let offset = field.offset as usize;
        fields.push(Field {
            pdu: pdu.to_string_lossy().into_owned(),
            name: name.to_string_lossy().into_owned(),
            bytes: offset..offset + field.size as usize,
        });
    }
    fields
}

/// Where a field of a PDU is.
///
/// # Panics
///
/// If there is no such field.
#[must_use]
pub fn bytes_of(pdu: &str, name: &str) -> Range<usize> {
    fields()
        .into_iter()
        .find(|field| field.pdu == pdu && field.name == name)
        .unwrap_or_else(|| panic!("struct {pdu} has no field {name}"))
        .bytes
}

/// The kernel's `iscsi_sna_lt`, `iscsi_sna_lte`, `iscsi_sna_gt` and
/// `iscsi_sna_gte`, in this order.
#[must_use]
pub fn sna(a: u32, b: u32) -> [bool; 4] {
    // SAFETY: Functions of two numbers.
    unsafe {
        [
            bindings::abi_sna_lt(a, b) != 0,
            bindings::abi_sna_lte(a, b) != 0,
            bindings::abi_sna_gt(a, b) != 0,
            bindings::abi_sna_gte(a, b) != 0,
        ]
    }
}

/// The kernel's `ntoh24`.
#[must_use]
pub fn ntoh24(bytes: &[u8; 3]) -> u32 {
    // SAFETY: Reads the three bytes.
    unsafe { bindings::abi_ntoh24(bytes.as_ptr()) }
}

/// The kernel's `hton24`.
#[must_use]
pub fn hton24(value: u32) -> [u8; 3] {
    let mut bytes = [0xa5; 3];
    // SAFETY: Writes the three bytes.
    unsafe { bindings::abi_hton24(bytes.as_mut_ptr(), value) }
    bytes
}

/// The kernel's `RESERVED_ITT`.
#[must_use]
pub fn reserved_itt() -> u32 {
    // SAFETY: A constant.
    unsafe { bindings::abi_reserved_itt() }
}

/// The kernel's `ISCSI_LOGIN_CURRENT_STAGE` and `ISCSI_LOGIN_NEXT_STAGE`.
#[must_use]
pub fn login_stages(flags: u8) -> (u8, u8) {
    // SAFETY: Functions of a number.
    unsafe {
        (
            bindings::abi_login_current_stage(flags),
            bindings::abi_login_next_stage(flags),
        )
    }
}
