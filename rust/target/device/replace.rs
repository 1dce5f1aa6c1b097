// SPDX-License-Identifier: GPL-2.0

//! Another block device for a device that is in use.
//!
//! Everything that reads or writes blocks has a place among the [`ranges`] and
//! asks for the block device only there. So whoever has all blocks to himself
//! can replace it: what came before has ended on the old one, what comes waits
//! and goes to the new one. If the old one does not end in time, nothing is
//! replaced.
//!
//! [`ranges`]: Device::ranges

use super::{
    Device,
    Opening,
    PATIENCE_MS, //
};
use crate::{
    proto::scsi::{
        device::{
            Atomic as Atomic16,
            DeviceInfo,
            Thin, //
        },
        ua::Ua, //
    },
    sys::{
        bdev::{
            Bdev,
            DevNumber, //
        },
        errand,
        misc, //
    },
    target::ranges::NoRange, //
};
use kernel::{
    prelude::*,
    str::BStr,
    sync::{
        Arc,
        UniqueArc, //
    }, //
};

/// Milliseconds that the old block device may take to be given back, after
/// which that goes on by itself.
const GIVE_BACK_MS: u32 = 1000;

/// Why a block device is not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There is none that could be replaced.
    NotEnabled,
    /// Another one is being opened.
    Busy,
    /// There is no such block device.
    NoDevice(Error),
    /// Somebody else has claimed the new one.
    InUse,
    /// The new one cannot be written.
    ReadOnly,
    /// The new one does not open in time.
    NewHangs,
    /// What is under way on the old one does not end in time.
    OldHangs,
    /// The new one has fewer blocks.
    Smaller,
    /// The new one has logical blocks of another size.
    BlockSize,
    /// Anything else.
    Other(Error),
}

/// What initiators may have looked up of a device that depends on the block
/// device, but for its capacity.
#[derive(PartialEq, Eq)]
struct Facts {
    /// READ CAPACITY(16): LBPPBE, LOWEST ALIGNED LBA, LBPME and LBPRZ.
    capacity: (u8, u16, bool, bool),
    /// VPD pages B0h, B1h and B2h.
    pages: (u16, u32, u16),
    atomic: Atomic16,
    thin: Thin,
    /// The Caching mode page: WCE.
    cache: bool,
}

impl Facts {
    fn of(info: &DeviceInfo<'_>) -> Self {
        Self {
            capacity: (
                info.physical_exponent,
                info.lowest_aligned_lba,
                info.thin.thin_provisioned,
                info.thin.reads_zeros,
            ),
            pages: (
                info.optimal_granularity,
                info.optimal_transfer,
                info.rotation_rate,
            ),
            atomic: info.atomic,
            thin: info.thin,
            cache: info.mode.write_cache,
        }
    }
}

impl Device {
    /// Puts the block device at `path` in the place of the one that is open.
    /// Initiators see the same logical unit, and are told of what is otherwise
    /// now: the new one is expected to have the same contents. Takes effect
    /// before it returns: nothing is written to the old one any more, which has
    /// been flushed. Process context; waits for both disks, some seconds at
    /// most each.
    ///
    /// # Errors
    ///
    /// Nothing has changed then, and I/O goes on.
    pub(crate) fn replace(self: &Arc<Self>, path: &[u8]) -> Result<(), Unfit> {
        let text = super::copy(path).map_err(Unfit::Other)?;
        let number = DevNumber::look_up(path).map_err(|e| match e {
            e if e == errand::late() => Unfit::NewHangs,
            e if e == ENOMEM || e == EINTR => Unfit::Other(e),
            e => Unfit::NoDevice(e),
        })?;
        let settings = self.settings.lock();
        let old = self.bdev().ok_or(Unfit::NotEnabled)?;
        let (mode, claim) = settings.how();
        let opening = Opening::begin(self).ok_or(Unfit::Busy)?;
        drop(settings);
        if number.major_minor() == old.major_minor() && !old.look_removed() {
            // It is the same by another name.
            self.settings.lock().path = text;
            return Ok(());
        }
        let room = UniqueArc::new_uninit(GFP_KERNEL).map_err(|_| Unfit::Other(ENOMEM))?;
        let opened = errand::run(PATIENCE_MS, move || {
            Bdev::open(number, mode, claim).map(|bdev| (bdev, opening))
        });
        let (new, opening) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(e)) if e == EBUSY => return Err(Unfit::InUse),
            Ok(Err(e)) if e == EACCES || e == EROFS => return Err(Unfit::ReadOnly),
            Err(e) if e == errand::late() => return Err(Unfit::NewHangs),
            Ok(Err(e)) | Err(e) => return Err(Unfit::Other(e)),
        };
        let new: Arc<Bdev> = room.write(new).into();
        let placed = self.put_in_place(&old, &new, text);
        if placed.is_err() {
            // Who tries again is to find it free.
            new.close();
            new.wait_closed(GIVE_BACK_MS);
        }
        drop(opening);
        placed?;
        pr_info!(
            "core/iblock_{}/{}: its block device is {} now, and was {}\n",
            self.hba,
            BStr::from_bytes(&self.name),
            new.name(),
            old.name()
        );
        old.close();
        old.wait_closed(GIVE_BACK_MS);
        Ok(())
    }

    /// The part of [`Device::replace`] with `new` open.
    fn put_in_place(&self, old: &Arc<Bdev>, new: &Arc<Bdev>, path: KVec<u8>) -> Result<(), Unfit> {
        self.check_fit(old, new)?;
        let deadline = misc::now_ms().saturating_add(u64::from(PATIENCE_MS));
        let give_up = || misc::now_ms() >= deadline || misc::is_interrupted();
        let all = match self.ranges.lock(0..u64::MAX, &give_up) {
            Ok(all) => all,
            Err(NoRange::NoMemory) => return Err(Unfit::Other(ENOMEM)),
            Err(NoRange::GivenUp) if misc::now_ms() < deadline => return Err(Unfit::Other(EINTR)),
            Err(NoRange::GivenUp) => return Err(Unfit::OldHangs),
        };
        self.flush_old(old, deadline)?;
        // Either may have been resized meanwhile.
        self.check_fit(old, new)?;
        let before = self.with_info(false, Facts::of);
        let mut settings = self.settings.lock();
        if old.is_closed() {
            return Err(Unfit::NotEnabled);
        }
        settings.path = path;
        let limits = new.limits();
        new.set_cgroup(settings.cgroup.clone());
        let _ = self.bdev.put(Some(new.clone()));
        self.inner.lock().adopt(&limits);
        drop(settings);
        self.tell_changes(&before);
        drop(all);
        Ok(())
    }

    /// Whether `new` can stand in for `old`.
    fn check_fit(&self, old: &Bdev, new: &Bdev) -> Result<(), Unfit> {
        let (was, is) = (old.limits(), new.limits());
        if was.logical_block_size != is.logical_block_size {
            return Err(Unfit::BlockSize);
        }
        let shift = self.block_shift().saturating_sub(9);
        // What initiators were told, if the old one has gone, or shrunk.
        let known = self.inner.lock().blocks;
        let most = old.nr_sectors().wrapping_shr(shift).max(known);
        if new.nr_sectors().wrapping_shr(shift) < most {
            return Err(Unfit::Smaller);
        }
        Ok(())
    }

    /// Makes durable what was written to the old block device, so that it is a
    /// copy of this moment. One that is broken is replaced all the same.
    fn flush_old(&self, old: &Arc<Bdev>, deadline: u64) -> Result<(), Unfit> {
        if old.look_removed() || old.limits().read_only {
            return Ok(());
        }
        let left = deadline.saturating_sub(misc::now_ms()).max(1);
        let bdev = old.clone();
        let flushed = errand::run(u32::try_from(left).unwrap_or(PATIENCE_MS), move || {
            bdev.flush()
        });
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                pr_warn!(
                    "core/iblock_{}/{}: flushing {}, which is replaced, failed ({:?})\n",
                    self.hba,
                    BStr::from_bytes(&self.name),
                    old.name(),
                    error
                );
                Ok(())
            }
            Err(e) if e == errand::late() => Err(Unfit::OldHangs),
            Err(e) => Err(Unfit::Other(e)),
        }
    }

    /// Tells initiators what they had better look up again.
    fn tell_changes(&self, before: &Facts) {
        self.check_capacity();
        let now = self.with_info(false, Facts::of);
        if now.capacity != before.capacity {
            self.post_all(Ua::CapacityChanged, None);
        }
        if (&now.pages, &now.atomic, &now.thin) != (&before.pages, &before.atomic, &before.thin) {
            self.post_all(Ua::InquiryDataChanged, None);
        }
        if now.cache != before.cache {
            self.post_all(Ua::ModeParametersChanged, None);
        }
    }
}
