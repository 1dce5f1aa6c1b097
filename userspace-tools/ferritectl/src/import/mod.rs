// SPDX-License-Identifier: GPL-2.0

//! Configurations of other targets, read into ours.
//!
//! Each format has a file here, which fills a [`Reader`]. What a file says and Ferrite cannot
//! do is not dropped silently but told, a line each. What would let more initiators in than
//! before is not carried over at all. A secret never becomes part of a message.

mod comstar;
mod iet;
mod lio;
mod scst;
mod tgt;

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;

use crate::error::Error;
use crate::error::Result;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Portal;
use crate::secret::Secret;
use crate::state::Acl;
use crate::state::Auth;
use crate::state::Backstore;
use crate::state::Configuration;
use crate::state::Credentials;
use crate::state::MappedLun;
use crate::state::Tpg;

/// Whose configuration a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// LIO: saveconfig.json of targetcli
    Lio,
    /// tgt: targets.conf, or what `tgt-admin --dump` prints
    Tgt,
    /// IET: ietd.conf
    Iet,
    /// SCST: scst.conf
    Scst,
    /// COMSTAR: what stmfadm and itadm list
    Comstar,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Lio => "LIO",
            Format::Tgt => "tgt",
            Format::Iet => "IET",
            Format::Scst => "SCST",
            Format::Comstar => "COMSTAR",
        })
    }
}

/// What a file came to.
#[derive(Debug)]
pub struct Imported {
    /// Whose it was.
    pub format: Format,
    /// The same, as far as it can be said here.
    pub configuration: Configuration,
    /// What it had besides: a line each, with file, line and reason.
    pub left: Vec<String>,
}

/// Reads a file's text; what kind it is shows by its look, unless `format` says so.
pub fn read(path: &Path, text: &str, format: Option<Format>) -> Result<Imported> {
    let format = match format.or_else(|| detect(text)) {
        Some(format) => format,
        None => {
            return Err(Error::BadFile {
                path: path.to_path_buf(),
                reason: "it looks like none of LIO's saveconfig.json, tgt's targets.conf, IET's \
                         ietd.conf, SCST's scst.conf and the lists of COMSTAR's tools; say with \
                         --from which one it is"
                    .into(),
            })
        }
    };
    let mut reader = Reader {
        file: Rc::from(path),
        configuration: Configuration::default(),
        left: Vec::new(),
        chap: None,
    };
    match format {
        Format::Lio => lio::read(&mut reader, text)?,
        Format::Tgt => tgt::read(&mut reader, text)?,
        Format::Iet => iet::read(&mut reader, text)?,
        Format::Scst => scst::read(&mut reader, text)?,
        Format::Comstar => comstar::read(&mut reader, text)?,
    }
    if let Some(at) = reader.chap.take() {
        reader.leave(
            &at,
            "CHAP by MD5",
            "it is refused unless `chap_algorithms` of the portal group has MD5, too; open-iscsi \
             offers others by node.session.auth.chap_algs",
        );
    }
    let Reader {
        configuration,
        left,
        ..
    } = reader;
    configuration.check().map_err(|reason| Error::BadFile {
        path: path.to_path_buf(),
        reason,
    })?;
    Ok(Imported {
        format,
        configuration,
        left,
    })
}

/// What kind of file it is, by its first lines that say something.
fn detect(text: &str) -> Option<Format> {
    if text.trim_start().starts_with('{') {
        return Some(Format::Lio);
    }
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let lower = line.to_ascii_lowercase();
        let titles = [
            "lu name:",
            "target name ",
            "target portal group ",
            "initiator name ",
        ];
        if titles.iter().any(|title| lower.starts_with(title)) {
            return Some(Format::Comstar);
        }
        let mut words = lower.split_whitespace();
        match words.next().unwrap_or_default() {
            "<target" | "include" | "default-driver" => return Some(Format::Tgt),
            "handler" | "target_driver" | "device_group" | "setup_id" => return Some(Format::Scst),
            "target" if words.next().is_some() && words.next().is_none() => {
                return Some(Format::Iet)
            }
            _ => {}
        }
    }
    None
}

/// A place in a file.
#[derive(Clone, Debug)]
struct At {
    file: Rc<Path>,
    line: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl At {
    /// A line that breaks a rule.
    fn bad(&self, reason: impl fmt::Display) -> Error {
        Error::BadFile {
            path: self.file.to_path_buf(),
            reason: format!("line {}: {reason}", self.line),
        }
    }

    /// A value that breaks a rule. Not for what may be a secret.
    fn bad_value(&self, what: &str, value: &str, rule: &str) -> Error {
        self.bad(Error::value(what, value, rule))
    }

    fn check<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.bad(error))
    }
}

/// What has been read so far.
struct Reader {
    file: Rc<Path>,
    configuration: Configuration,
    left: Vec<String>,
    /// Where the first CHAP secret is.
    chap: Option<At>,
}

/// How a disk was known to initiators.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Identity {
    serial: Option<String>,
    vendor: Option<String>,
    product: Option<String>,
    revision: Option<String>,
    naa_id: Option<String>,
    eui64_id: Option<String>,
    t10_id: Option<String>,
}

impl Identity {
    /// The files of `wwn/`.
    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        [
            ("vpd_unit_serial", &self.serial),
            ("vendor_id", &self.vendor),
            ("product_id", &self.product),
            ("revision", &self.revision),
            ("naa_id", &self.naa_id),
            ("eui64_id", &self.eui64_id),
            ("t10_id", &self.t10_id),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

/// The most bytes that an identification file takes.
fn most(file: &str) -> usize {
    match file {
        "vpd_unit_serial" => 253,
        "vendor_id" => 8,
        "product_id" => 16,
        "revision" => 4,
        _ => 4095,
    }
}

impl Reader {
    /// The place of a line of the file itself.
    fn at(&self, line: usize) -> At {
        At {
            file: self.file.clone(),
            line,
        }
    }

    /// Something that is not carried over.
    fn leave(&mut self, at: &At, what: impl fmt::Display, why: impl fmt::Display) {
        self.left.push(format!("{at}: {what}: {why}"));
    }

    /// Makes a backstore of a device, under a name like `like`, and gives its identifier.
    /// `None` if the path is no block device's.
    fn backstore(
        &mut self,
        at: &At,
        like: &str,
        path: &str,
        identity: &Identity,
    ) -> Result<Option<BackstoreId>> {
        if !is_device(path) {
            self.leave(
                at,
                format!("backing store {path:?}"),
                "not below /dev, and only block devices are exported: attach the file to a loop \
                 device (losetup) and export that",
            );
            return Ok(None);
        }
        at.check(names::check_device_path(path))?;
        let mut backstore = Backstore {
            path: path.to_string(),
            exclusive: true,
            enabled: true,
            ..Backstore::default()
        };
        for (name, value) in identity.files() {
            let printable = value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            if !printable || value.len() > most(name) {
                self.leave(
                    at,
                    format!("{name} {value:?}"),
                    format!("at most {} characters of ASCII are possible", most(name)),
                );
            } else if !value.is_empty() {
                backstore.wwn.0.insert(name.into(), value.clone());
            }
        }
        // Another name for initiators to know one device by: both have to open it.
        let mut shared = false;
        for other in self.configuration.backstores.values_mut() {
            if other.path == path {
                other.exclusive = false;
                shared = true;
            }
        }
        if shared {
            backstore.exclusive = false;
            self.leave(
                at,
                format!("device {path}"),
                "it is exported more than once under different identifiers: each is a disk of \
                 its own here, and reservations of one do not hold for the other",
            );
        }
        let name = self.free_name(like);
        let hba = u32::try_from(self.configuration.backstores.len()).unwrap_or(u32::MAX);
        let id = BackstoreId { hba, name };
        self.configuration.backstores.insert(id.clone(), backstore);
        Ok(Some(id))
    }

    /// A name that no backstore has.
    fn free_name(&self, like: &str) -> String {
        let mut name: String = like
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() && c != '/' {
                    c
                } else {
                    '_'
                }
            })
            .take(100)
            .collect();
        if name.is_empty() || name.starts_with('.') {
            name = format!("disk{name}");
        }
        let taken = |name: &str| {
            self.configuration
                .backstores
                .keys()
                .any(|id| id.name == name)
        };
        if !taken(&name) {
            return name;
        }
        (2..)
            .map(|number| format!("{name}-{number}"))
            .find(|name| !taken(name))
            .unwrap_or(name)
    }

    fn backstore_mut(&mut self, id: &BackstoreId) -> Option<&mut Backstore> {
        self.configuration.backstores.get_mut(id)
    }

    /// Says of a backstore what the other target did with its disk. A block size that is not said
    /// is the device's own.
    fn set_use(
        &mut self,
        id: &BackstoreId,
        read_only: bool,
        write_through: bool,
        block_size: Option<String>,
    ) {
        let Some(disk) = self.backstore_mut(id) else {
            return;
        };
        disk.read_only = read_only;
        if write_through {
            disk.attributes.0.insert("write_through".into(), "1".into());
        }
        if let Some(size) = block_size {
            disk.attributes.0.insert("block_size".into(), size);
        }
    }

    /// Takes a key of RFC 7143 section 13 over; false if it is none. What is as the other
    /// target has it by itself is left to our own defaults.
    fn parameter(&mut self, at: &At, tpg: &mut Tpg, key: &str, value: &str, default: &str) -> bool {
        let Some((name, rule)) = PARAMETERS.iter().find(|(n, _)| n.eq_ignore_ascii_case(key))
        else {
            return false;
        };
        let value = value.trim();
        if rule.same(value, default) {
            return true;
        }
        match rule.check(value) {
            Ok(Some(value)) => {
                tpg.parameters.0.insert(name.to_string(), value);
            }
            Ok(None) => {}
            Err(rule) => self.leave(at, format!("{name} {value:?}"), rule),
        }
        true
    }

    /// A CHAP name and a secret, or none if there is something wrong with them.
    fn credentials(&mut self, at: &At, what: &str, user: &str, secret: &str) -> Credentials {
        let secret = Secret::new(secret);
        let checked = names::check_user(user).and_then(|()| secret.check(true));
        if secret.expose() == "PLEASE_CORRECT_THE_PASSWORD" {
            self.leave(
                at,
                format!("{what} {user:?}"),
                "the file does not have the secret: nobody can log in until `chap` is added",
            );
            return Credentials::default();
        }
        if let Err(error) = checked {
            self.leave(at, format!("{what} {user:?}"), error);
            return Credentials::default();
        }
        self.chap.get_or_insert_with(|| at.clone());
        Credentials {
            user: Some(user.to_string()),
            secret: Some(secret),
            hidden: false,
        }
    }

    /// What the rules of both directions leave of credentials.
    fn both(&mut self, at: &At, initiator: Credentials, target: Credentials) -> Auth {
        let mut auth = Auth { initiator, target };
        if auth.target.secret.is_some() {
            let why = if auth.initiator.secret.is_none() {
                Some("a target proves itself only to initiators that do so, too")
            } else if auth.initiator.secret == auth.target.secret {
                Some("the two secrets must differ (RFC 7143 section 9.2.1)")
            } else {
                None
            };
            if let Some(why) = why {
                self.leave(at, "the target's own CHAP name and secret", why);
                auth.target = Credentials::default();
            }
        }
        auth
    }
}

/// Whether a path is a block device's, as far as it tells.
fn is_device(path: &str) -> bool {
    path.starts_with("/dev/")
}

/// Who has no entry of their own may log in, too, and write.
fn open_to_all(tpg: &mut Tpg) {
    for (name, value) in [
        ("generate_node_acls", "1"),
        ("demo_mode_write_protect", "0"),
    ] {
        tpg.attributes.0.insert(name.into(), value.into());
    }
}

/// Whether CHAP is demanded.
fn authentication(tpg: &mut Tpg, demanded: bool) {
    let value = if demanded { "1" } else { "0" };
    tpg.attributes
        .0
        .insert("authentication".into(), value.into());
}

/// Every address of IPv4, for a target whose file names none and that listened everywhere.
fn every_address(tpg: &mut Tpg) {
    if let Ok(portal) = Portal::parse("0.0.0.0") {
        tpg.portals.insert(portal, Default::default());
    }
}

/// What there is to say about [`every_address`], once for a file.
const NO_IPV6: &str =
    "the file names no address, so all of IPv4 are listened at, port 3260: add those of IPv6";

/// An entry that shows all LUNs of a portal group.
fn all_luns(tpg: &Tpg) -> Acl {
    let mapped = tpg.luns.keys().map(|lun| {
        let mapped = MappedLun {
            lun: *lun,
            ..MappedLun::default()
        };
        (*lun, mapped)
    });
    Acl {
        mapped_luns: mapped.collect(),
        ..Acl::default()
    }
}

/// What a parameter may be.
enum Rule {
    /// A list of `CRC32C` and `None`.
    Digest,
    /// Yes or No.
    YesNo,
    /// This and nothing else, which is the default, too.
    Only(&'static str),
    /// A number.
    Range(u64, u64),
    /// Some text.
    Text,
    /// It means nothing here.
    Nothing,
}

/// The parameters of a portal group, as the module takes them.
const PARAMETERS: &[(&str, Rule)] = &[
    ("HeaderDigest", Rule::Digest),
    ("DataDigest", Rule::Digest),
    ("MaxConnections", Rule::Range(1, 8)),
    ("TargetAlias", Rule::Text),
    ("InitialR2T", Rule::YesNo),
    ("ImmediateData", Rule::YesNo),
    ("MaxRecvDataSegmentLength", Rule::Range(512, 16_777_215)),
    ("MaxXmitDataSegmentLength", Rule::Range(512, 16_777_215)),
    ("MaxBurstLength", Rule::Range(512, 16_777_215)),
    ("FirstBurstLength", Rule::Range(512, 16_777_215)),
    ("DefaultTime2Wait", Rule::Range(0, 3600)),
    ("DefaultTime2Retain", Rule::Range(0, 3600)),
    ("MaxOutstandingR2T", Rule::Range(1, 32)),
    ("DataPDUInOrder", Rule::Only("Yes")),
    ("DataSequenceInOrder", Rule::Only("Yes")),
    ("ErrorRecoveryLevel", Rule::Range(0, 2)),
    ("IFMarker", Rule::Only("No")),
    ("OFMarker", Rule::Only("No")),
    ("IFMarkInt", Rule::Nothing),
    ("OFMarkInt", Rule::Nothing),
];

impl Rule {
    fn same(&self, value: &str, default: &str) -> bool {
        let list = |text: &str| -> Vec<String> {
            text.split(',')
                .map(|w| w.trim().to_ascii_lowercase())
                .collect()
        };
        !default.is_empty() && list(value) == list(default)
    }

    /// The value as the module takes it, or the rule that it breaks.
    fn check(&self, value: &str) -> Result<Option<String>, String> {
        match self {
            Rule::Digest => {
                let mut words = Vec::new();
                for word in value.split(',').map(str::trim) {
                    match word.to_ascii_lowercase().as_str() {
                        "crc32c" => words.push("CRC32C"),
                        "none" => words.push("None"),
                        _ => return Err("a list of CRC32C and None is needed".into()),
                    }
                }
                Ok(Some(words.join(",")))
            }
            Rule::YesNo => match value.to_ascii_lowercase().as_str() {
                "yes" => Ok(Some("Yes".into())),
                "no" => Ok(Some("No".into())),
                _ => Err("Yes or No is needed".into()),
            },
            Rule::Only(only) if value.eq_ignore_ascii_case(only) => Ok(None),
            Rule::Only(only) => Err(format!("only {only} is possible")),
            Rule::Range(least, most) => match value.parse::<u64>() {
                Ok(number) if (*least..=*most).contains(&number) => Ok(Some(number.to_string())),
                _ => Err(format!("a number from {least} to {most} is needed")),
            },
            Rule::Text if value.len() <= 255 && !value.chars().any(char::is_control) => {
                Ok((!value.is_empty()).then(|| value.to_string()))
            }
            Rule::Text => Err("at most 255 bytes without control characters are possible".into()),
            Rule::Nothing => Ok(None),
        }
    }
}

/// Hexadecimal digits of some bytes.
fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes
        .into_iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The last part of a path.
fn base_name(path: &str) -> &str {
    Path::new(path)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or(path)
}

/// The directory that a file is in.
fn dir_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
