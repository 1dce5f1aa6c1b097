// SPDX-License-Identifier: GPL-2.0

//! LIO's saveconfig.json, as rtslib writes it.
//!
//! What LIO shows as identifiers: VPD page 80h is the unit serial number (`wwn`); page 83h has
//! an NAA 6 designator of the company 001405h and the first 25 hexadecimal digits in it, which
//! is what Ferrite makes of a serial number, too; and a T10 vendor ID designator of the vendor,
//! `LIO-ORG`, the model, a colon and the serial number.

use std::collections::BTreeMap;

use serde_json::Value;

use super::authentication;
use super::At;
use super::Identity;
use super::Reader;
use crate::error::Result;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::place;
use crate::state::Acl;
use crate::state::Attributes;
use crate::state::Auth;
use crate::state::Credentials;
use crate::state::Lun;
use crate::state::MappedLun;
use crate::state::Target;
use crate::state::TargetPortGroup;
use crate::state::Tpg;
use crate::state::DEFAULT_GROUP;

/// What LIO has by itself; empty where that depends on the device, or means nothing here.
const STORE_DEFAULTS: &[(&str, &str)] = &[
    ("alua_support", "1"),
    ("block_size", ""),
    ("complete_type", ""),
    ("emulate_3pc", "1"),
    ("emulate_caw", "1"),
    ("emulate_dpo", ""),
    ("emulate_fua_read", ""),
    ("emulate_fua_write", "1"),
    ("emulate_model_alias", ""),
    ("emulate_pr", "1"),
    ("emulate_rest_reord", ""),
    ("emulate_rsoc", "1"),
    ("emulate_tas", "1"),
    ("emulate_tpu", ""),
    ("emulate_tpws", ""),
    ("emulate_ua_intlck_ctrl", "0"),
    ("emulate_write_cache", ""),
    ("enforce_pr_isids", ""),
    ("force_pr_aptpl", "0"),
    ("hw_block_size", ""),
    ("hw_max_sectors", ""),
    ("hw_pi_prot_type", ""),
    ("hw_queue_depth", ""),
    ("is_nonrot", ""),
    ("max_unmap_block_desc_count", ""),
    ("max_unmap_lba_count", ""),
    ("max_write_same_len", ""),
    ("optimal_sectors", ""),
    ("pgr_support", "1"),
    ("pi_prot_format", "0"),
    ("pi_prot_type", "0"),
    ("pi_prot_verify", "0"),
    ("queue_depth", ""),
    ("submit_type", ""),
    ("unmap_granularity", ""),
    ("unmap_granularity_alignment", ""),
    ("unmap_zeroes_data", ""),
];

/// Those of them that are the same thing here, and are taken over if they are not LIO's default.
const STORE_CARRIED: [&str; 7] = [
    "alua_support",
    "emulate_3pc",
    "emulate_caw",
    "emulate_fua_write",
    "emulate_rsoc",
    "emulate_tas",
    "emulate_ua_intlck_ctrl",
];

/// Attributes of a portal group that are the same thing here, with what they may be.
const TPG_CARRIED: &[(&str, i64, i64)] = &[
    ("authentication", 0, 1),
    ("cache_dynamic_acls", 0, 1),
    ("default_cmdsn_depth", 1, 512),
    ("demo_mode_discovery", 0, 1),
    ("demo_mode_write_protect", 0, 1),
    ("generate_node_acls", 0, 1),
    ("login_timeout", 5, 30),
    ("prod_mode_write_protect", 0, 1),
    ("tpg_enabled_sendtargets", 0, 1),
];

/// LIO's defaults of what there is no equivalent of; empty if nothing is lost in any case.
const TPG_DEFAULTS: &[(&str, &str)] = &[
    ("default_erl", "0"),
    ("fabric_prot_type", "0"),
    ("login_keys_workaround", ""),
    ("netif_timeout", ""),
    ("t10_pi", "0"),
];

/// LIO's parameters by themselves, which are left to our defaults.
const PARAMETER_DEFAULTS: &[(&str, &str)] = &[
    ("DataDigest", "CRC32C,None"),
    ("DefaultTime2Retain", "20"),
    ("DefaultTime2Wait", "2"),
    ("ErrorRecoveryLevel", "0"),
    ("FirstBurstLength", "65536"),
    ("HeaderDigest", "CRC32C,None"),
    ("ImmediateData", "Yes"),
    ("InitialR2T", "Yes"),
    ("MaxBurstLength", "262144"),
    ("MaxConnections", "1"),
    ("MaxOutstandingR2T", "1"),
    ("MaxRecvDataSegmentLength", "8192"),
    ("MaxXmitDataSegmentLength", "262144"),
    ("TargetAlias", "LIO Target"),
];

/// Attributes of an ACL: what LIO has by itself, and what they may be here.
const ACL_CARRIED: &[(&str, &str, i64, i64)] = &[
    ("authentication", "-1", -1, 1),
    ("dataout_timeout", "3", 2, 60),
    ("dataout_timeout_retries", "5", 1, 15),
    ("nopin_response_timeout", "30", 3, 60),
    ("nopin_timeout", "15", 3, 60),
];

/// Attributes of an ACL without an equivalent: what LIO has by itself.
const ACL_DEFAULTS: &[(&str, &str)] = &[
    ("default_erl", "0"),
    ("random_datain_pdu_offsets", "0"),
    ("random_datain_seq_offsets", "0"),
    ("random_r2t_offsets", "0"),
];

/// Attributes of a target port group that are the same thing here.
const GROUP_CARRIED: &[(&str, &str)] = &[
    ("alua_access_state", "0"),
    ("alua_access_type", "3"),
    ("alua_support_active_nonoptimized", "1"),
    ("alua_support_active_optimized", "1"),
    ("alua_support_offline", "1"),
    ("alua_support_standby", "1"),
    ("alua_support_transitioning", "1"),
    ("alua_support_unavailable", "1"),
    ("implicit_trans_secs", "0"),
    ("nonop_delay_msecs", "100"),
    ("preferred", "0"),
    ("trans_delay_msecs", "0"),
];

/// A value of the file that knows where it is.
#[derive(Clone)]
struct Node<'v> {
    value: &'v Value,
    path: String,
    at: At,
    lines: &'v BTreeMap<String, usize>,
}

impl<'v> Node<'v> {
    fn below(&self, value: &'v Value, path: String) -> Self {
        let line = self.lines.get(&path.to_ascii_lowercase()).copied();
        let line = line.unwrap_or(self.at.line);
        Node {
            value,
            path,
            at: At {
                file: self.at.file.clone(),
                line,
            },
            lines: self.lines,
        }
    }

    fn bad(&self, rule: &str) -> crate::error::Error {
        self.at
            .bad(format!("{}: {rule}", self.path.trim_start_matches('.')))
    }

    /// A member that is there, and not null.
    fn get(&self, key: &str) -> Option<Self> {
        match self.value.get(key) {
            None | Some(Value::Null) => None,
            Some(value) => Some(self.below(value, format!("{}.{key}", self.path))),
        }
    }

    fn must(&self, key: &str) -> Result<Self> {
        self.get(key)
            .ok_or_else(|| self.bad(&format!("it lacks {key:?}")))
    }

    fn members(&self) -> Result<Vec<(&'v str, Self)>> {
        let Value::Object(map) = self.value else {
            return Err(self.bad("an object is needed"));
        };
        let member = |(key, value): (&'v String, &'v Value)| {
            (
                key.as_str(),
                self.below(value, format!("{}.{key}", self.path)),
            )
        };
        Ok(map.iter().map(member).collect())
    }

    /// The elements of a list; none if it is not there.
    fn list(&self, key: &str) -> Result<Vec<Self>> {
        let Some(node) = self.get(key) else {
            return Ok(Vec::new());
        };
        let Value::Array(list) = node.value else {
            return Err(node.bad("a list is needed"));
        };
        let element = |(index, value)| node.below(value, format!("{}[{index}]", node.path));
        Ok(list.iter().enumerate().map(element).collect())
    }

    fn text(&self) -> Result<&'v str> {
        let text = self.value.as_str();
        text.ok_or_else(|| self.bad("a text is needed"))
    }

    fn number(&self, least: u64, most: u64) -> Result<u64> {
        let number = self.value.as_u64().filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| {
            self.bad(&format!(
                "{} is not a number from {least} to {most}",
                self.plain().unwrap_or_default()
            ))
        })
    }

    fn flag(&self) -> Result<bool> {
        match self.value {
            Value::Bool(flag) => Ok(*flag),
            Value::Number(number) if number.as_u64() == Some(0) => Ok(false),
            Value::Number(number) if number.as_u64() == Some(1) => Ok(true),
            _ => Err(self.bad("true or false is needed")),
        }
    }

    /// A value without parts as an attribute reads.
    fn plain(&self) -> Result<String> {
        match self.value {
            Value::Bool(flag) => Ok(u8::from(*flag).to_string()),
            Value::Number(number) => Ok(number.to_string()),
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.bad("a number or a text is needed")),
        }
    }

    fn text_of(&self, key: &str) -> Result<Option<&'v str>> {
        self.get(key).map(|node| node.text()).transpose()
    }
}

/// Keys that nothing here looks at.
fn unknown(reader: &mut Reader, node: &Node<'_>, known: &[&str]) -> Result<()> {
    for (key, member) in node.members()? {
        if !known.contains(&key) {
            let path = member.path.trim_start_matches('.').to_string();
            reader.leave(&member.at, path, "unknown key");
        }
    }
    Ok(())
}

pub(super) fn read(reader: &mut Reader, text: &str) -> Result<()> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        // The message says neither a value nor a key.
        reader.at(error.line()).bad(format!("no JSON: {error}"))
    })?;
    let lines = place::json_lines(text);
    let root = Node {
        value: &value,
        path: String::new(),
        at: reader.at(1),
        lines: &lines,
    };
    root.members()?;
    if root.get("targets").is_none() && root.get("storage_objects").is_none() {
        return Err(root
            .at
            .bad("it has neither \"storage_objects\" nor \"targets\""));
    }
    unknown(
        reader,
        &root,
        &["fabric_modules", "storage_objects", "targets"],
    )?;
    let mut stores = BTreeMap::new();
    for node in root.list("storage_objects")? {
        storage_object(reader, &node, &mut stores)?;
    }
    for node in root.list("fabric_modules")? {
        fabric(reader, &node)?;
    }
    for node in root.list("targets")? {
        target(reader, &node, &stores)?;
    }
    Ok(())
}

fn storage_object(
    reader: &mut Reader,
    node: &Node<'_>,
    stores: &mut BTreeMap<String, BackstoreId>,
) -> Result<()> {
    let plugin = node.must("plugin")?.text()?;
    let name_node = node.must("name")?;
    let name = name_node.text()?;
    if plugin != "block" {
        let why = match plugin {
            "fileio" => {
                "only block devices are exported: attach the file to a loop device (losetup) and \
                 export that"
            }
            "ramdisk" => "only block devices are exported: the modules brd and zram make some",
            "pscsi" => "commands are not passed through: export the block device (/dev/sdX)",
            "user" => "there are no handlers in user space",
            _ => "only block devices are exported",
        };
        reader.leave(&node.at, format!("backstore {plugin}/{name}"), why);
        return Ok(());
    }
    unknown(
        reader,
        node,
        &[
            "alua_tpgs",
            "attributes",
            "dev",
            "name",
            "plugin",
            "readonly",
            "write_back",
            "wwn",
        ],
    )?;
    name_node.at.check(names::check_backstore_name(name))?;
    let dev = node.must("dev")?;
    let alias = match node
        .get("attributes")
        .and_then(|a| a.get("emulate_model_alias"))
    {
        Some(flag) => flag.flag()?,
        None => false,
    };
    let model: String = if alias {
        name.chars().take(16).collect()
    } else {
        "IBLOCK".into()
    };
    let serial = node.text_of("wwn")?.unwrap_or_default();
    if serial.is_empty() {
        reader.leave(
            &node.at,
            format!("the identity of {name}"),
            "the file has no \"wwn\": LIO made a serial number of its own; read it from an \
             initiator (sg_vpd -p sn) and set `serial`",
        );
    }
    let identity = Identity {
        serial: Some(serial.to_string()),
        vendor: Some("LIO-ORG".into()),
        t10_id: (!serial.is_empty()).then(|| format!("LIO-ORG {model}:{serial}")),
        product: Some(model),
        revision: Some("4.0".into()),
        ..Identity::default()
    };
    let Some(id) = reader.backstore(&dev.at, name, dev.text()?, &identity)? else {
        return Ok(());
    };
    let mut carried = Attributes::default();
    if let Some(attributes) = node.get("attributes") {
        for (key, attribute) in attributes.members()? {
            let value = attribute.plain()?;
            let Some((_, default)) = STORE_DEFAULTS.iter().find(|(name, _)| *name == key) else {
                reader.leave(&attribute.at, format!("{name}: attribute {key}"), "unknown");
                continue;
            };
            if default.is_empty() || *default == value {
                continue;
            }
            if STORE_CARRIED.contains(&key) {
                carried.0.insert(key.to_string(), value);
            } else {
                let what = format!("{name}: attribute {key}={value}");
                reader.leave(&attribute.at, what, "there is no such choice here");
            }
        }
    }
    let mut groups = BTreeMap::new();
    for group in node.list("alua_tpgs")? {
        let group_name = group.must("name")?;
        let text = group_name.text()?;
        group_name.at.check(names::check_group_name(text))?;
        if let Some(made) = port_group(reader, &group, text)? {
            groups.insert(text.to_string(), made);
        }
    }
    let read_only = node.get("readonly").map(|n| n.flag()).transpose()?;
    if let Some(backstore) = reader.backstore_mut(&id) {
        backstore.read_only = read_only.unwrap_or(false);
        backstore.attributes = carried;
        backstore.target_port_groups = groups;
    }
    stores.insert(format!("/backstores/block/{name}"), id);
    Ok(())
}

/// A target port group, unless it is the default one in its default state.
fn port_group(reader: &mut Reader, node: &Node<'_>, name: &str) -> Result<Option<TargetPortGroup>> {
    let mut attributes = Attributes::default();
    for (key, member) in node.members()? {
        if matches!(key, "name" | "tg_pt_gp_id" | "alua_access_status") {
            continue;
        }
        let value = member.plain()?;
        let value = match (key, value.as_str()) {
            ("alua_access_type", "None") => "0".to_string(),
            ("alua_access_type", "Implicit") => "1".to_string(),
            ("alua_access_type", "Explicit") => "2".to_string(),
            ("alua_access_type", "Implicit and Explicit") => "3".to_string(),
            _ => value,
        };
        match GROUP_CARRIED.iter().find(|(carried, _)| *carried == key) {
            Some((_, default)) if *default == value => {}
            Some(_) => {
                attributes.0.insert(key.to_string(), value);
            }
            None if value == "0" => {}
            None => {
                let what = format!("target port group {name}: {key}={value}");
                reader.leave(&member.at, what, "there is no such choice here");
            }
        }
    }
    let is_default = name == DEFAULT_GROUP;
    let id = match node.get("tg_pt_gp_id") {
        Some(id) => Some(u16::try_from(id.number(0, 65535)?).unwrap_or_default()),
        None => None,
    };
    if is_default && attributes.is_empty() {
        return Ok(None);
    }
    Ok(Some(TargetPortGroup {
        id: if is_default { None } else { id },
        attributes,
    }))
}

const DISCOVERY_KEYS: [&str; 5] = [
    "discovery_enable_auth",
    "discovery_mutual_password",
    "discovery_mutual_userid",
    "discovery_password",
    "discovery_userid",
];

fn fabric(reader: &mut Reader, node: &Node<'_>) -> Result<()> {
    if node.must("name")?.text()? != "iscsi" {
        return Ok(());
    }
    let mut known = vec!["name"];
    known.extend(DISCOVERY_KEYS);
    unknown(reader, node, &known)?;
    let auth = chap(reader, node, "discovery_")?;
    let enforce = node.get("discovery_enable_auth").map(|n| n.flag());
    let discovery = &mut reader.configuration.discovery_auth;
    discovery.enforce = enforce.transpose()?.unwrap_or(false);
    discovery.auth = auth;
    Ok(())
}

/// The CHAP names and secrets under keys that begin so.
fn chap(reader: &mut Reader, node: &Node<'_>, prefix: &str) -> Result<Auth> {
    let mut one = |of: &str| -> Result<Credentials> {
        let text = |what: &str| node.text_of(&format!("{prefix}{of}{what}"));
        let (user, secret) = (text("userid")?, text("password")?);
        let (user, secret) = (user.unwrap_or_default(), secret.unwrap_or_default());
        if user.is_empty() && secret.is_empty() {
            return Ok(Credentials::default());
        }
        if user.is_empty() || secret.is_empty() {
            let what = format!("{prefix}{of}userid and {prefix}{of}password");
            reader.leave(&node.at, what, "only one of them is set");
            return Ok(Credentials::default());
        }
        Ok(reader.credentials(&node.at, &format!("{prefix}{of}userid"), user, secret))
    };
    let initiator = one("")?;
    let target = one("mutual_")?;
    Ok(reader.both(&node.at, initiator, target))
}

const CHAP_KEYS: [&str; 4] = [
    "chap_mutual_password",
    "chap_mutual_userid",
    "chap_password",
    "chap_userid",
];

fn target(
    reader: &mut Reader,
    node: &Node<'_>,
    stores: &BTreeMap<String, BackstoreId>,
) -> Result<()> {
    let fabric = node.must("fabric")?.text()?;
    let wwn = node.must("wwn")?;
    if fabric != "iscsi" {
        let what = format!("target {fabric} {}", wwn.text()?);
        reader.leave(&node.at, what, "only iSCSI is served");
        return Ok(());
    }
    unknown(reader, node, &["fabric", "parameters", "tpgs", "wwn"])?;
    let name = wwn.at.check(Name::parse(wwn.text()?))?;
    let mut tpgs = BTreeMap::new();
    for tpg_node in node.list("tpgs")? {
        let tag = tpg_node.must("tag")?;
        let number = u16::try_from(tag.number(0, 65535)?).unwrap_or_default();
        let tpg = portal_group(reader, &tpg_node, stores)?;
        if tpgs.insert(number, tpg).is_some() {
            return Err(tag.bad(&format!("portal group {number} stands there twice")));
        }
    }
    let target = Target {
        tpgs,
        ..Target::default()
    };
    if reader.configuration.targets.insert(name, target).is_some() {
        return Err(wwn.bad("the target stands there twice"));
    }
    Ok(())
}

fn portal_group(
    reader: &mut Reader,
    node: &Node<'_>,
    stores: &BTreeMap<String, BackstoreId>,
) -> Result<Tpg> {
    let mut known = vec![
        "attributes",
        "enable",
        "luns",
        "node_acls",
        "parameters",
        "portals",
        "tag",
    ];
    known.extend(CHAP_KEYS);
    unknown(reader, node, &known)?;
    let mut tpg = Tpg {
        enabled: node
            .get("enable")
            .map(|n| n.flag())
            .transpose()?
            .unwrap_or(true),
        ..Tpg::default()
    };
    authentication(&mut tpg, true);
    if let Some(attributes) = node.get("attributes") {
        for (key, attribute) in attributes.members()? {
            tpg_attribute(reader, &mut tpg, key, &attribute)?;
        }
    }
    if let Some(parameters) = node.get("parameters") {
        for (key, parameter) in parameters.members()? {
            let value = parameter.plain()?;
            let default = PARAMETER_DEFAULTS.iter().find(|(name, _)| *name == key);
            let default = default.map_or("", |(_, default)| *default);
            // Whether CHAP is demanded is said by the attribute.
            if key != "AuthMethod"
                && !reader.parameter(&parameter.at, &mut tpg, key, &value, default)
            {
                reader.leave(&parameter.at, format!("parameter {key}"), "unknown");
            }
        }
    }
    for portal in node.list("portals")? {
        let address = portal.must("ip_address")?;
        let port = match portal.get("port") {
            Some(port) => port.number(1, 65535)?,
            None => u64::from(names::DEFAULT_PORT),
        };
        let text = address.text()?;
        let text = if text.contains(':') && !text.starts_with('[') {
            format!("[{text}]:{port}")
        } else {
            format!("{text}:{port}")
        };
        let parsed = address.at.check(Portal::parse(&text))?;
        for (key, why) in [
            (
                "iser",
                "iSER is not served: the portal is carried over for TCP",
            ),
            (
                "offload",
                "there is no offload: the portal is carried over for TCP",
            ),
        ] {
            let flag = portal.get(key).map(|n| n.flag()).transpose()?;
            if flag.unwrap_or(false) {
                reader.leave(&portal.at, format!("{key} of portal {text}"), why);
            }
        }
        unknown(reader, &portal, &["ip_address", "iser", "offload", "port"])?;
        tpg.portals.insert(parsed, Attributes::default());
    }
    for lun in node.list("luns")? {
        let index = lun.must("index")?.number(0, names::MAX_LUN)?;
        let object = lun.must("storage_object")?;
        let Some(id) = stores.get(object.text()?) else {
            let what = format!("LUN {index}");
            let why = format!("its backstore {} is not carried over", object.text()?);
            reader.leave(&lun.at, what, why);
            continue;
        };
        unknown(
            reader,
            &lun,
            &["alias", "alua_tg_pt_gp_name", "index", "storage_object"],
        )?;
        let mut made = Lun::new(id.clone(), None);
        if let Some(group) = lun.text_of("alua_tg_pt_gp_name")? {
            let groups = reader.configuration.backstores.get(id);
            let there = groups.is_some_and(|b| b.target_port_groups.contains_key(group));
            if there && group != DEFAULT_GROUP {
                made.group = Some(group.to_string());
            }
        }
        if tpg.luns.insert(index, made).is_some() {
            return Err(lun.bad(&format!("LUN {index} stands there twice")));
        }
    }
    tpg.auth = chap(reader, node, "chap_")?;
    for acl_node in node.list("node_acls")? {
        let wwn = acl_node.must("node_wwn")?;
        let name = wwn.at.check(Name::parse(wwn.text()?))?;
        let acl = node_acl(reader, &acl_node, &tpg)?;
        if tpg.acls.insert(name, acl).is_some() {
            return Err(wwn.bad("the initiator stands there twice"));
        }
    }
    Ok(tpg)
}

fn tpg_attribute(
    reader: &mut Reader,
    tpg: &mut Tpg,
    key: &str,
    attribute: &Node<'_>,
) -> Result<()> {
    let value = attribute.plain()?;
    let number: Option<i64> = value.parse().ok();
    if let Some((_, least, most)) = TPG_CARRIED.iter().find(|(name, ..)| *name == key) {
        // What LIO has by itself is left to our default, which is better.
        if key == "default_cmdsn_depth" && value == "64" {
            return Ok(());
        }
        match number {
            Some(number) if (*least..=*most).contains(&number) => {
                tpg.attributes.0.insert(key.to_string(), value);
            }
            _ => reader.leave(
                &attribute.at,
                format!("attribute {key}={value}"),
                format!("a number from {least} to {most} is possible"),
            ),
        }
        return Ok(());
    }
    match TPG_DEFAULTS.iter().find(|(name, _)| *name == key) {
        Some((_, default)) if default.is_empty() || *default == value => {}
        Some(_) => {
            let what = format!("attribute {key}={value}");
            reader.leave(&attribute.at, what, "there is no such choice here");
        }
        None => reader.leave(&attribute.at, format!("attribute {key}"), "unknown"),
    }
    Ok(())
}

fn node_acl(reader: &mut Reader, node: &Node<'_>, tpg: &Tpg) -> Result<Acl> {
    let mut known = vec!["attributes", "mapped_luns", "node_wwn", "tag", "tcq_depth"];
    known.extend(CHAP_KEYS);
    unknown(reader, node, &known)?;
    let mut acl = Acl {
        auth: chap(reader, node, "chap_")?,
        ..Acl::default()
    };
    if let Some(tag) = node.text_of("tag")?.filter(|tag| !tag.is_empty()) {
        if tag.len() <= 63 {
            acl.tag = Some(tag.to_string());
        } else {
            reader.leave(
                &node.at,
                format!("tag {tag:?}"),
                "at most 63 bytes are possible",
            );
        }
    }
    if let Some(depth) = node.get("tcq_depth") {
        acl.cmdsn_depth = Some(u32::try_from(depth.number(1, 512)?).unwrap_or(1));
    }
    if let Some(attributes) = node.get("attributes") {
        for (key, attribute) in attributes.members()? {
            let value = attribute.plain()?;
            let number: Option<i64> = value.parse().ok();
            let carried = ACL_CARRIED.iter().find(|(name, ..)| *name == key);
            let default = ACL_DEFAULTS.iter().find(|(name, _)| *name == key);
            match (carried, default) {
                (Some((_, default, ..)), _) if *default == value => {}
                (Some((_, _, least, most)), _) => match number {
                    Some(number) if (*least..=*most).contains(&number) => {
                        acl.attributes.0.insert(key.to_string(), value);
                    }
                    // Never asked.
                    Some(0) if key == "nopin_timeout" => {
                        acl.attributes.0.insert(key.to_string(), value);
                    }
                    _ => reader.leave(
                        &attribute.at,
                        format!("attribute {key}={value}"),
                        format!("a number from {least} to {most} is possible"),
                    ),
                },
                (None, Some((_, default))) if *default == value => {}
                (None, Some(_)) => {
                    let what = format!("attribute {key}={value}");
                    reader.leave(&attribute.at, what, "there is no such choice here");
                }
                (None, None) => {
                    reader.leave(&attribute.at, format!("attribute {key}"), "unknown");
                }
            }
        }
    }
    for mapped in node.list("mapped_luns")? {
        let index = mapped.must("index")?.number(0, names::MAX_LUN)?;
        let lun = mapped.must("tpg_lun")?.number(0, names::MAX_LUN)?;
        let flag = mapped.get("write_protect").map(|n| n.flag()).transpose()?;
        unknown(
            reader,
            &mapped,
            &["alias", "index", "tpg_lun", "write_protect"],
        )?;
        if !tpg.luns.contains_key(&lun) {
            let why = format!("LUN {lun} of the portal group is not carried over");
            reader.leave(&mapped.at, format!("mapped LUN {index}"), why);
            continue;
        }
        let made = MappedLun {
            lun,
            write_protect: flag.unwrap_or(false),
            link: None,
        };
        if acl.mapped_luns.insert(index, made).is_some() {
            return Err(mapped.bad(&format!("mapped LUN {index} stands there twice")));
        }
    }
    Ok(acl)
}
