// SPDX-License-Identifier: GPL-2.0
/* What peers may use of the host: module parameters that can be set at any time. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "limits.h"

struct limit {
	unsigned int now, min, max;
};

static struct limit limits[FER_LIMITS] = {
	[FER_LIMIT_LOGINS] = { 1024, 16, 65536 },
	[FER_LIMIT_LOGINS_PER_ADDRESS] = { 256, 4, 65536 },
	[FER_LIMIT_CONNECTIONS] = { 16384, 1, 1048576 },
	[FER_LIMIT_CONNECTIONS_PER_ADDRESS] = { 4096, 1, 1048576 },
	[FER_LIMIT_SESSION_MEMORY] = { 64, 16, 4096 },
	[FER_LIMIT_MEMORY] = { 0, 0, 1048576 },
	[FER_LIMIT_MEMORY_PER_ADDRESS] = { 0, 0, 1048576 },
	[FER_LIMIT_COMMANDS] = { 4194304, 64, 16777216 },
	[FER_LIMIT_COMMANDS_PER_ADDRESS] = { 1048576, 64, 16777216 },
};

static int limit_set(const char *text, const struct kernel_param *kp)
{
	struct limit *limit = kp->arg;
	unsigned int value;
	int err = kstrtouint(text, 0, &value);

	if (err)
		return err;
	if (value < limit->min || value > limit->max) {
		pr_err("ferrite: %s=%u: must be a number from %u to %u\n",
		       kp->name, value, limit->min, limit->max);
		return -EINVAL;
	}
	WRITE_ONCE(limit->now, value);
	return 0;
}

static int limit_get(char *page, const struct kernel_param *kp)
{
	const struct limit *limit = kp->arg;

	return sysfs_emit(page, "%u\n", READ_ONCE(limit->now));
}

static const struct kernel_param_ops limit_ops = {
	.set = limit_set,
	.get = limit_get,
};

module_param_cb(logins, &limit_ops, &limits[FER_LIMIT_LOGINS], 0644);
MODULE_PARM_DESC(logins,
		 "Connections in login or discovery at once (default: 1024)");
module_param_cb(logins_per_address, &limit_ops,
		&limits[FER_LIMIT_LOGINS_PER_ADDRESS], 0644);
MODULE_PARM_DESC(logins_per_address,
		 "The same, from one address; IPv6: one /64 (default: 256)");
module_param_cb(connections, &limit_ops, &limits[FER_LIMIT_CONNECTIONS], 0644);
MODULE_PARM_DESC(connections, "Connections of sessions at once (default: 16384)");
module_param_cb(connections_per_address, &limit_ops,
		&limits[FER_LIMIT_CONNECTIONS_PER_ADDRESS], 0644);
MODULE_PARM_DESC(connections_per_address,
		 "The same, from one address; IPv6: one /64 (default: 4096)");
module_param_cb(session_memory, &limit_ops,
		&limits[FER_LIMIT_SESSION_MEMORY], 0644);
MODULE_PARM_DESC(session_memory,
		 "Data of the commands of one session, in MiB (default: 64)");
module_param_cb(memory, &limit_ops, &limits[FER_LIMIT_MEMORY], 0644);
MODULE_PARM_DESC(memory,
		 "Data of all commands, in MiB; 0: a quarter of the machine's memory (default: 0)");
module_param_cb(memory_per_address, &limit_ops,
		&limits[FER_LIMIT_MEMORY_PER_ADDRESS], 0644);
MODULE_PARM_DESC(memory_per_address,
		 "The same, of the sessions from one address; IPv6: one /64; 0: three quarters of that for all (default: 0)");
module_param_cb(commands, &limit_ops, &limits[FER_LIMIT_COMMANDS], 0644);
MODULE_PARM_DESC(commands,
		 "Commands that all sessions together may send at once (default: 4194304)");
module_param_cb(commands_per_address, &limit_ops,
		&limits[FER_LIMIT_COMMANDS_PER_ADDRESS], 0644);
MODULE_PARM_DESC(commands_per_address,
		 "The same, of the sessions from one address; IPv6: one /64 (default: 1048576)");

unsigned int fer_limit(unsigned int which)
{
	return which < FER_LIMITS ? READ_ONCE(limits[which].now) : 0;
}
