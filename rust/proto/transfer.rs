// SPDX-License-Identifier: GPL-2.0

//! Data transfer plans of a SCSI command (RFC 7143 section 4.2.5).
