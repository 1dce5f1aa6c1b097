// SPDX-License-Identifier: GPL-2.0

//! Any command with any Data-Out PDUs, legal or not, and the cuts of a read.

use std::collections::VecDeque;

use arbitrary::Arbitrary;
use arbitrary::Unstructured;
use ferrite_proto::transfer::*;

#[derive(Arbitrary, Debug)]
struct Command {
    edtl: u32,
    wanted: Option<u32>,
    immediate_len: u32,
    final_bit: bool,
    initial_r2t: bool,
    immediate_data: bool,
    first_burst: u32,
    max_burst: u32,
    max_outstanding_r2t: u16,
}

#[derive(Arbitrary, Debug)]
enum Event {
    /// The target sends an R2T, if one is due.
    R2t,
    /// The initiator sends at most this much of what it owes.
    Legal { len: u32 },
    /// The initiator sends all that it owes for one R2T.
    Rest,
    /// The initiator sends what it owes, but for some fields.
    Almost { change: Pdu, which: u8 },
    /// The initiator sends anything.
    Any { pdu: Pdu },
    /// The command fails for another reason.
    Stop,
}

#[derive(Arbitrary, Debug)]
struct Pdu {
    ttt_index: Option<u8>,
    data_sn: u32,
    offset: u32,
    len: u32,
    final_bit: bool,
}

/// What is due from the initiator: the slot, from where, to where.
type Due = (Option<u8>, u32, u32);

/// The bytes are a command and events, or the numbers of a read.
pub fn run(data: &[u8]) {
    let mut data = Unstructured::new(data);
    if let Ok(true) = data.arbitrary::<bool>() {
        if let Ok((len, segment, burst)) = data.arbitrary() {
            read(len, segment, burst);
        }
    } else if let Ok(command) = data.arbitrary::<Command>() {
        write(&command, &mut data);
    }
}

fn write(command: &Command, data: &mut Unstructured<'_>) {
    let params = WriteParams {
        edtl: command.edtl,
        wanted: command.wanted.unwrap_or(command.edtl),
        immediate_len: command.immediate_len,
        final_bit: command.final_bit,
        initial_r2t: command.initial_r2t,
        immediate_data: command.immediate_data,
        first_burst: command.first_burst.clamp(512, 0xff_ffff),
        max_burst: command.max_burst.clamp(512, 0xff_ffff),
        max_outstanding_r2t: command.max_outstanding_r2t.into(),
        recovers: false,
    };
    let (mut plan, mut end) = match WritePlan::new(&params) {
        Ok(plan) => (plan, params.immediate_len),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.sense().is_some() || error.reject_reason().is_some());
            (WritePlan::refused(params.final_bit), 0)
        }
    };
    let refused = plan.is_stopped();
    let wanted = params.wanted.min(params.edtl);
    let most_r2ts = params.max_outstanding_r2t.clamp(1, 32) as usize;
    assert_eq!(plan.kept(0, end), if refused { 0 } else { end.min(wanted) });

    let mut due: VecDeque<Due> = VecDeque::new();
    if !params.final_bit {
        due.push_back((None, end, params.first_burst.min(params.edtl)));
    }
    let (mut data_sn, mut r2ts) = (0, 0);
    while !data.is_empty() {
        let Ok(event) = data.arbitrary::<Event>() else {
            break;
        };
        let legal = |len: u32| {
            let &(ttt_index, from, to) = due.front()?;
            let len = len.min(to.saturating_sub(from));
            Some(DataOutHdr {
                ttt_index,
                data_sn,
                offset: from,
                len,
                final_bit: from + len == to,
            })
        };
        let any = |pdu: &Pdu| DataOutHdr {
            ttt_index: pdu.ttt_index,
            data_sn: pdu.data_sn,
            offset: pdu.offset,
            len: pdu.len,
            final_bit: pdu.final_bit,
        };
        let pdu = match event {
            Event::R2t => {
                let Some(cut) = plan.next_r2t() else {
                    continue;
                };
                assert!(!plan.is_stopped());
                assert!(due
                    .iter()
                    .all(|due| due.0.is_some() && due.0 != Some(cut.slot)));
                assert!(due.len() < most_r2ts && cut.slot < MAX_OUTSTANDING_R2T);
                let asked = due.back().map_or(end, |due| due.2);
                assert_eq!((cut.offset, cut.r2t_sn), (asked, r2ts));
                assert!(cut.len != 0 && cut.len <= params.max_burst);
                assert!(cut.len <= wanted - cut.offset);
                due.push_back((Some(cut.slot), cut.offset, cut.offset + cut.len));
                r2ts += 1;
                continue;
            }
            Event::Stop => {
                plan.stop();
                assert!(plan.is_stopped() && !plan.is_complete());
                continue;
            }
            Event::Legal { len } => legal(len),
            Event::Rest => legal(u32::MAX),
            Event::Almost { change, which } => legal(change.len).map(|mut pdu| {
                let change = any(&change);
                if which & 1 != 0 {
                    pdu.ttt_index = change.ttt_index;
                }
                if which & 2 != 0 {
                    pdu.data_sn = change.data_sn;
                }
                if which & 4 != 0 {
                    pdu.offset = change.offset;
                }
                if which & 8 != 0 {
                    pdu.len = change.len;
                }
                if which & 16 != 0 {
                    pdu.final_bit = change.final_bit;
                }
                pdu
            }),
            Event::Any { pdu } => Some(any(&pdu)),
        };
        let Some(pdu) = pdu else {
            continue;
        };
        let is_legal = due.front().is_some_and(|&(ttt_index, from, to)| {
            let pdu_end = u64::from(pdu.offset) + u64::from(pdu.len);
            (pdu.ttt_index, pdu.data_sn, pdu.offset) == (ttt_index, data_sn, from)
                && pdu_end <= u64::from(to)
                && (!pdu.final_bit || pdu_end == u64::from(to))
        });
        let was_stopped = plan.is_stopped();
        let result = plan.data_out(pdu);
        match result {
            Ok(kept) if was_stopped => assert_eq!(kept, 0),
            Ok(kept) => {
                assert!(is_legal, "{pdu:?} was accepted");
                assert_eq!(pdu.offset, end, "neither a hole nor twice");
                end = pdu.offset.checked_add(pdu.len).expect("within the command");
                assert!(end <= params.edtl);
                assert_eq!(kept, wanted.saturating_sub(pdu.offset).min(pdu.len));
                data_sn += 1;
                due[0].1 = end;
            }
            Err(error) => {
                assert!(was_stopped || !is_legal, "{pdu:?}: {error}");
                assert!(!error.to_string().is_empty());
                assert!(error.sense().is_some() || error.reject_reason().is_some());
                assert_eq!(plan.is_stopped(), was_stopped || error.sense().is_some());
            }
        }
        // An F bit ends its sequence, unless nobody knows that one.
        let ends = match result {
            Ok(_) => true,
            Err(error) => error.sense().is_some(),
        };
        if pdu.final_bit && ends {
            due.retain(|due| due.0 != pdu.ttt_index);
            data_sn = 0;
        }
        assert_eq!(plan.received(), end);
        assert_eq!(plan.is_settled(), due.is_empty());
        assert_eq!(
            plan.outstanding_r2ts() as usize,
            due.iter().filter(|due| due.0.is_some()).count()
        );
        let all = due.is_empty() && end >= wanted && !plan.is_stopped();
        assert_eq!(plan.is_complete(), all);
    }
}

fn read(len: u32, max_segment: u32, max_burst: u32) {
    // As many PDUs as can be looked at in no time.
    let len = len.min(4 << 20);
    let (segment, burst) = (
        max_segment.clamp(512, 0xff_ffff),
        max_burst.clamp(512, 0xff_ffff),
    );
    let (mut end, mut in_burst) = (0, 0);
    let mut plan = ReadPlan::new(len, max_segment, max_burst);
    while let Some(cut) = plan.next() {
        assert_eq!(cut.offset, end);
        assert!(cut.len != 0 && cut.len <= segment);
        end += cut.len;
        in_burst += cut.len;
        assert!(in_burst <= burst);
        assert_eq!(cut.end_of_burst, in_burst == burst || end == len);
        assert_eq!(cut.last, end == len);
        assert_eq!(
            (plan.data_sn(), plan.remaining()),
            (cut.data_sn + 1, len - end)
        );
        if cut.end_of_burst {
            in_burst = 0;
        }
    }
    assert_eq!(end, len);
}
