import APNSKit
import APNSWire
import HTTP2Session
import NIOCore
import NIOPosix
import Testing

@Suite struct `Shuffling resolver` {
    @Test func `an address resolves to itself, a name to the addresses of the system resolver`() async throws {
        let resolver = ShufflingResolver(eventLoop: MultiThreadedEventLoopGroup.singleton.next())
        let four = try await resolver.initiateAQuery(host: "127.0.0.1", port: 443).get()
        #expect(four.map(\.ipAddress) == ["127.0.0.1"])
        #expect(four.map(\.port) == [443])
        let named = try await resolver.initiateAQuery(host: "localhost", port: 2197).get()
        #expect(named.contains { $0.ipAddress == "127.0.0.1" && $0.port == 2197 })
        let six = try await resolver.initiateAAAAQuery(host: "::1", port: 443).get()
        #expect(six.map(\.ipAddress) == ["::1"])
        await #expect(throws: (any Error).self) {
            try await resolver.initiateAQuery(host: "no-such-host.invalid", port: 443).get()
        }
    }
}
