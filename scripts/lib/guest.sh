# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The virtual machine's disk images: one with the Debian guest, and for every kernel one
# with its modules, beside the kernel and an initramfs. Sourced after debian.sh.
# shellcheck disable=SC2034,SC2154 # Used by, or set in, the other files.

# Raised when what is made below changes, so that older images are made again.
guest_format=1
guest_files=$project/scripts/vm-guest

guest_packages=(
	bash bpftrace bsdextrautils busybox-static curl dbus-daemon dbus-system-bus-common dmsetup
	dosfstools e2fsprogs ethtool fdisk fio gdisk iproute2 iputils-ping jq kmod libiscsi-bin libxml2-utils
	linux-perf lsof lsscsi lvm2 mdadm multipath-tools netcat-openbsd nftables nmap nvme-cli
	open-iscsi parted procps psmisc python3 python3-yaml qemu-block-extra qemu-utils
	resource-agents sg3-utils socat strace targetcli-fb tcpdump thin-provisioning-tools trace-cmd
	udev xfsprogs
)

# Left out of the modules: what no virtual machine of ours has.
guest_module_prune=(
	drivers/accel drivers/android drivers/ata drivers/bluetooth drivers/comedi drivers/gpu drivers/hid
	drivers/hwmon drivers/iio drivers/input drivers/isdn drivers/leds drivers/media drivers/mfd
	drivers/mmc drivers/mtd drivers/net/can drivers/net/ethernet drivers/net/ieee802154 drivers/net/phy
	drivers/net/usb drivers/net/wireless drivers/net/wwan drivers/nfc drivers/pcmcia drivers/platform
	drivers/power drivers/soundwire drivers/staging drivers/thunderbolt drivers/usb drivers/video
	drivers/scsi/aacraid drivers/scsi/aic7xxx drivers/scsi/be2iscsi drivers/scsi/bnx2fc
	drivers/scsi/bnx2i drivers/scsi/lpfc drivers/scsi/megaraid drivers/scsi/mpi3mr
	drivers/scsi/mpt3sas drivers/scsi/qla2xxx drivers/scsi/qla4xxx drivers/scsi/smartpqi
	net/bluetooth net/can net/mac80211 net/nfc net/wireless sound
)

# The modules that init loads, in sets: what it needs to find the images, what every guest
# has, and what is loaded when asked for. Built-in ones are skipped.
guest_modules=(
	"boot virtio_pci nfit nd_pmem ext4"
	"always configfs"
	"disk virtio_blk"
	"net virtio_net"
	"share 9p 9pnet_virtio"
	"systemd overlay"
)

# The images are kept by key, so that two working copies of the project can share a cache.
guest_dir() {
	echo "$cache/guest/$(guest_key)"
}

vm_dir() {
	echo "$cache/vm/$1/$(vm_kernel_key "$1")"
}

# Drops what was not used lately: all but the four images used last. A machine that runs from
# one keeps its own hold of the file.
prune_images() {
	local parent=$1 old
	# shellcheck disable=SC2012 # Names are our own: no surprises in them.
	ls -1t "$parent" | tail -n +5 | while IFS= read -r old; do
		remove_tree "$parent/$old"
	done
}

# mke2fs makes a file system with files in it without mounting anything.
make_ext4() {
	local image=$1 label=$2 tree=$3 spare=$4 size
	size=$(($(du -s --apparent-size -B1M "$tree" | cut -f 1) * 11 / 10 + spare))
	rm -f "$image"
	in_root "$root" mke2fs -q -t ext4 -O '^has_journal,^resize_inode' -m 0 -E root_owner=0:0,lazy_itable_init=0 \
		-L "$label" -d "$tree" "$image" "${size}M"
}

guest_key() {
	stamp_of guest "$guest_format" "$(cat "$base/.ferrite-stamp")" "${guest_packages[@]}" \
		"$(cd "$guest_files" && find . -type f -exec sha256sum {} + | sort)"
}

guest_tree() {
	local tree=$1
	copy_base "$tree"
	quietly guest-apt-update in_root "$tree" apt-get -q update
	quietly guest-apt-install install_in "$tree" "${guest_packages[@]}"
	# There is no systemd to start iscsid: iscsiadm does it.
	sed -i 's|^iscsid.startup = .*|iscsid.startup = /usr/sbin/iscsid|' "$tree/etc/iscsi/iscsid.conf"
	grep -q '^iscsid.startup = /usr/sbin/iscsid$' "$tree/etc/iscsi/iscsid.conf"
	rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree$cache" "$tree$project"
}

ensure_guest() {
	local tree dir packages_key
	dir=$(guest_dir)
	if has_stamp "$dir" image; then
		return
	fi
	# The packages take minutes, our own files a moment: the tree of the packages is kept.
	tree=$cache/guest-tree
	packages_key=$(stamp_of guest-tree "$guest_format" "$(cat "$base/.ferrite-stamp")" "${guest_packages[@]}")
	if ! has_stamp "$tree" "$packages_key"; then
		say "making the virtual machine's Debian (open-iscsi, fio, ...; about 2 minutes)"
		remove_tree "$tree"
		guest_tree "$tree.new"
		write_stamp "$tree.new" "$packages_key"
		mv -T "$tree.new" "$tree"
	fi
	say "making the virtual machine's disk image (about 20 s)"
	rm -rf "$tree/usr/lib/ferrite-guest"
	cp -a "$guest_files/." "$tree/"
	mkdir -p "$tree/usr/lib/modules" "$tree/ferrite" "$tree/share"
	chown -R 0:0 "$tree/usr/lib/ferrite-guest"
	remove_tree "$dir.new"
	mkdir -p "$dir.new"
	quietly guest-image make_ext4 "$dir.new/root.img" ferrite-root "$tree" 1024
	write_stamp "$dir.new" image
	mv -T "$dir.new" "$dir"
	prune_images "$cache/guest"
}

# --- the kernel's side --------------------------------------------------------------------

# stock_tree RELEASE DIR: the kernel's image and modules, as Debian ships them.
stock_tree() {
	local release=$1 dir=$2 version deb part names
	version=$(version_of_release "$release")
	mapfile -t names < <(image_packages "$release")
	for part in "${names[*]}" "linux-modules-$release" "linux-base-$release"; do
		# shellcheck disable=SC2086 # A list of names.
		if deb=$(fetch "$version" $part); then
			in_root "$root" dpkg-deb -x "$deb" "$dir"
			remove_tree "${deb%/*}"
		fi
	done
}

# set_modules TREE RELEASE MODULE...: the files of the modules and of those they need.
set_modules() {
	local tree=$1 release=$2 module
	shift 2
	for module; do
		in_root "$root" modprobe -d "$tree" -S "$release" --show-depends "$module" |
			awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++'
}

make_initrd() {
	local tree=$1 release=$2 image=$3 work set file kernel=$1/usr/lib/modules/$2
	work=$cache/initrd-$release.work
	remove_tree "$work"
	mkdir -p "$work"/{bin,modules,dev,proc,sys,root}
	cp "$root/bin/busybox" "$work/bin/busybox"
	in_root "$root" sh -c 'for name in $(busybox --list | grep -vx busybox); do ln -sf busybox "$1/bin/$name"; done' - "$work"
	cp "$guest_files/usr/lib/ferrite-guest/init" "$work/init"
	for set in "${guest_modules[@]}"; do
		# shellcheck disable=SC2086 # A list of names.
		set_modules "$tree" "$release" ${set#* } >"$work/files"
		while IFS= read -r file; do
			if [ "${set%% *}" = boot ]; then
				cp "$file" "$work/modules/"
				echo "${file##*/}"
			else
				echo "${file##*"/modules/$release/"}"
			fi
		done <"$work/files" >"$work/modules/${set%% *}.list"
	done
	rm "$work/files"
	in_root "$root" sh -c 'cd "$1" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0 >"$2"' - "$work" "$image"
	remove_tree "$work"
}

vm_kernel_key() {
	local release=$1 debug=
	if [ "$release" = "$(debug_release)" ]; then
		debug=$(cat "$(kernel_dir "$release")/.ferrite-stamp" 2>/dev/null || true)
	fi
	stamp_of vm "$guest_format" "$release" "$debug" "${guest_module_prune[@]}" "${guest_modules[@]}" \
		"$(cat "$guest_files/usr/lib/ferrite-guest/init")"
}

ensure_vm_kernel() {
	local release=$1 dir tree part
	dir=$(vm_dir "$release")
	if has_stamp "$dir" image; then
		return
	fi
	say "fetching the kernel $release for the virtual machine (about 40 s)"
	remove_tree "$dir.new"
	tree=$dir.new/tree
	mkdir -p "$tree"
	if [ "$release" = "$(debug_release)" ]; then
		cp -a "$(kernel_dir "$release")/tree/." "$tree/"
		cp "$(kernel_dir "$release")/vmlinuz" "$dir.new/vmlinuz"
	else
		stock_tree "$release" "$tree"
		find "$tree" -name "vmlinuz*" -type f -exec mv {} "$dir.new/vmlinuz" \;
	fi
	[ -s "$dir.new/vmlinuz" ] || die "the packages of the kernel $release hold no kernel image"
	quietly vm-vmlinux in_root "$root" "$lib/vmlinux" "$dir.new/vmlinuz" "$dir.new/vmlinux"
	# The modules may be under /lib or /usr/lib; the guest looks in /usr/lib.
	if [ -d "$tree/lib/modules" ]; then
		mkdir -p "$tree/usr/lib"
		mv "$tree/lib/modules" "$tree/usr/lib/modules"
	fi
	rm -rf "${tree:?}/lib"
	ln -s usr/lib "$tree/lib"
	for part in "${guest_module_prune[@]}"; do
		rm -rf "$tree/usr/lib/modules/$release/kernel/$part"
	done
	rm -f "$tree/usr/lib/modules/$release"/{build,source}
	# An emulated CPU takes long over xz, and over the signatures that are appended to the
	# modules: a twentieth of a second for each. Stripping drops them and changes nothing else.
	quietly vm-modules-unxz in_root "$root" sh -c \
		'find "$1" -name "*.ko.xz" -print0 | xargs -0 -r -n 64 -P "$(nproc)" xz -d &&
		find "$1" -name "*.ko" -print0 | xargs -0 -r -n 1 -P "$(nproc)" objcopy --strip-debug' - "$tree/usr/lib/modules"
	quietly vm-depmod in_root "$root" depmod -b "$tree" "$release"
	quietly vm-initrd make_initrd "$tree" "$release" "$dir.new/initrd.img"
	quietly vm-modules-image make_ext4 "$dir.new/modules.img" ferrite-modules "$tree/usr/lib/modules" 16
	remove_tree "$tree"
	write_stamp "$dir.new" image
	mv -T "$dir.new" "$dir"
	prune_images "$cache/vm/$release"
}
