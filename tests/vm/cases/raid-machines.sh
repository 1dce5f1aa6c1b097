# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# RAID10 over the disks of three target machines. One is killed under load: nobody sees an error; it
# comes back, and so do its disks. `mirror` has the same with three targets of one machine.
# runs: host
# draft: four machines at once leave a small host nothing for the cases beside them
# time: 120
# limit: 900
set -u
# shellcheck source=tests/vm/ha/host.sh
. tests/vm/ha/host.sh

for n in 1 2 3; do
	prepare "node$n"
	for l in 0 1 2; do
		truncate -s 32M "$dir/node$n/disk$l"
		disks[node$n]+=" $dir/node$n/disk$l"
	done
	start "node$n" target-node.sh "$n" "10.77.0.$n"
done
for n in 1 2 3; do
	until_there "$dir/node$n/done" 120
done
prepare initiator
start initiator raid-initiator.sh 4
until_there "$dir/initiator/ready" 120
fell node2
touch "$dir/initiator/killed"
until_there "$dir/initiator/failed" 180
start node2 target-node.sh 2 10.77.0.2
until_there "$dir/node2/done" 120
wait "${vm[initiator]}"
status=$?
unset 'vm[initiator]'
grep '^@' "$dir/initiator/out"
grep '^@figure' "$dir/initiator/err"
[ $status -eq 0 ] || told
check "the initiator has come to its end" [ $status -eq 0 ]
