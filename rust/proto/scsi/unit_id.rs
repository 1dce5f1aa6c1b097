// SPDX-License-Identifier: GPL-2.0

//! Designators that a logical unit was given, rather than made of its serial number.
//!
//! A disk that has been served by something else before keeps the designators that
//! initiators know it by (SPC-4, "Device Identification VPD page").

use super::vpd;
use core::fmt;

/// The most bytes of a designator: its length is one byte.
pub const MAX_LEN: usize = 255;

/// The most bytes of a designator of a fixed size.
const FIXED: usize = 16;

/// The bytes of an NAA or EUI-64 designator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    bytes: [u8; FIXED],
    len: u8,
}

impl Bytes {
    fn new(from: &[u8]) -> Self {
        let mut bytes = [0; FIXED];
        let mut len = 0u8;
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
            len = len.saturating_add(1);
        }
        Bytes { bytes, len }
    }

    /// Parses hexadecimal digits of one of some lengths, after `0x` or nothing.
    fn parse(text: &[u8], lens: &[usize]) -> Option<Self> {
        let digits = text.strip_prefix(b"0x").unwrap_or(text);
        let mut bytes = [0; FIXED];
        let mut len = 0u8;
        let mut to = bytes.iter_mut();
        for byte in octets(digits)? {
            *to.next()? = byte?;
            len = len.checked_add(1)?;
        }
        lens.contains(&usize::from(len))
            .then_some(Bytes { bytes, len })
    }

    /// The bytes; none of them if there is no such designator.
    pub fn get(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        for byte in self.get() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The bytes that pairs of hexadecimal digits stand for; `None` for half a pair, and
/// for a byte of it that is no digit.
fn octets(digits: &[u8]) -> Option<impl Iterator<Item = Option<u8>> + '_> {
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    Some(pairs.map(move |pair| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    }))
}

/// The NAA designator of a logical unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naa {
    /// NAA 6, made of the company identifier and the serial number: [`vpd::naa`].
    #[default]
    Made,
    /// There is none.
    None,
    /// This one, of 8 or 16 bytes.
    Given(Bytes),
}

impl Naa {
    /// Parses `auto`, `none`, 16 hexadecimal digits (NAA 2, 3 and 5) or 32 (NAA 6), after
    /// `0x` or not.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"auto" => return Some(Naa::Made),
            b"none" => return Some(Naa::None),
            _ => {}
        }
        let bytes = Bytes::parse(text, &[8, 16])?;
        let format = bytes.get().first()? >> 4;
        match (format, bytes.get().len()) {
            (2 | 3 | 5, 8) | (6, 16) => Some(Naa::Given(bytes)),
            _ => None,
        }
    }

    /// The bytes of a unit with this company identifier and serial number.
    pub fn bytes(&self, company_id: u32, serial: &[u8]) -> Bytes {
        match self {
            Naa::Made => Bytes::new(&vpd::naa(company_id, serial)),
            Naa::None => Bytes::default(),
            Naa::Given(bytes) => *bytes,
        }
    }
}

impl fmt::Display for Naa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Naa::Made => f.write_str("auto"),
            Naa::None => f.write_str("none"),
            Naa::Given(bytes) => bytes.fmt(f),
        }
    }
}

/// The EUI-64 based designator of a logical unit: 8, 12 or 16 bytes, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eui64(Bytes);

impl Eui64 {
    /// There is no such designator.
    pub const NONE: Self = Eui64(Bytes {
        bytes: [0; FIXED],
        len: 0,
    });

    /// Parses `none` or 16, 24 or 32 hexadecimal digits, after `0x` or not.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text == b"none" {
            return Some(Eui64::NONE);
        }
        Bytes::parse(text, &[8, 12, 16]).map(Eui64)
    }

    /// The bytes; none of them if there is no such designator.
    pub fn get(&self) -> &[u8] {
        self.0.get()
    }
}

impl fmt::Display for Eui64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.get().is_empty() {
            return f.write_str("none");
        }
        self.0.fmt(f)
    }
}

/// The T10 vendor ID designator of a logical unit, as it is written in configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum T10<'a> {
    /// Vendor, product and serial number.
    #[default]
    Made,
    /// This text: eight bytes of vendor, and what the vendor likes.
    Text(&'a [u8]),
    /// The bytes that these hexadecimal digits stand for.
    Digits(&'a [u8]),
}

impl<'a> T10<'a> {
    /// Parses `auto`, 9 to 255 bytes of printable ASCII, or `0x` and the hexadecimal
    /// digits of as many bytes.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        if text == b"auto" {
            return Some(T10::Made);
        }
        let lens = 9..=MAX_LEN;
        if let Some(digits) = text.strip_prefix(b"0x") {
            let mut len = 0usize;
            for byte in octets(digits)? {
                byte?;
                len = len.checked_add(1)?;
            }
            return lens.contains(&len).then_some(T10::Digits(digits));
        }
        let printable = text.iter().all(|byte| (b' '..=b'~').contains(byte));
        (printable && lens.contains(&text.len())).then_some(T10::Text(text))
    }

    /// The bytes of one that was given, and whether they are text.
    pub fn bytes(&self) -> (bool, impl Iterator<Item = u8> + Clone + 'a) {
        let (text, digits) = match *self {
            T10::Made => (&[][..], &[][..]),
            T10::Text(text) => (text, &[][..]),
            T10::Digits(digits) => (&[][..], digits),
        };
        let digit = |byte: &u8| {
            let digit = char::from(*byte).to_digit(16);
            digit.and_then(|digit| u8::try_from(digit).ok())
        };
        let decoded = digits.chunks_exact(2).filter_map(move |pair| match pair {
            [high, low] => Some((digit(high)? << 4) | digit(low)?),
            _ => None,
        });
        let is_text = !matches!(self, T10::Digits(_));
        (is_text, text.iter().copied().chain(decoded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn naa_is_of_a_known_format() {
        for (text, shown) in [
            ("auto", "auto"),
            ("none", "none"),
            ("5000C50015ea71ac", "0x5000c50015ea71ac"),
            ("0x3000000100000001", "0x3000000100000001"),
            (
                "0x60000000000000000e00000000010001",
                "0x60000000000000000e00000000010001",
            ),
        ] {
            let naa = Naa::parse(text.as_bytes()).unwrap();
            assert_eq!(naa.to_string(), shown);
            assert_eq!(Naa::parse(shown.as_bytes()), Some(naa));
        }
        for bad in [
            "",
            "0x",
            "5",
            "Auto",
            "6000c50015ea71ac",
            "5000c50015ea71ag",
            "5000c50015ea71a",
            "5000c50015ea71ac00",
            "50000000000000000e00000000010001",
            "60000000000000000e0000000001000100",
            "0x0x5000c50015ea71",
            "4000c50015ea71ac",
        ] {
            assert_eq!(Naa::parse(bad.as_bytes()), None, "{bad}");
        }
        let given = Naa::parse(b"5000c50015ea71ac").unwrap();
        let bytes = 0x5000_c500_15ea_71ac_u64.to_be_bytes();
        assert_eq!(given.bytes(0x1405, b"ab").get(), bytes);
        assert!(Naa::None.bytes(0x1405, b"ab").get().is_empty());
        let made = Naa::Made.bytes(0x1405, b"ab");
        assert_eq!(made.get(), vpd::naa(0x1405, b"ab"));
    }

    #[test]
    fn eui_64_has_three_lengths() {
        for len in 0..=40 {
            let text = "5".repeat(len);
            let eui = Eui64::parse(text.as_bytes());
            assert_eq!(eui.is_some(), [16, 24, 32].contains(&len), "{len}");
            if let Some(eui) = eui {
                assert_eq!(eui.get().len() * 2, len);
                assert_eq!(Eui64::parse(eui.to_string().as_bytes()), Some(eui));
            }
        }
        let none = Eui64::parse(b"none").unwrap();
        assert_eq!(none, Eui64::NONE);
        assert_eq!(none.to_string(), "none");
    }

    #[test]
    fn t10_is_text_or_digits() {
        let (is_text, bytes) = T10::parse(b"IET     00010001").unwrap().bytes();
        assert!(is_text);
        assert_eq!(bytes.collect::<Vec<_>>(), b"IET     00010001");
        let (is_text, bytes) = T10::parse(b"0x4945540000000000ff").unwrap().bytes();
        assert!(!is_text);
        assert_eq!(bytes.collect::<Vec<_>>(), b"IET\0\0\0\0\0\xff");
        assert_eq!(T10::parse(b"auto"), Some(T10::Made));
        assert_eq!(T10::Made.bytes().1.count(), 0);
        for bad in [
            "",
            "IET     ",
            "0x494554000000000",
            "0x4945540000000000",
            "IET\x07    0001",
            "0xIET   0001",
        ] {
            assert_eq!(T10::parse(bad.as_bytes()), None, "{bad}");
        }
        let long = "a".repeat(MAX_LEN);
        assert!(T10::parse(long.as_bytes()).is_some());
        assert!(T10::parse(std::format!("{long}a").as_bytes()).is_none());
        let long = std::format!("0x{}", "ab".repeat(MAX_LEN));
        assert!(T10::parse(long.as_bytes()).is_some());
        assert!(T10::parse(std::format!("{long}ab").as_bytes()).is_none());
    }
}
