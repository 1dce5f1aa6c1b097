// SPDX-License-Identifier: GPL-2.0

//! How much of the host peers may use.
//!
//! What the sessions from one address use is kept in an [`Account`], of which each of them has a
//! [`Share`]. Commands cost nothing to count: a session gets its command window when it logs in, and
//! no two sessions get the same places.

use crate::sys::{
    atomic::InPlace,
    misc::{
        self,
        Limit, //
    }, //
};
use core::net::{
    IpAddr,
    Ipv6Addr, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// Pages in a MiB.
const MIB: u32 = 256;

/// Pages that the tasks of one session may hold.
pub(crate) fn session_pages() -> i32 {
    let pages = misc::limit(Limit::SessionMemory).saturating_mul(MIB);
    i32::try_from(pages).unwrap_or(i32::MAX)
}

/// Connections that may be in login at once, over all portals.
pub(crate) fn logins() -> u32 {
    misc::limit(Limit::Logins)
}

/// Connections from one address that may be in login at once.
pub(crate) fn logins_per_address() -> u32 {
    misc::limit(Limit::LoginsPerAddress)
}

/// Connections that sessions may have at once.
pub(crate) fn connections() -> u32 {
    misc::limit(Limit::Connections)
}

/// Connections from one address that sessions may have at once.
pub(crate) fn connections_per_address() -> u32 {
    misc::limit(Limit::ConnectionsPerAddress)
}

/// A part of the host's memory: one in this many pages may hold data.
const SHARE_OF_MEMORY: usize = 4;

/// Of those, one in this many is left to the sessions from other addresses.
const LEFT_TO_OTHERS: i64 = 4;

/// What a single command may need, in pages.
const ONE_COMMAND: i64 = 2048;

/// Pages that all tasks may hold.
fn all_pages() -> i64 {
    match misc::limit(Limit::Memory) {
        0 => (misc::total_pages() / SHARE_OF_MEMORY) as i64,
        mib => i64::from(mib).saturating_mul(i64::from(MIB)),
    }
}

/// Of `all` pages those that the tasks of the sessions from one address may hold.
fn address_pages(all: i64) -> i64 {
    match misc::limit(Limit::MemoryPerAddress) {
        0 => all
            .saturating_sub(all / LEFT_TO_OTHERS)
            .max(ONE_COMMAND.min(all)),
        mib => i64::from(mib).saturating_mul(i64::from(MIB)),
    }
}

/// Pages that all tasks hold.
static PAGES: Atomic<i64> = Atomic::new(0);

/// Commands that all sessions may send at once.
static COMMANDS: Atomic<i64> = Atomic::new(0);

/// Pages that all tasks hold now.
pub(crate) fn pages_in_use() -> u64 {
    u64::try_from(PAGES.now()).unwrap_or(0)
}

/// Commands that the sessions there are may send at once.
pub(crate) fn commands_in_use() -> u64 {
    u64::try_from(COMMANDS.now()).unwrap_or(0)
}

/// Adds `n` to what is used, unless that would be more than `limit`.
fn take(used: &Atomic<i64>, n: usize, limit: i64) -> bool {
    let n = n as i64;
    let before = used.fetch_add(n, Relaxed);
    if before.saturating_add(n) > limit {
        used.add(n.wrapping_neg(), Relaxed);
        return false;
    }
    true
}

fn give(used: &Atomic<i64>, n: usize) {
    used.add((n as i64).wrapping_neg(), Relaxed);
}

/// The part of an address that tells hosts apart: one host may have a whole /64 of IPv6, but for
/// link-local addresses, which all begin alike.
pub(crate) fn host(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V6(addr) if !addr.is_unicast_link_local() => {
            let [a, b, c, d, ..] = addr.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        addr => addr,
    }
}

/// What one address uses at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// The address, or the first one of a /64 of IPv6.
    pub(crate) host: IpAddr,
    /// Connections in login or discovery.
    pub(crate) logins: u64,
    /// Connections of sessions.
    pub(crate) connections: u64,
    /// Sessions that are there, or still have memory.
    pub(crate) sessions: u64,
    /// Commands that they may send at once.
    pub(crate) commands: u64,
    /// Pages that their commands hold.
    pub(crate) pages: u64,
}

impl Usage {
    /// Of nothing.
    pub(crate) fn none(host: IpAddr) -> Self {
        Self {
            host,
            logins: 0,
            connections: 0,
            sessions: 0,
            commands: 0,
            pages: 0,
        }
    }

    /// Adds what the same address uses besides.
    pub(crate) fn add(&mut self, other: &Self) {
        self.logins = self.logins.saturating_add(other.logins);
        self.connections = self.connections.saturating_add(other.connections);
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.commands = self.commands.saturating_add(other.commands);
        self.pages = self.pages.saturating_add(other.pages);
    }

    /// Whether it is of nothing.
    pub(crate) fn is_none(&self) -> bool {
        let Self {
            host: _,
            logins,
            connections,
            sessions,
            commands,
            pages,
        } = *self;
        [logins, connections, sessions, commands, pages] == [0; 5]
    }
}

/// What the sessions from one address use, together.
struct Account {
    host: IpAddr,
    /// How many shares there are; grows only with the lock of [`Accounts`].
    shares: Atomic<i64>,
    pages: Atomic<i64>,
    commands: Atomic<i64>,
}

impl Account {
    fn usage(&self) -> Usage {
        let of = |used: &Atomic<i64>| u64::try_from(used.now()).unwrap_or(0);
        Usage {
            sessions: of(&self.shares),
            commands: of(&self.commands),
            pages: of(&self.pages),
            ..Usage::none(self.host)
        }
    }

    fn take_pages(&self, n: usize) -> bool {
        let all = all_pages();
        if !take(&self.pages, n, address_pages(all)) {
            return false;
        }
        let taken = take(&PAGES, n, all);
        if !taken {
            give(&self.pages, n);
        }
        taken
    }

    fn give_pages(&self, n: usize) {
        give(&self.pages, n);
        give(&PAGES, n);
    }
}

/// All accounts of which there are shares, and some that nobody has any more.
#[pin_data]
pub(crate) struct Accounts {
    #[pin]
    list: Mutex<KVec<Arc<Account>>>,
}

impl Accounts {
    /// None yet.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            list <- new_mutex!(KVec::new(), "ferrite_accounts"),
        })
    }

    /// A share for a session from `from` that wants to send up to `commands` at once: of these it gets
    /// as many as are left. The limits of commands are multiplied by `times`. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` when fewer than `least` are left.
    pub(crate) fn open(
        &self,
        from: IpAddr,
        least: u32,
        commands: u32,
        times: u32,
    ) -> Result<Share> {
        let host = host(from);
        let mut list = self.list.lock();
        let known = list.iter().find(|account| account.host == host);
        let account = match known {
            Some(account) => account.clone(),
            None => {
                // Shares are given back where no lock can be taken.
                list.retain(|account| account.shares.now() != 0 || account.pages.now() != 0);
                let account = Arc::new(
                    Account {
                        host,
                        shares: Atomic::new(0),
                        pages: Atomic::new(0),
                        commands: Atomic::new(0),
                    },
                    GFP_KERNEL,
                )?;
                list.push(account.clone(), GFP_KERNEL)?;
                account
            }
        };
        let left = |limit, used: &Atomic<i64>| {
            let limit = i64::from(misc::limit(limit)).saturating_mul(i64::from(times));
            u32::try_from(limit.saturating_sub(used.now()).max(0)).unwrap_or(u32::MAX)
        };
        let commands = commands
            .min(left(Limit::CommandsPerAddress, &account.commands))
            .min(left(Limit::Commands, &COMMANDS));
        if commands < least {
            return Err(EBUSY);
        }
        account.shares.add(1, Relaxed);
        account.commands.add(i64::from(commands), Relaxed);
        COMMANDS.add(i64::from(commands), Relaxed);
        Ok(Share { account, commands })
    }

    /// Calls `each` with what each uses. Process context.
    ///
    /// # Errors
    ///
    /// The first one of `each`.
    pub(crate) fn for_each(&self, each: &mut dyn FnMut(Usage) -> Result) -> Result {
        let list = self.list.lock();
        list.iter().try_for_each(|account| each(account.usage()))
    }
}

/// A session's part of an account, for as long as it has memory.
pub(crate) struct Share {
    account: Arc<Account>,
    commands: u32,
}

impl Share {
    /// Commands that the session may send at once.
    pub(crate) fn commands(&self) -> u32 {
        self.commands
    }

    /// Takes pages from what its address, and all, may hold; false when there are too few. Any
    /// context.
    pub(crate) fn take_pages(&self, n: usize) -> bool {
        self.account.take_pages(n)
    }

    /// Gives pages back.
    pub(crate) fn give_pages(&self, n: usize) {
        self.account.give_pages(n);
    }

    /// Takes pages that may outlive the session; none when there are too few.
    pub(crate) fn charge(&self, pages: usize) -> Option<Charge> {
        self.take_pages(pages).then(|| Charge {
            account: Some(self.account.clone()),
            pages,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        give(&COMMANDS, self.commands as usize);
        give(&self.account.commands, self.commands as usize);
        self.account.shares.add(-1, Relaxed);
    }
}

/// Pages that count as used until this is dropped.
pub(crate) struct Charge {
    account: Option<Arc<Account>>,
    pages: usize,
}

impl Charge {
    /// Takes pages that belong to a device, and not to who has sent the command; none when there are
    /// too few.
    pub(crate) fn take(pages: usize) -> Option<Self> {
        take(&PAGES, pages, all_pages()).then_some(Self {
            account: None,
            pages,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        match &self.account {
            Some(account) => account.give_pages(self.pages),
            None => give(&PAGES, self.pages),
        }
    }
}
