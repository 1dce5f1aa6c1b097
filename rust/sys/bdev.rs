// SPDX-License-Identifier: GPL-2.0

//! Block devices: opening, limits, removal, and the operations that wait.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::{
    atomic::InPlace,
    bindings,
    cgroup::{
        Cgroup,
        Member, //
    },
    file,
    slot::Slot, //
};
use core::{
    ffi::c_void,
    mem::MaybeUninit,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
    types::{
        Opaque,
        ScopeGuard, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Queue,
        Work,
        WorkItem, //
    }, //
};

/// Bytes of a sector, the unit of the block layer whatever the device's
/// logical block is.
pub(crate) const SECTOR: usize = 512;

/// Why the block layer failed an operation.
///
/// The names are those of the `BLK_STS_*` values, except for the last three,
/// which are ours: the operation never reached the block layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlkError {
    /// The device has no such operation.
    NotSupported,
    /// The device did not answer in time.
    Timeout,
    /// A thinly provisioned device is full.
    NoSpace,
    /// The path to the device failed; another path may work.
    Transport,
    /// The device refused; another path would not help.
    Target,
    /// Another host has reserved the device.
    ReservationConflict,
    /// The medium has lost the data.
    Medium,
    /// Protection information does not match.
    Protection,
    /// Out of memory or another resource of the host, for now.
    Resource,
    /// It would have to wait, and was told not to.
    Again,
    /// The device exceeded a command duration limit.
    DurationLimit,
    /// The device is gone or going.
    Offline,
    /// Wrong size or alignment for this device.
    Invalid,
    /// Any other failure.
    Io,
    /// The range ends beyond the end of the device.
    OutOfRange,
    /// A write to what was opened for reading.
    ReadOnly,
    /// The device has been closed with [`Bdev::close`].
    Closed,
}

impl BlkError {
    /// From what a bio ended with.
    pub(in crate::sys) fn from_status(status: bindings::blk_status_t) -> Result<(), Self> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: No preconditions; unknown values are EIO.
        Err(Self::from_errno(unsafe {
            bindings::blk_status_to_errno(status)
        }))
    }

    /// From a negative errno of a block layer function.
    pub(in crate::sys) fn from_errno(errno: i32) -> Self {
        match errno.unsigned_abs() {
            bindings::EOPNOTSUPP => Self::NotSupported,
            bindings::ETIMEDOUT => Self::Timeout,
            bindings::ENOSPC => Self::NoSpace,
            bindings::ENOLINK => Self::Transport,
            bindings::EREMOTEIO => Self::Target,
            bindings::EBADE => Self::ReservationConflict,
            bindings::ENODATA => Self::Medium,
            bindings::EILSEQ => Self::Protection,
            // The last two are about open and active zones.
            bindings::ENOMEM | bindings::EBUSY | bindings::ETOOMANYREFS | bindings::EOVERFLOW => {
                Self::Resource
            }
            bindings::EAGAIN => Self::Again,
            bindings::ETIME => Self::DurationLimit,
            bindings::ENODEV | bindings::ENXIO => Self::Offline,
            bindings::EINVAL => Self::Invalid,
            bindings::EPERM | bindings::EACCES | bindings::EROFS => Self::ReadOnly,
            _ => Self::Io,
        }
    }

    fn check(errno: i32) -> Result<(), Self> {
        match errno {
            0 => Ok(()),
            errno => Err(Self::from_errno(errno)),
        }
    }
}

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reading.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// Whether others may use a device at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody else may claim it: no mount, no RAID, no other exclusive open.
    Exclusive,
    /// Others may. The kernel then tells nobody when it is removed: I/O just
    /// fails, with [`BlkError::Offline`] or [`BlkError::Io`], until somebody
    /// looks ([`Bdev::look_removed`]).
    Shared,
}

/// The queue limits of a device and what it can do, at one moment: they may
/// change while it is open. Sectors are of 512 bytes.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "the picture is whole, whoever looks at it")]
pub(crate) struct Limits {
    /// Bytes of a logical block, a power of 2, 512 at least.
    pub(crate) logical_block_size: u32,
    /// Bytes of a physical block, a power of 2.
    pub(crate) physical_block_size: u32,
    /// Where the first physical block begins, in bytes; -1 if that cannot be
    /// said for a stack of devices.
    pub(crate) alignment_offset: i32,
    /// The smallest I/O that is not slow, in bytes.
    pub(crate) io_min: u32,
    /// The best I/O, in bytes; 0 if the device does not say.
    pub(crate) io_opt: u32,
    /// The longest I/O that is not split, in sectors.
    pub(crate) max_sectors: u32,
    /// I/O that crosses a multiple of this many sectors is split; 0 if none.
    pub(crate) chunk_sectors: u32,
    /// The most pieces of memory of one I/O.
    pub(crate) max_segments: u32,
    /// The longest piece of memory, in bytes.
    pub(crate) max_segment_size: u32,
    /// Pieces must begin at a multiple of this mask + 1.
    pub(crate) dma_alignment_mask: u32,
    /// A piece must not cross a multiple of this mask + 1.
    pub(crate) segment_boundary_mask: u64,
    /// All pieces but the first and last must begin and end at a multiple of
    /// this mask + 1; 0 if it does not matter.
    pub(crate) virt_boundary_mask: u64,
    /// The longest discard, in sectors; 0 if there is none.
    pub(crate) max_discard_sectors: u32,
    /// The most ranges of one discard.
    pub(crate) max_discard_segments: u32,
    /// What a discard must cover to free anything, in bytes.
    pub(crate) discard_granularity: u32,
    /// Where the first such unit begins, in bytes.
    pub(crate) discard_alignment: u32,
    /// The longest write of zeroes without data, in sectors; 0 if none.
    pub(crate) max_write_zeroes_sectors: u32,
    /// The longest of those that also frees, in sectors; 0 if none.
    pub(crate) max_write_zeroes_unmap_sectors: u32,
    /// The shortest atomic write, in bytes; 0 if there is none.
    pub(crate) atomic_write_unit_min_bytes: u32,
    /// The longest atomic write of one unit, in bytes.
    pub(crate) atomic_write_unit_max_bytes: u32,
    /// The longest atomic write, in bytes.
    pub(crate) atomic_write_max_bytes: u32,
    /// What an atomic write must not cross, in bytes; 0 if nothing.
    pub(crate) atomic_write_boundary_bytes: u32,
    /// How many requests the queue takes.
    pub(crate) nr_requests: u32,
    /// How many hardware queues there are.
    pub(crate) nr_hw_queues: u32,
    /// Whether there is a volatile write cache.
    pub(crate) write_cache: bool,
    /// Whether the device itself knows FUA; if not, a flush follows.
    pub(crate) fua: bool,
    /// Whether it is a rotating disk.
    pub(crate) rotational: bool,
    /// Whether it refuses writes.
    pub(crate) read_only: bool,
    /// Whether data must not change while it is written.
    pub(crate) stable_writes: bool,
    /// Whether the driver takes requests, not bios (dm, md and brd do).
    pub(crate) is_mq: bool,
    /// Whether the queue knows `REQ_NOWAIT`.
    pub(crate) nowait: bool,
    /// Whether there is protection information.
    pub(crate) integrity: bool,
    /// Whether it is a zoned device.
    pub(crate) zoned: bool,
    /// Whether there is an I/O scheduler.
    pub(crate) elevator: bool,
}

impl Limits {
    /// Reads them.
    ///
    /// # Safety
    ///
    /// `bdev` must be alive.
    unsafe fn read(bdev: *mut bindings::block_device) -> Self {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: `bdev` is alive by the caller's promise, `raw` is valid for
        // writing, and the function writes it all.
        let raw = unsafe {
            bindings::fer_bdev_limits_read(bdev, raw.as_mut_ptr());
            raw.assume_init()
        };
        Self {
            logical_block_size: raw.logical_block_size,
            physical_block_size: raw.physical_block_size,
            alignment_offset: raw.alignment_offset,
            io_min: raw.io_min,
            io_opt: raw.io_opt,
            max_sectors: raw.max_sectors,
            chunk_sectors: raw.chunk_sectors,
            max_segments: raw.max_segments,
            max_segment_size: raw.max_segment_size,
            dma_alignment_mask: raw.dma_alignment_mask,
            segment_boundary_mask: raw.segment_boundary_mask,
            virt_boundary_mask: raw.virt_boundary_mask,
            max_discard_sectors: raw.max_discard_sectors,
            max_discard_segments: raw.max_discard_segments,
            discard_granularity: raw.discard_granularity,
            discard_alignment: raw.discard_alignment,
            max_write_zeroes_sectors: raw.max_write_zeroes_sectors,
            max_write_zeroes_unmap_sectors: raw.max_write_zeroes_unmap_sectors,
            atomic_write_unit_min_bytes: raw.atomic_write_unit_min_bytes,
            atomic_write_unit_max_bytes: raw.atomic_write_unit_max_bytes,
            atomic_write_max_bytes: raw.atomic_write_max_bytes,
            atomic_write_boundary_bytes: raw.atomic_write_boundary_bytes,
            nr_requests: raw.nr_requests,
            nr_hw_queues: raw.nr_hw_queues,
            write_cache: raw.write_cache,
            fua: raw.fua,
            rotational: raw.rotational,
            read_only: raw.read_only,
            stable_writes: raw.stable_writes,
            is_mq: raw.is_mq,
            nowait: raw.nowait,
            integrity: raw.integrity,
            zoned: raw.zoned,
            elevator: raw.elevator,
        }
    }
}

/// The longest piece of memory that we make, see `PageBuf`.
const MAX_PIECE: u64 = 32768;

/// What decides whether I/O would be split.
struct Shape {
    start_sector: u64,
    max_sectors: u64,
    chunk_sectors: u64,
    logical_sectors: u64,
    physical_sectors: u64,
    max_segments: u64,
    /// The longest piece that counts as one segment, in bytes.
    segment_bytes: u64,
    virt_boundary_mask: u64,
}

impl Shape {
    /// Whether I/O of `bytes` at `sector`, in `pieces` pieces of a `PageBuf`,
    /// goes to the driver in one. As the block layer reckons, but on the safe
    /// side where that is simpler.
    fn fits(&self, sector: u64, bytes: usize, pieces: usize) -> bool {
        let bytes = bytes as u64;
        let sectors = bytes / SECTOR as u64;
        // Partitions: limits are about the whole device.
        let sector = sector.wrapping_add(self.start_sector);
        let mut max = self.max_sectors;
        if let Some(into) = sector.checked_rem(self.chunk_sectors) {
            max = max.min(self.chunk_sectors.saturating_sub(into));
        }
        // A split ends at a physical block, so no I/O may be longer than that.
        let into = sector & self.physical_sectors.wrapping_sub(1);
        let end = into.saturating_add(max) & !self.physical_sectors.wrapping_sub(1);
        if end > into {
            max = end.saturating_sub(into);
        } else {
            max &= !self.logical_sectors.wrapping_sub(1);
        }
        let segments = if self.segment_bytes >= MAX_PIECE {
            pieces as u64
        } else {
            // Count pages, and one for a range that begins within a page.
            (bytes / 4096).saturating_add(2)
        };
        sectors <= max
            && segments <= self.max_segments
            && self.segment_bytes >= 4096
            // Pieces begin and end at page boundaries.
            && self.virt_boundary_mask <= 4095
    }
}

/// The device as the operations see it.
///
/// # Invariants
///
/// - `file` is an open block device and `bdev` is its device, until
///   `WorkItem::run` gives `file` back, which happens once, after `users` has
///   dropped to 0.
/// - `users` is initialised. Its first reference is given up when `closing`
///   goes from false to true; it carries a reference to the `Inner`.
/// - One reference to the module is held until `WorkItem::run`.
#[pin_data(PinnedDrop)]
pub(in crate::sys) struct Inner {
    file: *mut bindings::file,
    bdev: *mut bindings::block_device,
    mode: Mode,
    major_minor: (u32, u32),
    name: [u8; 32],
    at_open: Limits,
    closing: Atomic<bool>,
    /// What `fer_bdev_driver_sleeps` said last.
    driver_sleeps: Atomic<i32>,
    /// Where in [`CLOSING`] it is, if it is.
    noted: Atomic<usize>,
    /// Whose I/O it is; nobody's when it is empty.
    cgroup: Slot<Cgroup>,
    holder: Arc<Holder>,
    #[pin]
    users: Opaque<bindings::percpu_ref>,
    #[pin]
    released: Opaque<bindings::completion>,
    #[pin]
    work: Work<Inner>,
}

// SAFETY: Block devices may be used from any thread, and all fields that
// change are atomic, locked, or the kernel's own.
unsafe impl Send for Inner {}
// SAFETY: As above.
unsafe impl Sync for Inner {}

/// Devices that have been closed and are not given back yet, as far as there
/// is room: a number of its own for each in the upper half, the device number
/// in the lower one; 0 is free.
static CLOSING: [Atomic<u64>; 64] = [const { Atomic::new(0) }; 64];

/// The number that was given out last.
static LAST_CLOSED: Atomic<u32> = Atomic::new(0);

/// Writes a device down in [`CLOSING`]; tells where. Any context.
fn note_closing((major, minor): (u32, u32)) -> Option<usize> {
    let number = LAST_CLOSED.fetch_add(1, Relaxed).wrapping_add(1).max(1);
    let device = major.wrapping_shl(20) | minor & 0xf_ffff;
    let entry = u64::from(number) << 32 | u64::from(device);
    CLOSING
        .iter()
        .position(|place| place.cmpxchg(0, entry, Relaxed).is_ok())
}

/// The devices that have been closed, and are not given back yet because I/O on
/// them is under way: for each a number that no other has, and its major and
/// minor number. At most 64 are known.
pub(crate) fn closing() -> impl Iterator<Item = (u32, u32, u32)> {
    CLOSING.iter().filter_map(|place| {
        let entry = place.load(Relaxed);
        let [number, device] = [entry >> 32, entry & 0xffff_ffff].map(|half| half as u32);
        (number != 0).then_some((number, device >> 20, device & 0xf_ffff))
    })
}

/// What the kernel knows as the holder of the device.
struct Holder {
    dead: Atomic<bool>,
}

/// The kernel calls `mark_dead` with `bd_holder_lock` held, and wants it
/// released.
static HOLDER_OPS: bindings::blk_holder_ops = bindings::blk_holder_ops {
    mark_dead: Some(mark_dead),
    sync: None,
    freeze: None,
    thaw: None,
};

/// The device is gone, or about to go.
///
/// # Safety
///
/// To be called by the block layer alone, with `bd_holder_lock` held, on a
/// device that was claimed with a [`Holder`].
unsafe extern "C" fn mark_dead(bdev: *mut bindings::block_device, _surprise: bool) {
    // SAFETY: With the lock held the claim stays, and with it the reference to
    // the `Holder` that we opened the device with.
    let holder = unsafe { &*(*bdev).bd_holder.cast::<Holder>() };
    holder.dead.store(true, Relaxed);
    // SAFETY: The lock is held, by the caller for us.
    unsafe { bindings::fer_bdev_holder_unlock(bdev) };
}

/// The device has been closed, and the last I/O has ended. Any context.
///
/// # Safety
///
/// To be called by the reference counter of an [`Inner`] alone, once.
unsafe extern "C" fn last_user_gone(users: *mut bindings::percpu_ref) {
    // SAFETY: `users` is the field of an `Inner`, and by the type invariants
    // carries a reference to it, which is ours now.
    let inner = unsafe {
        let field = Opaque::cast_from(users);
        Arc::from_raw(kernel::container_of!(field, Inner, users))
    };
    // SAFETY: `system_dfl_wq` exists as long as the kernel runs.
    let queue = unsafe { Queue::from_raw(bindings::system_dfl_wq) };
    // It is queued this once, so it is not in a queue already.
    let _ = queue.enqueue(inner);
}

impl_has_work! {
    impl HasWork<Self> for Inner { self.work }
}

impl WorkItem for Inner {
    type Pointer = Arc<Inner>;

    fn run(this: Arc<Inner>) {
        // SAFETY: By the type invariants `file` is open, nobody uses it any
        // more, and this happens once. This is a kernel thread.
        unsafe { bindings::fer_bdev_release(this.file) };
        if let Some(place) = CLOSING.get(this.noted.load(Relaxed)) {
            place.store(0, Relaxed);
        }
        // SAFETY: `released` is initialised.
        unsafe { bindings::complete_all(this.released.get()) };
        drop(this);
        // SAFETY: The reference was taken in `Bdev::open`.
        unsafe { bindings::fer_module_put() };
    }
}

#[pinned_drop]
impl PinnedDrop for Inner {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `users` is initialised, and has dropped to 0 or was never
        // used: each use has a reference to the `Inner`.
        unsafe { bindings::percpu_ref_exit(self.users.get()) };
    }
}

/// An open block device.
///
/// It is closed when this is dropped or with [`Bdev::close`], in any context:
/// from then on no I/O is let in, and when the I/O under way has ended a
/// kernel thread gives the device back.
pub(crate) struct Bdev {
    inner: Arc<Inner>,
}

/// Which block device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DevNumber(bindings::dev_t);

impl DevNumber {
    /// The block device at `path`, as the current process sees it. Process
    /// context.
    ///
    /// # Errors
    ///
    /// `ENOTBLK` for what is no block device, `EINVAL` for a path with a NUL in
    /// it, `ENOENT` and so on; those of [`errand::run`](super::errand::run), as
    /// a file system is not waited for without end.
    pub(crate) fn look_up(path: &[u8]) -> Result<Self> {
        file::block_device(path).map(Self)
    }

    /// As `stat -c %Hr:%Lr` shows it: `MAJOR()` and `MINOR()`.
    pub(crate) fn major_minor(self) -> (u32, u32) {
        (self.0 >> 20, self.0 & 0xf_ffff)
    }
}

impl Bdev {
    /// Opens a block device. Process context; may sleep as long as the device
    /// takes to open.
    ///
    /// # Errors
    ///
    /// What opening failed with: `EBUSY` when somebody else has claimed it,
    /// `EACCES` for writing to a read-only device, and so on.
    pub(crate) fn open(device: DevNumber, mode: Mode, claim: Claim) -> Result<Self> {
        let dead = Atomic::new(false);
        let holder = Arc::new(Holder { dead }, GFP_KERNEL)?;
        let (claim, ops) = match claim {
            Claim::Exclusive => (
                Arc::as_ptr(&holder).cast_mut().cast::<c_void>(),
                &raw const HOLDER_OPS,
            ),
            Claim::Shared => (ptr::null_mut(), ptr::null()),
        };
        let flags = match mode {
            Mode::ReadOnly => bindings::FER_BLK_OPEN_READ,
            Mode::ReadWrite => bindings::FER_BLK_OPEN_READ | bindings::FER_BLK_OPEN_WRITE,
        };
        // SAFETY: No preconditions.
        if !unsafe { bindings::fer_module_get() } {
            return Err(ENODEV);
        }
        let module = ScopeGuard::new(|| {
            // SAFETY: The reference was taken right above.
            unsafe { bindings::fer_module_put() }
        });
        // SAFETY: `holder` lives as long as the claim:
        // `Inner` keeps it until the file is released, or it is released
        // below. The operations are static.
        let file = kernel::error::from_err_ptr(unsafe {
            bindings::bdev_file_open_by_dev(device.0, flags, claim, ops)
        })?;
        let claimant = holder.clone();
        let opened = ScopeGuard::new(move || {
            // SAFETY: The file was opened right above; a plain close is all
            // right in the process that opened it.
            unsafe { bindings::bdev_fput(file) };
            drop(claimant);
        });
        // SAFETY: `file` is an open block device.
        let bdev = unsafe { bindings::file_bdev(file) };
        // SAFETY: As above.
        let dev = unsafe { (*bdev).bd_dev };
        let mut name = [0; 32];
        // SAFETY: `bdev` is alive, `name` is valid for its length.
        unsafe { bindings::fer_bdev_name(bdev, name.as_mut_ptr().cast(), name.len()) };
        // SAFETY: As above.
        let at_open = unsafe { Limits::read(bdev) };
        if mode == Mode::ReadWrite && at_open.read_only {
            return Err(EACCES);
        }
        // INVARIANT: `file` and the module reference pass into it when the
        // guards are dismissed, nothing between can fail. `users` has its
        // first reference, and that carries one to the `Inner`, from
        // `into_raw` below.
        let inner = Arc::pin_init(
            try_pin_init!(Inner {
                file,
                bdev,
                mode,
                major_minor: DevNumber(dev).major_minor(),
                name,
                at_open,
                closing: Atomic::new(false),
                driver_sleeps: Atomic::new(-1),
                noted: Atomic::new(usize::MAX),
                cgroup: Slot::new(),
                holder,
                users <- Opaque::try_ffi_init(|users| {
                    // SAFETY: `users` is valid for writing and stays where it
                    // is.
                    to_result(unsafe {
                        bindings::percpu_ref_init(
                            users,
                            Some(last_user_gone),
                            0,
                            bindings::GFP_KERNEL,
                        )
                    })
                }),
                released <- Opaque::ffi_init(|released| {
                    // SAFETY: `released` is valid for writing and stays where
                    // it is.
                    unsafe { bindings::init_completion(released) }
                }),
                work <- new_work!("Bdev::close"),
            }? Error),
            GFP_KERNEL,
        )?;
        module.dismiss();
        opened.dismiss();
        let _ = Arc::into_raw(inner.clone());
        Ok(Self { inner })
    }

    /// Lets no more I/O in; the device is given back when what is under way
    /// has ended. Does nothing the second time. Any context.
    pub(crate) fn close(&self) {
        if !self.inner.closing.xchg(true, Full) {
            let place = note_closing(self.inner.major_minor);
            self.inner.noted.store(place.unwrap_or(usize::MAX), Relaxed);
            // SAFETY: By the type invariants this is the only time, and
            // `users` is alive. A switch to atomic mode is not under way, so
            // it does not sleep.
            unsafe { bindings::percpu_ref_kill_and_confirm(self.inner.users.get(), None) };
        }
    }

    /// Waits until a closed device has been given back, for `timeout_ms`
    /// milliseconds at most; tells whether it has. Process context.
    pub(crate) fn wait_closed(&self, timeout_ms: u32) -> bool {
        // SAFETY: `released` is initialised; this is process context.
        unsafe {
            let timeout = bindings::fer_msecs_to_jiffies(timeout_ms);
            bindings::wait_for_completion_timeout(self.inner.released.get(), timeout) != 0
        }
    }

    /// Whether [`Bdev::close`] has been called.
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.closing.now()
    }

    /// Whether the device has been removed, as far as anybody knows.
    pub(crate) fn is_dead(&self) -> bool {
        self.inner.holder.dead.now()
    }

    /// Whether the device has been removed. Looks, so that all know, as nobody
    /// is told of one that is [`Claim::Shared`]; and it has no sectors any more
    /// before those who have claimed it are told. Any context.
    pub(crate) fn look_removed(&self) -> bool {
        // SAFETY: The device is alive.
        let gone = |live: Live| unsafe { bindings::fer_bdev_gone(live.bdev()) };
        if !self.is_dead() && self.enter().is_some_and(gone) {
            self.inner.holder.dead.store(true, Relaxed);
        }
        self.is_dead()
    }

    /// Says whose I/O it is from now on. Process context; sleeps.
    pub(crate) fn set_cgroup(&self, cgroup: Option<Arc<Cgroup>>) {
        let _ = self.inner.cgroup.put(cgroup);
    }

    /// The device number, as `stat -c %Hr:%Lr` shows it.
    pub(crate) fn major_minor(&self) -> (u32, u32) {
        self.inner.major_minor
    }

    /// The kernel's name of it, such as `sda1`.
    pub(crate) fn name(&self) -> &str {
        CStr::from_bytes_until_nul(&self.inner.name)
            .ok()
            .and_then(|name| name.to_str().ok())
            .unwrap_or("?")
    }

    /// Holds the device open; `None` once it is closed. Any context.
    fn enter(&self) -> Option<Live> {
        Live::enter(&self.inner)
    }

    /// Holds the device open for an operation; one that has been removed fails it.
    /// Any context.
    ///
    /// # Errors
    ///
    /// [`BlkError::Closed`], [`BlkError::Offline`].
    pub(crate) fn live(&self) -> Result<Live, BlkError> {
        let live = self.enter().ok_or(BlkError::Closed)?;
        if self.is_dead() {
            return Err(BlkError::Offline);
        }
        Ok(live)
    }

    /// Length in sectors of 512 bytes, now; 0 once the device is closed or has
    /// been removed.
    pub(crate) fn nr_sectors(&self) -> u64 {
        self.enter().map_or(0, |live| live.nr_sectors())
    }

    /// As [`nr_sectors`](Self::nr_sectors), and whether it may be written now.
    /// For every READ and WRITE. Any context.
    pub(crate) fn sectors_and_writable(&self) -> (u64, bool) {
        let (mut sectors, mut read_only) = (0, true);
        let inner = &self.inner;
        // SAFETY: `users` is initialised and alive. The device is alive while
        // `users` is not dying, and for a grace period of RCU after that.
        let live = unsafe {
            bindings::fer_bdev_look(inner.users.get(), inner.bdev, &mut sectors, &mut read_only)
        };
        let writable = live && inner.mode == Mode::ReadWrite && !read_only;
        (sectors, writable)
    }

    /// The limits now, or those at opening once it is closed. Any context, but
    /// not for every command: it reads a lot.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = match self.enter() {
            // SAFETY: The device is alive.
            Some(live) => unsafe { Limits::read(live.bdev()) },
            None => self.inner.at_open,
        };
        limits.read_only |= self.inner.mode == Mode::ReadOnly;
        limits
    }

    /// Makes all that was written durable. Process context; waits for the
    /// device.
    ///
    /// # Errors
    ///
    /// [`BlkError`].
    pub(crate) fn flush(&self) -> Result<(), BlkError> {
        self.live()?.flush()
    }

    /// Tells the device that `sectors` sectors at `sector` are not needed.
    /// What they read as afterwards is undefined. Process context; waits for
    /// the device.
    ///
    /// # Errors
    ///
    /// [`BlkError::NotSupported`] if the device has no discard, and others.
    pub(crate) fn discard(&self, sector: u64, sectors: u64) -> Result<(), BlkError> {
        let live = self.live()?;
        live.check_write(sector, sectors)?;
        if live.max_discard_sectors() == 0 {
            // The function below would call that a success.
            return Err(BlkError::NotSupported);
        }
        let _member = live.enter_cgroup();
        // SAFETY: The device is alive and stays so; process context.
        BlkError::check(unsafe {
            bindings::blkdev_issue_discard(live.bdev(), sector, sectors, bindings::FER_GFP_NOIO)
        })
    }

    /// Makes `sectors` sectors at `sector` read as 0. Process context; waits
    /// for the device.
    ///
    /// # Errors
    ///
    /// [`BlkError::NotSupported`] with [`Zero::Unmap`] on a device that cannot
    /// do it, and others.
    pub(crate) fn zeroout(&self, sector: u64, sectors: u64, how: Zero) -> Result<(), BlkError> {
        let live = self.live()?;
        live.check_write(sector, sectors)?;
        let flags = match how {
            Zero::Unmap => bindings::BLKDEV_ZERO_NOFALLBACK,
            Zero::UnmapOrWrite => 0,
            Zero::Write => bindings::BLKDEV_ZERO_NOUNMAP,
        };
        let _member = live.enter_cgroup();
        // SAFETY: The device is alive and stays so; process context.
        BlkError::check(unsafe {
            bindings::blkdev_issue_zeroout(
                live.bdev(),
                sector,
                sectors,
                bindings::FER_GFP_NOIO,
                flags,
            )
        })
    }
}

impl Drop for Bdev {
    fn drop(&mut self) {
        self.close();
    }
}

/// How blocks are made to read as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zero {
    /// By the device alone, which may free their space.
    Unmap,
    /// By the device, which may free their space, else by writing.
    UnmapOrWrite,
    /// By the device or by writing; their space stays reserved.
    Write,
}

/// Holds a device open for an operation.
///
/// # Invariants
///
/// `inner` is alive, and one reference of its `users` is ours.
pub(crate) struct Live {
    inner: ptr::NonNull<Inner>,
}

// SAFETY: References of `users` may be given back by any thread.
unsafe impl Send for Live {}

impl Live {
    fn enter(inner: &Arc<Inner>) -> Option<Self> {
        // SAFETY: `users` is initialised and alive.
        if !unsafe { bindings::fer_ref_tryget_live(inner.users.get()) } {
            return None;
        }
        // INVARIANT: We just got the reference; while there is one, the first
        // reference of `users` has not been dropped to 0, and that one carries
        // a reference to the `Inner`.
        Some(Self {
            inner: ptr::NonNull::from(&**inner),
        })
    }

    /// Whether I/O of `bytes` at `sector`, in `pieces` pieces of a `PageBuf`,
    /// may be submitted with `nowait`, from the submit thread: it comes back with
    /// [`BlkError::Again`] rather than wait. That is so for no device whose queue
    /// may wait whatever it is told, for none that is in a cgroup, as controllers
    /// let whoever submits sleep, and for nothing that would have to be split;
    /// these go to a thread of their own. Any context.
    pub(crate) fn fits_nowait(&self, sector: u64, bytes: usize, pieces: usize) -> bool {
        if self.cgroup().is_set() {
            return false;
        }
        // SAFETY: The device is alive.
        let may_block = unsafe { bindings::fer_bdev_may_block(self.bdev()) };
        !may_block && !self.driver_may_sleep() && self.shape().fits(sector, bytes, pieces)
    }

    /// Whether the driver sleeps when it is given a request, as far as that is known.
    fn driver_may_sleep(&self) -> bool {
        let known = &self.inner().driver_sleeps;
        if known.now() < 0 {
            // SAFETY: The device is alive.
            known.put(unsafe { bindings::fer_bdev_driver_sleeps(self.bdev()) });
        }
        known.now() != 0
    }

    /// Makes all that was written durable. Process context; waits for the
    /// device.
    ///
    /// # Errors
    ///
    /// [`BlkError`].
    pub(crate) fn flush(&self) -> Result<(), BlkError> {
        let _member = self.enter_cgroup();
        // SAFETY: The device is alive and stays so; process context.
        BlkError::check(unsafe { bindings::blkdev_issue_flush(self.bdev()) })
    }

    fn inner(&self) -> &Inner {
        // SAFETY: By the type invariants it is alive.
        unsafe { self.inner.as_ref() }
    }

    /// The device, alive as long as `self`.
    pub(in crate::sys) fn bdev(&self) -> *mut bindings::block_device {
        self.inner().bdev
    }

    /// Whose I/O it is.
    pub(in crate::sys) fn cgroup(&self) -> &Slot<Cgroup> {
        &self.inner().cgroup
    }

    /// What this kernel thread does until the result is dropped is I/O of whom
    /// that of the device is.
    fn enter_cgroup(&self) -> Option<Member> {
        self.cgroup().get().map(Cgroup::enter)
    }

    /// Whether writing is allowed, now: the block layer would let a write to
    /// a device that has been made read-only pass.
    pub(in crate::sys) fn is_writable(&self) -> bool {
        // SAFETY: The device is alive.
        let read_only = unsafe { bindings::fer_bdev_read_only(self.bdev()) };
        self.inner().mode == Mode::ReadWrite && !read_only
    }

    /// Length in sectors of 512 bytes.
    pub(in crate::sys) fn nr_sectors(&self) -> u64 {
        // SAFETY: The device is alive.
        unsafe { bindings::fer_bdev_sectors(self.bdev()) }
    }

    /// The limits; read them one by one, and volatile: they may change.
    fn raw_limits(&self) -> *const bindings::queue_limits {
        // SAFETY: The device is alive, and with it its queue.
        unsafe { &raw const (*(*self.bdev()).bd_queue).limits }
    }

    fn max_discard_sectors(&self) -> u32 {
        // SAFETY: The limits are alive.
        unsafe { (&raw const (*self.raw_limits()).max_discard_sectors).read_volatile() }
    }

    fn shape(&self) -> Shape {
        let raw = self.raw_limits();
        // SAFETY: The device and its limits are alive.
        unsafe {
            let physical = (&raw const (*raw).physical_block_size).read_volatile();
            let logical = (&raw const (*raw).logical_block_size).read_volatile();
            let segment = u64::from((&raw const (*raw).max_segment_size).read_volatile());
            let boundary = (&raw const (*raw).seg_boundary_mask).read_volatile() as u64;
            Shape {
                start_sector: (*self.bdev()).bd_start_sect,
                max_sectors: (&raw const (*raw).max_sectors).read_volatile().into(),
                chunk_sectors: (&raw const (*raw).chunk_sectors).read_volatile().into(),
                logical_sectors: u64::from(logical >> 9).max(1),
                physical_sectors: u64::from(physical >> 9).max(1),
                max_segments: (&raw const (*raw).max_segments).read_volatile().into(),
                segment_bytes: segment.min(boundary.saturating_add(1)),
                virt_boundary_mask: (&raw const (*raw).virt_boundary_mask).read_volatile() as u64,
            }
        }
    }

    /// Whether a range of sectors is within the device.
    pub(in crate::sys) fn check_range(&self, sector: u64, sectors: u64) -> Result<(), BlkError> {
        let total = self.nr_sectors();
        match sector.checked_add(sectors) {
            Some(end) if end <= total => Ok(()),
            // What is being removed, or has no medium, has no length.
            _ if total == 0 => Err(BlkError::Offline),
            _ => Err(BlkError::OutOfRange),
        }
    }

    fn check_write(&self, sector: u64, sectors: u64) -> Result<(), BlkError> {
        if !self.is_writable() {
            return Err(BlkError::ReadOnly);
        }
        let mask = self.shape().logical_sectors.wrapping_sub(1);
        if (sector | sectors) & mask != 0 {
            return Err(BlkError::Invalid);
        }
        self.check_range(sector, sectors)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the reference is ours, and `users` is
        // alive until it is given back.
        unsafe { bindings::fer_ref_put(self.inner().users.get()) };
    }
}
