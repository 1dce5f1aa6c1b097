// SPDX-License-Identifier: GPL-2.0

//! `ferritectl auth …`

use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::AuthCommand;
use crate::cli::AuthScope;
use crate::cmd::find_acl;
use crate::cmd::find_tpg;
use crate::context::Context;
use crate::context::Env;
use crate::context::Mode;
use crate::delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::layout;
use crate::secret::Secret;
use crate::state::Auth;
use crate::state::Credentials;

/// Credentials as they are shown: never the secrets.
#[derive(Debug, Serialize)]
pub struct View {
    /// CHAP_N of the initiator.
    pub user: Option<String>,
    /// There is a secret for it.
    pub secret_set: bool,
    /// CHAP_N of the target.
    pub mutual_user: Option<String>,
    /// There is a secret for it.
    pub mutual_secret_set: bool,
}

impl View {
    /// What may be shown of credentials.
    pub fn new(auth: &Auth) -> Self {
        View {
            user: auth.initiator.user.clone(),
            secret_set: auth.initiator.has_secret(),
            mutual_user: auth.target.user.clone(),
            mutual_secret_set: auth.target.has_secret(),
        }
    }

    /// In words.
    pub fn text(&self) -> String {
        let side = |user: &Option<String>, secret: bool| match (user, secret) {
            (Some(user), true) => user.clone(),
            (Some(user), false) => format!("{user} (no secret)"),
            (None, true) => "(no name)".to_string(),
            (None, false) => String::new(),
        };
        let user = side(&self.user, self.secret_set);
        let mutual = side(&self.mutual_user, self.mutual_secret_set);
        match (user.is_empty(), mutual.is_empty()) {
            (true, true) => String::new(),
            (false, true) => format!("CHAP {user}"),
            (true, false) => format!("mutual CHAP {mutual}"),
            (false, false) => format!("CHAP {user}, mutual {mutual}"),
        }
    }
}

/// What a scope means in configfs.
struct Place {
    object: Object,
    dir: PathBuf,
}

/// Where one side's secret comes from.
struct Source {
    option: &'static str,
    user: Option<String>,
    file: Option<PathBuf>,
    secret: Option<String>,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: AuthCommand) -> Result<()> {
    match command {
        AuthCommand::Set {
            scope,
            user,
            secret_file,
            secret,
            mutual_user,
            mutual_secret_file,
            mutual_secret,
            allow_weak,
            enforce,
            no_enforce,
        } => {
            let sources = [
                Source {
                    option: "--user",
                    user,
                    file: secret_file,
                    secret,
                },
                Source {
                    option: "--mutual-user",
                    user: mutual_user,
                    file: mutual_secret_file,
                    secret: mutual_secret,
                },
            ];
            let enforce = match (enforce, no_enforce) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            };
            set(context, &scope, sources, allow_weak, enforce)
        }
        AuthCommand::Clear { scope, mutual } => clear(context, &scope, mutual),
        AuthCommand::Show { scope } => show(context, &scope),
        AuthCommand::Generate { file } => generate(context.env, &file, context.mode),
    }
}

fn place(context: &Context<'_, '_>, scope: &AuthScope) -> Result<Place> {
    let configfs = context.configfs();
    let Some(target) = &scope.target else {
        return Ok(Place {
            object: Object::DiscoveryAuth,
            dir: layout::discovery_auth(),
        });
    };
    let (target, tag) = find_tpg(&configfs, target, scope.tpg)?;
    match &scope.acl {
        Some(initiator) => {
            let initiator = find_acl(&configfs, &target, tag, initiator)?;
            Ok(Place {
                dir: layout::acl(&target, tag, &initiator).join("auth"),
                object: Object::Acl(target, tag, initiator),
            })
        }
        None => Ok(Place {
            dir: layout::tpg(&target, tag).join("auth"),
            object: Object::Tpg(target, tag),
        }),
    }
}

fn set(
    context: &mut Context<'_, '_>,
    scope: &AuthScope,
    sources: [Source; 2],
    allow_weak: bool,
    enforce: Option<bool>,
) -> Result<()> {
    if sources.iter().all(|source| source.user.is_none()) && enforce.is_none() {
        return Err(Error::Usage(
            "--user or --mutual-user is needed, with --discovery perhaps --enforce or --no-enforce"
                .into(),
        ));
    }
    // Whether it exists comes before the question for its secret.
    let place = place(context, scope)?;
    let mut given = Vec::new();
    for source in sources {
        given.push(credentials(context, source, allow_weak)?);
    }
    context.lock()?;
    let current = context.configfs().auth(&place.dir);
    let mut wanted = current.clone();
    let mut given = given.into_iter();
    if let Some(Some(initiator)) = given.next() {
        wanted.initiator = initiator;
    }
    if let Some(Some(target)) = given.next() {
        wanted.target = target;
    }
    if !wanted.target.is_empty() && wanted.initiator.is_empty() {
        return Err(Error::Usage(
            "a target proves itself only to an initiator that does: --user is needed too".into(),
        ));
    }
    if wanted.initiator.secret.is_some() && wanted.initiator.secret == wanted.target.secret {
        return Err(Error::Usage(
            "both directions have the same secret: they must differ (RFC 7143 section 9.2.1)"
                .into(),
        ));
    }
    let mut delta = delta::set_auth(place.object, &place.dir, &current, &wanted);
    if let Some(enforce) = enforce {
        delta.enforce_discovery(enforce);
    }
    context.change(&[delta])
}

/// One side's name and secret, out of whichever place the command names.
fn credentials(
    context: &mut Context<'_, '_>,
    source: Source,
    allow_weak: bool,
) -> Result<Option<Credentials>> {
    let Some(user) = source.user else {
        return Ok(None);
    };
    let secret = match (source.file, source.secret) {
        (Some(file), _) => files::read_secret(&file)?,
        (None, Some(secret)) => {
            context.warn(
                "others can see a secret of the command line in the list of processes; \
                 --secret-file keeps it private",
            )?;
            Secret::new(secret)
        }
        (None, None) => {
            let prompt = format!("CHAP secret of {user} ({}): ", source.option);
            (context.env.ask)(&prompt).map_err(|error| Error::file("standard input", error))?
        }
    };
    secret.check(allow_weak)?;
    Ok(Some(Credentials {
        user: Some(user),
        secret: Some(secret),
        hidden: false,
    }))
}

fn clear(context: &mut Context<'_, '_>, scope: &AuthScope, mutual: bool) -> Result<()> {
    context.lock()?;
    let place = place(context, scope)?;
    let current = context.configfs().auth(&place.dir);
    let mut wanted = Auth::default();
    if mutual {
        wanted.initiator = current.initiator.clone();
    }
    context.change(&[delta::set_auth(place.object, &place.dir, &current, &wanted)])
}

fn show(context: &mut Context<'_, '_>, scope: &AuthScope) -> Result<()> {
    let place = place(context, scope)?;
    let configfs = context.configfs();
    let view = View::new(&configfs.auth(&place.dir));
    let enforce = match place.object {
        Object::DiscoveryAuth => Some(configfs.discovery_auth()?.enforce),
        _ => None,
    };
    if context.mode.json {
        let mut value = serde_json::json!({ "object": place.object.to_string(), "auth": view });
        if let Some(enforce) = enforce {
            value["enforce"] = enforce.into();
        }
        return context.json(&value);
    }
    let text = view.text();
    let text = if text.is_empty() { "none" } else { &text };
    context.say(&format!("{}: {text}", place.object))?;
    match enforce {
        Some(true) => context.say("CHAP is demanded of discovery sessions"),
        Some(false) => context.say("anybody may discover targets"),
        None => Ok(()),
    }
}

/// Writes a random secret to a new file.
pub fn generate(env: &mut Env<'_>, file: &Path, mode: Mode) -> Result<()> {
    if !mode.dry_run {
        files::write_secret(file, &Secret::generate()?)?;
    }
    if mode.json {
        let value = serde_json::json!({ "dry_run": mode.dry_run, "file": file });
        writeln!(env.out, "{value}")?;
    } else {
        let verb = if mode.dry_run { "would write" } else { "wrote" };
        writeln!(env.out, "{verb} a new secret to {}", file.display())?;
    }
    Ok(())
}
