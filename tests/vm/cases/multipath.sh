# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# multipathd over two portals of one device: it follows the access state of their groups, set by
# the target, by an initiator, and by itself when a portal is cut off, and no write is lost.
# time: 150

case_cleanup() {
	[ -z "${MULTIPATHD:-}" ] || kill "$MULTIPATHD"
	nft delete table inet cut
	wait_for 20 multipath -F
	i_forget
	t_clear
} 2>/dev/null

must modprobe -a dm_mod dm_multipath dm_service_time scsi_dh_alua
start-udev
t_load
t_export_twice /dev/vda
store=$(t_store disk0)
first=$store/alua/default_tg_pt_gp second=$store/alua/second
must mkdir "$second"
must put 16 "$second/tg_pt_gp_id"
must put second "$ISCSI/$IQN/tpgt_2/lun/lun_0/alua_tg_pt_gp"
# The target alone decides, to begin with: an initiator that may would at once.
for group in "$first" "$second"; do
	must put 1 "$group/alua_access_type"
done

cat >/etc/multipath.conf <<-END
	defaults {
		find_multipaths no
		user_friendly_names no
		polling_interval 1
		max_polling_interval 2
	}
	overrides {
		path_grouping_policy group_by_prio
		prio alua
		failback immediate
		no_path_retry 60
		fast_io_fail_tmo 3
		path_checker tur
	}
	blacklist {
		devnode "^vd"
		devnode "^pmem"
	}
END
# shellcheck disable=SC2153
for portal in "$PORTAL" "$SECOND"; do
	i_node "$IQN" "$portal"
	i_set -m node -T "$IQN" -p "$portal" -- node.session.timeo.replacement_timeout=3 \
		'node.conn[0].timeo.noop_out_interval=1' 'node.conn[0].timeo.noop_out_timeout=2'
done
multipathd -d -v2 &
MULTIPATHD=$!
map=
find_map() {
	map=$(multipathd show maps raw format "%w" | head -n 1)
	[ -b "/dev/mapper/$map" ] && [ "$(multipathd show paths raw format "%m" | grep -c "$map")" -eq 2 ]
}
# Logs in by both ways, and begins to write.
start() {
	must iscsiadm -m node -T "$IQN" --login
	a=$(i_path "$PORTAL") b=$(i_path "$SECOND")
	if [ ! -b "$a" ] || [ ! -b "$b" ]; then
		give_up "no disks"
	fi
	a=${a#/dev/} b=${b#/dev/}
	wait_for 60 find_map || give_up "no multipath device"
	wait_for 20 dd if="/dev/mapper/$map" of=/dev/null bs=4k count=1 iflag=direct || give_up "it does not work"
	rm -f /tmp/stop
	background work
}
# Whether all that was written was read back, and no path is lost.
stop() {
	touch /tmp/stop
	check "$1: every block was as it was written" finish 120
	cat /tmp/fio.out
	check "$1: both paths are well" wait_for 20 both_well
}

# Writes and reads back until it is told to stop, or something is wrong.
work() {
	while [ ! -e /tmp/stop ]; do
		fio --name=paths --filename="/dev/mapper/$map" --direct=1 --ioengine=libaio --iodepth=8 \
			--rw=randwrite --bs=4k --size=4m --verify=crc32c --verify_fatal=1 --randrepeat=0 \
			--rate_iops=200 --minimal >/tmp/fio.out || return
	done
}
# path DISK FORMAT: what multipathd knows of a path.
path() {
	multipathd show paths raw format "%d $2" | sed -n "s/^$1 *//p" | tr -d ' '
}
prio() {
	[ "$(path "$1" %p)" = "$2" ]
}
has() {
	[ "$(path "$1" %t/%T)" = "$2" ]
}
# uses DISK: in a second it has I/O, and the other one has none.
ios() {
	awk '{ print $1 + $5 }' "/sys/block/$1/stat"
}
uses() {
	local other=$a before
	[ "$1" != "$a" ] || other=$b
	before="$(ios "$1") $(ios "$other")"
	sleep 1
	[ "$(ios "$1")" -gt "${before% *}" ] && [ "$(ios "$other")" -eq "${before#* }" ]
}
state() {
	put "$2" "$1/alua_access_state"
}

both_well() {
	[[ "$(path "$a" %t/%T) $(path "$b" %t/%T)" =~ ^active/(ready|ghost)\ active/(ready|ghost)$ ]]
}

state "$second" 1
start
check_eq "the kernel's ALUA handler takes both paths" "alua alua" \
	"$(cat "/sys/block/$a/device/dh_state") $(cat "/sys/block/$b/device/dh_state")"
check_match "the device is named by its NAA identifier" "^36[0-9a-f]{31}$" "$map"
check "active/optimized has priority 50" wait_for 20 prio "$a" 50
check "active/non-optimized has priority 10" wait_for 20 prio "$b" 10
check "writes go to the optimized path" wait_for 20 uses "$a"

# The target decides.
state "$first" 1
state "$second" 0
check "the target makes the other path optimized: writes go there" wait_for 20 uses "$b"
state "$first" 2
check "the first is in standby, priority 1" wait_for 20 prio "$a" 1
check "writes stay" wait_for 20 uses "$b"
check_match "a READ to the standby path is refused" "target port in standby state" \
	"$(sg_raw -r 512 "/dev/$a" 28 00 00 00 00 00 00 00 01 00 2>&1)"
state "$first" 0
state "$second" 2
check "back again" wait_for 20 uses "$a"
# Transitions: for a second nobody answers.
put 1000 "$first/trans_delay_msecs"
put 1000 "$second/trans_delay_msecs"
state "$second" 0
state "$first" 1
check "over, through transitions that take a second" wait_for 20 uses "$b"
put 0 "$first/trans_delay_msecs"
put 0 "$second/trans_delay_msecs"

stop "by the target"

# An initiator decides. The kernel's looks at who may when it finds the disk.
must iscsiadm -m node -T "$IQN" --logout
gone() {
	# Who has asked the map meanwhile need not wait for a path.
	multipathd disablequeueing map "$map"
	multipath -f "$map"
	[ ! -e "/dev/mapper/$map" ] && [ ! -e "/sys/block/$a" ] && [ ! -e "/sys/block/$b" ]
}
wait_for 90 gone || give_up "the multipath device stays"
for group in "$first" "$second"; do
	must put 3 "$group/alua_access_type"
done
state "$first" 0
state "$second" 2
start
# The kernel makes active by itself what it is about to use, so what is left to be said of
# where the writes go is that they go on.
works() {
	local before=$(($(ios "$a") + $(ios "$b")))
	sleep 1
	[ $(($(ios "$a") + $(ios "$b"))) -gt $((before + 50)) ]
}
check "writes begin" wait_for 20 works
# Its exit status does not tell whether it could.
stpg() {
	check_no_match "sg_stpg: $1" "Illegal|rror|ailed" "$(sg_stpg "${@:2}" 2>&1)"
}
stpg "the first is optimized, the second in standby" --state=ao,s --tp=0,16 "/dev/$b"
check "writes go on" wait_for 20 works
stpg "the other way" --state=s,ao --tp=0,16 "/dev/$a"
check "writes go on" wait_for 20 works
stpg "and back" --state=ao,s --tp=0,16 "/dev/$b"
check "writes go on" wait_for 20 works

# The network decides: the path that is left is in standby, and the initiator makes it active.
state "$first" 0
state "$second" 2
nft -f - <<-END
	table inet cut {
		chain in {
			type filter hook input priority 0
			tcp dport ${PORTAL##*:} drop
			tcp sport ${PORTAL##*:} drop
		}
	}
END
cut=$(now_ms)
check "a portal is cut off: its path fails" wait_for 30 has "$a" failed/faulty
failed=$(now_ms)
check "the initiator makes the other active" wait_for 30 grep -qx 0 "$second/alua_access_state"
check_eq "by SET TARGET PORT GROUPS" "Altered by Explicit STPG" "$(cat "$second/alua_access_status")"
check "writes go on there" wait_for 30 uses "$b"
echo "@figure a portal cut off: ms until its path fails, until writes go on | $((failed - cut)), $(($(now_ms) - cut))"
nft delete table inet cut
check "the portal is back: so is its path" wait_for 40 has "$a" active/ready
# As often as is needed: the initiator makes active what it is about to use, whatever that is.
back() {
	state "$first" 0
	state "$second" 1
	uses "$a"
}
check "and writes go there" wait_for 40 back
stop "by the initiator"
