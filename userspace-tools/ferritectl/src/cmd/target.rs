// SPDX-License-Identifier: GPL-2.0

//! `ferritectl target …`

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::TargetCommand;
use crate::cmd::find_target;
use crate::cmd::refuse_if_live;
use crate::context::Context;
use crate::delta;
use crate::delta::Object;
use crate::error::Result;
use crate::names::Name;
use crate::state::Attributes;
use crate::state::Target;
use crate::state::Tpg;

/// A target as it is listed.
#[derive(Debug, Serialize)]
struct View {
    target: Name,
    tpgs: Vec<u16>,
    enabled: Vec<u16>,
    luns: usize,
    acls: usize,
    portals: usize,
    sessions: usize,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: TargetCommand) -> Result<()> {
    match command {
        TargetCommand::Create {
            target,
            tpg,
            alias,
            no_tpg,
        } => create(context, &target, (!no_tpg).then_some(tpg), alias),
        TargetCommand::Delete { target, force } => delete(context, &target, force),
        TargetCommand::List => list(context),
        TargetCommand::Show { target } => {
            let target = find_target(&context.configfs(), &target)?;
            super::status::show_targets(context, &[target])
        }
    }
}

fn create(
    context: &mut Context<'_, '_>,
    name: &Name,
    tag: Option<u16>,
    alias: Option<String>,
) -> Result<()> {
    context.lock()?;
    if let Some(alias) = &alias {
        crate::names::check_attribute_value("TargetAlias", alias)?;
    }
    let mut deltas = vec![delta::create_target(name, &Target::default())];
    if let Some(tag) = tag {
        deltas.push(delta::create_tpg(name, tag));
        if let Some(alias) = alias {
            let wanted = Tpg {
                parameters: Attributes(BTreeMap::from([("TargetAlias".into(), alias)])),
                ..Tpg::default()
            };
            let mut settings = delta::modify_tpg(name, tag, &Tpg::default(), &wanted);
            settings.require_all();
            deltas.push(settings);
        }
    }
    context.change(&deltas)
}

fn delete(context: &mut Context<'_, '_>, name: &Name, force: bool) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let name = find_target(&configfs, name)?;
    let mut logged_in = Vec::new();
    for tag in configfs.tags(&name)? {
        logged_in.extend(configfs.logged_in(&name, tag)?);
    }
    refuse_if_live(&Object::Target(name.clone()), &logged_in, force)?;
    let target = configfs.brief().target(&name)?;
    context.change(&delta::remove_target_tree(&name, &target))
}

fn list(context: &mut Context<'_, '_>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for target in configfs.target_names()? {
        let tpgs = configfs.tags(&target)?;
        let mut view = View {
            target: target.clone(),
            tpgs: tpgs.clone(),
            enabled: Vec::new(),
            luns: 0,
            acls: 0,
            portals: 0,
            sessions: 0,
        };
        for tag in tpgs {
            if configfs.tpg_enabled(&target, tag)? {
                view.enabled.push(tag);
            }
            view.luns += configfs.lun_numbers(&target, tag)?.len();
            view.acls += configfs.initiators(&target, tag)?.len();
            view.portals += configfs.portals(&target, tag)?.len();
            view.sessions += super::session::of_tpg(&configfs, &target, tag)?.len();
        }
        views.push(view);
    }
    let header = ["TARGET", "TPGS", "PORTALS", "LUNS", "ACLS", "SESSIONS"];
    context.list(&views, &header, None, |view| {
        let tags: Vec<String> = view
            .tpgs
            .iter()
            .map(|tag| {
                let off = if view.enabled.contains(tag) {
                    ""
                } else {
                    " (off)"
                };
                format!("{tag}{off}")
            })
            .collect();
        vec![
            view.target.to_string(),
            tags.join(", "),
            view.portals.to_string(),
            view.luns.to_string(),
            view.acls.to_string(),
            view.sessions.to_string(),
        ]
    })
}
