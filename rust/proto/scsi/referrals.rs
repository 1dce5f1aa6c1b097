// SPDX-License-Identifier: GPL-2.0

//! Referrals: which blocks can be reached through which target port groups
//! (SBC-4, "Referrals").
//!
//! A target port group in the logical block dependent state has an access state
//! for each user data segment. What no segment covers can be reached through
//! every group.

use super::alua::AccessState;
use super::put::len16;
use super::put::len8;
use super::put::Put;
use super::sense::Sense;
use super::sense::SENSE_MAX_LEN;

/// Segments of one map at most.
pub const MAX_SEGMENTS: usize = 64;

/// Target port groups of one segment at most.
pub const MAX_MEMBERS: usize = 8;

/// The most bytes that [`Referrals::put_sense`] adds to sense data.
pub const SENSE_REFERRAL_LEN: usize = 4 + 20 + 4 * MAX_MEMBERS;

/// The longest sense data with a referral.
pub const SENSE_WITH_REFERRAL_LEN: usize = SENSE_MAX_LEN + SENSE_REFERRAL_LEN;

/// What the Referrals VPD page says of all segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geometry {
    /// USER DATA SEGMENT SIZE in blocks; 0 when each line is one segment.
    pub size: u32,
    /// USER DATA SEGMENT MULTIPLIER: the segments of a line begin this many
    /// sizes apart.
    pub multiplier: u32,
}

impl Geometry {
    /// Blocks from the beginning of a segment to that of the next one of the
    /// same line; none when there is but one.
    fn stride(self) -> Option<u64> {
        let stride = u64::from(self.size).saturating_mul(u64::from(self.multiplier));
        (stride != 0).then_some(stride)
    }
}

/// One line of a map: a user data segment, or several at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// FIRST USER DATA SEGMENT LBA.
    pub first: u64,
    /// LAST USER DATA SEGMENT LBA.
    pub last: u64,
    members: [(u16, AccessState); MAX_MEMBERS],
    count: usize,
}

/// What is wrong with a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line is not `FIRST LAST GROUP:STATE ...` in decimal.
    Syntax,
    /// A size without a multiplier, or the reverse.
    Geometry,
    /// The last block of a line is before its first one.
    Backwards,
    /// Two lines have blocks in common, or are not in ascending order.
    Overlap,
    /// A line names a group twice, or more than [`MAX_MEMBERS`].
    Members,
    /// More than [`MAX_SEGMENTS`] lines.
    TooMany,
}

/// A number in decimal, without a sign.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let digits = text.iter().map(|digit| char::from(*digit).to_digit(10));
    digits.into_iter().try_fold(0u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit?))
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

impl Geometry {
    /// Reads `SIZE MULTIPLIER`, the first line of a map.
    ///
    /// # Errors
    /// [`Fault::Syntax`] and [`Fault::Geometry`].
    pub fn parse(line: &[u8]) -> Result<Geometry, Fault> {
        let mut words = words(line);
        let mut next = || {
            let value = number(words.next()?)?;
            u32::try_from(value).ok()
        };
        let (Some(size), Some(multiplier)) = (next(), next()) else {
            return Err(Fault::Syntax);
        };
        if words.next().is_some() {
            return Err(Fault::Syntax);
        }
        if (size == 0) != (multiplier == 0) {
            return Err(Fault::Geometry);
        }
        Ok(Geometry { size, multiplier })
    }
}

/// The letter of a state that a segment may be in (SPC-4, "Logical block
/// dependent state").
const LETTERS: [(u8, AccessState); 4] = [
    (b'O', AccessState::ActiveOptimized),
    (b'A', AccessState::ActiveNonOptimized),
    (b'T', AccessState::Transitioning),
    (b'U', AccessState::Unavailable),
];

impl Segment {
    /// Reads `FIRST LAST GROUP:STATE ...`, a line of a map.
    ///
    /// # Errors
    /// [`Fault::Syntax`], [`Fault::Backwards`] and [`Fault::Members`].
    pub fn parse(line: &[u8]) -> Result<Segment, Fault> {
        let mut words = words(line);
        let mut next = || number(words.next()?);
        let (Some(first), Some(last)) = (next(), next()) else {
            return Err(Fault::Syntax);
        };
        if last < first {
            return Err(Fault::Backwards);
        }
        let mut segment = Segment {
            first,
            last,
            members: [(0, AccessState::Unavailable); MAX_MEMBERS],
            count: 0,
        };
        for word in words {
            let (letter, rest) = word.split_last().ok_or(Fault::Syntax)?;
            let group = rest.strip_suffix(b":").ok_or(Fault::Syntax)?;
            let id = number(group)
                .and_then(|id| u16::try_from(id).ok())
                .ok_or(Fault::Syntax)?;
            let mut letters = LETTERS.iter();
            let (_, state) = letters.find(|(l, _)| l == letter).ok_or(Fault::Syntax)?;
            if segment.members().any(|(other, _)| other == id) {
                return Err(Fault::Members);
            }
            let place = segment.members.get_mut(segment.count);
            *place.ok_or(Fault::Members)? = (id, *state);
            segment.count = segment.count.saturating_add(1);
        }
        match segment.count {
            0 => Err(Fault::Syntax),
            _ => Ok(segment),
        }
    }

    /// The target port groups and their states.
    pub fn members(&self) -> impl Iterator<Item = (u16, AccessState)> + '_ {
        self.members.iter().take(self.count).copied()
    }

    /// The letter that [`parse`](Self::parse) reads for a state.
    pub fn letter(state: AccessState) -> char {
        let mut letters = LETTERS.iter();
        let found = letters.find(|(_, s)| *s == state);
        found.map_or('U', |(letter, _)| char::from(*letter))
    }

    /// The state of a group; unavailable if the line does not name it.
    fn state(&self, group: u16) -> AccessState {
        self.members()
            .find(|(id, _)| *id == group)
            .map_or(AccessState::Unavailable, |(_, state)| state)
    }

    /// The first block from `from` to `to` that belongs to the line.
    fn meets(&self, geometry: Geometry, from: u64, to: u64) -> Option<u64> {
        let (from, to) = (from.max(self.first), to.min(self.last));
        if from > to {
            return None;
        }
        let Some(stride) = geometry.stride() else {
            return Some(from);
        };
        let into = from.wrapping_sub(self.first).checked_rem(stride)?;
        if into < u64::from(geometry.size) {
            return Some(from);
        }
        let next = from.checked_add(stride.wrapping_sub(into))?;
        (next <= to).then_some(next)
    }

    /// The bounds of the one segment that a block of the line is in.
    fn around(&self, geometry: Geometry, lba: u64) -> (u64, u64) {
        let Some(stride) = geometry.stride() else {
            return (self.first, self.last);
        };
        let into = lba
            .wrapping_sub(self.first)
            .checked_rem(stride)
            .unwrap_or(0);
        let first = lba.wrapping_sub(into);
        let last = first.saturating_add(u64::from(geometry.size).saturating_sub(1));
        (first, last.min(self.last))
    }

    fn put(&self, put: &mut Put<'_>, bounds: (u64, u64), state_of: &StateOf<'_>) {
        put.zeros(3);
        let count_at = put.len();
        put.u8(0);
        put.u64(bounds.0);
        put.u64(bounds.1);
        let mut count = 0usize;
        for (id, mapped) in self.members() {
            let state = state_of(id).unwrap_or(mapped);
            // SBC-4, table 18: other states are not told of.
            if !LETTERS.iter().any(|(_, told)| *told == state) {
                continue;
            }
            put.u8(state as u8);
            put.u8(0);
            put.u16(id);
            count = count.saturating_add(1);
        }
        put.patch(count_at, &[len8(count)]);
    }
}

/// The state of a group that is not in the logical block dependent state.
pub type StateOf<'a> = dyn Fn(u16) -> Option<AccessState> + 'a;

/// A map of referrals.
#[derive(Clone, Copy, Debug)]
pub struct Referrals<'a> {
    /// What holds for all of it.
    pub geometry: Geometry,
    /// The lines.
    pub segments: &'a [Segment],
}

impl Referrals<'_> {
    /// Whether there is a map.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Checks the lines against each other.
    ///
    /// # Errors
    /// [`Fault::TooMany`] and [`Fault::Overlap`].
    pub fn check(&self) -> Result<(), Fault> {
        if self.segments.len() > MAX_SEGMENTS {
            return Err(Fault::TooMany);
        }
        let mut rest = self.segments;
        while let Some((one, others)) = rest.split_first() {
            if others.iter().any(|other| !self.are_apart(one, other)) {
                return Err(Fault::Overlap);
            }
            rest = others;
        }
        Ok(())
    }

    /// Whether a line that comes later has no block of one before it.
    fn are_apart(&self, one: &Segment, other: &Segment) -> bool {
        if other.first <= one.first {
            return false;
        }
        if other.first > one.last {
            return true;
        }
        let size = u64::from(self.geometry.size);
        let stride = self.geometry.stride();
        let apart = other.first.wrapping_sub(one.first);
        stride
            .and_then(|stride| Some((stride, apart.checked_rem(stride)?)))
            .is_some_and(|(stride, apart)| apart >= size && stride.wrapping_sub(apart) >= size)
    }

    fn line_of(&self, lba: u64) -> Option<&Segment> {
        self.segments
            .iter()
            .find(|s| s.meets(self.geometry, lba, lba).is_some())
    }

    /// The first of `blocks` blocks from `lba` that cannot be reached through a
    /// group in the logical block dependent state, and what its segment is in.
    pub fn refuses(&self, lba: u64, blocks: u64, group: u16) -> Option<(u64, AccessState)> {
        let to = lba.saturating_add(blocks.checked_sub(1)?);
        self.segments
            .iter()
            .filter_map(|segment| {
                let state = segment.state(group);
                match state {
                    AccessState::ActiveOptimized | AccessState::ActiveNonOptimized => None,
                    _ => Some((segment.meets(self.geometry, lba, to)?, state)),
                }
            })
            .min_by_key(|(at, _)| *at)
    }

    /// What a command ends with whose blocks cannot be reached. With descriptor
    /// format sense data it is told where they can be (SBC-4, "Referrals in
    /// sense data"), for which see [`put_sense`](Self::put_sense).
    pub fn refusal(&self, at: (u64, AccessState), descriptor: bool) -> Sense {
        let (lba, state) = at;
        let elsewhere = self.line_of(lba).is_some_and(|segment| {
            segment.members().any(|(_, state)| {
                matches!(
                    state,
                    AccessState::ActiveOptimized | AccessState::ActiveNonOptimized
                )
            })
        });
        match descriptor && elsewhere {
            true => Sense::INSPECT_REFERRALS.with_info(lba),
            false => state.refusal(),
        }
    }

    /// Adds the user data segment referral descriptor of the block `lba` to
    /// descriptor format sense data of `len` bytes; returns the new length.
    pub fn put_sense(&self, lba: u64, out: &mut [u8], len: usize) -> usize {
        let Some(segment) = self.line_of(lba) else {
            return len;
        };
        let Some((before, room)) = out.split_at_mut_checked(len) else {
            return len;
        };
        let mut put = Put::new(room);
        let complete = self.segments.len() <= 1;
        put.bytes(&[0x0b, 0, if complete { 0 } else { 0x01 }, 0]);
        segment.put(&mut put, (segment.first, segment.last), &|_| None);
        put.patch(1, &[len8(put.len().saturating_sub(2))]);
        let added = put.len();
        if let Some(additional) = before.get_mut(7) {
            *additional = additional.saturating_add(len8(added));
        }
        len.saturating_add(added)
    }

    /// Writes the data of REPORT REFERRALS: the segments from the one with
    /// `lba`, or that `one` alone. The disk has `blocks` blocks.
    pub fn report(
        &self,
        lba: u64,
        one: bool,
        blocks: u64,
        state_of: &StateOf<'_>,
        out: &mut [u8],
    ) -> usize {
        let end = blocks.saturating_sub(1);
        let mut put = Put::new(out);
        put.zeros(4);
        if one {
            if let Some(segment) = self.line_of(lba) {
                let (first, last) = segment.around(self.geometry, lba);
                segment.put(&mut put, (first, last.min(end)), state_of);
            }
        } else {
            for segment in self.segments {
                if segment.last >= lba && segment.first <= end {
                    segment.put(&mut put, (segment.first, segment.last.min(end)), state_of);
                }
            }
        }
        let len = len16(put.len().saturating_sub(4));
        put.patch(2, &len.to_be_bytes());
        put.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccessState::*;

    fn segment(line: &str) -> Segment {
        Segment::parse(line.as_bytes()).unwrap()
    }

    const WHOLE: Geometry = Geometry {
        size: 0,
        multiplier: 0,
    };

    /// SBC-4, annex F, figures F.1 and F.2.
    fn f1() -> [Segment; 3] {
        [
            segment("0 1999 1:O 2:A"),
            segment("2000 2999 2:O 1:A"),
            segment("3000 5999 1:O 2:U"),
        ]
    }
    const F2: Geometry = Geometry {
        size: 1000,
        multiplier: 2,
    };
    fn f2() -> [Segment; 2] {
        [
            segment("0 4999 2:O 1:A 3:U"),
            segment("1000 5999 3:O 1:A 2:U"),
        ]
    }

    fn map(geometry: Geometry, segments: &[Segment]) -> Referrals<'_> {
        Referrals { geometry, segments }
    }

    #[test]
    fn lines_that_are_right() {
        assert_eq!(Geometry::parse(b"0 0"), Ok(WHOLE));
        assert_eq!(Geometry::parse(b" 1000\t2 "), Ok(F2));
        let line = segment("  7  9 16:O 0:A 3:T 65535:U ");
        assert_eq!((line.first, line.last), (7, 9));
        let members: std::vec::Vec<_> = line.members().collect();
        assert_eq!(
            members,
            [
                (16, ActiveOptimized),
                (0, ActiveNonOptimized),
                (3, Transitioning),
                (65535, Unavailable)
            ]
        );
        assert_eq!(segment("0 18446744073709551615 1:O").last, u64::MAX);
        for (letter, state) in LETTERS {
            assert_eq!(Segment::letter(state), char::from(letter));
        }
    }

    #[test]
    fn lines_that_are_wrong() {
        for line in [
            "",
            "0",
            "1",
            "1 2 3",
            "x 1",
            "1 x",
            "-1 1",
            "4294967296 1",
            "+1 1",
        ] {
            assert_eq!(
                Geometry::parse(line.as_bytes()),
                Err(Fault::Syntax),
                "{line}"
            );
        }
        for line in ["1000 0", "0 2"] {
            assert_eq!(
                Geometry::parse(line.as_bytes()),
                Err(Fault::Geometry),
                "{line}"
            );
        }
        let wrong = |line: &str| Segment::parse(line.as_bytes()).unwrap_err();
        for line in [
            "",
            "0",
            "0 1",
            "0 1 O",
            "0 1 :O",
            "0 1 1:",
            "0 1 1:S",
            "0 1 1:o",
            "0 1 65536:O",
            "0 1 1O",
            "0 18446744073709551616 1:O",
            "0 1 -1:O",
            "0x0 1 1:O",
        ] {
            assert_eq!(wrong(line), Fault::Syntax, "{line}");
        }
        assert_eq!(wrong("2 1 1:O"), Fault::Backwards);
        assert_eq!(wrong("0 1 1:O 1:A"), Fault::Members);
        assert_eq!(
            wrong("0 1 1:O 2:O 3:O 4:O 5:O 6:O 7:O 8:O 9:O"),
            Fault::Members
        );
    }

    #[test]
    fn lines_against_each_other() {
        assert_eq!(map(WHOLE, &f1()).check(), Ok(()));
        assert_eq!(map(F2, &f2()).check(), Ok(()));
        let same = [segment("0 9 1:O"), segment("9 19 2:O")];
        assert_eq!(map(WHOLE, &same).check(), Err(Fault::Overlap));
        let back = [segment("10 19 1:O"), segment("0 9 2:O")];
        assert_eq!(map(WHOLE, &back).check(), Err(Fault::Overlap));
        // The second begins in the first segment of the first, or its last in the next one.
        for first in [999, 1001, 2999] {
            let lines = [
                segment("0 9999 1:O"),
                segment(&std::format!("{first} 9999 2:O")),
            ];
            assert_eq!(map(F2, &lines).check(), Err(Fault::Overlap), "{first}");
        }
        let many = std::vec![segment("0 0 1:O"); MAX_SEGMENTS + 1];
        assert_eq!(map(WHOLE, &many).check(), Err(Fault::TooMany));
    }

    #[test]
    fn what_cannot_be_reached() {
        let lines = f1();
        let map1 = map(WHOLE, &lines);
        // Group 2 has no way to 3000 to 5999, group 7 none to anything.
        assert_eq!(map1.refuses(0, 3000, 2), None);
        assert_eq!(map1.refuses(0, 3001, 2), Some((3000, Unavailable)));
        assert_eq!(map1.refuses(4000, 1, 2), Some((4000, Unavailable)));
        assert_eq!(map1.refuses(4000, 0, 2), None);
        assert_eq!(map1.refuses(6000, 10, 2), None);
        assert_eq!(map1.refuses(5999, u64::MAX, 2), Some((5999, Unavailable)));
        assert_eq!(map1.refuses(1, 1, 7), Some((1, Unavailable)));
        assert_eq!(map1.refuses(0, u64::MAX, 1), None);
        let lines = f2();
        let map2 = map(F2, &lines);
        // Group 2 has none to every other thousand, from 1000.
        assert_eq!(map2.refuses(0, 1000, 2), None);
        assert_eq!(map2.refuses(0, 1001, 2), Some((1000, Unavailable)));
        assert_eq!(map2.refuses(2000, 1000, 2), None);
        assert_eq!(map2.refuses(2500, 1000, 2), Some((3000, Unavailable)));
        assert_eq!(map2.refuses(3500, 1, 2), Some((3500, Unavailable)));
        assert_eq!(map2.refuses(6000, 1000, 2), None);
        assert_eq!(map2.refuses(500, 1, 3), Some((500, Unavailable)));
    }

    /// The closed form against block by block.
    #[test]
    fn the_same_as_block_by_block() {
        for (size, multiplier, count) in [(0, 0, 2), (1, 1, 1), (1, 2, 2), (3, 2, 2), (2, 5, 2)] {
            let geometry = Geometry { size, multiplier };
            let lines = [segment("2 29 1:O 2:U"), segment("5 38 1:U 2:O")];
            let lines = if size == 0 {
                [segment("2 19 1:O 2:U"), segment("20 38 1:U 2:O")]
            } else {
                lines
            };
            let all = map(geometry, &lines[..count]);
            for group in [1, 2] {
                let bad = |lba| all.refuses(lba, 1, group).is_some();
                for from in 0..45 {
                    for blocks in 0..20 {
                        let want = (from..from + blocks).find(|lba| bad(*lba));
                        let got = all.refuses(from, blocks, group).map(|(at, _)| at);
                        assert_eq!(got, want, "{size} {multiplier} {group} {from} {blocks}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        let ends = [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX];
        for size in [1, 7, u32::MAX] {
            for multiplier in [1, 2, u32::MAX] {
                for first in ends {
                    for lba in ends {
                        for blocks in ends {
                            let mut line = segment("0 18446744073709551615 1:U");
                            line.first = first;
                            let lines = [line];
                            let all = map(Geometry { size, multiplier }, &lines);
                            let met = all.refuses(lba, blocks, 1);
                            assert!(met.is_none_or(|(at, _)| at >= lba && at >= first));
                            let mut out = [0; 64];
                            all.report(lba, true, blocks, &|_| None, &mut out);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_refusal_says() {
        let lines = f1();
        let map = map(WHOLE, &lines);
        let at = (4000, Unavailable);
        assert_eq!(map.refusal(at, false), Sense::NOT_READY_UNAVAILABLE);
        let sense = map.refusal(at, true);
        assert_eq!(sense, Sense::INSPECT_REFERRALS.with_info(4000));
        let mut out = [0xee; SENSE_WITH_REFERRAL_LEN];
        let len = sense.emit(true, &mut out);
        assert_eq!(len, 20);
        let whole = map.put_sense(4000, &mut out, len);
        assert_eq!(whole, 20 + 4 + 20 + 8);
        assert_eq!(out[..8], [0x72, 0x0b, 0x3f, 0x15, 0, 0, 0, 44]);
        assert_eq!(out[20..24], [0x0b, 30, 0x01, 0]);
        assert_eq!(out[24..28], [0, 0, 0, 2]);
        assert_eq!(out[28..36], 3000u64.to_be_bytes());
        assert_eq!(out[36..44], 5999u64.to_be_bytes());
        assert_eq!(out[44..52], [0, 0, 0, 1, 3, 0, 0, 2]);
        assert_eq!(out[52], 0xee);
        // Nobody else has a way to it either.
        let alone = [segment("0 9 1:U 2:T")];
        let alone = super::tests::map(WHOLE, &alone);
        assert_eq!(
            alone.refusal((0, Transitioning), true),
            Sense::NOT_READY_STATE_TRANSITION
        );
        assert_eq!(alone.put_sense(77, &mut out, 20), 20);
        for room in 0..SENSE_WITH_REFERRAL_LEN {
            let mut short = std::vec![0; room];
            map.put_sense(4000, &mut short, 20);
        }
    }

    #[test]
    fn report() {
        let lines = f2();
        let map = map(F2, &lines);
        let mut out = [0xee; 128];
        let len = map.report(3500, true, 5500, &|_| None, &mut out);
        assert_eq!(len, 4 + 20 + 12);
        assert_eq!(out[..8], [0, 0, 0, 32, 0, 0, 0, 3]);
        assert_eq!(out[8..16], 3000u64.to_be_bytes());
        assert_eq!(out[16..24], 3999u64.to_be_bytes());
        assert_eq!(out[24..36], [0, 0, 0, 3, 1, 0, 0, 1, 3, 0, 0, 2]);
        assert_eq!(out[36], 0xee);
        // All of them, as far as there is a disk. Group 1 is in standby as a whole, of which
        // is not told, and group 2 in transition.
        let whole = |id| match id {
            1 => Some(Standby),
            2 => Some(Transitioning),
            _ => None,
        };
        let len = map.report(0, false, 5500, &whole, &mut out);
        assert_eq!(len, 4 + 2 * 28);
        assert_eq!(out[4..8], [0, 0, 0, 2]);
        assert_eq!(out[16..24], 4999u64.to_be_bytes());
        assert_eq!(out[24..32], [0xf, 0, 0, 2, 3, 0, 0, 3]);
        assert_eq!(out[44..52], 5499u64.to_be_bytes());
        // From the second line on, and none.
        assert_eq!(map.report(5000, false, 6000, &|_| None, &mut out), 4 + 32);
        assert_eq!(map.report(6000, false, 9000, &|_| None, &mut out), 4);
        assert_eq!(map.report(6000, true, 9000, &|_| None, &mut out), 4);
        for room in 0..64 {
            let mut short = std::vec![0; room];
            assert_eq!(
                map.report(0, false, 6000, &|_| None, &mut short),
                4 + 2 * 32
            );
        }
    }
}
