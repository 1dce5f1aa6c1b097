# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sessions are drained: who listens logs out by itself, who does not is closed at the deadline;
# and what happens is told as events.
# time: 20
# kernels: stock debug

t_load
t_export /dev/vda
log_mark
py session_drain
# open-iscsi logs out by itself, and then in again.
must i_login
number=$(awk '$1 == "session" { print $2 }' "$(t_tpg)/sessions")
i_drain() {
	ferritectl session drain "$IQN" --within 20 --json >/tmp/drained
}
check "open-iscsi is drained" i_drain
check_match "it logs out by itself" '"logged_out": true' "$(cat /tmp/drained)"
check_logged "which the log tells, with the session" \
	"ferrite: $INITIATOR: logged out \(session $number, 127\.0\.0\.1:[0-9]+\)"
check "the portal group still takes logins" wait_for 30 t_has_sessions 1
events=$(ferritectl monitor --old --json --seconds 1)
check_match "the events have its login" '"event":"login".*'"$INITIATOR" "$events"
check_match "and its logout" '"event":"logout".*"session":'"$number," "$events"
