// SPDX-License-Identifier: GPL-2.0

//! `ferritectl save` and `ferritectl restore`

use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::context::Context;
use crate::delta;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::names::BackstoreId;
use crate::names::Name;
use crate::output;
use crate::state::Auth;
use crate::state::Configuration;

/// Writes the configuration to a file.
pub fn save(context: &mut Context<'_, '_>, file: &Path) -> Result<()> {
    // Half of what another command is doing is no configuration.
    context.lock()?;
    let configfs = context.configfs();
    let mut configuration = configfs.configuration()?;
    let mut missing = configfs.take_notes();
    missing.extend(unrestorable(&mut configuration));
    missing.extend(hidden_secrets(&configuration));
    let text = files::to_text(&configuration);
    let summary = format!(
        "{}, {}",
        output::count(configuration.backstores.len(), "backstore"),
        output::count(configuration.targets.len(), "target")
    );
    if file == Path::new("-") {
        context.print(&text)?;
    } else {
        if !context.mode.dry_run {
            files::keep_old(file, &text)?;
            files::replace(file, &text)?;
        }
        if context.mode.json {
            context.json(&serde_json::json!({
                "dry_run": context.mode.dry_run,
                "file": file,
                "backstores": configuration.backstores.len(),
                "targets": configuration.targets.len(),
                "not_saved": missing,
            }))?;
        } else {
            let verb = if context.mode.dry_run {
                "would save"
            } else {
                "saved"
            };
            context.say(&format!("{verb} {summary} to {}", file.display()))?;
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // The JSON has them already.
    if !context.mode.json || file == Path::new("-") {
        for line in &missing {
            context.warn(&format!("not saved: {line}"))?;
        }
    }
    Err(Error::Partial(format!(
        "the file lacks {}",
        output::count(missing.len(), "thing")
    )))
}

/// Takes out what no file can hold: a backstore that was never given a device.
fn unrestorable(configuration: &mut Configuration) -> Vec<String> {
    let mut missing = Vec::new();
    configuration.backstores.retain(|id, backstore| {
        let keep = crate::names::check_device_path(&backstore.path).is_ok();
        if !keep {
            missing.push(format!("backstore {id}: it has no usable device path"));
        }
        keep
    });
    let backstores = &configuration.backstores;
    for (name, target) in &mut configuration.targets {
        for (tag, tpg) in &mut target.tpgs {
            tpg.luns.retain(|number, lun| {
                let keep = backstores.contains_key(&lun.backstore);
                if !keep {
                    missing.push(format!("LUN {number} of TPG {tag} of {name}"));
                }
                keep
            });
            let luns = &tpg.luns;
            for (initiator, acl) in &mut tpg.acls {
                acl.mapped_luns.retain(|mapped, lun| {
                    let keep = luns.contains_key(&lun.lun);
                    if !keep {
                        missing.push(format!(
                            "mapped LUN {mapped} of ACL {initiator} of TPG {tag} of {name}"
                        ));
                    }
                    keep
                });
            }
        }
    }
    missing
}

/// Secrets that cannot be read: a restore would lock these initiators out.
pub fn hidden_secrets(configuration: &Configuration) -> Vec<String> {
    let mut hidden = Vec::new();
    let mut look = |auth: &Auth, whose: String| {
        for credentials in [&auth.initiator, &auth.target] {
            if credentials.hidden {
                let user = credentials.user.as_deref().unwrap_or("(none)");
                hidden.push(format!(
                    "the secret of CHAP name {user} of {whose}, which the kernel does not show; \
                     set it again with `ferritectl auth set`"
                ));
            }
        }
    };
    look(
        &configuration.discovery_auth.auth,
        "discovery authentication".into(),
    );
    for (name, target) in &configuration.targets {
        for (tag, tpg) in &target.tpgs {
            look(&tpg.auth, format!("TPG {tag} of {name}"));
            for (initiator, acl) in &tpg.acls {
                look(&acl.auth, format!("ACL {initiator} of TPG {tag} of {name}"));
            }
        }
    }
    hidden
}

/// Leaves of a file what is about one target: itself, and the backstores that it shall have.
fn narrow(wanted: &mut Configuration, target: &Name, file: &Path) -> Result<()> {
    wanted.targets.retain(|name, _| name == target);
    let Some(only) = wanted.targets.get(target) else {
        return Err(Error::NotFound {
            object: format!("target {target} in {}", file.display()),
            hint: None,
        });
    };
    let backs = |id: &BackstoreId| {
        let mut luns = only.tpgs.values().flat_map(|tpg| tpg.luns.values());
        luns.any(|lun| lun.backstore == *id)
    };
    wanted.backstores.retain(|id, _| backs(id));
    Ok(())
}

/// Leaves of what there is the same, and in the file that discovery stays as it is.
fn narrow_current(current: &mut Configuration, wanted: &mut Configuration, target: &Name) {
    let backstores = &wanted.backstores;
    current.targets.retain(|name, _| name == target);
    // Others may use what this target shall not have any more.
    current
        .backstores
        .retain(|id, _| backstores.contains_key(id));
    wanted.discovery_auth = current.discovery_auth.clone();
}

/// Waits until all devices are there, `seconds` at most. At boot some come late, each by way of
/// something else (volume groups, multipath, the network), which nobody can tell beforehand.
fn wait_for_devices(
    context: &mut Context<'_, '_>,
    wanted: &Configuration,
    seconds: u32,
) -> Result<()> {
    let missing = || -> Vec<&str> {
        let paths = wanted.backstores.values().map(|one| one.path.as_str());
        paths.filter(|path| !Path::new(path).exists()).collect()
    };
    let late = missing();
    if late.is_empty() || seconds == 0 {
        return Ok(());
    }
    let notice = format!("waiting for {}, {seconds} s at most", late.join(", "));
    if context.mode.json {
        context.warn(&notice)?;
    } else {
        context.say(&notice)?;
        // It is read while it is true.
        context.env.out.flush()?;
    }
    let end = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < end && !missing().is_empty() {
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Makes the configuration of a file, or what of it is about one target.
pub fn restore(
    context: &mut Context<'_, '_>,
    file: &Path,
    replace: bool,
    target: Option<&Name>,
    wait: u32,
) -> Result<()> {
    let (mut wanted, exposed) = files::load(file)?;
    if exposed {
        context.warn(&format!(
            "others may read the secrets in {}; `chmod 600` it",
            file.display()
        ))?;
    }
    if let Some(target) = target {
        narrow(&mut wanted, target, file)?;
    }
    // Before the lock, which others would wait for.
    if !context.mode.dry_run {
        wait_for_devices(context, &wanted, wait)?;
    }
    context.lock()?;
    let configfs = context.configfs();
    let mut current = configfs.configuration()?;
    if let Some(target) = target {
        narrow_current(&mut current, &mut wanted, target);
    }
    let plan = delta::plan(&current, &wanted, replace);
    if context.mode.dry_run {
        for conflict in &plan.conflicts {
            context.warn(&format!(
                "{}: {}; --replace makes it anew",
                conflict.object, conflict.reason
            ))?;
        }
        return context.show_plan(&plan.deltas);
    }
    if !wanted.backstores.is_empty() {
        super::reservation::make_dir(context)?;
    }
    let before = context.closing()?;
    let report = context.apply_plan(&plan)?;
    context.show_report(&report, &plan.extras)?;
    context.wait_closed(&before)?;
    Context::partial(&report, "restored")
}
