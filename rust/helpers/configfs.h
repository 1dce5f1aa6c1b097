/* SPDX-License-Identifier: GPL-2.0 */
/* configfs: what is an inline or a macro in C. See configfs.c. */
#ifndef FERRITE_CONFIGFS_H
#define FERRITE_CONFIGFS_H

#include <linux/configfs.h>

void fer_configfs_init(struct configfs_subsystem *subsys);
void fer_configfs_add_default(struct config_group *child,
			      struct config_group *parent);
const char *fer_configfs_root(void);
const char *fer_configfs_release(void);
const char *fer_configfs_machine(void);
int fer_configfs_ifindex(const char *name);

#endif
