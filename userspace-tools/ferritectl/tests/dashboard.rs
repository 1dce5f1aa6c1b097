// SPDX-License-Identifier: GPL-2.0

//! The dashboard asks for metrics that there are.

use std::collections::BTreeSet;

use ferritectl::cmd::metrics;
use ferritectl::observe::parse_counters;
use ferritectl::observe::Snapshot;

const DASHBOARD: &str = include_str!("../../../contrib/grafana/ferrite.json");
const STATS: &str = include_str!("../../../rust/stats.rs");

/// The names of metrics in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("ferrite_"))
}

#[test]
fn every_metric_of_the_dashboard_exists() {
    // The module's counters, as it names them.
    let counters: String = STATS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next())
        .map(|name| format!("{name} 1\n"))
        .collect();
    let snapshot = Snapshot {
        module: parse_counters(&counters),
        ..Snapshot::default()
    };
    let wanted = metrics::Wanted {
        sessions: true,
        stages: true,
    };
    let text = metrics::text(&snapshot, wanted);
    let mut known: BTreeSet<String> = BTreeSet::new();
    for line in text.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        else {
            continue;
        };
        known.insert(name.to_string());
        if kind == "histogram" {
            known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
        }
    }
    assert!(known.contains("ferrite_lun_commands_total") && known.contains("ferrite_logins_total"));

    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let Some(targets) = panel["targets"].as_array() else {
            continue;
        };
        for target in targets {
            for name in names(target["expr"].as_str().unwrap()) {
                assert!(known.contains(name), "{name} of {}", panel["title"]);
                asked += 1;
            }
        }
    }
    assert!(asked > 20);
}
