# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# RAID10 over the disks of three target machines, of which the second one is killed under load.
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1
# shellcheck source=tests/vm/ha/raid.sh
. /share/raid.sh

i_init
must modprobe raid10
for t in 1 2 3; do
	raid_log_in "$IQN-$t" "10.77.0.$t:3260"
done
raid_find "$IQN-1" "$IQN-2" "$IQN-3"
raid_make "${disks[@]}"
raid_write 30 &
load=$!
sleep 3
touch /share/ready
must wait_for 60 test -e /share/killed
killed=$(now_ms)
check "one of three machines is killed: md gives up its three disks" wait_for 60 raid_has_failed 3
echo "@figure RAID10 over three machines, one killed: ms until md goes on without it | $(($(now_ms) - killed))"
check "what is written is read, verified" wait $load
touch /share/failed
raid_comes_back "${disks[1]}" "${disks[4]}" "${disks[7]}"
i_forget
