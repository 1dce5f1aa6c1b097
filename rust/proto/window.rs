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
        if !self.contains(cmd_sn) || self.is_marked(cmd_sn) {
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

    /// Counts a command as received that is not here, or was held and is
    /// dropped by the caller. False, and nothing changes, where the number is
    /// outside the window.
    ///
    /// RFC 7143 section 11.6.1, on ABORT TASK: where the task does not exist
    /// but RefCmdSN "is within the valid CmdSN window and less than the CmdSN
    /// of the Task Management Function Request itself, then targets must
    /// consider the CmdSN as received".
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
