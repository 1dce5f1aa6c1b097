# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A network that loses, doubles, reorders, delays and corrupts packets, and one that is gone for a
# while: what is read is what was written, and nothing stays behind.
# time: 75

case_cleanup() {
	tc qdisc del dev lo root
	nft delete table inet ferrite_trouble
	ip link set dev lo mtu 65536 gso_max_segs 65535
	i_forget
	t_clear
} 2>/dev/null

modprobe sch_netem || {
	skip "a bad network" "this kernel has no netem"
	exit 0
}
# trouble OPTION...: what happens to packets, in both directions.
trouble() {
	must tc qdisc replace dev lo root netem limit 10000 "$@"
}

calm() {
	must tc qdisc del dev lo root
}

# sent_again: TCP segments.
sent_again() {
	awk '$1 == "Tcp:" && n++ { print $13 }' /proc/net/snmp
}

# Segments of the size that they have on a wire: more of them, and each alone is lost or not.
must ip link set dev lo mtu 1500 gso_max_segs 1
t_load
t_export /dev/vda
size=1m
[ "$T_FULL" = 0 ] || size=16m
# With digests, for what TCP's checksum does not find; what they find is in the case digests.
# login INTERVAL TIMEOUT: of the initiator's keepalive, in seconds; 0 is none.
login() {
	must i_login node.conn[0].iscsi.HeaderDigest=CRC32C node.conn[0].iscsi.DataDigest=CRC32C \
		node.conn[0].timeo.noop_out_interval="$1" node.conn[0].timeo.noop_out_timeout="$2" \
		node.session.timeo.replacement_timeout=60
	disk=$(i_disk) || give_up "no disk"
}
login 0 0
# verified NAME [OPTION...]: I/O that is right, and how long it took.
verified() {
	local name=$1 ms logins
	shift
	again=$(sent_again)
	logins=$(t_stat logins)
	ms=$(took_ms fio_verify "$disk" --size=$size --bsrange=512-128k "$@")
	local status=$?
	again=$(($(sent_again) - again))
	echo "@figure network: $name: ms of verified I/O, segments sent again | $ms, $again"
	check "$name: what is read is what was written" test $status -eq 0
	# A segment that is not what it was when it is sent again breaks a digest, and that ends the session.
	check_eq "$name: in one session" "$logins" "$(t_stat logins)"
}

trouble loss 2%
verified "2 % of packets lost"
check_ge "segments that were sent again" "$again" 1
trouble delay 2ms 2ms reorder 50% 50%
verified "half of them out of order"
trouble duplicate 20%
verified "each fifth twice"
trouble delay 100ms
verified "a round trip of 200 ms" --size=512k --iodepth=8
trouble corrupt 1%
verified "1 % of packets corrupted"
calm
wait_for 60 t_has_sessions 1
check "the session is there, or there again" fio_verify "$disk" --size=1m

# Nothing gets through for so long that the initiator's keepalive gives up.
i_forget
login 3 5
background fio_verify "$disk" --size=$size --time_based --runtime=13 --verify_backlog=64
sleep 2
trouble loss 100%
sleep 10
calm
check "a network that is gone for 10 s: I/O goes on where it was, verified" finish 90
check "in one session" wait_for 30 t_has_sessions 1
check_eq "and what is on the disk is what was read" "$(sum "$disk" 16)" "$(sum /dev/vda 16)"
i_logout
py network_trouble
check_eq "no data is held" "memory 0" "$(grep ^memory "$ROOT/in_use")"
