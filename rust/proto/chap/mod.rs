// SPDX-License-Identifier: GPL-2.0

//! The Challenge Handshake Authentication Protocol (RFC 1994) as iSCSI uses
//! it (RFC 7143 sections 9.2.1 and 12.1.3), the target's side.
//!
//! ```text
//! initiator                        target
//! CHAP_A=7,5                  ->
//!                             <-   CHAP_A=7 CHAP_I=.. CHAP_C=..     Exchange::start
//! CHAP_N=.. CHAP_R=..         ->
//!   and, to authenticate the target, CHAP_I=.. CHAP_C=..
//!                             <-   CHAP_N=.. CHAP_R=.. if asked for  Exchange::finish
//! ```
//!
//! Secrets and user names never enter this module: [`Credentials`] computes
//! and compares on its behalf. [`Authenticated`] is the proof that an
//! exchange succeeded, and nothing else makes one.

mod algorithm;

use core::fmt;

pub use algorithm::Algorithm;
pub use algorithm::Algorithms;
pub use algorithm::AlgorithmsError;

use crate::proto::text::value;
use crate::proto::text::NoSpace;
use crate::proto::text::Writer;

/// Who holds the secrets of one login.
///
/// The caller has picked the credentials already: those of the initiator's
/// ACL, of the portal group, or of discovery.
pub trait Credentials {
    /// Fills `out` from a cryptographically secure generator.
    fn random(&mut self, out: &mut [u8]);

    /// Whether `name` is the configured user name. Must take constant time.
    fn chap_user(&mut self, name: &[u8]) -> bool;

    /// Writes the user name that the target answers with into `out` and
    /// returns its length in bytes, 1 to 255.
    ///
    /// # Errors
    ///
    /// [`NoCredentials`] when mutual authentication is not configured.
    fn mutual_user(&mut self, out: &mut [u8; MAX_NAME_LEN]) -> Result<usize, NoCredentials>;

    /// Writes the digest by `algorithm` over `id`, the secret, `challenge`
    /// into `out` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`NoCredentials`] when that secret is not configured or the algorithm
    /// cannot be computed.
    fn chap_digest(
        &mut self,
        algorithm: Algorithm,
        id: u8,
        challenge: &[u8],
        whose: Whose,
        out: &mut [u8; MAX_DIGEST_LEN],
    ) -> Result<usize, NoCredentials>;

    /// Whether `a` equals `b`, in a time that does not depend on where they
    /// differ.
    fn constant_time_eq(&self, a: &[u8], b: &[u8]) -> bool {
        constant_time_eq(a, b)
    }
}

/// Which secret a digest is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one that the initiator proves to know.
    Inbound,
    /// The one that the target proves to know.
    Mutual,
}

/// The secret or user name asked for is not configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCredentials;

/// The proof that an initiator knows its secret. Made by
/// [`Exchange::finish`] alone.
#[derive(Debug)]
pub struct Authenticated(());

/// An exchange whose challenge is sent and whose response is awaited.
#[derive(Debug)]
pub struct Exchange {
    algorithm: Algorithm,
    id: u8,
    challenge: [u8; CHALLENGE_LEN],
}

/// The initiator's second step.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// CHAP_N.
    pub name: &'a str,
    /// CHAP_R.
    pub response: &'a str,
    /// CHAP_I and CHAP_C, if the initiator asks the target to authenticate
    /// itself.
    pub mutual: Option<(&'a str, &'a str)>,
}

impl Exchange {
    /// Answers the list of algorithms, `proposed`, with the strongest one in
    /// it that is `allowed`, an identifier and a challenge.
    ///
    /// # Errors
    ///
    /// [`Failure::NoCommonAlgorithm`], or [`Failure::NoSpace`] in `out`.
    pub fn start<C: Credentials + ?Sized>(
        proposed: &str,
        allowed: Algorithms,
        credentials: &mut C,
        out: &mut Writer<'_>,
    ) -> Result<Self, Failure> {
        let algorithm = allowed
            .strongest_in(proposed)
            .ok_or(Failure::NoCommonAlgorithm)?;
        let mut id = [0];
        let mut challenge = [0; CHALLENGE_LEN];
        credentials.random(&mut id);
        credentials.random(&mut challenge);
        let [id] = id;

        out.number("CHAP_A", u32::from(algorithm.number()))?;
        out.number("CHAP_I", u32::from(id))?;
        out.hex("CHAP_C", &challenge)?;
        Ok(Self {
            algorithm,
            id,
            challenge,
        })
    }

    /// The algorithm that was chosen.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks the response and, if the initiator asks for it, writes the
    /// target's own.
    ///
    /// The initiator's part is checked first and completely, so that nothing
    /// is computed with the target's secret for somebody who has not proven
    /// to know the initiator's. `scratch` is where its challenge is decoded:
    /// the limit on a challenge is its length or [`MAX_CHALLENGE_LEN`],
    /// whichever is less.
    ///
    /// # Errors
    ///
    /// [`Failure`] says what is wrong. The peer must not be told.
    pub fn finish<C: Credentials + ?Sized>(
        self,
        answer: &Response<'_>,
        credentials: &mut C,
        scratch: &mut [u8],
        out: &mut Writer<'_>,
    ) -> Result<Authenticated, Failure> {
        let proof = self.verify(answer, credentials)?;
        if let Some((id, challenge)) = answer.mutual {
            self.respond(id, challenge, credentials, scratch, out)?;
        }
        Ok(proof)
    }

    fn verify<C: Credentials + ?Sized>(
        &self,
        answer: &Response<'_>,
        credentials: &mut C,
    ) -> Result<Authenticated, Failure> {
        let mut received = [0; MAX_DIGEST_LEN];
        let received =
            value::binary(answer.response, &mut received).map_err(|_| Failure::BadResponse)?;
        if received.len() != self.algorithm.digest_len() {
            return Err(Failure::BadResponse);
        }

        // Name and digest are both looked at whatever the other says, so that
        // the time tells nothing about either.
        let known = credentials.chap_user(answer.name.as_bytes());
        let mut digest = [0; MAX_DIGEST_LEN];
        let expected = self.digest(Whose::Inbound, credentials, &mut digest)?;
        let right = credentials.constant_time_eq(expected, received);

        // RFC 7143 section 9.2.1: a response that this end would have given
        // to the same challenge means one secret for both directions.
        let own = match self.digest(Whose::Mutual, credentials, &mut digest) {
            Ok(own) => credentials.constant_time_eq(own, received),
            Err(_) => false,
        };
        match (known, right, own) {
            (true, true, false) => Ok(Authenticated(())),
            (_, _, true) => Err(Failure::SameSecret),
            (false, _, false) => Err(Failure::UnknownUser),
            (true, false, false) => Err(Failure::WrongResponse),
        }
    }

    fn digest<'a, C: Credentials + ?Sized>(
        &self,
        whose: Whose,
        credentials: &mut C,
        out: &'a mut [u8; MAX_DIGEST_LEN],
    ) -> Result<&'a [u8], Failure> {
        digest(
            self.algorithm,
            self.id,
            &self.challenge,
            whose,
            credentials,
            out,
        )
    }

    fn respond<C: Credentials + ?Sized>(
        &self,
        id: &str,
        challenge: &str,
        credentials: &mut C,
        scratch: &mut [u8],
        out: &mut Writer<'_>,
    ) -> Result<(), Failure> {
        let id = value::number_in(id, 0, 255)
            .ok()
            .and_then(|id| u8::try_from(id).ok())
            .ok_or(Failure::BadIdentifier)?;
        let room = scratch.len().min(MAX_CHALLENGE_LEN);
        let scratch = scratch.get_mut(..room).unwrap_or_default();
        let challenge = value::binary(challenge, scratch).map_err(|_| Failure::BadChallenge)?;
        // RFC 7143 section 9.2.1: "Originators MUST NOT reuse the CHAP
        // challenge sent by the responder for the other direction".
        if challenge == self.challenge {
            return Err(Failure::Reflected);
        }

        let mut name = [0; MAX_NAME_LEN];
        let len = credentials.mutual_user(&mut name)?;
        let name = name
            .get(..len)
            .filter(|name| !name.is_empty() && !name.contains(&0))
            .ok_or(Failure::NoMutualCredentials)?;
        let mut buf = [0; MAX_DIGEST_LEN];
        let response = digest(
            self.algorithm,
            id,
            challenge,
            Whose::Mutual,
            credentials,
            &mut buf,
        )?;
        out.parts("CHAP_N", &[name])?;
        out.hex("CHAP_R", response)?;
        Ok(())
    }
}

fn digest<'a, C: Credentials + ?Sized>(
    algorithm: Algorithm,
    id: u8,
    challenge: &[u8],
    whose: Whose,
    credentials: &mut C,
    out: &'a mut [u8; MAX_DIGEST_LEN],
) -> Result<&'a [u8], Failure> {
    let missing = match whose {
        Whose::Inbound => Failure::NoCredentials,
        Whose::Mutual => Failure::NoMutualCredentials,
    };
    let len = credentials
        .chap_digest(algorithm, id, challenge, whose, out)
        .map_err(|NoCredentials| missing)?;
    if len != algorithm.digest_len() {
        return Err(missing);
    }
    out.get(..len).ok_or(missing)
}

/// Whether `a` equals `b`, in a time that depends on their lengths alone.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0u8, |all, (x, y)| core::hint::black_box(all | (x ^ y)));
    a.len() == b.len() && core::hint::black_box(difference) == 0
}

/// Why an exchange failed. For the log of the target alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// None of the proposed algorithms is allowed.
    NoCommonAlgorithm,
    /// No secret is configured for the initiator.
    NoCredentials,
    /// CHAP_R is not a binary-value of the digest's length.
    BadResponse,
    /// CHAP_N is not the configured user name.
    UnknownUser,
    /// CHAP_R is wrong.
    WrongResponse,
    /// CHAP_R would be right for the target's own secret: one secret is
    /// configured for both directions, or somebody reflects.
    SameSecret,
    /// CHAP_I is not a number from 0 to 255.
    BadIdentifier,
    /// CHAP_C is not a binary-value of 1 to 1024 bytes.
    BadChallenge,
    /// CHAP_C is the challenge that the target sent.
    Reflected,
    /// The initiator wants the target to authenticate itself, but no user
    /// name and secret are configured for that.
    NoMutualCredentials,
    /// The answer does not fit its buffer.
    NoSpace,
}

impl Failure {
    /// Whether the initiator's text is malformed, rather than its credentials
    /// wrong (RFC 7143 section 9.2 tells the two apart).
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::BadIdentifier | Self::BadChallenge)
    }
}

impl From<NoCredentials> for Failure {
    fn from(_: NoCredentials) -> Self {
        Self::NoMutualCredentials
    }
}

impl From<NoSpace> for Failure {
    fn from(_: NoSpace) -> Self {
        Self::NoSpace
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCommonAlgorithm => "none of the CHAP algorithms proposed is allowed",
            Self::NoCredentials => "no CHAP user and secret are configured for the initiator",
            Self::BadResponse => "CHAP_R is not a digest of the algorithm's length",
            Self::UnknownUser => "CHAP_N is not the configured user",
            Self::WrongResponse => "CHAP_R is wrong",
            Self::SameSecret => "the CHAP secrets of both directions are the same",
            Self::BadIdentifier => "CHAP_I is not a number from 0 to 255",
            Self::BadChallenge => "CHAP_C is not a binary value of 1 to 1024 bytes",
            Self::Reflected => "CHAP_C is the target's own challenge",
            Self::NoMutualCredentials => {
                "mutual CHAP is asked for but no user and secret are configured for it"
            }
            Self::NoSpace => "no space left for the answer",
        })
    }
}

/// Length of a challenge that the target sends, in bytes: as long as the
/// longest digest.
pub const CHALLENGE_LEN: usize = 32;

/// Longest challenge that is accepted, in bytes (RFC 7143 section 12.1.3).
pub const MAX_CHALLENGE_LEN: usize = 1024;

/// Longest digest of any [`Algorithm`], in bytes.
pub const MAX_DIGEST_LEN: usize = 32;

/// Longest user name, in bytes.
pub const MAX_NAME_LEN: usize = 255;

#[cfg(test)]
mod tests;
