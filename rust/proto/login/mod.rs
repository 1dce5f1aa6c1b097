// SPDX-License-Identifier: GPL-2.0

//! The login phase (RFC 7143 section 6.3).
