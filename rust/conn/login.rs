// SPDX-License-Identifier: GPL-2.0

//! Drives the login machine: what it asks, configuration answers.

use super::{
    control::{
        self,
        Control, //
    },
    kept::Kept,
    out::{
        Answer,
        Note, //
    },
    rx::{
        Inbound,
        Room, //
    },
    text::AddressText,
    Conn, //
};
use crate::{
    proto::{
        chap::{
            Algorithm,
            Credentials as Chap,
            NoCredentials,
            Whose,
            MAX_DIGEST_LEN,
            MAX_NAME_LEN, //
        },
        login::{
            params::{
                Digest,
                TpgParams, //
            },
            write_moved,
            Admission,
            AuthPolicy,
            Fault,
            Host,
            Identity as Who,
            Login,
            LoginResult,
            Reply,
            SessionType,
            Step, //
        },
        text::{
            Buffers,
            NoSpace,
            Writer,
            TEXT_BUFFER_LEN, //
        },
        wire::{
            LoginStatus,
            Request, //
        }, //
    },
    session::{
        ConnFacts,
        Identity,
        Session,
        Why,
        IMMEDIATE_SLOTS, //
    },
    stats::{
        self,
        Stat, //
    },
    sys::misc,
    tally::{
        self,
        Tally, //
    },
    target::{
        Acl,
        AclAttrib,
        CredentialField,
        Credentials,
        DiscoveryAuth,
        Gate,
        Tpg,
        TpgAttrib, //
    },
    task::Link, //
};
use core::net::SocketAddr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Commands beyond a session's window for which there is a place.
const EXTRA_TASKS: u32 = 16;

/// The window of a discovery session.
const DISCOVERY_DEPTH: u32 = 16;

/// A login under way.
pub(super) struct LoginState {
    machine: Login,
    text: KVec<u8>,
    out: KVec<u8>,
    found: Found,
}

/// What the login is about, as it becomes known.
#[derive(Default)]
struct Found {
    tpg: Option<Arc<Tpg>>,
    acl: Option<Arc<Acl>>,
    discovery: Option<Arc<DiscoveryAuth>>,
    session: Option<Arc<Session>>,
    tally: Option<Arc<Tally>>,
    moved_to: Option<SocketAddr>,
    /// The session was made by this login.
    fresh: bool,
}

impl LoginState {
    pub(super) fn new() -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                machine: Login::new(),
                text: KVec::new(),
                out: KVec::new(),
                found: Found::default(),
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

    /// For the portal, once it is known.
    fn count(&self, how: tally::Login) {
        if let Some(tally) = self.found.tally.as_ref() {
            tally.count(how);
        }
    }

    /// The login did not come to its end: takes back what it had made.
    pub(super) fn undo(&mut self) {
        let session = self.found.session.take();
        if let Some(session) = session.filter(|_| self.found.fresh) {
            session.teardown();
        }
    }
}

/// Takes a Login Request.
pub(super) fn handle(conn: &Arc<Conn>, control: &mut Control, inbound: Inbound) {
    let Some(state) = control.login.as_mut() else {
        return conn.clone().end(Why::Protocol);
    };
    if state.make_room().is_err() {
        return conn.clone().end(Why::Lost);
    }
    let state = &mut **state;
    let mut asker = Asker {
        conn,
        found: &mut state.found,
    };
    let buffers = Buffers {
        text: &mut state.text,
        out: &mut state.out,
    };
    let step = match Request::parse(&inbound.header) {
        _ if inbound.too_long => state.machine.handle_too_long(&inbound.header),
        Err(error) => state.machine.handle_malformed(&inbound.header, error),
        Ok(Request::Login(request)) => {
            conn.login_cmd_sn.store(request.cmd_sn().0, Relaxed);
            state
                .machine
                .handle(request, &inbound.data, buffers, &mut asker)
        }
        Ok(_) => state.machine.handle_other(),
    };
    match step {
        Step::Respond(reply) => {
            let data = state.out.get(reply.data.clone()).unwrap_or(&[]);
            control::answer(conn, login_note(&reply, None), data, |_| {});
        }
        Step::Done(reply) => {
            finish(conn, state, &mut control.text, reply);
            control.login = None;
        }
        Step::Refuse(reply, fault) => {
            let (stat, how) = match fault {
                Fault::Moved(_) => (Stat::LoginsRedirected, tally::Login::Redirected),
                _ => (Stat::LoginsRefused, tally::Login::Refused),
            };
            stats::one(stat);
            state.count(how);
            tell(conn, state, &fault);
            let data = state.out.get(reply.data.clone()).unwrap_or(&[]);
            let note = login_note(&reply, Some(Why::Refused));
            control::answer(conn, note, data, |_| {});
        }
        Step::Drop(fault) => {
            stats::one(Stat::LoginsRefused);
            state.count(tally::Login::Refused);
            tell(conn, state, &fault);
            conn.clone().end(Why::Refused);
        }
    }
}

fn tell(conn: &Arc<Conn>, state: &LoginState, fault: &dyn core::fmt::Display) {
    if !misc::may_log(misc::Topic::Peers) {
        return;
    }
    let fault = crate::error::Shown(fault);
    match state.machine.initiator() {
        Some(name) => pr_info!(
            "{} at {:?}: login refused: {}\n",
            name.as_str(),
            conn.peer,
            fault
        ),
        None => pr_info!("{:?}: login refused: {}\n", conn.peer, fault),
    }
}

fn login_note(reply: &Reply, then: Option<Why>) -> Note {
    let mut note = Note::new(Answer::Login(reply.response));
    note.then = then;
    note
}

/// The last response: the full feature phase begins.
fn finish(
    conn: &Arc<Conn>,
    state: &mut LoginState,
    next: &mut Option<KBox<super::text::TextState>>,
    reply: Reply,
) {
    // Without the proof there is no full feature phase.
    let proof = state.machine.take_proof();
    let (Some(_proof), Some(session), Some(result)) =
        (proof, state.found.session.take(), state.machine.result())
    else {
        return conn.clone().end(Why::Refused);
    };
    let params = result.conn;
    let max_burst = result.session.max_burst_length;
    let tasks = session.depth().saturating_add(EXTRA_TASKS) as usize;
    stats::one(Stat::Logins);
    state.count(tally::Login::Done);
    if !session.is_discovery() && misc::may_log(misc::Topic::Peers) {
        pr_info!(
            "{} at {:?}: logged in to {}\n",
            session.initiator().as_str(),
            conn.peer,
            result.target.map_or("", |t| t.as_str())
        );
    }
    let link: Arc<dyn Link> = conn.clone();
    conn.cid.store(u32::from(result.cid), Relaxed);
    if !state.found.fresh {
        stats::one(Stat::ConnsAdded);
    }
    let facts = ConnFacts {
        peer: conn.peer,
        local: conn.local,
        params,
    };
    if !session.join(result.cid, facts, link) {
        return conn.clone().end(Why::Lost);
    }
    // Its portal group may have been shut, or the session replaced or logged out, while this
    // connection was not there to be closed.
    let listed = session.tpg().is_none_or(|tpg| tpg.has_session(&session));
    let stays = listed && !session.is_doomed();
    conn.session.populate(session);
    if !stays {
        let why = if listed { Why::Lost } else { Why::Removed };
        return conn.clone().end(why);
    }
    let level = conn
        .session
        .as_ref()
        .map_or(0, |s| s.params().error_recovery_level);
    let kept = match level {
        0 => Ok(None),
        _ => Kept::new().map(Some),
    };
    let text = super::text::TextState::new(params);
    let (Ok(text), Ok(room), Ok(kept)) = (text, Room::new(tasks), kept) else {
        return conn.clone().end(Why::Lost);
    };
    *next = Some(text);
    if conn.session.as_ref().is_some_and(|s| s.is_discovery()) {
        // It has no NOPs, and the reset of a peer that has gone may get lost: TCP drops
        // it where a task has the socket and much waits for it.
        conn.sock.probe();
    }
    let data = state.out.get(reply.data.clone()).unwrap_or(&[]);
    control::answer(conn, login_note(&reply, None), data, |owner| {
        let header = params.header_digest == Digest::Crc32c;
        let digest = params.data_digest == Digest::Crc32c;
        let max_send = params.max_xmit_data_segment_length;
        let shared = conn.session.as_ref().is_some_and(|s| s.is_shared());
        if let Some(mut rx) = conn.rx.open(owner) {
            rx.prepare(room);
            rx.activate(
                header,
                digest,
                params.max_recv_data_segment_length,
                max_send,
                shared,
                level,
            );
        }
        if let Some(mut tx) = conn.tx.open(owner) {
            tx.activate(kept, header, digest, max_send, max_burst);
        }
        // What others have to say comes after the response, which is queued next.
        conn.full_feature.store(1, Relaxed);
    });
}

/// Answers the machine's questions.
struct Asker<'a> {
    conn: &'a Arc<Conn>,
    found: &'a mut Found,
}

impl Asker<'_> {
    /// The credentials that hold for this initiator: its own where it has
    /// any, else those of the portal group; for discovery those of discovery.
    fn with_credentials<R>(&self, use_them: impl FnOnce(&Credentials) -> R) -> Option<R> {
        if let Some(acl) = &self.found.acl {
            if acl.credentials().has_one_way() {
                return Some(use_them(acl.credentials()));
            }
        }
        if let Some(tpg) = &self.found.tpg {
            return Some(use_them(tpg.credentials()));
        }
        self.found
            .discovery
            .as_ref()
            .map(|d| use_them(d.credentials()))
    }

    fn discovery(&mut self, who: &Who<'_>) -> Result<Admission, LoginStatus> {
        let mut tag = None;
        if let Some(name) = who.target {
            let (_, tpg) = self.locate(name)?;
            tag = Some(tpg.tag());
        }
        let auth = self.conn.targets.discovery().clone();
        let admission = Admission {
            offer: TpgParams::default(),
            auth: AuthPolicy {
                required: auth.enforce(),
                algorithms: auth.algorithms(),
                credentials: auth.credentials().has_one_way(),
            },
            portal_group_tag: tag,
            session: None,
        };
        if who.tsih != 0 {
            return Err(LoginStatus::SESSION_DOES_NOT_EXIST);
        }
        self.found.discovery = Some(auth);
        Ok(admission)
    }

    /// The portal group of a target that this connection came by, and the way
    /// in.
    fn locate(
        &self,
        name: &crate::proto::name::IscsiName,
    ) -> Result<(Gate, Arc<Tpg>), LoginStatus> {
        let target = self
            .conn
            .targets
            .find_target(name)
            .ok_or(LoginStatus::NOT_FOUND)?;
        let mut gate = None;
        let tpg = target.find_tpg(|tpg| {
            gate = tpg.gate_at(self.conn.door);
            gate.is_some()
        });
        gate.zip(tpg).ok_or(LoginStatus::NOT_FOUND)
    }

    fn normal(&mut self, who: &Who<'_>) -> Result<Admission, LoginStatus> {
        let name = who.target.ok_or(LoginStatus::MISSING_PARAMETER)?;
        let (gate, tpg) = self.locate(name)?;
        self.found.tally = Some(gate.tally);
        if !tpg.is_enabled() {
            return Err(LoginStatus::SERVICE_UNAVAILABLE);
        }
        let seconds = u64::from(tpg.attrib(TpgAttrib::LoginTimeout));
        self.conn
            .login_timeout_ms
            .store(seconds.saturating_mul(1000), Relaxed);
        let acl = tpg.find_acl(who.initiator);
        if acl.is_none() && tpg.attrib(TpgAttrib::GenerateNodeAcls) == 0 {
            return Err(LoginStatus::AUTHORIZATION_FAILURE);
        }
        // Only those who might be let in are told where to go.
        if let Some(redirect) = gate.redirect {
            self.found.moved_to = Some(redirect.to);
            return Err(match redirect.permanent {
                true => LoginStatus::TARGET_MOVED_PERMANENTLY,
                false => LoginStatus::TARGET_MOVED_TEMPORARILY,
            });
        }
        let session = match who.tsih {
            0 => None,
            tsih => Some(self.joinable(&tpg, tsih, who)?),
        };
        let own = acl
            .as_ref()
            .map_or(-1, |acl| acl.attrib(AclAttrib::Authentication));
        let required = match own {
            0 => false,
            1 => true,
            _ => tpg.attrib(TpgAttrib::Authentication) != 0,
        };
        let mut offer = TpgParams::default();
        tpg.with_params(|params| offer = params.clone());
        let algorithms = tpg.algorithms();
        self.found.acl = acl;
        self.found.tpg = Some(tpg.clone());
        let credentials = self
            .with_credentials(Credentials::has_one_way)
            .unwrap_or(false);
        Ok(Admission {
            offer,
            auth: AuthPolicy {
                required,
                algorithms,
                credentials,
            },
            portal_group_tag: Some(tpg.tag()),
            session,
        })
    }

    /// The session that a connection wants to join, or of which it wants to
    /// replace a connection (RFC 7143 6.3.4).
    fn joinable(
        &self,
        tpg: &Tpg,
        tsih: u16,
        who: &Who<'_>,
    ) -> Result<crate::proto::login::params::SessionParams, LoginStatus> {
        let session = tpg
            .find_session(tsih)
            .ok_or(LoginStatus::SESSION_DOES_NOT_EXIST)?;
        if !session.is_port(who.initiator, who.isid) {
            return Err(LoginStatus::CANT_INCLUDE_IN_SESSION);
        }
        if !session.has_room_for(who.cid) {
            return Err(LoginStatus::TOO_MANY_CONNECTIONS);
        }
        Ok(*session.params())
    }
}

impl Chap for Asker<'_> {
    fn random(&mut self, out: &mut [u8]) {
        misc::random(out);
    }

    fn chap_user(&mut self, name: &[u8]) -> bool {
        self.with_credentials(|c| {
            c.has_one_way()
                && c.with(CredentialField::Userid, |known| {
                    misc::equal_constant_time(known, name)
                })
        })
        .unwrap_or(false)
    }

    fn mutual_user(&mut self, out: &mut [u8; MAX_NAME_LEN]) -> Result<usize, NoCredentials> {
        self.with_credentials(|c| {
            if !c.has_mutual() {
                return Err(NoCredentials);
            }
            c.with(CredentialField::UseridMutual, |name| {
                out.get_mut(..name.len())
                    .ok_or(NoCredentials)?
                    .copy_from_slice(name);
                Ok(name.len())
            })
        })
        .unwrap_or(Err(NoCredentials))
    }

    fn chap_digest(
        &mut self,
        algorithm: Algorithm,
        id: u8,
        challenge: &[u8],
        whose: Whose,
        out: &mut [u8; MAX_DIGEST_LEN],
    ) -> Result<usize, NoCredentials> {
        let field = match whose {
            Whose::Inbound => CredentialField::Password,
            Whose::Mutual => CredentialField::PasswordMutual,
        };
        self.with_credentials(|c| {
            c.with(field, |secret| {
                if secret.is_empty() {
                    return Err(NoCredentials);
                }
                let number = u32::from(algorithm.number());
                misc::chap_digest(number, id, secret, challenge, out).map_err(|_| NoCredentials)
            })
        })
        .unwrap_or(Err(NoCredentials))
    }

    fn constant_time_eq(&self, a: &[u8], b: &[u8]) -> bool {
        misc::equal_constant_time(a, b)
    }
}

/// There are too many of these.
fn no_room(login: &LoginResult<'_>, of: &str) -> LoginStatus {
    stats::one(Stat::LoginsTurnedAway);
    if misc::may_log(misc::Topic::Peers) {
        pr_warn!(
            "{}: no room for more {of}, see the module parameters {of} and {of}_per_address\n",
            login.initiator.as_str()
        );
    }
    LoginStatus::OUT_OF_RESOURCES
}

/// TSIHs of discovery sessions, which belong to no portal group.
static DISCOVERY_TSIH: Atomic<u32> = Atomic::new(1);

impl Host for Asker<'_> {
    fn authorize(&mut self, who: &Who<'_>) -> Result<Admission, LoginStatus> {
        match who.session_type {
            SessionType::Discovery => self.discovery(who),
            SessionType::Normal => self.normal(who),
        }
    }

    fn write_moved(&mut self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        let to = self.found.moved_to.ok_or(NoSpace)?;
        let mut text = AddressText::new();
        write_moved(text.put(to).map_err(|_| NoSpace)?, out)
    }

    fn open_session(&mut self, login: &LoginResult<'_>) -> Result<u16, LoginStatus> {
        let tpg = match login.session_type {
            SessionType::Normal => self.found.tpg.clone(),
            SessionType::Discovery => None,
        };
        // One that takes another one's place, or joins its session, may come all the same.
        let replaces = |tpg: &Arc<Tpg>| {
            let mut found = false;
            tpg.for_each_session(&mut |s| {
                found |= s.isid() == login.isid && *s.initiator() == *login.initiator;
                !found
            });
            found
        };
        let doors = &self.conn.targets.doors;
        let from = self.conn.peer().ip();
        if let Some(tpg) = &tpg {
            let room = doors.has_room(from) || (replaces(tpg) && doors.has_room_instead(from));
            if !room {
                return Err(no_room(login, "connections"));
            }
        }
        if let (Some(tpg), true) = (&tpg, login.tsih != 0) {
            // Another one may have its TSIH by now.
            let session = tpg
                .find_session(login.tsih)
                .filter(|s| s.is_port(login.initiator, login.isid))
                .ok_or(LoginStatus::SESSION_DOES_NOT_EXIST)?;
            self.found.session = Some(session);
            return Ok(login.tsih);
        }
        let (tsih, depth) = match &tpg {
            Some(tpg) => (
                tpg.free_tsih().ok_or(LoginStatus::OUT_OF_RESOURCES)?,
                match &self.found.acl {
                    Some(acl) => acl.cmdsn_depth(),
                    None => tpg.attrib(TpgAttrib::DefaultCmdsnDepth),
                },
            ),
            None => {
                let n = DISCOVERY_TSIH.fetch_add(1, Relaxed);
                ((n % 0xfffe).wrapping_add(1) as u16, DISCOVERY_DEPTH)
            }
        };
        // Discovery has no commands.
        let wanted = match &tpg {
            Some(_) => depth.saturating_add(IMMEDIATE_SLOTS),
            None => 0,
        };
        let least = wanted.min(IMMEDIATE_SLOTS.saturating_add(1));
        let open = |least, times| doors.accounts.open(from, least, wanted, times);
        // One that replaces another one gets no less than that, which is still there.
        let share = match tpg.as_ref().is_some_and(replaces) {
            true => open(wanted, 1).or_else(|_| open(least, 2)),
            false => open(least, 1),
        }
        .map_err(|e| match e {
            EBUSY => no_room(login, "commands"),
            _ => LoginStatus::OUT_OF_RESOURCES,
        })?;
        let depth = match share.commands() {
            0 => depth,
            places => places.saturating_sub(IMMEDIATE_SLOTS),
        };
        if share.commands() < wanted && misc::may_log(misc::Topic::Peers) {
            pr_notice!(
                "{}: a window of {depth} commands, as there is no room for more, see the module parameters commands and commands_per_address\n",
                login.initiator.as_str()
            );
        }
        let mut alias = KVec::new();
        alias
            .extend_from_slice(login.initiator_alias.as_str().as_bytes(), GFP_KERNEL)
            .map_err(|_| LoginStatus::OUT_OF_RESOURCES)?;
        let session = Session::new(Identity {
            initiator: *login.initiator,
            alias,
            isid: login.isid,
            tsih,
            discovery: tpg.is_none(),
            tpg: tpg.clone(),
            tally: self.found.tally.clone(),
            acl: self.found.acl.clone(),
            params: login.session,
            depth,
            share,
            cmd_sn: login.cmd_sn,
        })
        .map_err(|_| LoginStatus::OUT_OF_RESOURCES)?;
        if let Some(tpg) = &tpg {
            tpg.add_session(&session).map_err(|e| match e {
                ENOMEM => LoginStatus::OUT_OF_RESOURCES,
                _ => LoginStatus::SERVICE_UNAVAILABLE,
            })?;
        }
        self.found.session = Some(session);
        self.found.fresh = true;
        Ok(tsih)
    }
}
