// SPDX-License-Identifier: GPL-2.0

//! The iSCSI Enterprise Target's ietd.conf: a key and a value on each line, those of a target
//! below its name.
//!
//! What IET shows as identifiers: VPD page 80h is `ScsiSN`; page 83h has a binary T10 vendor ID
//! designator of `IET`, padded with zeros to 8 bytes, and 16 bytes of `ScsiId`, padded likewise.
//! There is no NAA designator. Both have defaults that depend on the version and are not in the
//! file.

use std::path::Path;

use super::authentication;
use super::base_name;
use super::dir_of;
use super::every_address;
use super::hex;
use super::open_to_all;
use super::At;
use super::Identity;
use super::Reader;
use super::NO_IPV6;
use crate::error::Result;
use crate::names;
use crate::names::Name;
use crate::state::Credentials;
use crate::state::Lun;
use crate::state::Target;
use crate::state::Tpg;

/// IET's parameters by themselves, which are left to our defaults.
const PARAMETER_DEFAULTS: &[(&str, &str)] = &[
    ("MaxConnections", "1"),
    ("InitialR2T", "Yes"),
    ("ImmediateData", "No"),
    ("MaxRecvDataSegmentLength", "8192"),
    ("MaxXmitDataSegmentLength", "8192"),
    ("MaxBurstLength", "262144"),
    ("FirstBurstLength", "65536"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "20"),
    ("MaxOutstandingR2T", "1"),
    ("ErrorRecoveryLevel", "0"),
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
];

/// A target that is being read.
struct Open {
    at: At,
    name: Name,
    tpg: Tpg,
    accounts: Accounts,
}

/// Accounts of both directions, the first of each.
#[derive(Default)]
struct Accounts {
    at: Option<At>,
    incoming: Option<Credentials>,
    outgoing: Option<Credentials>,
}

impl Accounts {
    fn add(&mut self, reader: &mut Reader, at: &At, key: &str, value: &str) -> Result<()> {
        let is_incoming = key.eq_ignore_ascii_case("IncomingUser");
        let slot = if is_incoming {
            &mut self.incoming
        } else {
            &mut self.outgoing
        };
        // The line is not shown, as the secret is in it.
        let (user, secret) = value
            .split_once(char::is_whitespace)
            .map(|(user, secret)| (user, secret.trim()))
            .filter(|(_, secret)| !secret.is_empty())
            .ok_or_else(|| at.bad(format!("{key}: a name and a secret are needed")))?;
        if slot.is_some() {
            let what = format!("{key} {user:?}");
            reader.leave(at, what, "there is one name and secret: the first");
            return Ok(());
        }
        *slot = Some(reader.credentials(at, key, user, secret));
        self.at.get_or_insert_with(|| at.clone());
        Ok(())
    }
}

pub(super) fn read(reader: &mut Reader, text: &str) -> Result<()> {
    let closed = access_files(reader);
    let mut open: Option<Open> = None;
    let mut discovery = Accounts::default();
    let mut first = None;
    for (index, line) in text.lines().enumerate() {
        let at = reader.at(index + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        if key.eq_ignore_ascii_case("Target") {
            close(reader, open.take(), closed)?;
            let name = at.check(Name::parse(value))?;
            if reader.configuration.targets.contains_key(&name) {
                return Err(at.bad_value("target", value, "it stands there twice"));
            }
            first.get_or_insert_with(|| at.clone());
            open = Some(Open {
                at,
                name,
                tpg: Tpg {
                    enabled: true,
                    ..Tpg::default()
                },
                accounts: Accounts::default(),
            });
            continue;
        }
        let user = ["IncomingUser", "OutgoingUser"]
            .into_iter()
            .find(|user| user.eq_ignore_ascii_case(key));
        match (&mut open, user) {
            (Some(open), Some(user)) => open.accounts.add(reader, &at, user, value)?,
            (None, Some(user)) => discovery.add(reader, &at, user, value)?,
            (Some(open), None) => target_key(reader, &mut open.tpg, &at, key, value)?,
            (None, None) if key.to_ascii_lowercase().starts_with("isns") => {
                reader.leave(&at, key, "there is no iSNS client");
            }
            (None, None) => {
                let rule = "`Target NAME`, IncomingUser or OutgoingUser is expected before the \
                            first target";
                return Err(at.bad_value("key", key, rule));
            }
        }
    }
    close(reader, open, closed)?;
    if let (Some(at), Some(incoming)) = (discovery.at, discovery.incoming) {
        let auth = reader.both(&at, incoming, discovery.outgoing.unwrap_or_default());
        reader.configuration.discovery_auth.enforce = true;
        reader.configuration.discovery_auth.auth = auth;
    }
    if let Some(at) = first {
        reader.leave(&at, "portals", NO_IPV6);
    }
    Ok(())
}

/// Whether files beside this one say who may log in; those are not read.
fn access_files(reader: &mut Reader) -> bool {
    let dir = dir_of(&reader.file);
    let mut any = false;
    for name in [
        "initiators.allow",
        "initiators.deny",
        "targets.allow",
        "targets.deny",
    ] {
        let path = dir.join(name);
        if reader.file.as_ref() == Path::new("-") || !says_something(&path) {
            continue;
        }
        any = true;
        let at = At {
            file: path.into(),
            line: 1,
        };
        reader.leave(
            &at,
            name,
            "rules by address are not read, so nobody may log in: add an `initiator` for each \
             that shall",
        );
    }
    any
}

fn says_something(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let says = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        // What lets everybody in is as if it were not there.
        !words.is_empty() && words != ["ALL", "ALL"]
    };
    text.lines().any(says)
}

fn close(reader: &mut Reader, open: Option<Open>, closed: bool) -> Result<()> {
    let Some(Open {
        at,
        name,
        mut tpg,
        accounts,
    }) = open
    else {
        return Ok(());
    };
    authentication(&mut tpg, accounts.incoming.is_some());
    if !closed {
        open_to_all(&mut tpg);
    }
    every_address(&mut tpg);
    let incoming = accounts.incoming.unwrap_or_default();
    let outgoing = accounts.outgoing.unwrap_or_default();
    tpg.auth = reader.both(&accounts.at.unwrap_or(at), incoming, outgoing);
    let mut target = Target::default();
    target.tpgs.insert(1, tpg);
    reader.configuration.targets.insert(name, target);
    Ok(())
}

fn target_key(reader: &mut Reader, tpg: &mut Tpg, at: &At, key: &str, value: &str) -> Result<()> {
    let lower = key.to_ascii_lowercase();
    match lower.as_str() {
        "lun" => lun(reader, tpg, at, value),
        "alias" => {
            reader.parameter(at, tpg, "TargetAlias", value, "");
            Ok(())
        }
        "queuedcommands" => {
            match value.parse::<u32>() {
                Ok(32) => {}
                Ok(depth @ 1..=512) => {
                    let depth = depth.to_string();
                    tpg.attributes.0.insert("default_cmdsn_depth".into(), depth);
                }
                _ => {
                    let rule = "a number from 1 to 512 is possible";
                    reader.leave(at, format!("{key} {value:?}"), rule);
                }
            }
            Ok(())
        }
        "nopinterval" | "noptimeout" => {
            let (name, least) = if lower == "nopinterval" {
                ("nopin_timeout", 0)
            } else {
                ("nopin_response_timeout", 3)
            };
            match value.parse::<u32>() {
                // IET has none by itself, and we do: a dead peer is found.
                Ok(0) => {}
                Ok(seconds @ 3..=60) if seconds >= least => {
                    tpg.attributes.0.insert(name.into(), seconds.to_string());
                }
                _ => reader.leave(
                    at,
                    format!("{key} {value:?}"),
                    "a number from 3 to 60 is possible",
                ),
            }
            Ok(())
        }
        "wthreads" => Ok(()),
        "type" | "maxsessions" => {
            if !(lower == "maxsessions" && value == "0") {
                let what = format!("{key} {value:?}");
                reader.leave(at, what, "there is no such choice here");
            }
            Ok(())
        }
        _ => {
            let default = PARAMETER_DEFAULTS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key));
            let default = default.map_or("", |(_, default)| *default);
            if !reader.parameter(at, tpg, key, value, default) {
                reader.leave(at, format!("{key:?}"), "unknown key");
            }
            Ok(())
        }
    }
}

fn lun(reader: &mut Reader, tpg: &mut Tpg, at: &At, value: &str) -> Result<()> {
    let (number, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let number = at.check(names::parse_lun(number))?;
    if tpg.luns.contains_key(&number) {
        return Err(at.bad_value("LUN", value, "it stands there twice"));
    }
    let (mut path, mut scsi_id, mut serial) = (None, None, None);
    let (mut read_only, mut write_through, mut block_size) = (false, false, None);
    for pair in rest.trim().split(',').map(str::trim) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(at.bad_value("LUN", pair, "KEY=VALUE,KEY=VALUE... is needed"));
        };
        let (key, value) = (key.trim(), value.trim());
        match (key.to_ascii_lowercase().as_str(), value) {
            ("path", _) => path = Some(value),
            ("scsiid", _) => scsi_id = Some(value),
            ("scsisn", _) => serial = Some(value),
            ("type", "fileio" | "blockio") | ("iomode", "wb") => {}
            // The size of a nullio, which is left away as a whole.
            ("sectors", _) => {}
            ("iomode", "ro") => read_only = true,
            ("iomode", "wt") => write_through = true,
            ("type", "nullio") => {
                reader.leave(
                    at,
                    format!("LUN {number}"),
                    "nullio: there is no such disk here",
                );
                return Ok(());
            }
            ("blocksize", "512" | "1024" | "2048" | "4096") => {
                block_size = Some(value.to_string());
            }
            ("type" | "iomode" | "blocksize", _) => {
                return Err(at.bad_value(key, value, "IET knows no such value"));
            }
            _ => reader.leave(at, format!("{key:?} of LUN {number}"), "unknown key"),
        }
    }
    let path = path.ok_or_else(|| at.bad_value("LUN", rest, "Path=... is needed"))?;
    let mut identity = Identity {
        serial: serial.map(str::to_string),
        vendor: Some("IET".into()),
        product: Some("VIRTUAL-DISK".into()),
        revision: Some("0".into()),
        naa_id: Some("none".into()),
        ..Identity::default()
    };
    match scsi_id {
        Some(id) if id.len() <= 16 && !id.is_empty() => {
            let mut bytes = *b"IET\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
            for (to, from) in bytes.iter_mut().skip(8).zip(id.bytes()) {
                *to = from;
            }
            identity.t10_id = Some(format!("0x{}", hex(bytes)));
        }
        Some(id) => {
            return Err(at.bad_value("ScsiId", id, "it has 1 to 16 characters"));
        }
        None => reader.leave(
            at,
            format!("the identity of LUN {number}"),
            "without ScsiId IET makes one that depends on its version: read it from an \
             initiator (sg_vpd -p di -H) and set `identity.t10_id`",
        ),
    }
    if serial.is_none() {
        reader.leave(
            at,
            format!("the serial number of LUN {number}"),
            "without ScsiSN IET makes one that depends on its version: read it from an \
             initiator (sg_vpd -p sn) and set `serial`",
        );
    }
    let Some(backstore) = reader.backstore(at, base_name(path), path, &identity)? else {
        return Ok(());
    };
    reader.set_use(&backstore, read_only, write_through, block_size);
    tpg.luns.insert(number, Lun::new(backstore, None));
    Ok(())
}
