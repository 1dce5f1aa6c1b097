// SPDX-License-Identifier: GPL-2.0

//! A writer of data-in pages that clips to the buffer and counts the whole.

/// Writes a page into a buffer that may be too short for it.
///
/// SPC: a device server that has more data than the allocation length sends
/// the first bytes of it, and the length fields inside the data are not
/// changed by the truncation. So bytes past the end of the buffer are dropped
/// and counted, and every byte before [`len`](Self::len) that fits is written,
/// whatever the buffer held before.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Put<'a> {
    /// Starts at the first byte of `out`.
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Put { out, len: 0 }
    }

    /// The bytes put so far, those that did not fit included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let room = self.out.get_mut(self.len..).unwrap_or(&mut []);
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    /// Appends one byte.
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Appends a big-endian 16-bit number.
    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends a big-endian 24-bit number; the high byte is dropped.
    pub(crate) fn u24(&mut self, value: u32) {
        let [_, a, b, c] = value.to_be_bytes();
        self.bytes(&[a, b, c]);
    }

    /// Appends a big-endian 32-bit number.
    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends a big-endian 64-bit number.
    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends zero bytes.
    pub(crate) fn zeros(&mut self, count: usize) {
        let room = self.out.get_mut(self.len..).unwrap_or(&mut []);
        for to in room.iter_mut().take(count) {
            *to = 0;
        }
        self.len = self.len.saturating_add(count);
    }

    /// Appends zero bytes until `len` bytes have been put.
    pub(crate) fn zeros_to(&mut self, len: usize) {
        self.zeros(len.saturating_sub(self.len));
    }

    /// Writes over bytes that were put before, as far as they fit.
    ///
    /// For length fields that stand before what they measure.
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        let room = self.out.get_mut(at..).unwrap_or(&mut []);
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
    }
}

/// The low 8 bits of a length that its caller has bounded.
pub(crate) fn len8(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(u8::MAX)
}

/// The low 16 bits of a length that its caller has bounded.
pub(crate) fn len16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// The low 32 bits of a length that its caller has bounded.
pub(crate) fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_is_a_prefix_and_dirty_bytes_are_overwritten() {
        let fill = |out: &mut [u8]| {
            let mut put = Put::new(out);
            put.u8(0x11);
            put.u16(0x2233);
            put.u24(0xff44_5566);
            put.u32(0x7788_99aa);
            put.u64(0x0102_0304_0506_0708);
            put.zeros(3);
            put.zeros_to(24);
            put.bytes(b"xy");
            put.patch(0, &[0xee, 0xdd]);
            put.len()
        };
        let mut full = [0xa5; 32];
        assert_eq!(fill(&mut full), 26);
        assert_eq!(
            full[..26],
            [
                0xee, 0xdd, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 1, 2, 3, 4, 5, 6, 7, 8,
                0, 0, 0, 0, 0, 0, b'x', b'y'
            ]
        );
        assert_eq!(full[26..], [0xa5; 6]);
        for clip in 0..26 {
            let mut part = [0xa5; 32];
            assert_eq!(fill(&mut part[..clip]), 26);
            assert_eq!(part[..clip], full[..clip]);
            assert_eq!(part[clip..], [0xa5; 32][clip..]);
        }
    }
}
