/// The clock of deadlines and delays.
enum PostgresClock {
    static func read() -> ContinuousClock.Instant { ContinuousClock.now }
}
