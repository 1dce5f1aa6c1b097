// SPDX-License-Identifier: GPL-2.0

//! Portals: the listening sockets, and the connections that came through.
//!
//! A socket is shared by all portal groups that are configured for its
//! address; the TargetName of a login picks among them.

use crate::{
    conn::Conn,
    limits::{
        self,
        Accounts,
        Usage, //
    },
    session::Why,
    stats::{
        self,
        Stat, //
    },
    sys::{
        misc,
        pages,
        socket::{
            Knock,
            Listener,
            NetId,
            NetNs, //
        },
        work, //
    },
    tally::Tally,
    target::Targets,
    task, //
};
use core::net::{
    IpAddr,
    SocketAddr, //
};
use kernel::{
    impl_has_delayed_work,
    impl_has_work,
    new_delayed_work,
    new_mutex,
    new_work,
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
    time::msecs_to_jiffies,
    workqueue::{
        DelayedWork,
        Work,
        WorkItem, //
    }, //
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 512;

/// Connections accepted in a row before others get the worker.
const ACCEPT_BUDGET: usize = 64;

/// Milliseconds between looks at timeouts and capacities.
const TICK_MS: u32 = 500;

static NEXT_DOOR: Atomic<u64> = Atomic::new(1);

/// A listening socket and who uses it.
#[pin_data]
pub(crate) struct Door {
    /// A number that no other has.
    id: u64,
    addr: SocketAddr,
    net: NetNs,
    targets: Arc<Targets>,
    /// None once shut; held while accepting.
    #[pin]
    listener: Mutex<Option<Listener<Door>>>,
    users: Atomic<i32>,
    #[pin]
    work: Work<Door>,
}

impl_has_work! {
    impl HasWork<Self> for Door { self.work }
}

impl Knock for Door {
    fn knock(this: ArcBorrow<'_, Self>) {
        if let Some(queue) = work::control() {
            // Already queued is just as well.
            let _ = queue.enqueue::<Arc<Door>, 0>(this.into());
        }
    }
}

impl WorkItem for Door {
    type Pointer = Arc<Door>;

    fn run(this: Arc<Door>) {
        for _ in 0..ACCEPT_BUDGET {
            // Until the connection is known: who shuts the door finds it then.
            let listener = this.listener.lock();
            let Some(Ok(sock)) = listener.as_ref().map(Listener::accept) else {
                return;
            };
            this.targets.doors.admit(&this, sock);
        }
        Door::knock(this.as_arc_borrow());
    }
}

/// A portal of a portal group.
#[pin_data]
pub(crate) struct Portal {
    door: Arc<Door>,
    tally: Arc<Tally>,
    #[pin]
    redirect: Mutex<Option<Redirect>>,
}

/// Where a portal sends those who want to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// The portal to log in to instead.
    pub(crate) to: SocketAddr,
    /// Whether the initiator shall remember it.
    pub(crate) permanent: bool,
}

impl Portal {
    /// Its address and port, as configured.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.door.addr
    }

    /// The number of its listening socket, by which connections know the portals that they came
    /// by: another network namespace may have the same address.
    pub(crate) fn door(&self) -> u64 {
        self.door.id
    }

    /// The network namespace that it is in.
    pub(crate) fn net(&self) -> NetId {
        self.door.net.id()
    }

    /// What came by it.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Where it sends those who want to log in to the portal group.
    pub(crate) fn redirect(&self) -> Option<Redirect> {
        *self.redirect.lock()
    }

    /// Sends those who log in from now on elsewhere, or lets them in again.
    pub(crate) fn set_redirect(&self, redirect: Option<Redirect>) {
        *self.redirect.lock() = redirect;
    }
}

/// All listening sockets and connections.
#[pin_data]
pub(crate) struct Doors {
    #[pin]
    doors: Mutex<KVec<Arc<Door>>>,
    #[pin]
    conns: Mutex<KVec<Arc<Conn>>>,
    /// What sessions use, by address.
    #[pin]
    pub(crate) accounts: Accounts,
}

impl Doors {
    /// None yet.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            doors <- new_mutex!(KVec::new(), "ferrite_doors"),
            conns <- new_mutex!(KVec::new(), "ferrite_conns"),
            accounts <- Accounts::new(),
        })
    }

    /// Takes a new connection in, unless there are too many in login: then the
    /// oldest one of the same address has to go, so that those who connect and
    /// say nothing keep nobody out.
    fn admit(&self, door: &Door, sock: crate::sys::socket::Sock<Conn>) {
        let Ok(conn) = Conn::new(&door.targets, door.id, door.net.id(), sock) else {
            return;
        };
        let from = limits::host(conn.peer().ip());
        let mut victim = None;
        {
            let mut conns = self.conns.lock();
            let mut all = 0;
            let mut same = 0;
            let mut oldest_same = None;
            let mut oldest = None;
            for other in conns.iter().filter(|c| c.is_in_login()) {
                all = u32::saturating_add(all, 1);
                if oldest.is_none() {
                    oldest = Some(other);
                }
                if limits::host(other.peer().ip()) == from {
                    same = u32::saturating_add(same, 1);
                    if oldest_same.is_none() {
                        oldest_same = Some(other);
                    }
                }
            }
            // Those that are closing still take memory: past that, nobody.
            let strangers = conns.iter().filter(|c| c.is_stranger()).count();
            if strangers >= (limits::logins() as usize).saturating_mul(2) {
                stats::one(Stat::LoginsTurnedAway);
                return;
            }
            if same >= limits::logins_per_address() {
                victim = oldest_same.cloned();
            } else if all >= limits::logins() {
                victim = oldest.cloned();
            }
            if conns.push(conn.clone(), GFP_KERNEL).is_err() {
                return;
            }
        }
        if let Some(victim) = victim {
            stats::one(Stat::LoginsTurnedAway);
            victim.end(Why::LoginTimeout);
        }
        Conn::begin(&conn);
    }

    /// Connections in login or discovery, those of sessions, and how many of the
    /// latter are from the same address as `from`.
    pub(crate) fn count(&self, from: Option<IpAddr>) -> [u32; 3] {
        let from = from.map(limits::host);
        let [mut logins, mut connections, mut same] = [0u32; 3];
        for conn in self.conns.lock().iter() {
            if conn.is_in_login() {
                logins = logins.saturating_add(1);
            } else if !conn.is_stranger() {
                connections = connections.saturating_add(1);
                if from == Some(limits::host(conn.peer().ip())) {
                    same = same.saturating_add(1);
                }
            }
        }
        [logins, connections, same]
    }

    /// What each address uses, in their order. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn usage(&self) -> Result<RBTree<IpAddr, Usage>> {
        let mut all = RBTree::new();
        let mut add = |part: Usage| {
            match all.get_mut(&part.host) {
                Some(known) => Usage::add(known, &part),
                None if part.is_none() => (),
                None => {
                    all.try_create_and_insert(part.host, part, GFP_KERNEL)?;
                }
            }
            Ok(())
        };
        for conn in self.conns.lock().iter() {
            let mut part = Usage::none(limits::host(conn.peer().ip()));
            if conn.is_in_login() {
                part.logins = 1;
            } else if !conn.is_stranger() {
                part.connections = 1;
            }
            add(part)?;
        }
        self.accounts.for_each(&mut add)?;
        Ok(all)
    }

    /// Whether sessions may have one more connection, from that address. Those
    /// that are on their way out count until they are gone.
    pub(crate) fn has_room(&self, from: IpAddr) -> bool {
        self.has_room_for(from, 1)
    }

    /// The same for one that takes the place of another one. What is replaced while a disk
    /// hangs keeps its memory: there may be twice as many in all, and no more.
    pub(crate) fn has_room_instead(&self, from: IpAddr) -> bool {
        self.has_room_for(from, 2)
    }

    fn has_room_for(&self, from: IpAddr, times: u32) -> bool {
        let [_, all, same] = self.count(Some(from));
        all < limits::connections().saturating_mul(times)
            && same < limits::connections_per_address().saturating_mul(times)
    }

    /// Looks whether somebody waits whose knock was lost, as when memory ran
    /// out while accepting.
    fn knock(&self) {
        for door in self.doors.lock().iter() {
            Door::knock(door.as_arc_borrow());
        }
    }

    /// Looks at all connections; forgets those that are gone.
    fn tick(&self, now_ms: u64) {
        pages::tidy(false);
        task::tidy(false);
        // Not under the lock: a connection that ends wants it, too.
        let mut n = 0;
        loop {
            let conn = self.conns.lock().get(n).cloned();
            let Some(conn) = conn else {
                break;
            };
            if Conn::tick(&conn, now_ms) {
                n = usize::saturating_add(n, 1);
            } else {
                self.forget(&conn);
            }
        }
    }

    /// Forgets a connection.
    pub(crate) fn forget(&self, conn: &Arc<Conn>) {
        self.conns.lock().retain(|c| !Arc::ptr_eq(c, conn));
    }

    /// Whether no connection is left.
    fn is_empty(&self) -> bool {
        self.conns.lock().is_empty()
    }

    /// Ends all connections.
    fn end_all(&self) {
        for conn in self.conns.lock().iter() {
            conn.clone().end(Why::Removed);
        }
    }
}

/// Opens a portal: listens at `addr` in the network namespace of the caller,
/// or joins those who do.
///
/// # Errors
///
/// What binding or listening says.
pub(crate) fn open(targets: &Arc<Targets>, addr: SocketAddr) -> Result<Arc<Portal>> {
    let net = NetNs::current();
    let mut doors = targets.doors.doors.lock();
    let known = doors
        .iter()
        .find(|d| d.addr == addr && d.net.id() == net.id());
    let door = match known {
        Some(door) => door.clone(),
        None => {
            let listener = Listener::open(&net, &addr, BACKLOG)?;
            let door = Arc::pin_init(
                pin_init!(Door {
                    id: NEXT_DOOR.fetch_add(1, Relaxed),
                    addr,
                    net,
                    targets: targets.clone(),
                    listener <- new_mutex!(None, "ferrite_listener"),
                    users: Atomic::new(0),
                    work <- new_work!("ferrite_accept"),
                }),
                GFP_KERNEL,
            )?;
            doors.reserve(1, GFP_KERNEL)?;
            listener.arm(door.clone());
            *door.listener.lock() = Some(listener);
            // What came before it was armed has knocked at nobody.
            Door::knock(door.as_arc_borrow());
            door
        }
    };
    let its_door = door.clone();
    let made = Arc::pin_init(
        try_pin_init!(Portal {
            door: its_door,
            tally: Tally::new()?,
            redirect <- new_mutex!(None, "ferrite_redirect"),
        }? Error),
        GFP_KERNEL,
    );
    let portal = match made {
        Ok(portal) => portal,
        Err(e) => {
            if door.users.load(Relaxed) == 0 {
                let listener = door.listener.lock().take();
                drop(listener);
            }
            return Err(e);
        }
    };
    if door.users.fetch_add(1, Relaxed) == 0 {
        doors.push(door, GFP_KERNEL)?;
    }
    Ok(portal)
}

/// Closes a portal; the socket goes with the last one.
pub(crate) fn close(targets: &Arc<Targets>, portal: &Arc<Portal>) {
    let door = &portal.door;
    let mut doors = targets.doors.doors.lock();
    if door.users.fetch_sub(1, Full) == 1 {
        doors.retain(|d| !Arc::ptr_eq(d, door));
        let listener = door.listener.lock().take();
        drop(listener);
    }
}

/// Looks at timeouts and capacities twice a second.
#[pin_data]
pub(crate) struct Ticker {
    targets: Arc<Targets>,
    stop: Atomic<i32>,
    stopped: Atomic<i32>,
    #[pin]
    work: DelayedWork<Ticker>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Ticker { self.work }
}

impl WorkItem for Ticker {
    type Pointer = Arc<Ticker>;

    fn run(this: Arc<Ticker>) {
        this.targets.doors.tick(misc::now_ms());
        this.targets.doors.knock();
        this.targets.for_each_device(&mut |device| {
            device.check_capacity();
            device.rest_task_set();
            task::end_all_hopeless(device);
        });
        if this.stop.load(Relaxed) != 0 && this.targets.doors.is_empty() {
            this.stopped.store(1, Relaxed);
            return;
        }
        this.arm();
    }
}

impl Ticker {
    /// Starts to tick.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn start(targets: Arc<Targets>) -> Result<Arc<Self>> {
        let ticker = Arc::pin_init(
            pin_init!(Self {
                targets,
                stop: Atomic::new(0),
                stopped: Atomic::new(0),
                work <- new_delayed_work!("ferrite_tick"),
            }),
            GFP_KERNEL,
        )?;
        ticker.clone().arm();
        Ok(ticker)
    }

    fn arm(self: Arc<Self>) {
        if let Some(queue) = work::control() {
            let _ = queue.enqueue_delayed::<Arc<Ticker>, 0>(self, msecs_to_jiffies(TICK_MS));
        }
    }

    /// Ends all connections and stops ticking. Waits until both have happened;
    /// no disk is waited for, as an open one keeps the module loaded.
    pub(crate) fn stop(&self) {
        self.stop.store(1, Relaxed);
        while self.stopped.load(Relaxed) == 0 {
            self.targets.doors.end_all();
            misc::sleep_ms(20);
        }
    }
}
