// SPDX-License-Identifier: GPL-2.0

//! The stand-in for configfs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use ferritectl::configfs::KernelTree;
use ferritectl::configfs::Kind;
use ferritectl::configfs::Tree;

const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const EACCES: i32 = 13;
const ENOENT: i32 = 2;
const ENOTEMPTY: i32 = 39;
const EPERM: i32 = 1;

/// What the stand-in remembers and how it misbehaves.
pub struct Rules {
    kmsg: PathBuf,
    /// Made by `mkdir`, so that `rmdir` may take it away again.
    made: BTreeSet<PathBuf>,
    /// `control` of each backstore.
    control: BTreeMap<PathBuf, BTreeMap<String, String>>,
    /// What the next operations on paths with these ends fail with.
    pub failures: Vec<(&'static str, String, i32)>,
    /// A signal arrives while the first operation on a path with this end is done.
    pub signal: Option<(&'static str, String, Arc<AtomicBool>)>,
    /// Secrets are not shown, as in a kernel with `password_set`.
    pub hide_secrets: bool,
    /// Devices can be replaced while they are in use.
    pub replaces: bool,
    /// I/O on the disks of backstores that are removed never ends.
    pub hangs: bool,
    /// What was done, in order.
    pub journal: Vec<String>,
    /// How many attributes were read.
    pub reads: usize,
}

impl Rules {
    pub fn new(kmsg: PathBuf) -> Self {
        Rules {
            kmsg,
            made: BTreeSet::new(),
            control: BTreeMap::new(),
            failures: Vec::new(),
            signal: None,
            hide_secrets: false,
            replaces: false,
            hangs: false,
            journal: Vec::new(),
            reads: 0,
        }
    }

    /// Lets every operation of a kind on a path with some end fail.
    pub fn fail(&mut self, operation: &'static str, end: &str, errno: i32) {
        self.failures.push((operation, end.to_string(), errno));
    }
}

pub struct Fake {
    inner: KernelTree,
    root: PathBuf,
    rules: Rc<RefCell<Rules>>,
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// An object by the shape of its path.
#[derive(Debug, PartialEq)]
enum Shape {
    Hba,
    Backstore,
    Group,
    Fabric,
    Target,
    Tpg,
    Portal,
    Lun,
    Acl,
    MappedLun,
}

fn parts(path: &Path) -> Vec<String> {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect()
}

fn shape(path: &Path) -> Option<Shape> {
    let parts = parts(path);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Some(match parts.as_slice() {
        ["core", hba] if hba.contains('_') => Shape::Hba,
        ["core", _, _] => Shape::Backstore,
        ["core", _, _, "alua", _] => Shape::Group,
        ["iscsi"] => Shape::Fabric,
        ["iscsi", name] if name.starts_with("iqn.") => Shape::Target,
        ["iscsi", _, tpg] if tpg.starts_with("tpgt_") => Shape::Tpg,
        ["iscsi", _, _, "np", _] => Shape::Portal,
        ["iscsi", _, _, "lun", lun] if lun.starts_with("lun_") => Shape::Lun,
        ["iscsi", _, _, "acls", _] => Shape::Acl,
        ["iscsi", _, _, "acls", _, lun] if lun.starts_with("lun_") => Shape::MappedLun,
        _ => return None,
    })
}

const AUTH: &[(&str, u32, &str)] = &[
    ("authenticate_target", 0o444, "0"),
    ("password", 0o644, ""),
    ("password_mutual", 0o644, ""),
    ("userid", 0o644, ""),
    ("userid_mutual", 0o644, ""),
];

/// The default group has its identifier from the beginning.
const GROUP: &[(&str, u32, &str)] = &[
    ("alua_access_state", 0o644, "0"),
    ("alua_access_status", 0o644, "None"),
    ("alua_access_type", 0o644, "Implicit and Explicit"),
    ("alua_support_standby", 0o644, "1"),
    ("members", 0o444, ""),
    ("nonop_delay_msecs", 0o644, "0"),
    ("preferred", 0o644, "0"),
    ("tg_pt_gp_id", 0o644, ""),
];

impl Fake {
    pub fn new(root: PathBuf, rules: Rc<RefCell<Rules>>) -> Self {
        Fake {
            inner: KernelTree::new(&root),
            root,
            rules,
        }
    }

    /// What is there once the module is loaded.
    pub fn boot(&self) {
        self.group("core/alua/lu_gps", &[]);
        self.group(
            "",
            &[("version", 0o444, "Target Engine Core ConfigFS v5.0")],
        );
    }

    fn group(&self, dir: &str, files: &[(&str, u32, &str)]) {
        let dir = self.root.join(dir);
        fs::create_dir_all(&dir).unwrap();
        for (name, mode, value) in files {
            let path = dir.join(name);
            let newline = if value.is_empty() && *mode != 0o200 {
                "\n"
            } else {
                ""
            };
            let text = if *mode == 0o200 || name == &"tag" {
                String::new()
            } else if value.is_empty() {
                newline.to_string()
            } else {
                format!("{value}\n")
            };
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }

    fn fails(&self, operation: &str, path: &Path) -> io::Result<()> {
        let text = path.display().to_string();
        let mut rules = self.rules.borrow_mut();
        // Reading does nothing.
        if operation != "readlink" {
            rules.journal.push(format!("{operation} {text}"));
        }
        if let Some((signal, end, flag)) = &rules.signal {
            if *signal == operation && text.ends_with(end.as_str()) {
                flag.store(true, Ordering::Relaxed);
            }
        }
        let failure = rules
            .failures
            .iter()
            .find(|(op, end, _)| *op == operation && text.ends_with(end.as_str()))
            .map(|failure| failure.2);
        match failure {
            Some(number) => Err(errno(number)),
            None => Ok(()),
        }
    }

    fn log(&self, message: &str) {
        let kmsg = self.rules.borrow().kmsg.clone();
        let mut file = fs::OpenOptions::new().append(true).open(kmsg).unwrap();
        writeln!(file, "3,1,1,-;ferrite: {message}").unwrap();
    }

    fn raw(&self, path: &Path) -> String {
        fs::read_to_string(self.root.join(path))
            .unwrap_or_default()
            .trim_end()
            .to_string()
    }

    /// Links anywhere below that lead to `path`.
    fn is_referred_to(&self, path: &Path) -> bool {
        fn search(dir: &Path, wanted: &Path) -> bool {
            fs::read_dir(dir).unwrap().any(|entry| {
                let entry = entry.unwrap();
                let file_type = entry.file_type().unwrap();
                if file_type.is_symlink() {
                    fs::read_link(entry.path()).unwrap() == wanted
                } else {
                    file_type.is_dir() && search(&entry.path(), wanted)
                }
            })
        }
        search(&self.root, &self.root.join(path))
    }

    fn make_auth(&self, dir: &str) {
        self.group(dir, AUTH);
        if self.rules.borrow().hide_secrets {
            self.group(
                dir,
                &[
                    ("password_mutual_set", 0o444, "0"),
                    ("password_set", 0o444, "0"),
                ],
            );
        }
    }

    fn make_files(&self, shape: Shape, path: &Path) {
        let dir = path.display().to_string();
        let sub = |name: &str| format!("{dir}/{name}");
        match shape {
            Shape::Hba => self.group(
                &dir,
                &[
                    ("hba_info", 0o444, "HBA Index: 1 plugin: iblock"),
                    ("hba_mode", 0o644, "0"),
                ],
            ),
            Shape::Backstore => {
                self.group(
                    &dir,
                    &[
                        ("alias", 0o644, ""),
                        ("control", 0o200, ""),
                        ("enable", 0o644, "0"),
                        (
                            "info",
                            0o444,
                            "Status: DEACTIVATED  SectorSize: 0\n        Major: 0 Minor: 0",
                        ),
                        ("lba_map", 0o644, ""),
                        ("udev_path", 0o644, ""),
                    ],
                );
                if self.rules.borrow().replaces {
                    self.group(&dir, &[("replace", 0o200, "")]);
                }
                self.group(
                    &sub("pr"),
                    &[
                        ("clear", 0o200, ""),
                        ("registrants", 0o444, "0"),
                        ("registrations", 0o444, ""),
                        ("res_aptpl_active", 0o444, "APTPL Bit Status: Disabled"),
                        ("res_aptpl_metadata", 0o444, "/var/lib/ferrite/pr/aptpl_1"),
                        ("res_pr_generation", 0o444, "0x00000000"),
                        ("res_pr_type", 0o444, "No SPC-3 Reservation holder"),
                    ],
                );
                self.group(
                    &sub("attrib"),
                    &[
                        ("block_size", 0o644, "512"),
                        ("emulate_caw", 0o644, "1"),
                        ("emulate_tpu", 0o644, "0"),
                        ("hw_block_size", 0o444, "512"),
                        ("write_through", 0o644, "0"),
                    ],
                );
                self.group(
                    &sub("wwn"),
                    &[
                        ("company_id", 0o644, "0x001405"),
                        ("product_id", 0o644, "IBLOCK"),
                        ("revision", 0o644, "4.0"),
                        ("vendor_id", 0o644, "LIO-ORG"),
                        ("vpd_assoc_logical_unit", 0o444, ""),
                        ("vpd_unit_serial", 0o644, "T10 VPD Unit Serial Number: "),
                    ],
                );
                self.group(
                    &sub("pr"),
                    &[("res_holder", 0o444, "No SPC-3 Reservation holder")],
                );
                self.group(&sub("alua/default_tg_pt_gp"), GROUP);
                self.set(&path.join("alua/default_tg_pt_gp/tg_pt_gp_id"), "0")
                    .unwrap();
            }
            Shape::Group => self.group(&dir, GROUP),
            Shape::Fabric => {
                self.group(&dir, &[("lio_version", 0o444, "iSCSI Target v4.1.0")]);
                self.make_auth(&sub("discovery_auth"));
                self.group(
                    &sub("discovery_auth"),
                    &[
                        ("chap_algorithms", 0o644, "SHA256"),
                        ("enforce_discovery_auth", 0o644, "0"),
                    ],
                );
            }
            Shape::Target => {
                self.group(&sub("param"), &[("cmd_completion_affinity", 0o644, "0")]);
                self.group(&sub("fabric_statistics"), &[]);
            }
            Shape::Tpg => {
                self.group(
                    &dir,
                    &[
                        ("close_sessions", 0o200, ""),
                        ("dynamic_sessions", 0o444, ""),
                        ("enable", 0o644, "0"),
                        ("rtpi", 0o644, "0x0"),
                    ],
                );
                self.group(
                    &sub("attrib"),
                    &[
                        ("authentication", 0o644, "1"),
                        ("chap_algorithms", 0o644, "SHA3-256,SHA256,SHA1"),
                        ("default_cmdsn_depth", 0o644, "128"),
                        ("demo_mode_write_protect", 0o644, "1"),
                        ("generate_node_acls", 0o644, "0"),
                        ("login_timeout", 0o644, "15"),
                        ("prod_mode_write_protect", 0o644, "0"),
                    ],
                );
                self.group(
                    &sub("param"),
                    &[
                        ("AuthMethod", 0o644, "CHAP"),
                        ("FirstBurstLength", 0o644, "65536"),
                        ("ImmediateData", 0o644, "Yes"),
                        ("MaxBurstLength", 0o644, "262144"),
                        ("TargetAlias", 0o644, "Ferrite"),
                    ],
                );
                self.make_auth(&sub("auth"));
                for group in ["np", "lun", "acls"] {
                    self.group(&sub(group), &[]);
                }
            }
            Shape::Portal => {
                self.group(
                    &dir,
                    &[
                        ("cxgbit", 0o644, "0"),
                        ("iser", 0o644, "0"),
                        ("redirect", 0o644, "none"),
                    ],
                );
                let counters = "sessions 2\nlogins 3\nlogins_refused 1\nreads 7\n";
                self.group(&sub("statistics"), &[("counters", 0o444, counters)]);
            }
            Shape::Lun => {
                self.group(
                    &dir,
                    &[
                        ("alua_tg_pt_gp", 0o644, ""),
                        ("alua_tg_pt_offline", 0o644, "0"),
                        ("alua_tg_pt_status", 0o644, "0"),
                    ],
                );
                self.group(
                    &sub("attrib"),
                    &[
                        ("max_bytes_per_second", 0o644, "0"),
                        ("max_iops", 0o644, "0"),
                    ],
                );
                self.group(&sub("statistics/scsi_port"), &[("inst", 0o444, "0")]);
            }
            Shape::Acl => {
                let none = "No active iSCSI Session for Initiator Endpoint: x";
                self.group(
                    &dir,
                    &[
                        ("cmdsn_depth", 0o644, "128"),
                        ("info", 0o444, none),
                        ("tag", 0o644, ""),
                    ],
                );
                self.group(
                    &sub("attrib"),
                    &[
                        ("authentication", 0o644, "-1"),
                        ("members", 0o644, "none"),
                        ("nopin_timeout", 0o644, "15"),
                    ],
                );
                self.make_auth(&sub("auth"));
                self.group(
                    &sub("param"),
                    &[("MaxBurstLength", 0o444, "No Active iSCSI Session")],
                );
            }
            Shape::MappedLun => {
                self.group(&dir, &[("write_protect", 0o644, "")]);
                self.group(&sub("statistics"), &[]);
            }
        }
    }

    /// The LUNs of a group that goes are in the default one.
    fn leave(&self, group: &Path) -> io::Result<()> {
        let name = group.file_name().unwrap().to_string_lossy().into_owned();
        let store = self.root.join(group.parent().unwrap().parent().unwrap());
        let made = self.rules.borrow().made.clone();
        for lun in made.iter().filter(|dir| shape(dir) == Some(Shape::Lun)) {
            let here = self.entries(lun)?.iter().any(|(link, kind)| {
                *kind == Kind::Link
                    && fs::read_link(self.root.join(lun.join(link))).unwrap() == store
            });
            let path = lun.join("alua_tg_pt_gp");
            let alias = format!("TG Port Alias: {name}\n");
            if here && self.raw(&path).starts_with(&alias) {
                self.store(&path, "default_tg_pt_gp")?;
            }
        }
        Ok(())
    }

    fn set(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::write(self.root.join(path), format!("{text}\n"))
    }

    fn store(&self, path: &Path, text: &str) -> io::Result<()> {
        let dir = path.parent().unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let group = dir.file_name().unwrap().to_string_lossy().into_owned();
        let bad = |rule: &str| {
            self.log(&format!("{name} {text:?}: {rule}"));
            Err(errno(EINVAL))
        };
        let text = text.trim_end_matches('\n');
        match (shape(dir), group.as_str(), name.as_str()) {
            (Some(Shape::Backstore), _, "control") => {
                let (key, value) = text.split_once('=').unwrap();
                let mut rules = self.rules.borrow_mut();
                let control = rules.control.entry(dir.to_path_buf()).or_default();
                control.insert(key.into(), value.into());
                Ok(())
            }
            (Some(Shape::Backstore), _, "enable") => {
                let control = self.rules.borrow().control[dir].clone();
                let device = control["udev_path"].clone();
                if text != "1" {
                    return bad("only 1 can be written");
                }
                if fs::metadata(&device).is_err() {
                    return Err(errno(ENOENT));
                }
                let held = self.rules.borrow().control.iter().any(|(other, control)| {
                    control.get("udev_path") == Some(&device)
                        && other != dir
                        && self.raw(&other.join("enable")) == "1"
                });
                if held {
                    return Err(errno(EBUSY));
                }
                let info = format!(
                    "Status: DEACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 8\n        \
                     iBlock device: fake  UDEV PATH: {device}  readonly: {}\n  exclusive: {}\n        \
                     Major: 8 Minor: 0  CLAIMED: IBLOCK",
                    control["readonly"], control["exclusive"]
                );
                self.set(&dir.join("info"), &info)?;
                self.set(path, "1")
            }
            (Some(Shape::Backstore), _, "replace") => {
                if fs::metadata(text).is_err() {
                    return Err(errno(ENOENT));
                }
                let held = self.rules.borrow().control.iter().any(|(other, control)| {
                    control.get("udev_path").is_some_and(|path| path == text)
                        && self.raw(&other.join("enable")) == "1"
                });
                if held {
                    return Err(errno(EBUSY));
                }
                let mut rules = self.rules.borrow_mut();
                let control = rules.control.get_mut(dir).unwrap();
                let old = control.insert("udev_path".into(), text.into()).unwrap();
                let info = self.raw(&dir.join("info")).replace(&old, text);
                self.set(&dir.join("info"), &info)?;
                self.set(&dir.join("udev_path"), text)
            }
            (Some(Shape::Backstore), _, "lba_map") => match text {
                "" => bad("needs a line for each segment; NULL alone removes the map"),
                "NULL" => self.set(path, ""),
                map => self.set(path, &map.replace("; ", "\n")),
            },
            (Some(Shape::Group), _, "tg_pt_gp_id") => {
                let old = self.raw(path);
                let siblings = fs::read_dir(self.root.join(dir.parent().unwrap())).unwrap();
                let taken = siblings
                    .map(|entry| self.raw(&entry.unwrap().path().join("tg_pt_gp_id")))
                    .any(|other| other == text);
                match text.parse::<u16>() {
                    Err(_) => bad("0 to 65535 is needed"),
                    Ok(_) if old == text => Ok(()),
                    Ok(_) if !old.is_empty() => Err(errno(EBUSY)),
                    Ok(_) if taken => Err(errno(EEXIST)),
                    Ok(_) => self.set(path, text),
                }
            }
            (Some(Shape::Group), _, "alua_access_state") => {
                let implicit = self
                    .raw(&dir.join("alua_access_type"))
                    .starts_with("Implicit");
                let standby = self.raw(&dir.join("alua_support_standby")) == "1";
                match text {
                    _ if self.raw(&dir.join("tg_pt_gp_id")).is_empty() => Err(errno(ENODEV)),
                    _ if !implicit => bad("alua_access_type does not let the target change it"),
                    "2" if !standby => bad("the group does not support this state"),
                    "0" | "1" | "2" | "3" | "14" | "15" => self.set(path, text),
                    _ => bad("must be 0, 1, 2, 3, 14 or 15"),
                }
            }
            (Some(Shape::Group), _, "alua_access_type") => match text {
                "0" => self.set(path, "None"),
                "1" => self.set(path, "Implicit"),
                "2" => self.set(path, "Explicit"),
                "3" => self.set(path, "Implicit and Explicit"),
                _ => bad("0 to 3 is needed"),
            },
            (Some(Shape::Lun), _, "alua_tg_pt_gp") => {
                let entries = self.entries(dir)?;
                let link = entries.iter().find(|(_, kind)| *kind == Kind::Link);
                let Some((link, _)) = link else {
                    return Err(errno(ENODEV));
                };
                let store = fs::read_link(self.root.join(dir.join(link)))?;
                let group = store.join("alua").join(text);
                if self.raw(&group.join("tg_pt_gp_id")).is_empty() {
                    return Err(errno(ENOENT));
                }
                self.set(path, &format!("TG Port Alias: {text}\nTG Port Group ID: 1"))
            }
            (_, "wwn", _) => {
                if self.is_referred_to(dir.parent().unwrap()) {
                    return bad("it is exported");
                }
                if name == "vpd_unit_serial" {
                    return self.set(path, &format!("T10 VPD Unit Serial Number: {text}"));
                }
                self.set(path, text)
            }
            (
                _,
                "auth" | "discovery_auth",
                "userid" | "password" | "userid_mutual" | "password_mutual",
            ) => {
                // Trailing newlines would become a part of a secret.
                assert!(!text.is_empty(), "an empty store into {name}");
                self.set(path, text)
            }
            (_, "attrib", "chap_algorithms" | "members") => self.set(path, text),
            (_, "attrib", "block_size") if text != "512" && text != "4096" => {
                bad("512 or 4096 is needed")
            }
            (_, "attrib", _) => match text.parse::<i64>() {
                Ok(_) => self.set(path, text),
                Err(_) => bad("a number is needed"),
            },
            (_, "param", "ImmediateData") if text != "Yes" && text != "No" => {
                bad("Yes or No is needed")
            }
            (_, "param", "FirstBurstLength") => {
                let most: u32 = self.raw(&dir.join("MaxBurstLength")).parse().unwrap();
                match text.parse::<u32>() {
                    Ok(first) if (512..=most).contains(&first) => self.set(path, text),
                    _ => bad("512 to MaxBurstLength is needed"),
                }
            }
            (_, "param", "MaxBurstLength") => match text.parse::<u32>() {
                Ok(512..=16777215) => self.set(path, text),
                _ => bad("512 to 16777215 is needed"),
            },
            (Some(Shape::Tpg), _, "rtpi") => {
                if self.raw(&dir.join("enable")) == "1" {
                    return bad("it cannot change while the TPG is enabled");
                }
                match text.parse::<u16>() {
                    Ok(number) if number > 0 => self.set(path, &format!("{number:#x}")),
                    _ => bad("1 to 65535 is needed"),
                }
            }
            (Some(Shape::Tpg), _, "enable") => {
                if self.raw(&dir.join("rtpi")) == "0x0" && text == "1" {
                    self.set(&dir.join("rtpi"), "0x1")?;
                }
                self.set(path, text)
            }
            (Some(Shape::Acl), _, "cmdsn_depth") => match text.parse::<u32>() {
                Ok(1..=512) => self.set(path, text),
                _ => bad("1 to 512 is needed"),
            },
            (Some(Shape::Acl), _, "tag") => {
                let tag = if text == "NULL" { "" } else { text };
                fs::write(self.root.join(path), tag)
            }
            (Some(Shape::MappedLun), _, "write_protect") => {
                // As in LIO: without the link there is nothing to protect.
                if self.raw(path).is_empty() {
                    return Ok(());
                }
                self.set(path, text)
            }
            _ => self.set(path, text),
        }
    }
}

impl Tree for Fake {
    fn root(&self) -> &Path {
        self.inner.root()
    }

    fn entries(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>> {
        self.inner.entries(dir)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.inner.kind(path)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.rules.borrow_mut().reads += 1;
        let text = self.inner.read(path)?;
        if self.rules.borrow().hide_secrets && path.to_string_lossy().contains("/password") {
            let name = path.file_name().unwrap().to_string_lossy();
            let Some(secret) = name.strip_suffix("_set") else {
                return Ok("\n".into());
            };
            let value = self.raw(&path.with_file_name(secret));
            let set = !value.is_empty() && value != "NULL";
            return Ok(format!("{}\n", u8::from(set)));
        }
        Ok(text)
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        self.fails("readlink", path)?;
        // The kernel shows a way up to the mount point and down again.
        let target = self.inner.link_target(path)?;
        let inside = target.strip_prefix(&self.root).unwrap();
        Ok(Path::new("../../../../../..").join("ferrite").join(inside))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        self.fails("write", path)?;
        match self.inner.kind(path)? {
            Some(Kind::File { writable: true, .. }) => self.store(path, text),
            Some(Kind::File { .. }) => Err(errno(EACCES)),
            _ => Err(errno(ENOENT)),
        }
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.fails("mkdir", path)?;
        let Some(shape) = shape(path) else {
            return Err(errno(EPERM));
        };
        self.inner.make_dir(path)?;
        self.make_files(shape, path);
        self.rules.borrow_mut().made.insert(path.to_path_buf());
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.fails("rmdir", path)?;
        if !self.rules.borrow().made.contains(path) {
            return Err(errno(EPERM));
        }
        let inside = |other: &PathBuf| other != path && other.starts_with(path);
        if self.rules.borrow().made.iter().any(inside) {
            return Err(errno(ENOTEMPTY));
        }
        let has_link = self
            .inner
            .entries(path)?
            .iter()
            .any(|(_, kind)| *kind == Kind::Link);
        if has_link {
            return Err(errno(ENOTEMPTY));
        }
        if self.is_referred_to(path) {
            return Err(errno(EBUSY));
        }
        if shape(path) == Some(Shape::Group) {
            self.leave(path)?;
        }
        fs::remove_dir_all(self.root.join(path))?;
        self.rules.borrow_mut().made.remove(path);
        if shape(path) == Some(Shape::Backstore) && self.rules.borrow().hangs {
            fs::write(self.root.join("closing"), "1 253:7\n")?;
        }
        Ok(())
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.fails("ln", path)?;
        let dir = path.parent().unwrap();
        match (shape(dir), shape(to)) {
            (Some(Shape::Lun), Some(Shape::Backstore)) => {
                if self.raw(&to.join("enable")) != "1" {
                    return Err(errno(ENODEV));
                }
            }
            (Some(Shape::MappedLun), Some(Shape::Lun)) => {
                assert_eq!(parts(path)[..3], parts(to)[..3], "another TPG");
            }
            _ => return Err(errno(EPERM)),
        }
        let entries = self.inner.entries(dir)?;
        if entries.iter().any(|(_, kind)| *kind == Kind::Link) {
            return Err(errno(EEXIST));
        }
        self.inner.make_link(path, to)?;
        match shape(dir) {
            Some(Shape::MappedLun) => self.set(&dir.join("write_protect"), "0"),
            _ => {
                self.store(&dir.join("alua_tg_pt_gp"), "default_tg_pt_gp")?;
                let info = self.raw(&to.join("info"));
                let info = info.replace("DEACTIVATED", "ACTIVATED");
                self.set(&to.join("info"), &info)
            }
        }
    }

    fn remove_link(&self, path: &Path) -> io::Result<()> {
        self.fails("unlink", path)?;
        self.inner.remove_link(path)?;
        let dir = path.parent().unwrap();
        if shape(dir) == Some(Shape::MappedLun) {
            fs::write(self.root.join(dir.join("write_protect")), "\n")?;
        }
        Ok(())
    }
}
