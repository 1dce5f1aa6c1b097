// SPDX-License-Identifier: GPL-2.0

//! Joining a text that comes in several PDUs.

use super::TextError;
use super::MAX_PDUS;

/// Joins the data segments of a run of PDUs with the C bit (RFC 7143 section
/// 6.1) in a buffer of the caller.
///
/// A text that comes in one PDU, as nearly all do, is never copied.
#[derive(Debug, Default)]
pub struct Incoming {
    len: usize,
    pdus: u8,
}

impl Incoming {
    /// Starts with nothing.
    pub const fn new() -> Self {
        Self { len: 0, pdus: 0 }
    }

    /// Adds the data segment of one PDU to what is already in `buf`.
    ///
    /// `more` is the C bit. Returns the whole text when it is complete and
    /// `None` when more of it is to come. `buf` must be the same buffer, with
    /// its contents, at each call until then.
    ///
    /// # Errors
    ///
    /// [`TextError::TooLong`] when the text does not fit `buf`, and
    /// [`TextError::TooManyPdus`] after [`MAX_PDUS`] PDUs. The run is over
    /// then, and the next call starts a new one.
    pub fn push<'a>(
        &mut self,
        buf: &'a mut [u8],
        data: &'a [u8],
        more: bool,
    ) -> Result<Option<&'a [u8]>, TextError> {
        let pdus = self.pdus.saturating_add(1);
        let len = self.len;
        *self = Self::new();
        if pdus > MAX_PDUS {
            return Err(TextError::TooManyPdus);
        }
        if !more && pdus == 1 {
            return Ok(Some(data));
        }
        let end = len.checked_add(data.len()).ok_or(TextError::TooLong)?;
        buf.get_mut(len..end)
            .ok_or(TextError::TooLong)?
            .copy_from_slice(data);
        if more {
            *self = Self { len: end, pdus };
            return Ok(None);
        }
        Ok(Some(buf.get(..end).unwrap_or_default()))
    }

    /// Whether the next PDU continues a text.
    pub fn is_open(&self) -> bool {
        self.pdus != 0
    }

    /// Forgets what was joined so far.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}
