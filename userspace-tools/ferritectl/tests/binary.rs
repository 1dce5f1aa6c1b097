// SPDX-License-Identifier: GPL-2.0

//! The program itself, without a kernel module behind it.

use std::io::Write;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferritectl"));
    command.stdin(Stdio::null());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

#[test]
fn version_needs_no_module() {
    let output = program().arg("version").output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(output.stdout.starts_with(b"ferritectl "));
    let output = program().arg("--version").output().unwrap();
    assert_eq!(code(&output), 0);
}

#[test]
fn a_root_that_is_not_there_is_said() {
    let output = program()
        .args(["--root", "/nonexistent", "status"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 7);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("/nonexistent: No such file"), "{text}");
    assert!(text.contains("hint:"), "{text}");
}

#[test]
fn a_mistyped_command_ends_with_two() {
    let output = program().arg("statsu").output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = program()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_name_decides_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lio_node", "tcm_node"] {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ferritectl"), &link).unwrap();
        let output = Command::new(&link).arg("--help").output().unwrap();
        assert_eq!(code(&output), 0);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(&format!("{name}: ")), "{text}");
        let output = Command::new(&link).arg("--nonsense").output().unwrap();
        assert_eq!(code(&output), 2);
    }
}

#[test]
fn a_directory_of_any_kind_can_be_read() {
    // An empty directory is an empty configuration.
    let root = tempfile::tempdir().unwrap();
    let output = program()
        .arg("--root")
        .arg(root.path())
        .args(["status", "--json"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["backstores"].as_array().unwrap().len(), 0);
}

#[test]
fn a_configuration_may_come_through_a_pipe() {
    let root = tempfile::tempdir().unwrap();
    let mut child = program()
        .arg("--root")
        .arg(root.path())
        .args(["restore", "-", "--dry-run"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = br#"{"format_version": 1, "configuration":
        {"targets": {"iqn.2026-01.org.example:a": {"tpgs": {"1": {}}}}}}"#;
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("would create target iqn.2026-01.org.example:a"),
        "{text}"
    );
    assert_eq!(root.path().read_dir().unwrap().count(), 0);
}

/// A secret that there is no room for leaves nothing behind.
#[test]
fn half_a_secret_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_ferritectl")])
        .args(["auth", "generate"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(code(&output), 8, "{output:?}");
    assert!(!file.exists());
    let output = program()
        .args(["auth", "generate"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
}
