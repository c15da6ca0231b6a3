/// Files that may break a rule, each with the reason. An entry that no file needs fails the tests.
enum HouseExceptions {
    /// This file, which has to name the words that it allows.
    static let path = "Tests/HouseRulesTests/HouseExceptions.swift"

    /// Files that start a task without a parent.
    static let tasks: [String: String] = [
        "Sources/APNS/APNSSimulator/Control/ControlServer.swift":
            "runs Hummingbird between start and stop",
        "Sources/Executables/GodwitCLI/Commands/DemoCommand.swift":
            "sends the sample pushes while the gateway runs; ends with the process",
        "Sources/Push/PushConcurrency/InBackground.swift": "is the function that starts one",
    ]

    /// Files that read a clock.
    static let clocks: [String: String] = [
        "Sources/Backends/PostgresLink/PostgresClock.swift": "is the clock of deadlines",
        "Sources/Backends/SQLiteBackend/Writer/Checkpointer.swift": "limits how often it reads the free space",
        "Sources/APNS/APNSKit/Dialing/TLSErrorMapping.swift": "compares a refused certificate with the time of day",
        "Sources/APNS/APNSKit/Pool/ThreadCPUTime.swift": "reads the CPU time of a thread, not the time of day",
        "Sources/APNS/APNSSimulator/Connection/DelayLine.swift": "delays bytes by the monotonic clock",
        "Sources/APNS/APNSSimulator/Connection/SimulatorConnection+Responding.swift": "computes when a response is due",
        "Sources/APNS/APNSSimulator/Connection/SimulatorConnection.swift": "computes the age of a connection",
        "Sources/APNS/APNSSimulator/Credentials/ClientCertificate.swift": "issues a certificate that is valid from now",
        "Sources/APNS/APNSSimulator/Credentials/SimulatorAuthority.swift":
            "issues a certificate that is valid from now",
        "Sources/APNS/APNSSimulator/Scenarios/ScenarioRunner.swift": "times the phases by the monotonic clock",
        "Sources/APNS/APNSSimulator/Server/SimulatorState.swift": "reports the age of faults",
        "Sources/APNS/APNSSimulator/Server/SystemTime.swift": "is the simulator's wall clock",
        "Sources/Push/PushAccept/Batching/BatchCommitter.swift":
            "measures the duration of a write for a metric",
        "Sources/Push/PushAccept/HTTP/DateField.swift": "formats the time of day for every response",
        "Sources/Push/PushGateway/Gateway.swift": "limits the duration of the drain",
        "Sources/Push/PushStore/Contract/QueueClock+System.swift": "is the clock of the backends",
        "Sources/Telemetry/JSONLogHandler.swift": "stamps log lines",
    ]

    /// Words that the glossary bans and a file needs, each with its reason.
    static let words: [String: [String: String]] = [
        "Sources/Push/PushGateway/Configuration/YAMLReader.swift": ["keyed bodies": "a key of an earlier version"],
        "Sources/Push/PushGateway/Metrics/GatewayMetrics+APNS.swift": ["retired": "a metric name, which stays"],
        "Tests/PushGatewayTests/GatewayConfigurationTests.swift": ["keyed bodies": "a key of an earlier version"],
        "Tests/HouseRulesTests/WordsTests.swift": [
            "nobody": "a sample", "suspect": "a sample", "tell": "a sample", "at once": "a sample", "told": "a sample",
            "room": "a sample", "should it": "a sample", "hot handoff": "a sample",
        ],
        "scripts/check-commits.sh": ["at once": "a sample of a title that is too long"],
    ]
}
