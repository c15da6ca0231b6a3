#!/usr/bin/env bash
# Runs a fuzz target of the APNs client.
#
#   scripts/fuzz.sh TARGET SECONDS [LIBFUZZER-OPTION ...]      TARGET: ErrorBody, GoAway, Frames
#
# It starts from Fuzz/corpus/TARGET. New inputs go to .build-fuzz/corpus/TARGET; inputs that break a promise go to
# Fuzz/corpus/TARGET/crash-*, where the tests find them. Fuzz/README.md shows how to minimise such an input first.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-}
seconds=${2:-}
case "$target" in
    ErrorBody | GoAway | Frames) ;;
    *) echo "usage: $0 ErrorBody | GoAway | Frames SECONDS [LIBFUZZER-OPTION ...]" >&2; exit 2 ;;
esac
case "$seconds" in
    "" | *[!0-9]*) echo "usage: $0 TARGET SECONDS [LIBFUZZER-OPTION ...]" >&2; exit 2 ;;
esac
shift 2

build=(--package-path Fuzz --scratch-path .build-fuzz/build -c release --sanitize=fuzzer -Xswiftc -parse-as-library)
nice swift build "${build[@]}" --product "Fuzz$target"
folder=$(swift build "${build[@]}" --show-bin-path)
# Otherwise Swift's crash reports keep libFuzzer from writing the input.
export SWIFT_BACKTRACE=enable=no
mkdir -p ".build-fuzz/corpus/$target"
nice "$folder/Fuzz$target" ".build-fuzz/corpus/$target" "Fuzz/corpus/$target" \
    -max_total_time="$seconds" -artifact_prefix="Fuzz/corpus/$target/" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 "$@"
