import Testing

/// Runs each test twice: single pushes are served on the event loop of their connection, and by Hummingbird.
struct BothServers: SuiteTrait, TestTrait, TestScoping {
    @TaskLocal static var servesPushesOnEventLoop = true

    let isRecursive = true

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        for value in [true, false] {
            try await Self.$servesPushesOnEventLoop.withValue(value) { try await function() }
        }
    }
}

extension Trait where Self == BothServers {
    static var bothServers: BothServers { BothServers() }
}
