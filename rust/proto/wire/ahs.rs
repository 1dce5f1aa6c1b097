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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::bytes;
    use crate::proto::wire::RejectReason;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const VECTORS: &str = include_str!("../../../tests/vectors/ahs.hex");

    const SPILL: [u8; 16] = [
        0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
    ];

    #[test]
    fn vectors() {
        let cdb32 = bytes(VECTORS, "cdb32");
        assert_eq!(Ahs::parse(&cdb32).unwrap().cdb_spill, SPILL);
        let cdb18 = bytes(VECTORS, "cdb18");
        assert_eq!(Ahs::parse(&cdb18).unwrap().cdb_spill, [0x5a, 0x5b]);
        let bidi = bytes(VECTORS, "bidi");
        assert_eq!(Ahs::parse(&bidi).unwrap().bidi_read_length, Some(1024));
        let both = bytes(VECTORS, "both");
        assert_eq!(
            Ahs::parse(&both),
            Ok(Ahs {
                cdb_spill: &SPILL,
                bidi_read_length: Some(65536)
            })
        );
        assert_eq!(Ahs::parse(&[]), Ok(Ahs::default()));
    }

    #[test]
    fn every_prefix_is_refused() {
        for name in ["cdb32", "cdb18", "bidi"] {
            let whole = bytes(VECTORS, name);
            for len in 1..whole.len() {
                let error = Ahs::parse(&whole[..len]).unwrap_err();
                assert!(
                    matches!(error, Error::BadAhsLength { .. }),
                    "{name} {len}: {error}"
                );
                assert_eq!(error.reject_reason(), RejectReason::InvalidPduField);
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for (kind, length) in [
            (1u8, 0u16),
            (1, 1),
            (1, 18),
            (1, 0xffff),
            (2, 0),
            (2, 4),
            (2, 6),
        ] {
            let mut segment = vec![0; 20];
            segment[..2].copy_from_slice(&length.to_be_bytes());
            segment[2] = kind;
            assert_eq!(
                Ahs::parse(&segment),
                Err(Error::BadAhsLength { kind, length }),
                "{kind} {length}"
            );
        }
        // The shortest that can be: one byte of CDB.
        assert_eq!(
            Ahs::parse(&[0, 2, 1, 0, 0x5a, 0, 0, 0]).unwrap().cdb_spill,
            [0x5a]
        );
    }

    #[test]
    fn other_types_are_refused() {
        for kind in (0..64).filter(|kind| ![1, 2].contains(kind)) {
            let error = Ahs::parse(&[0, 5, kind, 0, 0, 0, 0, 0]).unwrap_err();
            assert_eq!(error, Error::ReservedAhsType(kind));
            assert_eq!(error.reject_reason(), RejectReason::ProtocolError);
        }
        // Bits 0 and 1 of AHSType and the byte after it are reserved.
        assert_eq!(
            Ahs::parse(&[0, 5, 0xc2, 0xff, 0, 0, 0, 1])
                .unwrap()
                .bidi_read_length,
            Some(1)
        );
    }

    #[test]
    fn a_second_one_of_a_type_is_refused() {
        for (name, kind) in [("cdb18", EXTENDED_CDB), ("bidi", BIDI_READ_LENGTH)] {
            let twice = bytes(VECTORS, name).repeat(2);
            assert_eq!(Iter::new(&twice).count(), 2);
            assert_eq!(Ahs::parse(&twice), Err(Error::RepeatedAhs(kind)));
        }
    }

    proptest! {
        /// Steps through anything to an end, and never past it.
        #[test]
        fn any_bytes_come_to_an_end(words: Vec<[u8; 4]>) {
            let all = words.concat();
            let mut read = 0;
            for (count, segment) in Iter::new(&all).enumerate() {
                prop_assert!(count <= words.len());
                match segment {
                    Ok(Segment::ExtendedCdb(spill)) => {
                        prop_assert!(!spill.is_empty());
                        prop_assert_eq!(spill, &all[read + 4..read + 4 + spill.len()]);
                        read += 4 + spill.len().next_multiple_of(4);
                    }
                    Ok(Segment::BidiReadLength(_)) => read += 8,
                    Err(_) => return Ok(()),
                }
            }
            prop_assert_eq!(read, all.len());
        }

        /// What an initiator writes comes back.
        #[test]
        fn a_cdb_of_any_length_is_read(spill in prop::collection::vec(any::<u8>(), 1..1016)) {
            let length = u16::try_from(spill.len() + 1).unwrap();
            let mut segment = length.to_be_bytes().to_vec();
            segment.extend([EXTENDED_CDB, 0]);
            segment.extend(&spill);
            segment.resize(segment.len().next_multiple_of(4), 0xa5);
            prop_assert_eq!(Ahs::parse(&segment).unwrap().cdb_spill, spill);
        }
    }
}
