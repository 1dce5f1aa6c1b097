# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the scripts share: messages, the cache, locks, host packages, the build root.
# Sourced, never run. The caller has said `set -euo pipefail`.
# shellcheck disable=SC2034,SC2154 # Used by, or set in, the other files.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
project=$(cd "$lib/../.." && pwd -P)
cache=${FERRITE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ferrite}
case $cache in
	/*) ;;
	*) cache=$PWD/$cache ;;
esac
logs=$cache/logs
# The Debian release everything is built with and runs on.
suite=trixie

# Progress is for people and goes to stderr; stdout is for what was asked.
say() {
	printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# quietly NAME COMMAND...: the output goes to a log; it is shown only when COMMAND fails.
quietly() {
	local name=$1 log status=0
	shift
	mkdir -p "$logs"
	log=$logs/$name.log
	"$@" >"$log" 2>&1 </dev/null || status=$?
	if [ "$status" -ne 0 ]; then
		printf -- '--- the end of %s:\n' "$log" >&2
		tail -n 30 "$log" >&2
		printf -- '---\n' >&2
		die "$name failed (status $status); the whole log is $log"
	fi
}

need_root() {
	[ "$(id -u)" -eq 0 ] ||
		die "$1 needs root: it makes and enters a Debian build root (a chroot). Run it as root, for instance with sudo."
}

# One at a time, for each NAME. The lock is the open file: the kernel drops it however the
# holder ends. Whoever takes several takes `toolchain` last, but for `host`, under which nobody
# waits for another.
declare -A lock_fds

lock() {
	local name=$1 fd
	mkdir -p "$cache" "$logs"
	exec {fd}>"$cache/$name.lock"
	if ! flock -n "$fd"; then
		say "another run is at work on $cache ($name); waiting for it"
		flock "$fd"
	fi
	lock_fds[$name]=$fd
}

unlock() {
	local fd=${lock_fds[$1]}
	exec {fd}>&-
	unset "lock_fds[$1]"
}

# Deletes a tree of the cache, and never anything a mount shows inside it.
remove_tree() {
	local tree=$1 real
	[ -e "$tree" ] || return 0
	real=$(realpath "$tree")
	case $real in
		"$(realpath "$cache")"/?*) ;;
		*) die "will not delete $real: it is not in the cache $cache" ;;
	esac
	if awk -v t="$real" '$5 == t || index($5, t "/") == 1 { found = 1 } END { exit !found }' \
		/proc/self/mountinfo; then
		die "will not delete $real: something is mounted in it (see /proc/self/mountinfo)"
	fi
	rm -rf --one-file-system -- "$real"
}

# need_host COMMAND:PACKAGE...: installs the packages whose commands this machine lacks.
need_host() {
	local pair missing=()
	for pair; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
	done
	[ ${#missing[@]} -eq 0 ] || install_on_host "${missing[@]}"
}

# install_on_host PACKAGE...
install_on_host() {
	local missing=("$@")
	command -v apt-get >/dev/null ||
		die "this machine lacks ${missing[*]} and has no apt-get; install them by hand (Debian 12 or 13 is expected)"
	need_root "installing ${missing[*]}"
	say "installing on this machine: ${missing[*]} (about 20 s)"
	lock host
	# Old package lists name versions that the mirror has no more; a fresh machine has none.
	DEBIAN_FRONTEND=noninteractive quietly host-apt-update apt-get -q update
	DEBIAN_FRONTEND=noninteractive quietly host-apt-install \
		apt-get -q -y --no-install-recommends install "${missing[@]}"
	unlock host
}

# The Debian mirror that this machine's own apt uses, or MIRROR.
mirror() {
	local uri
	if [ -n "${MIRROR:-}" ]; then
		echo "$MIRROR"
		return
	fi
	command -v apt-get >/dev/null ||
		die "no apt on this machine to learn a Debian mirror from; set MIRROR=<URL of a Debian mirror>"
	uri=$(host_archives | head -n 1)
	if [ -z "$uri" ] && [ "$(id -u)" -eq 0 ]; then
		# Which archive is Debian's is known from its Release file only.
		quietly host-apt-update apt-get -q update
		uri=$(host_archives | head -n 1)
	fi
	[ -n "$uri" ] ||
		die "apt on this machine names no Debian mirror; set MIRROR=<URL of a Debian mirror>"
	echo "$uri"
}

host_archives() {
	local uri list
	# shellcheck disable=SC2016 # These are apt's variables.
	apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
		awk '$2 == "Debian" && $3 == "Debian" && !seen[$1]++ { print $1 }' |
		while read -r uri; do
			case $uri in
				mirror+file:*)
					list=${uri#mirror+file:}
					sed -n 's/^\([a-z+]*:[^[:space:]]*\).*/\1/p' "${list%/}" | head -n 1
					;;
				http:* | https:* | ftp:* | file:*) echo "${uri%/}" ;;
			esac
		done
}

# in_root ROOT COMMAND...: runs COMMAND inside a Debian tree. See scripts/lib/enter.
in_root() {
	FERRITE_BIND="$cache:$project" unshare --mount --propagation private \
		"$lib/enter" "$@" ||
		return
}

# install_in ROOT PACKAGE...
install_in() {
	local root=$1
	shift
	in_root "$root" apt-get -q -y --no-install-recommends install "$@"
}
