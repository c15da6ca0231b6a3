#!/bin/sh
# Installs foreign APNs and HTTP/2 clients for Python into .build/tests/foreign, for the tests of the simulator, and prints the
# path of that Python. It does nothing when they are installed already.
set -eu
cd "$(dirname "$0")/.."
folder="$(pwd)/.build/tests/foreign"
if ! [ -x "$folder/bin/python" ] || ! "$folder/bin/python" -c 'import aioapns, httpx, h2' 2>/dev/null; then
    python3 -m venv "$folder" >&2
    "$folder/bin/python" -m pip install -q --disable-pip-version-check 'aioapns==4.0' 'httpx[http2]==0.28.1' h2 >&2
fi
echo "$folder/bin/python"
