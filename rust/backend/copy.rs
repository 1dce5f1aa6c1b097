// SPDX-License-Identifier: GPL-2.0

//! EXTENDED COPY and WRITE USING TOKEN: copies from one unit to another, or
//! within one. Slow workqueue.
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
    medium::Scratch,
    ROUND_MS, //
};
use crate::{
    proto::scsi::{
        command::{
            Command,
            CopyResults,
            Reservation, //
        },
        rod::{
            self,
            Extent, //
        },
        sense::{
            Forwarded,
            Sense,
            SenseKey, //
        },
        status::Status,
        xcopy::{
            self,
            End,
            Form,
            ListId,
            Part,
            Plan,
            Segment,
            State,
            Walk, //
        },
        ReadWriteLimits, //
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
        CopyPart,
        Copying,
        Device,
        Job,
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

const BUSY: Outcome = Outcome::status(Status::Busy);

/// Begins an EXTENDED COPY or WRITE USING TOKEN; or makes a token.
pub(crate) fn copy(mut task: Task) {
    stats::one(Stat::Slow);
    let (head, body) = task.both();
    if head.is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    let begun = match (head.nexus.as_ref(), body.verb) {
        (Some(nexus), Verb::Command(command)) => begin(head, nexus, &command, body),
        _ => Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into()),
    };
    match begun {
        Ok(true) => go_on(task),
        Ok(false) => task::finish(task, Outcome::GOOD),
        Err(outcome) => task::finish(task, outcome),
    }
}

/// Reads the parameter list; false when there is nothing to copy.
fn begin(
    head: &Head,
    nexus: &Arc<Nexus>,
    command: &Command,
    body: &mut Body,
) -> Result<bool, Outcome> {
    let (list_len, most) = match *command {
        Command::ExtendedCopy { form, list_len } => (list_len, form.max_list_len()),
        Command::PopulateToken { list_len, .. } => (list_len, rod::MAX_POPULATE_LEN),
        Command::WriteUsingToken { list_len, .. } => (list_len, rod::MAX_WRITE_LEN),
        _ => return Err(Sense::INTERNAL_TARGET_FAILURE.into()),
    };
    if list_len == 0 {
        return Ok(false);
    }
    let len = usize::try_from(list_len).unwrap_or(usize::MAX);
    if list_len > most {
        return Err(Sense::PARAMETER_LIST_LENGTH_ERROR.into());
    }
    let list = body.parameter_list(len)?;
    let (job, noted) = match *command {
        Command::PopulateToken { list_id, .. } => {
            populate(head, nexus, list_id, &list)?;
            return Ok(false);
        }
        Command::WriteUsingToken { list_id, .. } => write_using(head, nexus, list_id, &list)?,
        Command::ExtendedCopy { form, .. } => {
            let action = match form {
                Form::Lid1 => 0x00,
                Form::Lid4 => 0x01,
            };
            let noted = match xcopy::parse(form, &list)?.list_id {
                Some(list_id) => Some(note(nexus, list_id, action)?),
                None => None,
            };
            (Job::Segments { form, segment: 0 }, noted)
        }
        _ => return Err(Sense::INTERNAL_TARGET_FAILURE.into()),
    };
    let copying = Copying {
        job,
        list,
        walk: Walk::default(),
        noted,
    };
    body.copying = Some(KBox::new(copying, GFP_KERNEL).map_err(|_| BUSY)?);
    Ok(true)
}

fn note(nexus: &Arc<Nexus>, list_id: ListId, action: u8) -> Result<Noted, Outcome> {
    Noted::new(nexus, list_id, action).map_err(|why| match why {
        NoCopy::Duplicate => Sense::COPY_OPERATION_IN_PROGRESS.into(),
        NoCopy::NoRoom => BUSY,
    })
}

/// What is told of a token operation: it has a list identifier always.
fn note_token(nexus: &Arc<Nexus>, id: u32, action: u8) -> Result<Noted, Outcome> {
    let noted = note(nexus, ListId { id, hold: true }, action)?;
    let shift = nexus.device().block_shift();
    noted.note(|record| record.shift = Some(shift));
    Ok(noted)
}

/// POPULATE TOKEN.
fn populate(head: &Head, nexus: &Arc<Nexus>, id: u32, list: &[u8]) -> Result<(), Outcome> {
    let device = nexus.device();
    let mut extents =
        KVec::with_capacity(usize::from(rod::MAX_RANGES), GFP_KERNEL).map_err(|_| BUSY)?;
    let (timeout, blocks) = device.with_info(nexus.read_only(), |info| {
        let asked = rod::parse_populate(list, info)?;
        for extent in asked.extents.iter() {
            let _ = extents.push_within_capacity(extent);
        }
        Ok::<_, Sense>((asked.timeout, asked.extents.blocks()))
    })?;
    let bytes = blocks.wrapping_shl(device.block_shift());
    let noted = note_token(nexus, id, 0x10)?;
    let made = device.tokens().give(&head.session, extents, bytes, timeout);
    if nexus.is_gone() {
        // The session has ended meanwhile, or lost the LUN.
        device.tokens().forget(head.session.id());
        return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    }
    noted.note(|record| match made {
        Ok(token) => {
            record.token = Some(token);
            record.bytes = bytes;
            record.state = State::Done;
        }
        Err(sense) => record.state = State::Failed(sense),
    });
    made?;
    Ok(())
}

/// WRITE USING TOKEN: what it is to copy.
fn write_using(
    head: &Head,
    nexus: &Arc<Nexus>,
    id: u32,
    list: &[u8],
) -> Result<(Job, Option<Noted>), Outcome> {
    let asked = nexus
        .device()
        .with_info(nexus.read_only(), |info| rod::parse_write(list, info))?;
    let noted = note_token(nexus, id, 0x11)?;
    match source_of(head, nexus, &asked) {
        Ok((source, from)) => Ok((Job::Token { source, from }, Some(noted))),
        Err(sense) => {
            noted.note(|record| record.state = State::Failed(sense));
            Err(sense.into())
        }
    }
}

/// What a token stands for, if the session sees it.
fn source_of(
    head: &Head,
    own: &Arc<Nexus>,
    asked: &rod::Write<'_>,
) -> Result<(Arc<Nexus>, KVec<Extent>), Sense> {
    rod::check_token(asked.token)?;
    for nexus in head.session.nexuses() {
        let device = nexus.device();
        if let Some(from) = device.tokens().take(device, asked.token)? {
            if device.block_shift() != own.device().block_shift() {
                return Err(Sense::INVALID_TOKEN_OPERATION.of_token());
            }
            let blocks = rod::total(from.iter().copied());
            let end = asked.offset.checked_add(asked.extents.blocks());
            if end.is_none_or(|end| end > blocks) {
                // OFFSET INTO ROD.
                return Err(Sense::invalid_parameter(8, None));
            }
            // What is written before it has been read would be read as written.
            let same = Arc::ptr_eq(device, own.device());
            if same && rod::meet(from.iter().copied(), asked.extents.iter()) {
                return Err(Sense::INVALID_TOKEN_OPERATION.of_token());
            }
            return Ok((nexus.clone(), from));
        }
    }
    Err(Sense::TOKEN_UNKNOWN.of_token())
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
        let done = match copying.job {
            Job::Segments { form, segment } => match xcopy::parse(form, &bytes) {
                Ok(list) => self.segments(copying, segment, &list),
                Err(sense) => Err(sense.into()),
            },
            Job::Token { .. } => self.token(copying, &bytes),
        };
        copying.list = bytes;
        done
    }

    fn segments(
        &mut self,
        copying: &mut Copying,
        first: u16,
        list: &xcopy::List<'_>,
    ) -> Result<bool, Outcome> {
        let mut number = first;
        while let Some(segment) = list.segment(number) {
            if !self.segment(copying, &segment)? {
                return Ok(false);
            }
            number = number.saturating_add(1);
            if let Job::Segments { segment, .. } = &mut copying.job {
                *segment = number;
            }
            copying.walk = Walk::default();
            if let Some(noted) = &copying.noted {
                noted.note(|record| record.segments = number);
            }
        }
        Ok(true)
    }

    /// Writes what a token stands for; false when there is more to be done.
    fn token(&mut self, copying: &mut Copying, list: &[u8]) -> Result<bool, Outcome> {
        let device = self.own.device();
        let shift = device.block_shift();
        let asked = device.with_info(self.own.read_only(), |info| rod::parse_write(list, info))?;
        let destination = Side {
            nexus: self.own.clone(),
            destination: true,
        };
        loop {
            self.still_wanted(copying)?;
            let Job::Token { source, from } = &copying.job else {
                return Err(Sense::INTERNAL_TARGET_FAILURE.into());
            };
            let skip = copying.walk.done.wrapping_shr(shift);
            let Some((to, there)) = rod::locate(asked.extents.iter(), skip) else {
                if asked.delete {
                    source.device().tokens().delete(asked.token);
                }
                return Ok(true);
            };
            if misc::now_ms() > self.until_ms {
                return Ok(false);
            }
            let here = rod::locate(from.iter().copied(), asked.offset.saturating_add(skip));
            let (at, here) = here.ok_or(Outcome::from(Sense::INTERNAL_TARGET_FAILURE))?;
            let blocks = here.min(there).min(PART.wrapping_shr(shift));
            let source = Side {
                nexus: source.clone(),
                destination: false,
            };
            if let Err(failure) = self.read(&source, at, blocks) {
                return Err(failed_side(failure, &source)?.into());
            }
            self.write(&destination, to, blocks)
                .map_err(|failure| match failure {
                    Failure::Ends(outcome) | Failure::Told(outcome) => outcome,
                    Failure::Unreachable => Sense::LOGICAL_UNIT_NOT_SUPPORTED.into(),
                })?;
            let bytes = blocks.wrapping_shl(shift);
            copying.walk.done = copying.walk.done.saturating_add(bytes);
            if let Some(noted) = &copying.noted {
                noted.note(|record| record.wrote(bytes));
            }
        }
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
        for side in [&source, &destination] {
            // A disk that is gone has no blocks. It is not ready, rather than too short.
            if let Err(failure) = limits_of(side) {
                let sense = failed_side(failure, side)?;
                return Err(sense.in_segment(segment.number, None).into());
            }
        }
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
            self.still_wanted(copying)
                .map_err(|outcome| in_segment(outcome, segment, &plan, &copying.walk))?;
            if misc::now_ms() > self.until_ms {
                return Ok(false);
            }
            let from = place(segment.source_lba, part, &source);
            let to = place(segment.destination_lba, part, &destination);
            let done = self
                .read(&source, from.0, from.1)
                .map_err(|failure| (&source, failure))
                .and_then(|()| {
                    self.write(&destination, to.0, to.1)
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
    fn still_wanted(&self, copying: &Copying) -> Result<(), Outcome> {
        if self.head.is_aborted() {
            // Nobody is told anything.
            return Err(Outcome::GOOD);
        }
        if self.own.is_gone() {
            return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
        }
        if copying.noted.as_ref().is_some_and(Noted::is_aborted) {
            return Err(Sense::COPY_ABORTED.into());
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
            !nexus.is_gone() && nexus.device().with_info(false, |info| cscd.names(info))
        };
        if named(self.own) {
            return Some(self.own.clone());
        }
        let mut found: Option<Arc<Nexus>> = None;
        for nexus in self.head.session.nexuses().filter(named) {
            match &found {
                None => found = Some(nexus),
                // Which of two disks is meant nobody can tell.
                Some(other) if !Arc::ptr_eq(other.device(), nexus.device()) => return None,
                Some(_) => {}
            }
        }
        found
    }

    fn read(&mut self, side: &Side, lba: u64, blocks: u64) -> Result<(), Failure> {
        let device = side.nexus.device();
        let len = blocks.wrapping_shl(device.block_shift()) as usize;
        let _used = self.share(device, lba..lba.saturating_add(blocks))?;
        let _part = CopyPart::begin(&side.nexus);
        let bdev = self.allowed(side, lba, blocks)?;
        let sector = lba.wrapping_shl(device.block_shift().saturating_sub(9));
        bio::read_wait(&bdev, sector, self.data.buf(), 0..len)
            .map_err(|error| Failure::Told(failed(error, lba, true)))
    }

    fn write(&self, side: &Side, lba: u64, blocks: u64) -> Result<(), Failure> {
        let device = side.nexus.device();
        let len = blocks.wrapping_shl(device.block_shift()) as usize;
        let _used = self.share(device, lba..lba.saturating_add(blocks))?;
        let _part = CopyPart::begin(&side.nexus);
        let bdev = self.allowed(side, lba, blocks)?;
        let sector = lba.wrapping_shl(device.block_shift().saturating_sub(9));
        bio::write_wait(
            &bdev,
            sector,
            self.data.peek(),
            0..len,
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
    fn allowed(&self, side: &Side, lba: u64, blocks: u64) -> Result<Arc<Bdev>, Failure> {
        let nexus = &side.nexus;
        let device = nexus.device();
        if self.head.is_aborted() {
            // Maybe while the other side was being read.
            return Err(Failure::Ends(Outcome::GOOD));
        }
        if self.head.session.is_doomed() {
            self.head.end_with_session();
            return Err(Failure::Ends(Outcome::GOOD));
        }
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
        let limits = limits_of(side)?;
        if side.destination && limits.write_protected {
            return Err(Outcome::from(Sense::WRITE_PROTECTED).into());
        }
        crate::proto::scsi::check_range(lba, blocks, limits.blocks)
            .map_err(|sense| Failure::Told(sense.into()))?;
        if let Some(sense) = nexus.refuses_blocks(lba, blocks) {
            return Err(Failure::Told(sense.into()));
        }
        if side.destination && nexus.must_wait() {
            return Err(Failure::Told(Outcome::status(Status::Busy)));
        }
        Ok(bdev)
    }
}

/// What reads and writes of a side are checked against; how they end if its disk is gone.
fn limits_of(side: &Side) -> Result<ReadWriteLimits, Failure> {
    let device = side.nexus.device();
    let limits = device.lost_and_limits(side.nexus.read_only());
    let (_, limits) = limits.ok_or(Failure::Unreachable)?;
    if device.look_lost() == Some(true) {
        return Err(Outcome::from(Sense::NOT_READY_CAUSE_NOT_REPORTABLE).into());
    }
    Ok(limits)
}

/// The blocks of a part.
fn place(first: u64, part: Part, side: &Side) -> (u64, u64) {
    let shift = side.nexus.device().block_shift();
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
    match failed_side(failure, side) {
        Ok(sense) => in_segment(sense.into(), segment, plan, walk),
        Err(outcome) => outcome,
    }
}

/// What is told of a failure of a side, unless the command ends otherwise.
fn failed_side(failure: Failure, side: &Side) -> Result<Sense, Outcome> {
    match failure {
        Failure::Ends(outcome) => Err(outcome),
        Failure::Unreachable => Ok(Sense::COPY_TARGET_DEVICE_NOT_REACHABLE),
        Failure::Told(outcome) => {
            let mut sense = Sense::THIRD_PARTY_DEVICE_FAILURE;
            sense.forwarded = Some(Forwarded {
                destination: side.destination,
                status: outcome.status,
                sense: outcome.sense.map(|told| (told.key, told.asc, told.ascq)),
            });
            Ok(sense)
        }
    }
}

/// Adds the segment, and what is left of it, to what is told of a copy that was
/// aborted.
fn in_segment(outcome: Outcome, segment: &Segment<'_>, plan: &Plan, walk: &Walk) -> Outcome {
    match outcome.sense {
        Some(sense) if sense.key == SenseKey::CopyAborted => {
            let mut sense = sense.in_segment(segment.number, None);
            sense.info = walk.residual_blocks(plan);
            sense.into()
        }
        _ => outcome,
    }
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
        CopyResults::RodTokenInformation => {
            let record = copies.with(list_id, |record| *record)?;
            Ok(device.with_info(false, |info| {
                xcopy::rod_token_information(&record, info, descriptor, out)
            }))
        }
    }
}
