// SPDX-License-Identifier: GPL-2.0

//! Mode parameters (SPC-4 and SBC-3, "Mode parameters").
//!
//! Each page is one row of [`PAGES`]: MODE SENSE writes it, MODE SELECT
//! compares with it, so a bit that can be changed is one that is reported as
//! changeable.

use super::command::ModeSense;
use super::command::PageControl;
use super::device::Changeable;
use super::device::DeviceInfo;
use super::device::ModeState;
use super::device::QueueError;
use super::device::UaInterlock;
use super::pool::Pool;
use super::put::len16;
use super::put::len8;
use super::put::Put;
use super::sense::Sense;

/// The longest page.
const PAGE_MAX_LEN: usize = 32;

type Bytes = [u8; PAGE_MAX_LEN];

/// One mode page.
struct Page {
    code: u8,
    /// Zero for the page_0 format, which has no SUBPAGE CODE field.
    subpage: u8,
    /// Bytes with the header, at most [`PAGE_MAX_LEN`].
    len: usize,
    /// Writes the parameters over zeros; the header is not its business.
    values: fn(&ModeState, &Pool, &mut Bytes),
    /// Sets the bits that may be changed.
    changeable: fn(&Changeable, &mut Bytes),
    /// Reads the changeable parameters back.
    read: fn(&Bytes, &mut ModeState) -> Result<(), Sense>,
}

/// The pages in the order in which page 3Fh returns them.
const PAGES: [Page; 6] = [
    // Read-Write Error Recovery: the defaults of the backing device hold.
    Page {
        code: 0x01,
        subpage: 0x00,
        len: 12,
        values: |_, _, _| (),
        changeable: |_, _| (),
        read: |_, _| Ok(()),
    },
    CACHING,
    CONTROL,
    // Control Extension: IALUAE 0, SCSIP 0, TCMOS 0, no command priority.
    Page {
        code: 0x0a,
        subpage: 0x01,
        len: 32,
        values: |_, _, _| (),
        changeable: |_, _| (),
        read: |_, _| Ok(()),
    },
    // Informational Exceptions Control.
    Page {
        code: 0x1c,
        subpage: 0x00,
        len: 12,
        // DEXCPT: no informational exceptions are reported.
        values: |_, _, page| page[2] = 0x08,
        changeable: |_, _| (),
        read: |_, _| Ok(()),
    },
    PROVISIONING,
];

const CACHING: Page = Page {
    code: 0x08,
    subpage: 0x00,
    len: 20,
    values: |mode, _, page| page[2] = flag(mode.write_cache, WCE),
    changeable: |may, page| page[2] = flag(may.write_cache, WCE),
    read: |page, mode| {
        mode.write_cache = page[2] & WCE != 0;
        Ok(())
    },
};

const CONTROL: Page = Page {
    code: 0x0a,
    subpage: 0x00,
    len: 12,
    values: |mode, _, page| {
        // TST 000b: one task set for all I_T nexuses. GLTSD: no log parameters
        // are saved.
        page[2] = flag(mode.descriptor_sense, D_SENSE) | 0x02;
        // QUEUE ALGORITHM MODIFIER 0001b: unrestricted reordering, which is
        // what a block device does.
        page[3] =
            flag(!mode.restricted_reordering, QUEUE_ALGORITHM) | ((mode.queue_error as u8) << 1);
        page[4] = flag(mode.software_write_protect, SWP) | ((mode.ua_interlock as u8) << 4);
        page[5] = flag(mode.task_aborted_status, TAS);
        // BUSY TIMEOUT PERIOD: no limit.
        page[8] = 0xff;
        page[9] = 0xff;
    },
    changeable: |may, page| {
        page[2] = flag(may.descriptor_sense, D_SENSE);
        page[3] = flag(may.restricted_reordering, QUEUE_ALGORITHM) | flag(may.queue_error, QERR);
        page[4] = flag(may.software_write_protect, SWP) | flag(may.ua_interlock, UA_INTLCK_CTRL);
        page[5] = flag(may.task_aborted_status, TAS);
    },
    read: |page, mode| {
        mode.descriptor_sense = page[2] & D_SENSE != 0;
        mode.queue_error = match (page[3] & QERR) >> 1 {
            0b00 => QueueError::Keep,
            0b01 => QueueError::AbortAll,
            0b11 => QueueError::AbortSameNexus,
            _ => return Err(Sense::invalid_parameter(3, Some(2))),
        };
        mode.restricted_reordering = page[3] & QUEUE_ALGORITHM == 0;
        mode.ua_interlock = UaInterlock::from_code((page[4] & UA_INTLCK_CTRL) >> 4)
            .ok_or(Sense::invalid_parameter(4, Some(5)))?;
        mode.software_write_protect = page[4] & SWP != 0;
        mode.task_aborted_status = page[5] & TAS != 0;
        Ok(())
    },
};

/// Logical Block Provisioning: one threshold, which the administrator sets.
/// SITUA 0: every initiator is told.
const PROVISIONING: Page = Page {
    code: 0x1c,
    subpage: 0x02,
    len: 24,
    values: |_, pool, page| {
        let count = pool.threshold_sets();
        // ENABLED; THRESHOLD TYPE 000b; THRESHOLD ARMING 001b: as it increases.
        page[16] = flag(count.is_some(), 0x80) | 0x01;
        // THRESHOLD RESOURCE: used.
        page[17] = 0x02;
        let count = count.unwrap_or(0).to_be_bytes();
        [page[20], page[21], page[22], page[23]] = count;
    },
    changeable: |_, _| (),
    read: |_, _| Ok(()),
};

const WCE: u8 = 0x04;
const D_SENSE: u8 = 0x04;
const QERR: u8 = 0x06;
/// Of the four bits only this one may change: 0000b is restricted reordering.
const QUEUE_ALGORITHM: u8 = 0x10;
const UA_INTLCK_CTRL: u8 = 0x30;
const SWP: u8 = 0x08;
const TAS: u8 = 0x40;

/// PAGE CODE that returns all pages.
const ALL_PAGES: u8 = 0x3f;
/// SUBPAGE CODE that returns all subpages.
const ALL_SUBPAGES: u8 = 0xff;

impl Page {
    /// The page with header and values, over a buffer of zeros.
    fn write(&self, values: impl FnOnce(&mut Bytes)) -> Bytes {
        let mut page = [0; PAGE_MAX_LEN];
        values(&mut page);
        if self.subpage == 0 {
            page[0] = self.code;
            page[1] = len8(self.len.saturating_sub(2));
        } else {
            let [high, low] = len16(self.len.saturating_sub(4)).to_be_bytes();
            page[0] = 0x40 | self.code;
            page[1] = self.subpage;
            page[2] = high;
            page[3] = low;
        }
        page
    }

    fn is_asked(&self, page: u8, subpage: u8) -> bool {
        match page {
            // Of all pages there are no subpages but none and all.
            ALL_PAGES => subpage == ALL_SUBPAGES || (subpage == 0 && self.subpage == 0),
            _ => page == self.code && (subpage == ALL_SUBPAGES || subpage == self.subpage),
        }
    }
}

/// Writes the data of MODE SENSE.
///
/// # Errors
/// SAVING PARAMETERS NOT SUPPORTED for saved values, INVALID FIELD IN CDB for
/// a page or subpage that does not exist.
pub fn sense(command: &ModeSense, info: &DeviceInfo<'_>, out: &mut [u8]) -> Result<usize, Sense> {
    if command.pc == PageControl::Saved {
        return Err(Sense::SAVING_PARAMETERS_NOT_SUPPORTED);
    }
    let mut asked = PAGES
        .iter()
        .filter(|page| page.is_asked(command.page, command.subpage))
        .peekable();
    if asked.peek().is_none() {
        let known = PAGES.iter().any(|page| page.is_asked(command.page, 0));
        return Err(if known {
            Sense::invalid_cdb(3, None)
        } else {
            Sense::invalid_cdb(2, Some(5))
        });
    }

    let long = command.llbaa && !command.six;
    let descriptor = match (command.dbd, long) {
        (true, _) => 0u8,
        (false, false) => 8,
        (false, true) => 16,
    };
    // DEVICE-SPECIFIC PARAMETER: WP and DPOFUA.
    let specific = flag(info.is_write_protected(), 0x80) | flag(info.dpo_fua, 0x10);

    let mut put = Put::new(out);
    if command.six {
        put.bytes(&[0, 0, specific, descriptor]);
    } else {
        let longlba = flag(long && !command.dbd, 0x01);
        put.bytes(&[0, 0, 0, specific, longlba, 0, 0, descriptor]);
    }
    match descriptor {
        0 => (),
        8 => {
            put.u32(u32::try_from(info.blocks).unwrap_or(u32::MAX));
            put.u8(0);
            put.u24(info.block_size);
        }
        _ => {
            put.u64(info.blocks);
            put.u32(0);
            put.u32(info.block_size);
        }
    }
    for page in asked {
        let bytes = page.write(|bytes| match command.pc {
            PageControl::Changeable => (page.changeable)(&info.changeable, bytes),
            PageControl::Default => (page.values)(&info.mode_default, &info.pool, bytes),
            PageControl::Current | PageControl::Saved => {
                (page.values)(&info.mode, &info.pool, bytes)
            }
        });
        put.bytes(bytes.get(..page.len).unwrap_or(&bytes));
    }

    // MODE DATA LENGTH does not count itself.
    if command.six {
        let len = len8(put.len().saturating_sub(1));
        put.patch(0, &[len]);
    } else {
        let len = len16(put.len().saturating_sub(2));
        put.patch(0, &len.to_be_bytes());
    }
    Ok(put.len())
}

/// Reads the parameter list of MODE SELECT and returns the parameters as they
/// shall be from now on. `list` is as long as the CDB says; an empty one
/// changes nothing.
///
/// Other I_T nexuses get MODE PARAMETERS CHANGED if the result differs from
/// `info.mode`.
///
/// # Errors
/// PARAMETER LIST LENGTH ERROR when the list ends inside a header, block
/// descriptor or page. INVALID FIELD IN PARAMETER LIST when a page does not
/// exist, has another length than it is reported with, or changes what cannot
/// be changed, the block descriptor included.
pub fn select(list: &[u8], six: bool, info: &DeviceInfo<'_>) -> Result<ModeState, Sense> {
    let mut mode = info.mode;
    if list.is_empty() {
        return Ok(mode);
    }
    let mut at = block_descriptor(list, six, info)?;
    while let Some(rest) = list.get(at..).filter(|rest| !rest.is_empty()) {
        at = at.saturating_add(page(rest, &mut mode, info).map_err(|sense| shift(sense, at))?);
    }
    Ok(mode)
}

/// Checks the header and the block descriptor; returns where the pages start.
fn block_descriptor(list: &[u8], six: bool, info: &DeviceInfo<'_>) -> Result<usize, Sense> {
    const SHORT: Sense = Sense::PARAMETER_LIST_LENGTH_ERROR;
    // MODE DATA LENGTH is reserved here, WP is not the initiator's to set.
    let (header, medium_type_at, len_at, medium_type, long, len) = match (six, list) {
        (true, [_, medium, _, len, ..]) => (4, 1, 3, *medium, false, u16::from(*len)),
        (false, [_, _, medium, _, flags, _, a, b, ..]) => {
            let len = u16::from_be_bytes([*a, *b]);
            (8, 2, 6, *medium, flags & 0x01 != 0, len)
        }
        _ => return Err(SHORT),
    };
    if medium_type != 0 {
        return Err(Sense::invalid_parameter(medium_type_at, None));
    }
    let body: &[u8] = list.get(header..).unwrap_or(&[]);
    let (blocks, most, block_size, size_at, len) = match (len, long) {
        (0, _) => return Ok(header),
        (8, false) => {
            let [a, b, c, d, _, e, f, g, ..] = *body else {
                return Err(SHORT);
            };
            let blocks = u64::from(u32::from_be_bytes([a, b, c, d]));
            let size = u32::from_be_bytes([0, e, f, g]);
            (blocks, u64::from(u32::MAX), size, 5usize, 8usize)
        }
        (16, true) => {
            let [a, b, c, d, e, f, g, h, _, _, _, _, i, j, k, l, ..] = *body else {
                return Err(SHORT);
            };
            let blocks = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            (blocks, u64::MAX, u32::from_be_bytes([i, j, k, l]), 12, 16)
        }
        _ => return Err(Sense::invalid_parameter(len_at, None)),
    };
    // Zero keeps the number, all ones asks for the most there can be, and it
    // is the most there is already.
    if blocks != 0 && blocks != most && blocks != info.blocks {
        return Err(shift(Sense::invalid_parameter(0, None), header));
    }
    if block_size != info.block_size {
        let at = header.saturating_add(size_at);
        return Err(shift(Sense::invalid_parameter(0, None), at));
    }
    Ok(header.saturating_add(len))
}

/// Reads the page that `rest` starts with; returns its length. The field
/// pointers of errors count from the start of the page.
fn page(rest: &[u8], mode: &mut ModeState, info: &DeviceInfo<'_>) -> Result<usize, Sense> {
    const SHORT: Sense = Sense::PARAMETER_LIST_LENGTH_ERROR;
    let (code, subpage, header, len) = match rest {
        [code, subpage, a, b, ..] if code & 0x40 != 0 => {
            let len = u16::from_be_bytes([*a, *b]);
            (code & 0x3f, *subpage, 4usize, usize::from(len))
        }
        [code, len, ..] if code & 0x40 == 0 => (code & 0x3f, 0, 2, usize::from(*len)),
        _ => return Err(SHORT),
    };
    let mut same = PAGES.iter().filter(|page| page.code == code).peekable();
    if same.peek().is_none() {
        return Err(Sense::invalid_parameter(0, Some(5)));
    }
    // SPF set with subpage 00h is not the page_0 format either.
    let page = same
        .find(|page| page.subpage == subpage && (subpage != 0) == (header == 4))
        .ok_or(match header {
            4 => Sense::invalid_parameter(1, None),
            _ => Sense::invalid_parameter(0, Some(6)),
        })?;
    let len = header.saturating_add(len);
    if len != page.len {
        let at = if header == 4 { 2 } else { 1 };
        return Err(Sense::invalid_parameter(at, None));
    }
    let asked = rest.get(..len).ok_or(SHORT)?;

    let current = page.write(|bytes| (page.values)(&info.mode, &info.pool, bytes));
    let changeable = {
        let mut bytes = [0; PAGE_MAX_LEN];
        (page.changeable)(&info.changeable, &mut bytes);
        bytes
    };
    let mut bytes = [0; PAGE_MAX_LEN];
    let fields = asked.iter().zip(current).zip(changeable).zip(&mut bytes);
    for ((((asked, current), changeable), byte), at) in fields.zip(0..PAGE_MAX_LEN) {
        // PS is reserved in MODE SELECT.
        let reserved = if at == 0 { 0x80 } else { 0 };
        let wrong = (asked ^ current) & !changeable & !reserved;
        if wrong != 0 {
            let bit = 7u32.saturating_sub(wrong.leading_zeros());
            return Err(Sense::invalid_parameter(len16(at), u8::try_from(bit).ok()));
        }
        *byte = *asked;
    }
    (page.read)(&bytes, mode)?;
    Ok(len)
}

/// Moves the field pointer by where in the list the part starts.
fn shift(mut sense: Sense, by: usize) -> Sense {
    if let Some(field) = &mut sense.field {
        field.byte = field.byte.saturating_add(len16(by));
    }
    sense
}

fn flag(set: bool, bits: u8) -> u8 {
    if set {
        bits
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SHORT: Sense = Sense::PARAMETER_LIST_LENGTH_ERROR;

    fn disk() -> DeviceInfo<'static> {
        DeviceInfo::new(b"s", 512, 2048)
    }

    fn all_changeable() -> DeviceInfo<'static> {
        let mut info = disk();
        info.changeable = Changeable {
            write_cache: true,
            descriptor_sense: true,
            software_write_protect: true,
            task_aborted_status: true,
            queue_error: true,
            ua_interlock: true,
            restricted_reordering: true,
        };
        info
    }

    fn request(six: bool, pc: PageControl, page: u8, subpage: u8) -> ModeSense {
        ModeSense {
            six,
            dbd: true,
            llbaa: false,
            pc,
            page,
            subpage,
            alloc: 0xff,
        }
    }

    /// The full data, checked to be clipped right at every length.
    #[track_caller]
    fn data(command: ModeSense, info: &DeviceInfo<'_>) -> Vec<u8> {
        let mut full = [0xa5; 256];
        let len = sense(&command, info, &mut full).unwrap();
        assert_eq!(full[len..], [0xa5; 256][len..]);
        for clip in 0..len {
            let mut part = [0xa5; 256];
            assert_eq!(sense(&command, info, &mut part[..clip]), Ok(len));
            assert_eq!(part[..clip], full[..clip]);
            assert_eq!(part[clip..], [0xa5; 256][clip..]);
        }
        full[..len].to_vec()
    }

    fn current(page: u8, subpage: u8, info: &DeviceInfo<'_>) -> Vec<u8> {
        data(request(true, PageControl::Current, page, subpage), info)[4..].to_vec()
    }

    const RECOVERY: [u8; 12] = [0x01, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const CACHE: [u8; 20] = [
        0x08, 0x12, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    const CONTROL: [u8; 12] = [0x0a, 0x0a, 0x02, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
    const EXTENSION: [u8; 32] = {
        let mut page = [0; 32];
        page[0] = 0x4a;
        page[1] = 0x01;
        page[3] = 0x1c;
        page
    };
    const EXCEPTIONS: [u8; 12] = [0x1c, 0x0a, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    const NO_THRESHOLD: [u8; 24] = {
        let mut page = [0; 24];
        page[0] = 0x5c;
        page[1] = 0x02;
        page[3] = 0x14;
        page[16] = 0x01;
        page[17] = 0x02;
        page
    };

    #[test]
    fn a_threshold() {
        let mut info = disk();
        info.pool = Pool::parse(b"0/104857600", 80).unwrap();
        let mut page = NO_THRESHOLD;
        page[16] = 0x81;
        page[23] = 80;
        assert_eq!(current(0x1c, 2, &info), page);
    }

    #[test]
    fn pages_of_a_plain_disk() {
        let info = disk();
        assert_eq!(current(0x01, 0, &info), RECOVERY);
        assert_eq!(current(0x08, 0, &info), CACHE);
        assert_eq!(current(0x0a, 0, &info), CONTROL);
        assert_eq!(current(0x0a, 1, &info), EXTENSION);
        assert_eq!(current(0x1c, 0, &info), EXCEPTIONS);
        assert_eq!(current(0x1c, 2, &info), NO_THRESHOLD);
        let all = [&RECOVERY[..], &CACHE, &CONTROL, &EXCEPTIONS].concat();
        assert_eq!(current(0x3f, 0, &info), all);
        let all = [
            &RECOVERY[..],
            &CACHE,
            &CONTROL,
            &EXTENSION,
            &EXCEPTIONS,
            &NO_THRESHOLD,
        ]
        .concat();
        assert_eq!(current(0x3f, 0xff, &info), all);
        let both = [&CONTROL[..], &EXTENSION].concat();
        assert_eq!(current(0x0a, 0xff, &info), both);
    }

    #[test]
    fn parameters_in_their_bits() {
        let mut info = disk();
        info.mode = ModeState {
            write_cache: false,
            descriptor_sense: true,
            software_write_protect: true,
            task_aborted_status: true,
            queue_error: QueueError::AbortSameNexus,
            ua_interlock: UaInterlock::Keep,
            restricted_reordering: false,
        };
        assert_eq!(current(0x08, 0, &info)[2], 0x00);
        assert_eq!(current(0x0a, 0, &info)[2..6], [0x06, 0x16, 0x28, 0x40]);
        info.mode.queue_error = QueueError::AbortAll;
        info.mode.ua_interlock = UaInterlock::Establish;
        assert_eq!(current(0x0a, 0, &info)[3..5], [0x12, 0x38]);
        info.mode.restricted_reordering = true;
        assert_eq!(current(0x0a, 0, &info)[3], 0x02);
        // The default values are others.
        let default = data(request(true, PageControl::Default, 0x3f, 0xff), &info);
        let plain = data(request(true, PageControl::Current, 0x3f, 0xff), &disk());
        assert_eq!(default[4..], plain[4..]);
    }

    #[test]
    fn changeable_values() {
        let mask = |info: &DeviceInfo<'_>, page| {
            data(request(true, PageControl::Changeable, page, 0), info)[4..].to_vec()
        };
        let mut none = CACHE;
        none[2] = 0;
        assert_eq!(mask(&disk(), 0x08), none);
        assert_eq!(mask(&all_changeable(), 0x08), CACHE);
        assert_eq!(
            mask(&disk(), 0x0a),
            [0x0a, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            mask(&all_changeable(), 0x0a),
            [0x0a, 0x0a, 0x04, 0x16, 0x38, 0x40, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn headers_and_block_descriptors() {
        let mut info = disk();
        let mut command = request(true, PageControl::Current, 0x08, 0);
        assert_eq!(data(command, &info)[..4], [23, 0, 0x10, 0]);
        command.dbd = false;
        assert_eq!(
            data(command, &info)[..12],
            [31, 0, 0x10, 8, 0, 0, 8, 0, 0, 0, 2, 0]
        );
        // LLBAA means nothing to the 6-byte command.
        command.llbaa = true;
        assert_eq!(data(command, &info)[3], 8);

        command.six = false;
        assert_eq!(
            data(command, &info)[..24],
            [
                0, 42, 0, 0x10, 1, 0, 0, 16, // header, LONGLBA
                0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0,
            ]
        );
        command.llbaa = false;
        info.blocks = 0x1_0000_0000;
        info.block_size = 4096;
        assert_eq!(
            data(command, &info)[..16],
            [0, 34, 0, 0x10, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0]
        );
        command.dbd = true;
        command.llbaa = true;
        assert_eq!(data(command, &info)[..8], [0, 26, 0, 0x10, 0, 0, 0, 0]);
    }

    #[test]
    fn device_specific_parameter() {
        let specific = |info: &DeviceInfo<'_>| {
            let six = data(request(true, PageControl::Current, 0x08, 0), info)[2];
            let ten = data(request(false, PageControl::Current, 0x08, 0), info)[3];
            assert_eq!(six, ten);
            six
        };
        let mut info = disk();
        info.dpo_fua = false;
        assert_eq!(specific(&info), 0x00);
        info.read_only = true;
        assert_eq!(specific(&info), 0x80);
        info.read_only = false;
        info.mode.software_write_protect = true;
        info.dpo_fua = true;
        assert_eq!(specific(&info), 0x90);
    }

    #[test]
    fn what_cannot_be_sensed() {
        let fail = |pc, page, subpage| {
            let mut out = [0xa5; 64];
            let error = sense(&request(true, pc, page, subpage), &disk(), &mut out).unwrap_err();
            assert_eq!(out, [0xa5; 64]);
            error
        };
        assert_eq!(
            fail(PageControl::Saved, 0x3f, 0),
            Sense::SAVING_PARAMETERS_NOT_SUPPORTED
        );
        let page = Sense::invalid_cdb(2, Some(5));
        assert_eq!(fail(PageControl::Current, 0x02, 0), page);
        assert_eq!(fail(PageControl::Current, 0x02, 0xff), page);
        assert_eq!(fail(PageControl::Current, 0x00, 0), page);
        let subpage = Sense::invalid_cdb(3, None);
        assert_eq!(fail(PageControl::Current, 0x08, 1), subpage);
        assert_eq!(fail(PageControl::Current, 0x0a, 2), subpage);
        assert_eq!(fail(PageControl::Current, 0x3f, 1), subpage);
        assert_eq!(fail(PageControl::Current, 0x3f, 2), subpage);
        assert_eq!(fail(PageControl::Current, 0x1c, 1), subpage);
    }

    /// A MODE SELECT(6) list without block descriptor.
    fn list6(pages: &[&[u8]]) -> Vec<u8> {
        let mut list = std::vec![0, 0, 0, 0];
        for page in pages {
            list.extend_from_slice(page);
        }
        list
    }

    #[test]
    fn select_what_is_changeable() {
        let info = all_changeable();
        let mut cache = CACHE;
        cache[2] = 0;
        let mut control = CONTROL;
        control[2..6].copy_from_slice(&[0x06, 0x06, 0x38, 0x40]);
        let mode = select(&list6(&[&cache, &control]), true, &info).unwrap();
        assert_eq!(
            mode,
            ModeState {
                write_cache: false,
                descriptor_sense: true,
                software_write_protect: true,
                task_aborted_status: true,
                queue_error: QueueError::AbortSameNexus,
                ua_interlock: UaInterlock::Establish,
                restricted_reordering: true,
            }
        );
        let mode = select(&list6(&[&cache]), true, &info).unwrap();
        assert_eq!(
            mode,
            ModeState {
                write_cache: false,
                ..ModeState::DEFAULT
            }
        );
    }

    #[test]
    fn select_of_the_same_changes_nothing() {
        for info in [disk(), all_changeable()] {
            for six in [true, false] {
                for (dbd, llbaa) in [(true, false), (false, false), (false, true)] {
                    let mut command = request(six, PageControl::Current, 0x3f, 0xff);
                    command.dbd = dbd;
                    command.llbaa = llbaa;
                    let list = data(command, &info);
                    assert_eq!(select(&list, six, &info), Ok(info.mode));
                    assert_eq!(
                        select(&list[..if six { 4 } else { 8 }], six, &info).is_ok(),
                        dbd
                    );
                }
                assert_eq!(select(&[], six, &info), Ok(info.mode));
            }
        }
    }

    #[test]
    fn every_cut_inside_a_part_is_a_length_error() {
        let info = disk();
        for six in [true, false] {
            let mut command = request(six, PageControl::Current, 0x3f, 0xff);
            command.dbd = false;
            let list = data(command, &info);
            let pages = if six { 12 } else { 16 };
            let whole: Vec<usize> = [0, 0, 12, 20, 12, 32, 12, 24]
                .iter()
                .scan(pages, |at, len| {
                    *at += len;
                    Some(*at)
                })
                .collect();
            assert_eq!(whole.last(), Some(&list.len()));
            for len in 1..=list.len() {
                let got = select(&list[..len], six, &info);
                if whole.contains(&len) {
                    assert_eq!(got, Ok(info.mode), "{len}");
                } else {
                    assert_eq!(got, Err(SHORT), "{len}");
                }
            }
        }
    }

    #[test]
    fn select_points_at_the_bit_that_cannot_change() {
        let info = disk();
        let mut cache = CACHE;
        cache[2] = 0;
        assert_eq!(
            select(&list6(&[&cache]), true, &info),
            Err(Sense::invalid_parameter(4 + 2, Some(2)))
        );
        let mut control = CONTROL;
        control[5] = 0x40;
        assert_eq!(
            select(&list6(&[&CACHE, &control]), true, &info),
            Err(Sense::invalid_parameter(4 + 20 + 5, Some(6)))
        );
        // In the list of the 10-byte command, behind a block descriptor.
        let mut list = std::vec![0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 8, 0, 0, 0, 2, 0];
        list.extend(control);
        assert_eq!(
            select(&list, false, &info),
            Err(Sense::invalid_parameter(16 + 5, Some(6)))
        );
        // What may change does not help what may not.
        let mut control = CONTROL;
        control[3] ^= 0x06 | 0x20;
        assert_eq!(
            select(&list6(&[&control]), true, &all_changeable()),
            Err(Sense::invalid_parameter(4 + 3, Some(5)))
        );
    }

    /// Each bit of each page, alone, against the mask that MODE SENSE returns.
    #[test]
    fn select_and_the_changeable_mask_agree_on_every_bit() {
        for info in [disk(), all_changeable()] {
            let all = |pc| data(request(true, pc, 0x3f, 0xff), &info);
            let list = all(PageControl::Current);
            let mask = all(PageControl::Changeable);
            // Where the parameters of each page stand, behind its header.
            for parameters in [6..16, 18..36, 38..48, 52..80, 82..92, 96..116] {
                for at in parameters {
                    for bit in 0..8u8 {
                        let mut asked = list.clone();
                        asked[at] ^= 1 << bit;
                        let got = select(&asked, true, &info);
                        if mask[at] & (1 << bit) == 0 {
                            let at = u16::try_from(at).unwrap();
                            assert_eq!(got, Err(Sense::invalid_parameter(at, Some(bit))));
                        } else if ![(39, 2), (40, 4)].contains(&(at, bit)) {
                            assert_ne!(got, Ok(info.mode));
                            assert!(got.is_ok());
                        } else {
                            // QERR 10b and UA_INTLCK_CTRL 01b are reserved.
                            assert!(got.is_err());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn select_refuses_the_reserved_queue_error() {
        let mut control = CONTROL;
        control[3] = 0x14;
        assert_eq!(
            select(&list6(&[&control]), true, &all_changeable()),
            Err(Sense::invalid_parameter(4 + 3, Some(2)))
        );
    }

    #[test]
    fn select_refuses_the_reserved_interlock() {
        let mut control = CONTROL;
        control[4] = 0x10;
        assert_eq!(
            select(&list6(&[&control]), true, &all_changeable()),
            Err(Sense::invalid_parameter(4 + 4, Some(5)))
        );
    }

    #[test]
    fn select_ignores_ps_and_the_device_specific_parameter() {
        let mut cache = CACHE;
        cache[0] |= 0x80;
        let mut list = list6(&[&cache]);
        list[0] = 0x77;
        list[2] = 0x80;
        assert_eq!(select(&list, true, &disk()), Ok(ModeState::DEFAULT));
    }

    #[test]
    fn select_refuses_pages_that_do_not_exist() {
        let fail = |page: &[u8]| select(&list6(&[page]), true, &disk()).unwrap_err();
        assert_eq!(fail(&[0x02, 0]), Sense::invalid_parameter(4, Some(5)));
        assert_eq!(fail(&[0x3f, 0]), Sense::invalid_parameter(4, Some(5)));
        assert_eq!(
            fail(&[0x48, 1, 0, 0]),
            Sense::invalid_parameter(4 + 1, None)
        );
        assert_eq!(
            fail(&[0x48, 0, 0, 16]),
            Sense::invalid_parameter(4 + 1, None)
        );
        assert_eq!(
            fail(&[0x4a, 0xff, 0, 0]),
            Sense::invalid_parameter(4 + 1, None)
        );
        assert_eq!(
            fail(&[0x4b, 1, 0, 0x1c]),
            Sense::invalid_parameter(4, Some(5))
        );
        // A length that is not the page's own.
        assert_eq!(fail(&[0x08, 0x11]), Sense::invalid_parameter(4 + 1, None));
        assert_eq!(
            fail(&[0x4a, 1, 0, 0x1b]),
            Sense::invalid_parameter(4 + 2, None)
        );
    }

    #[test]
    fn select_block_descriptors() {
        let ten = |descriptor: [u8; 8]| {
            let mut list = std::vec![0, 0, 0, 0, 0, 0, 0, 8];
            list.extend(descriptor);
            select(&list, false, &disk())
        };
        let same = Ok(ModeState::DEFAULT);
        assert_eq!(ten([0, 0, 8, 0, 0, 0, 2, 0]), same);
        assert_eq!(ten([0, 0, 0, 0, 0, 0, 2, 0]), same);
        assert_eq!(ten([0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]), same);
        let blocks = Err(Sense::invalid_parameter(8, None));
        assert_eq!(ten([0, 0, 7, 0xff, 0, 0, 2, 0]), blocks);
        assert_eq!(ten([0, 0, 8, 1, 0, 0, 2, 0]), blocks);
        let size = Err(Sense::invalid_parameter(8 + 5, None));
        assert_eq!(ten([0, 0, 8, 0, 0, 0, 0x10, 0]), size);
        assert_eq!(ten([0, 0, 8, 0, 0, 0, 0, 0]), size);

        let long = |blocks: u64, size: u32| {
            let mut list = std::vec![0, 0, 0, 0, 1, 0, 0, 16];
            list.extend(blocks.to_be_bytes());
            list.extend([0; 4]);
            list.extend(size.to_be_bytes());
            select(&list, false, &disk())
        };
        assert_eq!(long(2048, 512), same);
        assert_eq!(long(u64::MAX, 512), same);
        assert_eq!(long(0xffff_ffff, 512), blocks);
        assert_eq!(long(2048, 513), Err(Sense::invalid_parameter(8 + 12, None)));

        // Lengths that no format has, and a medium type.
        let head = |list: &[u8], six| select(list, six, &disk());
        assert_eq!(
            head(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0], true),
            Err(Sense::invalid_parameter(3, None))
        );
        assert_eq!(
            head(&[0, 0, 0, 0, 1, 0, 0, 8], false),
            Err(Sense::invalid_parameter(6, None))
        );
        assert_eq!(
            head(&[0, 1, 0, 0], true),
            Err(Sense::invalid_parameter(1, None))
        );
        assert_eq!(
            head(&[0, 0, 1, 0, 0, 0, 0, 0], false),
            Err(Sense::invalid_parameter(2, None))
        );
    }

    proptest! {
        /// Whatever is accepted, sensing it back gives the list.
        #[test]
        fn accepted_lists_read_back(
            wce: bool, d_sense: bool, swp: bool, tas: bool, restricted: bool,
            qerr in 0u8..4, interlock in 0u8..4, noise: [u8; 3]
        ) {
            let mut info = all_changeable();
            let mut cache = CACHE;
            cache[2] = flag(wce, WCE);
            let mut control = CONTROL;
            control[2] = 0x02 | flag(d_sense, D_SENSE);
            control[3] = flag(!restricted, 0x10) | (qerr << 1);
            control[4] = flag(swp, SWP) | (interlock << 4);
            control[5] = flag(tas, TAS);
            let mut list = list6(&[&cache, &control]);
            list[0] = noise[0];
            list[2] = noise[1];
            match select(&list, true, &info) {
                Ok(mode) => {
                    info.mode = mode;
                    prop_assert_eq!(current(0x08, 0, &info), cache);
                    prop_assert_eq!(current(0x0a, 0, &info), control);
                }
                Err(_) => prop_assert!(qerr == 0b10 || interlock == 0b01),
            }
        }

        #[test]
        fn any_list(
            bytes in prop::collection::vec(any::<u8>(), 0..80), six: bool, changeable: bool
        ) {
            let info = if changeable { all_changeable() } else { disk() };
            if let Ok(mode) = select(&bytes, six, &info) {
                prop_assert!(changeable || mode == info.mode);
            }
        }

        /// One wrong byte somewhere in a good list.
        #[test]
        fn near_misses(at: prop::sample::Index, value: u8) {
            let info = disk();
            let mut command = request(false, PageControl::Current, 0x3f, 0xff);
            command.dbd = false;
            let mut list = data(command, &info);
            let at = at.index(list.len());
            list[at] = value;
            if let Ok(mode) = select(&list, false, &info) {
                prop_assert_eq!(mode, info.mode);
            }
        }

        #[test]
        fn any_sense(
            six: bool, dbd: bool, llbaa: bool, page in 0u8..64, subpage: u8, clip in 0usize..200
        ) {
            let mut command = request(six, PageControl::Current, page, subpage);
            command.dbd = dbd;
            command.llbaa = llbaa;
            let mut full = [0; 200];
            let mut part = [0xa5; 200];
            let whole = sense(&command, &disk(), &mut full);
            prop_assert_eq!(whole, sense(&command, &disk(), &mut part[..clip]));
            let wrote = clip.min(whole.unwrap_or(0));
            prop_assert_eq!(&part[..wrote], &full[..wrote]);
            prop_assert!(part[wrote..].iter().all(|byte| *byte == 0xa5));
        }
    }
}
