import Foundation
import PushTesting
import Testing

/// A short run of the deep check of the HTTP interface.
@Suite struct `Mutated requests` {
    @Test func `get the right refusals, and no refused push arrives`() async throws {
        let folder = URL(filePath: Repository.godwit).deletingLastPathComponent().path
        let result = try await run(
            "python3", ["-B", "\(Repository.root)/scripts/deep/mutated_requests.py", "500", "20261130"],
            environment: ["RELEASE_DIR": folder])
        #expect(result.exit == .status(0), "\(result.output)\n\(result.error)")
    }
}
