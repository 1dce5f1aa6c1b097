// SPDX-License-Identifier: GPL-2.0

//! `apply` and `diff` over a stand-in for configfs.

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::Machine;
use common::CLIENT;
use common::OTHER;
use common::SECRET;
use common::SECRET_2;
use common::TARGET;
use ferritectl::declared;
use ferritectl::declared::Declared;
use ferritectl::declared::Sources;
use ferritectl::names::BackstoreId;
use ferritectl::names::Name;
use ferritectl::names::Portal;
use ferritectl::state::Acl;
use ferritectl::state::Attributes;
use ferritectl::state::Backstore;
use ferritectl::state::Configuration;
use ferritectl::state::Lun;
use ferritectl::state::MappedLun;
use ferritectl::state::Target;
use ferritectl::state::Tpg;
use proptest::prelude::*;

fn tpg(path: &str) -> String {
    format!("iscsi/{TARGET}/tpgt_1/{path}")
}

/// What most tests begin with.
fn text(machine: &Machine) -> String {
    machine.file("s1", SECRET);
    machine.file("s2", SECRET_2);
    let (a, b) = (machine.disk("a"), machine.disk("b"));
    format!(
        r#"
[backstore.disk0]
device = "{a}"
serial = "serial-0"

[backstore."iblock_7/disk1"]
device = "{b}"
read_only = true
attributes = {{ emulate_tpu = true }}
port_groups.second = {{ id = 16, attributes = {{ alua_access_state = 2 }} }}

[target."{TARGET}".tpg.1]
portals = ["192.0.2.1", "[2001:db8::1]:3261"]
attributes = {{ login_timeout = 30, chap_algorithms = "SHA256,SHA3-256" }}
parameters = {{ MaxBurstLength = 65536, ImmediateData = true }}

[target."{TARGET}".tpg.1.luns]
0 = "disk0"
9 = {{ backstore = "iblock_7/disk1", port_group = "second", attributes = {{ max_iops = 500 }} }}

[target."{TARGET}".tpg.1.initiator."{CLIENT}"]
luns = {{ 0 = 0, 3 = {{ lun = 9, read_only = true }} }}
chap = {{ user = "bob", secret_file = "s1", mutual_user = "store", mutual_secret_file = "s2" }}

[target."{TARGET}".tpg.1.group.web]
members = ["iqn.2026-01.org.example:web*"]
luns = [0]
"#
    )
}

#[test]
fn a_file_is_applied_once() {
    let machine = Machine::new();
    let file = machine.file("f.toml", &text(&machine));
    let before = machine.snapshot();
    machine
        .run(&format!("diff {file}"))
        .fails(9, "+ create backstore iblock_0/disk0");
    let said = machine.run(&format!("apply {file} --dry-run")).ok();
    assert!(said.contains("nobody is interrupted"), "{said}");
    assert_eq!(machine.snapshot(), before);
    machine.run(&format!("apply {file}")).ok();
    assert_eq!(machine.value(&tpg("enable")), "1");
    assert_eq!(machine.value(&tpg("attrib/login_timeout")), "30");
    assert_eq!(machine.value(&tpg("param/ImmediateData")), "Yes");
    assert!(machine.exists(&tpg("np/192.0.2.1:3260")));
    assert!(machine.exists(&tpg("lun/lun_9/disk1")));
    let acl = tpg(&format!("acls/{CLIENT}"));
    assert_eq!(machine.value(&format!("{acl}/lun_3/write_protect")), "1");
    assert_eq!(machine.value(&format!("{acl}/auth/userid_mutual")), "store");
    assert_eq!(
        machine.value(&tpg("acls/@web/attrib/members")),
        "iqn.2026-01.org.example:web*"
    );
    let after = machine.snapshot();
    assert_eq!(
        machine.run(&format!("apply {file}")).ok(),
        "nothing to change\n"
    );
    // The same members whether there is anything to do or not.
    let said = machine.run(&format!("apply {file} --json")).json();
    let nothing = serde_json::json!({"changes": [], "problems": [], "left_alone": []});
    assert_eq!(said, nothing);
    let said = machine.run(&format!("apply {file} --json --dry-run"));
    let nothing = serde_json::json!({"dry_run": true, "changes": []});
    assert_eq!(said.json(), nothing);
    assert_eq!(machine.run(&format!("diff {file}")).ok(), "no difference\n");
    assert_eq!(machine.snapshot(), after);
}

#[test]
fn all_of_a_group_are_named() {
    let machine = Machine::new();
    let whole = text(&machine);
    let file = machine.file("f.toml", &whole);
    machine.run(&format!("apply {file}")).ok();
    let session = |number: u32| {
        format!("session {number}\ninitiator iqn.2026-01.org.example:web{number}\ndynamic 0\nacl @web\n")
    };
    let sessions: String = (0..9).map(session).collect();
    machine.show(&tpg("sessions"), &sessions);
    let group = format!("[target.\"{TARGET}\".tpg.1.group.web]");
    let file = machine.file("f.toml", whole.split(&group).next().unwrap());
    let said = machine.run(&format!("apply {file}"));
    let said = said.fails(5, "interrupts 9 initiators");
    assert!(said.contains("iqn.2026-01.org.example:web8"), "{said}");
}

#[test]
fn what_the_file_does_not_have_goes() {
    let machine = Machine::new();
    let whole = text(&machine);
    let file = machine.file("f.toml", &whole);
    machine.run(&format!("apply {file}")).ok();
    let fewer = whole.replace(", 3 = { lun = 9, read_only = true }", "");
    let file = machine.file("f.toml", &fewer);
    let said = machine.run(&format!("apply {file}")).ok();
    assert!(said.contains("- remove mapped LUN 3"), "{said}");
    assert!(said.contains("0 added, 0 changed, 1 removed"), "{said}");
    assert!(!machine.exists(&tpg(&format!("acls/{CLIENT}/lun_3"))));
    let file = machine.file("f.toml", "");
    machine.run(&format!("apply {file}")).ok();
    assert!(!machine.snapshot().contains(TARGET));
    assert!(!machine.snapshot().contains("disk0"));
}

#[test]
fn whoever_is_interrupted_is_named_and_asked_for() {
    let machine = Machine::new();
    let whole = text(&machine);
    let file = machine.file("f.toml", &whole);
    machine.run(&format!("apply {file}")).ok();
    machine.log_in(&tpg(&format!("acls/{CLIENT}")));
    // What only adds interrupts nobody.
    let more = whole.replace("luns = [0]", "luns = [0, 9]");
    let file = machine.file("f.toml", &more);
    machine.run(&format!("apply {file}")).ok();
    assert!(machine.confirms.borrow().is_empty());
    let before = machine.snapshot();
    let fewer = more.replace(", 3 = { lun = 9, read_only = true }", "");
    let file = machine.file("f.toml", &fewer);
    let said = machine.run(&format!("apply {file}")).fails(5, "--yes");
    assert!(said.contains(&format!("interrupts {CLIENT}")), "{said}");
    assert_eq!(machine.confirms.borrow().len(), 1);
    assert_eq!(machine.snapshot(), before);
    let json = machine
        .run(&format!("apply {file} --dry-run --json"))
        .json();
    assert_eq!(json["changes"][0]["interrupts"][0], CLIENT);
    machine.says_yes.set(true);
    machine.run(&format!("apply {file}")).ok();
    assert_ne!(machine.snapshot(), before);
    let file = machine.file("f.toml", "");
    machine.says_yes.set(false);
    machine.run(&format!("apply {file} --yes")).ok();
    assert!(!machine.snapshot().contains(TARGET));
}

#[test]
fn another_device_is_no_interruption_where_the_kernel_can_replace_it() {
    for replaces in [true, false] {
        let machine = Machine::new();
        machine.rules.borrow_mut().replaces = replaces;
        let whole = text(&machine);
        let file = machine.file("f.toml", &whole);
        machine.run(&format!("apply {file}")).ok();
        machine.log_in(&tpg(&format!("acls/{CLIENT}")));
        let (old, new) = (machine.disk("a"), machine.disk("new"));
        let file = machine.file("f.toml", &whole.replace(&old, &new));
        let ran = machine.run(&format!("apply {file}"));
        if !replaces {
            ran.fails(5, "--yes");
            continue;
        }
        let said = ran.ok();
        assert!(
            said.contains("0 added, 1 changed, 0 removed; nobody"),
            "{said}"
        );
        assert!(
            said.contains(&format!("from {old} to {new}, live")),
            "{said}"
        );
        assert_eq!(machine.value("core/iblock_0/disk0/udev_path"), new);
        assert_eq!(
            machine.run(&format!("apply {file}")).ok(),
            "nothing to change\n"
        );
        // What else differs has it made anew.
        let more = whole.replace(
            "serial = \"serial-0\"",
            "serial = \"serial-0\"\nshared = true",
        );
        let file = machine.file("f.toml", &more);
        machine.run(&format!("apply {file}")).fails(5, "--yes");
        // A failure after it puts the old device back.
        let other = whole.replace(&old, &machine.disk("third"));
        let other = other.replace("MaxBurstLength = 65536", "MaxBurstLength = 131072");
        let file = machine.file("f.toml", &other);
        let before = machine.snapshot();
        let end = "param/MaxBurstLength";
        machine.rules.borrow_mut().fail("write", end, 22);
        machine
            .run(&format!("apply {file}"))
            .fails(1, "everything is as it was before");
        assert_eq!(machine.snapshot(), before);
    }
}

#[test]
fn a_failure_leaves_what_was_there() {
    for (operation, end) in [
        ("write", "param/MaxBurstLength"),
        ("ln", "lun_9/disk1"),
        ("write", "tpgt_1/enable"),
    ] {
        let machine = Machine::new();
        machine.typical();
        machine.run(&format!("acl create {TARGET} {OTHER}")).ok();
        machine.run(&format!("tpg disable {TARGET}")).ok();
        let disabled = machine.snapshot();
        machine.rules.borrow_mut().fail(operation, end, 22);
        let file = machine.file("f.toml", &text(&machine));
        let said = machine
            .run(&format!("apply {file}"))
            .fails(1, "everything is as it was before");
        assert!(said.contains("refused"), "{said}");
        let unset = |text: &str| text.replace("\"NULL\\n\"", "\"\\n\"");
        assert_eq!(unset(&machine.snapshot()), unset(&disabled), "{end}");
    }
}

#[test]
fn bad_files_name_key_line_and_rule() {
    let machine = Machine::new();
    let whole = text(&machine);
    let before = machine.snapshot();
    for (from, to, says) in [
        ("serial = ", "serail = ", "unknown field `serail`"),
        ("login_timeout = 30", "login_timeout = [30]", "whole number"),
        ("\n9 = ", "\n20000 = ", "0 to 16383"),
        (
            "0 = \"disk0\"",
            "0 = \"disk5\"",
            "luns.0: line 18: the file has no backstore \"disk5\"",
        ),
        (
            "lun = 9,",
            "lun = 8,",
            "luns.3: line 22: the portal group has no LUN 8",
        ),
        (
            "secret_file = \"s1\"",
            "secret = \"hunter2hunter2\"",
            "must not stand in this file",
        ),
        (
            "secret_file = \"s1\"",
            "secret_env = \"FERRITE_NONE\"",
            "FERRITE_NONE",
        ),
        ("secret_file = \"s1\"", "secret_file = \"gone\"", "gone"),
        (
            ", secret_file = \"s1\"",
            "",
            "`secret_file` or `secret_env` is needed",
        ),
        ("\"192.0.2.1\"", "\"192.0.2.999\"", "192.0.2.999"),
        ("web*\"", "web*\", \"x\"", "\"x\""),
        (
            "port_group = \"second\"",
            "port_group = \"none\"",
            "luns.9.port_group: line 19: the file has no target port group none",
        ),
        (
            "portals = [\"192.0.2.1\", ",
            "portals = [{ address = \"192.0.2.1\", atributes = {} }, ",
            "a table with `address` and `attributes`, is needed",
        ),
        ("id = 16", "id = ", "line 10"),
    ] {
        assert!(whole.contains(from), "{from}");
        let file = machine.file("f.toml", &whole.replacen(from, to, 1));
        let said = machine.run(&format!("apply {file}")).fails(8, says);
        assert!(said.contains("f.toml"), "{said}");
        // The line of what was put there, or of what it is missing in.
        let at = whole.find(from).unwrap() + (from.len() - from.trim_start().len());
        let line = whole[..at].matches('\n').count() + 1;
        assert!(said.contains(&format!("line {line}")), "{line}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert_eq!(machine.snapshot(), before);
    let file = machine.file("f.json", r#"{"backstore": {"a": {"device": 3}}}"#);
    let said = machine
        .run(&format!("apply {file}"))
        .fails(8, "backstore.a.device");
    assert!(said.contains("line 1 column"), "{said}");
    // By rules of ours, of what JSON itself has nothing against.
    for (text, says) in [
        (
            "{\"backstore\": {\n\"a\": {\n\"device\": \"vda\"}}}",
            "backstore.a.device: line 3: device path \"vda\"",
        ),
        (
            "{\"target\": {\n\"iqn.2026-01.a:b\": {\"tpg\": {\n\"70000\": {}}}}}",
            "line 3",
        ),
        (
            "{\"target\": {\n\"iqn.2026-01.a:b\": {\"tpg\": {\"1\":\n{\"portals\": [\n\"::\",\n\"x\"]}}}}}",
            "tpg.1.portals[1]: line 5: portal \"x\"",
        ),
    ] {
        let file = machine.file("f.json", text);
        machine.run(&format!("apply {file}")).fails(8, says);
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(machine.path("s1"), mode).unwrap();
    let file = machine.file("f.toml", &whole);
    machine.run(&format!("apply {file}")).fails(8, "chmod 600");
}

/// The second would silently win.
#[test]
fn nothing_may_stand_in_a_file_twice() {
    let machine = Machine::new();
    let upper = TARGET.replace("iqn", "IQN");
    for (name, text, says) in [
        (
            "f.toml",
            format!("[target.\"{TARGET}\".tpg.1]\n[target.\"{upper}\".tpg.2]\n"),
            format!("{TARGET} stands here twice"),
        ),
        (
            "f.toml",
            format!(
                "[target.\"{TARGET}\".tpg.1.initiator]\n\"{CLIENT}\" = {{}}\n\"{}\" = {{}}\n",
                CLIENT.to_ascii_uppercase()
            ),
            format!("{CLIENT} stands here twice"),
        ),
        (
            "f.json",
            "{\"backstore\": {\"a\": {\"device\": \"/a\"},\n\"a\": {\"device\": \"/b\"}}}".into(),
            "a stands here twice".into(),
        ),
        (
            "f.json",
            format!(
                "{{\"target\": {{\"{TARGET}\": {{\"tpg\": {{\"1\": {{}}, \"2\": {{}},\n\"1\": {{}}}}}}}}}}"
            ),
            "1 stands here twice".into(),
        ),
    ] {
        let file = machine.file(name, &text);
        let said = machine.run(&format!("apply {file}")).fails(8, &says);
        assert!(said.contains("line "), "{said}");
    }
}

/// Applies files in which a value of a backstore is each of these, one after the other; what
/// was said for each.
fn changed_in_place(key: &str, values: &[&str]) -> Vec<String> {
    let machine = Machine::new();
    let whole = text(&machine);
    let file = machine.file("f.toml", &whole);
    machine.run(&format!("apply {file}")).ok();
    let mut said = Vec::new();
    for value in values {
        let serial = "serial = \"serial-0\"";
        let text = whole.replace(serial, &format!("{serial}\n{key} = {value:?}"));
        let file = machine.file("f.toml", &text);
        said.push(machine.run(&format!("apply {file}")).ok());
        assert_eq!(&machine.value(&format!("core/iblock_0/disk0/{key}")), value);
        let again = machine.run(&format!("apply {file}")).ok();
        assert_eq!(again, "nothing to change\n");
    }
    said
}

#[test]
fn a_second_name_is_changed_in_place() {
    let said = changed_in_place("alias", &["one", "another"]);
    assert!(said[0].contains("alias=one"), "{said:?}");
    assert!(said[1].contains("alias=another"), "{said:?}");
}

#[test]
fn a_map_is_changed_and_taken_away_in_place() {
    changed_in_place("lba_map", &["0 0\n0 99 0:O\n100 199 0:U", ""]);
}

#[test]
fn what_is_not_as_it_was_is_told() {
    let machine = Machine::new();
    machine.rules.borrow_mut().hide_secrets = true;
    let whole = text(&machine);
    let file = machine.file("f.toml", &whole);
    machine.run(&format!("apply {file}")).ok();
    let before = machine.snapshot();
    // A signal after something was removed already.
    let other = whole.replace("luns = [0]", "luns = []");
    let other = other.replace("65536", "131072");
    let file = machine.file("f.toml", &other);
    machine.interrupt_at("rmdir", "acls/@web/lun_0");
    let said = machine
        .run(&format!("apply {file}"))
        .fails(1, "everything is as it was before");
    assert!(said.contains("interrupted"), "{said}");
    assert_eq!(machine.snapshot(), before);
    // Nobody knows a secret that another program has set.
    machine.rules.borrow_mut().signal = None;
    machine
        .interrupted
        .store(false, std::sync::atomic::Ordering::Relaxed);
    std::fs::remove_dir_all(machine.path("run")).unwrap();
    let other = other.replace(CLIENT, OTHER);
    let file = machine.file("f.toml", &other);
    machine
        .rules
        .borrow_mut()
        .fail("write", "param/MaxBurstLength", 22);
    let said = machine
        .run(&format!("apply {file} --yes"))
        .fails(6, "not as it was before");
    assert!(
        said.contains(&format!("the secret of CHAP name bob of ACL {CLIENT}")),
        "{said}"
    );
}

#[test]
fn a_way_that_closes_interrupts_those_who_take_it() {
    let machine = Machine::new();
    let whole = text(&machine);
    let open = whole.replace("alua_access_state = 2", "alua_access_state = 0");
    let file = machine.file("f.toml", &open);
    machine.run(&format!("apply {file}")).ok();
    machine.log_in(&tpg(&format!("acls/{CLIENT}")));
    let slower = open.replace("alua_access_state = 0", "alua_access_state = 1");
    let file = machine.file("f.toml", &slower);
    machine.run(&format!("apply {file}")).ok();
    let file = machine.file("f.toml", &whole);
    let said = machine.run(&format!("apply {file}")).fails(5, "--yes");
    assert!(said.contains(&format!("interrupts {CLIENT}")), "{said}");
    machine.run(&format!("apply {file} --yes")).ok();
}

#[test]
fn json_is_taken_as_well() {
    let machine = Machine::new();
    let disk = machine.disk("a");
    let text = format!(
        r#"{{"backstore": {{"a": {{"device": "{disk}"}}}},
            "target": {{"{TARGET}": {{"tpg": {{"1": {{"luns": {{"0": "a"}}}}}}}}}}}}"#
    );
    let file = machine.file("config", &text);
    machine.run(&format!("apply {file}")).ok();
    assert!(machine.exists(&tpg("lun/lun_0/a")));
}

#[test]
fn many_luns_are_no_matter() {
    let machine = Machine::new();
    let mut text = String::new();
    for n in 0..100 {
        let disk = machine.disk(&format!("d{n}"));
        writeln!(text, "[backstore.d{n}]\ndevice = \"{disk}\"").unwrap();
    }
    writeln!(text, "[target.\"{TARGET}\".tpg.1.luns]").unwrap();
    for n in 0..100 {
        writeln!(text, "{n} = \"d{n}\"").unwrap();
    }
    let file = machine.file("f.toml", &text);
    machine.run(&format!("apply {file}")).ok();
    assert!(machine.exists(&tpg("lun/lun_99/d99")));
    // Nothing is read of what is removed.
    machine.rules.borrow_mut().reads = 0;
    machine.run("clear --yes").ok();
    assert!(!machine.exists(&tpg("")));
    assert!(machine.rules.borrow().reads < 100);
}

fn attributes() -> impl Strategy<Value = Attributes> {
    proptest::collection::btree_map("[a-z_]{1,12}", "[ -~]{0,20}", 0..3)
        .prop_map(|map| Attributes(map.into_iter().filter(|(k, _)| k != "members").collect()))
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let backstores = proptest::collection::btree_map(
        (0u32..9, "[a-z][a-z0-9_-]{0,8}"),
        (any::<bool>(), any::<bool>(), attributes(), attributes()),
        0..5,
    );
    let tpg = (
        any::<bool>(),
        proptest::option::of(1u16..),
        attributes(),
        attributes(),
        proptest::collection::btree_map(0u64..16384, any::<prop::sample::Index>(), 0..5),
        proptest::collection::btree_map(
            "(iqn\\.2026-01\\.org\\.example:|@)[a-z]{1,6}",
            (
                proptest::option::of(1u32..512),
                proptest::collection::btree_map(
                    0u64..16384,
                    (any::<prop::sample::Index>(), any::<bool>()),
                    0..4,
                ),
            ),
            0..4,
        ),
        proptest::collection::btree_set(1u16.., 0..3),
    );
    let targets = proptest::collection::btree_map(
        "iqn\\.2026-01\\.org\\.example:[a-z]{1,6}",
        proptest::collection::btree_map(any::<u16>(), tpg, 0..3),
        0..3,
    );
    (backstores, targets).prop_map(|(backstores, targets)| {
        let mut made = Configuration::default();
        for ((hba, name), (read_only, exclusive, wwn, attributes)) in backstores {
            let backstore = Backstore {
                path: format!("/dev/{name}"),
                read_only,
                exclusive,
                enabled: true,
                wwn,
                attributes,
                ..Backstore::default()
            };
            made.backstores.insert(BackstoreId { hba, name }, backstore);
        }
        let ids: Vec<_> = made.backstores.keys().cloned().collect();
        for (name, tpgs) in targets {
            let mut target = Target::default();
            for (tag, (enabled, rtpi, attributes, parameters, luns, acls, ports)) in tpgs {
                let mut tpg = Tpg {
                    enabled,
                    rtpi,
                    attributes,
                    parameters,
                    ..Tpg::default()
                };
                for port in ports {
                    let portal = Portal::parse(&format!("192.0.2.1:{port}")).unwrap();
                    tpg.portals.insert(portal, Attributes::default());
                }
                if !ids.is_empty() {
                    for (number, at) in luns {
                        let lun = Lun::new(at.get(&ids).clone(), None);
                        tpg.luns.insert(number, lun);
                    }
                }
                let numbers: Vec<u64> = tpg.luns.keys().copied().collect();
                for (name, (cmdsn_depth, mapped)) in acls {
                    let name = Name::parse_acl(&name).unwrap();
                    let mut acl = Acl {
                        cmdsn_depth,
                        ..Acl::default()
                    };
                    if name.is_group() {
                        let members = "iqn.2026-01.org.example:*".to_string();
                        acl.attributes.0.insert("members".into(), members);
                    }
                    if !numbers.is_empty() {
                        for (number, (at, write_protect)) in mapped {
                            let lun = MappedLun {
                                lun: *at.get(&numbers),
                                write_protect,
                                link: None,
                            };
                            acl.mapped_luns.insert(number, lun);
                        }
                    }
                    tpg.acls.insert(name, acl);
                }
                target.tpgs.insert(tag, tpg);
            }
            made.targets.insert(Name::parse(&name).unwrap(), target);
        }
        made
    })
}

proptest! {
    /// A configuration is written as a file that means the same.
    #[test]
    fn files_round_trip(made in configuration()) {
        let text = Declared::of(&made, &mut |_, _| Ok(None)).unwrap().to_toml().unwrap();
        let path = Path::new("f.toml");
        let sources = Sources { dir: Path::new("."), env: &|_| None, text: &text };
        let declared = declared::parse(path, &text).unwrap();
        // Where the backstores are is said by what there is.
        let again = declared.resolve(path, &made, &sources).unwrap();
        prop_assert_eq!(&again, &made, "{}", text);
        let json = serde_json::to_string(&declared).unwrap();
        prop_assert_eq!(declared::parse(Path::new("f.json"), &json).unwrap(), declared);
    }

    /// Any text is a file, or refused with the file's name.
    #[test]
    fn any_text_is_survived(text in "([a-z\\[\\]\\.=\"{},0-9 \n-]){0,80}") {
        if let Err(error) = declared::parse(Path::new("the-file"), &text) {
            prop_assert_eq!(error.exit_code().code(), 8);
            prop_assert!(error.to_string().contains("the-file"));
        }
    }
}
