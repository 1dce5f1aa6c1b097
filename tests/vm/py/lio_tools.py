# SPDX-License-Identifier: GPL-2.0
"""rtslib, which administers LIO, on our tree under LIO's name: make, read, save, clear, restore."""

import copy
import json
import os

import rtslib_fb as rts

from iscsi import check, check_eq

SERIAL = "11112222-3333-4444-5555-666677778888"


def refused(act, *args, **kwargs):
    try:
        act(*args, **kwargs)
    except rts.RTSLibError as e:
        return str(e)


def by_key(config):
    """The order of a directory means nothing."""
    if isinstance(config, dict):
        return {k: by_key(v) for k, v in config.items()}
    if isinstance(config, list):
        return sorted((by_key(v) for v in config), key=repr)
    return config


root = rts.RTSRoot()
disk = rts.BlockStorageObject("disk", dev="/dev/vda", wwn=SERIAL)
node = os.stat("/dev/vda").st_rdev
with open("/sys/class/block/vda/size", encoding="ascii") as f:
    size = int(f.read()) * 512
check_eq("rtslib reads a backstore's state",
         (SERIAL, "/dev/vda", "deactivated", False, size, os.major(node), os.minor(node)),
         (disk.wwn, disk.udev_path, disk.status, disk.readonly, disk.size, disk.major, disk.minor))
disk.set_attribute("emulate_model_alias", 1)
check_eq("it can make the model the backstore's name", "disk",
         rts.utils.fread(f"{disk.path}/wwn/product_id"))

fabric = rts.FabricModule("iscsi")
target = rts.Target(fabric, "iqn.2003-01.org.example:disk")
tpg = rts.TPG(target, 1)
check_eq("a new portal group is disabled", False, tpg.enable)
for ip, port in ("0.0.0.0", 3260), ("[::1]", 3261):
    rts.NetworkPortal(tpg, ip, port)
check_eq("portals read as they were made", {("0.0.0.0", 3260), ("[::1]", 3261)},
         {(p.ip_address, p.port) for p in tpg.network_portals})
lun = rts.LUN(tpg, 0, storage_object=disk, alias="here")
check_eq("a LUN reads as it was made", ("here", disk.path, "default_tg_pt_gp", "activated", [0]),
         (lun.alias, lun.storage_object.path, lun.alua_tg_pt_gp_name, disk.status,
          [x.lun for x in disk.attached_luns]))
group = rts.ALUATargetPortGroup(disk, "second", 16)
check_eq("a target port group reads as it was made", (16, 0, 3, []),
         (group.tg_pt_gp_id, group.alua_access_state, group.alua_access_type, group.members))
group.alua_access_state = 2
group.preferred = 1
group.nonop_delay_msecs = 10
lun.alua_tg_pt_gp_name = "second"
check_eq("it can be changed, and a LUN be put into it", (2, 1, 10, "second"),
         (group.alua_access_state, group.preferred, group.nonop_delay_msecs, lun.alua_tg_pt_gp_name))
check_eq("all groups are listed", ["default_tg_pt_gp", "second"], sorted(g.name for g in disk.alua_tpgs))
acl = rts.NodeACL(tpg, "iqn.1993-08.org.debian:01:abc")
mapped = rts.MappedLUN(acl, 3, lun, write_protect=True)
check_eq("a mapped LUN reads as it was made", (0, True), (mapped.tpg_lun.lun, mapped.write_protect))
check_eq("there is no session", None, acl.session)
acl.tag, acl.tcq_depth = "hosts", 64
check_eq("an ACL's settings", ("hosts", "64"), (acl.tag, acl.tcq_depth))
acl.chap_userid, acl.chap_password = "joe", "a secret of joe"
acl.chap_mutual_userid, acl.chap_mutual_password = "target", "a secret of ours"
check_eq("a CHAP name is shown, a secret is not", ("joe", "", True),
         (acl.chap_userid, acl.chap_password, acl.authenticate_target))
acl.chap_mutual_password = ""
check_eq("a secret can be cleared", False, acl.authenticate_target)
tpg.set_attribute("demo_mode_write_protect", 0)
tpg.set_attribute("chap_algorithms", "SHA3-256,MD5")
tpg.set_parameter("MaxBurstLength", 1048576)
tpg.enable = True
fabric.discovery_userid, fabric.discovery_password = "d", "another secret"
fabric.discovery_enable_auth = True

check("a portal cannot be made twice", refused(rts.NetworkPortal, tpg, "0.0.0.0", 3260, "create"))
check("nor can a LUN", refused(rts.LUN, tpg, 0, disk))
why = refused(tpg.set_attribute, "login_timeout", 99)
check("a bad value is an error", why and "Invalid argument" in why, why)

text = json.dumps(root.dump())
check("what is saved has no secret", "secret" not in text)
saved = json.loads(text)
attributes = saved["targets"][0]["tpgs"][0]["attributes"]
check_eq("what is saved has the files that we add", "SHA3-256,MD5", attributes["chap_algorithms"])
root.clear_existing(confirm=True)
check_eq("all is cleared", ([], []), (list(root.targets), list(root.storage_objects)))
check_eq("it is restored without an error", [], root.restore(copy.deepcopy(saved)))
check_eq("it is as it was", by_key(saved), by_key(json.loads(json.dumps(root.dump()))))
check_eq("enabled, too", True, next(root.tpgs).enable)
root.clear_existing(confirm=True)

# What LIO has and we have not is told, and the rest is restored.
saved["storage_objects"][0]["attributes"]["pi_prot_type"] = 0
saved["targets"][0]["tpgs"][0]["attributes"]["t10_pi"] = 0
errors = root.restore(saved)
check_eq("what LIO saved beyond is told", 2, sum("Cannot find attribute" in e for e in errors))
check_eq("and nothing else is", 2, len(errors))
check_eq("the rest is restored", [(0, "disk")],
         [(x.lun, x.storage_object.name) for x in root.luns])
root.clear_existing(confirm=True)
fabric.discovery_enable_auth, fabric.discovery_userid, fabric.discovery_password = False, "", ""
check_eq("discovery is open again", (False, ""),
         (fabric.discovery_enable_auth, fabric.discovery_userid))
