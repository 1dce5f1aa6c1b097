// SPDX-License-Identifier: GPL-2.0

//! TCP sockets that are read and written in softirq.
//!
//! A socket has one owner at a time: the softirq that holds its spin lock
//! while no task owns it, or the task that called `lock_sock()`. All state of
//! a connection hangs on that: it is in [`SockCell`]s, and those open only to
//! an [`Owner`], which is made in three places: the callbacks, [`Sock::try_own`]
//! and [`Sock::own`].

use super::{
    bindings,
    gather::Gather,
    pages::SkbSlice, //
};
use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    marker::PhantomData,
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr,
        SocketAddr,
        SocketAddrV6, //
    },
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        ArcBorrow, //
    },
    types::NotThreadSafe,
};

/// A network namespace, kept alive.
///
/// # Invariants
///
/// The pointer is valid and one reference to it is ours.
pub(crate) struct NetNs(NonNull<bindings::net>);

// SAFETY: A `struct net` may be used from any thread.
unsafe impl Send for NetNs {}
// SAFETY: As above.
unsafe impl Sync for NetNs {}

impl NetNs {
    /// The namespace of the calling task.
    pub(crate) fn current() -> Self {
        // SAFETY: In process context the task has a namespace.
        let net = unsafe { bindings::fer_net_current() };
        // SAFETY: Never null.
        // INVARIANT: The helper took a reference for us.
        Self(unsafe { NonNull::new_unchecked(net) })
    }

    /// Which one it is.
    pub(crate) fn id(&self) -> NetId {
        NetId(self.0.as_ptr() as usize)
    }
}

/// Which network namespace something is of: no two that are alive have the same, and each
/// lives as long as a socket of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct NetId(usize);

impl Drop for NetNs {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fer_net_put(self.0.as_ptr()) };
    }
}

fn to_raw(addr: &SocketAddr) -> bindings::fer_addr {
    let mut raw = bindings::fer_addr {
        port: addr.port(),
        ..Default::default()
    };
    match addr {
        SocketAddr::V4(v4) => {
            raw.family = bindings::AF_INET as u16;
            for (to, from) in raw.ip.iter_mut().zip(v4.ip().octets()) {
                *to = from;
            }
        }
        SocketAddr::V6(v6) => {
            raw.family = bindings::AF_INET6 as u16;
            raw.scope = v6.scope_id();
            raw.ip = v6.ip().octets();
        }
    }
    raw
}

fn from_raw(raw: &bindings::fer_addr) -> SocketAddr {
    if u32::from(raw.family) == bindings::AF_INET {
        let [a, b, c, d, ..] = raw.ip;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), raw.port)
    } else {
        let ip = Ipv6Addr::from(raw.ip);
        match ip.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), raw.port),
            None => SocketAddr::V6(SocketAddrV6::new(ip, raw.port, 0, raw.scope)),
        }
    }
}

/// A raw accepted or listening socket.
///
/// # Invariants
///
/// The pointer is a socket of ours that nobody else releases.
struct RawSocket(NonNull<bindings::socket>);

impl Drop for RawSocket {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours to release.
        unsafe { bindings::sock_release(self.0.as_ptr()) };
    }
}

// SAFETY: A `struct socket` may be used from any thread.
unsafe impl Send for RawSocket {}
// SAFETY: As above.
unsafe impl Sync for RawSocket {}

/// Who hears that a connection waits to be accepted.
pub(crate) trait Knock: Send + Sync + 'static {
    /// A connection is ready. Softirq: only queue work.
    fn knock(this: ArcBorrow<'_, Self>);
}

/// A listening socket.
///
/// # Invariants
///
/// While armed, `user` is a pointer from `Arc::into_raw`, and the socket's
/// user data; zero otherwise.
pub(crate) struct Listener<K: Knock> {
    sock: RawSocket,
    user: Atomic<usize>,
    _owns: PhantomData<Arc<K>>,
}

impl<K: Knock> Listener<K> {
    /// Binds and listens. The address need not be up yet.
    ///
    /// # Errors
    ///
    /// What the kernel says, e.g. `EADDRINUSE`.
    pub(crate) fn open(net: &NetNs, addr: &SocketAddr, backlog: i32) -> Result<Self> {
        let raw = to_raw(addr);
        let mut sock = ptr::null_mut();
        // SAFETY: `net` is alive; `raw` and `sock` are valid for the call.
        to_result(unsafe { bindings::fer_sock_listen(net.0.as_ptr(), &raw, backlog, &mut sock) })?;
        let sock = NonNull::new(sock).ok_or(EINVAL)?;
        // INVARIANT: The socket was just made for us; it is not armed.
        Ok(Self {
            sock: RawSocket(sock),
            user: Atomic::new(0),
            _owns: PhantomData,
        })
    }

    /// Sends the knocks to `user` from now on, until it is dropped. To be
    /// called once.
    pub(crate) fn arm(&self, user: Arc<K>) {
        // The kernel keeps flags in the lowest three bits of the pointer.
        const { assert!(align_of::<K>() >= 8) };
        let ptr = Arc::into_raw(user);
        self.user.store(ptr as usize, Release);
        // SAFETY: The socket is ours; `ptr` stays valid until `drop`.
        unsafe {
            bindings::fer_listener_arm(
                self.sock.0.as_ptr(),
                ptr.cast_mut().cast(),
                Some(Self::ready),
            )
        };
    }

    /// Takes a connection that waits.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is none.
    pub(crate) fn accept<H: Handler>(&self) -> Result<Sock<H>> {
        let mut sock = ptr::null_mut();
        // SAFETY: The listener is alive; `sock` is valid for the call.
        to_result(unsafe { bindings::fer_sock_accept(self.sock.0.as_ptr(), &mut sock) })?;
        let sock = NonNull::new(sock).ok_or(EINVAL)?;
        // INVARIANT: `accept` gave the socket to us.
        Ok(Sock::new(RawSocket(sock)))
    }

    /// # Safety
    ///
    /// To be called by the listening socket `sk`, or by a child of it that is
    /// not attached yet, only.
    unsafe extern "C" fn ready(sk: *mut bindings::sock) {
        // SAFETY: `sk` is alive during its callback. The callback lock keeps
        // what the user data points at alive, see `drop`. A child that has
        // not been taken over yet has no user data.
        unsafe {
            bindings::fer_sk_callback_lock(sk);
            let user = bindings::fer_sk_user_data(sk).cast::<K>();
            if bindings::fer_sk_is_listening(sk) && !user.is_null() {
                K::knock(ArcBorrow::from_raw(user));
            }
            bindings::fer_sk_callback_unlock(sk);
        }
    }
}

impl<K: Knock> Drop for Listener<K> {
    fn drop(&mut self) {
        // SAFETY: The socket is ours.
        unsafe { bindings::fer_listener_disarm(self.sock.0.as_ptr()) };
        let ptr = self.user.load(Acquire) as *const K;
        if !ptr.is_null() {
            // SAFETY: By the type invariant it came from `Arc::into_raw`; the
            // write lock taken by the helper made all readers finish.
            drop(unsafe { Arc::from_raw(ptr) });
        }
    }
}

/// What a connection does when its socket calls.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Bytes have arrived. Softirq, or the backlog of whoever owns the socket
    /// ([`Owner::in_backlog`]); must not sleep.
    fn data_ready(this: ArcBorrow<'_, Self>, owner: &Owner<'_>);
    /// There is room to send. May be called from inside a send: must only
    /// queue work.
    fn write_space(this: ArcBorrow<'_, Self>);
    /// The TCP state has changed; must only queue work.
    fn state_change(this: ArcBorrow<'_, Self>);
}

/// A connected socket.
///
/// # Invariants
///
/// - A reference to `sk` is ours; `sock`'s socket is released once.
/// - While attached, `user` is a pointer from `Arc::into_raw`, and the
///   socket's user data; zero otherwise.
/// - There is a [`Reader`] of it only if `has_reader` is set.
pub(crate) struct Sock<H: Handler> {
    sk: NonNull<bindings::sock>,
    sock: Atomic<usize>,
    user: Atomic<usize>,
    has_reader: bool,
    _owns: PhantomData<Arc<H>>,
}

// SAFETY: A `struct sock` may be used from any thread.
unsafe impl<H: Handler> Send for Sock<H> {}
// SAFETY: As above.
unsafe impl<H: Handler> Sync for Sock<H> {}

impl<H: Handler> Sock<H> {
    fn new(raw: RawSocket) -> Self {
        let sock = core::mem::ManuallyDrop::new(raw).0;
        // SAFETY: The socket is ours and connected, so it has a sock; the
        // reference taken is given back in `drop`.
        let sk = unsafe {
            let sk = bindings::fer_sock_sk(sock.as_ptr());
            bindings::fer_sk_hold(sk);
            NonNull::new_unchecked(sk)
        };
        // SAFETY: The socket is ours; process context.
        unsafe { bindings::fer_sock_prepare(sock.as_ptr()) };
        // INVARIANT: The reference was taken above; it is not attached.
        Self {
            sk,
            sock: Atomic::new(sock.as_ptr() as usize),
            user: Atomic::new(0),
            has_reader: false,
            _owns: PhantomData,
        }
    }

    /// What it is read with; once.
    pub(crate) fn reader(&mut self) -> Option<Reader> {
        if core::mem::replace(&mut self.has_reader, true) {
            return None;
        }
        // SAFETY: `sk` is alive by the type invariant.
        unsafe { bindings::fer_sk_hold(self.sk.as_ptr()) };
        // INVARIANT: It is the first one, and the reference was just taken.
        Some(Reader(self.sk))
    }

    /// Lets TCP ask the peer often whether it is there, for one whom nobody else
    /// asks. Process context, with the socket not owned.
    pub(crate) fn probe(&self) {
        // SAFETY: `sk` is alive by the type invariant, and we may sleep.
        unsafe { bindings::fer_sk_probe(self.sk.as_ptr()) };
    }

    fn name(&self, peer: bool) -> Result<SocketAddr> {
        let sock = self.sock.load(Acquire) as *mut bindings::socket;
        if sock.is_null() {
            return Err(EINVAL);
        }
        let mut raw = bindings::fer_addr::default();
        // SAFETY: Only called before `release`, by the one who accepted it.
        to_result(unsafe { bindings::fer_sock_name(sock, peer, &mut raw) })?;
        Ok(from_raw(&raw))
    }

    /// The address and port that the peer connected to, and the peer's own.
    /// To be asked before the socket is shared.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` when the peer has gone already.
    pub(crate) fn names(&mut self) -> Result<(SocketAddr, SocketAddr)> {
        Ok((self.name(false)?, self.name(true)?))
    }

    /// Sends the socket's callbacks to `user` from now on. To be called once.
    /// Returns whether the connection still stands.
    pub(crate) fn attach(&self, user: Arc<H>) -> bool {
        // As in `Listener::arm`.
        const { assert!(align_of::<H>() >= 8) };
        let ptr = Arc::into_raw(user);
        let ops = bindings::fer_sock_ops {
            data_ready: Some(Self::on_data_ready),
            write_space: Some(Self::on_write_space),
            state_change: Some(Self::on_state_change),
        };
        // Before the first callback, which may have the socket released at once.
        self.user.store(ptr as usize, Release);
        // SAFETY: `sk` is alive by the type invariant, whoever may have ended the
        // connection meanwhile: then it is refused. `ptr` stays valid until
        // `release`; the functions do not go away while the module is loaded.
        let ok = unsafe { bindings::fer_sk_attach(self.sk.as_ptr(), ptr.cast_mut().cast(), &ops) };
        if !ok && self.user.xchg(0, kernel::sync::atomic::Full) != 0 {
            // SAFETY: It came from `into_raw` above and was not attached; the
            // swap says that `release` has not dropped it.
            drop(unsafe { Arc::from_raw(ptr) });
        }
        ok
    }

    /// Ends the connection: no callback runs any more. With `abort` the peer
    /// gets a reset and what was not sent yet is dropped; else what was given
    /// to TCP is still delivered. Process context. Does nothing the second
    /// time.
    pub(crate) fn release(&self, abort: bool) {
        let sock = self.sock.xchg(0, kernel::sync::atomic::Full) as *mut bindings::socket;
        let Some(sock) = NonNull::new(sock) else {
            return;
        };
        // SAFETY: By the type invariant the socket is ours and, the swap
        // having given it to us, not yet released.
        unsafe {
            bindings::fer_sock_detach(sock.as_ptr());
            bindings::fer_sock_shut(sock.as_ptr(), abort);
        }
        drop(RawSocket(sock));
        let user = self.user.xchg(0, kernel::sync::atomic::Full) as *const H;
        if !user.is_null() {
            // SAFETY: By the type invariant it came from `Arc::into_raw`; the
            // write lock taken by `fer_sock_detach` made all callbacks finish.
            drop(unsafe { Arc::from_raw(user) });
        }
    }

    /// Becomes the owner if no task is; for softirq.
    pub(crate) fn try_own(&self) -> Option<SoftOwner<'_>> {
        // SAFETY: `sk` is alive by the type invariant.
        if unsafe { bindings::fer_sk_bh_trylock(self.sk.as_ptr()) } {
            Some(SoftOwner(Owner::new(self.sk)))
        } else {
            None
        }
    }

    /// Becomes the owner, waiting for the present one; process context.
    pub(crate) fn own(&self) -> TaskOwner<'_> {
        // SAFETY: `sk` is alive by the type invariant.
        unsafe { bindings::fer_sk_lock(self.sk.as_ptr()) };
        TaskOwner(Owner::new(self.sk))
    }

    /// Runs `f` with the handler, under the callback lock.
    ///
    /// # Safety
    ///
    /// `sk` must be a live sock whose user data, if any, was set by
    /// [`Sock::attach`] of this very type.
    unsafe fn with_user(sk: *mut bindings::sock, f: impl FnOnce(ArcBorrow<'_, H>)) {
        // SAFETY: By the caller's promise; the callback lock keeps the handler
        // alive, see `release`.
        unsafe {
            bindings::fer_sk_callback_lock(sk);
            let user = bindings::fer_sk_user_data(sk).cast::<H>();
            if !user.is_null() {
                f(ArcBorrow::from_raw(user));
            }
            bindings::fer_sk_callback_unlock(sk);
        }
    }

    /// # Safety
    ///
    /// To be called by the socket `sk` only, as the callback that it was
    /// installed as.
    unsafe extern "C" fn on_data_ready(sk: *mut bindings::sock) {
        let Some(own) = NonNull::new(sk) else {
            return;
        };
        // SAFETY: Installed by `attach` only; the caller of the callback owns
        // the socket, be it by its spin lock or by `lock_sock`.
        unsafe {
            bindings::fer_sk_trace_data_ready(sk);
            Self::with_user(sk, |user| H::data_ready(user, &Owner::new(own)));
        }
    }

    /// # Safety
    ///
    /// To be called by the socket `sk` only, as the callback that it was
    /// installed as.
    unsafe extern "C" fn on_write_space(sk: *mut bindings::sock) {
        // SAFETY: Installed by `attach` only. When fragments are freed the caller owns
        // nothing; the callback lock keeps the `struct socket` in place.
        unsafe {
            Self::with_user(sk, |user| {
                if bindings::fer_sk_writeable(sk) {
                    H::write_space(user);
                }
            });
        }
    }

    /// # Safety
    ///
    /// To be called by the socket `sk` only, as the callback that it was
    /// installed as.
    unsafe extern "C" fn on_state_change(sk: *mut bindings::sock) {
        // SAFETY: Installed by `attach` only.
        unsafe { Self::with_user(sk, H::state_change) };
    }
}

#[cfg(ferrite_kunit)]
impl<H: Handler> Sock<H> {
    /// Whether the socket calls this module, as it must not once it is released.
    pub(crate) fn calls_us(&self) -> bool {
        // SAFETY: `sk` is alive by the type invariant.
        unsafe { bindings::fer_kunit_sk_calls_us(self.sk.as_ptr()) }
    }
}

impl<H: Handler> Drop for Sock<H> {
    fn drop(&mut self) {
        // Only reached unreleased when it was never attached, or by the
        // accept path in process context.
        self.release(true);
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fer_sk_put(self.sk.as_ptr()) };
    }
}

/// What a socket is read with. Whoever reads has it to himself, so that nothing which is called
/// while bytes are looked at can read the same socket: these could be freed.
///
/// # Invariants
///
/// There is no other one of the socket, and one reference to the socket is ours.
pub(crate) struct Reader(NonNull<bindings::sock>);

// SAFETY: It is a reference to a `struct sock`, which any thread may give back.
unsafe impl Send for Reader {}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fer_sk_put(self.0.as_ptr()) };
    }
}

/// The right to a socket and to all the state that hangs on it.
///
/// # Invariants
///
/// While it lives, the one who made it owns the socket `sk`.
pub(crate) struct Owner<'a> {
    sk: NonNull<bindings::sock>,
    _borrow: PhantomData<&'a ()>,
    _stay: NotThreadSafe,
}

/// Why a send went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// There is no room; `write_space` will be called.
    Full,
    /// The connection is gone.
    Broken,
}

impl Owner<'_> {
    // INVARIANT: Callers own the socket.
    fn new(sk: NonNull<bindings::sock>) -> Self {
        Self {
            sk,
            _borrow: PhantomData,
            _stay: NotThreadSafe,
        }
    }

    /// Whether a task owns the socket, e.g. we are in its backlog: the time to
    /// send is when it lets go.
    pub(crate) fn in_backlog(&self) -> bool {
        // SAFETY: `sk` is alive by the type invariant.
        unsafe { bindings::fer_sk_owned(self.sk.as_ptr()) }
    }

    /// Whether the connection is established.
    pub(crate) fn established(&self) -> bool {
        // SAFETY: `sk` is alive by the type invariant.
        unsafe { bindings::fer_sk_established(self.sk.as_ptr()) }
    }

    /// Whether nothing waits to be sent or acknowledged.
    pub(crate) fn tx_idle(&self) -> bool {
        // SAFETY: `sk` is alive and owned by the type invariant.
        unsafe { bindings::fer_sk_tx_idle(self.sk.as_ptr()) }
    }

    /// Whether bytes wait to be read.
    pub(crate) fn rx_pending(&self) -> bool {
        // SAFETY: `sk` is alive by the type invariant.
        unsafe { bindings::fer_sk_rx_pending(self.sk.as_ptr()) }
    }

    /// Puts off the acknowledgement of what is being read; [`Owner::pass_ack`]
    /// is then due. To be called from within [`Owner::read`]. False when it is
    /// not to be put off.
    pub(crate) fn hold_ack(&self) -> bool {
        // SAFETY: `sk` is alive and owned by the type invariant.
        unsafe { bindings::fer_sk_hold_ack(self.sk.as_ptr()) }
    }

    /// What has come is acknowledged, unless something that was sent meanwhile
    /// has done so: `now`, or when TCP finds it time.
    pub(crate) fn pass_ack(&self, now: bool) {
        // SAFETY: `sk` is alive and owned by the type invariant.
        unsafe { bindings::fer_sk_pass_ack(self.sk.as_ptr(), now) };
    }

    /// Offers what has arrived to `take`, which returns how much it used; less
    /// than offered means "no more now". Nothing happens if `reader` is another
    /// socket's. `take` must not send: that may work off the backlog, and what is
    /// being looked at goes to another place.
    pub(crate) fn read<F>(&self, reader: &mut Reader, take: &mut F)
    where
        F: FnMut(&mut SkbSlice<'_>) -> usize,
    {
        /// # Safety
        ///
        /// `desc` must carry a valid `F`; `skb` must hold `len` bytes at
        /// `offset`.
        unsafe extern "C" fn actor<F>(
            desc: *mut bindings::read_descriptor_t,
            skb: *mut bindings::sk_buff,
            offset: core::ffi::c_uint,
            len: usize,
        ) -> core::ffi::c_int
        where
            F: FnMut(&mut SkbSlice<'_>) -> usize,
        {
            // SAFETY: `desc` is ours, from `fer_sk_read` below, and carries
            // `take`; `skb` is alive and holds `len` bytes at `offset`.
            unsafe {
                let take = &mut *(*desc).arg.data.cast::<F>();
                let mut slice = SkbSlice::from_raw(skb, offset, len);
                let used = take(&mut slice).min(len);
                if used < len {
                    (*desc).count = 0;
                }
                core::ffi::c_int::try_from(used).unwrap_or(0)
            }
        }
        if reader.0 != self.sk {
            return;
        }
        // SAFETY: The socket is owned by the type invariant; `take` outlives
        // the call, and cannot read the socket meanwhile, as we have its `Reader`.
        unsafe {
            bindings::fer_sk_read(
                self.sk.as_ptr(),
                ptr::from_mut(take).cast(),
                Some(actor::<F>),
            )
        };
    }

    /// Sends what `gather` still holds, in one call; it notes how far it got.
    ///
    /// # Errors
    ///
    /// [`SendError`] when less than all was taken.
    pub(crate) fn send(&self, gather: &mut Gather, more: bool) -> Result<(), SendError> {
        while !gather.is_sent() {
            // SAFETY: The socket is owned by the type invariant; `gather`
            // holds references to all its pages, and TCP takes its own.
            let n = unsafe {
                bindings::fer_sk_sendv(
                    self.sk.as_ptr(),
                    gather.bvecs().as_ptr().cast_mut(),
                    gather.bvecs().len() as u32,
                    gather.total(),
                    gather.sent(),
                    more,
                )
            };
            match usize::try_from(n) {
                Ok(0) => return Err(SendError::Full),
                Ok(n) => gather.advance(n),
                Err(_) if n == EAGAIN.to_errno() => return Err(SendError::Full),
                Err(_) => return Err(SendError::Broken),
            }
        }
        Ok(())
    }
}

/// An [`Owner`] by the socket's spin lock, in softirq.
pub(crate) struct SoftOwner<'a>(Owner<'a>);

impl<'a> Deref for SoftOwner<'a> {
    type Target = Owner<'a>;

    fn deref(&self) -> &Owner<'a> {
        &self.0
    }
}

impl Drop for SoftOwner<'_> {
    fn drop(&mut self) {
        // SAFETY: Made by a successful `fer_sk_bh_trylock`.
        unsafe { bindings::fer_sk_bh_unlock(self.0.sk.as_ptr()) };
    }
}

/// An [`Owner`] by `lock_sock()`, in process context.
pub(crate) struct TaskOwner<'a>(Owner<'a>);

#[cfg(ferrite_kunit)]
impl TaskOwner<'_> {
    /// Lets the backlog be worked off, as a send does that takes long.
    pub(crate) fn run_backlog(&self) {
        // SAFETY: The socket is alive, and this task owns it.
        unsafe { bindings::fer_kunit_run_backlog(self.0.sk.as_ptr()) };
    }
}

impl<'a> Deref for TaskOwner<'a> {
    type Target = Owner<'a>;

    fn deref(&self) -> &Owner<'a> {
        &self.0
    }
}

impl Drop for TaskOwner<'_> {
    fn drop(&mut self) {
        // SAFETY: Made by `fer_sk_lock`.
        unsafe { bindings::fer_sk_unlock(self.0.sk.as_ptr()) };
    }
}

/// State that belongs to whoever owns the socket.
///
/// An owner may be entered again while it works (a send can process the
/// backlog, which receives), so a cell that is already open stays shut to the
/// second.
///
/// # Invariants
///
/// `value` is accessed only through a [`CellGuard`], of which there is one at
/// a time: only the owner of `sk` makes one, and only when `open` is false.
pub(crate) struct SockCell<T> {
    sk: NonNull<bindings::sock>,
    open: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: Only the owner of the socket reaches the value; ownership moves
// between threads with the socket's own locks.
unsafe impl<T: Send> Sync for SockCell<T> {}
// SAFETY: As above.
unsafe impl<T: Send> Send for SockCell<T> {}

impl<T> SockCell<T> {
    /// State that belongs to the owner of `sock`.
    pub(crate) fn new<H: Handler>(sock: &Sock<H>, value: T) -> Self {
        Self {
            sk: sock.sk,
            open: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Opens the cell; `None` if it is open already further up the stack, or
    /// if `owner` owns another socket.
    pub(crate) fn open<'a>(&'a self, owner: &'a Owner<'_>) -> Option<CellGuard<'a, T>> {
        if owner.sk != self.sk || self.open.replace(true) {
            return None;
        }
        // INVARIANT: It was shut, and we own the socket.
        Some(CellGuard {
            cell: self,
            _stay: NotThreadSafe,
        })
    }
}

/// An open [`SockCell`].
pub(crate) struct CellGuard<'a, T> {
    cell: &'a SockCell<T>,
    _stay: NotThreadSafe,
}

impl<T> Deref for CellGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariant of `SockCell` this is the only guard.
        unsafe { &*self.cell.value.get() }
    }
}

impl<T> DerefMut for CellGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the invariant of `SockCell` this is the only guard.
        unsafe { &mut *self.cell.value.get() }
    }
}

impl<T> Drop for CellGuard<'_, T> {
    fn drop(&mut self) {
        self.cell.open.set(false);
    }
}

/// Where code runs, for the counters that prove it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// In a softirq.
    Softirq,
    /// At the end of a submit thread's batch, with softirqs disabled.
    Batch,
    /// Elsewhere: in a worker, or the backlog of a task.
    Task,
}

impl Context {
    /// Where this code runs.
    pub(crate) fn here() -> Self {
        // SAFETY: No preconditions.
        match unsafe { bindings::fer_context() } {
            bindings::fer_context_FER_SOFTIRQ => Context::Softirq,
            bindings::fer_context_FER_BATCH => Context::Batch,
            _ => Context::Task,
        }
    }
}
