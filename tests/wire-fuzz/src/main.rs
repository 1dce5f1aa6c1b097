// SPDX-License-Identifier: GPL-2.0

//! A stateful fuzzer: it speaks iSCSI to a running target over TCP, on many connections at once,
//! and breaks what it says at the level of bytes, of fields, and of what follows what. Meanwhile
//! a witness, on a disk of its own, must be served as if nothing was.
//!
//! The checks are told in lines `@ok` and `@fail`; see Documentation/testing.rst.

mod client;
mod commands;
mod conn;
mod mutate;
mod pdu;
mod replay;
mod rng;
mod script;
mod stats;
mod witness;

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::conn::Log;
use crate::script::Target;
use crate::stats::Stats;
use crate::witness::Witness;

const USAGE: &str = "\
ferrite-wire-fuzz --open IQN [OPTION...]
  --portal ADDRESS:PORT   where the targets are (127.0.0.1:3260)
  --open IQN              a target that lets everybody in, with LUNs 0 and 1
  --chap IQN --user U --secret S   one that wants CHAP with SHA-256 (none)
  --witness IQN           one that the witness uses, which nobody else may (none)
  --witness-name IQN      the witness's own name
  --witness-disk DEVICE   its disk as the target's host sees it; 2 MiB of it are written
  --deadline MS           within which the witness must be served (5000)
  --seed N                what all input is made from (random); it is printed
  --seconds S             how long (10)
  --connections C         sessions at a time (6)
  --script N              that one alone
  --log FILE              what each worker W sends, in FILE.W
  --replay FILE           sends what such a file says, and nothing else
  --slower N              how many times longer to wait for answers (1)";

/// The options, by name.
struct Options(Vec<(String, String)>);

impl Options {
    fn parse() -> Result<Self, String> {
        let mut all = Vec::new();
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or(USAGE)?;
            if !USAGE.contains(&format!("--{name} ")) {
                return Err(USAGE.to_owned());
            }
            all.push((name.to_owned(), words.next().ok_or(USAGE)?));
        }
        Ok(Self(all))
    }

    fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(each, _)| each == name)
            .map_or("", |(_, value)| value)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        match self.text(name) {
            "" => Ok(default),
            text => text
                .parse()
                .map_err(|_| format!("--{name} {text}: not a number")),
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// The workers, until the time is over or a rule was broken; what was broken is added to `broken`.
fn work(
    target: &Target,
    options: &Options,
    seed: u64,
    stats: &Stats,
    stop: &AtomicBool,
    broken: &Mutex<Vec<String>>,
) -> Result<(), String> {
    let connections = options.number("connections", 6)?.clamp(1, 1000);
    let end = Instant::now() + Duration::from_secs(options.number("seconds", 10)?);
    let next = AtomicU64::new(0);
    let only = options.text("script");
    let mut logs = Vec::new();
    for worker in 0..connections {
        let path = match options.text("log") {
            "" => String::new(),
            path => format!("{path}.{worker}"),
        };
        logs.push(Log::new(&path).map_err(|error| format!("{path}: {error}"))?);
    }
    if !only.is_empty() {
        let number = options.number("script", 0)?;
        if let Err(why) = script::run(target, seed, number, stats, &mut logs[0]) {
            broken.lock().unwrap().push(why);
        }
        return Ok(());
    }
    thread::scope(|scope| {
        for mut log in logs {
            let next = &next;
            scope.spawn(move || {
                while Instant::now() < end && !stop.load(Relaxed) {
                    let number = next.fetch_add(1, Relaxed);
                    if let Err(why) = script::run(target, seed, number, stats, &mut log) {
                        let mut broken = broken.lock().unwrap();
                        println!("script {number} of seed {seed}: {why}");
                        broken.push(format!("script {number}: {why}"));
                        if broken.len() > 4 {
                            stop.store(true, Relaxed);
                        }
                    }
                }
            });
        }
    });
    Ok(())
}

fn tell(name: &str, problem: Option<&str>) {
    match problem {
        None => println!("@ok {name}"),
        Some(why) => println!("@fail {name} ({why})"),
    }
}

fn run() -> Result<bool, String> {
    let options = Options::parse()?;
    let portal: SocketAddr = match options.text("portal") {
        "" => "127.0.0.1:3260",
        text => text,
    }
    .parse()
    .map_err(|_| "--portal: not an address and a port")?;
    if !options.text("replay").is_empty() {
        return replay::run(options.text("replay"), portal).map(|()| true);
    }
    let seed = match options.text("seed") {
        "" => {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_err(|error| error.to_string())?;
            u64::from(now.subsec_nanos()) << 8 | now.as_secs() & 0xff
        }
        _ => options.number("seed", 0)?,
    };
    println!("seed {seed}");
    let slower = options.number("slower", 1)?.clamp(1, 100) as u32;
    let deadline = Duration::from_millis(options.number("deadline", 5000)?);
    let witness = Witness {
        portal,
        target: options.text("witness").to_owned(),
        initiator: options.text("witness-name").to_owned(),
        deadline,
        seed,
        pieces: witness::PIECES / slower as usize,
    };
    // The disks' names: those of the fuzzed target's, and the witness's, which must be out of reach.
    let open = options.text("open").to_owned();
    let mut names =
        Client::login(portal, &open, "iqn.2026-01.org.example:names", 9, deadline)?.names()?;
    if !witness.target.is_empty() {
        names.extend(
            Client::login(portal, &witness.target, &witness.initiator, 9, deadline)?.names()?,
        );
    }
    let target = Target {
        portal,
        chap: match options.text("chap") {
            "" => open.clone(),
            text => text.to_owned(),
        },
        open,
        user: options.text("user").to_owned(),
        secret: options.text("secret").to_owned(),
        names,
        slower,
    };
    let stats = Stats::default();
    let stop = AtomicBool::new(false);
    let ready = AtomicBool::new(witness.target.is_empty());
    let broken = Mutex::new(Vec::new());
    let start = Instant::now();
    let seen = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            if witness.target.is_empty() {
                return Ok(());
            }
            let seen = witness.run(&ready, &stop, &stats, options.text("witness-disk"));
            if let Err(why) = &seen {
                println!("the witness: {why}");
            }
            stop.store(true, Relaxed);
            seen
        });
        // The witness's disk is made before anybody disturbs.
        while !ready.load(Relaxed) && !stop.load(Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        let done = work(&target, &options, seed, &stats, &stop, &broken);
        stop.store(true, Relaxed);
        let seen = watch.join().unwrap_or(Err("the witness ended".to_owned()));
        done.map(|()| seen)
    })?;
    stats.print(start.elapsed().as_secs());
    let broken = broken.into_inner().map_err(|error| error.to_string())?;
    let first = broken.first().map(String::as_str);
    tell(
        &format!("seed {seed}: every answer is a PDU as it must be"),
        first,
    );
    let why = seen.as_ref().err().map(String::as_str);
    tell(
        &format!("seed {seed}: the witness is served, and its data stays"),
        why,
    );
    Ok(broken.is_empty() && seen.is_ok())
}
