#!/usr/bin/env bash
# Kills the gateway (kill -9, by strace) at each of its first 200 disk calls, restarts it and counts lost pushes.
#
#   scripts/crash-points.sh          all points: about 15 minutes on two cores
#   scripts/crash-points.sh 30-60    some of them
#
# Exit status: 0 when no push was lost and APNs received no push that was not accepted.
set -euo pipefail
cd "$(dirname "$0")/.."
points="${1:-1-200}"
if ! [[ "$points" =~ ^[0-9]+-[0-9]+$ ]]; then
    echo "usage: scripts/crash-points.sh [FIRST-LAST]" >&2
    exit 2
fi
if ! command -v strace >/dev/null; then
    echo "crash-points.sh: strace is not installed; scripts/install-deps.sh --test installs it" >&2
    exit 77
fi
flags=(--explicit-target-dependency-import-check error)
swift build "${flags[@]}" --build-tests
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
status=0
CRASH_POINTS="$points" swift test "${flags[@]}" --skip-build --no-parallel --filter 'A crash at a disk call' \
    >"$log" 2>&1 || status=$?
grep '^crash point' "$log" || { tail -50 "$log" >&2; exit 1; }
if [ "$status" -ne 0 ]; then grep -E 'recorded an issue|Expectation failed' "$log" >&2 || tail -50 "$log" >&2; fi
exit "$status"
