// SPDX-License-Identifier: GPL-2.0

//! Every constant of the kernel's header beside ours.

#![cfg(kernel_header)]

use std::collections::BTreeMap;

use ferrite_abi_tests as kernel;
use ferrite_proto::name;
use ferrite_proto::wire::bhs;
use ferrite_proto::wire::*;

/// What we have for each constant.
fn ours() -> BTreeMap<&'static str, i64> {
    let mut ours = BTreeMap::new();
    let mut put = |name: &'static str, value: i64| {
        assert_eq!(ours.insert(name, value), None, "{name} twice");
    };
    put("ISCSI_DRAFT20_VERSION", login::VERSION.into());
    put("ISCSI_HDR_LEN", BHS_LEN as i64);
    put("ISCSI_CRC_LEN", DIGEST_LEN.into());
    put("ISCSI_PAD_LEN", pad4(1).into());
    put("ISCSI_RESERVED_TAG", RESERVED_TAG.into());
    // With the NUL that C needs.
    put("ISCSI_NAME_LEN", name::MAX_LEN as i64 + 1);
    put("ISCSI_MAX_MAX_RECV_SEG_LEN", MAX_DATA_SEGMENT_LENGTH.into());

    put("ISCSI_OP_IMMEDIATE", bhs::IMMEDIATE.into());
    put("ISCSI_OPCODE_MASK", bhs::OPCODE_MASK.into());
    put("ISCSI_OP_NOOP_OUT", bhs::NOP_OUT.into());
    put("ISCSI_OP_SCSI_CMD", bhs::SCSI_COMMAND.into());
    put("ISCSI_OP_SCSI_TMFUNC", bhs::TASK_MGMT_REQUEST.into());
    put("ISCSI_OP_LOGIN", bhs::LOGIN_REQUEST.into());
    put("ISCSI_OP_TEXT", bhs::TEXT_REQUEST.into());
    put("ISCSI_OP_SCSI_DATA_OUT", bhs::SCSI_DATA_OUT.into());
    put("ISCSI_OP_LOGOUT", bhs::LOGOUT_REQUEST.into());
    put("ISCSI_OP_SNACK", bhs::SNACK_REQUEST.into());
    put("ISCSI_OP_NOOP_IN", bhs::NOP_IN.into());
    put("ISCSI_OP_SCSI_CMD_RSP", bhs::SCSI_RESPONSE.into());
    put("ISCSI_OP_SCSI_TMFUNC_RSP", bhs::TASK_MGMT_RESPONSE.into());
    put("ISCSI_OP_LOGIN_RSP", bhs::LOGIN_RESPONSE.into());
    put("ISCSI_OP_TEXT_RSP", bhs::TEXT_RESPONSE.into());
    put("ISCSI_OP_SCSI_DATA_IN", bhs::SCSI_DATA_IN.into());
    put("ISCSI_OP_LOGOUT_RSP", bhs::LOGOUT_RESPONSE.into());
    put("ISCSI_OP_R2T", bhs::R2T.into());
    put("ISCSI_OP_ASYNC_EVENT", bhs::ASYNC_MESSAGE.into());
    put("ISCSI_OP_REJECT", bhs::REJECT.into());

    put("ISCSI_AHSTYPE_CDB", ahs::EXTENDED_CDB.into());
    put("ISCSI_AHSTYPE_RLENGTH", ahs::BIDI_READ_LENGTH.into());

    put("ISCSI_FLAG_CMD_FINAL", bhs::FINAL.into());
    put("ISCSI_FLAG_CMD_READ", scsi_command::READ.into());
    put("ISCSI_FLAG_CMD_WRITE", scsi_command::WRITE.into());
    put("ISCSI_ATTR_UNTAGGED", TaskAttr::Untagged as i64);
    put("ISCSI_ATTR_SIMPLE", TaskAttr::Simple as i64);
    put("ISCSI_ATTR_ORDERED", TaskAttr::Ordered as i64);
    put("ISCSI_ATTR_HEAD_OF_QUEUE", TaskAttr::HeadOfQueue as i64);
    put("ISCSI_ATTR_ACA", TaskAttr::Aca as i64);
    put("ISCSI_FLAG_CMD_OVERFLOW", scsi_response::OVERFLOW.into());
    put("ISCSI_FLAG_CMD_UNDERFLOW", scsi_response::UNDERFLOW.into());
    put("ISCSI_FLAG_DATA_OVERFLOW", scsi_response::OVERFLOW.into());
    put("ISCSI_FLAG_DATA_UNDERFLOW", scsi_response::UNDERFLOW.into());
    put("ISCSI_FLAG_DATA_ACK", data_in::ACK.into());
    put("ISCSI_FLAG_DATA_STATUS", data_in::STATUS.into());
    put("ISCSI_FLAG_TEXT_CONTINUE", bhs::CONTINUE.into());
    put("ISCSI_FLAG_LOGIN_TRANSIT", bhs::FINAL.into());
    put("ISCSI_FLAG_LOGIN_CONTINUE", bhs::CONTINUE.into());
    put(
        "ISCSI_STATUS_CMD_COMPLETED",
        Response::CommandCompleted as i64,
    );
    put(
        "ISCSI_STATUS_TARGET_FAILURE",
        Response::TargetFailure as i64,
    );

    let event = |event: AsyncEvent| i64::from(event.code());
    put(
        "ISCSI_ASYNC_MSG_SCSI_EVENT",
        event(AsyncEvent::Scsi { lun: 0 }),
    );
    put(
        "ISCSI_ASYNC_MSG_REQUEST_LOGOUT",
        event(AsyncEvent::LogoutRequest { deadline: 0 }),
    );
    put(
        "ISCSI_ASYNC_MSG_DROPPING_CONNECTION",
        event(AsyncEvent::ConnectionDrop {
            cid: 0,
            time2wait: 0,
            time2retain: 0,
        }),
    );
    put(
        "ISCSI_ASYNC_MSG_DROPPING_ALL_CONNECTIONS",
        event(AsyncEvent::SessionDrop {
            time2wait: 0,
            time2retain: 0,
        }),
    );
    put(
        "ISCSI_ASYNC_MSG_PARAM_NEGOTIATION",
        event(AsyncEvent::NegotiationRequest { deadline: 0 }),
    );
    put(
        "ISCSI_ASYNC_MSG_VENDOR_SPECIFIC",
        event(AsyncEvent::VendorSpecific { vcode: 0 }),
    );

    put(
        "ISCSI_TMF_RSP_COMPLETE",
        TmResponse::FunctionComplete as i64,
    );
    put("ISCSI_TMF_RSP_NO_TASK", TmResponse::TaskDoesNotExist as i64);
    put("ISCSI_TMF_RSP_NO_LUN", TmResponse::LunDoesNotExist as i64);
    put(
        "ISCSI_TMF_RSP_TASK_ALLEGIANT",
        TmResponse::TaskStillAllegiant as i64,
    );
    put(
        "ISCSI_TMF_RSP_NO_FAILOVER",
        TmResponse::ReassignmentNotSupported as i64,
    );
    put(
        "ISCSI_TMF_RSP_NOT_SUPPORTED",
        TmResponse::FunctionNotSupported as i64,
    );
    put(
        "ISCSI_TMF_RSP_AUTH_FAILED",
        TmResponse::AuthorizationFailed as i64,
    );
    put(
        "ISCSI_TMF_RSP_REJECTED",
        TmResponse::FunctionRejected as i64,
    );

    put(
        "ISCSI_SECURITY_NEGOTIATION_STAGE",
        Stage::SecurityNegotiation as i64,
    );
    put(
        "ISCSI_OP_PARMS_NEGOTIATION_STAGE",
        Stage::LoginOperationalNegotiation as i64,
    );
    put("ISCSI_FULL_FEATURE_PHASE", Stage::FullFeaturePhase as i64);
    put(
        "ISCSI_STATUS_CLS_SUCCESS",
        LoginStatus::SUCCESS.class.into(),
    );
    put(
        "ISCSI_STATUS_CLS_REDIRECT",
        LoginStatus::TARGET_MOVED_TEMPORARILY.class.into(),
    );
    put(
        "ISCSI_STATUS_CLS_INITIATOR_ERR",
        LoginStatus::INITIATOR_ERROR.class.into(),
    );
    put(
        "ISCSI_STATUS_CLS_TARGET_ERR",
        LoginStatus::TARGET_ERROR.class.into(),
    );
    for (name, status) in [
        ("ISCSI_LOGIN_STATUS_ACCEPT", LoginStatus::SUCCESS),
        (
            "ISCSI_LOGIN_STATUS_TGT_MOVED_TEMP",
            LoginStatus::TARGET_MOVED_TEMPORARILY,
        ),
        (
            "ISCSI_LOGIN_STATUS_TGT_MOVED_PERM",
            LoginStatus::TARGET_MOVED_PERMANENTLY,
        ),
        ("ISCSI_LOGIN_STATUS_INIT_ERR", LoginStatus::INITIATOR_ERROR),
        (
            "ISCSI_LOGIN_STATUS_AUTH_FAILED",
            LoginStatus::AUTHENTICATION_FAILURE,
        ),
        (
            "ISCSI_LOGIN_STATUS_TGT_FORBIDDEN",
            LoginStatus::AUTHORIZATION_FAILURE,
        ),
        ("ISCSI_LOGIN_STATUS_TGT_NOT_FOUND", LoginStatus::NOT_FOUND),
        (
            "ISCSI_LOGIN_STATUS_TGT_REMOVED",
            LoginStatus::TARGET_REMOVED,
        ),
        (
            "ISCSI_LOGIN_STATUS_NO_VERSION",
            LoginStatus::UNSUPPORTED_VERSION,
        ),
        (
            "ISCSI_LOGIN_STATUS_ISID_ERROR",
            LoginStatus::TOO_MANY_CONNECTIONS,
        ),
        (
            "ISCSI_LOGIN_STATUS_MISSING_FIELDS",
            LoginStatus::MISSING_PARAMETER,
        ),
        (
            "ISCSI_LOGIN_STATUS_CONN_ADD_FAILED",
            LoginStatus::CANT_INCLUDE_IN_SESSION,
        ),
        (
            "ISCSI_LOGIN_STATUS_NO_SESSION_TYPE",
            LoginStatus::SESSION_TYPE_NOT_SUPPORTED,
        ),
        (
            "ISCSI_LOGIN_STATUS_NO_SESSION",
            LoginStatus::SESSION_DOES_NOT_EXIST,
        ),
        (
            "ISCSI_LOGIN_STATUS_INVALID_REQUEST",
            LoginStatus::INVALID_DURING_LOGIN,
        ),
        ("ISCSI_LOGIN_STATUS_TARGET_ERROR", LoginStatus::TARGET_ERROR),
        (
            "ISCSI_LOGIN_STATUS_SVC_UNAVAILABLE",
            LoginStatus::SERVICE_UNAVAILABLE,
        ),
        (
            "ISCSI_LOGIN_STATUS_NO_RESOURCES",
            LoginStatus::OUT_OF_RESOURCES,
        ),
    ] {
        put(name, status.detail.into());
    }

    put("ISCSI_LOGOUT_SUCCESS", LogoutResponseCode::Success as i64);
    put(
        "ISCSI_LOGOUT_CID_NOT_FOUND",
        LogoutResponseCode::CidNotFound as i64,
    );
    put(
        "ISCSI_LOGOUT_RECOVERY_UNSUPPORTED",
        LogoutResponseCode::RecoveryNotSupported as i64,
    );
    put(
        "ISCSI_LOGOUT_CLEANUP_FAILED",
        LogoutResponseCode::CleanupFailed as i64,
    );

    put(
        "ISCSI_REASON_DATA_DIGEST_ERROR",
        RejectReason::DataDigestError as i64,
    );
    put(
        "ISCSI_REASON_DATA_SNACK_REJECT",
        RejectReason::SnackReject as i64,
    );
    put(
        "ISCSI_REASON_PROTOCOL_ERROR",
        RejectReason::ProtocolError as i64,
    );
    put(
        "ISCSI_REASON_CMD_NOT_SUPPORTED",
        RejectReason::CommandNotSupported as i64,
    );
    put(
        "ISCSI_REASON_IMM_CMD_REJECT",
        RejectReason::ImmediateCommandReject as i64,
    );
    put(
        "ISCSI_REASON_TASK_IN_PROGRESS",
        RejectReason::TaskInProgress as i64,
    );
    put(
        "ISCSI_REASON_INVALID_SNACK",
        RejectReason::InvalidDataAck as i64,
    );
    put(
        "ISCSI_REASON_BOOKMARK_INVALID",
        RejectReason::InvalidPduField as i64,
    );
    put(
        "ISCSI_REASON_BOOKMARK_NO_RESOURCES",
        RejectReason::LongOperationReject as i64,
    );

    put("SAM_STAT_GOOD", ScsiStatus::GOOD.0.into());
    put(
        "SAM_STAT_CHECK_CONDITION",
        ScsiStatus::CHECK_CONDITION.0.into(),
    );
    put("SAM_STAT_CONDITION_MET", ScsiStatus::CONDITION_MET.0.into());
    put("SAM_STAT_BUSY", ScsiStatus::BUSY.0.into());
    put(
        "SAM_STAT_RESERVATION_CONFLICT",
        ScsiStatus::RESERVATION_CONFLICT.0.into(),
    );
    put("SAM_STAT_TASK_SET_FULL", ScsiStatus::TASK_SET_FULL.0.into());
    put("SAM_STAT_ACA_ACTIVE", ScsiStatus::ACA_ACTIVE.0.into());
    put("SAM_STAT_TASK_ABORTED", ScsiStatus::TASK_ABORTED.0.into());
    ours
}

/// Constants that have no like here, and why.
const NOT_OURS: &[&str] = &[
    // Compared in `layout.rs`, where what they select is tested.
    "ISCSI_CDB_SIZE",
    "ISCSI_FLAG_CMD_ATTR_MASK",
    "ISCSI_FLAG_TM_FUNC_MASK",
    "ISCSI_FLAG_LOGIN_CURRENT_STAGE_MASK",
    "ISCSI_FLAG_LOGIN_CURRENT_STAGE1",
    "ISCSI_FLAG_LOGIN_CURRENT_STAGE2",
    "ISCSI_FLAG_LOGIN_CURRENT_STAGE3",
    "ISCSI_FLAG_LOGIN_NEXT_STAGE_MASK",
    "ISCSI_FLAG_LOGIN_NEXT_STAGE1",
    "ISCSI_FLAG_LOGIN_NEXT_STAGE2",
    "ISCSI_FLAG_LOGIN_NEXT_STAGE3",
    "ISCSI_FLAG_LOGOUT_REASON_MASK",
    "ISCSI_FLAG_SNACK_TYPE_MASK",
    "ISCSI_FLAG_SNACK_TYPE_DATA",
    "ISCSI_FLAG_SNACK_TYPE_R2T",
    "ISCSI_FLAG_SNACK_TYPE_STATUS",
    "ISCSI_FLAG_SNACK_TYPE_DATA_ACK",
    "ISCSI_FLAG_SNACK_TYPE_RDATA",
    "ISCSI_LOGOUT_REASON_CLOSE_SESSION",
    "ISCSI_LOGOUT_REASON_CLOSE_CONNECTION",
    "ISCSI_LOGOUT_REASON_RECOVERY",
    "ISCSI_TM_FUNC_ABORT_TASK",
    "ISCSI_TM_FUNC_ABORT_TASK_SET",
    "ISCSI_TM_FUNC_CLEAR_ACA",
    "ISCSI_TM_FUNC_CLEAR_TASK_SET",
    "ISCSI_TM_FUNC_LOGICAL_UNIT_RESET",
    "ISCSI_TM_FUNC_TARGET_WARM_RESET",
    "ISCSI_TM_FUNC_TARGET_COLD_RESET",
    "ISCSI_TM_FUNC_TASK_REASSIGN",
    // Bidirectional commands end before they have a residual.
    "ISCSI_FLAG_CMD_BIDI_OVERFLOW",
    "ISCSI_FLAG_CMD_BIDI_UNDERFLOW",
    // SCSI status codes that SAM has made obsolete.
    "SAM_STAT_INTERMEDIATE",
    "SAM_STAT_INTERMEDIATE_CONDITION_MET",
    "SAM_STAT_COMMAND_TERMINATED",
    // Not in RFC 7143: from drafts, or reserved there.
    "ISCSI_OP_RETRY",
    "ISCSI_STATUS_SUBSYS_FAILURE",
    "ISCSI_LOGOUT_REASON_AEN_REQUEST",
    "ISCSI_REASON_CMD_BEFORE_LOGIN",
    // RFC 7143 section 11.17.1: deprecated, "MUST NOT be used".
    "ISCSI_REASON_NEGOTIATION_RESET",
    // Vendors' own; refused like every opcode that is not known.
    "ISCSI_OP_VENDOR1_CMD",
    "ISCSI_OP_VENDOR2_CMD",
    "ISCSI_OP_VENDOR3_CMD",
    "ISCSI_OP_VENDOR4_CMD",
    // What an initiator's library needs for itself.
    "ISCSI_INITIAL_LOGIN_STAGE",
    "ISCSI_LISTEN_PORT",
    // Limits and defaults of text keys: `proto::login` has its own table of
    // them from RFC 7143 section 13.
    "ISCSI_DEF_FIRST_BURST_LEN",
    "ISCSI_DEF_MAX_BURST_LEN",
    "ISCSI_DEF_MAX_RECV_SEG_LEN",
    "ISCSI_DEF_TIME2WAIT",
    "ISCSI_MAX_FIRST_BURST_LEN",
    "ISCSI_MAX_MAX_BURST_LEN",
    "ISCSI_MIN_FIRST_BURST_LEN",
    "ISCSI_MIN_MAX_BURST_LEN",
    "ISCSI_MIN_MAX_RECV_SEG_LEN",
    "KEY_MAXLEN",
    "MAX_KEY_VALUE_PAIRS",
    "TARGET_NAME_MAXLEN",
    "VALUE_MAXLEN",
];

/// No constant of the header is forgotten, and each that we have is equal.
#[test]
fn every_constant_is_the_kernels() {
    let mut ours = ours();
    let mut not_ours: Vec<_> = NOT_OURS.to_vec();
    for &(name, value) in kernel::CONSTANTS {
        if let Some(at) = not_ours.iter().position(|&other| other == name) {
            not_ours.remove(at);
            assert!(!ours.contains_key(name), "{name} is compared after all");
            continue;
        }
        let Some(ours) = ours.remove(name) else {
            panic!("{name} = {value:#x} is new: compare it, or say why not");
        };
        assert_eq!(ours, value, "{name}");
    }
    assert!(ours.is_empty(), "not in the header: {ours:?}");
    assert!(not_ours.is_empty(), "not in the header: {not_ours:?}");
    assert_eq!(kernel::reserved_itt(), RESERVED_TAG);
}
