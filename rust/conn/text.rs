// SPDX-License-Identifier: GPL-2.0

//! Drives text negotiation in the full feature phase, SendTargets above all.

use super::{
    control::{
        self,
        Control, //
    },
    out::{
        Answer,
        Note, //
    },
    rx::Inbound,
    Conn, //
};
use crate::{
    proto::{
        login::{
            ffp::{
                self,
                Cursor,
                Listing,
                Scope,
                SessionView,
                Targets,
                TextExchange,
                TextStep, //
            },
            params::ConnParams, //
        },
        name::IscsiName,
        serial::Sn,
        text::{
            Buffers,
            Writer,
            TEXT_BUFFER_LEN, //
        },
        wire::{
            Reject,
            Request,
            TextRequest,
            BHS_LEN, //
        }, //
    },
    session::{
        Session,
        Why, //
    },
    stats::{
        self,
        Stat, //
    },
    sys::misc,
    target::{
        Target,
        Tpg,
        TpgAttrib, //
    }, //
};
use core::{
    fmt::Write,
    net::SocketAddr, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A text negotiation under way.
pub(super) struct TextState {
    exchange: TextExchange,
    text: KVec<u8>,
    out: KVec<u8>,
    pub(super) conn: ConnParams,
}

impl TextState {
    pub(super) fn new(conn: ConnParams) -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                exchange: TextExchange::new(),
                text: KVec::new(),
                out: KVec::new(),
                conn,
            },
            GFP_KERNEL,
        )?)
    }

    fn make_room(&mut self) -> Result {
        if self.text.is_empty() {
            self.text = misc::zeros(TEXT_BUFFER_LEN, GFP_KERNEL)?;
            self.out = misc::zeros(TEXT_BUFFER_LEN, GFP_KERNEL)?;
        }
        Ok(())
    }
}

/// Takes a Text Request.
pub(super) fn handle(conn: &Arc<Conn>, control: &mut Control, inbound: Inbound) {
    let (Some(session), Some(state)) = (conn.session.as_ref(), control.text.as_mut()) else {
        return conn.clone().end(Why::Protocol);
    };
    let Ok(Request::Text(request)) = Request::parse(&inbound.header) else {
        return conn.clone().end(Why::Protocol);
    };
    let Some(release) = conn.admit_request(session, request.cmd_sn(), request.immediate()) else {
        return control::ignore(conn);
    };
    if state.make_room().is_err() {
        return conn.clone().end(Why::Lost);
    }
    work(conn, session, state, request, &inbound, release);
    if state.exchange.is_idle() {
        state.text = KVec::new();
        state.out = KVec::new();
    }
}

fn work(
    conn: &Arc<Conn>,
    session: &Arc<Session>,
    state: &mut TextState,
    request: &TextRequest,
    inbound: &Inbound,
    release: bool,
) {
    let view = SessionView {
        session_type: conn.session_type(),
        target: session.tpg().map(|tpg| tpg.target().name()),
    };
    let mut lister = Lister { conn, session };
    let step = state.exchange.handle(
        request,
        &inbound.data,
        view,
        &state.conn,
        Buffers {
            text: &mut state.text,
            out: &mut state.out,
        },
        &mut lister,
    );
    match step {
        TextStep::Respond(reply) => {
            let mut note = Note::new(Answer::Text(reply.response));
            note.release = release;
            let data = state.out.get(reply.data.clone()).unwrap_or(&[]);
            control::answer(conn, note, data, |_| {});
        }
        TextStep::Done(reply) => {
            let mut note = Note::new(Answer::Text(reply.response));
            note.release = release;
            let longer = state.exchange.changes().and_then(|c| c.initiator_length);
            if let Some(length) = longer {
                state.conn.set_initiator_length(length);
            }
            let max_send = state.conn.max_xmit_data_segment_length;
            let data = state.out.get(reply.data.clone()).unwrap_or(&[]);
            control::answer(conn, note, data, |owner| {
                if longer.is_some() {
                    if let Some(mut rx) = conn.rx.open(owner) {
                        rx.set_max_send(max_send);
                    }
                    if let Some(mut tx) = conn.tx.open(owner) {
                        tx.set_max_data(max_send);
                    }
                }
            });
        }
        TextStep::Reject(reason, fault) => {
            stats::one(Stat::Rejects);
            if misc::may_log(misc::Topic::Peers) {
                pr_info!(
                    "{}: text rejected: {}\n",
                    session.initiator().as_str(),
                    crate::error::Shown(&fault)
                );
            }
            let mut note = Note::new(Answer::Reject(Reject {
                reason,
                stat_sn: Sn(0),
                exp_cmd_sn: Sn(0),
                max_cmd_sn: Sn(0),
                data_sn: 0,
                data_len: 0,
            }));
            note.release = release;
            let header: &[u8; BHS_LEN] = &inbound.header;
            control::answer(conn, note, header, |_| {});
        }
    }
}

/// Lists the targets that the initiator may use.
struct Lister<'a> {
    conn: &'a Arc<Conn>,
    session: &'a Arc<Session>,
}

impl Lister<'_> {
    /// Whether the initiator may see the group.
    fn shows(&self, tpg: &Tpg) -> bool {
        if tpg.attrib(TpgAttrib::TpgEnabledSendtargets) != 0 && !tpg.is_enabled() {
            return false;
        }
        tpg.attrib(TpgAttrib::DemoModeDiscovery) != 0
            || tpg.attrib(TpgAttrib::GenerateNodeAcls) != 0
            || tpg.find_acl(self.session.initiator()).is_some()
    }

    /// Writes a target, of which `from` pairs were written before: the name,
    /// then its addresses. Returns how many are when the space ends.
    fn write(&self, target: &Target, from: u32, out: &mut Writer<'_>) -> Result<(), u32> {
        let mut n = 0u32;
        let mut named = from != 0;
        let mut full = None;
        let mut groups = 0usize;
        // Groups one after the other, so that no lock is held while writing.
        loop {
            let mut seen = 0usize;
            let tpg = target.find_tpg(|_| {
                seen = seen.saturating_add(1);
                seen > groups
            });
            let Some(tpg) = tpg else {
                break;
            };
            groups = groups.saturating_add(1);
            if !self.shows(&tpg) {
                continue;
            }
            tpg.for_each_portal(&mut |portal| {
                if portal.net() != self.conn.net {
                    // It is of another network, where the initiator is not.
                    return;
                }
                let Some(addr) = self.reachable(portal.addr()) else {
                    return;
                };
                n = n.saturating_add(1);
                if full.is_some() || n < from {
                    return;
                }
                if !named {
                    if ffp::write_target(target.name(), out).is_err() {
                        full = Some(0);
                        return;
                    }
                    named = true;
                }
                let mut text = AddressText::new();
                let written = text
                    .put(addr)
                    .is_ok_and(|text| ffp::write_address(text, tpg.tag(), out).is_ok());
                if !written {
                    full = Some(n);
                }
            });
        }
        match full {
            Some(at) => Err(at),
            None => Ok(()),
        }
    }

    /// The address to tell: for a portal on all addresses the one that the
    /// initiator has reached, if it is of the same family. Which of its interfaces
    /// leads to a link-local address the initiator has to know.
    fn reachable(&self, portal: SocketAddr) -> Option<SocketAddr> {
        let local = self.conn.local.ip();
        match portal.ip() {
            ip if !ip.is_unspecified() => Some(SocketAddr::new(ip, portal.port())),
            ip if ip.is_ipv4() && local.is_ipv6() => None,
            _ => Some(SocketAddr::new(local, portal.port())),
        }
    }
}

impl Targets for Lister<'_> {
    fn send_targets(&mut self, scope: Scope<'_>, from: Cursor, out: &mut Writer<'_>) -> Listing {
        match scope {
            Scope::One(name) => {
                let name: &IscsiName = name;
                if let Some(target) = self.conn.targets.find_target(name) {
                    if let Err(address) = self.write(&target, from.address, out) {
                        return Listing::Continues(Cursor { target: 0, address });
                    }
                }
                Listing::Complete
            }
            Scope::All => {
                let mut at = from;
                while let Some(target) = self.conn.targets.target_after(at.target) {
                    let start = if target.id() == at.target {
                        at.address
                    } else {
                        0
                    };
                    if let Err(address) = self.write(&target, start, out) {
                        return Listing::Continues(Cursor {
                            target: target.id(),
                            address,
                        });
                    }
                    at = Cursor {
                        target: target.id().saturating_add(1),
                        address: 0,
                    };
                }
                Listing::Complete
            }
        }
    }
}

/// The text of an address: at most `[8 groups%scope]:port`.
pub(super) struct AddressText {
    bytes: [u8; 72],
    len: usize,
}

impl AddressText {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; 72],
            len: 0,
        }
    }

    pub(super) fn put(&mut self, addr: SocketAddr) -> Result<&str, core::fmt::Error> {
        write!(self, "{}", addr)?;
        let bytes = self.bytes.get(..self.len).unwrap_or(&[]);
        core::str::from_utf8(bytes).map_err(|_| core::fmt::Error)
    }
}

impl Write for AddressText {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(core::fmt::Error)?;
        self.bytes
            .get_mut(self.len..end)
            .ok_or(core::fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}
