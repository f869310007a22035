#!/usr/bin/env bash
# Evaluate in several processes: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]
# One process per GPU; without a GPU the processes share the cores.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "Usage: $0 CONFIG CHECKPOINT PROCESSES [options of tools/test.py]   (variables: NNODES NODE_RANK MASTER_ADDR PORT PYTHON)"
    [ "${1:-}" = --help ] || [ "${1:-}" = -h ] && exit 0 || exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
config="$1" checkpoint="$2" processes="$3"
shift 3
launch test.py "$processes" "$config" "$checkpoint" --launcher pytorch "$@"
