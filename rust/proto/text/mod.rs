// SPDX-License-Identifier: GPL-2.0

//! Text keys and values (RFC 7143 section 6.1).
//!
//! A login or text negotiation exchanges `key=value` pairs, each ended by one
//! NUL byte. Pairs may span PDUs: the data segments of a run of PDUs with the
//! C bit, up to and including the first one without it, are one *logical text
//! data segment*. [`Incoming`] joins such a run in a buffer of the caller,
//! [`Pairs`] walks the joined text, [`value`] reads single values,
//! [`Writer`] builds an answer and [`Outgoing`] cuts it into PDUs again.
//!
//! Nothing in here can panic or write outside the buffer it was given,
//! whatever the peer sends.

mod incoming;
mod outgoing;
pub mod value;
mod writer;

use core::fmt;

pub use incoming::Incoming;
pub use outgoing::Cut;
pub use outgoing::Outgoing;
pub use writer::NoSpace;
pub use writer::Writer;

/// The buffers that a negotiation works in.
///
/// They belong to the caller, who keeps them, **with their contents**, for as
/// long as the negotiation lasts: `text` holds the joined request while its
/// PDUs arrive, `out` holds the answer while its PDUs leave.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// Where a request that comes in several PDUs is joined. Its length is the
    /// limit on such a request; [`TEXT_BUFFER_LEN`] bytes are recommended.
    pub text: &'a mut [u8],
    /// Where the answer is written. Its length is the limit on an answer;
    /// [`TEXT_BUFFER_LEN`] bytes are recommended.
    pub out: &'a mut [u8],
}

/// One `key=value` pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key name: 1 to [`MAX_KEY_LEN`] ASCII letters, digits or `.-+@_#`,
    /// the first of them a letter.
    pub key: &'a str,
    /// The value: 0 to [`MAX_VALUE_LEN`] bytes of UTF-8.
    pub value: &'a str,
}

/// Walks the pairs of a complete logical text data segment.
///
/// The iterator ends after the first error: what follows a malformed pair
/// cannot be told apart from it.
///
/// NUL bytes after the last pair are ignored, because some initiators count
/// their padding as text.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    count: u16,
}

impl<'a> Pairs<'a> {
    /// Walks `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            count: 0,
        }
    }

    fn parse(&mut self) -> Result<Option<Pair<'a>>, TextError> {
        if self.rest.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        if self.count >= MAX_PAIRS {
            return Err(TextError::TooManyPairs);
        }
        self.count = self.count.saturating_add(1);

        let end = self
            .rest
            .iter()
            .position(|&b| b == 0)
            .ok_or(TextError::Unterminated)?;
        let (pair, rest) = self
            .rest
            .split_at_checked(end)
            .ok_or(TextError::Unterminated)?;
        self.rest = rest.get(1..).unwrap_or_default();

        let mut halves = pair.splitn(2, |&b| b == b'=');
        let key = halves.next().unwrap_or_default();
        let value = halves.next().ok_or(TextError::NoEquals)?;

        if key.len() > MAX_KEY_LEN {
            return Err(TextError::KeyTooLong);
        }
        if !is_key_name(key) {
            return Err(TextError::BadKey);
        }
        if value.len() > MAX_VALUE_LEN {
            return Err(TextError::ValueTooLong);
        }
        Ok(Some(Pair {
            key: core::str::from_utf8(key).map_err(|_| TextError::BadKey)?,
            value: core::str::from_utf8(value).map_err(|_| TextError::NotUtf8)?,
        }))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Pair<'a>, TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.parse().transpose();
        if matches!(item, None | Some(Err(_))) {
            self.rest = &[];
        }
        item
    }
}

/// Whether `key` is a key name (RFC 7143 section 6.1, standard-label).
///
/// Two liberties are needed for keys that the RFCs themselves define:
/// `iSCSIProtocolLevel` does not begin with a capital letter, and
/// `X#NodeArchitecture` contains a number sign.
fn is_key_name(key: &[u8]) -> bool {
    key.first().is_some_and(u8::is_ascii_alphabetic)
        && key
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b".-+@_#".contains(b))
}

/// What is wrong with a text from the peer. It is always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// A pair holds no `=`.
    NoEquals,
    /// A key name is empty or holds a character that it must not.
    BadKey,
    /// A key name is longer than [`MAX_KEY_LEN`] bytes.
    KeyTooLong,
    /// A value is longer than [`MAX_VALUE_LEN`] bytes.
    ValueTooLong,
    /// A value is not UTF-8.
    NotUtf8,
    /// The last pair is not ended by a NUL byte.
    Unterminated,
    /// There are more than [`MAX_PAIRS`] pairs.
    TooManyPairs,
    /// The joined text does not fit the buffer for it.
    TooLong,
    /// The text came in more than [`MAX_PDUS`] PDUs.
    TooManyPdus,
    /// Text came while the answer to the previous one was still being sent.
    Unexpected,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEquals => "a pair without '='",
            Self::BadKey => "a key name with a character that is not allowed",
            Self::KeyTooLong => "a key name longer than 63 bytes",
            Self::ValueTooLong => "a value longer than 8192 bytes",
            Self::NotUtf8 => "a value that is not UTF-8",
            Self::Unterminated => "a pair without its NUL byte",
            Self::TooManyPairs => "more than 128 pairs in one text",
            Self::TooLong => "a text that is too long",
            Self::TooManyPdus => "a text in more than 16 PDUs",
            Self::Unexpected => "text before the previous answer was complete",
        })
    }
}

/// Longest key name, in bytes (RFC 7143 section 6.1).
pub const MAX_KEY_LEN: usize = 63;

/// Longest value of any key, in bytes. Almost every key has a lower limit of
/// its own, [`MAX_SIMPLE_VALUE_LEN`] unless its definition says otherwise.
pub const MAX_VALUE_LEN: usize = 8192;

/// Longest value of a key that has no rule of its own (RFC 7143 section 6.1).
pub const MAX_SIMPLE_VALUE_LEN: usize = 255;

/// Most pairs in one logical text data segment.
pub const MAX_PAIRS: u16 = 128;

/// Most PDUs that may carry one logical text data segment.
pub const MAX_PDUS: u8 = 16;

/// Recommended length of each of the [`Buffers`], in bytes. RFC 7143 section
/// 6.1 demands at least 8192.
pub const TEXT_BUFFER_LEN: usize = 16384;

#[cfg(test)]
mod tests;
