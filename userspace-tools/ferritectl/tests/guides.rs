// SPDX-License-Identifier: GPL-2.0

//! Every command of the documentation is one that exists.

use std::fs;
use std::path::Path;

use clap::Parser;
use ferritectl::cli::Cli;

/// The words of a command line as a shell would split it, up to a comment, a pipe or the next
/// command.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '<' | '&' | ';') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The commands of a page: lines that are indented and begin with the program's name, with
/// the lines that follow a backslash.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(at) = line.find("ferritectl ") else {
            continue;
        };
        let before = line[..at].trim();
        let piped = before.ends_with('|') || before.ends_with("&&");
        if !line.starts_with("    ") || !(before.is_empty() || piped) {
            continue;
        }
        let mut whole = line[at..].to_string();
        while whole.ends_with('\\') {
            whole.pop();
            whole += lines.next().unwrap().1.trim_start();
        }
        commands.push((index + 1, whole));
    }
    commands
}

fn check(file: &Path, found: &mut usize) {
    let text = fs::read_to_string(file).unwrap();
    for (line, command) in commands(&text) {
        *found += 1;
        if let Err(error) = Cli::try_parse_from(words(&command)) {
            // Help is an error to clap, and an answer to who asked for it.
            assert!(
                !error.use_stderr(),
                "{}:{line}: {command}\n{error}",
                file.display()
            );
        }
    }
}

#[test]
fn commands_of_the_documentation_exist() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Documentation");
    let mut found = 0;
    for entry in fs::read_dir(docs.join("guides")).unwrap() {
        check(&entry.unwrap().path(), &mut found);
    }
    assert!(found > 80, "only {found} commands");
    check(&docs.join("administration.rst"), &mut found);
}

/// Each guide is in the list of guides.
#[test]
fn the_guides_are_listed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Documentation/guides");
    let index = fs::read_to_string(dir.join("index.rst")).unwrap();
    for entry in fs::read_dir(&dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".rst").unwrap();
        assert!(
            name == "index" || index.contains(&format!(":doc:`{name}`")),
            "{name}"
        );
    }
}

#[test]
fn what_does_not_exist_is_found() {
    let text =
        "text\n    ferritectl lun make x\n    a | ferritectl status  # yes\n  ferritectl x\n";
    let found: Vec<String> = commands(text).into_iter().map(|(_, c)| c).collect();
    assert_eq!(found, ["ferritectl lun make x", "ferritectl status  # yes"]);
    assert!(Cli::try_parse_from(words(&found[0])).is_err());
    assert!(Cli::try_parse_from(words(&found[1])).is_ok());
}
