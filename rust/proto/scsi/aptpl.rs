// SPDX-License-Identifier: GPL-2.0

//! What is written down of persistent reservations so that they survive a loss
//! of power (SPC-4 5.9.5, APTPL).
//!
//! A text: who it is of, the type, a line for each registration, and how many
//! there are with a CRC32C of all before it. Numbers have a fixed number of
//! hexadecimal digits.
//!
//! ```text
//! ferrite persistent reservations 1
//! serial 0a1b2c3d
//! type 5
//! registration 00000000000000ab 800000000001 0001 h iqn.2003-01.org.example:host
//! end 0001 89abcdef
//! ```
//!
//! After the port stands `h` for the holder, `a` for ALL_TG_PT, `ah` for both,
//! or `-`. PRGENERATION is not in it: it begins at 0 again.

use super::persist::{
    ItNexus, //
    Persist,
    PrType,
    Registrant,
    Registry,
};
use super::put::Put;
use crate::proto::name::{
    self, //
    IscsiName,
};
use core::fmt;

/// What it begins with; the version follows.
const MAGIC: &[u8] = b"ferrite persistent reservations ";

/// The version that is written, and the only one that is read.
const VERSION: &[u8] = b"1";

/// What the last line begins with.
const END: &[u8] = b"end ";

/// Bytes of the last line before its CRC: `end`, the count, spaces.
const COUNTED: usize = 9;

/// Bytes of the last line.
const LAST_LINE: usize = COUNTED + 9;

/// What a file's name begins with; the serial number follows.
const PREFIX: &[u8] = b"aptpl_";

/// The longest name of a file, in bytes: with what an administrator's or our
/// own tool adds to it, it still is one.
pub const MAX_NAME: usize = 240;

/// The longest line of a registration, in bytes.
const MAX_LINE: usize = 64 + name::MAX_LEN;

/// The longest text with so many registrations at most, in bytes.
pub const fn max_len(registrations: usize) -> usize {
    registrations.saturating_mul(MAX_LINE).saturating_add(1024)
}

/// Why a text cannot be taken for what was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is something else.
    Foreign,
    /// It is of a version that is not known.
    Version,
    /// Its end is missing.
    Truncated,
    /// It is not what was written: the CRC does not match.
    Damaged,
    /// It is of another unit.
    Serial,
    /// That line, from 1, is wrong.
    Line(usize),
    /// There are fewer or more registrations than it says.
    Count,
    /// There is no room for so many.
    TooMany,
    /// A reservation has no holder, or there is a holder and no reservation.
    Holder,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "does not hold persistent reservations",
            Self::Version => "is of a version that is not known",
            Self::Truncated => "is cut off",
            Self::Damaged => "is damaged: its CRC does not match",
            Self::Serial => "is of a unit with another serial number",
            Self::Line(n) => return write!(f, "is wrong in line {n}"),
            Self::Count => "has another number of registrations than it says",
            Self::TooMany => "has too many registrations",
            Self::Holder => "does not say clearly who holds the reservation",
        })
    }
}

/// The name of the file for a unit of that serial number: characters other
/// than letters, digits, `-`, `_` and `.` as `%` and two digits. Returns its
/// length; `None` if there is no serial number, or one too long for a name.
pub fn file_name(serial: &[u8], out: &mut [u8; MAX_NAME]) -> Option<usize> {
    if serial.is_empty() {
        return None;
    }
    let mut put = Put::new(out);
    put.bytes(PREFIX);
    for byte in serial {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            put.u8(*byte);
        } else {
            put.u8(b'%');
            hex(&[*byte], &mut put);
        }
    }
    let len = put.len();
    (len <= MAX_NAME).then_some(len)
}

fn digit(value: u8) -> u8 {
    char::from_digit(u32::from(value & 0xf), 16).unwrap_or('0') as u8
}

fn hex(bytes: &[u8], out: &mut Put<'_>) {
    for byte in bytes {
        out.u8(digit(byte >> 4));
        out.u8(digit(*byte));
    }
}

/// Writes down registrations and reservation, as much as fits; returns how long
/// the whole is. `crc` is CRC32C.
pub fn write<R: Registry>(
    persist: &Persist<R>,
    serial: &[u8],
    crc: impl Fn(&[u8]) -> u32,
    buf: &mut [u8],
) -> usize {
    let all = persist.registry().all();
    let mut out = Put::new(buf);
    out.bytes(MAGIC);
    out.bytes(VERSION);
    out.bytes(b"\nserial ");
    out.bytes(serial);
    out.bytes(b"\ntype ");
    out.u8(digit(persist.kind().map_or(0, |kind| kind as u8)));
    out.bytes(b"\n");
    for r in all {
        out.bytes(b"registration ");
        hex(&r.key.to_be_bytes(), &mut out);
        out.bytes(b" ");
        hex(&r.nexus.isid, &mut out);
        out.bytes(b" ");
        hex(&r.nexus.port.to_be_bytes(), &mut out);
        out.bytes(match (r.all_ports, r.holder) {
            (false, false) => b" - ",
            (false, true) => b" h ",
            (true, false) => b" a ",
            (true, true) => b" ah ",
        });
        out.bytes(r.nexus.initiator.as_str().as_bytes());
        out.bytes(b"\n");
    }
    out.bytes(END);
    let count = u16::try_from(all.len()).unwrap_or(u16::MAX);
    hex(&count.to_be_bytes(), &mut out);
    out.bytes(b" ");
    let at = out.len();
    let sum = buf.get(..at).map_or(0, crc);
    let mut out = Put::new(buf.get_mut(at..).unwrap_or(&mut []));
    hex(&sum.to_be_bytes(), &mut out);
    out.bytes(b"\n");
    out.len().saturating_add(at)
}

/// Reads what [`write()`] has written: the registrations into an empty
/// `registry`, and the type of the reservation.
///
/// # Errors
///
/// [`Fault`]; what `registry` has then is of no use.
pub fn read<R: Registry>(
    text: &[u8],
    serial: &[u8],
    crc: impl Fn(&[u8]) -> u32,
    registry: &mut R,
) -> Result<Option<PrType>, Fault> {
    let Some(rest) = text.strip_prefix(MAGIC) else {
        return Err(if MAGIC.starts_with(text) {
            Fault::Truncated
        } else {
            Fault::Foreign
        });
    };
    let (version, rest) = line(rest)?;
    if version != VERSION {
        return Err(Fault::Version);
    }
    let at = rest.len().checked_sub(LAST_LINE).ok_or(Fault::Truncated)?;
    let (body, last) = rest.split_at_checked(at).ok_or(Fault::Truncated)?;
    if !body.ends_with(b"\n") || !last.starts_with(END) || !last.ends_with(b"\n") {
        return Err(Fault::Truncated);
    }
    let (counted, sum) = last.split_at_checked(COUNTED).ok_or(Fault::Truncated)?;
    let summed = text.len().saturating_sub(sum.len());
    let sum: [u8; 4] = unhex(sum.trim_ascii_end()).ok_or(Fault::Damaged)?;
    if text.get(..summed).map(crc) != Some(u32::from_be_bytes(sum)) {
        return Err(Fault::Damaged);
    }
    let count: [u8; 2] = counted
        .strip_prefix(END)
        .and_then(|c| unhex(c.trim_ascii_end()))
        .ok_or(Fault::Count)?;
    let (of, body) = line(body)?;
    if of.strip_prefix(b"serial ") != Some(serial) {
        return Err(Fault::Serial);
    }
    let (kind, mut body) = line(body)?;
    let kind = match kind.strip_prefix(b"type ") {
        Some(b"0") => None,
        Some([code]) => Some(
            char::from(*code)
                .to_digit(16)
                .and_then(|code| PrType::from_code(u8::try_from(code).ok()?))
                .ok_or(Fault::Line(3))?,
        ),
        _ => return Err(Fault::Line(3)),
    };
    let mut n = 3usize;
    while !body.is_empty() {
        n = n.saturating_add(1);
        let (entry, more) = line(body)?;
        body = more;
        let new = registration(entry).ok_or(Fault::Line(n))?;
        if registry.all().iter().any(|r| r.nexus == new.nexus) {
            return Err(Fault::Line(n));
        }
        registry.push(new).map_err(|_| Fault::TooMany)?;
    }
    let all = registry.all();
    if all.len() != usize::from(u16::from_be_bytes(count)) {
        return Err(Fault::Count);
    }
    let holders = all.iter().filter(|r| r.holder).count();
    let clear = match kind {
        None => holders == 0,
        Some(kind) if kind.is_all_registrants() => !all.is_empty(),
        Some(_) => holders == 1,
    };
    if !clear {
        return Err(Fault::Holder);
    }
    Ok(kind)
}

/// The first line, without what ends it, and what follows.
fn line(text: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let end = text
        .iter()
        .position(|b| *b == b'\n')
        .ok_or(Fault::Truncated)?;
    let (first, rest) = text.split_at_checked(end).ok_or(Fault::Truncated)?;
    Ok((first, rest.get(1..).unwrap_or(&[])))
}

fn registration(line: &[u8]) -> Option<Registrant> {
    let mut words = line
        .strip_prefix(b"registration ")?
        .splitn(5, |b| *b == b' ');
    let key = u64::from_be_bytes(unhex(words.next()?)?);
    let isid = unhex(words.next()?)?;
    let port = u16::from_be_bytes(unhex(words.next()?)?);
    let (all_ports, holder) = match words.next()? {
        b"-" => (false, false),
        b"h" => (false, true),
        b"a" => (true, false),
        b"ah" => (true, true),
        _ => return None,
    };
    let initiator = IscsiName::parse(words.next()?).ok()?;
    (key != 0).then_some(Registrant {
        nexus: ItNexus {
            initiator,
            isid,
            port,
        },
        key,
        all_ports,
        holder,
    })
}

/// Exactly `N` bytes in hexadecimal digits.
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut digits = digits.iter();
    for byte in &mut out {
        for _ in 0..2 {
            let value = char::from(*digits.next()?).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    digits.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests;
