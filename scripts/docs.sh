#!/usr/bin/env bash
# Builds the documentation of the three library products with DocC; a warning is an error.
#
#   scripts/docs.sh [FOLDER]     default: .build/docs, one static site for each product below it
#
# Symbol graphs come from `swift package`, DocC from the toolchain: no plugin is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

out="${1:-.build/docs}"
products=(APNSWire APNSKit APNSSimulator)

swift package dump-symbol-graph --minimum-access-level public --skip-synthesized-members >/dev/null
graphs="$(dirname "$(find .build/ -path '*/symbolgraph/APNSKit.symbols.json' -print -quit)")"

rm -rf "$out"
for product in "${products[@]}"; do
    alone="$out/.graphs/$product"
    mkdir -p "$alone"
    cp "$graphs/$product"*.symbols.json "$alone/"
    scripts/undocumented.py "$alone/$product.symbols.json"
    docc convert "Sources/APNS/$product/$product.docc" --additional-symbol-graph-dir "$alone" \
        --fallback-display-name "$product" --fallback-bundle-identifier "godwit.$product" \
        --warnings-as-errors --output-dir "$out/$product"
done
rm -rf "$out/.graphs"
echo "documentation: $out"
