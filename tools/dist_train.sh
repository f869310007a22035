#!/usr/bin/env bash
# Train in several processes: bash tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# One process per GPU; without a GPU the processes share the cores.
set -euo pipefail
if [ $# -lt 2 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
    echo "Usage: $0 CONFIG PROCESSES [options of tools/train.py]   (variables: NNODES NODE_RANK MASTER_ADDR PORT PYTHON)"
    [ "${1:-}" = --help ] || [ "${1:-}" = -h ] && exit 0 || exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
config="$1" processes="$2"
shift 2
launch train.py "$processes" "$config" --launcher pytorch "$@"
