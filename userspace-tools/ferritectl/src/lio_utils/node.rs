// SPDX-License-Identifier: GPL-2.0

//! `lio_node`: targets, portals, LUNs, ACLs.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cmd::alua;
use crate::cmd::find_acl;
use crate::cmd::find_lun;
use crate::cmd::find_target;
use crate::cmd::find_tpg;
use crate::cmd::lun;
use crate::cmd::portal;
use crate::cmd::session;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::context::Env;
use crate::delta;
use crate::delta::Object;
use crate::delta::Value;
use crate::error::Error;
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::layout;
use crate::lio_utils::exists;
use crate::lio_utils::missing_tpg;
use crate::lio_utils::refused;
use crate::lio_utils::word;
use crate::lio_utils::Verb;
use crate::names;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::output;
use crate::secret::Secret;
use crate::state::Acl;
use crate::state::Attributes;
use crate::state::Lun;
use crate::state::MappedLun;
use crate::state::DEFAULT_GROUP;

/// Runs a command line.
pub fn run(arguments: &[OsString], env: &mut Env<'_>) -> ExitCode {
    super::run("lio_node", VERBS, arguments, env)
}

/// Every verb.
pub const VERBS: &[Verb] = &[
    Verb {
        names: &["addlun"],
        arguments: "TARGET TPGT LUN NAME HBA/DEV",
        help: "make a LUN out of a storage object; NAME is the link's name",
        action: add_lun,
    },
    Verb {
        names: &["addlunacl"],
        arguments: "TARGET TPGT INITIATOR LUN MAPPED_LUN",
        help: "let an initiator see a LUN",
        action: add_lun_acl,
    },
    Verb {
        names: &["addnodeacl"],
        arguments: "TARGET TPGT INITIATOR",
        help: "let an initiator log in",
        action: add_node_acl,
    },
    Verb {
        names: &["addnp"],
        arguments: "TARGET TPGT ADDRESS[:PORT]",
        help: "listen at an address; makes the target too",
        action: add_np,
    },
    Verb {
        names: &["addtpg"],
        arguments: "TARGET TPGT",
        help: "make a portal group; makes the target too",
        action: add_tpg,
    },
    Verb {
        names: &["aluasecmd"],
        arguments: "TARGET TPGT LUN",
        help: "not supported",
        action: metadata,
    },
    Verb {
        names: &["cleartgptoff", "clearaluaoff"],
        arguments: "TARGET TPGT LUN",
        help: "let the state of its group count for a LUN again",
        action: |context, words| set_offline(context, words, false),
    },
    Verb {
        names: &["deliqn"],
        arguments: "TARGET",
        help: "remove a target and everything in it",
        action: del_iqn,
    },
    Verb {
        names: &["dellun"],
        arguments: "TARGET TPGT LUN",
        help: "remove a LUN and its mappings",
        action: del_lun,
    },
    Verb {
        names: &["dellunacl"],
        arguments: "TARGET TPGT INITIATOR MAPPED_LUN",
        help: "hide a LUN from an initiator",
        action: del_lun_acl,
    },
    Verb {
        names: &["delnodeacl"],
        arguments: "TARGET TPGT INITIATOR",
        help: "let an initiator log in no more",
        action: del_node_acl,
    },
    Verb {
        names: &["delnp"],
        arguments: "TARGET TPGT ADDRESS:PORT",
        help: "listen at an address no more",
        action: del_np,
    },
    Verb {
        names: &["deltpg"],
        arguments: "TARGET TPGT",
        help: "remove a portal group and everything in it",
        action: del_tpg,
    },
    Verb {
        names: &["demomode", "permissive"],
        arguments: "TARGET TPGT",
        help: "let initiators without an ACL log in",
        action: |context, words| set_attribute(context, words, "generate_node_acls", "1"),
    },
    Verb {
        names: &["disableauth"],
        arguments: "TARGET TPGT",
        help: "demand no authentication",
        action: |context, words| set_attribute(context, words, "authentication", "0"),
    },
    Verb {
        names: &["disablelunwp"],
        arguments: "TARGET TPGT INITIATOR MAPPED_LUN",
        help: "allow writes to a mapped LUN",
        action: |context, words| protect(context, words, false),
    },
    Verb {
        names: &["disabletpg"],
        arguments: "TARGET TPGT",
        help: "log initiators out and keep them out",
        action: |context, words| switch(context, words, false),
    },
    Verb {
        names: &["enableaclmode"],
        arguments: "TARGET TPGT",
        help: "let only initiators with an ACL log in",
        action: |context, words| set_attribute(context, words, "generate_node_acls", "0"),
    },
    Verb {
        names: &["enableauth"],
        arguments: "TARGET TPGT",
        help: "demand authentication",
        action: |context, words| set_attribute(context, words, "authentication", "1"),
    },
    Verb {
        names: &["enablelunwp"],
        arguments: "TARGET TPGT INITIATOR MAPPED_LUN",
        help: "refuse writes to a mapped LUN",
        action: |context, words| protect(context, words, true),
    },
    Verb {
        names: &["enabletpg"],
        arguments: "TARGET TPGT",
        help: "let initiators log in",
        action: |context, words| switch(context, words, true),
    },
    Verb {
        names: &["listendpoints"],
        arguments: "",
        help: "show all targets with their portals and LUNs",
        action: list_endpoints,
    },
    Verb {
        names: &["listlunacls"],
        arguments: "TARGET TPGT",
        help: "show which LUNs initiators see",
        action: list_lun_acls,
    },
    Verb {
        names: &["listnodeacls"],
        arguments: "TARGET TPGT",
        help: "show which initiators may log in, and their sessions",
        action: list_node_acls,
    },
    Verb {
        names: &["listnodeattr"],
        arguments: "TARGET TPGT INITIATOR",
        help: "show an ACL's attributes",
        action: |context, words| list_node_values(context, words, "attrib"),
    },
    Verb {
        names: &["listnodeparam"],
        arguments: "TARGET TPGT INITIATOR",
        help: "show what was negotiated with an initiator",
        action: |context, words| list_node_values(context, words, "param"),
    },
    Verb {
        names: &["listnps"],
        arguments: "TARGET TPGT",
        help: "show where a portal group listens",
        action: list_nps,
    },
    Verb {
        names: &["listtargetnames"],
        arguments: "",
        help: "show the names of all targets",
        action: list_target_names,
    },
    Verb {
        names: &["listtpgattr"],
        arguments: "TARGET TPGT",
        help: "show a portal group's attributes",
        action: |context, words| list_tpg_values(context, words, "attrib"),
    },
    Verb {
        names: &["listtpgparam"],
        arguments: "TARGET TPGT",
        help: "show a portal group's parameters",
        action: |context, words| list_tpg_values(context, words, "param"),
    },
    Verb {
        names: &["setchapauth"],
        arguments: "TARGET TPGT INITIATOR USER SECRET",
        help: "set what an initiator proves",
        action: |context, words| set_chap(context, words, "userid", "password"),
    },
    Verb {
        names: &["setchapdiscauth"],
        arguments: "USER SECRET",
        help: "set what initiators prove to discover targets",
        action: |context, words| set_discovery_chap(context, words, "userid", "password"),
    },
    Verb {
        names: &["setchapdiscenforce"],
        arguments: "0|1",
        help: "whether discovery demands authentication",
        action: set_discovery_enforce,
    },
    Verb {
        names: &["setchapdiscmutualauth"],
        arguments: "USER SECRET",
        help: "set what the target proves in discovery",
        action: |context, words| {
            set_discovery_chap(context, words, "userid_mutual", "password_mutual")
        },
    },
    Verb {
        names: &["setchapmutualauth"],
        arguments: "TARGET TPGT INITIATOR USER SECRET",
        help: "set what the target proves to an initiator",
        action: |context, words| set_chap(context, words, "userid_mutual", "password_mutual"),
    },
    Verb {
        names: &["setnodeattr"],
        arguments: "TARGET TPGT INITIATOR ATTRIBUTE VALUE",
        help: "set an ACL's attribute",
        action: set_node_attribute,
    },
    Verb {
        names: &["setnodetcq"],
        arguments: "TARGET TPGT INITIATOR DEPTH",
        help: "set the depth of an initiator's CmdSN window",
        action: set_node_depth,
    },
    Verb {
        names: &["settgptgp", "setaluatpg"],
        arguments: "TARGET TPGT LUN GROUP",
        help: "put a LUN into a target port group; NULL is the default one",
        action: set_lun_group,
    },
    Verb {
        names: &["settgptoff", "setaluaoff"],
        arguments: "TARGET TPGT LUN",
        help: "take a LUN offline",
        action: |context, words| set_offline(context, words, true),
    },
    Verb {
        names: &["settpgattr"],
        arguments: "TARGET TPGT ATTRIBUTE VALUE",
        help: "set a portal group's attribute",
        action: |context, words| set_tpg_value(context, words, "attrib"),
    },
    Verb {
        names: &["settpgparam"],
        arguments: "TARGET TPGT PARAMETER VALUE",
        help: "set a portal group's parameter",
        action: |context, words| set_tpg_value(context, words, "param"),
    },
    Verb {
        names: &["showchapauth"],
        arguments: "TARGET TPGT INITIATOR",
        help: "show an initiator's CHAP names",
        action: show_chap,
    },
    Verb {
        names: &["showchapdiscauth"],
        arguments: "",
        help: "show the CHAP names of discovery",
        action: |context, _| show_auth(context, layout::discovery_auth()),
    },
    Verb {
        names: &["shownodetcq"],
        arguments: "TARGET TPGT INITIATOR",
        help: "show the depth of an initiator's CmdSN window",
        action: show_node_depth,
    },
    Verb {
        names: &["showtgptgp"],
        arguments: "TARGET TPGT LUN",
        help: "show the target port group of a LUN",
        action: show_lun_group,
    },
    Verb {
        names: &["unload"],
        arguments: "",
        help: "remove all targets",
        action: unload,
    },
    Verb {
        names: &["version"],
        arguments: "",
        help: "show the version",
        action: super::tcm::version,
    },
];

fn metadata(_: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    refused("saved states of target ports (ALUA metadata)")
}

/// Changes the place of the LUN in the third argument.
fn place(
    context: &mut Context<'_, '_>,
    words: &[String],
    change: impl FnOnce(&Configfs<'_>, &mut Lun) -> Result<()>,
) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    let number = names::parse_lun(word(words, 2))?;
    let delta = alua::moved(&context.configfs(), &target, tag, number, change)?;
    context.change(&[delta])
}

fn set_offline(context: &mut Context<'_, '_>, words: &[String], on: bool) -> Result<()> {
    place(context, words, |_, lun| {
        lun.offline = on;
        Ok(())
    })
}

fn set_lun_group(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let group = word(words, 3).to_string();
    place(context, words, |configfs, lun| {
        lun.group = match group.as_str() {
            "NULL" => None,
            group => Some(alua::find_group(configfs, &lun.backstore, group)?),
        };
        lun.group.take_if(|group| group == DEFAULT_GROUP);
        Ok(())
    })
}

fn show_lun_group(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let (target, tag) = tpg(context, words)?;
    let number = names::parse_lun(word(words, 2))?;
    let path = layout::lun(&target, tag, number).join("alua_tg_pt_gp");
    match context.configfs().value(&path)? {
        Some(text) => context.say(&text),
        None => {
            let object = Object::Lun(target, tag, number);
            Err(Error::not_found(object.to_string(), ""))
        }
    }
}

/// The existing portal group in the first two arguments.
fn tpg(context: &Context<'_, '_>, words: &[String]) -> Result<(Name, u16)> {
    let target = Name::parse(word(words, 0))?;
    let tag = names::parse_tpgt(word(words, 1))?;
    find_tpg(&context.configfs(), &target, Some(tag))
}

/// The existing ACL in the first three arguments.
fn acl(context: &Context<'_, '_>, words: &[String]) -> Result<(Name, u16, Name)> {
    let (target, tag) = tpg(context, words)?;
    let initiator = Name::parse(word(words, 2))?;
    let initiator = find_acl(&context.configfs(), &target, tag, &initiator)?;
    Ok((target, tag, initiator))
}

/// The portal group in the first two arguments, which need not exist.
fn new_tpg(context: &Context<'_, '_>, words: &[String]) -> Result<(Name, u16)> {
    let name = Name::parse(word(words, 0))?;
    let tag = names::parse_tpgt(word(words, 1))?;
    // One that exists keeps its spelling.
    let target = find_target(&context.configfs(), &name).unwrap_or(name);
    Ok((target, tag))
}

fn add_tpg(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = new_tpg(context, words)?;
    let deltas = missing_tpg(&context.configfs(), &target, tag)?;
    if deltas.is_empty() {
        return Err(exists(Object::Tpg(target, tag)));
    }
    context.change(&deltas)
}

fn add_np(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = new_tpg(context, words)?;
    let wanted = Portal::parse(word(words, 2))?;
    let configfs = context.configfs();
    let mut deltas = missing_tpg(&configfs, &target, tag)?;
    if portal::find(&configfs.portals(&target, tag)?, &wanted).is_none() {
        let none = Attributes::default();
        deltas.push(delta::create_portal(&target, tag, &wanted, &none));
    }
    context.change(&deltas)
}

fn del_np(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    let wanted = Portal::parse(word(words, 2))?;
    let portals = context.configfs().portals(&target, tag)?;
    let existing = portal::find(&portals, &wanted).ok_or_else(|| {
        let object = Object::Portal(target.clone(), tag, wanted.clone());
        Error::not_found(object.to_string(), "")
    })?;
    context.change(&[delta::remove_portal(&target, tag, &existing)])
}

fn add_lun(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = new_tpg(context, words)?;
    let number = names::parse_lun(word(words, 2))?;
    names::check_link_name(word(words, 3))?;
    let backstore = BackstoreId::parse(word(words, 4))?;
    let configfs = context.configfs();
    if configfs.exists(&layout::lun(&target, tag, number))? {
        return Err(exists(Object::Lun(target, tag, number)));
    }
    if !configfs.exists(&layout::backstore(&backstore))? {
        let object = Object::Backstore(backstore);
        return Err(Error::not_found(object.to_string(), ""));
    }
    let mut deltas = missing_tpg(&configfs, &target, tag)?;
    let lun = Lun::new(backstore, Some(word(words, 3).to_string()));
    deltas.push(delta::create_lun(&target, tag, number, &lun));
    context.change(&deltas)
}

fn del_lun(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    let number = names::parse_lun(word(words, 2))?;
    let configfs = context.configfs();
    find_lun(&configfs, &target, tag, number)?;
    context.change(&lun::removal(&configfs, &target, tag, number)?)
}

fn add_node_acl(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = new_tpg(context, words)?;
    let initiator = Name::parse(word(words, 2))?;
    let configfs = context.configfs();
    let mut deltas = missing_tpg(&configfs, &target, tag)?;
    if find_acl(&configfs, &target, tag, &initiator).is_err() {
        deltas.push(delta::create_acl(&target, tag, &initiator, &Acl::default()));
    }
    context.change(&deltas)
}

fn del_node_acl(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag, initiator) = acl(context, words)?;
    let acl = context.configfs().brief().acl(&target, tag, &initiator)?;
    context.change(&delta::remove_acl_tree(&target, tag, &initiator, &acl))
}

fn add_lun_acl(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    let initiator = Name::parse(word(words, 2))?;
    let number = names::parse_lun(word(words, 3))?;
    let mapped = names::parse_lun(word(words, 4))?;
    let configfs = context.configfs();
    find_lun(&configfs, &target, tag, number)?;
    let mut deltas = Vec::new();
    let initiator = match find_acl(&configfs, &target, tag, &initiator) {
        Ok(initiator) => initiator,
        Err(_) => {
            deltas.push(delta::create_acl(&target, tag, &initiator, &Acl::default()));
            initiator
        }
    };
    if configfs.exists(&layout::mapped_lun(&target, tag, &initiator, mapped))? {
        return Err(exists(Object::MappedLun(target, tag, initiator, mapped)));
    }
    let lun = MappedLun {
        lun: number,
        write_protect: lun::protected_by_default(&configfs, &target, tag)?,
        link: Some("lio_lun".into()),
    };
    deltas.push(delta::map_lun(&target, tag, &initiator, mapped, &lun));
    context.change(&deltas)
}

/// The existing mapped LUN in the first four arguments.
fn mapped(context: &Context<'_, '_>, words: &[String]) -> Result<(Name, u16, Name, u64)> {
    let (target, tag, initiator) = acl(context, words)?;
    let mapped = names::parse_lun(word(words, 3))?;
    let path = layout::mapped_lun(&target, tag, &initiator, mapped);
    if !context.configfs().exists(&path)? {
        let object = Object::MappedLun(target, tag, initiator, mapped);
        return Err(Error::not_found(object.to_string(), ""));
    }
    Ok((target, tag, initiator, mapped))
}

fn del_lun_acl(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag, initiator, mapped) = mapped(context, words)?;
    let lun = context
        .configfs()
        .mapped_lun(&target, tag, &initiator, mapped)?;
    let link = lun.and_then(|lun| lun.link);
    let delta = delta::unmap_lun(&target, tag, &initiator, mapped, link.as_deref());
    context.change(&[delta])
}

fn protect(context: &mut Context<'_, '_>, words: &[String], protect: bool) -> Result<()> {
    context.lock()?;
    let (target, tag, initiator, mapped) = mapped(context, words)?;
    let delta = delta::protect_lun(&target, tag, &initiator, mapped, protect);
    context.change(&[delta])
}

fn del_tpg(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    let tpg = context.configfs().brief().tpg(&target, tag)?;
    context.change(&delta::remove_tpg_tree(&target, tag, &tpg))
}

fn del_iqn(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let name = find_target(&configfs, &Name::parse(word(words, 0))?)?;
    let target = configfs.brief().target(&name)?;
    context.change(&delta::remove_target_tree(&name, &target))
}

fn switch(context: &mut Context<'_, '_>, words: &[String], on: bool) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    context.change(&[delta::switch_tpg(&target, tag, on)])
}

fn set_attribute(
    context: &mut Context<'_, '_>,
    words: &[String],
    name: &str,
    value: &str,
) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    let path = layout::tpg(&target, tag).join("attrib").join(name);
    assign(
        context,
        Object::Tpg(target, tag),
        path,
        Value::Text(value.into()),
    )
}

fn assign(
    context: &mut Context<'_, '_>,
    object: Object,
    path: PathBuf,
    value: Value,
) -> Result<()> {
    context.change(&[delta::assign(object, vec![(path, value)])])
}

/// An attribute's name and value at some place of the arguments.
fn pair(words: &[String], at: usize) -> Result<(&str, &str)> {
    let name = word(words, at);
    let value = word(words, at + 1);
    names::check_attribute_name(name)?;
    names::check_attribute_value(name, value)?;
    Ok((name, value))
}

fn set_tpg_value(context: &mut Context<'_, '_>, words: &[String], dir: &str) -> Result<()> {
    context.lock()?;
    let (target, tag) = tpg(context, words)?;
    let (name, value) = pair(words, 2)?;
    let path = layout::tpg(&target, tag).join(dir).join(name);
    assign(
        context,
        Object::Tpg(target, tag),
        path,
        Value::Text(value.into()),
    )
}

fn set_node_attribute(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag, initiator) = acl(context, words)?;
    let (name, value) = pair(words, 3)?;
    let path = layout::acl(&target, tag, &initiator)
        .join("attrib")
        .join(name);
    let object = Object::Acl(target, tag, initiator);
    assign(context, object, path, Value::Text(value.into()))
}

fn set_node_depth(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let (target, tag, initiator) = acl(context, words)?;
    let depth = word(words, 3);
    names::check_attribute_value("cmdsn_depth", depth)?;
    let path = layout::acl(&target, tag, &initiator).join("cmdsn_depth");
    let object = Object::Acl(target, tag, initiator);
    assign(context, object, path, Value::Text(depth.into()))
}

/// A name and a secret; the word `NULL` means none.
fn chap(user: &str, secret: &str) -> Result<(Value, Value)> {
    let user = if user == "NULL" {
        None
    } else {
        names::check_user(user)?;
        Some(user.to_string())
    };
    let secret = if secret == "NULL" {
        None
    } else {
        let secret = Secret::new(secret);
        secret.check(true)?;
        Some(secret)
    };
    Ok((Value::Clearable(user), Value::Secret(secret)))
}

fn set_chap(
    context: &mut Context<'_, '_>,
    words: &[String],
    user_file: &str,
    secret_file: &str,
) -> Result<()> {
    context.lock()?;
    let (target, tag, initiator) = acl(context, words)?;
    let (user, secret) = chap(word(words, 3), word(words, 4))?;
    let dir = layout::acl(&target, tag, &initiator).join("auth");
    let values = vec![(dir.join(user_file), user), (dir.join(secret_file), secret)];
    context.change(&[delta::assign(Object::Acl(target, tag, initiator), values)])
}

fn set_discovery_chap(
    context: &mut Context<'_, '_>,
    words: &[String],
    user_file: &str,
    secret_file: &str,
) -> Result<()> {
    context.lock()?;
    let (user, secret) = chap(word(words, 0), word(words, 1))?;
    let dir = layout::discovery_auth();
    let values = vec![(dir.join(user_file), user), (dir.join(secret_file), secret)];
    context.change(&[delta::assign(Object::DiscoveryAuth, values)])
}

fn set_discovery_enforce(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    context.lock()?;
    let value = word(words, 0);
    if value != "0" && value != "1" {
        return Err(Error::value(
            "setchapdiscenforce",
            value,
            "0 or 1 is needed",
        ));
    }
    let path = layout::discovery_auth().join("enforce_discovery_auth");
    let value = Value::Text(value.into());
    assign(context, Object::DiscoveryAuth, path, value)
}

fn show_chap(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let (target, tag, initiator) = acl(context, words)?;
    show_auth(context, layout::acl(&target, tag, &initiator).join("auth"))
}

fn show_auth(context: &mut Context<'_, '_>, dir: PathBuf) -> Result<()> {
    let auth = context.configfs().auth(&dir);
    let sides = [
        ("userid", "password", auth.initiator),
        ("userid_mutual", "password_mutual", auth.target),
    ];
    for (user, password, credentials) in sides {
        let name = credentials.user.as_deref().unwrap_or_default();
        let state = if credentials.has_secret() {
            "(set, not shown)"
        } else {
            "(not set)"
        };
        context.say(&format!("{user}: {name}"))?;
        context.say(&format!("{password}: {state}"))?;
    }
    Ok(())
}

fn show_node_depth(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let (target, tag, initiator) = acl(context, words)?;
    let path = layout::acl(&target, tag, &initiator).join("cmdsn_depth");
    let depth = context.configfs().value(&path)?.unwrap_or_default();
    context.say(&depth)
}

fn list_target_names(context: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    for name in context.configfs().target_names()? {
        context.say(name.as_str())?;
    }
    Ok(())
}

fn list_nps(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let (target, tag) = tpg(context, words)?;
    for portal in context.configfs().portals(&target, tag)? {
        context.say(portal.as_str())?;
    }
    Ok(())
}

fn list_values(context: &mut Context<'_, '_>, dir: PathBuf) -> Result<()> {
    for (name, value) in context.configfs().readings(&dir)?.0 {
        context.say(&format!("{name}={value}"))?;
    }
    Ok(())
}

fn list_tpg_values(context: &mut Context<'_, '_>, words: &[String], dir: &str) -> Result<()> {
    let (target, tag) = tpg(context, words)?;
    list_values(context, layout::tpg(&target, tag).join(dir))
}

fn list_node_values(context: &mut Context<'_, '_>, words: &[String], dir: &str) -> Result<()> {
    let (target, tag, initiator) = acl(context, words)?;
    list_values(context, layout::acl(&target, tag, &initiator).join(dir))
}

fn list_endpoints(context: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    let names = context.configfs().target_names()?;
    crate::cmd::status::show_targets(context, &names)
}

fn list_lun_acls(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let (target, tag) = tpg(context, words)?;
    for initiator in context.configfs().initiators(&target, tag)? {
        let shown = crate::cmd::status::acl(context, &target, tag, &initiator)?;
        context.print(&shown.tree.render(context.env.style))?;
    }
    Ok(())
}

fn list_node_acls(context: &mut Context<'_, '_>, words: &[String]) -> Result<()> {
    let (target, tag) = tpg(context, words)?;
    let sessions = session::by_acl(&context.configfs(), &target, tag)?;
    for initiator in context.configfs().initiators(&target, tag)? {
        let own = sessions.get(&Some(initiator.clone())).map_or(0, Vec::len);
        context.say(&format!("{initiator}  {}", output::count(own, "session")))?;
    }
    Ok(())
}

fn unload(context: &mut Context<'_, '_>, _: &[String]) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs().brief();
    let mut deltas = Vec::new();
    for name in configfs.target_names()? {
        let target = configfs.target(&name)?;
        deltas.extend(delta::remove_target_tree(&name, &target));
    }
    context.change(&deltas)
}
