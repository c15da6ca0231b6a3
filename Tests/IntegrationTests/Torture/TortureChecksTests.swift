import APNSSimulator
import Testing

@testable import godwit_lab

/// The checks of `godwit-lab torture`: each must detect its violation in otherwise good logs.
@Suite struct `The checks of a torture run` {
    /// One request with three pushes for devices 10, 11 and 12, all accepted and delivered.
    static let good = TortureLogs(
        client: [sent(), completed(["a", "b", "c"])],
        apns: [arrival("a", 10), arrival("b", 11), arrival("c", 12)],
        store: ["a", "b", "c"].map { StoreLine(at: 9_000_000, id: $0, state: "delivered", code: 0) },
        events: [EventLine(at: 1_000_000, kind: .runStarted, seed: 42), EventLine(at: 1_000_000, kind: .started)]
    )

    static func sent(_ change: (inout SentRequest) -> Void = { _ in }) -> ClientLine {
        var request = SentRequest(request: 1, app: "one", lane: "bulk", first: 10, count: 3)
        change(&request)
        return ClientLine(at: 2_000_000, sent: request)
    }

    static func completed(_ ids: [String?], _ result: CompletedRequest.Result = .accepted) -> ClientLine {
        let items = ids.map { CompletedRequest.Item(id: $0, result: $0 == nil ? .refused : result) }
        return ClientLine(at: 2_000_100, completed: CompletedRequest(request: 1, status: 200, items: items))
    }

    static func arrival(
        _ id: String, _ device: Int?, at: Int64 = 2_000_200, status: Int = 200, topic: String = "one",
        isTaken: Bool = true, isIntact: Bool = true
    ) -> APNSLine {
        APNSLine(
            at: at, id: id, device: device, topic: topic, isIntact: isIntact, status: status, isTaken: isTaken,
            connection: 1)
    }

    /// The checks of the good logs after a change.
    static func checks(_ change: (inout TortureLogs) -> Void = { _ in }) -> TortureChecks {
        var logs = good
        change(&logs)
        return TortureChecks(logs)
    }

    /// The names of the violated checks, or "none".
    static func violation(_ change: (inout TortureLogs) -> Void) -> String {
        let found = checks(change).violations.filter { !$0.findings.isEmpty }.map(\.name)
        return found.isEmpty ? "none" : found.joined(separator: ", ")
    }

    @Test func `a good run passes, and its pushes are counted`() {
        let checks = Self.checks()
        #expect(checks.passed)
        #expect((checks.offered, checks.accepted, checks.refused, checks.unknown) == (3, 3, 0, 0))
        #expect(checks.states == ["delivered": 3])
        #expect(checks.received == 3 && checks.duplicates.isEmpty && checks.recovered == 0)
    }

    // MARK: Lost

    @Test func `an accepted push that is unknown to the gateway is lost`() {
        #expect(Self.violation { $0.store.removeAll { $0.id == "b" } } == "lost")
        #expect(Self.violation { $0.store[1].state = "unknown" } == "lost")
    }

    @Test(arguments: ["queued", "scheduled", "sending", "retrying"])
    func `an accepted push that is not settled is lost`(_ state: String) {
        #expect(Self.violation { $0.store[1].state = state } == "lost")
    }

    @Test func `a delivered push that APNs did not accept is lost`() {
        #expect(Self.violation { $0.apns.removeAll { $0.id == "b" } } == "lost")
        #expect(Self.violation { $0.apns[1] = Self.arrival("b", 11, status: 503, isTaken: false) } == "lost")
    }

    // MARK: Deliveries

    @Test func `a push that no client sent is an unexpected delivery`() {
        #expect(Self.violation { $0.apns.append(Self.arrival("x", nil)) } == "unexpected delivery")
        #expect(Self.violation { $0.apns.append(Self.arrival("x", 99)) } == "unexpected delivery")
        #expect(Self.violation { $0.apns[1] = Self.arrival("b", 11, topic: "two") } == "unexpected delivery")
        #expect(Self.violation { $0.apns[1] = Self.arrival("b", 11, isIntact: false) } == "unexpected delivery")
    }

    @Test func `a refused push that arrives is an unexpected delivery`() {
        #expect(Self.violation { $0.client[1] = Self.completed(["a", nil, "c"]) } == "unexpected delivery")
    }

    @Test func `a push that arrives more than a second after its expiration is late`() {
        #expect(Self.violation { $0.client[0] = Self.sent { $0.expiration = 1999 } } == "late")
        #expect(Self.violation { $0.client[0] = Self.sent { $0.expiration = 2000 } } == "none")
    }

    @Test func `a push that arrives before its not_before is early`() {
        #expect(Self.violation { $0.client[0] = Self.sent { $0.notBefore = 2001 } } == "early")
        #expect(Self.violation { $0.client[0] = Self.sent { $0.notBefore = 2000 } } == "none")
    }

    @Test func `a push that arrives after its cancellation was confirmed is a violation`() {
        let cancelled = ClientLine(at: 2_000_150, cancelled: CancelledPush(id: "b", isConfirmed: true))
        #expect(
            Self.violation {
                $0.client.append(cancelled)
                $0.store[1].state = "cancelled"
            } == "after cancel")
        let later = ClientLine(at: 2_000_300, cancelled: CancelledPush(id: "b", isConfirmed: true))
        #expect(
            Self.violation {
                $0.client.append(later)
                $0.store[1].state = "cancelled"
            } == "none")
    }

    // MARK: Verdicts

    @Test func `a verdict that changes is a violation`() {
        let poll = StoreLine(at: 3_000_000, id: "b", state: "rejected", code: 3002)
        #expect(Self.violation { $0.store.insert(poll, at: 0) } == "changed")
        let early = StoreLine(at: 3_000_000, id: "b", state: "sending", code: 0)
        #expect(Self.violation { $0.store.insert(early, at: 0) } == "none")
    }

    @Test func `a confirmed cancellation is a verdict`() {
        let cancelled = ClientLine(at: 9_000_000, cancelled: CancelledPush(id: "b", isConfirmed: true))
        #expect(Self.violation { $0.client.append(cancelled) } == "changed")
        let request = ClientLine(at: 9_000_000, cancelled: CancelledPush(id: "b", isConfirmed: false))
        #expect(Self.violation { $0.client.append(request) } == "none")
    }

    @Test func `poison requires five kills`() {
        func violation(kills: Int) -> String {
            Self.violation {
                $0.store[1] = StoreLine(at: 9_000_000, id: "b", state: "given_up", code: 3023)
                $0.events += (0..<kills).map { EventLine(at: 3_000_000 + Int64($0), kind: .killed) }
            }
        }
        #expect(violation(kills: 4) == "unexplained verdict")
        #expect(violation(kills: 5) == "none")
    }

    @Test(arguments: ["rejected", "expired", "cancelled", "given_up", "suppressed"])
    func `a verdict without an explanation is a violation`(_ state: String) {
        #expect(Self.violation { $0.store[1].state = state } == "unexplained verdict")
    }

    @Test func `a verdict with an explanation is not a violation`() {
        func expectNone(_ state: String, _ change: (inout TortureLogs) -> Void) {
            #expect(
                Self.violation {
                    $0.store[1].state = state
                    $0.apns.removeAll { $0.id == "b" }
                    change(&$0)
                } == "none")
        }
        expectNone("rejected") { $0.apns.append(Self.arrival("b", 11, status: 410, isTaken: false)) }
        expectNone("expired") { $0.client[0] = Self.sent { $0.expiration = 2001 } }
        expectNone("cancelled") {
            $0.client.append(ClientLine(at: 2_000_150, cancelled: CancelledPush(id: "b", isConfirmed: true)))
        }
        expectNone("given_up") { $0.client[0] = Self.sent { $0.dropsUnanswered = true } }
    }

    @Test(arguments: [403, 429, 500, 503, 0])
    func `a temporary error is not a rejection`(_ status: Int) {
        #expect(
            Self.violation {
                $0.store[1].state = "rejected"
                $0.apns[1] = Self.arrival("b", 11, status: status, isTaken: false)
            } == "unexplained verdict")
    }

    // MARK: Duplicates

    private static func duplicate(_ status: Int = 200, _ events: EventLine...) -> TortureChecks {
        checks {
            $0.apns[1].status = status
            $0.apns.append(arrival("b", 11, at: 2_001_500))
            $0.events += events
        }
    }

    @Test func `a duplicate of an answered push requires a cause`() {
        #expect(Self.duplicate().duplicatesWithoutCause.count == 1)
        #expect(Self.duplicate(0).duplicates == [.unanswered: 1])
        #expect(Self.duplicate(200, EventLine(at: 2_000_250, kind: .killed)).duplicates == [.kill: 1])
        #expect(Self.duplicate(200, EventLine(at: 2_000_250, kind: .crashed)).duplicates == [.kill: 1])
        #expect(Self.duplicate(200, EventLine(at: 2_000_250, kind: .stopRequested)).duplicatesWithoutCause.count == 1)
    }

    @Test func `a push with on_unanswered drop must never arrive twice`() {
        let checks = Self.checks {
            $0.client[0] = Self.sent { $0.dropsUnanswered = true }
            $0.apns[1].status = 0
            $0.apns.append(Self.arrival("b", 11, at: 2_001_500))
            $0.events.append(EventLine(at: 2_000_250, kind: .killed))
        }
        #expect(checks.duplicatesWithoutCause.count == 1 && checks.duplicates == [:])
    }

    @Test func `a kill at another time is not a cause`() {
        for at: Int64 in [1_999_000, 2_001_600] {
            #expect(Self.duplicate(200, EventLine(at: at, kind: .killed)).duplicatesWithoutCause.count == 1, "\(at)")
        }
        let checks = Self.checks {
            $0.apns.append(Self.arrival("b", 11, at: 2_009_000))
            $0.events.append(EventLine(at: 2_008_000, kind: .killed))
        }
        #expect(checks.duplicatesWithoutCause.count == 1)
    }

    @Test func `a push that arrives after the kill of its sender may be a duplicate`() {
        func checks(opened: Int64) -> TortureChecks {
            Self.checks {
                $0.events.append(EventLine(at: 2_000_000, kind: .killed))
                $0.apns[0].at = opened
                $0.apns[1].at = 2_000_900
                $0.apns[2].at = 2_000_900
                $0.apns.append(Self.arrival("b", 11, at: 2_001_500))
            }
        }
        #expect(checks(opened: 1_990_000).duplicates == [.kill: 1])
        #expect(checks(opened: 2_000_800).duplicatesWithoutCause.count == 1)
    }

    @Test func `a cut connection is a cause for its pushes only`() {
        func checks(breaks: Bool, connection: UInt64) -> TortureChecks {
            Self.checks {
                $0.events.append(EventLine(at: 2_000_000, kind: .fault, detail: "cut", breaksConnections: breaks))
                $0.apns.append(Self.arrival("b", 11, at: 2_001_500))
                var victim = Self.arrival("c", 12, at: 2_000_210, status: 0, isTaken: false)
                victim.connection = connection
                $0.apns.append(victim)
            }
        }
        #expect(checks(breaks: true, connection: 1).duplicates == [.cut: 1])
        #expect(checks(breaks: true, connection: 2).duplicatesWithoutCause.count == 1)
        #expect(checks(breaks: false, connection: 1).duplicatesWithoutCause.count == 1)
    }

    @Test func `a connection that is closed because of errors counts as cut, one that is used again does not`() {
        func checks(status: Int, usedAt: Int64) -> TortureChecks {
            Self.checks {
                $0.apns.insert(Self.arrival("c", 12, at: 2_000_100, status: status, isTaken: false), at: 0)
                var again = Self.arrival("b", 11, at: 2_001_500)
                again.connection = 2
                $0.apns.append(again)
                $0.apns.append(Self.arrival("a", 10, at: usedAt, status: 410, isTaken: false))
            }
        }
        #expect(checks(status: 503, usedAt: 2_000_900).duplicates == [.cut: 1])
        #expect(checks(status: 503, usedAt: 2_001_600).duplicatesWithoutCause.count == 1)
        #expect(checks(status: 429, usedAt: 2_000_900).duplicatesWithoutCause.count == 1)
    }

    @Test func `one push with two IDs is a duplicated identity`() {
        let again = Self.completed(["a", "x", "c"])
        #expect(
            Self.violation {
                $0.client.append(again)
                $0.store.append(StoreLine(at: 9_000_000, id: "x", state: "delivered", code: 0))
                $0.apns.append(Self.arrival("x", 11))
            } == "duplicated identity")
    }

    // MARK: Unknown

    @Test func `a push without a response may be accepted or not`() {
        let accepted = Self.checks { $0.client[1] = Self.completed(["a"]) }
        #expect(accepted.passed)
        #expect((accepted.accepted, accepted.unknown, accepted.recovered) == (1, 2, 2))
        let missing = Self.checks {
            $0.client[1] = Self.completed(["a"])
            $0.apns.removeLast(2)
        }
        #expect(missing.passed && missing.recovered == 0)
    }

    @Test func `an unconfirmed ID is not a promise, and a later response counts`() {
        let unconfirmed = Self.checks { $0.client[1] = Self.completed(["a", "b", "c"], .unknown) }
        #expect(unconfirmed.passed)
        #expect((unconfirmed.accepted, unconfirmed.unknown, unconfirmed.recovered) == (0, 3, 3))
        let later = Self.checks { $0.client.insert(Self.completed([nil, nil, nil]), at: 1) }
        #expect(later.passed)
        #expect((later.accepted, later.refused) == (3, 0))
    }

    // MARK: The process

    @Test func `an unexpected exit is a crash`() {
        #expect(Self.violation { $0.events.append(EventLine(at: 3_000_000, kind: .crashed)) } == "crashes")
    }

    @Test func `a stop must have status 0 and end in time`() {
        func stop(_ status: Int, after milliseconds: Int64) -> String {
            Self.violation {
                $0.events.append(EventLine(at: 3_000_000, kind: .stopRequested))
                $0.events.append(EventLine(at: 3_000_000 + milliseconds, kind: .stopped, status: status))
            }
        }
        #expect(stop(0, after: 25_000) == "none")
        #expect(stop(1, after: 100) == "crashes")
        #expect(stop(0, after: 25_001) == "crashes")
    }

    @Test func `the report names the check, the push and the seed`() {
        let lost = Self.checks { $0.store.removeAll { $0.id == "b" } }
        let text = TortureReport(lost, folder: "runs/7").text
        #expect(text.contains("lost: b: accepted, but unknown to the gateway"))
        #expect(text.contains("seed 42") && text.contains("runs/7") && text.contains("A promise was broken."))
        #expect(TortureReport(Self.checks(), folder: "x").text.contains("Every promise was kept."))
    }
}

@Suite struct `The plan of a torture run` {
    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func `depends only on the seed, and has the requested interruptions`(_ seed: UInt64) {
        let plan = TorturePlan(seed: seed, duration: .seconds(40), kills: 5, stops: 2)
        #expect(plan == TorturePlan(seed: seed, duration: .seconds(40), kills: 5, stops: 2))
        #expect(plan != TorturePlan(seed: seed + 1, duration: .seconds(40), kills: 5, stops: 2))
        #expect(plan.interruptions.filter { $0.kind == .kill }.count == 5)
        #expect(plan.interruptions.filter { $0.kind == .stop }.count == 2)
        #expect(plan.interruptions.map(\.at) == plan.interruptions.map(\.at).sorted())
        #expect(plan.interruptions.allSatisfy { $0.at < .seconds(40) })
        #expect(plan.periods.map(\.length).reduce(.zero, +) == .seconds(40))
        #expect(plan.periods.contains { $0.fault == nil })
    }

    @Test(arguments: TortureFault.all.map(\.name))
    func `has faults that the simulator accepts`(_ name: String) throws {
        let fault = try #require(TortureFault.all.first { $0.name == name })
        #expect(try !FaultPlan(document: Array(fault.plan.utf8)).isEmpty)
    }
}
