// SPDX-License-Identifier: GPL-2.0

//! Data of the REPORT commands.

use super::command::Identifying;
use super::command::ReadDefectData;
use super::command::ReportingOptions;
use super::command::SelectReport;
use super::device::DeviceInfo;
use super::opcodes;
use super::opcodes::Groups;
use super::opcodes::Row;
use super::put::len16;
use super::put::len32;
use super::put::Put;
use super::sense::Sense;

/// REPORT LUNS data (SPC-4, "REPORT LUNS command").
///
/// `luns` are the LUNs that the I_T nexus may use, as on the wire, in the order
/// in which they shall be listed; well known ones are told by their addressing
/// method. Takes 3Fh/0Eh with it: the caller clears
/// [`Ua::ReportedLunsChanged`](super::ua::Ua).
pub fn luns(luns: impl IntoIterator<Item = u64>, select: SelectReport, out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.zeros(8);
    for lun in luns {
        // Extended logical unit addressing, one byte, method 1h.
        let well_known = lun >> 56 == 0xc1;
        let wanted = match select {
            SelectReport::Addressable => !well_known,
            SelectReport::WellKnown => well_known,
            SelectReport::All => true,
        };
        if wanted {
            put.u64(lun);
        }
    }
    let len = len32(put.len().saturating_sub(8));
    put.patch(0, &len.to_be_bytes());
    put.len()
}

/// READ DEFECT DATA data (SBC-3, "READ DEFECT DATA (10) command"). No defect of
/// the medium is known: what a backing device has replaced inside it keeps to
/// itself. So both lists are there, and empty from any index on.
///
/// # Errors
/// RECOVERED ERROR, DEFECT LIST NOT FOUND: not a format of addresses of logical
/// blocks, short or long; no other kind of address is known.
pub fn defects(command: &ReadDefectData, out: &mut [u8]) -> Result<usize, Sense> {
    if !matches!(command.format, SHORT_BLOCK | LONG_BLOCK) {
        return Err(Sense::DEFECT_LIST_NOT_FOUND);
    }
    let plistv = if command.primary { 0x10 } else { 0 };
    let glistv = if command.grown { 0x08 } else { 0 };
    let mut put = Put::new(out);
    put.bytes(&[0, plistv | glistv | command.format, 0, 0]);
    if !command.ten {
        put.u32(0);
    }
    Ok(put.len())
}

/// DEFECT LIST FORMAT: addresses of logical blocks of 4 bytes.
const SHORT_BLOCK: u8 = 0b000;
/// And of 8 bytes.
const LONG_BLOCK: u8 = 0b011;

/// REPORT IDENTIFYING INFORMATION data (SPC-4, "REPORT IDENTIFYING INFORMATION
/// command"). `text` is what the administrator calls the logical unit; at most
/// [`IDENTIFYING_TEXT_MAX`] less one bytes are used.
pub fn identifying(kind: Identifying, text: &[u8], out: &mut [u8]) -> usize {
    let mut put = Put::new(out);
    put.zeros(4);
    match kind {
        // Only an initiator could set it, and it cannot.
        Identifying::Bytes => (),
        Identifying::Text if text.is_empty() => (),
        Identifying::Text => {
            let most = usize::from(IDENTIFYING_TEXT_MAX).saturating_sub(1);
            put.bytes(text.get(..most).unwrap_or(text));
            put.u8(0);
        }
        Identifying::Supported => {
            put.bytes(&[0b000_0000 << 1, 0]);
            put.u16(IDENTIFYING_MAX);
            put.bytes(&[0b000_0010 << 1, 0]);
            put.u16(IDENTIFYING_TEXT_MAX);
        }
    }
    let len = len16(put.len().saturating_sub(4));
    put.patch(2, &len.to_be_bytes());
    put.len()
}

/// The most bytes of identifying information.
const IDENTIFYING_MAX: u16 = 64;
/// The most bytes of text identifying information, with the NUL.
const IDENTIFYING_TEXT_MAX: u16 = 256;

/// REPORT SUPPORTED OPERATION CODES data (SPC-4, "REPORT SUPPORTED OPERATION
/// CODES command").
///
/// # Errors
/// INVALID FIELD IN CDB: an operation code with service actions was asked for
/// without one, or one that has none with one.
pub fn opcodes(
    options: ReportingOptions,
    rctd: bool,
    info: &DeviceInfo<'_>,
    out: &mut [u8],
) -> Result<usize, Sense> {
    opcodes_in(opcodes::ENABLED, options, rctd, info, out)
}

/// The same with other groups of commands enabled.
///
/// # Errors
/// As [`opcodes`].
pub fn opcodes_in(
    groups: Groups,
    options: ReportingOptions,
    rctd: bool,
    info: &DeviceInfo<'_>,
    out: &mut [u8],
) -> Result<usize, Sense> {
    let here = |row: &&Row| groups.contains(row.group) && row.is_on(info);
    let rows = |opcode| opcodes::rows(opcode).filter(here);
    let has_actions = |opcode| rows(opcode).any(|row| row.service_action.is_some());
    let exists = |opcode| rows(opcode).next().is_some();

    let (opcode, action) = match options {
        ReportingOptions::All => {
            let mut put = Put::new(out);
            put.zeros(4);
            for row in opcodes::TABLE.iter().filter(here) {
                command_descriptor(row, rctd, &mut put);
            }
            let len = len32(put.len().saturating_sub(4));
            put.patch(0, &len.to_be_bytes());
            return Ok(put.len());
        }
        ReportingOptions::Opcode(opcode) if has_actions(opcode) => {
            return Err(Sense::invalid_cdb(2, Some(2)));
        }
        ReportingOptions::Opcode(opcode) => (opcode, None),
        ReportingOptions::ServiceAction(opcode, _) if exists(opcode) && !has_actions(opcode) => {
            return Err(Sense::invalid_cdb(2, Some(2)));
        }
        ReportingOptions::ServiceAction(opcode, action) => (opcode, Some(action)),
        ReportingOptions::Either(opcode, action) => {
            let bare = action == 0 && !has_actions(opcode);
            (opcode, if bare { None } else { Some(action) })
        }
    };
    let row = rows(opcode).find(|row| row.service_action == action);
    let mut put = Put::new(out);
    one_command(row, rctd, info, &mut put);
    Ok(put.len())
}

/// One row of the all_commands format.
fn command_descriptor(row: &Row, rctd: bool, put: &mut Put<'_>) {
    put.u8(row.opcode);
    put.u8(0);
    put.u16(row.service_action.unwrap_or(0));
    put.u8(0);
    // CTDP, SERVACTV.
    let ctdp = if rctd { 0x02 } else { 0 };
    let servactv = if row.service_action.is_some() {
        0x01
    } else {
        0
    };
    put.u8(ctdp | servactv);
    put.u16(len16(row.cdb_len()));
    if rctd {
        timeouts(row, put);
    }
}

/// The one_command format; None is a command that is not supported.
fn one_command(row: Option<&Row>, rctd: bool, info: &DeviceInfo<'_>, put: &mut Put<'_>) {
    let Some(row) = row else {
        // SUPPORT 001b; CDB SIZE and what follows are not valid.
        put.bytes(&[0, 0b001, 0, 0]);
        return;
    };
    put.u8(0);
    // CTDP, SUPPORT 011b: as the standard says.
    put.u8(if rctd { 0x80 } else { 0 } | 0b011);
    put.u16(len16(row.cdb_len()));
    for byte in 0..row.cdb_len() {
        put.u8(row.usage_byte(byte, info));
    }
    if rctd {
        timeouts(row, put);
    }
}

/// The command timeouts descriptor.
fn timeouts(row: &Row, put: &mut Put<'_>) {
    put.u16(0x000a);
    put.u8(0);
    // COMMAND SPECIFIC.
    put.u8(0);
    // NOMINAL COMMAND PROCESSING TIMEOUT: none to tell.
    put.u32(0);
    put.u32(row.timeout);
}

/// The task management functions that a logical unit supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tmfs {
    /// ABORT TASK.
    pub abort_task: bool,
    /// ABORT TASK SET.
    pub abort_task_set: bool,
    /// CLEAR ACA.
    pub clear_aca: bool,
    /// CLEAR TASK SET.
    pub clear_task_set: bool,
    /// LOGICAL UNIT RESET.
    pub logical_unit_reset: bool,
    /// QUERY TASK.
    pub query_task: bool,
    /// TARGET RESET (obsolete since SAM-3).
    pub target_reset: bool,
    /// QUERY ASYNCHRONOUS EVENT.
    pub query_async_event: bool,
    /// QUERY TASK SET.
    pub query_task_set: bool,
    /// I_T NEXUS RESET.
    pub i_t_nexus_reset: bool,
    /// Units of 100 ms after which an initiator may give any of them up; 0
    /// says nothing.
    pub timeout: u32,
}

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS data (SPC-4, the command of that
/// name), 4 bytes or, `extended` by REPD, 16.
pub fn tmfs(tmfs: &Tmfs, extended: bool, out: &mut [u8]) -> usize {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let mut put = Put::new(out);
    put.u8(bit(tmfs.abort_task, 0x80)
        | bit(tmfs.abort_task_set, 0x40)
        | bit(tmfs.clear_aca, 0x20)
        | bit(tmfs.clear_task_set, 0x10)
        | bit(tmfs.logical_unit_reset, 0x08)
        | bit(tmfs.query_task, 0x04)
        | bit(tmfs.target_reset, 0x02));
    put.u8(bit(tmfs.query_async_event, 0x04)
        | bit(tmfs.query_task_set, 0x02)
        | bit(tmfs.i_t_nexus_reset, 0x01));
    put.u8(0);
    put.u8(if extended { 0x0c } else { 0 });
    if extended {
        // TMFTMOV; then no function takes the long timeout.
        put.u8(bit(tmfs.timeout != 0, 0x01));
        put.zeros(3);
        put.u32(tmfs.timeout);
        put.u32(tmfs.timeout);
    }
    put.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scsi::lun;
    use std::vec::Vec;

    /// The full data, checked to be clipped right at every length.
    #[track_caller]
    fn full(build: impl Fn(&mut [u8]) -> usize) -> Vec<u8> {
        let mut full = [0xa5; 2048];
        let len = build(&mut full);
        assert!(full[len..].iter().all(|byte| *byte == 0xa5));
        for clip in 0..len {
            let mut part = [0xa5; 2048];
            assert_eq!(build(&mut part[..clip]), len);
            assert_eq!(part[..clip], full[..clip]);
            assert!(part[clip..].iter().all(|byte| *byte == 0xa5));
        }
        full[..len].to_vec()
    }

    fn disk() -> DeviceInfo<'static> {
        DeviceInfo::new(b"s", 512, 2048)
    }

    #[test]
    fn lun_lists() {
        let all = [0, lun::encode(300), lun::REPORT_LUNS_WELL_KNOWN];
        let list = |select| full(|out| luns(all, select, out));
        assert_eq!(
            list(SelectReport::Addressable),
            [
                0, 0, 0, 16, 0, 0, 0, 0, // header
                0, 0, 0, 0, 0, 0, 0, 0, //
                0x41, 0x2c, 0, 0, 0, 0, 0, 0,
            ]
        );
        assert_eq!(
            list(SelectReport::WellKnown),
            [0, 0, 0, 8, 0, 0, 0, 0, 0xc1, 0x01, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(list(SelectReport::All).len(), 8 + 24);
        let none = full(|out| luns([], SelectReport::All, out));
        assert_eq!(none, [0; 8]);
    }

    fn ask(groups: Groups, options: ReportingOptions, rctd: bool) -> Result<Vec<u8>, Sense> {
        let info = disk();
        opcodes_in(groups, options, rctd, &info, &mut [])?;
        Ok(full(|out| {
            opcodes_in(groups, options, rctd, &info, out).unwrap()
        }))
    }

    fn live(options: ReportingOptions) -> Result<Vec<u8>, Sense> {
        ask(opcodes::ENABLED, options, false)
    }

    /// (opcode, service action, SERVACTV, CDB length) of the all_commands format.
    fn commands(groups: Groups, info: &DeviceInfo<'_>) -> Vec<(u8, u16, bool, u16)> {
        let data = full(|out| opcodes_in(groups, ReportingOptions::All, false, info, out).unwrap());
        let len = u32::from_be_bytes([data[0], data[1], data[2], data[3]]);
        assert_eq!(usize::try_from(len).unwrap(), data.len() - 4);
        data[4..]
            .chunks_exact(8)
            .map(|d| {
                assert_eq!((d[1], d[4], d[5] & !1), (0, 0, 0));
                (
                    d[0],
                    u16::from_be_bytes([d[2], d[3]]),
                    d[5] & 1 != 0,
                    u16::from_be_bytes([d[6], d[7]]),
                )
            })
            .collect()
    }

    #[test]
    fn lists_of_defects() {
        let mut command = ReadDefectData {
            ten: true,
            primary: true,
            grown: true,
            format: 0,
            index: 0,
            alloc: 8,
        };
        let mut out = [0xa5; 12];
        assert_eq!(defects(&command, &mut out), Ok(4));
        assert_eq!(out[..5], [0, 0x18, 0, 0, 0xa5]);
        command.ten = false;
        command.primary = false;
        command.format = 3;
        assert_eq!(defects(&command, &mut out), Ok(8));
        assert_eq!(out[..9], [0, 0x0b, 0, 0, 0, 0, 0, 0, 0xa5]);
        for format in [1, 2, 4, 5, 6, 7] {
            command.format = format;
            assert_eq!(
                defects(&command, &mut out),
                Err(Sense::DEFECT_LIST_NOT_FOUND)
            );
        }
    }

    #[test]
    fn identifying_information() {
        let mut out = [0xa5; 300];
        assert_eq!(identifying(Identifying::Bytes, b"x", &mut out), 4);
        assert_eq!(out[..5], [0, 0, 0, 0, 0xa5]);
        assert_eq!(identifying(Identifying::Text, b"", &mut out), 4);
        assert_eq!(identifying(Identifying::Text, b"ab", &mut out), 7);
        assert_eq!(out[..8], [0, 0, 0, 3, b'a', b'b', 0, 0xa5]);
        assert_eq!(identifying(Identifying::Text, &[b'c'; 511], &mut out), 260);
        assert_eq!(out[..4], [0, 0, 1, 0]);
        assert_eq!(out[258..261], [b'c', 0, 0xa5]);
        assert_eq!(identifying(Identifying::Supported, b"", &mut out), 12);
        assert_eq!(out[..12], [0, 0, 0, 8, 0, 0, 0, 64, 4, 0, 1, 0]);
        // Cut short, the length is still the whole one.
        let mut short = [0xa5; 5];
        assert_eq!(identifying(Identifying::Text, b"ab", &mut short), 7);
        assert_eq!(short, [0, 0, 0, 3, b'a']);
    }

    #[test]
    fn all_commands_of_a_plain_disk() {
        let plain = commands(opcodes::ENABLED, &disk());
        let codes: Vec<_> = plain
            .iter()
            .map(|(code, action, ..)| (*code, *action))
            .collect();
        assert_eq!(
            codes,
            [
                (0x00, 0),
                (0x03, 0),
                (0x08, 0),
                (0x0a, 0),
                (0x12, 0),
                (0x15, 0),
                (0x16, 0),
                (0x17, 0),
                (0x1a, 0),
                (0x1b, 0),
                (0x25, 0),
                (0x28, 0),
                (0x2a, 0),
                (0x2e, 0),
                (0x2f, 0),
                (0x34, 0),
                (0x35, 0),
                (0x37, 0),
                (0x41, 0),
                (0x4d, 0),
                (0x55, 0),
                (0x56, 0),
                (0x57, 0),
                (0x5a, 0),
                (0x5e, 0),
                (0x5e, 1),
                (0x5e, 2),
                (0x5e, 3),
                (0x5f, 0),
                (0x5f, 1),
                (0x5f, 2),
                (0x5f, 3),
                (0x5f, 4),
                (0x5f, 5),
                (0x5f, 6),
                (0x5f, 7),
                (0x88, 0),
                (0x8a, 0),
                (0x8b, 0),
                (0x8e, 0),
                (0x8f, 0),
                (0x90, 0),
                (0x91, 0),
                (0x93, 0),
                (0x9e, 0x10),
                (0x9e, 0x12),
                (0xa0, 0),
                (0xa3, 0x05),
                (0xa3, 0x0c),
                (0xa3, 0x0d),
                (0xa8, 0),
                (0xaa, 0),
                (0xae, 0),
                (0xaf, 0),
                (0xb7, 0),
            ]
        );
        let mut thin = disk();
        thin.thin.unmap = true;
        let thin = commands(opcodes::ENABLED, &thin);
        assert_eq!(thin.len(), plain.len() + 1);
        assert!(thin.contains(&(0x42, 0, false, 10)));
        assert!(plain.contains(&(0x9e, 0x12, true, 16)));
        assert!(plain.contains(&(0x9e, 0x10, true, 16)));
    }

    #[test]
    fn cdb_lengths_follow_the_group_code() {
        let mut info = disk();
        info.max_compare_and_write = 1;
        info.atomic.max_len = 1;
        info.thin.unmap = true;
        info.tpgs = 3;
        info.third_party_copy = true;
        info.referrals = Some(Default::default());
        let all = commands(Groups::ALL, &info);
        assert_eq!(all.len(), opcodes::TABLE.len());
        for (code, action, servactv, len) in all {
            let want = match code >> 5 {
                0 => 6,
                1 | 2 => 10,
                4 => 16,
                5 => 12,
                _ => unreachable!(),
            };
            assert_eq!(len, want, "{code:02x}");
            assert!(servactv || action == 0);
        }
    }

    #[test]
    fn timeouts_descriptors() {
        let data = ask(opcodes::ENABLED, ReportingOptions::All, true).unwrap();
        let len = u32::from_be_bytes([data[0], data[1], data[2], data[3]]);
        assert_eq!(usize::try_from(len).unwrap(), data.len() - 4);
        let descriptors = data[4..].chunks_exact(20);
        assert!(descriptors.remainder().is_empty());
        for d in descriptors {
            assert_eq!(d[5] & 0x02, 0x02);
            assert_eq!(d[8..16], [0, 0x0a, 0, 0, 0, 0, 0, 0]);
            assert_ne!(d[16..20], [0; 4]);
        }
        let one = ask(opcodes::ENABLED, ReportingOptions::Opcode(0), true).unwrap();
        assert_eq!(
            one,
            [
                0, 0x83, 0, 6, 0, 0, 0, 0, 0, 0, // TEST UNIT READY
                0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
            ]
        );
    }

    #[test]
    fn one_command_by_opcode() {
        assert_eq!(
            live(ReportingOptions::Opcode(0x28)).unwrap(),
            [0, 3, 0, 10, 0x28, 0x18, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0]
        );
        assert_eq!(
            live(ReportingOptions::Opcode(0x12)).unwrap(),
            [0, 3, 0, 6, 0x12, 0x01, 0xff, 0xff, 0xff, 0]
        );
        // Not known, not on this logical unit.
        for code in [0xff, 0x89, 0x42] {
            assert_eq!(live(ReportingOptions::Opcode(code)).unwrap(), [0, 1, 0, 0]);
        }
        assert_eq!(
            live(ReportingOptions::Opcode(0x9e)),
            Err(Sense::invalid_cdb(2, Some(2)))
        );
    }

    #[test]
    fn one_command_by_service_action() {
        assert_eq!(
            live(ReportingOptions::ServiceAction(0x9e, 0x10)).unwrap(),
            [0, 3, 0, 16, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]
        );
        assert_eq!(
            live(ReportingOptions::ServiceAction(0xa3, 0x0c)).unwrap(),
            [0, 3, 0, 12, 0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]
        );
        for (code, action) in [(0x9e, 0x13), (0x9e, 0x110), (0x5e, 4), (0xff, 1)] {
            assert_eq!(
                live(ReportingOptions::ServiceAction(code, action)).unwrap(),
                [0, 1, 0, 0]
            );
        }
        assert_eq!(
            live(ReportingOptions::ServiceAction(0x28, 0)),
            Err(Sense::invalid_cdb(2, Some(2)))
        );
    }

    #[test]
    fn one_command_either_way() {
        let either = |code, action| live(ReportingOptions::Either(code, action)).unwrap();
        assert_eq!(
            either(0x28, 0),
            live(ReportingOptions::Opcode(0x28)).unwrap()
        );
        assert_eq!(either(0x28, 1), [0, 1, 0, 0]);
        assert_eq!(
            either(0x9e, 0x10),
            live(ReportingOptions::ServiceAction(0x9e, 0x10)).unwrap()
        );
        assert_eq!(either(0x9e, 0), [0, 1, 0, 0]);
        assert_eq!(either(0xff, 0), [0, 1, 0, 0]);
    }

    #[test]
    fn usage_data_tells_what_the_logical_unit_can() {
        let usage = |info: &DeviceInfo<'_>, code| {
            let data =
                full(|out| opcodes(ReportingOptions::Opcode(code), false, info, out).unwrap());
            data[5]
        };
        let mut info = disk();
        assert_eq!(usage(&info, 0x2a), 0x18);
        assert_eq!(usage(&info, 0x41), 0x00);
        assert_eq!(usage(&info, 0x93), 0x01);
        info.dpo_fua = false;
        info.thin.write_same10 = true;
        assert_eq!(usage(&info, 0x2a), 0x00);
        assert_eq!(usage(&info, 0x41), 0x08);
        assert_eq!(usage(&info, 0x93), 0x01);
        info.thin.write_same16 = true;
        info.thin.anchor = true;
        assert_eq!(usage(&info, 0x41), 0x18);
        assert_eq!(usage(&info, 0x93), 0x19);
    }

    /// Every command reported is one that parses and the other way round.
    #[test]
    fn one_command_agrees_with_all_commands() {
        let info = disk();
        let listed = commands(opcodes::ENABLED, &info);
        for code in 0..=255 {
            for action in 0..32 {
                let data = live(ReportingOptions::Either(code, action)).unwrap();
                let found = listed.iter().any(|(c, a, ..)| (*c, *a) == (code, action));
                assert_eq!(data[1] == 3, found, "{code:02x}/{action:02x}");
                if found {
                    assert_eq!(data[4], code);
                }
            }
        }
    }

    #[test]
    fn task_management_functions() {
        let ours = Tmfs {
            abort_task: true,
            abort_task_set: true,
            clear_task_set: true,
            logical_unit_reset: true,
            query_task: true,
            query_task_set: true,
            i_t_nexus_reset: true,
            timeout: 300,
            ..Tmfs::default()
        };
        assert_eq!(full(|out| tmfs(&ours, false, out)), [0xdc, 0x03, 0, 0]);
        assert_eq!(
            full(|out| tmfs(&ours, true, out)),
            [0xdc, 0x03, 0, 0x0c, 1, 0, 0, 0, 0, 0, 1, 0x2c, 0, 0, 1, 0x2c]
        );
        let others = Tmfs {
            clear_aca: true,
            target_reset: true,
            query_async_event: true,
            ..Tmfs::default()
        };
        assert_eq!(full(|out| tmfs(&others, false, out)), [0x22, 0x04, 0, 0]);
        assert_eq!(full(|out| tmfs(&others, true, out))[4..], [0; 12]);
    }
}
