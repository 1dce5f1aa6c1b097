/* SPDX-License-Identifier: GPL-2.0 */
/* What the C compiler makes of the kernel's iscsi_proto.h. */
#ifndef FERRITE_ABI_H
#define FERRITE_ABI_H

#include <scsi/iscsi_proto.h>

/* Where a field of a PDU is. */
struct abi_field {
	const char *pdu;
	const char *name;
	unsigned int offset;
	unsigned int size;
};

/* The fields of all PDUs; ends with one whose pdu is null. */
extern const struct abi_field abi_fields[];

/* The kernel's serial number arithmetic. */
int abi_sna_lt(u32 a, u32 b);
int abi_sna_lte(u32 a, u32 b);
int abi_sna_gt(u32 a, u32 b);
int abi_sna_gte(u32 a, u32 b);

/* The kernel's 24-bit numbers. */
u32 abi_ntoh24(const u8 *p);
void abi_hton24(u8 *p, u32 v);

/* Constants that only the compiler can evaluate. */
u32 abi_reserved_itt(void);
u8 abi_login_current_stage(u8 flags);
u8 abi_login_next_stage(u8 flags);

#endif
