// SPDX-License-Identifier: GPL-2.0

//! What a SNACK may ask for (RFC 7143 section 11.16).
//!
//! A target at ErrorRecoveryLevel 1 keeps what it has sent until it is
//! acknowledged, within limits. [`Retained`] tells what is kept, [`Run`] what of
//! it is asked for.

use crate::proto::{
    serial::Sn,
    wire::RejectReason, //
};

/// Consecutive numbers that a SNACK names: `count` of them from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first number.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Run {
    /// What BegRun and RunLength stand for where the numbers from `oldest` to
    /// the one before `next` have been sent and not acknowledged.
    ///
    /// # Errors
    ///
    /// "Any SNACK that requests a numbered response, data, or R2T that was not
    /// sent by the target or was already acknowledged by the initiator MUST be
    /// rejected with a reason code of 'Protocol Error'."
    pub fn new(beg_run: u32, run_length: u32, oldest: u32, next: u32) -> Result<Run, RejectReason> {
        let sent = next.wrapping_sub(oldest);
        if beg_run == 0 && run_length == 0 {
            // "Resend all unacknowledged".
            return Ok(Run {
                first: oldest,
                count: sent,
            });
        }
        let skipped = beg_run.wrapping_sub(oldest);
        let left = sent
            .checked_sub(skipped)
            .filter(|left| *left != 0)
            .ok_or(RejectReason::ProtocolError)?;
        match run_length {
            0 => Ok(Run {
                first: beg_run,
                count: left,
            }),
            count if count <= left => Ok(Run {
                first: beg_run,
                count,
            }),
            _ => Err(RejectReason::ProtocolError),
        }
    }

    /// Takes the next number.
    pub fn take(&mut self) -> Option<u32> {
        self.count = self.count.checked_sub(1)?;
        let number = self.first;
        self.first = number.wrapping_add(1);
        Some(number)
    }
}

/// The status numbers of a connection that have been sent and not acknowledged.
///
/// # Invariants
///
/// `kept` is not before `acknowledged`, nor after `next`, and at most
/// [`MAX_RETAINED`] before `next`.
#[derive(Clone, Debug)]
pub struct Retained {
    acknowledged: Sn,
    /// Those from here on are kept.
    kept: Sn,
    next: Sn,
}

/// Responses that are kept of one connection.
pub const MAX_RETAINED: u32 = 256;

/// Responses that an initiator can have left without an acknowledgement; older ones count as
/// acknowledged. Far from where numbers have no order any more (RFC 1982).
const MAX_UNACKNOWLEDGED: u32 = 1 << 30;

impl Retained {
    /// Nothing has been sent; the first number will be `next`.
    #[must_use]
    pub const fn new(next: Sn) -> Retained {
        Retained {
            acknowledged: next,
            kept: next,
            next,
        }
    }

    /// The place of a number among [`MAX_RETAINED`].
    #[must_use]
    pub const fn place(sn: Sn) -> usize {
        (sn.0 % MAX_RETAINED) as usize
    }

    /// The next number is sent. Its place may have been another one's, which
    /// then cannot be sent again.
    pub fn push(&mut self) -> Sn {
        let sn = self.next;
        self.next = sn.next();
        if self.next.distance(self.kept) > MAX_RETAINED {
            self.kept = self.kept.next();
        }
        if self.next.distance(self.acknowledged) > MAX_UNACKNOWLEDGED {
            self.acknowledged = self.acknowledged.next();
        }
        sn
    }

    /// The initiator expects `exp_stat_sn` next. Returns the numbers whose places
    /// are free now. What it could not have received is ignored.
    pub fn acknowledge(&mut self, exp_stat_sn: Sn) -> Run {
        let sent = self.next.distance(self.acknowledged);
        let more = exp_stat_sn.distance(self.acknowledged);
        if more > sent {
            return Run { first: 0, count: 0 };
        }
        self.acknowledged = exp_stat_sn;
        let freed = Run {
            first: self.kept.0,
            count: match self.kept.lt(exp_stat_sn) {
                true => exp_stat_sn.distance(self.kept),
                false => 0,
            },
        };
        if freed.count != 0 {
            self.kept = exp_stat_sn;
        }
        freed
    }

    /// Gives up what has been kept longest. None where nothing is kept.
    pub fn forget(&mut self) -> Option<Sn> {
        let oldest = self.kept;
        if oldest == self.next {
            return None;
        }
        self.kept = oldest.next();
        Some(oldest)
    }

    /// The numbers that a Status SNACK asks for.
    ///
    /// # Errors
    ///
    /// A protocol error as [`Run::new`] has it; *SNACK reject* for what is not
    /// kept any more.
    pub fn run(&self, beg_run: u32, run_length: u32) -> Result<Run, RejectReason> {
        let run = Run::new(beg_run, run_length, self.acknowledged.0, self.next.0)?;
        if run.count != 0 && Sn(run.first).lt(self.kept) {
            return Err(RejectReason::SnackReject);
        }
        Ok(run)
    }

    /// The numbers that are kept.
    #[must_use]
    pub fn all(&self) -> Run {
        Run {
            first: self.kept.0,
            count: self.next.distance(self.kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::transfer::ReadPlan;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const PROTOCOL: Result<Run, RejectReason> = Err(RejectReason::ProtocolError);

    fn run(first: u32, count: u32) -> Result<Run, RejectReason> {
        Ok(Run { first, count })
    }

    #[test]
    fn a_run_lies_within_what_was_sent_and_not_acknowledged() {
        assert_eq!(Run::new(0, 0, 5, 9), run(5, 4));
        assert_eq!(Run::new(5, 0, 5, 9), run(5, 4));
        assert_eq!(Run::new(7, 0, 5, 9), run(7, 2));
        assert_eq!(Run::new(7, 2, 5, 9), run(7, 2));
        assert_eq!(Run::new(8, 1, 5, 9), run(8, 1));
        for (beg_run, run_length) in [
            (7, 3),
            (9, 1),
            (9, 0),
            (4, 1),
            (4, 0),
            (0, 1),
            (5, u32::MAX),
        ] {
            assert_eq!(
                Run::new(beg_run, run_length, 5, 9),
                PROTOCOL,
                "{beg_run} {run_length}"
            );
        }
        assert_eq!(Run::new(0, 0, 9, 9), run(9, 0));
        assert_eq!(Run::new(0, 1, 0, 3), run(0, 1));
        // Over the end of the numbers.
        assert_eq!(Run::new(u32::MAX, 0, u32::MAX, 2), run(u32::MAX, 3));
        assert_eq!(Run::new(1, 1, u32::MAX, 2), run(1, 1));
        assert_eq!(Run::new(2, 1, u32::MAX, 2), PROTOCOL);
    }

    #[test]
    fn who_never_acknowledges_gets_no_more_than_is_kept() {
        let mut retained = Retained::new(Sn(1));
        // As after so many responses.
        retained.next = Sn(1).add(MAX_UNACKNOWLEDGED);
        retained.kept = retained.next.add(MAX_RETAINED.wrapping_neg());
        for _ in 0..3 {
            retained.push();
        }
        assert_eq!(retained.acknowledged, Sn(4));
        assert_eq!(retained.run(1, 1), PROTOCOL);
        assert_eq!(retained.run(0, 0), Err(RejectReason::SnackReject));
        assert_eq!(retained.run(4, 1), Err(RejectReason::SnackReject));
        let last = retained.next.prev().0;
        assert_eq!(retained.run(last, 0), run(last, 1));
        assert_eq!(retained.all().count, MAX_RETAINED);
    }

    #[test]
    fn what_is_not_kept_any_more_is_refused_otherwise() {
        let mut retained = Retained::new(Sn(1));
        for n in 0..300 {
            assert_eq!(retained.push(), Sn(1 + n));
        }
        assert_eq!(retained.run(44, 1), Err(RejectReason::SnackReject));
        assert_eq!(retained.run(0, 0), Err(RejectReason::SnackReject));
        assert_eq!(retained.run(45, 1), run(45, 1));
        assert_eq!(retained.acknowledge(Sn(40)).count, 0);
        assert_eq!(retained.run(39, 1), PROTOCOL);
        assert_eq!(retained.run(40, 1), Err(RejectReason::SnackReject));
        assert_eq!(retained.acknowledge(Sn(302)).count, 0);
        let freed = retained.acknowledge(Sn(50));
        assert_eq!((freed.first, freed.count), (45, 5));
        assert_eq!(retained.run(0, 0), run(50, 251));
        assert_eq!(retained.forget(), Some(Sn(50)));
        assert_eq!(retained.run(50, 1), Err(RejectReason::SnackReject));
        assert_eq!(retained.acknowledge(Sn(301)).count, 250);
        assert_eq!(retained.run(0, 0), run(301, 0));
        assert_eq!(retained.forget(), None);
    }

    proptest! {
        /// Whatever is lost of the Data-In PDUs and of the responses, an
        /// initiator that asks for it gets each byte, and each status once.
        #[test]
        fn any_loss_is_made_good(
            first: u32,
            reads in prop::collection::vec(1..40_000u32, 1..20),
            segment in 512..9000u32,
            lost in prop::collection::vec(any::<bool>(), 0..400),
        ) {
            let mut lost = lost.into_iter().chain(std::iter::repeat(false));
            let mut retained = Retained::new(Sn(first));
            let mut statuses = vec![0u32; reads.len()];
            let mut sent = Vec::new();
            for (n, len) in reads.iter().enumerate() {
                let mut got = vec![false; *len as usize];
                let mut missing: Vec<u32> = Vec::new();
                let mut count = 0;
                for cut in ReadPlan::new(*len, segment, 16384) {
                    count += 1;
                    if lost.next().unwrap() {
                        missing.push(cut.data_sn);
                    } else {
                        got[cut.offset as usize..][..cut.len as usize].fill(true);
                    }
                }
                sent.push(retained.push());
                if !lost.next().unwrap() {
                    statuses[n] += 1;
                }
                // The ExpDataSN of the response tells what is missing.
                while let Some(data_sn) = missing.pop() {
                    let mut run = Run::new(data_sn, 1, 0, count).unwrap();
                    let again = run.take().unwrap();
                    let cut = ReadPlan::new(*len, segment, 16384)
                        .find(|cut| cut.data_sn == again)
                        .unwrap();
                    if lost.next().unwrap() {
                        missing.push(data_sn);
                    } else {
                        let part = &mut got[cut.offset as usize..][..cut.len as usize];
                        prop_assert!(part.iter().all(|got| !*got));
                        part.fill(true);
                    }
                }
                prop_assert!(got.iter().all(|got| *got));
            }
            for (n, sn) in sent.iter().enumerate() {
                while statuses[n] == 0 {
                    let mut run = retained.run(sn.0, 1);
                    if sn.0 == 0 && n == 0 && sent.len() == 1 {
                        run = retained.run(0, 0);
                    }
                    let mut run = run.unwrap();
                    prop_assert_eq!(run.take(), Some(sn.0));
                    statuses[n] += u32::from(!lost.next().unwrap());
                }
                prop_assert_eq!(retained.acknowledge(sn.next()).count, 1);
                prop_assert!(retained.run(sn.0, 1).is_err());
            }
            prop_assert!(statuses.iter().all(|n| *n == 1));
            prop_assert_eq!(retained.all().count, 0);
        }

        /// A place is never used by two numbers that are kept.
        #[test]
        fn places_are_not_shared(
            first: u32,
            steps in prop::collection::vec((0..40u32, 0..60u32, any::<bool>()), 1..100),
        ) {
            let mut retained = Retained::new(Sn(first));
            for (push, ack, forget) in steps {
                for _ in 0..push {
                    retained.push();
                }
                retained.acknowledge(retained.acknowledged.add(ack));
                if forget {
                    retained.forget();
                }
                let all = retained.all();
                prop_assert!(all.count <= MAX_RETAINED);
                prop_assert!(retained.acknowledged.le(Sn(all.first)));
                prop_assert_eq!(Sn(all.first).add(all.count), retained.next);
            }
        }
    }
}
