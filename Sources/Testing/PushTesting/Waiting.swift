/// What was waited for did not happen in time.
package struct WaitedTooLong: Error, CustomStringConvertible {
    package let description: String

    package init(_ what: String, _ limit: Duration) {
        description = "waited \(limit) in vain for \(what)"
    }
}

/// Asks again and again until `condition` holds.
///
/// For tests that watch another process or a server, of which nothing tells when it is ready. Inside one process wait
/// for the event itself.
///
/// - Parameters:
///   - what: for the error: "waited … in vain for `what`".
///   - limit: after this it throws `WaitedTooLong`; generous, since it costs nothing when all is well.
package func waitUntil(
    _ what: String, within limit: Duration = .seconds(30), every pause: Duration = .milliseconds(10),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw WaitedTooLong(what, limit) }
        try await Task.sleep(for: pause)
    }
}
