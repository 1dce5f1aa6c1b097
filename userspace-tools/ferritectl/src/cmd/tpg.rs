// SPDX-License-Identifier: GPL-2.0

//! `ferritectl tpg …`

use serde::Serialize;

use crate::cli::Assignment;
use crate::cli::TpgArgs;
use crate::cli::TpgCommand;
use crate::cmd::find_target;
use crate::cmd::find_tpg;
use crate::cmd::refuse_if_live;
use crate::cmd::targets;
use crate::cmd::Clear;
use crate::cmd::Keys;
use crate::context::Context;
use crate::delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::layout;
use crate::names::Name;

/// A portal group as it is listed.
#[derive(Debug, Serialize)]
struct View {
    target: Name,
    tpg: u16,
    enabled: bool,
    portals: usize,
    luns: usize,
    acls: usize,
    sessions: usize,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: TpgCommand) -> Result<()> {
    match command {
        TpgCommand::Create { target, tag } => create(context, &target, tag),
        TpgCommand::Delete { tpg, force } => delete(context, &tpg.target, tpg.tag, force),
        TpgCommand::Enable { tpg } => switch(context, &tpg.target, tpg.tag, true, true),
        TpgCommand::Disable { tpg, force } => switch(context, &tpg.target, tpg.tag, false, force),
        TpgCommand::List { target } => list(context, &target),
        TpgCommand::Show { tpg } => show(context, &tpg.target, tpg.tag),
        TpgCommand::Get { tpg, key } => get(context, &tpg, &key, &["attrib", "param"]),
        TpgCommand::Set { tpg, set: values } => set(context, &tpg, &values, &["attrib", "param"]),
    }
}

fn create(context: &mut Context<'_, '_>, target: &Name, tag: Option<u16>) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let target = find_target(&configfs, target)?;
    let tag = match tag {
        Some(tag) => tag,
        None => {
            let used = configfs.tags(&target)?;
            (1..=u16::MAX)
                .find(|tag| !used.contains(tag))
                .ok_or_else(|| Error::Usage(format!("target {target} has a TPG of every tag")))?
        }
    };
    context.change(&[delta::create_tpg(&target, tag)])
}

fn delete(
    context: &mut Context<'_, '_>,
    target: &Name,
    tag: Option<u16>,
    force: bool,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, target, tag)?;
    let logged_in = configfs.logged_in(&target, tag)?;
    refuse_if_live(&Object::Tpg(target.clone(), tag), &logged_in, force)?;
    let tpg = configfs.brief().tpg(&target, tag)?;
    context.change(&delta::remove_tpg_tree(&target, tag, &tpg))
}

fn switch(
    context: &mut Context<'_, '_>,
    target: &Name,
    tag: Option<u16>,
    on: bool,
    force: bool,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, target, tag)?;
    if !on {
        let logged_in = configfs.logged_in(&target, tag)?;
        refuse_if_live(&Object::Tpg(target.clone(), tag), &logged_in, force)?;
    }
    let listens = !configfs.portals(&target, tag)?.is_empty();
    context.change(&[delta::switch_tpg(&target, tag, on)])?;
    if on && !listens && !context.mode.json && !context.mode.dry_run {
        context.say(&format!(
            "it listens nowhere yet: `ferritectl portal create {target} ADDRESS --tpg {tag}`"
        ))?;
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>, target: &Option<Name>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for target in targets(&configfs, target)? {
        for tag in configfs.tags(&target)? {
            views.push(View {
                tpg: tag,
                enabled: configfs.tpg_enabled(&target, tag)?,
                portals: configfs.portals(&target, tag)?.len(),
                luns: configfs.lun_numbers(&target, tag)?.len(),
                acls: configfs.initiators(&target, tag)?.len(),
                sessions: super::session::of_tpg(&configfs, &target, tag)?.len(),
                target: target.clone(),
            });
        }
    }
    let header = [
        "TARGET", "TPG", "ENABLED", "PORTALS", "LUNS", "ACLS", "SESSIONS",
    ];
    context.list(&views, &header, Some(0), |view| {
        vec![
            view.target.to_string(),
            view.tpg.to_string(),
            if view.enabled { "yes" } else { "no" }.to_string(),
            view.portals.to_string(),
            view.luns.to_string(),
            view.acls.to_string(),
            view.sessions.to_string(),
        ]
    })
}

fn show(context: &mut Context<'_, '_>, target: &Name, tag: Option<u16>) -> Result<()> {
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, target, tag)?;
    let dir = layout::tpg(&target, tag);
    let attributes = configfs.readings(&dir.join("attrib"))?;
    let parameters = configfs.readings(&dir.join("param"))?;
    let rtpi = configfs.rtpi(&target, tag);
    let node = super::status::tpg(context, &target, tag)?;
    if context.mode.json {
        return context.json(&serde_json::json!({
            "target": target,
            "tpg": node.view,
            "rtpi": rtpi,
            "attributes": attributes,
            "parameters": parameters,
        }));
    }
    context.say(&target.to_string())?;
    context.print(&node.tree.render(context.env.style))?;
    if let Some(rtpi) = rtpi {
        context.say(&format!("relative target port identifier: {rtpi}"))?;
    }
    super::backstore::section(context, "attributes", &attributes)?;
    super::backstore::section(context, "parameters", &parameters)
}

fn keys(context: &Context<'_, '_>, args: &TpgArgs, dirs: &[&str]) -> Result<Keys> {
    let (target, tag) = find_tpg(&context.configfs(), &args.target, args.tpg)?;
    let dir = layout::tpg(&target, tag);
    let files = if dirs.contains(&"attrib") {
        vec![(dir.join("rtpi"), Clear::Empty)]
    } else {
        Vec::new()
    };
    Ok(Keys {
        object: Object::Tpg(target, tag),
        dirs: dirs.iter().map(|name| dir.join(name)).collect(),
        files,
    })
}

/// Prints attributes out of some directories of a portal group.
pub fn get(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    key: &[String],
    dirs: &[&str],
) -> Result<()> {
    keys(context, args, dirs)?.get(context, key)
}

/// Sets attributes in some directories of a portal group.
pub fn set(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    set: &[Assignment],
    dirs: &[&str],
) -> Result<()> {
    keys(context, args, dirs)?.set(context, set)
}
