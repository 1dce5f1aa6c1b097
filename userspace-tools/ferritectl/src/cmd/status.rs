// SPDX-License-Identifier: GPL-2.0

//! `ferritectl status`: everything as a tree.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cmd::auth;
use crate::cmd::backstore;
use crate::cmd::session;
use crate::context::Context;
use crate::error::Result;
use crate::layout;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::names::Portal;
use crate::output;
use crate::output::Node;

/// Something as it is shown: as data and as a tree.
pub struct Shown<T> {
    /// As data.
    pub view: T,
    /// As a tree.
    pub tree: Node,
}

/// Everything as it is shown.
#[derive(Debug, Serialize)]
struct StatusView {
    root: String,
    backstores: Vec<backstore::View>,
    discovery: DiscoveryView,
    targets: BTreeMap<Name, TargetView>,
}

#[derive(Debug, Serialize)]
struct DiscoveryView {
    enforce: bool,
    auth: auth::View,
}

#[derive(Debug, Serialize)]
struct TargetView {
    tpgs: BTreeMap<u16, TpgView>,
}

/// A portal group as it is shown.
#[derive(Debug, Serialize)]
pub struct TpgView {
    tpg: u16,
    enabled: bool,
    /// CHAP is demanded unless an ACL says otherwise.
    authentication: bool,
    /// Initiators without an ACL may log in.
    demo_mode: bool,
    auth: auth::View,
    portals: Vec<Portal>,
    luns: Vec<LunView>,
    acls: Vec<AclView>,
    /// Of initiators without an ACL.
    dynamic_sessions: Vec<Name>,
}

#[derive(Debug, Serialize)]
struct LunView {
    lun: u64,
    backstore: Option<BackstoreId>,
    path: String,
    size: Option<u64>,
    /// The target port group, if it is not the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// It is offline, whatever its group is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    offline: bool,
}

/// An ACL as it is shown.
#[derive(Debug, Serialize)]
pub struct AclView {
    initiator: Name,
    /// Whether CHAP is demanded, if the ACL has its own word on it.
    authentication: Option<bool>,
    auth: auth::View,
    mapped_luns: Vec<MappedView>,
    sessions: Vec<session::View>,
}

#[derive(Debug, Serialize)]
struct MappedView {
    mapped_lun: u64,
    lun: Option<u64>,
    read_only: bool,
}

/// Shows everything.
pub fn run(context: &mut Context<'_, '_>) -> Result<()> {
    let ids = context.configfs().backstore_ids()?;
    let mut backstores = Vec::new();
    for id in &ids {
        backstores.push(backstore::view(context, id)?);
    }
    let names = context.configfs().target_names()?;
    let targets = shown_targets(context, &names)?;
    let discovery = context.configfs().discovery_auth()?;
    let discovery = DiscoveryView {
        enforce: discovery.enforce,
        auth: auth::View::new(&discovery.auth),
    };
    let root = context.root().display().to_string();
    if context.mode.json {
        let view = StatusView {
            root,
            backstores,
            discovery,
            targets: targets
                .into_iter()
                .map(|(name, shown)| (name, shown.view))
                .collect(),
        };
        return context.json(&view);
    }

    let sessions: usize = targets
        .iter()
        .flat_map(|(_, target)| target.view.tpgs.values())
        .map(|tpg| {
            let with_acl: usize = tpg.acls.iter().map(|acl| acl.sessions.len()).sum();
            with_acl + tpg.dynamic_sessions.len()
        })
        .sum();
    let mut top = Node::new([
        root,
        output::count(backstores.len(), "backstore"),
        output::count(targets.len(), "target"),
        output::count(sessions, "session"),
    ]);
    if !backstores.is_empty() {
        let mut node = Node::line("backstores");
        node.children = backstores.iter().map(backstore_node).collect();
        top.children.push(node);
    }
    if !targets.is_empty() {
        let mut node = Node::line("targets");
        node.children = targets.into_iter().map(|(_, shown)| shown.tree).collect();
        top.children.push(node);
    }
    let mut discovery_parts = vec!["discovery".to_string()];
    discovery_parts.push(if discovery.enforce {
        "CHAP demanded".into()
    } else {
        "open to all".into()
    });
    discovery_parts.push(discovery.auth.text());
    top.children.push(Node::new(discovery_parts));
    context.print(&top.render(context.env.style))
}

fn backstore_node(view: &backstore::View) -> Node {
    Node::new([
        view.backstore.to_string(),
        view.path.clone(),
        view.size_text(),
        view.mode(),
        if view.info.exported {
            ""
        } else {
            "not exported"
        }
        .to_string(),
    ])
}

/// Shows some targets.
pub fn show_targets(context: &mut Context<'_, '_>, names: &[Name]) -> Result<()> {
    let targets = shown_targets(context, names)?;
    if context.mode.json {
        let views: BTreeMap<Name, TargetView> = targets
            .into_iter()
            .map(|(name, shown)| (name, shown.view))
            .collect();
        return context.json(&views);
    }
    for (_, target) in targets {
        context.print(&target.tree.render(context.env.style))?;
    }
    Ok(())
}

fn shown_targets(
    context: &Context<'_, '_>,
    names: &[Name],
) -> Result<Vec<(Name, Shown<TargetView>)>> {
    let mut shown = Vec::new();
    for name in names {
        let mut view = TargetView {
            tpgs: BTreeMap::new(),
        };
        let mut tree = Node::line(name.as_str());
        for tag in context.configfs().tags(name)? {
            let tpg = tpg(context, name, tag)?;
            view.tpgs.insert(tag, tpg.view);
            tree.children.push(tpg.tree);
        }
        shown.push((name.clone(), Shown { view, tree }));
    }
    Ok(shown)
}

/// A portal group as it is shown.
pub fn tpg(context: &Context<'_, '_>, target: &Name, tag: u16) -> Result<Shown<TpgView>> {
    let configfs = context.configfs();
    let dir = layout::tpg(target, tag);
    let is_on = |name: &str| -> Result<bool> {
        let value = configfs.value(&dir.join("attrib").join(name))?;
        Ok(value.is_some_and(|value| value != "0"))
    };
    let mut sessions = session::by_acl(&configfs, target, tag)?;
    let dynamic = sessions.remove(&None).unwrap_or_default();
    let mut view = TpgView {
        tpg: tag,
        enabled: configfs.tpg_enabled(target, tag)?,
        authentication: is_on("authentication")?,
        demo_mode: is_on("generate_node_acls")?,
        auth: auth::View::new(&configfs.auth(&dir.join("auth"))),
        portals: configfs.portals(target, tag)?,
        luns: Vec::new(),
        acls: Vec::new(),
        dynamic_sessions: dynamic
            .iter()
            .map(|session| Name::existing(&session.initiator))
            .collect(),
    };
    let mut tree = Node::new([
        format!("TPG {tag}"),
        if view.enabled {
            "enabled"
        } else {
            "not enabled"
        }
        .to_string(),
        if view.authentication {
            "CHAP demanded"
        } else {
            "no authentication"
        }
        .to_string(),
        if view.demo_mode {
            "open to all initiators"
        } else {
            ""
        }
        .to_string(),
        view.auth.text(),
    ]);

    let mut portals = Node::line(if view.portals.is_empty() {
        "portals: none"
    } else {
        "portals"
    });
    portals.children = view
        .portals
        .iter()
        .map(|portal| Node::line(portal.as_str()))
        .collect();
    tree.children.push(portals);

    let mut luns = Node::line("LUNs");
    for number in configfs.lun_numbers(target, tag)? {
        let lun = configfs.lun(target, tag, number)?;
        let mut parts = vec![format!("LUN {number}")];
        let mut lun_view = LunView {
            lun: number,
            backstore: None,
            path: String::new(),
            size: None,
            group: None,
            offline: false,
        };
        match lun {
            Some(lun) => {
                let backstore = backstore::view(context, &lun.backstore)?;
                parts.push(lun.backstore.to_string());
                parts.push(backstore.path.clone());
                parts.push(backstore.size_text());
                lun_view.path = backstore.path;
                lun_view.size = backstore.size;
                if let Some(group) = &lun.group {
                    parts.push(format!("group {group}"));
                }
                if lun.offline {
                    parts.push("offline".into());
                }
                lun_view.group = lun.group;
                lun_view.offline = lun.offline;
                lun_view.backstore = Some(lun.backstore);
            }
            None => parts.push("no backstore".into()),
        }
        view.luns.push(lun_view);
        luns.children.push(Node::new(parts));
    }
    if luns.children.is_empty() {
        luns = Node::line("LUNs: none");
    }
    tree.children.push(luns);

    let mut acls = Node::line("ACLs");
    for initiator in configfs.initiators(target, tag)? {
        let own = sessions.remove(&Some(initiator.clone()));
        let acl = acl_with(context, target, tag, &initiator, own.unwrap_or_default())?;
        view.acls.push(acl.view);
        acls.children.push(acl.tree);
    }
    if acls.children.is_empty() {
        acls = Node::line("ACLs: none");
    }
    tree.children.push(acls);

    if !view.dynamic_sessions.is_empty() {
        let mut sessions = Node::line("sessions without an ACL");
        sessions.children = view
            .dynamic_sessions
            .iter()
            .map(|name| Node::line(name.as_str()))
            .collect();
        tree.children.push(sessions);
    }
    Ok(Shown { view, tree })
}

/// An ACL as it is shown.
pub fn acl(
    context: &Context<'_, '_>,
    target: &Name,
    tag: u16,
    initiator: &Name,
) -> Result<Shown<AclView>> {
    let mut sessions = session::by_acl(&context.configfs(), target, tag)?;
    let own = sessions.remove(&Some(initiator.clone()));
    acl_with(context, target, tag, initiator, own.unwrap_or_default())
}

fn acl_with(
    context: &Context<'_, '_>,
    target: &Name,
    tag: u16,
    initiator: &Name,
    sessions: Vec<session::View>,
) -> Result<Shown<AclView>> {
    let configfs = context.configfs();
    let dir = layout::acl(target, tag, initiator);
    let authentication = configfs.value(&dir.join("attrib/authentication"))?;
    let mut view = AclView {
        initiator: initiator.clone(),
        authentication: match authentication.as_deref() {
            Some("0") => Some(false),
            Some("1") => Some(true),
            _ => None,
        },
        auth: auth::View::new(&configfs.auth(&dir.join("auth"))),
        mapped_luns: Vec::new(),
        sessions,
    };
    let addresses: Vec<String> = view.sessions.iter().flat_map(session::addresses).collect();
    let sessions = match (view.sessions.len(), addresses.is_empty()) {
        (0, _) => String::new(),
        (number, true) => output::count(number, "session"),
        (number, false) => format!(
            "{} from {}",
            output::count(number, "session"),
            addresses.join(", ")
        ),
    };
    let mut tree = Node::new([
        initiator.to_string(),
        view.auth.text(),
        match view.authentication {
            Some(true) => "CHAP demanded".to_string(),
            Some(false) => "no authentication".to_string(),
            None => String::new(),
        },
        sessions,
    ]);
    for mapped in configfs.mapped_numbers(target, tag, initiator)? {
        let lun = configfs.mapped_lun(target, tag, initiator, mapped)?;
        let protected = lun.as_ref().is_some_and(|lun| lun.write_protect);
        // However it is mapped, a disk that is read-only stays so.
        let backstore = match &lun {
            Some(lun) => configfs.lun(target, tag, lun.lun)?,
            None => None,
        };
        let disk_read_only = match backstore {
            Some(lun) => configfs.device_info(&lun.backstore)?.read_only,
            None => false,
        };
        let number = lun.map(|lun| lun.lun);
        let what = match number {
            // As it is nearly always: the same number on both sides.
            Some(number) if number == mapped => format!("LUN {mapped}"),
            Some(number) => format!("LUN {mapped} is LUN {number} of the TPG"),
            None => format!("LUN {mapped} leads nowhere"),
        };
        let mode = match (protected, disk_read_only) {
            (true, _) => "ro",
            (false, true) => "ro (its backstore is)",
            (false, false) => "rw",
        };
        tree.children.push(Node::new([what, mode.to_string()]));
        view.mapped_luns.push(MappedView {
            mapped_lun: mapped,
            lun: number,
            read_only: protected || disk_read_only,
        });
    }
    if view.mapped_luns.is_empty() {
        tree.children.push(Node::line("no LUNs"));
    }
    Ok(Shown { view, tree })
}
