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
            statistics.countAnswer(
                APNSAnswer(disposition: .answered, status: 500), milliseconds: 1, isLast: true, now: start)
        }
        #expect(statistics.serverErrorsInRow == 3)
        statistics.countAnswer(.accepted, milliseconds: 1, isLast: true, now: start)
        #expect(statistics.serverErrorsInRow == 0)
        #expect(statistics.answered == 4)
        #expect(statistics.accepted == 1)
        #expect(statistics.answersByReason == [.none: 3])
    }

    @Test func `a connection is stalled when pushes were sent and none is answered`() {
        var statistics = statistics()
        let limit = TimeAmount.seconds(15)
        #expect(!statistics.isStalled(since: limit, now: start + .hours(1)))
        let began = start + .seconds(50)
        statistics.requestWritten(now: began)
        #expect(!statistics.isStalled(since: limit, now: began + .seconds(14)))
        #expect(statistics.isStalled(since: limit, now: began + .seconds(15)))
        // Pushes written in between change nothing, also when the first are no longer waited for; an answer does.
        statistics.requestWritten(now: began + .seconds(10))
        #expect(statistics.isStalled(since: limit, now: began + .seconds(15)))
        statistics.countAnswer(.accepted, milliseconds: 1, isLast: false, now: began + .seconds(14))
        #expect(!statistics.isStalled(since: limit, now: began + .seconds(28)))
        #expect(statistics.isStalled(since: limit, now: began + .seconds(29)))
        // Without a push in flight, an idle hour is no stall.
        statistics.countAnswer(.accepted, milliseconds: 1, isLast: true, now: began + .seconds(15))
        #expect(!statistics.isStalled(since: limit, now: began + .hours(1)))
    }

    @Test func `a connection is blocked while flow control lets no request pass`() {
        var statistics = statistics()
        let limit = TimeAmount.seconds(3)
        statistics.flowControlBlocked(now: start)
        statistics.flowControlBlocked(now: start + .seconds(2))
        #expect(!statistics.isBlocked(since: limit, now: start + .seconds(2)))
        #expect(statistics.isBlocked(since: limit, now: start + .seconds(3)))
        // Each request that is written restarts the time: a full window is no fault of a busy connection.
        statistics.requestWritten(now: start + .seconds(3))
        #expect(!statistics.isBlocked(since: limit, now: start + .hours(1)))
        statistics.flowControlBlocked(now: start + .hours(1))
        #expect(!statistics.isBlocked(since: limit, now: start + .hours(1) + .seconds(2)))
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
