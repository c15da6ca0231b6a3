import NIOCore
import Synchronization

/// Limits new connections. APNs treats rapid reconnects as an attack and blocks the client for a while.
final class ConnectionRateLimiter: Sendable {
    private struct Record {
        /// When the last connections were admitted; at most as many as the rate allows.
        var times: [NIODeadline] = []
        var blockedUntil: NIODeadline?
    }

    private let record = Mutex(Record())

    /// Admits one connection if the limits allow it.
    ///
    /// - Parameter open: The number of open connections.
    func tryAcquire(_ settings: SimulatorSettings, open: Int, now: NIODeadline = .now()) -> Bool {
        if let connectionsMax = settings.connectionsMax, open >= connectionsMax { return false }
        guard let rate = settings.connectionRate else { return true }
        return record.withLock { record in
            if let end = record.blockedUntil {
                if now < end { return false }
                record.blockedUntil = nil
                record.times.removeAll()
            }
            record.times.removeAll { $0 + TimeAmount(rate.period) <= now }
            guard record.times.count < rate.count else {
                record.blockedUntil = now + TimeAmount(settings.connectionPenalty)
                return false
            }
            record.times.append(now)
            return true
        }
    }

    func reset() { record.withLock { $0 = Record() } }
}

/// Limits the rate of pushes to each device token.
final class TokenRateLimiter: Sendable {
    /// The largest number of tracked tokens. When it is reached, all counts start over.
    private static let tokensMax = 1_000_000

    private struct Window {
        var start: NIODeadline
        var count: Int
    }

    private let windows = Mutex<[[UInt8]: Window]>([:])

    /// Counts one push and returns whether it is within the rate.
    func tryAcquire(_ token: [UInt8], _ rate: SimulatorSettings.Rate, now: NIODeadline = .now()) -> Bool {
        windows.withLock { windows in
            if windows.count >= Self.tokensMax { windows.removeAll() }
            var window = windows[token] ?? Window(start: now, count: 0)
            if window.start + TimeAmount(rate.period) <= now { window = Window(start: now, count: 0) }
            window.count += 1
            windows[token] = window
            return window.count <= rate.count
        }
    }

    func reset() { windows.withLock { $0.removeAll() } }
}
