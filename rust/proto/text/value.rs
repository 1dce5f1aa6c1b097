// SPDX-License-Identifier: GPL-2.0

//! Reading single values (RFC 7143 section 6.1).

use core::fmt;

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// Not `Yes` or `No`.
    NotBoolean,
    /// Not a decimal-constant or hex-constant.
    NotNumber,
    /// A number of 2^64 or more, or outside the bounds asked for.
    OutOfRange,
    /// Not `low~high`, or `high` is below `low`.
    NotRange,
    /// Not a hex-constant or base64-constant.
    NotBinary,
    /// Longer, when decoded, than the room for it.
    TooLong,
    /// A list with an empty item.
    EmptyItem,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBoolean => "must be Yes or No",
            Self::NotNumber => "must be a decimal or 0x number",
            Self::OutOfRange => "is out of range",
            Self::NotRange => "must be two numbers with '~' between them, the lower first",
            Self::NotBinary => "must be 0x and hex digits or 0b and base64",
            Self::TooLong => "is too long",
            Self::EmptyItem => "must be a list without empty items",
        })
    }
}

/// Reads a boolean-value.
///
/// # Errors
///
/// [`ValueError::NotBoolean`] for anything but `Yes` and `No`; case counts.
pub fn boolean(value: &str) -> Result<bool, ValueError> {
    match value {
        "Yes" => Ok(true),
        "No" => Ok(false),
        _ => Err(ValueError::NotBoolean),
    }
}

/// Reads a numerical-value: a decimal-constant without leading zeroes, or a
/// hex-constant with any.
///
/// The RFC allows base64 for binary values and for numbers that may exceed 64
/// bits only, so it is not accepted here.
///
/// # Errors
///
/// [`ValueError::NotNumber`] for anything else, [`ValueError::OutOfRange`]
/// for 2^64 and more.
pub fn number(value: &str) -> Result<u64, ValueError> {
    if let Some(digits) = strip_hex(value) {
        return digits_to_number(digits, 16);
    }
    let digits = value.as_bytes();
    if digits.len() > 1 && digits.first() == Some(&b'0') {
        return Err(ValueError::NotNumber);
    }
    digits_to_number(digits, 10)
}

/// Reads a numerical-value between `low` and `high`, both included.
///
/// # Errors
///
/// As [`number`], and [`ValueError::OutOfRange`] outside the bounds.
pub fn number_in(value: &str, low: u32, high: u32) -> Result<u32, ValueError> {
    let n = u32::try_from(number(value)?).map_err(|_| ValueError::OutOfRange)?;
    if n < low || n > high {
        return Err(ValueError::OutOfRange);
    }
    Ok(n)
}

/// Reads a numerical-range, `low~high`.
///
/// No key of RFC 7143 that is not obsolete allows a range.
///
/// # Errors
///
/// [`ValueError::NotRange`] without a tilde or when `high` is below `low`,
/// else as [`number`].
pub fn range(value: &str) -> Result<(u64, u64), ValueError> {
    let mut ends = split(value, b'~');
    let (Some(low), Some(high), None) = (ends.next(), ends.next(), ends.next()) else {
        return Err(ValueError::NotRange);
    };
    let (low, high) = (number(low)?, number(high)?);
    if high < low {
        return Err(ValueError::NotRange);
    }
    Ok((low, high))
}

/// Walks a list-of-values, items separated by commas.
///
/// # Errors
///
/// [`ValueError::EmptyItem`] at the first call when any item is empty or
/// longer than 255 bytes; a list has at least one item.
pub fn list(value: &str) -> Result<impl Iterator<Item = &str> + Clone, ValueError> {
    if split(value, b',').any(str::is_empty) {
        return Err(ValueError::EmptyItem);
    }
    if split(value, b',').any(|item| item.len() > super::MAX_SIMPLE_VALUE_LEN) {
        return Err(ValueError::TooLong);
    }
    Ok(split(value, b','))
}

/// Walks the parts of `value` between ASCII `separator`s; at least one, which
/// may be empty.
///
/// The search of `str::split` has overflow checks that the compiler does not
/// see through, and with them the means to panic.
pub(crate) fn split(value: &str, separator: u8) -> impl Iterator<Item = &str> + Clone {
    value
        .as_bytes()
        .split(move |&b| b == separator)
        // What is between ASCII characters of UTF-8 is UTF-8.
        .map(|part| core::str::from_utf8(part).unwrap_or_default())
}

/// Decodes a binary-value into `out` and returns the bytes.
///
/// The length that the value will have is computed and checked against `out`
/// **before** a single byte is decoded. A hex-constant with an odd number of
/// digits has an implied leading zero. Base64 is that of RFC 4648 section 4,
/// with its padding.
///
/// Decimal-constants have no length of their own, so they are refused.
///
/// # Errors
///
/// [`ValueError::NotBinary`] for anything that is not such a constant,
/// [`ValueError::TooLong`] when it does not fit `out`.
pub fn binary<'a>(value: &str, out: &'a mut [u8]) -> Result<&'a [u8], ValueError> {
    if let Some(digits) = strip_hex(value) {
        return hex(digits, out);
    }
    match value.as_bytes() {
        [b'0', b'b' | b'B', digits @ ..] => base64(digits, out),
        _ => Err(ValueError::NotBinary),
    }
}

fn strip_hex(value: &str) -> Option<&[u8]> {
    match value.as_bytes() {
        [b'0', b'x' | b'X', digits @ ..] => Some(digits),
        _ => None,
    }
}

fn digits_to_number(digits: &[u8], radix: u32) -> Result<u64, ValueError> {
    if digits.is_empty() {
        return Err(ValueError::NotNumber);
    }
    digits.iter().try_fold(0u64, |n, &b| {
        let digit = char::from(b).to_digit(radix).ok_or(ValueError::NotNumber)?;
        n.checked_mul(u64::from(radix))
            .and_then(|n| n.checked_add(u64::from(digit)))
            .ok_or(ValueError::OutOfRange)
    })
}

fn hex<'a>(digits: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], ValueError> {
    if digits.is_empty() {
        return Err(ValueError::NotBinary);
    }
    let len = digits.len().div_ceil(2);
    let out = out.get_mut(..len).ok_or(ValueError::TooLong)?;
    // Chunks from the end, so that only the first may be a single digit.
    for (byte, pair) in out.iter_mut().rev().zip(digits.rchunks(2)) {
        *byte = pair.iter().try_fold(0u8, |n, &b| {
            let digit = hex_value(b).ok_or(ValueError::NotBinary)?;
            Ok((n << 4) | digit)
        })?;
    }
    Ok(out)
}

fn base64<'a>(digits: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], ValueError> {
    let digits = match digits {
        [] => return Err(ValueError::NotBinary),
        _ if digits.len() % 4 != 0 => return Err(ValueError::NotBinary),
        [data @ .., b'=', b'='] => data,
        [data @ .., b'='] => data,
        data => data,
    };
    // Four digits are three bytes; two or three digits at the end are one or
    // two. One digit alone cannot be, as the whole is a multiple of four.
    let whole = (digits.len() / 4).checked_mul(3);
    let len = whole
        .and_then(|n| n.checked_add((digits.len() % 4).saturating_sub(1)))
        .ok_or(ValueError::TooLong)?;
    let out = out.get_mut(..len).ok_or(ValueError::TooLong)?;

    for (bytes, quad) in out.chunks_mut(3).zip(digits.chunks(4)) {
        let mut bits = 0u32;
        for i in 0..4 {
            let digit = match quad.get(i) {
                Some(&b) => base64_value(b).ok_or(ValueError::NotBinary)?,
                None => 0,
            };
            bits = (bits << 6) | u32::from(digit);
        }
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (kept, spare) = decoded
            .split_at_checked(bytes.len())
            .ok_or(ValueError::NotBinary)?;
        // The bits that the padding cuts off must be zero (RFC 4648, 3.5).
        if spare.iter().any(|&b| b != 0) {
            return Err(ValueError::NotBinary);
        }
        bytes.copy_from_slice(kept);
    }
    Ok(out)
}

fn hex_value(b: u8) -> Option<u8> {
    u8::try_from(char::from(b).to_digit(16)?).ok()
}

fn base64_value(b: u8) -> Option<u8> {
    match b {
        b'A'..=b'Z' => b.checked_sub(b'A'),
        b'a'..=b'z' => b.checked_sub(b'a')?.checked_add(26),
        b'0'..=b'9' => b.checked_sub(b'0')?.checked_add(52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
