// SPDX-License-Identifier: GPL-2.0

//! What goes from one connection to another when a task is reassigned (RFC 7143
//! 7.2.2), and what a connection keeps of a response until then.

use crate::{
    limits::Charge,
    proto::{
        transfer::ReadPlan,
        wire::BHS_LEN, //
    },
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
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// A task that came by another connection.
pub(crate) enum Parcel {
    /// It waits for data.
    Collecting(Task),
    /// It has run.
    Finished(Task),
}

/// What a TASK REASSIGN has found.
pub(crate) enum Found {
    /// No such task.
    Nothing,
    /// Its response, which stays where it is for want of memory.
    Unmoved,
    /// It is on the disk, and comes when it has run.
    Running,
    /// The task.
    Task(Parcel),
    /// Its response, which has been sent; the data is to be sent again from a DataSN on.
    Answered(KBox<Entry>, u32),
}

/// Tasks that have come by other connections and wait to be taken in. To hand one on
/// takes no memory: the initiator has been told that it is taken over.
pub(crate) struct Coming {
    collecting: Fifo<Head, Body>,
    finished: Fifo<Head, Body>,
}

impl Coming {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            collecting: Fifo::new(),
            finished: Fifo::new(),
        }
    }

    /// One more.
    pub(crate) fn push(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Collecting(task) => self.collecting.push(task),
            Parcel::Finished(task) => self.finished.push(task),
        }
    }

    /// Takes one.
    pub(crate) fn pop(&mut self) -> Option<Parcel> {
        let collecting = self.collecting.pop().map(Parcel::Collecting);
        collecting.or_else(|| self.finished.pop().map(Parcel::Finished))
    }
}

/// A response that was sent, and what belongs to it.
pub(crate) struct Entry {
    /// Its header.
    pub(crate) header: [u8; BHS_LEN],
    /// Its data segment, where it was made for it.
    pub(crate) inline: KVec<u8>,
    /// What else there is.
    pub(crate) payload: Payload,
}

/// What was sent with a response, or before it.
pub(crate) enum Payload {
    /// Nothing.
    None,
    /// Its data segment.
    Pages {
        /// It.
        data: KBox<PageBuf>,
        /// Its memory, where a peer says how much that is.
        _charge: Option<Charge>,
    },
    /// The Data-In PDUs of a task.
    Data(Data),
    /// There was something, which is not kept for want of memory.
    Lost,
}

/// The data of a read.
pub(crate) struct Data {
    /// The task, which its session has forgotten.
    pub(crate) task: Task,
    /// How many PDUs there were.
    pub(crate) count: u32,
    /// How long they are at most, in bytes.
    pub(crate) segment: u32,
    /// MaxBurstLength, in bytes.
    pub(crate) max_burst: u32,
    /// Its memory.
    pub(crate) _charge: Charge,
}

impl Entry {
    /// How many pages it keeps.
    pub(crate) fn pages(&self) -> usize {
        let len = match &self.payload {
            Payload::Pages { data, .. } => data.len(),
            Payload::Data(data) => data.task.peek().data.len(),
            Payload::None | Payload::Lost => 0,
        };
        len.div_ceil(PAGE_SIZE)
    }
}

impl Data {
    /// How it is cut into Data-In PDUs.
    pub(crate) fn plan(&self) -> ReadPlan {
        let body = self.task.peek();
        let len = body.data_in.min(body.edtl as usize) as u32;
        ReadPlan::new(len, self.segment, self.max_burst)
    }
}
