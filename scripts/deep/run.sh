#!/usr/bin/env bash
# Runs the checks that are too long for CI, one after the other, and prints a table of their results.
#
#   sudo scripts/deep/run.sh              all of them: about an hour on two cores
#   sudo scripts/deep/run.sh NAME ...     some of them; the names are in the list below
#
# RELEASE_DIR=FOLDER holds godwit and godwit-lab to run; otherwise the debug build. The list with times is in
# docs/explanation/verification.md. Logs are in .build/deep/NAME.log.
#
# Exit status: 0 when no check failed. A check that this machine cannot run is "skipped" in the table.
set -euo pipefail
cd "$(dirname "$0")/../.."

flags=(--explicit-target-dependency-import-check error)
if [ -z "${RELEASE_DIR:-}" ]; then
    swift build "${flags[@]}"
    bin="$(swift build "${flags[@]}" --show-bin-path)"
else
    bin="$(cd "$RELEASE_DIR" && pwd)"
    export RELEASE_DIR="$bin"
fi

# The quick ones first.
all=(consumer systemd container connections mutated-requests simulation bit-flips vm-power-cut power-cut torture examples fuzz crash-points sanitizers)

check() {
    case "$1" in
        consumer) scripts/consumer.sh ;;
        systemd) scripts/deep/systemd.py ;;
        container) scripts/deep/container.py ;;
        connections) scripts/deep/connections.py ;;
        mutated-requests) for seed in 1 2 3; do scripts/deep/mutated_requests.py 6000 "$seed" || return; done ;;
        simulation) "$bin/godwit-lab" simulate-path --first 1001 --seeds 20000 ;;
        bit-flips) scripts/bit-flips.sh ;;
        vm-power-cut) scripts/deep/vm_power_cut.py ;;
        power-cut) scripts/power-cut.sh 10 ;;
        torture) for seed in 5 11 21 31 41; do "$bin/godwit-lab" torture --seed "$seed" || return; done ;;
        examples) GODWIT="$bin/godwit" scripts/examples.sh ;;
        fuzz) for target in ErrorBody GoAway Frames; do scripts/fuzz.sh "$target" 120 || return; done ;;
        crash-points) scripts/crash-points.sh ;;
        sanitizers) scripts/sanitize.sh thread && scripts/sanitize.sh address ;;
        *) echo "run.sh: no check is named $1; there are: ${all[*]}" >&2; return 2 ;;
    esac
}

[ $# -gt 0 ] || set -- "${all[@]}"
mkdir -p .build/deep
failed=0
table=()
for name in "$@"; do
    echo "== $name"
    start=$SECONDS status=0
    check "$name" >".build/deep/$name.log" 2>&1 || status=$?
    case $status in
        0) result=passed ;;
        77) result="skipped: $(tail -n 1 ".build/deep/$name.log")" ;;
        *) result="FAILED with status $status"; failed=1; tail -n 30 ".build/deep/$name.log" ;;
    esac
    table+=("$(printf '%-14s %5d s  %s' "$name" $((SECONDS - start)) "$result")")
done
printf '%s\n' "${table[@]}"
exit "$failed"
