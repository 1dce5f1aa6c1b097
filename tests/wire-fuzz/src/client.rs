// SPDX-License-Identifier: GPL-2.0

//! An initiator that does only what is right, and expects to be served in time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::conn::{Answer, Conn, Log};
use crate::pdu::{op, Pdu, RESERVED};

/// A session of one connection.
pub struct Client {
    conn: Conn,
    log: Log,
    cmd_sn: u32,
    tag: u32,
    /// How long anything may take.
    deadline: Duration,
}

impl Client {
    /// Logs in.
    pub fn login(
        portal: SocketAddr,
        target: &str,
        initiator: &str,
        isid: u8,
        deadline: Duration,
    ) -> Result<Self, String> {
        let mut log = Log::new("").map_err(|error| error.to_string())?;
        let conn = Conn::open(portal, 0, false, &mut log)
            .map_err(|error| format!("no connection: {error}"))?;
        let mut client = Self {
            conn,
            log,
            cmd_sn: 1,
            tag: 0,
            deadline,
        };
        client.login_step(
            0x81,
            isid,
            format!("InitiatorName={initiator}\0TargetName={target}\0AuthMethod=None\0SessionType=Normal\0"),
        )?;
        let mut offer =
            "HeaderDigest=None\0DataDigest=None\0InitialR2T=Yes\0ImmediateData=Yes\0".to_owned();
        for _ in 0..4 {
            client.login_step(0x87, isid, std::mem::take(&mut offer))?;
            if client.conn.full_feature {
                return Ok(client);
            }
        }
        Err("the login does not end".to_owned())
    }

    fn login_step(&mut self, flags: u8, isid: u8, text: String) -> Result<(), String> {
        let mut pdu = Pdu::new(op::LOGIN | op::IMMEDIATE, flags)
            .set(16, 0)
            .set(24, self.cmd_sn)
            .set(28, self.conn.exp_stat_sn)
            .data(text.into_bytes());
        pdu.bhs[8..14].copy_from_slice(&[0x80, 0xaa, 0xbb, 0xcc, 0, isid]);
        self.conn.send(&pdu.bytes(false, false), &mut self.log);
        let answer = self.receive("a Login Response")?;
        match (answer.opcode(), answer.bhs[36], answer.bhs[37]) {
            (op::LOGIN_RESPONSE, 0, _) => Ok(()),
            (_, class, detail) => Err(format!("the login is refused: {class:02x}{detail:02x}")),
        }
    }

    fn receive(&mut self, what: &str) -> Result<Answer, String> {
        self.conn.receive(self.deadline)?.ok_or_else(|| {
            let how = if self.conn.closed {
                "the connection is closed"
            } else {
                "nothing comes"
            };
            format!("{how} instead of {what}")
        })
    }

    /// Carries a command out: its status, and what it has read or its sense data.
    pub fn scsi(&mut self, cdb: &[u8], out: &[u8], expect: u32) -> Result<(u8, Vec<u8>), String> {
        self.tag += 1;
        let flags =
            0x81 | if expect > 0 { 0x40 } else { 0 } | if out.is_empty() { 0 } else { 0x20 };
        let total = if out.is_empty() {
            expect
        } else {
            out.len() as u32
        };
        let mut pdu = Pdu::new(op::COMMAND, flags)
            .set(16, self.tag)
            .set(20, total)
            .set(24, self.cmd_sn)
            .set(28, self.conn.exp_stat_sn)
            .data(out.to_vec());
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        pdu.bhs[32..32 + cdb.len()].copy_from_slice(cdb);
        let bytes = pdu.bytes(false, false);
        self.conn.sent(&bytes);
        self.conn.send(&bytes, &mut self.log);
        let end = Instant::now() + self.deadline;
        let mut got = Vec::new();
        loop {
            if Instant::now() > end {
                return Err(format!("no end of command {:#04x}", cdb[0]));
            }
            let answer = self.receive("an answer to a command")?;
            match answer.opcode() {
                op::DATA_IN => {
                    got.extend(&answer.data);
                    if answer.bhs[1] & 1 != 0 {
                        return Ok((answer.bhs[3], got));
                    }
                }
                op::RESPONSE => {
                    let status = answer.bhs[3];
                    return Ok((status, if status == 0 { got } else { answer.data }));
                }
                op::NOP_IN if answer.get(20) != RESERVED => {
                    let pong = Pdu::new(op::NOP_OUT | op::IMMEDIATE, 0x80)
                        .set(16, RESERVED)
                        .set(20, answer.get(20))
                        .set(24, self.cmd_sn)
                        .set(28, self.conn.exp_stat_sn);
                    self.conn.send(&pong.bytes(false, false), &mut self.log);
                }
                op::ASYNC => {}
                other => return Err(format!("opcode {other:#04x} for a command")),
            }
        }
    }

    /// Carries a command out that must succeed; unit attentions are waited for to pass.
    pub fn good(&mut self, cdb: &[u8], out: &[u8], expect: u32) -> Result<Vec<u8>, String> {
        for _ in 0..8 {
            match self.scsi(cdb, out, expect)? {
                (0, data) => return Ok(data),
                // UNIT ATTENTION.
                (2, sense) if sense.get(4).is_some_and(|key| key & 15 == 6) => {}
                (2, sense) if sense.get(3).is_some_and(|key| key & 15 == 6) => {}
                (status, sense) => {
                    return Err(format!(
                        "status {status:#04x} for {:#04x}: {sense:02x?}",
                        cdb[0]
                    ))
                }
            }
        }
        Err("unit attentions without an end".to_owned())
    }

    /// Writes blocks of 512 bytes.
    pub fn write(&mut self, lba: u32, data: &[u8]) -> Result<(), String> {
        let mut cdb = [0x2a, 0, 0, 0, 0, 0, 0, 0, (data.len() / 512) as u8, 0];
        cdb[2..6].copy_from_slice(&lba.to_be_bytes());
        self.good(&cdb, data, 0).map(drop)
    }

    /// Reads blocks of 512 bytes.
    pub fn read(&mut self, lba: u32, count: u8) -> Result<Vec<u8>, String> {
        let mut cdb = [0x28, 0, 0, 0, 0, 0, 0, 0, count, 0];
        cdb[2..6].copy_from_slice(&lba.to_be_bytes());
        self.good(&cdb, &[], u32::from(count) * 512)
    }

    /// The NAA designators of the disk.
    pub fn names(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let page = self.good(&[0x12, 1, 0x83, 4, 0, 0], &[], 1024)?;
        let mut names = Vec::new();
        let mut rest = page.get(4..).unwrap_or_default();
        while rest.len() >= 4 {
            let end = 4 + usize::from(rest[3]);
            let Some(value) = rest.get(4..end) else { break };
            if rest[1] & 0x3f == 3 {
                names.push(value.to_vec());
            }
            rest = &rest[end..];
        }
        Ok(names)
    }

    /// Logs out.
    pub fn logout(mut self) -> Result<(), String> {
        let pdu = Pdu::new(op::LOGOUT | op::IMMEDIATE, 0x80)
            .set(16, 0x7777)
            .set(24, self.cmd_sn)
            .set(28, self.conn.exp_stat_sn);
        self.conn.send(&pdu.bytes(false, false), &mut self.log);
        let answer = self.receive("a Logout Response")?;
        if answer.opcode() == op::LOGOUT_RESPONSE && answer.bhs[2] == 0 {
            Ok(())
        } else {
            Err(format!("the logout is refused: {:02x?}", answer.bhs))
        }
    }
}
