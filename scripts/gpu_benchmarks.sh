#!/usr/bin/env bash
# On a machine with a GPU, all that its speed table needs: every setting in every precision against the number of teachers,
# a whole run, and a profile of each, into the directory that the first argument names.
#     scripts/gpu_benchmarks.sh DIRECTORY [TEACHERS ...]
# The last number of teachers (of 1 4 16 64 256 1000 if none is given) is that of the whole run and of the profiles. For a
# trial anywhere: SECONDS_A_TURN=0.1 scripts/gpu_benchmarks.sh trial 1 2
set -euo pipefail
if [ $# = 0 ]; then
    echo "error: name the directory for the results: $0 DIRECTORY [TEACHERS ...]" >&2
    exit 2
fi
mkdir -p "$1"
OUTPUT=$(cd "$1" && pwd)
shift
[ $# != 0 ] || set -- 1 4 16 64 256 1000
cd "$(dirname "$0")/.."
if ! python3 -c 'import raptor_jax, orbax.checkpoint' 2>/dev/null; then
    . scripts/environment.sh .venv
    echo "installing raptor_jax and what it needs into .venv"
    python -m pip install --quiet --editable '.[cuda12]'
fi

if command -v nvidia-smi >/dev/null; then nvidia-smi -q >"$OUTPUT/nvidia-smi.txt"; fi
EVERYTHING=(--precision float32 tensorfloat32 bfloat16)
python3 -m benchmarks.throughput "${EVERYTHING[@]}" --teachers "$@" --whole-run "${@: -1}" \
    --seconds "${SECONDS_A_TURN:-5}" --json "$OUTPUT/throughput.json" | tee "$OUTPUT/throughput.md"
# Calls as long as a run's would make profiles that nothing opens.
python3 -m benchmarks.throughput "${EVERYTHING[@]}" --teachers "${@: -1}" --chunk-updates 20 --seconds 0 \
    --profile "$OUTPUT/profile" --json "$OUTPUT/profile.json"
echo "results: $OUTPUT"
