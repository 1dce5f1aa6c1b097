# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Named checks, for scripts/test; sourced in the Debian tree.

pass() {
	printf '@ok %s\n' "$1"
}

fail() {
	printf '@fail %s\n' "$1"
}

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@"; then
		pass "$name"
	else
		fail "$name"
	fi
}

# says NAME REGEX COMMAND...: what it prints, whatever its status.
says() {
	local name=$1 regex=$2 text
	shift 2
	text=$("$@" 2>&1)
	printf '%s\n' "$text"
	if grep -qE -- "$regex" <<<"$text"; then
		pass "$name"
	else
		fail "$name"
	fi
}

must() {
	"$@" || {
		fail "\"$*\" works"
		exit 4
	}
}

# Whatever is called so, but for what dpkg and apt remember.
traces() {
	find / -xdev \( -path /var/lib/dpkg -o -path /var/cache/apt -o -path /var/log -o -path /tmp \
		-o -name '.ferrite*' -o -name '90ferrite' \) -prune -o -iname '*ferrite*' -print
	find / -xdev \( -name lio_node -o -name tcm_node \) -print
}

# A key as an administrator makes it for Secure Boot: key KEY CERTIFICATE NAME.
key() {
	openssl req -new -x509 -newkey rsa:2048 -nodes -days 36500 -subj "/CN=$3/" \
		-addext "extendedKeyUsage=codeSigning" -keyout "$1" -outform DER -out "$2" 2>/dev/null
}
