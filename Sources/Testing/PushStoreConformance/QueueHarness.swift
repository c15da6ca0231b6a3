package import PushModel
package import PushStore

/// One gateway instance's view of a store.
package typealias QueueInstance = DeadLetterStore & IdempotentQueue & MessageSearch & OutcomeStore & QueueControl
    & StoreMaintenance

/// A fresh store of one backend, with control over time and crashes. A backend implements it to run the clauses.
package protocol QueueHarness: AnyObject {
    /// The instance under test.
    var queue: any QueueInstance { get }

    /// The store's wall clock.
    var now: WallTime { get async throws }

    /// Advances the time of leases and of due times. Backends with a clock of their own may have to wait.
    func advance(by duration: Duration) async throws

    /// Ends the instance as `kill -9` does, and opens another one on the same store. When it returns, the batches of
    /// the lost instance are claimable, immediately or because their leases have expired.
    func crash() async throws

    /// Changes a stored byte of a batch that waits.
    ///
    /// - Returns: false if the store keeps nothing that can be damaged.
    func damage(_ batch: BatchID, _ part: StoredPart) async throws -> Bool

    /// A second instance on the same store; nil if a store belongs to a single instance.
    func openSecond() async throws -> (any QueueInstance)?

    func close() async
}

/// Stored bytes of a batch.
package enum StoredPart: CaseIterable, Sendable {
    /// The tokens, payloads and headers.
    case body
    /// An outcome or a retry.
    case progress
}

/// One promise of a store.
package struct Clause: Sendable, CustomStringConvertible {
    /// A sentence.
    package let name: String
    private let body: @Sendable (any QueueHarness) async throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (any QueueHarness) async throws -> Void) {
        self.name = name
        self.body = body
    }

    package var description: String { name }

    /// Checks the promise on a fresh store.
    ///
    /// - Throws: `BrokenClause` if the promise is broken, or the error of the backend.
    package func check(_ open: () async throws -> any QueueHarness) async throws {
        let harness = try await open()
        do {
            try await body(harness)
        } catch {
            await harness.close()
            throw error
        }
        await harness.close()
    }
}

/// A promise is broken.
package struct BrokenClause: Error, CustomStringConvertible {
    package let description: String
}

/// - Throws: `BrokenClause` with both values unless they are equal.
func expect<Value: Equatable>(
    _ found: Value, is expected: Value, _ subject: String, line: UInt = #line, file: StaticString = #fileID
) throws(BrokenClause) {
    guard found != expected else { return }
    throw BrokenClause(description: "\(subject): found \(found), expected \(expected) (\(file):\(line))")
}

/// - Throws: `BrokenClause` unless `condition` holds.
func expect(
    _ condition: Bool, _ subject: String, line: UInt = #line, file: StaticString = #fileID
) throws(BrokenClause) {
    guard !condition else { return }
    throw BrokenClause(description: "\(subject) (\(file):\(line))")
}

/// - Throws: `BrokenClause` if `value` is nil.
func require<Value>(
    _ value: Value?, _ subject: String, line: UInt = #line, file: StaticString = #fileID
) throws(BrokenClause) -> Value {
    guard let value else { throw BrokenClause(description: "\(subject) (\(file):\(line))") }
    return value
}
