# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A target machine at the address $1, with all the disks that it has: until it is killed.
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1

# shellcheck disable=SC2034 # Used by lib.sh.
PORTAL=$1:3260 IQN=$IQN-${1##*.}
# shellcheck disable=SC2119 # Of the module there are no parameters here.
t_load
if [ -e /share/config.json ]; then
	must ferritectl restore /share/config.json
else
	t_export /dev/vd?
	must ferritectl save /share/config.json
fi
touch /share/done
sleep infinity
