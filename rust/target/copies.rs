// SPDX-License-Identifier: GPL-2.0

//! Third-party copies of a nexus: what is told of them, and one that is under
//! way.

use super::lun::Nexus;
use crate::{
    proto::scsi::{
        rod::Extent,
        sense::Sense,
        xcopy::{
            Form,
            ListId,
            Record,
            State,
            Walk,
            MAX_COPIES, //
        }, //
    },
    sys::{
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        percpu::smp_mb, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// The copies that a nexus is told of.
#[pin_data]
pub(crate) struct Copies {
    /// Parts that are being copied through the nexus, to or from its unit.
    parts: Atomic<i32>,
    #[pin]
    table: SpinLockBh<Table>,
}

struct Table {
    next: u64,
    entries: KVec<Entry>,
}

struct Entry {
    serial: u64,
    /// COPY OPERATION ABORT wants it to end.
    abort: bool,
    record: Record,
}

/// Why a copy cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCopy {
    /// One with the same list identifier is under way.
    Duplicate,
    /// Too many are under way, or there is no memory.
    NoRoom,
}

impl Copies {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            parts: Atomic::new(0),
            table <- new_spinlock_bh!(
                Table {
                    next: 0,
                    entries: KVec::new(),
                },
                "ferrite_copies"
            ),
        })
    }

    /// Looks at a copy, by its list identifier.
    ///
    /// # Errors
    ///
    /// INVALID FIELD IN CDB when there is none.
    pub(crate) fn with<T>(&self, id: u32, look: impl FnOnce(&Record) -> T) -> Result<T, Sense> {
        let table = self.table.lock();
        table
            .entries
            .iter()
            .find(|entry| entry.record.list_id.id == id)
            .map(|entry| look(&entry.record))
            .ok_or(Sense::invalid_cdb(2, None))
    }

    /// Wants a copy to end.
    ///
    /// # Errors
    ///
    /// INVALID FIELD IN CDB when none is under way.
    pub(crate) fn abort(&self, id: u32) -> Result<(), Sense> {
        let mut table = self.table.lock();
        table
            .entries
            .iter_mut()
            .find(|entry| entry.record.list_id.id == id && entry.record.state == State::Running)
            .map(|entry| entry.abort = true)
            .ok_or(Sense::invalid_cdb(2, None))
    }

    /// Forgets those that have ended.
    pub(crate) fn forget_ended(&self) {
        self.table
            .lock()
            .entries
            .retain(|entry| entry.record.state == State::Running);
    }

    /// Whether anything is being copied through the nexus at this moment. Who
    /// has first changed what forbids it, and then finds nothing, can be sure
    /// that nothing more will be.
    pub(crate) fn is_busy(&self) -> bool {
        smp_mb();
        self.parts.load(Relaxed) != 0
    }

    fn begin(&self, list_id: ListId, action: u8) -> Result<u64, NoCopy> {
        // Room is made outside the spin lock, as it may sleep.
        let mut room: KVec<Entry> =
            KVec::with_capacity(usize::from(MAX_COPIES), GFP_KERNEL).map_err(|_| NoCopy::NoRoom)?;
        let mut table = self.table.lock();
        if table.entries.capacity() == 0 {
            core::mem::swap(&mut table.entries, &mut room);
        }
        let same = |entry: &Entry| entry.record.list_id.id == list_id.id;
        if let Some(at) = table.entries.iter().position(same) {
            let known = table.entries.get(at).map(|entry| entry.record.state);
            if known == Some(State::Running) {
                return Err(NoCopy::Duplicate);
            }
            let _ = table.entries.remove(at);
        }
        if table.entries.len() >= usize::from(MAX_COPIES) {
            // The oldest that has ended is forgotten.
            let ended = |entry: &Entry| entry.record.state != State::Running;
            let Some(at) = table.entries.iter().position(ended) else {
                return Err(NoCopy::NoRoom);
            };
            let _ = table.entries.remove(at);
        }
        let serial = table.next;
        table.next = serial.wrapping_add(1);
        let entry = Entry {
            serial,
            abort: false,
            record: Record::new(list_id, action),
        };
        match table.entries.push_within_capacity(entry) {
            Ok(()) => Ok(serial),
            Err(_) => Err(NoCopy::NoRoom),
        }
    }
}

/// A part that is being copied through a nexus, until this is dropped.
pub(crate) struct Part<'a>(&'a Arc<Nexus>);

impl<'a> Part<'a> {
    /// A part is going to be copied; what may forbid it is to be looked at
    /// after this.
    pub(crate) fn begin(nexus: &'a Arc<Nexus>) -> Self {
        nexus.copies().parts.add(1, Relaxed);
        smp_mb();
        Self(nexus)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        smp_mb();
        self.0.copies().parts.add(-1, Relaxed);
        // Whoever has ended the nexus meanwhile has seen the part, or is seen.
        smp_mb();
        if self.0.is_gone() {
            self.0.session().forget_idle(self.0);
        }
    }
}

/// What keeps the record of a copy up to date; when it is dropped before the
/// copy has ended, the copy counts as aborted.
pub(crate) struct Noted {
    nexus: Arc<Nexus>,
    serial: u64,
}

impl Noted {
    /// A copy begins.
    ///
    /// # Errors
    ///
    /// [`NoCopy`].
    pub(crate) fn new(nexus: &Arc<Nexus>, list_id: ListId, action: u8) -> Result<Self, NoCopy> {
        let serial = nexus.copies().begin(list_id, action)?;
        Ok(Self {
            nexus: nexus.clone(),
            serial,
        })
    }

    /// Changes the record.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Record)) {
        let mut table = self.nexus.copies().table.lock();
        let mut entries = table.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.serial == self.serial) {
            change(&mut entry.record);
        }
    }

    /// Whether COPY OPERATION ABORT wants the copy to end.
    pub(crate) fn is_aborted(&self) -> bool {
        let table = self.nexus.copies().table.lock();
        let mut entries = table.entries.iter();
        entries
            .find(|entry| entry.serial == self.serial)
            .is_some_and(|entry| entry.abort)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.note(|record| {
            if record.state == State::Running {
                record.state = State::Aborted;
            }
        });
    }
}

/// What is being copied.
pub(crate) enum Job {
    /// EXTENDED COPY: segment after segment.
    Segments {
        /// Which form the parameter list has.
        form: Form,
        /// The segment that is being copied.
        segment: u16,
    },
    /// WRITE USING TOKEN.
    Token {
        /// The session's way to what the token stands for.
        source: Arc<Nexus>,
        /// What it stands for.
        from: KVec<Extent>,
    },
}

/// A copy that is under way: it is worked on for a while at a time.
pub(crate) struct Copying {
    /// What is being copied.
    pub(crate) job: Job,
    /// The parameter list, which has been checked.
    pub(crate) list: KVec<u8>,
    /// How far the segment, or all of it, is copied.
    pub(crate) walk: Walk,
    /// What is told of it, if it has a list identifier.
    pub(crate) noted: Option<Noted>,
}
