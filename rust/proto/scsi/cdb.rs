// SPDX-License-Identifier: GPL-2.0

//! CDB byte layouts (SPC-4, "CDB formats").
//!
//! The typical layouts fit nearly every command: what differs is the meaning
//! of the flags and of the length, which is a transfer, allocation, parameter
//! list or verification length.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A 6-byte CDB.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Cdb6 {
    /// 00h: OPERATION CODE.
    _opcode: u8,
    /// 01h: flags, and the high 5 bits of a 21-bit LBA.
    pub(crate) flags: u8,
    /// 02h: the rest of the LBA.
    pub(crate) lba: U16,
    /// 04h: a length, zero meaning 256 blocks for READ and WRITE.
    pub(crate) length: u8,
    /// 05h: CONTROL.
    _control: u8,
}

/// A 10-byte CDB.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Cdb10 {
    /// 00h: OPERATION CODE.
    _opcode: u8,
    /// 01h: flags or SERVICE ACTION.
    pub(crate) flags: u8,
    /// 02h: LOGICAL BLOCK ADDRESS.
    pub(crate) lba: U32,
    /// 06h: GROUP NUMBER.
    _group: u8,
    /// 07h: a length.
    pub(crate) length: U16,
    /// 09h: CONTROL.
    _control: u8,
}

/// A 12-byte CDB.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Cdb12 {
    /// 00h: OPERATION CODE.
    _opcode: u8,
    /// 01h: flags or SERVICE ACTION.
    pub(crate) flags: u8,
    /// 02h: LOGICAL BLOCK ADDRESS.
    pub(crate) lba: U32,
    /// 06h: a length.
    pub(crate) length: U32,
    /// 0Ah: GROUP NUMBER.
    _group: u8,
    /// 0Bh: CONTROL.
    _control: u8,
}

/// A 16-byte CDB.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Cdb16 {
    /// 00h: OPERATION CODE.
    _opcode: u8,
    /// 01h: flags or SERVICE ACTION.
    pub(crate) flags: u8,
    /// 02h: LOGICAL BLOCK ADDRESS.
    pub(crate) lba: U64,
    /// 0Ah: a length.
    pub(crate) length: U32,
    /// 0Eh: GROUP NUMBER.
    _group: u8,
    /// 0Fh: CONTROL.
    _control: u8,
}

const _: () = assert!(size_of::<Cdb6>() == 6);
const _: () = assert!(size_of::<Cdb10>() == 10);
const _: () = assert!(size_of::<Cdb12>() == 12);
const _: () = assert!(size_of::<Cdb16>() == 16);
