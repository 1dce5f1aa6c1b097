// SPDX-License-Identifier: GPL-2.0

//! The commands, a file for each noun.

pub mod acl;
pub mod alua;
pub mod apply;
pub mod auth;
pub mod backstore;
pub mod clear;
pub mod docs;
pub mod import;
pub mod lun;
pub mod metrics;
pub mod monitor;
pub mod portal;
pub mod reservation;
pub mod save;
pub mod session;
pub mod status;
pub mod target;
pub mod thin;
pub mod top;
pub mod tpg;
pub mod version;

use std::path::Path;
use std::path::PathBuf;

use crate::cli::Assignment;
use crate::cli::Cli;
use crate::cli::Command;
use crate::cli::KeyCommand;
use crate::configfs::Configfs;
use crate::configfs::Kind;
use crate::context::Context;
use crate::context::Env;
use crate::context::Mode;
use crate::delta;
use crate::delta::Object;
use crate::delta::Value;
use crate::error::Error;
use crate::error::Result;
use crate::layout;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::state::Attributes;

/// Runs a parsed command line.
pub fn run(cli: Cli, env: &mut Env<'_>) -> Result<()> {
    let mode = Mode {
        json: cli.global.json,
        dry_run: cli.global.dry_run,
    };
    let root = cli.global.root.as_deref();
    match cli.command {
        Command::Completions { shell } => docs::completions(env, shell),
        Command::Man { dir } => docs::man(env, dir.as_deref()),
        Command::Version => version::run(env, root, mode),
        Command::Import { file, from, output } => {
            import::run(env, &file, from, output.as_deref(), mode)
        }
        Command::Auth(crate::cli::AuthCommand::Generate { file }) => {
            auth::generate(env, &file, mode)
        }
        command => {
            let context = &mut Context::open(env, root, mode)?;
            match command {
                Command::Backstore(command) => backstore::run(context, command),
                Command::Target(command) => target::run(context, command),
                Command::Tpg(command) => tpg::run(context, command),
                Command::Portal(command) => portal::run(context, command),
                Command::Lun(command) => lun::run(context, command),
                Command::Acl(command) => acl::run(context, command),
                Command::Alua(command) => alua::run(context, command),
                Command::Auth(command) => auth::run(context, command),
                Command::Attr(command) => keys(context, command, "attrib"),
                Command::Param(command) => keys(context, command, "param"),
                Command::Session(command) => session::run(context, command),
                Command::Reservation(command) => reservation::run(context, command),
                Command::Status => status::run(context),
                Command::Top {
                    once,
                    interval,
                    sort,
                } => top::run(
                    context,
                    top::Options {
                        once,
                        interval: std::time::Duration::from_millis(interval),
                        sort,
                    },
                ),
                Command::Monitor {
                    old,
                    count,
                    seconds,
                } => monitor::run(context, old, count, seconds),
                Command::Metrics {
                    output,
                    no_sessions,
                    no_stages,
                } => {
                    let wanted = metrics::Wanted {
                        sessions: !no_sessions,
                        stages: !no_stages,
                    };
                    metrics::run(context, output.as_deref(), wanted)
                }
                Command::Apply { file, yes } => apply::apply(context, &file, yes),
                Command::Diff { file } => apply::diff(context, &file),
                Command::Save { file } => save::save(context, &file),
                Command::Restore {
                    file,
                    replace,
                    target,
                    wait,
                } => save::restore(context, &file, replace, target.as_ref(), wait),
                Command::Clear {
                    yes,
                    keep_backstores,
                } => clear::run(context, yes, keep_backstores),
                Command::Completions { .. }
                | Command::Import { .. }
                | Command::Man { .. }
                | Command::Version => Ok(()),
            }
        }
    }
}

fn keys(context: &mut Context<'_, '_>, command: KeyCommand, dir: &str) -> Result<()> {
    match command {
        KeyCommand::Get { tpg, key } => tpg::get(context, &tpg, &key, &[dir]),
        KeyCommand::Set { tpg, set } => tpg::set(context, &tpg, &set, &[dir]),
    }
}

/// Lists names for a hint.
fn listed<T: ToString>(what: &str, names: &[T]) -> String {
    const MOST: usize = 8;
    if names.is_empty() {
        return format!("there is no {what}");
    }
    let mut text: Vec<String> = names.iter().take(MOST).map(T::to_string).collect();
    if names.len() > MOST {
        text.push("...".into());
    }
    format!("there is {}", text.join(", "))
}

/// The existing target of a name, in the spelling that it has in configfs.
pub fn find_target(configfs: &Configfs<'_>, name: &Name) -> Result<Name> {
    if configfs.exists(&layout::target(name))? {
        return Ok(name.clone());
    }
    let names = configfs.target_names()?;
    names
        .iter()
        .find(|other| other.as_str().eq_ignore_ascii_case(name.as_str()))
        .cloned()
        .ok_or_else(|| Error::not_found(format!("target {name}"), listed("target", &names)))
}

/// The target of a name, or all.
pub fn targets(configfs: &Configfs<'_>, name: &Option<Name>) -> Result<Vec<Name>> {
    match name {
        Some(name) => Ok(vec![find_target(configfs, name)?]),
        None => configfs.target_names(),
    }
}

/// The existing portal group of a target: the one that is named, or the only one.
pub fn find_tpg(configfs: &Configfs<'_>, target: &Name, tag: Option<u16>) -> Result<(Name, u16)> {
    let target = find_target(configfs, target)?;
    let tags = configfs.tags(&target)?;
    match (tag, tags.as_slice()) {
        (Some(tag), tags) if tags.contains(&tag) => Ok((target, tag)),
        (Some(tag), tags) => Err(Error::not_found(
            format!("TPG {tag} of {target}"),
            listed("TPG", tags),
        )),
        (None, [tag]) => Ok((target, *tag)),
        (None, []) => Err(Error::not_found(
            format!("TPG of {target}"),
            format!("make one with `ferritectl tpg create {target}`"),
        )),
        (None, tags) => Err(Error::Usage(format!(
            "target {target} has several TPGs: say which one of {}",
            tags.iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// Fails if a portal group does not have a LUN.
pub fn find_lun(configfs: &Configfs<'_>, target: &Name, tag: u16, number: u64) -> Result<()> {
    let numbers = configfs.lun_numbers(target, tag)?;
    if numbers.contains(&number) {
        return Ok(());
    }
    Err(Error::not_found(
        Object::Lun(target.clone(), tag, number).to_string(),
        listed("LUN", &numbers),
    ))
}

/// The existing ACL of an initiator, in the spelling that it has in configfs.
pub fn find_acl(
    configfs: &Configfs<'_>,
    target: &Name,
    tag: u16,
    initiator: &Name,
) -> Result<Name> {
    if configfs.exists(&layout::acl(target, tag, initiator))? {
        return Ok(initiator.clone());
    }
    let names = configfs.initiators(target, tag)?;
    names
        .iter()
        .find(|other| other.as_str().eq_ignore_ascii_case(initiator.as_str()))
        .cloned()
        .ok_or_else(|| {
            Error::not_found(
                format!("ACL {initiator} of TPG {tag} of {target}"),
                listed("ACL", &names),
            )
        })
}

/// The existing backstore that is meant by `NAME` or `iblock_<n>/NAME`.
pub fn find_backstore(configfs: &Configfs<'_>, text: &str) -> Result<BackstoreId> {
    let ids = configfs.backstore_ids()?;
    let fits: Vec<&BackstoreId> = ids
        .iter()
        .filter(|id| id.name == text || id.to_string() == text)
        .collect();
    match fits.as_slice() {
        [id] => Ok((*id).clone()),
        [] => Err(Error::not_found(
            format!("backstore {text}"),
            listed("backstore", &ids),
        )),
        several => Err(Error::Usage(format!(
            "several backstores are called {text}: say which one of {}",
            several
                .iter()
                .map(|id| id.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// Refuses what would cut sessions, unless it is forced.
pub fn refuse_if_live(object: &Object, logged_in: &[Name], force: bool) -> Result<()> {
    if force || logged_in.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = logged_in.iter().map(Name::as_str).collect();
    Err(Error::InUse {
        object: object.to_string(),
        by: format!("logged in: {}", names.join(", ")),
        hint: "log the initiators out first, or cut them off with --force".into(),
    })
}

/// Where the attributes of an object are: directories of them, and single files.
pub struct Keys {
    /// The object that they belong to.
    pub object: Object,
    /// Directories in which every file is an attribute.
    pub dirs: Vec<PathBuf>,
    /// Files that are attributes, with what clears them.
    pub files: Vec<(PathBuf, Clear)>,
}

/// How an attribute is set to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clear {
    /// By an empty line.
    Empty,
    /// By the word `NULL`.
    Null,
}

impl Keys {
    /// Prints the named attributes, or all.
    pub fn get(&self, context: &mut Context<'_, '_>, keys: &[String]) -> Result<()> {
        let configfs = context.configfs();
        let mut found = Attributes::default();
        if keys.is_empty() {
            found = self.all(&configfs)?;
        }
        for key in keys {
            let path = self.find(&configfs, key)?.0;
            let name = file_name(&path);
            let text = match context_read(&configfs, &path)? {
                Some(text) => text,
                None => return Err(self.unknown(&configfs, key)?),
            };
            found.0.insert(name, text);
        }
        if context.mode.json {
            return context.json(&found);
        }
        // One value by itself is for scripts.
        if let [_] = keys {
            for value in found.0.values() {
                context.say(value)?;
            }
            return Ok(());
        }
        for (name, value) in &found.0 {
            context.say(&format!("{name}={value}"))?;
        }
        Ok(())
    }

    /// Sets attributes, all or none.
    pub fn set(&self, context: &mut Context<'_, '_>, set: &[Assignment]) -> Result<()> {
        context.lock()?;
        let configfs = context.configfs();
        let mut values = Vec::new();
        for assignment in set {
            let (path, clear) = self.find(&configfs, &assignment.key)?;
            if let Some(Kind::File {
                writable: false, ..
            }) = configfs.kind(&path)?
            {
                return Err(Error::value(
                    format!("value of {}", assignment.key),
                    &assignment.value,
                    "this attribute is read-only",
                ));
            }
            let value = match clear {
                Clear::Empty => Value::Text(assignment.value.clone()),
                Clear::Null => Value::Clearable(
                    Some(assignment.value.clone()).filter(|value| !value.is_empty()),
                ),
            };
            values.push((path, value));
        }
        let delta = delta::assign(self.object.clone(), values);
        context.change(&[delta])
    }

    /// Every attribute that can be read.
    pub fn all(&self, configfs: &Configfs<'_>) -> Result<Attributes> {
        let mut all = Attributes::default();
        for dir in &self.dirs {
            all.0.extend(configfs.readings(dir)?.0);
        }
        for (path, _) in &self.files {
            if let Some(value) = context_read(configfs, path)? {
                all.0.insert(file_name(path), value);
            }
        }
        Ok(all)
    }

    /// The file of an attribute. Letters need not match in case if only one fits.
    fn find(&self, configfs: &Configfs<'_>, key: &str) -> Result<(PathBuf, Clear)> {
        let mut similar = Vec::new();
        for (path, clear) in self.paths(configfs)? {
            let name = file_name(&path);
            if name == key {
                return Ok((path, clear));
            }
            if name.eq_ignore_ascii_case(key) {
                similar.push((path, clear));
            }
        }
        if similar.len() == 1 {
            if let Some(found) = similar.pop() {
                return Ok(found);
            }
        }
        Err(self.unknown(configfs, key)?)
    }

    fn paths(&self, configfs: &Configfs<'_>) -> Result<Vec<(PathBuf, Clear)>> {
        let mut paths = Vec::new();
        for dir in &self.dirs {
            for name in configfs.readings(dir)?.0.into_keys() {
                paths.push((dir.join(name), Clear::Empty));
            }
        }
        for (path, clear) in &self.files {
            if configfs.exists(path)? {
                paths.push((path.clone(), *clear));
            }
        }
        Ok(paths)
    }

    fn unknown(&self, configfs: &Configfs<'_>, key: &str) -> Result<Error> {
        let lower = key.to_ascii_lowercase();
        let mut close: Vec<(usize, String)> = self
            .paths(configfs)?
            .iter()
            .map(|(path, _)| file_name(path))
            .map(|name| {
                (
                    strsim::levenshtein(&lower, &name.to_ascii_lowercase()),
                    name,
                )
            })
            .collect();
        close.sort();
        let hint = match close.first() {
            Some((distance, name)) if *distance <= 3 => format!("did you mean {name}?"),
            _ => "`get` without a name lists all".to_string(),
        };
        Ok(Error::not_found(
            format!("attribute {key} of {}", self.object),
            hint,
        ))
    }
}

fn context_read(configfs: &Configfs<'_>, path: &Path) -> Result<Option<String>> {
    Ok(configfs
        .value(path)?
        .map(|text| crate::configfs::shown(path, &text)))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
