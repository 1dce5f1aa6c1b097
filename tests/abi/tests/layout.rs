// SPDX-License-Identifier: GPL-2.0

//! Where the fields of each PDU are, byte for byte.
//!
//! No layout of ours is looked at: requests are given to `Request::parse` and
//! responses are emitted, and the kernel's structs say which bytes the values
//! must come from or go to.

#![cfg(kernel_header)]

use std::collections::BTreeMap;
use std::ops::Range;

use ferrite_abi_tests as kernel;
use ferrite_proto::serial::Sn;
use ferrite_proto::wire::*;
use kernel::bytes_of;
use kernel::fields;
use kernel::Field;

type Header = [u8; BHS_LEN];

/// Every struct that is compared, with its size for bindgen.
fn structs() -> BTreeMap<&'static str, usize> {
    macro_rules! sizes {
        ($($name:ident)*) => {
            [$((stringify!($name), size_of::<kernel::$name>())),*].into()
        };
    }
    sizes!(
        iscsi_hdr iscsi_scsi_req iscsi_scsi_rsp iscsi_async iscsi_nopout iscsi_nopin iscsi_tm
        iscsi_tm_rsp iscsi_r2t_rsp iscsi_data iscsi_data_rsp iscsi_text iscsi_text_rsp
        iscsi_login_req iscsi_login_rsp iscsi_logout iscsi_logout_rsp iscsi_snack iscsi_reject
        iscsi_ecdb_ahdr iscsi_rlength_ahdr
    )
}

/// The list of fields is complete: they cover each struct without a gap, and
/// the C compiler and bindgen agree on its size.
#[test]
fn the_fields_cover_every_struct() {
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for Field { pdu, name, bytes } in fields() {
        let end = ends.entry(pdu.clone()).or_default();
        assert_eq!(
            bytes.start, *end,
            "{pdu}.{name} does not follow the field before"
        );
        *end = bytes.end;
    }
    for (name, size) in structs() {
        assert_eq!(ends.remove(name), Some(size), "{name}");
        if !name.ends_with("_ahdr") {
            assert_eq!(size, BHS_LEN, "{name}");
        }
    }
    assert!(ends.is_empty(), "not compared: {ends:?}");
    assert_eq!(BHS_LEN, kernel::ISCSI_HDR_LEN as usize);
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// What a getter reads from a header, as a number; `None` where the header is
/// refused or of another kind.
type Getter = fn(&Header) -> Option<u64>;

/// Asserts that `getter` reads exactly the bytes of one C field: it has their
/// value, and of all bits of the header only theirs change it.
fn reads(valid: &Header, pdu: &str, name: &str, getter: Getter) {
    let bytes = bytes_of(pdu, name);
    reads_bytes(valid, &format!("{pdu}.{name}"), bytes, getter);
}

fn reads_bytes(valid: &Header, what: &str, bytes: Range<usize>, getter: Getter) {
    let before = getter(valid).unwrap_or_else(|| panic!("{what}: the header is refused"));
    assert_eq!(before, number(&valid[bytes.clone()]), "{what}");
    let mut changed = 0;
    for at in 0..BHS_LEN {
        for bit in 0..8 {
            let mut header = *valid;
            header[at] ^= 1 << bit;
            let Some(after) = getter(&header) else {
                continue;
            };
            if bytes.contains(&at) {
                changed += 1;
                assert_eq!(after, number(&header[bytes.clone()]), "{what}: byte {at}");
            } else {
                assert_eq!(after, before, "{what}: byte {at} is none of it");
            }
        }
    }
    assert!(changed != 0, "{what}: every change of it is refused");
}

/// A valid header with the given opcode and flags, and bytes of its own
/// elsewhere that make no field equal to another.
fn valid(opcode: u32, flags: u32, zero: &[Range<usize>]) -> Header {
    let mut header: Header = std::array::from_fn(|at| 0x40 + at as u8);
    header[0] = opcode as u8;
    header[1] = flags as u8;
    for range in zero {
        header[range.clone()].fill(0);
    }
    header
}

/// A getter of one kind of request.
macro_rules! get {
    ($kind:ident, $request:ident => $value:expr) => {
        |header| match Request::parse(header) {
            Ok(Request::$kind($request)) => Some(u64::from($value)),
            // Refused, or a bit of the opcode was changed.
            _ => None,
        }
    };
}

const LENGTHS: Range<usize> = 4..8;

#[test]
fn scsi_command() {
    let pdu = "iscsi_scsi_req";
    let flags = kernel::ISCSI_FLAG_CMD_FINAL | kernel::ISCSI_FLAG_CMD_WRITE;
    let mut header = valid(kernel::ISCSI_OP_SCSI_CMD, flags, &[LENGTHS]);
    header[5..8].copy_from_slice(&[1, 2, 3]);
    reads(
        &header,
        pdu,
        "dlength",
        get!(ScsiCommand, r => r.data_segment_length()),
    );
    reads(&header, pdu, "lun", get!(ScsiCommand, r => r.lun()));
    reads(&header, pdu, "itt", get!(ScsiCommand, r => r.itt()));
    reads(
        &header,
        pdu,
        "data_length",
        get!(ScsiCommand, r => r.edtl()),
    );
    reads(&header, pdu, "cmdsn", get!(ScsiCommand, r => r.cmd_sn().0));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(ScsiCommand, r => r.exp_stat_sn().0),
    );
    let cdb = bytes_of(pdu, "cdb");
    assert_eq!(cdb.len(), kernel::ISCSI_CDB_SIZE as usize);
    for (index, at) in cdb.enumerate() {
        // A closure cannot be a `Getter` and know the index.
        let Ok(Request::ScsiCommand(command)) = Request::parse(&header) else {
            panic!("refused");
        };
        assert_eq!(command.cdb()[index], header[at]);
    }

    let mut ahs = header;
    ahs[bytes_of(pdu, "hlength").start] = 9;
    let Ok(Request::ScsiCommand(command)) = Request::parse(&ahs) else {
        panic!("refused");
    };
    assert_eq!(command.total_ahs_length(), 36);

    // The flags, each alone.
    let base = valid(kernel::ISCSI_OP_SCSI_CMD, flags, &[LENGTHS]);
    let command_with = |flags: u32, ask: fn(&ScsiCommand) -> bool| {
        let mut header = base;
        header[bytes_of(pdu, "flags").start] = flags as u8;
        header[bytes_of(pdu, "data_length")].fill(0);
        match Request::parse(&header) {
            Ok(Request::ScsiCommand(command)) => ask(command),
            other => panic!("{flags:#x}: {other:?}"),
        }
    };
    let (last, read, write) = (
        kernel::ISCSI_FLAG_CMD_FINAL,
        kernel::ISCSI_FLAG_CMD_READ,
        kernel::ISCSI_FLAG_CMD_WRITE,
    );
    assert!(command_with(last, |c| c.is_final()
        && !c.is_read()
        && !c.is_write()));
    assert!(command_with(last | read, |c| c.is_read() && !c.is_write()));
    assert!(command_with(last | write, |c| c.is_write() && !c.is_read()));
    for (attr, wanted) in [
        (kernel::ISCSI_ATTR_UNTAGGED, TaskAttr::Untagged),
        (kernel::ISCSI_ATTR_SIMPLE, TaskAttr::Simple),
        (kernel::ISCSI_ATTR_ORDERED, TaskAttr::Ordered),
        (kernel::ISCSI_ATTR_HEAD_OF_QUEUE, TaskAttr::HeadOfQueue),
        (kernel::ISCSI_ATTR_ACA, TaskAttr::Aca),
    ] {
        let mut header = base;
        header[1] = (last | write | attr) as u8;
        match Request::parse(&header) {
            Ok(Request::ScsiCommand(command)) => assert_eq!(command.attr(), wanted),
            other => panic!("{other:?}"),
        }
        assert_eq!(attr & !kernel::ISCSI_FLAG_CMD_ATTR_MASK, 0);
    }
}

#[test]
fn nop_out() {
    let pdu = "iscsi_nopout";
    let opcode = kernel::ISCSI_OP_NOOP_OUT | kernel::ISCSI_OP_IMMEDIATE;
    let mut header = valid(opcode, kernel::ISCSI_FLAG_CMD_FINAL, &[LENGTHS]);
    header[5..8].copy_from_slice(&[1, 2, 3]);
    reads(
        &header,
        pdu,
        "dlength",
        get!(NopOut, r => r.data_segment_length()),
    );
    reads(&header, pdu, "lun", get!(NopOut, r => r.lun()));
    reads(&header, pdu, "itt", get!(NopOut, r => r.itt()));
    reads(&header, pdu, "ttt", get!(NopOut, r => r.ttt()));
    reads(&header, pdu, "cmdsn", get!(NopOut, r => r.cmd_sn().0));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(NopOut, r => r.exp_stat_sn().0),
    );
    assert!(Bhs::cast(&header).immediate());
}

#[test]
fn task_mgmt_request() {
    let pdu = "iscsi_tm";
    let flags = kernel::ISCSI_FLAG_CMD_FINAL | kernel::ISCSI_TM_FUNC_ABORT_TASK;
    let header = valid(kernel::ISCSI_OP_SCSI_TMFUNC, flags, &[LENGTHS]);
    reads(&header, pdu, "lun", get!(TaskMgmt, r => r.lun()));
    reads(&header, pdu, "itt", get!(TaskMgmt, r => r.itt()));
    reads(
        &header,
        pdu,
        "rtt",
        get!(TaskMgmt, r => r.referenced_task_tag()),
    );
    reads(&header, pdu, "cmdsn", get!(TaskMgmt, r => r.cmd_sn().0));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(TaskMgmt, r => r.exp_stat_sn().0),
    );
    reads(
        &header,
        pdu,
        "refcmdsn",
        get!(TaskMgmt, r => r.ref_cmd_sn().0),
    );
    reads(
        &header,
        pdu,
        "exp_datasn",
        get!(TaskMgmt, r => r.exp_data_sn()),
    );
    for (function, wanted) in [
        (kernel::ISCSI_TM_FUNC_ABORT_TASK, TmFunction::AbortTask),
        (
            kernel::ISCSI_TM_FUNC_ABORT_TASK_SET,
            TmFunction::AbortTaskSet,
        ),
        (kernel::ISCSI_TM_FUNC_CLEAR_ACA, TmFunction::ClearAca),
        (
            kernel::ISCSI_TM_FUNC_CLEAR_TASK_SET,
            TmFunction::ClearTaskSet,
        ),
        (
            kernel::ISCSI_TM_FUNC_LOGICAL_UNIT_RESET,
            TmFunction::LogicalUnitReset,
        ),
        (
            kernel::ISCSI_TM_FUNC_TARGET_WARM_RESET,
            TmFunction::TargetWarmReset,
        ),
        (
            kernel::ISCSI_TM_FUNC_TARGET_COLD_RESET,
            TmFunction::TargetColdReset,
        ),
        (
            kernel::ISCSI_TM_FUNC_TASK_REASSIGN,
            TmFunction::TaskReassign,
        ),
    ] {
        assert_eq!(function & !kernel::ISCSI_FLAG_TM_FUNC_MASK, 0);
        let mut header = header;
        header[1] = (kernel::ISCSI_FLAG_CMD_FINAL | function) as u8;
        match Request::parse(&header) {
            Ok(Request::TaskMgmt(request)) => assert_eq!(request.function(), wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn login_request() {
    let pdu = "iscsi_login_req";
    let mut header = valid(
        kernel::ISCSI_OP_LOGIN | kernel::ISCSI_OP_IMMEDIATE,
        kernel::ISCSI_FLAG_LOGIN_TRANSIT,
        &[LENGTHS],
    );
    header[5..8].copy_from_slice(&[1, 2, 3]);
    reads(
        &header,
        pdu,
        "max_version",
        get!(Login, r => r.version_max()),
    );
    reads(
        &header,
        pdu,
        "min_version",
        get!(Login, r => r.version_min()),
    );
    reads(
        &header,
        pdu,
        "dlength",
        get!(Login, r => r.data_segment_length()),
    );
    reads(&header, pdu, "isid", get!(Login, r => number(&r.isid())));
    reads(&header, pdu, "tsih", get!(Login, r => r.tsih()));
    reads(&header, pdu, "itt", get!(Login, r => r.itt()));
    reads(&header, pdu, "cid", get!(Login, r => r.cid()));
    reads(&header, pdu, "cmdsn", get!(Login, r => r.cmd_sn().0));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(Login, r => r.exp_stat_sn().0),
    );

    // Every byte of flags, as the kernel's macros take it apart.
    for flags in 0..=255u8 {
        let mut header = header;
        header[1] = flags;
        let Ok(Request::Login(login)) = Request::parse(&header) else {
            panic!("refused");
        };
        let (csg, nsg) = kernel::login_stages(flags);
        assert_eq!(
            login.csg().ok().map(|stage| stage as u8),
            Some(csg).filter(|&s| s != 2)
        );
        assert_eq!(
            login.nsg().ok().map(|stage| stage as u8),
            Some(nsg).filter(|&s| s != 2)
        );
        let has = |flag: u32| u32::from(flags) & flag != 0;
        assert_eq!(login.transit(), has(kernel::ISCSI_FLAG_LOGIN_TRANSIT));
        assert_eq!(login.continue_bit(), has(kernel::ISCSI_FLAG_LOGIN_CONTINUE));
    }
}

#[test]
fn text_request() {
    let pdu = "iscsi_text";
    let mut header = valid(
        kernel::ISCSI_OP_TEXT,
        kernel::ISCSI_FLAG_CMD_FINAL,
        &[LENGTHS],
    );
    header[5..8].copy_from_slice(&[1, 2, 3]);
    reads(
        &header,
        pdu,
        "dlength",
        get!(Text, r => r.data_segment_length()),
    );
    // RFC 7143 section 11.10 has a LUN where the kernel has "rsvd4".
    reads(&header, pdu, "rsvd4", get!(Text, r => r.lun()));
    reads(&header, pdu, "itt", get!(Text, r => r.itt()));
    reads(&header, pdu, "ttt", get!(Text, r => r.ttt()));
    reads(&header, pdu, "cmdsn", get!(Text, r => r.cmd_sn().0));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(Text, r => r.exp_stat_sn().0),
    );
    header[1] = kernel::ISCSI_FLAG_TEXT_CONTINUE as u8;
    match Request::parse(&header) {
        Ok(Request::Text(text)) => assert!(text.continue_bit() && !text.is_final()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_out() {
    let pdu = "iscsi_data";
    let mut header = valid(
        kernel::ISCSI_OP_SCSI_DATA_OUT,
        kernel::ISCSI_FLAG_CMD_FINAL,
        &[LENGTHS],
    );
    header[5..8].copy_from_slice(&[1, 2, 3]);
    reads(
        &header,
        pdu,
        "dlength",
        get!(DataOut, r => r.data_segment_length()),
    );
    reads(&header, pdu, "lun", get!(DataOut, r => r.lun()));
    reads(&header, pdu, "itt", get!(DataOut, r => r.itt()));
    reads(&header, pdu, "ttt", get!(DataOut, r => r.ttt()));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(DataOut, r => r.exp_stat_sn().0),
    );
    reads(&header, pdu, "datasn", get!(DataOut, r => r.data_sn()));
    reads(
        &header,
        pdu,
        "offset",
        get!(DataOut, r => r.buffer_offset()),
    );
}

#[test]
fn logout_request() {
    let pdu = "iscsi_logout";
    let flags = kernel::ISCSI_FLAG_CMD_FINAL | kernel::ISCSI_LOGOUT_REASON_CLOSE_CONNECTION;
    let header = valid(kernel::ISCSI_OP_LOGOUT, flags, &[LENGTHS]);
    reads(&header, pdu, "itt", get!(Logout, r => r.itt()));
    reads(&header, pdu, "cid", get!(Logout, r => r.cid()));
    reads(&header, pdu, "cmdsn", get!(Logout, r => r.cmd_sn().0));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(Logout, r => r.exp_stat_sn().0),
    );
    for (reason, wanted) in [
        (
            kernel::ISCSI_LOGOUT_REASON_CLOSE_SESSION,
            LogoutReason::CloseSession,
        ),
        (
            kernel::ISCSI_LOGOUT_REASON_CLOSE_CONNECTION,
            LogoutReason::CloseConnection,
        ),
        (
            kernel::ISCSI_LOGOUT_REASON_RECOVERY,
            LogoutReason::RemoveForRecovery,
        ),
    ] {
        assert_eq!(reason & !kernel::ISCSI_FLAG_LOGOUT_REASON_MASK, 0);
        let mut header = header;
        header[1] = (kernel::ISCSI_FLAG_CMD_FINAL | reason) as u8;
        match Request::parse(&header) {
            Ok(Request::Logout(logout)) => assert_eq!(logout.reason(), wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn snack_request() {
    let pdu = "iscsi_snack";
    let header = valid(
        kernel::ISCSI_OP_SNACK,
        kernel::ISCSI_FLAG_CMD_FINAL,
        &[LENGTHS],
    );
    reads(&header, pdu, "lun", get!(Snack, r => r.lun()));
    reads(&header, pdu, "itt", get!(Snack, r => r.itt()));
    reads(&header, pdu, "ttt", get!(Snack, r => r.ttt()));
    reads(
        &header,
        pdu,
        "exp_statsn",
        get!(Snack, r => r.exp_stat_sn().0),
    );
    reads(&header, pdu, "begrun", get!(Snack, r => r.beg_run()));
    reads(&header, pdu, "runlength", get!(Snack, r => r.run_length()));
    for (kind, wanted) in [
        (kernel::ISCSI_FLAG_SNACK_TYPE_DATA, SnackType::DataOrR2t),
        (kernel::ISCSI_FLAG_SNACK_TYPE_R2T, SnackType::DataOrR2t),
        (kernel::ISCSI_FLAG_SNACK_TYPE_STATUS, SnackType::Status),
        (kernel::ISCSI_FLAG_SNACK_TYPE_DATA_ACK, SnackType::DataAck),
        (kernel::ISCSI_FLAG_SNACK_TYPE_RDATA, SnackType::RData),
    ] {
        assert_eq!(kind & !kernel::ISCSI_FLAG_SNACK_TYPE_MASK, 0);
        let mut header = header;
        header[1] = (kernel::ISCSI_FLAG_CMD_FINAL | kind) as u8;
        match Request::parse(&header) {
            Ok(Request::Snack(snack)) => assert_eq!(snack.kind(), wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn common_header() {
    let pdu = "iscsi_hdr";
    let header = valid(kernel::ISCSI_OP_NOOP_OUT, kernel::ISCSI_FLAG_CMD_FINAL, &[]);
    reads(&header, pdu, "dlength", |h| {
        Some(Bhs::cast(h).data_segment_length().into())
    });
    reads(&header, pdu, "lun", |h| Some(Bhs::cast(h).lun()));
    reads(&header, pdu, "itt", |h| Some(Bhs::cast(h).itt().into()));
    reads(&header, pdu, "hlength", |h| {
        Some((Bhs::cast(h).total_ahs_length() / 4).into())
    });
    for first in 0..=255u8 {
        let mut header = header;
        header[bytes_of(pdu, "opcode").start] = first;
        let bhs = Bhs::cast(&header);
        let first = u32::from(first);
        assert_eq!(
            u32::from(bhs.raw_opcode()),
            first & kernel::ISCSI_OPCODE_MASK
        );
        assert_eq!(bhs.immediate(), first & kernel::ISCSI_OP_IMMEDIATE != 0);
    }
}

/// Asserts that an emitted header has these values in these fields of the C
/// struct, and 0 in all others.
fn holds(pdu: &str, emit: impl Fn(&mut Header), values: &[(&str, u64)]) {
    let mut header = [0xa5; BHS_LEN];
    emit(&mut header);
    let mut values: BTreeMap<_, _> = values.iter().copied().collect();
    for Field { name, bytes, .. } in fields().iter().filter(|field| field.pdu == pdu) {
        let wanted = values.remove(name.as_str()).unwrap_or(0);
        assert_eq!(number(&header[bytes.clone()]), wanted, "{pdu}.{name}");
    }
    assert!(values.is_empty(), "{pdu} has no {values:?}");
}

const FINAL: u64 = kernel::ISCSI_FLAG_CMD_FINAL as u64;
const NO_TAG: u64 = kernel::ISCSI_RESERVED_TAG as u64;

const LUN: u64 = 0x0102_0304_0506_0708;
const ITT: u32 = 0x1112_1314;
const TTT: u32 = 0x2122_2324;
const STAT_SN: Sn = Sn(0x3132_3334);
const EXP_CMD_SN: Sn = Sn(0x4142_4344);
const MAX_CMD_SN: Sn = Sn(0x5152_5354);
const DATA_LEN: u32 = 0x61_6263;

/// The numbers that every response has.
const NUMBERS: [(&str, u64); 3] = [
    ("statsn", 0x3132_3334),
    ("exp_cmdsn", 0x4142_4344),
    ("max_cmdsn", 0x5152_5354),
];

fn and_numbers<'a>(values: &[(&'a str, u64)]) -> Vec<(&'a str, u64)> {
    values.iter().chain(&NUMBERS).copied().collect()
}

#[test]
fn scsi_response() {
    let response = ScsiResponse {
        status: ScsiStatus::CHECK_CONDITION,
        response: Response::CommandCompleted,
        itt: ITT,
        snack_tag: TTT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        exp_data_sn: 0x7172_7374,
        residual: Residual::Under(0x8182_8384),
        data_len: DATA_LEN,
    };
    let under = u64::from(kernel::ISCSI_FLAG_CMD_UNDERFLOW);
    holds(
        "iscsi_scsi_rsp",
        |out| response.emit(out),
        &and_numbers(&[
            ("opcode", kernel::ISCSI_OP_SCSI_CMD_RSP.into()),
            ("flags", FINAL | under),
            ("response", kernel::ISCSI_STATUS_CMD_COMPLETED.into()),
            ("cmd_status", 0x02),
            ("dlength", DATA_LEN.into()),
            ("itt", ITT.into()),
            // RFC 7143 section 11.4.4 has the SNACK Tag there.
            ("rsvd1", TTT.into()),
            ("exp_datasn", 0x7172_7374),
            ("residual_count", 0x8182_8384),
        ]),
    );
    let over = ScsiResponse {
        residual: Residual::Over(1),
        ..response
    };
    let mut header = [0; BHS_LEN];
    over.emit(&mut header);
    assert_eq!(
        u64::from(header[1]),
        FINAL | u64::from(kernel::ISCSI_FLAG_CMD_OVERFLOW)
    );
    let failure = ScsiResponse {
        response: Response::TargetFailure,
        ..response
    };
    failure.emit(&mut header);
    let at = bytes_of("iscsi_scsi_rsp", "response").start;
    assert_eq!(u32::from(header[at]), kernel::ISCSI_STATUS_TARGET_FAILURE);
}

#[test]
fn data_in() {
    let data = DataIn {
        final_bit: true,
        ack: true,
        status: Some((ScsiStatus::CONDITION_MET, Residual::Under(0x8182_8384))),
        lun: LUN,
        itt: ITT,
        ttt: TTT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_sn: 0x9192_9394,
        offset: 0xa1a2_a3a4,
        data_len: DATA_LEN,
    };
    let flags = kernel::ISCSI_FLAG_DATA_ACK
        | kernel::ISCSI_FLAG_DATA_STATUS
        | kernel::ISCSI_FLAG_DATA_UNDERFLOW;
    holds(
        "iscsi_data_rsp",
        |out| data.emit(out),
        &and_numbers(&[
            ("opcode", kernel::ISCSI_OP_SCSI_DATA_IN.into()),
            ("flags", FINAL | u64::from(flags)),
            ("cmd_status", 0x04),
            ("dlength", DATA_LEN.into()),
            ("lun", LUN),
            ("itt", ITT.into()),
            ("ttt", TTT.into()),
            ("datasn", 0x9192_9394),
            ("offset", 0xa1a2_a3a4),
            ("residual_count", 0x8182_8384),
        ]),
    );
    let over = DataIn {
        ack: false,
        status: Some((ScsiStatus::GOOD, Residual::Over(1))),
        ..data
    };
    let mut header = [0; BHS_LEN];
    over.emit(&mut header);
    let flags = kernel::ISCSI_FLAG_DATA_STATUS | kernel::ISCSI_FLAG_DATA_OVERFLOW;
    assert_eq!(u64::from(header[1]), FINAL | u64::from(flags));
}

#[test]
fn r2t() {
    let r2t = R2t {
        lun: LUN,
        itt: ITT,
        ttt: TTT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        r2t_sn: 0x9192_9394,
        offset: 0xa1a2_a3a4,
        desired_len: 0xb1b2_b3b4,
    };
    holds(
        "iscsi_r2t_rsp",
        |out| r2t.emit(out),
        &and_numbers(&[
            ("opcode", kernel::ISCSI_OP_R2T.into()),
            ("flags", FINAL),
            ("lun", LUN),
            ("itt", ITT.into()),
            ("ttt", TTT.into()),
            ("r2tsn", 0x9192_9394),
            ("data_offset", 0xa1a2_a3a4),
            ("data_length", 0xb1b2_b3b4),
        ]),
    );
}

#[test]
fn nop_in() {
    let nop = NopIn {
        lun: LUN,
        itt: ITT,
        ttt: TTT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_len: DATA_LEN,
    };
    holds(
        "iscsi_nopin",
        |out| nop.emit(out),
        &and_numbers(&[
            ("opcode", kernel::ISCSI_OP_NOOP_IN.into()),
            ("flags", FINAL),
            ("dlength", DATA_LEN.into()),
            ("lun", LUN),
            ("itt", ITT.into()),
            ("ttt", TTT.into()),
        ]),
    );
}

#[test]
fn task_mgmt_response() {
    for (response, code) in [
        (TmResponse::FunctionComplete, kernel::ISCSI_TMF_RSP_COMPLETE),
        (TmResponse::TaskDoesNotExist, kernel::ISCSI_TMF_RSP_NO_TASK),
        (TmResponse::LunDoesNotExist, kernel::ISCSI_TMF_RSP_NO_LUN),
        (
            TmResponse::TaskStillAllegiant,
            kernel::ISCSI_TMF_RSP_TASK_ALLEGIANT,
        ),
        (
            TmResponse::ReassignmentNotSupported,
            kernel::ISCSI_TMF_RSP_NO_FAILOVER,
        ),
        (
            TmResponse::FunctionNotSupported,
            kernel::ISCSI_TMF_RSP_NOT_SUPPORTED,
        ),
        (
            TmResponse::AuthorizationFailed,
            kernel::ISCSI_TMF_RSP_AUTH_FAILED,
        ),
        (TmResponse::FunctionRejected, kernel::ISCSI_TMF_RSP_REJECTED),
    ] {
        let answer = TaskMgmtResponse {
            response,
            additional: [0xc1, 0xc2, 0xc3],
            itt: ITT,
            stat_sn: STAT_SN,
            exp_cmd_sn: EXP_CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
        };
        holds(
            "iscsi_tm_rsp",
            |out| answer.emit(out),
            &and_numbers(&[
                ("opcode", kernel::ISCSI_OP_SCSI_TMFUNC_RSP.into()),
                ("flags", FINAL),
                ("response", code.into()),
                // RFC 7144 section 6.4.1 has Additional Response Information
                // in the first 3 of these 8 bytes.
                ("rsvd2", 0xc1c2_c300_0000_0000),
                ("itt", ITT.into()),
            ]),
        );
    }
}

#[test]
fn text_response() {
    let text = TextResponse {
        final_bit: true,
        continue_bit: true,
        lun: LUN,
        itt: ITT,
        ttt: TTT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_len: DATA_LEN,
    };
    holds(
        "iscsi_text_rsp",
        |out| text.emit(out),
        &and_numbers(&[
            ("opcode", kernel::ISCSI_OP_TEXT_RSP.into()),
            ("flags", FINAL | u64::from(kernel::ISCSI_FLAG_TEXT_CONTINUE)),
            ("dlength", DATA_LEN.into()),
            // RFC 7143 section 11.11 has a LUN there.
            ("rsvd4", LUN),
            ("itt", ITT.into()),
            ("ttt", TTT.into()),
        ]),
    );
}

#[test]
fn login_response() {
    let login = LoginResponse {
        transit: true,
        continue_bit: true,
        csg: Stage::LoginOperationalNegotiation,
        nsg: Stage::FullFeaturePhase,
        version_max: 0xd1,
        version_active: 0xd2,
        isid: [0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6],
        tsih: 0xf1f2,
        itt: ITT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        status: LoginStatus::new(0x91, 0x92),
        data_len: DATA_LEN,
    };
    let flags = kernel::ISCSI_FLAG_LOGIN_TRANSIT
        | kernel::ISCSI_FLAG_LOGIN_CONTINUE
        | kernel::ISCSI_FLAG_LOGIN_CURRENT_STAGE1
        | kernel::ISCSI_FLAG_LOGIN_NEXT_STAGE3;
    holds(
        "iscsi_login_rsp",
        |out| login.emit(out),
        &and_numbers(&[
            ("opcode", kernel::ISCSI_OP_LOGIN_RSP.into()),
            ("flags", flags.into()),
            ("max_version", 0xd1),
            ("active_version", 0xd2),
            ("dlength", DATA_LEN.into()),
            ("isid", 0xe1e2_e3e4_e5e6),
            ("tsih", 0xf1f2),
            ("itt", ITT.into()),
            ("status_class", 0x91),
            ("status_detail", 0x92),
        ]),
    );
    let stage = |csg, nsg| {
        let mut header = [0; BHS_LEN];
        let login = LoginResponse {
            csg,
            nsg,
            continue_bit: false,
            ..login
        };
        login.emit(&mut header);
        kernel::login_stages(header[1])
    };
    let (security, operational, full) = (
        kernel::ISCSI_SECURITY_NEGOTIATION_STAGE as u8,
        kernel::ISCSI_OP_PARMS_NEGOTIATION_STAGE as u8,
        kernel::ISCSI_FULL_FEATURE_PHASE as u8,
    );
    let (ours, ours_op, ours_full) = (
        Stage::SecurityNegotiation,
        Stage::LoginOperationalNegotiation,
        Stage::FullFeaturePhase,
    );
    assert_eq!(stage(ours, ours_op), (security, operational));
    assert_eq!(stage(ours_op, ours_full), (operational, full));
    assert_eq!(stage(ours, ours_full), (security, full));
}

#[test]
fn logout_response() {
    for (response, code) in [
        (LogoutResponseCode::Success, kernel::ISCSI_LOGOUT_SUCCESS),
        (
            LogoutResponseCode::CidNotFound,
            kernel::ISCSI_LOGOUT_CID_NOT_FOUND,
        ),
        (
            LogoutResponseCode::RecoveryNotSupported,
            kernel::ISCSI_LOGOUT_RECOVERY_UNSUPPORTED,
        ),
        (
            LogoutResponseCode::CleanupFailed,
            kernel::ISCSI_LOGOUT_CLEANUP_FAILED,
        ),
    ] {
        let logout = LogoutResponse {
            response,
            itt: ITT,
            stat_sn: STAT_SN,
            exp_cmd_sn: EXP_CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
            time2wait: 0xd1d2,
            time2retain: 0xe1e2,
        };
        holds(
            "iscsi_logout_rsp",
            |out| logout.emit(out),
            &and_numbers(&[
                ("opcode", kernel::ISCSI_OP_LOGOUT_RSP.into()),
                ("flags", FINAL),
                ("response", code.into()),
                ("itt", ITT.into()),
                ("t2wait", 0xd1d2),
                ("t2retain", 0xe1e2),
            ]),
        );
    }
}

#[test]
fn reject() {
    let reject = Reject {
        reason: RejectReason::ProtocolError,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_sn: 0x9192_9394,
        data_len: DATA_LEN,
    };
    holds(
        "iscsi_reject",
        |out| reject.emit(out),
        &and_numbers(&[
            ("opcode", kernel::ISCSI_OP_REJECT.into()),
            ("flags", FINAL),
            ("reason", kernel::ISCSI_REASON_PROTOCOL_ERROR.into()),
            ("dlength", DATA_LEN.into()),
            ("ffffffff", NO_TAG),
            ("datasn", 0x9192_9394),
        ]),
    );
}

#[test]
fn async_message() {
    let emit = |event| {
        let message = AsyncMessage {
            event,
            stat_sn: STAT_SN,
            exp_cmd_sn: EXP_CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
            data_len: DATA_LEN,
        };
        move |out: &mut Header| message.emit(out)
    };
    // The kernel's header calls all 8 bytes from 16 on reserved; RFC 7143
    // section 11.9 has 0xffffffff where the task tag would be.
    let common = |code: u32, values: &[(&'static str, u64)]| {
        let mut all = and_numbers(values);
        all.extend([
            ("opcode", kernel::ISCSI_OP_ASYNC_EVENT.into()),
            ("flags", FINAL),
            ("dlength", DATA_LEN.into()),
            ("rsvd4", NO_TAG << 32),
            ("async_event", code.into()),
        ]);
        all
    };
    holds(
        "iscsi_async",
        emit(AsyncEvent::Scsi { lun: LUN }),
        &common(kernel::ISCSI_ASYNC_MSG_SCSI_EVENT, &[("lun", LUN)]),
    );
    holds(
        "iscsi_async",
        emit(AsyncEvent::LogoutRequest { deadline: 0xd1d2 }),
        &common(
            kernel::ISCSI_ASYNC_MSG_REQUEST_LOGOUT,
            &[("param3", 0xd1d2)],
        ),
    );
    holds(
        "iscsi_async",
        emit(AsyncEvent::ConnectionDrop {
            cid: 0xd1d2,
            time2wait: 0xe1e2,
            time2retain: 0xf1f2,
        }),
        &common(
            kernel::ISCSI_ASYNC_MSG_DROPPING_CONNECTION,
            &[("param1", 0xd1d2), ("param2", 0xe1e2), ("param3", 0xf1f2)],
        ),
    );
    holds(
        "iscsi_async",
        emit(AsyncEvent::SessionDrop {
            time2wait: 0xe1e2,
            time2retain: 0xf1f2,
        }),
        &common(
            kernel::ISCSI_ASYNC_MSG_DROPPING_ALL_CONNECTIONS,
            &[("param2", 0xe1e2), ("param3", 0xf1f2)],
        ),
    );
    holds(
        "iscsi_async",
        emit(AsyncEvent::NegotiationRequest { deadline: 0xd1d2 }),
        &common(
            kernel::ISCSI_ASYNC_MSG_PARAM_NEGOTIATION,
            &[("param3", 0xd1d2)],
        ),
    );
    holds(
        "iscsi_async",
        emit(AsyncEvent::VendorSpecific { vcode: 0x42 }),
        &common(
            kernel::ISCSI_ASYNC_MSG_VENDOR_SPECIFIC,
            &[("async_vcode", 0x42)],
        ),
    );
}

/// Writes additional header segments through the C structs and reads them.
#[test]
fn additional_header_segments() {
    let put = |segment: &mut [u8], pdu: &str, name: &str, value: &[u8]| {
        let bytes = bytes_of(pdu, name);
        segment[bytes.start..][..value.len()].copy_from_slice(value);
    };
    let pdu = "iscsi_rlength_ahdr";
    let mut segment = [0; size_of::<kernel::iscsi_rlength_ahdr>()];
    put(&mut segment, pdu, "ahslength", &5u16.to_be_bytes());
    put(
        &mut segment,
        pdu,
        "ahstype",
        &[kernel::ISCSI_AHSTYPE_RLENGTH as u8],
    );
    put(
        &mut segment,
        pdu,
        "read_length",
        &0x0102_0304u32.to_be_bytes(),
    );
    let read = Ahs::parse(&segment).unwrap();
    assert_eq!(read.bidi_read_length, Some(0x0102_0304));

    // The longest that the kernel knows: a CDB of 260 bytes.
    let pdu = "iscsi_ecdb_ahdr";
    let mut segment = [0; size_of::<kernel::iscsi_ecdb_ahdr>()];
    let spill: Vec<u8> = (0..bytes_of(pdu, "ecdb").len()).map(|n| n as u8).collect();
    let length = (16 + spill.len() - 15) as u16;
    put(&mut segment, pdu, "ahslength", &length.to_be_bytes());
    put(
        &mut segment,
        pdu,
        "ahstype",
        &[kernel::ISCSI_AHSTYPE_CDB as u8],
    );
    put(&mut segment, pdu, "ecdb", &spill);
    assert_eq!(Ahs::parse(&segment).unwrap().cdb_spill, spill);
}
