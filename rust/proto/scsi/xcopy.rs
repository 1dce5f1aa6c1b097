// SPDX-License-Identifier: GPL-2.0

//! Third-party copies (SPC-4, "Third-party copy commands"): the parameter lists
//! of EXTENDED COPY(LID1) and (LID4), the order in which a segment is copied,
//! and what is told of a copy afterwards.
//!
//! A list is checked down to its last descriptor before anything is copied. What
//! depends on the logical units that it names is found out segment by segment:
//! then the command ends with COPY ABORTED and tells the segment.

use super::device::DeviceInfo;
use super::put::len16;
use super::put::len32;
use super::put::len8;
use super::put::Put;
use super::range::check_range;
use super::rod;
use super::rod::Token;
use super::sense::FieldPointer;
use super::sense::SegmentPointer;
use super::sense::Sense;
use super::sense::SENSE_MAX_LEN;

/// The most CSCD descriptors of one list.
pub const MAX_CSCDS: u16 = 16;

/// The most segment descriptors of one list.
pub const MAX_SEGMENTS: u16 = 64;

/// The most bytes of all descriptors of one list.
pub const MAX_DESCRIPTORS_LEN: u32 =
    MAX_CSCDS as u32 * CSCD_LEN as u32 + MAX_SEGMENTS as u32 * B2B_OFFSET_LEN as u32;

/// The most bytes that one segment copies: 65 535 blocks of 4 KiB fit.
pub const MAX_SEGMENT_BYTES: u32 = 256 << 20;

/// The most copies of one I_T_L nexus that have list identifiers.
pub const MAX_COPIES: u8 = 16;

/// The most copies of one logical unit that make progress at the same time.
pub const MAX_CONCURRENT: u16 = 32;

/// The types of descriptors that are supported, in ascending order.
pub const DESCRIPTORS: [u8; 3] = [SEGMENT_B2B, SEGMENT_B2B_OFFSET, CSCD_IDENTIFICATION];

/// CSCD DESCRIPTOR ID of the logical unit that got the command.
pub const OWN_UNIT: u16 = 0xffff;

/// Block device to block device.
const SEGMENT_B2B: u8 = 0x02;
/// Block device to block device with offset.
const SEGMENT_B2B_OFFSET: u8 = 0x0a;
/// Identification descriptor.
const CSCD_IDENTIFICATION: u8 = 0xe4;

const LID1_HEADER_LEN: usize = 16;
const LID4_HEADER_LEN: usize = 48;
const CSCD_LEN: usize = 32;
const B2B_LEN: usize = 28;
const B2B_OFFSET_LEN: usize = 32;

/// Which form the parameter list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A list identifier of one byte.
    Lid1,
    /// A list identifier of four bytes.
    Lid4,
}

impl Form {
    const fn header_len(self) -> usize {
        match self {
            Form::Lid1 => LID1_HEADER_LEN,
            Form::Lid4 => LID4_HEADER_LEN,
        }
    }

    /// The most bytes of a parameter list.
    pub const fn max_list_len(self) -> u32 {
        (self.header_len() as u32).saturating_add(MAX_DESCRIPTORS_LEN)
    }
}

/// What is to be remembered of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListId {
    /// The list identifier.
    pub id: u32,
    /// Data that is held for the initiator is not to be discarded: LIST ID
    /// USAGE 00b.
    pub hold: bool,
}

/// A parameter list, all of it checked.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// Under which list identifier it can be asked for, if any.
    pub list_id: Option<ListId>,
    cscds: &'a [u8],
    segments: &'a [u8],
}

/// A source or destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// The logical unit that got the command.
    Own,
    /// What a CSCD descriptor names.
    Named(Cscd<'a>),
}

/// An identification CSCD descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cscd<'a> {
    bytes: &'a [u8; CSCD_LEN],
}

/// How much a segment copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Blocks of the source.
    SourceBlocks(u16),
    /// Blocks of the destination.
    DestinationBlocks(u16),
    /// Bytes.
    Bytes(u32),
}

/// A segment descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its number, from 0.
    pub number: u16,
    /// From where.
    pub source: End<'a>,
    /// To where.
    pub destination: End<'a>,
    /// How much.
    pub amount: Amount,
    /// The first block of the source.
    pub source_lba: u64,
    /// The first block of the destination.
    pub destination_lba: u64,
    cat: bool,
}

/// Reads a parameter list, as long as the CDB says, which is not empty.
///
/// # Errors
/// PARAMETER LIST LENGTH ERROR when something is cut off, or there is more than
/// MAXIMUM DESCRIPTOR LIST LENGTH. The codes of SPC-4 for too many descriptors,
/// descriptors of other types and inline data. INVALID FIELD IN PARAMETER LIST
/// with a field pointer for all else; but COPY ABORTED, UNREACHABLE COPY TARGET
/// when the first segment names a descriptor that there is not.
pub fn parse(form: Form, list: &[u8]) -> Result<List<'_>, Sense> {
    let header = match form {
        Form::Lid1 => lid1_header(list)?,
        Form::Lid4 => lid4_header(list)?,
    };
    let at = form.header_len();
    let rest = list.get(at..).ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    let all = header.cscds.checked_add(header.segments);
    let all = all.ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    if all > MAX_DESCRIPTORS_LEN {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
    }
    let with_inline = all.checked_add(header.inline);
    if with_inline.is_none_or(|len| len > len32(rest.len())) {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
    }
    if header.inline != 0 {
        return Err(Sense::INLINE_DATA_LENGTH_EXCEEDED);
    }
    let (cscds, rest) = usize::try_from(header.cscds)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    let segments = usize::try_from(header.segments)
        .ok()
        .and_then(|len| rest.get(..len))
        .ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    let count = check_cscds(cscds, at)?;
    let at = at.saturating_add(cscds.len());
    check_segments(segments, at, count)?;
    Ok(List {
        list_id: header.list_id,
        cscds,
        segments,
    })
}

/// What the headers of both forms say.
struct Header {
    list_id: Option<ListId>,
    cscds: u32,
    segments: u32,
    inline: u32,
}

/// LIST ID USAGE: 11b has no list identifier, which is zero then.
fn list_id(flags: u8, id: u32, id_at: u16) -> Result<Option<ListId>, Sense> {
    match (flags >> 3) & 0b11 {
        0b00 => Ok(Some(ListId { id, hold: true })),
        0b10 => Ok(Some(ListId { id, hold: false })),
        0b11 if id == 0 => Ok(None),
        0b11 => Err(Sense::invalid_parameter(id_at, None)),
        _ => Err(Sense::invalid_parameter(1, Some(4))),
    }
}

fn lid1_header(list: &[u8]) -> Result<Header, Sense> {
    let Some(header) = list.first_chunk::<LID1_HEADER_LEN>() else {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
    };
    // STR and PRIORITY are wishes.
    let [id, flags, a, b, _, _, _, _, s0, s1, s2, s3, i0, i1, i2, i3] = *header;
    Ok(Header {
        list_id: list_id(flags, u32::from(id), 0)?,
        cscds: u32::from(u16::from_be_bytes([a, b])),
        segments: u32::from_be_bytes([s0, s1, s2, s3]),
        inline: u32::from_be_bytes([i0, i1, i2, i3]),
    })
}

fn lid4_header(list: &[u8]) -> Result<Header, Sense> {
    let Some(header) = list.first_chunk::<LID4_HEADER_LEN>() else {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
    };
    let [format, flags, h0, h1, _, _, _, _, _, _, _, _, _, _, _, more, kind, _, _, _, l0, l1, l2, l3, ..] =
        *header;
    if format != 0x01 {
        return Err(Sense::invalid_parameter(0, None));
    }
    if u16::from_be_bytes([h0, h1]) != 0x0020 {
        return Err(Sense::invalid_parameter(2, None));
    }
    // G_SENSE: no sense data comes with GOOD. IMMED: nothing goes on after its
    // command has ended.
    if more & 0x02 != 0 {
        return Err(Sense::invalid_parameter(15, Some(1)));
    }
    if more & 0x01 != 0 {
        return Err(Sense::invalid_parameter(15, Some(0)));
    }
    if kind != 0xff {
        return Err(Sense::invalid_parameter(16, None));
    }
    let [.., c0, c1, s0, s1, i0, i1] = *header;
    Ok(Header {
        list_id: list_id(flags, u32::from_be_bytes([l0, l1, l2, l3]), 20)?,
        cscds: u32::from(u16::from_be_bytes([c0, c1])),
        segments: u32::from(u16::from_be_bytes([s0, s1])),
        inline: u32::from(u16::from_be_bytes([i0, i1])),
    })
}

/// How many CSCD descriptors there are.
fn check_cscds(cscds: &[u8], at: usize) -> Result<u16, Sense> {
    let mut rest = cscds;
    let mut at = at;
    let mut count = 0u16;
    while let Some(kind) = rest.first() {
        if *kind != CSCD_IDENTIFICATION {
            return Err(at_field(
                Sense::UNSUPPORTED_CSCD_DESCRIPTOR_TYPE_CODE,
                at,
                None,
            ));
        }
        let Some((cscd, tail)) = rest.split_first_chunk::<CSCD_LEN>() else {
            return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
        };
        if count >= MAX_CSCDS {
            return Err(Sense::TOO_MANY_CSCD_DESCRIPTORS);
        }
        // DESIGNATOR LENGTH: there is room for 20 bytes.
        let [_, _, _, _, _, _, _, len, ..] = *cscd;
        if len > 20 {
            return Err(invalid(at, 7, None));
        }
        count = count.saturating_add(1);
        at = at.saturating_add(CSCD_LEN);
        rest = tail;
    }
    Ok(count)
}

fn check_segments(segments: &[u8], at: usize, cscds: u16) -> Result<(), Sense> {
    let mut rest = segments;
    let mut at = at;
    let mut number = 0u16;
    while let Some(kind) = rest.first() {
        let len = match *kind {
            SEGMENT_B2B => B2B_LEN,
            SEGMENT_B2B_OFFSET => B2B_OFFSET_LEN,
            _ => {
                return Err(at_field(
                    Sense::UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE,
                    at,
                    None,
                ))
            }
        };
        let Some((segment, tail)) = rest.split_at_checked(len) else {
            return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
        };
        if number >= MAX_SEGMENTS {
            return Err(Sense::TOO_MANY_SEGMENT_DESCRIPTORS);
        }
        check_segment(segment, at, number, cscds)?;
        number = number.saturating_add(1);
        at = at.saturating_add(len);
        rest = tail;
    }
    Ok(())
}

fn check_segment(segment: &[u8], at: usize, number: u16, cscds: u16) -> Result<(), Sense> {
    let [kind, flags, l0, l1, s0, s1, d0, d1, b0, b1, b2, b3, ..] = *segment else {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
    };
    if usize::from(u16::from_be_bytes([l0, l1])).checked_add(4) != Some(segment.len()) {
        return Err(invalid(at, 2, None));
    }
    // FCO: whether a copy is a fast one is not known.
    if flags & 0x04 != 0 {
        return Err(invalid(at, 1, Some(2)));
    }
    for (id, byte) in [([s0, s1], 4), ([d0, d1], 6)] {
        let id = u16::from_be_bytes(id);
        if id < cscds || id == OWN_UNIT {
            continue;
        }
        // Nothing has been copied yet, so only the first can be the one that is
        // being processed.
        return Err(match number {
            0 => Sense::UNREACHABLE_COPY_TARGET.in_segment(0, Some((byte, None))),
            _ => invalid(at, usize::from(byte), None),
        });
    }
    if kind == SEGMENT_B2B_OFFSET {
        if u32::from_be_bytes([b0, b1, b2, b3]) > MAX_SEGMENT_BYTES {
            return Err(invalid(at, 8, None));
        }
        // Parts of blocks are not copied.
        let [.., f0, f1, t0, t1] = *segment else {
            return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
        };
        if [f0, f1] != [0, 0] {
            return Err(invalid(at, 28, None));
        }
        if [t0, t1] != [0, 0] {
            return Err(invalid(at, 30, None));
        }
    }
    Ok(())
}

/// The same with a field pointer into the parameter list.
fn at_field(mut sense: Sense, at: usize, bit: Option<u8>) -> Sense {
    sense.field = Some(FieldPointer {
        cdb: false,
        byte: len16(at),
        bit,
    });
    sense
}

/// INVALID FIELD IN PARAMETER LIST: a byte of a descriptor.
fn invalid(at: usize, byte: usize, bit: Option<u8>) -> Sense {
    Sense::invalid_parameter(len16(at.saturating_add(byte)), bit)
}

impl Sense {
    /// The same, saying in which segment it happened: its number in the third
    /// and fourth byte of COMMAND-SPECIFIC INFORMATION; and which field of its
    /// descriptor is wrong, if one is.
    pub const fn in_segment(mut self, number: u16, field: Option<(u16, Option<u8>)>) -> Sense {
        self.command_specific = Some(number as u64);
        if let Some((byte, bit)) = field {
            self.segment = Some(SegmentPointer { byte, bit });
        }
        self
    }
}

impl<'a> List<'a> {
    /// A segment, by its number.
    pub fn segment(&self, number: u16) -> Option<Segment<'a>> {
        let mut rest = self.segments;
        let mut left = number;
        loop {
            let len = match *rest.first()? {
                SEGMENT_B2B => B2B_LEN,
                _ => B2B_OFFSET_LEN,
            };
            let (segment, tail) = rest.split_at_checked(len)?;
            if left == 0 {
                return self.read(segment, number);
            }
            left = left.checked_sub(1)?;
            rest = tail;
        }
    }

    fn read(&self, segment: &[u8], number: u16) -> Option<Segment<'a>> {
        let bytes = segment.first_chunk::<B2B_LEN>()?;
        let [kind, flags, _, _, s0, s1, d0, d1, b0, b1, b2, b3, rest @ ..] = *bytes;
        let [f0, f1, f2, f3, f4, f5, f6, f7, t0, t1, t2, t3, t4, t5, t6, t7] = rest;
        Some(Segment {
            number,
            source: self.end(u16::from_be_bytes([s0, s1]))?,
            destination: self.end(u16::from_be_bytes([d0, d1]))?,
            amount: match (kind, flags & 0x02) {
                (SEGMENT_B2B, 0) => Amount::SourceBlocks(u16::from_be_bytes([b2, b3])),
                (SEGMENT_B2B, _) => Amount::DestinationBlocks(u16::from_be_bytes([b2, b3])),
                _ => Amount::Bytes(u32::from_be_bytes([b0, b1, b2, b3])),
            },
            source_lba: u64::from_be_bytes([f0, f1, f2, f3, f4, f5, f6, f7]),
            destination_lba: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            cat: flags & 0x01 != 0,
        })
    }

    fn end(&self, id: u16) -> Option<End<'a>> {
        if id == OWN_UNIT {
            return Some(End::Own);
        }
        let bytes = self.cscds.chunks_exact(CSCD_LEN).nth(usize::from(id))?;
        let bytes = bytes.first_chunk()?;
        Some(End::Named(Cscd { bytes }))
    }
}

impl Cscd<'_> {
    /// Whether the descriptor names a logical unit: by one of the designators on
    /// its VPD page 83h, as far as they fit into 20 bytes. A T10 vendor ID
    /// designator of vendor, product and serial number does not. LU ID TYPE is
    /// ignored, as SPC-4 demands.
    pub fn names(&self, info: &DeviceInfo<'_>) -> bool {
        let [_, _, _, _, code_set, kind, _, len, designator @ .., _, _, _, _] = self.bytes;
        let designator = match designator.get(..usize::from(*len)) {
            Some([]) | None => return false,
            Some(designator) => designator,
        };
        // Logical unit; NAA, EUI-64 based, T10 vendor ID.
        match (code_set & 0x0f, kind & 0x3f) {
            (0x01, 0x03) => info.naa().get() == designator,
            (0x01, 0x02) => info.eui64.get() == designator,
            (set @ (0x01 | 0x02), 0x01) => {
                let (is_text, bytes) = info.t10.bytes();
                is_text == (set == 0x02) && bytes.eq(designator.iter().copied())
            }
            _ => false,
        }
    }

    /// Whether the descriptor is right about the logical unit: a disk with
    /// blocks of so many bytes.
    pub fn fits(&self, block_size: u32) -> bool {
        let [_, kind, .., a, b, c] = *self.bytes;
        kind & 0x1f == 0 && u32::from_be_bytes([0, a, b, c]) == block_size
    }
}

/// What a segment comes to on its source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How much is copied, in bytes.
    pub bytes: u64,
    /// The same in blocks of the source.
    pub source_blocks: u64,
    /// The same in blocks of the destination.
    pub destination_blocks: u64,
}

impl Segment<'_> {
    /// What the segment comes to with blocks of `1 << source_shift` and `1 <<
    /// destination_shift` bytes, on so many blocks.
    ///
    /// # Errors
    /// COPY ABORTED: the segment is no whole number of blocks of both, or names
    /// blocks that there are not.
    pub fn plan(&self, source: (u32, u64), destination: (u32, u64)) -> Result<Plan, Sense> {
        let ((source_shift, source_capacity), (destination_shift, destination_capacity)) =
            (source, destination);
        let bytes = match self.amount {
            Amount::SourceBlocks(blocks) => u64::from(blocks).wrapping_shl(source_shift),
            Amount::DestinationBlocks(blocks) => u64::from(blocks).wrapping_shl(destination_shift),
            Amount::Bytes(bytes) => u64::from(bytes),
        };
        let whole = |shift: u32| {
            let blocks = bytes.wrapping_shr(shift);
            (blocks.wrapping_shl(shift) == bytes).then_some(blocks)
        };
        let (Some(source_blocks), Some(destination_blocks)) =
            (whole(source_shift), whole(destination_shift))
        else {
            return Err(if self.cat {
                // Nothing is kept for the next segment.
                Sense::COPY_INVALID_FIELD_IN_PARAMETER_LIST
                    .in_segment(self.number, Some((1, Some(0))))
            } else {
                Sense::UNEXPECTED_INEXACT_SEGMENT.in_segment(self.number, None)
            });
        };
        for (lba, blocks, capacity, byte) in [
            (self.source_lba, source_blocks, source_capacity, 12),
            (
                self.destination_lba,
                destination_blocks,
                destination_capacity,
                20,
            ),
        ] {
            if check_range(lba, blocks, capacity).is_err() {
                return Err(Sense::COPY_ABORTED.in_segment(self.number, Some((byte, None))));
            }
        }
        Ok(Plan {
            bytes,
            source_blocks,
            destination_blocks,
        })
    }

    /// Whether the blocks are to be copied last first, so that none is written
    /// before it has been read: source and destination are one and the same and
    /// overlap.
    pub fn is_backward(&self, plan: &Plan) -> bool {
        self.source_lba < self.destination_lba
            && self.destination_lba < self.source_lba.saturating_add(plan.source_blocks)
    }
}

/// How far a segment is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Bytes that have been copied.
    pub done: u64,
    /// From the last byte on.
    pub backward: bool,
}

/// A part of a segment, in bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub at: u64,
    /// How long it is.
    pub len: u64,
}

impl Walk {
    /// What is to be copied next, at most `most` bytes; None when all has been.
    pub fn next(&self, bytes: u64, most: u64) -> Option<Part> {
        let left = bytes.checked_sub(self.done)?;
        let len = left.min(most);
        if len == 0 {
            return None;
        }
        let at = match self.backward {
            true => left.saturating_sub(len),
            false => self.done,
        };
        Some(Part { at, len })
    }

    /// The residual of a segment that is not copied to its end, in blocks of
    /// the destination; None when nothing has been written. What counts as
    /// written is what has been from the first byte on.
    pub fn residual_blocks(&self, plan: &Plan) -> Option<u64> {
        let block = plan.bytes.checked_div(plan.destination_blocks)?;
        match (self.done, self.backward) {
            (0, _) => None,
            (_, true) => Some(plan.destination_blocks),
            (done, false) => plan.bytes.saturating_sub(done).checked_div(block),
        }
    }
}

/// How a copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is under way.
    Running,
    /// All has been copied.
    Done,
    /// It ended with sense data.
    Failed(Sense),
    /// It was aborted.
    Aborted,
}

/// What is known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Under which list identifier.
    pub list_id: ListId,
    /// The service action that began it.
    pub action: u8,
    /// How it stands.
    pub state: State,
    /// Segments that have been copied.
    pub segments: u16,
    /// Bytes that have been written.
    pub bytes: u64,
    /// How often something has been written.
    pub operations: u16,
    /// What is told is in blocks of `1 << shift` bytes.
    pub shift: Option<u32>,
    /// The token that was made.
    pub token: Option<Token>,
}

impl Record {
    /// A copy that begins.
    pub const fn new(list_id: ListId, action: u8) -> Record {
        Record {
            list_id,
            action,
            state: State::Running,
            segments: 0,
            bytes: 0,
            operations: 0,
            shift: None,
            token: None,
        }
    }

    /// Something more has been written.
    pub fn wrote(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.operations = self.operations.wrapping_add(1);
    }

    /// The sense data, and how long it is.
    fn sense(&self, descriptor: bool) -> ([u8; SENSE_MAX_LEN], usize) {
        let mut bytes = [0; SENSE_MAX_LEN];
        let len = match self.state {
            State::Failed(sense) => sense.emit(descriptor, &mut bytes).min(bytes.len()),
            State::Running | State::Done | State::Aborted => 0,
        };
        (bytes, len)
    }
}

/// RECEIVE COPY STATUS(LID1) data.
pub fn status_lid1(record: &Record, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.u32(8);
    put.u8(match record.state {
        State::Running => 0x00,
        State::Done => 0x01,
        State::Failed(_) | State::Aborted => 0x02,
    });
    put.u16(record.segments);
    // TRANSFER COUNT UNITS: bytes, or kibibytes.
    match u32::try_from(record.bytes) {
        Ok(bytes) => {
            put.u8(0x00);
            put.u32(bytes);
        }
        Err(_) => {
            put.u8(0x01);
            put.u32(u32::try_from(record.bytes >> 10).unwrap_or(u32::MAX));
        }
    }
    put.len()
}

/// RECEIVE COPY DATA(LID1) data: no descriptor that is supported makes any to be
/// held.
///
/// # Errors
/// INVALID FIELD IN CDB when the copy has not ended, or data was not to be held.
pub fn data_lid1(record: &Record, out: &mut [u8]) -> Result<usize, Sense> {
    if record.state == State::Running || !record.list_id.hold {
        return Err(Sense::invalid_cdb(2, None));
    }
    let mut put = Put::new(out);
    put.u32(0);
    Ok(put.len())
}

/// RECEIVE COPY FAILURE DETAILS(LID1) data.
///
/// # Errors
/// INVALID FIELD IN CDB when the copy has not ended.
pub fn failure_details(record: &Record, descriptor: bool, out: &mut [u8]) -> Result<usize, Sense> {
    let mut put = Put::new(out);
    match record.state {
        State::Running => return Err(Sense::invalid_cdb(2, None)),
        State::Done => put.u32(0),
        State::Failed(_) | State::Aborted => {
            let (bytes, len) = record.sense(descriptor);
            put.u32(len32(len).saturating_add(56));
            put.zeros_to(56);
            put.u8(0x02);
            put.u8(0);
            put.u16(len16(len));
            put.bytes(bytes.get(..len).unwrap_or(&[]));
        }
    }
    Ok(put.len())
}

/// RECEIVE COPY STATUS(LID4) data.
pub fn status_lid4(record: &Record, descriptor: bool, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.zeros(4);
    status(record, descriptor, &mut put);
    let len = len32(put.len().saturating_sub(4));
    put.patch(0, &len.to_be_bytes());
    put.len()
}

/// RECEIVE ROD TOKEN INFORMATION data.
pub fn rod_token_information(
    record: &Record,
    info: &DeviceInfo<'_>,
    descriptor: bool,
    out: &mut [u8],
) -> usize {
    let mut put = Put::new(out);
    put.zeros(4);
    status(record, descriptor, &mut put);
    rod::put_descriptors(record.token.as_ref(), info, &mut put);
    let len = len32(put.len().saturating_sub(4));
    put.patch(0, &len.to_be_bytes());
    put.len()
}

fn status(record: &Record, descriptor: bool, put: &mut Put<'_>) {
    let (sense, len) = record.sense(descriptor);
    put.u8(record.action);
    put.u8(match record.state {
        State::Done => 0x01,
        State::Failed(_) => 0x02,
        // In the foreground.
        State::Running => 0x11,
        State::Aborted => 0x60,
    });
    put.u16(record.operations);
    // ESTIMATED STATUS UPDATE DELAY: not known; or it stays as it is.
    put.u32(match record.state {
        State::Running => 0xffff_fffe,
        State::Done | State::Failed(_) | State::Aborted => 0xffff_ffff,
    });
    // EXTENDED COPY COMPLETION STATUS.
    put.u8(match record.state {
        State::Failed(_) => 0x02,
        State::Running | State::Done | State::Aborted => 0x00,
    });
    put.u8(len8(len));
    put.u8(len8(len));
    // TRANSFER COUNT UNITS: logical blocks, or bytes.
    put.u8(record.shift.map_or(0x00, |_| 0xf1));
    put.u64(record.bytes.wrapping_shr(record.shift.unwrap_or(0)));
    put.u16(record.segments);
    put.zeros(6);
    put.bytes(sense.get(..len).unwrap_or(&[]));
}

/// RECEIVE COPY OPERATING PARAMETERS data.
pub fn operating_parameters(info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.zeros(4);
    // SNLID: a copy need not have a list identifier.
    put.u8(0x01);
    put.zeros(3);
    put.u16(MAX_CSCDS);
    put.u16(MAX_SEGMENTS);
    put.u32(MAX_DESCRIPTORS_LEN);
    put.u32(MAX_SEGMENT_BYTES);
    // No inline data, no held data, no stream devices.
    put.zeros(12);
    put.zeros(2);
    put.u16(MAX_CONCURRENT);
    put.u8(MAX_COPIES);
    put.u8(granularity(info));
    put.zeros(2);
    put.zeros(3);
    put.u8(len8(DESCRIPTORS.len()));
    put.bytes(&DESCRIPTORS);
    let len = len32(put.len().saturating_sub(4));
    put.patch(0, &len.to_be_bytes());
    put.len()
}

/// DATA SEGMENT GRANULARITY: a block, as a power of two.
fn granularity(info: &DeviceInfo<'_>) -> u8 {
    u8::try_from(info.block_size.trailing_zeros()).unwrap_or(0)
}

/// The descriptors of the Third-party Copy VPD page.
pub(super) fn page(info: &DeviceInfo<'_>, put: &mut Put<'_>) {
    // Block Device ROD Limits.
    descriptor(put, 0x0000, |put| rod::put_limits(info, put));
    // Supported Commands.
    descriptor(put, 0x0001, |put| {
        let start = put.len();
        put.u8(0);
        put.bytes(&[0x83, 5, 0x00, 0x01, 0x10, 0x11, 0x1c]);
        put.bytes(&[0x84, 6, 0x00, 0x01, 0x03, 0x04, 0x05, 0x07]);
        let len = put.len().saturating_sub(start).saturating_sub(1);
        put.patch(start, &[len8(len)]);
    });
    // Parameter Data.
    descriptor(put, 0x0004, |put| {
        put.zeros(4);
        put.u16(MAX_CSCDS);
        put.u16(MAX_SEGMENTS);
        put.u32(MAX_DESCRIPTORS_LEN);
        put.u32(0);
        put.zeros(12);
    });
    // Supported Descriptors.
    descriptor(put, 0x0008, |put| {
        put.u8(len8(DESCRIPTORS.len()));
        put.bytes(&DESCRIPTORS);
    });
    // Supported CSCD Descriptor IDs.
    descriptor(put, 0x000c, |put| {
        put.u16(2);
        put.u16(OWN_UNIT);
    });
    descriptor(put, 0x0106, rod::put_features);
    descriptor(put, 0x0108, rod::put_types);
    // General Copy Operations.
    descriptor(put, 0x8001, |put| {
        put.u32(u32::from(MAX_CONCURRENT));
        put.u32(u32::from(MAX_COPIES));
        put.u32(MAX_SEGMENT_BYTES);
        put.u8(granularity(info));
        put.zeros(19);
    });
}

/// A third-party copy descriptor: type, length, and what it turned out to be,
/// padded to a multiple of four bytes.
fn descriptor(put: &mut Put<'_>, kind: u16, body: impl FnOnce(&mut Put<'_>)) {
    put.u16(kind);
    let at = put.len();
    put.u16(0);
    body(put);
    let padded = put.len().saturating_add(3) & !3;
    put.zeros_to(padded);
    let len = put.len().saturating_sub(at).saturating_sub(2);
    put.patch(at, &len16(len).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::unit_id::Eui64;
    use super::super::unit_id::Naa;
    use super::super::unit_id::T10;
    use super::super::vpd;
    use super::*;
    use crate::proto::scsi::SenseKey;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SERIAL: &[u8] = b"0123456789abcdef";
    const COMPANY: u32 = 0x00_1405;

    /// An identification descriptor of a disk with blocks of 512 bytes.
    fn cscd() -> [u8; 32] {
        [
            0xe4, 0x00, 0, 0, // type, LU ID TYPE and device type, initiator port
            0x01, 0x03, 0, 16, // code set, designator type, length
            0x60, 0x01, 0x40, 0x50, 0x12, 0x34, 0x56, 0x78, // NAA
            0x9a, 0xbc, 0xde, 0xf0, 0, 0, 0, 0, //
            0, 0, 0, 0, // no more of a designator
            0x00, 0x00, 0x02, 0x00, // DISK BLOCK LENGTH
        ]
    }

    /// 02h: 8 blocks from 16 on, to 1024 on.
    fn b2b(source: u8, destination: u8) -> Vec<u8> {
        std::vec![
            0x02,
            0x00,
            0x00,
            0x18,
            0,
            source,
            0,
            destination,
            0,
            0,
            0,
            8, // blocks
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            16, // source
            0,
            0,
            0,
            0,
            0,
            0,
            4,
            0, // destination
        ]
    }

    /// 0Ah: 4096 bytes.
    fn b2b_offset() -> Vec<u8> {
        std::vec![
            0x0a, 0x00, 0x00, 0x1c, 0, 0, 0, 0, 0, 0, 0x10, 0, // bytes
            0, 0, 0, 0, 0, 0, 0, 16, // source
            0, 0, 0, 0, 0, 0, 4, 0, // destination
            0, 0, 0, 0, // offsets
        ]
    }

    fn lid1(cscds: &[[u8; 32]], segments: &[Vec<u8>]) -> Vec<u8> {
        let cscds = cscds.concat();
        let segments = segments.concat();
        let mut list = std::vec![0x07, 0x00];
        list.extend(u16::try_from(cscds.len()).unwrap().to_be_bytes());
        list.extend([0; 4]);
        list.extend(u32::try_from(segments.len()).unwrap().to_be_bytes());
        list.extend([0; 4]);
        list.extend(cscds);
        list.extend(segments);
        list
    }

    fn lid4(cscds: &[[u8; 32]], segments: &[Vec<u8>]) -> Vec<u8> {
        let cscds = cscds.concat();
        let segments = segments.concat();
        let mut list = std::vec![0x01, 0x00, 0x00, 0x20];
        list.resize(16, 0);
        list.extend([0xff, 0, 0, 0, 0x01, 0x02, 0x03, 0x04]);
        list.resize(42, 0);
        list.extend(u16::try_from(cscds.len()).unwrap().to_be_bytes());
        list.extend(u16::try_from(segments.len()).unwrap().to_be_bytes());
        list.extend([0, 0]);
        list.extend(cscds);
        list.extend(segments);
        list
    }

    fn refused(list: &[u8]) -> Sense {
        parse(Form::Lid1, list).unwrap_err()
    }

    fn simple() -> Vec<u8> {
        lid1(&[cscd()], &[b2b(0, 0)])
    }

    #[test]
    fn a_list_from_the_wire() {
        let bytes = simple();
        assert_eq!(bytes.len(), 16 + 32 + 28);
        let list = parse(Form::Lid1, &bytes).unwrap();
        assert_eq!(list.list_id, Some(ListId { id: 7, hold: true }));
        let segment = list.segment(0).unwrap();
        assert_eq!(segment.number, 0);
        assert_eq!(segment.amount, Amount::SourceBlocks(8));
        assert_eq!((segment.source_lba, segment.destination_lba), (16, 1024));
        assert_eq!(list.segment(1), None);
        assert_eq!(list.segment(u16::MAX), None);
        let End::Named(named) = segment.source else {
            panic!("it is named");
        };
        let mut unit = DeviceInfo::new(SERIAL, 512, 8);
        assert_eq!(unit.company_id, COMPANY);
        assert!(named.names(&unit));
        assert!(!named.names(&DeviceInfo::new(b"0123456789abcdee", 512, 8)));
        unit.company_id = 0x00_1406;
        assert!(!named.names(&unit));
        assert!(named.fits(512));
        assert!(!named.fits(4096));
        assert_eq!(segment.destination, segment.source);
    }

    #[test]
    fn the_other_form_and_the_other_segment() {
        let bytes = lid4(&[cscd(), cscd()], &[b2b(0xff, 1), b2b_offset()]);
        let mut bytes = bytes;
        // Source of the first: FFFFh.
        bytes[48 + 64 + 4] = 0xff;
        bytes[1] = 0x10;
        let list = parse(Form::Lid4, &bytes).unwrap();
        assert_eq!(
            list.list_id,
            Some(ListId {
                id: 0x0102_0304,
                hold: false
            })
        );
        assert_eq!(list.segment(0).unwrap().source, End::Own);
        let second = list.segment(1).unwrap();
        assert_eq!(second.amount, Amount::Bytes(4096));
        assert_eq!((second.source_lba, second.destination_lba), (16, 1024));
        assert_eq!(list.segment(2), None);
    }

    #[test]
    fn every_prefix() {
        for (form, bytes) in [
            (
                Form::Lid1,
                lid1(&[cscd(), cscd()], &[b2b(0, 1), b2b_offset()]),
            ),
            (
                Form::Lid4,
                lid4(&[cscd(), cscd()], &[b2b(0, 1), b2b_offset()]),
            ),
        ] {
            assert!(parse(form, &bytes).is_ok());
            for len in 0..bytes.len() {
                assert_eq!(
                    parse(form, &bytes[..len]).unwrap_err(),
                    Sense::PARAMETER_LIST_LENGTH_ERROR,
                    "{form:?} {len}"
                );
            }
            // What comes after is not looked at.
            let mut longer = bytes.clone();
            longer.push(0xff);
            assert!(parse(form, &longer).is_ok());
        }
    }

    /// And descriptor lists that end within a descriptor.
    #[test]
    fn lengths_that_cut_a_descriptor() {
        for len in 1..32 {
            let mut bytes = simple();
            bytes[3] = len;
            bytes[11] = 0;
            assert_eq!(refused(&bytes), Sense::PARAMETER_LIST_LENGTH_ERROR);
        }
        for len in 1..28 {
            let mut bytes = simple();
            bytes[11] = len;
            assert_eq!(refused(&bytes), Sense::PARAMETER_LIST_LENGTH_ERROR);
        }
    }

    #[test]
    fn list_identifiers() {
        let with = |id: u8, usage: u8| {
            let mut bytes = simple();
            bytes[0] = id;
            // STR and PRIORITY are ignored.
            bytes[1] = 0x27 | usage << 3;
            parse(Form::Lid1, &bytes).map(|list| list.list_id)
        };
        assert_eq!(with(9, 0), Ok(Some(ListId { id: 9, hold: true })));
        assert_eq!(with(9, 2), Ok(Some(ListId { id: 9, hold: false })));
        assert_eq!(with(0, 3), Ok(None));
        assert_eq!(with(9, 3), Err(Sense::invalid_parameter(0, None)));
        assert_eq!(with(9, 1), Err(Sense::invalid_parameter(1, Some(4))));
    }

    #[test]
    fn the_header_of_lid4() {
        let with = |at: usize, value: u8| {
            let mut bytes = lid4(&[cscd()], &[b2b(0, 0)]);
            bytes[at] = value;
            parse(Form::Lid4, &bytes).map(|_| ())
        };
        assert_eq!(with(0, 1), Ok(()));
        assert_eq!(with(0, 0), Err(Sense::invalid_parameter(0, None)));
        assert_eq!(with(3, 0), Err(Sense::invalid_parameter(2, None)));
        assert_eq!(with(15, 1), Err(Sense::invalid_parameter(15, Some(0))));
        assert_eq!(with(15, 2), Err(Sense::invalid_parameter(15, Some(1))));
        assert_eq!(with(16, 0), Err(Sense::invalid_parameter(16, None)));
        assert_eq!(with(1, 0x18), Err(Sense::invalid_parameter(20, None)));
        assert_eq!(with(47, 1), Err(Sense::PARAMETER_LIST_LENGTH_ERROR));
        let mut inline = lid4(&[cscd()], &[b2b(0, 0)]);
        inline[47] = 1;
        inline.push(0);
        assert_eq!(
            parse(Form::Lid4, &inline).unwrap_err(),
            Sense::INLINE_DATA_LENGTH_EXCEEDED
        );
    }

    #[test]
    fn limits() {
        let most = std::vec![cscd(); 16];
        let many = std::vec![b2b_offset(); 64];
        let bytes = lid1(&most, &many);
        assert_eq!(bytes.len(), Form::Lid1.max_list_len() as usize);
        assert!(parse(Form::Lid1, &bytes).is_ok());
        assert_eq!(lid4(&most, &many).len(), Form::Lid4.max_list_len() as usize);
        assert!(parse(Form::Lid4, &lid4(&most, &many)).is_ok());
        assert_eq!(
            refused(&lid1(&std::vec![cscd(); 17], &[b2b(0, 0)])),
            Sense::TOO_MANY_CSCD_DESCRIPTORS
        );
        assert_eq!(
            refused(&lid1(&[cscd()], &std::vec![b2b(0, 0); 65])),
            Sense::TOO_MANY_SEGMENT_DESCRIPTORS
        );
        // Both: what is too long is not looked at.
        assert_eq!(
            refused(&lid1(&std::vec![cscd(); 17], &many)),
            Sense::PARAMETER_LIST_LENGTH_ERROR
        );
    }

    #[test]
    fn nothing_to_copy() {
        let list = lid1(&[], &[]);
        assert_eq!(parse(Form::Lid1, &list).unwrap().segment(0), None);
        let list = lid1(&[cscd()], &[]);
        assert_eq!(parse(Form::Lid1, &list).unwrap().segment(0), None);
    }

    #[test]
    fn other_types_are_refused_by_their_place() {
        for kind in 0..=255u8 {
            let mut bytes = simple();
            bytes[16] = kind;
            let got = parse(Form::Lid1, &bytes).map(|_| ());
            match kind {
                0xe4 => assert_eq!(got, Ok(())),
                _ => assert_eq!(
                    got,
                    Err(at_field(
                        Sense::UNSUPPORTED_CSCD_DESCRIPTOR_TYPE_CODE,
                        16,
                        None
                    ))
                ),
            }
            let mut bytes = simple();
            bytes[48] = kind;
            let got = parse(Form::Lid1, &bytes).map(|_| ());
            match kind {
                0x02 => assert_eq!(got, Ok(())),
                // It is longer than what there is.
                0x0a => assert_eq!(got, Err(Sense::PARAMETER_LIST_LENGTH_ERROR)),
                _ => assert_eq!(
                    got,
                    Err(at_field(
                        Sense::UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE,
                        48,
                        None
                    ))
                ),
            }
        }
    }

    #[test]
    fn fields_are_refused_by_their_place() {
        let with = |at: usize, value: u8| {
            let mut bytes = lid1(&[cscd()], &[b2b(0, 0), b2b_offset()]);
            bytes[at] = value;
            parse(Form::Lid1, &bytes).map(|_| ())
        };
        let second = 48 + 28;
        let invalid = |at| Err(Sense::invalid_parameter(at, None));
        assert_eq!(with(16 + 7, 20), Ok(()));
        assert_eq!(with(16 + 7, 21), invalid(16 + 7));
        assert_eq!(with(48 + 3, 0x17), invalid(48 + 2));
        assert_eq!(with(48 + 2, 0x01), invalid(48 + 2));
        assert_eq!(with(48 + 1, 4), Err(Sense::invalid_parameter(49, Some(2))));
        assert_eq!(with(second + 8, 0x0f), Ok(()));
        assert_eq!(with(second + 8, 0x10), invalid(84));
        assert_eq!(with(second + 28, 1), invalid(104));
        assert_eq!(with(second + 31, 1), invalid(106));
        // No such descriptor: where nothing can have been copied before, it is
        // the segment that is being processed.
        let aborted = |byte| Err(Sense::UNREACHABLE_COPY_TARGET.in_segment(0, Some((byte, None))));
        assert_eq!(with(48 + 5, 1), aborted(4));
        assert_eq!(with(48 + 7, 1), aborted(6));
        assert_eq!(with(48 + 6, 0xff), aborted(6));
        assert_eq!(with(second + 5, 1), invalid(80));
        assert_eq!(with(second + 7, 1), invalid(82));
    }

    #[test]
    fn designators_that_name_nothing() {
        let names = |at: usize, value: u8| {
            let mut bytes = cscd();
            bytes[at] = value;
            Cscd { bytes: &bytes }.names(&DeviceInfo::new(SERIAL, 512, 8))
        };
        assert!(names(0, 0xe4));
        // LU ID TYPE and what stands in reserved bits.
        assert!(names(1, 0xc0));
        assert!(names(4, 0xf1));
        assert!(!names(4, 0x02));
        for kind in 0..=0x3f {
            assert_eq!(names(5, kind), kind == 0x03, "{kind}");
        }
        for len in 0..=20 {
            assert_eq!(names(7, len), len == 16, "{len}");
        }
        for at in 8..24 {
            assert!(!names(at, 0xee));
        }
        let mut bytes = cscd();
        bytes[1] = 0x01;
        assert!(!Cscd { bytes: &bytes }.fits(512));
    }

    #[test]
    fn designators_that_were_given_name() {
        let mut info = DeviceInfo::new(SERIAL, 512, 8);
        info.naa = Naa::parse(b"5000c50015ea71ac").unwrap();
        info.eui64 = Eui64::parse(b"0011223344556677").unwrap();
        info.t10 = T10::parse(b"IET     00010001").unwrap();
        let names = |info: &DeviceInfo<'_>, set: u8, kind: u8, designator: &[u8]| {
            let mut bytes = cscd();
            bytes[4] = set;
            bytes[5] = kind;
            bytes[7] = u8::try_from(designator.len()).unwrap();
            bytes[8..28].fill(0);
            bytes[8..8 + designator.len()].copy_from_slice(designator);
            Cscd { bytes: &bytes }.names(info)
        };
        let naa = 0x5000_c500_15ea_71ac_u64.to_be_bytes();
        let eui = 0x0011_2233_4455_6677_u64.to_be_bytes();
        assert!(names(&info, 1, 3, &naa));
        assert!(names(&info, 1, 2, &eui));
        assert!(names(&info, 2, 1, b"IET     00010001"));
        assert!(!names(&info, 1, 1, b"IET     00010001"));
        assert!(!names(&info, 2, 1, b"IET     0001000"));
        assert!(!names(&info, 1, 3, &eui));
        assert!(!names(&info, 1, 3, &vpd::naa(COMPANY, SERIAL)));
        info.naa = Naa::None;
        info.eui64 = Eui64::NONE;
        info.t10 = T10::Made;
        for kind in 0..=0x3f {
            assert!(!names(&info, 1, kind, &[]) && !names(&info, 1, kind, &naa));
        }
        info.t10 = T10::parse(b"0x494554000000000001").unwrap();
        assert!(names(&info, 1, 1, b"IET\0\0\0\0\0\x01"));
        assert!(!names(&info, 2, 1, b"IET\0\0\0\0\0\x01"));
    }

    fn segment(amount: Amount) -> Segment<'static> {
        Segment {
            number: 3,
            source: End::Own,
            destination: End::Own,
            amount,
            source_lba: 10,
            destination_lba: 20,
            cat: false,
        }
    }

    #[test]
    fn what_a_segment_comes_to() {
        let plan = |amount, source, destination| segment(amount).plan(source, destination);
        let same = (9, 100);
        assert_eq!(
            plan(Amount::SourceBlocks(8), same, same),
            Ok(Plan {
                bytes: 4096,
                source_blocks: 8,
                destination_blocks: 8
            })
        );
        let large = (12, 100);
        let mixed = Plan {
            bytes: 8192,
            source_blocks: 2,
            destination_blocks: 16,
        };
        assert_eq!(plan(Amount::SourceBlocks(2), large, same), Ok(mixed));
        assert_eq!(plan(Amount::DestinationBlocks(16), large, same), Ok(mixed));
        assert_eq!(plan(Amount::Bytes(8192), large, same), Ok(mixed));
        let inexact = Err(Sense::UNEXPECTED_INEXACT_SEGMENT.in_segment(3, None));
        assert_eq!(plan(Amount::DestinationBlocks(15), large, same), inexact);
        assert_eq!(plan(Amount::SourceBlocks(7), same, large), inexact);
        assert_eq!(plan(Amount::Bytes(1), same, same), inexact);
        let mut cat = segment(Amount::Bytes(1));
        cat.cat = true;
        assert_eq!(
            cat.plan(same, same),
            Err(Sense::COPY_INVALID_FIELD_IN_PARAMETER_LIST.in_segment(3, Some((1, Some(0)))))
        );
        let beyond = |byte| Err(Sense::COPY_ABORTED.in_segment(3, Some((byte, None))));
        assert!(plan(Amount::SourceBlocks(8), (9, 18), (9, 28)).is_ok());
        assert_eq!(plan(Amount::SourceBlocks(8), (9, 17), same), beyond(12));
        assert_eq!(plan(Amount::SourceBlocks(8), same, (9, 27)), beyond(20));
        assert_eq!(plan(Amount::SourceBlocks(0), same, (9, 19)), beyond(20));
    }

    #[test]
    fn the_direction() {
        let plan = Plan {
            bytes: 5120,
            source_blocks: 10,
            destination_blocks: 10,
        };
        let backward = |source_lba, destination_lba| {
            let mut segment = segment(Amount::Bytes(5120));
            segment.source_lba = source_lba;
            segment.destination_lba = destination_lba;
            segment.is_backward(&plan)
        };
        assert!(backward(0, 1));
        assert!(backward(0, 9));
        assert!(!backward(0, 10));
        assert!(!backward(0, 0));
        assert!(!backward(1, 0));
        assert!(!backward(u64::MAX, 0));
    }

    #[test]
    fn residuals() {
        let plan = Plan {
            bytes: 8192,
            source_blocks: 2,
            destination_blocks: 16,
        };
        let residual = |done, backward| Walk { done, backward }.residual_blocks(&plan);
        assert_eq!(residual(0, false), None);
        assert_eq!(residual(0, true), None);
        assert_eq!(residual(4096, false), Some(8));
        assert_eq!(residual(4096, true), Some(16));
        assert_eq!(residual(8192, false), Some(0));
        let nothing = Plan {
            bytes: 0,
            source_blocks: 0,
            destination_blocks: 0,
        };
        assert_eq!(Walk::default().residual_blocks(&nothing), None);
    }

    /// The full data, checked to be clipped right at every length.
    #[track_caller]
    fn full(build: impl Fn(&mut [u8]) -> usize) -> Vec<u8> {
        let mut full = [0xa5; 1024];
        let len = build(&mut full);
        assert!(full[len..].iter().all(|byte| *byte == 0xa5));
        for clip in 0..len {
            let mut part = [0xa5; 1024];
            assert_eq!(build(&mut part[..clip]), len);
            assert_eq!(part[..clip], full[..clip]);
            assert!(part[clip..].iter().all(|byte| *byte == 0xa5));
        }
        full[..len].to_vec()
    }

    fn record(state: State) -> Record {
        let list_id = ListId { id: 7, hold: true };
        let mut record = Record::new(list_id, 0x01);
        assert_eq!(record.state, State::Running);
        record.state = state;
        record.segments = 0x0102;
        record.wrote(0x0304_0506);
        record
    }

    #[test]
    fn copy_status() {
        let status = |state| full(|out| status_lid1(&record(state), out));
        assert_eq!(status(State::Running), [0, 0, 0, 8, 0, 1, 2, 0, 3, 4, 5, 6]);
        assert_eq!(status(State::Done)[4], 1);
        assert_eq!(status(State::Failed(Sense::COPY_ABORTED))[4], 2);
        assert_eq!(status(State::Aborted)[4], 2);
        let mut much = record(State::Done);
        much.bytes = 16 << 30;
        assert_eq!(
            full(|out| status_lid1(&much, out)),
            [0, 0, 0, 8, 1, 1, 2, 1, 1, 0, 0, 0]
        );
        let lid4 = |state| full(|out| status_lid4(&record(state), false, out));
        assert_eq!(
            lid4(State::Running),
            [
                0, 0, 0, 28, 0x01, 0x11, 0, 1, 0xff, 0xff, 0xff, 0xfe, // status, delay
                0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 5, 6, // lengths, units, count
                1, 2, 0, 0, 0, 0, 0, 0, // segments
            ]
        );
        assert_eq!(lid4(State::Done)[5], 0x01);
        assert_eq!(lid4(State::Aborted)[5], 0x60);
        let sense = Sense::THIRD_PARTY_DEVICE_FAILURE.in_segment(2, None);
        let failed = lid4(State::Failed(sense));
        assert_eq!(failed[..6], [0, 0, 0, 46, 0x01, 0x02]);
        assert_eq!(failed[12..16], [0x02, 18, 18, 0]);
        assert_eq!(failed[32..35], [0x70, 0, 0x0a]);
        assert_eq!(failed.len(), 50);
    }

    #[test]
    fn held_data_and_failures() {
        let running = Err(Sense::invalid_cdb(2, None));
        assert_eq!(data_lid1(&record(State::Running), &mut []), running);
        let mut discard = record(State::Done);
        discard.list_id.hold = false;
        assert_eq!(data_lid1(&discard, &mut []), running);
        assert_eq!(
            full(|out| data_lid1(&record(State::Done), out).unwrap()),
            [0; 4]
        );
        let details = |state| failure_details(&record(state), true, &mut []);
        assert_eq!(details(State::Running), running);
        assert_eq!(details(State::Done), Ok(4));
        assert_eq!(details(State::Aborted), Ok(60));
        let sense = Sense::COPY_TARGET_DEVICE_NOT_REACHABLE.in_segment(2, None);
        let failed =
            full(|out| failure_details(&record(State::Failed(sense)), false, out).unwrap());
        assert_eq!(failed[..4], [0, 0, 0, 74]);
        assert_eq!(failed[4..56], [0; 52]);
        assert_eq!(failed[56..60], [2, 0, 0, 18]);
        assert_eq!(failed[60..63], [0x70, 0, 0x0a]);
        assert_eq!(failed.len(), 78);
    }

    #[test]
    fn parameters() {
        let info = DeviceInfo::new(b"s", 4096, 8);
        assert_eq!(
            full(|out| operating_parameters(&info, out)),
            [
                0, 0, 0, 43, 1, 0, 0, 0, 0, 16, 0, 64, 0, 0, 0x0a, 0, // descriptors
                0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // segment, inline, held
                0, 0, 0, 32, 16, 12, 0, 0, 0, 0, 0, 3, 0x02, 0x0a, 0xe4,
            ]
        );
    }

    #[test]
    fn the_page() {
        let info = DeviceInfo::new(b"s", 512, 8);
        let page = full(|out| vpd::third_party_copy(&info, out));
        let mut want = std::vec![0x00, 0x8f, 0x01, 0x34];
        // Block device ROD limits: ranges, timeouts, blocks of a token.
        want.extend([0x00, 0x00, 0x00, 0x20, 0, 0, 0, 0, 0, 0, 0, 64]);
        want.extend([0, 0, 0x02, 0x58, 0, 0, 0, 60]);
        want.extend([[0, 0, 0, 0, 0, 0x08, 0, 0]; 2].concat());
        // Commands.
        want.extend([0x00, 0x01, 0x00, 0x10, 15]);
        want.extend([0x83, 5, 0x00, 0x01, 0x10, 0x11, 0x1c]);
        want.extend([0x84, 6, 0x00, 0x01, 0x03, 0x04, 0x05, 0x07]);
        // Parameters.
        want.extend([
            0x00, 0x04, 0x00, 0x1c, 0, 0, 0, 0, 0, 16, 0, 64, 0, 0, 0x0a, 0,
        ]);
        want.extend([0; 16]);
        // Descriptors, and identifiers of them.
        want.extend([0x00, 0x08, 0x00, 0x04, 3, 0x02, 0x0a, 0xe4]);
        want.extend([0x00, 0x0c, 0x00, 0x04, 0x00, 0x02, 0xff, 0xff]);
        // ROD tokens.
        want.extend([0x01, 0x06, 0x00, 0x5c]);
        want.extend([0; 16]);
        want.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0x02, 0x58]);
        want.extend([0; 18]);
        want.extend([0, 48, 0x00, 0x00, 0x00, 0x2c, 0, 0, 0, 0]);
        want.extend([[0, 0, 0, 0, 0x10, 0, 0, 0]; 4].concat());
        want.extend([0; 8]);
        want.extend([
            0x01, 0x08, 0x00, 0x44, 0, 0, 0, 64, 0x00, 0x01, 0x00, 0x00, 0x03,
        ]);
        want.extend([0; 59]);
        // General copy operations.
        want.extend([0x80, 0x01, 0x00, 0x20, 0, 0, 0, 32, 0, 0, 0, 16]);
        want.extend([0x10, 0, 0, 0, 9]);
        want.extend([0; 19]);
        assert_eq!(page, want);
    }

    /// Every command of the page is one that REPORT SUPPORTED OPERATION CODES
    /// lists, and the other way round.
    #[test]
    fn the_page_lists_the_commands() {
        use crate::proto::scsi::opcodes;
        let info = DeviceInfo::new(b"s", 512, 8);
        let page = full(|out| vpd::third_party_copy(&info, out));
        let mut listed = Vec::new();
        // After the header and the ROD limits.
        let page = &page[4 + 36..];
        let mut rest = &page[5..5 + usize::from(page[4])];
        while let [code, count, tail @ ..] = rest {
            let (actions, tail) = tail.split_at(usize::from(*count));
            listed.extend(actions.iter().map(|action| (*code, u16::from(*action))));
            rest = tail;
        }
        let known: Vec<_> = [0x83, 0x84]
            .into_iter()
            .flat_map(opcodes::rows)
            .filter(|row| opcodes::ENABLED.contains(row.group))
            .map(|row| (row.opcode, row.service_action.unwrap()))
            .collect();
        assert_eq!(listed, known);
    }

    fn any_list() -> impl Strategy<Value = (Form, Vec<u8>)> {
        let kinds = prop_oneof![Just(0x02u8), Just(0x0a), any::<u8>()];
        let segments = prop::collection::vec((kinds, any::<[u8; 31]>()), 0..5);
        let cscds = prop::collection::vec(any::<[u8; 31]>(), 0..4);
        (any::<bool>(), cscds, segments).prop_map(|(four, cscds, segments)| {
            let cscds: Vec<[u8; 32]> = cscds
                .iter()
                .map(|tail| {
                    let mut bytes = cscd();
                    bytes[8..].copy_from_slice(&tail[..24]);
                    bytes
                })
                .collect();
            let count = u8::try_from(cscds.len()).unwrap();
            let segments: Vec<Vec<u8>> = segments
                .iter()
                .map(|(kind, tail)| {
                    let mut bytes = match kind {
                        0x0a => b2b_offset(),
                        _ => b2b(tail[0] % (count + 1), tail[1] % (count + 1)),
                    };
                    bytes[0] = *kind;
                    bytes[9..28].copy_from_slice(&tail[..19]);
                    bytes
                })
                .collect();
            match four {
                true => (Form::Lid4, lid4(&cscds, &segments)),
                false => (Form::Lid1, lid1(&cscds, &segments)),
            }
        })
    }

    proptest! {
        #[test]
        fn any_bytes(four: bool, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let form = if four { Form::Lid4 } else { Form::Lid1 };
            if let Err(sense) = parse(form, &bytes) {
                let expected = matches!(sense.key, SenseKey::IllegalRequest | SenseKey::CopyAborted);
                prop_assert!(expected);
            }
        }

        #[test]
        fn any_descriptors((form, bytes) in any_list(), blocks: u64, shifts in (9u32..13, 9u32..13)) {
            let list = match parse(form, &bytes) {
                Ok(list) => list,
                Err(sense) => {
                    if let Some(field) = sense.field {
                        prop_assert!(!field.cdb && usize::from(field.byte) < bytes.len());
                    }
                    return Ok(());
                }
            };
            let mut number = 0;
            while let Some(segment) = list.segment(number) {
                if let Ok(plan) = segment.plan((shifts.0, blocks), (shifts.1, blocks)) {
                    prop_assert!(plan.bytes <= u64::from(MAX_SEGMENT_BYTES));
                    prop_assert_eq!(plan.source_blocks << shifts.0, plan.bytes);
                    prop_assert_eq!(plan.destination_blocks << shifts.1, plan.bytes);
                    let _ = segment.is_backward(&plan);
                }
                number += 1;
            }
            prop_assert!(number <= MAX_SEGMENTS);
        }

        /// Each byte is copied once, and in the same unit none is written before
        /// it has been read.
        #[test]
        fn a_walk_is_a_move(
            source in 0usize..40,
            destination in 0usize..40,
            blocks in 0u16..40,
            most in 1u64..9,
        ) {
            let mut medium: Vec<u8> = (0..80).collect();
            let want = {
                let mut medium = medium.clone();
                medium.copy_within(source..source + usize::from(blocks), destination);
                medium
            };
            let mut segment = segment(Amount::SourceBlocks(blocks));
            segment.source_lba = source as u64;
            segment.destination_lba = destination as u64;
            // Blocks of one byte.
            let plan = segment.plan((0, 80), (0, 80)).unwrap();
            let mut walk = Walk { done: 0, backward: segment.is_backward(&plan) };
            while let Some(part) = walk.next(plan.bytes, most) {
                let (at, len) = (part.at as usize, part.len as usize);
                let read = medium[source + at..source + at + len].to_vec();
                medium[destination + at..destination + at + len].copy_from_slice(&read);
                walk.done += part.len;
            }
            prop_assert_eq!(walk.done, u64::from(blocks));
            prop_assert_eq!(medium, want);
        }
    }
}
