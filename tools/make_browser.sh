#!/usr/bin/env bash
# Install Chromium and its driver for the browser test of the web demo:   bash tools/make_browser.sh
# Debian's packages (Debian, or Ubuntu with them), root rights, about 20 seconds. Without it that test is skipped.
set -euo pipefail

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo '[browser] not installed: this needs apt-get and root rights. Install chromium and chromedriver yourself.' >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
quick=(-o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o DPkg::Lock::Timeout=20)
install() { apt-get "${quick[@]}" install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; }
# lists of packages may be old or missing
install 2>/dev/null || { apt-get "${quick[@]}" update -qq && install; }
echo "[browser] $(chromium --version 2>/dev/null)"
