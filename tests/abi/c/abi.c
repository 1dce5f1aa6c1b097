// SPDX-License-Identifier: GPL-2.0

#include "abi.h"

#define FIELD(pdu, name) \
	{ #pdu, #name, __builtin_offsetof(struct pdu, name), sizeof(((struct pdu *)0)->name) }

const struct abi_field abi_fields[] = {
	FIELD(iscsi_hdr, opcode),
	FIELD(iscsi_hdr, flags),
	FIELD(iscsi_hdr, rsvd2),
	FIELD(iscsi_hdr, hlength),
	FIELD(iscsi_hdr, dlength),
	FIELD(iscsi_hdr, lun),
	FIELD(iscsi_hdr, itt),
	FIELD(iscsi_hdr, ttt),
	FIELD(iscsi_hdr, statsn),
	FIELD(iscsi_hdr, exp_statsn),
	FIELD(iscsi_hdr, max_statsn),
	FIELD(iscsi_hdr, other),

	FIELD(iscsi_scsi_req, opcode),
	FIELD(iscsi_scsi_req, flags),
	FIELD(iscsi_scsi_req, rsvd2),
	FIELD(iscsi_scsi_req, hlength),
	FIELD(iscsi_scsi_req, dlength),
	FIELD(iscsi_scsi_req, lun),
	FIELD(iscsi_scsi_req, itt),
	FIELD(iscsi_scsi_req, data_length),
	FIELD(iscsi_scsi_req, cmdsn),
	FIELD(iscsi_scsi_req, exp_statsn),
	FIELD(iscsi_scsi_req, cdb),

	FIELD(iscsi_scsi_rsp, opcode),
	FIELD(iscsi_scsi_rsp, flags),
	FIELD(iscsi_scsi_rsp, response),
	FIELD(iscsi_scsi_rsp, cmd_status),
	FIELD(iscsi_scsi_rsp, hlength),
	FIELD(iscsi_scsi_rsp, dlength),
	FIELD(iscsi_scsi_rsp, rsvd),
	FIELD(iscsi_scsi_rsp, itt),
	FIELD(iscsi_scsi_rsp, rsvd1),
	FIELD(iscsi_scsi_rsp, statsn),
	FIELD(iscsi_scsi_rsp, exp_cmdsn),
	FIELD(iscsi_scsi_rsp, max_cmdsn),
	FIELD(iscsi_scsi_rsp, exp_datasn),
	FIELD(iscsi_scsi_rsp, bi_residual_count),
	FIELD(iscsi_scsi_rsp, residual_count),

	FIELD(iscsi_async, opcode),
	FIELD(iscsi_async, flags),
	FIELD(iscsi_async, rsvd2),
	FIELD(iscsi_async, rsvd3),
	FIELD(iscsi_async, dlength),
	FIELD(iscsi_async, lun),
	FIELD(iscsi_async, rsvd4),
	FIELD(iscsi_async, statsn),
	FIELD(iscsi_async, exp_cmdsn),
	FIELD(iscsi_async, max_cmdsn),
	FIELD(iscsi_async, async_event),
	FIELD(iscsi_async, async_vcode),
	FIELD(iscsi_async, param1),
	FIELD(iscsi_async, param2),
	FIELD(iscsi_async, param3),
	FIELD(iscsi_async, rsvd5),

	FIELD(iscsi_nopout, opcode),
	FIELD(iscsi_nopout, flags),
	FIELD(iscsi_nopout, rsvd2),
	FIELD(iscsi_nopout, rsvd3),
	FIELD(iscsi_nopout, dlength),
	FIELD(iscsi_nopout, lun),
	FIELD(iscsi_nopout, itt),
	FIELD(iscsi_nopout, ttt),
	FIELD(iscsi_nopout, cmdsn),
	FIELD(iscsi_nopout, exp_statsn),
	FIELD(iscsi_nopout, rsvd4),

	FIELD(iscsi_nopin, opcode),
	FIELD(iscsi_nopin, flags),
	FIELD(iscsi_nopin, rsvd2),
	FIELD(iscsi_nopin, rsvd3),
	FIELD(iscsi_nopin, dlength),
	FIELD(iscsi_nopin, lun),
	FIELD(iscsi_nopin, itt),
	FIELD(iscsi_nopin, ttt),
	FIELD(iscsi_nopin, statsn),
	FIELD(iscsi_nopin, exp_cmdsn),
	FIELD(iscsi_nopin, max_cmdsn),
	FIELD(iscsi_nopin, rsvd4),

	FIELD(iscsi_tm, opcode),
	FIELD(iscsi_tm, flags),
	FIELD(iscsi_tm, rsvd1),
	FIELD(iscsi_tm, hlength),
	FIELD(iscsi_tm, dlength),
	FIELD(iscsi_tm, lun),
	FIELD(iscsi_tm, itt),
	FIELD(iscsi_tm, rtt),
	FIELD(iscsi_tm, cmdsn),
	FIELD(iscsi_tm, exp_statsn),
	FIELD(iscsi_tm, refcmdsn),
	FIELD(iscsi_tm, exp_datasn),
	FIELD(iscsi_tm, rsvd2),

	FIELD(iscsi_tm_rsp, opcode),
	FIELD(iscsi_tm_rsp, flags),
	FIELD(iscsi_tm_rsp, response),
	FIELD(iscsi_tm_rsp, qualifier),
	FIELD(iscsi_tm_rsp, hlength),
	FIELD(iscsi_tm_rsp, dlength),
	FIELD(iscsi_tm_rsp, rsvd2),
	FIELD(iscsi_tm_rsp, itt),
	FIELD(iscsi_tm_rsp, rtt),
	FIELD(iscsi_tm_rsp, statsn),
	FIELD(iscsi_tm_rsp, exp_cmdsn),
	FIELD(iscsi_tm_rsp, max_cmdsn),
	FIELD(iscsi_tm_rsp, rsvd3),

	FIELD(iscsi_r2t_rsp, opcode),
	FIELD(iscsi_r2t_rsp, flags),
	FIELD(iscsi_r2t_rsp, rsvd2),
	FIELD(iscsi_r2t_rsp, hlength),
	FIELD(iscsi_r2t_rsp, dlength),
	FIELD(iscsi_r2t_rsp, lun),
	FIELD(iscsi_r2t_rsp, itt),
	FIELD(iscsi_r2t_rsp, ttt),
	FIELD(iscsi_r2t_rsp, statsn),
	FIELD(iscsi_r2t_rsp, exp_cmdsn),
	FIELD(iscsi_r2t_rsp, max_cmdsn),
	FIELD(iscsi_r2t_rsp, r2tsn),
	FIELD(iscsi_r2t_rsp, data_offset),
	FIELD(iscsi_r2t_rsp, data_length),

	FIELD(iscsi_data, opcode),
	FIELD(iscsi_data, flags),
	FIELD(iscsi_data, rsvd2),
	FIELD(iscsi_data, rsvd3),
	FIELD(iscsi_data, dlength),
	FIELD(iscsi_data, lun),
	FIELD(iscsi_data, itt),
	FIELD(iscsi_data, ttt),
	FIELD(iscsi_data, rsvd4),
	FIELD(iscsi_data, exp_statsn),
	FIELD(iscsi_data, rsvd5),
	FIELD(iscsi_data, datasn),
	FIELD(iscsi_data, offset),
	FIELD(iscsi_data, rsvd6),

	FIELD(iscsi_data_rsp, opcode),
	FIELD(iscsi_data_rsp, flags),
	FIELD(iscsi_data_rsp, rsvd2),
	FIELD(iscsi_data_rsp, cmd_status),
	FIELD(iscsi_data_rsp, hlength),
	FIELD(iscsi_data_rsp, dlength),
	FIELD(iscsi_data_rsp, lun),
	FIELD(iscsi_data_rsp, itt),
	FIELD(iscsi_data_rsp, ttt),
	FIELD(iscsi_data_rsp, statsn),
	FIELD(iscsi_data_rsp, exp_cmdsn),
	FIELD(iscsi_data_rsp, max_cmdsn),
	FIELD(iscsi_data_rsp, datasn),
	FIELD(iscsi_data_rsp, offset),
	FIELD(iscsi_data_rsp, residual_count),

	FIELD(iscsi_text, opcode),
	FIELD(iscsi_text, flags),
	FIELD(iscsi_text, rsvd2),
	FIELD(iscsi_text, hlength),
	FIELD(iscsi_text, dlength),
	FIELD(iscsi_text, rsvd4),
	FIELD(iscsi_text, itt),
	FIELD(iscsi_text, ttt),
	FIELD(iscsi_text, cmdsn),
	FIELD(iscsi_text, exp_statsn),
	FIELD(iscsi_text, rsvd5),

	FIELD(iscsi_text_rsp, opcode),
	FIELD(iscsi_text_rsp, flags),
	FIELD(iscsi_text_rsp, rsvd2),
	FIELD(iscsi_text_rsp, hlength),
	FIELD(iscsi_text_rsp, dlength),
	FIELD(iscsi_text_rsp, rsvd4),
	FIELD(iscsi_text_rsp, itt),
	FIELD(iscsi_text_rsp, ttt),
	FIELD(iscsi_text_rsp, statsn),
	FIELD(iscsi_text_rsp, exp_cmdsn),
	FIELD(iscsi_text_rsp, max_cmdsn),
	FIELD(iscsi_text_rsp, rsvd5),

	FIELD(iscsi_login_req, opcode),
	FIELD(iscsi_login_req, flags),
	FIELD(iscsi_login_req, max_version),
	FIELD(iscsi_login_req, min_version),
	FIELD(iscsi_login_req, hlength),
	FIELD(iscsi_login_req, dlength),
	FIELD(iscsi_login_req, isid),
	FIELD(iscsi_login_req, tsih),
	FIELD(iscsi_login_req, itt),
	FIELD(iscsi_login_req, cid),
	FIELD(iscsi_login_req, rsvd3),
	FIELD(iscsi_login_req, cmdsn),
	FIELD(iscsi_login_req, exp_statsn),
	FIELD(iscsi_login_req, rsvd5),

	FIELD(iscsi_login_rsp, opcode),
	FIELD(iscsi_login_rsp, flags),
	FIELD(iscsi_login_rsp, max_version),
	FIELD(iscsi_login_rsp, active_version),
	FIELD(iscsi_login_rsp, hlength),
	FIELD(iscsi_login_rsp, dlength),
	FIELD(iscsi_login_rsp, isid),
	FIELD(iscsi_login_rsp, tsih),
	FIELD(iscsi_login_rsp, itt),
	FIELD(iscsi_login_rsp, rsvd3),
	FIELD(iscsi_login_rsp, statsn),
	FIELD(iscsi_login_rsp, exp_cmdsn),
	FIELD(iscsi_login_rsp, max_cmdsn),
	FIELD(iscsi_login_rsp, status_class),
	FIELD(iscsi_login_rsp, status_detail),
	FIELD(iscsi_login_rsp, rsvd4),

	FIELD(iscsi_logout, opcode),
	FIELD(iscsi_logout, flags),
	FIELD(iscsi_logout, rsvd1),
	FIELD(iscsi_logout, hlength),
	FIELD(iscsi_logout, dlength),
	FIELD(iscsi_logout, rsvd2),
	FIELD(iscsi_logout, itt),
	FIELD(iscsi_logout, cid),
	FIELD(iscsi_logout, rsvd3),
	FIELD(iscsi_logout, cmdsn),
	FIELD(iscsi_logout, exp_statsn),
	FIELD(iscsi_logout, rsvd4),

	FIELD(iscsi_logout_rsp, opcode),
	FIELD(iscsi_logout_rsp, flags),
	FIELD(iscsi_logout_rsp, response),
	FIELD(iscsi_logout_rsp, rsvd2),
	FIELD(iscsi_logout_rsp, hlength),
	FIELD(iscsi_logout_rsp, dlength),
	FIELD(iscsi_logout_rsp, rsvd3),
	FIELD(iscsi_logout_rsp, itt),
	FIELD(iscsi_logout_rsp, rsvd4),
	FIELD(iscsi_logout_rsp, statsn),
	FIELD(iscsi_logout_rsp, exp_cmdsn),
	FIELD(iscsi_logout_rsp, max_cmdsn),
	FIELD(iscsi_logout_rsp, rsvd5),
	FIELD(iscsi_logout_rsp, t2wait),
	FIELD(iscsi_logout_rsp, t2retain),
	FIELD(iscsi_logout_rsp, rsvd6),

	FIELD(iscsi_snack, opcode),
	FIELD(iscsi_snack, flags),
	FIELD(iscsi_snack, rsvd2),
	FIELD(iscsi_snack, hlength),
	FIELD(iscsi_snack, dlength),
	FIELD(iscsi_snack, lun),
	FIELD(iscsi_snack, itt),
	FIELD(iscsi_snack, ttt),
	FIELD(iscsi_snack, rsvd3),
	FIELD(iscsi_snack, exp_statsn),
	FIELD(iscsi_snack, rsvd4),
	FIELD(iscsi_snack, begrun),
	FIELD(iscsi_snack, runlength),

	FIELD(iscsi_reject, opcode),
	FIELD(iscsi_reject, flags),
	FIELD(iscsi_reject, reason),
	FIELD(iscsi_reject, rsvd2),
	FIELD(iscsi_reject, hlength),
	FIELD(iscsi_reject, dlength),
	FIELD(iscsi_reject, rsvd3),
	FIELD(iscsi_reject, ffffffff),
	FIELD(iscsi_reject, rsvd4),
	FIELD(iscsi_reject, statsn),
	FIELD(iscsi_reject, exp_cmdsn),
	FIELD(iscsi_reject, max_cmdsn),
	FIELD(iscsi_reject, datasn),
	FIELD(iscsi_reject, rsvd5),

	FIELD(iscsi_ecdb_ahdr, ahslength),
	FIELD(iscsi_ecdb_ahdr, ahstype),
	FIELD(iscsi_ecdb_ahdr, reserved),
	FIELD(iscsi_ecdb_ahdr, ecdb),

	FIELD(iscsi_rlength_ahdr, ahslength),
	FIELD(iscsi_rlength_ahdr, ahstype),
	FIELD(iscsi_rlength_ahdr, reserved),
	FIELD(iscsi_rlength_ahdr, read_length),

	{ 0, 0, 0, 0 },
};

int abi_sna_lt(u32 a, u32 b)
{
	return iscsi_sna_lt(a, b);
}

int abi_sna_lte(u32 a, u32 b)
{
	return iscsi_sna_lte(a, b);
}

int abi_sna_gt(u32 a, u32 b)
{
	return iscsi_sna_gt(a, b);
}

int abi_sna_gte(u32 a, u32 b)
{
	return iscsi_sna_gte(a, b);
}

u32 abi_ntoh24(const u8 *p)
{
	return ntoh24(p);
}

void abi_hton24(u8 *p, u32 v)
{
	hton24(p, v);
}

u32 abi_reserved_itt(void)
{
	return RESERVED_ITT;
}

u8 abi_login_current_stage(u8 flags)
{
	return ISCSI_LOGIN_CURRENT_STAGE(flags);
}

u8 abi_login_next_stage(u8 flags)
{
	return ISCSI_LOGIN_NEXT_STAGE(flags);
}
