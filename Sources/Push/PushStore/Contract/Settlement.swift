package import PushModel

/// An update of one batch, reported by the holder of its lease.
package struct Settlement: Sendable, Equatable {
    package enum Release: Sendable, Equatable {
        /// The holder keeps the lease.
        case keep
        /// Ends the lease. The batch is claimable again when the first of its unsettled pushes is due. A push without a
        /// recorded retry is due immediately.
        case release
        /// Ends the lease, but the batch is not claimable before `until`: its pushes were not tried and have to wait.
        case postpone(until: WallTime)

        package var endsLease: Bool { self != .keep }
    }

    package var lease: Lease
    package private(set) var update: BatchUpdate
    package private(set) var release: Release
    /// The number of the write, which rises with each write of the holder, and is the same when a write is repeated because
    /// its response was lost. nil: the write is never repeated.
    package var number: UInt64?

    package init(
        lease: Lease, outcomes: [Outcome] = [], retries: [Retry] = [], sends: [UInt16] = [], release: Release = .keep,
        number: UInt64? = nil, at: WallTime
    ) {
        self.lease = lease
        self.number = number
        update = BatchUpdate(at: at, outcomes: outcomes, retries: retries, sends: sends)
        self.release = release
    }

    package var outcomes: [Outcome] { update.outcomes }
    package var retries: [Retry] { update.retries }
    package var sends: [UInt16] { update.sends }
    package var at: WallTime { update.at }

    /// Adds a later settlement of the same lease.
    package mutating func merge(_ later: Settlement) {
        precondition(lease == later.lease, "settlements of different leases")
        update.append(later.update)
        if later.release.endsLease { release = later.release }
    }
}
