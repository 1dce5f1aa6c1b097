# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A cluster file system, OCFS2, on one LUN of two machines that write at the same time, to files of
# their own and to one file of both. One of them is killed; the other one fences it off and goes on.
# runs: host
# draft: it needs packages that no other case has use for, and three machines at once
# time: 120
# limit: 900
set -u
# shellcheck source=tests/vm/ha/host.sh
. tests/vm/ha/host.sh

prepare target node1 node2
packages=(ocfs2-tools libcmap4 libdlm3 libqb100 libcorosync-common4 libglib2.0-0t64 libaio1t64)
# The build root is Debian as the machines are.
mkdir -p build/ocfs2
scripts/toolchain enter sh -c "cd '$PWD/build/ocfs2' && apt-get -qq update && apt-get -qq download ${packages[*]}" >&2 ||
	die "the packages cannot be had"
for n in 1 2; do
	cp build/ocfs2/*.deb "$dir/node$n/"
done

# both FILE SECONDS: both nodes have got that far.
both() {
	until_there "$dir/node1/$1" "$2"
	until_there "$dir/node2/$1" "$2"
}
go() {
	touch "$dir/node1/$1" "$dir/node2/$1"
}

truncate -s 512M "$dir/disk"
disks[target]=$dir/disk
start target target-node.sh 1 10.77.0.1
until_there "$dir/target/done" 120
start node1 ocfs2-node.sh 11 1 10.77.0.1
until_there "$dir/node1/made" 120
start node2 ocfs2-node.sh 12 2 10.77.0.1
until_there "$dir/node2/made" 120
touch "$dir/node1/mount"
until_there "$dir/node1/mounted" 120
touch "$dir/node2/mount"
until_there "$dir/node2/mounted" 120
go write
both written 300
go read
both read 200
until_there "$dir/node2/busy" 60
fell node2
touch "$dir/node1/killed"
wait "${vm[node1]}"
status=$?
unset 'vm[node1]'
grep -h '^@' "$dir"/node{1,2}/{out,err}
[ $status -eq 0 ] || told
check "the first node has come to its end" [ $status -eq 0 ]
