# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# mpathpersist over two target ports: one key at both, another initiator is kept out.
# time: 60

case_cleanup() {
	[ -z "${MULTIPATHD:-}" ] || kill "$MULTIPATHD"
	wait_for 20 multipath -F
	iscsiadm -m iface -I other -o delete
	i_forget
	t_clear
	rm -rf /etc/multipath /etc/multipath.conf /var/lib/ferrite
} 2>/dev/null

second=127.0.0.1:3261
# One device through two portal groups: two target ports.
export_twice() {
	local dir pair
	t_target "$IQN"
	must tool backstore create disk0 /dev/vda --serial mpath-test-1
	for dir in "$ISCSI/$IQN"/tpgt_{1,2}; do
		[ -d "$dir" ] || must mkdir "$dir"
		must mkdir "$dir/lun/lun_0"
		must ln -s "$(t_store disk0)" "$dir/lun/lun_0/disk0"
		for pair in authentication=0 generate_node_acls=1 demo_mode_write_protect=0; do
			must put "${pair#*=}" "$dir/attrib/${pair%=*}"
		done
	done
	must mkdir "$ISCSI/$IQN/tpgt_1/np/$PORTAL" "$ISCSI/$IQN/tpgt_2/np/$second"
	for dir in "$ISCSI/$IQN"/tpgt_{1,2}; do
		must put 1 "$dir/enable"
	done
}

must modprobe -a dm_mod dm_multipath
start-udev
t_load
export_twice
cat >/etc/multipath.conf <<-END
	defaults {
		find_multipaths no
		user_friendly_names no
		reservation_key file
		polling_interval 1
		path_checker tur
	}
	blacklist {
		devnode "^vd"
		devnode "^pmem"
	}
END
for way in "$PORTAL" "$second"; do
	i_node "$IQN" "$way"
	must iscsiadm -m node -T "$IQN" -p "$way" --login
done
multipathd -d -v2 &
MULTIPATHD=$!
map=
find_map() {
	map=$(multipathd show maps raw format "%w" | head -n 1)
	[ -b "/dev/mapper/$map" ] && [ "$(multipathd show paths raw format "%m" | grep -c "$map")" -eq 2 ]
}
wait_for 40 find_map || give_up "no multipath device"
disk=/dev/mapper/$map
put_block() {
	dd if=/dev/urandom of="$1" bs=4k count=1 oflag=direct status=none
}
persist() {
	echo "+ mpathpersist $*"
	mpathpersist "$@" "$disk"
}
in_config() {
	cat "$(t_store disk0)/pr/$1"
}

check "a key is registered by both paths" persist --out --register --param-sark=0x123abc --param-aptpl
check_eq "the target has it at two ports" "1 2" "$(in_config registrations | awk '$1 == "0x0000000000123abc" { print $3 }' | sort | tr '\n' ' ' | sed 's/ $//')"
check_match "mpathpersist reads it" "0x123abc" "$(persist --in -k 2>&1)"
check "a reservation, Write Exclusive, Registrants Only" persist --out --reserve --param-rk=0x123abc --prout-type=5
check_match "mpathpersist reads it, too" "Write Exclusive, registrants only" "$(persist --in -r 2>&1)"
for n in 1 2 3 4; do
	check "the map is written, $n" put_block "$disk"
done
check_match "the full status has two registrations" "0x123abc" "$(persist --in -s 2>&1)"
i_iface other iqn.2026-01.org.example:other
i_node "$IQN" "$PORTAL" other
# A path that multipathd must not take for one of its own.
sed -i 's/^blacklist {/&\n\tdevnode "^sdc"/' /etc/multipath.conf
must multipathd reconfigure
must iscsiadm -m node -T "$IQN" -p "$PORTAL" -I other --login
sessions=$(i_sessions)
other=$(i_disk "$IQN" 0 "${sessions##*$'\n'}") || give_up "no disk"
sg_turs -n 4 "$other" >/dev/null 2>&1
check_match "another initiator's write is a conflict" "Reservation [Cc]onflict" "$(sg_raw -s 512 -i /dev/zero "$other" 2a 00 00 00 00 00 00 00 01 00 2>&1)"
check "but it reads" sg_raw -r 512 "$other" 28 00 00 00 00 00 00 00 01 00
check "the reservation is released" persist --out --release --param-rk=0x123abc --prout-type=5
check "another initiator writes" sg_raw -s 512 -i /dev/zero "$other" 2a 00 00 00 00 00 00 00 01 00
check "the key is taken back" persist --out --register-ignore --param-sark=0 --param-aptpl
check_eq "nobody is registered" 0 "$(in_config registrants)"
