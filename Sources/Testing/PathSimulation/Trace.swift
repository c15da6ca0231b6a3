/// What happened in a run, as a hash and, when asked for, as lines for people.
///
/// Same seed, same hash: whatever makes a run depend on anything but its seed shows here.
struct Trace {
    enum Mark: UInt8 {
        case request, refused, accepted, unknown
        case committed, claimed, settled, released, leaseEnded, renewed, cancelled, paused, storeFault
        case handedOver, sent, answered, written, processed, connected, connectionLost, goAway
        case started, crashed, stopped, pausedProcess, resumedProcess, drains, clockStep
        case healed, end
    }

    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var count = 0
    /// nil unless somebody wants to read them.
    private(set) var lines: [String]?

    init(keepsLines: Bool) {
        lines = keepsLines ? [] : nil
    }

    /// - Parameters:
    ///   - who: a gateway's number, 0 for the world outside of the gateways.
    ///   - subject: a batch's number, or what else the mark is about.
    mutating func note(
        _ mark: Mark, at now: Ticks, _ who: Int = 0, _ subject: Int = 0, _ amount: Int = 0,
        _ text: @autoclosure () -> String = ""
    ) {
        count += 1
        mix(UInt64(bitPattern: Int64(now)))
        mix(UInt64(mark.rawValue) << 56 ^ UInt64(bitPattern: Int64(who)) << 48 ^ UInt64(bitPattern: Int64(subject)))
        mix(UInt64(bitPattern: Int64(amount)))
        guard lines != nil else { return }
        let milliseconds = "\(now / .millisecond % 1000)"
        let padded = String(repeating: "0", count: 3 - milliseconds.count) + milliseconds
        let place = who == 0 ? "world" : "gateway \(who)"
        lines?.append("\(now / .second).\(padded) \(place): \(mark) \(subject) × \(amount) \(text())")
    }

    private mutating func mix(_ word: UInt64) {
        hash = (hash ^ word) &* 0x100_0000_01B3
        hash ^= hash >> 29
    }
}
