// SPDX-License-Identifier: GPL-2.0

//! `ferritectl top`: who does how much, and how long it takes, now.

use std::cmp::Ordering as Order;
use std::io;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::event::poll;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::termios;
use serde::Serialize;

use crate::context::Context;
use crate::error::Error;
use crate::error::Result;
use crate::observe;
use crate::observe::Counters;
use crate::observe::Histogram;
use crate::observe::Snapshot;
use crate::output;

/// What a LUN or a session does now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rates {
    /// READs a second.
    pub reads: f64,
    /// WRITEs a second.
    pub writes: f64,
    /// All commands a second.
    pub commands: f64,
    /// Bytes read a second.
    pub read_bytes: f64,
    /// Bytes written a second.
    pub write_bytes: f64,
    /// Commands that failed, a second.
    pub errors: f64,
    /// Commands that are outstanding.
    pub outstanding: u64,
    /// What half of the commands took at most, in µs.
    pub p50_us: Option<u64>,
    /// What 99 % of them took at most.
    pub p99_us: Option<u64>,
    /// What the mean one took.
    pub mean_us: Option<f64>,
}

impl Rates {
    fn between(
        old: Option<(&Counters, &Histogram)>,
        new: (&Counters, &Histogram),
        seconds: f64,
    ) -> Self {
        let seconds = seconds.max(0.001);
        // What was not there before has done all that it did since then.
        let rate = |name: &str| {
            let before = old.map_or(0, |(counters, _)| observe::number(counters, name));
            observe::number(new.0, name).saturating_sub(before) as f64 / seconds
        };
        let errors_before = old.map_or(0, |(counters, _)| observe::errors(counters));
        let times = match old {
            Some((_, histogram)) => new.1.since(histogram),
            None => new.1.clone(),
        };
        Rates {
            reads: rate("reads"),
            writes: rate("writes"),
            commands: rate("commands"),
            read_bytes: rate("read_bytes"),
            write_bytes: rate("write_bytes"),
            errors: observe::errors(new.0).saturating_sub(errors_before) as f64 / seconds,
            outstanding: observe::number(new.0, "outstanding"),
            p50_us: times.percentile_us(50.0),
            p99_us: times.percentile_us(99.0),
            mean_us: times.mean_us(),
        }
    }

    fn bytes(&self) -> f64 {
        self.read_bytes + self.write_bytes
    }
}

/// What a line is about.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Of {
    /// A LUN.
    Lun {
        /// Its number.
        lun: u64,
        /// Its backstore.
        backstore: Option<String>,
    },
    /// A session.
    Session {
        /// The kernel's number of it.
        session: u32,
        /// The initiator's name.
        initiator: String,
        /// The initiator's address and port, of the first connection.
        address: Option<String>,
    },
}

/// A line of the view.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The target's name.
    pub target: String,
    /// The portal group.
    pub tpg: u16,
    /// The LUN and its backstore, or the initiator and its address.
    pub name: String,
    /// The same as data.
    #[serde(flatten)]
    pub of: Of,
    /// What it does.
    #[serde(flatten)]
    pub rates: Rates,
}

/// What happened between two moments.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// The time between them.
    pub seconds: f64,
    /// All LUNs together.
    pub total: Rates,
    /// The LUNs.
    pub luns: Vec<Row>,
    /// The sessions.
    pub sessions: Vec<Row>,
}

impl View {
    /// The difference of two snapshots.
    pub fn between(old: &Snapshot, new: &Snapshot, seconds: f64) -> Self {
        let nothing = Histogram::default();
        let mut view = View {
            seconds,
            ..View::default()
        };
        let mut all = (Counters::new(), Histogram::default());
        let mut before = (Counters::new(), Histogram::default());
        for lun in &new.luns {
            let same =
                |l: &&observe::Lun| (&l.target, l.tpg, l.lun) == (&lun.target, lun.tpg, lun.lun);
            let times = lun.latency.get(observe::WHOLE).unwrap_or(&nothing);
            let old = old.luns.iter().find(same);
            let old = old.map(|l| {
                (
                    &l.counters,
                    l.latency.get(observe::WHOLE).unwrap_or(&nothing),
                )
            });
            add(&mut all, &lun.counters, times);
            if let Some((counters, histogram)) = old {
                add(&mut before, counters, histogram);
            }
            view.luns.push(Row {
                target: lun.target.clone(),
                tpg: lun.tpg,
                name: match &lun.backstore {
                    Some(backstore) => format!("{} {backstore}", lun.lun),
                    None => lun.lun.to_string(),
                },
                of: Of::Lun {
                    lun: lun.lun,
                    backstore: lun.backstore.clone(),
                },
                rates: Rates::between(old, (&lun.counters, times), seconds),
            });
        }
        view.total = Rates::between(Some((&before.0, &before.1)), (&all.0, &all.1), seconds);
        for session in &new.sessions {
            let record = &session.record;
            let same = |s: &&observe::Session| s.record.session == record.session;
            let old = old.sessions.iter().find(same);
            let old = old.map(|s| (&s.record.numbers, &s.record.latency));
            let address = record.connections.first().map(|c| c.peer.clone());
            view.sessions.push(Row {
                target: session.target.clone(),
                tpg: session.tpg,
                name: match &address {
                    Some(address) => format!("{} {address}", record.initiator),
                    None => record.initiator.clone(),
                },
                of: Of::Session {
                    session: record.session,
                    initiator: record.initiator.clone(),
                    address,
                },
                rates: Rates::between(old, (&record.numbers, &record.latency), seconds),
            });
        }
        view
    }

    fn sort(&mut self, by: Sort) {
        for rows in [&mut self.luns, &mut self.sessions] {
            rows.sort_by(|a, b| by.compare(a, b));
        }
    }
}

fn add(sum: &mut (Counters, Histogram), counters: &Counters, histogram: &Histogram) {
    for (name, count) in counters {
        let at = sum.0.entry(name.clone()).or_default();
        *at = at.saturating_add(*count);
    }
    if sum.1.counts.len() < histogram.counts.len() {
        sum.1.counts.resize(histogram.counts.len(), 0);
        sum.1.below_us.clone_from(&histogram.below_us);
    }
    for (at, count) in sum.1.counts.iter_mut().zip(&histogram.counts) {
        *at = at.saturating_add(*count);
    }
    sum.1.sum_ns = sum.1.sum_ns.saturating_add(histogram.sum_ns);
}

/// What lines are sorted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Sort {
    /// Commands a second.
    Iops,
    /// Bytes a second.
    Bytes,
    /// The time that 99 % of the commands took.
    Latency,
    /// Names.
    Name,
}

impl Sort {
    fn compare(self, a: &Row, b: &Row) -> Order {
        let names = || (&a.target, a.tpg, &a.name).cmp(&(&b.target, b.tpg, &b.name));
        let first = match self {
            Sort::Iops => b.rates.commands.total_cmp(&a.rates.commands),
            Sort::Bytes => b.rates.bytes().total_cmp(&a.rates.bytes()),
            Sort::Latency => b.rates.p99_us.cmp(&a.rates.p99_us),
            Sort::Name => Order::Equal,
        };
        first.then_with(names)
    }

    fn next(self) -> Self {
        match self {
            Sort::Iops => Sort::Bytes,
            Sort::Bytes => Sort::Latency,
            Sort::Latency => Sort::Name,
            Sort::Name => Sort::Iops,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Sort::Iops => "IOPS",
            Sort::Bytes => "bytes",
            Sort::Latency => "p99",
            Sort::Name => "name",
        }
    }
}

/// A rate in at most five characters or so.
fn rate(value: f64) -> String {
    match value {
        v if v < 0.05 => "-".to_string(),
        v if v < 10.0 => format!("{v:.1}"),
        v if v < 10_000.0 => format!("{v:.0}"),
        v if v < 10_000_000.0 => format!("{:.0}k", v / 1e3),
        v => format!("{:.0}M", v / 1e6),
    }
}

fn bytes(value: f64) -> String {
    if value < 0.5 {
        return "-".to_string();
    }
    output::size(value as u64)
}

/// A time in µs with its unit.
fn duration(us: Option<u64>) -> String {
    match us {
        None => "-".to_string(),
        Some(us) if us < 1000 => format!("{us} µs"),
        Some(us) if us < 10_000 => format!("{:.1} ms", us as f64 / 1e3),
        Some(us) if us < 1_000_000 => format!("{} ms", us / 1000),
        Some(us) => format!("{:.1} s", us as f64 / 1e6),
    }
}

const COLUMNS: [&str; 9] = [
    "R/s", "W/s", "IOPS", "READ/s", "WRITE/s", "QUEUE", "P50", "P99", "ERR/s",
];

fn cells(rates: &Rates) -> [String; 9] {
    [
        rate(rates.reads),
        rate(rates.writes),
        rate(rates.commands),
        bytes(rates.read_bytes),
        bytes(rates.write_bytes),
        match rates.outstanding {
            0 => "-".to_string(),
            n => n.to_string(),
        },
        duration(rates.p50_us),
        duration(rates.p99_us),
        rate(rates.errors),
    ]
}

/// A table with right-aligned numbers whose last column, the names, takes the rest of the line.
fn table(title: &str, rows: &[Row], width: usize, most: usize, paint: &Paint) -> Vec<String> {
    let cells: Vec<[String; 9]> = rows.iter().map(|row| cells(&row.rates)).collect();
    let mut widths = COLUMNS.map(|column| column.chars().count());
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| -> String {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            text.push_str(&format!("{cell:>width$}  "));
        }
        text
    };
    let headings: Vec<String> = COLUMNS.iter().map(|c| c.to_string()).collect();
    let mut lines = vec![paint.title(&cut(&format!("{}{title}", line(&headings)), width))];
    let mut target = None;
    for (row, cells) in rows.iter().zip(&cells) {
        if lines.len() >= most {
            break;
        }
        // The target's name is long: it is said once for those below it.
        let text = match target == Some((&row.target, row.tpg)) {
            true => format!("{}{}", line(cells), row.name),
            false => format!(
                "{}{}  {} TPG {}",
                line(cells),
                row.name,
                row.target,
                row.tpg
            ),
        };
        target = Some((&row.target, row.tpg));
        let text = cut(text.trim_end(), width);
        lines.push(match row.rates {
            ref r if r.errors > 0.0 => paint.bad(&text),
            ref r if r.commands < 0.05 => paint.quiet(&text),
            _ => text,
        });
    }
    if rows.is_empty() {
        lines.push(paint.quiet("none"));
    }
    lines
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('~');
    short
}

/// Colours, or none.
struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }

    fn title(&self, text: &str) -> String {
        self.with("1;36", text)
    }

    fn bad(&self, text: &str) -> String {
        self.with("31", text)
    }

    fn quiet(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn strong(&self, text: &str) -> String {
        self.with("1", text)
    }
}

/// The last values as a little picture.
fn sparkline(values: &[f64], unicode: bool) -> String {
    let steps: &[char] = match unicode {
        true => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        false => &['_', '.', '-', '=', '+', '*', '#', '#'],
    };
    let top = values.iter().copied().fold(0.0, f64::max);
    values
        .iter()
        .map(|value| {
            let step = match top > 0.0 {
                true => (value / top * (steps.len() - 1) as f64).round() as usize,
                false => 0,
            };
            steps[step.min(steps.len() - 1)]
        })
        .collect()
}

fn summary(view: &View, paint: &Paint) -> String {
    let total = &view.total;
    format!(
        "{}  {} IOPS  read {}/s  write {}/s  queue {}  p50 {}  p99 {}  {}, {}",
        paint.strong("ferrite"),
        rate(total.commands),
        bytes(total.read_bytes),
        bytes(total.write_bytes),
        total.outstanding,
        duration(total.p50_us),
        duration(total.p99_us),
        output::count(view.luns.len(), "LUN"),
        output::count(view.sessions.len(), "session"),
    )
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Print one view and end.
    pub once: bool,
    /// The time between two looks.
    pub interval: Duration,
    /// What to sort by.
    pub sort: Sort,
}

/// Shows the view until `q` is pressed.
pub fn run(context: &mut Context<'_, '_>, options: Options) -> Result<()> {
    let live = !options.once && !context.mode.json;
    if live && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Error::Usage(
            "the live view needs a terminal; --once prints one view, --json data".into(),
        ));
    }
    if live {
        (context.env.catch_signals)(&context.env.interrupted);
        return watch(context, options);
    }
    let old = observe::snapshot(&context.configfs())?;
    let start = Instant::now();
    thread::sleep(options.interval);
    let new = observe::snapshot(&context.configfs())?;
    let mut view = View::between(&old, &new, start.elapsed().as_secs_f64());
    view.sort(options.sort);
    if context.mode.json {
        return context.json(&view);
    }
    let paint = Paint(false);
    let width = usize::from(context.env.style.width);
    let mut text = vec![summary(&view, &paint), String::new()];
    text.extend(table("LUN", &view.luns, width, usize::MAX, &paint));
    text.push(String::new());
    text.extend(table(
        "INITIATOR",
        &view.sessions,
        width,
        usize::MAX,
        &paint,
    ));
    for line in text {
        context.say(&line)?;
    }
    Ok(())
}

/// The terminal as it was, again when this is dropped.
struct Raw(termios::Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        let old = termios::tcgetattr(stdin)?;
        let mut raw = old.clone();
        raw.local_modes
            .remove(termios::LocalModes::ICANON | termios::LocalModes::ECHO);
        termios::tcsetattr(stdin, termios::OptionalActions::Now, &raw)?;
        Ok(Raw(old))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let stdin = rustix::stdio::stdin();
        let _ = termios::tcsetattr(stdin, termios::OptionalActions::Now, &self.0);
    }
}

/// The key that was pressed within this time.
fn key(within: Duration) -> io::Result<Option<u8>> {
    let stdin = rustix::stdio::stdin();
    let timeout = rustix::event::Timespec {
        tv_sec: within.as_secs() as i64,
        tv_nsec: i64::from(within.subsec_nanos()),
    };
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut byte = [0u8; 1];
    match rustix::io::read(stdin, &mut byte) {
        Ok(0) => Ok(Some(b'q')),
        Ok(_) => Ok(Some(byte[0])),
        Err(rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

const HELP: &str = "q quit  s sort  v LUNs, sessions or both  space pause  + - interval";

/// How many looks the picture shows.
const HISTORY: usize = 60;

/// What is shown.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Shown {
    Both,
    Luns,
    Sessions,
}

fn watch(context: &mut Context<'_, '_>, options: Options) -> Result<()> {
    let _raw = Raw::enter()?;
    // The alternate screen, without cursor.
    context.print("\x1b[?1049h\x1b[?25l")?;
    let done = watch_on(context, options);
    context.print("\x1b[?25h\x1b[?1049l")?;
    context.env.out.flush()?;
    done
}

fn watch_on(context: &mut Context<'_, '_>, options: Options) -> Result<()> {
    let Options {
        mut interval,
        mut sort,
        ..
    } = options;
    let mut shown = Shown::Both;
    let mut paused = false;
    let mut history: Vec<f64> = Vec::new();
    let mut old = observe::snapshot(&context.configfs())?;
    let mut since = Instant::now();
    let mut view = View::between(&old, &old, 1.0);
    draw(context, &view, &history, sort, shown, interval, paused)?;
    // The first view soon.
    let mut wait = interval.min(Duration::from_millis(500));
    while !context.env.interrupted.load(Ordering::Relaxed) {
        let left = wait.saturating_sub(since.elapsed());
        match key(left)? {
            Some(b'q' | b'Q' | 0x1b | 0x03) => break,
            Some(b's') => sort = sort.next(),
            Some(b'v') => {
                shown = match shown {
                    Shown::Both => Shown::Luns,
                    Shown::Luns => Shown::Sessions,
                    Shown::Sessions => Shown::Both,
                }
            }
            Some(b' ' | b'p') => paused = !paused,
            Some(b'+') => interval = (interval * 2).min(Duration::from_secs(64)),
            Some(b'-') => interval = (interval / 2).max(Duration::from_millis(250)),
            _ => {}
        }
        if since.elapsed() >= wait {
            let new = observe::snapshot(&context.configfs())?;
            if !paused {
                view = View::between(&old, &new, since.elapsed().as_secs_f64());
                history.push(view.total.commands);
                let surplus = history.len().saturating_sub(HISTORY);
                history.drain(..surplus);
            }
            old = new;
            since = Instant::now();
            wait = interval;
        }
        view.sort(sort);
        draw(context, &view, &history, sort, shown, interval, paused)?;
    }
    Ok(())
}

fn draw(
    context: &mut Context<'_, '_>,
    view: &View,
    history: &[f64],
    sort: Sort,
    shown: Shown,
    interval: Duration,
    paused: bool,
) -> Result<()> {
    let size = terminal_size::terminal_size();
    let (width, height) = size.map_or((80, 24), |(w, h)| (usize::from(w.0), usize::from(h.0)));
    let paint = Paint(true);
    let mut lines = vec![
        summary(view, &paint),
        format!(
            "{}  every {:.2} s, by {}{}",
            sparkline(history, context.env.style.unicode),
            interval.as_secs_f64(),
            sort.text(),
            if paused { ", PAUSED" } else { "" }
        ),
        String::new(),
    ];
    let room = height.saturating_sub(lines.len() + 2);
    let both = shown == Shown::Both;
    if shown != Shown::Sessions {
        let most = if both {
            room.saturating_sub((view.sessions.len() + 2).min(room / 2))
        } else {
            room
        };
        lines.extend(table("LUN", &view.luns, width, most, &paint));
    }
    if both {
        lines.push(String::new());
    }
    if shown != Shown::Luns {
        let most = height.saturating_sub(lines.len() + 2);
        lines.extend(table("INITIATOR", &view.sessions, width, most, &paint));
    }
    lines.truncate(height.saturating_sub(1));
    // Each line is overwritten and the rest deleted: nothing flickers.
    let mut text = String::from("\x1b[H");
    for line in &lines {
        text.push_str(line);
        text.push_str("\x1b[K\r\n");
    }
    text.push_str("\x1b[J");
    text.push_str(&format!(
        "\x1b[{height};1H{}\x1b[K",
        paint.quiet(&cut(HELP, width.saturating_sub(1)))
    ));
    context.print(&text)?;
    context.env.out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lun(number: u64, reads: u64, counts: [u64; 3]) -> observe::Lun {
        let histogram = Histogram {
            below_us: vec![Some(1), Some(2), None],
            counts: counts.to_vec(),
            sum_ns: 0,
        };
        observe::Lun {
            target: "iqn.2026-01.org.example:a".into(),
            tpg: 1,
            lun: number,
            backstore: Some("iblock_0/disk".into()),
            counters: [
                ("commands".to_string(), reads),
                ("reads".to_string(), reads),
                ("read_bytes".to_string(), reads * 4096),
            ]
            .into(),
            latency: [(observe::WHOLE.to_string(), histogram)].into(),
        }
    }

    fn snapshot(luns: Vec<observe::Lun>) -> Snapshot {
        Snapshot {
            luns,
            ..Snapshot::default()
        }
    }

    #[test]
    fn rates_are_differences_over_time() {
        let old = snapshot(vec![lun(0, 100, [100, 0, 0]), lun(1, 5, [5, 0, 0])]);
        let new = snapshot(vec![lun(0, 300, [100, 200, 0]), lun(1, 5, [5, 0, 0])]);
        let mut view = View::between(&old, &new, 2.0);
        view.sort(Sort::Iops);
        let busy = &view.luns[0].rates;
        assert_eq!((busy.reads, busy.commands), (100.0, 100.0));
        assert_eq!(busy.read_bytes, 409_600.0);
        assert_eq!((busy.p50_us, busy.p99_us), (Some(2), Some(2)));
        assert_eq!(view.luns[1].rates.p50_us, None);
        assert_eq!(view.total.commands, 100.0);
        assert_eq!(view.total.p50_us, Some(2));
        let json = serde_json::to_value(&view.luns[0]).unwrap();
        assert_eq!(json["lun"], 0);
        assert_eq!(json["reads"], 100.0);
        assert_eq!(json["backstore"], "iblock_0/disk");
    }

    #[test]
    fn numbers_that_went_back_are_no_rate() {
        let old = snapshot(vec![lun(0, 300, [300, 0, 0])]);
        let new = snapshot(vec![lun(0, 10, [10, 0, 0])]);
        assert_eq!(View::between(&old, &new, 1.0).luns[0].rates.commands, 0.0);
    }

    #[test]
    fn order() {
        let new = snapshot(vec![
            lun(2, 1, [1, 0, 0]),
            lun(0, 9, [9, 0, 0]),
            lun(1, 9, [0, 9, 0]),
        ]);
        let mut view = View::between(&Snapshot::default(), &new, 1.0);
        let mut names = |sort| {
            view.sort(sort);
            let names: Vec<String> = view.luns.iter().map(|row| row.name[..1].into()).collect();
            names.concat()
        };
        assert_eq!(names(Sort::Iops), "012");
        assert_eq!(names(Sort::Latency), "102");
        assert_eq!(names(Sort::Name), "012");
        let mut sort = Sort::Iops;
        for _ in 0..4 {
            sort = sort.next();
        }
        assert_eq!(sort, Sort::Iops);
    }

    #[test]
    fn tables_fit_the_terminal() {
        let new = snapshot(vec![lun(0, 9, [9, 0, 0]), lun(1, 9, [9, 0, 0])]);
        let view = View::between(&Snapshot::default(), &new, 1.0);
        let lines = table("LUN", &view.luns, 60, 2, &Paint(false));
        assert_eq!(lines.len(), 2);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 60),
            "{lines:?}"
        );
    }

    #[test]
    fn words_for_numbers() {
        for (value, text) in [
            (0.0, "-"),
            (0.04, "-"),
            (1.25, "1.2"),
            (99.4, "99"),
            (9_999.0, "9999"),
            (12_345.0, "12k"),
            (12_345_678.0, "12M"),
        ] {
            assert_eq!(rate(value), text);
        }
        for (us, text) in [
            (None, "-"),
            (Some(512), "512 µs"),
            (Some(2048), "2.0 ms"),
            (Some(65_536), "65 ms"),
            (Some(4_194_304), "4.2 s"),
        ] {
            assert_eq!(duration(us), text);
        }
        assert_eq!(sparkline(&[0.0, 1.0, 2.0], true), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0], false), "__");
    }
}
