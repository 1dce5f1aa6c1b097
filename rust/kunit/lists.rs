// SPDX-License-Identifier: GPL-2.0

//! Lists that any context pushes to, numbers of each CPU, work on the queues.

#[kernel::macros::kunit_tests(ferrite_lists)]
mod tests {
    use super::super::{
        check,
        wait,
        Alive,
        Census,
        Crowd, //
    };
    use crate::sys::{
        kunit,
        llist::{
            Fifo,
            Mailbox, //
        },
        owned::Owned,
        percpu::PerCpu,
        work, //
    };
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Full, //
            },
            Arc, //
        }, //
    };

    /// Who pushed it, and as what number of its own.
    struct Tag {
        by: u32,
        number: u32,
        _alive: Option<Alive>,
    }

    type Box = Mailbox<Tag, u64>;

    fn parcel(by: u32, number: u32) -> Result<Owned<Tag, u64>> {
        let tag = Tag {
            by,
            number,
            _alive: None,
        };
        Ok(Owned::new(tag, 0u64, GFP_KERNEL)?)
    }

    fn counted(census: &Census, number: u32) -> Result<Owned<Tag, u64>> {
        let tag = Tag {
            by: 0,
            number,
            _alive: Some(census.birth()),
        };
        Ok(Owned::new(tag, 0u64, GFP_KERNEL)?)
    }

    /// What is recycled is dropped at once, and what is built in its memory is new.
    #[test]
    fn what_is_recycled_is_dropped_once() -> Result {
        let census = Census::new()?;
        for round in 0..100 {
            let first = counted(&census, round)?;
            let seen = first.share();
            let (second, mut third) = (counted(&census, 1)?, counted(&census, 2)?);
            *third.get() = 7;
            first.recycle();
            check(seen.number == round, "who has a reference keeps it")?;
            drop(seen);
            second.recycle();
            third.recycle();
            let again = counted(&census, round)?;
            check(*again.peek() == 0, "nothing is left of the last one")?;
        }
        Owned::<Tag, u64>::tidy(true);
        check(census.living() == 0, "each was dropped once")
    }

    #[test]
    fn what_is_taken_is_in_the_order_of_pushes() -> Result {
        let list = Box::new();
        check(list.is_empty(), "a new list is empty")?;
        for n in 0..100 {
            let was_empty = list.push(parcel(0, n)?);
            check(was_empty == (n == 0), "only the first finds it empty")?;
        }
        for (n, owned) in list.take().enumerate() {
            check(owned.shared().number as usize == n, "the oldest first")?;
        }
        check(list.is_empty(), "all was taken")
    }

    #[test]
    fn each_is_taken_once_whoever_pushes() -> Result {
        const EACH: u32 = 2000;
        const PUSHERS: u32 = 4;
        let list = Arc::new(Box::new(), GFP_KERNEL)?;
        let firsts = Arc::new(Atomic::<u32>::new(0), GFP_KERNEL)?;
        let failed = Arc::new(Atomic::<i32>::new(0), GFP_KERNEL)?;
        let crowd = Crowd::new()?;
        for by in 0..PUSHERS {
            let (list, firsts, failed) = (list.clone(), firsts.clone(), failed.clone());
            crowd.spawn(move || {
                for n in 0..EACH {
                    match parcel(by, n) {
                        Ok(owned) => {
                            if list.push(owned) {
                                firsts.fetch_add(1, Full);
                            }
                        }
                        Err(_) => {
                            failed.store(1, kernel::sync::atomic::Relaxed);
                        }
                    }
                }
            })?;
        }
        let mut next = [0u32; PUSHERS as usize];
        let mut takes = 0u32;
        let mut all = 0u32;
        let mut in_order = true;
        wait(|| {
            let mut some = false;
            for owned in list.take() {
                some = true;
                all += 1;
                let tag = owned.shared();
                match next.get_mut(tag.by as usize) {
                    Some(next) if *next == tag.number => *next += 1,
                    _ => in_order = false,
                }
            }
            takes += u32::from(some);
            all == EACH * PUSHERS
        })?;
        crowd.join()?;
        check(failed.load(kernel::sync::atomic::Relaxed) == 0, "memory")?;
        check(in_order, "of one who pushes, the oldest first")?;
        check(
            firsts.load(kernel::sync::atomic::Relaxed) == takes,
            "one push for each take has found the list empty",
        )
    }

    #[test]
    fn interrupts_push_while_tasks_take() -> Result {
        const EACH: u32 = 300;
        let list = Arc::new(Box::new(), GFP_KERNEL)?;
        let cpus = kunit::cpus();
        let crowd = Crowd::new()?;
        for cpu in 0..cpus {
            let list = list.clone();
            crowd.spawn(move || {
                for n in 0..EACH {
                    let Ok(owned) = parcel(cpu, n) else { continue };
                    let mut owned = Some(owned);
                    let _ = kunit::in_hardirq(cpu, || {
                        if let Some(owned) = owned.take() {
                            list.push(owned);
                        }
                    });
                }
            })?;
        }
        let mut all = 0;
        wait(|| {
            all += list.take().count() as u32;
            all == cpus * EACH
        })?;
        crowd.join()?;
        check(list.is_empty(), "nothing came twice")
    }

    #[test]
    fn what_is_not_taken_is_dropped() -> Result {
        let census = Census::new()?;
        {
            let list = Box::new();
            for n in 0..10 {
                list.push(counted(&census, n)?);
            }
            let mut chain = list.take();
            drop(chain.next());
            check(census.living() == 9, "one is gone")?;
            drop(chain);
            check(census.living() == 0, "a chain drops what is in it")?;
            list.push(counted(&census, 0)?);
        }
        check(census.living() == 0, "a list drops what is in it")?;
        {
            let mut fifo = Fifo::new();
            fifo.push(counted(&census, 1)?);
            fifo.push(counted(&census, 2)?);
            fifo.push_front(counted(&census, 0)?);
            check(fifo.front().is_some_and(|t| t.number == 0), "the front")?;
            check(
                fifo.pop().is_some_and(|o| o.shared().number == 0),
                "first out",
            )?;
            check(
                fifo.pop().is_some_and(|o| o.shared().number == 1),
                "then the next",
            )?;
            check(!fifo.is_empty() && census.living() == 1, "one is left")?;
        }
        check(census.living() == 0, "a queue drops what is in it")
    }

    #[test]
    fn a_shared_part_outlives_its_owner() -> Result {
        let census = Census::new()?;
        let owned = counted(&census, 7)?;
        let seen = owned.share();
        drop(owned);
        check(
            seen.number == 7 && census.living() == 1,
            "who looks keeps it",
        )?;
        drop(seen);
        check(census.living() == 0, "and who looks last frees it")
    }

    #[test]
    fn one_work_runs_again_and_again() -> Result {
        const ROUNDS: u64 = 200;
        const MANY: u32 = 16;
        fn round(mut owned: Owned<Tag, u64>) {
            let count = owned.get();
            *count += 1;
            if *count < ROUNDS {
                // Its work is the one that runs just now.
                work::slow(owned, round);
            }
        }
        let census = Census::new()?;
        for n in 0..MANY {
            work::slow(counted(&census, n)?, round);
        }
        wait(|| census.living() == 0)
    }

    #[test]
    fn numbers_of_each_cpu_add_up() -> Result {
        const EACH: u64 = 1000;
        let numbers = Arc::new(PerCpu::<3>::new()?, GFP_KERNEL)?;
        let cpus = kunit::cpus();
        let crowd = Crowd::new()?;
        for cpu in 0..cpus {
            let (of_irqs, of_tasks) = (numbers.clone(), numbers.clone());
            crowd.spawn(move || {
                for _ in 0..EACH {
                    let _ = kunit::in_hardirq(cpu, || of_irqs.add(0, 1));
                    of_irqs.add(1, 2);
                }
            })?;
            crowd.spawn(move || {
                let numbers = of_tasks;
                let _ = kunit::on_cpu(cpu, || (0..EACH).for_each(|_| numbers.add(0, 1)));
            })?;
        }
        crowd.join()?;
        let cpus = u64::from(cpus);
        check(numbers.sum(0) == 2 * EACH * cpus, "the first number")?;
        check(numbers.sum(1) == 2 * EACH * cpus, "the second number")?;
        check(numbers.sum(2) == 0, "the third number")?;
        numbers.add(3, 1);
        check(numbers.sum(3) == 0, "there is no fourth")?;
        numbers.add(2, u64::MAX);
        numbers.add(2, 2);
        check(numbers.sum(2) == 1, "they wrap")
    }
}
