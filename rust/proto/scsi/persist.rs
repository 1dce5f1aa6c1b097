// SPDX-License-Identifier: GPL-2.0

//! Persistent reservations (SPC-4 5.9, 6.15 and 6.16): who has registered, who
//! holds the reservation, and what each service action makes of it.
//!
//! The machine decides; the memory for the registrations is the caller's
//! ([`Registry`]), who also tells the initiators ([`Event`]).

use super::command::{
    PrIn, //
    PrOut,
    Reservation,
};
use super::put::Put;
use super::sense::Sense;
use crate::proto::name::IscsiName;
use core::fmt;

/// Bytes of the parameter list of every action but REGISTER AND MOVE, and of
/// the fixed part of that one.
pub const LIST_LEN: usize = 24;

/// The longest parameter list that is read, in bytes.
pub const MAX_LIST_LEN: usize = 32 << 10;

/// An initiator port and the target port that it comes by (SAM-5: the I_T
/// nexus).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItNexus {
    /// The initiator's name.
    pub initiator: IscsiName,
    /// The initiator's part of the session identifier.
    pub isid: [u8; 6],
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub port: u16,
}

/// A registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// Whose it is; of the port see [`all_ports`](Self::all_ports).
    pub nexus: ItNexus,
    /// RESERVATION KEY, never 0.
    pub key: u64,
    /// It holds for every port of the target (ALL_TG_PT).
    pub all_ports: bool,
    /// It holds the reservation. Under the All Registrants types all do, and
    /// this says nothing.
    pub holder: bool,
}

impl Registrant {
    /// Whether it is that of the nexus.
    pub fn is(&self, nexus: &ItNexus) -> bool {
        self.nexus.isid == nexus.isid
            && (self.all_ports || self.nexus.port == nexus.port)
            && self.nexus.initiator == nexus.initiator
    }
}

/// TYPE of a reservation (SPC-4, "Persistent reservations type field").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PrType {
    /// Write Exclusive.
    WriteExclusive = 1,
    /// Exclusive Access.
    ExclusiveAccess = 3,
    /// Write Exclusive, Registrants Only.
    WriteExclusiveRegistrantsOnly = 5,
    /// Exclusive Access, Registrants Only.
    ExclusiveAccessRegistrantsOnly = 6,
    /// Write Exclusive, All Registrants.
    WriteExclusiveAllRegistrants = 7,
    /// Exclusive Access, All Registrants.
    ExclusiveAccessAllRegistrants = 8,
}

impl PrType {
    /// The type of a TYPE field.
    pub const fn from_code(code: u8) -> Option<PrType> {
        match code {
            1 => Some(Self::WriteExclusive),
            3 => Some(Self::ExclusiveAccess),
            5 => Some(Self::WriteExclusiveRegistrantsOnly),
            6 => Some(Self::ExclusiveAccessRegistrantsOnly),
            7 => Some(Self::WriteExclusiveAllRegistrants),
            8 => Some(Self::ExclusiveAccessAllRegistrants),
            _ => None,
        }
    }

    /// Whether every registrant holds it.
    pub const fn is_all_registrants(self) -> bool {
        matches!(
            self,
            Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants
        )
    }

    /// Whether registrants that do not hold it may do what the holder may.
    pub const fn is_for_registrants(self) -> bool {
        self.is_all_registrants()
            || matches!(
                self,
                Self::WriteExclusiveRegistrantsOnly | Self::ExclusiveAccessRegistrantsOnly
            )
    }

    /// What it keeps others from.
    pub const fn keeps_from(self) -> Reservation {
        match self {
            Self::WriteExclusive
            | Self::WriteExclusiveRegistrantsOnly
            | Self::WriteExclusiveAllRegistrants => Reservation::WriteExclusive,
            _ => Reservation::ExclusiveAccess,
        }
    }
}

impl fmt::Display for PrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteExclusive => "Write Exclusive Access",
            Self::ExclusiveAccess => "Exclusive Access",
            Self::WriteExclusiveRegistrantsOnly => "Write Exclusive Access, Registrants Only",
            Self::ExclusiveAccessRegistrantsOnly => "Exclusive Access, Registrants Only",
            Self::WriteExclusiveAllRegistrants => "Write Exclusive Access, All Registrants",
            Self::ExclusiveAccessAllRegistrants => "Exclusive Access, All Registrants",
        })
    }
}

/// There is no room for another registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Where registrations are kept, in the order in which they were made.
pub trait Registry {
    /// All of them.
    fn all(&self) -> &[Registrant];
    /// All of them, to be changed.
    fn all_mut(&mut self) -> &mut [Registrant];
    /// Adds one at the end.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]; then nothing has changed.
    fn push(&mut self, new: Registrant) -> Result<(), NoRoom>;
    /// Removes those for which `keep` is false.
    fn retain(&mut self, keep: &mut dyn FnMut(&Registrant) -> bool);
}

/// What others have to be told, or have done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// RESERVATIONS PREEMPTED (2Ah/03h).
    ReservationsPreempted,
    /// RESERVATIONS RELEASED (2Ah/04h).
    ReservationsReleased,
    /// REGISTRATIONS PREEMPTED (2Ah/05h).
    RegistrationsPreempted,
    /// Its tasks are to be aborted before the command ends.
    Abort,
}

/// How a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// RESERVATION CONFLICT.
    Conflict,
    /// CHECK CONDITION.
    Sense(Sense),
}

impl From<Sense> for Refusal {
    fn from(sense: Sense) -> Self {
        Refusal::Sense(sense)
    }
}

impl From<NoRoom> for Refusal {
    fn from(NoRoom: NoRoom) -> Self {
        Refusal::Sense(Sense::INSUFFICIENT_REGISTRATION_RESOURCES)
    }
}

/// The ports of a target: REGISTER AND MOVE names one.
pub trait Ports {
    /// Whether the target has a port of that relative identifier.
    fn has(&self, port: u16) -> bool;
}

/// A PERSISTENT RESERVE OUT command with its parameter list.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// SERVICE ACTION.
    pub action: PrOut,
    /// SCOPE.
    pub scope: u8,
    /// TYPE.
    pub kind: u8,
    /// The parameter list, as long as PARAMETER LIST LENGTH says.
    pub list: &'a [u8],
}

/// What an initiator may do, from its registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It has registered.
    pub registered: bool,
    /// It holds the reservation.
    pub holder: bool,
}

impl Standing {
    /// Whether a reservation of that type is in its way at all.
    pub fn is_kept_out(self, kind: PrType) -> bool {
        !(self.holder || self.registered && kind.is_for_registrants())
    }
}

/// The persistent reservation of a logical unit, and the registrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist<R> {
    registry: R,
    kind: Option<PrType>,
    generation: u32,
    /// Whether all this shall survive a loss of power.
    aptpl: bool,
}

impl<R: Registry> Persist<R> {
    /// Nobody has registered.
    pub const fn new(registry: R) -> Self {
        Self {
            registry,
            kind: None,
            generation: 0,
            aptpl: false,
        }
    }

    /// What was there before a loss of power. `generation` begins at 0 then
    /// (SPC-4 5.9.4).
    pub fn restored(registry: R, kind: Option<PrType>) -> Self {
        Self {
            registry,
            kind,
            generation: 0,
            aptpl: true,
        }
    }

    /// The same once more, in a registry that holds the same.
    pub fn copied_to(&self, registry: R) -> Self {
        Self {
            registry,
            kind: self.kind,
            generation: self.generation,
            aptpl: self.aptpl,
        }
    }

    /// Takes everything away, because an administrator wants it so; what CLEAR
    /// does, for nobody in particular. `tell` is called as by
    /// [`out`](Self::out).
    pub fn clear_all(&mut self, tell: &mut dyn FnMut(&Registrant, Event)) {
        for r in self.registry.all() {
            tell(r, Event::ReservationsPreempted);
        }
        self.registry.retain(&mut |_| false);
        self.kind = None;
        self.count();
    }

    /// The registrations.
    pub fn registry(&self) -> &R {
        &self.registry
    }

    /// The registrations, e.g. to make room for more.
    pub fn registry_mut(&mut self) -> &mut R {
        &mut self.registry
    }

    /// The type of the reservation, if there is one.
    pub fn kind(&self) -> Option<PrType> {
        self.kind
    }

    /// PRGENERATION.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether it shall survive a loss of power (PTPL_A).
    pub fn is_persistent(&self) -> bool {
        self.aptpl
    }

    /// Whether anybody has registered.
    pub fn is_in_use(&self) -> bool {
        !self.registry.all().is_empty()
    }

    /// The holder, of a type that has one.
    pub fn holder(&self) -> Option<&Registrant> {
        self.registry.all().iter().find(|r| r.holder)
    }

    /// Where an initiator stands.
    pub fn standing(&self, nexus: &ItNexus) -> Standing {
        self.standing_by(self.registry.all().iter().find(|r| r.is(nexus)))
    }

    /// Where an initiator stands whose registration is `own`, if it has one.
    pub fn standing_by(&self, own: Option<&Registrant>) -> Standing {
        match own {
            Some(own) => Standing {
                registered: true,
                holder: self
                    .kind
                    .is_some_and(|k| k.is_all_registrants() || own.holder),
            },
            None => Standing::default(),
        }
    }

    /// What RESERVE and RELEASE of SPC-2 come to for an initiator once
    /// somebody has registered (SPC-4 5.9.3, CRH): `None` when nobody has, and
    /// they have their own meaning; else whether they do nothing, and end GOOD.
    pub fn spc2(&self, nexus: &ItNexus) -> Option<bool> {
        if !self.is_in_use() {
            return None;
        }
        let standing = self.standing(nexus);
        Some(
            self.kind
                .is_some_and(|kind| standing.registered && !standing.is_kept_out(kind)),
        )
    }

    // ---- PERSISTENT RESERVE OUT ------------------------------------------

    /// Carries out a command. `tell` is called for what happens to others,
    /// while registrations still say whose they are.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; then nothing has changed.
    pub fn out(
        &mut self,
        nexus: &ItNexus,
        request: &Request<'_>,
        ports: &dyn Ports,
        tell: &mut dyn FnMut(&Registrant, Event),
    ) -> Result<(), Refusal> {
        if request.action == PrOut::RegisterAndMove {
            return self.register_and_move(nexus, request, ports);
        }
        let list = List::parse(request)?;
        match request.action {
            PrOut::Register => self.register(nexus, &list, false, tell),
            PrOut::RegisterAndIgnoreExistingKey => self.register(nexus, &list, true, tell),
            PrOut::Reserve => {
                self.check_key(nexus, list.key)?;
                self.reserve(nexus, type_of(request)?)
            }
            PrOut::Release => {
                self.check_key(nexus, list.key)?;
                self.release(nexus, type_of(request)?, tell)
            }
            PrOut::Clear => {
                self.check_key(nexus, list.key)?;
                self.clear(nexus, tell);
                Ok(())
            }
            PrOut::Preempt | PrOut::PreemptAndAbort => {
                self.check_key(nexus, list.key)?;
                self.preempt(nexus, list.new_key, request, tell)
            }
            // See above.
            PrOut::RegisterAndMove => Err(Sense::INVALID_FIELD_IN_CDB.into()),
        }
    }

    /// The initiator has registered, with that key.
    fn check_key(&self, nexus: &ItNexus, key: u64) -> Result<(), Refusal> {
        match self.registry.all().iter().find(|r| r.is(nexus)) {
            Some(own) if own.key == key => Ok(()),
            _ => Err(Refusal::Conflict),
        }
    }

    fn count(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    fn register(
        &mut self,
        nexus: &ItNexus,
        list: &List<'_>,
        ignore: bool,
        tell: &mut dyn FnMut(&Registrant, Event),
    ) -> Result<(), Refusal> {
        let own = self.registry.all().iter().position(|r| r.is(nexus));
        let known = own
            .and_then(|at| self.registry.all().get(at))
            .map(|r| r.key);
        if !ignore && list.key != known.unwrap_or(0) {
            return Err(Refusal::Conflict);
        }
        if list.others.is_some() && (ignore || known.is_some()) {
            // SPEC_I_PT is for a first registration.
            return Err(Sense::invalid_parameter(20, Some(3)).into());
        }
        match own {
            Some(_) if list.new_key == 0 => self.unregister(nexus, tell),
            Some(at) => {
                if let Some(own) = self.registry.all_mut().get_mut(at) {
                    own.key = list.new_key;
                }
            }
            None if list.new_key == 0 => {
                // Nothing to register and nothing to remove.
                if list.others.is_some() {
                    return Err(Sense::invalid_parameter(8, None).into());
                }
            }
            None => self.add(nexus, list)?,
        }
        self.aptpl = list.aptpl;
        self.count();
        Ok(())
    }

    /// Registers the nexus, and those that SPEC_I_PT names, all or none.
    fn add(&mut self, nexus: &ItNexus, list: &List<'_>) -> Result<(), Refusal> {
        // All names are looked at before the first is taken in.
        if let Some(others) = list.others {
            let mut rest = others;
            while !rest.is_empty() {
                (_, rest) = TransportId::parse(rest)?;
            }
        }
        let before = self.registry.all().len();
        let entry = |nexus: ItNexus| Registrant {
            nexus,
            key: list.new_key,
            all_ports: list.all_ports,
            holder: false,
        };
        let mut added = self.registry.push(entry(*nexus));
        let mut rest = list.others.unwrap_or(&[]);
        while added.is_ok() && !rest.is_empty() {
            let Ok((id, more)) = TransportId::parse(rest) else {
                break;
            };
            rest = more;
            let other = ItNexus {
                initiator: id.initiator,
                isid: id.isid,
                port: nexus.port,
            };
            // Who has registered keeps the key that it has.
            if !self.registry.all().iter().any(|r| r.is(&other)) {
                added = self.registry.push(entry(other));
            }
        }
        if added.is_err() {
            let mut index = 0usize;
            self.registry.retain(&mut |_| {
                index = index.saturating_add(1);
                index <= before
            });
        } else if list.all_ports {
            self.merge(before);
        }
        Ok(added?)
    }

    /// What was registered for all ports, from that place on, takes in what the
    /// same initiator ports had registered for one: each has one registration
    /// at each port, and one holds the reservation.
    fn merge(&mut self, from: usize) {
        let same = |a: &Registrant, b: &Registrant| {
            a.nexus.isid == b.nexus.isid && a.nexus.initiator == b.nexus.initiator
        };
        let Some((old, new)) = self.registry.all_mut().split_at_mut_checked(from) else {
            return;
        };
        for r in old {
            if let Some(taker) = new.iter_mut().find(|taker| same(taker, r)) {
                taker.holder |= r.holder;
                // No key: it goes below.
                r.key = 0;
            }
        }
        self.registry.retain(&mut |r| r.key != 0);
    }

    fn unregister(&mut self, nexus: &ItNexus, tell: &mut dyn FnMut(&Registrant, Event)) {
        let was_holder = self.registry.all().iter().any(|r| r.is(nexus) && r.holder);
        self.registry.retain(&mut |r| !r.is(nexus));
        let Some(kind) = self.kind else {
            return;
        };
        if kind.is_all_registrants() {
            // It goes with the last of them.
            if self.registry.all().is_empty() {
                self.kind = None;
            }
        } else if was_holder {
            self.kind = None;
            if kind.is_for_registrants() {
                for other in self.registry.all() {
                    tell(other, Event::ReservationsReleased);
                }
            }
        }
    }

    fn reserve(&mut self, nexus: &ItNexus, kind: PrType) -> Result<(), Refusal> {
        match self.kind {
            Some(held) if held == kind && self.standing(nexus).holder => Ok(()),
            Some(_) => Err(Refusal::Conflict),
            None => {
                self.hold(nexus, kind);
                Ok(())
            }
        }
    }

    /// Gives the reservation to the nexus.
    fn hold(&mut self, nexus: &ItNexus, kind: PrType) {
        self.kind = Some(kind);
        for r in self.registry.all_mut() {
            r.holder = !kind.is_all_registrants() && r.is(nexus);
        }
    }

    fn release(
        &mut self,
        nexus: &ItNexus,
        kind: PrType,
        tell: &mut dyn FnMut(&Registrant, Event),
    ) -> Result<(), Refusal> {
        let Some(held) = self.kind else {
            return Ok(());
        };
        if !self.standing(nexus).holder {
            return Ok(());
        }
        if held != kind {
            return Err(Sense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION.into());
        }
        self.let_go();
        if held.is_for_registrants() {
            for other in self.registry.all().iter().filter(|r| !r.is(nexus)) {
                tell(other, Event::ReservationsReleased);
            }
        }
        Ok(())
    }

    fn let_go(&mut self) {
        self.kind = None;
        for r in self.registry.all_mut() {
            r.holder = false;
        }
    }

    fn clear(&mut self, nexus: &ItNexus, tell: &mut dyn FnMut(&Registrant, Event)) {
        for other in self.registry.all().iter().filter(|r| !r.is(nexus)) {
            tell(other, Event::ReservationsPreempted);
        }
        self.registry.retain(&mut |_| false);
        self.kind = None;
        self.count();
    }

    /// SPC-4 5.9.11.4: which of its forms it is depends on whose key is named. SCOPE
    /// and TYPE are those of the reservation that it takes, and else ignored. Who takes
    /// it stays registered; who only removes registrations removes its own, too, if it
    /// names its own key.
    fn preempt(
        &mut self,
        nexus: &ItNexus,
        key: u64,
        request: &Request<'_>,
        tell: &mut dyn FnMut(&Registrant, Event),
    ) -> Result<(), Refusal> {
        let abort = request.action == PrOut::PreemptAndAbort;
        let everybody = self.kind.is_some_and(PrType::is_all_registrants) && key == 0;
        if key == 0 && !everybody {
            return Err(Sense::invalid_parameter(8, None).into());
        }
        let is_meant = |r: &Registrant| everybody || r.key == key;
        if !everybody && !self.registry.all().iter().any(is_meant) {
            return Err(Refusal::Conflict);
        }
        let takes = match self.kind {
            None => false,
            Some(held) if held.is_all_registrants() => everybody,
            Some(_) => self.holder().is_some_and(is_meant),
        };
        let taken = takes.then(|| type_of(request)).transpose()?;
        // SPC-4 5.9.11.5: the sender's own commands are aborted, too, all but this one,
        // if its registration goes, or the reservation that it had.
        let spared = takes && !everybody && !self.holder().is_some_and(|r| r.is(nexus));
        for r in self.registry.all().iter().filter(|r| is_meant(r)) {
            let own = r.is(nexus);
            if !own {
                tell(r, Event::RegistrationsPreempted);
            }
            if abort && !(own && spared) {
                tell(r, Event::Abort);
            }
        }
        let stays = |r: &Registrant| takes && r.is(nexus);
        self.registry.retain(&mut |r| stays(r) || !is_meant(r));
        if self.registry.all().is_empty() {
            // One that all registrants hold goes with the last of them.
            self.kind = None;
        }
        if let Some(kind) = taken {
            let changed = self.kind != Some(kind);
            self.hold(nexus, kind);
            if changed {
                for r in self.registry.all().iter().filter(|r| !r.is(nexus)) {
                    tell(r, Event::ReservationsReleased);
                }
            }
        }
        self.count();
        Ok(())
    }

    fn register_and_move(
        &mut self,
        nexus: &ItNexus,
        request: &Request<'_>,
        ports: &dyn Ports,
    ) -> Result<(), Refusal> {
        let list = MoveList::parse(request.list)?;
        self.check_key(nexus, list.key)?;
        let holds = self.holder().is_some_and(|r| r.is(nexus));
        let Some(kind) = self.kind.filter(|_| holds) else {
            return Err(Refusal::Conflict);
        };
        if list.new_key == 0 {
            return Err(Sense::invalid_parameter(8, None).into());
        }
        if !ports.has(list.port) {
            return Err(Sense::invalid_parameter(18, None).into());
        }
        let to = ItNexus {
            initiator: list.id.initiator,
            isid: list.id.isid,
            port: list.port,
        };
        if to == *nexus {
            return Err(Sense::invalid_parameter(24, None).into());
        }
        match self.registry.all().iter().position(|r| r.is(&to)) {
            Some(at) => {
                if let Some(known) = self.registry.all_mut().get_mut(at) {
                    known.key = list.new_key;
                }
            }
            None => self.registry.push(Registrant {
                nexus: to,
                key: list.new_key,
                all_ports: false,
                holder: false,
            })?,
        }
        self.hold(&to, kind);
        if list.unregister {
            self.registry.retain(&mut |r| !r.is(nexus) || r.is(&to));
        }
        self.aptpl = list.aptpl;
        self.count();
        Ok(())
    }

    // ---- PERSISTENT RESERVE IN -------------------------------------------

    /// Writes what a PERSISTENT RESERVE IN asks for, as much as fits; returns
    /// how long the whole is. `persists` says whether APTPL is supported.
    pub fn report(&self, action: PrIn, persists: bool, buf: &mut [u8]) -> usize {
        let mut out = Put::new(buf);
        match action {
            PrIn::ReadKeys => {
                let all = self.registry.all();
                out.u32(self.generation);
                out.u32(saturate(all.len().saturating_mul(8)));
                for r in all {
                    out.u64(r.key);
                }
            }
            PrIn::ReadReservation => {
                out.u32(self.generation);
                let Some(kind) = self.kind else {
                    out.u32(0);
                    return out.len();
                };
                out.u32(16);
                // Under the All Registrants types no key stands out.
                out.u64(self.holder().map_or(0, |r| r.key));
                out.zeros(5);
                out.u8(kind as u8);
                out.zeros(2);
            }
            PrIn::ReportCapabilities => {
                out.u16(8);
                // CRH, SIP_C, ATP_C, PTPL_C.
                out.u8(0x10 | 0x08 | 0x04 | u8::from(persists));
                // TMV, PTPL_A.
                out.u8(0x80 | u8::from(self.aptpl));
                // All six types.
                out.u8(0xea);
                out.u8(0x01);
                out.zeros(2);
            }
            PrIn::ReadFullStatus => {
                let all = self.registry.all();
                let len: usize = all
                    .iter()
                    .map(|r| id_len(&r.nexus.initiator).saturating_add(24 + ID_HEADER))
                    .fold(0, usize::saturating_add);
                out.u32(self.generation);
                out.u32(saturate(len));
                for r in all {
                    self.full_status(r, &mut out);
                }
            }
        }
        out.len()
    }

    fn full_status(&self, r: &Registrant, out: &mut Put<'_>) {
        let holds = self
            .kind
            .filter(|kind| kind.is_all_registrants() || r.holder);
        out.u64(r.key);
        out.zeros(4);
        out.u8(u8::from(r.all_ports) << 1 | u8::from(holds.is_some()));
        out.u8(holds.map_or(0, |kind| kind as u8));
        out.zeros(4);
        // With ALL_TG_PT the port says nothing.
        out.u16(if r.all_ports { 0 } else { r.nexus.port });
        let len = id_len(&r.nexus.initiator);
        out.u32(saturate(len.saturating_add(ID_HEADER)));
        put_id(&r.nexus, len, out);
    }
}

fn saturate(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// SCOPE and TYPE of a CDB; only logical units can be reserved.
fn type_of(request: &Request<'_>) -> Result<PrType, Refusal> {
    if request.scope != 0 {
        return Err(Sense::invalid_cdb(2, Some(7)).into());
    }
    PrType::from_code(request.kind).ok_or_else(|| Sense::invalid_cdb(2, Some(3)).into())
}

fn be64(list: &[u8], at: usize) -> Option<u64> {
    let bytes = list.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

fn be32(list: &[u8], at: usize) -> Option<u32> {
    let bytes = list.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

fn be16(list: &[u8], at: usize) -> Option<u16> {
    let bytes = list.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*bytes))
}

/// The basic parameter list (SPC-4, "Basic PERSISTENT RESERVE OUT parameter
/// list").
struct List<'a> {
    key: u64,
    new_key: u64,
    all_ports: bool,
    aptpl: bool,
    /// The TransportIDs of SPEC_I_PT.
    others: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    fn parse(request: &Request<'a>) -> Result<Self, Refusal> {
        let list = request.list;
        let short = || Refusal::from(Sense::PARAMETER_LIST_LENGTH_ERROR);
        let flags = *list.get(20).ok_or_else(short)?;
        let registers = matches!(
            request.action,
            PrOut::Register | PrOut::RegisterAndIgnoreExistingKey
        );
        // The other actions ignore these flags.
        let flags = if registers { flags } else { 0 };
        let others = if flags & 0x08 != 0 {
            let len = be32(list, 24).ok_or_else(short)?;
            let ids = list.get(28..).ok_or_else(short)?;
            if usize::try_from(len) != Ok(ids.len()) {
                return Err(short());
            }
            Some(ids)
        } else {
            // Without SPEC_I_PT the list is of one length.
            if list.len() != LIST_LEN {
                return Err(short());
            }
            None
        };
        Ok(Self {
            key: be64(list, 0).ok_or_else(short)?,
            new_key: be64(list, 8).ok_or_else(short)?,
            all_ports: flags & 0x04 != 0,
            aptpl: flags & 0x01 != 0,
            others,
        })
    }
}

/// Whether a parameter list asks that the registrations survive a loss of
/// power (APTPL).
pub fn wants_aptpl(request: &Request<'_>) -> bool {
    let at = match request.action {
        PrOut::Register | PrOut::RegisterAndIgnoreExistingKey => 20,
        PrOut::RegisterAndMove => 17,
        _ => return false,
    };
    request.list.get(at).is_some_and(|flags| flags & 0x01 != 0)
}

/// How many registrations a command may add at most.
pub fn most_added(request: &Request<'_>) -> usize {
    // The shortest TransportID has 24 bytes.
    request.list.len().wrapping_div(24).saturating_add(1)
}

/// The parameter list of REGISTER AND MOVE.
struct MoveList {
    key: u64,
    new_key: u64,
    unregister: bool,
    aptpl: bool,
    port: u16,
    id: TransportId,
}

impl MoveList {
    fn parse(list: &[u8]) -> Result<Self, Refusal> {
        let short = || Refusal::from(Sense::PARAMETER_LIST_LENGTH_ERROR);
        let flags = *list.get(17).ok_or_else(short)?;
        let len = be32(list, 20).ok_or_else(short)?;
        let id = list.get(24..).ok_or_else(short)?;
        if usize::try_from(len) != Ok(id.len()) {
            return Err(short());
        }
        let (id, rest) = TransportId::parse(id)?;
        if !rest.is_empty() {
            return Err(short());
        }
        Ok(Self {
            key: be64(list, 0).ok_or_else(short)?,
            new_key: be64(list, 8).ok_or_else(short)?,
            unregister: flags & 0x02 != 0,
            aptpl: flags & 0x01 != 0,
            port: be16(list, 18).ok_or_else(short)?,
            id,
        })
    }
}

// ---- TransportIDs ----------------------------------------------------------

/// A TransportID of an iSCSI initiator port (SPC-4 7.6.4.6).
struct TransportId {
    initiator: IscsiName,
    isid: [u8; 6],
}

/// PROTOCOL IDENTIFIER of iSCSI.
const ISCSI: u8 = 0x5;

/// What stands between the name and the ISID.
const SEPARATOR: &[u8] = b",i,0x";

impl TransportId {
    /// Reads the first of several, and returns what follows it.
    ///
    /// The form without an ISID (00b) names no initiator port, and is refused.
    fn parse(list: &[u8]) -> Result<(Self, &[u8]), Refusal> {
        let wrong = || Refusal::from(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
        let short = || Refusal::from(Sense::PARAMETER_LIST_LENGTH_ERROR);
        let first = *list.first().ok_or_else(short)?;
        if first & 0x0f != ISCSI || first >> 6 != 0b01 {
            return Err(wrong());
        }
        let len = usize::from(be16(list, 2).ok_or_else(short)?);
        // ADDITIONAL LENGTH is a multiple of four, and at least 20.
        if len < 20 || len & 3 != 0 {
            return Err(wrong());
        }
        let (text, rest) = list
            .get(4..)
            .ok_or_else(short)?
            .split_at_checked(len)
            .ok_or_else(short)?;
        // A text that does not end within its field is none.
        let end = text.iter().position(|b| *b == 0).ok_or_else(wrong)?;
        let (text, padding) = text.split_at_checked(end).ok_or_else(wrong)?;
        if padding.iter().any(|b| *b != 0) {
            return Err(wrong());
        }
        let at = text
            .windows(SEPARATOR.len())
            .position(|w| w.eq_ignore_ascii_case(SEPARATOR))
            .ok_or_else(wrong)?;
        let (name, tail) = text.split_at_checked(at).ok_or_else(wrong)?;
        let digits = tail.get(SEPARATOR.len()..).ok_or_else(wrong)?;
        let id = Self {
            initiator: IscsiName::parse(name).map_err(|_| wrong())?,
            isid: isid(digits).ok_or_else(wrong)?,
        };
        Ok((id, rest))
    }
}

/// Twelve hexadecimal digits.
fn isid(digits: &[u8]) -> Option<[u8; 6]> {
    if digits.len() != 12 {
        return None;
    }
    let mut isid = [0; 6];
    for (byte, pair) in isid.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    Some(isid)
}

/// Bytes of a TransportID before its text.
const ID_HEADER: usize = 4;

/// ADDITIONAL LENGTH of a TransportID: name, separator, ISID, NUL, padding.
fn id_len(name: &IscsiName) -> usize {
    let text = name
        .as_str()
        .len()
        .saturating_add(SEPARATOR.len())
        .saturating_add(13);
    (text.saturating_add(3) & !3usize).max(20)
}

fn put_id(nexus: &ItNexus, len: usize, out: &mut Put<'_>) {
    let name = nexus.initiator.as_str().as_bytes();
    out.u8(0x40 | ISCSI);
    out.zeros(1);
    out.u16(u16::try_from(len).unwrap_or(u16::MAX));
    out.bytes(name);
    out.bytes(SEPARATOR);
    for byte in nexus.isid {
        for nibble in [byte >> 4, byte & 0xf] {
            let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            out.u8(digit as u8);
        }
    }
    let text = name
        .len()
        .saturating_add(SEPARATOR.len())
        .saturating_add(12);
    out.zeros(len.saturating_sub(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Memory {
        list: Vec<Registrant>,
        room: usize,
    }

    impl Registry for Memory {
        fn all(&self) -> &[Registrant] {
            &self.list
        }
        fn all_mut(&mut self) -> &mut [Registrant] {
            &mut self.list
        }
        fn push(&mut self, new: Registrant) -> Result<(), NoRoom> {
            if self.list.len() >= self.room {
                return Err(NoRoom);
            }
            self.list.push(new);
            Ok(())
        }
        fn retain(&mut self, keep: &mut dyn FnMut(&Registrant) -> bool) {
            self.list.retain(|r| keep(r));
        }
    }

    struct Two;

    impl Ports for Two {
        fn has(&self, port: u16) -> bool {
            port == 1 || port == 2
        }
    }

    type Told = Vec<(u8, Event)>;

    /// Initiators 0.. with an ISID that tells them apart, at port 1.
    fn who(n: u8) -> ItNexus {
        ItNexus {
            initiator: IscsiName::parse(b"iqn.2003-01.org.example:host").unwrap(),
            isid: [0x80, 0, 0, 0, 0, n],
            port: 1,
        }
    }

    fn unit() -> Persist<Memory> {
        Persist::new(Memory {
            list: Vec::new(),
            room: 8,
        })
    }

    fn basic(key: u64, new_key: u64, flags: u8) -> Vec<u8> {
        let mut list = Vec::new();
        list.extend(key.to_be_bytes());
        list.extend(new_key.to_be_bytes());
        list.extend([0; 4]);
        list.extend([flags, 0, 0, 0]);
        list
    }

    fn id(text: &[u8]) -> Vec<u8> {
        let mut padded = text.to_vec();
        padded.push(0);
        while padded.len() % 4 != 0 || padded.len() < 20 {
            padded.push(0);
        }
        let mut id = std::vec![0x45, 0];
        id.extend((padded.len() as u16).to_be_bytes());
        id.extend(padded);
        id
    }

    fn go(
        unit: &mut Persist<Memory>,
        n: u8,
        action: PrOut,
        kind: u8,
        list: &[u8],
    ) -> Result<Told, Refusal> {
        let mut told = Told::new();
        let request = Request {
            action,
            scope: 0,
            kind,
            list,
        };
        unit.out(&who(n), &request, &Two, &mut |r, event| {
            told.push((r.nexus.isid[5], event));
        })?;
        Ok(told)
    }

    fn register(unit: &mut Persist<Memory>, n: u8, key: u64) {
        assert_eq!(
            go(unit, n, PrOut::Register, 0, &basic(0, key, 0)),
            Ok(Told::new())
        );
    }

    const CONFLICT: Result<Told, Refusal> = Err(Refusal::Conflict);

    #[test]
    fn registering_needs_the_right_key() {
        let unit = &mut unit();
        assert_eq!(
            go(unit, 1, PrOut::Register, 0, &basic(7, 9, 0)),
            CONFLICT,
            "a key, and no registration"
        );
        register(unit, 1, 9);
        assert_eq!(go(unit, 1, PrOut::Register, 0, &basic(0, 10, 0)), CONFLICT);
        go(unit, 1, PrOut::Register, 0, &basic(9, 10, 0)).unwrap();
        assert_eq!(unit.registry().all()[0].key, 10);
        go(
            unit,
            1,
            PrOut::RegisterAndIgnoreExistingKey,
            0,
            &basic(77, 11, 0),
        )
        .unwrap();
        go(
            unit,
            2,
            PrOut::RegisterAndIgnoreExistingKey,
            0,
            &basic(77, 0, 0),
        )
        .unwrap();
        assert_eq!(unit.registry().all().len(), 1);
        assert_eq!(unit.generation(), 4);
        go(unit, 1, PrOut::Register, 0, &basic(11, 0, 0)).unwrap();
        assert!(!unit.is_in_use());
        assert_eq!(unit.generation(), 5);
    }

    #[test]
    fn registering_for_all_ports_takes_in_what_was_for_one() {
        let unit = &mut unit();
        register(unit, 1, 5);
        register(unit, 2, 6);
        go(unit, 1, PrOut::Reserve, 1, &basic(5, 0, 0)).unwrap();
        let there = ItNexus { port: 2, ..who(1) };
        let list = basic(0, 7, 4);
        let request = Request {
            action: PrOut::Register,
            scope: 0,
            kind: 0,
            list: &list,
        };
        unit.out(&there, &request, &Two, &mut |_, _| {}).unwrap();
        let all = unit.registry().all();
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[1].key, all[1].all_ports, all[1].holder),
            (7, true, true)
        );
        assert!(unit.standing(&who(1)).holder);
        assert_eq!(go(unit, 1, PrOut::Release, 1, &basic(5, 0, 0)), CONFLICT);
        go(unit, 1, PrOut::Release, 1, &basic(7, 0, 0)).unwrap();
        assert_eq!(unit.kind(), None);
        assert!(unit.registry().all().iter().all(|r| !r.holder));
    }

    #[test]
    fn only_who_has_registered_may_reserve() {
        for code in 0..16 {
            let unit = &mut unit();
            let reserve = |unit: &mut Persist<Memory>, n, key| {
                go(unit, n, PrOut::Reserve, code, &basic(key, 0, 0))
            };
            assert_eq!(reserve(unit, 1, 0), CONFLICT);
            register(unit, 1, 5);
            register(unit, 2, 6);
            assert_eq!(reserve(unit, 1, 6), CONFLICT, "another's key");
            let Some(kind) = PrType::from_code(code) else {
                assert_eq!(
                    reserve(unit, 1, 5),
                    Err(Sense::invalid_cdb(2, Some(3)).into())
                );
                continue;
            };
            reserve(unit, 1, 5).unwrap();
            reserve(unit, 1, 5).unwrap();
            let again = reserve(unit, 2, 6);
            assert_eq!(again.is_ok(), kind.is_all_registrants());
            assert_eq!(unit.kind(), Some(kind));
            assert_eq!(unit.generation(), 2, "reserving does not count");
            let other = if code == 1 { 3 } else { 1 };
            assert_eq!(
                go(unit, 1, PrOut::Reserve, other, &basic(5, 0, 0)),
                CONFLICT
            );
            // Who is kept out, and from what.
            let standing = |n| unit.standing(&who(n));
            assert!(!standing(1).is_kept_out(kind));
            assert_eq!(standing(2).is_kept_out(kind), matches!(code, 1 | 3));
            assert!(standing(3).is_kept_out(kind));
            assert_eq!(
                kind.keeps_from() == Reservation::WriteExclusive,
                matches!(code, 1 | 5 | 7)
            );
        }
    }

    #[test]
    fn releasing() {
        for (code, told) in [(1, 0), (3, 0), (5, 2), (6, 2), (7, 2), (8, 2)] {
            let unit = &mut unit();
            for n in 1..=3 {
                register(unit, n, u64::from(n));
            }
            let release = |unit: &mut Persist<Memory>, n: u8, kind| {
                go(unit, n, PrOut::Release, kind, &basic(u64::from(n), 0, 0))
            };
            assert_eq!(release(unit, 1, code), Ok(Told::new()), "nothing is held");
            go(unit, 1, PrOut::Reserve, code, &basic(1, 0, 0)).unwrap();
            if !PrType::from_code(code).unwrap().is_all_registrants() {
                assert_eq!(release(unit, 2, code), Ok(Told::new()), "not the holder");
                assert!(unit.kind().is_some());
            }
            let other = if code == 1 { 3 } else { 1 };
            assert_eq!(
                release(unit, 1, other),
                Err(Sense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION.into())
            );
            let events = release(unit, 1, code).unwrap();
            assert_eq!(events.len(), told);
            assert!(events
                .iter()
                .all(|(n, e)| *n != 1 && *e == Event::ReservationsReleased));
            assert_eq!(unit.kind(), None);
            assert_eq!(unit.generation(), 3);
        }
    }

    #[test]
    fn the_reservation_goes_with_its_holder() {
        for (code, told) in [(1, 0), (3, 0), (5, 1), (6, 1)] {
            let unit = &mut unit();
            register(unit, 1, 1);
            register(unit, 2, 2);
            go(unit, 1, PrOut::Reserve, code, &basic(1, 0, 0)).unwrap();
            go(unit, 2, PrOut::Register, 0, &basic(2, 0, 0)).unwrap();
            assert!(unit.kind().is_some());
            register(unit, 2, 2);
            let events = go(unit, 1, PrOut::Register, 0, &basic(1, 0, 0)).unwrap();
            assert_eq!(events.len(), told);
            assert_eq!(unit.kind(), None);
        }
        // Of an All Registrants type with the last one.
        let unit = &mut unit();
        register(unit, 1, 1);
        register(unit, 2, 2);
        go(unit, 1, PrOut::Reserve, 8, &basic(1, 0, 0)).unwrap();
        go(unit, 1, PrOut::Register, 0, &basic(1, 0, 0)).unwrap();
        assert!(unit.kind().is_some());
        assert!(unit.standing(&who(2)).holder);
        go(unit, 2, PrOut::Register, 0, &basic(2, 0, 0)).unwrap();
        assert_eq!(unit.kind(), None);
    }

    #[test]
    fn clearing() {
        let unit = &mut unit();
        for n in 1..=3 {
            register(unit, n, u64::from(n));
        }
        go(unit, 2, PrOut::Reserve, 1, &basic(2, 0, 0)).unwrap();
        assert_eq!(go(unit, 1, PrOut::Clear, 0, &basic(2, 0, 0)), CONFLICT);
        let events = go(unit, 1, PrOut::Clear, 0, &basic(1, 0, 0)).unwrap();
        assert_eq!(
            events,
            [
                (2, Event::ReservationsPreempted),
                (3, Event::ReservationsPreempted)
            ]
        );
        assert!(!unit.is_in_use());
        assert_eq!((unit.kind(), unit.generation()), (None, 4));
    }

    #[test]
    fn preempting_the_holder_takes_the_reservation() {
        for action in [PrOut::Preempt, PrOut::PreemptAndAbort] {
            let unit = &mut unit();
            for n in 1..=3 {
                register(unit, n, u64::from(n));
            }
            go(unit, 1, PrOut::Reserve, 5, &basic(1, 0, 0)).unwrap();
            assert_eq!(go(unit, 2, action, 5, &basic(3, 1, 0)), CONFLICT);
            assert_eq!(
                go(unit, 2, action, 5, &basic(2, 99, 0)),
                CONFLICT,
                "nobody's key"
            );
            assert_eq!(
                go(unit, 2, action, 5, &basic(2, 0, 0)),
                Err(Sense::invalid_parameter(8, None).into())
            );
            let events = go(unit, 2, action, 1, &basic(2, 1, 0)).unwrap();
            let mut want = std::vec![(1, Event::RegistrationsPreempted)];
            if action == PrOut::PreemptAndAbort {
                want.push((1, Event::Abort));
            }
            want.push((3, Event::ReservationsReleased));
            assert_eq!(events, want);
            assert_eq!(unit.kind(), Some(PrType::WriteExclusive));
            assert!(unit.standing(&who(2)).holder);
            assert!(!unit.standing(&who(1)).registered);
            assert_eq!(unit.generation(), 4);
        }
    }

    #[test]
    fn preempting_others_removes_them_only() {
        let unit = &mut unit();
        for n in 1..=4 {
            register(unit, n, if n == 4 { 3 } else { u64::from(n) });
        }
        go(unit, 1, PrOut::Reserve, 3, &basic(1, 0, 0)).unwrap();
        let events = go(unit, 2, PrOut::Preempt, 1, &basic(2, 3, 0)).unwrap();
        assert_eq!(
            events,
            [
                (3, Event::RegistrationsPreempted),
                (4, Event::RegistrationsPreempted)
            ]
        );
        assert_eq!(unit.kind(), Some(PrType::ExclusiveAccess));
        assert!(unit.standing(&who(1)).holder);
        // Nothing is reserved.
        go(unit, 1, PrOut::Release, 3, &basic(1, 0, 0)).unwrap();
        go(unit, 1, PrOut::Preempt, 3, &basic(1, 2, 0)).unwrap();
        assert_eq!(unit.registry().all().len(), 1);
        assert_eq!(unit.kind(), None);
    }

    #[test]
    fn scope_and_type_matter_to_who_takes_the_reservation() {
        for action in [PrOut::Preempt, PrOut::PreemptAndAbort] {
            let unit = &mut unit();
            for n in 1..=3 {
                register(unit, n, u64::from(n));
            }
            // No reservation, and another's: registrations are removed all the same.
            go(unit, 1, action, 0, &basic(1, 3, 0)).unwrap();
            assert!(!unit.standing(&who(3)).registered);
            register(unit, 3, 3);
            go(unit, 1, PrOut::Reserve, 5, &basic(1, 0, 0)).unwrap();
            go(unit, 2, action, 15, &basic(2, 3, 0)).unwrap();
            assert_eq!(unit.kind(), Some(PrType::WriteExclusiveRegistrantsOnly));
            assert!(unit.standing(&who(1)).holder);
            assert!(!unit.standing(&who(3)).registered);
            // The holder's key: the reservation needs a type.
            let before = unit.clone();
            assert_eq!(
                go(unit, 2, action, 0, &basic(2, 1, 0)),
                Err(Sense::invalid_cdb(2, Some(3)).into())
            );
            assert_eq!(*unit, before);
        }
    }

    #[test]
    fn preempting_all_registrants() {
        let unit = &mut unit();
        for n in 1..=3 {
            register(unit, n, u64::from(n));
        }
        go(unit, 1, PrOut::Reserve, 7, &basic(1, 0, 0)).unwrap();
        // A key removes those that have it.
        go(unit, 2, PrOut::Preempt, 7, &basic(2, 3, 0)).unwrap();
        assert_eq!(unit.kind(), Some(PrType::WriteExclusiveAllRegistrants));
        assert_eq!(unit.registry().all().len(), 2);
        // Zero removes all others, and takes it.
        go(unit, 2, PrOut::Preempt, 3, &basic(2, 0, 0)).unwrap();
        assert_eq!(unit.kind(), Some(PrType::ExclusiveAccess));
        assert_eq!(unit.registry().all().len(), 1);
        assert!(unit.standing(&who(2)).holder);
    }

    #[test]
    fn preempting_with_ones_own_key() {
        for (action, kind) in [PrOut::Preempt, PrOut::PreemptAndAbort]
            .into_iter()
            .flat_map(|action| [1, 3, 5, 6, 7, 8].map(|kind| (action, kind)))
        {
            let all = PrType::from_code(kind).unwrap().is_all_registrants();
            let ready = || {
                let mut unit = unit();
                for n in 1..=2 {
                    register(&mut unit, n, u64::from(n));
                }
                unit
            };
            let mine = |n| match action {
                PrOut::PreemptAndAbort => std::vec![(n, Event::Abort)],
                _ => Vec::new(),
            };
            // Nothing is reserved: the registration goes, and nobody is told.
            let unit = &mut ready();
            assert_eq!(go(unit, 1, action, kind, &basic(1, 1, 0)), Ok(mine(1)));
            assert!(!unit.standing(&who(1)).registered);
            assert!(unit.standing(&who(2)).registered);
            assert_eq!(go(unit, 1, action, kind, &basic(1, 1, 0)), CONFLICT);
            // Somebody else has reserved it, or everybody has: the same.
            let unit = &mut ready();
            go(unit, 2, PrOut::Reserve, kind, &basic(2, 0, 0)).unwrap();
            assert_eq!(go(unit, 1, action, 1, &basic(1, 1, 0)), Ok(mine(1)));
            assert!(!unit.standing(&who(1)).registered);
            assert!(unit.standing(&who(2)).holder);
            assert_eq!(unit.kind(), PrType::from_code(kind));
            // One that everybody has goes with the last of them.
            go(unit, 2, action, 1, &basic(2, 2, 0)).unwrap();
            assert_eq!(unit.is_in_use(), !all);
            assert_eq!(
                unit.kind(),
                (!all).then_some(PrType::WriteExclusive),
                "and its holder's stays"
            );
            // Who holds it gives it another type, and stays.
            if !all {
                let unit = &mut ready();
                go(unit, 1, PrOut::Reserve, kind, &basic(1, 0, 0)).unwrap();
                let other = if kind == 3 { 6 } else { 3 };
                let events = go(unit, 1, action, other, &basic(1, 1, 0)).unwrap();
                let mut want = mine(1);
                want.push((2, Event::ReservationsReleased));
                assert_eq!(events, want);
                assert!(unit.standing(&who(1)).holder);
                assert_eq!(unit.kind(), PrType::from_code(other));
                assert_eq!(unit.registry().all().len(), 2);
            }
        }
    }

    /// Two ports of one host with the same key: what one of them sends is not aborted
    /// when it takes the reservation from the other one.
    #[test]
    fn who_preempts_another_with_the_same_key_keeps_its_commands() {
        let unit = &mut unit();
        for n in 1..=2 {
            register(unit, n, 7);
        }
        go(unit, 1, PrOut::Reserve, 5, &basic(7, 0, 0)).unwrap();
        let events = go(unit, 2, PrOut::PreemptAndAbort, 5, &basic(7, 7, 0)).unwrap();
        assert_eq!(
            events,
            [(1, Event::RegistrationsPreempted), (1, Event::Abort)]
        );
        assert!(unit.standing(&who(2)).holder);
    }

    #[test]
    fn who_preempts_all_registrants_is_one_of_them() {
        let unit = &mut unit();
        for n in 1..=2 {
            register(unit, n, u64::from(n));
        }
        go(unit, 1, PrOut::Reserve, 7, &basic(1, 0, 0)).unwrap();
        let events = go(unit, 2, PrOut::PreemptAndAbort, 3, &basic(2, 0, 0)).unwrap();
        assert_eq!(
            events,
            [
                (1, Event::RegistrationsPreempted),
                (1, Event::Abort),
                (2, Event::Abort)
            ]
        );
    }

    #[test]
    fn others_can_be_registered_too() {
        let unit = &mut unit();
        let others: Vec<u8> = [
            id(b"iqn.2003-01.org.example:host,i,0x800000000002"),
            id(b"IQN.2003-01.org.example:HOST,I,0x8000000000fF"),
        ]
        .concat();
        let mut list = basic(0, 9, 0x08);
        list.extend((others.len() as u32).to_be_bytes());
        list.extend(&others);
        go(unit, 1, PrOut::Register, 0, &list).unwrap();
        let isids: Vec<u8> = unit
            .registry()
            .all()
            .iter()
            .map(|r| r.nexus.isid[5])
            .collect();
        assert_eq!(isids, [1, 2, 0xff]);
        assert_eq!(unit.generation(), 1);
        // Only with a first registration.
        let mut again = list.clone();
        again[..8].copy_from_slice(&9u64.to_be_bytes());
        assert_eq!(
            go(unit, 1, PrOut::Register, 0, &again),
            Err(Sense::invalid_parameter(20, Some(3)).into())
        );
        // All or none.
        let mut full = super::tests::unit();
        full.registry_mut().room = 2;
        assert_eq!(
            go(&mut full, 1, PrOut::Register, 0, &list),
            Err(Sense::INSUFFICIENT_REGISTRATION_RESOURCES.into())
        );
        assert!(!full.is_in_use());
        // Every prefix is refused, and changes nothing.
        for n in 0..list.len() {
            let mut unit = super::tests::unit();
            assert!(
                go(&mut unit, 1, PrOut::Register, 0, &list[..n]).is_err(),
                "{n} bytes"
            );
            assert!(!unit.is_in_use());
        }
    }

    #[test]
    fn transport_ids_that_are_none() {
        let good = id(b"iqn.2003-01.org.example:host,i,0x800000000002");
        assert!(TransportId::parse(&good).is_ok());
        let broken: [Vec<u8>; 9] = [
            id(b"iqn.2003-01.org.example:host"),
            id(b"iqn.2003-01.org.example:host,i,0x80000000002"),
            id(b"iqn.2003-01.org.example:host,i,0x80000000000g"),
            id(b",i,0x800000000002"),
            id(b"not a name,i,0x800000000002"),
            // Without a NUL.
            {
                let mut id = std::vec![0x45, 0, 0, 20];
                id.extend([b'x'; 20]);
                id
            },
            // The form without an ISID.
            [&[0x05], &good[1..]].concat(),
            // Another protocol.
            [&[0x46], &good[1..]].concat(),
            // Longer than the list.
            [&[0x45, 0, 0xff, 0xfc], &good[4..]].concat(),
        ];
        for list in &broken {
            assert!(TransportId::parse(list).is_err(), "{list:?}");
        }
    }

    #[test]
    fn moving() {
        let unit = &mut unit();
        register(unit, 1, 1);
        let moved = |new_key: u64, flags: u8, port: u16, n: u8| {
            let mut list = Vec::new();
            list.extend(1u64.to_be_bytes());
            list.extend(new_key.to_be_bytes());
            list.extend([0, flags]);
            list.extend(port.to_be_bytes());
            let text = std::format!("iqn.2003-01.org.example:host,i,0x8000000000{n:02x}");
            let id = id(text.as_bytes());
            list.extend((id.len() as u32).to_be_bytes());
            list.extend(id);
            list
        };
        let act = PrOut::RegisterAndMove;
        assert_eq!(
            go(unit, 1, act, 0, &moved(5, 0, 1, 2)),
            CONFLICT,
            "nothing is held"
        );
        go(unit, 1, PrOut::Reserve, 3, &basic(1, 0, 0)).unwrap();
        for (list, sense) in [
            (moved(0, 0, 1, 2), Sense::invalid_parameter(8, None)),
            (moved(5, 0, 9, 2), Sense::invalid_parameter(18, None)),
            (moved(5, 0, 1, 1), Sense::invalid_parameter(24, None)),
        ] {
            assert_eq!(go(unit, 1, act, 0, &list), Err(sense.into()));
        }
        let list = moved(5, 0, 2, 2);
        for n in 0..list.len() {
            assert!(go(unit, 1, act, 0, &list[..n]).is_err());
        }
        go(unit, 1, act, 0, &list).unwrap();
        assert_eq!(unit.registry().all().len(), 2);
        let holder = unit.holder().unwrap();
        assert_eq!(
            (holder.nexus.isid[5], holder.nexus.port, holder.key),
            (2, 2, 5)
        );
        assert!(unit.standing(&who(1)).registered);
        // With UNREG the mover goes.
        let mut unit = super::tests::unit();
        register(&mut unit, 1, 1);
        go(&mut unit, 1, PrOut::Reserve, 3, &basic(1, 0, 0)).unwrap();
        go(&mut unit, 1, act, 0, &moved(5, 2, 1, 2)).unwrap();
        assert!(!unit.standing(&who(1)).registered);
        assert!(unit.standing(&who(2)).holder);
        assert_eq!(unit.generation(), 2);
    }

    #[test]
    fn all_ports_and_others() {
        let unit = &mut unit();
        go(unit, 1, PrOut::Register, 0, &basic(0, 1, 0x04)).unwrap();
        let elsewhere = ItNexus { port: 2, ..who(1) };
        assert!(unit.standing(&elsewhere).registered);
        register(unit, 2, 2);
        assert!(!unit.standing(&ItNexus { port: 2, ..who(2) }).registered);
    }

    #[test]
    fn reserving_the_old_way() {
        let unit = &mut unit();
        assert_eq!(unit.spc2(&who(1)), None);
        register(unit, 1, 1);
        register(unit, 2, 2);
        assert_eq!(unit.spc2(&who(1)), Some(false));
        go(unit, 1, PrOut::Reserve, 1, &basic(1, 0, 0)).unwrap();
        assert_eq!(unit.spc2(&who(1)), Some(true));
        assert_eq!(unit.spc2(&who(2)), Some(false));
        assert_eq!(unit.spc2(&who(3)), Some(false));
    }

    fn report(unit: &Persist<Memory>, action: PrIn) -> Vec<u8> {
        let mut buf = std::vec![0xaa; 512];
        let len = unit.report(action, true, &mut buf);
        for short in 0..len {
            let mut cut = std::vec![0xaa; short];
            assert_eq!(unit.report(action, true, &mut cut), len);
            assert_eq!(cut, buf[..short]);
        }
        buf.truncate(len);
        buf
    }

    #[test]
    fn reports() {
        let unit = &mut unit();
        assert_eq!(report(unit, PrIn::ReadKeys), [0; 8]);
        assert_eq!(report(unit, PrIn::ReadReservation), [0; 8]);
        register(unit, 1, 0x0102_0304_0506_0708);
        go(unit, 2, PrOut::Register, 0, &basic(0, 0xff, 0x05)).unwrap();
        assert_eq!(
            report(unit, PrIn::ReadKeys),
            [0, 0, 0, 2, 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0xff]
        );
        go(
            unit,
            1,
            PrOut::Reserve,
            6,
            &basic(0x0102_0304_0506_0708, 0, 0),
        )
        .unwrap();
        assert_eq!(
            report(unit, PrIn::ReadReservation),
            [0, 0, 0, 2, 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 6, 0, 0]
        );
        assert_eq!(
            report(unit, PrIn::ReportCapabilities),
            [0, 8, 0x1d, 0x81, 0xea, 0x01, 0, 0]
        );
        let full = report(unit, PrIn::ReadFullStatus);
        let text = b"iqn.2003-01.org.example:host,i,0x800000000001\0\0\0";
        let mut want = std::vec![0, 0, 0, 2, 0, 0, 0, 2 * (24 + 4 + 48)];
        want.extend([1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0x01, 0x06, 0, 0, 0, 0]);
        want.extend([0, 1, 0, 0, 0, 52, 0x45, 0, 0, 48]);
        want.extend(text);
        want.extend([0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0]);
        want.extend([0, 0, 0, 0, 0, 52, 0x45, 0, 0, 48]);
        want.extend(&text[..44]);
        want.extend(b"2\0\0\0");
        assert_eq!(full, want);
        let id = &full[8 + 24..8 + 24 + 52];
        let (parsed, rest) = TransportId::parse(id).ok().unwrap();
        assert!(rest.is_empty());
        assert_eq!(parsed.isid, who(1).isid);
    }

    proptest! {
        /// Whatever is asked, nothing is half done, and what must hold does.
        #[test]
        fn invariants(steps in prop::collection::vec(
            (0u8..4, 0u8..7, prop::sample::select(std::vec![0u8, 1, 3, 5, 6, 7, 8, 15]), 0u64..5, 0u64..5, 0u8..16),
            0..60,
        )) {
            let mut unit = unit();
            for (n, action, kind, key, new_key, flags) in steps {
                let action = match action {
                    0 => PrOut::Register,
                    1 => PrOut::Reserve,
                    2 => PrOut::Release,
                    3 => PrOut::Clear,
                    4 => PrOut::Preempt,
                    5 => PrOut::PreemptAndAbort,
                    _ => PrOut::RegisterAndIgnoreExistingKey,
                };
                let before = unit.clone();
                let done = go(&mut unit, n, action, kind, &basic(key, new_key, flags));
                match done {
                    Err(_) => prop_assert_eq!(&unit, &before),
                    Ok(told) => {
                        let others = |(who, event): &(u8, Event)| *who != n || *event == Event::Abort;
                        prop_assert!(told.iter().all(others), "told itself");
                    }
                }
                let all = unit.registry().all();
                prop_assert!(all.iter().all(|r| r.key != 0));
                for r in all {
                    let same = all.iter().filter(|o| o.is(&r.nexus)).count();
                    prop_assert_eq!(same, 1, "registered twice");
                }
                let holders = all.iter().filter(|r| r.holder).count();
                match unit.kind() {
                    None => prop_assert_eq!(holders, 0),
                    Some(kind) if kind.is_all_registrants() => {
                        prop_assert_eq!(holders, 0);
                        prop_assert!(!all.is_empty());
                    }
                    Some(_) => prop_assert_eq!(holders, 1),
                }
            }
        }

        /// No list makes it panic.
        #[test]
        fn any_list(list in prop::collection::vec(any::<u8>(), 0..200), action in 0u8..8, flags in any::<u8>()) {
            let mut list = list;
            if let Some(byte) = list.get_mut(20) {
                *byte = flags;
            }
            let mut unit = unit();
            register(&mut unit, 1, 1);
            let action = match action {
                0 => PrOut::Register,
                1 => PrOut::Reserve,
                2 => PrOut::Release,
                3 => PrOut::Clear,
                4 => PrOut::Preempt,
                5 => PrOut::PreemptAndAbort,
                6 => PrOut::RegisterAndMove,
                _ => PrOut::RegisterAndIgnoreExistingKey,
            };
            let _ = go(&mut unit, 1, action, 1, &list);
            let _ = go(&mut unit, 2, action, 1, &list);
            let _ = TransportId::parse(&list);
        }
    }

    #[test]
    fn types_have_names() {
        let names: Vec<String> = (0..16)
            .filter_map(PrType::from_code)
            .map(|kind| std::format!("{kind}"))
            .collect();
        assert_eq!(names.len(), 6);
        assert_eq!(names[0], "Write Exclusive Access");
    }
}
