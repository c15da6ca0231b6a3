import APNSSimulator
import Testing

@testable import godwit_lab

/// The checker of `godwit torture`: logs with one thing wrong, and it must say which.
@Suite struct `The verdict on a torture run` {
    /// A request of three pushes to devices 10, 11 and 12: accepted, delivered, and nothing wrong.
    static let good = TortureLogs(
        client: [sent(), answered(["a", "b", "c"])],
        apns: [arrival("a", 10), arrival("b", 11), arrival("c", 12)],
        store: ["a", "b", "c"].map { StoreLine(at: 9_000_000, id: $0, state: "delivered", code: 0) },
        events: [EventLine(at: 1_000_000, kind: .began, seed: 42), EventLine(at: 1_000_000, kind: .started)]
    )

    static func sent(_ change: (inout SentRequest) -> Void = { _ in }) -> ClientLine {
        var request = SentRequest(request: 1, app: "one", lane: "bulk", first: 10, count: 3)
        change(&request)
        return ClientLine(at: 2_000_000, sent: request)
    }

    static func answered(_ ids: [String?], _ word: CompletedRequest.Word = .accepted) -> ClientLine {
        let items = ids.map { CompletedRequest.Item(id: $0, word: $0 == nil ? .refused : word) }
        return ClientLine(at: 2_000_100, answered: CompletedRequest(request: 1, status: 200, items: items))
    }

    static func arrival(
        _ id: String, _ device: Int?, at: Int64 = 2_000_200, status: Int = 200, topic: String = "one",
        isTaken: Bool = true, isIntact: Bool = true
    ) -> APNSLine {
        APNSLine(
            at: at, id: id, device: device, topic: topic, isIntact: isIntact, status: status, isTaken: isTaken,
            connection: 1)
    }

    /// The verdict on the good logs after a change.
    static func verdict(_ change: (inout TortureLogs) -> Void = { _ in }) -> TortureChecks {
        var logs = good
        change(&logs)
        return TortureChecks(logs)
    }

    /// The only kind of violation that was found; "none", or all of them, when it is not one.
    static func violation(_ change: (inout TortureLogs) -> Void) -> String {
        let found = verdict(change).violations.filter { !$0.findings.isEmpty }.map(\.name)
        return found.isEmpty ? "none" : found.joined(separator: ", ")
    }

    @Test func `a good run is good, and counted`() {
        let verdict = Self.verdict()
        #expect(verdict.isGood)
        #expect((verdict.offered, verdict.accepted, verdict.refused, verdict.unknown) == (3, 3, 0, 0))
        #expect(verdict.states == ["delivered": 3])
        #expect(verdict.received == 3 && verdict.twice.isEmpty && verdict.recovered == 0)
    }

    // MARK: Lost

    @Test func `an accepted push that the gateway does not know is lost`() {
        #expect(Self.violation { $0.store.removeAll { $0.id == "b" } } == "lost")
        #expect(Self.violation { $0.store[1].state = "unknown" } == "lost")
    }

    @Test(arguments: ["queued", "scheduled", "sending", "retrying"])
    func `an accepted push that has not ended is lost`(_ state: String) {
        #expect(Self.violation { $0.store[1].state = state } == "lost")
    }

    @Test func `a delivered push that APNs has not taken is lost`() {
        #expect(Self.violation { $0.apns.removeAll { $0.id == "b" } } == "lost")
        #expect(Self.violation { $0.apns[1] = Self.arrival("b", 11, status: 503, isTaken: false) } == "lost")
    }

    // MARK: Not to be sent

    @Test func `what nobody sent is a phantom`() {
        #expect(Self.violation { $0.apns.append(Self.arrival("x", nil)) } == "phantom")
        #expect(Self.violation { $0.apns.append(Self.arrival("x", 99)) } == "phantom")
        #expect(Self.violation { $0.apns[1] = Self.arrival("b", 11, topic: "two") } == "phantom")
        #expect(Self.violation { $0.apns[1] = Self.arrival("b", 11, isIntact: false) } == "phantom")
    }

    @Test func `what was refused and arrives is a phantom`() {
        #expect(Self.violation { $0.client[1] = Self.answered(["a", nil, "c"]) } == "phantom")
    }

    @Test func `what arrives after its expiration is late, from one second on`() {
        #expect(Self.violation { $0.client[0] = Self.sent { $0.expiration = 1999 } } == "late")
        #expect(Self.violation { $0.client[0] = Self.sent { $0.expiration = 2000 } } == "none")
    }

    @Test func `what arrives before its time is early`() {
        #expect(Self.violation { $0.client[0] = Self.sent { $0.notBefore = 2001 } } == "early")
        #expect(Self.violation { $0.client[0] = Self.sent { $0.notBefore = 2000 } } == "none")
    }

    @Test func `what arrives after it was cancelled was sent after its cancellation`() {
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

    @Test func `a verdict that changes is noticed`() {
        let look = StoreLine(at: 3_000_000, id: "b", state: "rejected", code: 3002)
        #expect(Self.violation { $0.store.insert(look, at: 0) } == "changed")
        let early = StoreLine(at: 3_000_000, id: "b", state: "sending", code: 0)
        #expect(Self.violation { $0.store.insert(early, at: 0) } == "none")
    }

    @Test func `a confirmed cancellation is a verdict too`() {
        let cancelled = ClientLine(at: 9_000_000, cancelled: CancelledPush(id: "b", isConfirmed: true))
        #expect(Self.violation { $0.client.append(cancelled) } == "changed")
        let wish = ClientLine(at: 9_000_000, cancelled: CancelledPush(id: "b", isConfirmed: false))
        #expect(Self.violation { $0.client.append(wish) } == "none")
    }

    @Test func `poison needs five deaths`() {
        func violation(kills: Int) -> String {
            Self.violation {
                $0.store[1] = StoreLine(at: 9_000_000, id: "b", state: "given_up", code: 3023)
                $0.events += (0..<kills).map { EventLine(at: 3_000_000 + Int64($0), kind: .killed) }
            }
        }
        #expect(violation(kills: 4) == "unfounded")
        #expect(violation(kills: 5) == "none")
    }

    @Test(arguments: ["rejected", "expired", "cancelled", "given_up", "suppressed"])
    func `a verdict needs a reason`(_ state: String) {
        #expect(Self.violation { $0.store[1].state = state } == "unfounded")
    }

    @Test func `with a reason it is none`() {
        func none(_ state: String, _ change: (inout TortureLogs) -> Void) {
            #expect(
                Self.violation {
                    $0.store[1].state = state
                    $0.apns.removeAll { $0.id == "b" }
                    change(&$0)
                } == "none")
        }
        none("rejected") { $0.apns.append(Self.arrival("b", 11, status: 410, isTaken: false)) }
        none("expired") { $0.client[0] = Self.sent { $0.expiration = 2001 } }
        none("cancelled") {
            $0.client.append(ClientLine(at: 2_000_150, cancelled: CancelledPush(id: "b", isConfirmed: true)))
        }
        none("given_up") { $0.client[0] = Self.sent { $0.dropsUnanswered = true } }
    }

    @Test(arguments: [403, 429, 500, 503, 0])
    func `an answer about the moment rejects nothing`(_ status: Int) {
        #expect(
            Self.violation {
                $0.store[1].state = "rejected"
                $0.apns[1] = Self.arrival("b", 11, status: status, isTaken: false)
            } == "unfounded")
    }

    // MARK: Twice

    private static func twice(_ status: Int = 200, _ events: EventLine...) -> TortureChecks {
        verdict {
            $0.apns[1].status = status
            $0.apns.append(arrival("b", 11, at: 2_001_500))
            $0.events += events
        }
    }

    @Test func `what was answered and is sent again needs a cause`() {
        #expect(Self.twice().duplicatesWithoutCause.count == 1)
        #expect(Self.twice(0).twice == [.unanswered: 1])
        #expect(Self.twice(200, EventLine(at: 2_000_250, kind: .killed)).twice == [.death: 1])
        #expect(Self.twice(200, EventLine(at: 2_000_250, kind: .died)).twice == [.death: 1])
        #expect(Self.twice(200, EventLine(at: 2_000_250, kind: .asked)).duplicatesWithoutCause.count == 1)
    }

    @Test func `what is to be dropped when unanswered comes once, whatever happens`() {
        let verdict = Self.verdict {
            $0.client[0] = Self.sent { $0.dropsUnanswered = true }
            $0.apns[1].status = 0
            $0.apns.append(Self.arrival("b", 11, at: 2_001_500))
            $0.events.append(EventLine(at: 2_000_250, kind: .killed))
        }
        #expect(verdict.duplicatesWithoutCause.count == 1 && verdict.twice == [:])
    }

    @Test func `a death before, long after or behind it all is no cause`() {
        for at: Int64 in [1_999_000, 2_001_600] {
            #expect(Self.twice(200, EventLine(at: at, kind: .killed)).duplicatesWithoutCause.count == 1, "\(at)")
        }
        let verdict = Self.verdict {
            $0.apns.append(Self.arrival("b", 11, at: 2_009_000))
            $0.events.append(EventLine(at: 2_008_000, kind: .killed))
        }
        #expect(verdict.duplicatesWithoutCause.count == 1)
    }

    @Test func `what arrives after the death of its sender is the dead one's`() {
        func verdict(opened: Int64) -> TortureChecks {
            Self.verdict {
                $0.events.append(EventLine(at: 2_000_000, kind: .killed))
                $0.apns[0].at = opened
                $0.apns[1].at = 2_000_900
                $0.apns[2].at = 2_000_900
                $0.apns.append(Self.arrival("b", 11, at: 2_001_500))
            }
        }
        #expect(verdict(opened: 1_990_000).twice == [.death: 1])
        #expect(verdict(opened: 2_000_800).duplicatesWithoutCause.count == 1)
    }

    @Test func `a cut connection is a cause for what was on it`() {
        func verdict(breaks: Bool, connection: UInt64) -> TortureChecks {
            Self.verdict {
                $0.events.append(EventLine(at: 2_000_000, kind: .fault, what: "cut", breaksConnections: breaks))
                $0.apns.append(Self.arrival("b", 11, at: 2_001_500))
                var victim = Self.arrival("c", 12, at: 2_000_210, status: 0, isTaken: false)
                victim.connection = connection
                $0.apns.append(victim)
            }
        }
        #expect(verdict(breaks: true, connection: 1).twice == [.cut: 1])
        #expect(verdict(breaks: true, connection: 2).duplicatesWithoutCause.count == 1)
        #expect(verdict(breaks: false, connection: 1).duplicatesWithoutCause.count == 1)
    }

    @Test func `a connection that is given up for its errors is cut, one that is used on is not`() {
        func verdict(status: Int, usedAt: Int64) -> TortureChecks {
            Self.verdict {
                $0.apns.insert(Self.arrival("c", 12, at: 2_000_100, status: status, isTaken: false), at: 0)
                var again = Self.arrival("b", 11, at: 2_001_500)
                again.connection = 2
                $0.apns.append(again)
                $0.apns.append(Self.arrival("a", 10, at: usedAt, status: 410, isTaken: false))
            }
        }
        #expect(verdict(status: 503, usedAt: 2_000_900).twice == [.cut: 1])
        #expect(verdict(status: 503, usedAt: 2_001_600).duplicatesWithoutCause.count == 1)
        #expect(verdict(status: 429, usedAt: 2_000_900).duplicatesWithoutCause.count == 1)
    }

    @Test func `one push under two ids is split`() {
        let again = Self.answered(["a", "x", "c"])
        #expect(
            Self.violation {
                $0.client.append(again)
                $0.store.append(StoreLine(at: 9_000_000, id: "x", state: "delivered", code: 0))
                $0.apns.append(Self.arrival("x", 11))
            } == "split")
    }

    // MARK: Unknown

    @Test func `what the client never learnt may be there or not`() {
        let there = Self.verdict { $0.client[1] = Self.answered(["a"]) }
        #expect(there.isGood)
        #expect((there.accepted, there.unknown, there.recovered) == (1, 2, 2))
        let gone = Self.verdict {
            $0.client[1] = Self.answered(["a"])
            $0.apns.removeLast(2)
        }
        #expect(gone.isGood && gone.recovered == 0)
    }

    @Test func `an id in doubt is no promise, and a later answer counts`() {
        let doubt = Self.verdict { $0.client[1] = Self.answered(["a", "b", "c"], .unknown) }
        #expect(doubt.isGood)
        #expect((doubt.accepted, doubt.unknown, doubt.recovered) == (0, 3, 3))
        let later = Self.verdict { $0.client.insert(Self.answered([nil, nil, nil]), at: 1) }
        #expect(later.isGood)
        #expect((later.accepted, later.refused) == (3, 0))
    }

    // MARK: The process

    @Test func `an end that nobody asked for is a crash`() {
        #expect(Self.violation { $0.events.append(EventLine(at: 3_000_000, kind: .died)) } == "crashes")
    }

    @Test func `SIGTERM ends with 0, and in time`() {
        func end(_ status: Int, after milliseconds: Int64) -> String {
            Self.violation {
                $0.events.append(EventLine(at: 3_000_000, kind: .asked))
                $0.events.append(EventLine(at: 3_000_000 + milliseconds, kind: .stopped, status: status))
            }
        }
        #expect(end(0, after: 25_000) == "none")
        #expect(end(1, after: 100) == "crashes")
        #expect(end(0, after: 25_001) == "crashes")
    }

    @Test func `the report names the kind, the push and the seed`() {
        let lost = Self.verdict { $0.store.removeAll { $0.id == "b" } }
        let text = TortureReport(lost, folder: "runs/7").text
        #expect(text.contains("lost: b: accepted, and the gateway does not know it"))
        #expect(text.contains("seed 42") && text.contains("runs/7") && text.contains("A promise was broken."))
        #expect(TortureReport(Self.verdict(), folder: "x").text.contains("Every promise was kept."))
    }
}

@Suite struct `The plan of a torture run` {
    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func `it follows from the seed, and does what was asked for`(_ seed: UInt64) {
        let plan = TorturePlan(seed: seed, duration: .seconds(40), kills: 5, stops: 2)
        #expect(plan == TorturePlan(seed: seed, duration: .seconds(40), kills: 5, stops: 2))
        #expect(plan != TorturePlan(seed: seed + 1, duration: .seconds(40), kills: 5, stops: 2))
        #expect(plan.interruptions.filter { $0.kind == .kill }.count == 5)
        #expect(plan.interruptions.filter { $0.kind == .stop }.count == 2)
        #expect(plan.interruptions.map(\.at) == plan.interruptions.map(\.at).sorted())
        #expect(plan.interruptions.allSatisfy { $0.at < .seconds(40) })
        #expect(plan.spells.map(\.length).reduce(.zero, +) == .seconds(40))
        #expect(plan.spells.contains { $0.fault == nil })
    }

    @Test(arguments: TortureFault.all.map(\.name))
    func `the simulator understands every fault`(_ name: String) throws {
        let fault = try #require(TortureFault.all.first { $0.name == name })
        #expect(try !FaultPlan(document: Array(fault.plan.utf8)).isEmpty)
    }
}
