// SPDX-License-Identifier: GPL-2.0

//! Commands: what a CDB asks for.

use super::opcodes;
use super::opcodes::Groups;
use super::sense::Sense;
use super::xcopy::Form;

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
    /// REPORT REFERRALS.
    ReportReferrals {
        /// A block of the first segment.
        lba: u64,
        /// Of that segment alone (ONE_SEG).
        one: bool,
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
    /// LOG SENSE.
    LogSense(LogSense),
    /// READ DEFECT DATA of 10 and 12 bytes.
    ReadDefectData(ReadDefectData),
    /// REPORT IDENTIFYING INFORMATION.
    ReportIdentifyingInformation {
        /// Which information.
        kind: Identifying,
        /// Most bytes to return.
        alloc: u32,
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
    /// START STOP UNIT, without power conditions and without a medium to load.
    StartStopUnit {
        /// The command may end before the work is done.
        immed: bool,
        /// The cache need not be written before stopping.
        no_flush: bool,
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
    /// EXTENDED COPY(LID1) or (LID4).
    ExtendedCopy {
        /// Which of them.
        form: Form,
        /// Bytes of parameter list; 0 copies nothing.
        list_len: u32,
    },
    /// POPULATE TOKEN.
    PopulateToken {
        /// The list identifier.
        list_id: u32,
        /// Bytes of parameter list; 0 makes no token.
        list_len: u32,
    },
    /// WRITE USING TOKEN.
    WriteUsingToken {
        /// The list identifier.
        list_id: u32,
        /// Bytes of parameter list; 0 writes nothing.
        list_len: u32,
    },
    /// COPY OPERATION ABORT.
    CopyOperationAbort {
        /// The list identifier of the copy.
        list_id: u32,
    },
    /// RECEIVE COPY RESULTS and what SPC-4 made of it.
    ReceiveCopyResults {
        /// What to tell.
        what: CopyResults,
        /// The list identifier of the copy.
        list_id: u32,
        /// Most bytes to return.
        alloc: u32,
    },
}

/// Service actions of RECEIVE COPY RESULTS, by the names of the commands that
/// they are in SPC-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyResults {
    /// 00h: RECEIVE COPY STATUS(LID1).
    StatusLid1,
    /// 01h: RECEIVE COPY DATA(LID1).
    DataLid1,
    /// 03h: RECEIVE COPY OPERATING PARAMETERS.
    OperatingParameters,
    /// 04h: RECEIVE COPY FAILURE DETAILS(LID1).
    FailureDetailsLid1,
    /// 05h: RECEIVE COPY STATUS(LID4).
    StatusLid4,
    /// 07h: RECEIVE ROD TOKEN INFORMATION.
    RodTokenInformation,
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

/// The fields of LOG SENSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSense {
    /// Which values.
    pub control: LogControl,
    /// PAGE CODE, 0 to 3Fh.
    pub page: u8,
    /// SUBPAGE CODE.
    pub subpage: u8,
    /// PARAMETER POINTER: the first parameter code to return.
    pub pointer: u16,
    /// Most bytes to return.
    pub alloc: u16,
}

/// PC of LOG SENSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogControl {
    /// Thresholds.
    Threshold = 0b00,
    /// The values counted so far.
    Cumulative = 0b01,
    /// The thresholds after a power cycle.
    DefaultThreshold = 0b10,
    /// The values after a power cycle.
    DefaultCumulative = 0b11,
}

/// The fields of READ DEFECT DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadDefectData {
    /// The 10-byte form, whose data has a shorter header.
    pub ten: bool,
    /// REQ_PLIST: the defects that the manufacturer has found.
    pub primary: bool,
    /// REQ_GLIST: those found since.
    pub grown: bool,
    /// DEFECT LIST FORMAT, 0 to 7.
    pub format: u8,
    /// ADDRESS DESCRIPTOR INDEX: the first descriptor to return.
    pub index: u32,
    /// Most bytes to return.
    pub alloc: u32,
}

/// INFORMATION TYPE of REPORT IDENTIFYING INFORMATION (SPC-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifying {
    /// Peripheral device identifying information.
    Bytes,
    /// Peripheral device text identifying information.
    Text,
    /// Which of these there are, and how long they may be.
    Supported,
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
            | Command::ReportReferrals { .. }
            | Command::ModeSense(_)
            | Command::LogSense(_)
            | Command::ReadDefectData(_)
            | Command::ReportIdentifyingInformation { .. }
            | Command::ReportLuns { .. }
            | Command::ReportSupportedOpcodes { .. }
            | Command::ReportSupportedTmfs { .. }
            | Command::ReportTargetPortGroups { .. }
            | Command::PersistentReserveIn { .. }
            | Command::ReceiveCopyResults { .. } => DataDirection::In,
            Command::Write { .. }
            | Command::WriteAndVerify { .. }
            | Command::CompareAndWrite { .. }
            | Command::OrWrite { .. }
            | Command::WriteAtomic { .. }
            | Command::Unmap { .. }
            | Command::ModeSelect { .. }
            | Command::SetTargetPortGroups { .. }
            | Command::PersistentReserveOut { .. }
            | Command::ExtendedCopy { .. }
            | Command::PopulateToken { .. }
            | Command::WriteUsingToken { .. } => DataDirection::Out,
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
            | Command::Release
            | Command::CopyOperationAbort { .. } => DataDirection::None,
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
            | Command::LogSense(LogSense { alloc, .. })
            | Command::PersistentReserveIn { alloc, .. } => u64::from(alloc),
            Command::ReadCapacity10 => 8,
            Command::ReadCapacity16 { alloc }
            | Command::GetLbaStatus { alloc, .. }
            | Command::ReportReferrals { alloc, .. }
            | Command::ReadDefectData(ReadDefectData { alloc, .. })
            | Command::ReportIdentifyingInformation { alloc, .. }
            | Command::ReportLuns { alloc, .. }
            | Command::ReportSupportedOpcodes { alloc, .. }
            | Command::ReportSupportedTmfs { alloc, .. }
            | Command::ReportTargetPortGroups { alloc, .. }
            | Command::ReceiveCopyResults { alloc, .. } => u64::from(alloc),
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
            | Command::PersistentReserveOut { list_len, .. }
            | Command::ExtendedCopy { list_len, .. }
            | Command::PopulateToken { list_len, .. }
            | Command::WriteUsingToken { list_len, .. } => u64::from(list_len),
            Command::TestUnitReady
            | Command::SynchronizeCache { .. }
            | Command::PreFetch { .. }
            | Command::StartStopUnit { .. }
            | Command::PreventAllowMediumRemoval { .. }
            | Command::Reserve
            | Command::Release
            | Command::CopyOperationAbort { .. } => 0,
        }
    }

    /// The bytes that count against a limit of the administrator's: those that
    /// the command moves, or that it has the medium read or write, whichever are
    /// more. None for a command that no such limit is for.
    pub fn load(&self, block_size: u32) -> Option<u64> {
        match self {
            Command::Read { .. }
            | Command::Write { .. }
            | Command::WriteAndVerify { .. }
            | Command::CompareAndWrite { .. }
            | Command::OrWrite { .. }
            | Command::WriteAtomic { .. }
            | Command::WriteSame { .. }
            | Command::Verify { .. }
            | Command::PreFetch { .. }
            | Command::Unmap { .. }
            | Command::ExtendedCopy { .. }
            | Command::WriteUsingToken { .. } => {
                let blocks = self.extent().map_or(0, |(_, blocks)| blocks);
                let medium = blocks.saturating_mul(u64::from(block_size));
                Some(self.transfer_len(block_size).max(medium))
            }
            _ => None,
        }
    }

    /// Of the bytes that the command brings, how many it stores on the medium;
    /// none for a command that stores nothing of what it brings.
    pub fn stores(&self, brought: usize) -> Option<usize> {
        match self {
            Command::Write { .. }
            | Command::WriteAtomic { .. }
            | Command::WriteAndVerify { .. }
            | Command::OrWrite { .. } => Some(brought),
            // The other half is compared with.
            Command::CompareAndWrite { .. } => Some(brought / 2),
            _ => None,
        }
    }

    /// The first block that the command is about; 0 if it is about none.
    pub fn first_lba(&self) -> u64 {
        self.extent().map_or(0, |(lba, _)| lba)
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
            Command::GetLbaStatus { lba, .. } | Command::ReportReferrals { lba, .. } => {
                Some((lba, 1))
            }
            _ => None,
        }
    }

    /// The first block and the number of blocks whose data the command reads or
    /// writes, of a disk with `total` blocks; none where the CDB does not say.
    pub fn touches(&self, total: u64) -> Option<(u64, u64)> {
        let (lba, blocks) = match self {
            Command::SynchronizeCache { .. }
            | Command::GetLbaStatus { .. }
            | Command::ReportReferrals { .. } => return None,
            _ => self.extent()?,
        };
        let all = matches!(self, Command::WriteSame { .. } | Command::PreFetch { .. });
        match blocks {
            0 if all => Some((lba, total.saturating_sub(lba))),
            _ => Some((lba, blocks)),
        }
    }

    /// Whether the command ends NOT READY when the logical unit is not ready.
    pub fn needs_medium(&self) -> bool {
        match self {
            Command::TestUnitReady
            | Command::ReadCapacity10
            | Command::ReadCapacity16 { .. }
            | Command::Unmap { .. }
            | Command::PopulateToken { .. }
            | Command::WriteUsingToken { .. } => true,
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
                | Command::WriteUsingToken { .. }
        )
    }

    /// Whether the command may write to this medium or another one.
    pub fn may_write(&self) -> bool {
        self.is_write_medium() || matches!(self, Command::ExtendedCopy { .. })
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
            | Command::ReportReferrals { .. }
            | Command::LogSense(_)
            | Command::ReportIdentifyingInformation { .. }
            | Command::ReadCapacity10
            | Command::ReadCapacity16 { .. } => true,
            Command::PreventAllowMediumRemoval { prevent } => !prevent,
            Command::StartStopUnit { start, .. } => *start,
            Command::Release => !persistent,
            Command::TestUnitReady
            | Command::PersistentReserveIn { .. }
            | Command::PersistentReserveOut { .. } => persistent,
            Command::Read { .. }
            | Command::Verify { .. }
            | Command::PreFetch { .. }
            | Command::ReadDefectData(_)
            | Command::GetLbaStatus { .. }
            | Command::PopulateToken { .. } => may_read,
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
            | Command::SetTargetPortGroups { .. }
            // What they copy is checked by itself, on source and destination.
            | Command::ExtendedCopy { .. }
            | Command::WriteUsingToken { .. }
            | Command::CopyOperationAbort { .. }
            | Command::ReceiveCopyResults { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn parse(cdb: &[u8]) -> Command {
        Command::parse_in(cdb, Groups::ALL).unwrap()
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
        assert_eq!(allowed(&[0x1b, 0, 0, 0, 0x01, 0]), all);
        assert_eq!(allowed(&[0x1b, 0, 0, 0, 0x00, 0]), none);
        assert_eq!(allowed(&[0x1e, 0, 0, 0, 0, 0]), all);
        assert_eq!(allowed(&[0x1e, 0, 0, 0, 1, 0]), none);
    }
}
