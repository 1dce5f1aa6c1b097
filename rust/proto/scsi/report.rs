// SPDX-License-Identifier: GPL-2.0

//! Data of the REPORT commands.

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
