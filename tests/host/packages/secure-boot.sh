#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# secure-boot.sh DIR TREE RELEASE VERSION: makes what a machine with Secure Boot boots, in DIR: firmware
# and its variables, a kernel signed with a key of one's own, and an initramfs with ferrite.ko unsigned,
# and signed in several ways. TREE is a prepared build tree of the kernel, which has sign-file.
set -eu
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/checks.sh"
dir=$1 tree=$2 release=$3 version=$4
owner=2d15cf8e-c4f2-4e2d-a2d4-7ab2c0aa5e2f
cd "$dir"

key mine.key mine.der "A key of my own"
key other.key other.der "A key of somebody else"
openssl x509 -inform DER -in mine.der -out mine.pem
openssl x509 -inform DER -in other.der -out other.pem
cp /usr/share/OVMF/OVMF_CODE_4M.secboot.fd code.fd
vars() {
	virt-fw-vars --input /usr/share/OVMF/OVMF_VARS_4M.fd --secure-boot "$@"
}
# As a machine is sold, and with a key of its owner's; as someone has made it their own.
vars --output mok.fd --enroll-redhat --add-mok $owner mine.pem
vars --output db.fd --set-pk $owner other.pem --add-kek $owner other.pem --add-db $owner other.pem --no-microsoft

sign() {
	cp unsigned.ko "$3.ko"
	"$tree/scripts/sign-file" sha256 "$1" "$2" "$3.ko"
}
sign mine.key mine.der signed
sign other.key other.der stranger
# One letter of the text in it.
sed 's/iSCSI target/iSCSI tarGet/' signed.ko >changed.ko
if cmp -s signed.ko changed.ko; then
	echo "nothing was changed" >&2
	exit 1
fi

# The modules that it needs, as Debian signed them.
chmod 777 .
mkdir -p deb initrd/{bin,dev,proc,sys,modules}
(cd deb && apt-get -q download "linux-modules-$release=$version" && dpkg-deb -x ./*.deb .)
modinfo -F depends unsigned.ko | tr , '\n' | while read -r name; do
	file=$(find deb -name "$name.ko*")
	case $file in
		*.xz) xz -dc "$file" >"initrd/modules/$name.ko" ;;
		?*) cp "$file" initrd/modules/ ;;
		*) continue ;;
	esac
	echo "$name" >>initrd/modules/first
done
cp unsigned.ko signed.ko stranger.ko changed.ko initrd/modules/
cp /bin/busybox initrd/bin/
cat >initrd/init <<'EOF'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t securityfs none /sys/kernel/security
echo "@lockdown $(cat /sys/kernel/security/lockdown)"
dmesg | grep -iE 'x.?509|secure boot|lockdown|MODSIGN|integrity'
cat /proc/keys | sed 's/^/@keyring /'
for name in $(cat /modules/first) unsigned stranger changed signed; do
	if text=$(insmod /modules/$name.ko 2>&1); then text=done; fi
	echo "@load $name $text"
done
mount -t configfs none /sys/kernel/config
echo "@configfs" $(ls /sys/kernel/config/ferrite)
umount /sys/kernel/config
rmmod ferrite && echo "@unload done"
poweroff -f
EOF
chmod 755 initrd/init
(cd initrd && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) >initrd.new
rm -rf deb initrd
mv initrd.new initrd

# kernel NAME: the kernel with its initramfs, as one signed program.
kernel() {
	ukify build --linux=vmlinuz --initrd=initrd --uname="$release" --os-release=@/etc/os-release \
		--cmdline="console=ttyS0 loglevel=5 panic=-1 no_timer_check random.trust_cpu=on" \
		--secureboot-private-key="$1.key" --secureboot-certificate="$1.pem" --output="$1.efi"
}
# disk NAME FILE=PROGRAM...: what the firmware starts programs from.
disk() {
	local image=$1.esp pair
	shift
	mkfs.vfat -C "$image" 98304 >/dev/null
	mmd -i "$image" ::/EFI ::/EFI/BOOT
	for pair; do
		mcopy -i "$image" "${pair#*=}" "::/EFI/BOOT/${pair%%=*}"
	done
}
kernel mine
kernel other
apt-get -q download shim-signed
dpkg-deb -x shim-signed_*.deb shim
disk mok BOOTX64.EFI=shim/usr/lib/shim/shimx64.efi.signed grubx64.efi=mine.efi
disk db BOOTX64.EFI=other.efi
disk foreign BOOTX64.EFI=mine.efi
cp db.fd foreign.fd
