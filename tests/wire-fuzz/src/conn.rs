// SPDX-License-Identifier: GPL-2.0

//! A connection: what is sent on it, and what must hold of whatever comes back.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::pdu::{crc32c, op, RESERVED};

/// How long a connection may take to be made.
pub const CONNECT: Duration = Duration::from_secs(20);

/// A PDU of the target.
#[derive(Clone, Debug)]
pub struct Answer {
    pub bhs: [u8; 48],
    pub data: Vec<u8>,
}

impl Answer {
    /// Four bytes of the header.
    pub fn get(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bhs[at..at + 4].try_into().unwrap())
    }

    /// The opcode.
    pub fn opcode(&self) -> u8 {
        self.bhs[0] & 0x3f
    }
}

/// Where the input of a worker is kept, so that it can be replayed.
///
/// One line for each step: `open N`, `send N HEX`, `reset N`, `half-close N`, `close N`, `wait MS`.
pub struct Log {
    file: Option<File>,
    path: String,
    text: String,
    size: usize,
}

impl Log {
    /// A log in that file; none if the name is empty.
    pub fn new(path: &str) -> io::Result<Self> {
        let file = if path.is_empty() {
            None
        } else {
            Some(File::create(path)?)
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            text: String::new(),
            size: 0,
        })
    }

    /// Adds a line. It is in the file before what it says is done.
    pub fn line(&mut self, words: &str, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        self.text.clear();
        self.text.push_str(words);
        if !bytes.is_empty() {
            self.text.push(' ');
            for byte in bytes {
                for digit in [byte >> 4, byte & 15] {
                    self.text
                        .push(char::from(b"0123456789abcdef"[usize::from(digit)]));
                }
            }
        }
        self.text.push('\n');
        self.size += self.text.len();
        // What cannot be logged is not a reason to stop.
        let _ = file.write_all(self.text.as_bytes());
    }

    /// Begins anew when it has become large; between two scripts.
    pub fn trim(&mut self) {
        if self.size > 8 << 20 {
            self.size = 0;
            self.file = File::create(&self.path).ok();
        }
    }
}

/// A connection to the target.
pub struct Conn {
    /// None after a reset.
    stream: Option<TcpStream>,
    /// Its number in the log.
    pub number: u32,
    buffer: Vec<u8>,
    pub header_digest: bool,
    pub data_digest: bool,
    pub exp_stat_sn: u32,
    /// The StatSN that must come next, where that is known.
    next_stat_sn: Option<u32>,
    /// The longest data segment that the target may send.
    pub max_data: usize,
    /// Whether the target knows where our PDUs begin and end, and so do we what it answers.
    pub framed: bool,
    /// Whether things may be sent again.
    pub repeats: bool,
    pub full_feature: bool,
    negotiated: (bool, bool),
    /// What the commands that were sent with a tag expect at most.
    pub expected: HashMap<u32, u64>,
    pub closed: bool,
    /// Nothing is read.
    pub deaf: bool,
    pub cid: u16,
}

impl Conn {
    /// Connects. `small` makes the receive buffer as small as can be.
    pub fn open(portal: SocketAddr, number: u32, small: bool, log: &mut Log) -> io::Result<Self> {
        log.line(&format!("open {number}"), &[]);
        let stream = TcpStream::connect_timeout(&portal, CONNECT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        if small {
            sockopt::set_socket_recv_buffer_size(&stream, 2048)?;
        }
        Ok(Self {
            stream: Some(stream),
            number,
            buffer: Vec::new(),
            header_digest: false,
            data_digest: false,
            exp_stat_sn: 0,
            next_stat_sn: None,
            max_data: 8192,
            framed: true,
            repeats: false,
            full_feature: false,
            negotiated: (false, false),
            expected: HashMap::new(),
            closed: false,
            deaf: small,
            cid: 0,
        })
    }

    /// Sends bytes; whether all went.
    pub fn send(&mut self, bytes: &[u8], log: &mut Log) -> bool {
        if self.closed {
            return false;
        }
        log.line(&format!("send {}", self.number), bytes);
        let Some(stream) = &mut self.stream else {
            return false;
        };
        match stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // It does not read, as we do not: what is in the stream now is not a PDU.
                self.framed = false;
                false
            }
            Err(_) => {
                self.closed = true;
                false
            }
        }
    }

    /// Sends bytes as many segments.
    pub fn send_in_pieces(&mut self, bytes: &[u8], sizes: &[usize], log: &mut Log) -> bool {
        let mut rest = bytes;
        for &size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.min(rest.len()));
            if !self.send(piece, log) {
                return false;
            }
            rest = after;
        }
        true
    }

    /// Closes with a reset.
    pub fn reset(&mut self, log: &mut Log) {
        log.line(&format!("reset {}", self.number), &[]);
        if let Some(stream) = self.stream.take() {
            let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        }
        self.closed = true;
    }

    /// Closes our direction.
    pub fn half_close(&mut self, log: &mut Log) {
        log.line(&format!("half-close {}", self.number), &[]);
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Waits for more bytes; whether some came.
    fn fill(&mut self, wait: Duration) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.closed) else {
            return false;
        };
        let mut part = [0; 16384];
        let _ = stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))));
        match stream.read(&mut part) {
            Ok(0) => {
                self.closed = true;
                false
            }
            Ok(count) => {
                self.buffer.extend_from_slice(&part[..count]);
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) =>
            {
                false
            }
            Err(_) => {
                self.closed = true;
                false
            }
        }
    }

    /// The next PDU that comes within that time. An error says what rule the target has broken.
    pub fn receive(&mut self, wait: Duration) -> Result<Option<Answer>, String> {
        if self.deaf {
            return Ok(None);
        }
        let end = Instant::now() + wait;
        loop {
            if let Some(answer) = self.take()? {
                self.check(&answer)?;
                return Ok(Some(answer));
            }
            let left = end.saturating_duration_since(Instant::now());
            if !self.fill(left) && (left.is_zero() || self.closed) {
                return Ok(None);
            }
        }
    }

    /// A PDU from the buffer, if one is complete.
    fn take(&mut self) -> Result<Option<Answer>, String> {
        let Some(bhs) = self.buffer.first_chunk::<48>().copied() else {
            return Ok(None);
        };
        let ahs = usize::from(bhs[4]) * 4;
        if ahs != 0 {
            return Err(format!(
                "an answer with additional header segments: {bhs:02x?}"
            ));
        }
        let length = u32::from_be_bytes([0, bhs[5], bhs[6], bhs[7]]) as usize;
        if length > self.max_data {
            return Err(format!(
                "{length} bytes of data where {} are the most: {bhs:02x?}",
                self.max_data
            ));
        }
        let padded = length.next_multiple_of(4);
        let start = 48 + if self.header_digest { 4 } else { 0 };
        let end = start + padded;
        let total = end + if self.data_digest && length > 0 { 4 } else { 0 };
        if self.buffer.len() < total {
            return Ok(None);
        }
        if self.header_digest && self.buffer[48..52] != crc32c(&bhs) {
            return Err(format!("a wrong header digest: {bhs:02x?}"));
        }
        let data = &self.buffer[start..end];
        if self.data_digest && length > 0 && self.buffer[end..total] != crc32c(data) {
            return Err(format!("a wrong data digest: {bhs:02x?}"));
        }
        if data[length..].iter().any(|&byte| byte != 0) {
            return Err(format!("padding that is not zero: {bhs:02x?}"));
        }
        let data = data[..length].to_vec();
        self.buffer.drain(..total);
        Ok(Some(Answer { bhs, data }))
    }

    /// Checks what holds of every PDU of a target, RFC 7143 section 11.
    fn check(&mut self, answer: &Answer) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: {:02x?}", answer.bhs));
        let opcode = answer.opcode();
        if answer.bhs[0] & 0xc0 != 0 {
            return wrong("reserved bits beside the opcode");
        }
        let in_login = opcode == op::LOGIN_RESPONSE;
        if !self.full_feature && !in_login && self.framed {
            return wrong("not a Login Response during the login");
        }
        let tag = answer.get(16);
        let final_bit = answer.bhs[1] & 0x80 != 0;
        let mut has_status = true;
        match opcode {
            op::NOP_IN => has_status = tag != RESERVED,
            op::RESPONSE | op::TASK_MGMT_RESPONSE | op::LOGOUT_RESPONSE | op::ASYNC => {
                if !final_bit {
                    return wrong("F is not set");
                }
            }
            op::REJECT => {
                if !final_bit || tag != RESERVED {
                    return wrong("F or the tag");
                }
                if answer.data.len() < 48 {
                    return wrong("less than a header rejected");
                }
            }
            op::TEXT_RESPONSE | op::LOGIN_RESPONSE => {
                let go_on = answer.bhs[1] & 0x40 != 0;
                if final_bit && go_on {
                    return wrong("F and C, or T and C");
                }
                if !go_on && answer.data.last().is_some_and(|&byte| byte != 0) {
                    return wrong("a text that does not end");
                }
            }
            op::DATA_IN => {
                has_status = answer.bhs[1] & 1 != 0;
                if has_status && !final_bit {
                    return wrong("S without F");
                }
                let end = u64::from(answer.get(40)) + answer.data.len() as u64;
                match self.expected.get(&tag) {
                    Some(&most) if self.framed && end > most => {
                        return wrong("more data than is expected")
                    }
                    None if self.framed && !self.repeats => {
                        return wrong("data for a command that was not sent")
                    }
                    _ => {}
                }
            }
            op::R2T => {
                has_status = false;
                let end = u64::from(answer.get(40)) + u64::from(answer.get(44));
                if !final_bit || answer.get(20) == RESERVED || answer.get(44) == 0 {
                    return wrong("F, the tag or the length");
                }
                match self.expected.get(&tag) {
                    Some(&most) if self.framed && end > most => {
                        return wrong("more is asked for than there is")
                    }
                    None if self.framed && !self.repeats => {
                        return wrong("R2T for a command that was not sent")
                    }
                    _ => {}
                }
            }
            _ => return wrong("an opcode that no target has"),
        }
        if opcode == op::NOP_IN && tag == RESERVED && answer.get(20) == RESERVED {
            // It asks for nothing: an answer to nothing, or only numbers.
            has_status = false;
        }
        if has_status && !(in_login && answer.bhs[36] != 0) {
            let number = answer.get(24);
            if let Some(next) = self.next_stat_sn {
                if number != next && !self.repeats {
                    return wrong(&format!("StatSN, which must be {next}"));
                }
            }
            if !self.repeats || self.next_stat_sn == Some(number) {
                self.next_stat_sn = Some(number.wrapping_add(1));
            }
            self.exp_stat_sn = number.wrapping_add(1);
        }
        if in_login && answer.bhs[36] == 0 {
            for pair in answer.data.split(|&byte| byte == 0) {
                match pair {
                    b"HeaderDigest=CRC32C" => self.negotiated.0 = true,
                    b"DataDigest=CRC32C" => self.negotiated.1 = true,
                    _ => {}
                }
            }
            if answer.bhs[1] & 0x83 == 0x83 {
                self.full_feature = true;
                (self.header_digest, self.data_digest) = self.negotiated;
            }
        }
        Ok(())
    }

    /// Remembers what was sent, as far as the target is able to read it.
    pub fn sent(&mut self, bytes: &[u8]) {
        if bytes.len() >= 48 && bytes[0] & 0x3f == op::COMMAND {
            let tag = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
            let mut most = u64::from(u32::from_be_bytes(bytes[20..24].try_into().unwrap()));
            // A bidirectional command has its length of reads elsewhere.
            if bytes[4] != 0 {
                most = u64::from(u32::MAX);
            }
            let slot = self.expected.entry(tag).or_default();
            *slot = most.max(*slot);
        }
        // What is asked for again, or goes on elsewhere, has numbers that were used before.
        let reassigns = bytes.len() >= 48 && bytes[0] & 0x3f == op::TASK_MGMT;
        if bytes.len() >= 48 && bytes[0] & 0x3f == op::SNACK || reassigns && bytes[1] & 0x7f == 14 {
            self.repeats = true;
        }
    }
}
