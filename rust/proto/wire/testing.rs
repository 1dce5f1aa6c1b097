// SPDX-License-Identifier: GPL-2.0

//! What the tests of the PDUs share.

use std::format;
use std::vec::Vec;

use core::fmt::Debug;

use crate::proto::wire::{
    Error, //
    Request,
    BHS_LEN,
};

/// The vector `name` of a file in `tests/vectors`.
pub(crate) fn bytes(file: &str, name: &str) -> Vec<u8> {
    let hex = file
        .split_once(&format!("\n{name}:"))
        .unwrap_or_else(|| panic!("no vector {name}"))
        .1;
    let hex = hex.split("\n\n").next().unwrap();
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// The vector `name`, which is one header.
pub(crate) fn header(file: &str, name: &str) -> [u8; BHS_LEN] {
    bytes(file, name).try_into().unwrap()
}

/// What `emit` writes over bytes that were not 0.
pub(crate) fn emitted(emit: impl Fn(&mut [u8; BHS_LEN])) -> [u8; BHS_LEN] {
    let mut out = [0xa5; BHS_LEN];
    emit(&mut out);
    let mut again = [0x5a; BHS_LEN];
    emit(&mut again);
    assert_eq!(out, again, "emit leaves bytes as they were");
    out
}

/// Parses a header that is right.
pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Request<'_> {
    Request::parse(header).unwrap_or_else(|error| panic!("{error}"))
}

/// Parses a header that is wrong.
pub(crate) fn refusal(header: &[u8; BHS_LEN]) -> Error {
    match Request::parse(header) {
        Ok(request) => panic!("not refused: {request:?}"),
        Err(error) => error,
    }
}

/// A copy of a header with some bytes changed.
pub(crate) fn with(header: &[u8; BHS_LEN], changes: &[(usize, u8)]) -> [u8; BHS_LEN] {
    let mut copy = *header;
    for &(at, byte) in changes {
        copy[at] = byte;
    }
    copy
}

/// Asserts that the receiver ignores the bits that are 1 in `reserved`, pairs
/// of a byte and a mask: `fields`, all that it reads, stays as it is.
pub(crate) fn ignores<T: Debug + PartialEq>(
    header: &[u8; BHS_LEN],
    reserved: &[(core::ops::Range<usize>, u8)],
    fields: impl Fn(Request<'_>) -> T,
) {
    let wanted = fields(parse(header));
    for (range, mask) in reserved {
        for at in range.clone() {
            for bit in (0..8).map(|bit| 1u8 << bit).filter(|bit| bit & mask != 0) {
                let changed = with(header, &[(at, header[at] ^ bit)]);
                assert_eq!(
                    fields(parse(&changed)),
                    wanted,
                    "bit {bit:#04x} of byte {at} is not ignored"
                );
            }
        }
    }
}
