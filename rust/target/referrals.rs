// SPDX-License-Identifier: GPL-2.0

//! The map of referrals of a device: which blocks can be reached through which
//! target port groups (SBC-4, "Referrals").

use super::{
    device::Device,
    lun::Nexus, //
};
use crate::{
    proto::scsi::{
        alua::AccessState,
        referrals::{
            Fault,
            Geometry,
            Referrals,
            Segment, //
        },
        sense::Sense,
        ua::Ua, //
    },
    sys::lock::{
        new_spinlock_bh,
        SpinLockBh, //
    },
};
use kernel::prelude::*;

/// What holds for a whole map, and its lines.
struct Map {
    geometry: Geometry,
    segments: KVec<Segment>,
}

/// The map of a device; without lines there is none.
#[pin_data]
pub(super) struct LbaMap {
    #[pin]
    map: SpinLockBh<Map>,
}

/// Why a map is not taken.
pub(crate) enum NoMap {
    /// It contradicts itself.
    Wrong(Fault),
    /// A target port group is in the logical block dependent state, which needs
    /// a map.
    InUse,
}

impl LbaMap {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            map <- new_spinlock_bh!(
                Map {
                    geometry: Geometry::default(),
                    segments: KVec::new(),
                },
                "ferrite_lba_map"
            ),
        })
    }

    /// Calls `look` with the map. It must not sleep.
    pub(super) fn with<R>(&self, look: impl FnOnce(&Referrals<'_>) -> R) -> R {
        let map = self.map.lock();
        look(&Referrals {
            geometry: map.geometry,
            segments: &map.segments,
        })
    }

    /// What the pages show of it.
    pub(super) fn geometry(&self) -> Option<Geometry> {
        self.with(|map| (!map.is_empty()).then_some(map.geometry))
    }

    fn replace(&self, new: Map) {
        let old = core::mem::replace(&mut *self.map.lock(), new);
        drop(old);
    }
}

impl Device {
    /// Gives it another map, or without lines none; initiators are told. From
    /// then on its target port groups may be in the logical block dependent
    /// state, or not any more.
    pub(crate) fn set_lba_map(
        &self,
        geometry: Geometry,
        segments: KVec<Segment>,
    ) -> Result<(), NoMap> {
        let map = Referrals {
            geometry,
            segments: &segments,
        };
        map.check().map_err(NoMap::Wrong)?;
        let exists = !map.is_empty();
        if !self.allow_lba_dependent(exists, || {
            self.lba_map().replace(Map { geometry, segments })
        }) {
            return Err(NoMap::InUse);
        }
        self.post_all(Ua::AccessStateChanged, None);
        self.post_all(Ua::InquiryDataChanged, None);
        Ok(())
    }

    /// Calls `look` with the map. It must not sleep.
    pub(crate) fn with_lba_map<R>(&self, look: impl FnOnce(&Referrals<'_>) -> R) -> R {
        self.lba_map().with(look)
    }
}

impl Nexus {
    /// What a command ends with that reads or writes `blocks` blocks from `lba`
    /// and comes this way; none if all of them can be reached. Any context.
    pub(crate) fn refuses_blocks(&self, lba: u64, blocks: u64) -> Option<Sense> {
        let access = self.access();
        match access.state() {
            AccessState::ActiveOptimized | AccessState::ActiveNonOptimized => None,
            AccessState::LbaDependent => {
                let descriptor = self.device().descriptor_sense();
                let group = access.group().unwrap_or(0);
                self.device().with_lba_map(|map| {
                    let at = map.refuses(lba, blocks, group)?;
                    Some(map.refusal(at, descriptor))
                })
            }
            other => Some(other.refusal()),
        }
    }
}
