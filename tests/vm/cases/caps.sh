# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Limits in commands and bytes per second, of LUNs and of initiators.
# time: 60

# reads LUN: commands that it has carried out.
reads() {
	awk '$1 == "reads" { print $2 }' "$(t_tpg)/lun/lun_$1/statistics/counters"
}

# rate LUN MS: READs in a second, measured for so long.
rate() {
	local count start
	count=$(reads "$1")
	start=$(now_ms)
	sleep "$(printf '%d.%03d' $(($2 / 1000)) $(($2 % 1000)))"
	echo $((($(reads "$1") - count) * 1000 / ($(now_ms) - start)))
}

# check_rate NAME WANT COMMAND...: what the command measures is within 15 %. A machine that stands
# still for a while is given another chance.
check_rate() {
	local name=$1 want=$2 got try
	shift 2
	for try in 1 2 3 4 5; do
		got=$("$@")
		printf '%s: %s for %s, at try %s\n' "$name" "$got" "$want" "$try"
		if [ $((got * 100)) -ge $((want * 85)) ] && [ $((got * 100)) -le $((want * 115)) ]; then
			pass "$name"
			return
		fi
	done
	fail "$name" "$got instead of $want"
}

# fast LUN: by more than any of the limits below, which a slow machine can still do.
fast() {
	[ "$(rate "$1" 1000)" -gt 260 ]
}

# Of both LUNs together.
rate_both() {
	local other
	rate 0 "$1" >/tmp/rate &
	other=$(rate 1 "$1")
	wait $!
	echo $((other + $(cat /tmp/rate)))
}

busy() {
	[ "$(reads 0)" -gt 100 ]
}

# Reads from both LUNs all the time.
load() {
	fio --output=/dev/null --direct=1 --ioengine=libaio --iodepth=32 --rw=randread --bs=4k \
		--size=64m --time_based --runtime=300 --name=one --filename="$one" --name=two --filename="$two"
}

t_load
t_export /dev/vda /dev/vdb
must i_login
one=$(i_disk "$IQN" 0) || give_up "no disk"
two=$(i_disk "$IQN" 1) || give_up "no second disk"
attrib=$(t_tpg)/lun/lun_0/attrib

check_eq "a new LUN has no limits" "0 0" "$(cat "$attrib"/max_{iops,bytes_per_second} | paste -sd ' ')"
for bad in -1 1.5 x 10000001 4294967296000; do
	check_not "$bad commands in a second are refused" put $bad "$attrib/max_iops"
done
check_not "too few bytes in a second are refused" put 65535 "$attrib/max_bytes_per_second"

must tool lun set "$IQN" 0 max_iops=100
load &
load=$!
# What was saved up is gone then.
must wait_for 30 busy
check_rate "a LUN gets the commands that it may have" 100 rate 0 3000
check "another one of the same session is not slowed" wait_for 60 fast 1
check "commands were held" test "$(awk '$1 == "held" { print $2 }' "$(t_tpg)/lun/lun_0/statistics/counters")" -gt 100
check_match "and for some time" '^held_us [1-9][0-9]{4}' "$(cat "$(t_tpg)/lun/lun_0/statistics/counters")"
check_match "none of the other one" '^held 0$' "$(cat "$(t_tpg)/lun/lun_1/statistics/counters")"
check_match "the session counts them, too" '^held [1-9]' "$(cat "$(t_tpg)/sessions")"
must tool lun set "$IQN" 0 max_iops=200
check_rate "another limit holds at once" 200 rate 0 3000
must tool lun set "$IQN" 0 max_iops=0 max_bytes_per_second=524288
check_rate "a LUN gets the bytes that it may have" 128 rate 0 3000
must tool lun set "$IQN" 0 max_iops=0 max_bytes_per_second=0
check "without a limit it is fast again" wait_for 60 fast 0
# An initiator without an ACL.
must tool tpg set "$IQN" demo_mode_max_iops=150
sleep 0.5
check_rate "an initiator gets what it may have, on all its LUNs" 150 rate_both 3000
must tool tpg set "$IQN" demo_mode_max_iops=0
check "and all without a limit" wait_for 60 fast 0
kill $load
wait $load

must tool lun set "$IQN" 0 max_iops=2000 max_bytes_per_second=16777216
background fio_verify "$one" --size=8m
for iops in 500 1500 700 0 3000; do
	must tool lun set "$IQN" 0 max_iops=$iops
	sleep 0.5
done
check "data is right while limits change" finish 60
must tool lun set "$IQN" 0 max_iops=0 max_bytes_per_second=0
must i_logout

t_acl "$IQN" iqn.2026-01.org.example:raw
py caps

# Limits are kept.
must tool lun set "$IQN" 0 max_iops=123
must tool acl set "$IQN" iqn.2026-01.org.example:raw max_bytes_per_second=65536
must tool save /tmp/saved.json
must tool clear --yes
must tool restore /tmp/saved.json
check_eq "a LUN's limit is saved and restored" 123 "$(tool lun get "$IQN" 0 max_iops | tail -n 1)"
check_eq "and an initiator's" 65536 "$(tool acl get "$IQN" iqn.2026-01.org.example:raw max_bytes_per_second | tail -n 1)"
