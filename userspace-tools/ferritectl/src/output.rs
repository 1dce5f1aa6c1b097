// SPDX-License-Identifier: GPL-2.0

//! What is printed: tables and trees that fit the terminal.

use comfy_table::ContentArrangement;
use comfy_table::Table;

/// The width that is used when the output is no terminal.
pub const UNBOUNDED: u16 = u16::MAX;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of the terminal; [`UNBOUNDED`] if the output goes elsewhere.
    pub width: u16,
    /// The terminal shows line-drawing characters.
    pub unicode: bool,
}

impl Style {
    /// What the standard output is: a terminal of some width, or something else.
    pub fn detect() -> Self {
        let width = terminal_size::terminal_size().map_or(UNBOUNDED, |(width, _)| width.0.max(40));
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        Style {
            width,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

/// A table without lines. Columns share the width; long cells continue below.
pub fn table(style: Style, header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_header(header.iter().map(|title| title.to_string()));
    if style.width == UNBOUNDED {
        table.set_content_arrangement(ContentArrangement::Disabled);
    } else {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(style.width);
    }
    for row in rows {
        table.add_row(row.iter().map(String::as_str));
    }
    let columns = table.column_count();
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at + 1 == columns { 0 } else { 2 }));
    }
    let mut text: String = table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    if rows.is_empty() {
        text = String::new();
    }
    text
}

/// A table, or, if it is too wide for the terminal, one for each value of the column
/// `by`: iSCSI names are long, and nobody can read one that is broken in every row.
pub fn grouped(style: Style, header: &[&str], rows: &[Vec<String>], by: usize) -> String {
    let unbounded = Style {
        width: UNBOUNDED,
        ..style
    };
    let whole = table(unbounded, header, rows);
    let fits = |line: &str| line.chars().count() <= usize::from(style.width);
    if whole.lines().all(fits) {
        return whole;
    }
    let mut groups: Vec<(&str, Vec<Vec<String>>)> = Vec::new();
    for row in rows {
        let key = row.get(by).map_or("", String::as_str);
        let mut rest = row.clone();
        if by < rest.len() {
            rest.remove(by);
        }
        match groups.last_mut() {
            Some((last, rows)) if *last == key => rows.push(rest),
            _ => groups.push((key, vec![rest])),
        }
    }
    let mut header = header.to_vec();
    if by < header.len() {
        header.remove(by);
    }
    let indented = Style {
        width: style.width.saturating_sub(2),
        ..style
    };
    let mut text = String::new();
    for (key, rows) in groups {
        text.push_str(&format!("{key}\n"));
        for line in table(indented, &header, &rows).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

/// A line of a tree and what is below it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The parts of the line. A line that is too long is broken between them.
    pub parts: Vec<String>,
    /// What is below.
    pub children: Vec<Node>,
}

impl Node {
    /// A line.
    pub fn new(parts: impl IntoIterator<Item = String>) -> Self {
        Node {
            parts: parts.into_iter().filter(|part| !part.is_empty()).collect(),
            children: Vec::new(),
        }
    }

    /// A line of one part.
    pub fn line(text: impl Into<String>) -> Self {
        Node::new([text.into()])
    }

    /// The tree as text.
    pub fn render(&self, style: Style) -> String {
        let mut text = String::new();
        self.render_below(style, "", "", &mut text);
        text
    }

    /// `first` stands before the first line, `rest` before all others.
    fn render_below(&self, style: Style, first: &str, rest: &str, text: &mut String) {
        let (tee, corner, bar, blank) = if style.unicode {
            ("├─ ", "└─ ", "│  ", "   ")
        } else {
            ("|- ", "`- ", "|  ", "   ")
        };
        // What follows a broken line hangs under its text, beside the bar to its children.
        let hang = if self.children.is_empty() { blank } else { bar };
        let mut line = String::from(first);
        let mut filled = false;
        for part in &self.parts {
            let length = line.chars().count() + part.chars().count() + 2;
            if filled && length > usize::from(style.width) {
                text.push_str(line.trim_end());
                text.push('\n');
                line = format!("{rest}{hang}{part}");
            } else {
                if filled {
                    line.push_str("  ");
                }
                line.push_str(part);
            }
            filled = true;
        }
        text.push_str(line.trim_end());
        text.push('\n');
        for (at, child) in self.children.iter().enumerate() {
            let (branch, below) = if at + 1 == self.children.len() {
                (corner, blank)
            } else {
                (tee, bar)
            };
            child.render_below(
                style,
                &format!("{rest}{branch}"),
                &format!("{rest}{below}"),
                text,
            );
        }
    }
}

/// A number of bytes for people: `512 MiB`, `1.5 TiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut scaled = bytes as f64;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 || scaled >= 100.0 || scaled.fract() < 0.05 {
        format!("{} {}", scaled.floor(), UNITS[unit])
    } else {
        format!("{scaled:.1} {}", UNITS[unit])
    }
}

/// `1 LUN`, `2 LUNs`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Style = Style {
        width: 40,
        unicode: false,
    };

    #[test]
    fn tree_breaks_between_parts_only() {
        let mut root = Node::line("root");
        let mut child = Node::new([
            "iqn.2026-01.org.example:a-long-name".into(),
            "enabled".into(),
        ]);
        child
            .children
            .push(Node::new(["LUN 0".into(), "x".repeat(20), "y".repeat(30)]));
        root.children.push(child);
        root.children.push(Node::line("last"));
        assert_eq!(
            root.render(NARROW),
            "root\n\
             |- iqn.2026-01.org.example:a-long-name\n\
             |  |  enabled\n\
             |  `- LUN 0  xxxxxxxxxxxxxxxxxxxx\n\
             |        yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n\
             `- last\n"
        );
    }

    #[test]
    fn tables_fit() {
        let rows = vec![vec!["iqn.2026-01.org.example:".repeat(4), "1".into()]];
        let text = table(NARROW, &["NAME", "TPGS"], &rows);
        assert!(text.lines().all(|line| line.len() <= 40), "{text}");
        assert!(text.lines().count() > 2);
        let wide = Style {
            width: UNBOUNDED,
            ..NARROW
        };
        assert_eq!(table(wide, &["NAME", "TPGS"], &rows).lines().count(), 2);
        assert_eq!(table(wide, &["NAME"], &[]), "");
    }

    #[test]
    fn wide_tables_fall_apart_by_name() {
        let row = |target: &str, lun: &str| vec![target.to_string(), lun.into(), "x".repeat(20)];
        let rows = [
            row("iqn.one", "0"),
            row("iqn.one", "1"),
            row("iqn.two", "0"),
        ];
        let header = ["TARGET", "LUN", "DEVICE"];
        let text = grouped(NARROW, &header, &rows, 0);
        assert_eq!(text.lines().count(), 4, "{text}");
        let narrower = Style {
            width: 30,
            ..NARROW
        };
        assert_eq!(
            grouped(narrower, &header, &rows, 0),
            "iqn.one\n\
             \x20 LUN  DEVICE\n\
             \x20 0    xxxxxxxxxxxxxxxxxxxx\n\
             \x20 1    xxxxxxxxxxxxxxxxxxxx\n\
             iqn.two\n\
             \x20 LUN  DEVICE\n\
             \x20 0    xxxxxxxxxxxxxxxxxxxx\n"
        );
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (512 << 20, "512 MiB"),
            (3 << 30, "3 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
