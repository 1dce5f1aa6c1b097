// SPDX-License-Identifier: GPL-2.0

//! The verbs of lio-utils over a stand-in for configfs.

mod common;

use common::Machine;
use common::CLIENT;
use common::OTHER;
use common::SECRET;
use common::SECRET_2;
use common::TARGET;

fn tpg(path: &str) -> String {
    format!("iscsi/{TARGET}/tpgt_1/{path}")
}

fn lio(machine: &Machine, line: &str) -> common::Ran {
    machine.run_as("/usr/sbin/lio_node", line)
}

fn tcm(machine: &Machine, line: &str) -> common::Ran {
    machine.run_as("tcm_node", line)
}

/// What the cluster agents iSCSITarget and iSCSILogicalUnit do, in their order.
#[test]
fn a_cluster_agent_starts_and_stops() {
    let machine = Machine::new();
    let disk = machine.disk("a");
    let empty = machine.snapshot();
    lio(&machine, &format!("--addnp {TARGET} 1 192.0.2.1:3260")).ok();
    lio(&machine, &format!("--addnp {TARGET} 1 [2001:db8::1]:3260")).ok();
    lio(&machine, &format!("--addnodeacl {TARGET} 1 {CLIENT}")).ok();
    lio(&machine, &format!("--disableauth {TARGET} 1")).ok();
    lio(&machine, &format!("--enabletpg={TARGET} 1")).ok();
    assert_eq!(machine.value(&tpg("enable")), "1");
    assert_eq!(machine.value(&tpg("attrib/authentication")), "0");

    tcm(&machine, &format!("--createdev=iblock_0/lun1 {disk}")).ok();
    tcm(&machine, "--setunitserial=iblock_0/lun1 my-serial").ok();
    lio(
        &machine,
        &format!("--addlun={TARGET} 1 1 lun1 iblock_0/lun1"),
    )
    .ok();
    lio(&machine, &format!("--addlunacl={TARGET} 1 {CLIENT} 1 1")).ok();
    // The agent finds the device through the link, which has the resource's name.
    assert_eq!(machine.value(&tpg("lun/lun_1/lun1/udev_path")), disk);
    let serial = machine.value("core/iblock_0/lun1/wwn/vpd_unit_serial");
    assert_eq!(serial, "T10 VPD Unit Serial Number: my-serial");
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}/lun_1/lio_lun"))));

    lio(&machine, &format!("--dellunacl={TARGET} 1 {CLIENT} 1")).ok();
    lio(&machine, &format!("--dellun={TARGET} 1 1")).ok();
    tcm(&machine, "--freedev=iblock_0/lun1").ok();
    assert!(!machine.exists("core/iblock_0/lun1"));
    tcm(&machine, "--delhba iblock_0").ok();
    lio(&machine, &format!("--deliqn {TARGET}")).ok();
    let left: Vec<String> = machine
        .snapshot()
        .lines()
        .filter(|line| !line.starts_with("iscsi"))
        .map(str::to_string)
        .collect();
    assert_eq!(left, empty.lines().collect::<Vec<_>>());
}

#[test]
fn an_agent_may_start_twice() {
    let machine = Machine::new();
    for _ in 0..2 {
        lio(&machine, &format!("--addnp {TARGET} 1 192.0.2.1")).ok();
        lio(&machine, &format!("--addnodeacl {TARGET} 1 {CLIENT}")).ok();
        lio(&machine, &format!("--permissive {TARGET} 1")).ok();
        lio(&machine, &format!("--enabletpg={TARGET} 1")).ok();
    }
    assert_eq!(machine.value(&tpg("attrib/generate_node_acls")), "1");
    lio(&machine, &format!("--enableaclmode {TARGET} 1")).ok();
    assert_eq!(machine.value(&tpg("attrib/generate_node_acls")), "0");
}

#[test]
fn names_are_lower_cased() {
    let machine = Machine::new();
    let upper = TARGET.to_uppercase();
    lio(&machine, &format!("--addnp {upper} 1 192.0.2.1")).ok();
    lio(
        &machine,
        &format!("--addnodeacl {upper} 1 {}", CLIENT.to_uppercase()),
    )
    .ok();
    assert!(machine.exists(&tpg(&format!("acls/{CLIENT}"))));
}

#[test]
fn chap_without_showing_it() {
    let machine = Machine::new();
    lio(&machine, &format!("--addnodeacl {TARGET} 1 {CLIENT}")).ok();
    lio(
        &machine,
        &format!("--setchapauth {TARGET} 1 {CLIENT} bob {SECRET}"),
    )
    .ok();
    lio(
        &machine,
        &format!("--setchapmutualauth={TARGET} 1 {CLIENT} store {SECRET_2}"),
    )
    .ok();
    lio(&machine, &format!("--setchapdiscauth d {SECRET}")).ok();
    lio(
        &machine,
        &format!("--setchapdiscmutualauth e {SECRET_2} --setchapdiscenforce 1"),
    )
    .ok();
    let auth = tpg(&format!("acls/{CLIENT}/auth"));
    assert_eq!(machine.value(&format!("{auth}/userid")), "bob");
    assert_eq!(machine.value(&format!("{auth}/password")), SECRET);
    assert_eq!(machine.value(&format!("{auth}/password_mutual")), SECRET_2);
    assert_eq!(machine.value("iscsi/discovery_auth/userid_mutual"), "e");
    assert_eq!(
        machine.value("iscsi/discovery_auth/enforce_discovery_auth"),
        "1"
    );
    let shown = lio(&machine, &format!("--showchapauth {TARGET} 1 {CLIENT}")).ok();
    assert!(
        shown.contains("userid: bob") && shown.contains("not shown"),
        "{shown}"
    );
    let shown = lio(&machine, "--showchapdiscauth").ok();
    assert!(shown.contains("userid_mutual: e"), "{shown}");
    lio(
        &machine,
        &format!("--setchapauth {TARGET} 1 {CLIENT} NULL NULL"),
    )
    .ok();
    let shown = lio(&machine, &format!("--showchapauth {TARGET} 1 {CLIENT}")).ok();
    assert!(
        shown.contains("userid: \n") && shown.contains("not set"),
        "{shown}"
    );
    lio(&machine, "--setchapdiscenforce 2").fails(1, "0 or 1");
}

#[test]
fn attributes_and_lists() {
    let machine = Machine::new();
    machine.typical();
    lio(
        &machine,
        &format!("--settpgattr {TARGET} 1 login_timeout 22"),
    )
    .ok();
    lio(
        &machine,
        &format!("--settpgparam {TARGET} 1 MaxBurstLength 65536"),
    )
    .ok();
    lio(
        &machine,
        &format!("--setnodeattr {TARGET} 1 {CLIENT} nopin_timeout 7"),
    )
    .ok();
    lio(&machine, &format!("--setnodetcq {TARGET} 1 {CLIENT} 64")).ok();
    lio(&machine, &format!("--enablelunwp {TARGET} 1 {CLIENT} 0")).ok();
    let wp = tpg(&format!("acls/{CLIENT}/lun_0/write_protect"));
    assert_eq!(machine.value(&wp), "1");
    lio(&machine, &format!("--disablelunwp {TARGET} 1 {CLIENT} 0")).ok();
    assert_eq!(machine.value(&wp), "0");
    for (line, says) in [
        (format!("--listtpgattr {TARGET} 1"), "login_timeout=22"),
        (format!("--listtpgparam {TARGET} 1"), "MaxBurstLength=65536"),
        (
            format!("--listnodeattr {TARGET} 1 {CLIENT}"),
            "nopin_timeout=7",
        ),
        (
            format!("--listnodeparam {TARGET} 1 {CLIENT}"),
            "No Active iSCSI Session",
        ),
        (format!("--shownodetcq {TARGET} 1 {CLIENT}"), "64\n"),
        (format!("--listnps {TARGET} 1"), "192.0.2.1:3260\n"),
        (format!("--listnodeacls {TARGET} 1"), CLIENT),
        (format!("--listlunacls {TARGET} 1"), "LUN 0  rw"),
        ("--listtargetnames".into(), TARGET),
        ("--listendpoints".into(), "iblock_0/disk0"),
        ("--version".into(), "iSCSI Target v4.1.0"),
        (
            "--help".into(),
            "--addlunacl TARGET TPGT INITIATOR LUN MAPPED_LUN",
        ),
        (String::new(), "Usage: lio_node"),
    ] {
        let text = lio(&machine, &line).ok();
        assert!(text.contains(says), "{line}: {text}");
    }
    tcm(&machine, "--setdevattr iblock_0/disk0 emulate_tpu 1").ok();
    for (line, says) in [
        ("--listdevattr iblock_0/disk0", "emulate_tpu: 1"),
        ("--udevpath iblock_0/disk0", "/dev/a"),
        ("--wwn iblock_0/disk0", "vpd_unit_serial: serial-0"),
        ("--pr iblock_0/disk0", "No SPC-3 Reservation holder"),
        ("--listhbas", "iblock_0/disk0"),
    ] {
        let text = tcm(&machine, line).ok();
        assert!(text.contains(says), "{line}: {text}");
    }
}

#[test]
fn removal_verbs() {
    let machine = Machine::new();
    machine.typical();
    let disk = machine.disk("b");
    tcm(&machine, &format!("--establishdev iblock_0/second {disk}")).ok();
    let serial = machine.value("core/iblock_0/second/wwn/vpd_unit_serial");
    assert_eq!(serial, "T10 VPD Unit Serial Number:");
    tcm(&machine, "--delhba iblock_0").fails(1, "remove backstore iblock_0/disk0");
    lio(&machine, &format!("--delnp {TARGET} 1 192.0.2.1:3260")).ok();
    assert!(!machine.exists(&tpg("np/192.0.2.1:3260")));
    lio(&machine, &format!("--delnodeacl {TARGET} 1 {CLIENT}")).ok();
    assert!(!machine.exists(&tpg(&format!("acls/{CLIENT}"))));
    lio(
        &machine,
        &format!("--addtpg {TARGET} 2 --deltpg {TARGET} 1"),
    )
    .ok();
    assert!(!machine.exists(&tpg("")));
    lio(&machine, &format!("--addtpg {TARGET} 2")).fails(1, "exists already");
    lio(&machine, "--unload").ok();
    assert!(!machine.exists(&format!("iscsi/{TARGET}")));
    tcm(&machine, "--delhba iblock_0").ok();
    assert!(!machine.exists("core/iblock_0"));
    let text = tcm(&machine, "--unload").ok();
    assert!(text.contains("not loaded"), "{text}");
}

#[test]
fn what_is_not_here_is_refused() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    for line in [
        "--fileio fileio_0/x /tmp/x 1024",
        "--ramdisk rd_mcp_0/x 8",
        "--scsi pscsi_0/x 0:0:0",
        "--pscsibyudev pscsi_0/x /dev/sda",
        "--addlungp g",
        "--setlugp iblock_0/disk0 g",
        "--listlugps",
    ] {
        tcm(&machine, line).fails(1, "this target has no");
    }
    tcm(&machine, "--praptpl iblock_0/disk0").fails(1, "ferritectl reservation show");
    tcm(&machine, "--createdev fileio_0/x /dev/a").fails(1, "block devices only");
    let line = format!("--aluasecmd {TARGET} 1 0");
    lio(&machine, &line).fails(1, "this target has no");
    assert_eq!(machine.snapshot(), before);
}

/// As `ferritectl backstore create` does: a cluster that is made by agents alone has it as well.
#[test]
fn the_directory_for_reservations_is_made() {
    let machine = Machine::new();
    let dir = machine.path("state/pr");
    machine.show("pr_dir", &format!("{}\n", dir.display()));
    let disk = machine.disk("sdx");
    tcm(&machine, &format!("--block iblock_0/disk0 {disk}")).ok();
    assert!(dir.is_dir());
}

#[test]
fn target_port_groups() {
    let machine = Machine::new();
    machine.typical();
    let group = |file: &str| machine.value(&format!("core/iblock_0/disk0/alua/g/{file}"));
    tcm(&machine, "--addaluatpg iblock_0/disk0 g").ok();
    assert_eq!(group("tg_pt_gp_id"), "1");
    tcm(&machine, "--addtgptgp iblock_0/disk0 g").fails(1, "exists already");
    tcm(&machine, "--addaluatpgwithmd iblock_0/disk0 h 7").ok();
    tcm(&machine, "--addaluatpgwithmd iblock_0/disk0 i 0").fails(1, "1 to 65535");
    let text = tcm(&machine, "--listtgptgps iblock_0/disk0").ok();
    assert_eq!(text, "default_tg_pt_gp  0\ng  1\nh  7\n");
    for (verb, file, value) in [
        (
            "--setaluastate iblock_0/disk0 g s",
            "alua_access_state",
            "2",
        ),
        (
            "--setaluastate iblock_0/disk0 g o",
            "alua_access_state",
            "0",
        ),
        (
            "--setaluatype iblock_0/disk0 g implicit",
            "alua_access_type",
            "Implicit",
        ),
        ("--setaluapref iblock_0/disk0 g", "preferred", "1"),
        ("--clearaluapref iblock_0/disk0 g", "preferred", "0"),
        (
            "--setaluadelay iblock_0/disk0 g 20",
            "nonop_delay_msecs",
            "20",
        ),
    ] {
        tcm(&machine, verb).ok();
        assert_eq!(group(file), value, "{verb}");
    }
    tcm(&machine, "--setaluastate iblock_0/disk0 g x").fails(1, "o, a, s or u");
    tcm(&machine, "--setaluastate iblock_0/disk0 none o").fails(1, "does not exist");
    let text = tcm(&machine, "--listaluatpg iblock_0/disk0 g").ok();
    assert!(text.contains("nonop_delay_msecs: 20\n"), "{text}");

    let lun = |file: &str| machine.value(&tpg(&format!("lun/lun_0/{file}")));
    lio(&machine, &format!("--settgptgp {TARGET} 1 0 g")).ok();
    assert!(lun("alua_tg_pt_gp").starts_with("TG Port Alias: g\n"));
    let text = lio(&machine, &format!("--showtgptgp {TARGET} 1 0")).ok();
    assert!(text.starts_with("TG Port Alias: g\n"), "{text}");
    lio(&machine, &format!("--setaluaoff {TARGET} 1 0")).ok();
    assert_eq!(lun("alua_tg_pt_offline"), "1");
    lio(&machine, &format!("--clearaluaoff {TARGET} 1 0")).ok();
    assert_eq!(lun("alua_tg_pt_offline"), "0");
    lio(&machine, &format!("--settgptgp {TARGET} 1 0 none")).fails(1, "does not exist");
    lio(&machine, &format!("--settgptgp {TARGET} 1 0 NULL")).ok();
    assert!(lun("alua_tg_pt_gp").starts_with("TG Port Alias: default_tg_pt_gp\n"));
    tcm(&machine, "--delaluatpg iblock_0/disk0 h").ok();
    assert!(!machine.exists("core/iblock_0/disk0/alua/h"));
    // What is left goes with the device.
    lio(&machine, "--unload").ok();
    tcm(&machine, "--freedev iblock_0/disk0").ok();
    assert!(!machine.exists("core/iblock_0/disk0"));
}

#[test]
fn failures_end_with_one() {
    let machine = Machine::new();
    machine.typical();
    let before = machine.snapshot();
    let disk = machine.disk("b");
    for (line, says) in [
        (
            format!("--addlun {TARGET} 1 0 x iblock_0/disk0"),
            "exists already",
        ),
        (
            format!("--addlun {TARGET} 1 1 x iblock_9/none"),
            "does not exist",
        ),
        (
            format!("--addlun {TARGET} 7 1 x iblock_9/none"),
            "does not exist",
        ),
        (
            format!("--addlunacl {TARGET} 1 {CLIENT} 0 0"),
            "exists already",
        ),
        (
            format!("--addlunacl {TARGET} 1 {OTHER} 5 5"),
            "does not exist",
        ),
        (format!("--addnp {TARGET} 1 host:1"), "not a host name"),
        (format!("--addnp {TARGET} x 192.0.2.1"), "0 to 65535"),
        (format!("--deliqn {OTHER}"), "does not exist"),
        (format!("--dellun {TARGET} 1 5"), "does not exist"),
        (
            format!("--delnp {TARGET} 1 192.0.2.5:3260"),
            "does not exist",
        ),
        (format!("--enabletpg {TARGET} 2"), "does not exist"),
        (
            format!("--settpgattr {TARGET} 1 login_timeout x"),
            "a number is needed",
        ),
        (
            format!("--settpgattr {TARGET} 1 none 1"),
            "no such attribute",
        ),
        (
            format!("--settpgattr {TARGET} 1 ../enable 0"),
            "letters, digits and _",
        ),
        (
            "--addnp nonsense 1 192.0.2.1".into(),
            "an iSCSI name begins with",
        ),
    ] {
        lio(&machine, &line).fails(1, says);
        assert_eq!(machine.snapshot(), before, "{line}");
    }
    tcm(&machine, &format!("--createdev iblock_0/disk0 {disk}")).fails(1, "exists already");
    tcm(&machine, "--createdev iblock_3/x /dev/none").fails(1, "is /dev/none there?");
    tcm(&machine, "--createdev x /dev/none").fails(1, "iblock_<number>/<name>");
    tcm(&machine, "--freedev iblock_0/disk0").fails(1, "remove backstore");
    assert_eq!(machine.snapshot(), before);
    lio(&machine, "--frobnicate").fails(2, "not known");
    lio(&machine, &format!("--addnp {TARGET} 1")).fails(2, "needs 3 arguments");
    // Nothing of a line with a mistake in it is done.
    lio(&machine, &format!("--deliqn {TARGET} --frobnicate")).fails(2, "not known");
    assert_eq!(machine.snapshot(), before);
}
