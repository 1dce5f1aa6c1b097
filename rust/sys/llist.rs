// SPDX-License-Identifier: GPL-2.0

//! Lists of owned objects through the link each has inside: nothing is
//! allocated to hand an object on.

use super::{
    bindings,
    owned::Owned, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::types::Opaque;

/// A lock-free list that any context may push to, hardirq included.
///
/// # Invariants
///
/// Every node in `head` is the link of a `Duo<S, X>` and carries its
/// ownership.
pub(crate) struct Mailbox<S, X> {
    head: Opaque<bindings::llist_head>,
    _owns: PhantomData<Owned<S, X>>,
}

// SAFETY: The list only carries owners from one thread to another.
unsafe impl<S: Send + Sync, X: Send> Send for Mailbox<S, X> {}
// SAFETY: `llist_add` and `llist_del_all` may race with each other and with
// themselves.
unsafe impl<S: Send + Sync, X: Send> Sync for Mailbox<S, X> {}

impl<S, X> Mailbox<S, X> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: A zeroed `llist_head` is the empty list.
        Self {
            head: Opaque::zeroed(),
            _owns: PhantomData,
        }
    }

    /// Adds `owned`; returns whether the list was empty before.
    pub(crate) fn push(&self, owned: Owned<S, X>) -> bool {
        // SAFETY: `head` is a valid list; by `Owned`'s invariants the link is
        // in no other list.
        unsafe { bindings::fer_llist_push(owned.into_link(), self.head.get()) }
    }

    /// Takes all that is in the list, the oldest first.
    pub(crate) fn take(&self) -> Chain<S, X> {
        // SAFETY: `head` is a valid list.
        let first = unsafe { bindings::fer_llist_take(self.head.get()) };
        // INVARIANT: By the type invariant the nodes carry ownership, which
        // the chain has now.
        Chain {
            next: first,
            _owns: PhantomData,
        }
    }

    /// Whether nothing is in the list at this moment.
    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: `head` is a valid list.
        unsafe { bindings::fer_llist_empty(self.head.get()) }
    }
}

impl<S, X> Drop for Mailbox<S, X> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// A chain of owners taken from a list; dropping it drops them.
///
/// # Invariants
///
/// Every node from `next` on is the link of a `Duo<S, X>` and carries its
/// ownership.
pub(crate) struct Chain<S, X> {
    next: *mut bindings::llist_node,
    _owns: PhantomData<Owned<S, X>>,
}

impl<S, X> Chain<S, X> {
    /// Takes over a chain of nodes.
    ///
    /// # Safety
    ///
    /// Every node must come from [`Owned::into_link`] of the same `S` and `X`.
    pub(in crate::sys) unsafe fn from_raw(first: *mut bindings::llist_node) -> Self {
        // INVARIANT: By the caller's promise.
        Self {
            next: first,
            _owns: PhantomData,
        }
    }
}

impl<S, X> Iterator for Chain<S, X> {
    type Item = Owned<S, X>;

    fn next(&mut self) -> Option<Owned<S, X>> {
        if self.next.is_null() {
            return None;
        }
        let node = self.next;
        // SAFETY: By the type invariant `node` is a live link.
        self.next = unsafe { (*node).next };
        // SAFETY: By the type invariant `node` carries the ownership.
        Some(unsafe { Owned::from_link(node) })
    }
}

impl<S, X> Drop for Chain<S, X> {
    fn drop(&mut self) {
        for owned in self.by_ref() {
            drop(owned);
        }
    }
}

/// A first-in first-out queue for one user at a time.
///
/// # Invariants
///
/// From `head` a null-terminated chain of links of `Duo<S, X>` leads to
/// `tail`, each carrying its ownership; both are null when it is empty.
pub(crate) struct Fifo<S, X> {
    head: *mut bindings::llist_node,
    tail: *mut bindings::llist_node,
    _owns: PhantomData<Owned<S, X>>,
}

// SAFETY: The queue owns what it holds and nothing else.
unsafe impl<S: Send + Sync, X: Send> Send for Fifo<S, X> {}

impl<S, X> Fifo<S, X> {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
            _owns: PhantomData,
        }
    }

    /// Adds at the end.
    pub(crate) fn push(&mut self, owned: Owned<S, X>) {
        let node = owned.into_link();
        // SAFETY: The link is valid and in no other list.
        unsafe { (*node).next = ptr::null_mut() };
        if self.tail.is_null() {
            self.head = node;
        } else {
            // SAFETY: By the type invariant `tail` is a live link.
            unsafe { (*self.tail).next = node };
        }
        self.tail = node;
    }

    /// Adds at the front.
    pub(crate) fn push_front(&mut self, owned: Owned<S, X>) {
        let node = owned.into_link();
        // SAFETY: The link is valid and in no other list.
        unsafe { (*node).next = self.head };
        if self.head.is_null() {
            self.tail = node;
        }
        self.head = node;
    }

    /// Takes from the front.
    pub(crate) fn pop(&mut self) -> Option<Owned<S, X>> {
        if self.head.is_null() {
            return None;
        }
        let node = self.head;
        // SAFETY: By the type invariant `node` is a live link.
        self.head = unsafe { (*node).next };
        if self.head.is_null() {
            self.tail = ptr::null_mut();
        }
        // SAFETY: By the type invariant `node` carries the ownership.
        Some(unsafe { Owned::from_link(node) })
    }

    /// The shared part of the first one.
    pub(crate) fn front(&self) -> Option<&S> {
        if self.head.is_null() {
            return None;
        }
        let duo = self.head.cast::<super::owned::Duo<S, X>>();
        // SAFETY: By the type invariant the link is the first field of a live
        // `Duo`, which lives as long as the queue holds it.
        Some(unsafe { &*duo })
    }

    /// Whether the queue is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }
}

impl<S, X> Drop for Fifo<S, X> {
    fn drop(&mut self) {
        while let Some(owned) = self.pop() {
            drop(owned);
        }
    }
}
