// SPDX-License-Identifier: GPL-2.0

//! `np`: the addresses where a portal group listens.

use super::{
    statistics::PortalStatisticsDir,
    text::{
        self,
        Explain, //
    }, //
};
use crate::{
    portal::{
        Portal,
        Redirect, //
    },
    sys::configfs::{
        self,
        files,
        Dir,
        Files,
        Mkdir,
        Page,
        Refusal,
        SubDir, //
    },
    target::Tpg, //
};
use core::{
    fmt::Write,
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr,
        SocketAddr,
        SocketAddrV4,
        SocketAddrV6, //
    },
    str::FromStr, //
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::Arc, //
};

/// `np`.
pub(super) struct PortalsDir;

impl Dir for PortalsDir {
    type Object = Tpg;
    const MKDIR: Mkdir<Tpg> = Mkdir::of::<PortalDir, _, _>(make_portal, remove_portal);
}

/// `np/<address>:<port>`.
struct PortalDir;

impl Dir for PortalDir {
    type Object = Portal;
    const FILES: Files<Portal> = files![Attr::rw(c"redirect", show_redirect, store_redirect)];
    const SUBDIRS: &'static [SubDir<Portal>] = &[SubDir::new::<PortalStatisticsDir, _>(
        c"statistics",
        Arc::clone,
    )];
}

fn show_redirect(portal: &Arc<Portal>, out: &mut Page<'_>) -> Result<(), Refusal> {
    match portal.redirect() {
        None => writeln!(out, "none")?,
        Some(Redirect { to, permanent }) => {
            let kind = if permanent { PERMANENT } else { TEMPORARY };
            writeln!(out, "{kind} {to}")?;
        }
    }
    Ok(())
}

/// Reads `none`, `temporary <address>:<port>` or `permanent <address>:<port>`.
fn store_redirect(portal: &Arc<Portal>, value: &[u8]) -> Result<(), Refusal> {
    let value = text::utf8(value.trim_ascii())?;
    let redirect = match value.split_once(' ') {
        None if value == "none" => None,
        Some((kind @ (TEMPORARY | PERMANENT), address)) => {
            let to = parse(address.trim_ascii().as_bytes())?;
            if to.ip().is_unspecified() {
                return Err(Refusal::invalid("must name an address that can be reached"));
            }
            if to == portal.addr() {
                return Err(Refusal::invalid("must not be the portal itself"));
            }
            Some(Redirect {
                to,
                permanent: kind == PERMANENT,
            })
        }
        _ => {
            return Err(Refusal::invalid(
                "must be none, temporary <address>:<port> or permanent <address>:<port>",
            ))
        }
    };
    portal.set_redirect(redirect);
    Ok(())
}

const TEMPORARY: &str = "temporary";
const PERMANENT: &str = "permanent";

fn make_portal(tpg: &Arc<Tpg>, name: &[u8]) -> Result<Arc<Portal>, Refusal> {
    let address = parse(name)?;
    tpg.add_portal(address)
        .explain(&[(EEXIST, "the target has a portal at this address")])
}

fn remove_portal(tpg: &Arc<Tpg>, portal: &Arc<Portal>) {
    tpg.remove_portal(portal);
}

const RULE: &str = "must be <IPv4 address>:<port> or [<IPv6 address>]:<port>";

/// Reads `1.2.3.4:3260`, `[2001:db8::1]:3260` or `[fe80::1%eth0]:3260`.
fn parse(name: &[u8]) -> Result<SocketAddr, Refusal> {
    let wrong = || Refusal::invalid(RULE);
    let name = core::str::from_utf8(name).map_err(|_| wrong())?;
    let (host, port) = name.rsplit_once(':').ok_or_else(wrong)?;
    let port = plain(port).then(|| u16::from_str(port).ok()).flatten();
    let port = port.filter(|p| *p != 0).ok_or(Refusal::invalid(
        "the port must be a number from 1 to 65535, without leading zeros",
    ))?;
    let Some(inner) = host.strip_prefix('[') else {
        let address = Ipv4Addr::from_str(host).map_err(|_| wrong())?;
        return check(SocketAddrV4::new(address, port).into());
    };
    let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
    let (address, scope) = match inner.split_once('%') {
        Some((address, zone)) => (address, scope_of(zone)?),
        None => (inner, 0),
    };
    let address = Ipv6Addr::from_str(address).map_err(|_| wrong())?;
    check(SocketAddrV6::new(address, port, 0, scope).into())
}

/// Whether it is a decimal number in its one form: of the same portal there shall not be two
/// names. The standard library takes signs and leading zeros.
fn plain(number: &str) -> bool {
    number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0')
}

/// The scope identifier that an interface's name or index stands for.
fn scope_of(zone: &str) -> Result<u32, Refusal> {
    if let (true, Ok(index)) = (plain(zone), u32::from_str(zone)) {
        return Ok(index);
    }
    let mut name = [0u8; 16];
    // One byte stays for the NUL.
    let room = name.get_mut(..zone.len().min(15)).unwrap_or_default();
    if room.len() != zone.len() {
        return Err(Refusal::because(ENODEV, "there is no such interface"));
    }
    room.copy_from_slice(zone.as_bytes());
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| EINVAL)?;
    configfs::interface_index(name).explain(&[(ENODEV, "there is no such interface")])
}

fn check(address: SocketAddr) -> Result<SocketAddr, Refusal> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_multicast() || ip.is_broadcast() => Err(Refusal::invalid(
            "must not be a multicast or broadcast address",
        )),
        IpAddr::V6(ip) if ip.is_multicast() => {
            Err(Refusal::invalid("must not be a multicast address"))
        }
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            Err(Refusal::invalid("must be written as an IPv4 address"))
        }
        _ => Ok(address),
    }
}
