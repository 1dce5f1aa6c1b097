// SPDX-License-Identifier: GPL-2.0

//! PDU formats (RFC 7143 section 11).
