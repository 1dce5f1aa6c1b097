// SPDX-License-Identifier: GPL-2.0

//! `ferritectl session …`

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;

use crate::cli::SessionCommand;
use crate::cli::TpgArgs;
use crate::cmd::find_target;
use crate::cmd::find_tpg;
use crate::cmd::targets;
use crate::configfs::Configfs;
use crate::context::Context;
use crate::error::Error;
use crate::error::Result;
use crate::info::Session;
use crate::layout;
use crate::names::Name;
use crate::observe;
use crate::observe::Record;
use crate::output;
use crate::state::Attributes;

/// A session as it is shown.
#[derive(Debug, Serialize)]
pub struct View {
    /// The initiator's name.
    pub initiator: String,
    /// The target that it is logged in to.
    pub target: Name,
    /// The portal group.
    pub tpg: u16,
    /// It has no ACL of its own, so the kernel shows no particulars.
    pub dynamic: bool,
    /// The ACL or host group that it came in by.
    pub acl: Option<Name>,
    /// The particulars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// All that the kernel tells, if it is one that lists sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Record>,
}

/// Runs a verb.
pub fn run(context: &mut Context<'_, '_>, command: SessionCommand) -> Result<()> {
    match command {
        SessionCommand::List { target } => list(context, &target),
        SessionCommand::Show { tpg, initiator } => show(context, &tpg, &initiator),
        SessionCommand::Close {
            tpg,
            initiator,
            all: _,
            wait,
        } => close(context, &tpg, initiator.as_ref(), wait),
        SessionCommand::Drain {
            target,
            tpg,
            initiator,
            session,
            within,
        } => drain(context, &target, tpg, initiator.as_ref(), session, within),
    }
}

/// The sessions of a portal group.
pub fn of_tpg(configfs: &Configfs<'_>, target: &Name, tpg: u16) -> Result<Vec<View>> {
    let mut views = Vec::new();
    if let Some(records) = observe::records(configfs, target, tpg)? {
        let view = |record: Record| View {
            initiator: record.initiator.clone(),
            target: target.clone(),
            tpg,
            dynamic: record.dynamic,
            // An older module, which is there until it is loaded anew, does not tell.
            acl: record
                .acl
                .clone()
                .or_else(|| (!record.dynamic).then(|| Name::existing(&record.initiator))),
            session: Some(Session::from(&record)),
            detail: Some(record),
        };
        return Ok(records.into_iter().map(view).collect());
    }
    for acl in configfs.initiators(target, tpg)? {
        for session in configfs.sessions(target, tpg, &acl)? {
            views.push(View {
                initiator: session.initiator.clone(),
                target: target.clone(),
                tpg,
                dynamic: false,
                acl: Some(acl.clone()),
                session: Some(session),
                detail: None,
            });
        }
    }
    for initiator in configfs.dynamic_sessions(target, tpg)? {
        views.push(View {
            initiator: initiator.to_string(),
            target: target.clone(),
            tpg,
            dynamic: true,
            acl: None,
            session: None,
            detail: None,
        });
    }
    Ok(views)
}

/// The sessions of a portal group by the ACL or host group that they came in by, without what
/// they have done. The `info` of an ACL has room for some six.
pub fn by_acl(
    configfs: &Configfs<'_>,
    target: &Name,
    tpg: u16,
) -> Result<BTreeMap<Option<Name>, Vec<View>>> {
    let mut sessions: BTreeMap<_, Vec<View>> = BTreeMap::new();
    for mut view in of_tpg(configfs, target, tpg)? {
        view.detail = None;
        sessions.entry(view.acl.clone()).or_default().push(view);
    }
    Ok(sessions)
}

fn list(context: &mut Context<'_, '_>, target: &Option<Name>) -> Result<()> {
    let configfs = context.configfs();
    let mut views = Vec::new();
    for target in targets(&configfs, target)? {
        for tpg in configfs.tags(&target)? {
            views.extend(of_tpg(&configfs, &target, tpg)?);
        }
    }
    let header = [
        "INITIATOR",
        "TARGET",
        "TPG",
        "ADDRESS",
        "ID",
        "AGE",
        "QUEUE",
        "READ",
        "WRITTEN",
        "STATE",
    ];
    context.list(&views, &header, Some(1), |view| {
        vec![
            view.initiator.clone(),
            view.target.to_string(),
            view.tpg.to_string(),
            addresses(view).join(", "),
            number(view, |r| r.session.to_string()),
            number(view, |r| age(r.age_ms() / 1000)),
            number(view, |r| {
                format!("{}/{}", r.number("outstanding"), r.number("queue_depth"))
            }),
            number(view, |r| output::size(r.number("read_bytes"))),
            number(view, |r| output::size(r.number("write_bytes"))),
            state(view),
        ]
    })
}

/// What a kernel tells that lists sessions.
fn number(view: &View, of: impl Fn(&Record) -> String) -> String {
    view.detail.as_ref().map(of).unwrap_or_default()
}

/// A time for people, in its two greatest units.
fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// Where the initiator's connections come from.
pub fn addresses(view: &View) -> Vec<String> {
    let Some(session) = &view.session else {
        return Vec::new();
    };
    let mut addresses: Vec<(&str, usize)> = Vec::new();
    for connection in &session.connections {
        let address = connection.address.as_str();
        match addresses.iter_mut().find(|(known, _)| *known == address) {
            _ if address.is_empty() => {}
            Some((_, count)) => *count += 1,
            None => addresses.push((address, 1)),
        }
    }
    addresses
        .into_iter()
        .map(|(address, count)| match count {
            1 => address.to_string(),
            _ => format!("{address} ({count} connections)"),
        })
        .collect()
}

fn state(view: &View) -> String {
    match &view.session {
        Some(session) => session.state.to_ascii_lowercase().replace('_', " "),
        None => "without an ACL".to_string(),
    }
}

fn show(context: &mut Context<'_, '_>, args: &TpgArgs, initiator: &Name) -> Result<()> {
    let configfs = context.configfs();
    let (target, tpg) = find_tpg(&configfs, &args.target, args.tpg)?;
    let views: Vec<View> = of_tpg(&configfs, &target, tpg)?
        .into_iter()
        .filter(|view| view.initiator.eq_ignore_ascii_case(initiator.as_str()))
        .collect();
    if views.is_empty() {
        return Err(Error::not_found(
            format!("session of {initiator} with TPG {tpg} of {target}"),
            "`ferritectl session list` shows who is logged in",
        ));
    }
    // They read as words while nobody is logged in; somebody is. Those without an ACL have
    // no directory of their own.
    let dir = layout::acl(&target, tpg, initiator).join("param");
    let mut parameters = match configfs.exists(&dir)? {
        true => configfs.readings(&dir)?,
        false => Attributes::default(),
    };
    if let Some(detail) = views.first().and_then(|view| view.detail.as_ref()) {
        parameters.0.extend(detail.keys.clone());
    }
    if context.mode.json {
        return context.json(&serde_json::json!({
            "sessions": views, "parameters": parameters,
        }));
    }
    for view in &views {
        context.say(&format!("{} at TPG {tpg} of {target}", view.initiator))?;
        let Some(session) = &view.session else {
            context.say("  it has no ACL of its own: the kernel shows no particulars")?;
            continue;
        };
        if !session.alias.is_empty() {
            context.say(&format!("  alias {}", session.alias))?;
        }
        context.say(&format!(
            "  session {}, ISID {}, TSIH {}, {}, {}",
            session.id,
            session.isid,
            session.tsih,
            session.session_type.to_ascii_lowercase(),
            state(view)
        ))?;
        if let Some(window) = session.window {
            context.say(&format!(
                "  window {} of {} open, ExpCmdSN {}, MaxCmdSN {}",
                window.open, window.depth, window.exp_cmd_sn, window.max_cmd_sn
            ))?;
        }
        if let Some(detail) = &view.detail {
            particulars(context, detail)?;
            continue;
        }
        for connection in &session.connections {
            context.say(&format!(
                "  connection {} from {} by {}, {}",
                connection.cid,
                connection.address,
                connection.transport,
                connection.state.to_ascii_lowercase().replace('_', " ")
            ))?;
        }
    }
    negotiated(context, &parameters)
}

fn particulars(context: &mut Context<'_, '_>, record: &Record) -> Result<()> {
    let number = |name| record.number(name);
    context.say(&format!(
        "  logged in for {}, {} outstanding",
        age(record.age_ms() / 1000),
        output::count(number("outstanding") as usize, "command"),
    ))?;
    context.say(&format!(
        "  {} reads of {}, {} writes of {}, {} other commands, {} failed, {} aborted",
        number("reads"),
        output::size(number("read_bytes")),
        number("writes"),
        output::size(number("write_bytes")),
        number("other_commands"),
        observe::errors(&record.numbers),
        number("aborted"),
    ))?;
    if let (Some(half), Some(most)) = (
        record.latency.percentile_us(50.0),
        record.latency.percentile_us(99.0),
    ) {
        context.say(&format!(
            "  half of them took at most {half} us, 99 % at most {most} us"
        ))?;
    }
    for connection in &record.connections {
        context.say(&format!(
            "  connection {} from {} to {}, {}",
            connection.cid,
            connection.peer,
            connection.portal,
            connection.state.replace('_', " ")
        ))?;
        for (key, value) in &connection.keys {
            if key != "stat_sn" {
                context.say(&format!("    {key} {value}"))?;
            }
        }
    }
    Ok(())
}

/// How a session has ended that was asked to.
#[derive(Debug, Serialize)]
struct Drained {
    session: u32,
    initiator: String,
    tpg: u16,
    /// It logged out in time; else it was closed.
    logged_out: bool,
    seconds: f64,
}

/// How long a session may take to go after its time is over: the kernel looks twice a second.
const CLOSING: Duration = Duration::from_secs(10);

/// Asks initiators to log out, and waits until they have, or have been closed.
fn drain(
    context: &mut Context<'_, '_>,
    target: &Name,
    tpg: Option<u16>,
    initiator: Option<&Name>,
    session: Option<u32>,
    within: u16,
) -> Result<()> {
    let configfs = context.configfs();
    let target = find_target(&configfs, target)?;
    let tags = match tpg {
        Some(_) => vec![find_tpg(&configfs, &target, tpg)?.1],
        None => configfs.tags(&target)?,
    };
    let listed = |tag: u16| -> Result<Vec<Record>> {
        observe::records(&configfs, &target, tag)?.ok_or_else(|| Error::Unavailable {
            reason: "the kernel does not list sessions, or not for this user".into(),
            hint: "be root; `ferritectl session close` works without a list".into(),
        })
    };
    let mut asked: Vec<(u16, u32, String)> = Vec::new();
    for tag in &tags {
        for record in listed(*tag)? {
            let meant = initiator.is_none_or(|i| record.initiator.eq_ignore_ascii_case(i.as_str()))
                && session.is_none_or(|id| record.session == id);
            if meant {
                asked.push((*tag, record.session, record.initiator));
            }
        }
    }
    if asked.is_empty() && (initiator.is_some() || session.is_some()) {
        return Err(Error::not_found(
            format!("such a session with {target}"),
            "`ferritectl session list` shows who is logged in",
        ));
    }
    if context.mode.dry_run {
        if context.mode.json {
            let asked: Vec<u32> = asked.iter().map(|(_, id, _)| *id).collect();
            return context.json(&serde_json::json!({
                "dry_run": true, "target": target, "asked": asked, "within": within,
            }));
        }
        let number = asked.len();
        return context.say(&format!(
            "would ask {} to log out within {within} s",
            output::count(number, "session")
        ));
    }
    let start = Instant::now();
    for (tag, id, _) in &asked {
        match configfs.close_session(&target, *tag, *id, Some(within)) {
            Ok(()) => {}
            // It has gone meanwhile.
            Err(Error::Refused { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let time = Duration::from_secs(u64::from(within));
    let mut left = asked;
    let mut drained: Vec<Drained> = Vec::new();
    while !left.is_empty() && start.elapsed() < time + CLOSING {
        let mut there: Vec<u32> = Vec::new();
        for tag in &tags {
            there.extend(listed(*tag)?.iter().map(|record| record.session));
        }
        let elapsed = start.elapsed();
        left.retain(|(tag, id, initiator)| {
            if !there.contains(id) {
                drained.push(Drained {
                    session: *id,
                    initiator: initiator.clone(),
                    tpg: *tag,
                    logged_out: elapsed < time,
                    seconds: elapsed.as_secs_f64(),
                });
            }
            there.contains(id)
        });
        if !left.is_empty() {
            thread::sleep(Duration::from_millis(100));
        }
    }
    if context.mode.json {
        context.json(&serde_json::json!({
            "target": target, "drained": drained,
            "left": left.iter().map(|(_, id, _)| id).collect::<Vec<_>>(),
        }))?;
    } else {
        for session in &drained {
            let how = match session.logged_out {
                true => "logged out",
                false => "was closed",
            };
            context.say(&format!(
                "session {} of {} {how} after {:.1} s",
                session.session, session.initiator, session.seconds
            ))?;
        }
        if drained.is_empty() && left.is_empty() {
            context.say(&format!("{target} has no sessions"))?;
        }
    }
    match left.len() {
        0 => Ok(()),
        number => Err(Error::Partial(format!(
            "{} still there after {} s",
            match number {
                1 => "1 session is".to_string(),
                number => format!("{number} sessions are"),
            },
            start.elapsed().as_secs()
        ))),
    }
}

/// Ends sessions; without an initiator all of the portal group.
fn close(
    context: &mut Context<'_, '_>,
    args: &TpgArgs,
    initiator: Option<&Name>,
    wait: Option<u16>,
) -> Result<()> {
    let configfs = context.configfs();
    let (target, tpg) = find_tpg(&configfs, &args.target, args.tpg)?;
    let mut closed: Vec<String> = of_tpg(&configfs, &target, tpg)?
        .into_iter()
        .map(|view| view.initiator)
        .filter(|name| initiator.is_none_or(|only| name.eq_ignore_ascii_case(only.as_str())))
        .collect();
    closed.sort();
    closed.dedup();
    if closed.is_empty() {
        let whose = initiator.map_or_else(String::new, |name| format!(" of {name}"));
        return Err(Error::not_found(
            format!("session{whose} with TPG {tpg} of {target}"),
            "`ferritectl session list` shows who is logged in",
        ));
    }
    if !context.mode.dry_run {
        configfs.close_sessions(&target, tpg, initiator, wait)?;
    }
    if context.mode.json {
        return context.json(&serde_json::json!({
            "target": target, "tpg": tpg, "closed": closed, "wait": wait,
            "dry_run": context.mode.dry_run,
        }));
    }
    for name in closed {
        let what = match (context.mode.dry_run, wait) {
            (true, _) => "would close".to_string(),
            (false, None) => "closed".to_string(),
            (false, Some(seconds)) => format!("asked to log out within {seconds} s:"),
        };
        context.say(&format!(
            "{what} the session of {name} with TPG {tpg} of {target}"
        ))?;
    }
    Ok(())
}

fn negotiated(context: &mut Context<'_, '_>, parameters: &Attributes) -> Result<()> {
    super::backstore::section(context, "negotiated parameters", parameters)
}
