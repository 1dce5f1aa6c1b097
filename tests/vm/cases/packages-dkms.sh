# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# DKMS builds the module for the stock kernel from the packages alone, and signs it.
# runs: host
# draft: it makes the Rust metadata of a kernel, which takes minutes
# time: 400
# limit: 1800
set -u
. scripts/lib/common.sh
. scripts/lib/debian.sh
. tests/host/packages/overlay.sh
set +e

compgen -G 'build/deb/ferrite-dkms_*_all.deb' >/dev/null || scripts/deb || exit 4
version=$(awk '$1 == "primary" { print $3 }' "$suite_file")
in_overlay "$root" bash tests/host/packages/dkms.sh "$(release_of primary)" "$version"
