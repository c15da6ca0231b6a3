package import Foundation

/// A time on the command line: UNIX seconds, a duration from now such as `1h`, or `2026-12-01T12:00:00Z`.
package struct PushTime: Equatable, Sendable {
    private enum Form: Equatable, Sendable {
        case at(seconds: Int64)
        case after(seconds: Int64)
    }

    private let form: Form

    /// - Throws: `CommandError` that says what is expected.
    package init(_ text: String) throws(CommandError) {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        if let number = Int64(text) {
            guard number == 0 || number >= 1_000_000_000 else {
                throw CommandError(
                    "UNIX seconds are meant, as in \(Self.example); a duration has a unit: 30s, 5m, 1h, 7d")
            }
            guard number < 100_000_000_000 else { throw CommandError("UNIX seconds are meant, not milliseconds") }
            form = .at(seconds: number)
        } else if let unit = text.last.flatMap({ units[$0] }), let number = Int64(text.dropLast()), number > 0,
            number <= 10 * 366 * 86_400 / unit
        {
            form = .after(seconds: number * unit)
        } else if let date = try? Date(text, strategy: .iso8601) {
            form = .at(seconds: Int64(date.timeIntervalSince1970))
        } else {
            throw CommandError(
                "use a duration such as 30s, 5m, 1h or 7d, a time such as 2026-12-01T12:00:00Z, or UNIX seconds")
        }
    }

    private static let example = "1796126400"

    /// Whether another run of the same command means another time.
    package var isRelative: Bool { if case .after = form { true } else { false } }

    /// UNIX seconds.
    package func seconds(now: Date = Date()) -> Int64 {
        switch form {
        case .at(let seconds): seconds
        case .after(let seconds): Int64(now.timeIntervalSince1970.rounded(.up)) + seconds
        }
    }
}
