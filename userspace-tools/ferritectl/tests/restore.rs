// SPDX-License-Identifier: GPL-2.0

//! Saving and restoring over a stand-in for configfs.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::Machine;
use common::CLIENT;
use common::OTHER;
use common::SECRET;
use common::TARGET;
use ferritectl::delta;
use ferritectl::files;
use ferritectl::names::BackstoreId;
use ferritectl::names::Name;
use ferritectl::names::Portal;
use ferritectl::secret::Secret;
use ferritectl::state::Acl;
use ferritectl::state::Attributes;
use ferritectl::state::Auth;
use ferritectl::state::Backstore;
use ferritectl::state::Configuration;
use ferritectl::state::Credentials;
use ferritectl::state::Lun;
use ferritectl::state::MappedLun;
use ferritectl::state::Target;
use ferritectl::state::TargetPortGroup;
use ferritectl::state::Tpg;
use proptest::prelude::*;

const EINVAL: i32 = 22;
const EBUSY: i32 = 16;

fn tpg(path: &str) -> String {
    format!("iscsi/{TARGET}/tpgt_1/{path}")
}

/// A target with everything that can be set set.
fn rich(machine: &Machine) -> String {
    machine.typical();
    let disk = machine.disk("b");
    for line in [
        format!(
            "backstore create iblock_5/disk1 {disk} --read-only --shared --vendor V --product P"
        ),
        "backstore set disk1 emulate_tpu=1 alias=second company_id=0x0050c2".into(),
        format!("lun create {TARGET} disk1 --lun 9 --link other_name"),
        "alua create disk1 second --id 16 --state standby --set preferred=1".into(),
        "alua create disk1 third --set alua_access_type=2 --state nonoptimized".into(),
        "alua set disk0 default_tg_pt_gp nonop_delay_msecs=5".into(),
        format!("alua join {TARGET} 9 second"),
        format!("alua offline {TARGET} 9"),
        format!("lun set {TARGET} 9 max_iops=500 max_bytes_per_second=1048576"),
        format!("acl map {TARGET} {CLIENT} 9 --as 3 --read-only"),
        format!("acl create {TARGET} {OTHER}"),
        format!(
            "acl set {TARGET} {OTHER} cmdsn_depth=32 tag=rack authentication=0 nopin_timeout=3"
        ),
        format!("tpg disable {TARGET}"),
        format!("tpg set {TARGET} rtpi=77 login_timeout=30 MaxBurstLength=65536 TargetAlias=Big"),
        format!("tpg set {TARGET} chap_algorithms=SHA256"),
        format!("tpg enable {TARGET}"),
        format!("portal create {TARGET} [2001:db8::1]:3261"),
        format!("tpg create {TARGET} 300"),
        format!(
            "auth set --discovery --user d --secret-file {} --enforce",
            machine.file("d", SECRET)
        ),
    ] {
        machine.run(&line).ok();
    }
    let file = machine.path("saved.json").display().to_string();
    machine.run(&format!("save {file}")).ok();
    file
}

#[test]
fn what_was_saved_comes_back() {
    let machine = Machine::new();
    let file = rich(&machine);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = machine.snapshot();
    machine.run("clear --yes").ok();
    assert!(!machine.snapshot().contains(TARGET));
    machine.run(&format!("restore {file}")).ok();
    let unset = |text: String| text.replace("\"NULL\\n\"", "\"\\n\"");
    assert_eq!(unset(machine.snapshot()), unset(before));
    let again = machine.path("again.json").display().to_string();
    machine.run(&format!("save {again}")).ok();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        fs::read_to_string(&again).unwrap()
    );
    // Identity, spelled out.
    assert_eq!(machine.value(&tpg("rtpi")), "0x4d");
    assert_eq!(
        machine.value("core/iblock_5/disk1/wwn/company_id"),
        "0x0050c2"
    );
    assert_eq!(
        machine.value(&tpg(&format!("acls/{CLIENT}/lun_3/write_protect"))),
        "1"
    );
    assert!(machine.exists(&tpg("lun/lun_9/other_name")));
}

#[test]
fn restoring_twice_changes_nothing() {
    let machine = Machine::new();
    let file = rich(&machine);
    assert_eq!(
        machine.run(&format!("restore {file}")).ok(),
        "nothing to change\n"
    );
    machine.run("clear --yes").ok();
    machine.run(&format!("restore {file}")).ok();
    let before = machine.snapshot();
    machine.rules.borrow_mut().journal.clear();
    assert_eq!(
        machine.run(&format!("restore {file}")).ok(),
        "nothing to change\n"
    );
    assert_eq!(machine.snapshot(), before);
    let journal = machine.rules.borrow().journal.clone();
    assert!(journal.is_empty(), "{journal:?}");
    let json = machine.run(&format!("restore {file} --json")).json();
    assert_eq!(json["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn one_target_alone() {
    const SECOND: &str = "iqn.2026-01.org.example:second";
    let machine = Machine::new();
    rich(&machine);
    let disk = machine.disk("c");
    for line in [
        format!("backstore create iblock_7/disk2 {disk}"),
        format!("target create {SECOND}"),
        format!("lun create {SECOND} disk2"),
        format!("lun create {SECOND} disk0 --lun 4"),
    ] {
        machine.run(&line).ok();
    }
    let file = machine.path("both.json").display().to_string();
    machine.run(&format!("save {file}")).ok();

    machine.run("clear --yes").ok();
    machine
        .run(&format!("restore {file} --target {SECOND}"))
        .ok();
    let now = machine.snapshot();
    assert!(now.contains(SECOND) && !now.contains(TARGET));
    assert!(now.contains("disk0") && now.contains("disk2") && !now.contains("disk1"));

    // Nothing of the other target is touched, not even what both use.
    machine.run(&format!("restore {file}")).ok();
    let before = machine.snapshot();
    machine
        .run(&format!("lun create {SECOND} disk1 --lun 6"))
        .ok();
    machine
        .run(&format!("restore {file} --target {SECOND} --replace"))
        .ok();
    assert_eq!(machine.snapshot(), before);

    machine
        .run(&format!(
            "restore {file} --target iqn.2026-01.org.example:none"
        ))
        .fails(3, "does not exist");
}

#[test]
fn disks_that_come_late_are_waited_for() {
    let machine = Machine::new();
    let file = rich(&machine);
    let before = machine.snapshot();
    machine.run("clear --yes").ok();
    let disk = machine.path("dev").join("b");
    fs::remove_file(&disk).unwrap();
    let late = std::thread::spawn({
        let disk = disk.clone();
        move || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            fs::write(disk, "").unwrap();
        }
    });
    let told = machine.run(&format!("restore {file} --wait 600")).ok();
    late.join().unwrap();
    assert!(
        told.contains(&format!("waiting for {}, 600 s", disk.display())),
        "{told}"
    );
    assert_eq!(machine.snapshot(), before);
    // With everything there, nothing is said about it.
    let told = machine.run(&format!("restore {file} --wait 600")).ok();
    assert!(!told.contains("waiting"), "{told}");
}

#[test]
fn a_disk_that_does_not_come_is_given_up() {
    let machine = Machine::new();
    let file = rich(&machine);
    machine.run("clear --yes").ok();
    fs::remove_file(machine.path("dev").join("b")).unwrap();
    let begin = std::time::Instant::now();
    machine
        .run(&format!("restore {file} --wait 1"))
        .fails(6, "disk1");
    assert!(begin.elapsed() >= std::time::Duration::from_secs(1));
    assert!(machine.exists(&tpg("lun/lun_0")));
    // The notice is no part of the answer.
    let ran = machine.run(&format!("restore {file} --wait 1 --json"));
    assert_eq!(ran.code, 6, "{ran:?}");
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(answer["problems"].is_array());
    assert!(ran.err.contains("waiting for"), "{}", ran.err);
    // Nobody waits for what is only to be shown.
    machine
        .run(&format!("--dry-run restore {file} --wait 3600"))
        .ok();
}

#[test]
fn a_missing_disk_costs_its_own_luns_only() {
    let machine = Machine::new();
    let file = rich(&machine);
    machine.run("clear --yes").ok();
    fs::remove_file(machine.path("dev/a")).unwrap();
    let said = machine
        .run(&format!("restore {file}"))
        .fails(6, "backstore iblock_0/disk0: the kernel refused to open");
    assert!(said.contains("LUN 0 of TPG 1"), "{said}");
    assert!(
        said.contains("backstore iblock_0/disk0 could not be made as wanted"),
        "{said}"
    );
    assert!(said.contains("mapped LUN 0 of ACL"), "{said}");
    assert!(said.contains("3 things could not be restored"), "{said}");
    assert!(!machine.exists("core/iblock_0"));
    assert!(!machine.exists(&tpg("lun/lun_0")));
    assert!(machine.exists(&tpg("lun/lun_9")));
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}/lun_3"))));
    assert_eq!(machine.value(&tpg("enable")), "1");
    // Once the disk is back, the same command brings the rest.
    machine.disk("a");
    machine.run(&format!("restore {file}")).ok();
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}/lun_0"))));
    assert_eq!(
        machine.run(&format!("restore {file}")).ok(),
        "nothing to change\n"
    );
}

#[test]
fn a_setting_that_is_refused_costs_itself_only() {
    let machine = Machine::new();
    let file = rich(&machine);
    machine.run("clear --yes").ok();
    for end in ["attrib/emulate_tpu", "param/MaxBurstLength", "cmdsn_depth"] {
        machine.rules.borrow_mut().fail("write", end, EINVAL);
    }
    let said = machine
        .run(&format!("restore {file}"))
        .fails(6, "emulate_tpu");
    assert!(
        said.contains("MaxBurstLength") && said.contains("cmdsn_depth"),
        "{said}"
    );
    assert_eq!(machine.value(&tpg("enable")), "1");
    assert_eq!(machine.value(&tpg("attrib/login_timeout")), "30");
    assert_eq!(machine.value(&tpg(&format!("acls/{OTHER}/tag"))), "rack");
}

#[test]
fn access_control_fails_closed() {
    for end in [
        "tpgt_1/attrib/chap_algorithms".to_string(),
        "tpgt_1/rtpi".into(),
    ] {
        let machine = Machine::new();
        let file = rich(&machine);
        machine.run("clear --yes").ok();
        machine.rules.borrow_mut().fail("write", &end, EINVAL);
        let said = machine
            .run(&format!("restore {file}"))
            .fails(6, end.rsplit('/').next().unwrap());
        assert!(said.contains("not enabled"), "{said}");
        assert_eq!(machine.value(&tpg("enable")), "0", "{end}");
        assert!(machine.exists(&tpg("np/192.0.2.1:3260")));
    }
    // An ACL without its secret, or with authentication in doubt, is none.
    for end in [
        format!("acls/{CLIENT}/auth/password"),
        format!("acls/{CLIENT}/auth/userid"),
    ] {
        let machine = Machine::new();
        let file = rich(&machine);
        machine.run("clear --yes").ok();
        machine.rules.borrow_mut().fail("write", &end, EINVAL);
        machine.run(&format!("restore {file}")).fails(6, "ACL");
        assert!(!machine.exists(&tpg(&format!("acls/{CLIENT}"))), "{end}");
        assert!(machine.exists(&tpg(&format!("acls/{OTHER}"))));
        assert_eq!(machine.value(&tpg("enable")), "1");
    }
    // A mapped LUN that should be read-only is not shown read-write.
    let machine = Machine::new();
    let file = rich(&machine);
    machine.run("clear --yes").ok();
    machine
        .rules
        .borrow_mut()
        .fail("write", "lun_3/write_protect", EINVAL);
    machine
        .run(&format!("restore {file}"))
        .fails(6, "write_protect");
    assert!(!machine.exists(&tpg(&format!("acls/{CLIENT}/lun_3"))));
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}/lun_0"))));
    // A disk under another serial number is another disk.
    let machine = Machine::new();
    let file = rich(&machine);
    machine.run("clear --yes").ok();
    machine
        .rules
        .borrow_mut()
        .fail("write", "disk0/wwn/vpd_unit_serial", EINVAL);
    machine
        .run(&format!("restore {file}"))
        .fails(6, "vpd_unit_serial");
    assert!(!machine.exists("core/iblock_0"));
    assert!(!machine.exists(&tpg("lun/lun_0")));
}

#[test]
fn what_the_file_lacks_stays_unless_replaced() {
    let machine = Machine::new();
    let file = rich(&machine);
    let disk = machine.disk("c");
    for line in [
        format!("backstore create extra {disk}"),
        format!("lun create {TARGET} extra --lun 4 --tpg 1"),
        format!("acl map {TARGET} {CLIENT} 4 --tpg 1"),
        format!("portal create {TARGET} :: --tpg 1"),
        format!("target create {OTHER}"),
    ] {
        machine.run(&line).ok();
    }
    let before = machine.snapshot();
    let said = machine.run(&format!("restore {file}")).ok();
    assert!(said.contains("left alone"), "{said}");
    for object in [
        "iblock_1/extra",
        "LUN 4",
        "mapped LUN 4",
        "portal [::]:3260",
        OTHER,
    ] {
        assert!(said.contains(object), "{said} lacks {object}");
    }
    assert_eq!(machine.snapshot(), before);
    machine.run(&format!("restore {file} --replace")).ok();
    assert!(!machine.exists("core/iblock_1"));
    assert!(!machine.exists(&format!("iscsi/{OTHER}")));
    let again = machine.path("again.json").display().to_string();
    machine.run(&format!("save {again}")).ok();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        fs::read_to_string(&again).unwrap()
    );
}

#[test]
fn what_cannot_change_in_place_is_a_conflict_unless_replaced() {
    let machine = Machine::new();
    let file = rich(&machine);
    let disk = machine.disk("c");
    for line in [
        format!("acl unmap {TARGET} {CLIENT} 0 --tpg 1"),
        format!("lun delete {TARGET} 0 --tpg 1"),
        "backstore delete disk0".into(),
        // The same name on another disk: its LUN must not appear.
        format!("backstore create iblock_0/disk0 {disk} --serial serial-0"),
    ] {
        machine.run(&line).ok();
    }
    let said = machine
        .run(&format!("restore {file}"))
        .fails(6, "backstore iblock_0/disk0: its device is");
    assert!(said.contains("--replace"), "{said}");
    assert!(!machine.exists(&tpg("lun/lun_0")));
    machine.run(&format!("restore {file} --replace")).ok();
    assert_eq!(
        machine.value("core/iblock_0/disk0/udev_path"),
        machine.path("dev/a").display().to_string()
    );
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}/lun_0"))));
    assert_eq!(
        machine.run(&format!("restore {file}")).ok(),
        "nothing to change\n"
    );
}

#[test]
fn an_identifier_changes_only_while_nobody_is_logged_in() {
    let machine = Machine::new();
    let file = rich(&machine);
    for line in [
        format!("tpg disable {TARGET} 1"),
        format!("tpg set {TARGET} rtpi=5 --tpg 1"),
        format!("tpg enable {TARGET} 1"),
    ] {
        machine.run(&line).ok();
    }
    machine
        .run(&format!("restore {file}"))
        .fails(6, "cannot change while");
    assert_eq!(machine.value(&tpg("enable")), "1");
    machine.run(&format!("restore {file} --replace")).ok();
    assert_eq!(machine.value(&tpg("rtpi")), "0x4d");
    assert_eq!(machine.value(&tpg("enable")), "1");
}

#[test]
fn bad_files_apply_nothing() {
    let machine = Machine::new();
    let file = rich(&machine);
    let good = fs::read_to_string(&file).unwrap();
    machine.run("clear --yes").ok();
    let before = machine.snapshot();
    for (what, text, says) in [
        ("torn", good[..good.len() / 2].to_string(), "line"),
        (
            "a foreign key",
            good.replacen("\"read_only\"", "\"readonly\"", 1),
            "readonly",
        ),
        ("a bad name", good.replace(TARGET, "nonsense"), "nonsense"),
        (
            "a lost disk",
            good.replacen("\"iblock_0/disk0\": {", "\"iblock_8/disk0\": {", 1),
            "iblock_0/disk0",
        ),
        (
            "a later format",
            good.replacen("\"format_version\": 1", "\"format_version\": 2", 1),
            "format_version is 2",
        ),
        ("nothing", String::new(), "EOF"),
    ] {
        assert_ne!(text, good, "{what}");
        let bad = machine.file("bad.json", &text);
        let said = machine.run(&format!("restore {bad}")).fails(8, says);
        assert!(said.contains("bad.json"), "{what}: {said}");
        assert_eq!(machine.snapshot(), before, "{what}");
    }
    machine.run("restore /nonexistent").fails(8, "/nonexistent");
}

#[test]
fn a_file_that_others_may_read_is_noticed() {
    let machine = Machine::new();
    let file = rich(&machine);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = machine.run(&format!("restore {file}"));
    assert!(ran.err.contains("chmod 600"), "{ran:?}");
    ran.ok();
}

#[test]
fn a_dry_restore_changes_nothing() {
    let machine = Machine::new();
    let file = rich(&machine);
    machine.run("clear --yes").ok();
    let before = machine.snapshot();
    let said = machine.run(&format!("restore {file} --dry-run")).ok();
    assert!(
        said.contains("would create backstore iblock_0/disk0"),
        "{said}"
    );
    assert!(said.contains("echo '(secret)' >"), "{said}");
    assert_eq!(machine.snapshot(), before);
}

/// Half of what another command is doing is no configuration.
#[test]
fn a_save_waits_for_who_is_changing() {
    let machine = Machine::new();
    machine.typical();
    let held = ferritectl::configfs::lock(&machine.path("root"), &machine.path("run")).unwrap();
    let time = std::time::Duration::from_millis(300);
    let begin = std::time::Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(time);
            drop(held);
        });
        machine
            .run(&format!("save {}", machine.path("saved").display()))
            .ok();
    });
    assert!(begin.elapsed() >= time);
}

#[test]
fn a_save_says_what_it_lacks() {
    let machine = Machine::new();
    machine.typical();
    let file = machine.path("saved.json").display().to_string();
    // Objects of a kind that is not handled.
    let other = machine.path("root/core/fileio_0/image");
    fs::create_dir_all(other).unwrap();
    machine
        .run(&format!("save {file}"))
        .fails(6, "fileio_0/image");
}

#[test]
fn secrets_that_the_kernel_hides() {
    let machine = Machine::new();
    machine.rules.borrow_mut().hide_secrets = true;
    let file = rich(&machine);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(SECRET), "what the program set, it can save");
    machine.run("clear --yes").ok();
    machine.run(&format!("restore {file}")).ok();
    let password = tpg(&format!("acls/{CLIENT}/auth/password"));
    assert_eq!(machine.value(&password), SECRET);
    assert_eq!(
        machine.run(&format!("restore {file}")).ok(),
        "nothing to change\n"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    // One that somebody else set cannot be saved, and is left alone.
    fs::remove_dir_all(machine.path("run")).unwrap();
    machine.show(&password, "of somebody else\n");
    let said = machine
        .run(&format!("save {file}"))
        .fails(6, "the secret of CHAP name bob");
    assert!(said.contains("auth set"), "{said}");
    let shown = machine
        .run(&format!("auth show {TARGET} --tpg 1 --acl {CLIENT}"))
        .ok();
    assert!(shown.contains("CHAP bob, mutual store\n"), "{shown}");
    machine.run(&format!("restore {file}")).ok();
    assert_eq!(machine.value(&password), "of somebody else");
    // But it can be replaced, and cleared.
    let secret = machine.file("s", SECRET);
    let scope = format!("{TARGET} --tpg 1 --acl {CLIENT}");
    machine
        .run(&format!(
            "auth set {scope} --user bob --secret-file {secret}"
        ))
        .ok();
    assert_eq!(machine.value(&password), SECRET);
    fs::remove_dir_all(machine.path("run")).unwrap();
    machine.run(&format!("auth clear {scope}")).ok();
    assert_eq!(machine.value(&password), "NULL");
}

#[test]
fn parameters_that_bound_each_other() {
    let machine = Machine::new();
    machine.typical();
    for line in [
        format!("tpg set {TARGET} MaxBurstLength=1048576"),
        format!("tpg set {TARGET} FirstBurstLength=524288"),
    ] {
        machine.run(&line).ok();
    }
    let file = machine.path("saved.json").display().to_string();
    machine.run(&format!("save {file}")).ok();
    machine.run("clear --yes").ok();
    // FirstBurstLength stands first in the file, and is too great at first.
    machine.run(&format!("restore {file}")).ok();
    assert_eq!(machine.value(&tpg("param/FirstBurstLength")), "524288");
}

#[test]
fn a_failed_removal_stops_what_needs_it() {
    let machine = Machine::new();
    let file = rich(&machine);
    machine.run(&format!("target create {OTHER}")).ok();
    machine
        .rules
        .borrow_mut()
        .fail("rmdir", &format!("{OTHER}/tpgt_1"), EBUSY);
    let said = machine
        .run(&format!("restore {file} --replace"))
        .fails(6, "remove TPG 1");
    assert!(said.contains("is still there"), "{said}");
    assert!(machine.exists(&format!("iscsi/{OTHER}")));
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn attributes(pairs: &[(&str, String)]) -> Attributes {
    Attributes(
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
    )
}

/// Any configuration out of a small world, so that two of them overlap.
fn configuration() -> impl Strategy<Value = Configuration> {
    let backstore = (0u32..2, 0usize..2, any::<bool>(), 0u8..3, any::<bool>());
    let acl = (
        any::<bool>(),
        prop::collection::btree_map(0u64..3, (0u64..3, any::<bool>()), 0..3),
        1u32..4,
        prop::option::of(0u8..2),
    );
    let tpg = (
        any::<bool>(),
        prop::option::of(1u16..4),
        prop::collection::btree_map(0u64..3, (0u32..2, 0usize..2), 0..3),
        prop::collection::btree_map(0usize..2, acl, 0..2),
        prop::collection::btree_set(0u8..3, 0..3),
        (10u8..13, any::<bool>()),
    );
    (
        prop::collection::vec(backstore, 0..4),
        prop::collection::btree_map((0usize..2, 1u16..3), tpg, 0..4),
        any::<bool>(),
    )
        .prop_map(|(backstores, tpgs, enforce)| build(backstores, tpgs, enforce))
}

/// The default group, and another one or two.
fn groups(seed: u8, explicit: bool) -> BTreeMap<String, TargetPortGroup> {
    let group = |id: u16, state: &str, kind: u8| TargetPortGroup {
        id: Some(id),
        attributes: attributes(&[
            ("alua_access_state", state.into()),
            ("alua_access_type", kind.to_string()),
            ("alua_support_standby", "1".into()),
            ("nonop_delay_msecs", seed.to_string()),
            ("preferred", "0".into()),
        ]),
    };
    let mut groups = BTreeMap::new();
    groups.insert("default_tg_pt_gp".to_string(), group(0, "0", 3));
    // The same name, sometimes with another identifier.
    let kind = if explicit { 2 } else { 3 };
    groups.insert("g".to_string(), group(1 + u16::from(seed / 2), "2", kind));
    if explicit {
        groups.insert(
            "h".to_string(),
            group(9, ["1", "3"][usize::from(seed % 2)], 2),
        );
    }
    groups
}

type BackstoreSeed = (u32, usize, bool, u8, bool);
type AclSeed = (bool, BTreeMap<u64, (u64, bool)>, u32, Option<u8>);
type TpgSeed = (
    bool,
    Option<u16>,
    BTreeMap<u64, (u32, usize)>,
    BTreeMap<usize, AclSeed>,
    std::collections::BTreeSet<u8>,
    (u8, bool),
);

fn build(
    backstores: Vec<BackstoreSeed>,
    tpgs: BTreeMap<(usize, u16), TpgSeed>,
    enforce: bool,
) -> Configuration {
    let mut config = Configuration::default();
    config.discovery_auth.enforce = enforce;
    config.discovery_auth.attributes = attributes(&[("chap_algorithms", "SHA256".into())]);
    let id = |hba: u32, at: usize| BackstoreId {
        hba,
        name: ["x", "y"][at].to_string(),
    };
    for (hba, at, read_only, disk, tpu) in backstores {
        config.backstores.insert(
            id(hba, at),
            Backstore {
                // Filled in by the test, which knows where the disks are.
                path: format!("disk-{hba}-{at}-{disk}"),
                read_only,
                exclusive: true,
                enabled: true,
                alias: None,
                lba_map: None,
                wwn: attributes(&[("vpd_unit_serial", format!("serial-{hba}-{at}"))]),
                attributes: attributes(&[("emulate_tpu", u8::from(tpu).to_string())]),
                target_port_groups: groups(disk, tpu),
                replaceable: false,
            },
        );
    }
    for ((target, tag), (enabled, rtpi, luns, acls, portals, (timeout, demo))) in tpgs {
        let mut tpg = Tpg {
            // Enabling is what makes the stand-in choose an identifier.
            enabled: enabled && rtpi.is_some(),
            rtpi,
            attributes: attributes(&[
                ("login_timeout", timeout.to_string()),
                ("generate_node_acls", u8::from(demo).to_string()),
            ]),
            ..Tpg::default()
        };
        for portal in portals {
            let portal = Portal::parse(&format!("192.0.2.{portal}")).unwrap();
            tpg.portals.insert(portal, Attributes::default());
        }
        for (number, (hba, at)) in luns {
            let backstore = id(hba, at);
            if config.backstores.contains_key(&backstore) {
                let link = Some(backstore.name.clone());
                let mut lun = Lun::new(backstore, link);
                let groups = &config.backstores[&lun.backstore].target_port_groups;
                lun.group = Some(["g", "h"][(number % 2) as usize].to_string())
                    .filter(|group| groups.contains_key(group));
                lun.offline = number == 2;
                for name in ["max_iops", "max_bytes_per_second"] {
                    let value = (number * 100_000).to_string();
                    lun.attributes.0.insert(name.into(), value);
                }
                tpg.luns.insert(number, lun);
            }
        }
        for (initiator, (chap, mapped, depth, tag)) in acls {
            let mut acl = Acl {
                cmdsn_depth: Some(depth),
                tag: tag.map(|tag| format!("tag{tag}")),
                ..Acl::default()
            };
            if chap {
                acl.auth = Auth {
                    initiator: Credentials {
                        user: Some(format!("user{depth}")),
                        secret: Some(Secret::new(format!("a long enough secret {depth}"))),
                        hidden: false,
                    },
                    target: Credentials::default(),
                };
            }
            for (number, (lun, write_protect)) in mapped {
                if tpg.luns.contains_key(&lun) {
                    let link = Some(format!("lun_{lun}"));
                    acl.mapped_luns.insert(
                        number,
                        MappedLun {
                            lun,
                            write_protect,
                            link,
                        },
                    );
                }
            }
            tpg.acls.insert(name([CLIENT, OTHER][initiator]), acl);
        }
        let target = name([TARGET, OTHER][target]);
        config
            .targets
            .entry(target)
            .or_insert_with(Target::default)
            .tpgs
            .insert(tag, tpg);
    }
    config
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// From any configuration to any other one, and then nothing is left to do.
    #[test]
    fn replace_leads_to_what_is_wanted(first in configuration(), second in configuration()) {
        let machine = Machine::new();
        for number in 0..12 {
            machine.disk(&format!("disk-{}-{}-{}", number / 6, number / 3 % 2, number % 3));
        }
        for mut wanted in [first, second] {
            for backstore in wanted.backstores.values_mut() {
                backstore.path = machine.path("dev").join(&backstore.path).display().to_string();
            }
            prop_assert_eq!(wanted.check(), Ok(()));
            let file = machine.file("wanted.json", &files::to_text(&wanted));
            let ran = machine.run(&format!("restore --replace {file}"));
            prop_assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
            let tree = machine.tree();
            let reached = ferritectl::configfs::Configfs::new(&tree).configuration().unwrap();
            let plan = delta::plan(&reached, &wanted, true);
            prop_assert_eq!(&plan, &delta::Plan::default());
            let ran = machine.run(&format!("restore {file}"));
            prop_assert_eq!(ran.out, "nothing to change\n");
        }
    }

    /// Without leave to replace, nothing that is there goes, however it ends.
    #[test]
    fn restore_removes_nothing(first in configuration(), second in configuration()) {
        let machine = Machine::new();
        for number in 0..12 {
            machine.disk(&format!("disk-{}-{}-{}", number / 6, number / 3 % 2, number % 3));
        }
        let mut before = Vec::new();
        for (number, mut wanted) in [first, second].into_iter().enumerate() {
            for backstore in wanted.backstores.values_mut() {
                backstore.path = machine.path("dev").join(&backstore.path).display().to_string();
            }
            let file = machine.file("wanted.json", &files::to_text(&wanted));
            let ran = machine.run(&format!("restore {file}"));
            prop_assert!(ran.code == 0 || (number == 1 && ran.code == 6), "{}", ran.err);
            let after: Vec<String> = machine
                .snapshot()
                .lines()
                .filter(|line| line.ends_with('/') || line.contains(" -> "))
                .map(str::to_string)
                .collect();
            for line in &before {
                prop_assert!(after.contains(line), "{} is gone", line);
            }
            before = after;
        }
    }

    /// Any configuration can be written down and read again.
    #[test]
    fn files_keep_everything(mut config in configuration()) {
        for backstore in config.backstores.values_mut() {
            backstore.path = format!("/dev/{}", backstore.path);
        }
        let text = files::to_text(&config);
        let read = files::from_text("f".as_ref(), &text).unwrap();
        prop_assert_eq!(read, config);
    }
}
