// SPDX-License-Identifier: GPL-2.0

//! The persistent reservations of a device: the memory for them, and what the
//! data path has to know.
//!
//! The machine itself is `proto::scsi::persist`. It is behind a mutex, as
//! commands that change it may need memory; what a READ or WRITE looks at is
//! one number of the device and one of its nexus.

use super::{
    lun::Nexus,
    Device, //
};
use crate::proto::scsi::persist::{
    ItNexus,
    NoRoom,
    Persist,
    PrType,
    Registrant,
    Registry,
    Standing, //
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

/// Registrations of one device at most.
pub(crate) const MAX_REGISTRANTS: usize = 1024;

/// Registrations of a device, with room made ahead.
pub(crate) struct Registrants(KVVec<Registrant>);

impl Registrants {
    pub(super) const fn new() -> Self {
        Self(KVVec::new())
    }

    /// Makes room for some more, as far as the limit lets it; may sleep.
    pub(crate) fn make_room(&mut self, more: usize) {
        let room = MAX_REGISTRANTS.saturating_sub(self.0.len()).min(more);
        // Without it the command that needs it ends INSUFFICIENT REGISTRATION
        // RESOURCES.
        let _ = self.0.reserve(room, GFP_KERNEL);
    }
}

impl Registry for Registrants {
    fn all(&self) -> &[Registrant] {
        &self.0
    }

    fn all_mut(&mut self) -> &mut [Registrant] {
        &mut self.0
    }

    fn push(&mut self, new: Registrant) -> Result<(), NoRoom> {
        if self.0.len() >= MAX_REGISTRANTS {
            return Err(NoRoom);
        }
        self.0.push_within_capacity(new).map_err(|_| NoRoom)
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Registrant) -> bool) {
        self.0.retain(|r| keep(r));
    }
}

/// What the data path knows of a device's persistent reservation.
pub(super) struct Glance {
    /// The TYPE of the reservation, 0 for none.
    kind: Atomic<i32>,
    /// Whether anybody has registered.
    used: Atomic<i32>,
}

impl Glance {
    pub(super) const fn new() -> Self {
        Self {
            kind: Atomic::new(0),
            used: Atomic::new(0),
        }
    }
}

impl Nexus {
    /// Its initiator port and target port.
    pub(crate) fn it_nexus(&self) -> Option<ItNexus> {
        let session = self.session();
        Some(ItNexus {
            initiator: *session.initiator(),
            isid: session.isid(),
            port: session.tpg()?.rtpi(),
        })
    }
}

impl Device {
    /// The type of the persistent reservation, if there is one.
    pub(crate) fn reservation(&self) -> Option<PrType> {
        match self.glance().kind.load(Relaxed) {
            0 => None,
            code => PrType::from_code(u8::try_from(code).unwrap_or(0)),
        }
    }

    /// Whether anybody has registered.
    pub(crate) fn has_registrants(&self) -> bool {
        self.glance().used.load(Relaxed) != 0
    }

    /// Looks at registrations and reservation. May sleep.
    pub(crate) fn with_persist<T>(&self, look: impl FnOnce(&Persist<Registrants>) -> T) -> T {
        look(&self.persist().lock())
    }

    /// Changes registrations or reservation, and lets the data path know. May
    /// sleep.
    pub(crate) fn change_persist<T>(
        &self,
        change: impl FnOnce(&mut Persist<Registrants>) -> T,
    ) -> T {
        let mut persist = self.persist().lock();
        let result = change(&mut persist);
        // First who stands where: a new holder is not to be kept out by its
        // own reservation.
        self.for_each_nexus(&mut |nexus| Self::place(&persist, nexus));
        let glance = self.glance();
        let kind = persist.kind().map_or(0, |kind| kind as i32);
        glance.kind.store(kind, Relaxed);
        glance.used.store(i32::from(persist.is_in_use()), Relaxed);
        result
    }

    /// A session has come to see the device: where does it stand? May sleep.
    pub(super) fn place_nexus(&self, nexus: &Arc<Nexus>) {
        Self::place(&self.persist().lock(), nexus);
    }

    fn place(persist: &Persist<Registrants>, nexus: &Nexus) {
        let standing = nexus
            .it_nexus()
            .map_or(Standing::default(), |it| persist.standing(&it));
        nexus.set_standing(standing);
    }

    /// Calls `each` with every nexus that a registration is of.
    pub(crate) fn for_nexuses_of(&self, who: &Registrant, each: &mut dyn FnMut(&Arc<Nexus>)) {
        self.for_each_nexus(&mut |nexus| {
            if nexus.it_nexus().is_some_and(|it| who.is(&it)) {
                each(nexus);
            }
        });
    }
}
