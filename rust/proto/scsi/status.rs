// SPDX-License-Identifier: GPL-2.0

//! Status codes.

/// The status that ends a command (SAM-5, "Status codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// GOOD: the command did what it asked for.
    Good = 0x00,
    /// CHECK CONDITION: sense data tells why not.
    CheckCondition = 0x02,
    /// CONDITION MET: PRE-FETCH found room for all of the blocks.
    ConditionMet = 0x04,
    /// BUSY: try the same command later.
    Busy = 0x08,
    /// RESERVATION CONFLICT: a reservation of another I_T nexus forbids it.
    ReservationConflict = 0x18,
    /// TASK SET FULL: no room for one more command of this I_T nexus.
    TaskSetFull = 0x28,
    /// ACA ACTIVE: an auto contingent allegiance condition blocks it.
    AcaActive = 0x30,
    /// TASK ABORTED: another I_T nexus aborted it (TAS in the Control mode page).
    TaskAborted = 0x40,
}

impl Status {
    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }
}
