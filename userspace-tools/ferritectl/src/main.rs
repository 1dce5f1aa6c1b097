// SPDX-License-Identifier: GPL-2.0

//! `ferritectl`, the administrator's tool of the Ferrite iSCSI target.
//!
//! Called as `lio_node` or `tcm_node` it takes the verbs of lio-utils.

use std::io;
use std::io::BufRead;
use std::io::BufWriter;
use std::io::IsTerminal;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;

use ferritectl::configfs::KernelTree;
use ferritectl::configfs::Tree;
use ferritectl::context::Env;
use ferritectl::files;
use ferritectl::output::Style;
use ferritectl::secret::Secret;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use zeroize::Zeroizing;

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut err = io::stderr().lock();
    let mut env = Env {
        out: &mut out,
        err: &mut err,
        ask: &mut ask,
        confirm: &mut confirm,
        progress: io::stderr().is_terminal(),
        open: &|root: PathBuf| -> Box<dyn Tree> { Box::new(KernelTree::new(root)) },
        sys: "/sys".into(),
        kmsg: "/dev/kmsg".into(),
        run: "/run/ferrite".into(),
        style: Style::detect(),
        program: "ferritectl",
        patience: Duration::from_secs(5),
        interrupted: Arc::new(AtomicBool::new(false)),
        catch_signals: &catch_signals,
    };
    ferritectl::run(std::env::args_os().collect(), &mut env).into()
}

/// From here on a signal sets the flag; a second one ends the program as ever. If a
/// handler cannot be installed, the first one does.
fn catch_signals(interrupted: &Arc<AtomicBool>) {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let _ = flag::register_conditional_default(signal, interrupted.clone());
        let _ = flag::register(signal, interrupted.clone());
    }
}

/// Asks for a yes at the terminal. Without one the answer is no.
fn confirm(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    // Standard output is locked, and may be a pipe.
    let Ok(mut terminal) = std::fs::OpenOptions::new().write(true).open("/dev/tty") else {
        return false;
    };
    if write!(terminal, "{question}").is_err() {
        return false;
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).is_ok()
        && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Asks at the terminal, or takes the next line of what is piped in.
fn ask(prompt: &str) -> io::Result<Secret> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).map(Secret::new);
    }
    let mut line = Zeroizing::new(String::new());
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it ends before the secret",
        ));
    }
    Ok(files::first_line(&line))
}
