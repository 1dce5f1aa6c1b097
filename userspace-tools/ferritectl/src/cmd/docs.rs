// SPDX-License-Identifier: GPL-2.0

//! `ferritectl completions` and `ferritectl man`

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::context::Env;
use crate::error::Error;
use crate::error::Result;

/// Prints a completion script.
pub fn completions(env: &mut Env<'_>, shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ferritectl", &mut script);
    env.out.write_all(&script)?;
    Ok(())
}

/// Writes a manual page for the program and for each of its commands.
pub fn man(env: &mut Env<'_>, dir: Option<&Path>) -> Result<()> {
    let command = Cli::command().disable_help_flag(true);
    match dir {
        Some(dir) => {
            let mut command = command.disable_help_subcommand(true);
            command.build();
            pages(command, dir).map_err(|error| Error::file(dir, error))?;
            writeln!(env.out, "wrote the manual pages to {}", dir.display())?;
        }
        None => {
            let mut page = Vec::new();
            page_of(command).render(&mut page)?;
            env.out.write_all(&page)?;
        }
    }
    Ok(())
}

/// The manual page of a command, in the section for administrators.
fn page_of(command: clap::Command) -> clap_mangen::Man {
    clap_mangen::Man::new(command)
        .section("8")
        .manual("Ferrite iSCSI target")
}

fn pages(command: clap::Command, dir: &Path) -> std::io::Result<()> {
    for command in command.get_subcommands() {
        pages(command.clone(), dir)?;
    }
    page_of(command).generate_to(dir)?;
    Ok(())
}
