package import NIOCore

/// Decides how many connections a client should have. Pure: the caller passes time and load.
///
/// The target grows while pushes wait because all streams are open or all windows are full. An increase is kept only if
/// throughput rose with it: where the server or this machine is the bottleneck, more connections only add cost. The
/// target shrinks slowly when fewer connections are enough.
///
///     steady ─saturated for an interval─▶ growing ─all ready─▶ measuring ─throughput rose─▶ steady
///        ▲                                   │                     │
///        └───── back off: previous target, ──┴─────────────────────┘
///               next attempt later each time
package struct PoolPolicy {
    /// A load sample, taken some twenty times a second while pushes are in flight.
    package struct Load {
        package var now: NIODeadline
        /// Connections that take pushes.
        package var ready: Int
        /// Whether pushes have been waiting without a break since the last sample.
        package var isSaturated: Bool
        /// Answers since the client started.
        package var answered: UInt64
        /// The average time from the write of a push to its answer.
        package var answerTime: TimeAmount
        /// Whether the event loop is saturated, so that the processor is the bottleneck.
        package var isLoopBusy: Bool
        /// The sum over all connections of the share of streams or window in use.
        package var used: Double

        package init(
            now: NIODeadline, ready: Int, isSaturated: Bool, answered: UInt64, answerTime: TimeAmount,
            isLoopBusy: Bool, used: Double
        ) {
            self.now = now
            self.ready = ready
            self.isSaturated = isSaturated
            self.answered = answered
            self.answerTime = answerTime
            self.isLoopBusy = isLoopBusy
            self.used = used
        }
    }

    /// The part of the expected gain that an increase must achieve.
    static let gainMin = 0.25
    /// The delay after the first increase without effect; doubles each time.
    static let firstHold = TimeAmount.seconds(10)
    static let holdMax = TimeAmount.minutes(10)
    /// How long new connections may take to become ready.
    static let growthTimeout = TimeAmount.seconds(10)
    static let shrinkInterval = TimeAmount.seconds(60)
    /// The share of a connection's limits that may be in use before another is needed; leaves reserve for a small rise.
    static let comfortableUse = 0.7

    private enum Phase {
        case steady
        /// `rate` is answers per second before the increase.
        case growing(from: Int, rate: Double, since: NIODeadline)
        case measuring(from: Int, rate: Double, start: NIODeadline, answered: UInt64?)
    }

    /// How many connections there should be.
    package private(set) var target = 1
    private let max: Int
    private var phase = Phase.steady
    private var saturation: (since: NIODeadline, answered: UInt64)?
    private var holdUntil = NIODeadline.uptimeNanoseconds(0)
    private var hold = Self.firstHold
    private var peak = (used: 0.0, since: NIODeadline.distantPast)

    /// - Parameter max: at least 1.
    package init(max: Int) {
        self.max = max
    }

    /// Applies one load sample.
    package mutating func update(_ load: Load) {
        switch phase {
        case .steady: checkSaturation(load)
        case .growing(let from, let rate, let since):
            if load.ready >= target {
                // A new connection has one stream until its first answer, which takes three round trips.
                phase = .measuring(from: from, rate: rate, start: load.now + Self.interval(load), answered: nil)
            } else if since + Self.growthTimeout <= load.now {
                backOff(to: Swift.max(from, load.ready), now: load.now)
            }
        case .measuring(let from, let rate, let start, let answered):
            measure(load, from, rate, start, answered)
        }
        shrink(load)
    }

    /// The last connection was lost: restarts with half the target.
    package mutating func lostAll() {
        target = Swift.max(1, target / 2)
        phase = .steady
        saturation = nil
    }

    // MARK: Growth

    private mutating func checkSaturation(_ load: Load) {
        guard load.isSaturated, !load.isLoopBusy, load.ready >= target, target < max, holdUntil <= load.now else {
            saturation = nil
            return
        }
        guard let start = saturation else {
            saturation = (load.now, load.answered)
            return
        }
        guard start.since + Self.interval(load) <= load.now else { return }
        phase = .growing(
            from: target, rate: Self.rate(load.answered - start.answered, load.now - start.since), since: load.now
        )
        saturation = nil
        target = Swift.min(max, target + Swift.max(1, target / 2))
    }

    private mutating func measure(
        _ load: Load, _ from: Int, _ rate: Double, _ start: NIODeadline, _ answered: UInt64?
    ) {
        guard load.isSaturated, load.ready >= target else {
            // The load has dropped or a connection was lost: the increase cannot be evaluated and is kept.
            hold = Self.firstHold
            phase = .steady
            return
        }
        guard start <= load.now else { return }
        guard let answered else {
            phase = .measuring(from: from, rate: rate, start: load.now, answered: load.answered)
            return
        }
        guard start + Self.interval(load) <= load.now else { return }
        let expected = Double(target) / Double(from) - 1
        let gain = Self.rate(load.answered - answered, load.now - start) / Swift.max(rate, 1) - 1
        guard gain >= expected * Self.gainMin else { return backOff(to: from, now: load.now) }
        hold = Self.firstHold
        phase = .steady
    }

    /// More connections had no effect or could not be opened: returns to `count` and waits, longer each time.
    private mutating func backOff(to count: Int, now: NIODeadline) {
        target = count
        holdUntil = now + hold
        hold = Swift.min(hold * 2, Self.holdMax)
        phase = .steady
    }

    /// The time to observe a change: a few round trips.
    private static func interval(_ load: Load) -> TimeAmount {
        Swift.min(Swift.max(.milliseconds(200), load.answerTime * 4), .seconds(2))
    }

    private static func rate(_ count: UInt64, _ time: TimeAmount) -> Double {
        Double(count) / (Double(Swift.max(time.nanoseconds, 1)) / 1e9)
    }

    // MARK: Shrinking

    private mutating func shrink(_ load: Load) {
        peak.used = Swift.max(peak.used, load.used)
        guard peak.since != .distantPast else {
            peak.since = load.now
            return
        }
        guard peak.since + Self.shrinkInterval <= load.now else { return }
        let needed = Swift.max(1, Int((peak.used / Self.comfortableUse).rounded(.up)))
        peak = (0, load.now)
        guard case .steady = phase, needed < target else { return }
        target -= (target - needed + 3) / 4
    }
}
