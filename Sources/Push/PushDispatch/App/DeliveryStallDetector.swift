/// Detects that an app sends and no push is delivered, whatever the cause.
///
/// It covers faults that no other check expects. Example, a public incident of 2026-04-27: a relay kept using a
/// connection after its GOAWAY, and every push failed for six hours until an operator restarted it.
struct DeliveryStallDetector: Sendable {
    private static let interval: Duration = .seconds(60)

    /// The first send since the last delivery or report.
    private var since: Duration?
    private var sends = 0

    mutating func sent(_ count: Int, now: Duration) {
        if since == nil { since = now }
        sends += count
    }

    mutating func delivered() {
        since = nil
        sends = 0
    }

    /// - Returns: at most once per minute, the number of pushes sent in the last minute if none was delivered.
    mutating func poll(now: Duration) -> Int? {
        guard let since, now - since >= Self.interval else { return nil }
        defer { delivered() }
        return sends
    }
}
