# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What cases with several machines share. Sourced on the host, by such a case.

dir=$(mktemp -d)
here=$PWD/tests/vm
segment=230.77.$((RANDOM % 256)).$((RANDOM % 256)):$((20000 + RANDOM % 10000))
# Of each machine: its process, and what it has for disks (see scripts/vm run --help).
declare -A vm=() disks=()
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
# prepare NAME...: what machines of these names have at /share, which is $dir/NAME.
prepare() {
	local name
	for name; do
		mkdir -p "$dir/$name"
		{
			printf 'T_TARGET=%s\n' "${T_TARGET:-ferrite}"
			cat "$here/lib.sh"
		} >"$dir/$name/lib.sh"
		cp "$here"/ha/* "$dir/$name/"
	done
}
# boot NAME SCRIPT IP ARGUMENT...
boot() {
	local name=$1 script=$2 ip=$3 file disk=()
	shift 3
	for file in ${disks[$name]:-}; do
		disk+=(--disk "$file")
	done
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
# fell NAME: the machine is gone when this returns, and all it was writing is written or never will be.
fell() {
	local qemu
	qemu=$(pgrep -P "${vm[$1]}") || die "$1 has ended before it was killed"
	kill -9 "${vm[$1]}" "$qemu"
	wait "${vm[$1]}" 2>/dev/null
	while [ -e "/proc/$qemu" ]; do
		sleep 0.01
	done
}
