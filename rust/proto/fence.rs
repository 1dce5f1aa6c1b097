// SPDX-License-Identifier: GPL-2.0

//! The Response Fence in a session of several connections (RFC 7143 section
//! 4.2.2.3.3).
//!
//! TCP keeps order within a connection only. A response that must not overtake
//! others waits until the initiator has acknowledged what was sent before it on
//! the other connections.

use crate::proto::serial::Sn;

/// Most connections that a fence can wait for.
pub const MAX_MARKS: usize = 8;

/// What a fenced response waits for.
///
/// # Invariants
///
/// No two marks have the same connection.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    marks: [Option<Mark>; MAX_MARKS],
}

/// On the connection `cid` all before `next` have to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    cid: u16,
    next: Sn,
}

impl Fence {
    /// A fence that waits for nothing.
    #[must_use]
    pub const fn new() -> Fence {
        Fence {
            marks: [None; MAX_MARKS],
        }
    }

    /// Takes note of a connection: its next StatSN, and the ExpStatSN that the
    /// initiator has told last. Of one connection the first note counts. False
    /// where there is no place left, which is never with [`MAX_MARKS`]
    /// connections.
    pub fn note(&mut self, cid: u16, next: Sn, acknowledged: Sn) -> bool {
        if next.le(acknowledged) || self.marks.iter().flatten().any(|m| m.cid == cid) {
            return true;
        }
        match self.marks.iter_mut().find(|m| m.is_none()) {
            Some(place) => {
                *place = Some(Mark { cid, next });
                true
            }
            None => false,
        }
    }

    /// The initiator has acknowledged all before `exp_stat_sn` on a connection.
    pub fn acknowledge(&mut self, cid: u16, exp_stat_sn: Sn) {
        for place in &mut self.marks {
            if place.is_some_and(|m| m.cid == cid && m.next.le(exp_stat_sn)) {
                *place = None;
            }
        }
    }

    /// Waits no longer for connections that `exists` does not know: what was
    /// sent there is not delivered any more.
    pub fn keep(&mut self, exists: impl Fn(u16) -> bool) {
        for place in &mut self.marks {
            if place.is_some_and(|m| !exists(m.cid)) {
                *place = None;
            }
        }
    }

    /// Whether the response may be sent.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.marks.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn it_waits_for_each_connection() {
        let mut fence = Fence::new();
        assert!(fence.is_clear());
        assert!(fence.note(1, Sn(5), Sn(5)));
        assert!(fence.is_clear());
        assert!(fence.note(2, Sn(5), Sn(4)) && fence.note(3, Sn(0), Sn(u32::MAX)));
        assert!(!fence.is_clear());
        fence.acknowledge(2, Sn(4));
        fence.acknowledge(1, Sn(100));
        fence.acknowledge(3, Sn(0));
        assert!(!fence.is_clear());
        fence.acknowledge(2, Sn(6));
        assert!(fence.is_clear());
    }

    #[test]
    fn a_connection_that_has_gone_is_not_waited_for() {
        let mut fence = Fence::new();
        assert!(fence.note(1, Sn(9), Sn(1)) && fence.note(2, Sn(9), Sn(1)));
        fence.keep(|cid| cid == 2);
        assert!(!fence.is_clear());
        fence.keep(|_| false);
        assert!(fence.is_clear());
    }

    #[test]
    fn the_first_note_counts_and_places_are_limited() {
        let mut fence = Fence::new();
        assert!(fence.note(1, Sn(2), Sn(1)) && fence.note(1, Sn(9), Sn(1)));
        fence.acknowledge(1, Sn(2));
        assert!(fence.is_clear());
        for cid in 0..8 {
            assert!(fence.note(cid, Sn(1), Sn(0)));
        }
        assert!(!fence.note(8, Sn(1), Sn(0)));
        assert!(fence.note(8, Sn(1), Sn(1)));
    }

    proptest! {
        /// It is clear exactly when each connection has told enough.
        #[test]
        fn clear_when_all_is_acknowledged(
            start in any::<u32>(),
            open in prop::collection::vec(0..20u32, 1..=MAX_MARKS),
            acks in prop::collection::vec((0..MAX_MARKS, 0..25u32), 0..80),
        ) {
            let mut fence = Fence::new();
            let mut best: Vec<u32> = open.iter().map(|_| 0).collect();
            for (cid, next) in open.iter().enumerate() {
                prop_assert!(fence.note(cid as u16, Sn(start).add(*next), Sn(start)));
            }
            for (cid, n) in acks {
                fence.acknowledge(cid as u16, Sn(start).add(n));
                if let Some(best) = best.get_mut(cid) {
                    *best = (*best).max(n);
                }
                let all = open.iter().zip(&best).all(|(next, best)| best >= next);
                prop_assert_eq!(fence.is_clear(), all);
            }
        }
    }
}
