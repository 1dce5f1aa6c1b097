// SPDX-License-Identifier: GPL-2.0

//! CHAP secrets: never shown, wiped when they are dropped.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::error::Result;

/// A CHAP secret. `Debug` does not show it; only a saved configuration does.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The least length in bytes: 96 bits (RFC 7143 section 9.2.1).
    pub const MIN_LEN: usize = 12;

    /// The greatest length in bytes that a configfs attribute takes.
    pub const MAX_LEN: usize = 255;

    /// Takes text as a secret without looking at it.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text, for the one file that it is written to.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Checks the rules that hold for every secret, and its length if `weak` is false.
    pub fn check(&self, weak: bool) -> Result<()> {
        // The value is left out of these messages on purpose.
        let rule = |rule: &str| {
            Err(Error::Usage(format!(
                "the CHAP secret is not valid: {rule}"
            )))
        };
        if self.0.is_empty() {
            return rule("it is empty");
        }
        if self.0.len() > Self::MAX_LEN {
            return rule("it is longer than 255 bytes");
        }
        if self.0.chars().any(char::is_control) {
            return rule("it has a control character in it");
        }
        if self.0.starts_with("NULL") {
            return rule("one that begins with NULL cannot be stored");
        }
        if !weak && self.0.len() < Self::MIN_LEN {
            return rule(
                "it is shorter than 12 bytes (96 bits, RFC 7143 section 9.2.1); \
                 `ferritectl auth generate FILE` makes a good one, --allow-weak takes this one",
            );
        }
        Ok(())
    }

    /// Makes a random secret of 16 characters out of 64: 96 random bits, and short
    /// enough for initiators that take no more than 16 characters.
    pub fn generate() -> Result<Self> {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        loop {
            let mut random = Zeroizing::new([0u8; 16]);
            getrandom::fill(random.as_mut())
                .map_err(|e| Error::Usage(format!("no random numbers to be had: {e}")))?;
            let text: String = random
                .iter()
                .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
                .collect();
            let secret = Secret::new(text);
            if secret.check(false).is_ok() {
                return Ok(secret);
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        // What it is instead is not told: it is meant as a secret.
        let text = String::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom("a secret must be a text"))?;
        let secret = Secret::new(text);
        secret.check(true).map_err(serde::de::Error::custom)?;
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_shown() {
        let secret = Secret::new("correct horse battery");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        for bad in ["", "short", "with\ncontrol character", "NULLxxxxxxxxxxxx"] {
            let message = Secret::new(bad).check(false).unwrap_err().to_string();
            assert!(
                bad.is_empty() || !message.contains(&format!(" {bad} ")),
                "{message}"
            );
        }
    }

    #[test]
    fn what_is_no_text_is_not_shown_either() {
        for wrong in ["123456789012", "true", "[\"123456789012\"]"] {
            let error = serde_json::from_str::<Secret>(wrong).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains("a secret must be a text")
                    && !message.contains("1234")
                    && !message.contains("true"),
                "{message}"
            );
        }
    }

    #[test]
    fn length_is_bounded_both_ways() {
        assert!(Secret::new("x".repeat(11)).check(false).is_err());
        assert!(Secret::new("x".repeat(11)).check(true).is_ok());
        assert!(Secret::new("x".repeat(12)).check(false).is_ok());
        assert!(Secret::new("x".repeat(255)).check(false).is_ok());
        assert!(Secret::new("x".repeat(256)).check(true).is_err());
    }

    #[test]
    fn generated_ones_differ_and_hold() {
        let one = Secret::generate().unwrap();
        let two = Secret::generate().unwrap();
        assert_eq!(one.expose().len(), 16);
        assert!(one.check(false).is_ok());
        assert_ne!(one, two);
    }
}
