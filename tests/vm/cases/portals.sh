# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Portals: IPv4 and IPv6, several of a portal group, one address for several targets, an address
# that is not up yet, one that is taken.
# time: 50

second=iqn.2026-01.org.example:second

case_cleanup() {
	ip link del dummy0
	ip netns delete other
	i_forget
	t_clear
} 2>/dev/null

portal_del() {
	if [ "$T_BY" = tool ]; then
		tool portal delete "$1" "$2"
	else
		rmdir "$(t_tpg "$1")/np/$2"
	fi
}

t_load
t_export /dev/vda
t_portal "$IQN" "[::1]:3260"
t_portal "$IQN" 127.0.0.1:3261

for portal in "[::1]:3260" 127.0.0.1:3261; do
	check "login through $portal" eval 'PORTAL=$portal i_login'
	disk=$(i_disk "$IQN" 0)
	check "verified I/O through $portal" fio_verify "$disk" --size=256k
	i_logout
	i_forget
done
check_eq "discovery tells all of them" "127.0.0.1:3260,1 127.0.0.1:3261,1 [::1]:3260,1 " \
	"$(iscsiadm -m discovery -t st -p "[::1]:3260" | cut -d ' ' -f 1 | sort | tr '\n' ' ')"
t_portal "$IQN" 0.0.0.0:3262
told() {
	iscsiadm -m discovery -t st -p "$1" | cut -d ' ' -f 1 | grep -o '.*:3262'
}
check_eq "a portal on all addresses is told as the one that was reached" 127.0.0.1:3262 "$(told 127.0.0.1)"
check_eq "but not by IPv6 if it is one of IPv4" "" "$(told "[::1]:3260")"
check "it is removed" portal_del "$IQN" 0.0.0.0:3262
i_forget

# One address, two targets: the name in the login picks.
t_target $second
t_backstore disk1 /dev/vdb
t_lun $second 0 disk1
# shellcheck disable=SC2153
t_portal $second "$PORTAL"
t_demo $second
t_enable $second
check "login to the first target" i_login
check_eq "it has its disk" "$(blockdev --getsize64 /dev/vda)" "$(blockdev --getsize64 "$(i_disk "$IQN" 0)")"
i_node $second "$PORTAL"
check "login to the second target at the same address" iscsiadm -m node -T $second -p "$PORTAL" --login
check_eq "it has its own" "$(blockdev --getsize64 /dev/vdb)" "$(blockdev --getsize64 "$(i_disk $second 0)")"
check "the second one's portal is removed" portal_del $second "$PORTAL"
check_match "the address still serves the first" "$IQN" "$(iscsiadm -m discovery -t st -p 127.0.0.1)"
check_eq "and it alone" "" "$(iscsiadm -m discovery -t st -p 127.0.0.1 | grep $second)"
i_forget

# The same address in another network namespace is another one.
other=/run/netns/other
must ip netns add other
must nsenter --net=$other mkdir "$(t_tpg $second)/np/$PORTAL"
check_not "a portal in another network namespace is no way in from here" eval 'IQN=$second i_login'
i_forget
check_match "it is one there" "^127.0.0.1:3260\$" "$(nsenter --net=$other ss -Hltn | awk '{ print $4 }')"
found=$(iscsiadm -m discovery -t st -p 127.0.0.1)
check_match "discovery here tells the first target" "$IQN" "$found"
check_no_match "and not this one" "$second" "$found"
i_forget
must nsenter --net=$other ip link set lo up
check_eq "and discovery there tells it alone" "TargetName=$second TargetAddress=127.0.0.1:3260,1 " \
	"$(PYTHONPATH=$T_DIR/py nsenter --net=$other python3 -c '
from iscsi import TEXT, TEXT_RESPONSE, Conn
conn = Conn().login(target=None, session="Discovery")
tag = conn.request(TEXT, word20=0xffffffff, data=b"SendTargets=All\0")
print(conn.wait(TEXT_RESPONSE, tag).data.decode().replace("\0", " "))')"
t_untarget $second
must ip netns delete other

# An address that does not exist yet.
t_portal "$IQN" 192.0.2.77:3260
t_portal "$IQN" "[2001:db8::77]:3260"
check_match "a portal on an address that is not up yet listens" "192.0.2.77:3260" "$(ss -Hltn)"
must modprobe dummy numdummies=0
# A kernel that has it built in has made one.
[ -e /sys/class/net/dummy0 ] || must ip link add dummy0 type dummy
must ip address add 192.0.2.77/24 dev dummy0
must ip address add 2001:db8::77/64 dev dummy0 nodad
must ip link set dummy0 up
check "login once it is up" eval 'PORTAL=192.0.2.77:3260 i_login'
i_logout
i_forget
check "login by IPv6 once it is up" eval 'PORTAL="[2001:db8::77]:3260" i_login'
i_logout
i_forget
t_portal "$IQN" 0.0.0.0:3262
check "login through a wildcard portal" eval 'PORTAL=192.0.2.77:3262 i_login'
i_logout
i_forget
# RFC 7143 leaves open what a wildcard is told as; 0.0.0.0 is nothing to connect to.
check_no_match "discovery does not tell 0.0.0.0" "0\.0\.0\.0" "$(iscsiadm -m discovery -t st -p 192.0.2.77:3262)"

# What is taken is told so.
python3 -c '
import socket, time
s = socket.create_server(("127.0.0.1", 3299)); print("up", flush=True); time.sleep(600)' >/tmp/up &
taken=$!
wait_for 10 grep -q up /tmp/up
if [ "$T_BY" = tool ]; then
	out=$(ferritectl portal create "$IQN" 127.0.0.1:3299 2>&1) && fail "an address that is taken is refused"
	check_match "an address that is taken is refused, with the reason" "[Aa]ddress already in use|in use" "$out"
fi
out=$(mkdir "$(t_tpg)/np/127.0.0.1:3299" 2>&1)
check_match "configfs says EADDRINUSE" "Address already in use" "$out"
check "nothing is left of it" test ! -e "$(t_tpg)/np/127.0.0.1:3299"
kill $taken
wait $taken 2>/dev/null
check "once it is free, it can be had" mkdir "$(t_tpg)/np/127.0.0.1:3299"
check "and is listened at" eval 'PORTAL=127.0.0.1:3299 i_login'
i_logout
out=$(mkdir "$(t_tpg)/np/$PORTAL" 2>&1)
check_match "a portal twice is refused" "File exists" "$out"
out=$(mkdir "$(t_tpg)/np/[fe80::1%nothing0]:3260" 2>&1)
check_match "an interface that does not exist is told" "No such device" "$out"
