# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Header and data digests, each on and off, with verified I/O; and what becomes of wrong ones.
# time: 40

t_load
t_export /dev/vda

# negotiated SESSION DIGEST: whether the initiator's connection uses it, as it says itself.
negotiated() {
	cat "/sys/class/iscsi_connection/connection$1:0/$2_digest"
}

for header in None CRC32C; do
	for data in None CRC32C; do
		what="HeaderDigest=$header, DataDigest=$data"
		check "$what: login" i_login "node.conn[0].iscsi.HeaderDigest=$header" "node.conn[0].iscsi.DataDigest=$data" || continue
		sid=$(i_sessions)
		check_eq "$what: as negotiated" "$([ $header = CRC32C ] && echo 1 || echo 0) $([ $data = CRC32C ] && echo 1 || echo 0)" \
			"$(negotiated "$sid" header) $(negotiated "$sid" data)"
		disk=$(i_disk) || give_up "no disk"
		check "$what: small and odd I/O verified" fio_verify "$disk" --size=4m --bsrange=512-64k --bs_unaligned=0
		check "$what: large I/O verified" fio_verify "$disk" --size=8m --bs=1m --iodepth=4
		i_logout
		i_forget
	done
done

t_set "$IQN" HeaderDigest=CRC32C DataDigest=CRC32C
check_not "an initiator without digests is refused where they are demanded" i_login "node.conn[0].iscsi.HeaderDigest=None" "node.conn[0].iscsi.DataDigest=None"
i_forget
t_set "$IQN" HeaderDigest=CRC32C,None DataDigest=CRC32C,None
py digests
