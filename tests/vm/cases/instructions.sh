# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The data path does not become dearer: instructions per I/O, counted, as a ratio to LIO's.
# runs: host
# time: 45
# limit: 600
set -u

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
out=$dir/bench.json
mapfile -t recorded < <(grep -v '^#' tests/vm/instructions)
if ! scripts/bench --kernel "${VM_KERNEL:-stock}" --targets ferrite,lio --output "$out" "${recorded[@]%% *}"; then
	echo "@fail the benchmark runs"
	exit
fi
echo "@ok the benchmark runs"
for line in "${recorded[@]}"; do
	python3 - "$out" "${line% *}" "${line#* }" <<-'END'
		import json, sys
		path, job, recorded = sys.argv[1:]
		with open(path) as file:
		    cost = json.load(file)["instructions_per_io"]
		ratio = cost["ferrite"][job] / cost["lio"][job]
		name = f"{job}: no more than 5 percent above the recorded {recorded} of LIO's instructions"
		print(f"@ok {name}" if ratio <= float(recorded) * 1.05 else f"@fail {name} ({ratio:.3f})")
		print(f"{job}: {ratio:.3f}")
	END
done
