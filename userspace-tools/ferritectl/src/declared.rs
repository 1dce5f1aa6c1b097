// SPDX-License-Identifier: GPL-2.0

//! The configuration as a person writes it: TOML, or the same in JSON.
//!
//! Nothing here touches the kernel. [`parse`] reads a file's text, [`Declared::resolve`]
//! makes a [`Configuration`] of it, [`Declared::of`] goes the other way. What the file does
//! not say of an object stays as it is; objects that it does not have are not wanted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use serde::de;
use serde::de::IgnoredAny;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::place;
use crate::secret::Secret;
use crate::state::unique;
use crate::state::Acl;
use crate::state::Attributes;
use crate::state::Auth;
use crate::state::Backstore;
use crate::state::Configuration;
use crate::state::Credentials;
use crate::state::Lun;
use crate::state::MappedLun;
use crate::state::Target;
use crate::state::TargetPortGroup;
use crate::state::Tpg;
use crate::state::DEFAULT_GROUP;

/// A whole file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// The block devices by name, or by `iblock_<n>/<name>`.
    #[serde(
        default,
        deserialize_with = "unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub backstore: BTreeMap<String, Disk>,
    /// Authentication of discovery sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// The targets.
    #[serde(
        default,
        deserialize_with = "unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub target: BTreeMap<Name, DeclaredTarget>,
}

/// A block device.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The path of the block device.
    pub device: String,
    /// Unit serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// T10 vendor identification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Product identification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Product revision level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What else identifies it: the other files of `wwn/`.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub identity: Values,
    /// Writes are refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Others may open the device for writing, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared: bool,
    /// A second name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// `lba_map`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lba_map: Option<String>,
    /// `attrib/`.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub attributes: Values,
    /// Target port groups.
    #[serde(
        default,
        deserialize_with = "unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub port_groups: BTreeMap<String, PortGroup>,
}

/// A target port group.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PortGroup {
    /// Its identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// Its access state and what else can be set.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub attributes: Values,
}

/// Authentication of discovery sessions.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// CHAP is demanded.
    #[serde(default)]
    pub enforce: bool,
    /// With what.
    #[serde(default, skip_serializing_if = "Chap::is_empty")]
    pub chap: Chap,
    /// What else can be set.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub attributes: Values,
}

/// CHAP names, and where their secrets are.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Chap {
    /// The name that the initiator gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The file with the initiator's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The environment variable with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// The name that the target gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_user: Option<String>,
    /// The file with the target's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_secret_file: Option<PathBuf>,
    /// The environment variable with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_secret_env: Option<String>,
    /// Refused: a secret itself.
    #[serde(default, skip_serializing)]
    secret: Refused,
    /// Refused: a secret itself.
    #[serde(default, skip_serializing)]
    mutual_secret: Refused,
}

/// A target.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTarget {
    /// What is set for the whole target.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub parameters: Values,
    /// The target portal groups by tag.
    #[serde(default, deserialize_with = "unique")]
    pub tpg: BTreeMap<Tag, DeclaredTpg>,
}

/// A target portal group.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTpg {
    /// Initiators may log in.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// The relative target port identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtpi: Option<u16>,
    /// Where it listens.
    #[serde(default)]
    pub portals: Vec<Address>,
    /// For initiators that have no entry of their own.
    #[serde(default, skip_serializing_if = "Chap::is_empty")]
    pub chap: Chap,
    /// `attrib/`.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub attributes: Values,
    /// `param/`.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// The LUNs by number.
    #[serde(
        default,
        deserialize_with = "unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub luns: BTreeMap<Number, DeclaredLun>,
    /// Who may log in.
    #[serde(
        default,
        deserialize_with = "unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub initiator: BTreeMap<Name, Initiator>,
    /// Groups of initiators, by a name without the `@`.
    #[serde(
        default,
        deserialize_with = "unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub group: BTreeMap<String, Initiator>,
}

/// What an initiator, or a group of them, may do.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Initiator {
    /// Of a group: who is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// How many commands may be outstanding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u32>,
    /// A label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The LUNs that it sees.
    #[serde(default, skip_serializing_if = "Shown::is_empty")]
    pub luns: Shown,
    /// Its credentials.
    #[serde(default, skip_serializing_if = "Chap::is_empty")]
    pub chap: Chap,
    /// `attrib/`.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub attributes: Values,
}

/// A portal: its address, or a table with its attributes as well.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    untagged,
    expecting = "an address, or a table with `address` and `attributes`, is needed"
)]
pub enum Address {
    /// The address alone.
    Plain(String),
    /// With attributes.
    Full(FullAddress),
}

/// A portal with all that may be said of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FullAddress {
    /// The address.
    pub address: String,
    /// Its attributes.
    #[serde(default)]
    pub attributes: Values,
}

/// A LUN: the name of its backstore, or a table.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    untagged,
    expecting = "the name of a backstore, or a table with `backstore`, `port_group`, `offline`, `attributes` and `link`, is needed"
)]
pub enum DeclaredLun {
    /// The backstore alone.
    Plain(String),
    /// With more.
    Full(FullLun),
}

/// A LUN with all that may be said of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FullLun {
    /// The backstore.
    pub backstore: String,
    /// Its target port group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_group: Option<String>,
    /// It is offline.
    #[serde(default, skip_serializing_if = "is_false")]
    pub offline: bool,
    /// `attrib/`.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub attributes: Values,
    /// The name of its link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Which LUNs an initiator sees: a list, or a table by the number that it sees.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    untagged,
    expecting = "a list of LUNs, or a table of the LUN for each number that the initiator sees, is needed"
)]
pub enum Shown {
    /// By the same numbers.
    List(Vec<u64>),
    /// By others.
    Table(BTreeMap<Number, DeclaredMapping>),
}

/// A mapped LUN: the LUN, or a table.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    untagged,
    expecting = "a LUN, or a table with `lun`, `read_only` and `link`, is needed"
)]
pub enum DeclaredMapping {
    /// The LUN alone.
    Plain(u64),
    /// With more.
    Full(FullMapping),
}

/// A mapped LUN with all that may be said of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FullMapping {
    /// The LUN of the portal group.
    pub lun: u64,
    /// Writes are refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// The name of its link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A portal group's tag; TOML and JSON only have strings as keys.
pub type Tag = Keyed<65535>;
/// A LUN's number.
pub type Number = Keyed<16383>;

/// A number that is a key.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Keyed<const MAX: u64>(pub u64);

impl<const MAX: u64> fmt::Display for Keyed<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: u64> Serialize for Keyed<MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const MAX: u64> Deserialize<'de> for Keyed<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<u64>() {
            Ok(number) if number <= MAX && number.to_string() == text => Ok(Keyed(number)),
            _ => Err(de::Error::custom(format!(
                "{text:?} is not valid: a number from 0 to {MAX} is needed"
            ))),
        }
    }
}

/// Who is in a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Member(pub String);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        names::parse_member(&text)
            .map(Member)
            .map_err(de::Error::custom)
    }
}

/// What must not be in the file. The value is not looked at, so no message shows it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Refused;

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Err(de::Error::custom(
            "a secret must not stand in this file: put it into a file of its own with mode 600 \
             and name that with `secret_file` or `mutual_secret_file`, or name an environment \
             variable with `secret_env` or `mutual_secret_env`",
        ))
    }
}

/// Names and values of attributes; true and false are 1 and 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Values(pub BTreeMap<String, String>);

/// Names and values of parameters; true and false are `Yes` and `No`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Parameters(pub BTreeMap<String, String>);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a string, a whole number, true or false is needed"
)]
enum Scalar {
    Bool(bool),
    Number(i64),
    Text(String),
}

fn scalars<'de, D: Deserializer<'de>>(
    deserializer: D,
    words: [&str; 2],
) -> Result<BTreeMap<String, String>, D::Error> {
    let map = BTreeMap::<String, Scalar>::deserialize(deserializer)?;
    let mut values = BTreeMap::new();
    for (name, value) in map {
        let value = match value {
            Scalar::Bool(value) => words[usize::from(value)].to_string(),
            Scalar::Number(value) => value.to_string(),
            Scalar::Text(value) => value,
        };
        names::check_attribute_name(&name).map_err(de::Error::custom)?;
        names::check_attribute_value(&name, &value).map_err(de::Error::custom)?;
        values.insert(name, value);
    }
    Ok(values)
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalars(deserializer, ["0", "1"]).map(Values)
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalars(deserializer, ["No", "Yes"]).map(Parameters)
    }
}

impl Values {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Parameters {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Chap {
    fn is_empty(&self) -> bool {
        *self == Chap::default()
    }
}

impl Default for Shown {
    fn default() -> Self {
        Shown::List(Vec::new())
    }
}

impl Shown {
    fn is_empty(&self) -> bool {
        match self {
            Shown::List(list) => list.is_empty(),
            Shown::Table(table) => table.is_empty(),
        }
    }
}

impl Default for DeclaredTpg {
    fn default() -> Self {
        DeclaredTpg {
            enabled: true,
            rtpi: None,
            portals: Vec::new(),
            chap: Chap::default(),
            attributes: Values::default(),
            parameters: Parameters::default(),
            luns: BTreeMap::new(),
            initiator: BTreeMap::new(),
            group: BTreeMap::new(),
        }
    }
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !value
}

/// JSON if the file's name ends so or it begins with a brace, else TOML.
fn is_json(path: &Path, text: &str) -> bool {
    path.extension().is_some_and(|ext| ext == "json")
        || (path.extension().is_none_or(|ext| ext != "toml") && text.trim_start().starts_with('{'))
}

/// Reads a file's text.
pub fn parse(path: &Path, text: &str) -> Result<Declared> {
    let bad = |reason: String| Error::BadFile {
        path: path.to_path_buf(),
        reason,
    };
    if is_json(path, text) {
        return files::from_json(text).map_err(bad);
    }
    // Neither of the messages may show the line itself: a secret may stand there by mistake.
    let place = |error: &toml::de::Error| {
        let span = error.span()?;
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Some(format!("line {line} column {column}: {}", error.message()))
    };
    let told = |error: &toml::de::Error| place(error).unwrap_or(error.message().to_string());
    let toml = toml::Deserializer::parse(text).map_err(|error| bad(told(&error)))?;
    serde_path_to_error::deserialize(toml).map_err(|error| {
        let inner = error.inner();
        bad(files::with_key(error.path(), || {
            match (place(inner), place::line_of_path(text, false, error.path())) {
                (Some(told), _) => told,
                (None, Some(line)) => format!("line {line}: {}", inner.message()),
                (None, None) => inner.message().to_string(),
            }
        }))
    })
}

/// What a file is resolved with.
pub struct Sources<'a> {
    /// The directory of the file, which paths in it are relative to.
    pub dir: &'a Path,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The file's text, to say in which line something is wrong.
    pub text: &'a str,
}

/// What is wrong with an entry of the file: its key, the line and the rule.
struct Entry<'a> {
    path: &'a Path,
    text: &'a str,
    keys: Vec<String>,
}

impl Entry<'_> {
    fn bad(&self, reason: impl fmt::Display) -> Error {
        let key = self.keys.join(".").replace(".[", "[");
        let line = place::line(self.text, is_json(self.path, self.text), &self.keys);
        Error::BadFile {
            path: self.path.to_path_buf(),
            reason: match line {
                Some(line) => format!("{key}: line {line}: {reason}"),
                None => format!("{key}: {reason}"),
            },
        }
    }

    fn below(&self, key: impl fmt::Display) -> Self {
        let mut keys = self.keys.clone();
        keys.push(key.to_string());
        Entry { keys, ..*self }
    }

    fn check<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.bad(error))
    }
}

impl Declared {
    /// The configuration that the file at `path` means where `current` is what there is.
    ///
    /// Secrets are fetched here. A backstore that the file calls by its name alone is the one
    /// that has this name now, or gets a host bus adapter of its own.
    pub fn resolve(
        &self,
        path: &Path,
        current: &Configuration,
        sources: &Sources<'_>,
    ) -> Result<Configuration> {
        let mut wanted = Configuration::default();
        let root = Entry {
            path,
            text: sources.text,
            keys: Vec::new(),
        };
        let mut ids: BTreeMap<&str, BackstoreId> = BTreeMap::new();
        let mut used: BTreeSet<u32> = current.backstores.keys().map(|id| id.hba).collect();
        for name in self.backstore.keys() {
            if name.contains('/') {
                let entry = root.below("backstore").below(name);
                let id = entry.check(BackstoreId::parse(name))?;
                used.insert(id.hba);
                ids.insert(name, id);
            }
        }
        for (name, disk) in &self.backstore {
            let entry = root.below("backstore").below(name);
            let id = match ids.get(name.as_str()) {
                Some(id) => id.clone(),
                None => {
                    entry.check(names::check_backstore_name(name))?;
                    let existing = current.backstores.keys().find(|id| {
                        id.name == *name && !self.backstore.contains_key(&id.to_string())
                    });
                    let hba = match existing {
                        Some(id) => id.hba,
                        None => (0..).find(|hba| !used.contains(hba)).unwrap_or_default(),
                    };
                    used.insert(hba);
                    BackstoreId {
                        hba,
                        name: name.clone(),
                    }
                }
            };
            ids.insert(name, id.clone());
            let backstore = disk.resolve(&entry)?;
            wanted.backstores.insert(id, backstore);
        }
        let discovery = self.discovery.clone().unwrap_or_default();
        let entry = root.below("discovery");
        wanted.discovery_auth.enforce = discovery.enforce;
        wanted.discovery_auth.auth = discovery.chap.resolve(&entry, sources)?;
        wanted.discovery_auth.attributes = Attributes(discovery.attributes.0);
        for (name, target) in &self.target {
            let entry = root.below("target").below(name);
            if name.is_group() {
                return Err(entry.bad("a target needs an iSCSI name"));
            }
            let mut tpgs = BTreeMap::new();
            for (tag, tpg) in &target.tpg {
                let entry = entry.below("tpg").below(tag);
                let tag = u16::try_from(tag.0).map_err(|error| entry.bad(error))?;
                tpgs.insert(tag, tpg.resolve(&entry, &ids, &wanted.backstores, sources)?);
            }
            wanted.targets.insert(
                name.clone(),
                Target {
                    parameters: Attributes(target.parameters.0.clone()),
                    tpgs,
                },
            );
        }
        wanted.check().map_err(|reason| Error::BadFile {
            path: path.to_path_buf(),
            reason,
        })?;
        settle(current, &mut wanted);
        Ok(wanted)
    }
}

impl Disk {
    fn resolve(&self, entry: &Entry<'_>) -> Result<Backstore> {
        entry
            .below("device")
            .check(names::check_device_path(&self.device))?;
        let mut wwn = self.identity.0.clone();
        for (key, file, value, most) in [
            ("serial", "vpd_unit_serial", &self.serial, 253),
            ("vendor", "vendor_id", &self.vendor, 8),
            ("product", "product_id", &self.product, 16),
            ("revision", "revision", &self.revision, 4),
        ] {
            let Some(value) = value else { continue };
            let entry = entry.below(key);
            if value.len() > most {
                return Err(entry.bad(format!("{value:?} is longer than {most} bytes")));
            }
            if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                return Err(entry.bad(format!("{value:?} is not printable ASCII")));
            }
            wwn.insert(file.into(), value.clone());
        }
        let mut groups = BTreeMap::new();
        for (name, group) in &self.port_groups {
            let entry = entry.below("port_groups").below(name);
            entry.check(names::check_group_name(name))?;
            if name == DEFAULT_GROUP && group.id.is_some_and(|id| id != 0) {
                return Err(entry.below("id").bad("the identifier of this one is 0"));
            }
            groups.insert(
                name.clone(),
                TargetPortGroup {
                    id: group.id,
                    attributes: Attributes(group.attributes.0.clone()),
                },
            );
        }
        Ok(Backstore {
            path: self.device.clone(),
            read_only: self.read_only,
            exclusive: !self.shared,
            enabled: true,
            alias: self.alias.clone(),
            lba_map: self.lba_map.clone(),
            wwn: Attributes(wwn),
            attributes: Attributes(self.attributes.0.clone()),
            target_port_groups: groups,
            replaceable: false,
        })
    }
}

impl Chap {
    fn resolve(&self, entry: &Entry<'_>, sources: &Sources<'_>) -> Result<Auth> {
        let entry = entry.below("chap");
        let one =
            |user: &Option<String>, file: &Option<PathBuf>, env: &Option<String>, of: &str| {
                let mut credentials = Credentials::default();
                let key = |name: &str| entry.below(format_args!("{of}{name}"));
                if let Some(user) = user {
                    key("user").check(names::check_user(user))?;
                }
                credentials.user = user.clone();
                let (entry, secret) = match (file, env) {
                    (None, None) => {
                        if user.is_some() {
                            let reason =
                                format!("`{of}secret_file` or `{of}secret_env` is needed, too");
                            return Err(key("user").bad(reason));
                        }
                        return Ok(credentials);
                    }
                    (Some(_), Some(_)) => {
                        let reason = format!("`{of}secret_env` is there, too: only one may be");
                        return Err(key("secret_file").bad(reason));
                    }
                    (Some(file), None) => {
                        let entry = key("secret_file");
                        let secret = entry.check(files::read_secret(&sources.dir.join(file)))?;
                        (entry, secret)
                    }
                    (None, Some(name)) => {
                        let entry = key("secret_env");
                        let Some(text) = (sources.env)(name) else {
                            return Err(entry.bad(format!("{name:?} is not in the environment")));
                        };
                        (entry, Secret::new(text))
                    }
                };
                if user.is_none() {
                    return Err(entry.bad(format!("`{of}user` is needed, too")));
                }
                // One that is too short was accepted before it was moved here; the kernel takes it.
                entry.check(secret.check(true))?;
                credentials.secret = Some(secret);
                Ok(credentials)
            };
        let auth = Auth {
            initiator: one(&self.user, &self.secret_file, &self.secret_env, "")?,
            target: one(
                &self.mutual_user,
                &self.mutual_secret_file,
                &self.mutual_secret_env,
                "mutual_",
            )?,
        };
        if auth.target.user.is_some() && auth.initiator.user.is_none() {
            return Err(entry.bad("`mutual_user` needs `user`: the initiator proves itself first"));
        }
        if auth.initiator.secret.is_some() && auth.initiator.secret == auth.target.secret {
            return Err(entry.bad("the two secrets must differ (RFC 7143 section 9.2.1)"));
        }
        Ok(auth)
    }
}

impl DeclaredTpg {
    fn resolve(
        &self,
        entry: &Entry<'_>,
        ids: &BTreeMap<&str, BackstoreId>,
        backstores: &BTreeMap<BackstoreId, Backstore>,
        sources: &Sources<'_>,
    ) -> Result<Tpg> {
        let mut tpg = Tpg {
            enabled: self.enabled,
            rtpi: self.rtpi,
            attributes: Attributes(self.attributes.0.clone()),
            parameters: Attributes(self.parameters.0.clone()),
            auth: self.chap.resolve(entry, sources)?,
            ..Tpg::default()
        };
        if self.rtpi == Some(0) {
            return Err(entry.below("rtpi").bad("0 is not from 1 to 65535"));
        }
        for (index, portal) in self.portals.iter().enumerate() {
            let (address, attributes) = match portal {
                Address::Plain(address) => (address, Values::default()),
                Address::Full(full) => (&full.address, full.attributes.clone()),
            };
            let entry = entry.below("portals").below(format_args!("[{index}]"));
            let portal = entry.check(Portal::parse(address))?;
            if tpg
                .portals
                .insert(portal, Attributes(attributes.0))
                .is_some()
            {
                return Err(entry.bad(format!("{address} stands here twice")));
            }
        }
        for (number, lun) in &self.luns {
            let entry = entry.below("luns").below(number);
            let full = match lun {
                DeclaredLun::Plain(backstore) => FullLun {
                    backstore: backstore.clone(),
                    ..FullLun::default()
                },
                DeclaredLun::Full(full) => full.clone(),
            };
            let Some(backstore) = ids.get(full.backstore.as_str()) else {
                let name = &full.backstore;
                return Err(entry.bad(format!("the file has no backstore {name:?}")));
            };
            if let Some(link) = &full.link {
                entry.below("link").check(names::check_link_name(link))?;
            }
            if let Some(group) = &full.port_group {
                let backstore = backstores.get(backstore);
                if backstore.is_some_and(|b| !b.target_port_groups.contains_key(group)) {
                    return Err(entry.below("port_group").bad(format!(
                        "the file has no target port group {group} of backstore {:?}",
                        full.backstore
                    )));
                }
            }
            tpg.luns.insert(
                number.0,
                Lun {
                    backstore: backstore.clone(),
                    link: full.link,
                    group: full.port_group,
                    offline: full.offline,
                    attributes: Attributes(full.attributes.0),
                },
            );
        }
        for (name, initiator) in &self.initiator {
            let entry = entry.below("initiator").below(name);
            if !initiator.members.is_empty() {
                return Err(entry.bad("only a `group` has members"));
            }
            let acl = initiator.resolve(&entry, &tpg, sources)?;
            tpg.acls.insert(name.clone(), acl);
        }
        for (name, group) in &self.group {
            let entry = entry.below("group").below(name);
            let name = entry.check(Name::parse_acl(&format!("@{name}")))?;
            let mut acl = group.resolve(&entry, &tpg, sources)?;
            let members: Vec<&str> = group.members.iter().map(|m| m.0.as_str()).collect();
            let members = if members.is_empty() {
                "none".to_string()
            } else {
                members.join(" ")
            };
            acl.attributes.0.insert("members".into(), members);
            tpg.acls.insert(name, acl);
        }
        Ok(tpg)
    }
}

impl Initiator {
    fn resolve(&self, entry: &Entry<'_>, tpg: &Tpg, sources: &Sources<'_>) -> Result<Acl> {
        let mut acl = Acl {
            cmdsn_depth: self.queue_depth,
            tag: self.tag.clone(),
            attributes: Attributes(self.attributes.0.clone()),
            auth: self.chap.resolve(entry, sources)?,
            ..Acl::default()
        };
        let table: Vec<(u64, FullMapping)> = match &self.luns {
            Shown::List(list) => list
                .iter()
                .map(|lun| {
                    let full = FullMapping {
                        lun: *lun,
                        ..FullMapping::default()
                    };
                    (*lun, full)
                })
                .collect(),
            Shown::Table(table) => table
                .iter()
                .map(|(number, mapping)| {
                    let full = match mapping {
                        DeclaredMapping::Plain(lun) => FullMapping {
                            lun: *lun,
                            ..FullMapping::default()
                        },
                        DeclaredMapping::Full(full) => full.clone(),
                    };
                    (number.0, full)
                })
                .collect(),
        };
        for (number, full) in table {
            let entry = entry.below("luns").below(number);
            if !tpg.luns.contains_key(&full.lun) {
                return Err(entry.bad(format!("the portal group has no LUN {}", full.lun)));
            }
            if let Some(link) = &full.link {
                entry.check(names::check_link_name(link))?;
            }
            let mapped = MappedLun {
                lun: full.lun,
                write_protect: full.read_only,
                link: full.link,
            };
            if acl.mapped_luns.insert(number, mapped).is_some() {
                return Err(entry.bad("it stands here twice"));
            }
        }
        Ok(acl)
    }
}

/// Where a value only reads otherwise than it was written, takes it as the kernel shows it.
fn settle(current: &Configuration, wanted: &mut Configuration) {
    for (id, want) in &mut wanted.backstores {
        if let Some(have) = current.backstores.get(id) {
            alike(&have.wwn, &mut want.wwn);
            alike(&have.attributes, &mut want.attributes);
            for (name, want) in &mut want.target_port_groups {
                if let Some(have) = have.target_port_groups.get(name) {
                    alike(&have.attributes, &mut want.attributes);
                }
            }
        }
    }
    let have = &current.discovery_auth.attributes;
    alike(have, &mut wanted.discovery_auth.attributes);
    for (name, want) in &mut wanted.targets {
        let Some(have) = current.targets.get(name) else {
            continue;
        };
        alike(&have.parameters, &mut want.parameters);
        for (tag, want) in &mut want.tpgs {
            let Some(have) = have.tpgs.get(tag) else {
                continue;
            };
            alike(&have.attributes, &mut want.attributes);
            alike(&have.parameters, &mut want.parameters);
            for (portal, want) in &mut want.portals {
                if let Some(have) = have.portals.get(portal) {
                    alike(have, want);
                }
            }
            for (number, want) in &mut want.luns {
                if let Some(have) = have.luns.get(number) {
                    alike(&have.attributes, &mut want.attributes);
                }
            }
            for (initiator, want) in &mut want.acls {
                if let Some(have) = have.acls.get(initiator) {
                    alike(&have.attributes, &mut want.attributes);
                }
            }
        }
    }
}

fn alike(have: &Attributes, want: &mut Attributes) {
    for (name, want) in &mut want.0 {
        if let Some(have) = have.get(name) {
            if have != want && same(have, want) {
                *want = have.to_string();
            }
        }
    }
}

/// The same number, or the same list in another order.
fn same(one: &str, other: &str) -> bool {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse::<u64>().ok(),
    };
    let set = |text: &str| -> BTreeSet<String> {
        text.split([',', ' '])
            .filter(|word| !word.is_empty())
            .map(str::to_string)
            .collect()
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => set(one) == set(other),
    }
}

/// Keeps a secret that a file shall name, and says by which path.
pub type Keep<'a> = dyn FnMut(&str, &Secret) -> Result<Option<PathBuf>> + 'a;

impl Declared {
    /// How a person would write a configuration. `keep` stores each secret somewhere else.
    pub fn of(configuration: &Configuration, keep: &mut Keep<'_>) -> Result<Self> {
        let mut declared = Declared::default();
        let label = |id: &BackstoreId| {
            let namesakes = configuration
                .backstores
                .keys()
                .filter(|o| o.name == id.name);
            if namesakes.count() == 1 && !id.name.contains('/') {
                id.name.clone()
            } else {
                id.to_string()
            }
        };
        for (id, have) in &configuration.backstores {
            declared.backstore.insert(label(id), Disk::of(have));
        }
        let discovery = &configuration.discovery_auth;
        if *discovery != Default::default() {
            declared.discovery = Some(Discovery {
                enforce: discovery.enforce,
                chap: Chap::of(&discovery.auth, "discovery", keep)?,
                attributes: Values(discovery.attributes.0.clone()),
            });
        }
        for (name, target) in &configuration.targets {
            let mut tpgs = BTreeMap::new();
            for (tag, tpg) in &target.tpgs {
                let whose = format!("{name}-{tag}");
                let tpg = DeclaredTpg::of(tpg, &whose, &label, keep)?;
                tpgs.insert(Keyed(u64::from(*tag)), tpg);
            }
            declared.target.insert(
                name.clone(),
                DeclaredTarget {
                    parameters: Values(target.parameters.0.clone()),
                    tpg: tpgs,
                },
            );
        }
        Ok(declared)
    }

    /// The text of a file.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Usage(format!("no TOML: {error}")))
    }
}

impl Disk {
    fn of(have: &Backstore) -> Self {
        let mut identity = have.wwn.0.clone();
        let mut take = |name: &str| identity.remove(name).filter(|value| !value.is_empty());
        Disk {
            device: have.path.clone(),
            serial: take("vpd_unit_serial"),
            vendor: take("vendor_id"),
            product: take("product_id"),
            revision: take("revision"),
            identity: Values(identity),
            read_only: have.read_only,
            shared: !have.exclusive,
            alias: have.alias.clone(),
            lba_map: have.lba_map.clone(),
            attributes: Values(have.attributes.0.clone()),
            port_groups: have
                .target_port_groups
                .iter()
                .map(|(name, group)| {
                    let attributes = Values(group.attributes.0.clone());
                    let id = group.id;
                    (name.clone(), PortGroup { id, attributes })
                })
                .collect(),
        }
    }
}

impl Chap {
    fn of(auth: &Auth, whose: &str, keep: &mut Keep<'_>) -> Result<Self> {
        let mut chap = Chap::default();
        if let Some(secret) = &auth.initiator.secret {
            chap.secret_file = keep(whose, secret)?;
        }
        // A name without its secret would be refused.
        if chap.secret_file.is_some() {
            chap.user = auth.initiator.user.clone();
            if let Some(secret) = &auth.target.secret {
                chap.mutual_secret_file = keep(&format!("{whose}-mutual"), secret)?;
            }
            if chap.mutual_secret_file.is_some() {
                chap.mutual_user = auth.target.user.clone();
            }
        }
        Ok(chap)
    }
}

impl DeclaredTpg {
    fn of(
        tpg: &Tpg,
        whose: &str,
        label: &dyn Fn(&BackstoreId) -> String,
        keep: &mut Keep<'_>,
    ) -> Result<Self> {
        let mut declared = DeclaredTpg {
            enabled: tpg.enabled,
            rtpi: tpg.rtpi,
            attributes: Values(tpg.attributes.0.clone()),
            parameters: Parameters(tpg.parameters.0.clone()),
            chap: Chap::of(&tpg.auth, whose, keep)?,
            ..DeclaredTpg::default()
        };
        for (portal, attributes) in &tpg.portals {
            let address = portal.to_string();
            declared.portals.push(if attributes.is_empty() {
                Address::Plain(address)
            } else {
                Address::Full(FullAddress {
                    address,
                    attributes: Values(attributes.0.clone()),
                })
            });
        }
        for (number, lun) in &tpg.luns {
            let backstore = label(&lun.backstore);
            let link = lun.link.clone();
            // Those of a new LUN are 0.
            let set = lun.attributes.0.iter().filter(|(_, value)| *value != "0");
            let attributes: BTreeMap<_, _> = set.map(|(k, v)| (k.clone(), v.clone())).collect();
            let simple = link.is_none() && lun.group.is_none() && !lun.offline;
            let lun = if simple && attributes.is_empty() {
                DeclaredLun::Plain(backstore)
            } else {
                DeclaredLun::Full(FullLun {
                    backstore,
                    port_group: lun.group.clone(),
                    offline: lun.offline,
                    attributes: Values(attributes),
                    link,
                })
            };
            declared.luns.insert(Keyed(*number), lun);
        }
        for (name, acl) in &tpg.acls {
            let plain = name.as_str().trim_start_matches('@');
            let initiator = Initiator::of(acl, &format!("{whose}-{plain}"), keep)?;
            if name.is_group() {
                declared.group.insert(plain.to_string(), initiator);
            } else {
                declared.initiator.insert(name.clone(), initiator);
            }
        }
        Ok(declared)
    }
}

impl Initiator {
    fn of(acl: &Acl, whose: &str, keep: &mut Keep<'_>) -> Result<Self> {
        let mut attributes = acl.attributes.0.clone();
        let members = attributes.remove("members").unwrap_or_default();
        let members = members.split(' ').filter(|m| !m.is_empty() && *m != "none");
        let simple = acl
            .mapped_luns
            .iter()
            .all(|(number, m)| *number == m.lun && !m.write_protect && m.link.is_none());
        let luns = if simple {
            Shown::List(acl.mapped_luns.keys().copied().collect())
        } else {
            let table = acl.mapped_luns.iter().map(|(number, m)| {
                let mapping = if m.write_protect || m.link.is_some() {
                    DeclaredMapping::Full(FullMapping {
                        lun: m.lun,
                        read_only: m.write_protect,
                        link: m.link.clone(),
                    })
                } else {
                    DeclaredMapping::Plain(m.lun)
                };
                (Keyed(*number), mapping)
            });
            Shown::Table(table.collect())
        };
        Ok(Initiator {
            members: members.map(|m| Member(m.to_string())).collect(),
            queue_depth: acl.cmdsn_depth,
            tag: acl.tag.clone(),
            luns,
            chap: Chap::of(&acl.auth, whose, keep)?,
            attributes: Values(attributes),
        })
    }
}
