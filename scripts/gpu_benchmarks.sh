#!/usr/bin/env bash
# On a machine with a GPU, all that its speed table needs, into the directory that the first argument names: the compiled
# program with its predicted and its measured time, each setting's speed and memory with a profile, and a main round.
#     scripts/gpu_benchmarks.sh DIRECTORY [TEACHERS ...]
# Without numbers of teachers it takes 1000, in float32, and takes about 7 minutes: estimated from the compilations and
# the main round that were measured on an H200. All that there is takes an hour or more:
#     CONFIGS="$(echo configs/{pre_training,model_free,raptor_reference}.yaml)" \
#         PRECISIONS="float32 tensorfloat32 bfloat16" scripts/gpu_benchmarks.sh DIRECTORY 1 4 16 64 256 1000
# The last number of teachers is that of the compiled program and of the main round. For a trial anywhere:
#     SECONDS_A_TURN=0.1 CONFIGS=configs/quickstart.yaml scripts/gpu_benchmarks.sh trial 1
set -euo pipefail
if [ $# = 0 ]; then
    echo "error: name the directory for the results: $0 DIRECTORY [TEACHERS ...]" >&2
    exit 2
fi
mkdir -p "$1"
OUTPUT=$(cd "$1" && pwd)
shift
[ $# != 0 ] || set -- 1000
cd "$(dirname "$0")/.."
if ! python3 -c 'import raptor_jax, orbax.checkpoint' 2>/dev/null; then
    . scripts/environment.sh .venv
    echo "installing raptor_jax and what it needs into .venv"
    python -m pip install --quiet --editable '.[cuda12]'
fi
read -ra PRECISION <<<"${PRECISIONS:-float32}"
read -ra CONFIG <<<"${CONFIGS:-configs/pre_training.yaml configs/raptor_reference.yaml}"

if command -v nvidia-smi >/dev/null; then nvidia-smi -q >"$OUTPUT/nvidia-smi.txt"; fi
if python3 -c 'from benchmarks import gpu_cards; raise SystemExit(gpu_cards.plugin() is None)'; then
    python3 -m benchmarks.gpu_program --teachers "${@: -1}" --settings "${CONFIG[0]}" \
        --json "$OUTPUT/gpu_program.json" | tee "$OUTPUT/gpu_program.md"
else
    echo "the compiled program is left out: it needs the extra cuda12 or cuda13"
fi
# Calls as long as a run's would make profiles that nothing opens.
python3 -m benchmarks.throughput --configs "${CONFIG[@]}" --precision "${PRECISION[@]}" --teachers "$@" \
    --main-round "${@: -1}" --seconds "${SECONDS_A_TURN:-2}" --chunk-updates 200 --profile "$OUTPUT/profile" \
    --json "$OUTPUT/throughput.json" | tee "$OUTPUT/throughput.md"
echo "results: $OUTPUT"
