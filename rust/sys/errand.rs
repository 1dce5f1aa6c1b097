// SPDX-License-Identifier: GPL-2.0

//! What may take as long as a disk or a file system likes, while somebody waits
//! who must not.

use super::{
    bindings,
    misc,
    work, //
};
use core::marker::PhantomData;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// The state of an errand.
enum State<T> {
    UnderWay,
    Done(T),
    /// Nobody waits for it any more.
    GivenUp,
}

/// What the one who waits and the one who works share.
///
/// # Invariants
///
/// `done` is initialised.
#[pin_data]
struct Errand<T> {
    #[pin]
    state: Mutex<State<T>>,
    #[pin]
    done: Opaque<bindings::completion>,
}

// SAFETY: A completion may be used from any thread, and the state is locked.
unsafe impl<T: Send> Send for Errand<T> {}
// SAFETY: As above.
unsafe impl<T: Send> Sync for Errand<T> {}

/// Keeps the module loaded.
///
/// # Invariants
///
/// One reference to the module belongs to it.
struct Hold(PhantomData<*const ()>);

// SAFETY: A reference to the module may be given back by any thread.
unsafe impl Send for Hold {}

impl Hold {
    fn take() -> Option<Self> {
        // SAFETY: No preconditions.
        let taken = unsafe { bindings::fer_module_get() };
        // INVARIANT: It has just been taken.
        taken.then_some(Self(PhantomData))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::fer_module_put() };
    }
}

/// How long an administrator waits for a disk or a file system, in milliseconds.
pub(crate) const PATIENCE_MS: u32 = 5000;

/// That it is not done in time: `ETIMEDOUT`.
pub(crate) fn late() -> Error {
    misc::error_of(bindings::ETIMEDOUT)
}

/// Runs `f` in a kernel thread and waits for what it returns, for `ms`
/// milliseconds at most. If that is not long enough it goes on by itself, what
/// it returns is dropped, and the module stays loaded meanwhile. Process
/// context.
///
/// # Errors
///
/// [`late`]; `EINTR` if the caller is being killed; `ENOMEM`, and `ENODEV` when
/// the module is about to go: then `f` has not run.
pub(crate) fn run<T: Send + Unpin + 'static>(
    ms: u32,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let errand = Arc::pin_init(
        pin_init!(Errand {
            state <- new_mutex!(State::UnderWay, "ferrite_errand"),
            done <- Opaque::ffi_init(|done| {
                // SAFETY: `done` is valid for writing and stays where it is.
                unsafe { bindings::init_completion(done) }
            }),
        }),
        GFP_KERNEL,
    )?;
    let hold = Hold::take().ok_or(ENODEV)?;
    let theirs = errand.clone();
    work::errands()
        .ok_or(ENODEV)?
        .try_spawn(GFP_KERNEL, move || {
            let mut result = Some(f());
            {
                let mut state = theirs.state.lock();
                if matches!(*state, State::UnderWay) {
                    if let Some(result) = result.take() {
                        *state = State::Done(result);
                    }
                }
            }
            // SAFETY: By the type invariant.
            unsafe { bindings::complete_all(theirs.done.get()) };
            // Whatever it was, it goes before the module may.
            drop(result);
            drop(theirs);
            drop(hold);
        })?;
    // SAFETY: By the type invariant; this is process context.
    let left = unsafe {
        let timeout = bindings::fer_msecs_to_jiffies(ms);
        bindings::wait_for_completion_killable_timeout(errand.done.get(), timeout)
    };
    let before = core::mem::replace(&mut *errand.state.lock(), State::GivenUp);
    match before {
        State::Done(result) => Ok(result),
        _ if left < 0 => Err(EINTR),
        _ => Err(late()),
    }
}
