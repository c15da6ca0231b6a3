#!/usr/bin/env bash
# Builds the documentation of the three library products with DocC; a warning is an error.
#
#   scripts/docs.sh [FOLDER]     default: .build/docs, one static site for each product below it
#
# Symbol graphs come from `swift package`, DocC from the toolchain: no plugin is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

out="${1:-.build/docs}"
swift package dump-symbol-graph --minimum-access-level public --skip-synthesized-members >/dev/null
graphs="$(dirname "$(find .build/ -path '*/symbolgraph/APNSKit.symbols.json' -print -quit)")"

rm -rf "$out"
failed=0
for product in APNSWire APNSKit APNSSimulator; do
    alone="$out/.graphs/$product"
    mkdir -p "$alone"
    cp "$graphs/$product.symbols.json" "$alone/"
    scripts/undocumented.py "$alone/$product.symbols.json" || failed=1
    docc convert "Sources/APNS/$product/$product.docc" --additional-symbol-graph-dir "$alone" \
        --fallback-display-name "$product" --fallback-bundle-identifier "godwit.$product" \
        --output-dir "$out/$product" >"$alone/log" 2>&1 || { cat "$alone/log" >&2; exit 1; }
    # DocC warns about every undocumented parameter as soon as one is documented; parameters with clear names need no text.
    if grep -E '(warning|error):' -A 3 "$alone/log" | grep -vE "Parameter '[A-Za-z]+' is missing documentation" |
        grep -E '(warning|error):' -A 3 >&2; then
        failed=1
    fi
done
rm -rf "$out/.graphs"
[ "$failed" = 0 ] || { echo "docs.sh: the documentation has the problems listed above" >&2; exit 1; }
echo "documentation: $out"
