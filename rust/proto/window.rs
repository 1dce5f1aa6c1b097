// SPDX-License-Identifier: GPL-2.0

//! The command window of a session (RFC 7143 section 4.2.2.1).
