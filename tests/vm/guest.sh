#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs cases in the virtual machine, one after the other, and tells scripts/test about them in
# lines that begin with @; all other lines are the cases' own words.
#
# guest.sh CASE:SECONDS...
set -u

here=$(dirname "${BASH_SOURCE[0]}")
log=/tmp/case.log
# Nothing ever comes here. To wait for that takes no process; a `sleep` ten times a second takes a
# good part of an emulated CPU.
exec {never}<> <(:)

# The case's processes are one group; the kernel's view of what hangs is in its log.
hung() {
	local group=$1
	echo "@fail the deadline of $limit s (it hung)"
	echo w >/proc/sysrq-trigger
	sleep 1
	kill -TERM -- "-$group"
	for _ in {1..50}; do
		kill -0 -- "-$group" 2>/dev/null || return
		sleep 0.2
	done
	kill -KILL -- "-$group"
	sleep 1
}

# Whatever the case did, the module must go, and nothing of it may stay.
settle() {
	local module=ferrite
	[ "${T_TARGET:-ferrite}" = ferrite ] || return 0
	if [ -e /sys/module/$module ]; then
		for _ in {1..50}; do
			timeout 20 rmmod $module 2>>$log && break
			sleep 0.2
		done
	fi
	if [ -e /sys/module/$module ]; then
		echo "@fail the module is unloaded after the case (rmmod: $(tail -n 1 $log); references: $(cat /sys/module/$module/refcnt))"
		return 1
	fi
	echo "@ok the module is unloaded after the case"
}

# What kmemleak finds after the module is gone; the debug kernel has it. It reports what nothing
# has pointed at for some seconds, and is asked once for all cases of a machine.
leaks() {
	local file=/sys/kernel/debug/kmemleak
	[ -e $file ] || return 0
	sleep 6
	echo scan >$file
	sleep 1
	echo scan >$file
	if [ -s $file ]; then
		head -c 8000 $file >>$log
		echo "@fail nothing has leaked, in $* (kmemleak: $(grep -c '^unreferenced' $file) objects)"
	else
		echo "@ok nothing has leaked, in $*"
	fi
}

# What the kernel itself has left behind while it booted is not ours. Its own thread, which is nice
# and looks every ten minutes, would have those who ask wait for it longer than a task may hang.
if [ -e /sys/kernel/debug/kmemleak ]; then
	echo scan=off >/sys/kernel/debug/kmemleak
	echo scan >/sys/kernel/debug/kmemleak
	echo clear >/sys/kernel/debug/kmemleak
fi
status=0
for item; do
	case_name=${item%%:*}
	limit=${item#*:}
	echo "@case $case_name"
	echo "ferrite-test: case $case_name" >/dev/kmsg
	began=$SECONDS
	: >$log
	set -m
	(
		cd /tmp || exit
		# shellcheck source=tests/vm/lib.sh
		. "$here/lib.sh"
		i_init
		# shellcheck source=/dev/null
		. "$here/cases/$case_name.sh"
	) 3>&1 >$log 2>&1 </dev/null &
	pid=$!
	set +m
	end=$((SECONDS + limit))
	late=
	while kill -0 $pid 2>/dev/null; do
		if [ $SECONDS -ge $end ]; then
			late=yes
			hung $pid
			break
		fi
		read -rt 0.1 -u "$never" _
	done
	if [ -z "$late" ]; then
		wait $pid
		rc=$?
		case $rc in
			0 | 4) ;;
			*) echo "@fail the case's own end (status $rc)" ;;
		esac
	fi
	settle || late=yes
	# What it has started would look at the disks of the next case, and hold them meanwhile; and
	# who finds its directory waits for it.
	if [ -S /run/udev/control ]; then
		udevadm control --exit
		rm -rf /run/udev
	fi
	[ "$item" != "${!#}" ] || leaks "${@%%:*}"
	sed 's/^/| /' $log
	echo "| --- kernel log of the case"
	dmesg | sed "1,/ferrite-test: case $case_name\$/d" | sed 's/^/| /' | tail -n 150
	echo "@end $case_name $((SECONDS - began))"
	if [ -n "$late" ]; then
		# What hangs would hang the next case as well: it gets another machine.
		status=5
		break
	fi
done
exit $status
