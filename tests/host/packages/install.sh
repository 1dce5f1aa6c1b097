#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Installs and removes the packages in the tree that this runs in. No kernel is there, so what
# DKMS would run is shown made-up ones. $1 is a prepared build tree of a kernel.
set -u
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/checks.sh"
debs=("$PWD"/build/deb/*.deb)
before=$(traces)

says "both packages are installed" "^Setting up ferrite-dkms" \
	apt-get -q -y --no-install-recommends install "${debs[@]}"
check "the tool runs" ferritectl --version
check "also as lio_node" lio_node --help
for file in /usr/sbin/tcm_node /usr/lib/systemd/system/ferrite.service \
	/usr/share/bash-completion/completions/ferritectl /usr/share/zsh/vendor-completions/_ferritectl \
	/usr/share/fish/vendor_completions.d/ferritectl.fish /usr/src/ferrite-0.1.0/dkms.conf \
	/usr/src/ferrite-0.1.0/rust/ferrite_main.rs; do
	check "there is ${file##*/}" test -e $file
done
says "there are manual pages" man8/ferritectl.8.gz dpkg-deb -c "$(printf '%s\n' "${debs[@]}" | grep amd64)"
says "and the guides" guides/pacemaker.rst dpkg-deb -c "$(printf '%s\n' "${debs[@]}" | grep amd64)"
check "the unit is not enabled" test ! -e /etc/systemd/system/multi-user.target.wants/ferrite.service
says "DKMS has the module" "^ferrite/0.1.0: added" dkms status

# kernel RELEASE [SETTING...]: one that is made up.
kernel() {
	local build=/lib/modules/$1/build
	mkdir -p "$build/include"
	shift
	printf '%s\n' CONFIG_X86_64=y "CONFIG_CC_VERSION_TEXT=\"gcc-14 (Debian) 14\"" "$@" >"$build/.config"
}
rustc=CONFIG_RUSTC_VERSION_TEXT=\"$(rustc --version)\"
bindgen=CONFIG_BINDGEN_VERSION_TEXT=\"$(bindgen --version)\"
kernel 6.12.1+deb13-amd64 CONFIG_RUST=y "$rustc"
kernel 7.3.90-amd64
kernel 7.3.91-amd64 CONFIG_RUST=y 'CONFIG_RUSTC_VERSION_TEXT="rustc 1.99.0 (0000000 2029-01-01)"'
kernel 7.3.92-amd64 CONFIG_RUST=y "$rustc" 'CONFIG_BINDGEN_VERSION_TEXT="bindgen 0.99.9"'
kernel 7.3.93-amd64 CONFIG_RUST=y "$rustc" "$bindgen"
build=/usr/src/ferrite-0.1.0/dkms/build
says "a kernel that is not there cannot be served" "7.3.1-amd64 cannot be served: it is not installed" $build --check 7.3.1-amd64
says "nor one that is too old" "6.12.1.deb13-amd64 cannot be served: it is too old" $build --check 6.12.1+deb13-amd64
says "nor one without Rust" "cannot be served: it was built without Rust" $build --check 7.3.90-amd64
says "nor one with another compiler" 'built with "rustc 1.99.0.*here is "rustc 1' $build --check 7.3.91-amd64
says "nor one with another bindgen" 'built with "bindgen 0.99.9"' $build --check 7.3.92-amd64
says "nor one whose source cannot be told" "no Rust metadata" $build --check 7.3.93-amd64
says "all are looked at in one go" "7.3.93-amd64 cannot be served" $build --check
says "DKMS passes one without Rust over" "BUILD_EXCLUSIVE" dkms build ferrite/0.1.0 -k 7.3.90-amd64
dkms build ferrite/0.1.0 -k 7.3.91-amd64
says "and its log says why another one is not served" "cannot be served: it was built with" \
	cat /var/lib/dkms/ferrite/0.1.0/build/make.log

says "installing says it where DKMS fails, too" "7.3.91-amd64 cannot be served: it was built with" \
	/var/lib/dpkg/info/ferrite-dkms.postinst configure ""

# A key of one's own, by what DKMS signs with.
cp build/ferrite.ko /tmp/ferrite.ko
must key /tmp/key.priv /tmp/key.der "A key of my own"
must "$1/scripts/sign-file" sha256 /tmp/key.priv /tmp/key.der /tmp/ferrite.ko
says "a module can be signed with a key of one's own" "^A key of my own" modinfo -F signer /tmp/ferrite.ko

mkdir -p /etc/ferrite /run/ferrite && echo '{}' | tee /run/ferrite/secrets.json >/etc/ferrite/config.json
says "both packages are removed" "^Removing ferrite-dkms" apt-get -q -y remove ferrite ferrite-dkms
check "what was saved stays" test -e /etc/ferrite/config.json
check "DKMS has the module no more" test -z "$(dkms status)"
says "and purged" "^Purging configuration files for ferrite" apt-get -q -y purge ferrite ferrite-dkms
after=$(traces)
diff <(echo "$before") <(echo "$after")
check "and nothing is left" test "$before" = "$after"
check "no secret either" test ! -e /run/ferrite
