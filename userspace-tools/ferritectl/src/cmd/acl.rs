// SPDX-License-Identifier: GPL-2.0

//! `ferritectl acl …`

use serde::Serialize;

use crate::cli::AclCommand;
use crate::cli::TpgArgs;
use crate::cmd::find_acl;
use crate::cmd::find_lun;
use crate::cmd::find_tpg;
use crate::cmd::listed;
use crate::cmd::lun::protected_by_default;
use crate::cmd::refuse_if_live;
use crate::cmd::targets;
use crate::cmd::Clear;
use crate::cmd::Keys;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::layout;
use crate::names::Name;
use crate::state::Acl;
use crate::state::MappedLun;

/// An ACL as it is listed.
#[derive(Debug, Serialize)]
struct View {
    initiator: Name,
    target: Name,
    tpg: u16,
    user: Option<String>,
    mutual_user: Option<String>,
    mapped_luns: usize,
    sessions: usize,
}

/// The attribute that says who is in a host group.
const MEMBERS: &str = "members";

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: AclCommand) -> Result<()> {
    match command {
        AclCommand::Create {
            tpg,
            initiator,
            member,
            map,
            map_all,
            read_only,
        } => {
            if !member.is_empty() && !initiator.is_group() {
                return Err(Error::Usage(format!(
                    "only a host group has members, and {initiator} is an initiator; \
                     the name of a group begins with @"
                )));
            }
            create(context, &tpg, &initiator, &member, map, map_all, read_only)
        }
        AclCommand::Delete {
            tpg,
            initiator,
            force,
        } => delete(context, &tpg, &initiator, force),
        AclCommand::List { target } => list(context, &target),
        AclCommand::Show { tpg, initiator } => show(context, &tpg, &initiator),
        AclCommand::Map {
            tpg,
            initiator,
            lun,
            mapped,
            read_only,
            read_write,
        } => {
            let protect = match (read_only, read_write) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            };
            map(
                context,
                &tpg,
                &initiator,
                lun,
                mapped.unwrap_or(lun),
                protect,
            )
        }
        AclCommand::Unmap {
            tpg,
            initiator,
            mapped,
            force,
        } => unmap(context, &tpg, &initiator, mapped, force),
        AclCommand::Get {
            tpg,
            initiator,
            key,
        } => keys(context, &tpg, &initiator)?.get(context, &key),
        AclCommand::Set {
            tpg,
            initiator,
            set,
        } => keys(context, &tpg, &initiator)?.set(context, &set),
    }
}

fn create(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    initiator: &Name,
    members: &[String],
    map: Vec<u64>,
    map_all: bool,
    read_only: bool,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    let write_protect = read_only || protected_by_default(&configfs, &target, tag)?;
    let mut map = match map_all {
        true => configfs.lun_numbers(&target, tag)?,
        false => {
            for number in &map {
                find_lun(&configfs, &target, tag, *number)?;
            }
            map
        }
    };
    map.sort_unstable();
    map.dedup();
    let mut acl = Acl::default();
    if !members.is_empty() {
        let members = members.join(" ");
        acl.attributes.0.insert(MEMBERS.to_string(), members);
    }
    let mut deltas = vec![delta::create_acl(&target, tag, initiator, &acl)];
    for number in &map {
        let lun = MappedLun {
            lun: *number,
            write_protect,
            link: None,
        };
        deltas.push(delta::map_lun(&target, tag, initiator, *number, &lun));
    }
    context.change(&deltas)?;
    if initiator.is_group() && members.is_empty() && !context.mode.json && !context.mode.dry_run {
        context.say(&format!(
            "it has no members yet: `ferritectl acl set {target} {initiator} members=NAME`"
        ))?;
    }
    if map.is_empty() && !context.mode.json && !context.mode.dry_run {
        context.say(&format!(
            "it sees no LUN yet: `ferritectl acl map {target} {initiator} LUN`"
        ))?;
    }
    Ok(())
}

fn delete(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    initiator: &Name,
    force: bool,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    let initiator = find_acl(&configfs, &target, tag, initiator)?;
    let object = Object::Acl(target.clone(), tag, initiator.clone());
    refuse_if_live(&object, &live(&configfs, &target, tag, &initiator)?, force)?;
    let acl = configfs.brief().acl(&target, tag, &initiator)?;
    context.change(&delta::remove_acl_tree(&target, tag, &initiator, &acl))
}

/// The initiator, if it is logged in.
fn live(configfs: &Configfs<'_>, target: &Name, tag: u16, initiator: &Name) -> Result<Vec<Name>> {
    if configfs.sessions(target, tag, initiator)?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![initiator.clone()])
}

fn map(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    initiator: &Name,
    number: u64,
    mapped: u64,
    protect: Option<bool>,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    let initiator = find_acl(&configfs, &target, tag, initiator)?;
    if let Some(existing) = configfs.mapped_lun(&target, tag, &initiator, mapped)? {
        if existing.lun != number {
            return Err(Error::Exists {
                object: Object::MappedLun(target, tag, initiator, mapped).to_string(),
                hint: Some(format!(
                    "it shows LUN {}; unmap it first, or choose another number with --as",
                    existing.lun
                )),
            });
        }
        let protect = protect.unwrap_or(existing.write_protect);
        let delta = delta::protect_lun(&target, tag, &initiator, mapped, protect);
        return context.change(&[delta]);
    }
    find_lun(&configfs, &target, tag, number)?;
    let write_protect = match protect {
        Some(protect) => protect,
        None => protected_by_default(&configfs, &target, tag)?,
    };
    let lun = MappedLun {
        lun: number,
        write_protect,
        link: None,
    };
    context.change(&[delta::map_lun(&target, tag, &initiator, mapped, &lun)])
}

fn unmap(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    initiator: &Name,
    mapped: u64,
    force: bool,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    let initiator = find_acl(&configfs, &target, tag, initiator)?;
    let object = Object::MappedLun(target.clone(), tag, initiator.clone(), mapped);
    let numbers = configfs.mapped_numbers(&target, tag, &initiator)?;
    if !numbers.contains(&mapped) {
        return Err(Error::not_found(
            object.to_string(),
            listed("mapped LUN", &numbers),
        ));
    }
    refuse_if_live(&object, &live(&configfs, &target, tag, &initiator)?, force)?;
    let lun = configfs.mapped_lun(&target, tag, &initiator, mapped)?;
    let link = lun.and_then(|lun| lun.link);
    context.change(&[delta::unmap_lun(
        &target,
        tag,
        &initiator,
        mapped,
        link.as_deref(),
    )])
}

fn list(context: &mut Context<'_, '_>, target: &Option<Name>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for target in targets(&configfs, target)? {
        for tpg in configfs.tags(&target)? {
            let sessions = super::session::by_acl(&configfs, &target, tpg)?;
            for initiator in configfs.initiators(&target, tpg)? {
                let auth = configfs.auth(&layout::acl(&target, tpg, &initiator).join("auth"));
                views.push(View {
                    target: target.clone(),
                    tpg,
                    user: auth.initiator.user,
                    mutual_user: auth.target.user,
                    mapped_luns: configfs.mapped_numbers(&target, tpg, &initiator)?.len(),
                    sessions: sessions.get(&Some(initiator.clone())).map_or(0, Vec::len),
                    initiator,
                });
            }
        }
    }
    let header = ["INITIATOR", "TARGET", "TPG", "USER", "LUNS", "SESSIONS"];
    context.list(&views, &header, Some(1), |view| {
        vec![
            view.initiator.to_string(),
            view.target.to_string(),
            view.tpg.to_string(),
            view.user.clone().unwrap_or_else(|| "-".into()),
            view.mapped_luns.to_string(),
            view.sessions.to_string(),
        ]
    })
}

fn show(context: &mut Context<'_, '_>, args: &TpgArgs, initiator: &Name) -> Result<()> {
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    let initiator = find_acl(&configfs, &target, tag, initiator)?;
    let attributes = keys_of(&target, tag, &initiator).all(&configfs)?;
    let node = super::status::acl(context, &target, tag, &initiator)?;
    if context.mode.json {
        return context.json(&serde_json::json!({
            "target": target,
            "tpg": tag,
            "acl": node.view,
            "attributes": attributes,
        }));
    }
    context.say(&format!("TPG {tag} of {target}"))?;
    context.print(&node.tree.render(context.env.style))?;
    super::backstore::section(context, "attributes", &attributes)
}

fn keys(context: &Context<'_, '_>, args: &TpgArgs, initiator: &Name) -> Result<Keys> {
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    let initiator = find_acl(&configfs, &target, tag, initiator)?;
    Ok(keys_of(&target, tag, &initiator))
}

fn keys_of(target: &Name, tag: u16, initiator: &Name) -> Keys {
    let dir = layout::acl(target, tag, initiator);
    Keys {
        object: Object::Acl(target.clone(), tag, initiator.clone()),
        dirs: vec![dir.join("attrib")],
        files: vec![
            (dir.join("cmdsn_depth"), Clear::Empty),
            (dir.join("tag"), Clear::Null),
        ],
    }
}
