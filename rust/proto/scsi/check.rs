// SPDX-License-Identifier: GPL-2.0

//! Whether a command can be carried out on a logical unit.

use super::command::Command;
use super::command::Compare;
use super::device::DeviceInfo;
use super::device::Feature;
use super::range::check_range;
use super::rod;
use super::sense::Sense;

/// What READ and WRITE are checked against.
///
/// They are the data path: whoever keeps these four at hand need not gather a
/// whole [`DeviceInfo`] for every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadWriteLimits {
    /// Logical blocks on the medium.
    pub blocks: u64,
    /// Most blocks that one command may transfer; 0 is no limit.
    pub max_transfer: u32,
    /// DPO and FUA mean something.
    pub dpo_fua: bool,
    /// Writes are refused.
    pub write_protected: bool,
}

impl DeviceInfo<'_> {
    /// The part that READ and WRITE need.
    pub const fn read_write_limits(&self) -> ReadWriteLimits {
        ReadWriteLimits {
            blocks: self.blocks,
            max_transfer: self.max_transfer,
            dpo_fua: self.dpo_fua,
            write_protected: self.is_write_protected(),
        }
    }
}

impl Command {
    /// [`check`](Self::check) of READ and WRITE; None for all other commands.
    pub fn check_read_write(&self, limits: &ReadWriteLimits) -> Option<Result<(), Sense>> {
        let (lba, blocks, dpo, fua, write) = match *self {
            Command::Read {
                lba,
                blocks,
                dpo,
                fua,
            } => (lba, blocks, dpo, fua, false),
            Command::Write {
                lba,
                blocks,
                dpo,
                fua,
            } => (lba, blocks, dpo, fua, true),
            _ => return None,
        };
        if (dpo || fua) && !limits.dpo_fua {
            let bit = if dpo { 4 } else { 3 };
            return Some(Err(Sense::invalid_cdb(1, Some(bit))));
        }
        if let Err(sense) = check_range(lba, u64::from(blocks), limits.blocks) {
            return Some(Err(sense));
        }
        if limits.max_transfer != 0 && blocks > limits.max_transfer {
            return Some(Err(Sense::INVALID_FIELD_IN_CDB));
        }
        if write && limits.write_protected {
            return Some(Err(Sense::WRITE_PROTECTED));
        }
        Some(Ok(()))
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
        if let Some(result) = self.check_read_write(&info.read_write_limits()) {
            return result;
        }
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
            Command::ExtendedCopy { .. }
            | Command::PopulateToken { .. }
            | Command::WriteUsingToken { .. }
            | Command::CopyOperationAbort { .. }
            | Command::ReceiveCopyResults { .. } => exists(Feature::ThirdPartyCopy),
            Command::Unmap { anchor, .. } => {
                exists(Feature::Unmap)?;
                flag(anchor, Feature::Anchor, 0)
            }
            Command::OrWrite { dpo, fua, .. } => {
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
            Command::ReportTargetPortGroups { .. } => exists_action(Feature::TargetPortGroups),
            Command::SetTargetPortGroups { .. } => exists(Feature::ExplicitTargetPortGroups),
            Command::ReportReferrals { .. } => exists_action(Feature::Referrals),
            // There is no medium to remove.
            Command::PreventAllowMediumRemoval { prevent: true } => {
                Err(Sense::invalid_cdb(4, Some(0)))
            }
            _ => Ok(()),
        }
    }

    fn check_limits(&self, info: &DeviceInfo<'_>) -> Result<(), Sense> {
        match *self {
            Command::WriteAndVerify { blocks, .. }
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
            Command::ExtendedCopy { form, list_len } if list_len > form.max_list_len() => {
                Err(Sense::PARAMETER_LIST_LENGTH_ERROR)
            }
            Command::PopulateToken { list_len, .. } if list_len > rod::MAX_POPULATE_LEN => {
                Err(Sense::PARAMETER_LIST_LENGTH_ERROR)
            }
            Command::WriteUsingToken { list_len, .. } if list_len > rod::MAX_WRITE_LEN => {
                Err(Sense::PARAMETER_LIST_LENGTH_ERROR)
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scsi::opcodes::Groups;
    use crate::proto::scsi::xcopy::Form;
    use crate::proto::scsi::SenseKey;
    use std::vec::Vec;

    fn parse(cdb: &[u8]) -> Command {
        Command::parse_in(cdb, Groups::ALL).unwrap()
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
        let status = |lba| check(Command::GetLbaStatus { lba, alloc: 24 });
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
    fn the_short_way_is_for_read_and_write_only() {
        let limits = disk().read_write_limits();
        for command in row_commands() {
            let ours = matches!(command, Command::Read { .. } | Command::Write { .. });
            assert_eq!(command.check_read_write(&limits).is_some(), ours);
        }
    }

    #[test]
    fn check_dpo_and_fua_of_the_rarer_commands() {
        let mut info = disk();
        info.max_compare_and_write = 9;
        info.atomic.max_len = 9;
        for opcode in [0x89, 0x8b, 0x9c] {
            let check = |flags, info: &DeviceInfo<'_>| {
                parse(&[opcode, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0]).check(info)
            };
            info.dpo_fua = true;
            assert_eq!(check(0x18, &info), Ok(()));
            info.dpo_fua = false;
            assert_eq!(check(0x00, &info), Ok(()));
            assert_eq!(check(0x18, &info), Err(Sense::invalid_cdb(1, Some(4))));
            assert_eq!(check(0x10, &info), Err(Sense::invalid_cdb(1, Some(4))));
            assert_eq!(check(0x08, &info), Err(Sense::invalid_cdb(1, Some(3))));
        }
        for opcode in [0x8e, 0x8f] {
            let verify = parse(&[opcode, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0]);
            assert_eq!(verify.check(&info), Err(Sense::invalid_cdb(1, Some(4))));
        }
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
        for opcode in [0x8b, 0x8e] {
            let long = |blocks| parse(&[opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, blocks, 0, 0]);
            assert_eq!(long(8).check(&info), Ok(()));
            assert_eq!(long(9).check(&info), Err(Sense::INVALID_FIELD_IN_CDB));
        }
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
            info.third_party_copy = true;
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
            assert_eq!(protected, 14);
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
    fn check_third_party_copies() {
        let copy = |form, list_len| Command::ExtendedCopy { form, list_len };
        let mut info = disk();
        let unknown = Err(Sense::INVALID_COMMAND_OPERATION_CODE);
        assert_eq!(copy(Form::Lid1, 0).check(&info), unknown);
        info.third_party_copy = true;
        // Others are written than the logical unit itself.
        info.read_only = true;
        for (form, most) in [(Form::Lid1, 2576), (Form::Lid4, 2608)] {
            assert_eq!(copy(form, most).check(&info), Ok(()));
            assert_eq!(
                copy(form, most + 1).check(&info),
                Err(Sense::PARAMETER_LIST_LENGTH_ERROR)
            );
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
}
