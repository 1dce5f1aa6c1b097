# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# configfs: the layout, the formats, what each file takes and refuses, and when the module may go.
# time: 60

for dep in $(modinfo -F depends /ferrite/ferrite.ko | tr , ' '); do
	must modprobe "$dep"
done
py configfs
