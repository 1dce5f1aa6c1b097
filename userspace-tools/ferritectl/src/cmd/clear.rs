// SPDX-License-Identifier: GPL-2.0

//! `ferritectl clear`

use crate::context::Context;
use crate::delta;
use crate::delta::Plan;
use crate::error::Error;
use crate::error::Result;

/// Removes everything that is configured.
pub fn run(context: &mut Context<'_, '_>, yes: bool, keep_backstores: bool) -> Result<()> {
    if !yes && !context.mode.dry_run {
        return Err(Error::InUse {
            object: "the configuration".into(),
            by: "clearing it removes every target and cuts every session".into(),
            hint: "confirm it with --yes; --dry-run shows what would go".into(),
        });
    }
    context.lock()?;
    let configfs = context.configfs().brief();
    let configuration = configfs.configuration()?;
    let plan = Plan {
        deltas: delta::clear(&configuration, keep_backstores),
        ..Plan::default()
    };
    if context.mode.dry_run {
        return context.show_plan(&plan.deltas);
    }
    let before = context.closing()?;
    let report = context.apply_plan(&plan)?;
    context.show_report(&report, &[])?;
    context.wait_closed(&before)?;
    Context::partial(&report, "removed")
}
