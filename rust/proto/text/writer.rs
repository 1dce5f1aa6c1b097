// SPDX-License-Identifier: GPL-2.0

//! Writing pairs into a buffer of fixed size.

use core::fmt;

/// Writes `key=value` pairs, each ended by a NUL byte, into a buffer.
///
/// A pair is written whole or not at all: a pair that does not fit leaves the
/// text as it was. The buffer is never grown and never left.
///
/// # Invariants
///
/// `len` is at most the length of `buf`, and the first `len` bytes of `buf`
/// are whole pairs.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

/// The buffer of a [`Writer`] is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSpace;

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no space left for the answer")
    }
}

impl<'a> Writer<'a> {
    /// Writes into `buf`, whose length is the budget.
    pub fn new(buf: &'a mut [u8]) -> Self {
        // INVARIANT: No pair is written yet.
        Self { buf, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The text written so far.
    pub fn text(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Writes `key=value`.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] when the pair does not fit; nothing is written then.
    pub fn pair(&mut self, key: &str, value: &str) -> Result<(), NoSpace> {
        self.parts(key, &[value.as_bytes()])
    }

    /// Writes `key=` and then `parts` one after the other.
    ///
    /// The parts must not hold NUL bytes.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] when the pair does not fit; nothing is written then.
    pub fn parts(&mut self, key: &str, parts: &[&[u8]]) -> Result<(), NoSpace> {
        let mut at = self.put(self.len, key.as_bytes())?;
        at = self.put(at, b"=")?;
        for part in parts {
            at = self.put(at, part)?;
        }
        at = self.put(at, b"\0")?;
        // INVARIANT: `put` checked `at` against the buffer, and the pair ends
        // with its NUL byte.
        self.len = at;
        Ok(())
    }

    /// Writes `key=Yes` or `key=No`.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] when the pair does not fit; nothing is written then.
    pub fn boolean(&mut self, key: &str, value: bool) -> Result<(), NoSpace> {
        self.pair(key, if value { "Yes" } else { "No" })
    }

    /// Writes `key=` and `value` as a decimal-constant.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] when the pair does not fit; nothing is written then.
    pub fn number(&mut self, key: &str, value: u32) -> Result<(), NoSpace> {
        let mut digits = [0; DECIMAL_LEN];
        self.parts(key, &[decimal(value, &mut digits)])
    }

    /// Writes `key=value,tag`.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] when the pair does not fit; nothing is written then.
    pub fn tagged(&mut self, key: &str, value: &str, tag: u16) -> Result<(), NoSpace> {
        let mut digits = [0; DECIMAL_LEN];
        let tag = decimal(u32::from(tag), &mut digits);
        self.parts(key, &[value.as_bytes(), b",", tag])
    }

    /// Writes `key=` and `bytes` as a hex-constant of two digits per byte.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] when the pair does not fit; nothing is written then.
    pub fn hex(&mut self, key: &str, bytes: &[u8]) -> Result<(), NoSpace> {
        let mut at = self.put(self.len, key.as_bytes())?;
        at = self.put(at, b"=0x")?;
        for &byte in bytes {
            at = self.put(at, &[hex_digit(byte >> 4), hex_digit(byte & 0xf)])?;
        }
        at = self.put(at, b"\0")?;
        // INVARIANT: As in `parts`.
        self.len = at;
        Ok(())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<usize, NoSpace> {
        let end = at.checked_add(bytes.len()).ok_or(NoSpace)?;
        self.buf
            .get_mut(at..end)
            .ok_or(NoSpace)?
            .copy_from_slice(bytes);
        Ok(end)
    }
}

/// Writes `value` in decimal at the end of `digits` and returns the digits.
fn decimal(value: u32, digits: &mut [u8; DECIMAL_LEN]) -> &[u8] {
    let mut rest = value;
    let mut start = DECIMAL_LEN;
    for digit in digits.iter_mut().rev() {
        // A remainder by ten always fits.
        *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        start = start.saturating_sub(1);
        if rest == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0'.saturating_add(nibble)
    } else {
        b'a'.saturating_add(nibble.saturating_sub(10))
    }
}

/// Digits of the largest `u32`.
const DECIMAL_LEN: usize = 10;
