// SPDX-License-Identifier: GPL-2.0

//! Where in a file something stands that a message is about.

use std::collections::BTreeMap;

use toml::de::DeTable;
use toml::de::DeValue;

/// The line, from 1 on, of what these keys lead to in a text of TOML or JSON; that of the last
/// one that is there if the rest is not. An element of a list is called `[0]` and so on.
pub fn line(text: &str, json: bool, keys: &[String]) -> Option<usize> {
    if json {
        let lines = json_lines(text);
        let mut path = String::new();
        let known = keys.iter().map_while(|key| {
            if index(key).is_none() {
                path.push('.');
            }
            path.push_str(&key.to_ascii_lowercase());
            lines.get(&path)
        });
        return known.last().copied();
    }
    let table = DeTable::parse(text).ok()?;
    let at = in_table(table.get_ref(), keys)?;
    Some(text.get(..at)?.matches('\n').count() + 1)
}

/// The same of a path that serde has gone.
pub fn line_of_path(text: &str, json: bool, path: &serde_path_to_error::Path) -> Option<usize> {
    use serde_path_to_error::Segment;
    let keys: Vec<String> = path
        .iter()
        .map_while(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(format!("[{index}]")),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    line(text, json, &keys)
}

/// Names of targets may be in upper case, and are in lower case here.
fn is(key: &str, written: &str) -> bool {
    key.eq_ignore_ascii_case(written)
}

fn index(key: &str) -> Option<usize> {
    key.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn in_table(table: &DeTable<'_>, keys: &[String]) -> Option<usize> {
    let (first, rest) = keys.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| is(key.get_ref(), first))?;
    Some(in_value(value.get_ref(), rest).unwrap_or(key.span().start))
}

fn in_value(value: &DeValue<'_>, keys: &[String]) -> Option<usize> {
    match value {
        DeValue::Table(table) => in_table(table, keys),
        DeValue::Array(list) => {
            let (first, rest) = keys.split_first()?;
            let value = list.get(index(first)?)?;
            Some(in_value(value.get_ref(), rest).unwrap_or(value.span().start))
        }
        _ => None,
    }
}

/// The line of each value of a JSON text by the path that leads to it, such as `.a[0].b`, in
/// lower case. Of a text that is not right there are those before the fault at least.
pub fn json_lines(text: &str) -> BTreeMap<String, usize> {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
        lines: BTreeMap::new(),
    };
    scan.value("", 0);
    scan.lines
}

/// As many values inside each other as serde_json takes.
const DEEPEST: usize = 128;

struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
    line: usize,
    lines: BTreeMap<String, usize>,
}

impl Scan<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(b'}')
    }

    fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.line += usize::from(byte == b'\n');
        self.at += 1;
        byte
    }

    fn blanks(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.next();
        }
    }

    fn string(&mut self) -> String {
        let begin = self.at;
        self.next();
        while self.at < self.bytes.len() && self.peek() != b'"' {
            if self.next() == b'\\' {
                self.next();
            }
        }
        self.next();
        let text = self.bytes.get(begin..self.at).unwrap_or_default();
        serde_json::from_slice(text).unwrap_or_default()
    }

    fn value(&mut self, path: &str, depth: usize) {
        self.blanks();
        match self.peek() {
            b'"' => drop(self.string()),
            b'{' | b'[' if depth == DEEPEST => self.at = self.bytes.len(),
            open @ (b'{' | b'[') => {
                self.next();
                for index in 0usize.. {
                    self.blanks();
                    if self.at >= self.bytes.len() || matches!(self.peek(), b'}' | b']') {
                        self.next();
                        return;
                    }
                    let line = self.line;
                    let below = if open == b'{' {
                        let key = self.string().to_ascii_lowercase();
                        self.blanks();
                        self.next();
                        format!("{path}.{key}")
                    } else {
                        format!("{path}[{index}]")
                    };
                    self.lines.insert(below.clone(), line);
                    self.value(&below, depth + 1);
                    self.blanks();
                    if self.peek() == b',' {
                        self.next();
                    }
                }
            }
            _ => {
                while !matches!(self.peek(), b',' | b'}' | b']')
                    && !self.peek().is_ascii_whitespace()
                {
                    self.next();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, json: bool, keys: &str) -> Option<usize> {
        let keys: Vec<String> = keys.split('/').map(str::to_string).collect();
        line(text, json, &keys)
    }

    #[test]
    fn lines_of_toml() {
        let text =
            "# a comment\n[a.\"b.c\"]\nd = 1\n\n[a.\"b.c\".e]\nf = [\n  1,\n  { g = 2 },\n]\n";
        for (keys, line) in [
            ("a", Some(2)),
            ("a/b.c/d", Some(3)),
            ("a/B.C/d", Some(3)),
            ("a/b.c/e", Some(5)),
            ("a/b.c/e/f/[1]/g", Some(8)),
            ("a/b.c/e/f/[1]/none", Some(8)),
            ("a/b.c/e/f/[7]", Some(6)),
            ("a/b.c/none", Some(2)),
            ("none", None),
        ] {
            assert_eq!(at(text, false, keys), line, "{keys}");
        }
        assert_eq!(at("a = ", false, "a"), None);
    }

    #[test]
    fn lines_of_json() {
        let text =
            "{ \"x\": [1, {\"}\": \"\\\"]\"}, null],\n  \"a\": {\n    \"b.c\" :\n {\"d\": 1,\n\
                    \"f\": [\n1,\n[true,\n2]]}}}";
        for (keys, line) in [
            ("x", Some(1)),
            ("a", Some(2)),
            ("a/b.c", Some(3)),
            ("a/b.c/d", Some(4)),
            ("a/b.c/f", Some(5)),
            ("a/b.c/f/[0]", Some(6)),
            ("a/b.c/f/[1]/[1]", Some(8)),
            ("a/b.c/f/[2]", Some(5)),
            ("a/b.c/none", Some(3)),
            ("none", None),
        ] {
            assert_eq!(at(text, true, keys), line, "{keys}");
        }
        for end in 0..text.len() {
            let _ = at(&text[..end], true, "a/b.c/f/[1]/[1]");
        }
        for deep in ["[", "{\"a\":", "[,", "{5"] {
            let _ = at(&deep.repeat(100_000), true, "a/[0]");
        }
        let escaped = "{\n\"\\u0041\": {\n\"b\": 1}}";
        assert_eq!(at(escaped, true, "a/b"), Some(3));
    }
}
