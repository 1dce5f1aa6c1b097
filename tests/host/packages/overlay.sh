# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# in_overlay TREE COMMAND...: runs COMMAND in a copy of a Debian tree that ends with it. The
# project and the cache keep their paths. Sourced after scripts/lib/common.sh.

in_overlay() {
	local tree=$1 scratch status=0
	shift
	scratch=$(mktemp -d)
	# shellcheck disable=SC2016,SC2154 # The inner shell's; set by common.sh.
	FERRITE_BIND="$cache:$project" unshare --mount --propagation private bash -c '
		scratch=$1 tree=$2 lib=$3
		shift 3
		mkdir "$scratch"/{upper,work,tree}
		over() {
			mount -t overlay -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" ferrite "$scratch/tree"
		}
		# What is an overlay itself cannot be the upper side of one.
		over 2>/dev/null || {
			mount -t tmpfs tmpfs "$scratch" && mkdir "$scratch"/{upper,work,tree} && over || exit
		}
		exec "$lib/enter" "$scratch/tree" "$@"
	' - "$scratch" "$tree" "$lib" "$@" || status=$?
	rm -rf --one-file-system "$scratch"
	return $status
}
