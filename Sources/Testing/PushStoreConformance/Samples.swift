import APNSWire
import PushModel
import PushStore

/// Batches and settlements for the clauses.
enum Samples {
    static let app = AppID("sample")

    /// The token of push `index` of every batch.
    static func token(_ index: Int) -> [UInt8] {
        var token = [UInt8](repeating: UInt8(index & 255), count: 32)
        token[0] = UInt8(index >> 8)
        return token
    }

    /// A batch with distinct tokens and payloads. Push *i* of every batch has the same device token.
    static func batch(
        _ count: Int = 1, at now: WallTime, app: AppID = app, environment: APNSEnvironment = .production,
        lane: Lane = .normal, notBefore: WallTime? = nil, dueTimes: PushColumn<WallTime>? = nil,
        payloadBytes: Int = 40, collapseID: String? = nil, topic: String? = nil, pushType: PushType = .alert,
        requestID: String? = nil, ambiguity: AmbiguityPolicy = .resend, expirations: [Int64] = []
    ) -> Batch {
        let id = BatchID.random(at: now)
        var pushes = NotificationBatch(firstID: id.value)
        let headers = NotificationHeaders(
            topic: topic ?? "org.example.\(app)", pushType: pushType, priority: .immediate, collapseID: collapseID
        )
        for index in 0..<count {
            let payload = Array("{\"n\":\"\(index)".utf8)
            let filled = payload + Array(repeating: UInt8(ascii: "x"), count: max(0, payloadBytes - payload.count - 2))
            token(index).withUnsafeBytes { token in
                (filled + Array("\"}".utf8)).withUnsafeBytes { payload in
                    pushes.append(
                        token: token, payload: payload, headers: headers,
                        expiration: expirations.isEmpty ? NotificationBatch.noExpiration : expirations[index])
                }
            }
        }
        return Batch(
            id: id, app: app, environment: environment, lane: lane, acceptedAt: now,
            dueTimes: dueTimes ?? PushColumn(shared: notBefore), notifications: pushes,
            requestIDs: PushColumn(shared: requestID), ambiguity: ambiguity
        )
    }

    static func delivered(_ indexes: some Sequence<Int>) -> [Outcome] {
        indexes.map { Outcome(index: UInt16($0), verdict: .delivered, code: .none, status: 200, attempts: 1) }
    }

    static func givenUp(_ indexes: some Sequence<Int>) -> [Outcome] {
        indexes.map {
            Outcome(
                index: UInt16($0), verdict: .givenUp, code: .apnsUnavailable, status: 503, attempts: 50,
                reason: .known(.serviceUnavailable)
            )
        }
    }

    static func retry(_ index: Int, attempts: UInt16 = 1, due: WallTime) -> Retry {
        Retry(
            index: UInt16(index), code: .apnsUnavailable, status: 503, attempts: attempts,
            reason: .known(.serviceUnavailable), due: due
        )
    }
}

extension QueueHarness {
    /// Appends unclaimed batches.
    func append(_ batches: Batch...) async throws {
        let leases = try await queue.append(batches.map { NewBatch(batch: $0) })
        try expect(leases.count, is: batches.count, "leases are parallel to the batches")
        try expect(leases.allSatisfy { $0 == nil }, "a batch that was appended unclaimed has no lease")
    }

    /// Appends a batch, claims it in the same write, and begins to send.
    func appendClaimed(_ batch: Batch, lease: Duration = .seconds(20)) async throws -> Lease {
        let leases = try await queue.append([NewBatch(batch: batch, claim: lease)])
        let lease = try require(leases.first ?? nil, "a batch that was appended claimed has a lease")
        queue.begun([lease])
        return lease
    }

    /// Claims, and begins to send.
    func claim(_ request: ClaimRequest) async throws -> [ClaimedBatch] {
        let claims = try await queue.claim(request)
        queue.begun(claims.map(\.lease))
        return claims
    }

    func claim(
        _ batchesMax: Int = 100, pushesMax: Int = .max, lease: Duration = .seconds(20), lookahead: Duration = .zero,
        excluding: Set<AppID> = []
    ) async throws -> [ClaimedBatch] {
        try await claim(
            ClaimRequest(
                batchesMax: batchesMax, pushesMax: pushesMax, lease: lease, lookahead: lookahead,
                excludedApps: Set(excluding.map { AppEnvironment($0) })
            )
        )
    }

    /// Claims, and expects exactly one batch.
    func claimOne(
        _ subject: String = "one batch is claimable", lookahead: Duration = .zero
    ) async throws -> ClaimedBatch {
        let claimed = try await claim(lookahead: lookahead)
        try expect(claimed.count, is: 1, subject)
        return claimed[0]
    }

    /// Claims and settles as delivered until no push is due.
    ///
    /// - Returns: the pushes in the order of their claims.
    func deliverAll() async throws -> [PushID] {
        var delivered: [PushID] = []
        while case let claims = try await claim(), !claims.isEmpty {
            for claimed in claims {
                let indexes = claimed.pending?.map { Int($0.index) } ?? Array(0..<claimed.batch.count)
                delivered += indexes.map(claimed.batch.id.push)
                _ = try await settle(claimed.lease, Samples.delivered(indexes), release: .release)
            }
        }
        return delivered
    }

    func states(_ batch: Batch) async throws -> [PushStatus.State?] {
        try await queue.find((0..<batch.count).map(batch.id.push)).map { $0?.state }
    }

    func settle(
        _ lease: Lease, _ outcomes: [Outcome] = [], retries: [Retry] = [], release: Settlement.Release = .keep
    ) async throws -> [Lease] {
        try await queue.settle([
            Settlement(lease: lease, outcomes: outcomes, retries: retries, release: release, at: now)
        ])
    }

    func status(_ batch: Batch, _ index: Int = 0) async throws -> PushStatus {
        let found = try await queue.find([batch.id.push(index)])
        return try require(found.first ?? nil, "push \(index) is known")
    }
}
