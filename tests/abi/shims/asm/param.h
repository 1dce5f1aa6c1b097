/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FERRITE_ABI_ASM_PARAM_H
#define FERRITE_ABI_ASM_PARAM_H

/* Nothing that is compared depends on it. */
#define HZ 250

#endif
