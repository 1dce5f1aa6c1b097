// SPDX-License-Identifier: GPL-2.0

//! Additional Header Segments of a SCSI Command (RFC 7143 section 11.2.2).

use crate::proto::wire::{
    pad_len, //
    Error,
};

/// All that the Additional Header Segments of a SCSI Command say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahs<'a> {
    /// The CDB from its 17th byte on; empty where it has only 16.
    pub cdb_spill: &'a [u8],
    /// The Bidirectional Read Expected Data Transfer Length in bytes.
    pub bidi_read_length: Option<u32>,
}

impl<'a> Ahs<'a> {
    /// Reads `bytes`, the TotalAHSLength bytes after the Basic Header Segment.
    ///
    /// # Errors
    ///
    /// Those of [`Iter`], and [`Error::RepeatedAhs`]: a command has one CDB and
    /// one length.
    pub fn parse(bytes: &'a [u8]) -> Result<Ahs<'a>, Error> {
        let mut all = Ahs::default();
        for segment in Iter::new(bytes) {
            match segment? {
                Segment::ExtendedCdb(spill) => {
                    if !all.cdb_spill.is_empty() {
                        return Err(Error::RepeatedAhs(EXTENDED_CDB));
                    }
                    all.cdb_spill = spill;
                }
                Segment::BidiReadLength(length) => {
                    if all.bidi_read_length.is_some() {
                        return Err(Error::RepeatedAhs(BIDI_READ_LENGTH));
                    }
                    all.bidi_read_length = Some(length);
                }
            }
        }
        Ok(all)
    }
}

/// One Additional Header Segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// The CDB from its 17th byte on: 1 to 1016 bytes (section 11.2.2.3).
    ExtendedCdb(&'a [u8]),
    /// The Bidirectional Read Expected Data Transfer Length in bytes (section
    /// 11.2.2.4).
    BidiReadLength(u32),
}

/// Steps through Additional Header Segments. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iter<'a> {
    /// Begins with `bytes`, the TotalAHSLength bytes after the Basic Header
    /// Segment.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Iter<'a> {
        Iter { rest: bytes }
    }

    /// Reads one segment, and returns it with what follows it.
    fn step(bytes: &'a [u8]) -> Result<(Segment<'a>, &'a [u8]), Error> {
        // Fewer than 4 bytes are no segment: not even its length is there.
        let Some((&[len_hi, len_lo, kind, _reserved], rest)) = bytes.split_first_chunk::<4>()
        else {
            return Err(Error::BadAhsLength { kind: 0, length: 0 });
        };
        // Bits 0 and 1 are reserved (section 11.2.2.1).
        let kind = kind & 0x3f;
        let length = u16::from_be_bytes([len_hi, len_lo]);
        let bad_length = Error::BadAhsLength { kind, length };
        // AHSLength counts the byte after AHSType, which both types reserve,
        // and is never 0 because of it (sections 11.2.2.2 to 11.2.2.4).
        let specific = length.checked_sub(1).ok_or(bad_length)?;
        // What follows the 4 bytes ends on a word.
        let padded = u32::from(specific).saturating_add(pad_len(u32::from(specific)));
        let padded = usize::try_from(padded).map_err(|_| bad_length)?;
        let (body, rest) = rest.split_at_checked(padded).ok_or(bad_length)?;
        let segment = match kind {
            EXTENDED_CDB => match body.get(..usize::from(specific)) {
                // Section 11.2.2.3: it "MUST NOT be used if the CDBLength is
                // less than 17".
                None | Some([]) => return Err(bad_length),
                Some(spill) => Segment::ExtendedCdb(spill),
            },
            BIDI_READ_LENGTH => match *body {
                [a, b, c, d] if specific == 4 => {
                    Segment::BidiReadLength(u32::from_be_bytes([a, b, c, d]))
                }
                _ => return Err(bad_length),
            },
            // Section 11: "Receipt of reserved code values in defined fields
            // MUST be reported as a protocol error."
            reserved => return Err(Error::ReservedAhsType(reserved)),
        };
        Ok((segment, rest))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Segment<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Iter::step(self.rest) {
            Ok((segment, rest)) => {
                self.rest = rest;
                Some(Ok(segment))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// AHSType of the Extended CDB.
pub const EXTENDED_CDB: u8 = 1;
/// AHSType of the Bidirectional Read Expected Data Transfer Length.
pub const BIDI_READ_LENGTH: u8 = 2;
