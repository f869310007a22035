#!/usr/bin/env bash
# ODinW in several processes: bash tools/dist_odinw.sh CONFIG CHECKPOINT PROCESSES [options of tools/odinw.py]
# One process per GPU; without a GPU the processes share the cores.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "Usage: $0 CONFIG CHECKPOINT PROCESSES [options of tools/odinw.py]   (variables: NNODES NODE_RANK MASTER_ADDR PORT PYTHON)"
    [ "${1:-}" = --help ] || [ "${1:-}" = -h ] && exit 0 || exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
config="$1" checkpoint="$2" processes="$3"
shift 3
launch odinw.py "$processes" "$config" "$checkpoint" --launcher pytorch "$@"
