# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# One file describes everything: ferritectl makes it so, once, and keeps sessions alive.
# time: 40

t_load
dir=$(mktemp -d)
(umask 077 && echo correct-horse-battery >"$dir/secret")

# file LUNS SEEN LOGIN-TIMEOUT: writes the file.
file() {
	cat >"$dir/file.toml" <<-END
		[backstore.disk0]
		device = "/dev/vda"
		serial = "0123456789abcdef"

		[backstore.disk1]
		device = "/dev/vdb"

		[target."$IQN".tpg.1]
		portals = ["$PORTAL"]
		attributes = { login_timeout = $3 }
		luns = { $1 }

		[target."$IQN".tpg.1.initiator."$INITIATOR"]
		luns = [$2]
		chap = { user = "bob", secret_file = "secret" }
	END
}

# differs: diff says that there is a difference.
differs() {
	local status=0
	tool diff "$dir/file.toml" || status=$?
	[ $status -eq 9 ]
}

file '0 = "disk0"' 0 30
check "the file differs from what there is" differs
check "the file is applied" tool apply "$dir/file.toml"
check_eq "a second time there is nothing to do" "nothing to change" "$(tool apply "$dir/file.toml" | tail -n 1)"
check "there is no difference" tool diff "$dir/file.toml"

mapfile -t chap < <(i_chap bob correct-horse-battery)
check "the initiator logs in with the secret of the file" i_login "${chap[@]}" node.session.auth.chap_algs=SHA256
disk=$(i_disk) || give_up "no disk"
session=$(i_sessions)
background fio_verify "$disk" --size=8m
file '0 = "disk0", 5 = "disk1"' '0, 5' 20
check "a LUN is added under I/O without a question" tool apply "$dir/file.toml"
check "the I/O goes on to its end" finish 60
check_eq "the session is the same" "$session" "$(i_sessions)"
check_eq "the setting is changed" 20 "$(cat "$(t_tpg "$IQN")/attrib/login_timeout")"

file '0 = "disk0"' 0 20
out=$(tool apply "$dir/file.toml" </dev/null 2>&1)
check_eq "what interrupts an initiator is refused without --yes" 5 $?
check_match "and the initiator is named" "interrupts $INITIATOR" "$out"
check "nothing was changed by that" test -d "$(t_tpg "$IQN")/lun/lun_5"
check "with --yes it is done" tool apply "$dir/file.toml" --yes
check_not "the LUN is gone" test -d "$(t_tpg "$IQN")/lun/lun_5"
check_eq "the session is still the same" "$session" "$(i_sessions)"

i_logout
: >"$dir/file.toml"
check "an empty file removes all" tool apply "$dir/file.toml"
left() {
	find "$ROOT/core" "$ISCSI" -maxdepth 1 -name 'iblock_*' -o -maxdepth 1 -name 'iqn*'
}
check_eq "nothing is left" "" "$(left)"

# --- many, and how far it is ------------------------------------------------------------------
many=100
[ "$T_FULL" = 0 ] || many=1000
for ((n = 0; n < many; n++)); do
	printf '[backstore.d%d]\ndevice = "/dev/vda"\nshared = true\n' $n
done >"$dir/many.toml"
printf '[target."%s".tpg.1.luns]\n' "$IQN" >>"$dir/many.toml"
for ((n = 0; n < many; n++)); do
	printf '%d = "d%d"\n' $n $n
done >>"$dir/many.toml"
took=$(took_ms script -qec "ferritectl apply $dir/many.toml" "$dir/shown")
check_eq "$many LUNs are applied at a terminal" 0 $?
check_eq "and are there" $many "$(find "$(t_tpg)/lun" -mindepth 1 -maxdepth 1 | wc -l)"
check_match "meanwhile a bar grew" '\[#+ +\] +[1-9][0-9]? % of' "$(tr '\r' '\n' <"$dir/shown")"
check_le "it has taken seconds, in ms" "$took" $((100 * many * T_SLOWER))
took=$(took_ms tool clear --yes)
check_eq "they are removed" "" "$(left)"
echo "+ removed in $took ms"
rm -rf "$dir"
