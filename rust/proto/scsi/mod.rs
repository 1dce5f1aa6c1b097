// SPDX-License-Identifier: GPL-2.0

//! SCSI commands, sense data and data-in pages.
