// SPDX-License-Identifier: GPL-2.0

//! Requests as an initiator makes them, and how they become bytes.

/// Opcodes of requests, RFC 7143 section 11.2.1.2.
pub mod op {
    pub const NOP_OUT: u8 = 0x00;
    pub const COMMAND: u8 = 0x01;
    pub const TASK_MGMT: u8 = 0x02;
    pub const LOGIN: u8 = 0x03;
    pub const TEXT: u8 = 0x04;
    pub const DATA_OUT: u8 = 0x05;
    pub const LOGOUT: u8 = 0x06;
    pub const SNACK: u8 = 0x10;
    pub const IMMEDIATE: u8 = 0x40;
    pub const NOP_IN: u8 = 0x20;
    pub const RESPONSE: u8 = 0x21;
    pub const TASK_MGMT_RESPONSE: u8 = 0x22;
    pub const LOGIN_RESPONSE: u8 = 0x23;
    pub const TEXT_RESPONSE: u8 = 0x24;
    pub const DATA_IN: u8 = 0x25;
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    pub const R2T: u8 = 0x31;
    pub const ASYNC: u8 = 0x32;
    pub const REJECT: u8 = 0x3f;
}

/// A tag that is none.
pub const RESERVED: u32 = 0xffff_ffff;

/// A request, and the lies that are told about it.
#[derive(Clone, Debug)]
pub struct Pdu {
    pub bhs: [u8; 48],
    pub ahs: Vec<u8>,
    pub data: Vec<u8>,
    /// What DataSegmentLength says instead of the truth.
    pub length: Option<u32>,
    /// What TotalAHSLength says instead of the truth.
    pub ahs_length: Option<u8>,
    /// Bits that are turned over in the header digest, and in the data digest.
    pub digests: (u8, u8),
    /// Bytes of it that are sent.
    pub cut: Option<usize>,
}

impl Pdu {
    /// A request with nothing in its header.
    pub fn new(opcode: u8, flags: u8) -> Self {
        let mut bhs = [0; 48];
        bhs[0] = opcode;
        bhs[1] = flags;
        Self {
            bhs,
            ahs: Vec::new(),
            data: Vec::new(),
            length: None,
            ahs_length: None,
            digests: (0, 0),
            cut: None,
        }
    }

    /// Sets four bytes of the header.
    pub fn set(mut self, at: usize, value: u32) -> Self {
        self.put(at, value);
        self
    }

    /// Sets four bytes of the header.
    pub fn put(&mut self, at: usize, value: u32) {
        self.bhs[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Sets the LUN, in the addressing that small numbers use.
    pub fn lun(mut self, lun: u8) -> Self {
        self.bhs[9] = lun;
        self
    }

    /// Sets the data.
    pub fn data(mut self, data: Vec<u8>) -> Self {
        self.data = data;
        self
    }

    /// The opcode without the I bit.
    pub fn opcode(&self) -> u8 {
        self.bhs[0] & 0x3f
    }

    /// The bytes on the wire, with header and data digests if these are on.
    pub fn bytes(&self, header_digest: bool, data_digest: bool) -> Vec<u8> {
        let mut out = self.bhs.to_vec();
        out[4] = self.ahs_length.unwrap_or((self.ahs.len() / 4) as u8);
        let length = self.length.unwrap_or(self.data.len() as u32);
        out[5..8].copy_from_slice(&length.to_be_bytes()[1..]);
        out.extend_from_slice(&self.ahs);
        if header_digest {
            let digest = crc32c(&out);
            out.extend(digest.map(|byte| byte ^ self.digests.0));
        }
        if !self.data.is_empty() {
            let mut padded = self.data.clone();
            padded.resize(padded.len().next_multiple_of(4), 0);
            out.extend_from_slice(&padded);
            if data_digest {
                out.extend(crc32c(&padded).map(|byte| byte ^ self.digests.1));
            }
        }
        if let Some(cut) = self.cut {
            out.truncate(cut);
        }
        out
    }
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// CRC32C in the order in which it is sent.
pub fn crc32c(bytes: &[u8]) -> [u8; 4] {
    let crc = bytes.iter().fold(u32::MAX, |crc, &byte| {
        (crc >> 8) ^ CRC[usize::from(crc as u8 ^ byte)]
    });
    (!crc).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // RFC 7143 appendix A.4: 32 bytes of zeros.
        assert_eq!(crc32c(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
    }

    #[test]
    fn a_request_has_its_lengths_padding_and_digests() {
        let pdu = Pdu::new(op::NOP_OUT, 0x80).data(vec![1, 2, 3, 4, 5]);
        assert_eq!(pdu.bytes(false, false).len(), 56);
        let bytes = pdu.bytes(true, true);
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[5..8], [0, 0, 5]);
        assert_eq!(bytes[48..52], crc32c(&bytes[..48]));
        assert_eq!(bytes[60..], crc32c(&[1, 2, 3, 4, 5, 0, 0, 0]));
    }
}
