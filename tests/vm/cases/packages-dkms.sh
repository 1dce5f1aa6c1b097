# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# In a clean Debian 13, DKMS builds the module for the stock kernel from the packages alone, and signs
# it; it says that Debian 13's own kernel cannot be served. A virtual machine loads that module.
# runs: host
# draft: it makes the Rust metadata of a kernel, which takes minutes
# time: 400
# limit: 3000
set -u
. scripts/lib/common.sh
. scripts/lib/debian.sh
. tests/host/packages/overlay.sh
. tests/host/packages/machine.sh
set +e

compgen -G 'build/deb/ferrite-dkms_*_all.deb' >/dev/null || scripts/deb || exit 4
version=$(awk '$1 == "primary" { print $3 }' "$suite_file")
out=$PWD/build/dkms
rm -rf "$out"
mkdir -p "$out"
# Nothing is in it but what debootstrap puts there.
in_overlay "$base" bash tests/host/packages/dkms.sh "$(release_of primary)" "$version" "$out"
in_machine DKMS --module "$out/ferrite.ko"
