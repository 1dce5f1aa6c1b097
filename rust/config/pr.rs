// SPDX-License-Identifier: GPL-2.0

//! `core/iblock_<n>/<device>/pr`: reservations, to look at, and a way out.

use super::text::{
    self,
    Explain, //
};
use crate::{
    proto::scsi::persist::{
        Registrant,
        Registry, //
    },
    sys::{
        configfs::{
            files,
            Dir,
            Files,
            Page,
            Refusal, //
        },
        errand, //
    },
    target::Device, //
};
use core::fmt::{
    self,
    Write, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// `pr`.
pub(super) struct PrFiles;

impl Dir for PrFiles {
    type Object = Device;
    const FILES: Files<Device> = files![
        Attr::ro(c"res_holder", show_holder),
        Attr::ro(c"res_type", show_res_type),
        Attr::ro(c"res_pr_all_tgt_pts", show_all_ports),
        Attr::ro(c"res_pr_generation", show_generation),
        Attr::ro(c"res_pr_holder_tg_port", show_holder_port),
        Attr::ro(c"res_pr_registered_i_pts", show_registered),
        Attr::ro(c"res_pr_type", show_type),
        Attr::ro(c"res_aptpl_active", show_aptpl_active),
        Attr::ro(c"res_aptpl_metadata", show_aptpl_metadata),
        Attr::ro(c"registrants", show_registrants),
        Attr::ro(c"registrations", show_registrations),
        Attr::wo(c"clear", store_clear),
    ];
}

const NO_HOLDER: &[u8] = b"No SPC-3 Reservation holder\n";

/// ISID as twelve digits.
struct Isid([u8; 6]);

impl fmt::Display for Isid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn show_holder(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let spc2 = device.spc2_holder();
    if let Some(session) = spc2 {
        let name = session.initiator();
        return Ok(writeln!(
            out,
            "SPC-2 Reservation: iSCSI Initiator: {}",
            name.as_str()
        )?);
    }
    Ok(device.with_persist(|p| match (p.kind(), p.holder()) {
        (_, Some(r)) => writeln!(
            out,
            "SPC-3 Reservation: iSCSI Initiator: {},i,{}",
            r.nexus.initiator.as_str(),
            Isid(r.nexus.isid)
        ),
        (Some(_), None) => out.put(b"SPC-3 Reservation: all registrants\n"),
        (None, None) => out.put(NO_HOLDER),
    })?)
}

fn show_res_type(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(out.put(match device.spc2_holder() {
        Some(_) => b"SPC2_RESERVATIONS\n",
        None => b"SPC3_PERSISTENT_RESERVATIONS\n",
    })?)
}

/// Writes what `show` makes of the holder, if there is one.
fn show_of_holder(
    device: &Device,
    out: &mut Page<'_>,
    show: impl FnOnce(&mut Page<'_>, &Registrant) -> fmt::Result,
) -> Result<(), Refusal> {
    Ok(device.with_persist(|p| match p.holder() {
        Some(r) => show(out, r),
        None => out.put(NO_HOLDER),
    })?)
}

fn show_all_ports(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    show_of_holder(device, out, |out, r| {
        out.put(match r.all_ports {
            true => b"SPC-3 Reservation: All Target Ports registration\n",
            false => b"SPC-3 Reservation: Single Target Port registration\n",
        })
    })
}

fn show_generation(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let generation = device.with_persist(|p| p.generation());
    Ok(writeln!(out, "{generation:#010x}")?)
}

fn show_holder_port(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    show_of_holder(device, out, |out, r| {
        writeln!(
            out,
            "SPC-3 Reservation: Relative Port Identifier Tag: {}",
            r.nexus.port
        )
    })
}

/// The list ends with the last registration that fits.
fn show_registered(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    out.put(b"SPC-3 PR Registrations:\n")?;
    Ok(device.with_persist(|p| {
        if !p.is_in_use() {
            return out.put(b"None\n");
        }
        p.registry().all().iter().all(|r| {
            out.fits(|out| {
                writeln!(
                    out,
                    "iSCSI Node: {},i,{} Key: {:#018x}",
                    r.nexus.initiator.as_str(),
                    Isid(r.nexus.isid),
                    r.key
                )
            })
        });
        Ok(())
    })?)
}

fn show_type(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let shown = match device.with_persist(|p| p.kind()) {
        Some(kind) => writeln!(out, "SPC-3 Reservation Type: {kind}"),
        None => out.put(NO_HOLDER),
    };
    Ok(shown?)
}

fn show_aptpl_active(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    Ok(out.put(match device.with_persist(|p| p.is_persistent()) {
        true => b"APTPL Bit Status: Activated\n",
        false => b"APTPL Bit Status: Disabled\n",
    })?)
}

/// Where it is written down; nothing if that is not possible.
fn show_aptpl_metadata(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let shown = device.with_pr_file(|dir, name| {
        out.put(dir)?;
        out.put(b"/")?;
        out.put(name)?;
        out.put(b"\n")
    })?;
    Ok(shown.unwrap_or(Ok(()))?)
}

fn show_registrants(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let count = device.with_persist(|p| p.registry().all().len());
    Ok(writeln!(out, "{count}")?)
}

/// A registration a line: key, ISID, port, flags, name. The list ends with the
/// last one that fits.
fn show_registrations(device: &Arc<Device>, out: &mut Page<'_>) -> Result<(), Refusal> {
    device.with_persist(|p| {
        p.registry().all().iter().all(|r| {
            let flags = match (r.all_ports, r.holder) {
                (false, false) => "-",
                (false, true) => "h",
                (true, false) => "a",
                (true, true) => "ah",
            };
            out.fits(|out| {
                writeln!(
                    out,
                    "{:#018x} {} {} {} {}",
                    r.key,
                    Isid(r.nexus.isid),
                    r.nexus.port,
                    flags,
                    r.nexus.initiator.as_str()
                )
            })
        })
    });
    Ok(())
}

/// The administrator's way out when a reservation stays that nobody is left to
/// release.
fn store_clear(device: &Arc<Device>, value: &[u8]) -> Result<(), Refusal> {
    if !text::flag(value)? {
        return Err(Refusal::invalid("must be 1"));
    }
    device.clear_persist().explain(&[
        (EBUSY, "somebody is changing the reservations"),
        (
            errand::late(),
            "the file system of pr_dir hangs; it is done when that goes on",
        ),
        (EIO, "that cannot be written down"),
    ])
}
