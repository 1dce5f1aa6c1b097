// SPDX-License-Identifier: GPL-2.0

//! `ferritectl import`

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use serde_json::json;
use zeroize::Zeroizing;

use crate::context::Env;
use crate::context::Mode;
use crate::declared::Declared;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::import;
use crate::import::Format;
use crate::import::Imported;
use crate::output;
use crate::secret::Secret;

/// The longest name of a secret's file, so that the file system takes it.
const LONGEST: usize = 200;

/// Where the secrets go: beside the file, in files of their own.
struct Secrets<'o> {
    output: Option<&'o Path>,
    files: Vec<(PathBuf, Secret)>,
    names: BTreeSet<String>,
    /// Whose secrets have no place.
    homeless: Vec<String>,
}

impl Secrets<'_> {
    /// Finds a name for a secret, and gives the path as the file has it.
    fn keep(&mut self, whose: &str, secret: &Secret) -> Option<PathBuf> {
        let Some(output) = self.output else {
            self.homeless.push(whose.to_string());
            return None;
        };
        let stem = output.file_stem().unwrap_or_default().to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let whose: String = whose
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect();
        let mut name = format!("{stem}-{whose}.secret");
        if name.len() > LONGEST || self.names.contains(&name) {
            name = format!("{stem}-{}.secret", self.files.len() + 1);
        }
        self.names.insert(name.clone());
        self.files
            .push((output.with_file_name(&name), secret.clone()));
        Some(PathBuf::from(name))
    }
}

/// Reads the configuration of another target and writes ours.
pub fn run(
    env: &mut Env<'_>,
    file: &Path,
    from: Option<Format>,
    output: Option<&Path>,
    mode: Mode,
) -> Result<()> {
    let text = files::read_text(file)?;
    let Imported {
        format,
        configuration,
        mut left,
    } = import::read(file, &text, from)?;
    drop(text);
    let mut secrets = Secrets {
        output,
        files: Vec::new(),
        names: BTreeSet::new(),
        homeless: Vec::new(),
    };
    let declared = Declared::of(&configuration, &mut |whose, secret| {
        Ok(secrets.keep(whose, secret))
    })?;
    for whose in &secrets.homeless {
        left.push(format!(
            "{}: the CHAP name and secret of {whose}: secrets are written to files beside the \
             one that -o names",
            file.display()
        ));
    }
    if configuration.targets.is_empty() {
        left.push(format!(
            "{}: there is no target that can be served",
            file.display()
        ));
    }
    let body = match (output, mode.json) {
        (None, true) => serde_json::to_string_pretty(&declared).unwrap_or_default() + "\n",
        _ => declared.to_toml()?,
    };
    let text = Zeroizing::new(if mode.json && output.is_none() {
        body
    } else {
        let name: String = file.display().to_string();
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        format!("# Of {format}'s {name}, by `ferritectl import`.\n\n{body}")
    });
    // What is not said here reaches nobody if the writing fails.
    if mode.json {
        writeln!(env.err, "{}", json!({ "not_carried_over": left }))?;
    } else {
        for line in &left {
            writeln!(env.err, "{line}")?;
        }
    }
    match output {
        None => env.out.write_all(text.as_bytes())?,
        Some(output) => write(env, output, &text, &secrets.files, mode)?,
    }
    match left.len() {
        0 => Ok(()),
        number => Err(Error::Partial(format!(
            "{} not carried over",
            output::count(number, "thing")
        ))),
    }
}

/// Writes the secrets and then the file; all of them or none.
fn write(
    env: &mut Env<'_>,
    output: &Path,
    text: &str,
    secrets: &[(PathBuf, Secret)],
    mode: Mode,
) -> Result<()> {
    let paths = || secrets.iter().map(|(path, _)| path.as_path());
    for path in paths().chain([output]) {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists {
                object: format!("file {}", path.display()),
                hint: Some("give another name after -o, or remove it".into()),
            });
        }
    }
    if !mode.dry_run {
        let mut written: Vec<&Path> = Vec::new();
        let result = secrets
            .iter()
            .try_for_each(|(path, secret)| {
                files::write_secret(path, secret)?;
                written.push(path);
                Ok(())
            })
            .and_then(|()| files::replace(output, text));
        if let Err(error) = result {
            for path in written {
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
    }
    if mode.json {
        let secrets: Vec<&Path> = paths().collect();
        let value = json!({ "dry_run": mode.dry_run, "file": output, "secrets": secrets });
        writeln!(env.out, "{value}")?;
        return Ok(());
    }
    let verb = if mode.dry_run { "would write" } else { "wrote" };
    for path in paths().chain([output]) {
        writeln!(env.out, "{verb} {}", path.display())?;
    }
    Ok(())
}
