// SPDX-License-Identifier: GPL-2.0

//! Cutting an answer into PDUs.

use core::ops::Range;

/// Sends an answer, written as a whole in a buffer of the caller, in as many
/// PDUs as the peer's MaxRecvDataSegmentLength demands.
///
/// All but the last carry the C bit; the peer answers each of those with an
/// empty request (RFC 7143 section 6.2).
#[derive(Debug, Default)]
pub struct Outgoing {
    sent: usize,
    len: usize,
}

/// One PDU's part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the part is in the buffer.
    pub data: Range<usize>,
    /// Whether more parts follow: the C bit.
    pub more: bool,
}

impl Cut {
    /// The length of the part in bytes: a DataSegmentLength.
    pub fn data_len(&self) -> u32 {
        // `Range::len` would do, but for the assertion in it.
        let len = self.data.end.saturating_sub(self.data.start);
        u32::try_from(len).unwrap_or(u32::MAX)
    }
}

impl Outgoing {
    /// Starts with nothing to send.
    pub const fn new() -> Self {
        Self { sent: 0, len: 0 }
    }

    /// Begins to send the first `len` bytes of the buffer.
    pub fn start(&mut self, len: usize) {
        *self = Self { sent: 0, len };
    }

    /// The next part, of at most `max` bytes. It is empty when all is sent.
    ///
    /// A `max` of zero would never end, so one byte at least is sent.
    pub fn next_cut(&mut self, max: usize) -> Cut {
        let left = self.len.saturating_sub(self.sent);
        let end = self.sent.saturating_add(left.min(max.max(1)));
        let data = self.sent..end;
        self.sent = end;
        Cut {
            data,
            more: end < self.len,
        }
    }

    /// Whether a part of the answer is still to be sent.
    pub fn is_open(&self) -> bool {
        self.sent < self.len
    }

    /// Forgets what is not sent yet.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}
