// SPDX-License-Identifier: GPL-2.0

//! `ferritectl reservation …`

use serde::Serialize;

use crate::cli::ReservationCommand;
use crate::cmd::find_backstore;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::info;
use crate::info::Registration;
use crate::layout;
use crate::names::BackstoreId;
use crate::output;

/// The reservation of a backstore as it is shown.
#[derive(Debug, Serialize)]
pub struct View {
    /// `iblock_<n>/NAME`
    pub backstore: BackstoreId,
    /// The type in words; none if nobody holds a reservation.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How many have registered.
    pub registrants: usize,
    /// Whether it survives a loss of power (APTPL).
    pub persistent: bool,
    /// PRGENERATION.
    pub generation: u64,
    /// Where it is written down, if it survives.
    pub file: Option<String>,
    /// Those who have registered, as far as the kernel shows them.
    pub registrations: Vec<Registration>,
    /// Whether these are all.
    pub complete: bool,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: ReservationCommand) -> Result<()> {
    match command {
        ReservationCommand::List => list(context),
        ReservationCommand::Show { name } => show(context, &name),
        ReservationCommand::Clear { name, yes } => clear(context, &name, yes),
    }
}

/// What the kernel shows; `None` if it shows no reservations.
fn view(configfs: &Configfs<'_>, id: &BackstoreId) -> Result<Option<View>> {
    let dir = layout::reservation(id);
    let value = |name: &str| configfs.value(&dir.join(name));
    let (Some(count), Some(lines)) = (value("registrants")?, value("registrations")?) else {
        return Ok(None);
    };
    let registrations = info::parse_registrations(&lines);
    let registrants = count.parse().unwrap_or(registrations.len());
    let kind = value("res_pr_type")?.and_then(|text| {
        text.strip_prefix("SPC-3 Reservation Type: ")
            .map(Into::into)
    });
    let persistent = value("res_aptpl_active")?.is_some_and(|text| text.ends_with(": Activated"));
    let generation = value("res_pr_generation")?
        .and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok())
        .unwrap_or(0);
    let file = value("res_aptpl_metadata")?.filter(|path| persistent && !path.is_empty());
    Ok(Some(View {
        backstore: id.clone(),
        kind,
        registrants,
        persistent,
        generation,
        file,
        complete: registrations.len() == registrants,
        registrations,
    }))
}

fn not_shown(id: &BackstoreId) -> Error {
    Error::not_found(
        format!("reservations of backstore {id}"),
        "this target does not show them",
    )
}

/// Who holds it, in words.
fn holder(view: &View) -> String {
    if view.kind.is_none() {
        return String::new();
    }
    view.registrations
        .iter()
        .find(|registration| registration.holder)
        .map_or("all registrants".into(), |r| r.initiator.clone())
}

fn list(context: &mut Context<'_, '_>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for id in configfs.backstore_ids()? {
        views.extend(view(&configfs, &id)?);
    }
    let header = ["BACKSTORE", "REGISTERED", "TYPE", "HOLDER", "PERSISTENT"];
    context.list(&views, &header, None, |view| {
        vec![
            view.backstore.to_string(),
            view.registrants.to_string(),
            view.kind.clone().unwrap_or_else(|| "none".into()),
            holder(view),
            if view.persistent { "yes" } else { "no" }.to_string(),
        ]
    })
}

fn show(context: &mut Context<'_, '_>, name: &str) -> Result<()> {
    let configfs = context.configfs();
    let id = find_backstore(&configfs, name)?;
    let view = view(&configfs, &id)?.ok_or_else(|| not_shown(&id))?;
    if context.mode.json {
        return context.json(&view);
    }
    context.say(&format!("backstore {id}"))?;
    context.say(&format!(
        "  reservation: {}",
        view.kind.as_deref().unwrap_or("none")
    ))?;
    if view.kind.is_some() {
        context.say(&format!("  held by {}", holder(&view)))?;
    }
    context.say(&format!("  generation {}", view.generation))?;
    match &view.file {
        Some(file) => context.say(&format!("  survives a loss of power, in {file}"))?,
        None => context.say("  does not survive a loss of power")?,
    }
    context.say(&format!("  {} registered", view.registrants))?;
    let rows: Vec<Vec<String>> = view
        .registrations
        .iter()
        .map(|r| {
            let port = if r.all_ports {
                "all".to_string()
            } else {
                r.port.to_string()
            };
            vec![
                r.key.clone(),
                r.initiator.clone(),
                r.isid.clone(),
                port,
                if r.holder { "holder" } else { "" }.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let header = ["KEY", "INITIATOR", "ISID", "PORT", ""];
    context.print(&output::table(context.env.style, &header, &rows))?;
    if !view.complete {
        context.say(&format!(
            "and {} more, which the kernel has no room to show; `sg_persist -s` shows all",
            view.registrants.saturating_sub(view.registrations.len())
        ))?;
    }
    Ok(())
}

fn clear(context: &mut Context<'_, '_>, name: &str, yes: bool) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let id = find_backstore(&configfs, name)?;
    let view = view(&configfs, &id)?.ok_or_else(|| not_shown(&id))?;
    if view.registrants > 0 && !yes && !context.mode.dry_run {
        return Err(Error::InUse {
            object: format!("the reservation of backstore {id}"),
            by: format!(
                "{} registered, and may rely on it",
                output::count(view.registrants, "initiator port")
            ),
            hint: "make sure that none of them writes any more, and confirm it with --yes".into(),
        });
    }
    if !context.mode.dry_run {
        configfs.clear_reservation(&id)?;
    }
    if context.mode.json {
        return context.json(&serde_json::json!({
            "cleared": view, "dry_run": context.mode.dry_run,
        }));
    }
    context.say(&format!(
        "{} {} of backstore {id}",
        if context.mode.dry_run {
            "would clear"
        } else {
            "cleared"
        },
        output::count(view.registrants, "registration")
    ))
}

/// Makes the directory in which reservations are written down, if it is not there: without it
/// initiators could not ask that theirs survive a loss of power.
pub fn make_dir(context: &mut Context<'_, '_>) -> Result<()> {
    let dir = context.configfs().value(&layout::reservation_dir())?;
    let Some(dir) = dir.filter(|_| !context.mode.dry_run) else {
        return Ok(());
    };
    if let Err(error) = files::make_private_dir(dir.as_ref()) {
        context.warn(&format!(
            "{dir} cannot be made ({error}): persistent reservations will not survive a loss of \
             power"
        ))?;
    }
    Ok(())
}
