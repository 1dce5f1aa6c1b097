// SPDX-License-Identifier: GPL-2.0

//! The verbs of lio-utils, for scripts and cluster agents that call them.
//!
//! A verb is a long option with a fixed number of arguments: `--verb=A B C` or
//! `--verb A B C`. Its name may be cut short as long as it stays unique, and one
//! command line may hold several verbs, which are done in order. Unlike the
//! originals, nothing is done if any verb of the line is unknown or lacks an
//! argument. Secrets are taken, but never shown.

pub mod node;
pub mod tcm;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::configfs::Configfs;
use crate::context::Context;
use crate::context::Env;
use crate::context::Mode;
use crate::delta::Delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::layout;
use crate::names::Name;
use crate::state::Target;

/// What a verb does with its arguments.
pub type Action = fn(&mut Context<'_, '_>, &[String]) -> Result<()>;

/// A verb.
pub struct Verb {
    /// Its names; the first one is shown first.
    pub names: &'static [&'static str],
    /// Its arguments, as words separated by blanks.
    pub arguments: &'static str,
    /// What it does, for the help.
    pub help: &'static str,
    /// Does it.
    pub action: Action,
}

impl Verb {
    fn count(&self) -> usize {
        self.arguments.split_whitespace().count()
    }
}

/// A parsed command line.
struct Parsed<'v> {
    root: Option<PathBuf>,
    help: bool,
    calls: Vec<(&'v Verb, Vec<String>)>,
}

/// Runs a command line over a table of verbs.
fn run(
    program: &'static str,
    verbs: &[Verb],
    arguments: &[OsString],
    env: &mut Env<'_>,
) -> ExitCode {
    env.program = program;
    let parsed = match parse(verbs, arguments.get(1..).unwrap_or_default()) {
        Ok(parsed) => parsed,
        Err(reason) => {
            let _ = writeln!(env.err, "{program}: {reason}");
            return ExitCode::Usage;
        }
    };
    if parsed.help || parsed.calls.is_empty() {
        return match write!(env.out, "{}", help(program, verbs)) {
            Ok(()) => ExitCode::Success,
            Err(_) => ExitCode::Failure,
        };
    }
    let result =
        Context::open(env, parsed.root.as_deref(), Mode::default()).and_then(|mut context| {
            for (verb, arguments) in &parsed.calls {
                (verb.action)(&mut context, arguments)?;
            }
            Ok(())
        });
    let _ = env.out.flush();
    match result {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            crate::report(&error, false, env);
            // The originals know one status for every failure.
            ExitCode::Failure
        }
    }
}

fn parse<'v>(verbs: &'v [Verb], arguments: &[OsString]) -> Result<Parsed<'v>, String> {
    let mut parsed = Parsed {
        root: None,
        help: false,
        calls: Vec::new(),
    };
    let mut words = Vec::new();
    for argument in arguments {
        let word = argument
            .to_str()
            .ok_or_else(|| format!("argument {argument:?} is not valid text"))?;
        words.push(word);
    }
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "-h" || word == "--help" {
            parsed.help = true;
            continue;
        }
        let Some(option) = word.strip_prefix("--") else {
            return Err(format!("{word:?} is no verb: verbs begin with --"));
        };
        let (name, first) = match option.split_once('=') {
            Some((name, first)) => (name, Some(first)),
            None => (option, None),
        };
        if name == "root" {
            let root = first.or_else(|| words.next());
            parsed.root = Some(PathBuf::from(root.ok_or("--root needs a directory")?));
            continue;
        }
        let verb = find(verbs, name)?;
        let count = verb.count();
        if count == 0 && first.is_some() {
            return Err(format!("--{name} takes no argument"));
        }
        let mut values: Vec<String> = first.into_iter().map(|v| v.trim().to_string()).collect();
        while values.len() < count {
            match words.next() {
                Some(value) => values.push(value.trim().to_string()),
                None => {
                    return Err(format!(
                        "--{name} needs {count} arguments ({}), here are {}",
                        verb.arguments,
                        values.len()
                    ));
                }
            }
        }
        parsed.calls.push((verb, values));
    }
    Ok(parsed)
}

/// The verb of a name, or of the only name that begins so.
fn find<'v>(verbs: &'v [Verb], name: &str) -> Result<&'v Verb, String> {
    if let Some(verb) = verbs.iter().find(|verb| verb.names.contains(&name)) {
        return Ok(verb);
    }
    let begins: Vec<(&'v Verb, &str)> = verbs
        .iter()
        .flat_map(|verb| verb.names.iter().map(move |other| (verb, *other)))
        .filter(|(_, other)| !name.is_empty() && other.starts_with(name))
        .collect();
    match begins.as_slice() {
        [(verb, _)] => Ok(verb),
        [] => Err(format!("--{name} is not known; --help lists all verbs")),
        several => Err(format!(
            "--{name} may be any of {}",
            several
                .iter()
                .map(|(_, other)| format!("--{other}"))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

fn help(program: &str, verbs: &[Verb]) -> String {
    let mut text = format!(
        "{program}: the verbs of lio-utils for the Ferrite iSCSI target\n\
         (ferritectl has more, and speaks plainer)\n\n\
         Usage: {program} [--root DIR] --VERB ARGUMENT...\n\n"
    );
    for verb in verbs {
        let names: Vec<String> = verb.names.iter().map(|name| format!("--{name}")).collect();
        text.push_str(&format!(
            "  {} {}\n      {}\n",
            names.join(", "),
            verb.arguments,
            verb.help
        ));
    }
    text
}

/// The argument at a place; the table says how many there are.
fn word(words: &[String], at: usize) -> &str {
    words.get(at).map_or("", String::as_str)
}

/// Refuses a verb whose object does not exist here.
fn refused(what: &str) -> Result<()> {
    Err(Error::Usage(format!("this target has no {what}")))
}

/// What has to be made before something can be put into a portal group.
fn missing_tpg(configfs: &Configfs<'_>, target: &Name, tag: u16) -> Result<Vec<Delta>> {
    let mut deltas = Vec::new();
    if !configfs.exists(&layout::target(target))? {
        deltas.push(crate::delta::create_target(target, &Target::default()));
    }
    if !configfs.exists(&layout::tpg(target, tag))? {
        deltas.push(crate::delta::create_tpg(target, tag));
    }
    Ok(deltas)
}

/// An error for what should be new.
fn exists(object: Object) -> Error {
    Error::Exists {
        object: object.to_string(),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
        Ok(())
    }

    const VERBS: &[Verb] = &[
        Verb {
            names: &["addnp"],
            arguments: "TARGET TPGT PORTAL",
            help: "",
            action: nothing,
        },
        Verb {
            names: &["addnodeacl"],
            arguments: "TARGET TPGT INITIATOR",
            help: "",
            action: nothing,
        },
        Verb {
            names: &["demomode", "permissive"],
            arguments: "TARGET TPGT",
            help: "",
            action: nothing,
        },
        Verb {
            names: &["unload"],
            arguments: "",
            help: "",
            action: nothing,
        },
    ];

    fn calls(line: &str) -> Result<Vec<(&'static str, Vec<String>)>, String> {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let parsed = parse(VERBS, &arguments)?;
        Ok(parsed
            .calls
            .into_iter()
            .map(|(verb, values)| (verb.names[0], values))
            .collect())
    }

    #[test]
    fn both_forms_are_one() {
        let words = vec!["iqn".to_string(), "1".into(), "::".into()];
        assert_eq!(
            calls("--addnp iqn 1 ::").unwrap(),
            [("addnp", words.clone())]
        );
        assert_eq!(calls("--addnp=iqn 1 ::").unwrap(), [("addnp", words)]);
    }

    #[test]
    fn several_verbs_and_short_names() {
        let calls = calls("--perm=a 1 --addno b 2 c --unl").unwrap();
        let names: Vec<&str> = calls.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["demomode", "addnodeacl", "unload"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for (line, says) in [
            ("--addnp iqn 1", "needs 3 arguments"),
            ("--addn iqn 1 x", "may be any of --addnp, --addnodeacl"),
            ("--none", "not known"),
            ("--", "not known"),
            ("addnp", "no verb"),
            ("--unload=x", "no argument"),
            ("--unload x", "no verb"),
            ("--root", "directory"),
        ] {
            let error = calls(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn names_are_unique() {
        for verbs in [node::VERBS, tcm::VERBS] {
            let mut names: Vec<&str> = verbs.iter().flat_map(|v| v.names).copied().collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
