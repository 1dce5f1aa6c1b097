# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the cases share. Sourced by guest.sh's child, in the virtual machine, before the case.
#
# check*, pass, fail, skip: the named checks that are counted.
# t_*: the target under test. i_*: the initiator, open-iscsi.
# Everything a command prints goes to the case's log; only checks are told at once.

set -u
shopt -s nullglob

T_DIR=${BASH_SOURCE[0]%/*}
# ferrite, or lio to see how a case judges another target (see Documentation/testing.rst).
T_TARGET=${T_TARGET:-ferrite}
# How many times slower than the stock kernel the kernel is: what has a limit in time may take
# so many times as long.
case ${T_KERNEL:-stock} in
	debug) T_SLOWER=8 ;;
	*) T_SLOWER=1 ;;
esac
export T_SLOWER
# 1 if a case shall do as much as it can, rather than what is enough to see a fault.
T_FULL=${T_FULL:-0}
# Who configures: tool (ferritectl) or configfs.
T_BY=${T_BY:-}
# One iSCSI name for every target of a case, and the initiator's own.
# shellcheck disable=SC2034 # Used by the cases.
INITIATOR=$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)
IQN=iqn.2026-01.org.example:store
PORTAL=127.0.0.1:3260

case $T_TARGET in
	lio) ROOT=/sys/kernel/config/target ;;
	*) ROOT=/sys/kernel/config/ferrite ;;
esac
ISCSI=$ROOT/iscsi
if [ -z "$T_BY" ]; then
	T_BY=configfs
	# On the slower kernel each run of the tool takes seconds, and shows nothing of the target.
	if [ "$T_TARGET" = ferrite ] && [ $T_SLOWER = 1 ] && command -v ferritectl >/dev/null; then
		T_BY=tool
	fi
fi

# --- checks -------------------------------------------------------------------------------

# Descriptor 3 leads to scripts/test.
tell() {
	printf '@%s %s\n' "$1" "$2" >&3
	printf '=== %s: %s\n' "$1" "$2"
}

pass() {
	tell ok "$1"
}

# fail NAME [WHY]
fail() {
	tell fail "$1${2:+ ($2)}"
}

# skip NAME WHY: only for what this machine cannot do.
skip() {
	tell skip "$1: $2"
}

# The case cannot go on.
give_up() {
	fail "going on" "$*"
	exit 4
}

# A step that is no check, but without which nothing below means anything.
must() {
	printf '+ %s\n' "$*"
	"$@" || give_up "\"$*\" failed with status $?"
}

# check NAME COMMAND...: passes if the command succeeds.
check() {
	local name=$1 status=0
	shift
	printf '+ %s\n' "$*"
	"$@" || status=$?
	if [ $status -eq 0 ]; then
		pass "$name"
	else
		fail "$name" "\"$*\" gave status $status"
	fi
	return $status
}

# check_not NAME COMMAND...: passes if the command fails by itself, and is not killed.
check_not() {
	local name=$1 status=0
	shift
	printf '+ ! %s\n' "$*"
	"$@" || status=$?
	if [ $status -eq 0 ]; then
		fail "$name" "\"$*\" succeeded"
	elif [ $status -ge 124 ]; then
		fail "$name" "\"$*\" gave status $status"
	else
		pass "$name"
	fi
}

# check_eq NAME WANT GOT
check_eq() {
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1" "\"$3\" instead of \"$2\""
	fi
}

# check_le NAME GOT MOST, check_ge NAME GOT LEAST: integers.
check_le() {
	printf '%s: %s, at most %s\n' "$1" "$2" "$3"
	if [ "$2" -le "$3" ]; then
		pass "$1"
	else
		fail "$1" "$2 is more than $3"
	fi
}

check_ge() {
	printf '%s: %s, at least %s\n' "$1" "$2" "$3"
	if [ "$2" -ge "$3" ]; then
		pass "$1"
	else
		fail "$1" "$2 is less than $3"
	fi
}

# check_match NAME EXTENDED-REGEX TEXT: some line of the text matches.
check_match() {
	if grep -qE -- "$2" <<<"$3"; then
		pass "$1"
	else
		printf -- '--- no line matches %s:\n%s\n---\n' "$2" "$3"
		fail "$1" "no line matches \"$2\" in: $(head -n 3 <<<"$3" | tr '\n' ' ' | cut -c 1-200)"
	fi
}

check_no_match() {
	if grep -qE -- "$2" <<<"$3"; then
		fail "$1" "a line matches \"$2\": $(grep -E -- "$2" <<<"$3" | head -n 1 | cut -c 1-200)"
	else
		pass "$1"
	fi
}

# py SCRIPT [ARGUMENT...]: a script of tests/vm/py, which tells its own checks.
py() {
	local script=$1 status=0
	shift
	printf '+ %s\n' "$script $*"
	IQN=$IQN INITIATOR=$INITIATOR python3 "$T_DIR/py/$script.py" "$@" || status=$?
	[ $status -eq 0 ] || fail "$script $* goes to its end" "status $status; see the log"
	return $status
}

# --- waiting, measuring -------------------------------------------------------------------

# pause SECONDS: without a process, which a look every now and then would spend its time on.
exec {T_NEVER}<> <(:)
pause() {
	read -rt "$1" -u "$T_NEVER" _ || :
}

# wait_for SECONDS COMMAND...: until the command succeeds; on a slower kernel it may take longer.
wait_for() {
	local end=$((SECONDS + $1 * T_SLOWER))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		pause 0.1
	done
}

now_ms() {
	local now=${EPOCHREALTIME/./}
	echo $((now / 1000))
}

# took_ms COMMAND...: prints the milliseconds that it took; its own output goes to the log.
took_ms() {
	local start status=0
	start=$(now_ms)
	"$@" >&2 || status=$?
	echo $(($(now_ms) - start))
	return $status
}

# What the kernel said since the mark.
log_mark() {
	# The log has marks of the cases before this one, too.
	LOG_MARK="ferrite-test: mark ${EPOCHREALTIME/./}"
	echo "$LOG_MARK" >/dev/kmsg
}

log_since_mark() {
	dmesg --notime | sed "1,/^$LOG_MARK\$/d"
}

# log_has REGEX: some line since the mark matches.
log_has() {
	log_since_mark | grep -qE -- "$1"
}

# check_logged NAME REGEX: the kernel says so within two seconds.
check_logged() {
	if wait_for 2 log_has "$2"; then
		pass "$1"
	else
		printf -- '--- the kernel log since the mark:\n%s\n---\n' "$(log_since_mark)"
		fail "$1" "no line of the kernel log matches \"$2\""
	fi
}

# dm_make NAME TABLE: a device of device mapper, without udev's help.
dm_make() {
	must dmsetup create "$1" --noudevrules --noudevsync --table "$2"
	must dmsetup mknodes
}

# dm_slow: /dev/mapper/slow, which is /dev/vda until somebody suspends it. dm_slow_end is the case's
# cleanup.
dm_slow() {
	must modprobe dm_mod
	dm_make slow "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
}
dm_slow_end() {
	dmsetup resume slow
	i_forget
	t_clear
	dmsetup remove --retry slow
}

# --- the target ---------------------------------------------------------------------------

t_load() {
	local dep
	if [ "$T_TARGET" = lio ]; then
		must modprobe -a target_core_mod target_core_iblock iscsi_target_mod
		[ -d $ISCSI ] || must mkdir $ISCSI
		return
	fi
	for dep in $(modinfo -F depends /ferrite/ferrite.ko | tr , ' '); do
		must modprobe "$dep"
	done
	must insmod /ferrite/ferrite.ko "$@"
}

t_unload() {
	if [ "$T_TARGET" = lio ]; then
		rmdir $ISCSI && modprobe -r iscsi_target_mod target_core_iblock target_core_mod
		return
	fi
	rmmod ferrite
}

# put VALUE FILE: one write, as a tool does it.
put() {
	printf '+ %q > %s\n' "$1" "$2"
	printf '%s' "$1" >"$2"
}

# The tool's own words are in the log.
tool() {
	printf '+ ferritectl %s\n' "$*"
	ferritectl "$@"
}

# t_store NAME: a backstore's directory.
t_store() {
	local dirs=("$ROOT"/core/iblock_*/"$1")
	echo "${dirs[0]:-}"
}

T_HBAS=0

# t_backstore NAME DEVICE [ro]
t_backstore() {
	local name=$1 device=$2 mode=${3:-} dir args=()
	if [ "$T_BY" = tool ]; then
		[ "$mode" != ro ] || args+=(--read-only)
		must tool backstore create "$name" "$device" "${args[@]}"
		return
	fi
	dir=$ROOT/core/iblock_$((T_HBAS++))/$name
	must mkdir -p "$dir"
	must put "udev_path=$device${mode:+,readonly=1}" "$dir/control"
	must put "$device" "$dir/udev_path"
	[ "$T_TARGET" != lio ] || must put "$name" "$dir/wwn/vpd_unit_serial"
	# Whoever had it before may be late in giving it back.
	must wait_for 10 put 1 "$dir/enable"
}

# t_target [IQN]: with portal group 1, not enabled, and the adaptor's defaults.
t_target() {
	local iqn=${1:-$IQN}
	if [ "$T_BY" = tool ]; then
		must tool target create "$iqn"
	else
		must mkdir -p "$ISCSI/$iqn/tpgt_1"
	fi
	t_patient "$(t_tpg "$iqn")"
}

# t_patient TPG: on a slower kernel an initiator that is no more than a script may be silent for long.
t_patient() {
	[ "$T_SLOWER" = 1 ] || must put 60 "$1/attrib/nopin_response_timeout"
}

# t_tpg [IQN]: the directory of portal group 1.
t_tpg() {
	echo "$ISCSI/${1:-$IQN}/tpgt_1"
}

# t_portal IQN ADDRESS:PORT
t_portal() {
	if [ "$T_BY" = tool ]; then
		must tool portal create "$1" "$2"
	else
		must mkdir "$(t_tpg "$1")/np/$2"
	fi
}

# t_lun IQN LUN BACKSTORE
t_lun() {
	local dir
	if [ "$T_BY" = tool ]; then
		must tool lun create "$1" "$3" --lun "$2"
		return
	fi
	dir=$(t_tpg "$1")/lun/lun_$2
	must mkdir "$dir"
	must ln -s "$(t_store "$3")" "$dir/$3"
}

# t_unlun IQN LUN: whether or not somebody uses it.
t_unlun() {
	local dir link
	if [ "$T_BY" = tool ]; then
		tool lun delete "$1" "$2" --force
		return
	fi
	dir=$(t_tpg "$1")/lun/lun_$2
	for link in "$(t_tpg "$1")"/acls/*/lun_*/*; do
		if [ -L "$link" ] && [ "$(readlink -f "$link")" = "$dir" ]; then
			rm "$link" && rmdir "${link%/*}" || return
		fi
	done
	for link in "$dir"/*; do
		[ ! -L "$link" ] || rm "$link" || return
	done
	rmdir "$dir"
}

# t_set IQN KEY=VALUE...: attributes and parameters.
t_set() {
	local iqn=$1 pair key dir
	shift
	if [ "$T_BY" = tool ]; then
		must tool tpg set "$iqn" "$@"
		return
	fi
	for pair; do
		key=${pair%%=*}
		dir=$(t_tpg "$iqn")
		if [ -e "$dir/attrib/$key" ]; then
			must put "${pair#*=}" "$dir/attrib/$key"
		else
			must put "${pair#*=}" "$dir/param/$key"
		fi
	done
}

# t_demo [IQN]: everybody may read and write.
t_demo() {
	t_set "${1:-$IQN}" authentication=0 generate_node_acls=1 demo_mode_write_protect=0
}

# t_enable [IQN]
t_enable() {
	if [ "$T_BY" = tool ]; then
		must tool tpg enable "${1:-$IQN}"
	else
		must put 1 "$(t_tpg "${1:-$IQN}")/enable"
	fi
}

# t_disable [IQN]: whether or not somebody uses it.
t_disable() {
	if [ "$T_BY" = tool ]; then
		tool tpg disable "${1:-$IQN}" --force
	else
		put 0 "$(t_tpg "${1:-$IQN}")/enable"
	fi
}

# t_acl IQN INITIATOR: all LUNs that there are, under their numbers.
t_acl() {
	local dir lun
	if [ "$T_BY" = tool ]; then
		must tool acl create "$1" "$2" --map-all
		return
	fi
	dir=$(t_tpg "$1")/acls/$2
	must mkdir "$dir"
	for lun in "$(t_tpg "$1")"/lun/lun_*; do
		must mkdir "$dir/${lun##*/}"
		must ln -s "$lun" "$dir/${lun##*/}/lun"
	done
}

# t_unacl IQN INITIATOR
t_unacl() {
	local dir lun link
	if [ "$T_BY" = tool ]; then
		tool acl delete "$1" "$2" --force
		return
	fi
	dir=$(t_tpg "$1")/acls/$2
	for lun in "$dir"/lun_*; do
		for link in "$lun"/*; do
			[ ! -L "$link" ] || rm "$link"
		done
		rmdir "$lun"
	done
	rmdir "$dir"
}

# t_chap_dir DIR [USER SECRET [MUTUAL-USER MUTUAL-SECRET]]: sets all four.
t_chap_dir() {
	must put "${2:-NULL}" "$1/userid"
	must put "${3:-NULL}" "$1/password"
	must put "${4:-NULL}" "$1/userid_mutual"
	must put "${5:-NULL}" "$1/password_mutual"
}

# t_chap SCOPE... -- USER SECRET [MUTUAL-USER MUTUAL-SECRET]: SCOPE is `IQN`,
# `IQN INITIATOR` or `discovery`.
t_chap() {
	local scope=() args
	while [ "$1" != -- ]; do
		scope+=("$1")
		shift
	done
	shift
	if [ "$T_BY" = tool ]; then
		args=("${scope[0]}")
		[ "${scope[0]}" != discovery ] || args=(--discovery --enforce)
		[ ${#scope[@]} -lt 2 ] || args+=(--acl "${scope[1]}")
		args+=(--user "$1" --secret "$2")
		[ $# -lt 4 ] || args+=(--mutual-user "$3" --mutual-secret "$4")
		must tool auth set "${args[@]}"
		return
	fi
	if [ "${scope[0]}" = discovery ]; then
		t_chap_dir $ISCSI/discovery_auth "$@"
		must put 1 $ISCSI/discovery_auth/enforce_discovery_auth
	elif [ ${#scope[@]} -eq 2 ]; then
		t_chap_dir "$(t_tpg "${scope[0]}")/acls/${scope[1]}/auth" "$@"
	else
		t_chap_dir "$(t_tpg "${scope[0]}")/auth" "$@"
	fi
}

# t_export DEVICE...: LUN 0, 1, ... of $IQN at $PORTAL, for everybody.
t_export() {
	local device lun=0
	t_target "$IQN"
	for device; do
		t_backstore "disk$lun" "$device"
		t_lun "$IQN" $lun "disk$lun"
		lun=$((lun + 1))
	done
	t_portal "$IQN" "$PORTAL"
	t_demo "$IQN"
	t_enable "$IQN"
}

# A second portal of $IQN, in portal group 2.
SECOND=127.0.0.1:3261

# t_export_twice DEVICE: one device at $PORTAL, through portal group 1, and at $SECOND, through
# portal group 2, for everybody.
t_export_twice() {
	local dir pair
	t_target "$IQN"
	t_backstore disk0 "$1"
	for dir in "$ISCSI/$IQN"/tpgt_{1,2}; do
		[ -d "$dir" ] || must mkdir "$dir"
		t_patient "$dir"
		must mkdir "$dir/lun/lun_0"
		must ln -s "$(t_store disk0)" "$dir/lun/lun_0/disk0"
		for pair in authentication=0 generate_node_acls=1 demo_mode_write_protect=0; do
			must put "${pair#*=}" "$dir/attrib/${pair%=*}"
		done
	done
	must mkdir "$ISCSI/$IQN/tpgt_1/np/$PORTAL" "$ISCSI/$IQN/tpgt_2/np/$SECOND"
	for dir in "$ISCSI/$IQN"/tpgt_{1,2}; do
		must put 1 "$dir/enable"
	done
}

# t_untarget IQN: the target with all that is in it.
t_untarget() {
	local dir link links=() dirs=()
	if [ "$T_BY" = tool ]; then
		tool target delete "$1" --force
		return
	fi
	for dir in "$ISCSI/$1"/tpgt_*; do
		put 0 "$dir/enable"
		for link in "$dir"/acls/*/lun_*/* "$dir"/lun/lun_*/*; do
			[ ! -L "$link" ] || links+=("$link")
		done
		dirs+=("$dir"/acls/*/lun_* "$dir"/acls/* "$dir"/lun/lun_* "$dir"/np/* "$dir")
	done
	[ ${#links[@]} -eq 0 ] || rm "${links[@]}"
	rmdir "${dirs[@]}" "$ISCSI/$1"
}

# The whole configuration, by configfs alone, whatever state it is in.
t_clear() {
	local dir dirs=() T_BY=configfs
	for dir in "$ISCSI"/*; do
		case ${dir##*/} in
			discovery_auth | lio_version) ;;
			*) t_untarget "${dir##*/}" ;;
		esac
	done
	if [ -e $ISCSI/discovery_auth/enforce_discovery_auth ]; then
		t_chap_dir $ISCSI/discovery_auth >/dev/null
		put 0 $ISCSI/discovery_auth/enforce_discovery_auth
	fi
	for dir in "$ROOT"/core/iblock_*/*/alua/*; do
		[ "${dir##*/}" = default_tg_pt_gp ] || dirs+=("$dir")
	done
	for dir in "$ROOT"/core/iblock_*/*; do
		[ ! -d "$dir" ] || [ ! -e "$dir/udev_path" ] || dirs+=("$dir")
	done
	dirs+=("$ROOT"/core/iblock_*)
	[ ${#dirs[@]} -eq 0 ] || rmdir "${dirs[@]}"
}

# t_stat NAME: one of the module's counters.
t_stat() {
	awk -v n="$1" '$1 == n { print $2; found = 1 } END { exit !found }' "$ROOT/statistics"
}

# t_sessions [IQN]: how many sessions the target has.
t_sessions() {
	local tpg acl line lines=()
	tpg=$(t_tpg "${1:-$IQN}")
	mapfile -t lines <"$tpg/dynamic_sessions" || return
	for acl in "$tpg"/acls/*; do
		while read -r line; do
			[[ $line != InitiatorName:* ]] || lines+=("$line")
		done <"$acl/info"
	done
	echo "${#lines[@]}"
}

t_has_sessions() {
	[ "$(t_sessions "$IQN")" -eq "$1" ]
}

# --- the initiator ------------------------------------------------------------------------

# Timeouts such that a slow machine breaks nothing and a broken target blocks nobody for long.
i_init() {
	sed -i -E \
		-e 's/^#? ?(node\.session\.timeo\.replacement_timeout) = .*/\1 = 20/' \
		-e 's/^#? ?(node\.conn\[0\]\.timeo\.noop_out_interval) = .*/\1 = 10/' \
		-e 's/^#? ?(node\.conn\[0\]\.timeo\.noop_out_timeout) = .*/\1 = 20/' \
		-e 's/^#? ?(node\.session\.initial_login_retry_max) = .*/\1 = 1/' \
		/etc/iscsi/iscsid.conf
	modprobe -a iscsi_tcp sd_mod
}

# i_set RECORD-OPTION... -- KEY=VALUE...: several settings of a record at once.
i_set() {
	local record=() settings=() pair
	while [ "$1" != -- ]; do
		record+=("$1")
		shift
	done
	shift
	for pair; do
		settings+=(-n "${pair%%=*}" -v "${pair#*=}")
	done
	must iscsiadm "${record[@]}" -o update "${settings[@]}"
}

# i_node IQN PORTAL [IFACE]: a record, without discovery.
i_node() {
	must iscsiadm -m node -T "$1" -p "$2" ${3:+-I "$3"} -o new
}

# i_login [KEY=VALUE...]: logs in to $IQN at $PORTAL.
i_login() {
	i_node "$IQN" "$PORTAL"
	[ $# -eq 0 ] || i_set -m node -T "$IQN" -p "$PORTAL" -- "$@"
	iscsiadm -m node -T "$IQN" -p "$PORTAL" --login
}

# i_logout [IQN [PORTAL]]
i_logout() {
	iscsiadm -m node -T "${1:-$IQN}" ${2:+-p "$2"} --logout
}

# i_forget: every session, every record, which is no more than files.
i_forget() {
	local sessions=(/sys/class/iscsi_session/session*)
	[ ${#sessions[@]} -eq 0 ] || iscsiadm -m node --logoutall=all
	rm -rf /etc/iscsi/{nodes,send_targets,ifaces}/* /var/lib/iscsi/{nodes,send_targets,ifaces}/*
	return 0
} 2>/dev/null

# i_chap USER SECRET [MUTUAL-USER MUTUAL-SECRET]: prints settings of a record.
i_chap() {
	printf '%s\n' node.session.auth.authmethod=CHAP "node.session.auth.username=$1" "node.session.auth.password=$2"
	[ $# -lt 4 ] || printf '%s\n' "node.session.auth.username_in=$3" "node.session.auth.password_in=$4"
}

# i_sessions [IQN]: numbers of the initiator's sessions.
i_sessions() {
	local dir name
	for dir in /sys/class/iscsi_session/session*; do
		if read -r name <"$dir/targetname" && [ "$name" = "${1:-$IQN}" ]; then
			echo "${dir##*/session}"
		fi
	done
} 2>/dev/null

i_find_disk() {
	local sid dev size
	for sid in ${3:-$(i_sessions "$1")}; do
		for dev in /sys/class/iscsi_session/session"$sid"/device/target*/*:*:*:"$2"/block/sd*; do
			if [ -b "/dev/${dev##*/}" ] && read -r size <"$dev/size" && [ "$size" -gt 0 ]; then
				echo "/dev/${dev##*/}"
				return
			fi
		done
	done
	return 1
}

# i_disk [IQN [LUN [SESSION]]]: waits for the disk and prints it.
i_disk() {
	local end=$((SECONDS + 20 * T_SLOWER))
	until i_find_disk "${1:-$IQN}" "${2:-0}" "${3:-}"; do
		if [ $SECONDS -ge $end ]; then
			echo "no disk of ${1:-$IQN} LUN ${2:-0}" >&2
			return 1
		fi
		pause 0.1
	done
}

# i_scsi_dev DISK: where its SCSI device is in sysfs.
i_scsi_dev() {
	echo "/sys/block/${1##*/}/device"
}

# i_ios DISK: how many reads and writes of it have ended.
i_ios() {
	local reads writes
	read -r reads _ _ _ writes _ <"/sys/block/${1#/dev/}/stat"
	echo $((reads + writes))
}
i_ios_beyond() {
	[ "$(i_ios "$1")" -gt "$2" ]
}

# i_under_io DISK: waits until more has been read and written, so that what comes next meets some.
i_under_io() {
	must wait_for 30 i_ios_beyond "$1" $(($(i_ios "$1") + 50))
}

# fio_verify FILE [OPTION...]: writes random blocks and reads each back.
fio_verify() {
	local file=$1
	shift
	fio --name=verify --filename="$file" --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite \
		--bs=4k --size=16m --verify=crc32c --verify_fatal=1 --randrepeat=0 --minimal "$@" |
		cut -d ';' -f 1-10
	return "${PIPESTATUS[0]}"
}

# fio_until STOP FILE [OPTION...]: the same, again and again until there is a file STOP.
fio_until() {
	local stop=$1
	shift
	until [ -e "$stop" ]; do
		fio_verify "$@" --time_based --runtime=3 --verify_backlog=64 || return
	done
}

# i_iface NAME INITIATOR: another initiator on this machine.
i_iface() {
	must iscsiadm -m iface -I "$1" -o new
	i_set -m iface -I "$1" -- "iface.initiatorname=$2"
}

# i_two: the initiators node-a and node-b log in, two I_T nexuses on one machine. i_two_end is the
# case's cleanup.
i_two() {
	local n
	for n in a b; do
		i_iface "node-$n" "iqn.2026-01.org.example:node-$n"
		i_node "$IQN" "$PORTAL" "node-$n"
		must iscsiadm -m node -T "$IQN" -p "$PORTAL" -I "node-$n" --login
	done
}
i_two_end() {
	local n
	i_forget
	for n in a b; do
		iscsiadm -m iface -I "node-$n" -o delete
	done
	t_clear
}

# i_disk_as NAME: the disk that the initiator iqn.2026-01.org.example:NAME sees as LUN 0.
i_disk_as() {
	local session name
	for session in /sys/class/iscsi_session/session*; do
		read -r name <"$session/initiatorname"
		if [ "$name" = "iqn.2026-01.org.example:$1" ]; then
			i_disk "$IQN" 0 "${session##*/session}"
			return
		fi
	done
	return 1
}

# i_path PORTAL [IQN]: the disk that the session with a portal sees as LUN 0.
i_path() {
	local sid
	for sid in $(i_sessions "${2:-$IQN}"); do
		if [ "$(cat /sys/class/iscsi_session/session"$sid"/device/connection*/iscsi_connection/*/persistent_port)" = "${1##*:}" ]; then
			i_disk "${2:-$IQN}" 0 "$sid"
		fi
	done
}

# sum DEVICE [COUNT-OF-MIB]: a checksum of what is on it, read past the page cache; of those that tell
# any change the one that costs an emulated CPU least.
sum() {
	dd if="$1" bs=1M ${2:+count="$2"} iflag=direct status=none | md5sum | cut -d ' ' -f 1
}

# background COMMAND...: runs on; `finish SECONDS` waits for its end and gives its status,
# or 142 if it had to be killed.
background() {
	printf '+ %s &\n' "$*"
	"$@" &
	BACKGROUND=$!
}

finish() {
	local end=$((SECONDS + $1 * T_SLOWER)) pid=$BACKGROUND
	while kill -0 "$pid" 2>/dev/null; do
		if [ $SECONDS -ge $end ]; then
			kill -9 "$pid"
			return 142
		fi
		pause 0.1
	done
	wait "$pid"
}

# What a case does when it ends, however it ends: nothing stays behind for the next one.
cleanup() {
	local status=$? pids
	trap - EXIT
	echo "=== end, status $status"
	declare -F case_cleanup >/dev/null && case_cleanup
	pids=$(jobs -p)
	# shellcheck disable=SC2086 # A list of numbers.
	[ -z "$pids" ] || kill -9 $pids
	i_forget
	[ -e "$ROOT" ] && t_clear
	exit $status
}
trap cleanup EXIT
