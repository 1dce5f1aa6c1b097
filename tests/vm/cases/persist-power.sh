# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Persistent reservations survive a loss of power: a virtual machine with three hundred registrants
# is killed, and another one with the same disks has all of them before the first command.
# runs: host
# time: 90
# limit: 500
set -u

dir=$(mktemp -d)
vm=
# shellcheck disable=SC2329 # The trap runs it.
cleanup() {
	[ -z "$vm" ] || kill -9 "$vm" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT

pass() {
	printf '@ok %s\n' "$1"
}

fail() {
	printf '@fail %s\n' "$1"
}

count=300
truncate -s 64M "$dir/disk" "$dir/system"
PATH=$PATH:/usr/sbin:/sbin
mkfs.ext4 -qF "$dir/system" || exit
mkdir "$dir/share"
cp tests/vm/py/iscsi.py tests/vm/py/aptpl.py "$dir/share/"

# boot MODE: what both machines do; the checks are told on their standard output.
boot() {
	{
		cat tests/vm/lib.sh
		cat <<END
trap - EXIT
exec 3>&1
t_load
mkdir -p /var/lib/ferrite
mount /dev/vdb /var/lib/ferrite || exit
END
		cat
	} >"$dir/$1"
	scripts/vm run --kernel "${VM_KERNEL:-stock}" --timeout 400 --disk "$dir/disk" --disk "$dir/system" \
		--share "$dir/share" "$dir/$1" >"$dir/$1.out" 2>"$dir/$1.err"
}

boot before <<END &
# Nothing is written back but what is asked for.
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
t_export /dev/vda
ferritectl save /var/lib/ferrite/saved.json || exit
sync
python3 /share/aptpl.py register $count
echo acknowledged
sleep 600
END
vm=$!
for ((n = 0; n < 4000; n++)); do
	grep -q '^acknowledged' "$dir/before.out" 2>/dev/null && break
	kill -0 $vm 2>/dev/null || break
	sleep 0.1
done
sed 's/^/| /' "$dir/before.out"
grep '^@' "$dir/before.out"
if ! grep -q '^acknowledged' "$dir/before.out"; then
	sed 's/^/| /' "$dir/before.err"
	fail "$count initiators register"
	exit 0
fi
# QEMU is a child of scripts/vm, which is one of the function's shell; by SIGKILL, so that nothing
# is written back.
killed=$vm
while child=$(pgrep -P "${killed##* }") && [ -n "$child" ]; do
	killed="$killed ${child%%[[:space:]]*}"
done
# shellcheck disable=SC2086 # A list of numbers.
kill -9 $killed
wait $vm 2>/dev/null
vm=
for ((n = 0; n < 100; n++)); do
	kill -0 "${killed##* }" 2>/dev/null || break
	sleep 0.1
done

if boot after <<END; then
ferritectl restore /var/lib/ferrite/saved.json || exit
python3 /share/aptpl.py restored $count
echo done
END
	pass "another machine comes up with its disks"
else
	sed 's/^/| /' "$dir/after.err"
	fail "another machine comes up with its disks"
fi
sed 's/^/| /' "$dir/after.out"
grep '^@' "$dir/after.out"
grep -q '^done' "$dir/after.out" || fail "the initiators come back"
