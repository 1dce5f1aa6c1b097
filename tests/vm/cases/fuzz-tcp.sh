# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A stateful fuzzer (tests/wire-fuzz) on many connections at once: sessions that are right, broken at
# the level of bytes, fields and sequences. Meanwhile a witness with a disk of its own must be served,
# and keep its data; afterwards nothing may be left.
# time: 60
# limit: 900

fuzzer=/ferrite/ferrite-wire-fuzz
[ -x $fuzzer ] || give_up "no $fuzzer: make test-tools"
modprobe dm_mod
for n in 0 1 2; do
	dm_make fuzz$n "0 65536 linear /dev/vdb $((n * 65536))"
done
case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry fuzz0
	dmsetup remove --retry fuzz1
	dmsetup remove --retry fuzz2
} 2>/dev/null
t_load
export T_BY=configfs
t_backstore fuzz0 /dev/mapper/fuzz0
t_backstore fuzz1 /dev/mapper/fuzz1
t_backstore fuzz2 /dev/mapper/fuzz2
t_backstore witness /dev/vda
for iqn in "$IQN" "$IQN-chap" "$IQN-witness"; do
	t_target "$iqn"
	t_portal "$iqn" "$PORTAL"
done
t_lun "$IQN" 0 fuzz0
t_lun "$IQN" 1 fuzz1
t_demo "$IQN"
t_set "$IQN" ErrorRecoveryLevel=2 MaxConnections=8
t_lun "$IQN-chap" 0 fuzz2
t_demo "$IQN-chap"
t_set "$IQN-chap" authentication=1 ErrorRecoveryLevel=2 MaxConnections=4
t_chap "$IQN-chap" -- fuzzer twelve-chars-1
t_lun "$IQN-witness" 0 witness
t_set "$IQN-witness" authentication=0
t_acl "$IQN-witness" iqn.2026-01.org.example:witness
for iqn in "$IQN" "$IQN-chap" "$IQN-witness"; do
	t_enable "$iqn"
done

# fuzz SECONDS SEED
fuzz() {
	local seconds=$1 seed=$2 line iqn
	# If the machine ends, it is on its console.
	echo "ferrite-test: fuzz-tcp: seed $seed" >/dev/kmsg
	# It looks at the witness's disk itself as well: at what is there now, not at what was read before.
	must blockdev --flushbufs /dev/vda
	# A slow kernel has as much to do with fewer of them, and the witness gets through.
	local connections=32
	[ "$T_SLOWER" -eq 1 ] || connections=8
	printf '+ %s\n' "$fuzzer --seed $seed --seconds $seconds"
	$fuzzer --open "$IQN" --chap "$IQN-chap" --user fuzzer --secret twelve-chars-1 --witness "$IQN-witness" \
		--witness-name iqn.2026-01.org.example:witness --witness-disk /dev/vda --seconds "$seconds" \
		--deadline $((20000 * T_SLOWER)) --slower "$T_SLOWER" --connections "$connections" --seed "$seed" >/tmp/fuzz.out 2>&1
	while IFS= read -r line; do
		printf '%s\n' "$line"
		case $line in
			'@ok '*) pass "${line#@ok }" ;;
			'@fail '*) fail "${line#@fail }" ;;
		esac
	done </tmp/fuzz.out
	grep -q '^@ok' /tmp/fuzz.out || fail "the fuzzer goes to its end"
	for iqn in "$IQN" "$IQN-chap" "$IQN-witness"; do
		check "seed $seed: no session of ${iqn#*:} stays" wait_for 60 gone "$iqn"
	done
	check "and no connection, and no memory" wait_for 30 unused
	cat "$ROOT/in_use"
}

gone() {
	[ "$(t_sessions "$1")" -eq 0 ]
}

unused() {
	! grep -vE '^(logins|connections|commands|memory) 0$' "$ROOT/in_use"
}

seconds=12
[ "$T_FULL" = 0 ] || seconds=300
# A slow kernel does less in the same time.
[ "$T_FULL" = 0 ] || [ "$T_SLOWER" -eq 1 ] || seconds=450
fuzz $seconds 1
fuzz $seconds $((RANDOM << 30 | RANDOM << 15 | RANDOM))
cat "$ROOT/statistics"
check "afterwards open-iscsi logs in" i_login
