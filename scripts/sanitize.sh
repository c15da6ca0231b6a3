#!/usr/bin/env bash
# Runs the tests of the APNs rooms under a sanitizer.
#
#   scripts/sanitize.sh thread | address [FILTER]
#
# Only those rooms are built: a package that links to this one, with a manifest that forgets the other targets, lies in
# .build-SANITIZER/package. A first build takes some minutes and 1 GB.
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

let rooms: Set = [
    "APNSKit", "APNSSimulator", "APNSWire", "CNGHTTP2", "HTTP2Session", "JSONText", "PushTesting",
    "APNSKitTests", "APNSSimulatorTests", "APNSWireTests", "HTTP2SessionTests",
]
package.products.removeAll { !rooms.contains($0.name) }
package.targets.removeAll { !rooms.contains($0.name) }
EOF
} >"$manifest.new"
# Left as it is when nothing has changed: a new manifest would be compiled again.
if cmp -s "$manifest.new" "$manifest"; then rm "$manifest.new"; else mv "$manifest.new" "$manifest"; fi

# Tests that measure the process leave room for a sanitizer's own needs when they see this.
export GODWIT_SANITIZER="$sanitizer"
# ThreadSanitizer does not see how Swift's Mutex hands over a contended lock on Linux (Swift 6.3: two threads and one Mutex
# are enough), so "Swift access race" between two closures of one `withLock` is none. Anything else is.
export TSAN_OPTIONS="halt_on_error=0:exitcode=66${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
# Swift's runtime keeps what it caches until the end, and so does XCTest: leaks are looked for elsewhere.
export ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

swift=(--package-path "$folder/package" --scratch-path "$folder/build" --sanitize="$sanitizer")
nice swift build "${swift[@]}" --build-tests
nice swift test "${swift[@]}" --disable-xctest --skip-build --no-parallel --filter "$filter"
