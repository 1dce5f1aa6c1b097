// SPDX-License-Identifier: GPL-2.0

//! What is counted of the commands of a LUN, and of those of a session:
//! numbers that each CPU has for itself.

use crate::sys::atomic::InPlace;
use crate::{
    proto::{
        latency::{
            self,
            BUCKETS, //
        },
        scsi::{
            Command,
            SenseKey,
            Status, //
        }, //
    },
    sys::{
        misc,
        percpu::PerCpu,
        trace, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic, //
};

/// What is counted. Sense keys follow the last one, by their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Commands that have come.
    Begun,
    /// Commands that have ended, with a response or without.
    Ended,
    /// READs that have ended with a response.
    Reads,
    /// WRITEs, and others that store the data sent with them.
    Writes,
    /// All others, and those that were refused before they were looked at.
    Others,
    /// Bytes that READs have sent to initiators.
    ReadBytes,
    /// Bytes that initiators have written.
    WriteBytes,
    /// Commands that were aborted, and ended without a response.
    Aborted,
    /// Those that ended BUSY.
    Busy,
    /// TASK SET FULL.
    TaskSetFull,
    /// RESERVATION CONFLICT.
    Conflict,
    /// TASK ABORTED.
    TaskAborted,
    /// Times that a command had to wait for limits of the administrator's.
    Held,
    /// How long in all, in µs.
    HeldUs,
    /// CHECK CONDITION with sense key NO SENSE.
    Sense,
}

/// Numbers that are no histogram.
const PLAIN: usize = Count::Sense as usize + 16;

/// The ways of a command that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// From the arrival of its header until its response is built.
    All,
    /// From its arrival until it is given to the disk: its data comes, and
    /// commands before it are waited for.
    Arrival,
    /// Until the disk has ended it.
    Disk,
    /// From its end until its response is built.
    Sending,
}

/// Numbers of a stage: its classes, and the sum of the times in ns.
const TIMED: usize = BUCKETS + 1;

/// Numbers of a meter with the first of the stages only.
pub(crate) const BRIEF: usize = PLAIN + TIMED;

/// Numbers of a meter with all stages.
pub(crate) const FULL: usize = PLAIN + 4 * TIMED;

/// What has been counted of a LUN's or a session's commands.
pub(crate) struct Meter<const N: usize>(PerCpu<N>);

impl<const N: usize> Meter<N> {
    /// Nothing counted. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(PerCpu::new()?))
    }

    /// Adds to a number. Any context.
    #[inline]
    pub(crate) fn add(&self, count: Count, n: u64) {
        self.0.add(count as usize, n);
    }

    /// A command has come. Any context.
    #[inline]
    pub(crate) fn begin(&self) {
        self.add(Count::Begun, 1);
    }

    /// A command has ended. Any context.
    pub(crate) fn end(&self, end: &End) {
        self.add(Count::Ended, 1);
        let Some(status) = end.status else {
            return self.add(Count::Aborted, 1);
        };
        self.add(end.kind, 1);
        if end.bytes != 0 {
            let bytes = match end.kind {
                Count::Reads => Count::ReadBytes,
                _ => Count::WriteBytes,
            };
            self.add(bytes, end.bytes);
        }
        match (status, end.sense) {
            (Status::Good | Status::ConditionMet, _) => {}
            (Status::Busy, _) => self.add(Count::Busy, 1),
            (Status::TaskSetFull, _) => self.add(Count::TaskSetFull, 1),
            (Status::ReservationConflict, _) => self.add(Count::Conflict, 1),
            (Status::TaskAborted | Status::AcaActive, _) => self.add(Count::TaskAborted, 1),
            (Status::CheckCondition, key) => {
                let key = key.unwrap_or(SenseKey::NoSense) as usize;
                self.0.add((Count::Sense as usize).wrapping_add(key), 1);
            }
        }
        for (stage, took) in end.took.iter().enumerate() {
            if let Some((class, ns)) = *took {
                let at = Self::at(stage);
                self.0.add(at.wrapping_add(usize::from(class)), 1);
                self.0.add(at.wrapping_add(BUCKETS), ns);
            }
            if N < FULL {
                // It has no room for the others.
                break;
            }
        }
    }

    const fn at(stage: usize) -> usize {
        PLAIN.wrapping_add(stage.wrapping_mul(TIMED))
    }

    /// How many commands took a time of this class.
    pub(crate) fn timed(&self, stage: Stage, class: usize) -> u64 {
        if class >= BUCKETS {
            return 0;
        }
        self.0.sum(Self::at(stage as usize).wrapping_add(class))
    }

    /// The sum of the times of a stage, in ns.
    pub(crate) fn time_ns(&self, stage: Stage) -> u64 {
        self.0.sum(Self::at(stage as usize).wrapping_add(BUCKETS))
    }
}

/// What meters have counted at one moment, but for the histograms.
#[derive(Clone, Copy)]
pub(crate) struct Sums([u64; PLAIN]);

impl Sums {
    /// Nothing.
    pub(crate) const NONE: Self = Self([0; PLAIN]);

    /// What a meter has counted. Any context.
    pub(crate) fn of<const N: usize>(meter: &Meter<N>) -> Self {
        let mut sums = Self::NONE;
        sums.add(meter);
        sums
    }

    /// Adds what a meter has counted. Any context.
    pub(crate) fn add<const N: usize>(&mut self, meter: &Meter<N>) {
        // Backwards, so that a command which ends in between is not seen as one
        // that never came: `Ended` is looked at before `Begun`.
        for (at, sum) in self.0.iter_mut().enumerate().rev() {
            *sum = sum.wrapping_add(meter.0.sum(at));
        }
    }

    /// A number.
    pub(crate) fn count(&self, count: Count) -> u64 {
        self.0.get(count as usize).copied().unwrap_or(0)
    }

    /// How many commands have ended with this sense key.
    pub(crate) fn with_sense(&self, key: u8) -> u64 {
        let at = (Count::Sense as usize).wrapping_add(usize::from(key.min(15)));
        self.0.get(at).copied().unwrap_or(0)
    }

    /// Commands that have come and not ended.
    pub(crate) fn outstanding(&self) -> u64 {
        self.count(Count::Begun)
            .saturating_sub(self.count(Count::Ended))
    }
}

/// Names of what is counted, as files show them.
pub(crate) const NAMES: &[(&str, Count)] = &[
    ("reads", Count::Reads),
    ("writes", Count::Writes),
    ("other_commands", Count::Others),
    ("read_bytes", Count::ReadBytes),
    ("write_bytes", Count::WriteBytes),
    ("aborted", Count::Aborted),
    ("busy", Count::Busy),
    ("task_set_full", Count::TaskSetFull),
    ("reservation_conflicts", Count::Conflict),
    ("task_aborted", Count::TaskAborted),
    ("held", Count::Held),
    ("held_us", Count::HeldUs),
];

/// Names of sense keys, by their codes; the reserved one has none.
pub(crate) const SENSE_NAMES: [&str; 16] = [
    "sense_no_sense",
    "sense_recovered_error",
    "sense_not_ready",
    "sense_medium_error",
    "sense_hardware_error",
    "sense_illegal_request",
    "sense_unit_attention",
    "sense_data_protect",
    "sense_blank_check",
    "sense_vendor_specific",
    "sense_copy_aborted",
    "sense_aborted_command",
    "",
    "sense_volume_overflow",
    "sense_miscompare",
    "sense_completed",
];

/// Names of the stages.
pub(crate) const STAGES: [(&str, Stage); 4] = [
    ("received_sent", Stage::All),
    ("received_submitted", Stage::Arrival),
    ("submitted_completed", Stage::Disk),
    ("completed_sent", Stage::Sending),
];

/// How a command ended.
pub(crate) struct End {
    /// [`Count::Reads`], [`Count::Writes`] or [`Count::Others`].
    kind: Count,
    bytes: u64,
    /// None when it was aborted, and nobody is told.
    status: Option<Status>,
    sense: Option<SenseKey>,
    /// The times that it took, by [`Stage`]: their classes, and in ns.
    took: [Option<(u8, u64)>; 4],
}

impl End {
    /// One that nobody is told of.
    pub(crate) const SILENT: End = End {
        kind: Count::Others,
        bytes: 0,
        status: None,
        sense: None,
        took: [None; 4],
    };

    /// One that ended with a status.
    pub(crate) fn of(
        command: Option<&Command>,
        status: Status,
        sense: Option<SenseKey>,
        sent: usize,
        brought: usize,
    ) -> Self {
        let good = status == Status::Good;
        let (kind, bytes) = match command {
            Some(Command::Read { .. }) => (Count::Reads, sent),
            _ => match command.and_then(|command| command.stores(brought)) {
                Some(bytes) => (Count::Writes, bytes),
                None => (Count::Others, 0),
            },
        };
        Self {
            kind,
            bytes: if good { bytes as u64 } else { 0 },
            status: Some(status),
            sense,
            took: [None; 4],
        }
    }

    /// What a tracepoint tells of it; 0 for a time that it did not take.
    pub(crate) fn traced(&self, session: u64, lun: u16, lba: u64) -> trace::Command {
        let ns = |stage: Stage| {
            let took = self.took.get(stage as usize).copied().flatten();
            took.map_or(0, |(_, ns)| ns)
        };
        trace::Command {
            session,
            lba,
            bytes: self.bytes,
            total_ns: ns(Stage::All),
            arrival_ns: ns(Stage::Arrival),
            disk_ns: ns(Stage::Disk),
            sending_ns: ns(Stage::Sending),
            lun: u32::from(lun),
            kind: match self.kind {
                Count::Reads => 1,
                Count::Writes => 2,
                _ => 0,
            },
            status: self.status.map_or(0, Status::code),
            sense_key: self.sense.map_or(0, |key| key as u8),
            aborted: u8::from(self.status.is_none()),
        }
    }

    /// What it took; now is its end.
    pub(crate) fn timed(mut self, times: &Times) -> Self {
        let Some(received) = times.received() else {
            return self;
        };
        let now = passed(times.answered).unwrap_or_else(misc::clock_ns);
        self.took = [
            Some(took(received, now)),
            passed(times.submitted).map(|at| took(received, at)),
            passed(times.submitted)
                .zip(passed(times.completed))
                .map(|(from, to)| took(from, to)),
            passed(times.completed).map(|at| took(at, now)),
        ];
        self
    }
}

fn passed(at: u64) -> Option<u64> {
    (at != 0).then_some(at)
}

/// Clocks of two CPUs may differ by a little.
fn took(from: u64, to: u64) -> (u8, u64) {
    let ns = to.saturating_sub(from);
    (latency::bucket(ns) as u8, ns)
}

/// The clock, looked at once for all that is done at once, and only if it is needed.
#[derive(Default)]
pub(crate) struct Now(u64);

impl Now {
    #[inline]
    fn get(&mut self) -> u64 {
        if self.0 == 0 {
            self.0 = misc::clock_ns();
        }
        self.0
    }
}

/// When a command came how far, by [`misc::clock_ns`]; 0 when it did not, or
/// when it is not to be timed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Times {
    received: u64,
    submitted: u64,
    completed: u64,
    answered: u64,
}

impl Times {
    /// One that has come now.
    #[inline]
    pub(crate) fn begin() -> Self {
        Self {
            received: if is_timing() { misc::clock_ns() } else { 0 },
            submitted: 0,
            completed: 0,
            answered: 0,
        }
    }

    fn received(&self) -> Option<u64> {
        passed(self.received)
    }

    /// It is given to the disk.
    #[inline]
    pub(crate) fn submit(&mut self, now: &mut Now) {
        if self.received != 0 {
            self.submitted = now.get();
        }
    }

    /// It has ended, but for its response. Any context.
    #[inline]
    pub(crate) fn complete(&mut self) {
        if self.received != 0 {
            self.completed = misc::clock_ns();
        }
    }

    /// Its response is built.
    #[inline]
    pub(crate) fn answer(&mut self, now: &mut Now) {
        if self.received != 0 {
            self.answered = now.get();
        }
    }
}

static TIMING: Atomic<i32> = Atomic::new(1);

/// Whether commands are timed.
#[inline]
pub(crate) fn is_timing() -> bool {
    TIMING.now() != 0
}

/// Commands that come from now on are timed, or not.
pub(crate) fn set_timing(on: bool) {
    TIMING.put(i32::from(on));
}
