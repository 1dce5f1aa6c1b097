// SPDX-License-Identifier: GPL-2.0

//! A backing device: a block device and how initiators see it.

use super::{
    alua::{
        Access,
        Groups, //
    },
    lun::Nexus,
    order::Order,
    persist::{
        Glance,
        PrDir,
        Registrants, //
    },
    ranges::Ranges,
    referrals::LbaMap,
    tokens::Tokens,
    traffic::Traffic, //
};
use crate::sys::atomic::InPlace;
use crate::{
    proto::scsi::{
        device::{
            Atomic as Atomic16,
            Changeable,
            DeviceInfo,
            ModeState,
            QueueError,
            Thin,
            UaInterlock,
            COMPANY_ID, //
        },
        log::LogValues,
        persist::Persist,
        pool::Pool,
        ua::Ua,
        unit_id::{
            Eui64,
            Naa,
            T10, //
        },
        ReadWriteLimits,
        Sense, //
    },
    session::Session,
    sys::{
        bdev::{
            Bdev,
            BlkError,
            Claim,
            DevNumber,
            Limits,
            Live,
            Mode, //
        },
        cgroup::Cgroup,
        errand,
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        misc,
        percpu::smp_mb,
        slot::Slot, //
    },
    task::{
        self,
        SlowLane,
        Turn,
        Turns, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex,
        UniqueArc, //
    }, //
};

mod replace;

pub(crate) use replace::Unfit;

/// The longest READ or WRITE, in bytes: VPD page B0h says so in blocks.
pub(crate) const MAX_TRANSFER: u32 = 8 << 20;

/// The longest WRITE SAME, in blocks, unless the administrator says otherwise.
const MAX_WRITE_SAME: u32 = 0xffff;

/// The most blocks of one COMPARE AND WRITE: as many as its CDB can say.
const MAX_COMPARE_AND_WRITE: u8 = 255;

/// The most blocks of one UNMAP, unless the administrator says otherwise.
const MAX_UNMAP_BLOCKS: u32 = 1 << 20;

/// Milliseconds that removing a device waits for I/O on it.
const CLOSE_WAIT_MS: u32 = 1000;

/// Milliseconds that an administrator waits for a disk or a file system.
pub(super) const PATIENCE_MS: u32 = errand::PATIENCE_MS;

/// How long a flush may take at least, in milliseconds, when other things have used that up.
const LEAST_FLUSH_MS: u64 = 1000;

/// Descriptors that one UNMAP may carry.
const MAX_UNMAP_DESCRIPTORS: u32 = 256;

/// An INQUIRY string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WwnField {
    /// T10 VENDOR IDENTIFICATION, 8 bytes.
    VendorId,
    /// PRODUCT IDENTIFICATION, 16 bytes.
    ProductId,
    /// PRODUCT REVISION LEVEL, 4 bytes.
    Revision,
    /// The unit serial number, of which the NAA identifier is made.
    UnitSerial,
}

/// What the kernel calls the block device.
pub(crate) struct BdevInfo {
    /// Its name, padded with NUL.
    pub(crate) name: [u8; 32],
    /// Its major number.
    pub(crate) major: u32,
    /// Its minor number.
    pub(crate) minor: u32,
}

/// Commands of more than one session have failed; no session has this id.
const SEVERAL: u64 = u64::MAX;

/// A numeric attribute of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum DeviceAttrib {
    /// The logical block size of the block device, in bytes.
    HwBlockSize,
    /// The logical block size that initiators see, in bytes.
    BlockSize,
    /// The longest request of the block device, in 512-byte sectors.
    HwMaxSectors,
    /// OPTIMAL TRANSFER LENGTH, in blocks.
    OptimalSectors,
    /// Requests that the block device takes at once.
    HwQueueDepth,
    /// The same, as a setting.
    QueueDepth,
    /// Whether the block device has a volatile write cache (WCE).
    WriteCache,
    /// Whether each write is made durable before it is acknowledged.
    WriteThrough,
    /// UNMAP is supported.
    Tpu,
    /// WRITE SAME with the UNMAP bit is supported.
    Tpws,
    /// DPO and FUA are supported.
    FuaWrite,
    /// REPORT SUPPORTED OPERATION CODES is supported.
    Rsoc,
    /// The medium does not rotate.
    IsNonrot,
    /// MAXIMUM UNMAP LBA COUNT.
    MaxUnmapLbaCount,
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
    MaxUnmapBlockDescCount,
    /// OPTIMAL UNMAP GRANULARITY, in blocks.
    UnmapGranularity,
    /// UNMAP GRANULARITY ALIGNMENT, in blocks.
    UnmapGranularityAlignment,
    /// Unmapped blocks read as zeros (LBPRZ).
    UnmapZeroesData,
    /// MAXIMUM WRITE SAME LENGTH, in blocks.
    MaxWriteSameLen,
    /// COMPARE AND WRITE is supported.
    Caw,
    /// Third-party copy commands are supported (3PC).
    ThirdPartyCopy,
    /// TAS after a reset: commands that another nexus has aborted end TASK
    /// ABORTED.
    Tas,
    /// UA_INTLCK_CTRL after a reset: 0, 1 (10b) or 2 (11b).
    UaIntlck,
    /// Commands that the device takes at once; 0 is no limit.
    MaxTasks,
    /// There are target port groups.
    AluaSupport,
}

const ATTRIBS: usize = DeviceAttrib::AluaSupport as usize + 1;

/// A backing device.
#[pin_data]
pub(crate) struct Device {
    hba: u32,
    name: KVec<u8>,
    #[pin]
    settings: Mutex<Settings>,
    bdev: Slot<Bdev>,
    /// Somebody is opening it, or another one instead of it.
    opening: Atomic<i32>,
    /// Log2 of the block size that initiators see.
    block_shift: Atomic<u32>,
    write_through: Atomic<i32>,
    /// An initiator has switched the write cache off (WCE).
    cache_off: Atomic<i32>,
    /// DPO and FUA are refused; the opposite of `DeviceAttrib::FuaWrite`.
    no_dpo_fua: Atomic<i32>,
    /// An initiator has switched writing off (SWP).
    write_protect: Atomic<i32>,
    /// TAS, QERR and UA_INTLCK_CTRL as they are now.
    tas: Atomic<i32>,
    queue_error: Atomic<i32>,
    ua_interlock: Atomic<i32>,
    /// Whose command has failed, where that is about to abort those of all others: the id
    /// of a session, 0 if there is none, or [`SEVERAL`].
    failed_of: Atomic<u64>,
    /// Whether many commands wait in its lines.
    long_lines: Atomic<i32>,
    exports: Atomic<i32>,
    /// The holder of a RESERVE(6) or RESERVE(10), by session id; 0 for none.
    reserved_by: Atomic<u64>,
    /// Which blocks somebody has to himself.
    #[pin]
    ranges: Ranges,
    /// What initiators have read and written.
    traffic: Traffic,
    #[pin]
    tokens: Tokens,
    #[pin]
    lba_map: LbaMap,
    #[pin]
    groups: Mutex<Groups>,
    #[pin]
    persist: Mutex<Persist<Registrants>>,
    glance: Glance,
    /// Where that is written down.
    pr_dir: Arc<PrDir>,
    /// Whether the file may say something else than `persist`.
    in_doubt: Atomic<i32>,
    /// Who changes `persist`.
    #[pin]
    turns: SpinLockBh<Turns>,
    #[pin]
    slow: SpinLockBh<SlowLane>,
    #[pin]
    order: Order,
    #[pin]
    inner: SpinLockBh<Inner>,
}

/// Protected by the mutex in [`Device`]: what is set before enabling.
struct Settings {
    path: KVec<u8>,
    readonly: bool,
    exclusive: bool,
    /// The cgroup that its I/O counts for, and its path.
    cgroup: Option<Arc<Cgroup>>,
    cgroup_path: KVec<u8>,
}

impl Settings {
    /// How the block device is opened.
    fn how(&self) -> (Mode, Claim) {
        let mode = if self.readonly {
            Mode::ReadOnly
        } else {
            Mode::ReadWrite
        };
        let claim = if self.exclusive {
            Claim::Exclusive
        } else {
            Claim::Shared
        };
        (mode, claim)
    }
}

/// Protected by the spin lock in [`Device`].
struct Inner {
    alias: KVec<u8>,
    text_id: KVec<u8>,
    vendor: Text<8>,
    product: Text<16>,
    revision: Text<4>,
    serial: KVec<u8>,
    company_id: u32,
    naa: Naa,
    eui64: Eui64,
    /// As it is written in configuration.
    t10: KVec<u8>,
    attribs: [u32; ATTRIBS],
    /// What they are if nobody sets them.
    defaults: [u32; ATTRIBS],
    /// Which of them somebody has set to something else.
    set: [bool; ATTRIBS],
    mode: ModeState,
    nexuses: KVec<Arc<Nexus>>,
    /// How many of these are behind others of the same initiator port.
    behind: usize,
    /// Blocks, when initiators were last told.
    blocks: u64,
    /// What is known of the pool that it takes its blocks from.
    pool: Pool,
}

impl Inner {
    /// A nexus is behind no other one any more.
    fn let_by(&mut self, nexus: &Nexus) {
        if nexus.is_behind() {
            nexus.set_behind(false);
            self.behind = self.behind.saturating_sub(1);
        }
    }

    /// Nor is any of the same initiator port and portal group.
    fn let_all_by(&mut self, nexus: &Nexus) {
        let all = self.nexuses.iter().filter(|n| n.is_behind());
        for other in all.filter(|n| n.session().is_same_nexus(nexus.session())) {
            other.set_behind(false);
            self.behind = self.behind.saturating_sub(1);
        }
    }
}

/// As long as it lives, nobody else opens the block device.
struct Opening(Arc<Device>);

impl Opening {
    fn begin(device: &Arc<Device>) -> Option<Self> {
        let first = device.opening.xchg(1, Full) == 0;
        first.then(|| Self(device.clone()))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.opening.store(0, Release);
    }
}

/// A short string, padded with spaces on the wire.
#[derive(Clone, Copy)]
struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    fn new(value: &[u8]) -> Self {
        let mut text = Self {
            bytes: [b' '; N],
            len: value.len().min(N),
        };
        for (to, from) in text.bytes.iter_mut().zip(value) {
            *to = *from;
        }
        text
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// The serial number of a device that has been given none: always the same on
/// this host for a device of this name, as initiators know a disk by it.
fn default_serial(hba: u32, name: &[u8]) -> Result<KVec<u8>> {
    let mut seed = copy(&hba.to_be_bytes())?;
    seed.extend_from_slice(name, GFP_KERNEL)?;
    let mut serial = KVec::new();
    for byte in misc::stable_id(&seed).iter().take(16) {
        for nibble in [byte >> 4, byte & 0xf] {
            let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            serial.push(digit as u8, GFP_KERNEL)?;
        }
    }
    Ok(serial)
}

fn copy(value: &[u8]) -> Result<KVec<u8>> {
    let mut out = KVec::new();
    out.extend_from_slice(value, GFP_KERNEL)?;
    Ok(out)
}

impl Device {
    pub(super) fn new(hba: u32, name: &[u8], pr_dir: Arc<PrDir>) -> Result<Arc<Self>> {
        let serial = default_serial(hba, name)?;
        let ranges = Ranges::new()?;
        Arc::pin_init(
            try_pin_init!(Self {
                hba,
                name: copy(name)?,
                settings <- new_mutex!(
                    Settings {
                        path: KVec::new(),
                        readonly: false,
                        exclusive: true,
                        cgroup: None,
                        cgroup_path: KVec::new(),
                    },
                    "ferrite_device_settings"
                ),
                bdev: Slot::new(),
                opening: Atomic::new(0),
                block_shift: Atomic::new(9),
                write_through: Atomic::new(0),
                cache_off: Atomic::new(0),
                no_dpo_fua: Atomic::new(0),
                write_protect: Atomic::new(0),
                tas: Atomic::new(0),
                queue_error: Atomic::new(0),
                ua_interlock: Atomic::new(0),
                failed_of: Atomic::new(0),
                long_lines: Atomic::new(0),
                exports: Atomic::new(0),
                reserved_by: Atomic::new(0),
                groups <- new_mutex!(Groups::new()?, "ferrite_alua"),
                persist <- new_mutex!(Persist::new(Registrants::new()), "ferrite_persist"),
                glance: Glance::new(),
                pr_dir,
                in_doubt: Atomic::new(0),
                turns <- new_spinlock_bh!(Turns::new(), "ferrite_turns"),
                slow <- new_spinlock_bh!(SlowLane::new(), "ferrite_slow_lane"),
                order <- Order::new(),
                ranges <- ranges,
                tokens <- Tokens::new(),
                lba_map <- LbaMap::new(),
                traffic: Traffic::new()?,
                inner <- new_spinlock_bh!(
                    Inner {
                        alias: KVec::new(),
                        text_id: KVec::new(),
                        vendor: Text::new(b"FERRITE"),
                        product: Text::new(b"disk"),
                        revision: Text::new(b"0001"),
                        serial,
                        company_id: COMPANY_ID,
                        naa: Naa::Made,
                        eui64: Eui64::NONE,
                        t10: KVec::new(),
                        attribs: [0; ATTRIBS],
                        defaults: [0; ATTRIBS],
                        set: [false; ATTRIBS],
                        mode: ModeState::DEFAULT,
                        nexuses: KVec::new(),
                        behind: 0,
                        blocks: 0,
                        pool: Pool::NONE,
                    },
                    "ferrite_device"
                ),
            }? Error),
            GFP_KERNEL,
        )
    }

    pub(super) fn is_named(&self, hba: u32, name: &[u8]) -> bool {
        self.hba == hba && self.name.as_slice() == name
    }

    /// The number of its group in configuration.
    pub(crate) fn hba(&self) -> u32 {
        self.hba
    }

    /// The device's name in configuration.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    // ---- before enabling -----------------------------------------------

    fn before_enable(&self, same: bool, set: impl FnOnce(&mut Settings) -> Result) -> Result {
        let mut settings = self.settings.lock();
        if self.is_enabled() || self.opening.now() != 0 {
            return if same { Ok(()) } else { Err(EBUSY) };
        }
        set(&mut settings)
    }

    /// Says which block device it is.
    ///
    /// # Errors
    ///
    /// `EBUSY` once enabled, unless it is the same.
    pub(crate) fn set_path(&self, path: &[u8]) -> Result {
        let same = self.path(|p| p == path);
        let path = copy(path)?;
        self.before_enable(same, |s| {
            s.path = path;
            Ok(())
        })
    }

    /// Looks at the path; empty when not set.
    pub(crate) fn path<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.settings.lock().path)
    }

    /// Opens it for reading only.
    ///
    /// # Errors
    ///
    /// `EBUSY` once enabled, unless it is so already.
    pub(crate) fn set_readonly(&self, on: bool) -> Result {
        self.before_enable(self.readonly() == on, |s| {
            s.readonly = on;
            Ok(())
        })
    }

    /// Whether it is opened for reading only.
    pub(crate) fn readonly(&self) -> bool {
        self.settings.lock().readonly
    }

    /// Opens it so that nobody else can claim it.
    ///
    /// # Errors
    ///
    /// `EBUSY` once enabled, unless it is so already.
    pub(crate) fn set_exclusive(&self, on: bool) -> Result {
        self.before_enable(self.exclusive() == on, |s| {
            s.exclusive = on;
            Ok(())
        })
    }

    /// Whether it is opened exclusively.
    pub(crate) fn exclusive(&self) -> bool {
        self.settings.lock().exclusive
    }

    /// Has its I/O count for the cgroup at a path, or for none.
    ///
    /// # Errors
    ///
    /// `ENODEV` before enabling; those of [`Cgroup::look_up`].
    pub(crate) fn set_cgroup(&self, path: Option<&[u8]>) -> Result {
        let cgroup = match path {
            Some(path) => Some(Arc::new(Cgroup::look_up(path)?, GFP_KERNEL)?),
            None => None,
        };
        let text = copy(path.unwrap_or_default())?;
        let mut settings = self.settings.lock();
        let bdev = self.bdev.get().ok_or(ENODEV)?;
        bdev.set_cgroup(cgroup.clone());
        settings.cgroup = cgroup;
        settings.cgroup_path = text;
        Ok(())
    }

    /// Looks at the path of the cgroup that its I/O counts for; empty when there
    /// is none.
    pub(crate) fn cgroup_path<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.settings.lock().cgroup_path)
    }

    /// Sets the label.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_alias(&self, alias: &[u8]) -> Result {
        let mut alias = copy(alias)?;
        // The old one is freed outside the lock.
        core::mem::swap(&mut self.inner.lock().alias, &mut alias);
        Ok(())
    }

    /// Looks at the label. `look` must not sleep.
    pub(crate) fn alias<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.inner.lock().alias)
    }

    /// Sets the text identifying information.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_text_id(&self, text: &[u8]) -> Result {
        let mut text = copy(text)?;
        // The old one is freed outside the lock.
        core::mem::swap(&mut self.inner.lock().text_id, &mut text);
        Ok(())
    }

    /// Looks at the text identifying information. `look` must not sleep.
    pub(crate) fn text_id<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.inner.lock().text_id)
    }

    /// What is known of the pool that it takes its blocks from.
    pub(crate) fn pool(&self) -> Pool {
        self.inner.lock().pool
    }

    /// Somebody has looked at the pool, or has set another threshold. Initiators
    /// are told of what they see otherwise now, and once when the threshold is
    /// reached (SBC-3, "Logical block provisioning thresholds").
    pub(crate) fn set_pool(&self, change: impl FnOnce(Pool) -> Pool) {
        let mut inner = self.inner.lock();
        let old = inner.pool;
        let new = change(old);
        inner.pool = new;
        drop(inner);
        if old.is_known() != new.is_known() {
            // THRESHOLD EXPONENT and PROVISIONING TYPE.
            self.post_all(Ua::InquiryDataChanged, None);
        }
        if old.threshold_sets() != new.threshold_sets() {
            self.post_all(Ua::ModeParametersChanged, None);
        }
        if old.is_reached() || !new.is_reached() {
            return;
        }
        self.post_all(Ua::SoftThresholdReached, None);
        pr_warn!(
            "core/iblock_{}/{}: its pool is {} % full, the threshold is {} %\n",
            self.hba,
            core::str::from_utf8(&self.name).unwrap_or("?"),
            new.percent(),
            new.threshold()
        );
        self.for_each_nexus(&mut |nexus| {
            let sense = Sense::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED;
            nexus.session().scsi_event(nexus.number(), sense);
        });
    }

    /// Opens the block device, and takes up the reservations that shall have
    /// survived a loss of power. It stays open until the device is removed.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a path, `EEXIST` when enabled already, `EBUSY` while it
    /// is being opened, what opening says, that the reservations cannot be
    /// read, or those of [`errand::run`]: then it stays disabled, and if the
    /// device opens later it is closed again.
    pub(crate) fn enable(self: &Arc<Self>) -> Result {
        let settings = self.settings.lock();
        if self.is_enabled() {
            return Err(EEXIST);
        }
        if settings.path.is_empty() {
            return Err(ENODEV);
        }
        let (mode, claim) = settings.how();
        let path = copy(&settings.path)?;
        let opening = Opening::begin(self).ok_or(EBUSY)?;
        drop(settings);
        // Nobody is kept waiting for as long as a disk or file system may take.
        let number = DevNumber::look_up(&path)?;
        let device = self.clone();
        let serial = self.serial()?;
        let room = UniqueArc::new_uninit(GFP_KERNEL)?;
        let opened = errand::run(PATIENCE_MS, move || {
            let bdev = Bdev::open(number, mode, claim)?;
            match device.read_back(&serial) {
                Ok(persist) => Ok((bdev, persist, opening)),
                Err(e) => {
                    // Who tries again is to find it free.
                    bdev.close();
                    bdev.wait_closed(CLOSE_WAIT_MS);
                    Err(e)
                }
            }
        });
        if opened.as_ref().is_err_and(|e| *e == errand::late()) {
            pr_warn!(
                "core/iblock_{}/{}: the block device, or the file system of pr_dir, hangs; it is not enabled\n",
                self.hba,
                BStr::from_bytes(&self.name)
            );
        }
        let (bdev, persist, opening) = opened??;
        let limits = bdev.limits();
        let blocks = bdev.nr_sectors();
        let bdev = room.write(bdev).into();
        let settings = self.settings.lock();
        self.restore_persist(persist);
        {
            let mut inner = self.inner.lock();
            inner.adopt(&limits);
            inner.mode = inner.default_mode();
            self.publish(&inner.mode);
            let shift = inner.block_size().trailing_zeros();
            self.block_shift.put(shift);
            inner.blocks = blocks.wrapping_shr(shift.saturating_sub(9));
        }
        let _ = self.bdev.put(Some(bdev));
        drop(opening);
        drop(settings);
        Ok(())
    }

    /// Lets no more I/O in and gives the block device back.
    pub(super) fn close(&self) {
        if let Some(bdev) = self.bdev.get() {
            bdev.close();
            task::end_all_hopeless(self);
            if !bdev.wait_closed(CLOSE_WAIT_MS) {
                pr_warn!(
                    "core/iblock_{}/{}: removed, but I/O is still under way on {}, and may yet write to it\n",
                    self.hba,
                    BStr::from_bytes(&self.name),
                    bdev.name()
                );
            }
        }
    }

    /// Whether the block device is open.
    pub(crate) fn is_enabled(&self) -> bool {
        self.bdev.is_set()
    }

    /// What the kernel calls the block device; `None` before enabling.
    pub(crate) fn bdev_info(&self) -> Option<BdevInfo> {
        let bdev = self.bdev.get()?;
        let (major, minor) = bdev.major_minor();
        let mut name = [0; 32];
        for (to, from) in name.iter_mut().zip(bdev.name().bytes()) {
            *to = from;
        }
        Some(BdevInfo { name, major, minor })
    }

    // ---- attributes ----------------------------------------------------

    /// LUNs that export it.
    pub(crate) fn export_count(&self) -> u32 {
        u32::try_from(self.exports.now()).unwrap_or(0)
    }

    /// A LUN is going to export it, or does no more. What must not change meanwhile
    /// is changed with `settings` held, and so not between a look and the change.
    pub(super) fn exported(&self, on: bool) {
        let _settings = self.settings.lock();
        self.exports.add(if on { 1 } else { -1 }, Relaxed);
    }

    /// Whether a command is under way, maybe of a LUN that has been taken away, or a copy
    /// that another LUN was told to make. One that is not seen here sees that its nexus
    /// has ended: it looks after it has begun.
    fn is_busy(&self) -> bool {
        smp_mb();
        self.ranges.in_use() || self.traffic.has_others()
    }

    /// Reads an attribute.
    pub(crate) fn attrib(&self, which: DeviceAttrib) -> u32 {
        self.inner.lock().attrib(which)
    }

    /// Writes an attribute whose range has been checked.
    ///
    /// # Errors
    ///
    /// `EBUSY` when exported and initiators would see the disk change under
    /// them, `EINVAL` when the block device cannot do it, `ENODEV` before
    /// enabling where the value depends on the block device.
    pub(crate) fn set_attrib(&self, which: DeviceAttrib, value: u32) -> Result {
        let limits = self.limits();
        // No LUN comes to export it meanwhile.
        let settings = (which == DeviceAttrib::BlockSize).then(|| self.settings.lock());
        let busy = settings.is_some() && (self.export_count() > 0 || self.is_busy());
        let mut inner = self.inner.lock();
        if inner.attrib(which) == value {
            return Ok(());
        }
        match which {
            DeviceAttrib::WriteThrough => {
                self.write_through.put(value as i32);
            }
            DeviceAttrib::FuaWrite => {
                self.no_dpo_fua.put(i32::from(value == 0));
            }
            DeviceAttrib::BlockSize => {
                let limits = limits.ok_or(ENODEV)?;
                if busy {
                    return Err(EBUSY);
                }
                if !value.is_power_of_two()
                    || value < limits.logical_block_size
                    || !(512..=4096).contains(&value)
                {
                    return Err(EINVAL);
                }
                let old = self.block_shift.now();
                let new = value.trailing_zeros();
                inner.blocks = if new >= old {
                    inner.blocks.wrapping_shr(new.wrapping_sub(old))
                } else {
                    inner.blocks.wrapping_shl(old.wrapping_sub(new))
                };
                self.block_shift.put(new);
            }
            DeviceAttrib::Tpu | DeviceAttrib::Tpws => {
                let limits = limits.ok_or(ENODEV)?;
                if value != 0 && limits.max_discard_sectors == 0 {
                    return Err(EINVAL);
                }
            }
            DeviceAttrib::UnmapZeroesData => {
                let limits = limits.ok_or(ENODEV)?;
                if value != 0 && limits.max_write_zeroes_sectors == 0 {
                    return Err(EINVAL);
                }
            }
            DeviceAttrib::HwBlockSize
            | DeviceAttrib::HwMaxSectors
            | DeviceAttrib::HwQueueDepth
            | DeviceAttrib::QueueDepth
            | DeviceAttrib::WriteCache => return Err(EPERM),
            _ => {}
        }
        inner.put(which, value);
        inner.remember(which);
        let default = inner.default_mode();
        match which {
            // What is told in blocks is another number now.
            DeviceAttrib::BlockSize => {
                if let Some(limits) = limits {
                    inner.adopt(&limits);
                }
                return Ok(());
            }
            DeviceAttrib::Tas => inner.mode.task_aborted_status = default.task_aborted_status,
            DeviceAttrib::UaIntlck => inner.mode.ua_interlock = default.ua_interlock,
            DeviceAttrib::MaxTasks => self.order.set_most(value),
            DeviceAttrib::AluaSupport => {
                drop(inner);
                self.alua_switched();
                return Ok(());
            }
            DeviceAttrib::WriteThrough => {
                drop(inner);
                if limits.is_some_and(|limits| limits.write_cache) {
                    self.cache_switched(value != 0);
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.publish(&inner.mode);
        drop(inner);
        if which != DeviceAttrib::MaxTasks {
            self.post_all(Ua::ModeParametersChanged, None);
        }
        Ok(())
    }

    /// The administrator has switched the write cache, and with it WCE. Initiators are
    /// told, as who believes that there is none does not flush it.
    fn cache_switched(&self, through: bool) {
        if through && self.is_enabled() {
            // What was acknowledged before is to be as durable as what is from now on, and so is
            // what has begun before, and is acknowledged later.
            let deadline = misc::now_ms().saturating_add(u64::from(PATIENCE_MS));
            let give_up = || misc::now_ms() >= deadline || misc::is_interrupted();
            let settled = self.ranges.settle(&give_up).is_ok();
            let left = deadline.saturating_sub(misc::now_ms()).max(LEAST_FLUSH_MS);
            let left = u32::try_from(left).unwrap_or(PATIENCE_MS);
            let bdev = self.bdev();
            let flushed = errand::run(left, move || bdev.map_or(Ok(()), |bdev| bdev.flush()));
            if !settled || !matches!(flushed, Ok(Ok(()))) {
                pr_warn!(
                    "core/iblock_{}/{}: what was written before write_through was set could not be flushed\n",
                    self.hba,
                    BStr::from_bytes(&self.name)
                );
            }
        }
        self.post_all(Ua::ModeParametersChanged, None);
    }

    /// Sets an INQUIRY string.
    ///
    /// # Errors
    ///
    /// `EBUSY` while exported, unless it is the same; of a serial number also
    /// that the reservations of a unit with it cannot be read.
    pub(crate) fn set_wwn(self: &Arc<Self>, field: WwnField, value: &[u8]) -> Result {
        if self.wwn(field, |v| v == value) {
            return Ok(());
        }
        let mut serial = copy(value)?;
        if self.export_count() > 0 {
            return Err(EBUSY);
        }
        // Enabling takes up the reservations of the serial number that there
        // is at that moment; another serial number has others.
        let mut turn = None;
        let mut persist = None;
        if field == WwnField::UnitSerial {
            if self.opening.now() != 0 {
                return Err(EBUSY);
            }
            if self.is_enabled() {
                turn = Some(Turn::take(self).ok_or(EBUSY)?);
                let device = self.clone();
                let serial = copy(value)?;
                persist = Some(errand::run(PATIENCE_MS, move || {
                    device.read_back(&serial)
                })??);
            }
        }
        let settings = self.settings.lock();
        // It may have been exported meanwhile.
        if self.export_count() > 0 {
            return Err(EBUSY);
        }
        if field == WwnField::UnitSerial {
            match persist {
                Some(persist) => self.restore_persist(persist),
                // It has been enabled meanwhile, with the other one.
                None if self.is_enabled() || self.opening.now() != 0 => return Err(EBUSY),
                None => {}
            }
        }
        let mut inner = self.inner.lock();
        match field {
            WwnField::VendorId => inner.vendor = Text::new(value),
            WwnField::ProductId => inner.product = Text::new(value),
            WwnField::Revision => inner.revision = Text::new(value),
            WwnField::UnitSerial => core::mem::swap(&mut inner.serial, &mut serial),
        }
        drop(inner);
        drop(turn);
        drop(settings);
        Ok(())
    }

    /// Looks at an INQUIRY string, without padding. `look` must not sleep.
    pub(crate) fn wwn<R>(&self, field: WwnField, look: impl FnOnce(&[u8]) -> R) -> R {
        let inner = self.inner.lock();
        look(match field {
            WwnField::VendorId => inner.vendor.get(),
            WwnField::ProductId => inner.product.get(),
            WwnField::Revision => inner.revision.get(),
            WwnField::UnitSerial => &inner.serial,
        })
    }

    /// The IEEE company identifier in the NAA identifier.
    pub(crate) fn company_id(&self) -> u32 {
        self.inner.lock().company_id
    }

    /// Sets it, 24 bits.
    ///
    /// # Errors
    ///
    /// `EBUSY` while exported, unless it is the same.
    pub(crate) fn set_company_id(&self, id: u32) -> Result {
        self.set_designator(self.company_id() == id, |inner| inner.company_id = id)
    }

    /// The NAA designator.
    pub(crate) fn naa(&self) -> Naa {
        self.inner.lock().naa
    }

    /// Sets it.
    ///
    /// # Errors
    ///
    /// `EBUSY` while exported, unless it is the same.
    pub(crate) fn set_naa(&self, naa: Naa) -> Result {
        self.set_designator(self.naa() == naa, |inner| inner.naa = naa)
    }

    /// The EUI-64 based designator.
    pub(crate) fn eui64(&self) -> Eui64 {
        self.inner.lock().eui64
    }

    /// Sets it.
    ///
    /// # Errors
    ///
    /// `EBUSY` while exported, unless it is the same.
    pub(crate) fn set_eui64(&self, eui64: Eui64) -> Result {
        self.set_designator(self.eui64() == eui64, |inner| inner.eui64 = eui64)
    }

    /// Looks at the T10 vendor ID designator as it was set; nothing if it was not.
    /// `look` must not sleep.
    pub(crate) fn t10_id<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.inner.lock().t10)
    }

    /// Sets it to what [`T10::parse`] takes, or to nothing.
    ///
    /// # Errors
    ///
    /// `EBUSY` while exported, unless it is the same.
    pub(crate) fn set_t10_id(&self, value: &[u8]) -> Result {
        let mut text = copy(value)?;
        let same = self.t10_id(|now| now == value);
        // The old one is freed outside the lock.
        self.set_designator(same, |inner| core::mem::swap(&mut inner.t10, &mut text))
    }

    fn set_designator(&self, same: bool, set: impl FnOnce(&mut Inner)) -> Result {
        if same {
            return Ok(());
        }
        let _settings = self.settings.lock();
        if self.export_count() > 0 {
            return Err(EBUSY);
        }
        set(&mut self.inner.lock());
        Ok(())
    }

    // ---- the data path -------------------------------------------------

    /// The block device that is open now. It stays the same for who has a place
    /// in [`ranges`](Self::ranges): I/O on blocks asks for it there, and not
    /// before.
    pub(crate) fn bdev(&self) -> Option<Arc<Bdev>> {
        self.bdev.get()
    }

    /// Whether the block device is gone, or going; `None` when there is none.
    /// Looks, so that all know. Any context.
    pub(crate) fn look_lost(&self) -> Option<bool> {
        self.bdev
            .with(|bdev| bdev.map(|bdev| bdev.look_removed() || bdev.is_closed()))
    }

    /// Holds the block device open for an I/O. Where it is on blocks it takes a
    /// place in [`ranges`](Self::ranges), see [`bdev`](Self::bdev). Any context.
    ///
    /// # Errors
    ///
    /// [`BlkError::Closed`], [`BlkError::Offline`].
    pub(crate) fn live(&self) -> Result<Live, BlkError> {
        // One that is replaced is closed only when nobody looks at it any more.
        self.bdev.with(|bdev| bdev.ok_or(BlkError::Closed)?.live())
    }

    /// Makes all that was written durable. Process context; waits for the disk.
    ///
    /// # Errors
    ///
    /// [`BlkError`].
    pub(crate) fn flush(&self) -> Result<(), BlkError> {
        // Whoever replaces a block device flushes it: it does not matter which it is.
        self.live()?.flush()
    }

    /// What the block device can do; `None` when there is none.
    fn limits(&self) -> Option<Limits> {
        self.bdev.with(|bdev| bdev.map(Bdev::limits))
    }

    /// Log2 of the block size that initiators see, 9..=12.
    pub(crate) fn block_shift(&self) -> u32 {
        self.block_shift.now()
    }

    /// Looks at whose turn it is to change reservations. `look` must not sleep,
    /// and end no task.
    pub(crate) fn turns<R>(&self, look: impl FnOnce(&mut Turns) -> R) -> R {
        look(&mut self.turns.lock())
    }

    /// Looks at what of the device is on the slow workqueue. `look` must not
    /// sleep, and end no task.
    pub(crate) fn slow_lane<R>(&self, look: impl FnOnce(&mut SlowLane) -> R) -> R {
        look(&mut self.slow.lock())
    }

    /// Whether more commands waited in its lines than can be looked at at any time.
    pub(crate) fn has_long_lines(&self) -> bool {
        self.long_lines.now() != 0
    }

    pub(crate) fn set_long_lines(&self, on: bool) {
        self.long_lines.put(i32::from(on));
    }

    /// Which blocks somebody has to himself.
    pub(crate) fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// What initiators have read and written.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// A READ or WRITE begins now; returns the moment.
    pub(crate) fn begin(&self) -> u64 {
        self.traffic.begin(|| !self.ranges.under_way())
    }

    /// Another command begins that is not counted in `ranges`; whether its nexus is still
    /// there is to be looked at after this.
    pub(crate) fn begin_other(&self) -> u64 {
        let now = self.begin();
        self.traffic.other(true);
        smp_mb();
        now
    }

    /// And ends.
    pub(crate) fn end_other(&self) {
        self.traffic.end();
        self.traffic.other(false);
    }

    /// What has been counted, for LOG SENSE. Of the pool, [`with_info`](Self::with_info)
    /// knows.
    pub(crate) fn log_values(&self) -> LogValues {
        self.traffic.values(self.ranges.under_way())
    }

    /// The tokens that were given out for its blocks.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Capacity in blocks, as it is now.
    pub(crate) fn blocks(&self) -> u64 {
        let shift = self.block_shift().saturating_sub(9);
        let sectors = self.bdev.with(|bdev| bdev.map_or(0, Bdev::nr_sectors));
        sectors.wrapping_shr(shift)
    }

    /// Whether each write must be durable before it is acknowledged: because
    /// the administrator wants it so, or an initiator.
    pub(crate) fn write_through(&self) -> bool {
        self.write_through.now() != 0 || self.cache_off.now() != 0
    }

    /// Whether an initiator has switched writing off (SWP).
    pub(crate) fn is_write_protected(&self) -> bool {
        self.write_protect.now() != 0
    }

    /// Whether sense data is in descriptor format (D_SENSE).
    pub(crate) fn descriptor_sense(&self) -> bool {
        self.inner.lock().mode.descriptor_sense
    }

    /// Whether unmapped blocks must read as zeros.
    pub(crate) fn unmaps_to_zeros(&self) -> bool {
        self.attrib(DeviceAttrib::UnmapZeroesData) != 0
    }

    /// Unmapped blocks read as anything from now on; initiators are told to
    /// look at READ CAPACITY(16) again, which has LBPRZ.
    pub(crate) fn unmapped_is_undefined(&self) {
        self.inner.lock().put(DeviceAttrib::UnmapZeroesData, 0);
        self.post_all(Ua::CapacityChanged, None);
    }

    /// Lets the data path know what it has to know of the mode parameters.
    fn publish(&self, mode: &ModeState) {
        self.tas.put(i32::from(mode.task_aborted_status));
        self.queue_error.put(mode.queue_error as i32);
        self.ua_interlock.put(mode.ua_interlock as i32);
        let protect = i32::from(mode.software_write_protect);
        self.write_protect.put(protect);
    }

    /// Whether commands that another nexus has aborted end TASK ABORTED (TAS).
    pub(crate) fn task_aborted_status(&self) -> bool {
        self.tas.now() != 0
    }

    /// What a CHECK CONDITION does to other commands (QERR).
    pub(crate) fn queue_error(&self) -> QueueError {
        match self.queue_error.now() {
            0b01 => QueueError::AbortAll,
            0b11 => QueueError::AbortSameNexus,
            _ => QueueError::Keep,
        }
    }

    /// How long unit attentions stay (UA_INTLCK_CTRL).
    pub(crate) fn ua_interlock(&self) -> UaInterlock {
        match self.ua_interlock.now() {
            0b10 => UaInterlock::Keep,
            0b11 => UaInterlock::Establish,
            _ => UaInterlock::Clear,
        }
    }

    /// A command of `session` has failed, and those of all others are to be aborted. False
    /// when somebody is about to do that, who has not called
    /// [`take_failure`](Self::take_failure) yet.
    pub(crate) fn note_failure(&self, session: u64) -> bool {
        let mut seen = 0;
        loop {
            // Of several sessions each is another's other.
            let next = if seen == 0 || seen == session {
                session
            } else {
                SEVERAL
            };
            match self.failed_of.cmpxchg(seen, next, Full) {
                Ok(_) => return seen == 0,
                Err(now) => seen = now,
            }
        }
    }

    /// Begins to abort them: returns the session whose own commands are spared, as it is the
    /// only one of which a command has failed. What fails from here on is noted anew.
    pub(crate) fn take_failure(&self) -> u64 {
        self.failed_of.xchg(0, Full)
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    /// Changes what MODE SELECT may change. `before` is what the initiator saw:
    /// a cache that there is not cannot be switched off. False, and nothing is done,
    /// when that is not so any more.
    pub(crate) fn set_mode(&self, before: &ModeState, mode: ModeState) -> bool {
        let mut inner = self.inner.lock();
        // WCE is what `cache_off`, the administrator and the disk make of it.
        let now = ModeState {
            write_cache: before.write_cache,
            ..inner.mode
        };
        if now != *before {
            return false;
        }
        inner.mode = mode;
        self.publish(&mode);
        if before.write_cache != mode.write_cache {
            let off = i32::from(!mode.write_cache);
            self.cache_off.put(off);
        }
        drop(inner);
        self.restrict_order();
        true
    }

    /// Lets the task set know whether SIMPLE commands keep their order, as it is now.
    fn restrict_order(&self) {
        self.order
            .restrict(|| self.inner.lock().mode.restricted_reordering);
    }

    /// Mode parameters are as after a power cycle: what a logical unit reset
    /// does (SPC-4, "Mode parameters": none are saved).
    pub(crate) fn reset_mode(&self) {
        let mut inner = self.inner.lock();
        inner.mode = inner.default_mode();
        self.cache_off.put(0);
        self.publish(&inner.mode);
        drop(inner);
        self.restrict_order();
    }

    /// Whether the block device is gone, or going, as far as anybody knows; and what READ
    /// and WRITE are checked against: the same as [`with_info`](Self::with_info) tells, for
    /// no lock and few loads. `None` when there is no block device. Any context.
    pub(crate) fn lost_and_limits(&self, read_only: bool) -> Option<(bool, ReadWriteLimits)> {
        let (lost, (sectors, writable)) = self.bdev.with(|bdev| {
            let bdev = bdev?;
            let lost = bdev.is_dead() || bdev.is_closed();
            Some((lost, bdev.sectors_and_writable()))
        })?;
        let shift = self.block_shift();
        let limits = ReadWriteLimits {
            blocks: sectors.wrapping_shr(shift.saturating_sub(9)),
            max_transfer: MAX_TRANSFER.wrapping_shr(shift),
            dpo_fua: self.no_dpo_fua.now() == 0,
            write_protected: read_only || !writable || self.is_write_protected(),
        };
        Some((lost, limits))
    }

    /// Shows the device as the SCSI pages want it, but for what depends on the
    /// target port: see [`Nexus::with_info`]. `look` must not sleep.
    pub(crate) fn with_info<R>(
        &self,
        read_only: bool,
        look: impl FnOnce(&DeviceInfo<'_>) -> R,
    ) -> R {
        self.with_info_of(read_only, Access::PLAIN, look)
    }

    pub(super) fn with_info_of<R>(
        &self,
        read_only: bool,
        access: Access,
        look: impl FnOnce(&DeviceInfo<'_>) -> R,
    ) -> R {
        let blocks = self.blocks();
        let referrals = self.lba_map.geometry();
        let limits = self.limits();
        let inner = self.inner.lock();
        let mut info = DeviceInfo::new(&inner.serial, inner.block_size(), blocks);
        inner.describe(&mut info);
        // It was checked when it was set.
        info.t10 = T10::parse(&inner.t10).unwrap_or_default();
        info.read_only = read_only;
        info.referrals = referrals;
        info.tpgs = access.kind().code();
        info.connected = access.state().is_connected();
        info.multi_port = access.is_multi_port();
        if let Some(limits) = limits {
            let block = inner.block_size();
            let physical = limits.physical_block_size.max(block);
            info.physical_exponent = (physical
                .trailing_zeros()
                .saturating_sub(block.trailing_zeros()))
            .min(15) as u8;
            info.lowest_aligned_lba =
                u16::try_from(limits.alignment_offset.wrapping_shr(block.trailing_zeros()))
                    .unwrap_or(0);
            info.optimal_granularity =
                u16::try_from(limits.io_min.wrapping_shr(block.trailing_zeros())).unwrap_or(0);
            info.read_only |= limits.read_only;
            info.atomic = atomic(&limits, block, info.max_transfer);
            info.mode.write_cache = limits.write_cache && !self.write_through();
            let can = limits.write_cache && self.write_through.now() == 0;
            info.mode_default.write_cache = can;
            info.changeable.write_cache = can;
        }
        look(&info)
    }

    // ---- nexuses -------------------------------------------------------

    /// A session sees the device from now on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add_nexus(&self, nexus: Arc<Nexus>) -> Result {
        // Room is made outside the spin lock, as it may sleep.
        loop {
            let wanted = self.inner.lock().nexuses.len().saturating_add(1);
            let mut bigger = KVec::with_capacity(wanted.next_power_of_two(), GFP_KERNEL)?;
            let mut inner = self.inner.lock();
            if inner.nexuses.len() >= bigger.capacity() {
                continue;
            }
            let mut old = core::mem::replace(&mut inner.nexuses, KVec::new());
            for known in old.drain_all() {
                let _ = bigger.push_within_capacity(known);
            }
            let _ = bigger.push_within_capacity(nexus.clone());
            inner.nexuses = bigger;
            nexus.set_behind(true);
            inner.behind = inner.behind.saturating_add(1);
            drop(inner);
            drop(old);
            // Whatever changes from here on, the nexus is told of.
            self.line_up_nexus(&nexus);
            self.place_nexus(&nexus);
            self.admit_nexus(&nexus);
            return Ok(());
        }
    }

    /// A session sees the device no more by one of its LUNs, and that nexus has ended;
    /// when it was the last, what it had reserved is free.
    ///
    /// It stays listed until its last command has ended, which may be with the disk, and the
    /// part of a copy through it: who aborts the commands of a unit, or of an initiator,
    /// waits for that, too. From then on [`forget_nexus`](Self::forget_nexus) is due.
    pub(crate) fn end_nexus(&self, nexus: &Nexus) {
        nexus.end();
        let session = nexus.session().id();
        let inner = self.inner.lock();
        let mut others = inner.nexuses.iter().filter(|n| !n.is_gone());
        let still_seen = others.any(|n| n.session().id() == session);
        drop(inner);
        if !still_seen {
            self.release(session);
            self.tokens.forget(session);
        }
    }

    /// A nexus that has ended has nothing under way any more.
    pub(crate) fn forget_nexus(&self, nexus: &Arc<Nexus>) {
        let mut inner = self.inner.lock();
        let at = inner.nexuses.iter().position(|n| Arc::ptr_eq(n, nexus));
        let gone = at.and_then(|at| inner.nexuses.remove(at).ok());
        if let Some(gone) = gone.as_ref() {
            inner.let_by(gone);
            if inner.behind != 0 && !inner.nexuses.iter().any(|other| gone.follows(other)) {
                inner.let_all_by(gone);
            }
        }
        drop(inner);
        drop(gone);
    }

    /// A nexus is listed. What came before it by the same initiator port begins nothing any
    /// more: if it has nothing under way either, the nexus may write now, and otherwise when
    /// the last of that is forgotten.
    fn line_up_nexus(&self, nexus: &Arc<Nexus>) {
        let mut busy = false;
        self.for_each_nexus(&mut |other| {
            busy = busy || (nexus.follows(other) && other.session().is_busy_by(other));
        });
        if !busy {
            self.inner.lock().let_by(nexus);
        }
    }

    /// Establishes a unit attention for every session, save one.
    pub(crate) fn post_all(&self, ua: Ua, except: Option<u64>) {
        let inner = self.inner.lock();
        for nexus in inner.nexuses.iter() {
            if Some(nexus.session().id()) != except {
                nexus.post(ua);
            }
        }
    }

    pub(super) fn lba_map(&self) -> &LbaMap {
        &self.lba_map
    }

    pub(super) fn groups(&self) -> &Mutex<Groups> {
        &self.groups
    }

    pub(super) fn persist(&self) -> &Mutex<Persist<Registrants>> {
        &self.persist
    }

    pub(super) fn glance(&self) -> &Glance {
        &self.glance
    }

    pub(super) fn pr_dir(&self) -> &PrDir {
        &self.pr_dir
    }

    /// Whether the file of the reservations may say something else than they
    /// are.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt.now() != 0
    }

    pub(super) fn set_in_doubt(&self, on: bool) {
        self.in_doubt.put(i32::from(on));
    }

    /// The unit serial number.
    pub(super) fn serial(&self) -> Result<KVec<u8>> {
        // As long as it can be, as nothing is allocated under a spin lock.
        let mut serial = KVec::with_capacity(256, GFP_KERNEL)?;
        self.wwn(WwnField::UnitSerial, |now| {
            for byte in now {
                let _ = serial.push_within_capacity(*byte);
            }
        });
        Ok(serial)
    }

    /// How many sessions see the device, or have commands under way that did.
    pub(crate) fn nexus_count(&self) -> usize {
        self.inner.lock().nexuses.len()
    }

    /// Calls `each` with every session that sees the device, or has commands under way
    /// that did, with no lock held. One that comes meanwhile may be left out, no other.
    pub(crate) fn for_each_nexus(&self, each: &mut dyn FnMut(&Arc<Nexus>)) {
        // From the end: when one is removed, those after it move down, and
        // they have been seen.
        let mut left = self.nexus_count();
        while let Some(n) = left.checked_sub(1) {
            left = n;
            if let Some(nexus) = self.nth_nexus(n) {
                each(&nexus);
            }
        }
    }

    /// The `n`-th session that sees the device.
    fn nth_nexus(&self, n: usize) -> Option<Arc<Nexus>> {
        self.inner.lock().nexuses.get(n).cloned()
    }

    /// Compares the capacity with what initiators were told, and tells them
    /// when it has changed (SBC-3 4.7: CAPACITY DATA HAS CHANGED).
    pub(crate) fn check_capacity(&self) {
        let shift = self.block_shift().saturating_sub(9);
        // A device that is gone shows no blocks, first; that is told otherwise.
        let now = self.bdev.with(|bdev| {
            let bdev = bdev?;
            let blocks = bdev.nr_sectors().wrapping_shr(shift);
            (!bdev.look_removed() && !bdev.is_closed()).then_some(blocks)
        });
        let Some(now) = now else {
            return;
        };
        let mut inner = self.inner.lock();
        if inner.blocks == now {
            return;
        }
        let before = core::mem::replace(&mut inner.blocks, now);
        for nexus in inner.nexuses.iter() {
            nexus.post(Ua::CapacityChanged);
        }
        drop(inner);
        pr_info!(
            "core/iblock_{}/{}: it had {} blocks, and has {} now\n",
            self.hba,
            core::str::from_utf8(&self.name).unwrap_or("?"),
            before,
            now
        );
        self.for_each_nexus(&mut |nexus| {
            let sense = Sense::CAPACITY_DATA_HAS_CHANGED;
            nexus.session().scsi_event(nexus.number(), sense);
        });
    }

    // ---- RESERVE and RELEASE (SPC-2) -------------------------------------

    /// The session that holds a reservation of SPC-2.
    pub(crate) fn spc2_holder(&self) -> Option<Arc<Session>> {
        let holder = self.reserved_by.now();
        let inner = self.inner.lock();
        let mut sessions = inner.nexuses.iter().map(|n| n.session());
        sessions.find(|s| s.id() == holder).cloned()
    }

    /// Whether `session` is kept out by another's reservation.
    pub(crate) fn is_reserved_against(&self, session: u64) -> bool {
        let holder = self.reserved_by.now();
        holder != 0 && holder != session
    }

    /// Reserves the device; false when another session has it.
    pub(crate) fn reserve(&self, session: u64) -> bool {
        match self.reserved_by.cmpxchg(0, session, Full) {
            Ok(_) => true,
            Err(holder) => holder == session,
        }
    }

    /// Releases the device if `session` has it; anything else does nothing.
    pub(crate) fn release(&self, session: u64) {
        // It fails when another has it: nothing to do then.
        let _ = self.reserved_by.cmpxchg(session, 0, Full);
    }

    /// Forgets any reservation: what a logical unit reset does.
    pub(crate) fn release_any(&self) {
        self.reserved_by.put(0);
    }
}

/// What the block device can store at once.
fn atomic(limits: &Limits, block: u32, max_transfer: u32) -> Atomic16 {
    let shift = block.trailing_zeros();
    let most = limits
        .atomic_write_unit_max_bytes
        .wrapping_shr(shift)
        // TRANSFER LENGTH of WRITE ATOMIC(16) has 16 bits.
        .min(max_transfer)
        .min(u32::from(u16::MAX));
    // 0 and 1 both say that there is no rule.
    let unit = match limits.atomic_write_unit_min_bytes.wrapping_shr(shift) {
        1 => 0,
        unit => unit,
    };
    let crosses = limits.atomic_write_boundary_bytes != 0 || limits.chunk_sectors != 0;
    Atomic16 {
        max_len: most,
        // What begins at a multiple of the longest crosses nothing that a
        // power of two divides.
        alignment: if crosses { most } else { unit },
        granularity: unit,
        // No boundary within a command.
        max_len_with_boundary: 0,
        max_boundary: 0,
    }
}

/// Attributes that say what the block device can do: they can be taken away, and
/// nobody can add them.
const CANNOT_BE_ADDED: [DeviceAttrib; 3] = [
    DeviceAttrib::Tpu,
    DeviceAttrib::Tpws,
    DeviceAttrib::UnmapZeroesData,
];

/// What the attributes of a block device are if nobody sets them, where initiators
/// see blocks of `block` bytes; without that, those of the device.
fn defaults(limits: &Limits, block: Option<u32>) -> [u32; ATTRIBS] {
    use DeviceAttrib as A;
    let mut attribs = [0; ATTRIBS];
    let mut put = |which: A, value: u32| {
        if let Some(attrib) = attribs.get_mut(which as usize) {
            *attrib = value;
        }
    };
    let size = limits.logical_block_size.clamp(512, 4096);
    put(A::HwBlockSize, size);
    put(A::BlockSize, size);
    let size = block.unwrap_or(size);
    let shift = size.trailing_zeros().saturating_sub(9);
    put(A::HwMaxSectors, limits.max_sectors);
    put(
        A::OptimalSectors,
        limits.io_opt.wrapping_shr(size.trailing_zeros()),
    );
    put(A::HwQueueDepth, limits.nr_requests);
    put(A::QueueDepth, limits.nr_requests);
    put(A::WriteCache, u32::from(limits.write_cache));
    put(A::FuaWrite, 1);
    put(A::Rsoc, 1);
    put(A::IsNonrot, u32::from(!limits.rotational));
    let discard = limits.max_discard_sectors != 0;
    put(A::Tpu, u32::from(discard));
    put(A::Tpws, u32::from(discard));
    if discard {
        let most = limits.max_discard_sectors.wrapping_shr(shift);
        put(A::MaxUnmapLbaCount, most.clamp(1, MAX_UNMAP_BLOCKS));
        put(A::MaxUnmapBlockDescCount, MAX_UNMAP_DESCRIPTORS);
        let grain = limits
            .discard_granularity
            .wrapping_shr(size.trailing_zeros());
        put(A::UnmapGranularity, grain.max(1));
        let align = limits.discard_alignment.wrapping_shr(size.trailing_zeros());
        put(A::UnmapGranularityAlignment, align);
    }
    // Unmapping writes zeros through the block layer where the device can
    // do that without being slow; else unmapped data is undefined.
    put(
        A::UnmapZeroesData,
        u32::from(limits.max_write_zeroes_sectors != 0 && discard),
    );
    put(A::MaxWriteSameLen, MAX_WRITE_SAME);
    put(A::Caw, 1);
    put(A::ThirdPartyCopy, 1);
    put(A::Tas, 1);
    put(A::AluaSupport, 1);
    attribs
}

impl Inner {
    fn attrib(&self, which: DeviceAttrib) -> u32 {
        self.attribs.get(which as usize).copied().unwrap_or(0)
    }

    fn put(&mut self, which: DeviceAttrib, value: u32) {
        if let Some(a) = self.attribs.get_mut(which as usize) {
            *a = value;
        }
    }

    /// Whether an attribute that was written is other than by default.
    fn remember(&mut self, which: DeviceAttrib) {
        let at = which as usize;
        let other = self.attribs.get(at) != self.defaults.get(at);
        if let Some(set) = self.set.get_mut(at) {
            *set = other;
        }
    }

    fn block_size(&self) -> u32 {
        match self.attrib(DeviceAttrib::BlockSize) {
            0 => 512,
            size => size,
        }
    }

    /// Takes over what the block device can do. What somebody has set stays, but
    /// for what the device cannot do.
    fn adopt(&mut self, limits: &Limits) {
        let is_set = self.set.get(DeviceAttrib::BlockSize as usize) == Some(&true);
        let fresh = defaults(limits, is_set.then_some(self.block_size()));
        self.defaults = fresh;
        for ((now, fresh), set) in self.attribs.iter_mut().zip(fresh).zip(self.set) {
            if !set {
                *now = fresh;
            }
        }
        for which in CANNOT_BE_ADDED {
            if fresh.get(which as usize) == Some(&0) {
                self.put(which, 0);
            }
        }
    }

    /// The mode parameters after a power cycle or reset, but for WCE.
    fn default_mode(&self) -> ModeState {
        ModeState {
            task_aborted_status: self.attrib(DeviceAttrib::Tas) != 0,
            ua_interlock: match self.attrib(DeviceAttrib::UaIntlck) {
                1 => UaInterlock::Keep,
                2 => UaInterlock::Establish,
                _ => UaInterlock::Clear,
            },
            ..ModeState::DEFAULT
        }
    }

    fn describe(&self, info: &mut DeviceInfo<'_>) {
        use DeviceAttrib as A;
        let shift = self.block_size().trailing_zeros();
        info.vendor = self.vendor.bytes;
        info.product = self.product.bytes;
        info.revision = self.revision.bytes;
        info.company_id = self.company_id;
        info.naa = self.naa;
        info.eui64 = self.eui64;
        info.pool = self.pool;
        info.mode = self.mode;
        info.mode_default = self.default_mode();
        info.changeable = Changeable {
            // Depends on the block device.
            write_cache: false,
            descriptor_sense: true,
            software_write_protect: true,
            task_aborted_status: true,
            queue_error: true,
            ua_interlock: true,
            restricted_reordering: true,
        };
        info.head_of_queue = true;
        info.ordered = true;
        info.max_transfer = MAX_TRANSFER.wrapping_shr(shift);
        info.optimal_transfer = self.attrib(A::OptimalSectors).min(info.max_transfer);
        info.max_write_same = u64::from(self.attrib(A::MaxWriteSameLen));
        info.write_same_non_zero = false;
        if self.attrib(A::Caw) != 0 {
            info.max_compare_and_write = MAX_COMPARE_AND_WRITE;
        }
        info.third_party_copy = self.attrib(A::ThirdPartyCopy) != 0;
        info.dpo_fua = self.attrib(A::FuaWrite) != 0;
        info.rotation_rate = u16::from(self.attrib(A::IsNonrot) != 0);
        let unmap = self.attrib(A::Tpu) != 0;
        let same = self.attrib(A::Tpws) != 0;
        info.thin = Thin {
            unmap,
            write_same16: same,
            write_same10: same,
            thin_provisioned: unmap || same || self.pool.is_known(),
            reads_zeros: self.attrib(A::UnmapZeroesData) != 0,
            max_unmap_blocks: self.attrib(A::MaxUnmapLbaCount),
            max_unmap_descriptors: self.attrib(A::MaxUnmapBlockDescCount),
            granularity: self.attrib(A::UnmapGranularity),
            alignment: Some(self.attrib(A::UnmapGranularityAlignment)),
            ..Thin::default()
        };
    }
}
