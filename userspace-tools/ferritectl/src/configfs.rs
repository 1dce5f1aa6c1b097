// SPDX-License-Identifier: GPL-2.0

//! configfs: the only file I/O on the configuration. The root is an argument.
//!
//! [`Tree`] is the handful of operations that configfs knows, so that tests can
//! put something in its place; [`KernelTree`] performs them. [`Configfs`] reads
//! the tree into the types of [`crate::state`].

use std::cell::RefCell;
use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::FlockOperation;
use rustix::fs::OFlags;

use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::info;
use crate::info::DeviceInfo;
use crate::info::Session;
use crate::layout;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::secret::Secret;
use crate::state::Acl;
use crate::state::Attributes;
use crate::state::Auth;
use crate::state::Backstore;
use crate::state::Configuration;
use crate::state::Credentials;
use crate::state::DiscoveryAuth;
use crate::state::Lun;
use crate::state::MappedLun;
use crate::state::Target;
use crate::state::TargetPortGroup;
use crate::state::Tpg;
use crate::state::DEFAULT_GROUP;

/// What a directory entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A directory: an object or a group of them.
    Dir,
    /// A symbolic link: a reference to an object.
    Link,
    /// An attribute.
    File {
        /// Its mode lets somebody read it.
        readable: bool,
        /// Its mode lets somebody write it.
        writable: bool,
    },
}

impl Kind {
    /// An attribute that holds a setting: readable and writable.
    pub fn is_setting(self) -> bool {
        matches!(
            self,
            Kind::File {
                readable: true,
                writable: true
            }
        )
    }
}

/// The operations of configfs. Paths are relative to the root.
pub trait Tree {
    /// The root, for messages and for links.
    fn root(&self) -> &Path;

    /// Names and kinds of what is in a directory, sorted by name.
    fn entries(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>>;

    /// What is at a path, without following a link; `None` if nothing is.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;

    /// The value of an attribute, as the kernel shows it.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Where a link leads, as the kernel shows it.
    fn link_target(&self, path: &Path) -> io::Result<PathBuf>;

    /// Stores a value in an attribute, in one `write`.
    fn write(&self, path: &Path, text: &str) -> io::Result<()>;

    /// Makes an object.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an object.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a link to the object at `to`.
    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()>;

    /// Removes a link.
    fn remove_link(&self, path: &Path) -> io::Result<()>;
}

/// A block device that was removed, and on which I/O is still under way: a line of `closing`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closing(String);

impl Closing {
    /// What the kernel calls it, or its number if the kernel does not know it any more.
    pub fn name(&self, sys: &Path) -> String {
        let number = self.0.rsplit(' ').next().unwrap_or_default();
        match fs::read_link(sys.join("dev/block").join(number)) {
            Ok(link) => {
                let name = link.file_name().unwrap_or_default();
                format!("/dev/{}", name.to_string_lossy())
            }
            Err(_) => format!("the block device {number}"),
        }
    }
}

/// The real configfs.
#[derive(Debug)]
pub struct KernelTree {
    root: PathBuf,
}

impl KernelTree {
    /// The tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        KernelTree { root: root.into() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }
}

impl Tree for KernelTree {
    fn root(&self) -> &Path {
        &self.root
    }

    fn entries(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // The type comes with the directory; only a file's mode costs a call.
            let file_type = entry.file_type()?;
            let kind = if file_type.is_dir() {
                Kind::Dir
            } else if file_type.is_symlink() {
                Kind::Link
            } else {
                match entry.metadata() {
                    Ok(metadata) => kind_of(&metadata),
                    // Removed since the directory was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            };
            entries.push((name, kind));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        match fs::symlink_metadata(self.at(path)) {
            Ok(metadata) => Ok(Some(kind_of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        // A page at most. Asking for the size first, as `read_to_string` does, would
        // cost two more calls for each of what may be a hundred thousand files.
        let mut file = fs::File::open(self.at(path))?;
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            match file.read(&mut part) {
                Ok(length) => {
                    bytes.extend_from_slice(&part[..length]);
                    // The kernel gives as much as there is.
                    if length < part.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(self.at(path))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).open(self.at(path))?;
        // An empty write would not reach the kernel's store function at all.
        let bytes = if text.is_empty() {
            b"\n"
        } else {
            text.as_bytes()
        };
        let written = file.write(bytes)?;
        // Some stores answer 0 when they have cleared a value.
        if written != 0 && written != bytes.len() {
            return Err(io::Error::other(format!(
                "only {written} of {} bytes were taken",
                bytes.len()
            )));
        }
        Ok(())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(self.at(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.at(path))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(self.at(to), self.at(path))
    }

    fn remove_link(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }
}

fn kind_of(metadata: &fs::Metadata) -> Kind {
    if metadata.is_dir() {
        return Kind::Dir;
    }
    if metadata.file_type().is_symlink() {
        return Kind::Link;
    }
    let mode = metadata.permissions().mode();
    Kind::File {
        readable: mode & 0o444 != 0,
        writable: mode & 0o222 != 0,
    }
}

/// Where the configuration is: `/sys/kernel/config/ferrite`, or what the module
/// parameter `configfs_root` says. `sys` is `/sys`.
pub fn default_root(sys: &Path) -> Result<PathBuf> {
    let configfs = sys.join("kernel/config");
    let usual = configfs.join("ferrite");
    if usual.is_dir() {
        return Ok(usual);
    }
    let module = sys.join("module/ferrite");
    if let Ok(name) = fs::read_to_string(module.join("parameters/configfs_root")) {
        let name = name.trim();
        let other = configfs.join(name);
        if names::check_link_name(name).is_ok() && other.is_dir() {
            return Ok(other);
        }
    }
    if !module.is_dir() {
        return Err(Error::Unavailable {
            reason: "the kernel module `ferrite` is not loaded".into(),
            hint: "load it with `modprobe ferrite`".into(),
        });
    }
    Err(Error::Unavailable {
        reason: format!("{} does not exist", usual.display()),
        hint: format!(
            "mount configfs with `mount -t configfs none {}`",
            configfs.display()
        ),
    })
}

/// Held while the configuration is being changed, so that two commands do not mix.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

/// How long a command waits for another one.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes the lock in the directory `run`, which others cannot open: whoever can open what is
/// locked can hold the lock. Where that cannot be made, `root` itself is locked.
pub fn lock(root: &Path, run: &Path) -> Result<Lock> {
    let path = run.join("lock");
    let file = files::make_private_dir(run).and_then(|()| {
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
    });
    let (path, file) = match file {
        Ok(file) => (path, file),
        Err(_) => {
            let file = fs::OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::DIRECTORY.bits() as i32)
                .open(root)
                .map_err(|error| unavailable(root, &error))?;
            (root.to_path_buf(), file)
        }
    };
    let start = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::Unavailable {
                    reason: format!(
                        "another command has been changing {} for {} s",
                        root.display(),
                        LOCK_TIMEOUT.as_secs()
                    ),
                    hint: format!("`fuser {}` says which one", path.display()),
                });
            }
            Err(error) => return Err(Error::file(path, error.into())),
        }
    }
}

/// The error for a root that cannot be opened.
pub fn unavailable(root: &Path, error: &io::Error) -> Error {
    Error::Unavailable {
        reason: format!("{}: {}", root.display(), crate::error::errno_text(error)),
        hint: match error.kind() {
            io::ErrorKind::PermissionDenied => "run this as root".into(),
            _ => "--root names a directory of configfs such as /sys/kernel/config/ferrite".into(),
        },
    }
}

/// The kernel's messages since some moment, to say why it refused something.
#[derive(Debug)]
pub struct KernelLog {
    file: Option<fs::File>,
}

/// How many of the kernel's lines an error shows.
const LOG_LINES: usize = 3;

impl KernelLog {
    /// Opens `/dev/kmsg`, or a file like it, at its end. Without permission the log is empty.
    pub fn open(path: &Path) -> Self {
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .ok()
            .filter(|file| rustix::fs::seek(file, rustix::fs::SeekFrom::End(0)).is_ok());
        KernelLog { file }
    }

    /// A log that stays empty.
    pub fn none() -> Self {
        KernelLog { file: None }
    }

    /// The lines that came since the last call: those of the target, or else the last ones.
    pub fn take(&mut self) -> Vec<String> {
        let Some(file) = &mut self.file else {
            return Vec::new();
        };
        let mut text = String::new();
        let mut record = [0u8; 8192];
        loop {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => text.push_str(&String::from_utf8_lossy(&record[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Records were overwritten before they were read: go on with the rest.
                Err(error) if error.raw_os_error() == Some(32) => continue,
                Err(_) => break,
            }
        }
        let lines = parse_kmsg(&text);
        let ours: Vec<String> = lines
            .iter()
            .filter(|line| line.starts_with("ferrite"))
            .cloned()
            .collect();
        let lines = if ours.is_empty() { lines } else { ours };
        let skip = lines.len().saturating_sub(LOG_LINES);
        lines.into_iter().skip(skip).collect()
    }
}

/// The messages in records of `/dev/kmsg`: `prefix;message`, then ` KEY=value` lines.
fn parse_kmsg(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_once(';'))
        .map(|(_, message)| message.trim_end().to_string())
        .filter(|message| !message.is_empty())
        .collect()
}

/// Reads the configuration.
pub struct Configfs<'t> {
    tree: &'t dyn Tree,
    brief: bool,
    notes: RefCell<Vec<String>>,
}

impl<'t> Configfs<'t> {
    /// Reads from `tree`.
    pub fn new(tree: &'t dyn Tree) -> Self {
        Configfs {
            tree,
            brief: false,
            notes: RefCell::new(Vec::new()),
        }
    }

    /// Reads of objects only what there is, and how it hangs together: enough to remove it. A
    /// thousand LUNs have a hundred thousand settings.
    pub fn brief(self) -> Self {
        Configfs {
            brief: true,
            ..self
        }
    }

    /// The operations.
    pub fn tree(&self) -> &'t dyn Tree {
        self.tree
    }

    /// What could not be read so far, and what this program does not handle.
    pub fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    /// Turns a failed reading into an error.
    fn failed(&self, path: &Path, error: io::Error) -> Error {
        let path = self.tree.root().join(path);
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Error::Unavailable {
                reason: format!("{}: permission denied", path.display()),
                hint: "run this as root".into(),
            };
        }
        Error::Refused {
            action: format!("read {}", path.display()),
            source: error,
            log: Vec::new(),
            hint: None,
        }
    }

    /// Entries of a directory; none if it does not exist.
    fn entries(&self, dir: &Path) -> Result<Vec<(String, Kind)>> {
        match self.tree.entries(dir) {
            Ok(entries) => Ok(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed(dir, error)),
        }
    }

    /// True if something is at `path`.
    pub fn exists(&self, path: &Path) -> Result<bool> {
        match self.tree.kind(path) {
            Ok(kind) => Ok(kind.is_some()),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// What is at `path`.
    pub fn kind(&self, path: &Path) -> Result<Option<Kind>> {
        self.tree
            .kind(path)
            .map_err(|error| self.failed(path, error))
    }

    /// The value of an attribute without its newline; `None` if there is no such file.
    pub fn value(&self, path: &Path) -> Result<Option<String>> {
        match self.tree.read(path) {
            Ok(text) => Ok(Some(trim(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// Block devices that were removed, and on which I/O is under way all the same; none if the
    /// kernel does not tell.
    pub fn closing(&self) -> Result<Vec<Closing>> {
        let text = self.value_if_allowed(Path::new("closing"))?;
        let text = text.unwrap_or_default();
        Ok(text.lines().map(|line| Closing(line.to_string())).collect())
    }

    /// As [`Configfs::value`], but what this user may not read is as if it were not there.
    pub fn value_if_allowed(&self, path: &Path) -> Result<Option<String>> {
        match self.tree.read(path) {
            Ok(text) => Ok(Some(trim(&text))),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// As [`Configfs::value`], but what cannot be read is noted and left out.
    fn value_or_note(&self, path: &Path) -> Option<String> {
        match self.value(path) {
            Ok(value) => value,
            Err(error) => {
                self.note(error.to_string());
                None
            }
        }
    }

    /// Every setting in a directory.
    pub fn settings(&self, dir: &Path) -> Result<Attributes> {
        if self.brief {
            return Ok(Attributes::default());
        }
        self.files(dir, Kind::is_setting)
    }

    /// Every attribute in a directory that can be read, settings or not.
    pub fn readings(&self, dir: &Path) -> Result<Attributes> {
        self.files(dir, |kind| {
            matches!(kind, Kind::File { readable: true, .. })
        })
    }

    fn files(&self, dir: &Path, wanted: fn(Kind) -> bool) -> Result<Attributes> {
        let mut attributes = Attributes::default();
        for (name, kind) in self.entries(dir)? {
            if !wanted(kind) {
                continue;
            }
            let path = dir.join(&name);
            if let Some(value) = self.value_or_note(&path) {
                attributes.0.insert(name, clean(&path, value));
            }
        }
        Ok(attributes)
    }

    /// The first link in a directory: its name and where it leads.
    fn link(&self, dir: &Path) -> Result<Option<(String, PathBuf)>> {
        for (name, kind) in self.entries(dir)? {
            if kind == Kind::Link {
                let path = dir.join(&name);
                return match self.tree.link_target(&path) {
                    Ok(target) => Ok(Some((name, target))),
                    // Removed since the directory was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(self.failed(&path, error)),
                };
            }
        }
        Ok(None)
    }

    /// The backstores, by name of directory.
    pub fn backstore_ids(&self) -> Result<Vec<BackstoreId>> {
        let mut ids = Vec::new();
        for (hba, kind) in self.entries(&layout::core())? {
            if kind != Kind::Dir || hba == "alua" {
                continue;
            }
            let number = names::parse_hba(&hba);
            for (name, kind) in self.entries(&layout::core().join(&hba))? {
                if kind != Kind::Dir {
                    continue;
                }
                match number {
                    Some(number) => ids.push(BackstoreId { hba: number, name }),
                    None => self.note(format!(
                        "backstore {hba}/{name} is of a kind that is not handled here"
                    )),
                }
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// The numbers of all `iblock_<n>` directories.
    pub fn hba_numbers(&self) -> Result<Vec<u32>> {
        Ok(self
            .entries(&layout::core())?
            .iter()
            .filter_map(|(name, _)| names::parse_hba(name))
            .collect())
    }

    /// What the kernel says of a backstore's device.
    pub fn device_info(&self, id: &BackstoreId) -> Result<DeviceInfo> {
        let text = self
            .value_or_note(&layout::backstore(id).join("info"))
            .unwrap_or_default();
        Ok(info::parse_device(&text))
    }

    /// A backstore.
    pub fn backstore(&self, id: &BackstoreId) -> Result<Backstore> {
        if self.brief {
            let names = self.group_names(id)?.into_iter();
            return Ok(Backstore {
                target_port_groups: names
                    .map(|name| (name, TargetPortGroup::default()))
                    .collect(),
                ..Backstore::default()
            });
        }
        let dir = layout::backstore(id);
        let info = self.device_info(id)?;
        let path = self
            .value(&dir.join("udev_path"))?
            .filter(|path| !path.is_empty())
            .or(info.udev_path)
            .unwrap_or_default();
        Ok(Backstore {
            path,
            read_only: info.read_only,
            exclusive: info.exclusive,
            enabled: self.value(&dir.join("enable"))?.as_deref() == Some("1"),
            alias: self
                .value_or_note(&dir.join("alias"))
                .filter(|alias| !alias.is_empty()),
            lba_map: self
                .value_or_note(&dir.join("lba_map"))
                .filter(|map| !map.is_empty())
                // One line, as it may be written.
                .map(|map| map.replace('\n', "; ")),
            wwn: self.settings(&dir.join("wwn"))?,
            attributes: self.settings(&dir.join("attrib"))?,
            target_port_groups: self
                .group_names(id)?
                .into_iter()
                .map(|name| Ok((name.clone(), self.group(id, &name)?)))
                .collect::<Result<_>>()?,
            replaceable: self.exists(&dir.join("replace"))?,
        })
    }

    /// The names of a backstore's target port groups.
    pub fn group_names(&self, id: &BackstoreId) -> Result<Vec<String>> {
        Ok(self
            .entries(&layout::groups(id))?
            .into_iter()
            .filter(|(_, kind)| *kind == Kind::Dir)
            .map(|(name, _)| name)
            .collect())
    }

    /// A target port group.
    pub fn group(&self, id: &BackstoreId, name: &str) -> Result<TargetPortGroup> {
        let dir = layout::group(id, name);
        let mut attributes = self.settings(&dir)?;
        let number = attributes.0.remove("tg_pt_gp_id");
        // Who changed it is history, and a transition is over when the file is read.
        attributes.0.remove("alua_access_status");
        attributes
            .0
            .retain(|name, value| name != "alua_access_state" || value != TRANSITIONING);
        Ok(TargetPortGroup {
            id: number.and_then(|number| number.parse().ok()),
            attributes,
        })
    }

    /// The targets' names.
    pub fn target_names(&self) -> Result<Vec<Name>> {
        Ok(self
            .entries(&layout::fabric())?
            .into_iter()
            .filter(|(name, kind)| *kind == Kind::Dir && name != "discovery_auth")
            .map(|(name, _)| Name::existing(&name))
            .collect())
    }

    /// The tags of a target's TPGs.
    pub fn tags(&self, name: &Name) -> Result<Vec<u16>> {
        let mut tags: Vec<u16> = self
            .entries(&layout::target(name))?
            .iter()
            .filter_map(|(entry, _)| names::parse_tpgt_dir(entry))
            .collect();
        tags.sort_unstable();
        Ok(tags)
    }

    /// True if initiators may log in.
    pub fn tpg_enabled(&self, name: &Name, tag: u16) -> Result<bool> {
        // A kernel without the attribute has no switch: the TPG is always on.
        let value = self.value(&layout::tpg(name, tag).join("enable"))?;
        Ok(value.is_none_or(|value| value == "1"))
    }

    /// The portals of a TPG.
    pub fn portals(&self, name: &Name, tag: u16) -> Result<Vec<Portal>> {
        Ok(self
            .entries(&layout::tpg(name, tag).join("np"))?
            .into_iter()
            .filter(|(_, kind)| *kind == Kind::Dir)
            .map(|(entry, _)| Portal::existing(&entry))
            .collect())
    }

    /// The numbers of a TPG's LUNs.
    pub fn lun_numbers(&self, name: &Name, tag: u16) -> Result<Vec<u64>> {
        self.lun_dirs(&layout::tpg(name, tag).join("lun"))
    }

    fn lun_dirs(&self, dir: &Path) -> Result<Vec<u64>> {
        let mut numbers: Vec<u64> = self
            .entries(dir)?
            .iter()
            .filter_map(|(entry, _)| names::parse_lun_dir(entry))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A LUN; `None` if it leads to no backstore that is handled here.
    pub fn lun(&self, name: &Name, tag: u16, number: u64) -> Result<Option<Lun>> {
        let Some((link, target)) = self.link(&layout::lun(name, tag, number))? else {
            return Ok(None);
        };
        let mut last = target.components().rev();
        let device = last.next().map(|part| part.as_os_str().to_string_lossy());
        let hba = last.next().map(|part| part.as_os_str().to_string_lossy());
        match (hba, device) {
            (Some(hba), Some(device)) => match names::parse_hba(&hba) {
                Some(hba) => Ok(Some(Lun {
                    backstore: BackstoreId {
                        hba,
                        name: device.into_owned(),
                    },
                    link: Some(link),
                    group: self.lun_group(name, tag, number),
                    offline: self.lun_value(name, tag, number, "alua_tg_pt_offline")
                        == Some("1".into()),
                    attributes: self.settings(&layout::lun(name, tag, number).join("attrib"))?,
                })),
                None => {
                    self.note(format!(
                        "LUN {number} of TPG {tag} of {name} has backstore {hba}/{device}, \
                         which is of a kind that is not handled here"
                    ));
                    Ok(None)
                }
            },
            _ => Ok(None),
        }
    }

    /// The target port group that a LUN is in, unless it is the default one.
    fn lun_group(&self, name: &Name, tag: u16, number: u64) -> Option<String> {
        self.lun_value(name, tag, number, "alua_tg_pt_gp")
            .filter(|group| !group.is_empty() && group != DEFAULT_GROUP)
    }

    /// An attribute of a LUN. Without a backstore it may have no value.
    fn lun_value(&self, name: &Name, tag: u16, number: u64, file: &str) -> Option<String> {
        if self.brief {
            return None;
        }
        let path = layout::lun(name, tag, number).join(file);
        let text = self.tree.read(&path).ok()?;
        Some(shown(&path, &text))
    }

    /// What a LUN's link leads to: a backstore, of whatever kind.
    pub fn lun_backstore(&self, name: &Name, tag: u16, number: u64) -> Option<String> {
        let (_, target) = self.link(&layout::lun(name, tag, number)).ok()??;
        let mut last = target.components().rev();
        let device = last.next()?.as_os_str().to_string_lossy().into_owned();
        let hba = last.next()?.as_os_str().to_string_lossy().into_owned();
        Some(format!("{hba}/{device}"))
    }

    /// The names of the links in a LUN's directory.
    pub fn lun_link(&self, name: &Name, tag: u16, number: u64) -> Result<Option<String>> {
        Ok(self
            .link(&layout::lun(name, tag, number))?
            .map(|(link, _)| link))
    }

    /// The initiators that have an ACL.
    pub fn initiators(&self, name: &Name, tag: u16) -> Result<Vec<Name>> {
        Ok(self
            .entries(&layout::tpg(name, tag).join("acls"))?
            .into_iter()
            .filter(|(_, kind)| *kind == Kind::Dir)
            .map(|(entry, _)| Name::existing(&entry))
            .collect())
    }

    /// The numbers of an ACL's mapped LUNs.
    pub fn mapped_numbers(&self, name: &Name, tag: u16, initiator: &Name) -> Result<Vec<u64>> {
        self.lun_dirs(&layout::acl(name, tag, initiator))
    }

    /// A mapped LUN; `None` if it leads nowhere.
    pub fn mapped_lun(
        &self,
        name: &Name,
        tag: u16,
        initiator: &Name,
        mapped: u64,
    ) -> Result<Option<MappedLun>> {
        let dir = layout::mapped_lun(name, tag, initiator, mapped);
        let Some((link, target)) = self.link(&dir)? else {
            return Ok(None);
        };
        let number = target
            .file_name()
            .and_then(|part| names::parse_lun_dir(&part.to_string_lossy()));
        let Some(lun) = number else {
            return Ok(None);
        };
        Ok(Some(MappedLun {
            lun,
            write_protect: !self.brief
                && self.value(&dir.join("write_protect"))?.as_deref() == Some("1"),
            link: Some(link),
        }))
    }

    /// An ACL.
    pub fn acl(&self, name: &Name, tag: u16, initiator: &Name) -> Result<Acl> {
        let dir = layout::acl(name, tag, initiator);
        let mut acl = Acl::default();
        if !self.brief {
            acl = Acl {
                cmdsn_depth: self
                    .value_or_note(&dir.join("cmdsn_depth"))
                    .and_then(|value| value.parse().ok()),
                tag: self
                    .value_or_note(&dir.join("tag"))
                    .filter(|tag| !tag.is_empty()),
                attributes: self.settings(&dir.join("attrib"))?,
                auth: self.auth(&dir.join("auth")),
                ..acl
            };
        }
        for mapped in self.mapped_numbers(name, tag, initiator)? {
            match self.mapped_lun(name, tag, initiator, mapped)? {
                Some(lun) => {
                    acl.mapped_luns.insert(mapped, lun);
                }
                None => {
                    let dir = layout::mapped_lun(name, tag, initiator, mapped);
                    let link = self.link(&dir)?.map(|(link, _)| link);
                    acl.odd_luns.insert(mapped, link);
                }
            }
        }
        Ok(acl)
    }

    /// The credentials in a directory.
    pub fn auth(&self, dir: &Path) -> Auth {
        Auth {
            initiator: self.credentials(dir, "userid", "password"),
            target: self.credentials(dir, "userid_mutual", "password_mutual"),
        }
    }

    fn credentials(&self, dir: &Path, user: &str, password: &str) -> Credentials {
        let is_set = |value: &String| !value.is_empty() && value != "NULL";
        let path = dir.join(password);
        let hidden = matches!(
            self.tree.read(&path),
            Err(error) if error.kind() == io::ErrorKind::Unsupported
        );
        let secret = if hidden {
            None
        } else {
            self.value_or_note(&path).filter(is_set).map(Secret::new)
        };
        Credentials {
            user: self.value_or_note(&dir.join(user)).filter(is_set),
            secret,
            hidden,
        }
    }

    /// Authentication of discovery sessions.
    pub fn discovery_auth(&self) -> Result<DiscoveryAuth> {
        let dir = layout::discovery_auth();
        let mut attributes = Attributes::default();
        for (name, kind) in self.entries(&dir)? {
            let known = matches!(
                name.as_str(),
                "userid"
                    | "password"
                    | "userid_mutual"
                    | "password_mutual"
                    | "enforce_discovery_auth"
            );
            if kind.is_setting() && !known {
                if let Some(value) = self.value_or_note(&dir.join(&name)) {
                    attributes.0.insert(name, value);
                }
            }
        }
        Ok(DiscoveryAuth {
            enforce: self.value(&dir.join("enforce_discovery_auth"))?.as_deref() == Some("1"),
            auth: self.auth(&dir),
            attributes,
        })
    }

    /// The relative target port identifier of a TPG; `None` while it has none.
    pub fn rtpi(&self, name: &Name, tag: u16) -> Option<u16> {
        let value = self.value_or_note(&layout::tpg(name, tag).join("rtpi"))?;
        let number = match value.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        };
        number.filter(|number| *number != 0)
    }

    /// A target portal group.
    pub fn tpg(&self, name: &Name, tag: u16) -> Result<Tpg> {
        let dir = layout::tpg(name, tag);
        let mut tpg = Tpg {
            enabled: self.tpg_enabled(name, tag)?,
            rtpi: self.rtpi(name, tag),
            attributes: self.settings(&dir.join("attrib"))?,
            parameters: self.settings(&dir.join("param"))?,
            auth: self.auth(&dir.join("auth")),
            ..Tpg::default()
        };
        for portal in self.portals(name, tag)? {
            let attributes = self.settings(&layout::portal(name, tag, &portal))?;
            tpg.portals.insert(portal, attributes);
        }
        for number in self.lun_numbers(name, tag)? {
            match self.lun(name, tag, number)? {
                Some(lun) => {
                    tpg.luns.insert(number, lun);
                }
                None => {
                    let link = self.lun_link(name, tag, number)?;
                    tpg.odd_luns.insert(number, link);
                }
            }
        }
        for initiator in self.initiators(name, tag)? {
            let acl = self.acl(name, tag, &initiator)?;
            tpg.acls.insert(initiator, acl);
        }
        Ok(tpg)
    }

    /// A target.
    pub fn target(&self, name: &Name) -> Result<Target> {
        let mut target = Target {
            parameters: self.settings(&layout::target(name).join("param"))?,
            ..Target::default()
        };
        for tag in self.tags(name)? {
            target.tpgs.insert(tag, self.tpg(name, tag)?);
        }
        Ok(target)
    }

    /// Everything.
    pub fn configuration(&self) -> Result<Configuration> {
        let mut configuration = Configuration {
            discovery_auth: self.discovery_auth()?,
            ..Configuration::default()
        };
        for id in self.backstore_ids()? {
            let backstore = self.backstore(&id)?;
            configuration.backstores.insert(id, backstore);
        }
        for name in self.target_names()? {
            let target = self.target(&name)?;
            configuration.targets.insert(name, target);
        }
        Ok(configuration)
    }

    /// The sessions of an initiator that has an ACL.
    pub fn sessions(&self, name: &Name, tag: u16, initiator: &Name) -> Result<Vec<Session>> {
        let path = layout::acl(name, tag, initiator).join("info");
        let text = self.value_or_note(&path).unwrap_or_default();
        Ok(info::parse_sessions(&text))
    }

    /// The initiators that are logged in without an ACL.
    pub fn dynamic_sessions(&self, name: &Name, tag: u16) -> Result<Vec<Name>> {
        let path = layout::tpg(name, tag).join("dynamic_sessions");
        let text = self.value_or_note(&path).unwrap_or_default();
        Ok(text
            .split(['\n', '\0'])
            .filter(|line| !line.is_empty())
            .map(Name::existing)
            .collect())
    }

    /// Ends the sessions of an initiator, or all of a TPG: at once, or when no logout has come
    /// after `wait` seconds.
    pub fn close_sessions(
        &self,
        name: &Name,
        tag: u16,
        initiator: Option<&Name>,
        wait: Option<u16>,
    ) -> Result<()> {
        self.close(name, tag, initiator.map_or("*", Name::as_str), wait)
    }

    /// The same for the session with that number.
    pub fn close_session(&self, name: &Name, tag: u16, id: u32, wait: Option<u16>) -> Result<()> {
        self.close(name, tag, &format!("#{id}"), wait)
    }

    fn close(&self, name: &Name, tag: u16, who: &str, wait: Option<u16>) -> Result<()> {
        let path = layout::tpg(name, tag).join("close_sessions");
        let text = match wait {
            Some(seconds) => format!("{who} {seconds}"),
            None => who.to_string(),
        };
        match self.tree.write(&path, &text) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(self.failed(&path, error))
            }
            Err(error) => Err(Error::Refused {
                action: format!("close the sessions of {who} with TPG {tag} of {name}"),
                source: error,
                log: Vec::new(),
                hint: Some("`ferritectl session list` shows who is logged in now".into()),
            }),
        }
    }

    /// Takes all registrations and the reservation of a backstore away.
    pub fn clear_reservation(&self, id: &BackstoreId) -> Result<()> {
        let path = layout::reservation(id).join("clear");
        match self.tree.write(&path, "1") {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(self.failed(&path, error))
            }
            Err(error) => Err(Error::Refused {
                action: format!("clear the reservation of backstore {id}"),
                source: error,
                log: Vec::new(),
                hint: Some("the kernel log says why".into()),
            }),
        }
    }

    /// All initiators that are logged in to a TPG.
    pub fn logged_in(&self, name: &Name, tag: u16) -> Result<Vec<Name>> {
        let mut logged_in = self.dynamic_sessions(name, tag)?;
        for initiator in self.initiators(name, tag)? {
            if !self.sessions(name, tag, &initiator)?.is_empty() {
                logged_in.push(initiator);
            }
        }
        logged_in.sort();
        logged_in.dedup();
        Ok(logged_in)
    }
}

/// The text of an attribute without the newline that every show function adds.
fn trim(text: &str) -> String {
    text.trim_end_matches(['\n', '\0']).to_string()
}

/// ALUA's state on the way to another one, as its attribute has it.
const TRANSITIONING: &str = "15";

/// The value of an attribute that the kernel shows in other words than it takes.
fn clean(path: &Path, value: String) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let number = match (file.as_ref(), value.as_str()) {
        ("vpd_unit_serial", _) => {
            return match value.split_once(':') {
                Some((_, serial)) => serial.trim().to_string(),
                None => value,
            };
        }
        ("alua_tg_pt_gp", _) => {
            let first = value.lines().next().unwrap_or_default();
            return match first.split_once(':') {
                Some((_, group)) => group.trim().to_string(),
                None => value,
            };
        }
        ("alua_access_type" | "alua_access_status", "None") => "0",
        ("alua_access_type", "Implicit") => "1",
        ("alua_access_type", "Explicit") => "2",
        ("alua_access_type", "Implicit and Explicit") => "3",
        ("alua_access_status", "Altered by Explicit STPG") => "1",
        ("alua_access_status", "Altered by Implicit ALUA") => "2",
        _ => return value,
    };
    number.to_string()
}

/// The value of an attribute as [`Configfs::settings`] would show it.
pub fn shown(path: &Path, text: &str) -> String {
    clean(path, trim(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_log_keeps_the_messages() {
        let text = "6,1,2,-;ferrite: param MaxBurstLength: 3 is below 512\n SUBSYSTEM=x\n\
                    4,2,3,-;other\n";
        assert_eq!(
            parse_kmsg(text),
            ["ferrite: param MaxBurstLength: 3 is below 512", "other"]
        );
    }

    #[test]
    fn kernel_log_prefers_our_lines_and_starts_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kmsg");
        fs::write(&path, "6,1,2,-;ferrite: old\n").unwrap();
        let mut log = KernelLog::open(&path);
        assert!(log.take().is_empty());
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("6,2,3,-;noise\n6,3,4,-;ferrite: rule\n");
        assert_eq!(log.take(), ["ferrite: rule"]);
        append("6,4,5,-;a\n6,5,6,-;b\n6,6,7,-;c\n6,7,8,-;d\n");
        assert_eq!(log.take(), ["b", "c", "d"]);
        assert!(KernelLog::open(&dir.path().join("none")).take().is_empty());
    }

    #[test]
    fn serial_loses_its_title() {
        let path = Path::new("core/iblock_0/a/wwn/vpd_unit_serial");
        assert_eq!(shown(path, "T10 VPD Unit Serial Number: ab-1\n"), "ab-1");
        assert_eq!(shown(path, "T10 VPD Unit Serial Number: \n"), "");
        assert_eq!(shown(Path::new("wwn/revision"), "4.0: x\n"), "4.0: x");
    }

    #[test]
    fn alua_is_read_as_it_is_written() {
        let path = Path::new("iscsi/t/tpgt_1/lun/lun_0/alua_tg_pt_gp");
        let text = "TG Port Alias: second\nTG Port Group ID: 16\n";
        assert_eq!(shown(path, text), "second");
        assert_eq!(shown(path, ""), "");
        let path = Path::new("core/iblock_0/a/alua/g/alua_access_type");
        assert_eq!(shown(path, "Implicit and Explicit\n"), "3");
        assert_eq!(shown(path, "None\n"), "0");
        let path = Path::new("core/iblock_0/a/alua/g/alua_access_status");
        assert_eq!(shown(path, "Altered by Explicit STPG\n"), "1");
    }

    #[test]
    fn default_root_asks_the_module() {
        let sys = tempfile::tempdir().unwrap();
        let say = |r: Result<PathBuf>| r.unwrap_err();
        assert!(say(default_root(sys.path()))
            .to_string()
            .contains("not loaded"));
        let parameters = sys.path().join("module/ferrite/parameters");
        fs::create_dir_all(&parameters).unwrap();
        assert!(say(default_root(sys.path()))
            .hint()
            .unwrap()
            .contains("mount"));
        fs::create_dir_all(sys.path().join("kernel/config/target")).unwrap();
        fs::write(parameters.join("configfs_root"), "target\n").unwrap();
        assert!(default_root(sys.path())
            .unwrap()
            .ends_with("kernel/config/target"));
        fs::create_dir_all(sys.path().join("kernel/config/ferrite")).unwrap();
        assert!(default_root(sys.path())
            .unwrap()
            .ends_with("kernel/config/ferrite"));
    }

    #[test]
    fn lock_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let held = lock(dir.path(), &run).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&run), mode(&run.join("lock"))), (0o700, 0o600));
        let other = fs::File::open(run.join("lock")).unwrap();
        let again = rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(again, Err(rustix::io::Errno::WOULDBLOCK));
        drop(held);
        rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
        // What everybody may open holds up nobody.
        let root = fs::File::open(dir.path()).unwrap();
        rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive).unwrap();
        rustix::fs::flock(&other, FlockOperation::Unlock).unwrap();
        lock(dir.path(), &run).unwrap();
    }
}
