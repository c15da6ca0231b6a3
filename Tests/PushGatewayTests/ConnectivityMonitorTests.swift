import APNSKit
import APNSWire
import PushGateway
import Testing

@Suite struct `Connectivity of an app` {
    static func snapshot(
        _ state: APNSClientSnapshot.State, _ change: (inout APNSClientSnapshot) -> Void = { _ in }
    ) -> APNSClientSnapshot {
        var snapshot = APNSClientSnapshot()
        snapshot.state = state
        change(&snapshot)
        return snapshot
    }

    @Test func `an outage and its end are reported once`() {
        var state = ConnectivityMonitor.AppState()
        let unreachable = Self.snapshot(.waiting) { $0.lastFailure = .connectRefused }
        let (connecting, ready) = (Self.snapshot(.connecting), Self.snapshot(.ready))
        let changes = [Self.snapshot(.idle), unreachable, connecting, unreachable, ready, ready].map {
            state.update($0)
        }
        #expect(changes == [nil, .unreachable(.connectRefused), nil, nil, .restored, nil])
    }

    @Test func `a successful start is not reported`() {
        var state = ConnectivityMonitor.AppState()
        let changes = Self.changes(&state, [.idle, .connecting, .ready])
        #expect(changes.isEmpty)
    }

    @Test func `a refused credential is reported although there is a connection`() {
        var state = ConnectivityMonitor.AppState()
        let refused = Self.snapshot(.ready) { $0.credentialReason = .invalidProviderToken }
        let changes = [refused, refused, Self.snapshot(.ready)].map { state.update($0) }
        #expect(changes == [.credentialRefused(.invalidProviderToken), nil, .restored])
    }

    private static func changes(
        _ state: inout ConnectivityMonitor.AppState, _ states: [APNSClientSnapshot.State]
    ) -> [ConnectivityMonitor.AppState.Change] {
        states.compactMap { state.update(snapshot($0)) }
    }
}
