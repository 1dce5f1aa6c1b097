// SPDX-License-Identifier: GPL-2.0

//! What somebody waits for who must not wait for ever.

#[kernel::macros::kunit_tests(ferrite_errand)]
mod tests {
    use super::super::{
        check,
        wait,
        Alive,
        Census,
        Crowd, //
    };
    use crate::sys::{
        errand,
        kunit,
        misc, //
    };
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                Acquire,
                Atomic,
                Full,
                Release, //
            },
            Arc, //
        }, //
    };

    #[test]
    fn a_result_comes_back() -> Result {
        let census = Census::new()?;
        let alive = census.birth();
        let (back, alive): (u32, Alive) = errand::run(60_000, move || (42, alive))?;
        check(back == 42 && census.living() == 1, "what was returned")?;
        drop(alive);
        check(census.living() == 0, "once")
    }

    #[test]
    fn who_waits_in_vain_waits_no_longer() -> Result {
        let census = Census::new()?;
        let stop = Arc::new(Atomic::<i32>::new(0), GFP_KERNEL)?;
        let (alive, theirs) = (census.birth(), stop.clone());
        let before = misc::now_ms();
        let result = errand::run(50, move || {
            while theirs.load(Acquire) == 0 {
                misc::sleep_ms(1);
            }
            alive
        });
        let took = misc::now_ms().saturating_sub(before);
        check(
            result.err() == Some(errand::late()),
            "it is said to be late",
        )?;
        check(
            (50..30_000).contains(&took),
            "after the time that was given",
        )?;
        check(census.living() == 1, "it goes on by itself")?;
        stop.store(1, Release);
        wait(|| census.living() == 0)
    }

    /// A result that comes at the deadline goes to the one who waits or is
    /// dropped, and never both.
    #[test]
    fn a_result_at_the_deadline_has_one_owner() -> Result {
        const ROUNDS: u32 = 60;
        let census = Census::new()?;
        let returned = Arc::new(Atomic::<u32>::new(0), GFP_KERNEL)?;
        let lost = Arc::new(Atomic::<u32>::new(0), GFP_KERNEL)?;
        let crowd = Crowd::new()?;
        for worker in 0..3u32 {
            let (census, returned, lost) = (census.clone(), returned.clone(), lost.clone());
            crowd.spawn(move || {
                for round in 0..ROUNDS {
                    let alive = census.birth();
                    let us = 500 * ((round + worker) % 40) + 10;
                    match errand::run(10, move || {
                        misc::sleep_us(us);
                        alive
                    }) {
                        Ok(_alive) => returned.fetch_add(1, Full),
                        Err(_) => lost.fetch_add(1, Full),
                    };
                }
            })?;
        }
        crowd.join()?;
        wait(|| census.living() == 0)?;
        let both = returned.load(Acquire) + lost.load(Acquire);
        check(both == 3 * ROUNDS, "each was told one thing")
    }

    #[test]
    fn without_memory_it_does_not_begin() -> Result {
        let census = Census::new()?;
        let begun = Arc::new(Atomic::<u32>::new(0), GFP_KERNEL)?;
        let seen = kunit::each_failure(
            || {
                let (alive, begun) = (census.birth(), begun.clone());
                errand::run(60_000, move || {
                    begun.fetch_add(1, Full);
                    drop(alive);
                })
            },
            || wait(|| census.living() == 0),
        )?;
        check(seen.sites >= 2, "the errand and its work are allocated")?;
        check(seen.other == 0, "what fails says ENOMEM")?;
        check(
            begun.load(Acquire) == seen.managed + 1,
            "what was refused has not run",
        )
    }
}
