// SPDX-License-Identifier: GPL-2.0

//! Any bytes as a CDB, and the command on a logical unit of any abilities: the
//! first byte says which it has, the second how large it is.

use ferrite_proto::scsi::{
    command::{
        DataDirection,
        Reservation, //
    },
    opcodes::Groups,
    Command,
    DeviceInfo,
    SenseKey, //
};

/// A logical unit with what the bits say.
pub fn unit(bits: u8, size: u8) -> DeviceInfo<'static> {
    let shift = 9 + u32::from(size & 3);
    let blocks = match size >> 2 {
        0 => 0,
        63 => u64::MAX,
        exponent => 1 << exponent,
    };
    let mut info = DeviceInfo::new(b"serial", 1 << shift, blocks);
    let has = |bit: u8| bits & 1 << bit != 0;
    info.read_only = has(0);
    info.dpo_fua = !has(1);
    info.third_party_copy = !has(2);
    if !has(3) {
        info.thin.unmap = true;
        info.thin.write_same16 = true;
        info.thin.write_same10 = true;
        info.thin.anchor = has(4);
        info.thin.max_unmap_blocks = 1 << 20;
        info.thin.max_unmap_descriptors = 16;
    }
    if !has(5) {
        info.max_transfer = 1 << 14;
        info.max_write_same = 1 << 16;
        info.write_same_non_zero = has(4);
    }
    if !has(6) {
        info.max_compare_and_write = 255;
        info.atomic.max_len = 64;
        info.atomic.granularity = 8;
        info.atomic.alignment = 8;
        info.tpgs = 3;
    }
    let all = !has(7);
    info.changeable.write_cache = all;
    info.changeable.descriptor_sense = all;
    info.changeable.software_write_protect = all;
    info.changeable.task_aborted_status = all;
    info.changeable.queue_error = all;
    info.changeable.ua_interlock = all;
    info.changeable.restricted_reordering = all;
    info
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let [bits, size, cdb @ ..] = data else {
        return;
    };
    let info = unit(*bits, *size);
    let command = match Command::parse_in(cdb, Groups::ALL) {
        Ok(command) => command,
        Err(sense) => {
            assert_eq!(sense.key, SenseKey::IllegalRequest);
            if let Some(field) = sense.field {
                assert!(field.cdb && field.byte < 16);
            }
            assert!(Command::parse(cdb).is_err(), "enabled, and not known");
            return;
        }
    };
    if let Ok(enabled) = Command::parse(cdb) {
        assert_eq!(enabled, command);
    }
    // What comes behind it is not looked at.
    let mut longer = cdb.to_vec();
    longer.extend([0xff; 16]);
    assert_eq!(Command::parse_in(&longer, Groups::ALL), Ok(command));
    told(&command, &info);
    match command.check(&info) {
        Ok(()) => allowed(&command, &info),
        Err(sense) => assert!(matches!(
            sense.key,
            SenseKey::IllegalRequest | SenseKey::DataProtect
        )),
    }
}

/// What is told of a command goes together.
fn told(command: &Command, info: &DeviceInfo<'_>) {
    let moves = command.transfer_len(info.block_size);
    if command.data_direction() == DataDirection::None {
        assert_eq!(moves, 0);
    }
    assert!(command
        .load(info.block_size)
        .is_none_or(|load| load >= moves));
    assert!(command.stores(4096).is_none_or(|stored| stored <= 4096));
    assert!(command.stores(4096).is_none() || command.is_write_medium());
    assert_eq!(command.first_lba(), command.extent().map_or(0, |e| e.0));
    // Who may not even read may do no more than who may.
    let during = |reservation| command.allowed_during_reservation(reservation);
    assert!(!during(Reservation::ExclusiveAccess) || during(Reservation::WriteExclusive));
    if command.is_write_medium() {
        assert!(!during(Reservation::WriteExclusive) && !during(Reservation::Spc2));
        assert!(command.needs_medium());
    }
}

/// What is let through stays on the medium, and changes it only where it may be
/// changed.
fn allowed(command: &Command, info: &DeviceInfo<'_>) {
    let inside = |(lba, blocks): (u64, u64)| {
        lba.checked_add(blocks)
            .is_some_and(|end| end <= info.blocks)
    };
    assert!(command.extent().is_none_or(inside));
    assert!(command.touches(info.blocks).is_none_or(inside));
    assert!(!command.is_write_medium() || !info.is_write_protected());
    if let Command::Read { blocks, .. } | Command::Write { blocks, .. } = command {
        assert!(info.max_transfer == 0 || *blocks <= info.max_transfer);
    }
    if let Command::WriteSame { .. } = command {
        let extent = command.write_same_extent(info).expect("it was checked");
        assert!(inside(extent));
        assert!(info.max_write_same == 0 || extent.1 <= info.max_write_same);
    }
    if let Command::WriteAtomic { blocks, .. } = command {
        assert!(u32::from(*blocks) <= info.atomic.max_len);
    }
}
