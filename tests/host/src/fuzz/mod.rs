// SPDX-License-Identifier: GPL-2.0

//! What the fuzz targets do with their input.
//!
//! Each target is a function of bytes that panics where a rule is broken. The
//! fuzzers in `tests/fuzz` call it, and `tests/corpus.rs` replays their corpora
//! with it under plain `cargo test`. A new area adds a file here with its
//! `run`, a line to [`TARGETS`], `tests/fuzz/fuzz_targets/<name>.rs` with its
//! entry in `tests/fuzz/Cargo.toml`, and `tests/fuzz/corpus/<name>/`.

pub mod aptpl;
pub mod cdb;
pub mod chap;
pub mod login_script;
pub mod parameters;
pub mod persist;
pub mod recovery;
pub mod request_parse;
pub mod snack;
pub mod task_set;
pub mod text_exchange;
pub mod text_pairs;
pub mod transfer_plan;
pub mod values;
pub mod window;
pub mod xcopy;

/// What a target does with an input. It panics where a rule is broken.
pub type Target = fn(&[u8]);

/// All targets by the names of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("aptpl", aptpl::run),
    ("cdb", cdb::run),
    ("chap", chap::run),
    ("login_script", login_script::run),
    ("parameters", parameters::run),
    ("persist", persist::run),
    ("recovery", recovery::run),
    ("request_parse", request_parse::run),
    ("snack", snack::run),
    ("task_set", task_set::run),
    ("text_exchange", text_exchange::run),
    ("text_pairs", text_pairs::run),
    ("transfer_plan", transfer_plan::run),
    ("values", values::run),
    ("window", window::run),
    ("xcopy", xcopy::run),
];
