// SPDX-License-Identifier: GPL-2.0

//! Names as types: what has been parsed here is safe as a part of a path.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use ferrite_proto::group::GroupName;
use ferrite_proto::group::Pattern;
use ferrite_proto::name::IscsiName;
use serde::de;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;

/// The port that RFC 7143 section 4.2.7.2 gives a portal which names none.
pub const DEFAULT_PORT: u16 = 3260;

/// The greatest LUN of the flat space addressing method (SAM-5 section 4.7.7.3).
pub const MAX_LUN: u64 = 16383;

/// The most bytes that configfs stores of a device's path.
pub const MAX_PATH: usize = 511;

/// Checks that `text` may be one component of a path.
fn component(what: &str, text: &str, max: usize) -> Result<()> {
    let rule = if text.is_empty() {
        "it is empty".to_string()
    } else if text.len() > max {
        format!("it is longer than {max} bytes")
    } else if text.starts_with('.') {
        "it begins with a dot".to_string()
    } else if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
        "letters, digits and punctuation other than / are allowed".to_string()
    } else {
        return Ok(());
    };
    Err(Error::value(what, text, rule))
}

macro_rules! string_type {
    ($type:ident) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $type::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

/// The iSCSI name of a target or an initiator (RFC 7143 section 4.2.7).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Name(String);

string_type!(Name);

impl Name {
    /// Parses an `iqn.`, `eui.` or `naa.` name; upper case becomes lower case.
    pub fn parse(text: &str) -> Result<Self> {
        match IscsiName::parse(text.as_bytes()) {
            Ok(name) => Ok(Name(name.as_str().to_string())),
            Err(error) => Err(Error::value("iSCSI name", text, error.to_string())),
        }
    }

    /// Parses whom an ACL is about: an initiator's name, or that of a host group.
    pub fn parse_acl(text: &str) -> Result<Self> {
        if !GroupName::is_meant(text.as_bytes()) {
            return Name::parse(text);
        }
        match GroupName::parse(text.as_bytes()) {
            Ok(name) => Ok(Name(name.as_str().to_string())),
            Err(error) => Err(Error::value("host group", text, error.to_string())),
        }
    }

    /// Whether it is a host group's.
    pub fn is_group(&self) -> bool {
        GroupName::is_meant(self.0.as_bytes())
    }

    /// Takes a name that the kernel already accepted, as it stands in configfs.
    pub fn existing(text: &str) -> Self {
        Name(text.to_string())
    }
}

/// Checks who shall be in a host group: a name, or a pattern with `*` in it.
pub fn parse_member(text: &str) -> Result<String> {
    match Pattern::parse(text.as_bytes()) {
        Ok(pattern) => Ok(pattern.as_str().to_string()),
        Err(error) => Err(Error::value("member", text, error.to_string())),
    }
}

/// A backstore: a block device under a host bus adapter's directory.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BackstoreId {
    /// The number of the directory `iblock_<n>`.
    pub hba: u32,
    /// The name given by the administrator.
    pub name: String,
}

impl BackstoreId {
    /// Parses `iblock_<n>/<name>`.
    pub fn parse(text: &str) -> Result<Self> {
        let rule = "iblock_<number>/<name> is expected";
        let (hba, name) = text
            .split_once('/')
            .ok_or_else(|| Error::value("backstore", text, rule))?;
        let hba = parse_hba(hba).ok_or_else(|| Error::value("backstore", text, rule))?;
        check_backstore_name(name)?;
        Ok(BackstoreId {
            hba,
            name: name.to_string(),
        })
    }

    /// The name of the host bus adapter's directory.
    pub fn hba_name(&self) -> String {
        format!("iblock_{}", self.hba)
    }
}

impl fmt::Display for BackstoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "iblock_{}/{}", self.hba, self.name)
    }
}

impl Serialize for BackstoreId {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BackstoreId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BackstoreId::parse(&text).map_err(de::Error::custom)
    }
}

/// The number in `iblock_<n>`, written without a sign or leading zeros.
pub fn parse_hba(text: &str) -> Option<u32> {
    parse_number(text.strip_prefix("iblock_")?)
}

/// The number in `tpgt_<n>`.
pub fn parse_tpgt_dir(text: &str) -> Option<u16> {
    parse_number(text.strip_prefix("tpgt_")?)
}

/// The number in `lun_<n>`.
pub fn parse_lun_dir(text: &str) -> Option<u64> {
    parse_number(text.strip_prefix("lun_")?)
}

/// A decimal number in its only spelling, so that it round-trips as a name.
fn parse_number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A decimal number without a sign, which `str::parse` would take.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// Checks the name of a backstore, which is also the name of links to it.
pub fn check_backstore_name(text: &str) -> Result<()> {
    component("backstore name", text, 128)
}

/// Checks the name of a link to a backstore or a LUN.
pub fn check_link_name(text: &str) -> Result<()> {
    component("link name", text, 128)
}

/// Checks the name of a target port group.
pub fn check_group_name(text: &str) -> Result<()> {
    let what = "target port group";
    component(what, text, 128)?;
    if text == "NULL" {
        return Err(Error::value(what, text, "the kernel's word for none"));
    }
    Ok(())
}

/// Checks the name of an attribute, which becomes the name of a file.
pub fn check_attribute_name(text: &str) -> Result<()> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    Err(Error::value(
        "attribute name",
        text,
        "letters, digits and _ are allowed",
    ))
}

/// Checks a value that goes into an attribute: one line of at most 4095 bytes.
pub fn check_attribute_value(name: &str, value: &str) -> Result<()> {
    let rule = if value.len() > 4095 {
        "it is longer than 4095 bytes"
    } else if value.chars().any(char::is_control) {
        "it has a control character in it"
    } else {
        return Ok(());
    };
    Err(Error::value(format!("value of {name}"), value, rule))
}

/// Checks the path of a block device as far as its text goes.
pub fn check_device_path(text: &str) -> Result<()> {
    let rule = if !text.starts_with('/') {
        "an absolute path is needed, such as /dev/disk/by-id/..."
    } else if text.len() > MAX_PATH {
        "it is longer than 511 bytes"
    } else if text.contains(',') {
        "configfs cannot take a path with a comma; give another link to the device"
    } else if text.chars().any(|c| c.is_control()) || text.ends_with(' ') {
        "it has a control character or a trailing space in it"
    } else {
        return Ok(());
    };
    Err(Error::value("device path", text, rule))
}

/// Checks a CHAP name (CHAP_N, RFC 7143 section 12.1.3).
pub fn check_user(text: &str) -> Result<()> {
    let rule = if text.is_empty() {
        "it is empty"
    } else if text.len() > 255 {
        "it is longer than 255 bytes"
    } else if text.chars().any(char::is_control) {
        "it has a control character in it"
    } else if text.starts_with("NULL") {
        "one that begins with NULL cannot be stored"
    } else {
        return Ok(());
    };
    Err(Error::value("CHAP name", text, rule))
}

/// Parses a Target Portal Group Tag, 0 to 65535 (RFC 7143 section 4.2.7.2).
pub fn parse_tpgt(text: &str) -> Result<u16> {
    decimal(text).ok_or_else(|| Error::value("TPG tag", text, "a number from 0 to 65535 is needed"))
}

/// Parses a LUN, 0 to 16383.
pub fn parse_lun(text: &str) -> Result<u64> {
    decimal(text)
        .filter(|lun| *lun <= MAX_LUN)
        .ok_or_else(|| Error::value("LUN", text, "a number from 0 to 16383 is needed"))
}

/// A network portal, as its directory is called: `192.0.2.1:3260`, `[2001:db8::1]:3260`.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Portal {
    text: String,
    #[serde(skip)]
    key: (IpAddr, Option<String>, u16),
}

impl Portal {
    /// Parses an address with or without a port; 3260 is the default port.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |rule: &str| Error::value("portal", text, rule);
        let syntax = "ADDRESS, ADDRESS:PORT or [IPV6]:PORT is needed, \
                      with an IP address and not a host name";
        let (address, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or_else(|| fail(syntax))?;
            if !address.contains(':') {
                return Err(fail("an IPv6 address belongs between the brackets"));
            }
            match rest.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None if rest.is_empty() => (address, None),
                None => return Err(fail(syntax)),
            }
        } else if text.matches(':').count() > 1 {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((address, port)) => (address, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            None | Some("") => DEFAULT_PORT,
            Some(port) => decimal(port)
                .filter(|port| *port > 0)
                .ok_or_else(|| fail("the port is a number from 1 to 65535"))?,
        };
        let (address, zone) = match address.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (address, None),
        };
        if let Some(zone) = zone {
            component("zone of the portal", zone, 15)?;
        }
        let ip = match zone {
            None => address.parse::<IpAddr>().map_err(|_| fail(syntax))?,
            Some(_) => IpAddr::V6(
                address
                    .parse::<Ipv6Addr>()
                    .map_err(|_| fail("only an IPv6 address has a zone"))?,
            ),
        };
        let text = match (ip, zone) {
            (IpAddr::V4(ip), _) => format!("{ip}:{port}"),
            (IpAddr::V6(ip), None) => format!("[{ip}]:{port}"),
            (IpAddr::V6(ip), Some(zone)) => format!("[{ip}%{zone}]:{port}"),
        };
        Ok(Portal {
            text,
            key: (ip, zone.map(str::to_string), port),
        })
    }

    /// Takes the name of an existing directory, in whatever spelling it has.
    pub fn existing(text: &str) -> Self {
        match Portal::parse(text) {
            Ok(portal) => Portal {
                text: text.to_string(),
                ..portal
            },
            // Not to be met unless a later kernel invents portals that are not
            // addresses; the spelling then tells them apart.
            Err(_) => Portal {
                text: text.to_string(),
                key: (IpAddr::V4(Ipv4Addr::UNSPECIFIED), Some(text.to_string()), 0),
            },
        }
    }

    /// The name of the directory.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

// Two spellings of one address are one portal.
impl PartialEq for Portal {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Portal {}

impl std::hash::Hash for Portal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Ord for Portal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Portal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Portal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Portal::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased() {
        let name = Name::parse("IQN.2026-01.org.Example:Store").unwrap();
        assert_eq!(name.as_str(), "iqn.2026-01.org.example:store");
        for bad in [
            "",
            "disk",
            "iqn.2026-01.org/..",
            "iqn. x",
            "iqn.2026-01.org.example:a b",
        ] {
            assert_eq!(Name::parse(bad).unwrap_err().exit_code().code(), 2, "{bad}");
        }
    }

    #[test]
    fn portals_get_the_default_port() {
        for (text, dir) in [
            ("192.0.2.1", "192.0.2.1:3260"),
            ("192.0.2.1:", "192.0.2.1:3260"),
            ("192.0.2.1:860", "192.0.2.1:860"),
            ("::", "[::]:3260"),
            ("[::0]:3260", "[::]:3260"),
            ("[2001:DB8::1]", "[2001:db8::1]:3260"),
            ("fe80::1%eth0", "[fe80::1%eth0]:3260"),
            ("[fe80::1%eth0]:3261", "[fe80::1%eth0]:3261"),
        ] {
            assert_eq!(Portal::parse(text).unwrap().as_str(), dir, "{text}");
        }
    }

    #[test]
    fn bad_portals_are_refused() {
        for bad in [
            "",
            ":3260",
            "host",
            "host:3260",
            "192.0.2.1:0",
            "192.0.2.1:65536",
            "192.0.2.1:x",
            "192.0.2.1:+1",
            "192.0.2.256",
            "[192.0.2.1]:3260",
            "[::1",
            "[::1]3260",
            "[::1]:-1",
            "192.0.2.1/24",
            "fe80::1%",
            "fe80::1%a/b",
            "192.0.2.1%eth0",
            "192.0.2.1:3260:1",
        ] {
            assert!(Portal::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spelling_does_not_make_two_portals() {
        let existing = Portal::existing("[::0]:3260");
        assert_eq!(existing, Portal::parse("::").unwrap());
        assert_eq!(existing.as_str(), "[::0]:3260");
        assert_ne!(existing, Portal::parse("[::]:3261").unwrap());
        assert_ne!(Portal::existing("odd"), Portal::existing("odder"));
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(parse_lun_dir("lun_0"), Some(0));
        assert_eq!(parse_lun_dir("lun_01"), None);
        assert_eq!(parse_lun_dir("lun_+1"), None);
        assert_eq!(parse_lun_dir("lun_"), None);
        assert_eq!(parse_tpgt_dir("tpgt_65535"), Some(65535));
        assert_eq!(parse_tpgt_dir("tpgt_65536"), None);
        assert_eq!(parse_hba("iblock_12"), Some(12));
        assert_eq!(parse_hba("fileio_12"), None);
        assert_eq!(parse_lun("16383").unwrap(), 16383);
        for bad in ["16384", "", "-1", "+1", "1 ", "0x1"] {
            assert!(parse_lun(bad).is_err(), "{bad:?}");
            assert!(bad == "16384" || parse_tpgt(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_climbs_out_of_the_tree() {
        for bad in ["", ".", "..", "a/b", "a b", "a\nb", "\u{e9}", ".hidden"] {
            assert!(check_backstore_name(bad).is_err(), "{bad:?}");
            assert!(check_attribute_name(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "iblock_0",
            "iblock_0/..",
            "iblock_0/a/b",
            "fileio_0/a",
            "iblock_00/a",
        ] {
            assert!(BackstoreId::parse(bad).is_err(), "{bad}");
        }
        let id = BackstoreId::parse("iblock_3/disk0").unwrap();
        assert_eq!((id.hba, id.name.as_str()), (3, "disk0"));
        assert_eq!(id.to_string(), "iblock_3/disk0");
    }

    #[test]
    fn device_paths() {
        assert!(check_device_path("/dev/disk/by-id/wwn-0x5000").is_ok());
        for bad in ["", "sda", "/dev/a,b", "/dev/a\n", "/dev/a "] {
            assert!(check_device_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_device_path(&format!("/{}", "d".repeat(511))).is_err());
    }
}
