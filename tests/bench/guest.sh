# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Measures one target in the virtual machine; started by scripts/bench, which reads the lines
# that begin with @. All other lines are for people.
#
# guest.sh TARGET MODE SECONDS PROFILE SESSIONS LUNS JOB...
#
# TARGET: ferrite, lio or nvmet. MODE: icount (a fixed number of I/Os: in such a guest a
# nanosecond is an instruction), wall (a fixed time), idle (what a session costs that does
# nothing; /share is tests/vm) or far (SECONDS is the round trip in ms, both sides are as they come,
# and there are no jobs). PROFILE: yes to profile each job. SESSIONS, LUNS: how many, and of
# each how many; a job goes to all of these disks. nvmet has one of each.
# JOB: NAME:RW:BLOCK:DEPTH:IOS:DIGEST, the last one none or crc32c.
set -u

target=$1 mode=$2 seconds=$3 profile=$4 sessions=$5 luns=$6
shift 6
iqn=iqn.2026-01.org.example:bench
nqn=nqn.2026-01.org.example:bench
address=127.0.0.1

die() {
	echo "@error $*"
	exit 1
}

must() {
	"$@" || die "$*: status $?"
}

put() {
	printf '%s' "$1" >"$2" || die "$1 > $2"
}

# The disk of every target: no memory behind it, so that it does not count; completion in
# softirq, as a fast device's.
must modprobe null_blk nr_devices=0
null=/sys/kernel/config/nullb/null0
must mkdir $null
for pair in size=4096 blocksize=512 irqmode=1 queue_mode=2 memory_backed=0 submit_queues="$(nproc)" power=1; do
	put "${pair#*=}" "$null/${pair%%=*}"
done
disk=/dev/nullb0
[ -b $disk ] || disk=/dev/null0
[ -b $disk ] || die "there is no null_blk device"

# --- targets ------------------------------------------------------------------------------

# One tree for both: that of LIO.
export_iscsi() {
	local root=$1 tpg pair store=$1/core/iblock_0/bench
	must mkdir -p "$store"
	put "udev_path=$disk" "$store/control"
	put $disk "$store/udev_path"
	[ "$target" != lio ] || put bench "$store/wwn/vpd_unit_serial"
	put 1 "$store/enable"
	[ -d "$root/iscsi" ] || must mkdir "$root/iscsi"
	tpg=$root/iscsi/$iqn/tpgt_1
	must mkdir -p "$tpg" "$tpg/np/$address:3260"
	# In one process: of a thousand it would be the processes that take the time.
	must python3 -c "
import os
for lun in range($luns):
    os.mkdir(f'$tpg/lun/lun_{lun}')
    os.symlink('$store', f'$tpg/lun/lun_{lun}/bench')"
	for pair in authentication=0 generate_node_acls=1 demo_mode_write_protect=0; do
		put "${pair#*=}" "$tpg/attrib/${pair%%=*}"
	done
	if [ "$mode" = far ]; then
		put 1 "$tpg/enable"
		return
	fi
	# What a careful administrator would set for LIO; Ferrite's defaults are these.
	for pair in MaxRecvDataSegmentLength=262144 MaxXmitDataSegmentLength=262144 MaxBurstLength=1048576 \
		FirstBurstLength=262144 InitialR2T=No ImmediateData=Yes MaxOutstandingR2T=16; do
		put "${pair#*=}" "$tpg/param/${pair%%=*}"
	done
	put 128 "$tpg/attrib/default_cmdsn_depth"
	put 1 "$tpg/enable"
}

export_nvme() {
	local root=/sys/kernel/config/nvmet subsys port pair
	# One path, as the iSCSI disks have.
	must modprobe nvme_core multipath=N
	must modprobe -a nvmet nvmet-tcp nvme-tcp
	subsys=$root/subsystems/$nqn port=$root/ports/1
	must mkdir -p "$subsys/namespaces/1" "$port"
	put 1 "$subsys/attr_allow_any_host"
	put $disk "$subsys/namespaces/1/device_path"
	put 1 "$subsys/namespaces/1/enable"
	for pair in addr_trtype=tcp addr_adrfam=ipv4 addr_traddr=$address addr_trsvcid=4420; do
		put "${pair#*=}" "$port/${pair%%=*}"
	done
	must ln -s "$subsys" "$port/subsystems/bench"
}

load() {
	local dep
	case $target in
		ferrite)
			for dep in $(modinfo -F depends /ferrite/ferrite.ko | tr , ' '); do
				must modprobe "$dep"
			done
			must insmod /ferrite/ferrite.ko
			export_iscsi /sys/kernel/config/ferrite
			;;
		lio)
			must modprobe -a target_core_mod target_core_iblock iscsi_target_mod
			export_iscsi /sys/kernel/config/target
			;;
		nvmet) export_nvme ;;
		*) die "no target \"$target\"" ;;
	esac
}

# --- initiators ---------------------------------------------------------------------------

set_record() {
	local args=() pair
	for pair; do
		args+=(-n "${pair%%=*}" -v "${pair#*=}")
	done
	must iscsiadm -m node -T $iqn -p $address -o update "${args[@]}" >&2
}

# connect DIGEST: prints the disks, with colons between them. Each has two letters, in the directory
# that this is run in: fio takes names of 4095 bytes in all.
letters=({A..Z}{A..Z} {a..z}{a..z})
connect() {
	local end=$((SECONDS + 30 + sessions * luns / 4)) digest=None dev name options all size
	local -A ready=()
	if [ "$target" = nvmet ]; then
		options="transport=tcp,traddr=$address,trsvcid=4420,nqn=$nqn,nr_io_queues=$(nproc),queue_size=128"
		[ "$1" = none ] || options+=",hdr_digest,data_digest"
		exec 9<>/dev/nvme-fabrics
		printf '%s' "$options" >&9 || die "connect: $options"
		exec 9<&-
	else
		[ "$1" = none ] || digest=CRC32C
		iscsiadm -m node -T $iqn -p $address -o new >&2
		[ "$mode" = far ] || set_record "node.session.nr_sessions=$sessions" node.session.cmds_max=128 node.session.queue_depth=128 \
			node.session.timeo.replacement_timeout=20 'node.conn[0].timeo.noop_out_interval=0' \
			'node.conn[0].timeo.noop_out_timeout=0' node.session.iscsi.InitialR2T=No \
			node.session.iscsi.ImmediateData=Yes node.session.iscsi.FirstBurstLength=262144 \
			node.session.iscsi.MaxBurstLength=16776192 \
			'node.conn[0].iscsi.MaxRecvDataSegmentLength=262144' \
			"node.conn[0].iscsi.HeaderDigest=$digest" "node.conn[0].iscsi.DataDigest=$digest"
		must iscsiadm -m node -T $iqn -p $address --login >&2
	fi
	while [ $SECONDS -lt $end ]; do
		all=()
		for dev in /sys/class/iscsi_session/session*/device/target*/*:*:*:*/block/sd* /sys/block/nvme*n*; do
			name=${dev##*/}
			if [ -z "${ready[$name]:-}" ]; then
				size=0
				[ ! -b "/dev/$name" ] || read -r size 2>/dev/null <"$dev/size" || size=0
				[ "$size" -gt 0 ] || continue
				# Both kinds of disk the same: no scheduler, nothing that is only counted.
				# It has a queue a moment later than a size.
				printf none 2>/dev/null >"/sys/block/$name/queue/scheduler" || continue
				put 2 "/sys/block/$name/queue/nomerges"
				ready[$name]=yes
			fi
			all+=("/dev/$name")
		done
		if [ ${#all[@]} -eq $((sessions * luns)) ]; then
			for dev in "${!all[@]}"; do
				must ln -sf "${all[dev]}" "${letters[dev]}"
			done
			(IFS=: && echo "${letters[*]:0:${#all[@]}}")
			return
		fi
		sleep 0.1
	done
	die "the initiator got ${#all[@]} of $((sessions * luns)) disks"
}

disconnect() {
	if [ "$target" = nvmet ]; then
		put 1 /sys/class/nvme/nvme0/delete_controller
	else
		must iscsiadm -m node -T $iqn -p $address --logout >&2
	fi
}

# --- measuring ----------------------------------------------------------------------------

# set_job NAME RW BLOCK DEPTH DISKS OPTION...: sets $job to a command of fio's. Without statistics of the
# disks: for each of them it would look through the directories of all.
set_job() {
	job=(fio --name="$1" --filename="$5" --rw="$2" --bs="$3" --iodepth="$4" --direct=1 --ioengine=libaio
		--randseed=1 --norandommap --thread --size=4g --disk_util=0 --output-format=json "${@:6}")
}

switches() {
	awk '$1 == "ctxt" { print $2 }' /proc/stat
}

# TCP segments sent by this machine: both ends of each connection.
segments() {
	awk '$1 == "Tcp:" && $12 ~ /^[0-9]+$/ { print $12 }' /proc/net/snmp
}

threads() {
	local dir count=0
	for dir in /proc/[0-9]*; do
		if [ ! -s "$dir/cmdline" ] && ! grep -q '^kworker' "$dir/comm" 2>/dev/null; then
			count=$((count + 1))
		fi
	done
	echo $count
}

# When nothing is given back any more, or some seconds have passed.
memory_kib() {
	local free last=0 tries=0
	sync
	while [ $((tries += 1)) -lt 6 ]; do
		echo 3 >/proc/sys/vm/drop_caches
		sleep 1
		free=$(awk '$1 == "MemFree:" { print $2 }' /proc/meminfo)
		[ $((free - last)) -gt 64 ] || [ $((last - free)) -gt 64 ] || break
		last=$free
	done
	echo "$free"
}

mkdir /tmp/disks && cd /tmp/disks || exit 1
load
if [ "$mode" = idle ]; then
	cat >/tmp/idle.py <<-'END'
		import socket, sys
		sys.path.insert(0, "/share/py")
		from iscsi import Conn
		count, other = int(sys.argv[1]), ("127.0.0.1", 3333)
		# What is on both sides of a connection, and in Python, of which no target knows.
		listener = socket.create_server(other, backlog=2 * count)
		conns = []
		def told(word):
		    print(word, flush=True)
		    sys.stdin.readline()
		def connect(number):
		    conns.extend(Conn(other) for _ in range(number))
		def log_in(number, first):
		    for n in range(number):
		        conns.append(Conn().login(isid=bytes([0x80, 1, 2, 3, first, n])))
		# Warm: what is loaded and made once.
		log_in(20, 4)
		connect(20)
		told("begun")
		connect(count)
		told("connected")
		log_in(count, 5)
		told("up")
	END
	sessions=200
	mkfifo /tmp/go
	IQN=$iqn PYTHONDONTWRITEBYTECODE=1 python3 /tmp/idle.py $sessions </tmp/go >/tmp/idle &
	python=$!
	exec 8>/tmp/go
	# until_it_says WORD: with a while for the rest to settle.
	until_it_says() {
		until grep -q "$1" /tmp/idle; do
			kill -0 $python || die "the sessions did not come up"
			sleep 0.1
		done
		sleep 4
	}
	until_it_says begun
	before=$(memory_kib)
	echo >&8
	until_it_says connected
	between=$(memory_kib) count=$(threads)
	echo >&8
	until_it_says up
	# Before NOP-Ins are due: nobody answers them.
	echo "@idle {\"sessions\": $sessions, \"kib\": $((between - $(memory_kib)))," \
		"\"connection_kib\": $((before - between)), \"threads\": $(($(threads) - count))}"
	exit 0
fi
[ "$target" = nvmet ] || modprobe -a iscsi_tcp sd_mod
if [ "$mode" = far ]; then
	dev=$(connect none) || exit 1
	sleep 1
	must modprobe sch_netem
	# Half of it each way; nothing is lost, however much is on its way.
	must tc qdisc add dev lo root netem delay "$((seconds * 500))us" limit 1000000
	# timed NAME COMMAND...
	timed() {
		local name=$1 begin
		shift
		begin=$(date +%s%N)
		must "$@" >&2
		echo "@far {\"name\": \"$name\", \"ms\": $((($(date +%s%N) - begin) / 1000000))}"
	}
	for pair in 128k:8 1m:4; do
		timed "${pair%:*}-write-qd${pair#*:}" fio --name=far --filename="$dev" --rw=write --bs="${pair%:*}" \
			--iodepth="${pair#*:}" --direct=1 --ioengine=libaio --thread --size=64m --output-format=terse
	done
	timed mkfs.ext4 mkfs.ext4 -q -F "$dev" 1g
	tc qdisc del dev lo root
	exit 0
fi
last=
for item; do
	IFS=: read -r name rw block depth ios digest <<<"$item"
	if [ "$digest" != "$last" ]; then
		[ -z "$last" ] || disconnect
		[ -z "$last" ] || sleep 1
		dev=$(connect "$digest") || exit 1
		last=$digest
		sleep 1
	fi
	# Warm: slabs, queues and TCP's windows.
	set_job warm "$rw" "$block" "$depth" "$dev" --number_ios=$((ios / 4))
	"${job[@]}" >/dev/null || die "fio: $item"
	length=(--number_ios="$ios")
	[ "$mode" = icount ] || length=(--time_based --runtime="$seconds")
	set_job "$name" "$rw" "$block" "$depth" "$dev" "${length[@]}" --output=/tmp/fio.json
	if [ "$profile" = yes ]; then
		clocks=(-e cpu-clock -F 4000)
		# Where all I/Os are the same, they and the samples of one clock fall into step, and some of
		# what they do is never seen: for shares there are two, which have nothing in common.
		[ ! -d /share ] || clocks=(-e "cpu-clock/period=481001/,cpu-clock/period=520903/")
		must perf record "${clocks[@]}" -a -g -o /tmp/perf.data -- "${job[@]}" >/dev/null
		echo "@profile $name"
		# From the first I/O to the last one: while fio sets up, nobody sleeps so little.
		window=$(perf script -i /tmp/perf.data -F comm,time -G 2>/dev/null |
			awk '/kworker|iscsi|ferrite/ && !/kcompactd/ { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+[.][0-9]+:$/) print substr($i, 1, length($i) - 1) }' |
			awk 'NR > 1 && $1 - last < 0.004 { if (!run) first = last; run++; if (run > best) { best = run; from = first; to = $1 } } NR > 1 && $1 - last >= 0.004 { run = 0 } { last = $1 } END { print from "," to }')
		echo "@p window $window"
		for how in "--no-children --sort comm" "--no-children --sort sym" "--children --sort sym"; do
			echo "@p -- $how"
			# shellcheck disable=SC2086 # Several words.
			perf report -i /tmp/perf.data --time "$window" -g none $how --percent-limit 0.5 --stdio 2>/dev/null |
				grep -v '^#' | grep -v '^$' | sed 's/^/@p /'
		done
		[ ! -d /share ] || perf script -i /tmp/perf.data --time "$window" -F comm,time,ip,sym >"/share/perf-$target-$name.txt" 2>/dev/null
		continue
	fi
	ctxt=$(switches) segs=$(segments)
	"${job[@]}" >/dev/null || die "fio: $item"
	ctxt=$(($(switches) - ctxt)) segs=$(($(segments) - segs))
	python3 - "$name" $ctxt $segs <<-'END'
		import json, sys
		name, ctxt, segs = sys.argv[1:]
		job = json.load(open("/tmp/fio.json"))["jobs"][0]
		side = max(("read", "write"), key=lambda s: job[s]["total_ios"])
		one = job[side]
		lat = one.get("clat_ns", {}).get("percentile", {})
		print("@job", json.dumps({
		    "name": name, "ios": one["total_ios"],
		    # In nanoseconds: io_bytes / (KiB/s) would round, the runtime is in ms.
		    "ns_per_io": 1e9 / one["iops"] if one["iops"] else 0,
		    "iops": one["iops"], "switches": int(ctxt) / max(1, one["total_ios"]),
		    "segments": int(segs) / max(1, one["total_ios"]),
		    "p50_us": lat.get("50.000000", 0) / 1000, "p99_us": lat.get("99.000000", 0) / 1000}))
	END
done
