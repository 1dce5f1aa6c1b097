// SPDX-License-Identifier: GPL-2.0

//! `ferritectl monitor`: what happens, as it happens. The kernel's log is the source: each
//! event is a line of it.

use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::OFlags;
use serde::Serialize;

use crate::context::Context;
use crate::error::Error;
use crate::error::Result;

/// What kind of event it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody logged in.
    Login,
    /// Somebody was not let in.
    LoginRefused,
    /// An initiator logged out.
    Logout,
    /// A connection ended otherwise.
    ConnectionEnded,
    /// The size of a disk changed.
    Resize,
    /// A disk failed a command.
    IoError,
    /// Something was written to configfs that was refused.
    ConfigRefused,
    /// Anything else.
    Other,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Kind::Login => "login",
            Kind::LoginRefused => "refused",
            Kind::Logout => "logout",
            Kind::ConnectionEnded => "ended",
            Kind::Resize => "resize",
            Kind::IoError => "io error",
            Kind::ConfigRefused => "config",
            Kind::Other => "",
        }
    }
}

/// An event.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Event {
    /// What it is.
    pub event: Kind,
    /// Seconds since the machine was started.
    pub uptime_seconds: time::Seconds,
    /// The number of the record in the kernel's log.
    pub sequence: u64,
    /// Of an initiator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The kernel's number of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// The backstore or the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The kernel's words.
    pub message: String,
}

/// Seconds with microseconds, exactly.
pub mod time {
    use serde::Serialize;
    use serde::Serializer;

    /// A time in microseconds, which is shown in seconds.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Seconds(pub u64);

    impl Serialize for Seconds {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_f64(self.0 as f64 / 1e6)
        }
    }

    impl std::fmt::Display for Seconds {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
        }
    }
}

/// Reads one record of `/dev/kmsg`: `level,sequence,time,flags;message`. None if it is not
/// one of Ferrite's.
pub fn parse(record: &str) -> Option<Event> {
    let (prefix, rest) = record.split_once(';')?;
    let message = rest.lines().next()?.trim_end();
    let message = message.strip_prefix("ferrite: ")?;
    let mut fields = prefix.split(',').skip(1);
    let sequence = fields.next()?.parse().ok()?;
    let time = fields.next()?.parse().ok()?;
    let mut event = Event {
        event: Kind::Other,
        uptime_seconds: time::Seconds(time),
        sequence,
        initiator: None,
        address: None,
        session: None,
        object: None,
        message: message.to_string(),
    };
    classify(&mut event, message);
    Some(event)
}

/// A word that ends with the colon before a blank.
fn subject(message: &str) -> Option<(&str, &str)> {
    message.split_once(": ")
}

fn is_iscsi_name(text: &str) -> bool {
    ["iqn.", "eui.", "naa."]
        .iter()
        .any(|kind| text.starts_with(kind))
}

fn classify(event: &mut Event, message: &str) {
    let Some((who, what)) = subject(message) else {
        return;
    };
    if who.starts_with("core/") || who.starts_with("iscsi/") {
        event.object = Some(who.to_string());
        event.event = if what.contains(" failed: ") && what.contains(" at block ") {
            Kind::IoError
        } else if what.starts_with("it had ") {
            Kind::Resize
        } else if what.starts_with("cleared ")
            || what.starts_with("persistent reservations ")
            || !what.contains(": ")
        {
            Kind::Other
        } else {
            Kind::ConfigRefused
        };
        return;
    }
    let (name, address) = match who.split_once(" at ") {
        Some((name, address)) => (name, Some(address)),
        None if is_iscsi_name(who) => (who, None),
        None => ("", Some(who)),
    };
    event.initiator = Some(name.to_string()).filter(|name| !name.is_empty());
    event.address = address.map(str::to_string);
    if let Some((_, tail)) = what.rsplit_once(" (session ") {
        let mut parts = tail.trim_end_matches(')').split(", ");
        event.session = parts.next().and_then(|id| id.parse().ok());
        event.address = parts.next().map(str::to_string).or(event.address.take());
        event.event = match what.starts_with("logged out") {
            true => Kind::Logout,
            false => Kind::ConnectionEnded,
        };
    } else if let Some(target) = what.strip_prefix("logged in to ") {
        event.event = Kind::Login;
        event.object = Some(target.to_string());
    } else if what.starts_with("login refused") {
        event.event = Kind::LoginRefused;
    }
}

/// Shows events until a signal comes, or as many or as long as is wanted.
pub fn run(
    context: &mut Context<'_, '_>,
    old: bool,
    most: Option<u64>,
    seconds: Option<u64>,
) -> Result<()> {
    let path = context.env.kmsg.clone();
    let fail = |error: io::Error| Error::file(&path, error);
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(&path)
        .map_err(fail)?;
    if !old {
        rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)).map_err(|e| fail(e.into()))?;
    }
    (context.env.catch_signals)(&context.env.interrupted);
    // A time that no clock reaches is none.
    let until = seconds.and_then(|s| Instant::now().checked_add(Duration::from_secs(s)));
    let mut left = most;
    let mut record = [0u8; 8192];
    while !context.env.interrupted.load(Ordering::Relaxed) && left != Some(0) {
        match file.read(&mut record) {
            Ok(length) if length > 0 => {
                let text = String::from_utf8_lossy(&record[..length]);
                // A record at a time from the kernel; a file may have several.
                for line in text.lines().filter(|line| !line.starts_with(' ')) {
                    if left == Some(0) {
                        break;
                    }
                    if let Some(event) = parse(line) {
                        show(context, &event)?;
                        left = left.map(|left| left - 1);
                    }
                }
                continue;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Records were overwritten before they were read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {
                context.warn("events were lost: the kernel's log was faster")?;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(fail(error)),
        }
        let wait = match until {
            Some(until) if Instant::now() >= until => break,
            Some(until) => until - Instant::now(),
            None => Duration::MAX,
        };
        thread::sleep(wait.min(Duration::from_millis(100)));
    }
    Ok(())
}

fn show(context: &mut Context<'_, '_>, event: &Event) -> Result<()> {
    if context.mode.json {
        let line = serde_json::to_string(event).map_err(io::Error::from)?;
        context.say(&line)?;
    } else {
        let time = event.uptime_seconds;
        context.say(&format!(
            "{time} {:<8} {}",
            event.event.text(),
            event.message
        ))?;
    }
    // Somebody waits for it.
    context.env.out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Event {
        parse(&format!(
            "6,41,12345678,-;ferrite: {message}\n SUBSYSTEM=x\n"
        ))
        .unwrap()
    }

    #[test]
    fn events_are_told_apart() {
        let name = "iqn.2026-01.org.example:a";
        let login = event(&format!("{name} at 192.0.2.7:4242: logged in to iqn.x:t"));
        assert_eq!(login.event, Kind::Login);
        assert_eq!(login.initiator.as_deref(), Some(name));
        assert_eq!(login.address.as_deref(), Some("192.0.2.7:4242"));
        assert_eq!(login.object.as_deref(), Some("iqn.x:t"));
        assert_eq!((login.sequence, login.uptime_seconds.0), (41, 12_345_678));

        let refused = event(&format!(
            "{name} at 192.0.2.7:4242: login refused: no such target"
        ));
        assert_eq!(refused.event, Kind::LoginRefused);
        let unnamed = event("[2001:db8::1]:99: login refused: no name");
        assert_eq!(
            (unnamed.event, unnamed.initiator),
            (Kind::LoginRefused, None)
        );
        assert_eq!(unnamed.address.as_deref(), Some("[2001:db8::1]:99"));

        let out = event(&format!("{name}: logged out (session 5, 192.0.2.7:4242)"));
        assert_eq!((out.event, out.session), (Kind::Logout, Some(5)));
        let lost = event(&format!(
            "{name}: connection lost (session 6, [2001:db8::1]:4242)"
        ));
        assert_eq!((lost.event, lost.session), (Kind::ConnectionEnded, Some(6)));
        assert_eq!(lost.address.as_deref(), Some("[2001:db8::1]:4242"));

        let bad = event("core/iblock_0/a: read at block 8 failed: Medium (LUN 0 of iqn.x:i)");
        assert_eq!(bad.event, Kind::IoError);
        assert_eq!(bad.object.as_deref(), Some("core/iblock_0/a"));
        let grown = event("core/iblock_0/a: it had 8 blocks, and has 16 now");
        assert_eq!(grown.event, Kind::Resize);
        let config = event("iscsi/iqn.x:t/tpgt_1/attrib/login_timeout: 99: must be 5 to 30");
        assert_eq!(config.event, Kind::ConfigRefused);
        assert_eq!(event("something else").event, Kind::Other);
    }

    #[test]
    fn what_others_say_is_no_event() {
        for record in [
            "6,41,12345678,-;e1000: link up\n",
            "6,41,12345678,-;ferrite",
            "6,41;ferrite: x",
            "",
            ";;;",
            "ferrite: x",
        ] {
            assert_eq!(parse(record), None, "{record}");
        }
    }

    #[test]
    fn torn_records_are_survived() {
        let whole = "6,41,12345678,-;ferrite: iqn.x:a: logged out (session 5, 192.0.2.7:4242)";
        for end in 0..whole.len() {
            let _ = parse(&whole[..end]);
        }
    }

    #[test]
    fn events_are_json() {
        let text = serde_json::to_string(&event("iqn.x:a: logged out (session 5, 1.2.3.4:5)"));
        assert_eq!(
            text.unwrap(),
            "{\"event\":\"logout\",\"uptime_seconds\":12.345678,\"sequence\":41,\
             \"initiator\":\"iqn.x:a\",\"address\":\"1.2.3.4:5\",\"session\":5,\
             \"message\":\"iqn.x:a: logged out (session 5, 1.2.3.4:5)\"}"
        );
    }
}
