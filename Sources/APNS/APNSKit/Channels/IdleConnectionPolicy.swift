package import NIOCore

/// Decides when a low-volume connection is probed with a PING, given up, or closed because it is unused. Pure.
package struct IdleConnectionPolicy {
    package struct Limits: Sendable {
        package var pingInterval: TimeAmount
        package var pingTimeout: TimeAmount
        package var idleBeforeProbe: TimeAmount
        package var idleTimeout: TimeAmount

        package init(
            pingInterval: TimeAmount, pingTimeout: TimeAmount, idleBeforeProbe: TimeAmount, idleTimeout: TimeAmount
        ) {
            self.pingInterval = pingInterval
            self.pingTimeout = pingTimeout
            self.idleBeforeProbe = idleBeforeProbe
            self.idleTimeout = idleTimeout
        }
    }

    package enum Action: Equatable {
        case nothing
        case ping
        /// The server has not acknowledged a PING in time.
        case giveUp
        case closeUnused
    }

    /// How long requests wait for the PING of an idle connection.
    private static let probeTimeout = TimeAmount.seconds(2)

    private let limits: Limits
    private var lastRead: NIODeadline
    private var lastUse: NIODeadline
    private var pingedAt: NIODeadline?
    /// Whether requests wait for a PING to be acknowledged.
    package private(set) var isProbing = false

    package init(_ limits: Limits, now: NIODeadline) {
        self.limits = limits
        lastRead = now
        lastUse = now
    }

    /// Bytes arrived from the server.
    package mutating func bytesReceived(now: NIODeadline) { lastRead = now }

    /// A request was written or resolved.
    package mutating func used(now: NIODeadline) { lastUse = now }

    package mutating func pingSent(now: NIODeadline) { pingedAt = now }

    package mutating func pingAcknowledged() {
        pingedAt = nil
        isProbing = false
    }

    /// Begins a probe before a request if the connection was idle for long: it may be dead, and a request written to a
    /// dead connection would be ambiguous.
    ///
    /// - Returns: whether the caller must send a PING now.
    package mutating func beginProbeIfIdle(streamsOpen: Int, now: NIODeadline) -> Bool {
        guard !isProbing, pingedAt == nil, streamsOpen == 0, lastRead + limits.idleBeforeProbe <= now else {
            return false
        }
        isProbing = true
        return true
    }

    /// The action that is due; to be called about once a second.
    package func nextAction(streamsOpen: Int, now: NIODeadline) -> Action {
        if let pingedAt {
            let timeout = isProbing ? min(limits.pingTimeout, Self.probeTimeout) : limits.pingTimeout
            return max(pingedAt, lastRead) + timeout <= now ? .giveUp : .nothing
        }
        if streamsOpen > 0 { return max(lastRead, lastUse) + limits.pingInterval <= now ? .ping : .nothing }
        return lastUse + limits.idleTimeout <= now ? .closeUnused : .nothing
    }
}
