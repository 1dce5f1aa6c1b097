// SPDX-License-Identifier: GPL-2.0

//! Comparison of our wire layouts with the kernel's `iscsi_proto.h`.
