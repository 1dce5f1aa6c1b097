// SPDX-License-Identifier: GPL-2.0

//! `ferritectl alua …`

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::AluaCommand;
use crate::cli::Assignment;
use crate::cli::LunArgs;
use crate::cmd::find_backstore;
use crate::cmd::find_lun;
use crate::cmd::find_tpg;
use crate::cmd::listed;
use crate::cmd::Keys;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::layout;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::state::Attributes;
use crate::state::Lun;
use crate::state::TargetPortGroup;
use crate::state::DEFAULT_GROUP;

/// An asymmetric access state (SPC-4 section 5.15.2.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AccessState {
    /// Everything works
    #[value(alias = "active", alias = "0")]
    Optimized,
    /// Everything works, and initiators had better use another way
    #[value(name = "nonoptimized", alias = "non-optimized", alias = "1")]
    NonOptimized,
    /// What does not touch the medium works
    #[value(alias = "2")]
    Standby,
    /// Only questions about ways and states are answered
    #[value(alias = "3")]
    Unavailable,
    /// What the backstore's lba_map says of each block
    #[value(alias = "4")]
    LbaDependent,
    /// As unavailable, until an administrator says otherwise
    #[value(alias = "14")]
    Offline,
    /// On the way to another state
    #[value(alias = "15")]
    Transitioning,
}

impl AccessState {
    /// What the attribute `alua_access_state` has.
    pub const fn code(self) -> u8 {
        match self {
            AccessState::Optimized => 0,
            AccessState::NonOptimized => 1,
            AccessState::Standby => 2,
            AccessState::Unavailable => 3,
            AccessState::LbaDependent => 4,
            AccessState::Offline => 14,
            AccessState::Transitioning => 15,
        }
    }

    /// The word for a value of the attribute; an unknown value stays as it is.
    fn word(code: &str) -> String {
        Self::value_variants()
            .iter()
            .find(|state| state.code().to_string() == code)
            .and_then(|state| Some(state.to_possible_value()?.get_name().to_string()))
            .unwrap_or_else(|| code.to_string())
    }
}

/// A target port group as it is shown.
#[derive(Debug, Serialize)]
struct View {
    backstore: BackstoreId,
    group: String,
    id: Option<u16>,
    state: String,
    /// Who may change the state: `implicit` is the target, `explicit` are initiators.
    access: &'static str,
    /// What changed it last.
    status: &'static str,
    preferred: bool,
    members: Vec<String>,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: AluaCommand) -> Result<()> {
    match command {
        AluaCommand::List { backstore } => list(context, backstore.as_deref()),
        AluaCommand::Show { backstore, group } => show(context, &backstore, &group),
        AluaCommand::Create {
            backstore,
            group,
            id,
            state,
            set,
        } => create(context, &backstore, &group, id, state, set),
        AluaCommand::Delete { backstore, group } => delete(context, &backstore, &group),
        AluaCommand::Get {
            backstore,
            group,
            key,
        } => keys(context, &backstore, &group)?.get(context, &key),
        AluaCommand::Set {
            backstore,
            group,
            set,
        } => keys(context, &backstore, &group)?.set(context, &set),
        AluaCommand::State {
            backstore,
            group,
            state,
        } => {
            let set = Assignment {
                key: "alua_access_state".into(),
                value: state.code().to_string(),
            };
            keys(context, &backstore, &group)?.set(context, &[set])
        }
        AluaCommand::Join { lun, group } => place(context, &lun, |configfs, lun| {
            let group = find_group(configfs, &lun.backstore, &group)?;
            lun.group = Some(group).filter(|group| group != DEFAULT_GROUP);
            Ok(())
        }),
        AluaCommand::Leave { lun } => place(context, &lun, |_, lun| {
            lun.group = None;
            Ok(())
        }),
        AluaCommand::Offline { lun } => place(context, &lun, |_, lun| {
            lun.offline = true;
            Ok(())
        }),
        AluaCommand::Online { lun } => place(context, &lun, |_, lun| {
            lun.offline = false;
            Ok(())
        }),
    }
}

/// The existing target port group of a name.
pub fn find_group(configfs: &Configfs<'_>, id: &BackstoreId, name: &str) -> Result<String> {
    let names = configfs.group_names(id)?;
    if names.iter().any(|other| other == name) {
        return Ok(name.to_string());
    }
    Err(Error::not_found(
        Object::Group(id.clone(), name.to_string()).to_string(),
        listed("target port group", &names),
    ))
}

/// The lowest identifier that no group of a backstore has; 0 is the default group's.
pub fn free_id(configfs: &Configfs<'_>, id: &BackstoreId) -> Result<u16> {
    let mut used = Vec::new();
    for name in configfs.group_names(id)? {
        used.extend(configfs.group(id, &name)?.id);
    }
    (1..=u16::MAX)
        .find(|number| !used.contains(number))
        .ok_or_else(|| Error::Usage("every identifier from 1 to 65535 is in use".into()))
}

fn create(
    context: &mut Context<'_, '_>,
    backstore: &str,
    name: &str,
    number: Option<u16>,
    state: Option<AccessState>,
    set: Vec<Assignment>,
) -> Result<()> {
    context.lock()?;
    names::check_group_name(name)?;
    let configfs = context.configfs();
    let id = find_backstore(&configfs, backstore)?;
    if configfs.exists(&layout::group(&id, name))? {
        return Err(Error::Exists {
            object: Object::Group(id, name.into()).to_string(),
            hint: None,
        });
    }
    let number = match number {
        Some(number) => number,
        None => free_id(&configfs, &id)?,
    };
    let mut attributes: Attributes =
        Attributes(set.into_iter().map(|set| (set.key, set.value)).collect());
    if let Some(state) = state {
        let value = state.code().to_string();
        attributes.0.insert("alua_access_state".into(), value);
    }
    let group = TargetPortGroup {
        id: Some(number),
        attributes,
    };
    let mut delta = delta::create_group(&id, name, &group);
    delta.require_all();
    delta.detail = format!("identifier {number}");
    context.change(&[delta])
}

fn delete(context: &mut Context<'_, '_>, backstore: &str, name: &str) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let id = find_backstore(&configfs, backstore)?;
    let name = find_group(&configfs, &id, name)?;
    if name == DEFAULT_GROUP {
        return Err(Error::Usage(format!(
            "every backstore has the target port group {DEFAULT_GROUP}"
        )));
    }
    context.change(&[delta::remove_group(&id, &name)])
}

/// Changes the place of a LUN that exists.
fn place(
    context: &mut Context<'_, '_>,
    args: &LunArgs,
    change: impl FnOnce(&Configfs<'_>, &mut Lun) -> Result<()>,
) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let (target, tag) = find_tpg(&configfs, &args.tpg.target, args.tpg.tpg)?;
    let delta = moved(&configfs, &target, tag, args.lun, change)?;
    context.change(&[delta])
}

/// How to change the place of a LUN.
pub fn moved(
    configfs: &Configfs<'_>,
    target: &Name,
    tag: u16,
    number: u64,
    change: impl FnOnce(&Configfs<'_>, &mut Lun) -> Result<()>,
) -> Result<delta::Delta> {
    find_lun(configfs, target, tag, number)?;
    let Some(have) = configfs.lun(target, tag, number)? else {
        let object = Object::Lun(target.clone(), tag, number);
        return Err(Error::not_found(format!("backstore of {object}"), ""));
    };
    let mut want = have.clone();
    change(configfs, &mut want)?;
    Ok(delta::modify_lun(target, tag, number, &have, &want))
}

fn view(configfs: &Configfs<'_>, id: &BackstoreId, name: &str) -> Result<View> {
    let readings = configfs.readings(&layout::group(id, name))?;
    let value = |key: &str| readings.get(key).unwrap_or_default();
    Ok(View {
        backstore: id.clone(),
        group: name.to_string(),
        id: value("tg_pt_gp_id").parse().ok(),
        state: AccessState::word(value("alua_access_state")),
        access: match value("alua_access_type") {
            "1" => "implicit",
            "2" => "explicit",
            "3" => "both",
            _ => "none",
        },
        status: match value("alua_access_status") {
            "1" => "set by an initiator",
            "2" => "set by the target",
            _ => "as it was made",
        },
        preferred: value("preferred") == "1",
        members: value("members").lines().map(str::to_string).collect(),
    })
}

fn list(context: &mut Context<'_, '_>, backstore: Option<&str>) -> Result<()> {
    let configfs = context.configfs();
    let ids = match backstore {
        Some(name) => vec![find_backstore(&configfs, name)?],
        None => configfs.backstore_ids()?,
    };
    let mut views = Vec::new();
    for id in &ids {
        for name in configfs.group_names(id)? {
            views.push(view(&configfs, id, &name)?);
        }
    }
    let header = ["BACKSTORE", "GROUP", "ID", "STATE", "ACCESS", "LUNS"];
    context.list(&views, &header, Some(0), |view| {
        vec![
            view.backstore.to_string(),
            view.group.clone(),
            view.id.map_or("-".to_string(), |id| id.to_string()),
            view.state.clone(),
            view.access.to_string(),
            view.members.len().to_string(),
        ]
    })
}

fn show(context: &mut Context<'_, '_>, backstore: &str, name: &str) -> Result<()> {
    let configfs = context.configfs();
    let id = find_backstore(&configfs, backstore)?;
    let name = find_group(&configfs, &id, name)?;
    let view = view(&configfs, &id, &name)?;
    let mut attributes = configfs.readings(&layout::group(&id, &name))?;
    attributes.0.remove("members");
    if context.mode.json {
        return context.json(&serde_json::json!({ "group": view, "attributes": attributes }));
    }
    context.say(&Object::Group(id, name).to_string())?;
    context.say(&format!("  state: {}, {}", view.state, view.status))?;
    context.say(&format!("  LUNs: {}", view.members.len()))?;
    for member in &view.members {
        context.say(&format!("    {member}"))?;
    }
    super::backstore::section(context, "attributes", &attributes)
}

/// The attributes of a target port group.
pub fn keys(context: &Context<'_, '_>, backstore: &str, name: &str) -> Result<Keys> {
    let configfs = context.configfs();
    let id = find_backstore(&configfs, backstore)?;
    let name = find_group(&configfs, &id, name)?;
    Ok(Keys {
        dirs: vec![layout::group(&id, &name)],
        object: Object::Group(id, name),
        files: Vec::new(),
    })
}
