// SPDX-License-Identifier: GPL-2.0

//! The top directory.

use super::{
    backstore::CoreDir,
    iscsi::IscsiDir,
    text::{
        self,
        Explain, //
    }, //
};
use crate::{
    limits,
    meter,
    stats,
    sys::{
        bdev,
        configfs::{
            self,
            files,
            long_files,
            Dir,
            Files,
            Long,
            LongFiles,
            Page,
            Refusal,
            SubDir, //
        },
        errand,
        file, //
    },
    target::{
        Targets,
        MAX_DIR, //
    }, //
};
use core::fmt::Write;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// The version of the module.
pub(super) const VERSION: &str = "0.1.0";

/// What the top directory stands for.
#[pin_data]
pub(super) struct Root {
    targets: Arc<Targets>,
    /// Where tools keep what belongs to the target.
    #[pin]
    dbroot: Mutex<KVec<u8>>,
}

impl Root {
    /// Nothing configured yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(targets: Arc<Targets>) -> Result<Arc<Self>> {
        let mut dbroot = KVec::new();
        dbroot.extend_from_slice(b"/etc/target", GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                targets,
                dbroot <- new_mutex!(dbroot),
            }),
            GFP_KERNEL,
        )
    }
}

/// The top directory.
pub(super) struct RootDir;

impl Dir for RootDir {
    type Object = Root;
    const FILES: Files<Root> = files![
        Attr::ro(c"version", show_version),
        Attr::rw(c"dbroot", show_dbroot, store_dbroot),
        Attr::rw(c"pr_dir", show_pr_dir, store_pr_dir),
        Attr::ro(c"statistics", show_statistics),
        Attr::rw(
            c"latency_statistics",
            |_: &Arc<Root>, out: &mut Page<'_>| Ok(writeln!(
                out,
                "{}",
                u8::from(meter::is_timing())
            )?),
            |_: &Arc<Root>, value: &[u8]| {
                meter::set_timing(text::flag(value)?);
                Ok(())
            }
        ),
        Attr::ro(c"in_use", show_in_use),
        Attr::ro(c"closing", show_closing),
    ];
    const LONG_FILES: LongFiles<Root> = long_files![c"addresses" => show_addresses];
    const SUBDIRS: &'static [SubDir<Root>] = &[
        SubDir::new::<CoreDir, _>(c"core", targets),
        SubDir::new::<IscsiDir, _>(c"iscsi", targets),
    ];
}

/// Where the work has been done since the module was loaded: one name and one
/// number a line.
fn show_statistics(_root: &Arc<Root>, out: &mut Page<'_>) -> Result<(), Refusal> {
    for (name, stat) in stats::ALL {
        writeln!(out, "{} {}", name, stats::read(*stat))?;
    }
    Ok(())
}

/// What peers use of what the limits leave them.
fn show_in_use(root: &Arc<Root>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let [logins, connections, _] = root.targets.doors.count(None);
    writeln!(out, "logins {logins}")?;
    writeln!(out, "connections {connections}")?;
    writeln!(out, "commands {}", limits::commands_in_use())?;
    Ok(writeln!(
        out,
        "memory {}",
        limits::pages_in_use().saturating_mul(4096)
    )?)
}

/// The same for each address, a line each.
fn show_addresses(root: &Arc<Root>, out: &mut Long<'_>) -> Result<(), Refusal> {
    for usage in root.targets.doors.usage()?.values() {
        let fits = out.fits(|out| {
            writeln!(
                out,
                "{} logins {} connections {} sessions {} commands {} memory {}",
                usage.host,
                usage.logins,
                usage.connections,
                usage.sessions,
                usage.commands,
                usage.pages.saturating_mul(4096)
            )
        });
        if !fits {
            break;
        }
    }
    Ok(())
}

/// What is left of what was removed: block devices that I/O is still under way on.
fn show_closing(_root: &Arc<Root>, out: &mut Page<'_>) -> Result<(), Refusal> {
    for (number, major, minor) in bdev::closing() {
        writeln!(out, "{number} {major}:{minor}")?;
    }
    Ok(())
}

fn targets(root: &Arc<Root>) -> Arc<Targets> {
    root.targets.clone()
}

fn show_version(_: &Arc<Root>, out: &mut Page<'_>) -> Result<(), Refusal> {
    write!(out, "Ferrite {VERSION} on Linux/")?;
    out.put(configfs::kernel_machine().to_bytes())?;
    out.put(b" on ")?;
    out.put(configfs::kernel_release().to_bytes())?;
    Ok(out.put(b"\n")?)
}

fn show_dbroot(root: &Arc<Root>, out: &mut Page<'_>) -> Result<(), Refusal> {
    out.put(&root.dbroot.lock())?;
    Ok(out.put(b"\n")?)
}

fn store_dbroot(root: &Arc<Root>, value: &[u8]) -> Result<(), Refusal> {
    let path = text::label(value, 1..=255)?;
    if !path.starts_with(b"/") {
        return Err(Refusal::invalid("must be an absolute path"));
    }
    let mut new = KVec::new();
    new.extend_from_slice(path, GFP_KERNEL)?;
    if *root.dbroot.lock().as_slice() == *path {
        return Ok(());
    }
    check_no_backstores(root)?;
    // Nothing is locked while a file system makes up its mind.
    file::check_is_dir(path).explain(&[(errand::late(), "the file system does not answer")])?;
    check_no_backstores(root)?;
    *root.dbroot.lock() = new;
    Ok(())
}

fn check_no_backstores(root: &Root) -> Result<(), Refusal> {
    if root.targets.has_devices() {
        return Err(Refusal::because(
            EBUSY,
            "cannot change while there are backstores",
        ));
    }
    Ok(())
}

fn show_pr_dir(root: &Arc<Root>, out: &mut Page<'_>) -> Result<(), Refusal> {
    root.targets.pr_dir().path(|path| out.put(path))?;
    Ok(out.put(b"\n")?)
}

/// Where it leads is looked at when something is written down.
fn store_pr_dir(root: &Arc<Root>, value: &[u8]) -> Result<(), Refusal> {
    let path = text::label(value, 1..=MAX_DIR)?;
    if !path.starts_with(b"/") {
        return Err(Refusal::invalid("must be an absolute path"));
    }
    let dir = root.targets.pr_dir();
    if dir.path(|now| now == path) {
        return Ok(());
    }
    check_no_backstores(root)?;
    Ok(dir.set_path(path)?)
}
