/* SPDX-License-Identifier: GPL-2.0 */
/* The types that the kernel's SCSI headers use, for a compiler outside the kernel. */
#ifndef FERRITE_ABI_LINUX_TYPES_H
#define FERRITE_ABI_LINUX_TYPES_H

#define __bitwise
#define __force

typedef __UINT8_TYPE__ u8, __u8, uint8_t;
typedef __UINT16_TYPE__ u16, __u16, uint16_t;
typedef __UINT32_TYPE__ u32, __u32, uint32_t;
typedef __UINT64_TYPE__ u64, __u64, uint64_t;
typedef __INT32_TYPE__ s32, __s32;
typedef __INT64_TYPE__ s64, __s64;

typedef __u16 __bitwise __be16;
typedef __u32 __bitwise __be32;
typedef __u64 __bitwise __be64;

typedef _Bool bool;

enum {
	false = 0,
	true = 1,
};

/* From <asm/byteorder.h>; the build machine's, as its tests run there. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define __LITTLE_ENDIAN 1234
#else
#define __BIG_ENDIAN 4321
#endif

#endif
