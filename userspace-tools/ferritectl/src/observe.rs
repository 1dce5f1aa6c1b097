// SPDX-License-Identifier: GPL-2.0

//! What the kernel has counted: of LUNs, of portals, of sessions, and of the module.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;

use crate::configfs::Configfs;
use crate::error::Result;
use crate::info;
use crate::layout;
use crate::names;
use crate::names::Name;

/// Counters by their names.
pub type Counters = BTreeMap<String, u64>;

/// A counter; 0 if the kernel does not have it.
pub fn number(counters: &Counters, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or(0)
}

/// How many commands took how long.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Histogram {
    /// What the times of each class are below, in µs; the last one may have no bound.
    pub below_us: Vec<Option<u64>>,
    /// The commands of each class.
    pub counts: Vec<u64>,
    /// The sum of all times, in ns.
    pub sum_ns: u64,
}

impl Histogram {
    /// How many commands there are.
    pub fn total(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What this many per cent of the commands took at most, in µs: the bound of the class in
    /// which the last of them is, or for a class without bound that of the one before. None
    /// if there are no commands.
    pub fn percentile_us(&self, per_cent: f64) -> Option<u64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let wanted = ((total as f64) * per_cent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        let mut bound = 0;
        for (below, count) in self.below_us.iter().zip(&self.counts) {
            bound = below.unwrap_or(bound);
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return Some(bound);
            }
        }
        Some(bound)
    }

    /// What the mean command took, in µs.
    pub fn mean_us(&self) -> Option<f64> {
        match self.total() {
            0 => None,
            total => Some(self.sum_ns as f64 / 1000.0 / total as f64),
        }
    }

    /// The commands that have come since `older` was read.
    pub fn since(&self, older: &Histogram) -> Histogram {
        Histogram {
            below_us: self.below_us.clone(),
            counts: self
                .counts
                .iter()
                .enumerate()
                .map(|(at, count)| count.saturating_sub(older.counts.get(at).copied().unwrap_or(0)))
                .collect(),
            sum_ns: self.sum_ns.saturating_sub(older.sum_ns),
        }
    }
}

/// A connection of a session.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Connection {
    /// CID.
    pub cid: u16,
    /// `logged_in` or `cleanup_wait`.
    pub state: String,
    /// The initiator's address and port.
    pub peer: String,
    /// The portal's address and port.
    pub portal: String,
    /// What was negotiated for it.
    pub keys: BTreeMap<String, String>,
}

/// A session, as the kernel lists it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Record {
    /// The kernel's number of the session.
    pub session: u32,
    /// InitiatorName.
    pub initiator: String,
    /// InitiatorAlias.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
    /// ISID, as `0x` and twelve digits.
    pub isid: String,
    /// TSIH.
    pub tsih: u16,
    /// `logged_in`, `logout_requested` or `failed`.
    pub state: String,
    /// It has no ACL.
    pub dynamic: bool,
    /// The ACL or host group that it came in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<Name>,
    /// What was negotiated for the session.
    pub keys: BTreeMap<String, String>,
    /// Its age, window and commands: all that is a number.
    pub numbers: Counters,
    /// From the arrival of a command until its response.
    pub latency: Histogram,
    /// Its connections.
    pub connections: Vec<Connection>,
}

impl Record {
    /// A number; 0 if the kernel does not tell it.
    pub fn number(&self, name: &str) -> u64 {
        number(&self.numbers, name)
    }

    /// How old it is, in ms.
    pub fn age_ms(&self) -> u64 {
        self.number("age_ms")
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            "session" => self.session = value.parse().unwrap_or(0),
            "initiator" => self.initiator = value.to_string(),
            "alias" => self.alias = value.to_string(),
            "isid" => self.isid = value.to_string(),
            "tsih" => self.tsih = value.parse().unwrap_or(0),
            "state" => self.state = value.to_string(),
            "dynamic" => self.dynamic = value == "1",
            "acl" => self.acl = Some(Name::existing(value)),
            "below_us" => self.latency.below_us = bounds(value),
            "received_sent" => self.latency.counts = numbers(value),
            "received_sent_sum_ns" => self.latency.sum_ns = value.parse().unwrap_or(0),
            "connection" => self.connections.extend(connection(value)),
            // Keys begin with a capital letter, as in RFC 7143.
            key if key.starts_with(|c: char| c.is_ascii_uppercase()) => {
                self.keys.insert(key.to_string(), value.to_string());
            }
            number => {
                if let Ok(value) = value.parse() {
                    self.numbers.insert(number.to_string(), value);
                }
            }
        }
    }
}

fn bounds(text: &str) -> Vec<Option<u64>> {
    text.split_whitespace()
        .map(|word| word.parse().ok())
        .collect()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace()
        .map(|word| word.parse().unwrap_or(0))
        .collect()
}

fn connection(text: &str) -> Option<Connection> {
    let mut words = text.split_whitespace();
    let mut connection = Connection {
        cid: words.next()?.parse().ok()?,
        state: words.next()?.to_string(),
        peer: words.next()?.to_string(),
        portal: words.next()?.to_string(),
        keys: BTreeMap::new(),
    };
    for word in words {
        if let Some((key, value)) = word.split_once('=') {
            connection.keys.insert(key.to_string(), value.to_string());
        }
    }
    Some(connection)
}

/// Parses `tpgt_<n>/sessions`.
pub fn parse_sessions(text: &str) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for line in text.lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        if name == "session" {
            records.push(Record::default());
        }
        if let Some(record) = records.last_mut().filter(|_| !name.is_empty()) {
            record.take(name, value);
        }
    }
    records
}

/// Parses a file of one name and one number a line.
pub fn parse_counters(text: &str) -> Counters {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_string(), value.trim().parse().ok()?)))
        .collect()
}

/// Parses `statistics/latency`: the histograms by their stages.
pub fn parse_latency(text: &str) -> BTreeMap<String, Histogram> {
    let mut below_us = Vec::new();
    let mut stages: BTreeMap<String, Histogram> = BTreeMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        if name == "below_us" {
            below_us = bounds(value);
        } else if let Some(stage) = name.strip_suffix("_sum_ns") {
            stages.entry(stage.to_string()).or_default().sum_ns = value.trim().parse().unwrap_or(0);
        } else {
            let stage = stages.entry(name.to_string()).or_default();
            stage.counts = numbers(value);
            stage.below_us.clone_from(&below_us);
        }
    }
    stages
}

/// The whole time of a command: the name of its histogram.
pub const WHOLE: &str = "received_sent";

/// A LUN with what was counted of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lun {
    /// The target's name.
    pub target: String,
    /// The portal group.
    pub tpg: u16,
    /// Its number.
    pub lun: u64,
    /// Its backstore.
    pub backstore: Option<String>,
    /// Its counters.
    pub counters: Counters,
    /// Its histograms, by stage.
    pub latency: BTreeMap<String, Histogram>,
}

impl Lun {
    /// A counter; 0 if the kernel does not have it.
    pub fn number(&self, name: &str) -> u64 {
        number(&self.counters, name)
    }

    /// Commands that failed, whatever the reason.
    pub fn errors(&self) -> u64 {
        errors(&self.counters)
    }
}

/// The counters of failures.
pub fn failures(counters: &Counters) -> impl Iterator<Item = (&str, u64)> {
    const OTHERS: [&str; 4] = [
        "busy",
        "task_set_full",
        "reservation_conflicts",
        "task_aborted",
    ];
    counters.iter().filter_map(|(name, count)| {
        let reason = match name.strip_prefix("sense_") {
            Some(key) => key,
            None => OTHERS.into_iter().find(|other| other == name)?,
        };
        Some((reason, *count))
    })
}

/// Commands that failed, but those that only told of something (UNIT ATTENTION).
pub fn errors(counters: &Counters) -> u64 {
    failures(counters)
        .filter(|(reason, _)| *reason != "unit_attention")
        .map(|(_, count)| count)
        .sum()
}

/// A portal with what was counted of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Portal {
    /// The target's name.
    pub target: String,
    /// The portal group.
    pub tpg: u16,
    /// Its address and port.
    pub portal: String,
    /// Its logins, and what the sessions that came by it have done.
    pub counters: Counters,
}

/// A session and where it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Session {
    /// The target's name.
    pub target: String,
    /// The portal group.
    pub tpg: u16,
    /// What the kernel says of it.
    #[serde(flatten)]
    pub record: Record,
}

/// Everything that was counted, at some moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// The LUNs.
    pub luns: Vec<Lun>,
    /// The portals.
    pub portals: Vec<Portal>,
    /// The sessions.
    pub sessions: Vec<Session>,
    /// The counters of the module.
    pub module: Counters,
}

/// What the kernel lists of a portal group's sessions; `None` if it is one that does not, or
/// does not for this user.
pub fn records(configfs: &Configfs<'_>, target: &Name, tpg: u16) -> Result<Option<Vec<Record>>> {
    let path = layout::tpg(target, tpg).join("sessions");
    let text = configfs.value_if_allowed(&path)?;
    Ok(text.map(|text| parse_sessions(&text)))
}

/// What was counted of a portal; nothing if the kernel does not tell.
pub fn portal_counters(
    configfs: &Configfs<'_>,
    target: &Name,
    tpg: u16,
    portal: &names::Portal,
) -> Counters {
    let path = layout::portal(target, tpg, portal).join("statistics/counters");
    parse_counters(&configfs.value(&path).ok().flatten().unwrap_or_default())
}

/// Reads everything.
pub fn snapshot(configfs: &Configfs<'_>) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    // What goes while it is read is left out.
    let read =
        |path: PathBuf| -> String { configfs.value(&path).ok().flatten().unwrap_or_default() };
    snapshot.module = parse_counters(&read(Path::new("statistics").to_path_buf()));
    for target in configfs.target_names()? {
        for tpg in configfs.tags(&target)? {
            for number in configfs.lun_numbers(&target, tpg)? {
                let dir = layout::lun(&target, tpg, number).join("statistics");
                let backstore = configfs.lun_backstore(&target, tpg, number);
                snapshot.luns.push(Lun {
                    target: target.to_string(),
                    tpg,
                    lun: number,
                    backstore,
                    counters: parse_counters(&read(dir.join("counters"))),
                    latency: parse_latency(&read(dir.join("latency"))),
                });
            }
            for portal in configfs.portals(&target, tpg)? {
                snapshot.portals.push(Portal {
                    target: target.to_string(),
                    tpg,
                    counters: portal_counters(configfs, &target, tpg, &portal),
                    portal: portal.to_string(),
                });
            }
            for record in records(configfs, &target, tpg)?.unwrap_or_default() {
                snapshot.sessions.push(Session {
                    target: target.to_string(),
                    tpg,
                    record,
                });
            }
        }
    }
    Ok(snapshot)
}

impl From<&Record> for info::Session {
    fn from(record: &Record) -> Self {
        let number = |name| u32::try_from(record.number(name)).unwrap_or(u32::MAX);
        let (exp_cmd_sn, max_cmd_sn) = (number("exp_cmd_sn"), number("max_cmd_sn"));
        info::Session {
            initiator: record.initiator.clone(),
            alias: record.alias.clone(),
            id: record.session.to_string(),
            isid: record.isid.clone(),
            tsih: record.tsih.to_string(),
            session_type: "Normal".to_string(),
            state: record.state.to_ascii_uppercase(),
            window: Some(info::Window {
                depth: number("queue_depth"),
                open: max_cmd_sn.wrapping_sub(exp_cmd_sn).wrapping_add(1),
                exp_cmd_sn,
                max_cmd_sn,
            }),
            connections: record
                .connections
                .iter()
                .map(|connection| info::Connection {
                    cid: connection.cid.to_string(),
                    state: connection.state.to_ascii_uppercase(),
                    address: host(&connection.peer).to_string(),
                    transport: "TCP".to_string(),
                    stat_sn: connection.keys.get("stat_sn").cloned().unwrap_or_default(),
                })
                .collect(),
        }
    }
}

/// The address without the port.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS: &str = "\
session 12
initiator iqn.2026-01.org.example:client
alias the client
isid 0x00023d000000
tsih 3
state logged_in
dynamic 1
age_ms 65000
queue_depth 128
outstanding 2
exp_cmd_sn 31
max_cmd_sn 158
ImmediateData Yes
commands 10
reads 7
writes 2
other_commands 1
read_bytes 28672
write_bytes 8192
sense_unit_attention 1
below_us 1 2 4 inf
received_sent 0 6 3 1
received_sent_sum_ns 90000
connection 0 logged_in [2001:db8::7]:4242 192.0.2.1:3260 HeaderDigest=CRC32C stat_sn=77
session 13
initiator iqn.2026-01.org.example:other
dynamic 0
acl @web


";

    #[test]
    fn sessions_are_read() {
        let records = parse_sessions(SESSIONS);
        assert_eq!(records.len(), 2);
        let record = &records[0];
        assert_eq!((record.session, record.tsih), (12, 3));
        assert_eq!(record.alias, "the client");
        assert!(record.dynamic);
        assert_eq!(record.age_ms(), 65_000);
        assert_eq!(record.keys["ImmediateData"], "Yes");
        assert_eq!(record.number("read_bytes"), 28_672);
        assert_eq!(record.latency.total(), 10);
        let connection = &record.connections[0];
        assert_eq!(connection.peer, "[2001:db8::7]:4242");
        assert_eq!(connection.keys["HeaderDigest"], "CRC32C");
        let plain = info::Session::from(record);
        assert_eq!(plain.connections[0].address, "2001:db8::7");
        assert_eq!(plain.window.unwrap().open, 128);
        assert_eq!(plain.state, "LOGGED_IN");
        assert_eq!(records[1].initiator, "iqn.2026-01.org.example:other");
        let acls: Vec<_> = records.iter().map(|r| r.acl.as_ref()).collect();
        assert_eq!(acls, [None, Some(&Name::existing("@web"))]);
    }

    #[test]
    fn torn_text_is_survived() {
        for end in 0..SESSIONS.len() {
            assert!(parse_sessions(&SESSIONS[..end]).len() <= 2);
        }
    }

    #[test]
    fn percentiles_are_bounds_of_classes() {
        let histogram = Histogram {
            below_us: vec![Some(1), Some(2), Some(4), None],
            counts: vec![0, 6, 3, 1],
            sum_ns: 90_000,
        };
        for (per_cent, us) in [
            (0.0, 2),
            (50.0, 2),
            (60.0, 2),
            (61.0, 4),
            (90.0, 4),
            (99.0, 4),
        ] {
            assert_eq!(histogram.percentile_us(per_cent), Some(us), "{per_cent}");
        }
        assert_eq!(histogram.mean_us(), Some(9.0));
        assert_eq!(Histogram::default().percentile_us(50.0), None);
        assert_eq!(Histogram::default().mean_us(), None);
        assert_eq!(histogram.since(&histogram).total(), 0);
        assert_eq!(histogram.since(&Histogram::default()), histogram);
    }

    #[test]
    fn latency_is_read_by_stage() {
        let stages = parse_latency(
            "below_us 1 2 inf\nreceived_sent 1 2 3\nreceived_sent_sum_ns 7000\n\
             submitted_completed 0 0 1\nsubmitted_completed_sum_ns 4000\n",
        );
        assert_eq!(stages.len(), 2);
        assert_eq!(stages[WHOLE].counts, [1, 2, 3]);
        assert_eq!(stages[WHOLE].below_us, [Some(1), Some(2), None]);
        assert_eq!(stages["submitted_completed"].sum_ns, 4000);
    }

    #[test]
    fn errors_leave_out_what_only_tells() {
        let counters = parse_counters(
            "reads 3\nbusy 1\nsense_unit_attention 5\nsense_medium_error 2\nodd\nbad x\n",
        );
        assert_eq!(errors(&counters), 3);
        assert_eq!(counters.len(), 4);
    }
}
