import APNSWire
import Foundation
import PushModel
import PushStore
import PushTesting
import SQLiteBackend
import Testing

/// Compares the arrows of `docs/explanation/push-lifecycle.md` with what a store reports: every event is applied to a
/// push in every state that can be reached, and each change of its state is an arrow.
@Suite struct `The life cycle of a push` {
    @Test func `has the arrows of the page and no others`() async throws {
        let page = try LifecyclePage()
        let found = try await Self.explore()
        #expect(found.subtracting(page.table).map(\.description).sorted() == [], "not on the page")
        #expect(page.table.subtracting(found).map(\.description).sorted() == [], "on the page only")
    }

    @Test func `is drawn with the arrows of the table`() throws {
        let page = try LifecyclePage()
        try #require(!page.table.isEmpty)
        #expect(page.drawing.map(\.description).sorted() == page.table.map(\.description).sorted())
    }

    @Test func `has the states that the API returns`() throws {
        let states: [PushStatus.State] =
            [.queued, .scheduled, .sending, .retrying] + Verdict.allCases.map { .settled($0) }
        let page = try LifecyclePage()
        #expect(Set(page.table.map(\.to)) == Set(states.map(\.label)))
    }

    /// Every arrow, found breadth first.
    private static func explore() async throws -> Set<Arrow> {
        var arrows: Set<Arrow> = []
        var reached: Set<String> = []
        var recipes: [[LifecycleEvent]] = [[]]
        while !recipes.isEmpty {
            let recipe = recipes.removeFirst()
            for event in recipe.isEmpty ? LifecycleEvent.beginnings : LifecycleEvent.continuations {
                let trial = try LifecycleTrial()
                for step in recipe + [event] { try await trial.apply(step) }
                arrows.formUnion(trial.arrows)
                if reached.insert(trial.state).inserted { recipes.append(recipe + [event]) }
                await trial.close()
            }
        }
        return arrows
    }
}

/// A change of the state that `GET /api/v1/messages/{msg_id}` returns.
private struct Arrow: Hashable, CustomStringConvertible {
    static let start = "new"

    var from: String
    var to: String

    var description: String { "\(from) → \(to)" }
}

/// The arrows of the page: rows of its table, and lines of its Mermaid drawing.
private struct LifecyclePage {
    let table: Set<Arrow>
    let drawing: Set<Arrow>

    init() throws {
        let path = "\(Repository.root)/docs/explanation/push-lifecycle.md"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        table = Set(
            text.matches(of: /(?m)^\| `(\w+)` \| `(\w+)` \|/).map { Arrow(from: String($0.1), to: String($0.2)) }
        )
        drawing = Set(
            text.matches(of: /(?m)^ +(\w+|\[\*\]) --> (\w+)/).map { match in
                Arrow(from: match.1 == "[*]" ? Arrow.start : String(match.1), to: String(match.2))
            }
        )
    }
}

/// An event in the life of a push.
private enum LifecycleEvent {
    case accepted
    case acceptedForLater
    case handedToDispatch
    /// The same request has a second push with the same collapse id to the same device.
    case acceptedWithNewer

    case hourPasses
    /// Longer than the lifetime of the push, and no claim.
    case dayPasses
    case claimed
    case returnedUnsent
    case retried
    case settled(Verdict)
    /// Given up and replayed while the batch's other push is still being sent.
    case givenUpAndReplayed
    case cancelled
    case superseded
    case returnedAfterNewer
    case replayed
    case crashed
    /// The process crashes each time it works on the push.
    case crashedRepeatedly

    static let beginnings: [LifecycleEvent] = [.accepted, .acceptedForLater, .handedToDispatch, .acceptedWithNewer]

    static let continuations: [LifecycleEvent] =
        [
            .hourPasses, .dayPasses, .claimed, .returnedUnsent, .retried, .givenUpAndReplayed, .cancelled, .superseded,
            .returnedAfterNewer, .replayed, .crashed, .crashedRepeatedly,
        ] + settlements.map { .settled($0) }

    /// The verdicts that dispatch records: those that follow from an attempt, and the cancellation of a claimed push
    /// that was not sent yet.
    private static var settlements: [Verdict] {
        var verdicts: Set<Verdict> = [.cancelled]
        for answer in answers {
            for ambiguity in AmbiguityPolicy.allCases {
                for (attempts, lifetime) in [(0, 3600), (49, 3600), (0, 0)] as [(UInt16, Int64)] {
                    let action = DeliveryPolicy().action(
                        for: VerdictTable.meaning(of: answer), context: DeliveryPolicy.Context(blame: .push),
                        attempts: attempts, ambiguity: ambiguity, due: WallTime(seconds: 1_000_000),
                        deadline: WallTime(seconds: 1_000_000 + lifetime), now: WallTime(seconds: 1_000_000),
                        jitter: 0.5
                    )
                    if case .settle(let verdict, _, _) = action { verdicts.insert(verdict) }
                }
            }
        }
        return verdicts.sorted { $0.rawValue < $1.rawValue }
    }

    /// Every possible end of an attempt.
    private static var answers: [APNSAnswer] {
        let statuses: [UInt16] = [200, 302, 400, 403, 404, 405, 410, 413, 429, 500, 503]
        let answered = statuses.flatMap { status in
            APNSReason.allCases.map { APNSAnswer(disposition: .answered, status: status, reason: $0) }
        }
        let failed = APNSAnswer.Failure.allCases.flatMap { failure in
            [APNSAnswer.Disposition.neverWritten, .refused, .ambiguous].map { APNSAnswer.failed(failure, $0) }
        }
        return answered + failed
    }
}

/// One push, the first of a batch of two, in a separate store.
private final class LifecycleTrial {
    private let harness: SQLiteHarness
    private var batch: BatchID?
    private var lease: Lease?
    private(set) var state = Arrow.start
    private(set) var arrows: Set<Arrow> = []

    init() throws {
        harness = try SQLiteHarness()
    }

    func close() async { await harness.close() }

    func apply(_ event: LifecycleEvent) async throws {
        switch event {
        case .accepted: try await append(Self.batch(at: harness.now))
        case .acceptedForLater:
            try await append(Self.batch(at: harness.now, notBefore: harness.now + .seconds(600)))
        case .handedToDispatch: try await append(Self.batch(at: harness.now), claim: .seconds(60))
        case .acceptedWithNewer: try await append(Self.batch(at: harness.now, devices: [1, 1]))
        case .hourPasses:
            harness.advance(by: .seconds(3600))
            try await observe()
            try await claim()
        case .dayPasses:
            harness.advance(by: .seconds(25 * 3600))
            try await observe()
            _ = try await harness.queue.expire(batchesMax: 9)
        case .claimed: try await claim()
        case .returnedUnsent: try await settle()
        case .retried:
            let due = harness.now + .seconds(60)
            try await settle(retries: [Retry(index: 0, code: .apnsUnavailable, status: 503, attempts: 1, due: due)])
        case .settled(let verdict): try await settle(outcomes: [Self.outcome(verdict)])
        case .givenUpAndReplayed:
            try await settle(outcomes: [Self.outcome(.givenUp)], release: .keep)
            try await observe()
            try await replay()
        case .cancelled:
            if let batch { _ = try await harness.queue.cancel([batch.push(0)], at: harness.now) }
        case .superseded: try await appendNewer()
        case .returnedAfterNewer:
            try await appendNewer()
            try await settle()
        case .replayed: try await replay()
        case .crashed: try crash()
        case .crashedRepeatedly:
            for _ in 0..<8 {
                harness.advance(by: .seconds(3600))
                try await observe()
                try await claim()
                try await observe()
                try crash()
                try await observe()
            }
        }
        try await observe()
    }

    /// Compares the state that the store reports with the last one.
    private func observe() async throws {
        guard let batch, let found = try await harness.queue.find([batch.push(0)]).first ?? nil else { return }
        let label = found.state.label
        if label != state { arrows.insert(Arrow(from: state, to: label)) }
        state = label
    }

    // MARK: Steps

    private func append(_ new: Batch, claim: Duration? = nil) async throws {
        lease = try await harness.queue.append([NewBatch(batch: new, claim: claim)]).first ?? nil
        batch = new.id
    }

    private func appendNewer() async throws {
        _ = try await harness.queue.append([NewBatch(batch: Self.batch(at: harness.now))])
    }

    private func claim() async throws {
        let claimed = try await harness.queue.claim(ClaimRequest(batchesMax: 9, lease: .seconds(60)))
        if let own = claimed.first(where: { $0.lease.batch == batch }) { lease = own.lease }
    }

    /// Does nothing unless the batch is claimed.
    private func settle(
        outcomes: [Outcome] = [], retries: [Retry] = [], release: Settlement.Release = .release
    ) async throws {
        guard let lease else { return }
        let settlement = Settlement(
            lease: lease, outcomes: outcomes, retries: retries, release: release, at: harness.now
        )
        _ = try await harness.queue.settle([settlement])
        if release.endsLease { self.lease = nil }
    }

    private func replay() async throws {
        guard let batch else { return }
        _ = try await harness.queue.replay(.ids([batch.push(0)]), at: harness.now)
    }

    /// The process crashes after it has begun to send.
    private func crash() throws {
        if let lease { harness.queue.begun([lease]) }
        try harness.crash()
        lease = nil
    }

    private static func outcome(_ verdict: Verdict) -> Outcome {
        Outcome(index: 0, verdict: verdict, code: verdict == .delivered ? .none : .givenUp, attempts: 1)
    }

    /// A batch of pushes with one collapse id.
    ///
    /// - Parameter devices: the first byte of the token of each push.
    private static func batch(at now: WallTime, notBefore: WallTime? = nil, devices: [UInt8] = [1, 2]) -> Batch {
        let id = BatchID.random(at: now)
        var pushes = NotificationBatch(firstID: id.value)
        let headers = NotificationHeaders(topic: "org.example.app", pushType: .alert, collapseID: "score")
        for device in devices {
            [UInt8](repeating: device, count: 32).withUnsafeBytes { token in
                Array("{}".utf8).withUnsafeBytes { payload in
                    pushes.append(token: token, payload: payload, headers: headers)
                }
            }
        }
        return Batch(
            id: id, app: AppID("app"), lane: .normal, acceptedAt: now, dueTimes: PushColumn(shared: notBefore),
            notifications: pushes
        )
    }
}
