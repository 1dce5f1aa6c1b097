// SPDX-License-Identifier: GPL-2.0

//! `ferritectl apply` and `ferritectl diff`

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use crate::apply::Report;
use crate::cmd::alua::AccessState;
use crate::cmd::save::hidden_secrets;
use crate::cmd::session;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::declared;
use crate::declared::Sources;
use crate::delta;
use crate::delta::Change;
use crate::delta::Delta;
use crate::delta::Object;
use crate::delta::Plan;
use crate::delta::Step;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::output;
use crate::state::Configuration;
use crate::state::Lun;
use crate::state::DEFAULT_GROUP;

/// What a file asks for, compared with what there is.
struct Wanted {
    before: Configuration,
    plan: Plan,
    /// Who notices each change.
    interrupted: Vec<Vec<String>>,
}

fn compare(context: &Context<'_, '_>, file: &Path, text: &str) -> Result<Wanted> {
    let declared = declared::parse(file, text)?;
    let configfs = context.configfs();
    let before = configfs.configuration()?;
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let sources = Sources {
        dir,
        env: &|name| std::env::var(name).ok(),
        text,
    };
    let wanted = declared.resolve(file, &before, &sources)?;
    let mut plan = delta::plan(&before, &wanted, true);
    // What is left to be done may come to nothing.
    plan.deltas.retain(|delta| !is_so(&configfs, delta));
    let mut live = Live {
        configfs: &configfs,
        before: &before,
        known: BTreeMap::new(),
    };
    let interrupted = plan
        .deltas
        .iter()
        .map(|delta| live.interrupted(delta))
        .collect::<Result<_>>()?;
    Ok(Wanted {
        before,
        plan,
        interrupted,
    })
}

/// Everything that a change would write reads so already.
fn is_so(configfs: &Configfs<'_>, delta: &Delta) -> bool {
    delta.change == Change::Modify
        && delta.steps.iter().all(|step| match step {
            Step::Ensure(path) => configfs.exists(path).unwrap_or(false),
            Step::Set { path, value, .. } => configfs.tree().read(path).is_ok_and(|read| {
                let read = Zeroizing::new(crate::configfs::shown(path, &read));
                value.reads_as(&read)
            }),
            _ => false,
        })
}

/// A session: the ACL or host group that it came in by, none in demo mode; the initiator.
type Login = (Option<Name>, String);

/// Who is logged in, asked once for each portal group.
struct Live<'c, 't> {
    configfs: &'c Configfs<'t>,
    before: &'c Configuration,
    known: BTreeMap<(Name, u16), Vec<Login>>,
}

impl Live<'_, '_> {
    fn of_tpg(&mut self, target: &Name, tag: u16) -> Result<&[Login]> {
        let key = (target.clone(), tag);
        if !self.known.contains_key(&key) {
            let mut sessions = Vec::new();
            // One that is to be made has none.
            if self.configfs.exists(&crate::layout::tpg(target, tag))? {
                for session in session::of_tpg(self.configfs, target, tag)? {
                    sessions.push((session.acl, session.initiator));
                }
            }
            self.known.insert(key.clone(), sessions);
        }
        Ok(self.known.get(&key).map_or(&[], Vec::as_slice))
    }

    /// The portal groups that have a LUN in a target port group.
    fn portal_groups(&self, id: &BackstoreId, group: &str) -> Vec<(Name, u16)> {
        let mut found = Vec::new();
        for (name, target) in &self.before.targets {
            for (tag, tpg) in &target.tpgs {
                let in_it = |lun: &Lun| {
                    lun.backstore == *id && lun.group.as_deref().unwrap_or(DEFAULT_GROUP) == group
                };
                if tpg.luns.values().any(in_it) {
                    found.push((name.clone(), *tag));
                }
            }
        }
        found
    }

    /// The initiators whose sessions a change ends, or takes something from.
    fn interrupted(&mut self, delta: &Delta) -> Result<Vec<String>> {
        let sets = |name: &str| {
            let mut steps = delta.steps.iter();
            steps.any(|step| matches!(step, Step::Set { .. }) && step.path().ends_with(name))
        };
        let all = |_: &Option<Name>, _: &str| true;
        let mut names: Vec<String> = match (&delta.object, delta.change) {
            (Object::Target(target), Change::Remove) => {
                let mut names = Vec::new();
                for tag in self.configfs.tags(target)? {
                    names.extend(pick(self.of_tpg(target, tag)?, all));
                }
                names
            }
            (Object::Tpg(target, tag), Change::Remove)
            | (Object::TpgSwitch(target, tag), Change::Disable)
            | (Object::Lun(target, tag, _), Change::Remove) => {
                pick(self.of_tpg(target, *tag)?, all)
            }
            // Of a way to a disk on which the disk is not to be had any more.
            (Object::Group(id, group), Change::Modify) if delta.steps.iter().any(closes) => {
                let mut names = Vec::new();
                for (target, tag) in self.portal_groups(id, group) {
                    names.extend(pick(self.of_tpg(&target, tag)?, all));
                }
                names
            }
            // Of a LUN that goes offline.
            (Object::Lun(target, tag, _), Change::Modify) if sets("alua_tg_pt_offline") => {
                pick(self.of_tpg(target, *tag)?, all)
            }
            (Object::Acl(target, tag, acl), Change::Remove)
            | (Object::MappedLun(target, tag, acl, _), Change::Remove) => {
                pick(self.of_tpg(target, *tag)?, |by, _| by.as_ref() == Some(acl))
            }
            (Object::MappedLun(target, tag, acl, _), Change::Modify) if delta.interrupts => {
                pick(self.of_tpg(target, *tag)?, |by, _| by.as_ref() == Some(acl))
            }
            // Sessions end for which another entry holds then.
            (Object::Acl(target, tag, acl), Change::Create) if !acl.is_group() => {
                pick(self.of_tpg(target, *tag)?, |by, name| {
                    by.as_ref().is_none_or(Name::is_group) && name == acl.as_str()
                })
            }
            (Object::Acl(target, tag, _), Change::Create | Change::Modify)
                if sets("attrib/members") =>
            {
                pick(self.of_tpg(target, *tag)?, |by, _| {
                    by.as_ref().is_none_or(Name::is_group)
                })
            }
            (Object::TpgSettings(target, tag), _)
                if sets("generate_node_acls") || sets("demo_mode_write_protect") =>
            {
                pick(self.of_tpg(target, *tag)?, |by, _| by.is_none())
            }
            _ => Vec::new(),
        };
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// Sets a state of a target port group in which nothing is read or written.
fn closes(step: &Step) -> bool {
    matches!(
        step,
        Step::Set { path, value, .. } if path.ends_with("alua_access_state")
            && [AccessState::Standby, AccessState::Unavailable, AccessState::Offline]
                .iter()
                .any(|state| value.reads_as(&state.code().to_string()))
    )
}

fn pick(sessions: &[Login], fits: impl Fn(&Option<Name>, &str) -> bool) -> Vec<String> {
    sessions
        .iter()
        .filter(|(by, name)| fits(by, name))
        .map(|(_, name)| name.clone())
        .collect()
}

/// What a change does besides its name: the values that it sets.
fn detail(delta: &Delta) -> String {
    let mut parts = Vec::new();
    if !delta.detail.is_empty() {
        parts.push(delta.detail.clone());
    } else if delta.change == Change::Modify {
        for step in &delta.steps {
            if let Step::Set { path, value, .. } | Step::Write(path, value) = step {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                parts.push(format!("{name}={value}"));
            }
        }
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join(", ")),
    }
}

fn count(plan: &Plan) -> (usize, usize, usize) {
    let number = |wanted: &[Change]| {
        let deltas = plan.deltas.iter();
        deltas
            .filter(|delta| wanted.contains(&delta.change))
            .count()
    };
    (
        number(&[Change::Create]),
        number(&[Change::Modify, Change::Enable, Change::Disable]),
        number(&[Change::Remove]),
    )
}

fn lines(wanted: &Wanted) -> Vec<String> {
    let mut lines = Vec::new();
    for (delta, who) in wanted.plan.deltas.iter().zip(&wanted.interrupted) {
        let sign = match delta.change {
            Change::Create => '+',
            Change::Remove => '-',
            _ => '~',
        };
        lines.push(format!(
            "{sign} {} {}{}",
            delta.change.verb(),
            delta.object,
            detail(delta)
        ));
        if !who.is_empty() {
            lines.push(format!("    interrupts {}", who.join(", ")));
        }
    }
    let (added, changed, removed) = count(&wanted.plan);
    lines.push(format!(
        "{added} added, {changed} changed, {removed} removed; {}",
        match everybody(wanted).as_slice() {
            [] => "nobody is interrupted".to_string(),
            names => format!("interrupts {}", output::count(names.len(), "initiator")),
        }
    ));
    lines
}

fn everybody(wanted: &Wanted) -> Vec<&str> {
    let mut names: Vec<&str> = wanted
        .interrupted
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn plan_json(wanted: &Wanted) -> serde_json::Value {
    let changes = wanted.plan.deltas.iter().zip(&wanted.interrupted);
    changes
        .map(|(delta, who)| {
            json!({
                "change": delta.change.verb(),
                "object": delta.object.to_string(),
                "detail": delta.detail,
                "interrupts": who,
                "steps": delta.steps.iter().map(|s| s.to_string()).collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// Compares a file with what there is.
pub fn diff(context: &mut Context<'_, '_>, file: &Path) -> Result<()> {
    let text = files::read_text(file)?;
    let wanted = compare(context, file, &text)?;
    if context.mode.json {
        context.json(&json!({"changes": plan_json(&wanted)}))?;
    } else if wanted.plan.deltas.is_empty() {
        context.say("no difference")?;
    } else {
        for line in lines(&wanted) {
            context.say(&line)?;
        }
    }
    match wanted.plan.deltas.len() {
        0 => Ok(()),
        number => Err(Error::Differs(output::count(number, "difference"))),
    }
}

/// Makes the configuration what a file says.
pub fn apply(context: &mut Context<'_, '_>, file: &Path, yes: bool) -> Result<()> {
    // Once: a pipe has it once, and what was shown is what is done.
    let text = files::read_text(file)?;
    context.lock()?;
    let mut wanted = compare(context, file, &text)?;
    if context.mode.json && context.mode.dry_run {
        let changes = plan_json(&wanted);
        return context.json(&json!({"dry_run": true, "changes": changes}));
    }
    if wanted.plan.deltas.is_empty() {
        return context.show_report(&Report::default(), &[]);
    }
    if !context.mode.json {
        for line in lines(&wanted) {
            context.say(&line)?;
        }
    }
    if context.mode.dry_run {
        return Ok(());
    }
    let names: Vec<String> = everybody(&wanted).iter().map(|n| n.to_string()).collect();
    if !names.is_empty() && !yes {
        let question = format!(
            "Interrupt {}? [y/N] ",
            output::count(names.len(), "initiator")
        );
        // Somebody may be thinking for long.
        context.unlock();
        context.env.out.flush()?;
        if context.mode.json || !(context.env.confirm)(&question) {
            return Err(Error::InUse {
                object: "the configuration".into(),
                by: format!("applying this interrupts {}", names.join(", ")),
                hint: "nothing was changed; confirm it with --yes".into(),
            });
        }
        context.lock()?;
        let again = compare(context, file, &text)?;
        if again.plan != wanted.plan {
            return Err(Error::InUse {
                object: "the configuration".into(),
                by: "it has been changed meanwhile".into(),
                hint: "nothing was changed; apply the file again".into(),
            });
        }
        wanted = again;
    }
    let makes_disk = |delta: &Delta| {
        delta.change == Change::Create && matches!(delta.object, Object::Backstore(_))
    };
    if wanted.plan.deltas.iter().any(makes_disk) {
        super::reservation::make_dir(context)?;
    }
    let before = context.closing()?;
    match context.apply_all(&wanted.plan.deltas) {
        Ok(report) if context.mode.json => context.show_report(&report, &[])?,
        Ok(_) => context.say("applied")?,
        Err(error) => return Err(go_back(context, &wanted.before, error)),
    }
    context.wait_closed(&before)
}

/// Makes the configuration what it was before, and says whether it is.
fn go_back(context: &mut Context<'_, '_>, before: &Configuration, error: Error) -> Error {
    context
        .env
        .interrupted
        .store(false, std::sync::atomic::Ordering::Relaxed);
    // What is still different, and how the secrets are that nobody can read.
    let towards = |context: &Context<'_, '_>| -> Result<(Plan, Vec<String>)> {
        let configfs = context.configfs();
        let now = configfs.configuration()?;
        let mut plan = delta::plan(&now, before, true);
        plan.deltas.retain(|delta| !is_so(&configfs, delta));
        Ok((plan, hidden_secrets(&now)))
    };
    let left = towards(context).and_then(|(plan, _)| {
        if !plan.deltas.is_empty() {
            context.apply_plan(&plan)?;
        }
        towards(context)
    });
    let (half, state) = match left {
        Ok((plan, hidden)) => {
            let mut differs: Vec<String> = plan
                .deltas
                .iter()
                .map(|delta| format!("{} (to {})", delta.object, delta.change.verb()))
                .collect();
            let mut lost = hidden_secrets(before);
            lost.retain(|secret| !hidden.contains(secret));
            differs.extend(lost);
            match differs.is_empty() {
                true => (false, "everything is as it was before".to_string()),
                false => (
                    true,
                    format!("not as it was before: {}", differs.join("; ")),
                ),
            }
        }
        Err(other) => (
            true,
            format!("whether all is as it was before is not known: {other}"),
        ),
    };
    let error = match error {
        // What was removed has been made again.
        Error::Ended { error, .. } => error,
        other => Box::new(other),
    };
    Error::Ended { error, state, half }
}
