// SPDX-License-Identifier: GPL-2.0

//! What a command works with: the tree, the outputs, and how to apply changes.

use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use crate::apply::Applier;
use crate::apply::Done;
use crate::apply::Problem;
use crate::apply::Report;
use crate::configfs;
use crate::configfs::Closing;
use crate::configfs::Configfs;
use crate::configfs::KernelLog;
use crate::configfs::Lock;
use crate::configfs::Tree;
use crate::delta::Delta;
use crate::delta::Object;
use crate::delta::Plan;
use crate::error::Error;
use crate::error::Result;
use crate::output;
use crate::output::Style;
use crate::remember::Remembering;
use crate::secret::Secret;

/// Fewer changes than this are done before anybody could read a line about them.
const PROGRESS_FROM: usize = 50;

/// The world outside, as far as the program needs it.
pub struct Env<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Asks for a secret without showing it.
    pub ask: &'a mut dyn FnMut(&str) -> io::Result<Secret>,
    /// Asks a question at the terminal; no, if there is none.
    pub confirm: &'a mut dyn FnMut(&str) -> bool,
    /// Standard error is a terminal, so progress may be shown there.
    pub progress: bool,
    /// Opens the tree below a root.
    pub open: &'a dyn Fn(PathBuf) -> Box<dyn Tree>,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev/kmsg`.
    pub kmsg: PathBuf,
    /// Where secrets are remembered until the kernel ends: `/run/ferrite`.
    pub run: PathBuf,
    /// How to print.
    pub style: Style,
    /// The name that the program was called by, which begins its messages.
    pub program: &'static str,
    /// How long to wait for I/O on what was removed.
    pub patience: Duration,
    /// Set when the program should stop.
    pub interrupted: Arc<AtomicBool>,
    /// Lets signals set `interrupted` instead of ending the program.
    pub catch_signals: &'a dyn Fn(&Arc<AtomicBool>),
}

/// How a command was called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Print JSON.
    pub json: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What a command works with.
pub struct Context<'e, 'a> {
    /// The outside.
    pub env: &'e mut Env<'a>,
    /// How it was called.
    pub mode: Mode,
    tree: Box<dyn Tree>,
    lock: Option<Lock>,
}

impl<'e, 'a> Context<'e, 'a> {
    /// Opens the tree below `root`, or below the default root.
    pub fn open(env: &'e mut Env<'a>, root: Option<&Path>, mode: Mode) -> Result<Self> {
        let root = match root {
            Some(root) => root.to_path_buf(),
            None => configfs::default_root(&env.sys)?,
        };
        let tree = (env.open)(root.clone());
        let tree: Box<dyn Tree> = Box::new(Remembering::new(tree, &env.run));
        match tree.entries(Path::new("")) {
            Ok(_) => Ok(Context {
                env,
                mode,
                tree,
                lock: None,
            }),
            Err(error) => Err(configfs::unavailable(&root, &error)),
        }
    }

    /// The configuration, for reading.
    pub fn configfs(&self) -> Configfs<'_> {
        Configfs::new(&*self.tree)
    }

    /// The root of the tree.
    pub fn root(&self) -> &Path {
        self.tree.root()
    }

    /// Keeps other commands from changing the configuration. A command that changes
    /// it calls this before it reads what it decides by.
    pub fn lock(&mut self) -> Result<()> {
        if self.lock.is_none() && !self.mode.dry_run {
            self.lock = Some(configfs::lock(self.tree.root(), &self.env.run)?);
        }
        Ok(())
    }

    /// Lets others change the configuration again.
    pub fn unlock(&mut self) {
        self.lock = None;
    }

    /// Applies changes, all or none, and reports them.
    pub fn change(&mut self, deltas: &[Delta]) -> Result<()> {
        let before = self.closing()?;
        let report = self.change_quietly(deltas)?;
        if self.mode.dry_run {
            return self.show_plan(deltas);
        }
        self.show_report(&report, &[])?;
        self.wait_closed(&before)
    }

    /// Block devices that were removed, and on which I/O is under way all the same.
    pub fn closing(&self) -> Result<Vec<Closing>> {
        self.configfs().closing()
    }

    /// Waits until no I/O is under way on block devices that were removed since `before`: till then
    /// it is not safe to let another host have them.
    pub fn wait_closed(&self, before: &[Closing]) -> Result<()> {
        let until = Instant::now() + self.env.patience;
        loop {
            let mut left = self.closing()?;
            left.retain(|device| !before.contains(device));
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Error::StillWriting {
                    devices: left
                        .iter()
                        .map(|device| device.name(&self.env.sys))
                        .collect(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Applies changes, all or none. With `--dry-run` nothing is done.
    pub fn change_quietly(&mut self, deltas: &[Delta]) -> Result<Report> {
        if self.mode.dry_run {
            return Ok(Report::default());
        }
        self.applier().all(deltas)
    }

    /// Applies what can be applied of a plan.
    pub fn apply_plan(&mut self, plan: &Plan) -> Result<Report> {
        self.applier().each(&plan.deltas, &plan.conflicts)
    }

    /// Applies changes, all or none, and shows how far it is.
    pub fn apply_all(&mut self, deltas: &[Delta]) -> Result<Report> {
        let env = &mut *self.env;
        (env.catch_signals)(&env.interrupted);
        let log = KernelLog::open(&env.kmsg);
        let mut applier = Applier::new(&*self.tree, log, env.interrupted.clone());
        if !env.progress || self.mode.json || deltas.len() < PROGRESS_FROM {
            return applier.all(deltas);
        }
        let err = &mut *env.err;
        let total = deltas.len();
        let mut shown = None;
        let result = applier.all_with(deltas, &mut |done| {
            let percent = done * 100 / total;
            if shown != Some(percent) {
                shown = Some(percent);
                let bar = "#".repeat(percent * 40 / 100);
                let _ = write!(err, "\r[{bar:<40}] {percent:3} % of {total} changes");
                let _ = err.flush();
            }
        });
        let _ = write!(err, "\r{:70}\r", "");
        result
    }

    fn applier(&self) -> Applier<'_> {
        (self.env.catch_signals)(&self.env.interrupted);
        Applier::new(
            &*self.tree,
            KernelLog::open(&self.env.kmsg),
            self.env.interrupted.clone(),
        )
    }

    /// The error that ends a command which could not do all it had to.
    pub fn partial(report: &Report, verb: &str) -> Result<()> {
        if report.interrupted {
            let done = crate::output::count(report.done.len(), "change");
            return Err(Error::Partial(format!("interrupted after {done}")));
        }
        match report.problems.len() {
            0 => Ok(()),
            number => Err(Error::Partial(format!(
                "{} could not be {verb}",
                crate::output::count(number, "thing")
            ))),
        }
    }

    /// Prints what would be done.
    pub fn show_plan(&mut self, deltas: &[Delta]) -> Result<()> {
        if self.mode.json {
            let changes: Vec<_> = deltas
                .iter()
                .map(|delta| {
                    json!({
                        "change": delta.change.verb(),
                        "object": delta.object.to_string(),
                        "detail": delta.detail,
                        "interrupts": delta.interrupts,
                        "steps": delta.steps.iter().map(|s| s.to_string()).collect::<Vec<_>>(),
                    })
                })
                .collect();
            return self.json(&json!({"dry_run": true, "changes": changes}));
        }
        if deltas.is_empty() {
            return self.say("nothing to change");
        }
        for delta in deltas {
            let detail = parenthesised(&delta.detail);
            self.say(&format!(
                "would {} {}{detail}",
                delta.change.verb(),
                delta.object
            ))?;
            for step in &delta.steps {
                self.say(&format!("    {step}"))?;
            }
        }
        Ok(())
    }

    /// Prints what was done, what was not, and what was left alone.
    pub fn show_report(&mut self, report: &Report, left_alone: &[Object]) -> Result<()> {
        if self.mode.json {
            return self.json(&json!({
                "changes": report.done.iter().map(done_json).collect::<Vec<_>>(),
                "problems": report.problems.iter().map(problem_json).collect::<Vec<_>>(),
                "left_alone": left_alone.iter().map(Object::to_string).collect::<Vec<_>>(),
            }));
        }
        if report.done.is_empty() && report.problems.is_empty() && !report.interrupted {
            self.say("nothing to change")?;
        }
        for done in &report.done {
            let detail = parenthesised(&done.detail);
            self.say(&format!("{} {}{detail}", done.change.done(), done.object))?;
        }
        for problem in &report.problems {
            self.warn(&format!("{}: {}", problem.object, problem.reason))?;
            for line in &problem.log {
                self.warn(&format!("  kernel: {line}"))?;
            }
        }
        if !left_alone.is_empty() {
            self.say("left alone, because the file does not have it (--replace removes it):")?;
            for object in left_alone {
                self.say(&format!("    {object}"))?;
            }
        }
        Ok(())
    }

    /// Prints a line.
    pub fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.env.out, "{line}")?;
        Ok(())
    }

    /// Prints text that ends its own lines.
    pub fn print(&mut self, text: &str) -> Result<()> {
        self.env.out.write_all(text.as_bytes())?;
        Ok(())
    }

    /// Prints what a command lists: as JSON, or as a table with a row for each, which falls
    /// apart by the column `by` where it is too wide for the terminal.
    pub fn list<V: Serialize>(
        &mut self,
        views: &[V],
        header: &[&str],
        by: Option<usize>,
        row: impl Fn(&V) -> Vec<String>,
    ) -> Result<()> {
        if self.mode.json {
            return self.json(&views);
        }
        let rows: Vec<Vec<String>> = views.iter().map(row).collect();
        let text = match by {
            Some(by) => output::grouped(self.env.style, header, &rows, by),
            None => output::table(self.env.style, header, &rows),
        };
        self.print(&text)
    }

    /// Prints a line to standard error.
    pub fn warn(&mut self, line: &str) -> Result<()> {
        if self.mode.json {
            writeln!(self.env.err, "{}", json!({ "warning": line }))?;
            return Ok(());
        }
        writeln!(self.env.err, "{}: {line}", self.env.program)?;
        Ok(())
    }

    /// Prints a value as JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.say(&text)
    }
}

fn parenthesised(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}

fn done_json(done: &Done) -> serde_json::Value {
    json!({
        "change": done.change.verb(),
        "object": done.object.to_string(),
        "detail": done.detail,
    })
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    json!({
        "object": problem.object.to_string(),
        "reason": problem.reason,
        "kernel_log": problem.log,
    })
}
