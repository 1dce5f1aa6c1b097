// SPDX-License-Identifier: GPL-2.0

//! Asynchronous Message (RFC 7143 section 11.9).

use zerocopy::{
    big_endian::{
        U16, //
        U32,
        U64,
    },
    transmute,
};
use zerocopy_derive::{
    FromBytes, //
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned,
};

use crate::proto::{
    serial::Sn, //
    wire::{
        bhs::{
            self, //
            U24,
        },
        BHS_LEN, RESERVED_TAG,
    },
};

/// Tells the initiator of an event. Its C twin is `struct iscsi_async`.
///
/// The data segment, where there is one, begins with 2 bytes of SenseLength
/// (section 11.9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// What happened.
    pub event: AsyncEvent,
    /// StatSN; it advances after this PDU.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
    /// The length of the data segment in bytes.
    pub data_len: u32,
}

/// An event and its parameters (RFC 7143 section 11.9.1). Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncEvent {
    /// 0: a SCSI event, told in the sense data.
    Scsi {
        /// The logical unit it belongs to.
        lun: u64,
    },
    /// 1: the initiator must log out of this connection.
    LogoutRequest {
        /// At the latest after this time (Parameter3).
        deadline: u16,
    },
    /// 2: the target will drop a connection.
    ConnectionDrop {
        /// Which one (Parameter1).
        cid: u16,
        /// When to reconnect, at the earliest (Parameter2).
        time2wait: u16,
        /// How long after that commands can be reassigned (Parameter3).
        time2retain: u16,
    },
    /// 3: the target will drop all connections of the session.
    SessionDrop {
        /// When to reconnect, at the earliest (Parameter2).
        time2wait: u16,
        /// How long after that commands can be reassigned (Parameter3).
        time2retain: u16,
    },
    /// 4: the initiator must send a Text Request or log out.
    NegotiationRequest {
        /// At the latest after this time (Parameter3).
        deadline: u16,
    },
    /// 5: all tasks on the logical unit end. Only with TaskReporting=FastAbort.
    TaskTermination {
        /// The logical unit.
        lun: u64,
    },
    /// 255: what the vendor says it is.
    VendorSpecific {
        /// The vendor's code (AsyncVCode).
        vcode: u8,
    },
}

impl AsyncEvent {
    /// The AsyncEvent field.
    #[inline]
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            AsyncEvent::Scsi { .. } => 0,
            AsyncEvent::LogoutRequest { .. } => 1,
            AsyncEvent::ConnectionDrop { .. } => 2,
            AsyncEvent::SessionDrop { .. } => 3,
            AsyncEvent::NegotiationRequest { .. } => 4,
            AsyncEvent::TaskTermination { .. } => 5,
            AsyncEvent::VendorSpecific { .. } => 255,
        }
    }
}

impl AsyncMessage {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        let lun = match self.event {
            AsyncEvent::Scsi { lun } | AsyncEvent::TaskTermination { lun } => lun,
            _ => 0,
        };
        let (parameter1, parameter2, parameter3) = match self.event {
            AsyncEvent::LogoutRequest { deadline }
            | AsyncEvent::NegotiationRequest { deadline } => (0, 0, deadline),
            AsyncEvent::ConnectionDrop {
                cid,
                time2wait,
                time2retain,
            } => (cid, time2wait, time2retain),
            AsyncEvent::SessionDrop {
                time2wait,
                time2retain,
            } => (0, time2wait, time2retain),
            _ => (0, 0, 0),
        };
        let vcode = match self.event {
            AsyncEvent::VendorSpecific { vcode } => vcode,
            _ => 0,
        };
        *out = transmute!(AsyncMessageLayout {
            opcode: bhs::ASYNC_MESSAGE,
            flags: bhs::FINAL,
            reserved2: [0; 2],
            total_ahs_length: 0,
            data_segment_length: U24::new(self.data_len),
            lun: U64::new(lun),
            itt: U32::new(RESERVED_TAG),
            reserved20: [0; 4],
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            async_event: self.event.code(),
            async_vcode: vcode,
            parameter1: U16::new(parameter1),
            parameter2: U16::new(parameter2),
            parameter3: U16::new(parameter3),
            reserved44: [0; 4],
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AsyncMessageLayout {
    opcode: u8,
    flags: u8,
    reserved2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    reserved20: [u8; 4],
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    async_event: u8,
    async_vcode: u8,
    parameter1: U16,
    parameter2: U16,
    parameter3: U16,
    reserved44: [u8; 4],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;

    const VECTORS: &str = include_str!("../../../tests/vectors/async_msg.hex");

    #[test]
    fn each_event_is_written_whole() {
        let events = [
            (
                "scsi",
                AsyncEvent::Scsi {
                    lun: 0x0002_0000_0000_0000,
                },
                20,
            ),
            ("logout", AsyncEvent::LogoutRequest { deadline: 10 }, 0),
            (
                "connection_drop",
                AsyncEvent::ConnectionDrop {
                    cid: 0x0102,
                    time2wait: 3,
                    time2retain: 0x1234,
                },
                0,
            ),
            (
                "session_drop",
                AsyncEvent::SessionDrop {
                    time2wait: 2,
                    time2retain: 0,
                },
                0,
            ),
            (
                "negotiate",
                AsyncEvent::NegotiationRequest { deadline: 5 },
                0,
            ),
            (
                "task_termination",
                AsyncEvent::TaskTermination {
                    lun: 0x0003_0000_0000_0000,
                },
                0,
            ),
            ("vendor", AsyncEvent::VendorSpecific { vcode: 0x42 }, 0),
        ];
        for (stat_sn, (name, event, data_len)) in (0x20b..).map(Sn).zip(events) {
            let message = AsyncMessage {
                event,
                stat_sn,
                exp_cmd_sn: Sn(0x108),
                max_cmd_sn: Sn(0x187),
                data_len,
            };
            assert_eq!(
                emitted(|out| message.emit(out)),
                header(VECTORS, name),
                "{name}"
            );
        }
    }
}
