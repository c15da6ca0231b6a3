import APNSKit
import APNSWire
import PushGateway
import PushModel
import Testing

@Suite struct `Connectivity of an app` {
    private static let refused = APNSOutage(
        since: UNIXTime(secondsSince1970: 1_000), failure: APNSConnectionFailure(.connectRefused))
    private static let silent = APNSOutage(
        since: UNIXTime(secondsSince1970: 1_000), failure: APNSConnectionFailure(.connectTimeout))

    /// Which of the conditions are logged.
    private func logged(_ conditions: [ConnectivityMonitor.Condition]) -> [Bool] {
        var filter = ConnectivityMonitor.ChangeFilter()
        return conditions.map { filter.update($0) }
    }

    @Test func `an outage and its end are logged once`() {
        let outage = ConnectivityMonitor.Condition.unreachable(Self.refused)
        #expect(
            logged([.reachable, outage, outage, .reachable, .reachable, outage])
                == [false, true, false, true, false, true])
    }

    @Test func `each cause of an outage is logged once, even if the causes alternate`() {
        let (refused, silent) = (
            ConnectivityMonitor.Condition.unreachable(Self.refused),
            ConnectivityMonitor.Condition.unreachable(Self.silent)
        )
        #expect(logged([refused, silent, refused, silent, .reachable]) == [true, true, false, false, true])
    }

    @Test func `a refused credential is logged once for each reason`() {
        func refusal(_ reason: APNSReason) -> ConnectivityMonitor.Condition {
            .credentialRefused(reason, detail: "\(reason)")
        }
        let conditions = [
            refusal(.invalidProviderToken), refusal(.invalidProviderToken), refusal(.expiredProviderToken), .reachable,
        ]
        #expect(logged(conditions) == [true, false, true, true])
    }

    @Test func `an outage counts before a refused credential`() {
        var snapshot = APNSClientSnapshot()
        #expect(ConnectivityMonitor.Condition(snapshot) == .reachable)
        snapshot.credentialReason = .invalidProviderToken
        snapshot.refusalDetail = "text"
        #expect(
            ConnectivityMonitor.Condition(snapshot) == .credentialRefused(.invalidProviderToken, detail: "text"))
        snapshot.outage = Self.refused
        // The state flips while a connection is being opened, and says nothing.
        for state in APNSClientSnapshot.State.allCases {
            snapshot.state = state
            #expect(ConnectivityMonitor.Condition(snapshot) == .unreachable(Self.refused))
        }
    }

    @Test func `a delay names its cause`() {
        func explain(_ reason: DeliveryDelay.Reason?, _ detail: String? = nil) -> DeliveryDelay? {
            ConnectivityMonitor.explain(
                reason.map { DeliveryDelay(reason: $0, estimate: .seconds(2), detail: detail) }, outage: Self.refused,
                refusal: "refused")
        }
        let text = Self.refused.failure.detail
        #expect(explain(nil) == DeliveryDelay(reason: .apnsUnreachable, estimate: nil, detail: text))
        #expect(
            explain(.apnsUnreachable, "the last failure")
                == DeliveryDelay(reason: .apnsUnreachable, estimate: .seconds(2), detail: text))
        #expect(explain(.backlog) == DeliveryDelay(reason: .apnsUnreachable, estimate: nil, detail: text))
        #expect(explain(.credentialRefused)?.detail == "refused")
        #expect(explain(.paused) == DeliveryDelay(reason: .paused, estimate: .seconds(2)))
        // The breaker of one app is open, and the client works for the others.
        let own = DeliveryDelay(reason: .apnsUnreachable, estimate: nil, detail: "the last failure")
        #expect(ConnectivityMonitor.explain(own, outage: nil, refusal: nil) == own)
        #expect(ConnectivityMonitor.explain(nil, outage: nil, refusal: nil) == nil)
    }
}
