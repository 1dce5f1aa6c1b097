// SPDX-License-Identifier: GPL-2.0

//! `ferritectl metrics`: what was counted, in Prometheus' text format.

use std::fmt::Write;
use std::path::Path;

use crate::context::Context;
use crate::error::Result;
use crate::files;
use crate::observe;
use crate::observe::number;
use crate::observe::Counters;
use crate::observe::Histogram;
use crate::observe::Snapshot;

/// What there shall be besides: each of it is many series.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The metrics of single sessions.
    pub sessions: bool,
    /// The latencies of stages.
    pub stages: bool,
}

/// Prints the metrics, or replaces a file by them.
pub fn run(context: &mut Context<'_, '_>, output: Option<&Path>, wanted: Wanted) -> Result<()> {
    let snapshot = observe::snapshot(&context.configfs())?;
    let text = text(&snapshot, wanted);
    match output {
        Some(path) if context.mode.dry_run && context.mode.json => {
            context.json(&serde_json::json!({ "dry_run": true, "file": path }))
        }
        Some(path) if context.mode.dry_run => {
            context.say(&format!("would write {}", path.display()))
        }
        Some(path) => files::publish(path, &text),
        None => context.print(&text),
    }
}

/// A label's value, as the format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn labels(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect::<Vec<_>>()
        .join(",")
}

/// A metric with all its samples: the format wants them together.
struct Metric {
    name: String,
    text: String,
}

impl Metric {
    fn new(name: &str, kind: &str, help: &str) -> Self {
        Metric {
            name: name.to_string(),
            text: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        }
    }

    fn add(&mut self, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{}{{{labels}}} {value}", self.name);
    }

    fn add_histogram(&mut self, labels: &str, histogram: &Histogram) {
        let mut sum = 0u64;
        for (below, count) in histogram.below_us.iter().zip(&histogram.counts) {
            sum = sum.saturating_add(*count);
            if let Some(us) = below {
                let le = *us as f64 / 1e6;
                let _ = writeln!(
                    self.text,
                    "{}_bucket{{{labels},le=\"{le}\"}} {sum}",
                    self.name
                );
            }
        }
        let total = histogram.total();
        let seconds = histogram.sum_ns as f64 / 1e9;
        let name = &self.name;
        let _ = writeln!(self.text, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
        let _ = writeln!(self.text, "{name}_sum{{{labels}}} {seconds}");
        let _ = writeln!(self.text, "{name}_count{{{labels}}} {total}");
    }
}

/// Metrics of commands, which LUNs, portals and sessions have.
struct Traffic {
    commands: Metric,
    bytes: Metric,
    errors: Metric,
    aborted: Metric,
    outstanding: Metric,
}

impl Traffic {
    /// `of` is the word for it in the names, `what` the one in the explanations.
    fn new(of: &str, what: &str) -> Self {
        let metric = |name: &str, kind: &str, help: &str| {
            Metric::new(&format!("ferrite_{of}_{name}"), kind, help)
        };
        Traffic {
            commands: metric(
                "commands_total",
                "counter",
                &format!("SCSI commands of {what} that have been answered."),
            ),
            bytes: metric(
                "bytes_total",
                "counter",
                &format!("Data that initiators have read and written by SCSI commands of {what}."),
            ),
            errors: metric(
                "errors_total",
                "counter",
                &format!("SCSI commands of {what} that failed, by sense key or status."),
            ),
            aborted: metric(
                "aborted_commands_total",
                "counter",
                &format!("SCSI commands of {what} that were aborted without an answer."),
            ),
            outstanding: metric(
                "outstanding_commands",
                "gauge",
                &format!("SCSI commands of {what} that have not been answered yet."),
            ),
        }
    }

    fn add(&mut self, labels: &str, counters: &Counters) {
        for (kind, counter) in [
            ("read", "reads"),
            ("write", "writes"),
            ("other", "other_commands"),
        ] {
            let labels = format!("{labels},type=\"{kind}\"");
            self.commands.add(&labels, number(counters, counter));
        }
        for (direction, counter) in [("read", "read_bytes"), ("write", "write_bytes")] {
            let labels = format!("{labels},direction=\"{direction}\"");
            self.bytes.add(&labels, number(counters, counter));
        }
        for (reason, count) in observe::failures(counters) {
            self.errors
                .add(&format!("{labels},reason=\"{reason}\""), count);
        }
        self.aborted.add(labels, number(counters, "aborted"));
        self.outstanding
            .add(labels, number(counters, "outstanding"));
    }

    fn text(self) -> String {
        [
            self.commands,
            self.bytes,
            self.errors,
            self.aborted,
            self.outstanding,
        ]
        .map(|metric| metric.text)
        .concat()
    }
}

/// The metrics of a snapshot.
pub fn text(snapshot: &Snapshot, wanted: Wanted) -> String {
    let mut text = String::new();
    let mut of_luns = Traffic::new("lun", "a LUN");
    let mut latency = Metric::new(
        "ferrite_lun_latency_seconds",
        "histogram",
        "Time that SCSI commands of a LUN took, by stage.",
    );
    for lun in &snapshot.luns {
        let labels = labels(&[
            ("target", &lun.target),
            ("tpg", &lun.tpg.to_string()),
            ("lun", &lun.lun.to_string()),
            ("backstore", lun.backstore.as_deref().unwrap_or("")),
        ]);
        of_luns.add(&labels, &lun.counters);
        let stages = lun.latency.iter();
        for (stage, histogram) in stages.filter(|(s, _)| wanted.stages || *s == observe::WHOLE) {
            latency.add_histogram(&format!("{labels},stage=\"{stage}\""), histogram);
        }
    }
    text.push_str(&of_luns.text());
    text.push_str(&latency.text);
    text.push_str(&portal_text(snapshot));

    let mut count = Metric::new(
        "ferrite_sessions",
        "gauge",
        "Sessions that are logged in to a target portal group.",
    );
    let mut portal_groups: Vec<(&str, u16, u64)> = Vec::new();
    for lun in &snapshot.luns {
        if !portal_groups
            .iter()
            .any(|(target, tpg, _)| (*target, *tpg) == (lun.target.as_str(), lun.tpg))
        {
            portal_groups.push((&lun.target, lun.tpg, 0));
        }
    }
    for session in &snapshot.sessions {
        let known = portal_groups
            .iter_mut()
            .find(|(target, tpg, _)| (*target, *tpg) == (session.target.as_str(), session.tpg));
        match known {
            Some((_, _, count)) => *count += 1,
            None => portal_groups.push((&session.target, session.tpg, 1)),
        }
    }
    for (target, tpg, number) in portal_groups {
        let tpg = tpg.to_string();
        count.add(&labels(&[("target", target), ("tpg", &tpg)]), number);
    }
    text.push_str(&count.text);
    if wanted.sessions {
        text.push_str(&session_text(snapshot));
    }

    for (name, value) in &snapshot.module {
        let _ = writeln!(
            text,
            "# HELP ferrite_{name}_total Counter {name} of the module.\n\
             # TYPE ferrite_{name}_total counter\n\
             ferrite_{name}_total {value}"
        );
    }
    text
}

fn portal_text(snapshot: &Snapshot) -> String {
    let mut traffic = Traffic::new("portal", "sessions that came by a portal");
    let mut sessions = Metric::new(
        "ferrite_portal_sessions",
        "gauge",
        "Sessions that came by a portal.",
    );
    let mut logins = Metric::new(
        "ferrite_portal_logins_total",
        "counter",
        "Logins by a portal, by what became of them.",
    );
    for portal in &snapshot.portals {
        let labels = labels(&[
            ("target", &portal.target),
            ("tpg", &portal.tpg.to_string()),
            ("portal", &portal.portal),
        ]);
        traffic.add(&labels, &portal.counters);
        sessions.add(&labels, number(&portal.counters, "sessions"));
        for (result, counter) in [
            ("done", "logins"),
            ("refused", "logins_refused"),
            ("redirected", "logins_redirected"),
        ] {
            let labels = format!("{labels},result=\"{result}\"");
            logins.add(&labels, number(&portal.counters, counter));
        }
    }
    [traffic.text(), sessions.text, logins.text].concat()
}

fn session_text(snapshot: &Snapshot) -> String {
    let mut traffic = Traffic::new("session", "a session");
    let mut depth = Metric::new(
        "ferrite_session_queue_depth",
        "gauge",
        "SCSI commands that a session may have outstanding.",
    );
    let mut age = Metric::new("ferrite_session_age_seconds", "gauge", "Age of a session.");
    let mut connections = Metric::new(
        "ferrite_session_connections",
        "gauge",
        "Connections of a session.",
    );
    let mut latency = Metric::new(
        "ferrite_session_latency_seconds",
        "histogram",
        "Time from the arrival of a session's SCSI commands to their answers.",
    );
    for session in &snapshot.sessions {
        let record = &session.record;
        let labels = labels(&[
            ("target", &session.target),
            ("tpg", &session.tpg.to_string()),
            ("initiator", &record.initiator),
            ("isid", &record.isid),
            ("session", &record.session.to_string()),
        ]);
        traffic.add(&labels, &record.numbers);
        depth.add(&labels, record.number("queue_depth"));
        age.add(&labels, record.age_ms() as f64 / 1000.0);
        connections.add(&labels, record.connections.len());
        latency.add_histogram(&labels, &record.latency);
    }
    let mut text = traffic.text();
    for metric in [depth, age, connections, latency] {
        text.push_str(&metric.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Lun;
    use crate::observe::Portal;
    use crate::observe::Record;
    use crate::observe::Session;

    const ALL: Wanted = Wanted {
        sessions: true,
        stages: true,
    };
    const FEW: Wanted = Wanted {
        sessions: false,
        stages: false,
    };

    fn snapshot() -> Snapshot {
        let histogram = Histogram {
            below_us: vec![Some(1), Some(2), None],
            counts: vec![1, 2, 3],
            sum_ns: 7_500_000,
        };
        let counters: Counters = [
            ("reads", 6),
            ("read_bytes", 4096),
            ("sense_medium_error", 1),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
        Snapshot {
            luns: vec![Lun {
                target: "iqn.2026-01.org.example:a".into(),
                tpg: 1,
                lun: 0,
                backstore: Some("iblock_0/a\"b\\".into()),
                counters: counters.clone(),
                latency: [observe::WHOLE, "completed_sent"]
                    .map(|stage| (stage.to_string(), histogram.clone()))
                    .into(),
            }],
            portals: vec![Portal {
                target: "iqn.2026-01.org.example:a".into(),
                tpg: 1,
                portal: "[2001:db8::1]:3260".into(),
                counters: [("writes", 5), ("sessions", 2), ("logins_refused", 4)]
                    .map(|(name, value)| (name.to_string(), value))
                    .into(),
            }],
            sessions: vec![Session {
                target: "iqn.2026-01.org.example:a".into(),
                tpg: 1,
                record: Record {
                    session: 7,
                    initiator: "iqn.2026-01.org.example:i".into(),
                    numbers: counters,
                    latency: histogram,
                    ..Record::default()
                },
            }],
            module: [("logins".to_string(), 3)].into(),
        }
    }

    #[test]
    fn metrics_are_in_the_text_format() {
        let text = text(&snapshot(), ALL);
        let of_lun = "target=\"iqn.2026-01.org.example:a\",tpg=\"1\",lun=\"0\",\
                      backstore=\"iblock_0/a\\\"b\\\\\"";
        let of_portal =
            "target=\"iqn.2026-01.org.example:a\",tpg=\"1\",portal=\"[2001:db8::1]:3260\"";
        for line in [
            format!("ferrite_lun_commands_total{{{of_lun},type=\"read\"}} 6"),
            format!("ferrite_lun_bytes_total{{{of_lun},direction=\"read\"}} 4096"),
            format!("ferrite_lun_errors_total{{{of_lun},reason=\"medium_error\"}} 1"),
            format!(
                "ferrite_lun_latency_seconds_bucket{{{of_lun},stage=\"received_sent\",\
                 le=\"0.000002\"}} 3"
            ),
            format!(
                "ferrite_lun_latency_seconds_bucket{{{of_lun},stage=\"received_sent\",\
                 le=\"+Inf\"}} 6"
            ),
            format!("ferrite_lun_latency_seconds_sum{{{of_lun},stage=\"received_sent\"}} 0.0075"),
            format!("ferrite_portal_commands_total{{{of_portal},type=\"write\"}} 5"),
            format!("ferrite_portal_sessions{{{of_portal}}} 2"),
            format!("ferrite_portal_logins_total{{{of_portal},result=\"refused\"}} 4"),
            "ferrite_sessions{target=\"iqn.2026-01.org.example:a\",tpg=\"1\"} 1".into(),
            "ferrite_logins_total 3".into(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn each_metric_is_announced_once_and_before_its_samples() {
        let text = text(&snapshot(), ALL);
        let mut announced = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(!announced.contains(&name), "{name}");
                announced.push(name);
            } else if !line.starts_with('#') {
                let last = announced.last().unwrap();
                assert!(line.starts_with(last), "{line} after {last}");
                let (_, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
            }
        }
    }

    #[test]
    fn sessions_and_stages_can_be_left_out() {
        let all = text(&snapshot(), ALL);
        assert!(all.contains("ferrite_session_") && all.contains("stage=\"completed_sent\""));
        let few = text(&snapshot(), FEW);
        assert!(!few.contains("ferrite_session_") && !few.contains("completed_sent"));
        assert!(few.contains("stage=\"received_sent\""));
    }
}
