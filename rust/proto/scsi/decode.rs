// SPDX-License-Identifier: GPL-2.0

//! From CDBs to commands: one function per layout, named by the rows of the
//! table. Each is given bytes that belong to its operation code.

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::KnownLayout;

use super::cdb::Cdb10;
use super::cdb::Cdb12;
use super::cdb::Cdb16;
use super::cdb::Cdb6;
use super::command::Command;
use super::command::Compare;
use super::command::CopyResults;
use super::command::Identifying;
use super::command::LogControl;
use super::command::LogSense;
use super::command::ModeSense;
use super::command::PageControl;
use super::command::PrIn;
use super::command::PrOut;
use super::command::ReadDefectData;
use super::command::ReportingOptions;
use super::command::SelectReport;
use super::sense::Sense;
use super::xcopy::Form;

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

pub(crate) fn report_referrals(cdb: &[u8; 16]) -> Parsed {
    let [.., flags, _] = *cdb;
    let m = Medium::sixteen(cdb)?;
    Ok(Command::ReportReferrals {
        lba: m.lba,
        one: flags & 0x01 != 0,
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

pub(crate) fn log_sense(cdb: &[u8; 16]) -> Parsed {
    let [_, _, page, subpage, _, a, b, c, d, ..] = *cdb;
    Ok(Command::LogSense(LogSense {
        control: match page >> 6 {
            0b00 => LogControl::Threshold,
            0b01 => LogControl::Cumulative,
            0b10 => LogControl::DefaultThreshold,
            _ => LogControl::DefaultCumulative,
        },
        page: page & 0x3f,
        subpage,
        pointer: u16::from_be_bytes([a, b]),
        alloc: u16::from_be_bytes([c, d]),
    }))
}

pub(crate) fn read_defect_data10(cdb: &[u8; 16]) -> Parsed {
    let [_, _, flags, _, _, _, _, a, b, ..] = *cdb;
    Ok(Command::ReadDefectData(ReadDefectData {
        ten: true,
        primary: flags & 0x10 != 0,
        grown: flags & 0x08 != 0,
        format: flags & 0x07,
        index: 0,
        alloc: u32::from(u16::from_be_bytes([a, b])),
    }))
}

pub(crate) fn read_defect_data12(cdb: &[u8; 16]) -> Parsed {
    let [_, flags, a, b, c, d, ..] = *cdb;
    let cdb: Cdb12 = view(cdb)?;
    Ok(Command::ReadDefectData(ReadDefectData {
        ten: false,
        primary: flags & 0x10 != 0,
        grown: flags & 0x08 != 0,
        format: flags & 0x07,
        index: u32::from_be_bytes([a, b, c, d]),
        alloc: cdb.length.get(),
    }))
}

pub(crate) fn report_identifying_information(cdb: &[u8; 16]) -> Parsed {
    let [_, _, _, _, _, _, _, _, _, _, kind, ..] = *cdb;
    let cdb: Cdb12 = view(cdb)?;
    Ok(Command::ReportIdentifyingInformation {
        kind: match kind >> 1 {
            0b000_0000 => Identifying::Bytes,
            0b000_0010 => Identifying::Text,
            0b111_1111 => Identifying::Supported,
            _ => return Err(Sense::invalid_cdb(10, Some(7))),
        },
        alloc: cdb.length.get(),
    })
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
    let cdb: Cdb6 = view(cdb)?;
    Ok(Command::StartStopUnit {
        immed: cdb.flags & 0x01 != 0,
        no_flush: cdb.length & 0x04 != 0,
        start: cdb.length & 0x01 != 0,
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

pub(crate) fn extended_copy(cdb: &[u8; 16]) -> Parsed {
    let [_, action, ..] = *cdb;
    let cdb: Cdb16 = view(cdb)?;
    Ok(Command::ExtendedCopy {
        form: match action & 0x1f {
            0x00 => Form::Lid1,
            0x01 => Form::Lid4,
            _ => return Err(Sense::invalid_cdb(1, Some(4))),
        },
        list_len: cdb.length.get(),
    })
}

pub(crate) fn populate_token(cdb: &[u8; 16]) -> Parsed {
    let (list_id, list_len) = token_fields(cdb)?;
    Ok(Command::PopulateToken { list_id, list_len })
}

pub(crate) fn write_using_token(cdb: &[u8; 16]) -> Parsed {
    let (list_id, list_len) = token_fields(cdb)?;
    Ok(Command::WriteUsingToken { list_id, list_len })
}

/// LIST IDENTIFIER and PARAMETER LIST LENGTH.
fn token_fields(cdb: &[u8; 16]) -> Result<(u32, u32), Sense> {
    let [_, _, _, _, _, _, a, b, c, d, ..] = *cdb;
    let cdb: Cdb16 = view(cdb)?;
    Ok((u32::from_be_bytes([a, b, c, d]), cdb.length.get()))
}

pub(crate) fn copy_operation_abort(cdb: &[u8; 16]) -> Parsed {
    let [_, _, a, b, c, d, ..] = *cdb;
    Ok(Command::CopyOperationAbort {
        list_id: u32::from_be_bytes([a, b, c, d]),
    })
}

pub(crate) fn receive_copy_results(cdb: &[u8; 16]) -> Parsed {
    let [_, action, a, b, c, d, ..] = *cdb;
    let cdb: Cdb16 = view(cdb)?;
    let (what, list_id) = match action & 0x1f {
        0x00 => (CopyResults::StatusLid1, u32::from(a)),
        0x01 => (CopyResults::DataLid1, u32::from(a)),
        0x03 => (CopyResults::OperatingParameters, 0),
        0x04 => (CopyResults::FailureDetailsLid1, u32::from(a)),
        0x05 => (CopyResults::StatusLid4, u32::from_be_bytes([a, b, c, d])),
        0x07 => (
            CopyResults::RodTokenInformation,
            u32::from_be_bytes([a, b, c, d]),
        ),
        _ => return Err(Sense::invalid_cdb(1, Some(4))),
    };
    Ok(Command::ReceiveCopyResults {
        what,
        list_id,
        alloc: cdb.length.get(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scsi::opcodes::Group;
    use crate::proto::scsi::opcodes::Groups;

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
    fn third_party_copies() {
        let mut cdb = [
            0x83, 0x01, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0x0a, 0x30, 0, 0, //
        ];
        assert_eq!(
            parse(&cdb),
            Command::ExtendedCopy {
                form: Form::Lid4,
                list_len: 0x0a30
            }
        );
        cdb[1] = 0x1c;
        assert_eq!(
            parse(&cdb),
            Command::CopyOperationAbort {
                list_id: 0x0102_0304
            }
        );
        cdb[1] = 0x02;
        assert_eq!(refuse(&cdb), Sense::invalid_cdb(1, Some(4)));
        let mut results = |action, what, list_id| {
            cdb[0] = 0x84;
            cdb[1] = action;
            assert_eq!(
                parse(&cdb),
                Command::ReceiveCopyResults {
                    what,
                    list_id,
                    alloc: 0x0a30
                }
            );
        };
        results(0, CopyResults::StatusLid1, 1);
        results(1, CopyResults::DataLid1, 1);
        results(3, CopyResults::OperatingParameters, 0);
        results(4, CopyResults::FailureDetailsLid1, 1);
        results(5, CopyResults::StatusLid4, 0x0102_0304);
        results(7, CopyResults::RodTokenInformation, 0x0102_0304);
        let token = |action| [0x83, action, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 2, 0x28, 0, 0];
        let (list_id, list_len) = (0x0102_0304, 0x0228);
        assert_eq!(
            parse(&token(0x10)),
            Command::PopulateToken { list_id, list_len }
        );
        assert_eq!(
            parse(&token(0x11)),
            Command::WriteUsingToken { list_id, list_len }
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
            parse(&[0x37, 0, 0x13, 0xff, 0xff, 0xff, 0xff, 1, 2, 0]),
            Command::ReadDefectData(ReadDefectData {
                ten: true,
                primary: true,
                grown: false,
                format: 3,
                index: 0,
                alloc: 0x0102,
            })
        );
        assert_eq!(
            parse(&[0xb7, 0x0d, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]),
            Command::ReadDefectData(ReadDefectData {
                ten: false,
                primary: false,
                grown: true,
                format: 5,
                index: 0x0102_0304,
                alloc: 0x0506_0708,
            })
        );
        let identifying = |kind: u8| Command::parse(&[0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, kind, 0]);
        for (kind, want) in [
            (0x00, Identifying::Bytes),
            (0x01, Identifying::Bytes),
            (0x04, Identifying::Text),
            (0xfe, Identifying::Supported),
        ] {
            assert_eq!(
                identifying(kind),
                Ok(Command::ReportIdentifyingInformation {
                    kind: want,
                    alloc: 256
                })
            );
        }
        for kind in [0x02, 0x06, 0x80, 0xfc] {
            assert_eq!(identifying(kind), Err(Sense::invalid_cdb(10, Some(7))));
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
        let start_stop = |immed, no_flush, start| Command::StartStopUnit {
            immed,
            no_flush,
            start,
        };
        assert_eq!(
            parse(&[0x1b, 0, 0, 0, 0, 0]),
            start_stop(false, false, false)
        );
        assert_eq!(
            parse(&[0x1b, 1, 0, 0xff, 0, 0]),
            start_stop(true, false, false)
        );
        assert_eq!(
            parse(&[0x1b, 0, 0, 0, 4, 0]),
            start_stop(false, true, false)
        );
        assert_eq!(
            parse(&[0x1b, 0, 0, 0, 1, 0]),
            start_stop(false, false, true)
        );
        for power_condition in 1..16 {
            assert_eq!(
                refuse(&[0x1b, 0, 0, 0, power_condition << 4, 0]),
                Sense::invalid_cdb(4, Some(7))
            );
        }
        for load_or_eject in [2, 3] {
            assert_eq!(
                refuse(&[0x1b, 0, 0, 0, load_or_eject, 0]),
                Sense::invalid_cdb(4, Some(1))
            );
        }
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
        // 3RDPTY and EXTENT of all four, LONGID of the longer two.
        for opcode in [0x16, 0x17] {
            let six = |flags| refuse(&[opcode, flags, 0, 0, 0, 0]);
            assert_eq!(six(0x10), Sense::invalid_cdb(1, Some(4)));
            assert_eq!(six(0x01), Sense::invalid_cdb(1, Some(0)));
        }
        for opcode in [0x56, 0x57] {
            let ten = |flags| refuse(&[opcode, flags, 0, 0, 0, 0, 0, 0, 8, 0]);
            assert_eq!(ten(0x10), Sense::invalid_cdb(1, Some(4)));
            assert_eq!(ten(0x02), Sense::invalid_cdb(1, Some(1)));
            assert_eq!(ten(0x01), Sense::invalid_cdb(1, Some(0)));
        }
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
    fn only_the_enabled_groups_are_live() {
        let verify = [0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        let got = Command::parse_in(&verify, Groups::of(&[Group::Core]));
        assert_eq!(got, Err(Sense::INVALID_COMMAND_OPERATION_CODE));
        let got = Command::parse_in(&verify, Groups::of(&[Group::Verify]));
        assert!(got.is_ok());
    }
}
