// SPDX-License-Identifier: GPL-2.0

//! Log pages (SPC-4, "Log parameters" and SBC-3, "Log parameters").
//!
//! A page has those parameters that are known to be true. What a drive counts
//! inside, such as errors that it could correct, no block device tells.

use super::command::LogControl;
use super::command::LogSense;
use super::pool::Pool;
use super::put::len16;
use super::put::len8;
use super::put::Put;
use super::sense::Sense;

/// What has been counted since the logical unit exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogValues {
    /// READ commands that succeeded.
    pub reads: Counted,
    /// WRITE commands, and others with data for the medium, that succeeded.
    pub writes: Counted,
    /// What VERIFY commands read.
    pub verifies: Counted,
    /// Milliseconds without any command for the medium.
    pub idle_ms: u64,
    /// What is known of the pool of a thin logical unit.
    pub pool: Pool,
}

/// What has been counted of one kind of commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Commands.
    pub commands: u64,
    /// Bytes that they read or wrote.
    pub bytes: u64,
    /// Those that failed for a flaw of the medium or of the backing device.
    pub errors: u64,
    /// Milliseconds that they took, added up.
    pub ms: u64,
}

/// One log page.
struct Page {
    code: u8,
    write: fn(&LogValues, u32, &mut Parameters<'_, '_>),
}

/// The pages, by page code; all have subpage 00h.
const PAGES: [Page; 7] = [
    SUPPORTED,
    // Write Error Counters.
    Page {
        code: 0x02,
        write: |values, _, to| error_counters(&values.writes, to),
    },
    // Read Error Counters.
    Page {
        code: 0x03,
        write: |values, _, to| error_counters(&values.reads, to),
    },
    // Verify Error Counters.
    Page {
        code: 0x05,
        write: |values, _, to| error_counters(&values.verifies, to),
    },
    // Logical Block Provisioning.
    Page {
        code: 0x0c,
        write: |values, _, to| {
            if values.pool.is_known() {
                resource(0x0001, values.pool.available_sets(), to);
                resource(0x0002, values.pool.used_sets(), to);
            }
        },
    },
    STATISTICS,
    // Informational Exceptions.
    Page {
        code: 0x2f,
        // No exception has been noticed, and there is no temperature to read.
        write: |_, _, to| to.list(0x0000, &[0x00, 0x00, 0xff, 0x00]),
    },
];

/// Supported Log Pages, and with subpage FFh Supported Log Pages and Subpages.
const SUPPORTED: Page = Page {
    code: 0x00,
    write: |_, _, _| (),
};

/// General Statistics and Performance.
const STATISTICS: Page = Page {
    code: 0x19,
    write: |values, block_size, to| {
        let blocks = |bytes: u64| bytes.checked_div(u64::from(block_size)).unwrap_or(0);
        let mut numbers = [0; 64];
        let fields = [
            values.reads.commands,
            values.writes.commands,
            // Received, as the logical unit sees it.
            blocks(values.writes.bytes),
            blocks(values.reads.bytes),
            values.reads.ms,
            values.writes.ms,
            // The weighted numbers are not counted.
            0,
            0,
        ];
        for (to, from) in numbers.chunks_exact_mut(8).zip(fields) {
            for (to, from) in to.iter_mut().zip(from.to_be_bytes()) {
                *to = from;
            }
        }
        to.parameter(0x0001, COUNTER, &numbers);
        to.parameter(0x0002, COUNTER, &values.idle_ms.to_be_bytes());
        // The time interval: 1 times 10 to the power of -3 seconds.
        to.list(0x0003, &[0, 0, 0, 3, 0, 0, 0, 1]);
    },
};

/// SUBPAGE CODE that lists subpages as well.
const SUBPAGES: u8 = 0xff;

/// TSD, nothing is saved; FORMAT AND LINKING 10b, an unbounded data counter.
const COUNTER: u8 = 0x22;
/// TSD; FORMAT AND LINKING 11b, a list in binary format.
const LIST: u8 = 0x23;

/// Total Bytes Processed and Total Uncorrected Errors.
fn error_counters(counted: &Counted, to: &mut Parameters<'_, '_>) {
    to.parameter(0x0005, COUNTER, &counted.bytes.to_be_bytes());
    to.parameter(0x0006, COUNTER, &counted.errors.to_be_bytes());
}

/// A resource count, in threshold sets. SCOPE 10b: other logical units take
/// their blocks from the same pool.
fn resource(code: u16, count: u32, to: &mut Parameters<'_, '_>) {
    let [a, b, c, d] = count.to_be_bytes();
    to.list(code, &[a, b, c, d, 0x02, 0, 0, 0]);
}

/// Writes log parameters, those before the parameter pointer excepted.
struct Parameters<'a, 'b> {
    put: &'a mut Put<'b>,
    pointer: u16,
    any: bool,
}

impl Parameters<'_, '_> {
    fn parameter(&mut self, code: u16, control: u8, value: &[u8]) {
        if code < self.pointer {
            return;
        }
        self.any = true;
        self.put.u16(code);
        self.put.u8(control);
        self.put.u8(len8(value.len()));
        self.put.bytes(value);
    }

    fn list(&mut self, code: u16, value: &[u8]) {
        self.parameter(code, LIST, value);
    }
}

/// Writes the data of LOG SENSE. `block_size` is in bytes.
///
/// # Errors
/// INVALID FIELD IN CDB for a page or subpage that does not exist, for a
/// parameter pointer beyond the last parameter, and for values that there are
/// not: thresholds and defaults.
pub fn sense(
    command: &LogSense,
    values: &LogValues,
    block_size: u32,
    out: &mut [u8],
) -> Result<usize, Sense> {
    let page = PAGES
        .iter()
        .find(|page| page.code == command.page)
        .ok_or(Sense::invalid_cdb(2, Some(5)))?;
    let is_list = page.code == SUPPORTED.code;
    if command.subpage != 0 && !(is_list && command.subpage == SUBPAGES) {
        return Err(Sense::invalid_cdb(3, None));
    }
    // The list has no values, so it does not matter which.
    if !is_list && command.control != LogControl::Cumulative {
        return Err(Sense::invalid_cdb(2, Some(7)));
    }
    let mut put = Put::new(out);
    // DS: the values are not saved. SPF: there is a subpage code.
    let spf = if command.subpage == 0 { 0 } else { 0x40 };
    let ds = if is_list { 0 } else { 0x80 };
    put.bytes(&[ds | spf | page.code, command.subpage, 0, 0]);
    let mut any = false;
    if is_list {
        for page in &PAGES {
            put.u8(page.code);
            if command.subpage == SUBPAGES {
                put.u8(0);
            }
            if page.code == SUPPORTED.code && command.subpage == SUBPAGES {
                put.bytes(&[page.code, SUBPAGES]);
            }
        }
    } else {
        let mut to = Parameters {
            put: &mut put,
            pointer: command.pointer,
            any: false,
        };
        (page.write)(values, block_size, &mut to);
        any = to.any;
    }
    if command.pointer != 0 && !any {
        return Err(Sense::invalid_cdb(5, None));
    }
    let len = len16(put.len().saturating_sub(4));
    put.patch(2, &len.to_be_bytes());
    Ok(put.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const VALUES: LogValues = LogValues {
        reads: Counted {
            commands: 0x11,
            bytes: 0x0102_0304_0506_0800,
            errors: 0x13,
            ms: 0x14,
        },
        writes: Counted {
            commands: 0x21,
            bytes: 0x2000,
            errors: 0x23,
            ms: 0x24,
        },
        verifies: Counted {
            commands: 0x31,
            bytes: 0x3000,
            errors: 0x33,
            ms: 0x34,
        },
        idle_ms: 0x0102_0304,
        pool: Pool::NONE,
    };

    fn ask(page: u8, subpage: u8, pointer: u16) -> LogSense {
        LogSense {
            control: LogControl::Cumulative,
            page,
            subpage,
            pointer,
            alloc: 255,
        }
    }

    /// The full page, checked to be clipped right at every length.
    #[track_caller]
    fn full(command: &LogSense) -> Result<Vec<u8>, Sense> {
        let mut full = [0xa5; 256];
        let len = sense(command, &VALUES, 512, &mut full)?;
        assert!(full[len..].iter().all(|byte| *byte == 0xa5));
        for clip in 0..len {
            let mut part = [0xa5; 256];
            assert_eq!(sense(command, &VALUES, 512, &mut part[..clip]), Ok(len));
            assert_eq!(part[..clip], full[..clip]);
            assert!(part[clip..].iter().all(|byte| *byte == 0xa5));
        }
        let length = usize::from(u16::from_be_bytes([full[2], full[3]]));
        assert_eq!(length, len - 4);
        Ok(full[..len].to_vec())
    }

    #[test]
    fn lists_of_pages() {
        assert_eq!(
            full(&ask(0, 0, 0)).unwrap(),
            [0x00, 0x00, 0, 7, 0x00, 0x02, 0x03, 0x05, 0x0c, 0x19, 0x2f]
        );
        assert_eq!(
            full(&ask(0, 0xff, 0)).unwrap(),
            [
                0x40, 0xff, 0, 16, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x03, 0x00, 0x05, 0x00,
                0x0c, 0x00, 0x19, 0x00, 0x2f, 0x00
            ]
        );
        // What is listed is there, and nothing else.
        let list = full(&ask(0, 0, 0)).unwrap();
        for page in 0..0x40 {
            assert_eq!(full(&ask(page, 0, 0)).is_ok(), list[4..].contains(&page));
            for subpage in 1..=255 {
                let there = (page, subpage) == (0, 0xff);
                assert_eq!(full(&ask(page, subpage, 0)).is_ok(), there);
            }
        }
    }

    #[test]
    fn error_counter_pages() {
        assert_eq!(
            full(&ask(0x03, 0, 0)).unwrap(),
            [
                0x83, 0, 0, 24, 0, 5, 0x22, 8, 1, 2, 3, 4, 5, 6, 8, 0, //
                0, 6, 0x22, 8, 0, 0, 0, 0, 0, 0, 0, 0x13,
            ]
        );
        assert_eq!(
            full(&ask(0x02, 0, 6)).unwrap(),
            [0x82, 0, 0, 12, 0, 6, 0x22, 8, 0, 0, 0, 0, 0, 0, 0, 0x23]
        );
        let verify = full(&ask(0x05, 0, 0)).unwrap();
        assert_eq!(verify[14..16], [0x30, 0x00]);
        assert_eq!(verify[27], 0x33);
    }

    #[test]
    fn statistics() {
        let page = full(&ask(0x19, 0, 0)).unwrap();
        assert_eq!(page[..8], [0x99, 0, 0, 92, 0, 1, 0x22, 64]);
        let numbers: Vec<u64> = page[8..72]
            .chunks_exact(8)
            .map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
            .collect();
        assert_eq!(
            numbers,
            [
                0x11,
                0x21,
                0x10,
                0x0102_0304_0506_0800 / 512,
                0x14,
                0x24,
                0,
                0
            ]
        );
        assert_eq!(page[72..84], [0, 2, 0x22, 8, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(page[84..], [0, 3, 0x23, 8, 0, 0, 0, 3, 0, 0, 0, 1]);
        assert_eq!(
            full(&ask(0x19, 0, 3)).unwrap(),
            [0x99, 0, 0, 12, 0, 3, 0x23, 8, 0, 0, 0, 3, 0, 0, 0, 1]
        );
        // A block size of none is no reason to divide by it.
        assert!(sense(&ask(0x19, 0, 0), &VALUES, 0, &mut []).is_ok());
    }

    #[test]
    fn provisioning() {
        assert_eq!(full(&ask(0x0c, 0, 0)).unwrap(), [0x8c, 0, 0, 0]);
        let values = LogValues {
            pool: Pool::parse(b"1048577/104857600", 0).unwrap(),
            ..VALUES
        };
        let mut out = [0; 64];
        assert_eq!(sense(&ask(0x0c, 0, 0), &values, 512, &mut out), Ok(28));
        assert_eq!(
            out[..28],
            [
                0x8c, 0, 0, 24, 0, 1, 0x23, 8, 0, 0, 0, 98, 2, 0, 0, 0, //
                0, 2, 0x23, 8, 0, 0, 0, 2, 2, 0, 0, 0
            ]
        );
    }

    #[test]
    fn exceptions() {
        assert_eq!(
            full(&ask(0x2f, 0, 0)).unwrap(),
            [0xaf, 0, 0, 8, 0, 0, 0x23, 4, 0, 0, 0xff, 0]
        );
    }

    #[test]
    fn what_there_is_not_is_refused() {
        assert_eq!(full(&ask(0x0d, 0, 0)), Err(Sense::invalid_cdb(2, Some(5))));
        assert_eq!(full(&ask(0x02, 1, 0)), Err(Sense::invalid_cdb(3, None)));
        for (page, pointer) in [(0x00, 1), (0x02, 7), (0x19, 4), (0x2f, 1)] {
            assert_eq!(
                full(&ask(page, 0, pointer)),
                Err(Sense::invalid_cdb(5, None))
            );
        }
        for control in [
            LogControl::Threshold,
            LogControl::DefaultThreshold,
            LogControl::DefaultCumulative,
        ] {
            let mut command = ask(0x02, 0, 0);
            command.control = control;
            assert_eq!(full(&command), Err(Sense::invalid_cdb(2, Some(7))));
            command.page = 0;
            assert!(full(&command).is_ok());
        }
    }

    proptest! {
        #[test]
        fn any_values(page in 0u8..0x40, subpage: u8, pointer: u16, n: [u64; 4], size: u32) {
            let counted = Counted { commands: n[0], bytes: n[1], errors: n[2], ms: n[3] };
            let values = LogValues { reads: counted, writes: counted, verifies: counted, idle_ms: n[3], pool: Pool::NONE };
            let mut out = [0; 256];
            if let Ok(len) = sense(&ask(page, subpage, pointer), &values, size, &mut out) {
                prop_assert!(len <= out.len());
            }
        }
    }
}
