// SPDX-License-Identifier: GPL-2.0

//! `ferritectl session …`

use serde::Serialize;

use crate::cli::SessionCommand;
use crate::cli::TpgArgs;
use crate::cmd::find_tpg;
use crate::cmd::targets;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::error::Error;
use crate::error::Result;
use crate::info::Session;
use crate::layout;
use crate::names::Name;
use crate::output;
use crate::state::Attributes;

/// A session as it is shown.
#[derive(Debug, Serialize)]
pub struct View {
    /// The initiator's name.
    pub initiator: String,
    /// The target that it is logged in to.
    pub target: Name,
    /// The portal group.
    pub tpg: u16,
    /// It has no ACL of its own, so the kernel shows no particulars.
    pub dynamic: bool,
    /// The particulars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: SessionCommand) -> Result<()> {
    match command {
        SessionCommand::List { target } => list(context, &target),
        SessionCommand::Show { tpg, initiator } => show(context, &tpg, &initiator),
        SessionCommand::Close {
            tpg,
            initiator,
            all: _,
            wait,
        } => close(context, &tpg, initiator.as_ref(), wait),
    }
}

/// The sessions of a portal group.
pub fn of_tpg(configfs: &Configfs<'_>, target: &Name, tpg: u16) -> Result<Vec<View>> {
    let mut views = Vec::new();
    for initiator in configfs.initiators(target, tpg)? {
        for session in configfs.sessions(target, tpg, &initiator)? {
            views.push(View {
                initiator: session.initiator.clone(),
                target: target.clone(),
                tpg,
                dynamic: false,
                session: Some(session),
            });
        }
    }
    for initiator in configfs.dynamic_sessions(target, tpg)? {
        views.push(View {
            initiator: initiator.to_string(),
            target: target.clone(),
            tpg,
            dynamic: true,
            session: None,
        });
    }
    Ok(views)
}

fn list(context: &mut Context<'_, '_>, target: &Option<Name>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for target in targets(&configfs, target)? {
        for tpg in configfs.tags(&target)? {
            views.extend(of_tpg(&configfs, &target, tpg)?);
        }
    }
    if context.mode.json {
        return context.json(&views);
    }
    let rows: Vec<Vec<String>> = views
        .iter()
        .map(|view| {
            vec![
                view.initiator.clone(),
                view.target.to_string(),
                view.tpg.to_string(),
                addresses(view).join(", "),
                state(view),
            ]
        })
        .collect();
    let header = ["INITIATOR", "TARGET", "TPG", "ADDRESS", "STATE"];
    context.print(&output::grouped(context.env.style, &header, &rows, 1))
}

/// Where the initiator's connections come from.
pub fn addresses(view: &View) -> Vec<String> {
    let Some(session) = &view.session else {
        return Vec::new();
    };
    let mut addresses: Vec<(&str, usize)> = Vec::new();
    for connection in &session.connections {
        let address = connection.address.as_str();
        match addresses.iter_mut().find(|(known, _)| *known == address) {
            _ if address.is_empty() => {}
            Some((_, count)) => *count += 1,
            None => addresses.push((address, 1)),
        }
    }
    addresses
        .into_iter()
        .map(|(address, count)| match count {
            1 => address.to_string(),
            _ => format!("{address} ({count} connections)"),
        })
        .collect()
}

fn state(view: &View) -> String {
    match &view.session {
        Some(session) => session.state.to_ascii_lowercase().replace('_', " "),
        None => "without an ACL".to_string(),
    }
}

fn show(context: &mut Context<'_, '_>, args: &TpgArgs, initiator: &Name) -> Result<()> {
    let configfs = context.configfs();
    let (target, tpg) = find_tpg(&configfs, &args.target, args.tpg)?;
    let views: Vec<View> = of_tpg(&configfs, &target, tpg)?
        .into_iter()
        .filter(|view| view.initiator.eq_ignore_ascii_case(initiator.as_str()))
        .collect();
    if views.is_empty() {
        return Err(Error::not_found(
            format!("session of {initiator} with TPG {tpg} of {target}"),
            "`ferritectl session list` shows who is logged in",
        ));
    }
    // They read as words while nobody is logged in; somebody is.
    let dir = layout::acl(&target, tpg, initiator).join("param");
    let parameters = configfs.readings(&dir)?;
    if context.mode.json {
        return context.json(&serde_json::json!({
            "sessions": views, "parameters": parameters,
        }));
    }
    for view in &views {
        context.say(&format!("{} at TPG {tpg} of {target}", view.initiator))?;
        let Some(session) = &view.session else {
            context.say("  it has no ACL of its own: the kernel shows no particulars")?;
            continue;
        };
        if !session.alias.is_empty() {
            context.say(&format!("  alias {}", session.alias))?;
        }
        context.say(&format!(
            "  session {}, ISID {}, TSIH {}, {}, {}",
            session.id,
            session.isid,
            session.tsih,
            session.session_type.to_ascii_lowercase(),
            state(view)
        ))?;
        if let Some(window) = session.window {
            context.say(&format!(
                "  window {} of {} open, ExpCmdSN {}, MaxCmdSN {}",
                window.open, window.depth, window.exp_cmd_sn, window.max_cmd_sn
            ))?;
        }
        for connection in &session.connections {
            context.say(&format!(
                "  connection {} from {} by {}, {}",
                connection.cid,
                connection.address,
                connection.transport,
                connection.state.to_ascii_lowercase().replace('_', " ")
            ))?;
        }
    }
    negotiated(context, &parameters)
}

/// Ends sessions; without an initiator all of the portal group.
fn close(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    initiator: Option<&Name>,
    wait: Option<u16>,
) -> Result<()> {
    let configfs = context.configfs();
    let (target, tpg) = find_tpg(&configfs, &args.target, args.tpg)?;
    let mut closed: Vec<String> = of_tpg(&configfs, &target, tpg)?
        .into_iter()
        .map(|view| view.initiator)
        .filter(|name| initiator.is_none_or(|only| name.eq_ignore_ascii_case(only.as_str())))
        .collect();
    closed.sort();
    closed.dedup();
    if closed.is_empty() {
        let whose = initiator.map_or_else(String::new, |name| format!(" of {name}"));
        return Err(Error::not_found(
            format!("session{whose} with TPG {tpg} of {target}"),
            "`ferritectl session list` shows who is logged in",
        ));
    }
    if !context.mode.dry_run {
        configfs.close_sessions(&target, tpg, initiator, wait)?;
    }
    if context.mode.json {
        return context.json(&serde_json::json!({
            "target": target, "tpg": tpg, "closed": closed, "wait": wait,
            "dry_run": context.mode.dry_run,
        }));
    }
    for name in closed {
        let what = match (context.mode.dry_run, wait) {
            (true, _) => "would close".to_string(),
            (false, None) => "closed".to_string(),
            (false, Some(seconds)) => format!("asked to log out within {seconds} s:"),
        };
        context.say(&format!(
            "{what} the session of {name} with TPG {tpg} of {target}"
        ))?;
    }
    Ok(())
}

fn negotiated(context: &mut Context<'_, '_>, parameters: &Attributes) -> Result<()> {
    super::backstore::section(context, "negotiated parameters", parameters)
}
