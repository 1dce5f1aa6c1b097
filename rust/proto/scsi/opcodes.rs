// SPDX-License-Identifier: GPL-2.0

//! The table of commands.
//!
//! One row per operation code and service action. It drives both
//! [`Command::parse`] and REPORT SUPPORTED OPERATION CODES, so what is parsed
//! and what is reported cannot differ.

use super::command::Command;
use super::decode;
use super::device::DeviceInfo;
use super::device::Feature;
use super::sense::Sense;

/// The groups of commands that are carried out. A command goes live by adding
/// its group here: until then it is an unknown one, to initiators as well.
pub const ENABLED: Groups = Groups::of(&[
    Group::Core,
    Group::Verify,
    Group::CompareAndWrite,
    Group::PersistentReserve,
    Group::OrWrite,
    Group::PreFetch,
    Group::LbaStatus,
    Group::WriteAtomic,
    Group::ThirdPartyCopy,
    Group::Token,
    Group::LogSense,
    Group::DefectData,
    Group::Identifying,
    Group::TargetPortGroups,
]);

/// Which commands come into use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Group {
    /// What a disk cannot do without.
    Core,
    /// VERIFY and WRITE AND VERIFY.
    Verify,
    /// COMPARE AND WRITE.
    CompareAndWrite,
    /// PERSISTENT RESERVE IN and OUT.
    PersistentReserve,
    /// PRE-FETCH.
    PreFetch,
    /// ORWRITE.
    OrWrite,
    /// GET LBA STATUS and REPORT REFERRALS.
    LbaStatus,
    /// WRITE ATOMIC.
    WriteAtomic,
    /// LOG SENSE.
    LogSense,
    /// READ DEFECT DATA.
    DefectData,
    /// REPORT IDENTIFYING INFORMATION.
    Identifying,
    /// PREVENT ALLOW MEDIUM REMOVAL.
    MediumRemoval,
    /// REPORT and SET TARGET PORT GROUPS.
    TargetPortGroups,
    /// EXTENDED COPY and RECEIVE COPY RESULTS.
    ThirdPartyCopy,
    /// POPULATE TOKEN and WRITE USING TOKEN.
    Token,
}

/// A set of [`Group`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups(u32);

impl Groups {
    /// Every group that has a parser.
    pub const ALL: Groups = Groups(u32::MAX);

    /// The set of those named.
    pub const fn of(groups: &[Group]) -> Groups {
        let mut bits = 0;
        let mut rest = groups;
        while let [group, tail @ ..] = rest {
            bits |= Groups::bit(*group);
            rest = tail;
        }
        Groups(bits)
    }

    /// Whether a group is in the set.
    pub const fn contains(self, group: Group) -> bool {
        self.0 & Groups::bit(group) != 0
    }

    const fn bit(group: Group) -> u32 {
        match 1u32.checked_shl(group as u32) {
            Some(bit) => bit,
            None => 0,
        }
    }
}

/// What is known of one command.
#[derive(Debug)]
pub struct Row {
    /// OPERATION CODE.
    pub opcode: u8,
    /// SERVICE ACTION, where the operation code has them.
    pub service_action: Option<u16>,
    /// The CDB USAGE DATA: ones where a bit is evaluated, with the operation
    /// code and the service action in their places. As long as the CDB.
    pub usage: &'static [u8],
    /// Seconds after which an initiator may give the command up, for the
    /// command timeouts descriptor.
    pub timeout: u32,
    /// The name in the standards.
    pub name: &'static str,
    /// What the logical unit must be able to do for the command to exist.
    pub needs: Option<Feature>,
    /// The groups of which one must be enabled.
    pub group: Group,
    /// Bits of [`usage`](Self::usage) that count only with a feature: byte,
    /// mask, feature.
    pub(crate) optional: &'static [(u8, u8, Feature)],
    /// Fields that the standard defines and that are supported as zero only:
    /// byte, mask. CONTROL's NACA is not listed, it is refused everywhere.
    pub(crate) refused: &'static [(u8, u8)],
    /// The same and NACA, as one number: the CDB's first 16 bytes, first byte
    /// highest.
    refused_mask: u128,
    /// The CDB, already known to be long enough, to the command.
    decode: fn(&[u8; 16]) -> Result<Command, Sense>,
}

impl Row {
    const fn new(
        group: Group,
        name: &'static str,
        service_action: Option<u16>,
        timeout: u32,
        decode: fn(&[u8; 16]) -> Result<Command, Sense>,
        usage: &'static [u8],
    ) -> Row {
        let opcode = match usage {
            [opcode, ..] => *opcode,
            [] => 0,
        };
        Row {
            opcode,
            service_action,
            usage,
            timeout,
            name,
            needs: None,
            group,
            optional: &[],
            refused: &[],
            refused_mask: mask(usage.len(), &[]),
            decode,
        }
    }

    const fn needs(mut self, feature: Feature) -> Row {
        self.needs = Some(feature);
        self
    }

    const fn optional(mut self, optional: &'static [(u8, u8, Feature)]) -> Row {
        self.optional = optional;
        self
    }

    const fn refused(mut self, refused: &'static [(u8, u8)]) -> Row {
        self.refused = refused;
        self.refused_mask = mask(self.usage.len(), refused);
        self
    }

    /// What the table is sorted by.
    const fn order(&self) -> u32 {
        let action = match self.service_action {
            Some(action) => action as u32,
            None => 0,
        };
        ((self.opcode as u32) << 16) | action
    }

    /// Bytes in the CDB.
    pub const fn cdb_len(&self) -> usize {
        self.usage.len()
    }

    /// Whether the command exists on a logical unit.
    pub fn is_on(&self, info: &DeviceInfo<'_>) -> bool {
        self.needs.is_none_or(|feature| info.has(feature))
    }

    /// The CDB USAGE DATA byte as it is on a logical unit; 0 past the end.
    pub(crate) fn usage_byte(&self, byte: usize, info: &DeviceInfo<'_>) -> u8 {
        let mut usage = self.usage.get(byte).copied().unwrap_or(0);
        for (at, mask, feature) in self.optional {
            if usize::from(*at) == byte && !info.has(*feature) {
                usage &= !mask;
            }
        }
        usage
    }

    /// Reads a CDB that has this row's operation code and service action.
    pub(crate) fn parse(&self, cdb: &[u8]) -> Result<Command, Sense> {
        let cdb = cdb
            .get(..self.cdb_len())
            .ok_or(Sense::INVALID_FIELD_IN_CDB)?;
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(cdb) {
            *to = *from;
        }
        if u128::from_be_bytes(bytes) & self.refused_mask != 0 {
            return Err(self.refuse(cdb));
        }
        (self.decode)(&bytes)
    }

    /// Names the first field of a CDB that should have been zero.
    #[cold]
    fn refuse(&self, cdb: &[u8]) -> Sense {
        let last = u8::try_from(cdb.len().saturating_sub(1)).unwrap_or(0);
        self.refused
            .iter()
            .chain(&[(last, NACA)])
            .find(|(byte, mask)| {
                cdb.get(usize::from(*byte))
                    .is_some_and(|value| value & mask != 0)
            })
            .map_or(Sense::INVALID_FIELD_IN_CDB, |(byte, mask)| {
                let top = 7u32.saturating_sub(mask.leading_zeros());
                Sense::invalid_cdb(u16::from(*byte), u8::try_from(top).ok())
            })
    }
}

/// The row of a CDB.
///
/// Fails with INVALID COMMAND OPERATION CODE, or, when only its service action
/// is unknown, with INVALID FIELD IN CDB.
pub(crate) fn find(cdb: &[u8], groups: Groups) -> Result<&'static Row, Sense> {
    let opcode = *cdb.first().ok_or(Sense::INVALID_COMMAND_OPERATION_CODE)?;
    let mut known = false;
    for row in rows(opcode).filter(|row| groups.contains(row.group)) {
        match row.service_action {
            None => return Ok(row),
            Some(action) => {
                known = true;
                let flags = cdb.get(1).copied().ok_or(Sense::INVALID_FIELD_IN_CDB)?;
                if u16::from(flags & SERVICE_ACTION) == action {
                    return Ok(row);
                }
            }
        }
    }
    Err(if known {
        Sense::invalid_cdb(1, Some(4))
    } else {
        Sense::INVALID_COMMAND_OPERATION_CODE
    })
}

/// All rows of an operation code, enabled or not.
pub(crate) fn rows(opcode: u8) -> impl Iterator<Item = &'static Row> {
    let first = usize::from(INDEX.get(usize::from(opcode)).copied().unwrap_or(u8::MAX));
    TABLE
        .get(first..)
        .unwrap_or(&[])
        .iter()
        .take_while(move |row| row.opcode == opcode)
}

/// SERVICE ACTION in the second byte of a CDB.
const SERVICE_ACTION: u8 = 0x1f;

/// NACA in the CONTROL byte: auto contingent allegiance is not supported, and
/// SAM-5 ("CONTROL byte") wants it refused then.
const NACA: u8 = 0x04;

/// The start of [`TABLE`]'s rows per operation code.
static INDEX: [u8; 256] = index();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs in the compiler only"
)]
const fn index() -> [u8; 256] {
    let mut index = [u8::MAX; 256];
    let mut i = TABLE.len();
    assert!(i < u8::MAX as usize);
    while i > 0 {
        i -= 1;
        index[TABLE[i].opcode as usize] = i as u8;
        assert!(i == 0 || TABLE[i - 1].order() < TABLE[i].order());
    }
    index
}

/// The fields to refuse and NACA as one number.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs in the compiler only"
)]
const fn mask(cdb_len: usize, refused: &[(u8, u8)]) -> u128 {
    let mut bytes = [0; 16];
    bytes[cdb_len - 1] = NACA;
    let mut i = 0;
    while i < refused.len() {
        bytes[refused[i].0 as usize] |= refused[i].1;
        i += 1;
    }
    u128::from_be_bytes(bytes)
}

/// Seconds for commands that do not touch the medium.
const SHORT: u32 = 10;
/// Seconds for commands that read or write as much as one transfer can.
const MEDIUM: u32 = 60;
/// Seconds for commands whose work is not bounded by a transfer.
const LONG: u32 = 300;

/// Bits that count only where DPO and FUA mean something.
const DPO_FUA: &[(u8, u8, Feature)] = &[(1, 0x18, Feature::DpoFua)];
/// The same of commands with DPO alone.
const DPO: &[(u8, u8, Feature)] = &[(1, 0x10, Feature::DpoFua)];
/// ANCHOR and UNMAP.
const WRITE_SAME_10: &[(u8, u8, Feature)] = &[
    (1, 0x10, Feature::Anchor),
    (1, 0x08, Feature::WriteSame10Unmap),
];
/// ANCHOR and UNMAP.
const WRITE_SAME_16: &[(u8, u8, Feature)] = &[
    (1, 0x10, Feature::Anchor),
    (1, 0x08, Feature::WriteSame16Unmap),
];
/// ANCHOR.
const UNMAP: &[(u8, u8, Feature)] = &[(1, 0x01, Feature::Anchor)];

/// RDPROTECT, WRPROTECT, VRPROTECT or ORPROTECT: no protection information.
const PROTECT: &[(u8, u8)] = &[(1, 0xe0)];
/// And the obsolete PBDATA and LBDATA, which would change what is written.
const NO_PATTERN: &[(u8, u8)] = &[(1, 0xe0), (1, 0x04), (1, 0x02)];
/// The obsolete CMDDT, which would change what is answered.
const CMDDT: &[(u8, u8)] = &[(1, 0x02)];
/// RTD: there are no default values to go back to. SP: nothing is saved.
const MODE_SELECT: &[(u8, u8)] = &[(1, 0x02), (1, 0x01)];
/// The obsolete PPC, which would change what is answered. SP: nothing is saved.
const LOG_SENSE: &[(u8, u8)] = &[(1, 0x02), (1, 0x01)];
/// Third-party and extent reservations (obsolete since SPC-3).
const RESERVE: &[(u8, u8)] = &[(1, 0x10), (1, 0x01)];
/// And LONGID.
const RESERVE_10: &[(u8, u8)] = &[(1, 0x10), (1, 0x02), (1, 0x01)];
/// POWER CONDITION: there are none. LOEJ: the medium stays.
const START_STOP: &[(u8, u8)] = &[(4, 0xf0), (4, 0x02)];
/// The obsolete persistent prevention.
const PREVENT: &[(u8, u8)] = &[(4, 0x02)];

/// Every command that has a parser, by operation code and service action.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    Row::new(Group::Core, "TEST UNIT READY", None, SHORT, decode::test_unit_ready,
        &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00]),
    Row::new(Group::Core, "REQUEST SENSE", None, SHORT, decode::request_sense,
        &[0x03, 0x01, 0x00, 0x00, 0xff, 0x00]),
    Row::new(Group::Core, "READ(6)", None, MEDIUM, decode::read6,
        &[0x08, 0x1f, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::Core, "WRITE(6)", None, MEDIUM, decode::write6,
        &[0x0a, 0x1f, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::Core, "INQUIRY", None, SHORT, decode::inquiry,
        &[0x12, 0x01, 0xff, 0xff, 0xff, 0x00])
        .refused(CMDDT),
    Row::new(Group::Core, "MODE SELECT(6)", None, SHORT, decode::mode_select6,
        &[0x15, 0x10, 0x00, 0x00, 0xff, 0x00])
        .refused(MODE_SELECT),
    Row::new(Group::Core, "RESERVE(6)", None, SHORT, decode::reserve,
        &[0x16, 0x00, 0x00, 0x00, 0x00, 0x00])
        .refused(RESERVE),
    Row::new(Group::Core, "RELEASE(6)", None, SHORT, decode::release,
        &[0x17, 0x00, 0x00, 0x00, 0x00, 0x00])
        .refused(RESERVE),
    Row::new(Group::Core, "MODE SENSE(6)", None, SHORT, decode::mode_sense6,
        &[0x1a, 0x08, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::Core, "START STOP UNIT", None, MEDIUM, decode::start_stop_unit,
        &[0x1b, 0x01, 0x00, 0x00, 0x05, 0x00])
        .refused(START_STOP),
    Row::new(Group::MediumRemoval, "PREVENT ALLOW MEDIUM REMOVAL", None, SHORT,
        decode::prevent_allow,
        &[0x1e, 0x00, 0x00, 0x00, 0x01, 0x00])
        .refused(PREVENT),
    Row::new(Group::Core, "READ CAPACITY(10)", None, SHORT, decode::read_capacity10,
        &[0x25, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]),
    Row::new(Group::Core, "READ(10)", None, MEDIUM, decode::read10,
        &[0x28, 0x18, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00])
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::Core, "WRITE(10)", None, MEDIUM, decode::write10,
        &[0x2a, 0x18, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00])
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::Verify, "WRITE AND VERIFY(10)", None, MEDIUM, decode::write_and_verify10,
        &[0x2e, 0x16, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00])
        .optional(DPO)
        .refused(PROTECT),
    Row::new(Group::Verify, "VERIFY(10)", None, LONG, decode::verify10,
        &[0x2f, 0x16, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00])
        .optional(DPO)
        .refused(PROTECT),
    Row::new(Group::PreFetch, "PRE-FETCH(10)", None, MEDIUM, decode::pre_fetch10,
        &[0x34, 0x02, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::Core, "SYNCHRONIZE CACHE(10)", None, LONG, decode::synchronize_cache10,
        &[0x35, 0x02, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::DefectData, "READ DEFECT DATA(10)", None, SHORT, decode::read_defect_data10,
        &[0x37, 0x00, 0x1f, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::Core, "WRITE SAME(10)", None, LONG, decode::write_same10,
        &[0x41, 0x18, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00])
        .optional(WRITE_SAME_10)
        .refused(NO_PATTERN),
    Row::new(Group::Core, "UNMAP", None, LONG, decode::unmap,
        &[0x42, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00])
        .needs(Feature::Unmap)
        .optional(UNMAP),
    Row::new(Group::LogSense, "LOG SENSE", None, SHORT, decode::log_sense,
        &[0x4d, 0x00, 0xff, 0xff, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00])
        .refused(LOG_SENSE),
    Row::new(Group::Core, "MODE SELECT(10)", None, SHORT, decode::mode_select10,
        &[0x55, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00])
        .refused(MODE_SELECT),
    Row::new(Group::Core, "RESERVE(10)", None, SHORT, decode::reserve,
        &[0x56, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00])
        .refused(RESERVE_10),
    Row::new(Group::Core, "RELEASE(10)", None, SHORT, decode::release,
        &[0x57, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00])
        .refused(RESERVE_10),
    Row::new(Group::Core, "MODE SENSE(10)", None, SHORT, decode::mode_sense10,
        &[0x5a, 0x18, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE IN, READ KEYS", Some(0x00), SHORT,
        decode::persistent_reserve_in,
        &[0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE IN, READ RESERVATION", Some(0x01), SHORT,
        decode::persistent_reserve_in,
        &[0x5e, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE IN, REPORT CAPABILITIES", Some(0x02), SHORT,
        decode::persistent_reserve_in,
        &[0x5e, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE IN, READ FULL STATUS", Some(0x03), SHORT,
        decode::persistent_reserve_in,
        &[0x5e, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, REGISTER", Some(0x00), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, RESERVE", Some(0x01), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x01, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, RELEASE", Some(0x02), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x02, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, CLEAR", Some(0x03), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x03, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, PREEMPT", Some(0x04), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x04, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, PREEMPT AND ABORT", Some(0x05), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x05, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", Some(0x06), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x06, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::PersistentReserve, "PERSISTENT RESERVE OUT, REGISTER AND MOVE", Some(0x07), MEDIUM,
        decode::persistent_reserve_out,
        &[0x5f, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00]),
    Row::new(Group::ThirdPartyCopy, "EXTENDED COPY(LID1)", Some(0x00), LONG, decode::extended_copy,
        &[0x83, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::ThirdPartyCopy, "EXTENDED COPY(LID4)", Some(0x01), LONG, decode::extended_copy,
        &[0x83, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::Token, "POPULATE TOKEN", Some(0x10), MEDIUM, decode::populate_token,
        &[0x83, 0x10, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::Token, "WRITE USING TOKEN", Some(0x11), LONG, decode::write_using_token,
        &[0x83, 0x11, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::ThirdPartyCopy, "COPY OPERATION ABORT", Some(0x1c), SHORT,
        decode::copy_operation_abort,
        &[0x83, 0x1c, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::ThirdPartyCopy, "RECEIVE COPY STATUS(LID1)", Some(0x00), SHORT,
        decode::receive_copy_results,
        &[0x84, 0x00, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::ThirdPartyCopy, "RECEIVE COPY DATA(LID1)", Some(0x01), SHORT,
        decode::receive_copy_results,
        &[0x84, 0x01, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::ThirdPartyCopy, "RECEIVE COPY OPERATING PARAMETERS", Some(0x03), SHORT,
        decode::receive_copy_results,
        &[0x84, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::ThirdPartyCopy, "RECEIVE COPY FAILURE DETAILS(LID1)", Some(0x04), SHORT,
        decode::receive_copy_results,
        &[0x84, 0x04, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::ThirdPartyCopy, "RECEIVE COPY STATUS(LID4)", Some(0x05), SHORT,
        decode::receive_copy_results,
        &[0x84, 0x05, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::Token, "RECEIVE ROD TOKEN INFORMATION", Some(0x07), SHORT,
        decode::receive_copy_results,
        &[0x84, 0x07, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ThirdPartyCopy),
    Row::new(Group::Core, "READ(16)", None, MEDIUM, decode::read16,
        &[0x88, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::CompareAndWrite, "COMPARE AND WRITE", None, MEDIUM, decode::compare_and_write,
        &[0x89, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0x00, 0x00])
        .needs(Feature::CompareAndWrite)
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::Core, "WRITE(16)", None, MEDIUM, decode::write16,
        &[0x8a, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::OrWrite, "ORWRITE(16)", None, MEDIUM, decode::orwrite,
        &[0x8b, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::Verify, "WRITE AND VERIFY(16)", None, MEDIUM, decode::write_and_verify16,
        &[0x8e, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO)
        .refused(PROTECT),
    Row::new(Group::Verify, "VERIFY(16)", None, LONG, decode::verify16,
        &[0x8f, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO)
        .refused(PROTECT),
    Row::new(Group::PreFetch, "PRE-FETCH(16)", None, MEDIUM, decode::pre_fetch16,
        &[0x90, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
    Row::new(Group::Core, "SYNCHRONIZE CACHE(16)", None, LONG, decode::synchronize_cache16,
        &[0x91, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
    Row::new(Group::Core, "WRITE SAME(16)", None, LONG, decode::write_same16,
        &[0x93, 0x19, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(WRITE_SAME_16)
        .refused(NO_PATTERN),
    Row::new(Group::WriteAtomic, "WRITE ATOMIC(16)", None, MEDIUM, decode::write_atomic,
        &[0x9c, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::WriteAtomic)
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::Core, "READ CAPACITY(16)", Some(0x10), SHORT, decode::read_capacity16,
        &[0x9e, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
    Row::new(Group::LbaStatus, "GET LBA STATUS", Some(0x12), MEDIUM, decode::get_lba_status,
        &[0x9e, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
    Row::new(Group::LbaStatus, "REPORT REFERRALS", Some(0x13), MEDIUM, decode::report_referrals,
        &[0x9e, 0x13, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00])
        .needs(Feature::Referrals),
    Row::new(Group::Core, "REPORT LUNS", None, SHORT, decode::report_luns,
        &[0xa0, 0x00, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
    Row::new(Group::Identifying, "REPORT IDENTIFYING INFORMATION", Some(0x05), SHORT,
        decode::report_identifying_information,
        &[0xa3, 0x05, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x00]),
    Row::new(Group::TargetPortGroups, "REPORT TARGET PORT GROUPS", Some(0x0a), SHORT,
        decode::report_target_port_groups,
        &[0xa3, 0xea, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::TargetPortGroups),
    Row::new(Group::Core, "REPORT SUPPORTED OPERATION CODES", Some(0x0c), SHORT,
        decode::report_supported_opcodes,
        &[0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
    Row::new(Group::Core, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", Some(0x0d), SHORT,
        decode::report_supported_tmfs,
        &[0xa3, 0x0d, 0x80, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
    Row::new(Group::TargetPortGroups, "SET TARGET PORT GROUPS", Some(0x0a), LONG,
        decode::set_target_port_groups,
        &[0xa4, 0x0a, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .needs(Feature::ExplicitTargetPortGroups),
    Row::new(Group::Core, "READ(12)", None, MEDIUM, decode::read12,
        &[0xa8, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::Core, "WRITE(12)", None, MEDIUM, decode::write12,
        &[0xaa, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO_FUA)
        .refused(PROTECT),
    Row::new(Group::Verify, "WRITE AND VERIFY(12)", None, MEDIUM, decode::write_and_verify12,
        &[0xae, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO)
        .refused(PROTECT),
    Row::new(Group::Verify, "VERIFY(12)", None, LONG, decode::verify12,
        &[0xaf, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00])
        .optional(DPO)
        .refused(PROTECT),
    Row::new(Group::DefectData, "READ DEFECT DATA(12)", None, SHORT, decode::read_defect_data12,
        &[0xb7, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn names_are_unique_and_lengths_follow_the_group_code() {
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for row in TABLE {
            // SPC-4, "Operation code": the top three bits tell the length.
            let want = match row.opcode >> 5 {
                0 => 6,
                1 | 2 => 10,
                4 => 16,
                5 => 12,
                _ => unreachable!(),
            };
            assert_eq!(row.cdb_len(), want, "{}", row.name);
            assert_eq!(row.usage[0], row.opcode);
            assert_ne!(row.timeout, 0);
            if let Some(action) = row.service_action {
                assert_eq!(u16::from(row.usage[1] & SERVICE_ACTION), action);
            }
        }
    }

    #[test]
    fn an_operation_code_has_service_actions_or_none() {
        for code in 0..=255 {
            let kinds: BTreeSet<_> = rows(code).map(|row| row.service_action.is_some()).collect();
            assert!(kinds.len() <= 1);
            let count = TABLE.iter().filter(|row| row.opcode == code).count();
            assert_eq!(rows(code).count(), count);
        }
    }

    /// A refused field is not an evaluated one, and an optional one is.
    #[test]
    fn usage_refused_and_optional_agree() {
        for row in TABLE {
            for (byte, mask) in row.refused {
                let usage = row.usage[usize::from(*byte)];
                let action = row.service_action.map_or(0, |_| SERVICE_ACTION);
                assert_eq!(usage & mask & !action, 0, "{}", row.name);
                // One field: contiguous bits.
                let low = mask.trailing_zeros();
                assert_eq!((u32::from(*mask) >> low).trailing_ones(), mask.count_ones());
            }
            for (byte, mask, _) in row.optional {
                let usage = row.usage[usize::from(*byte)];
                assert_eq!(usage & mask, *mask, "{}", row.name);
            }
            // CONTROL.
            assert_eq!(*row.usage.last().unwrap(), 0);
        }
    }

    /// A CDB of zeros but for what selects the row.
    fn bare(row: &Row) -> Vec<u8> {
        let mut cdb = std::vec![0; row.cdb_len()];
        cdb[0] = row.opcode;
        cdb[1] = row
            .service_action
            .map_or(0, |action| u8::try_from(action).unwrap());
        cdb
    }

    #[test]
    fn every_row_parses_and_every_prefix_fails() {
        for row in TABLE {
            let cdb = bare(row);
            let found = find(&cdb, Groups::ALL).unwrap();
            assert_eq!(found.name, row.name);
            assert!(row.parse(&cdb).is_ok(), "{}", row.name);
            for len in 1..cdb.len() {
                assert_eq!(
                    Command::parse_in(&cdb[..len], Groups::ALL),
                    Err(Sense::INVALID_FIELD_IN_CDB),
                    "{} cut to {len}",
                    row.name
                );
            }
            // iSCSI pads to 16 bytes; what stands there is not the CDB's.
            let mut padded = cdb.clone();
            padded.resize(20, 0xff);
            assert_eq!(row.parse(&padded), row.parse(&cdb));
        }
        assert_eq!(
            Command::parse_in(&[], Groups::ALL),
            Err(Sense::INVALID_COMMAND_OPERATION_CODE)
        );
    }

    #[test]
    fn disabled_groups_do_not_exist() {
        for row in TABLE {
            let got = Command::parse_in(&bare(row), Groups::of(&[]));
            assert_eq!(got, Err(Sense::INVALID_COMMAND_OPERATION_CODE));
            let got = Command::parse_in(&bare(row), Groups::of(&[row.group]));
            assert!(got.is_ok());
        }
        assert!(ENABLED.contains(Group::Core));
    }

    #[test]
    fn unknown_service_actions_are_a_field_at_fault() {
        for cdb in [[0x9e, 0x11], [0xa3, 0x1f], [0xa3, 0x00]] {
            let mut long = [0; 16];
            long[..2].copy_from_slice(&cdb);
            assert_eq!(Command::parse(&long), Err(Sense::invalid_cdb(1, Some(4))));
        }
        // PERSISTENT RESERVE IN, all of it enabled.
        for action in 4..32 {
            let cdb = [0x5e, action, 0, 0, 0, 0, 0, 0, 8, 0];
            assert_eq!(
                Command::parse_in(&cdb, Groups::ALL),
                Err(Sense::invalid_cdb(1, Some(4)))
            );
        }
    }

    #[test]
    fn every_refused_bit_is_refused_by_its_field() {
        for row in TABLE {
            let last = u8::try_from(row.cdb_len() - 1).unwrap();
            for (byte, mask) in row.refused.iter().chain(&[(last, 0x04)]) {
                for bit in (0..8).filter(|bit| mask & (1 << bit) != 0) {
                    let mut cdb = bare(row);
                    cdb[usize::from(*byte)] |= 1 << bit;
                    let top = 7 - u8::try_from(mask.leading_zeros()).unwrap();
                    assert_eq!(
                        row.parse(&cdb),
                        Err(Sense::invalid_cdb(u16::from(*byte), Some(top))),
                        "{} byte {byte} bit {bit}",
                        row.name
                    );
                }
            }
        }
    }

    /// Bits that the usage data has as zero do not change the command.
    #[test]
    fn other_bits_are_ignored() {
        for row in TABLE {
            let bare = bare(row);
            let want = row.parse(&bare);
            for at in 1..row.cdb_len() {
                for bit in 0..8 {
                    let mask = 1u8 << bit;
                    let action = row.service_action.is_some() && at == 1;
                    let selected = if action { SERVICE_ACTION } else { 0 };
                    if (row.usage[at] | selected) & mask != 0 {
                        continue;
                    }
                    let mut cdb = bare.clone();
                    cdb[at] |= mask;
                    if cdb[at] & row_refuses(row, at) == 0 {
                        assert_eq!(row.parse(&cdb), want, "{} byte {at} bit {bit}", row.name);
                    }
                }
            }
        }
    }

    /// And each bit that it has as one does, or is refused by the parser.
    #[test]
    fn usage_bits_are_evaluated() {
        for row in TABLE {
            let bare = bare(row);
            let want = row.parse(&bare);
            for at in 1..row.cdb_len() {
                for bit in 0..8 {
                    let mask = 1u8 << bit;
                    let action = row.service_action.is_some() && at == 1;
                    let selected = if action { SERVICE_ACTION } else { 0 };
                    if row.usage[at] & !selected & mask == 0 {
                        continue;
                    }
                    let mut cdb = bare.clone();
                    cdb[at] |= mask;
                    // Fields that mean something only beside others.
                    let dependent = matches!(
                        (row.opcode, row.service_action, at),
                        (0xa3, Some(0x0c), 3..=5) | (0x15 | 0x55, None, 1)
                    );
                    if !dependent {
                        assert_ne!(row.parse(&cdb), want, "{} byte {at} bit {bit}", row.name);
                    }
                }
            }
        }
    }

    fn row_refuses(row: &Row, at: usize) -> u8 {
        let naca = if at + 1 == row.cdb_len() { 0x04 } else { 0 };
        row.refused
            .iter()
            .filter(|(byte, _)| usize::from(*byte) == at)
            .fold(naca, |all, (_, mask)| all | mask)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_cdb(cdb in prop::collection::vec(any::<u8>(), 0..20)) {
            let all = Command::parse_in(&cdb, Groups::ALL);
            let live = Command::parse(&cdb);
            if let Ok(command) = live {
                prop_assert_eq!(all, Ok(command));
            }
            for error in [all, live].into_iter().filter_map(Result::err) {
                prop_assert_eq!(error.key, crate::proto::scsi::SenseKey::IllegalRequest);
                if let Some(field) = error.field {
                    prop_assert!(field.cdb);
                    prop_assert!(usize::from(field.byte) < cdb.len());
                }
            }
        }

        /// Nothing that a CDB says makes a question about it fail.
        #[test]
        fn any_command_can_be_asked(
            at: prop::sample::Index,
            tail: [u8; 16],
            block_size: u32,
            blocks: u64,
            limits: [u32; 4],
            able: bool,
        ) {
            let row = &TABLE[at.index(TABLE.len())];
            let mut cdb = tail;
            cdb[0] = row.opcode;
            if let Some(action) = row.service_action {
                cdb[1] = (cdb[1] & !SERVICE_ACTION) | u8::try_from(action).unwrap();
            }
            let mut info = DeviceInfo::new(b"s", block_size, blocks);
            info.max_transfer = limits[0];
            info.max_write_same = u64::from(limits[1]);
            info.atomic.max_len = limits[2];
            info.atomic.alignment = limits[3];
            info.atomic.granularity = limits[3];
            info.thin.unmap = able;
            info.thin.write_same16 = able;
            info.thin.anchor = able;
            info.tpgs = if able { 3 } else { 0 };
            if let Ok(command) = Command::parse_in(&cdb, Groups::ALL) {
                let _ = (command.data_direction(), command.transfer_len(block_size));
                let ok = command.check(&info).is_ok();
                let (lba, count) = command.write_same_extent(&info).unwrap_or((0, 0));
                if ok {
                    prop_assert!(u128::from(lba) + u128::from(count) <= u128::from(blocks));
                }
            }
        }
    }
}
