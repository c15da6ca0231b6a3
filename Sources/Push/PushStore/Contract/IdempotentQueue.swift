package import Foundation
package import PushModel

/// A queue that remembers what it answered, in the write that makes the pushes durable.
package protocol IdempotentQueue: DurableQueue {
    /// What was answered to this key; nil when it is unknown or older than 24 hours.
    func answer(to key: IdempotencyKey, now: WallTime) async throws(QueueError) -> IdempotencyRecord?

    /// `append`, and with it the answers: all of it or nothing.
    ///
    /// - Precondition: none of the keys is known; the caller has looked, and lets no two requests with one key run at a
    ///   time.
    func append(_ batches: [NewBatch], storing answers: [IdempotencyKey: IdempotencyRecord]) async throws(QueueError)
        -> [Lease?]
}

/// Whose key, for which route: the SHA-256 of the three, so that no part of a secret is stored.
package struct IdempotencyKey: Sendable, Hashable {
    /// 32 bytes.
    package let digest: Data

    package init(digest: Data) {
        precondition(digest.count == 32, "a SHA-256 has 32 bytes")
        self.digest = digest
    }

    /// How long an answer is remembered.
    package static let lifetime: Duration = .seconds(24 * 3600)
}

package struct IdempotencyRecord: Sendable, Equatable {
    /// SHA-256 of the request's body.
    package var fingerprint: Data
    /// What is needed to answer the same again; accept alone knows its form.
    package var body: Data
    package var at: WallTime

    package init(fingerprint: Data, body: Data, at: WallTime) {
        self.fingerprint = fingerprint
        self.body = body
        self.at = at
    }
}
