#!/usr/bin/env bash
# Creates the Python environment of the browser tests under .build/tests, once per version of requirements.txt, and prints the
# path of its Python. The browser is the system's chromium, which scripts/install-deps.sh --test installs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
wanted=$(sha256sum "$here/requirements.txt" | cut -c 1-12)
folder="$root/.build/tests/browser-$wanted"

# Another user may have made it with an interpreter that this one cannot start.
if [ ! -e "$folder/ready" ] || ! "$folder/bin/python" -c "" 2>/dev/null; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
    touch "$folder/ready"
fi
echo "$folder/bin/python"
