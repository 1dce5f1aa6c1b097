// SPDX-License-Identifier: GPL-2.0

//! Commands on a block device.

use super::medium::{
    self,
    Scratch, //
};
use crate::{
    proto::scsi::{
        command::Command,
        sense::{
            Sense,
            SenseKey, //
        },
        status::Status,
        unmap, //
    },
    stats::{
        self,
        Stat, //
    },
    sys::{
        bdev::{
            Bdev,
            BlkError,
            Live,
            Zero, //
        },
        bio::{
            self,
            BioTask,
            Op, //
        },
        misc,
        pages::PageBuf, //
    },
    target::{
        Device,
        Kind,
        NoRange,
        Used, //
    },
    task::{
        self,
        Body,
        Head,
        Now,
        Outcome,
        Task,
        Verb, //
    }, //
};
use core::ops::Range;
use kernel::prelude::*;

/// WRITE SAME with data is written in pieces of this many bytes.
const PATTERN: usize = 1 << 20;

/// Milliseconds that the search for a bad block may take: a disk that needs
/// seconds for each try shall not need minutes for one command.
const SEARCH_MS: u64 = 2000;

/// What an I/O of a task is.
struct Io {
    op: Op,
    sector: u64,
    bytes: usize,
}

/// The device of a task, which is there when it has been checked.
fn device_of(head: &Head) -> Option<&Device> {
    head.nexus.as_ref().map(|n| &**n.device())
}

fn io_of(command: &Command, device: &Device, data: &PageBuf) -> Option<Io> {
    let shift = device.block_shift().saturating_sub(9);
    match *command {
        Command::Read { lba, .. } => Some(Io {
            op: Op::Read,
            sector: lba.wrapping_shl(shift),
            bytes: data.len(),
        }),
        Command::Write { lba, fua, .. } | Command::WriteAtomic { lba, fua, .. } => Some(Io {
            op: Op::Write {
                fua: fua || device.write_through(),
                preflush: false,
                atomic: matches!(command, Command::WriteAtomic { .. }),
            },
            sector: lba.wrapping_shl(shift),
            bytes: data.len(),
        }),
        Command::SynchronizeCache { .. } => Some(Io {
            op: Op::Flush,
            sector: 0,
            bytes: 0,
        }),
        _ => None,
    }
}

/// The blocks that a READ or WRITE reads or writes.
fn blocks_of(command: &Command, device: &Device, data: &PageBuf) -> Option<Range<u64>> {
    match *command {
        Command::Read { lba, .. }
        | Command::Write { lba, .. }
        | Command::WriteAtomic { lba, .. } => {
            let blocks = (data.len() as u64).wrapping_shr(device.block_shift());
            Some(lba..lba.saturating_add(blocks))
        }
        _ => None,
    }
}

/// Starts the I/O of a READ, WRITE or SYNCHRONIZE CACHE. Submit thread: what
/// would have to wait goes on to the slow workqueue. `now` is that of the batch,
/// which the disk gets as a whole.
pub(crate) fn start(mut task: Task, now: &mut Now) {
    let (head, body) = task.both();
    let Some(device) = device_of(head) else {
        return task::finish(task, Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    let Verb::Command(command) = &body.verb else {
        return task::finish(task, Sense::INTERNAL_TARGET_FAILURE.into());
    };
    body.started = device.begin();
    body.times.submit(now);
    if let Some(blocks) = blocks_of(command, device, &body.data) {
        body.pass = device.ranges().try_enter(&blocks);
        if body.pass.is_none() {
            // Somebody has these blocks to himself.
            body.may_block = true;
            return task::slow(task, start_waiting);
        }
    }
    // Its data may have been long in coming. From here on, and not before, what its
    // blocks are reckoned with stays as it is.
    if let Err(sense) = task::still_there(head, command) {
        return task::finish(task, sense.into());
    }
    let Some(io) = io_of(command, device, &body.data) else {
        return task::finish(task, Sense::INVALID_COMMAND_OPERATION_CODE.into());
    };
    let live = match device.live() {
        Ok(live) => live,
        Err(error) => return Body::complete(task, Err(error)),
    };
    let pieces = body.data.count_pieces(0, io.bytes);
    if !live.fits_nowait(io.sector, io.bytes, pieces) {
        body.may_block = true;
        return task::slow(task, start_waiting);
    }
    stats::one(Stat::BioSubmit);
    go(task, live, io, true);
}

/// As [`start`], on the slow workqueue: the queue may make us wait, and so may
/// a range of blocks that somebody has to himself.
fn start_waiting(mut task: Task) {
    let (head, body) = task.both();
    if head.is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    let Some(device) = device_of(head) else {
        return task::finish(task, Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    let Verb::Command(command) = body.verb else {
        return task::finish(task, Sense::INTERNAL_TARGET_FAILURE.into());
    };
    if body.pass.is_none() {
        if let Some(blocks) = blocks_of(&command, device, &body.data) {
            match device.ranges().enter(&blocks, &|| head.is_aborted()) {
                Ok(pass) => body.pass = Some(pass),
                // It was aborted.
                Err(_) => return task::finish(task, Outcome::GOOD),
            }
        }
    }
    // It may have waited in line for long, see `start`.
    if let Err(sense) = task::still_there(head, &command) {
        return task::finish(task, sense.into());
    }
    let Some(io) = io_of(&command, device, &body.data) else {
        return task::finish(task, Sense::INVALID_COMMAND_OPERATION_CODE.into());
    };
    let live = match device.live() {
        Ok(live) => live,
        Err(error) => return Body::complete(task, Err(error)),
    };
    stats::one(Stat::BioSlow);
    go(task, live, io, false);
}

/// Counts a command that has ended, for LOG SENSE.
fn count(head: &Head, device: &Device, body: &Body, outcome: &Outcome) {
    let Verb::Command(command) = &body.verb else {
        return;
    };
    if head.is_aborted() {
        return;
    }
    let (kind, bytes) = match command {
        Command::Read { .. } => (Kind::Read, body.data.len()),
        Command::Verify { blocks, .. } => {
            let bytes = u64::from(*blocks).wrapping_shl(device.block_shift());
            (Kind::Verify, bytes as usize)
        }
        command => match command.stores(body.data.len()) {
            Some(bytes) => (Kind::Write, bytes),
            None => return,
        },
    };
    match outcome {
        Outcome {
            sense: Some(sense), ..
        } if sense.key == SenseKey::MediumError => device.traffic().failed(kind),
        Outcome {
            status: Status::Good,
            ..
        } => device.traffic().done(kind, bytes, body.started),
        _ => {}
    }
}

/// Ends the task of a READ, WRITE or SYNCHRONIZE CACHE that has been tried. Any
/// context, hardirq included.
fn end(mut task: Task, outcome: Outcome) {
    let (head, body) = task.both();
    if let Some(nexus) = head.nexus.as_ref() {
        let device = nexus.device();
        device.traffic().end();
        count(head, device, body, &outcome);
    }
    task::finish(task, outcome);
}

fn go(task: Task, live: Live, io: Io, nowait: bool) {
    if let Err((task, error)) = bio::submit(task, live, io.op, io.sector, 0..io.bytes, nowait) {
        Body::complete(task, Err(error));
    }
}

impl BioTask<Head> for Body {
    fn data(&mut self) -> &mut PageBuf {
        &mut self.data
    }

    /// Any context, hardirq included.
    fn complete(mut task: Task, result: Result<(), BlkError>) {
        let body = task.get();
        let Err(error) = result else {
            if matches!(body.verb, Verb::Command(Command::Read { .. })) {
                body.data_in = body.data.len();
            }
            return end(task, Outcome::GOOD);
        };
        let Verb::Command(command) = body.verb else {
            return task::finish(task, Sense::INTERNAL_TARGET_FAILURE.into());
        };
        match error {
            BlkError::Again | BlkError::Resource if !body.may_block => {
                body.may_block = true;
                stats::one(Stat::BioAgain);
                task::slow(task, start_waiting);
            }
            _ if is_of_medium(error) && can_be_split(&command) => {
                log_failure(task.shared(), &command, error);
                task::slow(task, find_bad_block);
            }
            _ => {
                log_failure(task.shared(), &command, error);
                let outcome = explain(error, &command);
                end(task, outcome);
            }
        }
    }
}

/// Whether an error is one of some block, and not of the device.
fn is_of_medium(error: BlkError) -> bool {
    matches!(
        error,
        BlkError::Medium | BlkError::Io | BlkError::Target | BlkError::Protection
    )
}

/// Whether a command may be tried again in parts: one that has any, and whose
/// write need not be atomic.
fn can_be_split(command: &Command) -> bool {
    match command {
        Command::Read { blocks, .. } | Command::Write { blocks, .. } => *blocks > 1,
        _ => false,
    }
}

/// A READ or WRITE of several blocks has failed: finds the first block that
/// does, as INFORMATION is to tell it (SBC-3 4.18.1). Slow workqueue.
fn find_bad_block(mut task: Task) {
    let outcome = if task.shared().is_aborted() {
        Outcome::GOOD
    } else {
        first_failure(&mut task)
    };
    end(task, outcome);
}

fn first_failure(task: &mut Task) -> Outcome {
    let (head, body) = task.both();
    let (Some(device), Verb::Command(command)) = (device_of(head), body.verb) else {
        return Sense::INTERNAL_TARGET_FAILURE.into();
    };
    if let Some(blocks) = blocks_of(&command, device, &body.data) {
        match device.ranges().enter(&blocks, &|| head.is_aborted()) {
            Ok(pass) => body.pass = Some(pass),
            // It was aborted.
            Err(_) => return Outcome::GOOD,
        }
    }
    // It may have waited in line for long, see `start`.
    if let Err(sense) = task::still_there(head, &command) {
        return sense.into();
    }
    let Some(io) = io_of(&command, device, &body.data) else {
        return Sense::INTERNAL_TARGET_FAILURE.into();
    };
    let Some(bdev) = device.bdev() else {
        return Sense::LOGICAL_UNIT_NOT_SUPPORTED.into();
    };
    let (without_lba, fua) = match (command, io.op) {
        (Command::Read { .. }, _) => (Sense::UNRECOVERED_READ_ERROR, false),
        (_, Op::Write { fua, .. }) => (Sense::WRITE_ERROR, fua),
        // A flush fails as a whole.
        _ => return Sense::WRITE_ERROR.into(),
    };
    let shift = device.block_shift();
    let block = 1usize.wrapping_shl(shift);
    let deadline = misc::now_ms().saturating_add(SEARCH_MS);
    // All before `low` is good, some block before `high` is bad.
    let (mut low, mut high) = (0usize, io.bytes);
    let mut failed = false;
    while low < high {
        if head.is_aborted() {
            return Outcome::GOOD;
        }
        if misc::now_ms() > deadline {
            return without_lba.into();
        }
        let blocks = high.saturating_sub(low).wrapping_shr(shift);
        let half = low.saturating_add(blocks.div_ceil(2).wrapping_shl(shift));
        let sector = io.sector.saturating_add((low >> 9) as u64);
        let done = match io.op {
            Op::Read => bio::read_wait(&bdev, sector, &mut body.data, low..half),
            _ => bio::write_wait(&bdev, sector, &body.data, low..half, fua),
        };
        match done {
            Ok(()) => low = half,
            Err(error) if !is_of_medium(error) => return explain(error, &command),
            Err(_) if half.saturating_sub(low) <= block => {
                let first = command.first_lba();
                let lba = first.saturating_add(low.wrapping_shr(shift) as u64);
                return without_lba.with_info(lba).into();
            }
            Err(_) => {
                failed = true;
                high = half;
            }
        }
    }
    if failed {
        // What failed a moment ago has not failed again.
        return without_lba.into();
    }
    // The fault is gone, and all has been done in the meantime.
    if matches!(command, Command::Read { .. }) {
        body.data_in = body.data.len();
    }
    Outcome::GOOD
}

/// Logs, at a bounded rate, that the disk has failed a command. Any context,
/// hardirq included.
fn log_failure(head: &Head, command: &Command, error: BlkError) {
    let Some(nexus) = head
        .nexus
        .as_ref()
        .filter(|_| misc::may_log(misc::Topic::Storage))
    else {
        return;
    };
    let what = match command {
        Command::Read { .. } => "read",
        Command::SynchronizeCache { .. } => "flush",
        _ => "write",
    };
    let device = nexus.device();
    pr_err!(
        "core/iblock_{}/{}: {} at block {} failed: {:?} (LUN {} of {})\n",
        device.hba(),
        core::str::from_utf8(device.name()).unwrap_or("?"),
        what,
        command.first_lba(),
        error,
        nexus.number(),
        head.session.initiator().as_str()
    );
}

/// What an initiator is told of a failure of the device.
fn explain(error: BlkError, command: &Command) -> Outcome {
    let lba = command.first_lba();
    failed(error, lba, matches!(command, Command::Read { .. }))
}

/// What an initiator is told of a read or a write from `lba` on that failed.
pub(super) fn failed(error: BlkError, lba: u64, reading: bool) -> Outcome {
    match error {
        BlkError::NoSpace => Sense::SPACE_ALLOCATION_FAILED_WRITE_PROTECT.into(),
        BlkError::ReservationConflict => Outcome::status(Status::ReservationConflict),
        BlkError::Offline | BlkError::Closed => Sense::NOT_READY_CAUSE_NOT_REPORTABLE.into(),
        BlkError::Resource | BlkError::Again => Outcome::status(Status::Busy),
        BlkError::ReadOnly => Sense::WRITE_PROTECTED.into(),
        BlkError::OutOfRange => Sense::LBA_OUT_OF_RANGE.with_info(lba).into(),
        BlkError::NotSupported => Sense::INVALID_COMMAND_OPERATION_CODE.into(),
        BlkError::Timeout | BlkError::Transport => Sense::LOGICAL_UNIT_COMMUNICATION_FAILURE.into(),
        BlkError::Medium
        | BlkError::Io
        | BlkError::Target
        | BlkError::Protection
        | BlkError::DurationLimit
        | BlkError::Invalid => {
            let sense = if reading {
                Sense::UNRECOVERED_READ_ERROR
            } else {
                Sense::WRITE_ERROR
            };
            sense.with_info(lba).into()
        }
    }
}

/// Carries out what needs more than one step, waiting for the device. None when
/// others of the device are to have their turn before the rest of it. Slow
/// workqueue.
pub(crate) fn carry_out(task: &mut Task) -> Option<Outcome> {
    let (head, body) = task.both();
    let (Some(device), Verb::Command(command)) = (device_of(head), body.verb) else {
        return Some(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    let now = device.begin_other();
    if body.verified == 0 {
        body.started = now;
        body.times.submit(&mut Now::default());
    }
    // It may have waited in line for long, see `start`.
    let outcome = match task::still_there(head, &command) {
        Ok(()) => carry_out_on(head, device, &command, body),
        Err(sense) => Some(sense.into()),
    };
    device.end_other();
    let outcome = outcome?;
    count(head, device, body, &outcome);
    Some(outcome)
}

fn carry_out_on(
    head: &Head,
    device: &Device,
    command: &Command,
    body: &mut Body,
) -> Option<Outcome> {
    let read_only = head.nexus.as_ref().is_some_and(|n| n.read_only());
    Some(match *command {
        Command::Unmap { list_len, .. } => unmap_all(
            head,
            device,
            command,
            read_only,
            usize::from(list_len),
            body,
        ),
        Command::WriteSame { .. } => write_same(head, device, command, read_only, body),
        Command::StartStopUnit { .. } => match device.flush() {
            Ok(()) => Outcome::GOOD,
            Err(error) => explain(error, command),
        },
        Command::Verify { .. }
        | Command::WriteAndVerify { .. }
        | Command::CompareAndWrite { .. }
        | Command::OrWrite { .. }
        | Command::PreFetch { .. } => return medium::carry_out(head, device, command, body),
        _ => Sense::INVALID_COMMAND_OPERATION_CODE.into(),
    })
}

/// Uses blocks beside others; waits while somebody has them to himself.
pub(super) fn share<'a>(
    head: &Head,
    device: &'a Device,
    blocks: Range<u64>,
) -> Result<Used<'a>, Outcome> {
    device
        .ranges()
        .share(blocks, &|| head.is_aborted())
        .map_err(no_range)
}

/// Whether a command is still to do what comes next; asked for anew after each wait. Whoever
/// has aborted it wants it to end, and is told nothing else.
pub(super) fn go_on(head: &Head, command: &Command) -> Result<(), Outcome> {
    if head.is_aborted() {
        return Err(Outcome::GOOD);
    }
    Ok(task::still_there(head, command)?)
}

/// How a command ends that could not have its blocks.
pub(super) fn no_range(why: NoRange) -> Outcome {
    match why {
        // It was aborted: nobody is told anything.
        NoRange::GivenUp => Outcome::GOOD,
        NoRange::NoMemory => Outcome::status(Status::Busy),
    }
}

fn unmap_all(
    head: &Head,
    device: &Device,
    command: &Command,
    read_only: bool,
    list_len: usize,
    body: &mut Body,
) -> Outcome {
    let list = match body.parameter_list(list_len) {
        Ok(list) => list,
        Err(outcome) => return outcome,
    };
    // All descriptors are checked before the first is acted on.
    let parsed = device.with_info(read_only, |info| unmap::parse(&list, info));
    let extents = match parsed {
        Ok(extents) => extents,
        Err(sense) => return sense.into(),
    };
    if let Some(nexus) = head.nexus.as_ref() {
        let refused = |(lba, blocks)| nexus.refuses_blocks(lba, u64::from(blocks));
        if let Some(sense) = extents.clone().find_map(refused) {
            return sense.into();
        }
    }
    let shift = device.block_shift().saturating_sub(9);
    for (lba, blocks) in extents {
        let end = lba.saturating_add(u64::from(blocks));
        let used = share(head, device, lba..end);
        let _used = match used.and_then(|used| go_on(head, command).map(|()| used)) {
            Ok(used) => used,
            Err(outcome) => return outcome,
        };
        let Some(bdev) = device.bdev() else {
            return Sense::LOGICAL_UNIT_NOT_SUPPORTED.into();
        };
        let sector = lba.wrapping_shl(shift);
        let sectors = u64::from(blocks).wrapping_shl(shift);
        let mut done = Err(BlkError::NotSupported);
        if device.unmaps_to_zeros() {
            done = bdev.zeroout(sector, sectors, Zero::Unmap);
            if done == Err(BlkError::NotSupported) {
                // The device has given it up since it was opened, as loop
                // devices do on some file systems. Writing zeros would take
                // the space that is to be freed.
                device.unmapped_is_undefined();
            }
        }
        if done == Err(BlkError::NotSupported) {
            done = bdev.discard(sector, sectors);
        }
        if let Err(error) = done {
            return failed(error, lba, false);
        }
    }
    match make_durable(device) {
        Ok(()) => Outcome::GOOD,
        Err(error) => explain(error, command),
    }
}

/// Makes durable what has been done to blocks by other means than a write with FUA, if all that
/// is acknowledged has to be.
fn make_durable(device: &Device) -> Result<(), BlkError> {
    if device.write_through() {
        device.flush()
    } else {
        Ok(())
    }
}

fn write_same(
    head: &Head,
    device: &Device,
    command: &Command,
    read_only: bool,
    body: &mut Body,
) -> Outcome {
    let Command::WriteSame { unmap, ndob, .. } = *command else {
        return Sense::INTERNAL_TARGET_FAILURE.into();
    };
    let extent = device.with_info(read_only, |info| command.write_same_extent(info));
    let (lba, blocks) = match extent {
        Ok(extent) => extent,
        Err(sense) => return sense.into(),
    };
    let block = 1usize.wrapping_shl(device.block_shift());
    let shift = device.block_shift().saturating_sub(9);
    let (sector, sectors) = (lba.wrapping_shl(shift), blocks.wrapping_shl(shift));
    let mut pattern = KVec::new();
    let mut zeros = ndob;
    if !ndob {
        // WRITE SAME takes exactly one block (SBC-3 5.50): what an initiator
        // sends more of, it means for something.
        if body.data.len() != block || body.edtl as usize != block {
            return Sense::INVALID_FIELD_IN_CDB.into();
        }
        match misc::zeros(block, GFP_KERNEL) {
            Ok(buffer) => pattern = buffer,
            Err(_) => return Outcome::status(Status::Busy),
        }
        if body.data.read_at(0, &mut pattern).is_err() {
            return Sense::INTERNAL_TARGET_FAILURE.into();
        }
        zeros = pattern.iter().all(|b| *b == 0);
    }
    let used = share(head, device, lba..lba.saturating_add(blocks));
    let _used = match used.and_then(|used| go_on(head, command).map(|()| used)) {
        Ok(used) => used,
        Err(outcome) => return outcome,
    };
    let Some(bdev) = device.bdev() else {
        return Sense::LOGICAL_UNIT_NOT_SUPPORTED.into();
    };
    // With UNMAP the data does not matter: the blocks are unmapped, and read
    // as zeros where LBPRZ says so (SBC-3 4.7.3.4.4). So do the kernel's target and
    // scsi_debug, and so expects iscsi-test-cu; QEMU writes what is no zeros.
    let why = |error| explain(error, command);
    let done = if unmap && !device.unmaps_to_zeros() {
        bdev.discard(sector, sectors).map_err(why)
    } else if zeros || unmap {
        let how = if unmap {
            Zero::UnmapOrWrite
        } else {
            Zero::Write
        };
        bdev.zeroout(sector, sectors, how).map_err(why)
    } else {
        write_pattern(head, command, &bdev, sector, sectors, &pattern)
    };
    match done.and_then(|()| make_durable(device).map_err(why)) {
        Ok(()) => Outcome::GOOD,
        Err(outcome) => outcome,
    }
}

fn write_pattern(
    head: &Head,
    command: &Command,
    bdev: &Bdev,
    sector: u64,
    sectors: u64,
    pattern: &[u8],
) -> Result<(), Outcome> {
    let bytes = usize::try_from(sectors << 9)
        .unwrap_or(usize::MAX)
        .min(PATTERN);
    let mut data = Scratch::new(bytes)?;
    data.buf()
        .fill_pattern(0, bytes, pattern)
        .map_err(|_| explain(BlkError::Invalid, command))?;
    let mut at = sector;
    let end = sector.saturating_add(sectors);
    while at < end {
        go_on(head, command)?;
        let left = end.saturating_sub(at);
        let n = (left << 9).min(bytes as u64) as usize;
        bio::write_wait(bdev, at, data.peek(), 0..n, false)
            .map_err(|error| explain(error, command))?;
        at = at.saturating_add((n >> 9) as u64);
    }
    Ok(())
}
