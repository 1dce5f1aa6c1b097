// SPDX-License-Identifier: GPL-2.0

//! Requests that are worked on in process context: login and text.
//!
//! A connection has one such request at a time; while it is worked on nothing
//! more is read from the connection, and nobody else waits for it.

use super::{
    login::LoginState,
    out::Note,
    rx::Inbound,
    text::TextState,
    Conn, //
};
use crate::{
    session::Why,
    sys::{
        pages::{
            Gfp,
            PageBuf, //
        },
        socket::Owner, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Protected by the mutex in [`Conn`].
pub(super) struct Control {
    pub(super) login: Option<KBox<LoginState>>,
    pub(super) text: Option<KBox<TextState>>,
}

impl Control {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            login: Some(LoginState::new()?),
            text: None,
        })
    }

    /// The connection is gone.
    pub(super) fn clear(&mut self) {
        if let Some(mut login) = self.login.take() {
            login.undo();
        }
        self.text = None;
    }
}

/// Works on a request.
pub(super) fn handle(conn: &Arc<Conn>, inbound: Inbound) {
    let mut control = conn.control_state.lock();
    if conn.session.as_ref().is_none() {
        super::login::handle(conn, &mut control, inbound);
    } else {
        super::text::handle(conn, &mut control, inbound);
    }
}

/// Sends an answer with `data`, and goes on reading.
pub(super) fn answer(conn: &Arc<Conn>, note: Note, data: &[u8], change: impl FnOnce(&Owner<'_>)) {
    let sent = with_bytes(note, data).map(|note| {
        let owner = conn.sock.own();
        if conn.is_closing() {
            return true;
        }
        change(&owner);
        let queued = conn
            .out
            .open(&owner)
            .is_some_and(|mut out| out.note(note).is_ok());
        read_on(conn, &owner) && queued
    });
    if !matches!(sent, Ok(true)) {
        conn.clone().end(Why::Lost);
    }
}

/// Goes on reading after a request that has no answer.
pub(super) fn ignore(conn: &Arc<Conn>) {
    let there = {
        let owner = conn.sock.own();
        conn.is_closing() || read_on(conn, &owner)
    };
    if !there {
        conn.clone().end(Why::Lost);
    }
}

/// Reads on, and sends what there is to be sent. Whether anything may come yet: a peer that went
/// while nothing was read is not told of again.
fn read_on(conn: &Arc<Conn>, owner: &Owner<'_>) -> bool {
    if let Some(mut rx) = conn.rx.open(owner) {
        rx.go_on();
    }
    let conn = conn.as_arc_borrow();
    Conn::transmit(conn, owner);
    Conn::receive(conn, owner);
    Conn::transmit(conn, owner);
    owner.established() || owner.rx_pending()
}

fn with_bytes(note: Note, data: &[u8]) -> Result<Note> {
    let mut pages = PageBuf::new(data.len(), Gfp::Sleep)?;
    pages.write_at(0, data)?;
    note.with_data(pages, GFP_KERNEL)
}
