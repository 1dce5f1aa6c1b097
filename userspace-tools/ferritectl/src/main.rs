// SPDX-License-Identifier: GPL-2.0

//! `ferritectl`, the administrator's tool of the Ferrite iSCSI target.

fn main() {}
