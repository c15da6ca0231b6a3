import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `SQLite under steady load` {
    private let clock = ManualClock()

    /// Adds outcomes, dead letters and stored responses, and prunes.
    private func round(_ number: Int, _ backend: SQLiteBackend) async throws {
        for index in 0..<10 {
            let batch = sampleBatch(50, at: clock.now)
            var digest = Data(count: 32)
            (digest[0], digest[1]) = (UInt8(number), UInt8(index))
            let record = IdempotencyRecord(fingerprint: digest, body: Data(count: 9000), at: clock.now)
            let lease = try await backend.append(
                [NewBatch(batch: batch, claim: .seconds(60))], storing: [IdempotencyKey(digest: digest): record]
            )[0]
            let dead = Outcome(index: 49, verdict: .givenUp, code: .apnsUnavailable, attempts: 50)
            _ = try await backend.settle([
                Settlement(lease: try #require(lease), outcomes: delivered(49) + [dead], at: clock.now)
            ])
        }
        clock.advance(by: .seconds(6 * 3600))
        let cutoff = clock.now + .seconds(-12 * 3600)
        while try await backend.prune(endedBefore: cutoff, batchesMax: 7, now: clock.now) {}
    }

    @Test func `the file does not grow`() async throws {
        let folder = try TemporaryFolder()
        var configuration = SQLiteConfiguration()
        configuration.checkpointPages = 50
        configuration.logBytesMax = 0
        let backend = try SQLiteBackend.open(
            folder: folder.path, configuration: configuration, clock: clock.queueClock, logger: silence
        )
        var sizes: [Int] = []
        for number in 0..<40 {
            try await round(number, backend)
            sizes.append(try #require(await backend.usage()).bytesUsed)
        }
        let (early, late) = (try #require(sizes[8..<16].max()), try #require(sizes[32...].max()))
        #expect(late <= early + early / 10, "\(early) bytes early, \(late) bytes late")
        await backend.close()
    }

    @Test func `closing does not count as a crash`() async throws {
        let folder = try TemporaryFolder()
        for _ in 0..<5 {
            let backend = try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
            if try await backend.depth().pushes == 0 {
                _ = try await backend.append([NewBatch(batch: sampleBatch(2, at: clock.now))])
            }
            let claimed = try await backend.claim(ClaimRequest(batchesMax: 1, lease: .seconds(60)))
            #expect(claimed.map(\.isQuarantined) == [false])
            await backend.close()
        }
    }
}
