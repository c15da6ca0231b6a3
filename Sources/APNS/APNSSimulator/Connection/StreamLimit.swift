import HTTP2Session
import NIOCore

/// How many streams a client was told it may have open, and how many it has.
///
/// libnghttp2 is told a limit that is never reached, for it ends the whole connection over one stream too many, and the
/// simulator wants to choose. The true number is written over the library's in every SETTINGS frame on its way out.
struct StreamLimit {
    /// What libnghttp2 believes.
    static let unlimited: UInt32 = 0x7FFF_FFFF

    private(set) var announced: UInt32
    private(set) var open: UInt32 = 0
    /// Numbers for the SETTINGS frames that have not been written yet, oldest first.
    private var unwritten: [UInt32]
    /// SETTINGS frames without an answer; until then the client may not know the limit.
    private var unacknowledged = 1

    /// The number in the connection's first SETTINGS frame.
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

    /// Before anything has been written: the connection begins with this limit.
    mutating func beginWith(_ limit: UInt32) {
        announced = limit
        unwritten = [limit]
    }

    /// Puts the next number into a SETTINGS frame (RFC 9113, section 6.5.1) that ends at the end of `output`.
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
