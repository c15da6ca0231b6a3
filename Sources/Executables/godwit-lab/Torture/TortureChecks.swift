/// Checks the logs of a run against the promises of the gateway. Pure: it reads only the logs.
///
/// Each push is for a device of its own, so the device identifies a push even if the client never received its ID.
package struct TortureChecks: Equatable, Sendable {
    /// A push, and how it violates a promise.
    package struct Finding: Equatable, Sendable, CustomStringConvertible {
        package var id: String
        package var detail: String

        package var description: String { "\(id): \(detail)" }
    }

    // MARK: Counts

    package private(set) var seed: UInt64?
    /// Pushes that the clients sent; repeated requests count once.
    package private(set) var offered = 0
    package private(set) var accepted = 0
    package private(set) var refused = 0
    /// Pushes without a response, or with the response "unknown".
    package private(set) var unknown = 0
    /// Accepted pushes by their final state.
    package private(set) var states: [String: Int] = [:]
    /// Unknown to the client, but accepted: allowed.
    package private(set) var recovered = 0
    package private(set) var kills = 0
    package private(set) var stops = 0
    package private(set) var faults = 0
    /// Pushes that APNs received, including repetitions.
    package private(set) var received = 0
    /// Repeated deliveries of a push to APNs, by cause: allowed.
    package private(set) var duplicates: [Cause: Int] = [:]

    /// Why a push that APNs accepted may be sent again.
    package enum Cause: CaseIterable, Sendable {
        /// The simulator did not answer it.
        case unanswered
        /// The connection was cut, or stopped responding, before the answer arrived.
        case cut
        /// The gateway was killed before it recorded the answer.
        case kill
    }

    // MARK: Violations

    /// Accepted and not settled, or reported as delivered although APNs never accepted it.
    package private(set) var lost: [Finding] = []
    /// Received by APNs, but not sent so by a client.
    package private(set) var unexpectedDeliveries: [Finding] = []
    /// Received by APNs after its expiration.
    package private(set) var late: [Finding] = []
    /// Received by APNs before its `not_before`.
    package private(set) var early: [Finding] = []
    /// Received by APNs after its cancellation was confirmed.
    package private(set) var afterCancel: [Finding] = []
    /// A verdict that changed.
    package private(set) var changed: [Finding] = []
    /// A verdict that nothing in the logs explains.
    package private(set) var unexplainedVerdicts: [Finding] = []
    /// Accepted by APNs again although the first attempt was answered and the gateway was not killed.
    package private(set) var duplicatesWithoutCause: [Finding] = []
    /// One push of a client became two.
    package private(set) var duplicatedIdentities: [Finding] = []
    /// The gateway exited unexpectedly, or did not stop correctly.
    package private(set) var crashes: [Finding] = []

    /// The findings of each kind, in the order of the table.
    package var violations: [(name: String, findings: [Finding])] {
        [
            ("lost", lost), ("unexpected delivery", unexpectedDeliveries), ("late", late), ("early", early),
            ("after cancel", afterCancel), ("changed", changed), ("unexplained verdict", unexplainedVerdicts),
            ("duplicate without cause", duplicatesWithoutCause), ("duplicated identity", duplicatedIdentities),
            ("crashes", crashes),
        ]
    }

    package var passed: Bool { violations.allSatisfy { $0.findings.isEmpty } }

    // MARK: Rules

    package struct Rules: Equatable, Sendable {
        /// Tolerance in milliseconds: expirations are whole seconds, and a push takes time to arrive.
        package var lateAfter: Int64 = 1000
        /// Milliseconds from an answer until its outcome is durable. Usually 100 ms; a busy disk may need more.
        package var recordingMax: Int64 = 3000
        /// Milliseconds from SIGTERM to the exit.
        package var stopMax: Int64 = 25_000

        package init() {}
    }

    package init(_ logs: TortureLogs, rules: Rules = Rules()) {
        let client = ClientView(logs.client)
        let events = EventView(logs.events, logs.apns)
        let arrivals = Dictionary(grouping: logs.apns, by: \.id)
        let store = Dictionary(grouping: logs.store, by: \.id)
        received = logs.apns.count
        count(client)
        checkEvents(logs.events, rules)
        for (id, device) in client.accepted.sorted(by: { $0.key < $1.key }) {
            checkAccepted(id, client.requests[device]!, store[id] ?? [], arrivals[id] ?? [], client)
        }
        for line in logs.apns { checkArrival(line, client, rules) }
        for (id, lines) in arrivals.sorted(by: { $0.key < $1.key }) {
            let request = lines.first?.device.flatMap { client.requests[$0] }
            checkRepetitions(id, lines, isAtMostOnce: request?.dropsUnanswered == true, events, rules)
        }
        for (device, ids) in client.ids(with: logs.apns).sorted(by: { $0.key < $1.key }) where ids.count > 1 {
            duplicatedIdentities.append(
                Finding(id: ids.sorted()[0], detail: "device \(device) received it under \(ids.count) IDs"))
        }
        let found = Set(logs.apns.compactMap(\.device)).union(
            store.filter { $0.value.last.map { $0.state != "unknown" } ?? false }.keys
                .compactMap { client.unconfirmed[$0] }
        )
        recovered = client.unknown.intersection(found).count
    }

    private mutating func count(_ client: ClientView) {
        offered = client.requests.count
        accepted = Set(client.accepted.values).count
        refused = client.refused.count
        unknown = client.unknown.count
    }

    // MARK: Checks

    private mutating func checkEvents(_ events: [EventLine], _ rules: Rules) {
        var stopRequested: Int64?
        for event in events {
            switch event.kind {
            case .killed: kills += 1
            case .stopRequested: stopRequested = event.at
            case .stopped:
                stops += 1
                if let status = event.status, status != 0 {
                    crashes.append(
                        Finding(id: "SIGTERM at \(stopRequested ?? 0)", detail: "ended with status \(status)"))
                }
                if let stopRequested, event.at - stopRequested > rules.stopMax {
                    crashes.append(
                        Finding(
                            id: "SIGTERM at \(stopRequested)", detail: "took \(event.at - stopRequested) ms"))
                }
            case .crashed:
                crashes.append(
                    Finding(id: "at \(event.at)", detail: "exited unexpectedly: \(event.detail ?? "no output")"))
            case .fault: faults += 1
            case .runStarted: seed = event.seed
            case .started, .faultCleared: break
            }
        }
    }

    private mutating func checkAccepted(
        _ id: String, _ request: SentRequest, _ polls: [StoreLine], _ arrivals: [APNSLine], _ client: ClientView
    ) {
        guard let last = polls.last, last.state != "unknown" else {
            lost.append(Finding(id: id, detail: "accepted, but unknown to the gateway"))
            return
        }
        states[last.state, default: 0] += 1
        if let first = polls.first(where: { Self.isFinal($0.state) }), first.state != last.state {
            changed.append(Finding(id: id, detail: "\(first.state), later \(last.state)"))
        }
        guard Self.isFinal(last.state) else {
            lost.append(Finding(id: id, detail: "accepted, but still \(last.state) at the end"))
            return
        }
        if client.cancelled[id] != nil, last.state != "cancelled" {
            changed.append(Finding(id: id, detail: "confirmed as cancelled, later \(last.state)"))
        }
        switch last.state {
        case "delivered":
            if !arrivals.contains(where: \.isTaken) {
                lost.append(Finding(id: id, detail: "delivered, but not accepted by APNs"))
            }
        case "rejected":
            if !arrivals.contains(where: { Self.isRejection($0.status) }) {
                unexplainedVerdicts.append(Finding(id: id, detail: "rejected, but not by APNs"))
            }
        case "expired":
            if request.expiration == nil {
                unexplainedVerdicts.append(Finding(id: id, detail: "expired, but has no expiration"))
            }
        case "cancelled":
            if !client.cancelling.contains(id) {
                unexplainedVerdicts.append(Finding(id: id, detail: "cancelled without a request"))
            }
        case "given_up":
            // At least five kills: three redeliveries with its batch, two isolated ones (PoisonLimits).
            let isPoison = last.code == Self.poisonCode && kills >= 5
            if request.dropsUnanswered != true, !isPoison {
                unexplainedVerdicts.append(Finding(id: id, detail: "given up with code \(last.code)"))
            }
        default: unexplainedVerdicts.append(Finding(id: id, detail: last.state))
        }
    }

    private mutating func checkArrival(_ line: APNSLine, _ client: ClientView, _ rules: Rules) {
        guard let device = line.device, let request = client.requests[device] else {
            unexpectedDeliveries.append(Finding(id: line.id, detail: "to a device that no client sent to"))
            return
        }
        if client.refused.contains(device) {
            unexpectedDeliveries.append(Finding(id: line.id, detail: "refused, but sent"))
        }
        if line.topic != request.app { unexpectedDeliveries.append(Finding(id: line.id, detail: "to the wrong app")) }
        if !line.isIntact { unexpectedDeliveries.append(Finding(id: line.id, detail: "with another payload")) }
        if let expiration = request.expiration, line.at > expiration * 1000 + rules.lateAfter {
            late.append(Finding(id: line.id, detail: "\(line.at - expiration * 1000) ms after its expiration"))
        }
        if let notBefore = request.notBefore, line.at < notBefore * 1000 {
            early.append(Finding(id: line.id, detail: "\(notBefore * 1000 - line.at) ms before its not_before"))
        }
        if let cancelled = client.cancelled[line.id], line.at > cancelled {
            afterCancel.append(
                Finding(id: line.id, detail: "\(line.at - cancelled) ms after its cancellation was confirmed"))
        }
    }

    /// Each repeated delivery needs a cause between the two attempts. A push with `on_unanswered: drop` must not have
    /// any.
    private mutating func checkRepetitions(
        _ id: String, _ lines: [APNSLine], isAtMostOnce: Bool, _ events: EventView, _ rules: Rules
    ) {
        let deliveries = lines.filter(\.isTaken)
        if isAtMostOnce, deliveries.count > 1 {
            duplicatesWithoutCause.append(
                Finding(id: id, detail: "accepted \(deliveries.count) times, although on_unanswered is drop"))
            return
        }
        for (first, second) in zip(deliveries, deliveries.dropFirst()) {
            if first.status != 200 {
                duplicates[.unanswered, default: 0] += 1
            } else if events.wasCut(first, before: second.at) {
                duplicates[.cut, default: 0] += 1
            } else if events.hasExit(after: first, within: rules.recordingMax, before: second.at) {
                duplicates[.kill, default: 0] += 1
            } else {
                duplicatesWithoutCause.append(
                    Finding(id: id, detail: "answered at \(first.at), accepted again at \(second.at)"))
            }
        }
    }

    /// The error code of a push that was given up as poison.
    private static let poisonCode = 3023

    static func isFinal(_ state: String) -> Bool {
        !["queued", "scheduled", "sending", "retrying", "unavailable"].contains(state)
    }

    /// Whether the status rejects the push itself, and not the credential or the rate.
    private static func isRejection(_ status: Int) -> Bool {
        (400..<500).contains(status) && status != 403 && status != 429
    }
}
