# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# in_machine HOW OPTION...: installs and removes the package, and what scripts/install installs, in a
# virtual machine with systemd. HOW says where the module comes from, OPTION is for scripts/vm.

in_machine() {
	local how=$1 dir release status=0
	shift
	dir=$(mktemp -d)
	release=$(scripts/toolchain release stock) || return
	mkdir "$dir/project"
	cp --parents -t "$dir/project" scripts/install scripts/lib/common.sh contrib/systemd/ferrite.service \
		"build/$release/stripped.ko"
	install -D -t "$dir/project/target/release" "${CARGO_TARGET_DIR:-target}/release/ferritectl"
	cp build/deb/ferrite_*_amd64.deb tests/vm/lib.sh tests/vm/boot/installed.sh "$dir/"
	T_TARGET=ferrite scripts/vm run --systemd --disk 256M --share "$dir" --timeout 400 "$@" "$dir/installed.sh" "$how" ||
		status=$?
	[ $status -eq 0 ] || printf '@fail %s\n' "the machine comes to its end (status $status)"
	rm -rf "$dir"
}
