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
    values: fn(&ModeState, &mut Bytes),
    /// Sets the bits that may be changed.
    changeable: fn(&Changeable, &mut Bytes),
    /// Reads the changeable parameters back.
    read: fn(&Bytes, &mut ModeState) -> Result<(), Sense>,
}

/// The pages in the order in which page 3Fh returns them.
const PAGES: [Page; 5] = [
    // Read-Write Error Recovery: the defaults of the backing device hold.
    Page {
        code: 0x01,
        subpage: 0x00,
        len: 12,
        values: |_, _| (),
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
        values: |_, _| (),
        changeable: |_, _| (),
        read: |_, _| Ok(()),
    },
    // Informational Exceptions Control.
    Page {
        code: 0x1c,
        subpage: 0x00,
        len: 12,
        // DEXCPT: no informational exceptions are reported.
        values: |_, page| page[2] = 0x08,
        changeable: |_, _| (),
        read: |_, _| Ok(()),
    },
];

const CACHING: Page = Page {
    code: 0x08,
    subpage: 0x00,
    len: 20,
    values: |mode, page| page[2] = flag(mode.write_cache, WCE),
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
    values: |mode, page| {
        // TST 000b: one task set for all I_T nexuses. GLTSD: no log parameters
        // are saved.
        page[2] = flag(mode.descriptor_sense, D_SENSE) | 0x02;
        // QUEUE ALGORITHM MODIFIER 0001b: unrestricted reordering, which is
        // what a block device does.
        page[3] = 0x10 | ((mode.queue_error as u8) << 1);
        page[4] = flag(mode.software_write_protect, SWP);
        page[5] = flag(mode.task_aborted_status, TAS);
        // BUSY TIMEOUT PERIOD: no limit.
        page[8] = 0xff;
        page[9] = 0xff;
    },
    changeable: |may, page| {
        page[2] = flag(may.descriptor_sense, D_SENSE);
        page[3] = flag(may.queue_error, QERR);
        page[4] = flag(may.software_write_protect, SWP);
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
        mode.software_write_protect = page[4] & SWP != 0;
        mode.task_aborted_status = page[5] & TAS != 0;
        Ok(())
    },
};

const WCE: u8 = 0x04;
const D_SENSE: u8 = 0x04;
const QERR: u8 = 0x06;
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
        (page == ALL_PAGES || page == self.code)
            && (subpage == ALL_SUBPAGES || subpage == self.subpage)
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
            PageControl::Default => (page.values)(&info.mode_default, bytes),
            PageControl::Current | PageControl::Saved => (page.values)(&info.mode, bytes),
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

    let current = page.write(|bytes| (page.values)(&info.mode, bytes));
    let changeable = {
        let mut bytes = [0; PAGE_MAX_LEN];
        (page.changeable)(&info.changeable, &mut bytes);
        bytes
    };
    let mut bytes = [0; PAGE_MAX_LEN];
    let fields = asked.iter().zip(current).zip(changeable).zip(&mut bytes);
    for (at, (((asked, current), changeable), byte)) in fields.enumerate() {
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
