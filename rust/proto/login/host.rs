// SPDX-License-Identifier: GPL-2.0

//! What a login asks of the target it logs in to.

use super::keys::Key;
use super::params::{
    Alias, //
    ConnParams,
    SessionParams,
    TpgParams,
};
use crate::proto::chap::{
    Algorithms, //
    Authenticated,
    Credentials,
};
use crate::proto::name::IscsiName;
use crate::proto::serial::Sn;
use crate::proto::text::NoSpace;
use crate::proto::text::Writer;
use crate::proto::wire::LoginStatus;

/// The target, as a login sees it. Called in process context; may sleep.
pub trait Host: Credentials {
    /// Decides whether this initiator may try to log in, and how.
    ///
    /// Called once, with the first complete request. From then on the calls
    /// of [`Credentials`] are about the credentials that hold for `identity`.
    ///
    /// With a TSIH of zero the login makes a new session, in the place of one
    /// with the same names, ISID and portal group if there is one. With
    /// another TSIH it joins or replaces a connection of that session
    /// (RFC 7143 section 6.3.1), and [`Admission::session`] must be given.
    ///
    /// # Errors
    ///
    /// The status to refuse with, of class 2 or 3: 0203 for an unknown
    /// target, 0202 without an ACL, 0301 for a disabled portal group, 020a,
    /// 0208 and 0206 for a session that does not exist, is of another portal
    /// group, or is full. With 0101 or 0102 the target has moved, and
    /// [`Host::write_moved`] is asked where to. Anything else is told as 0300.
    fn authorize(&mut self, identity: &Identity<'_>) -> Result<Admission, LoginStatus>;

    /// Writes where the target has moved to, with
    /// [`write_moved`](super::write_moved); called after [`Host::authorize`] has
    /// said that it has.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] when it does not fit, or is not known any more; the
    /// initiator is then told 0300.
    fn write_moved(&mut self, out: &mut Writer<'_>) -> Result<(), NoSpace>;

    /// Opens the session, or adds the connection to it, and returns the TSIH.
    ///
    /// Called once, when nothing but the last response is left to be sent, so
    /// this is where a session or connection is replaced. If the response
    /// cannot be sent, the caller has to undo it.
    ///
    /// # Errors
    ///
    /// The status to refuse with, as for [`Host::authorize`]. A TSIH of zero
    /// is told as 0300.
    fn open_session(&mut self, login: &LoginResult<'_>) -> Result<u16, LoginStatus>;
}

/// Writes the `TargetAddress` of a redirection: `address` is `host:port`, an
/// IPv6 host in brackets. There is no portal group tag in it (RFC 7143 section
/// 13.8).
///
/// # Errors
///
/// [`NoSpace`] when it does not fit; nothing is written then.
pub fn write_moved(address: &str, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    out.pair(Key::TargetAddress.name(), address)
}

/// Who wants to log in, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The initiator's name.
    pub initiator: &'a IscsiName,
    /// The target's name; always given for normal sessions.
    pub target: Option<&'a IscsiName>,
    /// What kind of session.
    pub session_type: SessionType,
    /// The initiator's part of the session identifier.
    pub isid: [u8; 6],
    /// The session to join, or zero.
    pub tsih: u16,
    /// The connection identifier.
    pub cid: u16,
}

/// The terms on which an initiator may try to log in.
#[derive(Clone, Debug)]
pub struct Admission {
    /// What the portal group offers.
    pub offer: TpgParams,
    /// How the initiator has to authenticate itself.
    pub auth: AuthPolicy,
    /// The portal group that serves the login. `None` only for a discovery
    /// session without a TargetName, which belongs to none.
    pub portal_group_tag: Option<u16>,
    /// The parameters of the session that the connection joins; `None` for a
    /// new one.
    pub session: Option<SessionParams>,
}

/// How an initiator has to authenticate itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthPolicy {
    /// Whether it must. An initiator that may do without authentication can
    /// still choose CHAP if it is configured.
    pub required: bool,
    /// The digest algorithms that may be used.
    pub algorithms: Algorithms,
    /// Whether a user and secret of the initiator are configured.
    pub credentials: bool,
}

/// What kind of session a login makes (RFC 7143 section 13.21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// To use the target.
    Normal,
    /// To find targets; only SendTargets and Logout are served.
    Discovery,
}

/// What a login has come to.
#[derive(Clone, Copy, Debug)]
pub struct LoginResult<'a> {
    /// The initiator's name.
    pub initiator: &'a IscsiName,
    /// The initiator's human-readable name; empty if it did not tell.
    pub initiator_alias: &'a Alias,
    /// The target's name; `None` only for discovery sessions.
    pub target: Option<&'a IscsiName>,
    /// What kind of session.
    pub session_type: SessionType,
    /// The initiator's part of the session identifier.
    pub isid: [u8; 6],
    /// The TSIH; zero for a new session until [`Host::open_session`] has
    /// given it one.
    pub tsih: u16,
    /// The connection identifier.
    pub cid: u16,
    /// The CmdSN of the login: in a new session the first ExpCmdSN.
    pub cmd_sn: Sn,
    /// The ExpStatSN of the last request.
    pub exp_stat_sn: Sn,
    /// The Initiator Task Tag of the login.
    pub itt: u32,
    /// The values of the session.
    pub session: SessionParams,
    /// The values of the connection.
    pub conn: ConnParams,
    /// Whether the initiator has authenticated itself.
    pub authenticated: bool,
}

/// The proof that a connection may enter the full feature phase. A login that
/// succeeded hands it out once.
#[derive(Debug)]
pub enum Proof {
    /// The initiator has proven to know its secret.
    Authenticated(Authenticated),
    /// The target does not ask this initiator to.
    NotRequired(AuthNotRequired),
}

impl Proof {
    /// Whether the initiator has authenticated itself.
    pub fn is_authenticated(&self) -> bool {
        matches!(self, Self::Authenticated(_))
    }

    /// For an initiator that the policy allows to do without.
    pub(super) fn not_required(policy: AuthPolicy) -> Option<Self> {
        (!policy.required).then_some(Self::NotRequired(AuthNotRequired(())))
    }
}

/// The proof that an initiator need not authenticate itself. Made only where
/// [`AuthPolicy::required`] is false.
#[derive(Debug)]
pub struct AuthNotRequired(());
