// SPDX-License-Identifier: GPL-2.0

//! One object with two faces: a part that anybody may look at, and a part
//! that only its present owner may touch.
//!
//! A SCSI command walks from the receive path to a submit thread, to a bio,
//! to the transmit path. At each moment one of them owns it; meanwhile task
//! management looks at its identity and marks it aborted. [`Owned`] is that
//! one owner: it cannot be copied, and passing it on passes the command on.

use super::{
    bindings,
    bio::Bio, //
};
use core::{
    cell::UnsafeCell,
    convert::Infallible,
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    },
    types::Opaque, //
};
use pin_init::Wrapper;

/// What to do with an owner on a workqueue.
type OnWork<S, X> = fn(Owned<S, X>);

/// An object with a shared part `S` and an exclusive part `X`.
///
/// # Invariants
///
/// - At most one [`Owned`] exists for each object, and `exclusive` is reached
///   through it alone.
/// - `link` is in a list only while that list holds the [`Owned`].
/// - `work` is queued only while the workqueue holds the [`Owned`].
#[pin_data]
#[repr(C)]
pub(crate) struct Duo<S, X> {
    #[pin]
    link: Opaque<bindings::llist_node>,
    #[pin]
    work: Opaque<bindings::work_struct>,
    /// What to do when `work` runs; set when it is queued.
    on_work: UnsafeCell<Option<OnWork<S, X>>>,
    #[pin]
    bio: UnsafeCell<Bio>,
    shared: S,
    #[pin]
    exclusive: UnsafeCell<X>,
}

// SAFETY: `X` is reached through the one `Owned` only, so it is never shared
// but sent along; `S` is both shared and sent.
unsafe impl<S: Send + Sync, X: Send> Send for Duo<S, X> {}
// SAFETY: A shared reference gives access to `S` alone.
unsafe impl<S: Send + Sync, X: Send> Sync for Duo<S, X> {}

impl<S, X> Deref for Duo<S, X> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.shared
    }
}

/// The one owner of a [`Duo`].
///
/// # Invariants
///
/// No other `Owned` refers to the same object.
pub(crate) struct Owned<S, X> {
    duo: Arc<Duo<S, X>>,
    /// Whoever shares it shares the exclusive part, see [`Owned::peek`].
    _exclusive: PhantomData<X>,
}

impl<S, X> Owned<S, X> {
    // INVARIANT: Callers know that there is no other owner.
    fn of(duo: Arc<Duo<S, X>>) -> Self {
        Self {
            duo,
            _exclusive: PhantomData,
        }
    }

    /// Makes the object and its owner. Both parts may be values, or be built where
    /// they are to be: they are too long to be copied for each command.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `flags` says whether it may sleep.
    pub(crate) fn new(
        shared: impl Init<S>,
        exclusive: impl Init<X>,
        flags: kernel::alloc::Flags,
    ) -> Result<Self, AllocError> {
        // SAFETY: No preconditions. What `recycle` has put by is the memory of a
        // type of this size, and all have one alignment.
        let spare = unsafe { bindings::fer_spare_get(size_of::<Duo<S, X>>()) };
        let room = if spare.is_null() {
            UniqueArc::new_uninit(flags)?
        } else {
            // SAFETY: `recycle` gave up the one reference, which is ours now;
            // nothing is there that could move.
            unsafe {
                let spare = Arc::from_raw(spare.cast::<MaybeUninit<Duo<S, X>>>());
                let alone = Arc::into_unique_or_drop(spare).ok_or(AllocError)?;
                Pin::into_inner_unchecked(alone)
            }
        };
        let arc = room
            .pin_init_with(pin_init!(Duo {
                link: Opaque::uninit(),
                work: Opaque::uninit(),
                on_work: UnsafeCell::new(None),
                bio <- Bio::new_cell(),
                shared <- shared,
                exclusive <- UnsafeCell::pin_init(exclusive),
            }))
            .map_err(|_: Infallible| AllocError)?;
        // INVARIANT: The object was made here, this is its first owner.
        Ok(Self::of(arc.into()))
    }

    /// Drops the owner; if nobody else has a reference, the memory is kept for the
    /// next object of this CPU.
    pub(crate) fn recycle(self) {
        const { assert!(align_of::<Duo<S, X>>() == align_of::<u64>()) };
        let Some(alone) = Arc::into_unique_or_drop(self.duo) else {
            return;
        };
        let raw = Arc::into_raw(Arc::<Duo<S, X>>::from(alone)).cast_mut();
        // SAFETY: The reference is the only one, and is a raw pointer now: what is
        // dropped here is not dropped again, nor looked at, as the memory is that
        // of a `MaybeUninit` from here on, which has the same layout.
        unsafe {
            core::ptr::drop_in_place(raw);
            if !bindings::fer_spare_put(raw.cast(), size_of::<Duo<S, X>>()) {
                drop(Arc::from_raw(raw.cast::<MaybeUninit<Duo<S, X>>>()));
            }
        }
    }

    /// Gives the memory back that [`Owned::recycle`] has kept and that was not used
    /// since the last time, or all of it. To be called now and then.
    pub(crate) fn tidy(all: bool) {
        let mut cpu = 0;
        loop {
            // SAFETY: No preconditions.
            let spare = unsafe { bindings::fer_spare_tidy(all, &mut cpu) };
            if spare.is_null() {
                return;
            }
            // SAFETY: `recycle` gave up the one reference. What the memory is the
            // size of does not matter to free it.
            drop(unsafe { Arc::from_raw(spare.cast::<MaybeUninit<Duo<S, X>>>()) });
        }
    }

    /// The part that everybody may see.
    pub(crate) fn shared(&self) -> &S {
        &self.duo.shared
    }

    /// The part that only the owner may touch.
    pub(crate) fn get(&mut self) -> &mut X {
        // SAFETY: By the type invariant there is no other owner, and this one
        // is borrowed mutably.
        unsafe { &mut *self.duo.exclusive.get() }
    }

    /// As [`Owned::get`], to look at.
    pub(crate) fn peek(&self) -> &X {
        // SAFETY: By the type invariant there is no other owner; this one is
        // borrowed, so nobody writes.
        unsafe { &*self.duo.exclusive.get() }
    }

    /// Both parts at once.
    pub(crate) fn both(&mut self) -> (&S, &mut X) {
        // SAFETY: As in `get`; `shared` and `exclusive` are distinct fields.
        (&self.duo.shared, unsafe { &mut *self.duo.exclusive.get() })
    }

    /// A reference for those who may only look.
    pub(crate) fn share(&self) -> Arc<Duo<S, X>> {
        self.duo.clone()
    }

    /// The embedded bio and the exclusive part.
    pub(crate) fn bio_parts(&mut self) -> (Pin<&mut Bio>, &mut X) {
        // SAFETY: As in `get`; `bio` and `exclusive` are distinct fields and
        // the object never moves, it is inside an `Arc`.
        unsafe {
            (
                Pin::new_unchecked(&mut *self.duo.bio.get()),
                &mut *self.duo.exclusive.get(),
            )
        }
    }

    /// Gives the ownership to a raw pointer.
    pub(in crate::sys) fn into_ptr(self) -> NonNull<Duo<S, X>> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is never used or dropped again, so the reference
        // count moves into the pointer.
        let arc = unsafe { core::ptr::read(&this.duo) };
        // SAFETY: `Arc::into_raw` never returns null.
        unsafe { NonNull::new_unchecked(Arc::into_raw(arc).cast_mut()) }
    }

    /// Takes the ownership back from a raw pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`Owned::into_ptr`], each call being matched by
    /// one call of this function at most.
    pub(in crate::sys) unsafe fn from_ptr(ptr: NonNull<Duo<S, X>>) -> Self {
        // SAFETY: By the caller's promise the pointer carries a reference
        // count that is ours now.
        let arc = unsafe { Arc::from_raw(ptr.as_ptr()) };
        // INVARIANT: The owner was given up in `into_ptr`.
        Self::of(arc)
    }

    /// Gives the ownership to the object's list link.
    pub(in crate::sys) fn into_link(self) -> *mut bindings::llist_node {
        // `link` is the first field of a `repr(C)` struct.
        self.into_ptr().as_ptr().cast()
    }

    /// Takes the ownership back from the object's list link.
    ///
    /// # Safety
    ///
    /// As for [`Owned::from_ptr`], with [`Owned::into_link`].
    pub(in crate::sys) unsafe fn from_link(link: *mut bindings::llist_node) -> Self {
        // SAFETY: `link` came from `into_link`, so it is not null and is the
        // address of the object.
        unsafe { Self::from_ptr(NonNull::new_unchecked(link.cast())) }
    }

    /// Runs `f` with this owner on `queue`.
    pub(in crate::sys) fn queue_on(self, queue: NonNull<bindings::workqueue_struct>, f: fn(Self)) {
        let ptr = self.into_ptr();
        // SAFETY: The object is alive and owned by `ptr`; by the type
        // invariant `work` is not queued, so it may be initialised.
        unsafe {
            *(*ptr.as_ptr()).on_work.get() = Some(f);
            let work = (*ptr.as_ptr()).work.get();
            bindings::fer_work_init(work, Some(Self::run_work));
            bindings::fer_wq_queue(queue.as_ptr(), work);
        }
    }

    /// Runs what `queue_on` was given.
    ///
    /// # Safety
    ///
    /// `work` must be the `work` of a [`Duo`] that was queued by `queue_on`.
    unsafe extern "C" fn run_work(work: *mut bindings::work_struct) {
        // SAFETY: `work` was queued by `queue_on` and is the field of a `Duo`
        // whose ownership it carries.
        let owned = unsafe {
            let field = Opaque::cast_from(work);
            let ptr = kernel::container_of!(field, Duo<S, X>, work).cast_mut();
            Self::from_ptr(NonNull::new_unchecked(ptr))
        };
        // SAFETY: The object is owned by `owned`, nobody else looks at it.
        let f = unsafe { (*owned.duo.on_work.get()).take() };
        if let Some(f) = f {
            f(owned);
        }
    }
}
