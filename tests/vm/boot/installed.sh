# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# In a machine with systemd that has nothing of Ferrite: installs it by the package and by
# scripts/install, serves a disk, and removes it again while it does. $1 is where the package's
# module comes from.
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1

# Whatever is called so, but for what the virtual machine itself has, and what dpkg remembers.
traces() {
	find / /usr/lib/modules -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /ferrite -o -path /share \
		-o -path /tmp -o -name 'ferrite-guest*' -o -name '.ferrite*' -o -name '90ferrite' \) -prune \
		-o \( -iname '*ferrite*' -o -name lio_node -o -name tcm_node \) -print
}

# serves HOW: a disk, to somebody who stays logged in.
serves() {
	must modprobe ferrite
	t_export /dev/vda
	must ferritectl save
	# What is there already is left alone.
	check "$1: the unit starts, and will at boot" systemctl enable --now ferrite
	must ferritectl clear --yes
	check "$1: started again, it restores what was saved" systemctl restart ferrite
	must i_login
	disk=$(i_disk) || give_up "no disk"
	check "$1: verified I/O" fio_verify "$disk" --size=2m
}

# is_gone HOW: no target, no module; the initiator learns it.
is_gone() {
	check "$1: removed, it serves nothing any more" [ ! -e /sys/module/ferrite ]
	check_eq "$1: the unit is gone" not-found "$(systemctl show -P LoadState ferrite)"
	check "$1: what was saved stays" test -e /etc/ferrite/config.json
	i_forget
}

i_init
# The image is made in a chroot, where no package may start or stop a service.
must rm -f /usr/sbin/policy-rc.d
before=$(traces)
check_eq "nothing of it is there" "" "$before"
release=$(uname -r)

must mkdir -p "/usr/lib/modules/$release/updates/dkms"
must cp /ferrite/ferrite.ko "/usr/lib/modules/$release/updates/dkms/"
must depmod
check "the package is installed" dpkg -i /share/ferrite_*_amd64.deb
check_eq "nothing is started by that" inactive "$(systemctl show -P ActiveState ferrite)"
serves "package, module by $1"
check "the package is removed while it serves" dpkg -r ferrite
is_gone package
check "the package is purged" dpkg -P ferrite
must rm -r "/usr/lib/modules/$release/updates"
must depmod
check_eq "and nothing is left" "$before" "$(traces)"

# Bash remembers where the tool was.
hash -r
check "scripts/install installs all" /share/project/scripts/install
must systemctl daemon-reload
serves scripts/install
check "scripts/install --uninstall removes it while it serves" /share/project/scripts/install --uninstall
is_gone scripts/install
check "once more, with --purge" /share/project/scripts/install --uninstall --purge
check_eq "and nothing is left of that either" "$before" "$(traces)"
