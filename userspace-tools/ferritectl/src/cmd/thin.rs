// SPDX-License-Identifier: GPL-2.0

//! `ferritectl backstore thin`: tells the kernel how full the pools of thin devices are.
//!
//! No block device says it; device mapper does, by `dmsetup`.

use std::fs;
use std::path::Path;
use std::process::Command;

use ferrite_proto::scsi::pool::Pool;
use serde::Serialize;

use crate::cmd::find_backstore;
use crate::context::Context;
use crate::delta;
use crate::delta::Object;
use crate::delta::Value;
use crate::error::Error;
use crate::error::Result;
use crate::layout;
use crate::names::BackstoreId;
use crate::output;

/// One line of what is shown.
#[derive(Debug, Serialize)]
struct View {
    backstore: BackstoreId,
    pool: String,
    used: u64,
    size: u64,
    percent: u8,
    threshold: Option<u64>,
}

/// Looks at the pools of these backstores, or of all that are thin.
pub fn run(context: &mut Context<'_, '_>, names: &[String]) -> Result<()> {
    context.lock()?;
    let configfs = context.configfs();
    let ids = match names {
        [] => configfs.backstore_ids()?,
        names => names
            .iter()
            .map(|name| find_backstore(&configfs, name))
            .collect::<Result<_>>()?,
    };
    let mut views = Vec::new();
    let mut deltas = Vec::new();
    for id in ids {
        let Some((name, pool)) = pool_of_backstore(context, &id)? else {
            if names.is_empty() {
                continue;
            }
            return Err(Error::Unavailable {
                reason: format!("backstore {id} is no thin device of device mapper"),
                hint: "for another kind of pool: ferritectl backstore set NAME \
                       thin_pool=USED/SIZE, in bytes"
                    .into(),
            });
        };
        let dir = layout::backstore(&id);
        let value = format!("{}/{}", pool.used(), pool.size());
        deltas.push(delta::assign(
            Object::Backstore(id.clone()),
            vec![(dir.join("thin_pool"), Value::Text(value))],
        ));
        let threshold = context
            .configfs()
            .value(&dir.join("attrib/thin_threshold"))?;
        views.push(View {
            backstore: id,
            pool: name,
            used: pool.used(),
            size: pool.size(),
            percent: pool.percent(),
            threshold: threshold
                .and_then(|text| text.parse().ok())
                .filter(|percent| *percent != 0),
        });
    }
    context.change_quietly(&deltas)?;
    let header = ["BACKSTORE", "POOL", "USED", "SIZE", "FULL", "THRESHOLD"];
    context.list(&views, &header, None, |view| {
        vec![
            view.backstore.to_string(),
            view.pool.clone(),
            output::size(view.used),
            output::size(view.size),
            format!("{} %", view.percent),
            view.threshold
                .map_or_else(String::new, |percent| format!("{percent} %")),
        ]
    })
}

/// The name of the pool of a thin device, and how full it is; `None` if it is not one.
fn pool_of_backstore(
    context: &Context<'_, '_>,
    id: &BackstoreId,
) -> Result<Option<(String, Pool)>> {
    let Some((major, minor)) = context.configfs().device_info(id)?.major_minor else {
        return Ok(None);
    };
    let sys = &context.env.sys;
    let Some(device) = dm_name(sys, &format!("{major}:{minor}")) else {
        return Ok(None);
    };
    let Some(pool) = pool_of(&dmsetup("table", &device)?) else {
        return Ok(None);
    };
    let pool = dm_name(sys, &pool).ok_or_else(|| Error::Unavailable {
        reason: format!("the pool {pool} of {device} is not there"),
        hint: "`dmsetup ls --tree` shows what there is".into(),
    })?;
    let table = dmsetup("table", &pool)?;
    let status = dmsetup("status", &pool)?;
    match pool_usage(&table, &status) {
        Some(usage) => Ok(Some((pool, usage))),
        None => Err(Error::Unavailable {
            reason: format!(
                "the pool {pool} does not say how full it is: {}",
                status.trim()
            ),
            hint: "`dmsetup status` shows its state".into(),
        }),
    }
}

/// The name that device mapper has for the device with this number.
fn dm_name(sys: &Path, number: &str) -> Option<String> {
    let path = sys.join(format!("dev/block/{number}/dm/name"));
    Some(fs::read_to_string(path).ok()?.trim().to_string())
}

fn dmsetup(verb: &str, device: &str) -> Result<String> {
    let out = Command::new("dmsetup")
        .args([verb, device])
        .output()
        .map_err(|error| Error::file("dmsetup", error))?;
    if !out.status.success() {
        return Err(Error::Unavailable {
            reason: format!(
                "dmsetup {verb} {device}: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            ),
            hint: "`dmsetup ls` lists the devices".into(),
        });
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The number of the pool, out of the table of a device that is thin throughout:
/// `START LENGTH thin POOL ID ...`.
fn pool_of(table: &str) -> Option<String> {
    let mut pool = None;
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, _, "thin", number, _, ..] if pool.is_none_or(|p| p == *number) => {
                pool = Some(*number);
            }
            _ => return None,
        }
    }
    pool.map(str::to_string)
}

/// How full a pool is, out of `START LENGTH thin-pool METADATA DATA BLOCKSIZE ...` and
/// `START LENGTH thin-pool TRANSACTION USED/TOTAL-METADATA USED/TOTAL-DATA ...`.
fn pool_usage(table: &str, status: &str) -> Option<Pool> {
    let table: Vec<&str> = table.split_whitespace().collect();
    let status: Vec<&str> = status.split_whitespace().collect();
    let ([_, _, "thin-pool", _, _, block, ..], [_, _, "thin-pool", _, _, data, ..]) =
        (table.as_slice(), status.as_slice())
    else {
        return None;
    };
    let bytes = block.parse::<u64>().ok()?.checked_mul(512)?;
    let (used, total) = data.split_once('/')?;
    let used = used.parse::<u64>().ok()?.checked_mul(bytes)?;
    let size = total.parse::<u64>().ok()?.checked_mul(bytes)?;
    Pool::new(used.min(size), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_thin_devices() {
        assert_eq!(pool_of("0 2048 thin 254:2 1\n").as_deref(), Some("254:2"));
        let two = "0 8 thin 254:2 1\n8 8 thin 254:2 1 7:0\n";
        assert_eq!(pool_of(two).as_deref(), Some("254:2"));
        for other in [
            "",
            "0 2048 linear 254:2 1\n",
            "0 8 thin 254:2 1\n8 8 linear 7:0 0\n",
            "0 8 thin 254:2 1\n8 8 thin 254:3 1\n",
            "0 8 thin\n",
        ] {
            assert_eq!(pool_of(other), None, "{other}");
        }
    }

    #[test]
    fn pools() {
        let table = "0 204800 thin-pool 254:0 254:1 128 0 1 skip_block_zeroing\n";
        let status = "0 204800 thin-pool 1 12/4096 400/1600 - rw discard_passdown - - 1024\n";
        assert_eq!(
            pool_usage(table, status),
            Pool::new(400 * 65536, 1600 * 65536)
        );
        assert_eq!(pool_usage(table, "0 204800 thin-pool Fail\n"), None);
        assert_eq!(pool_usage("0 8 linear 7:0 0\n", status), None);
        assert_eq!(pool_usage(table, "0 8 thin-pool 1 1/2 1/0 -"), None);
        let usage = Pool::new(1, 3).unwrap();
        assert_eq!(usage.percent(), 33);
    }
}
