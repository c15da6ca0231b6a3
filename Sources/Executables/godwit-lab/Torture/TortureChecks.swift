/// What the logs of a run prove. Pure: logs in, findings out; it asks nobody.
///
/// Every push has a device of its own, so a push that the client never got an id for can still be told by its device.
package struct TortureChecks: Equatable, Sendable {
    /// One push and what is wrong with it.
    package struct Finding: Equatable, Sendable, CustomStringConvertible {
        package var id: String
        package var what: String

        package var description: String { "\(id): \(what)" }
    }

    // MARK: Counts

    package private(set) var seed: UInt64?
    /// Pushes that the client sent, each counted once.
    package private(set) var offered = 0
    package private(set) var accepted = 0
    package private(set) var refused = 0
    /// Never answered, or answered with "unknown".
    package private(set) var unknown = 0
    /// Accepted pushes by their final state.
    package private(set) var states: [String: Int] = [:]
    /// Unknown to the client, and yet there: allowed.
    package private(set) var recovered = 0
    package private(set) var kills = 0
    package private(set) var stops = 0
    package private(set) var faults = 0
    /// Pushes that APNs received, repetitions included.
    package private(set) var received = 0
    /// How many times too often APNs took a push, by what explains it: allowed.
    package private(set) var twice: [Cause: Int] = [:]

    /// Why a push may be sent again that APNs has taken.
    package enum Cause: CaseIterable, Sendable {
        /// The simulator did not answer it.
        case unanswered
        /// The connection on which the answer was to come was cut, or went dead.
        case cut
        /// The gateway died before it had recorded the answer.
        case death
    }

    // MARK: What must not be

    /// Accepted, and not settled; or delivered, and APNs knows nothing of it.
    package private(set) var lost: [Finding] = []
    /// At APNs, and nobody sent it so.
    package private(set) var phantom: [Finding] = []
    /// At APNs after its expiration.
    package private(set) var late: [Finding] = []
    /// At APNs before its time.
    package private(set) var early: [Finding] = []
    /// At APNs after its cancellation was confirmed.
    package private(set) var afterCancel: [Finding] = []
    /// A verdict that changed.
    package private(set) var changed: [Finding] = []
    /// A verdict for which there is no reason.
    package private(set) var unexplainedVerdict: [Finding] = []
    /// Taken twice although the first was answered and nobody died.
    package private(set) var duplicatesWithoutCause: [Finding] = []
    /// One push of a client became two.
    package private(set) var split: [Finding] = []
    /// The gateway ended by itself, or not as it should.
    package private(set) var crashes: [Finding] = []

    /// The findings of each kind, in the order of the table.
    package var violations: [(name: String, findings: [Finding])] {
        [
            ("lost", lost), ("phantom", phantom), ("late", late), ("early", early), ("after cancel", afterCancel),
            ("changed", changed), ("unfounded", unexplainedVerdict), ("twice without cause", duplicatesWithoutCause),
            ("split", split), ("crashes", crashes),
        ]
    }

    package var isGood: Bool { violations.allSatisfy { $0.findings.isEmpty } }

    // MARK: Rules

    package struct Rules: Equatable, Sendable {
        /// Expirations count in seconds, and a push is under way for a moment.
        package var lateAfter: Int64 = 1000
        /// What APNs took so long before a death may be unrecorded: an outcome is durable within 100 ms, and a busy disk
        /// may take its time.
        package var recordingMax: Int64 = 3000
        /// How long SIGTERM may take.
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
        judgeEvents(logs.events, rules)
        for (id, device) in client.accepted.sorted(by: { $0.key < $1.key }) {
            judgeAccepted(id, client.requests[device]!, store[id] ?? [], arrivals[id] ?? [], client)
        }
        for line in logs.apns { judgeArrival(line, client, rules) }
        for (id, lines) in arrivals.sorted(by: { $0.key < $1.key }) {
            let request = lines.first?.device.flatMap { client.requests[$0] }
            judgeRepetitions(id, lines, mayComeOnce: request?.dropsUnanswered == true, events, rules)
        }
        for (device, ids) in client.ids(with: logs.apns).sorted(by: { $0.key < $1.key }) where ids.count > 1 {
            split.append(Finding(id: ids.sorted()[0], what: "device \(device) got it under \(ids.count) ids"))
        }
        let found = Set(logs.apns.compactMap(\.device)).union(
            store.filter { $0.value.last.map { $0.state != "unknown" } ?? false }.keys
                .compactMap { client.inDoubt[$0] }
        )
        recovered = client.unknown.intersection(found).count
    }

    private mutating func count(_ client: ClientView) {
        offered = client.requests.count
        accepted = Set(client.accepted.values).count
        refused = client.refused.count
        unknown = client.unknown.count
    }

    // MARK: Judging

    private mutating func judgeEvents(_ events: [EventLine], _ rules: Rules) {
        var asked: Int64?
        for event in events {
            switch event.kind {
            case .killed: kills += 1
            case .asked: asked = event.at
            case .stopped:
                stops += 1
                if let status = event.status, status != 0 {
                    crashes.append(Finding(id: "SIGTERM at \(asked ?? 0)", what: "ended with status \(status)"))
                }
                if let asked, event.at - asked > rules.stopMax {
                    crashes.append(Finding(id: "SIGTERM at \(asked)", what: "took \(event.at - asked) ms"))
                }
            case .died:
                crashes.append(Finding(id: "at \(event.at)", what: "ended by itself: \(event.what ?? "no reason")"))
            case .fault: faults += 1
            case .began: seed = event.seed
            case .started, .healed: break
            }
        }
    }

    private mutating func judgeAccepted(
        _ id: String, _ request: SentRequest, _ looks: [StoreLine], _ arrivals: [APNSLine], _ client: ClientView
    ) {
        guard let last = looks.last, last.state != "unknown" else {
            lost.append(Finding(id: id, what: "accepted, and the gateway does not know it"))
            return
        }
        states[last.state, default: 0] += 1
        if let first = looks.first(where: { Self.isFinal($0.state) }), first.state != last.state {
            changed.append(Finding(id: id, what: "\(first.state), later \(last.state)"))
        }
        guard Self.isFinal(last.state) else {
            lost.append(Finding(id: id, what: "accepted, and still \(last.state) at the end"))
            return
        }
        if client.cancelled[id] != nil, last.state != "cancelled" {
            changed.append(Finding(id: id, what: "confirmed as cancelled, later \(last.state)"))
        }
        switch last.state {
        case "delivered":
            if !arrivals.contains(where: \.isTaken) {
                lost.append(Finding(id: id, what: "delivered, and APNs has not taken it"))
            }
        case "rejected":
            if !arrivals.contains(where: { Self.isRejection($0.status) }) {
                unexplainedVerdict.append(Finding(id: id, what: "rejected, and APNs has not said so"))
            }
        case "expired":
            if request.expiration == nil {
                unexplainedVerdict.append(Finding(id: id, what: "expired, and it could not"))
            }
        case "cancelled":
            if !client.cancelling.contains(id) {
                unexplainedVerdict.append(Finding(id: id, what: "cancelled by nobody"))
            }
        case "given_up":
            // Five deaths at least: three with its batch, two alone (PoisonLimits).
            let isPoison = last.code == Self.poisonCode && kills >= 5
            if request.dropsUnanswered != true, !isPoison {
                unexplainedVerdict.append(Finding(id: id, what: "given up with code \(last.code)"))
            }
        default: unexplainedVerdict.append(Finding(id: id, what: last.state))
        }
    }

    private mutating func judgeArrival(_ line: APNSLine, _ client: ClientView, _ rules: Rules) {
        guard let device = line.device, let request = client.requests[device] else {
            phantom.append(Finding(id: line.id, what: "to a device that nobody sent to"))
            return
        }
        if client.refused.contains(device) {
            phantom.append(Finding(id: line.id, what: "refused, and sent all the same"))
        }
        if line.topic != request.app { phantom.append(Finding(id: line.id, what: "to the wrong app")) }
        if !line.isIntact { phantom.append(Finding(id: line.id, what: "with another payload")) }
        if let expiration = request.expiration, line.at > expiration * 1000 + rules.lateAfter {
            late.append(Finding(id: line.id, what: "\(line.at - expiration * 1000) ms after its expiration"))
        }
        if let notBefore = request.notBefore, line.at < notBefore * 1000 {
            early.append(Finding(id: line.id, what: "\(notBefore * 1000 - line.at) ms before its time"))
        }
        if let cancelled = client.cancelled[line.id], line.at > cancelled {
            afterCancel.append(Finding(id: line.id, what: "\(line.at - cancelled) ms after it was cancelled"))
        }
    }

    /// Each time that APNs took a push again needs a cause that lies in between; and a push that asked to be dropped when
    /// unanswered has none.
    private mutating func judgeRepetitions(
        _ id: String, _ lines: [APNSLine], mayComeOnce: Bool, _ events: EventView, _ rules: Rules
    ) {
        let taken = lines.filter(\.isTaken)
        if mayComeOnce, taken.count > 1 {
            duplicatesWithoutCause.append(
                Finding(id: id, what: "taken \(taken.count) times, and it was to be dropped instead"))
            return
        }
        for (first, second) in zip(taken, taken.dropFirst()) {
            if first.status != 200 {
                twice[.unanswered, default: 0] += 1
            } else if events.isCut(first, before: second.at) {
                twice[.cut, default: 0] += 1
            } else if events.hasDeath(after: first, within: rules.recordingMax, before: second.at) {
                twice[.death, default: 0] += 1
            } else {
                duplicatesWithoutCause.append(
                    Finding(id: id, what: "answered at \(first.at), taken again at \(second.at)"))
            }
        }
    }

    /// A push that was under way each time the gateway died.
    private static let poisonCode = 3023

    static func isFinal(_ state: String) -> Bool {
        !["queued", "scheduled", "sending", "retrying", "unavailable"].contains(state)
    }

    /// Answers about the push itself, not about the moment or the credential.
    private static func isRejection(_ status: Int) -> Bool {
        (400..<500).contains(status) && status != 403 && status != 429
    }
}
