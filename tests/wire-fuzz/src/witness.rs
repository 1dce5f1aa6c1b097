// SPDX-License-Identifier: GPL-2.0

//! Somebody who has nothing to do with all that: it must always be able to log in, in time, what
//! it has written must stay what it is, and its session must live on.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::rng::Rng;
use crate::stats::{one, Stats};

/// Who it is, and what it has.
pub struct Witness {
    pub portal: SocketAddr,
    pub target: String,
    pub initiator: String,
    /// Within this, each of its operations must be done.
    pub deadline: Duration,
    pub seed: u64,
    /// Pieces of the disk that it uses: all of them take time on a kernel that is slow.
    pub pieces: usize,
}

/// The most pieces of the disk that it uses, and blocks in each.
pub const PIECES: usize = 256;
const BLOCKS: usize = 16;

/// What a piece has after it was written that many times.
fn content(seed: u64, piece: usize, version: u32) -> Vec<u8> {
    if version == 0 {
        return vec![0; BLOCKS * 512];
    }
    Rng::new(seed, &[0x717, piece as u64, version.into()]).bytes(BLOCKS * 512)
}

impl Witness {
    fn login(&self, isid: u8) -> Result<Client, String> {
        Client::login(
            self.portal,
            &self.target,
            &self.initiator,
            isid,
            self.deadline,
        )
    }

    fn one_piece(
        &self,
        client: &mut Client,
        rng: &mut Rng,
        versions: &mut [u32],
        stats: &Stats,
    ) -> Result<(), String> {
        let piece = rng.below(self.pieces);
        let lba = (piece * BLOCKS) as u32;
        let start = Instant::now();
        let seen = client.read(lba, BLOCKS as u8)?;
        if seen != content(self.seed, piece, versions[piece]) {
            return Err(format!("piece {piece} is not what was written to it"));
        }
        versions[piece] += 1;
        let new = content(self.seed, piece, versions[piece]);
        client.write(lba, &new)?;
        if client.read(lba, BLOCKS as u8)? != new {
            return Err(format!("piece {piece} is not what was just written to it"));
        }
        let ms = start.elapsed().as_millis() as u64;
        stats.slowest_io_ms.fetch_max(ms, Relaxed);
        stats.witness_blocks.fetch_add(BLOCKS as u64, Relaxed);
        if start.elapsed() > self.deadline {
            return Err(format!("{ms} ms for verified I/O"));
        }
        Ok(())
    }

    /// Says that it is `ready` when its disk is, and works until it is told to stop; at the end,
    /// everything is read once more, also from `disk`.
    pub fn run(
        &self,
        ready: &AtomicBool,
        stop: &AtomicBool,
        stats: &Stats,
        disk: &str,
    ) -> Result<(), String> {
        let mut rng = Rng::new(self.seed, &[0x716]);
        let mut versions = vec![0; self.pieces];
        let mut kept = self
            .login(1)
            .map_err(|why| format!("its first login: {why}"))?;
        for piece in 0..self.pieces {
            kept.write((piece * BLOCKS) as u32, &content(self.seed, piece, 0))?;
        }
        ready.store(true, Relaxed);
        while !stop.load(Relaxed) {
            let start = Instant::now();
            let mut client = self.login(2).map_err(|why| format!("a new login: {why}"))?;
            stats
                .slowest_login_ms
                .fetch_max(start.elapsed().as_millis() as u64, Relaxed);
            one(&stats.witness_logins);
            for _ in 0..4 {
                self.one_piece(&mut client, &mut rng, &mut versions, stats)
                    .map_err(|why| format!("a new session: {why}"))?;
                self.one_piece(&mut kept, &mut rng, &mut versions, stats)
                    .map_err(|why| format!("a session that was there before: {why}"))?;
            }
            client.logout()?;
            thread::sleep(Duration::from_millis(50));
        }
        let mut file = File::open(disk).map_err(|error| format!("{disk}: {error}"))?;
        file.seek(SeekFrom::Start(0))
            .map_err(|error| error.to_string())?;
        for (piece, &version) in versions.iter().enumerate() {
            let want = content(self.seed, piece, version);
            if kept.read((piece * BLOCKS) as u32, BLOCKS as u8)? != want {
                return Err(format!(
                    "at the end, piece {piece} is not what was written to it"
                ));
            }
            let mut seen = vec![0; want.len()];
            file.read_exact(&mut seen)
                .map_err(|error| format!("{disk}: {error}"))?;
            if seen != want {
                return Err(format!(
                    "at the end, piece {piece} of {disk} is not what was written"
                ));
            }
        }
        kept.logout()
    }
}
