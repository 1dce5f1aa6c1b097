# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Again and again: load, export, log in, read, unload. Nothing may stay in memory.
# time: 90

settled() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	echo 3 >/proc/sys/vm/drop_caches
}

field() {
	awk -v n="$1:" '$1 == n { print $2 }' /proc/meminfo
}

slabs() {
	awk 'NR > 2 && $1 ~ /^kmalloc|^ferrite|^sock|^tcp|^TCP|^skbuff|^configfs|^bio|^task_struct|^pool_workqueue|^filp/ { n += $2 * $4 } END { print int(n / 1024) }' /proc/slabinfo
}

cycles() {
	python3 "$T_DIR/py/reload.py" "$1" /dev/vda
}

for dep in $(modinfo -F depends /ferrite/ferrite.ko | tr , ' '); do
	must modprobe "$dep"
done
check "the first five times" cycles 5 || exit 4
settled
slab=$(slabs) unreclaimable=$(field SUnreclaim) percpu=$(field Percpu) vmalloc=$(grep -c . /proc/vmallocinfo)
awk '{ print $3 }' /proc/vmallocinfo | sort | uniq -c >/tmp/vmalloc
threads=$(find /proc -maxdepth 1 -name '[0-9]*' | wc -l)
more=20
[ "$T_FULL" = 0 ] || more=45
check "$more times more" cycles $more
settled
# What each of so many cycles would leave is more than what comes and goes anyway; the case `leaks`
# looks for single objects.
slab=$(($(slabs) - slab))
check_le "growth of slabs that could be ours, in KiB" $slab 400
echo "@figure loaded, used and unloaded $more times: KiB by which slabs that could be ours have grown | $slab"
check_le "growth of unreclaimable slabs, in KiB" $(($(field SUnreclaim) - unreclaimable)) 1500
check_le "growth of per-CPU memory, in KiB" $(($(field Percpu) - percpu)) 64
diff /tmp/vmalloc <(awk '{ print $3 }' /proc/vmallocinfo | sort | uniq -c)
check_le "growth of the number of vmalloc areas" $(($(grep -c . /proc/vmallocinfo) - vmalloc)) 30
check_le "growth of the number of processes" $(($(find /proc -maxdepth 1 -name '[0-9]*' | wc -l) - threads)) 20
check_eq "no thread of the module is left" "" "$(pgrep -l ^ferrite/)"
check_eq "nobody listens" "" "$(ss -Hltn 'sport = :3260')"
check_eq "no workqueue is left" "" "$(echo /sys/devices/virtual/workqueue/*ferrite*)"

# Unloading is refused while there is a configuration, at once and without harm.
t_load
t_export /dev/vda
check_not "unloading is refused while a target is configured" rmmod ferrite
check "and the target goes on" python3 "$T_DIR/py/raw_login.py"
i_login
check_not "unloading is refused while an initiator is logged in" rmmod ferrite
disk=$(i_disk)
check "and it can go on" dd if="$disk" of=/dev/null bs=64k count=16 iflag=direct
t_clear
check "without a configuration it is unloaded, with the initiator still there" wait_for 10 t_unload
check "and loaded again" insmod /ferrite/ferrite.ko
