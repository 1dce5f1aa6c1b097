// SPDX-License-Identifier: GPL-2.0

//! Unit attention conditions pending for one I_T_L nexus.

use super::sense::Sense;

/// Unit attention conditions, those to be reported first coming first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ua {
    /// 29h/01h: the logical unit came to life.
    PowerOn,
    /// 29h/00h: power on or some reset.
    PowerOnOrReset,
    /// 29h/04h: the device reset itself.
    DeviceInternalReset,
    /// 29h/02h: target reset (a hard reset event).
    BusReset,
    /// 29h/03h: logical unit reset.
    LogicalUnitReset,
    /// 29h/07h: the I_T nexus was lost.
    NexusLoss,
    /// 2Ch/07h: a command has ended BUSY (UA_INTLCK_CTRL 11b).
    PreviousBusy,
    /// 2Ch/08h: a command has ended TASK SET FULL (UA_INTLCK_CTRL 11b).
    PreviousTaskSetFull,
    /// 2Ch/09h: a command has ended RESERVATION CONFLICT (UA_INTLCK_CTRL 11b).
    PreviousReservationConflict,
    /// 2Fh/00h: another I_T nexus cleared the task set.
    CommandsCleared,
    /// 47h/7Fh: commands ended with their connection (RFC 7143 11.14.5).
    CommandsClearedByProtocol,
    /// 2Ah/03h: the reservation was preempted.
    ReservationsPreempted,
    /// 2Ah/04h: the reservation was released.
    ReservationsReleased,
    /// 2Ah/05h: the registration was preempted.
    RegistrationsPreempted,
    /// 2Ah/06h: the asymmetric access state changed.
    AccessStateChanged,
    /// 2Ah/07h: an implicit asymmetric access state transition failed.
    ImplicitTransitionFailed,
    /// 2Ah/01h: mode parameters changed.
    ModeParametersChanged,
    /// 2Ah/09h: the capacity changed.
    CapacityChanged,
    /// 3Fh/03h: INQUIRY data changed.
    InquiryDataChanged,
    /// 3Fh/0Eh: the LUN inventory changed.
    ReportedLunsChanged,
    /// 38h/07h: a thin provisioning soft threshold was reached.
    SoftThresholdReached,
}

/// All conditions, in the order in which they are reported.
const ORDER: [Ua; 21] = [
    Ua::PowerOn,
    Ua::PowerOnOrReset,
    Ua::DeviceInternalReset,
    Ua::BusReset,
    Ua::LogicalUnitReset,
    Ua::NexusLoss,
    Ua::PreviousBusy,
    Ua::PreviousTaskSetFull,
    Ua::PreviousReservationConflict,
    Ua::CommandsCleared,
    Ua::CommandsClearedByProtocol,
    Ua::ReservationsPreempted,
    Ua::ReservationsReleased,
    Ua::RegistrationsPreempted,
    Ua::AccessStateChanged,
    Ua::ImplicitTransitionFailed,
    Ua::ModeParametersChanged,
    Ua::CapacityChanged,
    Ua::InquiryDataChanged,
    Ua::ReportedLunsChanged,
    Ua::SoftThresholdReached,
];

impl Ua {
    /// The sense data that reports the condition.
    pub const fn sense(self) -> Sense {
        match self {
            Ua::PowerOn => Sense::POWER_ON_OCCURRED,
            Ua::PowerOnOrReset => Sense::POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED,
            Ua::DeviceInternalReset => Sense::DEVICE_INTERNAL_RESET,
            Ua::BusReset => Sense::SCSI_BUS_RESET_OCCURRED,
            Ua::LogicalUnitReset => Sense::BUS_DEVICE_RESET_FUNCTION_OCCURRED,
            Ua::NexusLoss => Sense::I_T_NEXUS_LOSS_OCCURRED,
            Ua::PreviousBusy => Sense::PREVIOUS_BUSY_STATUS,
            Ua::PreviousTaskSetFull => Sense::PREVIOUS_TASK_SET_FULL_STATUS,
            Ua::PreviousReservationConflict => Sense::PREVIOUS_RESERVATION_CONFLICT_STATUS,
            Ua::CommandsCleared => Sense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR,
            Ua::CommandsClearedByProtocol => Sense::SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT,
            Ua::ReservationsPreempted => Sense::RESERVATIONS_PREEMPTED,
            Ua::ReservationsReleased => Sense::RESERVATIONS_RELEASED,
            Ua::RegistrationsPreempted => Sense::REGISTRATIONS_PREEMPTED,
            Ua::AccessStateChanged => Sense::ASYMMETRIC_ACCESS_STATE_CHANGED,
            Ua::ImplicitTransitionFailed => {
                Sense::IMPLICIT_ASYMMETRIC_ACCESS_STATE_TRANSITION_FAILED
            }
            Ua::ModeParametersChanged => Sense::MODE_PARAMETERS_CHANGED,
            Ua::CapacityChanged => Sense::CAPACITY_DATA_HAS_CHANGED,
            Ua::InquiryDataChanged => Sense::INQUIRY_DATA_HAS_CHANGED,
            Ua::ReportedLunsChanged => Sense::REPORTED_LUNS_DATA_HAS_CHANGED,
            Ua::SoftThresholdReached => Sense::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED,
        }
    }

    const fn bit(self) -> u32 {
        match 1u32.checked_shl(self as u32) {
            Some(bit) => bit,
            None => 0,
        }
    }
}

/// The conditions 29h/xxh, of which only the first in order is reported.
const RESETS: u32 = Ua::PowerOn.bit()
    | Ua::PowerOnOrReset.bit()
    | Ua::DeviceInternalReset.bit()
    | Ua::BusReset.bit()
    | Ua::LogicalUnitReset.bit()
    | Ua::NexusLoss.bit();

/// The unit attention conditions pending for one I_T_L nexus.
///
/// A set: a condition that is posted twice before it is reported is reported
/// once. SAM-5 ("Unit attention conditions") ranks the 29h/xxh conditions and
/// reports only the highest of those pending, so of them the set keeps one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending(u32);

impl Pending {
    /// Nothing pending.
    pub const NONE: Pending = Pending(0);

    /// What a new I_T nexus finds on every logical unit: 29h/00h, power on or
    /// reset.
    pub const NEW_NEXUS: Pending = Pending(Ua::PowerOnOrReset.bit());

    /// Makes a condition pending.
    pub fn post(&mut self, ua: Ua) {
        self.0 |= ua.bit();
        let resets = self.0 & RESETS;
        // The highest precedence is the lowest bit.
        let first = resets & resets.wrapping_neg();
        self.0 = (self.0 & !RESETS) | first;
    }

    /// Takes the condition to report next, with CHECK CONDITION or as the data
    /// of REQUEST SENSE.
    pub fn take(&mut self) -> Option<Sense> {
        let ua = self.first()?;
        self.clear(ua);
        Some(ua.sense())
    }

    /// Drops a condition that is no longer news, as REPORT LUNS data makes
    /// 3Fh/0Eh.
    pub fn clear(&mut self, ua: Ua) {
        self.0 &= !ua.bit();
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Whether a condition is pending.
    pub fn contains(&self, ua: Ua) -> bool {
        self.0 & ua.bit() != 0
    }

    /// The condition to report next, left pending.
    pub fn first(&self) -> Option<Ua> {
        ORDER.iter().copied().find(|ua| self.contains(*ua))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn drain(mut pending: Pending) -> Vec<Sense> {
        core::iter::from_fn(|| pending.take()).collect()
    }

    #[test]
    fn each_is_reported_once_and_in_order() {
        let mut pending = Pending::NONE;
        assert!(pending.is_empty());
        assert_eq!(pending.take(), None);
        pending.post(Ua::ReportedLunsChanged);
        pending.post(Ua::CapacityChanged);
        pending.post(Ua::NexusLoss);
        pending.post(Ua::CapacityChanged);
        assert!(pending.contains(Ua::CapacityChanged));
        assert!(!pending.contains(Ua::ModeParametersChanged));
        assert_eq!(
            drain(pending),
            [
                Sense::I_T_NEXUS_LOSS_OCCURRED,
                Sense::CAPACITY_DATA_HAS_CHANGED,
                Sense::REPORTED_LUNS_DATA_HAS_CHANGED,
            ]
        );
    }

    #[test]
    fn of_the_resets_the_highest_is_kept() {
        let mut pending = Pending::NONE;
        pending.post(Ua::NexusLoss);
        pending.post(Ua::LogicalUnitReset);
        pending.post(Ua::ModeParametersChanged);
        pending.post(Ua::NexusLoss);
        assert_eq!(
            drain(pending),
            [
                Sense::BUS_DEVICE_RESET_FUNCTION_OCCURRED,
                Sense::MODE_PARAMETERS_CHANGED,
            ]
        );
        let mut pending = Pending::NEW_NEXUS;
        pending.post(Ua::BusReset);
        assert_eq!(
            drain(pending),
            [Sense::POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED]
        );
    }

    #[test]
    fn clear_drops_one() {
        let mut pending = Pending::NONE;
        pending.post(Ua::ReportedLunsChanged);
        pending.post(Ua::InquiryDataChanged);
        pending.clear(Ua::ReportedLunsChanged);
        pending.clear(Ua::PowerOn);
        assert_eq!(drain(pending), [Sense::INQUIRY_DATA_HAS_CHANGED]);
    }

    #[test]
    fn the_order_has_every_condition_with_its_own_sense() {
        for (at, ua) in ORDER.iter().enumerate() {
            assert_eq!(at, *ua as usize);
            assert_eq!(ua.sense().key, crate::proto::scsi::SenseKey::UnitAttention);
            let mut pending = Pending::NONE;
            pending.post(*ua);
            assert_eq!(pending.first(), Some(*ua));
            assert_eq!(drain(pending), [ua.sense()]);
            for other in &ORDER[..at] {
                assert_ne!(other.sense(), ua.sense());
            }
        }
    }
}
