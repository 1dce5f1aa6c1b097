// SPDX-License-Identifier: GPL-2.0

//! `tcm_node`: storage objects.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use crate::cmd::alua;
use crate::cmd::backstore;
use crate::cmd::reservation;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::context::Env;
use crate::delta;
use crate::delta::Delta;
use crate::delta::Object;
use crate::delta::Value;
use crate::error::Error;
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::files;
use crate::layout;
use crate::lio_utils::exists;
use crate::lio_utils::refused;
use crate::lio_utils::word;
use crate::lio_utils::Verb;
use crate::names;
use crate::names::BackstoreId;
use crate::state::Attributes;
use crate::state::Backstore;
use crate::state::TargetPortGroup;

/// Runs a command line.
pub fn run(arguments: &[OsString], env: &mut Env<'_>) -> ExitCode {
    super::run("tcm_node", VERBS, arguments, env)
}

/// Every verb.
pub const VERBS: &[Verb] = &[
    Verb {
        names: &["addlungp"],
        arguments: "GROUP",
        help: "not supported",
        action: lu_groups,
    },
    Verb {
        names: &["addtgptgp", "addaluatpg"],
        arguments: "HBA/DEV GROUP",
        help: "make a target port group",
        action: |context, words| add_group(context, words, None),
    },
    Verb {
        names: &["addtgptgpwithmd", "addaluatpgwithmd"],
        arguments: "HBA/DEV GROUP ID",
        help: "make a target port group with an identifier, unless there is saved metadata",
        action: add_group_with_metadata,
    },
    Verb {
        names: &["block", "iblock"],
        arguments: "HBA/DEV PATH",
        help: "open a block device under a new serial number",
        action: |context, words| create(context, words, true),
    },
    Verb {
        names: &["clearaluapref"],
        arguments: "HBA/DEV GROUP",
        help: "prefer a target port group no more",
        action: |context, words| set_group(context, words, "preferred", "0"),
    },
    Verb {
        names: &["createdev"],
        arguments: "HBA/DEV PATH",
        help: "open a block device under a new serial number",
        action: |context, words| create(context, words, true),
    },
    Verb {
        names: &["delhba"],
        arguments: "HBA",
        help: "close all devices of a host bus adapter and remove it",
        action: del_hba,
    },
    Verb {
        names: &["dellungp"],
        arguments: "GROUP",
        help: "not supported",
        action: lu_groups,
    },
    Verb {
        names: &["deltgptgp", "delaluatpg"],
        arguments: "HBA/DEV GROUP",
        help: "remove a target port group",
        action: del_group,
    },
    Verb {
        names: &["establishdev"],
        arguments: "HBA/DEV PATH",
        help: "open a block device without giving it a serial number",
        action: |context, words| create(context, words, false),
    },
    Verb {
        names: &["fileio"],
        arguments: "HBA/DEV FILE SIZE",
        help: "not supported",
        action: |_, _| refused("backstores of files; `losetup` makes a block device of a file"),
    },
    Verb {
        names: &["freedev"],
        arguments: "HBA/DEV",
        help: "close a block device",
        action: free,
    },
    Verb {
        names: &["listdevattr"],
        arguments: "HBA/DEV",
        help: "show a storage object's attributes",
        action: list_attributes,
    },
    Verb {
        names: &["listhbas"],
        arguments: "",
        help: "show all storage objects",
        action: list_hbas,
    },
    Verb {
        names: &["listlugps"],
        arguments: "",
        help: "not supported",
        action: lu_groups,
    },
    Verb {
        names: &["listtgptgp", "listaluatpg"],
        arguments: "HBA/DEV GROUP",
        help: "show a target port group's attributes",
        action: list_group,
    },
    Verb {
        names: &["listtgptgps", "listaluatpgs"],
        arguments: "HBA/DEV",
        help: "show the target port groups of a storage object",
        action: list_groups,
    },
    Verb {
        names: &["pr"],
        arguments: "HBA/DEV",
        help: "show persistent reservations",
        action: show_reservations,
    },
    Verb {
        names: &["praptpl"],
        arguments: "HBA/DEV",
        help: "not supported",
        action: aptpl,
    },
    Verb {
        names: &["prshowmd"],
        arguments: "HBA/DEV",
        help: "not supported",
        action: aptpl,
    },
    Verb {
        names: &["ramdisk"],
        arguments: "HBA/DEV PAGES",
        help: "not supported",
        action: |_, _| refused("backstores in memory; `modprobe brd` makes such block devices"),
    },
    Verb {
        names: &["scsi", "pscsi"],
        arguments: "HBA/DEV C:T:L",
        help: "not supported",
        action: |_, _| refused("SCSI pass-through; --block exports the disk's block device"),
    },
    Verb {
        names: &["scsibyudev", "pscsibyudev"],
        arguments: "HBA/DEV PATH",
        help: "not supported",
        action: |_, _| refused("SCSI pass-through; --block exports the disk's block device"),
    },
    Verb {
        names: &["setaluadelay"],
        arguments: "HBA/DEV GROUP MSECS",
        help: "set how long commands wait in active/non-optimized state",
        action: |context, words| set_group(context, words, "nonop_delay_msecs", word(words, 2)),
    },
    Verb {
        names: &["setaluapref"],
        arguments: "HBA/DEV GROUP",
        help: "prefer a target port group",
        action: |context, words| set_group(context, words, "preferred", "1"),
    },
    Verb {
        names: &["setaluastate"],
        arguments: "HBA/DEV GROUP STATE",
        help: "set the state of a target port group: o, a, s or u",
        action: set_group_state,
    },
    Verb {
        names: &["setaluatransdelay"],
        arguments: "HBA/DEV GROUP MSECS",
        help: "set how long a transition takes",
        action: |context, words| set_group(context, words, "trans_delay_msecs", word(words, 2)),
    },
    Verb {
        names: &["setaluatype"],
        arguments: "HBA/DEV GROUP TYPE",
        help: "set who may change the state: implicit, explicit, both or none",
        action: set_group_type,
    },
    Verb {
        names: &["setdevattr"],
        arguments: "HBA/DEV ATTRIBUTE VALUE",
        help: "set a storage object's attribute",
        action: set_attribute,
    },
    Verb {
        names: &["setlugp"],
        arguments: "HBA/DEV GROUP",
        help: "not supported",
        action: lu_groups,
    },
    Verb {
        names: &["setudevpath"],
        arguments: "HBA/DEV PATH",
        help: "set the path that a storage object is said to have",
        action: set_udev_path,
    },
    Verb {
        names: &["setunitserial"],
        arguments: "HBA/DEV SERIAL",
        help: "set a storage object's serial number",
        action: set_serial,
    },
    Verb {
        names: &["setunitserialwithmd"],
        arguments: "HBA/DEV SERIAL",
        help: "as --setunitserial, unless there are saved persistent reservations",
        action: set_serial_with_metadata,
    },
    Verb {
        names: &["udevpath"],
        arguments: "HBA/DEV",
        help: "show the path of a storage object's device",
        action: show_udev_path,
    },
    Verb {
        names: &["unload"],
        arguments: "",
        help: "close all devices and unload the module",
        action: unload,
    },
    Verb {
        names: &["version"],
        arguments: "",
        help: "show the version",
        action: version,
    },
    Verb {
        names: &["wwn"],
        arguments: "HBA/DEV",
        help: "show what identifies a storage object",
        action: show_wwn,
    },
];

/// Where saved states of target port groups would be.
const ALUA_DIR: &str = "/var/target/alua";
/// Where saved persistent reservations would be.
const APTPL_DIR: &str = "/var/target/pr";

fn lu_groups(_: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    refused("ALUA logical unit groups")
}

fn aptpl(_: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    Err(Error::Usage(
        "saved persistent reservations are read by the kernel itself; \
         `ferritectl reservation show` shows them"
            .into(),
    ))
}

/// The storage object in the first argument; other kinds than iblock are refused.
fn id(words: &[String]) -> Result<BackstoreId> {
    let text = word(words, 0);
    for kind in ["fileio_", "rd_mcp_", "rd_dr_", "pscsi_", "user_"] {
        if text.starts_with(kind) {
            return Err(Error::value(
                "storage object",
                text,
                "this target has block devices only: iblock_<number>/<name>",
            ));
        }
    }
    BackstoreId::parse(text)
}

/// As [`id`], of a storage object that exists.
fn existing(context: &Context<'_, '_>, words: &[String]) -> Result<BackstoreId> {
    let id = id(words)?;
    if !context.configfs().exists(&layout::backstore(&id))? {
        return Err(Error::not_found(Object::Backstore(id).to_string(), ""));
    }
    Ok(id)
}

fn create(context: &mut Context<'_, '_>, words: &[String], new_serial: bool) -> Result<()> {
    context.lock()?;
    let id = id(words)?;
    let path = word(words, 1);
    names::check_device_path(path)?;
    if context.configfs().exists(&layout::backstore(&id))? {
        return Err(exists(Object::Backstore(id)));
    }
    let mut wwn = BTreeMap::new();
    if new_serial {
        wwn.insert("vpd_unit_serial".into(), uuid::Uuid::new_v4().to_string());
    }
    let backstore = Backstore {
        path: path.to_string(),
        exclusive: true,
        enabled: true,
        wwn: Attributes(wwn),
        ..Backstore::default()
    };
    reservation::make_dir(context)?;
    context.change(&[delta::create_backstore(&id, &backstore)])
}

fn free(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let id = existing(context, words)?;
    let groups = context.configfs().group_names(&id)?;
    context.change(&[delta::close_backstore(&id, &groups)])
}

fn del_hba(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let hba = word(words, 0);
    let number = names::parse_hba(hba)
        .ok_or_else(|| Error::value("host bus adapter", hba, "iblock_<number> is expected"))?;
    let configfs = context.configfs();
    if !configfs.hba_numbers()?.contains(&number) {
        let object = format!("host bus adapter {hba}");
        return Err(Error::not_found(object, ""));
    }
    let ids: Vec<BackstoreId> = configfs
        .backstore_ids()?
        .into_iter()
        .filter(|id| id.hba == number)
        .collect();
    let mut deltas = close(&configfs, &ids)?;
    deltas.push(delta::remove_hba(number));
    context.change(&deltas)
}

fn close(configfs: &Configfs<'_>, ids: &[BackstoreId]) -> Result<Vec<Delta>> {
    ids.iter()
        .map(|id| Ok(delta::close_backstore(id, &configfs.group_names(id)?)))
        .collect()
}

fn add_group(context: &mut Context<'_, '_>, words: &[String], number: Option<u16>) -> Result<()> {
    context.lock()?;
    let id = existing(context, words)?;
    let name = word(words, 1);
    names::check_group_name(name)?;
    let configfs = context.configfs();
    if configfs.exists(&layout::group(&id, name))? {
        return Err(exists(Object::Group(id, name.into())));
    }
    let number = match number {
        Some(number) => number,
        None => alua::free_id(&configfs, &id)?,
    };
    let group = TargetPortGroup {
        id: Some(number),
        ..TargetPortGroup::default()
    };
    context.change(&[delta::create_group(&id, name, &group)])
}

fn add_group_with_metadata(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let number = word(words, 2);
    let rule = "a number from 1 to 65535 is needed";
    let parsed = number
        .parse()
        .ok()
        .filter(|number| *number != 0)
        .ok_or_else(|| Error::value("identifier", number, rule))?;
    let id = existing(context, words)?;
    names::check_group_name(word(words, 1))?;
    let serial = layout::backstore(&id).join("wwn/vpd_unit_serial");
    let text = context.configfs().value(&serial)?.unwrap_or_default();
    let serial = crate::configfs::shown(&serial, &text);
    let dir = PathBuf::from(format!("{ALUA_DIR}/tpgs_{serial}"));
    let file = dir.join(word(words, 1));
    // A serial number with a slash in it has no directory.
    if dir.parent() == Some(Path::new(ALUA_DIR)) && file.exists() {
        return Err(Error::Usage(format!(
            "{} holds a saved state, which this target cannot take over",
            file.display()
        )));
    }
    add_group(context, words, Some(parsed))
}

fn del_group(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let id = existing(context, words)?;
    let name = alua::find_group(&context.configfs(), &id, word(words, 1))?;
    context.change(&[delta::remove_group(&id, &name)])
}

fn set_group(context: &mut Context<'_, '_>, words: &[String], key: &str, to: &str) -> Result<()> {
    context.lock()?;
    let id = existing(context, words)?;
    let name = alua::find_group(&context.configfs(), &id, word(words, 1))?;
    names::check_attribute_value(key, to)?;
    let path = layout::group(&id, &name).join(key);
    let value = Value::Text(to.to_string());
    context.change(&[delta::assign(Object::Group(id, name), vec![(path, value)])])
}

fn set_group_state(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let word = word(words, 2);
    let code = match word.to_ascii_lowercase().as_str() {
        "o" => "0",
        "a" => "1",
        "s" => "2",
        "u" => "3",
        _ => {
            let rule = "o, a, s or u is needed: active/optimized, active/non-optimized, \
                        standby, unavailable";
            return Err(Error::value("access state", word, rule));
        }
    };
    set_group(context, words, "alua_access_state", code)
}

fn set_group_type(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let word = word(words, 2);
    let code = match word.to_ascii_lowercase().as_str() {
        "none" => "0",
        "implicit" => "1",
        "explicit" => "2",
        "both" => "3",
        _ => {
            let rule = "implicit, explicit, both or none is needed";
            return Err(Error::value("access type", word, rule));
        }
    };
    set_group(context, words, "alua_access_type", code)
}

fn list_group(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let id = existing(context, words)?;
    let configfs = context.configfs();
    let name = alua::find_group(&configfs, &id, word(words, 1))?;
    for (key, value) in configfs.readings(&layout::group(&id, &name))?.0 {
        let value = value.replace('\n', " ");
        context.say(&format!("{key}: {value}"))?;
    }
    Ok(())
}

fn list_groups(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let id = existing(context, words)?;
    for name in context.configfs().group_names(&id)? {
        let group = context.configfs().group(&id, &name)?;
        let number = group.id.map_or("-".to_string(), |id| id.to_string());
        context.say(&format!("{name}  {number}"))?;
    }
    Ok(())
}

fn set(context: &mut Context<'_, '_>, id: BackstoreId, name: &str, value: &str) -> Result<()> {
    let path = layout::backstore(&id).join(name);
    let value = Value::Text(value.to_string());
    context.change(&[delta::assign(Object::Backstore(id), vec![(path, value)])])
}

fn set_attribute(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let id = existing(context, words)?;
    let (name, value) = (word(words, 1), word(words, 2));
    names::check_attribute_name(name)?;
    names::check_attribute_value(name, value)?;
    set(context, id, &format!("attrib/{name}"), value)
}

fn set_udev_path(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let id = existing(context, words)?;
    names::check_device_path(word(words, 1))?;
    set(context, id, "udev_path", word(words, 1))
}

fn set_serial(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let id = existing(context, words)?;
    backstore::check_identity("serial number", word(words, 1), 253)?;
    set(context, id, "wwn/vpd_unit_serial", word(words, 1))
}

fn set_serial_with_metadata(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let serial = word(words, 1);
    backstore::check_identity("serial number", serial, 253)?;
    // A serial number with a slash in it has no file.
    let file = PathBuf::from(format!("{APTPL_DIR}/aptpl_{serial}"));
    if file.parent() == Some(Path::new(APTPL_DIR)) && file.exists() {
        return Err(Error::Usage(format!(
            "{} holds persistent reservations, which this target cannot take over",
            file.display()
        )));
    }
    set_serial(context, words)
}

fn show_udev_path(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let id = existing(context, words)?;
    let path = layout::backstore(&id).join("udev_path");
    let text = context.configfs().value(&path)?.unwrap_or_default();
    context.say(&text)
}

fn show_wwn(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let id = existing(context, words)?;
    show_values(context, &layout::backstore(&id).join("wwn"))
}

fn show_values(context: &mut Context<'_, '_>, dir: &Path) -> Result<()> {
    for (name, value) in context.configfs().readings(dir)?.0 {
        context.say(&format!("{name}: {value}"))?;
    }
    Ok(())
}

fn show_reservations(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let id = existing(context, words)?;
    let dir = layout::backstore(&id).join("pr");
    for (name, value) in context.configfs().readings(&dir)?.0 {
        if !value.is_empty() {
            context.say(&format!("{name}: {value}"))?;
        }
    }
    Ok(())
}

fn list_attributes(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let id = existing(context, words)?;
    show_values(context, &layout::backstore(&id).join("attrib"))
}

fn list_hbas(context: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    let ids = context.configfs().backstore_ids()?;
    for id in &ids {
        let view = backstore::view(context, id)?;
        context.say(&format!(
            "{id}  {}  {}  {}",
            view.path,
            view.size_text(),
            view.mode()
        ))?;
    }
    Ok(())
}

/// Shows the version of the module.
pub fn version(context: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    let configfs = context.configfs();
    let fabric = configfs.value(&layout::fabric().join("lio_version"))?;
    let core = configfs.value(Path::new("version"))?;
    match files::module_version(&context.env.sys) {
        Some(version) => context.say(&format!("ferrite {version}"))?,
        None => context.say("module ferrite is not loaded")?,
    }
    for line in [core, fabric].into_iter().flatten() {
        context.say(&line)?;
    }
    Ok(())
}

fn unload(context: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let ids = configfs.backstore_ids()?;
    let mut deltas = close(&configfs, &ids)?;
    deltas.extend(configfs.hba_numbers()?.into_iter().map(delta::remove_hba));
    context.change(&deltas)?;
    if files::module_version(&context.env.sys).is_none() {
        return context.say("module ferrite is not loaded");
    }
    context.unlock();
    let status = std::process::Command::new("modprobe")
        .args(["-r", "ferrite"])
        .status()
        .map_err(|error| Error::file("modprobe", error))?;
    if status.success() {
        return context.say("unloaded module ferrite");
    }
    Err(Error::Unavailable {
        reason: "module ferrite could not be unloaded".into(),
        hint: "`ferritectl status` shows what still holds it".into(),
    })
}
