// SPDX-License-Identifier: GPL-2.0

//! Who owns a socket, and what the one further up the stack keeps shut.

#[kernel::macros::kunit_tests(ferrite_socket)]
mod tests {
    use super::super::{
        check,
        wait,
        Alive,
        Census,
        Crowd, //
    };
    use crate::sys::{
        gather::Gather,
        kunit::{
            self,
            Peer, //
        },
        misc,
        socket::{
            Context,
            Handler,
            Knock,
            Listener,
            NetNs,
            Owner,
            Reader,
            Sock,
            SockCell, //
        }, //
    };
    use core::net::{
        IpAddr,
        Ipv4Addr,
        SocketAddr, //
    };
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                Acquire,
                Atomic,
                Full,
                Relaxed, //
            },
            Arc,
            ArcBorrow, //
        }, //
    };

    const PORT: u16 = 3266;

    /// Counts those who knock. The lowest bits of a pointer to it are the
    /// socket's.
    #[repr(align(8))]
    struct Bell(Atomic<u32>);

    impl Knock for Bell {
        fn knock(this: ArcBorrow<'_, Self>) {
            this.0.fetch_add(1, Full);
        }
    }

    /// What has come by a socket.
    struct Received {
        reader: Reader,
        bytes: u64,
        sum: u64,
    }

    /// A connection that only listens.
    struct Ear {
        sock: Sock<Ear>,
        rx: SockCell<Received>,
        tx: SockCell<u64>,
        calls: Atomic<u32>,
        soft: Atomic<u32>,
        backlog: Atomic<u32>,
        /// Times that a cell was found open further up the stack.
        shut: Atomic<u32>,
        /// Times that a cell opened twice.
        twice: Atomic<u32>,
        changes: Atomic<u32>,
        _alive: Alive,
    }

    impl Ear {
        fn take(&self, owner: &Owner<'_>) {
            let Some(mut rx) = self.rx.open(owner) else {
                self.shut.fetch_add(1, Full);
                return;
            };
            if self.rx.open(owner).is_some() {
                self.twice.fetch_add(1, Full);
            }
            let Received { reader, bytes, sum } = &mut *rx;
            owner.read(reader, &mut |slice| {
                let mut buf = [0u8; 256];
                let n = slice.len().min(buf.len());
                if let Some(part) = buf.get_mut(..n) {
                    if slice.copy_to_slice(part).is_ok() {
                        *bytes += n as u64;
                        *sum += part.iter().map(|b| u64::from(*b)).sum::<u64>();
                    }
                }
                n
            });
        }

        fn received(&self) -> (u64, u64) {
            let owner = self.sock.own();
            self.rx
                .open(&owner)
                .map_or((u64::MAX, 0), |rx| (rx.bytes, rx.sum))
        }
    }

    impl Handler for Ear {
        fn data_ready(this: ArcBorrow<'_, Self>, owner: &Owner<'_>) {
            this.calls.fetch_add(1, Full);
            if Context::here() == Context::Softirq {
                this.soft.fetch_add(1, Full);
            }
            if owner.in_backlog() {
                this.backlog.fetch_add(1, Full);
            }
            // It is read in pieces of 256 bytes.
            for _ in 0..1000 {
                let before = this.shut.load(Relaxed);
                if !owner.rx_pending() {
                    break;
                }
                this.take(owner);
                if this.shut.load(Relaxed) != before {
                    break;
                }
            }
        }

        fn write_space(this: ArcBorrow<'_, Self>) {
            this.changes.fetch_add(1, Full);
        }

        fn state_change(this: ArcBorrow<'_, Self>) {
            this.changes.fetch_add(1, Full);
        }
    }

    /// A connected pair; nothing of it is left when both are dropped and
    /// the first was released.
    struct Pair {
        ear: Arc<Ear>,
        peer: Arc<Peer>,
    }

    impl Drop for Pair {
        fn drop(&mut self) {
            self.ear.sock.release(true);
        }
    }

    fn listen(port: u16) -> Result<Listener<Bell>> {
        let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), port);
        Listener::open(&NetNs::current(), &addr, 16)
    }

    fn accept(listener: &Listener<Bell>) -> Result<Sock<Ear>> {
        let mut got = Err(EAGAIN);
        wait(|| {
            got = listener.accept();
            !matches!(&got, Err(e) if *e == EAGAIN)
        })?;
        got
    }

    /// A connection that does not listen yet, and its other end.
    fn ear(census: &Census, port: u16) -> Result<(Arc<Ear>, Peer)> {
        let listener = listen(port)?;
        let peer = Peer::connect(port)?;
        let mut sock = accept(&listener)?;
        let reader = sock.reader().ok_or(EINVAL)?;
        check(sock.reader().is_none(), "nobody else reads it")?;
        let received = Received {
            reader,
            bytes: 0,
            sum: 0,
        };
        let ear = Arc::new(
            Ear {
                rx: SockCell::new(&sock, received),
                tx: SockCell::new(&sock, 0),
                sock,
                calls: Atomic::new(0),
                soft: Atomic::new(0),
                backlog: Atomic::new(0),
                shut: Atomic::new(0),
                twice: Atomic::new(0),
                changes: Atomic::new(0),
                _alive: census.birth(),
            },
            GFP_KERNEL,
        )?;
        Ok((ear, peer))
    }

    fn pair(census: &Census, port: u16) -> Result<Pair> {
        let (ear, peer) = ear(census, port)?;
        let peer = Arc::new(peer, GFP_KERNEL)?;
        let pair = Pair { ear, peer };
        check(pair.ear.sock.attach(pair.ear.clone()), "it stands")?;
        Ok(pair)
    }

    fn send_all(peer: &Peer, bytes: &[u8]) -> Result {
        let mut rest = bytes;
        wait(|| {
            if let Ok(n) = peer.send(rest) {
                rest = rest.get(n..).unwrap_or_default();
            }
            rest.is_empty()
        })
    }

    #[test]
    fn a_knock_for_each_connection() -> Result {
        let listener = listen(PORT)?;
        let bell = Arc::new(Bell(Atomic::new(0)), GFP_KERNEL)?;
        listener.arm(bell.clone());
        check(
            matches!(listener.accept::<Ear>(), Err(e) if e == EAGAIN),
            "nobody is there yet",
        )?;
        let peer = Peer::connect(PORT)?;
        wait(|| bell.0.load(Acquire) > 0)?;
        let mut sock = accept(&listener)?;
        let (local, _) = sock.names()?;
        check(local.port() == PORT, "it knows where it was reached")?;
        drop(sock);
        drop(listener);
        let mut byte = [0];
        wait(|| !matches!(peer.recv(&mut byte), Err(e) if e == EAGAIN))?;
        check(Peer::connect(PORT).is_err(), "nobody listens any more")?;
        check(
            Arc::into_unique_or_drop(bell).is_some(),
            "the bell is ours again",
        )
    }

    #[test]
    fn a_cell_opens_once_and_to_its_owner() -> Result {
        let census = Census::new()?;
        {
            let a = pair(&census, PORT)?;
            let b = pair(&census, PORT + 1)?;
            {
                let other = b.ear.sock.own();
                check(a.ear.rx.open(&other).is_none(), "not to another's owner")?;
            }
            let owner = a.ear.sock.own();
            let open = a.ear.rx.open(&owner);
            check(open.is_some(), "to its owner")?;
            check(a.ear.rx.open(&owner).is_none(), "but once at a time")?;
            check(a.ear.tx.open(&owner).is_some(), "and each by itself")?;
            drop(open);
            check(a.ear.rx.open(&owner).is_some(), "then again")?;
        }
        wait(|| census.living() == 0)
    }

    #[test]
    fn what_arrives_is_read_in_softirq() -> Result {
        let census = Census::new()?;
        {
            let pair = pair(&census, PORT)?;
            let bytes = [3u8; 5000];
            send_all(&pair.peer, &bytes)?;
            wait(|| pair.ear.received().0 == 5000)?;
            check(pair.ear.received().1 == 15000, "the bytes that were sent")?;
            let ear = &pair.ear;
            check(ear.soft.load(Acquire) > 0, "in softirq")?;
            check(ear.twice.load(Acquire) == 0, "no cell opens twice")?;
        }
        wait(|| census.living() == 0)
    }

    /// While a task owns the socket, softirqs do not; what arrives meanwhile is
    /// read when the task lets go, with the socket still its own.
    #[test]
    fn a_task_keeps_softirqs_out() -> Result {
        let census = Census::new()?;
        {
            let pair = pair(&census, PORT)?;
            let ear = &pair.ear;
            {
                let owner = ear.sock.own();
                let open = ear.rx.open(&owner);
                send_all(&pair.peer, &[1u8; 1000])?;
                let (mut tried, mut owned) = (false, true);
                kunit::in_softirq(|| {
                    tried = Context::here() == Context::Softirq;
                    owned = ear.sock.try_own().is_some();
                });
                check(tried, "a softirq has tried")?;
                check(!owned, "and does not become the owner")?;
                misc::sleep_ms(20);
                check(ear.calls.load(Acquire) == 0, "nothing calls")?;
                check(!owner.rx_pending(), "nothing is to be read")?;
                drop(open);
            }
            check(ear.backlog.load(Acquire) > 0, "read in the backlog")?;
            check(ear.soft.load(Acquire) == 0, "by the task that let go")?;
            check(ear.shut.load(Acquire) == 0, "which had shut the cell")?;
            wait(|| ear.received().0 == 1000)?;
            let mut owned = false;
            kunit::in_softirq(|| owned = ear.sock.try_own().is_some());
            check(owned, "now a softirq can be the owner")?;
        }
        wait(|| census.living() == 0)
    }

    /// What one owner counts, another one never counts over.
    #[test]
    fn tasks_and_softirqs_take_turns() -> Result {
        const EACH: u64 = 100;
        let census = Census::new()?;
        {
            let pair = pair(&census, PORT)?;
            let softs = Arc::new(Atomic::<u64>::new(0), GFP_KERNEL)?;
            let crowd = Crowd::new()?;
            for _ in 0..2 {
                let ear = pair.ear.clone();
                crowd.spawn(move || {
                    for _ in 0..EACH {
                        let owner = ear.sock.own();
                        if let Some(mut tx) = ear.tx.open(&owner) {
                            let before = *tx;
                            misc::sleep_us(20);
                            *tx = before + 1;
                        };
                    }
                })?;
                let (ear, softs) = (pair.ear.clone(), softs.clone());
                crowd.spawn(move || {
                    for _ in 0..EACH {
                        kunit::in_softirq(|| {
                            if let Some(owner) = ear.sock.try_own() {
                                if let Some(mut tx) = ear.tx.open(&owner) {
                                    *tx += 1;
                                    softs.fetch_add(1, Full);
                                };
                            }
                        });
                    }
                })?;
            }
            let peer = pair.peer.clone();
            crowd.spawn(move || {
                for _ in 0..EACH {
                    let _ = send_all(&peer, &[1u8; 10]);
                }
            })?;
            crowd.join()?;
            wait(|| pair.ear.received().0 == 10 * EACH)?;
            let owner = pair.ear.sock.own();
            let all = pair.ear.tx.open(&owner).map_or(0, |tx| *tx);
            check(
                all == 2 * EACH + softs.load(Acquire),
                "each turn was counted, so no two were at once",
            )?;
            check(pair.ear.twice.load(Acquire) == 0, "no cell opened twice")?;
        }
        wait(|| census.living() == 0)
    }

    /// A release that waits for a task with the socket, while packets wait for
    /// it, too: the backlog is run when that task lets go, before the release,
    /// and after it nothing calls.
    #[test]
    fn a_release_waits_for_the_owner() -> Result {
        let census = Census::new()?;
        for round in 0..20u16 {
            let pair = pair(&census, PORT)?;
            let crowd = Crowd::new()?;
            let ear = pair.ear.clone();
            let released = Arc::new(Atomic::<i32>::new(0), GFP_KERNEL)?;
            {
                let owner = pair.ear.sock.own();
                send_all(&pair.peer, &[1u8; 1000])?;
                let (theirs, done) = (ear.clone(), released.clone());
                crowd.spawn(move || {
                    theirs.sock.release(round % 2 == 0);
                    done.store(1, kernel::sync::atomic::Release);
                })?;
                misc::sleep_ms(5);
                check(released.load(Acquire) == 0, "it waits")?;
                check(ear.calls.load(Acquire) == 0, "nothing has called")?;
                drop(owner);
            }
            crowd.join()?;
            check(released.load(Acquire) == 1, "then it is done")?;
            check(ear.soft.load(Acquire) == 0, "no softirq has called")?;
            let calls = ear.calls.load(Acquire);
            check(calls == ear.backlog.load(Acquire), "the backlog has")?;
            let changes = ear.changes.load(Acquire);
            for _ in 0..50 {
                let _ = pair.peer.send(&[2u8; 64]);
            }
            misc::sleep_ms(2);
            check(
                ear.calls.load(Acquire) == calls && ear.changes.load(Acquire) == changes,
                "nothing calls any more",
            )?;
        }
        wait(|| census.living() == 0)
    }

    /// The one who has opened a cell keeps it while its own backlog is run.
    #[test]
    fn a_backlog_finds_an_open_cell_shut() -> Result {
        let census = Census::new()?;
        {
            let pair = pair(&census, PORT)?;
            let ear = pair.ear.clone();
            let owner = ear.sock.own();
            let mut rx = ear.rx.open(&owner);
            if let Some(rx) = rx.as_mut() {
                rx.bytes = 7;
            }
            send_all(&pair.peer, &[1u8; 100])?;
            misc::sleep_ms(20);
            let before = ear.shut.load(Acquire);
            // As a send does that takes long.
            owner.run_backlog();
            let nested = ear.shut.load(Acquire);
            check(nested > before, "it was found shut")?;
            check(
                rx.as_ref().is_some_and(|rx| rx.bytes == 7),
                "nobody else touched what is in it",
            )?;
            drop(rx);
            check(owner.rx_pending(), "what came is still there")?;
            ear.take(&owner);
            drop(owner);
            check(ear.received().0 == 107, "the owner reads what was left")?;
        }
        wait(|| census.living() == 0)
    }

    #[test]
    fn nothing_calls_after_release() -> Result {
        let census = Census::new()?;
        for round in 0..20u16 {
            let pair = pair(&census, PORT)?;
            let crowd = Crowd::new()?;
            let peer = pair.peer.clone();
            crowd.spawn(move || {
                for _ in 0..200 {
                    if matches!(peer.send(&[9u8; 64]), Err(e) if e != EAGAIN) {
                        break;
                    }
                }
            })?;
            misc::sleep_us(u32::from(round) * 37 + 10);
            pair.ear.sock.release(round % 2 == 0);
            let calls = pair.ear.calls.load(Acquire);
            crowd.join()?;
            check(
                pair.ear.calls.load(Acquire) == calls,
                "no callback any more",
            )?;
            // The second time it does nothing.
            pair.ear.sock.release(true);
        }
        wait(|| census.living() == 0)
    }

    /// What TCP keeps of a connection that has ended may outlive the module.
    #[test]
    fn one_that_is_released_calls_nobody_of_ours() -> Result {
        let census = Census::new()?;
        for abort in [false, true] {
            let pair = pair(&census, PORT)?;
            check(pair.ear.sock.calls_us(), "it calls the one who listens")?;
            pair.ear.sock.release(abort);
            check(!pair.ear.sock.calls_us(), "and nobody when it is released")?;
            let never = ear(&census, PORT + 1)?.0;
            never.sock.release(abort);
            check(!never.sock.calls_us(), "nor does one that nobody heard")?;
        }
        // One that was accepted from a listener with a bell has the bell's callback.
        let listener = listen(PORT)?;
        listener.arm(Arc::new(Bell(Atomic::new(0)), GFP_KERNEL)?);
        let _peer = Peer::connect(PORT)?;
        let sock = accept(&listener)?;
        check(sock.calls_us(), "it has that of the listener")?;
        sock.release(false);
        check(!sock.calls_us(), "until it is released")?;
        drop(sock);
        drop(listener);
        wait(|| census.living() == 0)
    }

    /// A connection may be ended before it listens to its socket, by those who have it
    /// on their list, and while it begins to.
    #[test]
    fn one_that_is_released_does_not_listen() -> Result {
        let census = Census::new()?;
        for round in 0..40u16 {
            let ear = ear(&census, PORT)?.0;
            let crowd = Crowd::new()?;
            let theirs = ear.clone();
            crowd.spawn(move || theirs.sock.release(true))?;
            if round % 4 == 0 {
                crowd.join()?;
                check(!ear.sock.attach(ear.clone()), "it stands no more")?;
            } else {
                misc::sleep_us(u32::from(round));
                let _ = ear.sock.attach(ear.clone());
                crowd.join()?;
            }
            check(
                !ear.sock.attach(ear.clone()),
                "nor does it begin to afterwards",
            )?;
        }
        wait(|| census.living() == 0)
    }

    #[test]
    fn what_is_sent_arrives_as_it_was() -> Result {
        let census = Census::new()?;
        {
            let pair = pair(&census, PORT)?;
            let mut gather = Gather::new(16)?;
            let mut sent = 0u64;
            let mut got = 0u64;
            let mut sum = 0u64;
            let mut buf = KVec::from_elem(0u8, 8192, GFP_KERNEL)?;
            for round in 0..64u8 {
                check(gather.push_bytes(&[round; 200]), "there is room")?;
                sent += u64::from(round) * 200;
                wait(|| {
                    let owner = pair.ear.sock.own();
                    let all = owner.send(&mut gather, false).is_ok();
                    drop(owner);
                    if let Ok(n) = pair.peer.recv(&mut buf) {
                        got += n as u64;
                        sum += buf.iter().take(n).map(|b| u64::from(*b)).sum::<u64>();
                    }
                    all
                })?;
                gather.clear();
            }
            wait(|| {
                if let Ok(n) = pair.peer.recv(&mut buf) {
                    got += n as u64;
                    sum += buf.iter().take(n).map(|b| u64::from(*b)).sum::<u64>();
                }
                got == 64 * 200
            })?;
            check(sum == sent, "the bytes that were gathered")?;
        }
        wait(|| census.living() == 0)
    }

    #[test]
    fn a_listener_without_memory_is_refused() -> Result {
        // The kernel has more than one word for it (ENFILE without an inode).
        let seen = kunit::each_failure(|| listen(PORT), || Ok(()))?;
        check(seen.refused > 0, "some allocation is refused")?;
        let bell = Arc::new(Bell(Atomic::new(0)), GFP_KERNEL)?;
        listen(PORT)?.arm(bell.clone());
        check(
            Arc::into_unique_or_drop(bell).is_some(),
            "and the next one listens",
        )
    }
}
