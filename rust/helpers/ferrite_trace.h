/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints. Read more than once, as the kernel's macros want it. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ferrite

#if !defined(FERRITE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FERRITE_TRACE_H

#include <linux/tracepoint.h>

#include "ferrite.h"

/* A SCSI command has ended: its answer is built, or it was aborted. */
TRACE_EVENT(ferrite_command,
	TP_PROTO(const struct fer_trace_command *c),
	TP_ARGS(c),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u64, lba)
		__field(u64, bytes)
		__field(u64, total_ns)
		__field(u64, arrival_ns)
		__field(u64, disk_ns)
		__field(u64, sending_ns)
		__field(u32, lun)
		__field(u8, kind)
		__field(u8, status)
		__field(u8, sense_key)
		__field(u8, aborted)
	),
	TP_fast_assign(
		__entry->session = c->session;
		__entry->lba = c->lba;
		__entry->bytes = c->bytes;
		__entry->total_ns = c->total_ns;
		__entry->arrival_ns = c->arrival_ns;
		__entry->disk_ns = c->disk_ns;
		__entry->sending_ns = c->sending_ns;
		__entry->lun = c->lun;
		__entry->kind = c->kind;
		__entry->status = c->status;
		__entry->sense_key = c->sense_key;
		__entry->aborted = c->aborted;
	),
	TP_printk("session=%llu lun=%u kind=%s lba=%llu bytes=%llu status=%#x sense_key=%u aborted=%u total_ns=%llu arrival_ns=%llu disk_ns=%llu sending_ns=%llu",
		  __entry->session, __entry->lun,
		  __print_symbolic(__entry->kind, { 0, "other" }, { 1, "read" },
				   { 2, "write" }),
		  __entry->lba, __entry->bytes, __entry->status,
		  __entry->sense_key, __entry->aborted, __entry->total_ns,
		  __entry->arrival_ns, __entry->disk_ns, __entry->sending_ns)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE ferrite_trace
#include <trace/define_trace.h>
