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
        /// SCOPE, 0 to Fh; only 0, the logical unit, exists.
        scope: u8,
        /// TYPE, 0 to Fh.
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
        let exists = |feature| {
            if info.has(feature) {
                Ok(())
            } else {
                Err(Sense::INVALID_COMMAND_OPERATION_CODE)
            }
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
            Command::GetLbaStatus { .. } => exists(Feature::LbaStatus),
            Command::ReportTargetPortGroups { .. } => exists(Feature::TargetPortGroups),
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
        Ok(Command::PersistentReserveOut {
            action: match flags & 0x1f {
                0x00 => PrOut::Register,
                0x01 => PrOut::Reserve,
                0x02 => PrOut::Release,
                0x03 => PrOut::Clear,
                0x04 => PrOut::Preempt,
                0x05 => PrOut::PreemptAndAbort,
                0x06 => PrOut::RegisterAndIgnoreExistingKey,
                0x07 => PrOut::RegisterAndMove,
                _ => return Err(Sense::invalid_cdb(1, Some(4))),
            },
            scope: scope_type >> 4,
            kind: scope_type & 0x0f,
            list_len: u32::from_be_bytes([a, b, c, d]),
        })
    }
}
