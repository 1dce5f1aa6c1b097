// SPDX-License-Identifier: GPL-2.0

//! Ferrite: an iSCSI target whose data path runs in softirq.
//!
//! The walk of a command: `sys::socket` -> `conn::rx` -> `proto` -> `task` ->
//! `exec` -> `sys::submit` -> `backend` -> `sys::bio` -> `conn::tx`.

#![crate_name = "ferrite"]
#![deny(unsafe_code)]

mod alua;
mod backend;
mod config;
mod conn;
mod error;
mod exec;
#[cfg(ferrite_kunit)]
mod kunit;
mod limits;
mod meter;
mod parcel;
mod portal;
pub mod proto;
mod reserve;
mod session;
mod stats;
#[allow(unsafe_code)]
mod sys;
mod tally;
mod target;
mod task;
mod tmf;

use kernel::{
    prelude::*,
    sync::Arc, //
};
use target::Targets;

module! {
    type: Ferrite,
    name: "ferrite",
    authors: ["Ferrite maintainers"],
    description: "iSCSI target",
    license: "GPL",
}

/// Everything, in the order in which it goes: configuration first, so that
/// nothing new comes; the workqueues last, so that all that was queued has run.
struct Ferrite {
    _config: config::Tree,
    ticker: Arc<portal::Ticker>,
    _threads: sys::submit::Threads<exec::Disk>,
    _queues: sys::work::Queues,
    _settle: Settle,
}

/// Waits, at the very end, until no CPU is inside the module, and gives the last
/// memory back.
struct Settle;

impl Drop for Settle {
    fn drop(&mut self) {
        sys::misc::settle();
        sys::pages::tidy(true);
        task::tidy(true);
    }
}

impl kernel::Module for Ferrite {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let queues = sys::work::Queues::start()?;
        let threads = sys::submit::Threads::<exec::Disk>::start()?;
        let targets = Targets::new()?;
        let ticker = portal::Ticker::start(targets.clone())?;
        let config = match config::register(targets) {
            Ok(config) => config,
            Err(e) => {
                ticker.stop();
                return Err(e);
            }
        };
        Ok(Self {
            _config: config,
            ticker,
            _threads: threads,
            _queues: queues,
            _settle: Settle,
        })
    }
}

impl Drop for Ferrite {
    fn drop(&mut self) {
        self.ticker.stop();
        target::caps::settle();
    }
}
