import APNSKit
import APNSWire
import PushGateway
import Testing

@Suite struct `Watch over the way to APNs` {
    static func snapshot(
        _ state: APNSClientSnapshot.State, _ change: (inout APNSClientSnapshot) -> Void = { _ in }
    ) -> APNSClientSnapshot {
        var snapshot = APNSClientSnapshot()
        snapshot.state = state
        change(&snapshot)
        return snapshot
    }

    @Test func `a cut is told once, and so is its end`() {
        var link = ConnectivityMonitor.Link()
        let cut = Self.snapshot(.waiting) { $0.lastFailure = .connectRefused }
        let (connecting, ready) = (Self.snapshot(.connecting), Self.snapshot(.ready))
        let changes = [Self.snapshot(.idle), cut, connecting, cut, ready, ready].map { link.changed($0) }
        #expect(changes == [nil, .cut(.connectRefused), nil, nil, .well, nil])
    }

    @Test func `a start that goes well is no news`() {
        var link = ConnectivityMonitor.Link()
        let changes = Self.changes(&link, [.idle, .connecting, .ready])
        #expect(changes.isEmpty)
    }

    @Test func `a refused credential is told although the connection stands`() {
        var link = ConnectivityMonitor.Link()
        let refused = Self.snapshot(.ready) { $0.credentialReason = .invalidProviderToken }
        let changes = [refused, refused, Self.snapshot(.ready)].map { link.changed($0) }
        #expect(changes == [.refused(.invalidProviderToken), nil, .well])
    }

    private static func changes(
        _ link: inout ConnectivityMonitor.Link, _ states: [APNSClientSnapshot.State]
    ) -> [ConnectivityMonitor.Link.Change] {
        states.compactMap { link.changed(snapshot($0)) }
    }
}
