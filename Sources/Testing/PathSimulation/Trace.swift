/// The events of a run, as a hash and, on request, as text.
///
/// Equal seeds must lead to equal hashes; a difference shows that a run depends on something other than its seed.
struct Trace {
    enum Event: UInt8 {
        case request, refused, accepted, unknown
        case committed, claimed, settled, released, leaseEnded, renewed, cancelled, paused, storeFault
        case handedOff, sent, answered, written, processed, connected, connectionLost, goAway
        case started, crashed, stopped, pausedProcess, resumedProcess, draining, clockStep
        case healed, end
    }

    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var count = 0
    /// nil unless the text is requested.
    private(set) var lines: [String]?

    init(keepsLines: Bool) {
        lines = keepsLines ? [] : nil
    }

    /// - Parameters:
    ///   - gateway: the number of a gateway, or 0 for the rest of the system.
    ///   - subject: the number of a batch, or another subject of the event.
    mutating func record(
        _ event: Event, at now: Ticks, _ gateway: Int = 0, _ subject: Int = 0, _ amount: Int = 0,
        _ text: @autoclosure () -> String = ""
    ) {
        count += 1
        mix(UInt64(bitPattern: Int64(now)))
        mix(
            UInt64(event.rawValue) << 56 ^ UInt64(bitPattern: Int64(gateway)) << 48 ^ UInt64(bitPattern: Int64(subject))
        )
        mix(UInt64(bitPattern: Int64(amount)))
        guard lines != nil else { return }
        let milliseconds = "\(now / .millisecond % 1000)"
        let padded = String(repeating: "0", count: 3 - milliseconds.count) + milliseconds
        let source = gateway == 0 ? "system" : "gateway \(gateway)"
        lines?.append("\(now / .second).\(padded) \(source): \(event) \(subject) × \(amount) \(text())")
    }

    private mutating func mix(_ word: UInt64) {
        hash = (hash ^ word) &* 0x100_0000_01B3
        hash ^= hash >> 29
    }
}
