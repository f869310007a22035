#!/usr/bin/env bash
# Make .venv-peer, where mmdet 3.3's own GLIP runs: bash benchmarks/peer/make_env.sh
# It sees the packages of .venv (torch, mmengine, mmcv-lite, mmdet) and has only what must differ of its own: the last
# transformers that mmdet 3.3's GLIP builds with. About 100 MB. PYTHON names the interpreter of another environment
# to see, given constraints.txt is what that one was made from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

base_python="${PYTHON:-.venv/bin/python}"
peer_python=.venv-peer/bin/python

"$base_python" -c 'import mmdet, torch' 2>/dev/null || {
    echo "[peer] error: '$base_python' has no torch and mmdet. Run 'make env' first, or set PYTHON." >&2
    exit 1
}
base_packages="$("$base_python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
"$base_python" -m venv --clear .venv-peer
own_packages="$("$peer_python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
# a path file is read after the folder it lies in, so packages installed below win over those of .venv
printf '%s\n' "$base_packages" > "$own_packages/base_environment.pth"
"$peer_python" -m pip install --disable-pip-version-check -q -r benchmarks/peer/requirements.txt
"$peer_python" -W ignore -c '
import torch, transformers
from transformers.modeling_utils import apply_chunking_to_forward
print("[peer] transformers", transformers.__version__, "and torch", torch.__version__, "are ready")'
