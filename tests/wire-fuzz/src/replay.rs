// SPDX-License-Identifier: GPL-2.0

//! Sends again, byte for byte, what a log says was sent.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::conn::{Conn, Log};

/// Replays a log; what the target answers is read and looked at as little as needed.
pub fn run(path: &str, portal: SocketAddr) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut none = Log::new("").map_err(|error| error.to_string())?;
    let mut conns: HashMap<u32, Conn> = HashMap::new();
    let mut steps = 0;
    for line in text.lines() {
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let number: u32 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        steps += 1;
        match verb {
            "script" => conns.clear(),
            "open" => {
                let mut conn = Conn::open(portal, number, false, &mut none)
                    .map_err(|error| format!("line {steps}: no connection: {error}"))?;
                conn.framed = false;
                conn.max_data = 1 << 24;
                conns.insert(number, conn);
            }
            "send" => {
                let digits = words.next().unwrap_or_default();
                let bytes: Vec<u8> = (0..digits.len() / 2)
                    .filter_map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
                    .collect();
                if let Some(conn) = conns.get_mut(&number) {
                    conn.send(&bytes, &mut none);
                    // In a login each request waits for its answer.
                    let wait = if conn.full_feature { 2 } else { 300 };
                    while let Ok(Some(_)) = conn.receive(Duration::from_millis(wait)) {
                        if !conn.full_feature {
                            break;
                        }
                    }
                }
            }
            "reset" => {
                if let Some(conn) = conns.get_mut(&number) {
                    conn.reset(&mut none);
                }
            }
            "half-close" => {
                if let Some(conn) = conns.get_mut(&number) {
                    conn.half_close(&mut none);
                }
            }
            "close" => {
                conns.remove(&number);
            }
            "wait" => thread::sleep(Duration::from_millis(number.into())),
            _ => return Err(format!("line {steps}: \"{verb}\"")),
        }
    }
    println!("{steps} steps replayed");
    Ok(())
}
