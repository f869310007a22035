#!/usr/bin/env bash
# Run the fast tests on the OneDL forks: bash tools/test_with_onedl.sh [arguments of pytest]
# Makes .venv-onedl beside .venv (variable ONEDL_VENV: another folder) with onedl-mmengine, onedl-mmcv and
# onedl-mmdetection in place of mmengine, mmcv-lite and mmdet, everything else as in constraints.txt. A second call only
# runs the tests. PYTHON chooses the interpreter. Without arguments: tests of the models and of the repairs in compat/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"
    exit 0
fi

forks=(onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmdetection==3.5.1)
venv="${ONEDL_VENV:-.venv-onedl}"
python="$venv/bin/python"
stamp="$venv/.ready"
fingerprint="${forks[*]} $(cat constraints.txt setup.py | cksum)"

if ! { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ] && "$python" -c '' 2>/dev/null; }; then
    rm -f "$stamp"
    "$python" -c '' 2>/dev/null || "${PYTHON:-python3}" -m venv --clear "$venv"
    pip=("$python" -m pip install --disable-pip-version-check -q -c constraints.txt)
    # torch and what else is needed; the package itself is found through PYTHONPATH
    "${pip[@]}" torch torchvision 'setuptools<81'
    # onedl-mmcv is a source archive; built apart from torch, as pip does by default, it compiles nothing
    "${pip[@]}" "${forks[@]}"
    "$python" setup.py -q egg_info --egg-base "$venv"
    "${pip[@]}" -r <(sed '/^\[/,$d' "$venv/glipv2_mmdet.egg-info/requires.txt") pytest hypothesis webdataset lvis
    if ! "$python" -c 'import cv2' >/dev/null 2>&1; then    # no libGL
        "$python" -m pip uninstall -q -y opencv-python
        "${pip[@]}" --no-deps --force-reinstall opencv-python-headless
    fi
    printf '%s\n' "$fingerprint" > "$stamp"
fi

export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
"$python" -m pip list --disable-pip-version-check 2>/dev/null | grep -i -E '^(onedl|torch|transformers|mm)'
if [ $# -eq 0 ]; then
    set -- tests/test_models tests/test_compat -m 'not slow and not distributed and not parity'
fi
exec "$python" -m pytest "$@"
