// SPDX-License-Identifier: GPL-2.0

//! `import`: configurations of other targets as they are met.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::Machine;
use common::Ran;
use common::SECRET;
use common::SECRET_2;
use ferritectl::declared;
use ferritectl::declared::Sources;
use ferritectl::secret::Secret;
use ferritectl::state::Configuration;

const LIO: &str = r#"{
  "fabric_modules": [
    {
      "discovery_enable_auth": true,
      "discovery_mutual_password": "",
      "discovery_mutual_userid": "",
      "discovery_password": "correct-horse-battery",
      "discovery_userid": "finder",
      "name": "iscsi"
    }
  ],
  "storage_objects": [
    {
      "alua_tpgs": [
        {
          "alua_access_state": 0,
          "alua_access_status": 0,
          "alua_access_type": 3,
          "alua_support_active_nonoptimized": 1,
          "alua_support_active_optimized": 1,
          "alua_support_offline": 1,
          "alua_support_standby": 1,
          "alua_support_transitioning": 1,
          "alua_support_unavailable": 1,
          "alua_write_metadata": 0,
          "implicit_trans_secs": 0,
          "name": "default_tg_pt_gp",
          "nonop_delay_msecs": 100,
          "preferred": 0,
          "tg_pt_gp_id": 0,
          "trans_delay_msecs": 0
        },
        {
          "alua_access_state": 1,
          "alua_access_type": "Implicit",
          "name": "second",
          "nonop_delay_msecs": 100,
          "tg_pt_gp_id": 16
        }
      ],
      "attributes": {
        "alua_support": 1,
        "block_size": 512,
        "emulate_3pc": 0,
        "emulate_caw": 1,
        "emulate_dpo": 1,
        "emulate_fua_read": 1,
        "emulate_fua_write": 1,
        "emulate_model_alias": 1,
        "emulate_pr": 0,
        "emulate_tas": 1,
        "emulate_tpu": 0,
        "is_nonrot": 1,
        "pi_prot_type": 0,
        "queue_depth": 128
      },
      "dev": "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4",
      "name": "disk one",
      "plugin": "none",
      "readonly": false,
      "write_back": false,
      "wwn": "b0ba2bd4-17a3-4f3b-9c6d-0f5e8a7c1234"
    },
    {
      "aio": false,
      "dev": "/var/lib/image.img",
      "name": "image",
      "plugin": "fileio",
      "size": 1073741824,
      "write_back": true,
      "wwn": "5d0d4f36-8c8a-4d6b-9f4b-0a5d8f2c7e11"
    },
    {
      "dev": "/dev/vg0/lv1",
      "name": "lv1",
      "plugin": "block",
      "readonly": true,
      "wwn": "d7b6a3a4-6e7a-4a2e-8b73-3c1f0a9d5e22"
    }
  ],
  "targets": [
    {
      "fabric": "iscsi",
      "tpgs": [
        {
          "attributes": {
            "authentication": 1,
            "cache_dynamic_acls": 0,
            "default_cmdsn_depth": 64,
            "demo_mode_write_protect": 1,
            "generate_node_acls": 0,
            "login_timeout": 20,
            "netif_timeout": 2,
            "t10_pi": 1
          },
          "enable": true,
          "luns": [
            {
              "alias": "1111111111",
              "alua_tg_pt_gp_name": "second",
              "index": 0,
              "storage_object": "/backstores/block/disk1"
            },
            {
              "alias": "2222222222",
              "alua_tg_pt_gp_name": "default_tg_pt_gp",
              "index": 7,
              "storage_object": "/backstores/fileio/image"
            },
            {
              "index": 9,
              "storage_object": "/backstores/block/lv1"
            }
          ],
          "node_acls": [
            {
              "attributes": {
                "authentication": -1,
                "dataout_timeout": 3,
                "dataout_timeout_retries": 5,
                "default_erl": 0,
                "nopin_response_timeout": 30,
                "nopin_timeout": 5,
                "random_r2t_offsets": 0
              },
              "chap_mutual_password": "staple-battery-horse",
              "chap_mutual_userid": "store",
              "chap_password": "correct-horse-battery",
              "chap_userid": "bob",
              "mapped_luns": [
                { "alias": "a", "index": 3, "tpg_lun": 0, "write_protect": true },
                { "alias": "b", "index": 7, "tpg_lun": 7, "write_protect": false }
              ],
              "node_wwn": "iqn.1993-08.org.debian:01:abc"
            }
          ],
          "parameters": {
            "AuthMethod": "CHAP",
            "DataDigest": "CRC32C,None",
            "InitialR2T": "Yes",
            "MaxBurstLength": "1048576",
            "TargetAlias": "LIO Target",
            "IFMarker": "No",
            "IFMarkInt": "Reject"
          },
          "portals": [
            { "ip_address": "192.0.2.1", "iser": true, "offload": false, "port": 3260 },
            { "ip_address": "[2001:db8::1]", "iser": false, "offload": false, "port": 3261 }
          ],
          "tag": 7
        }
      ],
      "wwn": "iqn.2003-01.org.linux-iscsi.host.x8664:sn.0123456789ab"
    },
    {
      "fabric": "vhost",
      "tpgs": [],
      "wwn": "naa.5001405a1b2c3d4e"
    }
  ]
}
"#;

/// What targetcli itself would have written: a name without a space, and the plugin.
fn lio() -> String {
    LIO.replace(
        "\"disk one\",\n      \"plugin\": \"none\"",
        "\"disk1\",\n      \"plugin\": \"block\"",
    )
}

fn import(machine: &Machine, name: &str, text: &str, more: &str) -> Ran {
    let file = machine.file(name, text);
    machine.run(&format!("import {file} {more}"))
}

/// Imports to a file, and gives that, and what was told.
fn imported(machine: &Machine, name: &str, text: &str) -> (String, String) {
    let out = machine.path("out.toml");
    let ran = import(machine, name, text, &format!("-o {}", out.display()));
    assert!(matches!(ran.code, 0 | 6), "{}{}", ran.out, ran.err);
    assert_eq!(ran.code == 0, ran.err.is_empty());
    (fs::read_to_string(out).unwrap(), ran.err)
}

/// Every line of what was told has a file, a line, and two more parts.
#[track_caller]
fn tells(told: &str, all: &[(usize, &str)]) {
    let lines: Vec<&str> = told
        .lines()
        .filter(|l| !l.starts_with("ferritectl:"))
        .collect();
    for (number, text) in all {
        let number = format!(":{number}: ");
        let found = lines
            .iter()
            .filter(|l| l.contains(&number) && l.contains(text))
            .count();
        assert_eq!(found, 1, "{number}{text} in\n{told}");
    }
    assert_eq!(lines.len(), all.len(), "{told}");
}

#[track_caller]
fn has(text: &str, all: &[&str]) {
    for part in all {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// The file is one that `apply` takes, with its secrets.
#[track_caller]
fn applies(machine: &Machine, text: &str) -> Configuration {
    let path = machine.path("out.toml");
    let sources = Sources {
        text,
        dir: machine.dir.path(),
        env: &|_| None,
    };
    declared::parse(&path, text)
        .and_then(|file| file.resolve(&path, &Configuration::default(), &sources))
        .unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

const COMSTAR: &str = "\
# lists of a host
LU Name: 600144F0C73ABF0000004AD9C68D0001
    Operational Status: Online
    Provider Name     : sbd
    Alias             : /dev/zvol/rdsk/tank/vm one
    View Entry Count  : 1
    Data File         : /dev/zvol/rdsk/tank/vm1
    Meta File         : not set
    Size              : 1073741824
    Block Size        : 512
    Management URL    : not set
    Vendor ID         : SUN
    Product ID        : COMSTAR
    Serial Num        : not set
    Write Protect     : Disabled
    Writeback Cache   : Enabled
    Access State      : Active
View Entry: 0
    Host group   : All
    Target group : All
    LUN          : 0
LU Name: 600144F0C73ABF0000004AD9C68D0002
    Operational Status: Online
    Data File         : /dev/zvol/dsk/tank/vm2
    Meta File         : not set
    Block Size        : 4096
    Management URL    : http://192.0.2.9/
    Vendor ID         : ACME
    Product ID        : Zwei
    Serial Num        : 0042
    Write Protect     : Enabled
    Writeback Cache   : Disabled
View Entry: 0
    Host group   : Web Hosts
    Target group : inside
    LUN          : 0
View Entry: 1
    Host group   : gone
    Target group : nowhere
    LUN          : 9
LU Name: 600144F0C73ABF0000004AD9C68D0003
    Data File         : /dev/rdsk/c0t0d0s0
    Meta File         : not set
View Entry: 0
    Host group   : All
    Target group : All
    LUN          : 7
LU Name: 600144F0C73ABF0000004AD9C68D0004
    Data File         : /dev/zvol/dsk/tank/vm4
    Serial Num        : 0044
Host Group: Web Hosts
\tMember: iqn.2026-01.org.example:web1
\tMember: wwn.210000E08B029C01
Target Group: inside
\tMember: iqn.2010-01.org.illumos:02:b
Target: iqn.2010-01.org.illumos:02:a
    Operational Status: Online
    Sessions          : 1
        Initiator: iqn.2026-01.org.example:web1
            Alias: web1
            Logged in since: Thu Nov 26 08:00:00 2026
TARGET NAME                                                  STATE    SESSIONS
iqn.2010-01.org.illumos:02:a                                 online   1
\talias:              \tfirst
\tauth:               \tnone (defaults)
\ttargetchapuser:     \t-
\ttargetchapsecret:   \tunset
\ttpg-tags:           \tdefault
iqn.2010-01.org.illumos:02:b                                 offline  0
\talias:              \t-
\tauth:               \tchap
\ttargetchapuser:     \t-
\ttargetchapsecret:   \tset
\ttpg-tags:           \tlan = 2,other = 3
TARGET PORTAL GROUP           PORTAL COUNT
lan                           2
    portals:\t192.0.2.1:3260,[2001:db8::1]:3261
INITIATOR NAME                                               CHAPUSER  SECRET
iqn.2026-01.org.example:web1                                 web1           set
iqn.2026-01.org.example:web2                                 <none>         unset
";

#[test]
fn comstar_is_read() {
    let machine = Machine::new();
    let (text, told) = imported(&machine, "comstar.txt", COMSTAR);
    has(
        &text,
        &[
            "device = \"/dev/zvol/tank/vm1\"\nserial = \"600144f0c73abf0000004ad9c68d0001\"\n\
             vendor = \"SUN\"\nproduct = \"COMSTAR\"",
            "naa_id = \"0x600144f0c73abf0000004ad9c68d0001\"",
            "device = \"/dev/zvol/tank/vm2\"\nserial = \"0042\"\nvendor = \"ACME\"\n\
             product = \"Zwei\"\nread_only = true\n",
            "block_size = \"4096\"",
            "write_through = \"1\"",
            "TargetAlias = \"first\"",
            "portals = [\"0.0.0.0:3260\"]",
            "portals = [\"192.0.2.1:3260\", \"[2001:db8::1]:3261\"]",
            "illumos:02:b\".tpg.2",
            "illumos:02:b\".tpg.3",
            "enabled = false",
            "group.web-hosts]\nmembers = [\"iqn.2026-01.org.example:web1\"]",
            "group.others]\nmembers = [\"eui.*\", \"iqn.*\", \"naa.*\"]\nluns = [0]",
        ],
    );
    assert!(!text.contains("c0t0d0s0"));
    tells(
        &told,
        &[
            (2, "serial number of logical unit"),
            (27, "Management URL"),
            (37, "target group nowhere"),
            (37, "host group gone"),
            (42, "COMSTAR's own data is in front"),
            (48, "no view of it"),
            (53, "wwn.210000E08B029C01"),
            (63, "portals of iqn.2010-01.org.illumos:02:a"),
            (73, "CHAP of target"),
            (74, "portal group other"),
            (79, "CHAP of initiator iqn.2026-01.org.example:web1"),
        ],
    );
    let configuration = applies(&machine, &text);
    let first = &configuration.targets.values().next().unwrap().tpgs[&1];
    assert_eq!(first.attributes.get("generate_node_acls"), Some("1"));
    assert_eq!(first.attributes.get("authentication"), Some("0"));
    let tpg = &configuration.targets.values().nth(1).unwrap().tpgs[&2];
    assert_eq!(tpg.attributes.get("authentication"), Some("1"));
    // Of two logical units that are LUN 0, each by its own view.
    let web = &tpg
        .acls
        .iter()
        .find(|(name, _)| name.as_str() == "@web-hosts")
        .unwrap()
        .1;
    let seen = &tpg.luns[&web.mapped_luns[&0].lun].backstore.name;
    assert_eq!(seen, "vm2");
}

#[test]
fn what_comstar_does_not_print_is_named() {
    let machine = Machine::new();
    for (text, line, rule) in [
        ("LU Name: 6001\n", 1, "32 hexadecimal digits"),
        (
            "INITIATOR NAME  CHAPUSER\nView Entry: 0\n",
            2,
            "`LU Name:` is expected",
        ),
        (
            "LU Name: 600144F0C73ABF0000004AD9C68D0001\n# stmfadm list-view\nhello\n",
            3,
            "nothing that stmfadm or itadm prints",
        ),
        (
            "LU Name: 600144F0C73ABF0000004AD9C68D0001\nView Entry: 0\n    LUN : x\n",
            3,
            "0 to 16383",
        ),
        (
            "LU Name: 600144F0C73ABF0000004AD9C68D0001\n    Data File\n",
            2,
            "a property and its value",
        ),
        (
            "TARGET NAME  STATE\niqn.2010-01.org.illumos:x online 0\n\ttpg-tags: a\n",
            3,
            "NAME = TAG",
        ),
    ] {
        let said = import(&machine, "bad.txt", text, "").fails(8, rule);
        assert!(said.contains(&format!("line {line}")), "{said}");
    }
    // Whatever of it there is: no panic.
    for end in 0..COMSTAR.len() {
        let _ = ferritectl::import::read(
            std::path::Path::new("x"),
            &COMSTAR[..end],
            Some(ferritectl::import::Format::Comstar),
        );
    }
}

#[test]
fn lio_is_read() {
    let machine = Machine::new();
    let (text, told) = imported(&machine, "saveconfig.json", &lio());
    has(
        &text,
        &[
            "# Of LIO's ",
            "[backstore.disk1]\ndevice = \"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4\"\n\
             serial = \"b0ba2bd4-17a3-4f3b-9c6d-0f5e8a7c1234\"\nvendor = \"LIO-ORG\"\n\
             product = \"disk1\"\nrevision = \"4.0\"\n",
            "t10_id = \"LIO-ORG disk1:b0ba2bd4-17a3-4f3b-9c6d-0f5e8a7c1234\"",
            "emulate_3pc = \"0\"",
            "[backstore.disk1.port_groups.second]\nid = 16\n",
            "alua_access_state = \"1\"",
            "alua_access_type = \"1\"",
            "product = \"IBLOCK\"",
            "t10_id = \"LIO-ORG IBLOCK:d7b6a3a4-6e7a-4a2e-8b73-3c1f0a9d5e22\"",
            "read_only = true",
            "[target.\"iqn.2003-01.org.linux-iscsi.host.x8664:sn.0123456789ab\".tpg.7]\n",
            "portals = [\"192.0.2.1:3260\", \"[2001:db8::1]:3261\"]",
            "login_timeout = \"20\"",
            "MaxBurstLength = \"1048576\"",
            "port_group = \"second\"",
            "9 = \"lv1\"",
            "nopin_timeout = \"5\"",
            "user = \"bob\"",
            "mutual_user = \"store\"",
            "[discovery]\nenforce = true",
        ],
    );
    for absent in [
        "image",
        "InitialR2T",
        "default_cmdsn_depth",
        "TargetAlias",
        "emulate_tpu",
    ] {
        assert!(!text.contains(absent), "{absent} is in\n{text}");
    }
    let line = |part: &str| {
        let lio = lio();
        let at = lio.find(part).unwrap();
        lio[..at].matches('\n').count() + 1
    };
    tells(
        &told,
        &[
            (3, "CHAP by MD5"),
            (line("\"emulate_pr\": 0"), "disk1: attribute emulate_pr=0"),
            (
                line("\"aio\"") - 1,
                "backstore fileio/image: only block devices",
            ),
            (line("\"t10_pi\": 1"), "attribute t10_pi=1"),
            (line("\"iser\": true"), "iser of portal 192.0.2.1:3260"),
            (line("\"alias\": \"2222222222\"") - 1, "LUN 7"),
            (line("\"alias\": \"b\""), "mapped LUN 7"),
            (
                line("\"fabric\": \"vhost\"") - 1,
                "target vhost naa.5001405a1b2c3d4e",
            ),
        ],
    );
    // The secrets are in files of their own, and the file can be applied.
    for (name, secret) in [
        ("out-discovery.secret", SECRET),
        (
            "out-iqn.2003-01.org.linux-iscsi.host.x8664-sn.0123456789ab-7-iqn.1993-08.org.debian-01-abc.secret",
            SECRET,
        ),
        (
            "out-iqn.2003-01.org.linux-iscsi.host.x8664-sn.0123456789ab-7-iqn.1993-08.org.debian-01-abc-mutual.secret",
            SECRET_2,
        ),
    ] {
        let path = machine.path(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{secret}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(text.contains(name));
    }
    assert!(!text.contains(SECRET) && !text.contains(SECRET_2));
    let made = applies(&machine, &text);
    let disk = made.backstores.values().next().unwrap();
    assert_eq!(
        disk.wwn.get("t10_id"),
        Some("LIO-ORG disk1:b0ba2bd4-17a3-4f3b-9c6d-0f5e8a7c1234")
    );
    let acls = made.targets.values().flat_map(|t| t.tpgs.values());
    let acl = acls.flat_map(|tpg| tpg.acls.values()).next().unwrap();
    assert_eq!(acl.auth.initiator.secret, Some(Secret::new(SECRET)));
    assert_eq!(acl.auth.target.secret, Some(Secret::new(SECRET_2)));
}

#[test]
fn nothing_is_overwritten_and_nothing_half_written() {
    let machine = Machine::new();
    let out = machine.path("out.toml");
    let secret = machine.path("out-discovery.secret");
    let args = format!("-o {}", out.display());
    fs::write(&out, "mine").unwrap();
    import(&machine, "s.json", &lio(), &args).fails(4, "out.toml exists already");
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    assert!(!secret.exists());
    fs::remove_file(&out).unwrap();
    fs::write(&secret, "mine").unwrap();
    import(&machine, "s.json", &lio(), &args).fails(4, "out-discovery.secret exists already");
    assert!(!out.exists());
    fs::remove_file(&secret).unwrap();
    let ran = import(&machine, "s.json", &lio(), &format!("{args} --dry-run"));
    assert_eq!(ran.code, 6);
    assert!(ran.out.contains(&format!("would write {}", out.display())));
    assert!(!out.exists() && !secret.exists());
    import(&machine, "s.json", &lio(), "-o /nowhere/out.toml").fails(8, "/nowhere");
    import(
        &machine,
        "s.json",
        &lio().replace("\"tag\": 7", "\"tag\": -7"),
        &args,
    )
    .fails(
        8,
        "targets[0].tpgs[0].tag: -7 is not a number from 0 to 65535",
    );
    assert!(!out.exists() && !secret.exists());
    // Without a file there is no place for secrets.
    let ran = import(&machine, "s.json", &lio(), "");
    assert_eq!(ran.code, 6);
    assert!(ran
        .err
        .contains("the CHAP name and secret of discovery: secrets are written"));
    assert!(!ran.out.contains("secret_file"));
    let ran = import(&machine, "s.json", &lio(), "--json");
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["backstore"]["lv1"]["device"], "/dev/vg0/lv1");
    assert!(ran.err.contains("not_carried_over"));
}

const TGT: &str = r#"# tgt-admin's file
default-driver iscsi
include tgt.d/*.conf
ignore-errors yes
incomingdiscoveryuser finder correct-horse-battery
isnsserverip 192.0.2.9

<target iqn.2008-09.com.example:server.b>
    backing-store /dev/vg0/one   # LUN 1
    backing-store "/dev/vg0/two"
    direct-store /dev/sdd
    write-cache off
    vendor_id MyCompany Inc.
    incominguser bob correct-horse-battery
    incominguser joe another-secret-word
    outgoinguser store staple-battery-horse
    MaxRecvDataSegmentLength 65536
    InitialR2T Yes
    FancyOption 3
</target>

<target iqn.2008-09.com.example:server.a>
    controller_tid 10
    <backing-store /dev/vg0/three>
        lun 15
        scsi_id SCSI-${tid}-${lun}
        scsi_sn multipath\#10
        readonly 1
        block-size 4096
    </backing-store>
    <backing-store /var/lib/image>
        lun 3
    </backing-store>
    <backing-store /dev/sr0>
        lun 4
        device-type cd
    </backing-store>
    initiator-name iqn.1993-08.org.debian:01:abc
    initiator-address 192.0.2.0/24
    mode_page 8:0:18:0x10:0:0xff:0xff:0:0
</target>
"#;

#[test]
fn tgt_is_read() {
    let machine = Machine::new();
    fs::create_dir(machine.path("tgt.d")).unwrap();
    machine.file(
        "tgt.d/more.conf",
        "<target iqn.2008-09.com.example:server.c>\n  driver iser\n  <backing-store /dev/vg0/one>\n    \
         scsi_id IET     00550001\n    scsi_sn beef\n  </backing-store>\n</target>\n",
    );
    machine.file("tgt.d/old.conf~", "nonsense");
    let (text, told) = imported(&machine, "targets.conf", TGT);
    has(
        &text,
        &[
            // Targets are numbered by their names, unless they say so: b is 11.
            "[backstore.one]\ndevice = \"/dev/vg0/one\"\nserial = \"beaf111\"\nvendor = \"MyCompan\"\n\
             product = \"VIRTUAL-DISK\"\nrevision = \"0001\"\nshared = true\n",
            "naa_id = \"0x60000000000000000e000000000b0001\"\nt10_id = \"IET     000b0001\"",
            "t10_id = \"IET     000b0002\"",
            "serial = \"beaf113\"",
            "serial = \"multipath#10\"",
            "t10_id = \"SCSI-10-15\"",
            "read_only = true",
            "block_size = \"4096\"",
            "write_through = \"1\"",
            "1 = \"one\"",
            "2 = \"two\"",
            "3 = \"sdd\"",
            "15 = \"three\"",
            "MaxRecvDataSegmentLength = \"65536\"",
            "authentication = \"1\"",
            "authentication = \"0\"",
            "generate_node_acls = \"1\"",
            "[target.\"iqn.2008-09.com.example:server.a\".tpg.1.initiator.\"iqn.1993-08.org.debian:01:abc\"]\n\
             luns = [15]",
            "portals = [\"0.0.0.0:3260\"]",
            "[backstore.one-2]\ndevice = \"/dev/vg0/one\"\nserial = \"beef\"",
            "naa_id = \"0x60000000000000000e00000000550001\"",
        ],
    );
    assert!(!text.contains("InitialR2T"));
    // Only b and c let everybody in.
    assert_eq!(text.matches("generate_node_acls").count(), 2);
    tells(
        &told,
        &[
            (5, "CHAP by MD5"),
            (6, "isnsserverip"),
            (11, "vendor, product, revision and serial number of LUN 3"),
            (
                8,
                "identity of LUN 1, 2, 3 of iqn.2008-09.com.example:server.b",
            ),
            (15, "incominguser \"joe\": there is one name"),
            (19, "\"FancyOption\": unknown option"),
            (31, "backing store \"/var/lib/image\": not below /dev"),
            (36, "LUN 4 of \"/dev/sr0\": device-type \"cd\""),
            (39, "initiator-address 192.0.2.0/24"),
            (40, "mode_page \"8:0:18:0x10:0:0xff:0xff:0:0\" of LUN 15"),
            (40, "mode_page \"8:0:18:0x10:0:0xff:0xff:0:0\" of LUN 3"),
            (2, "driver iser"),
            (3, "device /dev/vg0/one: it is exported more than once"),
            (22, "portals: the file names no address"),
        ],
    );
    assert!(!told.contains("another-secret-word"));
    applies(&machine, &text);
}

#[test]
fn a_dump_of_tgt_has_no_secrets() {
    let machine = Machine::new();
    let (text, told) = imported(
        &machine,
        "dump",
        "default-driver iscsi\n\n<target iqn.2008-09.com.example:a>\n\tbacking-store /dev/vda\n\
         \tincominguser bob PLEASE_CORRECT_THE_PASSWORD\n\tinitiator-address ALL\n</target>\n\n",
    );
    has(
        &text,
        &[
            "authentication = \"1\"",
            "generate_node_acls = \"1\"",
            "serial = \"beaf11\"",
        ],
    );
    assert!(!text.contains("bob"));
    has(
        &told,
        &["dump:5: incominguser \"bob\": the file does not have the secret"],
    );
}

const IET: &str = "\
# ietd.conf
IncomingUser finder correct-horse-battery
iSNSServer 192.0.2.9

Target iqn.2001-04.com.example:storage.disk2.sys1.xyz
\tIncomingUser bob correct-horse-battery
\tOutgoingUser store staple-battery-horse
\tLun 0 Path=/dev/sdc,Type=blockio,ScsiId=xyz0123,ScsiSN=SN-1,IOMode=wt
\tlun 1 Sectors=10000,Type=nullio
    Lun 5 Path=/dev/sdd, Type=fileio, IOMode=ro, BlockSize=4096
\tAlias Test
\tMaxConnections\t\t1
\tInitialR2T No
\tImmediateData Maybe
\tQueuedCommands 128
\tNOPInterval 5
\tWthreads 8
\tMaxSessions 3
\tIFMarker Yes
Target iqn.2001-04.com.example:open
\tLun 0 Path=/srv/file.img,Type=fileio
";

#[test]
fn iet_is_read() {
    let machine = Machine::new();
    let (text, told) = imported(&machine, "ietd.conf", IET);
    has(
        &text,
        &[
            "[backstore.sdc]\ndevice = \"/dev/sdc\"\nserial = \"SN-1\"\nvendor = \"IET\"\n\
             product = \"VIRTUAL-DISK\"\nrevision = \"0\"\n",
            "naa_id = \"none\"\nt10_id = \"0x494554000000000078797a30313233000000000000000000\"",
            "write_through = \"1\"",
            "block_size = \"4096\"",
            "TargetAlias = \"Test\"",
            "InitialR2T = \"No\"",
            "default_cmdsn_depth = \"128\"",
            "nopin_timeout = \"5\"",
            "0 = \"sdc\"\n5 = \"sdd\"",
            "mutual_user = \"store\"",
        ],
    );
    tells(
        &told,
        &[
            (2, "CHAP by MD5"),
            (3, "iSNSServer"),
            (9, "LUN 1: nullio"),
            (10, "the identity of LUN 5"),
            (10, "the serial number of LUN 5"),
            (14, "ImmediateData \"Maybe\": Yes or No"),
            (18, "MaxSessions \"3\""),
            (19, "IFMarker \"Yes\": only No"),
            (21, "the identity of LUN 0"),
            (21, "the serial number of LUN 0"),
            (21, "backing store \"/srv/file.img\""),
            (5, "portals"),
        ],
    );
    applies(&machine, &text);
}

#[test]
fn rules_of_iet_by_address_let_nobody_in() {
    let machine = Machine::new();
    let file = "Target iqn.2001-04.com.example:a\n Lun 0 Path=/dev/sda\n";
    machine.file("initiators.allow", "# all\nALL ALL\n");
    let (text, _) = imported(&machine, "ietd.conf", file);
    assert!(text.contains("generate_node_acls = \"1\""));
    fs::remove_file(machine.path("out.toml")).unwrap();
    machine.file(
        "initiators.allow",
        "iqn.2001-04.com.example:a 192.0.2.0/24\n",
    );
    let (text, told) = imported(&machine, "ietd.conf", file);
    assert!(!text.contains("generate_node_acls"));
    assert!(told.contains("initiators.allow: rules by address are not read"));
}

const SCST: &str = r#"# Automatically generated by SCST Configurator v3.8
setup_id 0x1234
max_tasklet_cmd 10

HANDLER vdisk_fileio {
	DEVICE image {
		filename /srv/image
	}
}
HANDLER vcdrom {
	DEVICE cd
}
HANDLER vdisk_blockio {
	DEVICE disk1 {
		filename /dev/sda5
		# Non-key attributes
		nv_cache 1
		threads_num 4
	}
	DEVICE disk2 {
		filename "/dev/vg0/two"
		blocksize 4096
		read_only 1
		t10_dev_id "0123-disk2"
		usn 0123abcd
		prod_id "my disk"
	}

	DEVICE disk3 {
		filename /dev/vg0/three
		usn u3
		t10_dev_id t3
		t10_vend_id ACME
		vend_specific_id "three three"
		naa_id 0x600140512345678901234567890abcde
		thin_provisioned 0
	}
}

TARGET_DRIVER copy_manager {
	TARGET copy_manager_tgt {
		LUN 0 disk1
	}
}

TARGET_DRIVER iscsi {
	enabled 1
	IncomingUser "finder correct-horse-battery"

	TARGET iqn.2006-10.net.vlnb:tgt {
		enabled 1
		rel_tgt_id 3
		IncomingUser "bob correct-horse-battery"
		IncomingUser1 "joe another-secret-word"
		HeaderDigest "CRC32C,None"
		MaxSessions 2
		QueuedCommands 64
		allowed_portal 192.0.2.1

		LUN 0 disk1
		LUN 1 image

		GROUP ESX_Hosts {
			LUN 0 disk2 {
				read_only 1
			}
			LUN 4 disk3

			INITIATOR iqn.1998-01.com.vmware:esx*
			INITIATOR iqn.1998-01.com.vmware:other
			INITIATOR "iqn.x?"

			cpu_mask ff
		}
	}
	TARGET iqn.2006-10.net.vlnb:off {
		GROUP all {
			LUN 0 disk2
			INITIATOR *
		}
	}
}

DEVICE_GROUP dgroup1 {
	DEVICE disk1
}
"#;

#[test]
fn scst_is_read() {
    let machine = Machine::new();
    let (text, told) = imported(&machine, "scst.conf", SCST);
    has(
        &text,
        &[
            "[backstore.disk1]\ndevice = \"/dev/sda5\"\nserial = \"1234SCST_NUMBER\"\n\
             vendor = \"SCST_BIO\"\nproduct = \"disk1\"\nrevision = \"3110\"\n"
                .replace("SCST_NUMBER", DISK1)
                .as_str(),
            format!("t10_id = \"SCST_BIO1234{DISK1}-disk1\"").as_str(),
            // The first eight bytes of 0123-disk2.
            "eui64_id = \"0x303132332d646973\"\nnaa_id = \"none\"\nt10_id = \"SCST_BIO0123-disk2\"",
            "t10_id = \"ACME    three three\"",
            "naa_id = \"0x600140512345678901234567890abcde\"",
            "emulate_tpu = \"0\"",
            "block_size = \"4096\"",
            "rtpi = 3",
            "HeaderDigest = \"CRC32C,None\"",
            "default_cmdsn_depth = \"64\"",
            "portals = [\"192.0.2.1:3260\"]",
            "portals = [\"0.0.0.0:3260\"]",
            "enabled = false",
            "group.esx_hosts]\nmembers = [\"iqn.1998-01.com.vmware:esx*\", \"iqn.1998-01.com.vmware:other\"]",
            "group.others]\nmembers = [\"eui.*\", \"iqn.*\", \"naa.*\"]\nluns = [0]",
            "group.all]\nmembers = [\"eui.*\", \"iqn.*\", \"naa.*\"]\nluns = [0]",
            "4 = 4",
            "lun = 1\nread_only = true",
        ],
    );
    assert!(!text.contains("generate_node_acls"));
    tells(
        &told,
        &[
            (48, "CHAP by MD5"),
            (3, "max_tasklet_cmd"),
            (6, "device image: \"/srv/image\""),
            (11, "device cd of handler vcdrom"),
            (14, "the identity of device disk1"),
            (17, "nv_cache of device disk1"),
            (41, "target copy_manager copy_manager_tgt"),
            (54, "IncomingUser \"joe\""),
            (56, "MaxSessions"),
            (61, "LUN 1: its device image"),
            (71, "initiator \"iqn.x?\" of group ESX_Hosts"),
            (73, "cpu_mask of group ESX_Hosts"),
            (76, "portals"),
            (84, "device group dgroup1"),
        ],
    );
    assert!(!told.contains("another-secret-word"));
    applies(&machine, &text);
}

/// CRC32C of the name and a null, begun with zero and not inverted.
const DISK1: &str = "b8fdbd32";

#[test]
fn bad_files_name_line_value_and_rule() {
    let machine = Machine::new();
    let target = "<target iqn.2008-09.com.example:a>\n";
    for (from, text, says) in [
        ("lio", "{ \"targets\": [", "line 1: no JSON: EOF"),
        ("lio", "{\n}", "line 1: it has neither"),
        ("lio", "{ \"targets\": {} }", "targets: a list is needed"),
        (
            "lio",
            "{\n\"targets\": [\n{ \"fabric\": \"iscsi\",\n\"wwn\": \"x\" } ] }",
            "line 4: iSCSI name \"x\" is not valid",
        ),
        ("lio", "{\n\"targets\": [\n\n{} ] }", "line 4: targets[0]: it lacks \"fabric\""),
        (
            "lio",
            "{\"storage_objects\":[{\"plugin\":\"block\",\"name\":\"a\",\"wwn\":\"1\",\n\"dev\":\"/dev/a,b\"}]}",
            "line 2: device path \"/dev/a,b\" is not valid",
        ),
        ("tgt", "<target iqn.2008-09.com.example:a\n", "line 1: block"),
        ("tgt", target, "line 1: block \"<target iqn.2008-09.com.example:a>\" is not valid: it does not end"),
        ("tgt", "<target bad name>\n</target>\n", "line 1: iSCSI name \"bad name\""),
        ("tgt", "</target>\n", "line 1: end of a block \"</target>\" is not valid: no block is open"),
        ("tgt", "<target iqn.2008-09.com.example:a>\n</other>", "line 2: end of a block"),
        ("tgt", "<target iqn.2008-09.com.example:a>\nincominguser correct-horse-battery\n</target>", "line 2: incominguser: a name and a secret are needed"),
        ("tgt", "\ninclude /nowhere/a.conf\n", "line 2: /nowhere/a.conf: No such file"),
        ("tgt", "include bad\n", "include each other too deep"),
        ("tgt", "<target iqn.2008-09.com.example:a>\n<backing-store /dev/a>\nlun x\n</backing-store>\n</target>", "line 3: lun \"x\" is not valid: a number from 0 to 16383"),
        ("iet", "Targets x\n", "line 1: key \"Targets\" is not valid"),
        ("iet", "Target x\n", "line 1: iSCSI name \"x\""),
        ("iet", "Target iqn.2008-09.com.example:a\nLun 99999 Path=/dev/a\n", "line 2: LUN \"99999\" is not valid"),
        ("iet", "Target iqn.2008-09.com.example:a\nLun 0 Type=fileio\n", "Path=... is needed"),
        ("iet", "Target iqn.2008-09.com.example:a\nIncomingUser correct-horse-battery\n", "line 2: IncomingUser: a name and a secret are needed"),
        ("scst", "HANDLER x {\n", "line 1: block \"HANDLER\" is not valid: it does not end"),
        ("scst", "}\n", "line 1: end of a block"),
        ("scst", "TARGET_DRIVER iscsi {\n IncomingUser \"bob correct-horse-battery\n}\n", "line 2: a quotation mark is open"),
        ("scst", "TARGET_DRIVER iscsi {\n TARGET x {\n }\n}\n", "line 2: iSCSI name \"x\""),
        ("scst", "HANDLER vdisk_blockio {\n DEVICE a\n}\n", "line 2: device \"a\" is not valid: `filename` is needed"),
        ("scst", "TARGET_DRIVER iscsi {\n TARGET iqn.2008-09.com.example:a {\n  enabled 2\n }\n}\n", "line 3: enabled \"2\" is not valid"),
    ] {
        let out = machine.path("out.toml");
        let more = format!("--from {from} -o {}", out.display());
        let ran = import(&machine, "bad", text, &more);
        assert!(ran.out.is_empty());
        ran.fails(8, says);
        assert!(!out.exists(), "{text}");
    }
    import(&machine, "x", "something else\n", "").fails(8, "it looks like none of");
    import(&machine, "x", "", "").fails(8, "it looks like none of");
    machine.run("import /nowhere/file").fails(8, "No such file");
    machine.run("import --from ctl x").fails(2, "ctl");
}

/// What is cut off or changed anywhere is read or refused, and nothing else.
#[test]
fn damaged_files_are_survived() {
    let machine = Machine::new();
    for text in [&lio(), TGT, IET, SCST] {
        for from in ["lio", "tgt", "iet", "scst"] {
            for at in (0..text.len()).step_by(97) {
                let Some(part) = text.get(..at) else { continue };
                let part = part.replace("include tgt.d/*.conf", "");
                let ran = import(&machine, "part", &part, &format!("--from {from}"));
                assert!(matches!(ran.code, 0 | 6 | 8), "{from} {part}: {}", ran.err);
                assert!(!ran.err.is_empty() || ran.code == 0);
                assert!(ran.code != 8 || ran.out.is_empty());
            }
        }
    }
}
