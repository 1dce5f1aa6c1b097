# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Keepalive both ways: the target finds out that an initiator is silent, the initiator that the
# target is, and both come together again.
# time: 80

case_cleanup() {
	nft delete table inet ferrite_test 2>/dev/null
}

# block DIRECTION: drops what goes to the portal (sport: what comes from it).
block() {
	nft -f - <<-END
		table inet ferrite_test {
			chain out {
				type filter hook output priority 0;
				tcp $1 3260 drop
			}
		}
	END
}

unblock() {
	nft delete table inet ferrite_test
}

# The queue of a connection's socket has room for many PDUs.
usual=$(cat /proc/sys/net/ipv4/tcp_rmem)
must put "4096 1048576 6291456" /proc/sys/net/ipv4/tcp_rmem
t_load
t_export /dev/vda
must put "$usual" /proc/sys/net/ipv4/tcp_rmem
t_set "$IQN" nopin_timeout=3 nopin_response_timeout=3

# The initiator's own pings are off: it cannot find out by itself.
check "login" i_login "node.conn[0].timeo.noop_out_interval=0" "node.conn[0].timeo.noop_out_timeout=0"
disk=$(i_disk) || give_up "no disk"
counters=/sys/class/iscsi_connection/connection$(i_sessions):0
log_mark
sleep 9
check_eq "a silent initiator that answers NOP-Ins stays logged in" 1 "$(t_sessions)"
check_not "and nothing is said about it" log_has "NOP|lost|detected conn error"
log_mark
must block dport
start=$SECONDS
check "an initiator that answers no more is given up" wait_for 20 t_has_sessions 0
check_le "within the time that was set, in seconds" $((SECONDS - start)) 12
check_logged "the log tells who, and why" "ferrite: $INITIATOR: .*NOP-In"
unblock
check "when it is back, its I/O goes on in a new session" timeout $((60 * T_SLOWER)) dd if="$disk" of=/dev/null bs=64k count=16 iflag=direct
check "the target has one session" wait_for 20 t_has_sessions 1
i_logout
i_forget

# The other way round: the target's pings are off, the initiator's on.
t_set "$IQN" nopin_timeout=0
check "login" i_login "node.conn[0].timeo.noop_out_interval=2" "node.conn[0].timeo.noop_out_timeout=4"
disk=$(i_disk) || give_up "no disk"
counters=/sys/class/iscsi_connection/connection$(i_sessions):0
log_mark
sleep 9
check_not "every NOP-Out is answered in time" log_has "ping timeout|detected conn error"
check_eq "the connection is up" up "$(cat "$counters/state")"
must block sport
check "the initiator finds out that no answer comes" wait_for 30 log_has "ping timeout|detected conn error"
unblock
check "and its I/O goes on in a new session" timeout $((60 * T_SLOWER)) dd if="$disk" of=/dev/null bs=64k count=16 iflag=direct
check "verified" fio_verify "$disk" --size=256k
check "of the old session nothing is left" wait_for 20 t_has_sessions 1

py nop
