// SPDX-License-Identifier: GPL-2.0

//! `lun/lun_<n>/statistics`, `np/<address>:<port>/statistics`, and the file `sessions` of a portal group: what
//! has been counted.

use crate::{
    meter::{
        self,
        Count,
        Meter,
        Sums, //
    },
    portal::Portal,
    proto::{
        latency::{
            bound_us,
            BUCKETS, //
        },
        login::params::{
            Digest,
            SessionParams, //
        }, //
    },
    session::{
        ConnState,
        SessionInfo,
        SessionState, //
    },
    sys::configfs::{
        files,
        Dir,
        Files,
        Long,
        Page,
        Refusal, //
    },
    tally::Login,
    target::{
        Lun,
        Tpg, //
    }, //
};
use core::fmt::{
    self,
    Write, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// `statistics` of a portal.
pub(super) struct PortalStatisticsDir;

impl Dir for PortalStatisticsDir {
    type Object = Portal;
    const FILES: Files<Portal> = files![Attr::ro(c"counters", show_portal)];
}

fn show_portal(portal: &Arc<Portal>, out: &mut Page<'_>) -> Result<(), Refusal> {
    let totals = portal.tally().totals()?;
    writeln!(out, "sessions {}", totals.sessions)?;
    for (name, how) in [
        ("logins", Login::Done),
        ("logins_refused", Login::Refused),
        ("logins_redirected", Login::Redirected),
    ] {
        writeln!(out, "{name} {}", totals.logins(how))?;
    }
    writeln!(out, "outstanding {}", totals.sums.outstanding())?;
    Ok(put_counters(out, &totals.sums)?)
}

/// `statistics` of a LUN.
pub(super) struct StatisticsDir;

impl Dir for StatisticsDir {
    type Object = Lun;
    const FILES: Files<Lun> = files![
        Attr::ro(c"counters", |lun: &Arc<Lun>, out: &mut Page<'_>| {
            let sums = Sums::of(lun.meter());
            writeln!(out, "outstanding {}", sums.outstanding())?;
            Ok(put_counters(out, &sums)?)
        }),
        Attr::ro(c"latency", |lun: &Arc<Lun>, out: &mut Page<'_>| {
            put_bounds(out)?;
            for (name, stage) in meter::STAGES {
                put_histogram(out, name, lun.meter(), stage)?;
            }
            Ok(())
        }),
    ];
}

/// One name and one number a line.
fn put_counters(out: &mut dyn Write, sums: &Sums) -> fmt::Result {
    let [reads, writes, others] =
        [Count::Reads, Count::Writes, Count::Others].map(|c| sums.count(c));
    let commands = reads.wrapping_add(writes).wrapping_add(others);
    writeln!(out, "commands {commands}")?;
    for (name, count) in meter::NAMES {
        writeln!(out, "{name} {}", sums.count(*count))?;
    }
    for (key, name) in (0u8..).zip(meter::SENSE_NAMES) {
        if !name.is_empty() {
            writeln!(out, "{name} {}", sums.with_sense(key))?;
        }
    }
    Ok(())
}

/// What the classes end at.
fn put_bounds(out: &mut dyn Write) -> fmt::Result {
    out.write_str("below_us")?;
    for class in 0..BUCKETS {
        match bound_us(class) {
            Some(us) => write!(out, " {us}")?,
            None => out.write_str(" inf")?,
        }
    }
    out.write_str("\n")
}

fn put_histogram<const N: usize>(
    out: &mut dyn Write,
    name: &str,
    meter: &Meter<N>,
    stage: meter::Stage,
) -> fmt::Result {
    out.write_str(name)?;
    for class in 0..BUCKETS {
        write!(out, " {}", meter.timed(stage, class))?;
    }
    writeln!(out, "\n{name}_sum_ns {}", meter.time_ns(stage))
}

/// All sessions of a portal group: of each a line `session` and what is known
/// of it, one name and value a line. The oldest first: if more have come than
/// there is room for since it was counted, they are the ones that are not there.
pub(super) fn show_sessions(tpg: &Arc<Tpg>, out: &mut Long<'_>) -> Result<(), Refusal> {
    tpg.for_each_session_by_age(&mut |session| {
        session.with_info(&mut |info| out.fits(|out| put_session(out, info)))
    });
    Ok(())
}

fn put_session(out: &mut Long<'_>, info: &SessionInfo<'_>) -> fmt::Result {
    writeln!(out, "session {}", info.id)?;
    writeln!(out, "initiator {}", info.initiator)?;
    out.write_str("alias ")?;
    for chunk in info.alias.utf8_chunks() {
        for c in chunk.valid().chars() {
            out.write_char(if c.is_control() { '?' } else { c })?;
        }
    }
    let [a, b, c, d, e, f] = info.isid;
    writeln!(out, "\nisid 0x{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")?;
    writeln!(out, "tsih {}", info.tsih)?;
    let state = match info.state {
        SessionState::LoggedIn if info.logout_in_ms.is_some() => "logout_requested",
        SessionState::LoggedIn => "logged_in",
        SessionState::Failed => "failed",
    };
    writeln!(out, "state {state}")?;
    if let Some(ms) = info.logout_in_ms {
        writeln!(out, "logout_in_ms {ms}")?;
    }
    writeln!(out, "dynamic {}", u8::from(info.acl.is_none()))?;
    if let Some(acl) = info.acl {
        writeln!(out, "acl {acl}")?;
    }
    writeln!(out, "age_ms {}", info.age_ms)?;
    writeln!(out, "queue_depth {}", info.window)?;
    writeln!(out, "outstanding {}", info.outstanding)?;
    writeln!(out, "exp_cmd_sn {}", info.exp_cmd_sn)?;
    writeln!(out, "max_cmd_sn {}", info.max_cmd_sn)?;
    for name in SessionParams::NAMES {
        write!(out, "{name} ")?;
        info.params.show(name, out)?;
        out.write_str("\n")?;
    }
    put_counters(out, &Sums::of(info.meter))?;
    put_bounds(out)?;
    let [(name, stage), ..] = meter::STAGES;
    put_histogram(out, name, info.meter, stage)?;
    for conn in info.conns {
        let state = match conn.state {
            ConnState::LoggedIn => "logged_in",
            ConnState::CleanupWait => "cleanup_wait",
        };
        let digest = |digest| match digest {
            Digest::None => "None",
            Digest::Crc32c => "CRC32C",
        };
        let facts = &conn.facts;
        writeln!(
            out,
            "connection {} {state} {} {} HeaderDigest={} DataDigest={} \
             MaxRecvDataSegmentLength={} MaxXmitDataSegmentLength={} stat_sn={}",
            conn.cid,
            facts.peer,
            facts.local,
            digest(facts.params.header_digest),
            digest(facts.params.data_digest),
            facts.params.max_recv_data_segment_length,
            facts.params.max_xmit_data_segment_length,
            conn.stat_sn
        )?;
    }
    Ok(())
}
