// SPDX-License-Identifier: GPL-2.0

//! The steps of the security stage (RFC 7143 sections 6.3.2 and 12).

use super::host::{
    Admission, //
    AuthPolicy,
    Proof,
};
use super::keys::Key;
use super::negotiation::Collected;
use super::{
    Fault, //
    KeyFault,
};
use crate::proto::chap;
use crate::proto::text::value;
use crate::proto::text::Writer;

/// How far the authentication has come.
#[derive(Debug)]
pub(super) enum Security {
    /// No method is chosen.
    Opening,
    /// The target has proposed CHAP, because the initiator did not propose
    /// anything.
    Proposed,
    /// CHAP is chosen; the list of algorithms is awaited.
    Algorithm,
    /// The challenge is sent; the response is awaited.
    Response(chap::Exchange),
    /// Nothing is left to be done.
    Passed(Proof),
}

impl Security {
    /// Takes one step with the keys of a complete request.
    ///
    /// `transit` is whether the initiator wants to leave the stage.
    pub(super) fn step<C: chap::Credentials + ?Sized>(
        self,
        keys: &Collected<'_>,
        transit: bool,
        admission: &Admission,
        credentials: &mut C,
        scratch: &mut [u8],
        out: &mut Writer<'_>,
    ) -> Result<Self, Fault> {
        let policy = admission.auth;
        match self {
            Self::Opening => match keys.auth_method {
                Some(list) => {
                    let method = select(list, admission)?;
                    out.pair("AuthMethod", method.name())?;
                    method.begin(keys, policy, credentials, out)
                }
                None => {
                    no_chap_keys(keys)?;
                    if !transit {
                        return Ok(Self::Opening);
                    }
                    // Section 6.3.1: the initiator may leave it to the target
                    // whether there is to be authentication.
                    if let Some(proof) = Proof::not_required(policy) {
                        return Ok(Self::Passed(proof));
                    }
                    if !may_use_chap(admission) {
                        return Err(Fault::AuthenticationRequired);
                    }
                    out.pair("AuthMethod", Method::Chap.name())?;
                    Ok(Self::Proposed)
                }
            },
            Self::Proposed => {
                let answer = keys
                    .auth_method
                    .ok_or(Fault::Key(Key::AuthMethod, KeyFault::Missing))?;
                if answer != Method::Chap.name() {
                    return Err(Fault::NoCommonAuthMethod);
                }
                Method::Chap.begin(keys, policy, credentials, out)
            }
            Self::Algorithm => start(keys, policy, credentials, out),
            Self::Response(exchange) => {
                let missing = |key| Fault::Key(key, KeyFault::Missing);
                let answer = chap::Response {
                    name: keys.chap_n.ok_or(missing(Key::ChapN))?,
                    response: keys.chap_r.ok_or(missing(Key::ChapR))?,
                    mutual: match (keys.chap_i, keys.chap_c) {
                        (None, None) => None,
                        (Some(id), Some(challenge)) => Some((id, challenge)),
                        (None, Some(_)) => return Err(missing(Key::ChapI)),
                        (Some(_), None) => return Err(missing(Key::ChapC)),
                    },
                };
                let proof = exchange.finish(&answer, credentials, scratch, out)?;
                Ok(Self::Passed(Proof::Authenticated(proof)))
            }
            Self::Passed(proof) => {
                no_chap_keys(keys)?;
                Ok(Self::Passed(proof))
            }
        }
    }
}

/// An authentication method that this target knows.
#[derive(Clone, Copy)]
enum Method {
    Chap,
    None,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Chap => "CHAP",
            Self::None => "None",
        }
    }

    fn begin<C: chap::Credentials + ?Sized>(
        self,
        keys: &Collected<'_>,
        policy: AuthPolicy,
        credentials: &mut C,
        out: &mut Writer<'_>,
    ) -> Result<Security, Fault> {
        match self {
            Self::Chap if keys.chap_a.is_none() => {
                no_chap_keys(keys)?;
                Ok(Security::Algorithm)
            }
            Self::Chap => start(keys, policy, credentials, out),
            Self::None => {
                no_chap_keys(keys)?;
                Proof::not_required(policy)
                    .map(Security::Passed)
                    .ok_or(Fault::AuthenticationRequired)
            }
        }
    }
}

fn start<C: chap::Credentials + ?Sized>(
    keys: &Collected<'_>,
    policy: AuthPolicy,
    credentials: &mut C,
    out: &mut Writer<'_>,
) -> Result<Security, Fault> {
    let list = keys
        .chap_a
        .ok_or(Fault::Key(Key::ChapA, KeyFault::Missing))?;
    let rest = Collected {
        chap_a: None,
        ..*keys
    };
    no_chap_keys(&rest)?;
    chap::Exchange::start(list, policy.algorithms, credentials, out)
        .map(Security::Response)
        .map_err(Fault::Chap)
}

/// The first method of the proposed list that may be used here (section
/// 6.3.2).
fn select(proposed: &str, admission: &Admission) -> Result<Method, Fault> {
    let mut list = value::list(proposed).map_err(|_| Fault::NoCommonAuthMethod)?;
    list.find_map(|item| {
        [Method::Chap, Method::None]
            .into_iter()
            .find(|method| method.name() == item)
            .filter(|method| match method {
                Method::Chap => may_use_chap(admission),
                Method::None => !admission.auth.required,
            })
    })
    .ok_or(Fault::NoCommonAuthMethod)
}

fn may_use_chap(admission: &Admission) -> bool {
    let policy = admission.auth;
    policy.credentials && !policy.algorithms.is_empty() && admission.offer.auth_method.allows_chap()
}

/// Refuses keys of CHAP where they have no place.
fn no_chap_keys(keys: &Collected<'_>) -> Result<(), Fault> {
    let found = [
        (Key::ChapA, keys.chap_a),
        (Key::ChapI, keys.chap_i),
        (Key::ChapC, keys.chap_c),
        (Key::ChapN, keys.chap_n),
        (Key::ChapR, keys.chap_r),
    ]
    .into_iter()
    .find(|(_, value)| value.is_some());
    match found {
        Some((key, _)) => Err(Fault::Key(key, KeyFault::NotAllowed)),
        None => Ok(()),
    }
}
