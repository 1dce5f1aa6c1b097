// SPDX-License-Identifier: GPL-2.0

//! The configuration as plain data. Nothing here reads or writes a file.
//!
//! [`Configuration`] is also the format of a saved configuration, so a change of
//! a field's name or meaning needs a new [`FORMAT_VERSION`].

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::secret::Secret;

/// The version of the saved format that this program writes.
pub const FORMAT_VERSION: u32 = 1;

/// A saved configuration, as it stands in a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SavedConfiguration {
    /// The version of the format; see [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The configuration.
    pub configuration: Configuration,
}

/// Everything that an administrator configures.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The block devices.
    #[serde(default, deserialize_with = "unique")]
    pub backstores: BTreeMap<BackstoreId, Backstore>,
    /// Who may discover targets.
    #[serde(default)]
    pub discovery_auth: DiscoveryAuth,
    /// The targets.
    #[serde(default, deserialize_with = "unique")]
    pub targets: BTreeMap<Name, Target>,
}

/// Names and values of attribute files.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Attributes(pub BTreeMap<String, String>);

/// A block device that LUNs may be backed by.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Backstore {
    /// The path of the block device.
    #[serde(deserialize_with = "device_path")]
    pub path: String,
    /// Writes are refused.
    #[serde(default)]
    pub read_only: bool,
    /// Nobody else may open the device for writing.
    #[serde(default = "yes")]
    pub exclusive: bool,
    /// The device is open. A saved backstore that is not enabled is restored so.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// An administrator's second name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Which blocks can be reached through which target port groups (SBC-4, "Referrals").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lba_map: Option<String>,
    /// What identifies the disk to initiators: serial number, vendor, product, NAA inputs.
    #[serde(default)]
    pub wwn: Attributes,
    /// Everything else that can be set.
    #[serde(default)]
    pub attributes: Attributes,
    /// Target port groups by name.
    #[serde(
        default,
        deserialize_with = "groups",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub target_port_groups: BTreeMap<String, TargetPortGroup>,
    /// The kernel can put another device in the place of this one while it is in use.
    #[serde(skip)]
    pub replaceable: bool,
}

/// The target port group that every backstore has: what is in no other is in this one.
pub const DEFAULT_GROUP: &str = "default_tg_pt_gp";

/// A target port group of a backstore (SPC-4 section 5.15).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPortGroup {
    /// TARGET PORT GROUP; initiators are not told of a group that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// Its access state and what else can be set.
    #[serde(default)]
    pub attributes: Attributes,
}

/// CHAP names and secrets of both directions.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// What the initiator proves to the target.
    #[serde(default, skip_serializing_if = "Credentials::is_empty")]
    pub initiator: Credentials,
    /// What the target proves to the initiator (mutual CHAP).
    #[serde(default, skip_serializing_if = "Credentials::is_empty")]
    pub target: Credentials,
}

/// A CHAP name and its secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// CHAP_N.
    #[serde(
        default,
        deserialize_with = "user",
        skip_serializing_if = "Option::is_none"
    )]
    pub user: Option<String>,
    /// The secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// There is a secret, but it cannot be read.
    #[serde(skip)]
    pub hidden: bool,
}

/// Authentication of discovery sessions.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DiscoveryAuth {
    /// CHAP is demanded.
    #[serde(default)]
    pub enforce: bool,
    /// With these credentials.
    #[serde(default)]
    pub auth: Auth,
    /// What else can be set.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// A target.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What is set for the whole target.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub parameters: Attributes,
    /// The target portal groups by tag.
    #[serde(default, deserialize_with = "unique_numbers")]
    pub tpgs: BTreeMap<u16, Tpg>,
}

/// A target portal group.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tpg {
    /// Initiators may log in.
    #[serde(default)]
    pub enabled: bool,
    /// The relative target port identifier, 1 to 65535; the kernel chooses if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtpi: Option<u16>,
    /// `attrib/`.
    #[serde(default)]
    pub attributes: Attributes,
    /// `param/`: the keys of RFC 7143 section 13.
    #[serde(default)]
    pub parameters: Attributes,
    /// For initiators that have no ACL of their own.
    #[serde(default)]
    pub auth: Auth,
    /// Where it listens, with the attributes of each portal.
    #[serde(default, deserialize_with = "unique")]
    pub portals: BTreeMap<Portal, Attributes>,
    /// The LUNs.
    #[serde(default, deserialize_with = "unique_numbers")]
    pub luns: BTreeMap<u64, Lun>,
    /// The initiators that may log in, and host groups of them.
    #[serde(default, deserialize_with = "unique_acls")]
    pub acls: BTreeMap<Name, Acl>,
    /// LUNs that lead to no backstore which is handled here, with the names of
    /// their links. They can only be removed.
    #[serde(skip)]
    pub odd_luns: BTreeMap<u64, Option<String>>,
}

/// A LUN of a TPG.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lun {
    /// What it is backed by.
    pub backstore: BackstoreId,
    /// The name of the link to the backstore; other tools look for it.
    #[serde(
        default,
        deserialize_with = "link",
        skip_serializing_if = "Option::is_none"
    )]
    pub link: Option<String>,
    /// The target port group of the backstore that it is in; none is the default one.
    #[serde(
        default,
        deserialize_with = "group",
        skip_serializing_if = "Option::is_none"
    )]
    pub group: Option<String>,
    /// It is offline, whatever its group is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub offline: bool,
    /// `attrib/`.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

impl Lun {
    /// A LUN in the default target port group.
    pub fn new(backstore: BackstoreId, link: Option<String>) -> Self {
        Lun {
            backstore,
            link,
            group: None,
            offline: false,
            attributes: Attributes::default(),
        }
    }
}

/// What one initiator may do.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Acl {
    /// The depth of its CmdSN window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdsn_depth: Option<u32>,
    /// A name that groups initiators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// `attrib/`.
    #[serde(default)]
    pub attributes: Attributes,
    /// Its credentials.
    #[serde(default)]
    pub auth: Auth,
    /// The LUNs it sees, by the number that it sees.
    #[serde(default, deserialize_with = "unique_numbers")]
    pub mapped_luns: BTreeMap<u64, MappedLun>,
    /// Mapped LUNs that lead to no LUN, with the names of their links.
    #[serde(skip)]
    pub odd_luns: BTreeMap<u64, Option<String>>,
}

/// A LUN as one initiator sees it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MappedLun {
    /// The LUN of the TPG.
    pub lun: u64,
    /// Writes are refused.
    #[serde(default)]
    pub write_protect: bool,
    /// The name of the link to the LUN.
    #[serde(
        default,
        deserialize_with = "link",
        skip_serializing_if = "Option::is_none"
    )]
    pub link: Option<String>,
}

impl Attributes {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Those of `wanted` that are absent here or differ.
    pub fn changes<'a>(&self, wanted: &'a Attributes) -> Vec<(&'a str, &'a str)> {
        wanted
            .0
            .iter()
            .filter(|(name, value)| self.0.get(*name) != Some(value))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

impl Auth {
    /// True if nothing is set.
    pub fn is_empty(&self) -> bool {
        self.initiator.is_empty() && self.target.is_empty()
    }
}

impl Credentials {
    /// True if nothing is set.
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && !self.has_secret()
    }
}

impl Credentials {
    /// True if there is a secret, be it known or not.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some() || self.hidden
    }
}

impl Backstore {
    /// The serial number of VPD page 80h.
    pub fn serial(&self) -> Option<&str> {
        self.wwn.get("vpd_unit_serial").filter(|s| !s.is_empty())
    }
}

impl Configuration {
    /// What is wrong with the configuration as a whole: references that lead nowhere.
    pub fn check(&self) -> Result<(), String> {
        for (id, backstore) in &self.backstores {
            let default = backstore.target_port_groups.get(DEFAULT_GROUP);
            if default.is_some_and(|group| group.id.is_some_and(|id| id != 0)) {
                return Err(format!(
                    "target port group {DEFAULT_GROUP} of backstore {id}: its identifier is 0"
                ));
            }
        }
        for (name, target) in &self.targets {
            for (tag, tpg) in &target.tpgs {
                for (lun, entry) in &tpg.luns {
                    if *lun > names::MAX_LUN {
                        return Err(format!("LUN {lun} of {name}: LUNs go from 0 to 16383"));
                    }
                    let Some(backstore) = self.backstores.get(&entry.backstore) else {
                        return Err(format!(
                            "LUN {lun} of TPG {tag} of {name} names backstore {}, \
                             which is not in the file",
                            entry.backstore
                        ));
                    };
                    if let Some(group) = &entry.group {
                        if !backstore.target_port_groups.contains_key(group) {
                            return Err(format!(
                                "LUN {lun} of TPG {tag} of {name} names target port group \
                                 {group}, which backstore {} does not have in the file",
                                entry.backstore
                            ));
                        }
                    }
                }
                for (initiator, acl) in &tpg.acls {
                    for (mapped, entry) in &acl.mapped_luns {
                        if *mapped > names::MAX_LUN {
                            return Err(format!(
                                "mapped LUN {mapped} of {initiator}: LUNs go from 0 to 16383"
                            ));
                        }
                        if !tpg.luns.contains_key(&entry.lun) {
                            return Err(format!(
                                "mapped LUN {mapped} of {initiator} on {name} names LUN {}, \
                                 which TPG {tag} does not have in the file",
                                entry.lun
                            ));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn yes() -> bool {
    true
}

fn is_false(value: &bool) -> bool {
    !value
}

fn device_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    names::check_device_path(&path).map_err(de::Error::custom)?;
    Ok(path)
}

fn link<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let link = Option::<String>::deserialize(deserializer)?;
    if let Some(link) = &link {
        names::check_link_name(link).map_err(de::Error::custom)?;
    }
    Ok(link)
}

fn group<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let group = Option::<String>::deserialize(deserializer)?;
    if let Some(group) = &group {
        names::check_group_name(group).map_err(de::Error::custom)?;
    }
    Ok(group)
}

fn groups<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, TargetPortGroup>, D::Error> {
    let groups: BTreeMap<String, TargetPortGroup> = unique(deserializer)?;
    for name in groups.keys() {
        names::check_group_name(name).map_err(de::Error::custom)?;
    }
    Ok(groups)
}

fn user<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let user = Option::<String>::deserialize(deserializer)?;
    if let Some(user) = &user {
        names::check_user(user).map_err(de::Error::custom)?;
    }
    Ok(user)
}

/// A map in which no key may stand twice: the second would silently win.
pub(crate) fn unique<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    struct Unique<K, V>(PhantomData<(K, V)>);

    impl<'de, K, V> Visitor<'de> for Unique<K, V>
    where
        K: Deserialize<'de> + Ord + fmt::Display,
        V: Deserialize<'de>,
    {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = access.next_key::<K>()? {
                if map.contains_key(&key) {
                    return Err(de::Error::custom(format!("{key} stands here twice")));
                }
                map.insert(key, access.next_value()?);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}

/// As [`unique`], for keys that are numbers, which JSON can only write as strings.
fn unique_numbers<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: std::str::FromStr + ToString + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    let map: BTreeMap<String, V> = unique(deserializer)?;
    let mut numbers = BTreeMap::new();
    for (key, value) in map {
        match key.parse::<K>() {
            Ok(number) if number.to_string() == key => numbers.insert(number, value),
            _ => {
                return Err(de::Error::custom(format!(
                    "{key:?} is not a number in range"
                )))
            }
        };
    }
    Ok(numbers)
}

/// As [`unique`], for initiators and host groups.
fn unique_acls<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Name, Acl>, D::Error> {
    let map: BTreeMap<String, Acl> = unique(deserializer)?;
    let mut acls = BTreeMap::new();
    for (key, acl) in map {
        let name = Name::parse_acl(&key).map_err(de::Error::custom)?;
        if acls.insert(name, acl).is_some() {
            return Err(de::Error::custom(format!("{key} stands here twice")));
        }
    }
    Ok(acls)
}

/// An attribute's value: a string, or a number for those who write by hand.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a whole number is needed")]
enum AttributeValue {
    Text(String),
    Signed(i64),
    Unsigned(u64),
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map: BTreeMap<String, AttributeValue> = unique(deserializer)?;
        let mut attributes = BTreeMap::new();
        for (name, value) in map {
            let value = match value {
                AttributeValue::Text(text) => text,
                AttributeValue::Signed(number) => number.to_string(),
                AttributeValue::Unsigned(number) => number.to_string(),
            };
            names::check_attribute_name(&name).map_err(de::Error::custom)?;
            names::check_attribute_value(&name, &value).map_err(de::Error::custom)?;
            attributes.insert(name, value);
        }
        Ok(Attributes(attributes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn empty_is_a_configuration() {
        assert_eq!(parse("{}").unwrap(), Configuration::default());
    }

    #[test]
    fn values_may_be_numbers() {
        let text = r#"{"backstores": {"iblock_0/a": {"path": "/dev/sda",
            "attributes": {"emulate_tpu": 1, "block_size": "512"}}}}"#;
        let config = parse(text).unwrap();
        let backstore = config.backstores.values().next().unwrap();
        assert_eq!(backstore.attributes.get("emulate_tpu"), Some("1"));
        assert_eq!(backstore.attributes.get("block_size"), Some("512"));
        assert!(backstore.exclusive && backstore.enabled && !backstore.read_only);
    }

    #[test]
    fn bad_files_name_place_and_rule() {
        for (text, says) in [
            (r#"{"backstore": {}}"#, "unknown field `backstore`"),
            (
                r#"{"backstores": {"disk": {"path": "/dev/a"}}}"#,
                "iblock_<number>/<name>",
            ),
            (
                r#"{"backstores": {"iblock_0/a": {"path": "sda"}}}"#,
                "absolute path",
            ),
            (
                r#"{"backstores": {"iblock_0/a": {}}}"#,
                "missing field `path`",
            ),
            (
                r#"{"backstores": {"iblock_0/a": {"path": "/d"}, "iblock_0/a": {"path": "/e"}}}"#,
                "twice",
            ),
            (r#"{"targets": {"nonsense": {}}}"#, "nonsense"),
            (
                r#"{"targets": {"iqn.2026-01.a:b": {"tpgs": {"70000": {}}}}}"#,
                "70000",
            ),
            (
                r#"{"targets": {"iqn.2026-01.a:b": {"tpgs": {"01": {}}}}}"#,
                "01",
            ),
            (
                r#"{"targets": {"iqn.2026-01.a:b": {"tpgs": {"1": {"attributes": {"../x": "1"}}}}}}"#,
                "attribute name",
            ),
            (
                r#"{"targets": {"iqn.2026-01.a:b": {"tpgs": {"1": {"attributes": {"x": [1]}}}}}}"#,
                "string or a whole number",
            ),
            (
                r#"{"discovery_auth": {"auth": {"initiator": {"secret": ""}}}}"#,
                "empty",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert!(error.contains("line 1 column"), "{error}");
        }
    }

    #[test]
    fn references_must_lead_somewhere() {
        let text = r#"{"targets": {"iqn.2026-01.a:b": {"tpgs": {"1": {
            "luns": {"0": {"backstore": "iblock_0/gone"}}}}}}}"#;
        assert!(parse(text)
            .unwrap()
            .check()
            .unwrap_err()
            .contains("iblock_0/gone"));
        let text = r#"{"targets": {"iqn.2026-01.a:b": {"tpgs": {"1": {
            "acls": {"iqn.2026-01.a:i": {"mapped_luns": {"3": {"lun": 7}}}}}}}}}"#;
        let error = parse(text).unwrap().check().unwrap_err();
        assert!(
            error.contains("mapped LUN 3") && error.contains("LUN 7"),
            "{error}"
        );
    }
}
