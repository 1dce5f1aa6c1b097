// SPDX-License-Identifier: GPL-2.0

//! What the data-in pages and checks know of a logical unit and its port.

use super::pool::Pool;
use super::referrals::Geometry;
use super::unit_id::Bytes;
use super::unit_id::Eui64;
use super::unit_id::Naa;
use super::unit_id::T10;

/// A logical unit as its pages describe it.
///
/// Plain values: whoever owns the logical unit fills one in and lends it to
/// the builders. [`DeviceInfo::new`] gives a fully provisioned disk with a
/// volatile write cache and nothing optional.
#[derive(Clone, Copy, Debug)]
pub struct DeviceInfo<'a> {
    /// T10 VENDOR IDENTIFICATION: printable ASCII, padded with spaces.
    pub vendor: [u8; 8],
    /// PRODUCT IDENTIFICATION: printable ASCII, padded with spaces.
    pub product: [u8; 16],
    /// PRODUCT REVISION LEVEL: printable ASCII, padded with spaces.
    pub revision: [u8; 4],
    /// Unit serial number: printable ASCII. Bytes after
    /// [`SERIAL_MAX_LEN`] are not used.
    pub serial: &'a [u8],
    /// IEEE company identifier of the NAA designator, 24 bits.
    pub company_id: u32,
    /// The NAA designator.
    pub naa: Naa,
    /// The EUI-64 based designator.
    pub eui64: Eui64,
    /// The T10 vendor ID designator.
    pub t10: T10<'a>,

    /// Bytes in a logical block: a power of two from 512.
    pub block_size: u32,
    /// Logical blocks on the medium.
    pub blocks: u64,
    /// Logical blocks per physical block as a power of two, 0 to 15.
    pub physical_exponent: u8,
    /// The first LBA that starts a physical block, 0 to 16383.
    pub lowest_aligned_lba: u16,

    /// Blocks that a transfer had better be a multiple of; 0 says nothing.
    pub optimal_granularity: u16,
    /// Blocks that a transfer had better not exceed; 0 says nothing.
    pub optimal_transfer: u32,
    /// Most blocks that one command may transfer; 0 is no limit.
    pub max_transfer: u32,
    /// Most blocks of one WRITE SAME; 0 is no limit.
    pub max_write_same: u64,
    /// WRITE SAME with zero blocks is refused, rather than meaning all blocks
    /// to the end (WSNZ).
    pub write_same_non_zero: bool,
    /// Most blocks of one COMPARE AND WRITE; 0 says that it is not supported.
    pub max_compare_and_write: u8,
    /// Limits of WRITE ATOMIC(16).
    pub atomic: Atomic,
    /// Unmapping.
    pub thin: Thin,

    /// Writes are refused, whatever the mode pages say.
    pub read_only: bool,
    /// DPO and FUA mean something.
    pub dpo_fua: bool,
    /// MEDIUM ROTATION RATE: 0 not reported, 1 not rotating, else per minute.
    pub rotation_rate: u16,
    /// The task manager keeps HEAD OF QUEUE apart from SIMPLE.
    pub head_of_queue: bool,
    /// The task manager keeps ORDERED apart from SIMPLE.
    pub ordered: bool,
    /// The logical unit is reachable through more than one target port (MULTIP).
    pub multi_port: bool,
    /// Target port group support: 0 none, 1 implicit, 2 explicit, 3 both.
    pub tpgs: u8,
    /// The logical unit can be used through this target port, against peripheral
    /// qualifier 001b.
    pub connected: bool,
    /// Third-party copy commands are supported (3PC).
    pub third_party_copy: bool,

    /// There is a map of referrals (R_SUP).
    pub referrals: Option<Geometry>,

    /// What is known of the pool that a thin logical unit takes its blocks from.
    pub pool: Pool,

    /// The parameters of the mode pages as they are now.
    pub mode: ModeState,
    /// The same after a power cycle.
    pub mode_default: ModeState,
    /// Those of them that MODE SELECT may change.
    pub changeable: Changeable,
}

/// The most bytes of a unit serial number that the pages carry, as in LIO.
pub const SERIAL_MAX_LEN: usize = 254;

/// Limits of WRITE ATOMIC(16), all in blocks (SBC-4, "Block Limits VPD page").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Atomic {
    /// Most blocks without a boundary; 0 says that it is not supported.
    pub max_len: u32,
    /// The LBA must be a multiple of this; 0 is no rule.
    pub alignment: u32,
    /// The length must be a multiple of this; 0 is no rule.
    pub granularity: u32,
    /// Most blocks with a boundary.
    pub max_len_with_boundary: u32,
    /// Largest boundary; 0 says that only whole atomicity is supported.
    pub max_boundary: u32,
}

/// What the logical unit does with blocks that need not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thin {
    /// UNMAP is supported (LBPU).
    pub unmap: bool,
    /// WRITE SAME(16) with UNMAP is supported (LBPWS).
    pub write_same16: bool,
    /// WRITE SAME(10) with UNMAP is supported (LBPWS10).
    pub write_same10: bool,
    /// ANCHOR is supported (ANC_SUP).
    pub anchor: bool,
    /// Unmapped blocks read as zeros (LBPRZ).
    pub reads_zeros: bool,
    /// The medium has fewer blocks than the capacity says, against having
    /// room for all of them.
    pub thin_provisioned: bool,
    /// Most blocks of one UNMAP, over all descriptors; `u32::MAX` is no limit.
    pub max_unmap_blocks: u32,
    /// Most descriptors of one UNMAP; `u32::MAX` is no limit.
    pub max_unmap_descriptors: u32,
    /// Blocks that an unmap had better be a multiple of; 0 says nothing.
    pub granularity: u32,
    /// The first LBA that is a good start of an unmap.
    pub alignment: Option<u32>,
}

impl Thin {
    /// Whether any way to unmap exists (LBPME).
    pub const fn is_managed(&self) -> bool {
        self.unmap || self.write_same16 || self.write_same10
    }
}

/// Mode parameters that may differ from one logical unit, or moment, to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeState {
    /// WCE, Caching: writes may end before they are on the medium.
    pub write_cache: bool,
    /// D_SENSE, Control: sense data comes in descriptor format.
    pub descriptor_sense: bool,
    /// SWP, Control: writes are refused.
    pub software_write_protect: bool,
    /// TAS, Control: commands aborted by others end with TASK ABORTED.
    pub task_aborted_status: bool,
    /// QERR, Control: what a CHECK CONDITION does to the other commands.
    pub queue_error: QueueError,
    /// UA_INTLCK_CTRL, Control: how long a unit attention condition stays.
    pub ua_interlock: UaInterlock,
    /// QUEUE ALGORITHM MODIFIER, Control, is 0: SIMPLE commands keep their
    /// order.
    pub restricted_reordering: bool,
}

/// QERR (SPC-4, "Control mode page").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum QueueError {
    /// Nothing.
    Keep = 0b00,
    /// Aborts all commands of the task set.
    AbortAll = 0b01,
    /// Aborts all commands of the same I_T nexus.
    AbortSameNexus = 0b11,
}

/// UA_INTLCK_CTRL (SPC-4, "Control mode page").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UaInterlock {
    /// A unit attention condition ends when it is reported.
    Clear = 0b00,
    /// Only REQUEST SENSE ends one.
    Keep = 0b10,
    /// The same, and BUSY, RESERVATION CONFLICT and TASK SET FULL establish
    /// one.
    Establish = 0b11,
}

impl UaInterlock {
    /// The field as a value of this type; none for what is reserved.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0b00 => Some(UaInterlock::Clear),
            0b10 => Some(UaInterlock::Keep),
            0b11 => Some(UaInterlock::Establish),
            _ => None,
        }
    }
}

/// Which members of [`ModeState`] MODE SELECT may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changeable {
    /// WCE.
    pub write_cache: bool,
    /// D_SENSE.
    pub descriptor_sense: bool,
    /// SWP.
    pub software_write_protect: bool,
    /// TAS.
    pub task_aborted_status: bool,
    /// QERR.
    pub queue_error: bool,
    /// UA_INTLCK_CTRL.
    pub ua_interlock: bool,
    /// The lowest bit of QUEUE ALGORITHM MODIFIER.
    pub restricted_reordering: bool,
}

/// The target port that a command came through, for identifiers.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// The iSCSI target name; at most 223 bytes are used.
    pub target_name: &'a [u8],
    /// The target portal group tag.
    pub portal_group: u16,
    /// RELATIVE TARGET PORT IDENTIFIER, from 1.
    pub relative_id: u16,
    /// TARGET PORT GROUP, where target port groups exist.
    pub group: Option<u16>,
}

/// Abilities that depend on the logical unit, not on the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// DPO and FUA in reads and writes.
    DpoFua,
    /// The UNMAP command.
    Unmap,
    /// ANCHOR.
    Anchor,
    /// UNMAP in WRITE SAME(10).
    WriteSame10Unmap,
    /// UNMAP in WRITE SAME(16).
    WriteSame16Unmap,
    /// COMPARE AND WRITE.
    CompareAndWrite,
    /// WRITE ATOMIC(16).
    WriteAtomic,
    /// REPORT TARGET PORT GROUPS.
    TargetPortGroups,
    /// SET TARGET PORT GROUPS.
    ExplicitTargetPortGroups,
    /// Third-party copy commands.
    ThirdPartyCopy,
    /// REPORT REFERRALS.
    Referrals,
}

impl<'a> DeviceInfo<'a> {
    /// A fully provisioned disk named "FERRITE disk" with a volatile write
    /// cache and no optional ability.
    ///
    /// `block_size` is in bytes, `blocks` is the capacity.
    pub const fn new(serial: &'a [u8], block_size: u32, blocks: u64) -> Self {
        DeviceInfo {
            vendor: *b"FERRITE ",
            product: *b"disk            ",
            revision: *b"0001",
            serial,
            company_id: COMPANY_ID,
            naa: Naa::Made,
            eui64: Eui64::NONE,
            t10: T10::Made,
            block_size,
            blocks,
            physical_exponent: 0,
            lowest_aligned_lba: 0,
            optimal_granularity: 0,
            optimal_transfer: 0,
            max_transfer: 0,
            max_write_same: 0,
            write_same_non_zero: false,
            max_compare_and_write: 0,
            atomic: Atomic {
                max_len: 0,
                alignment: 0,
                granularity: 0,
                max_len_with_boundary: 0,
                max_boundary: 0,
            },
            thin: Thin {
                unmap: false,
                write_same16: false,
                write_same10: false,
                anchor: false,
                reads_zeros: false,
                thin_provisioned: false,
                max_unmap_blocks: 0,
                max_unmap_descriptors: 0,
                granularity: 0,
                alignment: None,
            },
            read_only: false,
            dpo_fua: true,
            rotation_rate: 0,
            head_of_queue: false,
            ordered: false,
            multi_port: false,
            tpgs: 0,
            connected: true,
            third_party_copy: false,
            referrals: None,
            pool: Pool::NONE,
            mode: ModeState::DEFAULT,
            mode_default: ModeState::DEFAULT,
            changeable: Changeable {
                write_cache: false,
                descriptor_sense: false,
                software_write_protect: false,
                task_aborted_status: false,
                queue_error: false,
                ua_interlock: false,
                restricted_reordering: false,
            },
        }
    }

    /// Whether the logical unit has an ability.
    pub const fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::DpoFua => self.dpo_fua,
            Feature::Unmap => self.thin.unmap,
            Feature::Anchor => self.thin.anchor,
            Feature::WriteSame10Unmap => self.thin.write_same10,
            Feature::WriteSame16Unmap => self.thin.write_same16,
            Feature::CompareAndWrite => self.max_compare_and_write != 0,
            Feature::WriteAtomic => self.atomic.max_len != 0,
            Feature::TargetPortGroups => self.tpgs != 0,
            Feature::ExplicitTargetPortGroups => self.tpgs & 0b10 != 0,
            Feature::ThirdPartyCopy => self.third_party_copy,
            Feature::Referrals => self.referrals.is_some(),
        }
    }

    /// Whether writes are refused, by the administrator or by SWP.
    pub const fn is_write_protected(&self) -> bool {
        self.read_only || self.mode.software_write_protect
    }

    /// The serial number as far as the pages carry it.
    pub(crate) fn serial(&self) -> &'a [u8] {
        self.serial.get(..SERIAL_MAX_LEN).unwrap_or(self.serial)
    }

    /// The NAA designator: 8 or 16 bytes, or none.
    pub(crate) fn naa(&self) -> Bytes {
        self.naa.bytes(self.company_id, self.serial())
    }
}

impl ModeState {
    /// Write cache on, all else off.
    pub const DEFAULT: ModeState = ModeState {
        write_cache: true,
        descriptor_sense: false,
        software_write_protect: false,
        task_aborted_status: false,
        queue_error: QueueError::Keep,
        ua_interlock: UaInterlock::Clear,
        restricted_reordering: false,
    };
}

impl Default for ModeState {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The company identifier of LIO, so that a logical unit that moves from there
/// with its serial number keeps its identifier.
pub const COMPANY_ID: u32 = 0x00_1405;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_disk_can_nothing_optional() {
        let info = DeviceInfo::new(b"s", 512, 8);
        assert_eq!(info.thin, Thin::default());
        assert!(!info.thin.is_managed());
        assert_eq!(info.atomic, Atomic::default());
        assert_eq!(info.changeable, Changeable::default());
        assert_eq!(info.mode, info.mode_default);
        assert_eq!(info.mode, ModeState::default());
        assert!(!info.is_write_protected());
        for feature in [
            Feature::Unmap,
            Feature::Anchor,
            Feature::WriteSame10Unmap,
            Feature::WriteSame16Unmap,
            Feature::CompareAndWrite,
            Feature::WriteAtomic,
            Feature::TargetPortGroups,
            Feature::ExplicitTargetPortGroups,
            Feature::ThirdPartyCopy,
            Feature::Referrals,
        ] {
            assert!(!info.has(feature), "{feature:?}");
        }
        assert!(info.has(Feature::DpoFua));
    }

    #[test]
    fn any_way_to_unmap_is_management() {
        for way in 0..3 {
            let thin = Thin {
                unmap: way == 0,
                write_same16: way == 1,
                write_same10: way == 2,
                ..Thin::default()
            };
            assert!(thin.is_managed());
        }
    }
}
