// SPDX-License-Identifier: GPL-2.0

//! `ferritectl portal …`

use serde::Serialize;

use crate::cli::PortalCommand;
use crate::cmd::find_tpg;
use crate::cmd::listed;
use crate::cmd::targets;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::delta;
use crate::delta::Object;
use crate::error::Error;
use crate::error::Result;
use crate::layout;
use crate::names::Name;
use crate::names::Portal;
use crate::observe;
use crate::observe::Counters;
use crate::state::Attributes;

/// A portal as it is listed.
#[derive(Debug, Serialize)]
struct View {
    portal: Portal,
    target: Name,
    tpg: u16,
    /// `none`, or `temporary` or `permanent` and where to.
    redirect: String,
    /// Logins, and what the sessions that came by it have done.
    counters: Counters,
}

/// The file that says where a portal sends initiators.
const REDIRECT: &str = "redirect";

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: PortalCommand) -> Result<()> {
    match command {
        PortalCommand::Create { tpg, portal } => {
            context.lock()?;
            let configfs = context.configfs();
            let (target, tag) = find_tpg(&configfs, &tpg.target, tpg.tpg)?;
            // The kernel compares spellings only.
            if let Some(existing) = find(&configfs.portals(&target, tag)?, &portal) {
                return Err(Error::Exists {
                    object: Object::Portal(target, tag, existing).to_string(),
                    hint: None,
                });
            }
            let none = Attributes::default();
            context.change(&[delta::create_portal(&target, tag, &portal, &none)])
        }
        PortalCommand::Redirect {
            tpg,
            portal,
            to,
            permanent,
            ..
        } => {
            context.lock()?;
            let configfs = context.configfs();
            let (target, tag) = find_tpg(&configfs, &tpg.target, tpg.tpg)?;
            let existing = existing(&configfs, &target, tag, &portal)?;
            let value = match to {
                None => "none".to_string(),
                Some(to) if permanent => format!("permanent {to}"),
                Some(to) => format!("temporary {to}"),
            };
            let have = configfs.settings(&layout::portal(&target, tag, &existing))?;
            let mut want = have.clone();
            want.0.insert(REDIRECT.to_string(), value);
            context.change(&[delta::set_portal(&target, tag, &existing, &have, &want)])
        }
        PortalCommand::Delete { tpg, portal } => {
            context.lock()?;
            let configfs = context.configfs();
            let (target, tag) = find_tpg(&configfs, &tpg.target, tpg.tpg)?;
            let existing = existing(&configfs, &target, tag, &portal)?;
            context.change(&[delta::remove_portal(&target, tag, &existing)])
        }
        PortalCommand::List { target } => list(context, &target),
    }
}

/// The portal of the same address, in the spelling that it has in configfs.
pub fn find(portals: &[Portal], wanted: &Portal) -> Option<Portal> {
    portals.iter().find(|portal| *portal == wanted).cloned()
}

fn existing(configfs: &Configfs<'_>, target: &Name, tag: u16, portal: &Portal) -> Result<Portal> {
    let portals = configfs.portals(target, tag)?;
    find(&portals, portal).ok_or_else(|| {
        Error::not_found(
            Object::Portal(target.clone(), tag, portal.clone()).to_string(),
            listed("portal", &portals),
        )
    })
}

fn list(context: &mut Context<'_, '_>, target: &Option<Name>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for target in targets(&configfs, target)? {
        for tpg in configfs.tags(&target)? {
            for portal in configfs.portals(&target, tpg)? {
                let dir = layout::portal(&target, tpg, &portal);
                let redirect = configfs.settings(&dir)?.0.remove(REDIRECT);
                views.push(View {
                    counters: observe::portal_counters(&configfs, &target, tpg, &portal),
                    portal,
                    redirect: redirect.unwrap_or_else(|| "none".to_string()),
                    target: target.clone(),
                    tpg,
                });
            }
        }
    }
    let header = ["PORTAL", "TARGET", "TPG", "SESSIONS", "REDIRECT"];
    context.list(&views, &header, Some(1), |view| {
        vec![
            view.portal.to_string(),
            view.target.to_string(),
            view.tpg.to_string(),
            view.counters
                .get("sessions")
                .map_or("-".to_string(), u64::to_string),
            view.redirect.clone(),
        ]
    })
}
