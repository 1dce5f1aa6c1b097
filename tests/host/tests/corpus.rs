// SPDX-License-Identifier: GPL-2.0

//! Replays the corpora of the fuzz targets, so that what a fuzzer once found
//! stays fixed without a fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::Path;
use std::path::PathBuf;

use ferrite_host_tests::fuzz::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The names in a directory, without those that begin with a dot.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

#[test]
fn every_corpus_is_replayed() {
    let mut failures = Vec::new();
    for (target, run) in TARGETS {
        let corpus = fuzz().join("corpus").join(target);
        let inputs = names(&corpus);
        assert!(!inputs.is_empty(), "{} is empty", corpus.display());
        for input in inputs {
            let path = corpus.join(input);
            let data = fs::read(&path).unwrap();
            if panic::catch_unwind(|| run(&data)).is_err() {
                failures.push(path);
            }
        }
    }
    assert!(failures.is_empty(), "these inputs fail: {failures:?}");
}

/// A target that is not in the table would never be replayed.
#[test]
fn every_target_has_its_corpus_and_is_in_the_table() {
    let table: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(table.len(), TARGETS.len(), "a name is there twice");
    assert_eq!(names(&fuzz().join("corpus")), table);
    let sources: BTreeSet<String> = names(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(sources, table);
}

/// Every target survives the shortest inputs, and each input of its corpus
/// cut short anywhere.
#[test]
fn every_prefix_is_replayed() {
    for (target, run) in TARGETS {
        run(&[]);
        for byte in 0..=255 {
            run(&[byte]);
        }
        let corpus = fuzz().join("corpus").join(target);
        for input in names(&corpus) {
            let data = fs::read(corpus.join(input)).unwrap();
            for len in 0..data.len().min(512) {
                run(&data[..len]);
            }
        }
    }
}
