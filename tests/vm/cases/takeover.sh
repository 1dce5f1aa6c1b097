# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Two target machines share a disk and an address. The target moves from one to the other, and is
# killed and comes up on the other, while an initiator copies files: every byte of them is right.
# runs: host
# time: 80
# limit: 1500
set -u

# In all; with T_FULL=1 as many as one would want to see once.
if [ "${T_FULL:-0}" = 1 ]; then
	moves=10 kills=10 files=(400x1 40x10 4x100) size=3G
else
	moves=2 kills=2 files=(20x1 2x10) size=512M
fi
address=10.77.0.100
# shellcheck source=tests/vm/ha/host.sh
. tests/vm/ha/host.sh
declare -A number=([one]=1 [two]=2)

# order NODE WORD: prints the ms that it took there.
order() {
	rm -f "$dir/$1/done"
	echo "$2 $address" >"$dir/$1/do.new"
	mv "$dir/$1/do.new" "$dir/$1/do"
	until_there "$dir/$1/done" 60
	cat "$dir/$1/done"
}
# writes: how often the initiator has written.
writes() {
	until_there "$dir/initiator/gap" 120
	cut -d' ' -f1 "$dir/initiator/gap"
}
# settled: the initiator writes again; prints the longest time that it could not.
settled() {
	local before end=$((SECONDS + 120))
	before=$(writes)
	until [ "$(writes)" -gt $((before + 20)) ]; do
		[ $SECONDS -lt $end ] || die "nothing is written any more"
		sleep 0.1
	done
	cut -d' ' -f2 "$dir/initiator/gap"
}

truncate -s $size "$dir/disk"
prepare one two initiator
mkdir "$dir/initiator/files"
disks=([one]="$dir/disk,shared" [two]="$dir/disk,shared")
python3 - "$dir/initiator" "${files[@]}" <<'END'
import hashlib, os, sys
top, *kinds = sys.argv[1:]
with open(f"{top}/sums", "w", encoding="ascii") as sums:
    for kind in kinds:
        count, mib = map(int, kind.split("x"))
        for n in range(count):
            data = os.urandom(mib << 20)
            with open(f"{top}/files/{kind}-{n}", "wb") as file:
                file.write(data)
            sums.write(f"{hashlib.sha512(data).hexdigest()}  {kind}-{n}\n")
END

start one node.sh "${number[one]}" $address
start two node.sh "${number[two]}" $address
start initiator initiator.sh 3 $address
until_there "$dir/one/done" 120
until_there "$dir/two/done" 120
order one up >/dev/null
[ ! -e "$dir/one/config.json" ] || cp "$dir/one/config.json" "$dir/two/"
until_there "$dir/initiator/ready" 120
until_there "$dir/initiator/gap" 20

active=one idle=two shares=()
for n in $(seq $((moves + kills))); do
	rm -f "$dir/initiator/gap"
	writes >/dev/null
	down=0
	if [ "$n" -le $moves ]; then
		how=moved
		down=$(order "$active" down)
	else
		how=killed
		fell "$active"
	fi
	up=$(order "$idle" up)
	share=$((down + up))
	shares+=("$share")
	if [ $how = killed ]; then
		start "$active" node.sh "${number[$active]}" $address
	fi
	printf '%3d %-6s from %s to %s: the target took %4d ms (down %d, up %d)' "$n" $how "$active" "$idle" "$share" "$down" "$up"
	read -r active idle <<<"$idle $active"
	printf '; nothing was written for %d ms\n' "$(settled)"
	[ $how = moved ] || until_there "$dir/$idle/done" 120
done
touch "$dir/initiator/stop"
wait "${vm[initiator]}"
status=$?
unset 'vm[initiator]'
cat "$dir/initiator/rounds" "$dir/initiator/fsck" "$dir/initiator/wrong"
# Of the share, which says nothing of the target: the file was read again before it was copied.
grep 'not read' "$dir/initiator/copied"
[ $status -eq 0 ] || told
check "the initiator has seen no error, and every file is as it was written" [ $status -eq 0 ]
check "no SHA-512 sum is wrong" [ ! -s "$dir/initiator/wrong" ]
# Every machine here is emulated, and has a part of a CPU.
median=$(printf '%s\n' "${shares[@]}" | sort -n | sed -n "$((${#shares[@]} / 2))p")
check "the target's part of a takeover is below one second ($median ms by the median)" [ "$median" -lt 1000 ]
