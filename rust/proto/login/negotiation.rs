// SPDX-License-Identifier: GPL-2.0

//! Settling the values of keys by the rules of their rows.

use super::keys;
use super::keys::{
    Key, //
    KeySet,
    Row,
    Rule,
    Senders,
    Stages,
    Usage,
};
use super::params::{
    ConnParams, //
    Digest,
    Digests,
    SessionParams,
    TaskReporting,
    TpgParams,
};
use super::{
    Fault, //
    KeyFault,
};
use crate::proto::text::value;
use crate::proto::text::{
    NoSpace, //
    Pairs,
    Writer,
};
use crate::proto::wire::Stage;

/// What is settled so far in one login.
#[derive(Debug)]
pub(super) struct Negotiation {
    /// The values, the RFC's defaults until settled otherwise.
    pub(super) session: SessionParams,
    pub(super) conn: ConnParams,
    discovery: bool,
    leading: bool,
    /// What the initiator has sent, in all stages.
    seen: KeySet,
    /// What it was or is to be answered with Reject.
    rejected: KeySet,
    /// What it was or is to be answered with Irrelevant.
    irrelevant: KeySet,
    /// What the target has proposed.
    proposed: KeySet,
    /// Whether FirstBurstLength is still to be bounded by MaxBurstLength.
    first_burst_open: bool,
}

/// Values of keys whose meaning is not in the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Collected<'a> {
    pub(super) auth_method: Option<&'a str>,
    pub(super) chap_a: Option<&'a str>,
    pub(super) chap_i: Option<&'a str>,
    pub(super) chap_c: Option<&'a str>,
    pub(super) chap_n: Option<&'a str>,
    pub(super) chap_r: Option<&'a str>,
    pub(super) initiator_name: Option<&'a str>,
    pub(super) initiator_alias: Option<&'a str>,
    pub(super) target_name: Option<&'a str>,
    pub(super) session_type: Option<&'a str>,
}

impl Negotiation {
    /// Starts with the RFC's defaults.
    pub(super) const fn new() -> Self {
        Self {
            session: SessionParams::RFC_DEFAULT,
            conn: ConnParams::RFC_DEFAULT,
            discovery: false,
            leading: true,
            seen: KeySet::EMPTY,
            rejected: KeySet::EMPTY,
            irrelevant: KeySet::EMPTY,
            proposed: KeySet::EMPTY,
            first_burst_open: false,
        }
    }

    /// Sets what kind of session it is for, and the values of the session
    /// that the connection joins if it is not a new one.
    pub(super) fn open(&mut self, discovery: bool, existing: Option<SessionParams>) {
        self.discovery = discovery;
        if let Some(session) = existing {
            self.leading = false;
            self.session = session;
        }
    }

    /// Reads a whole text and settles what it proposes.
    ///
    /// Values that depend on others are settled when all are read, so that
    /// the order of the keys does not matter.
    pub(super) fn read<'t>(
        &mut self,
        text: &'t [u8],
        stage: Stage,
        offer: &TpgParams,
    ) -> Result<Collected<'t>, Fault> {
        let mut collected = Collected::default();
        let mut now = KeySet::EMPTY;
        for pair in Pairs::new(text) {
            let pair = pair?;
            let Some(row) = keys::find(pair.key) else {
                continue;
            };
            let fault = |fault| Fault::Key(row.key, fault);
            if !self.is_allowed(row, stage) {
                return Err(fault(KeyFault::NotAllowed));
            }
            if pair.value.len() > row.max_value_len() {
                return Err(fault(KeyFault::TooLong));
            }
            // Initiators in the field repeat the names in each stage. That is
            // let pass where nothing changes, which the caller checks.
            let again = !self.seen.insert(row.key) && !row.key.is_identity();
            if !now.insert(row.key) || again {
                return Err(fault(KeyFault::Repeated));
            }
            if matches!(pair.value, "Reject" | "Irrelevant" | "NotUnderstood") {
                // A proposal is made only if the default will not do, so an
                // initiator that does not take part ends the login.
                return Err(fault(if self.proposed.has(row.key) {
                    KeyFault::NoAgreement
                } else {
                    KeyFault::Reserved
                }));
            }
            collected.take(row.key, pair.value);
            if self.discovery && row.irrelevant_in_discovery {
                self.irrelevant.insert(row.key);
                continue;
            }
            self.settle(row, pair.value, offer).map_err(fault)?;
        }
        self.settle_first_burst(offer);
        Ok(collected)
    }

    /// Writes the answers that the text which was just read demands.
    pub(super) fn answer(&self, text: &[u8], out: &mut Writer<'_>) -> Result<(), Fault> {
        for pair in Pairs::new(text) {
            let pair = pair?;
            match keys::find(pair.key) {
                None => out.pair(pair.key, "NotUnderstood")?,
                Some(row) if self.proposed.has(row.key) => {}
                Some(row) if row.rule == Rule::Obsolete || self.rejected.has(row.key) => {
                    out.pair(row.name, "Reject")?;
                }
                Some(row) if self.irrelevant.has(row.key) => out.pair(row.name, "Irrelevant")?,
                Some(row) => match row.rule {
                    Rule::List(_)
                    | Rule::Minimum(..)
                    | Rule::Maximum(..)
                    | Rule::And
                    | Rule::Or => {
                        self.write_value(row, &self.session, self.conn, out)?;
                    }
                    _ => {}
                },
            }
        }
        Ok(())
    }

    /// Whether a value that is in force now is not acceptable to the target,
    /// so that it has to propose another one.
    pub(super) fn needs_proposal(&self, offer: &TpgParams) -> bool {
        keys::TABLE
            .iter()
            .any(|row| self.is_unacceptable(row, offer))
    }

    /// Proposes a value for each key whose default is not acceptable. Returns
    /// whether anything was proposed.
    ///
    /// Called when the initiator is ready to leave the stage, since it will
    /// not propose anything itself then.
    pub(super) fn propose(
        &mut self,
        offer: &TpgParams,
        out: &mut Writer<'_>,
    ) -> Result<bool, Fault> {
        let mut any = false;
        for row in &keys::TABLE {
            if !self.is_unacceptable(row, offer) {
                continue;
            }
            if self.seen.has(row.key) || self.proposed.has(row.key) {
                return Err(Fault::Key(row.key, KeyFault::NoAgreement));
            }
            let mut session = offer.session;
            session.first_burst_length = self.first_burst_offer(offer);
            let mut conn = ConnParams::RFC_DEFAULT;
            conn.header_digest = offer.header_digest.preferred();
            conn.data_digest = offer.data_digest.preferred();
            self.write_value(row, &session, conn, out)?;
            self.proposed.insert(row.key);
            if row.rule == Rule::And {
                // The proposal is No, which settles it: section 6.2.2 makes
                // an answer optional.
                if let Some(yes) = self.session.boolean_mut(row.key) {
                    *yes = false;
                }
            }
            any = true;
        }
        Ok(any)
    }

    /// The agreed values, when nothing is left to be proposed.
    pub(super) fn finish(&mut self, declared: Option<u32>, offer: &TpgParams) {
        // Without unsolicited data the value means nothing, but the promise
        // that it does not exceed MaxBurstLength is kept.
        self.session.first_burst_length = self
            .session
            .first_burst_length
            .min(self.session.max_burst_length);
        let conn = &mut self.conn;
        if let Some(declared) = declared {
            conn.max_recv_data_segment_length = declared;
        }
        conn.limit_xmit(offer.max_xmit_data_segment_length);
    }

    fn is_allowed(&self, row: &Row, stage: Stage) -> bool {
        let stage = match row.stages {
            Stages::Any => true,
            Stages::Security => stage == Stage::SecurityNegotiation,
            Stages::Operational => stage == Stage::LoginOperationalNegotiation,
        };
        let usage = match row.usage {
            // Initiators tell the type of the session on each connection, and
            // it is checked to be the same.
            Usage::LeadingOnly => self.leading || row.key == Key::SessionType,
            Usage::InitializeOnly | Usage::All => true,
            Usage::FullFeatureOnly => false,
        };
        stage && usage && row.senders != Senders::Target && row.rule != Rule::OtherMethod
    }

    /// Settles one key by the rule of its row.
    fn settle(&mut self, row: &Row, text: &str, offer: &TpgParams) -> Result<(), KeyFault> {
        let key = row.key;
        // The value is settled if it is admissible at all; it is agreed on if
        // the initiator's value is the result, as an answer's must be.
        let agreed = match row.rule {
            Rule::DeclareNumber(low, high) => {
                let n = value::number_in(text, low, high).map_err(|_| KeyFault::BadDeclaration)?;
                // The only such key that an initiator may send.
                self.conn.set_initiator_length(n);
                return Ok(());
            }
            Rule::Minimum(low, high) | Rule::Maximum(low, high) => {
                let minimum = matches!(row.rule, Rule::Minimum(..));
                value::number_in(text, low, high).ok().and_then(|theirs| {
                    let ours = match key {
                        Key::FirstBurstLength => offer.first_burst_length(),
                        key => offer.session.number(key)?,
                    };
                    let result = self.session.number_mut(key)?;
                    *result = if minimum {
                        theirs.min(ours)
                    } else {
                        theirs.max(ours)
                    };
                    self.first_burst_open |= key == Key::FirstBurstLength;
                    Some(theirs == *result)
                })
            }
            Rule::And | Rule::Or => value::boolean(text).ok().and_then(|theirs| {
                let ours = offer.session.boolean(key)?;
                let result = self.session.boolean_mut(key)?;
                *result = if row.rule == Rule::And {
                    theirs && ours
                } else {
                    theirs || ours
                };
                Some(theirs == *result)
            }),
            Rule::List(_) => self.settle_list(key, text, offer),
            _ => return Ok(()),
        };
        match (agreed, self.proposed.has(key)) {
            (Some(_), false) | (Some(true), true) => {}
            (None, false) => {
                self.rejected.insert(key);
            }
            (_, true) => return Err(KeyFault::NoAgreement),
        }
        Ok(())
    }

    fn settle_list(&mut self, key: Key, text: &str, offer: &TpgParams) -> Option<bool> {
        match key {
            Key::HeaderDigest => {
                self.conn.header_digest = select_digest(text, offer.header_digest)?;
            }
            Key::DataDigest => self.conn.data_digest = select_digest(text, offer.data_digest)?,
            Key::TaskReporting => self.session.task_reporting = select_task_reporting(text)?,
            // The security keys are for the exchange they belong to.
            _ => {}
        }
        Some(true)
    }

    /// RFC 7143 section 13.14: "FirstBurstLength MUST NOT exceed
    /// MaxBurstLength", and it is irrelevant without unsolicited data.
    fn settle_first_burst(&mut self, offer: &TpgParams) {
        if !self.first_burst_open {
            return;
        }
        self.first_burst_open = false;
        if self.proposed.has(Key::FirstBurstLength) {
            return;
        }
        let session = &mut self.session;
        let known = self.seen.has(Key::InitialR2T) && self.seen.has(Key::ImmediateData);
        if known && session.initial_r2t && !session.immediate_data {
            self.irrelevant.insert(Key::FirstBurstLength);
            session.first_burst_length = SessionParams::RFC_DEFAULT.first_burst_length;
            return;
        }
        // An initiator that has not named MaxBurstLength yet may still do so,
        // and what it will be then is at most what the target offers.
        session.first_burst_length = session
            .first_burst_length
            .min(session.max_burst_length)
            .min(offer.session.max_burst_length);
    }

    fn first_burst_offer(&self, offer: &TpgParams) -> u32 {
        offer
            .first_burst_length()
            .min(self.session.max_burst_length)
    }

    fn is_unacceptable(&self, row: &Row, offer: &TpgParams) -> bool {
        if self.discovery && row.irrelevant_in_discovery
            || !self.leading && row.usage == Usage::LeadingOnly
        {
            return false;
        }
        match row.rule {
            Rule::Minimum(..) if row.key == Key::FirstBurstLength => {
                let unsolicited = !self.session.initial_r2t || self.session.immediate_data;
                unsolicited && self.session.first_burst_length > self.first_burst_offer(offer)
            }
            Rule::Minimum(..) => self.session.number(row.key) > offer.session.number(row.key),
            Rule::Maximum(..) => self.session.number(row.key) < offer.session.number(row.key),
            Rule::And => self.session.boolean(row.key) > offer.session.boolean(row.key),
            Rule::Or => self.session.boolean(row.key) < offer.session.boolean(row.key),
            _ => match row.key {
                Key::HeaderDigest => !offer.header_digest.allows(self.conn.header_digest),
                Key::DataDigest => !offer.data_digest.allows(self.conn.data_digest),
                _ => false,
            },
        }
    }

    fn write_value(
        &self,
        row: &Row,
        session: &SessionParams,
        conn: ConnParams,
        out: &mut Writer<'_>,
    ) -> Result<(), NoSpace> {
        if let Some(n) = session.number(row.key) {
            return out.number(row.name, n);
        }
        if let Some(yes) = session.boolean(row.key) {
            return out.boolean(row.name, yes);
        }
        match row.key {
            Key::HeaderDigest => out.pair(row.name, conn.header_digest.as_str()),
            Key::DataDigest => out.pair(row.name, conn.data_digest.as_str()),
            Key::TaskReporting => out.pair(row.name, session.task_reporting.as_str()),
            // The security keys are answered by the exchange they belong to.
            _ => Ok(()),
        }
    }
}

impl<'a> Collected<'a> {
    fn take(&mut self, key: Key, value: &'a str) {
        let place = match key {
            Key::AuthMethod => &mut self.auth_method,
            Key::ChapA => &mut self.chap_a,
            Key::ChapI => &mut self.chap_i,
            Key::ChapC => &mut self.chap_c,
            Key::ChapN => &mut self.chap_n,
            Key::ChapR => &mut self.chap_r,
            Key::InitiatorName => &mut self.initiator_name,
            Key::InitiatorAlias => &mut self.initiator_alias,
            Key::TargetName => &mut self.target_name,
            Key::SessionType => &mut self.session_type,
            _ => return,
        };
        *place = Some(value);
    }
}

/// The first digest of the proposed list that is allowed (section 6.2.1).
fn select_digest(proposed: &str, allowed: Digests) -> Option<Digest> {
    value::list(proposed).ok()?.find_map(|item| {
        [Digest::Crc32c, Digest::None]
            .into_iter()
            .find(|digest| digest.as_str() == item && allowed.allows(*digest))
    })
}

fn select_task_reporting(proposed: &str) -> Option<TaskReporting> {
    value::list(proposed).ok()?.find_map(|item| {
        [TaskReporting::Rfc3720, TaskReporting::ResponseFence]
            .into_iter()
            .find(|reporting| reporting.as_str() == item)
    })
}
