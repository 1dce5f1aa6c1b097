# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# With Secure Boot the stock kernel loads the module if it is signed with a key of one's own that the
# machine's owner (MOK) or the firmware (db) trusts, and refuses it otherwise.
# runs: host
# time: 45
# limit: 900
set -u
. scripts/lib/common.sh
. scripts/lib/debian.sh
. tests/host/packages/overlay.sh
set +e

release=$(scripts/toolchain release "${VM_KERNEL:-stock}") || exit
mapfile -t images < <("$lib/vm-images" "${VM_KERNEL:-stock}") || exit
lock toolchain
ensure_extra uefi dosfstools mtools ovmf python3-virt-firmware sbsigntool systemd-boot-efi systemd-ukify
unlock toolchain
dir=$(mktemp -d "$cache/run/secure-boot.XXXXXX")
pid=
# shellcheck disable=SC2329 # The trap runs it.
cleanup() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
cp "${images[1]%/*}/vmlinuz" "$dir/"
cp "build/$release/stripped.ko" "$dir/unsigned.ko"
FERRITE_TREE=$(scripts/toolchain path "${VM_KERNEL:-stock}") || exit
version=$(version_of_release "$release")
in_overlay "$root" bash tests/host/packages/secure-boot.sh "$dir" "$FERRITE_TREE" "$release" "$version" || exit

# boot NAME [REGEX]: a machine with Secure Boot, its variables and its disk; the console is in
# $dir/console. It ends by itself, or when the console has what is told.
boot() {
	local try end
	for try in 1 2 3 4; do
		cp "$dir/$1.fd" "$dir/vars.now"
		: >"$dir/console"
		qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
			-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on \
			-global ICH9-LPC.disable_s3=1 -accel tcg -cpu max -m 512 \
			-drive "if=pflash,format=raw,unit=0,readonly=on,file=$dir/code.fd" \
			-drive "if=pflash,format=raw,unit=1,file=$dir/vars.now" \
			-drive "if=none,id=esp,format=raw,readonly=on,file=$dir/$1.esp" \
			-device virtio-blk-pci,drive=esp,bootindex=0 -serial "file:$dir/console" </dev/null &
		pid=$!
		end=$((SECONDS + 60 * try))
		while kill -0 $pid 2>/dev/null && [ $SECONDS -lt $end ]; do
			if [ -n "${2:-}" ] && grep -aqE -- "$2" "$dir/console"; then
				end=0
			fi
			sleep 0.2
		done
		# The emulation, or the firmware, at times hangs.
		kill $pid 2>/dev/null && [ $end -ne 0 ] && echo "the machine did not come to its end, try $try"
		wait $pid
		pid=
		[ $SECONDS -lt $end ] || [ $end -eq 0 ] || continue
		break
	done
	tr -d '\r' <"$dir/console" | grep -a -v -e '^$' -e ' blacklist bin:' | tail -n 80
}
check() {
	if "${@:2}"; then
		printf '@ok %s\n' "$1"
	else
		printf '@fail %s\n' "$1"
	fi
}
# told NAME REGEX
told() {
	check "$1" grep -aqE -- "$2" "$dir/console"
}

# The machine's owner trusts the key (MOK), and so does Debian's shim, which Microsoft has signed.
boot mok
told "shim starts a kernel that is signed with the owner's key, and Secure Boot is on" "secureboot: Secure boot enabled"
told "the kernel is locked down" "@lockdown .*\[integrity\]"
told "the owner's key is in one of its keyrings" "@keyring .*A key of my own"
told "a module without a signature is refused" "@load unsigned .*Key was rejected"
told "so is one that is signed with another key" "@load stranger .*Key was rejected"
told "and one that was changed after it was signed" "@load changed .*Key was rejected"
told "the module that is signed with the owner's key is loaded" "@load signed done"
told "it makes its directory in configfs" "@configfs .*iscsi"
told "and is unloaded" "@unload done"
# Firmware that trusts another key, and nothing else.
boot db
told "firmware starts a kernel that is signed with the key that it has been given" "secureboot: Secure boot enabled"
told "the module that is signed with that key is loaded" "@load stranger done"
told "the one with the first key is refused here" "@load signed .*Key was rejected"
# And the kernel of the first machine.
refusal="Access Denied|Security Violation"
boot foreign "$refusal"
told "a kernel that is signed with a key that nobody trusts is refused" "$refusal"
check "and does not start" eval '! grep -aq "@lockdown" "$dir/console"'
