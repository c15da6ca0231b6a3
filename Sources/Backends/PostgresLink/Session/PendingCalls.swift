#if Postgres

/// Calls that share one transaction, and where their result goes.
package struct PostgresPendingCall: Sendable {
    package var calls: [PostgresCall]
    package var bytes: Int
    package var deadline: ContinuousClock.Instant
    package var completion: @Sendable (Result<[PostgresRows], PostgresError>) -> Void
    /// How often it was repeated after a conflict.
    package var conflicts = 0
    /// Whether it was repeated in a new session.
    package var hasNewSession = false

    package init(
        calls: [PostgresCall], bytes: Int, deadline: ContinuousClock.Instant,
        completion: @escaping @Sendable (Result<[PostgresRows], PostgresError>) -> Void
    ) {
        self.calls = calls
        self.bytes = bytes
        self.deadline = deadline
        self.completion = completion
    }
}

/// The calls that wait for a connection's thread, bounded by their number and bytes. Pure.
package struct PendingCalls: Sendable {
    package enum Phase: Equatable {
        case open
        /// Takes no further calls; those that wait are executed until the instant.
        case draining(until: ContinuousClock.Instant)
        case ended
    }

    package enum Offer {
        case accepted
        /// Accepted, and the thread sleeps too long for it.
        case wake
        case refused(PostgresError)
    }

    /// When the sleeping thread must be woken.
    private enum Wakes {
        case never
        case always
        case before(ContinuousClock.Instant)
    }

    private let countMax: Int
    private let bytesMax: Int
    package private(set) var phase = Phase.open
    /// The calls from `head` on; those before it are taken and nil.
    private var calls: [PostgresPendingCall?] = []
    private var head = 0
    private var bytes = 0
    /// Not later than the earliest deadline of the calls; nil if there are none.
    private var earliestDeadline: ContinuousClock.Instant?
    private var wakes = Wakes.never

    package init(countMax: Int, bytesMax: Int) {
        self.countMax = countMax
        self.bytesMax = bytesMax
    }

    package var count: Int { calls.count - head }
    package var isEmpty: Bool { count == 0 }

    package mutating func offer(_ call: PostgresPendingCall) -> Offer {
        guard phase == .open else { return .refused(PostgresError(.closed, "the connection was closed")) }
        guard isEmpty || (count < countMax && bytes + call.bytes <= bytesMax) else {
            return .refused(PostgresError(.overloaded, "\(count) calls of \(bytes) bytes wait for this connection"))
        }
        calls.append(call)
        bytes += call.bytes
        earliestDeadline = earliestDeadline.map { min($0, call.deadline) } ?? call.deadline
        switch wakes {
        case .never: return .accepted
        case .before(let instant) where call.deadline >= instant: return .accepted
        case .always, .before:
            wakes = .never
            return .wake
        }
    }

    package mutating func take() -> PostgresPendingCall? {
        guard head < calls.count, let call = calls[head] else { return nil }
        calls[head] = nil
        head += 1
        bytes -= call.bytes
        if head == calls.count {
            calls.removeAll(keepingCapacity: true)
            head = 0
            earliestDeadline = nil
        } else if head > countMax {
            calls.removeFirst(head)
            head = 0
        }
        return call
    }

    /// Puts a taken call in front of the others. The limits do not apply: it was inside them.
    package mutating func putBack(_ call: PostgresPendingCall) {
        if head > 0 {
            head -= 1
            calls[head] = call
        } else {
            calls.insert(call, at: 0)
        }
        bytes += call.bytes
        earliestDeadline = earliestDeadline.map { min($0, call.deadline) } ?? call.deadline
    }

    /// Takes the calls whose deadline has passed.
    package mutating func takeExpired(_ now: ContinuousClock.Instant) -> [PostgresPendingCall] {
        guard let earliest = earliestDeadline, earliest <= now else { return [] }
        return takeAll { $0.deadline <= now }
    }

    package mutating func takeAll(_ isTaken: (PostgresPendingCall) -> Bool = { _ in true }) -> [PostgresPendingCall] {
        let all = calls[head...].compactMap(\.self)
        let kept = all.filter { !isTaken($0) }
        calls = kept
        head = 0
        bytes = kept.reduce(0) { $0 + $1.bytes }
        earliestDeadline = kept.map(\.deadline).min()
        return all.filter(isTaken)
    }

    /// Refuses further calls. A second request can only shorten the first.
    package mutating func drain(until end: ContinuousClock.Instant) {
        switch phase {
        case .open: phase = .draining(until: end)
        case .draining(let earlier): phase = .draining(until: min(earlier, end))
        case .ended: break
        }
    }

    package mutating func end() { phase = .ended }

    /// How long the thread may sleep.
    ///
    /// - Parameters:
    ///   - limit: when it wakes by itself; nil for never.
    ///   - isIdle: whether any call wakes it, or only one with an earlier deadline.
    /// - Returns: `sleeps` is false if there is work already; `until` is nil for a sleep that only a call ends.
    package mutating func sleep(
        until limit: ContinuousClock.Instant?, isIdle: Bool
    ) -> (sleeps: Bool, until: ContinuousClock.Instant?) {
        if isIdle, !isEmpty || phase != .open { return (false, nil) }
        var until = limit
        if let earliestDeadline { until = until.map { min($0, earliestDeadline) } ?? earliestDeadline }
        if case .draining(let end) = phase { until = until.map { min($0, end) } ?? end }
        wakes = isIdle ? .always : until.map { .before($0) } ?? .always
        return (true, until)
    }

    package mutating func woke() { wakes = .never }
}
#endif
