// SPDX-License-Identifier: GPL-2.0

//! tgt's targets.conf, which tgt-admin reads and `tgt-admin --dump` prints: options and blocks
//! like those of Apache's files.
//!
//! What tgtd shows as identifiers: VPD page 80h is `scsi_sn`; page 83h has `scsi_id` as a T10
//! vendor ID designator, and an NAA 6 designator whose digits are those of `scsi_id`, where
//! what is no digit counts as 0. By itself, with target T and LUN L, they are `beafTL` and
//! `IET     TTTTLLLL`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;

use super::all_luns;
use super::authentication;
use super::base_name;
use super::dir_of;
use super::every_address;
use super::open_to_all;
use super::At;
use super::Identity;
use super::Reader;
use super::NO_IPV6;
use crate::error::Result;
use crate::files;
use crate::names;
use crate::names::Name;
use crate::state::Credentials;
use crate::state::Lun;
use crate::state::Target;
use crate::state::Tpg;

/// How deep files may include each other.
const DEEPEST: usize = 10;

/// tgtd's parameters by themselves, which are left to our defaults.
const PARAMETER_DEFAULTS: &[(&str, &str)] = &[
    ("MaxRecvDataSegmentLength", "8192"),
    ("MaxXmitDataSegmentLength", "8192"),
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
    ("InitialR2T", "Yes"),
    ("MaxOutstandingR2T", "1"),
    ("ImmediateData", "Yes"),
    ("FirstBurstLength", "65536"),
    ("MaxBurstLength", "262144"),
    ("ErrorRecoveryLevel", "0"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "20"),
    ("MaxConnections", "1"),
];

/// An option, or a block of them.
#[derive(Clone, Debug)]
struct Item {
    at: At,
    key: String,
    value: String,
    /// What is in it, if it is a block.
    block: Option<Vec<Item>>,
}

impl Item {
    fn is(&self, key: &str) -> bool {
        self.key == key
    }
}

/// Splits a line into a key and a value: `key value` or `key = value`, either of them quoted.
fn split(text: &str) -> (String, String) {
    let text = text.trim();
    let (key, rest) = match text.find(|c: char| c.is_whitespace() || c == '=') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim();
    (key.to_string(), unquoted(rest).to_string())
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

/// A line without its comment: a `#` that nothing stands before but white space, and no
/// backslash.
fn without_comment(line: &str) -> String {
    let mut text = String::new();
    let mut before = ' ';
    for c in line.chars() {
        if c == '#' && before.is_whitespace() {
            break;
        }
        if c == '#' && before == '\\' {
            text.pop();
        }
        text.push(c);
        before = c;
    }
    text
}

/// Parses a file and what it includes.
struct Parser {
    /// The blocks that are open, the outermost first.
    open: Vec<Item>,
    done: Vec<Item>,
    depth: usize,
}

impl Parser {
    fn push(&mut self, item: Item) {
        match self.open.last_mut().and_then(|block| block.block.as_mut()) {
            Some(items) => items.push(item),
            None => self.done.push(item),
        }
    }

    fn file(&mut self, file: &Rc<Path>, text: &str) -> Result<()> {
        let outside = self.open.len();
        let mut lines = text.lines().enumerate();
        let mut in_comment = false;
        while let Some((index, line)) = lines.next() {
            let at = At {
                file: file.clone(),
                line: index + 1,
            };
            if in_comment {
                in_comment = !line.contains("*/");
                continue;
            }
            if line.trim_start().starts_with("/*") {
                in_comment = !line.contains("*/");
                continue;
            }
            let mut whole = without_comment(line);
            while whole.ends_with('\\') {
                whole.pop();
                let Some((_, more)) = lines.next() else { break };
                whole.push_str(without_comment(more).trim_start());
            }
            let line = whole.trim();
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix("</") {
                let name = name.strip_suffix('>').unwrap_or(name).trim();
                let inside = self.open.len() > outside;
                match self.open.pop().filter(|_| inside) {
                    Some(item) if item.is(&name.to_ascii_lowercase()) => self.push(item),
                    Some(item) => {
                        let rule = format!("<{}> of line {} is open", item.key, item.at.line);
                        return Err(at.bad_value("end of a block", line, &rule));
                    }
                    None => {
                        return Err(at.bad_value("end of a block", line, "no block is open"));
                    }
                }
                continue;
            }
            if let Some(include) = line.strip_prefix("<<") {
                let include = include.strip_suffix(">>").unwrap_or(include);
                let (_, path) = split(include);
                self.include(&at, &path)?;
                continue;
            }
            if let Some(head) = line.strip_prefix('<') {
                let Some(head) = head.strip_suffix('>') else {
                    return Err(at.bad_value("block", line, "it must end with >"));
                };
                let (key, value) = split(head);
                let key = key.to_ascii_lowercase();
                if self.open.len() >= 8 {
                    return Err(at.bad_value("block", line, "blocks are too deep"));
                }
                self.open.push(Item {
                    at,
                    key,
                    value,
                    block: Some(Vec::new()),
                });
                continue;
            }
            let (key, value) = split(line);
            if key.eq_ignore_ascii_case("include") {
                self.include(&at, &value)?;
                continue;
            }
            self.push(Item {
                at,
                key,
                value,
                block: None,
            });
        }
        if let Some(item) = self.open.get(outside) {
            let head = format!("<{} {}>", item.key, item.value);
            return Err(item.at.bad_value("block", &head, "it does not end"));
        }
        Ok(())
    }

    /// Takes other files in; the last part of the path may have `*` and `?`.
    fn include(&mut self, at: &At, path: &str) -> Result<()> {
        if self.depth >= DEEPEST {
            return Err(at.bad_value("include", path, "files include each other too deep"));
        }
        let pattern = dir_of(&at.file).join(path);
        let name = base_name(path).to_string();
        let mut found: Vec<PathBuf> = Vec::new();
        if name.contains(['*', '?']) {
            let dir = dir_of(&pattern);
            if let Ok(entries) = std::fs::read_dir(&dir) {
                for entry in entries.flatten() {
                    let other = entry.file_name();
                    let other = other.to_string_lossy();
                    if !other.starts_with('.') && fits(name.as_bytes(), other.as_bytes()) {
                        found.push(entry.path());
                    }
                }
            }
            found.sort();
        } else {
            found.push(pattern);
        }
        self.depth += 1;
        for path in found {
            let text = at.check(files::read_text(&path))?;
            self.file(&Rc::from(path), &text)?;
        }
        self.depth -= 1;
        Ok(())
    }
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

pub(super) fn read(reader: &mut Reader, text: &str) -> Result<()> {
    let mut parser = Parser {
        open: Vec::new(),
        done: Vec::new(),
        depth: 0,
    };
    let file = reader.file.clone();
    parser.file(&file, text)?;
    let mut targets: BTreeMap<Name, Item> = BTreeMap::new();
    let mut discovery = (Vec::new(), Vec::new());
    for item in parser.done {
        match item.key.as_str() {
            "target" if item.block.is_some() => {
                let name = item.at.check(Name::parse(&item.value))?;
                if let Some(other) = targets.insert(name, item.clone()) {
                    let rule = format!("it stands in line {} already", other.at.line);
                    return Err(item.at.bad_value("target", &item.value, &rule));
                }
            }
            _ if item.block.is_some() => {
                return Err(item
                    .at
                    .bad_value("block", &item.key, "<target NAME> is expected"));
            }
            "default-driver" if item.value == "iscsi" => {}
            "ignore-errors" | "control-port" => {}
            "incomingdiscoveryuser" => discovery.0.push(item),
            "outgoingdiscoveryuser" => discovery.1.push(item),
            "default-driver" => {
                let what = format!("default-driver {:?}", item.value);
                reader.leave(&item.at, what, "only iSCSI over TCP is served");
            }
            key if key.to_ascii_lowercase().starts_with("isns") => {
                reader.leave(&item.at, key, "there is no iSNS client");
            }
            key => reader.leave(&item.at, format!("{key:?}"), "unknown option"),
        }
    }
    let initiator = account(reader, &discovery.0, "incomingdiscoveryuser")?;
    let own = account(reader, &discovery.1, "outgoingdiscoveryuser")?;
    if let Some(first) = discovery.0.first() {
        let auth = reader.both(&first.at, initiator, own);
        reader.configuration.discovery_auth.enforce = true;
        reader.configuration.discovery_auth.auth = auth;
    }
    // tgt-admin numbers the targets in the order of their names.
    let mut tid = 0;
    for (name, item) in &targets {
        tid += 1;
        if let Some(target) = target(reader, &mut tid, item)? {
            reader.configuration.targets.insert(name.clone(), target);
        }
    }
    if let Some(at) = targets.values().map(|item| &item.at).next() {
        reader.leave(&at.clone(), "portals", NO_IPV6);
    }
    Ok(())
}

/// The first of some accounts; Ferrite has one for each entry.
fn account(reader: &mut Reader, items: &[Item], what: &str) -> Result<Credentials> {
    let mut first = Credentials::default();
    for (index, item) in items.iter().enumerate() {
        let mut words = item.value.split_whitespace();
        let (Some(user), Some(secret), None) = (words.next(), words.next(), words.next()) else {
            // The line is not shown, as the secret is in it.
            return Err(item
                .at
                .bad(format!("{what}: a name and a secret are needed")));
        };
        if index > 0 {
            let what = format!("{what} {user:?}");
            reader.leave(&item.at, what, "there is one name and secret: the first");
            continue;
        }
        first = reader.credentials(&item.at, what, user, unquoted(secret));
    }
    Ok(first)
}

/// A number of an option.
fn number(item: &Item, least: u64, most: u64) -> Result<u64> {
    match item.value.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            let rule = format!("a number from {least} to {most} is needed");
            Err(item.at.bad_value(&item.key, &item.value, &rule))
        }
    }
}

fn target(reader: &mut Reader, tid: &mut u64, item: &Item) -> Result<Option<Target>> {
    let items = item.block.as_deref().unwrap_or_default();
    let mut tpg = Tpg {
        enabled: true,
        ..Tpg::default()
    };
    let mut fixed_tid = false;
    let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    let (mut backing, mut direct) = (Vec::new(), Vec::new());
    let mut options: Vec<&Item> = Vec::new();
    for option in items {
        match option.key.as_str() {
            "driver" if option.value == "iscsi" => {}
            "driver" if option.value == "iser" => {
                reader.leave(&option.at, "driver iser", "the target is served over TCP");
            }
            "driver" => {
                let what = format!("target {}", item.value);
                let why = format!("driver {:?}: only iSCSI is served", option.value);
                reader.leave(&option.at, what, why);
                return Ok(None);
            }
            "controller_tid" => {
                *tid = number(option, 1, 65535)?;
                fixed_tid = true;
            }
            "incominguser" => incoming.push(option.clone()),
            "outgoinguser" => outgoing.push(option.clone()),
            "initiator-name" => names.push(option),
            "initiator-address" => addresses.push(option),
            "backing-store" => backing.push(option),
            "direct-store" => direct.push(option),
            "allow-in-use" => {}
            key if is_store_option(key) => options.push(option),
            key => {
                let default = PARAMETER_DEFAULTS
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(key));
                let default = default.map_or("", |(_, default)| *default);
                if !reader.parameter(&option.at, &mut tpg, key, &option.value, default) {
                    reader.leave(&option.at, format!("{key:?}"), "unknown option");
                }
            }
        }
    }
    // Stores of which the file does not say the LUN get the lowest ones that are free, from 1,
    // as LUN 0 is tgtd's controller.
    let stores: Vec<&Item> = backing.iter().chain(&direct).copied().collect();
    let own_lun = |store: &Item| -> Result<Option<u64>> {
        let inside = store.block.as_deref().unwrap_or_default();
        let lun = inside.iter().find(|option| option.is("lun"));
        let lun = lun.or_else(|| options.iter().copied().find(|option| option.is("lun")));
        lun.map(|lun| number(lun, 0, names::MAX_LUN)).transpose()
    };
    let mut taken = BTreeSet::new();
    for store in &stores {
        if let Some(lun) = own_lun(store)? {
            if !taken.insert(lun) {
                let rule = format!("LUN {lun} of the target is there already");
                return Err(store.at.bad_value("backing store", &store.value, &rule));
            }
        }
    }
    let blocks = stores.iter().filter(|store| store.block.is_some()).count();
    let mut made_up = Vec::new();
    for store in stores {
        let lun = match own_lun(store)? {
            Some(lun) => lun,
            None => {
                let lun = (1..=names::MAX_LUN).find(|lun| !taken.contains(lun));
                let lun = lun.ok_or_else(|| store.at.bad("there is no LUN left"))?;
                taken.insert(lun);
                if blocks > 1 {
                    let why = "the file does not say its LUN, and tgt-admin takes such blocks in \
                               no certain order: compare with `tgtadm --mode target --op show`";
                    reader.leave(&store.at, format!("LUN {lun} of {:?}", store.value), why);
                }
                lun
            }
        };
        if store_lun(reader, &mut tpg, store, &options, *tid, lun)? {
            made_up.push(lun);
        }
    }
    if !fixed_tid && !made_up.is_empty() {
        let luns: Vec<String> = made_up.iter().map(u64::to_string).collect();
        reader.leave(
            &item.at,
            format!("identity of LUN {} of {}", luns.join(", "), item.value),
            format!(
                "it depends on the number of the target, which the file does not say: taken for \
                 {tid}, as tgt-admin counts; compare with `tgtadm --mode target --op show`"
            ),
        );
    }
    let initiator = account(reader, &incoming, "incominguser")?;
    let own = account(reader, &outgoing, "outgoinguser")?;
    authentication(&mut tpg, !incoming.is_empty());
    if let Some(first) = incoming.first().or(outgoing.first()) {
        tpg.auth = reader.both(&first.at, initiator, own);
    }
    every_address(&mut tpg);
    for option in &names {
        let name = option.at.check(Name::parse(&option.value))?;
        let acl = all_luns(&tpg);
        tpg.acls.insert(name, acl);
    }
    let mut restricted = false;
    for option in addresses {
        if !option.value.eq_ignore_ascii_case("ALL") {
            restricted = true;
            let what = format!("initiator-address {}", option.value);
            reader.leave(
                &option.at,
                what,
                "initiators are known by their names here: add an `initiator` for each that \
                 shall log in, and let a packet filter look at addresses",
            );
        }
    }
    if names.is_empty() && !restricted {
        open_to_all(&mut tpg);
    }
    let mut target = Target::default();
    target.tpgs.insert(1, tpg);
    Ok(Some(target))
}

const STORE_OPTIONS: [&str; 22] = [
    "block-size",
    "bs-type",
    "bsoflags",
    "bsopts",
    "device-type",
    "la_lba",
    "lbppbe",
    "lun",
    "mode_page",
    "online",
    "optimal_xfer_gran",
    "optimal_xfer_len",
    "params",
    "path",
    "product_id",
    "product_rev",
    "readonly",
    "removable",
    "scsi_id",
    "scsi_sn",
    "sense_format",
    "vendor_id",
];

fn is_store_option(key: &str) -> bool {
    key == "write-cache" || STORE_OPTIONS.contains(&key)
}

fn clip(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Makes a LUN of a store; true if its identity was made up by tgtd.
fn store_lun(
    reader: &mut Reader,
    tpg: &mut Tpg,
    store: &Item,
    options: &[&Item],
    tid: u64,
    lun: u64,
) -> Result<bool> {
    let inside = store.block.as_deref().unwrap_or_default();
    let wide = options.iter().copied();
    // What is said of the store itself counts.
    let own: BTreeSet<&str> = inside.iter().map(|option| option.key.as_str()).collect();
    let all: Vec<&Item> = inside
        .iter()
        .chain(wide.filter(|option| !own.contains(option.key.as_str())))
        .collect();
    let expand = |text: &str| {
        text.replace("${tid}", &tid.to_string())
            .replace("${lun}", &lun.to_string())
    };
    let value = |key: &str| {
        let option = all.iter().find(|option| option.is(key));
        option.map(|option| expand(&option.value))
    };
    let mut read_only = false;
    let mut write_through = false;
    let mut block_size = None;
    for option in &all {
        let what = format!("{} {:?} of LUN {lun}", option.key, option.value);
        match (option.key.as_str(), option.value.as_str()) {
            ("lun" | "vendor_id" | "product_id" | "product_rev" | "scsi_id" | "scsi_sn", _) => {}
            ("allow-in-use", _) => {}
            ("readonly", "1" | "on" | "yes") => read_only = true,
            ("readonly" | "removable", "0" | "off" | "no") => {}
            ("online", "1" | "on" | "yes") => {}
            ("write-cache", "off") => write_through = true,
            ("write-cache", _) => {}
            ("bs-type", "rdwr" | "aio") | ("device-type", "disk") | ("sense_format", "0") => {}
            ("block-size", "512" | "1024" | "2048" | "4096") => {
                block_size = Some(option.value.clone());
            }
            ("device-type" | "bs-type", _) => {
                let what = format!("LUN {lun} of {:?}", store.value);
                let why = format!("{} {:?}: only disks are served", option.key, option.value);
                reader.leave(&option.at, what, why);
                return Ok(false);
            }
            (key, _) if is_store_option(key) => {
                reader.leave(&option.at, what, "there is no such choice here");
            }
            (key, _) => reader.leave(&option.at, format!("{key:?}"), "unknown option"),
        }
    }
    let (id, serial) = (value("scsi_id"), value("scsi_sn"));
    let made_up = id.is_none() || serial.is_none();
    let id = clip(
        &id.unwrap_or_else(|| format!("IET     {tid:04x}{lun:04x}")),
        36,
    );
    let mut identity = Identity {
        serial: Some(clip(
            &serial.unwrap_or_else(|| format!("beaf{tid}{lun}")),
            36,
        )),
        vendor: Some(clip(&value("vendor_id").unwrap_or_else(|| "IET".into()), 8)),
        product: Some(clip(
            &value("product_id").unwrap_or_else(|| "VIRTUAL-DISK".into()),
            16,
        )),
        revision: Some(clip(
            &value("product_rev").unwrap_or_else(|| "0001".into()),
            4,
        )),
        naa_id: Some(naa(&id)),
        ..Identity::default()
    };
    if id.len() >= 9 && id.trim() == id {
        identity.t10_id = Some(id);
    } else {
        reader.leave(
            &store.at,
            format!("scsi_id {id:?} of LUN {lun} as a T10 vendor ID designator"),
            "9 characters and more are possible, without spaces around them; the NAA \
             designator, which is the one that initiators prefer, is the same",
        );
    }
    if store.is("direct-store") {
        reader.leave(
            &store.at,
            format!("vendor, product, revision and serial number of LUN {lun}"),
            "direct-store takes them from the disk: read them with sg_inq and set them",
        );
    }
    let like = base_name(&store.value).to_string();
    let Some(backstore) = reader.backstore(&store.at, &like, &store.value, &identity)? else {
        return Ok(false);
    };
    reader.set_use(&backstore, read_only, write_through, block_size);
    tpg.luns.insert(lun, Lun::new(backstore, None));
    Ok(made_up)
}

/// The NAA 6 designator that tgtd makes of an identifier.
fn naa(id: &str) -> String {
    let number = id.chars().fold(0u128, |number, c| {
        (number << 4) | u128::from(c.to_digit(16).unwrap_or(0))
    });
    let number = (number & (u128::MAX >> 4)) | (6 << 124);
    format!("0x{number:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_designator_of_tgtd() {
        assert_eq!(
            naa("IET     00010001"),
            "0x60000000000000000e00000000010001"
        );
        assert_eq!(naa("deadbeef"), "0x600000000000000000000000deadbeef");
    }

    #[test]
    fn names_and_patterns() {
        for (pattern, name, want) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf~", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("", "", true),
            ("*", "", true),
            ("a", "", false),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), name.as_bytes()),
                want,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn keys_and_values() {
        for (text, key, value) in [
            ("a b", "a", "b"),
            ("a = \"b c\"", "a", "b c"),
            ("a=b", "a", "b"),
            ("a 'b'", "a", "b"),
            ("a", "a", ""),
            ("vendor_id MyCompany Inc.", "vendor_id", "MyCompany Inc."),
        ] {
            assert_eq!(split(text), (key.to_string(), value.to_string()));
        }
        assert_eq!(without_comment("a b # c"), "a b ");
        assert_eq!(without_comment("a b\\#c#d"), "a b#c#d");
        assert_eq!(without_comment("# a"), "");
    }
}
