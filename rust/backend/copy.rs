// SPDX-License-Identifier: GPL-2.0

//! EXTENDED COPY: copies from one unit to another, or within one. Slow
//! workqueue.
//!
//! The copy manager is the unit that got the command. It reads and writes as the
//! session would: what the session does not see does not exist, what it may not
//! read or write is not read or written. That is looked at again for every part
//! of a segment, so that a reservation, a write protection or a LUN that goes
//! away stops a copy that is under way.
//!
//! A command is worked on for [`ROUND_MS`] at a time, and then waits its turn in
//! the line of its device.

use super::{
    bdev::{
        failed,
        share, //
    },
    medium::Scratch, //
};
use crate::{
    proto::scsi::{
        command::{
            Command,
            CopyResults,
            Reservation, //
        },
        sense::{
            Forwarded,
            Sense, //
        },
        status::Status,
        xcopy::{
            self,
            End,
            Form,
            Part,
            Plan,
            Segment,
            State,
            Walk, //
        }, //
    },
    stats::{
        self,
        Stat, //
    },
    sys::{
        bdev::Bdev,
        bio,
        misc, //
    },
    target::{
        Copying,
        Device,
        Nexus,
        NoCopy,
        Noted, //
    },
    task::{
        self,
        Body,
        Head,
        Outcome,
        Task,
        Verb, //
    }, //
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What is read and written at once, in bytes.
const PART: u64 = 1 << 20;

/// Milliseconds for which one command is worked on before others of its device
/// come.
const ROUND_MS: u64 = 100;

/// Begins an EXTENDED COPY.
pub(crate) fn copy(mut task: Task) {
    stats::one(Stat::Slow);
    let (head, body) = task.both();
    if head.is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    match begin(head, body) {
        Ok(true) => go_on(task),
        Ok(false) => task::finish(task, Outcome::GOOD),
        Err(outcome) => task::finish(task, outcome),
    }
}

/// Reads the parameter list; false when there is nothing to copy.
fn begin(head: &Head, body: &mut Body) -> Result<bool, Outcome> {
    const BUSY: Outcome = Outcome::status(Status::Busy);
    let (Some(nexus), Verb::Command(Command::ExtendedCopy { form, list_len })) =
        (head.nexus.as_ref(), body.verb)
    else {
        return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    if list_len == 0 {
        return Ok(false);
    }
    let len = usize::try_from(list_len).unwrap_or(usize::MAX);
    if body.data.len() < len || list_len > form.max_list_len() {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR.into());
    }
    let mut list = KVec::from_elem(0u8, len, GFP_KERNEL).map_err(|_| BUSY)?;
    body.data
        .read_at(0, &mut list)
        .map_err(|_| Outcome::from(Sense::PARAMETER_LIST_LENGTH_ERROR))?;
    let list_id = xcopy::parse(form, &list)?.list_id;
    let action = match form {
        Form::Lid1 => 0x00,
        Form::Lid4 => 0x01,
    };
    let noted = match list_id {
        None => None,
        Some(list_id) => match Noted::new(nexus, list_id, action) {
            Ok(noted) => Some(noted),
            Err(NoCopy::Duplicate) => return Err(Sense::COPY_OPERATION_IN_PROGRESS.into()),
            Err(NoCopy::NoRoom) => return Err(BUSY),
        },
    };
    let copying = Copying {
        form,
        list,
        segment: 0,
        walk: Walk::default(),
        noted,
    };
    body.copying = Some(KBox::new(copying, GFP_KERNEL).map_err(|_| BUSY)?);
    Ok(true)
}

/// Goes on with a copy for a while.
fn go_on(mut task: Task) {
    let (head, body) = task.both();
    let Some(mut copying) = body.copying.take() else {
        return task::finish(task, Sense::INTERNAL_TARGET_FAILURE.into());
    };
    let done = match Round::new(head, copying.walk.done == 0) {
        Ok(mut round) => round.run(&mut copying),
        Err(outcome) => Err(outcome),
    };
    match done {
        Ok(false) => {
            body.copying = Some(copying);
            task::again(task, go_on);
        }
        Ok(true) => {
            note_end(&copying, State::Done);
            drop(copying);
            task::finish(task, Outcome::GOOD);
        }
        Err(outcome) => {
            if let Some(sense) = outcome.sense {
                note_end(&copying, State::Failed(sense));
            }
            drop(copying);
            task::finish(task, outcome);
        }
    }
}

fn note_end(copying: &Copying, state: State) {
    if let Some(noted) = &copying.noted {
        let aborted = noted.is_aborted() && state != State::Done;
        noted.note(|record| record.state = if aborted { State::Aborted } else { state });
    }
}

/// What one side of a segment is.
struct Side {
    nexus: Arc<Nexus>,
    destination: bool,
}

/// Why a part was not copied.
enum Failure {
    /// The command ends like this.
    Ends(Outcome),
    /// The side is not there.
    Unreachable,
    /// A command to the side would have ended, or has ended, like this.
    Told(Outcome),
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Self {
        Failure::Told(outcome)
    }
}

/// A while of work on a command.
struct Round<'a> {
    head: &'a Head,
    own: &'a Arc<Nexus>,
    data: Scratch,
    until_ms: u64,
}

impl<'a> Round<'a> {
    fn new(head: &'a Head, fresh: bool) -> Result<Self, Outcome> {
        let own = head.nexus.as_ref();
        let own = own.ok_or(Outcome::from(Sense::LOGICAL_UNIT_NOT_SUPPORTED))?;
        let data = Scratch::new(PART as usize).map_err(|busy| match fresh {
            true => busy,
            // A part of it has been copied.
            false => Sense::COPY_INSUFFICIENT_RESOURCES.into(),
        })?;
        Ok(Self {
            head,
            own,
            data,
            until_ms: misc::now_ms().saturating_add(ROUND_MS),
        })
    }

    /// Copies; true when all has been.
    fn run(&mut self, copying: &mut Copying) -> Result<bool, Outcome> {
        // It borrows the list, of which nothing is changed.
        let bytes = core::mem::replace(&mut copying.list, KVec::new());
        let done = match xcopy::parse(copying.form, &bytes) {
            Ok(list) => self.segments(copying, &list),
            Err(sense) => Err(sense.into()),
        };
        copying.list = bytes;
        done
    }

    fn segments(&mut self, copying: &mut Copying, list: &xcopy::List<'_>) -> Result<bool, Outcome> {
        while let Some(segment) = list.segment(copying.segment) {
            if !self.segment(copying, &segment)? {
                return Ok(false);
            }
            copying.segment = copying.segment.saturating_add(1);
            copying.walk = Walk::default();
            if let Some(noted) = &copying.noted {
                noted.note(|record| record.segments = copying.segment);
            }
        }
        Ok(true)
    }

    /// Copies a segment; false when there is more of it to be done.
    fn segment(&mut self, copying: &mut Copying, segment: &Segment<'_>) -> Result<bool, Outcome> {
        let not_there = || Sense::COPY_TARGET_DEVICE_NOT_REACHABLE.in_segment(segment.number, None);
        let side = |end: &End<'_>, destination: bool| -> Result<Side, Outcome> {
            let nexus = self.resolve(end).ok_or_else(not_there)?;
            let device = nexus.device();
            let fits = match end {
                End::Own => true,
                End::Named(cscd) => cscd.fits(1u32.wrapping_shl(device.block_shift())),
            };
            if !fits {
                return Err(Sense::INCORRECT_COPY_TARGET_DEVICE_TYPE
                    .in_segment(segment.number, None)
                    .into());
            }
            Ok(Side { nexus, destination })
        };
        let source = side(&segment.source, false)?;
        let destination = side(&segment.destination, true)?;
        let size = |side: &Side| {
            let device = side.nexus.device();
            (device.block_shift(), device.blocks())
        };
        let plan = segment.plan(size(&source), size(&destination))?;
        if copying.walk.done == 0 {
            let same = Arc::ptr_eq(source.nexus.device(), destination.nexus.device());
            copying.walk.backward = same && segment.is_backward(&plan);
        }
        while let Some(part) = copying.walk.next(plan.bytes, PART) {
            self.go_on(copying, segment, &plan)?;
            if misc::now_ms() > self.until_ms {
                return Ok(false);
            }
            let done = self
                .read(&source, segment, part)
                .map_err(|failure| (&source, failure))
                .and_then(|()| {
                    self.write(&destination, segment, part)
                        .map_err(|failure| (&destination, failure))
                });
            if let Err((side, failure)) = done {
                return Err(aborted(segment, &plan, &copying.walk, side, failure));
            }
            copying.walk.done = copying.walk.done.saturating_add(part.len);
            if let Some(noted) = &copying.noted {
                noted.note(|record| record.wrote(part.len));
            }
        }
        Ok(true)
    }

    /// Whether the command is still wanted.
    fn go_on(&self, copying: &Copying, segment: &Segment<'_>, plan: &Plan) -> Result<(), Outcome> {
        if self.head.is_aborted() {
            // Nobody is told anything.
            return Err(Outcome::GOOD);
        }
        if self.own.is_gone() {
            return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
        }
        if copying.noted.as_ref().is_some_and(Noted::is_aborted) {
            let mut sense = Sense::COPY_ABORTED.in_segment(segment.number, None);
            sense.info = copying.walk.residual_blocks(plan);
            return Err(sense.into());
        }
        Ok(())
    }

    /// The session's way to what a segment names. Only what is in the session's
    /// own view is looked at.
    fn resolve(&self, end: &End<'_>) -> Option<Arc<Nexus>> {
        let End::Named(cscd) = end else {
            return Some(self.own.clone());
        };
        let named = |nexus: &Arc<Nexus>| {
            !nexus.is_gone()
                && nexus
                    .device()
                    .with_info(false, |info| cscd.names(info.company_id, info.serial))
        };
        if named(self.own) {
            return Some(self.own.clone());
        }
        let mut found: Option<Arc<Nexus>> = None;
        let mut next = 0;
        while let Some(nexus) = self.head.session.nexus_from(next) {
            if named(&nexus) {
                match &found {
                    None => found = Some(nexus.clone()),
                    // Which of two disks is meant nobody can tell.
                    Some(other) if !Arc::ptr_eq(other.device(), nexus.device()) => return None,
                    Some(_) => {}
                }
            }
            match nexus.number().checked_add(1) {
                Some(n) => next = n,
                None => break,
            }
        }
        found
    }

    fn read(&mut self, side: &Side, segment: &Segment<'_>, part: Part) -> Result<(), Failure> {
        let device = side.nexus.device();
        let (lba, blocks) = place(segment.source_lba, part, device);
        let _used = self.share(device, lba..lba.saturating_add(blocks))?;
        let _part = side.nexus.copies().begin_part();
        let bdev = self.allowed(side, lba, blocks)?;
        let sector = lba.wrapping_shl(device.block_shift().saturating_sub(9));
        bio::read_wait(bdev, sector, self.data.buf(), 0..part.len as usize)
            .map_err(|error| Failure::Told(failed(error, lba, true)))
    }

    fn write(&self, side: &Side, segment: &Segment<'_>, part: Part) -> Result<(), Failure> {
        let device = side.nexus.device();
        let (lba, blocks) = place(segment.destination_lba, part, device);
        let _used = self.share(device, lba..lba.saturating_add(blocks))?;
        let _part = side.nexus.copies().begin_part();
        let bdev = self.allowed(side, lba, blocks)?;
        let sector = lba.wrapping_shl(device.block_shift().saturating_sub(9));
        let range = 0..part.len as usize;
        bio::write_wait(
            bdev,
            sector,
            self.data.peek(),
            range,
            device.write_through(),
        )
        .map_err(|error| Failure::Told(failed(error, lba, false)))
    }

    fn share<'d>(
        &self,
        device: &'d Device,
        blocks: Range<u64>,
    ) -> Result<crate::target::Used<'d>, Failure> {
        share(self.head, device, blocks).map_err(Failure::Ends)
    }

    /// Whether the session may read or write blocks of a side now.
    fn allowed<'s>(&self, side: &'s Side, lba: u64, blocks: u64) -> Result<&'s Bdev, Failure> {
        let nexus = &side.nexus;
        let device = nexus.device();
        if nexus.is_gone() {
            return Err(Failure::Unreachable);
        }
        let bdev = device.bdev().ok_or(Failure::Unreachable)?;
        let conflict = Failure::Told(Outcome::status(Status::ReservationConflict));
        if device.is_reserved_against(self.head.session.id()) {
            return Err(conflict);
        }
        if let Some(kind) = device.reservation() {
            let may = !side.destination && kind.keeps_from() == Reservation::WriteExclusive;
            if nexus.standing().is_kept_out(kind) && !may {
                return Err(conflict);
            }
        }
        let protected = side.destination
            && device.with_info(nexus.read_only(), |info| info.is_write_protected());
        if protected {
            return Err(Outcome::from(Sense::WRITE_PROTECTED).into());
        }
        crate::proto::scsi::check_range(lba, blocks, device.blocks())
            .map_err(|sense| Failure::Told(sense.into()))?;
        Ok(bdev)
    }
}

/// The blocks of a part.
fn place(first: u64, part: Part, device: &Device) -> (u64, u64) {
    let shift = device.block_shift();
    (
        first.saturating_add(part.at.wrapping_shr(shift)),
        part.len.wrapping_shr(shift),
    )
}

/// How the command ends when a part could not be copied.
fn aborted(
    segment: &Segment<'_>,
    plan: &Plan,
    walk: &Walk,
    side: &Side,
    failure: Failure,
) -> Outcome {
    let mut sense = match failure {
        Failure::Ends(outcome) => return outcome,
        Failure::Unreachable => Sense::COPY_TARGET_DEVICE_NOT_REACHABLE,
        Failure::Told(outcome) => {
            let mut sense = Sense::THIRD_PARTY_DEVICE_FAILURE;
            sense.forwarded = Some(Forwarded {
                destination: side.destination,
                status: outcome.status,
                sense: outcome.sense.map(|told| (told.key, told.asc, told.ascq)),
            });
            sense
        }
    }
    .in_segment(segment.number, None);
    sense.info = walk.residual_blocks(plan);
    sense.into()
}

/// RECEIVE COPY RESULTS. Softirq.
pub(crate) fn results(
    nexus: &Nexus,
    what: CopyResults,
    list_id: u32,
    out: &mut [u8],
) -> Result<usize, Sense> {
    let device = nexus.device();
    let descriptor = device.descriptor_sense();
    let copies = nexus.copies();
    match what {
        CopyResults::OperatingParameters => {
            Ok(device.with_info(false, |info| xcopy::operating_parameters(info, out)))
        }
        CopyResults::StatusLid1 => copies.with(list_id, |r| xcopy::status_lid1(r, out)),
        CopyResults::StatusLid4 => copies.with(list_id, |r| xcopy::status_lid4(r, descriptor, out)),
        CopyResults::DataLid1 => copies.with(list_id, |r| xcopy::data_lid1(r, out))?,
        CopyResults::FailureDetailsLid1 => {
            copies.with(list_id, |r| xcopy::failure_details(r, descriptor, out))?
        }
    }
}
