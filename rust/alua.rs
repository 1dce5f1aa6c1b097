// SPDX-License-Identifier: GPL-2.0

//! Carries out REPORT and SET TARGET PORT GROUPS, and REPORT REFERRALS.
//!
//! On the slow workqueue, but not in the line of the device: a path must be
//! found, or switched, also when the disk hangs.

use crate::{
    exec,
    proto::scsi::{
        alua::{
            Changes,
            MAX_LIST_LEN, //
        },
        command::Command,
        sense::Sense,
        status::Status, //
    },
    sys::{
        misc,
        pages::Gfp, //
    },
    target::{
        Arrival,
        Nexus, //
    },
    task::{
        self,
        Awaited,
        Body,
        Head,
        Outcome,
        Task,
        Verb, //
    }, //
};
use kernel::prelude::*;

/// The longest answer, in bytes: 255 ports in each of some thirty groups.
const MAX_ANSWER: usize = 32 << 10;

/// Carries a command out.
pub(crate) fn run(mut task: Task) {
    let (head, body) = task.both();
    if head.is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    let Some(nexus) = head.nexus.clone() else {
        return task::finish(task, Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    match body.verb {
        Verb::Command(Command::ReportTargetPortGroups { extended, alloc }) => {
            answer(task, alloc, |out| {
                nexus.device().report_groups(&nexus, extended, out)
            })
        }
        Verb::Command(Command::ReportReferrals { lba, one, alloc }) => answer(task, alloc, |out| {
            nexus.device().report_referrals(lba, one, out)
        }),
        Verb::Command(Command::SetTargetPortGroups { list_len }) => {
            match set(head, body, &nexus, list_len) {
                Ok(None) => task::finish(task, Outcome::GOOD),
                Ok(Some(arrival)) => {
                    body.awaited = Some(Awaited::Arrival(arrival));
                    task::watch(task);
                }
                Err(outcome) => task::finish(task, outcome),
            }
        }
        _ => task::finish(task, Sense::INTERNAL_TARGET_FAILURE.into()),
    }
}

fn answer(task: Task, alloc: u32, write: impl FnOnce(&mut [u8]) -> usize) {
    let len = usize::try_from(alloc).unwrap_or(MAX_ANSWER).min(MAX_ANSWER);
    let Ok(mut bytes) = misc::zeros(len, GFP_KERNEL) else {
        return task::finish(task, Outcome::status(Status::Busy));
    };
    let whole = write(&mut bytes);
    bytes.truncate(whole.min(len));
    exec::answer_with(task, &bytes, Gfp::Sleep);
}

/// Changes what is to be changed; returns what is to be waited for then.
fn set(head: &Head, body: &Body, nexus: &Nexus, list_len: u32) -> Result<Option<Arrival>, Outcome> {
    let len = usize::try_from(list_len).unwrap_or(usize::MAX);
    if len > MAX_LIST_LEN {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR.into());
    }
    let list = body.parameter_list(len)?;
    let changes = Changes::parse(&list)?;
    Ok(nexus.device().set_groups(&changes, head.session.id())?)
}
