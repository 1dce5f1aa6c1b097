// SPDX-License-Identifier: GPL-2.0

//! What waits to be sent: finished tasks, and all other answers.

use crate::sys::atomic::InPlace;
use crate::{
    limits::Charge,
    parcel::Entry,
    proto::wire::{
        AsyncMessage,
        LoginResponse,
        LogoutResponse,
        NopIn,
        R2t,
        Reject,
        ScsiResponse,
        TaskMgmtResponse,
        TextResponse,
        BHS_LEN, //
    },
    session::Why,
    sys::{
        llist::Fifo,
        pages::PageBuf, //
    },
    task::{
        Body,
        Head,
        Task, //
    }, //
};
use kernel::prelude::*;

/// Answers that may wait.
const RING: usize = 64;

/// There is room for so many until more wait: most never do.
const FEW: usize = 20;

/// Reading pauses while there is room for no more than this many, so that what
/// one PDU can cause always fits.
const MARGIN: usize = 16;
const _: () = assert!(MARGIN < FEW);

/// A PDU that is no response of a task. The numbers StatSN, ExpCmdSN and
/// MaxCmdSN are filled in when it is sent.
pub(super) enum Answer {
    /// A NOP-In.
    NopIn(NopIn),
    /// A Text Response.
    Text(TextResponse),
    /// A Login Response.
    Login(LoginResponse),
    /// A Logout Response.
    Logout(LogoutResponse),
    /// A Task Management Function Response.
    TaskMgmt(TaskMgmtResponse),
    /// A Reject.
    Reject(Reject),
    /// An Asynchronous Message.
    Async(AsyncMessage),
    /// An R2T.
    R2t(R2t),
    /// The response to a command that never became a task.
    Scsi(ScsiResponse),
    /// No PDU: the header of a SNACK Request that asks for some again.
    Snack([u8; BHS_LEN]),
    /// The response to a TASK REASSIGN, and then one of another connection, with its data from a
    /// DataSN on.
    Resume(TaskMgmtResponse, KBox<Entry>, u32),
}

/// An [`Answer`] and what goes with it.
pub(super) struct Note {
    /// The PDU.
    pub(super) answer: Answer,
    /// Its data segment.
    pub(super) data: Option<KBox<PageBuf>>,
    /// Its place among all that waits.
    pub(super) order: u32,
    /// A request of the command window has its answer with this.
    pub(super) release: bool,
    /// The memory of `data`, where a peer says how much that is.
    pub(super) charge: Option<Charge>,
    /// The connection ends when it has been sent.
    pub(super) then: Option<Why>,
}

impl Note {
    /// An answer without data.
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer,
            data: None,
            order: 0,
            release: false,
            charge: None,
            then: None,
        }
    }

    /// The response of another connection that it brings.
    pub(super) fn into_response(self) -> Option<KBox<Entry>> {
        match self.answer {
            Answer::Resume(_, entry, _) => Some(entry),
            _ => None,
        }
    }

    /// With a data segment.
    pub(super) fn with_data(mut self, data: PageBuf, flags: kernel::alloc::Flags) -> Result<Self> {
        if data.len() != 0 {
            self.data = Some(KBox::new(data, flags)?);
        }
        Ok(self)
    }
}

/// The queue of a connection.
pub(super) struct Out {
    ring: KVec<Option<Note>>,
    first: usize,
    len: usize,
    tasks: Fifo<Head, Body>,
    order: u32,
}

/// What is to be sent next.
pub(super) enum Item {
    /// An answer.
    Note(Note),
    /// A finished task.
    Task(Task),
}

impl Out {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            ring: ring(FEW, GFP_KERNEL)?,
            first: 0,
            len: 0,
            tasks: Fifo::new(),
            order: 0,
        })
    }

    /// Makes room for as many answers as may wait, if there is memory.
    pub(super) fn grow(&mut self) {
        if self.ring.len() >= RING {
            return;
        }
        let Ok(mut more) = ring(RING, GFP_ATOMIC | __GFP_NOWARN) else {
            return;
        };
        let size = self.ring.len().max(1);
        for (n, place) in more.iter_mut().enumerate().take(self.len) {
            let at = self.first.wrapping_add(n) % size;
            *place = self.ring.get_mut(at).and_then(Option::take);
        }
        self.ring = more;
        self.first = 0;
    }

    /// Gives back what memory is not needed while nothing waits.
    pub(super) fn tidy(&mut self) {
        if self.ring.len() <= FEW || self.len != 0 {
            return;
        }
        if let Ok(few) = ring(FEW, GFP_ATOMIC | __GFP_NOWARN) {
            self.ring = few;
            self.first = 0;
        }
    }

    /// Queues an answer; hands it back when there is no room.
    pub(super) fn note(&mut self, mut note: Note) -> Result<(), Note> {
        if self.room() <= MARGIN + 1 {
            self.grow();
        }
        let size = self.ring.len();
        if self.len >= size {
            return Err(note);
        }
        note.order = self.order;
        self.order = self.order.wrapping_add(1);
        let at = self.first.wrapping_add(self.len) % size.max(1);
        if let Some(slot) = self.ring.get_mut(at) {
            *slot = Some(note);
            self.len = self.len.wrapping_add(1);
        }
        Ok(())
    }

    /// Queues a finished task.
    pub(super) fn task(&mut self, task: Task) {
        let head = task.shared();
        if head.matters() {
            // Nobody shall wait until the initiator takes the response.
            head.session.settle(head);
        }
        head.order.put(self.order);
        self.order = self.order.wrapping_add(1);
        self.tasks.push(task);
    }

    /// Takes what has waited longest.
    pub(super) fn next(&mut self) -> Option<Item> {
        let note = self
            .ring
            .get(self.first)
            .and_then(Option::as_ref)
            .map(|n| n.order);
        let task = self.tasks.front().map(|h| h.order.now());
        let note_first = match (note, task) {
            (None, None) => return None,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(n), Some(t)) => (n.wrapping_sub(t) as i32) < 0,
        };
        if note_first {
            let note = self.ring.get_mut(self.first).and_then(Option::take)?;
            self.first = self.first.wrapping_add(1) % self.ring.len().max(1);
            self.len = self.len.saturating_sub(1);
            Some(Item::Note(note))
        } else {
            self.tasks.pop().map(Item::Task)
        }
    }

    /// Puts back what [`Out::next`] gave, to be the next again.
    pub(super) fn put_back(&mut self, item: Item) {
        match item {
            Item::Task(task) => self.tasks.push_front(task),
            Item::Note(note) => {
                // Its own place is free.
                let size = self.ring.len().max(1);
                self.first = self.first.wrapping_add(size).wrapping_sub(1) % size;
                if let Some(slot) = self.ring.get_mut(self.first) {
                    *slot = Some(note);
                    self.len = self.len.wrapping_add(1);
                }
            }
        }
    }

    /// Ends the aborted ones of the tasks, but for those that have to be told of
    /// it.
    pub(super) fn sweep(&mut self) {
        let mut kept = Fifo::new();
        while let Some(mut task) = self.tasks.pop() {
            let session = task.shared().session.clone();
            if task.shared().is_silent() {
                session.retire(&mut task);
                continue;
            }
            if task.shared().matters() {
                session.settle(task.shared());
            }
            kept.push(task);
        }
        self.tasks = kept;
    }

    /// Drops the answers, and the tasks that are not to be kept: the connection
    /// is gone. Responses of other connections that were to be sent go to `keep`.
    pub(super) fn suspend(&mut self, keep: &mut dyn FnMut(KBox<Entry>)) {
        for slot in self.ring.iter_mut() {
            if let Some(entry) = slot.take().and_then(Note::into_response) {
                keep(entry);
            }
        }
        self.len = 0;
        self.sweep();
    }

    /// Takes a task.
    pub(super) fn take(&mut self, itt: u32) -> Option<Task> {
        let mut kept = Fifo::new();
        let mut found = None;
        while let Some(task) = self.tasks.pop() {
            if found.is_none() && task.shared().itt == itt && !task.shared().is_aborted() {
                found = Some(task);
            } else {
                kept.push(task);
            }
        }
        self.tasks = kept;
        found
    }

    /// How many more answers can be queued.
    pub(super) fn room(&self) -> usize {
        self.ring.len().saturating_sub(self.len)
    }

    /// Whether so many answers wait that no more should be caused.
    pub(super) fn is_high(&self) -> bool {
        self.room() <= MARGIN
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && self.tasks.is_empty()
    }

    /// Drops all, ending the tasks.
    pub(super) fn abandon(&mut self) {
        for slot in self.ring.iter_mut() {
            *slot = None;
        }
        self.len = 0;
        while let Some(mut task) = self.tasks.pop() {
            let session = task.shared().session.clone();
            session.retire(&mut task);
        }
    }
}

/// Room for `size` answers.
fn ring(size: usize, flags: kernel::alloc::Flags) -> Result<KVec<Option<Note>>> {
    let mut ring = KVec::with_capacity(size, flags)?;
    for _ in 0..size {
        ring.push(None, flags)?;
    }
    Ok(ring)
}
