// SPDX-License-Identifier: GPL-2.0

//! What was done, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::mutate::Kind;
use crate::script::Fault;

/// The counters of a run.
pub struct Stats {
    pub scripts: AtomicU64,
    pub connections: AtomicU64,
    pub refused: AtomicU64,
    pub logins: AtomicU64,
    pub chap: AtomicU64,
    pub discovery: AtomicU64,
    pub added: AtomicU64,
    pub pdus: AtomicU64,
    pub valid_headers: AtomicU64,
    pub bytes: AtomicU64,
    pub answers: AtomicU64,
    pub rejects: AtomicU64,
    pub responses: AtomicU64,
    pub r2ts: AtomicU64,
    pub by_opcode: [AtomicU64; 64],
    pub by_kind: [AtomicU64; 32],
    pub by_fault: [AtomicU64; Fault::ALL.len()],
    pub witness_logins: AtomicU64,
    pub witness_blocks: AtomicU64,
    pub slowest_login_ms: AtomicU64,
    pub slowest_io_ms: AtomicU64,
}

/// Counts one.
pub fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Default for Stats {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            scripts: zero(),
            connections: zero(),
            refused: zero(),
            logins: zero(),
            chap: zero(),
            discovery: zero(),
            added: zero(),
            pdus: zero(),
            valid_headers: zero(),
            bytes: zero(),
            answers: zero(),
            rejects: zero(),
            responses: zero(),
            r2ts: zero(),
            by_opcode: [const { AtomicU64::new(0) }; 64],
            by_kind: [const { AtomicU64::new(0) }; 32],
            by_fault: [const { AtomicU64::new(0) }; Fault::ALL.len()],
            witness_logins: zero(),
            witness_blocks: zero(),
            slowest_login_ms: zero(),
            slowest_io_ms: zero(),
        }
    }
}

impl Stats {
    /// Counts a mutation.
    pub fn mutated(&self, kind: Kind) {
        if let Some(at) = Kind::ALL.iter().position(|(each, _)| *each == kind) {
            one(&self.by_kind[at]);
        }
    }

    /// Everything, in lines.
    /// Counts a wrong answer to an R2T.
    pub fn data_fault(&self, fault: Fault) {
        if let Some(count) = self.by_fault.get(fault as usize) {
            one(count);
        }
    }

    pub fn print(&self, seconds: u64) {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let mutations: u64 = self.by_kind.iter().map(get).sum();
        println!(
            "{} scripts, {} connections ({} not accepted), {} logins ({} with CHAP, {} discovery), \
             {} connections added, in {seconds} s",
            get(&self.scripts),
            get(&self.connections),
            get(&self.refused),
            get(&self.logins),
            get(&self.chap),
            get(&self.discovery),
            get(&self.added),
        );
        println!(
            "{} PDUs sent ({} with headers that are right by themselves), {} bytes, {mutations} mutations",
            get(&self.pdus),
            get(&self.valid_headers),
            get(&self.bytes)
        );
        println!(
            "{} PDUs received: {} SCSI Responses, {} R2Ts, {} Rejects",
            get(&self.answers),
            get(&self.responses),
            get(&self.r2ts),
            get(&self.rejects)
        );
        let names: Vec<String> = Kind::ALL
            .iter()
            .zip(&self.by_kind)
            .map(|((_, name), count)| format!("{name} {}", get(count)))
            .collect();
        println!("mutations: {}", names.join(", "));
        let faults: Vec<String> = Fault::ALL
            .iter()
            .zip(&self.by_fault)
            .map(|(fault, count)| format!("{} {}", fault.name(), get(count)))
            .collect();
        println!("wrong answers to R2Ts: {}", faults.join(", "));
        let opcodes: Vec<String> = self
            .by_opcode
            .iter()
            .enumerate()
            .filter(|(_, count)| get(count) > 0)
            .map(|(opcode, count)| format!("{opcode:#04x} {}", get(count)))
            .collect();
        println!("PDUs by opcode: {}", opcodes.join(", "));
        println!(
            "witness: {} logins, {} blocks verified, slowest login {} ms, slowest I/O {} ms",
            get(&self.witness_logins),
            get(&self.witness_blocks),
            get(&self.slowest_login_ms),
            get(&self.slowest_io_ms)
        );
        println!(
            "@figure stateful fuzzer: scripts, connections, PDUs, mutations | {}, {}, {}, {mutations}",
            get(&self.scripts),
            get(&self.connections),
            get(&self.pdus)
        );
        println!(
            "@figure beside it: ms for the slowest login, ms for the slowest verified I/O | {}, {}",
            get(&self.slowest_login_ms),
            get(&self.slowest_io_ms)
        );
    }
}
