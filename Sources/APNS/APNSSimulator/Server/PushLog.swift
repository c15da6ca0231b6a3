public import APNSWire

/// A request that the simulator received, with the response it sent.
public struct ReceivedPush: Sendable, Equatable {
    /// The request's number since the start or the last reset, from 1.
    public var sequence: UInt64
    public var id: APNSID
    /// The device token. Empty if the path contained none, and for a broadcast.
    public var token: [UInt8]
    public var topic: String
    public var pushType: PushType?
    public var priority: Priority?
    public var expiration: Int64?
    public var collapseID: String
    /// The body. Empty if it exceeded the largest payload limit.
    public var payload: [UInt8]
    /// The connection's number, from 1; 0 for a test push that the phone page sent without a connection.
    public var connection: UInt64
    public var stream: Int32
    /// The HTTP status of the response; 0 if a fault suppressed the response.
    public var status: UInt16
    public var reason: String
    /// Whether the push counts as accepted for delivery, regardless of the response that the client received.
    public var isTaken: Bool
    /// UNIX milliseconds.
    public var receivedAt: Int64
    /// The channel of a broadcast; otherwise empty.
    public var channelID = ""
}

/// A ring buffer: the last `capacity` elements of a sequence, addressed by their number.
package struct Ring<Element> {
    let capacity: Int
    private var elements: [Element] = []
    private var oldest = 0
    /// The number of elements ever appended.
    package private(set) var total: UInt64 = 0

    package init(capacity: Int) {
        self.capacity = capacity
    }

    /// The number of the oldest element in the buffer. Numbers start at 1.
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

    /// The elements numbered above `number`, oldest first, at most `limit` of them.
    package func elements(after number: UInt64, limit: Int) -> [Element] {
        let skipped = number < firstNumber ? 0 : number - firstNumber + 1
        guard skipped < UInt64(elements.count) else { return [] }
        let start = Int(skipped)
        let end = start + min(elements.count - start, max(0, limit))
        return (start..<end).map { elements[(oldest + $0) % elements.count] }
    }
}
