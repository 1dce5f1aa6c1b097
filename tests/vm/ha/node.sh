# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# One of two target machines that share a disk and an address. It does what is in /share/do
# (up ADDRESS, down ADDRESS, quit), and says in /share/done how many ms that took.
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1
dmesg --follow >/share/dmesg &

# shellcheck disable=SC2034 # Used by lib.sh.
PORTAL=$1:3260
# shellcheck disable=SC2119 # Of the module there are no parameters here.
t_load

# Tells who has an address now (a gratuitous ARP request, RFC 5227 section 3).
coproc ANNOUNCER { python3 /share/announce.py; }

# All of it anew, as a cluster's agent does it.
up() {
	if [ "$T_TARGET" = lio ]; then
		T_HBAS=0 T_BY=configfs t_export /dev/vda
	elif [ -e /share/config.json ]; then
		ferritectl restore /share/config.json
	else
		t_export /dev/vda
		ferritectl save /share/config.json
	fi
	ip address add "$1/24" dev eth0
	echo "$1" >&"${ANNOUNCER[1]}"
}

down() {
	if [ "$T_TARGET" = lio ]; then
		t_clear
	else
		ferritectl clear --yes
	fi
	ip address del "$1/24" dev eth0
}

echo ready >/share/done.new && mv /share/done.new /share/done
while :; do
	if [ -e /share/do ]; then
		read -r what address </share/do
		rm /share/do
		[ "$what" != quit ] || exit 0
		before=$(now_ms)
		"$what" "$address" >&2 || exit
		echo $(($(now_ms) - before)) >/share/done.new && mv /share/done.new /share/done
	fi
	sleep 0.02
done
