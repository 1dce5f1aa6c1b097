// SPDX-License-Identifier: GPL-2.0

//! What came by a portal: its logins, and what the sessions that began there
//! have done.
//!
//! A command is counted by its session, and by nobody else: the sums of a
//! portal are made when somebody asks.

use crate::{
    meter::{
        Meter,
        Sums,
        BRIEF, //
    },
    sys::lock::{
        new_spinlock_bh,
        SpinLockBh, //
    }, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// How a login came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// In the full feature phase.
    Done,
    /// Refused, or given up for what the initiator sent.
    Refused,
    /// Sent to another portal.
    Redirected,
}

/// What is counted of a portal.
#[pin_data]
pub(crate) struct Tally {
    #[pin]
    inner: SpinLockBh<Inner>,
}

/// Protected by the spin lock in [`Tally`].
struct Inner {
    logins: [u64; 3],
    /// What sessions that are gone have done.
    ended: Sums,
    /// Of those that are there, or have commands left.
    sessions: KVec<Arc<Meter<BRIEF>>>,
}

/// What a tally says at one moment.
pub(crate) struct Totals {
    logins: [u64; 3],
    /// Sessions that began there and are not wholly gone.
    pub(crate) sessions: usize,
    /// What all its sessions have done.
    pub(crate) sums: Sums,
}

impl Totals {
    /// How many logins came to that end.
    pub(crate) fn logins(&self, how: Login) -> u64 {
        self.logins.get(how as usize).copied().unwrap_or(0)
    }
}

impl Tally {
    /// Nothing counted. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                inner <- new_spinlock_bh!(
                    Inner {
                        logins: [0; 3],
                        ended: Sums::NONE,
                        sessions: KVec::new(),
                    },
                    "ferrite_tally"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// A login has come to its end. Any context but hardirq.
    pub(crate) fn count(&self, how: Login) {
        if let Some(n) = self.inner.lock().logins.get_mut(how as usize) {
            *n = n.wrapping_add(1);
        }
    }

    /// All that has been counted. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn totals(&self) -> Result<Totals> {
        // Adding up is not for where softirqs wait; a meter that is taken out
        // of the list meanwhile is not in `ended` as it was then.
        let mut sessions = KVec::new();
        let (logins, mut sums) = loop {
            let wanted = self.inner.lock().sessions.len();
            sessions.reserve(wanted, GFP_KERNEL)?;
            let inner = self.inner.lock();
            if inner.sessions.len() > sessions.capacity() {
                continue;
            }
            for meter in inner.sessions.iter() {
                let _ = sessions.push_within_capacity(meter.clone());
            }
            break (inner.logins, inner.ended);
        };
        for meter in sessions.iter() {
            sums.add(meter);
        }
        Ok(Totals {
            logins,
            sessions: sessions.len(),
            sums,
        })
    }
}

/// What is counted of a session's commands, for it and for the portal that it
/// came by.
pub(crate) struct SessionMeter {
    meter: Arc<Meter<BRIEF>>,
    tally: Option<Arc<Tally>>,
}

impl SessionMeter {
    /// Nothing counted. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(tally: Option<&Arc<Tally>>) -> Result<Self> {
        let meter = Arc::new(Meter::new()?, GFP_KERNEL)?;
        if let Some(tally) = tally {
            let mut inner = tally.inner.lock();
            inner.sessions.push(meter.clone(), GFP_ATOMIC)?;
        }
        Ok(Self {
            meter,
            tally: tally.cloned(),
        })
    }
}

impl Deref for SessionMeter {
    type Target = Meter<BRIEF>;

    fn deref(&self) -> &Self::Target {
        &self.meter
    }
}

impl Drop for SessionMeter {
    fn drop(&mut self) {
        let Some(tally) = self.tally.as_ref() else {
            return;
        };
        let mut inner = tally.inner.lock();
        // Nobody counts any more, so nothing is lost between the two.
        inner.ended.add(&self.meter);
        inner.sessions.retain(|m| !Arc::ptr_eq(m, &self.meter));
    }
}
