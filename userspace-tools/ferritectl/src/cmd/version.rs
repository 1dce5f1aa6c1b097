// SPDX-License-Identifier: GPL-2.0

//! `ferritectl version`

use std::path::Path;

use serde::Serialize;

use crate::context::Context;
use crate::context::Env;
use crate::context::Mode;
use crate::error::Result;
use crate::layout;

#[derive(Debug, Serialize)]
struct View {
    ferritectl: &'static str,
    module: Option<String>,
    root: Option<String>,
    fabric: Option<String>,
}

/// Shows the versions. A module that is not there is no error.
pub fn run(env: &mut Env<'_>, root: Option<&Path>, mode: Mode) -> Result<()> {
    let mut view = View {
        ferritectl: env!("CARGO_PKG_VERSION"),
        module: crate::files::module_version(&env.sys),
        root: None,
        fabric: None,
    };
    if let Ok(context) = Context::open(env, root, mode) {
        view.root = Some(context.root().display().to_string());
        view.fabric = context
            .configfs()
            .value(&layout::fabric().join("lio_version"))
            .unwrap_or_default();
    }
    if mode.json {
        let text = serde_json::to_string_pretty(&view).map_err(std::io::Error::from)?;
        writeln!(env.out, "{text}")?;
        return Ok(());
    }
    writeln!(env.out, "ferritectl {}", view.ferritectl)?;
    match view.module {
        Some(version) => writeln!(env.out, "module ferrite {version}")?,
        None => writeln!(env.out, "module ferrite is not loaded")?,
    }
    if let Some(root) = view.root {
        writeln!(env.out, "configuration at {root}")?;
    }
    if let Some(fabric) = view.fabric {
        writeln!(env.out, "fabric: {fabric}")?;
    }
    Ok(())
}
