package import PushModel

/// Pushes by lane.
package struct LaneCounts: Sendable, Equatable {
    private var counts = SIMD4<Int>()

    package init() {}

    /// The same number for each lane.
    package init(repeating count: Int) { for lane in Lane.allCases { self[lane] = count } }

    package subscript(lane: Lane) -> Int {
        get { counts[Int(lane.rawValue)] }
        set { counts[Int(lane.rawValue)] = newValue }
    }

    package var total: Int { counts.wrappedSum() }

    /// The pushes of `lane` and of all more urgent lanes.
    package func count(atLeastAsUrgentAs lane: Lane) -> Int {
        switch lane {
        case .urgent: counts[0]
        case .normal: counts[0] + counts[1]
        case .bulk: total
        }
    }

    /// The pushes of `lane` and of all less urgent lanes.
    package func count(atMostAsUrgentAs lane: Lane) -> Int {
        switch lane {
        case .urgent: total
        case .normal: counts[1] + counts[2]
        case .bulk: counts[2]
        }
    }
}

/// The parts of a limit that the less urgent lanes may fill, so that capacity remains for the more urgent ones.
package struct LaneShares: Sendable, Equatable {
    /// 0...1, for bulk.
    package var bulk: Double
    /// 0...1, for normal and bulk together.
    package var normal: Double

    package init(bulk: Double, normal: Double) {
        self.bulk = bulk
        self.normal = normal
    }

    /// The number of pushes of `lane` that may be added; negative if its share is exceeded.
    ///
    /// - Parameters:
    ///   - used: the pushes counted against the limit.
    ///   - limit: the limit of all lanes together.
    package func capacity(for lane: Lane, used: LaneCounts, limit: Int) -> Int {
        var capacity = limit - used.total
        if lane >= .normal {
            capacity = min(capacity, Int(Double(limit) * normal) - used.count(atMostAsUrgentAs: .normal))
        }
        if lane == .bulk { capacity = min(capacity, Int(Double(limit) * bulk) - used.count(atMostAsUrgentAs: .bulk)) }
        return capacity
    }
}
