# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Known commands are found again in every place where commands are counted, and each of them in
# the histograms.
# time: 15

t_load
t_export /dev/vda
py statistics
