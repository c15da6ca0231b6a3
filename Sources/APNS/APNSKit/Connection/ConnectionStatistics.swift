package import APNSWire
package import NIOCore

/// Per-connection statistics, used for drain decisions and snapshots. Pure.
package struct ConnectionStatistics {
    package let createdAt: NIODeadline
    private let overdueAt: NIODeadline
    package private(set) var address = ""
    package private(set) var sent: UInt64 = 0
    package private(set) var answered: UInt64 = 0
    package private(set) var accepted: UInt64 = 0
    package private(set) var answersByReason: [APNSReason: UInt64] = [:]
    package private(set) var lastAnswerAt: NIODeadline?
    /// Consecutive answers with a status of 500 or above.
    package private(set) var serverErrorsInRow = 0
    package var roundTrip: TimeAmount?
    /// 0 before the first answer.
    private var averageMilliseconds = 0.0
    /// Since when no push has been answered although one was written; nil when all are answered. A push that is no
    /// longer waited for still counts: it was not answered.
    private var unansweredSince: NIODeadline?
    /// Since when the server has allowed no stream; nil while it allows some.
    private var starvedSince: NIODeadline?
    /// Since when flow control has held up requests; nil while they are written.
    private var blockedSince: NIODeadline?
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

    package mutating func countSent() { sent += 1 }

    /// A request is completely written.
    package mutating func requestWritten(now: NIODeadline) {
        if unansweredSince == nil { unansweredSince = now }
        blockedSince = nil
    }

    /// - Parameter isLast: no other push is in flight.
    package mutating func countAnswer(_ answer: APNSAnswer, milliseconds: UInt32, isLast: Bool, now: NIODeadline) {
        answered += 1
        lastAnswerAt = now
        unansweredSince = isLast ? nil : now
        // A weight of 1/16 follows a change within some dozens of answers, and is little affected by one slow push.
        averageMilliseconds += answered == 1 ? Double(milliseconds) : (Double(milliseconds) - averageMilliseconds) / 16
        serverErrorsInRow = answer.status >= 500 ? serverErrorsInRow + 1 : 0
        if answer.isAccepted { accepted += 1 } else { answersByReason[answer.reason, default: 0] += 1 }
    }

    /// The average time from the write of a push to its answer; nil before the first answer.
    package var answerTime: TimeAmount? { answered == 0 ? nil : .nanoseconds(Int64(averageMilliseconds * 1e6)) }

    package func isOverdue(now: NIODeadline) -> Bool { overdueAt <= now }

    /// Whether pushes were written, and none has been answered for `timeout`.
    package func isStalled(since timeout: TimeAmount, now: NIODeadline) -> Bool {
        unansweredSince.map { $0 + timeout <= now } ?? false
    }

    /// A request waits for the server's flow control. Ends with the next request that is written: the server has granted
    /// nothing to one that only reached its deadline.
    package mutating func flowControlBlocked(now: NIODeadline) {
        blockedSince = blockedSince ?? now
    }

    /// Whether flow control has held up requests for `timeout`, and none was completely written in that time.
    package func isBlocked(since timeout: TimeAmount, now: NIODeadline) -> Bool {
        blockedSince.map { $0 + timeout <= now } ?? false
    }

    package mutating func streamLimitObserved(allowsStreams: Bool, now: NIODeadline) {
        starvedSince = allowsStreams ? nil : starvedSince ?? now
    }

    /// Whether the server has allowed no stream for `timeout`.
    package func isStarved(since timeout: TimeAmount, now: NIODeadline) -> Bool {
        starvedSince.map { $0 + timeout <= now } ?? false
    }

    /// The share of the send window in use, 0...1. Records the largest window seen, which counts as the whole.
    ///
    /// - Parameter available: bytes that may still be sent.
    package mutating func measureWindowUse(available: Int) -> Double {
        windowMax = max(windowMax, available)
        return 1 - Double(max(0, available)) / Double(windowMax)
    }
}
