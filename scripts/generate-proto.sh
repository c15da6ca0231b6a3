#!/usr/bin/env bash
# Generates the Swift code of proto/godwit/v1. Run it after a change of a .proto file, and commit the result.
#
# It needs protoc (Debian: protobuf-compiler) and builds protoc-gen-swift of the swift-protobuf package once, in
# .build-proto, which takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v protoc >/dev/null || { echo "generate-proto.sh: protoc is not installed (Debian: protobuf-compiler)" >&2; exit 1; }
swift package resolve >/dev/null
build=(--package-path .build/checkouts/swift-protobuf --scratch-path "$PWD/.build-proto" -c release)
swift build "${build[@]}" --product protoc-gen-swift
plugin="$(swift build "${build[@]}" --show-bin-path)/protoc-gen-swift"

# FILE FOLDER
generate() {
    mkdir -p "$2"
    protoc --plugin="$plugin" --proto_path=proto/godwit/v1 --swift_opt=Visibility=Package \
        --swift_opt=UseAccessLevelOnImports=true --swift_out="$2" "$1"
}
generate batch.proto Sources/Push/PushStore/StoredForm/Generated
generate response.proto Sources/Push/PushAccept/Idempotency/Generated
