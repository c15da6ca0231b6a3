/// Files that a rule lets pass, each with its reason. An entry that nothing needs any more fails the tests too.
enum HouseExceptions {
    /// Where a task without a parent is started.
    static let tasks: [String: String] = [
        "Sources/APNS/APNSSimulator/Control/ControlServer.swift":
            "keeps Hummingbird's run() going between start and stop",
        "Sources/Executables/GodwitCLI/Commands/DemoCommand.swift":
            "sends the samples while the gateway runs; ends with the process",
    ]

    /// Where a clock is read.
    static let clocks: [String: String] = [
        "Sources/APNS/APNSKit/Pool/ThreadCPUTime.swift": "reads how much processor a thread has used, not the time",
        "Sources/APNS/APNSSimulator/Connection/DelayLine.swift": "delays what passes by the monotonic clock",
        "Sources/APNS/APNSSimulator/Connection/SimulatorConnection+Responding.swift": "says when an answer is due",
        "Sources/APNS/APNSSimulator/Connection/SimulatorConnection.swift": "says how old a connection is",
        "Sources/APNS/APNSSimulator/Credentials/ClientCertificate.swift": "a certificate is valid from now on",
        "Sources/APNS/APNSSimulator/Credentials/SimulatorAuthority.swift": "a certificate is valid from now on",
        "Sources/APNS/APNSSimulator/Scenarios/ScenarioRunner.swift": "plays phases by the monotonic clock",
        "Sources/APNS/APNSSimulator/Server/SimulatorState.swift": "says how long faults have been there",
        "Sources/APNS/APNSSimulator/Server/SystemTime.swift": "the simulator's wall clock, handed to all that needs it",
        "Sources/Push/PushAccept/Batching/BatchCommitter.swift":
            "measures the time of a write for the metrics; decides nothing",
        "Sources/Push/PushGateway/Gateway.swift": "bounds the drain",
        "Sources/Push/PushStore/Contract/QueueClock+System.swift": "the queue's clocks, handed to each backend",
        "Sources/Telemetry/JSONLogHandler.swift": "a log line says when it was written",
    ]
}
