// swift-tools-version: 6.2
import PackageDescription

// A package of its own, as yours would be. Take the files of Sources/Recipes that you need; in your package, name Godwit by
// its URL instead of its path.

let package = Package(
    name: "godwit-examples",
    platforms: [.macOS(.v15)],
    dependencies: [
        // Only these traits, not those of the gateway and its dependencies.
        .package(name: "godwit", path: "..", traits: ["ServiceLifecycleSupport"]),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .target(
            name: "Recipes",
            dependencies: [
                .product(name: "APNSKit", package: "godwit"),
                .product(name: "APNSWire", package: "godwit"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),
        .target(
            name: "Servers",
            dependencies: [
                .product(name: "APNSKit", package: "godwit"),
                .product(name: "APNSWire", package: "godwit"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]
        ),
        .executableTarget(name: "SendOne", dependencies: ["Recipes"]),
        .executableTarget(name: "SendMillion", dependencies: ["Recipes"]),
        .executableTarget(name: "LiveActivity", dependencies: ["Recipes"]),
        .executableTarget(name: "Channel", dependencies: ["Recipes"]),
    ]
)
