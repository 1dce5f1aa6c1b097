/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FERRITE_LIMITS_H
#define FERRITE_LIMITS_H

#define FER_LIMIT_LOGINS 0
#define FER_LIMIT_LOGINS_PER_ADDRESS 1
#define FER_LIMIT_CONNECTIONS 2
#define FER_LIMIT_CONNECTIONS_PER_ADDRESS 3
#define FER_LIMIT_SESSION_MEMORY 4
#define FER_LIMIT_MEMORY 5
#define FER_LIMIT_MEMORY_PER_ADDRESS 6
#define FER_LIMIT_COMMANDS 7
#define FER_LIMIT_COMMANDS_PER_ADDRESS 8
#define FER_LIMITS 9

/* The value of a limit at this moment. */
unsigned int fer_limit(unsigned int which);

#endif
