// SPDX-License-Identifier: GPL-2.0

//! iSCSI names (RFC 7143 section 4.2.7).
//!
//! One validator for the names in login keys, in configfs and on the command
//! line. What it lets through has no spaces, control characters or `/`, so it
//! is safe as a directory name and in a log line.

use core::{
    fmt, //
    hash,
    str,
};

/// The longest name in bytes (RFC 7143 section 4.2.7.2).
pub const MAX_LEN: usize = 223;

/// A valid iSCSI name in lower case.
///
/// # Invariants
///
/// The first `len` bytes of `bytes` are the name, in UTF-8 and without ASCII
/// upper case; `len` is from 1 to [`MAX_LEN`]. The bytes after it are 0.
#[derive(Clone, Copy)]
pub struct IscsiName {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl IscsiName {
    /// Checks a name and turns ASCII upper case into lower case, as section
    /// 4.2.7.1 asks of input that may have it. Once normalized, names "may be
    /// safely compared byte for byte" (section 4.2.7.2).
    ///
    /// Characters beyond ASCII must be normalized already: those that the
    /// iSCSI stringprep profile (RFC 3722) prohibits are refused where this
    /// can be seen without its tables, and no others are mapped. From ASCII
    /// the profile allows letters, digits, `-`, `.` and `:`; `_` is let
    /// through as well, because initiators in use have it in their names.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule the name breaks.
    pub fn parse(name: &[u8]) -> Result<IscsiName, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_LEN {
            return Err(NameError::TooLong { len: name.len() });
        }
        let text = str::from_utf8(name).map_err(|error| NameError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        let mut lower = [0; MAX_LEN];
        for (to, from) in lower.iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        let mut offset: usize = 0;
        for char in text.chars() {
            if !is_allowed(char) {
                return Err(NameError::BadChar { char, offset });
            }
            offset = offset.saturating_add(char.len_utf8());
        }
        let lowered = lower.get(..name.len()).unwrap_or_default();
        match lowered.split_first_chunk::<4>() {
            Some((b"iqn.", rest)) => check_iqn(rest)?,
            Some((b"eui.", rest)) => check_hex(rest, &[16])?,
            Some((b"naa.", rest)) => check_hex(rest, &[16, 32])?,
            _ => return Err(NameError::UnknownType),
        }
        Ok(IscsiName {
            bytes: lower,
            // Not more than `MAX_LEN`, as was checked.
            len: u8::try_from(name.len()).unwrap_or(0),
        })
    }

    /// The name.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // By the invariants always UTF-8.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl PartialEq for IscsiName {
    #[inline]
    fn eq(&self, other: &IscsiName) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for IscsiName {}

impl hash::Hash for IscsiName {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The rule that a name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// It is longer than [`MAX_LEN`].
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It is not UTF-8.
    NotUtf8 {
        /// Where that shows, in bytes.
        offset: usize,
    },
    /// A character that is not allowed.
    BadChar {
        /// The character.
        char: char,
        /// Where it is, in bytes.
        offset: usize,
    },
    /// It begins with none of the three type designators.
    UnknownType,
    /// An `iqn.` name without a date (section 4.2.7.4).
    BadDate,
    /// An `iqn.` name without the reverse domain name of its authority.
    NoAuthority,
    /// A character after `eui.` or `naa.` that is no hexadecimal digit.
    NotHex,
    /// A number of digits that an `eui.` or `naa.` name cannot have (sections
    /// 4.2.7.5 and 4.2.7.6).
    BadDigits {
        /// How many there are.
        digits: usize,
    },
}

impl fmt::Display for NameError {
    /// The rule, as the end of a sentence about the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            NameError::Empty => f.write_str("an iSCSI name must not be empty"),
            NameError::TooLong { len } => write!(
                f,
                "an iSCSI name has at most {MAX_LEN} bytes, this one has {len}"
            ),
            NameError::NotUtf8 { offset } => {
                write!(f, "an iSCSI name is UTF-8, byte {offset} of this one is not")
            }
            NameError::BadChar { char, offset } => write!(
                f,
                "character {char:?} at byte {offset} is not allowed in an iSCSI name \
                 (letters, digits, '-', '.', ':' and '_' are)"
            ),
            NameError::UnknownType => {
                f.write_str("an iSCSI name begins with \"iqn.\", \"eui.\" or \"naa.\"")
            }
            NameError::BadDate => f.write_str(
                "\"iqn.\" is followed by a year and a month and a dot, as in iqn.2001-04.com.example",
            ),
            NameError::NoAuthority => f.write_str(
                "the date of an \"iqn.\" name is followed by a reversed domain name, \
                 as in iqn.2001-04.com.example",
            ),
            NameError::NotHex => {
                f.write_str("\"eui.\" and \"naa.\" are followed by hexadecimal digits only")
            }
            NameError::BadDigits { digits } => write!(
                f,
                "\"eui.\" is followed by 16 digits and \"naa.\" by 16 or 32, here are {digits}"
            ),
        }
    }
}

/// Checks what follows `iqn.`: "yyyy-mm.", a reverse domain name, and maybe a
/// colon and more (section 4.2.7.4).
fn check_iqn(rest: &[u8]) -> Result<(), NameError> {
    let Some((&[y1, y2, y3, y4, b'-', m1, m2, b'.'], authority)) = rest.split_first_chunk::<8>()
    else {
        return Err(NameError::BadDate);
    };
    let year = [y1, y2, y3, y4].iter().all(u8::is_ascii_digit);
    let month = matches!((m1, m2), (b'0', b'1'..=b'9') | (b'1', b'0'..=b'2'));
    if !year || !month {
        return Err(NameError::BadDate);
    }
    match authority.first() {
        None | Some(b':' | b'.') => Err(NameError::NoAuthority),
        Some(_) => Ok(()),
    }
}

/// Checks what follows `eui.` or `naa.`.
fn check_hex(rest: &[u8], lengths: &[usize]) -> Result<(), NameError> {
    if !rest.iter().all(u8::is_ascii_hexdigit) {
        return Err(NameError::NotHex);
    }
    if !lengths.contains(&rest.len()) {
        return Err(NameError::BadDigits { digits: rest.len() });
    }
    Ok(())
}

/// Whether a character may be in a name. ASCII upper case may: it is mapped.
pub(super) fn is_allowed(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
    }
    // RFC 3722 section 5 and the tables of RFC 3454 that it names: spaces
    // (C.1.2), controls (C.2.2), private use (C.3), non-characters (C.4), what
    // is inappropriate for plain text (C.6), for canonical representation
    // (C.7), what changes the display (C.8), tags (C.9), and U+3002.
    !(c.is_whitespace()
        || c.is_control()
        || c.is_uppercase()
        || matches!(c,
            '\u{06dd}' | '\u{070f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2ff0}'..='\u{2ffb}'
            | '\u{3002}' | '\u{0340}'..='\u{0341}' | '\u{e000}'..='\u{f8ff}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffd}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
        || u32::from(c) & 0xfffe == 0xfffe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::string::ToString;
    use std::vec::Vec;

    fn ok(name: &str) -> String {
        IscsiName::parse(name.as_bytes())
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .to_string()
    }

    fn err(name: &str) -> NameError {
        match IscsiName::parse(name.as_bytes()) {
            Ok(_) => panic!("{name} was let through"),
            Err(error) => error,
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_names() {
        for name in [
            "iqn.2001-04.com.example:storage:diskarrays-sn-a8675309",
            "iqn.2001-04.com.example",
            "iqn.2001-04.com.example:storage.tape1.sys1.xyz",
            "eui.02004567A425678D",
            "naa.52004567BA64678D",
            "naa.62004567BA64678D0123456789ABCDEF",
        ] {
            assert_eq!(ok(name), name.to_ascii_lowercase());
        }
    }

    #[test]
    fn names_in_use_are_names() {
        for name in [
            "iqn.1993-08.org.debian:01:5f9e8b7c6d5a",
            "iqn.2016-04.com.open-iscsi:my_host",
            "iqn.1998-01.com.vmware:esx-01-4a5b6c7d",
            "iqn.1991-05.com.microsoft:win-abc.example.org",
            "iqn.2008-11.org.linux-kvm:4ab27f70-ba5f-4a5c-9a2b-1a2b3c4d5e6f",
            "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test-2",
            "iqn.2001-04.com.example:b\u{fc}cher",
        ] {
            assert_eq!(ok(name), name);
        }
    }

    #[test]
    fn upper_case_is_mapped_and_compares_equal() {
        let a = IscsiName::parse(b"IQN.2001-04.COM.Example:X").unwrap();
        let b = IscsiName::parse(b"iqn.2001-04.com.example:x").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.as_bytes(), b"iqn.2001-04.com.example:x");
    }

    #[test]
    fn each_rule_refuses() {
        assert_eq!(err(""), NameError::Empty);
        assert_eq!(err("iqn"), NameError::UnknownType);
        assert_eq!(err("iqm.2001-04.com.example"), NameError::UnknownType);
        assert_eq!(err("iscsi"), NameError::UnknownType);
        for date in [
            "iqn.",
            "iqn.2001",
            "iqn.2001-04",
            "iqn.2001-4.com",
            "iqn.2001-00.com",
            "iqn.2001-13.com",
            "iqn.2001-1a.com",
            "iqn.201-04.com.x",
            "iqn.2oo1-04.com",
            "iqn.2001.04.com",
            "iqn.2001-04:com",
        ] {
            assert_eq!(err(date), NameError::BadDate, "{date}");
        }
        for authority in ["iqn.2001-04.", "iqn.2001-04.:x", "iqn.2001-04..com"] {
            assert_eq!(err(authority), NameError::NoAuthority, "{authority}");
        }
        assert_eq!(
            err("eui.02004567A425678"),
            NameError::BadDigits { digits: 15 }
        );
        assert_eq!(
            err("eui.02004567A425678D0"),
            NameError::BadDigits { digits: 17 }
        );
        assert_eq!(err("eui."), NameError::BadDigits { digits: 0 });
        assert_eq!(err("eui.02004567A425678G"), NameError::NotHex);
        assert_eq!(
            err("naa.62004567BA64678D0123456789ABCDE"),
            NameError::BadDigits { digits: 31 }
        );
        assert_eq!(
            err("naa.62004567BA64678D0123456789ABCDEF0"),
            NameError::BadDigits { digits: 33 }
        );
        assert_eq!(
            IscsiName::parse(b"iqn.2001-04.com.\xff"),
            Err(NameError::NotUtf8 { offset: 16 })
        );
    }

    #[test]
    fn characters_that_could_do_harm_are_refused() {
        for char in [
            ' ',
            '/',
            '\\',
            '\0',
            '\n',
            '\x1b',
            '\x7f',
            ',',
            '=',
            '"',
            '%',
            '*',
            '@',
            '\u{85}',
            '\u{a0}',
            '\u{200b}',
            '\u{202e}',
            '\u{2028}',
            '\u{3000}',
            '\u{3002}',
            '\u{e000}',
            '\u{feff}',
            '\u{ffff}',
            '\u{1fffe}',
            '\u{dc}',
            '\u{e0041}',
            '\u{10fffd}',
        ] {
            let mut name = String::from("iqn.2001-04.com.example:");
            name.push(char);
            assert_eq!(err(&name), NameError::BadChar { char, offset: 24 });
        }
    }

    #[test]
    fn the_length_is_bounded_in_bytes() {
        let longest = |len: usize| {
            let mut name = Vec::from(&b"iqn.2001-04.com.example:"[..]);
            name.resize(len, b'x');
            name
        };
        assert_eq!(
            IscsiName::parse(&longest(223)).unwrap().as_bytes(),
            longest(223)
        );
        assert_eq!(
            IscsiName::parse(&longest(224)),
            Err(NameError::TooLong { len: 224 })
        );
        // Not in characters: this one has fewer than 223 of them.
        let mut wide = String::from("iqn.2001-04.com.example:");
        while wide.len() < 224 {
            wide.push('\u{fc}');
        }
        assert_eq!(err(&wide), NameError::TooLong { len: 224 });
    }

    #[test]
    fn every_prefix_of_an_eui_name_is_refused() {
        let name = b"eui.02004567a425678d";
        for len in 0..name.len() {
            assert!(IscsiName::parse(&name[..len]).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn what_is_let_through_is_harmless_and_stable(bytes: Vec<u8>, tail in "\\PC*") {
            for name in [bytes, [b"iqn.2001-04.com.e:", tail.as_bytes()].concat()] {
                if let Ok(parsed) = IscsiName::parse(&name) {
                    let harmless = |c: char| {
                        !c.is_control() && !c.is_whitespace() && c != '/' && !c.is_uppercase()
                    };
                    prop_assert!(parsed.as_str().chars().all(harmless));
                    prop_assert_eq!(parsed.as_bytes(), name.to_ascii_lowercase());
                    prop_assert_eq!(IscsiName::parse(parsed.as_bytes()), Ok(parsed));
                }
            }
        }
    }
}
