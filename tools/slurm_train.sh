#!/usr/bin/env bash
# Train as a Slurm job: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# Variables: GPUS (all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS, PYTHON.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "Usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]   (variables: GPUS GPUS_PER_NODE CPUS_PER_TASK SRUN_ARGS PYTHON)"
    [ "${1:-}" = --help ] || [ "${1:-}" = -h ] && exit 0 || exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
partition="$1" job_name="$2" config="$3" work_dir="$4"
shift 4
gpus="${GPUS:-8}"
gpus_per_node="${GPUS_PER_NODE:-8}"
# a job smaller than a node asks for no more than it uses
[ "$gpus" -lt "$gpus_per_node" ] && gpus_per_node="$gpus"

# SRUN_ARGS is a list of words on purpose
# shellcheck disable=SC2086
PYTHONPATH="$repository${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$partition" \
    --job-name="$job_name" \
    --gres="gpu:$gpus_per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "$(choose_python)" -u "$repository/tools/train.py" "$config" --work-dir "$work_dir" --launcher slurm "$@"
