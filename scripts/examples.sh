#!/usr/bin/env bash
# Builds the package in Examples as a user would, runs each of its programs against `godwit simulate`, and checks what the
# simulator received.
#
#   scripts/examples.sh [COUNT]     pushes that SendMillion sends, default 20000
#
# The package has its own build folder (.build-examples), in which all libraries are built again. GODWIT names an existing
# `godwit` executable; without it the script builds one.
set -euo pipefail
cd "$(dirname "$0")/.."

count="${1:-20000}"
if [ -z "${GODWIT:-}" ]; then
    flags=(--explicit-target-dependency-import-check error)
    swift build "${flags[@]}" --product godwit
    GODWIT="$(swift build "${flags[@]}" --show-bin-path)/godwit"
fi
examples=(--package-path Examples --scratch-path .build-examples)
swift build "${examples[@]}"
bin="$(swift build "${examples[@]}" --show-bin-path)"

folder="$(mktemp -d)"
"$GODWIT" simulate --port 0 --control-port 0 --channel-port 0 --directory "$folder" >"$folder/out" 2>&1 &
simulator=$!
trap 'kill "$simulator" 2>/dev/null || true; wait "$simulator" 2>/dev/null || true; rm -rf "$folder"' EXIT

# PATTERN: the port of the address that follows the pattern in the output of the simulator.
port_of() { sed -nE "s#.*$1 (on )?https?://[^ :,]+:([0-9]+).*#\2#p" "$folder/out" | head -n 1; }
for _ in $(seq 1 300); do
    [ -z "$(port_of 'phones are at')" ] || break
    kill -0 "$simulator" || { cat "$folder/out" >&2; exit 1; }
    sleep 0.1
done
control="http://127.0.0.1:$(port_of control)"

export APNS_KEY_FILE="$folder/AuthKey.p8" APNS_KEY_ID=DEMOKEY000 APNS_TEAM_ID=DEMOTEAM00
export APNS_BUNDLE_ID=com.example.app APNS_HOST=localhost APNS_CA_FILE="$folder/ca.pem"
APNS_PORT="$(port_of APNs)"
APNS_CHANNEL_PORT="$(port_of 'channel management')"
export APNS_PORT APNS_CHANNEL_PORT

# WHAT EXPECTED ACTUAL
expect() {
    [[ "$3" == *"$2"* ]] || { echo "examples: $1: expected $2, got: $3" >&2; exit 1; }
    echo "examples: $1: ok"
}
taken() { curl -sf "$control/counters" | python3 -c 'import json, sys; print("taken", json.load(sys.stdin)["taken"])'; }

token="$(printf 'ab%.0s' $(seq 1 32))"
expect SendOne accepted "$("$bin/SendOne" "$token" 'Tea is ready')"
expect 'SendOne arrived' 'taken 1' "$(taken)"
curl -sf -X PUT "$control/tokens/$token" -d '{"state": "unregistered", "timestamp": 1700000000000}' >/dev/null
expect 'SendOne to a dead token' tokenIsDead "$("$bin/SendOne" "$token" 'Tea is ready')"
curl -sf -X DELETE "$control/tokens/$token" >/dev/null
expect SendMillion "$count accepted, 0 not sent, 0 unknown, 0 tokens dead" "$("$bin/SendMillion" "$count" Sale 2>/dev/null)"
expect 'SendMillion arrived' "taken $((count + 1))" "$(taken)"
expect LiveActivity 'end: 200 accepted' "$("$bin/LiveActivity" "$token" "$token")"
expect Channel 'listed 1, deleted' "$("$bin/Channel")"
if "$bin/SendOne" 2>"$folder/error"; then echo "examples: SendOne without a token must fail" >&2; exit 1; fi
expect 'a mistake is explained' 'device token' "$(cat "$folder/error")"
