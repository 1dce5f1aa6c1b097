// SPDX-License-Identifier: GPL-2.0

//! The persistent reservations of a device: the memory for them, and what the
//! data path has to know.
//!
//! The machine itself is `proto::scsi::persist`. It is behind a mutex, which is
//! never held while anything is waited for; what a READ or WRITE looks at is
//! one number of the device and one of its nexus.
//!
//! What changes it does so on a copy, by turns. If the result shall survive a
//! loss of power, the copy is written down next, without the mutex: a file
//! system that hangs keeps nobody else from anything but the turn. Only then
//! does the copy take the place of what was there, and others are told.

use super::{
    device::PATIENCE_MS,
    lun::Nexus,
    Device, //
};
use crate::sys::atomic::InPlace;
use crate::{
    proto::scsi::{
        aptpl,
        persist::{
            Event,
            ItNexus,
            NoRoom,
            Persist,
            PrType,
            Refusal,
            Registrant,
            Registry,
            Standing, //
        },
        ua::Ua, //
    },
    sys::{
        errand,
        file::{
            self,
            NotDone, //
        },
        misc, //
    },
    task::Turn, //
};
use kernel::{
    new_mutex,
    prelude::*,
    str::{
        BStr,
        CStr, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// The longest path of a directory for reservations, in bytes.
pub(crate) const MAX_DIR: usize = 255;

/// What a file's name ends with while it is being written: no other unit's file is
/// called so, as `~` of a serial number is written as `%7e`.
const TEMPORARY: &[u8] = b"~";

/// Registrations of one device at most.
pub(crate) const MAX_REGISTRANTS: usize = 1024;

/// Registrations of a device, with room made ahead.
pub(crate) struct Registrants(KVVec<Registrant>);

impl Registrants {
    pub(super) const fn new() -> Self {
        Self(KVVec::new())
    }

    /// The same once more, with room for some more, as far as the limit lets
    /// it; may sleep.
    fn copy(&self, more: usize) -> Result<Self> {
        let len = self.0.len();
        let room = MAX_REGISTRANTS.saturating_sub(len).min(more);
        let mut copy = KVVec::with_capacity(len.saturating_add(room), GFP_KERNEL)?;
        copy.extend_from_slice(&self.0, GFP_KERNEL)?;
        Ok(Self(copy))
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

/// The directory in which the reservations of devices are written down.
#[pin_data]
pub(crate) struct PrDir {
    /// With its NUL.
    #[pin]
    path: Mutex<KVec<u8>>,
    /// Whether the log has said that it is not there.
    missed: Atomic<i32>,
}

impl PrDir {
    pub(super) fn new() -> Result<Arc<Self>> {
        let default = file::pr_dir().to_bytes();
        if !default.starts_with(b"/") || default.len() > MAX_DIR {
            pr_err!(
                "pr_dir=: must be an absolute path of at most {} bytes\n",
                MAX_DIR
            );
            return Err(EINVAL);
        }
        let path = concat(&[default, b"\0"])?;
        Arc::pin_init(
            pin_init!(Self {
                path <- new_mutex!(path, "ferrite_pr_dir"),
                missed: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Looks at the path, without its NUL.
    pub(crate) fn path<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        let path = self.path.lock();
        look(path.strip_suffix(b"\0").unwrap_or_default())
    }

    /// Sets the path, which has no NUL in it. To be done before there are
    /// devices.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_path(&self, path: &[u8]) -> Result {
        let new = concat(&[path, b"\0"])?;
        *self.path.lock() = new;
        self.missed.put(0);
        Ok(())
    }

    /// It is not there, and with it what may have been written down: that is not
    /// passed over in silence, and told once.
    fn is_missing(&self) {
        if self.missed.xchg(1, Relaxed) == 0 {
            self.path(|path| {
                pr_notice!(
                    "pr_dir {} is not there, as of a file system that is not mounted: no persistent reservations are taken up from it\n",
                    BStr::from_bytes(path)
                );
            });
        }
    }
}

fn concat(parts: &[&[u8]]) -> Result<KVec<u8>> {
    let mut whole = KVec::new();
    for part in parts {
        whole.extend_from_slice(part, GFP_KERNEL)?;
    }
    Ok(whole)
}

/// The file of a device.
struct Place {
    /// Directory, name of the file and of the one that is written first, each
    /// with its NUL.
    dir: KVec<u8>,
    name: KVec<u8>,
    temporary: KVec<u8>,
    serial: KVec<u8>,
}

impl Place {
    /// `None` if there is no file for such a serial number.
    fn new(dir: &PrDir, serial: &[u8]) -> Result<Option<Self>> {
        let mut name = KVec::from_elem(0u8, aptpl::MAX_NAME, GFP_KERNEL)?;
        let Some(buf) = name.first_chunk_mut() else {
            return Ok(None);
        };
        let Some(len) = aptpl::file_name(serial, buf) else {
            return Ok(None);
        };
        name.truncate(len);
        Ok(Some(Self {
            dir: dir.path(|path| concat(&[path, b"\0"]))?,
            temporary: concat(&[&name, TEMPORARY, b"\0"])?,
            name: concat(&[&name, b"\0"])?,
            serial: concat(&[serial])?,
        }))
    }

    fn dir(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.dir).unwrap_or_default()
    }

    fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.name).unwrap_or_default()
    }

    fn temporary(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.temporary).unwrap_or_default()
    }

    /// Makes the file say what `persist` is; without anything to say there is
    /// none, and false is returned if there was none before.
    fn keep(&self, persist: &Persist<Registrants>) -> Result<bool, NotDone> {
        if !is_kept(persist) {
            return file::remove(self.dir(), self.name());
        }
        let crc = |data: &[u8]| misc::crc32c(0, data);
        let len = aptpl::write(persist, &self.serial, |_| 0, &mut []);
        let mut text = KVVec::from_elem(0u8, len, GFP_KERNEL)?;
        aptpl::write(persist, &self.serial, crc, &mut text);
        file::replace(self.dir(), self.temporary(), self.name(), &text)?;
        Ok(true)
    }
}

/// Whether there is anything that shall survive a loss of power.
fn is_kept(persist: &Persist<Registrants>) -> bool {
    persist.is_persistent() && persist.is_in_use()
}

/// Why registrations and reservation are what they were.
pub(crate) enum Unchanged {
    /// The machine says no.
    Refused(Refusal),
    /// There is no memory.
    NoMemory,
    /// They cannot be written down. The log says why.
    NotKept,
}

impl From<Error> for Unchanged {
    fn from(_: Error) -> Self {
        Self::NoMemory
    }
}

/// A change of registrations or reservation, on a copy; it calls its second
/// argument as [`Persist::out`] does.
pub(crate) type Change<'a> = &'a mut dyn FnMut(
    &mut Persist<Registrants>,
    &mut dyn FnMut(&Registrant, Event),
) -> Result<(), Refusal>;

/// Finds what of a list of registrations, or of what is about them, is of a nexus. Each change
/// asks that for all sessions, and there may be as many as a thousand registrations: they are
/// told apart by a number made of the initiator port, and most are not looked at.
struct Prints(KVVec<u32>);

/// So few registrations are looked at all.
const FEW: usize = 8;

impl Prints {
    /// Of so many registrations; without memory all are looked at each time.
    fn of<'a>(all: impl ExactSizeIterator<Item = &'a Registrant>) -> Self {
        let mut prints = KVVec::new();
        if all.len() > FEW && prints.reserve(all.len(), GFP_KERNEL).is_ok() {
            for registrant in all {
                let _ = prints.push_within_capacity(Self::print(&registrant.nexus));
            }
        }
        Self(prints)
    }

    /// The port at our end is left out: a registration may hold for all.
    fn print(it: &ItNexus) -> u32 {
        misc::crc32c(misc::crc32c(0, &it.isid), it.initiator.as_bytes())
    }

    /// Those of `all` that are of the nexus, in their order, where `whose` tells whose they are.
    fn find<'a, T>(
        &'a self,
        all: &'a [T],
        it: &'a ItNexus,
        whose: impl Fn(&T) -> &Registrant + 'a,
    ) -> impl Iterator<Item = &'a T> {
        let known = self.0.len() == all.len();
        let (prints, rest) = if known {
            (&*self.0, &[][..])
        } else {
            (&[][..], all)
        };
        let print = if known { Self::print(it) } else { 0 };
        let alike = Iterator::zip(prints.iter(), all).filter(move |(p, _)| **p == print);
        Iterator::chain(alike.map(|(_, one)| one), rest).filter(move |one| whose(one).is(it))
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
        match self.glance().kind.now() {
            0 => None,
            code => PrType::from_code(u8::try_from(code).unwrap_or(0)),
        }
    }

    /// Whether anybody has registered.
    pub(crate) fn has_registrants(&self) -> bool {
        self.glance().used.now() != 0
    }

    /// Looks at registrations and reservation. May sleep.
    pub(crate) fn with_persist<T>(&self, look: impl FnOnce(&Persist<Registrants>) -> T) -> T {
        look(&self.persist().lock())
    }

    /// Changes registrations or reservation: in turn, and for good when this
    /// returns `Ok`. `more` registrations may be added. `each` is called for
    /// those to whom something happens. May sleep, and waits for the file
    /// system if the result, or what was there, is to survive a loss of power.
    ///
    /// # Errors
    ///
    /// [`Unchanged`]; then nothing has changed, but the file may be in doubt.
    pub(crate) fn change_persist(
        &self,
        _turn: &Turn,
        more: usize,
        change: Change<'_>,
        each: &mut dyn FnMut(&Arc<Nexus>, Event),
    ) -> Result<(), Unchanged> {
        let mut next = {
            let now = self.persist().lock();
            let registry = now.registry().copy(more)?;
            now.copied_to(registry)
        };
        let was_kept = is_kept(&next);
        // Nobody is told of more than two things.
        let most = next.registry().all().len().saturating_mul(2);
        let mut told = KVVec::with_capacity(most, GFP_KERNEL).map_err(Error::from)?;
        change(&mut next, &mut |who, event| {
            let _ = told.push_within_capacity((*who, event));
        })
        .map_err(Unchanged::Refused)?;
        if was_kept || is_kept(&next) || self.is_in_doubt() {
            self.keep(&next)?;
        }
        let prints = Prints::of(told.iter().map(|(who, _)| who));
        self.install(&mut next, |device| {
            device.tell_nexuses(&told, &prints, each);
        });
        Ok(())
    }

    /// Puts `next` in place, and lets the data path know; what was there is
    /// in `next` then.
    fn install(&self, next: &mut Persist<Registrants>, tell: impl FnOnce(&Self)) {
        let prints = Prints::of(next.registry().all().iter());
        let mut persist = self.persist().lock();
        // Unit attentions come before what they are about.
        tell(self);
        core::mem::swap(&mut *persist, next);
        // First who stands where: a new holder is not to be kept out by its
        // own reservation.
        let all = persist.registry().all();
        self.for_each_nexus(&mut |nexus| {
            let standing = nexus.it_nexus().map_or(Standing::default(), |it| {
                persist.standing_by(prints.find(all, &it, |own| own).next())
            });
            nexus.set_standing(standing);
        });
        let glance = self.glance();
        let kind = persist.kind().map_or(0, |kind| kind as i32);
        glance.kind.put(kind);
        glance.used.put(i32::from(persist.is_in_use()));
    }

    // ---- what survives a loss of power -----------------------------------

    fn place_of(&self, serial: &[u8]) -> Result<Option<Place>> {
        Place::new(self.pr_dir(), serial)
    }

    /// The device's file, if it can have one.
    fn file(&self) -> Result<Option<Place>> {
        let serial = self.serial()?;
        self.place_of(&serial)
    }

    /// Whether reservations can survive a loss of power: the file is named
    /// after the serial number, which must not be empty, nor very long.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn can_persist(&self) -> Result<bool> {
        Ok(self.file()?.is_some())
    }

    /// Shows the path of the device's file.
    pub(crate) fn with_pr_file<R>(
        &self,
        look: impl FnOnce(&[u8], &[u8]) -> R,
    ) -> Result<Option<R>> {
        Ok(self
            .file()?
            .map(|file| look(file.dir().to_bytes(), file.name().to_bytes())))
    }

    fn keep(&self, next: &Persist<Registrants>) -> Result<(), Unchanged> {
        let Some(file) = self.file()? else {
            return Err(Unchanged::NotKept);
        };
        let failure = match file.keep(next) {
            Ok(found) => {
                if !found && !self.is_in_doubt() && self.with_persist(is_kept) {
                    self.is_elsewhere(&file);
                }
                self.set_in_doubt(false);
                return Ok(());
            }
            Err(failure) => failure,
        };
        if misc::may_log(misc::Topic::Storage) {
            pr_err!(
                "core/iblock_{}/{}: persistent reservations cannot be written down as {}/{}: error {}; \
                 make the directory and let it have room, or set pr_dir\n",
                self.hba(),
                BStr::from_bytes(self.name()),
                BStr::from_bytes(file.dir().to_bytes()),
                BStr::from_bytes(file.name().to_bytes()),
                failure.error.to_errno()
            );
        }
        if !failure.untouched {
            // Whatever is in the file now, it is to be what was there before.
            self.set_in_doubt(true);
            let old = {
                let now = self.persist().lock();
                let registry = now.registry().copy(0)?;
                now.copied_to(registry)
            };
            self.set_in_doubt(file.keep(&old).is_err());
        }
        Err(Unchanged::NotKept)
    }

    /// The file that was to be removed, and that had been written, was not there. It may
    /// come back with its file system, and the reservations with it.
    fn is_elsewhere(&self, file: &Place) {
        if misc::may_log(misc::Topic::Storage) {
            pr_warn!(
                "core/iblock_{}/{}: {}/{} is not there any more: if its file system has been unmounted, \
                 reservations that were given up come back with it\n",
                self.hba(),
                BStr::from_bytes(self.name()),
                BStr::from_bytes(file.dir().to_bytes()),
                BStr::from_bytes(file.name().to_bytes())
            );
        }
    }

    /// Reads what was written down of a unit with that serial number.
    ///
    /// # Errors
    ///
    /// [`file::damaged`] if there is a file and it is no good, or what the
    /// file system says; the log says which file it is.
    pub(super) fn read_back(&self, serial: &[u8]) -> Result<Persist<Registrants>> {
        let Some(place) = self.place_of(serial)? else {
            return Ok(Persist::new(Registrants::new()));
        };
        let complain = |what: core::fmt::Arguments<'_>| {
            pr_err!(
                "core/iblock_{}/{}: {}/{} {}: put it right, or remove it to give the reservations up\n",
                self.hba(),
                BStr::from_bytes(self.name()),
                BStr::from_bytes(place.dir().to_bytes()),
                BStr::from_bytes(place.name().to_bytes()),
                what
            );
        };
        let limit = aptpl::max_len(MAX_REGISTRANTS);
        let text = match file::read(place.dir(), place.name(), limit) {
            Ok(Some(text)) => text,
            Ok(None) => {
                if !file::is_dir(place.dir()) {
                    self.pr_dir().is_missing();
                }
                return Ok(Persist::new(Registrants::new()));
            }
            Err(e) => {
                complain(format_args!("cannot be read, error {}", e.to_errno()));
                return Err(e);
            }
        };
        let room = text.iter().filter(|b| **b == b'\n').count();
        let mut registry = Registrants::new().copy(room)?;
        let crc = |data: &[u8]| misc::crc32c(0, data);
        match aptpl::read(&text, serial, crc, &mut registry) {
            Ok(kind) => Ok(Persist::restored(registry, kind)),
            Err(fault) => {
                complain(format_args!("{fault}"));
                Err(file::damaged())
            }
        }
    }

    /// Takes up what has been read. To be called before the device does any I/O,
    /// and in turn once it could.
    pub(super) fn restore_persist(&self, mut next: Persist<Registrants>) {
        let count = next.registry().all().len();
        self.install(&mut next, |_| ());
        self.set_in_doubt(false);
        if count > 0 {
            pr_info!(
                "core/iblock_{}/{}: {} registrations for persistent reservations are there again\n",
                self.hba(),
                BStr::from_bytes(self.name()),
                count
            );
        }
    }

    /// Takes all registrations and the reservation away, as an administrator
    /// wants it. What cannot be written down in time is done later, unless
    /// that fails.
    ///
    /// # Errors
    ///
    /// `EBUSY` while somebody changes them, `EIO` if that cannot be written
    /// down, `ENOMEM`, or those of [`errand::run`].
    pub(crate) fn clear_persist(self: &Arc<Self>) -> Result {
        let turn = Turn::take(self).ok_or(EBUSY)?;
        let device = self.clone();
        let cleared = errand::run(PATIENCE_MS, move || device.clear_in_turn(turn));
        if cleared.as_ref().is_err_and(|e| *e == errand::late()) {
            pr_warn!(
                "core/iblock_{}/{}: the file system of pr_dir hangs; reservations are cleared when it goes on\n",
                self.hba(),
                BStr::from_bytes(self.name())
            );
        }
        cleared?
    }

    fn clear_in_turn(&self, turn: Turn) -> Result {
        let (count, kind) = self.with_persist(|p| (p.registry().all().len(), p.kind()));
        let done = self.change_persist(
            &turn,
            0,
            &mut |persist, tell| {
                persist.clear_all(tell);
                Ok(())
            },
            &mut |nexus, _| nexus.post(Ua::ReservationsPreempted),
        );
        match done {
            Ok(()) => {}
            Err(Unchanged::NoMemory) => return Err(ENOMEM),
            Err(Unchanged::NotKept | Unchanged::Refused(_)) => return Err(EIO),
        }
        pr_notice!(
            "core/iblock_{}/{}: cleared by an administrator: {} registrations, reservation of type {}\n",
            self.hba(),
            BStr::from_bytes(self.name()),
            count,
            kind.map_or(0, |kind| kind as u8)
        );
        Ok(())
    }

    /// A session has come to see the device: where does it stand? May sleep.
    pub(super) fn place_nexus(&self, nexus: &Arc<Nexus>) {
        let persist = self.persist().lock();
        let standing = nexus
            .it_nexus()
            .map_or(Standing::default(), |it| persist.standing(&it));
        nexus.set_standing(standing);
    }

    /// Calls `each` with every nexus that something happens to. All are gone through once,
    /// and not for each registration, of which there may be as many as there are sessions.
    fn tell_nexuses(
        &self,
        told: &[(Registrant, Event)],
        prints: &Prints,
        each: &mut dyn FnMut(&Arc<Nexus>, Event),
    ) {
        if told.is_empty() {
            return;
        }
        self.for_each_nexus(&mut |nexus| {
            if let Some(it) = nexus.it_nexus() {
                for (_, event) in prints.find(told, &it, |(who, _)| who) {
                    each(nexus, *event);
                }
            }
        });
    }
}
