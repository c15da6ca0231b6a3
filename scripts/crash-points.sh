#!/usr/bin/env bash
# kill -9 at each of the gateway's first 200 calls to the disk, by strace; then a restart, and a count of what was lost.
#   scripts/crash-points.sh          # all of them: about a quarter of an hour on two cores
#   scripts/crash-points.sh 30-60    # some
# Exit status: 0 when nothing was lost and nothing was sent that nobody asked for.
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
