package import Logging
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Writes each log message as one line of JSON to standard error, with one call of `write` per line.
///
/// `{"time":"2026-11-23T12:00:00.000Z","level":"info","label":"accept","message":"…","push.id":"…"}`: metadata is next
/// to the fixed fields. A metadata key that equals a fixed field gets a leading underscore. A value that is a number or a
/// Boolean by its type (`.stringConvertible(7)`) is one in the JSON; a text is a text, whatever it looks like.
package struct JSONLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let sharedLevel: SharedLogLevel
    /// The level of one logger, if it was set for that logger.
    private var ownLevel: Logger.Level?
    private let sink: @Sendable ([UInt8]) -> Void

    /// - Parameters:
    ///   - level: the level of all loggers that have it; it may change at any time.
    ///   - sink: receives one line including its line feed; by default standard error.
    package init(
        label: String, level: SharedLogLevel = SharedLogLevel(.info),
        sink: @escaping @Sendable ([UInt8]) -> Void = JSONLogHandler.writeToStandardError
    ) {
        self.label = label
        sharedLevel = level
        self.sink = sink
    }

    package var logLevel: Logger.Level {
        get { ownLevel ?? sharedLevel.current }
        set { ownLevel = newValue }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line: [UInt8] = []
        line.reserveCapacity(256)
        line += "{\"time\":\"\(Self.timestamp())\",\"level\":\"\(event.level.rawValue)\",\"label\":".utf8
        Self.append(label, to: &line)
        line += ",\"message\":".utf8
        Self.append(event.message.description, to: &line)
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        if let error = event.error { all["error"] = "\(error)" }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            line.append(UInt8(ascii: ","))
            Self.append(Self.fixedFields.contains(key) ? "_" + key : key, to: &line)
            line.append(UInt8(ascii: ":"))
            Self.append(value, to: &line)
        }
        line += "}\n".utf8
        sink(line)
    }

    private static let fixedFields: Set<String> = ["time", "level", "label", "message"]

    /// Writes a line with one call, so that lines of several threads do not mix. Write errors are ignored, because a
    /// missing log reader must not stop the process.
    package static func writeToStandardError(_ line: [UInt8]) {
        line.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let written = write(STDERR_FILENO, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if written > 0 {
                    rest = rest.dropFirst(written)
                } else if errno != EINTR {
                    return
                }
            }
        }
    }

    private static func append(_ value: Logger.Metadata.Value, to line: inout [UInt8]) {
        switch value {
        case .string(let text): append(text, to: &line)
        case .stringConvertible(let convertible): append(convertible, to: &line)
        case .array(let values):
            line.append(UInt8(ascii: "["))
            for (index, element) in values.enumerated() {
                if index > 0 { line.append(UInt8(ascii: ",")) }
                append(element, to: &line)
            }
            line.append(UInt8(ascii: "]"))
        case .dictionary(let values):
            line.append(UInt8(ascii: "{"))
            for (index, pair) in values.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { line.append(UInt8(ascii: ",")) }
                append(pair.key, to: &line)
                line.append(UInt8(ascii: ":"))
                append(pair.value, to: &line)
            }
            line.append(UInt8(ascii: "}"))
        @unknown default: append("\(value)", to: &line)
        }
    }

    private static func append(_ value: any CustomStringConvertible & Sendable, to line: inout [UInt8]) {
        switch value {
        case is any BinaryInteger, is Bool: line += value.description.utf8
        // JSON has no infinity and no NaN.
        case let number as Double where number.isFinite: line += number.description.utf8
        default: append(value.description, to: &line)
        }
    }

    private static func append(_ text: String, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): line += "\\\"".utf8
            case UInt8(ascii: "\\"): line += "\\\\".utf8
            case 0x0A: line += "\\n".utf8
            case 0x0D: line += "\\r".utf8
            case 0x09: line += "\\t".utf8
            case 0..<0x20:
                line += "\\u00".utf8
                line.append(hexDigit(byte >> 4))
                line.append(hexDigit(byte & 15))
            default: line.append(byte)
            }
        }
        line.append(UInt8(ascii: "\""))
    }

    private static func hexDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }

    private static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return RFC3339.text(milliseconds: Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000)
    }
}

/// The least severe level that is logged, for all loggers of a process. It changes while they are in use.
package final class SharedLogLevel: Sendable {
    /// An index into `Logger.Level.allCases`.
    private let index: Atomic<Int>

    package init(_ level: Logger.Level) {
        index = Atomic(Self.index(of: level))
    }

    package var current: Logger.Level { Logger.Level.allCases[index.load(ordering: .relaxed)] }

    package func set(_ level: Logger.Level) { index.store(Self.index(of: level), ordering: .relaxed) }

    private static func index(of level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level) ?? 0 }
}
