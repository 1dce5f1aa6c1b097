# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A machine with systemd that is a target reboots: its LUNs, which are logical volumes, are served
# again by themselves, at an address that comes late; and it shuts down in the right order.
# runs: host
# time: 150
# limit: 900
set -u

address=10.77.0.100
segment=230.78.$((RANDOM % 256)).$((RANDOM % 256)):$((20000 + RANDOM % 10000))
here=$PWD/tests/vm
dir=$(mktemp -d)
initiator='' target=''
# shellcheck disable=SC2329 # The trap runs it.
cleanup() {
	# Each is still to be waited for, or empty.
	for pid in $initiator $target; do
		kill -9 "$pid" 2>/dev/null
	done
	wait
	rm -rf "$dir"
}
trap cleanup EXIT

tell() {
	printf '@%s %s\n' "$1" "$2"
}
# report FILE...: what a machine said; its checks count here.
report() {
	cat "$@"
	rm -f "$@"
}
die() {
	tell fail "going on ($1)"
	report "$dir"/*/out "$dir"/*/err
	exit 1
}
check() {
	if "${@:2}"; then tell ok "$1"; else tell fail "$1"; fi
}
# meet FILE FROM TO: what one machine tells, the other is told.
meet() {
	local end=$((SECONDS + 300))
	until [ -e "$dir/$2/$1" ]; do
		[ $SECONDS -lt $end ] || die "$2/$1 does not come"
		kill -0 "$target" 2>/dev/null || die "the target's machine has ended"
		kill -0 "$initiator" 2>/dev/null || die "the initiator's machine has ended"
		sleep 0.1
	done
	rm "$dir/$2/$1"
	echo yes >"$dir/$3/$4"
}
# boot NAME OPTION... SCRIPT ARGUMENT...
boot() {
	local name=$1
	shift
	T_TARGET=ferrite exec scripts/vm run --kernel "${VM_KERNEL:-stock}" --timeout 600 --net "mcast:$segment" \
		--share "$dir/$name" "$@" >"$dir/$name/out" 2>"$dir/$name/err"
}

release=$(scripts/toolchain release "${VM_KERNEL:-stock}") || exit
mkdir -p "$dir"/{target/installed,initiator}
KERNEL=$release DESTDIR=$dir/target/installed PREFIX=/usr scripts/install || exit
truncate -s 256M "$dir/disk"
for name in target initiator; do
	cp "$here/lib.sh" "$here"/boot/* "$here/ha/gaps.py" "$dir/$name/"
done

disks=(--systemd --root "$dir/root" --disk "$dir/disk")
boot target "${disks[@]}" --ip 10.77.0.1/24 "$dir/target/target.sh" first $address &
target=$!
boot initiator --smp 1 --ip 10.77.0.2/24 "$dir/initiator/initiator.sh" $address &
initiator=$!
meet writes initiator target reboot
wait $target
status=$?
target=
check "the system shuts down by itself" [ $status -eq 0 ]
report "$dir"/target/{out,err}
rm -f "$dir"/target/{serves,reboot}
boot target "${disks[@]}" --ip 10.77.0.1/24 "$dir/target/target.sh" second $address &
target=$!
meet serves target initiator rebooted
meet finished initiator target finished
wait $initiator
status=$?
initiator=
check "the initiator has seen no error" [ $status -eq 0 ]
wait $target
status=$?
target=
check "and so once more" [ $status -eq 0 ]
report "$dir"/*/{out,err}
