// SPDX-License-Identifier: GPL-2.0

//! SCST's scst.conf, as scstadmin writes it: words on lines, and blocks in braces.
//!
//! What SCST shows as identifiers: VPD page 80h is `usn`; page 83h has a T10 vendor ID
//! designator of `t10_vend_id` (`SCST_BIO` or `SCST_FIO`) and `vend_specific_id`, which by
//! itself is `t10_dev_id`; and `naa_id` and `eui64_id`, or, if neither is set, the first eight
//! bytes of `t10_dev_id` as an EUI-64 based one. By themselves `usn` is a number N made of
//! `setup_id` and the device's name, and `t10_dev_id` is `N-NAME`, both in hexadecimal.
//!
//! LUNs of a target are for initiators that are in none of its groups; a host group for
//! everybody stands for them here.

use std::collections::BTreeMap;

use super::authentication;
use super::every_address;
use super::hex;
use super::is_device;
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
use crate::state::Credentials;
use crate::state::Lun;
use crate::state::MappedLun;
use crate::state::Target;
use crate::state::Tpg;

/// iSCSI-SCST's parameters by themselves, which are left to our defaults.
const PARAMETER_DEFAULTS: &[(&str, &str)] = &[
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
    ("MaxRecvDataSegmentLength", "1048576"),
    ("MaxXmitDataSegmentLength", "1048576"),
    ("MaxBurstLength", "1048576"),
    ("FirstBurstLength", "65536"),
    ("MaxOutstandingR2T", "32"),
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
];

/// Who is in no group, as members of one.
const EVERYBODY: [&str; 3] = ["eui.*", "iqn.*", "naa.*"];

/// The name of the group for those.
const OTHERS: &str = "others";

/// A line, and what is in the braces behind it.
#[derive(Debug)]
struct Item {
    at: At,
    words: Vec<String>,
    block: Vec<Item>,
}

impl Item {
    fn key(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words behind the first one.
    fn value(&self) -> String {
        self.words.get(1..).unwrap_or_default().join(" ")
    }

    fn is(&self, key: &str) -> bool {
        self.key() == key
    }

    fn get(&self, key: &str) -> Option<String> {
        let item = self.block.iter().find(|item| item.is(key));
        item.map(Item::value)
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.block.iter().find(|item| item.is(key)) {
            None => Ok(false),
            Some(item) => match item.value().as_str() {
                "0" => Ok(false),
                "1" => Ok(true),
                value => Err(item.at.bad_value(key, value, "0 or 1 is needed")),
            },
        }
    }
}

/// The words of a line; what is in quotes is one.
fn words(at: &At, line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if matches!(chars.peek(), Some('#' | '"')) => {
                let next = chars.next();
                word.get_or_insert_default().extend(next);
            }
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '#' if !quoted => break,
            '{' | '}' if !quoted => {
                words.extend(word.take());
                words.push(c.to_string());
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        // The line is not shown, as there may be a secret in it.
        return Err(at.bad("a quotation mark is open at the end of the line"));
    }
    words.extend(word);
    Ok(words)
}

fn parse(reader: &Reader, text: &str) -> Result<Vec<Item>> {
    let mut open: Vec<Item> = Vec::new();
    let mut done: Vec<Item> = Vec::new();
    let mut push = |open: &mut Vec<Item>, item: Item| match open.last_mut() {
        Some(outer) => outer.block.push(item),
        None => done.push(item),
    };
    for (index, line) in text.lines().enumerate() {
        let at = reader.at(index + 1);
        let mut item: Vec<String> = Vec::new();
        for word in words(&at, line)? {
            match word.as_str() {
                "{" if item.is_empty() => {
                    return Err(at.bad_value("block", "{", "what it is of must stand before it"));
                }
                "{" => {
                    if open.len() >= 8 {
                        return Err(at.bad_value("block", "{", "blocks are too deep"));
                    }
                    open.push(Item {
                        at: at.clone(),
                        words: std::mem::take(&mut item),
                        block: Vec::new(),
                    });
                }
                "}" => {
                    if !item.is_empty() {
                        let item = Item {
                            at: at.clone(),
                            words: std::mem::take(&mut item),
                            block: Vec::new(),
                        };
                        push(&mut open, item);
                    }
                    let Some(block) = open.pop() else {
                        return Err(at.bad_value("end of a block", "}", "no block is open"));
                    };
                    push(&mut open, block);
                }
                _ => item.push(word),
            }
        }
        if !item.is_empty() {
            let item = Item {
                at,
                words: item,
                block: Vec::new(),
            };
            push(&mut open, item);
        }
    }
    if let Some(item) = open.last() {
        return Err(item.at.bad_value("block", item.key(), "it does not end"));
    }
    Ok(done)
}

pub(super) fn read(reader: &mut Reader, text: &str) -> Result<()> {
    let items = parse(reader, text)?;
    let mut setup_id = 0;
    for item in items.iter().filter(|item| item.is("setup_id")) {
        let value = item.value();
        let parsed = match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        };
        setup_id =
            parsed.ok_or_else(|| item.at.bad_value("setup_id", &value, "a number is needed"))?;
    }
    let mut devices = BTreeMap::new();
    for item in &items {
        if item.is("HANDLER") {
            handler(reader, item, setup_id, &mut devices)?;
        }
    }
    let mut everywhere = None;
    for item in &items {
        match item.key() {
            "HANDLER" | "setup_id" => {}
            "TARGET_DRIVER" if item.value() == "iscsi" => {
                driver(reader, item, &devices, &mut everywhere)?;
            }
            "TARGET_DRIVER" => {
                for target in item.block.iter().filter(|target| target.is("TARGET")) {
                    let what = format!("target {} {}", item.value(), target.value());
                    reader.leave(&target.at, what, "only iSCSI is served");
                }
            }
            "DEVICE_GROUP" => {
                let what = format!("device group {}", item.value());
                let why = "target port groups are made by hand: `ferritectl alua create`";
                reader.leave(&item.at, what, why);
            }
            "TARGET" | "GROUP" | "LUN" | "DEVICE" | "INITIATOR" => {
                return Err(item
                    .at
                    .bad_value("block", item.key(), "it is at the wrong place"));
            }
            key => reader.leave(&item.at, key, "there is no such choice here"),
        }
    }
    if let Some(at) = everywhere {
        reader.leave(&at, "portals", NO_IPV6);
    }
    Ok(())
}

/// The number that SCST makes of a device's name.
fn made_up(setup_id: u32, name: &str) -> u64 {
    // CRC32C, begun with zero and not inverted at the end, over the name and its null.
    let mut crc = 0u32;
    for byte in name.bytes().chain([0]) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
        }
    }
    (u64::from(setup_id) << 32) | u64::from(crc)
}

fn handler(
    reader: &mut Reader,
    item: &Item,
    setup_id: u32,
    devices: &mut BTreeMap<String, BackstoreId>,
) -> Result<()> {
    let handler = item.value();
    for device in &item.block {
        if !device.is("DEVICE") {
            let what = format!("{} of handler {handler}", device.key());
            reader.leave(&device.at, what, "there is no such choice here");
            continue;
        }
        let name = device.value();
        let vendor = match handler.as_str() {
            "vdisk_blockio" => "SCST_BIO",
            "vdisk_fileio" => "SCST_FIO",
            _ => {
                let what = format!("device {name} of handler {handler}");
                reader.leave(
                    &device.at,
                    what,
                    "only block devices are exported, as disks",
                );
                continue;
            }
        };
        let Some(path) = device.get("filename") else {
            return Err(device.at.bad_value("device", &name, "`filename` is needed"));
        };
        if !is_device(&path) {
            let what = format!("device {name}: {path:?}");
            reader.leave(
                &device.at,
                what,
                "not below /dev, and only block devices are exported: attach the file to a loop \
                 device (losetup) and export that",
            );
            continue;
        }
        if devices.contains_key(&name) {
            return Err(device
                .at
                .bad_value("device", &name, "it stands there twice"));
        }
        let identity = identity(reader, device, &name, vendor, setup_id)?;
        let Some(id) = reader.backstore(&device.at, &name, &path, &identity)? else {
            continue;
        };
        let read_only = device.flag("read_only")?;
        let write_through = device.flag("write_through")?;
        let thin = device.get("thin_provisioned");
        let block_size = device.get("blocksize").filter(|size| size != "512");
        reader.set_use(&id, read_only, write_through, block_size);
        if let Some(disk) = reader.backstore_mut(&id) {
            if thin.as_deref() == Some("0") {
                for name in ["emulate_tpu", "emulate_tpws"] {
                    disk.attributes.0.insert(name.into(), "0".into());
                }
            }
        }
        devices.insert(name.clone(), id);
        for option in &device.block {
            let known = [
                "blocksize",
                "eui64_id",
                "filename",
                "naa_id",
                "prod_id",
                "prod_rev_lvl",
                "read_only",
                "t10_dev_id",
                "t10_vend_id",
                "thin_provisioned",
                "threads_num",
                "threads_pool_type",
                "usn",
                "vend_specific_id",
                "write_through",
            ];
            if !known.contains(&option.key()) {
                let neutral = matches!(option.value().as_str(), "0" | "");
                if !neutral {
                    let what = format!("{} of device {name}", option.key());
                    reader.leave(&option.at, what, "there is no such choice here");
                }
            }
        }
    }
    Ok(())
}

fn identity(
    reader: &mut Reader,
    device: &Item,
    name: &str,
    vendor: &str,
    setup_id: u32,
) -> Result<Identity> {
    let number = made_up(setup_id, name);
    let (usn, t10) = (device.get("usn"), device.get("t10_dev_id"));
    if usn.is_none() || t10.is_none() {
        reader.leave(
            &device.at,
            format!("the identity of device {name}"),
            "usn and t10_dev_id are not both in the file: taken as SCST 3 makes them; compare \
             with /sys/kernel/scst_tgt/devices",
        );
    }
    let t10 = t10.unwrap_or_else(|| format!("{number:x}-{name}"));
    let clip = |text: String, most: usize| text.chars().take(most).collect::<String>();
    let vendor = clip(
        device.get("t10_vend_id").unwrap_or_else(|| vendor.into()),
        8,
    );
    let specific = device
        .get("vend_specific_id")
        .unwrap_or_else(|| t10.clone());
    let digits = |key: &str| -> Result<Option<String>> {
        let Some(value) = device.get(key).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let digits = value
            .strip_prefix("0x")
            .unwrap_or(&value)
            .to_ascii_lowercase();
        let fits = match key {
            "naa_id" => matches!(digits.len(), 16 | 32),
            _ => matches!(digits.len(), 16 | 24 | 32),
        };
        if !fits || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            let rule = "16 or 32 hexadecimal digits (eui64_id: or 24) are needed";
            return Err(device.at.bad_value(key, &value, rule));
        }
        Ok(Some(format!("0x{digits}")))
    };
    let (naa, mut eui) = (digits("naa_id")?, digits("eui64_id")?);
    if naa.is_none() && eui.is_none() {
        let mut bytes = [0u8; 8];
        for (to, from) in bytes.iter_mut().zip(t10.bytes()) {
            *to = from;
        }
        eui = Some(format!("0x{}", hex(bytes)));
    }
    let naa = naa.unwrap_or_else(|| "none".into());
    let known = matches!(naa.get(2..3), Some("2" | "3" | "5")) && naa.len() == 18
        || naa.get(2..3) == Some("6") && naa.len() == 34
        || naa == "none";
    if !known {
        let what = format!("naa_id {naa} of device {name}");
        reader.leave(
            &device.at,
            what,
            "16 digits begin with 2, 3 or 5, and 32 with 6",
        );
    }
    Ok(Identity {
        serial: Some(usn.unwrap_or_else(|| format!("{number:x}"))),
        product: Some(clip(
            device.get("prod_id").unwrap_or_else(|| name.into()),
            16,
        )),
        revision: Some(clip(
            device.get("prod_rev_lvl").unwrap_or_else(|| "3110".into()),
            4,
        )),
        naa_id: known.then_some(naa),
        eui64_id: eui,
        t10_id: (!specific.is_empty()).then(|| format!("{vendor:8}{specific}")),
        vendor: Some(vendor),
    })
}

/// The first of some accounts: `IncomingUser`, `IncomingUser1`, ...
fn account(reader: &mut Reader, items: &[Item], what: &str) -> Result<Option<(At, Credentials)>> {
    let mut first = None;
    for item in items.iter().filter(|item| {
        let number = item.key().strip_prefix(what);
        number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    }) {
        let value = item.value();
        let (user, secret) = value
            .split_once(char::is_whitespace)
            .map(|(user, secret)| (user, secret.trim()))
            .filter(|(_, secret)| !secret.is_empty())
            // The line is not shown, as the secret is in it.
            .ok_or_else(|| {
                item.at
                    .bad(format!("{what}: a name and a secret are needed"))
            })?;
        if first.is_some() {
            let what = format!("{what} {user:?}");
            reader.leave(&item.at, what, "there is one name and secret: the first");
            continue;
        }
        let credentials = reader.credentials(&item.at, what, user, secret);
        first = Some((item.at.clone(), credentials));
    }
    Ok(first)
}

fn driver(
    reader: &mut Reader,
    driver: &Item,
    devices: &BTreeMap<String, BackstoreId>,
    everywhere: &mut Option<At>,
) -> Result<()> {
    // Without the driver no target is served.
    let enabled = driver.get("enabled").is_none() || driver.flag("enabled")?;
    let incoming = account(reader, &driver.block, "IncomingUser")?;
    let outgoing = account(reader, &driver.block, "OutgoingUser")?;
    if let Some((at, incoming)) = incoming {
        let outgoing = outgoing.map(|(_, own)| own).unwrap_or_default();
        let auth = reader.both(&at, incoming, outgoing);
        reader.configuration.discovery_auth.enforce = true;
        reader.configuration.discovery_auth.auth = auth;
    }
    for item in &driver.block {
        match item.key() {
            "TARGET" => {
                let name = item.at.check(Name::parse(&item.value()))?;
                let mut tpg = target(reader, item, devices)?;
                tpg.enabled &= enabled;
                if tpg.portals.is_empty() {
                    everywhere.get_or_insert_with(|| item.at.clone());
                    every_address(&mut tpg);
                }
                let mut target = Target::default();
                target.tpgs.insert(1, tpg);
                if reader.configuration.targets.insert(name, target).is_some() {
                    let value = item.value();
                    return Err(item.at.bad_value("target", &value, "it stands there twice"));
                }
            }
            "enabled" => {}
            key if key.starts_with("IncomingUser") || key.starts_with("OutgoingUser") => {}
            key => {
                let what = format!("{key} of the driver");
                reader.leave(&item.at, what, "there is no such choice here");
            }
        }
    }
    Ok(())
}

/// LUNs as initiators see them: number, device, read only.
type Seen = Vec<(u64, BackstoreId, bool)>;

fn seen(
    reader: &mut Reader,
    items: &[Item],
    devices: &BTreeMap<String, BackstoreId>,
) -> Result<Seen> {
    let mut luns: Seen = Vec::new();
    for item in items.iter().filter(|item| item.is("LUN")) {
        let (number, device) = match item.words.as_slice() {
            [_, number, device] => (number, device),
            _ => {
                let value = item.value();
                return Err(item
                    .at
                    .bad_value("LUN", &value, "a number and a device are needed"));
            }
        };
        let number = item.at.check(names::parse_lun(number))?;
        if luns.iter().any(|(other, ..)| *other == number) {
            let value = item.value();
            return Err(item.at.bad_value("LUN", &value, "it stands there twice"));
        }
        let Some(device) = devices.get(device) else {
            let what = format!("LUN {number}");
            let why = format!("its device {device} is not carried over");
            reader.leave(&item.at, what, why);
            continue;
        };
        for option in item.block.iter().filter(|option| !option.is("read_only")) {
            let what = format!("{} of LUN {number}", option.key());
            reader.leave(&option.at, what, "there is no such choice here");
        }
        luns.push((number, device.clone(), item.flag("read_only")?));
    }
    Ok(luns)
}

/// An entry that shows these LUNs; the portal group gets what it has not.
fn shown(tpg: &mut Tpg, luns: &Seen) -> Acl {
    let mut acl = Acl::default();
    for (number, id, read_only) in luns {
        let there = tpg.luns.iter().find(|(_, lun)| lun.backstore == *id);
        let lun = match there.map(|(lun, _)| *lun) {
            Some(lun) => lun,
            None => {
                let free = std::iter::once(*number)
                    .chain(0..)
                    .find(|lun| !tpg.luns.contains_key(lun))
                    .unwrap_or(*number);
                tpg.luns.insert(free, Lun::new(id.clone(), None));
                free
            }
        };
        acl.mapped_luns.insert(
            *number,
            MappedLun {
                lun,
                write_protect: *read_only,
                link: None,
            },
        );
    }
    acl
}

fn target(
    reader: &mut Reader,
    item: &Item,
    devices: &BTreeMap<String, BackstoreId>,
) -> Result<Tpg> {
    let mut tpg = Tpg {
        enabled: item.flag("enabled")?,
        ..Tpg::default()
    };
    let incoming = account(reader, &item.block, "IncomingUser")?;
    let outgoing = account(reader, &item.block, "OutgoingUser")?;
    authentication(&mut tpg, incoming.is_some());
    if let Some((at, _)) = incoming.as_ref().or(outgoing.as_ref()) {
        let at = at.clone();
        let incoming = incoming.map(|(_, user)| user).unwrap_or_default();
        let outgoing = outgoing.map(|(_, user)| user).unwrap_or_default();
        tpg.auth = reader.both(&at, incoming, outgoing);
    }
    let others = seen(reader, &item.block, devices)?;
    if !others.is_empty() {
        let mut acl = shown(&mut tpg, &others);
        acl.attributes
            .0
            .insert("members".into(), EVERYBODY.join(" "));
        let name = item.at.check(Name::parse_acl(&format!("@{OTHERS}")))?;
        tpg.acls.insert(name, acl);
    }
    for option in &item.block {
        let value = option.value();
        match option.key() {
            "LUN" | "enabled" | "per_portal_acl"
                if value != "1" || !option.is("per_portal_acl") => {}
            "GROUP" => group(reader, &mut tpg, option, devices)?,
            "rel_tgt_id" => match value.parse() {
                Ok(rtpi @ 1..=u16::MAX) => tpg.rtpi = Some(rtpi),
                _ => {
                    let rule = "a number from 1 to 65535 is needed";
                    return Err(option.at.bad_value("rel_tgt_id", &value, rule));
                }
            },
            "alias" => {
                reader.parameter(&option.at, &mut tpg, "TargetAlias", &value, "");
            }
            "allowed_portal" => match Portal::parse(&value) {
                Ok(portal) => {
                    tpg.portals.insert(portal, Default::default());
                }
                Err(error) => reader.leave(&option.at, "allowed_portal", error),
            },
            "QueuedCommands" => match value.parse::<u32>() {
                Ok(32) => {}
                Ok(depth @ 1..=512) => {
                    let depth = depth.to_string();
                    tpg.attributes.0.insert("default_cmdsn_depth".into(), depth);
                }
                _ => reader.leave(
                    &option.at,
                    format!("QueuedCommands {value:?}"),
                    "a number from 1 to 512 is possible",
                ),
            },
            key @ ("NopInInterval" | "NopInTimeout") => {
                let name = if key == "NopInInterval" {
                    "nopin_timeout"
                } else {
                    "nopin_response_timeout"
                };
                match value.parse::<u32>() {
                    Ok(30) => {}
                    Ok(seconds)
                        if (3..=60).contains(&seconds)
                            || (seconds, key) == (0, "NopInInterval") =>
                    {
                        tpg.attributes.0.insert(name.into(), seconds.to_string());
                    }
                    _ => reader.leave(
                        &option.at,
                        format!("{key} {value:?}"),
                        "a number from 3 to 60 is possible",
                    ),
                }
            }
            key if key.starts_with("IncomingUser") || key.starts_with("OutgoingUser") => {}
            key => {
                let default = PARAMETER_DEFAULTS.iter().find(|(name, _)| *name == key);
                let default = default.map_or("", |(_, default)| *default);
                if !reader.parameter(&option.at, &mut tpg, key, &value, default) {
                    reader.leave(&option.at, key, "there is no such choice here");
                }
            }
        }
    }
    Ok(tpg)
}

fn group(
    reader: &mut Reader,
    tpg: &mut Tpg,
    item: &Item,
    devices: &BTreeMap<String, BackstoreId>,
) -> Result<()> {
    let luns = seen(reader, &item.block, devices)?;
    let mut members = Vec::new();
    for option in &item.block {
        let value = option.value();
        match option.key() {
            "LUN" => {}
            "INITIATOR" if value == "*" => members.extend(EVERYBODY.map(str::to_string)),
            "INITIATOR" => match names::parse_member(&value) {
                Ok(member) => members.push(member),
                Err(error) => {
                    let what = format!("initiator {value:?} of group {}", item.value());
                    reader.leave(&option.at, what, error);
                }
            },
            key => {
                let what = format!("{key} of group {}", item.value());
                reader.leave(&option.at, what, "there is no such choice here");
            }
        }
    }
    members.dedup();
    let mut acl = shown(tpg, &luns);
    if members.is_empty() {
        let what = format!("group {}", item.value());
        reader.leave(&item.at, what, "there is no initiator in it");
        return Ok(());
    }
    acl.attributes.0.insert("members".into(), members.join(" "));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    let name = item.value().to_ascii_lowercase();
    let name: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .take(56)
        .collect();
    let taken = |name: &str| {
        let whole = format!("@{name}");
        tpg.acls.keys().any(|acl| acl.as_str() == whole)
    };
    let name = std::iter::once(name.clone())
        .chain((2..).map(|number| format!("{name}-{number}")))
        .find(|name| !taken(name))
        .unwrap_or(name);
    let name = item.at.check(Name::parse_acl(&format!("@{name}")))?;
    tpg.acls.insert(name, acl);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_numbers() {
        // CRC32C of nothing but the null is 0 when it begins with 0.
        assert_eq!(made_up(0, ""), 0);
        assert_eq!(made_up(0x1234, "") >> 32, 0x1234);
        // CRC32C of "123456789" is e3069283h when it begins with ones and is inverted; the
        // same polynomial without that.
        assert_ne!(made_up(0, "disk1"), made_up(0, "disk2"));
    }
}
