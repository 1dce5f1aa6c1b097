# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What is negotiated holds: InitialR2T and ImmediateData in all combinations, burst lengths,
# data segments of 512 bytes both ways, 4 MiB at once. Everything is verified.
# time: 90

t_load
t_export /dev/vda

# with NAME SETTING...: logs in, checks what was negotiated, verifies I/O of several sizes.
with() {
	local name=$1 disk sid key want
	shift
	check "$name: login" i_login "${@/#/node.session.iscsi.}" || return
	sid=$(i_sessions)
	for want; do
		key=${want%%=*}
		case $key in
			InitialR2T) key=initial_r2t ;;
			ImmediateData) key=immediate_data ;;
			FirstBurstLength) key=first_burst_len ;;
			MaxBurstLength) key=max_burst_len ;;
			*) continue ;;
		esac
		want=${want#*=}
		want=${want/Yes/1}
		check_eq "$name: as negotiated ($key)" "${want/No/0}" "$(cat "/sys/class/iscsi_session/session$sid/$key")"
	done
	disk=$(i_disk) || give_up "no disk"
	check "$name: 4 KiB verified" fio_verify "$disk" --size=1m
	check "$name: 512 bytes to 300 KiB verified" fio_verify "$disk" --size=8m --bsrange=512-300k --iodepth=8
	i_logout
	i_forget
}

for initial_r2t in Yes No; do
	for immediate in Yes No; do
		with "InitialR2T=$initial_r2t, ImmediateData=$immediate" \
			InitialR2T=$initial_r2t ImmediateData=$immediate
	done
done

t_set "$IQN" MaxBurstLength=16776192 FirstBurstLength=262144
for bursts in "512 512" "4096 4096" "4096 65536" "65536 131072" "262144 16776192"; do
	# shellcheck disable=SC2086 # Two words.
	set -- $bursts
	with "FirstBurstLength=$1, MaxBurstLength=$2" "FirstBurstLength=$1" "MaxBurstLength=$2" InitialR2T=No
done

# Segments of 512 bytes: each way alone, then both.
segments() {
	local name=$1 disk
	shift
	check "$name: login" i_login "$@" || return
	disk=$(i_disk) || give_up "no disk"
	check_eq "$name: what the initiator may send" "$want_send" "$(cat "/sys/class/iscsi_connection/connection$(i_sessions):0/max_xmit_dlength")"
	check_eq "$name: what it takes" "$want_recv" "$(cat "/sys/class/iscsi_connection/connection$(i_sessions):0/max_recv_dlength")"
	check "$name: verified" fio_verify "$disk" --size=4m --bsrange=512-128k --iodepth=8
	i_logout
	i_forget
}
want_send=262144 want_recv=512
segments "the initiator takes 512 bytes" "node.conn[0].iscsi.MaxRecvDataSegmentLength=512"
t_set "$IQN" MaxRecvDataSegmentLength=512
want_send=512 want_recv=262144
segments "the target takes 512 bytes"
want_send=512 want_recv=512
segments "both take 512 bytes" "node.conn[0].iscsi.MaxRecvDataSegmentLength=512" \
	"node.conn[0].iscsi.HeaderDigest=CRC32C" "node.conn[0].iscsi.DataDigest=CRC32C"
t_set "$IQN" MaxRecvDataSegmentLength=262144 MaxOutstandingR2T=1
with "MaxOutstandingR2T=1" MaxBurstLength=8192 InitialR2T=Yes ImmediateData=No

# One command of 4 MiB.
check "login" i_login
disk=$(i_disk) || give_up "no disk"
must put 4096 "/sys/block/${disk#/dev/}/queue/max_sectors_kb"
must dd if=/dev/urandom of=/tmp/data bs=1M count=8
requests() {
	awk '{ print $'"$1"' }' "/sys/block/${disk#/dev/}/stat"
}
writes=$(requests 5)
check "a write of 8 MiB in commands of 4 MiB" dd if=/tmp/data of="$disk" bs=4M oflag=direct
check_eq "it took two commands" 2 $(($(requests 5) - writes))
reads=$(requests 1)
check "reading it back in commands of 4 MiB" cmp -n $((8 << 20)) /tmp/data <(dd if="$disk" bs=4M count=2 iflag=direct)
check_eq "it took two commands" 2 $(($(requests 1) - reads))
check "4 MiB commands verified" fio_verify "$disk" --bs=4m --size=64m --iodepth=4
i_logout
