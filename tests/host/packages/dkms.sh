#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# dkms.sh RELEASE VERSION: the module is built by DKMS for a kernel of Debian's, and signed.
set -u
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/checks.sh"
release=$1 version=$2
series=$(sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$release")
must apt-get -q update
must apt-get -q -y --no-install-recommends install dkms "linux-headers-$release=$version" "linux-source-$series=$version"
before=$(traces)
mkdir -p /root/mok /etc/dkms/framework.conf.d
must key /root/mok/key.priv /root/mok/key.der "A key of my own"
printf '%s\n' mok_signing_key=/root/mok/key.priv mok_certificate=/root/mok/key.der >/etc/dkms/framework.conf.d/mok.conf
says "the packages are installed" "the kernel $release can be served" \
	apt-get -q -y --no-install-recommends install "$PWD"/build/deb/*.deb
says "DKMS has built the module" "^ferrite/0.1.0, $release, x86_64: installed" dkms status
tail -n 20 /var/lib/dkms/ferrite/0.1.0/"$release"/x86_64/log/make.log /var/lib/dkms/ferrite/0.1.0/build/make.log
module=$(find "/lib/modules/$release/updates" -name 'ferrite.ko*')
says "it is for this kernel" "^$release " modinfo -F vermagic "$module"
says "it is signed with the administrator's key" "^A key of my own" modinfo -F signer "$module"
check "nothing of the kernel's source is left" test -z "$(find /var/lib/dkms -name 'kernel.*')"
must apt-get -q -y purge ferrite ferrite-dkms
after=$(traces)
diff <(echo "$before") <(echo "$after")
check "removed, it leaves nothing" test "$before" = "$after"
