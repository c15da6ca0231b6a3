import APNSWire
import MemoryBackend
import PushModel
import PushStore

/// A batch of `count` pushes to different devices of one app.
func storedBatch(
    _ count: Int, id: BatchID = .random(at: TestGateway.now), app: String = "demo", lane: Lane = .normal,
    notBefore: WallTime? = nil, payloadBytes: Int = 40, expiration: Int64 = NotificationBatch.noExpiration,
    collapseID: String? = nil, pushType: PushType = .alert, priority: Priority? = nil
) -> Batch {
    var pushes = NotificationBatch(firstID: id.value)
    let headers = NotificationHeaders(
        topic: "com.example.app", pushType: pushType, priority: priority, collapseID: collapseID)
    let payload =
        Array("{\"n\":\"".utf8) + Array(repeating: UInt8(ascii: "x"), count: payloadBytes - 8) + Array("\"}".utf8)
    for index in 0..<count {
        [UInt8](repeating: UInt8(index), count: 32).withUnsafeBytes { token in
            payload.withUnsafeBytes { payload in
                pushes.append(token: token, payload: payload, headers: headers, expiration: expiration)
            }
        }
    }
    return Batch(
        id: id, app: AppID(app), lane: lane, acceptedAt: TestGateway.now, dueTimes: PushColumn(shared: notBefore),
        notifications: pushes
    )
}

extension MemoryBackend {
    /// Appends a batch that is claimed by its append, so that its pushes may be on their way.
    func appendClaimed(_ batch: Batch) throws -> Lease {
        guard let lease = try append([NewBatch(batch: batch, claim: .seconds(3600))])[0] else {
            throw QueueError.unavailable("the batch was not claimed", isOutcomeKnown: true)
        }
        return lease
    }

    /// Appends a batch and gives all of its pushes up, a minute later.
    func appendGivenUp(_ batch: Batch) throws {
        let outcomes = (0..<batch.count).map { index in
            Outcome(
                index: UInt16(index), verdict: .givenUp, code: .givenUp, status: 503, attempts: 50,
                reason: .known(.serviceUnavailable)
            )
        }
        let lease = try appendClaimed(batch)
        _ = try settle([Settlement(lease: lease, outcomes: outcomes, at: TestGateway.now + .seconds(60))])
    }
}
