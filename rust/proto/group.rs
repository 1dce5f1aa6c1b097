// SPDX-License-Identifier: GPL-2.0

//! Host groups: names of groups of initiators, and patterns of who is in them.

use core::{
    fmt, //
    str,
};

use super::name::{
    IscsiName, //
    NameError,
    MAX_LEN as MAX_NAME_LEN,
};

/// The longest name of a group in bytes, with the `@`.
pub const MAX_GROUP_LEN: usize = 64;

/// The name of a host group: `@`, and then lower case letters, digits, `-`, `.`
/// and `_`. No iSCSI name begins with an `@`.
///
/// # Invariants
///
/// The first `len` bytes of `bytes` are the name, in ASCII.
#[derive(Clone, Copy)]
pub struct GroupName {
    bytes: [u8; MAX_GROUP_LEN],
    len: u8,
}

impl GroupName {
    /// Whether a text is meant as the name of a group.
    #[must_use]
    pub fn is_meant(text: &[u8]) -> bool {
        text.first() == Some(&b'@')
    }

    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`GroupNameError`].
    pub fn parse(text: &[u8]) -> Result<GroupName, GroupNameError> {
        let [b'@', rest @ ..] = text else {
            return Err(GroupNameError);
        };
        let allowed = |byte: &u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
        };
        let mut bytes = [0; MAX_GROUP_LEN];
        let place = bytes.get_mut(..text.len()).ok_or(GroupNameError)?;
        if rest.is_empty() || !rest.iter().all(allowed) {
            return Err(GroupNameError);
        }
        for (to, from) in place.iter_mut().zip(text) {
            *to = *from;
        }
        Ok(GroupName {
            bytes,
            // Not more than `MAX_GROUP_LEN`, as was checked.
            len: u8::try_from(text.len()).unwrap_or(0),
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        // By the invariants always ASCII.
        str::from_utf8(bytes).unwrap_or_default()
    }
}

impl PartialEq for GroupName {
    fn eq(&self, other: &GroupName) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for GroupName {}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no group can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupNameError;

impl fmt::Display for GroupNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a group's name is \"@\" and 1 to 63 lower case letters, digits, '-', '.' or '_'",
        )
    }
}

/// Who is in a group: an iSCSI name, or one in which each `*` stands for any
/// number of any characters, none included.
///
/// # Invariants
///
/// The first `len` bytes of `bytes` are the pattern, in UTF-8 and without
/// ASCII upper case.
#[derive(Clone, Copy)]
pub struct Pattern {
    bytes: [u8; MAX_NAME_LEN],
    len: u8,
}

impl Pattern {
    /// Checks a pattern. One without a `*` is an iSCSI name. One with a `*`
    /// begins with `iqn.`, `eui.` or `naa.`, so that it says what it is about.
    ///
    /// # Errors
    ///
    /// The rule that it breaks, in terms of names.
    pub fn parse(text: &[u8]) -> Result<Pattern, NameError> {
        if !text.contains(&b'*') {
            let name = IscsiName::parse(text)?;
            return Self::new(name.as_bytes());
        }
        if text.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong { len: text.len() });
        }
        let chars = str::from_utf8(text).map_err(|error| NameError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        let designator = text.get(..4).unwrap_or_default();
        if ![b"iqn.", b"eui.", b"naa."]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(designator))
        {
            return Err(NameError::UnknownType);
        }
        let mut offset: usize = 0;
        for char in chars.chars() {
            if char != '*' && !super::name::is_allowed(char) {
                return Err(NameError::BadChar { char, offset });
            }
            offset = offset.saturating_add(char.len_utf8());
        }
        Self::new(text)
    }

    fn new(text: &[u8]) -> Result<Pattern, NameError> {
        let len = text.len();
        let mut bytes = [0; MAX_NAME_LEN];
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = from.to_ascii_lowercase();
        }
        let len = u8::try_from(len).map_err(|_| NameError::TooLong { len })?;
        Ok(Pattern { bytes, len })
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // By the invariants always UTF-8.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// How closely the pattern describes an initiator; `None` if not at all. A
    /// name in full is closer than any pattern, and a pattern with more
    /// characters that are not `*` is closer than one with fewer.
    #[must_use]
    pub fn closeness(&self, name: &IscsiName) -> Option<u16> {
        let pattern = self.as_bytes();
        if !matches(pattern, name.as_bytes()) {
            return None;
        }
        let stars = pattern.iter().filter(|byte| **byte == b'*').count();
        let plain = pattern.len().saturating_sub(stars);
        let full = if stars == 0 { 0x100 } else { 0 };
        u16::try_from(plain).ok().map(|plain| plain | full)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Whether `text` is described by `pattern`. Takes at most the product of both
/// lengths in steps: only the last `*` is ever gone back to.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last `*`, and the text that it has not yet eaten.
    let mut last: Option<(&[u8], &[u8])> = None;
    loop {
        (pattern, text) = match (pattern, text) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                last = Some((rest, text));
                (rest, text)
            }
            ([a, pattern @ ..], [b, text @ ..]) if a == b => (pattern, text),
            _ => match last {
                Some((rest, [_, eaten @ ..])) => {
                    last = Some((rest, eaten));
                    (rest, eaten)
                }
                _ => return false,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn names_of_groups() {
        for name in [
            "@a",
            "@web-servers_2.x",
            &std::format!("@{}", "a".repeat(63)),
        ] {
            assert!(GroupName::is_meant(name.as_bytes()));
            assert_eq!(GroupName::parse(name.as_bytes()).unwrap().as_str(), name);
        }
        for name in [
            "", "@", "a", "@A", "@a b", "@a/b", "@a:b", "@*", "@@a", "@\u{e4}",
        ] {
            assert_eq!(
                GroupName::parse(name.as_bytes()),
                Err(GroupNameError),
                "{name}"
            );
        }
        let long = std::format!("@{}", "a".repeat(64));
        assert_eq!(GroupName::parse(long.as_bytes()), Err(GroupNameError));
        assert!(!GroupName::is_meant(b"iqn.2001-04.com.example"));
        assert!(GroupNameError.to_string().contains('@'));
    }

    fn name(text: &str) -> IscsiName {
        IscsiName::parse(text.as_bytes()).unwrap()
    }

    fn closeness(pattern: &str, text: &str) -> Option<u16> {
        Pattern::parse(pattern.as_bytes())
            .unwrap()
            .closeness(&name(text))
    }

    #[test]
    fn what_patterns_describe() {
        let web1 = "iqn.2001-04.com.example:web1";
        assert_eq!(
            closeness("IQN.2001-04.com.example:Web1", web1),
            Some(0x100 | 28)
        );
        assert_eq!(closeness("iqn.*", web1), Some(4));
        assert_eq!(closeness("iqn.*:web*", web1), Some(8));
        assert_eq!(closeness("iqn.2001-04.com.example:web1*", web1), Some(28));
        assert_eq!(closeness("iqn.*eb*1", web1), Some(7));
        assert_eq!(closeness("iqn.**1", web1), Some(5));
        for other in [
            "iqn.2001-04.com.example:web",
            "iqn.2001-04.com.example:web11",
            "iqn.*:db*",
            "iqn.*web",
            "eui.*",
            "iqn.*:web1*1",
        ] {
            assert_eq!(closeness(other, web1), None, "{other}");
        }
        // A full name is the closest there is.
        let longest = std::format!("iqn.2001-04.com.example:{}", "a".repeat(199));
        let pattern = std::format!("{}*", &longest[..222]);
        assert!(
            closeness(&pattern, &longest)
                < closeness("eui.0123456789abcdef", "eui.0123456789abcdef")
        );
    }

    #[test]
    fn what_is_no_pattern() {
        let error = |text: &str| Pattern::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error(""), NameError::Empty);
        assert_eq!(error("*"), NameError::UnknownType);
        assert_eq!(error("i*"), NameError::UnknownType);
        assert_eq!(
            error("@web"),
            NameError::BadChar {
                char: '@',
                offset: 0
            }
        );
        assert_eq!(
            error("iqn.*?"),
            NameError::BadChar {
                char: '?',
                offset: 5
            }
        );
        assert_eq!(
            error("iqn.* "),
            NameError::BadChar {
                char: ' ',
                offset: 5
            }
        );
        assert_eq!(error("iqn.2001"), NameError::BadDate);
        let long = std::format!("iqn.*{}", "a".repeat(219));
        assert_eq!(error(&long), NameError::TooLong { len: 224 });
        assert!(matches!(
            Pattern::parse(b"iqn.*\xff").unwrap_err(),
            NameError::NotUtf8 { offset: 5 }
        ));
    }

    /// The same by trying everything.
    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|eaten| slowly(rest, &text[eaten..])),
            ([a, pattern @ ..], [b, text @ ..]) => a == b && slowly(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let (pattern, text) = (pattern.into_bytes(), text.into_bytes());
            prop_assert_eq!(matches(&pattern, &text), slowly(&pattern, &text));
        }

        #[test]
        fn any_bytes(text: Vec<u8>) {
            let _ = GroupName::parse(&text);
            if let Ok(pattern) = Pattern::parse(&text) {
                prop_assert_eq!(Pattern::parse(pattern.as_str().as_bytes()), Ok(pattern));
            }
        }

        #[test]
        fn a_name_describes_itself(rest in "[a-z0-9.:-]{1,180}") {
            let text = String::from("iqn.2001-04.com") + &rest;
            let parsed = name(&text);
            prop_assert!(Pattern::parse(text.as_bytes()).unwrap().closeness(&parsed).is_some());
        }
    }
}
