# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Making of the kernel's source a tree that Rust modules for the stock kernel can be built
# against: Debian's headers have no Rust metadata. Sourced by scripts/toolchain, and by what
# DKMS runs (contrib/dkms/build). The caller has `say` and `die`.

config_value() {
	sed -n "s/^$2=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$1"
}

# Kbuild's arguments: the compilers that the kernel's .config names.
kbuild_args() {
	local release=$1 config=$2
	printf '%s\n' CROSS_COMPILE=x86_64-linux-gnu- HOSTCC=gcc-14 \
		"CC=$(config_value "$config" CONFIG_CC_VERSION_TEXT | cut -d ' ' -f 1)" \
		"LOCALVERSION=$(sed -E 's/^[0-9]+(\.[0-9]+)*//' <<<"$release")"
}

# Every setting must be the stock kernel's: another one may move a field of a structure.
check_config() {
	local release=$1 stock=$2 ours=$3 diff
	diff=$(diff <(grep -E '^CONFIG_' "$stock" | sort) <(grep -E '^CONFIG_' "$ours" | sort) |
		grep -E '^[<>]' | grep -vE '^. CONFIG_(CC|RUSTC|BINDGEN)_VERSION_TEXT=' || true)
	[ -z "$diff" ] || die "the configuration made for $release is not the stock kernel's (< stock, > ours):
$diff"
}

check_symbols() {
	local release=$1 build=$2 stock ours missing total
	stock=$(mktemp)
	ours=$(mktemp)
	awk '$2 ~ /^(_R|rust_helper_)/ { print $2 }' "$build/Module.symvers" | sort -u >"$stock"
	sed -n 's/^EXPORT_SYMBOL_RUST_GPL(\(.*\));$/\1/p' "$build"/rust/exports_*_generated.h | sort -u >"$ours"
	total=$(wc -l <"$stock")
	missing=$(comm -23 "$stock" "$ours" | wc -l)
	rm -f "$stock" "$ours"
	[ "$total" -gt 0 ] || die "the kernel $release exports no Rust symbol: a Rust module cannot be loaded into it"
	[ "$missing" -eq 0 ] ||
		die "$missing of the $total Rust symbols that the kernel $release exports have another hash when built here: its compiler or configuration was not matched, and a module would not load"
	say "all $total Rust symbols of the stock kernel $release are matched"
}
