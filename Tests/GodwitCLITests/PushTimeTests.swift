import Foundation
import GodwitCLI
import Testing

@Suite struct `A time on the command line` {
    private static let now = Date(timeIntervalSince1970: 1_800_000_000.25)

    @Test(arguments: [
        ("0", 0), ("1796126400", 1_796_126_400), ("30s", 1_800_000_031), ("5m", 1_800_000_301),
        ("1h", 1_800_003_601), ("7d", 1_800_604_801), ("2026-12-01T12:00:00Z", 1_796_126_400),
        ("2026-12-01T13:00:00+01:00", 1_796_126_400),
    ])
    func `is a duration, an absolute time or UNIX seconds`(_ text: String, _ seconds: Int64) throws {
        let time = try PushTime(text)
        #expect(time.seconds(now: Self.now) == seconds)
        #expect(time.isRelative == (text.last?.isLetter == true && !text.contains("T")))
    }

    @Test(arguments: [
        "", "x", "h", "-1", "0h", "-1h", "1.5h", "1w", "3600", "1796126400000", "2026-12-01", "2026-12-01T12:00:00",
        "9223372036854775807d", "99999999999d",
    ])
    func `is refused in another form`(_ text: String) {
        #expect(throws: CommandError.self) { try PushTime(text) }
    }
}
