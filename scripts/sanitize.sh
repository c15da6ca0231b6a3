#!/usr/bin/env bash
# Runs the tests of the APNs modules under a sanitizer.
#
#   scripts/sanitize.sh thread | address [FILTER]
#
# It builds only those modules: .build-SANITIZER/package is a package of links to this one, whose manifest drops the other
# targets. The first build takes some minutes and 1 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

sanitizer=${1:-}
filter=${2:-'^(HTTP2Session|APNSWire|APNSKit|APNSSimulator)Tests\.'}
case "$sanitizer" in
    thread | address) ;;
    *) echo "usage: $0 thread | address [FILTER]" >&2; exit 2 ;;
esac

folder="$PWD/.build-$sanitizer"
mkdir -p "$folder/package"
ln -sfn "$PWD/Sources" "$folder/package/Sources"
ln -sfn "$PWD/Tests" "$folder/package/Tests"
ln -sfn "$PWD/docs" "$folder/package/docs"
ln -sfn "$PWD/scripts" "$folder/package/scripts"
if [ -e Fuzz ]; then ln -sfn "$PWD/Fuzz" "$folder/package/Fuzz"; fi
if [ -e Package.resolved ]; then cp Package.resolved "$folder/package/"; fi
manifest="$folder/package/Package.swift"
{
    cat Package.swift
    cat <<'EOF'

let modules: Set = [
    "APNSKit", "APNSSimulator", "APNSWire", "CNGHTTP2", "HTTP2Session", "JSONText", "PushTesting",
    "APNSKitTests", "APNSSimulatorTests", "APNSWireTests", "HTTP2SessionTests",
]
package.products.removeAll { !modules.contains($0.name) }
package.targets.removeAll { !modules.contains($0.name) }
EOF
} >"$manifest.new"
# An unchanged manifest stays in place, because SwiftPM would compile a new one again.
if cmp -s "$manifest.new" "$manifest"; then rm "$manifest.new"; else mv "$manifest.new" "$manifest"; fi

# Tests that measure the process allow for the sanitizer's own memory when this is set.
export GODWIT_SANITIZER="$sanitizer"
# ThreadSanitizer does not see how Swift's Mutex hands over a contended lock on Linux (Swift 6.3: two threads and one Mutex
# show it), so a "Swift access race" between two closures of one `withLock` is a false alarm. Any other report is real.
export TSAN_OPTIONS="halt_on_error=0:exitcode=66${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
# Swift's runtime and XCTest keep their caches until the end, so leak detection would report those.
export ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

swift=(--package-path "$folder/package" --scratch-path "$folder/build" --sanitize="$sanitizer")
nice swift build "${swift[@]}" --build-tests
nice swift test "${swift[@]}" --disable-xctest --skip-build --no-parallel --filter "$filter"
