package import APNSWire
package import NIOCore

/// What a connection writes down of itself: for its own decisions (age, stall, wedge) and for whoever looks.
///
/// Pure.
package struct ConnectionStatistics {
    package let createdAt: NIODeadline
    private let overdueAt: NIODeadline
    package private(set) var address = ""
    package private(set) var sent: UInt64 = 0
    package private(set) var answered: UInt64 = 0
    package private(set) var accepted: UInt64 = 0
    package private(set) var answersByReason: [APNSReason: UInt64] = [:]
    package private(set) var lastAnswerAt: NIODeadline?
    /// Answers with a status of 500 and above since the last other one.
    package private(set) var serverErrorsInRow = 0
    package var roundTrip: TimeAmount?
    /// Milliseconds; 0 before the first answer.
    private var averageMilliseconds = 0.0
    /// When it last went from no stream to some.
    private var busySince = NIODeadline.distantFuture
    /// Since when the server has allowed no stream at all.
    private var starvedSince: NIODeadline?
    private var windowMax = 1

    package init(now: NIODeadline, ageMax: TimeAmount) {
        createdAt = now
        overdueAt = now + ageMax
    }

    package mutating func connected(address: SocketAddress?, window: Int) {
        windowMax = max(1, window)
        guard let address, let ip = address.ipAddress, let port = address.port else { return }
        self.address = ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
    }

    /// - Parameter isFirst: no other push is under way.
    package mutating func countSent(isFirst: Bool, now: NIODeadline) {
        sent += 1
        if isFirst { busySince = now }
    }

    package mutating func countAnswer(_ answer: APNSAnswer, milliseconds: UInt32, now: NIODeadline) {
        answered += 1
        lastAnswerAt = now
        // A sixteenth at a time: follows within some dozens of answers, and one slow push does not move it far.
        averageMilliseconds += answered == 1 ? Double(milliseconds) : (Double(milliseconds) - averageMilliseconds) / 16
        serverErrorsInRow = answer.status >= 500 ? serverErrorsInRow + 1 : 0
        if answer.status == 200 { accepted += 1 } else { answersByReason[answer.reason, default: 0] += 1 }
    }

    /// nil before the first answer.
    package var answerTime: TimeAmount? { answered == 0 ? nil : .nanoseconds(Int64(averageMilliseconds * 1e6)) }

    package func isOverdue(now: NIODeadline) -> Bool { overdueAt <= now }

    /// Pushes are under way and none has been answered for `time`.
    package func isStalled(since time: TimeAmount, now: NIODeadline) -> Bool {
        max(lastAnswerAt ?? createdAt, busySince) + time <= now
    }

    package mutating func look(allowsStreams: Bool, now: NIODeadline) {
        starvedSince = allowsStreams ? nil : starvedSince ?? now
    }

    /// For `time` the server has allowed no stream.
    package func isStarved(since time: TimeAmount, now: NIODeadline) -> Bool {
        starvedSince.map { $0 + time <= now } ?? false
    }

    /// - Parameter now: bytes that may still be sent.
    /// - Returns: the share of the window that is taken, 0...1.
    package mutating func windowUse(now: Int) -> Double {
        windowMax = max(windowMax, now)
        return 1 - Double(max(0, now)) / Double(windowMax)
    }
}
