// SPDX-License-Identifier: GPL-2.0
/* Tracepoints: macros in C. */
#define CREATE_TRACE_POINTS
#include "ferrite_trace.h"

bool fer_trace_command_on(void)
{
	return trace_ferrite_command_enabled();
}

void fer_trace_command(const struct fer_trace_command *c)
{
	trace_ferrite_command(c);
}
