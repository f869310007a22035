# Shared by dist_train.sh and dist_test.sh: run SCRIPT in N processes on this machine. Sourced, not called.
#
# Variables as in MMDetection: NNODES, NODE_RANK, MASTER_ADDR, PORT. Also PYTHON, the interpreter to use (default: the
# active virtual environment's, else .venv of this repository, else python).

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

choose_python() {
    if [ -n "${PYTHON:-}" ]; then echo "$PYTHON"
    elif [ -n "${VIRTUAL_ENV:-}" ]; then echo "$VIRTUAL_ENV/bin/python"
    elif [ -x "$repository/.venv/bin/python" ]; then echo "$repository/.venv/bin/python"
    else echo python
    fi
}

# The usual port, or a free one when another run on this machine has it. Several machines must agree on a port, so
# there nothing is chosen.
choose_port() {
    if [ -n "${PORT:-}" ]; then echo "$PORT"
    elif [ "$NNODES" != 1 ]; then echo 29500
    else
        "$python" - <<'PYTHON_CODE'
import socket

for port in (29500, 0):
    with socket.socket() as probe:
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            continue
        print(probe.getsockname()[1])
        break
PYTHON_CODE
    fi
}

# launch SCRIPT NUM_PROCESSES [arguments of the script...]
launch() {
    local script="$1" processes="$2"
    shift 2
    case "$processes" in
        ''|*[!0-9]*|0) echo "Number of processes is '$processes'; expected a whole number from 1." >&2; exit 2 ;;
    esac
    NNODES="${NNODES:-1}"
    python="$(choose_python)"
    local port cores
    port="$(choose_port)"
    # without this every process starts as many threads as there are cores, and they fight over them
    if [ -z "${OMP_NUM_THREADS:-}" ]; then
        cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
        export OMP_NUM_THREADS="$((cores / processes > 0 ? cores / processes : 1))"
    fi
    export MKL_NUM_THREADS="${MKL_NUM_THREADS:-$OMP_NUM_THREADS}"
    PYTHONPATH="$repository${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m torch.distributed.run \
        --nnodes="$NNODES" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="$port" \
        --nproc_per_node="$processes" \
        "$repository/tools/$script" "$@"
}
