# SPDX-License-Identifier: GPL-2.0
# Everything a person types. The work is done by the scripts; see their --help.

# KERNEL: primary (the default), newest, previous, running, debug, or a release; see scripts/toolchain.
KERNEL ?=
export KERNEL

# The workspace's own cargo where there is one of at least Rust 1.85, else the build root's.
CARGO ?= cargo
host-cargo := $(shell $(CARGO) --version 2>/dev/null | \
	awk '{ split($$2, v, "."); if (v[1] > 1 || v[2] >= 85) print "yes" }')

.PHONY: all module userspace-tools test-tools deb demo test conformance robustness bench lint fmt fmt-check install uninstall clean distclean help
all: module userspace-tools

module:
	scripts/toolchain module $(KERNEL)

userspace-tools:
ifeq ($(host-cargo),yes)
	$(CARGO) build --release --locked -p ferritectl
else
	scripts/toolchain tools
endif

# What the tests run in virtual machines.
test-tools: userspace-tools
ifeq ($(host-cargo),yes)
	$(CARGO) build --release --locked -p ferrite-wire-fuzz
else
	scripts/toolchain cargo build --release --locked -p ferrite-wire-fuzz
endif

demo:
	scripts/demo

test:
	scripts/test

conformance:
	scripts/conformance

# BENCH: jobs and options of scripts/bench.
bench: module userspace-tools
	scripts/bench $(BENCH)

robustness:
	scripts/robustness

lint: fmt-check
	scripts/check-layers
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	scripts/toolchain clippy $(KERNEL)
	scripts/check-panics
	shellcheck $$(git grep -lE '^#!.*\b(ba|da)?sh$$' -- scripts .ci tests) scripts/lib/*.sh

# Not `cargo fmt`: it follows lib.rs and so misses every file that only the kernel builds.
fmt:
	rustfmt --edition 2021 $$(git ls-files '*.rs')

fmt-check:
	rustfmt --edition 2021 --check $$(git ls-files '*.rs')

# For a storage host: apt install ./build/deb/*.deb
deb: userspace-tools
	scripts/deb

install:
	scripts/install

uninstall:
	scripts/install --uninstall

clean:
	rm -rf build target

# Also the build root, the kernels and the VM images.
distclean: clean
	scripts/toolchain clean

help:
	@echo 'make                        build build/ferrite.ko and the userspace tools'
	@echo 'make module KERNEL=RELEASE  build build/RELEASE/ferrite.ko for another kernel'
	@echo 'make demo                   show an export of a real disk, in a VM'
	@echo 'make test                   run every test'
	@echo 'make conformance            judge Ferrite and the kernel'\''s own target by the same suites'
	@echo 'make bench                  compare Ferrite with the kernel'\''s own targets; BENCH=--help'
	@echo 'make robustness             hang disks, open many sessions, try known holes; prints figures'
	@echo 'make lint                   formatting, layers, clippy, panic paths, shell scripts'
	@echo 'make deb                    make Debian packages of both, the module by DKMS: build/deb'
	@echo 'make install                install module and tools on this machine'
	@echo 'make uninstall              remove them again'
	@echo 'make clean, distclean       delete what was built; also the build root and VM images'
	@echo
	@echo 'The build root and the VM images are under ~/.cache/ferrite, or FERRITE_CACHE.'
