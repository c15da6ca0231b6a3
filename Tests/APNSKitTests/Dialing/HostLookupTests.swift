import APNSKit
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@Suite struct `Host look-up` {
    /// A resolver whose look-ups end when the test says so.
    private final class Resolver: Sendable {
        private let reports = Mutex<[HostLookup.Report]>([])

        var count: Int { reports.withLock { $0.count } }

        func resolve(_ host: String, _ port: Int, _ family: CInt, _ report: @escaping HostLookup.Report) {
            reports.withLock { $0.append(report) }
        }

        func succeed(_ number: Int, _ address: String) throws {
            let address = try SocketAddress(ipAddress: address, port: 443)
            reports.withLock { $0[number] }(.success([address]))
        }

        func fail(_ number: Int) { reports.withLock { $0[number] }(.failure(CancellationError())) }
    }

    private let resolver = Resolver()
    private let loop = EmbeddedEventLoop()

    private func lookup() -> HostLookup {
        HostLookup { [resolver] in resolver.resolve($0, $1, $2, $3) }
    }

    private func addresses(
        _ lookup: HostLookup, of host: String = "a.example", since: NIODeadline = .distantPast
    ) -> EventLoopFuture<[String?]> {
        lookup.addresses(of: host, port: 443, family: 2, since: since, on: loop).map { $0.map(\.ipAddress) }
    }

    @Test func `connections share a look-up in progress, and its addresses for five seconds`() throws {
        let lookup = lookup()
        let futures = (0..<200).map { _ in addresses(lookup) }
        let other = addresses(lookup, of: "b.example")
        #expect(resolver.count == 2)
        try resolver.succeed(0, "192.0.2.1")
        for future in futures { #expect(try future.wait() == ["192.0.2.1"]) }
        loop.advanceTime(by: .milliseconds(4_999))
        #expect(try addresses(lookup).wait() == ["192.0.2.1"])
        #expect(resolver.count == 2)
        loop.advanceTime(by: .milliseconds(1))
        let next = addresses(lookup)
        #expect(resolver.count == 3)
        try resolver.succeed(2, "192.0.2.2")
        #expect(try next.wait() == ["192.0.2.2"])
        try resolver.succeed(1, "192.0.2.3")
        #expect(try other.wait() == ["192.0.2.3"])
    }

    @Test func `after a failed connection, an earlier look-up is not used`() throws {
        let lookup = lookup()
        let first = addresses(lookup)
        try resolver.succeed(0, "192.0.2.1")
        _ = try first.wait()
        loop.advanceTime(by: .seconds(1))
        let failedAt = loop.now
        let fresh = addresses(lookup, since: failedAt)
        // The connections of others that failed at that time share the fresh one.
        let shared = addresses(lookup, since: failedAt)
        #expect(resolver.count == 2)
        #expect(try addresses(lookup).wait() == ["192.0.2.1"])
        try resolver.succeed(1, "192.0.2.2")
        #expect(try fresh.wait() == ["192.0.2.2"] && shared.wait() == ["192.0.2.2"])
        #expect(try addresses(lookup).wait() == ["192.0.2.2"])
    }

    @Test func `a failure is reported to all that wait, and not kept`() throws {
        let lookup = lookup()
        let futures = (0..<3).map { _ in addresses(lookup) }
        resolver.fail(0)
        for future in futures { #expect(throws: CancellationError.self) { try future.wait() } }
        let next = addresses(lookup)
        #expect(resolver.count == 2)
        try resolver.succeed(1, "192.0.2.1")
        #expect(try next.wait() == ["192.0.2.1"])
    }

    @Test func `a look-up that hangs is not joined after two seconds, and three at most run concurrently`() throws {
        let lookup = lookup()
        var futures = [addresses(lookup)]
        for _ in 0..<10 {
            loop.advanceTime(by: .milliseconds(2_001))
            futures.append(addresses(lookup))
        }
        #expect(resolver.count == 3)
        try resolver.succeed(2, "192.0.2.3")
        for future in futures.dropFirst(2) { #expect(try future.wait() == ["192.0.2.3"]) }
        // An older look-up that ends later serves those that wait for it.
        try resolver.succeed(0, "192.0.2.1")
        try resolver.succeed(1, "192.0.2.2")
        #expect(try futures[0].wait() == ["192.0.2.1"])
        #expect(try futures[1].wait() == ["192.0.2.2"])
    }
}
