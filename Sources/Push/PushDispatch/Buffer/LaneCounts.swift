package import PushModel

/// Pushes by lane.
package struct LaneCounts: Sendable, Equatable {
    private var counts = SIMD4<Int>()

    package init() {}

    package subscript(lane: Lane) -> Int {
        get { counts[Int(lane.rawValue)] }
        set { counts[Int(lane.rawValue)] = newValue }
    }

    package var total: Int { counts.wrappedSum() }

    /// Those of `lane` and of the lanes that are less urgent.
    package func from(_ lane: Lane) -> Int {
        switch lane {
        case .urgent: total
        case .normal: counts[1] + counts[2]
        case .bulk: counts[2]
        }
    }
}

/// How much of something the less urgent lanes may fill, so that there is always room for the more urgent ones.
package struct LaneShares: Sendable, Equatable {
    /// Of the whole, for bulk.
    package var bulk: Double
    /// Of the whole, for normal and bulk together.
    package var normal: Double

    package init(bulk: Double, normal: Double) {
        self.bulk = bulk
        self.normal = normal
    }

    /// How much more of `lane` fits into `whole`; below zero when there is too much already.
    package func capacity(for lane: Lane, beside used: LaneCounts, in whole: Int) -> Int {
        var capacity = whole - used.total
        if lane >= .normal { capacity = min(capacity, Int(Double(whole) * normal) - used.from(.normal)) }
        if lane == .bulk { capacity = min(capacity, Int(Double(whole) * bulk) - used.from(.bulk)) }
        return capacity
    }
}

/// A set of lanes.
package struct LaneSet: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    package init(_ lane: Lane) {
        rawValue = 1 << lane.rawValue
    }

    package static let all: LaneSet = [LaneSet(.urgent), LaneSet(.normal), LaneSet(.bulk)]

    package func contains(_ lane: Lane) -> Bool { contains(LaneSet(lane)) }

    /// Whether it holds `lane` or a more urgent one.
    package func holdsAsUrgent(as lane: Lane) -> Bool { rawValue & (1 << (lane.rawValue + 1) - 1) != 0 }
}
