package import PushModel
package import PushStore

/// One gateway instance's view of a store.
package typealias QueueInstance = DeadLetterStore & IdempotentQueue & OutcomeStore & QueueControl & StoreMaintenance

/// A fresh store of one backend, and the means to try it: what a backend provides to be put through the clauses.
package protocol QueueHarness: AnyObject {
    /// The instance under test.
    var queue: any QueueInstance { get }

    /// What the store takes for the time.
    var now: WallTime { get async throws }

    /// Lets time pass, for leases and for due times. Backends with their own clock may have to wait.
    func advance(by duration: Duration) async throws

    /// Ends the instance without a farewell, as kill -9 would, and opens another on the same store. When it returns,
    /// the leases of the lost instance are claimable, by themselves or because their time was let pass.
    func crash() async throws

    /// A second instance on the same store; nil where a store belongs to one instance.
    func openSecond() async throws -> (any QueueInstance)?

    func close() async
}

/// One promise of the queue.
package struct Clause: Sendable, CustomStringConvertible {
    /// A sentence.
    package let name: String
    private let body: @Sendable (any QueueHarness) async throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (any QueueHarness) async throws -> Void) {
        self.name = name
        self.body = body
    }

    package var description: String { name }

    /// Tries the promise on a fresh store.
    ///
    /// - Throws: `BrokenClause` when it is not kept, or what the backend threw.
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

/// A promise is not kept.
package struct BrokenClause: Error, CustomStringConvertible {
    package let description: String
}

/// - Throws: `BrokenClause` with both values unless they are equal.
func expect<Value: Equatable>(
    _ found: Value, is wanted: Value, _ what: String, line: UInt = #line, file: StaticString = #fileID
) throws(BrokenClause) {
    guard found != wanted else { return }
    throw BrokenClause(description: "\(what): found \(found), wanted \(wanted) (\(file):\(line))")
}

/// - Throws: `BrokenClause` unless `condition` holds.
func expect(
    _ condition: Bool, _ what: String, line: UInt = #line, file: StaticString = #fileID
) throws(BrokenClause) {
    guard !condition else { return }
    throw BrokenClause(description: "\(what) (\(file):\(line))")
}

/// The value, or a broken clause when there is none.
func require<Value>(
    _ value: Value?, _ what: String, line: UInt = #line, file: StaticString = #fileID
) throws(BrokenClause) -> Value {
    guard let value else { throw BrokenClause(description: "\(what) (\(file):\(line))") }
    return value
}
