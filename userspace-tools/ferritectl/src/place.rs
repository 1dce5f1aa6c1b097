// SPDX-License-Identifier: GPL-2.0

//! Where in a file something stands that a message is about.

use toml::de::DeTable;
use toml::de::DeValue;

/// The line, from 1 on, of what these keys lead to in a text of TOML or JSON; that of the last
/// one that is there if the rest is not. An element of a list is called `[0]` and so on.
pub fn line(text: &str, json: bool, keys: &[String]) -> Option<usize> {
    let at = match json {
        true => in_json(text, 0, keys),
        false => {
            let table = DeTable::parse(text).ok()?;
            in_table(table.get_ref(), keys)
        }
    }?;
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

/// Where in the value that begins at `at`. The text need not be right after what is looked for.
fn in_json(text: &str, at: usize, keys: &[String]) -> Option<usize> {
    let (first, rest) = keys.split_first()?;
    let mut at = blank(text, at);
    let is_list = match text.as_bytes().get(at)? {
        b'{' => false,
        b'[' => true,
        _ => return None,
    };
    at += 1;
    for number in 0.. {
        at = blank(text, at);
        let here = at;
        let found = match is_list {
            true => index(first) == Some(number),
            false => {
                let end = value_end(text, at)?;
                let key: String = serde_json::from_str(text.get(at..end)?).ok()?;
                at = blank(text, end);
                if text.as_bytes().get(at) != Some(&b':') {
                    return None;
                }
                at += 1;
                is(&key, first)
            }
        };
        if found {
            return Some(in_json(text, at, rest).unwrap_or(here));
        }
        at = blank(text, value_end(text, at)?);
        if text.as_bytes().get(at) != Some(&b',') {
            return None;
        }
        at += 1;
    }
    None
}

fn blank(text: &str, at: usize) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    at + rest
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count()
}

/// Behind the value that begins at `at`.
fn value_end(text: &str, at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut quoted = false;
    let mut escaped = false;
    for (number, byte) in text.as_bytes().iter().enumerate().skip(blank(text, at)) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return Some(number + 1);
                }
            }
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth {
                0 => return Some(number),
                1 => return Some(number + 1),
                _ => depth -= 1,
            },
            b',' | b':' if depth == 0 => return Some(number),
            _ => {}
        }
    }
    None
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
    }
}
