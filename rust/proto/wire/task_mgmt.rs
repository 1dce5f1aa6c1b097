// SPDX-License-Identifier: GPL-2.0

//! Task Management Function Request and Response (RFC 7143 sections 11.5 and
//! 11.6, RFC 7144 section 6).

use core::fmt;

use zerocopy::{
    big_endian::{
        U32, //
        U64,
    },
    transmute, transmute_ref,
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
            getters,
            U24,
        },
        final_bit_set, no_ahs, no_data, valid_itt, Bhs, Error, BHS_LEN,
    },
};

/// Asks to act on tasks. Its C twin is `struct iscsi_tm`.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TaskMgmtRequest {
    opcode: u8,
    flags: u8,
    reserved2: [u8; 2],
    total_ahs_length: u8,
    data_segment_length: U24,
    lun: U64,
    itt: U32,
    referenced_task_tag: U32,
    cmd_sn: U32,
    exp_stat_sn: U32,
    ref_cmd_sn: U32,
    exp_data_sn: U32,
    reserved40: [u8; 8],
}

const _: () = assert!(size_of::<TaskMgmtRequest>() == BHS_LEN);

impl TaskMgmtRequest {
    #[inline]
    pub(crate) fn parse(header: &[u8; BHS_LEN]) -> Result<&TaskMgmtRequest, Error> {
        let bhs = Bhs::cast(header);
        final_bit_set(bhs)?;
        // RFC 7143 section 11.5.2: "TotalAHSLength and DataSegmentLength MUST
        // be 0."
        no_ahs(bhs)?;
        no_data(bhs)?;
        valid_itt(bhs)?;
        // An unknown function is no format error: [`TmResponse`] has answers
        // for it.
        Ok(transmute_ref!(header))
    }

    /// What is asked for.
    #[inline]
    #[must_use]
    pub fn function(&self) -> TmFunction {
        TmFunction::from(self.flags & 0x7f)
    }

    /// The Initiator Task Tag of the task to act on, for ABORT TASK, TASK
    /// REASSIGN and QUERY TASK.
    #[inline]
    #[must_use]
    pub fn referenced_task_tag(&self) -> u32 {
        self.referenced_task_tag.get()
    }

    /// The CmdSN of the task to act on, for ABORT TASK and QUERY TASK; this
    /// request's own for one that was immediate (section 11.5.5).
    #[inline]
    #[must_use]
    pub fn ref_cmd_sn(&self) -> Sn {
        Sn(self.ref_cmd_sn.get())
    }

    /// The first Data-In that is not acknowledged, for TASK REASSIGN.
    #[inline]
    #[must_use]
    pub fn exp_data_sn(&self) -> u32 {
        self.exp_data_sn.get()
    }
}

getters!(TaskMgmtRequest {
    /// The I bit.
    immediate,
    /// The LUN. Reserved in functions that do not address a logical unit, see
    /// [`TmFunction::has_lun`].
    lun,
    /// The Initiator Task Tag of this request itself.
    itt,
    /// The CmdSN. Of a function on many tasks it also says which: those before
    /// it.
    cmd_sn,
    /// The ExpStatSN: all status before it has arrived.
    exp_stat_sn,
});

/// A task management function (RFC 7143 section 11.5.1, RFC 7144 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TmFunction {
    /// 1: abort the referenced task.
    AbortTask,
    /// 2: abort all tasks of this session on the logical unit.
    AbortTaskSet,
    /// 3: clear the auto contingent allegiance.
    ClearAca,
    /// 4: abort all tasks in the task set.
    ClearTaskSet,
    /// 5: reset the logical unit.
    LogicalUnitReset,
    /// 6: reset all logical units.
    TargetWarmReset,
    /// 7: reset all logical units and drop all connections.
    TargetColdReset,
    /// 8: move a task to this connection.
    TaskReassign,
    /// 9: is the task in the task set? Only with iSCSIProtocolLevel=2.
    QueryTask,
    /// 10: is any task in the task set? Only with iSCSIProtocolLevel=2.
    QueryTaskSet,
    /// 11: lose this nexus. Only with iSCSIProtocolLevel=2.
    ItNexusReset,
    /// 12: is a unit attention pending? Only with iSCSIProtocolLevel=2.
    QueryAsyncEvent,
    /// Not assigned: the 7 bits as they came.
    Unknown(u8),
}

impl TmFunction {
    /// Whether it ends tasks of a whole unit or more, so that the semantics of
    /// section 4.2.3.3 hold for it.
    #[inline]
    #[must_use]
    pub const fn ends_many(self) -> bool {
        matches!(
            self,
            TmFunction::AbortTaskSet
                | TmFunction::ClearTaskSet
                | TmFunction::LogicalUnitReset
                | TmFunction::TargetWarmReset
                | TmFunction::TargetColdReset
        )
    }

    /// Whether it waits for all commands before it (section 4.2.3.3, b). The
    /// resets of a target need not.
    #[inline]
    #[must_use]
    pub const fn waits_for_commands(self) -> bool {
        matches!(
            self,
            TmFunction::AbortTaskSet | TmFunction::ClearTaskSet | TmFunction::LogicalUnitReset
        )
    }

    /// Whether the LUN field says which logical unit is meant (RFC 7143
    /// section 11.5.3, RFC 7144 section 6.3.1).
    #[inline]
    #[must_use]
    pub const fn has_lun(self) -> bool {
        matches!(
            self,
            TmFunction::AbortTask
                | TmFunction::AbortTaskSet
                | TmFunction::ClearAca
                | TmFunction::ClearTaskSet
                | TmFunction::LogicalUnitReset
                | TmFunction::QueryTask
                | TmFunction::QueryTaskSet
                | TmFunction::QueryAsyncEvent
        )
    }

    /// Whether RFC 7144 forbids it unless iSCSIProtocolLevel=2 was negotiated.
    #[inline]
    #[must_use]
    pub const fn needs_protocol_level_2(self) -> bool {
        matches!(
            self,
            TmFunction::QueryTask
                | TmFunction::QueryTaskSet
                | TmFunction::ItNexusReset
                | TmFunction::QueryAsyncEvent
        )
    }
}

impl From<u8> for TmFunction {
    fn from(raw: u8) -> TmFunction {
        match raw {
            1 => TmFunction::AbortTask,
            2 => TmFunction::AbortTaskSet,
            3 => TmFunction::ClearAca,
            4 => TmFunction::ClearTaskSet,
            5 => TmFunction::LogicalUnitReset,
            6 => TmFunction::TargetWarmReset,
            7 => TmFunction::TargetColdReset,
            8 => TmFunction::TaskReassign,
            9 => TmFunction::QueryTask,
            10 => TmFunction::QueryTaskSet,
            11 => TmFunction::ItNexusReset,
            12 => TmFunction::QueryAsyncEvent,
            unknown => TmFunction::Unknown(unknown),
        }
    }
}

impl fmt::Display for TmFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TmFunction::AbortTask => "ABORT TASK",
            TmFunction::AbortTaskSet => "ABORT TASK SET",
            TmFunction::ClearAca => "CLEAR ACA",
            TmFunction::ClearTaskSet => "CLEAR TASK SET",
            TmFunction::LogicalUnitReset => "LOGICAL UNIT RESET",
            TmFunction::TargetWarmReset => "TARGET WARM RESET",
            TmFunction::TargetColdReset => "TARGET COLD RESET",
            TmFunction::TaskReassign => "TASK REASSIGN",
            TmFunction::QueryTask => "QUERY TASK",
            TmFunction::QueryTaskSet => "QUERY TASK SET",
            TmFunction::ItNexusReset => "I_T NEXUS RESET",
            TmFunction::QueryAsyncEvent => "QUERY ASYNCHRONOUS EVENT",
            TmFunction::Unknown(raw) => return write!(f, "function {raw}"),
        })
    }
}

/// The answer to a task management request. Its C twin is
/// `struct iscsi_tm_rsp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskMgmtResponse {
    /// What became of it.
    pub response: TmResponse,
    /// Additional Response Information as SAM-5 defines it for QUERY TASK and
    /// QUERY ASYNCHRONOUS EVENT (RFC 7144 section 6.4.1), else 0.
    pub additional: [u8; 3],
    /// The request's Initiator Task Tag.
    pub itt: u32,
    /// StatSN; it advances after this PDU.
    pub stat_sn: Sn,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN.
    pub max_cmd_sn: Sn,
}

impl TaskMgmtResponse {
    /// Writes the whole header.
    #[inline]
    pub fn emit(&self, out: &mut [u8; BHS_LEN]) {
        *out = transmute!(TaskMgmtResponseLayout {
            opcode: bhs::TASK_MGMT_RESPONSE,
            flags: bhs::FINAL,
            response: self.response as u8,
            reserved3: 0,
            total_ahs_length: 0,
            data_segment_length: [0; 3],
            additional: self.additional,
            reserved11: [0; 5],
            itt: U32::new(self.itt),
            reserved20: [0; 4],
            stat_sn: U32::new(self.stat_sn.0),
            exp_cmd_sn: U32::new(self.exp_cmd_sn.0),
            max_cmd_sn: U32::new(self.max_cmd_sn.0),
            reserved36: [0; 12],
        });
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TaskMgmtResponseLayout {
    opcode: u8,
    flags: u8,
    response: u8,
    reserved3: u8,
    total_ahs_length: u8,
    data_segment_length: [u8; 3],
    additional: [u8; 3],
    reserved11: [u8; 5],
    itt: U32,
    reserved20: [u8; 4],
    stat_sn: U32,
    exp_cmd_sn: U32,
    max_cmd_sn: U32,
    reserved36: [u8; 12],
}

/// What became of a task management request (RFC 7143 section 11.6.1, RFC 7144
/// section 6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TmResponse {
    /// 0: done; or, to a query, "no".
    FunctionComplete = 0,
    /// 1: the referenced task is not known and outside the command window.
    TaskDoesNotExist = 1,
    /// 2: the LUN is not known.
    LunDoesNotExist = 2,
    /// 3: the task to reassign still belongs to another connection.
    TaskStillAllegiant = 3,
    /// 4: tasks cannot be reassigned.
    ReassignmentNotSupported = 4,
    /// 5: the function is not supported.
    FunctionNotSupported = 5,
    /// 6: the initiator may not do this.
    AuthorizationFailed = 6,
    /// 7: "yes" to a query. Only for RFC 7144's functions.
    FunctionSucceeded = 7,
    /// 255: refused, as for a task management request that is to be aborted.
    FunctionRejected = 255,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::*;
    use crate::proto::wire::Opcode;
    use crate::proto::wire::Request;

    const VECTORS: &str = include_str!("../../../tests/vectors/task_mgmt.hex");

    fn task_mgmt(header: &[u8; BHS_LEN]) -> &TaskMgmtRequest {
        match parse(header) {
            Request::TaskMgmt(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields() {
        let abort = header(VECTORS, "abort_task");
        let abort = task_mgmt(&abort);
        assert!(abort.immediate());
        assert_eq!(abort.function(), TmFunction::AbortTask);
        assert_eq!(abort.lun(), 0x0001_0000_0000_0000);
        assert_eq!((abort.itt(), abort.referenced_task_tag()), (0x20, 0x10));
        assert_eq!(
            (abort.cmd_sn(), abort.exp_stat_sn()),
            (Sn(0x105), Sn(0x205))
        );
        assert_eq!((abort.ref_cmd_sn(), abort.exp_data_sn()), (Sn(0x101), 0));

        let reassign = header(VECTORS, "reassign");
        let reassign = task_mgmt(&reassign);
        assert_eq!(reassign.function(), TmFunction::TaskReassign);
        assert_eq!(reassign.exp_data_sn(), 0x0a0b_0c0d);
        assert!(!task_mgmt(&with(&header(VECTORS, "abort_task"), &[(0, 2)])).immediate());
    }

    #[test]
    fn functions_are_those_of_the_two_rfcs() {
        let abort = header(VECTORS, "abort_task");
        let functions = [
            (1, TmFunction::AbortTask, true, false),
            (2, TmFunction::AbortTaskSet, true, false),
            (3, TmFunction::ClearAca, true, false),
            (4, TmFunction::ClearTaskSet, true, false),
            (5, TmFunction::LogicalUnitReset, true, false),
            (6, TmFunction::TargetWarmReset, false, false),
            (7, TmFunction::TargetColdReset, false, false),
            (8, TmFunction::TaskReassign, false, false),
            (9, TmFunction::QueryTask, true, true),
            (10, TmFunction::QueryTaskSet, true, true),
            (11, TmFunction::ItNexusReset, false, true),
            (12, TmFunction::QueryAsyncEvent, true, true),
            (0, TmFunction::Unknown(0), false, false),
            (13, TmFunction::Unknown(13), false, false),
            (127, TmFunction::Unknown(127), false, false),
        ];
        for (code, function, lun, level_2) in functions {
            let header = with(&abort, &[(1, 0x80 | code)]);
            assert_eq!(task_mgmt(&header).function(), function);
            assert_eq!(function.has_lun(), lun, "{function}");
            assert_eq!(function.needs_protocol_level_2(), level_2, "{function}");
        }
    }

    #[test]
    fn reserved_bits_are_ignored() {
        ignores(
            &header(VECTORS, "abort_task"),
            &[(0..1, 0x80), (2..4, 0xff), (40..48, 0xff)],
            |request| match request {
                Request::TaskMgmt(r) => (
                    (r.immediate(), r.function(), r.lun(), r.itt()),
                    (r.referenced_task_tag(), r.cmd_sn(), r.exp_stat_sn()),
                    (r.ref_cmd_sn(), r.exp_data_sn()),
                ),
                other => panic!("{other:?}"),
            },
        );
    }

    #[test]
    fn refusals() {
        let abort = header(VECTORS, "abort_task");
        let opcode = Opcode::TaskMgmtRequest;
        assert_eq!(
            refusal(&with(&abort, &[(1, 1)])),
            Error::FinalBitClear(opcode)
        );
        assert_eq!(
            refusal(&with(&abort, &[(4, 1)])),
            Error::UnexpectedAhs { opcode, length: 4 }
        );
        assert_eq!(
            refusal(&with(&abort, &[(7, 1)])),
            Error::UnexpectedData { opcode, length: 1 }
        );
        assert_eq!(
            refusal(&with(&abort, &[(16, 255), (17, 255), (18, 255), (19, 255)])),
            Error::ReservedItt(opcode)
        );
    }

    #[test]
    fn responses_are_written_whole() {
        let complete = TaskMgmtResponse {
            response: TmResponse::FunctionComplete,
            additional: [0; 3],
            itt: 0x20,
            stat_sn: Sn(0x206),
            exp_cmd_sn: Sn(0x105),
            max_cmd_sn: Sn(0x184),
        };
        assert_eq!(
            emitted(|out| complete.emit(out)),
            header(VECTORS, "complete")
        );
        let rejected = TaskMgmtResponse {
            response: TmResponse::FunctionRejected,
            itt: 0x21,
            stat_sn: Sn(0x207),
            ..complete
        };
        assert_eq!(
            emitted(|out| rejected.emit(out)),
            header(VECTORS, "rejected")
        );
        let succeeded = TaskMgmtResponse {
            response: TmResponse::FunctionSucceeded,
            additional: [0x29, 0x01, 0x02],
            itt: 0x22,
            stat_sn: Sn(0x208),
            ..complete
        };
        assert_eq!(
            emitted(|out| succeeded.emit(out)),
            header(VECTORS, "succeeded")
        );
    }
}
