// SPDX-License-Identifier: GPL-2.0

//! Copies by way of a token (SBC-3, "POPULATE TOKEN command" and "WRITE USING
//! TOKEN command"; SPC-4, "ROD tokens"): parameter lists, tokens, and what is
//! told of them.
//!
//! A token stands for blocks, and not for what they hold at some moment: ROD
//! type access upon reference. What makes it a secret are [`SECRET_LEN`] random
//! bytes; whoever gives it out remembers them, with the blocks.

use super::device::DeviceInfo;
use super::put::len16;
use super::put::len32;
use super::put::len8;
use super::put::Put;
use super::range::check_range;
use super::sense::Sense;
use super::vpd;

/// The most block device range descriptors of one command.
pub const MAX_RANGES: u16 = 64;

/// The most bytes that a token stands for, and that one command writes.
pub const MAX_TOKEN_BYTES: u64 = 256 << 20;

/// Seconds without use after which a token is worth nothing, unless POPULATE
/// TOKEN says otherwise.
pub const DEFAULT_TIMEOUT: u32 = 60;

/// The most that it may say.
pub const MAX_TIMEOUT: u32 = 600;

/// The most tokens of one session for one logical unit.
pub const MAX_TOKENS: usize = 16;

/// Bytes of a token.
pub const TOKEN_LEN: usize = 512;

/// Bytes of it that nobody can guess.
pub const SECRET_LEN: usize = 40;

/// ROD type: access upon reference.
const ACCESS_UPON_REFERENCE: u32 = 0x0001_0000;

/// ROD TOKEN LENGTH: what comes after it.
const LENGTH: u16 = 0x01f8;

const POPULATE_HEADER: usize = 16;
const WRITE_HEADER: usize = 536;
const TOKEN_AT: usize = 16;
const RANGE_LEN: usize = 16;

/// The longest parameter list of POPULATE TOKEN.
pub const MAX_POPULATE_LEN: u32 = (POPULATE_HEADER + MAX_RANGES as usize * RANGE_LEN) as u32;

/// The longest parameter list of WRITE USING TOKEN.
pub const MAX_WRITE_LEN: u32 = (WRITE_HEADER + MAX_RANGES as usize * RANGE_LEN) as u32;

/// Some blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first.
    pub lba: u64,
    /// How many.
    pub blocks: u32,
}

impl Extent {
    fn overlaps(&self, other: &Extent) -> bool {
        self.blocks != 0
            && other.blocks != 0
            && self.lba < other.lba.saturating_add(u64::from(other.blocks))
            && other.lba < self.lba.saturating_add(u64::from(self.blocks))
    }
}

/// The blocks that a parameter list names, all of them checked.
#[derive(Clone, Copy, Debug)]
pub struct Extents<'a> {
    descriptors: &'a [u8],
}

impl<'a> Extents<'a> {
    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Extent> + Clone + 'a {
        self.descriptors
            .chunks_exact(RANGE_LEN)
            .filter_map(|bytes| {
                let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *bytes else {
                    return None;
                };
                Some(Extent {
                    lba: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                    blocks: u32::from_be_bytes([i, j, k, l]),
                })
            })
    }

    /// How many blocks these are.
    pub fn blocks(&self) -> u64 {
        total(self.iter())
    }
}

/// How many blocks these are.
pub fn total(extents: impl Iterator<Item = Extent>) -> u64 {
    extents.fold(0u64, |sum, extent| {
        sum.saturating_add(u64::from(extent.blocks))
    })
}

/// Where the block stands that `skip` blocks come before, and how many follow
/// it in the same extent, itself included.
pub fn locate(extents: impl Iterator<Item = Extent>, skip: u64) -> Option<(u64, u64)> {
    let mut skip = skip;
    for extent in extents {
        let blocks = u64::from(extent.blocks);
        match blocks.checked_sub(skip) {
            Some(left) if left != 0 => return Some((extent.lba.saturating_add(skip), left)),
            _ => skip = skip.saturating_sub(blocks),
        }
    }
    None
}

/// Whether any block is in both.
pub fn meet(
    one: impl Iterator<Item = Extent>,
    other: impl Iterator<Item = Extent> + Clone,
) -> bool {
    for extent in one {
        if other.clone().any(|other| extent.overlaps(&other)) {
            return true;
        }
    }
    false
}

/// What POPULATE TOKEN asks for.
#[derive(Clone, Copy, Debug)]
pub struct Populate<'a> {
    /// Seconds without use after which the token is worth nothing.
    pub timeout: u32,
    /// The blocks that it is to stand for.
    pub extents: Extents<'a>,
}

/// What WRITE USING TOKEN asks for.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The token is worth nothing afterwards.
    pub delete: bool,
    /// Blocks of the token that are left out at its beginning.
    pub offset: u64,
    /// The token.
    pub token: &'a [u8; TOKEN_LEN],
    /// The blocks to write.
    pub extents: Extents<'a>,
}

/// Reads the parameter list of POPULATE TOKEN, as long as the CDB says, which is
/// not empty.
///
/// IMMED may be answered when the work is done.
///
/// # Errors
/// PARAMETER LIST LENGTH ERROR when something is cut off; INVALID FIELD IN
/// PARAMETER LIST with a field pointer; LOGICAL BLOCK ADDRESS OUT OF RANGE.
pub fn parse_populate<'a>(list: &'a [u8], info: &DeviceInfo<'_>) -> Result<Populate<'a>, Sense> {
    let header = list.first_chunk::<POPULATE_HEADER>();
    let header = header.ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    let [n0, n1, flags, _, t0, t1, t2, t3, r0, r1, r2, r3, _, _, d0, d1] = *header;
    let timeout = match u32::from_be_bytes([t0, t1, t2, t3]) {
        0 => DEFAULT_TIMEOUT,
        timeout if timeout > MAX_TIMEOUT => return Err(Sense::invalid_parameter(4, None)),
        timeout => timeout,
    };
    // RTV: the type is wanted, and not left to us.
    if flags & 0x02 != 0 && u32::from_be_bytes([r0, r1, r2, r3]) != ACCESS_UPON_REFERENCE {
        return Err(Sense::invalid_parameter(8, None));
    }
    let extents = extents(list, POPULATE_HEADER, [n0, n1], [d0, d1], info)?;
    Ok(Populate { timeout, extents })
}

/// Reads the parameter list of WRITE USING TOKEN, as long as the CDB says, which
/// is not empty. Whether the token is worth anything is another question.
///
/// # Errors
/// As [`parse_populate`].
pub fn parse_write<'a>(list: &'a [u8], info: &DeviceInfo<'_>) -> Result<Write<'a>, Sense> {
    let header = list.first_chunk::<WRITE_HEADER>();
    let header = header.ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    let [n0, n1, flags, _, _, _, _, _, o0, o1, o2, o3, o4, o5, o6, o7, ..] = *header;
    let [.., d0, d1] = *header;
    let token = list
        .get(TOKEN_AT..)
        .and_then(|rest| rest.first_chunk::<TOKEN_LEN>())
        .ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    Ok(Write {
        delete: flags & 0x02 != 0,
        offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        token,
        extents: extents(list, WRITE_HEADER, [n0, n1], [d0, d1], info)?,
    })
}

/// The block device range descriptors that follow a header.
fn extents<'a>(
    list: &'a [u8],
    header: usize,
    data_len: [u8; 2],
    descriptors_len: [u8; 2],
    info: &DeviceInfo<'_>,
) -> Result<Extents<'a>, Sense> {
    let descriptors_len = usize::from(u16::from_be_bytes(descriptors_len));
    // The field that tells it is the last of the header.
    let length_at = len16(header.saturating_sub(2));
    if descriptors_len == 0 || descriptors_len & RANGE_LEN.wrapping_sub(1) != 0 {
        return Err(Sense::invalid_parameter(length_at, None));
    }
    let data_len = usize::from(u16::from_be_bytes(data_len));
    if data_len.saturating_add(2) < header.saturating_add(descriptors_len) {
        return Err(Sense::invalid_parameter(0, None));
    }
    let count = descriptors_len.wrapping_shr(RANGE_LEN.trailing_zeros());
    if count > usize::from(MAX_RANGES) {
        return Err(Sense::invalid_parameter(length_at, None));
    }
    let descriptors = list
        .get(header..)
        .and_then(|rest| rest.get(..descriptors_len))
        .ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
    let extents = Extents { descriptors };
    let most = max_blocks(info);
    let mut sum = 0u64;
    for (n, extent) in extents.iter().enumerate() {
        let at = header.saturating_add(n.saturating_mul(RANGE_LEN));
        check_range(extent.lba, u64::from(extent.blocks), info.blocks)?;
        sum = sum.saturating_add(u64::from(extent.blocks));
        if sum > most {
            return Err(Sense::invalid_parameter(len16(at.saturating_add(8)), None));
        }
        // A block may be named once.
        if extents.iter().take(n).any(|other| other.overlaps(&extent)) {
            return Err(Sense::invalid_parameter(len16(at), None));
        }
    }
    Ok(extents)
}

/// MAXIMUM TOKEN TRANSFER SIZE.
fn max_blocks(info: &DeviceInfo<'_>) -> u64 {
    MAX_TOKEN_BYTES.wrapping_shr(info.block_size.trailing_zeros())
}

/// What a token is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What nobody can guess.
    pub secret: [u8; SECRET_LEN],
    /// How much it stands for, in bytes.
    pub bytes: u64,
}

impl core::fmt::Debug for Token {
    /// A token is a key: it is not shown.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Token {
    /// Writes the token of a logical unit, [`TOKEN_LEN`] bytes.
    pub fn emit(&self, info: &DeviceInfo<'_>, out: &mut [u8]) -> usize {
        let mut put = Put::new(out);
        self.put(info, &mut put);
        put.len()
    }

    fn put(&self, info: &DeviceInfo<'_>, put: &mut Put<'_>) {
        let start = put.len();
        let (id, rest) = self.secret.split_at_checked(8).unwrap_or((&[], &[]));
        put.u32(ACCESS_UPON_REFERENCE);
        put.u16(0);
        put.u16(LENGTH);
        // COPY MANAGER ROD TOKEN IDENTIFIER.
        put.bytes(id);
        // CREATOR LOGICAL UNIT DESCRIPTOR: an identification CSCD descriptor.
        let naa = info.naa();
        let eui64 = info.eui64.get();
        let made = vpd::naa(info.company_id, info.serial());
        let (kind, designator) = match (naa.get(), eui64) {
            ([], []) => (0x03, &made[..]),
            ([], eui64) => (0x02, eui64),
            (naa, _) => (0x03, naa),
        };
        put.bytes(&[0xe4, 0, 0, 0, 0x01, kind, 0]);
        put.u8(len8(designator.len()));
        put.bytes(designator);
        put.zeros_to(start.saturating_add(45));
        put.u24(info.block_size);
        // NUMBER OF BYTES REPRESENTED.
        put.u64(0);
        put.u64(self.bytes);
        put.zeros_to(start.saturating_add(96));
        // Block device: LOGICAL BLOCK LENGTH.
        put.u32(info.block_size);
        put.zeros_to(start.saturating_add(128));
        // EXTENDED ROD TOKEN DATA.
        put.bytes(rest);
        put.zeros_to(start.saturating_add(TOKEN_LEN));
    }
}

/// What can be told from the look of a token.
///
/// # Errors
/// INVALID TOKEN OPERATION: a type that is not given out here, or a wrong
/// length.
pub fn check_token(token: &[u8; TOKEN_LEN]) -> Result<(), Sense> {
    let [t0, t1, t2, t3, _, _, l0, l1, ..] = *token;
    if u32::from_be_bytes([t0, t1, t2, t3]) != ACCESS_UPON_REFERENCE {
        return Err(Sense::UNSUPPORTED_TOKEN_TYPE.of_token());
    }
    if u16::from_be_bytes([l0, l1]) != LENGTH {
        return Err(Sense::INVALID_TOKEN_LENGTH.of_token());
    }
    Ok(())
}

impl Sense {
    /// The same with a pointer to the ROD TOKEN field of WRITE USING TOKEN.
    pub fn of_token(mut self) -> Sense {
        self.field = Sense::invalid_parameter(len16(TOKEN_AT), None).field;
        self
    }
}

/// The ROD token descriptors of RECEIVE ROD TOKEN INFORMATION.
pub(super) fn put_descriptors(token: Option<&Token>, info: &DeviceInfo<'_>, put: &mut Put<'_>) {
    match token {
        None => put.u32(0),
        Some(token) => {
            put.u32(len32(TOKEN_LEN).saturating_add(2));
            // ID FOR CREATING ROD CSCD DESCRIPTOR: none has.
            put.u16(0);
            token.put(info, put);
        }
    }
}

/// The Block Device ROD Limits descriptor of VPD page 8Fh.
pub(super) fn put_limits(info: &DeviceInfo<'_>, put: &mut Put<'_>) {
    put.zeros(6);
    put.u16(MAX_RANGES);
    put.u32(MAX_TIMEOUT);
    put.u32(DEFAULT_TIMEOUT);
    put.u64(max_blocks(info));
    put.u64(max_blocks(info));
}

/// The ROD Token Features descriptor.
pub(super) fn put_features(put: &mut Put<'_>) {
    // REMOTE TOKENS: none.
    put.u8(0);
    put.zeros(11);
    // MINIMUM and MAXIMUM TOKEN LIFETIME: with its session it may end at once,
    // and as long as it is used it does not.
    put.u32(0);
    put.u32(u32::MAX);
    put.u32(MAX_TIMEOUT);
    put.zeros(18);
    // One block: ROD device type specific features of block devices.
    put.u16(48);
    put.bytes(&[0x00, 0x00, 0x00, 0x2c]);
    put.zeros(2);
    // OPTIMAL LENGTH GRANULARITY: a block.
    put.u16(0);
    put.u64(MAX_TOKEN_BYTES);
    put.u64(MAX_TOKEN_BYTES);
    put.u64(MAX_TOKEN_BYTES);
    put.u64(MAX_TOKEN_BYTES);
    put.zeros(8);
}

/// The Supported ROD Types descriptor.
pub(super) fn put_types(put: &mut Put<'_>) {
    put.u16(0);
    put.u16(64);
    put.u32(ACCESS_UPON_REFERENCE);
    // ECPY_INT 0, TOKEN_IN, TOKEN_OUT.
    put.u8(0x03);
    put.zeros(59);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scsi::xcopy;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn info() -> DeviceInfo<'static> {
        DeviceInfo::new(b"0123456789abcdef", 512, 1 << 30)
    }

    fn ranges(extents: &[(u64, u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (lba, blocks) in extents {
            bytes.extend(lba.to_be_bytes());
            bytes.extend(blocks.to_be_bytes());
            bytes.extend([0; 4]);
        }
        bytes
    }

    fn populate(extents: &[(u64, u32)]) -> Vec<u8> {
        let ranges = ranges(extents);
        let len = u16::try_from(ranges.len()).unwrap();
        let mut list = Vec::new();
        list.extend((len + 14).to_be_bytes());
        list.extend([0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0]);
        list.extend(len.to_be_bytes());
        list.extend(ranges);
        list
    }

    fn write(token: &[u8; 512], extents: &[(u64, u32)]) -> Vec<u8> {
        let ranges = ranges(extents);
        let len = u16::try_from(ranges.len()).unwrap();
        let mut list = Vec::new();
        list.extend((len + 534).to_be_bytes());
        list.extend([0x02, 0, 0, 0, 0, 0]);
        list.extend(7u64.to_be_bytes());
        list.extend(token);
        list.extend([0; 6]);
        list.extend(len.to_be_bytes());
        list.extend(ranges);
        list
    }

    fn extent(lba: u64, blocks: u32) -> Extent {
        Extent { lba, blocks }
    }

    fn token() -> ([u8; 512], Token) {
        let mut secret = [0; SECRET_LEN];
        for (n, byte) in secret.iter_mut().enumerate() {
            *byte = u8::try_from(n).unwrap() + 1;
        }
        let token = Token {
            secret,
            bytes: 0x0102_0304,
        };
        let mut bytes = [0xa5; 512];
        assert_eq!(token.emit(&info(), &mut bytes), 512);
        (bytes, token)
    }

    #[test]
    fn lists_from_the_wire() {
        let bytes = populate(&[(16, 8), (64, 1)]);
        assert_eq!(bytes.len(), 48);
        let list = parse_populate(&bytes, &info()).unwrap();
        assert_eq!(list.timeout, 30);
        let extents: Vec<_> = list.extents.iter().collect();
        assert_eq!(extents, [extent(16, 8), extent(64, 1)]);
        assert_eq!(list.extents.blocks(), 9);

        let (token, _) = token();
        let bytes = write(&token, &[(16, 8)]);
        let list = parse_write(&bytes, &info()).unwrap();
        assert!(list.delete);
        assert_eq!(list.offset, 7);
        assert_eq!(list.token, &token);
        assert_eq!(list.extents.blocks(), 8);
    }

    #[test]
    fn every_prefix() {
        let bytes = populate(&[(16, 8), (64, 1)]);
        for len in 0..bytes.len() {
            let got = parse_populate(&bytes[..len], &info()).unwrap_err();
            assert_eq!(got, Sense::PARAMETER_LIST_LENGTH_ERROR, "{len}");
        }
        let bytes = write(&token().0, &[(16, 8), (64, 1)]);
        for len in 0..bytes.len() {
            let got = parse_write(&bytes[..len], &info()).unwrap_err();
            assert_eq!(got, Sense::PARAMETER_LIST_LENGTH_ERROR, "{len}");
        }
    }

    #[test]
    fn fields_are_refused_by_their_place() {
        let with = |at: usize, value: &[u8]| {
            let mut bytes = populate(&[(16, 8), (64, 1)]);
            bytes[at..at + value.len()].copy_from_slice(value);
            parse_populate(&bytes, &info()).map(|list| list.timeout)
        };
        let invalid = |at| Err(Sense::invalid_parameter(at, None));
        assert_eq!(with(4, &[0, 0, 0, 0]), Ok(DEFAULT_TIMEOUT));
        assert_eq!(with(4, &[0, 0, 0x02, 0x58]), Ok(600));
        assert_eq!(with(4, &[0, 0, 0x02, 0x59]), invalid(4));
        // IMMED.
        assert_eq!(with(2, &[0x01]), Ok(30));
        assert_eq!(with(2, &[0x02]), invalid(8));
        // The type counts with RTV alone.
        assert_eq!(with(8, &[0xff, 0xff, 0, 1]), Ok(30));
        assert_eq!(with(0, &[0, 45]), invalid(0));
        assert_eq!(with(14, &[0, 0]), invalid(14));
        assert_eq!(with(14, &[0, 31]), invalid(14));
        assert_eq!(with(14, &[0, 16]), Ok(30));
        let mut typed = populate(&[(16, 8)]);
        typed[2] = 0x02;
        typed[8..12].copy_from_slice(&[0, 1, 0, 0]);
        assert!(parse_populate(&typed, &info()).is_ok());
        let mut long = populate(&[(0, 0); 65]);
        assert_eq!(
            parse_populate(&long, &info()).map(|l| l.timeout),
            invalid(14)
        );
        long = populate(&[(0, 0); 64]);
        assert_eq!(long.len(), MAX_POPULATE_LEN as usize);
        assert!(parse_populate(&long, &info()).is_ok());
        assert_eq!(
            write(&[0; 512], &[(0, 0); 64]).len(),
            MAX_WRITE_LEN as usize
        );
    }

    #[test]
    fn blocks_that_may_not_be_named() {
        let parse = |extents: &[(u64, u32)]| {
            parse_populate(&populate(extents), &info()).map(|list| list.extents.blocks())
        };
        let invalid = |at| Err(Sense::invalid_parameter(at, None));
        assert_eq!(parse(&[((1 << 30) - 1, 1)]), Ok(1));
        assert!(parse(&[((1 << 30) - 1, 2)]).is_err_and(|s| s.is(&Sense::LBA_OUT_OF_RANGE)));
        assert!(parse(&[(u64::MAX, 2)]).is_err_and(|s| s.is(&Sense::LBA_OUT_OF_RANGE)));
        assert_eq!(parse(&[(10, 5), (15, 5), (5, 5)]), Ok(15));
        assert_eq!(parse(&[(10, 5), (14, 5)]), invalid(32));
        assert_eq!(parse(&[(10, 5), (0, 1), (6, 5)]), invalid(48));
        assert_eq!(parse(&[(10, 5), (12, 0)]), Ok(5));
        assert_eq!(parse(&[(0, 1 << 19)]), Ok(1 << 19));
        assert_eq!(parse(&[(0, 1 << 19), (1 << 20, 1)]), invalid(32 + 8));
    }

    #[test]
    fn places() {
        let extents = [extent(10, 5), extent(0, 0), extent(100, 3)];
        let at = |skip| locate(extents.iter().copied(), skip);
        assert_eq!(at(0), Some((10, 5)));
        assert_eq!(at(4), Some((14, 1)));
        assert_eq!(at(5), Some((100, 3)));
        assert_eq!(at(7), Some((102, 1)));
        assert_eq!(at(8), None);
        assert_eq!(at(u64::MAX), None);
        let meets = |lba, blocks| meet([extent(lba, blocks)].into_iter(), extents.iter().copied());
        assert!(meets(14, 1) && meets(0, 11) && meets(102, 9));
        assert!(!meets(15, 85) && !meets(0, 1) && !meets(12, 0));
    }

    #[test]
    fn a_token() {
        let (bytes, token) = token();
        let mut want = std::vec![0, 1, 0, 0, 0, 0, 0x01, 0xf8, 1, 2, 3, 4, 5, 6, 7, 8];
        want.extend([0xe4, 0, 0, 0, 1, 3, 0, 16]);
        want.extend(vpd::naa(0x00_1405, b"0123456789abcdef"));
        want.extend([0, 0, 0, 0, 0, 0, 2, 0]);
        want.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        want.resize(96, 0);
        want.extend([0, 0, 2, 0]);
        want.resize(128, 0);
        want.extend(9..=40);
        want.resize(512, 0);
        assert_eq!(bytes[..], want[..]);
        assert_eq!(check_token(&bytes), Ok(()));
        // It is not shown.
        assert_eq!(std::format!("{token:?}"), "Token { .. }");
        let mut other = bytes;
        other[3] = 1;
        assert_eq!(
            check_token(&other),
            Err(Sense::UNSUPPORTED_TOKEN_TYPE.of_token())
        );
        let mut other = bytes;
        other[7] = 0xf9;
        let sense = check_token(&other).unwrap_err();
        assert!(sense.is(&Sense::INVALID_TOKEN_LENGTH));
        assert_eq!(sense.field, Sense::invalid_parameter(16, None).field);
    }

    #[test]
    fn information() {
        let (bytes, token) = token();
        let list_id = xcopy::ListId { id: 1, hold: true };
        let mut record = xcopy::Record::new(list_id, 0x10);
        record.state = xcopy::State::Done;
        record.shift = Some(9);
        record.bytes = 8192;
        let mut out = [0xa5; 600];
        let build = |record: &xcopy::Record, out: &mut [u8]| {
            xcopy::rod_token_information(record, &info(), false, out)
        };
        assert_eq!(build(&record, &mut out), 36);
        assert_eq!(out[..6], [0, 0, 0, 32, 0x10, 0x01]);
        assert_eq!(out[15..24], [0xf1, 0, 0, 0, 0, 0, 0, 0, 16]);
        assert_eq!(out[32..36], [0; 4]);
        record.token = Some(token);
        assert_eq!(build(&record, &mut out), 32 + 4 + 2 + 512);
        assert_eq!(out[..4], [0, 0, 0x02, 0x22]);
        assert_eq!(out[32..38], [0, 0, 0x02, 0x02, 0, 0]);
        assert_eq!(out[38..550], bytes);
        assert_eq!(out[550..], [0xa5; 50]);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..700), blocks: u64) {
            let mut info = info();
            info.blocks = blocks;
            let both = [
                parse_populate(&bytes, &info).map(|list| list.extents),
                parse_write(&bytes, &info).map(|list| list.extents),
            ];
            for extents in both.into_iter().filter_map(Result::ok) {
                prop_assert!(extents.blocks() <= max_blocks(&info));
                for extent in extents.iter() {
                    let end = u128::from(extent.lba) + u128::from(extent.blocks);
                    prop_assert!(end <= u128::from(blocks));
                }
            }
        }

        /// The places of all blocks, one after the other, are the extents.
        #[test]
        fn every_block_has_its_place(
            extents in prop::collection::vec((0u64..1000, 0u32..20), 0..6)
        ) {
            let extents: Vec<_> = extents.iter().map(|(lba, n)| extent(*lba, *n)).collect();
            let blocks = extents
                .iter()
                .flat_map(|e| (0..u64::from(e.blocks)).map(|n| e.lba + n));
            let mut skip = 0;
            for block in blocks {
                let (lba, left) = locate(extents.iter().copied(), skip).unwrap();
                prop_assert_eq!(lba, block);
                prop_assert!(left != 0);
                skip += 1;
            }
            prop_assert_eq!(locate(extents.iter().copied(), skip), None);
            prop_assert_eq!(total(extents.iter().copied()), skip);
        }
    }
}
