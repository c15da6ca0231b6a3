import HTTPTypes
import Hummingbird

/// The value of `X-Request-Id` in a response.
enum RequestIdentifier {
    /// The caller's own id if it is safe to log, that is 1 to 128 letters, digits and `-._`; otherwise a new one.
    static func value(in fields: HTTPFields) -> String {
        guard let value = fields[.requestID], (1...128).contains(value.utf8.count), value.utf8.allSatisfy(isSafe)
        else { return new() }
        return value
    }

    /// Not `context.id`, which traps if the log handler keeps no metadata.
    static func new() -> String { RequestID().description }

    private static func isSafe(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
