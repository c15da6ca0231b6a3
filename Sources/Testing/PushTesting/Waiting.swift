/// An event did not happen in time.
package struct WaitTimedOut: Error, CustomStringConvertible {
    package let description: String

    package init(_ event: String, _ limit: Duration) {
        description = "timed out after \(limit) waiting for \(event)"
    }
}

/// Polls until `condition` is true.
///
/// For tests of another process or a server that does not signal readiness. Within one process, wait for the event
/// itself.
///
/// - Parameters:
///   - event: names the event in the error: "timed out after … waiting for `event`".
///   - limit: the time after which it throws `WaitTimedOut`. Generous, because a passing test does not wait for it.
///   - pause: the polling interval.
package func waitUntil(
    _ event: String, within limit: Duration = .seconds(30), every pause: Duration = .milliseconds(10),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw WaitTimedOut(event, limit) }
        try await Task.sleep(for: pause)
    }
}
