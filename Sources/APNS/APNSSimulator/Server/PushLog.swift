public import APNSWire

/// One request as the simulator saw it.
public struct ReceivedPush: Sendable, Equatable {
    /// Counts all requests since the start or the last reset, from 1.
    public var sequence: UInt64
    public var id: APNSID
    /// Empty when the path held none, and for a broadcast.
    public var token: [UInt8]
    public var topic: String
    public var pushType: PushType?
    public var priority: Priority?
    public var expiration: Int64?
    public var collapseID: String
    /// The body; empty where it was over every limit.
    public var payload: [UInt8]
    /// Counts connections from 1.
    public var connection: UInt64
    public var stream: Int32
    /// 0 when a fault left it without an answer.
    public var status: UInt16
    public var reason: String
    /// Whether APNs would go on to deliver it.
    public var isTaken: Bool
    /// UNIX milliseconds.
    public var receivedAt: Int64
    /// Of a broadcast; else empty.
    public var channelID = ""
}

/// The last `capacity` elements of a sequence, by their number.
package struct Ring<Element> {
    let capacity: Int
    private var elements: [Element] = []
    private var oldest = 0
    /// How many have ever been appended.
    package private(set) var total: UInt64 = 0

    package init(capacity: Int) {
        self.capacity = capacity
    }

    /// The number of the oldest element that is left; numbers count from 1.
    package var firstNumber: UInt64 { total - UInt64(elements.count) + 1 }

    package mutating func append(_ element: Element) {
        total += 1
        guard capacity > 0 else { return }
        if elements.count < capacity {
            elements.append(element)
        } else {
            elements[oldest] = element
            oldest = oldest + 1 == capacity ? 0 : oldest + 1
        }
    }

    /// Those numbered above `number`, oldest first, at most `limit`.
    package func elements(after number: UInt64, limit: Int) -> [Element] {
        let skipped = number < firstNumber ? 0 : number - firstNumber + 1
        guard skipped < UInt64(elements.count) else { return [] }
        let start = Int(skipped)
        let end = start + min(elements.count - start, max(0, limit))
        return (start..<end).map { elements[(oldest + $0) % elements.count] }
    }
}
