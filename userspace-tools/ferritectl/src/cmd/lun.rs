// SPDX-License-Identifier: GPL-2.0

//! `ferritectl lun …`

use serde::Serialize;

use crate::cli::LunArgs;
use crate::cli::LunCommand;
use crate::cli::TpgArgs;
use crate::cmd::find_backstore;
use crate::cmd::find_lun;
use crate::cmd::find_tpg;
use crate::cmd::refuse_if_live;
use crate::cmd::targets;
use crate::cmd::Keys;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::delta;
use crate::delta::Delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::layout;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::MAX_LUN;
use crate::output;
use crate::state::Lun;
use crate::state::MappedLun;

/// A LUN as it is listed.
#[derive(Debug, Serialize)]
struct View {
    target: Name,
    tpg: u16,
    lun: u64,
    backstore: Option<BackstoreId>,
    path: String,
    size: Option<u64>,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: LunCommand) -> Result<()> {
    match command {
        LunCommand::Create {
            tpg,
            backstore,
            lun,
            link,
            map_all,
        } => create(context, &tpg, &backstore, lun, link, map_all),
        LunCommand::Delete { tpg, lun, force } => delete(context, &tpg, lun, force),
        LunCommand::List { target } => list(context, &target),
        LunCommand::Get { lun, key } => keys(context, &lun)?.get(context, &key),
        LunCommand::Set { lun, set } => keys(context, &lun)?.set(context, &set),
    }
}

fn keys(context: &Context<'_, '_>, args: &LunArgs) -> Result<Keys> {
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.tpg.target, args.tpg.tpg)?;
    find_lun(&configfs, &target, tag, args.lun)?;
    Ok(Keys {
        dirs: vec![layout::lun(&target, tag, args.lun).join("attrib")],
        object: Object::Lun(target, tag, args.lun),
        files: Vec::new(),
    })
}

fn create(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    backstore: &str,
    number: Option<u64>,
    link: Option<String>,
    map_all: bool,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    let backstore = find_backstore(&configfs, backstore)?;
    let used = configfs.lun_numbers(&target, tag)?;
    let number = match number {
        Some(number) => number,
        None => (0..=MAX_LUN)
            .find(|number| !used.contains(number))
            .ok_or_else(|| Error::Usage("every LUN from 0 to 16383 is in use".into()))?,
    };
    let lun = Lun::new(backstore, link);
    let mut deltas = vec![delta::create_lun(&target, tag, number, &lun)];
    if map_all {
        let write_protect = protected_by_default(&configfs, &target, tag)?;
        for initiator in configfs.initiators(&target, tag)? {
            let mapped = MappedLun {
                lun: number,
                write_protect,
                link: None,
            };
            deltas.push(delta::map_lun(&target, tag, &initiator, number, &mapped));
        }
    }
    context.change(&deltas)
}

/// New mappings are read-only, as far as the portal group is concerned.
pub fn protected_by_default(configfs: &Configfs<'_>, target: &Name, tag: u16) -> Result<bool> {
    let path = layout::tpg(target, tag).join("attrib/prod_mode_write_protect");
    Ok(configfs.value(&path)?.as_deref() == Some("1"))
}

fn delete(context: &mut Context<'_, '_>, args: &TpgArgs, number: u64, force: bool) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.target, args.tpg)?;
    find_lun(&configfs, &target, tag, number)?;
    // Initiators without an ACL see all LUNs, the others those that are mapped.
    let mut logged_in = configfs.dynamic_sessions(&target, tag)?;
    for (initiator, _, _) in mappings(&configfs, &target, tag, number)? {
        if !configfs.sessions(&target, tag, &initiator)?.is_empty() {
            logged_in.push(initiator);
        }
    }
    let object = Object::Lun(target.clone(), tag, number);
    refuse_if_live(&object, &logged_in, force)?;
    context.change(&removal(&configfs, &target, tag, number)?)
}

/// Who sees a LUN: the initiator, the number that it sees, the name of the link.
fn mappings(
    configfs: &Configfs<'_>,
    target: &Name,
    tag: u16,
    number: u64,
) -> Result<Vec<(Name, u64, Option<String>)>> {
    let mut mappings = Vec::new();
    for initiator in configfs.initiators(target, tag)? {
        for mapped in configfs.mapped_numbers(target, tag, &initiator)? {
            if let Some(lun) = configfs.mapped_lun(target, tag, &initiator, mapped)? {
                if lun.lun == number {
                    mappings.push((initiator.clone(), mapped, lun.link));
                }
            }
        }
    }
    Ok(mappings)
}

/// How to remove a LUN and its mappings.
pub fn removal(
    configfs: &Configfs<'_>,
    target: &Name,
    tag: u16,
    number: u64,
) -> Result<Vec<Delta>> {
    let mut deltas = Vec::new();
    for (initiator, mapped, link) in mappings(configfs, target, tag, number)? {
        deltas.push(delta::unmap_lun(
            target,
            tag,
            &initiator,
            mapped,
            link.as_deref(),
        ));
    }
    let link = configfs.lun_link(target, tag, number)?;
    deltas.push(delta::remove_lun(target, tag, number, link.as_deref()));
    Ok(deltas)
}

fn list(context: &mut Context<'_, '_>, target: &Option<Name>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for target in targets(&configfs, target)? {
        for tpg in configfs.tags(&target)? {
            for number in configfs.lun_numbers(&target, tpg)? {
                let lun = configfs.lun(&target, tpg, number)?;
                let mut view = View {
                    target: target.clone(),
                    tpg,
                    lun: number,
                    backstore: None,
                    path: String::new(),
                    size: None,
                };
                if let Some(lun) = lun {
                    let backstore = super::backstore::view(context, &lun.backstore)?;
                    view.path = backstore.path;
                    view.size = backstore.size;
                    view.backstore = Some(lun.backstore);
                }
                views.push(view);
            }
        }
    }
    let header = ["TARGET", "TPG", "LUN", "BACKSTORE", "DEVICE", "SIZE"];
    context.list(&views, &header, Some(0), |view| {
        vec![
            view.target.to_string(),
            view.tpg.to_string(),
            view.lun.to_string(),
            view.backstore
                .as_ref()
                .map_or("-".to_string(), |id| id.to_string()),
            view.path.clone(),
            view.size.map(output::size).unwrap_or_default(),
        ]
    })
}
