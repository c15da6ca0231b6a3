import HTTP2Session
import NIOCore

/// The announced limit of concurrent streams, and the number of open ones.
///
/// libnghttp2 closes the whole connection if a client exceeds the limit, but the simulator must be able to refuse only
/// the stream. So libnghttp2 gets a limit that is never reached, and the real one replaces it in each outbound SETTINGS
/// frame.
struct StreamLimit {
    /// The limit that libnghttp2 gets.
    static let unlimited: UInt32 = 0x7FFF_FFFF

    private(set) var announced: UInt32
    private(set) var open: UInt32 = 0
    /// The limits for SETTINGS frames that have not been written yet, oldest first.
    private var unwritten: [UInt32]
    /// SETTINGS frames that the client has not acknowledged. Until it has, it may not know the limit.
    private var unacknowledged = 1

    /// - Parameter first: The limit in the connection's first SETTINGS frame.
    init(first: UInt32) {
        announced = first
        unwritten = [first]
    }

    var isFull: Bool { open >= announced }
    var isKnownToClient: Bool { unacknowledged == 0 }

    mutating func opened() { open += 1 }
    mutating func closed() { open -= 1 }
    mutating func acknowledged() { unacknowledged -= 1 }
    mutating func submitted() { unacknowledged += 1 }

    mutating func announce(_ limit: UInt32) {
        announced = limit
        unwritten.append(limit)
    }

    /// Replaces the first limit. Call it before anything has been written.
    mutating func beginWith(_ limit: UInt32) {
        announced = limit
        unwritten = [limit]
    }

    /// Writes the next limit into the SETTINGS frame (RFC 9113, section 6.5.1) of `count` bytes at the end of `output`.
    mutating func write(intoLast count: Int, of output: inout ByteBuffer) {
        let start = output.writerIndex - count
        var entry = start + 9
        while entry + 6 <= output.writerIndex {
            if output.getInteger(at: entry, as: UInt16.self) == 3, !unwritten.isEmpty {
                output.setInteger(unwritten.removeFirst(), at: entry + 2)
            }
            entry += 6
        }
    }
}
