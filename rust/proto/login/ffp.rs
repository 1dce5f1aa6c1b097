// SPDX-License-Identifier: GPL-2.0

//! Text Requests in the full feature phase: SendTargets and the few keys that
//! may still be declared (RFC 7143 sections 6.4, 11.10, 11.11, Appendix C).

use core::fmt;
use core::ops::Range;

use super::keys;
use super::keys::{
    Key, //
    KeySet,
    Rule,
    Senders,
    Usage,
};
use super::params::{
    Alias, //
    ConnParams,
};
use super::{
    KeyFault, //
    SessionType,
};
use crate::proto::name::IscsiName;
use crate::proto::serial::Sn;
use crate::proto::text::value;
use crate::proto::text::{
    Buffers, //
    Cut,
    Incoming,
    NoSpace,
    Outgoing,
    Pair,
    Pairs,
    TextError,
    Writer,
};
use crate::proto::wire::{
    RejectReason, //
    TextRequest,
    TextResponse,
    RESERVED_TAG,
};

/// Who knows the targets. Called in process context; may sleep.
pub trait Targets {
    /// Writes target records: [`write_target`] and then [`write_address`] for
    /// each address, for the targets in `scope` that the initiator may use,
    /// from where `from` says, until all are written or one pair does not fit
    /// `out`.
    ///
    /// The answer may leave in several PDUs with time in between, so targets
    /// may have come and gone between two calls. A cursor that counts by an
    /// identity of the target, rather than by its place in a list, lists every
    /// target that was there all the time exactly once.
    fn send_targets(&mut self, scope: Scope<'_>, from: Cursor, out: &mut Writer<'_>) -> Listing;
}

/// Writes the `TargetName` that begins a target record.
///
/// # Errors
///
/// [`NoSpace`] when it does not fit; nothing is written then.
pub fn write_target(name: &IscsiName, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    out.pair(Key::TargetName.name(), name.as_str())
}

/// Writes a `TargetAddress`: `address` is `host:port`, an IPv6 host in
/// brackets.
///
/// # Errors
///
/// [`NoSpace`] when it does not fit; nothing is written then.
pub fn write_address(
    address: &str,
    portal_group_tag: u16,
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    out.tagged(Key::TargetAddress.name(), address, portal_group_tag)
}

/// Which targets are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// All that the initiator may use.
    All,
    /// This one, if the initiator may use it.
    One(&'a IscsiName),
}

/// Where a listing goes on. What the numbers mean is up to [`Targets`]; the
/// default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The target to go on with.
    pub target: u64,
    /// Its address to go on with; 0 for the name itself.
    pub address: u32,
}

/// How far a listing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// All is written.
    Complete,
    /// The buffer is full; the rest begins here.
    Continues(Cursor),
}

/// What the machine has to know of the session.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// What kind of session.
    pub session_type: SessionType,
    /// The target logged in to; `None` only for discovery sessions.
    pub target: Option<&'a IscsiName>,
}

/// The text negotiation of one connection in the full feature phase.
///
/// There is at most one at a time; a request that begins another one ends it.
/// About 0.6 KiB; keep it on the heap.
#[derive(Debug)]
pub struct TextExchange {
    open: Option<Open>,
    last_ttt: u32,
    incoming: Incoming,
    outgoing: Outgoing,
    seen: KeySet,
    listing: Option<List>,
    changes: Changes,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    itt: u32,
    ttt: u32,
}

#[derive(Debug)]
struct List {
    /// `None` for all targets.
    one: Option<IscsiName>,
    cursor: Cursor,
}

/// What an exchange has changed. It takes effect after the last response.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The longest data segment that the initiator receives from now on, in
    /// bytes: for [`ConnParams::set_initiator_length`].
    pub initiator_length: Option<u32>,
    /// The initiator's new human-readable name.
    pub initiator_alias: Option<Alias>,
}

/// What the caller has to do.
#[derive(Debug)]
#[must_use]
pub enum TextStep {
    /// Send the response; more requests follow.
    Respond(TextReply),
    /// Send the response, then let [`TextExchange::changes`] take effect.
    Done(TextReply),
    /// Send a Reject; the exchange is over and nothing has changed.
    Reject(RejectReason, TextFault),
}

/// A Text Response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextReply {
    /// The header. The caller fills in StatSN, ExpCmdSN and MaxCmdSN, which
    /// are zero here.
    pub response: TextResponse,
    /// Where the data segment is in [`Buffers::out`].
    pub data: Range<usize>,
}

impl TextExchange {
    /// No exchange is open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            open: None,
            last_ttt: 0,
            incoming: Incoming::new(),
            outgoing: Outgoing::new(),
            seen: KeySet::EMPTY,
            listing: None,
            changes: Changes {
                initiator_length: None,
                initiator_alias: None,
            },
        }
    }

    /// Whether no exchange is open, so that the buffers may be freed.
    pub fn is_idle(&self) -> bool {
        self.open.is_none()
    }

    /// What the exchange that ended with [`TextStep::Done`] has changed.
    ///
    /// Nothing while an exchange is open, and nothing after a Reject.
    pub fn changes(&self) -> Option<&Changes> {
        self.is_idle().then_some(&self.changes)
    }

    /// Ends an exchange that the initiator does not go on with.
    pub fn reset(&mut self) {
        *self = Self {
            last_ttt: self.last_ttt,
            ..Self::new()
        };
    }

    /// Takes a Text Request.
    ///
    /// `data` is its whole data segment without padding. `buffers` are the
    /// same, with their contents, at each call of one exchange. `conn` is what
    /// holds for the connection now.
    pub fn handle<T: Targets + ?Sized>(
        &mut self,
        request: &TextRequest,
        data: &[u8],
        session: SessionView<'_>,
        conn: &ConnParams,
        buffers: Buffers<'_>,
        targets: &mut T,
    ) -> TextStep {
        match self.advance(request, data, session, conn, buffers, targets) {
            Ok(step) => step,
            Err(fault) => {
                self.reset();
                TextStep::Reject(fault.reason(), fault)
            }
        }
    }

    fn advance<T: Targets + ?Sized>(
        &mut self,
        request: &TextRequest,
        data: &[u8],
        session: SessionView<'_>,
        conn: &ConnParams,
        buffers: Buffers<'_>,
        targets: &mut T,
    ) -> Result<TextStep, TextFault> {
        // Section 11.10.4: without a tag "this is a new request, and the
        // target resets any internal state".
        if request.ttt() == RESERVED_TAG {
            self.reset();
            self.open = Some(Open {
                itt: request.itt(),
                ttt: self.new_tag(),
            });
        }
        let open = self
            .open
            .filter(|open| {
                request.ttt() == RESERVED_TAG
                    || (open.itt, open.ttt) == (request.itt(), request.ttt())
            })
            .ok_or(TextFault::StaleTag)?;
        let max = usize::try_from(conn.max_xmit_data_segment_length).unwrap_or(usize::MAX);
        let more = request.continue_bit();

        if self.outgoing.is_open() || self.listing.is_some() {
            // Section 6.2: a response with the C bit is answered by an empty
            // request.
            if more || !data.is_empty() {
                return Err(TextError::Unexpected.into());
            }
        } else {
            let Some(text) = self.incoming.push(buffers.text, data, more)? else {
                let data = 0..0;
                let more = false;
                let reply = TextReply::new(open, Cut { data, more }, false);
                return Ok(TextStep::Respond(reply));
            };
            let len = self.exchange(text, session, buffers.out)?;
            self.outgoing.start(len);
        }

        let cut = if self.listing.is_some() {
            let room = buffers.out.len().min(max);
            let out = buffers.out.get_mut(..room).unwrap_or_default();
            let (len, more) = self.list(out, targets)?;
            Cut { data: 0..len, more }
        } else {
            self.outgoing.next_cut(max)
        };
        let last = !cut.more && request.is_final();
        let reply = TextReply::new(open, cut, last);
        if !last {
            return Ok(TextStep::Respond(reply));
        }
        self.open = None;
        Ok(TextStep::Done(reply))
    }

    /// Works on a complete text and writes the answer to it. Returns the
    /// answer's length.
    fn exchange(
        &mut self,
        text: &[u8],
        session: SessionView<'_>,
        out: &mut [u8],
    ) -> Result<usize, TextFault> {
        let mut out = Writer::new(out);
        let mut pairs = Pairs::new(text);
        while let Some(pair) = pairs.next() {
            let pair = pair?;
            if pair.key == Key::SendTargets.name() {
                // Appendix C: "exactly one text key and value".
                let alone = self.seen == KeySet::EMPTY && out.is_empty();
                if !alone || pairs.next().is_some() {
                    return Err(TextFault::SendTargetsNotAlone);
                }
                self.seen.insert(Key::SendTargets);
                self.listing = Some(List::new(pair.value, session)?);
                return Ok(0);
            }
            // Section 13.21: nothing else is accepted in a discovery session.
            if session.session_type == SessionType::Discovery {
                return Err(TextFault::OnlySendTargets);
            }
            self.declare(pair, &mut out)?;
        }
        Ok(out.len())
    }

    fn declare(&mut self, pair: Pair<'_>, out: &mut Writer<'_>) -> Result<(), TextFault> {
        let Some(row) = keys::find(pair.key) else {
            // A misspelt SendTargets is rejected: NotUnderstood would be read
            // as a list of targets by those who wait for one.
            let listing = Key::SendTargets.name().as_bytes();
            let start = pair.key.as_bytes().get(..listing.len());
            if start.is_some_and(|start| start.eq_ignore_ascii_case(listing)) {
                return Err(TextFault::MisspeltSendTargets);
            }
            return Ok(out.pair(pair.key, "NotUnderstood")?);
        };
        let fault = |fault| TextFault::Key(row.key, fault);
        if row.usage != Usage::All || row.senders == Senders::Target {
            return Err(fault(KeyFault::NotAllowed));
        }
        if pair.value.len() > row.max_value_len() {
            return Err(fault(KeyFault::TooLong));
        }
        if !self.seen.insert(row.key) {
            return Err(fault(KeyFault::Repeated));
        }
        if matches!(pair.value, "Reject" | "Irrelevant" | "NotUnderstood") {
            return Err(fault(KeyFault::Reserved));
        }
        match (row.key, row.rule) {
            (Key::MaxRecvDataSegmentLength, Rule::DeclareNumber(low, high)) => {
                self.changes.initiator_length = Some(
                    value::number_in(pair.value, low, high)
                        .map_err(|_| fault(KeyFault::BadDeclaration))?,
                );
            }
            (Key::InitiatorAlias, _) => {
                self.changes.initiator_alias =
                    Some(Alias::parse(pair.value).map_err(|_| fault(KeyFault::BadDeclaration))?);
            }
            _ => return Err(fault(KeyFault::NotAllowed)),
        }
        Ok(())
    }

    /// Writes the next part of a listing. Returns its length and whether more
    /// follows.
    fn list<T: Targets + ?Sized>(
        &mut self,
        out: &mut [u8],
        targets: &mut T,
    ) -> Result<(usize, bool), TextFault> {
        let Some(list) = &mut self.listing else {
            return Ok((0, false));
        };
        let mut out = Writer::new(out);
        let scope = list.one.as_ref().map_or(Scope::All, Scope::One);
        match targets.send_targets(scope, list.cursor, &mut out) {
            Listing::Complete => {
                self.listing = None;
                Ok((out.len(), false))
            }
            // It would never end.
            Listing::Continues(_) if out.is_empty() => Err(TextFault::NoSpace),
            Listing::Continues(cursor) => {
                list.cursor = cursor;
                Ok((out.len(), true))
            }
        }
    }

    fn new_tag(&mut self) -> u32 {
        // Neither the reserved tag nor the one used last.
        self.last_ttt = match self.last_ttt.wrapping_add(1) {
            RESERVED_TAG => 0,
            ttt => ttt,
        };
        self.last_ttt
    }
}

impl Default for TextExchange {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// Reads the value of SendTargets (Appendix C).
    fn new(value: &str, session: SessionView<'_>) -> Result<Self, TextFault> {
        let one = match (value, session.session_type) {
            ("All", SessionType::Discovery) => None,
            // Appendix C: All "MUST NOT be supported" there, so that a session
            // learns of no other target. Initiators in use (libiscsi) ask all
            // the same; the answer is what an empty value would give.
            ("All", SessionType::Normal) | ("", _) => {
                Some(*session.target.ok_or(TextFault::NoTarget)?)
            }
            (name, session_type) => {
                let name =
                    IscsiName::parse(name.as_bytes()).map_err(|_| TextFault::BadTargetName)?;
                // A normal session is told of its own target only.
                if session_type == SessionType::Normal && session.target != Some(&name) {
                    return Err(TextFault::OtherTarget);
                }
                Some(name)
            }
        };
        Ok(Self {
            one,
            cursor: Cursor::default(),
        })
    }
}

impl TextReply {
    fn new(open: Open, cut: Cut, last: bool) -> Self {
        Self {
            response: TextResponse {
                final_bit: last,
                continue_bit: cut.more,
                lun: 0,
                itt: open.itt,
                ttt: if last { RESERVED_TAG } else { open.ttt },
                stat_sn: Sn(0),
                exp_cmd_sn: Sn(0),
                max_cmd_sn: Sn(0),
                data_len: cut.data_len(),
            },
            data: cut.data,
        }
    }
}

/// Why a Text Request is answered with a Reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFault {
    /// The text is malformed.
    Text(TextError),
    /// Something is wrong with a key.
    Key(Key, KeyFault),
    /// The tags are not those of the open exchange.
    StaleTag,
    /// SendTargets with another key beside it or before it.
    SendTargetsNotAlone,
    /// An unknown key that begins like SendTargets.
    MisspeltSendTargets,
    /// SendTargets for another target in a normal session.
    OtherTarget,
    /// An empty SendTargets in a session without a target.
    NoTarget,
    /// SendTargets with something that is not an iSCSI name.
    BadTargetName,
    /// Another key than SendTargets in a discovery session.
    OnlySendTargets,
    /// The answer does not fit its buffer.
    NoSpace,
}

impl TextFault {
    /// The reason that the Reject gives (RFC 7143 section 11.17.1).
    pub fn reason(&self) -> RejectReason {
        match self {
            Self::StaleTag | Self::BadTargetName => RejectReason::InvalidPduField,
            Self::NoSpace => RejectReason::LongOperationReject,
            _ => RejectReason::ProtocolError,
        }
    }
}

impl From<TextError> for TextFault {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

impl From<NoSpace> for TextFault {
    fn from(_: NoSpace) -> Self {
        Self::NoSpace
    }
}

impl fmt::Display for TextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => error.fmt(f),
            Self::Key(key, fault) => write!(f, "{} {fault}", key.name()),
            Self::StaleTag => f.write_str("the tags are not those of an open text exchange"),
            Self::SendTargetsNotAlone => f.write_str("SendTargets must be the only key"),
            Self::MisspeltSendTargets => f.write_str("a misspelt SendTargets"),
            Self::OtherTarget => f.write_str("SendTargets for another target in a normal session"),
            Self::NoTarget => f.write_str("an empty SendTargets without a target"),
            Self::BadTargetName => f.write_str("SendTargets is not All, empty or an iSCSI name"),
            Self::OnlySendTargets => f.write_str("a discovery session serves SendTargets only"),
            Self::NoSpace => f.write_str("no space left for the answer"),
        }
    }
}
