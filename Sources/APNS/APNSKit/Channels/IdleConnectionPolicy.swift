package import NIOCore

/// Decides when a connection of low volume is asked for a sign of life, given up, or closed for lack of use. Pure.
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
        case giveUp
        case closeUnused
    }

    /// How long requests wait for a sign of life from a connection that was idle.
    private static let probeTimeout = TimeAmount.seconds(2)

    private let limits: Limits
    private var lastRead: NIODeadline
    private var lastUse: NIODeadline
    private var pingedAt: NIODeadline?
    /// Whether requests wait for the answer to a PING.
    package private(set) var isProbing = false

    package init(_ limits: Limits, now: NIODeadline) {
        self.limits = limits
        lastRead = now
        lastUse = now
    }

    /// Something came from the server.
    package mutating func hasRead(now: NIODeadline) { lastRead = now }

    /// A request went out, or was answered.
    package mutating func hasUse(now: NIODeadline) { lastUse = now }

    package mutating func pingSent(now: NIODeadline) { pingedAt = now }

    package mutating func pingAcknowledged() {
        pingedAt = nil
        isProbing = false
    }

    /// A request is to go out: a connection that was silent for long may be dead without our knowing, and what is written
    /// to it would be neither done nor refused.
    ///
    /// - Returns: whether a PING must be sent and answered first.
    package mutating func mustProbe(streamsOpen: Int, now: NIODeadline) -> Bool {
        guard !isProbing, pingedAt == nil, streamsOpen == 0, lastRead + limits.idleBeforeProbe <= now else {
            return false
        }
        isProbing = true
        return true
    }

    /// Asked every second or so.
    package func look(streamsOpen: Int, now: NIODeadline) -> Action {
        if let pingedAt {
            let timeout = isProbing ? min(limits.pingTimeout, Self.probeTimeout) : limits.pingTimeout
            return max(pingedAt, lastRead) + timeout <= now ? .giveUp : .nothing
        }
        if streamsOpen > 0 { return max(lastRead, lastUse) + limits.pingInterval <= now ? .ping : .nothing }
        return lastUse + limits.idleTimeout <= now ? .closeUnused : .nothing
    }
}
