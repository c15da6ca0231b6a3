// swift-tools-version: 6.2
import PackageDescription

// The modules, top to bottom. docs/explanation/architecture.md has the table of module dependencies; a test compares it with
// this file.

/// The examples are built as an application builds them, without upcoming features.
let exampleSettings: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let settings: [SwiftSetting] =
    exampleSettings + [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        // In debug builds only: with the static standard library of a release, C types seem to belong to CoreFoundation.
        .enableUpcomingFeature("MemberImportVisibility", .when(configuration: .debug)),
    ]

/// Without `MemberImportVisibility`, for a target that uses many types of C: whether the members of `stat` belong to Glibc or
/// to CoreFoundation depends on the order in which the compiler reads the files.
let settingsWithCTypes: [SwiftSetting] =
    exampleSettings + [.enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault")]

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOSSL", package: "swift-nio-ssl"),
]

extension Target.Dependency {
    /// A product that only the gateway uses: without the trait, its package is not resolved.
    static func gateway(_ name: String, package: String) -> Self {
        .product(name: name, package: package, condition: .when(traits: ["Gateway"]))
    }

    /// A product that only the simulator's control API uses.
    static func simulatorControl(_ name: String, package: String) -> Self {
        .product(name: name, package: package, condition: .when(traits: ["SimulatorControl"]))
    }
}

let package = Package(
    name: "godwit",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "godwit", targets: ["godwit"]),
        .executable(name: "godwit-lab", targets: ["godwit-lab"]),
        .library(name: "APNSWire", targets: ["APNSWire"]),
        .library(name: "APNSKit", targets: ["APNSKit"]),
        .library(name: "APNSSimulator", targets: ["APNSSimulator"]),
    ],
    // A package that depends on this one with `traits: []` gets the library products and resolves only what they need. The
    // gateway is built with the default traits.
    traits: [
        .default(enabledTraits: ["Gateway", "ServiceLifecycleSupport"]),
        .trait(
            name: "Gateway", description: "The gateway, its command line and its tests.",
            enabledTraits: ["SimulatorControl"]),
        .trait(
            name: "ServiceLifecycleSupport",
            description: "APNSClient and APNSChannelClient are services of a ServiceGroup."),
        .trait(name: "SimulatorControl", description: "The simulator's control API and its phone page, over HTTP."),
        .trait(
            name: "Postgres", description: "The store on PostgreSQL; needs libpq.", enabledTraits: ["Gateway"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // MARK: Executables
        .executableTarget(
            name: "godwit",
            dependencies: ["GodwitCLI"],
            path: "Sources/Executables/godwit",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "godwit-lab",
            dependencies: [
                "GodwitCLI", "PathSimulation", "PushAccept", "PushModel", "APNSSimulator", "APNSKit", "APNSWire",
                "JSONText", "Telemetry",
                .gateway("ArgumentParser", package: "swift-argument-parser"),
                .gateway("AsyncHTTPClient", package: "async-http-client"),
                .gateway("Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Sources/Executables/godwit-lab",
            swiftSettings: settings
        ),
        .target(
            name: "GodwitCLI",
            dependencies: [
                "PushGateway", "PushAccept", "PushModel", "APNSSimulator", "APNSKit", "APNSWire", "JSONText",
                .gateway("ArgumentParser", package: "swift-argument-parser"),
                .gateway("AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            path: "Sources/Executables/GodwitCLI",
            swiftSettings: settings
        ),

        // MARK: Push: the durable path
        .target(
            name: "PushGateway",
            dependencies: [
                "PushAccept", "PushDispatch", "PushOutcome", "PushStore", "PushModel",
                "SQLiteBackend", "APNSKit", "APNSWire", "Telemetry",
                .gateway("Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .gateway("ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            path: "Sources/Push/PushGateway",
            swiftSettings: settings
        ),
        .target(
            name: "PushAccept",
            dependencies: [
                "PushConcurrency", "PushStore", "PushModel", "APNSWire", "JSONText", "Telemetry",
                .product(name: "Crypto", package: "swift-crypto"),
                .gateway("DequeModule", package: "swift-collections"),
                .gateway("HTTPTypes", package: "swift-http-types"),
                .gateway("Hummingbird", package: "hummingbird"),
                .gateway("HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .gateway("NIOHTTPTypes", package: "swift-nio-extras"),
                .gateway("ServiceLifecycle", package: "swift-service-lifecycle"),
                .gateway("SwiftProtobuf", package: "swift-protobuf"),
            ],
            path: "Sources/Push/PushAccept",
            swiftSettings: settings
        ),
        .target(
            name: "PushDispatch",
            dependencies: [
                "PushOutcome", "PushConcurrency", "PushStore", "PushModel", "APNSWire", "Telemetry",
                .gateway("DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/Push/PushDispatch",
            swiftSettings: settings
        ),
        .target(
            name: "PushOutcome",
            dependencies: [
                "PushConcurrency", "PushStore", "PushModel", "APNSWire", "Telemetry",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/Push/PushOutcome",
            swiftSettings: settings
        ),
        .target(
            name: "PushConcurrency",
            dependencies: [
                .gateway("DequeModule", package: "swift-collections")
            ],
            path: "Sources/Push/PushConcurrency",
            swiftSettings: settings
        ),
        .target(
            name: "PushStore",
            dependencies: [
                "PushModel", "APNSWire", "CCRC32C",
                .gateway("SwiftProtobuf", package: "swift-protobuf"),
            ],
            path: "Sources/Push/PushStore",
            swiftSettings: settings
        ),
        .target(
            name: "PushModel",
            dependencies: ["APNSWire"],
            path: "Sources/Push/PushModel",
            swiftSettings: settings
        ),
        .target(name: "CCRC32C", path: "Sources/Push/CCRC32C"),

        // MARK: Backends
        .target(
            name: "SQLiteBackend",
            dependencies: [
                "PushStore", "PushModel", "APNSWire",
                .product(name: "Crypto", package: "swift-crypto"),
                .gateway("GRDB", package: "GRDB.swift"),
                .gateway("GRDBSQLite", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/Backends/SQLiteBackend",
            swiftSettings: settings
        ),
        .target(
            name: "MemoryBackend",
            dependencies: ["PushStore", "PushModel", "APNSWire"],
            path: "Sources/Backends/MemoryBackend",
            swiftSettings: settings
        ),
        // Without the trait `Postgres`, these compile to the parts that do not need libpq.
        .target(
            name: "PostgresBackend",
            dependencies: [
                "PostgresLink", "PushConcurrency", "PushStore", "PushModel", "APNSWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/Backends/PostgresBackend",
            swiftSettings: settings
        ),
        .target(
            name: "PostgresLink",
            dependencies: [
                .target(name: "CPostgres", condition: .when(traits: ["Postgres"])),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/Backends/PostgresLink",
            swiftSettings: settings
        ),
        .systemLibrary(
            name: "CPostgres",
            path: "Sources/Backends/CPostgres",
            pkgConfig: "libpq",
            providers: [.apt(["libpq-dev"]), .brew(["libpq"])]
        ),

        // MARK: Telemetry
        .target(
            name: "Telemetry",
            dependencies: [
                .product(name: "Logging", package: "swift-log")
            ],
            path: "Sources/Telemetry",
            swiftSettings: settings
        ),

        // MARK: Testing
        .target(
            name: "PushStoreConformance",
            dependencies: ["PushConcurrency", "PushStore", "PushModel", "APNSWire"],
            path: "Sources/Testing/PushStoreConformance",
            swiftSettings: settings
        ),
        .target(
            name: "PathSimulation",
            dependencies: ["PushDispatch", "PushOutcome", "PushStore", "PushModel", "APNSWire"],
            path: "Sources/Testing/PathSimulation",
            swiftSettings: settings
        ),
        .target(
            name: "PushTesting",
            path: "Sources/Testing/PushTesting",
            swiftSettings: settings
        ),

        // MARK: APNS: the reusable libraries
        .target(
            name: "APNSSimulator",
            dependencies: [
                "APNSWire", "HTTP2Session", "JSONText",
                .product(name: "Crypto", package: "swift-crypto"),
                .simulatorControl("Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .simulatorControl("ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
                .product(name: "Yams", package: "Yams"),
            ] + nio,
            path: "Sources/APNS/APNSSimulator",
            // Compiled in from PageText.swift.
            exclude: ["Page/page.html", "Page/page.css", "Page/page.js"],
            swiftSettings: settings
        ),
        .target(
            name: "APNSKit",
            dependencies: [
                "APNSWire", "HTTP2Session", "JSONText",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(
                    name: "ServiceLifecycle", package: "swift-service-lifecycle",
                    condition: .when(traits: ["ServiceLifecycleSupport"])),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ] + nio,
            path: "Sources/APNS/APNSKit",
            swiftSettings: settingsWithCTypes
        ),
        .target(
            name: "APNSWire",
            dependencies: ["JSONText"],
            path: "Sources/APNS/APNSWire",
            swiftSettings: settings
        ),
        .target(
            name: "HTTP2Session",
            dependencies: ["CNGHTTP2"],
            path: "Sources/APNS/HTTP2Session",
            swiftSettings: settings
        ),
        .target(
            name: "JSONText",
            path: "Sources/APNS/JSONText",
            swiftSettings: settings
        ),
        .systemLibrary(
            name: "CNGHTTP2",
            path: "Sources/APNS/CNGHTTP2",
            pkgConfig: "libnghttp2",
            providers: [.apt(["libnghttp2-dev"]), .brew(["libnghttp2"])]
        ),

        // MARK: Tests
        .testTarget(name: "JSONTextTests", dependencies: ["JSONText"], swiftSettings: settings),
        .testTarget(
            name: "HTTP2SessionTests", dependencies: ["HTTP2Session", "PushModel"], swiftSettings: settings),
        .testTarget(name: "APNSWireTests", dependencies: ["APNSWire", "JSONText"], swiftSettings: settings),
        .testTarget(
            name: "APNSKitTests",
            dependencies: [
                "APNSKit", "APNSSimulator", "APNSWire", "HTTP2Session", "PushTesting",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .gateway("ServiceLifecycle", package: "swift-service-lifecycle"),
            ] + nio,
            exclude: ["Hostile"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ExamplesTests",
            dependencies: [
                "APNSKit", "APNSSimulator", "APNSWire",
                .gateway("Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .gateway("ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            // The recipes of the examples are compiled into their test: so they cannot go stale, and nothing is built twice.
            path: "Examples",
            exclude: [
                "Package.swift", "README.md", "Clients", "Sources/SendOne", "Sources/SendMillion",
                "Sources/LiveActivity",
                "Sources/Channel",
            ],
            sources: ["Sources/Recipes", "Sources/Servers", "Tests"],
            swiftSettings: exampleSettings
        ),
        .testTarget(
            name: "APNSSimulatorTests",
            dependencies: ["APNSSimulator", "APNSWire", "HTTP2Session", "PushTesting"],
            exclude: ["Browser", "Foreign"],
            swiftSettings: settings
        ),
        .testTarget(name: "PushConcurrencyTests", dependencies: ["PushConcurrency"], swiftSettings: settings),
        .testTarget(name: "PushModelTests", dependencies: ["PushModel", "APNSWire"], swiftSettings: settings),
        .testTarget(
            name: "PushStoreTests",
            dependencies: [
                "PushStore", "PushModel", "APNSWire", "CCRC32C",
                .gateway("SwiftProtobuf", package: "swift-protobuf"),
            ],
            exclude: ["Golden"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SQLiteBackendTests",
            dependencies: [
                "SQLiteBackend", "PushStoreConformance", "PushTesting", "PushStore", "PushModel", "APNSWire",
                .gateway("GRDB", package: "GRDB.swift"),
            ],
            exclude: ["Golden"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "MemoryBackendTests",
            dependencies: ["MemoryBackend", "PushStoreConformance", "PushStore", "PushModel", "APNSWire"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PostgresBackendTests",
            dependencies: [
                "PostgresBackend", "PostgresLink", "PushStoreConformance", "PushTesting", "PushStore", "PushModel",
                "APNSWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PostgresLinkTests",
            dependencies: [
                "PostgresLink", "PushTesting",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PushAcceptTests",
            dependencies: [
                "PushAccept", "MemoryBackend", "SQLiteBackend", "PushTesting", "PushStore", "PushModel", "APNSWire",
                "JSONText",
                "Telemetry",
                .gateway("HTTPTypes", package: "swift-http-types"),
                .gateway("Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .gateway("ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PushDispatchTests",
            dependencies: [
                "PushDispatch", "PushOutcome", "PushConcurrency", "PushStoreConformance", "PushStore", "PushModel",
                "APNSWire",
                "PushTesting",
                "SQLiteBackend", "MemoryBackend",
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PushOutcomeTests",
            dependencies: [
                "PushOutcome", "PushConcurrency", "PushStoreConformance", "PushStore", "PushModel", "APNSWire",
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PushGatewayTests",
            dependencies: [
                "PushGateway", "PushAccept", "PushDispatch", "PushModel", "APNSKit", "APNSWire", "PushTesting",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings
        ),
        .testTarget(name: "GodwitCLITests", dependencies: ["GodwitCLI", "APNSWire"], swiftSettings: settings),
        .testTarget(name: "PathSimulationTests", dependencies: ["PathSimulation"], swiftSettings: settings),
        .testTarget(name: "TelemetryTests", dependencies: ["Telemetry", "PushModel"], swiftSettings: settings),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "godwit", "godwit-lab", "GodwitCLI", "PushTesting", "PushGateway", "SQLiteBackend", "PushStore",
                "PushModel",
                "APNSSimulator",
                "APNSKit", "APNSWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(name: "HouseRulesTests", dependencies: ["PushTesting"], swiftSettings: settings),
    ]
)
