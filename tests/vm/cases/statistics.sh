# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Known commands are found again in every place where commands are counted, and each of them in
# the histograms; a disk that fails is counted by its sense key, and told as an event. The list of
# all sessions is whole.
# time: 22

case_cleanup() {
	t_clear
	dmsetup remove --retry t-bad
} 2>/dev/null

must modprobe dm_mod
dm_make t-bad "0 2048 error"
t_load
t_export /dev/vda /dev/mapper/t-bad
log_mark
py counted
check_logged "the log tells which disk fails what, and whose command it was" \
	"ferrite: core/iblock_[0-9]+/disk1: read at block 16 failed: .*LUN 1 of iqn\.2026-01\.org\.example:counted"
py dumps
