// SPDX-License-Identifier: GPL-2.0
/* configfs: inlines, macros, and the parameter that names the root. */
#include <linux/configfs.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>
#include <linux/utsname.h>

#include "configfs.h"

static char *configfs_root = "ferrite";
module_param(configfs_root, charp, 0444);
MODULE_PARM_DESC(configfs_root,
		 "Name of the directory in configfs (default: ferrite)");

void fer_configfs_init(struct configfs_subsystem *subsys)
{
	mutex_init(&subsys->su_mutex);
}

void fer_configfs_add_default(struct config_group *child,
			      struct config_group *parent)
{
	configfs_add_default_group(child, parent);
}

const char *fer_configfs_root(void)
{
	return configfs_root;
}

/* The running kernel, as uname(2) tells it. */
const char *fer_configfs_release(void)
{
	return init_utsname()->release;
}

const char *fer_configfs_machine(void)
{
	return init_utsname()->machine;
}

/* The index of a network interface of the caller's namespace, or -ENODEV. */
int fer_configfs_ifindex(const char *name)
{
	struct net_device *dev;
	int index = -ENODEV;

	rcu_read_lock();
	dev = dev_get_by_name_rcu(current->nsproxy->net_ns, name);
	if (dev)
		index = dev->ifindex;
	rcu_read_unlock();
	return index;
}
