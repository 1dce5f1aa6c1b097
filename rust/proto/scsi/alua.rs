// SPDX-License-Identifier: GPL-2.0

//! Asymmetric logical unit access (SPC-4, "Target port group access states").

use super::command::Command;
use super::put::len32;
use super::put::len8;
use super::put::Put;
use super::sense::Sense;

/// How a logical unit can be reached through a target port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AccessState {
    /// 0h: all of it works.
    ActiveOptimized = 0x0,
    /// 1h: all of it works, and another way had better be used.
    ActiveNonOptimized = 0x1,
    /// 2h: what does not touch the medium works.
    Standby = 0x2,
    /// 3h: the logical unit can be asked about, and no more.
    Unavailable = 0x3,
    /// 4h: what a map of [referrals](super::referrals) says for each block.
    LbaDependent = 0x4,
    /// Eh, the one secondary state: the port does not reach the logical unit.
    Offline = 0xe,
    /// Fh: on the way from one state to another.
    Transitioning = 0xf,
}

use AccessState::*;

impl AccessState {
    /// All of them.
    pub const ALL: [AccessState; 7] = [
        ActiveOptimized,
        ActiveNonOptimized,
        Standby,
        Unavailable,
        LbaDependent,
        Offline,
        Transitioning,
    ];

    /// The state of an ASYMMETRIC ACCESS STATE field.
    pub fn from_code(code: u8) -> Option<AccessState> {
        Self::ALL.into_iter().find(|state| *state as u8 == code)
    }

    /// Whether a command is carried out in this state (SPC-4, "Active/optimized
    /// state" and the clauses that follow it).
    ///
    /// Standby lets through what SPC-4 demands, and what asks for the capacity:
    /// an initiator that finds a path in standby wants to know that it leads to
    /// the disk it has.
    pub fn admits(self, command: &Command) -> bool {
        let about = matches!(
            command,
            Command::Inquiry { .. }
                | Command::ReportLuns { .. }
                | Command::RequestSense { .. }
                | Command::ReportTargetPortGroups { .. }
        );
        let set = matches!(command, Command::SetTargetPortGroups { .. });
        match self {
            ActiveOptimized | ActiveNonOptimized | LbaDependent => true,
            Standby => {
                about
                    || set
                    || matches!(
                        command,
                        Command::LogSense(_)
                            | Command::ModeSense(_)
                            | Command::ModeSelect { .. }
                            | Command::PersistentReserveIn { .. }
                            | Command::PersistentReserveOut { .. }
                            | Command::ReadCapacity10
                            | Command::ReadCapacity16 { .. }
                            | Command::ReportSupportedOpcodes { .. }
                            | Command::ReportSupportedTmfs { .. }
                    )
            }
            Unavailable | Offline => about || set,
            Transitioning => about,
        }
    }

    /// What a command ends with that is not [admitted](Self::admits).
    pub const fn refusal(self) -> Sense {
        match self {
            Standby => Sense::NOT_READY_STANDBY,
            Unavailable => Sense::NOT_READY_UNAVAILABLE,
            Offline => Sense::NOT_READY_OFFLINE,
            ActiveOptimized | ActiveNonOptimized | LbaDependent | Transitioning => {
                Sense::NOT_READY_STATE_TRANSITION
            }
        }
    }

    /// Whether standard INQUIRY data and VPD pages say that a logical unit is
    /// connected here: SPC-4 wants peripheral qualifier 001b in the unavailable
    /// state.
    pub const fn is_connected(self) -> bool {
        !matches!(self, Unavailable | Offline)
    }
}

/// The SUPPORTED bits of a target port group descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support(u8);

impl Support {
    /// Every [`AccessState`] that needs no map of referrals.
    pub const ALL: Support = Support(0xcf);

    /// The bit of one state.
    const fn bit(state: AccessState) -> u8 {
        match state {
            ActiveOptimized => 0x01,
            ActiveNonOptimized => 0x02,
            Standby => 0x04,
            Unavailable => 0x08,
            LbaDependent => 0x10,
            Offline => 0x40,
            Transitioning => 0x80,
        }
    }

    /// Whether a state is supported.
    pub const fn has(self, state: AccessState) -> bool {
        self.0 & Self::bit(state) != 0
    }

    /// The same with a state supported, or not.
    pub const fn with(self, state: AccessState, on: bool) -> Support {
        let bit = Self::bit(state);
        Support(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// The STATUS CODE of a target port group descriptor: what changed it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangedBy {
    /// 00h: nothing, or it is not said.
    Nobody = 0x00,
    /// 01h: SET TARGET PORT GROUPS.
    Explicit = 0x01,
    /// 02h: the target.
    Implicit = 0x02,
}

impl ChangedBy {
    /// The meaning of a number.
    pub const fn from_code(code: u8) -> Option<ChangedBy> {
        match code {
            0x00 => Some(ChangedBy::Nobody),
            0x01 => Some(ChangedBy::Explicit),
            0x02 => Some(ChangedBy::Implicit),
            _ => None,
        }
    }
}

/// Who may change the state of a target port group: the TPGS field of standard
/// INQUIRY data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessType(u8);

impl AccessType {
    /// 00b: nobody; there are no target port groups.
    pub const NONE: AccessType = AccessType(0b00);
    /// 01b: the target.
    pub const IMPLICIT: AccessType = AccessType(0b01);
    /// 10b: initiators.
    pub const EXPLICIT: AccessType = AccessType(0b10);
    /// 11b: both.
    pub const BOTH: AccessType = AccessType(0b11);

    /// The type of the two bits.
    pub const fn from_code(code: u8) -> AccessType {
        AccessType(code & 0b11)
    }

    /// The two bits.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether the target may.
    pub const fn is_implicit(self) -> bool {
        self.0 & 0b01 != 0
    }

    /// Whether initiators may.
    pub const fn is_explicit(self) -> bool {
        self.0 & 0b10 != 0
    }
}

/// A target port group as REPORT TARGET PORT GROUPS tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortGroup {
    /// TARGET PORT GROUP.
    pub id: u16,
    /// ASYMMETRIC ACCESS STATE.
    pub state: AccessState,
    /// PREF.
    pub preferred: bool,
    /// Which states it can be in.
    pub support: Support,
    /// STATUS CODE.
    pub changed_by: ChangedBy,
}

/// Target ports that one descriptor can list.
pub const MAX_PORTS: usize = 255;

/// Writes the data of REPORT TARGET PORT GROUPS, one group after the other.
#[derive(Debug)]
pub struct Report<'a> {
    put: Put<'a>,
}

impl<'a> Report<'a> {
    /// Begins in the length only format, or, with an IMPLICIT TRANSITION TIME
    /// in seconds, in the one with the extended header.
    pub fn begin(extended: Option<u8>, out: &'a mut [u8]) -> Self {
        let mut put = Put::new(out);
        put.zeros(4);
        if let Some(seconds) = extended {
            put.bytes(&[0x10, seconds, 0, 0]);
        }
        Report { put }
    }

    /// Adds a group with the relative target port identifiers of its ports: of
    /// more than [`MAX_PORTS`] the first.
    pub fn group(&mut self, group: &PortGroup, ports: impl IntoIterator<Item = u16>) {
        let put = &mut self.put;
        let pref = if group.preferred { 0x80 } else { 0 };
        put.u8(pref | group.state as u8);
        put.u8(group.support.0);
        put.u16(group.id);
        put.u8(0);
        put.u8(group.changed_by as u8);
        put.u8(0);
        let count_at = put.len();
        put.u8(0);
        let mut count = 0usize;
        for port in ports.into_iter().take(MAX_PORTS) {
            put.u16(0);
            put.u16(port);
            count = count.saturating_add(1);
        }
        put.patch(count_at, &[len8(count)]);
    }

    /// Ends it; returns the length of the whole.
    pub fn end(mut self) -> usize {
        let len = len32(self.put.len().saturating_sub(4));
        self.put.patch(0, &len.to_be_bytes());
        self.put.len()
    }
}

/// One descriptor of SET TARGET PORT GROUPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where in the parameter list it begins.
    pub at: u16,
    /// The state to be in.
    pub state: AccessState,
    /// TARGET PORT GROUP OR TARGET PORT: for [`AccessState::Offline`] a relative
    /// target port identifier, else a target port group.
    pub id: u16,
}

impl Change {
    /// INVALID FIELD IN PARAMETER LIST, pointing at the state.
    pub const fn bad_state(&self) -> Sense {
        Sense::invalid_parameter(self.at, Some(3))
    }

    /// INVALID FIELD IN PARAMETER LIST, pointing at the group or port.
    pub const fn bad_id(&self) -> Sense {
        Sense::invalid_parameter(self.at.saturating_add(2), None)
    }

    /// Checks it against what it is about, None when there is no such group or
    /// port.
    ///
    /// # Errors
    /// INVALID FIELD IN PARAMETER LIST.
    pub fn check(&self, about: Option<(AccessType, Support)>) -> Result<(), Sense> {
        let (kind, support) = about.ok_or(self.bad_id())?;
        if !kind.is_explicit() {
            return Err(self.bad_id());
        }
        if !support.has(self.state) {
            return Err(self.bad_state());
        }
        Ok(())
    }
}

/// The parameter list of SET TARGET PORT GROUPS, checked as far as it can be by
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes<'a>(&'a [u8]);

/// The longest parameter list of SET TARGET PORT GROUPS, in bytes.
pub const MAX_LIST_LEN: usize = 4 + 4 * 512;

const HEADER: usize = 4;
const DESCRIPTOR: usize = 4;

impl<'a> Changes<'a> {
    /// Reads a list that is as long as the CDB says; an empty one changes
    /// nothing.
    ///
    /// # Errors
    /// PARAMETER LIST LENGTH ERROR when it ends inside of the header or a
    /// descriptor, or is longer than [`MAX_LIST_LEN`]. INVALID FIELD IN
    /// PARAMETER LIST for a state that cannot be set, and for a group or port
    /// that is named twice.
    pub fn parse(list: &'a [u8]) -> Result<Changes<'a>, Sense> {
        if list.is_empty() {
            return Ok(Changes(&[]));
        }
        let body = list
            .get(HEADER..)
            .filter(|body| body.len() % DESCRIPTOR == 0 && list.len() <= MAX_LIST_LEN)
            .ok_or(Sense::PARAMETER_LIST_LENGTH_ERROR)?;
        let changes = Changes(body);
        for (n, descriptor) in body.chunks_exact(DESCRIPTOR).enumerate() {
            let at = HEADER.saturating_add(n.saturating_mul(DESCRIPTOR));
            let at = u16::try_from(at).unwrap_or(u16::MAX);
            if Self::read(at, descriptor).is_none() {
                return Err(Sense::invalid_parameter(at, Some(3)));
            }
        }
        for (n, change) in changes.iter().enumerate() {
            let same = |other: &Change| {
                let offline = |c: &Change| c.state == Offline;
                other.id == change.id && offline(other) == offline(&change)
            };
            if changes.iter().take(n).any(|other| same(&other)) {
                return Err(change.bad_id());
            }
        }
        Ok(changes)
    }

    fn read(at: u16, descriptor: &[u8]) -> Option<Change> {
        let [state, _, a, b] = *descriptor else {
            return None;
        };
        // SPC-4: these are an illegal request.
        let state = AccessState::from_code(state & 0x0f)
            .filter(|s| !matches!(s, Transitioning | LbaDependent))?;
        Some(Change {
            at,
            state,
            id: u16::from_be_bytes([a, b]),
        })
    }

    /// The descriptors, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Change> + 'a {
        let starts = (HEADER..).step_by(DESCRIPTOR);
        starts
            .zip(self.0.chunks_exact(DESCRIPTOR))
            .filter_map(|(at, descriptor)| {
                Self::read(u16::try_from(at).unwrap_or(u16::MAX), descriptor)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::scsi::opcodes;
    use crate::proto::scsi::opcodes::Groups;
    use proptest::prelude::*;
    use std::vec::Vec;

    const GROUP: PortGroup = PortGroup {
        id: 0x0102,
        state: ActiveOptimized,
        preferred: false,
        support: Support::ALL,
        changed_by: ChangedBy::Nobody,
    };

    fn build(extended: Option<u8>, groups: &[(PortGroup, &[u16])], out: &mut [u8]) -> usize {
        let mut report = Report::begin(extended, out);
        for (group, ports) in groups {
            report.group(group, ports.iter().copied());
        }
        report.end()
    }

    /// The full data, checked to be clipped right at every length.
    #[track_caller]
    fn data(extended: Option<u8>, groups: &[(PortGroup, &[u16])]) -> Vec<u8> {
        let mut full = [0xa5; 2048];
        let len = build(extended, groups, &mut full);
        assert!(full[len..].iter().all(|byte| *byte == 0xa5));
        for clip in 0..len {
            let mut part = [0xa5; 2048];
            assert_eq!(build(extended, groups, &mut part[..clip]), len);
            assert_eq!(part[..clip], full[..clip]);
            assert!(part[clip..].iter().all(|byte| *byte == 0xa5));
        }
        full[..len].to_vec()
    }

    #[test]
    fn codes() {
        for code in 0..=255 {
            let state = AccessState::from_code(code);
            assert_eq!(state.map(|s| s as u8), state.map(|_| code));
            assert_eq!(state.is_some(), matches!(code, 0..=4 | 0xe | 0xf));
            let by = ChangedBy::from_code(code);
            assert_eq!(by.map(|b| b as u8), (code < 3).then_some(code));
        }
        assert_eq!(AccessType::from_code(0xff), AccessType::BOTH);
        assert!(AccessType::IMPLICIT.is_implicit() && !AccessType::IMPLICIT.is_explicit());
        assert!(AccessType::EXPLICIT.is_explicit() && !AccessType::EXPLICIT.is_implicit());
    }

    #[test]
    fn one_group() {
        assert_eq!(
            data(None, &[(GROUP, &[1, 0x203])]),
            [
                0, 0, 0, 16, // RETURN DATA LENGTH
                0x00, 0xcf, 0x01, 0x02, 0, 0, 0, 2, // descriptor
                0, 0, 0, 1, 0, 0, 2, 3, // ports
            ]
        );
    }

    #[test]
    fn several_groups_with_the_extended_header() {
        let standby = PortGroup {
            id: 7,
            state: Standby,
            preferred: true,
            support: Support::ALL.with(Offline, false).with(Unavailable, false),
            changed_by: ChangedBy::Explicit,
        };
        let offline = PortGroup {
            id: 0xffff,
            state: Offline,
            changed_by: ChangedBy::Implicit,
            ..GROUP
        };
        assert_eq!(
            data(Some(0x2a), &[(standby, &[]), (offline, &[9])]),
            [
                0, 0, 0, 24, 0x10, 0x2a, 0, 0, // header
                0x82, 0x87, 0x00, 0x07, 0, 1, 0, 0, // without ports
                0x0e, 0xcf, 0xff, 0xff, 0, 2, 0, 1, // offline
                0, 0, 0, 9,
            ]
        );
        assert_eq!(data(Some(0), &[]), [0, 0, 0, 4, 0x10, 0, 0, 0]);
        assert_eq!(data(None, &[]), [0, 0, 0, 0]);
    }

    #[test]
    fn a_descriptor_lists_255_ports() {
        let ports: Vec<u16> = (1..=300).collect();
        let full = data(None, &[(GROUP, &ports)]);
        assert_eq!(full.len(), 4 + 8 + 4 * 255);
        assert_eq!(full[11], 255);
        assert_eq!(full[full.len() - 2..], [0, 255]);
    }

    #[test]
    fn support_has_a_bit_for_each_state() {
        assert!(!Support::ALL.has(LbaDependent));
        let all = Support::ALL.with(LbaDependent, true);
        for state in AccessState::ALL {
            assert!(all.has(state));
            let without = all.with(state, false);
            for other in AccessState::ALL {
                assert_eq!(without.has(other), other != state);
            }
            assert_eq!(without.with(state, true), all);
        }
    }

    /// The commands of the table, by state.
    #[test]
    fn what_is_admitted() {
        let admitted = |state: AccessState| -> Vec<&str> {
            opcodes::TABLE
                .iter()
                .filter(|row| {
                    let mut cdb = std::vec![0; row.cdb_len()];
                    cdb[0] = row.opcode;
                    cdb[1] = row.usage[1] & row.service_action.map_or(0, |_| 0x1f);
                    state.admits(&Command::parse_in(&cdb, Groups::ALL).unwrap())
                })
                .map(|row| row.name)
                .collect()
        };
        assert_eq!(admitted(ActiveOptimized).len(), opcodes::TABLE.len());
        assert_eq!(admitted(ActiveNonOptimized).len(), opcodes::TABLE.len());
        assert_eq!(
            admitted(Transitioning),
            [
                "REQUEST SENSE",
                "INQUIRY",
                "REPORT LUNS",
                "REPORT TARGET PORT GROUPS"
            ]
        );
        for state in [Unavailable, Offline] {
            assert_eq!(
                admitted(state),
                [
                    "REQUEST SENSE",
                    "INQUIRY",
                    "REPORT LUNS",
                    "REPORT TARGET PORT GROUPS",
                    "SET TARGET PORT GROUPS"
                ]
            );
        }
        let standby = admitted(Standby);
        for name in [
            "REQUEST SENSE",
            "INQUIRY",
            "LOG SENSE",
            "MODE SELECT(6)",
            "MODE SELECT(10)",
            "MODE SENSE(6)",
            "MODE SENSE(10)",
            "READ CAPACITY(10)",
            "READ CAPACITY(16)",
            "REPORT LUNS",
            "REPORT TARGET PORT GROUPS",
            "SET TARGET PORT GROUPS",
            "PERSISTENT RESERVE IN, READ KEYS",
            "PERSISTENT RESERVE OUT, PREEMPT",
        ] {
            assert!(standby.contains(&name), "{name}");
        }
        for name in [
            "TEST UNIT READY",
            "READ(10)",
            "WRITE(16)",
            "UNMAP",
            "RESERVE(6)",
        ] {
            assert!(!standby.contains(&name), "{name}");
        }
    }

    #[test]
    fn refusals() {
        let codes = |state: AccessState| {
            let sense = state.refusal();
            (sense.key as u8, sense.asc, sense.ascq)
        };
        assert_eq!(codes(Transitioning), (2, 0x04, 0x0a));
        assert_eq!(codes(Standby), (2, 0x04, 0x0b));
        assert_eq!(codes(Unavailable), (2, 0x04, 0x0c));
        assert_eq!(codes(Offline), (2, 0x04, 0x12));
        for state in AccessState::ALL {
            let connected = !matches!(state, Unavailable | Offline);
            assert_eq!(state.is_connected(), connected);
        }
    }

    const LIST: [u8; 16] = [
        0xff, 0xff, 0xff, 0xff, // reserved
        0xf1, 0xff, 0x00, 0x00, // group 0: active/non-optimized
        0x02, 0x00, 0x12, 0x34, // group 1234h: standby
        0x0e, 0x00, 0x00, 0x00, // port 0: offline
    ];

    #[test]
    fn changes() {
        let changes = Changes::parse(&LIST).unwrap();
        let change = |at, state, id| Change { at, state, id };
        assert_eq!(
            changes.iter().collect::<Vec<_>>(),
            [
                change(4, ActiveNonOptimized, 0),
                change(8, Standby, 0x1234),
                change(12, Offline, 0),
            ]
        );
        assert_eq!(Changes::parse(&[]).unwrap().iter().count(), 0);
        assert_eq!(Changes::parse(&[0; 4]).unwrap().iter().count(), 0);
    }

    #[test]
    fn every_cut_inside_a_part_is_a_length_error() {
        for len in 1..LIST.len() {
            let got = Changes::parse(&LIST[..len]);
            if len % 4 == 0 {
                assert!(got.is_ok());
            } else {
                assert_eq!(got, Err(Sense::PARAMETER_LIST_LENGTH_ERROR), "{len}");
            }
        }
        let mut long = std::vec![0; MAX_LIST_LEN];
        for (n, descriptor) in long[4..].chunks_exact_mut(4).enumerate() {
            descriptor[2..].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
        }
        assert_eq!(Changes::parse(&long).unwrap().iter().count(), 512);
        long.extend([0, 0, 0xff, 0xff]);
        assert_eq!(
            Changes::parse(&long),
            Err(Sense::PARAMETER_LIST_LENGTH_ERROR)
        );
    }

    #[test]
    fn states_that_cannot_be_set() {
        for state in (4..=13).chain([15]) {
            let mut list = LIST;
            list[8] = state;
            assert_eq!(
                Changes::parse(&list),
                Err(Sense::invalid_parameter(8, Some(3)))
            );
        }
    }

    #[test]
    fn nothing_is_named_twice() {
        let mut list = LIST;
        list[10..12].copy_from_slice(&[0, 0]);
        assert_eq!(
            Changes::parse(&list),
            Err(Sense::invalid_parameter(10, None))
        );
        list[8] = 0x0e;
        assert_eq!(
            Changes::parse(&list),
            Err(Sense::invalid_parameter(14, None))
        );
    }

    #[test]
    fn changes_are_checked_against_the_group() {
        let change = Change {
            at: 8,
            state: Standby,
            id: 3,
        };
        assert_eq!(change.check(Some((AccessType::BOTH, Support::ALL))), Ok(()));
        let id = Err(Sense::invalid_parameter(10, None));
        assert_eq!(change.check(None), id);
        assert_eq!(change.check(Some((AccessType::IMPLICIT, Support::ALL))), id);
        let support = Support::ALL.with(Standby, false);
        assert_eq!(
            change.check(Some((AccessType::EXPLICIT, support))),
            Err(Sense::invalid_parameter(8, Some(3)))
        );
    }

    proptest! {
        #[test]
        fn any_list(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(changes) = Changes::parse(&bytes) {
                let want = bytes.len().saturating_sub(HEADER) / DESCRIPTOR;
                prop_assert_eq!(changes.iter().count(), want);
            }
        }

        /// A list that is written from changes reads back as the same ones.
        #[test]
        fn accepted_lists_read_back(
            wanted in prop::collection::btree_map(any::<u16>(), 0usize..4, 0..40)
        ) {
            let mut list = std::vec![0; 4];
            for (id, state) in &wanted {
                let [a, b] = id.to_be_bytes();
                list.extend([AccessState::ALL[*state] as u8, 0, a, b]);
            }
            let changes = Changes::parse(&list).unwrap();
            let got: Vec<_> = changes.iter().map(|c| (c.id, c.state)).collect();
            let want: Vec<_> = wanted
                .iter()
                .map(|(id, state)| (*id, AccessState::ALL[*state]))
                .collect();
            prop_assert_eq!(got, want);
        }
    }
}
