// SPDX-License-Identifier: GPL-2.0

//! The library behind `ferritectl`, which configures the Ferrite iSCSI target.
//!
//! A command reads what it needs ([`configfs`] into [`state`]), makes a list of
//! changes ([`delta`]) and applies it ([`apply`]). Only [`configfs`] touches the
//! configuration, only [`files`] touches other files, and the root of the
//! configuration is an argument everywhere.

#![deny(missing_docs, unreachable_pub, rust_2018_idioms)]
#![forbid(unsafe_code)]

pub mod apply;
pub mod cli;
pub mod cmd;
pub mod configfs;
pub mod context;
pub mod declared;
pub mod delta;
pub mod error;
pub mod exit_code;
pub mod files;
pub mod import;
pub mod info;
pub mod layout;
pub mod lio_utils;
pub mod names;
pub mod observe;
pub mod output;
pub mod place;
pub mod remember;
pub mod secret;
pub mod state;

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;

use crate::context::Env;
use crate::error::Error;
use crate::exit_code::ExitCode;

/// Runs a command line; the first argument is the name that the program was called by.
pub fn run(arguments: Vec<OsString>, env: &mut Env<'_>) -> ExitCode {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    match program.and_then(|name| name.to_str()) {
        Some("lio_node") => return lio_utils::node::run(&arguments, env),
        Some("tcm_node") => return lio_utils::tcm::run(&arguments, env),
        _ => {}
    }
    let cli = match cli::Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render();
            // Help and version come as errors too.
            if error.use_stderr() {
                // What could not be parsed may be before it or behind it.
                if arguments.iter().any(|word| word == "--json") {
                    let text = text.to_string();
                    let text = text.trim().trim_start_matches("error: ");
                    report(&Error::Usage(text.to_string()), true, env);
                } else {
                    let _ = write!(env.err, "{text}");
                }
                return ExitCode::Usage;
            }
            return match write!(env.out, "{text}") {
                Ok(()) => ExitCode::Success,
                Err(_) => ExitCode::Failure,
            };
        }
    };
    let json = cli.global.json;
    match cmd::run(cli, env) {
        Ok(()) => match env.out.flush() {
            Ok(()) => ExitCode::Success,
            Err(_) => ExitCode::Failure,
        },
        Err(error) => {
            report(&error, json, env);
            error.exit_code()
        }
    }
}

/// Tells what went wrong, what the kernel said about it, and what to do.
pub(crate) fn report(error: &Error, json: bool, env: &mut Env<'_>) {
    // A reader that has gone away needs no message.
    if matches!(error, Error::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe) {
        return;
    }
    let _ = env.out.flush();
    if json {
        let value = serde_json::json!({
            "error": error.to_string(),
            "hint": error.hint(),
            "kernel_log": error.kernel_log(),
            "exit_code": error.exit_code().code(),
        });
        let _ = writeln!(env.err, "{value}");
        return;
    }
    let _ = writeln!(env.err, "{}: {error}", env.program);
    for line in error.kernel_log() {
        let _ = writeln!(env.err, "{}:   kernel: {line}", env.program);
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(env.err, "{}:   hint: {hint}", env.program);
    }
}
