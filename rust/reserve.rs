// SPDX-License-Identifier: GPL-2.0

//! Carries out PERSISTENT RESERVE IN and OUT.
//!
//! On the slow workqueue, but not in the line of the device: a disk that hangs
//! must not keep its other user from being fenced. What changes reservations
//! does so one at a time, and waits for the file system on which they are kept
//! if they shall survive a loss of power.

use crate::{
    exec,
    proto::scsi::{
        command::{
            Command,
            PrIn,
            PrOut, //
        },
        persist::{
            self,
            Event,
            Ports,
            Refusal,
            Request, //
        },
        sense::Sense,
        status::Status,
        ua::Ua, //
    },
    sys::pages::Gfp,
    target::{
        Nexus,
        Target,
        Unchanged, //
    },
    task::{
        self,
        Awaited,
        Body,
        Head,
        Outcome,
        Task,
        Turn,
        Verb, //
    },
    tmf::{
        Fencing,
        Waiter, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The longest answer, in bytes: what ALLOCATION LENGTH can ask for.
const MAX_ANSWER: usize = 0xffff;

/// Carries out a PERSISTENT RESERVE IN.
pub(crate) fn tell(task: Task) {
    if task.shared().is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    let Some(nexus) = task.shared().nexus.clone() else {
        return task::finish(task, Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    match task.peek().verb {
        Verb::Command(Command::PersistentReserveIn { action, alloc }) => {
            report(task, &nexus, action, usize::from(alloc))
        }
        _ => task::finish(task, Sense::INTERNAL_TARGET_FAILURE.into()),
    }
}

/// Carries out a PERSISTENT RESERVE OUT, whose turn it is.
pub(crate) fn change(mut task: Task) {
    let (head, body) = task.both();
    let Some(nexus) = head.nexus.clone() else {
        return task::finish(task, Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    let turn = Turn::of(nexus.device());
    if head.is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    let Verb::Command(Command::PersistentReserveOut {
        action,
        scope,
        kind,
        list_len,
    }) = body.verb
    else {
        return task::finish(task, Sense::INTERNAL_TARGET_FAILURE.into());
    };
    match carry_out(turn, head, body, &nexus, action, scope, kind, list_len) {
        Ok(None) => task::finish(task, Outcome::GOOD),
        Ok(Some(fencing)) => {
            body.awaited = Some(Awaited::Fencing(fencing));
            task::watch(task);
        }
        Err(outcome) => task::finish(task, outcome),
    }
}

fn report(task: Task, nexus: &Nexus, action: PrIn, alloc: usize) {
    let len = alloc.min(MAX_ANSWER);
    let device = nexus.device();
    let bytes = KVVec::from_elem(0u8, len, GFP_KERNEL);
    let (Ok(mut bytes), Ok(persists)) = (bytes, device.can_persist()) else {
        return task::finish(task, Outcome::status(Status::Busy));
    };
    let whole = device.with_persist(|p| p.report(action, persists, &mut bytes));
    bytes.truncate(whole.min(len));
    exec::answer_with(task, &bytes, Gfp::Sleep);
}

/// The ports of a target.
struct Doors<'a>(&'a Target);

impl Ports for Doors<'_> {
    fn has(&self, port: u16) -> bool {
        self.0.find_tpg(|tpg| tpg.rtpi() == port).is_some()
    }
}

/// Changes what there is to be changed; returns what is to be waited for then.
#[expect(clippy::too_many_arguments, reason = "the fields of a CDB")]
fn carry_out(
    turn: Turn,
    head: &Head,
    body: &Body,
    nexus: &Arc<Nexus>,
    action: PrOut,
    scope: u8,
    kind: u8,
    list_len: u32,
) -> Result<Option<KBox<Fencing>>, Outcome> {
    let busy = || Outcome::status(Status::Busy);
    let len = usize::try_from(list_len).unwrap_or(usize::MAX);
    if len > persist::MAX_LIST_LEN {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR.into());
    }
    let list = body.parameter_list(len)?;
    let request = Request {
        action,
        scope,
        kind,
        list: &list,
    };
    let device = nexus.device();
    if persist::wants_aptpl(&request) && !device.can_persist().map_err(|_| busy())? {
        // REPORT CAPABILITIES says so.
        return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST.into());
    }
    let (Some(own), Some(tpg)) = (nexus.it_nexus(), head.session.tpg()) else {
        return Err(Sense::INTERNAL_TARGET_FAILURE.into());
    };
    let mut fencing = Fencing::new(device.nexus_count()).map_err(|_| busy())?;
    let Fencing {
        waiter, victims, ..
    } = &mut *fencing;
    let ports = Doors(tpg.target());
    let done = device.change_persist(
        &turn,
        persist::most_added(&request),
        &mut |persist, tell| persist.out(&own, &request, &ports, tell),
        &mut |other, event| match event {
            Event::ReservationsPreempted => other.post(Ua::ReservationsPreempted),
            Event::ReservationsReleased => other.post(Ua::ReservationsReleased),
            Event::RegistrationsPreempted => other.post(Ua::RegistrationsPreempted),
            // There may be more by now, as the file system may have taken its time.
            Event::Abort => {
                // Logins wait for the lock that is held here: memory is not waited for.
                if victims.push(other.clone(), GFP_NOWAIT).is_err() {
                    waiter.fail();
                }
            }
        },
    );
    match done {
        Ok(()) => {}
        Err(Unchanged::Refused(Refusal::Conflict)) => {
            return Err(Outcome::status(Status::ReservationConflict))
        }
        Err(Unchanged::Refused(Refusal::Sense(sense))) => return Err(sense.into()),
        Err(Unchanged::NoMemory) => return Err(busy()),
        Err(Unchanged::NotKept) => {
            // SPC-4 6.16: what registers is short of a place to keep it.
            return Err(match action {
                PrOut::Register | PrOut::RegisterAndIgnoreExistingKey | PrOut::RegisterAndMove => {
                    Sense::INSUFFICIENT_REGISTRATION_RESOURCES
                }
                _ => Sense::INTERNAL_TARGET_FAILURE,
            }
            .into());
        }
    }
    if victims.is_empty() {
        return Ok(None);
    }
    for victim in victims.iter() {
        let tell = device.task_aborted_status() && !Arc::ptr_eq(victim, nexus);
        // Who preempts himself loses what else he has sent.
        let session = victim.session();
        session.abort_tasks_of(victim, Some(waiter), tell, &|other| {
            !core::ptr::eq(other, head)
        });
    }
    task::end_all_hopeless(device);
    // What the victims have in turn has ended; whoever is next need not wait for their disks.
    drop(turn);
    Waiter::one_ended(waiter);
    Ok(Some(fencing))
}
