// SPDX-License-Identifier: GPL-2.0

//! 32-bit serial numbers (RFC 7143 section 4.2.2.1).
