# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Two target machines share a disk and an address. The target moves from one to the other, and is
# killed and comes up on the other, while an initiator copies files: every byte of them is right.
# runs: host
# time: 80
# limit: 1500
set -u

# In all; with T_FULL=1 as many as one would want to see once.
if [ "${T_FULL:-0}" = 1 ]; then
	moves=10 kills=10 files=(400x1 40x10 4x100) size=3G
else
	moves=2 kills=2 files=(20x1 2x10) size=512M
fi
address=10.77.0.100
segment=230.77.$((RANDOM % 256)).$((RANDOM % 256)):$((20000 + RANDOM % 10000))
here=$PWD/tests/vm
dir=$(mktemp -d)
declare -A vm=() number=([one]=1 [two]=2)
# shellcheck disable=SC2329 # The trap runs it.
cleanup() {
	kill -9 "${vm[@]}" 2>/dev/null
	wait
	rm -rf "$dir"
}
trap cleanup EXIT

# What is said of the case, also where output is taken for something else.
exec 5>&1
tell() {
	printf '@%s %s\n' "$1" "$2" >&5
}
die() {
	tell fail "going on ($1)"
	told >&5
	exit 1
}
# told: what the machines have said last.
told() {
	tail -n 40 "$dir"/*/{err,out,dmesg}
}
# check NAME COMMAND...
check() {
	if "${@:2}"; then tell ok "$1"; else tell fail "$1"; fi
}
# until_there FILE SECONDS
until_there() {
	local end=$((SECONDS + $2))
	until [ -e "$1" ]; do
		[ $SECONDS -lt $end ] || die "${1#"$dir"/} does not come"
		sleep 0.02
	done
}
# boot NAME SCRIPT IP ARGUMENT...: a machine whose /share is $dir/NAME.
boot() {
	local name=$1 script=$2 ip=$3 disk=()
	shift 3
	[ "$name" = initiator ] || disk=(--disk "$dir/disk,shared")
	T_TARGET=${T_TARGET:-ferrite} exec scripts/vm run --kernel "${VM_KERNEL:-stock}" --timeout 1400 --smp 1 \
		--net "mcast:$segment" --ip "10.77.0.$ip/24" --share "$dir/$name" "${disk[@]}" "$dir/$name/$script" "$@" \
		>"$dir/$name/out" 2>"$dir/$name/err"
}
# start NAME SCRIPT IP ARGUMENT...
start() {
	rm -f "$dir/$1/do" "$dir/$1/done"
	boot "$@" &
	vm[$1]=$!
}
# order NODE WORD: prints the ms that it took there.
order() {
	rm -f "$dir/$1/done"
	echo "$2 $address" >"$dir/$1/do.new"
	mv "$dir/$1/do.new" "$dir/$1/do"
	until_there "$dir/$1/done" 60
	cat "$dir/$1/done"
}
# writes: how often the initiator has written.
writes() {
	until_there "$dir/initiator/gap" 120
	cut -d' ' -f1 "$dir/initiator/gap"
}
# settled: the initiator writes again; prints the longest time that it could not.
settled() {
	local before end=$((SECONDS + 120))
	before=$(writes)
	until [ "$(writes)" -gt $((before + 20)) ]; do
		[ $SECONDS -lt $end ] || die "nothing is written any more"
		sleep 0.1
	done
	cut -d' ' -f2 "$dir/initiator/gap"
}

truncate -s $size "$dir/disk"
mkdir -p "$dir"/{one,two,initiator/files}
for name in one two initiator; do
	{
		printf 'T_TARGET=%s\n' "${T_TARGET:-ferrite}"
		cat "$here/lib.sh"
	} >"$dir/$name/lib.sh"
	cp "$here"/ha/* "$dir/$name/"
done
python3 - "$dir/initiator" "${files[@]}" <<'END'
import hashlib, os, sys
top, *kinds = sys.argv[1:]
with open(f"{top}/sums", "w", encoding="ascii") as sums:
    for kind in kinds:
        count, mib = map(int, kind.split("x"))
        for n in range(count):
            data = os.urandom(mib << 20)
            with open(f"{top}/files/{kind}-{n}", "wb") as file:
                file.write(data)
            sums.write(f"{hashlib.sha512(data).hexdigest()}  {kind}-{n}\n")
END

start one node.sh "${number[one]}" $address
start two node.sh "${number[two]}" $address
start initiator initiator.sh 3 $address
until_there "$dir/one/done" 120
until_there "$dir/two/done" 120
order one up >/dev/null
[ ! -e "$dir/one/config.json" ] || cp "$dir/one/config.json" "$dir/two/"
until_there "$dir/initiator/ready" 120
until_there "$dir/initiator/gap" 20

active=one idle=two shares=()
for n in $(seq $((moves + kills))); do
	rm -f "$dir/initiator/gap"
	writes >/dev/null
	down=0
	if [ "$n" -le $moves ]; then
		how=moved
		down=$(order "$active" down)
	else
		how=killed
		kill -9 "${vm[$active]}"
		wait "${vm[$active]}" 2>/dev/null
	fi
	up=$(order "$idle" up)
	share=$((down + up))
	shares+=("$share")
	if [ $how = killed ]; then
		start "$active" node.sh "${number[$active]}" $address
	fi
	printf '%3d %-6s from %s to %s: the target took %4d ms (down %d, up %d)' "$n" $how "$active" "$idle" "$share" "$down" "$up"
	read -r active idle <<<"$idle $active"
	printf '; nothing was written for %d ms\n' "$(settled)"
	[ $how = moved ] || until_there "$dir/$idle/done" 120
done
touch "$dir/initiator/stop"
wait "${vm[initiator]}"
status=$?
unset 'vm[initiator]'
cat "$dir/initiator/rounds" "$dir/initiator/fsck" "$dir/initiator/wrong"
# Of the share, which says nothing of the target: the file was read again before it was copied.
grep 'not read' "$dir/initiator/copied"
[ $status -eq 0 ] || told
check "the initiator has seen no error, and every file is as it was written" [ $status -eq 0 ]
check "no SHA-512 sum is wrong" [ ! -s "$dir/initiator/wrong" ]
# Every machine here is emulated, and has a part of a CPU.
median=$(printf '%s\n' "${shares[@]}" | sort -n | sed -n "$((${#shares[@]} / 2))p")
check "the target's part of a takeover is below one second ($median ms by the median)" [ "$median" -lt 1000 ]
