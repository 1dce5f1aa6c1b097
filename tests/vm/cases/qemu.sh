# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# QEMU's own iSCSI driver: patterns, flush, discard, write zeroes, whole images, CHAP.
# time: 60

t_load
t_export /dev/vda
url=iscsi://$PORTAL/$IQN/0

io() {
	local args=() command
	for command; do
		args+=(-c "$command")
	done
	qemu-io -f raw "${args[@]}" "$url" >/tmp/out 2>&1
	local status=$?
	cat /tmp/out
	# It ends with 0 even when a pattern does not match.
	! grep -qiE 'verification failed|error|failed' /tmp/out && return $status
}

check_match "qemu-img info tells the size" "virtual size: 1 GiB" "$(qemu-img info -f raw "$url")"
check "a pattern is written and read" io "write -P 0x5a 0 1M" "read -P 0x5a 0 1M"
check "it is on the backing device" cmp -n 1048576 <(tr '\0' '\132' </dev/zero) <(dd if=/dev/vda bs=1M count=1 iflag=direct)
check "a wrong pattern is noticed" eval '! io "read -P 0x5b 0 1M"'
check "odd places" io "write -P 0x11 512 512" "write -P 0x22 1049088 66048" "read -P 0x11 512 512" "read -P 0x22 1049088 66048" "read -P 0x5a 0 512"
check "asynchronous I/O" io "aio_write -P 0x77 8M 4M" "aio_write -P 0x78 12M 4M" "aio_write -P 0x79 16M 64k" aio_flush \
	"read -P 0x77 8M 4M" "read -P 0x78 12M 4M" "read -P 0x79 16M 64k"
check "flush" io "write -P 0x33 2M 64k" flush "read -P 0x33 2M 64k"
check "FUA" io "write -f -P 0x34 3M 64k" "read -P 0x34 3M 64k"
check "write zeroes" io "write -P 0x44 4M 1M" "write -z 4M 512k" "read -P 0 4M 512k" "read -P 0x44 4608k 512k"
check "write zeroes, unmapped" io "write -P 0x44 4M 1M" "write -z -u 4M 512k" "read -P 0 4M 512k" "read -P 0x44 4608k 512k"
check "discard" io "write -P 0x55 6M 1M" "discard 6M 512k" "read -P 0x55 6656k 512k"
check "8 MiB at once" io "write -P 0x66 32M 8M" "read -P 0x66 32M 8M"
check_not "beyond the end" qemu-io -f raw -c "write 1G 4k" "$url"

must dd if=/dev/urandom of=/tmp/image bs=1M count=24
check "qemu-img convert" qemu-img convert -n -f raw -O raw /tmp/image "$url"
check "and back" qemu-img dd -f raw -O raw bs=1M count=24 "if=$url" of=/tmp/back
check "qemu-img compare" qemu-img compare -s -f raw -F raw /tmp/image /tmp/back
check "the backing device has it" cmp -n $((24 << 20)) /tmp/image <(dd if=/dev/vda bs=1M count=24 iflag=direct)
check "qemu-img bench, reading" qemu-img bench -f raw -c 2000 -d 16 -s 4096 "$url"
check "qemu-img bench, writing" qemu-img bench -f raw -w -c 1000 -d 16 -s 65536 "$url"

t_set "$IQN" authentication=1
t_chap "$IQN" -- qemu-user qemu-secret-0123
check_not "without CHAP it is refused" qemu-io -f raw -c "read 0 4k" "$url"
secret=(--object "secret,id=s0,data=qemu-secret-0123")
opts=driver=iscsi,transport=tcp,portal=$PORTAL,target=$IQN,lun=0,user=qemu-user
if qemu-io "${secret[@]}" --image-opts "$opts,password-secret=s0" -c "read 0 4k"; then
	pass "with CHAP it gets in"
else
	# libiscsi offered MD5 alone until version 1.20.
	t_set "$IQN" chap_algorithms=MD5,SHA1,SHA256,SHA3-256
	check "with CHAP it gets in, where MD5 is allowed" qemu-io "${secret[@]}" --image-opts "$opts,password-secret=s0" -c "read 0 4k"
fi
secret=(--object "secret,id=s0,data=not-the-secret-at-all")
check_not "with a wrong secret it is refused" qemu-io "${secret[@]}" --image-opts "$opts,password-secret=s0" -c "read 0 4k"
check "no session is left" wait_for 5 t_has_sessions 0
