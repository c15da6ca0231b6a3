#!/usr/bin/env bash
# Checks what a package that depends on this one resolves and builds: with `traits: []`, no part of the gateway.
#
#   scripts/consumer.sh [COUNT]     the most packages that the libraries alone may need, default 10
#
# Makes a new package in a temporary folder for each list of traits, prints how many packages it resolves, and runs a program
# that uses APNSWire.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
most="${1:-10}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

# NAME TRAITS: makes the package NAME, and lists the identities of the packages that it resolves.
resolve() {
    mkdir -p "$folder/$1/Sources/App"
    cat >"$folder/$1/Package.swift" <<PACKAGE
// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "app",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "godwit", path: "$root"$2)],
    targets: [
        .executableTarget(
            name: "App",
            dependencies: [.product(name: "APNSWire", package: "godwit")]
        )
    ]
)
PACKAGE
    cat >"$folder/$1/Sources/App/App.swift" <<'PROGRAM'
import APNSWire

@main struct App {
    static func main() throws {
        print(String(decoding: try APNSPayload(alert: "Tea is ready").encoded(), as: UTF8.self))
    }
}
PROGRAM
    swift package --package-path "$folder/$1" resolve >/dev/null 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
    sed -nE 's/.*"identity" : "(.*)",?$/\1/p' "$folder/$1/Package.resolved"
}

# NAME TRAITS FORBIDDEN: fails if a package whose name matches FORBIDDEN is resolved.
expect() {
    resolve "$1" "$2" >"$folder/$1.list"
    echo "consumer: $1: $(wc -l <"$folder/$1.list") packages"
    if grep -E "^($3)$" "$folder/$1.list" >&2; then echo "consumer: $1: the packages above are not needed" >&2; exit 1; fi
}

expect defaults '' none
expect libraries ', traits: []' 'grdb.swift|hummingbird|swift-nio-(extras|http2)|swift-service-lifecycle|swift-protobuf|async-http-client'
expect service ', traits: ["ServiceLifecycleSupport"]' 'grdb.swift|hummingbird|swift-protobuf|async-http-client'
expect simulator ', traits: ["SimulatorControl"]' 'grdb.swift|swift-protobuf'
count="$(wc -l <"$folder/libraries.list")"
[ "$count" -le "$most" ] || { echo "consumer: the libraries need $count packages, more than $most" >&2; exit 1; }
[ "$count" -lt "$(wc -l <"$folder/defaults.list")" ] || { echo "consumer: the traits save no package" >&2; exit 1; }

output="$(swift run --package-path "$folder/libraries" App 2>"$folder/log")" || { cat "$folder/log" >&2; exit 1; }
[ "$output" = '{"aps":{"alert":"Tea is ready"}}' ] || { echo "consumer: unexpected output: $output" >&2; exit 1; }
echo "consumer: a program with APNSWire: ok"
