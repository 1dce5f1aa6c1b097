# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Persistent reservations: by sg_persist from two initiators, and fencing.
# time: 60

case_cleanup() {
	i_two_end
} 2>/dev/null

t_load
# The directory that reservations are written down in; the tool makes it.
must mkdir -p -m 0700 /var/lib/ferrite/pr
t_export /dev/vda

i_two
a=$(i_disk_as node-a) || give_up "no disk"
b=$(i_disk_as node-b) || give_up "no disk"

put_block() {
	dd if=/dev/urandom of="$1" bs=4k count=1 oflag=direct status=none
}
get_block() {
	dd if="$1" of=/dev/null bs=4k count=1 iflag=direct status=none
}
keys() {
	sg_persist -i -k "$1" 2>&1
}

check_match "nobody has registered" "NO registered reservation keys" "$(keys "$a")"
check "a registers" sg_persist -o -G -S 0xa -n "$a"
check_match "b sees a's key" "0xa$" "$(keys "$b")"
check_not "who has not registered cannot reserve" sg_persist -o -R -K 0 -T 1 -n "$b"
check "b registers" sg_persist -o -G -S 0xb -n "$b"
check "a reserves, Write Exclusive" sg_persist -o -R -K 0xa -T 1 -n "$a"
check_match "which b sees" "Write Exclusive" "$(sg_persist -i -r "$b" 2>&1)"
check "a writes" put_block "$a"
check_not "b does not write" put_block "$b"
check "b reads" get_block "$b"
check_not "b does not unmap" sg_unmap --force --lba=0 --num=8 "$b"
check "a releases" sg_persist -o -L -K 0xa -T 1 -n "$a"
check "b writes again" put_block "$b"
for type in 3:no 6:yes 8:yes; do
	check "a reserves, type ${type%:*}" sg_persist -o -R -K 0xa -T "${type%:*}" -n "$a"
	if [ "${type#*:}" = yes ]; then
		check "type ${type%:*}: b, which has registered, writes" put_block "$b"
	else
		check_not "type ${type%:*}: b does not read" get_block "$b"
	fi
	check "a releases type ${type%:*}" sg_persist -o -L -K 0xa -T "${type%:*}" -n "$a"
done
sg_turs "$b" >/dev/null 2>&1
check_match "the full status names the initiators" "iqn.2026-01.org.example:node-b" "$(sg_persist -i -s "$a" 2>&1)"
check_match "what is supported is told" "Persist Through Power Loss Capable.*: 1" "$(sg_persist -i -c "$a" 2>&1)"
check "a registration that shall survive a loss of power" sg_persist -o -I -S 0xa -Z -n "$a"
check_match "is told, too" "Persist Through Power Loss Active.*: 1" "$(sg_persist -i -c "$a" 2>&1)"
check_match "ferritectl shows the registrations" "0x0*b +iqn.2026-01.org.example:node-b" "$(ferritectl reservation show disk0)"
check_match "REPORT SUPPORTED OPERATION CODES lists them" "Persistent reserve out, preempt and abort" "$(sg_opcodes -n "$a" 2>&1)"

# Registrations outlive sessions.
must iscsiadm -m node -T "$IQN" -p "$PORTAL" -I node-b --logout
check_match "after its logout b is registered still" "0xb$" "$(keys "$a")"
must iscsiadm -m node -T "$IQN" -p "$PORTAL" -I node-b --login
b=$(i_disk_as node-b) || give_up "no disk"
check "a reserves, Exclusive Access, Registrants Only" sg_persist -o -R -K 0xa -T 6 -n "$a"
# open-iscsi logs in with another ISID each time, so it is another I_T nexus.
check_not "b, with another ISID, is another nexus" get_block "$b"
check "which registers" sg_persist -o -G -S 0xb -n "$b"
check "and is let in" put_block "$b"

# Fencing: a takes the disk from b while b writes.
background fio --name=b --filename="$b" --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k \
	--size=64m --time_based --runtime=20 --minimal --continue_on_error=none
i_under_io "$b"
check "a preempts b and aborts its commands" sg_persist -o -A -K 0xa -S 0xb -T 6 -n "$a"
seen=$(sum /dev/vda 64)
finish 60
check_not "b writes no more" put_block "$b"
check_eq "not one of its writes came after" "$seen" "$(sum /dev/vda 64)"
check "a goes on" put_block "$a"
check "a clears all" sg_persist -o -C -K 0xa -n "$a"
check_match "nobody is registered any more" "NO registered reservation keys" "$(keys "$a")"
check "b writes again" wait_for 5 put_block "$b"

# An administrator's way out.
check "a registers once more" sg_persist -o -G -S 0xa -Z -n "$a"
check "a reserves, Exclusive Access" sg_persist -o -R -K 0xa -T 3 -n "$a"
check_not "b is kept out" get_block "$b"
check_match "ferritectl lists it" "disk0 +1 +Exclusive Access +iqn.2026-01.org.example:node-a +yes" "$(ferritectl reservation list)"
check_eq "and as JSON" "Exclusive Access 0x000000000000000a true" "$(ferritectl reservation show disk0 --json | python3 -c '
import json, sys
shown = json.load(sys.stdin)
print(shown["type"], shown["registrations"][0]["key"], str(shown["persistent"]).lower())')"
check_not "clearing wants to be confirmed" ferritectl reservation clear disk0
log_mark
check "an administrator clears" ferritectl reservation clear disk0 --yes
check_logged "which is in the log" "disk0: cleared by an administrator: 1 registrations, reservation of type 3"
check "b is let in" wait_for 5 get_block "$b"
# Asked by b: a's next command is told of it instead.
check_match "a is registered no more" "NO registered reservation keys" "$(keys "$b")"
