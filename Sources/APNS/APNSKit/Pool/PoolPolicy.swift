package import NIOCore

/// Decides how many connections a client should have. Pure: time and load come in, a number is kept.
///
/// It grows while pushes wait that no connection can take (all streams open, or all windows full), and keeps a growth only
/// when it was of use: where the server or this machine is the limit, more connections would only be a burden. It shrinks
/// slowly once fewer would do.
package struct PoolPolicy {
    /// What the policy looks at, some twenty times a second while there is work.
    package struct Load {
        package var now: NIODeadline
        /// Connections that take pushes.
        package var ready: Int
        /// Ever since the last look pushes waited that no connection could take.
        package var isSaturated: Bool
        /// Answers since the client began.
        package var answered: UInt64
        /// From the write of a push to its answer, as a rule.
        package var answerTime: TimeAmount
        /// The event loop has no time left: the processor is the limit.
        package var isLoopBusy: Bool
        /// How many connections' worth of streams or window is in use.
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

    /// Of the gain that more connections promise, the share that must be seen.
    static let gainMin = 0.25
    static let firstHold = TimeAmount.seconds(10)
    static let holdMax = TimeAmount.minutes(10)
    /// How long new connections may take to come up.
    static let growthTimeout = TimeAmount.seconds(10)
    static let shrinkInterval = TimeAmount.seconds(60)
    /// A connection is kept so far from its limits that a small rise does not open another.
    static let comfortableUse = 0.7

    private enum Phase {
        case watching
        /// `rate` is answers a second before the growth.
        case growing(from: Int, rate: Double, since: NIODeadline)
        case measuring(from: Int, rate: Double, start: NIODeadline, answered: UInt64?)
    }

    /// How many connections there should be.
    package private(set) var target = 1
    private let max: Int
    private var phase = Phase.watching
    private var saturation: (since: NIODeadline, answered: UInt64)?
    private var holdUntil = NIODeadline.uptimeNanoseconds(0)
    private var hold = Self.firstHold
    private var peak = (used: 0.0, since: NIODeadline.distantPast)

    /// - Parameter max: at least 1.
    package init(max: Int) {
        self.max = max
    }

    package mutating func look(_ load: Load) {
        switch phase {
        case .watching: watch(load)
        case .growing(let from, let rate, let since):
            if load.ready >= target {
                // A new connection has one stream until its first answer, and three round trips behind it by then.
                phase = .measuring(from: from, rate: rate, start: load.now + Self.interval(load), answered: nil)
            } else if since + Self.growthTimeout <= load.now {
                giveUp(Swift.max(from, load.ready), now: load.now)
            }
        case .measuring(let from, let rate, let start, let answered):
            measure(load, from, rate, start, answered)
        }
        shrink(load)
    }

    /// The last connection was lost: comes back with half of them, and grows again when it must.
    package mutating func lostAll() {
        target = Swift.max(1, target / 2)
        phase = .watching
        saturation = nil
    }

    // MARK: Growth

    private mutating func watch(_ load: Load) {
        guard load.isSaturated, !load.isLoopBusy, load.ready >= target, target < max, holdUntil <= load.now else {
            saturation = nil
            return
        }
        guard let began = saturation else {
            saturation = (load.now, load.answered)
            return
        }
        guard began.since + Self.interval(load) <= load.now else { return }
        phase = .growing(
            from: target, rate: Self.rate(load.answered - began.answered, load.now - began.since), since: load.now
        )
        saturation = nil
        target = Swift.min(max, target + Swift.max(1, target / 2))
    }

    private mutating func measure(
        _ load: Load, _ from: Int, _ rate: Double, _ start: NIODeadline, _ answered: UInt64?
    ) {
        guard load.isSaturated, load.ready >= target else {
            // Enough for what there is to do, or the ground has shifted: nothing can be said against the growth.
            hold = Self.firstHold
            phase = .watching
            return
        }
        guard start <= load.now else { return }
        guard let answered else {
            phase = .measuring(from: from, rate: rate, start: load.now, answered: load.answered)
            return
        }
        guard start + Self.interval(load) <= load.now else { return }
        let promised = Double(target) / Double(from) - 1
        let gain = Self.rate(load.answered - answered, load.now - start) / Swift.max(rate, 1) - 1
        guard gain >= promised * Self.gainMin else { return giveUp(from, now: load.now) }
        hold = Self.firstHold
        phase = .watching
    }

    /// More connections are of no use, or not to be had: tries again later, and later each time.
    private mutating func giveUp(_ count: Int, now: NIODeadline) {
        target = count
        holdUntil = now + hold
        hold = Swift.min(hold * 2, Self.holdMax)
        phase = .watching
    }

    /// Long enough to see what a change has done: some round trips.
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
        guard case .watching = phase, needed < target else { return }
        target -= (target - needed + 3) / 4
    }
}
