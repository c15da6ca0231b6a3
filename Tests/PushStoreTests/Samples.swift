import APNSWire
import Foundation
import PushModel
import PushStore

enum Samples {
    static let now = WallTime(milliseconds: 1_790_000_000_123)

    /// A random batch with pushes of all kinds.
    static func batch(_ count: Int, using generator: inout some RandomNumberGenerator) -> Batch {
        let id = BatchID(at: now, using: &generator)
        var pushes = NotificationBatch(firstID: id.value)
        let types = PushType.allCases
        for _ in 0..<count {
            let token = (0..<Int.random(in: 1...100, using: &generator)).map { UInt8($0) }
            let payload = [UInt8](repeating: 65, count: Int.random(in: 0...60, using: &generator))
            let headers = NotificationHeaders(
                topic: "org.example.\(Int.random(in: 0..<3, using: &generator))",
                pushType: types.randomElement(using: &generator)!,
                priority: [nil, .immediate, .conserving, .low].randomElement(using: &generator)!,
                collapseID: Bool.random(using: &generator) ? "collapse" : nil
            )
            let expiration = [NotificationBatch.noExpiration, 0, 1_900_000_000].randomElement(using: &generator)!
            token.withUnsafeBytes { token in
                payload.withUnsafeBytes { payload in
                    pushes.append(token: token, payload: payload, headers: headers, expiration: expiration)
                }
            }
        }
        return Batch(
            id: id, app: AppID("app"), environment: Bool.random(using: &generator) ? .sandbox : .production,
            lane: Lane.allCases.randomElement(using: &generator)!, acceptedAt: now,
            dueTimes: column([nil, now + .seconds(60), now + .milliseconds(1)], count, using: &generator),
            notifications: pushes, clients: column([nil, "a", "b"], count, using: &generator),
            traceparents: column([nil, "00-abc"], count, using: &generator),
            requestIDs: column(["r1", "r2"], count, using: &generator),
            ambiguity: Bool.random(using: &generator) ? .drop : .resend
        )
    }

    private static func column<Value: Hashable>(
        _ values: [Value?], _ count: Int, using generator: inout some RandomNumberGenerator
    ) -> PushColumn<Value> {
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: PushColumn()
        case 1: PushColumn(shared: values.randomElement(using: &generator)!)
        default: PushColumn((0..<count).map { _ in values.randomElement(using: &generator)! })
        }
    }

    /// `count` pushes with tokens of 32 bytes and the payloads that `payload` gives.
    static func uniform(_ count: Int, payload: (Int) -> String) -> Batch {
        let id = BatchID.random(at: now)
        var pushes = NotificationBatch(firstID: id.value)
        let headers = NotificationHeaders(topic: "org.example.app", pushType: .alert)
        for index in 0..<count {
            [UInt8](repeating: UInt8(index & 255), count: 32).withUnsafeBytes { token in
                Array(payload(index).utf8).withUnsafeBytes { payload in
                    pushes.append(token: token, payload: payload, headers: headers)
                }
            }
        }
        return Batch(id: id, app: AppID("app"), lane: .bulk, acceptedAt: now, notifications: pushes)
    }

    static func outcome(_ index: Int, _ verdict: Verdict = .delivered) -> Outcome {
        Outcome(index: UInt16(index), verdict: verdict, code: .none, status: 200, attempts: 1)
    }

    static func retry(_ index: Int, attempts: UInt16 = 1, due: WallTime) -> Retry {
        Retry(index: UInt16(index), code: .apnsUnavailable, status: 503, attempts: attempts, due: due)
    }
}

/// A stored message with the checksum that belongs to it, in place of the one at its end.
func resealed(_ message: Data, of batch: BatchID? = nil) -> Data {
    var bytes = Data(message.dropLast(StoredChecksum.byteCount)) + [0xA5, 0x06, 0, 0, 0, 0]
    StoredChecksum.fill(&bytes, of: batch)
    return bytes
}

/// Damages bytes at a few offsets: flips, insertions, deletions, truncation.
func mutated(_ bytes: Data, using generator: inout some RandomNumberGenerator) -> Data {
    var bytes = [UInt8](bytes)
    for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
        // Most of the structure is in the first bytes, so half of the damage is there.
        let reach = Bool.random(using: &generator) ? min(bytes.count, 48) : bytes.count
        let offset = Int.random(in: 0..<reach, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1: bytes[offset] = UInt8.random(in: 0...255, using: &generator)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: offset)
        case 3: bytes.remove(at: offset)
        default: bytes.removeSubrange(offset...)
        }
    }
    return Data(bytes)
}
