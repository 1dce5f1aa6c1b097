// SPDX-License-Identifier: GPL-2.0

//! Text keys and values (RFC 7143 section 6.1).
