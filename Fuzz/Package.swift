// swift-tools-version: 6.2
import PackageDescription

// The fuzz targets of the APNs client: see README.md. The client's sources are symbolic links into the main package, so
// that they are built with the fuzzer's instrumentation and package access. The executables have no main: libFuzzer
// provides it, and a plain build cannot link them.

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

func fuzzer(_ name: String) -> Target {
    .executableTarget(name: name, dependencies: ["FuzzTargets"], swiftSettings: settings)
}

let package = Package(
    name: "godwit-fuzz",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    ],
    targets: [
        fuzzer("FuzzErrorBody"),
        fuzzer("FuzzGoAway"),
        fuzzer("FuzzFrames"),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "APNSKit", "APNSWire", "HTTP2Session", .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "APNSKit",
            dependencies: [
                "APNSWire", "HTTP2Session", "JSONText",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOExtras", package: "swift-nio-extras"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ],
            path: "Sources/APNS/APNSKit",
            swiftSettings: settings
        ),
        .target(
            name: "APNSWire", dependencies: ["JSONText"], path: "Sources/APNS/APNSWire", swiftSettings: settings
        ),
        .target(
            name: "HTTP2Session", dependencies: ["CNGHTTP2"], path: "Sources/APNS/HTTP2Session",
            swiftSettings: settings
        ),
        .target(name: "JSONText", path: "Sources/APNS/JSONText", swiftSettings: settings),
        .systemLibrary(name: "CNGHTTP2", path: "Sources/APNS/CNGHTTP2", pkgConfig: "libnghttp2"),
    ]
)
