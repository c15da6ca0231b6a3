/// Virtual time: microseconds since the start of a run.
typealias Ticks = Int

extension Ticks {
    static let millisecond: Ticks = 1_000
    static let second: Ticks = 1_000_000
}

extension Duration {
    init(ticks: Ticks) {
        self = .microseconds(ticks)
    }

    /// Rounded down.
    var ticks: Ticks {
        let (seconds, attoseconds) = components
        return Int(seconds) * .second + Int(attoseconds / 1_000_000_000_000)
    }
}

/// The future events of a run by virtual time. Events with equal times happen in the order in which they were added, so
/// a run is deterministic.
struct EventHeap {
    private struct Event {
        var at: Ticks
        var serial: Int
        var action: () -> Void

        func isBefore(_ other: Event) -> Bool {
            at == other.at ? serial < other.serial : at < other.at
        }
    }

    private var events: [Event] = []
    private var serial = 0

    var count: Int { events.count }

    mutating func add(at time: Ticks, _ action: @escaping () -> Void) {
        serial += 1
        events.append(Event(at: time, serial: serial, action: action))
        var child = events.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard events[child].isBefore(events[parent]) else { return }
            events.swapAt(child, parent)
            child = parent
        }
    }

    mutating func next() -> (at: Ticks, action: () -> Void)? {
        guard let first = events.first else { return nil }
        let last = events.removeLast()
        guard !events.isEmpty else { return (first.at, first.action) }
        events[0] = last
        var parent = 0
        while true {
            var least = parent
            let left = 2 * parent + 1
            if left < events.count, events[left].isBefore(events[least]) { least = left }
            if left + 1 < events.count, events[left + 1].isBefore(events[least]) { least = left + 1 }
            guard least != parent else { return (first.at, first.action) }
            events.swapAt(least, parent)
            parent = least
        }
    }
}
