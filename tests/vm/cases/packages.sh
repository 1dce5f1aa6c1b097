# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The Debian packages are built, installed in a Debian 13 tree, and removed; what DKMS would run
# says which kernels cannot be served; a module is signed with a key of one's own. Then the same in a
# virtual machine with systemd, which serves a disk, and by scripts/install.
# runs: host
# time: 150
# limit: 900
set -u
. scripts/lib/common.sh
. scripts/lib/debian.sh
. tests/host/packages/overlay.sh
. tests/host/packages/machine.sh
set +e

if scripts/deb --lint; then
	printf '@ok %s\n' "the packages are built, and lintian has nothing to say"
else
	printf '@fail %s\n' "the packages are built, and lintian has nothing to say"
	exit 4
fi
export FERRITE_TREE
FERRITE_TREE=$(scripts/toolchain path)
in_overlay "$root" bash tests/host/packages/install.sh "$FERRITE_TREE"
in_machine scripts/toolchain
