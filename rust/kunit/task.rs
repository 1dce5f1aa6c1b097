// SPDX-License-Identifier: GPL-2.0

//! Tasks that are aborted, lost and completed at the same time, and who waits
//! for their end.

#[kernel::macros::kunit_tests(ferrite_task)]
mod tests {
    use super::super::{
        check,
        wait,
        Alive,
        Census,
        Crowd, //
    };
    use crate::{
        parcel::{
            Coming,
            Entry,
            Found,
            Parcel, //
        },
        proto::{
            login::params::{
                ConnParams,
                SessionParams, //
            },
            name::IscsiName,
            scsi::{
                device::ModeState,
                Sense, //
            },
            serial::Sn,
            wire::TmResponse, //
        },
        session::{
            Admission,
            ConnFacts,
            Identity,
            Session,
            Why, //
        },
        sys::{
            kunit,
            llist::Mailbox,
            work, //
        },
        target::Targets,
        task::{
            self,
            Body,
            Head,
            Link,
            Outcome,
            Reassignment,
            Task,
            Verb, //
        },
        tmf::{
            Answer,
            Waiter, //
        }, //
    };
    use core::{
        cell::Cell,
        net::{
            IpAddr,
            Ipv4Addr,
            SocketAddr, //
        }, //
    };
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                Acquire,
                Atomic,
                Full, //
            },
            Arc, //
        }, //
    };

    const DEPTH: u32 = 64;

    /// A connection of which only the done list is there.
    struct Wire {
        id: u64,
        done: Mailbox<Head, Body>,
        answers: Atomic<u32>,
        rejected: Atomic<u32>,
        _alive: Alive,
    }

    impl Link for Wire {
        fn done(self: Arc<Self>, task: Task) {
            self.done.push(task);
        }
        fn answered(self: Arc<Self>, waiter: Arc<Waiter>) {
            if waiter.response() == TmResponse::FunctionRejected {
                self.rejected.fetch_add(1, Full);
            }
            self.answers.fetch_add(1, Full);
        }
        fn will_submit(&self) {}
        fn owes_ack(&self) -> bool {
            false
        }
        fn pay_ack(self: Arc<Self>) {}
        fn sweep(self: Arc<Self>) {}
        fn window_moved(self: Arc<Self>) {}
        fn close(self: Arc<Self>, _why: Why) {}
        fn announce(self: Arc<Self>, _why: Why) {}
        fn request_logout(self: Arc<Self>, _seconds: u16) {}
        fn scsi_event(self: Arc<Self>, _lun: u64, _sense: Sense) {}
        fn request_due(self: Arc<Self>) {}
        fn fence_passed(self: Arc<Self>, _waiter: Arc<Waiter>) {}
        fn solicit(self: Arc<Self>) {}
        fn stat_sn(&self) -> Sn {
            Sn(0)
        }
        fn acknowledged(&self) -> Sn {
            Sn(0)
        }
        fn is_ending(&self) -> bool {
            false
        }
        fn id(&self) -> u64 {
            self.id
        }
        fn give_up(self: Arc<Self>) {}
        fn hand_over(self: Arc<Self>, _request: Reassignment) {}
        fn take_over(self: Arc<Self>, _parcel: Parcel) {}
        fn reassigned(self: Arc<Self>, _itt: u32, _found: Found) -> Option<KBox<Entry>> {
            None
        }
    }

    /// A session with one connection.
    struct Rig {
        session: Arc<Session>,
        wire: Arc<Wire>,
        link: Arc<dyn Link>,
    }

    fn identity(cmd_sn: u32) -> Result<Identity> {
        Ok(Identity {
            initiator: IscsiName::parse(b"iqn.2026-11.test:kunit").map_err(|_| EINVAL)?,
            alias: KVec::new(),
            isid: [0, 0, 0, 0, 0, 1],
            tsih: 1,
            discovery: false,
            tpg: None,
            tally: None,
            acl: None,
            params: SessionParams::RFC_DEFAULT,
            depth: DEPTH,
            share: super::super::share()?,
            cmd_sn: Sn(cmd_sn),
        })
    }

    impl Rig {
        fn new(census: &Census, cmd_sn: u32) -> Result<Self> {
            let session = Session::new(identity(cmd_sn)?)?;
            let wire = Arc::new(
                Wire {
                    // Those of true connections count from 1.
                    id: u64::MAX,
                    done: Mailbox::new(),
                    answers: Atomic::new(0),
                    rejected: Atomic::new(0),
                    _alive: census.birth(),
                },
                GFP_KERNEL,
            )?;
            let link: Arc<dyn Link> = wire.clone();
            let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), 3260);
            let facts = ConnFacts {
                peer: addr,
                local: addr,
                params: ConnParams::RFC_DEFAULT,
            };
            check(session.join(1, facts, link.clone()), "the connection joins")?;
            Ok(Self {
                session,
                wire,
                link,
            })
        }

        fn task(&self, itt: u32, cmd_sn: Sn) -> Result<Task> {
            let head = Head::new(
                itt,
                0,
                cmd_sn,
                false,
                self.session.clone(),
                self.link.clone(),
                None,
                None,
            );
            let body = Body::new(Verb::Refused(Outcome::GOOD), 0, false);
            Ok(Task::new(head, body, GFP_KERNEL)?)
        }

        fn admitted(&self, itt: u32, cmd_sn: Sn) -> Result<Task> {
            let task = self.task(itt, cmd_sn)?;
            check(
                self.session.admit(&task) == Admission::Now,
                "the window has room",
            )?;
            Ok(task)
        }

        /// As the transmit path does: takes what has run, and ends it.
        fn retire_done(&self) -> u32 {
            let mut count = 0;
            for mut task in self.wire.done.take() {
                self.session.retire(&mut task);
                count += 1;
            }
            count
        }

        fn waiter(&self) -> Result<Arc<Waiter>> {
            Waiter::new(self.link.clone(), 0, false, Answer::Function, None)
        }

        /// Nothing is under way, and the whole window is open from `cmd_sn` on.
        fn check_idle(&self, cmd_sn: Sn) -> Result {
            check(self.session.is_idle(), "no task is listed")?;
            let (exp, max) = self.session.command_numbers();
            check(exp == cmd_sn, "the next command")?;
            check(max == cmd_sn.add(DEPTH).prev(), "all places are free")
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            self.session.leave(&self.link);
            drop(self.wire.done.take());
        }
    }

    /// The completion of each task races with an abort of all. Each is ended
    /// once, those who wait are told once, the window is open again, and nothing
    /// is left.
    #[test]
    fn abort_and_completion_end_a_task_once() -> Result {
        let census = Census::new()?;
        {
            let mut sn = Sn(u32::MAX - 100);
            let rig = Arc::new(Rig::new(&census, sn.0)?, GFP_KERNEL)?;
            for round in 0..60u32 {
                let crowd = Crowd::new()?;
                let tasks = Mailbox::new();
                for n in 0..DEPTH {
                    tasks.push(rig.admitted(n, sn)?);
                    sn = sn.next();
                }
                check(
                    rig.session.admit(&rig.task(DEPTH, sn)?) == Admission::Ignore,
                    "the window is closed",
                )?;
                let waiter = rig.waiter()?;
                let before = rig.wire.answers.load(Acquire);
                crowd.spawn(move || {
                    for task in tasks.take() {
                        task::finish(task, Outcome::GOOD);
                    }
                })?;
                let theirs = rig.clone();
                crowd.spawn(move || {
                    let tell = round % 2 == 0;
                    theirs
                        .session
                        .abort_tasks(Some(&waiter), tell, &|h| h.itt % 3 != 0);
                    Waiter::one_ended(&waiter);
                })?;
                let mut ended = 0;
                wait(|| {
                    ended += rig.retire_done();
                    ended >= DEPTH
                })?;
                crowd.join()?;
                check(ended == DEPTH && rig.retire_done() == 0, "each ended once")?;
                check(
                    rig.wire.answers.load(Acquire) == before + 1,
                    "the function was answered once",
                )?;
                rig.check_idle(sn)?;
            }
            check(rig.wire.rejected.load(Acquire) == 0, "none was rejected")?;
        }
        wait(|| census.living() == 0)
    }

    /// The same when the connection is lost, too.
    #[test]
    fn a_lost_task_is_lost_once() -> Result {
        let census = Census::new()?;
        {
            let mut sn = Sn(1);
            let rig = Arc::new(Rig::new(&census, sn.0)?, GFP_KERNEL)?;
            for _ in 0..60u32 {
                let crowd = Crowd::new()?;
                let tasks = Mailbox::new();
                let seen = Mailbox::new();
                for n in 0..DEPTH {
                    let task = rig.admitted(n, sn)?;
                    let head = task.share();
                    tasks.push(task);
                    seen.push(crate::sys::owned::Owned::new(head, (), GFP_KERNEL)?);
                    sn = sn.next();
                }
                let (a, b) = (rig.clone(), rig.clone());
                crowd.spawn(move || a.session.lose(&a.link))?;
                crowd.spawn(move || {
                    b.session.abort_tasks(None, true, &|_| true);
                    b.session.abort_tasks(None, false, &|_| true);
                })?;
                crowd.spawn(move || {
                    for task in tasks.take() {
                        task::finish(task, Outcome::GOOD);
                    }
                })?;
                let mut ended = 0;
                wait(|| {
                    ended += rig.retire_done();
                    ended >= DEPTH
                })?;
                crowd.join()?;
                for head in seen.take() {
                    let head = head.shared();
                    check(
                        !head.is_lost() || head.is_silent() && !head.lose(true),
                        "what is lost stays lost",
                    )?;
                }
                rig.check_idle(sn)?;
            }
        }
        wait(|| census.living() == 0)
    }

    /// The same command again is ignored. What was lost with its connection keeps neither
    /// its tag nor, if it was not delivered, its number, and changes nothing when it ends.
    #[test]
    fn a_lost_task_makes_room_at_once() -> Result {
        let census = Census::new()?;
        {
            let rig = Rig::new(&census, 10)?;
            let mut disk = rig.admitted(0, Sn(10))?;
            let again = rig.session.admit(&rig.task(0, Sn(10))?);
            check(again == Admission::Ignore, "the same command again")?;
            let other = rig.session.admit(&rig.task(0, Sn(11))?);
            check(other == Admission::InProgress, "another one with its tag")?;
            let mut early = rig.task(1, Sn(12))?;
            let early_is = rig.session.admit(&early);
            check(early_is == Admission::Hold, "one that is not due")?;
            let again = rig.session.admit(&rig.task(1, Sn(12))?);
            check(again == Admission::Ignore, "and again")?;
            rig.session.lose(&rig.link);

            let mut early_again = rig.task(1, Sn(12))?;
            let again = rig.session.admit(&early_again);
            check(again == Admission::Hold, "it comes again")?;
            rig.session.retire(&mut early);
            let mut due = rig.admitted(0, Sn(11))?;
            let (exp, _) = rig.session.command_numbers();
            check(exp == Sn(13), "both are delivered")?;
            rig.session.retire(&mut disk);
            rig.session.retire(&mut early_again);
            rig.session.retire(&mut due);
            rig.check_idle(Sn(13))?;
        }
        wait(|| census.living() == 0)
    }

    /// A task whose initiator was told that it goes to another connection gets there.
    #[test]
    fn tasks_are_handed_on_without_memory() -> Result {
        let census = Census::new()?;
        {
            let rig = Rig::new(&census, 1)?;
            let (a, b) = (rig.admitted(0, Sn(1))?, rig.admitted(1, Sn(2))?);
            let mut coming = Coming::new();
            let ((), failed) = kunit::failing(1, || {
                coming.push(Parcel::Finished(a));
                coming.push(Parcel::Collecting(b));
            });
            check(!failed, "nothing is allocated")?;
            let mut count = 0;
            while let Some(Parcel::Collecting(mut task) | Parcel::Finished(mut task)) = coming.pop()
            {
                rig.session.retire(&mut task);
                count += 1;
            }
            check(count == 2, "both are there")?;
            rig.check_idle(Sn(3))?;
        }
        wait(|| census.living() == 0)
    }

    #[test]
    fn interrupts_complete_tasks() -> Result {
        let census = Census::new()?;
        {
            let mut sn = Sn(7);
            let rig = Rig::new(&census, sn.0)?;
            for n in 0..DEPTH {
                let mut task = Some(rig.admitted(n, sn)?);
                sn = sn.next();
                kunit::in_hardirq(n % kunit::cpus(), || {
                    if let Some(task) = task.take() {
                        task::finish(task, Outcome::GOOD);
                    }
                })?;
            }
            check(rig.retire_done() == DEPTH, "all came back")?;
            rig.check_idle(sn)?;
        }
        wait(|| census.living() == 0)
    }

    /// Work that goes from one queue to the next, while somebody aborts it.
    #[test]
    fn tasks_on_the_slow_queue_come_back() -> Result {
        fn hop(mut task: Task) {
            let hops = task.get().data_in;
            if hops == 0 || task.shared().is_aborted() {
                return task::finish(task, Outcome::GOOD);
            }
            task.get().data_in = hops - 1;
            task::aside(task, hop);
        }
        let census = Census::new()?;
        {
            let mut sn = Sn(0);
            let rig = Rig::new(&census, sn.0)?;
            for _ in 0..20 {
                for n in 0..DEPTH {
                    let mut task = rig.admitted(n, sn)?;
                    sn = sn.next();
                    task.get().data_in = 5 + n as usize % 20;
                    work::slow(task, hop);
                }
                let waiter = rig.waiter()?;
                let before = rig.wire.answers.load(Acquire);
                rig.session
                    .abort_tasks(Some(&waiter), false, &|h| h.itt % 2 == 0);
                Waiter::one_ended(&waiter);
                let mut ended = 0;
                wait(|| {
                    ended += rig.retire_done();
                    ended >= DEPTH
                })?;
                check(
                    rig.wire.answers.load(Acquire) == before + 1,
                    "the function was answered once",
                )?;
                rig.check_idle(sn)?;
            }
        }
        wait(|| census.living() == 0)
    }

    /// Those who wait are told when a task is settled, and not again when it is
    /// retired.
    #[test]
    fn settled_and_retired_tell_once() -> Result {
        let census = Census::new()?;
        {
            let rig = Rig::new(&census, 1)?;
            let mut task = rig.admitted(5, Sn(1))?;
            let waiter = rig.waiter()?;
            rig.session.wait_for(&waiter, &|_| true);
            Waiter::one_ended(&waiter);
            check(!waiter.is_answered(), "it waits")?;
            rig.session.settle(task.shared());
            check(waiter.is_answered(), "it is told")?;
            let late = rig.waiter()?;
            rig.session.wait_for(&late, &|h| h.itt == 5);
            Waiter::one_ended(&late);
            check(!late.is_answered(), "who comes later waits for the end")?;
            rig.session.settle(task.shared());
            rig.session.retire(&mut task);
            check(rig.wire.answers.load(Acquire) == 2, "one answer each")?;
            let none = rig.waiter()?;
            rig.session.wait_for(&none, &|_| true);
            Waiter::one_ended(&none);
            check(none.is_answered(), "nothing is left to wait for")?;
            drop(task);
            rig.check_idle(Sn(2))?;
        }
        wait(|| census.living() == 0)
    }

    /// Tasks that wait for one before them, while it comes and while the session
    /// ends.
    #[test]
    fn held_tasks_go_on_or_go_with_the_session() -> Result {
        let census = Census::new()?;
        for end in [false, true] {
            for _ in 0..30 {
                let rig = Arc::new(Rig::new(&census, 10)?, GFP_KERNEL)?;
                let crowd = Crowd::new()?;
                let tasks = Mailbox::new();
                for n in 1..DEPTH {
                    let task = rig.task(n, Sn(10 + n))?;
                    check(
                        rig.session.admit(&task) == Admission::Hold,
                        "one before it is missing",
                    )?;
                    tasks.push(task);
                }
                let back = Arc::new(Atomic::<u32>::new(0), GFP_KERNEL)?;
                let (a, theirs) = (rig.clone(), back.clone());
                crowd.spawn(move || {
                    for task in tasks.take() {
                        if let Some(task) = a.session.hold(task) {
                            theirs.fetch_add(1, Full);
                            task::finish(task, Outcome::GOOD);
                        }
                    }
                })?;
                if end {
                    let b = rig.clone();
                    crowd.spawn(move || b.session.leave(&b.link))?;
                } else {
                    // The one that was missing.
                    task::finish(rig.admitted(0, Sn(10))?, Outcome::GOOD);
                }
                crowd.join()?;
                while let Some(task) = rig.session.unhold() {
                    task::finish(task, Outcome::GOOD);
                }
                let ended = rig.retire_done();
                if end {
                    check(ended <= DEPTH, "no task ends twice")?;
                    check(rig.session.is_idle(), "none is left")?;
                } else {
                    check(ended == DEPTH, "all went on")?;
                    rig.check_idle(Sn(10 + DEPTH))?;
                }
            }
        }
        wait(|| census.living() == 0)
    }

    /// A function may not claim that it has seen the end of a task for which it
    /// could not wait.
    #[test]
    fn without_memory_to_wait_a_function_is_rejected() -> Result {
        let census = Census::new()?;
        {
            let rig = Rig::new(&census, 1)?;
            let mut task = rig.admitted(1, Sn(1))?;
            let waiter = rig.waiter()?;
            let (met, failed) = kunit::failing(1, || {
                rig.session.abort_tasks(Some(&waiter), false, &|_| true)
            });
            check(failed && met.found == 0, "it was not marked")?;
            Waiter::one_ended(&waiter);
            check(waiter.is_answered(), "it is answered at once")?;
            check(rig.wire.rejected.load(Acquire) == 1, "and rejected")?;
            rig.session.retire(&mut task);
            drop(task);
            rig.check_idle(Sn(2))?;
        }
        wait(|| census.living() == 0)
    }

    /// However long a disk keeps a task, and however often somebody tries to abort it, what
    /// is remembered of that has a limit.
    #[test]
    fn not_too_many_wait_for_one_task() -> Result {
        let census = Census::new()?;
        {
            let rig = Rig::new(&census, 1)?;
            let mut task = rig.admitted(1, Sn(1))?;
            for _ in 0..3 {
                let mut all = KVec::new();
                loop {
                    let waiter = rig.waiter()?;
                    rig.session.wait_for(&waiter, &|_| true);
                    if waiter.has_failed() {
                        break;
                    }
                    all.push(waiter, GFP_KERNEL)?;
                    check(all.len() <= 1000, "some day there are too many")?;
                }
                check(all.len() >= 128, "as many as one connection may have")?;
                // Their time is up, and that makes room for others.
                for waiter in all.iter() {
                    Waiter::expire(waiter, u64::MAX);
                }
            }
            rig.session.retire(&mut task);
            drop(task);
            rig.check_idle(Sn(2))?;
        }
        wait(|| census.living() == 0)
    }

    /// Of all the commands that fail until somebody begins to abort the others' one has to see
    /// to that, and it is known whose own are to be spared.
    #[test]
    fn failures_are_noted_once() -> Result {
        let targets = Targets::new()?;
        let device = targets.create_device(0, b"disk")?;
        for _ in 0..2 {
            check(device.note_failure(1), "the first sees to it")?;
            check(!device.note_failure(1), "the second need not")?;
            check(device.take_failure() == 1, "both are of one session")?;
            check(device.note_failure(2), "what comes then is noted anew")?;
            check(!device.note_failure(1), "another one's is, too")?;
            check(!device.note_failure(2), "the first need not again")?;
            let whose = device.take_failure();
            check(whose > 2, "there were several, of whom none is spared")?;
        }
        targets.remove_device(&device);
        Ok(())
    }

    /// Of two MODE SELECTs at the same moment the one that comes second has to look again at
    /// what the first one has left.
    #[test]
    fn a_mode_select_does_not_undo_another() -> Result {
        let targets = Targets::new()?;
        let device = targets.create_device(0, b"disk")?;
        let mode = || device.with_info(false, |info| info.mode);
        let seen = mode();
        let first = ModeState {
            software_write_protect: true,
            ..seen
        };
        let second = ModeState {
            descriptor_sense: true,
            ..seen
        };
        check(device.set_mode(&seen, first), "the first is put in place")?;
        check(!device.set_mode(&seen, second), "the second is not")?;
        check(mode() == first, "and the first stays")?;
        let both = ModeState {
            descriptor_sense: true,
            ..first
        };
        check(device.set_mode(&first, both), "once it has looked it is")?;
        check(mode() == both, "beside the first")?;
        targets.remove_device(&device);
        Ok(())
    }

    /// Two logins that look for a TSIH at the same moment do not find the same.
    #[test]
    fn a_tsih_is_found_by_one_login() -> Result {
        let targets = Targets::new()?;
        let other = Cell::new(None);
        let free = |tsih| tsih > 10;
        let one = targets.next_tsih(|tsih| {
            if other.get().is_none() {
                other.set(targets.next_tsih(free));
            }
            free(tsih)
        });
        check(one.is_some() && other.get().is_some(), "both find one")?;
        check(one != other.get(), "each its own")
    }

    #[test]
    fn sessions_and_tasks_without_memory() -> Result {
        let census = Census::new()?;
        let seen = kunit::each_failure(|| Session::new(identity(1)?), || Ok(()))?;
        check(seen.sites >= 4, "its lists, its numbers, itself")?;
        check(seen.refused >= 4 && seen.other == 0, "each is needed")?;
        {
            let rig = Rig::new(&census, 1)?;
            let seen = kunit::each_failure(|| rig.task(1, Sn(1)), || Ok(()))?;
            check(
                seen.refused > 0 && seen.other == 0,
                "without memory there is no task",
            )?;
            let task = rig.task(2, Sn(2))?;
            check(rig.session.admit(&task) == Admission::Hold, "it waits")?;
            let (back, failed) = kunit::failing(1, || rig.session.hold(task));
            check(failed, "the list of those who wait is allocated")?;
            let mut task = back.ok_or(ENOENT)?;
            rig.session.retire(&mut task);
        }
        wait(|| census.living() == 0)
    }
}
