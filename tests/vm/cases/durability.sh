# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A machine that loses its power after a flush was acknowledged has the data on its disk: the
# virtual machine is killed, and its disk image read on this machine.
# runs: host
# time: 60
# limit: 400
set -u

pass() {
	printf '@ok %s\n' "$1"
}

fail() {
	printf '@fail %s\n' "$1"
}

dir=$(mktemp -d)
vm=
# shellcheck disable=SC2329 # The trap runs it.
cleanup() {
	[ -z "$vm" ] || kill -9 "$vm" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT

truncate -s 128M "$dir/disk" "$dir/through"
cat tests/vm/lib.sh - >"$dir/script" <<'END'
trap - EXIT
exec 3>&1
i_init
t_load
# Nothing is written back but what is asked for.
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
# Once by the flush of a file system, once by FUA, once by write_through.
t_export /dev/vda /dev/vdb
tool backstore set disk1 write_through=1 || exit
i_login || exit
disk=$(i_disk) && through=$(i_disk "$IQN" 1) || exit
mkfs.ext4 -qF "$disk"
mkdir -p /tmp/m
mount -o commit=900 "$disk" /tmp/m
dd if=/dev/urandom of=/tmp/m/file bs=64k count=64 conv=fsync status=none || exit
echo "file $(sha256sum </tmp/m/file)"
dd if=/dev/urandom of=/tmp/block bs=4k count=1 status=none
# FUA, to the last block, which the file system does not use for files.
sg_raw -s 4096 -i /tmp/block "$disk" 2a 08 00 03 ff f8 00 00 08 00 || exit
echo "fua $(sha256sum </tmp/block)"
dd if=/tmp/block of="$through" bs=4k seek=7 oflag=direct status=none || exit
echo "through $(sha256sum </tmp/block)"
# Nobody asked for this one.
dd if=/dev/urandom of=/tmp/m/lost bs=64k count=64 status=none || exit
echo "acknowledged"
sleep 600
END
scripts/vm run --kernel "${VM_KERNEL:-stock}" --timeout 300 --disk "$dir/disk" --disk "$dir/through" "$dir/script" >"$dir/out" 2>"$dir/err" &
vm=$!
for ((n = 0; n < 3000; n++)); do
	grep -q '^acknowledged' "$dir/out" && break
	kill -0 $vm 2>/dev/null || break
	sleep 0.1
done
if ! grep -q '^acknowledged' "$dir/out"; then
	sed 's/^/| /' "$dir/out" "$dir/err"
	fail "the virtual machine writes and flushes"
	exit 0
fi
pass "the virtual machine writes and flushes"
# QEMU is a child of it, and dies with it: by SIGKILL, so that nothing is written back.
qemu=$(pgrep -P $vm qemu-system)
kill -9 "$qemu" "$vm"
wait $vm 2>/dev/null
vm=
for ((n = 0; n < 100; n++)); do
	kill -0 "$qemu" 2>/dev/null || break
	sleep 0.1
done
sed 's/^/| /' "$dir/out"

# The file, by the file system's own tools: the journal is replayed in the image first.
PATH=$PATH:/usr/sbin:/sbin
e2fsck -fy "$dir/disk" >"$dir/fsck" 2>&1
sed 's/^/| /' "$dir/fsck"
debugfs -R "dump /file $dir/file" "$dir/disk" 2>/dev/null
if [ "$(sha256sum <"$dir/file" | cut -d ' ' -f 1)" = "$(awk '$1 == "file" { print $2 }' "$dir/out")" ]; then
	pass "a file that was synchronised is on the disk of the killed machine"
else
	fail "a file that was synchronised is on the disk of the killed machine"
fi
# block KIND IMAGE BLOCK: whether the image has what was said to be written.
block() {
	[ "$(dd if="$2" bs=4k skip="$3" count=1 status=none | sha256sum)" = "$(sed -n "s/^$1 //p" "$dir/out")" ]
}
if block fua "$dir/disk" 32767; then
	pass "a block that was written with FUA is on the disk of the killed machine"
else
	fail "a block that was written with FUA is on the disk of the killed machine"
fi
if block through "$dir/through" 7; then
	pass "and so is one that was written with write_through"
else
	fail "and so is one that was written with write_through"
fi
if debugfs -R "stat /lost" "$dir/disk" 2>&1 | grep -q 'File not found'; then
	pass "a file that was not synchronised is lost: the machine was killed at once"
else
	fail "a file that was not synchronised is lost: the machine was killed at once"
fi
