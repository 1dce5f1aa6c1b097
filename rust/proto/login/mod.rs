// SPDX-License-Identifier: GPL-2.0

//! The login phase, the target's side (RFC 7143 sections 6.3, 11.12, 11.13).
//!
//! [`Login`] takes the Login Requests of one connection one after the other
//! and says what to answer. It knows the rules of the protocol and nothing of
//! targets: [`Host`] is asked who may log in, for digests, and for the
//! session. It does no I/O, holds no buffer, and reads no clock: deadlines are
//! for the caller.
//!
//! ```text
//!   Start --first complete request--> Security --> Operational --> Finished
//!     |                                  |             |
//!     +----------------------------------+-------------+--> Over
//! ```
//!
//! [`ffp`] is the same for Text Requests after the login.

mod fault;
pub mod ffp;
mod host;
pub mod keys;
mod negotiation;
pub mod params;
mod security;

use core::ops::Range;

pub use fault::Fault;
pub use fault::KeyFault;
pub use host::write_moved;
pub use host::Admission;
pub use host::AuthNotRequired;
pub use host::AuthPolicy;
pub use host::Host;
pub use host::Identity;
pub use host::LoginResult;
pub use host::Proof;
pub use host::SessionType;

use self::keys::Key;
use self::negotiation::{
    Collected, //
    Negotiation,
};
use self::params::Alias;
use self::security::Security;
use crate::proto::chap;
use crate::proto::name::IscsiName;
use crate::proto::serial::Sn;
use crate::proto::text::{
    Buffers, //
    Incoming,
    NoSpace,
    Outgoing,
    Pairs,
    TextError,
    Writer,
};
use crate::proto::wire;
use crate::proto::wire::login::VERSION;
use crate::proto::wire::{
    LoginRequest, //
    LoginResponse,
    LoginStatus,
    Stage,
    BHS_LEN,
};

/// The login of one connection.
///
/// About 1.5 KiB; keep it on the heap.
#[derive(Debug)]
pub struct Login {
    state: State,
    /// What the first request said and all others must repeat.
    first: Option<First>,
    requests: u8,
    incoming: Incoming,
    outgoing: Outgoing,
    names: Option<Names>,
    admission: Option<Admission>,
    negotiation: Negotiation,
    initiator_alias: Alias,
    /// What was told to the initiator already.
    told: Told,
    /// Whether the last answer holds proposals of the target.
    proposing: bool,
    /// The TSIH, once the session is open.
    tsih: u16,
    exp_stat_sn: Sn,
}

/// Where a login stands. A stage after the first one is reached only with the
/// proof that authentication is done or not required.
#[derive(Debug)]
enum State {
    Start,
    Security(Security),
    Operational(Proof),
    Finished {
        proof: Option<Proof>,
        authenticated: bool,
    },
    Over,
}

/// What a request says about stages.
#[derive(Clone, Copy, Debug)]
struct Turn {
    stage: Stage,
    /// The stage to go to, if the T bit is set.
    next: Option<Stage>,
}

#[derive(Clone, Copy, Debug)]
struct First {
    stage: Stage,
    version_max: u8,
    version_min: u8,
    isid: [u8; 6],
    tsih: u16,
    itt: u32,
    cid: u16,
    cmd_sn: Sn,
}

#[derive(Debug)]
struct Names {
    initiator: IscsiName,
    target: Option<IscsiName>,
    session_type: SessionType,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    portal_group_tag: bool,
    target_alias: bool,
    max_recv_data_segment_length: Option<u32>,
}

/// What the caller has to do next.
#[derive(Clone, Debug)]
#[must_use]
pub enum Step {
    /// Send the response and wait for the next request.
    Respond(Reply),
    /// Send the response; the full feature phase begins. [`Login::result`]
    /// says what was agreed on and [`Login::take_proof`] allows to go on.
    Done(Reply),
    /// Send the response and close the connection.
    Refuse(Reply, Fault),
    /// Close the connection without a response.
    Drop(Fault),
}

/// A Login Response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The header. The caller fills in StatSN, ExpCmdSN and MaxCmdSN, which
    /// are zero here.
    pub response: LoginResponse,
    /// Where the data segment is in [`Buffers::out`].
    pub data: Range<usize>,
}

impl Login {
    /// A login that waits for its first request.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Start,
            first: None,
            requests: 0,
            incoming: Incoming::new(),
            outgoing: Outgoing::new(),
            names: None,
            admission: None,
            negotiation: Negotiation::new(),
            initiator_alias: Alias::EMPTY,
            told: Told {
                portal_group_tag: false,
                target_alias: false,
                max_recv_data_segment_length: None,
            },
            proposing: false,
            tsih: 0,
            exp_stat_sn: Sn(0),
        }
    }

    /// Takes the next Login Request.
    ///
    /// `data` is its whole data segment without padding. The caller does not
    /// receive more than [`MAX_DATA_SEGMENT_LEN`] bytes of it. `buffers` are
    /// the same, with their contents, at each call.
    pub fn handle<H: Host + ?Sized>(
        &mut self,
        request: &LoginRequest,
        data: &[u8],
        buffers: Buffers<'_>,
        host: &mut H,
    ) -> Step {
        if self.is_over() {
            return Step::Drop(Fault::Over);
        }
        let Buffers { text, out } = buffers;
        let lent = Buffers {
            text,
            out: &mut *out,
        };
        match self.advance(request, data, lent, host) {
            Ok(step) => step,
            Err(Fault::Moved(status)) => self.send_away(request, status, out, host),
            Err(fault) => self.refuse(request.isid(), request.tsih(), request.itt(), fault),
        }
    }

    /// Refuses a login with a redirection (RFC 7143 section 11.13.5: the
    /// response has a TargetAddress).
    fn send_away<H: Host + ?Sized>(
        &mut self,
        request: &LoginRequest,
        status: LoginStatus,
        out: &mut [u8],
        host: &mut H,
    ) -> Step {
        let mut out = Writer::new(out.get_mut(..MAX_DATA_SEGMENT_LEN).unwrap_or_default());
        let (fault, len) = match host.write_moved(&mut out) {
            Ok(()) => (Fault::Moved(status), out.len()),
            Err(NoSpace) => (Fault::Host(LoginStatus::TARGET_ERROR), 0),
        };
        match self.refuse(request.isid(), request.tsih(), request.itt(), fault) {
            Step::Refuse(mut reply, fault) => {
                reply.data = 0..len;
                reply.response.data_len = u32::try_from(len).unwrap_or(0);
                Step::Refuse(reply, fault)
            }
            step => step,
        }
    }

    /// Takes a PDU that is not a Login Request, which ends the login
    /// (RFC 7143 section 4.2.4).
    pub fn handle_other(&mut self) -> Step {
        self.abandon(Fault::NotLogin)
    }

    /// Takes a PDU whose header breaks a rule, which ends the login.
    pub fn handle_malformed(&mut self, header: &[u8; BHS_LEN], error: wire::Error) -> Step {
        self.break_off(header, Fault::Header(error))
    }

    /// Takes the header of a PDU with more than [`MAX_DATA_SEGMENT_LEN`] bytes
    /// of data, which ends the login.
    pub fn handle_too_long(&mut self, header: &[u8; BHS_LEN]) -> Step {
        self.break_off(header, Fault::DataTooLong)
    }

    /// What the login has come to, after [`Step::Done`].
    pub fn result(&self) -> Option<LoginResult<'_>> {
        match self.state {
            State::Finished { authenticated, .. } => self.outcome(authenticated),
            _ => None,
        }
    }

    /// The proof that the full feature phase may be entered, once, after
    /// [`Step::Done`].
    pub fn take_proof(&mut self) -> Option<Proof> {
        match &mut self.state {
            State::Finished { proof, .. } => proof.take(),
            _ => None,
        }
    }

    /// The initiator's name, as soon as it is known. For logging.
    pub fn initiator(&self) -> Option<&IscsiName> {
        self.names.as_ref().map(|names| &names.initiator)
    }

    fn advance<H: Host + ?Sized>(
        &mut self,
        request: &LoginRequest,
        data: &[u8],
        buffers: Buffers<'_>,
        host: &mut H,
    ) -> Result<Step, Fault> {
        let turn = self.check_header(request)?;
        if data.len() > MAX_DATA_SEGMENT_LEN {
            return Err(Fault::DataTooLong);
        }
        let more = request.continue_bit();
        if self.outgoing.is_open() {
            // Section 6.2: a response with the C bit is answered by an empty
            // request.
            if more || !data.is_empty() {
                return Err(TextError::Unexpected.into());
            }
        } else {
            let Some(text) = self.incoming.push(buffers.text, data, more)? else {
                return Ok(Step::Respond(Reply::new(request, turn.stage)));
            };
            if matches!(self.state, State::Start) {
                self.open(request, text, turn.stage, host)?;
            }
            let len = self.exchange(text, turn, buffers.out, host)?;
            self.outgoing.start(len);
        }
        self.respond(request, turn, host)
    }

    /// Checks what can be checked before the text is complete.
    fn check_header(&mut self, request: &LoginRequest) -> Result<Turn, Fault> {
        let current = match self.state {
            State::Start => self.first.map(|first| first.stage),
            State::Security(_) => Some(Stage::SecurityNegotiation),
            State::Operational(_) => Some(Stage::LoginOperationalNegotiation),
            State::Finished { .. } | State::Over => return Err(Fault::Over),
        };
        self.requests = self.requests.saturating_add(1);
        if self.requests > MAX_REQUESTS {
            return Err(Fault::TooManyRequests);
        }
        if request.version_min() > VERSION {
            return Err(Fault::Version);
        }
        let stage = request.csg().map_err(|_| Fault::BadStage)?;
        if stage == Stage::FullFeaturePhase {
            return Err(Fault::BadStage);
        }
        if current.is_some_and(|current| current != stage) {
            return Err(Fault::WrongStage);
        }
        let now = First::new(request, stage);
        self.first.get_or_insert(now).check(now)?;
        self.exp_stat_sn = request.exp_stat_sn();

        if !request.transit() {
            return Ok(Turn { stage, next: None });
        }
        if request.continue_bit() {
            return Err(Fault::TransitAndContinue);
        }
        let next = request.nsg().map_err(|_| Fault::BadStage)?;
        if next as u8 <= stage as u8 {
            return Err(Fault::BadTransition);
        }
        Ok(Turn {
            stage,
            next: Some(next),
        })
    }

    /// Works on a complete text and writes the answer to it. Returns the
    /// answer's length.
    fn exchange<H: Host + ?Sized>(
        &mut self,
        text: &[u8],
        turn: Turn,
        out: &mut [u8],
        host: &mut H,
    ) -> Result<usize, Fault> {
        let session_type = self.session_type();
        let Some(admission) = &self.admission else {
            return Err(Fault::Over);
        };
        let room = out.len().saturating_sub(chap::MAX_CHALLENGE_LEN);
        let (out, scratch) = out.split_at_mut_checked(room).ok_or(Fault::NoSpace)?;
        let mut out = Writer::new(out);

        let keys = self.negotiation.read(text, turn.stage, &admission.offer)?;
        if let Some(names) = &self.names {
            names.check(&keys)?;
        }
        if let Some(alias) = keys.initiator_alias {
            let fault = |fault| Fault::Key(Key::InitiatorAlias, fault);
            if !self.initiator_alias.is_empty() && self.initiator_alias.as_str() != alias {
                return Err(fault(KeyFault::Repeated));
            }
            self.initiator_alias =
                Alias::parse(alias).map_err(|_| fault(KeyFault::BadDeclaration))?;
        }
        self.told.first(admission, &mut out)?;
        self.negotiation.answer(text, &mut out)?;

        match core::mem::replace(&mut self.state, State::Over) {
            State::Security(security) => {
                let transit = turn.next.is_some();
                let security = security.step(&keys, transit, admission, host, scratch, &mut out)?;
                let passed = matches!(security, Security::Passed(_));
                if passed && turn.next == Some(Stage::FullFeaturePhase) {
                    self.told.alias(admission, session_type, &mut out)?;
                }
                self.state = State::Security(security);
            }
            State::Operational(proof) => {
                self.told.alias(admission, session_type, &mut out)?;
                self.told.length(admission, &mut out)?;
                self.proposing =
                    turn.next.is_some() && self.negotiation.propose(&admission.offer, &mut out)?;
                self.state = State::Operational(proof);
            }
            state => self.state = state,
        }
        Ok(out.len())
    }

    /// Works on the first complete text: who is it, and may it try?
    ///
    /// Section 6.3: the names must be in it.
    fn open<H: Host + ?Sized>(
        &mut self,
        request: &LoginRequest,
        text: &[u8],
        stage: Stage,
        host: &mut H,
    ) -> Result<(), Fault> {
        // Both are big, so they are built where they stay.
        let names = self.names.insert(Names::read(text)?);
        let discovery = names.session_type == SessionType::Discovery;
        if discovery && request.tsih() != 0 {
            // The type of a session is told by its first connection, and a
            // discovery session has no other.
            return Err(Fault::Key(Key::SessionType, KeyFault::NotAllowed));
        }
        let identity = Identity {
            initiator: &names.initiator,
            target: names.target.as_ref(),
            session_type: names.session_type,
            isid: request.isid(),
            tsih: request.tsih(),
            cid: request.cid(),
        };
        let admission = self
            .admission
            .insert(host.authorize(&identity).map_err(Fault::host)?);
        if (request.tsih() == 0) != admission.session.is_none() {
            return Err(Fault::Host(LoginStatus::SESSION_DOES_NOT_EXIST));
        }
        self.negotiation.open(discovery, admission.session);
        self.state = match stage {
            // Section 6.3.1: an initiator that forgoes the security stage is
            // refused if the target is unwilling to.
            Stage::LoginOperationalNegotiation => State::Operational(
                Proof::not_required(admission.auth).ok_or(Fault::AuthenticationRequired)?,
            ),
            _ => State::Security(Security::Opening),
        };
        Ok(())
    }

    /// Sends the next part of the answer, and leaves the stage with the last
    /// one if both sides are ready.
    fn respond<H: Host + ?Sized>(
        &mut self,
        request: &LoginRequest,
        turn: Turn,
        host: &mut H,
    ) -> Result<Step, Fault> {
        let cut = self.outgoing.next_cut(MAX_DATA_SEGMENT_LEN);
        let more = cut.more;
        let mut reply = Reply::new(request, turn.stage);
        reply.response.continue_bit = more;
        reply.response.data_len = cut.data_len();
        reply.data = cut.data;
        let wanted = turn.next.filter(|_| !more);
        let Some(next) = wanted.and_then(|wanted| self.next_stage(wanted)) else {
            return Ok(Step::Respond(reply));
        };
        reply.response.transit = true;
        reply.response.nsg = next;

        let proof = match core::mem::replace(&mut self.state, State::Over) {
            State::Security(Security::Passed(proof)) | State::Operational(proof) => proof,
            _ => return Err(Fault::Over),
        };
        if next != Stage::FullFeaturePhase {
            self.state = State::Operational(proof);
            return Ok(Step::Respond(reply));
        }
        let authenticated = proof.is_authenticated();
        if let Some(admission) = &self.admission {
            self.negotiation
                .finish(self.told.max_recv_data_segment_length, &admission.offer);
        }
        let result = self.outcome(authenticated).ok_or(Fault::Over)?;
        let tsih = host.open_session(&result).map_err(Fault::host)?;
        if tsih == 0 {
            return Err(Fault::Host(LoginStatus::TARGET_ERROR));
        }
        self.tsih = tsih;
        reply.response.tsih = tsih;
        self.state = State::Finished {
            proof: Some(proof),
            authenticated,
        };
        Ok(Step::Done(reply))
    }

    /// The stage to go to when the initiator wants to go to `wanted`, or
    /// `None` to stay.
    fn next_stage(&self, wanted: Stage) -> Option<Stage> {
        let offer = &self.admission.as_ref()?.offer;
        let settled = !self.negotiation.needs_proposal(offer);
        match &self.state {
            State::Security(Security::Passed(_)) => {
                // The initiator would skip the stage in which the target has
                // something to propose. Section 6.3: the stage selected "MUST
                // NOT exceed the value stated by the initiator".
                if settled {
                    Some(wanted)
                } else {
                    Some(Stage::LoginOperationalNegotiation)
                }
            }
            State::Operational(_) if settled && !self.proposing => Some(wanted),
            _ => None,
        }
    }

    fn outcome(&self, authenticated: bool) -> Option<LoginResult<'_>> {
        let (first, names) = (self.first?, self.names.as_ref()?);
        Some(LoginResult {
            initiator: &names.initiator,
            initiator_alias: &self.initiator_alias,
            target: names.target.as_ref(),
            session_type: names.session_type,
            isid: first.isid,
            tsih: if self.tsih == 0 {
                first.tsih
            } else {
                self.tsih
            },
            cid: first.cid,
            cmd_sn: first.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
            itt: first.itt,
            session: self.negotiation.session,
            conn: self.negotiation.conn,
            authenticated,
        })
    }

    fn session_type(&self) -> SessionType {
        self.names
            .as_ref()
            .map_or(SessionType::Normal, |names| names.session_type)
    }

    /// A Login Request, however broken, is answered; all else ends the login
    /// as [`Self::handle_other`] says.
    fn break_off(&mut self, header: &[u8; BHS_LEN], fault: Fault) -> Step {
        if self.is_over() {
            return Step::Drop(Fault::Over);
        }
        match LoginRequest::identify(header) {
            Some((isid, tsih, itt)) => self.refuse(isid, tsih, itt, fault),
            None => self.abandon(Fault::NotLogin),
        }
    }

    fn abandon(&mut self, fault: Fault) -> Step {
        match self.first {
            Some(first) if !self.is_over() => self.refuse(first.isid, first.tsih, first.itt, fault),
            // Section 4.2.4: before the first Login Request it ends the
            // connection at once.
            _ => {
                self.state = State::Over;
                Step::Drop(fault)
            }
        }
    }

    fn refuse(&mut self, isid: [u8; 6], tsih: u16, itt: u32, fault: Fault) -> Step {
        self.state = State::Over;
        // Section 6.3.1: in a reject the T bit and both stages are reserved.
        let response = LoginResponse {
            status: fault.status(),
            ..response(isid, tsih, itt, Stage::SecurityNegotiation)
        };
        let data = 0..0;
        Step::Refuse(Reply { response, data }, fault)
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Finished { .. } | State::Over)
    }
}

impl Default for Login {
    fn default() -> Self {
        Self::new()
    }
}

impl First {
    fn new(request: &LoginRequest, stage: Stage) -> Self {
        Self {
            stage,
            version_max: request.version_max(),
            version_min: request.version_min(),
            isid: request.isid(),
            tsih: request.tsih(),
            itt: request.itt(),
            cid: request.cid(),
            cmd_sn: request.cmd_sn(),
        }
    }

    fn check(self, now: Self) -> Result<(), Fault> {
        let changed = if self.itt != now.itt {
            "the initiator task tag"
        } else if self.cid != now.cid {
            "the CID"
        } else if self.isid != now.isid {
            "the ISID"
        } else if self.tsih != now.tsih {
            "the TSIH"
        } else if (self.version_max, self.version_min) != (now.version_max, now.version_min) {
            "the version"
        } else if self.tsih == 0 && self.cmd_sn != now.cmd_sn {
            // On a further connection the numbers go on (section 11.12.8).
            "the CmdSN"
        } else {
            return Ok(());
        };
        Err(Fault::FieldChanged(changed))
    }
}

impl Names {
    fn read(text: &[u8]) -> Result<Self, Fault> {
        let find = |key: Key| -> Result<Option<&str>, Fault> {
            for pair in Pairs::new(text) {
                let pair = pair?;
                if pair.key == key.name() {
                    return Ok(Some(pair.value));
                }
            }
            Ok(None)
        };
        let missing = |key| Fault::Key(key, KeyFault::Missing);

        let initiator = find(Key::InitiatorName)?.ok_or(missing(Key::InitiatorName))?;
        let initiator =
            IscsiName::parse(initiator.as_bytes()).map_err(|_| Fault::BadInitiatorName)?;
        let session_type = match find(Key::SessionType)? {
            None | Some("Normal") => SessionType::Normal,
            Some("Discovery") => SessionType::Discovery,
            Some(_) => return Err(Fault::BadSessionType),
        };
        let target = find(Key::TargetName)?
            .map(|name| IscsiName::parse(name.as_bytes()).map_err(|_| Fault::BadTargetName))
            .transpose()?;
        if target.is_none() && session_type == SessionType::Normal {
            return Err(missing(Key::TargetName));
        }
        Ok(Self {
            initiator,
            target,
            session_type,
        })
    }

    /// Checks that a text does not say anything else than the first one.
    ///
    /// Section 13: names "MUST NOT be redeclared within the Login Phase".
    fn check(&self, keys: &Collected<'_>) -> Result<(), Fault> {
        let same = |name: Option<&str>, known: Option<&IscsiName>| {
            name.is_none_or(|name| {
                IscsiName::parse(name.as_bytes()).is_ok_and(|name| Some(&name) == known)
            })
        };
        let session_type = match self.session_type {
            SessionType::Normal => "Normal",
            SessionType::Discovery => "Discovery",
        };
        let changed = if !same(keys.initiator_name, Some(&self.initiator)) {
            Key::InitiatorName
        } else if !same(keys.target_name, self.target.as_ref()) {
            Key::TargetName
        } else if keys.session_type.is_some_and(|name| name != session_type) {
            Key::SessionType
        } else {
            return Ok(());
        };
        Err(Fault::Key(changed, KeyFault::Repeated))
    }
}

impl Told {
    /// Declares what goes with the first answer. Section 6.3.1: "with the
    /// first Login Response PDU with which it is allowed to do so".
    fn first(&mut self, admission: &Admission, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        if core::mem::replace(&mut self.portal_group_tag, true) {
            return Ok(());
        }
        match admission.portal_group_tag {
            Some(tag) => out.number(Key::TargetPortalGroupTag.name(), u32::from(tag)),
            None => Ok(()),
        }
    }

    /// Declares the human-readable name of the target, in normal sessions
    /// (section 13.6).
    fn alias(
        &mut self,
        admission: &Admission,
        session_type: SessionType,
        out: &mut Writer<'_>,
    ) -> Result<(), NoSpace> {
        let alias = &admission.offer.target_alias;
        if core::mem::replace(&mut self.target_alias, true)
            || session_type == SessionType::Discovery
            || alias.is_empty()
        {
            return Ok(());
        }
        out.pair(Key::TargetAlias.name(), alias.as_str())
    }

    /// Declares the longest data segment that the target receives.
    fn length(&mut self, admission: &Admission, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        if self.max_recv_data_segment_length.is_some() {
            return Ok(());
        }
        let length = admission.offer.max_recv_data_segment_length;
        self.max_recv_data_segment_length = Some(length);
        out.number(Key::MaxRecvDataSegmentLength.name(), length)
    }
}

impl Reply {
    /// A response without data that stays in the stage.
    fn new(request: &LoginRequest, stage: Stage) -> Self {
        Self {
            response: response(request.isid(), request.tsih(), request.itt(), stage),
            data: 0..0,
        }
    }
}

fn response(isid: [u8; 6], tsih: u16, itt: u32, stage: Stage) -> LoginResponse {
    LoginResponse {
        transit: false,
        continue_bit: false,
        csg: stage,
        nsg: Stage::SecurityNegotiation,
        version_max: VERSION,
        version_active: VERSION,
        isid,
        tsih,
        itt,
        stat_sn: Sn(0),
        exp_cmd_sn: Sn(0),
        max_cmd_sn: Sn(0),
        status: LoginStatus::SUCCESS,
        data_len: 0,
    }
}

/// Longest data segment of a Login Request or Response, in bytes: the default
/// MaxRecvDataSegmentLength holds during the login (RFC 7143 section 6.3).
pub const MAX_DATA_SEGMENT_LEN: usize = 8192;

/// Most Login Requests in one login, those with a part of a text or without
/// any included.
///
/// RFC 7143 section 6.2 asks for six exchanges at least in each negotiation;
/// two stages and a text in 16 PDUs fit well.
pub const MAX_REQUESTS: u8 = 32;

#[cfg(test)]
mod tests;
