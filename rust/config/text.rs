// SPDX-License-Identifier: GPL-2.0

//! What values written to files have in common.

use crate::sys::configfs::Refusal;
use core::{
    fmt,
    ops::RangeInclusive, //
};
use kernel::prelude::*;

/// A number in decimal, or in hexadecimal after `0x`, white space around it
/// allowed.
///
/// # Errors
///
/// `EINVAL` for anything else, and for a number out of `range`.
pub(super) fn number(value: &[u8], range: RangeInclusive<u32>) -> Result<u32, Refusal> {
    plain_number(value.trim_ascii())
        .filter(|n| range.contains(n))
        .ok_or_else(|| out_of(range.start(), range.end()))
}

/// A number in decimal that may exceed 32 bits: 0, or one of `range`.
///
/// # Errors
///
/// `EINVAL` for anything else.
pub(super) fn zero_or(value: &[u8], range: RangeInclusive<u64>) -> Result<u64, Refusal> {
    let digits = core::str::from_utf8(value.trim_ascii()).ok();
    digits
        // A sign is not a digit, though the standard library takes one.
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .filter(|n| *n == 0 || range.contains(n))
        .ok_or_else(|| {
            Refusal::breaks(&format_args!(
                "must be 0 or a number from {} to {}",
                range.start(),
                range.end()
            ))
        })
}

/// As [`number`], with a sign and in decimal only.
///
/// # Errors
///
/// As [`number`].
pub(super) fn signed(value: &[u8], range: RangeInclusive<i32>) -> Result<i32, Refusal> {
    let value = value.trim_ascii();
    let parsed = match value.strip_prefix(b"-") {
        Some(digits) => digits_only(digits, 10).and_then(|n| 0i32.checked_sub_unsigned(n)),
        None => digits_only(value, 10).and_then(|n| i32::try_from(n).ok()),
    };
    parsed
        .filter(|n| range.contains(n))
        .ok_or_else(|| out_of(range.start(), range.end()))
}

/// `0` or `1`.
///
/// # Errors
///
/// `EINVAL` for anything else.
pub(super) fn flag(value: &[u8]) -> Result<bool, Refusal> {
    match value.trim_ascii() {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err(Refusal::invalid("must be 0 or 1")),
    }
}

/// Printable ASCII, spaces included, white space around it dropped.
///
/// # Errors
///
/// `EINVAL` for other characters and for a length that is not in `range`.
pub(super) fn printable(value: &[u8], range: RangeInclusive<usize>) -> Result<&[u8], Refusal> {
    let value = value.trim_ascii();
    if !value.iter().all(|b| (b' '..=b'~').contains(b)) {
        return Err(Refusal::invalid("must be printable ASCII"));
    }
    length(value, range)
}

/// Any bytes but control characters.
///
/// # Errors
///
/// `EINVAL` for control characters and for a length that is not in `range`.
pub(super) fn label(value: &[u8], range: RangeInclusive<usize>) -> Result<&[u8], Refusal> {
    if value.iter().any(|b| b.is_ascii_control()) {
        return Err(Refusal::invalid("must not have control characters"));
    }
    length(value, range)
}

/// The number in a directory name like `lun_7`: decimal, without leading
/// zeros, so that each number has one name.
///
/// # Errors
///
/// `EINVAL` for another name or a greater number.
pub(super) fn numbered(name: &[u8], prefix: &'static str, max: u32) -> Result<u32, Refusal> {
    name.strip_prefix(prefix.as_bytes())
        .filter(|digits| !digits.starts_with(b"0") || digits.len() == 1)
        .and_then(|digits| digits_only(digits, 10))
        .filter(|n| *n <= max)
        .ok_or_else(|| {
            Refusal::breaks(&format_args!(
                "must be {prefix}<n> with a decimal number of at most {max}"
            ))
        })
}

/// The value as text.
///
/// # Errors
///
/// `EINVAL` if it is not UTF-8.
pub(super) fn utf8(value: &[u8]) -> Result<&str, Refusal> {
    core::str::from_utf8(value).map_err(|_| Refusal::invalid("must be UTF-8"))
}

/// Says which rule an error number of the running objects stands for.
pub(super) trait Explain<T> {
    /// Uses the rule beside the error number, if it is listed.
    ///
    /// # Errors
    ///
    /// Those of `self`.
    fn explain(self, rules: &[(Error, &'static str)]) -> Result<T, Refusal>;
}

impl<T> Explain<T> for Result<T> {
    fn explain(self, rules: &[(Error, &'static str)]) -> Result<T, Refusal> {
        self.map_err(|e| match rules.iter().find(|(errno, _)| *errno == e) {
            Some((_, rule)) => Refusal::because(e, rule),
            None => e.into(),
        })
    }
}

fn out_of(min: &dyn fmt::Display, max: &dyn fmt::Display) -> Refusal {
    Refusal::breaks(&format_args!("must be a number from {min} to {max}"))
}

fn length(value: &[u8], range: RangeInclusive<usize>) -> Result<&[u8], Refusal> {
    if !range.contains(&value.len()) {
        return Err(Refusal::breaks(&format_args!(
            "must be {} to {} bytes long",
            range.start(),
            range.end()
        )));
    }
    Ok(value)
}

fn plain_number(value: &[u8]) -> Option<u32> {
    match value.strip_prefix(b"0x").or(value.strip_prefix(b"0X")) {
        Some(digits) => digits_only(digits, 16),
        None => digits_only(value, 10),
    }
}

fn digits_only(digits: &[u8], radix: u32) -> Option<u32> {
    let text = core::str::from_utf8(digits).ok()?;
    // A sign is not a digit, though the standard library takes one.
    text.chars().all(|c| c.is_digit(radix)).then_some(())?;
    u32::from_str_radix(text, radix).ok()
}
