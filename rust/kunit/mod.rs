// SPDX-License-Identifier: GPL-2.0

//! What only a kernel can test: the lives of objects in configfs, who owns a
//! socket, tasks between abort and completion, contexts, failing allocations.
//!
//! These suites are in modules that are built with `FERRITE_KUNIT=1` alone, and
//! run when such a module is loaded: see Documentation/testing.rst. All of it is
//! safe code; the attribute is for what `kunit_tests` makes of a suite.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

mod configfs;
mod errand;
mod lists;
mod memory;
mod socket;
mod task;

use crate::{
    limits::{
        Accounts,
        Share, //
    },
    sys::misc, //
};
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full, //
        },
        Arc, //
    },
    workqueue, //
};

/// How long anything may take on a machine that is busy, in milliseconds.
const PATIENCE_MS: u64 = 60_000;

/// Waits until `done`.
///
/// # Errors
///
/// `ETIMEDOUT`.
fn wait(mut done: impl FnMut() -> bool) -> Result {
    let end = misc::now_ms().saturating_add(PATIENCE_MS);
    while !done() {
        if misc::now_ms() > end {
            return Err(ETIMEDOUT);
        }
        misc::sleep_us(100);
    }
    Ok(())
}

/// An error unless `holds`; `what` goes to the log, as a test may look at many
/// things in a row.
fn check(holds: bool, what: &str) -> Result {
    if holds {
        return Ok(());
    }
    pr_err!("does not hold: {}\n", what);
    Err(EINVAL)
}

/// What `result` is, and says to the log if it is an error.
fn told<T>(what: &str, result: Result<T>) -> Result<T> {
    result.inspect_err(|e| pr_err!("does not hold: {}: {}\n", what, e.to_errno()))
}

/// Things of which some still live.
#[derive(Clone)]
struct Census(Arc<Atomic<i32>>);

impl Census {
    fn new() -> Result<Self> {
        Ok(Self(Arc::new(Atomic::new(0), GFP_KERNEL)?))
    }

    fn birth(&self) -> Alive {
        self.0.fetch_add(1, Full);
        Alive(self.clone())
    }

    fn living(&self) -> i32 {
        self.0.load(kernel::sync::atomic::Acquire)
    }
}

/// One of a [`Census`].
struct Alive(Census);

impl Drop for Alive {
    fn drop(&mut self) {
        (self.0).0.fetch_sub(1, Full);
    }
}

/// Runs closures at the same time, and waits for all.
struct Crowd {
    running: Census,
}

impl Crowd {
    fn new() -> Result<Self> {
        Ok(Self {
            running: Census::new()?,
        })
    }

    fn spawn(&self, f: impl FnOnce() + Send + 'static) -> Result {
        let alive = self.running.birth();
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            f();
            drop(alive);
        })?;
        Ok(())
    }

    fn join(&self) -> Result {
        wait(|| self.running.living() == 0)
    }
}

/// What a session may use of what its address may.
fn share() -> Result<Share> {
    let accounts = Arc::pin_init(Accounts::new(), GFP_KERNEL)?;
    accounts.open(Ipv4Addr::LOCALHOST.into(), 0, 0, 1)
}
