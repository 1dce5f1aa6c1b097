// SPDX-License-Identifier: GPL-2.0

//! Commands that read the medium and look at what they find. Slow workqueue.

use super::bdev::{
    failed,
    go_on,
    no_range,
    share, //
};
use super::ROUND_MS;
use crate::{
    limits::Charge,
    proto::scsi::{
        command::{
            Command,
            Compare, //
        },
        sense::Sense,
        status::Status, //
    },
    sys::{
        bdev::Bdev,
        bio,
        misc,
        pages::{
            Gfp,
            PageBuf, //
        }, //
    },
    target::{
        Device,
        Used,
        MAX_TRANSFER, //
    },
    task::{
        Body,
        Head,
        Outcome, //
    }, //
};
use core::ops::Range;
use kernel::{
    page::PAGE_SIZE,
    sync::Arc, //
};

/// What is read or written at once, in bytes: the longest command is worked on
/// in pieces of this.
const PIECE: usize = 1 << 20;

/// Memory of the host that is given back after the command.
pub(super) struct Scratch {
    data: PageBuf,
    _charge: Charge,
}

impl Scratch {
    pub(super) fn new(bytes: usize) -> Result<Self, Outcome> {
        const BUSY: Outcome = Outcome::status(Status::Busy);
        let charge = Charge::take(bytes.div_ceil(PAGE_SIZE)).ok_or(BUSY)?;
        let data = PageBuf::new(bytes, Gfp::Sleep).map_err(|_| BUSY)?;
        Ok(Self {
            data,
            _charge: charge,
        })
    }

    pub(super) fn peek(&self) -> &PageBuf {
        &self.data
    }

    pub(super) fn buf(&mut self) -> &mut PageBuf {
        &mut self.data
    }
}

/// A part of the blocks of a command.
#[derive(Clone, Copy)]
struct Piece {
    /// The first block.
    lba: u64,
    /// Where its data stands among that of the command, in bytes.
    at: usize,
    /// Bytes.
    len: usize,
}

/// Cuts blocks into pieces.
struct Pieces {
    lba: u64,
    blocks: u64,
    shift: u32,
    at: usize,
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let most = (PIECE as u64).wrapping_shr(self.shift);
        let blocks = self.blocks.min(most);
        if blocks == 0 {
            return None;
        }
        let len = blocks.wrapping_shl(self.shift) as usize;
        let piece = Piece {
            lba: self.lba,
            at: self.at,
            len,
        };
        self.lba = self.lba.saturating_add(blocks);
        self.blocks = self.blocks.saturating_sub(blocks);
        self.at = self.at.saturating_add(len);
        Some(piece)
    }
}

impl Piece {
    /// Uses its blocks beside others.
    fn share<'a>(&self, job: &Job<'a>) -> Result<Used<'a>, Outcome> {
        job.share(job.blocks(self.lba, self.len))
    }
}

/// A command and what it is carried out on.
struct Job<'a> {
    head: &'a Head,
    device: &'a Device,
    command: &'a Command,
}

type Step = Result<(), Outcome>;

impl<'a> Job<'a> {
    fn sector(&self, lba: u64) -> u64 {
        lba.wrapping_shl(self.device.block_shift().saturating_sub(9))
    }

    /// The blocks of so many bytes.
    fn blocks(&self, lba: u64, bytes: usize) -> Range<u64> {
        let blocks = (bytes as u64).wrapping_shr(self.device.block_shift());
        lba..lba.saturating_add(blocks)
    }

    fn pieces(&self, lba: u64, blocks: u64) -> Pieces {
        Pieces {
            lba,
            blocks,
            shift: self.device.block_shift(),
            at: 0,
        }
    }

    /// Memory for the longest of the pieces of so many blocks.
    fn scratch(&self, blocks: u64) -> Result<Scratch, Outcome> {
        let first = self.pieces(0, blocks).next();
        Scratch::new(first.map_or(0, |piece| piece.len))
    }

    fn go_on(&self) -> Step {
        go_on(self.head, self.command)
    }

    /// The block device: to be asked for with a place among the ranges.
    fn bdev(&self) -> Result<Arc<Bdev>, Outcome> {
        self.device
            .bdev()
            .ok_or(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into())
    }

    /// Fills the first bytes of `into`.
    fn read(&self, piece: Piece, into: &mut PageBuf) -> Step {
        bio::read_wait(&*self.bdev()?, self.sector(piece.lba), into, 0..piece.len)
            .map_err(|error| failed(error, piece.lba, true))
    }

    /// Not if the command has been aborted, or may not write any more, while it was about
    /// something else.
    fn write(&self, lba: u64, data: &PageBuf, range: Range<usize>, fua: bool) -> Step {
        self.go_on()?;
        let fua = fua || self.device.write_through();
        bio::write_wait(&*self.bdev()?, self.sector(lba), data, range, fua)
            .map_err(|error| failed(error, lba, false))
    }

    /// Uses blocks beside others.
    fn share(&self, blocks: Range<u64>) -> Result<Used<'a>, Outcome> {
        let used = share(self.head, self.device, blocks)?;
        self.go_on()?;
        Ok(used)
    }

    /// Has blocks to itself.
    fn lock(&self, blocks: Range<u64>) -> Result<Used<'a>, Outcome> {
        let ranges = self.device.ranges();
        let used = ranges
            .lock(blocks, &|| self.head.is_aborted())
            .map_err(no_range)?;
        self.go_on()?;
        Ok(used)
    }

    /// Reads blocks from the medium, and compares them if there is something
    /// to compare with. `done` of them have been, before; returns how many are now:
    /// not all when it is later than `until_ms`.
    fn verify(
        &self,
        lba: u64,
        blocks: u64,
        compare: Compare,
        data: &PageBuf,
        mut done: u64,
        until_ms: u64,
    ) -> Result<u64, Outcome> {
        let left = blocks.saturating_sub(done);
        if left == 0 {
            return Ok(done);
        }
        if done == 0 {
            // What is in the cache is not on the medium yet (SBC-3, "Verify
            // operations").
            self.device
                .flush()
                .map_err(|error| failed(error, lba, false))?;
        }
        let shift = self.device.block_shift();
        let mut found = self.scratch(left)?;
        let pieces = Pieces {
            at: done.wrapping_shl(shift) as usize,
            ..self.pieces(lba.saturating_add(done), left)
        };
        for piece in pieces {
            {
                // For a piece at a time: nobody shall wait for all of them.
                let _used = piece.share(self)?;
                self.read(piece, &mut found.data)?;
            }
            let differs = match compare {
                Compare::Nothing => None,
                Compare::Blocks => self
                    .compare(data, piece.at, &found, 0, piece.len)?
                    .map(|n| piece.at.saturating_add(n)),
                Compare::OneBlock => self.compare_each(data, &found, piece.len)?,
            };
            if let Some(at) = differs {
                return Err(miscompare(at));
            }
            done = done.saturating_add((piece.len as u64).wrapping_shr(shift));
            if misc::now_ms() >= until_ms {
                break;
            }
        }
        Ok(done)
    }

    fn compare(
        &self,
        data: &PageBuf,
        at: usize,
        found: &Scratch,
        found_at: usize,
        len: usize,
    ) -> Result<Option<usize>, Outcome> {
        data.first_difference(at, &found.data, found_at, len)
            .map_err(|_| Outcome::from(Sense::INTERNAL_TARGET_FAILURE))
    }

    /// Compares each block with the one in the data-out.
    fn compare_each(
        &self,
        data: &PageBuf,
        found: &Scratch,
        len: usize,
    ) -> Result<Option<usize>, Outcome> {
        let block = 1usize.wrapping_shl(self.device.block_shift());
        for at in (0..len).step_by(block) {
            let differs = self.compare(data, 0, found, at, block)?;
            if differs.is_some() {
                return Ok(differs);
            }
        }
        Ok(None)
    }

    /// VERIFY, for a while: nothing limits how many blocks it may name. False when
    /// there is more to be done.
    fn verify_command(&self, command: &Command, body: &mut Body) -> Result<bool, Outcome> {
        let Command::Verify {
            lba,
            blocks,
            compare,
            ..
        } = *command
        else {
            return Err(Sense::INTERNAL_TARGET_FAILURE.into());
        };
        all_has_come(body)?;
        let blocks = u64::from(blocks);
        let until_ms = misc::now_ms().saturating_add(ROUND_MS);
        body.verified = self.verify(lba, blocks, compare, &body.data, body.verified, until_ms)?;
        Ok(body.verified >= blocks)
    }

    /// WRITE AND VERIFY: as much as was sent, as WRITE does.
    fn write_and_verify(&self, command: &Command, body: &Body) -> Step {
        let Command::WriteAndVerify { lba, compare, .. } = *command else {
            return Err(Sense::INTERNAL_TARGET_FAILURE.into());
        };
        let len = body.data.len();
        if len == 0 {
            return Ok(());
        }
        {
            let _used = self.share(self.blocks(lba, len))?;
            self.write(lba, &body.data, 0..len, true)?;
        }
        let blocks = (len as u64).wrapping_shr(self.device.block_shift());
        let compare = match compare {
            true => Compare::Blocks,
            false => Compare::Nothing,
        };
        // No more than one transfer.
        self.verify(lba, blocks, compare, &body.data, 0, u64::MAX)
            .map(|_| ())
    }
}

impl Job<'_> {
    /// COMPARE AND WRITE.
    fn compare_and_write(&self, command: &Command, body: &Body) -> Step {
        let Command::CompareAndWrite { lba, fua, .. } = *command else {
            return Err(Sense::INTERNAL_TARGET_FAILURE.into());
        };
        all_has_come(body)?;
        if u64::from(body.edtl) != body.asked {
            // Data that is left over belongs to blocks that the CDB does not
            // name: what was meant is not clear, and half of it is written.
            return Err(Sense::WRONG_TRANSFER_LENGTH.into());
        }
        let len = body.data.len() / 2;
        if len == 0 {
            return Ok(());
        }
        let mut found = Scratch::new(len)?;
        let piece = Piece { lba, at: 0, len };
        let _alone = self.lock(self.blocks(lba, len))?;
        self.read(piece, &mut found.data)?;
        if let Some(at) = self.compare(&body.data, 0, &found, 0, len)? {
            return Err(miscompare(at));
        }
        self.write(lba, &body.data, len..body.data.len(), fua)
    }

    /// ORWRITE.
    fn or_write(&self, command: &Command, body: &mut Body) -> Step {
        let Command::OrWrite {
            lba, blocks, fua, ..
        } = *command
        else {
            return Err(Sense::INTERNAL_TARGET_FAILURE.into());
        };
        all_has_come(body)?;
        let blocks = u64::from(blocks);
        if blocks == 0 {
            return Ok(());
        }
        let mut found = self.scratch(blocks)?;
        let _alone = self.lock(lba..lba.saturating_add(blocks))?;
        for piece in self.pieces(lba, blocks) {
            self.go_on()?;
            self.read(piece, &mut found.data)?;
            body.data
                .or_from(piece.at, &found.data, 0, piece.len)
                .map_err(|_| Outcome::from(Sense::INTERNAL_TARGET_FAILURE))?;
            let end = piece.at.saturating_add(piece.len);
            self.write(piece.lba, &body.data, piece.at..end, fua)?;
        }
        Ok(())
    }
}

impl Job<'_> {
    /// PRE-FETCH: reads the blocks, so that whatever cache there is below has
    /// them. IMMED allows to answer before; answering after it promises more.
    ///
    /// Whether a cache has taken them is not known, so this never ends with
    /// CONDITION MET.
    fn pre_fetch(&self, command: &Command) -> Step {
        let Command::PreFetch { lba, blocks, .. } = *command else {
            return Err(Sense::INTERNAL_TARGET_FAILURE.into());
        };
        let blocks = match blocks {
            0 => self.device.blocks().saturating_sub(lba),
            blocks => u64::from(blocks),
        };
        // What is longer does not fit, and is cut (SBC-3, "PRE-FETCH (10)
        // command").
        let most = u64::from(MAX_TRANSFER).wrapping_shr(self.device.block_shift());
        let blocks = blocks.min(most);
        let mut found = self.scratch(blocks)?;
        for piece in self.pieces(lba, blocks) {
            let _used = piece.share(self)?;
            self.read(piece, &mut found.data)?;
        }
        Ok(())
    }
}

/// The data-out is what the CDB asks for.
fn all_has_come(body: &Body) -> Step {
    if body.data.len() as u64 == body.asked {
        Ok(())
    } else {
        Err(Sense::WRONG_TRANSFER_LENGTH.into())
    }
}

/// INFORMATION is the offset in the data-out of the first byte that differs
/// (SBC-3, "COMPARE AND WRITE command").
fn miscompare(at: usize) -> Outcome {
    Sense::MISCOMPARE_DURING_VERIFY_OPERATION
        .with_info(at as u64)
        .into()
}

/// Carries out a command of this file; none when others are to have their turn
/// before the rest.
pub(super) fn carry_out(
    head: &Head,
    device: &Device,
    command: &Command,
    body: &mut Body,
) -> Option<Outcome> {
    let job = Job {
        head,
        device,
        command,
    };
    let done = match command {
        Command::Verify { .. } => match job.verify_command(command, body) {
            Ok(true) => Ok(()),
            Ok(false) => return None,
            Err(outcome) => Err(outcome),
        },
        Command::WriteAndVerify { .. } => job.write_and_verify(command, body),
        Command::CompareAndWrite { .. } => job.compare_and_write(command, body),
        Command::OrWrite { .. } => job.or_write(command, body),
        Command::PreFetch { .. } => job.pre_fetch(command),
        _ => Err(Sense::INVALID_COMMAND_OPERATION_CODE.into()),
    };
    Some(match done {
        Ok(()) => Outcome::GOOD,
        Err(outcome) => outcome,
    })
}
