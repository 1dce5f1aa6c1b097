// SPDX-License-Identifier: GPL-2.0

//! The parameter lists of third-party copies, and the segments in them on disks
//! of any size: the first byte says which list it is, the second which blocks
//! the disks have.

use ferrite_proto::scsi::{
    xcopy::{
        parse,
        Form,
        Walk,
        MAX_SEGMENTS,
        MAX_SEGMENT_BYTES, //
    },
    SenseKey, //
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let [form, shifts, list @ ..] = data else {
        return;
    };
    let form = if form % 2 == 0 {
        Form::Lid1
    } else {
        Form::Lid4
    };
    let shift = |bits: u8| 9 + u32::from(bits % 4);
    let source = (shift(*shifts), 1 << 40);
    let destination = (shift(*shifts >> 4), 1 << 30);
    let parsed = match parse(form, list) {
        Ok(parsed) => parsed,
        Err(sense) => {
            assert!(matches!(
                sense.key,
                SenseKey::IllegalRequest | SenseKey::CopyAborted
            ));
            if let Some(field) = sense.field {
                assert!(!field.cdb && usize::from(field.byte) < list.len());
            }
            return;
        }
    };
    let mut number = 0;
    while let Some(segment) = parsed.segment(number) {
        assert_eq!(segment.number, number);
        number += 1;
        let plan = match segment.plan(source, destination) {
            Ok(plan) => plan,
            Err(sense) => {
                assert_eq!(sense.key, SenseKey::CopyAborted);
                assert_eq!(sense.command_specific, Some(u64::from(segment.number)));
                continue;
            }
        };
        assert!(plan.bytes <= u64::from(MAX_SEGMENT_BYTES));
        assert!(segment.source_lba + plan.source_blocks <= source.1);
        assert!(segment.destination_lba + plan.destination_blocks <= destination.1);
        let mut walk = Walk {
            done: 0,
            backward: segment.is_backward(&plan),
        };
        while let Some(part) = walk.next(plan.bytes, 1 << 20) {
            assert!(part.at + part.len <= plan.bytes);
            walk.done += part.len;
            assert!(walk.residual_blocks(&plan) <= Some(plan.destination_blocks));
        }
        assert_eq!(walk.done, plan.bytes);
    }
    assert!(number <= MAX_SEGMENTS);
}
