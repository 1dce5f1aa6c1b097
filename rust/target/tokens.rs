// SPDX-License-Identifier: GPL-2.0

//! The tokens that were given out for blocks of a device.
//!
//! A token lives no longer than its session sees the device, nor than it goes
//! unused for the time that it was made for. It is looked for in the devices that
//! a session sees, so what it stands for can be had by those alone who could read
//! it anyway.

use super::device::Device;
use crate::{
    proto::{
        name::IscsiName,
        scsi::{
            rod::{
                Extent,
                Token,
                MAX_RANGES,
                MAX_TOKENS,
                SECRET_LEN,
                TOKEN_LEN, //
            },
            sense::Sense, //
        }, //
    },
    session::Session,
    sys::{
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        misc, //
    }, //
};
use kernel::prelude::*;

/// Tokens of one device, of all sessions.
const MAX_OF_DEVICE: usize = 128;

/// The tokens of a device.
#[pin_data]
pub(crate) struct Tokens {
    #[pin]
    table: SpinLockBh<KVec<Given>>,
}

/// A token that was given out.
struct Given {
    token: Token,
    /// To whom.
    session: u64,
    initiator: KBox<IscsiName>,
    /// What it stands for.
    extents: KVec<Extent>,
    timeout_ms: u64,
    used_ms: u64,
}

impl Given {
    fn is_expired(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.used_ms) > self.timeout_ms
    }

    /// Whether the bytes begin as it does, in a time that does not tell how far.
    fn begins(&self, bytes: &[u8; TOKEN_LEN]) -> bool {
        let ours = self.token.secret.get(..8).unwrap_or(&[]);
        let theirs = bytes.get(8..16).unwrap_or(&[]);
        misc::equal_constant_time(ours, theirs)
    }
}

/// The place of the one that was used least recently, of some.
fn oldest(table: &[Given], which: &dyn Fn(&Given) -> bool) -> Option<usize> {
    let all = table.iter().enumerate().filter(|(_, given)| which(given));
    let oldest = all.min_by_key(|(_, given)| given.used_ms);
    oldest.map(|(at, _)| at)
}

/// The initiator that has most of them, with all of its sessions: `own` if none has more.
fn greediest<'a>(table: &'a [Given], own: &'a IscsiName) -> &'a IscsiName {
    let count = |name: &IscsiName| table.iter().filter(|g| *g.initiator == *name).count();
    let (mut who, mut most) = (own, count(own));
    for given in table {
        // Many of them are mostly one initiator's, which is counted once.
        if *given.initiator != *who {
            let count = count(&given.initiator);
            if count > most {
                (who, most) = (&given.initiator, count);
            }
        }
    }
    who
}

impl Tokens {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- new_spinlock_bh!(KVec::new(), "ferrite_tokens"),
        })
    }

    /// Makes a token. If the session has as many as it may have, the one of them that was
    /// used least recently makes room for it; else, if there are as many as there may be,
    /// one of the initiator that has most. Process context.
    ///
    /// # Errors
    ///
    /// INSUFFICIENT RESOURCES TO CREATE ROD TOKEN.
    pub(crate) fn give(
        &self,
        session: &Session,
        extents: KVec<Extent>,
        bytes: u64,
        timeout_s: u32,
    ) -> Result<Token, Sense> {
        const NO_ROOM: Sense = Sense::INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN;
        let mut secret = [0; SECRET_LEN];
        misc::random(&mut secret);
        let token = Token { secret, bytes };
        let now_ms = misc::now_ms();
        // Room is made outside the spin lock, as it may sleep.
        let mut room: KVec<Given> =
            KVec::with_capacity(MAX_OF_DEVICE, GFP_KERNEL).map_err(|_| NO_ROOM)?;
        let initiator = KBox::new(*session.initiator(), GFP_KERNEL).map_err(|_| NO_ROOM)?;
        let mut table = self.table.lock();
        if table.capacity() == 0 {
            core::mem::swap(&mut *table, &mut room);
        }
        table.retain(|given| !given.is_expired(now_ms));
        let is_own = |given: &Given| given.session == session.id();
        let goes = if table.iter().filter(|given| is_own(given)).count() >= MAX_TOKENS {
            oldest(&table, &is_own)
        } else if table.len() >= MAX_OF_DEVICE {
            let from = greediest(&table, session.initiator());
            oldest(&table, &|given| *given.initiator == *from)
        } else {
            None
        };
        if let Some(at) = goes {
            let _ = table.remove(at);
        }
        let given = Given {
            token,
            session: session.id(),
            initiator,
            extents,
            timeout_ms: u64::from(timeout_s).saturating_mul(1000),
            used_ms: now_ms,
        };
        table.push_within_capacity(given).map_err(|_| NO_ROOM)?;
        Ok(token)
    }

    /// Uses a token: what it stands for. None when it was not given out here.
    /// Process context.
    ///
    /// # Errors
    ///
    /// TOKEN EXPIRED; INSUFFICIENT RESOURCES without memory.
    pub(crate) fn take(
        &self,
        device: &Device,
        bytes: &[u8; TOKEN_LEN],
    ) -> Result<Option<KVec<Extent>>, Sense> {
        let now_ms = misc::now_ms();
        let mut extents = KVec::with_capacity(usize::from(MAX_RANGES), GFP_KERNEL)
            .map_err(|_| Sense::COPY_INSUFFICIENT_RESOURCES)?;
        let token = {
            let mut table = self.table.lock();
            let Some(at) = table.iter().position(|given| given.begins(bytes)) else {
                return Ok(None);
            };
            let Some(given) = table.get_mut(at) else {
                return Ok(None);
            };
            for extent in given.extents.iter() {
                let _ = extents.push_within_capacity(*extent);
            }
            let token = given.token;
            if given.is_expired(now_ms) {
                let _ = table.remove(at);
                extents.clear();
            }
            token
        };
        // All of it has to be as it was made.
        let mut whole = KVec::from_elem(0u8, TOKEN_LEN, GFP_KERNEL)
            .map_err(|_| Sense::COPY_INSUFFICIENT_RESOURCES)?;
        device.with_info(false, |info| token.emit(info, &mut whole));
        if !misc::equal_constant_time(&whole, bytes) {
            return Ok(None);
        }
        if extents.is_empty() {
            return Err(Sense::TOKEN_EXPIRED.of_token());
        }
        self.touch(&token, now_ms);
        Ok(Some(extents))
    }

    fn touch(&self, token: &Token, now_ms: u64) {
        let mut table = self.table.lock();
        let mut all = table.iter_mut();
        if let Some(given) = all.find(|given| given.token == *token) {
            given.used_ms = now_ms;
        }
    }

    /// A token is worth nothing any more.
    pub(crate) fn delete(&self, bytes: &[u8; TOKEN_LEN]) {
        self.table.lock().retain(|given| !given.begins(bytes));
    }

    /// A session does not see the device any more.
    pub(crate) fn forget(&self, session: u64) {
        self.table.lock().retain(|given| given.session != session);
    }
}
