// SPDX-License-Identifier: GPL-2.0

//! Logical units: exported by a portal group, mapped for an initiator, and
//! the I_T_L nexus through which one session sees one.

use super::{
    alua::Access,
    caps::Caps,
    copies::Copies,
    device::Device,
    tpg::Tpg, //
};
use crate::sys::atomic::InPlace;
use crate::{
    meter::{
        Count,
        Meter,
        FULL, //
    },
    proto::scsi::{
        device::{
            DeviceInfo,
            UaInterlock, //
        },
        persist::Standing,
        sense::Sense,
        ua::{
            Pending,
            Ua, //
        }, //
    },
    session::Session,
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

/// A LUN of a portal group: a number, and the device behind it when linked.
#[pin_data]
pub(crate) struct Lun {
    number: u16,
    tpg: Arc<Tpg>,
    meter: Meter<FULL>,
    caps: Arc<Caps>,
    #[pin]
    device: SpinLockBh<Option<Arc<Device>>>,
}

impl Lun {
    pub(super) fn new(number: u16, tpg: Arc<Tpg>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                number,
                tpg,
                meter: Meter::new()?,
                caps: Caps::new()?,
                device <- new_spinlock_bh!(None, "ferrite_lun"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The logical unit number, as the portal group numbers it.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// What is counted of its commands.
    pub(crate) fn meter(&self) -> &Meter<FULL> {
        &self.meter
    }

    /// The limits of all its commands together.
    pub(crate) fn caps(&self) -> &Arc<Caps> {
        &self.caps
    }

    /// A command has to wait for limits.
    pub(super) fn count_held(&self) {
        self.meter.add(Count::Held, 1);
    }

    /// One has waited so long.
    pub(super) fn count_held_us(&self, us: u64) {
        self.meter.add(Count::HeldUs, us);
    }

    /// The portal group it belongs to.
    pub(crate) fn tpg(&self) -> &Arc<Tpg> {
        &self.tpg
    }

    /// The device behind it.
    pub(crate) fn device(&self) -> Option<Arc<Device>> {
        self.device.lock().clone()
    }

    /// Whether it belongs to `tpg`.
    pub(crate) fn is_of(&self, tpg: &Arc<Tpg>) -> bool {
        Arc::ptr_eq(&self.tpg, tpg)
    }

    /// Puts `device` behind the LUN; sessions see it at once.
    ///
    /// # Errors
    ///
    /// `ENODEV` when the device is not enabled, `EEXIST` when the LUN has one.
    pub(crate) fn attach(self: &Arc<Self>, device: &Arc<Device>) -> Result {
        if !device.is_enabled() {
            return Err(ENODEV);
        }
        // Nobody else links it meanwhile: configfs holds its lock.
        if self.device.lock().is_some() {
            return Err(EEXIST);
        }
        // It has a place in the groups before a session can come through it.
        device.add_port(self.clone())?;
        // And from here on nothing changes that its initiators rely on.
        device.exported(true);
        *self.device.lock() = Some(device.clone());
        self.tpg.remap_all();
        Ok(())
    }

    /// Takes the device away; new commands find no LUN from now on.
    pub(crate) fn detach(&self) {
        let old = self.device.lock().take();
        if let Some(device) = old {
            // Sessions go first: one that is left would find no group, and that is as
            // good as active, and a device that may change under it.
            self.tpg.remap_all();
            device.remove_port(self);
            device.exported(false);
        }
    }
}

/// A LUN as one initiator sees it: its own number for a LUN of the group.
#[pin_data]
pub(crate) struct MappedLun {
    number: u16,
    tpg: Arc<Tpg>,
    write_protect: Atomic<i32>,
    #[pin]
    lun: SpinLockBh<Option<Arc<Lun>>>,
}

impl MappedLun {
    pub(super) fn new(number: u16, tpg: Arc<Tpg>, write_protect: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                number,
                tpg,
                write_protect: Atomic::new(i32::from(write_protect)),
                lun <- new_spinlock_bh!(None, "ferrite_mapped_lun"),
            }),
            GFP_KERNEL,
        )
    }

    /// The number the initiator uses.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The LUN it stands for.
    pub(crate) fn lun(&self) -> Option<Arc<Lun>> {
        self.lun.lock().clone()
    }

    /// Lets the number stand for `lun`.
    ///
    /// # Errors
    ///
    /// `EEXIST` when it stands for one already, `EINVAL` when `lun` is of
    /// another portal group.
    pub(crate) fn map(&self, lun: &Arc<Lun>) -> Result {
        if !lun.is_of(&self.tpg) {
            return Err(EINVAL);
        }
        {
            let mut slot = self.lun.lock();
            if slot.is_some() {
                return Err(EEXIST);
            }
            *slot = Some(lun.clone());
        }
        self.tpg.remap_all();
        Ok(())
    }

    /// The number stands for nothing any more.
    pub(crate) fn unmap(&self) {
        let old = self.lun.lock().take();
        if old.is_some() {
            self.tpg.remap_all();
        }
    }

    /// Whether this initiator may only read.
    pub(crate) fn write_protect(&self) -> bool {
        self.write_protect.now() != 0
    }

    /// Lets this initiator write, or not; at once.
    ///
    /// # Errors
    ///
    /// None now; kept fallible for the caller's sake.
    pub(crate) fn set_write_protect(&self, on: bool) -> Result {
        self.write_protect.put(i32::from(on));
        self.tpg.remap_all();
        Ok(())
    }
}

/// One session's way to one logical unit (SAM-5: the I_T_L nexus).
#[pin_data]
pub(crate) struct Nexus {
    number: u16,
    device: Arc<Device>,
    lun: Arc<Lun>,
    session: Arc<Session>,
    read_only: Atomic<i32>,
    gone: Atomic<i32>,
    /// The target port group of its LUN: bits of an [`Access`].
    access: Atomic<u32>,
    /// Whether `access` has been said.
    placed: Atomic<i32>,
    /// How long a command waits in active/non-optimized state, in ms.
    nonop_delay_ms: Atomic<u32>,
    /// Set while a unit attention is pending, so that the data path need not
    /// take the lock to learn that there is none.
    attention: Atomic<i32>,
    /// Where it stands with persistent reservations: bit 0 registered, bit 1
    /// holder.
    standing: Atomic<i32>,
    /// Whether the disk may still have commands of an earlier session of the same initiator
    /// port.
    behind: Atomic<i32>,
    /// Commands that may change the medium, were lost with their connection, and have not ended.
    lost: Atomic<i32>,
    #[pin]
    copies: Copies,
    #[pin]
    pending: SpinLockBh<Pending>,
}

impl Nexus {
    /// A new nexus; its first command is told of the power on.
    pub(crate) fn new(
        number: u16,
        device: Arc<Device>,
        lun: Arc<Lun>,
        session: Arc<Session>,
        read_only: bool,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                number,
                device,
                lun,
                session,
                read_only: Atomic::new(i32::from(read_only)),
                gone: Atomic::new(0),
                access: Atomic::new(Access::PLAIN.bits()),
                placed: Atomic::new(0),
                nonop_delay_ms: Atomic::new(0),
                attention: Atomic::new(1),
                standing: Atomic::new(0),
                behind: Atomic::new(0),
                lost: Atomic::new(0),
                copies <- Copies::new(),
                pending <- new_spinlock_bh!(Pending::NEW_NEXUS, "ferrite_nexus"),
            }),
            GFP_KERNEL,
        )
    }

    /// The number the initiator uses.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The device at the other end.
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The LUN of the portal group that it goes through.
    pub(crate) fn lun(&self) -> &Arc<Lun> {
        &self.lun
    }

    /// The session at this end.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Whether this initiator may only read.
    pub(crate) fn read_only(&self) -> bool {
        self.read_only.now() != 0
    }

    /// Lets this initiator write, or not.
    pub(crate) fn set_read_only(&self, on: bool) {
        self.read_only.put(i32::from(on));
    }

    /// The access state of its target port group, and what else the data path
    /// and the pages have to know of that.
    pub(crate) fn access(&self) -> Access {
        Access::from_bits(self.access.now())
    }

    /// How long a command waits in active/non-optimized state, in ms.
    pub(crate) fn nonop_delay_ms(&self) -> u32 {
        self.nonop_delay_ms.now()
    }

    /// Returns what it was before, if it has been said before.
    pub(super) fn set_access(&self, access: Access, nonop_delay_ms: u32) -> Option<Access> {
        self.nonop_delay_ms.put(nonop_delay_ms);
        let before = self.access.now();
        self.access.put(access.bits());
        let placed = self.placed.now() != 0;
        self.placed.put(1);
        placed.then_some(Access::from_bits(before))
    }

    /// Shows the device as the SCSI pages want it for a command that comes this
    /// way. `look` must not sleep.
    pub(crate) fn with_info<R>(&self, look: impl FnOnce(&DeviceInfo<'_>) -> R) -> R {
        self.device
            .with_info_of(self.read_only(), self.access(), look)
    }

    /// Where it stands with persistent reservations.
    pub(crate) fn standing(&self) -> Standing {
        let bits = self.standing.now();
        Standing {
            registered: bits & 1 != 0,
            holder: bits & 2 != 0,
        }
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        let bits = i32::from(standing.registered) | i32::from(standing.holder) << 1;
        self.standing.put(bits);
    }

    /// Whether an earlier nexus of the same initiator port may still have commands with the
    /// disk. What it wrote could reach the medium after what is written now, so that a write has
    /// to wait (SAM-5, "I_T nexus loss": the commands of the earlier one have been aborted).
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.now() != 0
    }

    /// Whether a write has to wait: for such a nexus, or for commands of this one that were lost
    /// with their connection (RFC 7143 6.3.4: they are ended as a logout ends them).
    pub(crate) fn must_wait(&self) -> bool {
        self.is_behind() || self.lost.now() != 0
    }

    /// A command that may change the medium has been lost with its connection.
    pub(crate) fn one_lost(&self) {
        self.lost.add(1, Relaxed);
    }

    /// One of these has ended.
    pub(crate) fn lost_one_ended(&self) {
        self.lost.add(-1, Relaxed);
    }

    pub(super) fn set_behind(&self, on: bool) {
        self.behind.put(i32::from(on));
    }

    /// Whether it is at its end: nothing that comes by it begins any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_gone() || self.session.is_doomed()
    }

    /// Whether `other` is at its end, and of the same initiator port and portal group.
    pub(super) fn follows(&self, other: &Nexus) -> bool {
        other.is_over() && !core::ptr::eq(self, other) && self.session.is_same_nexus(&other.session)
    }

    /// Its third-party copies.
    pub(crate) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Marks the nexus as ended: commands that still come find no LUN. What is then taken
    /// from it is not taken again by one that has not seen that.
    pub(crate) fn end(&self) {
        self.gone.put(1);
        smp_mb();
    }

    /// Whether the nexus has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.now() != 0
    }

    /// Establishes a unit attention condition.
    pub(crate) fn post(&self, ua: Ua) {
        self.pending.lock().post(ua);
        self.attention.put(1);
    }

    /// Whether a unit attention is pending.
    pub(crate) fn has_attention(&self) -> bool {
        self.attention.now() != 0
    }

    /// The sense key and codes of the first unit attention, which stays.
    pub(crate) fn peek_attention(&self) -> Option<(u8, u8, u8)> {
        let sense = self.pending.lock().first()?.sense();
        Some((sense.key as u8, sense.asc, sense.ascq))
    }

    /// Reports and clears the first unit attention.
    pub(crate) fn take_attention(&self) -> Option<Sense> {
        let mut pending = self.pending.lock();
        let sense = pending.take();
        if pending.is_empty() {
            self.attention.put(0);
        }
        sense
    }

    /// Reports the first unit attention, and clears it unless UA_INTLCK_CTRL
    /// says that it stays (SPC-4, "Control mode page").
    pub(crate) fn report_attention(&self) -> Option<Sense> {
        if self.device.ua_interlock() == UaInterlock::Clear {
            return self.take_attention();
        }
        self.pending.lock().first().map(Ua::sense)
    }

    /// Clears one kind, because the initiator has learnt of it otherwise.
    pub(crate) fn clear_attention(&self, ua: Ua) {
        let mut pending = self.pending.lock();
        pending.clear(ua);
        if pending.is_empty() {
            self.attention.put(0);
        }
    }
}
