// SPDX-License-Identifier: GPL-2.0

//! Commands: what a CDB asks for.

use super::device::DeviceInfo;
use super::device::Feature;
use super::opcodes;
use super::opcodes::Groups;
use super::range::check_range;
use super::sense::Sense;

/// A command, read from its CDB once.
///
/// Lengths called `alloc` are ALLOCATION LENGTH in bytes, `list_len` is
/// PARAMETER LIST LENGTH in bytes, `blocks` counts logical blocks. A reserved
/// bit that the standard lets a device server ignore is ignored; a field that
/// it defines and that is not supported has been refused by
/// [`parse`](Self::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY.
    TestUnitReady,
    /// REQUEST SENSE.
    RequestSense {
        /// Wants descriptor format.
        desc: bool,
        /// Most bytes to return.
        alloc: u8,
    },
    /// INQUIRY.
    Inquiry {
        /// The vital product data page; None is standard INQUIRY data.
        evpd: Option<u8>,
        /// Most bytes to return.
        alloc: u16,
    },
    /// READ CAPACITY(10).
    ReadCapacity10,
    /// READ CAPACITY(16).
    ReadCapacity16 {
        /// Most bytes to return.
        alloc: u32,
    },
    /// READ(6), (10), (12) or (16).
    Read {
        /// The first block.
        lba: u64,
        /// How many; 0 is none.
        blocks: u32,
        /// The data had better not be cached.
        dpo: bool,
        /// The data must come from the medium.
        fua: bool,
    },
    /// WRITE(6), (10), (12) or (16).
    Write {
        /// The first block.
        lba: u64,
        /// How many; 0 is none.
        blocks: u32,
        /// The data had better not be cached.
        dpo: bool,
        /// The data must be on the medium before the command ends.
        fua: bool,
    },
    /// WRITE AND VERIFY(10), (12) or (16). The data must be on the medium
    /// before it is verified.
    WriteAndVerify {
        /// The first block.
        lba: u64,
        /// How many; 0 is none.
        blocks: u32,
        /// The data had better not be cached.
        dpo: bool,
        /// Compares with the data-out, beyond reading the medium.
        compare: bool,
    },
    /// VERIFY(10), (12) or (16).
    Verify {
        /// The first block.
        lba: u64,
        /// How many; 0 is none.
        blocks: u32,
        /// The data had better not be cached.
        dpo: bool,
        /// What to compare with.
        compare: Compare,
    },
    /// COMPARE AND WRITE: the data-out is as many blocks to compare with,
    /// then as many to write.
    CompareAndWrite {
        /// The first block.
        lba: u64,
        /// How many; 0 is none.
        blocks: u8,
        /// The data had better not be cached.
        dpo: bool,
        /// The data must be on the medium before the command ends.
        fua: bool,
    },
    /// ORWRITE(16).
    OrWrite {
        /// The first block.
        lba: u64,
        /// How many; 0 is none.
        blocks: u32,
        /// The data had better not be cached.
        dpo: bool,
        /// The data must be on the medium before the command ends.
        fua: bool,
    },
    /// WRITE ATOMIC(16).
    WriteAtomic {
        /// The first block.
        lba: u64,
        /// How many; 0 is none.
        blocks: u16,
        /// ATOMIC BOUNDARY in blocks; 0 makes all of the command atomic.
        boundary: u16,
        /// The data had better not be cached.
        dpo: bool,
        /// The data must be on the medium before the command ends.
        fua: bool,
    },
    /// WRITE SAME(10) or (16).
    WriteSame {
        /// The first block.
        lba: u64,
        /// How many; 0 is all to the end, see
        /// [`write_same_extent`](Self::write_same_extent).
        blocks: u32,
        /// The blocks may be unmapped.
        unmap: bool,
        /// The unmapped blocks stay anchored.
        anchor: bool,
        /// There is no data-out: the block is all zeros.
        ndob: bool,
        /// WRITE SAME(10): unmapping is LBPWS10, not LBPWS.
        ten: bool,
    },
    /// SYNCHRONIZE CACHE(10) or (16).
    SynchronizeCache {
        /// The first block.
        lba: u64,
        /// How many; 0 is all to the end.
        blocks: u32,
        /// The command may end before the work is done.
        immed: bool,
    },
    /// PRE-FETCH(10) or (16).
    PreFetch {
        /// The first block.
        lba: u64,
        /// How many; 0 is all to the end.
        blocks: u32,
        /// The command may end before the work is done.
        immed: bool,
    },
    /// UNMAP.
    Unmap {
        /// The unmapped blocks stay anchored.
        anchor: bool,
        /// Bytes of parameter list; 0 unmaps nothing.
        list_len: u16,
    },
    /// GET LBA STATUS.
    GetLbaStatus {
        /// The first block.
        lba: u64,
        /// Most bytes to return.
        alloc: u32,
    },
    /// MODE SENSE(6) or (10).
    ModeSense(ModeSense),
    /// MODE SELECT(6) or (10), in page format, not to be saved.
    ModeSelect {
        /// The 6-byte command: 4 bytes of header.
        six: bool,
        /// Bytes of parameter list; 0 changes nothing.
        list_len: u16,
    },
    /// REPORT LUNS.
    ReportLuns {
        /// Which logical units.
        select: SelectReport,
        /// Most bytes to return.
        alloc: u32,
    },
    /// REPORT SUPPORTED OPERATION CODES.
    ReportSupportedOpcodes {
        /// With command timeouts descriptors.
        rctd: bool,
        /// Which commands.
        options: ReportingOptions,
        /// Most bytes to return.
        alloc: u32,
    },
    /// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
    ReportSupportedTmfs {
        /// With the extended parameter data (REPD).
        extended: bool,
        /// Most bytes to return.
        alloc: u32,
    },
    /// REPORT TARGET PORT GROUPS.
    ReportTargetPortGroups {
        /// With the extended header.
        extended: bool,
        /// Most bytes to return.
        alloc: u32,
    },
    /// SET TARGET PORT GROUPS.
    SetTargetPortGroups {
        /// Bytes of parameter list; 0 changes nothing.
        list_len: u32,
    },
    /// START STOP UNIT.
    StartStopUnit {
        /// The command may end before the work is done.
        immed: bool,
        /// POWER CONDITION, 0 to Fh; 0 is START_VALID.
        power_condition: u8,
        /// POWER CONDITION MODIFIER, 0 to Fh.
        modifier: u8,
        /// The cache need not be written before stopping.
        no_flush: bool,
        /// Loads or ejects the medium.
        loej: bool,
        /// Start, against stop.
        start: bool,
    },
    /// PREVENT ALLOW MEDIUM REMOVAL.
    PreventAllowMediumRemoval {
        /// Prevent, against allow.
        prevent: bool,
    },
    /// RESERVE(6) or (10), of the whole logical unit for this I_T nexus.
    Reserve,
    /// RELEASE(6) or (10), of the whole logical unit.
    Release,
    /// PERSISTENT RESERVE IN.
    PersistentReserveIn {
        /// What to report.
        action: PrIn,
        /// Most bytes to return.
        alloc: u16,
    },
    /// PERSISTENT RESERVE OUT.
    PersistentReserveOut {
        /// What to do.
        action: PrOut,
        /// SCOPE, 0 to Fh; only 0, the logical unit, exists. 0 for actions
        /// that have none.
        scope: u8,
        /// TYPE, 0 to Fh; 0 for actions that have none.
        kind: u8,
        /// Bytes of parameter list.
        list_len: u32,
    },
}

/// The fields of MODE SENSE(6) and (10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeSense {
    /// The 6-byte command: 4 bytes of header, not 8.
    pub six: bool,
    /// No block descriptor.
    pub dbd: bool,
    /// A long block descriptor may be returned.
    pub llbaa: bool,
    /// Which values.
    pub pc: PageControl,
    /// PAGE CODE, 0 to 3Fh.
    pub page: u8,
    /// SUBPAGE CODE.
    pub subpage: u8,
    /// Most bytes to return.
    pub alloc: u16,
}

/// BYTCHK of VERIFY (SBC-3, "VERIFY (10) command").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// 00b: the medium is read, nothing is compared, no data-out.
    Nothing,
    /// 01b: every block with its own in the data-out.
    Blocks,
    /// 11b: every block with the one block of data-out.
    OneBlock,
}

/// PC of MODE SENSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageControl {
    /// The values in use.
    Current = 0b00,
    /// A mask of the bits that MODE SELECT may change.
    Changeable = 0b01,
    /// The values after a power cycle.
    Default = 0b10,
    /// The saved values.
    Saved = 0b11,
}

/// SELECT REPORT of REPORT LUNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectReport {
    /// 00h: those of peripheral, flat space and logical unit addressing.
    Addressable,
    /// 01h: the well known ones.
    WellKnown,
    /// 02h: both.
    All,
}

/// REPORTING OPTIONS of REPORT SUPPORTED OPERATION CODES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportingOptions {
    /// 000b: all commands.
    All,
    /// 001b: an operation code that has no service actions.
    Opcode(u8),
    /// 010b: an operation code and a service action.
    ServiceAction(u8, u16),
    /// 011b: either; the service action is 0 for codes that have none.
    Either(u8, u16),
}

/// Service actions of PERSISTENT RESERVE IN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrIn {
    /// 00h.
    ReadKeys,
    /// 01h.
    ReadReservation,
    /// 02h.
    ReportCapabilities,
    /// 03h.
    ReadFullStatus,
}

/// Service actions of PERSISTENT RESERVE OUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrOut {
    /// 00h.
    Register,
    /// 01h.
    Reserve,
    /// 02h.
    Release,
    /// 03h.
    Clear,
    /// 04h.
    Preempt,
    /// 05h.
    PreemptAndAbort,
    /// 06h.
    RegisterAndIgnoreExistingKey,
    /// 07h.
    RegisterAndMove,
}

/// Where the data of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDirection {
    /// No data.
    None,
    /// To the initiator.
    In,
    /// From the initiator.
    Out,
}

/// What the reservation of another I_T nexus does to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// RESERVE(6) or (10) (SPC-2, "Reservations").
    Spc2,
    /// A persistent reservation under which others may read (SPC-4, Write
    /// Exclusive and its Registrants Only and All Registrants forms).
    WriteExclusive,
    /// A persistent reservation under which others may not (SPC-4, Exclusive
    /// Access and its Registrants Only and All Registrants forms).
    ExclusiveAccess,
}

impl Command {
    /// Reads a CDB of which enough bytes are there; more are ignored, as the
    /// iSCSI CDB field always has 16.
    ///
    /// # Errors
    /// ILLEGAL REQUEST: an operation code that is not known or not enabled; a
    /// service action that is not; a CDB shorter than its operation code says;
    /// a field with a reserved value; a field asking for what is not supported
    /// (protection information, NACA, saved pages, third-party reservations).
    pub fn parse(cdb: &[u8]) -> Result<Command, Sense> {
        Self::parse_in(cdb, opcodes::ENABLED)
    }

    /// Reads a CDB with other groups of commands enabled.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_in(cdb: &[u8], groups: Groups) -> Result<Command, Sense> {
        opcodes::find(cdb, groups)?.parse(cdb)
    }

    /// Where the data goes. A command that moves no bytes this time still has
    /// the direction of its kind.
    pub fn data_direction(&self) -> DataDirection {
        match self {
            Command::RequestSense { .. }
            | Command::Inquiry { .. }
            | Command::ReadCapacity10
            | Command::ReadCapacity16 { .. }
            | Command::Read { .. }
            | Command::GetLbaStatus { .. }
            | Command::ModeSense(_)
            | Command::ReportLuns { .. }
            | Command::ReportSupportedOpcodes { .. }
            | Command::ReportSupportedTmfs { .. }
            | Command::ReportTargetPortGroups { .. }
            | Command::PersistentReserveIn { .. } => DataDirection::In,
            Command::Write { .. }
            | Command::WriteAndVerify { .. }
            | Command::CompareAndWrite { .. }
            | Command::OrWrite { .. }
            | Command::WriteAtomic { .. }
            | Command::Unmap { .. }
            | Command::ModeSelect { .. }
            | Command::SetTargetPortGroups { .. }
            | Command::PersistentReserveOut { .. } => DataDirection::Out,
            Command::WriteSame { ndob, .. } => match ndob {
                true => DataDirection::None,
                false => DataDirection::Out,
            },
            Command::Verify { compare, .. } => match compare {
                Compare::Nothing => DataDirection::None,
                Compare::Blocks | Compare::OneBlock => DataDirection::Out,
            },
            Command::TestUnitReady
            | Command::SynchronizeCache { .. }
            | Command::PreFetch { .. }
            | Command::StartStopUnit { .. }
            | Command::PreventAllowMediumRemoval { .. }
            | Command::Reserve
            | Command::Release => DataDirection::None,
        }
    }

    /// The bytes that the CDB asks to move: for a transfer the exact number,
    /// for an allocation length the most. `block_size` is in bytes.
    ///
    /// This and the expected data transfer length make the residual.
    pub fn transfer_len(&self, block_size: u32) -> u64 {
        let bytes = |blocks: u64| blocks.saturating_mul(u64::from(block_size));
        match *self {
            Command::RequestSense { alloc, .. } => u64::from(alloc),
            Command::Inquiry { alloc, .. }
            | Command::ModeSense(ModeSense { alloc, .. })
            | Command::PersistentReserveIn { alloc, .. } => u64::from(alloc),
            Command::ReadCapacity10 => 8,
            Command::ReadCapacity16 { alloc }
            | Command::GetLbaStatus { alloc, .. }
            | Command::ReportLuns { alloc, .. }
            | Command::ReportSupportedOpcodes { alloc, .. }
            | Command::ReportSupportedTmfs { alloc, .. }
            | Command::ReportTargetPortGroups { alloc, .. } => u64::from(alloc),
            Command::Read { blocks, .. }
            | Command::Write { blocks, .. }
            | Command::WriteAndVerify { blocks, .. }
            | Command::OrWrite { blocks, .. } => bytes(u64::from(blocks)),
            Command::WriteAtomic { blocks, .. } => bytes(u64::from(blocks)),
            Command::CompareAndWrite { blocks, .. } => bytes(u64::from(blocks).saturating_mul(2)),
            Command::Verify {
                blocks, compare, ..
            } => match compare {
                Compare::Nothing => 0,
                Compare::Blocks => bytes(u64::from(blocks)),
                // No block is compared with nothing.
                Compare::OneBlock => bytes(u64::from(blocks.min(1))),
            },
            Command::WriteSame { ndob, .. } => bytes(if ndob { 0 } else { 1 }),
            Command::Unmap { list_len, .. } | Command::ModeSelect { list_len, .. } => {
                u64::from(list_len)
            }
            Command::SetTargetPortGroups { list_len }
            | Command::PersistentReserveOut { list_len, .. } => u64::from(list_len),
            Command::TestUnitReady
            | Command::SynchronizeCache { .. }
            | Command::PreFetch { .. }
            | Command::StartStopUnit { .. }
            | Command::PreventAllowMediumRemoval { .. }
            | Command::Reserve
            | Command::Release => 0,
        }
    }

    /// The first block and the number of blocks that the CDB names, for the
    /// commands that name any. Zero blocks are zero here, also where the
    /// command means all to the end.
    pub fn extent(&self) -> Option<(u64, u64)> {
        match *self {
            Command::Read { lba, blocks, .. }
            | Command::Write { lba, blocks, .. }
            | Command::WriteAndVerify { lba, blocks, .. }
            | Command::Verify { lba, blocks, .. }
            | Command::OrWrite { lba, blocks, .. }
            | Command::WriteSame { lba, blocks, .. }
            | Command::SynchronizeCache { lba, blocks, .. }
            | Command::PreFetch { lba, blocks, .. } => Some((lba, u64::from(blocks))),
            Command::CompareAndWrite { lba, blocks, .. } => Some((lba, u64::from(blocks))),
            Command::WriteAtomic { lba, blocks, .. } => Some((lba, u64::from(blocks))),
            // The LBA itself must exist.
            Command::GetLbaStatus { lba, .. } => Some((lba, 1)),
            _ => None,
        }
    }

    /// Whether the command ends NOT READY when the logical unit is not ready.
    pub fn needs_medium(&self) -> bool {
        match self {
            Command::TestUnitReady
            | Command::ReadCapacity10
            | Command::ReadCapacity16 { .. }
            | Command::Unmap { .. } => true,
            _ => self.extent().is_some(),
        }
    }

    /// Whether the command may change what is on the medium: it ends WRITE
    /// PROTECTED where that is not allowed.
    pub fn is_write_medium(&self) -> bool {
        matches!(
            self,
            Command::Write { .. }
                | Command::WriteAndVerify { .. }
                | Command::CompareAndWrite { .. }
                | Command::OrWrite { .. }
                | Command::WriteAtomic { .. }
                | Command::WriteSame { .. }
                | Command::Unmap { .. }
        )
    }

    /// Whether the command is carried out, rather than answered with the
    /// condition, while a unit attention condition is pending (SAM-5, "Unit
    /// attention conditions"). REQUEST SENSE returns the condition as its data.
    pub fn allowed_while_ua(&self) -> bool {
        matches!(
            self,
            Command::Inquiry { .. } | Command::ReportLuns { .. } | Command::RequestSense { .. }
        )
    }

    /// Whether the command is carried out for a LUN that names no logical unit
    /// (SPC-4, "Incorrect logical unit selection"): INQUIRY returns
    /// [`inquiry::no_unit`](super::inquiry::no_unit), REQUEST SENSE returns
    /// LOGICAL UNIT NOT SUPPORTED as its data.
    pub fn allowed_without_unit(&self) -> bool {
        self.allowed_while_ua()
    }

    /// Whether the command is carried out for an I_T nexus that a reservation
    /// of another one keeps out (SPC-2 and SPC-4, the tables of commands that
    /// are allowed in the presence of reservations; SBC-3, the same for disks).
    ///
    /// Of RELEASE under [`Reservation::Spc2`] and of PERSISTENT RESERVE OUT
    /// this only says that the command itself decides.
    pub fn allowed_during_reservation(&self, reservation: Reservation) -> bool {
        let persistent = reservation != Reservation::Spc2;
        let may_read = reservation == Reservation::WriteExclusive;
        match self {
            Command::Inquiry { .. }
            | Command::ReportLuns { .. }
            | Command::RequestSense { .. }
            | Command::ReportSupportedOpcodes { .. }
            | Command::ReportSupportedTmfs { .. }
            | Command::ReportTargetPortGroups { .. }
            | Command::ReadCapacity10
            | Command::ReadCapacity16 { .. } => true,
            Command::PreventAllowMediumRemoval { prevent } => !prevent,
            Command::StartStopUnit {
                start,
                power_condition,
                ..
            } => *start && *power_condition == 0,
            Command::Release => !persistent,
            Command::TestUnitReady
            | Command::PersistentReserveIn { .. }
            | Command::PersistentReserveOut { .. } => persistent,
            Command::Read { .. }
            | Command::Verify { .. }
            | Command::PreFetch { .. }
            | Command::GetLbaStatus { .. } => may_read,
            Command::Reserve
            | Command::Write { .. }
            | Command::WriteAndVerify { .. }
            | Command::CompareAndWrite { .. }
            | Command::OrWrite { .. }
            | Command::WriteAtomic { .. }
            | Command::WriteSame { .. }
            | Command::SynchronizeCache { .. }
            | Command::Unmap { .. }
            | Command::ModeSense(_)
            | Command::ModeSelect { .. }
            | Command::SetTargetPortGroups { .. } => false,
        }
    }

    /// Checks the command against the logical unit: that it exists there, that
    /// what it asks for is supported, that its blocks exist, that no limit of
    /// the Block Limits page is passed, and that the medium may be written.
    ///
    /// Says nothing of the data-out: see [`unmap`](super::unmap) and
    /// [`mode::select`](super::mode::select).
    ///
    /// # Errors
    /// ILLEGAL REQUEST, or DATA PROTECT when it would write.
    pub fn check(&self, info: &DeviceInfo<'_>) -> Result<(), Sense> {
        self.check_features(info)?;
        if let Some((lba, blocks)) = self.extent() {
            check_range(lba, blocks, info.blocks)?;
        }
        self.check_limits(info)?;
        if self.is_write_medium() && info.is_write_protected() {
            return Err(Sense::WRITE_PROTECTED);
        }
        Ok(())
    }

    fn check_features(&self, info: &DeviceInfo<'_>) -> Result<(), Sense> {
        let exists = |feature| match info.has(feature) {
            true => Ok(()),
            false => Err(Sense::INVALID_COMMAND_OPERATION_CODE),
        };
        // Where the operation code is shared, the service action is at fault.
        let exists_action = |feature| match info.has(feature) {
            true => Ok(()),
            false => Err(Sense::invalid_cdb(1, Some(4))),
        };
        let flag = |asked: bool, feature, bit| {
            if asked && !info.has(feature) {
                Err(Sense::invalid_cdb(1, Some(bit)))
            } else {
                Ok(())
            }
        };
        match *self {
            Command::Unmap { anchor, .. } => {
                exists(Feature::Unmap)?;
                flag(anchor, Feature::Anchor, 0)
            }
            Command::Read { dpo, fua, .. }
            | Command::Write { dpo, fua, .. }
            | Command::OrWrite { dpo, fua, .. } => {
                flag(dpo, Feature::DpoFua, 4)?;
                flag(fua, Feature::DpoFua, 3)
            }
            Command::CompareAndWrite { dpo, fua, .. } => {
                exists(Feature::CompareAndWrite)?;
                flag(dpo, Feature::DpoFua, 4)?;
                flag(fua, Feature::DpoFua, 3)
            }
            Command::WriteAtomic { dpo, fua, .. } => {
                exists(Feature::WriteAtomic)?;
                flag(dpo, Feature::DpoFua, 4)?;
                flag(fua, Feature::DpoFua, 3)
            }
            Command::WriteAndVerify { dpo, .. } | Command::Verify { dpo, .. } => {
                flag(dpo, Feature::DpoFua, 4)
            }
            Command::WriteSame {
                unmap, anchor, ten, ..
            } => {
                let unmapping = match ten {
                    true => Feature::WriteSame10Unmap,
                    false => Feature::WriteSame16Unmap,
                };
                flag(unmap, unmapping, 3)?;
                flag(anchor, Feature::Anchor, 4)?;
                if anchor && !unmap {
                    return Err(Sense::invalid_cdb(1, Some(4)));
                }
                Ok(())
            }
            Command::GetLbaStatus { .. } => exists_action(Feature::LbaStatus),
            Command::ReportTargetPortGroups { .. } => exists_action(Feature::TargetPortGroups),
            Command::SetTargetPortGroups { .. } => exists(Feature::ExplicitTargetPortGroups),
            // No power conditions, and nothing to load or eject.
            Command::StartStopUnit {
                power_condition: 1..,
                ..
            } => Err(Sense::invalid_cdb(4, Some(7))),
            Command::StartStopUnit { loej: true, .. } => Err(Sense::invalid_cdb(4, Some(1))),
            Command::PreventAllowMediumRemoval { prevent: true } => {
                Err(Sense::invalid_cdb(4, Some(0)))
            }
            _ => Ok(()),
        }
    }

    fn check_limits(&self, info: &DeviceInfo<'_>) -> Result<(), Sense> {
        match *self {
            Command::Read { blocks, .. }
            | Command::Write { blocks, .. }
            | Command::WriteAndVerify { blocks, .. }
            | Command::Verify {
                blocks,
                compare: Compare::Blocks,
                ..
            }
            | Command::OrWrite { blocks, .. } => {
                if info.max_transfer != 0 && blocks > info.max_transfer {
                    return Err(Sense::INVALID_FIELD_IN_CDB);
                }
                Ok(())
            }
            Command::CompareAndWrite { blocks, .. } => {
                if blocks > info.max_compare_and_write {
                    return Err(Sense::invalid_cdb(13, None));
                }
                Ok(())
            }
            Command::WriteAtomic {
                lba,
                blocks,
                boundary,
                ..
            } => {
                let atomic = &info.atomic;
                let off = |value: u64, unit: u32| {
                    value
                        .checked_rem(u64::from(unit))
                        .is_some_and(|rest| rest != 0)
                };
                let max = match boundary {
                    0 => atomic.max_len,
                    _ => atomic.max_len_with_boundary,
                };
                if u32::from(boundary) > atomic.max_boundary {
                    return Err(Sense::invalid_cdb(10, None));
                }
                if u32::from(blocks) > max || off(u64::from(blocks), atomic.granularity) {
                    return Err(Sense::invalid_cdb(12, None));
                }
                if off(lba, atomic.alignment) {
                    return Err(Sense::invalid_cdb(2, None));
                }
                Ok(())
            }
            Command::WriteSame { .. } => self.write_same_extent(info).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The blocks that a WRITE SAME writes: the first and how many, zero in the
    /// CDB being all to the end. For other commands what their CDB says.
    ///
    /// # Errors
    /// ILLEGAL REQUEST: beyond the last block; zero where that is refused
    /// (WSNZ); more than MAXIMUM WRITE SAME LENGTH.
    pub fn write_same_extent(&self, info: &DeviceInfo<'_>) -> Result<(u64, u64), Sense> {
        let (lba, blocks) = self.extent().unwrap_or((0, 0));
        let Command::WriteSame { ten, .. } = *self else {
            return Ok((lba, blocks));
        };
        check_range(lba, blocks, info.blocks)?;
        let length = Sense::invalid_cdb(if ten { 7 } else { 10 }, None);
        let blocks = match blocks {
            0 if info.write_same_non_zero => return Err(length),
            0 => info.blocks.saturating_sub(lba),
            blocks => blocks,
        };
        if info.max_write_same != 0 && blocks > info.max_write_same {
            return Err(length);
        }
        Ok((lba, blocks))
    }
}

/// One function per CDB layout: bytes that belong to the row's operation code
/// in, the command out.
pub(crate) mod decode {
    use zerocopy::FromBytes;
    use zerocopy::Immutable;
    use zerocopy::KnownLayout;

    use super::super::cdb::Cdb10;
    use super::super::cdb::Cdb12;
    use super::super::cdb::Cdb16;
    use super::super::cdb::Cdb6;
    use super::Command;
    use super::Compare;
    use super::ModeSense;
    use super::PageControl;
    use super::PrIn;
    use super::PrOut;
    use super::ReportingOptions;
    use super::SelectReport;
    use super::Sense;

    type Parsed = Result<Command, Sense>;

    /// The CDB in its layout. Cannot fail: no layout is longer than 16 bytes.
    fn view<T: FromBytes + KnownLayout + Immutable>(cdb: &[u8; 16]) -> Result<T, Sense> {
        T::read_from_prefix(cdb)
            .map(|(cdb, _)| cdb)
            .map_err(|_| Sense::INVALID_FIELD_IN_CDB)
    }

    const DPO: u8 = 0x10;
    const FUA: u8 = 0x08;

    /// The blocks and flags that most commands share.
    struct Medium {
        lba: u64,
        blocks: u32,
        flags: u8,
        dpo: bool,
        fua: bool,
        immed: bool,
    }

    impl Medium {
        fn new(lba: u64, blocks: u32, flags: u8) -> Medium {
            Medium {
                lba,
                blocks,
                flags,
                dpo: flags & DPO != 0,
                fua: flags & FUA != 0,
                immed: flags & 0x02 != 0,
            }
        }

        /// READ(6) and WRITE(6): 21 bits of LBA, and 0 is 256 blocks.
        fn six(cdb: &[u8; 16]) -> Result<Medium, Sense> {
            let cdb: Cdb6 = view(cdb)?;
            let high = u64::from(cdb.flags & 0x1f) << 16;
            let blocks = match cdb.length {
                0 => 256,
                blocks => u32::from(blocks),
            };
            Ok(Medium::new(high | u64::from(cdb.lba.get()), blocks, 0))
        }

        fn ten(cdb: &[u8; 16]) -> Result<Medium, Sense> {
            let cdb: Cdb10 = view(cdb)?;
            Ok(Medium::new(
                u64::from(cdb.lba.get()),
                u32::from(cdb.length.get()),
                cdb.flags,
            ))
        }

        fn twelve(cdb: &[u8; 16]) -> Result<Medium, Sense> {
            let cdb: Cdb12 = view(cdb)?;
            Ok(Medium::new(
                u64::from(cdb.lba.get()),
                cdb.length.get(),
                cdb.flags,
            ))
        }

        fn sixteen(cdb: &[u8; 16]) -> Result<Medium, Sense> {
            let cdb: Cdb16 = view(cdb)?;
            Ok(Medium::new(cdb.lba.get(), cdb.length.get(), cdb.flags))
        }

        fn read(self) -> Command {
            Command::Read {
                lba: self.lba,
                blocks: self.blocks,
                dpo: self.dpo,
                fua: self.fua,
            }
        }

        fn write(self) -> Command {
            Command::Write {
                lba: self.lba,
                blocks: self.blocks,
                dpo: self.dpo,
                fua: self.fua,
            }
        }

        fn verify(self) -> Parsed {
            Ok(Command::Verify {
                lba: self.lba,
                blocks: self.blocks,
                dpo: self.dpo,
                compare: match self.flags & BYTCHK {
                    0b000 => Compare::Nothing,
                    0b010 => Compare::Blocks,
                    0b110 => Compare::OneBlock,
                    _ => return Err(BAD_BYTCHK),
                },
            })
        }

        fn write_and_verify(self) -> Parsed {
            Ok(Command::WriteAndVerify {
                lba: self.lba,
                blocks: self.blocks,
                dpo: self.dpo,
                compare: match self.flags & BYTCHK {
                    0b000 => false,
                    0b010 => true,
                    _ => return Err(BAD_BYTCHK),
                },
            })
        }

        fn pre_fetch(self) -> Command {
            Command::PreFetch {
                lba: self.lba,
                blocks: self.blocks,
                immed: self.immed,
            }
        }

        fn synchronize_cache(self) -> Command {
            Command::SynchronizeCache {
                lba: self.lba,
                blocks: self.blocks,
                immed: self.immed,
            }
        }

        fn write_same(self, ten: bool) -> Command {
            Command::WriteSame {
                lba: self.lba,
                blocks: self.blocks,
                unmap: self.flags & 0x08 != 0,
                anchor: self.flags & 0x10 != 0,
                ndob: !ten && self.flags & 0x01 != 0,
                ten,
            }
        }
    }

    const BYTCHK: u8 = 0b110;
    const BAD_BYTCHK: Sense = Sense::invalid_cdb(1, Some(2));

    pub(crate) fn read6(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::six(cdb)?.read())
    }

    pub(crate) fn write6(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::six(cdb)?.write())
    }

    pub(crate) fn read10(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::ten(cdb)?.read())
    }

    pub(crate) fn write10(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::ten(cdb)?.write())
    }

    pub(crate) fn read12(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::twelve(cdb)?.read())
    }

    pub(crate) fn write12(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::twelve(cdb)?.write())
    }

    pub(crate) fn read16(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::sixteen(cdb)?.read())
    }

    pub(crate) fn write16(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::sixteen(cdb)?.write())
    }

    pub(crate) fn verify10(cdb: &[u8; 16]) -> Parsed {
        Medium::ten(cdb)?.verify()
    }

    pub(crate) fn write_and_verify10(cdb: &[u8; 16]) -> Parsed {
        Medium::ten(cdb)?.write_and_verify()
    }

    pub(crate) fn verify12(cdb: &[u8; 16]) -> Parsed {
        Medium::twelve(cdb)?.verify()
    }

    pub(crate) fn write_and_verify12(cdb: &[u8; 16]) -> Parsed {
        Medium::twelve(cdb)?.write_and_verify()
    }

    pub(crate) fn verify16(cdb: &[u8; 16]) -> Parsed {
        Medium::sixteen(cdb)?.verify()
    }

    pub(crate) fn write_and_verify16(cdb: &[u8; 16]) -> Parsed {
        Medium::sixteen(cdb)?.write_and_verify()
    }

    pub(crate) fn pre_fetch10(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::ten(cdb)?.pre_fetch())
    }

    pub(crate) fn synchronize_cache10(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::ten(cdb)?.synchronize_cache())
    }

    pub(crate) fn write_same10(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::ten(cdb)?.write_same(true))
    }

    pub(crate) fn pre_fetch16(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::sixteen(cdb)?.pre_fetch())
    }

    pub(crate) fn synchronize_cache16(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::sixteen(cdb)?.synchronize_cache())
    }

    pub(crate) fn write_same16(cdb: &[u8; 16]) -> Parsed {
        Ok(Medium::sixteen(cdb)?.write_same(false))
    }

    pub(crate) fn orwrite(cdb: &[u8; 16]) -> Parsed {
        let m = Medium::sixteen(cdb)?;
        Ok(Command::OrWrite {
            lba: m.lba,
            blocks: m.blocks,
            dpo: m.dpo,
            fua: m.fua,
        })
    }

    pub(crate) fn compare_and_write(cdb: &[u8; 16]) -> Parsed {
        let m = Medium::sixteen(cdb)?;
        // Only byte 13 is NUMBER OF LOGICAL BLOCKS, 10 to 12 are reserved.
        let [_, _, _, blocks] = m.blocks.to_be_bytes();
        Ok(Command::CompareAndWrite {
            lba: m.lba,
            blocks,
            dpo: m.dpo,
            fua: m.fua,
        })
    }

    pub(crate) fn write_atomic(cdb: &[u8; 16]) -> Parsed {
        let m = Medium::sixteen(cdb)?;
        // ATOMIC BOUNDARY stands where other commands have the high half of
        // TRANSFER LENGTH.
        let [a, b, c, d] = m.blocks.to_be_bytes();
        Ok(Command::WriteAtomic {
            lba: m.lba,
            blocks: u16::from_be_bytes([c, d]),
            boundary: u16::from_be_bytes([a, b]),
            dpo: m.dpo,
            fua: m.fua,
        })
    }

    pub(crate) fn get_lba_status(cdb: &[u8; 16]) -> Parsed {
        let m = Medium::sixteen(cdb)?;
        Ok(Command::GetLbaStatus {
            lba: m.lba,
            alloc: m.blocks,
        })
    }

    pub(crate) fn unmap(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb10 = view(cdb)?;
        Ok(Command::Unmap {
            anchor: cdb.flags & 0x01 != 0,
            list_len: cdb.length.get(),
        })
    }

    pub(crate) fn test_unit_ready(_cdb: &[u8; 16]) -> Parsed {
        Ok(Command::TestUnitReady)
    }

    pub(crate) fn request_sense(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb6 = view(cdb)?;
        Ok(Command::RequestSense {
            desc: cdb.flags & 0x01 != 0,
            alloc: cdb.length,
        })
    }

    pub(crate) fn inquiry(cdb: &[u8; 16]) -> Parsed {
        let [_, flags, page, a, b, ..] = *cdb;
        let evpd = match (flags & 0x01, page) {
            (0, 0) => None,
            (0, _) => return Err(Sense::invalid_cdb(2, None)),
            _ => Some(page),
        };
        Ok(Command::Inquiry {
            evpd,
            alloc: u16::from_be_bytes([a, b]),
        })
    }

    pub(crate) fn read_capacity10(_cdb: &[u8; 16]) -> Parsed {
        Ok(Command::ReadCapacity10)
    }

    pub(crate) fn read_capacity16(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb16 = view(cdb)?;
        Ok(Command::ReadCapacity16 {
            alloc: cdb.length.get(),
        })
    }

    fn mode_sense(cdb: &[u8; 16], six: bool, alloc: u16) -> Command {
        let [_, flags, page, subpage, ..] = *cdb;
        Command::ModeSense(ModeSense {
            six,
            dbd: flags & 0x08 != 0,
            llbaa: !six && flags & 0x10 != 0,
            pc: match page >> 6 {
                0b00 => PageControl::Current,
                0b01 => PageControl::Changeable,
                0b10 => PageControl::Default,
                _ => PageControl::Saved,
            },
            page: page & 0x3f,
            subpage,
            alloc,
        })
    }

    pub(crate) fn mode_sense6(cdb: &[u8; 16]) -> Parsed {
        let layout: Cdb6 = view(cdb)?;
        Ok(mode_sense(cdb, true, u16::from(layout.length)))
    }

    pub(crate) fn mode_sense10(cdb: &[u8; 16]) -> Parsed {
        let layout: Cdb10 = view(cdb)?;
        Ok(mode_sense(cdb, false, layout.length.get()))
    }

    /// PF zero would make the list vendor specific, and no such format exists.
    fn mode_select(flags: u8, six: bool, list_len: u16) -> Parsed {
        if flags & 0x10 == 0 && list_len != 0 {
            return Err(Sense::invalid_cdb(1, Some(4)));
        }
        Ok(Command::ModeSelect { six, list_len })
    }

    pub(crate) fn mode_select6(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb6 = view(cdb)?;
        mode_select(cdb.flags, true, u16::from(cdb.length))
    }

    pub(crate) fn mode_select10(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb10 = view(cdb)?;
        mode_select(cdb.flags, false, cdb.length.get())
    }

    pub(crate) fn report_luns(cdb: &[u8; 16]) -> Parsed {
        let [_, _, select, ..] = *cdb;
        let cdb: Cdb12 = view(cdb)?;
        Ok(Command::ReportLuns {
            select: match select {
                0x00 => SelectReport::Addressable,
                0x01 => SelectReport::WellKnown,
                0x02 => SelectReport::All,
                _ => return Err(Sense::invalid_cdb(2, None)),
            },
            alloc: cdb.length.get(),
        })
    }

    pub(crate) fn report_supported_opcodes(cdb: &[u8; 16]) -> Parsed {
        let [_, _, flags, opcode, a, b, ..] = *cdb;
        let action = u16::from_be_bytes([a, b]);
        let cdb: Cdb12 = view(cdb)?;
        Ok(Command::ReportSupportedOpcodes {
            rctd: flags & 0x80 != 0,
            options: match flags & 0x07 {
                0b000 => ReportingOptions::All,
                0b001 => ReportingOptions::Opcode(opcode),
                0b010 => ReportingOptions::ServiceAction(opcode, action),
                0b011 => ReportingOptions::Either(opcode, action),
                _ => return Err(Sense::invalid_cdb(2, Some(2))),
            },
            alloc: cdb.length.get(),
        })
    }

    pub(crate) fn report_supported_tmfs(cdb: &[u8; 16]) -> Parsed {
        let [_, _, flags, ..] = *cdb;
        let cdb: Cdb12 = view(cdb)?;
        Ok(Command::ReportSupportedTmfs {
            extended: flags & 0x80 != 0,
            alloc: cdb.length.get(),
        })
    }

    pub(crate) fn report_target_port_groups(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb12 = view(cdb)?;
        Ok(Command::ReportTargetPortGroups {
            extended: match cdb.flags >> 5 {
                0b000 => false,
                0b001 => true,
                _ => return Err(Sense::invalid_cdb(1, Some(7))),
            },
            alloc: cdb.length.get(),
        })
    }

    pub(crate) fn set_target_port_groups(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb12 = view(cdb)?;
        Ok(Command::SetTargetPortGroups {
            list_len: cdb.length.get(),
        })
    }

    pub(crate) fn start_stop_unit(cdb: &[u8; 16]) -> Parsed {
        let [_, flags, _, modifier, power, ..] = *cdb;
        Ok(Command::StartStopUnit {
            immed: flags & 0x01 != 0,
            power_condition: power >> 4,
            modifier: modifier & 0x0f,
            no_flush: power & 0x04 != 0,
            loej: power & 0x02 != 0,
            start: power & 0x01 != 0,
        })
    }

    pub(crate) fn prevent_allow(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb6 = view(cdb)?;
        Ok(Command::PreventAllowMediumRemoval {
            prevent: cdb.length & 0x01 != 0,
        })
    }

    pub(crate) fn reserve(_cdb: &[u8; 16]) -> Parsed {
        Ok(Command::Reserve)
    }

    pub(crate) fn release(_cdb: &[u8; 16]) -> Parsed {
        Ok(Command::Release)
    }

    pub(crate) fn persistent_reserve_in(cdb: &[u8; 16]) -> Parsed {
        let cdb: Cdb10 = view(cdb)?;
        Ok(Command::PersistentReserveIn {
            action: match cdb.flags & 0x1f {
                0x00 => PrIn::ReadKeys,
                0x01 => PrIn::ReadReservation,
                0x02 => PrIn::ReportCapabilities,
                0x03 => PrIn::ReadFullStatus,
                _ => return Err(Sense::invalid_cdb(1, Some(4))),
            },
            alloc: cdb.length.get(),
        })
    }

    pub(crate) fn persistent_reserve_out(cdb: &[u8; 16]) -> Parsed {
        let [_, flags, scope_type, _, _, a, b, c, d, ..] = *cdb;
        let (action, scoped) = match flags & 0x1f {
            0x00 => (PrOut::Register, false),
            0x01 => (PrOut::Reserve, true),
            0x02 => (PrOut::Release, true),
            0x03 => (PrOut::Clear, false),
            0x04 => (PrOut::Preempt, true),
            0x05 => (PrOut::PreemptAndAbort, true),
            0x06 => (PrOut::RegisterAndIgnoreExistingKey, false),
            0x07 => (PrOut::RegisterAndMove, false),
            _ => return Err(Sense::invalid_cdb(1, Some(4))),
        };
        // The other actions ignore SCOPE and TYPE.
        let scope_type = if scoped { scope_type } else { 0 };
        Ok(Command::PersistentReserveOut {
            action,
            scope: scope_type >> 4,
            kind: scope_type & 0x0f,
            list_len: u32::from_be_bytes([a, b, c, d]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scsi::opcodes::Group;
    use crate::proto::scsi::SenseKey;
    use std::vec::Vec;

    fn parse(cdb: &[u8]) -> Command {
        Command::parse_in(cdb, Groups::ALL).unwrap()
    }

    fn refuse(cdb: &[u8]) -> Sense {
        Command::parse_in(cdb, Groups::ALL).unwrap_err()
    }

    fn read(lba: u64, blocks: u32, dpo: bool, fua: bool) -> Command {
        Command::Read {
            lba,
            blocks,
            dpo,
            fua,
        }
    }

    fn write(lba: u64, blocks: u32, dpo: bool, fua: bool) -> Command {
        Command::Write {
            lba,
            blocks,
            dpo,
            fua,
        }
    }

    #[test]
    fn reads_and_writes_of_all_sizes() {
        // READ(6): 21 bits of LBA, the top three bits of byte 1 are not its.
        assert_eq!(
            parse(&[0x08, 0xff, 0xff, 0xff, 0x01, 0]),
            read(0x1f_ffff, 1, false, false)
        );
        assert_eq!(
            parse(&[0x08, 0x01, 0x02, 0x03, 0x00, 0]),
            read(0x01_0203, 256, false, false)
        );
        assert_eq!(
            parse(&[0x0a, 0x00, 0x00, 0x07, 0xff, 0]),
            write(7, 255, false, false)
        );
        assert_eq!(
            parse(&[0x28, 0x10, 0x01, 0x02, 0x03, 0x04, 0, 0x05, 0x06, 0]),
            read(0x0102_0304, 0x0506, true, false)
        );
        assert_eq!(
            parse(&[0x2a, 0x08, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0, 0]),
            write(0xffff_ffff, 0, false, true)
        );
        assert_eq!(
            parse(&[0xa8, 0x18, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]),
            read(0x0102_0304, 0x0506_0708, true, true)
        );
        assert_eq!(
            parse(&[0xaa, 0, 1, 2, 3, 4, 0, 0, 0, 1, 0, 0]),
            write(0x0102_0304, 1, false, false)
        );
        assert_eq!(
            parse(&[0x88, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0]),
            read(0x0102_0304_0506_0708, 0x090a_0b0c, false, true)
        );
        assert_eq!(
            parse(&[0x8a, 0x10, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0]),
            write(9, 8, true, false)
        );
    }

    #[test]
    fn protection_information_is_refused() {
        for protect in 1..8u8 {
            for (opcode, len) in [
                (0x28, 10),
                (0x2a, 10),
                (0x2e, 10),
                (0x2f, 10),
                (0x41, 10),
                (0x88, 16),
                (0x89, 16),
                (0x8a, 16),
                (0x8b, 16),
                (0x8e, 16),
                (0x8f, 16),
                (0x93, 16),
                (0x9c, 16),
                (0xa8, 12),
                (0xaa, 12),
                (0xae, 12),
                (0xaf, 12),
            ] {
                let mut cdb = std::vec![0; len];
                cdb[0] = opcode;
                cdb[1] = protect << 5;
                assert_eq!(refuse(&cdb), Sense::invalid_cdb(1, Some(7)), "{opcode:02x}");
            }
        }
    }

    #[test]
    fn obsolete_fua_nv_is_ignored() {
        assert_eq!(
            parse(&[0x2a, 0x02, 0, 0, 0, 1, 0, 0, 1, 0]),
            write(1, 1, false, false)
        );
    }

    #[test]
    fn naca_is_refused_at_the_end_of_the_cdb() {
        assert_eq!(
            refuse(&[0, 0, 0, 0, 0, 0x04]),
            Sense::invalid_cdb(5, Some(2))
        );
        assert_eq!(
            refuse(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x04]),
            Sense::invalid_cdb(15, Some(2))
        );
        // Vendor specific bits, LINK and FLAG are not looked at.
        assert_eq!(parse(&[0, 0, 0, 0, 0, 0xfb]), Command::TestUnitReady);
    }

    #[test]
    fn verify_and_write_and_verify() {
        let verify = |flags| Command::parse_in(&[0x2f, flags, 0, 0, 0, 5, 0, 0, 3, 0], Groups::ALL);
        let wanted = |dpo, compare| {
            Ok(Command::Verify {
                lba: 5,
                blocks: 3,
                dpo,
                compare,
            })
        };
        assert_eq!(verify(0x00), wanted(false, Compare::Nothing));
        assert_eq!(verify(0x12), wanted(true, Compare::Blocks));
        assert_eq!(verify(0x06), wanted(false, Compare::OneBlock));
        assert_eq!(verify(0x04), Err(Sense::invalid_cdb(1, Some(2))));
        assert_eq!(
            parse(&[0xaf, 0x02, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0]),
            wanted(false, Compare::Blocks).unwrap()
        );
        assert_eq!(
            parse(&[0x8f, 0x02, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0]),
            wanted(false, Compare::Blocks).unwrap()
        );

        let both = |flags| Command::parse_in(&[0x2e, flags, 0, 0, 0, 5, 0, 0, 3, 0], Groups::ALL);
        let wanted = |dpo, compare| {
            Ok(Command::WriteAndVerify {
                lba: 5,
                blocks: 3,
                dpo,
                compare,
            })
        };
        assert_eq!(both(0x10), wanted(true, false));
        assert_eq!(both(0x02), wanted(false, true));
        assert_eq!(both(0x04), Err(Sense::invalid_cdb(1, Some(2))));
        assert_eq!(both(0x06), Err(Sense::invalid_cdb(1, Some(2))));
        assert_eq!(
            parse(&[0xae, 0x02, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0]),
            wanted(false, true).unwrap()
        );
        assert_eq!(
            parse(&[0x8e, 0x02, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0]),
            wanted(false, true).unwrap()
        );
    }

    #[test]
    fn other_medium_commands() {
        assert_eq!(
            parse(&[0x89, 0x18, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0]),
            Command::CompareAndWrite {
                lba: 9,
                blocks: 4,
                dpo: true,
                fua: true
            }
        );
        assert_eq!(
            parse(&[0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0]),
            Command::OrWrite {
                lba: 9,
                blocks: 4,
                dpo: false,
                fua: true
            }
        );
        assert_eq!(
            parse(&[0x9c, 0x10, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0]),
            Command::WriteAtomic {
                lba: 9,
                blocks: 0x0304,
                boundary: 0x0102,
                dpo: true,
                fua: false
            }
        );
        assert_eq!(
            parse(&[0x35, 0x02, 0, 0, 0, 9, 0, 1, 0, 0]),
            Command::SynchronizeCache {
                lba: 9,
                blocks: 256,
                immed: true
            }
        );
        assert_eq!(
            parse(&[0x91, 0x04, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0]),
            Command::SynchronizeCache {
                lba: 9,
                blocks: 0,
                immed: false
            }
        );
        assert_eq!(
            parse(&[0x34, 0x02, 0, 0, 0, 9, 0, 0, 1, 0]),
            Command::PreFetch {
                lba: 9,
                blocks: 1,
                immed: true
            }
        );
        assert_eq!(
            parse(&[0x90, 0x00, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0]),
            Command::PreFetch {
                lba: 9,
                blocks: 1,
                immed: false
            }
        );
        assert_eq!(
            parse(&[0x42, 0x01, 0, 0, 0, 0, 0, 0, 0x18, 0]),
            Command::Unmap {
                anchor: true,
                list_len: 24
            }
        );
        assert_eq!(
            parse(&[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0, 0, 0]),
            Command::GetLbaStatus { lba: 9, alloc: 256 }
        );
    }

    #[test]
    fn write_same_flags() {
        let ten = |flags| Command::parse(&[0x41, flags, 0, 0, 0, 9, 0, 1, 0, 0]);
        let sixteen =
            |flags| Command::parse(&[0x93, flags, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0, 0, 0]);
        let wanted = |unmap, anchor, ndob, ten| {
            Ok(Command::WriteSame {
                lba: 9,
                blocks: 256,
                unmap,
                anchor,
                ndob,
                ten,
            })
        };
        assert_eq!(ten(0x00), wanted(false, false, false, true));
        assert_eq!(ten(0x08), wanted(true, false, false, true));
        assert_eq!(ten(0x18), wanted(true, true, false, true));
        // Bit 0 of the 10-byte command is not NDOB.
        assert_eq!(ten(0x01), wanted(false, false, false, true));
        assert_eq!(sixteen(0x09), wanted(true, false, true, false));
        assert_eq!(sixteen(0x10), wanted(false, true, false, false));
        for parse in [ten(0x04), sixteen(0x04)] {
            assert_eq!(parse, Err(Sense::invalid_cdb(1, Some(2))));
        }
        for parse in [ten(0x02), sixteen(0x02)] {
            assert_eq!(parse, Err(Sense::invalid_cdb(1, Some(1))));
        }
    }

    #[test]
    fn inquiry() {
        assert_eq!(
            parse(&[0x12, 0, 0, 0x01, 0x02, 0]),
            Command::Inquiry {
                evpd: None,
                alloc: 0x0102
            }
        );
        assert_eq!(
            parse(&[0x12, 1, 0x83, 0, 0xff, 0]),
            Command::Inquiry {
                evpd: Some(0x83),
                alloc: 255
            }
        );
        assert_eq!(
            parse(&[0x12, 1, 0, 0, 0, 0]),
            Command::Inquiry {
                evpd: Some(0),
                alloc: 0
            }
        );
        assert_eq!(
            refuse(&[0x12, 0, 1, 0, 255, 0]),
            Sense::invalid_cdb(2, None)
        );
        assert_eq!(
            refuse(&[0x12, 2, 0, 0, 255, 0]),
            Sense::invalid_cdb(1, Some(1))
        );
    }

    #[test]
    fn mode_sense_and_select() {
        assert_eq!(
            parse(&[0x1a, 0x18, 0x7f, 0xff, 0xc0, 0]),
            Command::ModeSense(ModeSense {
                six: true,
                dbd: true,
                llbaa: false,
                pc: PageControl::Changeable,
                page: 0x3f,
                subpage: 0xff,
                alloc: 0xc0
            })
        );
        assert_eq!(
            parse(&[0x5a, 0x10, 0x8a, 0x01, 0, 0, 0, 0x01, 0x00, 0]),
            Command::ModeSense(ModeSense {
                six: false,
                dbd: false,
                llbaa: true,
                pc: PageControl::Default,
                page: 0x0a,
                subpage: 1,
                alloc: 256
            })
        );
        for (bits, pc) in [
            (0x00, PageControl::Current),
            (0x40, PageControl::Changeable),
            (0x80, PageControl::Default),
            (0xc0, PageControl::Saved),
        ] {
            let Command::ModeSense(command) = parse(&[0x1a, 0, bits | 8, 0, 255, 0]) else {
                panic!("not MODE SENSE");
            };
            assert_eq!(command.pc, pc);
        }

        assert_eq!(
            parse(&[0x15, 0x10, 0, 0, 24, 0]),
            Command::ModeSelect {
                six: true,
                list_len: 24
            }
        );
        assert_eq!(
            parse(&[0x55, 0x10, 0, 0, 0, 0, 0, 1, 0, 0]),
            Command::ModeSelect {
                six: false,
                list_len: 256
            }
        );
        assert_eq!(
            parse(&[0x15, 0, 0, 0, 0, 0]),
            Command::ModeSelect {
                six: true,
                list_len: 0
            }
        );
        assert_eq!(
            refuse(&[0x15, 0x00, 0, 0, 24, 0]),
            Sense::invalid_cdb(1, Some(4))
        );
        assert_eq!(
            refuse(&[0x15, 0x11, 0, 0, 24, 0]),
            Sense::invalid_cdb(1, Some(0))
        );
        assert_eq!(
            refuse(&[0x55, 0x12, 0, 0, 0, 0, 0, 0, 24, 0]),
            Sense::invalid_cdb(1, Some(1))
        );
    }

    #[test]
    fn reports() {
        let luns = |select| {
            Command::parse(&[0xa0, 0, select, 0, 0, 0, 0, 0, 0x10, 0, 0, 0]).map(|command| {
                let Command::ReportLuns { select, alloc } = command else {
                    panic!("not REPORT LUNS");
                };
                assert_eq!(alloc, 4096);
                select
            })
        };
        assert_eq!(luns(0), Ok(SelectReport::Addressable));
        assert_eq!(luns(1), Ok(SelectReport::WellKnown));
        assert_eq!(luns(2), Ok(SelectReport::All));
        for other in [3, 0x10, 0x11, 0x12, 0xff] {
            assert_eq!(luns(other), Err(Sense::invalid_cdb(2, None)));
        }

        let opcodes =
            |flags| Command::parse(&[0xa3, 0x0c, flags, 0x9e, 0x01, 0x10, 0, 0, 0, 8, 0, 0]);
        let wanted = |rctd, options| {
            Ok(Command::ReportSupportedOpcodes {
                rctd,
                options,
                alloc: 8,
            })
        };
        assert_eq!(opcodes(0x80), wanted(true, ReportingOptions::All));
        assert_eq!(opcodes(1), wanted(false, ReportingOptions::Opcode(0x9e)));
        assert_eq!(
            opcodes(2),
            wanted(false, ReportingOptions::ServiceAction(0x9e, 0x0110))
        );
        assert_eq!(
            opcodes(0x83),
            wanted(true, ReportingOptions::Either(0x9e, 0x0110))
        );
        for reserved in 4..8 {
            assert_eq!(opcodes(reserved), Err(Sense::invalid_cdb(2, Some(2))));
        }

        assert_eq!(
            parse(&[0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0]),
            Command::ReportSupportedTmfs {
                extended: true,
                alloc: 16
            }
        );
        assert_eq!(
            parse(&[0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
            Command::ReportTargetPortGroups {
                extended: true,
                alloc: 256
            }
        );
        assert_eq!(
            refuse(&[0xa3, 0x4a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
            Sense::invalid_cdb(1, Some(7))
        );
        assert_eq!(
            parse(&[0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]),
            Command::SetTargetPortGroups { list_len: 8 }
        );
    }

    #[test]
    fn commands_of_the_unit() {
        assert_eq!(parse(&[0, 0, 0, 0, 0, 0]), Command::TestUnitReady);
        assert_eq!(
            parse(&[0x03, 0x01, 0, 0, 252, 0]),
            Command::RequestSense {
                desc: true,
                alloc: 252
            }
        );
        assert_eq!(
            parse(&[0x25, 0, 0, 0, 0, 1, 0, 0, 1, 0]),
            Command::ReadCapacity10
        );
        assert_eq!(
            parse(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]),
            Command::ReadCapacity16 { alloc: 32 }
        );
        assert_eq!(
            parse(&[0x1b, 0x01, 0, 0x0e, 0xa7, 0]),
            Command::StartStopUnit {
                immed: true,
                power_condition: 0x0a,
                modifier: 0x0e,
                no_flush: true,
                loej: true,
                start: true
            }
        );
        assert_eq!(
            parse(&[0x1e, 0, 0, 0, 1, 0]),
            Command::PreventAllowMediumRemoval { prevent: true }
        );
        assert_eq!(
            refuse(&[0x1e, 0, 0, 0, 3, 0]),
            Sense::invalid_cdb(4, Some(1))
        );
        assert_eq!(parse(&[0x16, 0x0e, 7, 0, 8, 0]), Command::Reserve);
        assert_eq!(parse(&[0x17, 0, 0, 0, 0, 0]), Command::Release);
        assert_eq!(parse(&[0x56, 0, 0, 9, 0, 0, 0, 0, 0, 0]), Command::Reserve);
        assert_eq!(parse(&[0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Command::Release);
        assert_eq!(
            refuse(&[0x16, 0x10, 0, 0, 0, 0]),
            Sense::invalid_cdb(1, Some(4))
        );
        assert_eq!(
            refuse(&[0x56, 0x02, 0, 0, 0, 0, 0, 0, 8, 0]),
            Sense::invalid_cdb(1, Some(1))
        );
    }

    #[test]
    fn persistent_reservations() {
        for (action, want) in [
            PrIn::ReadKeys,
            PrIn::ReadReservation,
            PrIn::ReportCapabilities,
            PrIn::ReadFullStatus,
        ]
        .into_iter()
        .enumerate()
        {
            let action = u8::try_from(action).unwrap();
            assert_eq!(
                parse(&[0x5e, action, 0, 0, 0, 0, 0, 1, 2, 0]),
                Command::PersistentReserveIn {
                    action: want,
                    alloc: 0x0102
                }
            );
        }
        let scoped = [
            PrOut::Reserve,
            PrOut::Release,
            PrOut::Preempt,
            PrOut::PreemptAndAbort,
        ];
        for (action, want) in [
            PrOut::Register,
            PrOut::Reserve,
            PrOut::Release,
            PrOut::Clear,
            PrOut::Preempt,
            PrOut::PreemptAndAbort,
            PrOut::RegisterAndIgnoreExistingKey,
            PrOut::RegisterAndMove,
        ]
        .into_iter()
        .enumerate()
        {
            let action = u8::try_from(action).unwrap();
            assert_eq!(
                parse(&[0x5f, action, 0x15, 0, 0, 1, 2, 3, 4, 0]),
                Command::PersistentReserveOut {
                    action: want,
                    scope: if scoped.contains(&want) { 1 } else { 0 },
                    kind: if scoped.contains(&want) { 5 } else { 0 },
                    list_len: 0x0102_0304
                }
            );
        }
    }

    #[test]
    fn transfer_lengths() {
        let len = |cdb: &[u8]| {
            let command = parse(cdb);
            (command.data_direction(), command.transfer_len(512))
        };
        use DataDirection::{In, None, Out};
        let ten = |code: u8, flags: u8| [code, flags, 0, 0, 0, 0, 0, 0, 3, 0];
        assert_eq!(len(&ten(0x28, 0)), (In, 1536));
        assert_eq!(len(&ten(0x2a, 0)), (Out, 1536));
        assert_eq!(len(&ten(0x2e, 0)), (Out, 1536));
        assert_eq!(len(&ten(0x2f, 0)), (None, 0));
        assert_eq!(len(&ten(0x2f, 2)), (Out, 1536));
        assert_eq!(len(&ten(0x2f, 6)), (Out, 512));
        assert_eq!(len(&[0x2f, 6, 0, 0, 0, 0, 0, 0, 0, 0]), (Out, 0));
        assert_eq!(len(&ten(0x41, 0)), (Out, 512));
        assert_eq!(len(&ten(0x35, 0)), (None, 0));
        assert_eq!(len(&ten(0x34, 0)), (None, 0));
        assert_eq!(len(&ten(0x42, 0)), (Out, 3));
        assert_eq!(len(&ten(0x25, 0)), (In, 8));
        assert_eq!(len(&ten(0x55, 0x10)), (Out, 3));
        assert_eq!(len(&ten(0x5a, 0)), (In, 3));
        assert_eq!(len(&ten(0x5e, 0)), (In, 3));
        assert_eq!(len(&ten(0x5f, 0)), (Out, 3));
        assert_eq!(len(&ten(0x56, 0)), (None, 0));
        let sixteen = |code: u8, flags: u8| [code, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0];
        assert_eq!(len(&sixteen(0x93, 0)), (Out, 512));
        assert_eq!(len(&sixteen(0x93, 1)), (None, 0));
        assert_eq!(len(&sixteen(0x89, 0)), (Out, 3072));
        assert_eq!(len(&sixteen(0x8b, 0)), (Out, 1536));
        assert_eq!(len(&sixteen(0x9c, 0)), (Out, 1536));
        assert_eq!(len(&sixteen(0x9e, 0x10)), (In, 3));
        assert_eq!(len(&sixteen(0x9e, 0x12)), (In, 3));
        assert_eq!(len(&[0x08, 0, 0, 0, 0, 0]), (In, 131_072));
        assert_eq!(len(&[0x12, 0, 0, 1, 0, 0]), (In, 256));
        assert_eq!(len(&[0x03, 0, 0, 0, 18, 0]), (In, 18));
        let largest = [
            0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0,
        ];
        assert_eq!(
            parse(&largest).transfer_len(u32::MAX),
            0xffff_fffe_0000_0001
        );
    }

    fn row_commands() -> Vec<Command> {
        crate::proto::scsi::opcodes::TABLE
            .iter()
            .map(|row| {
                let mut cdb = std::vec![0; row.cdb_len()];
                cdb[0] = row.opcode;
                cdb[1] = row.usage[1] & row.service_action.map_or(0, |_| 0x1f);
                parse(&cdb)
            })
            .collect()
    }

    #[test]
    fn what_writes_needs_the_medium_and_takes_data_or_descriptors() {
        for command in row_commands() {
            if command.is_write_medium() {
                assert!(command.needs_medium(), "{command:?}");
                assert_ne!(command.data_direction(), DataDirection::In);
                for reservation in [
                    Reservation::Spc2,
                    Reservation::WriteExclusive,
                    Reservation::ExclusiveAccess,
                ] {
                    assert!(!command.allowed_during_reservation(reservation));
                }
            }
            if command.allowed_while_ua() {
                assert!(!command.needs_medium());
                assert!(command.allowed_during_reservation(Reservation::Spc2));
                assert!(command.allowed_during_reservation(Reservation::ExclusiveAccess));
            }
            // Who may not read may not under the stricter type either.
            if command.allowed_during_reservation(Reservation::ExclusiveAccess) {
                assert!(command.allowed_during_reservation(Reservation::WriteExclusive));
            }
        }
    }

    #[test]
    fn reservation_conflicts() {
        let allowed = |cdb: &[u8]| {
            let command = parse(cdb);
            [
                Reservation::Spc2,
                Reservation::WriteExclusive,
                Reservation::ExclusiveAccess,
            ]
            .map(|reservation| command.allowed_during_reservation(reservation))
        };
        let all = [true; 3];
        let none = [false; 3];
        assert_eq!(allowed(&[0x12, 0, 0, 0, 36, 0]), all);
        assert_eq!(allowed(&[0x03, 0, 0, 0, 18, 0]), all);
        assert_eq!(allowed(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]), all);
        assert_eq!(allowed(&[0x1a, 0, 0x3f, 0, 255, 0]), none);
        assert_eq!(allowed(&[0x15, 0x10, 0, 0, 0, 0]), none);
        assert_eq!(allowed(&[0x00, 0, 0, 0, 0, 0]), [false, true, true]);
        assert_eq!(
            allowed(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
            [false, true, false]
        );
        assert_eq!(allowed(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]), none);
        assert_eq!(allowed(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]), none);
        assert_eq!(allowed(&[0x16, 0, 0, 0, 0, 0]), none);
        assert_eq!(allowed(&[0x17, 0, 0, 0, 0, 0]), [true, false, false]);
        assert_eq!(
            allowed(&[0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
            [false, true, true]
        );
        // Only a start without a power condition.
        assert_eq!(allowed(&[0x1b, 0, 0, 0, 0x01, 0]), all);
        assert_eq!(allowed(&[0x1b, 0, 0, 0, 0x00, 0]), none);
        assert_eq!(allowed(&[0x1b, 0, 0, 0, 0x11, 0]), none);
        assert_eq!(allowed(&[0x1e, 0, 0, 0, 0, 0]), all);
        assert_eq!(allowed(&[0x1e, 0, 0, 0, 1, 0]), none);
    }

    fn disk() -> DeviceInfo<'static> {
        DeviceInfo::new(b"s", 512, 1000)
    }

    #[test]
    fn check_that_blocks_exist() {
        let check = |command: Command| command.check(&disk());
        for make in [read, write] {
            assert_eq!(check(make(0, 1000, false, false)), Ok(()));
            assert_eq!(check(make(999, 1, false, false)), Ok(()));
            assert_eq!(check(make(1000, 0, false, false)), Ok(()));
            for (lba, blocks, bad) in [
                (999, 2, 1000),
                (1000, 1, 1000),
                (1001, 0, 1001),
                (u64::MAX, 1, u64::MAX),
                (0, 1001, 1000),
            ] {
                assert_eq!(
                    check(make(lba, blocks, false, false)),
                    Err(Sense::LBA_OUT_OF_RANGE.with_info(bad))
                );
            }
        }
        let last = Command::SynchronizeCache {
            lba: 1000,
            blocks: 0,
            immed: false,
        };
        assert_eq!(check(last), Ok(()));
        let thin = {
            let mut info = disk();
            info.thin.unmap = true;
            info
        };
        let status = |lba| Command::GetLbaStatus { lba, alloc: 24 }.check(&thin);
        assert_eq!(status(999), Ok(()));
        assert_eq!(status(1000), Err(Sense::LBA_OUT_OF_RANGE.with_info(1000)));
    }

    #[test]
    fn check_dpo_and_fua() {
        let mut info = disk();
        assert_eq!(read(0, 1, true, true).check(&info), Ok(()));
        info.dpo_fua = false;
        assert_eq!(
            read(0, 1, true, true).check(&info),
            Err(Sense::invalid_cdb(1, Some(4)))
        );
        assert_eq!(
            write(0, 1, false, true).check(&info),
            Err(Sense::invalid_cdb(1, Some(3)))
        );
        assert_eq!(write(0, 1, false, false).check(&info), Ok(()));
        let verify = parse(&[0x2f, 0x10, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(verify.check(&info), Err(Sense::invalid_cdb(1, Some(4))));
    }

    #[test]
    fn check_the_maximum_transfer() {
        let mut info = disk();
        info.max_transfer = 8;
        assert_eq!(read(0, 8, false, false).check(&info), Ok(()));
        assert_eq!(
            read(0, 9, false, false).check(&info),
            Err(Sense::INVALID_FIELD_IN_CDB)
        );
        // Out of range comes first.
        assert!(read(999, 9, false, false)
            .check(&info)
            .is_err_and(|sense| sense.is(&Sense::LBA_OUT_OF_RANGE)));
        // Reading the medium without a transfer is not limited.
        let verify = parse(&[0x2f, 0, 0, 0, 0, 0, 0, 0, 9, 0]);
        assert_eq!(verify.check(&info), Ok(()));
        let verify = parse(&[0x2f, 2, 0, 0, 0, 0, 0, 0, 9, 0]);
        assert_eq!(verify.check(&info), Err(Sense::INVALID_FIELD_IN_CDB));
    }

    #[test]
    fn check_write_protection() {
        for (read_only, swp) in [(true, false), (false, true)] {
            let mut info = disk();
            info.read_only = read_only;
            info.mode.software_write_protect = swp;
            info.thin.unmap = true;
            info.thin.write_same16 = true;
            info.max_compare_and_write = 1;
            info.atomic.max_len = 1;
            let mut protected = 0;
            for command in row_commands() {
                let got = command.check(&info);
                if command.is_write_medium() {
                    protected += 1;
                    assert_eq!(got, Err(Sense::WRITE_PROTECTED), "{command:?}");
                } else {
                    let sense = got.err().unwrap_or(Sense::INVALID_FIELD_IN_CDB);
                    assert_eq!(sense.key, SenseKey::IllegalRequest, "{command:?}");
                }
            }
            assert_eq!(protected, 13);
            assert_eq!(read(0, 1, false, false).check(&info), Ok(()));
        }
    }

    #[test]
    fn check_unmap() {
        let unmap = |anchor| Command::Unmap {
            anchor,
            list_len: 24,
        };
        let mut info = disk();
        assert_eq!(
            unmap(false).check(&info),
            Err(Sense::INVALID_COMMAND_OPERATION_CODE)
        );
        info.thin.unmap = true;
        assert_eq!(unmap(false).check(&info), Ok(()));
        assert_eq!(
            unmap(true).check(&info),
            Err(Sense::invalid_cdb(1, Some(0)))
        );
        info.thin.anchor = true;
        assert_eq!(unmap(true).check(&info), Ok(()));
    }

    #[test]
    fn check_write_same() {
        let same = |lba, blocks, unmap, anchor, ten| Command::WriteSame {
            lba,
            blocks,
            unmap,
            anchor,
            ndob: false,
            ten,
        };
        let mut info = disk();
        for ten in [true, false] {
            assert_eq!(same(0, 1, false, false, ten).check(&info), Ok(()));
            assert_eq!(
                same(0, 1, true, false, ten).check(&info),
                Err(Sense::invalid_cdb(1, Some(3)))
            );
            assert_eq!(
                same(0, 1, false, true, ten).check(&info),
                Err(Sense::invalid_cdb(1, Some(4)))
            );
        }
        info.thin.write_same10 = true;
        assert_eq!(same(0, 1, true, false, true).check(&info), Ok(()));
        assert!(same(0, 1, true, false, false).check(&info).is_err());
        info.thin.write_same16 = true;
        assert_eq!(
            same(0, 1, true, true, false).check(&info),
            Err(Sense::invalid_cdb(1, Some(4)))
        );
        info.thin.anchor = true;
        assert_eq!(same(0, 1, true, true, false).check(&info), Ok(()));
        // ANCHOR alone has no meaning.
        assert_eq!(
            same(0, 1, false, true, false).check(&info),
            Err(Sense::invalid_cdb(1, Some(4)))
        );
    }

    #[test]
    fn extents_of_write_same() {
        let same = |lba, blocks, ten| Command::WriteSame {
            lba,
            blocks,
            unmap: false,
            anchor: false,
            ndob: false,
            ten,
        };
        let mut info = disk();
        let extent = |info: &DeviceInfo<'_>, lba, blocks, ten| {
            let command = same(lba, blocks, ten);
            let got = command.write_same_extent(info);
            assert_eq!(command.check(info), got.map(|_| ()));
            got
        };
        assert_eq!(extent(&info, 3, 4, false), Ok((3, 4)));
        assert_eq!(extent(&info, 3, 0, false), Ok((3, 997)));
        assert_eq!(extent(&info, 1000, 0, false), Ok((1000, 0)));
        assert_eq!(
            extent(&info, 1001, 0, false),
            Err(Sense::LBA_OUT_OF_RANGE.with_info(1001))
        );
        assert_eq!(
            extent(&info, 999, 2, false),
            Err(Sense::LBA_OUT_OF_RANGE.with_info(1000))
        );

        info.max_write_same = 10;
        let ten = Err(Sense::invalid_cdb(7, None));
        let sixteen = Err(Sense::invalid_cdb(10, None));
        assert_eq!(extent(&info, 0, 10, true), Ok((0, 10)));
        assert_eq!(extent(&info, 0, 11, true), ten);
        assert_eq!(extent(&info, 0, 11, false), sixteen);
        // To the end counts by what it comes to.
        assert_eq!(extent(&info, 990, 0, false), Ok((990, 10)));
        assert_eq!(extent(&info, 989, 0, false), sixteen);
        info.write_same_non_zero = true;
        assert_eq!(extent(&info, 990, 0, false), sixteen);
        assert_eq!(extent(&info, 990, 0, true), ten);
        assert_eq!(extent(&info, 990, 1, true), Ok((990, 1)));
    }

    #[test]
    fn check_compare_and_write() {
        let command = |blocks| Command::CompareAndWrite {
            lba: 0,
            blocks,
            dpo: false,
            fua: false,
        };
        let mut info = disk();
        assert_eq!(
            command(1).check(&info),
            Err(Sense::INVALID_COMMAND_OPERATION_CODE)
        );
        info.max_compare_and_write = 8;
        assert_eq!(command(8).check(&info), Ok(()));
        assert_eq!(command(0).check(&info), Ok(()));
        assert_eq!(command(9).check(&info), Err(Sense::invalid_cdb(13, None)));
    }

    #[test]
    fn check_write_atomic() {
        let command = |lba, blocks, boundary| Command::WriteAtomic {
            lba,
            blocks,
            boundary,
            dpo: false,
            fua: false,
        };
        let mut info = disk();
        assert_eq!(
            command(0, 8, 0).check(&info),
            Err(Sense::INVALID_COMMAND_OPERATION_CODE)
        );
        info.atomic.max_len = 32;
        info.atomic.alignment = 8;
        info.atomic.granularity = 4;
        assert_eq!(command(8, 32, 0).check(&info), Ok(()));
        let length = Err(Sense::invalid_cdb(12, None));
        assert_eq!(command(8, 36, 0).check(&info), length);
        assert_eq!(command(8, 6, 0).check(&info), length);
        assert_eq!(
            command(4, 8, 0).check(&info),
            Err(Sense::invalid_cdb(2, None))
        );
        assert_eq!(
            command(0, 8, 8).check(&info),
            Err(Sense::invalid_cdb(10, None))
        );
        info.atomic.max_boundary = 8;
        info.atomic.max_len_with_boundary = 64;
        assert_eq!(command(0, 64, 8).check(&info), Ok(()));
        assert_eq!(command(0, 68, 8).check(&info), length);
    }

    #[test]
    fn check_start_stop_unit() {
        let command = |power: u8| parse(&[0x1b, 0, 0, 0, power, 0]).check(&disk());
        assert_eq!(command(0x00), Ok(()));
        assert_eq!(command(0x01), Ok(()));
        assert_eq!(command(0x05), Ok(()));
        assert_eq!(command(0x02), Err(Sense::invalid_cdb(4, Some(1))));
        assert_eq!(command(0x03), Err(Sense::invalid_cdb(4, Some(1))));
        for power in 1..16 {
            assert_eq!(command(power << 4), Err(Sense::invalid_cdb(4, Some(7))));
        }
    }

    #[test]
    fn check_target_port_groups() {
        let report = parse(&[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        let set = parse(&[0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
        let mut info = disk();
        assert_eq!(report.check(&info), Err(Sense::invalid_cdb(1, Some(4))));
        assert_eq!(set.check(&info), Err(Sense::INVALID_COMMAND_OPERATION_CODE));
        info.tpgs = 1;
        assert_eq!(report.check(&info), Ok(()));
        assert!(set.check(&info).is_err());
        info.tpgs = 2;
        assert_eq!(set.check(&info), Ok(()));
    }

    #[test]
    fn only_the_enabled_groups_are_live() {
        let verify = [0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        let got = Command::parse_in(&verify, Groups::of(&[Group::Core]));
        assert_eq!(got, Err(Sense::INVALID_COMMAND_OPERATION_CODE));
        let got = Command::parse_in(&verify, Groups::of(&[Group::Verify]));
        assert!(got.is_ok());
    }
}
