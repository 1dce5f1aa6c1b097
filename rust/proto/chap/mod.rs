// SPDX-License-Identifier: GPL-2.0

//! CHAP (RFC 1994, RFC 7143 section 12.1.3).
