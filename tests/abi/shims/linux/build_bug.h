/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FERRITE_ABI_LINUX_BUILD_BUG_H
#define FERRITE_ABI_LINUX_BUILD_BUG_H

#define static_assert(condition, ...) _Static_assert(condition, #condition)

#endif
