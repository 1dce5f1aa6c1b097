// SPDX-License-Identifier: GPL-2.0

//! The command window of a session: ExpCmdSN and MaxCmdSN (RFC 7143 section
//! 4.2.2.1).
//!
//! The window decides which numbered command may be delivered now, which must
//! wait for one before it, and which is to be ignored. It opens as commands
//! finish, so that no more than the queue depth are unfinished at any time.

use crate::proto::serial::Sn;

/// The deepest queue, in commands.
pub const MAX_DEPTH: u32 = 512;

/// What to do with a command that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Deliver it. Unless it was immediate, ExpCmdSN has advanced over it and
    /// [`CmdWindow::release`] is due once when it has finished.
    Now,
    /// Keep it until [`CmdWindow::is_next`]: a command before it has not come
    /// yet. It is remembered, so a second one with its number is ignored.
    Hold,
    /// Drop it and say nothing: it is outside the window or a duplicate.
    Ignore,
}

/// ExpCmdSN, MaxCmdSN and what lies between them.
///
/// # Invariants
///
/// - MaxCmdSN is never before ExpCmdSN - 1, nor after ExpCmdSN - 1 +
///   [`MAX_DEPTH`]. Neither ever moves back.
/// - A number is marked in at most one of `held` and `plugged`, and only from
///   ExpCmdSN to MaxCmdSN; `marks` counts the marks. ExpCmdSN itself is never
///   marked in `plugged`.
#[derive(Clone, Debug)]
pub struct CmdWindow {
    exp_cmd_sn: Sn,
    max_cmd_sn: Sn,
    depth: u32,
    unfinished: u32,
    marks: u32,
    held: Marks,
    plugged: Marks,
}

impl CmdWindow {
    /// A window that expects `first` and lets `depth` commands in.
    ///
    /// `first` is the CmdSN of the leading Login Request (section 11.12.8).
    /// `depth` is brought into 1 to [`MAX_DEPTH`].
    #[must_use]
    pub fn new(first: Sn, depth: u32) -> CmdWindow {
        let depth = depth.clamp(1, MAX_DEPTH);
        CmdWindow {
            exp_cmd_sn: first,
            max_cmd_sn: first.prev().add(depth),
            depth,
            unfinished: 0,
            marks: 0,
            held: Marks::NONE,
            plugged: Marks::NONE,
        }
    }

    /// Decides about a command that has arrived.
    ///
    /// Immediate commands are always delivered and change nothing: their CmdSN
    /// may be outside the window, and it does not advance after them. The
    /// others:
    ///
    /// "For non-immediate commands, the CmdSN field can take any value from
    /// the ExpCmdSN to the MaxCmdSN inclusive. The target MUST silently ignore
    /// any non-immediate command outside of this range or non-immediate
    /// duplicates within the range."
    #[inline]
    pub fn admit(&mut self, cmd_sn: Sn, immediate: bool) -> Admit {
        if immediate {
            return Admit::Now;
        }
        if self.ignores(cmd_sn) {
            return Admit::Ignore;
        }
        if cmd_sn == self.exp_cmd_sn {
            self.unfinished = self.unfinished.saturating_add(1);
            self.pass();
            return Admit::Now;
        }
        self.held.set(cmd_sn);
        self.marks = self.marks.saturating_add(1);
        Admit::Hold
    }

    /// Whether a command with this number, unless it is immediate, is to be
    /// ignored: it is outside the window or a duplicate.
    #[inline]
    #[must_use]
    pub fn ignores(&self, cmd_sn: Sn) -> bool {
        !self.contains(cmd_sn) || self.is_marked(cmd_sn)
    }

    /// Whether a command with this number could be delivered or held: it is
    /// not before ExpCmdSN and not after MaxCmdSN.
    #[inline]
    #[must_use]
    pub fn contains(&self, cmd_sn: Sn) -> bool {
        cmd_sn.distance(self.exp_cmd_sn) < self.room()
    }

    /// Whether the held command `cmd_sn` can be delivered now.
    #[inline]
    #[must_use]
    pub fn is_next(&self, cmd_sn: Sn) -> bool {
        self.next_held() == Some(cmd_sn)
    }

    /// The held command that can be delivered now, if there is one. Ask after
    /// every [`Admit::Now`] of a numbered command and after
    /// [`CmdWindow::plug`], and [`CmdWindow::advance`] for as long as there is.
    #[inline]
    #[must_use]
    pub fn next_held(&self) -> Option<Sn> {
        if self.marks != 0 && self.held.get(self.exp_cmd_sn) {
            Some(self.exp_cmd_sn)
        } else {
            None
        }
    }

    /// Advances ExpCmdSN over the held command that [`CmdWindow::next_held`]
    /// named; the caller delivers it. False, and nothing changes, where there
    /// is none.
    pub fn advance(&mut self) -> bool {
        if self.next_held().is_none() {
            return false;
        }
        self.held.clear(self.exp_cmd_sn);
        self.marks = self.marks.saturating_sub(1);
        self.unfinished = self.unfinished.saturating_add(1);
        self.pass();
        true
    }

    /// Forgets a held command that is not kept after all, as when memory ran
    /// out: the initiator has to send it again. False where it is not held.
    pub fn forget(&mut self, cmd_sn: Sn) -> bool {
        if self.marks == 0 || !self.contains(cmd_sn) || !self.held.get(cmd_sn) {
            return false;
        }
        self.held.clear(cmd_sn);
        self.marks = self.marks.saturating_sub(1);
        true
    }

    /// Counts a command as received that was held and is dropped by the caller,
    /// or is not here. False, and nothing changes, where the number is outside
    /// the window. For a command that a peer names, see
    /// [`CmdWindow::plug_missing`].
    pub fn plug(&mut self, cmd_sn: Sn) -> bool {
        if !self.contains(cmd_sn) {
            return false;
        }
        self.forget(cmd_sn);
        if cmd_sn == self.exp_cmd_sn {
            self.pass();
            self.open();
        } else if !self.plugged.get(cmd_sn) {
            self.plugged.set(cmd_sn);
            self.marks = self.marks.saturating_add(1);
        }
        true
    }

    /// Counts the command `ref_cmd_sn` as received, which an ABORT TASK with
    /// the CmdSN `cmd_sn` names and which is not here: "function complete".
    /// False, and nothing changes, where that is not due: "task does not
    /// exist".
    ///
    /// RFC 7143 section 11.6.1: where RefCmdSN "is within the valid CmdSN
    /// window and less than the CmdSN of the Task Management Function Request
    /// itself, then targets must consider the CmdSN as received". The second
    /// condition matters: to abort an immediate command, RefCmdSN is the
    /// request's own CmdSN, which is the number of the next command. Counted as
    /// received, that command would be ignored as a duplicate.
    ///
    /// A command that is held has been received, under whatever tag: it stays so.
    pub fn plug_missing(&mut self, ref_cmd_sn: Sn, cmd_sn: Sn) -> bool {
        if !ref_cmd_sn.lt(cmd_sn) || !self.contains(ref_cmd_sn) {
            return false;
        }
        self.is_marked(ref_cmd_sn) || self.plug(ref_cmd_sn)
    }

    /// Tells that `n` delivered, numbered commands have finished. True where
    /// MaxCmdSN moved.
    ///
    /// Section 11.4.11: "When the MaxCmdSN changes at the target while the
    /// target has no pending PDUs to convey this information to the initiator,
    /// it MUST generate a NOP-In to carry the new MaxCmdSN."
    #[inline]
    pub fn release(&mut self, n: u32) -> bool {
        self.unfinished = self.unfinished.saturating_sub(n);
        self.open()
    }

    /// Changes the queue depth; `depth` is brought into 1 to [`MAX_DEPTH`].
    /// True where MaxCmdSN moved. It never moves back: a smaller depth takes
    /// effect as commands finish.
    pub fn set_depth(&mut self, depth: u32) -> bool {
        self.depth = depth.clamp(1, MAX_DEPTH);
        self.open()
    }

    /// The next command expected: all before it have been received.
    #[inline]
    #[must_use]
    pub fn exp_cmd_sn(&self) -> Sn {
        self.exp_cmd_sn
    }

    /// The last command that the initiator may send now.
    #[inline]
    #[must_use]
    pub fn max_cmd_sn(&self) -> Sn {
        self.max_cmd_sn
    }

    /// The queue depth in commands.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// How many numbered commands were delivered and have not finished.
    #[inline]
    #[must_use]
    pub fn unfinished(&self) -> u32 {
        self.unfinished
    }

    /// Whether the initiator may send no numbered command now: MaxCmdSN is
    /// ExpCmdSN - 1.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.room() == 0
    }

    /// How many numbers lie from ExpCmdSN to MaxCmdSN.
    #[inline]
    fn room(&self) -> u32 {
        self.max_cmd_sn.next().distance(self.exp_cmd_sn)
    }

    /// Whether a command with this number, inside the window, came before.
    #[inline]
    fn is_marked(&self, cmd_sn: Sn) -> bool {
        self.marks != 0 && (self.held.get(cmd_sn) || self.plugged.get(cmd_sn))
    }

    /// Advances ExpCmdSN by one, and over the plugged numbers that follow.
    #[inline]
    fn pass(&mut self) {
        self.exp_cmd_sn = self.exp_cmd_sn.next();
        if self.marks != 0 {
            self.pass_plugged();
        }
    }

    fn pass_plugged(&mut self) {
        let mut passed = false;
        while self.room() != 0 && self.plugged.get(self.exp_cmd_sn) {
            self.plugged.clear(self.exp_cmd_sn);
            self.marks = self.marks.saturating_sub(1);
            self.exp_cmd_sn = self.exp_cmd_sn.next();
            passed = true;
        }
        if passed {
            // There is nothing to finish for those.
            self.open();
        }
    }

    /// Moves MaxCmdSN to where all that the initiator may have under way is
    /// the queue depth.
    #[inline]
    fn open(&mut self) -> bool {
        let more = self.depth.saturating_sub(self.unfinished);
        let max_cmd_sn = self.exp_cmd_sn.prev().add(more);
        let moves = max_cmd_sn.gt(self.max_cmd_sn);
        if moves {
            self.max_cmd_sn = max_cmd_sn;
        }
        moves
    }
}

/// A mark for each number of a window. The numbers of one window are fewer than
/// the bits, so no two share a bit.
#[derive(Clone, Debug)]
struct Marks([u64; WORDS]);

impl Marks {
    const NONE: Marks = Marks([0; WORDS]);

    #[inline]
    fn get(&self, sn: Sn) -> bool {
        let (word, bit) = Marks::place(sn);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    #[inline]
    fn set(&mut self, sn: Sn) {
        let (word, bit) = Marks::place(sn);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    #[inline]
    fn clear(&mut self, sn: Sn) {
        let (word, bit) = Marks::place(sn);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// The word and the bit of a number. The word is always there.
    #[inline]
    fn place(sn: Sn) -> (usize, u64) {
        let place = (sn.0 % MAX_DEPTH) as usize;
        (place / 64, 1 << (place % 64))
    }
}

const WORDS: usize = (MAX_DEPTH / 64) as usize;

const _: () = assert!(MAX_DEPTH.is_power_of_two() && MAX_DEPTH >= 64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{
        BTreeSet, //
        VecDeque,
    };
    use std::vec::Vec;

    #[test]
    fn commands_in_order_are_delivered_and_fill_the_window() {
        let mut window = CmdWindow::new(Sn(u32::MAX), 4);
        assert_eq!(
            (window.exp_cmd_sn(), window.max_cmd_sn()),
            (Sn(u32::MAX), Sn(2))
        );
        for n in 0..4 {
            assert!(!window.is_closed());
            assert_eq!(window.admit(Sn(u32::MAX).add(n), false), Admit::Now);
        }
        // All four are unfinished: ExpCmdSN = MaxCmdSN + 1 (section 11.4.10).
        assert_eq!((window.exp_cmd_sn(), window.max_cmd_sn()), (Sn(3), Sn(2)));
        assert!(window.is_closed());
        assert_eq!(window.admit(Sn(3), false), Admit::Ignore);
        assert!(window.release(1));
        assert_eq!(window.max_cmd_sn(), Sn(3));
        assert_eq!(window.admit(Sn(4), false), Admit::Ignore);
        assert_eq!(window.admit(Sn(3), false), Admit::Now);
        assert_eq!(window.unfinished(), 4);
    }

    #[test]
    fn the_window_ends_exactly_at_its_ends() {
        let mut window = CmdWindow::new(Sn(100), 8);
        for outside in [99, 108, 100 + MAX_DEPTH, 100u32.wrapping_add(1 << 31), 0] {
            assert!(!window.contains(Sn(outside)), "{outside}");
            assert_eq!(window.admit(Sn(outside), false), Admit::Ignore, "{outside}");
        }
        assert_eq!(window.admit(Sn(107), false), Admit::Hold);
        assert_eq!(window.admit(Sn(100), false), Admit::Now);
        // What has been delivered is a duplicate now.
        assert_eq!(window.admit(Sn(100), false), Admit::Ignore);
    }

    #[test]
    fn immediate_commands_change_nothing() {
        let mut window = CmdWindow::new(Sn(7), 1);
        for sn in [7, 8, 6, 0, u32::MAX] {
            assert_eq!(window.admit(Sn(sn), true), Admit::Now);
        }
        assert_eq!((window.exp_cmd_sn(), window.max_cmd_sn()), (Sn(7), Sn(7)));
        assert_eq!(window.unfinished(), 0);
        assert_eq!(window.admit(Sn(7), false), Admit::Now);
        // Also when the window is closed.
        assert_eq!(window.admit(Sn(8), true), Admit::Now);
    }

    #[test]
    fn held_commands_come_in_order_when_the_hole_is_filled() {
        let mut window = CmdWindow::new(Sn(10), 8);
        assert_eq!(window.admit(Sn(12), false), Admit::Hold);
        assert_eq!(window.admit(Sn(11), false), Admit::Hold);
        assert_eq!(window.admit(Sn(14), false), Admit::Hold);
        assert_eq!(window.admit(Sn(12), false), Admit::Ignore);
        assert!(!window.is_next(Sn(11)) && window.next_held().is_none());
        assert!(!window.advance());
        assert_eq!(window.exp_cmd_sn(), Sn(10));

        assert_eq!(window.admit(Sn(10), false), Admit::Now);
        assert_eq!(window.next_held(), Some(Sn(11)));
        // A duplicate of a held command, though it is the expected one now.
        assert_eq!(window.admit(Sn(11), false), Admit::Ignore);
        assert!(window.is_next(Sn(11)) && window.advance());
        assert!(window.is_next(Sn(12)) && window.advance());
        assert!(!window.is_next(Sn(14)) && !window.advance());
        assert_eq!((window.exp_cmd_sn(), window.unfinished()), (Sn(13), 3));
        assert_eq!(window.admit(Sn(13), false), Admit::Now);
        assert_eq!(window.next_held(), Some(Sn(14)));
    }

    #[test]
    fn a_forgotten_command_can_come_again() {
        let mut window = CmdWindow::new(Sn(0), 8);
        assert_eq!(window.admit(Sn(1), false), Admit::Hold);
        assert!(window.forget(Sn(1)));
        assert!(!window.forget(Sn(1)) && !window.forget(Sn(2)) && !window.forget(Sn(9)));
        assert_eq!(window.admit(Sn(0), false), Admit::Now);
        assert_eq!(window.next_held(), None);
        assert_eq!(window.admit(Sn(1), false), Admit::Now);
    }

    #[test]
    fn a_plugged_hole_lets_the_rest_through() {
        let mut window = CmdWindow::new(Sn(0), 8);
        assert_eq!(window.admit(Sn(2), false), Admit::Hold);
        assert!(window.plug(Sn(1)));
        // It counts as received, so it is a duplicate.
        assert_eq!(window.admit(Sn(1), false), Admit::Ignore);
        assert_eq!(window.exp_cmd_sn(), Sn(0));
        assert!(window.plug(Sn(0)));
        assert_eq!(window.exp_cmd_sn(), Sn(2));
        assert_eq!(window.next_held(), Some(Sn(2)));
        assert!(window.advance());
        // Two of three are plugged: only one is unfinished.
        assert_eq!((window.unfinished(), window.max_cmd_sn()), (1, Sn(9)));
        // A held command that is aborted.
        assert_eq!(window.admit(Sn(4), false), Admit::Hold);
        assert!(window.plug(Sn(4)));
        assert_eq!(window.admit(Sn(3), false), Admit::Now);
        assert_eq!((window.next_held(), window.exp_cmd_sn()), (None, Sn(5)));
        // Outside the window.
        assert!(!window.plug(Sn(4)) && !window.plug(window.max_cmd_sn().next()));
    }

    /// Section 11.6.1 on ABORT TASK, and section 11.5.5 on its RefCmdSN.
    #[test]
    fn only_a_hole_before_the_abort_is_plugged() {
        let mut window = CmdWindow::new(Sn(10), 8);
        // The task was immediate: its RefCmdSN is the number of the next
        // command, which has yet to come.
        assert!(!window.plug_missing(Sn(10), Sn(10)));
        assert_eq!(window.admit(Sn(10), false), Admit::Now);
        // Received before, after the abort itself, and outside the window.
        assert!(!window.plug_missing(Sn(10), Sn(11)));
        assert!(!window.plug_missing(Sn(12), Sn(11)));
        assert!(!window.plug_missing(Sn(40), Sn(41)));
        assert_eq!(window.exp_cmd_sn(), Sn(11));
        // Lost on the way.
        assert!(window.plug_missing(Sn(11), Sn(12)));
        assert_eq!((window.exp_cmd_sn(), window.unfinished()), (Sn(12), 1));
        // Not lost: it waits for the one before it, under another tag than that
        // of the abort, and counts as any other when it is delivered.
        assert_eq!(window.admit(Sn(13), false), Admit::Hold);
        assert!(window.plug_missing(Sn(13), Sn(14)) && window.plug_missing(Sn(13), Sn(14)));
        assert_eq!(window.admit(Sn(12), false), Admit::Now);
        assert!(window.advance());
        assert_eq!((window.exp_cmd_sn(), window.unfinished()), (Sn(14), 3));
    }

    #[test]
    fn what_would_be_ignored_is_known() {
        let mut window = CmdWindow::new(Sn(10), 8);
        assert_eq!(window.admit(Sn(12), false), Admit::Hold);
        assert!(window.plug(Sn(13)));
        for sn in 0..40 {
            let ignored = window.clone().admit(Sn(sn), false) == Admit::Ignore;
            assert_eq!(window.ignores(Sn(sn)), ignored, "{sn}");
        }
    }

    #[test]
    fn a_smaller_depth_never_moves_max_cmd_sn_back() {
        let mut window = CmdWindow::new(Sn(0), 8);
        assert!(!window.set_depth(2));
        assert_eq!((window.depth(), window.max_cmd_sn()), (2, Sn(7)));
        for sn in 0..8 {
            assert_eq!(window.admit(Sn(sn), false), Admit::Now);
        }
        assert!(!window.release(6));
        assert!(window.is_closed());
        assert!(window.release(1));
        assert_eq!(window.max_cmd_sn(), Sn(8));
        assert!(window.set_depth(4));
        assert_eq!(window.max_cmd_sn(), Sn(10));
    }

    #[test]
    fn the_depth_is_bounded() {
        assert_eq!(CmdWindow::new(Sn(0), 0).max_cmd_sn(), Sn(0));
        assert_eq!(CmdWindow::new(Sn(0), 1).max_cmd_sn(), Sn(0));
        assert_eq!(CmdWindow::new(Sn(0), 512).max_cmd_sn(), Sn(511));
        assert_eq!(CmdWindow::new(Sn(0), u32::MAX).max_cmd_sn(), Sn(511));
        let mut window = CmdWindow::new(Sn(0), 4);
        window.set_depth(u32::MAX);
        assert_eq!(window.depth(), MAX_DEPTH);
        window.set_depth(0);
        assert_eq!(window.depth(), 1);
    }

    #[test]
    fn releasing_more_than_there_is_opens_no_more_than_the_depth() {
        let mut window = CmdWindow::new(Sn(0), 4);
        assert!(!window.release(1000));
        assert_eq!((window.max_cmd_sn(), window.unfinished()), (Sn(3), 0));
    }

    /// What happens to a window.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// A numbered command this many after ExpCmdSN.
        Command(i32),
        Immediate(i32),
        Release(u32),
        Depth(u32),
        Plug(i32),
        Forget(i32),
    }

    fn event() -> impl Strategy<Value = Event> {
        let near = prop_oneof![
            8 => Just(0),
            8 => -3..20i32,
            2 => -600..1200i32,
            1 => any::<i32>(),
        ];
        prop_oneof![
            10 => near.clone().prop_map(Event::Command),
            1 => near.clone().prop_map(Event::Immediate),
            6 => (0..4u32).prop_map(Event::Release),
            1 => (0..600u32).prop_map(Event::Depth),
            2 => near.clone().prop_map(Event::Plug),
            1 => near.prop_map(Event::Forget),
        ]
    }

    /// The window again, in sets of numbers that do not wrap, and without a
    /// thought to speed.
    #[derive(Debug)]
    struct Model {
        exp: i64,
        max: i64,
        depth: i64,
        unfinished: i64,
        held: BTreeSet<i64>,
        plugged: BTreeSet<i64>,
        delivered: Vec<i64>,
    }

    impl Model {
        fn inside(&self, n: i64) -> bool {
            (self.exp..=self.max).contains(&n)
        }

        fn settle(&mut self) {
            while self.plugged.remove(&self.exp) {
                self.exp += 1;
            }
            self.max = self
                .max
                .max(self.exp - 1 + (self.depth - self.unfinished).max(0));
        }

        fn deliver(&mut self, n: i64) {
            self.delivered.push(n);
            self.unfinished += 1;
            self.exp += 1;
            self.settle();
        }

        fn admit(&mut self, n: i64) -> Admit {
            if !self.inside(n) || self.held.contains(&n) || self.plugged.contains(&n) {
                Admit::Ignore
            } else if n == self.exp {
                self.deliver(n);
                Admit::Now
            } else {
                self.held.insert(n);
                Admit::Hold
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// The window does what the model does: it admits nothing outside,
        /// loses and repeats no CmdSN, and its ends never move back.
        #[test]
        fn agrees_with_the_model(
            first: u32,
            depth in prop_oneof![1..8u32, 1..600u32],
            events in prop::collection::vec(event(), 1..200),
        ) {
            let base = 1i64 << 33;
            let sn = |n: i64| Sn(first.wrapping_add((n - base) as u32));
            let mut window = CmdWindow::new(Sn(first), depth);
            let depth = i64::from(depth.clamp(1, MAX_DEPTH));
            let mut model = Model {
                exp: base,
                max: base + depth - 1,
                depth,
                unfinished: 0,
                held: BTreeSet::new(),
                plugged: BTreeSet::new(),
                delivered: Vec::new(),
            };
            let mut delivered = Vec::new();
            for event in events {
                let (exp, max) = (model.exp, model.max);
                match event {
                    Event::Command(offset) => {
                        let n = model.exp + i64::from(offset);
                        let admit = window.admit(sn(n), false);
                        prop_assert_eq!(admit, model.admit(n));
                        if admit == Admit::Now {
                            delivered.push(sn(n));
                        }
                    }
                    Event::Immediate(offset) => {
                        let n = model.exp + i64::from(offset);
                        prop_assert_eq!(window.admit(sn(n), true), Admit::Now);
                    }
                    Event::Release(n) => {
                        let n = i64::from(n).min(model.unfinished);
                        model.unfinished -= n;
                        model.settle();
                        prop_assert_eq!(window.release(n as u32), model.max > max);
                    }
                    Event::Depth(depth) => {
                        model.depth = i64::from(depth.clamp(1, MAX_DEPTH));
                        model.settle();
                        prop_assert_eq!(window.set_depth(depth), model.max > max);
                    }
                    Event::Plug(offset) => {
                        let n = model.exp + i64::from(offset);
                        let inside = model.inside(n);
                        if inside {
                            model.held.remove(&n);
                            model.plugged.insert(n);
                            model.settle();
                        }
                        prop_assert_eq!(window.plug(sn(n)), inside);
                    }
                    Event::Forget(offset) => {
                        let n = model.exp + i64::from(offset);
                        prop_assert_eq!(window.forget(sn(n)), model.held.remove(&n));
                    }
                }
                while let Some(next) = window.next_held() {
                    prop_assert!(model.held.remove(&model.exp));
                    prop_assert_eq!(next, sn(model.exp));
                    model.deliver(model.exp);
                    prop_assert!(window.is_next(next) && window.advance());
                    delivered.push(next);
                }
                prop_assert!(!model.held.contains(&model.exp));
                prop_assert!(model.exp >= exp && model.max >= max && model.max >= model.exp - 1);
                prop_assert_eq!(window.exp_cmd_sn(), sn(model.exp));
                prop_assert_eq!(window.max_cmd_sn(), sn(model.max));
                prop_assert_eq!(i64::from(window.unfinished()), model.unfinished);
                prop_assert!(model.max - model.exp < i64::from(MAX_DEPTH));
                prop_assert_eq!(window.is_closed(), model.max < model.exp);
            }
            // In order, none twice; and the model has lost none.
            let wanted: Vec<_> = model.delivered.iter().map(|&n| sn(n)).collect();
            prop_assert_eq!(delivered, wanted);
            prop_assert!(model.delivered.windows(2).all(|pair| pair[0] < pair[1]));
        }

        /// Commands that are dealt to several connections, and come in order
        /// on each of them only, are delivered in order, each once. One of the
        /// connections is lost on the way: what was held of it is forgotten,
        /// and comes again on another one.
        #[test]
        fn order_holds_over_connections(
            first: u32,
            deal in prop::collection::vec(0..4usize, 1..200),
            turns in prop::collection::vec((0..4usize, any::<bool>()), 1..400),
            lost_at in 0..400usize,
        ) {
            let mut window = CmdWindow::new(Sn(first), 32);
            let mut lines: [VecDeque<u32>; 4] = Default::default();
            let (mut sent, mut lost) = (0u32, false);
            let mut held: Vec<(usize, u32)> = Vec::new();
            let mut delivered = Vec::new();
            let rest = (0..4).map(|line| (line, true));
            for (at, (line, come)) in turns.into_iter().chain(rest.cycle().take(4000)).enumerate() {
                if at == lost_at {
                    lost = true;
                    let mut again: Vec<u32> = lines[0].drain(..).collect();
                    for &(_, n) in held.iter().filter(|(line, _)| *line == 0) {
                        prop_assert!(window.forget(Sn(first).add(n)));
                        again.push(n);
                    }
                    held.retain(|(line, _)| *line != 0);
                    again.sort_unstable();
                    lines[1].extend(again);
                }
                // The initiator sends what the window lets it.
                while (sent as usize) < deal.len() && window.contains(Sn(first).add(sent)) {
                    let to = deal[sent as usize];
                    lines[if lost { to.max(1) } else { to }].push_back(sent);
                    sent += 1;
                }
                if !come {
                    continue;
                }
                let Some(n) = lines[line].pop_front() else {
                    continue;
                };
                match window.admit(Sn(first).add(n), false) {
                    Admit::Now => delivered.push(n),
                    Admit::Hold => held.push((line, n)),
                    Admit::Ignore => prop_assert!(false, "{} is ignored", n),
                }
                while let Some(next) = window.next_held() {
                    prop_assert!(window.advance());
                    let n = next.distance(Sn(first));
                    held.retain(|&(_, held)| held != n);
                    delivered.push(n);
                }
                window.release(window.unfinished());
            }
            prop_assert_eq!(delivered, (0..deal.len() as u32).collect::<Vec<_>>());
            prop_assert!(held.is_empty());
        }

        /// With the depth as it is, no more are ever unfinished.
        #[test]
        fn no_more_than_the_depth_are_unfinished(
            first: u32,
            depth in 1..40u32,
            offers in prop::collection::vec((0..60u32, 0..3u32), 1..300),
        ) {
            let mut window = CmdWindow::new(Sn(first), depth);
            for (offset, finished) in offers {
                window.admit(window.exp_cmd_sn().add(offset), false);
                while window.advance() {}
                prop_assert!(window.unfinished() <= depth);
                let finished = finished.min(window.unfinished());
                window.release(finished);
                // What is unfinished and what may still come are the depth.
                let room = window.max_cmd_sn().next().distance(window.exp_cmd_sn());
                prop_assert_eq!(window.unfinished() + room, depth);
            }
        }
    }
}
