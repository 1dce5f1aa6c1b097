// SPDX-License-Identifier: GPL-2.0

//! A script: a session from its login to its end, made from a seed and a number alone, but for
//! what the target says in between (its tags and numbers).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use ferrite_proto::wire::Request;
use sha2::{Digest, Sha256};

use crate::commands;
use crate::conn::{Answer, Conn, Log};
use crate::mutate::{self, Kind};
use crate::pdu::{op, Pdu, RESERVED};
use crate::rng::Rng;
use crate::stats::{one, Stats};

/// What there is to be fuzzed.
pub struct Target {
    pub portal: SocketAddr,
    /// A target that lets everybody in.
    pub open: String,
    /// A target that wants CHAP, and what it wants.
    pub chap: String,
    pub user: String,
    pub secret: String,
    /// NAA designators of disks, also of those that are not to be reached.
    pub names: Vec<Vec<u8>>,
    /// How many times slower than usual it is.
    pub slower: u32,
}

/// Connections of a session at most.
const CONNECTIONS: usize = 4;

/// An R2T that was not answered.
#[derive(Clone, Copy)]
struct Wanted {
    at: usize,
    lun: [u8; 8],
    tag: u32,
    transfer: u32,
    offset: usize,
    length: usize,
}

/// One PDU of solicited data: offset, length, DataSN, whether it is the last one, and the R2T that it
/// answers.
#[derive(Clone, Copy)]
struct Part {
    offset: usize,
    length: usize,
    number: u32,
    last: bool,
    wanted: Wanted,
}

/// A session that is fuzzed.
struct Session<'a> {
    target: &'a Target,
    stats: &'a Stats,
    log: &'a mut Log,
    conns: Vec<Conn>,
    opened: u32,
    /// Mutations in a hundred PDUs.
    rate: u32,
    isid: [u8; 6],
    tsih: u16,
    initiator: String,
    chap: bool,
    discovery: bool,
    keys: Vec<(&'static str, String)>,
    cmd_sn: u32,
    next_tag: u32,
    tags: Vec<u32>,
    /// Data of commands that want R2Ts.
    data: HashMap<u32, Vec<u8>>,
    /// R2Ts that were not answered.
    r2ts: Vec<Wanted>,
    /// Tags of NOP-Ins and texts that want an answer.
    asked: Vec<(u8, u32)>,
    /// Sent later than it was its turn.
    late: Option<(usize, Vec<u8>)>,
}

/// Runs the script of that number. An error says what rule the target has broken.
pub fn run(
    target: &Target,
    seed: u64,
    number: u64,
    stats: &Stats,
    log: &mut Log,
) -> Result<(), String> {
    log.trim();
    log.line(&format!("script {seed} {number}"), &[]);
    one(&stats.scripts);
    let mut rng = Rng::new(seed, &[number]);
    let mut isid = [0x80, 0xfe, 0xed, 0, 0, 0];
    if rng.chance(30) {
        // One that others use as well: sessions are reinstated.
        isid[5] = rng.below(4) as u8;
    } else {
        isid[2..6].copy_from_slice(&(number as u32 | 0x100).to_be_bytes());
    }
    let kind = rng.below(20);
    let mut session = Session {
        target,
        stats,
        log,
        conns: Vec::new(),
        opened: 0,
        rate: rng.pick(&[0, 5, 10, 20, 40, 100]),
        isid,
        tsih: 0,
        initiator: format!("iqn.2026-01.org.example:fuzz{}", rng.below(4)),
        chap: kind < 3,
        discovery: kind == 3 || kind == 4,
        keys: keys(&mut rng),
        cmd_sn: rng.pick(&[1, 1, 1, 0, 0xffff_fff0, 0x7fff_fffe]),
        next_tag: rng.pick(&[1, 1, 0xffff_ff00, 0x8000_0000]),
        tags: Vec::new(),
        data: HashMap::new(),
        r2ts: Vec::new(),
        asked: Vec::new(),
        late: None,
    };
    if kind == 5 {
        return session.noise(&mut rng);
    }
    session.whole(seed, number, &mut rng)
}

/// What is offered in a login.
fn keys(rng: &mut Rng) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        (
            "HeaderDigest",
            rng.pick(&["None", "None", "CRC32C", "CRC32C,None"])
                .to_owned(),
        ),
        (
            "DataDigest",
            rng.pick(&["None", "None", "CRC32C", "CRC32C,None"])
                .to_owned(),
        ),
        (
            "ErrorRecoveryLevel",
            rng.pick(&["0", "0", "1", "2", "2"]).to_owned(),
        ),
        ("MaxConnections", rng.pick(&["1", "4", "8"]).to_owned()),
        ("InitialR2T", rng.pick(&["Yes", "No", "No"]).to_owned()),
        ("ImmediateData", rng.pick(&["Yes", "Yes", "No"]).to_owned()),
        (
            "MaxBurstLength",
            rng.pick(&["262144", "512", "8192", "16776192"]).to_owned(),
        ),
        (
            "FirstBurstLength",
            rng.pick(&["65536", "512", "4096"]).to_owned(),
        ),
        (
            "MaxOutstandingR2T",
            rng.pick(&["1", "4", "65535"]).to_owned(),
        ),
        ("DefaultTime2Wait", rng.pick(&["0", "1"]).to_owned()),
        ("DefaultTime2Retain", rng.pick(&["0", "1", "3"]).to_owned()),
        ("DataPDUInOrder", rng.pick(&["Yes", "No"]).to_owned()),
        ("DataSequenceInOrder", rng.pick(&["Yes", "No"]).to_owned()),
        (
            "MaxRecvDataSegmentLength",
            rng.pick(&["8192", "512", "1000", "65536", "262144"])
                .to_owned(),
        ),
    ];
    for _ in 0..rng.below(6) {
        let at = rng.below(keys.len());
        keys.remove(at);
    }
    if rng.chance(20) {
        keys.push(("iSCSIProtocolLevel", rng.pick(&["1", "2", "0"]).to_owned()));
    }
    if rng.chance(20) {
        keys.push((
            "TaskReporting",
            rng.pick(&["ResponseFence", "FastAbort", "RFC3720"])
                .to_owned(),
        ));
    }
    if rng.chance(10) {
        keys.push(("X-org.example.fuzz", "1".to_owned()));
    }
    keys
}

fn text(pairs: &[(&str, String)]) -> Vec<u8> {
    pairs
        .iter()
        .flat_map(|(key, value)| format!("{key}={value}\0").into_bytes())
        .collect()
}

impl Session<'_> {
    fn ms(&self, ms: u64) -> Duration {
        Duration::from_millis(ms * u64::from(self.target.slower))
    }

    /// A connection with nothing on it that is right.
    fn noise(&mut self, rng: &mut Rng) -> Result<(), String> {
        let Some(at) = self.connect(false) else {
            return Ok(());
        };
        for _ in 0..1 + rng.below(4) {
            let count = rng.pick(&[1, 47, 48, 49, 300, 9000]);
            let mut bytes = rng.bytes(count);
            if rng.chance(50) {
                bytes[0] = 0x43;
            }
            self.conns[at].framed = false;
            self.conns[at].max_data = 1 << 24;
            self.conns[at].send(&bytes, self.log);
            one(&self.stats.pdus);
        }
        self.drain(at, self.ms(20))?;
        self.end(rng)
    }

    fn whole(&mut self, seed: u64, number: u64, rng: &mut Rng) -> Result<(), String> {
        let deaf = rng.chance(3);
        // Most of the time the login itself shall succeed.
        let rate = self.rate;
        if !rng.chance(20) {
            self.rate = 0;
        } else if rate == 100 {
            self.rate = 30;
        }
        let done = self.login(rng, deaf)?;
        self.rate = rate;
        if !done {
            return self.end(rng);
        }
        if deaf {
            self.conns[0].deaf = true;
        }
        let steps = 4 + rng.below(60);
        let mut silent = 0;
        for step in 0..steps {
            let mut rng = Rng::new(seed, &[number, step as u64]);
            if self.conns.iter().all(|conn| conn.closed) {
                break;
            }
            let before = self.stats.answers.load(Relaxed);
            self.step(&mut rng)?;
            self.serve(&mut rng)?;
            if self.stats.answers.load(Relaxed) == before {
                silent += 1;
            } else {
                silent = 0;
            }
            // It waits for something that will not come.
            if silent > 12 {
                break;
            }
        }
        self.end(rng)
    }

    fn connect(&mut self, small: bool) -> Option<usize> {
        match Conn::open(self.target.portal, self.opened, small, self.log) {
            Ok(conn) => {
                one(&self.stats.connections);
                self.opened += 1;
                self.conns.push(conn);
                Some(self.conns.len() - 1)
            }
            Err(_) => {
                one(&self.stats.refused);
                None
            }
        }
    }

    /// A Login Request.
    fn login_pdu(&self, at: usize, flags: u8, data: Vec<u8>) -> Pdu {
        let mut pdu = Pdu::new(op::LOGIN | op::IMMEDIATE, flags)
            .set(16, 1)
            .set(24, self.cmd_sn)
            .set(28, self.conns[at].exp_stat_sn)
            .data(data);
        pdu.bhs[8..14].copy_from_slice(&self.isid);
        pdu.bhs[14..16].copy_from_slice(&self.tsih.to_be_bytes());
        pdu.bhs[20..22].copy_from_slice(&self.conns[at].cid.to_be_bytes());
        pdu
    }

    /// Sends a Login Request and waits for its answer; none if the login is over.
    fn login_step(
        &mut self,
        at: usize,
        flags: u8,
        data: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Option<Answer>, String> {
        let pdu = self.login_pdu(at, flags, data);
        self.send(at, pdu, rng);
        let wait = if self.rate == 0 {
            self.ms(2000)
        } else {
            self.ms(100)
        };
        while let Some(answer) = self.conns[at].receive(wait)? {
            one(&self.stats.answers);
            if answer.opcode() == op::LOGIN_RESPONSE {
                return Ok((answer.bhs[36] == 0).then_some(answer));
            }
        }
        Ok(None)
    }

    /// Logs a connection in; whether it is in the full feature phase.
    fn login(&mut self, rng: &mut Rng, small: bool) -> Result<bool, String> {
        let Some(at) = self.connect(small) else {
            return Ok(false);
        };
        self.conns[at].deaf = false;
        self.conns[at].cid = rng.pick(&[0, 1, 2, 3, 0xffff]);
        if let Some((_, value)) = self
            .keys
            .iter()
            .find(|(key, _)| *key == "MaxRecvDataSegmentLength")
        {
            self.conns[at].max_data = value.parse::<usize>().unwrap_or(8192).max(8192);
        }
        let mut who = vec![("InitiatorName", self.initiator.clone())];
        if self.discovery {
            who.push(("SessionType", "Discovery".to_owned()));
        } else {
            let name = if self.chap {
                self.target.chap.clone()
            } else {
                self.target.open.clone()
            };
            who.push(("TargetName", name));
            who.push(("SessionType", "Normal".to_owned()));
        }
        if self.chap {
            who.push(("AuthMethod", "CHAP,None".to_owned()));
            if self.login_step(at, 0, text(&who), rng)?.is_none() {
                return Ok(false);
            }
            let offer = text(&[("CHAP_A", "7".to_owned())]);
            let Some(answer) = self.login_step(at, 0, offer, rng)? else {
                return Ok(false);
            };
            let proof = self.proof(&answer.data);
            if self.login_step(at, 0x81, proof, rng)?.is_none() {
                return Ok(false);
            }
        } else {
            who.push(("AuthMethod", "None".to_owned()));
            if self.login_step(at, 0x81, text(&who), rng)?.is_none() {
                return Ok(false);
            }
        }
        // What concerns the whole session is agreed upon by its first connection alone.
        let mut offer = if self.tsih == 0 {
            text(&self.keys)
        } else {
            let own = ["HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength"];
            let some: Vec<_> = self
                .keys
                .iter()
                .filter(|(key, _)| own.contains(key))
                .cloned()
                .collect();
            text(&some)
        };
        for _ in 0..4 {
            let Some(answer) = self.login_step(at, 0x87, offer, rng)? else {
                return Ok(false);
            };
            if self.conns[at].full_feature {
                if self.tsih == 0 {
                    self.tsih = u16::from_be_bytes([answer.bhs[14], answer.bhs[15]]);
                    one(&self.stats.logins);
                    if self.chap {
                        one(&self.stats.chap);
                    }
                    if self.discovery {
                        one(&self.stats.discovery);
                    }
                } else {
                    one(&self.stats.added);
                }
                return Ok(true);
            }
            offer = Vec::new();
        }
        Ok(false)
    }

    /// The answer to a challenge.
    fn proof(&self, data: &[u8]) -> Vec<u8> {
        let text_of = String::from_utf8_lossy(data);
        let value = |key: &str| {
            text_of
                .split('\0')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or("0")
                .to_owned()
        };
        let challenge = value("CHAP_C");
        let digits = challenge.trim_start_matches("0x");
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .filter_map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
            .collect();
        let mut hash = Sha256::new();
        hash.update([value("CHAP_I").parse().unwrap_or(0)]);
        hash.update(self.target.secret.as_bytes());
        hash.update(bytes);
        let digest: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        text(&[
            ("CHAP_N", self.target.user.clone()),
            ("CHAP_R", format!("0x{digest}")),
        ])
    }

    /// Sends a request, or what has become of it.
    fn send(&mut self, at: usize, mut pdu: Pdu, rng: &mut Rng) {
        let mut kinds = Vec::new();
        if rng.chance(self.rate) {
            for _ in 0..rng.pick(&[1, 1, 1, 2, 3]) {
                let kind = Kind::ALL[rng.below(Kind::ALL.len())].0;
                // What ends the connection, or takes long, is not for each time.
                let rare = matches!(
                    kind,
                    Kind::Reset | Kind::HalfClose | Kind::Stall | Kind::Deaf
                ) || kind.breaks_framing();
                if rare && !rng.chance(25) {
                    continue;
                }
                mutate::apply(kind, &mut pdu, rng, &self.tags);
                self.stats.mutated(kind);
                kinds.push(kind);
            }
        }
        let has = |kind| kinds.contains(&kind);
        let log = &mut *self.log;
        let conn = &mut self.conns[at];
        one(&self.stats.pdus);
        one(&self.stats.by_opcode[usize::from(pdu.opcode())]);
        if Request::parse(&pdu.bhs).is_ok() {
            one(&self.stats.valid_headers);
        }
        let mut bytes = pdu.bytes(conn.header_digest, conn.data_digest);
        if kinds.iter().any(|kind| kind.breaks_framing()) || kinds.contains(&Kind::Ahs) {
            conn.framed = false;
        }
        if !conn.full_feature && !kinds.is_empty() {
            // Nobody knows what was agreed upon.
            conn.framed = false;
            conn.max_data = 1 << 24;
        }
        if has(Kind::Garbage) {
            let count = rng.pick(&[1, 4, 48, 100]);
            let mut garbage = rng.bytes(count);
            garbage.extend(&bytes);
            bytes = garbage;
        }
        self.stats.bytes.fetch_add(bytes.len() as u64, Relaxed);
        if has(Kind::Lost) {
            return;
        }
        if has(Kind::Late) && self.late.is_none() {
            conn.sent(&bytes);
            self.late = Some((at, bytes));
            return;
        }
        conn.sent(&bytes);
        if has(Kind::Pieces) {
            let sizes = [1 + rng.below(8), 1 + rng.below(100), 47, 1];
            // A long one would take long.
            if bytes.len() < 600 {
                conn.send_in_pieces(&bytes, &sizes, log);
            } else {
                conn.send_in_pieces(&bytes, &[1 + rng.below(60), bytes.len()], log);
            }
        } else {
            conn.send(&bytes, log);
        }
        if has(Kind::Twice) {
            conn.send(&bytes, log);
        }
        if let Some((other, bytes)) = self.late.take() {
            if let Some(conn) = self.conns.get_mut(other) {
                conn.send(&bytes, log);
            }
        }
        if has(Kind::HalfClose) {
            self.conns[at].half_close(log);
        }
        if has(Kind::Deaf) {
            self.conns[at].deaf = true;
        }
        if has(Kind::Stall) {
            let ms = rng.pick(&[5, 20, 100]);
            log.line(&format!("wait {ms}"), &[]);
            thread::sleep(Duration::from_millis(ms));
        }
        if has(Kind::Reset) {
            // Its place is kept: others are known by their numbers.
            self.conns[at].reset(log);
        }
    }

    fn tag(&mut self) -> u32 {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        if self.next_tag == RESERVED {
            self.next_tag = 0;
        }
        self.tags.push(tag);
        if self.tags.len() > 40 {
            self.tags.remove(0);
        }
        tag
    }

    /// Fills in CmdSN and ExpStatSN, and takes the number unless it is immediate.
    fn numbered(&mut self, at: usize, mut pdu: Pdu, immediate: bool) -> Pdu {
        pdu.put(24, self.cmd_sn);
        pdu.put(28, self.conns[at].exp_stat_sn);
        if immediate {
            pdu.bhs[0] |= op::IMMEDIATE;
        } else {
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
        }
        pdu
    }

    /// One request, or a new connection.
    fn step(&mut self, rng: &mut Rng) -> Result<(), String> {
        let open: Vec<usize> = (0..self.conns.len())
            .filter(|&at| !self.conns[at].closed)
            .collect();
        let at = rng.pick(&open);
        let immediate = rng.chance(10);
        let lun = rng.pick(&[0, 0, 0, 1, 1, 2]);
        let what = if self.discovery {
            rng.pick(&[60, 66, 66, 66, 66, 84, 88, 0])
        } else {
            rng.below(100)
        };
        match what {
            0..=7 if !self.discovery => self.writes(at, lun.min(1), rng),
            0..=59 => {
                let mut command = commands::command(rng, &self.target.names);
                if rng.chance(4) {
                    command.expect = rng.edge() as u32;
                }
                // What keeps others out, or stops the disk, is for one of them.
                let lun = match command.cdb[0] {
                    0x5f | 0x16 | 0x17 | 0x56 | 0x57 | 0x1b | 0xa4 => 1,
                    _ => lun,
                };
                let tag = self.tag();
                let most = rng.pick(&[0, 0, 512, 1024, 8192, 65536]);
                let mut pdu = command.pdu(rng, lun, tag, most);
                if !command.out.is_empty() {
                    if pdu.data.len() < command.out.len() && rng.chance(15) {
                        // Unsolicited data would follow.
                        pdu.bhs[1] &= 0x7f;
                    }
                    self.data.insert(tag, command.out);
                    if self.data.len() > 32 {
                        let oldest = self.tags[0];
                        self.data.retain(|&tag, _| tag.wrapping_sub(oldest) < 40);
                    }
                }
                let pdu = self.numbered(at, pdu, immediate);
                let follows = pdu.bhs[1] & 0x80 == 0;
                let from = pdu.data.len();
                self.send(at, pdu, rng);
                if follows {
                    let first = rng.pick(&[512, 4096, 65536]);
                    self.data_out(
                        at,
                        [0, lun, 0, 0, 0, 0, 0, 0],
                        tag,
                        RESERVED,
                        from,
                        first,
                        rng,
                    );
                }
            }
            60..=65 => {
                let pings = rng.chance(80);
                let tag = if pings { self.tag() } else { RESERVED };
                let count = rng.pick(&[0, 4, 100, 5000]);
                let pdu = Pdu::new(op::NOP_OUT, 0x80)
                    .set(16, tag)
                    .set(20, RESERVED)
                    .data(rng.bytes(count));
                let pdu = self.numbered(at, pdu, !pings || rng.chance(50));
                self.send(at, pdu, rng);
            }
            66..=71 => {
                let all: Vec<(&str, String)> = match rng.below(5) {
                    0 => vec![("SendTargets", "All".to_owned())],
                    1 => vec![("SendTargets", self.target.open.clone())],
                    2 => vec![("SendTargets", String::new())],
                    3 => vec![("MaxRecvDataSegmentLength", "8192".to_owned())],
                    _ => self.keys.clone(),
                };
                let tag = self.tag();
                let flags = rng.pick(&[0x80, 0x80, 0x80, 0, 0x40]);
                let pdu = Pdu::new(op::TEXT, flags)
                    .set(16, tag)
                    .set(20, RESERVED)
                    .data(text(&all));
                let pdu = self.numbered(at, pdu, immediate);
                self.send(at, pdu, rng);
            }
            72..=79 => {
                let function = rng.pick(&[1, 1, 2, 3, 5, 5, 6, 7, 8, 14, 14, 4]);
                let referred = if self.tags.is_empty() {
                    RESERVED
                } else {
                    rng.pick(&self.tags)
                };
                let tag = self.tag();
                let pdu = Pdu::new(op::TASK_MGMT, 0x80 | function)
                    .lun(lun)
                    .set(16, tag)
                    .set(20, referred)
                    .set(32, self.cmd_sn.wrapping_sub(rng.below(4) as u32));
                let pdu = self.numbered(at, pdu, rng.chance(70));
                self.send(at, pdu, rng);
            }
            80..=85 => {
                let kind = rng.pick(&[0, 1, 1, 2, 3]);
                let tag = if kind == 1 || self.tags.is_empty() {
                    RESERVED
                } else {
                    rng.pick(&self.tags)
                };
                let begin = if kind == 1 {
                    self.conns[at].exp_stat_sn.wrapping_sub(rng.below(4) as u32)
                } else {
                    rng.below(4) as u32
                };
                let pdu = Pdu::new(op::SNACK, 0x80 | kind)
                    .lun(lun)
                    .set(16, tag)
                    .set(20, if kind == 3 { 7 } else { RESERVED })
                    .set(28, self.conns[at].exp_stat_sn)
                    .set(40, begin)
                    .set(44, rng.below(4) as u32);
                self.send(at, pdu, rng);
            }
            86..=88 => {
                let reason = rng.pick(&[0, 1, 1, 2, 2, 3]);
                let tag = self.tag();
                let mut pdu = Pdu::new(op::LOGOUT, 0x80 | reason).set(16, tag);
                let cid = rng.pick(&[self.conns[at].cid, 0, 1]);
                pdu.bhs[20..22].copy_from_slice(&cid.to_be_bytes());
                let pdu = self.numbered(at, pdu, true);
                self.send(at, pdu, rng);
            }
            89..=94 => {
                if self.conns.len() < CONNECTIONS && self.tsih != 0 {
                    let rate = self.rate;
                    self.rate /= 4;
                    let done = self.login(rng, false);
                    self.rate = rate;
                    done?;
                }
            }
            _ => {
                // Data that nobody has asked for.
                let tag = if self.tags.is_empty() {
                    1
                } else {
                    rng.pick(&self.tags)
                };
                let size = rng.pick(&[512, 8192]);
                let at_byte = rng.below(3) * 512;
                self.data_out(
                    at,
                    [0, lun, 0, 0, 0, 0, 0, 0],
                    tag,
                    rng.clone().edge() as u32,
                    at_byte,
                    size,
                    rng,
                );
            }
        }
        Ok(())
    }

    /// Sends data of a command from an offset.
    #[allow(clippy::too_many_arguments)] // They are the fields of the PDU.
    fn data_out(
        &mut self,
        at: usize,
        lun: [u8; 8],
        tag: u32,
        transfer: u32,
        offset: usize,
        length: usize,
        rng: &mut Rng,
    ) {
        let data = self
            .data
            .get(&tag)
            .cloned()
            .unwrap_or_else(|| vec![0; 16384]);
        let end = offset.saturating_add(length).min(data.len());
        let piece = rng.pick(&[8192, 8192, 512, 1000]);
        let mut from = offset.min(end);
        let mut number = 0;
        while from < end && number < 64 && !self.conns[at].closed {
            let to = (from + piece).min(end);
            let mut pdu = Pdu::new(op::DATA_OUT, if to == end { 0x80 } else { 0 })
                .set(16, tag)
                .set(20, transfer)
                .set(28, self.conns[at].exp_stat_sn)
                .set(36, number)
                .set(40, from as u32)
                .data(data[from..to].to_vec());
            pdu.bhs[8..16].copy_from_slice(&lun);
            self.send(at, pdu, rng);
            from = to;
            number += 1;
        }
    }

    /// Answers the R2Ts that there are: in their order or another, one after the other or all at once,
    /// and some of them in ways that no initiator may.
    fn answer_r2ts(&mut self, rng: &mut Rng) {
        let mut wanted = std::mem::take(&mut self.r2ts);
        if rng.chance(30) {
            wanted.reverse();
        }
        // As often as other PDUs are broken, and sometimes where nothing else is.
        let rate = self.rate.max(if rng.chance(20) { 10 } else { 0 });
        let mut sequences = Vec::new();
        for &one in &wanted {
            match rng.below(40) {
                // It never comes, or later.
                0 => continue,
                1 | 2 => {
                    self.r2ts.push(one);
                    continue;
                }
                _ => {}
            }
            let mut parts = in_parts(one, rng);
            if rng.chance(rate.min(60)) {
                let fault = rng.pick(&Fault::ALL);
                fault.apply(&mut parts, &wanted, rng);
                self.stats.data_fault(fault);
            }
            sequences.push(parts);
        }
        // Sequences of several R2Ts may come mixed, each in its own order.
        let mixed = rng.chance(30);
        while !sequences.is_empty() {
            let which = if mixed { rng.below(sequences.len()) } else { 0 };
            if sequences[which].is_empty() {
                sequences.remove(which);
                continue;
            }
            let part = sequences[which].remove(0);
            self.send_part(part, rng);
        }
    }

    fn send_part(&mut self, part: Part, rng: &mut Rng) {
        let Wanted {
            at,
            lun,
            tag,
            transfer,
            ..
        } = part.wanted;
        if self.conns[at].closed {
            return;
        }
        // What is beyond the command's data is something, too.
        let mut data = match self.data.get(&tag) {
            Some(all) => all
                .get(part.offset..)
                .unwrap_or_default()
                .iter()
                .take(part.length)
                .copied()
                .collect(),
            None => Vec::new(),
        };
        data.resize(part.length, 0xa5);
        let mut pdu = Pdu::new(op::DATA_OUT, if part.last { 0x80 } else { 0 })
            .set(16, tag)
            .set(20, transfer)
            .set(28, self.conns[at].exp_stat_sn)
            .set(36, part.number)
            .set(40, part.offset as u32)
            .data(data);
        pdu.bhs[8..16].copy_from_slice(&lun);
        self.send(at, pdu, rng);
    }

    /// Several WRITEs at once, which all want R2Ts.
    fn writes(&mut self, at: usize, lun: u8, rng: &mut Rng) {
        for _ in 0..2 + rng.below(5) {
            let command = commands::write(rng);
            let tag = self.tag();
            let most = rng.pick(&[0, 0, 512]);
            let pdu = command.pdu(rng, lun, tag, most);
            self.data.insert(tag, command.out);
            let pdu = self.numbered(at, pdu, false);
            self.send(at, pdu, rng);
        }
        if self.data.len() > 32 {
            let oldest = self.tags[0];
            self.data.retain(|&tag, _| tag.wrapping_sub(oldest) < 40);
        }
    }

    /// Takes what has come, and answers what asks for it.
    fn serve(&mut self, rng: &mut Rng) -> Result<(), String> {
        // Often more is sent before anything is looked at.
        let wait = match rng.below(4) {
            0 => Duration::ZERO,
            1 => self.ms(30),
            _ => self.ms(4),
        };
        for at in 0..self.conns.len() {
            self.drain(at, wait)?;
        }
        self.answer_r2ts(rng);
        while let Some((opcode, transfer)) = self.asked.pop() {
            let at = rng.below(self.conns.len());
            let flags = 0x80;
            let tag = if opcode == op::TEXT {
                self.tag()
            } else {
                RESERVED
            };
            let pdu = Pdu::new(opcode, flags).set(16, tag).set(20, transfer);
            let pdu = self.numbered(at, pdu, opcode == op::NOP_OUT);
            self.send(at, pdu, rng);
        }
        Ok(())
    }

    /// Reads what is there, and waits a little for the first of it.
    fn drain(&mut self, at: usize, mut wait: Duration) -> Result<(), String> {
        for _ in 0..2000 {
            let Some(answer) = self.conns[at].receive(wait)? else {
                break;
            };
            wait = Duration::from_millis(1);
            one(&self.stats.answers);
            match answer.opcode() {
                op::RESPONSE => one(&self.stats.responses),
                op::REJECT => one(&self.stats.rejects),
                op::R2T => {
                    one(&self.stats.r2ts);
                    self.r2ts.push(Wanted {
                        at,
                        lun: answer.bhs[8..16].try_into().unwrap(),
                        tag: answer.get(16),
                        transfer: answer.get(20),
                        offset: answer.get(40) as usize,
                        length: answer.get(44) as usize,
                    });
                }
                op::NOP_IN if answer.get(20) != RESERVED => {
                    self.asked.push((op::NOP_OUT, answer.get(20)));
                }
                op::TEXT_RESPONSE if answer.get(20) != RESERVED => {
                    self.asked.push((op::TEXT, answer.get(20)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends the session in one of the ways there are.
    fn end(&mut self, rng: &mut Rng) -> Result<(), String> {
        let how = rng.below(5);
        if how < 2 && self.tsih != 0 {
            if let Some(at) = (0..self.conns.len()).find(|&at| !self.conns[at].closed) {
                self.rate = 0;
                let tag = self.tag();
                let pdu = Pdu::new(op::LOGOUT, 0x80).set(16, tag);
                let pdu = self.numbered(at, pdu, true);
                self.send(at, pdu, rng);
                self.drain(at, self.ms(50))?;
            }
        }
        for mut conn in std::mem::take(&mut self.conns) {
            match how {
                2 => conn.reset(self.log),
                3 => {
                    conn.half_close(self.log);
                    self.conns.push(conn);
                    let at = self.conns.len() - 1;
                    self.drain(at, self.ms(10))?;
                    self.conns.clear();
                }
                _ => {
                    self.log.line(&format!("close {}", conn.number), &[]);
                    drop(conn);
                }
            }
        }
        Ok(())
    }
}

/// The PDUs that answer an R2T as they should.
fn in_parts(wanted: Wanted, rng: &mut Rng) -> Vec<Part> {
    let piece = rng.pick(&[8192, 8192, 512, 1000]);
    // What is wanted may be more than any memory; what is sent is not.
    let end = wanted.offset.saturating_add(wanted.length.min(64 * piece));
    let mut parts = Vec::new();
    let mut from = wanted.offset;
    while from < end {
        let length = piece.min(end - from);
        parts.push(Part {
            offset: from,
            length,
            number: parts.len() as u32,
            last: from + length == end,
            wanted,
        });
        from += length;
    }
    parts
}

/// How solicited data is wrong.
#[derive(Clone, Copy)]
pub enum Fault {
    /// All of it is for another place.
    Offset,
    /// One PDU has what another one had already.
    Overlap,
    /// One is left out.
    Hole,
    /// More than was asked for.
    Long,
    /// The F bit is on one that is not the last.
    EarlyEnd,
    /// It is on none.
    NoEnd,
    /// DataSN has a gap.
    Gap,
    /// DataSN does not count.
    Same,
    /// It has the tags of another R2T.
    Mixed,
    /// It says that nobody asked.
    Unasked,
    /// The PDUs are in another order.
    Order,
    /// All of it twice.
    Twice,
    /// PDUs without data.
    Empty,
}

impl Fault {
    pub const ALL: [Self; 13] = [
        Self::Offset,
        Self::Overlap,
        Self::Hole,
        Self::Long,
        Self::EarlyEnd,
        Self::NoEnd,
        Self::Gap,
        Self::Same,
        Self::Mixed,
        Self::Unasked,
        Self::Order,
        Self::Twice,
        Self::Empty,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Offset => "offset",
            Self::Overlap => "overlap",
            Self::Hole => "hole",
            Self::Long => "too long",
            Self::EarlyEnd => "early end",
            Self::NoEnd => "no end",
            Self::Gap => "DataSN gap",
            Self::Same => "same DataSN",
            Self::Mixed => "tags mixed",
            Self::Unasked => "unasked",
            Self::Order => "order",
            Self::Twice => "twice",
            Self::Empty => "empty",
        }
    }

    fn apply(self, parts: &mut Vec<Part>, others: &[Wanted], rng: &mut Rng) {
        if parts.is_empty() {
            return;
        }
        let at = rng.below(parts.len());
        match self {
            Self::Offset => {
                let by = rng.pick(&[1, 512, 0usize.wrapping_sub(512), 1 << 20, usize::MAX / 2]);
                for part in parts {
                    // As it is in the PDU.
                    part.offset = part.offset.wrapping_add(by) & 0xffff_ffff;
                }
            }
            Self::Overlap => {
                let back = rng.pick(&[1, 4, 512]);
                parts[at].offset = parts[at].offset.saturating_sub(back);
            }
            Self::Hole => {
                parts.remove(at);
            }
            Self::Long => {
                let more = rng.pick(&[1, 4, 512, 8192]);
                if let Some(end) = parts.last_mut() {
                    end.length += more;
                }
            }
            Self::EarlyEnd => parts[at].last = true,
            Self::NoEnd => parts.iter_mut().for_each(|part| part.last = false),
            Self::Gap => {
                let gap = rng.pick(&[1, 2, 0x8000_0000, u32::MAX]);
                for part in &mut parts[at..] {
                    part.number = part.number.wrapping_add(gap);
                }
            }
            Self::Same => {
                let number = parts[at].number;
                parts.iter_mut().for_each(|part| part.number = number);
            }
            Self::Mixed => {
                let other = rng.pick(others);
                match rng.below(3) {
                    0 => parts[at].wanted.transfer = other.transfer,
                    1 => parts[at].wanted.tag = other.tag,
                    _ => parts[at].wanted = other,
                }
            }
            Self::Unasked => parts[at].wanted.transfer = RESERVED,
            Self::Order => {
                let with = rng.below(parts.len());
                parts.swap(at, with);
            }
            Self::Twice => {
                let again = parts.clone();
                parts.extend(again);
            }
            Self::Empty => parts[at].length = 0,
        }
    }
}
