// SPDX-License-Identifier: GPL-2.0

//! The digest algorithms of CHAP.

use core::fmt;

use crate::proto::text::value;

/// A digest algorithm, by its number in IANA's "PPP Authentication
/// Algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 5: MD5, 16 bytes.
    Md5,
    /// 6: SHA-1, 20 bytes.
    Sha1,
    /// 7: SHA-256, 32 bytes.
    Sha256,
    /// 8: SHA3-256, 32 bytes.
    Sha3_256,
}

impl Algorithm {
    /// All, the strongest first.
    pub const STRONGEST_FIRST: [Self; 4] = [Self::Sha3_256, Self::Sha256, Self::Sha1, Self::Md5];

    /// The value of CHAP_A.
    pub const fn number(self) -> u8 {
        match self {
            Self::Md5 => 5,
            Self::Sha1 => 6,
            Self::Sha256 => 7,
            Self::Sha3_256 => 8,
        }
    }

    /// The length of a digest in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
        }
    }

    /// The name that configuration uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha3_256 => "SHA3-256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of algorithms that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms(u16);

impl Algorithms {
    /// None at all.
    pub const EMPTY: Self = Self(0);

    /// What is allowed unless the administrator says otherwise: all but MD5.
    pub const DEFAULT: Self = Self::EMPTY
        .with(Algorithm::Sha3_256)
        .with(Algorithm::Sha256)
        .with(Algorithm::Sha1);

    /// This set and `algorithm`.
    #[must_use]
    pub const fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | Self::bit(algorithm))
    }

    /// Whether `algorithm` is in the set.
    pub const fn has(self, algorithm: Algorithm) -> bool {
        self.0 & Self::bit(algorithm) != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads a comma-separated list of names, as `SHA3-256,SHA256,SHA1`.
    ///
    /// # Errors
    ///
    /// [`AlgorithmsError`] for an empty list, an unknown name or a repeated
    /// one.
    pub fn parse(text: &str) -> Result<Self, AlgorithmsError> {
        value::split(text, b',').try_fold(Self::EMPTY, |set, name| {
            let algorithm = Algorithm::STRONGEST_FIRST
                .into_iter()
                .find(|algorithm| algorithm.name() == name)
                .filter(|&algorithm| !set.has(algorithm))
                .ok_or(AlgorithmsError)?;
            Ok(set.with(algorithm))
        })
    }

    /// The strongest algorithm in the CHAP_A list `proposed` that is in this
    /// set. Numbers that mean nothing here are skipped, as RFC 7143 section
    /// 6.2.1 demands.
    pub(super) fn strongest_in(self, proposed: &str) -> Option<Algorithm> {
        Algorithm::STRONGEST_FIRST.into_iter().find(|&algorithm| {
            self.has(algorithm)
                && value::split(proposed, b',')
                    .any(|item| value::number(item) == Ok(u64::from(algorithm.number())))
        })
    }

    const fn bit(algorithm: Algorithm) -> u16 {
        1 << algorithm.number()
    }
}

impl Default for Algorithms {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Algorithms {
    /// The list of names, the strongest first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for algorithm in Algorithm::STRONGEST_FIRST {
            if self.has(algorithm) {
                write!(f, "{separator}{algorithm}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// A list of algorithms that is empty, or names an unknown one or one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmsError;

impl fmt::Display for AlgorithmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be a comma-separated list of SHA3-256, SHA256, SHA1 and MD5, each at most once",
        )
    }
}
