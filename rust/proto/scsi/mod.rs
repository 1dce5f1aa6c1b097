// SPDX-License-Identifier: GPL-2.0

//! SCSI commands, sense data and data-in pages.
//!
//! A CDB becomes a [`Command`] once, in [`Command::parse`]; a command is
//! checked against the logical unit in [`Command::check`]; what needs no medium
//! is answered from a [`DeviceInfo`] by the builders.
//!
//! # The builders
//! Every builder of data-in writes into a buffer of the caller's and returns
//! the full length of the data, which may be more than fitted. The bytes that
//! fitted are a prefix of the full data, no byte of the buffer beyond the full
//! length is touched, and every byte before it that fits is written.
//!
//! The standards are SAM-5, SPC-4 and SBC-3, quoted by the title of the clause.

mod cdb;
mod check;
mod decode;
mod put;

pub mod alua;
pub mod aptpl;
pub mod capacity;
pub mod command;
pub mod device;
pub mod inquiry;
pub mod log;
pub mod lun;
pub mod mode;
pub mod opcodes;
pub mod persist;
pub mod pool;
pub mod range;
pub mod referrals;
pub mod report;
pub mod rod;
pub mod sense;
pub mod status;
pub mod taskset;
pub mod ua;
pub mod unit_id;
pub mod unmap;
pub mod vpd;
pub mod xcopy;

pub use check::ReadWriteLimits;
pub use command::Command;
pub use device::DeviceInfo;
pub use device::Port;
pub use range::check_range;
pub use sense::FieldPointer;
pub use sense::Sense;
pub use sense::SenseKey;
pub use status::Status;
