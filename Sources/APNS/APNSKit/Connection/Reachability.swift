package import APNSWire

/// Decides from the ends of connections and from answers whether APNs can be reached. Pure.
///
///     reachable ─a connection cannot be opened, or stops answering, and no other works─▶ outage
///         ▲                                                                                │
///         └───────────── a PING is acknowledged, or a push is answered ────────────────────┘
///
/// An outage lasts until a connection has proved that it works, not only until it is open: a host behind a network that
/// drops packets, or a server that only accepts connections, would otherwise look reachable between two failures. An
/// outage because of answers that are not those of APNs ends with an answer of APNs only.
package struct Reachability {
    package private(set) var outage: APNSOutage?
    /// Failed connections since the start, by cause.
    package private(set) var failures: [APNSConnectionFailure.Cause: UInt64] = [:]

    package init() {}

    /// Records that a connection could not be opened, or was lost.
    ///
    /// - Parameters:
    ///   - showsOutage: it could not be opened, or did not answer pushes. False for a connection that the server ended,
    ///     because its replacement usually works.
    ///   - hasOther: whether another connection works.
    package mutating func lost(_ failure: APNSConnectionFailure, showsOutage: Bool, hasOther: Bool, now: UNIXTime) {
        failures[failure.cause, default: 0] += 1
        guard !hasOther else { return }
        if outage != nil {
            // The reason for which answers are refused is more useful than that of a connection that ended afterwards.
            if outage?.failure.cause != .notAPNs || showsOutage { outage?.failure = failure }
        } else if showsOutage {
            outage = APNSOutage(since: now, failure: failure)
        }
    }

    /// A connection acknowledged a PING.
    package mutating func pingAcknowledged() {
        if outage?.failure.cause != .notAPNs { outage = nil }
    }

    /// APNs answered a push.
    package mutating func answered() { outage = nil }

    /// A server answered a push, and not as APNs does.
    package mutating func answeredByOther(_ failure: APNSConnectionFailure, now: UNIXTime) {
        failures[failure.cause, default: 0] += 1
        outage = APNSOutage(since: outage?.since ?? now, failure: failure)
    }
}
