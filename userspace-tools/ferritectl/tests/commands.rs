// SPDX-License-Identifier: GPL-2.0

//! The commands over a stand-in for configfs.

mod common;

use common::Machine;
use common::Ran;
use common::CLIENT;
use common::OTHER;
use common::SECRET;
use common::SECRET_2;
use common::TARGET;

const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const EADDRINUSE: i32 = 98;

fn tpg(path: &str) -> String {
    format!("iscsi/{TARGET}/tpgt_1/{path}")
}

#[test]
fn a_target_from_nothing_to_nothing() {
    let machine = Machine::new();
    let empty = machine.snapshot();
    machine.typical();
    assert_eq!(machine.value("core/iblock_0/disk0/enable"), "1");
    let serial = machine.value("core/iblock_0/disk0/wwn/vpd_unit_serial");
    assert_eq!(serial, "T10 VPD Unit Serial Number: serial-0");
    assert!(machine.exists(&tpg("np/192.0.2.1:3260")));
    assert!(machine.exists(&tpg("lun/lun_0/disk0")));
    let acl = tpg(&format!("acls/{CLIENT}"));
    assert_eq!(machine.value(&format!("{acl}/auth/userid")), "bob");
    assert_eq!(machine.value(&format!("{acl}/auth/password")), SECRET);
    assert_eq!(machine.value(&format!("{acl}/auth/userid_mutual")), "store");
    assert_eq!(
        machine.value(&format!("{acl}/auth/password_mutual")),
        SECRET_2
    );
    assert_eq!(machine.value(&format!("{acl}/lun_0/write_protect")), "0");
    assert_eq!(machine.value(&tpg("enable")), "1");

    machine.run(&format!("target delete {TARGET}")).ok();
    machine.run("backstore delete disk0").ok();
    // Only the fabric's directory has come to stay.
    let left: String = machine
        .snapshot()
        .lines()
        .filter(|line| !line.starts_with("iscsi"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(left, empty);
    assert!(!machine.exists(&format!("iscsi/{TARGET}")));
}

#[test]
fn names_may_be_in_upper_case() {
    let machine = Machine::new();
    machine
        .run(&format!("target create {}", TARGET.to_uppercase()))
        .ok();
    assert!(machine.exists(&format!("iscsi/{TARGET}")));
    let upper = TARGET.to_uppercase();
    machine
        .run(&format!("acl create {upper} {}", CLIENT.to_uppercase()))
        .ok();
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}"))));
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let said = machine
        .run("backstore create disk0 /dev/none")
        .fails(1, "open /dev/none for backstore iblock_0/disk0");
    assert!(said.contains("No such file"), "{said}");
    assert!(said.contains("hint: is /dev/none there?"), "{said}");
    assert_eq!(machine.snapshot(), before);

    // A value that is refused at the very end.
    let disk = machine.disk("a");
    let said = machine
        .run(&format!(
            "backstore create disk0 {disk} --set block_size=513"
        ))
        .fails(1, "set block_size of backstore iblock_0/disk0 to \"513\"");
    assert!(
        said.contains("kernel: ferrite: block_size \"513\": 512 or 4096 is needed"),
        "{said}"
    );
    assert_eq!(machine.snapshot(), before);

    machine.rules.borrow_mut().fail("write", "enable", EBUSY);
    machine
        .run(&format!("backstore create disk0 {disk}"))
        .fails(1, "is in use: see `lsblk`");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_failure_far_into_a_command_takes_everything_back() {
    let machine = Machine::new();
    machine.typical();
    machine.run(&format!("acl create {TARGET} {OTHER}")).ok();
    let disk = machine.disk("b");
    machine.run(&format!("backstore create disk1 {disk}")).ok();
    let before = machine.snapshot();
    // The first ACL has its mapping already when the second one fails.
    let end = format!("acls/{OTHER}/lun_1");
    machine.rules.borrow_mut().fail("mkdir", &end, EINVAL);
    machine
        .run(&format!("lun create {TARGET} disk1 --map-all"))
        .fails(1, "create mapped LUN 1");
    let journal = machine.rules.borrow().journal.join("\n");
    assert!(journal.contains(&format!("mkdir iscsi/{TARGET}/tpgt_1/acls/{CLIENT}/lun_1")));
    // All but what the kernel says of the disk's exports.
    let strip = |text: String| text.replace("ACTIVATED", "").replace("DE", "");
    assert_eq!(strip(machine.snapshot()), strip(before));
}

#[test]
fn several_values_are_set_or_none() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    let said = machine
        .run(&format!(
            "tpg set {TARGET} login_timeout=20 ImmediateData=No MaxBurstLength=3"
        ))
        .fails(1, "set MaxBurstLength of TPG 1");
    assert!(said.contains("512 to 16777215 is needed"), "{said}");
    assert_eq!(machine.snapshot(), before);
    machine
        .run(&format!(
            "tpg set {TARGET} LOGIN_TIMEOUT=20 ImmediateData=No"
        ))
        .ok();
    assert_eq!(machine.value(&tpg("attrib/login_timeout")), "20");
    assert_eq!(machine.value(&tpg("param/ImmediateData")), "No");
    let again = machine
        .run(&format!("tpg set {TARGET} login_timeout=20"))
        .ok();
    assert_eq!(again, "nothing to change\n");
}

/// New credentials for both sides, of which the last one is refused.
fn auth_set_that_fails_late(machine: &Machine) -> Ran {
    let secret = machine.file("new", "a-new-secret-of-length");
    let mutual = machine.file("newer", "another-secret-of-length");
    machine
        .rules
        .borrow_mut()
        .fail("write", "password_mutual", EINVAL);
    machine.run(&format!(
        "auth set {TARGET} --acl {CLIENT} --user eve --secret-file {secret} \
             --mutual-user other --mutual-secret-file {mutual}"
    ))
}

#[test]
fn credentials_are_taken_back_too() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    auth_set_that_fails_late(&machine).fails(1, "set password_mutual of ACL");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn what_cannot_be_taken_back_is_named() {
    let machine = Machine::new();
    machine.rules.borrow_mut().hide_secrets = true;
    machine.typical();
    // By other means: the kernel does not show it, and nobody remembers it.
    let auth = tpg(&format!("acls/{CLIENT}/auth"));
    machine.show(&format!("{auth}/password"), "set-by-echo-elsewhere\n");
    std::fs::remove_dir_all(machine.path("run")).unwrap();
    let said = auth_set_that_fails_late(&machine).fails(6, "set password_mutual of ACL");
    let left = format!("; not as it was before: {auth}/password\n");
    assert!(said.contains(&left), "{said}");
    assert_eq!(machine.value(&format!("{auth}/userid")), "bob");
}

#[test]
fn what_is_removed_by_half_is_named() {
    let machine = Machine::new();
    machine.typical();
    machine.rules.borrow_mut().fail("rmdir", "lun/lun_0", EBUSY);
    let said = machine
        .run(&format!("lun delete {TARGET} 0"))
        .fails(6, "refused to remove LUN 0 of TPG 1");
    let state = format!(
        "; removed before that: mapped LUN 0 of ACL {CLIENT} of TPG 1 of {TARGET}; \
         a part of LUN 0 of TPG 1 of {TARGET}\n"
    );
    assert!(said.contains(&state), "{said}");
}

#[test]
fn a_map_is_set_and_taken_back() {
    let machine = Machine::new();
    machine.typical();
    let map = || machine.value("core/iblock_0/disk0/lba_map");
    let set = |more: &[&str]| {
        let root = machine.path("root").display().to_string();
        let words = ["ferritectl", "--root", &root, "backstore", "set", "disk0"];
        machine.run_words(&[&words[..], more].concat())
    };
    let new = "lba_map=0 0; 0 99 0:O; 100 199 0:U";
    set(&[new, "block_size=513"]).fails(1, "set block_size");
    assert_eq!(map(), "");
    set(&[new]).ok();
    assert_eq!(map(), "0 0\n0 99 0:O\n100 199 0:U");
    set(&["lba_map=", "block_size=513"]).fails(1, "set block_size");
    assert_eq!(map(), "0 0\n0 99 0:O\n100 199 0:U");
    set(&["lba_map="]).ok();
    assert_eq!(map(), "");
}

#[test]
fn unknown_attributes_get_a_suggestion() {
    let machine = Machine::new();
    machine.typical();
    machine
        .run(&format!("tpg set {TARGET} login_timeot=20"))
        .fails(3, "did you mean login_timeout?");
    machine
        .run("backstore get disk0 nonsense_at_all")
        .fails(3, "attribute nonsense_at_all of backstore iblock_0/disk0");
    machine
        .run("backstore set disk0 hw_block_size=4096")
        .fails(2, "read-only");
    let value = machine.run("backstore get disk0 vpd_unit_serial").ok();
    assert_eq!(value, "serial-0\n");
    let all = machine.run(&format!("param get {TARGET}")).ok();
    assert!(all.contains("MaxBurstLength=262144\n"), "{all}");
    assert!(!all.contains("authentication"), "{all}");
    let all = machine.run(&format!("attr get {TARGET} --json")).json();
    assert_eq!(all["authentication"], "1");
}

/// Another program removes while this one reads.
#[test]
fn what_goes_meanwhile_is_left_out() {
    let machine = Machine::new();
    machine.typical();
    machine
        .rules
        .borrow_mut()
        .fail("readlink", "lun/lun_0/disk0", 2);
    let listed = machine.run("lun list --json").json();
    assert!(listed[0]["backstore"].is_null());
    machine.run("status").ok();
    machine.run("metrics").ok();
}

/// ENOENT may be about the value.
#[test]
fn what_a_value_names_is_no_missing_attribute() {
    let machine = Machine::new();
    machine.typical();
    let line = "backstore set disk0 write_through=1";
    machine
        .rules
        .borrow_mut()
        .fail("write", "attrib/write_through", 2);
    let said = machine.run(line).fails(1, "No such file or directory");
    assert!(!said.contains("no such attribute"), "{said}");
}

#[test]
fn existing_missing_and_ambiguous_objects() {
    let machine = Machine::new();
    machine.typical();
    let disk = machine.disk("b");
    let cases = [
        (
            format!("backstore create disk0 {disk}"),
            4,
            "exists already",
        ),
        (
            format!("backstore create iblock_0/disk0 {disk}"),
            4,
            "exists already",
        ),
        (format!("target create {TARGET}"), 4, "exists already"),
        (format!("tpg create {TARGET} 1"), 4, "exists already"),
        (
            format!("portal create {TARGET} 192.0.2.1:3260"),
            4,
            "exists already",
        ),
        (
            format!("lun create {TARGET} disk0 --lun 0"),
            4,
            "exists already",
        ),
        (format!("acl create {TARGET} {CLIENT}"), 4, "exists already"),
        ("backstore delete none".into(), 3, "there is iblock_0/disk0"),
        (format!("target delete {OTHER}"), 3, TARGET),
        (format!("tpg enable {TARGET} 2"), 3, "there is 1"),
        (format!("portal delete {TARGET} ::"), 3, "192.0.2.1:3260"),
        (format!("lun delete {TARGET} 5"), 3, "there is 0"),
        (
            format!("lun create {TARGET} none"),
            3,
            "backstore none does not exist",
        ),
        (format!("acl delete {TARGET} {OTHER}"), 3, CLIENT),
        (format!("acl map {TARGET} {CLIENT} 5"), 3, "LUN 5"),
        (format!("acl unmap {TARGET} {CLIENT} 5"), 3, "mapped LUN 5"),
        (format!("acl create {TARGET} {OTHER} --map 5"), 3, "LUN 5"),
        (format!("session show {TARGET} {CLIENT}"), 3, "session of"),
    ];
    let before = machine.snapshot();
    for (line, code, says) in cases {
        machine.run(&line).fails(code, says);
        assert_eq!(machine.snapshot(), before, "{line}");
    }
    machine.run(&format!("tpg create {TARGET}")).ok();
    assert!(machine.exists(&format!("iscsi/{TARGET}/tpgt_2")));
    machine
        .run(&format!("portal create {TARGET} ::"))
        .fails(2, "say which one of 1, 2");
    machine
        .run(&format!("portal create {TARGET} :: --tpg 2"))
        .ok();
    assert!(machine.exists(&format!("iscsi/{TARGET}/tpgt_2/np/[::]:3260")));
}

#[test]
fn bad_command_lines_name_value_and_rule() {
    let machine = Machine::new();
    let before = machine.snapshot();
    for (line, value, says) in [
        (
            "target create nonsense",
            "nonsense",
            "an iSCSI name begins with",
        ),
        (
            "portal create iqn.2026-01.a:b host:1",
            "host:1",
            "IP address and not a host name",
        ),
        (
            "portal create iqn.2026-01.a:b 192.0.2.1:70000",
            "70000",
            "1 to 65535",
        ),
        ("lun delete iqn.2026-01.a:b 16384", "16384", "0 to 16383"),
        ("tpg create iqn.2026-01.a:b 65536", "65536", "0 to 65535"),
        (
            "backstore create a/b/c /dev/sda",
            "a/b/c",
            "iblock_<number>/<name>",
        ),
        ("backstore create .. /dev/sda", "..", "begins with a dot"),
        ("backstore create disk sda", "sda", "absolute path"),
        (
            "backstore create d /dev/sda --vendor ninechars",
            "ninechars",
            "longer than 8",
        ),
        ("backstore create d /dev/sda --set x", "x", "KEY=VALUE"),
        (
            "backstore create d /dev/sda --set ../x=1",
            "../x=1",
            "letters, digits and _",
        ),
        (
            "auth set iqn.2026-01.a:b --user NULLS",
            "NULLS",
            "begins with NULL",
        ),
        ("auth set --user x", "TARGET", "not provided"),
        ("auth set --discovery", "--user", "or --mutual-user"),
        (
            "auth set --discovery --secret-file /x",
            "--user",
            "not provided",
        ),
        (
            "acl create iqn.2026-01.a:b iqn.2026-01.a:c --read-only",
            "--map-all",
            "not provided",
        ),
        ("frobnicate", "frobnicate", "unrecognized subcommand"),
        ("", "Usage", "<COMMAND>"),
    ] {
        let said = machine.run(line).fails(2, says);
        assert!(said.contains(value), "{line}: {said}");
        assert_eq!(machine.snapshot(), before);
    }
}

#[test]
fn the_kernel_says_why_a_portal_failed() {
    let machine = Machine::new();
    machine.typical();
    machine
        .rules
        .borrow_mut()
        .fail("mkdir", "np/192.0.2.9:3260", EADDRINUSE);
    machine
        .run(&format!("portal create {TARGET} 192.0.2.9"))
        .fails(1, "ss -tlnp");
}

#[test]
fn host_groups() {
    let machine = Machine::new();
    machine.typical();
    let members = tpg("acls/@web/attrib/members");
    machine
        .run(&format!(
            "acl create {TARGET} @web --member iqn.2026-01.org.example:Web* \
             --member iqn.2026-01.org.example:db --map 0"
        ))
        .ok();
    let both = "iqn.2026-01.org.example:web* iqn.2026-01.org.example:db";
    assert_eq!(machine.value(&members), both);
    assert!(machine.run("acl list").ok().contains("@web"));
    let saved = machine.path("saved").display().to_string();
    machine.run(&format!("save {saved}")).ok();
    machine
        .run(&format!(
            "acl set {TARGET} @web members=iqn.2026-01.org.example:db"
        ))
        .ok();
    assert_eq!(machine.value(&members), "iqn.2026-01.org.example:db");
    machine.run(&format!("restore {saved}")).ok();
    assert_eq!(machine.value(&members), both);
    machine.run(&format!("acl delete {TARGET} @web")).ok();
    machine.run(&format!("restore {saved}")).ok();
    assert_eq!(machine.value(&members), both);

    let before = machine.snapshot();
    for (line, says) in [
        (format!("acl create {TARGET} @We"), "lower case"),
        (format!("acl create {TARGET} @x --member web*"), "iqn."),
        (
            format!("acl create {TARGET} iqn.2026-01.a:b --member iqn.*"),
            "host group",
        ),
        ("target create @web".to_string(), "iSCSI name"),
    ] {
        machine.run(&line).fails(2, says);
    }
    assert_eq!(machine.snapshot(), before);
    let said = machine.run(&format!("acl create {TARGET} @empty")).ok();
    assert!(said.contains("no members yet"), "{said}");
}

#[test]
fn a_portal_can_send_initiators_elsewhere() {
    let machine = Machine::new();
    machine.typical();
    let redirect = |arguments: &str| format!("portal redirect {TARGET} 192.0.2.1 {arguments}");
    let file = tpg("np/192.0.2.1:3260/redirect");
    for (arguments, value) in [
        ("192.0.2.7", "temporary 192.0.2.7:3260"),
        ("192.0.2.7:3261 --permanent", "permanent 192.0.2.7:3261"),
        ("[2001:db8::7]:3260", "temporary [2001:db8::7]:3260"),
    ] {
        machine.run(&redirect(arguments)).ok();
        assert_eq!(machine.value(&file), value);
        let listed = machine.run("portal list").ok();
        assert!(listed.contains(value), "{listed}");
    }
    let listed = machine.run("--json portal list").ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["counters"]["reads"], 7);
    // It is saved with the portal, and restored.
    let saved = machine.path("saved").display().to_string();
    machine.run(&format!("save {saved}")).ok();
    machine.run(&redirect("--none")).ok();
    assert_eq!(machine.value(&file), "none");
    machine.run(&format!("restore {saved}")).ok();
    assert_eq!(machine.value(&file), "temporary [2001:db8::7]:3260");

    let before = machine.snapshot();
    machine.run(&redirect("")).fails(2, "required");
    machine
        .run(&redirect("192.0.2.7 --none"))
        .fails(2, "--none");
    machine.run(&redirect("--permanent")).fails(2, "required");
    machine
        .run(&format!("portal redirect {TARGET} 192.0.2.8 192.0.2.9"))
        .fails(3, "192.0.2.8:3260");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn sessions_are_not_cut_by_accident() {
    let machine = Machine::new();
    machine.typical();
    machine.log_in(&tpg(&format!("acls/{CLIENT}")));
    let before = machine.snapshot();
    let lines = [
        format!("acl unmap {TARGET} {CLIENT} 0"),
        format!("lun delete {TARGET} 0"),
        format!("tpg disable {TARGET}"),
        format!("acl delete {TARGET} {CLIENT}"),
        format!("tpg delete {TARGET}"),
        format!("target delete {TARGET}"),
    ];
    for line in &lines {
        let said = machine.run(line).fails(5, "--force");
        assert!(said.contains(CLIENT), "{said}");
        assert_eq!(machine.snapshot(), before, "{line}");
    }
    // Initiators without an ACL count too.
    machine.show(&tpg("dynamic_sessions"), &format!("{OTHER}\n\0"));
    machine
        .run(&format!("tpg disable {TARGET}"))
        .fails(5, OTHER);
    for line in &lines[..5] {
        machine.run(&format!("{line} --force")).ok();
        if line.starts_with("acl delete") {
            machine.run(&format!("acl create {TARGET} {CLIENT}")).ok();
        }
    }
    machine.run(&format!("target delete {TARGET}")).ok();
}

#[test]
fn a_backstore_in_use_is_kept() {
    let machine = Machine::new();
    machine.typical();
    let said = machine
        .run("backstore delete disk0")
        .fails(5, "LUN 0 of TPG 1");
    assert!(said.contains("--force"), "{said}");
    machine.run("backstore delete disk0 --force").ok();
    assert!(!machine.exists("core/iblock_0"));
    assert!(!machine.exists(&tpg("lun/lun_0")));
    assert!(!machine.exists(&tpg(&format!("acls/{CLIENT}/lun_0"))));
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}"))));
}

#[test]
fn a_disk_that_may_still_be_written_to_is_told() {
    let says = "I/O is still under way on the block device 253:7, which may yet be written to";
    for (program, line) in [
        ("ferritectl", "backstore delete disk0 --force"),
        ("ferritectl", "clear --yes"),
        ("ferritectl", "restore FILE --replace"),
        ("tcm_node", "--freedev iblock_0/disk0"),
    ] {
        let machine = Machine::new();
        machine.typical();
        let empty = machine.file("f", r#"{"format_version": 1, "configuration": {}}"#);
        let line = &line.replace("FILE", &empty);
        if program == "tcm_node" {
            machine.run(&format!("target delete {TARGET} --force")).ok();
        }
        machine.rules.borrow_mut().hangs = true;
        machine.run_as(program, line).fails(1, says);
        assert!(!machine.exists("core/iblock_0/disk0"));
        // Whoever has removed something else need not wait.
        machine
            .run("target create iqn.2026-01.org.example:other")
            .ok();
    }
}

#[test]
fn a_device_is_replaced_while_it_is_in_use() {
    let machine = Machine::new();
    machine.rules.borrow_mut().replaces = true;
    machine.typical();
    let (new, old) = (machine.disk("new"), machine.disk("a"));
    let rename = |text: &str| text.replace(&new, "X").replace(&old, "X");
    let before = machine.snapshot();
    let said = machine
        .run(&format!("--dry-run backstore replace disk0 --path {new}"))
        .ok();
    assert!(
        said.contains(&format!("from {old} to {new}, live")),
        "{said}"
    );
    assert_eq!(machine.snapshot(), before);
    let line = format!("backstore replace disk0 --path {new} --json");
    let json = machine.run(&line).json();
    assert_eq!(json["changes"][0]["change"], "change");
    assert_eq!(machine.value("core/iblock_0/disk0/udev_path"), new);
    // Nothing else has changed.
    assert_eq!(rename(&machine.snapshot()), rename(&before));
    machine.run(&format!("backstore create disk1 {old}")).ok();
    machine
        .run(&format!("backstore replace disk0 --path {old}"))
        .fails(5, "backstore iblock_1/disk1 has it open");
    machine
        .run("backstore replace disk0 --path /dev/none")
        .fails(
            1,
            "replace the device of backstore iblock_0/disk0 by /dev/none",
        );
    machine
        .run("backstore replace disk0 --path none")
        .fails(2, "absolute path");
    machine
        .run(&format!("backstore replace disk2 --path {old}"))
        .fails(3, "disk2");
    for (errno, hint) in [
        (28, "the new device is smaller"),
        (30, "the new device is read-only"),
        (110, "the old one stays"),
    ] {
        machine.rules.borrow_mut().fail("write", "replace", errno);
        machine
            .run(&format!("backstore replace disk0 --path {old}"))
            .fails(1, hint);
        machine.rules.borrow_mut().failures.clear();
    }
    assert_eq!(machine.value("core/iblock_0/disk0/udev_path"), new);
}

#[test]
fn a_kernel_that_cannot_replace_a_device_is_named() {
    let machine = Machine::new();
    machine.typical();
    let new = machine.disk("new");
    machine
        .run(&format!("backstore replace disk0 --path {new}"))
        .fails(2, "cannot replace a device");
}

#[test]
fn a_disk_belongs_to_one_backstore() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    let disk = machine.path("dev/a").display().to_string();
    machine
        .run(&format!("backstore create again {disk}"))
        .fails(5, "backstore iblock_0/disk0 has it open");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn each_backstore_gets_its_own_directory_unless_told() {
    let machine = Machine::new();
    for name in ["a", "b", "c"] {
        let disk = machine.disk(name);
        machine.run(&format!("backstore create {name} {disk}")).ok();
    }
    machine.run("backstore delete b").ok();
    let disk = machine.disk("d");
    machine.run(&format!("backstore create d {disk}")).ok();
    let disk = machine.disk("e");
    machine
        .run(&format!("backstore create iblock_0/e {disk}"))
        .ok();
    for dir in ["iblock_0/a", "iblock_1/d", "iblock_2/c", "iblock_0/e"] {
        assert!(machine.exists(&format!("core/{dir}")), "{dir}");
    }
    machine.run("backstore delete a").ok();
    assert!(machine.exists("core/iblock_0/e"));
    let serials: Vec<String> = ["iblock_1/d", "iblock_2/c"]
        .iter()
        .map(|id| machine.value(&format!("core/{id}/wwn/vpd_unit_serial")))
        .collect();
    assert_ne!(serials[0], serials[1]);
    assert_eq!(serials[0].len(), "T10 VPD Unit Serial Number: ".len() + 36);
}

#[test]
fn mapping_and_write_protection() {
    let machine = Machine::new();
    machine.typical();
    let acl = tpg(&format!("acls/{CLIENT}"));
    machine
        .run(&format!("acl map {TARGET} {CLIENT} 0 --as 7 --read-only"))
        .ok();
    assert_eq!(machine.value(&format!("{acl}/lun_7/write_protect")), "1");
    // Protected before the initiator could see it, as far as the kernel lets one.
    let journal = machine.rules.borrow().journal.clone();
    let at = |what: String| journal.iter().position(|line| *line == what).unwrap();
    assert!(at(format!("write {acl}/lun_7/write_protect")) < at(format!("ln {acl}/lun_7/lun_0")));
    machine
        .run(&format!("acl map {TARGET} {CLIENT} 0 --as 7 --read-write"))
        .ok();
    assert_eq!(machine.value(&format!("{acl}/lun_7/write_protect")), "0");
    let disk = machine.disk("b");
    machine.run(&format!("backstore create disk1 {disk}")).ok();
    machine.run(&format!("lun create {TARGET} disk1")).ok();
    machine
        .run(&format!("acl map {TARGET} {CLIENT} 1 --as 7"))
        .fails(4, "it shows LUN 0");
    machine
        .run(&format!("tpg set {TARGET} prod_mode_write_protect=1"))
        .ok();
    machine.run(&format!("acl map {TARGET} {CLIENT} 1")).ok();
    assert_eq!(machine.value(&format!("{acl}/lun_1/write_protect")), "1");
    machine.run(&format!("acl unmap {TARGET} {CLIENT} 7")).ok();
    assert!(!machine.exists(&format!("{acl}/lun_7")));
}

#[test]
fn a_mapping_that_cannot_be_protected_is_not_made() {
    let machine = Machine::new();
    machine.typical();
    let acl = tpg(&format!("acls/{CLIENT}"));
    machine
        .rules
        .borrow_mut()
        .fail("write", "lun_7/write_protect", EINVAL);
    machine
        .run(&format!("acl map {TARGET} {CLIENT} 0 --as 7 --read-only"))
        .fails(1, "set write_protect");
    assert!(!machine.exists(&format!("{acl}/lun_7")));
}

#[test]
fn acl_values() {
    let machine = Machine::new();
    machine.typical();
    let acl = tpg(&format!("acls/{CLIENT}"));
    machine
        .run(&format!(
            "acl set {TARGET} {CLIENT} cmdsn_depth=64 tag=rack1 nopin_timeout=5"
        ))
        .ok();
    assert_eq!(machine.value(&format!("{acl}/cmdsn_depth")), "64");
    assert_eq!(machine.value(&format!("{acl}/tag")), "rack1");
    machine.run(&format!("acl set {TARGET} {CLIENT} tag=")).ok();
    assert_eq!(machine.value(&format!("{acl}/tag")), "");
    machine
        .run(&format!("acl set {TARGET} {CLIENT} cmdsn_depth=513"))
        .fails(1, "1 to 512 is needed");
    let value = machine
        .run(&format!("acl get {TARGET} {CLIENT} nopin_timeout"))
        .ok();
    assert_eq!(value, "5\n");
}

#[test]
fn secrets_come_in_by_four_ways() {
    let machine = Machine::new();
    machine.typical();
    let acl = tpg(&format!("acls/{OTHER}"));
    machine.run(&format!("acl create {TARGET} {OTHER}")).ok();
    let line = format!("auth set {TARGET} --acl {OTHER} --user carol");
    // Asked for.
    machine.answers.borrow_mut().push(SECRET.into());
    machine.run(&line).ok();
    assert_eq!(machine.value(&format!("{acl}/auth/password")), SECRET);
    // Asked for, but there is nobody to answer.
    machine.run(&line).fails(8, "standard input");
    // On the command line, with a warning.
    let said = machine.run(&format!("{line} --secret {SECRET_2}"));
    assert!(said.err.contains("list of processes"), "{said:?}");
    said.ok();
    assert_eq!(machine.value(&format!("{acl}/auth/password")), SECRET_2);
    // Out of a file, which nobody else may read.
    let file = machine.path("made").display().to_string();
    machine.run(&format!("auth generate {file}")).ok();
    machine
        .run(&format!("auth generate {file}"))
        .fails(8, "exists");
    machine.run(&format!("{line} --secret-file {file}")).ok();
    assert_eq!(machine.value(&format!("{acl}/auth/password")).len(), 16);
    // Too short, unless it is meant.
    machine
        .run(&format!("{line} --secret short"))
        .fails(2, "12 bytes");
    machine
        .run(&format!("{line} --secret short --allow-weak"))
        .ok();
    // The same in both directions.
    machine
        .run(&format!(
            "{line} --secret {SECRET} --mutual-user s --mutual-secret {SECRET}"
        ))
        .fails(2, "must differ");
    // Mutual alone adds to what is there, but not to nothing.
    machine
        .run(&format!(
            "auth set {TARGET} --acl {OTHER} --mutual-user s --mutual-secret {SECRET}"
        ))
        .ok();
    assert_eq!(machine.value(&format!("{acl}/auth/password")), "short");
    machine
        .run(&format!("auth clear {TARGET} --acl {OTHER} --mutual"))
        .ok();
    assert_eq!(
        machine.value(&format!("{acl}/auth/password_mutual")),
        "NULL"
    );
    assert_eq!(machine.value(&format!("{acl}/auth/userid")), "carol");
    machine
        .run(&format!("auth clear {TARGET} --acl {OTHER}"))
        .ok();
    assert_eq!(machine.value(&format!("{acl}/auth/userid")), "NULL");
    machine
        .run(&format!(
            "auth set {TARGET} --acl {OTHER} --mutual-user s --mutual-secret {SECRET}"
        ))
        .fails(2, "--user is needed too");
    let said = machine
        .run(&format!("auth show {TARGET} --acl {OTHER}"))
        .ok();
    assert!(said.ends_with(": none\n"), "{said}");
}

#[test]
fn discovery_and_portal_group_credentials() {
    let machine = Machine::new();
    machine.typical();
    let file = machine.file("s", SECRET);
    machine
        .run(&format!(
            "auth set --discovery --user d --secret-file {file} --enforce"
        ))
        .ok();
    assert_eq!(machine.value("iscsi/discovery_auth/userid"), "d");
    assert_eq!(
        machine.value("iscsi/discovery_auth/enforce_discovery_auth"),
        "1"
    );
    let said = machine.run("auth show --discovery").ok();
    assert!(
        said.contains("CHAP d") && said.contains("demanded"),
        "{said}"
    );
    machine.run("auth set --discovery --no-enforce").ok();
    assert_eq!(
        machine.value("iscsi/discovery_auth/enforce_discovery_auth"),
        "0"
    );
    assert_eq!(machine.value("iscsi/discovery_auth/userid"), "d");
    machine
        .run(&format!("auth set {TARGET} --user t --secret-file {file}"))
        .ok();
    assert_eq!(machine.value(&tpg("auth/userid")), "t");
    let json = machine.run(&format!("auth show {TARGET} --json")).json();
    assert_eq!(json["auth"]["user"], "t");
    assert_eq!(json["auth"]["secret_set"], true);
    machine
        .run(&format!("auth show --discovery {TARGET}"))
        .fails(2, "cannot be used with");
}

#[test]
fn nothing_shows_a_secret() {
    let machine = Machine::new();
    machine.typical();
    machine.log_in(&tpg(&format!("acls/{CLIENT}")));
    // Machine::run fails the test when a secret is in the output.
    for line in [
        "status".to_string(),
        "backstore list".into(),
        "backstore show disk0".into(),
        "backstore get disk0".into(),
        "target list".into(),
        format!("target show {TARGET}"),
        "tpg list".into(),
        format!("tpg show {TARGET}"),
        format!("tpg get {TARGET}"),
        "portal list".into(),
        "lun list".into(),
        "acl list".into(),
        format!("acl show {TARGET} {CLIENT}"),
        format!("acl get {TARGET} {CLIENT}"),
        format!("auth show {TARGET} --acl {CLIENT}"),
        "session list".into(),
        format!("session show {TARGET} {CLIENT}"),
        "reservation list".into(),
        "reservation show disk0".into(),
        "reservation clear disk0 --dry-run".into(),
        "version".into(),
        "clear --dry-run".into(),
        format!("auth clear {TARGET} --acl {CLIENT} --dry-run"),
    ] {
        let text = machine.run(&line).ok();
        assert!(!text.is_empty(), "{line}");
        let text = machine.run(&format!("{line} --json")).ok();
        serde_json::from_str::<serde_json::Value>(&text)
            .unwrap_or_else(|error| panic!("{line}: {error}: {text}"));
    }
    for (program, line) in [
        ("lio_node", format!("--showchapauth {TARGET} 1 {CLIENT}")),
        ("lio_node", "--showchapdiscauth --listendpoints".into()),
        (
            "lio_node",
            format!("--listnodeacls {TARGET} 1 --listlunacls {TARGET} 1"),
        ),
    ] {
        machine.run_as(program, &line).ok();
    }
    let file = machine.file("s", SECRET_2);
    let said = machine
        .run(&format!(
            "auth set {TARGET} --acl {CLIENT} --user bob --secret-file {} \
             --mutual-user x --mutual-secret-file {file} --dry-run",
            machine.file("t", SECRET)
        ))
        .ok();
    assert!(
        said.contains("(secret)") || said.contains("userid_mutual"),
        "{said}"
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    let disk = machine.disk("b");
    for line in [
        format!("backstore create disk1 {disk}"),
        format!("target create {OTHER}"),
        format!("tpg disable {TARGET}"),
        format!("lun create {TARGET} disk0 --map-all"),
        format!("acl create {TARGET} {OTHER} --map-all"),
        format!("target delete {TARGET}"),
        "clear".into(),
        format!("tpg set {TARGET} login_timeout=20"),
    ] {
        let said = machine.run(&format!("{line} --dry-run")).ok();
        assert!(said.contains("would "), "{said}");
        let said = machine.run(&format!("{line} --dry-run --json")).json();
        assert_eq!(said["dry_run"], true);
        assert!(!said["changes"].as_array().unwrap().is_empty(), "{line}");
        assert_eq!(machine.snapshot(), before, "{line}");
    }
}

/// Whatever is asked for, the answer is JSON if it shall be.
#[test]
fn a_dry_run_is_json_if_asked() {
    let machine = Machine::new();
    machine.typical();
    machine.show(
        &tpg("sessions"),
        &format!("session 7\ninitiator {CLIENT}\nstate logged_in\n"),
    );
    let file = machine.path("new").display().to_string();
    for line in [
        format!("save {file}"),
        format!("auth generate {file}"),
        format!("session drain {TARGET}"),
    ] {
        let said = machine.run(&format!("{line} --dry-run --json")).json();
        assert_eq!(said["dry_run"], true, "{line}");
        assert!(!machine.path("new").exists(), "{line}");
    }
    let said = machine.run(&format!("metrics --output {file} --dry-run"));
    assert!(said.ok().starts_with("would write "));
    assert!(!machine.path("new").exists());
    let said = machine.run(&format!("save {file} --json")).json();
    assert_eq!(said["dry_run"], false);
    assert!(machine.path("new").exists());
}

#[test]
fn a_signal_takes_back_what_was_made() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    machine.interrupt_at("mkdir", &format!("acls/{OTHER}"));
    machine
        .run(&format!("acl create {TARGET} {OTHER} --map-all"))
        .fails(
            1,
            "interrupted; what this command had made is removed again",
        );
    assert_eq!(machine.snapshot(), before);
    // Commands that go on after a failure stop, and say how far they came.
    machine.interrupt_at("rmdir", "np/192.0.2.1:3260");
    let said = machine
        .run("clear --yes")
        .fails(6, "interrupted after 2 changes");
    assert!(said.contains("removed portal"), "{said}");
    assert!(machine.exists(&tpg("lun/lun_0")));
}

#[test]
fn a_time_that_no_clock_reaches_is_taken() {
    let machine = Machine::new();
    let line = format!("monitor --count 0 --seconds {}", u64::MAX);
    machine.run(&line).ok();
}

#[test]
fn errors_come_as_json_if_asked() {
    let machine = Machine::new();
    let ran = machine.run("target delete iqn.2026-01.a:b --json");
    assert_eq!(ran.code, 3);
    assert!(ran.out.is_empty());
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["exit_code"], 3);
    assert!(error["error"].as_str().unwrap().contains("iqn.2026-01.a:b"));
    for line in ["--json target create", "target create --json"] {
        let ran = machine.run(line);
        assert_eq!(ran.code, 2);
        let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
        assert_eq!(error["exit_code"], 2);
        assert!(error["error"].as_str().unwrap().contains("<TARGET>"));
    }
    let made = machine
        .run(&format!("target create {TARGET} --json"))
        .json();
    assert_eq!(made["changes"][0]["change"], "create");
    assert_eq!(made["changes"][0]["object"], format!("target {TARGET}"));
}

#[test]
fn status_fits_eighty_columns() {
    let mut machine = Machine::new();
    machine.width = 80;
    machine.typical();
    machine.log_in(&tpg(&format!("acls/{CLIENT}")));
    let size = machine.path("sys/dev/block/8:0");
    std::fs::create_dir_all(&size).unwrap();
    std::fs::write(size.join("size"), "2097152\n").unwrap();
    let disk = machine.disk("b");
    machine
        .run(&format!("backstore create disk1 {disk} --read-only"))
        .ok();
    machine
        .run(&format!("lun create {TARGET} disk1 --map-all"))
        .ok();
    let text = machine.run("status").ok();
    let dir = machine.dir.path().display().to_string();
    let text = text.replace(&dir, "");
    let expected = format!(
        "\
/root  2 backstores  1 target  1 session
|- backstores
|  |- iblock_0/disk0  /dev/a  1 GiB  rw
|  `- iblock_1/disk1  /dev/b  1 GiB  ro
|- targets
|  `- {TARGET}
|     `- TPG 1  enabled  CHAP demanded
|        |- portals
|        |  `- 192.0.2.1:3260
|        |- LUNs
|        |  |- LUN 0  iblock_0/disk0  /dev/a  1 GiB
|        |  `- LUN 1  iblock_1/disk1  /dev/b  1 GiB
|        `- ACLs
|           `- {CLIENT}  CHAP bob, mutual store
|              |  1 session from 192.0.2.7
|              |- LUN 0  rw
|              `- LUN 1  ro (its backstore is)
`- discovery  open to all
"
    );
    assert_eq!(text, expected);
    for line in [
        "status",
        "backstore list",
        "session list",
        "acl list",
        "lun list",
    ] {
        let text = machine.run(line).ok();
        for row in text.lines() {
            assert!(row.chars().count() <= 80, "{line}: {row}");
        }
    }
    let json = machine.run("status --json").json();
    let tpg = &json["targets"][TARGET]["tpgs"]["1"];
    assert_eq!(tpg["acls"][0]["auth"]["user"], "bob");
    assert_eq!(
        tpg["acls"][0]["sessions"][0]["session"]["state"],
        "LOGGED_IN"
    );
    assert_eq!(tpg["luns"][0]["size"], 1u64 << 30);
    assert_eq!(json["backstores"][1]["read_only"], true);
}

#[test]
fn sessions_are_shown() {
    let machine = Machine::new();
    machine.typical();
    assert_eq!(machine.run("session list").ok(), "");
    machine.log_in(&tpg(&format!("acls/{CLIENT}")));
    machine.show(&tpg("dynamic_sessions"), &format!("{OTHER}\n\0"));
    let text = machine.run("session list").ok();
    assert!(
        text.contains("192.0.2.7") && text.contains("logged in"),
        "{text}"
    );
    assert!(
        text.contains(OTHER) && text.contains("without an ACL"),
        "{text}"
    );
    let text = machine.run(&format!("session show {TARGET} {CLIENT}")).ok();
    assert!(
        text.contains("window 64 of 64 open, ExpCmdSN 1, MaxCmdSN 64"),
        "{text}"
    );
    let json = machine.run("session list --json").json();
    assert_eq!(json.as_array().unwrap().len(), 2);
}

/// The `info` of an ACL has room for some six.
#[test]
fn all_sessions_of_a_group_are_counted() {
    let machine = Machine::new();
    machine.typical();
    machine
        .run(&format!("acl create {TARGET} @web --member {OTHER}*"))
        .ok();
    let session = |number: u32| {
        format!(
            "session {number}\ninitiator {OTHER}{number}\nstate logged_in\ndynamic 0\nacl @web\n"
        )
    };
    let mut text: String = (0..9).map(session).collect();
    text.push_str(&format!("session 9\ninitiator {OTHER}\ndynamic 1\n"));
    machine.show(&tpg("sessions"), &text);
    let json = machine.run("acl list --json").json();
    assert_eq!(json[0]["initiator"], "@web");
    assert_eq!(json[0]["sessions"], 9);
    assert_eq!(json[1]["sessions"], 0);
    assert!(machine.run("status").ok().contains("  10 sessions\n"));
    let json = machine.run("status --json").json();
    let tpg = &json["targets"][TARGET]["tpgs"]["1"];
    assert_eq!(tpg["acls"][0]["sessions"][8]["acl"], "@web");
    assert_eq!(tpg["dynamic_sessions"][0], OTHER);
    let lio = machine.run_as("lio_node", &format!("--listnodeacls {TARGET} 1"));
    assert!(lio.ok().contains("@web  9 sessions\n"));
}

#[test]
fn sessions_are_closed() {
    let machine = Machine::new();
    machine.typical();
    machine
        .run(&format!("session close {TARGET} --all"))
        .fails(3, "session with TPG 1");
    machine.log_in(&tpg(&format!("acls/{CLIENT}")));
    machine.show(&tpg("dynamic_sessions"), &format!("{OTHER}\n\0"));
    for (line, code, says) in [
        (format!("session close {TARGET}"), 2, "<INITIATOR>"),
        (format!("session close {TARGET} {CLIENT} --all"), 2, "--all"),
        (format!("session close {TARGET} {CLIENT} --wait 0"), 2, "0"),
        (
            format!("session close {TARGET} iqn.2026-01.org.example:none"),
            3,
            "session of iqn.2026-01.org.example:none",
        ),
    ] {
        machine.run(&line).fails(code, says);
    }
    let written = || machine.value(&tpg("close_sessions"));
    let dry = format!("session close {TARGET} {CLIENT} --dry-run");
    assert!(machine.run(&dry).ok().contains("would close"));
    assert_eq!(written(), "");
    let text = machine
        .run(&format!("session close {TARGET} {CLIENT}"))
        .ok();
    assert!(text.contains("closed the session"), "{text}");
    assert_eq!(written(), CLIENT);
    machine
        .run(&format!("session close {TARGET} --all --wait 30"))
        .ok();
    assert_eq!(written(), "* 30");
    let json = machine
        .run(&format!("session close {TARGET} {OTHER} --json"))
        .json();
    assert_eq!(json["closed"][0], OTHER);
}

#[test]
fn target_port_groups() {
    let machine = Machine::new();
    machine.typical();
    let group = |file: &str| machine.value(&format!("core/iblock_0/disk0/alua/g/{file}"));
    let before = machine.snapshot();
    machine
        .run("alua create disk0 NULL")
        .fails(2, "the kernel's word for none");
    machine
        .run("alua create disk0 g --state away")
        .fails(2, "possible values");
    // All or nothing.
    machine
        .run("alua create disk0 g --set preferred=1 --set nothing=1")
        .fails(1, "nothing");
    machine
        .run("alua create disk0 g --id 70000")
        .fails(2, "70000");
    assert_eq!(machine.snapshot(), before);

    machine
        .run("alua create disk0 g --state standby --set preferred=1")
        .ok();
    assert_eq!(group("tg_pt_gp_id"), "1");
    assert_eq!(group("alua_access_state"), "2");
    assert_eq!(group("preferred"), "1");
    machine
        .run("alua create disk0 g")
        .fails(4, "exists already");
    machine
        .run(&format!("alua join {TARGET} 0 none"))
        .fails(3, "default_tg_pt_gp, g");
    machine.run(&format!("alua join {TARGET} 0 g")).ok();
    assert!(machine
        .value(&tpg("lun/lun_0/alua_tg_pt_gp"))
        .starts_with("TG Port Alias: g\n"));
    let text = machine.run("alua list").ok();
    assert!(text.lines().count() == 3, "{text}");
    assert!(text.contains("standby"), "{text}");
    let text = machine.run("alua list disk0 --json").ok();
    let views: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(views[1]["group"], "g");
    assert_eq!(views[1]["id"], 1);
    assert_eq!(views[1]["state"], "standby");
    assert_eq!(views[1]["access"], "both");
    let text = machine.run("status").ok();
    assert!(text.contains("group g"), "{text}");

    for (word, code) in [("nonoptimized", "1"), ("14", "14"), ("optimized", "0")] {
        machine.run(&format!("alua state disk0 g {word}")).ok();
        assert_eq!(group("alua_access_state"), code);
    }
    machine.run("alua set disk0 g alua_access_type=2").ok();
    assert_eq!(machine.run("alua get disk0 g alua_access_type").ok(), "2\n");
    let text = machine.run("alua show disk0 g").ok();
    assert!(text.contains("alua_access_type=2"), "{text}");
    machine
        .run("alua state disk0 g standby")
        .fails(1, "does not let the target change it");
    machine.run(&format!("alua offline {TARGET} 0")).ok();
    assert_eq!(machine.value(&tpg("lun/lun_0/alua_tg_pt_offline")), "1");
    machine.run(&format!("alua online {TARGET} 0")).ok();
    assert_eq!(machine.value(&tpg("lun/lun_0/alua_tg_pt_offline")), "0");
    machine
        .run(&format!("lun set {TARGET} 0 max_iops=250"))
        .ok();
    assert_eq!(machine.value(&tpg("lun/lun_0/attrib/max_iops")), "250");
    let text = machine.run(&format!("lun get {TARGET} 0")).ok();
    assert_eq!(text, "max_bytes_per_second=0\nmax_iops=250\n");
    machine
        .run(&format!("lun get {TARGET} 5"))
        .fails(3, "does not exist");
    machine.run(&format!("lun set {TARGET} 0 max_iops=0")).ok();
    machine.run(&format!("alua leave {TARGET} 0")).ok();
    machine
        .run(&format!("alua offline {TARGET} 5"))
        .fails(3, "does not exist");
    machine
        .run("alua delete disk0 default_tg_pt_gp")
        .fails(2, "every backstore has");
    machine.run("alua delete disk0 g").ok();
    assert_eq!(machine.snapshot(), before);
    // A group goes with its backstore.
    machine.run("alua create disk0 g").ok();
    machine.run("backstore delete disk0 --force").ok();
    assert!(!machine.exists("core/iblock_0"));
}

#[test]
fn reservations_are_shown_and_cleared() {
    let machine = Machine::new();
    machine.typical();
    let pr = |name: &str| format!("core/iblock_0/disk0/pr/{name}");
    let text = machine.run("reservation show disk0").ok();
    assert!(
        text.contains("reservation: none") && text.contains("0 registered"),
        "{text}"
    );
    machine.show(&pr("registrants"), "3\n");
    machine.show(
        &pr("registrations"),
        &format!(
            "0x00000000000000ab 0x80feed000001 1 h {CLIENT}\n\
             0x00000000000000cd 0x80feed000002 2 a {OTHER}\n"
        ),
    );
    machine.show(&pr("res_aptpl_active"), "APTPL Bit Status: Activated\n");
    machine.show(&pr("res_pr_generation"), "0x0000001f\n");
    machine.show(
        &pr("res_pr_type"),
        "SPC-3 Reservation Type: Exclusive Access, Registrants Only\n",
    );
    let text = machine.run("reservation show disk0").ok();
    for says in [
        "reservation: Exclusive Access, Registrants Only",
        &format!("held by {CLIENT}"),
        "generation 31",
        "in /var/lib/ferrite/pr/aptpl_1",
        "0x80feed000002  all",
        "and 1 more",
    ] {
        assert!(text.contains(says), "no {says:?} in {text}");
    }
    let text = machine.run("reservation list").ok();
    assert!(
        text.contains("Registrants Only") && text.contains(CLIENT),
        "{text}"
    );
    let json = machine.run("reservation show disk0 --json").json();
    assert_eq!(json["type"], "Exclusive Access, Registrants Only");
    assert_eq!(json["registrations"][1]["all_ports"], true);
    assert_eq!(json["registrations"][1]["port"], 2);
    assert_eq!(json["complete"], false);
    assert_eq!(json["persistent"], true);

    let written = || machine.value(&pr("clear"));
    machine.run("reservation clear disk0").fails(5, "--yes");
    machine
        .run("reservation clear disk9 --yes")
        .fails(3, "disk9");
    assert_eq!(written(), "");
    let dry = machine.run("reservation clear disk0 --dry-run").ok();
    assert!(dry.contains("would clear 3 registrations"), "{dry}");
    assert_eq!(written(), "");
    let text = machine.run("reservation clear disk0 --yes").ok();
    assert!(text.contains("cleared 3 registrations"), "{text}");
    assert_eq!(written(), "1");
}

#[test]
fn the_directory_for_reservations_is_made() {
    let machine = Machine::new();
    let dir = machine.path("state/ferrite/pr");
    machine.show("pr_dir", &format!("{}\n", dir.display()));
    let disk = machine.disk("sdx");
    machine
        .run(&format!("backstore create disk0 {disk} --dry-run"))
        .ok();
    assert!(!dir.exists());
    machine.run(&format!("backstore create disk0 {disk}")).ok();
    let mode = std::os::unix::fs::PermissionsExt::mode(&dir.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn clear_wants_to_be_sure() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    machine.run("clear").fails(5, "--yes");
    assert_eq!(machine.snapshot(), before);
    machine.run("clear --yes --keep-backstores").ok();
    assert!(machine.exists("core/iblock_0/disk0"));
    assert!(!machine.exists(&format!("iscsi/{TARGET}")));
    machine.run("clear --yes").ok();
    assert!(!machine.exists("core/iblock_0"));
    assert_eq!(machine.run("clear --yes").ok(), "nothing to change\n");
}

#[test]
fn clear_goes_on_after_a_failure() {
    let machine = Machine::new();
    machine.typical();
    let disk = machine.disk("b");
    machine.run(&format!("backstore create disk1 {disk}")).ok();
    machine.rules.borrow_mut().fail("rmdir", "lun/lun_0", EBUSY);
    let said = machine.run("clear --yes").fails(6, "remove LUN 0");
    assert!(
        said.contains("TPG 1") && said.contains("still there"),
        "{said}"
    );
    assert!(!machine.exists("core/iblock_1"));
    machine.rules.borrow_mut().failures.clear();
    machine.run("clear --yes").ok();
    assert!(!machine.exists("core/iblock_0"));
}

#[test]
fn manuals_and_completions() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = machine.run(&format!("completions {shell}")).ok();
        assert!(script.contains("backstore"), "{shell}");
    }
    let page = machine.run("man").ok();
    assert!(
        page.contains(".TH") && page.contains("Exit status") && page.contains("lio_node"),
        "{page}"
    );
    let dir = machine.path("man");
    std::fs::create_dir(&dir).unwrap();
    machine.run(&format!("man {}", dir.display())).ok();
    assert!(dir.join("ferritectl.8").is_file());
    assert!(dir.join("ferritectl-lun-create.8").is_file());
    machine
        .run("man /nonexistent/dir")
        .fails(8, "/nonexistent/dir");
}

#[test]
fn help_describes_each_command_by_its_own_words() {
    let machine = Machine::new();
    for (line, says) in [
        ("--help", "which block devices are exported"),
        ("lun create --help", "Make a LUN out of a backstore"),
        ("tpg enable --help", "Let initiators log in"),
        ("auth show --help", "Show CHAP names"),
        ("restore --help", "exit"),
    ] {
        let help = machine.run(line).ok();
        let help: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(says), "{line}: {help}");
        assert!(
            !help.contains("by its target and perhaps"),
            "{line}: {help}"
        );
    }
}
