import APNSKit
import APNSWire
import NIOCore
import Testing

@Suite struct `Connection statistics` {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func statistics() -> ConnectionStatistics { ConnectionStatistics(now: start, ageMax: .seconds(100)) }

    @Test func `only consecutive server errors count`() {
        var statistics = statistics()
        for _ in 0..<3 {
            statistics.countAnswer(APNSAnswer(disposition: .answered, status: 500), milliseconds: 1, now: start)
        }
        #expect(statistics.serverErrorsInRow == 3)
        statistics.countAnswer(.accepted, milliseconds: 1, now: start)
        #expect(statistics.serverErrorsInRow == 0)
        #expect(statistics.answered == 4)
        #expect(statistics.accepted == 1)
        #expect(statistics.answersByReason == [.none: 3])
    }

    @Test func `a connection is stalled when pushes are in flight and none is answered`() {
        var statistics = statistics()
        let limit = TimeAmount.seconds(15)
        #expect(!statistics.isStalled(since: limit, now: start + .hours(1)))
        let began = start + .seconds(50)
        statistics.countSent(isFirst: true, now: began)
        #expect(!statistics.isStalled(since: limit, now: began + .seconds(14)))
        #expect(statistics.isStalled(since: limit, now: began + .seconds(15)))
        // Pushes written in between change nothing; an answer does.
        statistics.countSent(isFirst: false, now: began + .seconds(10))
        #expect(statistics.isStalled(since: limit, now: began + .seconds(15)))
        statistics.countAnswer(.accepted, milliseconds: 1, now: began + .seconds(14))
        #expect(!statistics.isStalled(since: limit, now: began + .seconds(28)))
        #expect(statistics.isStalled(since: limit, now: began + .seconds(29)))
    }

    @Test func `it is overdue at its maximum age, and measures the use of its window`() {
        var statistics = statistics()
        #expect(!statistics.isOverdue(now: start + .seconds(99)))
        #expect(statistics.isOverdue(now: start + .seconds(100)))
        statistics.connected(address: try? SocketAddress(ipAddress: "::1", port: 2197), window: 65_535)
        #expect(statistics.address == "[::1]:2197")
        #expect(statistics.measureWindowUse(available: 65_535) == 0)
        #expect(statistics.measureWindowUse(available: 0) == 1)
        #expect(statistics.measureWindowUse(available: -5) == 1)
        // The server has enlarged the window.
        #expect(statistics.measureWindowUse(available: 131_070) == 0)
        #expect(statistics.measureWindowUse(available: 65_535) == 0.5)
    }
}
