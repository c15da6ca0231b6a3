import Foundation
import Logging
import Synchronization
import Telemetry
import Testing

@Suite struct `JSON logs` {
    private final class Sink: Sendable {
        let lines = Mutex<[[UInt8]]>([])
        var last: [String: Any] {
            let line = lines.withLock { $0.last ?? [] }
            return (try? JSONSerialization.jsonObject(with: Data(line))) as? [String: Any] ?? [:]
        }
    }

    private func logger(_ sink: Sink, level: Logger.Level = .info) -> Logger {
        Logger(label: "accept") { label in
            JSONLogHandler(label: label, level: SharedLogLevel(level)) { line in sink.lines.withLock { $0.append(line) }
            }
        }
    }

    @Test func `a message is one line with its metadata`() {
        let sink = Sink()
        var logger = logger(sink)
        logger[metadataKey: "module"] = "accept"
        logger.info(
            "odd \"text\"\nwith\u{1} all",
            metadata: ["text": "7", "level": "mine", "list": ["a", "b\\"], "map": ["k": .stringConvertible("1.5")]]
        )
        let line = sink.lines.withLock { $0[0] }
        #expect(line.count { $0 == UInt8(ascii: "\n") } == 1)
        #expect(line.last == UInt8(ascii: "\n"))
        let json = sink.last
        #expect(json["message"] as? String == "odd \"text\"\nwith\u{1} all")
        #expect(json["level"] as? String == "info")
        #expect(json["_level"] as? String == "mine")
        #expect(json["label"] as? String == "accept")
        #expect(json["module"] as? String == "accept")
        #expect(json["text"] as? String == "7")
        #expect(json["list"] as? [String] == ["a", "b\\"])
        #expect((json["map"] as? [String: String])?["k"] == "1.5")
        let time = json["time"] as? String ?? ""
        #expect(time.hasSuffix("Z") && time.count == 24)
    }

    @Test func `a value is a number if its type is one`() {
        let sink = Sink()
        let numbers: Logger.Metadata = [
            "int": .stringConvertible(-7), "unsigned": .stringConvertible(UInt64.max),
            "code": .stringConvertible(UInt16(3003)),
            "double": .stringConvertible(1.5), "flag": .stringConvertible(true), "list": [.stringConvertible(1), "2"],
            "infinite": .stringConvertible(Double.infinity), "nan": .stringConvertible(Double.nan), "text": "12",
        ]
        logger(sink).info("numbers", metadata: numbers)
        let line = String(decoding: sink.lines.withLock { $0[0] }, as: UTF8.self)
        #expect(
            line.hasSuffix(
                #""code":3003,"double":1.5,"flag":true,"infinite":"inf","int":-7,"list":[1,"2"],"nan":"nan","text":"12","#
                    + #""unsigned":18446744073709551615}"# + "\n"), "\(line)")
        #expect(sink.last["int"] as? Int == -7)
    }

    @Test func `a shared level changes while loggers are in use`() {
        let level = SharedLogLevel(.notice)
        let sink = Sink()
        let logger = Logger(label: "x") { label in
            JSONLogHandler(label: label, level: level) { line in sink.lines.withLock { $0.append(line) } }
        }
        var own = logger
        own.logLevel = .error
        logger.info("no")
        level.set(.debug)
        logger.debug("yes")
        own.info("no")
        #expect(logger.logLevel == .debug && own.logLevel == .error)
        #expect(sink.lines.withLock { $0.count } == 1)
    }

    @Test func `messages below the level are not written`() {
        let sink = Sink()
        let logger = logger(sink, level: .warning)
        logger.info("no")
        logger.warning("yes")
        #expect(sink.lines.withLock { $0.count } == 1)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"), (Int64.max, "9999-12-31T23:59:59.999Z"),
            (1_763_899_200_123, "2025-11-23T12:00:00.123Z"),
        ] as [(Int64, String)])
    func `times are written as RFC 3339`(milliseconds: Int64, text: String) {
        #expect(RFC3339.text(milliseconds: milliseconds) == text)
    }
}
