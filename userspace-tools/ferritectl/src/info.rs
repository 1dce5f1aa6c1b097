// SPDX-License-Identifier: GPL-2.0

//! What the `info` attributes say, as data.

use serde::Serialize;

/// What the kernel says of a backstore's device.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct DeviceInfo {
    /// Some LUN is backed by it.
    pub exported: bool,
    /// The kernel's name of the device, such as `vdb`.
    pub device: Option<String>,
    /// Its number.
    pub major_minor: Option<(u32, u32)>,
    /// The path that it was opened by.
    #[serde(skip)]
    pub udev_path: Option<String>,
    /// The size of a logical block in bytes.
    pub block_size: Option<u32>,
    /// Writes are refused.
    pub read_only: bool,
    /// Nobody else may open the device for writing.
    pub exclusive: bool,
}

/// A session of an initiator.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Session {
    /// InitiatorName.
    pub initiator: String,
    /// InitiatorAlias.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
    /// The kernel's number of the session.
    pub id: String,
    /// ISID, six bytes in hexadecimal.
    pub isid: String,
    /// TSIH.
    pub tsih: String,
    /// Normal or Discovery.
    #[serde(rename = "type")]
    pub session_type: String,
    /// Its state, such as LOGGED_IN.
    pub state: String,
    /// The CmdSN window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Its connections.
    pub connections: Vec<Connection>,
}

/// The CmdSN window of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Window {
    /// The greatest size.
    pub depth: u32,
    /// How many commands fit now.
    pub open: u32,
    /// ExpCmdSN.
    pub exp_cmd_sn: u32,
    /// MaxCmdSN.
    pub max_cmd_sn: u32,
}

/// A connection of a session.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Connection {
    /// CID.
    pub cid: String,
    /// Its state, such as LOGGED_IN.
    pub state: String,
    /// The initiator's address.
    pub address: String,
    /// TCP.
    pub transport: String,
    /// StatSN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stat_sn: String,
}

/// The word after `key` in `text`.
fn word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text.find(key)?;
    text[at + key.len()..].split_whitespace().next()
}

/// Parses `core/iblock_<n>/<dev>/info`.
pub fn parse_device(text: &str) -> DeviceInfo {
    let number = |key: &str| word(text, key).and_then(|word| word.parse::<u32>().ok());
    let udev_path = text.lines().find_map(|line| {
        let (_, rest) = line.split_once("UDEV PATH: ")?;
        // The path may hold blanks; what follows it is set off by two.
        let end = rest.find("  readonly:").unwrap_or(rest.len());
        Some(rest[..end].trim_end().to_string())
    });
    DeviceInfo {
        exported: word(text, "Status: ") == Some("ACTIVATED"),
        device: word(text, "iBlock device: ").map(str::to_string),
        major_minor: match (number("Major: "), number("Minor: ")) {
            (Some(0), Some(0)) => None,
            (Some(major), Some(minor)) => Some((major, minor)),
            _ => None,
        },
        udev_path: udev_path.filter(|path| !path.is_empty()),
        block_size: number("SectorSize: ").filter(|size| *size > 0),
        read_only: number("readonly: ").is_some_and(|value| value != 0),
        // A kernel that does not say holds its devices exclusively.
        exclusive: number("exclusive: ").is_none_or(|value| value != 0),
    }
}

/// Parses `acls/<initiator>/info`; no session gives an empty list.
pub fn parse_sessions(text: &str) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut window_follows = false;
    for line in text.lines() {
        if let Some(initiator) = line.strip_prefix("InitiatorName:") {
            sessions.push(Session {
                initiator: initiator.trim().to_string(),
                ..Session::default()
            });
            continue;
        }
        let Some(session) = sessions.last_mut() else {
            continue;
        };
        if let Some(alias) = line.strip_prefix("InitiatorAlias:") {
            session.alias = alias.trim().to_string();
        } else if line.contains("Session ID:") {
            let get = |key: &str| word(line, key).unwrap_or_default().to_string();
            session.id = get("Session ID: ");
            session.isid = isid(line);
            session.tsih = get("TSIH: ");
            session.session_type = get("SessionType: ");
        } else if let Some(state) = line.strip_prefix("Session State:") {
            session.state = bare_state(state);
        } else if line.contains("CmdSN/WR") {
            window_follows = true;
        } else if window_follows {
            session.window = parse_window(line);
            window_follows = false;
        } else if let Some(rest) = line.strip_prefix("CID:") {
            let state = rest.split_once("State:").map_or("", |(_, state)| state);
            session.connections.push(Connection {
                cid: rest.split_whitespace().next().unwrap_or("").to_string(),
                state: bare_state(state),
                ..Connection::default()
            });
        } else if let Some(rest) = line.trim_start().strip_prefix("Address ") {
            if let Some(connection) = session.connections.last_mut() {
                let mut words = rest.split_whitespace();
                connection.address = words.next().unwrap_or("").to_string();
                connection.transport = words.next().unwrap_or("").to_string();
                connection.stat_sn = word(rest, "StatSN: ").unwrap_or("").to_string();
            }
        }
    }
    sessions
}

/// `0x00 02 3d 00 00 00`, as the kernel prints bytes, becomes `0x00023d000000`.
fn isid(line: &str) -> String {
    let rest = line.split_once("ISID:").map_or("", |(_, rest)| rest);
    let bytes = rest.split("TSIH").next().unwrap_or("");
    bytes.split_whitespace().collect()
}

/// `TARG_SESS_STATE_LOGGED_IN` becomes `LOGGED_IN`.
fn bare_state(text: &str) -> String {
    let text = text.trim();
    for prefix in ["TARG_SESS_STATE_", "TARG_CONN_STATE_", "TARG_SESS_"] {
        if let Some(state) = text.strip_prefix(prefix) {
            return state.to_string();
        }
    }
    text.to_string()
}

fn parse_window(line: &str) -> Option<Window> {
    let mut numbers = line
        .split_whitespace()
        .map(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16));
    let mut next = || numbers.next()?.ok();
    Some(Window {
        depth: next()?,
        open: next()?,
        exp_cmd_sn: next()?,
        max_cmd_sn: next()?,
    })
}

/// A registration for persistent reservations.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Registration {
    /// The key, as `0x` and sixteen digits.
    pub key: String,
    /// The initiator's name.
    pub initiator: String,
    /// The ISID, as `0x` and twelve digits.
    pub isid: String,
    /// The relative identifier of the target port.
    pub port: u16,
    /// It holds for all ports of the target.
    pub all_ports: bool,
    /// It holds the reservation.
    pub holder: bool,
}

/// Reads `pr/registrations`: a line each of key, ISID, port, flags and name. Lines that are
/// different are left out.
pub fn parse_registrations(text: &str) -> Vec<Registration> {
    let parse = |line: &str| {
        let mut words = line.splitn(5, ' ');
        let (key, isid) = (words.next()?, words.next()?);
        let port = words.next()?.parse().ok()?;
        let flags = words.next()?;
        Some(Registration {
            key: key.into(),
            initiator: words.next()?.into(),
            isid: isid.into(),
            port,
            all_ports: flags.contains('a'),
            holder: flags.contains('h'),
        })
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "\
InitiatorName: iqn.2026-01.org.example:client
InitiatorAlias: client
LIO Session ID: 7   ISID: 0x00 02 3d 00 00 00  TSIH: 3  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Session Values]-----------------------
  CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT
 0x00000040   0x00000040   0x0000001f   0x0000005e   0x00000000   0x00000001
----------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 192.0.2.7 TCP  StatSN: 0xb2fdf63d
";

    #[test]
    fn session_is_read() {
        let sessions = parse_sessions(&format!("{SESSION}{SESSION}"));
        assert_eq!(sessions.len(), 2);
        let session = &sessions[1];
        assert_eq!(session.initiator, "iqn.2026-01.org.example:client");
        assert_eq!(session.alias, "client");
        assert_eq!((session.id.as_str(), session.tsih.as_str()), ("7", "3"));
        assert_eq!(session.isid, "0x00023d000000");
        assert_eq!(session.session_type, "Normal");
        assert_eq!(session.state, "LOGGED_IN");
        let window = session.window.unwrap();
        assert_eq!((window.depth, window.open), (64, 64));
        assert_eq!((window.exp_cmd_sn, window.max_cmd_sn), (0x1f, 0x5e));
        assert_eq!(session.connections.len(), 1);
        assert_eq!(session.connections[0].address, "192.0.2.7");
        assert_eq!(session.connections[0].state, "LOGGED_IN");
        assert_eq!(session.connections[0].stat_sn, "0xb2fdf63d");
    }

    #[test]
    fn no_session_is_none() {
        let text = "No active iSCSI Session for Initiator Endpoint: iqn.2026-01.org.example:a\n";
        assert!(parse_sessions(text).is_empty());
        assert!(parse_sessions("").is_empty());
    }

    #[test]
    fn torn_text_is_survived() {
        for end in 0..SESSION.len() {
            let sessions = parse_sessions(&SESSION[..end]);
            assert!(sessions.len() <= 1);
        }
    }

    #[test]
    fn device_is_read() {
        let text = "Status: ACTIVATED  Max Queue Depth: 128  SectorSize: 4096  HwMaxSectors: 8\n\
                    \x20       iBlock device: vdb  UDEV PATH: /dev/disk/my disk  readonly: 1\n\
                    \x20 exclusive: 0\n        Major: 254 Minor: 16  CLAIMED: IBLOCK\n";
        let info = parse_device(text);
        assert!(info.exported && info.read_only && !info.exclusive);
        assert_eq!(info.device.as_deref(), Some("vdb"));
        assert_eq!(info.major_minor, Some((254, 16)));
        assert_eq!(info.udev_path.as_deref(), Some("/dev/disk/my disk"));
        assert_eq!(info.block_size, Some(4096));
        let info = parse_device("Status: DEACTIVATED  SectorSize: 0\n  Major: 0 Minor: 0\n");
        assert!(!info.exported && !info.read_only && info.exclusive);
        assert_eq!((info.major_minor, info.block_size), (None, None));
        assert_eq!(info.udev_path, None);
    }
}
