import PushModel

/// The interruptions and faults of a run. They depend only on the seed.
package struct TorturePlan: Equatable, Sendable {
    /// A kill or stop of the gateway.
    package struct Interruption: Equatable, Sendable {
        package enum Kind: Equatable, Sendable {
            /// `kill -9`.
            case kill
            /// SIGTERM.
            case stop
        }

        /// Time since the start of the load.
        package var at: Duration
        package var kind: Kind
        /// Time until the next start.
        package var downtime: Duration
    }

    /// A period with one fault, or a quiet period. Periods follow each other without gaps.
    package struct Period: Equatable, Sendable {
        package var length: Duration
        /// nil: a quiet period.
        package var fault: TortureFault?
    }

    /// Ascending by time.
    package private(set) var interruptions: [Interruption] = []
    package private(set) var periods: [Period] = []

    package init(seed: UInt64, duration: Duration, kills: Int, stops: Int) {
        var random = SeededGenerator(seed: seed)
        let count = kills + stops
        // One in each of `count` equal slices, so that the gateway runs for some time between interruptions.
        let kinds = (0..<count).map { $0 < kills ? Interruption.Kind.kill : .stop }.shuffled(using: &random)
        for (index, kind) in kinds.enumerated() {
            let share = (Double(index) + Double.random(in: 0.1..<0.9, using: &random)) / Double(count)
            let downtime = Duration.milliseconds(Int.random(in: 0...400, using: &random))
            interruptions.append(Interruption(at: duration * share, kind: kind, downtime: downtime))
        }
        var left = duration
        while left > .zero {
            let length = min(left, .milliseconds(Int.random(in: 800...2500, using: &random)))
            left -= length
            let isQuiet = Double.random(in: 0..<1, using: &random) < 0.25
            var fault = isQuiet ? nil : TortureFault.all.randomElement(using: &random)
            // Pushes wait up to half a minute after a refused credential, which must fit into the rest of the load.
            if let chosen = fault, chosen.delaysPushesFor > left { fault = nil }
            periods.append(Period(length: length, fault: fault))
        }
    }
}

/// A fault of APNs, as a document for the simulator's control API.
package struct TortureFault: Equatable, Sendable {
    package var name: String
    /// The fault plan (docs/simulator/README.md).
    package var plan: String
    /// Whether the fault ends connections, so that answers to other pushes are lost as well.
    package var breaksConnections = false
    /// How long pushes may wait because of the fault.
    package var delaysPushesFor: Duration = .zero

    package static let all: [TortureFault] = [
        TortureFault(
            name: "503", plan: "rules: [{action: answer, status: 503, reason: ServiceUnavailable, probability: 0.5}]"),
        TortureFault(
            name: "500", plan: "rules: [{action: answer, status: 500, reason: InternalServerError, probability: 0.3}]"),
        TortureFault(
            name: "429",
            plan: "rules: [{action: answer, status: 429, reason: TooManyRequests, retry_after: 1, probability: 0.2}]"),
        TortureFault(
            name: "403 for one app",
            plan: "rules: [{action: answer, status: 403, reason: InvalidProviderToken, topic: com.example.three}]",
            delaysPushesFor: .seconds(25)),
        TortureFault(name: "GOAWAY", plan: "rules: [{action: goaway, request_on_connection: {every: 150}}]"),
        TortureFault(
            name: "shutdown",
            plan: """
                rules: [{action: answer, status: 503, reason: Shutdown, then_goaway: true, \
                request_on_connection: {every: 200}}]
                """),
        TortureFault(
            name: "refused streams", plan: "rules: [{action: reset, code: REFUSED_STREAM, probability: 0.1}]"),
        TortureFault(
            name: "reset streams",
            plan: """
                rules: [{action: reset, code: 2, probability: 0.02}, \
                {action: reset, code: 2, after_headers: true, taken: true, probability: 0.02}]
                """),
        TortureFault(
            name: "silence",
            plan: """
                rules: [{action: stall, probability: 0.01}, {action: stall, taken: true, probability: 0.01}]
                """),
        TortureFault(
            name: "lost connections",
            plan: """
                rules: [{action: tcp-reset, taken: true, request_on_connection: {every: 170}}, \
                {action: close, request_on_connection: {every: 190}}]
                """,
            breaksConnections: true),
        TortureFault(
            name: "dead connection", plan: "rules: [{action: black-hole, request: 50, taken: true}]",
            breaksConnections: true),
        TortureFault(name: "slow answers", plan: "rules: [{action: accept, delay: 400ms, probability: 0.2}]"),
    ]
}
