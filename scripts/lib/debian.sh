# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Debian trees in the cache: the base that debootstrap makes, and the build root on top.
# Sourced after common.sh.
# shellcheck disable=SC2034,SC2154 # Used by, or set in, the other files.

# Raised when what is made below changes, so that older caches are made again.
base_format=1

# The compilers of the release, and what the kernel's build runs.
build_packages=(
	bc bindgen bison busybox-static ca-certificates cpio e2fsprogs flex gcc gcc-14 kmod libc6-dev
	libclang-19-dev libelf-dev libssl-dev make openssl pahole perl python3-minimal rsync rust-clippy
	rust-src rustc rustfmt xz-utils zstd
)
# For kernels built with clang: the debug kernel.
clang_packages=(clang-19 lld-19 llvm-19)
# For machines without a Rust toolchain of their own.
cargo_packages=(cargo)

base=$cache/base
root=$cache/root

stamp_of() {
	printf '%s\n' "$@" | sha256sum | cut -c 1-16
}

# has_stamp DIR KEY: the stamp is written last, so a half-made tree has none.
has_stamp() {
	[ -f "$1/.ferrite-stamp" ] && [ "$(cat "$1/.ferrite-stamp")" = "$2" ]
}

write_stamp() {
	echo "$2" >"$1/.ferrite-stamp.new"
	mv "$1/.ferrite-stamp.new" "$1/.ferrite-stamp"
}

# What the machine's apt needs to reach the mirror, the build root's needs as well.
apt_settings() {
	echo 'APT::Install-Recommends "false";'
	echo 'Acquire::Retries "3";'
	echo 'Acquire::Languages "none";'
	echo 'DPkg::Use-Pty "false";'
	if command -v apt-config >/dev/null; then
		apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date)' || true
	fi
}

debootstrap_base() {
	local tree=$1 uri=$2 keyring=/usr/share/keyrings/debian-archive-keyring.gpg proxy
	local args=(--variant=minbase --include=ca-certificates)
	if [ -f "$keyring" ]; then
		args+=("--keyring=$keyring")
	fi
	proxy=$(apt-config dump 2>/dev/null | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p' | head -n 1)
	if [ -n "$proxy" ] && [ "$proxy" != DIRECT ] && [ -z "${http_proxy:-}" ]; then
		export http_proxy=$proxy
	fi
	# Debootstrap mounts things in the tree: in a namespace of its own they go with it.
	PATH=$PATH:/usr/sbin:/sbin unshare --mount --propagation private \
		debootstrap "${args[@]}" "$suite" "$tree" "$uri"
}

ensure_base() {
	local key uri tree
	key=$(stamp_of base "$base_format" "$suite")
	if has_stamp "$base" "$key"; then
		return
	fi
	need_host debootstrap:debootstrap unshare:util-linux flock:util-linux
	uri=$(mirror)
	say "making a Debian $suite base from $uri (about 40 s)"
	remove_tree "$base"
	tree=$cache/base.new
	remove_tree "$tree"
	mkdir -p "$tree"
	quietly debootstrap debootstrap_base "$tree" "$uri"
	cat >"$tree/etc/apt/sources.list" <<-EOF
		deb $uri $suite main
		deb $uri $suite-updates main
		deb $uri $suite-backports main
	EOF
	apt_settings >"$tree/etc/apt/apt.conf.d/90ferrite"
	cat >"$tree/etc/dpkg/dpkg.cfg.d/90ferrite" <<-EOF
		force-unsafe-io
		path-exclude=/usr/share/doc/*
		path-exclude=/usr/share/info/*
		path-exclude=/usr/share/locale/*
		path-exclude=/usr/share/man/*
	EOF
	# No package may start a service: this is a chroot.
	printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
	chmod 755 "$tree/usr/sbin/policy-rc.d"
	quietly base-apt-update in_root "$tree" apt-get -q update
	write_stamp "$tree" "$key"
	mv -T "$tree" "$base"
}

# A copy of the base under another name: near free where the file system can share blocks.
copy_base() {
	remove_tree "$1"
	cp -a --reflink=auto "$base" "$1"
	rm -f "$1/.ferrite-stamp"
}

ensure_root() {
	local key tree
	ensure_base
	key=$(stamp_of root "$(cat "$base/.ferrite-stamp")" "${build_packages[@]}")
	if has_stamp "$root" "$key"; then
		return
	fi
	say "installing the compilers into the build root (about 60 s)"
	tree=$cache/root.new
	copy_base "$tree"
	quietly root-apt-update in_root "$tree" apt-get -q update
	quietly root-apt-install install_in "$tree" "${build_packages[@]}"
	in_root "$tree" apt-get -q clean
	write_stamp "$tree" "$key"
	remove_tree "$root"
	mv -T "$tree" "$root"
}

# ensure_extra NAME PACKAGE...: packages the build root needs for some jobs only.
ensure_extra() {
	local name=$1
	shift
	if [ -f "$root/.ferrite-extra-$name" ]; then
		return
	fi
	say "installing $name into the build root (about 30 s)"
	quietly "root-$name-update" in_root "$root" apt-get -q update
	quietly "root-$name" install_in "$root" "$@"
	in_root "$root" apt-get -q clean
	: >"$root/.ferrite-extra-$name"
}

# --- which kernels the suite has --------------------------------------------------------
# $cache/suite holds lines `name release version`, for primary, newest and previous, and is
# asked anew once a day or when told to. A mirror that cannot be reached leaves what is known in force.

suite_file=$cache/suite

suite_is_fresh() {
	[ -f "$suite_file" ] && [ -n "$(find "$suite_file" -mmin "-${FERRITE_SUITE_AGE:-1440}")" ]
}

# Debian's names of the packages that hold a kernel; the image is in one of them.
image_packages() {
	printf '%s\n' "linux-binary-$1" "linux-binary-unsigned-$1" "linux-image-$1" "linux-image-$1-unsigned"
}

apt_versions() {
	in_root "$root" apt-cache madison "$1" | awk -F '|' '{ gsub(/ /, ""); print $2, $3 }'
}

# All kernels that the suite has headers for, the oldest first.
suite_releases() {
	in_root "$root" apt-cache pkgnames linux-headers- |
		sed -nE 's/^linux-headers-([0-9.]+\+deb[0-9]+-amd64)$/\1/p' | sort -V
}

series_of() {
	sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$1"
}

resolve_suite() {
	local release version newest previous series new=$suite_file.new
	version=$(apt_versions linux-image-amd64 | awk -v s="$suite-backports/" 'index($0, s) { print $1; exit }')
	[ -n "$version" ] || version=$(apt_versions linux-image-amd64 | awk '{ print $1; exit }')
	release=$(in_root "$root" apt-cache show "linux-headers-amd64=$version" |
		sed -n 's/^Depends:.*linux-headers-\([0-9][^ ,]*-amd64\).*/\1/p' | head -n 1)
	[ -n "$release" ] || die "$suite-backports names no kernel in linux-headers-amd64 $version"
	series=$(series_of "$release")
	newest=$(suite_releases | tail -n 1)
	# Those who have not rebooted yet still run it, and the suite still has it.
	previous=$(suite_releases | while read -r other; do
		[ "$(series_of "$other")" = "$series" ] && break
		apt_versions "linux-headers-$other" | grep -q '~bpo' && echo "$other"
	done | tail -n 1)
	{
		echo "primary $release $version"
		echo "newest $newest $(apt_versions "linux-headers-$newest" | awk '{ print $1; exit }')"
		[ -z "$previous" ] ||
			echo "previous $previous $(apt_versions "linux-headers-$previous" | awk '{ print $1; exit }')"
	} >"$new"
	mv "$new" "$suite_file"
}

refresh_suite() {
	if suite_is_fresh && [ "${1:-}" != now ]; then
		return
	fi
	say "asking the mirror which kernels $suite-backports has"
	if in_root "$root" apt-get -q -o APT::Update::Error-Mode=any update >"$logs/suite-update.log" 2>&1; then
		resolve_suite
	elif [ -f "$suite_file" ]; then
		say "the mirror did not answer ($logs/suite-update.log); going on with the kernels known from before"
		touch "$suite_file"
	else
		tail -n 20 "$logs/suite-update.log" >&2
		die "the mirror did not answer: no kernel can be chosen"
	fi
}

# release_of NAME: primary (or stock), newest, previous, running, debug, or a release itself.
release_of() {
	local name=$1
	case $name in
		stock | '') name=primary ;;
	esac
	case $name in
		primary | newest | previous)
			[ -f "$suite_file" ] || die "no kernel is known yet; run scripts/toolchain prepare"
			awk -v n="$name" '$1 == n { print $2; found = 1 } END { exit !found }' "$suite_file" ||
				die "$suite-backports have no kernel of an earlier series than the primary one"
			;;
		debug) debug_release ;;
		uml) uml_release ;;
		running) uname -r ;;
		*) echo "$name" ;;
	esac
}

# The debug kernel is built from the primary kernel's source.
debug_release() {
	local version
	version=$(awk '$1 == "primary" { print $2 }' "$suite_file")
	echo "${version%%+*}-ferrite-debug"
}

# And so is the one of the KUnit suites.
uml_release() {
	local version
	version=$(awk '$1 == "primary" { print $2 }' "$suite_file")
	echo "${version%%+*}-ferrite-uml"
}

kernel_dir() {
	echo "$cache/kernels/$1"
}

# The version of the source package a release was built from.
version_of_release() {
	local version
	version=$(awk -v r="$1" '$2 == r { print $3; exit }' "$suite_file")
	[ -n "$version" ] || version=$(apt_versions "linux-headers-$1" | awk '{ print $1; exit }')
	[ -n "$version" ] || die "$suite and its backports have no kernel $1 (no package linux-headers-$1)"
	echo "$version"
}

# --- packages, unpacked but not installed --------------------------------------------------

# fetch VERSION PACKAGE...: downloads the first of the packages that exists in that version
# and prints the file's path; apt checks the archive's signature and the hash.
fetch() {
	local version=$1 package dir
	shift
	mkdir -p "$cache/deb"
	# Apt gives up its rights to download and must be able to write here all the same.
	dir=$(mktemp -d "$cache/deb/XXXXXX")
	chmod 755 "$dir"
	for package; do
		if in_root "$root" sh -c 'cd "$1" && apt-get -q download "$2=$3"' - "$dir" "$package" "$version" \
			>"$logs/fetch-$package.log" 2>&1; then
			find "$dir" -name "${package}_*.deb" | sort | tail -n 1
			return
		fi
	done
	tail -n 5 "$logs/fetch-$package.log" >&2
	die "the suite has no $* in version $version"
}

# unpack DEB DIR: the files of a package, put there in one step.
unpack() {
	remove_tree "$2.new"
	mkdir -p "$2.new"
	in_root "$root" dpkg-deb -x "$1" "$2.new"
	remove_tree "${1%/*}"
	remove_tree "$2"
	mv -T "$2.new" "$2"
}
