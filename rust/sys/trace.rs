// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: `events/ferrite` of tracefs.

use super::bindings;

/// What the tracepoint `ferrite_command` tells.
pub(crate) use bindings::fer_trace_command as Command;

/// Whether somebody listens to `ferrite_command`. Any context.
#[inline]
pub(crate) fn command_on() -> bool {
    // SAFETY: No preconditions.
    unsafe { bindings::fer_trace_command_on() }
}

/// A command has ended. Any context.
pub(crate) fn command(command: &Command) {
    // SAFETY: The structure is valid while it is called.
    unsafe { bindings::fer_trace_command(command) };
}
