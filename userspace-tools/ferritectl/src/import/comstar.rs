// SPDX-License-Identifier: GPL-2.0

//! COMSTAR's configuration, as its own tools print it: `stmfadm list-lu -v`, `list-view`,
//! `list-hg -v`, `list-tg -v`, and `itadm list-target -v`, `list-tpg -v`, `list-initiator`, one
//! after the other in one file.
//!
//! The export of the SMF repository is not read: what says which device a logical unit has is in
//! it as a packed list of a private format.
//!
//! What COMSTAR shows as identifiers: page 83h has a NAA designator, which is the name of the
//! logical unit; page 80h is `Serial Num`, or four blanks if it is not set. The first makes the
//! disk to initiators, so that is kept, and is the serial number if there is none.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::authentication;
use super::base_name;
use super::every_address;
use super::open_to_all;
use super::At;
use super::Identity;
use super::Reader;
use super::NO_IPV6;
use crate::error::Result;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::state::Acl;
use crate::state::Lun;
use crate::state::MappedLun;
use crate::state::Target;
use crate::state::Tpg;

/// What a property says that has no value.
const NOT_SET: &[&str] = &["", "-", "not set", "<none>", "none", "unknown"];

/// The group of everybody: the word for it in a view.
const ALL: &str = "All";

/// Who is in no host group, as members of one.
const EVERYBODY: [&str; 3] = ["eui.*", "iqn.*", "naa.*"];

/// A logical unit.
struct Unit {
    at: At,
    properties: BTreeMap<String, (At, String)>,
    views: Vec<View>,
}

/// Who sees a logical unit by which number.
#[derive(Clone)]
struct View {
    at: At,
    hosts: Option<String>,
    targets: Option<String>,
    number: Option<u64>,
}

/// A target.
struct Door {
    at: At,
    offline: bool,
    properties: BTreeMap<String, (At, String)>,
}

/// What the tools have printed.
#[derive(Default)]
struct Printed {
    units: BTreeMap<String, Unit>,
    host_groups: BTreeMap<String, Vec<(At, String)>>,
    target_groups: BTreeMap<String, Vec<(At, String)>>,
    doors: BTreeMap<String, Door>,
    portals: BTreeMap<String, (At, Vec<String>)>,
    initiators: Vec<(At, String, bool)>,
}

/// What the lines that follow are about.
enum Place {
    Nothing,
    Unit(String),
    View(String),
    HostGroup(String),
    TargetGroup(String),
    /// Of `stmfadm list-target`, which says nothing that itadm does not.
    Skipped,
    Targets(Option<String>),
    PortalGroups(Option<String>),
    Initiators,
}

fn is_set(value: &str) -> bool {
    !NOT_SET.contains(&value)
}

/// The first two columns of a row.
fn columns(line: &str) -> (&str, &str) {
    let mut words = line.split_whitespace();
    (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    )
}

impl Printed {
    fn read(reader: &Reader, text: &str) -> Result<Self> {
        let mut printed = Printed::default();
        let mut place = Place::Nothing;
        for (index, line) in text.lines().enumerate() {
            let at = reader.at(index + 1);
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                printed.property(&at, &mut place, line.trim())?;
            } else {
                place = printed.heading(&at, place, line.trim())?;
            }
        }
        Ok(printed)
    }

    fn heading(&mut self, at: &At, place: Place, line: &str) -> Result<Place> {
        let titled = |title: &str| line.strip_prefix(title).map(|rest| rest.trim().to_string());
        if let Some(guid) = titled("LU Name:") {
            let hex = guid.len() == 32 && guid.bytes().all(|b| b.is_ascii_hexdigit());
            if !hex {
                return Err(at.bad_value("LU Name", &guid, "32 hexadecimal digits are needed"));
            }
            let guid = guid.to_ascii_lowercase();
            self.units.entry(guid.clone()).or_insert_with(|| Unit {
                at: at.clone(),
                properties: BTreeMap::new(),
                views: Vec::new(),
            });
            return Ok(Place::Unit(guid));
        }
        if titled("View Entry:").is_some() {
            let (Place::Unit(guid) | Place::View(guid)) = place else {
                let rule =
                    "`LU Name:` is expected before it: list the logical unit, then its views";
                return Err(at.bad_value("line", line, rule));
            };
            if let Some(unit) = self.units.get_mut(&guid) {
                unit.views.push(View {
                    at: at.clone(),
                    hosts: None,
                    targets: None,
                    number: None,
                });
            }
            return Ok(Place::View(guid));
        }
        if let Some(name) = titled("Host Group:") {
            self.host_groups.entry(name.clone()).or_default();
            return Ok(Place::HostGroup(name));
        }
        if let Some(name) = titled("Target Group:") {
            self.target_groups.entry(name.clone()).or_default();
            return Ok(Place::TargetGroup(name));
        }
        if titled("Target:").is_some() {
            return Ok(Place::Skipped);
        }
        for (title, place) in [
            ("TARGET NAME", Place::Targets(None)),
            ("TARGET PORTAL GROUP", Place::PortalGroups(None)),
            ("INITIATOR NAME", Place::Initiators),
        ] {
            if titled(title).is_some() {
                return Ok(place);
            }
        }
        let (name, second) = columns(line);
        match place {
            Place::Targets(_) => {
                let door = Door {
                    at: at.clone(),
                    offline: second == "offline",
                    properties: BTreeMap::new(),
                };
                self.doors.insert(name.to_string(), door);
                Ok(Place::Targets(Some(name.to_string())))
            }
            Place::PortalGroups(_) => {
                let group = (at.clone(), Vec::new());
                self.portals.insert(name.to_string(), group);
                Ok(Place::PortalGroups(Some(name.to_string())))
            }
            Place::Initiators => {
                let secret = line.split_whitespace().last() == Some("set");
                self.initiators.push((at.clone(), name.to_string(), secret));
                Ok(Place::Initiators)
            }
            _ => {
                let rule = "this is nothing that stmfadm or itadm prints";
                Err(at.bad_value("line", line, rule))
            }
        }
    }

    fn property(&mut self, at: &At, place: &mut Place, line: &str) -> Result<()> {
        let (key, value) = line
            .split_once(':')
            .ok_or_else(|| at.bad_value("line", line, "a property and its value are expected"))?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_string());
        match place {
            Place::Unit(guid) => {
                if let Some(unit) = self.units.get_mut(guid) {
                    unit.properties.insert(key, (at.clone(), value));
                }
            }
            Place::View(guid) => {
                let view = self.units.get_mut(guid).and_then(|u| u.views.last_mut());
                let Some(view) = view else { return Ok(()) };
                match key.as_str() {
                    "host group" => view.hosts = (value != ALL).then_some(value),
                    "target group" => view.targets = (value != ALL).then_some(value),
                    "lun" => {
                        let number = value.parse().ok().filter(|number| *number <= 16383);
                        let rule = "a number from 0 to 16383 is needed";
                        view.number =
                            Some(number.ok_or_else(|| at.bad_value("LUN", &value, rule))?);
                    }
                    _ => return Err(at.bad_value("property of a view", &key, "it is not known")),
                }
            }
            Place::HostGroup(name) | Place::TargetGroup(name) if key != "member" => {
                return Err(at.bad_value(
                    &format!("property of group {name}"),
                    &key,
                    "only `Member` is expected",
                ));
            }
            Place::HostGroup(name) => {
                let members = self.host_groups.entry(name.clone()).or_default();
                members.push((at.clone(), value));
            }
            Place::TargetGroup(name) => {
                let members = self.target_groups.entry(name.clone()).or_default();
                members.push((at.clone(), value));
            }
            Place::Targets(Some(name)) => {
                if let Some(door) = self.doors.get_mut(name) {
                    door.properties.insert(key, (at.clone(), value));
                }
            }
            Place::PortalGroups(Some(name)) if key == "portals" => {
                let group = self.portals.get_mut(name);
                let addresses = value.split(',').map(str::trim).filter(|a| is_set(a));
                if let Some((_, portals)) = group {
                    portals.extend(addresses.map(str::to_string));
                }
            }
            Place::Skipped => {}
            _ => {
                let rule = "this is nothing that stmfadm or itadm prints here";
                return Err(at.bad_value("line", line, rule));
            }
        }
        Ok(())
    }
}

pub(super) fn read(reader: &mut Reader, text: &str) -> Result<()> {
    let printed = Printed::read(reader, text)?;
    let mut disks = BTreeMap::new();
    for (guid, unit) in &printed.units {
        if let Some(id) = disk(reader, guid, unit)? {
            disks.insert(guid.clone(), id);
        }
        if unit.views.is_empty() {
            let what = format!("logical unit {guid}");
            reader.leave(
                &unit.at,
                what,
                "no view of it is in the file, so nobody sees it",
            );
        }
    }
    for view in printed.units.values().flat_map(|unit| &unit.views) {
        let groups = [
            ("target", &view.targets, &printed.target_groups),
            ("host", &view.hosts, &printed.host_groups),
        ];
        for (kind, group, all) in groups {
            if let Some(group) = group.as_ref().filter(|group| !all.contains_key(*group)) {
                let why = "it is not in the file, so nobody sees the logical unit by this view";
                reader.leave(&view.at, format!("{kind} group {group}"), why);
            }
        }
    }
    for (name, door) in &printed.doors {
        target(reader, name, door, &printed, &disks)?;
    }
    for (at, name, secret) in &printed.initiators {
        if *secret {
            reader.leave(
                at,
                format!("CHAP of initiator {name}"),
                "the tools do not print the secret: nobody can log in by CHAP until `chap` is added",
            );
        }
    }
    Ok(())
}

/// The path by which Linux knows a device.
fn device_path(path: &str) -> Option<String> {
    let volume = path
        .strip_prefix("/dev/zvol/rdsk/")
        .or_else(|| path.strip_prefix("/dev/zvol/dsk/"))?;
    Some(format!("/dev/zvol/{volume}"))
}

/// Makes a backstore of a logical unit.
fn disk(reader: &mut Reader, guid: &str, unit: &Unit) -> Result<Option<BackstoreId>> {
    let value = |key: &str| {
        unit.properties
            .get(key)
            .map(|(_, value)| value.as_str())
            .filter(|value| is_set(value))
    };
    let what = format!("logical unit {guid}");
    let Some((at, path)) = unit.properties.get("data file").filter(|(_, v)| is_set(v)) else {
        reader.leave(&unit.at, what, "the file does not say which device it has");
        return Ok(None);
    };
    let volume = device_path(path);
    if volume.is_none() && value("meta file").is_none() {
        // COMSTAR's own data is at the beginning then, and the disk's behind it.
        reader.leave(
            at,
            format!("{what}, {path}"),
            "it is no ZFS volume and has no meta file, so COMSTAR's own data is in front of that \
             of the disk: copy the disk through an initiator",
        );
        return Ok(None);
    }
    let path = volume.as_deref().unwrap_or(path);
    let serial = value("serial num").map(str::to_string);
    if serial.is_none() {
        reader.leave(
            &unit.at,
            format!("serial number of {what}"),
            "COMSTAR sends four blanks; here it is the logical unit's name",
        );
    }
    let guid_kept = guid.starts_with('6');
    if !guid_kept {
        let why = "a name of 32 digits begins with 6 (SPC-4, NAA IEEE Registered Extended)";
        reader.leave(&unit.at, &what, why);
    }
    let identity = Identity {
        serial: serial.or_else(|| Some(guid.to_string())),
        vendor: value("vendor id").map(str::to_string),
        product: value("product id").map(str::to_string),
        naa_id: guid_kept.then(|| format!("0x{guid}")),
        ..Identity::default()
    };
    let like = value("alias").map_or_else(|| base_name(path), base_name);
    let id = reader.backstore(at, like, path, &identity)?;
    if let Some(id) = &id {
        let read_only = value("write protect") == Some("Enabled");
        let write_through = value("writeback cache") == Some("Disabled");
        let block_size = value("block size").map(str::to_string);
        reader.set_use(id, read_only, write_through, block_size);
    }
    if let Some((at, url)) = unit
        .properties
        .get("management url")
        .filter(|(_, v)| is_set(v))
    {
        reader.leave(
            at,
            format!("Management URL {url:?}"),
            "there is no such page here",
        );
    }
    Ok(id)
}

/// The tags of a target's portal groups and their names.
fn tags(at: &At, text: &str) -> Result<Vec<(u16, Option<String>)>> {
    if text == "default" || text.is_empty() {
        return Ok(vec![(1, None)]);
    }
    let one = |part: &str| {
        let (name, tag) = part.rsplit_once('=')?;
        Some((tag.trim().parse().ok()?, Some(name.trim().to_string())))
    };
    let all: Option<Vec<_>> = text.split(',').map(one).collect();
    let rule = "`default`, or `NAME = TAG` separated by commas is needed";
    all.ok_or_else(|| at.bad_value("tpg-tags", text, rule))
}

fn target(
    reader: &mut Reader,
    name: &str,
    door: &Door,
    printed: &Printed,
    disks: &BTreeMap<String, BackstoreId>,
) -> Result<()> {
    let iscsi = door.at.check(Name::parse(name))?;
    let property = |key: &str| {
        let found = door.properties.get(key);
        found.map_or((&door.at, ""), |(at, value)| (at, value.as_str()))
    };
    let mut tpg = Tpg {
        enabled: !door.offline,
        ..Tpg::default()
    };
    let (at, alias) = property("alias");
    if is_set(alias) {
        reader.parameter(at, &mut tpg, "TargetAlias", alias, "");
    }
    let (at, auth) = property("auth");
    match auth.split_whitespace().next().unwrap_or_default() {
        "" | "none" => authentication(&mut tpg, false),
        "chap" => authentication(&mut tpg, true),
        other => {
            authentication(&mut tpg, true);
            let why = "CHAP is demanded instead, with secrets of this host";
            reader.leave(at, format!("authentication by {other}"), why);
        }
    }
    let (at, secret) = property("targetchapsecret");
    if secret == "set" {
        let why = "the tools do not print the secret: add `mutual_user` and `mutual_secret_file`";
        reader.leave(at, format!("CHAP of target {name} itself"), why);
    }
    views(reader, name, &mut tpg, printed, disks)?;
    let (at, text) = property("tpg-tags");
    let mut whole = Target::default();
    for (tag, group) in tags(at, text)? {
        let mut tpg = tpg.clone();
        match group
            .as_ref()
            .map(|group| (group, printed.portals.get(group)))
        {
            None => {
                every_address(&mut tpg);
                reader.leave(&door.at, format!("portals of {name}"), NO_IPV6);
            }
            Some((group, None)) => {
                let why = "its addresses are not in the file: add `portals`";
                reader.leave(at, format!("portal group {group}"), why);
            }
            Some((_, Some((at, portals)))) => {
                for portal in portals {
                    let portal = at.check(Portal::parse(portal))?;
                    tpg.portals.insert(portal, Default::default());
                }
            }
        }
        whole.tpgs.insert(tag, tpg);
    }
    reader.configuration.targets.insert(iscsi, whole);
    Ok(())
}

/// What of the logical units a target shows, and to whom.
fn views(
    reader: &mut Reader,
    name: &str,
    tpg: &mut Tpg,
    printed: &Printed,
    disks: &BTreeMap<String, BackstoreId>,
) -> Result<()> {
    let mut to_all = Vec::new();
    let mut to_groups: BTreeMap<&str, Vec<(u64, &BackstoreId)>> = BTreeMap::new();
    for (guid, unit) in &printed.units {
        let Some(id) = disks.get(guid) else { continue };
        for view in &unit.views {
            let is_here = view.targets.as_ref().is_none_or(|group| {
                let members = printed.target_groups.get(group);
                members.is_some_and(|all| all.iter().any(|(_, member)| member == name))
            });
            let rule = "LUN is missing: a view has `Host group`, `Target group` and `LUN`";
            let number = view.number.ok_or_else(|| view.at.bad(rule))?;
            match &view.hosts {
                _ if !is_here => {}
                None => to_all.push((number, id)),
                Some(group) => to_groups.entry(group).or_default().push((number, id)),
            }
        }
    }
    // A LUN that all see keeps its number; the numbers of the others follow from the entries.
    for (number, id) in &to_all {
        tpg.luns.insert(*number, Lun::new((*id).clone(), None));
    }
    if to_groups.is_empty() {
        open_to_all(tpg);
        return Ok(());
    }
    let mut names = BTreeSet::new();
    for (group, own) in to_groups {
        let mut members = Vec::new();
        for (at, member) in printed.host_groups.get(group).into_iter().flatten() {
            match names::parse_member(member) {
                Ok(member) => members.push(member),
                Err(error) => {
                    reader.leave(
                        at,
                        format!("member {member:?} of host group {group}"),
                        error,
                    );
                }
            }
        }
        let seen: Vec<_> = to_all.iter().chain(&own).copied().collect();
        let acl = entry(tpg, &seen, &members);
        if !members.is_empty() {
            add(tpg, group, acl, &mut names)?;
        }
    }
    if !to_all.is_empty() {
        let members = EVERYBODY.map(str::to_string);
        let acl = entry(tpg, &to_all, &members);
        add(tpg, "others", acl, &mut names)?;
    }
    Ok(())
}

/// An entry that shows these LUNs to `members`; the portal group gets what it has not.
fn entry(tpg: &mut Tpg, seen: &[(u64, &BackstoreId)], members: &[String]) -> Acl {
    let mut acl = Acl::default();
    for (number, id) in seen {
        let there = tpg.luns.iter().find(|(_, lun)| lun.backstore == **id);
        let lun = there.map(|(lun, _)| *lun).unwrap_or_else(|| {
            let free = std::iter::once(*number)
                .chain(0..)
                .find(|lun| !tpg.luns.contains_key(lun))
                .unwrap_or(*number);
            tpg.luns.insert(free, Lun::new((*id).clone(), None));
            free
        });
        let mapped = MappedLun {
            lun,
            ..MappedLun::default()
        };
        acl.mapped_luns.insert(*number, mapped);
    }
    acl.attributes.0.insert("members".into(), members.join(" "));
    acl
}

/// Adds a host group by a name like `like`.
fn add(tpg: &mut Tpg, like: &str, acl: Acl, names: &mut BTreeSet<String>) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    let lower = like.to_ascii_lowercase();
    let base: String = lower
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .take(56)
        .collect();
    let name = std::iter::once(base.clone())
        .chain((2..).map(|number| format!("{base}-{number}")))
        .find(|name| !names.contains(name))
        .unwrap_or(base);
    tpg.acls.insert(Name::parse_acl(&format!("@{name}"))?, acl);
    names.insert(name);
    Ok(())
}
