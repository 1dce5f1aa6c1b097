// SPDX-License-Identifier: GPL-2.0

//! A stand-in for configfs, and a way to run command lines over it.
//!
//! It is a temporary directory in which making a directory makes the attribute
//! files of the object, as the kernel does, in which stores are checked, and in
//! which what is referred to cannot be removed. It knows no iSCSI.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod fake;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use ferritectl::configfs::Tree;
use ferritectl::context::Env;
use ferritectl::output::Style;
use ferritectl::output::UNBOUNDED;
use ferritectl::secret::Secret;

use fake::Fake;
use fake::Rules;

pub const TARGET: &str = "iqn.2026-01.org.example:store";
pub const CLIENT: &str = "iqn.2026-01.org.example:client";
pub const OTHER: &str = "iqn.2026-01.org.example:other";
pub const SECRET: &str = "correct-horse-battery";
pub const SECRET_2: &str = "staple-battery-horse";

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The output of a command that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// The messages of a command that must fail with a status, and say something.
    #[track_caller]
    pub fn fails(self, code: u8, says: &str) -> String {
        let text = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{text}");
        assert!(text.contains(says), "{text:?} lacks {says:?}");
        text
    }

    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }
}

/// A temporary machine: a tree, disks, a kernel log.
pub struct Machine {
    pub dir: tempfile::TempDir,
    pub rules: Rc<RefCell<Rules>>,
    pub width: u16,
    pub answers: RefCell<Vec<String>>,
    /// What was asked for a yes or no, and what the answer is.
    pub confirms: RefCell<Vec<String>>,
    pub says_yes: std::cell::Cell<bool>,
    pub interrupted: Arc<AtomicBool>,
    /// Every secret that no output may show.
    pub secrets: Vec<String>,
}

impl Machine {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["root", "sys", "dev"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        fs::write(dir.path().join("kmsg"), "").unwrap();
        let machine = Machine {
            rules: Rc::new(RefCell::new(Rules::new(dir.path().join("kmsg")))),
            dir,
            width: UNBOUNDED,
            answers: RefCell::default(),
            confirms: RefCell::default(),
            says_yes: Default::default(),
            interrupted: Arc::default(),
            secrets: vec![SECRET.into(), SECRET_2.into()],
        };
        machine.tree().boot();
        machine
    }

    pub fn tree(&self) -> Fake {
        Fake::new(self.path("root"), self.rules.clone())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a disk into the machine and gives its path.
    pub fn disk(&self, name: &str) -> String {
        let path = self.path("dev").join(name);
        fs::write(&path, "").unwrap();
        path.display().to_string()
    }

    /// A private file with some text.
    pub fn file(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// Runs a command line, split at blanks.
    pub fn run(&self, line: &str) -> Ran {
        self.run_as("ferritectl", line)
    }

    pub fn run_as(&self, program: &str, line: &str) -> Ran {
        let mut words = vec![program, "--root"];
        let root = self.path("root").display().to_string();
        words.push(&root);
        words.extend(line.split_whitespace());
        self.run_words(&words)
    }

    pub fn run_words(&self, words: &[&str]) -> Ran {
        let mut out = Vec::new();
        let mut err = Vec::new();
        let rules = self.rules.clone();
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut env = Env {
            out: &mut out,
            err: &mut err,
            ask: &mut |_| {
                let mut answers = self.answers.borrow_mut();
                if answers.is_empty() {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                Ok(Secret::new(answers.remove(0)))
            },
            confirm: &mut |question| {
                let mut confirms = self.confirms.borrow_mut();
                confirms.push(question.to_string());
                self.says_yes.get()
            },
            progress: false,
            open: &|root| -> Box<dyn Tree> { Box::new(Fake::new(root, rules.clone())) },
            sys: self.path("sys"),
            kmsg: self.path("kmsg"),
            run: self.path("run"),
            style: Style {
                width: self.width,
                unicode: false,
            },
            program: "ferritectl",
            patience: Duration::from_millis(50),
            interrupted: self.interrupted.clone(),
            catch_signals: &|_| {},
        };
        let code = ferritectl::run(arguments, &mut env).code();
        let ran = Ran {
            code,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        };
        for secret in &self.secrets {
            let shown = ran.out.contains(secret) || ran.err.contains(secret);
            assert!(!shown, "a secret was shown by {words:?}: {ran:?}");
        }
        ran
    }

    /// Everything in the tree as text: names, values, links.
    pub fn snapshot(&self) -> String {
        let mut text = String::new();
        walk(&self.path("root"), Path::new(""), &mut text);
        text
    }

    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path("root").join(path)).is_ok()
    }

    pub fn value(&self, path: &str) -> String {
        let text = fs::read_to_string(self.path("root").join(path));
        text.unwrap_or_else(|error| panic!("{path}: {error}"))
            .trim_end()
            .to_string()
    }

    /// Changes what an attribute shows, as the kernel would by itself.
    pub fn show(&self, path: &str, text: &str) {
        fs::write(self.path("root").join(path), text).unwrap();
    }

    /// A session of an initiator that has an ACL.
    pub fn log_in(&self, acl: &str) {
        let text = format!(
            "InitiatorName: {CLIENT}\nInitiatorAlias: client\n\
             LIO Session ID: 1   ISID: 0x00023d000000  TSIH: 1  SessionType: Normal\n\
             Session State: TARG_SESS_STATE_LOGGED_IN\n\
             ---------------------[iSCSI Session Values]-----------------------\n\
             \x20 CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT\n\
             \x200x00000040   0x00000040   0x00000001   0x00000040   0x00000000   0x00000001\n\
             ----------------------[iSCSI Connections]-------------------------\n\
             CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN\n\
             \x20  Address 192.0.2.7 TCP  StatSN: 0xb2fdf63d\n"
        );
        self.show(&format!("{acl}/info"), &text);
    }

    /// Sends a signal in the middle of the next command.
    pub fn interrupt_at(&self, operation: &'static str, end: &str) {
        self.interrupted.store(false, Ordering::Relaxed);
        self.rules.borrow_mut().signal =
            Some((operation, end.to_string(), self.interrupted.clone()));
    }

    /// A target with a disk, a portal, an ACL with CHAP both ways, enabled.
    pub fn typical(&self) {
        let disk = self.disk("a");
        let secret = self.file("secret", SECRET);
        let mutual = self.file("mutual", SECRET_2);
        self.run(&format!("backstore create disk0 {disk} --serial serial-0"))
            .ok();
        self.run(&format!("target create {TARGET}")).ok();
        self.run(&format!("portal create {TARGET} 192.0.2.1")).ok();
        self.run(&format!("lun create {TARGET} disk0")).ok();
        self.run(&format!("acl create {TARGET} {CLIENT} --map-all"))
            .ok();
        self.run(&format!(
            "auth set {TARGET} --acl {CLIENT} --user bob --secret-file {secret} \
             --mutual-user store --mutual-secret-file {mutual}"
        ))
        .ok();
        self.run(&format!("tpg enable {TARGET}")).ok();
    }
}

fn walk(root: &Path, dir: &Path, text: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(root.join(dir))
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = dir.join(entry.file_name());
        let file_type = entry.file_type().unwrap();
        if file_type.is_dir() {
            text.push_str(&format!("{}/\n", path.display()));
            walk(root, &path, text);
        } else if file_type.is_symlink() {
            let to = fs::read_link(entry.path()).unwrap();
            text.push_str(&format!("{} -> {}\n", path.display(), to.display()));
        } else {
            let value = fs::read_to_string(entry.path()).unwrap();
            text.push_str(&format!("{}={value:?}\n", path.display()));
        }
    }
}
