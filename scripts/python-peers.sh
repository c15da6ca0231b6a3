#!/usr/bin/env bash
# Creates the Python environment in which the foreign HTTP/2 peers of the tests run, and prints its interpreter.
#
#   scripts/python-peers.sh
#
# The environment is .build/tests/python-peers, with the package versions below. The script does nothing when it exists. Several
# calls may run concurrently: one works, the others wait for it.
set -euo pipefail
# Resolved, so that a symbolic link to the scripts folder also finds this repository.
cd "$(dirname "$(readlink -f "$0")")/.."

packages=(h2==4.3.0 hpack==4.1.0 hyperframe==6.1.0)

folder="$PWD/.build/tests/python-peers"
made="$folder/made-from"
mkdir -p .build/tests
exec 9>.build/tests/python-peers.lock
flock 9
# Another user may have made it with an interpreter that this one cannot start.
if [ "$(cat "$made" 2>/dev/null)" != "${packages[*]}" ] || ! "$folder/bin/python" -c "" 2>/dev/null; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps "${packages[@]}"
    echo "${packages[*]}" >"$made"
fi
echo "$folder/bin/python"
