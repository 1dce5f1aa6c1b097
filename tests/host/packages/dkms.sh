#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# dkms.sh RELEASE VERSION DIR: the module is built by DKMS for a kernel of Debian's, and signed. It is
# left in DIR.
set -u
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/checks.sh"
release=$1 version=$2 out=$3
# As a pattern.
exactly=${release//[.+]/.}
series=$(sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$release")
must apt-get -q update
before=$(traces)
# Debian 13's own kernel, which has no Rust, is there as well.
must apt-get -q -y --no-install-recommends install linux-headers-amd64/trixie \
	"linux-headers-$release=$version" "linux-source-$series=$version" openssl
old=$(cd /lib/modules && echo 6.*)
mkdir -p /root/mok /etc/dkms/framework.conf.d
must key /root/mok/key.priv /root/mok/key.der "A key of my own"
printf '%s\n' mok_signing_key=/root/mok/key.priv mok_certificate=/root/mok/key.der >/etc/dkms/framework.conf.d/mok.conf
text=$(apt-get -q -y --no-install-recommends install "$PWD"/build/deb/*.deb 2>&1)
check "the packages are installed, with what they depend on alone" [ $? -eq 0 ]
says "this kernel can be served" "the kernel $exactly can be served" echo "$text"
says "it is said that Debian 13's own kernel cannot, and why" \
	"the kernel ${old//[.+]/.} cannot be served: it is too old: 7.2 is the first" echo "$text"
says "DKMS has built the module" "^ferrite/0.1.0, $exactly, x86_64: installed" dkms status
check "for no other kernel" test "$(dkms status | wc -l)" -eq 1
tail -n 12 /var/lib/dkms/ferrite/0.1.0/"$release"/x86_64/log/make.log
module=$(find "/lib/modules/$release/updates" -name 'ferrite.ko*')
says "it is for this kernel" "^$exactly " modinfo -F vermagic "$module"
says "it is signed with the administrator's key" "^A key of my own" modinfo -F signer "$module"
check "nothing of the kernel's source is left" test -z "$(find /var/lib/dkms -name 'kernel.*')"
case $module in
	*.xz) xz -dc "$module" >"$out/ferrite.ko" ;;
	*) cp "$module" "$out/ferrite.ko" ;;
esac
must apt-get -q -y purge ferrite ferrite-dkms
after=$(traces)
diff <(echo "$before") <(echo "$after")
check "removed, it leaves nothing" test "$before" = "$after"
