import Logging
import NIOCore
import Synchronization
import Telemetry
import Testing

@testable import PushAccept

@Suite struct `The registry of connections` {
    private final class Fixture: Sendable {
        let registry: ConnectionRegistry
        let metrics = MetricsRegistry()
        let log = LogRecorder()
        private let clock = TestClock()
        private let closed = Mutex<[String]>([])

        init(max: Int = 6, perClient: Int = 3, reserve: Int = 2, proxy: ClientAddress? = nil) {
            var limits = ConnectionLimits()
            (limits.max, limits.perClient, limits.reserve) = (max, perClient, reserve)
            registry = ConnectionRegistry(
                limits: limits, registry: metrics, logger: log.logger, isExempt: { $0 == proxy },
                clock: { [clock] in Self.time(of: clock) })
        }

        /// Names of the connections that were closed since the last call.
        var closedNames: [String] {
            closed.withLock { names in
                defer { names = [] }
                return names
            }
        }

        var time: NIODeadline { Self.time(of: clock) }

        private static func time(of clock: TestClock) -> NIODeadline {
            .uptimeNanoseconds(1_000_000_000) + TimeAmount(clock.elapsed)
        }

        func advance(_ duration: Duration) { clock.advance(by: duration) }

        /// - Parameter client: the last byte of the address.
        func connect(_ name: String, client: Int = 1) throws -> Connection? {
            let address = try SocketAddress(ipAddress: "192.0.2.\(client)", port: 40_000)
            return registry.admit(ClientAddress(address)) { [weak self] in self?.closed.withLock { $0.append(name) } }
        }
    }

    @Test func `a client at its limit loses the connection that was idle longest`() throws {
        let fixture = Fixture()
        let busy = try #require(try fixture.connect("busy"))
        busy.idleSince = nil
        let old = try #require(try fixture.connect("old"))
        let young = try #require(try fixture.connect("young"))
        fixture.advance(.seconds(2))
        young.idleSince = fixture.time + .milliseconds(-1500)
        _ = try fixture.connect("of another client", client: 2)
        fixture.advance(.seconds(2))
        old.idleSince = fixture.time + .seconds(-3)
        let new = try #require(try fixture.connect("new"))
        #expect(new.restriction == nil)
        #expect(fixture.closedNames == ["young"], "idle since 3.5 s")
        #expect(fixture.registry.count == 4)
        #expect(
            fixture.metrics.exposition().contains(
                "\ngodwit_accept_connections_closed_total{reason=\"idle\"} 1\n"))
    }

    @Test func `a client that does not read loses its connection before a new one is restricted`() throws {
        let fixture = Fixture()
        let connections = try (1...3).map { try #require(try fixture.connect("\($0)")) }
        for connection in connections { connection.idleSince = nil }
        connections[1].unreadSince = fixture.time
        #expect(try fixture.connect("restricted")?.restriction == .client, "not unread for long enough")
        fixture.advance(.seconds(1))
        #expect(try fixture.connect("new")?.restriction == nil)
        #expect(fixture.closedNames == ["2"])
    }

    @Test(arguments: [(4, "idle"), (5, "unread")])
    func `an idle connection is closed before one that was read recently`(seconds: Int, closed: String) throws {
        let fixture = Fixture(perClient: 2)
        _ = try fixture.connect("idle")
        let unread = try #require(try fixture.connect("unread"))
        (unread.idleSince, unread.unreadSince) = (nil, fixture.time)
        fixture.advance(.seconds(seconds))
        _ = try fixture.connect("new")
        #expect(fixture.closedNames == [closed])
    }

    @Test func `a client with many connections makes way for one with few, whatever their age`() throws {
        let fixture = Fixture(max: 5, perClient: 3, reserve: 1)
        let many = try (1...3).map { try #require(try fixture.connect("\($0)")) }
        _ = try fixture.connect("of another client", client: 2)
        many[0].idleSince = nil
        (many[1].idleSince, many[1].unreadSince) = (nil, fixture.time)
        #expect(try fixture.connect("first of a client", client: 3)?.restriction == nil)
        #expect(fixture.closedNames == ["3"], "idle")
        #expect(try fixture.connect("second of a client", client: 3)?.restriction == .full, "2 are not twice as many")
    }

    @Test func `when all are in use the oldest idle one of any client is closed`() throws {
        let fixture = Fixture(max: 5, perClient: 3, reserve: 2)
        for client in 1...3 {
            _ = try fixture.connect("\(client)", client: client)
            fixture.advance(.milliseconds(40))
        }
        #expect(try fixture.connect("4", client: 4)?.restriction == nil)
        #expect(fixture.closedNames == ["1"])
        #expect(
            try fixture.connect("5", client: 5)?.restriction == .full,
            "the others are idle for less than a tenth of a second")
    }

    @Test func `the reserve makes way for new connections and never for requests`() throws {
        let fixture = Fixture(max: 3, perClient: 3, reserve: 2)
        try #require(try fixture.connect("busy")).idleSince = nil
        let first = try #require(try fixture.connect("first"))
        #expect(first.restriction == .full)
        fixture.advance(.milliseconds(1))
        let second = try #require(try fixture.connect("second"))
        #expect(try fixture.connect("third")?.restriction == .full)
        #expect(fixture.closedNames == ["first"])
        second.idleSince = nil
        let fourth = try #require(try fixture.connect("fourth"))
        #expect(fixture.closedNames == ["third"])
        fourth.idleSince = nil
        #expect(try fixture.connect("fifth") == nil, "every connection has a request")
        #expect(fixture.closedNames.isEmpty)
        fixture.registry.remove(second)
        #expect(try fixture.connect("sixth")?.restriction == .full)
        #expect(fixture.registry.count == 3)
    }

    @Test func `a removed connection frees the share of its client, also if it was closed before`() throws {
        let fixture = Fixture(perClient: 1)
        let first = try #require(try fixture.connect("first"))
        fixture.advance(.seconds(1))
        let second = try #require(try fixture.connect("second"))
        fixture.registry.remove(first)
        #expect(fixture.closedNames == ["first"])
        #expect(try fixture.connect("third")?.restriction == .client)
        fixture.registry.remove(second)
        #expect(try fixture.connect("fourth")?.restriction == nil)
    }

    @Test func `the addresses of one network are one client`() throws {
        func address(_ text: String) throws -> ClientAddress? {
            ClientAddress(try SocketAddress(ipAddress: text, port: 1))?.network
        }
        #expect(try address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::9"))
        #expect(try address("2001:db8:1:2::1") != address("2001:db8:1:3::1"))
        #expect(try address("192.0.2.1") != address("192.0.2.2"))
        #expect(try address("192.0.2.1") == address("::ffff:192.0.2.1"))
    }

    @Test func `a proxy has no share`() throws {
        let proxy = ClientAddress(try SocketAddress(ipAddress: "192.0.2.1", port: 1))
        let fixture = Fixture(max: 6, perClient: 1, reserve: 2, proxy: proxy)
        for name in 1...4 { #expect(try fixture.connect("\(name)")?.restriction == nil) }
        #expect(try fixture.connect("5")?.restriction == .full)
    }

    @Test func `pressure is logged at most once a minute`() throws {
        let fixture = Fixture(perClient: 1)
        _ = try fixture.connect("first")
        for _ in 0..<5 { _ = try fixture.connect("more") }
        #expect(fixture.log.lines.map(\.message) == ["connections of clients are closed early"])
        fixture.advance(.seconds(60))
        _ = try fixture.connect("more")
        #expect(fixture.log.lines.count == 2)
        #expect(fixture.log.lines.last?.metadata["connections.closed"] == "5")
        #expect(fixture.log.lines.last?.level == .warning)
    }

    @Test func `invalid limits are reported together`() {
        var limits = ConnectionLimits()
        #expect(limits.problems() == [])
        (limits.max, limits.perClient, limits.reserve) = (0, 0, 0)
        #expect(limits.problems().count == 3)
        (limits.max, limits.perClient, limits.reserve) = (100, 1, 100)
        #expect(limits.problems().count == 1, "the reserve leaves a place")
    }
}
