#!/usr/bin/env bash
# Damages the store of a killed gateway in many places, one at a time, and starts a gateway on each copy: flips a bit, or cuts the
# file, of the database or of its write-ahead log.
#
#   scripts/bit-flips.sh              76 places
#   scripts/bit-flips.sh 200 7        200 places with seed 7
#
# The start may be refused with a message. If it is not, no push may reach another device or with another payload, and each
# acknowledged push has an outcome, or a message says that some are missing.
# Exit status: 0 when that holds, 1 when it does not.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${RELEASE_DIR:-}" ]; then
    swift build --explicit-target-dependency-import-check error --product godwit
    RELEASE_DIR="$(swift build --show-bin-path)"
fi
exec python3 -B scripts/bit-flips.py "$RELEASE_DIR/godwit" "${1:-76}" "${2:-$RANDOM}"
