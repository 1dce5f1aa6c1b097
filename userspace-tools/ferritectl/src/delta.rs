// SPDX-License-Identifier: GPL-2.0

//! Changes of the configuration: what is to be done for each object, in which order.
//!
//! Nothing here reads or writes a file. Every command makes [`Delta`]s with the
//! functions below; restoring makes them by comparing two configurations. The
//! steps of a delta are operations on configfs, so whoever shows them shows
//! everything that will happen.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use crate::layout;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::secret::Secret;
use crate::state::Acl;
use crate::state::Attributes;
use crate::state::Auth;
use crate::state::Backstore;
use crate::state::Configuration;
use crate::state::DiscoveryAuth;
use crate::state::Lun;
use crate::state::MappedLun;
use crate::state::Target;
use crate::state::TargetPortGroup;
use crate::state::Tpg;
use crate::state::DEFAULT_GROUP;

/// Something that can be made, changed and removed by itself.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Object {
    /// A block device.
    Backstore(BackstoreId),
    /// A target port group of a backstore.
    Group(BackstoreId, String),
    /// The directory of block devices of some number.
    Hba(u32),
    /// Authentication of discovery sessions.
    DiscoveryAuth,
    /// A target.
    Target(Name),
    /// A target portal group.
    Tpg(Name, u16),
    /// Attributes, parameters and credentials of a TPG.
    TpgSettings(Name, u16),
    /// Whether initiators may log in to a TPG.
    TpgSwitch(Name, u16),
    /// A portal.
    Portal(Name, u16, Portal),
    /// A LUN.
    Lun(Name, u16, u64),
    /// The ACL of an initiator.
    Acl(Name, u16, Name),
    /// A LUN as an initiator sees it.
    MappedLun(Name, u16, Name, u64),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Backstore(id) => write!(f, "backstore {id}"),
            Object::Group(id, name) => write!(f, "target port group {name} of backstore {id}"),
            Object::Hba(number) => write!(f, "host bus adapter iblock_{number}"),
            Object::DiscoveryAuth => write!(f, "discovery authentication"),
            Object::Target(name) => write!(f, "target {name}"),
            Object::Tpg(name, tag) => write!(f, "TPG {tag} of {name}"),
            Object::TpgSettings(name, tag) => write!(f, "settings of TPG {tag} of {name}"),
            Object::TpgSwitch(name, tag) => write!(f, "TPG {tag} of {name}"),
            Object::Portal(name, tag, portal) => {
                write!(f, "portal {portal} of TPG {tag} of {name}")
            }
            Object::Lun(name, tag, lun) => write!(f, "LUN {lun} of TPG {tag} of {name}"),
            Object::Acl(name, tag, initiator) => {
                write!(f, "ACL {initiator} of TPG {tag} of {name}")
            }
            Object::MappedLun(name, tag, initiator, mapped) => write!(
                f,
                "mapped LUN {mapped} of ACL {initiator} of TPG {tag} of {name}"
            ),
        }
    }
}

/// What happens to an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It is made.
    Create,
    /// It is there and gets other values.
    Modify,
    /// It goes.
    Remove,
    /// Initiators may log in.
    Enable,
    /// Initiators are logged out and kept out.
    Disable,
}

impl Change {
    /// The past participle for reports.
    pub fn done(self) -> &'static str {
        match self {
            Change::Create => "created",
            Change::Modify => "changed",
            Change::Remove => "removed",
            Change::Enable => "enabled",
            Change::Disable => "disabled",
        }
    }

    /// The verb for plans and errors.
    pub fn verb(self) -> &'static str {
        match self {
            Change::Create => "create",
            Change::Modify => "change",
            Change::Remove => "remove",
            Change::Enable => "enable",
            Change::Disable => "disable",
        }
    }
}

/// A value for an attribute file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// Text that may be shown.
    Text(String),
    /// Text that may be shown; the kernel's word for "none" is `NULL`.
    Clearable(Option<String>),
    /// A secret, never shown; the kernel's word for "none" is `NULL`.
    Secret(Option<Secret>),
}

impl Value {
    /// What is written to the file.
    pub fn stored(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Clearable(None) | Value::Secret(None) => "NULL",
            Value::Clearable(Some(text)) => text,
            Value::Secret(Some(secret)) => secret.expose(),
        }
    }

    /// True if the file already reads so.
    pub fn reads_as(&self, read: &str) -> bool {
        let none = read.is_empty() || read == "NULL";
        match self {
            Value::Text(text) => text == read,
            Value::Clearable(None) | Value::Secret(None) => none,
            Value::Clearable(Some(text)) => text == read,
            Value::Secret(Some(secret)) => secret.expose() == read,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Secret(Some(_)) => f.write_str("(secret)"),
            _ => f.write_str(self.stored()),
        }
    }
}

/// One operation on configfs; paths are relative to its root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Makes a directory that must not exist.
    Make(PathBuf),
    /// Makes a directory unless it exists.
    Ensure(PathBuf),
    /// Removes a directory.
    Remove(PathBuf),
    /// Removes a directory unless something is in it.
    RemoveIfEmpty(PathBuf),
    /// Writes an attribute.
    Write(PathBuf, Value),
    /// Writes an attribute unless it reads so already.
    Set {
        /// The file.
        path: PathBuf,
        /// The value.
        value: Value,
        /// The object must not exist with another value: access control and identity.
        required: bool,
    },
    /// Writes an attribute that a later `Set` makes sure of, to close the gap between.
    Prepare(PathBuf, Value),
    /// Makes a link; the second path is what it leads to.
    Link(PathBuf, PathBuf),
    /// Removes a link.
    Unlink(PathBuf),
}

impl Step {
    /// The file or directory that the step is about.
    pub fn path(&self) -> &Path {
        match self {
            Step::Make(path)
            | Step::Ensure(path)
            | Step::Remove(path)
            | Step::RemoveIfEmpty(path)
            | Step::Write(path, _)
            | Step::Set { path, .. }
            | Step::Prepare(path, _)
            | Step::Link(path, _)
            | Step::Unlink(path) => path,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Make(path) => write!(f, "mkdir {}", path.display()),
            Step::Ensure(path) => write!(f, "mkdir -p {}", path.display()),
            Step::Remove(path) => write!(f, "rmdir {}", path.display()),
            Step::RemoveIfEmpty(path) => {
                write!(f, "rmdir --ignore-fail-on-non-empty {}", path.display())
            }
            Step::Write(path, value)
            | Step::Prepare(path, value)
            | Step::Set { path, value, .. } => {
                write!(f, "echo '{value}' > {}", path.display())
            }
            Step::Link(path, to) => write!(f, "ln -s {} {}", to.display(), path.display()),
            Step::Unlink(path) => write!(f, "rm {}", path.display()),
        }
    }
}

/// What is done to one object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delta {
    /// The object.
    pub object: Object,
    /// What happens to it.
    pub change: Change,
    /// What must be there, or must be gone, before.
    pub needs: Vec<Object>,
    /// The operations, in order.
    pub steps: Vec<Step>,
    /// What a reader wants to know besides, such as the device's path.
    pub detail: String,
    /// Initiators that use the object notice.
    pub interrupts: bool,
}

impl Delta {
    fn new(object: Object, change: Change) -> Self {
        Delta {
            object,
            change,
            needs: Vec::new(),
            steps: Vec::new(),
            detail: String::new(),
            interrupts: matches!(change, Change::Remove | Change::Disable),
        }
    }

    fn needs(mut self, object: Object) -> Self {
        self.needs.push(object);
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn set(mut self, path: PathBuf, value: Value, required: bool) -> Self {
        self.steps.push(Step::Set {
            path,
            value,
            required,
        });
        self
    }

    /// Sets each attribute below `dir`.
    fn set_all<'a>(
        mut self,
        dir: &Path,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
        required: fn(&str) -> bool,
    ) -> Self {
        // Who may come in is settled before all else, and other attributes may hang on it.
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by_key(|(name, _)| !guards_access(name));
        for (name, value) in values {
            self = self.set(
                dir.join(name),
                Value::Text(value.to_string()),
                required(name),
            );
        }
        self
    }

    /// Sets what differs between two sets of credentials.
    fn set_auth(mut self, dir: &Path, current: &Auth, wanted: &Auth) -> Self {
        let pairs = [
            (&current.initiator, &wanted.initiator, "userid", "password"),
            (
                &current.target,
                &wanted.target,
                "userid_mutual",
                "password_mutual",
            ),
        ];
        for (current, wanted, user, password) in pairs {
            if current.user != wanted.user {
                self = self.set(dir.join(user), Value::Clearable(wanted.user.clone()), true);
            }
            // A saved user whose secret could not be read leaves the secret alone.
            let unknown = wanted.user.is_some() && wanted.secret.is_none();
            let differs = current.secret != wanted.secret || current.hidden;
            if differs && !unknown {
                self = self.set(
                    dir.join(password),
                    Value::Secret(wanted.secret.clone()),
                    true,
                );
            }
        }
        self
    }
}

impl Delta {
    /// Makes every value required: a command means all that it says.
    pub fn require_all(&mut self) {
        for step in &mut self.steps {
            if let Step::Set { required, .. } = step {
                *required = true;
            }
        }
    }

    /// Adds whether CHAP is demanded of discovery sessions.
    pub fn enforce_discovery(&mut self, enforce: bool) {
        self.steps.push(Step::Set {
            path: layout::discovery_auth().join("enforce_discovery_auth"),
            value: Value::Text(if enforce { "1" } else { "0" }.into()),
            required: true,
        });
    }
}

/// Sets some attributes of an object.
pub fn assign(object: Object, values: Vec<(PathBuf, Value)>) -> Delta {
    let mut delta = Delta::new(object, Change::Modify);
    for (path, value) in values {
        delta = delta.set(path, value, true);
    }
    delta
}

/// Sets what differs of credentials.
pub fn set_auth(object: Object, dir: &Path, current: &Auth, wanted: &Auth) -> Delta {
    Delta::new(object, Change::Modify).set_auth(dir, current, wanted)
}

/// Access control: a TPG must not be enabled without these as they are wanted.
pub fn guards_access(name: &str) -> bool {
    matches!(
        name,
        "authentication"
            | "generate_node_acls"
            | "demo_mode_write_protect"
            | "prod_mode_write_protect"
            | "chap_algorithms"
            | "AuthMethod"
    )
}

fn always(_: &str) -> bool {
    true
}

fn never(_: &str) -> bool {
    false
}

fn pairs(attributes: &Attributes) -> impl Iterator<Item = (&str, &str)> {
    attributes
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Makes a backstore and opens its device.
pub fn create_backstore(id: &BackstoreId, backstore: &Backstore) -> Delta {
    let dir = layout::backstore(id);
    let control = |key: &str, value: &str| {
        Step::Write(dir.join("control"), Value::Text(format!("{key}={value}")))
    };
    let flag = |value: bool| if value { "1" } else { "0" };
    let mut delta = Delta::new(Object::Backstore(id.clone()), Change::Create)
        .detail(&backstore.path)
        .step(Step::Ensure(layout::hba(id)))
        .step(Step::Make(dir.clone()))
        .step(Step::Write(
            dir.join("udev_path"),
            Value::Text(backstore.path.clone()),
        ))
        .step(control("udev_path", &backstore.path))
        .step(control("readonly", flag(backstore.read_only)))
        .step(control("exclusive", flag(backstore.exclusive)));
    if let Some(alias) = &backstore.alias {
        delta = delta.step(Step::Write(dir.join("alias"), Value::Text(alias.clone())));
    }
    if backstore.enabled {
        delta = delta.step(Step::Write(dir.join("enable"), Value::Text("1".into())));
    }
    // Without it no group may be in the state that hangs on it.
    if let Some(map) = &backstore.lba_map {
        delta = delta.set(dir.join("lba_map"), clearable(map), true);
    }
    if let Some(group) = backstore.target_port_groups.get(DEFAULT_GROUP) {
        let dir = layout::group(id, DEFAULT_GROUP);
        delta = delta.set_all(&dir, pairs(&group.attributes), never);
    }
    // An attribute may change the product name, so identity comes last.
    delta
        .set_all(&dir.join("attrib"), pairs(&backstore.attributes), never)
        .set_all(&dir.join("wwn"), pairs(&backstore.wwn), always)
}

/// A text of which there is none where it is empty.
fn clearable(text: &str) -> Value {
    Value::Clearable(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// Changes the values of a backstore that is there.
pub fn modify_backstore(
    id: &BackstoreId,
    alias: Option<&String>,
    lba_map: Option<&String>,
    wwn: &Attributes,
    attributes: &Attributes,
) -> Delta {
    let dir = layout::backstore(id);
    let mut delta = Delta::new(Object::Backstore(id.clone()), Change::Modify);
    if let Some(alias) = alias {
        delta = delta.set(dir.join("alias"), Value::Text(alias.clone()), true);
    }
    if let Some(map) = lba_map {
        delta = delta.set(dir.join("lba_map"), clearable(map), true);
    }
    delta
        .set_all(&dir.join("attrib"), pairs(attributes), never)
        .set_all(&dir.join("wwn"), pairs(wwn), always)
}

/// Puts another device in the place of a backstore's, which nobody notices.
pub fn replace_device(id: &BackstoreId, from: &str, to: &str) -> Delta {
    Delta::new(Object::Backstore(id.clone()), Change::Modify)
        .detail(format!("from {from} to {to}, live"))
        .step(Step::Write(
            layout::backstore(id).join("replace"),
            Value::Text(to.to_string()),
        ))
}

/// Whether a backstore can get the device that it shall have while it is in use.
fn is_replaced_live(have: &Backstore, want: &Backstore) -> bool {
    have.path != want.path
        && have.replaceable
        && (have.enabled && want.enabled)
        && have.read_only == want.read_only
        && have.exclusive == want.exclusive
}

/// Removes a backstore with its target port groups, and its parent directory if it was the
/// last one there.
pub fn remove_backstore<'a>(
    id: &BackstoreId,
    groups: impl IntoIterator<Item = &'a String>,
) -> Delta {
    close_backstore(id, groups).step(Step::RemoveIfEmpty(layout::hba(id)))
}

/// Removes a backstore with its target port groups, and leaves its parent directory.
pub fn close_backstore<'a>(
    id: &BackstoreId,
    groups: impl IntoIterator<Item = &'a String>,
) -> Delta {
    let mut delta = Delta::new(Object::Backstore(id.clone()), Change::Remove);
    for group in groups {
        if group != DEFAULT_GROUP {
            delta = delta.step(Step::Remove(layout::group(id, group)));
        }
    }
    delta.step(Step::Remove(layout::backstore(id)))
}

/// Makes a target port group.
pub fn create_group(id: &BackstoreId, name: &str, group: &TargetPortGroup) -> Delta {
    let dir = layout::group(id, name);
    let mut delta = Delta::new(Object::Group(id.clone(), name.into()), Change::Create)
        .needs(Object::Backstore(id.clone()))
        .step(Step::Make(dir.clone()));
    if let Some(number) = group.id {
        let value = Value::Text(number.to_string());
        delta = delta.set(dir.join("tg_pt_gp_id"), value, true);
    }
    // A new group takes every state, and the state comes first by its name: the other
    // attributes may forbid it.
    delta.set_all(&dir, pairs(&group.attributes), never)
}

/// Changes what differs of a target port group.
pub fn modify_group(
    id: &BackstoreId,
    name: &str,
    current: &TargetPortGroup,
    wanted: &TargetPortGroup,
) -> Delta {
    const TYPE: &str = "alua_access_type";
    let dir = layout::group(id, name);
    let changes = current.attributes.changes(&wanted.attributes);
    let mut delta = Delta::new(Object::Group(id.clone(), name.into()), Change::Modify);
    if let (None, Some(number)) = (current.id, wanted.id) {
        let value = Value::Text(number.to_string());
        delta = delta.set(dir.join("tg_pt_gp_id"), value, true);
    }
    // Only a group whose state the target may change takes another state here.
    let explicit = matches!(current.attributes.get(TYPE), Some("0" | "2"));
    let moves = changes.iter().any(|(name, _)| *name == "alua_access_state");
    if explicit && moves {
        let value = Value::Text("3".into());
        delta = delta.step(Step::Prepare(dir.join(TYPE), value));
    }
    delta = delta.set_all(&dir, changes, never);
    if explicit && moves {
        // Compared with what is there then, so that it is as it was, or as it is wanted.
        let kind = wanted.attributes.get(TYPE);
        let kind = kind.or(current.attributes.get(TYPE)).unwrap_or("3");
        delta = delta.set(dir.join(TYPE), Value::Text(kind.into()), false);
    }
    delta
}

/// Removes a target port group; its LUNs are in the default one then.
pub fn remove_group(id: &BackstoreId, name: &str) -> Delta {
    Delta::new(Object::Group(id.clone(), name.into()), Change::Remove)
        .step(Step::Remove(layout::group(id, name)))
}

/// Removes a host bus adapter that has no backstores.
pub fn remove_hba(number: u32) -> Delta {
    let path = layout::core().join(format!("iblock_{number}"));
    Delta::new(Object::Hba(number), Change::Remove).step(Step::Remove(path))
}

/// Sets what differs of the authentication of discovery sessions.
pub fn modify_discovery_auth(current: &DiscoveryAuth, wanted: &DiscoveryAuth) -> Delta {
    let dir = layout::discovery_auth();
    let mut delta = Delta::new(Object::DiscoveryAuth, Change::Modify)
        .step(Step::Ensure(layout::fabric()))
        .set_auth(&dir, &current.auth, &wanted.auth)
        .set_all(&dir, current.attributes.changes(&wanted.attributes), always);
    if current.enforce != wanted.enforce {
        let value = if wanted.enforce { "1" } else { "0" };
        delta = delta.set(
            dir.join("enforce_discovery_auth"),
            Value::Text(value.into()),
            true,
        );
    }
    delta
}

/// Makes a target.
pub fn create_target(name: &Name, target: &Target) -> Delta {
    Delta::new(Object::Target(name.clone()), Change::Create)
        .step(Step::Ensure(layout::fabric()))
        .step(Step::Make(layout::target(name)))
        .set_all(
            &layout::target(name).join("param"),
            pairs(&target.parameters),
            never,
        )
}

/// Makes a TPG, disabled and empty.
pub fn create_tpg(name: &Name, tag: u16) -> Delta {
    Delta::new(Object::Tpg(name.clone(), tag), Change::Create)
        .needs(Object::Target(name.clone()))
        .step(Step::Make(layout::tpg(name, tag)))
}

/// Sets what differs of a TPG's settings.
pub fn modify_tpg(name: &Name, tag: u16, current: &Tpg, wanted: &Tpg) -> Delta {
    let dir = layout::tpg(name, tag);
    let mut delta = Delta::new(Object::TpgSettings(name.clone(), tag), Change::Modify)
        .needs(Object::Tpg(name.clone(), tag));
    if let Some(rtpi) = wanted.rtpi {
        if current.rtpi != Some(rtpi) {
            delta = delta.set(dir.join("rtpi"), Value::Text(rtpi.to_string()), true);
        }
    }
    delta
        .set_all(
            &dir.join("attrib"),
            current.attributes.changes(&wanted.attributes),
            guards_access,
        )
        .set_all(
            &dir.join("param"),
            current.parameters.changes(&wanted.parameters),
            guards_access,
        )
        .set_auth(&dir.join("auth"), &current.auth, &wanted.auth)
}

/// Lets initiators log in, or logs them out and keeps them out.
pub fn switch_tpg(name: &Name, tag: u16, on: bool) -> Delta {
    let (change, value) = if on {
        (Change::Enable, "1")
    } else {
        (Change::Disable, "0")
    };
    let delta = Delta::new(Object::TpgSwitch(name.clone(), tag), change).set(
        layout::tpg(name, tag).join("enable"),
        Value::Text(value.into()),
        true,
    );
    if on {
        delta
            .needs(Object::Tpg(name.clone(), tag))
            .needs(Object::TpgSettings(name.clone(), tag))
    } else {
        delta
    }
}

/// Makes a portal, which listens at once.
pub fn create_portal(name: &Name, tag: u16, portal: &Portal, attributes: &Attributes) -> Delta {
    let dir = layout::portal(name, tag, portal);
    Delta::new(
        Object::Portal(name.clone(), tag, portal.clone()),
        Change::Create,
    )
    .needs(Object::Tpg(name.clone(), tag))
    .step(Step::Make(dir.clone()))
    .set_all(&dir, pairs(attributes), never)
}

/// Changes attributes of a portal from what they are.
pub fn set_portal(
    name: &Name,
    tag: u16,
    portal: &Portal,
    have: &Attributes,
    want: &Attributes,
) -> Delta {
    let dir = layout::portal(name, tag, portal);
    let object = Object::Portal(name.clone(), tag, portal.clone());
    Delta::new(object, Change::Modify).set_all(&dir, have.changes(want), never)
}

/// Removes a portal.
pub fn remove_portal(name: &Name, tag: u16, portal: &Portal) -> Delta {
    Delta::new(
        Object::Portal(name.clone(), tag, portal.clone()),
        Change::Remove,
    )
    .step(Step::Remove(layout::portal(name, tag, portal)))
}

/// Makes a LUN out of a backstore.
pub fn create_lun(name: &Name, tag: u16, number: u64, lun: &Lun) -> Delta {
    let dir = layout::lun(name, tag, number);
    let link = lun.link.as_deref().unwrap_or(&lun.backstore.name);
    let mut delta = Delta::new(Object::Lun(name.clone(), tag, number), Change::Create)
        .detail(format!("backstore {}", lun.backstore))
        .needs(Object::Tpg(name.clone(), tag))
        .needs(Object::Backstore(lun.backstore.clone()))
        .step(Step::Make(dir.clone()))
        .step(Step::Link(
            dir.join(link),
            layout::backstore(&lun.backstore),
        ));
    if let Some(group) = &lun.group {
        delta = delta
            .needs(Object::Group(lun.backstore.clone(), group.clone()))
            .set(dir.join("alua_tg_pt_gp"), Value::Text(group.clone()), true);
    }
    if lun.offline {
        delta = delta.set(
            dir.join("alua_tg_pt_offline"),
            Value::Text("1".into()),
            true,
        );
    }
    delta.set_all(&dir.join("attrib"), pairs(&lun.attributes), never)
}

/// Changes a LUN's attributes, and its place in the target port groups of its backstore.
pub fn modify_lun(name: &Name, tag: u16, number: u64, current: &Lun, wanted: &Lun) -> Delta {
    let dir = layout::lun(name, tag, number);
    let mut delta = Delta::new(Object::Lun(name.clone(), tag, number), Change::Modify);
    if current.group != wanted.group {
        if let Some(group) = &wanted.group {
            delta = delta.needs(Object::Group(wanted.backstore.clone(), group.clone()));
        }
        let group = wanted.group.as_deref().unwrap_or(DEFAULT_GROUP);
        delta = delta.set(
            dir.join("alua_tg_pt_gp"),
            Value::Text(group.to_string()),
            true,
        );
    }
    if current.offline != wanted.offline {
        let value = if wanted.offline { "1" } else { "0" };
        delta = delta.set(
            dir.join("alua_tg_pt_offline"),
            Value::Text(value.into()),
            true,
        );
    }
    let changes = current.attributes.changes(&wanted.attributes);
    delta.set_all(&dir.join("attrib"), changes, never)
}

/// Removes a LUN; `link` is the name of its link.
pub fn remove_lun(name: &Name, tag: u16, number: u64, link: Option<&str>) -> Delta {
    let dir = layout::lun(name, tag, number);
    let mut delta = Delta::new(Object::Lun(name.clone(), tag, number), Change::Remove);
    if let Some(link) = link {
        delta = delta.step(Step::Unlink(dir.join(link)));
    }
    delta.step(Step::Remove(dir))
}

/// Makes an ACL without LUNs.
pub fn create_acl(name: &Name, tag: u16, initiator: &Name, acl: &Acl) -> Delta {
    let dir = layout::acl(name, tag, initiator);
    let delta = Delta::new(
        Object::Acl(name.clone(), tag, initiator.clone()),
        Change::Create,
    )
    .needs(Object::Tpg(name.clone(), tag))
    .step(Step::Make(dir));
    acl_values(delta, name, tag, initiator, &Acl::default(), acl)
}

/// Sets what differs of an ACL's values.
pub fn modify_acl(name: &Name, tag: u16, initiator: &Name, current: &Acl, wanted: &Acl) -> Delta {
    let delta = Delta::new(
        Object::Acl(name.clone(), tag, initiator.clone()),
        Change::Modify,
    );
    acl_values(delta, name, tag, initiator, current, wanted)
}

fn acl_values(
    mut delta: Delta,
    name: &Name,
    tag: u16,
    initiator: &Name,
    current: &Acl,
    wanted: &Acl,
) -> Delta {
    let dir = layout::acl(name, tag, initiator);
    delta = delta
        .set_auth(&dir.join("auth"), &current.auth, &wanted.auth)
        .set_all(
            &dir.join("attrib"),
            current.attributes.changes(&wanted.attributes),
            guards_access,
        );
    if current.tag != wanted.tag {
        delta = delta.set(dir.join("tag"), Value::Clearable(wanted.tag.clone()), false);
    }
    if let Some(depth) = wanted.cmdsn_depth {
        if current.cmdsn_depth != Some(depth) {
            delta.interrupts = true;
            delta = delta.set(
                dir.join("cmdsn_depth"),
                Value::Text(depth.to_string()),
                false,
            );
        }
    }
    delta
}

/// Removes an ACL that has no mapped LUNs any more.
pub fn remove_acl(name: &Name, tag: u16, initiator: &Name) -> Delta {
    Delta::new(
        Object::Acl(name.clone(), tag, initiator.clone()),
        Change::Remove,
    )
    .step(Step::Remove(layout::acl(name, tag, initiator)))
}

/// Lets an initiator see a LUN.
pub fn map_lun(name: &Name, tag: u16, initiator: &Name, mapped: u64, lun: &MappedLun) -> Delta {
    let dir = layout::mapped_lun(name, tag, initiator, mapped);
    let link = match &lun.link {
        Some(link) => link.clone(),
        None => format!("lun_{}", lun.lun),
    };
    let value = Value::Text(if lun.write_protect { "1" } else { "0" }.into());
    let mut delta = Delta::new(
        Object::MappedLun(name.clone(), tag, initiator.clone(), mapped),
        Change::Create,
    )
    .detail(format!(
        "LUN {}, {}",
        lun.lun,
        if lun.write_protect {
            "read-only"
        } else {
            "read-write"
        }
    ))
    .needs(Object::Acl(name.clone(), tag, initiator.clone()))
    .needs(Object::Lun(name.clone(), tag, lun.lun))
    .step(Step::Make(dir.clone()));
    if lun.write_protect {
        delta = delta.step(Step::Prepare(dir.join("write_protect"), value.clone()));
    }
    delta
        .step(Step::Link(dir.join(link), layout::lun(name, tag, lun.lun)))
        .set(dir.join("write_protect"), value, true)
}

/// Changes the write protection of a mapped LUN.
pub fn protect_lun(name: &Name, tag: u16, initiator: &Name, mapped: u64, protect: bool) -> Delta {
    let value = Value::Text(if protect { "1" } else { "0" }.into());
    let mut delta = Delta::new(
        Object::MappedLun(name.clone(), tag, initiator.clone(), mapped),
        Change::Modify,
    )
    .detail(if protect { "read-only" } else { "read-write" })
    .set(
        layout::mapped_lun(name, tag, initiator, mapped).join("write_protect"),
        value,
        true,
    );
    delta.interrupts = protect;
    delta
}

/// Hides a LUN from an initiator; `link` is the name of its link.
pub fn unmap_lun(
    name: &Name,
    tag: u16,
    initiator: &Name,
    mapped: u64,
    link: Option<&str>,
) -> Delta {
    let dir = layout::mapped_lun(name, tag, initiator, mapped);
    let mut delta = Delta::new(
        Object::MappedLun(name.clone(), tag, initiator.clone(), mapped),
        Change::Remove,
    );
    if let Some(link) = link {
        delta = delta.step(Step::Unlink(dir.join(link)));
    }
    delta.step(Step::Remove(dir))
}

/// Removes an ACL and what is in it.
pub fn remove_acl_tree(name: &Name, tag: u16, initiator: &Name, acl: &Acl) -> Vec<Delta> {
    let mut deltas: Vec<Delta> = acl
        .mapped_luns
        .iter()
        .map(|(mapped, lun)| (mapped, &lun.link))
        .chain(&acl.odd_luns)
        .map(|(mapped, link)| unmap_lun(name, tag, initiator, *mapped, link.as_deref()))
        .collect();
    deltas.push(after(remove_acl(name, tag, initiator), &deltas));
    deltas
}

/// Removes a TPG and what is in it. Initiators are logged out first.
pub fn remove_tpg_tree(name: &Name, tag: u16, tpg: &Tpg) -> Vec<Delta> {
    let mut deltas = Vec::new();
    if tpg.enabled {
        deltas.push(switch_tpg(name, tag, false));
    }
    for portal in tpg.portals.keys() {
        deltas.push(remove_portal(name, tag, portal));
    }
    for (initiator, acl) in &tpg.acls {
        deltas.extend(remove_acl_tree(name, tag, initiator, acl));
    }
    let luns = tpg.luns.iter().map(|(number, lun)| (number, &lun.link));
    for (number, link) in luns.chain(&tpg.odd_luns) {
        deltas.push(remove_lun(name, tag, *number, link.as_deref()));
    }
    let tpg = Delta::new(Object::Tpg(name.clone(), tag), Change::Remove)
        .step(Step::Remove(layout::tpg(name, tag)));
    deltas.push(after(tpg, &deltas));
    deltas
}

/// Removes a target and what is in it, but no backstore.
pub fn remove_target_tree(name: &Name, target: &Target) -> Vec<Delta> {
    let mut deltas: Vec<Delta> = target
        .tpgs
        .iter()
        .flat_map(|(tag, tpg)| remove_tpg_tree(name, *tag, tpg))
        .collect();
    let target = Delta::new(Object::Target(name.clone()), Change::Remove)
        .step(Step::Remove(layout::target(name)));
    deltas.push(after(target, &deltas));
    deltas
}

/// Makes `delta` wait for all removals in `earlier`.
fn after(mut delta: Delta, earlier: &[Delta]) -> Delta {
    delta.needs.extend(
        earlier
            .iter()
            .filter(|d| d.change == Change::Remove)
            .map(|d| d.object.clone()),
    );
    delta
}

/// Removes everything that is configured.
pub fn clear(current: &Configuration, keep_backstores: bool) -> Vec<Delta> {
    let mut deltas = Vec::new();
    for (name, target) in &current.targets {
        deltas.extend(remove_target_tree(name, target));
    }
    let none = modify_discovery_auth(&current.discovery_auth, &DiscoveryAuth::default());
    if none.steps.len() > 1 {
        deltas.push(none);
    }
    if !keep_backstores {
        let backstores = current.backstores.iter();
        deltas.extend(
            backstores.map(|(id, have)| remove_backstore(id, have.target_port_groups.keys())),
        );
    }
    deltas
}

/// What stands in the way of making one configuration into another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The object that would have to be made anew.
    pub object: Object,
    /// What differs.
    pub reason: String,
}

/// How to make one configuration into another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// What to do, in order.
    pub deltas: Vec<Delta>,
    /// What cannot be changed in place.
    pub conflicts: Vec<Conflict>,
    /// What is there and not wanted, and stays.
    pub extras: Vec<Object>,
}

/// Compares two configurations.
///
/// Without `replace` nothing is removed: what `wanted` lacks is listed in
/// [`Plan::extras`], what would have to be made anew in [`Plan::conflicts`].
/// With it, both are removed first and the plan leads to `wanted` exactly; only a
/// backstore's device is replaced in place where that is all that differs.
pub fn plan(current: &Configuration, wanted: &Configuration, replace: bool) -> Plan {
    let mut plan = Plan::default();
    let mut unfit = unfit(current, wanted);
    if replace {
        unfit.retain(|conflict| match &conflict.object {
            Object::Backstore(id) => {
                let pair = (current.backstores.get(id), wanted.backstores.get(id));
                !matches!(pair, (Some(have), Some(want)) if is_replaced_live(have, want))
            }
            _ => true,
        });
    }
    let mut base = current.clone();
    if replace {
        let extras = extras(current, wanted);
        let doomed: BTreeSet<Object> = extras
            .into_iter()
            .chain(unfit.into_iter().map(|conflict| conflict.object))
            .collect();
        remove(&mut base, &doomed, &mut plan.deltas);
        for (name, target) in &mut base.targets {
            for (tag, tpg) in &mut target.tpgs {
                let rtpi = wanted
                    .targets
                    .get(name)
                    .and_then(|t| t.tpgs.get(tag))
                    .and_then(|t| t.rtpi);
                // The identifier of a port that initiators know cannot change under them.
                if tpg.enabled && rtpi.is_some() && rtpi != tpg.rtpi {
                    plan.deltas.push(switch_tpg(name, *tag, false));
                    tpg.enabled = false;
                }
            }
        }
    } else {
        plan.extras = extras(current, wanted);
        plan.conflicts = unfit;
    }
    add(&base, wanted, replace, &mut plan.deltas);
    plan
}

/// What is in `current` and not in `wanted`. A part of an extra object is not listed.
fn extras(current: &Configuration, wanted: &Configuration) -> Vec<Object> {
    let mut extras = Vec::new();
    for (id, have) in &current.backstores {
        let Some(want) = wanted.backstores.get(id) else {
            extras.push(Object::Backstore(id.clone()));
            continue;
        };
        for name in have.target_port_groups.keys() {
            if name != DEFAULT_GROUP && !want.target_port_groups.contains_key(name) {
                extras.push(Object::Group(id.clone(), name.clone()));
            }
        }
    }
    for (name, target) in &current.targets {
        let Some(want) = wanted.targets.get(name) else {
            extras.push(Object::Target(name.clone()));
            continue;
        };
        for (tag, tpg) in &target.tpgs {
            let tag = *tag;
            let Some(want) = want.tpgs.get(&tag) else {
                extras.push(Object::Tpg(name.clone(), tag));
                continue;
            };
            for portal in tpg.portals.keys() {
                if !want.portals.contains_key(portal) {
                    extras.push(Object::Portal(name.clone(), tag, portal.clone()));
                }
            }
            for lun in tpg.luns.keys().chain(tpg.odd_luns.keys()) {
                if !want.luns.contains_key(lun) {
                    extras.push(Object::Lun(name.clone(), tag, *lun));
                }
            }
            for (initiator, acl) in &tpg.acls {
                let Some(want) = want.acls.get(initiator) else {
                    extras.push(Object::Acl(name.clone(), tag, initiator.clone()));
                    continue;
                };
                for mapped in acl.mapped_luns.keys().chain(acl.odd_luns.keys()) {
                    if !want.mapped_luns.contains_key(mapped) {
                        let initiator = initiator.clone();
                        extras.push(Object::MappedLun(name.clone(), tag, initiator, *mapped));
                    }
                }
            }
        }
    }
    extras
}

/// What is in both, but cannot become what is wanted without being made anew.
fn unfit(current: &Configuration, wanted: &Configuration) -> Vec<Conflict> {
    let mut unfit = Vec::new();
    for (id, have) in &current.backstores {
        let Some(want) = wanted.backstores.get(id) else {
            continue;
        };
        for (name, have) in &have.target_port_groups {
            if name == DEFAULT_GROUP {
                continue;
            }
            let want = want.target_port_groups.get(name).and_then(|want| want.id);
            if let (Some(have), Some(want)) = (have.id, want) {
                if have != want {
                    unfit.push(Conflict {
                        object: Object::Group(id.clone(), name.clone()),
                        reason: format!("its identifier is {have}, wanted is {want}"),
                    });
                }
            }
        }
        let reason = if have.path != want.path {
            format!("its device is {}, wanted is {}", have.path, want.path)
        } else if have.enabled && have.read_only != want.read_only {
            let mode = |read_only| if read_only { "read-only" } else { "read-write" };
            format!(
                "it is {}, wanted is {}",
                mode(have.read_only),
                mode(want.read_only)
            )
        } else if have.enabled && have.exclusive != want.exclusive {
            let mode = |exclusive| if exclusive { "exclusive" } else { "shared" };
            format!(
                "its device is held {}, wanted is {}",
                mode(have.exclusive),
                mode(want.exclusive)
            )
        } else if have.enabled && !want.enabled {
            "it is enabled, wanted is not enabled".to_string()
        } else if !have.enabled && want.enabled {
            "it is not enabled".to_string()
        } else {
            continue;
        };
        unfit.push(Conflict {
            object: Object::Backstore(id.clone()),
            reason,
        });
    }
    for (name, target) in &current.targets {
        for (tag, have) in &target.tpgs {
            let Some(want) = wanted.targets.get(name).and_then(|t| t.tpgs.get(tag)) else {
                continue;
            };
            for (number, have) in &have.luns {
                if let Some(want) = want.luns.get(number) {
                    if have.backstore != want.backstore {
                        unfit.push(Conflict {
                            object: Object::Lun(name.clone(), *tag, *number),
                            reason: format!(
                                "its backstore is {}, wanted is {}",
                                have.backstore, want.backstore
                            ),
                        });
                    }
                }
            }
            for number in have.odd_luns.keys() {
                if want.luns.contains_key(number) {
                    unfit.push(Conflict {
                        object: Object::Lun(name.clone(), *tag, *number),
                        reason: "it has no backstore of a kind that is handled here".into(),
                    });
                }
            }
            for (initiator, have) in &have.acls {
                let Some(want) = want.acls.get(initiator) else {
                    continue;
                };
                for mapped in have.odd_luns.keys() {
                    if want.mapped_luns.contains_key(mapped) {
                        unfit.push(Conflict {
                            object: Object::MappedLun(
                                name.clone(),
                                *tag,
                                initiator.clone(),
                                *mapped,
                            ),
                            reason: "it leads to no LUN".into(),
                        });
                    }
                }
                for (mapped, have) in &have.mapped_luns {
                    if let Some(want) = want.mapped_luns.get(mapped) {
                        if have.lun != want.lun {
                            unfit.push(Conflict {
                                object: Object::MappedLun(
                                    name.clone(),
                                    *tag,
                                    initiator.clone(),
                                    *mapped,
                                ),
                                reason: format!(
                                    "it shows LUN {}, wanted is LUN {}",
                                    have.lun, want.lun
                                ),
                            });
                        }
                    }
                }
            }
        }
    }
    unfit
}

/// Takes `doomed`, and what cannot be without it, out of `base`.
fn remove(base: &mut Configuration, doomed: &BTreeSet<Object>, deltas: &mut Vec<Delta>) {
    let mut targets = std::mem::take(&mut base.targets);
    for (name, mut target) in std::mem::take(&mut targets) {
        if doomed.contains(&Object::Target(name.clone())) {
            deltas.extend(remove_target_tree(&name, &target));
            continue;
        }
        target.tpgs.retain(|tag, tpg| {
            let keep = !doomed.contains(&Object::Tpg(name.clone(), *tag));
            if !keep {
                deltas.extend(remove_tpg_tree(&name, *tag, tpg));
            }
            keep
        });
        for (tag, tpg) in &mut target.tpgs {
            remove_from_tpg(&name, *tag, tpg, doomed, deltas);
        }
        base.targets.insert(name, target);
    }
    base.backstores.retain(|id, have| {
        let keep = !doomed.contains(&Object::Backstore(id.clone()));
        if !keep {
            deltas.push(remove_backstore(id, have.target_port_groups.keys()));
            return false;
        }
        have.target_port_groups.retain(|name, _| {
            let keep = !doomed.contains(&Object::Group(id.clone(), name.clone()));
            if !keep {
                deltas.push(remove_group(id, name));
            }
            keep
        });
        true
    });
}

fn remove_from_tpg(
    name: &Name,
    tag: u16,
    tpg: &mut Tpg,
    doomed: &BTreeSet<Object>,
    deltas: &mut Vec<Delta>,
) {
    let gone: BTreeSet<u64> = tpg
        .luns
        .iter()
        .filter(|(number, lun)| {
            doomed.contains(&Object::Lun(name.clone(), tag, **number))
                || doomed.contains(&Object::Backstore(lun.backstore.clone()))
        })
        .map(|(number, _)| *number)
        .collect();
    tpg.portals.retain(|portal, _| {
        let keep = !doomed.contains(&Object::Portal(name.clone(), tag, portal.clone()));
        if !keep {
            deltas.push(remove_portal(name, tag, portal));
        }
        keep
    });
    tpg.acls.retain(|initiator, acl| {
        let keep = !doomed.contains(&Object::Acl(name.clone(), tag, initiator.clone()));
        if !keep {
            deltas.extend(remove_acl_tree(name, tag, initiator, acl));
        }
        keep
    });
    for (initiator, acl) in &mut tpg.acls {
        acl.mapped_luns.retain(|mapped, lun| {
            let object = Object::MappedLun(name.clone(), tag, initiator.clone(), *mapped);
            let keep = !doomed.contains(&object) && !gone.contains(&lun.lun);
            if !keep {
                let link = lun.link.as_deref();
                deltas.push(unmap_lun(name, tag, initiator, *mapped, link));
            }
            keep
        });
        for (mapped, link) in std::mem::take(&mut acl.odd_luns) {
            deltas.push(unmap_lun(name, tag, initiator, mapped, link.as_deref()));
        }
    }
    for (number, link) in std::mem::take(&mut tpg.odd_luns) {
        deltas.push(remove_lun(name, tag, number, link.as_deref()));
    }
    tpg.luns.retain(|number, lun| {
        let keep = !gone.contains(number);
        if !keep {
            deltas.push(remove_lun(name, tag, *number, lun.link.as_deref()));
        }
        // It stays, and its group goes.
        lun.group
            .take_if(|group| doomed.contains(&Object::Group(lun.backstore.clone(), group.clone())));
        keep
    });
}

/// Adds and changes what is needed: backstores first, enabling last.
fn add(base: &Configuration, wanted: &Configuration, replace: bool, deltas: &mut Vec<Delta>) {
    let mut push = |delta: Delta| {
        if !delta.steps.is_empty() {
            deltas.push(delta);
        }
    };
    for (id, want) in &wanted.backstores {
        match base.backstores.get(id) {
            None => push(create_backstore(id, want)),
            Some(have) => {
                if replace && is_replaced_live(have, want) {
                    push(replace_device(id, &have.path, &want.path));
                }
                let only = |changes: Vec<(&str, &str)>| {
                    Attributes(
                        changes
                            .into_iter()
                            .map(|(name, value)| (name.to_string(), value.to_string()))
                            .collect(),
                    )
                };
                let alias = want.alias.as_ref();
                let map = want.lba_map.as_ref();
                push(modify_backstore(
                    id,
                    alias.filter(|alias| have.alias.as_ref() != Some(alias)),
                    map.filter(|map| have.lba_map.as_ref() != Some(map)),
                    &only(have.wwn.changes(&want.wwn)),
                    &only(have.attributes.changes(&want.attributes)),
                ));
            }
        }
        let have = base.backstores.get(id);
        for (name, want) in &want.target_port_groups {
            match have.and_then(|have| have.target_port_groups.get(name)) {
                Some(have) => push(modify_group(id, name, have, want)),
                // It was made with its backstore.
                None if name == DEFAULT_GROUP => {}
                None => push(create_group(id, name, want)),
            }
        }
    }
    let discovery = modify_discovery_auth(&base.discovery_auth, &wanted.discovery_auth);
    // The first step only makes sure that the directory is there.
    if discovery.steps.len() > 1 {
        push(discovery);
    }
    let mut last = Vec::new();
    for (name, want) in &wanted.targets {
        let have = base.targets.get(name);
        match have {
            None => push(create_target(name, want)),
            Some(have) => {
                let mut delta = Delta::new(Object::Target(name.clone()), Change::Modify);
                delta = delta.set_all(
                    &layout::target(name).join("param"),
                    have.parameters.changes(&want.parameters),
                    never,
                );
                push(delta);
            }
        }
        for (tag, want) in &want.tpgs {
            let have = have.and_then(|target| target.tpgs.get(tag));
            if have.is_none() {
                push(create_tpg(name, *tag));
            }
            let empty = Tpg::default();
            let have = have.unwrap_or(&empty);
            push(modify_tpg(name, *tag, have, want));
            for (number, lun) in &want.luns {
                match have.luns.get(number) {
                    Some(have) => push(modify_lun(name, *tag, *number, have, lun)),
                    None if have.odd_luns.contains_key(number) => {}
                    None => push(create_lun(name, *tag, *number, lun)),
                }
            }
            for (initiator, want) in &want.acls {
                let have = have.acls.get(initiator);
                match have {
                    None => push(create_acl(name, *tag, initiator, want)),
                    Some(have) => push(modify_acl(name, *tag, initiator, have, want)),
                }
                for (mapped, want) in &want.mapped_luns {
                    match have.and_then(|acl| acl.mapped_luns.get(mapped)) {
                        None if have.is_some_and(|acl| acl.odd_luns.contains_key(mapped)) => {}
                        None => push(map_lun(name, *tag, initiator, *mapped, want)),
                        Some(have) => {
                            if have.write_protect != want.write_protect {
                                let protect = want.write_protect;
                                push(protect_lun(name, *tag, initiator, *mapped, protect));
                            }
                        }
                    }
                }
            }
            for (portal, want) in &want.portals {
                match have.portals.get_key_value(portal) {
                    None => push(create_portal(name, *tag, portal, want)),
                    Some((existing, have)) => {
                        push(set_portal(name, *tag, existing, have, want));
                    }
                }
            }
            if have.enabled != want.enabled {
                last.push(switch_tpg(name, *tag, want.enabled));
            }
        }
    }
    last.into_iter().for_each(push);
}
