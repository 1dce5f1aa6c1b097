// SPDX-License-Identifier: GPL-2.0

//! Does what deltas say, and undoes it when it fails in the middle.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use crate::configfs;
use crate::configfs::KernelLog;
use crate::configfs::Tree;
use crate::delta::Change;
use crate::delta::Conflict;
use crate::delta::Delta;
use crate::delta::Object;
use crate::delta::Step;
use crate::delta::Value;
use crate::error::errno_text;
use crate::error::Error;
use crate::error::Result;
use crate::secret::Secret;

/// What was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Done {
    /// To which object.
    pub object: Object,
    /// What.
    pub change: Change,
    /// With which particulars.
    pub detail: String,
}

/// What was not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// To which object.
    pub object: Object,
    /// Why, as a sentence without its full stop.
    pub reason: String,
    /// What the kernel logged.
    pub log: Vec<String>,
}

/// The outcome of several deltas.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// What was done.
    pub done: Vec<Done>,
    /// What was not.
    pub problems: Vec<Problem>,
    /// A signal came before the rest was tried.
    pub interrupted: bool,
}

/// Applies deltas to a tree.
pub struct Applier<'t> {
    tree: &'t dyn Tree,
    log: KernelLog,
    interrupted: Arc<AtomicBool>,
}

/// How to take back one step. A removal is not taken back: the values of what was
/// removed are gone, and an object without its write protection or its secrets is
/// worse than none.
enum Undo {
    RemoveDir(PathBuf),
    RemoveLink(PathBuf),
    WriteBack(PathBuf, Secret),
    /// What was there cannot be read, so nobody can put it back.
    Lost(PathBuf),
}

/// All steps that may have to be taken back.
#[derive(Default)]
struct Undoing {
    steps: Vec<Undo>,
    /// The directories that were made: what is in them needs no undoing.
    dirs: BTreeSet<PathBuf>,
}

impl Undoing {
    fn made(&mut self, dir: &Path) {
        self.steps.push(Undo::RemoveDir(dir.to_path_buf()));
        self.dirs.insert(dir.to_path_buf());
    }
}

impl<'t> Applier<'t> {
    /// Works on `tree`. Stops between two steps once `interrupted` is set.
    pub fn new(tree: &'t dyn Tree, log: KernelLog, interrupted: Arc<AtomicBool>) -> Self {
        Applier {
            tree,
            log,
            interrupted,
        }
    }

    /// Does all of it or nothing: at the first failure everything is taken back that
    /// was made or changed. Removals stay, and the error names them.
    pub fn all(&mut self, deltas: &[Delta]) -> Result<Report> {
        self.all_with(deltas, &mut |_| ())
    }

    /// As [`Applier::all`]; `progress` is told how many deltas are done.
    pub fn all_with(
        &mut self,
        deltas: &[Delta],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Report> {
        let mut report = Report::default();
        let mut undo = Undoing::default();
        for (number, delta) in deltas.iter().enumerate() {
            progress(number);
            let mut changed = Vec::new();
            for step in &delta.steps {
                let result = self.check_interrupt().and_then(|()| {
                    self.perform(step, &mut undo)
                        .map_err(|error| self.refused(delta, step, error))
                });
                match result {
                    Ok(true) => changed.push(step),
                    Ok(false) => {}
                    Err(error) => {
                        let left = self.take_back(undo);
                        let half = delta.change == Change::Remove && !changed.is_empty();
                        let half = half.then_some(&delta.object);
                        return Err(with_state(error, &report, half, &left));
                    }
                }
            }
            report.done.extend(done(delta, &changed));
        }
        Ok(report)
    }

    /// Does what can be done. What fails is taken back by itself, and whatever needs
    /// it is left out. `conflicts` are objects that count as failed from the start.
    pub fn each(&mut self, deltas: &[Delta], conflicts: &[Conflict]) -> Result<Report> {
        let mut report = Report::default();
        let mut failed: BTreeSet<&Object> = BTreeSet::new();
        for conflict in conflicts {
            failed.insert(&conflict.object);
            report.problems.push(Problem {
                object: conflict.object.clone(),
                reason: format!("{}; --replace makes it anew", conflict.reason),
                log: Vec::new(),
            });
        }
        for delta in deltas {
            if self.check_interrupt().is_err() {
                report.interrupted = true;
                break;
            }
            if let Some(missing) = delta.needs.iter().find(|need| failed.contains(need)) {
                let reason = if delta.change == Change::Remove {
                    format!("{missing} is still there")
                } else {
                    format!("{missing} could not be made as wanted")
                };
                report.problems.push(Problem {
                    object: delta.object.clone(),
                    reason: format!("not {}: {reason}", delta.change.done()),
                    log: Vec::new(),
                });
                failed.insert(&delta.object);
                continue;
            }
            match self.one(delta, &mut report.problems) {
                Ok(changed) => report.done.extend(done(delta, &changed)),
                Err(problem) => {
                    report.problems.push(*problem);
                    failed.insert(&delta.object);
                }
            }
        }
        Ok(report)
    }

    /// One delta of several. Settings that are not required cost only themselves, and
    /// are tried again once the others stand: one may be bounded by another.
    /// The answer is the steps that changed something.
    fn one<'d>(
        &mut self,
        delta: &'d Delta,
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<&'d Step>, Box<Problem>> {
        let mut undo = Undoing::default();
        let mut changed = Vec::new();
        let mut waiting = Vec::new();
        for step in &delta.steps {
            match self.perform(step, &mut undo) {
                Ok(true) => changed.push(step),
                Ok(false) => {}
                Err(_)
                    if matches!(
                        step,
                        Step::Set {
                            required: false,
                            ..
                        }
                    ) =>
                {
                    waiting.push(step)
                }
                Err(error) => {
                    let mut problem = self.problem(delta, step, &error);
                    if let Some(left) = named(NOT_BACK, &self.take_back(undo)) {
                        problem.reason.push_str(&format!("; {left}"));
                    }
                    return Err(Box::new(problem));
                }
            }
        }
        while !waiting.is_empty() {
            let mut failed = Vec::new();
            let mut reasons = Vec::new();
            for step in &waiting {
                match self.perform(step, &mut undo) {
                    Ok(true) => changed.push(step),
                    Ok(false) => {}
                    Err(error) => {
                        reasons.push(self.problem(delta, step, &error));
                        failed.push(*step);
                    }
                }
            }
            if failed.len() == waiting.len() {
                problems.extend(reasons);
                break;
            }
            waiting = failed;
        }
        Ok(changed)
    }

    fn check_interrupt(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    /// Performs a step. The answer is whether anything changed.
    fn perform(&mut self, step: &Step, undo: &mut Undoing) -> io::Result<bool> {
        self.log.take();
        let tree = self.tree;
        match step {
            Step::Make(path) => {
                tree.make_dir(path)?;
                undo.made(path);
            }
            Step::Ensure(path) => {
                if tree.kind(path)?.is_some() {
                    return Ok(false);
                }
                tree.make_dir(path)?;
                undo.made(path);
            }
            Step::Remove(path) => {
                tree.remove_dir(path)?;
            }
            Step::RemoveIfEmpty(path) => {
                let has_objects = tree
                    .entries(path)?
                    .iter()
                    .any(|(_, kind)| *kind == configfs::Kind::Dir);
                if has_objects {
                    return Ok(false);
                }
                tree.remove_dir(path)?;
            }
            Step::Write(path, value) => {
                let old = self.old_value(path, value, undo);
                tree.write(path, value.stored())?;
                undo.steps.extend(old);
            }
            Step::Set { path, value, .. } => {
                let read = match tree.read(path) {
                    Ok(read) => Some(Secret::new(configfs::shown(path, &read))),
                    // No such attribute and nothing to put into it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && value.reads_as("") => {
                        return Ok(false);
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                    Err(_) => None,
                };
                if read
                    .as_ref()
                    .is_some_and(|read| value.reads_as(read.expose()))
                {
                    return Ok(false);
                }
                let old = self.old_value(path, value, undo);
                tree.write(path, value.stored())?;
                undo.steps.extend(old);
            }
            Step::Prepare(path, value) => {
                let old = self.old_value(path, value, undo);
                // The `Set` that follows decides; this only narrows the gap until then.
                if tree.write(path, value.stored()).is_ok() {
                    undo.steps.extend(old);
                }
            }
            Step::Link(path, to) => {
                tree.make_link(path, to)?;
                undo.steps.push(Undo::RemoveLink(path.clone()));
            }
            Step::Unlink(path) => {
                tree.remove_link(path)?;
            }
        }
        Ok(true)
    }

    /// How to restore an attribute that gets `value`; nothing if its object goes away anyway.
    fn old_value(&self, path: &Path, value: &Value, undo: &Undoing) -> Option<Undo> {
        if path.ancestors().any(|dir| undo.dirs.contains(dir)) {
            return None;
        }
        let Ok(read) = self.tree.read(path) else {
            return Some(Undo::Lost(path.to_path_buf()));
        };
        let old = match (configfs::shown(path, &read), value) {
            (old, Value::Text(_)) => old,
            (old, _) if old.is_empty() => "NULL".to_string(),
            (old, _) => old,
        };
        Some(Undo::WriteBack(path.to_path_buf(), Secret::new(old)))
    }

    /// Takes steps back, the last one first. The answer is what cannot be taken back.
    fn take_back(&self, undo: Undoing) -> Vec<String> {
        let mut left = Vec::new();
        for step in undo.steps.into_iter().rev() {
            let tree = self.tree;
            let (is_back, path) = match step {
                Undo::RemoveDir(path) => (tree.remove_dir(&path).is_ok(), path),
                Undo::RemoveLink(path) => (tree.remove_link(&path).is_ok(), path),
                Undo::WriteBack(path, old) => (tree.write(&path, old.expose()).is_ok(), path),
                Undo::Lost(path) => (false, path),
            };
            // What has been removed since is named as such.
            if !is_back && !matches!(tree.kind(&path), Ok(None)) {
                left.push(path.display().to_string());
            }
        }
        left
    }

    fn refused(&mut self, delta: &Delta, step: &Step, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::AlreadyExists && matches!(step, Step::Make(_)) {
            return Error::Exists {
                object: delta.object.to_string(),
                hint: None,
            };
        }
        let missing = self.is_missing(step, &error);
        Error::Refused {
            action: action(delta, step),
            hint: hint(delta, step, &error, missing),
            log: self.log.take(),
            source: plain(error),
        }
    }

    /// The attribute is not there. A store may say the same of what it was given.
    fn is_missing(&self, step: &Step, error: &io::Error) -> bool {
        matches!(step, Step::Set { .. } | Step::Write(..))
            && error.kind() == io::ErrorKind::NotFound
            && matches!(self.tree.kind(step.path()), Ok(None))
    }

    fn problem(&mut self, delta: &Delta, step: &Step, error: &io::Error) -> Problem {
        let missing = self.is_missing(step, error);
        let mut reason = if missing && matches!(step, Step::Set { .. }) {
            let name = step.path().file_name().unwrap_or_default();
            format!("the kernel has no {} here", name.to_string_lossy())
        } else {
            format!(
                "the kernel refused to {}: {}",
                action(delta, step),
                errno_text(error)
            )
        };
        if let Some(hint) = hint(delta, step, error, missing) {
            reason.push_str(&format!(" ({hint})"));
        }
        Problem {
            object: delta.object.clone(),
            reason,
            log: self.log.take(),
        }
    }
}

/// Adds to an error what it left behind: what had been removed before, and stays so, be it one
/// object by half, and what could not be taken back.
fn with_state(error: Error, report: &Report, half: Option<&Object>, left: &[String]) -> Error {
    let done = report.done.iter();
    let removed: Vec<String> = done
        .filter(|done| done.change == Change::Remove)
        .map(|done| done.object.to_string())
        .chain(half.map(|object| format!("a part of {object}")))
        .collect();
    let states = [
        named("removed before that", &removed),
        named(NOT_BACK, left),
    ];
    let states: Vec<String> = states.into_iter().flatten().collect();
    if states.is_empty() {
        return error;
    }
    Error::Ended {
        error: Box::new(error),
        state: states.join("; "),
        half: true,
    }
}

const NOT_BACK: &str = "not as it was before";

/// What is so, unless it is nothing.
fn named(what: &str, those: &[String]) -> Option<String> {
    (!those.is_empty()).then(|| format!("{what}: {}", those.join("; ")))
}

/// What a delta did, if it did anything. Of values it names those that changed.
fn done(delta: &Delta, changed: &[&Step]) -> Option<Done> {
    if changed.is_empty() {
        return None;
    }
    let detail = if delta.change == Change::Modify && delta.detail.is_empty() {
        let names: Vec<String> = changed
            .iter()
            .filter(|step| matches!(step, Step::Set { .. } | Step::Write(..)))
            .filter_map(|step| step.path().file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.join(", ")
    } else {
        delta.detail.clone()
    };
    Some(Done {
        object: delta.object.clone(),
        change: delta.change,
        detail,
    })
}

/// What a step does, as the rest of a sentence that begins "the kernel refused to".
fn action(delta: &Delta, step: &Step) -> String {
    let object = match &delta.object {
        Object::TpgSettings(name, tag) => &Object::Tpg(name.clone(), *tag),
        other => other,
    };
    let name = step
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match step {
        Step::Make(_) => format!("create {object}"),
        Step::Ensure(_) => format!("create {name} for {object}"),
        Step::Remove(_) | Step::RemoveIfEmpty(_) => format!("remove {object}"),
        Step::Link(_, to) => format!("link {object} to {}", to.display()),
        Step::Unlink(_) => format!("unlink {object}"),
        Step::Write(_, _) if name == "enable" && matches!(object, Object::Backstore(_)) => {
            format!("open {} for {object}", delta.detail)
        }
        Step::Write(_, value) if name == "replace" => {
            format!("replace the device of {object} by {value}")
        }
        Step::Set { .. } if name == "enable" => format!("{} {object}", delta.change.verb()),
        Step::Write(_, value) | Step::Prepare(_, value) | Step::Set { value, .. } => match value {
            Value::Secret(_) => format!("set {name} of {object}"),
            _ => format!("set {name} of {object} to {:?}", value.to_string()),
        },
    }
}

/// What the administrator may do about an errno.
fn hint(delta: &Delta, step: &Step, error: &io::Error, missing: bool) -> Option<String> {
    let hint = match (&delta.object, step, error.kind()) {
        (_, _, io::ErrorKind::PermissionDenied) => "run this as root".to_string(),
        (Object::Backstore(_), Step::Write(path, _), kind) if path.ends_with("enable") => {
            match kind {
                io::ErrorKind::NotFound => format!("is {} there?", delta.detail),
                io::ErrorKind::ResourceBusy => format!(
                    "{} is in use: see `lsblk` and `findmnt`; unmount it, or let go of it",
                    delta.detail
                ),
                _ => format!(
                    "{} must be a block device; a regular file becomes one with `losetup`",
                    delta.detail
                ),
            }
        }
        (Object::Backstore(_), Step::Write(path, _), kind) if path.ends_with("replace") => {
            match kind {
                io::ErrorKind::ResourceBusy => {
                    "the new device is in use: see `lsblk` and `findmnt`".to_string()
                }
                io::ErrorKind::StorageFull => "the new device is smaller".to_string(),
                io::ErrorKind::ReadOnlyFilesystem => "the new device is read-only".to_string(),
                io::ErrorKind::TimedOut => {
                    "one of the devices hangs; the old one stays".to_string()
                }
                _ => return None,
            }
        }
        (Object::Portal(..), Step::Make(_), io::ErrorKind::AddrInUse) => {
            "another service listens there: see `ss -tlnp`".to_string()
        }
        (Object::Portal(..), Step::Make(_), io::ErrorKind::AddrNotAvailable) => {
            "no interface has this address: see `ip address`".to_string()
        }
        _ if missing => "this kernel has no such attribute".to_string(),
        (_, Step::Remove(_), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {
            "something is still in it, or refers to it: see `ferritectl status`".to_string()
        }
        _ => return None,
    };
    Some(hint)
}

/// The same error with a text that ends in no "(os error N)".
fn plain(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), errno_text(&error))
}
