// SPDX-License-Identifier: GPL-2.0

//! Target port groups of a device (SPC-4, "Target port group access states").
//!
//! The groups, and which LUN is in which, are behind a mutex: they change in
//! process context. What the data path looks at is one number of the nexus
//! ([`Access`]), which is written here whenever it changes.

use super::{
    device::DeviceAttrib,
    lun::{
        Lun,
        Nexus, //
    },
    Device, //
};
use crate::{
    proto::scsi::{
        alua::{
            AccessState,
            AccessType,
            Change,
            ChangedBy,
            Changes,
            PortGroup,
            Report,
            Support, //
        },
        command::Command,
        sense::Sense,
        ua::Ua, //
    },
    sys::misc,
    task::{
        Head,
        Outcome, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Target port groups of one device at most.
pub(crate) const MAX_GROUPS: usize = 256;

/// The longest delay of a command in active/non-optimized state, in ms.
pub(crate) const MAX_NONOP_DELAY_MS: u32 = 10_000;

/// The longest time that a group stays in transition, in ms.
pub(crate) const MAX_TRANS_DELAY_MS: u32 = 30_000;

/// The group that a LUN is in when nothing else is said.
const DEFAULT_KEY: u32 = 0;

/// What a nexus has to know of the target port group of its LUN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access(u32);

impl Access {
    /// Everything works, and there are no groups.
    pub(crate) const PLAIN: Access = Access(0);

    const STATE: u32 = 0x0f;
    const MULTI_PORT: u32 = 0x40;

    fn new(state: AccessState, kind: AccessType, multi_port: bool, id: u16) -> Self {
        let multi = if multi_port { Self::MULTI_PORT } else { 0 };
        Self(u32::from(state as u8) | u32::from(kind.code()) << 4 | multi | u32::from(id) << 16)
    }

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all works, and as fast as it can.
    pub(crate) const fn is_optimized(self) -> bool {
        self.0 & Self::STATE == AccessState::ActiveOptimized as u32
    }

    /// The state.
    pub(crate) fn state(self) -> AccessState {
        AccessState::from_code((self.0 & Self::STATE) as u8).unwrap_or(AccessState::ActiveOptimized)
    }

    /// Who may change it.
    pub(crate) const fn kind(self) -> AccessType {
        AccessType::from_code((self.0 >> 4) as u8)
    }

    /// Whether the device can be reached through several target ports.
    pub(crate) const fn is_multi_port(self) -> bool {
        self.0 & Self::MULTI_PORT != 0
    }

    /// The target port group, if there are any.
    pub(crate) const fn group(self) -> Option<u16> {
        match self.kind().code() {
            0 => None,
            _ => Some((self.0 >> 16) as u16),
        }
    }

    /// What a command is refused with.
    pub(crate) fn refuses(self, command: &Command) -> Option<Sense> {
        let state = self.state();
        (!state.admits(command)).then(|| state.refusal())
    }

    /// What of it standard INQUIRY data (MULTIP, TPGS) and VPD page 83h (the
    /// group) show.
    const fn shown(self) -> u32 {
        self.0 & !Self::STATE
    }
}

/// The target port groups of a device, and the LUNs that export it.
pub(super) struct Groups {
    list: KVec<Entry>,
    ports: KVec<Port>,
    next_key: u32,
    /// Counts transitions.
    transitions: u64,
}

struct Entry {
    /// What it is known by here; never used again.
    key: u32,
    name: KVec<u8>,
    settings: Settings,
    /// The transition that is under way.
    transition: Option<Transition>,
}

/// On the way from one access state to another.
struct Transition {
    /// What it is known by: one SET TARGET PORT GROUPS has one for all groups.
    number: u64,
    from: AccessState,
    to: AccessState,
}

/// The end of a transition that a SET TARGET PORT GROUPS has begun.
pub(crate) struct Arrival {
    number: u64,
    due_ms: u64,
}

impl Arrival {
    /// Milliseconds until then.
    pub(crate) fn left_ms(&self) -> u32 {
        let left = self.due_ms.saturating_sub(misc::now_ms());
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// How the command `head` ends, which has begun it, if its time is over, or nobody waits
    /// for it any more: then the transition is over, too. Process context.
    pub(crate) fn outcome(&self, head: &Head) -> Option<Outcome> {
        if self.left_ms() != 0 && !head.is_aborted() {
            return None;
        }
        let good = head
            .nexus
            .as_ref()
            .is_none_or(|n| n.device().arrive(self.number, Some(head.session.id())));
        Some(if good {
            Outcome::GOOD
        } else {
            Sense::SET_TARGET_PORT_GROUPS_COMMAND_FAILED.into()
        })
    }
}

/// What can be set of a group.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// The identifier; None until it has one, and then the group is not there
    /// for initiators.
    pub(crate) id: Option<u16>,
    /// The access state.
    pub(crate) state: AccessState,
    /// What changed it last.
    pub(crate) changed_by: ChangedBy,
    /// Who may change it.
    pub(crate) kind: AccessType,
    /// Which states it may be in.
    pub(crate) support: Support,
    /// PREF.
    pub(crate) preferred: bool,
    /// IMPLICIT TRANSITION TIME, in seconds.
    pub(crate) implicit_trans_secs: u8,
    /// How long a command waits in active/non-optimized state, in ms.
    pub(crate) nonop_delay_ms: u32,
    /// How long a transition takes, in ms.
    pub(crate) trans_delay_ms: u32,
}

impl Settings {
    const NEW: Settings = Settings {
        id: None,
        state: AccessState::ActiveOptimized,
        changed_by: ChangedBy::Nobody,
        kind: AccessType::BOTH,
        support: Support::ALL,
        preferred: false,
        implicit_trans_secs: 0,
        nonop_delay_ms: 0,
        trans_delay_ms: 0,
    };
}

/// A LUN that exports the device.
struct Port {
    lun: Arc<Lun>,
    /// The group it is in.
    key: u32,
    offline: bool,
    status: ChangedBy,
}

impl Port {
    fn relative_id(&self) -> u16 {
        self.lun.tpg().rtpi()
    }

    fn is(&self, lun: &Lun) -> bool {
        core::ptr::eq(Arc::as_ptr(&self.lun), lun)
    }
}

/// What can be told of a LUN's place in the groups.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The settings of its group.
    pub(crate) group: Settings,
    /// Whether it is taken offline by itself.
    pub(crate) offline: bool,
    /// What changed that last.
    pub(crate) status: ChangedBy,
}

impl Groups {
    /// The default group, and no LUN.
    pub(super) fn new() -> Result<Self> {
        let mut name = KVec::new();
        name.extend_from_slice(b"default_tg_pt_gp", GFP_KERNEL)?;
        let mut list = KVec::new();
        let settings = Settings {
            id: Some(0),
            ..Settings::NEW
        };
        list.push(
            Entry {
                key: DEFAULT_KEY,
                name,
                settings,
                transition: None,
            },
            GFP_KERNEL,
        )?;
        Ok(Self {
            list,
            ports: KVec::new(),
            next_key: DEFAULT_KEY + 1,
            transitions: 0,
        })
    }

    fn next_transition(&mut self) -> u64 {
        self.transitions = self.transitions.wrapping_add(1);
        self.transitions
    }

    fn entry(&self, key: u32) -> Option<&Entry> {
        self.list.iter().find(|e| e.key == key)
    }

    fn entry_mut(&mut self, key: u32) -> Result<&mut Entry> {
        self.list.iter_mut().find(|e| e.key == key).ok_or(ENOENT)
    }

    fn by_id(&self, id: u16) -> Option<&Entry> {
        self.list.iter().find(|e| e.settings.id == Some(id))
    }

    fn port(&self, lun: &Lun) -> Option<&Port> {
        self.ports.iter().find(|p| p.is(lun))
    }

    fn port_mut(&mut self, lun: &Lun) -> Result<&mut Port> {
        self.ports.iter_mut().find(|p| p.is(lun)).ok_or(ENODEV)
    }

    fn is_multi_port(&self) -> bool {
        let mut ids = self.ports.iter().map(Port::relative_id);
        match ids.next() {
            Some(first) => ids.any(|id| id != first),
            None => false,
        }
    }

    /// What a nexus through `lun` has to know, and how long its commands wait.
    fn access(&self, lun: &Lun, multi_port: bool) -> (Access, u32) {
        let Some(port) = self.port(lun) else {
            return (Access::PLAIN, 0);
        };
        let Some(entry) = self.entry(port.key) else {
            return (Access::PLAIN, 0);
        };
        let settings = &entry.settings;
        let state = if port.offline {
            AccessState::Offline
        } else {
            settings.state
        };
        let id = settings.id.unwrap_or(0);
        (
            Access::new(state, settings.kind, multi_port, id),
            settings.nonop_delay_ms,
        )
    }

    /// The relative target port identifiers of a group, `own` first.
    fn ports_of(&self, key: Option<u32>, own: u16) -> impl Iterator<Item = u16> + '_ {
        let wanted = move |port: &&Port| match key {
            Some(key) => port.key == key,
            None => port.offline,
        };
        let has_own = self
            .ports
            .iter()
            .filter(wanted)
            .any(|p| p.relative_id() == own);
        let others = self
            .ports
            .iter()
            .enumerate()
            .filter(move |(_, p)| wanted(p) && p.relative_id() != own)
            // A target port that exports the device twice is one port.
            .filter(move |(n, p)| {
                let before = self.ports.iter().take(*n).filter(wanted);
                !before
                    .into_iter()
                    .any(|b| b.relative_id() == p.relative_id())
            })
            .map(|(_, p)| p.relative_id());
        Iterator::chain(has_own.then_some(own).into_iter(), others)
    }

    /// An identifier for the ports that are offline, which form a secondary
    /// target port group.
    fn free_id(&self) -> u16 {
        (0..=u16::MAX)
            .rev()
            .find(|id| self.by_id(*id).is_none())
            .unwrap_or(u16::MAX)
    }
}

/// A target port group in configuration.
pub(crate) struct TargetPortGroup {
    device: Arc<Device>,
    key: u32,
}

impl TargetPortGroup {
    /// Its settings.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it has been removed.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let groups = self.device.groups().lock();
        Ok(groups.entry(self.key).ok_or(ENOENT)?.settings)
    }

    /// Gives it its identifier, which it then keeps; 0, which the default group
    /// has, stands for the lowest that is free.
    ///
    /// # Errors
    ///
    /// `EEXIST` when another group has it, `EBUSY` when this one has another.
    pub(crate) fn set_id(&self, id: u16) -> Result {
        let mut groups = self.device.groups().lock();
        let id = match id {
            0 if self.key != DEFAULT_KEY => (1..=u16::MAX)
                .find(|id| groups.by_id(*id).is_none())
                .ok_or(EEXIST)?,
            id => id,
        };
        if groups.by_id(id).is_some_and(|e| e.key != self.key) {
            return Err(EEXIST);
        }
        let entry = groups.entry_mut(self.key)?;
        match entry.settings.id {
            Some(own) if own != id => Err(EBUSY),
            Some(_) => Ok(()),
            None => {
                entry.settings.id = Some(id);
                Ok(())
            }
        }
    }

    /// Changes what no transition is needed for.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it has been removed.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Settings)) -> Result {
        let mut groups = self.device.groups().lock();
        let entry = groups.entry_mut(self.key)?;
        let (id, state) = (entry.settings.id, entry.settings.state);
        change(&mut entry.settings);
        // These have rules of their own.
        entry.settings.id = id;
        entry.settings.state = state;
        self.device.spread(&groups);
        Ok(())
    }

    /// Changes the access state, as the target's own decision. Takes as long as
    /// a transition does.
    ///
    /// # Errors
    ///
    /// `ENODEV` without an identifier, `EINVAL` when only initiators may or
    /// when the group cannot be in that state, `EBUSY` during a
    /// transition, `EIO` when that failed (see [`Device::arrive`]).
    pub(crate) fn set_state(&self, state: AccessState) -> Result {
        let (delay, number) = {
            let mut groups = self.device.groups().lock();
            let number = groups.next_transition();
            let entry = groups.entry_mut(self.key)?;
            let settings = &entry.settings;
            if settings.id.is_none() {
                return Err(ENODEV);
            }
            if !settings.kind.is_implicit() || !settings.support.has(state) {
                return Err(EINVAL);
            }
            if entry.transition.is_some() {
                return Err(EBUSY);
            }
            if settings.state == state {
                return Ok(());
            }
            let delay = entry.depart(state, ChangedBy::Implicit, number);
            self.device.spread(&groups);
            (delay, number)
        };
        self.device.announce(None);
        if delay == 0 {
            return Ok(());
        }
        misc::sleep_ms(delay);
        if !self.device.arrive(number, None) {
            self.device.post_all(Ua::ImplicitTransitionFailed, None);
            return Err(EIO);
        }
        Ok(())
    }

    /// Says whether it may be in the logical block dependent state.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it has been removed, `EINVAL` when it is to be and the device
    /// has no map of referrals.
    pub(crate) fn support_lba_dependent(&self, on: bool) -> Result {
        let mut groups = self.device.groups().lock();
        // It comes and goes while nobody else has the groups.
        if on && self.device.lba_map().geometry().is_none() {
            return Err(EINVAL);
        }
        let settings = &mut groups.entry_mut(self.key)?.settings;
        settings.support = settings.support.with(AccessState::LbaDependent, on);
        Ok(())
    }

    /// Calls `each` with every LUN that is in it, until it returns false.
    pub(crate) fn for_each_member(&self, each: &mut dyn FnMut(&Lun) -> bool) {
        let groups = self.device.groups().lock();
        for port in groups.ports.iter().filter(|p| p.key == self.key) {
            if !each(&port.lun) {
                break;
            }
        }
    }
}

impl Entry {
    /// Leaves the present state for another; returns how long the transition
    /// takes, 0 when it is over.
    fn depart(&mut self, state: AccessState, by: ChangedBy, number: u64) -> u32 {
        self.settings.changed_by = by;
        let delay = self.settings.trans_delay_ms;
        if delay == 0 || state == AccessState::Transitioning {
            self.settings.state = state;
            return 0;
        }
        self.transition = Some(Transition {
            number,
            from: self.settings.state,
            to: state,
        });
        self.settings.state = AccessState::Transitioning;
        delay
    }

    /// Ends the transition, if it is that one; whether the group is where it was
    /// to be. It is not when that state has ceased to be supported meanwhile.
    fn arrive(&mut self, number: u64) -> bool {
        let Some(transition) = self.transition.take_if(|t| t.number == number) else {
            return true;
        };
        let good = self.settings.support.has(transition.to);
        self.settings.state = if good { transition.to } else { transition.from };
        good
    }
}

impl Device {
    /// The group that is always there.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn default_group(self: &Arc<Self>) -> Result<Arc<TargetPortGroup>> {
        self.group_handle(DEFAULT_KEY)
    }

    fn group_handle(self: &Arc<Self>, key: u32) -> Result<Arc<TargetPortGroup>> {
        Ok(Arc::new(
            TargetPortGroup {
                device: self.clone(),
                key,
            },
            GFP_KERNEL,
        )?)
    }

    /// Makes a target port group without an identifier.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOSPC` when there are too many, `ENOMEM`.
    pub(crate) fn create_group(self: &Arc<Self>, name: &[u8]) -> Result<Arc<TargetPortGroup>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(name, GFP_KERNEL)?;
        let mut groups = self.groups().lock();
        if groups.list.iter().any(|e| e.name.as_slice() == name) {
            return Err(EEXIST);
        }
        if groups.list.len() >= MAX_GROUPS {
            return Err(ENOSPC);
        }
        let key = groups.next_key;
        let handle = self.group_handle(key)?;
        let mapped = self.lba_map().geometry().is_some();
        let settings = Settings {
            support: Support::ALL.with(AccessState::LbaDependent, mapped),
            ..Settings::NEW
        };
        groups.next_key = key.checked_add(1).ok_or(ENOSPC)?;
        groups.list.push(
            Entry {
                key,
                name: copy,
                settings,
                transition: None,
            },
            GFP_KERNEL,
        )?;
        Ok(handle)
    }

    /// Lets the groups be in the logical block dependent state, or not, and makes
    /// the `change` that is the reason. False, and nothing is done, when one is
    /// in that state, or on its way there, and may not be.
    pub(super) fn allow_lba_dependent(&self, on: bool, change: impl FnOnce()) -> bool {
        let mut groups = self.groups().lock();
        let is_there = |e: &Entry| {
            let going = e.transition.as_ref();
            let states = [
                Some(e.settings.state),
                going.map(|t| t.to),
                going.map(|t| t.from),
            ];
            states.contains(&Some(AccessState::LbaDependent))
        };
        if !on && groups.list.iter().any(is_there) {
            return false;
        }
        for entry in groups.list.iter_mut() {
            let support = entry.settings.support;
            entry.settings.support = support.with(AccessState::LbaDependent, on);
        }
        change();
        true
    }

    /// Removes a group; the LUNs in it are in the default group again.
    pub(crate) fn remove_group(&self, group: &TargetPortGroup) {
        let mut groups = self.groups().lock();
        let before = groups.list.len();
        groups.list.retain(|e| e.key != group.key);
        if groups.list.len() == before {
            return;
        }
        let mut moved = false;
        for port in groups.ports.iter_mut().filter(|p| p.key == group.key) {
            port.key = DEFAULT_KEY;
            moved = true;
        }
        self.spread(&groups);
        drop(groups);
        if moved {
            self.announce(None);
        }
    }

    /// A LUN exports the device from now on.
    pub(super) fn add_port(&self, lun: Arc<Lun>) -> Result {
        let mut groups = self.groups().lock();
        groups.ports.push(
            Port {
                lun,
                key: DEFAULT_KEY,
                offline: false,
                status: ChangedBy::Nobody,
            },
            GFP_KERNEL,
        )?;
        self.spread(&groups);
        Ok(())
    }

    /// A LUN exports the device no more.
    pub(super) fn remove_port(&self, lun: &Lun) {
        let mut groups = self.groups().lock();
        let at = groups.ports.iter().position(|p| p.is(lun));
        let gone = at.and_then(|at| groups.ports.remove(at).ok());
        self.spread(&groups);
        drop(groups);
        drop(gone);
    }

    /// A session has come to see the device.
    pub(super) fn admit_nexus(&self, nexus: &Nexus) {
        let groups = self.groups().lock();
        self.tell(&groups, nexus, groups.is_multi_port());
    }

    /// Lets the data path know what has changed.
    fn spread(&self, groups: &Groups) {
        let multi_port = groups.is_multi_port();
        // One that comes meanwhile is told by itself.
        self.for_each_nexus(&mut |nexus| self.tell(groups, nexus, multi_port));
    }

    /// Tells all initiators but one that the access state has changed.
    fn announce(&self, except: Option<u64>) {
        if self.attrib(DeviceAttrib::AluaSupport) != 0 {
            self.post_all(Ua::AccessStateChanged, except);
        }
    }

    fn tell(&self, groups: &Groups, nexus: &Nexus, multi_port: bool) {
        let (access, delay_ms) = match self.attrib(DeviceAttrib::AluaSupport) {
            0 => (
                Access::new(
                    AccessState::ActiveOptimized,
                    AccessType::NONE,
                    multi_port,
                    0,
                ),
                0,
            ),
            _ => groups.access(nexus.lun(), multi_port),
        };
        let before = nexus.set_access(access, delay_ms);
        if before.is_some_and(|before| before.shown() != access.shown()) {
            nexus.post(Ua::InquiryDataChanged);
        }
    }

    /// Target port groups are supported from now on, or not.
    pub(super) fn alua_switched(&self) {
        let groups = self.groups().lock();
        self.spread(&groups);
    }

    /// Ends a transition; initiators but one are told. It fails when a state that is to
    /// be reached is not supported any more: the group is then where it was before.
    fn arrive(&self, number: u64, except: Option<u64>) -> bool {
        let mut groups = self.groups().lock();
        let mut good = true;
        for entry in groups.list.iter_mut() {
            good &= entry.arrive(number);
        }
        self.spread(&groups);
        drop(groups);
        self.announce(except);
        good
    }

    // ---- commands --------------------------------------------------------

    /// The data of REPORT TARGET PORT GROUPS, for a command that came through
    /// `nexus`. May sleep.
    pub(crate) fn report_groups(&self, nexus: &Nexus, extended: bool, out: &mut [u8]) -> usize {
        let groups = self.groups().lock();
        let own = nexus.lun().tpg().rtpi();
        let seconds = groups
            .port(nexus.lun())
            .and_then(|p| groups.entry(p.key))
            .map_or(0, |e| e.settings.implicit_trans_secs);
        let mut report = Report::begin(extended.then_some(seconds), out);
        for entry in groups.list.iter() {
            let settings = &entry.settings;
            let Some(id) = settings.id else {
                continue;
            };
            let group = PortGroup {
                id,
                state: settings.state,
                preferred: settings.preferred,
                support: settings.support,
                changed_by: settings.changed_by,
            };
            report.group(&group, groups.ports_of(Some(entry.key), own));
        }
        if let Some(first) = groups.ports.iter().find(|p| p.offline) {
            let group = PortGroup {
                id: groups.free_id(),
                state: AccessState::Offline,
                preferred: false,
                support: Support::ALL,
                changed_by: first.status,
            };
            report.group(&group, groups.ports_of(None, own));
        }
        report.end()
    }

    /// The data of REPORT REFERRALS. May sleep.
    pub(crate) fn report_referrals(&self, lba: u64, one: bool, out: &mut [u8]) -> usize {
        let groups = self.groups().lock();
        let state_of = |id| {
            let state = groups.by_id(id)?.settings.state;
            (state != AccessState::LbaDependent).then_some(state)
        };
        let blocks = self.blocks();
        self.with_lba_map(|map| map.report(lba, one, blocks, &state_of, out))
    }

    /// Carries out SET TARGET PORT GROUPS of `session`: all of it or nothing. Returns the
    /// transition that it has begun, if that takes time. May sleep.
    ///
    /// # Errors
    ///
    /// What the command ends with.
    pub(crate) fn set_groups(
        &self,
        changes: &Changes<'_>,
        session: u64,
    ) -> Result<Option<Arrival>, Sense> {
        let mut changed = false;
        let mut delay = 0;
        let number;
        {
            let mut groups = self.groups().lock();
            number = groups.next_transition();
            for change in changes.iter() {
                groups.check(&change)?;
            }
            for change in changes.iter() {
                changed |= groups.apply(&change, number, &mut delay);
            }
            if changed {
                self.spread(&groups);
            }
        }
        if changed {
            self.announce(Some(session));
        }
        Ok((delay != 0).then(|| Arrival {
            number,
            due_ms: misc::now_ms().saturating_add(u64::from(delay)),
        }))
    }

    // ---- LUNs ------------------------------------------------------------

    /// What can be told of a LUN's place in the groups; `show` gets the name
    /// of its group as well.
    ///
    /// # Errors
    ///
    /// `ENODEV` when it does not export the device.
    fn with_place<R>(&self, lun: &Lun, show: impl FnOnce(&[u8], &Place) -> R) -> Result<R> {
        let groups = self.groups().lock();
        let port = groups.port(lun).ok_or(ENODEV)?;
        let entry = groups.entry(port.key).ok_or(ENODEV)?;
        let place = Place {
            group: entry.settings,
            offline: port.offline,
            status: port.status,
        };
        Ok(show(&entry.name, &place))
    }

    fn move_port(&self, lun: &Lun, name: Option<&[u8]>) -> Result {
        let mut groups = self.groups().lock();
        let key = match name {
            None => DEFAULT_KEY,
            Some(name) => {
                let named = |e: &&Entry| e.name.as_slice() == name && e.settings.id.is_some();
                groups.list.iter().find(named).ok_or(ENOENT)?.key
            }
        };
        let port = groups.port_mut(lun)?;
        if port.key == key {
            return Ok(());
        }
        port.key = key;
        self.spread(&groups);
        drop(groups);
        self.announce(None);
        Ok(())
    }

    fn change_port(
        &self,
        lun: &Lun,
        change: impl FnOnce(&mut Port, &Settings) -> Result<bool>,
    ) -> Result {
        let mut groups = self.groups().lock();
        let settings = {
            let port = groups.port(lun).ok_or(ENODEV)?;
            groups.entry(port.key).ok_or(ENODEV)?.settings
        };
        if !change(groups.port_mut(lun)?, &settings)? {
            return Ok(());
        }
        self.spread(&groups);
        drop(groups);
        self.announce(None);
        Ok(())
    }
}

impl Groups {
    /// Whether a change that an initiator wants can be made.
    fn check(&self, change: &Change) -> Result<(), Sense> {
        let about = if change.state == AccessState::Offline {
            self.ports
                .iter()
                .find(|p| p.relative_id() == change.id)
                .and_then(|p| self.entry(p.key))
        } else {
            self.by_id(change.id)
        };
        if about.is_some_and(|e| e.transition.is_some()) {
            // SPC-4: one transition is under way.
            return Err(Sense::NOT_READY_STATE_TRANSITION);
        }
        change.check(about.map(|e| (e.settings.kind, e.settings.support)))
    }

    /// Makes a change that has been checked; whether it is one.
    fn apply(&mut self, change: &Change, number: u64, delay: &mut u32) -> bool {
        let mut changed = false;
        if change.state == AccessState::Offline {
            let ports = self.ports.iter_mut();
            for port in ports.filter(|p| p.relative_id() == change.id && !p.offline) {
                port.offline = true;
                port.status = ChangedBy::Explicit;
                changed = true;
            }
            return changed;
        }
        let Some(key) = self.by_id(change.id).map(|e| e.key) else {
            return false;
        };
        if let Ok(entry) = self.entry_mut(key) {
            if entry.settings.state != change.state {
                let takes = entry.depart(change.state, ChangedBy::Explicit, number);
                *delay = takes.max(*delay);
                changed = true;
            }
        }
        changed
    }
}

impl Lun {
    /// Looks at its place in the target port groups; `show` gets the name of
    /// its group as well.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a device.
    pub(crate) fn with_place<R>(&self, show: impl FnOnce(&[u8], &Place) -> R) -> Result<R> {
        self.device().ok_or(ENODEV)?.with_place(self, show)
    }

    /// Puts it into a target port group of its device, or without a name into
    /// the default one.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a device, `ENOENT` when there is no such group with an
    /// identifier.
    pub(crate) fn set_group(&self, name: Option<&[u8]>) -> Result {
        self.device().ok_or(ENODEV)?.move_port(self, name)
    }

    /// Takes it offline, whatever its group is, or not.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a device, `EINVAL` when its group does not support it.
    pub(crate) fn set_offline(&self, on: bool) -> Result {
        let device = self.device().ok_or(ENODEV)?;
        device.change_port(self, |port, settings| {
            if on && !settings.support.has(AccessState::Offline) {
                return Err(EINVAL);
            }
            if port.offline == on {
                return Ok(false);
            }
            port.offline = on;
            port.status = ChangedBy::Implicit;
            Ok(true)
        })
    }

    /// Says what changed it last.
    ///
    /// # Errors
    ///
    /// `ENODEV` without a device.
    pub(crate) fn set_offline_status(&self, status: ChangedBy) -> Result {
        let device = self.device().ok_or(ENODEV)?;
        device.change_port(self, |port, _| {
            port.status = status;
            Ok(false)
        })
    }
}
