/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads. What it passes on to Rust is said by allow-functions,
 * allow-types and allow-vars. Types that kernel::bindings has are taken from
 * there. An expression macro is bound by giving it a constant here:
 *
 *	const gfp_t FER_GFP_ATOMIC = GFP_ATOMIC;
 */
#include <linux/hrtimer_types.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/configfs.h>
#include <linux/crc32.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "ferrite.h"
#include "block.h"
#include "configfs.h"
#include "file.h"
#include "limits.h"
#ifdef FERRITE_KUNIT
#include "kunit.h"
#endif
