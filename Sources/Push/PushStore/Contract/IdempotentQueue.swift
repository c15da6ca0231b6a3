package import Foundation
package import PushModel

/// A queue that stores the response to an idempotent request in the same write as the request's pushes.
package protocol IdempotentQueue: DurableQueue {
    /// The stored response of `key`; nil if there is none, or if it is older than `IdempotencyKey.lifetime`.
    func idempotencyRecord(for key: IdempotencyKey, now: WallTime) async throws(QueueError) -> IdempotencyRecord?

    /// Appends batches and stores responses in one write: all of it or nothing.
    ///
    /// - Throws: `idempotencyKeyUsed` if one of the keys has a record. Another instance may have stored it since the
    ///   caller looked.
    func append(_ batches: [NewBatch], storing records: [IdempotencyKey: IdempotencyRecord]) async throws(QueueError)
        -> [Lease?]

    /// What the stored responses take, including expired ones that are not pruned yet. Does not wait for writes in
    /// progress.
    func idempotencyUsage() -> IdempotencyUsage
}

/// The number of stored responses and their size.
package struct IdempotencyUsage: Sendable, Equatable {
    package var records: Int
    /// Of the encoded responses, without keys and fingerprints.
    package var bytes: Int

    package init(records: Int = 0, bytes: Int = 0) {
        self.records = records
        self.bytes = bytes
    }
}

/// SHA-256 of caller, route and the caller's key, so that no part of a secret is stored.
package struct IdempotencyKey: Sendable, Hashable {
    /// 32 bytes.
    package let digest: Data

    package init(digest: Data) {
        precondition(digest.count == 32, "a SHA-256 has 32 bytes")
        self.digest = digest
    }

    /// How long a response is stored.
    package static let lifetime: Duration = .seconds(24 * 3600)
}

package struct IdempotencyRecord: Sendable, Equatable {
    /// SHA-256 of the request's body.
    package var fingerprint: Data
    /// The encoded response. Accept defines its form.
    package var body: Data
    package var at: WallTime

    package init(fingerprint: Data, body: Data, at: WallTime) {
        self.fingerprint = fingerprint
        self.body = body
        self.at = at
    }
}
