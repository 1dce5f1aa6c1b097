// SPDX-License-Identifier: GPL-2.0

//! Carrying out commands: one match over what a CDB can ask for.
//!
//! [`prepare`] runs when the command arrives and refuses what can be refused
//! without its data; [`run`] runs when its data is complete. Both are in
//! softirq: what needs the disk goes to the submit thread of this CPU, what
//! may sleep to the slow workqueue.

use crate::{
    alua,
    backend,
    proto::scsi::{
        capacity,
        command::{
            DataDirection,
            ReportingOptions,
            Reservation,
            SelectReport, //
        },
        inquiry,
        log,
        lun,
        mode,
        report,
        ua::Ua,
        vpd,
        Command,
        DeviceInfo,
        Port,
        ReadWriteLimits,
        Sense,
        Status, //
    },
    reserve,
    session::Session,
    stats::{
        self,
        Stat, //
    },
    sys::{
        misc,
        pages::{
            Gfp,
            PageBuf, //
        },
        submit, //
    },
    target::{
        caps::{
            self,
            Passed, //
        },
        DeviceAttrib,
        Nexus, //
    },
    task::{
        self,
        Awaited,
        Now,
        Outcome,
        Task,
        Verb, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The longest answer that is built in softirq, in bytes: the list of commands takes
/// less than 2 KiB.
const MAX_PAGE: usize = 4 << 10;

/// Units that REPORT LUNS has room for in that; more are told in process context.
const MAX_LUNS: usize = (MAX_PAGE - 8) / 8;

/// Block size where there is no device to ask.
const NO_DEVICE_SHIFT: u32 = 9;

/// What a command comes to before its data has come.
pub(crate) struct Prepared {
    /// What to do.
    pub(crate) verb: Verb,
    /// Bytes that the CDB asks to move.
    pub(crate) asked: u64,
    /// Where they go.
    pub(crate) direction: DataDirection,
    /// Log2 of the block size.
    pub(crate) shift: u32,
    /// How long to wait before it is carried out, in ms.
    pub(crate) delay_ms: u32,
}

impl Prepared {
    /// The bits of a length that do not make a whole block.
    pub(crate) fn block_mask(&self) -> u32 {
        1u32.wrapping_shl(self.shift).wrapping_sub(1)
    }

    /// A command that ends with `outcome`.
    pub(crate) fn refused(outcome: impl Into<Outcome>) -> Self {
        Self {
            verb: Verb::Refused(outcome.into()),
            asked: 0,
            direction: DataDirection::None,
            shift: NO_DEVICE_SHIFT,
            delay_ms: 0,
        }
    }
}

/// Reads the CDB and checks all that needs no data.
pub(crate) fn prepare(session: &Session, nexus: Option<&Arc<Nexus>>, cdb: &[u8]) -> Prepared {
    let parsed = Command::parse(cdb);
    let Some(nexus) = nexus.filter(|n| !n.is_gone()) else {
        return match parsed {
            Ok(command) if command.allowed_without_unit() => accept(command, NO_DEVICE_SHIFT),
            Ok(_) | Err(_) => Prepared::refused(Sense::LOGICAL_UNIT_NOT_SUPPORTED),
        };
    };
    let device = nexus.device();
    if nexus.has_attention() && !parsed.as_ref().is_ok_and(Command::allowed_while_ua) {
        if let Some(sense) = nexus.report_attention() {
            return Prepared::refused(sense);
        }
    }
    let command = match parsed {
        Ok(command) => command,
        Err(sense) => return Prepared::refused(sense),
    };
    let access = nexus.access();
    let mut delay_ms = 0;
    if !access.is_optimized() {
        if let Some(sense) = access.refuses(&command) {
            return Prepared::refused(sense);
        }
        if command.extent().is_some() {
            delay_ms = nexus.nonop_delay_ms();
        }
    }
    if conflicts(session, nexus, &command) {
        return Prepared::refused(Outcome::status(Status::ReservationConflict));
    }
    let Some((lost, limits)) = device.lost_and_limits(nexus.read_only()) else {
        return Prepared::refused(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
    };
    if command.needs_medium() && lost {
        return Prepared::refused(Sense::NOT_READY_CAUSE_NOT_REPORTABLE);
    }
    let shift = device.block_shift();
    let checked = check(&command, nexus, &limits).and_then(|()| {
        if access.is_optimized() {
            return Ok(());
        }
        let touched = command.touches(device.blocks());
        let refused = touched.and_then(|(lba, blocks)| nexus.refuses_blocks(lba, blocks));
        refused.map_or(Ok(()), Err)
    });
    match checked {
        Ok(()) if nexus.must_wait() && command.is_write_medium() => {
            Prepared::refused(Outcome::status(Status::Busy))
        }
        Ok(()) => Prepared {
            delay_ms,
            ..accept(command, shift)
        },
        // A device that has just gone has no blocks.
        Err(_) if command.needs_medium() && device.look_lost() == Some(true) => {
            Prepared::refused(Sense::NOT_READY_CAUSE_NOT_REPORTABLE)
        }
        Err(sense) => Prepared::refused(sense),
    }
}

/// Whether a reservation of somebody else is in a command's way.
#[inline]
fn conflicts(session: &Session, nexus: &Nexus, command: &Command) -> bool {
    let device = nexus.device();
    if device.is_reserved_against(session.id())
        && !command.allowed_during_reservation(Reservation::Spc2)
    {
        return true;
    }
    device.reservation().is_some_and(|kind| {
        nexus.standing().is_kept_out(kind) && !command.allowed_during_reservation(kind.keeps_from())
    })
}

fn accept(command: Command, shift: u32) -> Prepared {
    Prepared {
        verb: Verb::Command(command),
        asked: command.transfer_len(1u32.wrapping_shl(shift)),
        direction: command.data_direction(),
        shift,
        delay_ms: 0,
    }
}

/// Checks the command against the unit.
fn check(command: &Command, nexus: &Nexus, limits: &ReadWriteLimits) -> Result<(), Sense> {
    // A READ or WRITE needs four facts; all others look at the whole device.
    if let Some(result) = command.check_read_write(limits) {
        return result;
    }
    let listing = matches!(command, Command::ReportSupportedOpcodes { .. });
    if listing && nexus.device().attrib(DeviceAttrib::Rsoc) == 0 {
        return Err(Sense::INVALID_COMMAND_OPERATION_CODE);
    }
    nexus.with_info(|info| command.check(info))
}

/// Runs the tasks of a session that waited for commands before them, as far as
/// those have come.
pub(crate) fn run_held(session: &Session) {
    while let Some(task) = session.unhold() {
        run(task);
    }
    session.wake_deferred();
}

/// Takes a place among the commands that the device takes at once.
///
/// # Errors
///
/// What the command ends with if there is none: TASK SET FULL, or BUSY for a
/// nexus that has no other command there (SAM-5, "Status codes").
pub(crate) fn take_place(task: &mut Task) -> Result<(), Outcome> {
    let (head, body) = task.both();
    let Some(nexus) = head.nexus.as_ref() else {
        return Ok(());
    };
    match nexus.device().take_place() {
        Some(placed) => {
            body.placed = placed;
            Ok(())
        }
        None => {
            stats::one(Stat::TaskSetFull);
            let status = if head.session.has_others(nexus, head) {
                Status::TaskSetFull
            } else {
                Status::Busy
            };
            Err(Outcome::status(status))
        }
    }
}

/// A command comes into the task set of its unit, unless it is refused.
pub(crate) fn arrive(task: &mut Task) {
    let (head, body) = task.both();
    let (Some(nexus), Verb::Command(_)) = (head.nexus.as_ref(), body.verb) else {
        return;
    };
    if nexus.device().enter_task_set(head).is_err() {
        stats::one(Stat::Busy);
        body.verb = Verb::Refused(Outcome::status(Status::Busy));
    }
}

/// Carries out a task whose data is complete, when its task attribute and those
/// of the others allow it. Softirq or process context.
pub(crate) fn run(mut task: Task) {
    stats::one(Stat::Commands);
    let late = core::mem::take(&mut task.get().hold);
    if late {
        task.shared().set_held(false);
        arrive(&mut task);
    }
    let head = task.shared();
    if head.is_in_order() && matches!(task.peek().verb, Verb::Command(_)) {
        if let Some(nexus) = head.nexus.clone() {
            task::plan(&mut task, go_late);
            match nexus.device().start_in_order(task) {
                Some(free) => task = free,
                None => return stats::one(Stat::OrderWaits),
            }
        }
    }
    match late {
        true => go_late(task),
        false => go(task),
    }
}

/// Carries out a task that had to wait for others, or for a limit. Until now it was not
/// enabled, so a reservation that has been made meanwhile is in its way (SPC-4 5.9).
fn go_late(task: Task) {
    let head = task.shared();
    if let (Some(nexus), Verb::Command(command)) = (head.nexus.as_ref(), &task.peek().verb) {
        if conflicts(&head.session, nexus, command) {
            return task::finish(task, Outcome::status(Status::ReservationConflict));
        }
    }
    go(task);
}

/// Carries out a task.
fn go(mut task: Task) {
    let (head, body) = task.both();
    if head.is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    let command = match &body.verb {
        Verb::Command(command) => command,
        Verb::Refused(outcome) => {
            let outcome = *outcome;
            return task::finish(task, outcome);
        }
    };
    if let Err(sense) = task::still_there(head, command) {
        return task::finish(task, sense.into());
    }
    if caps::any() {
        let command = *command;
        match pass_caps(task, &command) {
            Some(passed) => task = passed,
            None => return,
        }
    }
    let (head, body) = task.both();
    let delay_ms = core::mem::take(&mut body.delay_ms);
    if delay_ms != 0 {
        // The command came to a target port in active/non-optimized state, where commands
        // shall wait: the initiator had better use another one.
        let due_ms = misc::now_ms().saturating_add(u64::from(delay_ms));
        body.awaited = Some(Awaited::Moment(due_ms));
        task::plan(&mut task, go);
        return task::watch(task);
    }
    let asked = body.asked;
    // A command is long; these two are not to be copied.
    match &body.verb {
        Verb::Command(Command::Read { .. }) => {
            if asked == 0 {
                return task::finish(task, Outcome::GOOD);
            }
            if !make_room(&mut task, asked as usize, Gfp::Atomic) {
                // Memory may be had by waiting for it.
                return task::slow(task, patient_read);
            }
            return to_disk(task);
        }
        Verb::Command(Command::Write { .. }) => {
            if body.data.len() == 0 {
                return task::finish(task, Outcome::GOOD);
            }
            return to_disk(task);
        }
        _ => {}
    }
    let Verb::Command(command) = body.verb else {
        return task::finish(task, Outcome::GOOD);
    };
    match command {
        Command::WriteAtomic { .. } => {
            if body.data.len() as u64 != body.asked {
                // A part of it is not what is to be written at once.
                return task::finish(task, Sense::WRONG_TRANSFER_LENGTH.into());
            }
            if asked == 0 {
                return task::finish(task, Outcome::GOOD);
            }
            to_disk(task);
        }
        // IMMED allows to answer before the work is done; answering after it
        // promises more.
        Command::SynchronizeCache { .. } => to_disk(task),
        Command::WriteSame { .. }
        | Command::Unmap { .. }
        | Command::Verify { .. }
        | Command::WriteAndVerify { .. }
        | Command::CompareAndWrite { .. }
        | Command::OrWrite { .. }
        | Command::PreFetch { .. } => task::slow(task, slow),
        Command::ExtendedCopy { .. }
        | Command::PopulateToken { .. }
        | Command::WriteUsingToken { .. } => task::slow(task, backend::copy),
        Command::CopyOperationAbort { list_id } => {
            let done = match head.nexus.as_ref() {
                Some(nexus) => nexus.copies().abort(list_id),
                None => Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED),
            };
            let outcome = done.map_or_else(Outcome::from, |()| Outcome::GOOD);
            task::finish(task, outcome);
        }
        Command::ModeSelect { .. } => task::slow(task, mode_select),
        Command::StartStopUnit { start: false, .. } => task::slow(task, slow),
        Command::TestUnitReady | Command::StartStopUnit { .. } => task::finish(task, Outcome::GOOD),
        Command::PreventAllowMediumRemoval { .. } => task::finish(task, Outcome::GOOD),
        Command::PersistentReserveIn { .. } => task::aside(task, reserve::tell),
        Command::PersistentReserveOut { .. } => task::in_turn(task, reserve::change),
        Command::ReportTargetPortGroups { .. }
        | Command::SetTargetPortGroups { .. }
        | Command::ReportReferrals { .. } => task::aside(task, alua::run),
        Command::Reserve | Command::Release
            if head
                .nexus
                .as_ref()
                .is_some_and(|n| n.device().has_registrants()) =>
        {
            // SPC-4 5.9.3: for those whom a persistent reservation lets in
            // they do nothing; there is no other reservation beside it.
            let ok = head.nexus.as_ref().is_some_and(|n| {
                let kind = n.device().reservation();
                kind.is_some_and(|kind| !n.standing().is_kept_out(kind))
            });
            let outcome = if ok {
                Outcome::GOOD
            } else {
                Outcome::status(Status::ReservationConflict)
            };
            task::finish(task, outcome);
        }
        Command::Reserve => {
            let id = head.session.id();
            let ok = head.nexus.as_ref().is_some_and(|n| {
                let ok = n.device().reserve(id);
                if n.is_gone() {
                    // The session ended meanwhile, and would keep it for ever.
                    n.device().release(id);
                }
                ok
            });
            let outcome = if ok {
                Outcome::GOOD
            } else {
                Outcome::status(Status::ReservationConflict)
            };
            task::finish(task, outcome);
        }
        Command::Release => {
            if let Some(nexus) = head.nexus.as_ref() {
                nexus.device().release(head.session.id());
            }
            task::finish(task, Outcome::GOOD);
        }
        Command::ReportLuns { .. } if head.session.lun_count() > MAX_LUNS => {
            task::aside(task, report_many_luns);
        }
        _ => answer(task, command),
    }
}

/// Takes a command past the limits of its initiator and of its LUN; none when it
/// has to wait, or there is no room to do so.
fn pass_caps(mut task: Task, command: &Command) -> Option<Task> {
    let Some(nexus) = task.shared().nexus.clone() else {
        return Some(task);
    };
    let block_size = 1u32.wrapping_shl(nexus.device().block_shift());
    let Some(bytes) = command.load(block_size) else {
        return Some(task);
    };
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    loop {
        let body = task.get();
        let caps = match body.gate {
            0 => nexus.session().caps(),
            1 => nexus.lun().caps(),
            _ => return Some(task),
        };
        body.gate = body.gate.saturating_add(1);
        task::plan(&mut task, go_late);
        task = match caps.pass(task, bytes) {
            Passed::Now(task) => task,
            Passed::Held => return None,
            Passed::Full(task) => {
                stats::one(Stat::TaskSetFull);
                task::finish(task, Outcome::status(Status::TaskSetFull));
                return None;
            }
        };
    }
}

/// Allocates the data of a task, within the session's and the module's limit.
pub(crate) fn make_room(task: &mut Task, len: usize, gfp: Gfp) -> bool {
    let pages = len.div_ceil(kernel::page::PAGE_SIZE);
    let (head, body) = task.both();
    if !head.session.charge(pages) {
        return false;
    }
    // All of it is filled by the disk, or by the initiator.
    let done = match body.verb {
        Verb::Command(Command::Read { .. } | Command::Write { .. }) => body.data.refill(len, gfp),
        _ => PageBuf::new(len, gfp).map(|data| body.data = data),
    };
    if done.is_err() {
        head.session.uncharge(pages);
        return false;
    }
    body.charged = pages;
    true
}

/// A READ that found no memory in softirq.
fn patient_read(mut task: Task) {
    let asked = task.get().asked as usize;
    if make_room(&mut task, asked, Gfp::Sleep) {
        to_disk(task);
    } else {
        stats::one(Stat::Busy);
        task::finish(task, Outcome::status(Status::Busy));
    }
}

/// Gives a task to the submit thread of this CPU.
fn to_disk(task: Task) {
    task.shared().link.will_submit();
    submit::push::<Disk>(task);
}

/// The way to the disk through the submit threads.
pub(crate) struct Disk;

impl submit::Submit for Disk {
    type Shared = task::Head;
    type Exclusive = task::Body;

    type Batch = Now;

    fn batch() -> Now {
        stats::one(Stat::SubmitBatches);
        Now::default()
    }

    fn submit(task: Task, now: &mut Now) {
        let link = &task.shared().link;
        if link.owes_ack() {
            // With the responses, if the batch ends before the disk has them.
            link.clone().pay_ack();
        }
        if task.shared().is_aborted() {
            return task::finish(task, Outcome::GOOD);
        }
        backend::start(task, now);
    }
}

/// Commands that may wait for the disk.
fn slow(task: Task) {
    stats::one(Stat::Slow);
    slowly(task);
}

fn slowly(mut task: Task) {
    if task.shared().is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    match backend::carry_out(&mut task) {
        Some(outcome) => task::finish(task, outcome),
        None => task::again(task, slowly),
    }
}

/// Commands that are answered from what we know.
fn answer(mut task: Task, command: Command) {
    let (head, body) = task.both();
    let want = usize::try_from(body.asked).unwrap_or(usize::MAX);
    let want = want.min(MAX_PAGE);
    let built = build(head, command, want);
    let outcome = match built {
        Ok(bytes) => return answer_with(task, &bytes, Gfp::Atomic),
        Err(NoAnswer::Sense(sense)) => Outcome::from(sense),
        Err(NoAnswer::Busy) => {
            stats::one(Stat::Busy);
            Outcome::status(Status::Busy)
        }
    };
    task::finish(task, outcome);
}

/// Ends a task with bytes for the initiator.
pub(crate) fn answer_with(mut task: Task, bytes: &[u8], gfp: Gfp) {
    let len = bytes.len();
    if len != 0 {
        // Nothing of the initiator's data is needed any more.
        let charged = core::mem::take(&mut task.get().charged);
        task.shared().session.uncharge(charged);
        if !make_room(&mut task, len, gfp) {
            stats::one(Stat::Busy);
            return task::finish(task, Outcome::status(Status::Busy));
        }
        let body = task.get();
        // The room is exactly as long as the bytes.
        let _ = body.data.write_at(0, bytes);
        body.data_in = len;
    }
    // What was returned is what was asked for: a short page leaves a residual
    // against the expected length, not against the CDB's.
    task.get().asked = len as u64;
    task::finish(task, Outcome::GOOD);
}

enum NoAnswer {
    Sense(Sense),
    Busy,
}

impl From<Sense> for NoAnswer {
    fn from(sense: Sense) -> Self {
        NoAnswer::Sense(sense)
    }
}

/// Builds the data-in of a command, clipped to `want` bytes.
fn build(head: &task::Head, command: Command, want: usize) -> Result<KVec<u8>, NoAnswer> {
    let mut out = misc::zeros(want, GFP_ATOMIC).map_err(|_| NoAnswer::Busy)?;
    let full = match (&head.nexus, command) {
        (_, Command::ReportLuns { select, .. }) => report_luns(head, select, &mut out)?,
        (Some(nexus), command) if !nexus.is_gone() => with_unit(head, nexus, command, &mut out)?,
        (_, command) => without_unit(command, &mut out)?,
    };
    out.truncate(full.min(want));
    Ok(out)
}

fn report_luns(head: &task::Head, select: SelectReport, out: &mut [u8]) -> Result<usize, NoAnswer> {
    let mut numbers: KVec<u16> = KVec::new();
    let told = head
        .session
        .tell_luns(&mut |n| numbers.push(n, GFP_ATOMIC).is_ok());
    if !told {
        return Err(NoAnswer::Busy);
    }
    let luns = numbers.iter().map(|n| lun::encode(*n));
    Ok(report::luns(luns, select, out))
}

/// REPORT LUNS of a session with many. Slow workqueue.
fn report_many_luns(task: Task) {
    if task.shared().is_aborted() {
        return task::finish(task, Outcome::GOOD);
    }
    match many_luns(&task) {
        Some(bytes) => answer_with(task, &bytes, Gfp::Sleep),
        None => {
            stats::one(Stat::Busy);
            task::finish(task, Outcome::status(Status::Busy));
        }
    }
}

/// None without memory, or when many more have come meanwhile.
fn many_luns(task: &Task) -> Option<KVVec<u8>> {
    let session = &task.shared().session;
    let Verb::Command(Command::ReportLuns { select, .. }) = task.peek().verb else {
        return None;
    };
    // As long as it can be, as nothing is allocated under a spin lock.
    let room = session.lun_count().saturating_add(MAX_LUNS);
    let mut numbers: KVVec<u16> = KVVec::with_capacity(room, GFP_KERNEL).ok()?;
    if !session.tell_luns(&mut |n| numbers.push_within_capacity(n).is_ok()) {
        return None;
    }
    let whole = numbers.len().saturating_add(1).saturating_mul(8);
    let want = usize::try_from(task.peek().asked).unwrap_or(usize::MAX);
    let mut out = KVVec::from_elem(0u8, want.min(whole), GFP_KERNEL).ok()?;
    let luns = numbers.iter().map(|n| lun::encode(*n));
    let len = report::luns(luns, select, &mut out);
    out.truncate(len);
    Some(out)
}

/// Commands for a LUN that names no unit (SPC-4 4.6.4).
fn without_unit(command: Command, out: &mut [u8]) -> Result<usize, NoAnswer> {
    match command {
        Command::Inquiry { evpd: None, .. } => Ok(inquiry::no_unit(out)),
        Command::Inquiry {
            evpd: Some(page), ..
        } => Ok(vpd::no_unit_page(page, out)?),
        Command::RequestSense { desc, .. } => Ok(Sense::LOGICAL_UNIT_NOT_SUPPORTED.emit(desc, out)),
        _ => Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into()),
    }
}

fn with_unit(
    head: &task::Head,
    nexus: &Nexus,
    command: Command,
    out: &mut [u8],
) -> Result<usize, NoAnswer> {
    let device = nexus.device();
    match command {
        Command::RequestSense { desc, .. } => {
            // SPC-4 6.39: a pending unit attention is returned and cleared.
            let sense = nexus.take_attention().unwrap_or(Sense::NO_ADDITIONAL_SENSE);
            return Ok(sense.emit(desc, out));
        }
        Command::ReportIdentifyingInformation { kind, .. } => {
            return Ok(device.text_id(|text| report::identifying(kind, text, out)));
        }
        Command::ReadDefectData(command) => return Ok(report::defects(&command, out)?),
        Command::ReceiveCopyResults { what, list_id, .. } => {
            return Ok(backend::results(nexus, what, list_id, out)?);
        }
        Command::ReadCapacity10 | Command::ReadCapacity16 { .. } => device.check_capacity(),
        _ => {}
    }
    let answer = nexus.with_info(|info: &DeviceInfo<'_>| match command {
        Command::Inquiry { evpd: None, .. } => Ok(inquiry::standard(info, out)),
        Command::Inquiry {
            evpd: Some(page), ..
        } => {
            let Some(tpg) = head.session.tpg() else {
                return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
            };
            let port = Port {
                target_name: tpg.target().name().as_bytes(),
                portal_group: tpg.tag(),
                relative_id: tpg.rtpi(),
                group: nexus.access().group(),
            };
            vpd::page(page, info, &port, out)
        }
        Command::ReadCapacity10 => Ok(capacity::ten(info, out)),
        Command::ReadCapacity16 { .. } => Ok(capacity::sixteen(info, out)),
        Command::LogSense(sense) => {
            let values = log::LogValues {
                pool: info.pool,
                ..device.log_values()
            };
            log::sense(&sense, &values, info.block_size, out)
        }
        Command::GetLbaStatus { lba, .. } => Ok(capacity::lba_status(lba, info, out)),
        Command::ModeSense(sense) => mode::sense(&sense, info, out),
        Command::ReportSupportedOpcodes { rctd, options, .. } => {
            report_opcodes(options, rctd, info, out)
        }
        Command::ReportSupportedTmfs { extended, .. } => Ok(report::tmfs(
            &report::Tmfs {
                abort_task: true,
                abort_task_set: true,
                clear_task_set: true,
                logical_unit_reset: true,
                target_reset: true,
                query_task: true,
                query_async_event: true,
                query_task_set: true,
                i_t_nexus_reset: true,
                ..report::Tmfs::default()
            },
            extended,
            out,
        )),
        _ => Err(Sense::INVALID_COMMAND_OPERATION_CODE),
    });
    Ok(answer?)
}

fn report_opcodes(
    options: ReportingOptions,
    rctd: bool,
    info: &DeviceInfo<'_>,
    out: &mut [u8],
) -> Result<usize, Sense> {
    report::opcodes(options, rctd, info, out)
}

/// MODE SELECT. Slow workqueue: a cache that is switched off is written first.
fn mode_select(mut task: Task) {
    let (head, body) = task.both();
    let outcome = change_mode(head, body).err().unwrap_or(Outcome::GOOD);
    if outcome.status == Status::Busy {
        stats::one(Stat::Busy);
    }
    task::finish(task, outcome);
}

fn change_mode(head: &task::Head, body: &task::Body) -> Result<(), Outcome> {
    let (Some(nexus), Verb::Command(Command::ModeSelect { six, list_len })) =
        (head.nexus.as_ref(), body.verb)
    else {
        return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
    };
    if head.is_aborted() {
        return Ok(());
    }
    let list = body.parameter_list(usize::from(list_len))?;
    let device = nexus.device();
    let (before, new) = loop {
        let (before, new) =
            nexus.with_info(|info| mode::select(&list, six, info).map(|new| (info.mode, new)))?;
        if new == before {
            return Ok(());
        }
        if device.set_mode(&before, new) {
            break (before, new);
        }
        // Somebody else has changed them since: what the list does not change is to
        // stay as that one wants it.
    };
    device.post_all(Ua::ModeParametersChanged, Some(head.session.id()));
    if before.write_cache && !new.write_cache {
        // What was acknowledged while there was a cache is not on the medium
        // yet (SBC-3, "Caching mode page", WCE); nor is what has begun then, and is
        // acknowledged later.
        if device.ranges().settle(&|| head.is_aborted()).is_err() {
            return Ok(());
        }
        device.flush().map_err(|_| Sense::WRITE_ERROR)?;
    }
    Ok(())
}
